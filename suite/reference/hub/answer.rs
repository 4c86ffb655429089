//! What the registry answers.

use std::sync::{Mutex, PoisonError};

use http::Response;
use serde_json::{Map, Value, json};

use super::store::{Entry, Sort, Store};
use crate::reference::{
    kube::World,
    web::{Call, reply},
};

const JSON: &str = "application/json; charset=UTF-8";
const ROOT: &str = "/api/model_registry/v1alpha3/";
/// What clients give of everything.
const COMMON: [&str; 4] = ["name", "externalId", "description", "customProperties"];
/// What is never changed.
const FIXED: [&str; 3] = ["name", "registeredModelId", "servingEnvironmentId"];

/// The registry.
pub(super) struct Registry {
    /// Its world, which has the clock and the faults.
    pub world: World,
    /// What is registered.
    pub store: Mutex<Store>,
}

/// A refusal: status and message.
type Refused = (u16, String);
type Answered = Result<(u16, Value), Refused>;

impl Registry {
    fn has(&self, fault: &str) -> bool {
        self.world.has_fault(&format!("hub/{fault}"))
    }

    /// Answers a request.
    pub fn answer(&self, call: &Call) -> Response<String> {
        let segments = call.below(ROOT).unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = self.route(&mut store, call, &segments);
        let (status, body) = answered.unwrap_or_else(|(status, message)| {
            // What is missing is answered with 422 and called a bad request all the same.
            let code = http::StatusCode::from_u16(if status == 422 { 400 } else { status }).ok();
            let code = code.and_then(|code| code.canonical_reason());
            (status, json!({"code": code, "message": message}))
        });
        reply(status, JSON, body.to_string())
    }

    fn route(&self, store: &mut Store, call: &Call, segments: &[&str]) -> Answered {
        let unknown = || (404, "404 page not found".to_owned());
        match (call.method.as_str(), segments) {
            ("GET", [search]) if Sort::sought(search).is_some() => {
                let sort = Sort::sought(search).ok_or_else(unknown)?;
                self.find(store, call, sort)
            }
            ("GET", [collection]) => {
                let sort = Sort::of(collection).ok_or_else(unknown)?;
                self.list(store, call, sort, None)
            }
            ("POST", [collection]) => {
                let sort = Sort::of(collection).ok_or_else(unknown)?;
                self.create(store, sort, read(call)?, None)
            }
            ("GET", ["inference_services", id, what @ ("model" | "version")]) => {
                self.served(store, id, what)
            }
            (method, [collection, id]) => {
                let sort = Sort::of(collection).ok_or_else(unknown)?;
                let entry = self.need(store, sort, id)?;
                match method {
                    "GET" => Ok((200, entry.object.clone())),
                    "PATCH" => {
                        let id = entry.id;
                        self.change(store, sort, id, &read(call)?)
                    }
                    _ => Err((405, "method not allowed".to_owned())),
                }
            }
            (method, [collection, id, below]) => {
                let sort = Sort::of(collection).ok_or_else(unknown)?;
                let child = match (sort, *below) {
                    (Sort::Model, "versions") => Sort::Version,
                    (Sort::Version, "artifacts") => Sort::Artifact,
                    (Sort::Environment, "inference_services") => Sort::Service,
                    _ => return Err(unknown()),
                };
                let parent = self.need(store, sort, id)?.id;
                match method {
                    "GET" => self.list(store, call, child, Some(parent)),
                    "POST" => self.create(store, child, read(call)?, Some(parent)),
                    _ => Err((405, "method not allowed".to_owned())),
                }
            }
            _ => Err(unknown()),
        }
    }

