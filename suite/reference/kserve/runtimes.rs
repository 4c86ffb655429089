//! Which serving runtime a model gets, and the container that is made of both.

use serde_json::{Value, json};

use super::{CLUSTER_RUNTIMES, RUNTIMES, array, merge_over, text};
use crate::reference::kube::{Faults, World};

/// A runtime that was found for a model.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) cluster: bool,
    pub(super) spec: Value,
}

/// Why a model has no runtime: the reason and the message of `lastFailureInfo`.
pub(super) type Failure = (&'static str, &'static str);

/// The runtime of a model: the one that it names, else the first that supports it and may be selected.
pub(super) fn of(world: &World, namespace: &str, model: &Value) -> Result<Found, Failure> {
    let faults = world.faults();
    let all = || {
        let own = world.list(&RUNTIMES, Some(namespace));
        let cluster = world.list(&CLUSTER_RUNTIMES, None);
        let own = own.into_iter().map(|r| (r, false));
        own.chain(cluster.into_iter().map(|r| (r, true)))
            .map(|(runtime, cluster)| Found {
                name: text(&runtime["metadata"]["name"]).to_owned(),
                cluster,
                spec: runtime["spec"].clone(),
            })
    };
    if let Some(name) = model["runtime"].as_str() {
        let found = all().find(|r| r.name == name).ok_or((
            reason(faults, "unknown-runtime", "RuntimeNotRecognized"),
            "Waiting for runtime to become available",
        ))?;
        if found.spec["disabled"] == true {
            return Err((
                reason(faults, "disabled-runtime", "RuntimeDisabled"),
                "Specified runtime is disabled",
            ));
        }
        if !speaks(&found.spec, model["protocolVersion"].as_str())
            && !faults.has("kserve/runtime/reports-unsupported-protocol")
        {
            return Err((
                "NoSupportingRuntime",
                "Specified runtime does not support specified protocol version",
            ));
        }
        let any = !faults.has("kserve/runtime/is-used-when-named");
        if !supports(&found.spec, model, any) {
            return Err((
                "NoSupportingRuntime",
                "Specified runtime does not support specified framework/version",
            ));
        }
        return Ok(found);
    }
    let any = faults.has("kserve/runtime/is-not-selected-without-auto-select");
    let only_ranked = faults.has("kserve/runtime/is-selected-by-format");
    let format = text(&model["modelFormat"]["name"]);
    let priority = |found: &Found| {
        array(&found.spec["supportedModelFormats"])
            .find(|f| f["name"] == format)
            .and_then(|f| f["priority"].as_i64())
    };
    let mut candidates: Vec<Found> = all()
        .filter(|r| {
            let disabled = r.spec["disabled"] == true;
            (!disabled || faults.has("kserve/runtime/is-not-selected-when-disabled"))
                && r.spec["multiModel"] != true
        })
        .filter(|r| {
            let mut model = model.clone();
            if faults.has("kserve/runtime/is-selected-for-its-version") {
                model["modelFormat"]["version"] = Value::Null;
            }
            supports(&r.spec, &model, any)
        })
        .filter(|r| {
            faults.has("kserve/runtime/is-selected-for-its-protocol")
                || speaks(
                    &r.spec,
                    Some(model["protocolVersion"].as_str().unwrap_or("v1")),
                )
        })
        .filter(|r| !only_ranked || priority(r).is_some())
        .collect();
    // Those of the namespace first; then the higher priority, which one without has the lowest of.
    let up = faults.has("kserve/runtime/prefers-higher-priority");
    candidates.sort_by_key(|r| {
        let rank = priority(r).unwrap_or(i64::MIN);
        let last = r.cluster != faults.has("kserve/runtime/precedes-cluster-runtimes");
        (last, if up { rank } else { rank.saturating_neg() })
    });
    candidates.into_iter().next().ok_or((
        reason(faults, "unsupported-format", "NoSupportingRuntime"),
        "No runtime found to support specified framework/version",
    ))
}

