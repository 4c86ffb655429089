//! What is made once and read by many checks: experiments, a pipeline, and runs that go side by side.
//!
//! A run costs about ten seconds and twenty more for each task in a row on any cluster, so many checks read few runs.
//! At most one check *changes* what a set-up made; its declaration says which. All others read the set-up's value.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{
    Api, EXPERIMENTS, PIPELINES, RECURRING_RUNS, RUNS, column, id_of, text, versions, word,
};
use super::execution::setups as execution;
use super::recurrence::setups as recurrence;
use crate::{
    checks::{Cx, IMAGE, prelude::*, with},
    setups,
};

setups! {
    /// An experiment for the runs that no check archives or removes.
    pub(super) EXPERIMENT = "setup/pipelines/experiment", judge "", minutes 2, needs [], run: experiment;

    /// Five experiments whose names share a part that no other has; three of them share a longer one.
    pub(super) FIVE = "setup/pipelines/five", judge "", minutes 2, needs [], run: five;

    /// Five pipelines without versions, named as the experiments of `FIVE` are.
    pub(super) FIVE_PIPELINES = "setup/pipelines/five-pipelines", judge "", minutes 2, needs [], run: five_pipelines;

    /// Five versions of one pipeline, named as the experiments of `FIVE` are.
    pub(super) FIVE_VERSIONS = "setup/pipelines/five-versions", judge "", minutes 2, needs [], run: five_versions;

    /// Five recurring runs that are never due, in an experiment of their own, named as the experiments of `FIVE` are.
    pub(super) FIVE_RECURRING_RUNS = "setup/pipelines/five-recurring-runs", judge "", minutes 2, needs [&EXPERIMENT, &PIPELINE], run: five_recurring_runs;

    /// A pipeline of two versions: the first ends well, the second fails. The checks of `version` and `pipeline` that
    /// remove things make their own.
    pub(super) PIPELINE = "setup/pipelines/pipeline", judge "pipelines/pipeline/is-uploaded", minutes 2, needs [], run: pipeline;

    /// A finished run of a pipeline that was sent along. Asked for a retry and a termination by two checks, which both must
    /// be refused.
    pub(super) INLINE = "setup/pipelines/inline", judge "pipelines/run/inline-succeeds", minutes 15, needs [&IMAGE, &EXPERIMENT], run: inline;

    /// A finished run of the first version of `PIPELINE`, in an experiment of its own, which
    /// `pipelines/experiment/archives-its-runs` archives.
    pub(super) REFERENCE = "setup/pipelines/reference", judge "pipelines/run/by-reference-succeeds", minutes 15, needs [&IMAGE, &PIPELINE], run: reference;

    /// A finished run of `PIPELINE` that names no version of it.
    pub(super) LATEST = "setup/pipelines/latest", judge "pipelines/run/takes-latest-version", minutes 15, needs [&IMAGE, &PIPELINE], run: latest;

    /// An experiment that held a run and a recurring run and was archived, restored and deleted, and what was seen of them on
    /// the way.
    pub(super) ARCHIVED = "setup/pipelines/archived", judge "pipelines/experiment/is-restored-alone", minutes 5, needs [&PIPELINE], run: archived;

    /// A finished run that passed a parameter, in an experiment of its own, to which the runs go that must be refused.
    /// `pipelines/run/is-archived-and-restored` does that with it.
    pub(super) PARAMETERS = "setup/pipelines/parameters", judge "pipelines/run/passes-parameters", minutes 15, needs [&IMAGE], run: parameters;

    /// A finished run that passed a file.
    pub(super) ARTIFACT = "setup/pipelines/artifact", judge "pipelines/run/passes-artifacts", minutes 15, needs [&IMAGE, &EXPERIMENT], run: artifact;

    /// The finished run that took the branch that ends well.
    pub(super) CHOSE_THEN = "setup/pipelines/chose-then", judge "pipelines/run/follows-condition", minutes 15, needs [&IMAGE, &EXPERIMENT], run: chose_then;

    /// The finished run that took the branch that fails.
    pub(super) CHOSE_ELSE = "setup/pipelines/chose-else", judge "pipelines/run/follows-condition", minutes 15, needs [&IMAGE, &EXPERIMENT], run: chose_else;

    /// A finished run whose task failed, in an experiment of its own. `pipelines/run/refuses-retry-of-succeeded`
    /// retries it, as the twin.
    pub(super) FAILING = "setup/pipelines/failing", judge "pipelines/run/failing-task-fails", minutes 15, needs [&IMAGE], run: failing;

    /// A finished run of many parts that have nothing to do with each other.
    pub(super) MIXED = "setup/pipelines/mixed", judge "", minutes 20, needs [&IMAGE], run: execution::mixed;

    /// Finished loops: over p, q and r; over a list whose last item fails; over one whose first does.
    pub(super) LOOP = "setup/pipelines/loop", judge "pipelines/execution/loops-over-items", minutes 20, needs [&IMAGE], run: execution::loop_over_good;
    pub(super) LOOP_BAD_LAST = "setup/pipelines/loop-bad-last", judge "pipelines/execution/fails-with-an-iteration", minutes 20, needs [&IMAGE], run: execution::loop_over_bad_last;
    pub(super) LOOP_BAD_FIRST = "setup/pipelines/loop-bad-first", judge "pipelines/execution/fails-with-an-iteration", minutes 20, needs [&IMAGE], run: execution::loop_over_bad_first;

    /// A finished loop over a list that is written in the pipeline and whose last item fails.
    pub(super) STATIC_LOOP = "setup/pipelines/static-loop", judge "pipelines/execution/loops-over-written-items", minutes 20, needs [&IMAGE], run: execution::static_loop;

    /// A finished loop of three iterations of forty seconds, one at a time.
    pub(super) NARROW_LOOP = "setup/pipelines/narrow-loop", judge "pipelines/execution/limits-parallelism", minutes 20, needs [&IMAGE], run: execution::narrow_loop;

    /// Finished runs with an exit task of two minutes: after a failure, after a success, and one that looks at how it went.
    pub(super) EXIT_AFTER_FAILURE = "setup/pipelines/exit-after-failure", judge "pipelines/execution/exit-task-runs-after-failure", minutes 20, needs [&IMAGE], run: execution::exit_after_failure;
    pub(super) EXIT_AFTER_SUCCESS = "setup/pipelines/exit-after-success", judge "pipelines/execution/exit-task-runs-after-success", minutes 20, needs [&IMAGE], run: execution::exit_after_success;
    pub(super) FINAL_STATUS = "setup/pipelines/final-status", judge "pipelines/execution/exit-task-knows-status", minutes 20, needs [&IMAGE], run: execution::final_status;

    /// A finished run whose task succeeds only some time after its first attempt.
    pub(super) PATIENT = "setup/pipelines/patient", judge "pipelines/execution/retries-tasks", minutes 20, needs [&IMAGE], run: execution::patient;

    /// A run that failed, was retried when what it failed for was over, and ended again.
    pub(super) RETRIED = "setup/pipelines/retried", judge "pipelines/run/is-retried", minutes 45, needs [&IMAGE], run: execution::retried;

    /// Finished runs of a pipeline that caches: the first, one that may be answered by it, and one that may not.
    pub(super) CACHED = "setup/pipelines/cached", judge "pipelines/execution/reuses-cached-results", minutes 30, needs [&IMAGE], run: execution::cached;

    /// A finished run whose second task waits for its first, which fails.
    pub(super) STOPPED = "setup/pipelines/stopped", judge "pipelines/execution/stops-after-failure", minutes 20, needs [&IMAGE], run: execution::stopped;

    /// A finished run of parts that are about what Kubernetes adds to containers.
    pub(super) PLATFORM = "setup/pipelines/platform", judge "", minutes 20, needs [&IMAGE], run: execution::platform;

    /// A finished run with a secret of its namespace, as a variable and as a file.
    pub(super) SECRETS = "setup/pipelines/secrets", judge "", minutes 20, needs [&IMAGE], run: execution::secrets;

    /// A finished run with a claimed volume.
    pub(super) CLAIMED = "setup/pipelines/claimed", judge "", minutes 20, needs [&IMAGE], run: execution::claim;

    /// Recurring runs with an interval of a minute, watched for some minutes.
    pub(super) RECURRING = "setup/pipelines/recurring", judge "pipelines/recurring-run/fires-at-interval", minutes 30, needs [&IMAGE], run: recurrence::recurring;

    /// A run that was terminated while its task was waiting. `pipelines/run/is-deleted` deletes it.
    pub(super) TERMINATED = "setup/pipelines/terminated", judge "pipelines/run/terminates", minutes 15, needs [&IMAGE], run: terminated;
}

