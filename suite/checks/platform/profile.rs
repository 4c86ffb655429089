//! A Profile, and what its controller makes of it and keeps.

use super::{
    judged_by, namespace_of,
    neighbour::{NEIGHBOUR, QUOTA, TENANT, Tenant},
    own_profile, owner, profile, uid_of,
};
use crate::{checks::prelude::*, cluster::Endpoint};

requirement_checks! {
    "platform/profile/status-subresource" => status_subresource, needs [&TENANT];
    "platform/profile/serves-v1beta1" => serves_v1beta1, needs [&TENANT];
    "platform/profile/refuses-owner-without-name" => refuses_owner_without_name;
    "platform/profile/refuses-owner-without-kind" => refuses_owner_without_kind;
    "platform/profile/refuses-bad-quota" => refuses_bad_quota;
    "platform/profile/creates-namespace" => creates_namespace, needs [&NEIGHBOUR, &TENANT];
    "platform/profile/names-owner" => names_owner, needs [&TENANT];
    "platform/profile/labels-namespace" => labels_namespace, needs [&TENANT];
    "platform/profile/keeps-own-labels" => keeps_own_labels;
    "platform/profile/makes-service-accounts" => makes_service_accounts, needs [&TENANT];
    "platform/profile/binds-as-documented" => binds_as_documented, needs [&TENANT];
    "platform/profile/quota-appears" => quota_appears, needs [&TENANT];
    "platform/profile/quota-follows" => quota_follows;
    "platform/profile/quota-goes" => quota_goes;
    "platform/profile/repairs-binding" => repairs_binding;
    "platform/profile/repairs-service-account" => repairs_service_account;
    "platform/profile/keeps-foreign-namespace" => keeps_foreign_namespace;
    "platform/profile/is-deleted-with-namespace" => is_deleted_with_namespace;
}

/// The annotation by which a namespace says whose it is.
const OWNER: &str = "owner";
/// The name of the quota that a Profile asks for.
const QUOTA_NAME: &str = "kf-resource-quota";

/// A write to a Profile leaves its status alone.
pub async fn status_subresource(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let path = format!("{}?dryRun=All", PROFILE.object_path("", &tenant.namespace));
    let patch = json!({
        "metadata": {"labels": {"conformance.kubeflow.org/touched": "true"}},
        "status": {"conditions": [{"type": "Written", "status": "True", "message": "by a user"}]},
    });
    let request = Request::new(Endpoint::Kubernetes, "PATCH", path)
        .content("application/merge-patch+json", Body::Json(patch));
    let answer = cx.kube(request).await?;
    ensure!(
        answer.is_success(),
        "the change (dry run) of a label of Profile `{}` was answered with {}",
        tenant.namespace,
        answer.summary()
    );
    let changed = answer.json();
    ensure_eq!(
        changed["metadata"]["labels"]["conformance.kubeflow.org/touched"],
        "true",
        "the label that was sent with a status"
    );
    let conditions = changed["status"]["conditions"].as_array();
    let written = conditions.is_some_and(|list| list.iter().any(|c| c["type"] == "Written"));
    ensure!(
        !written,
        "a condition that was sent with a label of Profile `{}` was kept, and must not be",
        tenant.namespace
    );
    Ok(())
}

/// What was created as v1 is read as v1beta1.
pub async fn serves_v1beta1(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let older = cx.need(&PROFILE.at("v1beta1"), &tenant.namespace).await?;
    ensure_eq!(
        uid_of(&older),
        uid_of(&tenant.profile),
        "the uid of Profile `{}` as v1beta1",
        tenant.namespace
    );
    ensure_eq!(
        older["spec"]["owner"],
        tenant.profile["spec"]["owner"],
        "the owner of Profile `{}` as v1beta1",
        tenant.namespace
    );
    Ok(())
}

/// An owner has a name.
pub async fn refuses_owner_without_name(cx: &Cx) -> Outcome {
    let good = profile(cx, &cx.name("nameless"))?;
    let bad = with(&good, "spec.owner.name", Value::Null);
    cx.refuses(&PROFILE, &good, &bad, "whose owner has no name")
        .await
}

/// An owner has a kind.
pub async fn refuses_owner_without_kind(cx: &Cx) -> Outcome {
    let good = profile(cx, &cx.name("kindless"))?;
    let bad = with(&good, "spec.owner.kind", Value::Null);
    cx.refuses(&PROFILE, &good, &bad, "whose owner has no kind")
        .await
}

/// An amount in a quota is an amount.
pub async fn refuses_bad_quota(cx: &Cx) -> Outcome {
    let profile = profile(cx, &cx.name("quota"))?;
    let quota = |amount: &str| {
        with(
            &profile,
            "spec.resourceQuotaSpec",
            json!({"hard": {"memory": amount}}),
        )
    };
    cx.refuses(
        &PROFILE,
        &quota("2Gi"),
        &quota("plenty"),
        "whose quota is no amount",
    )
    .await
}

