//! The experiments that are really run. Each is made once and read by many checks.
//!
//! The trials of all of them compute nothing: they print numbers that are known beforehand, or the very value that they
//! were given, so that what Katib must make of them is known too.

use std::collections::BTreeMap;

use super::{EXPERIMENT_LABEL, base, changed, dry_patch, trial_does};
use crate::checks::prelude::*;

setups! {
    /// Four trials of a random search, two at a time, with their Jobs kept.
    pub RANDOM = "setup/katib/random", judge "katib/experiment/reaches-max-trials", minutes 16, needs [&IMAGE], run: random;
    /// One trial that reaches the goal in the middle of its measurements.
    pub GOAL = "setup/katib/goal", judge "katib/experiment/reaches-goal", minutes 16, needs [&IMAGE], run: goal;
    /// Trials that fail, until there are too many of them.
    pub FAILING = "setup/katib/failing", judge "katib/experiment/fails-over-budget", minutes 16, needs [&IMAGE], run: failing;
    /// A grid of two lists.
    pub GRID = "setup/katib/grid", judge "katib/experiment/searches-grid", minutes 16, needs [&IMAGE], run: grid;
    /// One trial, then a second one after the limit was raised.
    pub RESTARTED = "setup/katib/restarted", judge "katib/experiment/restarts", minutes 31, needs [&IMAGE], run: restarted;
    /// A trial whose template stands in a ConfigMap.
    pub TEMPLATE = "setup/katib/template", judge "katib/trial/reads-config-map", minutes 16, needs [&IMAGE], run: template;
    /// A trial of which both conditions hold when it is done.
    pub BOTH = "setup/katib/both", judge "katib/trial/evaluates-failure-first", minutes 16, needs [&IMAGE], run: both;
    /// A trial that does not end by itself, and what may be edited meanwhile.
    pub RUNNING = "setup/katib/running", judge "katib/suggestion/serves", minutes 16, needs [&IMAGE], run: running;
    /// The same experiment after it was allowed a second trial at a time.
    pub WIDENED = "setup/katib/widened", judge "katib/experiment/follows-parallelism", minutes 6, needs [&RUNNING], run: widened;
    /// The same experiment after its deletion: what is left of it.
    pub DELETED = "setup/katib/deleted", judge "katib/experiment/cleans-up", minutes 11, needs [&WIDENED], run: deleted;
}

/// What was seen of an experiment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Observed {
    /// The Experiment as it was last.
    pub experiment: Value,
    /// The statuses that it went through.
    pub history: Vec<Value>,
    /// Its trials.
    pub trials: Vec<Value>,
    /// The Jobs of its trials that are there.
    pub jobs: Vec<Value>,
    /// Its Suggestion.
    pub suggestion: Value,
    /// Whether the algorithm's Deployment and Service are there.
    pub served: (bool, bool),
    /// Answers to what was tried on it, by what that was.
    pub answers: BTreeMap<String, Answer>,
}

impl Observed {
    /// The name of the experiment.
    pub fn name(&self) -> &str {
        name_of(&self.experiment)
    }

    /// The last status of the experiment.
    pub fn status(&self) -> &Value {
        &self.experiment["status"]
    }
}

/// The name of an algorithm's Deployment and Service.
pub(super) fn service_name(experiment: &Value) -> String {
    let algorithm = experiment["spec"]["algorithm"]["algorithmName"].as_str();
    format!("{}-{}", name_of(experiment), algorithm.unwrap_or_default())
}

/// Reads all that belongs to an experiment as it is now.
pub(super) async fn observe(cx: &Cx, name: &str, history: Vec<Value>) -> Outcome<Observed> {
    let experiment = cx.need(&EXPERIMENT, name).await?;
    let trials = cx
        .list(&TRIAL, &format!("{EXPERIMENT_LABEL}={name}"))
        .await?;
    // A Job has its trial's name; what else it is labelled with is the template's business.
    let mut jobs = cx.list(&JOB, "").await?;
    jobs.retain(|job| trials.iter().any(|trial| name_of(trial) == name_of(job)));
    let served = service_name(&experiment);
    Ok(Observed {
        suggestion: cx.get(&SUGGESTION, name).await?.unwrap_or_default(),
        served: (
            cx.get(&DEPLOYMENT, &served).await?.is_some(),
            cx.get(&SERVICE, &served).await?.is_some(),
        ),
        experiment,
        history,
        trials,
        jobs,
        answers: BTreeMap::new(),
    })
}

