//! Pipelines as files: what is taken for one, and what a run may give to it.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;

/// The only schema version there is.
const SCHEMA: &str = "2.1.0";
/// The fields of a pipeline.
const FIELDS: [&str; 7] = [
    "pipelineInfo",
    "deploymentSpec",
    "schemaVersion",
    "sdkVersion",
    "components",
    "root",
    "defaultPipelineRoot",
];

/// Reads a file: a pipeline, and with it a document for the platform where there is a second one. The error is what the
/// API server says. (The real one reads a file that is no well-formed YAML for ever.)
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let unknown = || "unknown template format".to_owned();
    let mut spec = Value::Null;
    let mut platform = Value::Null;
    for document in documents(text) {
        let value: Value = serde_saphyr::from_str(&document).map_err(|_| unknown())?;
        if value["platforms"].is_object() {
            platform = value;
        } else if spec.is_null() {
            spec = value;
        } else {
            return Err(unknown());
        }
    }
    validate(&spec)?;
    Ok(if platform.is_null() {
        spec
    } else {
        json!({"pipeline_spec": spec, "platform_spec": platform})
    })
}

/// The documents of a YAML file.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(last) = documents.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    let says_something = |document: &String| {
        document
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.retain(says_something);
    documents
}

/// Whether this is a pipeline; the error is what the API server says.
pub(super) fn validate(spec: &Value) -> Result<(), String> {
    let name = spec["pipelineInfo"]["name"].as_str().unwrap_or_default();
    let known = spec
        .as_object()
        .is_some_and(|map| map.keys().all(|key| FIELDS.contains(&key.as_str())));
    if !known || name.is_empty() || !spec["root"].is_object() {
        return Err("unknown template format".to_owned());
    }
    let version = match &spec["schemaVersion"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if version != SCHEMA {
        return Err(format!(
            "KFP only supports schema version {SCHEMA}, but the pipeline spec has version {version}"
        ));
    }
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = name.bytes();
    if !bytes.next().is_some_and(is_fine)
        || !bytes.all(|byte| is_fine(byte) || byte == b'-')
        || name.len() > 128
    {
        return Err(
            "pipeline's name must contain only lowercase alphanumeric characters or '-' and must start with alphanumeric characters"
                .to_owned(),
        );
    }
    Ok(())
}

/// The pipeline in what may be a pipeline with its platform.
pub(super) fn pipeline(spec: &Value) -> &Value {
    if spec["pipeline_spec"].is_object() {
        &spec["pipeline_spec"]
    } else {
        spec
    }
}

/// Whether a pipeline consists of one step.
pub(super) fn is_one_step(pipeline: &Value) -> bool {
    let tasks = pipeline["root"]["dag"]["tasks"].as_object();
    let mut tasks = tasks.into_iter().flat_map(Map::values);
    match (tasks.next(), tasks.next()) {
        (Some(task), None) => {
            let name = task["componentRef"]["name"].as_str().unwrap_or_default();
            pipeline["components"][name]["executorLabel"].is_string()
        }
        _ => false,
    }
}

/// Whether a run may give these parameters to a pipeline. `broken` says which faults are on.
pub(super) fn check_parameters(
    spec: &Value,
    given: &Map<String, Value>,
    broken: &dyn Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let wanted = &spec["root"]["inputDefinitions"]["parameters"];
    let unknown: Vec<&str> = given
        .keys()
        .map(String::as_str)
        .filter(|name| wanted[*name].is_null())
        .collect();
    if !unknown.is_empty() && !broken("run/refuses-unknown-parameter") {
        let names = unknown.join(", ");
        return Err(Refusal::invalid(format!(
            "parameter(s) provided are not required by pipeline: {names}"
        )));
    }
    for (name, definition) in wanted.as_object().into_iter().flatten() {
        let optional = definition["isOptional"] == true || !definition["defaultValue"].is_null();
        let Some(value) = given.get(name) else {
            if optional || broken("run/refuses-missing-parameter") {
                continue;
            }
            return Err(Refusal::invalid(format!(
                "parameter {name} is not optional, yet has neither default value nor user provided value"
            )));
        };
        let (kind, fits) = match definition["parameterType"].as_str() {
            Some("STRING") => ("string", value.is_string()),
            Some("NUMBER_INTEGER" | "NUMBER_DOUBLE") => ("double", value.is_number()),
            Some("BOOLEAN") => ("bool", value.is_boolean()),
            Some("LIST") => ("list", value.is_array()),
            Some("STRUCT") => ("struct", value.is_object()),
            _ => ("", true),
        };
        if !fits && !broken("run/refuses-mistyped-parameter") {
            return Err(Refusal::invalid(format!(
                "input parameter {name} requires type {kind}, but the input parameter is not of {kind} value type"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "pipelineInfo: {name: a}\nschemaVersion: 2.1.0\nroot: {dag: {tasks: {}}}\n";

    #[test]
    fn files_are_told_apart() {
        assert!(parse(GOOD).unwrap()["root"].is_object());
        let both = parse(&format!(
            "# a\n---\n{GOOD}---\nplatforms: {{kubernetes: {{}}}}\n"
        ))
        .unwrap();
        assert_eq!(both["pipeline_spec"]["pipelineInfo"]["name"], "a");
        for (bad, why) in [
            ("a: b".to_owned(), "unknown template format"),
            (GOOD.replace("root", "boot"), "unknown template format"),
            (GOOD.replace("2.1.0", "9.9.9"), "has version 9.9.9"),
            (
                GOOD.replace("name: a", "name: A b"),
                "must contain only lowercase",
            ),
            (
                GOOD.replace("name: a", "title: a"),
                "unknown template format",
            ),
        ] {
            assert!(parse(&bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn parameters_are_checked() {
        let spec = json!({"root": {"inputDefinitions": {"parameters": {
            "a": {"parameterType": "STRING"},
            "b": {"parameterType": "LIST", "isOptional": true},
        }}}});
        let check = |given: Value| {
            let given = given.as_object().unwrap().clone();
            check_parameters(&spec, &given, &|_| false).map_err(|e| e.said.unwrap())
        };
        assert_eq!(check(json!({"a": "x"})), Ok(()));
        for (given, why) in [
            (json!({}), "parameter a is not optional"),
            (json!({"a": 5}), "requires type string"),
            (json!({"a": "x", "b": {}}), "requires type list"),
            (json!({"a": "x", "c": 1}), "not required by pipeline: c"),
        ] {
            assert!(check(given.clone()).unwrap_err().contains(why), "{given}");
        }
    }
}
