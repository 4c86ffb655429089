//! The suggestion controller, and the algorithms that it would ask over gRPC.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    super::kube::{
        ApiError, Key, Next, World, condition, owner,
        resources::{DEPLOYMENTS, SERVICES},
    },
    EXPERIMENT_LABEL, EXPERIMENTS, IMAGES, SUGGESTIONS, SUGGESTIONS_KIND, VERSION, conditions,
    database::Database,
    early_stopping, text, write_status,
};

/// One look at a suggestion.
pub(super) async fn reconcile(
    world: World,
    key: Key,
    database: Arc<Database>,
) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(was) = world.find(&SUGGESTIONS_KIND, namespace, name) else {
        return Ok(Next::Wait);
    };
    if !was["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Next::Wait);
    }
    let mut suggestion = (*was).clone();
    let now = world.stamp();
    if conditions::is(&suggestion, "Succeeded") {
        if !world.has_fault("katib/suggestion/ends-with-experiment") {
            stop_serving(&world, &suggestion).await?;
        }
        return Ok(Next::Wait);
    }
    if conditions::is(&suggestion, "Failed") {
        return Ok(Next::Wait);
    }
    if conditions::is(&suggestion, "Created") {
        advise(&world, &database, &mut suggestion, &now).await?;
    } else {
        suggestion["status"] = json!({"startTime": now});
        let message = "Suggestion is created";
        conditions::set(
            &mut suggestion,
            "Created",
            "True",
            "SuggestionCreated",
            message,
            &now,
        );
    }
    write_status(&world, &was, suggestion).await?;
    Ok(Next::Wait)
}

/// The name of the algorithm's Deployment and Service.
fn service_name(suggestion: &Value) -> String {
    let algorithm = suggestion["spec"]["algorithm"]["algorithmName"].as_str();
    format!(
        "{}-{}",
        text(suggestion, "name"),
        algorithm.unwrap_or_default()
    )
}

async fn stop_serving(world: &World, suggestion: &Value) -> Result<(), ApiError> {
    let name = service_name(suggestion);
    for resource in [&DEPLOYMENTS, &SERVICES] {
        match world
            .delete(resource, text(suggestion, "namespace"), &name)
            .await
        {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

async fn advise(
    world: &World,
    database: &Database,
    suggestion: &mut Value,
    now: &str,
) -> Result<(), ApiError> {
    let namespace = text(suggestion, "namespace").to_owned();
    let name = service_name(suggestion);
    for object in served(world, suggestion, &name) {
        match world.create(object).await {
            Err(error) if !error.is_already_exists() => return Err(error),
            _ => {}
        }
    }
    let deployment = world.find(&DEPLOYMENTS, &namespace, &name);
    let ready = deployment
        .and_then(|d| condition(&d, "Available").map(|c| c["status"] == "True"))
        .unwrap_or(false);
    if !ready {
        let message = "Deployment is not ready";
        conditions::set(
            suggestion,
            "DeploymentReady",
            "False",
            "DeploymentNotReady",
            message,
            now,
        );
        return Ok(());
    }
    if !world.has_fault("katib/suggestion/serves:condition") {
        let message = "Deployment is ready";
        conditions::set(
            suggestion,
            "DeploymentReady",
            "True",
            "DeploymentReady",
            message,
            now,
        );
    }
    let experiment = world.get(&EXPERIMENTS, &namespace, text(suggestion, "name"))?;
    if !conditions::is(suggestion, "Running") {
        let lenient = world.has_fault("katib/algorithm/refuses-settings");
        if let Err(why) = settings(&experiment)
            && !lenient
        {
            let message = format!("Validation failed: ValidateAlgorithmSettings Error: {why}");
            conditions::stop_running(suggestion, now);
            conditions::set(
                suggestion,
                "Failed",
                "True",
                "SuggestionFailed",
                &message,
                now,
            );
            return Ok(());
        }
        let message = "Suggestion is running";
        conditions::set(
            suggestion,
            "Running",
            "True",
            "SuggestionRunning",
            message,
            now,
        );
    }
    let rules = early_stopping::rules(world, database, &experiment);
    answer(world, suggestion, &experiment, &rules);
    Ok(())
}

/// The Service and the Deployment of an algorithm.
fn served(world: &World, suggestion: &Value, name: &str) -> Vec<Value> {
    let labels = json!({
        "katib.kubeflow.org/deployment": name,
        EXPERIMENT_LABEL: suggestion["metadata"]["name"],
        "katib.kubeflow.org/suggestion": suggestion["metadata"]["name"],
        "sidecar.istio.io/inject": "false",
    });
    let metadata = json!({
        "name": name,
        "namespace": suggestion["metadata"]["namespace"],
        "ownerReferences": [owner(suggestion)],
    });
    let algorithm = &suggestion["spec"]["algorithm"]["algorithmName"];
    let image = SUGGESTIONS
        .iter()
        .find(|(known, _)| algorithm == known)
        .map_or("", |(_, image)| image);
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP", "selector": labels,
            "ports": [{"name": "suggestion-api", "port": 6789, "protocol": "TCP"}],
        },
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "suggestion",
                    "image": format!("{IMAGES}/{image}:{VERSION}"),
                    "ports": [{"name": "suggestion-api", "containerPort": 6789, "protocol": "TCP"}],
                }]},
            },
        },
    });
    if world.has_fault("katib/suggestion/serves") {
        vec![deployment]
    } else {
        vec![service, deployment]
    }
}

