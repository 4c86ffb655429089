//! What a launch puts on the cluster, each object with its label.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    LAUNCH_LABEL, name_of,
    wire::{CONFIG_FILE, ORDER_DIR, ORDER_FILE, Order, RESULTS_DIR},
};
use crate::cluster::{
    Config, Kind,
    kinds::{CLAIM, CONFIG_MAP, JOB, NAMESPACE, SERVICE_ACCOUNT},
    rbac,
};

/// Cluster roles.
pub(super) const ROLE: Kind = Kind::cluster(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRole",
    "clusterroles",
);
/// Their bindings.
pub(super) const BINDING: Kind = Kind::cluster(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
);
/// Secrets.
pub(super) const SECRET: Kind = Kind::namespaced("", "v1", "Secret", "secrets");
/// Network policies.
pub(super) const NETWORK_POLICY: Kind = Kind::namespaced(
    "networking.k8s.io",
    "v1",
    "NetworkPolicy",
    "networkpolicies",
);

/// What a launch consists of, in the order in which it is made. It is removed from the end.
pub(super) const KINDS: [Kind; 9] = [
    NAMESPACE,
    SERVICE_ACCOUNT,
    ROLE,
    BINDING,
    CONFIG_MAP,
    SECRET,
    NETWORK_POLICY,
    CLAIM,
    JOB,
];

/// The certificates of authorities that the runner trusts, in its folder.
const AUTHORITIES_FILE: &str = "ca.crt";

/// Says on the Job in how many parts the run is.
pub(super) const PARTS: &str = "conformance.kubeflow.org/parts";
/// Names the claim in which the result stays.
pub(super) const CLAIM_NAME: &str = "conformance.kubeflow.org/claim";

/// How a launch is made, beside what the run is told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// An existing namespace; one is made for the launch when absent.
    pub namespace: Option<String>,
    /// An existing claim in that namespace, in which the result stays.
    pub claim: Option<String>,
    /// The size of a claim that is made for the result, like `1Gi`.
    pub storage: Option<String>,
    /// Certificates of authorities that the runner trusts beside the Kubernetes API's own, as PEM.
    pub authorities: Option<String>,
    /// Environment variables of the runner, like a proxy's.
    pub environment: BTreeMap<String, String>,
}

impl Settings {
    /// The namespace of a launch.
    pub fn namespace_of(&self, id: &str) -> String {
        self.namespace.clone().unwrap_or_else(|| name_of(id))
    }

    /// The claim in which its result stays, if in one.
    fn claim_of(&self, id: &str) -> Option<String> {
        let own = || self.storage.as_ref().map(|_| name_of(id));
        self.claim.clone().or_else(own)
    }
}

/// The labels of everything of a launch.
fn labels(id: &str) -> Value {
    json!({
        LAUNCH_LABEL: id,
        "app.kubernetes.io/name": "kfconform",
        // A mesh's sidecar would neither start in time nor end with the runner.
        "sidecar.istio.io/inject": "false",
    })
}

/// The objects of a launch, in the order in which they are made.
pub fn manifests(order: &Order, config: &Config, settings: &Settings) -> Vec<(Kind, Value)> {
    let id = order.id.as_str();
    let (name, namespace) = (name_of(id), settings.namespace_of(id));
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels(id)});
    let mut out = Vec::new();
    if settings.namespace.is_none() {
        let mut labels = labels(id);
        labels["istio-injection"] = json!("disabled");
        labels["pod-security.kubernetes.io/enforce"] = json!("restricted");
        out.push((
            NAMESPACE,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}),
        ));
    }
    out.push((
        SERVICE_ACCOUNT,
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
    ));
    // Exactly what `kfconform rbac` prints, under a name of the launch's own.
    let printed = rbac::manifests(Some((&namespace, &name)));
    for (kind, mut object) in [ROLE, BINDING].into_iter().zip(printed) {
        object["metadata"] = json!({"name": name, "labels": labels(id)});
        if kind == BINDING {
            object["roleRef"]["name"] = json!(name);
        }
        out.push((kind, object));
    }
    let order_text = serde_json::to_string_pretty(order).unwrap_or_default();
    let config_text = config_text(config);
    // Tokens are no matter of a ConfigMap.
    let secret = config.secrets().next().is_some();
    let mut data = json!({ORDER_FILE: order_text});
    if let Some(authorities) = &settings.authorities {
        data[AUTHORITIES_FILE] = json!(authorities);
    }
    if !secret {
        data[CONFIG_FILE] = json!(config_text);
    }
    out.push((
        CONFIG_MAP,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}),
    ));
    if secret {
        out.push((
            SECRET,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {CONFIG_FILE: config_text}}),
        ));
    }
    // Nobody has to reach the runner, and where nothing may leave a namespace it still has to reach the Kubernetes API.
    out.push((
        NETWORK_POLICY,
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata,
            "spec": {
                "podSelector": {"matchLabels": {LAUNCH_LABEL: id}},
                "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": [{}],
            },
        }),
    ));
    if let Some(size) = &settings.storage {
        let mut claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        });
        if let Some(class) = &config.storage_class {
            claim["spec"]["storageClassName"] = json!(class);
        }
        out.push((CLAIM, claim));
    }
    out.push((JOB, job(order, config, settings, secret)));
    out
}

