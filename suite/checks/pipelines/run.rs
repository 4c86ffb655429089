//! Runs: what they do, and what they refuse.

use super::{
    api::{Api, RUNS, column, filter, is_final, text, word},
    setups::{
        ARTIFACT, CHOSE_ELSE, CHOSE_THEN, FAILING, INLINE, PARAMETERS, PIPELINE, Pipeline,
        REFERENCE, Run, TERMINATED,
    },
};
use crate::{checks::prelude::*, cluster::discover::items};

requirement_checks! {
    "pipelines/run/inline-succeeds" => inline_succeeds, needs [&INLINE];
    "pipelines/run/by-reference-succeeds" => by_reference_succeeds, needs [&PIPELINE, &REFERENCE];
    "pipelines/run/passes-parameters" => passes_parameters, needs [&PARAMETERS];
    "pipelines/run/passes-artifacts" => passes_artifacts, needs [&ARTIFACT];
    "pipelines/run/follows-condition" => follows_condition, needs [&CHOSE_THEN, &CHOSE_ELSE];
    "pipelines/run/failing-task-fails" => failing_task_fails, needs [&FAILING];
    "pipelines/run/keeps-state-history" => keeps_state_history, needs [&INLINE, &FAILING];
    "pipelines/run/refuses-unknown-parameter" => refuses_unknown_parameter, needs [&PARAMETERS];
    "pipelines/run/refuses-mistyped-parameter" => refuses_mistyped_parameter, needs [&PARAMETERS];
    "pipelines/run/refuses-missing-parameter" => refuses_missing_parameter, needs [&PARAMETERS];
    "pipelines/run/requires-name" => requires_name, needs [&PARAMETERS];
    "pipelines/run/refuses-unknown-pipeline" => refuses_unknown_pipeline, needs [&PIPELINE, &REFERENCE];
    "pipelines/run/terminates" => terminates, needs [&TERMINATED];
    "pipelines/run/refuses-termination-of-finished" => refuses_termination_of_finished, needs [&INLINE, &TERMINATED];
    "pipelines/run/refuses-retry-of-succeeded" => refuses_retry_of_succeeded, needs [&INLINE, &FAILING];
    "pipelines/run/is-archived-and-restored" => is_archived_and_restored, needs [&PARAMETERS];
    "pipelines/run/is-deleted" => is_deleted, needs [&TERMINATED];
}

/// The run ended in a state.
pub(super) fn ended(run: &Run, wanted: &str) -> Outcome {
    ensure_eq!(
        run.state(),
        wanted,
        "the final state of run `{}`",
        run.name()
    );
    Ok(())
}

async fn inline_succeeds(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&INLINE)?;
    for key in ["display_name", "experiment_id"] {
        for (object, how) in [(&run.created, "created"), (&run.ended, "read")] {
            ensure_eq!(
                word(object, key),
                word(&run.asked, key),
                "`{key}` of the run as {how}"
            );
        }
    }
    ended(&run, "SUCCEEDED")?;
    let time = |key: &str| word(&run.ended, key).parse::<jiff::Timestamp>().ok();
    let (created, finished) = (time("created_at"), time("finished_at"));
    ensure!(
        created.is_some() && created <= finished,
        "`finished_at` {} of the run is not after its `created_at` {}",
        run.ended["finished_at"],
        run.ended["created_at"]
    );
    Ok(())
}

async fn by_reference_succeeds(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&REFERENCE)?;
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    for (object, how) in [(&run.created, "created"), (&run.ended, "read")] {
        let source = &object["pipeline_version_reference"];
        ensure_eq!(
            word(source, "pipeline_id"),
            pipeline.id,
            "the pipeline of the run as {how}"
        );
        ensure_eq!(
            word(source, "pipeline_version_id"),
            pipeline.first,
            "the pipeline version of the run as {how}"
        );
    }
    ended(&run, "SUCCEEDED")
}

