//! Which TrainJobs are refused. All but what exists already are dry runs.

use super::{super::prelude::*, RUNTIMES, Runtimes, job_base};

requirement_checks! {
    "trainer/admission/refuses-unknown-runtimes" => refuses_unknown_runtimes, needs [&RUNTIMES];
    "trainer/admission/refuses-bad-names" => refuses_bad_names, needs [&RUNTIMES];
    "trainer/admission/refuses-long-names" => refuses_long_names, needs [&RUNTIMES];
    "trainer/admission/refuses-unknown-managers" => refuses_unknown_managers, needs [&RUNTIMES];
    "trainer/admission/refuses-initializers-without-job" => refuses_initializers_without_job, needs [&RUNTIMES];
    "trainer/admission/refuses-reserved-variables" => refuses_reserved_variables, needs [&RUNTIMES];
    "trainer/admission/keeps-the-runtime" => keeps_the_runtime, needs [&RUNTIMES];
    "trainer/admission/keeps-the-manager" => keeps_the_manager, needs [&RUNTIMES];
}

async fn refuses_unknown_runtimes(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let good = job_base(cx, "dry", &runtimes.plain)?;
    let bad = with(&good, "spec.runtimeRef.name", json!(cx.name("absent")));
    cx.refuses(
        &TRAIN_JOB,
        &good,
        &bad,
        "that names a runtime that does not exist",
    )
    .await
}

/// Kubernetes itself would take these as names.
async fn refuses_bad_names(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let good = job_base(cx, "dry", &runtimes.plain)?;
    let name = name_of(&good);
    for (bad, what) in [
        (format!("1{name}"), "whose name begins with a digit"),
        (format!("{name}.a"), "whose name has a dot"),
    ] {
        let bad = with(&good, "metadata.name", json!(bad));
        cx.refuses(&TRAIN_JOB, &good, &bad, what).await?;
    }
    Ok(())
}

async fn refuses_long_names(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let base = job_base(cx, "dry", &runtimes.plain)?;
    let of = |length: usize| {
        let name = format!("{:a<length$}", name_of(&base));
        with(&base, "metadata.name", json!(name))
    };
    cx.refuses(&TRAIN_JOB, &of(63), &of(64), "whose name has 64 characters")
        .await
}

async fn refuses_unknown_managers(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let base = job_base(cx, "dry", &runtimes.plain)?;
    let by = |manager: &str| with(&base, "spec.managedBy", json!(manager));
    cx.dry_run(&TRAIN_JOB, &by("trainer.kubeflow.org/trainjob-controller"))
        .await?;
    cx.refuses(
        &TRAIN_JOB,
        &by("kueue.x-k8s.io/multikueue"),
        &by("example.org/somebody"),
        "that is managed by an unknown controller",
    )
    .await
}

async fn refuses_initializers_without_job(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let initializer = json!({"dataset": {"storageUri": "hf://kubeflow/conformance"}});
    let by = |runtime: &str| {
        let base = job_base(cx, "dry", runtime)?;
        Ok::<_, Stop>(with(&base, "spec.initializer", initializer.clone()))
    };
    cx.refuses(
        &TRAIN_JOB,
        &by(&runtimes.dataset)?,
        &by(&runtimes.plain)?,
        "whose dataset is to be initialized by a runtime that has no job for it",
    )
    .await
}

async fn refuses_reserved_variables(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let base = job_base(cx, "dry", &runtimes.torch)?;
    // Releases up to 2.1 look at the environment only where this is given.
    let good = with(&base, "spec.trainer.numProcPerNode", json!(1));
    let bad = with(&good, "spec.trainer.env.0.name", json!("PET_NNODES"));
    cx.refuses(
        &TRAIN_JOB,
        &good,
        &bad,
        "that sets a variable by which PyTorch is told of its nodes",
    )
    .await
}

/// A TrainJob that waits, so that nothing of it runs.
async fn waiting(cx: &Cx, runtime: &str) -> Outcome<String> {
    let job = with(
        &job_base(cx, "waiting", runtime)?,
        "spec.suspend",
        json!(true),
    );
    let made = cx.create(&TRAIN_JOB, &job).await?;
    Ok(name_of(&made).to_owned())
}

async fn keeps_the_runtime(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let name = waiting(cx, &runtimes.plain).await?;
    let by = |runtime: &str| json!({"spec": {"runtimeRef": {"name": runtime}}});
    cx.refuses_patch(
        &TRAIN_JOB,
        &name,
        &by(&runtimes.plain),
        &by(&runtimes.torch),
        "to another runtime",
    )
    .await
}

async fn keeps_the_manager(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let name = waiting(cx, &runtimes.plain).await?;
    let by = |manager: &str| json!({"spec": {"managedBy": manager}});
    cx.refuses_patch(
        &TRAIN_JOB,
        &name,
        &by("trainer.kubeflow.org/trainjob-controller"),
        &by("kueue.x-k8s.io/multikueue"),
        "to another manager",
    )
    .await
}
