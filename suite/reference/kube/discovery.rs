//! Discovery: which groups, versions and resource types there are; the version; OpenAPI as far as clients need it.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::http::{self as web, Request, Response};
use super::registry::{ResourceType, Version, api_version};
use super::status::ApiError;
use super::world::World;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Types that are answered by computation and not stored: group, version, kind, plural, namespaced.
pub(super) const REVIEWS: &[(&str, &str, &str, &str, bool)] = &[
    (
        "authentication.k8s.io",
        "v1",
        "TokenReview",
        "tokenreviews",
        false,
    ),
    (
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        false,
    ),
    (
        "authorization.k8s.io",
        "v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        true,
    ),
    (
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        false,
    ),
    (
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        false,
    ),
    (
        "authorization.k8s.io",
        "v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        false,
    ),
];

/// Answers whatever is not about objects.
pub(super) fn answer(world: &World, request: &Request) -> Response {
    if request.method != Method::GET {
        return if request.path == "/" {
            web::failure(&ApiError::method_not_allowed())
        } else {
            web::page_not_found()
        };
    }
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let aggregated = request.accept().contains("as=APIGroupDiscoveryList");
    let ok = |value: Value| web::json(StatusCode::OK, &value);
    match parts.as_slice() {
        ["version"] => ok(version(world)),
        [root @ ("api" | "apis")] if aggregated => {
            let mut response = ok(aggregate(world, *root == "api"));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
            response
        }
        ["api"] => ok(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": world.address().to_string()}],
        })),
        ["apis"] => {
            let groups: Vec<Value> = groups(world)
                .iter()
                .map(|(name, versions)| group(name, versions))
                .collect();
            ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => groups(world)
            .iter()
            .find(|(group, _)| group == name)
            .map_or_else(web::page_not_found, |(name, versions)| {
                let mut found = group(name, versions);
                found["kind"] = json!("APIGroup");
                found["apiVersion"] = json!("v1");
                ok(found)
            }),
        ["api", version] => list(world, "", version).map_or_else(web::page_not_found, ok),
        ["apis", group, version] => {
            list(world, group, version).map_or_else(web::page_not_found, ok)
        }
        ["openapi", "v3"] => ok(openapi_index(world)),
        ["openapi", "v3", "api", version] => ok(openapi(world, "", version)),
        ["openapi", "v3", "apis", group, version] => ok(openapi(world, group, version)),
        ["openapi", "v2"] => ok(json!({
            "swagger": "2.0", "info": {"title": "Kubernetes", "version": world.options().version},
            "paths": {}, "definitions": {},
        })),
        [""] => ok(
            json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"]}),
        ),
        _ => web::page_not_found(),
    }
}

fn version(world: &World) -> Value {
    let version = &world.options().version;
    let mut numbers = version.trim_start_matches('v').split('.');
    let platform = format!("linux/{}", super::bootstrap::architecture());
    json!({
        "major": numbers.next().unwrap_or_default(), "minor": numbers.next().unwrap_or_default(),
        "gitVersion": version, "gitCommit": "", "gitTreeState": "clean", "buildDate": "2025-01-01T00:00:00Z",
        "goVersion": "", "compiler": "", "platform": platform,
    })
}

/// The named groups with their versions, preferred first.
fn groups(world: &World) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = world
        .registry()
        .groups()
        .into_iter()
        .filter(|(group, _)| !group.is_empty())
        .collect();
    for (group, version, ..) in REVIEWS {
        if !groups.iter().any(|(name, _)| name == group) {
            groups.push(((*group).to_owned(), vec![(*version).to_owned()]));
        }
    }
    groups
}

fn group(name: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": api_version(name, version), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The verbs of a custom resource, in the order in which the API server names them.
const CUSTOM_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

fn verbs(kind: &ResourceType) -> [&'static str; 8] {
    if kind.custom { CUSTOM_VERBS } else { VERBS }
}

/// The types of a group and version.
fn kinds(world: &World, group: &str, version: &str) -> Vec<Arc<ResourceType>> {
    let all = world.registry().all();
    all.into_iter()
        .filter(|kind| kind.resource.group() == group && kind.version(version).is_some())
        .collect()
}

/// Subresources of a type: name, kind with its group and version, verbs.
fn subresources(
    kind: &ResourceType,
    version: &Version,
) -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let own = json!([kind.resource.group(), version.name, kind.kind]);
    let rw = vec!["get", "patch", "update"];
    let mut subs = Vec::new();
    if version.status {
        subs.push(("status", own.clone(), rw.clone()));
    }
    if version.scale {
        subs.push(("scale", json!(["autoscaling", "v1", "Scale"]), rw));
    }
    if kind.resource.group().is_empty() {
        let proxy = vec!["create", "delete", "get", "patch", "update"];
        match kind.resource.plural() {
            "pods" => {
                subs.push((
                    "eviction",
                    json!(["policy", "v1", "Eviction"]),
                    vec!["create"],
                ));
                subs.push(("log", own, vec!["get"]));
                subs.push((
                    "portforward",
                    json!(["", "v1", "PodPortForwardOptions"]),
                    vec!["create", "get"],
                ));
                subs.push(("proxy", json!(["", "v1", "PodProxyOptions"]), proxy));
            }
            "services" => subs.push(("proxy", json!(["", "v1", "ServiceProxyOptions"]), proxy)),
            "serviceaccounts" => {
                subs.push((
                    "token",
                    json!(["authentication.k8s.io", "v1", "TokenRequest"]),
                    vec!["create"],
                ));
            }
            "namespaces" => subs.push(("finalize", own, vec!["update"])),
            _ => {}
        }
    }
    subs
}