    fn need<'a>(&self, store: &'a Store, sort: Sort, id: &str) -> Result<&'a Entry, Refused> {
        let status = if self.has("model/is-not-found-by-an-unknown-id") && sort == Sort::Model {
            400
        } else {
            404
        };
        store.get(sort, id).ok_or_else(|| {
            (
                status,
                format!("no {} found for id {id}: not found", sort.says()),
            )
        })
    }

    fn create(
        &self,
        store: &mut Store,
        sort: Sort,
        body: Map<String, Value>,
        parent: Option<u64>,
    ) -> Answered {
        known(sort, &body)?;
        let named = body.get("name").and_then(Value::as_str).unwrap_or_default();
        let optional =
            sort == Sort::Artifact || (sort == Sort::Model && self.has("model/needs-a-name"));
        if named.is_empty() && !optional {
            return Err((422, "required field 'name' is zero value.".to_owned()));
        }
        valid(sort, &body)?;
        let given = sort
            .parent_key()
            .and_then(|key| body.get(key)?.as_str()?.parse().ok());
        let parent = parent.or(given);
        if let (Some(key), None) = (sort.parent_key(), parent) {
            return Err((422, format!("required field '{key}' is zero value.")));
        }
        let shared = match sort {
            Sort::Model => self.has("model/refuses-a-second-of-its-name"),
            Sort::Version => self.has("version/refuses-a-second-of-its-name"),
            _ => false,
        };
        let taken = store
            .of(sort)
            .any(|e| e.parent == parent && !named.is_empty() && e.object["name"] == named);
        if taken && !shared {
            let message = format!(
                "{} with name {named} already exists: already exists",
                sort.says()
            );
            return Err((409, message));
        }
        let id = store.next_id();
        let now = self.world.clock().now().as_millisecond().to_string();
        let mut object = Value::Object(body);
        object["id"] = json!(id.to_string());
        object["createTimeSinceEpoch"] = json!(now);
        object["lastUpdateTimeSinceEpoch"] = json!(now);
        if object["customProperties"].is_null() {
            object["customProperties"] = json!({});
        }
        if let (Some(key), Some(parent)) = (sort.parent_key(), parent) {
            object[key] = json!(parent.to_string());
        }
        match sort {
            Sort::Model if self.has("model/is-registered") => {}
            Sort::Model | Sort::Version if object["state"].is_null() => {
                object["state"] = json!("LIVE");
            }
            Sort::Artifact => object["artifactType"] = json!("model-artifact"),
            _ => {}
        }
        if sort == Sort::Version && self.has("version/belongs-to-its-model") {
            object["registeredModelId"] = json!("");
        }
        let entry = Entry {
            id,
            sort,
            parent,
            object: object.clone(),
        };
        store.add(entry);
        Ok((201, object))
    }

    fn change(
        &self,
        store: &mut Store,
        sort: Sort,
        id: u64,
        change: &Map<String, Value>,
    ) -> Answered {
        known(sort, change)?;
        if !(sort == Sort::Model && self.has("model/is-archived")) {
            valid(sort, change)?;
        }
        let now = self.world.clock().now().as_millisecond().to_string();
        let Some(entry) = store.get_mut(sort, id) else {
            return Err((404, "not found".to_owned()));
        };
        let object = &mut entry.object;
        let kept = |key: &str| {
            FIXED.contains(&key)
                || (key == "author" && self.has("version/is-changed"))
                || (key == "uri" && self.has("artifact/is-changed"))
        };
        for (key, value) in change.iter().filter(|(key, _)| !kept(key)) {
            object[key] = value.clone();
        }
        if sort == Sort::Model {
            let dropped = |key: &str, fault: &str| !change.contains_key(key) && self.has(fault);
            if dropped("description", "model/is-changed")
                && let Some(object) = object.as_object_mut()
            {
                object.shift_remove("description");
            }
            if dropped("customProperties", "model/keeps-custom-properties") {
                object["customProperties"] = json!({});
            }
        }
        object["lastUpdateTimeSinceEpoch"] = json!(now);
        Ok((200, object.clone()))
    }

    fn find(&self, store: &Store, call: &Call, sort: Sort) -> Answered {
        let (name, external) = (call.asked("name"), call.asked("externalId"));
        let parent = call.asked("parentResourceId");
        let child = matches!(sort, Sort::Version | Sort::Artifact | Sort::Service);
        if external.is_empty() && (name.is_empty() || (child && parent.is_empty())) {
            return Err((400, "invalid parameters call: bad request".to_owned()));
        }
        let everywhere = sort == Sort::Version && self.has("version/is-found-by-name");
        let within: Option<u64> = parent.parse().ok().filter(|_| !everywhere);
        let blind = sort == Sort::Model && self.has("model/is-found-by-name");
        let found: Vec<&Entry> = store
            .of(sort)
            .filter(|e| within.is_none() || e.parent == within)
            .filter(|e| name.is_empty() || e.object["name"] == name)
            .filter(|e| external.is_empty() || (!blind && e.object["externalId"] == external))
            .collect();
        match found.as_slice() {
            [one] => Ok((200, one.object.clone())),
            [.., last] if everywhere => Ok((200, last.object.clone())),
            _ => Err((
                404,
                format!("no {}s found for name={name}: not found", sort.says()),
            )),
        }
    }

    fn list(&self, store: &Store, call: &Call, sort: Sort, parent: Option<u64>) -> Answered {
        let bad = |what: &str| (400, format!("{what}: bad request"));
        let asked = call.asked("pageSize");
        let size: usize = match asked {
            "" => 0,
            _ => asked.parse().map_err(|_| bad("pageSize is no number"))?,
        };
        // Who does not say how many gets them all, and reads a page size of 0.
        let longest = if size == 0 { usize::MAX } else { size };
        let filter = self.filter(call.asked("filterQuery"))?;
        let parent = parent
            .filter(|_| !(sort == Sort::Artifact && self.has("artifact/belongs-to-its-version")));
        let mut found: Vec<&Entry> = store
            .of(sort)
            .filter(|e| parent.is_none() || e.parent == parent)
            .filter(|e| filter.takes(e.object["name"].as_str().unwrap_or_default()))
            .collect();
        if call.asked("sortOrder") == "DESC" && !self.has("list/orders") {
            found.reverse();
        }
        let after: u64 = call.asked("nextPageToken").parse().unwrap_or(0);
        let start = found
            .iter()
            .position(|e| e.id == after)
            .map_or(0, |at| if self.has("list/pages") { at } else { at + 1 });
        let page: Vec<&Entry> = found.iter().skip(start).take(longest).copied().collect();
        let more = start + page.len() < found.len();
        let token = match page.last() {
            Some(last) if more => last.id.to_string(),
            _ => String::new(),
        };
        let items: Vec<&Value> = page.iter().map(|e| &e.object).collect();
        Ok((
            200,
            json!({"items": items, "size": items.len(), "pageSize": size, "nextPageToken": token}),
        ))
    }

    fn filter(&self, text: &str) -> Result<Filter, Refused> {
        if text.is_empty() {
            return Ok(Filter::All);
        }
        let read = |operator: &str| {
            let rest = text.strip_prefix("name")?.trim_start();
            let value = rest.strip_prefix(operator)?.trim();
            let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
            (!value.contains('\'')).then(|| value.to_owned())
        };
        if let Some(value) = read("=") {
            return Ok(Filter::Is(value));
        }
        match read("LIKE").and_then(|value| value.strip_suffix('%').map(ToOwned::to_owned)) {
            Some(_) if self.has("list/filters") => Ok(Filter::All),
            Some(value) => Ok(Filter::Begins(value)),
            None if self.has("list/refuses-bad-filters") => Ok(Filter::All),
            None => Err((
                400,
                format!("invalid filter query syntax: unexpected token: {text}"),
            )),
        }
    }

    fn served(&self, store: &Store, id: &str, what: &str) -> Answered {
        let service = &self.need(store, Sort::Service, id)?.object;
        let model = service["registeredModelId"].as_str().unwrap_or_default();
        if what == "model" {
            return Ok((200, self.need(store, Sort::Model, model)?.object.clone()));
        }
        let version = service["modelVersionId"].as_str().unwrap_or_default();
        if version.is_empty() || self.has("serving/links-a-service-to-its-model") {
            let parent: Option<u64> = model.parse().ok();
            let latest = store
                .of(Sort::Version)
                .filter(|e| e.parent == parent)
                .last();
            return latest
                .map(|e| (200, e.object.clone()))
                .ok_or_else(|| (404, "no model versions found: not found".to_owned()));
        }
        Ok((
            200,
            self.need(store, Sort::Version, version)?.object.clone(),
        ))
    }
}

