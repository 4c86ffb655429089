//! What every client of the API relies on.

use super::api::{Api, EXPERIMENTS, word};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/server/reports-health" => reports_health;
    "pipelines/server/reports-errors" => reports_errors;
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
