//! What the paths mean: resources, subresources, discovery.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::auth::Action;
use super::delete::{DeleteOptions, Deleted};
use super::http::{self as web, Request, Response};
use super::registry::resources::{NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES};
use super::registry::{Resource, ResourceType};
use super::status::{ApiError, details};
use super::store::Key;
use super::verbs::{Part, Target, UnknownFields, WriteOptions, in_version};
use super::world::World;
use super::{builtin, discovery, lists, logs, patch, portforward, proxy, reviews, table, watch};
use crate::percent::unescape;

/// A path about resources.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) sub: String,
    /// What follows the subresource, for proxies; begins with a slash or is empty.
    pub(super) rest: String,
    /// The type, if the server has it in this version.
    pub(super) kind: Option<Arc<ResourceType>>,
}

/// What a path is about.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// Objects.
    Resource(Place),
    /// Anything else: discovery, version, unknown paths.
    Path,
}

impl Route {
    pub(super) fn parse(world: &World, request: &Request) -> Self {
        let Some(mut place) = Self::of_path(&request.path) else {
            return Self::Path;
        };
        let resource = Resource::of(place.group.clone(), place.plural.clone());
        let kind = world.registry().get(&resource);
        place.kind = kind.filter(|kind| kind.version(&place.version).is_some());
        Self::Resource(place)
    }

    fn of_path(path: &str) -> Option<Place> {
        let parts: Vec<&str> = path.trim_matches('/').splitn(9, '/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // `namespaces/NAME/status` is about a namespace, `namespaces/NAME/pods` about what is in it.
            ["namespaces", namespace, plural, rest @ ..]
                if !(group.is_empty() && matches!(*plural, "status" | "finalize")) =>
            {
                let tail: Vec<&str> = std::iter::once(*plural)
                    .chain(rest.iter().copied())
                    .collect();
                (*namespace, tail)
            }
            other => ("", other.to_vec()),
        };
        let plural = rest.first().filter(|plural| !plural.is_empty())?;
        let at = |index: usize| unescape(rest.get(index).copied().unwrap_or_default());
        let sub = at(2);
        let tail = if sub == "proxy" {
            // The path beyond is the other server's own, so it is passed on as it came.
            path.find("/proxy")
                .map(|at| path[at + "/proxy".len()..].to_owned())
        } else {
            rest.get(3).map(|_| format!("/{}", rest[3..].join("/")))
        };
        Some(Place {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: (*plural).to_owned(),
            namespace: unescape(namespace),
            name: at(1),
            sub,
            rest: tail.unwrap_or_default(),
            kind: None,
        })
    }

    /// The action that RBAC must allow.
    pub(super) fn action(&self, request: &Request) -> Action {
        let Self::Resource(place) = self else {
            return Action {
                verb: request.method.as_str().to_lowercase(),
                path: Some(request.path.clone()),
                ..Action::default()
            };
        };
        let many = place.name.is_empty();
        let verb = match request.method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if many => "deletecollection",
            Method::DELETE => "delete",
            _ if many && request.query.is_set("watch") => "watch",
            _ if many => "list",
            _ => "get",
        };
        // A namespace itself is seen as lying in itself, so that a role in it can allow reading it.
        let namespace = if place.group.is_empty() && place.plural == "namespaces" {
            place.name.clone()
        } else {
            place.namespace.clone()
        };
        Action {
            verb: verb.to_owned(),
            group: place.group.clone(),
            resource: place.plural.clone(),
            subresource: place.sub.clone(),
            namespace,
            name: place.name.clone(),
            path: None,
        }
    }
}

/// Answers a permitted request.
pub(super) async fn dispatch(
    world: &World,
    request: Request,
    route: Route,
) -> Result<Response, ApiError> {
    match route {
        Route::Path => Ok(discovery::answer(world, &request)),
        Route::Resource(place) => {
            if let Some(response) = reviews::answer(world, &request, &place) {
                return reviews::run(world, request, &place, response).await;
            }
            match place.kind.clone() {
                Some(kind) => resource(world, request, place, kind).await,
                None => Ok(web::page_not_found()),
            }
        }
    }
}

