//! What the Hub (Model Registry) must do: its REST API for models, versions, artifacts and what serves them.
//!
//! Its API removes nothing. Whatever the suite registers has a name of the run, and is archived in the end.

mod artifacts;
mod cleanup;
mod models;
mod pages;
mod serving;
mod versions;

use super::{Cleanup, prelude::*};

/// The checks of the Hub, group by group.
pub const TABLES: &[&[Check]] = &[
    models::CHECKS,
    versions::CHECKS,
    artifacts::CHECKS,
    pages::CHECKS,
    serving::CHECKS,
];

/// Archives what the run registered.
pub const CLEANUP: Cleanup = Cleanup {
    name: "hub",
    as_namespace: false,
    run: |cx| Box::pin(cleanup::archive(cx)),
};

/// An id that nothing has.
const NO_ID: &str = "2147483000";

/// The registry's API.
fn hub(cx: &Cx) -> Http<'_> {
    cx.component("hub", "/api/model_registry/v1alpha3", Identity::Nobody)
}

/// Creates something, which must be answered with one of `statuses`, and returns it.
async fn create(hub: &Http<'_>, path: &str, body: &Value) -> Outcome<Value> {
    let answer = hub.post(path, body).await?;
    let made = hub.accepted(&answer, &format!("POST {path}"))?;
    ensure!(
        matches!(answer.status, 200 | 201),
        "POST {path} was answered with {}",
        answer.status
    );
    let id = made["id"].as_str().unwrap_or_default();
    ensure!(
        !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()),
        "what POST {path} made has the id {}, which is no number in a text",
        made["id"]
    );
    Ok(made)
}

/// Changes something, which must succeed, and returns what it is then.
async fn change(hub: &Http<'_>, path: &str, body: &Value) -> Outcome<Value> {
    let answer = hub
        .send(hub.request("PATCH", path).json(body.clone()))
        .await?;
    hub.accepted(&answer, &format!("PATCH {path}"))
}

/// A model of the run.
async fn model(cx: &Cx, hub: &Http<'_>, label: &str) -> Outcome<Value> {
    let body = json!({"name": cx.name(label), "description": "made by a conformance check"});
    create(hub, "/registered_models", &body).await
}

/// A version of a model.
async fn version(hub: &Http<'_>, model: &Value, name: &str) -> Outcome<Value> {
    let body = json!({"name": name, "registeredModelId": model["id"]});
    create(hub, "/model_versions", &body).await
}

/// The id of what was created.
fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap_or_default()
}

/// What is not as it should be: an answer of this status, with an error that says what is wrong.
fn refused_with(answer: &Answer, statuses: &[u16], what: &str) -> Outcome {
    if matches!(answer.status, 401 | 429 | 502..=504) {
        return Err(Stop::CouldNotRun(
            CouldNotRun::Unreachable,
            format!("{what} was answered with {}", answer.summary()),
        ));
    }
    if !statuses.contains(&answer.status) {
        let wanted: Vec<String> = statuses.iter().map(u16::to_string).collect();
        return Err(Stop::unlike(
            format!("{what} was answered with {}", answer.summary()),
            wanted.join(" or "),
            answer.status.to_string(),
        ));
    }
    let error = answer.json();
    for key in ["code", "message"] {
        ensure!(
            error[key].as_str().is_some_and(|text| !text.is_empty()),
            "{what} was answered with {} and an error without {key}",
            answer.status
        );
    }
    Ok(())
}

/// The ids of a list, in its order.
fn ids(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array();
    items.into_iter().flatten().map(id).collect()
}
