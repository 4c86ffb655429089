//! What the Spark Operator must do: its API, what admission fills in and refuses, the states of an application, and
//! schedules.
//!
//! Spark itself never runs: the suite's image has none, and no other is downloaded. What an operator does with an
//! application that cannot be submitted, or that waits, is the same with it and without.

mod admission;
mod application;
mod defaults;
mod schedule;

use super::{prelude::*, served};

/// The checks of the Spark Operator, group by group.
pub const TABLES: &[&[Check]] = &[
    CHECKS,
    defaults::CHECKS,
    admission::CHECKS,
    application::CHECKS,
    schedule::CHECKS,
];

requirement_checks! {
    "spark/api/serves-applications" => serves_applications;
}

async fn serves_applications(cx: &Cx) -> Outcome {
    let kinds = [SPARK_APPLICATION, SCHEDULED_SPARK_APPLICATION];
    served::serves(cx, &kinds, &kinds).await
}

/// The SparkApplication of `fixtures/spark/application.yaml`.
fn base(cx: &Cx, label: &str) -> Outcome<Value> {
    cx.fixture("spark/application.yaml", &[("name", &cx.name(label))])
}

/// The ScheduledSparkApplication of `fixtures/spark/scheduled.yaml`.
fn scheduled(cx: &Cx, label: &str) -> Outcome<Value> {
    cx.fixture("spark/scheduled.yaml", &[("name", &cx.name(label))])
}

/// The state of an application; empty where it has none yet.
fn state(application: &Value) -> &str {
    application["status"]["applicationState"]["state"]
        .as_str()
        .unwrap_or_default()
}
