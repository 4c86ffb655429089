//! What admission fills in. All are dry runs.

use super::{super::prelude::*, RUNTIMES, Runtimes, job_base, runtime_base};

requirement_checks! {
    "trainer/defaults/fills-a-trainjob" => fills_a_trainjob, needs [&RUNTIMES];
    "trainer/defaults/means-cluster-runtimes" => means_cluster_runtimes, needs [&RUNTIMES];
    "trainer/defaults/fills-the-mpi-policy" => fills_the_mpi_policy;
}

async fn fills_a_trainjob(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let stored = cx
        .dry_run(&TRAIN_JOB, &job_base(cx, "dry", &runtimes.plain)?)
        .await?;
    let spec = &stored["spec"];
    ensure_eq!(spec["suspend"], false, "spec.suspend");
    ensure_eq!(
        spec["managedBy"],
        "trainer.kubeflow.org/trainjob-controller",
        "spec.managedBy"
    );
    ensure_eq!(
        spec["runtimeRef"]["apiGroup"],
        "trainer.kubeflow.org",
        "spec.runtimeRef.apiGroup"
    );
    Ok(())
}

/// The name of a runtime of the namespace names no runtime of the cluster.
async fn means_cluster_runtimes(cx: &Cx) -> Outcome {
    let runtimes: Runtimes = cx.setup(&RUNTIMES)?;
    let good = job_base(cx, "dry", &runtimes.plain)?;
    cx.refuses(
        &TRAIN_JOB,
        &good,
        &with(&good, "spec.runtimeRef.kind", Value::Null),
        "that names a runtime of its namespace without saying its kind",
    )
    .await
}

async fn fills_the_mpi_policy(cx: &Cx) -> Outcome {
    let policy = json!({"numProcPerNode": 2});
    let runtime = with(&runtime_base(cx, "dry")?, "spec.mlPolicy.mpi", policy);
    let stored = cx.dry_run(&TRAINING_RUNTIME, &runtime).await?;
    let mpi = &stored["spec"]["mlPolicy"]["mpi"];
    ensure_eq!(mpi["numProcPerNode"], 2, "spec.mlPolicy.mpi.numProcPerNode");
    ensure_eq!(
        mpi["mpiImplementation"],
        "OpenMPI",
        "spec.mlPolicy.mpi.mpiImplementation"
    );
    ensure_eq!(
        mpi["sshAuthMountPath"],
        "/root/.ssh",
        "spec.mlPolicy.mpi.sshAuthMountPath"
    );
    ensure_eq!(
        mpi["runLauncherAsNode"],
        false,
        "spec.mlPolicy.mpi.runLauncherAsNode"
    );
    Ok(())
}
