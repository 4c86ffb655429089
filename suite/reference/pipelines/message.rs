//! Reads request bodies as strictly as the API server does: unknown fields, wrong types and two of a kind are refused.

use serde_json::{Map, Value};

use super::refusal::{Refusal, code};

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Text.
    Text,
    /// An int64: a number or a text of one.
    Int64,
    /// A boolean.
    Bool,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Any JSON object.
    Object,
    /// A message.
    Message(&'static [Field]),
    /// Whatever it is; such fields are the server's to fill in.
    Any,
}

/// A field: its name in snake case, its shape, and the group of which only one may be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field(
    pub(super) &'static str,
    pub(super) Shape,
    pub(super) &'static str,
);

const fn text(name: &'static str) -> Field {
    Field(name, Shape::Text, "")
}

const STORAGE: Shape = Shape::Enum(&["STORAGE_STATE_UNSPECIFIED", "AVAILABLE", "ARCHIVED"]);
const REFERENCE: Shape = Shape::Message(&[text("pipeline_id"), text("pipeline_version_id")]);
const RUNTIME: Shape = Shape::Message(&[
    Field("parameters", Shape::Object, ""),
    text("pipeline_root"),
]);

/// An experiment.
pub(super) const EXPERIMENT: &[Field] = &[
    text("experiment_id"),
    text("display_name"),
    text("description"),
    text("created_at"),
    text("namespace"),
    Field("storage_state", STORAGE, ""),
    text("last_run_created_at"),
];

/// A pipeline.
pub(super) const PIPELINE: &[Field] = &[
    text("pipeline_id"),
    text("display_name"),
    text("name"),
    text("description"),
    text("created_at"),
    text("namespace"),
    Field("error", Shape::Any, ""),
    Field("tags", Shape::Object, ""),
];

/// A version of a pipeline.
pub(super) const VERSION: &[Field] = &[
    text("pipeline_id"),
    text("pipeline_version_id"),
    text("display_name"),
    text("name"),
    text("description"),
    text("created_at"),
    Field("package_url", Shape::Message(&[text("pipeline_url")]), ""),
    text("code_source_url"),
    Field("pipeline_spec", Shape::Object, ""),
    Field("error", Shape::Any, ""),
    Field("tags", Shape::Object, ""),
];

/// A run.
pub(super) const RUN: &[Field] = &[
    text("experiment_id"),
    text("run_id"),
    text("display_name"),
    Field("storage_state", STORAGE, ""),
    text("description"),
    Field("pipeline_version_id", Shape::Text, "Run.pipeline_source"),
    Field("pipeline_spec", Shape::Object, "Run.pipeline_source"),
    Field(
        "pipeline_version_reference",
        REFERENCE,
        "Run.pipeline_source",
    ),
    Field("runtime_config", RUNTIME, ""),
    text("service_account"),
    Field("created_at", Shape::Any, ""),
    Field("scheduled_at", Shape::Any, ""),
    Field("finished_at", Shape::Any, ""),
    Field("state", Shape::Any, ""),
    Field("error", Shape::Any, ""),
    Field("run_details", Shape::Any, ""),
    text("recurring_run_id"),
    Field("state_history", Shape::Any, ""),
    Field("plugins_input", Shape::Object, ""),
];

/// A recurring run.
pub(super) const RECURRING_RUN: &[Field] = &[
    text("recurring_run_id"),
    text("display_name"),
    text("description"),
    Field(
        "pipeline_version_id",
        Shape::Text,
        "RecurringRun.pipeline_source",
    ),
    Field(
        "pipeline_spec",
        Shape::Object,
        "RecurringRun.pipeline_source",
    ),
    Field(
        "pipeline_version_reference",
        REFERENCE,
        "RecurringRun.pipeline_source",
    ),
    Field("runtime_config", RUNTIME, ""),
    text("service_account"),
    Field("max_concurrency", Shape::Int64, ""),
    Field(
        "trigger",
        Shape::Message(&[
            Field(
                "cron_schedule",
                Shape::Message(&[text("start_time"), text("end_time"), text("cron")]),
                "Trigger.trigger",
            ),
            Field(
                "periodic_schedule",
                Shape::Message(&[
                    text("start_time"),
                    text("end_time"),
                    Field("interval_second", Shape::Int64, ""),
                ]),
                "Trigger.trigger",
            ),
        ]),
        "",
    ),
    Field(
        "mode",
        Shape::Enum(&["MODE_UNSPECIFIED", "ENABLE", "DISABLE"]),
        "",
    ),
    Field("created_at", Shape::Any, ""),
    Field("updated_at", Shape::Any, ""),
    Field("status", Shape::Any, ""),
    Field("error", Shape::Any, ""),
    Field("no_catchup", Shape::Bool, ""),
    text("namespace"),
    text("experiment_id"),
];

/// The operations of a filter's predicate.
const OPERATIONS: &[&str] = &[
    "OPERATION_UNSPECIFIED",
    "EQUALS",
    "NOT_EQUALS",
    "GREATER_THAN",
    "GREATER_THAN_EQUALS",
    "LESS_THAN",
    "LESS_THAN_EQUALS",
    "IN",
    "IS_SUBSTRING",
];

/// A predicate of a filter.
pub(super) const PREDICATE: &[Field] = &[
    Field("operation", Shape::Enum(OPERATIONS), ""),
    text("key"),
    Field("int_value", Shape::Int64, "Predicate.value"),
    Field("long_value", Shape::Int64, "Predicate.value"),
    Field("string_value", Shape::Text, "Predicate.value"),
    Field("timestamp_value", Shape::Text, "Predicate.value"),
    Field("int_values", Shape::Object, "Predicate.value"),
    Field("long_values", Shape::Object, "Predicate.value"),
    Field("string_values", Shape::Object, "Predicate.value"),
];

