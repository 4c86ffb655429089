//! The reference is held to the truth: requests that real Kubeflow was seen to answer are put to it, and what differs is
//! either mended in the reference or listed with its reason. `fixtures/observed/README.md` says what the tables hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use kfconform::{
    clock::Clock,
    hurry,
    reference::{Reference, ReferenceOptions, kube::merge},
};
use reqwest::{Client, Method, header::CONTENT_TYPE, multipart};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

/// How long an entry that is asked until its answer comes is asked. Time passes only while the reference waits, so that
/// graces, sleeps and schedules, which are part of what was observed, take as long as there, and no load tells.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often it is asked.
const AGAIN: Duration = Duration::from_millis(100);
/// In so much time of doing nothing, controllers have done what they will do by themselves.
const SETTLED: Duration = Duration::from_secs(1);

/// A component's table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Table {
    /// What answered, and when.
    #[allow(dead_code, reason = "it is for readers")]
    observed: String,
    /// What comes before every path that is not the Kubernetes API's own.
    #[serde(default)]
    service: String,
    /// Whether it was without Profiles, so that Pipelines served one user.
    #[serde(default)]
    without_profiles: bool,
    /// Servers that are asked themselves, as `SERVICE.NAMESPACE:PORT`.
    #[serde(default)]
    servers: BTreeMap<String, String>,
    /// Bodies that entries vary.
    #[serde(default)]
    bodies: BTreeMap<String, Value>,
    groups: Vec<Group>,
}

/// Entries that are asked in their order, of a reference of their own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    /// Requests that make what was there before the first entry.
    #[serde(default)]
    given: Vec<Request>,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    request: Request,
    answer: Facts,
    /// Ask again until the answer is as observed: it needed time there, too.
    #[serde(default)]
    until: bool,
    /// What later entries need, by their mark: pointers into the answer.
    #[serde(default)]
    capture: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    content_type: Option<String>,
    body: Option<Value>,
    /// The body of this name, …
    of: Option<String>,
    /// … with this merged into it.
    but: Option<Value>,
    /// The body as a file of a form.
    file: Option<File>,
    /// The server of this name is asked, and not the Kubernetes API.
    to: Option<String>,
    /// Headers: those by which a gateway says who asks, and such.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The service account whose token is sent to a server.
    token: Option<Token>,
}

/// A token of a service account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    namespace: String,
    account: String,
    /// Whom it is for; the Kubernetes API unless given.
    audience: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    field: String,
    name: String,
}

/// What the answer was.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    status: u16,
    /// What its message says, among other things.
    #[serde(default)]
    phrases: Vec<String>,
    /// What it holds, by pointer (see [`at`]); `null` where nothing is.
    #[serde(default)]
    fields: BTreeMap<String, Value>,
    /// This part of what was sent is in the answer, with the fields below it set and with nothing else.
    keeps: Option<String>,
}

/// One way in which the reference differs on purpose.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Difference {
    reason: String,
    status: Option<u16>,
    phrases: Option<Vec<String>>,
    #[serde(default)]
    fields: BTreeMap<String, Value>,
    /// Whether what was sent is kept in another way, too: then only the fields are compared.
    #[serde(default)]
    keeps_otherwise: bool,
}

type Differences = BTreeMap<String, Difference>;
type Marks = HashMap<String, String>;

/// What was answered.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// The text in which phrases are looked for.
    fn message(&self) -> &str {
        ["message", "error_message", "log"]
            .iter()
            .find_map(|key| self.body[key].as_str())
            .or(self.body.as_str())
            .unwrap_or_default()
    }
}

