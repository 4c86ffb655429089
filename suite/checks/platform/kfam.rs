//! Access management: owners let contributors in and out.
//!
//! Its API takes people at their word: requests name them in the identity header, as the distribution's gateway does.

use super::{
    judged_by, namespace_of,
    neighbour::{TENANT, Tenant},
    own_profile, owner, profile,
    rights::{Deed, Who, come_to, may_not},
};
use crate::checks::prelude::*;

requirement_checks! {
    "platform/kfam/lists-owner" => lists_owner, needs [&TENANT];
    "platform/kfam/adds-contributor" => adds_contributor, needs [&TENANT];
    "platform/kfam/names-as-documented" => names_as_documented, needs [&TENANT];
    "platform/kfam/viewer-only-reads" => viewer_only_reads, needs [&TENANT];
    "platform/kfam/removes-contributor" => removes_contributor, needs [&TENANT];
    "platform/kfam/filters-by-role" => filters_by_role, needs [&TENANT];
    "platform/kfam/filters-by-user" => filters_by_user, needs [&TENANT];
    "platform/kfam/refuses-stranger" => refuses_stranger, needs [&TENANT];
    "platform/kfam/refuses-foreign-removal" => refuses_foreign_removal, needs [&TENANT];
    "platform/kfam/contributor-adds-nobody" => contributor_adds_nobody, needs [&TENANT];
    "platform/kfam/needs-identity" => needs_identity, needs [&TENANT];
    "platform/kfam/answers-cluster-admin" => answers_cluster_admin;
    "platform/kfam/creates-profile" => creates_profile;
    "platform/kfam/deletes-profile" => deletes_profile;
    "platform/kfam/refuses-foreign-deletion" => refuses_foreign_deletion;
}

/// What an editor does, and a viewer does not.
pub(super) const EDIT: &[Deed] = &[("create", "", "pods"), ("create", "", "configmaps")];
/// What both do.
pub(super) const VIEW: &[Deed] = &[("list", "", "pods"), ("list", "", "configmaps")];

fn kfam(cx: &Cx, identity: Identity) -> Http<'_> {
    cx.component("kfam", "/kfam", identity)
}

fn as_user<'a>(cx: &'a Cx, user: &str) -> Outcome<Http<'a>> {
    Ok(kfam(cx, Identity::user(user)?))
}

/// A binding of a user in a Profile's namespace, as requests name it.
fn binding(tenant: &Tenant, user: &str, role: &str) -> Value {
    json!({
        "user": {"kind": "User", "name": user},
        "referredNamespace": tenant.namespace,
        "roleRef": {"kind": "ClusterRole", "name": role},
    })
}

/// The bindings of a Profile that are listed: user and role.
fn listed(answer: &Value) -> Vec<(&str, &str)> {
    let bindings = answer["bindings"].as_array();
    let bindings = bindings.into_iter().flatten();
    bindings
        .map(|binding| {
            // The description of the API and the program itself spell the key differently.
            let role = [&binding["roleRef"], &binding["RoleRef"]];
            let role = role.into_iter().find_map(|role| role["name"].as_str());
            (
                binding["user"]["name"].as_str().unwrap_or_default(),
                role.unwrap_or_default(),
            )
        })
        .collect()
}

pub(super) fn accepted(answer: &Answer, doing: &str) -> Outcome {
    if answer.is_success() {
        return Ok(());
    }
    let said = answer.summary();
    Err(Stop::unlike(
        format!("{doing} was answered with {said}"),
        "a success (2xx)",
        said,
    ))
}

/// 401 or 403: stock access management uses both.
pub(super) fn forbidden(answer: &Answer, what: &str) -> Outcome {
    match answer.status {
        401 | 403 => Ok(()),
        _ => Err(Stop::unlike(
            format!(
                "{what} was answered with {}, and must be refused",
                answer.summary()
            ),
            "401 or 403",
            answer.status.to_string(),
        )),
    }
}

async fn add(cx: &Cx, tenant: &Tenant, by: &str, user: &str, role: &str) -> Outcome<Answer> {
    as_user(cx, by)?
        .post("/v1/bindings", &binding(tenant, user, role))
        .await
}

async fn remove(cx: &Cx, tenant: &Tenant, by: &str, user: &str, role: &str) -> Outcome<Answer> {
    let http = as_user(cx, by)?;
    let request = http.request("DELETE", "/v1/bindings");
    http.send(request.json(binding(tenant, user, role))).await
}

/// Lets a user in as the owner, and waits until the list shows it.
pub(super) async fn contributor(
    cx: &Cx,
    tenant: &Tenant,
    label: &str,
    role: &str,
) -> Outcome<String> {
    let user = owner(cx, label);
    let answer = add(cx, tenant, &tenant.owner, &user, role).await?;
    let judge = "platform/kfam/adds-contributor";
    accepted(&answer, "the owner's request to let a contributor in")
        .map_err(|stop| judged_by(stop, judge))?;
    let path = in_namespace(tenant, &[]);
    let shown = as_user(cx, &tenant.owner)?
        .until(&path, "reconcile", "show the contributor", |list| {
            Ok(listed(list).iter().any(|(name, _)| *name == user))
        })
        .await;
    shown.map_err(|stop| judged_by(stop, judge))?;
    Ok(user)
}

