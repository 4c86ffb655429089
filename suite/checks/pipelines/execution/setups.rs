//! The runs that are read by the checks of what tasks do.

use std::time::Duration;

use crate::{
    checks::{
        pipelines::{
            api::{Api, EDITOR, RUNS, brief, is_final, word},
            setups::{Run, by_value, new_experiment, run, value},
        },
        prelude::*,
    },
    cluster::{Endpoint, discover::items},
    outcome::Outcome,
};

/// A run that failed and was retried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Retried {
    /// The run when it had failed.
    pub(in super::super) run: Run,
    /// What answered to the retry.
    pub(in super::super) answer: u16,
    /// The run when it had ended again.
    pub(in super::super) again: Value,
}

/// Runs of a pipeline that caches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Cached {
    /// The first, whose results nothing can have answered.
    pub(in super::super) first: Run,
    /// The same again.
    pub(in super::super) same: Run,
    /// The same with another input.
    pub(in super::super) other: Run,
}

/// A pipeline of `fixtures/pipelines` under the name of a run.
fn pipeline(cx: &Cx, file: &str, label: &str) -> Outcome<Value> {
    cx.fixture(file, &[("name", &cx.name(label)), ("seconds", "0")])
}

/// A run of a pipeline in an experiment of its own, when it has ended.
async fn done(
    cx: &Cx,
    label: &str,
    spec: Value,
    parameters: Value,
    timeout: &'static str,
) -> Outcome<Value> {
    let experiment = new_experiment(cx, label).await?;
    let source = by_value(spec, parameters);
    value(&run(cx, label, &experiment, source, timeout).await?)
}

pub(in super::super) async fn mixed(cx: &Cx) -> Outcome<Value> {
    let given = json!({
        "given": "ash",
        "flag": true,
        "whole": 1_234_567,
        "real": 0.125,
        "text": "3",
        "list": [1, "two", false, [2.5]],
        "struct": {"a": {"b": [true]}, "c": "d"},
    });
    done(
        cx,
        "mixed",
        pipeline(cx, "pipelines/mixed.yaml", "mixed")?,
        given,
        "run-finished",
    )
    .await
}

async fn loop_over(cx: &Cx, items: Value) -> Outcome<Value> {
    let spec = pipeline(cx, "pipelines/loop.yaml", "loop")?;
    done(cx, "loop", spec, json!({"items": items}), "run-finished").await
}

pub(in super::super) async fn loop_over_good(cx: &Cx) -> Outcome<Value> {
    loop_over(cx, json!(["p", "q", "r"])).await
}

pub(in super::super) async fn loop_over_bad_last(cx: &Cx) -> Outcome<Value> {
    loop_over(cx, json!(["p", "bad"])).await
}

pub(in super::super) async fn loop_over_bad_first(cx: &Cx) -> Outcome<Value> {
    loop_over(cx, json!(["bad", "p"])).await
}

/// The path of a loop's items that are written in the pipeline.
const WRITTEN: &str = "root.dag.tasks.loop.parameterIterator.items.raw";

