//! The life of a TrainJob.

use super::{
    super::prelude::*,
    JOB_SET_LABEL, RUNTIMES, Runtimes, job_base,
    jobs::{FINISHED, Observed, SUSPENDED},
    pods_until, until_complete,
};

requirement_checks! {
    "trainer/trainjob/completes" => completes, needs [&FINISHED];
    "trainer/trainjob/reports-its-jobs" => reports_its_jobs, needs [&FINISHED];
    "trainer/trainjob/owns-its-jobset" => owns_its_jobset, needs [&FINISHED];
    "trainer/trainjob/runs-as-many-nodes" => runs_as_many_nodes, needs [&FINISHED];
    "trainer/trainjob/runs-what-it-says" => runs_what_it_says, needs [&FINISHED];
    "trainer/trainjob/tells-torch-of-its-nodes" => tells_torch_of_its_nodes, needs [&FINISHED];
    "trainer/trainjob/reports-failure" => reports_failure, needs [&IMAGE, &RUNTIMES];
    "trainer/trainjob/waits-while-suspended" => waits_while_suspended, needs [&SUSPENDED];
    "trainer/trainjob/resumes" => resumes, needs [&SUSPENDED];
    "trainer/trainjob/suspends-while-running" => suspends_while_running, needs [&IMAGE, &RUNTIMES];
    "trainer/trainjob/is-deleted-with-its-pods" => is_deleted_with_its_pods, needs [&IMAGE, &RUNTIMES];
}

async fn completes(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FINISHED)?;
    ensure_eq!(
        condition(&seen.job, "Complete"),
        "True",
        "condition Complete of TrainJob `{}`",
        seen.name()
    );
    ensure!(
        condition(&seen.job, "Failed") != "True",
        "TrainJob `{}` is both complete and failed",
        seen.name()
    );
    Ok(())
}

async fn reports_its_jobs(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FINISHED)?;
    let jobs = seen.job["status"]["jobsStatus"].as_array();
    let Some(node) = jobs.into_iter().flatten().find(|j| j["name"] == "node") else {
        return Err(Stop::unlike(
            format!(
                "status.jobsStatus of TrainJob `{}` names no job node",
                seen.name()
            ),
            "node",
            seen.job["status"]["jobsStatus"].to_string(),
        ));
    };
    ensure_eq!(node["succeeded"], 1, "how many jobs node succeeded");
    ensure_eq!(node["failed"], 0, "how many jobs node failed");
    ensure_eq!(node["active"], 0, "how many jobs node are active");
    Ok(())
}

async fn owns_its_jobset(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FINISHED)?;
    ensure!(
        !seen.set.is_null(),
        "there is no JobSet `{}`, as the TrainJob is called",
        seen.name()
    );
    ensure!(
        is_controlled_by(&seen.set, &seen.job),
        "JobSet `{0}` is not controlled by TrainJob `{0}`",
        seen.name()
    );
    Ok(())
}

async fn runs_as_many_nodes(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FINISHED)?;
    let pods = seen.pods.iter();
    let succeeded = pods.filter(|pod| pod["status"]["phase"] == "Succeeded");
    ensure_eq!(
        succeeded.count(),
        2,
        "how many pods of TrainJob `{}`, which has two nodes, succeeded",
        seen.name()
    );
    Ok(())
}

/// The container of a pod that trains.
fn node(pod: &Value) -> Outcome<&Value> {
    let containers = pod["spec"]["containers"].as_array();
    let node = containers
        .into_iter()
        .flatten()
        .find(|c| c["name"] == "node");
    node.ok_or_else(|| Stop::failed(format!("pod `{}` has no container node", name_of(pod))))
}

/// The value of a variable of a container's environment; none where it has none.
fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a Value> {
    let variables = container["env"].as_array();
    variables.into_iter().flatten().find(|v| v["name"] == name)
}

async fn runs_what_it_says(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FINISHED)?;
    ensure!(
        !seen.pods.is_empty(),
        "there is no pod with the label {JOB_SET_LABEL}={}",
        seen.name()
    );
    let trainer = &seen.job["spec"]["trainer"];
    for pod in &seen.pods {
        let node = node(pod)?;
        for key in ["command", "args"] {
            ensure_eq!(
                node[key],
                trainer[key],
                "the {key} of the container node of pod `{}`",
                name_of(pod)
            );
        }
        for name in ["FROM_JOB", "FROM_RUNTIME"] {
            ensure!(
                variable(node, name).is_some_and(|v| v["value"] == "yes"),
                "the variable {name} is not in the container node of pod `{}`",
                name_of(pod)
            );
        }
    }
    Ok(())
}