/// Waits until an experiment succeeds; stops when it fails instead.
async fn succeeds(cx: &Cx, name: &str, history: &mut Vec<Value>, trials: u64) -> Outcome<()> {
    cx.watch_until(
        &EXPERIMENT,
        name,
        "experiment-finished",
        "succeed",
        |seen| {
            remember(history, seen);
            if condition(seen, "Failed") == "True" {
                let why = condition_of(seen, "Failed");
                let why = why["message"].as_str().unwrap_or_default();
                return Err(Stop::unlike(
                    format!("Experiment `{name}` failed: {why}"),
                    "condition Succeeded",
                    seen["status"].to_string(),
                ));
            }
            let ended = seen["status"]["trials"].as_u64() >= Some(trials);
            Ok(ended && condition(seen, "Succeeded") == "True")
        },
    )
    .await
    .map(drop)
}

/// Waits until an experiment ends, in whatever way.
pub(super) async fn ended(cx: &Cx, name: &str, history: &mut Vec<Value>) -> Outcome {
    let ends = |seen: &Value| {
        remember(history, seen);
        ["Failed", "Succeeded"]
            .iter()
            .any(|c| condition(seen, c) == "True")
    };
    cx.until(&EXPERIMENT, name, "experiment-finished", "end", ends)
        .await
        .map(drop)
}

fn remember(history: &mut Vec<Value>, experiment: &Value) {
    let status = &experiment["status"];
    if !status.is_null() && history.last() != Some(status) {
        history.push(status.clone());
    }
}

pub(super) fn value(observed: &Observed) -> Outcome<Value> {
    serde_json::to_value(observed)
        .map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e.to_string()))
}

async fn random(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &base(cx, "random")?,
        &json!({
            "spec.parallelTrialCount": 2,
            "spec.maxTrialCount": 4,
            "spec.trialTemplate.retain": true,
            "spec.trialTemplate.trialParameters": [
                {"name": "rate", "reference": "lr"},
                {"name": "trial", "reference": "${trialSpec.Name}"},
                {"name": "home", "reference": "${trialSpec.Namespace}"},
                {"name": "kind", "reference": "${trialSpec.Kind}"},
                {"name": "version", "reference": "${trialSpec.APIVersion}"},
                {"name": "shade", "reference": "${trialSpec.Labels[shade]}"},
                {"name": "weight", "reference": "${trialSpec.Annotations[weight]}"},
            ],
            "spec.trialTemplate.trialSpec.metadata": {
                "labels": {"shade": "green"},
                "annotations": {"weight": "light"},
            },
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env": [
                {"name": "TRIAL", "value": "${trialParameters.trial}"},
                {"name": "HOME_NAMESPACE", "value": "${trialParameters.home}"},
                {"name": "KIND", "value": "${trialParameters.kind}"},
                {"name": "VERSION", "value": "${trialParameters.version}"},
                {"name": "SHADE", "value": "${trialParameters.shade}"},
                {"name": "WEIGHT", "value": "${trialParameters.weight}"},
            ],
        }),
    );
    let arguments = [
        "--await-collector",
        "--sleep-ms",
        "100",
        "--metric",
        "acc",
        "--value",
        "${trialParameters.rate}",
    ];
    let experiment = trial_does(&experiment, &arguments);
    let name = cx.name("random");
    cx.create(&EXPERIMENT, &experiment).await?;
    let mut history = Vec::new();
    succeeds(cx, &name, &mut history, 4).await?;
    value(&observe(cx, &name, history).await?)
}

/// The metric goes to 0.3 and back up to 0.5: only its minimum reaches the goal.
async fn goal(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &base(cx, "goal")?,
        &json!({
            "spec.objective": {
                "type": "minimize", "goal": 0.4, "objectiveMetricName": "loss", "additionalMetricNames": ["acc"],
                "metricStrategies": [{"name": "loss", "value": "min"}, {"name": "acc", "value": "max"}],
            },
            "spec.maxTrialCount": 20,
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env": [
                {"name": "RATE", "value": "${trialParameters.lr}"},
            ],
        }),
    );
    let arguments = [
        "--await-collector",
        "--timestamps",
        "--sleep-ms",
        "100",
        "--metric",
        "loss",
        "--value",
        "0.7",
        "--value",
        "0.3",
        "--value",
        "0.5",
        "--metric",
        "acc",
        "--value",
        "0.1",
        "--value",
        "0.2",
        "--value",
        "0.4",
    ];
    let experiment = trial_does(&experiment, &arguments);
    let name = cx.name("goal");
    cx.create(&EXPERIMENT, &experiment).await?;
    let mut history = Vec::new();
    succeeds(cx, &name, &mut history, 1).await?;
    value(&observe(cx, &name, history).await?)
}

