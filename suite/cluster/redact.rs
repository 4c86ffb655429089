//! Takes secrets out of what is recorded, at the moment of recording.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::{NoExpand, Regex, RegexBuilder};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Answer, Body, Endpoint, Identity, TransportError, discover::escape};

/// The shortest literal that is taken out, in bytes: a shorter one would hit innocent text everywhere.
pub(super) const SHORTEST: usize = 6;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// JSON keys whose values are secrets wherever they stand (compared without case, `-` and `_`).
const SECRET_KEYS: [&str; 17] = [
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
    "clientcertificatedata",
    "privatekey",
];

/// Keys of Kubernetes objects that nobody reads: half of every object's bytes, and a copy of what somebody applied.
const NEVER: [&str; 2] = [
    "managedFields",
    "kubectl.kubernetes.io/last-applied-configuration",
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

/// Takes secrets out, and what nobody reads: by the kind of object, by key, by the shape of a token, and by the literals
/// that a run knows to be secret (its credentials and what the configuration's `redact` names). A literal goes in each
/// form in which somebody else may have written it: in JSON, in a URL, in hexadecimal, within base64.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    literals: BTreeSet<String>,
    pattern: Option<Regex>,
}

impl Redactor {
    /// A redactor that also takes out these literals. Those shorter than [`SHORTEST`] are not used.
    pub fn new(literals: impl IntoIterator<Item = String>) -> Self {
        let literals = literals.into_iter().filter(|l| l.len() >= SHORTEST);
        let mut redactor = Self {
            literals: literals.collect(),
            pattern: None,
        };
        redactor.prepare();
        redactor
    }

    /// Takes this literal out, too, from now on.
    pub(super) fn learn(&mut self, literal: &str) {
        if literal.len() >= SHORTEST && self.literals.insert(literal.to_owned()) {
            self.prepare();
        }
    }

