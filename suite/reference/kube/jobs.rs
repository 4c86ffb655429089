//! The controllers of Jobs and CronJobs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::controller::{Next, Watch};
use super::registry::resources::{CRON_JOBS, JOBS, PODS};
use super::status::ApiError;
use super::store::Key;
use super::workloads::{controlled, create_pod, delete_object, is_active, is_ready, lives, pod_of};
use super::world::World;
use super::{owner, set_condition};

/// Starts the controllers.
pub(super) fn start(world: &World) {
    let watches = vec![Watch::on(&JOBS), Watch::owned(&PODS, "Job")];
    world.controller("job", watches, |world, key| async move {
        job(&world, &key).await
    });
    let watches = vec![Watch::on(&CRON_JOBS), Watch::owned(&JOBS, "CronJob")];
    world.controller("cronjob", watches, |world, key| async move {
        cron_job(&world, &key).await
    });
}

fn is_finished(job: &Value) -> bool {
    ["Complete", "Failed"]
        .iter()
        .any(|kind| super::condition(job, kind).is_some_and(|c| c["status"] == "True"))
}

fn phase(pod: &Value, wanted: &str) -> bool {
    pod["status"]["phase"] == wanted
}

/// Names the part of an indexed Job that a pod makes.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The part of an indexed Job that a pod makes.
fn index(pod: &Value) -> Option<u64> {
    pod["metadata"]["annotations"][INDEX].as_str()?.parse().ok()
}

/// Tells a pod which part of an indexed Job it makes.
fn set_index(pod: &mut Value, job: &str, index: u64) {
    pod["metadata"]["generateName"] = json!(format!("{job}-{index}-"));
    pod["spec"]["hostname"] = json!(format!("{job}-{index}"));
    for map in ["labels", "annotations"] {
        if !pod["metadata"][map].is_object() {
            pod["metadata"][map] = json!({});
        }
        pod["metadata"][map][INDEX] = json!(index.to_string());
    }
    for container in pod["spec"]["containers"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        if !container["env"].is_array() {
            container["env"] = json!([]);
        }
        if let Some(env) = container["env"].as_array_mut() {
            env.push(json!({"name": "JOB_COMPLETION_INDEX", "value": index.to_string()}));
        }
    }
}

/// How often the containers of a pod were restarted.
fn restarts(pod: &Value) -> u64 {
    let statuses = pod["status"]["containerStatuses"].as_array();
    statuses
        .into_iter()
        .flatten()
        .filter_map(|status| status["restartCount"].as_u64())
        .sum()
}

