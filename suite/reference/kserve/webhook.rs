//! The webhook of pods: mounts models, and puts an initializer that fetches them and an agent beside them.

use serde_json::{Value, json};

use super::{
    SERVICE_LABEL, array,
    components::{AGENT, AGENT_PORT, BATCHER, LOGGER, SOURCE},
    faults::FAULTS,
    text,
};
use crate::reference::kube::{Faults, Operation, World, resources::PODS};

/// The images that are put beside a model.
pub(super) const AGENT_IMAGE: &str = "kserve/agent";
pub(super) const INITIALIZER_IMAGE: &str = "kserve/storage-initializer";
/// Their version.
const VERSION: &str = "v0.16.0";
/// Where a model is found in its server's container.
const MODELS: &str = "/mnt/models";

/// Registers the webhook.
pub(super) fn install(world: &World) {
    let faults = world.faults().clone();
    world.mutating(&PODS, &[Operation::Create], move |request| {
        let mut pod = request.object;
        if !text(&pod["metadata"]["labels"][SERVICE_LABEL]).is_empty() {
            pod = with_model(pod, &faults);
            with_agent(&mut pod, &request.namespace, &faults);
        }
        async move { Ok(pod) }
    });
}

/// A pod with the volume claim mounted that a storage URI of scheme `pvc` names, or with an initializer that fetches the
/// model from elsewhere.
fn with_model(mut pod: Value, faults: &Faults) -> Value {
    let fetches = pod["metadata"]["annotations"][AGENT] == "true";
    let source = text(&pod["metadata"]["annotations"][SOURCE]).to_owned();
    if fetches || source.is_empty() {
        return pod;
    }
    let read_only = !faults.has("kserve/storage/mounts-it-read-only");
    let target = if faults.has("kserve/storage/mounts-a-claim") {
        "/mnt/elsewhere"
    } else {
        MODELS
    };
    if let Some(rest) = source.strip_prefix("pvc://") {
        let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
        let volume = "kserve-pvc-source";
        let mut mount = json!({"name": volume, "mountPath": target, "readOnly": read_only});
        if !path.is_empty() {
            mount["subPath"] = json!(path);
        }
        let source = json!({"persistentVolumeClaim": {"claimName": claim}});
        mount_to_server(&mut pod["spec"], volume, &source, &mount);
    } else {
        let volume = "kserve-provision-location";
        let mount = json!({"name": volume, "mountPath": MODELS, "readOnly": read_only});
        if mount_to_server(&mut pod["spec"], volume, &json!({"emptyDir": {}}), &mount) {
            let initializer = json!({
                "name": "storage-initializer", "image": format!("{INITIALIZER_IMAGE}:{VERSION}"),
                "args": [source, MODELS],
                "volumeMounts": [{"name": volume, "mountPath": MODELS}],
            });
            push(&mut pod["spec"], "initContainers", initializer);
        }
    }
    pod
}

/// Adds a volume to a pod and mounts it into its server, unless it is there already.
fn mount_to_server(spec: &mut Value, volume: &str, source: &Value, mount: &Value) -> bool {
    if array(&spec["volumes"]).any(|v| v["name"] == volume) {
        return false;
    }
    let mut added = json!({"name": volume});
    if let (Some(added), Some(source)) = (added.as_object_mut(), source.as_object()) {
        added.extend(source.clone());
    }
    push(spec, "volumes", added);
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        if container["name"] == "kserve-container" {
            push(container, "volumeMounts", mount.clone());
        }
    }
    true
}

/// Puts the agent into a pod that has its requests logged or collected, or its models fetched.
fn with_agent(pod: &mut Value, namespace: &str, faults: &Faults) {
    let annotations = pod["metadata"]["annotations"].clone();
    let set = |key: &str| text(&annotations[key]).to_owned();
    let wants = |key: &str| annotations[key] == "true";
    let several = array(&pod["spec"]["containers"]).any(|c| array(&c["ports"]).count() > 1);
    let garbles = FAULTS
        .iter()
        .map(|fault| fault.id)
        .find(|id| id.starts_with("kserve/protocol/") && faults.has(id))
        .filter(|_| several);
    let wanted = wants(AGENT) || wants(LOGGER) || wants(BATCHER) || garbles.is_some();
    if !wanted || array(&pod["spec"]["containers"]).any(|c| c["name"] == "agent") {
        return;
    }
    let mut args = Vec::new();
    if wants(BATCHER) {
        args.push("--enable-batcher".to_owned());
        for (option, key) in [
            ("--max-batchsize", "batcher-max-batchsize"),
            ("--max-latency", "batcher-max-latency"),
        ] {
            args.extend([
                option.to_owned(),
                set(&format!("internal.serving.kserve.io/{key}")),
            ]);
        }
    }
    if wants(LOGGER) {
        let labels = &pod["metadata"]["labels"];
        for (option, value) in [
            (
                "--log-url",
                set("internal.serving.kserve.io/logger-sink-url"),
            ),
            ("--source-uri", text(&pod["metadata"]["name"]).to_owned()),
            ("--log-mode", set("internal.serving.kserve.io/logger-mode")),
            (
                "--inference-service",
                text(&labels[SERVICE_LABEL]).to_owned(),
            ),
            ("--namespace", namespace.to_owned()),
            ("--component", text(&labels["component"]).to_owned()),
        ] {
            args.extend([option.to_owned(), value]);
        }
    }
    let port = array(&pod["spec"]["containers"])
        .find(|c| c["name"] == "kserve-container")
        .and_then(|c| c["ports"][0]["containerPort"].as_u64())
        .unwrap_or(8080);
    args.extend(["--component-port".to_owned(), port.to_string()]);
    if let Some(fault) = garbles {
        args.extend(["--garble".to_owned(), fault.to_owned()]);
    }
    let agent = json!({
        "name": "agent", "image": format!("{AGENT_IMAGE}:{VERSION}"), "args": args,
        "ports": [{"name": "agent-port", "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": AGENT_PORT}},
    });
    push(&mut pod["spec"], "containers", agent);
}

fn push(object: &mut Value, list: &str, item: Value) {
    if !object[list].is_array() {
        object[list] = json!([]);
    }
    if let Some(items) = object[list].as_array_mut() {
        items.push(item);
    }
}
