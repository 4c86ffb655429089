//! The database manager: what trials were measured at, for whoever asks over gRPC. A trial is known there by its name
//! alone, so that only names of this run are written.

use super::{
    metrics::{PUSHED, Pushed, measured},
    runs::{GOAL, Observed},
};
use crate::{
    checks::prelude::*,
    cluster::grpc::Method,
    proto::{
        health::{HealthCheckRequest, HealthCheckResponse},
        katib::{
            DeleteObservationLogReply, DeleteObservationLogRequest, GetObservationLogReply,
            GetObservationLogRequest, ObservationLog, ReportObservationLogReply,
            ReportObservationLogRequest,
        },
    },
};

requirement_checks! {
    "katib/database/serves-health" => serves_health;
    "katib/database/keeps-order" => keeps_order;
    "katib/database/filters-by-metric" => filters_by_metric;
    "katib/database/filters-by-time" => filters_by_time;
    "katib/database/refuses-bad-times" => refuses_bad_times;
    "katib/database/deletes" => deletes;
    "katib/database/holds-trial-metrics" => holds_trial_metrics, needs [&GOAL];
    "katib/database/forgets-trials" => forgets_trials, needs [&PUSHED];
}

const HEALTH: Method<HealthCheckRequest, HealthCheckResponse> =
    Method::new("/grpc.health.v1.Health/Check");
/// Adds measurements of a trial.
pub(super) const REPORT_LOG: Method<ReportObservationLogRequest, ReportObservationLogReply> =
    Method::new("/api.v1.beta1.DBManager/ReportObservationLog");
/// Gives the measurements of a trial.
pub(super) const GET_LOG: Method<GetObservationLogRequest, GetObservationLogReply> =
    Method::new("/api.v1.beta1.DBManager/GetObservationLog");
const DELETE_LOG: Method<DeleteObservationLogRequest, DeleteObservationLogReply> =
    Method::new("/api.v1.beta1.DBManager/DeleteObservationLog");

/// The database manager.
pub(super) fn manager(cx: &Cx) -> Http<'_> {
    cx.component("katib-db-manager", "", Identity::Suite)
}

/// The times of what is reported, in seconds since 1970, with what is measured then; not in their order.
const MEASURED: [(i64, &str, &str); 4] = [
    (1_700_000_020, "acc", "0.2"),
    (1_700_000_000, "acc", "0.1"),
    (1_700_000_030, "acc", "0.3"),
    (1_700_000_010, "loss", "0.9"),
];

/// Reports [`MEASURED`] for a name of this check, lets `look` read it, and forgets it again.
async fn with_log<'a, F>(cx: &'a Cx, look: impl FnOnce(Http<'a>, String) -> F) -> Outcome
where
    F: Future<Output = Outcome>,
{
    let (manager, trial) = (manager(cx), cx.name("log"));
    let logs = MEASURED.iter();
    let report = ReportObservationLogRequest {
        trial_name: trial.clone(),
        observation_log: Some(ObservationLog {
            metric_logs: logs
                .map(|(at, name, value)| measured(*at, name, value))
                .collect(),
        }),
    };
    manager.reply(&REPORT_LOG, &report).await?;
    let outcome = look(manager.clone(), trial.clone()).await;
    manager.reply(&DELETE_LOG, &of(&trial)).await?;
    outcome
}

fn of(trial: &str) -> DeleteObservationLogRequest {
    DeleteObservationLogRequest {
        trial_name: trial.to_owned(),
    }
}

fn all(trial: String) -> GetObservationLogRequest {
    GetObservationLogRequest {
        trial_name: trial,
        ..GetObservationLogRequest::default()
    }
}

/// The measurements of an answer: metric and value.
fn log(answer: &Value) -> Vec<(&str, &str)> {
    let logs = answer["observation_log"]["metric_logs"].as_array();
    let logs = logs.into_iter().flatten();
    logs.map(|log| {
        let text = |key: &str| log["metric"][key].as_str().unwrap_or_default();
        (text("name"), text("value"))
    })
    .collect()
}

/// It says that it serves.
async fn serves_health(cx: &Cx) -> Outcome {
    let answer = manager(cx)
        .reply(&HEALTH, &HealthCheckRequest::default())
        .await?;
    ensure_eq!(
        answer["status"],
        1,
        "the status that the database manager gives of itself (1 is SERVING)"
    );
    Ok(())
}

/// What was reported is there, in the order of its times.
async fn keeps_order(cx: &Cx) -> Outcome {
    with_log(cx, async |manager: Http<'_>, trial| {
        let answer = manager.reply(&GET_LOG, &all(trial)).await?;
        ensure_eq!(
            log(&answer),
            [
                ("acc", "0.1"),
                ("loss", "0.9"),
                ("acc", "0.2"),
                ("acc", "0.3")
            ],
            "what was measured, in the order of its times"
        );
        let times = answer["observation_log"]["metric_logs"].as_array();
        for log in times.into_iter().flatten() {
            let time = log["time_stamp"].as_str().unwrap_or_default();
            ensure!(
                time.parse::<jiff::Timestamp>().is_ok(),
                "the time `{time}` of a measurement is not written as RFC 3339 has it"
            );
        }
        Ok(())
    })
    .await
}

