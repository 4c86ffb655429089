//! Metrics: where a trial leaves them, and what becomes of them. The experiments here end whatever is collected, so that
//! each check says by itself what is missing.

use super::{
    base, changed,
    database::{self, GET_LOG, REPORT_LOG},
    names,
    runs::{self, Observed, ended, observe, value},
    trial::observed,
    trial_does,
};
use crate::{
    checks::prelude::*,
    proto::katib::{
        GetObservationLogRequest, Metric, MetricLog, ObservationLog, ReportObservationLogRequest,
    },
};

setups! {
    /// A trial that writes its metrics into a file, whose objective counts by its latest value.
    pub TEXT = "setup/katib/text", judge "katib/metrics/reads-text-file", minutes 16, needs [&IMAGE], run: text;
    /// A trial that writes its metrics as JSON, of an experiment that does not go on when it is done.
    pub JSON = "setup/katib/json", judge "katib/metrics/reads-json-file", minutes 16, needs [&IMAGE], run: json_lines;
    /// Two trials whose metrics are filtered, with parameters of all types.
    pub FILTERED = "setup/katib/filtered", judge "katib/metrics/filters", minutes 16, needs [&IMAGE], run: filtered;
    /// Trials that print no metric.
    pub SILENT = "setup/katib/silent", judge "katib/metrics/unavailable", minutes 16, needs [&IMAGE], run: silent;
    /// A trial whose metric is reported for it, and what is known of it before and after its experiment's deletion.
    pub PUSHED = "setup/katib/pushed", judge "katib/metrics/takes-pushed", minutes 19, needs [&IMAGE], run: pushed;
}

requirement_checks! {
    "katib/metrics/reads-text-file" => reads_text_file, needs [&TEXT];
    "katib/metrics/reads-json-file" => reads_json_file, needs [&JSON];
    "katib/metrics/filters" => filters, needs [&FILTERED];
    "katib/metrics/unavailable" => unavailable, needs [&SILENT];
    "katib/metrics/takes-pushed" => takes_pushed, needs [&PUSHED];
}

/// Makes an experiment and waits until it ends, in whatever way.
pub(super) async fn run(cx: &Cx, label: &str, experiment: &Value) -> Outcome<Value> {
    let name = cx.name(label);
    cx.create(&EXPERIMENT, experiment).await?;
    let mut history = Vec::new();
    ended(cx, &name, &mut history).await?;
    value(&observe(cx, &name, history).await?)
}

/// One trial, which may end as it likes, and knows its parameter by its environment.
pub(super) fn one_trial() -> Value {
    json!({
        "spec.maxTrialCount": 1,
        "spec.maxFailedTrialCount": null,
        "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env": [
            {"name": "RATE", "value": "${trialParameters.lr}"},
        ],
    })
}

async fn text(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &changed(&base(cx, "text")?, &one_trial()),
        &json!({
            "spec.metricsCollectorSpec": {"collector": {"kind": "File"}},
            "spec.objective": {
                "type": "maximize", "goal": 0.8, "objectiveMetricName": "acc", "additionalMetricNames": ["loss"],
                "metricStrategies": [{"name": "acc", "value": "latest"}, {"name": "loss", "value": "min"}],
            },
        }),
    );
    let experiment = trial_does(
        &experiment,
        &[
            "--await-collector",
            "--timestamps",
            "--sleep-ms",
            "100",
            "--file",
            "/var/log/katib/metrics.log",
            "--metric",
            "acc",
            "--value",
            "0.9",
            "--value",
            "0.3",
            "--metric",
            "loss",
            "--value",
            "0.5",
            "--value",
            "0.25",
        ],
    );
    run(cx, "text", &experiment).await
}

async fn json_lines(cx: &Cx) -> Outcome<Value> {
    let path = "/var/log/katib/metrics.json";
    let experiment = changed(
        &changed(&base(cx, "json")?, &one_trial()),
        &json!({
            "spec.resumePolicy": "Never",
            "spec.metricsCollectorSpec": {
                "collector": {"kind": "File"},
                "source": {"fileSystemPath": {"path": path, "kind": "File", "format": "JSON"}},
            },
        }),
    );
    let experiment = trial_does(
        &experiment,
        &[
            "--await-collector",
            "--sleep-ms",
            "100",
            "--format",
            "json",
            "--file",
            path,
            "--metric",
            "acc",
            "--value",
            "0.4",
            "--value",
            "0.6",
            "--value",
            "0.5",
        ],
    );
    run(cx, "json", &experiment).await
}