/// The configuration as the runner reads it: tokens instead of files of this machine.
fn config_text(config: &Config) -> String {
    let mut config = config.clone();
    for component in config.components.values_mut() {
        component.token_file = None;
    }
    let value = serde_json::to_value(&config).unwrap_or_default();
    let set: serde_json::Map<String, Value> = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Value::Object(set).to_string()
}

/// The volumes of the runner's pod, and where they are.
fn volumes(name: &str, secret: bool, claim: Option<&str>) -> (Value, Value) {
    let mut sources = vec![json!({"configMap": {"name": name}})];
    if secret {
        sources.push(json!({"secret": {"name": name}}));
    }
    let results = match claim {
        Some(claim) => json!({"name": "results", "persistentVolumeClaim": {"claimName": claim}}),
        None => json!({"name": "results", "emptyDir": {"sizeLimit": "1Gi"}}),
    };
    (
        json!([
            {"name": "order", "projected": {"sources": sources}},
            results,
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ]),
        json!([
            {"name": "order", "mountPath": ORDER_DIR, "readOnly": true},
            {"name": "results", "mountPath": RESULTS_DIR},
            {"name": "tmp", "mountPath": "/tmp"},
        ]),
    )
}

/// The pod of a runner: within Pod Security's level `restricted`, with requests and limits, on nodes that may be had.
fn pod(order: &Order, config: &Config, settings: &Settings, secret: bool) -> Value {
    let name = name_of(&order.id);
    let (volumes, mounts) = volumes(&name, secret, settings.claim_of(&order.id).as_deref());
    let mut environment: Vec<Value> = settings
        .environment
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    if settings.authorities.is_some() {
        environment.push(
            json!({"name": "SSL_CERT_FILE", "value": format!("{ORDER_DIR}/{AUTHORITIES_FILE}")}),
        );
    }
    let mut spec = json!({
        "serviceAccountName": name,
        "restartPolicy": "Never",
        // A run that is told to end removes what it made.
        "terminationGracePeriodSeconds": 180,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{
            "name": "runner",
            "image": order.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["kfconform", "runner"],
            "env": environment,
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"cpu": "2", "memory": "1Gi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    });
    if !config.tolerations.is_empty() {
        spec["tolerations"] = json!(config.tolerations);
    }
    if !config.node_selector.is_empty() {
        spec["nodeSelector"] = json!(config.node_selector);
    }
    if !config.image_pull_secrets.is_empty() {
        let secrets = config.image_pull_secrets.iter();
        spec["imagePullSecrets"] = secrets.map(|name| json!({"name": name})).collect();
    }
    json!({
        "metadata": {
            "labels": labels(&order.id),
            "annotations": {
                "sidecar.istio.io/inject": "false",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": spec,
    })
}

fn job(order: &Order, config: &Config, settings: &Settings, secret: bool) -> Value {
    let claim = settings.claim_of(&order.id);
    // Where the result outlives a pod, another goes on with the run.
    let again = if claim.is_some() && order.parts <= 1 {
        3
    } else {
        0
    };
    let mut annotations = json!({PARTS: order.parts.max(1).to_string()});
    if let Some(claim) = &claim {
        annotations[CLAIM_NAME] = json!(claim);
    }
    let mut spec = json!({
        "backoffLimit": again,
        // Not beside one that still removes what it made: each would take the other's doing for the distribution's.
        "podReplacementPolicy": "Failed",
        "template": pod(order, config, settings, secret),
    });
    if order.parts > 1 {
        spec["completionMode"] = json!("Indexed");
        spec["completions"] = json!(order.parts);
        spec["parallelism"] = json!(order.parts);
    }
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name_of(&order.id), "namespace": settings.namespace_of(&order.id),
            "labels": labels(&order.id), "annotations": annotations,
        },
        "spec": spec,
    })
}

/// A pod that only shows the result on a claim, once the runner is gone: the same as the runner's, which finds it made.
pub(super) fn reader(job: &Value) -> Value {
    let template = &job["spec"]["template"];
    let metadata = &job["metadata"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{}-reader", metadata["name"].as_str().unwrap_or_default()),
            "namespace": metadata["namespace"],
            "labels": metadata["labels"],
            "annotations": template["metadata"]["annotations"],
        },
        "spec": template["spec"],
    });
    pod["spec"]["containers"][0]["command"] = json!(["kfconform", "runner", "--show"]);
    pod
}
