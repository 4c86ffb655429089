//! `KServe` 0.16 in the mode without Knative: webhooks, serving runtimes, and the controller that makes Deployments,
//! Services, autoscalers and Ingresses of InferenceServices. Transformers, explainers, graphs and trained models are
//! admitted and stored, and nothing is made of them.

mod admission;
mod controller;
mod runtimes;

use std::{io, sync::LazyLock};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

use super::{
    Fault,
    kube::{Crd, Resource, World},
};

const GROUP: &str = "serving.kserve.io";
const SERVICES: Resource = Resource::new(GROUP, "inferenceservices");
const RUNTIMES: Resource = Resource::new(GROUP, "servingruntimes");
const CLUSTER_RUNTIMES: Resource = Resource::new(GROUP, "clusterservingruntimes");
const GRAPHS: Resource = Resource::new(GROUP, "inferencegraphs");

/// The annotation that says how a service is deployed, and the word for the only mode that is deployed here.
const MODE: &str = "serving.kserve.io/deploymentMode";
const MODE_STANDARD: &str = "Standard";

/// Where the controller lives.
const NAMESPACE: &str = "kubeflow";
/// The controller's image, whose tag tells the version.
const IMAGE: &str = "docker.io/kserve/kserve-controller:v0.16.0";

/// What this part of the reference can do wrong.
pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "kserve/api/serves-inferenceservices",
        "inferenceservices have no status subresource",
    ),
    Fault::new(
        "kserve/api/serves-runtimes-and-graphs",
        "trained models are not served",
    ),
    Fault::new(
        "kserve/api/refuses-wrong-types",
        "a number of replicas may be a word",
    ),
    Fault::new(
        "kserve/defaults/moves-framework-to-model",
        "the storage URI of a framework is lost",
    ),
    Fault::new(
        "kserve/defaults/gives-native-frameworks-protocol-v2",
        "no framework is given a protocol",
    ),
    Fault::new(
        "kserve/defaults/names-the-container",
        "containers keep their names",
    ),
    Fault::new(
        "kserve/defaults/fills-resources",
        "containers get no resources",
    ),
    Fault::new(
        "kserve/defaults/keeps-given-resources",
        "all containers get the usual resources",
    ),
    Fault::new(
        "kserve/admission/refuses-bad-names",
        "names are not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-no-predictor",
        "a predictor may run nothing",
    ),
    Fault::new(
        "kserve/admission/refuses-two-predictors",
        "a predictor may be two",
    ),
    Fault::new(
        "kserve/admission/refuses-min-above-max",
        "replicas are not compared",
    ),
    Fault::new(
        "kserve/admission/refuses-negative-replicas",
        "replicas may be negative",
    ),
    Fault::new(
        "kserve/admission/refuses-negative-concurrency",
        "concurrency may be negative",
    ),
    Fault::new(
        "kserve/admission/refuses-unknown-logger-mode",
        "a logger's mode may be any word",
    ),
    Fault::new(
        "kserve/admission/refuses-unknown-autoscaler",
        "an autoscaler's class may be any word",
    ),
    Fault::new(
        "kserve/admission/refuses-hpa-on-request-metrics",
        "the HPA's metric is not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-cpu-target-out-of-range",
        "the HPA's target is not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-unknown-protocol",
        "a container's protocol is not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-empty-transformer",
        "a transformer may run nothing",
    ),
    Fault::new(
        "kserve/admission/refuses-empty-explainer",
        "an explainer may run nothing",
    ),
    Fault::new(
        "kserve/admission/refuses-storage-in-collocated-transformer",
        "a transformer beside the predictor may have storage",
    ),
    Fault::new("kserve/graph/refuses-no-root", "a graph needs no root"),
    Fault::new(
        "kserve/graph/refuses-incomplete-weights",
        "weights are not added up",
    ),
    Fault::new(
        "kserve/graph/refuses-unclear-targets",
        "a step's targets are not counted",
    ),
    Fault::new(
        "kserve/graph/refuses-repeated-step-names",
        "steps may share a name",
    ),
    Fault::new(
        "kserve/runtime/refuses-equal-priority",
        "runtimes may share a priority",
    ),
    Fault::new(
        "kserve/runtime/is-selected-by-format",
        "only runtimes with a priority are selected",
    ),
    Fault::new(
        "kserve/runtime/prefers-higher-priority",
        "the lowest priority wins",
    ),
    Fault::new(
        "kserve/runtime/is-not-selected-without-auto-select",
        "every runtime of a format is selected",
    ),
    Fault::new(
        "kserve/runtime/is-used-when-named",
        "a named runtime must allow its selection",
    ),
    Fault::new(
        "kserve/runtime/takes-fields-of-the-model",
        "the runtime's container is run as it is",
    ),
    Fault::new("kserve/runtime/fills-placeholders", "placeholders stay"),
    Fault::new(
        "kserve/runtime/reports-unsupported-format",
        "a format without runtime is reported as a failed load",
    ),
    Fault::new(
        "kserve/runtime/reports-unknown-runtime",
        "an unknown runtime is reported as a failed load",
    ),
    Fault::new(
        "kserve/runtime/reports-disabled-runtime",
        "a disabled runtime is reported as a failed load",
    ),
    Fault::new(
        "kserve/inferenceservice/becomes-ready",
        "a ready service has no condition PredictorReady",
    ),
    Fault::wide(
        "kserve/inferenceservice/becomes-ready:never",
        "no service is ever ready",
        "some other checks wait for a ready service of their own",
    ),
    Fault::new(
        "kserve/inferenceservice/reports-its-address",
        "a ready service has no URL",
    ),
    Fault::new(
        "kserve/inferenceservice/records-its-mode",
        "the mode is recorded by its old word",
    ),
    Fault::new(
        "kserve/inferenceservice/answers-predictions",
        "the predictor's Service has another port",
    ),
    Fault::new(
        "kserve/inferenceservice/answers-predictions:target",
        "the predictor's Service leads to a port on which nothing listens",
    ),
    Fault::new(
        "kserve/inferenceservice/owns-its-workload",
        "the Deployment names no controller",
    ),
    Fault::new(
        "kserve/inferenceservice/marks-its-pods",
        "the predictor's annotations do not reach its pods",
    ),
    Fault::new(
        "kserve/inferenceservice/refuses-another-mode",
        "the mode may be changed",
    ),
    Fault::new(
        "kserve/inferenceservice/leaves-scaling-to-others",
        "every service gets an autoscaler",
    ),
    Fault::new(
        "kserve/inferenceservice/runs-the-minimum-of-replicas",
        "one replica is enough for all",
    ),
    Fault::new(
        "kserve/inferenceservice/rolls-out-changes",
        "a Deployment stays as it was made",
    ),
    Fault::new(
        "kserve/inferenceservice/is-not-ready-while-it-crashes",
        "a predictor that crashed counts as ready",
    ),
    Fault::new(
        "kserve/inferenceservice/stops-when-annotated",
        "the annotation is ignored",
    ),
    Fault::new(
        "kserve/inferenceservice/starts-again",
        "a stopped service stays stopped",
    ),
    Fault::new(
        "kserve/inferenceservice/is-deleted-with-its-workload",
        "the predictor's Service outlives its owner",
    ),
];

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
        controller::install(world);
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