/// Which names a list has.
enum Filter {
    All,
    Is(String),
    Begins(String),
}

impl Filter {
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Is(value) => name == value,
            Self::Begins(value) => name.starts_with(value.as_str()),
        }
    }
}

/// The object in a request's body.
fn read(call: &Call) -> Result<Map<String, Value>, Refused> {
    serde_json::from_slice(&call.body).map_err(|error| (400, error.to_string()))
}

/// Refuses fields that the API does not know.
fn known(sort: Sort, body: &Map<String, Value>) -> Result<(), Refused> {
    let unknown = body
        .keys()
        .find(|key| !COMMON.contains(&key.as_str()) && !sort.fields().contains(&key.as_str()));
    unknown.map_or(Ok(()), |key| {
        Err((400, format!("json: unknown field {key:?}")))
    })
}

/// Refuses states that there are not.
fn valid(sort: Sort, body: &Map<String, Value>) -> Result<(), Refused> {
    let Some(state) = body.get("state").and_then(Value::as_str) else {
        return Ok(());
    };
    let states: &[&str] = match sort {
        Sort::Artifact => &[
            "UNKNOWN",
            "PENDING",
            "LIVE",
            "MARKED_FOR_DELETION",
            "DELETED",
            "ABANDONED",
            "REFERENCE",
        ],
        _ => &["LIVE", "ARCHIVED"],
    };
    if states.contains(&state) {
        return Ok(());
    }
    Err((
        400,
        format!("invalid value '{state}' for its state: valid values are {states:?}"),
    ))
}
