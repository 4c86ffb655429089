//! What Kubeflow Trainer must do: its API, what admission fills in and refuses, runtimes, and the life of a TrainJob.
//!
//! All jobs run by runtimes of the run's own namespace, with the suite's own image: nothing of what a distribution ships
//! as runtimes is downloaded.

mod admission;
mod defaults;
mod jobs;
mod runtime;
mod trainjob;

use super::{prelude::*, served};

/// The checks of Trainer, group by group.
pub const TABLES: &[&[Check]] = &[
    CHECKS,
    defaults::CHECKS,
    admission::CHECKS,
    runtime::CHECKS,
    trainjob::CHECKS,
];

requirement_checks! {
    "trainer/api/serves-trainjobs" => serves_trainjobs;
}

setups! {
    /// The runtimes that training jobs name.
    pub RUNTIMES = "setup/trainer/runtimes", judge "", minutes 2, needs [], run: runtimes;
}

/// The label by which the pods and Jobs of a JobSet name it.
const JOB_SET_LABEL: &str = "jobset.sigs.k8s.io/jobset-name";
/// The label by which a runtime says which of its jobs is which step of a TrainJob.
const STEP_LABEL: &str = "trainer.kubeflow.org/trainjob-ancestor-step";
/// The path to the first job of a runtime.
const NODE_JOB: &str = "spec.template.spec.replicatedJobs.0";
/// The path to the container of that job.
const NODE: &str = "spec.template.spec.replicatedJobs.0.template.spec.template.spec.containers.0";

/// The runtimes of the run, by name.
#[derive(Debug, Serialize, Deserialize)]
struct Runtimes {
    /// One job `node`, without a policy of a framework.
    plain: String,
    /// The same beside a job that initializes a dataset.
    dataset: String,
    /// One job `node` that is run as PyTorch wants it.
    torch: String,
}

async fn serves_trainjobs(cx: &Cx) -> Outcome {
    let kinds = [TRAIN_JOB, TRAINING_RUNTIME, CLUSTER_TRAINING_RUNTIME];
    served::serves(cx, &kinds, &[TRAIN_JOB]).await
}

/// The TrainingRuntime of `fixtures/trainer/runtime.yaml`.
fn runtime_base(cx: &Cx, label: &str) -> Outcome<Value> {
    cx.fixture("trainer/runtime.yaml", &[("name", &cx.name(label))])
}

/// The TrainJob of `fixtures/trainer/trainjob.yaml`, by a runtime of that name.
fn job_base(cx: &Cx, label: &str, runtime: &str) -> Outcome<Value> {
    let marks = [("name", &*cx.name(label)), ("runtime", runtime)];
    cx.fixture("trainer/trainjob.yaml", &marks)
}

/// A runtime with one more job before its own: the step of that name, in a container of that name.
fn with_step(runtime: &Value, step: &str) -> Value {
    let mut runtime = runtime.clone();
    let jobs = &mut runtime["spec"]["template"]["spec"]["replicatedJobs"];
    let mut job = jobs[0].clone();
    job["name"] = step.into();
    job["template"]["metadata"]["labels"][STEP_LABEL] = step.into();
    job["template"]["spec"]["template"]["spec"]["containers"][0]["name"] = step.into();
    if let Some(jobs) = jobs.as_array_mut() {
        jobs.insert(0, job);
    }
    runtime
}

async fn runtimes(cx: &Cx) -> Outcome<Value> {
    let plain = runtime_base(cx, "plain")?;
    let dataset = with_step(&runtime_base(cx, "dataset")?, "dataset-initializer");
    let torch = with(
        &runtime_base(cx, "torch")?,
        "spec.mlPolicy.torch",
        json!({}),
    );
    for runtime in [&plain, &dataset, &torch] {
        cx.create(&TRAINING_RUNTIME, runtime).await?;
    }
    Ok(json!({
        "plain": name_of(&plain), "dataset": name_of(&dataset), "torch": name_of(&torch),
    }))
}

/// The pods of a TrainJob.
async fn pods_of(cx: &Cx, job: &str) -> Outcome<Vec<Value>> {
    cx.list(&POD, &format!("{JOB_SET_LABEL}={job}")).await
}

/// Waits for the pods of a TrainJob; see [`Cx::pods_until`].
async fn pods_until(
    cx: &Cx,
    job: &str,
    timeout: &'static str,
    what: &str,
    holds: impl FnMut(&[Value]) -> bool,
) -> Outcome<Vec<Value>> {
    let of = format!("TrainJob `{job}`");
    let selector = format!("{JOB_SET_LABEL}={job}");
    cx.pods_until(&of, &selector, timeout, what, holds).await
}

/// Waits until a TrainJob is complete; fails as soon as it says that it failed.
async fn until_complete(cx: &Cx, name: &str) -> Outcome<Value> {
    cx.watch_until(&TRAIN_JOB, name, "trainjob-finished", "complete", |job| {
        if condition(job, "Failed") == "True" {
            let why = condition_of(job, "Failed");
            return Err(Stop::unlike(
                format!("TrainJob `{name}` failed: {}", why["message"]),
                "condition Complete",
                job["status"].to_string(),
            ));
        }
        Ok(condition(job, "Complete") == "True")
    })
    .await
}
