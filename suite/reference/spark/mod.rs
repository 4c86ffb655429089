//! The Spark Operator 2.5: webhooks, applications and schedules. It has no Spark: whatever is submitted fails, as with an
//! operator whose image lacks `spark-submit`, and no driver ever runs.

mod admission;
mod application;
mod faults;
mod schedule;

use std::{io, sync::LazyLock};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

pub(super) use faults::FAULTS;

use super::kube::{Crd, Resource, World};

const GROUP: &str = "sparkoperator.k8s.io";
const APPLICATIONS: Resource = Resource::new(GROUP, "sparkapplications");
const SCHEDULES: Resource = Resource::new(GROUP, "scheduledsparkapplications");

/// Where the operator lives.
const NAMESPACE: &str = "kubeflow";
/// The image of controller and webhooks, whose tag tells the version.
const IMAGE: &str = "ghcr.io/kubeflow/spark-operator/controller:2.5.0";

/// The CRDs as upstream ships them, without descriptions and what is in pods.
static CRDS: LazyLock<[Value; 2]> = LazyLock::new(|| {
    ["sparkapplications", "scheduledsparkapplications"].map(|plural| {
        let text = crate::fixtures::text(&format!("crds/{plural}.{GROUP}.json"));
        serde_json::from_str(text.expect("the CRD is embedded")).expect("the CRD is JSON")
    })
});

/// Puts the operator into a world.
pub(super) fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        for crd in &*CRDS {
            let crd = spoiled(world, crd.clone());
            world.install(&Crd::from_value(crd).map_err(io::Error::other)?);
        }
        for object in installation() {
            world.apply(object).await.map_err(io::Error::other)?;
        }
        admission::install(world);
        application::install(world);
        schedule::install(world);
        Ok(())
    }
    .boxed()
}

/// A CRD without what faults leave out of it.
fn spoiled(world: &World, mut crd: Value) -> Value {
    let scheduled = crd["spec"]["names"]["plural"] == "scheduledsparkapplications";
    let version = &mut crd["spec"]["versions"][0];
    if scheduled {
        if world.has_fault("spark/api/serves-applications") {
            version["subresources"] = json!({});
        }
        return crd;
    }
    let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
    if world.has_fault("spark/admission/refuses-unknown-words") {
        spec["properties"]["type"] = json!({"type": "string"});
    }
    if world.has_fault("spark/admission/needs-what-to-run") {
        spec["required"] = json!(["driver", "executor", "sparkVersion", "type"]);
    }
    if world.has_fault("spark/admission/refuses-less-than-one") {
        spec["properties"]["executor"]["properties"]["instances"] = json!({"type": "integer"});
    }
    crd
}

/// What an installation consists of beside the CRDs.
fn installation() -> Vec<Value> {
    let labels = |part: &str| json!({"app.kubernetes.io/name": "spark-operator", "app.kubernetes.io/component": part});
    let webhooks = |kind: &str, verb: &str| {
        let hooks: Vec<Value> = ["sparkapplication", "scheduledsparkapplication"]
            .iter()
            .map(|singular| {
                json!({
                    "name": format!("{verb}-sparkoperator-k8s-io-v1beta2-{singular}.{GROUP}"),
                    "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "sideEffects": "NoneOnDryRun",
                    "clientConfig": {"service": {
                        "namespace": NAMESPACE, "name": "spark-operator-webhook-svc", "port": 9443,
                        "path": format!("/{verb}-sparkoperator-k8s-io-v1beta2-{singular}"),
                    }},
                    "rules": [{
                        "apiGroups": [GROUP], "apiVersions": ["v1beta2"], "operations": ["CREATE", "UPDATE"],
                        "resources": [format!("{singular}s")],
                    }],
                })
            })
            .collect();
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": "spark-operator-webhook", "labels": labels("webhook")},
            "webhooks": hooks,
        })
    };
    let deployment = |part: &str| {
        let name = format!("spark-operator-{part}");
        let container = json!({"name": name, "image": IMAGE});
        super::deployment(NAMESPACE, &name, &labels(part), &container)
    };
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        deployment("controller"),
        deployment("webhook"),
        webhooks("MutatingWebhookConfiguration", "mutate"),
        webhooks("ValidatingWebhookConfiguration", "validate"),
    ]
}

/// The elements of an array; none for anything else.
fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The text of a string; empty for anything else.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
