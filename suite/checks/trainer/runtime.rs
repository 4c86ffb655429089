//! Which runtimes are refused, and that one in use stays.

use super::{super::prelude::*, NODE, NODE_JOB, RUNTIMES, job_base, runtime_base};

requirement_checks! {
    "trainer/runtime/refuses-two-policies" => refuses_two_policies;
    "trainer/runtime/refuses-several-replicas" => refuses_several_replicas;
    "trainer/runtime/needs-the-named-container" => needs_the_named_container;
    "trainer/runtime/stays-while-used" => stays_while_used, needs [&RUNTIMES];
}

async fn refuses_two_policies(cx: &Cx) -> Outcome {
    let base = runtime_base(cx, "dry")?;
    let torch = with(&base, "spec.mlPolicy.torch", json!({}));
    let mpi = with(&base, "spec.mlPolicy.mpi", json!({"numProcPerNode": 1}));
    let both = with(&torch, "spec.mlPolicy.mpi", json!({"numProcPerNode": 1}));
    cx.dry_run(&TRAINING_RUNTIME, &torch).await?;
    cx.refuses(
        &TRAINING_RUNTIME,
        &mpi,
        &both,
        "with the policies of both PyTorch and MPI",
    )
    .await
}

async fn refuses_several_replicas(cx: &Cx) -> Outcome {
    let base = runtime_base(cx, "dry")?;
    let of = |replicas: u32| with(&base, &format!("{NODE_JOB}.replicas"), json!(replicas));
    cx.refuses(
        &TRAINING_RUNTIME,
        &of(1),
        &of(2),
        "whose training job has two replicas",
    )
    .await
}

async fn needs_the_named_container(cx: &Cx) -> Outcome {
    let good = runtime_base(cx, "dry")?;
    let bad = with(&good, &format!("{NODE}.name"), json!("other"));
    cx.refuses(
        &TRAINING_RUNTIME,
        &good,
        &bad,
        "whose training job has no container called node",
    )
    .await
}

async fn stays_while_used(cx: &Cx) -> Outcome {
    let runtime = cx
        .create(&TRAINING_RUNTIME, &runtime_base(cx, "used")?)
        .await?;
    let runtime = name_of(&runtime);
    let job = with(&job_base(cx, "user", runtime)?, "spec.suspend", json!(true));
    let job = cx.create(&TRAIN_JOB, &job).await?;
    let held = |runtime: &Value| {
        let finalizers = runtime["metadata"]["finalizers"].as_array();
        let mut finalizers = finalizers.into_iter().flatten();
        finalizers.any(|f| f == "trainer.kubeflow.org/resource-in-use")
    };
    cx.until(
        &TRAINING_RUNTIME,
        runtime,
        "reconcile",
        "be held by the finalizer trainer.kubeflow.org/resource-in-use",
        held,
    )
    .await?;
    cx.delete(&TRAINING_RUNTIME, runtime).await?;
    let kept = cx.need(&TRAINING_RUNTIME, runtime).await?;
    ensure!(
        kept["metadata"]["deletionTimestamp"].is_string(),
        "TrainingRuntime `{runtime}` was deleted and does not say so"
    );
    cx.delete(&TRAIN_JOB, name_of(&job)).await?;
    cx.until_gone(&TRAINING_RUNTIME, runtime, "gone").await
}
