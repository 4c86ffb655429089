//! One request to the cluster and its answer, as they are recorded.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::{CouldNotRun, Outcome, Stop};

/// The largest answer that is recorded, in bytes; a larger one makes the check `could-not-run`.
pub const MAX_BODY: usize = 8 << 20;

/// The most pages of a list that are read; each holds what the request's `limit` says.
pub const MAX_PAGES: usize = 64;
/// The most that the evidence of one check may weigh, as [`weight`] has it. A check of a hundred objects weighs a tenth.
pub(crate) const MAX_WEIGHT: usize = 96 << 20;
/// The deepest JSON that is recorded as such, in levels. A parser goes down 128, and evidence puts some around an answer.
const MAX_DEPTH: usize = 100;

/// The headers of an answer that are recorded, since checks may read them. All others are dropped.
const ANSWER_HEADERS: [&str; 5] = [
    "content-type",
    "retry-after",
    "location",
    "allow",
    "inference-header-content-length",
];
/// Headers of our own workload servers, recorded too.
const WORKLOAD_HEADER: &str = "x-kfconform-";

/// Whom a request goes to.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// The Kubernetes API.
    Kubernetes,
    /// The HTTP API of the component of this name, where discovery or the configuration found it.
    Component(String),
    /// A port of a pod: `namespace/name:port`.
    Pod(String),
}

/// As whom a request is made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The suite's own: the kubeconfig's user at the Kubernetes API; at a component what discovery found to be right.
    #[default]
    Suite,
    /// Nobody: no credential header at all. (An *empty* identity header crashes a multi-user Pipelines API server.)
    Nobody,
    /// A service account's token, minted for this request's endpoint.
    ServiceAccount {
        /// The account's namespace.
        namespace: String,
        /// The account's name.
        name: String,
        /// The token's audience; the cluster's default when absent.
        audience: Option<String>,
    },
    /// A person, named in the identity header by which the distribution's gateway tells components who asks. Only
    /// components take it: to the Kubernetes API it is nobody's credential.
    User {
        /// The person.
        #[schemars(with = "String", length(min = 1))]
        name: UserName,
    },
}

impl Identity {
    /// A person of this name.
    ///
    /// # Errors
    /// A name that is empty, or that no header can hold, is a defect of whoever asks for it.
    pub fn user(name: impl Into<String>) -> Outcome<Self> {
        let name = UserName::try_from(name.into());
        name.map(|name| Self::User { name })
            .map_err(|why| Stop::CouldNotRun(CouldNotRun::Defect, why))
    }
}

/// The name of a person, as it stands in an identity header. It is never empty: an *empty* identity header crashes a
/// multi-user Pipelines API server, and elsewhere it may pass for an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Changes the name by what takes secrets out of it, which leaves no name empty.
    pub(super) fn replace(&mut self, replace: impl FnOnce(&mut String)) {
        replace(&mut self.0);
    }
}

impl TryFrom<String> for UserName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if name.trim().is_empty() {
            Err("a user has a name that is not empty".to_owned())
        } else if http::HeaderValue::from_str(&name).is_err() {
            Err("the name of a user has no line breaks or other control characters".to_owned())
        } else {
            Ok(Self(name))
        }
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

/// A request, before it is sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is recorded of it, and by which a replay finds it.
    pub asked: Asked,
    /// How long the answer may take; the run's `request` timeout when absent.
    pub timeout: Option<std::time::Duration>,
    /// What is kept of the answer; all of it when absent.
    pub keep: Option<Keep>,
    /// What goes over the wire if this is the call of a gRPC method.
    pub(super) call: Option<super::grpc::Call>,
}

/// What is kept of an object, before anything of it is recorded: what a check does not read of somebody else's cluster is
/// nobody's business. `null` leaves an item of a list out.
#[derive(Clone)]
pub struct Keep(Arc<KeepOf>);

type KeepOf = dyn Fn(&Value) -> Value + Send + Sync;

impl Keep {
    /// What is kept of one object.
    pub(super) fn of(&self, object: &Value) -> Value {
        (self.0)(object)
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keep")
    }
}

/// What is recorded of a request. A replay finds an exchange by equality of this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Whom it goes to.
    pub to: Endpoint,
    /// As whom.
    #[serde(default, skip_serializing_if = "is_suite")]
    pub identity: Identity,
    /// The HTTP method, in capitals; `GRPC` for the call of a gRPC method, whose messages stand in the bodies as JSON.
    pub method: String,
    /// The path with its query; the path of the gRPC method.
    pub path: String,
    /// Headers set by the check (lower case), credentials never among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default, skip_serializing_if = "Body::is_empty")]
    pub body: Body,
}

