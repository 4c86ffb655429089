//! The dashboard's API: whose namespaces there are, and who is in them.
//!
//! Its pages ask it, and it asks access management. It takes people at their word, as that does.

use super::{
    judged_by,
    kfam::{EDIT, VIEW, accepted, contributor, forbidden},
    neighbour::{TENANT, Tenant},
    owner,
    rights::{Who, come_to, may_not},
};
use crate::{checks::prelude::*, cluster::discover::items};

requirement_checks! {
    "platform/dashboard/knows-who-has-a-namespace" => knows_who_has_a_namespace, needs [&TENANT];
    "platform/dashboard/lists-own-namespaces" => lists_own_namespaces, needs [&TENANT];
    "platform/dashboard/tells-roles" => tells_roles, needs [&TENANT];
    "platform/dashboard/lists-contributors" => lists_contributors, needs [&TENANT];
    "platform/dashboard/adds-contributors" => adds_contributors, needs [&TENANT];
    "platform/dashboard/removes-contributors" => removes_contributors, needs [&TENANT];
    "platform/dashboard/refuses-strangers" => refuses_strangers, needs [&TENANT];
    "platform/dashboard/needs-identity" => needs_identity, needs [&TENANT];
    "platform/dashboard/keeps-events-private" => keeps_events_private, needs [&TENANT];
}

/// What it says of whoever asks: whether he has a namespace, and which there are for him.
const EXISTS: &str = "/api/workgroup/exists";
const ENVIRONMENT: &str = "/api/workgroup/env-info";

fn dashboard(cx: &Cx, identity: Identity) -> Http<'_> {
    cx.component("dashboard", "", identity)
}

fn as_user<'a>(cx: &'a Cx, user: &str) -> Outcome<Http<'a>> {
    Ok(dashboard(cx, Identity::user(user)?))
}