async fn failing(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &base(cx, "failing")?,
        &json!({
            "spec.maxTrialCount": 6,
            "spec.maxFailedTrialCount": 2,
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env": [
                {"name": "RATE", "value": "${trialParameters.lr}"},
            ],
        }),
    );
    let experiment = trial_does(&experiment, &["--exit", "1"]);
    let name = cx.name("failing");
    cx.create(&EXPERIMENT, &experiment).await?;
    let mut history = Vec::new();
    ended(cx, &name, &mut history).await?;
    value(&observe(cx, &name, history).await?)
}

async fn grid(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &base(cx, "grid")?,
        &json!({
            "spec.algorithm.algorithmName": "grid",
            "spec.parallelTrialCount": 2,
            "spec.maxTrialCount": 4,
            "spec.parameters": [
                {"name": "units", "parameterType": "discrete", "feasibleSpace": {"list": ["1", "2"]}},
                {"name": "tens", "parameterType": "discrete", "feasibleSpace": {"list": ["10", "20"]}},
            ],
            "spec.trialTemplate.trialParameters": [
                {"name": "units", "reference": "units"},
                {"name": "tens", "reference": "tens"},
            ],
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env": [
                {"name": "TENS", "value": "${trialParameters.tens}"},
            ],
        }),
    );
    let arguments = [
        "--await-collector",
        "--sleep-ms",
        "100",
        "--metric",
        "acc",
        "--value",
        "${trialParameters.units}",
    ];
    let experiment = trial_does(&experiment, &arguments);
    let name = cx.name("grid");
    cx.create(&EXPERIMENT, &experiment).await?;
    let mut history = Vec::new();
    succeeds(cx, &name, &mut history, 4).await?;
    value(&observe(cx, &name, history).await?)
}

async fn restarted(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(&base(cx, "long")?, &json!({"spec.maxTrialCount": 1}));
    let name = cx.name("long");
    cx.create(&EXPERIMENT, &experiment).await?;
    let mut history = Vec::new();
    succeeds(cx, &name, &mut history, 1).await?;
    cx.patch(&EXPERIMENT, &name, &json!({"spec": {"maxTrialCount": 2}}))
        .await?;
    succeeds(cx, &name, &mut history, 2).await?;
    value(&observe(cx, &name, history).await?)
}

/// What says of a Job that it is complete.
const COMPLETE: &str = r#"status.conditions.#(type=="Complete")#|#(status=="True")#"#;
/// What says of a Job that it failed.
const FAILED: &str = r#"status.conditions.#(type=="Failed")#|#(status=="True")#"#;

/// The ConfigMap has the label by which Katib knows those that hold templates.
async fn template(cx: &Cx) -> Outcome<Value> {
    let (name, label) = (cx.name("template"), "katib.kubeflow.org/component");
    let experiment = base(cx, "template")?;
    let job = cx.own(&experiment["spec"]["trialTemplate"]["trialSpec"]);
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {label: "trial-templates"}},
        "data": {"job.yaml": job.to_string()},
    });
    cx.create(&CONFIG_MAP, &map).await?;
    let experiment = changed(
        &experiment,
        &json!({
            "spec.maxTrialCount": 1,
            "spec.maxFailedTrialCount": null,
            "spec.trialTemplate.trialSpec": null,
            "spec.trialTemplate.retain": true,
            "spec.trialTemplate.configMap": {
                "configMapName": name, "configMapNamespace": cx.namespace(), "templatePath": "job.yaml",
            },
            "spec.trialTemplate.successCondition": COMPLETE,
            "spec.trialTemplate.failureCondition": FAILED,
        }),
    );
    let seen = super::metrics::run(cx, "template", &experiment).await;
    // In this order: see [`super::CLEANUP`].
    cx.delete(&EXPERIMENT, &name).await?;
    cx.until_gone(&EXPERIMENT, &name, "gone").await?;
    cx.delete(&CONFIG_MAP, &name).await?;
    seen
}

