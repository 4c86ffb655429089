//! What the CRDs' rules and the webhooks of Trainer 2.1 refuse, in their words.

use serde_json::Value;

use super::{
    JOBS, NODE, RUNTIMES, STEP_LABEL, TRAINER, array, text,
    trainjob::{jobs_of, runtime_of},
};
use crate::reference::kube::{AdmissionRequest, Denied, Operation, World};

const WRITES: [Operation; 2] = [Operation::Create, Operation::Update];
/// Who may manage a TrainJob.
const MANAGERS: [&str; 2] = [
    "trainer.kubeflow.org/trainjob-controller",
    "kueue.x-k8s.io/multikueue",
];
/// The variables by which PyTorch is told of its nodes.
const RESERVED: [&str; 5] = [
    "PET_NNODES",
    "PET_NPROC_PER_NODE",
    "PET_NODE_RANK",
    "PET_MASTER_ADDR",
    "PET_MASTER_PORT",
];

/// A rule: the fault that switches it off, who says it, and what is said of an object that breaks it.
type Rule = (
    &'static str,
    Voice,
    fn(&World, &AdmissionRequest) -> Option<String>,
);

/// Who refuses.
#[derive(Clone, Copy)]
enum Voice {
    /// A rule of the CRD.
    Schema,
    /// The webhook.
    Webhook,
}

const JOB_RULES: &[Rule] = &[
    (
        "trainer/admission/refuses-bad-names",
        Voice::Schema,
        bad_name,
    ),
    (
        "trainer/admission/refuses-long-names",
        Voice::Schema,
        long_name,
    ),
    (
        "trainer/admission/refuses-unknown-managers",
        Voice::Schema,
        unknown_manager,
    ),
    (
        "trainer/admission/keeps-the-runtime",
        Voice::Schema,
        |_, request| changed(request, "runtimeRef", "runtimeRef is immutable"),
    ),
    (
        "trainer/admission/keeps-the-manager",
        Voice::Schema,
        |_, request| changed(request, "managedBy", "ManagedBy value is immutable"),
    ),
    // Its fault is about runtimes of the namespace alone.
    ("", Voice::Webhook, unknown_runtime),
    (
        "trainer/admission/refuses-initializers-without-job",
        Voice::Webhook,
        initializer_without_job,
    ),
    (
        "trainer/admission/refuses-reserved-variables",
        Voice::Webhook,
        reserved_variables,
    ),
];

const RUNTIME_RULES: &[Rule] = &[
    (
        "trainer/runtime/refuses-two-policies",
        Voice::Schema,
        two_policies,
    ),
    (
        "trainer/runtime/refuses-several-replicas",
        Voice::Webhook,
        several_replicas,
    ),
    (
        "trainer/runtime/needs-the-named-container",
        Voice::Webhook,
        other_container,
    ),
];

/// Registers the rules.
pub(super) fn install(world: &World) {
    for (resource, rules, kind) in [
        (&JOBS, JOB_RULES, "TrainJob"),
        (&RUNTIMES, RUNTIME_RULES, "TrainingRuntime"),
        (
            &super::CLUSTER_RUNTIMES,
            RUNTIME_RULES,
            "ClusterTrainingRuntime",
        ),
    ] {
        let asked = world.clone();
        world.validating(resource, &WRITES, move |request| {
            let broken = rules
                .iter()
                .filter(|(fault, ..)| !asked.has_fault(fault))
                .find_map(|(_, voice, rule)| Some((*voice, rule(&asked, &request)?)));
            let refused = broken.map(|(voice, message)| match voice {
                Voice::Schema => Denied {
                    code: 422,
                    reason: Some("Invalid".to_owned()),
                    message: format!(
                        "{kind}.trainer.kubeflow.org \"{}\" is invalid: {message}",
                        request.name
                    ),
                },
                Voice::Webhook => {
                    let webhook = format!("validator.{}.trainer.kubeflow.org", kind.to_lowercase());
                    Denied::by(&webhook, 403, Some("Forbidden"), &message)
                }
            });
            async move { refused.map_or(Ok(()), Err) }
        });
    }
}

fn name(request: &AdmissionRequest) -> &str {
    text(&request.object["metadata"]["name"])
}

fn bad_name(_: &World, request: &AdmissionRequest) -> Option<String> {
    let name = name(request);
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (!good).then(|| {
        "<nil>: Invalid value: \"object\": metadata.name must match RFC 1035 DNS label format"
            .to_owned()
    })
}

fn long_name(_: &World, request: &AdmissionRequest) -> Option<String> {
    (name(request).len() > 63).then(|| {
        "<nil>: Invalid value: \"object\": metadata.name must be no more than 63 characters"
            .to_owned()
    })
}

