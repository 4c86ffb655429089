//! The life of an experiment.

use std::collections::BTreeSet;

use super::{
    assignments, dry_patch,
    metrics::{JSON, SILENT, TEXT},
    names, number,
    runs::{DELETED, FAILING, GOAL, GRID, Observed, RANDOM, RESTARTED, RUNNING, WIDENED, active},
    sorted,
};
use crate::checks::{
    kube::{accepted, refused},
    prelude::*,
};

requirement_checks! {
    "katib/experiment/reaches-max-trials" => reaches_max_trials, needs [&RANDOM];
    "katib/experiment/counts-trials" => counts_trials, needs [&RANDOM];
    "katib/experiment/names-optimal-trial" => names_optimal_trial, needs [&RANDOM];
    "katib/experiment/stays-in-feasible-space" => stays_in_feasible_space, needs [&RANDOM];
    "katib/experiment/respects-parallelism" => respects_parallelism, needs [&RANDOM];
    "katib/experiment/never-restarts" => never_restarts, needs [&JSON];
    "katib/experiment/reaches-goal" => reaches_goal, needs [&GOAL];
    "katib/experiment/fails-over-budget" => fails_over_budget, needs [&FAILING];
    "katib/experiment/searches-grid" => searches_grid, needs [&GRID];
    "katib/experiment/restarts" => restarts, needs [&RESTARTED];
    "katib/experiment/edits-while-running" => edits_while_running, needs [&RUNNING];
    "katib/experiment/follows-parallelism" => follows_parallelism, needs [&WIDENED];
    "katib/experiment/cleans-up" => cleans_up, needs [&DELETED];
    "katib/experiment/measures-by-strategy" => measures_by_strategy, needs [&TEXT];
    "katib/experiment/counts-unavailable" => counts_unavailable, needs [&SILENT];
}

/// The experiment ended as Succeeded for that reason, and says so consistently.
fn ended(seen: &Observed, reason: &str) -> Outcome {
    let experiment = &seen.experiment;
    let why = &condition_of(experiment, "Succeeded")["reason"];
    ensure_eq!(*why, reason, "the reason of condition Succeeded");
    ensure_eq!(
        condition(experiment, "Created"),
        "True",
        "condition Created"
    );
    ensure_eq!(
        condition(experiment, "Running"),
        "False",
        "condition Running of an experiment that is done"
    );
    Ok(())
}

/// All trials ran, so it is done, and says when it began and ended.
pub async fn reaches_max_trials(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    ended(&seen, "ExperimentMaxTrialsReached")?;
    let time = |key: &str| seen.status()[key].as_str().unwrap_or_default().to_owned();
    let (started, completed) = (time("startTime"), time("completionTime"));
    ensure!(
        !started.is_empty(),
        "an experiment that is done has no status.startTime"
    );
    // Both are RFC 3339 in UTC to the second, so that their texts compare as their times do.
    ensure!(
        completed >= started,
        "status.completionTime `{completed}` is before status.startTime `{started}`"
    );
    Ok(())
}

/// The counters and the list of names agree with the trials that exist.
pub async fn counts_trials(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    let status = seen.status();
    ensure_eq!(
        seen.trials.len(),
        4,
        "the number of trials of an experiment with maxTrialCount 4"
    );
    ensure_eq!(status["trials"], 4, "status.trials");
    ensure_eq!(status["trialsSucceeded"], 4, "status.trialsSucceeded");
    ensure_eq!(
        active(status),
        0,
        "the number of trials under way when the experiment is done"
    );
    ensure_eq!(
        sorted(&status["succeededTrialList"]),
        names(&seen.trials),
        "status.succeededTrialList"
    );
    Ok(())
}