/// An experiment that was made for runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Experiment {
    /// Its id.
    pub(super) id: String,
}

/// Five objects of one kind. The first three are at least a second older than the last two.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Five {
    /// The id of what holds them, where something does.
    pub(super) within: String,
    /// What only their names contain.
    pub(super) part: String,
    /// What only the names of three of them contain.
    pub(super) longer_part: String,
    /// Their names, in the order of creation, which is not the alphabet's.
    pub(super) names: Vec<String>,
    /// When the fourth of them was created.
    pub(super) turn: String,
}

/// A pipeline of two versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pipeline {
    /// Its id.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// What the upload answered.
    pub(super) uploaded: Value,
    /// The list of its versions after the upload.
    pub(super) versions_after_upload: Value,
    /// The id of the first version, which ends well.
    pub(super) first: String,
    /// The id of the second version, which fails.
    pub(super) second: String,
}

/// A run that ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    /// Its id.
    pub(super) id: String,
    /// The experiment that it was asked for.
    pub(super) experiment: String,
    /// What was asked for.
    pub(super) asked: Value,
    /// What the creation answered.
    pub(super) created: Value,
    /// The run when it had ended.
    pub(super) ended: Value,
}

impl Run {
    /// The state in which it ended.
    pub(super) fn state(&self) -> &str {
        word(&self.ended, "state")
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        word(&self.asked, "display_name")
    }

