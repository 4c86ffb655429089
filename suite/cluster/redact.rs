//! Takes secrets out of what is recorded, at the moment of recording.

use serde_json::Value;

/// The shortest literal that is taken out, in bytes: a shorter one would hit innocent text everywhere.
pub(super) const SHORTEST: usize = 6;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// JSON keys whose values are secrets wherever they stand (compared without case, `-` and `_`).
const SECRET_KEYS: [&str; 16] = [
    "token",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "bearertoken",
    "password",
    "passwd",
    "authorization",
    "cookie",
    "setcookie",
    "accesskey",
    "secretkey",
    "secretaccesskey",
    "clientsecret",
    "clientkeydata",
    "privatekey",
];

/// Words in the name of an environment variable that make its value a secret.
const SECRET_WORDS: [&str; 6] = [
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "PRIVATE_KEY",
];

/// Takes secrets out (and `managedFields`, which nobody reads): by the kind of object, by key, by the shape of a token, and by the literals that a run knows to
/// be secret (the kubeconfig's own credentials and what the configuration's `redact` names).
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    literals: Vec<String>,
}

impl Redactor {
    /// A redactor that also takes out these literals. Those shorter than [`SHORTEST`] are not used.
    pub fn new(literals: impl IntoIterator<Item = String>) -> Self {
        let mut literals: Vec<String> = literals
            .into_iter()
            .filter(|l| l.len() >= SHORTEST)
            .collect();
        // The longest first, so that a secret that contains another goes as a whole.
        literals.sort_by_key(|l| std::cmp::Reverse(l.len()));
        literals.dedup();
        Self { literals }
    }

    /// Takes secrets out of a JSON document.
    pub fn value(&self, value: &mut Value) {
        self.walk(value);
    }

    /// Takes secrets out of a text.
    pub fn text(&self, text: &str) -> String {
        let mut out = without_tokens(text);
        for literal in &self.literals {
            if out.contains(literal.as_str()) {
                out = out.replace(literal.as_str(), REDACTED);
            }
        }
        out
    }

    /// Takes secrets out of a request that is to be recorded.
    pub(super) fn asked(&self, asked: &mut super::Asked) {
        match &mut asked.body {
            super::Body::Json(value) => self.value(value),
            super::Body::Text(text) => *text = self.text(text),
            super::Body::Empty | super::Body::Base64(_) => {}
        }
        for (name, value) in &mut asked.headers {
            *value = if is_secret_key(name) {
                REDACTED.to_owned()
            } else {
                self.text(value)
            };
        }
        asked.path = self.text(&asked.path);
    }

