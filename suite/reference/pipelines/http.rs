//! The API server's HTTP: the gateway below `/apis/`, and the upload endpoints beside it.

use std::sync::Arc;

use http::{Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};

use super::{
    Server,
    api::Call,
    auth::Caller,
    refusal::{Refusal, Reply, code},
    upload,
};
use crate::{percent::unescape, reference::web};

/// Answers a request.
pub(super) async fn answer(server: &Arc<Server>, call: web::Call) -> Response<String> {
    let caller = Caller::of(&call.headers);
    if server.multi_user && caller.is_fatal() {
        return web::hang_up();
    }
    // Keys may be in snake or camel case.
    let pairs = call.query.iter().cloned();
    let query = pairs.map(|(key, value)| (key, value.into())).collect();
    let content_type = call.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let (method, path) = (&call.method, &call.path);
    let mut known = server.known.lock().await;
    server.take_in(&mut known);
    let reply = route(
        server,
        caller,
        method,
        path,
        query,
        content_type,
        &call.body,
    );
    if method != "GET" {
        server.write_out(&mut known).await;
    }
    drop(known);
    respond(server, reply)
}

fn route(
    server: &Arc<Server>,
    caller: Caller,
    method: &str,
    path: &str,
    query: Map<String, Value>,
    content_type: &str,
    body: &[u8],
) -> Reply {
    if (method, path) == ("GET", "/apis/v1beta1/healthz") {
        let mut health = server.health();
        if let Some(map) = health.as_object_mut() {
            map.shift_remove("pipeline_store");
        }
        return Reply::Json(health);
    }
    let Some(below) = path.strip_prefix("/apis/v2beta1/") else {
        return if path.starts_with("/apis/") {
            Reply::Refused(Refusal::gateway(code::NOT_FOUND, "Not Found"))
        } else {
            Reply::Text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
        };
    };
    if method == "POST" && matches!(below, "pipelines/upload" | "pipelines/upload_version") {
        let is_version = below.ends_with("_version");
        return match server.admit_upload(&caller, is_version, &query) {
            Ok(()) => server.upload(is_version, &query, content_type, body),
            // Whatever the reason is.
            Err(_) => upload::refused(StatusCode::BAD_REQUEST, "Failed to create a pipeline", true),
        };
    }
    let (below, verb) = match below.rsplit_once(':') {
        Some((below, verb)) if !verb.contains('/') => (below, Some(verb.to_owned())),
        _ => (below, None),
    };
    let call = Call {
        caller,
        method: method.to_owned(),
        segments: below.split('/').map(unescape).collect(),
        verb,
        query,
        body: String::from_utf8_lossy(body).into_owned(),
    };
    match server.call(&call) {
        Ok(value) => Reply::Json(value),
        Err(refusal) => Reply::Refused(refusal),
    }
}

fn respond(server: &Server, reply: Reply) -> Response<String> {
    const JSON: &str = "application/json";
    const TEXT: &str = "text/plain; charset=utf-8";
    let (status, content_type, body) = match reply {
        Reply::Json(value) => (StatusCode::OK, JSON, value.to_string()),
        Reply::Refused(refusal) if server.broken("server/reports-errors") => {
            let page = format!("<h1>{}</h1>", refusal.status());
            (refusal.status(), "text/html", page)
        }
        Reply::Refused(refusal) => (refusal.status(), JSON, refusal.body().to_string()),
        Reply::Upload {
            status,
            message,
            json,
        } => {
            let body = json!({"error_message": message, "error_details": message});
            (status, if json { JSON } else { TEXT }, body.to_string())
        }
        Reply::Text(status, message) => (status, TEXT, message),
    };
    web::reply(status.as_u16(), content_type, body)
}
