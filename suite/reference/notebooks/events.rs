//! What happens to the parts of a notebook is told at the Notebook, too.

use serde_json::Value;

use super::{
    super::kube::{
        ApiError, Key, Next, Watch, World,
        resources::{EVENTS, PODS},
    },
    NOTEBOOKS,
};

/// Reissues the events of pods and StatefulSets on their Notebooks.
pub(super) fn install(world: &World) {
    let watches = vec![Watch::on(&EVENTS)];
    world.controller(
        "notebook-events",
        watches,
        |world: World, key: Key| async move { reissue(&world, &key).await },
    );
}

async fn reissue(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(event) = world.find(&EVENTS, &key.namespace, &key.name) else {
        return Ok(Next::Wait);
    };
    let about = &event["involvedObject"];
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&about["kind"]), text(&about["name"]));
    let notebook = match kind.as_str() {
        "StatefulSet" => Some(name.clone()),
        // A pod that could not be made, or is gone, is known by the name that its StatefulSet gives it.
        "Pod" => match world.find(&PODS, &key.namespace, &name) {
            Some(pod) => pod["metadata"]["ownerReferences"][0]["name"]
                .as_str()
                .map(ToOwned::to_owned),
            None => name.strip_suffix("-0").map(ToOwned::to_owned),
        },
        _ => None,
    };
    let found = notebook.and_then(|name| world.find(&NOTEBOOKS, &key.namespace, &name));
    let Some(found) = found else {
        return Ok(Next::Wait);
    };
    let silent = world.has_fault(match kind.as_str() {
        "Pod" => "notebooks/pod/tells-events",
        _ => "notebooks/pod-defaults/tell-conflicts",
    });
    if !silent {
        let mut notebook = (*found).clone();
        notebook["apiVersion"] = "kubeflow.org/v1beta1".into();
        let said = format!(
            "Reissued from {}/{name}: {}",
            kind.to_lowercase(),
            text(&event["message"])
        );
        let (level, reason) = (text(&event["type"]), text(&event["reason"]));
        world
            .event(&notebook, &level, &reason, &said, "notebook-controller")
            .await;
    }
    Ok(Next::Wait)
}
