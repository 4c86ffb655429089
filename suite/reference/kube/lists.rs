//! Lists: selection, pages of one snapshot, resource versions.

use std::sync::Arc;

use http::StatusCode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::http::{self as web, Request, Response};
use super::registry::ResourceType;
use super::selectors::{FieldSelector, LabelSelector};
use super::status::ApiError;
use super::store::Key;
use super::table;
use super::verbs::{Target, in_version};
use super::world::World;

/// Which objects a request wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
}

impl Selection {
    pub(super) fn read(request: &Request, kind: &ResourceType) -> Result<Self, ApiError> {
        Ok(Self {
            labels: LabelSelector::parse(request.query.get("labelSelector").unwrap_or_default())?,
            fields: FieldSelector::parse(
                request.query.get("fieldSelector").unwrap_or_default(),
                kind.custom,
            )?,
        })
    }

    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}

/// The namespace that a request is limited to.
pub(super) fn namespace(target: &Target) -> Option<&str> {
    let namespace = target.key.namespace.as_str();
    (!namespace.is_empty()).then_some(namespace)
}

/// All objects that a request selects now, with the version at which this is so.
pub(super) fn matching(
    world: &World,
    request: &Request,
    target: &Target,
) -> Result<(u64, Vec<Arc<Value>>), ApiError> {
    let selection = Selection::read(request, &target.kind)?;
    let (version, mut objects) = world.store().list(&target.kind.resource, namespace(target));
    objects.retain(|object| selection.matches(object));
    Ok((version, objects))
}

/// Where the next page begins.
struct Continue {
    version: u64,
    after: Key,
}

impl Continue {
    fn write(&self) -> String {
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.version, "start": [self.after.namespace, self.after.name]});
        super::encode_url(token.to_string().as_bytes())
    }

    fn read(text: &str) -> Result<Self, ApiError> {
        let bad =
            || ApiError::bad_request("continue key is not valid: the token cannot be decoded");
        let bytes = super::decode_url(text).ok_or_else(bad)?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        let part = |index: usize| token["start"][index].as_str().ok_or_else(bad);
        Ok(Self {
            version: token["rv"].as_u64().ok_or_else(bad)?,
            after: Key::new(part(0)?, part(1)?),
        })
    }
}

/// Answers a GET of many objects.
pub(super) fn answer(
    world: &World,
    request: &Request,
    target: &Target,
) -> Result<Response, ApiError> {
    let selection = Selection::read(request, &target.kind)?;
    let store = world.store();
    let resource = &target.kind.resource;
    let number = |key: &str| -> Result<Option<u64>, ApiError> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| ApiError::bad_request(format!("{key}: Invalid value: {text:?}")))
        };
        request.query.get(key).map(parse).transpose()
    };
    let expired = |_| {
        ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results.",
        )
    };
    let limit = number("limit")?.unwrap_or(0);
    let wanted = number("resourceVersion")?;
    let exact = request.query.get("resourceVersionMatch") == Some("Exact");
    let (version, mut objects, after) = if let Some(token) = request.query.get("continue") {
        let token = Continue::read(token)?;
        let objects = store
            .list_at(resource, namespace(target), token.version)
            .map_err(expired)?;
        (token.version, objects, Some(token.after))
    } else if let Some(at) = wanted.filter(|_| exact) {
        let objects = store
            .list_at(resource, namespace(target), at)
            .map_err(expired)?;
        (at, objects, None)
    } else {
        let (version, objects) = store.list(resource, namespace(target));
        (version, objects, None)
    };
    if let Some(future) = wanted.filter(|wanted| *wanted > store.version()) {
        let mut error = ApiError::new(
            504,
            "Timeout",
            format!(
                "Too large resource version: {future}, current: {}",
                store.version()
            ),
        );
        error.details = Some(Box::new(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        })));
        return Err(error);
    }
    if let Some(after) = after {
        objects.retain(|object| Key::of(object) > after);
    }
    if !selection.is_everything() {
        objects.retain(|object| selection.matches(object));
    }
    let mut next = None;
    if limit > 0 && (objects.len() as u64) > limit {
        let left = objects.split_off(limit as usize).len();
        let token = objects.last().map(|last| {
            Continue {
                version,
                after: Key::of(last),
            }
            .write()
        });
        next = token.map(|token| (token, selection.is_everything().then_some(left)));
    }
    let objects: Vec<_> = objects
        .iter()
        .map(|object| in_version(&target.kind, &target.version, object))
        .collect();
    match table::wanted(request.accept()) {
        table::Form::Table => {
            let include = request.query.get("includeObject");
            let mut table = table::of(world, &target.kind, &target.version, &objects, include);
            table["metadata"] = metadata(version, next.as_ref());
            Ok(web::json(StatusCode::OK, &table))
        }
        table::Form::Metadata => {
            let items: Vec<Value> = objects
                .iter()
                .map(|object| table::metadata_only(object))
                .collect();
            Ok(web::json(
                StatusCode::OK,
                &json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata(version, next.as_ref()), "items": items,
                }),
            ))
        }
        table::Form::Object => Ok(render(
            &target.kind,
            &target.version,
            version,
            &objects,
            next.as_ref(),
        )),
    }
}

fn metadata(version: u64, next: Option<&(String, Option<usize>)>) -> Value {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some((token, left)) = next {
        metadata["continue"] = json!(token);
        if let Some(left) = left {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    metadata
}

/// Writes a list without copying its items.
struct List<'a> {
    kind: &'a ResourceType,
    version: &'a str,
    metadata: Value,
    items: &'a [Arc<Value>],
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("kind", &format!("{}List", self.kind.kind))?;
        map.serialize_entry("apiVersion", &self.kind.api_version(self.version))?;
        map.serialize_entry("metadata", &self.metadata)?;
        let items: Vec<Item<'_>> = self
            .items
            .iter()
            .map(|object| Item {
                object,
                typed: self.kind.custom,
            })
            .collect();
        map.serialize_entry("items", &items)?;
        map.end()
    }
}

/// Items of built-in types do not say what they are; custom resources do.
struct Item<'a> {
    object: &'a Value,
    typed: bool,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.object {
            Value::Object(object) if !self.typed => serializer.collect_map(
                object
                    .iter()
                    .filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion")),
            ),
            object => object.serialize(serializer),
        }
    }
}

/// A list of objects in a version of their type.
pub(super) fn render(
    kind: &ResourceType,
    version: &str,
    at: u64,
    items: &[Arc<Value>],
    next: Option<&(String, Option<usize>)>,
) -> Response {
    let list = List {
        kind,
        version,
        metadata: metadata(at, next),
        items,
    };
    web::json(StatusCode::OK, &list)
}
