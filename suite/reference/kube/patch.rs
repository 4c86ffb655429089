//! The patch formats: JSON merge patch, JSON patch, strategic merge patch.

use serde_json::{Map, Value};

use super::status::ApiError;

/// RFC 7396: members are merged, `null` removes, anything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The member that tells elements of the list at `path` apart, for the lists of built-in types that are merged.
fn merge_key(path: &str) -> Option<&'static str> {
    Some(match path {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "secrets" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" => "containerPort",
        "ownerReferences" => "uid",
        "conditions" => "type",
        "hostAliases" | "podIPs" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

/// Lists of plain values that are merged as sets.
fn merged_set(path: &str) -> bool {
    path == "finalizers"
}

/// Strategic merge patch: as `merge`, but the lists of `merge_key` are merged element by element and the
/// `$patch`, `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…` directives are followed.
pub fn strategic(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        let mut patch = patch.clone();
        patch.shift_remove("$patch");
        *target = Value::Object(patch);
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        target.retain(|key, _| kept.iter().any(|k| k == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Some(gone)) =
                (target.get_mut(list), value.as_array())
            {
                items.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            // The order of elements carries no meaning in the lists that are merged.
        } else if value.is_null() || value.get("$patch").and_then(Value::as_str) == Some("delete") {
            target.shift_remove(key);
        } else {
            let place = target.entry(key.clone()).or_insert(Value::Null);
            match (value, key_of(key, value)) {
                (Value::Array(items), Some(id)) => merge_list(place, items, id),
                (Value::Array(items), None) if merged_set(key) => {
                    let list = array(place);
                    for item in items {
                        if !list.contains(item) {
                            list.push(item.clone());
                        }
                    }
                }
                _ => strategic(place, value),
            }
        }
    }
}

/// As `merge_key`; the ports of a Service go by `port`, those of a container by `containerPort`.
fn key_of(path: &str, value: &Value) -> Option<&'static str> {
    let id = merge_key(path)?;
    let items = value.as_array()?;
    if path == "ports" && items.iter().any(|item| item.get("containerPort").is_none()) {
        return items
            .iter()
            .all(|item| item.get("port").is_some() || item.get("$patch").is_some())
            .then_some("port");
    }
    items.iter().all(Value::is_object).then_some(id)
}

fn array(place: &mut Value) -> &mut Vec<Value> {
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    match place {
        Value::Array(items) => items,
        _ => unreachable!("was just made an array"),
    }
}

fn merge_list(place: &mut Value, patches: &[Value], id: &str) {
    let list = array(place);
    if patches
        .iter()
        .any(|p| p.get("$patch").and_then(Value::as_str) == Some("replace"))
    {
        list.clear();
    }
    for patch in patches {
        let same = |item: &Value| item[id] == patch[id];
        match patch.get("$patch").and_then(Value::as_str) {
            Some("delete") => list.retain(|item| !same(item)),
            Some("replace") if patch.get(id).is_none() => {}
            _ => {
                if let Some(item) = list.iter_mut().find(|item| same(item)) {
                    strategic(item, patch);
                } else {
                    let mut item = Value::Object(Map::new());
                    strategic(&mut item, patch);
                    list.push(item);
                }
            }
        }
    }
}

/// The merge that server-side apply comes down to while one manager owns each field: members are merged, keyed
/// lists element by element, other lists replaced, and what the manager applied before but no longer does is removed.
pub fn apply(target: &mut Value, before: Option<&Value>, applied: &Value) {
    if let Some(before) = before {
        remove_dropped(target, before, applied);
    }
    strategic(target, applied);
}

fn remove_dropped(target: &mut Value, before: &Value, applied: &Value) {
    let (Value::Object(target), Value::Object(before)) = (target, before) else {
        return;
    };
    for (key, old) in before {
        match (applied.get(key), target.get_mut(key)) {
            (None, _) => {
                target.shift_remove(key);
            }
            (Some(new), Some(value)) => {
                if let Some(id) = key_of(key, old) {
                    drop_elements(value, old, new, id);
                } else if merged_set(key) {
                    let gone = |item: &Value| {
                        old.as_array().is_some_and(|l| l.contains(item))
                            && new.as_array().is_none_or(|l| !l.contains(item))
                    };
                    array(value).retain(|item| !gone(item));
                } else {
                    remove_dropped(value, old, new);
                }
            }
            (Some(_), None) => {}
        }
    }
}

fn drop_elements(value: &mut Value, old: &Value, new: &Value, id: &str) {
    let in_list = |list: &Value, item: &Value| {
        list.as_array()
            .is_some_and(|l| l.iter().any(|other| other[id] == item[id]))
    };
    array(value).retain(|item| !in_list(old, item) || in_list(new, item));
    for item in array(value) {
        let of = |list: &'_ Value| {
            list.as_array()
                .and_then(|l| l.iter().find(|other| other[id] == item[id]))
                .cloned()
        };
        if let (Some(old), Some(new)) = (of(old), of(new)) {
            remove_dropped(item, &old, &new);
        }
    }
}

