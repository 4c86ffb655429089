//! What the web application shows.

use super::{
    super::{
        lifecycle::create_stopped,
        pod_defaults::pod_default,
        states::{READY, Ready, WAITING},
        uid_of,
    },
    App, BAD, refused,
};
use crate::{checks::prelude::*, cluster::discover::items};

requirement_checks! {
    "notebooks/web-app/offers-defaults" => offers_defaults;
    "notebooks/web-app/lists-notebooks" => lists_notebooks, needs [&READY];
    "notebooks/web-app/shows-notebook" => shows_notebook, needs [&READY];
    "notebooks/web-app/shows-pod" => shows_pod, needs [&READY];
    "notebooks/web-app/shows-events" => shows_events, needs [&WAITING];
    "notebooks/web-app/shows-stopped" => shows_stopped;
    "notebooks/web-app/lists-claims" => lists_claims;
    "notebooks/web-app/lists-configurations" => lists_configurations;
}

/// The form for a new notebook comes with an image, an amount of cpu and of memory.
pub async fn offers_defaults(cx: &Cx) -> Outcome {
    let app = App::as_owner(cx).await?;
    let config = app.http.read("/api/config").await?["config"].clone();
    for field in ["image", "cpu", "memory"] {
        let value = config[field]["value"].as_str().unwrap_or_default();
        ensure!(
            !value.is_empty(),
            "GET /api/config offers no {field} for a new notebook: {}",
            config[field]
        );
    }
    Ok(())
}

/// A notebook that runs is in the list, with what it was made of and how it is.
pub async fn lists_notebooks(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    let app = App::as_owner(cx).await?;
    let ready = |row: &Value| row["status"]["phase"] == "ready";
    let Some(row) = app.row(cx, name, ready).await? else {
        return Err(Stop::failed(format!(
            "Notebook `{name}` is not in the list of notebooks"
        )));
    };
    let container = &seen.notebook["spec"]["template"]["spec"]["containers"][0];
    let requests = &container["resources"]["requests"];
    for (field, wanted) in [
        ("namespace", &seen.notebook["metadata"]["namespace"]),
        ("image", &container["image"]),
        ("cpu", &requests["cpu"]),
        ("memory", &requests["memory"]),
    ] {
        ensure_eq!(
            row[field],
            *wanted,
            "{field} of Notebook `{name}` in the list"
        );
    }
    ensure_eq!(
        row["status"]["phase"],
        "ready",
        "the phase of the ready Notebook `{name}` in the list"
    );
    Ok(())
}

/// One notebook is shown as it is; one that is not there is not.
pub async fn shows_notebook(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    let app = App::as_owner(cx).await?;
    let shown = app.shown(&format!("notebooks/{name}")).await?["notebook"].clone();
    ensure_eq!(
        uid_of(&shown),
        uid_of(&seen.notebook),
        "the uid of Notebook `{name}` as it is shown"
    );
    ensure_eq!(
        shown["spec"],
        seen.notebook["spec"],
        "the spec of Notebook `{name}` as it is shown"
    );
    let none = cx.name("none");
    let answer = app
        .http
        .get(&app.path(&format!("notebooks/{none}")))
        .await?;
    refused(
        &answer,
        &BAD,
        "the reading of a notebook that does not exist",
    )
}

/// So is its pod.
pub async fn shows_pod(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    let app = App::as_owner(cx).await?;
    let answer = app
        .http
        .get(&app.path(&format!("notebooks/{name}/pod")))
        .await?;
    let shown = super::accepted(
        &answer,
        &format!("the reading of the pod of Notebook `{name}`"),
    )?;
    let uid = uid_of(&shown["pod"]);
    ensure!(
        seen.pods.iter().any(|pod| uid_of(pod) == uid),
        "what is shown as the pod of Notebook `{name}` is not its pod, but `{}`",
        name_of(&shown["pod"])
    );
    Ok(())
}

/// So is what happened to it.
pub async fn shows_events(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&WAITING)?;
    let name = name_of(&seen);
    let told = super::super::pod::told(cx, name, |event| event["type"] == "Warning").await?;
    if !told.0 {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "no event is about Notebook `{name}`, which `notebooks/pod/tells-events` judges"
            ),
        ));
    }
    let app = App::as_owner(cx).await?;
    let shown = app.shown(&format!("notebooks/{name}/events")).await?;
    ensure!(
        items(&shown, "events").any(|event| event["type"] == "Warning"),
        "the events of Notebook `{name}`, whose image does not exist, show no warning"
    );
    Ok(())
}

/// A notebook that is stopped is shown as stopped.
pub async fn shows_stopped(cx: &Cx) -> Outcome {
    let name = cx.name("still");
    create_stopped(cx, &name).await?;
    let app = App::as_owner(cx).await?;
    let stopped = |row: &Value| row["status"]["phase"] == "stopped";
    let Some(row) = app.row(cx, &name, stopped).await? else {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "Notebook `{name}` is not in the list, which `notebooks/web-app/lists-notebooks` judges"
            ),
        ));
    };
    ensure_eq!(
        row["status"]["phase"],
        "stopped",
        "the phase of the stopped Notebook `{name}` in the list"
    );
    Ok(())
}

/// Claims are listed with their size and mode.
pub async fn lists_claims(cx: &Cx) -> Outcome {
    let name = cx.name("claim");
    let mut claim = cx.fixture("notebooks/claim.yaml", &[("name", &name)])?;
    if let Some(class) = &cx.run.storage_class {
        claim = with(&claim, "spec.storageClassName", json!(class));
    }
    cx.create(&CLAIM, &claim).await?;
    let app = App::as_owner(cx).await?;
    let list = app.shown("pvcs").await?;
    let Some(row) = items(&list, "pvcs").find(|row| row["name"] == name.as_str()) else {
        return Err(Stop::failed(format!(
            "the claim `{name}` is not in the list of claims"
        )));
    };
    for (field, wanted) in [
        ("size", &claim["spec"]["resources"]["requests"]["storage"]),
        ("mode", &claim["spec"]["accessModes"][0]),
    ] {
        ensure_eq!(row[field], *wanted, "{field} of claim `{name}` in the list");
    }
    Ok(())
}

/// PodDefaults are listed with the label that selects them and what they say of themselves.
pub async fn lists_configurations(cx: &Cx) -> Outcome {
    if !cx.facts().has("pod-defaults") {
        return Err(Stop::NotApplicable(
            NotApplicable::FeatureAbsent,
            "the feature `pod-defaults` was not found on the cluster".to_owned(),
        ));
    }
    let name = cx.name("config");
    let default = pod_default(cx, &name, &name, "blue")?;
    cx.create(&POD_DEFAULT, &default).await?;
    let app = App::as_owner(cx).await?;
    let list = app.shown("poddefaults").await?;
    let row = items(&list, "poddefaults").find(|row| row["metadata"]["name"] == name.as_str());
    let Some(row) = row else {
        return Err(Stop::failed(format!(
            "PodDefault `{name}` is not in the list of configurations"
        )));
    };
    ensure_eq!(
        row["label"],
        name.as_str(),
        "the label of PodDefault `{name}` in the list"
    );
    ensure_eq!(
        row["desc"],
        default["spec"]["desc"],
        "the description of PodDefault `{name}` in the list"
    );
    Ok(())
}
