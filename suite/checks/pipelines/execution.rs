//! What the tasks of a run do: values, loops, order, exit tasks, retries, the cache.
//!
//! A run tells how it went by its state and by how long it took; nothing else is needed of a run that went well. Only where
//! one of many parts failed is it asked which.

pub(super) mod setups;

use super::{
    api::{RUNS, word},
    run::ended,
    setups::{
        CACHED, CLAIMED, EXIT_AFTER_FAILURE, EXIT_AFTER_SUCCESS, FINAL_STATUS, INLINE, LOOP,
        LOOP_BAD_FIRST, LOOP_BAD_LAST, MIXED, NARROW_LOOP, PATIENT, PLATFORM, RETRIED, Run,
        SECRETS, STATIC_LOOP, STOPPED,
    },
};
use crate::{
    checks::{pipelines::api::Api, prelude::*},
    cluster::discover::items,
};
use setups::{Cached, Retried};

requirement_checks! {
    "pipelines/execution/uses-defaults" => uses_defaults, needs [&MIXED];
    "pipelines/execution/prefers-given-values" => prefers_given_values, needs [&MIXED];
    "pipelines/execution/passes-all-types" => passes_all_types, needs [&MIXED];
    "pipelines/execution/sets-environment" => sets_environment, needs [&MIXED];
    "pipelines/execution/nests-pipelines" => nests_pipelines, needs [&MIXED];
    "pipelines/execution/keeps-order" => keeps_order, needs [&MIXED];
    "pipelines/execution/stops-after-failure" => stops_after_failure, needs [&STOPPED];
    "pipelines/execution/loops-over-items" => loops_over_items, needs [&LOOP];
    "pipelines/execution/fails-with-an-iteration" => fails_with_an_iteration, needs [&LOOP, &LOOP_BAD_LAST, &LOOP_BAD_FIRST];
    "pipelines/execution/loops-over-written-items" => loops_over_written_items, needs [&STATIC_LOOP];
    "pipelines/execution/limits-parallelism" => limits_parallelism, needs [&NARROW_LOOP];
    "pipelines/execution/exit-task-runs-after-failure" => exit_task_runs_after_failure, needs [&EXIT_AFTER_FAILURE];
    "pipelines/execution/exit-task-runs-after-success" => exit_task_runs_after_success, needs [&EXIT_AFTER_SUCCESS];
    "pipelines/execution/exit-task-knows-status" => exit_task_knows_status, needs [&FINAL_STATUS];
    "pipelines/execution/retries-tasks" => retries_tasks, needs [&PATIENT];
    "pipelines/execution/reads-config-maps" => reads_config_maps, needs [&PLATFORM];
    "pipelines/execution/mounts-config-maps" => mounts_config_maps, needs [&SECRETS];
    "pipelines/execution/reads-secrets" => reads_secrets, needs [&SECRETS];
    "pipelines/execution/mounts-secrets" => mounts_secrets, needs [&SECRETS];
    "pipelines/execution/mounts-claims" => mounts_claims, needs [&CLAIMED];
    "pipelines/execution/limits-memory" => limits_memory, needs [&PLATFORM];
    "pipelines/execution/labels-pods" => labels_pods, needs [&PLATFORM];
    "pipelines/run/is-executed-as-its-account" => is_executed_as_its_account, needs [&PLATFORM];
    "pipelines/run/is-retried" => is_retried, needs [&RETRIED];
    "pipelines/run/shows-tasks" => shows_tasks, needs [&INLINE];
    "pipelines/execution/reuses-cached-results" => reuses_cached_results, needs [&CACHED];
    "pipelines/execution/cache-minds-inputs" => cache_minds_inputs, needs [&CACHED];
    "pipelines/execution/runs-again-without-cache" => runs_again_without_cache, needs [&CACHED];
}

/// What a run shows of the tasks of this name.
fn details<'r>(run: &'r Run, task: &str) -> impl Iterator<Item = &'r Value> {
    items(&run.ended["run_details"], "task_details")
        .filter(move |detail| word(detail, "display_name") == task)
}