/// The trials print what they were given, so that the best one is the one that was given most.
pub async fn names_optimal_trial(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    let optimal = &seen.status()["currentOptimalTrial"];
    let rate = |list: &Value| {
        assignments(list)
            .get("lr")
            .and_then(|v| v.parse::<f64>().ok())
    };
    let best = seen
        .trials
        .iter()
        .filter_map(|trial| Some((rate(&trial["spec"]["parameterAssignments"])?, trial)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let Some((value, trial)) = best else {
        return Err(Stop::failed("no trial has a value for the parameter `lr`"));
    };
    ensure_eq!(
        optimal["bestTrialName"],
        name_of(trial),
        "the name of the optimal trial"
    );
    ensure_eq!(
        rate(&optimal["parameterAssignments"]),
        Some(value),
        "the value of `lr` of the optimal trial"
    );
    let metrics = optimal["observation"]["metrics"].as_array();
    let metric = metrics.into_iter().flatten().find(|m| m["name"] == "acc");
    ensure_eq!(
        metric.and_then(|m| number(&m["max"])),
        Some(value),
        "the maximum of `acc` that the optimal trial is known by"
    );
    Ok(())
}

/// No value lies outside of what was asked for, and a random search does not repeat itself.
pub async fn stays_in_feasible_space(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    let mut values = BTreeSet::new();
    for trial in &seen.trials {
        let given = assignments(&trial["spec"]["parameterAssignments"]);
        let text = given.get("lr").copied().unwrap_or_default();
        let inside = text
            .parse::<f64>()
            .is_ok_and(|v| (0.01..=0.05).contains(&v));
        ensure!(
            inside,
            "trial `{}` was given `{text}` for `lr`, which is not within 0.01 and 0.05",
            name_of(trial)
        );
        values.insert(text);
    }
    ensure!(
        values.len() > 1,
        "a random search gave all its trials the value {values:?}"
    );
    Ok(())
}

/// At no time were more trials under way than allowed.
pub async fn respects_parallelism(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    let most = seen.history.iter().map(active).max().unwrap_or_default();
    ensure!(
        most >= 1,
        "no state of the experiment showed a trial under way"
    );
    ensure!(
        most <= 2,
        "{most} trials were under way at a time with parallelTrialCount 2"
    );
    Ok(())
}

/// With `resumePolicy: Never` what is done stays done; its labels may still change.
pub async fn never_restarts(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&JSON)?;
    let label = json!({"metadata": {"labels": {"shade": "green"}}});
    let answer = dry_patch(cx, &EXPERIMENT, seen.name(), "", &label).await?;
    accepted(&answer, "a label for an experiment that is done")?;
    let raise = json!({"spec": {"maxTrialCount": 6}});
    let answer = dry_patch(cx, &EXPERIMENT, seen.name(), "", &raise).await?;
    refused(
        &answer,
        "a higher maxTrialCount for an experiment that is done and has resumePolicy Never",
    )
}

/// The first trial's minimum meets the goal, so that nineteen others are never made.
pub async fn reaches_goal(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&GOAL)?;
    ended(&seen, "ExperimentGoalReached")?;
    let trials = seen.trials.len();
    ensure!(
        trials < 20,
        "an experiment that reached its goal at its first trial ran all {trials}"
    );
    let optimal = &seen.status()["currentOptimalTrial"];
    let best = optimal["bestTrialName"].as_str().unwrap_or_default();
    ensure!(
        names(&seen.trials).contains(&best),
        "the optimal trial `{best}` is none of the experiment's trials"
    );
    let metrics = optimal["observation"]["metrics"].as_array();
    let loss = metrics.into_iter().flatten().find(|m| m["name"] == "loss");
    let value = loss.and_then(|m| number(&m["min"]));
    ensure!(
        value.is_some_and(|v| v <= 0.4),
        "the optimal trial of an experiment with goal 0.4 is known by a minimum of {value:?}"
    );
    Ok(())
}