    /// Stops unless the run ended well, which is for the set-up's judge to say.
    pub(super) fn must_have_succeeded(&self) -> Outcome {
        if self.state() == "SUCCEEDED" {
            return Ok(());
        }
        Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "run `{}` did not succeed, which another check judges",
                self.name()
            ),
        ))
    }
}

/// What was seen of an experiment with a run and a recurring run in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ArchivedExperiment {
    /// The experiment's `last_run_created_at` before it had a run, and when it had one.
    pub(super) last_run_before: String,
    pub(super) last_run_after: String,
    /// When the run was created.
    pub(super) run_created_at: String,
    /// The recurring run's status at first, when its experiment was archived, and when that was restored.
    pub(super) recurring_run_created: String,
    pub(super) recurring_run_archived: String,
    pub(super) recurring_run_restored: String,
    /// What answered to the attempt to restore the run in the archived experiment, and its storage state then.
    pub(super) attempt: u16,
    pub(super) run_after_attempt: String,
    /// The storage states when the experiment was restored.
    pub(super) experiment_restored: String,
    pub(super) run_restored: String,
    /// The run's storage state when it was restored by itself.
    pub(super) run_restored_itself: String,
    /// What answered to a read of the run when its experiment was deleted.
    pub(super) after_deletion: u16,
}

async fn experiment(cx: &Cx) -> Outcome<Value> {
    let id = new_experiment(cx, "runs").await?;
    value(&Experiment { id })
}

pub(super) async fn new_experiment(cx: &Cx, label: &str) -> Outcome<String> {
    let made = Api::of(cx)
        .create(&EXPERIMENTS, &json!({"display_name": cx.name(label)}))
        .await?;
    id_of(&EXPERIMENTS, &made)
}

/// The names of five objects. What they share is no prefix: a search that looks at beginnings only must not pass.
fn five_names(cx: &Cx, within: &str) -> Five {
    let base = cx.name("five");
    let names = ["fig-c", "nut-a", "fig-e", "nut-b", "fig-d"];
    let part = base.trim_start_matches("kfc-").to_owned();
    Five {
        within: within.to_owned(),
        longer_part: format!("{part}-fig"),
        part,
        names: names.iter().map(|end| format!("{base}-{end}")).collect(),
        turn: String::new(),
    }
}

