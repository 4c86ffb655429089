//! Stopping, starting and deleting notebooks by the web application.

use super::{
    super::{STOPPED, lifecycle::create_stopped},
    App, BAD, refused,
};
use crate::checks::prelude::*;

requirement_checks! {
    "notebooks/web-app/stops-and-starts" => stops_and_starts;
    "notebooks/web-app/refuses-second-stop" => refuses_second_stop;
    "notebooks/web-app/refuses-empty-change" => refuses_empty_change;
    "notebooks/web-app/deletes" => deletes;
}

/// A stopped notebook, and the application to change it with.
async fn given<'a>(cx: &'a Cx, label: &str) -> Outcome<(String, App<'a>)> {
    let name = cx.name(label);
    create_stopped(cx, &name).await?;
    Ok((name, App::as_owner(cx).await?))
}

/// Whether the Notebook is to have no pod.
async fn is_stopped(cx: &Cx, name: &str) -> Outcome<bool> {
    let Some(notebook) = cx.get(&NOTEBOOK, name).await? else {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "Notebook `{name}` is gone after it was stopped, which `notebooks/lifecycle/keeps-stopped-notebook` judges"
            ),
        ));
    };
    Ok(!notebook["metadata"]["annotations"][STOPPED].is_null())
}

/// A stopped notebook is started, and stopped again.
pub async fn stops_and_starts(cx: &Cx) -> Outcome {
    let (name, app) = given(cx, "toggle").await?;
    for stopped in [false, true] {
        let change = json!({"stopped": stopped});
        app.done("PATCH", &format!("notebooks/{name}"), Some(&change))
            .await?;
        ensure_eq!(
            is_stopped(cx, &name).await?,
            stopped,
            "whether Notebook `{name}` has the annotation {STOPPED} after it was asked to have `stopped` {stopped}"
        );
    }
    Ok(())
}

/// A notebook that is stopped cannot be stopped: whoever asks sees something that is over.
pub async fn refuses_second_stop(cx: &Cx) -> Outcome {
    let (name, app) = given(cx, "twice").await?;
    let one = format!("notebooks/{name}");
    let answer = app
        .write("PATCH", &one, Some(&json!({"stopped": true})))
        .await?;
    refused(&answer, &BAD, "the stopping of a notebook that is stopped")?;
    app.done("PATCH", &one, Some(&json!({"stopped": false})))
        .await
        .map(drop)
}

/// A change that names nothing to change is refused.
pub async fn refuses_empty_change(cx: &Cx) -> Outcome {
    let (name, app) = given(cx, "empty").await?;
    let one = format!("notebooks/{name}");
    let answer = app.write("PATCH", &one, Some(&json!({}))).await?;
    refused(&answer, &BAD, "a change of a notebook that names nothing")?;
    app.done("PATCH", &one, Some(&json!({"stopped": false})))
        .await
        .map(drop)
}

/// A notebook is deleted; one that is not there cannot be.
pub async fn deletes(cx: &Cx) -> Outcome {
    let (name, app) = given(cx, "gone").await?;
    app.done("DELETE", &format!("notebooks/{name}"), None)
        .await?;
    cx.until_gone(&NOTEBOOK, &name, "gone").await?;
    let none = format!("notebooks/{}", cx.name("none"));
    let answer = app.write("DELETE", &none, None).await?;
    refused(
        &answer,
        &BAD,
        "the deletion of a notebook that does not exist",
    )
}
