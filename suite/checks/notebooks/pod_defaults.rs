//! What PodDefaults add to the pods of notebooks.

use super::{
    base, marked,
    pod::told,
    pods_of,
    states::{Ready, given, observe, reports_ready, value},
};
use crate::{checks::prelude::*, cluster::discover::items};

requirement_checks! {
    "notebooks/pod-defaults/reach-notebooks" => reach_notebooks, needs [&DEFAULTED];
    "notebooks/pod-defaults/tell-conflicts" => tell_conflicts;
}

setups! {
    /// A notebook whose label a PodDefault selects.
    pub DEFAULTED = "setup/notebooks/defaulted", judge "", minutes 10, needs [&IMAGE], run: defaulted;
}

/// A PodDefault that selects what has the label `label`, and gives it the variable TINT.
pub(super) fn pod_default(cx: &Cx, name: &str, label: &str, tint: &str) -> Outcome<Value> {
    cx.fixture(
        "notebooks/pod-default.yaml",
        &[("name", name), ("label", label), ("tint", tint)],
    )
}

async fn defaulted(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("tinted");
    cx.create(&POD_DEFAULT, &pod_default(cx, &name, &name, "blue")?)
        .await?;
    let notebook = marked(base(cx, &name)?, "labels", &name, "true");
    cx.create(&NOTEBOOK, &notebook).await?;
    given(
        reports_ready(cx, &name).await,
        "notebooks/server/becomes-ready",
    )?;
    value(&observe(cx, &name, 8888).await?)
}

/// The pod of a notebook has what a PodDefault adds that selects a label of the notebook.
pub async fn reach_notebooks(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&DEFAULTED)?;
    let name = name_of(&seen.notebook);
    let Some(pod) = seen.pods.first() else {
        return Err(Stop::failed(format!(
            "the ready Notebook `{name}` has no pod"
        )));
    };
    let container = items(&pod["spec"], "containers").find(|c| c["name"] == name);
    let container = container.unwrap_or(&Value::Null);
    let variable = items(container, "env").find(|v| v["name"] == "TINT");
    ensure_eq!(
        variable.map_or(&Value::Null, |v| &v["value"]),
        "blue",
        "the variable TINT in the pod of Notebook `{name}`, which PodDefault `{name}` selects"
    );
    ensure!(
        items(container, "volumeMounts")
            .any(|m| m["name"] == "added" && m["mountPath"] == "/added"),
        "the container of Notebook `{name}`, which PodDefault `{name}` selects, lacks the mount that it adds"
    );
    ensure!(
        items(&pod["spec"], "volumes").any(|v| v["name"] == "added"),
        "the pod of Notebook `{name}`, which PodDefault `{name}` selects, lacks the volume that it adds"
    );
    Ok(())
}

/// Two PodDefaults that cannot both hold leave a notebook without a pod, and it says why.
pub async fn tell_conflicts(cx: &Cx) -> Outcome {
    let name = cx.name("torn");
    let defaults = [cx.name("torn-a"), cx.name("torn-b")];
    for (default, tint) in defaults.iter().zip(["blue", "red"]) {
        cx.create(&POD_DEFAULT, &pod_default(cx, default, &name, tint)?)
            .await?;
    }
    let notebook = marked(base(cx, &name)?, "labels", &name, "true");
    cx.create(&NOTEBOOK, &notebook).await?;
    let names = |text: &str| {
        defaults
            .iter()
            .any(|default| text.contains(default.as_str()))
    };
    let (found, last) = told(cx, &name, |event| {
        event["type"] == "Warning" && names(event["message"].as_str().unwrap_or_default())
    })
    .await?;
    let seen = cx.need(&NOTEBOOK, &name).await?;
    let condition = items(&seen["status"], "conditions")
        .any(|c| names(c["message"].as_str().unwrap_or_default()));
    let pods = pods_of(cx, &name).await?;
    ensure!(
        pods.is_empty(),
        "Notebook `{name}` has a pod, though two PodDefaults that select it give one variable two values"
    );
    ensure!(
        found || condition,
        "neither an event about Notebook `{name}` nor a condition of it names a PodDefault of the two that cannot both hold; {last}"
    );
    Ok(())
}
