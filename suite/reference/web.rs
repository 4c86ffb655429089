//! A component's own HTTP API in this process, behind a Service and a pod that stands for it.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::kube::World;
use crate::percent::unescape;

/// The header by which a gateway says who asks.
pub(super) const USER_HEADER: &str = "kubeflow-userid";
/// The largest request, in bytes: a pipeline that is uploaded may be large.
const LARGEST_BODY: usize = 33 << 20;

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The method, in capitals.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// Whether there is a query at all.
    pub has_query: bool,
    /// The query's pairs, undone of their escapes.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// A header's text; none where it is absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The first value of a key of the query; empty where it is absent.
    pub fn asked(&self, key: &str) -> &str {
        let pair = self.query.iter().find(|(name, _)| name == key);
        pair.map_or("", |(_, value)| value)
    }

    /// The path's segments, undone of their escapes, from the one behind `prefix`; none where the path is elsewhere.
    pub fn below(&self, prefix: &str) -> Option<Vec<String>> {
        let rest = self.path.strip_prefix(prefix)?;
        Some(rest.split('/').map(unescape).collect())
    }
}

/// What answers.
pub(super) type Handler =
    Arc<dyn Fn(Call) -> BoxFuture<'static, Response<String>> + Send + Sync + 'static>;

/// An answer.
pub(super) fn reply(status: u16, content_type: &str, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// Where a server is on the cluster.
pub(super) struct Place<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The name of its Service.
    pub service: &'a str,
    /// The name of the pod that stands for it.
    pub pod: &'a str,
    /// The labels of its pod, by which the Service finds it, and of the Service.
    pub labels: Value,
    /// The Service's port and its name.
    pub port: (u16, &'a str),
    /// The pod's port.
    pub target: u16,
}

/// Serves until the world ends: makes the Service and the pod, and answers what comes to it.
pub(super) async fn stand_in(world: &World, place: Place<'_>, handler: Handler) -> io::Result<()> {
    let address = listen(world, handler).await?;
    let (port, name) = place.port;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": place.namespace, "name": place.service, "labels": place.labels},
        "spec": {
            "selector": place.labels,
            "ports": [{"name": name, "port": port, "targetPort": place.target, "protocol": "TCP"}],
        },
    });
    world.apply(service).await.map_err(io::Error::other)?;
    let ports = [(place.target, address)];
    world
        .stand_in_pod(place.namespace, place.pod, &place.labels, &ports)
        .await
        .map_err(io::Error::other)
}

/// Answers until the world ends, at the address that this gives.
pub(super) async fn listen(world: &World, handler: Handler) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    world.spawn(serve(world.clone(), listener, handler));
    Ok(address)
}

/// Marks an answer that never comes.
#[derive(Clone)]
struct NoAnswer;

/// No answer: the connection ends, as where a server crashes.
pub(super) fn hang_up() -> Response<String> {
    let mut response = Response::default();
    response.extensions_mut().insert(NoAnswer);
    response
}

async fn serve(world: World, listener: TcpListener, handler: Handler) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        let (handler, own) = (handler.clone(), world.clone());
        world.spawn(async move {
            let service = hyper::service::service_fn(move |mut request| {
                let (handler, own) = (handler.clone(), own.clone());
                async move {
                    told_as_usual(own.identity(), &mut request);
                    let response = answer(&handler, request).await;
                    match response.extensions().get::<NoAnswer>() {
                        Some(NoAnswer) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
                        None => Ok(response),
                    }
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection to a component ended");
            }
        });
    }
}

/// Who asks is told to components in [`USER_HEADER`], whatever the distribution's header is.
fn told_as_usual((header, prefix): (&str, &str), request: &mut Request<Incoming>) {
    if header == USER_HEADER {
        return;
    }
    let headers = request.headers_mut();
    headers.remove(USER_HEADER);
    let value = headers.remove(header);
    let name = value.as_ref().and_then(|value| value.to_str().ok());
    let name = name.and_then(|name| name.strip_prefix(prefix));
    if let Some(name) = name.and_then(|name| name.parse().ok()) {
        headers.insert(USER_HEADER, name);
    }
}

async fn answer(handler: &Handler, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let response = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => {
            let query = parts.uri.query();
            let call = Call {
                method: parts.method.as_str().to_owned(),
                path: parts.uri.path().to_owned(),
                has_query: query.is_some(),
                query: pairs(query.unwrap_or_default()),
                headers: parts.headers,
                body: body.to_bytes(),
            };
            handler(call).await
        }
        Err(_) => reply(
            413,
            "text/plain; charset=utf-8",
            "the request is too large\n",
        ),
    };
    response.map(|body| Full::new(Bytes::from(body)))
}

/// A query string's pairs, unescaped.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(&value.replace('+', " ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_knows_its_query_and_its_path() {
        let call = Call {
            method: "GET".to_owned(),
            path: "/kfam/v1/profiles/a%2Fb".to_owned(),
            has_query: true,
            query: pairs("user=a%40b+c&role"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        assert_eq!(call.asked("user"), "a@b c");
        assert_eq!((call.asked("role"), call.asked("x")), ("", ""));
        assert_eq!(call.below("/kfam/v1/").unwrap(), ["profiles", "a/b"]);
        assert_eq!(call.below("/other/"), None);
    }
}