async fn passes_parameters(cx: &Cx) -> Outcome {
    ended(&cx.setup(&PARAMETERS)?, "SUCCEEDED")
}

async fn passes_artifacts(cx: &Cx) -> Outcome {
    ended(&cx.setup(&ARTIFACT)?, "SUCCEEDED")
}

async fn follows_condition(cx: &Cx) -> Outcome {
    ended(&cx.setup(&CHOSE_THEN)?, "SUCCEEDED")?;
    ended(&cx.setup(&CHOSE_ELSE)?, "FAILED")
}

async fn failing_task_fails(cx: &Cx) -> Outcome {
    ended(&cx.setup(&FAILING)?, "FAILED")
}

async fn keeps_state_history(cx: &Cx) -> Outcome {
    for run in [cx.setup::<Run>(&INLINE)?, cx.setup::<Run>(&FAILING)?] {
        let history: Vec<&Value> = items(&run.ended, "state_history").collect();
        let states: Vec<&str> = history.iter().map(|entry| word(entry, "state")).collect();
        let shown = states.join(", ");
        let name = run.name();
        ensure!(
            states.last() == Some(&run.state()),
            "the history of run `{name}` ends with another state than its own, {}: {shown}",
            run.state()
        );
        ensure!(
            states.windows(2).all(|pair| pair[0] != pair[1]),
            "the history of run `{name}` has one state twice in a row: {shown}"
        );
        ensure!(
            states.iter().rev().skip(1).all(|state| !is_final(state)),
            "the history of run `{name}` goes on after a final state: {shown}"
        );
        ensure!(
            states.len() > 1,
            "the history of run `{name}` has no state before its last: {shown}"
        );
        let times: Vec<_> = history
            .iter()
            .map(|entry| word(entry, "update_time").parse::<jiff::Timestamp>().ok())
            .collect();
        ensure!(
            times.iter().all(Option::is_some) && times.is_sorted(),
            "the times in the history of run `{name}` do not rise"
        );
    }
    Ok(())
}

/// `bad` is refused and nothing is kept of it. Its accepted twin is the run of a set-up: it differs in its name, and in
/// what is under test.
pub(super) async fn refuses(cx: &Cx, label: &str, mut bad: Value, what: &str) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name(label);
    bad["display_name"] = name.as_str().into();
    let answer = api.try_create(&RUNS, &bad).await?;
    api.http.refused(&answer, what)?;
    let count = api.count(&RUNS, "name", &name).await?;
    ensure_eq!(count, 0, "the number of runs kept of {what}");
    Ok(())
}

async fn refuses_unknown_parameter(cx: &Cx) -> Outcome {
    let good: Run = cx.setup(&PARAMETERS)?;
    let bad = with(&good.asked, "runtime_config.parameters.no_such", json!("x"));
    refuses(
        cx,
        "unknown",
        bad,
        "a run with a parameter that its pipeline does not have",
    )
    .await
}

async fn refuses_mistyped_parameter(cx: &Cx) -> Outcome {
    let good: Run = cx.setup(&PARAMETERS)?;
    let bad = with(&good.asked, "runtime_config.parameters.word", json!(5));
    refuses(
        cx,
        "mistyped",
        bad,
        "a run with a number for a text parameter",
    )
    .await
}

async fn refuses_missing_parameter(cx: &Cx) -> Outcome {
    let good: Run = cx.setup(&PARAMETERS)?;
    let bad = with(&good.asked, "runtime_config.parameters.word", Value::Null);
    refuses(
        cx,
        "missing",
        bad,
        "a run without a parameter that its pipeline needs",
    )
    .await
}

async fn requires_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let good: Run = cx.setup(&PARAMETERS)?;
    // The description is what finds a run that has no name.
    let mark = cx.name("nameless");
    let bad = with(
        &with(&good.asked, "display_name", Value::Null),
        "description",
        json!(mark),
    );
    let answer = api.try_create(&RUNS, &bad).await?;
    api.http.refused(&answer, "a run without a name")?;
    let count = api.count(&RUNS, "description", &mark).await?;
    ensure_eq!(count, 0, "the number of runs kept without a name");
    Ok(())
}

