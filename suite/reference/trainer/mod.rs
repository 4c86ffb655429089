//! Kubeflow Trainer 2.1 on JobSet: webhooks, runtimes, and the controllers that make JobSets of TrainJobs and Jobs of
//! JobSets. Of the policies of frameworks PyTorch's is followed, and MPI's only admitted.

mod admission;
mod faults;
mod jobset;
mod runtime;
mod trainjob;

use std::{io, sync::LazyLock};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

pub(super) use faults::FAULTS;

use super::kube::{Crd, Resource, World};

const GROUP: &str = "trainer.kubeflow.org";
const JOBS: Resource = Resource::new(GROUP, "trainjobs");
const RUNTIMES: Resource = Resource::new(GROUP, "trainingruntimes");
const CLUSTER_RUNTIMES: Resource = Resource::new(GROUP, "clustertrainingruntimes");
const JOB_SETS: Resource = Resource::new("jobset.x-k8s.io", "jobsets");

/// The label by which a runtime says which of its jobs is which step of a TrainJob.
const STEP_LABEL: &str = "trainer.kubeflow.org/trainjob-ancestor-step";
/// The step that trains.
const TRAINER: &str = "trainer";
/// Its container.
const NODE: &str = "node";

/// Where the controller lives.
const NAMESPACE: &str = "kubeflow-system";
/// The controller's image, whose tag tells the version.
const IMAGE: &str = "ghcr.io/kubeflow/trainer/trainer-controller-manager:v2.1.0";

/// The CRDs as upstream ships them, without descriptions and what is in pods.
static CRDS: LazyLock<[Value; 3]> = LazyLock::new(|| {
    ["trainjobs", "trainingruntimes", "clustertrainingruntimes"].map(|plural| {
        let text = crate::fixtures::text(&format!("crds/{plural}.{GROUP}.json"));
        serde_json::from_str(text.expect("the CRD is embedded")).expect("the CRD is JSON")
    })
});

/// Of JobSets nothing is checked: only Trainer makes them.
static JOB_SET_CRD: LazyLock<Crd> = LazyLock::new(|| {
    Crd::open("jobset.x-k8s.io", &["v1alpha2"], "JobSet", "jobsets", true)
        .expect("an open CRD is a CRD")
});

/// Puts Trainer into a world.
pub(super) fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        install_crds(world)?;
        world.install(&JOB_SET_CRD);
        for object in installation() {
            world.apply(object).await.map_err(io::Error::other)?;
        }
        admission::install(world);
        runtime::install(world);
        trainjob::install(world);
        jobset::install(world);
        Ok(())
    }
    .boxed()
}

/// Installs the CRDs, without what faults leave out of them.
fn install_crds(world: &World) -> io::Result<()> {
    for crd in &*CRDS {
        let mut crd = crd.clone();
        let is = |plural: &str| crd["spec"]["names"]["plural"] == plural;
        if is("clustertrainingruntimes") && world.has_fault("trainer/api/serves-trainjobs") {
            continue;
        }
        let is_job = is("trainjobs");
        let spec = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
            ["properties"];
        if is_job {
            if world.has_fault("trainer/defaults/fills-a-trainjob") {
                spec["runtimeRef"]["properties"]["apiGroup"] = json!({"type": "string"});
            }
            if world.has_fault("trainer/defaults/means-cluster-runtimes") {
                spec["runtimeRef"]["properties"]["kind"]["default"] = json!("TrainingRuntime");
            }
        } else if world.has_fault("trainer/defaults/fills-the-mpi-policy") {
            spec["mlPolicy"]["properties"]["mpi"]["properties"]["sshAuthMountPath"] =
                json!({"type": "string"});
        }
        world.install(&Crd::from_value(crd).map_err(io::Error::other)?);
    }
    Ok(())
}

/// What an installation consists of beside the CRDs.
fn installation() -> Vec<Value> {
    let labels = json!({
        "app.kubernetes.io/name": "trainer", "app.kubernetes.io/component": "manager",
        "app.kubernetes.io/part-of": "kubeflow",
    });
    let webhook = |singular: &str| {
        json!({
            "name": format!("validator.{singular}.{GROUP}"), "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {
                "namespace": NAMESPACE, "name": "kubeflow-trainer-controller-manager", "port": 443,
                "path": format!("/validate-trainer-kubeflow-org-v1alpha1-{singular}"),
            }},
            "failurePolicy": "Fail", "sideEffects": "None",
            "rules": [{
                "apiGroups": [GROUP], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"],
                "resources": [format!("{singular}s")],
            }],
        })
    };
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        super::deployment(
            NAMESPACE,
            "kubeflow-trainer-controller-manager",
            &labels,
            &json!({"name": "manager", "image": IMAGE}),
        ),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": format!("validator.{GROUP}")},
            "webhooks": [webhook("clustertrainingruntime"), webhook("trainingruntime"), webhook("trainjob")],
        }),
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
