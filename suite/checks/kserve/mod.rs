//! What KServe must do: its API, what admission adds and refuses, runtimes, graphs, and the life of a service.

mod admission;
mod admission_graph;
mod admission_scaling;
mod agent;
mod api;
mod component;
mod defaults;
mod graph;
mod grpc;
mod inferenceservice;
mod ingress;
mod protocol;
mod reach;
mod runtime;
mod selection;
mod storage;
mod workload;

use std::time::Duration;

use super::{Cleanup, prelude::*};
use crate::cluster::RUN_LABEL;

/// The checks, file by file.
pub const TABLES: &[&[Check]] = &[
    api::CHECKS,
    defaults::CHECKS,
    admission::CHECKS,
    admission_scaling::CHECKS,
    admission_graph::CHECKS,
    runtime::CHECKS,
    selection::CHECKS,
    inferenceservice::CHECKS,
    workload::CHECKS,
    storage::CHECKS,
    protocol::CHECKS,
    grpc::CHECKS,
    component::CHECKS,
    graph::CHECKS,
    agent::CHECKS,
    ingress::CHECKS,
];

/// Deletes the run's InferenceServices; see [`remove_services`].
pub const CLEANUP: Cleanup = Cleanup {
    name: "kserve",
    as_namespace: false,
    run: |cx| Box::pin(remove_services(cx)),
};

/// The label by which the pods of an InferenceService are found.
const SERVICE_LABEL: &str = "serving.kserve.io/inferenceservice";
/// The annotation that says how an InferenceService is deployed.
const MODE: &str = "serving.kserve.io/deploymentMode";

/// The word for the mode without Knative. Where nothing tells it none is guessed: with the wrong one objects stay behind.
fn mode(cx: &Cx) -> Outcome<&str> {
    let mode = cx.facts().kserve_mode.as_str();
    if mode.is_empty() {
        return Err(Stop::CouldNotRun(
            CouldNotRun::NoPermission,
            "neither KServe's version nor its CRD could be read, so that nobody knows its word for the mode without \
             Knative; set `components: {kserve: {version: …}}` or `mode` in the file given with --config"
                .to_owned(),
        ));
    }
    Ok(mode)
}

/// The word for the mode with Knative, of the same release.
fn knative_mode(cx: &Cx) -> Outcome<&'static str> {
    Ok(match mode(cx)? {
        "Standard" => "Knative",
        _ => "Serverless",
    })
}

/// The base InferenceService (fixtures/kserve/predictor.yaml) in the mode that this cluster understands.
fn predictor(cx: &Cx, label: &str) -> Outcome<Value> {
    let marks = [("name", &*cx.name(label)), ("mode", mode(cx)?)];
    cx.fixture("kserve/predictor.yaml", &marks)
}

/// A JSON document with another merged over it (RFC 7396): the twin of an object that differs in what is said only.
fn merged(base: &Value, change: &Value) -> Value {
    let Value::Object(change) = change else {
        return change.clone();
    };
    let mut merged = base.as_object().cloned().unwrap_or_default();
    for (key, value) in change {
        if value.is_null() {
            merged.shift_remove(key);
        } else {
            let below = merged.get(key).unwrap_or(&Value::Null);
            merged.insert(key.clone(), self::merged(below, value));
        }
    }
    Value::Object(merged)
}

/// Creates an InferenceService and waits until it is ready; returns its name.
async fn ready(cx: &Cx, object: &Value) -> Outcome<String> {
    let created = cx.create(&INFERENCE_SERVICE, object).await?;
    let name = text(&created["metadata"]["name"]).to_owned();
    until_ready(cx, &name).await?;
    Ok(name)
}

/// Waits until an InferenceService is ready, and returns it.
async fn until_ready(cx: &Cx, name: &str) -> Outcome<Value> {
    cx.until(
        &INFERENCE_SERVICE,
        name,
        "inferenceservice-ready",
        "become ready",
        |service| condition(service, "Ready") == "True",
    )
    .await
}

/// That the Deployment and the Service of this name have an object as their controller, so that they go with it.
async fn owns_workload(cx: &Cx, owner: &Value, name: &str) -> Outcome {
    for kind in [&DEPLOYMENT, &SERVICE] {
        let made = cx.need(kind, name).await?;
        let owners = &made["metadata"]["ownerReferences"];
        ensure!(
            is_controlled_by(&made, owner),
            "{} `{name}` does not name its {} as its controller: its owners are {owners}",
            kind.kind,
            text(&owner["kind"])
        );
    }
    Ok(())
}

/// The name of what an InferenceService in the mode without Knative makes for its predictor: Deployment, Service and
/// autoscaler are called alike.
fn predictor_name(service: &str) -> String {
    format!("{service}-predictor")
}

/// Waits for the pods of an InferenceService; see [`Cx::pods_until`].
async fn pods_until(
    cx: &Cx,
    service: &str,
    timeout: &'static str,
    what: &str,
    holds: impl FnMut(&[Value]) -> bool,
) -> Outcome<Vec<Value>> {
    let of = format!("InferenceService `{service}`");
    let selector = format!("{SERVICE_LABEL}={service}");
    cx.pods_until(&of, &selector, timeout, what, holds).await
}

/// Whether a pod is ready and not on its way out.
fn is_serving(pod: &Value) -> bool {
    condition(pod, "Ready") == "True" && pod["metadata"]["deletionTimestamp"].is_null()
}

/// Deletes the run's InferenceServices, so that each can still be helped out of the way: `KServe` 0.16.0 lets none go whose
/// annotation names the mode by another word than its status (kserve/kserve#4798), and a namespace that holds one stays.
async fn remove_services(cx: &Cx) -> Outcome<Vec<String>> {
    let until = cx.after("cleanup");
    let own = format!("{RUN_LABEL}={}", cx.run.id);
    let mut wait = Duration::from_millis(50);
    loop {
        let left = cx.list(&INFERENCE_SERVICE, &own).await?;
        let helped = left.iter().map(|service| async move {
            let name = text(&service["metadata"]["name"]);
            if service["metadata"]["deletionTimestamp"].is_null() {
                return cx.delete(&INFERENCE_SERVICE, name).await;
            }
            let recorded = &service["status"]["deploymentMode"];
            if recorded.is_string() && service["metadata"]["annotations"][MODE] != *recorded {
                let rename = json!({"metadata": {"annotations": {MODE: recorded}}});
                cx.try_patch(&INFERENCE_SERVICE, name, &rename).await?;
            }
            Ok(())
        });
        futures::future::try_join_all(helped).await?;
        if left.is_empty() || cx.now_ms() >= until {
            let names = left.iter().map(|s| text(&s["metadata"]["name"]));
            return Ok(names
                .map(|name| format!("InferenceService/{}/{name}", cx.namespace()))
                .collect());
        }
        cx.pause(wait).await;
        wait = (wait * 2).min(Duration::from_millis(1500));
    }
}

/// The text of a JSON string; empty for anything else.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_merged_over_its_base() {
        let base = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        let change = json!({"a": {"b": null, "c": [3]}, "e": {"f": 1}});
        assert_eq!(
            merged(&base, &change),
            json!({"a": {"c": [3]}, "d": 1, "e": {"f": 1}})
        );
    }
}