/// Reads a body. An empty one is an empty message; keys come out in snake case, int64 as numbers.
pub(super) fn decode(body: &str, fields: &[Field]) -> Result<Map<String, Value>, Refusal> {
    if body.trim().is_empty() {
        return Ok(Map::new());
    }
    let value = parse(body)?;
    message(body, &value, fields)
}

/// Reads a body as a server does that ignores what it does not know.
pub(super) fn decode_known(body: &str, fields: &[Field]) -> Result<Map<String, Value>, Refusal> {
    let mut value = parse(body)?;
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| {
            fields
                .iter()
                .any(|field| field.0 == key || camel(field.0) == *key)
        });
    }
    message(body, &value, fields)
}

/// Reads a body as a server does that takes the first of what excludes each other.
pub(super) fn decode_any(body: &str, fields: &[Field]) -> Result<Map<String, Value>, Refusal> {
    let fields: Vec<Field> = fields
        .iter()
        .map(|field| Field(field.0, field.1, ""))
        .collect();
    decode(body, &fields)
}

/// Any JSON, or the refusal in the server's words.
pub(super) fn parse(body: &str) -> Result<Value, Refusal> {
    serde_json::from_str(body).map_err(|error| {
        let message = if error.is_eof() {
            "unexpected EOF".to_owned()
        } else {
            let word: String = body.chars().take(16).collect();
            format!(
                "proto: syntax error (line {}:{}): invalid value {word}",
                error.line(),
                error.column()
            )
        };
        Refusal::gateway(code::INVALID_ARGUMENT, message)
    })
}

/// Checks a value that must be a message.
pub(super) fn message(
    body: &str,
    value: &Value,
    fields: &[Field],
) -> Result<Map<String, Value>, Refusal> {
    let Value::Object(given) = value else {
        return Err(proto(
            body,
            "",
            &format!("syntax error: unexpected token {value}"),
        ));
    };
    let mut found = Map::new();
    let mut groups = Vec::new();
    for (key, value) in given {
        let Some(Field(name, shape, group)) = fields
            .iter()
            .find(|field| field.0 == key || camel(field.0) == *key)
        else {
            return Err(proto(body, key, &format!("unknown field \"{key}\"")));
        };
        if value.is_null() {
            continue;
        }
        if !group.is_empty() {
            if groups.contains(group) {
                let full = format!("kubeflow.pipelines.backend.api.v2beta1.{group}");
                let why = format!("error parsing \"{key}\", oneof {full} is already set");
                return Err(proto(body, key, &why));
            }
            groups.push(*group);
        }
        found.insert((*name).to_owned(), field(body, name, key, value, *shape)?);
    }
    Ok(found)
}

fn field(body: &str, name: &str, key: &str, value: &Value, shape: Shape) -> Result<Value, Refusal> {
    let wrong = |kind: &str| {
        let why = format!("invalid value for {kind} field {}: {value}", camel(name));
        Err(proto_at(after(body, key), &why))
    };
    match shape {
        Shape::Text if !value.is_string() => wrong("string"),
        Shape::Bool if !value.is_boolean() => wrong("bool"),
        Shape::Object if !value.is_object() => wrong("message"),
        Shape::Int64 => {
            let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
            number.map_or_else(|| wrong("int64"), |number| Ok(number.into()))
        }
        Shape::Enum(words) => match value.as_str() {
            Some(word) if words.contains(&word) => Ok(value.clone()),
            _ => wrong("enum"),
        },
        Shape::Message(fields) => message(body, value, fields).map(Value::Object),
        _ => Ok(value.clone()),
    }
}

/// What is wrong with a key.
fn proto(body: &str, key: &str, why: &str) -> Refusal {
    proto_at(body.find(&format!("\"{key}\"")).unwrap_or(0), why)
}

/// What is wrong at a place of the body.
fn proto_at(place: usize, why: &str) -> Refusal {
    Refusal::gateway(
        code::INVALID_ARGUMENT,
        format!("proto: (line 1:{}): {why}", place + 1),
    )
}

/// Where the value of a key begins.
fn after(body: &str, key: &str) -> usize {
    let quoted = format!("\"{key}\"");
    body.find(&quoted).map_or(0, |place| {
        let end = place + quoted.len();
        let rest = body[end..].trim_start_matches([' ', '\t', '\n', '\r', ':']);
        body.len() - rest.len()
    })
}

/// `display_name` as `displayName`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_strictly() {
        let read = |body| decode(body, RUN).map(|m| Value::Object(m).to_string());
        for (body, read_as) in [
            ("", "{}"),
            (r#"{"displayName": "a"}"#, r#"{"display_name":"a"}"#),
            (r#"{"display_name": null}"#, "{}"),
        ] {
            assert_eq!(read(body).as_deref(), Ok(read_as), "{body}");
        }
        for (body, why) in [
            (r#"{"display_name":"#, "unexpected EOF"),
            (r#"{"a": 1}"#, "proto: (line 1:2): unknown field \"a\""),
            (
                r#"{"display_name": 5}"#,
                "invalid value for string field displayName: 5",
            ),
            (
                r#"{"pipeline_spec": {}, "pipeline_version_reference": {}}"#,
                "oneof kubeflow.pipelines.backend.api.v2beta1.Run.pipeline_source is already set",
            ),
        ] {
            let refusal = read(body).unwrap_err();
            assert!(refusal.message.contains(why), "{body}: {}", refusal.message);
        }
        let recurring = decode(r#"{"max_concurrency": "3"}"#, RECURRING_RUN).unwrap();
        assert_eq!(recurring["max_concurrency"], 3);
    }
}
