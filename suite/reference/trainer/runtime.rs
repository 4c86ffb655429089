//! The controller of runtimes: one that a TrainJob names stays as long as the TrainJob.

use super::{JOBS, RUNTIMES, text};
use crate::reference::kube::{ApiError, Key, Next, Watch, World};

/// The finalizer of a runtime in use.
const FINALIZER: &str = "trainer.kubeflow.org/resource-in-use";

/// Starts the controller.
pub(super) fn install(world: &World) {
    let watches = vec![
        Watch::on(&RUNTIMES),
        Watch::mapped(&JOBS, |_, job| {
            let reference = &job["spec"]["runtimeRef"];
            let namespace = text(&job["metadata"]["namespace"]);
            (reference["kind"] == "TrainingRuntime")
                .then(|| Key::new(namespace, text(&reference["name"])))
                .into_iter()
                .collect()
        }),
    ];
    world.controller("trainingruntime", watches, reconcile);
}

async fn reconcile(world: World, key: Key) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(runtime) = world.find(&RUNTIMES, namespace, name) else {
        return Ok(Next::Wait);
    };
    if world.has_fault("trainer/runtime/stays-while-used") {
        return Ok(Next::Wait);
    }
    let used = world.list(&JOBS, Some(namespace)).iter().any(|job| {
        let reference = &job["spec"]["runtimeRef"];
        reference["kind"] == "TrainingRuntime" && reference["name"] == name
    });
    let goes = !runtime["metadata"]["deletionTimestamp"].is_null();
    if used && !goes {
        world
            .add_finalizer(&RUNTIMES, namespace, name, FINALIZER)
            .await?;
    } else if goes && !used && !world.has_fault("trainer/runtime/stays-while-used:for-ever") {
        world
            .remove_finalizer(&RUNTIMES, namespace, name, FINALIZER)
            .await?;
    }
    Ok(Next::Wait)
}
