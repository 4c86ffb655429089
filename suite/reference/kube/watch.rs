//! Watches: changes as they happen, one JSON object a line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::http::{self as web, Request, Response};
use super::lists::{Selection, namespace};
use super::status::ApiError;
use super::store::{Change, Event};
use super::table;
use super::verbs::{Target, in_version};
use super::world::World;

/// How long a watch lasts that does not say so; real servers take between 30 and 60 minutes.
const LONGEST: Duration = Duration::from_secs(2700);
/// How often a quiet watch is told the present version.
const BOOKMARKS: Duration = Duration::from_secs(60);

/// What a watch needs to know for its lifetime.
struct Watch {
    world: World,
    target: Target,
    name: Option<String>,
    selection: Selection,
    form: table::Form,
    include: Option<String>,
    headed: bool,
    bookmarks: bool,
    ends: Instant,
    next_bookmark: Instant,
    /// The version up to which the client has been told everything.
    told: u64,
    ready: VecDeque<Bytes>,
    changes: Option<UnboundedReceiver<Arc<Event>>>,
}

/// Answers a watch of the objects of a request, or of the one called `name`.
pub(super) fn answer(
    world: &World,
    request: &Request,
    target: &Target,
    name: Option<&str>,
) -> Result<Response, ApiError> {
    let selection = Selection::read(request, &target.kind)?;
    let query = &request.query;
    let seconds = query
        .get("timeoutSeconds")
        .and_then(|text| text.parse().ok());
    let lasts = seconds.map_or(LONGEST, Duration::from_secs).min(LONGEST);
    let since: Option<u64> = match query.get("resourceVersion") {
        None | Some("0") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "Invalid value: {text:?}: strconv.ParseUint: invalid syntax"
            ))
        })?),
    };
    let initial = query.get("sendInitialEvents");
    if initial.is_some() && query.get("resourceVersionMatch") != Some("NotOlderThan") {
        return Err(ApiError::new(
            422,
            "Invalid",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires \
             setting resourceVersionMatch to NotOlderThan",
        ));
    }
    let now = Instant::now();
    let mut watch = Watch {
        world: world.clone(),
        target: target.clone(),
        name: name.map(str::to_owned),
        selection,
        form: table::wanted(request.accept()),
        include: query.get("includeObject").map(str::to_owned),
        headed: false,
        bookmarks: query.is_set("allowWatchBookmarks"),
        ends: now + lasts,
        next_bookmark: now + BOOKMARKS,
        told: 0,
        ready: VecDeque::new(),
        changes: None,
    };
    let streams = matches!(initial, Some("true" | "1"));
    if streams || (since.is_none() && initial.is_none()) {
        let resource = &target.kind.resource;
        let (version, objects, changes) = world.store().snapshot(resource, namespace(target));
        for object in objects {
            if watch.wants(&object) {
                watch.tell(Change::Added.as_str(), &object);
            }
        }
        watch.told = version;
        if streams && watch.bookmarks {
            watch.bookmark(true);
        }
        watch.changes = Some(changes);
    } else {
        match world.store().follow(&target.kind.resource, since) {
            Ok((missed, changes)) => {
                watch.told = since.unwrap_or_else(|| world.store().version());
                for event in missed {
                    watch.take(&event);
                }
                watch.changes = Some(changes);
            }
            Err(gone) => {
                let error = ApiError::expired(format!(
                    "too old resource version: {} ({})",
                    since.unwrap_or_default(),
                    gone.0
                ));
                watch.push("ERROR", &error.to_status());
            }
        }
    }
    let pieces = futures::stream::unfold(watch, |mut watch| async move {
        let piece = watch.next().await?;
        Some((piece, watch))
    });
    Ok(web::stream("application/json", pieces))
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(first) = self.ready.pop_front() {
                // What is ready goes out in one piece.
                if self.ready.is_empty() {
                    return Some(first);
                }
                let mut piece = first.to_vec();
                for more in self.ready.drain(..) {
                    piece.extend_from_slice(&more);
                }
                return Some(piece.into());
            }
            let changes = self.changes.as_mut()?;
            tokio::select! {
                event = changes.recv() => match event {
                    Some(event) => self.take(&event),
                    None => return None,
                },
                () = tokio::time::sleep_until(self.ends) => {
                    self.changes = None;
                    if self.bookmarks {
                        self.bookmark(false);
                    }
                }
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark += BOOKMARKS;
                    let version = self.world.store().version();
                    // What is queued but not told yet must not be skipped by the bookmark.
                    if self.changes.as_ref().is_some_and(UnboundedReceiver::is_empty) {
                        self.told = self.told.max(version);
                        self.bookmark(false);
                    }
                }
            }
        }
    }

    fn wants(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        namespace(&self.target).is_none_or(|namespace| metadata["namespace"] == namespace)
            && self
                .name
                .as_deref()
                .is_none_or(|name| metadata["name"] == name)
            && self.selection.matches(object)
    }

    fn take(&mut self, event: &Event) {
        if event.version <= self.told {
            return;
        }
        self.told = event.version;
        let was = event
            .previous
            .as_ref()
            .is_some_and(|object| self.wants(object));
        let is = event.change != Change::Deleted && self.wants(&event.object);
        // An object that begins to match appears, one that ceases to match disappears.
        match (was, is) {
            (false, false) => {}
            (false, true) => self.tell("ADDED", &event.object),
            (true, true) => self.tell("MODIFIED", &event.object),
            (true, false) => self.tell("DELETED", &event.object),
        }
    }

    fn tell(&mut self, change: &str, object: &Arc<Value>) {
        let object = in_version(&self.target.kind, &self.target.version, object);
        match self.form {
            table::Form::Object => self.push(change, &object),
            table::Form::Metadata => self.push(change, &table::metadata_only(&object)),
            table::Form::Table => {
                let include = self.include.as_deref();
                let objects = std::slice::from_ref(&object);
                let mut table = table::of(
                    &self.world,
                    &self.target.kind,
                    &self.target.version,
                    objects,
                    include,
                );
                if self.headed {
                    table["columnDefinitions"] = json!(null);
                }
                self.headed = true;
                self.push(change, &table);
            }
        }
    }

    fn bookmark(&mut self, initial_end: bool) {
        let kind = &self.target.kind;
        let mut object = json!({
            "kind": kind.kind, "apiVersion": kind.api_version(&self.target.version),
            "metadata": {"resourceVersion": self.told.to_string(), "creationTimestamp": null},
        });
        if initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        if self.form == table::Form::Table {
            object = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
                "columnDefinitions": null, "rows": []});
        }
        self.push("BOOKMARK", &object);
    }

    fn push(&mut self, change: &str, object: &Value) {
        let mut line = format!("{{\"type\":\"{change}\",\"object\":").into_bytes();
        // Writing JSON into memory cannot fail.
        if serde_json::to_writer(&mut line, object).is_ok() {
            line.extend_from_slice(b"}\n");
            self.ready.push_back(line.into());
        }
    }
}