fn is_suite(identity: &Identity) -> bool {
    *identity == Identity::Suite
}

impl Request {
    /// A request without a body.
    pub fn new(to: Endpoint, method: &str, path: impl Into<String>) -> Self {
        Self {
            asked: Asked {
                to,
                identity: Identity::Suite,
                method: method.to_owned(),
                path: path.into(),
                headers: BTreeMap::new(),
                body: Body::Empty,
            },
            timeout: None,
            keep: None,
            call: None,
        }
    }

    /// The same with a JSON body and its content type.
    #[must_use]
    pub fn json(self, body: Value) -> Self {
        self.content("application/json", Body::Json(body))
    }

    /// The same with a body of another content type.
    #[must_use]
    pub fn content(mut self, content_type: &str, body: Body) -> Self {
        self.asked
            .headers
            .insert("content-type".to_owned(), content_type.to_owned());
        self.asked.body = body;
        self
    }

    /// The same with a header. Names are kept in lower case.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.asked
            .headers
            .insert(name.to_ascii_lowercase(), value.into());
        self
    }

    /// The same made as somebody else.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.asked.identity = identity;
        self
    }

    /// The same, of whose answer only this is kept: of a list, of each item, and of equal ones one; else of the object. A
    /// list that comes in pages (with `limit` in the query) is read to its end, and is one answer.
    #[must_use]
    pub fn keep(mut self, keep: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        self.keep = Some(Keep(Arc::new(keep)));
        self
    }

    /// The same with a timeout of its own.
    #[must_use]
    pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl Asked {
    /// `GET kubernetes /version`: one line for messages.
    pub fn line(&self) -> String {
        format!("{} {} {}", self.method, self.to, self.path)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes => f.write_str("kubernetes"),
            Self::Component(name) => f.write_str(name),
            Self::Pod(address) => write!(f, "pod:{address}"),
        }
    }
}

/// A body in the form that is recorded: JSON where it is JSON, text where it is UTF-8, else base64.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// A JSON document.
    Json(Value),
    /// Text.
    Text(String),
    /// Bytes, in standard base64.
    Base64(String),
}

impl Body {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::Empty
    }

    /// The recorded form of bytes. JSON that is too deep, or too much, to be read again stays text.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => document(bytes).map_or_else(|| Self::Text(text.to_owned()), Self::Json),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }

    /// The bytes that go over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Json(value) => value.to_string().into_bytes(),
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64(text) => BASE64.decode(text).unwrap_or_default(),
        }
    }
}

/// A JSON document that can be recorded, and read again within what is recorded around it.
pub(super) fn document(bytes: &[u8]) -> Option<Value> {
    if weight(bytes) > MAX_WEIGHT {
        return None;
    }
    let value = serde_json::from_slice(bytes).ok()?;
    (depth(&value) <= MAX_DEPTH).then_some(value)
}

/// How many levels a document has; a number has none.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// About how many bytes a text of JSON takes in memory once it is read: small values take many times what they do in
/// the text. It tells before anything is made of it.
pub(crate) fn weight(json: &[u8]) -> usize {
    // An object has a table, and room for four members; a list has room for four elements, each as large as any value.
    const OBJECT: usize = 500;
    const LIST: usize = 288;
    const NEXT: usize = 144;
    let (mut weight, mut in_text, mut escaped) = (json.len(), false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' => weight += OBJECT,
            b'[' => weight += LIST,
            b',' => weight += NEXT,
            _ => {}
        }
    }
    weight
}

/// An answer, in its recorded form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The recorded headers, names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body, redacted.
    #[serde(default, skip_serializing_if = "Body::is_empty")]
    pub body: Body,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; `null` where it is not JSON.
    pub fn json(&self) -> &Value {
        match &self.body {
            Body::Json(value) => value,
            _ => &Value::Null,
        }
    }

    /// The body as text; a JSON body is written compactly.
    pub fn text(&self) -> String {
        match &self.body {
            Body::Empty => String::new(),
            Body::Json(value) => value.to_string(),
            Body::Text(text) => text.clone(),
            Body::Base64(b) => format!("{} bytes that are not text", b.len() / 4 * 3),
        }
    }

    /// A recorded header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// What an answer means where a stream was asked for.
    pub(super) fn no_stream(&self) -> super::TransportError {
        match self.status {
            401 | 403 => super::TransportError::Credential(self.summary()),
            _ => super::TransportError::Unreachable(self.summary()),
        }
    }

    /// `403 admission webhook … denied the request`: status and what the body says, bounded to 600 characters.
    pub fn summary(&self) -> String {
        let json = self.json();
        let said = ["message", "error_message", "error", "log"]
            .iter()
            .find_map(|key| json[*key].as_str())
            .map_or_else(|| self.text(), ToOwned::to_owned);
        crate::outcome::shorten(format!("{} {said}", self.status).trim_end(), 600)
    }
}

