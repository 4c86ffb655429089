//! Conditions as Katib writes them, and the little of GJSON by which it finds them in what its trials run.

use serde_json::{Value, json};

/// The condition of a type, or null.
pub(super) fn find<'a>(object: &'a Value, kind: &str) -> &'a Value {
    const NONE: &Value = &Value::Null;
    let list = object["status"]["conditions"].as_array();
    list.into_iter()
        .flatten()
        .find(|c| c["type"] == kind)
        .unwrap_or(NONE)
}

/// Whether a condition is True.
pub(super) fn is(object: &Value, kind: &str) -> bool {
    find(object, kind)["status"] == "True"
}

/// Sets a condition. Katib leaves it alone when status and reason stay the same; else it comes to the end of the list.
pub(super) fn set(
    object: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: &str,
) {
    let current = find(object, kind);
    let same = current["status"] == status;
    if same && current["reason"] == reason {
        return;
    }
    let transition = if same {
        current["lastTransitionTime"].clone()
    } else {
        json!(now)
    };
    remove(object, kind);
    let condition = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": transition, "lastUpdateTime": now,
    });
    match object["status"]["conditions"].as_array_mut() {
        Some(list) => list.push(condition),
        None => object["status"]["conditions"] = json!([condition]),
    }
}

/// Removes a condition.
pub(super) fn remove(object: &mut Value, kind: &str) {
    if let Some(list) = object["status"]["conditions"].as_array_mut() {
        list.retain(|c| c["type"] != kind);
    }
}

/// Turns condition Running to False with its reason and message as they were, as all that ends does.
pub(super) fn stop_running(object: &mut Value, now: &str) {
    let running = find(object, "Running").clone();
    if running.is_object() {
        let text = |key: &str| running[key].as_str().unwrap_or_default();
        set(
            object,
            "Running",
            "False",
            text("reason"),
            text("message"),
            now,
        );
    }
}

/// What a success or failure condition finds in an object: the match itself, or the first of several. None where it
/// finds nothing, or something that is neither an object nor a list.
pub(super) fn matched(object: &Value, path: &str) -> Option<Value> {
    match eval(object.clone(), path)? {
        found @ Value::Object(_) => Some(found),
        Value::Array(list) => list.into_iter().next(),
        _ => None,
    }
}

/// Evaluates a GJSON path of keys, indices, `#(key==value)` (the first that matches) and `#(key==value)#` (all).
fn eval(value: Value, path: &str) -> Option<Value> {
    let (step, separator, rest) = split(path);
    let (found, many) = match step.strip_prefix("#(") {
        Some(query) => {
            let all = query.strip_suffix(")#");
            let query = all.or_else(|| query.strip_suffix(')'))?;
            let Value::Array(list) = value else {
                return None;
            };
            let mut matches = list.into_iter().filter(|item| holds(item, query));
            match all {
                Some(_) => (Value::Array(matches.collect()), true),
                None => (matches.next()?, false),
            }
        }
        None => (member(value, step)?, false),
    };
    match (separator, found) {
        (None, found) => Some(found),
        // Behind a dot each of several is looked into, behind a bar their list.
        (Some('.'), Value::Array(list)) if many => Some(Value::Array(
            list.into_iter().filter_map(|v| eval(v, rest)).collect(),
        )),
        (Some(_), found) => eval(found, rest),
    }
}

fn member(value: Value, key: &str) -> Option<Value> {
    match value {
        Value::Object(mut map) => map.remove(key),
        Value::Array(mut list) => {
            let index: usize = key.parse().ok()?;
            (index < list.len()).then(|| list.swap_remove(index))
        }
        _ => None,
    }
}

/// The first step of a path, what separates it from the rest, and the rest.
fn split(path: &str) -> (&str, Option<char>, &str) {
    let (mut depth, mut quoted) = (0_u32, false);
    for (at, c) in path.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            '.' | '|' if !quoted && depth == 0 => {
                return (&path[..at], Some(c), &path[at + 1..]);
            }
            _ => {}
        }
    }
    (path, None, "")
}

/// Whether an item of a list satisfies `key==value` or `key!=value`.
fn holds(item: &Value, query: &str) -> bool {
    let (key, wanted, equal) = match (query.split_once("=="), query.split_once("!=")) {
        (Some((key, value)), _) => (key, value, true),
        (None, Some((key, value))) => (key, value, false),
        (None, None) => return item.get(query.trim()).is_some(),
    };
    let wanted = wanted.trim();
    let wanted = wanted
        .strip_prefix('"')
        .and_then(|w| w.strip_suffix('"'))
        .unwrap_or(wanted);
    let Some(found) = eval(item.clone(), key.trim()) else {
        return false;
    };
    let text = match &found {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (text == wanted) == equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_move_to_the_end_when_they_change() {
        let mut object = json!({});
        set(&mut object, "Created", "True", "ExperimentCreated", "", "1");
        set(&mut object, "Running", "True", "ExperimentRunning", "", "2");
        set(
            &mut object,
            "Created",
            "True",
            "ExperimentCreated",
            "other",
            "3",
        );
        assert_eq!(find(&object, "Created")["lastUpdateTime"], "1");
        stop_running(&mut object, "4");
        set(
            &mut object,
            "Succeeded",
            "True",
            "ExperimentGoalReached",
            "",
            "4",
        );
        let kinds: Vec<&Value> = object["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| &c["type"])
            .collect();
        assert_eq!(kinds, ["Created", "Running", "Succeeded"]);
        assert!(is(&object, "Succeeded") && !is(&object, "Running"));
        assert_eq!(find(&object, "Running")["reason"], "ExperimentRunning");
    }

    #[test]
    fn the_documented_conditions_find_what_they_name() {
        let job = json!({"status": {"succeeded": 1, "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True"},
            {"type": "Complete", "status": "True", "reason": "CompletionsReached"},
            {"type": "Failed", "status": "False"},
        ]}});
        for (path, found) in [
            (
                r#"status.conditions.#(type=="Complete")#|#(status=="True")#"#,
                Some("Complete"),
            ),
            (
                r#"status.conditions.#(type=="Failed")#|#(status=="True")#"#,
                None,
            ),
            (r#"status.conditions.#(type=="Failed")"#, Some("Failed")),
            (
                r#"status.conditions.#(type!="Complete")"#,
                Some("SuccessCriteriaMet"),
            ),
            ("status.conditions.1", Some("Complete")),
            ("status.conditions.9", None),
            ("status.succeeded", None),
            ("status.absent.deeper", None),
        ] {
            let seen = matched(&job, path);
            assert_eq!(
                seen.as_ref().and_then(|c| c["type"].as_str()),
                found,
                "{path}"
            );
        }
    }
}