/// The filter sees values from 0.5 on: the lowest value that is printed is not one of them.
async fn filtered(cx: &Cx) -> Outcome<Value> {
    let number = |name: &str, kind: &str, space: Value| json!({"name": name, "parameterType": kind, "feasibleSpace": space});
    let parameters = [
        number("units", "int", json!({"min": "1", "max": "4"})),
        number("even", "int", json!({"min": "2", "max": "10", "step": "2"})),
        number("batch", "discrete", json!({"list": ["16", "32", "64"]})),
        number("optimizer", "categorical", json!({"list": ["sgd", "adam"]})),
        number(
            "decay",
            "double",
            json!({"min": "0.0001", "max": "0.1", "distribution": "logUniform"}),
        ),
    ];
    let of = |make: fn(&str) -> Value| -> Value {
        parameters
            .iter()
            .filter_map(|p| p["name"].as_str())
            .map(make)
            .collect()
    };
    let experiment = changed(
        &base(cx, "filtered")?,
        &json!({
            "spec.parallelTrialCount": 2,
            "spec.maxFailedTrialCount": null,
            "spec.metricsCollectorSpec": {
                "collector": {"kind": "StdOut"},
                "source": {"filter": {"metricsFormat": [r"([\w|-]+)=(0\.[5-9][0-9]*)"]}},
            },
            "spec.parameters": parameters,
            "spec.trialTemplate.trialParameters": of(|name| json!({"name": name, "reference": name})),
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env": of(|name| json!({
                "name": name.to_uppercase(), "value": format!("${{trialParameters.{name}}}"),
            })),
        }),
    );
    let experiment = trial_does(
        &experiment,
        &[
            "--await-collector",
            "--sleep-ms",
            "100",
            "--metric",
            "acc",
            "--value",
            "0.7",
            "--value",
            "0.2",
            "--value",
            "0.6",
        ],
    );
    run(cx, "filtered", &experiment).await
}

async fn silent(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &changed(&base(cx, "silent")?, &one_trial()),
        &json!({
            "spec.maxTrialCount": 2,
            "spec.maxFailedTrialCount": 1,
        }),
    );
    let experiment = trial_does(&experiment, &["--await-collector", "--print", "hello"]);
    run(cx, "silent", &experiment).await
}

/// What was seen of the experiment whose metric is reported for its trial.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pushed {
    /// The experiment at its end.
    pub seen: Observed,
    /// The name of its trial.
    pub trial: String,
    /// The containers of the trial's pod while it ran.
    pub containers: Vec<String>,
    /// The database's answer about the trial before the experiment was deleted.
    pub before: Value,
    /// The same after the trial was gone.
    pub after: Value,
}

/// The trial ends 20 seconds after it began; its metric is reported as soon as it runs.
async fn pushed(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &changed(&base(cx, "pushed")?, &one_trial()),
        &json!({
            "spec.metricsCollectorSpec": {"collector": {"kind": "Push"}},
        }),
    );
    let experiment = trial_does(
        &experiment,
        &["--sleep-ms", "20000", "--metric", "other", "--value", "1"],
    );
    let answer = cx.try_dry_run(&EXPERIMENT, &experiment).await?;
    if !answer.is_success() {
        return Err(Stop::NotApplicable(
            NotApplicable::FeatureAbsent,
            format!(
                "an Experiment whose metrics are pushed is not taken: {}",
                answer.summary()
            ),
        ));
    }
    let name = cx.name("pushed");
    cx.create(&EXPERIMENT, &experiment).await?;
    let mut history = Vec::new();
    let mut trial = String::new();
    cx.until(
        &EXPERIMENT,
        &name,
        "trial-finished",
        "run a trial",
        |seen| {
            let list = &seen["status"]["runningTrialList"];
            list[0].as_str().unwrap_or_default().clone_into(&mut trial);
            !trial.is_empty()
        },
    )
    .await?;
    let manager = database::manager(cx);
    let report = ReportObservationLogRequest {
        trial_name: trial.clone(),
        observation_log: Some(ObservationLog {
            metric_logs: vec![measured(cx.now_unix(), "acc", "0.42")],
        }),
    };
    manager.reply(&REPORT_LOG, &report).await?;
    let pods = cx
        .list(&POD, &format!("katib.kubeflow.org/trial={trial}"))
        .await?;
    let containers = pods.first().map(|pod| &pod["spec"]["containers"]);
    let containers = containers
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    ended(cx, &name, &mut history).await?;
    let seen = observe(cx, &name, history).await?;
    let log = GetObservationLogRequest {
        trial_name: trial.clone(),
        ..GetObservationLogRequest::default()
    };
    let before = manager.reply(&GET_LOG, &log).await?;
    cx.delete(&EXPERIMENT, &name).await?;
    cx.until_gone(&EXPERIMENT, &name, "gone").await?;
    cx.until_gone(&TRIAL, &trial, "gone").await?;
    let after = manager.reply(&GET_LOG, &log).await?;
    Ok(json!(Pushed {
        seen,
        trial,
        containers: names_of(&containers),
        before,
        after,
    }))
}