/// The namespaces in an answer, and as what the user is in them.
fn namespaces(environment: &Value) -> Vec<(&str, &str)> {
    items(environment, "namespaces")
        .map(|namespace| (text(namespace, "namespace"), text(namespace, "role")))
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Where the contributors of a namespace are listed (`get`), come (`add`) and go (`remove`).
fn contributors(doing: &str, tenant: &Tenant) -> String {
    let noun = if doing == "get" {
        "contributors"
    } else {
        "contributor"
    };
    format!("/api/workgroup/{doing}-{noun}/{}", tenant.namespace)
}

async fn add(cx: &Cx, tenant: &Tenant, by: &str, user: &str) -> Outcome<Answer> {
    as_user(cx, by)?
        .post(&contributors("add", tenant), &json!({"contributor": user}))
        .await
}

/// Whoever owns a namespace is known to have one; a stranger is not.
pub async fn knows_who_has_a_namespace(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    as_user(cx, &tenant.owner)?
        .until(EXISTS, "reconcile", "know the owner's namespace", |said| {
            Ok(said["hasAuth"] == true && said["hasWorkgroup"] == true)
        })
        .await?;
    let said = as_user(cx, &owner(cx, "stranger"))?.read(EXISTS).await?;
    ensure_eq!(
        said["hasWorkgroup"],
        json!(false),
        "`hasWorkgroup` of a user without a namespace"
    );
    Ok(())
}

/// Everybody sees the namespaces that are his.
pub async fn lists_own_namespaces(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let own = (tenant.namespace.as_str(), "owner");
    let said = as_user(cx, &tenant.owner)?
        .until(
            ENVIRONMENT,
            "reconcile",
            "list the owner's namespace",
            |said| Ok(namespaces(said).contains(&own)),
        )
        .await?;
    ensure_eq!(said["user"], tenant.owner.as_str(), "the user");
    ensure_eq!(
        namespaces(&said),
        [own],
        "the namespaces of the owner of one"
    );
    let said = as_user(cx, &owner(cx, "stranger"))?
        .read(ENVIRONMENT)
        .await?;
    ensure_eq!(
        namespaces(&said),
        Vec::<(&str, &str)>::new(),
        "the namespaces of a user who is in none"
    );
    ensure_eq!(
        said["isClusterAdmin"],
        json!(false),
        "`isClusterAdmin` of a user whom nobody knows"
    );
    Ok(())
}

/// Who was let into a namespace is told so, and as what.
pub async fn tells_roles(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    for (label, role, told) in [
        ("role-editor", "edit", "contributor"),
        ("role-viewer", "view", "viewer"),
    ] {
        let user = contributor(cx, &tenant, label, role).await?;
        let said = as_user(cx, &user)?.read(ENVIRONMENT).await?;
        ensure_eq!(
            namespaces(&said),
            [(tenant.namespace.as_str(), told)],
            "the namespaces of a user with role `{role}` in one"
        );
    }
    Ok(())
}

/// The contributors of a namespace are listed, and the owner is none.
pub async fn lists_contributors(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = contributor(cx, &tenant, "listed", "edit").await?;
    let path = contributors("get", &tenant);
    let listed = as_user(cx, &tenant.owner)?.read(&path).await?;
    let there = |user: &str| {
        listed
            .as_array()
            .is_some_and(|l| l.iter().any(|u| u == user))
    };
    ensure!(
        there(&user) && !there(&tenant.owner),
        "GET {path} lists {listed}, and must list `{user}` and not the owner"
    );
    Ok(())
}

/// Who is let in works in the namespace.
pub async fn adds_contributors(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = owner(cx, "comer");
    let answer = add(cx, &tenant, &tenant.owner, &user).await?;
    accepted(&answer, "the owner's request to let a contributor in")?;
    come_to(
        cx,
        &Who::user(&user),
        &tenant.namespace,
        &[VIEW, EDIT].concat(),
        true,
    )
    .await
}

/// Who is taken out has no rights any more.
pub async fn removes_contributors(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = contributor(cx, &tenant, "goer", "edit").await?;
    let who = Who::user(&user);
    let all = [VIEW, EDIT].concat();
    come_to(cx, &who, &tenant.namespace, &all, true)
        .await
        .map_err(|stop| judged_by(stop, "platform/kfam/adds-contributor"))?;
    let http = as_user(cx, &tenant.owner)?;
    let request = http.request("DELETE", &contributors("remove", &tenant));
    let answer = http
        .send(request.json(json!({"contributor": user})))
        .await?;
    accepted(&answer, "the owner's request to take a contributor out")?;
    come_to(cx, &who, &tenant.namespace, &all, false).await
}

/// Nobody lets himself in.
pub async fn refuses_strangers(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let stranger = owner(cx, "intruder");
    let answer = add(cx, &tenant, &stranger, &stranger).await?;
    forbidden(&answer, "a stranger's request to be let in")?;
    let who = Who::user(&stranger);
    may_not(cx, &who, &tenant.namespace, &[VIEW, EDIT].concat()).await
}

/// Who does not say who he is may not ask who is in a namespace.
pub async fn needs_identity(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    contributor(cx, &tenant, "asked-for", "edit").await?;
    let path = contributors("get", &tenant);
    let http = as_user(cx, &tenant.owner)?;
    http.read(&path).await?;
    let answer = http.as_identity(Identity::Nobody).get(&path).await?;
    if matches!(answer.status, 401 | 403) {
        return Ok(());
    }
    http.refused(
        &answer,
        "a request without an identity for the contributors",
    )
}

/// What happens in a namespace is for those who are in it.
pub async fn keeps_events_private(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let path = format!("/api/activities/{}", tenant.namespace);
    let events = as_user(cx, &tenant.owner)?.read(&path).await?;
    ensure!(
        events.is_array(),
        "GET {path} is answered to the owner with {events}, and must be with a list"
    );
    let answer = as_user(cx, &owner(cx, "onlooker"))?.get(&path).await?;
    forbidden(
        &answer,
        "a stranger's request for the events of a namespace",
    )
}