/// Times are written in whole seconds: what comes after this is at least one younger than what was before.
async fn turn_of_second(cx: &Cx) {
    cx.pause(Duration::from_millis(2100)).await;
}

async fn five(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let mut five = five_names(cx, "");
    for (number, name) in five.names.iter().enumerate() {
        if number == 3 {
            turn_of_second(cx).await;
        }
        let made = api
            .create(&EXPERIMENTS, &json!({"display_name": name}))
            .await?;
        if number == 3 {
            word(&made, "created_at").clone_into(&mut five.turn);
        }
    }
    value(&five)
}

async fn five_pipelines(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let five = five_names(cx, "");
    for name in &five.names {
        api.create(&PIPELINES, &json!({"display_name": name}))
            .await?;
    }
    value(&five)
}

async fn five_versions(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let name = cx.name("versions");
    let made = api
        .create(&PIPELINES, &json!({"display_name": name}))
        .await?;
    let five = five_names(cx, &id_of(&PIPELINES, &made)?);
    let yaml = cx.fixture_text("pipelines/step.yaml", &[("name", &name)])?;
    for name in &five.names {
        let pairs = [("name", name.as_str()), ("pipelineid", &five.within)];
        api.upload_version(&yaml, &pairs).await?;
    }
    value(&five)
}

/// A day, in seconds: what recurs so seldom is not due while a run of the suite lasts.
pub(super) const DAY: i64 = 86_400;

/// The body of a recurring run's creation: the first version of `PIPELINE`, every day.
pub(super) fn daily(pipeline: &Pipeline, experiment: &str, name: &str, mode: &str) -> Value {
    json!({
        "display_name": name,
        "experiment_id": experiment,
        "pipeline_version_reference": {"pipeline_id": pipeline.id, "pipeline_version_id": pipeline.first},
        "trigger": {"periodic_schedule": {"interval_second": DAY.to_string()}},
        "max_concurrency": "2",
        "mode": mode,
    })
}

async fn five_recurring_runs(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let elsewhere: Experiment = cx.setup(&EXPERIMENT)?;
    let five = five_names(cx, &new_experiment(cx, "five-daily").await?);
    for name in &five.names {
        let asked = daily(&pipeline, &five.within, name, "DISABLE");
        api.create(&RECURRING_RUNS, &asked).await?;
    }
    // Its name shares with theirs only what all names of the run do.
    let name = format!("{}elsewhere", cx.prefix());
    let other = daily(&pipeline, &elsewhere.id, &name, "DISABLE");
    api.create(&RECURRING_RUNS, &other).await?;
    value(&five)
}

async fn pipeline(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let name = cx.name("pipeline");
    let marks = [("name", name.as_str())];
    let yaml = cx.fixture_text("pipelines/step.yaml", &marks)?;
    let pairs = [
        ("name", name.as_str()),
        ("description", "made for many runs"),
    ];
    let uploaded = api.upload(&yaml, &pairs).await?;
    let id = id_of(&PIPELINES, &uploaded)?;
    let versions = versions(&id);
    let versions_after_upload = api.list(&versions, &[]).await?;
    let first = column(&versions, &versions_after_upload, versions.id);
    let Some(first) = first.into_iter().next() else {
        return Err(Stop::unlike(
            format!("pipeline `{name}` has no version after its upload"),
            "one version",
            "none",
        ));
    };
    let failing = yaml_of(&exiting(&cx.fixture("pipelines/step.yaml", &marks)?, "3"));
    // The latest of two versions of one second would be either.
    turn_of_second(cx).await;
    let pairs = [("name", "second"), ("pipelineid", id.as_str())];
    let second = api.upload_version(&failing, &pairs).await?;
    let second = id_of(&versions, &second)?;
    value(&Pipeline {
        id,
        name,
        uploaded,
        versions_after_upload,
        first,
        second,
    })
}

async fn inline(cx: &Cx) -> Outcome<Value> {
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let spec = cx.fixture("pipelines/step.yaml", &[("name", &cx.name("inline"))])?;
    run_to_end(cx, "inline", &experiment.id, by_value(spec, json!({}))).await
}