async fn tells_torch_of_its_nodes(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FINISHED)?;
    let name = seen.name();
    let first = format!("{name}-node-0-0.{name}");
    for pod in &seen.pods {
        let node = node(pod)?;
        let told = |key: &str| variable(node, key).map_or(&Value::Null, |v| &v["value"]);
        ensure_eq!(*told("PET_NNODES"), "2", "the variable PET_NNODES");
        ensure_eq!(
            *told("PET_MASTER_ADDR"),
            first.as_str(),
            "the variable PET_MASTER_ADDR"
        );
        for key in ["PET_MASTER_PORT", "PET_NPROC_PER_NODE", "PET_NODE_RANK"] {
            ensure!(
                variable(node, key).is_some(),
                "pod `{}` has no variable {key}",
                name_of(pod)
            );
        }
    }
    ensure!(!seen.pods.is_empty(), "TrainJob `{name}` has no pods");
    Ok(())
}

async fn reports_failure(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let job = job_base(cx, "failing", &runtimes.plain)?;
    let job = with(&job, "spec.trainer.args", json!(["--exit", "1"]));
    let job = cx.create(&TRAIN_JOB, &job).await?;
    let name = name_of(&job);
    let failed = cx
        .until(&TRAIN_JOB, name, "trainjob-finished", "fail", |job| {
            condition(job, "Failed") == "True"
        })
        .await?;
    ensure!(
        condition(&failed, "Complete") != "True",
        "TrainJob `{name}` is both complete and failed"
    );
    Ok(())
}

async fn waits_while_suspended(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&SUSPENDED)?;
    ensure!(
        seen.pods.is_empty(),
        "TrainJob `{}` is suspended and has {} pods",
        seen.name(),
        seen.pods.len()
    );
    Ok(())
}

async fn resumes(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&SUSPENDED)?;
    let resume = json!({"spec": {"suspend": false}});
    cx.patch(&TRAIN_JOB, seen.name(), &resume).await?;
    let done = until_complete(cx, seen.name()).await?;
    ensure_eq!(
        condition(&done, "Suspended"),
        "False",
        "condition Suspended of TrainJob `{}`, which was resumed",
        seen.name()
    );
    Ok(())
}

/// Creates a TrainJob that takes longer than any check, and waits until it has pods that run.
async fn running(cx: &Cx) -> Outcome<String> {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let job = job_base(cx, "long", &runtimes.plain)?;
    let job = with(&job, "spec.trainer.args", json!(["--sleep-ms", "3600000"]));
    let job = cx.create(&TRAIN_JOB, &job).await?;
    let name = name_of(&job).to_owned();
    let is_running = |pod: &Value| pod["status"]["phase"] == "Running";
    pods_until(cx, &name, "trainjob-finished", "run", |pods| {
        pods.iter().any(is_running)
    })
    .await?;
    Ok(name)
}

async fn suspends_while_running(cx: &Cx) -> Outcome {
    let name = running(cx).await?;
    let suspend = json!({"spec": {"suspend": true}});
    cx.patch(&TRAIN_JOB, &name, &suspend).await?;
    pods_until(cx, &name, "gone", "go", <[Value]>::is_empty).await?;
    cx.until(
        &TRAIN_JOB,
        &name,
        "reconcile",
        "say that it is suspended",
        |job| condition(job, "Suspended") == "True",
    )
    .await?;
    cx.delete(&TRAIN_JOB, &name).await
}

async fn is_deleted_with_its_pods(cx: &Cx) -> Outcome {
    let name = running(cx).await?;
    cx.delete(&TRAIN_JOB, &name).await?;
    cx.until_gone(&TRAIN_JOB, &name, "gone").await?;
    cx.until_gone(&JOB_SET, &name, "gone").await?;
    pods_until(cx, &name, "gone", "go", <[Value]>::is_empty).await?;
    Ok(())
}