/// The states in which a run shows a task of this name.
fn states<'r>(run: &'r Run, task: &str) -> Vec<&'r str> {
    details(run, task)
        .map(|detail| word(detail, "state"))
        .collect()
}

/// Some tasks of a run ended well. So they did where the run did; only where it failed is it asked which of its parts it
/// failed for.
fn part_succeeded(run: &Run, tasks: &[&str]) -> Outcome {
    if run.state() == "SUCCEEDED" {
        return Ok(());
    }
    for task in tasks {
        let states = states(run, task);
        if states.contains(&"FAILED") || run.state() != "FAILED" {
            return Err(Stop::unlike(
                format!(
                    "task `{task}` of run `{}`, which ended as {}, did not succeed",
                    run.name(),
                    run.state()
                ),
                "SUCCEEDED",
                states.join(", "),
            ));
        }
    }
    let went_well = |task: &&str| states(run, task).contains(&"SUCCEEDED");
    if tasks.iter().all(went_well) {
        return Ok(());
    }
    let blames = items(&run.ended["run_details"], "task_details")
        .any(|detail| word(detail, "state") == "FAILED");
    ensure!(
        blames,
        "run `{}` failed, and none of its tasks is said to be the reason",
        run.name()
    );
    Err(Stop::CouldNotRun(
        CouldNotRun::SetupFailed,
        format!(
            "run `{}` failed for another of its parts before this one",
            run.name()
        ),
    ))
}

async fn uses_defaults(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&MIXED)?, &["kept"])
}

async fn prefers_given_values(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&MIXED)?, &["given"])
}

async fn passes_all_types(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&MIXED)?, &["pass-types", "check-types"])
}

async fn sets_environment(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&MIXED)?, &["env"])
}

async fn nests_pipelines(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&MIXED)?, &["nested", "make", "use-nested"])
}

async fn keeps_order(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&MIXED)?, &["first", "second", "judge"])
}

async fn stops_after_failure(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&STOPPED)?;
    ended(&run, "FAILED")?;
    // With a longer `run-finished` the end of what must not be executed is waited for, too.
    ensure!(
        !states(&run, "after").contains(&"SUCCEEDED"),
        "run `{}` executed `after`, which depends on what failed",
        run.name()
    );
    Ok(())
}

async fn loops_over_items(cx: &Cx) -> Outcome {
    ended(&cx.setup(&LOOP)?, "SUCCEEDED")
}

async fn fails_with_an_iteration(cx: &Cx) -> Outcome {
    // The twin: no item of it fails.
    let good: Run = cx.setup(&LOOP)?;
    good.must_have_succeeded()?;
    ended(&cx.setup(&LOOP_BAD_LAST)?, "FAILED")?;
    ended(&cx.setup(&LOOP_BAD_FIRST)?, "FAILED")
}

async fn loops_over_written_items(cx: &Cx) -> Outcome {
    ended(&cx.setup(&STATIC_LOOP)?, "FAILED")
}

async fn limits_parallelism(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&NARROW_LOOP)?;
    ended(&run, "SUCCEEDED")?;
    let mut ends: Vec<i64> = details(&run, "item")
        .filter_map(|item| word(item, "end_time").parse::<jiff::Timestamp>().ok())
        .map(jiff::Timestamp::as_second)
        .collect();
    ends.sort_unstable();
    // Times are cut to seconds.
    let apart = ends.windows(2).all(|pair| pair[1] - pair[0] >= 39);
    if ends.len() == 3 && apart {
        return Ok(());
    }
    Err(Stop::unlike(
        "three iterations of 40 s were not executed one at a time",
        "three tasks `item` that ended 40 s after each other, or more",
        format!("ends at the seconds {ends:?}"),
    ))
}

/// The exit task came, and ended well.
fn exit_task_ran(run: &Run, when: &str) -> Outcome {
    let states = states(run, "bye");
    if states.contains(&"SUCCEEDED") && !states.contains(&"FAILED") {
        return Ok(());
    }
    Err(Stop::unlike(
        format!("the exit task `bye` of run `{}` {when}", run.name()),
        "SUCCEEDED",
        format!("{states:?}"),
    ))
}

