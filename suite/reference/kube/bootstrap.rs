//! What every cluster has from the start.

use serde_json::json;

use super::auth;
use super::world::World;

/// Creates the namespaces, the node, the default roles, classes and the Service of the API server.
pub(super) async fn fill(world: &World) {
    let mut objects = auth::bootstrap();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }
    objects.push(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
    }));
    objects.push(json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "reference.kubeflow.org/directory", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
    }));
    for (name, value) in [
        ("system-cluster-critical", 2_000_000_000),
        ("system-node-critical", 2_000_001_000),
    ] {
        objects.push(json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "globalDefault": false, "preemptionPolicy": "PreemptLowerPriority",
        }));
    }
    for object in objects {
        let shown = format!("{} {}", object["kind"], object["metadata"]["name"]);
        if let Err(error) = world.create(object).await {
            // All of these are fixed texts: an error is a defect that the tests of this module show.
            tracing::error!(object = %shown, %error, "cannot create what every cluster has");
        }
    }
    let now = world.stamp();
    let version = &world.options().version;
    let capacity =
        json!({"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"});
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {
            "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": architecture(),
            "node-role.kubernetes.io/control-plane": "",
        }},
        "spec": {"podCIDR": "10.244.0.0/16"},
    });
    let status = json!({
        "capacity": capacity, "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": NODE}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "kubelet is posting ready status", "lastHeartbeatTime": now, "lastTransitionTime": now}],
        "nodeInfo": {"architecture": architecture(), "operatingSystem": "linux", "osImage": "kfconform reference",
            "kernelVersion": "", "containerRuntimeVersion": "kfconform://1", "kubeletVersion": version,
            "kubeProxyVersion": "", "machineID": "", "systemUUID": "", "bootID": ""},
    });
    let made = match world.create(node).await {
        Ok(_) => {
            world
                .set_status(&super::registry::resources::NODES, "", NODE, status)
                .await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = made {
        tracing::error!(%error, "cannot create the node");
    }
}

/// The name of the only node.
pub(super) const NODE: &str = "reference";

/// The machine's architecture in Go's words.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
