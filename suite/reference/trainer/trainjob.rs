//! The controller of TrainJobs: each is a JobSet, made of its runtime and of what it says itself.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{CLUSTER_RUNTIMES, JOB_SETS, JOBS, NODE, RUNTIMES, STEP_LABEL, TRAINER, array, text};
use crate::reference::kube::{ApiError, Key, Next, Watch, World, condition, owner, set_condition};

/// The port on which the first node of PyTorch is reached.
const TORCH_PORT: &str = "29500";

/// Starts the controller.
pub(super) fn install(world: &World) {
    let watches = vec![Watch::on(&JOBS), Watch::owned(&JOB_SETS, "TrainJob")];
    world.controller("trainjob", watches, reconcile);
}

/// The runtime that a TrainJob names, if there is one.
pub(super) fn runtime_of(world: &World, job: &Value) -> Option<Arc<Value>> {
    let reference = &job["spec"]["runtimeRef"];
    let name = text(&reference["name"]);
    match text(&reference["kind"]) {
        "TrainingRuntime" => world.find(&RUNTIMES, text(&job["metadata"]["namespace"]), name),
        _ => world.find(&CLUSTER_RUNTIMES, "", name),
    }
}

/// The jobs of a runtime.
pub(super) fn jobs_of(runtime: &Value) -> impl Iterator<Item = &Value> {
    array(&runtime["spec"]["template"]["spec"]["replicatedJobs"])
}

async fn reconcile(world: World, key: Key) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(job) = world.find(&JOBS, namespace, name) else {
        return Ok(Next::Wait);
    };
    if !job["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Next::Wait);
    }
    let runtime = runtime_of(&world, &job)
        .ok_or_else(|| ApiError::not_found(&RUNTIMES, text(&job["spec"]["runtimeRef"]["name"])))?;
    let suspended = job["spec"]["suspend"] == true;
    let set = world.find(&JOB_SETS, namespace, name);
    let waits = set
        .as_ref()
        .is_none_or(|set| set["spec"]["suspend"] == true);
    let may_stop = !world.has_fault("trainer/trainjob/suspends-while-running");
    if waits || (suspended && may_stop) {
        world.apply(job_set(&world, &job, &runtime)).await?;
    }
    let set = world.get(&JOB_SETS, namespace, name)?;
    let status = status(&world, &job, &set);
    if status != job["status"] {
        world.set_status(&JOBS, namespace, name, status).await?;
    }
    Ok(Next::Wait)
}

/// The JobSet of a TrainJob.
fn job_set(world: &World, job: &Value, runtime: &Value) -> Value {
    let name = text(&job["metadata"]["name"]);
    let mut spec = runtime["spec"]["template"]["spec"].clone();
    let trainer = &job["spec"]["trainer"];
    let of_runtime = runtime["spec"]["mlPolicy"]["numNodes"]
        .as_u64()
        .unwrap_or(1);
    let nodes = trainer["numNodes"].as_u64().unwrap_or(of_runtime);
    for part in spec["replicatedJobs"].as_array_mut().into_iter().flatten() {
        if part["template"]["metadata"]["labels"][STEP_LABEL] != TRAINER {
            continue;
        }
        let template = &mut part["template"]["spec"];
        let count = if world.has_fault("trainer/trainjob/runs-as-many-nodes") {
            of_runtime
        } else {
            nodes
        };
        template["parallelism"] = json!(count);
        template["completions"] = json!(count);
        let containers = template["template"]["spec"]["containers"].as_array_mut();
        for container in containers.into_iter().flatten() {
            if container["name"] != NODE {
                continue;
            }
            for key in ["image", "command", "args"] {
                if !trainer[key].is_null() {
                    container[key] = trainer[key].clone();
                }
            }
            if world.has_fault("trainer/trainjob/runs-what-it-says")
                && let Some(arguments) = container["args"].as_array_mut()
            {
                arguments.extend([json!("--print"), json!("more")]);
            }
            if !trainer["resourcesPerNode"].is_null() {
                container["resources"] = trainer["resourcesPerNode"].clone();
            }
            for variable in array(&trainer["env"]) {
                set_variable(container, variable);
            }
            if !runtime["spec"]["mlPolicy"]["torch"].is_null() {
                for variable in torch(world, name, nodes, trainer) {
                    set_variable(container, &variable);
                }
            }
        }
    }
    let new = job["metadata"]["generation"] == 1;
    let ignored = new && world.has_fault("trainer/trainjob/waits-while-suspended");
    spec["suspend"] = json!(job["spec"]["suspend"] == true && !ignored);
    let mut owner = owner(job);
    if world.has_fault("trainer/trainjob/owns-its-jobset") {
        owner["controller"] = json!(false);
    }
    json!({
        "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
        "metadata": {
            "namespace": job["metadata"]["namespace"], "name": name, "ownerReferences": [owner],
        },
        "spec": spec,
    })
}