fn in_namespace(tenant: &Tenant, more: &[(&str, &str)]) -> String {
    let mut pairs = vec![("namespace", tenant.namespace.as_str())];
    pairs.extend_from_slice(more);
    format!("/v1/bindings{}", query(&pairs))
}

/// The owner is the first of the bindings.
pub async fn lists_owner(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let path = in_namespace(&tenant, &[]);
    as_user(cx, &tenant.owner)?
        .until(&path, "reconcile", "list the owner as admin", |list| {
            Ok(listed(list).contains(&(tenant.owner.as_str(), "admin")))
        })
        .await
        .map(drop)
}

/// Who is let in as an editor works in the namespace.
pub async fn adds_contributor(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = owner(cx, "editor");
    let who = Who::user(&user);
    may_not(cx, &who, &tenant.namespace, VIEW)
        .await
        .map_err(|stop| judged_by(stop, "platform/access/stranger-has-no-rights"))?;
    let answer = add(cx, &tenant, &tenant.owner, &user, "edit").await?;
    accepted(&answer, "the owner's request to let a contributor in")?;
    come_to(cx, &who, &tenant.namespace, &[VIEW, EDIT].concat(), true).await?;
    as_user(cx, &tenant.owner)?
        .until(
            &in_namespace(&tenant, &[]),
            "reconcile",
            "list the contributor",
            |list| Ok(listed(list).contains(&(user.as_str(), "edit"))),
        )
        .await
        .map(drop)
}

/// The binding has its documented name.
pub async fn names_as_documented(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = contributor(cx, &tenant, "Named+User", "edit").await?;
    let mut safe = String::new();
    for letter in user.to_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            safe.push(letter);
        } else if !safe.ends_with('-') {
            safe.push('-');
        }
    }
    let name = format!("user-{safe}-clusterrole-edit");
    let found = cx.get_in(&ROLE_BINDING, &tenant.namespace, &name).await?;
    let Some(found) = found else {
        return Err(Stop::unlike(
            format!("there is no RoleBinding `{name}` for the contributor `{user}`"),
            name,
            "404 Not Found",
        ));
    };
    ensure_eq!(
        found["subjects"][0]["name"],
        user.as_str(),
        "the subject of RoleBinding `{name}`"
    );
    Ok(())
}

/// Who is let in as a viewer looks.
pub async fn viewer_only_reads(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let viewer = Who::user(&contributor(cx, &tenant, "viewer", "view").await?);
    come_to(cx, &viewer, &tenant.namespace, VIEW, true).await?;
    may_not(cx, &viewer, &tenant.namespace, EDIT).await
}

/// Who is taken out has no rights any more.
pub async fn removes_contributor(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = contributor(cx, &tenant, "leaver", "edit").await?;
    let who = Who::user(&user);
    let all = [VIEW, EDIT].concat();
    come_to(cx, &who, &tenant.namespace, &all, true)
        .await
        .map_err(|stop| judged_by(stop, "platform/kfam/adds-contributor"))?;
    let answer = remove(cx, &tenant, &tenant.owner, &user, "edit").await?;
    accepted(&answer, "the owner's request to take a contributor out")?;
    come_to(cx, &who, &tenant.namespace, &all, false).await?;
    if cx.facts().has("authorization-policies") {
        let policies = cx
            .list_in(&AUTHORIZATION_POLICY, &tenant.namespace, "")
            .await?;
        let left = policies
            .iter()
            .find(|p| p["metadata"]["annotations"]["user"] == user.as_str());
        ensure!(
            left.is_none(),
            "an AuthorizationPolicy still lets `{user}` in, who was taken out"
        );
    }
    Ok(())
}

/// The list of one role.
pub async fn filters_by_role(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = contributor(cx, &tenant, "role", "edit").await?;
    let http = as_user(cx, &tenant.owner)?;
    let all = http.read(&in_namespace(&tenant, &[])).await?;
    if !listed(&all).contains(&(tenant.owner.as_str(), "admin")) {
        let why = "the owner is not listed, which `platform/kfam/lists-owner` judges";
        return Err(Stop::CouldNotRun(CouldNotRun::SetupFailed, why.to_owned()));
    }
    for (role, is, is_not) in [
        ("edit", &user, &tenant.owner),
        ("admin", &tenant.owner, &user),
    ] {
        let path = in_namespace(&tenant, &[("role", role)]);
        let list = http.read(&path).await?;
        let found = listed(&list);
        let there = |user: &str| found.iter().any(|(name, _)| *name == user);
        ensure!(
            there(is) && !there(is_not),
            "GET {path} lists {found:?}, and must list `{is}` and not `{is_not}`"
        );
    }
    Ok(())
}

