//! Idle notebooks are stopped, where the cluster is set to do so.

use super::{
    CONTAINER, STOPPED, base, prefix_of,
    states::{given, reports_ready, settled_within, value},
};
use crate::checks::prelude::*;

requirement_checks! {
    "notebooks/culling/stops-idle" => stops_idle, needs [&IMAGE];
    "notebooks/culling/keeps-busy" => keeps_busy, needs [&BUSY];
    "notebooks/culling/records-activity" => records_activity, needs [&BUSY];
}

setups! {
    /// A notebook with a busy kernel, after it was looked at twice.
    pub BUSY = "setup/notebooks/busy", judge "", minutes 30, needs [&IMAGE], run: busy;
}

/// The annotations in which a controller keeps when a notebook last did something, and when it was last looked at.
const ACTIVITY: &str = "notebooks.kubeflow.org/last-activity";
const LOOKED: &str = "notebooks.kubeflow.org/last_activity_check_timestamp";

/// Makes a notebook whose one kernel has had no result for years, and waits until it is ready.
async fn created(cx: &Cx, name: &str, kernel: &str) -> Outcome<Value> {
    let command = [
        "kfconform",
        "workload",
        "notebook",
        "--kernel",
        kernel,
        "--last-activity",
        "2020-01-01T00:00:00Z",
    ];
    let notebook = with(
        &base(cx, name)?,
        &format!("{CONTAINER}.command"),
        json!(command),
    );
    cx.create(&NOTEBOOK, &notebook).await?;
    let ready = given(
        reports_ready(cx, name).await,
        "notebooks/server/becomes-ready",
    )?;
    // Whoever looks for idle notebooks asks them through their Service.
    given(
        kernels(cx, &ready).await,
        "notebooks/server/answers-through-service",
    )?;
    Ok(ready)
}

/// The kernels of a notebook as its Service shows them.
async fn kernels(cx: &Cx, notebook: &Value) -> Outcome<Value> {
    let server = cx.service(name_of(notebook), 80).await?;
    let path = format!("{}/api/kernels", prefix_of(notebook));
    server.until(&path, "serves", "answer", |_| Ok(true)).await
}

/// A notebook whose kernel is idle for longer than any cluster allows is stopped.
pub async fn stops_idle(cx: &Cx) -> Outcome {
    let name = cx.name("idle");
    created(cx, &name, "idle").await?;
    cx.until(
        &NOTEBOOK,
        &name,
        "notebook-culled",
        "get the annotation that stops it, though its kernel is idle for years",
        |seen| !annotation(seen, STOPPED).is_empty(),
    )
    .await?;
    Ok(())
}

async fn busy(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("busy");
    created(cx, &name, "busy").await?;
    // Each look changes this; with the second change the consequences of the first look are there.
    let mut looks = Vec::new();
    let seen = settled_within(cx, &NOTEBOOK, &name, "notebook-culled", |seen| {
        let look = annotation(seen, LOOKED).to_owned();
        if !look.is_empty() && !looks.contains(&look) {
            looks.push(look);
        }
        looks.len() > 2 || !annotation(seen, STOPPED).is_empty()
    })
    .await?;
    value(&seen)
}

/// An annotation; empty where it is absent.
fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    let value = &object["metadata"]["annotations"][key];
    value.as_str().unwrap_or_default()
}

/// A notebook whose kernel is at work is not.
pub async fn keeps_busy(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&BUSY)?;
    let name = name_of(&seen);
    ensure!(
        annotation(&seen, STOPPED).is_empty(),
        "Notebook `{name}` was stopped while its kernel was at work"
    );
    ensure!(
        !annotation(&seen, LOOKED).is_empty(),
        "Notebook `{name}` was never looked at for idleness"
    );
    Ok(())
}

/// When a notebook last did something can be read off it.
pub async fn records_activity(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&BUSY)?;
    let name = name_of(&seen);
    if !annotation(&seen, STOPPED).is_empty() {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "Notebook `{name}` was stopped while its kernel was at work, which `notebooks/culling/keeps-busy` judges"
            ),
        ));
    }
    let said = annotation(&seen, ACTIVITY);
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let made = seen["metadata"]["creationTimestamp"].as_str();
    ensure!(
        time(said).is_some_and(|at| Some(at) >= made.and_then(time)),
        "annotation {ACTIVITY} of Notebook `{name}`, whose kernel is at work, names no time since the notebook was made: `{said}`"
    );
    Ok(())
}