/// What PyTorch is told of its nodes.
fn torch(world: &World, name: &str, nodes: u64, trainer: &Value) -> Vec<Value> {
    let per_node = match &trainer["numProcPerNode"] {
        Value::Null => "1".to_owned(),
        Value::String(word) => word.clone(),
        number => number.to_string(),
    };
    let rank = "metadata.annotations['batch.kubernetes.io/job-completion-index']";
    let mut variables = vec![
        json!({"name": "PET_NNODES", "value": nodes.to_string()}),
        json!({"name": "PET_NPROC_PER_NODE", "value": per_node}),
        json!({"name": "PET_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": rank}}}),
        json!({"name": "PET_MASTER_PORT", "value": TORCH_PORT}),
    ];
    if !world.has_fault("trainer/trainjob/tells-torch-of-its-nodes") {
        let address = format!("{name}-{NODE}-0-0.{name}");
        variables.push(json!({"name": "PET_MASTER_ADDR", "value": address}));
    }
    variables
}

/// Sets a variable of a container's environment, in the place of one of that name.
fn set_variable(container: &mut Value, variable: &Value) {
    if !container["env"].is_array() {
        container["env"] = json!([]);
    }
    if let Some(variables) = container["env"].as_array_mut() {
        match variables.iter_mut().find(|v| v["name"] == variable["name"]) {
            Some(there) => *there = variable.clone(),
            None => variables.push(variable.clone()),
        }
    }
}

/// The status of a TrainJob, of what its JobSet says.
fn status(world: &World, job: &Value, set: &Value) -> Value {
    let now = world.stamp();
    let mut status = job["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let was_suspended = condition(job, "Suspended").is_some_and(|c| c["status"] == "True");
    if job["spec"]["suspend"] == true {
        let message = "TrainJob is suspended";
        set_condition(&mut status, "Suspended", "True", "Suspended", message, &now);
    } else if was_suspended && !world.has_fault("trainer/trainjob/resumes") {
        let message = "TrainJob is resumed";
        set_condition(&mut status, "Suspended", "False", "Resumed", message, &now);
    }
    let several = job["spec"]["trainer"]["numNodes"].as_u64() > Some(1);
    for (theirs, ours, hidden) in [
        (
            "Completed",
            "Complete",
            several && world.has_fault("trainer/trainjob/completes"),
        ),
        (
            "Failed",
            "Failed",
            world.has_fault("trainer/trainjob/reports-failure"),
        ),
    ] {
        if let Some(found) = condition(set, theirs).filter(|c| c["status"] == "True" && !hidden) {
            let (reason, message) = (text(&found["reason"]), text(&found["message"]));
            set_condition(&mut status, ours, "True", reason, message, &now);
        }
    }
    let jobs = &set["status"]["replicatedJobsStatus"];
    if jobs.is_array() && !world.has_fault("trainer/trainjob/reports-its-jobs") {
        status["jobsStatus"] = jobs.clone();
    }
    status
}
