//! Structural schemas of CRDs: pruning, defaulting and validation, with the API server's wording.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value, json};

use super::status::FieldError;

/// Members of every object, and of embedded resources, that no schema needs to name.
const ENVELOPE: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes the fields that the schema does not know and returns their paths.
pub fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_at(schema, object, "", true, &mut unknown);
    unknown
}

fn prune_at(
    schema: &Value,
    value: &mut Value,
    path: &str,
    resource: bool,
    unknown: &mut Vec<String>,
) {
    match value {
        Value::Object(map) => {
            let embedded = resource || schema["x-kubernetes-embedded-resource"] == true;
            let keep = schema["x-kubernetes-preserve-unknown-fields"] == true;
            let properties = schema["properties"].as_object();
            let additional = schema.get("additionalProperties");
            map.retain(|key, value| {
                if embedded && ENVELOPE.contains(&key.as_str()) {
                    return true;
                }
                let path = join(path, key);
                if let Some(schema) = properties.and_then(|p| p.get(key)) {
                    prune_at(schema, value, &path, false, unknown);
                } else if let Some(schema) = additional.filter(|a| **a != Value::Bool(false)) {
                    prune_at(schema, value, &path, false, unknown);
                } else if !keep {
                    unknown.push(path);
                    return false;
                }
                true
            });
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                prune_at(
                    &schema["items"],
                    item,
                    &format!("{path}[{index}]"),
                    false,
                    unknown,
                );
            }
        }
        _ => {}
    }
    // Below `additionalProperties: true` there is nothing to go by, and nothing is taken away.
}

/// Sets the defaults of the schema where fields are absent.
pub fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(properties) = schema["properties"].as_object() {
                for (key, property) in properties {
                    if let Some(preset) = property.get("default") {
                        let absent = match map.get(key) {
                            None => true,
                            Some(Value::Null) => property["nullable"] != true,
                            Some(_) => false,
                        };
                        if absent {
                            map.insert(key.clone(), preset.clone());
                        }
                    }
                    if let Some(value) = map.get_mut(key) {
                        default(property, value);
                    }
                }
            }
            if let Some(additional) = schema.get("additionalProperties").filter(|a| a.is_object()) {
                for (key, value) in map.iter_mut() {
                    if schema["properties"].get(key).is_none() {
                        default(additional, value);
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                default(&schema["items"], item);
            }
        }
        _ => {}
    }
}