/// Two trials failed, which is what the budget allows, and then it is over.
pub async fn fails_over_budget(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FAILING)?;
    let experiment = &seen.experiment;
    ensure_eq!(
        condition(experiment, "Failed"),
        "True",
        "condition Failed of an experiment whose trials all fail"
    );
    let failed = condition_of(experiment, "Failed");
    ensure_eq!(
        failed["reason"],
        "ExperimentFailed",
        "the reason of condition Failed"
    );
    ensure_eq!(
        seen.status()["trialsFailed"],
        2,
        "status.trialsFailed with maxFailedTrialCount 2"
    );
    for trial in &seen.trials {
        ensure_eq!(
            condition(trial, "Failed"),
            "True",
            "condition Failed of trial `{}`",
            name_of(trial)
        );
    }
    Ok(())
}

/// Each of the four combinations was tried once.
pub async fn searches_grid(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&GRID)?;
    let tried = seen.trials.iter().map(|trial| {
        let given = assignments(&trial["spec"]["parameterAssignments"]);
        let of = |name: &str| given.get(name).copied().unwrap_or_default().to_owned();
        (of("units"), of("tens"))
    });
    let mut tried: Vec<(String, String)> = tried.collect();
    tried.sort_unstable();
    let all = [("1", "10"), ("1", "20"), ("2", "10"), ("2", "20")];
    let all = all.map(|(units, tens)| (units.to_owned(), tens.to_owned()));
    ensure_eq!(tried, all, "what a grid of [1, 2] and [10, 20] tried");
    Ok(())
}

/// A `LongRunning` experiment that is done goes on when it may try more.
pub async fn restarts(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RESTARTED)?;
    ended(&seen, "ExperimentMaxTrialsReached")?;
    ensure_eq!(
        seen.trials.len(),
        2,
        "the number of trials after maxTrialCount was raised from 1 to 2"
    );
    ensure_eq!(
        seen.status()["trialsSucceeded"],
        2,
        "status.trialsSucceeded after the restart"
    );
    Ok(())
}

/// The three counts may change while it runs, what it searches may not.
pub async fn edits_while_running(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RUNNING)?;
    for field in ["maxTrialCount", "maxFailedTrialCount", "labels"] {
        accepted(
            &seen.answers[field],
            &format!("another value for {field} of a running experiment"),
        )?;
    }
    for field in ["algorithm", "objective", "parameters"] {
        refused(
            &seen.answers[field],
            &format!("another value for spec.{field} of a running experiment"),
        )?;
    }
    Ok(())
}

/// A second trial joined the first one.
pub async fn follows_parallelism(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&WIDENED)?;
    let most = seen.history.iter().map(active).max().unwrap_or_default();
    ensure!(
        most >= 2,
        "{most} trials were under way after parallelTrialCount was raised to 2"
    );
    Ok(())
}

/// The set-up saw everything of it go.
pub async fn cleans_up(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&DELETED)?;
    ensure!(
        seen["trials"].as_u64() >= Some(1),
        "the deleted experiment had no trials"
    );
    Ok(())
}

/// The objective counts by its latest value, 0.3: that it was 0.9 before does not reach the goal of 0.8.
pub async fn measures_by_strategy(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&TEXT)?;
    let trial = names(&seen.trials).first().copied().unwrap_or_default();
    ensure_eq!(
        seen.status()["currentOptimalTrial"]["bestTrialName"],
        trial,
        "the name of the optimal trial"
    );
    ended(&seen, "ExperimentMaxTrialsReached")
}

/// A trial without metrics counts as such, and against the budget of failures.
pub async fn counts_unavailable(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&SILENT)?;
    let status = seen.status();
    ensure_eq!(
        status["trialMetricsUnavailable"],
        1,
        "status.trialMetricsUnavailable"
    );
    ensure_eq!(
        sorted(&status["metricsUnavailableTrialList"]),
        names(&seen.trials),
        "status.metricsUnavailableTrialList"
    );
    ensure_eq!(
        condition_of(&seen.experiment, "Failed")["reason"],
        "ExperimentFailed",
        "the reason of condition Failed of an experiment that may have one failed trial"
    );
    Ok(())
}
