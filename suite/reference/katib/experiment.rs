//! The experiment controller: trials are made of suggestions until the experiment is done.

use serde_json::{Value, json};

use super::{
    super::kube::{ApiError, Key, Next, World, owner},
    EXPERIMENT_LABEL, EXPERIMENTS, SUGGESTIONS_KIND, TRIALS, conditions, drop_key, template, text,
    validation::{is_completed, is_restartable},
    write_status,
};

/// The finalizer by which Katib counts deletions.
const FINALIZER: &str = "update-prometheus-metrics";

/// One look at an experiment.
pub(super) async fn reconcile(world: World, key: Key) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(was) = world.find(&EXPERIMENTS, namespace, name) else {
        return Ok(Next::Wait);
    };
    if !was["metadata"]["deletionTimestamp"].is_null() {
        if world.has_fault("katib/experiment/cleans-up")
            && world.find(&SUGGESTIONS_KIND, namespace, name).is_some()
        {
            let orphan = json!({"metadata": {"ownerReferences": null}});
            world
                .patch_merge(&SUGGESTIONS_KIND, namespace, name, orphan)
                .await?;
        }
        world
            .remove_finalizer(&EXPERIMENTS, namespace, name, FINALIZER)
            .await?;
        return Ok(Next::Wait);
    }
    world
        .add_finalizer(&EXPERIMENTS, namespace, name, FINALIZER)
        .await?;
    let was = world.get(&EXPERIMENTS, namespace, name)?;
    let mut experiment = (*was).clone();
    let now = world.stamp();
    if is_completed(&experiment) {
        let stays = experiment["spec"]["resumePolicy"] == "LongRunning";
        let again = experiment["status"]["trials"].as_i64() > Some(1);
        if !stays || (again && world.has_fault("katib/suggestion/stays-for-restarts")) {
            end_suggestion(&world, &experiment).await?;
        }
        if world.has_fault("katib/suggestion/names-trials") {
            misname_suggestions(&world, &experiment).await?;
        }
        let trials = experiment["status"]["trials"].as_i64().unwrap_or(0);
        let more = experiment["spec"]["maxTrialCount"]
            .as_i64()
            .is_none_or(|max| max > trials);
        if is_restartable(&experiment) && more && trials != 0 {
            restart(&world, &mut experiment, &now);
        } else if experiment["status"]["trialsRunning"].as_i64().unwrap_or(0) == 0 {
            return Ok(Next::Wait);
        }
    }
    if conditions::is(&experiment, "Created") {
        drop_null(&mut experiment["status"], "completionTime");
        progress(&world, &mut experiment, &now).await?;
    } else {
        experiment["status"] = json!({
            "startTime": now, "completionTime": null, "currentOptimalTrial": {"observation": {}},
        });
        let message = "Experiment is created";
        conditions::set(
            &mut experiment,
            "Created",
            "True",
            "ExperimentCreated",
            message,
            &now,
        );
    }
    write_status(&world, &was, experiment).await?;
    Ok(Next::Wait)
}

fn drop_null(object: &mut Value, key: &str) {
    if object[key].is_null() {
        drop_key(object, key);
    }
}

fn restart(world: &World, experiment: &mut Value, now: &str) {
    conditions::remove(experiment, "Succeeded");
    if world.has_fault("katib/experiment/restarts") {
        let message = "Experiment can not be restarted";
        conditions::set(
            experiment,
            "Failed",
            "True",
            "ExperimentFailed",
            message,
            now,
        );
        return;
    }
    let message = "Experiment is restarted";
    conditions::set(
        experiment,
        "Restarting",
        "True",
        "ExperimentRestarting",
        message,
        now,
    );
}

/// The trials of an experiment, by name.
fn trials_of(world: &World, experiment: &Value) -> Vec<Value> {
    let namespace = text(experiment, "namespace");
    let all = world.list(&TRIALS, Some(namespace));
    all.iter()
        .filter(|t| t["metadata"]["labels"][EXPERIMENT_LABEL] == experiment["metadata"]["name"])
        .map(|t| (**t).clone())
        .collect()
}