async fn refuses_unknown_pipeline(cx: &Cx) -> Outcome {
    let good: Run = cx.setup(&REFERENCE)?;
    let bad = with(
        &good.asked,
        "pipeline_version_reference",
        json!({"pipeline_id": "00000000-0000-4000-8000-000000000000"}),
    );
    refuses(
        cx,
        "no-pipeline",
        bad,
        "a run of a pipeline that does not exist",
    )
    .await
}

async fn terminates(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&TERMINATED)?;
    // The way to CANCELED goes through the workflow engine, which may call it a failure.
    ensure!(
        matches!(run.state(), "CANCELED" | "FAILED"),
        "the terminated run `{}` ended as {}, not as CANCELED or FAILED",
        run.name(),
        run.state()
    );
    let history: Vec<&str> = items(&run.ended, "state_history")
        .map(|entry| word(entry, "state"))
        .collect();
    let after = history
        .iter()
        .skip_while(|state| **state != "CANCELING")
        .skip(1);
    ensure!(
        after.clone().all(|state| is_final(state)),
        "the terminated run `{}` went on: {}",
        run.name(),
        history.join(", ")
    );
    Ok(())
}

async fn refuses_termination_of_finished(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    // The twin: the run that was terminated while it was running.
    cx.setup::<Run>(&TERMINATED)?;
    let run: Run = cx.setup(&INLINE)?;
    run.must_have_succeeded()?;
    let answer = api.try_verb(&RUNS, &run.id, "terminate").await?;
    api.http
        .refused(&answer, "the termination of a finished run")?;
    let still = api.need(&RUNS, &run.id).await?;
    ensure_eq!(
        word(&still, "state"),
        run.state(),
        "the state of the finished run"
    );
    Ok(())
}

async fn refuses_retry_of_succeeded(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let run: Run = cx.setup(&INLINE)?;
    run.must_have_succeeded()?;
    let twin: Run = cx.setup(&FAILING)?;
    if twin.state() != "FAILED" {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "run `{}` did not fail, which another check judges",
                twin.name()
            ),
        ));
    }
    api.verb(&RUNS, &twin.id, "retry").await?;
    let answer = api.try_verb(&RUNS, &run.id, "retry").await?;
    api.http
        .refused(&answer, "the retry of a run that succeeded")?;
    let still = api.need(&RUNS, &run.id).await?;
    ensure_eq!(
        word(&still, "state"),
        run.state(),
        "the state of the succeeded run"
    );
    Ok(())
}

async fn is_archived_and_restored(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let run: Run = cx.setup(&PARAMETERS)?;
    for (verb, wanted) in [("archive", "ARCHIVED"), ("unarchive", "AVAILABLE")] {
        api.verb(&RUNS, &run.id, verb).await?;
        let read = api.need(&RUNS, &run.id).await?;
        ensure_eq!(
            word(&read, "storage_state"),
            wanted,
            "`storage_state` after {verb}"
        );
        ensure_eq!(word(&read, "state"), run.state(), "`state` after {verb}");
        let by_id = filter(&[text("run_id", "EQUALS", &run.id)]);
        let page = api.list(&RUNS, &[("filter", &by_id)]).await?;
        ensure_eq!(
            column(&RUNS, &page, "storage_state"),
            [wanted.to_owned()],
            "`storage_state` in the list after {verb}"
        );
    }
    Ok(())
}

async fn is_deleted(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let run: Run = cx.setup(&TERMINATED)?;
    api.delete(&RUNS, &run.id).await?;
    api.absent(&RUNS, &run.id, "a deleted run").await?;
    let count = api.count(&RUNS, "name", run.name()).await?;
    ensure_eq!(
        count,
        0,
        "the number of runs listed by the name of the deleted one"
    );
    Ok(())
}