/// A Profile has a namespace of its name.
pub async fn creates_namespace(cx: &Cx) -> Outcome {
    for setup in [&NEIGHBOUR, &TENANT] {
        let tenant: Tenant = cx.setup(setup)?;
        let name = &tenant.namespace;
        ensure_eq!(
            tenant.object["status"]["phase"],
            "Active",
            "the phase of namespace `{name}` of the Profile of this name"
        );
    }
    Ok(())
}

/// The namespace says whose it is.
pub async fn names_owner(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    ensure_eq!(
        tenant.object["metadata"]["annotations"][OWNER],
        tenant.owner.as_str(),
        "the annotation `{OWNER}` of namespace `{}`",
        tenant.namespace
    );
    Ok(())
}

/// The labels by which components know a namespace that they serve.
const LABELS: [(&str, &str); 4] = [
    ("app.kubernetes.io/part-of", "kubeflow-profile"),
    ("katib.kubeflow.org/metrics-collector-injection", "enabled"),
    ("pipelines.kubeflow.org/enabled", "true"),
    ("serving.kubeflow.org/inferenceservice", "enabled"),
];

/// The namespace has the labels by which components know it.
pub async fn labels_namespace(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    for (key, value) in LABELS {
        ensure_eq!(
            tenant.object["metadata"]["labels"][key],
            value,
            "the label `{key}` of namespace `{}`",
            tenant.namespace
        );
    }
    Ok(())
}

/// A value that somebody gave to one of those labels stays; one that was removed comes again.
pub async fn keeps_own_labels(cx: &Cx) -> Outcome {
    let made = own_profile(cx, "labels", |profile| profile).await?;
    let name = name_of(&made);
    let (own, removed) = (LABELS[3].0, LABELS[2].0);
    let change = json!({"metadata": {"labels": {own: "disabled", removed: null}}});
    cx.patch(&NAMESPACE, name, &change).await?;
    let again = cx
        .until(
            &NAMESPACE,
            name,
            "reconcile",
            &format!("get the label `{removed}` again"),
            |namespace| !namespace["metadata"]["labels"][removed].is_null(),
        )
        .await?;
    ensure_eq!(
        again["metadata"]["labels"][own],
        "disabled",
        "the label `{own}` of namespace `{name}`, to which a user gave this value"
    );
    Ok(())
}

/// The two accounts that components work as are there.
pub async fn makes_service_accounts(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let there: Vec<&str> = tenant.accounts.iter().map(name_of).collect();
    for name in ["default-editor", "default-viewer"] {
        ensure!(
            there.contains(&name),
            "namespace `{}` has no service account `{name}`, but {there:?}",
            tenant.namespace
        );
    }
    Ok(())
}

/// The bindings have the documented names and roles.
pub async fn binds_as_documented(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let account = |name: &str| ("ServiceAccount", name.to_owned());
    let wanted = [
        (
            "namespaceAdmin",
            "kubeflow-admin",
            ("User", tenant.owner.clone()),
        ),
        ("default-editor", "kubeflow-edit", account("default-editor")),
        ("default-viewer", "kubeflow-view", account("default-viewer")),
    ];
    for (name, role, (kind, subject)) in wanted {
        let found = tenant.bindings.iter().find(|b| name_of(b) == name);
        let Some(found) = found else {
            let there: Vec<&str> = tenant.bindings.iter().map(name_of).collect();
            return Err(Stop::unlike(
                format!(
                    "namespace `{}` has no RoleBinding `{name}`",
                    tenant.namespace
                ),
                name,
                there.join(", "),
            ));
        };
        // What the binding comes to, the checks of access ask.
        let subjects = found["subjects"].as_array();
        let named = subjects.is_some_and(|all| !all.is_empty());
        ensure!(
            named && found["roleRef"]["kind"] == "ClusterRole",
            "RoleBinding `{name}` binds no ClusterRole to anybody, and must bind {role} to {kind} `{subject}`"
        );
    }
    Ok(())
}

/// The quota of a Profile holds in its namespace.
pub async fn quota_appears(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let (key, value) = QUOTA;
    cx.until_in(
        &RESOURCE_QUOTA,
        &tenant.namespace,
        QUOTA_NAME,
        "reconcile",
        &format!("allow {value} {key}, as its Profile says"),
        |quota| quota["spec"]["hard"][key] == value,
    )
    .await?;
    Ok(())
}

/// A Profile with a quota of this check's own, and the quota.
async fn with_quota(cx: &Cx, label: &str, hard: Value) -> Outcome<String> {
    let quota = json!({"hard": hard});
    let made = own_profile(cx, label, |p| with(&p, "spec.resourceQuotaSpec", quota)).await?;
    let name = name_of(&made).to_owned();
    let there = cx
        .until_in(
            &RESOURCE_QUOTA,
            &name,
            QUOTA_NAME,
            "reconcile",
            "be made",
            |_| true,
        )
        .await;
    there.map_err(|stop| judged_by(stop, "platform/profile/quota-appears"))?;
    Ok(name)
}

