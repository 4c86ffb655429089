//! Stopping, starting, changing and removing notebooks.

use super::{
    CONTAINER, STOPPED, base, marked, pods_of,
    states::{
        HALTED, Halted, OTHER_PORT, RESTARTED, Ready, given, gone, kept, on_port, page_of,
        reported, reports_ready,
    },
    uid_of,
};
use crate::checks::prelude::*;

requirement_checks! {
    "notebooks/lifecycle/stops-when-annotated" => stops_when_annotated, needs [&HALTED];
    "notebooks/lifecycle/keeps-stopped-notebook" => keeps_stopped_notebook, needs [&HALTED];
    "notebooks/lifecycle/reports-stopped" => reports_stopped, needs [&HALTED];
    "notebooks/lifecycle/starts-again" => starts_again, needs [&HALTED, &RESTARTED];
    "notebooks/lifecycle/follows-template" => follows_template, needs [&RESTARTED];
    "notebooks/lifecycle/follows-image" => follows_image, needs [&IMAGE];
    "notebooks/lifecycle/starts-stopped" => starts_stopped;
    "notebooks/lifecycle/repairs-service" => repairs_service;
    "notebooks/lifecycle/removes-its-parts" => removes_its_parts, needs [&OTHER_PORT];
    "notebooks/lifecycle/removes-stopped" => removes_stopped;
}

/// The annotation scales the server to nothing.
pub async fn stops_when_annotated(cx: &Cx) -> Outcome {
    let seen: Halted = cx.setup(&HALTED)?;
    if !seen.stateful_set.is_null() {
        ensure_eq!(
            seen.stateful_set["spec"]["replicas"],
            0,
            "spec.replicas of StatefulSet `{}` after its Notebook was stopped",
            name_of(&seen.before.notebook)
        );
    }
    Ok(())
}

/// The Notebook itself stays as it was.
pub async fn keeps_stopped_notebook(cx: &Cx) -> Outcome {
    let seen: Halted = cx.setup(&HALTED)?;
    let before = &seen.before.notebook;
    let after = kept(&seen)?;
    let name = name_of(before);
    ensure_eq!(
        uid_of(after),
        uid_of(before),
        "the uid of Notebook `{name}` after it was stopped"
    );
    ensure_eq!(
        after["spec"],
        before["spec"],
        "the spec of Notebook `{name}` after it was stopped"
    );
    Ok(())
}

/// Its status says that nothing runs.
pub async fn reports_stopped(cx: &Cx) -> Outcome {
    let seen: Halted = cx.setup(&HALTED)?;
    reported(given(
        kept(&seen),
        "notebooks/lifecycle/keeps-stopped-notebook",
    )?)
}

/// Without the annotation it runs again: another pod, the same path.
pub async fn starts_again(cx: &Cx) -> Outcome {
    let before: Halted = cx.setup(&HALTED)?;
    let seen: Ready = cx.setup(&RESTARTED)?;
    let name = name_of(&seen.notebook);
    ensure!(
        !seen.pods.is_empty(),
        "Notebook `{name}` reports to be ready after it was started again, but has no pod"
    );
    let earlier: Vec<&str> = before.before.pods.iter().map(uid_of).collect();
    ensure!(
        seen.pods.iter().all(|pod| !earlier.contains(&uid_of(pod))),
        "Notebook `{name}` has the pod that it had before it was stopped"
    );
    ensure_eq!(
        seen.page["notebook"],
        "kfconform",
        "what answers in Notebook `{name}` after it was started again"
    );
    Ok(())
}

/// A change of the pod template reaches the server.
pub async fn follows_template(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&RESTARTED)?;
    let name = name_of(&seen.notebook);
    // Not the environment: whether what is set there arrives at all, another check judges.
    let changed = with(
        &seen.notebook,
        &format!("{CONTAINER}.command"),
        json!(on_port(9999)),
    );
    let patch = json!({"spec": changed["spec"]});
    cx.patch(&NOTEBOOK, name, &patch).await?;
    let old: Vec<&str> = seen.pods.iter().map(uid_of).collect();
    for pod in &seen.pods {
        // A pod of the same name is fine, as long as it is another one.
        cx.until(
            &POD,
            name_of(pod),
            "notebook-ready",
            "make way for another one that is ready after its Notebook changed",
            |now| !old.contains(&uid_of(now)) && condition(now, "Ready") == "True",
        )
        .await?;
    }
    let pods = pods_of(cx, name).await?;
    let pod = pods.first().map(name_of).unwrap_or_default();
    let page = page_of(cx, pod, 9999).await?;
    ensure_eq!(
        page["notebook"],
        "kfconform",
        "what answers on the port that the command of Notebook `{name}` was changed to"
    );
    Ok(())
}

