//! What the people and accounts of a Profile may do in its namespace.

use super::{
    has_notebooks, judged_by,
    neighbour::{TENANT, Tenant},
    own_profile,
    rights::{Deed, Who, come_to, may, may_not},
};
use crate::checks::prelude::*;

requirement_checks! {
    "platform/access/owner-manages-namespace" => owner_manages_namespace, needs [&TENANT];
    "platform/access/owner-keeps-limits" => owner_keeps_limits, needs [&TENANT];
    "platform/access/editor-works-in-namespace" => editor_works_in_namespace, needs [&TENANT];
    "platform/access/editor-gives-no-rights" => editor_gives_no_rights, needs [&TENANT];
    "platform/access/viewer-only-reads" => viewer_only_reads, needs [&TENANT];
    "platform/access/default-account-has-no-rights" => default_account_has_no_rights, needs [&TENANT];
    "platform/access/stranger-has-no-rights" => stranger_has_no_rights, needs [&TENANT];
    "platform/access/notebooks-follow-roles" => notebooks_follow_roles, needs [&TENANT];
    "platform/access/group-owns-namespace" => group_owns_namespace;
    "platform/access/policy-names-owner" => policy_names_owner, needs [&TENANT];
}

/// What somebody does who works in a namespace.
const WORK: &[Deed] = &[
    ("create", "", "pods"),
    ("delete", "", "pods"),
    ("create", "", "configmaps"),
    ("create", "", "secrets"),
    ("list", "", "secrets"),
    ("create", "", "persistentvolumeclaims"),
    ("create", "", "services"),
];
/// What somebody does who looks at it.
const LOOK: &[Deed] = &[
    ("list", "", "pods"),
    ("get", "", "pods/log"),
    ("list", "", "services"),
    ("list", "", "configmaps"),
];
/// What somebody does who decides about it.
const DECIDE: &[Deed] = &[
    ("list", "rbac.authorization.k8s.io", "rolebindings"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("delete", "rbac.authorization.k8s.io", "rolebindings"),
];

/// The owner.
pub async fn owner_manages_namespace(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let owner = Who::user(&tenant.owner);
    may(
        cx,
        &owner,
        &tenant.namespace,
        &[WORK, LOOK, DECIDE].concat(),
    )
    .await
}

/// The owner sees the limits, and does not lift them.
pub async fn owner_keeps_limits(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let owner = Who::user(&tenant.owner);
    let (name, role) = (&tenant.namespace, "platform/access/owner-manages-namespace");
    let seen = may(
        cx,
        &owner,
        name,
        &[("list", "", "resourcequotas"), ("list", "", "pods")],
    )
    .await;
    seen.map_err(|stop| judged_by(stop, role))?;
    let limits: &[Deed] = &[
        ("create", "", "resourcequotas"),
        ("update", "", "resourcequotas"),
        ("delete", "", "resourcequotas"),
        ("delete", "", "namespaces"),
        ("patch", "", "namespaces"),
    ];
    may_not(cx, &owner, name, limits).await
}

/// The account that components work as.
pub async fn editor_works_in_namespace(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let editor = Who::account(&tenant.namespace, "default-editor");
    may(cx, &editor, &tenant.namespace, &[WORK, LOOK].concat()).await
}

/// That account gives nobody rights.
pub async fn editor_gives_no_rights(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let editor = Who::account(&tenant.namespace, "default-editor");
    may(cx, &editor, &tenant.namespace, LOOK)
        .await
        .map_err(|stop| judged_by(stop, "platform/access/editor-works-in-namespace"))?;
    may_not(cx, &editor, &tenant.namespace, DECIDE).await
}

/// The account that looks.
pub async fn viewer_only_reads(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let viewer = Who::account(&tenant.namespace, "default-viewer");
    may(cx, &viewer, &tenant.namespace, LOOK).await?;
    may_not(cx, &viewer, &tenant.namespace, WORK).await
}

/// The account that every namespace has is no member.
pub async fn default_account_has_no_rights(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let default = Who::account(&tenant.namespace, "default");
    may_not(cx, &default, &tenant.namespace, &[WORK, LOOK].concat()).await
}

/// Whoever is not of the Profile.
pub async fn stranger_has_no_rights(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let stranger = Who::user(&super::owner(cx, "stranger"));
    may_not(
        cx,
        &stranger,
        &tenant.namespace,
        &[WORK, LOOK, DECIDE].concat(),
    )
    .await
}

/// Notebooks, where there are any: owner and editor make them, the viewer sees them.
pub async fn notebooks_follow_roles(cx: &Cx) -> Outcome {
    const MAKE: &[Deed] = &[
        ("create", "kubeflow.org", "notebooks"),
        ("patch", "kubeflow.org", "notebooks"),
        ("delete", "kubeflow.org", "notebooks"),
    ];
    const SEE: &[Deed] = &[
        ("get", "kubeflow.org", "notebooks"),
        ("list", "kubeflow.org", "notebooks"),
    ];
    has_notebooks(cx)?;
    let tenant: Tenant = cx.setup(&TENANT)?;
    let namespace = &tenant.namespace;
    let editor = Who::account(namespace, "default-editor");
    let viewer = Who::account(namespace, "default-viewer");
    // Whether the accounts have their roles at all, others judge.
    may(cx, &editor, namespace, &WORK[..1])
        .await
        .map_err(|stop| judged_by(stop, "platform/access/editor-works-in-namespace"))?;
    let role = "platform/access/viewer-only-reads";
    let looks = may(cx, &viewer, namespace, &LOOK[..1]).await;
    looks.map_err(|stop| judged_by(stop, role))?;
    let works = may_not(cx, &viewer, namespace, &WORK[..1]).await;
    works.map_err(|stop| judged_by(stop, role))?;
    for who in [Who::user(&tenant.owner), editor] {
        may(cx, &who, namespace, &[MAKE, SEE].concat()).await?;
    }
    may(cx, &viewer, namespace, SEE).await?;
    may_not(cx, &viewer, namespace, MAKE).await
}

/// A group may own a Profile: its members have the rights.
pub async fn group_owns_namespace(cx: &Cx) -> Outcome {
    let group = super::owner(cx, "group");
    let subject = json!({"kind": "Group", "name": group});
    let made = own_profile(cx, "group", |profile| with(&profile, "spec.owner", subject)).await?;
    let (member, namespace) = (Who::user(&super::owner(cx, "member")), name_of(&made));
    come_to(cx, &member.clone().of(&group), namespace, WORK, true).await?;
    may_not(cx, &member, namespace, WORK).await
}

/// The mesh lets the owner in, and says so by name.
pub async fn policy_names_owner(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let policy = cx
        .until_in(
            &AUTHORIZATION_POLICY,
            &tenant.namespace,
            "ns-owner-access-istio",
            "reconcile",
            "be made",
            |_| true,
        )
        .await?;
    let rules = policy["spec"]["rules"].as_array();
    let conditions = rules
        .into_iter()
        .flatten()
        .filter_map(|rule| rule["when"].as_array());
    let named: Vec<&Value> = conditions
        .flatten()
        .filter(|when| {
            when["key"]
                .as_str()
                .is_some_and(|k| k.starts_with("request.headers["))
        })
        .filter_map(|when| when["values"].as_array())
        .flatten()
        .collect();
    let named_alone = named.len() == 1
        && named[0]
            .as_str()
            .is_some_and(|value| value.ends_with(&tenant.owner));
    if named_alone {
        return Ok(());
    }
    Err(Stop::unlike(
        format!(
            "AuthorizationPolicy `ns-owner-access-istio` does not let in `{}` alone",
            tenant.owner
        ),
        tenant.owner.clone(),
        json!(named).to_string(),
    ))
}
