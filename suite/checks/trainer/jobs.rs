//! The TrainJobs that are really run, each made once and read by many checks.

use super::{super::prelude::*, RUNTIMES, Runtimes, job_base, pods_of, until_complete};

setups! {
    /// Two nodes of a runtime for PyTorch that ran to their end.
    pub FINISHED = "setup/trainer/finished", judge "trainer/trainjob/completes", minutes 11, needs [&IMAGE, &RUNTIMES], run: finished;
    /// A job that waits since it was made, and what there was of it then.
    pub SUSPENDED = "setup/trainer/suspended", judge "trainer/trainjob/waits-while-suspended", minutes 3, needs [&IMAGE, &RUNTIMES], run: suspended;
}

/// What was seen of a TrainJob.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Observed {
    /// The TrainJob.
    pub job: Value,
    /// The JobSet of its name; null where there is none.
    pub set: Value,
    /// Its pods.
    pub pods: Vec<Value>,
}

impl Observed {
    /// The TrainJob's name.
    pub fn name(&self) -> &str {
        name_of(&self.job)
    }
}

async fn observe(cx: &Cx, name: &str) -> Outcome<Value> {
    let observed = Observed {
        job: cx.need(&TRAIN_JOB, name).await?,
        set: cx.get(&JOB_SET, name).await?.unwrap_or_default(),
        pods: pods_of(cx, name).await?,
    };
    serde_json::to_value(observed)
        .map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e.to_string()))
}

async fn finished(cx: &Cx) -> Outcome<Value> {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let job = job_base(cx, "finished", &runtimes.torch)?;
    let job = with(&job, "spec.trainer.numNodes", json!(2));
    let job = cx.create(&TRAIN_JOB, &job).await?;
    until_complete(cx, name_of(&job)).await?;
    observe(cx, name_of(&job)).await
}

async fn suspended(cx: &Cx) -> Outcome<Value> {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let job = job_base(cx, "suspended", &runtimes.plain)?;
    let job = with(&job, "spec.suspend", json!(true));
    let job = cx.create(&TRAIN_JOB, &job).await?;
    let name = name_of(&job);
    cx.until(
        &TRAIN_JOB,
        name,
        "reconcile",
        "say that it is suspended",
        |job| condition(job, "Suspended") == "True",
    )
    .await?;
    cx.until(
        &JOB_SET,
        name,
        "reconcile",
        "say that it is suspended",
        |set| condition(set, "Suspended") == "True",
    )
    .await?;
    observe(cx, name).await
}
