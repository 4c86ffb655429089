//! The states of applications, one a look.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{APPLICATIONS, array, text};
use crate::reference::kube::{ApiError, Key, Next, Watch, World};

/// The specs of the applications as they were last seen, without what may be changed at any time.
type Seen = Arc<Mutex<HashMap<String, Value>>>;

/// Starts the controller.
pub(super) fn install(world: &World) {
    let seen = Seen::default();
    let watches = vec![Watch::on(&APPLICATIONS)];
    world.controller("sparkapplication", watches, move |world, key| {
        reconcile(world, key, seen.clone())
    });
}

async fn reconcile(world: World, key: Key, seen: Seen) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(application) = world.find(&APPLICATIONS, namespace, name) else {
        return Ok(Next::Wait);
    };
    if !application["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Next::Wait);
    }
    let mut status = application["status"].clone();
    if !status.is_object() {
        status = json!({"driverInfo": {}, "applicationState": {"state": ""}});
    }
    let state = text(&status["applicationState"]["state"]).to_owned();
    if is_changed(&application, &seen)
        && !state.is_empty()
        && !world.has_fault("spark/application/is-submitted-again-when-changed")
    {
        enter(&mut status, "INVALIDATING");
        world
            .set_status(&APPLICATIONS, namespace, name, status)
            .await?;
        return Ok(Next::Wait);
    }
    let next = step(&world, &application, &mut status, &state);
    if next == Step::Remove {
        world.delete(&APPLICATIONS, namespace, name).await?;
        return Ok(Next::Wait);
    }
    if status != application["status"] {
        world
            .set_status(&APPLICATIONS, namespace, name, status)
            .await?;
    }
    Ok(match next {
        Step::Later(wait) => Next::After(wait),
        _ => Next::Wait,
    })
}

/// What is to be done when the status is written.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing until something changes.
    Done,
    /// To look again after this time.
    Later(Duration),
    /// The application goes.
    Remove,
}

/// Whether something of the spec, but whether the application waits, is other than it was at the last look.
fn is_changed(application: &Value, seen: &Seen) -> bool {
    let mut spec = application["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.shift_remove("suspend");
    }
    let uid = text(&application["metadata"]["uid"]).to_owned();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let before = seen.insert(uid, spec.clone());
    before.is_some_and(|before| before != spec)
}

fn enter(status: &mut Value, state: &str) {
    status["applicationState"]["state"] = json!(state);
}

fn step(world: &World, application: &Value, status: &mut Value, state: &str) -> Step {
    let suspended = application["spec"]["suspend"] == true;
    let over = matches!(state, "COMPLETED" | "FAILED");
    let ignored = world.has_fault("spark/application/waits-while-suspended");
    if suspended && !over && !ignored && !matches!(state, "SUSPENDED" | "SUSPENDING") {
        enter(status, "SUSPENDING");
        return Step::Done;
    }
    match state {
        "" | "PENDING_RERUN" | "RESUMING" => submit(world, application, status),
        "SUBMISSION_FAILED" => return failed_submission(world, application, status),
        "INVALIDATING" => {
            for key in [
                "submissionAttempts",
                "executionAttempts",
                "lastSubmissionAttemptTime",
                "terminationTime",
            ] {
                if let Some(status) = status.as_object_mut() {
                    status.shift_remove(key);
                }
            }
            status["driverInfo"] = json!({});
            status["applicationState"] = json!({"state": "PENDING_RERUN"});
        }
        "SUSPENDING" => {
            status["driverInfo"] = json!({});
            status["applicationState"] = json!({"state": "SUSPENDED"});
        }
        "SUSPENDED" if !suspended && !world.has_fault("spark/application/resumes") => {
            enter(status, "RESUMING");
        }
        "FAILED" => return terminated(world, application, status),
        _ => {}
    }
    Step::Done
}

