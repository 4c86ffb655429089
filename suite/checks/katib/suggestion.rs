//! Suggestions: what an experiment asks of its algorithm.

use super::{
    assignments, controlled_by,
    metrics::{FILTERED, JSON, given},
    names,
    runs::{Observed, RANDOM, RESTARTED, RUNNING, service_name},
};
use crate::checks::prelude::*;

requirement_checks! {
    "katib/suggestion/belongs-to-experiment" => belongs_to_experiment, needs [&RUNNING];
    "katib/suggestion/serves" => serves, needs [&RUNNING];
    "katib/suggestion/counts" => counts, needs [&RANDOM];
    "katib/suggestion/names-trials" => names_trials, needs [&RANDOM];
    "katib/suggestion/ends-with-experiment" => ends_with_experiment, needs [&JSON];
    "katib/suggestion/stays-for-restarts" => stays_for_restarts, needs [&RESTARTED];
    "katib/suggestion/draws-integers" => draws_integers, needs [&FILTERED];
    "katib/suggestion/draws-from-lists" => draws_from_lists, needs [&FILTERED];
    "katib/suggestion/draws-log-uniform" => draws_log_uniform, needs [&FILTERED];
}

/// It has the experiment's name, algorithm and owner.
pub async fn belongs_to_experiment(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RUNNING)?;
    let suggestion = &seen.suggestion;
    ensure_eq!(
        name_of(suggestion),
        seen.name(),
        "the name of the Suggestion"
    );
    ensure_eq!(
        controlled_by(suggestion, "Experiment"),
        Some(seen.name()),
        "the Experiment that controls the Suggestion"
    );
    ensure_eq!(
        suggestion["spec"]["algorithm"]["algorithmName"],
        "random",
        "the algorithm of the Suggestion"
    );
    Ok(())
}

/// While the experiment runs the algorithm's Deployment and Service are there, and the Suggestion says so.
pub async fn serves(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RUNNING)?;
    let name = service_name(&seen.experiment);
    ensure!(
        seen.served.0,
        "Deployment `{name}` of the algorithm does not exist while its experiment runs"
    );
    ensure!(
        seen.served.1,
        "Service `{name}` of the algorithm does not exist while its experiment runs"
    );
    for kind in ["Created", "DeploymentReady", "Running"] {
        ensure_eq!(
            condition(&seen.suggestion, kind),
            "True",
            "condition {kind} of a Suggestion that serves"
        );
    }
    Ok(())
}

/// As many were asked for, and given, as there are trials.
pub async fn counts(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    let (spec, status) = (&seen.suggestion["spec"], &seen.suggestion["status"]);
    ensure_eq!(
        spec["requests"],
        4,
        "spec.requests of the Suggestion of four trials"
    );
    ensure_eq!(
        status["suggestionCount"],
        4,
        "status.suggestionCount of the Suggestion of four trials"
    );
    Ok(())
}

/// Each suggestion is the trial of its name, with its values.
pub async fn names_trials(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    let list = seen.suggestion["status"]["suggestions"].as_array();
    let list: Vec<&Value> = list.into_iter().flatten().collect();
    let mut suggested: Vec<&str> = list.iter().filter_map(|s| s["name"].as_str()).collect();
    suggested.sort_unstable();
    ensure_eq!(
        suggested,
        names(&seen.trials),
        "the names of the suggestions"
    );
    for trial in &seen.trials {
        let name = name_of(trial);
        let suggestion = list.iter().find(|s| s["name"] == name);
        ensure_eq!(
            assignments(&trial["spec"]["parameterAssignments"]),
            suggestion
                .map(|s| assignments(&s["parameterAssignments"]))
                .unwrap_or_default(),
            "the values of trial `{name}`"
        );
    }
    Ok(())
}

/// With `resumePolicy: Never` nothing of the algorithm stays when the experiment is done.
pub async fn ends_with_experiment(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&JSON)?;
    let ends = |s: &Value| condition(s, "Succeeded") == "True";
    cx.until(
        &SUGGESTION,
        seen.name(),
        "reconcile",
        "end with its experiment",
        ends,
    )
    .await?;
    let name = service_name(&seen.experiment);
    cx.until_gone(&DEPLOYMENT, &name, "gone").await?;
    cx.until_gone(&SERVICE, &name, "gone").await
}

/// With `resumePolicy: LongRunning` the algorithm keeps serving.
pub async fn stays_for_restarts(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RESTARTED)?;
    let name = service_name(&seen.experiment);
    ensure_eq!(
        condition(&seen.suggestion, "Running"),
        "True",
        "condition Running of the Suggestion of a LongRunning experiment that is done"
    );
    let deployment = cx.need(&DEPLOYMENT, &name).await?;
    ensure!(
        deployment["metadata"]["deletionTimestamp"].is_null(),
        "Deployment `{name}` of a LongRunning experiment is being deleted"
    );
    cx.need(&SERVICE, &name).await.map(drop)
}

/// Whole numbers, within their bounds and on their steps.
pub async fn draws_integers(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FILTERED)?;
    for (name, allowed) in [("units", vec![1, 2, 3, 4]), ("even", vec![2, 4, 6, 8, 10])] {
        for (trial, text) in given(&seen, name)? {
            ensure!(
                text.parse()
                    .is_ok_and(|value: i64| allowed.contains(&value)),
                "trial `{trial}` was given {text} for the int `{name}`, which may be one of {allowed:?}"
            );
        }
    }
    Ok(())
}

/// One of the values that are listed, as it is written there.
pub async fn draws_from_lists(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FILTERED)?;
    for (name, allowed) in [
        ("batch", &["16", "32", "64"][..]),
        ("optimizer", &["sgd", "adam"]),
    ] {
        for (trial, text) in given(&seen, name)? {
            ensure!(
                allowed.contains(&text),
                "trial `{trial}` was given {text} for `{name}`, which may be one of {allowed:?}"
            );
        }
    }
    Ok(())
}

/// The value itself, and not its logarithm, lies within the bounds.
pub async fn draws_log_uniform(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&FILTERED)?;
    for (trial, text) in given(&seen, "decay")? {
        let inside = |value: f64| (0.0001..=0.1).contains(&value);
        ensure!(
            text.parse().is_ok_and(inside),
            "trial `{trial}` was given {text} for `decay`, which lies between 0.0001 and 0.1"
        );
    }
    Ok(())
}