/// What a pointer points at. A segment is a key, an index, `key=value` for the element of a list that has this value, or
/// `*`: of a list, what all elements have at the rest of the pointer; of an object, its keys. `~1` is a slash, `~0` a tilde.
fn at(value: &Value, pointer: &str) -> Value {
    let Some(rest) = pointer.strip_prefix('/') else {
        return value.clone();
    };
    let (segment, rest) = match rest.split_once('/') {
        Some((segment, _)) => (segment, &rest[segment.len()..]),
        None => (rest, ""),
    };
    let segment = segment.replace("~1", "/").replace("~0", "~");
    let found = match value {
        Value::Array(items) if segment == "*" => {
            return items.iter().map(|item| at(item, rest)).collect();
        }
        Value::Object(fields) if segment == "*" => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            return keys.into_iter().map(String::as_str).collect();
        }
        Value::Array(items) => match segment.split_once('=') {
            Some((key, wanted)) => items.iter().find(|item| item[key].as_str() == Some(wanted)),
            None => segment
                .parse()
                .ok()
                .and_then(|index: usize| items.get(index)),
        },
        Value::Object(fields) => fields.get(&segment),
        _ => None,
    };
    found.map_or(Value::Null, |found| at(found, rest))
}

/// Sets what a pointer points at; `null` removes it.
fn set(value: &mut Value, pointer: &str, wanted: &Value) {
    let Some(rest) = pointer.strip_prefix('/') else {
        *value = wanted.clone();
        return;
    };
    let (segment, rest) = match rest.split_once('/') {
        Some((segment, _)) => (segment, &rest[segment.len()..]),
        None => (rest, ""),
    };
    let segment = segment.replace("~1", "/").replace("~0", "~");
    match value {
        Value::Array(items) => {
            if let Some(item) = segment.parse().ok().and_then(|at: usize| items.get_mut(at)) {
                set(item, rest, wanted);
            }
        }
        Value::Object(fields) if rest.is_empty() && wanted.is_null() => {
            fields.shift_remove(&segment);
        }
        _ => {
            if !value.is_object() {
                *value = Value::Object(serde_json::Map::new());
            }
            set(&mut value[segment], rest, wanted);
        }
    }
}

/// Fills in what earlier answers gave.
fn fill(text: &str, marks: &Marks) -> String {
    let mut text = text.to_owned();
    for (mark, value) in marks {
        text = text.replace(&format!("<<{mark}>>"), value);
    }
    text
}

fn fill_all(value: &Value, marks: &Marks) -> Value {
    match value {
        Value::String(text) => fill(text, marks).into(),
        Value::Array(items) => items.iter().map(|item| fill_all(item, marks)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), fill_all(value, marks)))
            .collect(),
        other => other.clone(),
    }
}

/// How an answer differs from the facts; empty where it does not.
fn compare(facts: &Facts, sent: &Value, answer: &Answer, marks: &Marks) -> String {
    let mut out = String::new();
    let mut differs = |what: &str, expected: &Value, seen: &Value| {
        let (expected, seen) = (short(expected), short(seen));
        let _ = writeln!(
            out,
            "      {what}\n        expected {expected}\n        seen     {seen}"
        );
    };
    if answer.status != facts.status {
        differs("status", &facts.status.into(), &answer.status.into());
        // Nothing else can be as expected.
        let _ = writeln!(out, "        with     {}", short(&answer.body));
        return out;
    }
    for phrase in &facts.phrases {
        let phrase = fill(phrase, marks);
        if !answer.message().contains(&phrase) {
            differs("phrase", &phrase.into(), &answer.message().into());
        }
    }
    for (pointer, expected) in &facts.fields {
        let pointer = &fill(pointer, marks);
        let (expected, seen) = (fill_all(expected, marks), at(&answer.body, pointer));
        if seen != expected {
            differs(pointer, &expected, &seen);
        }
    }
    if let Some(part) = &facts.keeps {
        let mut expected = at(sent, part);
        for (pointer, value) in &facts.fields {
            // What `*` gathers is no part that could be set.
            let below = pointer.strip_prefix(part.as_str());
            if let Some(below) = below.filter(|below| !below.contains('*')) {
                set(&mut expected, below, &fill_all(value, marks));
            }
        }
        let seen = at(&answer.body, part);
        if let Some(pointer) = first_difference(&expected, &seen) {
            let whole = format!("{part}{pointer} (of what was sent)");
            differs(&whole, &at(&expected, &pointer), &at(&seen, &pointer));
        }
    }
    out
}

