//! What admission does to every pod: its service account and that account's token.

use serde_json::{Value, json};

use super::registry::ResourceType;
use super::registry::resources::{PODS, SERVICE_ACCOUNTS};
use super::status::ApiError;
use super::store::Key;
use super::world::World;

/// Where the token is mounted.
pub(super) const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Checks the service account of a new pod and mounts its token.
pub(super) fn admit(world: &World, kind: &ResourceType, pod: &mut Value) -> Result<(), ApiError> {
    if kind.resource != PODS || !pod["spec"].is_object() {
        return Ok(());
    }
    let key = Key::of(pod);
    let account = pod["spec"]["serviceAccountName"]
        .as_str()
        .unwrap_or("default")
        .to_owned();
    let Some(account) = world.find(&SERVICE_ACCOUNTS, &key.namespace, &account) else {
        let cause = format!(
            "error looking up service account {}/{account}: serviceaccount \"{account}\" not found",
            key.namespace
        );
        return Err(ApiError::forbidden(&PODS, &key.name, &cause));
    };
    let spec = &mut pod["spec"];
    spec["serviceAccount"] = spec["serviceAccountName"].clone();
    if spec["imagePullSecrets"].is_null() && account["imagePullSecrets"].is_array() {
        spec["imagePullSecrets"] = account["imagePullSecrets"].clone();
    }
    let wanted = spec["automountServiceAccountToken"]
        .as_bool()
        .or_else(|| account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if !wanted {
        return Ok(());
    }
    let volume = format!("kube-api-access-{}", world.ids().suffix());
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if !container.is_object() {
                continue;
            }
            if !container["volumeMounts"].is_array() {
                container["volumeMounts"] = json!([]);
            }
            let Some(mounts) = container["volumeMounts"].as_array_mut() else {
                continue;
            };
            if mounts.iter().any(|mount| mount["mountPath"] == TOKEN_PATH) {
                continue;
            }
            mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH}));
            mounted = true;
        }
    }
    if mounted {
        if !spec["volumes"].is_array() {
            spec["volumes"] = json!([]);
        }
        if let Some(volumes) = spec["volumes"].as_array_mut() {
            volumes.push(json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ]}}));
        }
    }
    Ok(())
}