/// That the Job is complete is a failure as much as a success.
async fn both(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &base(cx, "both")?,
        &json!({
            "spec.maxTrialCount": 1,
            "spec.maxFailedTrialCount": null,
            "spec.trialTemplate.successCondition": COMPLETE,
            "spec.trialTemplate.failureCondition": COMPLETE,
        }),
    );
    super::metrics::run(cx, "both", &experiment).await
}

/// An hour: far more than any check of it takes.
const LONG: [&str; 6] = [
    "--sleep-ms",
    "3600000",
    "--metric",
    "acc",
    "--value",
    "${trialParameters.lr}",
];

async fn running(cx: &Cx) -> Outcome<Value> {
    let experiment = changed(
        &base(cx, "running")?,
        &json!({"spec.maxTrialCount": 4, "spec.maxFailedTrialCount": 2}),
    );
    let experiment = trial_does(&experiment, &LONG);
    let name = cx.name("running");
    cx.create(&EXPERIMENT, &experiment).await?;
    let mut history = Vec::new();
    let runs = |seen: &Value| {
        remember(&mut history, seen);
        seen["status"]["trialsRunning"].as_u64() >= Some(1)
    };
    cx.until(
        &EXPERIMENT,
        &name,
        "experiment-finished",
        "run a trial",
        runs,
    )
    .await?;
    let mut observed = observe(cx, &name, history).await?;
    for (what, part, patch) in edits() {
        let answer = dry_patch(cx, &EXPERIMENT, &name, part, &patch).await?;
        observed.answers.insert(what.to_owned(), answer);
    }
    value(&observed)
}

/// What is tried, as a dry run, on the experiment that runs: what it is, the subresource, the patch.
fn edits() -> [(&'static str, &'static str, Value); 7] {
    [
        (
            "algorithm",
            "",
            json!({"spec": {"algorithm": {"algorithmName": "grid"}}}),
        ),
        (
            "objective",
            "",
            json!({"spec": {"objective": {"goal": 0.9}}}),
        ),
        (
            "parameters",
            "",
            json!({"spec": {"parameters": [
                {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.9"}},
            ]}}),
        ),
        ("maxTrialCount", "", json!({"spec": {"maxTrialCount": 5}})),
        (
            "maxFailedTrialCount",
            "",
            json!({"spec": {"maxFailedTrialCount": 3}}),
        ),
        (
            "labels",
            "",
            json!({"metadata": {"labels": {"shade": "green"}}}),
        ),
        (
            "spec through status",
            "/status",
            json!({"spec": {"maxTrialCount": 5}}),
        ),
    ]
}

async fn widened(cx: &Cx) -> Outcome<Value> {
    let before: Observed = cx.setup(&RUNNING)?;
    let name = before.name();
    cx.patch(
        &EXPERIMENT,
        name,
        &json!({"spec": {"parallelTrialCount": 2}}),
    )
    .await?;
    let mut history = Vec::new();
    let runs = |seen: &Value| {
        remember(&mut history, seen);
        active(&seen["status"]) >= 2
    };
    cx.until(
        &EXPERIMENT,
        name,
        "trial-finished",
        "run two trials at a time",
        runs,
    )
    .await?;
    value(&observe(cx, name, history).await?)
}

/// How many trials of a status are not yet done.
pub(super) fn active(status: &Value) -> u64 {
    ["trialsPending", "trialsRunning"]
        .iter()
        .filter_map(|key| status[key].as_u64())
        .sum()
}

async fn deleted(cx: &Cx) -> Outcome<Value> {
    let before: Observed = cx.setup(&WIDENED)?;
    let name = before.name();
    cx.delete(&EXPERIMENT, name).await?;
    cx.until_gone(&EXPERIMENT, name, "gone").await?;
    cx.until_gone(&SUGGESTION, name, "gone").await?;
    cx.until_gone(&DEPLOYMENT, &service_name(&before.experiment), "gone")
        .await?;
    for trial in &before.trials {
        cx.until_gone(&TRIAL, name_of(trial), "gone").await?;
        cx.until_gone(&JOB, name_of(trial), "gone").await?;
    }
    Ok(json!({"trials": before.trials.len()}))
}
