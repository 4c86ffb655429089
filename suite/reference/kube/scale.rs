//! The `scale` subresource: `autoscaling/v1` `Scale` seen through an object with replicas.

use serde_json::{Value, json};

use super::registry::ResourceType;
use super::selectors::LabelSelector;
use super::status::ApiError;

/// The Scale of an object.
pub(super) fn of(_kind: &ResourceType, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut shown = json!({});
    for key in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        shown[key] = metadata[key].clone();
    }
    let selector = &object["spec"]["selector"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": shown, "spec": {},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)},
    });
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|n| *n != 0) {
        scale["spec"]["replicas"] = json!(replicas);
    }
    if selector.is_object() {
        scale["status"]["selector"] = json!(LabelSelector::from_object(selector).to_query());
    }
    scale
}

/// The object with the replicas of a changed Scale.
pub(super) fn apply(object: &Value, scale: &Value) -> Result<Value, ApiError> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        return Err(ApiError::bad_request(
            "spec.replicas: must be greater than or equal to 0",
        ));
    }
    let mut object = object.clone();
    object["spec"]["replicas"] = json!(replicas);
    if let Some(version) = scale["metadata"]["resourceVersion"].as_str() {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    Ok(object)
}