pub(in super::super) async fn static_loop(cx: &Cx) -> Outcome<Value> {
    let spec = pipeline(cx, "pipelines/static-loop.yaml", "static")?;
    let spec = with(&spec, WRITTEN, json!(r#"["p", "bad"]"#));
    done(cx, "static", spec, json!({}), "run-finished").await
}

pub(in super::super) async fn narrow_loop(cx: &Cx) -> Outcome<Value> {
    let spec = pipeline(cx, "pipelines/static-loop.yaml", "narrow")?;
    let spec = with(&spec, WRITTEN, json!(r#"["p", "q", "r"]"#));
    let spec = with(
        &spec,
        "root.dag.tasks.loop.iteratorPolicy.parallelismLimit",
        json!(1),
    );
    let spec = with(
        &spec,
        "deploymentSpec.executors.exec-item.container.args",
        json!(["--sleep-ms", "40000"]),
    );
    done(cx, "narrow", spec, json!({}), "run-waits").await
}

/// The path of what the task before the exit task does.
const WORK: &str = "deploymentSpec.executors.exec-work.container.args";

pub(in super::super) async fn exit_after_failure(cx: &Cx) -> Outcome<Value> {
    let spec = pipeline(cx, "pipelines/exit.yaml", "exit")?;
    let spec = with(&spec, WORK, json!(["--exit", "3"]));
    done(cx, "exit", spec, json!({}), "run-finished").await
}

pub(in super::super) async fn exit_after_success(cx: &Cx) -> Outcome<Value> {
    let spec = pipeline(cx, "pipelines/exit.yaml", "exit")?;
    done(cx, "exit", spec, json!({}), "run-finished").await
}

pub(in super::super) async fn final_status(cx: &Cx) -> Outcome<Value> {
    let mut spec = pipeline(cx, "pipelines/exit.yaml", "exit")?;
    for (path, value) in [
        (
            "components.comp-bye.inputDefinitions.parameters.status",
            json!({"parameterType": "TASK_FINAL_STATUS", "isOptional": true}),
        ),
        (
            "root.dag.tasks.bye.inputs.parameters.status",
            json!({"taskFinalStatus": {"producerTask": "body"}}),
        ),
        (
            "deploymentSpec.executors.exec-bye.container.args",
            json!(["--contains", "SUCCEEDED={{$.inputs.parameters['status']}}"]),
        ),
    ] {
        spec = with(&spec, path, value);
    }
    done(cx, "exit", spec, json!({}), "run-finished").await
}

/// A pipeline whose second task fails until so many seconds after its first.
fn late(cx: &Cx, label: &str, seconds: &str) -> Outcome<Value> {
    let marks = [("name", &*cx.name(label)), ("seconds", seconds)];
    cx.fixture("pipelines/late.yaml", &marks)
}

pub(in super::super) async fn patient(cx: &Cx) -> Outcome<Value> {
    let policy = json!({
        "maxRetryCount": 9, "backoffDuration": "10s", "backoffFactor": 1, "backoffMaxDuration": "3600s",
    });
    let experiment = new_experiment(cx, "patient").await?;
    // On a slow cluster the first attempt may come so late that nothing is left to fail for: that shows nothing.
    for (label, seconds) in [("patient", "45"), ("patient-late", "200")] {
        let spec = with(
            &late(cx, label, seconds)?,
            "root.dag.tasks.late.retryPolicy",
            policy.clone(),
        );
        let source = by_value(spec, json!({}));
        let run = run(cx, label, &experiment, source, "run-waits").await?;
        let failed = items(&run.ended["run_details"], "task_details")
            .any(|detail| word(detail, "state") == "FAILED");
        if failed || word(&run.ended, "state") != "SUCCEEDED" {
            return value(&run);
        }
    }
    Err(Stop::CouldNotRun(
        CouldNotRun::SetupFailed,
        "no attempt of a task failed that must fail for 200 s after another has ended: it began later, or runs do not show attempts"
            .to_owned(),
    ))
}

pub(in super::super) async fn retried(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let experiment = new_experiment(cx, "retried").await?;
    // Where the second task comes so late that what it fails for is over, there is nothing to retry; then again, later.
    let mut failed = None;
    for (label, seconds) in [("retried", 90), ("retried-late", 600)] {
        let source = by_value(late(cx, label, &seconds.to_string())?, json!({}));
        let run = run(cx, label, &experiment, source, "run-finished").await?;
        if run.state() != "SUCCEEDED" {
            // It ended after its first task did.
            cx.pause(Duration::from_secs(seconds + 2)).await;
            failed = Some(run);
            break;
        }
    }
    let Some(run) = failed else {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            "no run failed: a task that must fail for ten minutes after another has ended began later, or it was not seen to fail, which another check judges".to_owned(),
        ));
    };
    let answer = api.try_verb(&RUNS, &run.id, "retry").await?;
    let path = format!("/{}/{}", RUNS.path, run.id);
    let first_end = word(&run.ended, "finished_at").to_owned();
    let again = api
        .http
        .settled(&path, "run-finished", Some(brief), |now| {
            is_final(word(now, "state")) && word(now, "finished_at") != first_end
        })
        .await?;
    value(&Retried {
        run,
        answer: answer.status,
        again,
    })
}

pub(in super::super) async fn cached(cx: &Cx) -> Outcome<Value> {
    let experiment = new_experiment(cx, "cached").await?;
    // The name is part of what the cache goes by.
    let spec = pipeline(cx, "pipelines/cache.yaml", "cache")?;
    let without = |spec: &Value, tasks: &[&str]| {
        tasks.iter().fold(spec.clone(), |spec, task| {
            with(&spec, &format!("root.dag.tasks.{task}"), Value::Null)
        })
    };
    let only_stamps = without(&spec, &["judge-kept", "judge-fresh"]);
    let key = cx.name("key");
    let given = json!({"key": key, "limit": 0});
    let source = by_value(only_stamps, given);
    let first = run(cx, "cached-1", &experiment, source, "run-finished").await?;
    // Whatever is executed from here on is so after this limit.
    let limit = word(&first.ended, "finished_at")
        .parse::<jiff::Timestamp>()
        .map_or(0, |at| at.as_second() + 2);
    cx.pause(Duration::from_secs(5)).await;

    let given = json!({"key": key, "limit": limit});
    let source = by_value(spec.clone(), given);
    let same = run(cx, "cached-2", &experiment, source, "run-finished").await?;

    let only_kept = without(&spec, &["fresh", "judge-fresh"]);
    let judged_as_new = with(
        &only_kept,
        "root.dag.tasks.judge-kept.componentRef.name",
        json!("comp-judge-new"),
    );
    let given = json!({"key": cx.name("other-key"), "limit": limit});
    let source = by_value(judged_as_new, given);
    let other = run(cx, "cached-3", &experiment, source, "run-finished").await?;
    value(&Cached { first, same, other })
}

pub(in super::super) async fn platform(cx: &Cx) -> Outcome<Value> {
    let account = if Api::of(cx).namespace().is_some() {
        "default-editor"
    } else {
        "pipeline-runner"
    };
    let marks = [("name", &*cx.name("platform")), ("account", account)];
    let spec = cx.fixture("pipelines/platform.yaml", &marks)?;
    done(cx, "platform", spec, json!({}), "run-finished").await
}

/// Makes an object in the run's namespace as its editor does, whose runs may use it: the suite itself needs no right to it.
async fn put(cx: &Cx, kind: &Kind, object: &Value) -> Outcome {
    let editor = Identity::ServiceAccount {
        namespace: cx.namespace().to_owned(),
        name: EDITOR.to_owned(),
        audience: None,
    };
    let request = Request::new(Endpoint::Kubernetes, "POST", kind.path(cx.namespace()));
    let request = request.json(cx.own(object)).identity(editor);
    let answer = cx.kube(request).await?;
    if answer.is_success() {
        return Ok(());
    }
    let why = format!(
        "the editor of namespace `{}` cannot make a {}: {}",
        cx.namespace(),
        kind.kind,
        answer.summary()
    );
    Err(Stop::CouldNotRun(CouldNotRun::SetupFailed, why))
}

/// The word that the run of `SECRETS` expects of a secret, and of a config map.
const SECRET_WORD: &str = "rowan";

pub(in super::super) async fn secrets(cx: &Cx) -> Outcome<Value> {
    let secret = cx.name("word");
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret},
        "stringData": {"word": SECRET_WORD},
    });
    put(
        cx,
        &Kind::namespaced("", "v1", "Secret", "secrets"),
        &object,
    )
    .await?;
    let map = cx.name("map");
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map},
        "data": {"word": SECRET_WORD},
    });
    put(cx, &CONFIG_MAP, &object).await?;
    let marks = [
        ("name", &*cx.name("secret")),
        ("secret", &*secret),
        ("map", &*map),
        ("word", SECRET_WORD),
    ];
    let spec = cx.fixture("pipelines/secret.yaml", &marks)?;
    done(cx, "secret", spec, json!({}), "run-finished").await
}

pub(in super::super) async fn claim(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("data");
    let mut object = cx.fixture("notebooks/claim.yaml", &[("name", &name)])?;
    if let Some(class) = &cx.run.storage_class {
        object = with(&object, "spec.storageClassName", json!(class));
    }
    put(cx, &CLAIM, &object).await?;
    let marks = [("name", &*cx.name("claim")), ("claim", &*name)];
    let spec = cx.fixture("pipelines/claim.yaml", &marks)?;
    done(cx, "claim", spec, json!({}), "run-finished").await
}

pub(in super::super) async fn stopped(cx: &Cx) -> Outcome<Value> {
    let spec = pipeline(cx, "pipelines/stop.yaml", "stop")?;
    done(cx, "stop", spec, json!({}), "run-finished").await
}