/// The list of one user.
pub async fn filters_by_user(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = contributor(cx, &tenant, "user", "view").await?;
    let path = in_namespace(&tenant, &[("user", &user)]);
    let list = as_user(cx, &tenant.owner)?.read(&path).await?;
    let users: Vec<&str> = listed(&list).iter().map(|(name, _)| *name).collect();
    ensure_eq!(users, [user.as_str()], "whom GET {path} lists");
    Ok(())
}

/// Nobody lets himself in.
pub async fn refuses_stranger(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    contributor(cx, &tenant, "guest", "view").await?;
    let stranger = owner(cx, "stranger");
    let answer = add(cx, &tenant, &stranger, &stranger, "view").await?;
    forbidden(&answer, "a stranger's request to be let in")?;
    may_not(
        cx,
        &Who::user(&stranger),
        &tenant.namespace,
        &[VIEW, EDIT].concat(),
    )
    .await
}

/// Nobody takes others out.
pub async fn refuses_foreign_removal(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = contributor(cx, &tenant, "stayer", "edit").await?;
    let answer = remove(cx, &tenant, &owner(cx, "stranger"), &user, "edit").await?;
    forbidden(&answer, "a stranger's request to take a contributor out")?;
    come_to(cx, &Who::user(&user), &tenant.namespace, VIEW, true).await
}

/// A contributor lets nobody in.
pub async fn contributor_adds_nobody(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let user = contributor(cx, &tenant, "member", "edit").await?;
    let friend = owner(cx, "friend");
    let answer = add(cx, &tenant, &user, &friend, "edit").await?;
    forbidden(&answer, "a contributor's request to let somebody in")?;
    may_not(
        cx,
        &Who::user(&friend),
        &tenant.namespace,
        &[VIEW, EDIT].concat(),
    )
    .await
}

/// Who does not say who he is may do nothing.
pub async fn needs_identity(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    contributor(cx, &tenant, "known", "view").await?;
    let guest = owner(cx, "unknown");
    let answer = kfam(cx, Identity::Nobody)
        .post("/v1/bindings", &binding(&tenant, &guest, "view"))
        .await?;
    forbidden(&answer, "a request without an identity to let somebody in")
}

/// Whether somebody administers the cluster is a plain yes or no.
pub async fn answers_cluster_admin(cx: &Cx) -> Outcome {
    let user = owner(cx, "nobody");
    let path = format!("/v1/role/clusteradmin{}", query(&[("user", &user)]));
    let answer = as_user(cx, &user)?.read(&path).await?;
    ensure_eq!(
        answer,
        json!(false),
        "what GET {path} answers of a user whom nobody knows"
    );
    Ok(())
}

/// A user comes to a Profile of his own.
pub async fn creates_profile(cx: &Cx) -> Outcome {
    let name = cx.name("register");
    let user = owner(cx, &name);
    let wanted = cx.own(&profile(cx, &name)?);
    let answer = as_user(cx, &user)?.post("/v1/profiles", &wanted).await?;
    accepted(&answer, "a user's request for a Profile")?;
    let made = cx
        .until(&PROFILE, &name, "reconcile", "be made", |_| true)
        .await?;
    ensure_eq!(
        made["spec"]["owner"]["name"],
        user.as_str(),
        "the owner of Profile `{name}`"
    );
    namespace_of(cx, &name)
        .await
        .map(drop)
        .map_err(|stop| judged_by(stop, "platform/profile/creates-namespace"))
}

async fn delete(cx: &Cx, user: &str, profile: &str) -> Outcome<Answer> {
    as_user(cx, user)?
        .delete(&format!("/v1/profiles/{profile}"))
        .await
}

/// The owner gives a Profile up.
pub async fn deletes_profile(cx: &Cx) -> Outcome {
    let made = own_profile(cx, "leave", |profile| profile).await?;
    let name = name_of(&made);
    let answer = delete(cx, &owner(cx, name), name).await?;
    accepted(&answer, "the owner's request to delete a Profile")?;
    cx.until_gone(&PROFILE, name, "gone").await
}

/// Nobody deletes another one's Profile.
pub async fn refuses_foreign_deletion(cx: &Cx) -> Outcome {
    let made = own_profile(cx, "keep", |profile| profile).await?;
    let name = name_of(&made);
    let answer = delete(cx, &owner(cx, "stranger"), name).await?;
    forbidden(&answer, "a stranger's request to delete a Profile")?;
    let now = cx.need(&PROFILE, name).await?;
    ensure!(
        now["metadata"]["deletionTimestamp"].is_null(),
        "Profile `{name}` goes, after a stranger asked for it and was refused"
    );
    Ok(())
}
