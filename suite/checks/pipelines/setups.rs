//! What is made once and read by many checks: experiments, a pipeline, and runs that go side by side.
//!
//! A run costs about ten seconds and twenty more for each task in a row on any cluster, so many checks read few runs.
//! At most one check *changes* what a set-up made; its declaration says which. All others read the set-up's value.

use serde_json::{Value, json};

use super::api::{Api, EXPERIMENTS, PIPELINES, RUNS, column, id_of, text, versions, word};
use crate::{
    checks::{Cx, IMAGE, prelude::*, with},
    setups,
};

setups! {
    /// An experiment for the runs that no check archives or removes.
    pub(super) EXPERIMENT = "setup/pipelines/experiment", judge "", minutes 2, needs [], run: experiment;

    /// Five experiments whose names share a part that no other has; three of them share a longer one.
    pub(super) FIVE = "setup/pipelines/five", judge "", minutes 2, needs [], run: five;

    /// A pipeline of two versions: the first ends well, the second fails. The checks of `version` and `pipeline` that
    /// remove things make their own.
    pub(super) PIPELINE = "setup/pipelines/pipeline", judge "pipelines/pipeline/is-uploaded", minutes 2, needs [], run: pipeline;

    /// A finished run of a pipeline that was sent along. Asked for a retry and a termination by two checks, which both must
    /// be refused.
    pub(super) INLINE = "setup/pipelines/inline", judge "pipelines/run/inline-succeeds", minutes 15, needs [&IMAGE, &EXPERIMENT], run: inline;

    /// A finished run of the first version of `PIPELINE`, in an experiment of its own, which
    /// `pipelines/experiment/archives-its-runs` archives.
    pub(super) REFERENCE = "setup/pipelines/reference", judge "pipelines/run/by-reference-succeeds", minutes 15, needs [&IMAGE, &PIPELINE], run: reference;

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

    /// A run that was terminated while its task was waiting. `pipelines/run/is-deleted` deletes it.
    pub(super) TERMINATED = "setup/pipelines/terminated", judge "pipelines/run/terminates", minutes 15, needs [&IMAGE], run: terminated;
}

/// An experiment that was made for runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Experiment {
    /// Its id.
    pub(super) id: String,
}

/// Five experiments.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Five {
    /// What only their names contain.
    pub(super) part: String,
    /// What only the names of three of them contain.
    pub(super) longer_part: String,
    /// Their names, in the order of creation, which is not the alphabet's.
    pub(super) names: Vec<String>,
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

async fn experiment(cx: &Cx) -> Outcome<Value> {
    let id = new_experiment(cx, "runs").await?;
    value(&Experiment { id })
}

async fn new_experiment(cx: &Cx, label: &str) -> Outcome<String> {
    let made = Api::of(cx)
        .create(&EXPERIMENTS, &json!({"display_name": cx.name(label)}))
        .await?;
    id_of(&EXPERIMENTS, &made)
}

async fn five(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let base = cx.name("five");
    let names: Vec<String> = ["fig-c", "nut-a", "fig-e", "nut-b", "fig-d"]
        .iter()
        .map(|end| format!("{base}-{end}"))
        .collect();
    for name in &names {
        api.create(&EXPERIMENTS, &json!({"display_name": name}))
            .await?;
    }
    // Not a prefix: a search that looks at beginnings only must not pass.
    let part = base.trim_start_matches("kfc-").to_owned();
    value(&Five {
        longer_part: format!("{part}-fig"),
        part,
        names,
    })
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
    let api = Api::of(cx);
    let asked = asked(cx, label, experiment, source);
    let created = api.create(&RUNS, &asked).await?;
    let id = id_of(&RUNS, &created)?;
    let ended = api.finished(&id, "run-finished").await?;
    value(&Run {
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

fn value(of: &impl Serialize) -> Outcome<Value> {
    serde_json::to_value(of).map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e.to_string()))
}