async fn resource(
    world: &World,
    request: Request,
    place: Place,
    kind: Arc<ResourceType>,
) -> Result<Response, ApiError> {
    let core = kind.resource.group().is_empty();
    match (place.sub.as_str(), &kind.resource) {
        ("log", resource) if *resource == PODS && request.method == Method::GET => {
            return logs::answer(world, &request, &place);
        }
        ("portforward", resource) if *resource == PODS => {
            return portforward::answer(world, request, &place);
        }
        ("proxy", resource) if *resource == PODS || *resource == SERVICES => {
            return proxy::answer(world, request, &place).await;
        }
        ("token", resource) if *resource == SERVICE_ACCOUNTS && request.method == Method::POST => {
            return reviews::token_request(world, request, &place).await;
        }
        ("eviction", resource) if *resource == PODS && request.method == Method::POST => {
            let target = target(&place, &kind, Part::Whole);
            world
                .write_end(&target, &DeleteOptions::default(), &options(&request)?)
                .await?;
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            return Ok(web::json(StatusCode::CREATED, &status));
        }
        ("exec" | "attach", _) if core => {
            return Err(ApiError::new(
                501,
                "NotImplemented",
                "containers of the reference run in-process: there is nothing to execute in",
            ));
        }
        _ => {}
    }
    let version = kind
        .version(&place.version)
        .ok_or_else(ApiError::unknown_resource)?;
    let part = match place.sub.as_str() {
        "" => Part::Whole,
        "finalize" if kind.resource == NAMESPACES => Part::Whole,
        "status" if version.status => Part::Status,
        "scale" if version.scale => Part::Scale,
        _ => return Ok(web::page_not_found()),
    };
    if kind.namespaced
        && place.namespace.is_empty()
        && !(place.name.is_empty() && request.method == Method::GET)
    {
        // Objects of namespaced types can be listed across namespaces, but only be written in one.
        return Ok(web::page_not_found());
    }
    if !kind.namespaced && !place.namespace.is_empty() {
        return Ok(web::page_not_found());
    }
    let target = target(&place, &kind, part);
    match (&request.method, place.name.is_empty()) {
        (&Method::GET, true) if request.query.is_set("watch") => {
            watch::answer(world, &request, &target, None)
        }
        (&Method::GET, true) => lists::answer(world, &request, &target),
        (&Method::GET, false) if request.query.is_set("watch") => {
            watch::answer(world, &request, &target, Some(&place.name))
        }
        (&Method::GET, false) => read(world, &request, &target),
        (&Method::POST, true) if part == Part::Whole => create(world, request, &target).await,
        (&Method::PUT, false) => update(world, request, &target).await,
        (&Method::PATCH, false) => modify(world, request, &target).await,
        (&Method::DELETE, false) if part == Part::Whole => delete(world, request, &target).await,
        (&Method::DELETE, true) => delete_all(world, request, &target).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn target(place: &Place, kind: &Arc<ResourceType>, part: Part) -> Target {
    Target {
        kind: kind.clone(),
        version: place.version.clone(),
        key: Key::new(&place.namespace, &place.name),
        part,
    }
}

/// How a request wants to write.
pub(super) fn options(request: &Request) -> Result<WriteOptions, ApiError> {
    let mut dry_run = false;
    for value in request.query.all("dryRun") {
        match value {
            "All" => dry_run = true,
            "" => {}
            other => {
                return Err(ApiError::new(
                    422,
                    "Invalid",
                    format!("dryRun: Unsupported value: {other:?}: supported values: \"All\""),
                ));
            }
        }
    }
    let unknown_fields = match request.query.get("fieldValidation") {
        None | Some("Warn") => UnknownFields::Warn,
        Some("Ignore") => UnknownFields::Ignore,
        Some("Strict") => UnknownFields::Refuse,
        Some(other) => {
            return Err(ApiError::new(
                422,
                "Invalid",
                format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                ),
            ));
        }
    };
    let agent = request.header(&::http::header::USER_AGENT);
    let manager = request
        .query
        .get("fieldManager")
        .unwrap_or_else(|| agent.split('/').next().unwrap_or_default());
    Ok(WriteOptions {
        user: request.user.clone(),
        dry_run,
        unknown_fields,
        admission: true,
        manager: manager.to_owned(),
        uid: None,
    })
}

/// Reads a body as JSON or YAML, by its media type.
pub(super) async fn object(request: &mut Request, kind: &str) -> Result<Value, ApiError> {
    let media = request.content_type().to_owned();
    let bytes = request.body().await?;
    let text = String::from_utf8_lossy(&bytes);
    let unrecognized = |error: &dyn std::fmt::Display| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse \
             error: {error} ({})",
            text.chars().take(120).collect::<String>()
        ))
    };
    match media.as_str() {
        "" | "application/json" | "text/plain" | "*/*" => {
            serde_json::from_slice(&bytes).map_err(|error| {
                if error.is_eof() {
                    unrecognized(&"unexpected end of JSON input")
                } else {
                    unrecognized(&error)
                }
            })
        }
        "application/yaml" | "application/x-yaml" => {
            serde_saphyr::from_str(&text).map_err(|error| unrecognized(&error))
        }
        other => Err(ApiError::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format ({other}) - accepted media types include: \
                 application/json, application/yaml"
            ),
        )),
    }
}

