//! `KServe` 0.16 in the mode without Knative: webhooks, serving runtimes, and the controller that makes Deployments,
//! Services, autoscalers and Ingresses of InferenceServices, with what stands before and beside them, and routers of
//! inference graphs. Trained models are admitted and stored, and nothing is made of them.

mod admission;
mod agent;
mod components;
mod controller;
mod faults;
mod graph;
mod runtimes;
mod scaling;
mod webhook;

use std::{io, sync::LazyLock};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

pub(super) use faults::FAULTS;

use super::kube::{Crd, Resource, World};

const GROUP: &str = "serving.kserve.io";
const SERVICES: Resource = Resource::new(GROUP, "inferenceservices");
const RUNTIMES: Resource = Resource::new(GROUP, "servingruntimes");
const CLUSTER_RUNTIMES: Resource = Resource::new(GROUP, "clusterservingruntimes");
const GRAPHS: Resource = Resource::new(GROUP, "inferencegraphs");
const TRAINED_MODELS: Resource = Resource::new(GROUP, "trainedmodels");

/// The label by which all that belongs to a service is found.
const SERVICE_LABEL: &str = "serving.kserve.io/inferenceservice";

/// The annotation that says how a service is deployed, and the word for the only mode that is deployed here.
const MODE: &str = "serving.kserve.io/deploymentMode";
const MODE_STANDARD: &str = "Standard";

/// Where the controller lives.
const NAMESPACE: &str = "kubeflow";
/// The controller's image, whose tag tells the version.
const IMAGE: &str = "docker.io/kserve/kserve-controller:v0.16.0";

/// Puts `KServe` into a world.
pub(super) fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        install_crds(world)?;
        for object in installation() {
            match world.create(object).await {
                Err(error) if !error.is_already_exists() => return Err(io::Error::other(error)),
                _ => {}
            }
        }
        admission::install(world);
        webhook::install(world);
        controller::install(world);
        graph::install(world);
        agent::offer(world);
        Ok(())
    }
    .boxed()
}

/// The CRDs as upstream ships them (full schemas, descriptions left out).
static CRDS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    [
        "inferenceservices",
        "servingruntimes",
        "clusterservingruntimes",
        "inferencegraphs",
        "trainedmodels",
    ]
    .into_iter()
    .map(|plural| {
        crate::fixtures::text(&format!("crds/{plural}.{GROUP}.json"))
            .map_err(io::Error::other)
            .and_then(|text| serde_json::from_str(text).map_err(io::Error::other))
            .expect("the embedded CRDs are JSON")
    })
    .collect()
});

static READ_CRDS: LazyLock<Vec<Crd>> = LazyLock::new(|| CRDS.iter().map(read_crd).collect());

fn read_crd(object: &Value) -> Crd {
    Crd::from_value(object.clone()).expect("the embedded CRDs are CRDs")
}

/// Installs the CRDs, without what faults leave out of them.
fn install_crds(world: &World) -> io::Result<()> {
    for (object, crd) in CRDS.iter().zip(READ_CRDS.iter()) {
        let plural = text(&object["spec"]["names"]["plural"]);
        let mut changed = object.clone();
        let version = &mut changed["spec"]["versions"][0];
        let predictor = "/schema/openAPIV3Schema/properties/spec/properties/predictor/properties";
        match plural {
            "inferenceservices" if world.has_fault("kserve/api/serves-inferenceservices") => {
                version["subresources"] = json!({});
            }
            "inferenceservices" if world.has_fault("kserve/api/refuses-wrong-types") => {
                set(
                    version,
                    &format!("{predictor}/minReplicas"),
                    json!({"x-kubernetes-preserve-unknown-fields": true}),
                );
            }
            "inferenceservices"
                if world.has_fault("kserve/admission/refuses-unknown-logger-mode") =>
            {
                set(
                    version,
                    &format!("{predictor}/logger/properties/mode"),
                    json!({"type": "string"}),
                );
            }
            "trainedmodels" if world.has_fault("kserve/api/serves-runtimes-and-graphs") => continue,
            _ => {
                world.install(crd);
                continue;
            }
        }
        world.install(&Crd::from_value(changed).map_err(io::Error::other)?);
    }
    Ok(())
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    if let Some(found) = object.pointer_mut(pointer) {
        *found = value;
    }
}