async fn job(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(job) = world
        .find(&JOBS, &key.namespace, &key.name)
        .filter(|job| lives(job))
    else {
        return Ok(Next::Wait);
    };
    if is_finished(&job) {
        return expire(world, &job).await;
    }
    let now = world.stamp();
    let spec = &job["spec"];
    let number = |key: &str, preset: u64| spec[key].as_u64().unwrap_or(preset);
    let (completions, parallelism, limit) = (
        number("completions", 1),
        number("parallelism", 1),
        number("backoffLimit", 6),
    );
    let pods = controlled(world, &PODS, &job);
    let indexed = spec["completionMode"] == "Indexed";
    let succeeded = if indexed {
        // Each index counts once.
        let mut done: Vec<u64> = pods
            .iter()
            .filter(|pod| phase(pod, "Succeeded"))
            .filter_map(|pod| index(pod))
            .collect();
        done.sort_unstable();
        done.dedup();
        done.len() as u64
    } else {
        pods.iter().filter(|pod| phase(pod, "Succeeded")).count() as u64
    };
    let failed: Vec<&Arc<Value>> = pods.iter().filter(|pod| phase(pod, "Failed")).collect();
    let mut active: Vec<Arc<Value>> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
    let suspended = spec["suspend"] == true;
    let mut status = job["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    if suspended {
        for pod in active.drain(..) {
            delete_object(world, &PODS, &pod).await?;
        }
        set_condition(
            &mut status,
            "Suspended",
            "True",
            "JobSuspended",
            "Job suspended",
            &now,
        );
        remove(&mut status, "startTime");
    } else {
        if super::condition(&job, "Suspended").is_some() {
            set_condition(
                &mut status,
                "Suspended",
                "False",
                "JobResumed",
                "Job resumed",
                &now,
            );
        }
        if status["startTime"].is_null() {
            status["startTime"] = json!(now);
        }
    }
    let tries = failed.len() as u64 + active.iter().map(|pod| restarts(pod)).sum::<u64>();
    let started = status["startTime"]
        .as_str()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let spent = started.map_or(0, |at| world.clock().now().as_second() - at.as_second());
    let deadline = spec["activeDeadlineSeconds"].as_i64();
    let verdict = if succeeded >= completions {
        Some((
            "Complete",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ))
    } else if deadline.is_some_and(|deadline| spent >= deadline) && !suspended {
        Some((
            "Failed",
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        ))
    } else if tries > limit {
        Some((
            "Failed",
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ))
    } else {
        None
    };
    let mut next = Next::Wait;
    if let Some((kind, reason, message)) = verdict {
        for pod in active.drain(..) {
            delete_object(world, &PODS, &pod).await?;
        }
        let before = if kind == "Complete" {
            "SuccessCriteriaMet"
        } else {
            "FailureTarget"
        };
        set_condition(&mut status, before, "True", reason, message, &now);
        set_condition(&mut status, kind, "True", reason, message, &now);
        if kind == "Complete" {
            status["completionTime"] = json!(now);
            world
                .event(
                    &job,
                    "Normal",
                    "Completed",
                    "Job completed",
                    "job-controller",
                )
                .await;
        } else {
            world
                .event(&job, "Warning", reason, message, "job-controller")
                .await;
        }
    } else if !suspended {
        let wanted = parallelism.min(completions - succeeded);
        // A failed pod is replaced after a growing wait: 10 s, 20 s, … of the world's clock, as really.
        let rest = wait_after_failure(world, &failed);
        if rest > Duration::ZERO && (active.len() as u64) < wanted {
            next = Next::After(rest);
        } else {
            for _ in active.len() as u64..wanted {
                let mut pod = pod_of(&job);
                pod["metadata"]["generateName"] = json!(format!("{}-", key.name));
                if indexed {
                    let taken = pods
                        .iter()
                        .chain(&active)
                        .filter(|pod| !phase(pod, "Failed"));
                    let taken: Vec<u64> = taken.filter_map(|pod| index(pod)).collect();
                    let Some(next) = (0..completions).find(|index| !taken.contains(index)) else {
                        break;
                    };
                    set_index(&mut pod, &key.name, next);
                }
                active.push(create_pod(world, &job, pod, "job-controller").await?);
            }
        }
        if let Some(deadline) = deadline {
            let left = u64::try_from(deadline - spent).unwrap_or(0).max(1);
            let left = Duration::from_secs(left);
            next = match next {
                Next::After(rest) => Next::After(rest.min(left)),
                Next::Wait => Next::After(left),
            };
        }
    }
    for (key, value) in [
        ("active", active.len() as u64),
        ("succeeded", succeeded),
        ("failed", failed.len() as u64),
    ] {
        if value == 0 {
            remove(&mut status, key);
        } else {
            status[key] = json!(value);
        }
    }
    let ready = active.iter().filter(|pod| is_ready(pod)).count();
    status["ready"] = json!(ready);
    status["terminating"] = json!(pods.iter().filter(|pod| !lives(pod)).count());
    status["uncountedTerminatedPods"] = json!({});
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if condition["lastProbeTime"].is_null() {
            condition["lastProbeTime"] = json!(now);
        }
    }
    match world
        .set_status(&JOBS, &key.namespace, &key.name, status)
        .await
    {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(next),
    }
}

fn remove(status: &mut Value, key: &str) {
    if let Some(map) = status.as_object_mut() {
        map.shift_remove(key);
    }
}

/// How long to wait before a failed pod is replaced.
fn wait_after_failure(world: &World, failed: &[&Arc<Value>]) -> Duration {
    let ended = |pod: &Value| -> Option<jiff::Timestamp> {
        let statuses = pod["status"]["containerStatuses"].as_array()?;
        let times = statuses
            .iter()
            .filter_map(|s| s["state"]["terminated"]["finishedAt"].as_str());
        times.filter_map(|text| text.parse().ok()).max()
    };
    let Some(last) = failed.iter().filter_map(|pod| ended(pod)).max() else {
        return Duration::ZERO;
    };
    let factor = 2_u32.saturating_pow(failed.len() as u32 - 1).min(60);
    let wait = world
        .options()
        .crash_back_off
        .saturating_mul(factor)
        .min(Duration::from_secs(600));
    let passed = world.clock().now().duration_since(last);
    let passed = Duration::try_from(passed).unwrap_or_default();
    wait.saturating_sub(passed)
}