fn unknown_manager(_: &World, request: &AdmissionRequest) -> Option<String> {
    let manager = request.object["spec"]["managedBy"].as_str()?;
    (!MANAGERS.contains(&manager)).then(|| {
        format!(
            "spec.managedBy: Invalid value: \"string\": ManagedBy must be {} or {} if set",
            MANAGERS[0], MANAGERS[1]
        )
    })
}

fn changed(request: &AdmissionRequest, field: &str, what: &str) -> Option<String> {
    let old = &request.old_object.as_ref()?["spec"][field];
    (*old != request.object["spec"][field])
        .then(|| format!("spec.{field}: Invalid value: \"object\": {what}"))
}

fn unknown_runtime(world: &World, request: &AdmissionRequest) -> Option<String> {
    // A TrainJob that goes is written once more, when its runtime may be gone.
    if request.operation == Operation::Update || runtime_of(world, &request.object).is_some() {
        return None;
    }
    let reference = &request.object["spec"]["runtimeRef"];
    let name = text(&reference["name"]);
    let (plural, kind) = match text(&reference["kind"]) {
        "TrainingRuntime" if world.has_fault("trainer/admission/refuses-unknown-runtimes") => {
            return None;
        }
        "TrainingRuntime" => ("trainingruntimes", "trainingRuntime"),
        _ => ("clustertrainingruntimes", "ClusterTrainingRuntime"),
    };
    Some(format!(
        "spec.runtimeRef: Invalid value: {reference}: {plural}.trainer.kubeflow.org \"{name}\" not found: specified \
         {kind} must be created before the TrainJob is created"
    ))
}

fn initializer_without_job(world: &World, request: &AdmissionRequest) -> Option<String> {
    let runtime = runtime_of(world, &request.object)?;
    let initializer = &request.object["spec"]["initializer"];
    for (field, step, what) in [
        ("dataset", "dataset-initializer", "datasetConfig"),
        ("model", "model-initializer", "modelConfig"),
    ] {
        if initializer[field].is_null() {
            continue;
        }
        let there = jobs_of(&runtime).any(|job| job["name"] == step);
        if !there {
            return Some(format!(
                "spec.runtimeRef: Invalid value: {}: must have {step} job when trainJob is configured with input {what}",
                request.object["spec"]["runtimeRef"]
            ));
        }
    }
    None
}

fn reserved_variables(world: &World, request: &AdmissionRequest) -> Option<String> {
    let runtime = runtime_of(world, &request.object)?;
    let trainer = &request.object["spec"]["trainer"];
    if runtime["spec"]["mlPolicy"]["torch"].is_null() || trainer["numProcPerNode"].is_null() {
        return None;
    }
    let set: Vec<&str> = array(&trainer["env"])
        .map(|variable| text(&variable["name"]))
        .filter(|name| RESERVED.contains(name))
        .collect();
    (!set.is_empty()).then(|| {
        format!(
            "spec.trainer.env: Invalid value: {}: must not have reserved envs, invalid envs configured: {set:?}",
            trainer["env"]
        )
    })
}

fn two_policies(_: &World, request: &AdmissionRequest) -> Option<String> {
    let policy = &request.object["spec"]["mlPolicy"];
    (!policy["torch"].is_null() && !policy["mpi"].is_null()).then(|| {
        "spec.mlPolicy: Invalid value: \"object\": Only one of the policy can be configured"
            .to_owned()
    })
}

/// The jobs of a runtime that are steps of TrainJobs, each with its place and its step.
fn steps(runtime: &Value) -> impl Iterator<Item = (usize, &str, &Value)> {
    jobs_of(runtime).enumerate().filter_map(|(index, job)| {
        let step = text(&job["template"]["metadata"]["labels"][STEP_LABEL]);
        let known = [TRAINER, "dataset-initializer", "model-initializer"];
        known.contains(&step).then_some((index, step, job))
    })
}

fn several_replicas(_: &World, request: &AdmissionRequest) -> Option<String> {
    steps(&request.object)
        .find(|(_, _, job)| job["replicas"] != 1)
        .map(|(index, _, job)| {
            format!(
                "spec.template.spec.replicatedJobs[{index}].replicas: Invalid value: {}: always must be 1",
                job["replicas"]
            )
        })
}

fn other_container(_: &World, request: &AdmissionRequest) -> Option<String> {
    steps(&request.object)
        .find(|(_, step, job)| {
            let wanted = if *step == TRAINER { NODE } else { step };
            let containers = &job["template"]["spec"]["template"]["spec"]["containers"];
            !array(containers).any(|container| container["name"] == wanted)
        })
        .map(|(index, step, _)| {
            format!(
                "spec.template.spec.replicatedJobs[{index}].template.spec.template.spec.containers: Invalid value: \
                 must contain the required container for the ancestor: {step}"
            )
        })
}
