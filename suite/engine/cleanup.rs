//! Removes what a run made, and says what is left.

use std::{collections::HashSet, time::Duration};

use serde_json::Value;

use crate::{
    checks::{self, Cx},
    cluster::{
        Endpoint, Kind, RUN_LABEL, Request,
        discover::{escape, items},
        kinds::{
            CLUSTER_SERVING_RUNTIME, CONFIG_MAP, EXPERIMENT, INFERENCE_GRAPH, INFERENCE_SERVICE,
            NAMESPACE, NOTEBOOK, POD, PROFILE, PVC, SERVICE, SERVING_RUNTIME, TRAINED_MODEL,
        },
    },
    outcome::Outcome,
};

/// The kinds that checks make in a namespace, those that own others first.
const MADE: [Kind; 10] = [
    EXPERIMENT,
    INFERENCE_GRAPH,
    TRAINED_MODEL,
    INFERENCE_SERVICE,
    SERVING_RUNTIME,
    NOTEBOOK,
    POD,
    SERVICE,
    CONFIG_MAP,
    PVC,
];

/// Removes everything that carries the run's label, waits until it is gone, and returns what is left as
/// `Kind/namespace/name`. `own_namespace`: the namespace itself was made by the run and goes too.
pub async fn clean(cx: &Cx, own_namespace: bool) -> Outcome<Vec<String>> {
    let mut left = Vec::new();
    for component in checks::CLEANUPS {
        if cx.facts().components.contains_key(component.name) {
            match (component.run)(cx).await {
                Ok(more) => left.extend(more),
                Err(stop) => left.push(format!("{}: {}", component.name, stop.message())),
            }
        }
    }
    let mut told = HashSet::new();
    if own_namespace {
        // Pods first, and without their grace time: what owns them would start it, and it cannot be shortened then.
        stop_pods(cx, &mut told).await?;
    }
    for kind in MADE {
        for object in labelled(cx, &kind, cx.namespace()).await? {
            cx.delete(&kind, name_of(&object)).await?;
        }
    }
    if own_namespace {
        // A namespace that still holds pods waits for the longest of them.
        let until = cx.now_ms() + 20_000;
        while !stop_pods(cx, &mut told).await? && cx.now_ms() < until {
            cx.pause(Duration::from_millis(500)).await;
        }
        // A Profile's controller removes its namespace; deleting only the namespace would bring it back.
        for kind in [PROFILE, NAMESPACE] {
            if kind == PROFILE && !cx.facts().profiles {
                continue;
            }
            for object in labelled(cx, &kind, "").await? {
                cx.delete(&kind, name_of(&object)).await?;
            }
        }
    }
    if cx.facts().components.contains_key("kserve") {
        for object in labelled(cx, &CLUSTER_SERVING_RUNTIME, "").await? {
            cx.delete(&CLUSTER_SERVING_RUNTIME, name_of(&object))
                .await?;
        }
    }
    if own_namespace {
        for object in labelled(cx, &NAMESPACE, "").await? {
            let name = name_of(&object).to_owned();
            if cx.until_gone(&NAMESPACE, &name, "cleanup").await.is_err() {
                left.push(format!("Namespace//{name}"));
            }
        }
    } else {
        for kind in MADE {
            for object in labelled(cx, &kind, cx.namespace()).await? {
                let name = name_of(&object).to_owned();
                if cx.until_gone(&kind, &name, "cleanup").await.is_err() {
                    left.push(format!("{}/{}/{name}", kind.kind, cx.namespace()));
                }
            }
        }
    }
    for kind in [PROFILE, NAMESPACE, CLUSTER_SERVING_RUNTIME] {
        for object in labelled(cx, &kind, "").await? {
            let entry = format!("{}//{}", kind.kind, name_of(&object));
            if !left.contains(&entry) {
                left.push(entry);
            }
        }
    }
    Ok(left)
}

/// Ends the pods of the run's own namespace that were not told yet; says whether none is left.
async fn stop_pods(cx: &Cx, told: &mut HashSet<String>) -> Outcome<bool> {
    let pods = cx.list(&POD, "").await?;
    let requests = pods
        .iter()
        .filter(|pod| told.insert(pod["metadata"]["uid"].to_string()))
        .map(|pod| {
            let path = format!(
                "{}?gracePeriodSeconds=1",
                POD.object_path(cx.namespace(), name_of(pod))
            );
            Request::new(Endpoint::Kubernetes, "DELETE", path)
        })
        .collect();
    // One that is gone meanwhile is what we want.
    cx.session.batch(requests).await;
    Ok(pods.is_empty())
}

/// The objects of a kind that carry the run's label; none where the kind is not served or may not be listed.
async fn labelled(cx: &Cx, kind: &Kind, namespace: &str) -> Outcome<Vec<Value>> {
    let selector = escape(&format!("{RUN_LABEL}={}", cx.run.id));
    let path = format!("{}?labelSelector={selector}", kind.path(namespace));
    let answer = cx
        .kube(Request::new(Endpoint::Kubernetes, "GET", path))
        .await?;
    Ok(items(answer.json(), "items").cloned().collect())
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