/// Where two values differ first, as a pointer.
fn first_difference(a: &Value, b: &Value) -> Option<String> {
    if a == b {
        return None;
    }
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let inside = match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let (a, b) = (
                    a.get(key).unwrap_or(&Value::Null),
                    b.get(key).unwrap_or(&Value::Null),
                );
                first_difference(a, b).map(|rest| format!("/{}{rest}", escape(key)))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(index, (a, b))| {
                first_difference(a, b).map(|rest| format!("/{index}{rest}"))
            })
        }
        _ => None,
    };
    Some(inside.unwrap_or_default())
}

/// A value in one line that can be read.
fn short(value: &Value) -> String {
    const MOST: usize = 600;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A reference, and how it is asked.
struct Asked<'a> {
    reference: Reference,
    http: Client,
    table: &'a Table,
}

impl<'a> Asked<'a> {
    async fn start(table: &'a Table) -> Self {
        kfconform::install_crypto();
        let reference = Reference::start(ReferenceOptions {
            clock: Clock::wall(),
            profiles: !table.without_profiles,
            ..ReferenceOptions::default()
        })
        .await
        .expect("the reference starts");
        Self {
            reference,
            http: Client::builder().no_proxy().build().expect("a client"),
            table,
        }
    }

    /// What is sent as the body.
    fn body(&self, request: &Request, marks: &Marks) -> Option<Value> {
        let mut body = match &request.of {
            Some(name) => self
                .table
                .bodies
                .get(name)
                .unwrap_or_else(|| panic!("no body is called {name}"))
                .clone(),
            None => request.body.clone()?,
        };
        if let Some(but) = &request.but {
            merge(&mut body, but);
        }
        Some(fill_all(&body, marks))
    }