/// Deletes a finished Job when its time is over.
async fn expire(world: &World, job: &Value) -> Result<Next, ApiError> {
    let Some(seconds) = job["spec"]["ttlSecondsAfterFinished"].as_i64() else {
        return Ok(Next::Wait);
    };
    let finished = job["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c["lastTransitionTime"].as_str())
        .filter_map(|text| text.parse::<jiff::Timestamp>().ok())
        .max();
    let Some(finished) = finished else {
        return Ok(Next::Wait);
    };
    let left = finished.as_second() + seconds - world.clock().now().as_second();
    if let Ok(left @ 1..) = u64::try_from(left) {
        return Ok(Next::After(Duration::from_secs(left)));
    }
    delete_object(world, &JOBS, job).await?;
    Ok(Next::Wait)
}

async fn cron_job(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(cron) = world
        .find(&CRON_JOBS, &key.namespace, &key.name)
        .filter(|cron| lives(cron))
    else {
        return Ok(Next::Wait);
    };
    let jobs = controlled(world, &JOBS, &cron);
    let active: Vec<Value> = jobs
        .iter()
        .filter(|job| !is_finished(job))
        .map(|job| super::reference(job))
        .collect();
    let now = world.clock().now();
    let parse = |value: &Value| {
        value
            .as_str()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
    };
    let last = parse(&cron["status"]["lastScheduleTime"])
        .or_else(|| parse(&cron["metadata"]["creationTimestamp"]))
        .unwrap_or(now);
    let mut status = json!({});
    if !active.is_empty() {
        status["active"] = json!(active);
    }
    for key in ["lastScheduleTime", "lastSuccessfulTime"] {
        if !cron["status"][key].is_null() {
            status[key] = cron["status"][key].clone();
        }
    }
    let mut next = Next::Wait;
    let schedule = cron["spec"]["schedule"].as_str().unwrap_or_default();
    let due = next_time(schedule, last).filter(|_| cron["spec"]["suspend"] != true);
    match due {
        Some(due) if due <= now => {
            let forbidden = cron["spec"]["concurrencyPolicy"] == "Forbid" && !active.is_empty();
            if !forbidden {
                let template = &cron["spec"]["jobTemplate"];
                let mut job = json!({
                    "apiVersion": "batch/v1", "kind": "Job",
                    "metadata": {
                        "namespace": key.namespace, "name": format!("{}-{}", key.name, due.as_second() / 60),
                        "labels": template["metadata"]["labels"], "ownerReferences": [owner(&cron)],
                    },
                    "spec": template["spec"],
                });
                job["metadata"]["annotations"] = template["metadata"]["annotations"].clone();
                match world.create(job).await {
                    Err(error) if !error.is_already_exists() => return Err(error),
                    _ => {}
                }
            }
            status["lastScheduleTime"] = json!(super::stamp(due));
            next = Next::After(Duration::from_millis(1));
        }
        Some(due) => {
            let left = due.duration_since(now);
            next = Next::After(
                Duration::try_from(left).unwrap_or_default() + Duration::from_millis(10),
            );
        }
        None => {}
    }
    match world
        .set_status(&CRON_JOBS, &key.namespace, &key.name, status)
        .await
    {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(next),
    }
}

/// The first minute after `after` that a schedule of five fields names, in UTC.
pub(super) fn next_time(schedule: &str, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let schedule = match schedule.trim() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        other => other,
    };
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return None;
    };
    let sets = [
        values(minute, 0, 59)?,
        values(hour, 0, 23)?,
        values(day, 1, 31)?,
        values(month, 1, 12)?,
        values(weekday, 0, 7)?,
    ];
    let has = |set: &[i64], value: i8| set.contains(&i64::from(value));
    let mut minutes = after.as_second().div_euclid(60) + 1;
    // No schedule is silent for longer than from one 29 February to the next but one.
    let last = minutes + 60 * 24 * 366 * 9;
    while minutes < last {
        let time = jiff::Timestamp::from_second(minutes * 60).ok()?;
        let date = time.to_zoned(jiff::tz::TimeZone::UTC);
        let week = date.weekday().to_sunday_zero_offset();
        let by_week = has(&sets[4], week) || (week == 0 && has(&sets[4], 7));
        let by_day = has(&sets[2], date.day());
        // As cron has it: if both are limited, either will do.
        let day_fits = if day.starts_with('*') || weekday.starts_with('*') {
            by_week && by_day
        } else {
            by_week || by_day
        };
        if !(day_fits && has(&sets[3], date.month())) {
            minutes += 60 * 24 - (i64::from(date.hour()) * 60 + i64::from(date.minute()));
        } else if !has(&sets[1], date.hour()) {
            minutes += 60 - i64::from(date.minute());
        } else if has(&sets[0], date.minute()) {
            return Some(time);
        } else {
            minutes += 1;
        }
    }
    None
}

/// The values of one field: lists, ranges, steps.
fn values(field: &str, low: i64, high: i64) -> Option<Vec<i64>> {
    let mut all = Vec::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let step = step.parse().ok().filter(|step: &usize| *step > 0)?;
        let (from, to) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (low, high),
            Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
            None if part.contains('/') => (range.parse().ok()?, high),
            None => {
                let one = range.parse().ok()?;
                (one, one)
            }
        };
        if from < low || to > high || from > to {
            return None;
        }
        all.extend((from..=to).step_by(step));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_name_their_next_minute() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().expect("is a time");
        for (schedule, after, expected) in [
            ("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            (
                "*/15 * * * *",
                "2026-01-01T00:50:00Z",
                "2026-01-01T01:00:00Z",
            ),
            ("30 4 * * *", "2026-01-01T05:00:00Z", "2026-01-02T04:30:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            (
                "0 12 * * 1-5",
                "2026-01-03T00:00:00Z",
                "2026-01-05T12:00:00Z",
            ),
            ("0 0 1 * 0", "2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ] {
            assert_eq!(
                next_time(schedule, at(after)),
                Some(at(expected)),
                "{schedule}"
            );
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "x * * * *",
        ] {
            assert_eq!(next_time(bad, at("2026-01-01T00:00:00Z")), None, "{bad}");
        }
    }
}