/// RFC 6902. Any operation that does not apply makes the whole patch fail.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let failed = |message: String| ApiError::new(422, "Invalid", message);
    let Some(operations) = patch.as_array() else {
        return Err(ApiError::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ));
    };
    for operation in operations {
        let path = operation["path"].as_str().unwrap_or_default();
        let unapplied = || {
            failed(format!(
                "the server rejected our request due to an error in our request: {} operation does not apply: \
                 doc is missing path: {path:?}",
                operation["op"].as_str().unwrap_or_default()
            ))
        };
        match operation["op"].as_str() {
            Some("add") => {
                insert(target, path, operation["value"].clone()).ok_or_else(unapplied)?;
            }
            Some("remove") => {
                take(target, path).ok_or_else(unapplied)?;
            }
            Some("replace") => {
                *target.pointer_mut(path).ok_or_else(unapplied)? = operation["value"].clone();
            }
            Some("test") => {
                if target.pointer(path) != Some(&operation["value"]) {
                    return Err(failed(format!(
                        "the server rejected our request due to an error in our request: testing value {path} failed"
                    )));
                }
            }
            Some(verb @ ("move" | "copy")) => {
                let from = operation["from"].as_str().unwrap_or_default();
                let value = if verb == "move" {
                    take(target, from)
                } else {
                    target.pointer(from).cloned()
                };
                insert(target, path, value.ok_or_else(unapplied)?).ok_or_else(unapplied)?;
            }
            other => {
                return Err(ApiError::bad_request(format!(
                    "unexpected kind of patch operation: {}",
                    other.unwrap_or_default()
                )));
            }
        }
    }
    Ok(())
}

fn parent<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Some((target.pointer_mut(parent)?, last))
}

fn insert(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    match parent(target, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(list), key) if key == "-" => list.push(value),
        (Value::Array(list), key) => {
            let index = key.parse::<usize>().ok().filter(|i| *i <= list.len())?;
            list.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(target: &mut Value, path: &str) -> Option<Value> {
    match parent(target, path)? {
        (Value::Object(map), key) => map.shift_remove(&key),
        (Value::Array(list), key) => {
            let index = key.parse::<usize>().ok().filter(|i| *i < list.len())?;
            Some(list.remove(index))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patches_replace_lists_and_remove_nulls() {
        let mut value = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        merge(
            &mut value,
            &json!({"a": {"b": null, "c": [3]}, "e": {"f": null, "g": 1}}),
        );
        assert_eq!(value, json!({"a": {"c": [3]}, "d": 1, "e": {"g": 1}}));
    }

    #[test]
    fn strategic_patches_merge_keyed_lists() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}], "args": ["x"]}, {"name": "b"},
        ]}});
        strategic(
            &mut pod,
            &json!({"spec": {"$setElementOrder/containers": [], "containers": [
                {"name": "a", "env": [{"name": "Y", "value": "2"}], "args": ["y"]},
                {"name": "b", "$patch": "delete"}, {"name": "c", "ports": [{"containerPort": 1}]},
            ]}}),
        );
        assert_eq!(
            pod,
            json!({"spec": {"containers": [
                {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
                 "args": ["y"]},
                {"name": "c", "ports": [{"containerPort": 1}]},
            ]}})
        );
    }

    #[test]
    fn apply_removes_what_the_manager_dropped() {
        let mut object = json!({"data": {"mine": "1", "gone": "1", "theirs": "1"}});
        let before = json!({"data": {"mine": "1", "gone": "1"}});
        apply(&mut object, Some(&before), &json!({"data": {"mine": "2"}}));
        assert_eq!(object, json!({"data": {"mine": "2", "theirs": "1"}}));
    }

    #[test]
    fn json_patches_apply_whole_or_fail() {
        let mut value = json!({"a": [1, 2], "m/n": 1});
        let patch = json!([
            {"op": "test", "path": "/a/0", "value": 1},
            {"op": "add", "path": "/a/1", "value": 9},
            {"op": "add", "path": "/a/-", "value": 8},
            {"op": "remove", "path": "/m~1n"},
            {"op": "copy", "from": "/a", "path": "/b"},
            {"op": "move", "from": "/a/0", "path": "/c"},
            {"op": "replace", "path": "/a/0", "value": 7},
        ]);
        json_patch(&mut value, &patch).expect("applies");
        assert_eq!(value, json!({"a": [7, 2, 8], "b": [1, 9, 2, 8], "c": 1}));
        for bad in [
            json!([{"op": "remove", "path": "/nope"}]),
            json!([{"op": "test", "path": "/c", "value": 2}]),
            json!([{"op": "add", "path": "/a/9", "value": 2}]),
            json!([{"op": "zap", "path": "/a"}]),
            json!({}),
        ] {
            assert!(json_patch(&mut value, &bad).is_err(), "{bad}");
        }
    }
}
