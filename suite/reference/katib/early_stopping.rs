//! Early stopping by `medianstop`: a trial that does worse than the average of those before it is stopped.

use serde_json::{Value, json};

use super::{
    super::kube::{ApiError, World},
    EXPERIMENT_LABEL, TRIALS, conditions,
    database::{Database, Measurement},
    text, write_status,
};

/// The rules for the trials of an experiment that are made now; null where there are none (yet).
pub(super) fn rules(world: &World, database: &Database, experiment: &Value) -> Value {
    let spec = &experiment["spec"];
    if spec["earlyStopping"]["algorithmName"] != "medianstop" {
        return Value::Null;
    }
    let settings = spec["earlyStopping"]["algorithmSettings"].as_array();
    let setting = |name: &str, otherwise: usize| {
        let mut settings = settings.into_iter().flatten();
        let found = settings.find(|setting| setting["name"] == name);
        let value = found.and_then(|setting| setting["value"].as_str()?.parse().ok());
        value.unwrap_or(otherwise)
    };
    let (required, start) = (setting("min_trials_required", 3), setting("start_step", 4));
    let metric = &spec["objective"]["objectiveMetricName"];
    let trials = world.list(&TRIALS, Some(text(experiment, "namespace")));
    let averages: Vec<f64> = trials
        .iter()
        .filter(|t| t["metadata"]["labels"][EXPERIMENT_LABEL] == experiment["metadata"]["name"])
        .filter(|trial| conditions::is(trial, "Succeeded"))
        .filter_map(|trial| {
            let log = database.measurements(text(trial, "name"));
            let of = log.iter().filter(|m| *metric == *m.name);
            let first: Vec<f64> = of
                .take(start)
                .filter_map(|m| m.value.parse().ok())
                .collect();
            (!first.is_empty()).then(|| first.iter().sum::<f64>() / first.len() as f64)
        })
        .collect();
    if averages.is_empty() || averages.len() < required {
        return Value::Null;
    }
    let median = averages.iter().sum::<f64>() / averages.len() as f64;
    let maximize = spec["objective"]["type"] == "maximize";
    json!([{
        "name": metric, "value": median.to_string(), "startStep": start,
        "comparison": if maximize { "less" } else { "greater" },
    }])
}

/// Whether what a trial printed so far meets one of its rules.
pub(super) fn is_met(rules: &Value, printed: &[Measurement]) -> bool {
    rules.as_array().into_iter().flatten().any(|rule| {
        let of = printed.iter().filter(|m| rule["name"] == *m.name);
        let values: Vec<f64> = of.filter_map(|m| m.value.parse().ok()).collect();
        let bound = rule["value"].as_str().and_then(|v| v.parse::<f64>().ok());
        let start = rule["startStep"].as_u64().unwrap_or(1).max(1);
        let Some(bound) = bound.filter(|_| values.len() as u64 >= start) else {
            return false;
        };
        // What counts is the best value so far.
        match rule["comparison"].as_str() {
            Some("less") => values.iter().all(|value| *value < bound),
            Some("greater") => values.iter().all(|value| *value > bound),
            _ => values.last() == Some(&bound),
        }
    })
}

/// Says of a trial that it was stopped; its controller then removes what it runs.
pub(super) async fn stop(world: &World, namespace: &str, name: &str) -> Result<(), ApiError> {
    let was = world.get(&TRIALS, namespace, name)?;
    let mut trial = (*was).clone();
    let now = world.stamp();
    let message = "Trial is early stopped";
    conditions::stop_running(&mut trial, &now);
    conditions::set(
        &mut trial,
        "EarlyStopped",
        "True",
        "TrialEarlyStopped",
        message,
        &now,
    );
    trial["status"]["completionTime"] = json!(now);
    write_status(world, &was, trial).await
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_best_value_so_far_is_compared() {
        let rules = |comparison: &str| json!([{"name": "m", "value": "2", "startStep": 2, "comparison": comparison}]);
        let printed = |values: &[&str]| -> Vec<Measurement> {
            let values = values.iter();
            values
                .map(|value| Measurement {
                    time: Timestamp::UNIX_EPOCH,
                    name: "m".to_owned(),
                    value: (*value).to_owned(),
                })
                .collect()
        };
        assert!(is_met(&rules("greater"), &printed(&["3", "4"])));
        assert!(!is_met(&rules("greater"), &printed(&["3"])));
        assert!(!is_met(&rules("greater"), &printed(&["1", "4"])));
        assert!(is_met(&rules("less"), &printed(&["1", "1.5"])));
        assert!(!is_met(&Value::Null, &printed(&["1"])));
    }
}