    fn walk(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let clean = self.text(text);
                if clean != *text {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item)),
            Value::Object(map) => {
                // Not a secret, but half of every object's bytes, and nothing that a check may read.
                map.shift_remove("managedFields");
                if map.get("kind").and_then(Value::as_str) == Some("Secret") || is_list_secret(map)
                {
                    for key in ["data", "stringData"] {
                        if let Some(Value::Object(data)) = map.get_mut(key) {
                            data.values_mut().for_each(|v| *v = REDACTED.into());
                        }
                    }
                    if let Some(Value::Object(annotations)) = map
                        .get_mut("metadata")
                        .and_then(|m| m.get_mut("annotations"))
                    {
                        // kubectl keeps a copy of the whole Secret there.
                        annotations.retain(|key, _| {
                            key != "kubectl.kubernetes.io/last-applied-configuration"
                        });
                    }
                }
                if map.get("kind").and_then(Value::as_str) == Some("SecretList")
                    && let Some(Value::Array(items)) = map.get_mut("items")
                {
                    for item in items.iter_mut().filter_map(Value::as_object_mut) {
                        item.entry("kind").or_insert_with(|| "Secret".into());
                    }
                }
                let secret_env = map
                    .get("name")
                    .and_then(Value::as_str)
                    .is_some_and(is_secret_name);
                for (key, item) in map.iter_mut() {
                    let secret = is_secret_key(key) || (secret_env && key == "value");
                    if secret && item.as_str().is_some_and(|s| !s.is_empty()) {
                        *item = REDACTED.into();
                    } else {
                        self.walk(item);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether a request is the one that was recorded: equal, but for what was redacted when it was recorded.
pub(super) fn same(recorded: &super::Asked, asked: &super::Asked) -> bool {
    if recorded == asked {
        return true;
    }
    let mut clean = asked.clone();
    Redactor::default().asked(&mut clean);
    recorded.method == clean.method
        && recorded.to == clean.to
        && recorded.identity == clean.identity
        && fits(&recorded.path, &clean.path)
        && recorded.headers.len() == clean.headers.len()
        && recorded
            .headers
            .iter()
            .zip(&clean.headers)
            .all(|((name, value), (other, clean))| name == other && fits(value, clean))
        && match (&recorded.body, &clean.body) {
            (super::Body::Json(recorded), super::Body::Json(clean)) => value_fits(recorded, clean),
            (super::Body::Text(recorded), super::Body::Text(clean)) => fits(recorded, clean),
            (recorded, clean) => recorded == clean,
        }
}

/// Whether a recorded text is this one, where any text may stand for [`REDACTED`]: what the run knew to be secret is not
/// known any more.
fn fits(recorded: &str, text: &str) -> bool {
    let Some((start, rest)) = recorded.split_once(REDACTED) else {
        return recorded == text;
    };
    let (middle, end) = rest.rsplit_once(REDACTED).unwrap_or(("", rest));
    let Some(mut text) = text
        .strip_prefix(start)
        .and_then(|text| text.strip_suffix(end))
    else {
        return false;
    };
    for part in middle.split(REDACTED) {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    true
}

fn value_fits(recorded: &Value, value: &Value) -> bool {
    match (recorded, value) {
        (Value::String(recorded), Value::String(text)) => fits(recorded, text),
        (Value::Array(recorded), Value::Array(items)) => {
            recorded.len() == items.len()
                && recorded.iter().zip(items).all(|(r, v)| value_fits(r, v))
        }
        (Value::Object(recorded), Value::Object(map)) => {
            recorded.len() == map.len()
                && recorded
                    .iter()
                    .all(|(key, r)| map.get(key).is_some_and(|v| value_fits(r, v)))
        }
        (recorded, value) => recorded == value,
    }
}

/// Items of a SecretList carry no kind; a `type` of Kubernetes' own gives them away.
fn is_list_secret(map: &serde_json::Map<String, Value>) -> bool {
    !map.contains_key("kind")
        && map.contains_key("data")
        && map
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|t| t == "Opaque" || t.contains('/'))
}

fn is_secret_key(key: &str) -> bool {
    let plain: String = key
        .chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect();
    SECRET_KEYS.contains(&plain.as_str())
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Replaces JSON web tokens (`eyJ….….…`) and the value behind `Bearer ` or `Basic `.
fn without_tokens(text: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '+' | '/');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["eyJ", "Bearer ", "Basic "]
        .iter()
        .filter_map(|mark| rest.find(mark))
        .min()
    {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(mark) = ["Bearer ", "Basic "]
            .into_iter()
            .find(|mark| rest.starts_with(mark))
        {
            let value = &rest[mark.len()..];
            let end = value.find(|c| !part(c) && c != '.').unwrap_or(value.len());
            out.push_str(mark);
            if end >= 8 {
                out.push_str(REDACTED);
                rest = &value[end..];
            } else {
                rest = value;
            }
        } else {
            let end = rest.find(|c| !part(c) && c != '.').unwrap_or(rest.len());
            let token = &rest[..end];
            if token.split('.').filter(|p| !p.is_empty()).count() >= 3 && token.len() >= 30 {
                out.push_str(REDACTED);
            } else {
                out.push_str(token);
            }
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl-_x";

    #[test]
    fn no_planted_secret_survives() {
        let redactor = Redactor::new(["hunter2-long".to_owned()]);
        let mut value = json!({
            "kind": "List",
            "items": [
                {"kind": "Secret", "data": {"a": "c2VjcmV0"}, "stringData": {"b": "planted"},
                 "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "planted"}}},
                {"type": "Opaque", "data": {"a": "cGxhbnRlZA=="}},
                {"spec": {"env": [{"name": "DB_PASSWORD", "value": "planted"}, {"name": "NB_PREFIX", "value": "/notebook"}]}},
                {"status": {"token": "planted"}},
                {"log": format!("Authorization: Bearer planted-token-x and {JWT} end hunter2-long")},
            ]
        });
        redactor.value(&mut value);
        let text = value.to_string();
        for secret in ["planted", "c2VjcmV0", "cGxhbnRlZA==", JWT, "hunter2-long"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("/notebook") && text.contains(" end "));
    }

    #[test]
    fn what_was_taken_out_may_be_any_text() {
        for (recorded, text, is) in [
            ("/a/[redacted]/b", "/a/planted/b", true),
            ("/a/[redacted]/b", "/a/planted/c", false),
            ("[redacted]-x-[redacted]", "one-x-two", true),
            ("[redacted]-x-[redacted]", "one-y-two", false),
            ("/a/b", "/a/c", false),
        ] {
            assert_eq!(fits(recorded, text), is, "{recorded} and {text}");
        }
        let recorded = json!({"a": ["[redacted]"], "b": 1});
        assert!(value_fits(&recorded, &json!({"a": ["x"], "b": 1})));
        assert!(!value_fits(&recorded, &json!({"a": ["x"], "b": 2})));
    }

    #[test]
    fn page_tokens_and_short_words_stay() {
        let redactor = Redactor::new(["abc".to_owned()]);
        let mut value =
            json!({"next_page_token": "eyJTb3J0IjoxfQ==", "continue": "abc", "name": "Basic auth"});
        let before = value.clone();
        redactor.value(&mut value);
        assert_eq!(value, before);
    }
}
