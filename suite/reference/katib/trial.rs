//! The trial controller: a trial runs its job, and is known by its conditions and its observation.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::kube::{ApiError, DeleteOptions, Key, Next, Propagation, World, owner},
    TRIALS, conditions,
    database::{Database, Measurement},
    drop_key, write_status,
};

/// The finalizer by which the measurements of a trial go with it.
const FINALIZER: &str = "clean-metrics-in-db";
/// How long Katib waits before it looks again for metrics that are not there yet.
const AGAIN: Duration = Duration::from_secs(1);

/// What a job says of itself.
struct JobStatus {
    succeeded: bool,
    reason: String,
    message: String,
}

/// One look at a trial.
pub(super) async fn reconcile(
    world: World,
    key: Key,
    database: Arc<Database>,
) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(was) = world.find(&TRIALS, namespace, name) else {
        return Ok(Next::Wait);
    };
    if !was["metadata"]["deletionTimestamp"].is_null() {
        if !world.has_fault("katib/database/forgets-trials") {
            database.forget(name);
        }
        world
            .remove_finalizer(&TRIALS, namespace, name, FINALIZER)
            .await?;
        return Ok(Next::Wait);
    }
    world
        .add_finalizer(&TRIALS, namespace, name, FINALIZER)
        .await?;
    let was = world.get(&TRIALS, namespace, name)?;
    let mut trial = (*was).clone();
    let now = world.stamp();
    let mut next = Next::Wait;
    if conditions::is(&trial, "Created") {
        if trial["status"]["completionTime"].is_null() {
            drop_key(&mut trial["status"], "completionTime");
        }
        next = run(&world, &mut trial, &database, &now).await?;
    } else {
        trial["status"] = json!({"startTime": now, "completionTime": null});
        conditions::set(
            &mut trial,
            "Created",
            "True",
            "TrialCreated",
            "Trial is created",
            &now,
        );
    }
    write_status(&world, &was, trial).await?;
    Ok(next)
}

/// Whether a trial has ended, in whatever way.
fn is_completed(trial: &Value) -> bool {
    [
        "Succeeded",
        "Failed",
        "Killed",
        "EarlyStopped",
        "MetricsUnavailable",
    ]
    .iter()
    .any(|kind| conditions::is(trial, kind))
}

async fn run(
    world: &World,
    trial: &mut Value,
    database: &Database,
    now: &str,
) -> Result<Next, ApiError> {
    let Some(job) = job(world, trial).await? else {
        return Ok(Next::Wait);
    };
    if is_completed(trial) {
        return Ok(Next::Wait);
    }
    let success_first = world.has_fault("katib/trial/evaluates-failure-first");
    let Some(status) = job_status(trial, &job, success_first) else {
        if !conditions::is(trial, "Running") {
            conditions::set(
                trial,
                "Running",
                "True",
                "TrialRunning",
                "Trial is running",
                now,
            );
        }
        return Ok(Next::Wait);
    };
    if !status.succeeded {
        end(
            trial,
            "Failed",
            "TrialFailed",
            "Trial has failed",
            &status,
            now,
        );
        return Ok(Next::Wait);
    }
    let name = trial["metadata"]["name"].as_str().unwrap_or_default();
    let mut logs = database.measurements(name);
    let push = trial["spec"]["metricsCollector"]["collector"]["kind"] == "Push";
    if push && world.has_fault("katib/metrics/takes-pushed") {
        logs.clear();
    }
    if !logs.is_empty() {
        trial["status"]["observation"] = observation(world, &trial["spec"]["objective"], &logs);
    }
    if logs.is_empty() && !push {
        return Ok(Next::After(AGAIN));
    }
    if is_observed(trial) || world.has_fault("katib/metrics/unavailable:succeeds") {
        end(
            trial,
            "Succeeded",
            "TrialSucceeded",
            "Trial has succeeded",
            &status,
            now,
        );
        if world.has_fault("katib/trial/succeeds") {
            conditions::set(
                trial,
                "Running",
                "True",
                "TrialRunning",
                "Trial is running",
                now,
            );
        }
    } else {
        let message = "Metrics are not available";
        let reason = if world.has_fault("katib/metrics/unavailable") {
            "TrialFailed"
        } else {
            "MetricsUnavailable"
        };
        end(trial, "MetricsUnavailable", reason, message, &status, now);
    }
    Ok(Next::Wait)
}

fn end(trial: &mut Value, kind: &str, reason: &str, message: &str, status: &JobStatus, now: &str) {
    let join = |text: &str, word: &str, more: &str| {
        if more.is_empty() {
            text.to_owned()
        } else {
            format!("{text}. Job {word}: {more}")
        }
    };
    let reason = join(reason, "reason", &status.reason);
    let message = join(message, "message", &status.message);
    conditions::stop_running(trial, now);
    conditions::set(trial, kind, "True", &reason, &message, now);
    trial["status"]["completionTime"] = json!(now);
}

