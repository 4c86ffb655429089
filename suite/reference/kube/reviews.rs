//! Reviews: requests that are answered by computation, about tokens and access.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::auth::{API_AUDIENCE, Action, User, applicable, authorize};
use super::http::{self as web, Request, Response};
use super::routes::{self, Place};
use super::status::ApiError;
use super::world::World;

/// Which review a path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Review {
    Token,
    SelfSubject,
    Access { own: bool },
    Rules,
}

/// The review that a request is about, if it is about one.
pub(super) fn answer(_: &World, _: &Request, place: &Place) -> Option<Review> {
    if place.version != "v1" || !place.name.is_empty() {
        return None;
    }
    match (place.group.as_str(), place.plural.as_str()) {
        ("authentication.k8s.io", "tokenreviews") => Some(Review::Token),
        ("authentication.k8s.io", "selfsubjectreviews") => Some(Review::SelfSubject),
        ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews") => {
            Some(Review::Access { own: false })
        }
        ("authorization.k8s.io", "selfsubjectaccessreviews") => Some(Review::Access { own: true }),
        ("authorization.k8s.io", "selfsubjectrulesreviews") => Some(Review::Rules),
        _ => None,
    }
}

/// Answers a review.
pub(super) async fn run(
    world: &World,
    mut request: Request,
    place: &Place,
    review: Review,
) -> Result<Response, ApiError> {
    if request.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let mut object = routes::object(&mut request, "review").await?;
    if !object.is_object() {
        return Err(ApiError::bad_request("the object provided is unrecognized"));
    }
    let spec = object["spec"].clone();
    object["status"] = match review {
        Review::Token => token_review(world, &spec),
        Review::SelfSubject => json!({"userInfo": request.user.to_info()}),
        Review::Access { own } => {
            // As the real API server: a review has no identity, so labels on it are an error.
            if object["metadata"]
                .as_object()
                .is_some_and(|m| !m.is_empty())
            {
                let message = format!(
                    "metadata: Invalid value: {}: must be empty",
                    object["metadata"]
                );
                return Err(ApiError::new(422, "Invalid", message));
            }
            let user = if own {
                request.user.clone()
            } else {
                subject(&spec)
            };
            if !own && user.name.is_empty() && user.groups.is_empty() {
                return Err(ApiError::new(
                    422,
                    "Invalid",
                    "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at \
                     least one of user or group must be specified",
                ));
            }
            access_review(world, &user, &spec)?
        }
        Review::Rules => rules_review(
            world,
            &request.user,
            spec["namespace"].as_str().unwrap_or_default(),
        ),
    };
    if object["metadata"].is_null() {
        object["metadata"] = json!({"creationTimestamp": null});
    }
    if !place.namespace.is_empty() {
        object["metadata"]["namespace"] = json!(place.namespace);
    }
    Ok(web::json(StatusCode::CREATED, &object))
}

fn strings(value: &Value) -> Vec<String> {
    let texts = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn token_review(world: &World, spec: &Value) -> Value {
    let token = spec["token"].as_str().unwrap_or_default();
    match world.review(token, &strings(&spec["audiences"])) {
        Some((user, audiences)) => {
            json!({"authenticated": true, "user": user.to_info(), "audiences": audiences})
        }
        None => json!({"user": {}, "error": "[invalid bearer token, token lookup failed]"}),
    }
}

fn subject(spec: &Value) -> User {
    User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: strings(&spec["groups"]),
        ..User::default()
    }
}

fn access_review(world: &World, user: &User, spec: &Value) -> Result<Value, ApiError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    let action = if about.is_object() {
        Action {
            verb: text(&about["verb"]),
            group: text(&about["group"]),
            resource: text(&about["resource"]),
            subresource: text(&about["subresource"]),
            namespace: text(&about["namespace"]),
            name: text(&about["name"]),
            path: None,
        }
    } else if path.is_object() {
        Action {
            verb: text(&path["verb"]),
            path: Some(text(&path["path"])),
            ..Action::default()
        }
    } else {
        return Err(ApiError::new(
            422,
            "Invalid",
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or \
             resourceAttributes must be specified",
        ));
    };
    Ok(match authorize(world.store(), user, &action) {
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    })
}

fn rules_review(world: &World, user: &User, namespace: &str) -> Value {
    let mut rules: Vec<Value> = applicable(world.store(), user, namespace)
        .into_iter()
        .map(|(_, rule)| rule)
        .collect();
    if user.groups.iter().any(|group| group == "system:masters") {
        rules.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
    }
    let (paths, resources): (Vec<Value>, Vec<Value>) = rules
        .into_iter()
        .partition(|rule| rule["nonResourceURLs"].is_array());
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

/// Answers `serviceaccounts/NAME/token`.
pub(super) async fn token_request(
    world: &World,
    mut request: Request,
    place: &Place,
) -> Result<Response, ApiError> {
    let mut object = routes::object(&mut request, "TokenRequest").await?;
    let seconds = object["spec"]["expirationSeconds"].as_u64().unwrap_or(3600);
    if seconds < 600 {
        let message = format!(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {seconds}: may \
             not specify a duration less than 10 minutes"
        );
        return Err(ApiError::new(422, "Invalid", message));
    }
    let audiences = strings(&object["spec"]["audiences"]);
    let lifetime = Duration::from_secs(seconds.min(1 << 32));
    let (token, expires) =
        world.service_account_token(&place.namespace, &place.name, &audiences, lifetime)?;
    if !object.is_object() {
        object = json!({});
    }
    object["apiVersion"] = json!("authentication.k8s.io/v1");
    object["kind"] = json!("TokenRequest");
    object["metadata"] = json!({"name": place.name, "namespace": place.namespace, "creationTimestamp": world.stamp()});
    object["spec"]["expirationSeconds"] = json!(seconds);
    if audiences.is_empty() {
        object["spec"]["audiences"] = json!([API_AUDIENCE]);
    }
    object["status"] = json!({"token": token, "expirationTimestamp": super::stamp(expires)});
    Ok(web::json(StatusCode::CREATED, &object))
}