fn reason(faults: &Faults, what: &str, right: &'static str) -> &'static str {
    if faults.has(&format!("kserve/runtime/reports-{what}")) {
        "ModelLoadFailed"
    } else {
        right
    }
}

fn supports(runtime: &Value, model: &Value, any: bool) -> bool {
    let format = &model["modelFormat"];
    array(&runtime["supportedModelFormats"]).any(|f| {
        (any || f["autoSelect"] == true)
            && f["name"] == format["name"]
            && (format["version"].is_null() || f["version"] == format["version"])
    })
}

fn speaks(runtime: &Value, protocol: Option<&str>) -> bool {
    let mut protocols = array(&runtime["protocolVersions"]).peekable();
    protocol.is_none() || protocols.peek().is_none() || protocols.any(|p| p.as_str() == protocol)
}

/// The pod's spec that a runtime and a model make together.
pub(super) fn pod_spec(runtime: &Found, service: &Value, faults: &Faults) -> Value {
    let mut spec = json!({});
    for key in [
        "nodeSelector",
        "affinity",
        "tolerations",
        "volumes",
        "imagePullSecrets",
    ] {
        if !runtime.spec[key].is_null() && !faults.has("kserve/runtime/brings-its-pod-settings") {
            spec[key] = runtime.spec[key].clone();
        }
    }
    let model = &service["spec"]["predictor"]["model"];
    let containers: Vec<Value> = array(&runtime.spec["containers"])
        .map(|container| {
            if container["name"] != "kserve-container" {
                return container.clone();
            }
            let container = merged_container(container, model, faults);
            if faults.has("kserve/runtime/fills-placeholders") {
                container
            } else {
                filled(&container, &service["metadata"])
            }
        })
        .collect();
    spec["containers"] = json!(containers);
    spec
}

/// A runtime's container with what the model says of it: lists with a key are merged by it, arguments are appended.
fn merged_container(runtime: &Value, model: &Value, faults: &Faults) -> Value {
    let mut own = model.clone();
    if let Some(own) = own.as_object_mut() {
        for key in [
            "modelFormat",
            "runtime",
            "protocolVersion",
            "runtimeVersion",
            "storageUri",
            "storage",
            "name",
        ] {
            own.shift_remove(key);
        }
    }
    if faults.has("kserve/runtime/takes-fields-of-the-model") {
        own = json!({});
    }
    let mut merged = merge_over(runtime, &own);
    for (list, key) in [
        ("env", "name"),
        ("volumeMounts", "mountPath"),
        ("ports", "containerPort"),
    ] {
        let mut items: Vec<Value> = array(&runtime[list]).cloned().collect();
        for item in array(&own[list]) {
            match items.iter_mut().find(|i| i[key] == item[key]) {
                Some(old) => *old = item.clone(),
                None => items.push(item.clone()),
            }
        }
        if !items.is_empty() {
            merged[list] = json!(items);
        }
    }
    let args: Vec<&Value> = array(&runtime["args"]).chain(array(&own["args"])).collect();
    if !args.is_empty() {
        merged["args"] = json!(args);
    }
    merged
}

/// A container with `{{.Name}}`, `{{.Namespace}}`, `{{.Labels.x}}` and `{{.Annotations.x}}` filled in.
fn filled(value: &Value, metadata: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, metadata)),
        Value::Array(items) => items.iter().map(|v| filled(v, metadata)).collect(),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, v)| (key.clone(), filled(v, metadata)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn fill(template: &str, metadata: &Value) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((path, after)) = after.split_once("}}") else {
            break;
        };
        let value = match path.trim() {
            ".Name" => &metadata["name"],
            ".Namespace" => &metadata["namespace"],
            path => match path.trim_start_matches('.').split_once('.') {
                Some(("Labels", key)) => &metadata["labels"][key],
                Some(("Annotations", key)) => &metadata["annotations"][key],
                _ => &Value::Null,
            },
        };
        out.push_str(before);
        out.push_str(value.as_str().unwrap_or("<no value>"));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let metadata = json!({"name": "a", "namespace": "b", "labels": {"c": "d"}});
        assert_eq!(
            fill(
                "{{.Name}}.{{ .Namespace }}-{{.Labels.c}}{{.Labels.x}} {{",
                &metadata
            ),
            "a.b-d<no value> {{"
        );
    }

    #[test]
    fn a_model_overrides_its_runtime() {
        let runtime = json!({"name": "kserve-container", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}], "args": ["x"]});
        let model = json!({"modelFormat": {"name": "f"}, "name": "", "env": [{"name": "A", "value": "2"}], "args": ["y"]});
        assert_eq!(
            merged_container(&runtime, &model, &Faults::none()),
            json!({"name": "kserve-container", "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "1"}], "args": ["x", "y"]})
        );
    }
}
