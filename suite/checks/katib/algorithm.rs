//! The algorithms of Katib's documents beside `random` and `grid`, where a cluster has them.
//!
//! Whether it does is asked by a dry run: an Experiment with an algorithm that Katib is not configured for is refused.

use std::time::Duration;

use super::{
    EXPERIMENT_LABEL, base, changed,
    metrics::given,
    runs::{Observed, observe},
    trial_does,
};
use crate::checks::prelude::*;

requirement_checks! {
    "katib/algorithm/tpe" => tpe, needs [&IMAGE];
    "katib/algorithm/multivariate-tpe" => multivariate_tpe, needs [&IMAGE];
    "katib/algorithm/bayesian-optimization" => bayesian_optimization, needs [&IMAGE];
    "katib/algorithm/sobol" => sobol, needs [&IMAGE];
    "katib/algorithm/cmaes" => cmaes, needs [&IMAGE];
    "katib/algorithm/refuses-settings" => refuses_settings, needs [&IMAGE];
    "katib/algorithm/stops-early" => stops_early, needs [&IMAGE];
}

async fn tpe(cx: &Cx) -> Outcome {
    searches(cx, "tpe").await
}

async fn multivariate_tpe(cx: &Cx) -> Outcome {
    searches(cx, "multivariate-tpe").await
}

async fn bayesian_optimization(cx: &Cx) -> Outcome {
    searches(cx, "bayesianoptimization").await
}

async fn sobol(cx: &Cx) -> Outcome {
    searches(cx, "sobol").await
}

async fn cmaes(cx: &Cx) -> Outcome {
    searches(cx, "cmaes").await
}

/// The same experiment with an algorithm, if Katib is configured for it. With `random` it is taken in any case.
async fn with_algorithm(cx: &Cx, algorithm: &str, random: &Value) -> Outcome<Value> {
    cx.dry_run(&EXPERIMENT, random).await?;
    let experiment = with(random, "spec.algorithm.algorithmName", json!(algorithm));
    let answer = cx.try_dry_run(&EXPERIMENT, &experiment).await?;
    if answer.is_success() {
        return Ok(experiment);
    }
    Err(Stop::NotApplicable(
        NotApplicable::FeatureAbsent,
        format!(
            "Katib is not configured for `{algorithm}`: {}",
            answer.summary()
        ),
    ))
}