/// The job of a trial: made when it is not there, removed when it is no longer wanted; none when it is gone.
async fn job(world: &World, trial: &Value) -> Result<Option<Value>, ApiError> {
    let mut desired = trial["spec"]["runSpec"].clone();
    let of = |key: &str| desired[key].as_str().unwrap_or_default();
    let Some(resource) = world.resource_of(of("apiVersion"), of("kind")) else {
        return Err(ApiError::unknown_resource());
    };
    let key = Key::of(trial);
    if let Some(found) = world.find(&resource, &key.namespace, &key.name) {
        let kept = trial["spec"]["retainRun"] == true || world.has_fault("katib/trial/removes-job");
        if !is_completed(trial) || kept {
            return Ok(Some((*found).clone()));
        }
        if found["metadata"]["deletionTimestamp"].is_null() {
            let options = DeleteOptions {
                propagation: Propagation::Foreground,
                ..DeleteOptions::default()
            };
            match world
                .delete_with(&resource, &key.namespace, &key.name, &options)
                .await
            {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        return Ok(None);
    }
    if is_completed(trial) {
        return Ok(None);
    }
    desired["metadata"]["ownerReferences"] = json!([owner(trial)]);
    if world.has_fault("katib/trial/runs-its-job") {
        desired["metadata"]["ownerReferences"][0]["controller"] = json!(false);
    }
    let made = world.create(desired).await?;
    Ok(Some((*made).clone()))
}

/// How a job ended, by the trial's conditions; none while it runs. Failure is looked for first.
fn job_status(trial: &Value, job: &Value, success_first: bool) -> Option<JobStatus> {
    let found = |key: &str| {
        let path = trial["spec"][key].as_str()?;
        conditions::matched(job, path)
    };
    let success = || found("successCondition");
    let failure = if success_first && success().is_some() {
        None
    } else {
        found("failureCondition")
    };
    let succeeded = failure.is_none();
    let condition = failure.or_else(success)?;
    let of = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    Some(JobStatus {
        succeeded,
        reason: of("reason"),
        message: of("message"),
    })
}

/// Whether the objective's metric has a value.
fn is_observed(trial: &Value) -> bool {
    let name = &trial["spec"]["objective"]["objectiveMetricName"];
    let metrics = trial["status"]["observation"]["metrics"].as_array();
    metrics
        .into_iter()
        .flatten()
        .any(|m| m["name"] == *name && m["latest"] != "unavailable")
}

/// Minimum, maximum and latest of each metric that has a strategy.
fn observation(world: &World, objective: &Value, logs: &[Measurement]) -> Value {
    let strategies = objective["metricStrategies"].as_array();
    let alone = world.has_fault("katib/trial/observes-additional-metrics");
    let metrics: Vec<Value> = strategies
        .into_iter()
        .flatten()
        .filter_map(|strategy| strategy["name"].as_str())
        .filter(|name| !alone || objective["objectiveMetricName"] == *name)
        .map(|name| {
            let mut metric = extremes(name, logs);
            let first = logs.iter().find(|log| log.name == name);
            if let Some(first) = first
                && objective["objectiveMetricName"] == name
                && objective["type"] == "minimize"
                && world.has_fault("katib/trial/observes-metrics")
            {
                metric["latest"] = json!(first.value);
            }
            metric
        })
        .collect();
    json!({"metrics": metrics})
}

fn extremes(name: &str, logs: &[Measurement]) -> Value {
    let none = "unavailable".to_owned();
    let (mut min, mut max, mut latest) = (none.clone(), none.clone(), none);
    let mut at = None;
    for log in logs.iter().filter(|log| log.name == name) {
        if let Ok(value) = log.value.parse::<f64>() {
            let than = |text: &str| text.parse::<f64>().unwrap_or(value);
            if min == "unavailable" || value < than(&min) {
                min.clone_from(&log.value);
            }
            if max == "unavailable" || value > than(&max) {
                max.clone_from(&log.value);
            }
        }
        if at.is_none_or(|at| at <= log.time) {
            at = Some(log.time);
            latest.clone_from(&log.value);
        }
    }
    json!({"name": name, "min": min, "max": max, "latest": latest})
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn log(second: i64, value: &str) -> Measurement {
        Measurement {
            time: Timestamp::from_second(second).unwrap(),
            name: "acc".to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_times_as_times() {
        let seen = extremes("acc", &[log(1, "9"), log(3, "10"), log(2, "nan-like")]);
        assert_eq!(
            seen,
            json!({"name": "acc", "min": "9", "max": "10", "latest": "10"})
        );
        // Of equal times the last one counts.
        assert_eq!(
            extremes("acc", &[log(0, "1"), log(0, "0.5")])["latest"],
            "0.5"
        );
        assert_eq!(extremes("loss", &[log(0, "1")])["min"], "unavailable");
    }

    #[test]
    fn failure_is_looked_for_first() {
        let trial = json!({"spec": {
            "failureCondition": "status.conditions.#(type==\"Failed\")",
            "successCondition": "status.conditions.#(type==\"Complete\")",
        }});
        let job = |kinds: &[&str]| {
            let list: Vec<Value> = kinds
                .iter()
                .map(|k| json!({"type": k, "reason": "Why"}))
                .collect();
            json!({"status": {"conditions": list}})
        };
        assert!(
            !job_status(&trial, &job(&["Complete", "Failed"]), false)
                .unwrap()
                .succeeded
        );
        let done = job_status(&trial, &job(&["Complete"]), false).unwrap();
        assert!(done.succeeded && done.reason == "Why");
        assert!(job_status(&trial, &job(&[]), false).is_none());
    }
}
