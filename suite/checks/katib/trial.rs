//! Trials: what they run, what they are known by, what becomes of them.

use super::{
    EXPERIMENT_LABEL, assignments, controlled_by, names, number,
    runs::{BOTH, GOAL, Observed, RANDOM, TEMPLATE},
};
use crate::checks::prelude::*;

requirement_checks! {
    "katib/trial/belongs-to-experiment" => belongs_to_experiment, needs [&RANDOM];
    "katib/trial/runs-its-job" => runs_its_job, needs [&RANDOM];
    "katib/trial/substitutes-parameters" => substitutes_parameters, needs [&RANDOM];
    "katib/trial/substitutes-metadata" => substitutes_metadata, needs [&RANDOM];
    "katib/trial/succeeds" => succeeds, needs [&RANDOM];
    "katib/trial/observes-metrics" => observes_metrics, needs [&GOAL];
    "katib/trial/observes-additional-metrics" => observes_additional_metrics, needs [&GOAL];
    "katib/trial/retains-job" => retains_job, needs [&RANDOM];
    "katib/trial/removes-job" => removes_job, needs [&GOAL];
    "katib/trial/reads-config-map" => reads_config_map, needs [&TEMPLATE];
    "katib/trial/evaluates-failure-first" => evaluates_failure_first, needs [&BOTH];
}

/// By label, so that it is found, and by owner, so that it goes with it.
pub async fn belongs_to_experiment(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    // The set-up listed them by the label: where that is missing there are none.
    ensure!(
        !seen.trials.is_empty(),
        "no trial carries the label {EXPERIMENT_LABEL}={}",
        seen.name()
    );
    for trial in &seen.trials {
        ensure_eq!(
            controlled_by(trial, "Experiment"),
            Some(seen.name()),
            "the Experiment that controls trial `{}`",
            name_of(trial)
        );
    }
    Ok(())
}

/// The container that a Job runs.
fn container(job: &Value) -> &Value {
    &job["spec"]["template"]["spec"]["containers"][0]
}

/// A value of the container's environment.
fn env<'a>(job: &'a Value, name: &str) -> &'a str {
    let list = container(job)["env"].as_array();
    let found = list.into_iter().flatten().find(|e| e["name"] == name);
    found.and_then(|e| e["value"].as_str()).unwrap_or_default()
}

/// The trials of an experiment with their Jobs.
fn jobs(seen: &Observed) -> Outcome<Vec<(&Value, &Value)>> {
    let find = |trial: &Value| seen.jobs.iter().find(|job| name_of(job) == name_of(trial));
    seen.trials
        .iter()
        .map(|trial| {
            let job = find(trial).ok_or_else(|| {
                Stop::CouldNotRun(
                    CouldNotRun::SetupFailed,
                    format!("trial `{}` has no Job of its name", name_of(trial)),
                )
            });
            Ok((trial, job?))
        })
        .collect()
}

/// The Job has the trial's name and is controlled by it.
pub async fn runs_its_job(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    for (trial, job) in jobs(&seen)? {
        ensure_eq!(
            controlled_by(job, "Trial"),
            Some(name_of(trial)),
            "the Trial that controls Job `{}`",
            name_of(job)
        );
    }
    Ok(())
}

/// The Job's arguments hold the value that the trial was given, and no placeholder is left.
pub async fn substitutes_parameters(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    for (trial, job) in jobs(&seen)? {
        let given = assignments(&trial["spec"]["parameterAssignments"]);
        let value = given.get("lr").copied().unwrap_or_default();
        let command = container(job)["command"].as_array();
        let last = command.and_then(|c| c.last()).and_then(Value::as_str);
        ensure_eq!(
            last,
            Some(value),
            "the last argument of Job `{}`",
            name_of(job)
        );
        ensure!(
            !job["spec"].to_string().contains("${trialParameters."),
            "Job `{}` still has a placeholder",
            name_of(job)
        );
    }
    Ok(())
}