fn read(world: &World, request: &Request, target: &Target) -> Result<Response, ApiError> {
    let object = world.get(
        &target.kind.resource,
        &target.key.namespace,
        &target.key.name,
    )?;
    let object = in_version(&target.kind, &target.version, &object);
    if target.part == Part::Scale {
        return Ok(web::json(
            StatusCode::OK,
            &super::scale::of(&target.kind, &object),
        ));
    }
    Ok(show(world, request, target, StatusCode::OK, &object, &[]))
}

/// An object in the form that the client asks for.
fn show(
    world: &World,
    request: &Request,
    target: &Target,
    code: StatusCode,
    object: &Arc<Value>,
    warnings: &[String],
) -> Response {
    match table::wanted(request.accept()) {
        table::Form::Table => {
            let include = request.query.get("includeObject");
            let table = table::of(
                world,
                &target.kind,
                &target.version,
                std::slice::from_ref(object),
                include,
            );
            web::json(code, &table)
        }
        table::Form::Metadata => web::json(code, &table::metadata_only(object)),
        table::Form::Object => web::json_warning(code, object, warnings),
    }
}

async fn create(
    world: &World,
    mut request: Request,
    target: &Target,
) -> Result<Response, ApiError> {
    let body = object(&mut request, &target.kind.kind).await?;
    let written = world.write_new(target, body, &options(&request)?).await?;
    Ok(show(
        world,
        &request,
        target,
        StatusCode::CREATED,
        &written.object,
        &written.warnings,
    ))
}

async fn update(
    world: &World,
    mut request: Request,
    target: &Target,
) -> Result<Response, ApiError> {
    let kind = if target.part == Part::Scale {
        "Scale"
    } else {
        target.kind.kind.as_str()
    };
    let body = object(&mut request, kind).await?;
    let custom = target.kind.custom && target.part != Part::Scale;
    let unversioned = body["metadata"]["resourceVersion"]
        .as_str()
        .is_none_or(str::is_empty);
    if custom && unversioned && body.is_object() {
        // Only checked once the object is known to exist.
        world.get(
            &target.kind.resource,
            &target.key.namespace,
            &target.key.name,
        )?;
        let error = super::status::FieldError::invalid(
            "metadata.resourceVersion",
            &json!(0),
            "must be specified for an update",
        );
        return Err(ApiError::invalid(&target.kind, &target.key.name, &[error]));
    }
    let written = world
        .write_change(target, &options(&request)?, |_| Ok(body.clone()))
        .await?;
    Ok(answer_part(
        world,
        &request,
        target,
        StatusCode::OK,
        &written.object,
        &written.warnings,
    ))
}

