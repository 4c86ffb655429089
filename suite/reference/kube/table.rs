//! Tables: what `kubectl get` shows, and the other reduced forms of objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::registry::{Column, ResourceType};
use super::world::World;

/// The form in which a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Object,
    Table,
    Metadata,
}

/// Reads the wanted form from an `Accept` header: the first that the server knows.
pub(super) fn wanted(accept: &str) -> Form {
    for media in accept.split(',') {
        let has = |parameter: &str| media.split(';').any(|part| part.trim() == parameter);
        if !media.trim().starts_with("application/json") {
            continue;
        }
        if has("as=Table") {
            return Form::Table;
        }
        if has("as=PartialObjectMetadata") || has("as=PartialObjectMetadataList") {
            return Form::Metadata;
        }
        return Form::Object;
    }
    Form::Object
}

/// An object reduced to its metadata.
pub(super) fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A table of objects.
pub(super) fn of(
    world: &World,
    kind: &ResourceType,
    version: &str,
    objects: &[Arc<Value>],
    include: Option<&str>,
) -> Value {
    let columns = &kind.version(version).unwrap_or(kind.stored()).columns;
    // A CRD that shows the age itself means it at its own place.
    let own_age = kind.custom && !columns.is_empty();
    let mut heads = vec![json!({"name": "Name", "type": "string", "format": "name",
        "description": "Name must be unique within a namespace.", "priority": 0})];
    heads.extend(columns.iter().map(|column| {
        json!({"name": column.name, "type": column.kind, "format": column.format,
               "description": column.description, "priority": column.priority})
    }));
    if !own_age {
        heads.push(json!({"name": "Age", "type": "string", "format": "", "priority": 0,
            "description": "CreationTimestamp is a timestamp representing the server time when this object was created."}));
    }
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut cells = vec![object["metadata"]["name"].clone()];
            cells.extend(columns.iter().map(|column| cell(world, column, object)));
            if !own_age {
                cells.push(json!(age(world, &object["metadata"]["creationTimestamp"])));
            }
            let shown = match include {
                Some("None") => Value::Null,
                Some("Object") => Value::clone(object),
                _ => metadata_only(object),
            };
            json!({"cells": cells, "object": shown})
        })
        .collect();
    let at = match objects {
        [one] => one["metadata"]["resourceVersion"].clone(),
        _ => json!(""),
    };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": at},
           "columnDefinitions": heads, "rows": rows})
}

fn cell(world: &World, column: &Column, object: &Value) -> Value {
    if let Some(name) = column.path.strip_prefix('@') {
        return computed(name, object);
    }
    let found = find(object, &column.path);
    match (column.kind.as_str(), found) {
        (_, None | Some(Value::Null)) => match column.kind.as_str() {
            "integer" | "number" if column.path.starts_with(".status") => json!(0),
            _ => Value::Null,
        },
        ("date", Some(value)) => json!(age(world, value)),
        ("string", Some(Value::String(text))) => json!(text),
        ("string", Some(value)) => json!(value.to_string()),
        (_, Some(value)) => value.clone(),
    }
}

/// How long ago a time was, as `kubectl` shows it.
fn age(world: &World, time: &Value) -> String {
    let Some(then) = time
        .as_str()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
    else {
        return "<unknown>".to_owned();
    };
    let seconds = world.clock().now().as_second() - then.as_second();
    duration(seconds)
}

fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        1..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        172_800..63_072_000 => format!("{days}d"),
        _ => format!("{}y{}d", days / 365, days % 365),
    }
}

/// The part of a JSONPath that columns use: `.a.b`, `['a']`, `[0]`, `[-1]`, `[-1:]`, `[*]`, `[?(@.a=="b")]`.
pub(super) fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = object;
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (step, after) = inner.split_once(']')?;
            // A filter may hold brackets only in its text, which columns never do.
            value = index(value, step)?;
            rest = after;
        } else {
            let name = rest.trim_start_matches('.');
            let end = next_step(name);
            let key = name[..end].replace("\\.", ".");
            value = value.get(&key)?;
            rest = &name[end..];
        }
    }
    Some(value)
}

/// Where the first step of a path ends: at an unescaped dot or a bracket.
fn next_step(path: &str) -> usize {
    let mut escaped = false;
    for (at, c) in path.char_indices() {
        match c {
            '\\' => escaped = true,
            '.' | '[' if !escaped => return at,
            _ => escaped = false,
        }
    }
    path.len()
}