async fn progress(world: &World, experiment: &mut Value, now: &str) -> Result<(), ApiError> {
    let trials = trials_of(world, experiment);
    if !trials.is_empty() {
        let goal_reached = summarize(world, experiment, &trials);
        if !is_completed(experiment) {
            judge(world, experiment, goal_reached, now);
        }
    }
    if is_completed(experiment) {
        return Ok(());
    }
    let count = |key: &str| experiment["status"][key].as_i64().unwrap_or(0);
    let mut parallel = experiment["spec"]["parallelTrialCount"]
        .as_i64()
        .unwrap_or(3);
    if parallel > 1 && world.has_fault("katib/experiment/respects-parallelism") {
        parallel += 1;
    }
    let active = count("trialsPending") + count("trialsRunning");
    let completed = count("trialsSucceeded")
        + count("trialsFailed")
        + count("trialsKilled")
        + count("trialsEarlyStopped");
    if active > parallel {
        return remove_newest(world, trials, active - parallel).await;
    }
    let required = experiment["spec"]["maxTrialCount"]
        .as_i64()
        .map_or(parallel, |max| parallel.min(max - completed));
    if required > active {
        add(world, experiment, &trials, required - active, now).await?;
    }
    Ok(())
}

/// Where a trial stands: the name of the experiment's counter and of its list.
fn standing(trial: &Value) -> (&'static str, &'static str) {
    let is = |kind: &str| conditions::is(trial, kind);
    if is("Killed") {
        ("trialsKilled", "killedTrialList")
    } else if is("Failed") {
        ("trialsFailed", "failedTrialList")
    } else if is("Succeeded") {
        ("trialsSucceeded", "succeededTrialList")
    } else if is("EarlyStopped") {
        ("trialsEarlyStopped", "earlyStoppedTrialList")
    } else if is("Running") {
        ("trialsRunning", "runningTrialList")
    } else if is("MetricsUnavailable") {
        ("trialMetricsUnavailable", "metricsUnavailableTrialList")
    } else {
        ("trialsPending", "pendingTrialList")
    }
}

const STANDINGS: [(&str, &str); 7] = [
    ("trialsKilled", "killedTrialList"),
    ("trialsFailed", "failedTrialList"),
    ("trialsSucceeded", "succeededTrialList"),
    ("trialsEarlyStopped", "earlyStoppedTrialList"),
    ("trialsRunning", "runningTrialList"),
    ("trialMetricsUnavailable", "metricsUnavailableTrialList"),
    ("trialsPending", "pendingTrialList"),
];

/// Writes counters, lists and the optimal trial into the status; says whether the goal is reached.
fn summarize(world: &World, experiment: &mut Value, trials: &[Value]) -> bool {
    let objective = experiment["spec"]["objective"].clone();
    let minimize = objective["type"] == "minimize";
    let goal = objective["goal"].as_f64();
    let inverted = world.has_fault("katib/experiment/names-optimal-trial");
    let status = &mut experiment["status"];
    status["trials"] = json!(trials.len());
    for (counter, list) in STANDINGS {
        let of = trials.iter().filter(|t| standing(t).0 == counter);
        let mut names: Vec<&str> = of.map(|t| text(t, "name")).collect();
        drop_key(status, counter);
        drop_key(status, list);
        if names.is_empty() {
            continue;
        }
        status[counter] = json!(names.len());
        if counter == "trialsSucceeded" && world.has_fault("katib/experiment/counts-trials") {
            names.pop();
        }
        status[list] = json!(names);
    }
    let mut best: Option<(f64, &Value)> = None;
    let mut reached = false;
    for trial in trials {
        let best_of_all = world.has_fault("katib/experiment/measures-by-strategy");
        let Some(value) = objective_value(trial, best_of_all) else {
            continue;
        };
        let better = best.is_none_or(|(old, _)| {
            if minimize == inverted {
                value > old
            } else {
                value < old
            }
        });
        if better {
            best = Some((value, trial));
        }
        reached |= goal.is_some_and(|goal| {
            if minimize {
                value <= goal
            } else {
                value >= goal
            }
        });
    }
    if let Some((_, trial)) = best {
        status["currentOptimalTrial"] = json!({
            "bestTrialName": trial["metadata"]["name"],
            "parameterAssignments": trial["spec"]["parameterAssignments"],
            "observation": {"metrics": trial["status"]["observation"]["metrics"]},
        });
    }
    reached
}

/// The value of the objective's metric of a trial, by the metric's strategy.
fn objective_value(trial: &Value, best_of_all: bool) -> Option<f64> {
    let objective = &trial["spec"]["objective"];
    let name = &objective["objectiveMetricName"];
    let find = |list: &Value| -> Option<Value> {
        list.as_array()?
            .iter()
            .find(|m| m["name"] == *name)
            .cloned()
    };
    let strategy = find(&objective["metricStrategies"])?;
    let metric = find(&trial["status"]["observation"]["metrics"])?;
    let strategy = match strategy["value"].as_str()? {
        "latest" if best_of_all && objective["type"] == "maximize" => "max",
        strategy => strategy,
    };
    let value = &metric[strategy];
    let value = if value == "unavailable" {
        &metric["latest"]
    } else {
        value
    };
    value.as_str()?.parse().ok()
}