fn answer_part(
    world: &World,
    request: &Request,
    target: &Target,
    code: StatusCode,
    object: &Arc<Value>,
    warnings: &[String],
) -> Response {
    if target.part == Part::Scale {
        return web::json(code, &super::scale::of(&target.kind, object));
    }
    show(world, request, target, code, object, warnings)
}

async fn modify(
    world: &World,
    mut request: Request,
    target: &Target,
) -> Result<Response, ApiError> {
    let options = options(&request)?;
    let media = request.content_type().to_owned();
    if media == "application/apply-patch+yaml" {
        return apply(world, request, target, &options).await;
    }
    let bytes = request.body().await?;
    let patch: Value = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    let change = |current: &Value| {
        let mut object = current.clone();
        match media.as_str() {
            "application/json-patch+json" => patch::json_patch(&mut object, &patch)?,
            "application/strategic-merge-patch+json" if !target.kind.custom => {
                patch::strategic(&mut object, &patch);
            }
            "application/merge-patch+json" => patch::merge(&mut object, &patch),
            other => {
                let known = if target.kind.custom {
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
                } else {
                    "application/json-patch+json, application/merge-patch+json, \
                     application/strategic-merge-patch+json, application/apply-patch+yaml"
                };
                return Err(ApiError::new(
                    415,
                    "UnsupportedMediaType",
                    format!(
                        "the body of the request was in an unknown format ({other}) - accepted media types include: \
                         {known}"
                    ),
                ));
            }
        }
        Ok(object)
    };
    if !patch.is_object() && media != "application/json-patch+json" {
        return Err(ApiError::bad_request(
            "error decoding patch: json: cannot unmarshal into an object",
        ));
    }
    let written = world.write_change(target, &options, change).await?;
    Ok(answer_part(
        world,
        &request,
        target,
        StatusCode::OK,
        &written.object,
        &written.warnings,
    ))
}

/// Server-side apply. Conflicts between managers are not told: the last one that applies a field wins.
async fn apply(
    world: &World,
    mut request: Request,
    target: &Target,
    options: &WriteOptions,
) -> Result<Response, ApiError> {
    if request.query.get("fieldManager").is_none() {
        return Err(ApiError::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    let bytes = request.body().await?;
    let text = String::from_utf8_lossy(&bytes);
    let applied: Value = serde_json::from_slice(&bytes)
        .ok()
        .or_else(|| serde_saphyr::from_str(&text).ok())
        .filter(Value::is_object)
        .ok_or_else(|| ApiError::bad_request("error decoding YAML: the patch is no object"))?;
    let resource = &target.kind.resource;
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let exists = world
        .find(resource, &target.key.namespace, &target.key.name)
        .is_some();
    if !exists && target.part == Part::Whole && applied["metadata"]["uid"].is_null() {
        let mut object = applied.clone();
        object["metadata"]["name"] = json!(target.key.name);
        match world.write_new(target, object, options).await {
            Ok(written) => {
                if !options.dry_run {
                    world.remember_applied(&written.object, &options.manager, &applied);
                }
                return Ok(show(
                    world,
                    &request,
                    target,
                    StatusCode::CREATED,
                    &written.object,
                    &written.warnings,
                ));
            }
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
    }
    let change = |current: &Value| {
        let mut object = current.clone();
        let before = world.applied_before(current, &options.manager);
        let mut ours = applied.clone();
        if let Some(metadata) = ours.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| key != "managedFields" && key != "creationTimestamp");
        }
        patch::apply(&mut object, before.as_ref(), &ours);
        Ok(object)
    };
    let written = world.write_change(target, options, change).await?;
    if !options.dry_run && target.part == Part::Whole {
        world.remember_applied(&written.object, &options.manager, &applied);
    }
    Ok(answer_part(
        world,
        &request,
        target,
        StatusCode::OK,
        &written.object,
        &written.warnings,
    ))
}

async fn delete_options(request: &mut Request) -> Result<DeleteOptions, ApiError> {
    let bytes = request.body().await?;
    let body: Value = if bytes.is_empty() {
        Value::Null
    } else if request.content_type().contains("yaml") {
        serde_saphyr::from_str(&String::from_utf8_lossy(&bytes)).unwrap_or(Value::Null)
    } else {
        serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::bad_request(format!("cannot decode DeleteOptions: {error}"))
        })?
    };
    if body["dryRun"]
        .as_array()
        .is_some_and(|list| list.iter().any(|value| value == "All"))
    {
        request.query = super::http::Query::parse("dryRun=All");
    }
    DeleteOptions::read(&body, |key| request.query.get(key).map(str::to_owned))
}