fn names_of(containers: &[Value]) -> Vec<String> {
    let names = containers.iter().filter_map(|c| c["name"].as_str());
    names.map(ToOwned::to_owned).collect()
}

/// A value of a metric at a time, in seconds since 1970.
pub(super) fn measured(at: i64, name: &str, value: &str) -> MetricLog {
    let time = jiff::Timestamp::from_second(at).unwrap_or_default();
    MetricLog {
        time_stamp: time.to_string(),
        metric: Some(Metric {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
    }
}

/// A file of text at the default path: it has 0.9, then 0.3.
async fn reads_text_file(cx: &Cx) -> Outcome {
    observed(&cx.setup(&TEXT)?, "acc", [0.3, 0.9, 0.3])
}

/// A file of JSON at a path of its own: it has 0.4, 0.6, 0.5.
async fn reads_json_file(cx: &Cx) -> Outcome {
    observed(&cx.setup(&JSON)?, "acc", [0.4, 0.6, 0.5])
}

/// Of 0.7, 0.2, 0.6 the filter lets pass what is not below a half.
async fn filters(cx: &Cx) -> Outcome {
    observed(&cx.setup(&FILTERED)?, "acc", [0.6, 0.7, 0.6])
}

/// A trial that did its work and printed no metric is neither a success nor a failure.
async fn unavailable(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&SILENT)?;
    let Some(trial) = seen.trials.first() else {
        return Err(Stop::failed("the experiment has no trial"));
    };
    let name = name_of(trial);
    ensure_eq!(
        condition(trial, "MetricsUnavailable"),
        "True",
        "condition MetricsUnavailable of trial `{name}`, which printed no metric"
    );
    let reason = condition_of(trial, "MetricsUnavailable")["reason"].as_str();
    let reason = reason.unwrap_or_default();
    ensure!(
        reason.starts_with("MetricsUnavailable"),
        "the reason of condition MetricsUnavailable of trial `{name}` is `{reason}`"
    );
    ensure!(
        condition(trial, "Succeeded") != "True",
        "trial `{name}` printed no metric and succeeded"
    );
    Ok(())
}

/// What was reported is what is observed, and nothing stands beside the trial to collect more.
async fn takes_pushed(cx: &Cx) -> Outcome {
    let pushed: Pushed = cx.setup(&PUSHED)?;
    ensure_eq!(
        names(&pushed.seen.trials),
        [pushed.trial.as_str()],
        "the trials"
    );
    observed(&pushed.seen, "acc", [0.42, 0.42, 0.42])?;
    ensure!(
        pushed.containers.len() <= 1,
        "beside the trial, whose metrics are pushed, these containers run: {:?}",
        pushed.containers
    );
    Ok(())
}

/// The trials of [`FILTERED`] with what they were given.
pub(super) fn given<'a>(seen: &'a Observed, parameter: &str) -> Outcome<Vec<(&'a str, &'a str)>> {
    let of = |trial: &'a Value| {
        let list = super::assignments(&trial["spec"]["parameterAssignments"]);
        list.get(parameter).copied()
    };
    let values = seen.trials.iter().map(|trial| {
        of(trial)
            .map(|value| (name_of(trial), value))
            .ok_or_else(|| {
                Stop::failed(format!(
                    "trial `{}` has no value of `{parameter}`",
                    name_of(trial)
                ))
            })
    });
    let values = values.collect::<Outcome<Vec<_>>>()?;
    ensure!(
        !values.is_empty(),
        "Experiment `{}` has no trial",
        runs::Observed::name(seen)
    );
    Ok(values)
}
