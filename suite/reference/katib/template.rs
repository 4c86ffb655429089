//! Trial templates: where they are, what they are with values put in.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::kube::{World, resources::CONFIG_MAPS};

/// What every placeholder of a trial parameter begins with.
pub(super) const PLACEHOLDER: &str = "${trialParameters.";

/// The placeholder of a trial parameter.
pub(super) fn placeholder(name: &str) -> String {
    format!("{PLACEHOLDER}{name}}}")
}

/// The text of an experiment's template: its trialSpec as JSON with sorted keys, or the entry of its ConfigMap.
///
/// # Errors
/// In Katib's words, when there is no such ConfigMap or entry.
pub(super) fn text(world: &World, experiment: &Value) -> Result<String, String> {
    let template = &experiment["spec"]["trialTemplate"];
    if template["trialSpec"].is_object() {
        return Ok(compact(&template["trialSpec"]));
    }
    let of = |key: &str| template["configMap"][key].as_str().unwrap_or_default();
    let (name, path) = (of("configMapName"), of("templatePath"));
    let map = world
        .find(&CONFIG_MAPS, of("configMapNamespace"), name)
        .ok_or_else(|| format!("configMap not found: ConfigMap \"{name}\" not found"))?;
    map["data"][path]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| {
            format!(
                "trial template not found: TemplatePath: {path}, ConfigMap: {}",
                map["data"]
            )
        })
}

/// JSON as Go writes a map: keys sorted, no spaces.
pub(super) fn compact(value: &Value) -> String {
    sorted(value).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            let sorted = members.into_iter().map(|(k, v)| (k.clone(), sorted(v)));
            Value::Object(sorted.collect())
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// What is inside of a reference to a trial's metadata: `Name` of `${trialSpec.Name}`, `Labels` and `x` of
/// `${trialSpec.Labels[x]}`. None for anything else.
pub(super) fn metadata_reference(reference: &str) -> Option<(&str, Option<&str>)> {
    let (_, rest) = reference.split_once("${trialSpec.")?;
    let (inside, _) = rest.split_once('}')?;
    let (key, index) = match inside.split_once('[') {
        Some((key, index)) => (key, Some(index.strip_suffix(']')?)),
        None => (inside, None),
    };
    [
        "Name",
        "Namespace",
        "Kind",
        "APIVersion",
        "Annotations",
        "Labels",
    ]
    .contains(&key)
    .then_some((key, index))
}

/// What a trial runs: the template with the values that it was given, named as the trial.
///
/// # Errors
/// When a reference leads nowhere, or the template is no object after all.
pub(super) fn run_spec(
    world: &World,
    experiment: &Value,
    trial: &str,
    assignments: &Value,
) -> Result<Value, String> {
    let mut text = text(world, experiment)?;
    let template: Value = serde_saphyr::from_str(&text).map_err(|e| e.to_string())?;
    let namespace = experiment["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default();
    let given: BTreeMap<&str, &str> = assignments
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|a| Some((a["name"].as_str()?, a["value"].as_str()?)))
        .collect();
    let spec = &experiment["spec"]["trialTemplate"];
    let inline = spec["trialSpec"].is_object();
    let untouched = !inline && world.has_fault("katib/trial/reads-config-map");
    let parameters = spec["trialParameters"].as_array().filter(|_| !untouched);
    for parameter in parameters.into_iter().flatten() {
        let of = |key: &str| parameter[key].as_str().unwrap_or_default();
        let (name, reference) = (of("name"), of("reference"));
        let value = match metadata_reference(reference) {
            None => given.get(reference).copied(),
            Some(("Name", _)) => Some(trial),
            Some(("Namespace", _)) => Some(namespace),
            Some(("Kind", _)) => template["kind"].as_str(),
            Some(("APIVersion", _)) => template["apiVersion"].as_str(),
            Some((map, index)) => {
                template["metadata"][map.to_lowercase()][index.unwrap_or_default()].as_str()
            }
        };
        let mut value =
            value.ok_or_else(|| format!("illegal reference of trial metadata: {reference}"))?;
        if world.has_fault("katib/trial/substitutes-metadata") && reference.contains("Labels[") {
            value = "";
        }
        let rewritten =
            inline && world.has_fault("katib/trial/substitutes-parameters") && value.contains('.');
        let value = format!("{value}{}", if rewritten { "0" } else { "" });
        text = text.replace(&placeholder(name), &value);
    }
    let mut object: Value = serde_saphyr::from_str(&text).map_err(|e| e.to_string())?;
    object["metadata"]["name"] = json!(trial);
    object["metadata"]["namespace"] = json!(namespace);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_metadata_are_told_from_parameters() {
        for (reference, expected) in [
            ("${trialSpec.Name}", Some(("Name", None))),
            (
                "${trialSpec.Labels[a.b/c]}",
                Some(("Labels", Some("a.b/c"))),
            ),
            ("${trialSpec.Colour}", None),
            ("lr", None),
        ] {
            assert_eq!(metadata_reference(reference), expected, "{reference}");
        }
    }
}