async fn delete(
    world: &World,
    mut request: Request,
    target: &Target,
) -> Result<Response, ApiError> {
    let delete = delete_options(&mut request).await?;
    let Deleted { object, gone } = world
        .write_end(target, &delete, &options(&request)?)
        .await?;
    if !gone || builtin::returns_deleted(&target.kind) {
        return Ok(web::json(StatusCode::OK, &*object));
    }
    let mut about = details(&target.kind.resource, &target.key.name);
    about["uid"] = object["metadata"]["uid"].clone();
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about});
    Ok(web::json(StatusCode::OK, &status))
}

async fn delete_all(
    world: &World,
    mut request: Request,
    target: &Target,
) -> Result<Response, ApiError> {
    let delete = delete_options(&mut request).await?;
    let options = options(&request)?;
    let (version, objects) = lists::matching(world, &request, target)?;
    for object in &objects {
        let one = Target {
            key: Key::of(object),
            ..target.clone()
        };
        match world.write_end(&one, &delete, &options).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(lists::render(
        &target.kind,
        &target.version,
        version,
        &objects,
        None,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> (String, String, String, String, String) {
        let p = Route::of_path(path).expect(path);
        (
            format!("{}/{}", p.group, p.version),
            p.namespace,
            p.plural,
            format!("{}|{}", p.name, p.sub),
            p.rest,
        )
    }

    #[test]
    fn paths_are_taken_apart() {
        let is = |path: &str, expected: (&str, &str, &str, &str, &str)| {
            let (version, namespace, plural, name, rest) = place(path);
            let found = (
                version.as_str(),
                namespace.as_str(),
                plural.as_str(),
                name.as_str(),
                rest.as_str(),
            );
            assert_eq!(found, expected, "{path}");
        };
        is("/api/v1/pods", ("/v1", "", "pods", "|", ""));
        is("/api/v1/namespaces", ("/v1", "", "namespaces", "|", ""));
        is("/api/v1/namespaces/a", ("/v1", "", "namespaces", "a|", ""));
        is(
            "/api/v1/namespaces/a/status",
            ("/v1", "", "namespaces", "a|status", ""),
        );
        is(
            "/api/v1/namespaces/a/pods/p/log",
            ("/v1", "a", "pods", "p|log", ""),
        );
        is(
            "/apis/g.io/v1/namespaces/a/things/t",
            ("g.io/v1", "a", "things", "t|", ""),
        );
        is(
            "/apis/g.io/v1/things/t/status",
            ("g.io/v1", "", "things", "t|status", ""),
        );
        is(
            "/api/v1/namespaces/a/services/http:s:80/proxy/x/y%20z/",
            ("/v1", "a", "services", "http:s:80|proxy", "/x/y%20z/"),
        );
        assert!(Route::of_path("/apis/g.io/v1").is_none());
        assert!(Route::of_path("/version").is_none());
    }
}