    fn prepare(&mut self) {
        let forms: BTreeSet<String> = self.literals.iter().flat_map(|l| forms(l)).collect();
        let mut forms: Vec<String> = forms.iter().map(|form| regex::escape(form)).collect();
        // The longest first, so that a secret that contains another goes as a whole.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        self.pattern = (!forms.is_empty()).then(|| {
            RegexBuilder::new(&forms.join("|"))
                .size_limit(usize::MAX)
                .build()
                .expect("texts that are escaped are a regular expression")
        });
    }

    /// Takes secrets out of a JSON document.
    pub fn value(&self, value: &mut Value) {
        self.walk(value);
    }

    /// Takes secrets out of a text.
    pub fn text(&self, text: &str) -> String {
        let out = without_tokens(&without_keys(&without_user(text)));
        match &self.pattern {
            Some(pattern) => pattern.replace_all(&out, NoExpand(REDACTED)).into_owned(),
            None => out,
        }
    }

    /// Takes secrets out of all texts of something that is to be written. Its keys are ours; so are its numbers.
    pub(crate) fn written<T: Serialize + DeserializeOwned>(&self, value: &T) -> T {
        let json = serde_json::to_value(value).expect("what is written is JSON");
        let clean = |redactor: &Self| {
            let mut json = json.clone();
            redactor.texts(&mut json);
            serde_json::from_value(json).ok()
        };
        clean(self).unwrap_or_else(|| {
            // A literal that is a word of the format, as `passed` is, hides nothing there.
            let literals = self.literals.iter().cloned();
            let usable = literals.filter(|literal| clean(&Self::new([literal.clone()])).is_some());
            clean(&Self::new(usable))
                .or_else(|| clean(&Self::default()))
                .expect("what was written can be read")
        })
    }

    fn texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.replace(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.texts(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.texts(item)),
            _ => {}
        }
    }

    fn replace(&self, text: &mut String) {
        let clean = self.text(text);
        if clean != *text {
            *text = clean;
        }
    }

    /// Takes secrets out of a request that is to be recorded.
    pub(super) fn asked(&self, asked: &mut super::Asked) {
        match &mut asked.to {
            Endpoint::Pod(name) | Endpoint::Component(name) => self.replace(name),
            Endpoint::Kubernetes => {}
        }
        match &mut asked.identity {
            Identity::ServiceAccount {
                namespace,
                name,
                audience,
            } => {
                self.replace(namespace);
                self.replace(name);
                if let Some(audience) = audience {
                    self.replace(audience);
                }
            }
            Identity::User { name } => name.replace(|name| self.replace(name)),
            Identity::Suite | Identity::Nobody => {}
        }
        self.body(&mut asked.body);
        self.headers(&mut asked.headers);
        self.replace(&mut asked.path);
    }

    /// Takes secrets out of an answer that is to be recorded.
    pub(super) fn answer(&self, answer: &mut Answer) {
        self.body(&mut answer.body);
        self.headers(&mut answer.headers);
    }

    /// Takes secrets out of why there is no answer.
    pub(super) fn error(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::Unreachable(why) => TransportError::Unreachable(self.text(&why)),
            TransportError::Refused(why) => TransportError::Refused(self.text(&why)),
            TransportError::Credential(why) => TransportError::Credential(self.text(&why)),
            TransportError::NotRecorded(what) => TransportError::NotRecorded(self.text(&what)),
            other @ (TransportError::Timeout(_)
            | TransportError::TooLarge(_)
            | TransportError::TooManyPages(_)
            | TransportError::Deadline) => other,
        }
    }

    fn body(&self, body: &mut Body) {
        match body {
            Body::Json(value) => self.value(value),
            // Of bytes that are no text, what is within the base64 of them is found.
            Body::Text(text) | Body::Base64(text) => self.replace(text),
            Body::Empty => {}
        }
    }

    fn headers(&self, headers: &mut BTreeMap<String, String>) {
        for (name, value) in headers {
            if is_secret_key(name) {
                REDACTED.clone_into(value);
            } else {
                self.replace(value);
            }
        }
    }

    fn walk(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.replace(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item)),
            Value::Object(map) => {
                for key in NEVER {
                    map.shift_remove(key);
                }
                if map.get("kind").and_then(Value::as_str) == Some("Secret") || is_list_secret(map)
                {
                    for key in ["data", "stringData"] {
                        if let Some(Value::Object(data)) = map.get_mut(key) {
                            data.values_mut().for_each(|v| *v = REDACTED.into());
                        }
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
                if let Some(pattern) = &self.pattern
                    && map.keys().any(|key| pattern.is_match(key))
                {
                    let entries = std::mem::take(map).into_iter();
                    *map = entries.map(|(key, item)| (self.text(&key), item)).collect();
                }
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

/// The texts of a JSON document whose keys say that they are secret.
pub(super) fn secrets(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| secrets(item, found)),
        Value::Object(map) => {
            let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
            for (key, item) in map {
                match item.as_str() {
                    Some(text) if is_secret_key(key) => found.push(text.to_owned()),
                    Some(text) if key == "value" && is_secret_name(name) => {
                        found.push(text.to_owned());
                    }
                    _ => secrets(item, found),
                }
            }
        }
        _ => {}
    }
}

/// The forms in which a literal may stand in a text.
fn forms(literal: &str) -> Vec<String> {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
    };
    let json = Value::from(literal).to_string();
    let url = escape(literal);
    let hex = crate::digest::hex(literal.as_bytes());
    let every: String = literal.bytes().map(|b| format!("%{b:02X}")).collect();
    let mut forms = vec![
        literal.to_owned(),
        json[1..json.len() - 1].to_owned(),
        lower_hex(&url),
        url,
        every.to_ascii_lowercase(),
        every,
        hex.to_ascii_uppercase(),
        hex,
    ];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend(literal.as_bytes());
        // Those characters in which there is no bit of what stands before or behind it.
        let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for text in [
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes),
        ] {
            forms.push(text[first..last].to_owned());
        }
    }
    // What is in the mark itself would be taken out of it again and again.
    forms.retain(|form| form.len() >= SHORTEST && !REDACTED.contains(form.as_str()));
    forms
}

/// A percent-encoded text with its hexadecimal digits in lower case, as some write it.
fn lower_hex(url: &str) -> String {
    let mut parts = url.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        text.push('%');
        text.push_str(&code.to_ascii_lowercase());
        text.push_str(rest);
    }
    text
}

