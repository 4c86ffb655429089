//! Recurring runs that are due: when they start runs, when not, and how many.
//!
//! That nothing happens is never shown by waiting: another recurring run is the clock. When it has fired once more, what was
//! under way has come; when it has fired again, one of the same interval that may fire would have.

pub(super) mod setups;

use super::{api::word, setups::RECURRING};
use crate::checks::prelude::*;
use setups::Recurring;

requirement_checks! {
    "pipelines/recurring-run/fires-at-interval" => fires_at_interval, needs [&RECURRING];
    "pipelines/recurring-run/fires-by-cron" => fires_by_cron, needs [&RECURRING];
    "pipelines/recurring-run/names-itself-in-runs" => names_itself_in_runs, needs [&RECURRING];
    "pipelines/recurring-run/never-fires-when-created-disabled" => never_fires_when_created_disabled, needs [&RECURRING];
    "pipelines/recurring-run/stops-when-disabled" => stops_when_disabled, needs [&RECURRING];
    "pipelines/recurring-run/resumes-when-enabled" => resumes_when_enabled, needs [&RECURRING];
    "pipelines/recurring-run/stops-when-deleted" => stops_when_deleted, needs [&RECURRING];
    "pipelines/recurring-run/leaves-its-runs" => leaves_its_runs, needs [&RECURRING];
    "pipelines/recurring-run/bounds-concurrency" => bounds_concurrency, needs [&RECURRING];
    "pipelines/recurring-run/catches-up" => catches_up, needs [&RECURRING];
    "pipelines/recurring-run/skips-what-is-past" => skips_what_is_past, needs [&RECURRING];
}

/// Stops where nothing can be said, since the clock did not go on.
fn clock_went_on(seen: &Recurring) -> Outcome {
    if seen.clock_went_on {
        return Ok(());
    }
    Err(Stop::CouldNotRun(
        CouldNotRun::SetupFailed,
        "the recurring run that is the clock did not fire often enough, which another check judges"
            .to_owned(),
    ))
}

async fn fires_at_interval(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    ensure!(
        seen.clock.len() >= 3,
        "a recurring run with an interval of 60 s started {} runs in the time of three and more",
        seen.clock.len()
    );
    let mut times: Vec<i64> = seen
        .clock
        .iter()
        .filter_map(|run| word(run, "created_at").parse::<jiff::Timestamp>().ok())
        .map(jiff::Timestamp::as_second)
        .collect();
    times.sort_unstable();
    ensure_eq!(
        times.len(),
        seen.clock.len(),
        "the number of its runs that say when they were created"
    );
    // Those who start the runs look every few seconds only.
    for pair in times.windows(2) {
        let between = pair[1] - pair[0];
        ensure!(
            between >= 30,
            "two runs of a recurring run with an interval of 60 s were created {between} s apart"
        );
    }
    Ok(())
}

async fn fires_by_cron(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    ensure!(
        seen.cron > 0,
        "a recurring run with the cron expression `0 * * * * *`, each full minute, started no run in more than a minute"
    );
    Ok(())
}

async fn names_itself_in_runs(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    clock_went_on(&seen)?;
    for run in &seen.clock {
        ensure_eq!(
            word(run, "recurring_run_id"),
            seen.clock_id,
            "`recurring_run_id` of a run that a recurring run started"
        );
        ensure_eq!(
            word(run, "experiment_id"),
            seen.experiment,
            "`experiment_id` of a run that a recurring run started"
        );
    }
    Ok(())
}

async fn never_fires_when_created_disabled(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    clock_went_on(&seen)?;
    ensure_eq!(
        seen.disabled,
        0,
        "the number of runs of a recurring run that was created disabled"
    );
    Ok(())
}

async fn stops_when_disabled(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    clock_went_on(&seen)?;
    let (before, after) = seen.stopped;
    ensure!(
        before > 0,
        "the recurring run that was to be disabled started no run before"
    );
    ensure_eq!(
        after,
        before,
        "the number of runs of a recurring run that was disabled, an interval later"
    );
    Ok(())
}

async fn resumes_when_enabled(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    clock_went_on(&seen)?;
    ensure!(
        seen.resumed > seen.stopped.1,
        "a recurring run that was enabled again started no run ({} before, {} after)",
        seen.stopped.1,
        seen.resumed
    );
    Ok(())
}

async fn stops_when_deleted(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    clock_went_on(&seen)?;
    let (before, after) = seen.deleted;
    ensure!(
        before > 0,
        "the recurring run that was to be deleted started no run before"
    );
    ensure!(
        after <= before,
        "a recurring run started {} runs after it was deleted",
        after - before
    );
    Ok(())
}

async fn leaves_its_runs(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    clock_went_on(&seen)?;
    ensure!(
        seen.deleted.0 > 0,
        "the recurring run that was to be deleted started no run before"
    );
    ensure_eq!(
        seen.run_of_deleted,
        200,
        "the status of GET of a run whose recurring run was deleted"
    );
    Ok(())
}

async fn bounds_concurrency(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    clock_went_on(&seen)?;
    ensure_eq!(
        seen.bounded,
        1,
        "the number of runs of a recurring run with `max_concurrency` 1 whose first run still runs"
    );
    Ok(())
}

async fn catches_up(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    // The first or the last may be lost at the edges of the window.
    ensure!(
        (4..=6).contains(&seen.caught_up),
        "a recurring run whose window of five intervals is past started {} runs",
        seen.caught_up
    );
    Ok(())
}

async fn skips_what_is_past(cx: &Cx) -> Outcome {
    let seen: Recurring = cx.setup(&RECURRING)?;
    ensure_eq!(
        seen.skipped,
        1,
        "the number of runs of a recurring run with `no_catchup` whose window of five intervals is past"
    );
    Ok(())
}
