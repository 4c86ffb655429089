//! Schedules of applications.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{APPLICATIONS, SCHEDULES, text};
use crate::reference::{
    kube::{ApiError, Key, LabelSelector, Next, Watch, World, owner, stamp},
    pipelines::schedule::Cron,
};

/// The label by which an application names the schedule that started it.
const LABEL: &str = "sparkoperator.k8s.io/scheduled-app-name";

/// Starts the controller.
pub(super) fn install(world: &World) {
    let watches = vec![Watch::on(&SCHEDULES)];
    world.controller("scheduledsparkapplication", watches, reconcile);
}

/// When runs are due.
enum Plan {
    /// After so many seconds each.
    Every(i64),
    /// At the times of an expression, in UTC: the offsets of other zones are not followed.
    At(Cron),
}

impl Plan {
    fn read(spec: &Value) -> Result<Self, String> {
        let zone = text(&spec["timeZone"]);
        if !matches!(zone, "" | "Local" | "UTC") && TimeZone::get(zone).is_err() {
            return Err(format!("Invalid timezone: unknown time zone {zone}"));
        }
        let schedule = text(&spec["schedule"]);
        if let Some(every) = schedule.strip_prefix("@every ") {
            let read = crate::spec::parse_duration(every);
            let seconds = read.ok().and_then(|d| i64::try_from(d.as_secs()).ok());
            return seconds
                .map(|seconds| Self::Every(seconds.max(1)))
                .ok_or_else(|| format!("failed to parse duration {schedule}"));
        }
        let words = schedule.split_whitespace().count();
        let expression = match words {
            1 => schedule.to_owned(),
            5 => format!("0 {schedule}"),
            _ => {
                return Err(format!(
                    "expected exactly 5 fields, found {words}: {schedule}"
                ));
            }
        };
        Cron::parse(&expression).map(Self::At)
    }

    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let second = match self {
            Self::Every(seconds) => now.as_second().checked_add(*seconds),
            Self::At(cron) => cron.next(now.as_second()),
        };
        second.and_then(|second| Timestamp::from_second(second).ok())
    }
}

async fn reconcile(world: World, key: Key) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(schedule) = world.find(&SCHEDULES, namespace, name) else {
        return Ok(Next::Wait);
    };
    let spec = &schedule["spec"];
    if !schedule["metadata"]["deletionTimestamp"].is_null() || spec["suspend"] == true {
        return Ok(Next::Wait);
    }
    let mut status = schedule["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let now = world.clock().now();
    let plan = match Plan::read(spec) {
        Ok(plan) => plan,
        Err(why) => {
            status["scheduleState"] = json!("FailedValidation");
            if !world.has_fault("spark/schedule/reports-bad-schedules") {
                status["reason"] = json!(why);
            }
            return write(&world, &schedule, status, Next::Wait).await;
        }
    };
    let wrong = world.has_fault("spark/schedule/plans-its-next-run");
    let next = plan.next(now).map(|next| match plan {
        Plan::At(_) if wrong => next.checked_add(Duration::from_secs(3600)).unwrap_or(next),
        _ => next,
    });
    let Some(next) = next else {
        return Ok(Next::Wait);
    };
    let due: Option<Timestamp> = text(&status["nextRun"]).parse().ok();
    match due {
        Some(due) if due > now => return Ok(Next::After(rest(now, due))),
        Some(_) if !is_free(&world, &schedule) => return Ok(Next::After(rest(now, next))),
        Some(_) => {
            let started = application(&world, &schedule, now);
            let started = world.create(started).await?;
            status["lastRun"] = json!(stamp(now));
            status["lastRunName"] = started["metadata"]["name"].clone();
        }
        None => {}
    }
    status["scheduleState"] = json!("Scheduled");
    status["nextRun"] = json!(stamp(next));
    write(&world, &schedule, status, Next::After(rest(now, next))).await
}

fn rest(now: Timestamp, then: Timestamp) -> Duration {
    let seconds = then.as_second() - now.as_second();
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1))
}

async fn write(
    world: &World,
    schedule: &Value,
    status: Value,
    next: Next,
) -> Result<Next, ApiError> {
    if status != schedule["status"] {
        let key = Key::of(schedule);
        world
            .set_status(&SCHEDULES, &key.namespace, &key.name, status)
            .await?;
    }
    Ok(next)
}

/// Whether another application may be started.
fn is_free(world: &World, schedule: &Value) -> bool {
    let name = &schedule["metadata"]["name"];
    let selector = LabelSelector::from_labels(&json!({LABEL: name}));
    let namespace = text(&schedule["metadata"]["namespace"]);
    let started = world.select(&APPLICATIONS, Some(namespace), &selector);
    schedule["spec"]["concurrencyPolicy"] == "Allow"
        || started.iter().all(|application| {
            let state = text(&application["status"]["applicationState"]["state"]);
            matches!(state, "COMPLETED" | "FAILED")
        })
}

fn application(world: &World, schedule: &Value, now: Timestamp) -> Value {
    let name = text(&schedule["metadata"]["name"]);
    let mut labels = schedule["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    if !world.has_fault("spark/schedule/starts-applications") {
        labels[LABEL] = json!(name);
    }
    let mut metadata = json!({
        "namespace": schedule["metadata"]["namespace"],
        "name": format!("{name}-{}", now.as_nanosecond()), "labels": labels,
    });
    if !world.has_fault("spark/schedule/is-deleted-with-its-applications") {
        let mut owner = owner(schedule);
        if let Some(owner) = owner.as_object_mut() {
            owner.shift_remove("controller");
        }
        metadata["ownerReferences"] = json!([owner]);
    }
    json!({
        "apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication",
        "metadata": metadata, "spec": schedule["spec"]["template"],
    })
}