/// Two numbers are searched in two trials, within their bounds.
async fn searches(cx: &Cx, algorithm: &str) -> Outcome {
    const SPACE: [(&str, f64, f64); 2] = [("x", 0.25, 0.5), ("y", 2.0, 4.0)];
    let parameter = |(name, min, max): (&str, f64, f64)| {
        json!({
            "name": name, "parameterType": "double",
            "feasibleSpace": {"min": min.to_string(), "max": max.to_string()},
        })
    };
    let experiment = changed(
        &base(cx, "search")?,
        &json!({
            "spec.parameters": SPACE.map(parameter),
            "spec.trialTemplate.trialParameters": SPACE.map(|(name, ..)| json!({"name": name, "reference": name})),
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env": [
                {"name": "Y", "value": "${trialParameters.y}"},
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
        "${trialParameters.x}",
    ];
    let experiment = trial_does(&experiment, &arguments);
    let experiment = with_algorithm(cx, algorithm, &experiment).await?;
    let seen = ended(cx, &experiment).await?;
    ensure_eq!(
        condition(&seen.experiment, "Succeeded"),
        "True",
        "condition Succeeded of an experiment with `{algorithm}`"
    );
    ensure_eq!(seen.trials.len(), 2, "the number of trials");
    for (name, min, max) in SPACE {
        for (trial, text) in given(&seen, name)? {
            let inside = text
                .parse::<f64>()
                .is_ok_and(|value| (min..=max).contains(&value));
            ensure!(
                inside,
                "`{algorithm}` gave trial `{trial}` the value {text} for `{name}`, which lies between {min} and {max}"
            );
        }
    }
    Ok(())
}

/// `cmaes` needs two numbers to search, and has one: it says so, and the experiment fails instead of waiting for ever.
async fn refuses_settings(cx: &Cx) -> Outcome {
    let experiment = with_algorithm(cx, "cmaes", &base(cx, "search")?).await?;
    let seen = ended(cx, &experiment).await?;
    ensure_eq!(
        condition(&seen.experiment, "Failed"),
        "True",
        "condition Failed of an experiment that its algorithm cannot search"
    );
    ensure_eq!(
        condition(&seen.suggestion, "Failed"),
        "True",
        "condition Failed of its Suggestion"
    );
    ensure_eq!(seen.trials.len(), 0, "the number of its trials");
    Ok(())
}

/// What the trials measure is the time, and less is better: the second trial is worse than the first from its beginning.
async fn stops_early(cx: &Cx) -> Outcome {
    let experiment = changed(
        &base(cx, "search")?,
        &json!({
            "spec.objective": {"type": "minimize", "objectiveMetricName": "age"},
            "spec.maxFailedTrialCount": null,
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env": [
                {"name": "RATE", "value": "${trialParameters.lr}"},
            ],
        }),
    );
    let arguments = [
        "--await-collector",
        "--timestamps",
        "--sleep-ms",
        "1000",
        "--steps",
        "20",
        "--metric",
        "age",
        "--value",
        "now",
    ];
    let experiment = trial_does(&experiment, &arguments);
    cx.dry_run(&EXPERIMENT, &experiment).await?;
    let settings = [("min_trials_required", "1"), ("start_step", "1")];
    let early = json!({
        "algorithmName": "medianstop",
        "algorithmSettings": settings.map(|(name, value)| json!({"name": name, "value": value})),
    });
    let experiment = with(&experiment, "spec.earlyStopping", early);
    let answer = cx.try_dry_run(&EXPERIMENT, &experiment).await?;
    if !answer.is_success() {
        return Err(Stop::NotApplicable(
            NotApplicable::FeatureAbsent,
            format!(
                "Katib is not configured for `medianstop`: {}",
                answer.summary()
            ),
        ));
    }
    let seen = ended(cx, &experiment).await?;
    ensure_eq!(
        condition_of(&seen.experiment, "Succeeded")["reason"],
        "ExperimentMaxTrialsReached",
        "the reason of condition Succeeded"
    );
    ensure_eq!(
        seen.status()["trialsSucceeded"],
        1,
        "status.trialsSucceeded"
    );
    ensure_eq!(
        seen.status()["trialsEarlyStopped"],
        1,
        "status.trialsEarlyStopped"
    );
    let name = &seen.status()["earlyStoppedTrialList"][0];
    let trial = seen.trials.iter().find(|trial| *name == name_of(trial));
    ensure_eq!(
        trial.map(|trial| condition(trial, "EarlyStopped")),
        Some("True"),
        "condition EarlyStopped of trial {name}"
    );
    Ok(())
}

/// Makes an experiment and waits until it ended. That an algorithm's image cannot be pulled is nobody's failure here.
async fn ended(cx: &Cx, experiment: &Value) -> Outcome<Observed> {
    let name = cx.name("search");
    cx.create(&EXPERIMENT, experiment).await?;
    let until = cx.after("trial-finished");
    let mut wait = Duration::from_millis(500);
    loop {
        let seen = cx.need(&EXPERIMENT, &name).await?;
        if ["Failed", "Succeeded"]
            .iter()
            .any(|c| condition(&seen, c) == "True")
        {
            return observe(cx, &name, vec![]).await;
        }
        if let Some(why) = not_pulled(&cx.list(&POD, &format!("{EXPERIMENT_LABEL}={name}")).await?)
        {
            cx.delete(&EXPERIMENT, &name).await?;
            return Err(Stop::CouldNotRun(CouldNotRun::ImagePull, why));
        }
        if cx.now_ms() >= until {
            return Err(Stop::unlike(
                format!("Experiment `{name}` did not end in time (timeout `trial-finished`)"),
                "to end",
                seen["status"].to_string(),
            ));
        }
        cx.pause(wait).await;
        wait = (wait * 2).min(Duration::from_secs(2));
    }
}

/// The image of one of these pods that cannot be pulled, and why.
fn not_pulled(pods: &[Value]) -> Option<String> {
    let statuses = pods
        .iter()
        .filter_map(|pod| pod["status"]["containerStatuses"].as_array());
    statuses.flatten().find_map(|status| {
        let waiting = &status["state"]["waiting"];
        let reason = waiting["reason"].as_str()?;
        let stuck = matches!(
            reason,
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
        );
        stuck.then(|| {
            format!(
                "the algorithm's image `{}` cannot be pulled: {}",
                status["image"].as_str().unwrap_or_default(),
                waiting["message"].as_str().unwrap_or(reason)
            )
        })
    })
}