/// References to the trial's own metadata became its values.
pub async fn substitutes_metadata(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    for (trial, job) in jobs(&seen)? {
        for (variable, reference, value) in [
            ("TRIAL", "Name", name_of(trial)),
            ("HOME_NAMESPACE", "Namespace", cx.namespace()),
            ("KIND", "Kind", "Job"),
            ("VERSION", "APIVersion", "batch/v1"),
            ("SHADE", "Labels[shade]", "green"),
            ("WEIGHT", "Annotations[weight]", "light"),
        ] {
            ensure_eq!(
                env(job, variable),
                value,
                "what ${{trialSpec.{reference}}} became in Job `{}`",
                name_of(job)
            );
        }
    }
    Ok(())
}

/// Each trial says that it was created and how it ended.
pub async fn succeeds(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    for trial in &seen.trials {
        let name = name_of(trial);
        ensure_eq!(
            condition(trial, "Created"),
            "True",
            "condition Created of trial `{name}`"
        );
        ensure_eq!(
            condition(trial, "Succeeded"),
            "True",
            "condition Succeeded of trial `{name}`"
        );
        ensure_eq!(
            condition(trial, "Running"),
            "False",
            "condition Running of trial `{name}`, which is done"
        );
        let time = &trial["status"]["completionTime"];
        ensure!(
            time.is_string(),
            "trial `{name}` is done and has no status.completionTime"
        );
    }
    Ok(())
}

/// What is known of a metric of the trials: minimum, maximum, latest.
pub(super) fn observed(seen: &Observed, metric: &str, expected: [f64; 3]) -> Outcome {
    let trial = seen
        .trials
        .iter()
        .find(|t| condition(t, "Succeeded") == "True");
    let Some(trial) = trial else {
        return Err(Stop::failed("no trial succeeded"));
    };
    let metrics = trial["status"]["observation"]["metrics"].as_array();
    let Some(found) = metrics.into_iter().flatten().find(|m| m["name"] == metric) else {
        return Err(Stop::failed(format!(
            "trial `{}` has no observation of `{metric}`",
            name_of(trial)
        )));
    };
    for (key, value) in ["min", "max", "latest"].into_iter().zip(expected) {
        ensure_eq!(
            number(&found[key]),
            Some(value),
            "{key} of `{metric}` of trial `{}`",
            name_of(trial)
        );
    }
    Ok(())
}

/// The objective's metric: it printed 0.7, 0.3, 0.5.
pub async fn observes_metrics(cx: &Cx) -> Outcome {
    observed(&cx.setup(&GOAL)?, "loss", [0.3, 0.7, 0.5])
}

/// An additional metric: it printed 0.1, 0.2, 0.4.
pub async fn observes_additional_metrics(cx: &Cx) -> Outcome {
    observed(&cx.setup(&GOAL)?, "acc", [0.1, 0.4, 0.4])
}

/// With `retain` the Jobs of trials that are done stay.
pub async fn retains_job(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    ensure_eq!(
        names(&seen.jobs),
        names(&seen.trials),
        "the Jobs of an experiment with retain"
    );
    Ok(())
}

/// Without it they go.
pub async fn removes_job(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&GOAL)?;
    for trial in &seen.trials {
        cx.until_gone(&JOB, name_of(trial), "gone").await?;
    }
    Ok(())
}

/// The template of a ConfigMap becomes the Job, with the value put in.
pub async fn reads_config_map(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&TEMPLATE)?;
    let Some((trial, job)) = jobs(&seen)?.into_iter().next() else {
        return Err(Stop::failed("the experiment has no trial"));
    };
    let given = assignments(&trial["spec"]["parameterAssignments"]);
    let command = container(job)["command"].as_array();
    let last = command.and_then(|c| c.last()).and_then(Value::as_str);
    ensure_eq!(
        last,
        given.get("lr").copied(),
        "the last argument of Job `{}`, whose template stands in a ConfigMap",
        name_of(job)
    );
    ensure_eq!(
        condition(trial, "Succeeded"),
        "True",
        "condition Succeeded of trial `{}`",
        name_of(trial)
    );
    Ok(())
}

/// A Job of which both conditions hold has failed.
pub async fn evaluates_failure_first(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&BOTH)?;
    let Some(trial) = seen.trials.first() else {
        return Err(Stop::failed("the experiment has no trial"));
    };
    ensure_eq!(
        condition(trial, "Failed"),
        "True",
        "condition Failed of trial `{}`, of whose Job both conditions hold",
        name_of(trial)
    );
    Ok(())
}