/// Sets the condition that the counters call for.
fn judge(world: &World, experiment: &mut Value, goal_reached: bool, now: &str) {
    let count = |key: &str| experiment["status"][key].as_i64().unwrap_or(0);
    let limit = |key: &str| experiment["spec"][key].as_i64();
    let unavailable = count("trialMetricsUnavailable");
    let completed = unavailable
        + count("trialsFailed")
        + count("trialsSucceeded")
        + count("trialsKilled")
        + count("trialsEarlyStopped");
    let failed = if world.has_fault("katib/experiment/counts-unavailable") {
        count("trialsFailed")
    } else {
        count("trialsFailed") + unavailable
    };
    let mut budget = limit("maxFailedTrialCount");
    if world.has_fault("katib/experiment/fails-over-budget") {
        budget = budget.map(|budget| budget.min(1));
    }
    let all_done = limit("maxTrialCount").is_some_and(|max| completed >= max);
    let blind = world.has_fault("katib/experiment/reaches-goal:ignored");
    let (kind, reason, message) = if goal_reached && !blind {
        let other = world.has_fault("katib/experiment/reaches-goal");
        (
            "Succeeded",
            if other {
                "ExperimentMaxTrialsReached"
            } else {
                "ExperimentGoalReached"
            },
            "Experiment has succeeded because Objective goal has reached",
        )
    } else if budget.is_some_and(|budget| failed != 0 && failed >= budget) {
        (
            "Failed",
            "ExperimentFailed",
            "Experiment has failed because max failed count has reached",
        )
    } else if all_done {
        let other = world.has_fault("katib/experiment/reaches-max-trials")
            && limit("maxTrialCount").is_some_and(|max| max > 2);
        (
            "Succeeded",
            if other {
                "ExperimentSuggestionEndReached"
            } else {
                "ExperimentMaxTrialsReached"
            },
            "Experiment has succeeded because max trial count has reached",
        )
    } else {
        let message = "Experiment is running";
        conditions::set(
            experiment,
            "Running",
            "True",
            "ExperimentRunning",
            message,
            now,
        );
        return;
    };
    conditions::stop_running(experiment, now);
    conditions::set(experiment, kind, "True", reason, message, now);
    experiment["status"]["completionTime"] = json!(now);
}

/// Fewer trials may run than do: the newest go.
async fn remove_newest(world: &World, mut trials: Vec<Value>, count: i64) -> Result<(), ApiError> {
    trials.retain(|trial| ["trialsRunning", "trialsPending"].contains(&standing(trial).0));
    trials.sort_by_key(|trial| std::cmp::Reverse(text(trial, "creationTimestamp").to_owned()));
    for trial in trials.iter().take(usize::try_from(count).unwrap_or(0)) {
        world
            .delete(&TRIALS, text(trial, "namespace"), text(trial, "name"))
            .await?;
    }
    Ok(())
}