async fn reference(cx: &Cx) -> Outcome<Value> {
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let experiment = new_experiment(cx, "archived").await?;
    let source = json!({"pipeline_version_reference": {
        "pipeline_id": pipeline.id, "pipeline_version_id": pipeline.first,
    }});
    run_to_end(cx, "reference", &experiment, source).await
}

async fn latest(cx: &Cx) -> Outcome<Value> {
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let experiment = new_experiment(cx, "latest").await?;
    let source = json!({"pipeline_version_reference": {"pipeline_id": pipeline.id}});
    run_to_end(cx, "latest", &experiment, source).await
}

async fn archived(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let made = api
        .create(&EXPERIMENTS, &json!({"display_name": cx.name("archived")}))
        .await?;
    let experiment = id_of(&EXPERIMENTS, &made)?;
    let source = json!({"pipeline_version_reference": {
        "pipeline_id": pipeline.id, "pipeline_version_id": pipeline.first,
    }});
    let run = api
        .create(&RUNS, &asked(cx, "archived", &experiment, source))
        .await?;
    let run_id = id_of(&RUNS, &run)?;
    let with_run = api.need(&EXPERIMENTS, &experiment).await?;
    let asked = daily(&pipeline, &experiment, &cx.name("daily"), "ENABLE");
    let recurring = api.create(&RECURRING_RUNS, &asked).await?;
    let recurring_id = id_of(&RECURRING_RUNS, &recurring)?;

    api.verb(&EXPERIMENTS, &experiment, "archive").await?;
    // Not at once: what an agent saw before the change and reports after it is shown for a moment.
    let path = format!("/{}/{recurring_id}", RECURRING_RUNS.path);
    let disabled = api
        .http
        .settled(&path, "reconcile", None, |seen| {
            word(seen, "status") == "DISABLED"
        })
        .await?;
    let attempt = api.try_verb(&RUNS, &run_id, "unarchive").await?;
    let run_after_attempt = api.need(&RUNS, &run_id).await?;
    if attempt.is_success() {
        api.verb(&RUNS, &run_id, "archive").await?;
    }
    api.verb(&EXPERIMENTS, &experiment, "unarchive").await?;
    let restored = api.need(&EXPERIMENTS, &experiment).await?;
    let run_restored = api.need(&RUNS, &run_id).await?;
    let recurring_restored = api.need(&RECURRING_RUNS, &recurring_id).await?;
    api.verb(&RUNS, &run_id, "unarchive").await?;
    let run_restored_itself = api.need(&RUNS, &run_id).await?;

    api.delete(&RECURRING_RUNS, &recurring_id).await?;
    api.delete(&EXPERIMENTS, &experiment).await?;
    let text = |object: &Value, key: &str| word(object, key).to_owned();
    value(&ArchivedExperiment {
        last_run_before: text(&made, "last_run_created_at"),
        last_run_after: text(&with_run, "last_run_created_at"),
        run_created_at: text(&run, "created_at"),
        recurring_run_created: text(&recurring, "status"),
        recurring_run_archived: text(&disabled, "status"),
        recurring_run_restored: text(&recurring_restored, "status"),
        attempt: attempt.status,
        run_after_attempt: text(&run_after_attempt, "storage_state"),
        experiment_restored: text(&restored, "storage_state"),
        run_restored: text(&run_restored, "storage_state"),
        run_restored_itself: text(&run_restored_itself, "storage_state"),
        after_deletion: api.get(&RUNS, &run_id).await?.status,
    })
}

/// The word that the run of `PARAMETERS` expects, here and in its fixture.
const WORD: &str = "oak and ash";

async fn parameters(cx: &Cx) -> Outcome<Value> {
    let experiment = new_experiment(cx, "parameters").await?;
    let marks = [("name", &*cx.name("parameters")), ("word", WORD)];
    let spec = cx.fixture("pipelines/parameters.yaml", &marks)?;
    let source = by_value(spec, json!({"word": WORD}));
    run_to_end(cx, "parameters", &experiment, source).await
}

async fn artifact(cx: &Cx) -> Outcome<Value> {
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let marks = [("name", &*cx.name("artifact")), ("word", WORD)];
    let spec = cx.fixture("pipelines/artifact.yaml", &marks)?;
    run_to_end(cx, "artifact", &experiment.id, by_value(spec, json!({}))).await
}