/// A change of the image gives the notebook another pod. That image does not exist: nothing but the change is looked at.
pub async fn follows_image(cx: &Cx) -> Outcome {
    const OTHER: &str = "kfconform.invalid/other:0";
    let name = cx.name("image");
    cx.create(&NOTEBOOK, &base(cx, &name)?).await?;
    let notebook = given(
        reports_ready(cx, &name).await,
        "notebooks/server/becomes-ready",
    )?;
    let pods = pods_of(cx, &name).await?;
    // Of several the last is replaced first.
    let Some(pod) = pods.last() else {
        return Err(Stop::failed(format!(
            "the ready Notebook `{name}` has no pod"
        )));
    };
    let changed = with(&notebook, &format!("{CONTAINER}.image"), json!(OTHER));
    let patch = json!({"spec": changed["spec"]});
    cx.patch(&NOTEBOOK, &name, &patch).await?;
    cx.until(
        &POD,
        name_of(pod),
        "notebook-ready",
        "make way for another one with the new image of its Notebook",
        |now| {
            let containers = now["spec"]["containers"].as_array();
            let mut containers = containers.into_iter().flatten();
            uid_of(now) != uid_of(pod)
                && containers.any(|c| c["name"] == name.as_str() && c["image"] == OTHER)
        },
    )
    .await?;
    Ok(())
}

/// Makes a notebook that carries the annotation from the start.
pub(super) async fn create_stopped(cx: &Cx, name: &str) -> Outcome {
    let notebook = marked(
        base(cx, name)?,
        "annotations",
        STOPPED,
        "2026-01-01T00:00:00Z",
    );
    cx.create(&NOTEBOOK, &notebook).await?;
    Ok(())
}

/// A notebook that is made with the annotation does not run.
pub async fn starts_stopped(cx: &Cx) -> Outcome {
    let name = cx.name("asleep");
    create_stopped(cx, &name).await?;
    let set = cx
        .until(&STATEFUL_SET, &name, "reconcile", "be made", |set| {
            set["status"]["observedGeneration"].as_i64() >= Some(1)
        })
        .await?;
    ensure_eq!(
        set["spec"]["replicas"],
        0,
        "spec.replicas of StatefulSet `{name}`, whose Notebook was made stopped"
    );
    ensure_eq!(
        pods_of(cx, &name).await?.len(),
        0,
        "the number of pods of Notebook `{name}`, which was made stopped"
    );
    Ok(())
}

/// A Service that was deleted by mistake comes again.
pub async fn repairs_service(cx: &Cx) -> Outcome {
    let name = cx.name("repair");
    // A stopped notebook has a Service too, and costs no pod.
    create_stopped(cx, &name).await?;
    let service = cx
        .until(&SERVICE, &name, "reconcile", "be made", |_| true)
        .await?;
    cx.delete(&SERVICE, &name).await?;
    let again = cx
        .until(
            &SERVICE,
            &name,
            "reconcile",
            "come again after it was deleted",
            |now| uid_of(now) != uid_of(&service),
        )
        .await?;
    ensure_eq!(
        again["spec"]["ports"],
        service["spec"]["ports"],
        "the ports of Service `{name}` after it came again"
    );
    Ok(())
}

/// All that belongs to a notebook goes with it.
pub async fn removes_its_parts(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&OTHER_PORT)?;
    let name = name_of(&seen.notebook);
    cx.delete(&NOTEBOOK, name).await?;
    for kind in [NOTEBOOK, STATEFUL_SET, SERVICE] {
        cx.until_gone(&kind, name, "gone").await?;
    }
    gone(cx, name).await
}

/// So it does where the notebook is stopped.
pub async fn removes_stopped(cx: &Cx) -> Outcome {
    let name = cx.name("bygone");
    create_stopped(cx, &name).await?;
    for kind in [STATEFUL_SET, SERVICE] {
        cx.until(&kind, &name, "reconcile", "be made", |_| true)
            .await?;
    }
    cx.delete(&NOTEBOOK, &name).await?;
    for kind in [NOTEBOOK, STATEFUL_SET, SERVICE] {
        cx.until_gone(&kind, &name, "gone").await?;
    }
    Ok(())
}