/// All that is wrong with an object, apart from its metadata.
pub fn validate(schema: &Value, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(schema, object, "", &mut errors);
    errors
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if is_integral(n) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_integral(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|f| f.fract() == 0.0)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn wrong_type(path: &str, wanted: &str, value: &Value) -> FieldError {
    let given = type_name(value);
    FieldError {
        field: path.to_owned(),
        reason: "FieldValueTypeInvalid",
        message: format!(
            "Invalid value: \"{given}\": {path} in body must be of type {wanted}: \"{given}\""
        ),
    }
}

fn check(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        if !matches!(type_name(value), "integer" | "string") {
            errors.push(wrong_type(path, "integer,string", value));
            return;
        }
    } else if let Some(wanted) = schema["type"].as_str() {
        let given = type_name(value);
        if given != wanted && !(wanted == "number" && given == "integer") {
            errors.push(wrong_type(path, wanted, value));
            return;
        }
    }
    let wrong =
        |detail: String| FieldError::invalid(path, value, &format!("{path} in body {detail}"));
    match value {
        Value::Object(map) => check_object(schema, map, path, errors),
        Value::Array(items) => {
            if let Some(least) = schema["minItems"]
                .as_u64()
                .filter(|n| (items.len() as u64) < *n)
            {
                // The API server shows the number of items for the value.
                let shown = json!(items.len());
                let detail = format!("{path} in body should have at least {least} items");
                errors.push(FieldError::invalid(path, &shown, &detail));
            }
            if let Some(most) = schema["maxItems"]
                .as_u64()
                .filter(|n| items.len() as u64 > *n)
            {
                errors.push(FieldError {
                    field: path.to_owned(),
                    reason: "FieldValueTooMany",
                    message: format!("Too many: {}: must have at most {most} items", items.len()),
                });
            }
            for (index, item) in items.iter().enumerate() {
                check(&schema["items"], item, &format!("{path}[{index}]"), errors);
            }
            check_unique(schema, items, path, errors);
        }
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if let Some(least) = schema["minLength"].as_u64().filter(|n| length < *n) {
                errors.push(wrong(format!("should be at least {least} chars long")));
            }
            if let Some(most) = schema["maxLength"].as_u64().filter(|n| length > *n) {
                errors.push(FieldError {
                    field: path.to_owned(),
                    reason: "FieldValueTooLong",
                    message: format!("Too long: may not be more than {most} bytes"),
                });
            }
            if let Some(pattern) = schema["pattern"].as_str().filter(|p| !matches(p, text)) {
                errors.push(wrong(format!("should match '{pattern}'")));
            }
            if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
                errors.push(wrong(format!("must be of type date-time: {value}")));
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(0.0);
            if let Some(least) = schema["minimum"].as_f64() {
                let open = schema["exclusiveMinimum"] == true;
                if number < least || (open && number <= least) {
                    let words = if open {
                        "greater than"
                    } else {
                        "greater than or equal to"
                    };
                    errors.push(wrong(format!("should be {words} {}", schema["minimum"])));
                }
            }
            if let Some(most) = schema["maximum"].as_f64() {
                let open = schema["exclusiveMaximum"] == true;
                if number > most || (open && number >= most) {
                    let words = if open {
                        "less than"
                    } else {
                        "less than or equal to"
                    };
                    errors.push(wrong(format!("should be {words} {}", schema["maximum"])));
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    if let Some(allowed) = schema["enum"]
        .as_array()
        .filter(|list| !list.contains(value))
    {
        errors.push(FieldError::unsupported(path, value, allowed));
    }
    check_combined(schema, value, path, errors);
}

fn check_object(
    schema: &Value,
    map: &Map<String, Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for key in schema["required"].as_array().into_iter().flatten() {
        if let Some(key) = key.as_str().filter(|key| !map.contains_key(*key)) {
            errors.push(FieldError::required(join(path, key), ""));
        }
    }
    let properties = &schema["properties"];
    let additional = schema.get("additionalProperties").filter(|a| a.is_object());
    for (key, value) in map {
        // The server checks the envelope itself.
        if path.is_empty() && ENVELOPE.contains(&key.as_str()) {
            continue;
        }
        if let Some(schema) = properties.get(key).or(additional) {
            check(schema, value, &join(path, key), errors);
        }
    }
    let size = map.len() as u64;
    if let Some(least) = schema["minProperties"].as_u64().filter(|n| size < *n) {
        errors.push(FieldError::invalid(
            path,
            &json!(size),
            &format!("{path} in body should have at least {least} properties"),
        ));
    }
    if let Some(most) = schema["maxProperties"].as_u64().filter(|n| size > *n) {
        errors.push(FieldError {
            field: path.to_owned(),
            reason: "FieldValueTooMany",
            message: format!("Too many: {size}: must have at most {most} items"),
        });
    }
}

/// Lists declared as maps or sets may not repeat an element.
fn check_unique(schema: &Value, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
            let parts = keys.iter().filter_map(Value::as_str);
            Some(Value::Object(
                parts
                    .map(|key| (key.to_owned(), item[key].clone()))
                    .collect(),
            ))
        }
        _ => None,
    };
    let mut seen: Vec<Value> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(id) = identity(item) else { return };
        if seen.contains(&id) {
            errors.push(FieldError {
                field: format!("{path}[{index}]"),
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {id}"),
            });
        } else {
            seen.push(id);
        }
    }
}

fn check_combined(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let fits = |schema: &Value| {
        let mut found = Vec::new();
        check(schema, value, path, &mut found);
        found.is_empty()
    };
    let failed = |detail: &str| {
        let detail = format!("{path} in body {detail}");
        FieldError::invalid(path, value, &detail)
    };
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(part, value, path, errors);
    }
    if schema["anyOf"]
        .as_array()
        .is_some_and(|any| !any.iter().any(fits))
    {
        errors.push(failed("must validate at least one schema (anyOf)"));
    }
    if schema["oneOf"]
        .as_array()
        .is_some_and(|one| one.iter().filter(|s| fits(s)).count() != 1)
    {
        errors.push(failed("must validate one and only one schema (oneOf)"));
    }
    if schema.get("not").is_some_and(fits) {
        errors.push(failed("must not validate the schema (not)"));
    }
}

