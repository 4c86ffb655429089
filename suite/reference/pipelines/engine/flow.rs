//! What flows between tasks: who waits for whom, and what each gets.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{End, Ended, Execution, Values};

impl Execution {
    /// Whether the pipeline has two tasks.
    fn is_short(&self) -> bool {
        let tasks = self.spec["root"]["dag"]["tasks"].as_object();
        tasks.is_some_and(|tasks| tasks.len() == 2)
    }

    /// The values that a task gets.
    pub(super) fn resolve(
        &self,
        task: &Value,
        inputs: &Values,
        siblings: &BTreeMap<&str, Ended>,
    ) -> Result<Values, String> {
        let mut given = Values::default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for (name, from) in task["inputs"]["parameters"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let output = &from["taskOutputParameter"];
            let value = if let Some(input) = from["componentInputParameter"].as_str() {
                // An optional input that nobody gave stays away.
                inputs.parameters.get(input).cloned()
            } else if from["runtimeValue"].is_object() {
                Some(from["runtimeValue"]["constant"].clone())
            } else if output.is_object() {
                let sibling = siblings.get(text(&output["producerTask"]).as_str());
                let key = text(&output["outputParameterKey"]);
                let value = sibling
                    .and_then(|s| s.outputs.parameters.get(&key))
                    .cloned();
                let is_text = value.as_ref().is_some_and(Value::is_string);
                if is_text && self.is_short() && self.server.broken("run/passes-parameters") {
                    Some(json!(""))
                } else {
                    Some(value.ok_or_else(|| format!("there is no output {key}"))?)
                }
            } else if from["taskFinalStatus"].is_object() {
                let producer = text(&from["taskFinalStatus"]["producerTask"]);
                let end = siblings.get(producer.as_str()).map(|s| s.end);
                let state = match end {
                    Some(End::Succeeded) => "SUCCEEDED",
                    Some(End::Skipped) => "SKIPPED",
                    _ => "FAILED",
                };
                if self.server.broken("execution/exit-task-knows-status") {
                    Some(json!({}))
                } else {
                    Some(
                        json!({"state": state, "pipelineTaskName": producer, "pipelineJobResourceName": self.run, "error": {}}),
                    )
                }
            } else {
                return Err(format!("input {name} comes from nowhere"));
            };
            if let Some(value) = value {
                given.parameters.insert(
                    name.clone(),
                    select(value, &from["parameterExpressionSelector"]),
                );
            }
        }
        for (name, from) in task["inputs"]["artifacts"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let output = &from["taskOutputArtifact"];
            let found = if let Some(input) = from["componentInputArtifact"].as_str() {
                inputs.artifacts.get(input)
            } else {
                let sibling = siblings.get(text(&output["producerTask"]).as_str());
                let key = text(&output["outputArtifactKey"]);
                sibling.and_then(|s| s.outputs.artifacts.get(&key))
            };
            let uri = found.ok_or_else(|| format!("there is no artifact for {name}"))?;
            given.artifacts.insert(name.clone(), uri.clone());
        }
        Ok(given)
    }
}

/// The tasks whose end a task waits for.
pub(super) fn needs(task: &Value) -> Vec<String> {
    let named = task["dependentTasks"].as_array().into_iter().flatten();
    let mut needs = taken_from(task);
    needs.extend(named.filter_map(|name| name.as_str().map(ToOwned::to_owned)));
    needs.sort();
    needs.dedup();
    needs
}

/// The tasks from which a task takes something.
pub(super) fn taken_from(task: &Value) -> Vec<String> {
    let mut needs: Vec<String> = Vec::new();
    for kind in ["parameters", "artifacts"] {
        for from in task["inputs"][kind]
            .as_object()
            .into_iter()
            .flat_map(Map::values)
        {
            let sources = [
                "taskOutputParameter",
                "taskOutputArtifact",
                "taskFinalStatus",
            ];
            let producers = sources
                .iter()
                .filter_map(|key| from[*key]["producerTask"].as_str());
            needs.extend(producers.map(ToOwned::to_owned));
        }
    }
    needs.sort();
    needs.dedup();
    needs
}

/// What a pipeline gives, from its tasks' outputs.
pub(super) fn dag_outputs(component: &Value, ended: &BTreeMap<&str, Ended>) -> Values {
    let mut outputs = Values::default();
    let of = |task: &Value| ended.get(task.as_str().unwrap_or_default());
    let given = &component["dag"]["outputs"];
    for (name, from) in given["parameters"].as_object().into_iter().flatten() {
        let from = &from["valueFromParameter"];
        let key = from["outputParameterKey"].as_str().unwrap_or_default();
        let value = of(&from["producerSubtask"]).and_then(|e| e.outputs.parameters.get(key));
        outputs
            .parameters
            .extend(value.map(|value| (name.clone(), value.clone())));
    }
    for (name, from) in given["artifacts"].as_object().into_iter().flatten() {
        for from in from["artifactSelectors"].as_array().into_iter().flatten() {
            let key = from["outputArtifactKey"].as_str().unwrap_or_default();
            let uri = of(&from["producerSubtask"]).and_then(|e| e.outputs.artifacts.get(key));
            outputs
                .artifacts
                .extend(uri.map(|uri| (name.clone(), uri.clone())));
        }
    }
    outputs
}

/// `parseJson(string_value)["key"]`: a member of a struct that a loop goes over.
fn select(value: Value, selector: &Value) -> Value {
    let key = selector.as_str().and_then(|text| {
        let rest = text
            .strip_prefix("parseJson(string_value)[")?
            .strip_suffix(']')?;
        Some(rest.trim_matches(['"', '\'']).to_owned())
    });
    match key {
        Some(key) => value[key].clone(),
        None => value,
    }
}

pub(super) fn keys(value: &Value) -> Vec<&String> {
    value.as_object().into_iter().flat_map(Map::keys).collect()
}

/// A value as it stands in a command: text as it is, everything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