/// A changed quota of a Profile holds; what it no longer limits is free.
pub async fn quota_follows(cx: &Cx) -> Outcome {
    let hard = json!({"persistentvolumeclaims": "3", "services": "5"});
    let name = with_quota(cx, "follows", hard).await?;
    let change = json!({"spec": {"resourceQuotaSpec": {"hard": {"persistentvolumeclaims": "4", "services": null}}}});
    cx.patch(&PROFILE, &name, &change).await?;
    cx.until_in(
        &RESOURCE_QUOTA,
        &name,
        QUOTA_NAME,
        "reconcile",
        "follow its Profile, which now allows 4 persistentvolumeclaims and any number of services",
        |quota| quota["spec"]["hard"] == json!({"persistentvolumeclaims": "4"}),
    )
    .await?;
    Ok(())
}

/// Without a quota in the Profile there is none in the namespace.
pub async fn quota_goes(cx: &Cx) -> Outcome {
    let name = with_quota(cx, "free", json!({"persistentvolumeclaims": "3"})).await?;
    let change = json!({"spec": {"resourceQuotaSpec": null}});
    cx.patch(&PROFILE, &name, &change).await?;
    cx.until_gone_in(&RESOURCE_QUOTA, &name, QUOTA_NAME, "reconcile")
        .await
}

/// An object of a Profile's namespace comes again after it was deleted.
async fn comes_again(cx: &Cx, kind: &Kind, label: &str, name: &str) -> Outcome<Value> {
    let made = own_profile(cx, label, |profile| profile).await?;
    let namespace = name_of(&made);
    let before = cx
        .until_in(kind, namespace, name, "namespace", "be made", |_| true)
        .await
        .map_err(|stop| judged_by(stop, "platform/profile/binds-as-documented"))?;
    cx.delete_in(kind, namespace, name).await?;
    cx.until_in(
        kind,
        namespace,
        name,
        "reconcile",
        "come again after it was deleted",
        |now| uid_of(now) != uid_of(&before),
    )
    .await
}

/// The owner's rights come again.
pub async fn repairs_binding(cx: &Cx) -> Outcome {
    let again = comes_again(cx, &ROLE_BINDING, "rights", "namespaceAdmin").await?;
    let namespace = again["metadata"]["namespace"].as_str().unwrap_or_default();
    let owner = owner(cx, namespace);
    let subjects = again["subjects"].as_array();
    ensure!(
        subjects.is_some_and(|all| all.iter().any(|s| s["name"] == owner.as_str())),
        "RoleBinding `namespaceAdmin`, which was deleted, came again without the owner `{owner}`"
    );
    Ok(())
}

/// The account that components work as comes again.
pub async fn repairs_service_account(cx: &Cx) -> Outcome {
    comes_again(cx, &SERVICE_ACCOUNT, "account", "default-editor")
        .await
        .map(drop)
}

/// A namespace that is not a Profile's stays as it is when a Profile of its name is made, whoever it says that it belongs
/// to. That nothing happens is told by another Profile, made later, which is done.
pub async fn keeps_foreign_namespace(cx: &Cx) -> Outcome {
    let (foreign, unowned) = (cx.name("foreign"), cx.name("unowned"));
    let owners = json!({OWNER: owner(cx, "somebody")});
    let mut before = Vec::new();
    for (name, annotations) in [(&foreign, owners), (&unowned, json!({}))] {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "annotations": annotations},
        });
        before.push(cx.create(&NAMESPACE, &namespace).await?);
        cx.create(&PROFILE, &profile(cx, name)?).await?;
    }
    own_profile(cx, "later", |profile| profile).await?;
    for made in &before {
        let name = name_of(made);
        let now = cx.need(&NAMESPACE, name).await?;
        let owners = |object: &Value| {
            let metadata = &object["metadata"];
            json!([metadata["annotations"][OWNER], metadata["ownerReferences"]])
        };
        ensure_eq!(
            owners(&now),
            owners(made),
            "the owner (annotation and references) of namespace `{name}`, which was there before a Profile of its name"
        );
        let owner = owner(cx, name);
        let bindings = cx.list_in(&ROLE_BINDING, name, "").await?;
        let given = bindings.iter().find(|binding| {
            let subjects = binding["subjects"].as_array();
            subjects.is_some_and(|all| all.iter().any(|s| s["name"] == owner.as_str()))
        });
        ensure!(
            given.is_none(),
            "a Profile gave its owner rights in namespace `{name}`, which was there before it"
        );
    }
    Ok(())
}

/// With a Profile goes its namespace.
pub async fn is_deleted_with_namespace(cx: &Cx) -> Outcome {
    let name = cx.name("brief");
    cx.create(&PROFILE, &profile(cx, &name)?).await?;
    namespace_of(cx, &name).await?;
    super::settled(cx, &name).await?;
    cx.delete(&PROFILE, &name).await?;
    cx.until_gone(&PROFILE, &name, "gone").await?;
    cx.until_gone(&NAMESPACE, &name, "gone").await
}
