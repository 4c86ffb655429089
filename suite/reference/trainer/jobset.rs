//! The controller of JobSets, as far as Trainer needs it: Jobs of each part at once, suspended and resumed together,
//! complete when all are and failed when one is.

use serde_json::{Value, json};

use super::{JOB_SETS, array, text};
use crate::reference::kube::{
    ApiError, Key, Next, Watch, World, condition, owner, resources::JOBS, set_condition,
};

/// The label by which Jobs and pods name their JobSet.
const LABEL: &str = "jobset.sigs.k8s.io/jobset-name";

/// Starts the controller.
pub(super) fn install(world: &World) {
    let watches = vec![Watch::on(&JOB_SETS), Watch::labelled(&JOBS, LABEL)];
    world.controller("jobset", watches, reconcile);
}

/// How many Jobs of one part are how.
#[derive(Default)]
struct Counts {
    ready: u64,
    succeeded: u64,
    failed: u64,
    active: u64,
    suspended: u64,
}

fn is(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == "True")
}

async fn reconcile(world: World, key: Key) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(set) = world.find(&JOB_SETS, namespace, name) else {
        return Ok(Next::Wait);
    };
    if !set["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Next::Wait);
    }
    let over = is(&set, "Completed") || is(&set, "Failed");
    let suspended = set["spec"]["suspend"] == true;
    let (mut reports, mut wanted) = (Vec::new(), 0);
    let (mut succeeded, mut failed) = (0, 0);
    for part in array(&set["spec"]["replicatedJobs"]) {
        let replicas = part["replicas"].as_u64().unwrap_or(1);
        wanted += replicas;
        let mut counts = Counts::default();
        for index in 0..replicas {
            let called = format!("{name}-{}-{index}", text(&part["name"]));
            let found = world.find(&JOBS, namespace, &called);
            let job = match found {
                Some(job) => job,
                None if over => continue,
                None => {
                    let job = job(&world, &set, part, index, &called);
                    world.create(job).await?
                }
            };
            if !over && (job["spec"]["suspend"] == true) != suspended {
                let change = json!({"spec": {"suspend": suspended}});
                world.patch_merge(&JOBS, namespace, &called, change).await?;
            }
            count(&job, &mut counts);
        }
        succeeded += counts.succeeded;
        failed += counts.failed;
        reports.push(json!({
            "name": part["name"], "ready": counts.ready, "succeeded": counts.succeeded,
            "failed": counts.failed, "active": counts.active, "suspended": counts.suspended,
        }));
    }
    let mut status = set["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    status["replicatedJobsStatus"] = json!(reports);
    let now = world.stamp();
    if suspended {
        let message = "jobset is suspended";
        set_condition(
            &mut status,
            "Suspended",
            "True",
            "SuspendedJobs",
            message,
            &now,
        );
    } else if is(&set, "Suspended") {
        let message = "jobset is resumed";
        set_condition(
            &mut status,
            "Suspended",
            "False",
            "ResumeJobs",
            message,
            &now,
        );
    }
    if !over && failed > 0 {
        let message = "jobset failed due to one or more job failures";
        set_condition(&mut status, "Failed", "True", "FailedJobs", message, &now);
    } else if !over && succeeded == wanted {
        let message = "jobset completed successfully";
        set_condition(
            &mut status,
            "Completed",
            "True",
            "AllJobsCompleted",
            message,
            &now,
        );
    }
    if status != set["status"] {
        world.set_status(&JOB_SETS, namespace, name, status).await?;
    }
    Ok(Next::Wait)
}

fn count(job: &Value, counts: &mut Counts) {
    let active = job["status"]["active"].as_u64().unwrap_or(0);
    let done = job["status"]["succeeded"].as_u64().unwrap_or(0);
    let ready = job["status"]["ready"].as_u64().unwrap_or(0);
    if is(job, "Complete") {
        counts.succeeded += 1;
    } else if is(job, "Failed") {
        counts.failed += 1;
    } else if job["spec"]["suspend"] == true {
        counts.suspended += 1;
    } else if active > 0 {
        counts.active += 1;
    }
    let wanted = job["spec"]["parallelism"].as_u64().unwrap_or(1);
    if ready + done >= wanted {
        counts.ready += 1;
    }
}

/// One Job of a part of a JobSet.
fn job(world: &World, set: &Value, part: &Value, index: u64, called: &str) -> Value {
    let labels = json!({
        LABEL: set["metadata"]["name"],
        "jobset.sigs.k8s.io/replicatedjob-name": part["name"],
        "jobset.sigs.k8s.io/replicatedjob-replicas": part["replicas"].as_u64().unwrap_or(1).to_string(),
        "jobset.sigs.k8s.io/job-index": index.to_string(),
    });
    let mut spec = part["template"]["spec"].clone();
    spec["suspend"] = json!(set["spec"]["suspend"] == true);
    let mut of_job = part["template"]["metadata"]["labels"].clone();
    let of_pod = &mut spec["template"]["metadata"]["labels"];
    for target in [&mut of_job, of_pod] {
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in labels.as_object().into_iter().flatten() {
            target[key] = value.clone();
        }
    }
    let mut metadata = json!({
        "namespace": set["metadata"]["namespace"], "name": called, "labels": of_job,
    });
    if !world.has_fault("trainer/trainjob/is-deleted-with-its-pods") {
        metadata["ownerReferences"] = json!([owner(set)]);
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
}