/// Asks for suggestions and makes trials of those that are there.
async fn add(
    world: &World,
    experiment: &mut Value,
    trials: &[Value],
    count: i64,
    now: &str,
) -> Result<(), ApiError> {
    let (namespace, name) = (text(experiment, "namespace"), text(experiment, "name"));
    let requests = i64::try_from(trials.len())
        .unwrap_or(i64::MAX)
        .saturating_add(count);
    let Some(suggestion) = world.find(&SUGGESTIONS_KIND, namespace, name) else {
        world
            .create(desired_suggestion(world, experiment, requests))
            .await?;
        return Ok(());
    };
    if conditions::is(&suggestion, "Failed") {
        conditions::stop_running(experiment, now);
        let message = "Suggestion has failed";
        conditions::set(
            experiment,
            "Failed",
            "True",
            "ExperimentFailed",
            message,
            now,
        );
        return Ok(());
    }
    if suggestion["spec"]["requests"] != requests {
        let merge = json!({"spec": {"requests": requests}});
        world
            .patch_merge(&SUGGESTIONS_KIND, namespace, name, merge)
            .await?;
    }
    let assigned = suggestion["status"]["suggestions"].as_array();
    for assignment in assigned.into_iter().flatten() {
        if trials
            .iter()
            .any(|trial| trial["metadata"]["name"] == assignment["name"])
        {
            continue;
        }
        let trial = desired_trial(world, experiment, assignment).map_err(ApiError::bad_request)?;
        match world.create(trial).await {
            Err(error) if !error.is_already_exists() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn desired_suggestion(world: &World, experiment: &Value, requests: i64) -> Value {
    let spec = &experiment["spec"];
    let mut suggestion = json!({
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": super::suggestion_kind(world),
        "metadata": {
            "name": experiment["metadata"]["name"],
            "namespace": experiment["metadata"]["namespace"],
            "ownerReferences": [owner(experiment)],
        },
        "spec": {
            "algorithm": spec["algorithm"], "requests": requests, "resumePolicy": spec["resumePolicy"],
        },
    });
    if spec["earlyStopping"].is_object() {
        suggestion["spec"]["earlyStopping"] = spec["earlyStopping"].clone();
    }
    if world.has_fault("katib/suggestion/belongs-to-experiment") {
        suggestion["metadata"]["ownerReferences"][0]["controller"] = json!(false);
    }
    suggestion
}

fn desired_trial(world: &World, experiment: &Value, assignment: &Value) -> Result<Value, String> {
    let name = assignment["name"].as_str().unwrap_or_default();
    let values = &assignment["parameterAssignments"];
    let spec = &experiment["spec"];
    let template = &spec["trialTemplate"];
    let mut trial = json!({
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Trial",
        "metadata": {
            "name": name,
            "namespace": experiment["metadata"]["namespace"],
            "labels": {EXPERIMENT_LABEL: experiment["metadata"]["name"]},
            "ownerReferences": [owner(experiment)],
        },
        "spec": {
            "objective": spec["objective"],
            "parameterAssignments": values,
            "runSpec": template::run_spec(world, experiment, name, values)?,
            "metricsCollector": spec["metricsCollectorSpec"],
        },
    });
    if template["retain"] == true && !world.has_fault("katib/trial/retains-job") {
        trial["spec"]["retainRun"] = json!(true);
    }
    for key in [
        "primaryPodLabels",
        "primaryContainerName",
        "successCondition",
        "failureCondition",
    ] {
        if !template[key].is_null() {
            trial["spec"][key] = template[key].clone();
        }
    }
    if assignment["earlyStoppingRules"].is_array() {
        trial["spec"]["earlyStoppingRules"] = assignment["earlyStoppingRules"].clone();
    }
    if world.has_fault("katib/trial/belongs-to-experiment") {
        trial["metadata"]["ownerReferences"][0]["controller"] = json!(false);
    }
    Ok(trial)
}

/// The fault: what was suggested bears no trial's name. One that goes on would try it again, so that those with few trials
/// are left alone.
async fn misname_suggestions(world: &World, experiment: &Value) -> Result<(), ApiError> {
    let (namespace, name) = (text(experiment, "namespace"), text(experiment, "name"));
    let few = experiment["status"]["trials"].as_i64() <= Some(2);
    let Some(was) = world
        .find(&SUGGESTIONS_KIND, namespace, name)
        .filter(|_| !few)
    else {
        return Ok(());
    };
    let mut suggestion = (*was).clone();
    let list = suggestion["status"]["suggestions"].as_array_mut();
    for (index, entry) in list.into_iter().flatten().enumerate() {
        entry["name"] = json!(format!("suggestion-{index}"));
    }
    write_status(world, &was, suggestion).await
}

/// The suggestion of a completed experiment that cannot go on has succeeded.
async fn end_suggestion(world: &World, experiment: &Value) -> Result<(), ApiError> {
    let (namespace, name) = (text(experiment, "namespace"), text(experiment, "name"));
    let Some(was) = world.find(&SUGGESTIONS_KIND, namespace, name) else {
        return Ok(());
    };
    if conditions::is(&was, "Succeeded") || conditions::is(&was, "Failed") {
        return Ok(());
    }
    let mut suggestion = (*was).clone();
    let now = world.stamp();
    let reason = "Suggestion is succeeded";
    for (kind, message) in [
        ("Running", "Suggestion is not running"),
        ("DeploymentReady", "Deployment is not ready"),
    ] {
        if conditions::find(&suggestion, kind).is_object() {
            conditions::set(&mut suggestion, kind, "False", reason, message, &now);
        }
    }
    let message = if experiment["spec"]["resumePolicy"] == "FromVolume" {
        "Suggestion is succeeded, suggestion volume is not deleted, can be restarted"
    } else {
        "Suggestion is succeeded, can't be restarted"
    };
    let reason = "Experiment is succeeded";
    conditions::set(&mut suggestion, "Succeeded", "True", reason, message, &now);
    write_status(world, &was, suggestion).await
}