/// Tries to submit an application, in vain.
fn submit(world: &World, application: &Value, status: &mut Value) {
    let name = text(&application["metadata"]["name"]);
    let own = text(&application["spec"]["driver"]["podName"]);
    let driver = if own.is_empty() || world.has_fault("spark/application/names-its-driver") {
        format!("{name}-driver")
    } else {
        own.to_owned()
    };
    let attempts = status["submissionAttempts"].as_u64().unwrap_or(0) + 1;
    status["submissionID"] = json!(uuid(application, status));
    status["driverInfo"] = json!({"podName": driver});
    status["submissionAttempts"] = json!(attempts);
    if !world.has_fault("spark/application/marks-its-submission") {
        status["lastSubmissionAttemptTime"] = json!(world.stamp());
    }
    let why = missing_volume(&application["spec"]).map_or_else(
        || "failed to run spark-submit: env SPARK_HOME is not specified".to_owned(),
        |volume| format!("failed to build spark-submit arguments: volume {volume} not found"),
    );
    let message = format!("failed to submit spark application: {why}");
    status["applicationState"] = json!({"state": "SUBMISSION_FAILED", "errorMessage": message});
    if world.has_fault("spark/application/reports-failed-submission") {
        status["applicationState"] = json!({"state": "SUBMISSION_FAILED"});
    }
}

/// An id that no other submission has.
fn uuid(application: &Value, status: &Value) -> String {
    let text = format!(
        "{} {} {}",
        application["metadata"]["uid"],
        application["metadata"]["resourceVersion"],
        status["submissionAttempts"]
    );
    let digest = crate::digest::sha256(&text);
    format!(
        "{}-{}-{}-{}-{}",
        &digest[..8],
        &digest[8..12],
        &digest[12..16],
        &digest[16..20],
        &digest[20..32]
    )
}

/// The first scratch volume that a part mounts and the application has not.
fn missing_volume(spec: &Value) -> Option<&str> {
    const LOCAL: &str = "spark-local-dir-";
    ["driver", "executor"]
        .iter()
        .flat_map(|part| array(&spec[*part]["volumeMounts"]))
        .map(|mount| text(&mount["name"]))
        .find(|name| {
            name.starts_with(LOCAL) && !array(&spec["volumes"]).any(|v| v["name"] == *name)
        })
}

/// How long ago a time of the status was, in seconds.
fn since(world: &World, time: &Value) -> i64 {
    let then: Option<Timestamp> = text(time).parse().ok();
    then.map_or(i64::MAX, |then| {
        world.clock().now().as_second() - then.as_second()
    })
}

fn later(seconds: i64) -> Step {
    Step::Later(Duration::from_secs(
        u64::try_from(seconds).unwrap_or(0).max(1),
    ))
}

fn failed_submission(world: &World, application: &Value, status: &mut Value) -> Step {
    let policy = &application["spec"]["restartPolicy"];
    let attempts = status["submissionAttempts"].as_u64().unwrap_or(0);
    let again = match text(&policy["type"]) {
        "Always" => true,
        "OnFailure" => policy["onSubmissionFailureRetries"]
            .as_u64()
            .is_some_and(|retries| attempts <= retries),
        _ => false,
    };
    if again && !world.has_fault("spark/application/retries-submission") {
        let interval = policy["onSubmissionFailureRetryInterval"].as_i64();
        // Each wait is longer than the one before by the interval.
        let wait = interval.unwrap_or(5) * i64::try_from(attempts).unwrap_or(1);
        let rest = wait - since(world, &status["lastSubmissionAttemptTime"]);
        if rest > 0 {
            return later(rest);
        }
        submit(world, application, status);
        return Step::Done;
    }
    enter(status, "FAILED");
    status["terminationTime"] = json!(world.stamp());
    Step::Done
}

fn terminated(world: &World, application: &Value, status: &Value) -> Step {
    let Some(life) = application["spec"]["timeToLiveSeconds"].as_i64() else {
        return Step::Done;
    };
    if world.has_fault("spark/application/expires") {
        return Step::Done;
    }
    let rest = life - since(world, &status["terminationTime"]);
    if rest > 0 { later(rest) } else { Step::Remove }
}