/// What an installation of KServe consists of beside its CRDs: namespace, configuration, webhooks, controller.
fn installation() -> Vec<Value> {
    let labels = json!({"control-plane": "kserve-controller-manager"});
    let webhook = |kind: &str, plural: &str, version: &str, what: &str| {
        json!({
            "name": format!("{kind}.kserve-webhook-server.{what}"),
            "clientConfig": {"service": {
                "namespace": NAMESPACE, "name": "kserve-webhook-server-service", "port": 443,
                "path": format!("/{}-{plural}", if what == "validator" { "validate" } else { "mutate" }),
            }},
            "rules": [{
                "apiGroups": [GROUP], "apiVersions": [version], "resources": [plural],
                "operations": ["CREATE", "UPDATE"], "scope": "*",
            }],
            "sideEffects": "None", "failurePolicy": "Fail", "admissionReviewVersions": ["v1beta1"],
        })
    };
    let configuration = |kind: &str, name: &str, webhook: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": format!("{name}.{GROUP}")}, "webhooks": [webhook],
        })
    };
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": NAMESPACE, "name": "inferenceservice-config"},
            "data": {
                "deploy": json!({"defaultDeploymentMode": MODE_STANDARD}).to_string(),
                "ingress": json!({"ingressClassName": "istio", "ingressDomain": "example.com", "disableIstioVirtualHost": true}).to_string(),
            },
        }),
        configuration(
            "MutatingWebhookConfiguration",
            "inferenceservice",
            webhook(
                "inferenceservice",
                "inferenceservices",
                "v1beta1",
                "defaulter",
            ),
        ),
        configuration(
            "ValidatingWebhookConfiguration",
            "inferenceservice",
            webhook(
                "inferenceservice",
                "inferenceservices",
                "v1beta1",
                "validator",
            ),
        ),
        configuration(
            "ValidatingWebhookConfiguration",
            "servingruntime",
            webhook("servingruntime", "servingruntimes", "v1alpha1", "validator"),
        ),
        configuration(
            "ValidatingWebhookConfiguration",
            "inferencegraph",
            webhook("inferencegraph", "inferencegraphs", "v1alpha1", "validator"),
        ),
        configuration(
            "ValidatingWebhookConfiguration",
            "trainedmodel",
            webhook("trainedmodel", "trainedmodels", "v1alpha1", "validator"),
        ),
        json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ClusterServingRuntime",
            "metadata": {"name": "kserve-sklearnserver"},
            "spec": {
                "supportedModelFormats": [{"name": "sklearn", "version": "1", "autoSelect": true, "priority": 1}],
                "protocolVersions": ["v1", "v2"],
                "containers": [{
                    "name": "kserve-container", "image": "kserve/sklearnserver:v0.16.0",
                    "args": ["--model_name={{.Name}}", "--model_dir=/mnt/models", "--http_port=8080"],
                }],
            },
        }),
        super::deployment(
            NAMESPACE,
            "kserve-controller-manager",
            &labels,
            &json!({"name": "manager", "image": IMAGE}),
        ),
    ]
}

/// The mode that a word stands for. Unknown words stand for the default.
fn mode_of(word: &str) -> &'static str {
    match word {
        "Serverless" | "Knative" => "Knative",
        "ModelMesh" => "ModelMesh",
        _ => MODE_STANDARD,
    }
}

/// The elements of an array; none for anything else.
fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The text of a string; empty for anything else.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A document with another merged over it; nulls in it count as absent.
fn merge_over(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (_, Value::Null) => base.clone(),
        (Value::Object(base), Value::Object(over)) => {
            let mut merged = base.clone();
            for (key, value) in over {
                let below = merged.get(key).unwrap_or(&Value::Null);
                let value = merge_over(below, value);
                if !value.is_null() {
                    merged.insert(key.clone(), value);
                }
            }
            Value::Object(merged)
        }
        _ => over.clone(),
    }
}
