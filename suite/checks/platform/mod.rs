//! What the platform must do: Profiles, the rights of people in them, access management, PodDefaults, the dashboard.
//!
//! Most of it is read off two Profiles that are made once ([`neighbour`]); what changes a Profile makes one of its own.
//! Rights are asked of the cluster with SubjectAccessReviews, and tried with the neighbour's own credentials.

mod access;
mod dashboard;
mod isolation;
mod kfam;
pub mod neighbour;
mod poddefault;
mod profile;
mod rights;

use futures::future::join_all;

pub use neighbour::{NEIGHBOUR, Tenant};

use crate::{
    checks::{Cleanup, prelude::*},
    cluster::{
        Endpoint, RUN_LABEL,
        discover::{escape, items},
    },
};

/// The checks of the platform, group by group.
pub const TABLES: &[&[Check]] = &[
    profile::CHECKS,
    access::CHECKS,
    isolation::CHECKS,
    poddefault::CHECKS,
    kfam::CHECKS,
    dashboard::CHECKS,
];

/// Removes the Profiles that checks made, and their namespaces.
pub const CLEANUP: Cleanup = Cleanup {
    name: "platform",
    as_namespace: false,
    run: |cx| Box::pin(clean(cx)),
};

/// A Profile of `fixtures/platform/profile.yaml`, owned by [`owner`].
fn profile(cx: &Cx, name: &str) -> Outcome<Value> {
    let owner = owner(cx, name);
    cx.fixture(
        "platform/profile.yaml",
        &[("name", name), ("owner", &owner)],
    )
}

/// A user of this run alone; nobody is called so.
fn owner(cx: &Cx, label: &str) -> String {
    let label = label.strip_prefix(&cx.prefix()).unwrap_or(label);
    format!("{label}.{}@conformance.kubeflow.org", cx.run.id)
}

/// The unique id of an object.
fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Where there are no notebooks, nothing can be said of who may use them.
fn has_notebooks(cx: &Cx) -> Outcome {
    if cx.facts().components.contains_key("notebooks") {
        return Ok(());
    }
    let why = "no notebooks were found on the cluster".to_owned();
    Err(Stop::NotApplicable(NotApplicable::FeatureAbsent, why))
}

/// Waits for the namespace of a Profile and marks it as the run's, so that clean-up finds it whatever becomes of the
/// Profile.
async fn namespace_of(cx: &Cx, profile: &str) -> Outcome<Value> {
    cx.until(
        &NAMESPACE,
        profile,
        "namespace",
        "be made for the Profile of this name",
        |_| true,
    )
    .await?;
    let label = json!({"metadata": {"labels": {RUN_LABEL: cx.run.id}}});
    cx.patch(&NAMESPACE, profile, &label).await
}

/// Makes a Profile of this check's own, and waits until its controller is done.
async fn own_profile(cx: &Cx, label: &str, change: impl FnOnce(Value) -> Value) -> Outcome<Value> {
    let name = cx.name(label);
    let made = cx.create(&PROFILE, &change(profile(cx, &name)?)).await?;
    namespace_of(cx, &name)
        .await
        .map_err(|stop| judged_by(stop, "platform/profile/creates-namespace"))?;
    settled(cx, &name).await?;
    Ok(made)
}

/// What another check judges keeps this one from being run.
fn judged_by(stop: Stop, judge: &str) -> Stop {
    match stop {
        Stop::Failed(failure) => Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!("{}, which `{judge}` judges", failure.message),
        ),
        other => other,
    }
}

/// Waits until the controller is done with a Profile for the first time: it then puts its finalizer on it.
async fn settled(cx: &Cx, profile: &str) -> Outcome {
    let done = |object: &Value| {
        let finalizers = object["metadata"]["finalizers"].as_array();
        finalizers.is_some_and(|list| !list.is_empty())
    };
    let settled = cx
        .until(&PROFILE, profile, "namespace", "settle", done)
        .await;
    // That there is a finalizer is nowhere promised: what depends on what it means says so itself.
    match settled {
        Ok(_) | Err(Stop::Failed(_)) => Ok(()),
        Err(stop) => Err(stop),
    }
}

async fn clean(cx: &Cx) -> Outcome<Vec<String>> {
    let mut left = Vec::new();
    let mut names = Vec::new();
    for kind in [PROFILE, NAMESPACE] {
        // The run's own namespace, and the Profile that it belongs to, are the engine's to remove, or somebody's.
        let objects = labelled(cx, &kind).await?;
        let others = objects.iter().map(name_of).filter(|n| *n != cx.namespace());
        let deleted = others.map(|name| async { (name.to_owned(), cx.delete(&kind, name).await) });
        for (name, deleted) in join_all(deleted).await {
            if let Err(stop) = deleted {
                left.push(format!("{}//{name}: {}", kind.kind, stop.message()));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    for name in &names {
        for kind in [PROFILE, NAMESPACE] {
            if let Err(stop) = cx.until_gone(&kind, name, "cleanup").await {
                left.push(format!("{}//{name}: {}", kind.kind, stop.message()));
            }
        }
    }
    Ok(left)
}

/// The objects of a kind that carry the run's label.
async fn labelled(cx: &Cx, kind: &Kind) -> Outcome<Vec<Value>> {
    let selector = escape(&format!("{RUN_LABEL}={}", cx.run.id));
    let path = format!("{}?labelSelector={selector}", kind.path(""));
    let request = Request::new(Endpoint::Kubernetes, "GET", path).keep(|object| {
        let metadata = &object["metadata"];
        json!({"metadata": {"name": metadata["name"], "uid": metadata["uid"]}})
    });
    let answer = cx.kube(request).await?;
    if !answer.is_success() {
        let why = format!("the listing of {}: {}", kind.plural, answer.summary());
        return Err(Stop::CouldNotRun(CouldNotRun::ApiServer, why));
    }
    Ok(items(answer.json(), "items").cloned().collect())
}