fn index<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    if let Some(filter) = step
        .strip_prefix("?(@.")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let (path, wanted) = filter.split_once("==")?;
        let wanted = wanted.trim().trim_matches(['"', '\'']);
        let fits = |item: &&Value| match find(item, path.trim()) {
            Some(Value::String(text)) => text == wanted,
            Some(other) => wanted.parse::<Value>().is_ok_and(|wanted| wanted == *other),
            None => false,
        };
        return value.as_array()?.iter().find(fits);
    }
    let name = step.trim_matches(['"', '\'']);
    if name != step {
        return value.get(name);
    }
    let items = value.as_array()?;
    match step.trim_end_matches(':') {
        "*" | "" => items.first(),
        number => {
            if let Some(back) = number.strip_prefix('-') {
                return items.get(items.len().checked_sub(back.parse().ok()?)?);
            }
            items.get(number.parse::<usize>().ok()?)
        }
    }
}

/// Columns of built-in types that no path leads to.
fn computed(name: &str, object: &Value) -> Value {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let status = &object["status"];
    match name {
        "ready" => {
            let statuses = status["containerStatuses"].as_array();
            let ready =
                statuses.map_or(0, |list| list.iter().filter(|c| c["ready"] == true).count());
            let all = object["spec"]["containers"].as_array().map_or(0, Vec::len);
            json!(format!("{ready}/{all}"))
        }
        "reason" => json!(pod_reason(object)),
        "restarts" => {
            let statuses = status["containerStatuses"].as_array();
            let restarts: i64 = statuses
                .into_iter()
                .flatten()
                .map(|c| number(&c["restartCount"]))
                .sum();
            json!(restarts.to_string())
        }
        "replicas" => json!(format!(
            "{}/{}",
            number(&status["readyReplicas"]),
            number(&object["spec"]["replicas"])
        )),
        "completions" => {
            let wanted = object["spec"]["completions"].as_i64().unwrap_or(1);
            json!(format!("{}/{wanted}", number(&status["succeeded"])))
        }
        "condition" => {
            let holds =
                |kind: &str| super::condition(object, kind).is_some_and(|c| c["status"] == "True");
            json!(
                ["Complete", "Failed", "Suspended"]
                    .into_iter()
                    .find(|kind| holds(kind))
                    .unwrap_or("Running")
            )
        }
        "ports" => {
            let ports = object["spec"]["ports"].as_array().into_iter().flatten();
            let texts: Vec<String> = ports
                .map(|port| {
                    format!(
                        "{}/{}",
                        number(&port["port"]),
                        port["protocol"].as_str().unwrap_or("TCP")
                    )
                })
                .collect();
            json!(texts.join(","))
        }
        "data" => {
            let count = |key: &str| object[key].as_object().map_or(0, serde_json::Map::len);
            json!(count("data") + count("binaryData"))
        }
        "node" => {
            let ready = super::condition(object, "Ready").is_some_and(|c| c["status"] == "True");
            json!(if ready { "Ready" } else { "NotReady" })
        }
        "role" => {
            let role = &object["roleRef"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            json!(format!("{}/{}", text(&role["kind"]), text(&role["name"])))
        }
        _ => Value::Null,
    }
}

fn pod_reason(pod: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let status = &pod["status"];
    let mut reason = text(&status["reason"])
        .or_else(|| text(&status["phase"]))
        .unwrap_or_default();
    for container in status["containerStatuses"].as_array().into_iter().flatten() {
        let state = &container["state"];
        if let Some(found) =
            text(&state["waiting"]["reason"]).or_else(|| text(&state["terminated"]["reason"]))
        {
            reason = found;
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_null() {
        reason
    } else {
        "Terminating".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (119, "119s"),
            (150, "2m30s"),
            (600, "10m"),
            (10_900, "3h1m"),
            (90_000, "25h"),
            (700_000, "8d"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn column_paths_are_found() {
        let object =
            json!({"a": {"b.c": 1, "list": [{"type": "X", "v": 1}, {"type": "Ready", "v": 2}]}});
        let value = |path: &str| find(&object, path).cloned();
        assert_eq!(value(".a.b\\.c"), Some(json!(1)));
        assert_eq!(value(".a.list[-1:].type"), Some(json!("Ready")));
        assert_eq!(value(".a.list[0].v"), Some(json!(1)));
        assert_eq!(value(".a.list[?(@.type==\"Ready\")].v"), Some(json!(2)));
        assert_eq!(value(".a['b.c']"), Some(json!(1)));
        assert_eq!(value(".a.list[?(@.type=='None')].v"), None);
    }

    #[test]
    fn the_first_known_form_counts() {
        assert_eq!(
            wanted("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
            Form::Table
        );
        assert_eq!(wanted("application/json"), Form::Object);
        assert_eq!(
            wanted("application/vnd.kubernetes.protobuf,application/json"),
            Form::Object
        );
        assert_eq!(
            wanted("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Form::Metadata
        );
        assert_eq!(wanted(""), Form::Object);
    }
}