fn list(world: &World, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds(world, group, version) {
        let of = kind.version(version)?;
        let plural = kind.resource.plural();
        let mut resource = json!({
            "name": plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": verbs(&kind),
        });
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        resources.push(resource);
        for (sub, gvk, verbs) in subresources(&kind, of) {
            let mut entry = json!({
                "name": format!("{plural}/{sub}"), "singularName": "", "namespaced": kind.namespaced,
                "kind": gvk[2], "verbs": verbs,
            });
            if gvk[0] != group || gvk[1] != version {
                entry["group"] = gvk[0].clone();
                entry["version"] = gvk[1].clone();
            }
            resources.push(entry);
        }
    }
    for (_, _, kind, plural, namespaced) in
        REVIEWS.iter().filter(|r| r.0 == group && r.1 == version)
    {
        resources.push(json!({
            "name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind,
            "verbs": ["create"],
        }));
    }
    (!resources.is_empty()).then(|| {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version),
               "resources": resources})
    })
}

fn aggregate(world: &World, core: bool) -> Value {
    let wanted = if core {
        vec![(String::new(), vec!["v1".to_owned()])]
    } else {
        groups(world)
    };
    let items: Vec<Value> = wanted
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|v| aggregate_version(world, group, v))
                .collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregate_version(world: &World, group: &str, version: &str) -> Value {
    let gvk = |group: &Value, version: &Value, kind: &Value| json!({"group": group, "version": version, "kind": kind});
    let mut resources = Vec::new();
    for kind in kinds(world, group, version) {
        let Some(of) = kind.version(version) else {
            continue;
        };
        let subs: Vec<Value> = subresources(&kind, of)
            .into_iter()
            .map(|(name, of, verbs)| {
                json!({"subresource": name, "responseKind": gvk(&of[0], &of[1], &of[2]), "verbs": verbs})
            })
            .collect();
        let mut resource = json!({
            "resource": kind.resource.plural(),
            "responseKind": {"group": group, "version": version, "kind": kind.kind},
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": kind.singular,
            "verbs": verbs(&kind),
        });
        for (key, list) in [
            ("shortNames", &kind.short_names),
            ("categories", &kind.categories),
        ] {
            if !list.is_empty() {
                resource[key] = json!(list);
            }
        }
        if !subs.is_empty() {
            resource["subresources"] = json!(subs);
        }
        resources.push(resource);
    }
    for (_, _, kind, plural, namespaced) in
        REVIEWS.iter().filter(|r| r.0 == group && r.1 == version)
    {
        resources.push(json!({
            "resource": plural, "singularResource": kind.to_lowercase(), "verbs": ["create"],
            "responseKind": {"group": group, "version": version, "kind": kind},
            "scope": if *namespaced { "Namespaced" } else { "Cluster" },
        }));
    }
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

fn openapi_index(world: &World) -> Value {
    let mut paths = Map::new();
    let mut add = |path: String| {
        let url = format!("/openapi/v3/{path}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    };
    add("api/v1".to_owned());
    for (group, versions) in groups(world) {
        for version in versions {
            add(format!("apis/{group}/{version}"));
        }
    }
    json!({"paths": paths})
}

/// Enough OpenAPI for `kubectl` to see that the server validates fields itself.
fn openapi(world: &World, group: &str, version: &str) -> Value {
    let root = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in kinds(world, group, version) {
        let plural = kind.resource.plural();
        let path = if kind.namespaced {
            format!("{root}/namespaces/{{namespace}}/{plural}/{{name}}")
        } else {
            format!("{root}/{plural}/{{name}}")
        };
        let gvk = json!({"group": group, "version": version, "kind": kind.kind});
        let parameter =
            |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        paths.insert(
            path,
            json!({"patch": {
                "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")],
                "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": gvk, "responses": {},
            }}),
        );
        let mut schema = kind
            .version(version)
            .and_then(|v| v.schema.as_ref())
            .map_or_else(|| json!({"type": "object"}), |schema| Value::clone(schema));
        schema["x-kubernetes-group-version-kind"] = json!([gvk]);
        let reversed: Vec<&str> = group
            .split('.')
            .rev()
            .filter(|part| !part.is_empty())
            .collect();
        let name = if group.is_empty() {
            "core".to_owned()
        } else {
            reversed.join(".")
        };
        schemas.insert(format!("{name}.{version}.{}", kind.kind), schema);
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": world.options().version},
           "paths": paths, "components": {"schemas": schemas}})
}