/// Of one metric alone.
async fn filters_by_metric(cx: &Cx) -> Outcome {
    with_log(cx, async |manager: Http<'_>, trial| {
        let request = GetObservationLogRequest {
            metric_name: "loss".to_owned(),
            ..all(trial)
        };
        let answer = manager.reply(&GET_LOG, &request).await?;
        ensure_eq!(
            log(&answer),
            [("loss", "0.9")],
            "the measurements of metric `loss`"
        );
        Ok(())
    })
    .await
}

/// Between two times, both of them included.
async fn filters_by_time(cx: &Cx) -> Outcome {
    with_log(cx, async |manager: Http<'_>, trial| {
        let time = |second| measured(second, "", "").time_stamp;
        let request = GetObservationLogRequest {
            start_time: time(1_700_000_010),
            end_time: time(1_700_000_020),
            ..all(trial)
        };
        let answer = manager.reply(&GET_LOG, &request).await?;
        ensure_eq!(
            log(&answer),
            [("loss", "0.9"), ("acc", "0.2")],
            "the measurements from the second time to the third"
        );
        Ok(())
    })
    .await
}

/// A time that is none is an error, and not a time.
async fn refuses_bad_times(cx: &Cx) -> Outcome {
    let manager = manager(cx);
    manager.reply(&GET_LOG, &all(cx.name("log"))).await?;
    let request = GetObservationLogRequest {
        start_time: "yesterday".to_owned(),
        ..all(cx.name("log"))
    };
    let answer = manager.call(&GET_LOG, &request).await?;
    ensure!(
        answer.grpc_status().is_some_and(|status| status != 0),
        "a request for what was measured from `yesterday` on was answered with {}",
        answer.text()
    );
    Ok(())
}

/// What was deleted is gone; what is not there can be deleted too.
async fn deletes(cx: &Cx) -> Outcome {
    with_log(cx, async |manager: Http<'_>, trial| {
        manager.reply(&DELETE_LOG, &of(&trial)).await?;
        let answer = manager.reply(&GET_LOG, &all(trial.clone())).await?;
        ensure!(
            log(&answer).is_empty(),
            "after it was deleted there is still {:?}",
            log(&answer)
        );
        manager.reply(&DELETE_LOG, &of(&trial)).await.map(drop)
    })
    .await
}

/// What a trial printed: 0.7, 0.3, 0.5, and of the other metric 0.1, 0.2, 0.4.
async fn holds_trial_metrics(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&GOAL)?;
    let succeeded = |trial: &&Value| condition(trial, "Succeeded") == "True";
    let Some(trial) = seen.trials.iter().find(succeeded) else {
        return Err(Stop::failed("no trial succeeded"));
    };
    let answer = manager(cx)
        .reply(&GET_LOG, &all(name_of(trial).to_owned()))
        .await?;
    for (metric, expected) in [
        ("loss", ["0.7", "0.3", "0.5"]),
        ("acc", ["0.1", "0.2", "0.4"]),
    ] {
        let mut values = log(&answer);
        values.retain(|(name, _)| *name == metric);
        ensure_eq!(
            values.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            expected,
            "the values of `{metric}` of trial `{}`",
            name_of(trial)
        );
    }
    Ok(())
}

/// The measurements of a trial go with it.
async fn forgets_trials(cx: &Cx) -> Outcome {
    let pushed: Pushed = cx.setup(&PUSHED)?;
    ensure!(
        !log(&pushed.before).is_empty(),
        "nothing is known of trial `{}` while it is there",
        pushed.trial
    );
    ensure!(
        log(&pushed.after).is_empty(),
        "after the deletion of trial `{}` there is still {:?}",
        pushed.trial,
        log(&pushed.after)
    );
    Ok(())
}