/// Chooses the headers of an answer that are recorded.
pub(super) fn recorded_headers(headers: &http::HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter(|(name, _)| {
            ANSWER_HEADERS.contains(&name.as_str()) || name.as_str().starts_with(WORKLOAD_HEADER)
        })
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// With an answer.
    Answer(Answer),
    /// With a stream of JSON lines, each with its time in milliseconds since the run's start.
    Lines {
        /// The lines that the check took.
        lines: Vec<(u64, Value)>,
        /// `taken` (the check had seen enough), `closed` by the server, or `deadline`.
        ended: Ended,
    },
    /// With no answer.
    Error(super::TransportError),
}

/// How a stream of lines ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The check had seen what it waited for.
    Taken,
    /// The server closed the stream, or it broke.
    Closed,
    /// The time for it was up.
    Deadline,
}

/// One request and its answer. Times are milliseconds since the run's start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// When the request was sent.
    pub at: u64,
    /// When its answer was complete.
    pub end: u64,
    /// The request.
    pub asked: Asked,
    /// The answer.
    pub reply: Reply,
}

/// The ordered exchanges of one check, set-up, or of the discovery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// `conformance.kubeflow.org/v1`.
    pub api_version: String,
    /// `Evidence`.
    pub kind: String,
    /// The run's id.
    pub run: String,
    /// The id of the check, `setup/…`, or `run/…`.
    pub id: String,
    /// Which attempt at it this is, from 1.
    pub attempt: u32,
    /// When it began, in milliseconds since the run's start.
    pub started: u64,
    /// When its time was to be up, in milliseconds since the run's start.
    pub deadline: u64,
    /// The evidence (id, attempt) of what it built on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<(String, u32)>,
    /// Its exchanges, in order.
    pub exchanges: Vec<Exchange>,
    /// What was collected of its objects after it had failed, before they were removed. No verdict reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<Exchange>,
    /// How what it made, and what it built on, was removed where nobody needed it any more. No verdict reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Exchange>,
}

impl Evidence {
    /// The path in evidence.tar.gz of the evidence of `id`'s attempt.
    pub fn path(id: &str, attempt: u32) -> String {
        if attempt <= 1 {
            format!("{id}.json")
        } else {
            format!("{id}@{attempt}.json")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_come_back_as_they_went() {
        for bytes in [
            &b""[..],
            b"{\"a\":1}",
            b"plain text",
            b"\xff\xfe",
            b"1.0",
            b"null",
        ] {
            assert_eq!(Body::of(bytes).bytes(), bytes);
            let recorded = serde_json::to_string(&Body::of(bytes)).unwrap();
            assert_eq!(
                serde_json::from_str::<Body>(&recorded).unwrap(),
                Body::of(bytes)
            );
        }
    }

    #[test]
    fn what_could_not_be_read_again_stays_text() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(matches!(
            Body::of(deep(MAX_DEPTH).as_bytes()),
            Body::Json(_)
        ));
        for text in [
            deep(MAX_DEPTH + 1),
            deep(127),
            "[{}".to_owned() + &",{}".repeat(200_000) + "]",
        ] {
            assert_eq!(Body::of(text.as_bytes()), Body::Text(text));
        }
        // What stands in a text is only as large as it is.
        let log = format!("[\"{}\\\"\"]", "{[,".repeat(1_000_000));
        assert!(matches!(Body::of(log.as_bytes()), Body::Json(_)));
    }

    #[test]
    fn a_user_has_a_name() {
        let user = Identity::user("jane@example.com").unwrap();
        let recorded = serde_json::to_value(&user).unwrap();
        assert_eq!(recorded, json!({"user": {"name": "jane@example.com"}}));
        assert_eq!(serde_json::from_value::<Identity>(recorded).unwrap(), user);
        for name in ["", " ", "a\r\nauthorization: x"] {
            assert!(Identity::user(name).is_err(), "{name:?}");
            let recorded = json!({"user": {"name": name}});
            assert!(serde_json::from_value::<Identity>(recorded).is_err());
        }
    }

    #[test]
    fn a_summary_says_what_the_server_said() {
        let answer = Answer {
            status: 403,
            headers: BTreeMap::new(),
            body: Body::Json(json!({"message": "no"})),
        };
        assert_eq!(answer.summary(), "403 no");
    }
}
