//! What every client of the API relies on.

use super::api::{Api, EXPERIMENTS, word};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/server/reports-health" => reports_health;
    "pipelines/server/reports-errors" => reports_errors;
    "pipelines/server/refuses-unknown-fields" => refuses_unknown_fields;
}

async fn reports_health(cx: &Cx) -> Outcome {
    let health = Api::of(cx).http.read("/healthz").await?;
    ensure!(
        health["multi_user"].is_boolean(),
        "`multi_user` of /healthz is {}, not a boolean",
        crate::outcome::show(&health["multi_user"])
    );
    Ok(())
}

/// An id that no object has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

async fn reports_errors(cx: &Cx) -> Outcome {
    let answer = Api::of(cx).get(&EXPERIMENTS, NOBODY).await?;
    ensure_eq!(
        answer.status,
        404,
        "the status of GET of an unknown experiment"
    );
    let error = answer.json();
    ensure_eq!(error["code"], 5, "`code` of the error (gRPC's NOT_FOUND)");
    ensure!(
        !word(error, "message").is_empty(),
        "the error has no `message`: {}",
        answer.summary()
    );
    Ok(())
}

async fn refuses_unknown_fields(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("strict");
    let good = json!({"display_name": cx.name("good")});
    api.create(&EXPERIMENTS, &good).await?;
    let bad = json!({"display_name": name, "no_such_field": "x"});
    let answer = api.try_create(&EXPERIMENTS, &bad).await?;
    api.http
        .refused(&answer, "an experiment with an unknown field")?;
    let count = api.count(&EXPERIMENTS, "name", &name).await?;
    ensure_eq!(count, 0, "the number of experiments named `{name}`");
    Ok(())
}