/// What the services of `random` and `grid` know as settings, and that of `cmaes` needs.
fn settings(experiment: &Value) -> Result<(), String> {
    let algorithm = &experiment["spec"]["algorithm"];
    let parameters = experiment["spec"]["parameters"].as_array();
    let numbers = parameters.into_iter().flatten().filter(|parameter| {
        ["double", "int"]
            .iter()
            .any(|kind| parameter["parameterType"] == *kind)
    });
    if algorithm["algorithmName"] == "cmaes" && numbers.count() < 2 {
        return Err(
            "CMA-ES only supports two or more dimensional continuous search space.".to_owned(),
        );
    }
    if !["random", "grid"]
        .iter()
        .any(|known| algorithm["algorithmName"] == *known)
    {
        return Ok(());
    }
    for setting in algorithm["algorithmSettings"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let of = |key: &str| setting[key].as_str().unwrap_or_default();
        match of("name") {
            "random_state" if of("value").parse::<u32>().is_ok() => {}
            "random_state" => {
                return Err("random_state should be great or equal than zero".to_owned());
            }
            name => {
                return Err(format!(
                    "unknown setting {name} for algorithm {}",
                    algorithm["algorithmName"]
                ));
            }
        }
    }
    Ok(())
}

/// Gives as many further suggestions as are asked for.
fn answer(world: &World, suggestion: &mut Value, experiment: &Value, rules: &Value) {
    let list = suggestion["status"]["suggestions"].as_array();
    let mut list = list.cloned().unwrap_or_default();
    let asked = suggestion["spec"]["requests"].as_u64().unwrap_or(0);
    let asked = usize::try_from(asked).unwrap_or(0).min(MOST);
    if list.len() >= asked {
        return;
    }
    let seed = text(experiment, "uid").to_owned();
    let grid = experiment["spec"]["algorithm"]["algorithmName"] == "grid";
    let parameters = experiment["spec"]["parameters"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    while list.len() < asked {
        let index = list.len();
        let digest = Sha256::digest(format!("{seed} {index}"));
        let values: Vec<String> = if grid {
            let forgets = world.has_fault("katib/experiment/searches-grid");
            point(&parameters, if forgets { index / 2 } else { index })
        } else {
            let errors = Errors::of(world, experiment);
            let draw = |(at, parameter)| draw(parameter, fraction(&seed, index, at), errors);
            parameters.iter().enumerate().map(draw).collect()
        };
        let named = parameters.iter().zip(values);
        let assignments: Value = named
            .map(|(parameter, value)| json!({"name": parameter["name"], "value": value}))
            .collect();
        let mut entry = json!({
            "name": format!("{}-{}", text(suggestion, "name"), suffix(&digest)),
            "parameterAssignments": assignments,
        });
        if rules.is_array() {
            entry["earlyStoppingRules"] = rules.clone();
        }
        list.push(entry);
    }
    let more = usize::from(world.has_fault("katib/suggestion/counts"));
    suggestion["status"]["suggestionCount"] = json!(list.len() + more);
    suggestion["status"]["suggestions"] = json!(list);
}

/// The most suggestions that are given.
const MOST: usize = 10_000;

/// Eight of the characters of which Kubernetes makes names.
fn suffix(digest: &[u8]) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    digest
        .iter()
        .take(8)
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

/// A number in [0, 1) that looks random and is the same each time.
fn fraction(seed: &str, index: usize, parameter: usize) -> f64 {
    let digest = Sha256::digest(format!("{seed} {index} {parameter}"));
    let bits = digest
        .iter()
        .take(4)
        .fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// A bound of a feasible space.
fn bound(parameter: &Value, key: &str) -> Option<f64> {
    parameter["feasibleSpace"][key].as_str()?.parse().ok()
}

/// The requirement of an algorithm beside `random` and `grid`, which is the id of its fault too.
fn requirement(algorithm: &str) -> String {
    let slug = match algorithm {
        "bayesianoptimization" => "bayesian-optimization",
        other => other,
    };
    format!("katib/algorithm/{slug}")
}

/// What is wrong with the values that are drawn.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)]
struct Errors {
    beyond: bool,
    halves: bool,
    stepless: bool,
    places: bool,
    exponents: bool,
}

impl Errors {
    fn of(world: &World, experiment: &Value) -> Self {
        let spec = &experiment["spec"];
        let algorithm = spec["algorithm"]["algorithmName"].as_str();
        let alone = spec["parameters"].as_array().is_some_and(|p| p.len() == 1);
        Self {
            beyond: world.has_fault(&requirement(algorithm.unwrap_or_default()))
                || (alone && world.has_fault("katib/experiment/stays-in-feasible-space")),
            halves: world.has_fault("katib/suggestion/draws-integers"),
            stepless: world.has_fault("katib/suggestion/draws-integers:step"),
            places: world.has_fault("katib/suggestion/draws-from-lists"),
            exponents: world.has_fault("katib/suggestion/draws-log-uniform"),
        }
    }
}

/// Draws a value of a parameter.
fn draw(parameter: &Value, fraction: f64, errors: Errors) -> String {
    let steps = steps(parameter);
    let stepless = errors.stepless && parameter["parameterType"] == "int";
    if !steps.is_empty() && !stepless {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let index = ((fraction * steps.len() as f64) as usize).min(steps.len() - 1);
        if errors.places && parameter["feasibleSpace"]["list"].is_array() {
            return index.to_string();
        }
        return steps[index].clone();
    }
    let min = bound(parameter, "min").unwrap_or(0.0);
    let mut width = bound(parameter, "max").unwrap_or(1.0) - min;
    if errors.beyond {
        width = -width;
    }
    if parameter["parameterType"] == "int" {
        let whole = min + (fraction * (width + 1.0)).floor();
        let half = if errors.halves { 0.5 } else { 0.0 };
        // Without its step a range begins one later, so that its first value is seen to be none of the steps.
        let first = if errors.stepless && bound(parameter, "step").is_some() {
            min + 1.0
        } else {
            whole
        };
        return (first + half).to_string();
    }
    if parameter["feasibleSpace"]["distribution"] == "logUniform" && min > 0.0 {
        let (low, high) = (min.ln(), (min + width).ln());
        let exponent = low + fraction * (high - low);
        let value = if errors.exponents {
            exponent
        } else {
            exponent.exp()
        };
        return value.to_string();
    }
    (min + fraction * width).to_string()
}

/// The values of a parameter that has a list or a step; empty for one that has any value of a range.
fn steps(parameter: &Value) -> Vec<String> {
    let space = &parameter["feasibleSpace"];
    if let Some(list) = space["list"].as_array().filter(|l| !l.is_empty()) {
        return list
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect();
    }
    let (Some(min), Some(max), Some(step)) = (
        bound(parameter, "min"),
        bound(parameter, "max"),
        bound(parameter, "step"),
    ) else {
        return Vec::new();
    };
    if step <= 0.0 {
        return Vec::new();
    }
    let mut values = Vec::new();
    let mut at: u32 = 0;
    // Half a millionth of a step allows for sums that are not exact.
    while min + f64::from(at) * step <= max + step * 5e-7 && values.len() < MOST {
        values.push((min + f64::from(at) * step).to_string());
        at += 1;
    }
    values
}

/// A point of the grid: the last parameter changes fastest. Behind its end it begins anew.
fn point(parameters: &[Value], index: usize) -> Vec<String> {
    let mut rest = index;
    let mut values: Vec<String> = parameters
        .iter()
        .rev()
        .map(|parameter| {
            let steps = steps(parameter);
            if steps.is_empty() {
                return draw(parameter, 0.5, Errors::default());
            }
            let value = steps[rest % steps.len()].clone();
            rest /= steps.len();
            value
        })
        .collect();
    values.reverse();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(kind: &str, space: Value) -> Value {
        json!({"name": "x", "parameterType": kind, "feasibleSpace": space})
    }

    #[test]
    fn draws_stay_within_bounds() {
        let double = parameter("double", json!({"min": "0.01", "max": "0.05"}));
        let int = parameter("int", json!({"min": "1", "max": "3"}));
        let list = parameter("categorical", json!({"list": ["a", "b"]}));
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..100 {
            let fraction = fraction("uid", index, 0);
            let value: f64 = draw(&double, fraction, Errors::default()).parse().unwrap();
            assert!((0.01..=0.05).contains(&value), "{value}");
            seen.insert(draw(&int, fraction, Errors::default()));
            seen.insert(draw(&list, fraction, Errors::default()));
        }
        let seen: Vec<String> = seen.into_iter().collect();
        assert_eq!(seen, ["1", "2", "3", "a", "b"]);
    }

    #[test]
    fn a_grid_goes_through_all_points() {
        let parameters = [
            parameter("discrete", json!({"list": ["1", "2"]})),
            parameter("double", json!({"min": "0.1", "max": "0.3", "step": "0.1"})),
        ];
        let mut points: Vec<Vec<String>> = (0..6).map(|i| point(&parameters, i)).collect();
        points.dedup();
        assert_eq!(points.len(), 6);
        assert_eq!(points[0], ["1", "0.1"]);
        assert_eq!(point(&parameters, 6), points[0]);
    }

    #[test]
    fn settings_are_those_that_the_services_know() {
        let of = |name: &str, value: &str| {
            settings(
                &json!({"spec": {"algorithm": {"algorithmName": "random", "algorithmSettings": [
                    {"name": name, "value": value},
                ]}}}),
            )
        };
        assert!(of("random_state", "7").is_ok());
        assert!(of("random_state", "-1").is_err() && of("no_such", "1").is_err());
    }
}
