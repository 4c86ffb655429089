//! What of a Kubernetes object is never recorded, since no check may read it: where it runs, and what is in objects that
//! are not the run's.

use serde_json::Value;

use super::{RUN_LABEL, own_name};

/// What a pod says of the node that it is on, and of addresses.
const PLACE: [(&str, &[&str]); 2] = [
    ("spec", &["nodeName"]),
    ("status", &["hostIP", "hostIPs", "podIP", "podIPs"]),
];
/// What is kept of a container that is not the run's.
const CONTAINER: [&str; 3] = ["name", "image", "ports"];
/// What is kept of the metadata of an object that is not the run's.
const METADATA: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "ownerReferences",
    "creationTimestamp",
    "deletionTimestamp",
    "resourceVersion",
];
/// What is kept of an event: who said it is a component of some node.
const EVENT: [&str; 9] = [
    "metadata",
    "involvedObject",
    "type",
    "reason",
    "message",
    "count",
    "firstTimestamp",
    "lastTimestamp",
    "eventTime",
];

/// Takes out of an answer of the Kubernetes API, an object or a list, what is never recorded of a run of this id.
pub(super) fn reduce(answer: &mut Value, run: &str) {
    let kind = answer["kind"].as_str().unwrap_or_default().to_owned();
    match (kind.strip_suffix("List"), answer.get_mut("items")) {
        (Some(kind), Some(Value::Array(items))) => {
            for item in items {
                object(item, kind, run);
            }
        }
        _ => object(answer, &kind, run),
    }
}

fn object(object: &mut Value, kind: &str, run: &str) {
    let ours = is_ours(object, run);
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match kind {
        "Pod" => {
            for (part, keys) in PLACE {
                if let Some(Value::Object(part)) = map.get_mut(part) {
                    part.retain(|key, _| !keys.contains(&key.as_str()));
                }
            }
        }
        "Event" => {
            map.retain(|key, _| EVENT.contains(&key.as_str()));
            if map
                .get("reason")
                .is_some_and(|reason| reason == "Scheduled")
            {
                // It says nothing but on which node.
                map.shift_remove("message");
            }
        }
        "Namespace" | "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job"
        | "CronJob" => {}
        _ => return,
    }
    if !ours {
        only(map.get_mut("metadata"), &METADATA);
        map.values_mut().for_each(pods);
    }
}

/// Of the pod templates in a part of an object only the containers are kept.
fn pods(value: &mut Value) {
    match value {
        Value::Object(map) if map.get("containers").is_some_and(Value::is_array) => {
            map.retain(|key, _| matches!(key.as_str(), "containers" | "initContainers"));
            for container in map.values_mut().filter_map(Value::as_array_mut).flatten() {
                only(Some(container), &CONTAINER);
            }
        }
        Value::Object(map) => {
            // A template's metadata is as free as an object's.
            only(map.get_mut("metadata"), &METADATA);
            map.values_mut().for_each(pods);
        }
        _ => {}
    }
}

fn only(object: Option<&mut Value>, keys: &[&str]) {
    if let Some(map) = object.and_then(Value::as_object_mut) {
        map.retain(|key, _| keys.contains(&key.as_str()));
    }
}

/// Whether an object is the run's, or was made for it: it is in the run's own namespace, or bears its name or label.
fn is_ours(object: &Value, run: &str) -> bool {
    let own = own_name(run);
    let metadata = &object["metadata"];
    let begins = |key: &str| {
        let text = metadata[key].as_str();
        text.and_then(|text| text.strip_prefix(&own))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    };
    begins("name") || begins("namespace") || metadata["labels"][RUN_LABEL] == run
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_the_runs_is_kept_whole() {
        let pod = |name: &str, namespace: &str| {
            json!({
                "metadata": {"name": name, "namespace": namespace, "annotations": {"a": "theirs"}},
                "spec": {"nodeName": "node-7", "volumes": [{"secret": {"secretName": "theirs"}}], "containers": [{
                    "name": "main", "image": "x:1", "args": ["theirs"],
                    "env": [{"name": "A", "value": "theirs"}], "envFrom": [{"secretRef": {"name": "theirs"}}],
                }]},
                "status": {"phase": "Running", "hostIP": "10.0.0.7", "podIP": "10.1.0.7", "podIPs": [{"ip": "10.1.0.7"}]},
            })
        };
        let mut list = json!({"kind": "PodList", "items": [
            pod("kfc-r-1", "team"), pod("x", "kfc-r"), pod("kfc-rest", "team"),
        ]});
        reduce(&mut list, "r");
        for place in ["node-7", "10.0.0.7", "10.1.0.7"] {
            assert!(!list.to_string().contains(place), "{place}");
        }
        for own in 0..2 {
            assert_eq!(
                list["items"][own]["spec"]["containers"][0]["env"][0]["value"],
                "theirs"
            );
        }
        assert_eq!(
            list["items"][2],
            json!({
                "metadata": {"name": "kfc-rest", "namespace": "team"},
                "spec": {"containers": [{"name": "main", "image": "x:1"}]},
                "status": {"phase": "Running"},
            })
        );
        let mut deployment = json!({"kind": "Deployment", "metadata": {"name": "x", "namespace": "team"},
            "spec": {"template": {"metadata": {"annotations": {"a": "theirs"}}, "spec": pod("x", "team")["spec"]}}});
        reduce(&mut deployment, "r");
        assert!(!deployment.to_string().contains("theirs"), "{deployment}");
    }
}