/// Whether a request is the one that was recorded: equal, but for what was redacted when it was recorded.
pub(super) fn same(recorded: &super::Asked, asked: &super::Asked) -> bool {
    if recorded == asked {
        return true;
    }
    let mut clean = asked.clone();
    Redactor::default().asked(&mut clean);
    recorded.method == clean.method
        && endpoint_fits(&recorded.to, &clean.to)
        && identity_fits(&recorded.identity, &clean.identity)
        && fits(&recorded.path, &clean.path)
        && recorded.headers.len() == clean.headers.len()
        && recorded
            .headers
            .iter()
            .zip(&clean.headers)
            .all(|((name, value), (other, clean))| name == other && fits(value, clean))
        && match (&recorded.body, &clean.body) {
            (Body::Json(recorded), Body::Json(clean)) => value_fits(recorded, clean),
            (Body::Text(recorded), Body::Text(clean)) => fits(recorded, clean),
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

fn endpoint_fits(recorded: &Endpoint, to: &Endpoint) -> bool {
    match (recorded, to) {
        (Endpoint::Pod(recorded), Endpoint::Pod(to)) => fits(recorded, to),
        (recorded, to) => recorded == to,
    }
}

fn identity_fits(recorded: &Identity, identity: &Identity) -> bool {
    let parts = |identity: &Identity| match identity {
        Identity::ServiceAccount {
            namespace,
            name,
            audience,
        } => Some([
            namespace.clone(),
            name.clone(),
            audience.clone().unwrap_or_default(),
        ]),
        Identity::User { name } => Some([name.as_str().to_owned(), String::new(), String::new()]),
        Identity::Suite | Identity::Nobody => None,
    };
    let alike = std::mem::discriminant(recorded) == std::mem::discriminant(identity);
    recorded == identity
        || parts(recorded)
            .zip(parts(identity))
            .is_some_and(|(recorded, is)| {
                alike && recorded.iter().zip(&is).all(|(r, i)| fits(r, i))
            })
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

/// Takes user and password out of URLs, and who the suite's user is out of what the Kubernetes API says of missing rights.
fn without_user(text: &str) -> Cow<'_, str> {
    static URL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"://[^/?\#\s"'<>\\]*@"#).expect("it is a regular expression")
    });
    static USER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\bUser (\\?)"[^"]*" cannot "#).expect("it is a regular expression")
    });
    let mut text = Cow::Borrowed(text);
    if text.contains("://") {
        text = URL
            .replace_all(&text, NoExpand("://[redacted]@"))
            .into_owned()
            .into();
    }
    if text.contains(" cannot ") {
        let nobody = r#"User $1"[redacted]$1" cannot "#;
        text = USER.replace_all(&text, nobody).into_owned().into();
    }
    text
}

/// Takes out private keys in PEM, as far as they are there.
fn without_keys(text: &str) -> Cow<'_, str> {
    static KEY: LazyLock<Regex> = LazyLock::new(|| {
        let key =
            r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)";
        Regex::new(key).expect("it is a regular expression")
    });
    if text.contains("PRIVATE KEY-----") {
        KEY.replace_all(text, NoExpand(REDACTED))
    } else {
        Cow::Borrowed(text)
    }
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
    fn a_literal_goes_in_every_form() {
        use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
        let secret = "s3cr\"t/+ü~planted";
        let redactor = Redactor::new([secret.to_owned(), "redacted".to_owned()]);
        let mut texts = vec![
            format!("raw {secret} raw"),
            Value::from(format!("in {secret} JSON")).to_string(),
            format!("/path?x={}&y", escape(secret)),
            format!("/path?x={}&y", lower_hex(&escape(secret))),
            crate::digest::hex(format!("some{secret}more").as_bytes()),
        ];
        texts.extend(["", "a", "ab", "abc"].map(|b| BASE64.encode(format!("{b}{secret}{b}"))));
        for text in texts {
            let clean = redactor.text(&text);
            assert!(clean.contains(REDACTED), "{text} gives {clean}");
            assert_eq!(redactor.text(&clean), clean, "once more");
            let left = clean.replace(REDACTED, "");
            assert!(left.len() < 20, "{text} gives {clean}");
        }
        let mut value = json!({secret: {"a": [format!("x{secret}")]}});
        redactor.value(&mut value);
        assert_eq!(value, json!({REDACTED: {"a": [format!("x{REDACTED}")]}}));
    }

    #[test]
    fn a_url_keeps_its_host_and_a_refusal_its_right() {
        let redactor = Redactor::default();
        for (text, clean) in [
            (
                "at https://me:pass@word@host:1/x@y",
                "at https://[redacted]@host:1/x@y",
            ),
            ("https://host/a@b and c@d", "https://host/a@b and c@d"),
            ("s3://bucket/key", "s3://bucket/key"),
            (
                r#"nodes is forbidden: User "me@example.org" cannot list resource "nodes""#,
                r#"nodes is forbidden: User "[redacted]" cannot list resource "nodes""#,
            ),
            (
                r#"{"m":"User \"me\" cannot list"}"#,
                r#"{"m":"User \"[redacted]\" cannot list"}"#,
            ),
        ] {
            assert_eq!(redactor.text(text), clean);
            assert_eq!(redactor.text(clean), clean, "once more");
        }
    }

    #[test]
    fn a_word_of_the_format_stays_one() {
        let check = crate::report::sample::check("katib/a/b");
        let redactor = Redactor::new(["passed".to_owned(), "katib/a/b".to_owned()]);
        let written = redactor.written(&check);
        assert_eq!(written.outcome, check.outcome);
        assert_eq!(written.id, REDACTED);
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
