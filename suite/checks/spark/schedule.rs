//! Applications on a schedule.

use super::{super::prelude::*, scheduled};

requirement_checks! {
    "spark/schedule/plans-its-next-run" => plans_its_next_run;
    "spark/schedule/reports-bad-schedules" => reports_bad_schedules;
    "spark/schedule/starts-applications" => starts_applications;
    "spark/schedule/is-deleted-with-its-applications" => is_deleted_with_its_applications;
}

/// The label by which an application names the schedule that started it.
const LABEL: &str = "sparkoperator.k8s.io/scheduled-app-name";

async fn until(
    cx: &Cx,
    schedule: &Value,
    what: &str,
    holds: impl Fn(&Value) -> bool + Send + Sync,
) -> Outcome<Value> {
    let made = cx.create(&SCHEDULED_SPARK_APPLICATION, schedule).await?;
    let name = name_of(&made);
    cx.until(
        &SCHEDULED_SPARK_APPLICATION,
        name,
        "reconcile",
        what,
        |seen| holds(&seen["status"]),
    )
    .await
}

/// The schedule is the first minute of each year in UTC.
async fn plans_its_next_run(cx: &Cx) -> Outcome {
    let seen = until(cx, &scheduled(cx, "yearly")?, "be scheduled", |status| {
        status["scheduleState"] == "Scheduled"
    })
    .await?;
    let next = seen["status"]["nextRun"].as_str().unwrap_or_default();
    let year: i64 = next.get(..4).and_then(|y| y.parse().ok()).unwrap_or(0);
    let created = seen["metadata"]["creationTimestamp"].as_str();
    let created: i64 = created
        .and_then(|at| at.get(..4)?.parse().ok())
        .unwrap_or(0);
    ensure!(
        next.ends_with("-01-01T00:00:00Z") && (1..=2).contains(&(year - created)),
        "the next run of a ScheduledSparkApplication for each first of January is `{next}`"
    );
    Ok(())
}

async fn reports_bad_schedules(cx: &Cx) -> Outcome {
    for (label, path, value) in [
        ("words", "spec.schedule", "every now and then"),
        ("nowhere", "spec.timeZone", "Nowhere/Nothing"),
    ] {
        let schedule = with(&scheduled(cx, label)?, path, json!(value));
        let seen = until(cx, &schedule, "be refused by its state", |status| {
            status["scheduleState"] == "FailedValidation"
        })
        .await?;
        ensure!(
            seen["status"]["reason"]
                .as_str()
                .is_some_and(|r| !r.is_empty()),
            "ScheduledSparkApplication `{}` has the {path} `{value}` and does not say what is wrong",
            name_of(&seen)
        );
    }
    Ok(())
}

/// A schedule whose first application was started.
async fn started(cx: &Cx, label: &str) -> Outcome<Value> {
    let schedule = with(&scheduled(cx, label)?, "spec.schedule", json!("@every 2s"));
    until(cx, &schedule, "start an application", |status| {
        status["lastRunName"]
            .as_str()
            .is_some_and(|n| !n.is_empty())
    })
    .await
}

async fn starts_applications(cx: &Cx) -> Outcome {
    let seen = started(cx, "often").await?;
    let last = seen["status"]["lastRunName"].as_str().unwrap_or_default();
    let application = cx.need(&SPARK_APPLICATION, last).await?;
    ensure_eq!(
        application["metadata"]["labels"][LABEL],
        name_of(&seen),
        "the label {LABEL} of SparkApplication `{last}`"
    );
    ensure_eq!(
        application["spec"]["mainApplicationFile"],
        seen["spec"]["template"]["mainApplicationFile"],
        "the main file of SparkApplication `{last}`"
    );
    ensure!(
        seen["status"]["lastRun"].is_string(),
        "ScheduledSparkApplication `{}` started an application and does not say when",
        name_of(&seen)
    );
    // It would go on for as long as the run takes.
    cx.delete(&SCHEDULED_SPARK_APPLICATION, name_of(&seen))
        .await
}

async fn is_deleted_with_its_applications(cx: &Cx) -> Outcome {
    let seen = started(cx, "ended").await?;
    let last = seen["status"]["lastRunName"].as_str().unwrap_or_default();
    cx.delete(&SCHEDULED_SPARK_APPLICATION, name_of(&seen))
        .await?;
    cx.until_gone(&SPARK_APPLICATION, last, "gone").await
}
