//! The API server's HTTP: the gateway below `/apis/`, and the upload endpoints beside it.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::{
    Server,
    api::Call,
    refusal::{Refusal, Reply, code},
};
use crate::percent::unescape;

/// The largest request, in bytes.
const LARGEST_BODY: usize = 33 << 20;

/// Serves until the world ends.
pub(super) async fn serve(server: Arc<Server>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        let shared = server.clone();
        server.world().spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let server = shared.clone();
                async move { Ok::<_, Infallible>(answer(&server, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection to the Pipelines API ended");
            }
        });
    }
}

async fn answer(server: &Arc<Server>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n");
    };
    let body = body.to_bytes();
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let query = pairs(parts.uri.query().unwrap_or_default());
    let reply = route(
        server,
        parts.method.as_str(),
        parts.uri.path(),
        query,
        content_type,
        &body,
    );
    respond(server, reply)
}

fn route(
    server: &Arc<Server>,
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
        return server.upload(below.ends_with("_version"), &query, content_type, body);
    }
    let (below, verb) = match below.rsplit_once(':') {
        Some((below, verb)) if !verb.contains('/') => (below, Some(verb.to_owned())),
        _ => (below, None),
    };
    let call = Call {
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

fn respond(server: &Server, reply: Reply) -> Response<Full<Bytes>> {
    match reply {
        Reply::Json(value) => with(StatusCode::OK, "application/json", value.to_string()),
        Reply::Refused(refusal) if server.broken("server/reports-errors") => with(
            refusal.status(),
            "text/html",
            format!("<h1>{}</h1>", refusal.status()),
        ),
        Reply::Refused(refusal) => with(
            refusal.status(),
            "application/json",
            refusal.body().to_string(),
        ),
        Reply::Upload {
            status,
            message,
            json,
        } => {
            let body = json!({"error_message": message, "error_details": message});
            let kind = if json {
                "application/json"
            } else {
                "text/plain; charset=utf-8"
            };
            with(status, kind, body.to_string())
        }
        Reply::Text(status, message) => text(status, &message),
    }
}

fn text(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    with(status, "text/plain; charset=utf-8", message.to_owned())
}

fn with(status: StatusCode, content_type: &str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// A query string's pairs. Keys may be in snake or camel case.
fn pairs(query: &str) -> Map<String, Value> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(&value.replace('+', " ")).into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_unescaped() {
        let pairs = pairs("a=b+c&d=%7B%22x%22%7D&e&f=%zz%");
        assert_eq!(
            Value::Object(pairs),
            json!({"a": "b c", "d": "{\"x\"}", "e": "", "f": "%zz%"})
        );
    }
}