async fn chose_then(cx: &Cx) -> Outcome<Value> {
    choose(cx, "a").await
}

async fn chose_else(cx: &Cx) -> Outcome<Value> {
    choose(cx, "b").await
}

async fn choose(cx: &Cx, choice: &str) -> Outcome<Value> {
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let name = format!("condition-{choice}");
    let spec = cx.fixture("pipelines/condition.yaml", &[("name", &cx.name(&name))])?;
    let source = by_value(spec, json!({"choice": choice}));
    run_to_end(cx, &name, &experiment.id, source).await
}

async fn failing(cx: &Cx) -> Outcome<Value> {
    let experiment = new_experiment(cx, "failing").await?;
    let spec = cx.fixture("pipelines/step.yaml", &[("name", &cx.name("failing"))])?;
    let source = by_value(exiting(&spec, "3"), json!({}));
    run_to_end(cx, "failing", &experiment, source).await
}

async fn terminated(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let experiment = new_experiment(cx, "terminated").await?;
    let spec = cx.fixture("pipelines/step.yaml", &[("name", &cx.name("terminated"))])?;
    // Ten minutes: far longer than a terminated run may take to end.
    let waiting = with_args(&spec, json!(["--sleep-ms", "600000"]));
    let asked = asked(cx, "terminated", &experiment, by_value(waiting, json!({})));
    let created = api.create(&RUNS, &asked).await?;
    let id = id_of(&RUNS, &created)?;
    let path = format!("/{}/{id}", RUNS.path);
    api.http
        .until(&path, "reconcile", "reach the state RUNNING", |run| {
            Ok(word(run, "state") == "RUNNING")
        })
        .await?;
    api.verb(&RUNS, &id, "terminate").await?;
    let ended = api.finished(&id, "run-terminated").await?;
    value(&Run {
        id,
        experiment,
        asked,
        created,
        ended,
    })
}

/// Where a run's pipeline comes from: the pipeline itself, and the run's parameters.
pub(super) fn by_value(spec: Value, parameters: Value) -> Value {
    json!({"pipeline_spec": spec, "runtime_config": {"parameters": parameters}})
}

/// The body of a run's creation.
pub(super) fn asked(cx: &Cx, label: &str, experiment: &str, source: Value) -> Value {
    let mut asked = source;
    asked["display_name"] = cx.name(label).into();
    asked["experiment_id"] = experiment.into();
    asked
}

async fn run_to_end(cx: &Cx, label: &str, experiment: &str, source: Value) -> Outcome<Value> {
    value(&run(cx, label, experiment, source, "run-finished").await?)
}

/// Makes a run and waits for its end within a named timeout.
pub(super) async fn run(
    cx: &Cx,
    label: &str,
    experiment: &str,
    source: Value,
    timeout: &'static str,
) -> Outcome<Run> {
    let api = Api::of(cx);
    let asked = asked(cx, label, experiment, source);
    let created = api.create(&RUNS, &asked).await?;
    let id = id_of(&RUNS, &created)?;
    let ended = api.finished(&id, timeout).await?;
    Ok(Run {
        id,
        experiment: experiment.to_owned(),
        asked,
        created,
        ended,
    })
}

/// The same pipeline whose one task does something else.
pub(super) fn with_args(spec: &Value, args: Value) -> Value {
    with(
        spec,
        "deploymentSpec.executors.exec-say.container.args",
        args,
    )
}

/// The same pipeline whose one task ends with an exit code.
pub(super) fn exiting(spec: &Value, code: &str) -> Value {
    with_args(spec, json!(["--exit", code]))
}

/// A pipeline as a file: JSON is YAML.
pub(super) fn yaml_of(spec: &Value) -> String {
    spec.to_string()
}

/// A filter for the objects whose names contain a text.
pub(super) fn named_like(part: &str) -> Value {
    text("name", "IS_SUBSTRING", part)
}

pub(super) fn value(of: &impl Serialize) -> Outcome<Value> {
    serde_json::to_value(of).map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e.to_string()))
}