async fn exit_task_runs_after_failure(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&EXIT_AFTER_FAILURE)?;
    ended(&run, "FAILED")?;
    exit_task_ran(&run, "after a failure")
}

async fn exit_task_runs_after_success(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&EXIT_AFTER_SUCCESS)?;
    ended(&run, "SUCCEEDED")?;
    exit_task_ran(&run, "after a success")
}

async fn exit_task_knows_status(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&FINAL_STATUS)?;
    ended(&run, "SUCCEEDED")?;
    exit_task_ran(&run, "which fails unless it is told SUCCEEDED")
}

async fn retries_tasks(cx: &Cx) -> Outcome {
    ended(&cx.setup(&PATIENT)?, "SUCCEEDED")
}

async fn reads_config_maps(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&PLATFORM)?, &["variable"])
}

async fn mounts_config_maps(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&SECRETS)?, &["map"])
}

async fn reads_secrets(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&SECRETS)?, &["variable"])
}

async fn mounts_secrets(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&SECRETS)?, &["file"])
}

async fn mounts_claims(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&CLAIMED)?, &["mounted"])
}

async fn limits_memory(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&PLATFORM)?, &["limit"])
}

async fn labels_pods(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&PLATFORM)?, &["label"])
}

async fn is_executed_as_its_account(cx: &Cx) -> Outcome {
    part_succeeded(&cx.setup(&PLATFORM)?, &["account"])
}

async fn is_retried(cx: &Cx) -> Outcome {
    let seen: Retried = cx.setup(&RETRIED)?;
    ended(&seen.run, "FAILED")?;
    ensure!(
        (200..300).contains(&seen.answer),
        "the retry of a failed run was answered with {}",
        seen.answer
    );
    ensure_eq!(
        word(&seen.again, "run_id"),
        seen.run.id,
        "the id of the retried run"
    );
    ensure_eq!(
        word(&seen.again, "state"),
        "SUCCEEDED",
        "the final state of the retried run `{}`",
        seen.run.name()
    );
    Ok(())
}

async fn shows_tasks(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let run: Run = cx.setup(&INLINE)?;
    run.must_have_succeeded()?;
    let path = format!("/{}/{}", RUNS.path, run.id);
    let is_said = |detail: &&Value| {
        word(detail, "display_name") == "say" && word(detail, "state") == "SUCCEEDED"
    };
    let read = api
        .http
        .until(&path, "reconcile", "show its task as SUCCEEDED", |run| {
            Ok(items(&run["run_details"], "task_details").any(|detail| is_said(&detail)))
        })
        .await?;
    let details = items(&read["run_details"], "task_details");
    let time = |detail: &Value, key: &str| word(detail, key).parse::<jiff::Timestamp>().ok();
    for detail in details.filter(is_said) {
        let (start, end) = (time(detail, "start_time"), time(detail, "end_time"));
        ensure!(
            start.is_some() && start <= end,
            "task `say` ended ({}) before it began ({})",
            detail["end_time"],
            detail["start_time"]
        );
    }
    Ok(())
}

async fn reuses_cached_results(cx: &Cx) -> Outcome {
    let seen: Cached = cx.setup(&CACHED)?;
    seen.first.must_have_succeeded()?;
    part_succeeded(&seen.same, &["kept", "judge-kept"])
}

async fn runs_again_without_cache(cx: &Cx) -> Outcome {
    let seen: Cached = cx.setup(&CACHED)?;
    seen.first.must_have_succeeded()?;
    part_succeeded(&seen.same, &["fresh", "judge-fresh"])
}

async fn cache_minds_inputs(cx: &Cx) -> Outcome {
    let seen: Cached = cx.setup(&CACHED)?;
    seen.first.must_have_succeeded()?;
    ended(&seen.other, "SUCCEEDED")
}