/// Whether a text matches a pattern; patterns that cannot be compiled match everything, as the schema is not ours.
fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: Mutex<Option<HashMap<String, Option<Regex>>>> = Mutex::new(None);
    const MOST: usize = 512;
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = compiled.get_or_insert_with(HashMap::new);
    if compiled.len() > MOST {
        compiled.clear();
    }
    compiled
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).ok())
        .as_ref()
        .is_none_or(|regex| regex.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["spec"],
            "properties": {
                "spec": {
                    "type": "object",
                    "required": ["size"],
                    "properties": {
                        "size": {"type": "integer", "minimum": 1, "maximum": 5},
                        "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                        "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
                        "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {
                            "type": "object", "required": ["k"], "properties": {
                                "k": {"type": "string"}, "v": {"type": "string", "default": "d"}},
                        }, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
                        "port": {"x-kubernetes-int-or-string": true},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "when": {"type": "string", "format": "date-time", "nullable": true},
                    },
                },
            },
        })
    }

    fn errors(spec: Value) -> Vec<String> {
        validate(
            &schema(),
            &json!({"apiVersion": "g/v1", "kind": "K", "metadata": {}, "spec": spec}),
        )
        .into_iter()
        .map(|e| format!("{}: {}", e.field, e.message))
        .collect()
    }

    #[test]
    fn good_objects_pass() {
        let good = json!({"size": 5, "mode": "b", "name": "ab", "list": [{"k": "x"}], "port": "http",
            "free": {"x": [1]}, "labels": {"a": "b"}, "when": null});
        assert!(errors(good).is_empty());
    }

    #[test]
    fn faults_are_told_in_the_servers_words() {
        for (spec, expected) in [
            (json!({}), "spec.size: Required value"),
            (
                json!({"size": 0}),
                "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
            ),
            (
                json!({"size": 9}),
                "spec.size: Invalid value: 9: spec.size in body should be less than or equal to 5",
            ),
            (
                json!({"size": "1"}),
                "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
            ),
            (
                json!({"size": 1, "mode": "c"}),
                "spec.mode: Unsupported value: \"c\": supported values: \"a\", \"b\"",
            ),
            (
                json!({"size": 1, "name": "a"}),
                "spec.name: Invalid value: \"a\": spec.name in body should be at least 2 chars long",
            ),
            (
                json!({"size": 1, "name": "abcde"}),
                "spec.name: Too long: may not be more than 4 bytes",
            ),
            (
                json!({"size": 1, "name": "A1"}),
                "spec.name: Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'",
            ),
            (
                json!({"size": 1, "list": []}),
                "spec.list: Invalid value: 0: spec.list in body should have at least 1 items",
            ),
            (
                json!({"size": 1, "list": [{}]}),
                "spec.list[0].k: Required value",
            ),
            (
                json!({"size": 1, "list": [{"k": "a"}, {"k": "a"}]}),
                "spec.list[1]: Duplicate value: {\"k\":\"a\"}",
            ),
            (
                json!({"size": 1, "labels": {"a": 1}}),
                "spec.labels.a: Invalid value: \"integer\": spec.labels.a in body must be of type string: \"integer\"",
            ),
            (
                json!({"size": null}),
                "spec.size: Invalid value: \"null\": spec.size in body must be of type integer: \"null\"",
            ),
        ] {
            assert_eq!(errors(spec), [expected]);
        }
        assert_eq!(errors(json!({"size": 1, "port": 1.5})).len(), 1);
        assert_eq!(errors(json!({"size": 1, "when": "yesterday"})).len(), 1);
    }

    #[test]
    fn unknown_fields_are_pruned_and_defaults_set() {
        let mut object = json!({"kind": "K", "metadata": {"name": "n"}, "bogus": 1, "spec": {
            "size": 1, "other": {"deep": 1}, "list": [{"k": "a", "z": 1}], "free": {"any": 1}, "labels": {"l": "m"}}});
        let unknown = prune(&schema(), &mut object);
        assert_eq!(unknown, ["bogus", "spec.other", "spec.list[0].z"]);
        default(&schema(), &mut object);
        assert_eq!(
            object["spec"],
            json!({"size": 1, "list": [{"k": "a", "v": "d"}], "free": {"any": 1}, "labels": {"l": "m"}, "mode": "a"})
        );
    }
}