    async fn ask(&self, request: &Request, marks: &Marks) -> Answer {
        let path = fill(&request.path, marks);
        assert!(
            !path.contains("<<"),
            "{path}: an earlier answer did not give what this needs"
        );
        let world = &self.reference.world;
        let method = Method::from_bytes(request.method.as_bytes()).expect("a method");
        let mut call = if let Some(name) = &request.to {
            let url = format!("http://{}{path}", self.address(name));
            self.http.request(method, url)
        } else {
            let url = format!("{}{}{path}", world.url(), self.table.service);
            let call = self.http.request(method, url);
            call.bearer_auth(world.admin_token())
        };
        for (name, value) in &request.headers {
            call = call.header(name, fill(value, marks));
        }
        if let Some(token) = &request.token {
            call = call.bearer_auth(self.token(token).await);
        }
        let text = self.body(request, marks).map(|body| match body {
            Value::String(text) => text,
            other => other.to_string(),
        });
        if let Some(File { field, name }) = &request.file {
            let part = multipart::Part::text(text.unwrap_or_default()).file_name(name.clone());
            call = call.multipart(multipart::Form::new().part(field.clone(), part));
        } else if let Some(text) = text {
            let kind = request
                .content_type
                .as_deref()
                .unwrap_or("application/json");
            call = call.header(CONTENT_TYPE, kind).body(text);
        }
        let answer = call
            .send()
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let status = answer.status().as_u16();
        let text = answer
            .text()
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, body }
    }

    /// Where a server really is.
    fn address(&self, name: &str) -> SocketAddr {
        let server = self.table.servers.get(name);
        let server = server.unwrap_or_else(|| panic!("no server is called {name}"));
        let (host, port) = server.split_once(':').expect("SERVICE.NAMESPACE:PORT");
        let port = port.parse().expect("a port");
        let found = self.reference.world.resolve("default", host, port);
        found.unwrap_or_else(|| panic!("nothing is at {server}"))
    }

    /// A token of a service account, which a controller may still be about to make.
    async fn token(&self, of: &Token) -> String {
        let audiences: Vec<String> = of.audience.iter().cloned().collect();
        let world = &self.reference.world;
        let lifetime = Duration::from_secs(3600);
        let began = Instant::now();
        loop {
            match world.service_account_token(&of.namespace, &of.account, &audiences, lifetime) {
                Ok((token, _)) => return token,
                Err(error) if began.elapsed() > PATIENCE => panic!("{error:?}"),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Puts an entry; the answer that is judged is the first as expected, else the last. `since`: the version that the
    /// last change of an object made.
    async fn put(
        &self,
        entry: &Entry,
        facts: &Facts,
        marks: &Marks,
        since: Option<&str>,
    ) -> (Answer, String) {
        let sent = self.body(&entry.request, marks).unwrap_or_default();
        let began = Instant::now();
        loop {
            let answer = self.ask(&entry.request, marks).await;
            let differs = compare(facts, &sent, &answer, marks);
            if differs.is_empty() || !entry.until || began.elapsed() > PATIENCE {
                return (answer, differs);
            }
            // A state may be over before it is asked for.
            if let Some(since) = since.filter(|_| facts.status == 200 && self.is_object(entry)) {
                let path = fill(&entry.request.path, marks);
                let passed = self.passed(&path, since, |answer| {
                    compare(facts, &sent, answer, marks).is_empty()
                });
                if let Ok(Some(answer)) = tokio::time::timeout(PATIENCE, passed).await {
                    return (answer, String::new());
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether an entry reads one object of Kubernetes.
    fn is_object(&self, entry: &Entry) -> bool {
        let Request { path, to, .. } = &entry.request;
        self.table.service.is_empty() && to.is_none() && !path.contains('?')
    }

    /// The first state of an object since a version of which `wanted` holds, as a watch tells it.
    async fn passed(
        &self,
        path: &str,
        since: &str,
        wanted: impl Fn(&Answer) -> bool,
    ) -> Option<Answer> {
        let world = &self.reference.world;
        let (kind, name) = path.rsplit_once('/')?;
        let url = format!(
            "{}{kind}?watch=true&resourceVersion={since}&fieldSelector=metadata.name={name}",
            world.url()
        );
        let call = self.http.get(url).bearer_auth(world.admin_token());
        let mut stream = call.send().await.ok()?;
        let mut text = Vec::new();
        while let Some(chunk) = stream.chunk().await.ok()? {
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line).ok()?;
                if event["type"] == "DELETED" {
                    continue;
                }
                let body = event["object"].take();
                let answer = Answer { status: 200, body };
                if wanted(&answer) {
                    return Some(answer);
                }
            }
        }
        None
    }
}

/// The facts with a difference applied: what the reference is known to answer. With another status, all else is another.
fn known(facts: &Facts, difference: &Difference) -> Facts {
    let other = difference.status.is_some();
    let mut fields = BTreeMap::new();
    if !other {
        fields.clone_from(&facts.fields);
    }
    fields.extend(difference.fields.clone());
    let phrases = difference.phrases.clone();
    Facts {
        status: difference.status.unwrap_or(facts.status),
        phrases: phrases.unwrap_or_else(|| {
            if other {
                Vec::new()
            } else {
                facts.phrases.clone()
            }
        }),
        fields,
        keeps: facts
            .keeps
            .clone()
            .filter(|_| !other && !difference.keeps_otherwise),
    }
}

/// Puts a group to a reference of its own, and says what is wrong.
async fn group(table: &Table, group: &Group, differences: &Differences) -> Vec<String> {
    let asked = Asked::start(table).await;
    let mut marks = Marks::new();
    let mut wrong = Vec::new();
    let mut since = None;
    for given in &group.given {
        let answer = asked.ask(given, &marks).await;
        assert!(
            answer.status < 300,
            "{}: {} {}",
            given.path,
            answer.status,
            answer.body
        );
    }
    tokio::time::sleep(SETTLED).await;
    for entry in &group.entries {
        let difference = differences.get(&entry.name);
        let allowed = difference.map(|difference| known(&entry.answer, difference));
        let facts = allowed.as_ref().unwrap_or(&entry.answer);
        let (answer, mut differs) = asked.put(entry, facts, &marks, since.as_deref()).await;
        if entry.request.method != "GET"
            && let Value::String(version) = at(&answer.body, "/metadata/resourceVersion")
        {
            since = Some(version);
        }
        if difference.is_some() {
            let sent = asked.body(&entry.request, &marks).unwrap_or_default();
            if compare(&entry.answer, &sent, &answer, &marks).is_empty() {
                differs =
                    String::from("      differs no longer: take it off the list of differences\n");
            }
        }
        for (mark, pointer) in &entry.capture {
            match at(&answer.body, pointer) {
                Value::String(text) => drop(marks.insert(mark.clone(), text)),
                other => {
                    let _ = writeln!(
                        differs,
                        "      {pointer}\n        expected a text for <<{mark}>>\n        seen     {other}"
                    );
                }
            }
        }
        if !differs.is_empty() {
            let Request { method, path, .. } = &entry.request;
            let path = fill(path, &marks);
            wrong.push(format!(
                "  {}/{}\n    {method} {path}\n{differs}",
                group.name, entry.name
            ));
        }
    }
    wrong
}

/// Puts a whole table, and says what is wrong.
fn wrong(table: &Table, differences: &Differences) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in table.groups.iter().flat_map(|group| &group.entries) {
        if !names.insert(entry.name.as_str()) {
            wrong.push(format!("  two entries are called {}\n", entry.name));
        }
    }
    for (name, difference) in differences {
        if !names.contains(name.as_str()) {
            wrong.push(format!(
                "  the list of differences names {name}, which is no entry\n"
            ));
        }
        if difference.reason.trim().is_empty() {
            wrong.push(format!(
                "  the list of differences gives no reason for {name}\n"
            ));
        }
    }
    for each in &table.groups {
        wrong.extend(hurry::run(|| group(table, each, differences)).expect("a runtime"));
    }
    wrong
}

fn component(name: &str, least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/observed");
    let read = |file: String| {
        std::fs::read_to_string(folder.join(&file))
            .unwrap_or_else(|e| panic!("fixtures/observed/{file}: {e}"))
    };
    let table: Table = serde_json::from_str(&read(format!("{name}.json")))
        .unwrap_or_else(|e| panic!("fixtures/observed/{name}.json: {e}"));
    let differences: Differences =
        serde_saphyr::from_str(&read(format!("{name}.differences.yaml")))
            .unwrap_or_else(|e| panic!("fixtures/observed/{name}.differences.yaml: {e}"));
    let count = table
        .groups
        .iter()
        .map(|group| group.entries.len())
        .sum::<usize>();
    assert!(
        count >= least,
        "the table of {name} has lost entries: {count} of {least}"
    );
    let wrong = wrong(&table, &differences);
    assert!(
        wrong.is_empty(),
        "{name}: the reference differs from what was observed in {} of {count} entries\n{}",
        wrong.len(),
        wrong.join("")
    );
}

#[test]
fn pipelines() {
    component("pipelines", 160);
}

#[test]
fn pipelines_multi_user() {
    component("pipelines-multi-user", 115);
}

#[test]
fn pipelines_store() {
    component("pipelines-store", 21);
}

#[test]
fn notebooks() {
    component("notebooks", 78);
}

#[test]
fn jupyter_web_app() {
    component("jupyter-web-app", 108);
}

#[test]
fn platform() {
    component("platform", 342);
}

#[test]
fn katib() {
    component("katib", 76);
}

#[test]
fn kserve() {
    component("kserve", 118);
}

/// A table of one group, put with these differences: what is said to be wrong.
fn said(entries: Value, differences: Value) -> String {
    let table = serde_json::json!({"observed": "nothing", "groups": [{"name": "group", "entries": entries}]});
    let table: Table = serde_json::from_value(table).expect("a table");
    let differences = serde_json::from_value(differences).expect("a list of differences");
    wrong(&table, &differences).join("")
}

#[test]
fn what_differs_is_named_with_what_was_expected_and_seen() {
    let map = serde_json::json!({"metadata": {"name": "map"}, "data": {"a": "1", "b": "2"}});
    let maps = "/api/v1/namespaces/default/configmaps";
    let entries = serde_json::json!([
        {"name": "made", "request": {"method": "POST", "path": maps, "body": map},
         "answer": {"status": 201, "keeps": "/data", "fields": {"/kind": "ConfigMap", "/data/*": ["a", "b"], "/data/c": null}},
         "capture": {"name": "/metadata/name"}},
        {"name": "read", "request": {"method": "GET", "path": format!("{maps}/<<name>>")},
         "answer": {"status": 200, "fields": {"/data/a": "2"}}},
        {"name": "kept", "request": {"method": "PUT", "path": format!("{maps}/map"), "body": map},
         "answer": {"status": 200, "keeps": "/data", "fields": {"/data/b": "3"}}},
        {"name": "again", "request": {"method": "POST", "path": maps, "body": map},
         "answer": {"status": 409, "phrases": ["there already"], "fields": {"/reason": "AlreadyExists"}}},
        {"name": "again", "request": {"method": "GET", "path": format!("{maps}/none")}, "answer": {"status": 200}},
    ]);
    let said = said(entries, serde_json::json!({}));
    let expected = [
        "  two entries are called again\n",
        "  group/read\n    GET /api/v1/namespaces/default/configmaps/map\n",
        "      /data/a\n        expected \"2\"\n        seen     \"1\"\n",
        "      /data/b (of what was sent)\n        expected \"3\"\n        seen     \"2\"\n",
        "      phrase\n        expected \"there already\"\n        seen     \"configmaps \\\"map\\\" already exists\"\n",
        "      status\n        expected 200\n        seen     404\n",
    ];
    for expected in expected {
        assert!(said.contains(expected), "{expected}is missing in\n{said}");
    }
    assert!(!said.contains("group/made"), "{said}");
}

#[test]
fn a_difference_is_needed_exact_and_explained() {
    let entry = |name: &str, status: u16| {
        let request = serde_json::json!({"method": "GET", "path": "/api/v1/namespaces/none"});
        serde_json::json!({"name": name, "request": request, "answer": {"status": status, "fields": {"/code": status}}})
    };
    let differs = |reason: &str, status: u16| serde_json::json!({"reason": reason, "status": status, "fields": {"/code": status}});
    let said = said(
        serde_json::json!([
            entry("listed", 410),
            entry("inexact", 410),
            entry("mended", 404)
        ]),
        serde_json::json!({
            "listed": differs("it is gone for good there", 404),
            "inexact": differs("it is gone for good there", 403),
            "mended": differs("it was there once", 200),
            "nobody": differs(" ", 200),
        }),
    );
    let expected = [
        "  the list of differences names nobody, which is no entry\n",
        "  the list of differences gives no reason for nobody\n",
        "  group/inexact\n    GET /api/v1/namespaces/none\n      status\n        expected 403\n        seen     404\n",
        "  group/mended\n    GET /api/v1/namespaces/none\n      differs no longer: take it off the list of differences\n",
    ];
    for expected in expected {
        assert!(said.contains(expected), "{expected}is missing in\n{said}");
    }
    assert!(!said.contains("group/listed"), "{said}");
}
