//! The HTTP that the servers speak: HTTP/1.1, whole and bounded bodies, JSON.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response as HttpResponse, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::percent::unescape;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Context, Stop};

/// Largest body that is read, in bytes.
pub(super) const MAX_BODY: usize = 10 << 20;
/// Most connections at a time; further ones wait.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may be idle. Longer than what proxies use, so that they never send on a connection being closed.
const IDLE: Duration = Duration::from_secs(120);
/// How long a peer may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a peer may take to answer.
const ANSWER: Duration = Duration::from_secs(120);

pub(crate) type Response = HttpResponse<Full<Bytes>>;

/// A request, read whole.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The path, with its percent-encoding undone.
    pub(crate) path: String,
    /// The path and query as they came.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// The values of a query parameter.
    pub(super) fn query(&self, name: &str) -> impl Iterator<Item = String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key) == name).then(|| unescape(&value.replace('+', " ")))
        })
    }

    /// Whether this only reads.
    pub(crate) fn is_get(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Our own types have string keys only, so that they always serialise.
    let body = serde_json::to_vec(body).unwrap_or_default();
    raw(
        status,
        HeaderValue::from_static("application/json"),
        body.into(),
    )
}

/// An answer of any type.
pub(crate) fn raw(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An error as KServe and the Open Inference Protocol word it: `{"error": …}`.
pub(crate) fn error(status: StatusCode, message: impl Display) -> Response {
    json(status, &json!({ "error": message.to_string() }))
}

/// Serves until the order to stop, then lets open requests end within `grace`. Connections end with this future.
pub(crate) async fn serve<H, F>(listener: TcpListener, stop: &Stop, grace: Duration, handler: H)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let handler = Arc::new(handler);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(_) = connections.join_next() => {}
            (accepted, place) = place => match accepted {
                Ok((stream, _)) => {
                    drop(stream.set_nodelay(true));
                    let connection = connection(stream, stop.clone(), handler.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                // Out of file descriptors: wait until some are free.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    // What is still open after that is cut.
    let _ = timeout(grace, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

async fn connection<H, F>(stream: TcpStream, stop: Stop, handler: Arc<H>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let service = service_fn(|request| {
        let handler = handler.clone();
        async move {
            Ok::<_, Infallible>(match read(request).await {
                Ok(request) => handler(request).await,
                Err(response) => response,
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A peer that breaks the connection or the protocol concerns nobody else.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn read(request: hyper::Request<Incoming>) -> Result<Request, Response> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(cause) if cause.is::<LengthLimitError>() => {
            let message = format!("the body has more than {MAX_BODY} bytes");
            return Err(error(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        Err(_) => return Err(error(StatusCode::BAD_REQUEST, "the body is cut off")),
    };
    Ok(Request {
        method: head.method,
        path: unescape(head.uri.path()),
        target: head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .to_owned(),
        headers: head.headers,
        body,
    })
}

/// An answer of a peer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends a request to `host:port`.
///
/// # Errors
/// When the peer cannot be found or reached, breaks the protocol, takes too long or answers too much.
pub(crate) async fn send(
    cx: &Context,
    authority: &str,
    request: Request,
    headers: HeaderMap,
) -> io::Result<Answer> {
    let exchange = async {
        let stream = timeout(CONNECT, async {
            match (cx.resolve)(authority) {
                Some(address) => TcpStream::connect(address).await,
                None => TcpStream::connect(authority).await,
            }
        })
        .await??;
        drop(stream.set_nodelay(true));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // Ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let mut outgoing = hyper::Request::new(Full::new(request.body));
        *outgoing.method_mut() = request.method;
        *outgoing.uri_mut() = request.target.parse().map_err(io::Error::other)?;
        *outgoing.headers_mut() = headers;
        let host = HeaderValue::from_str(authority).map_err(io::Error::other)?;
        outgoing.headers_mut().insert(http::header::HOST, host);
        let answer = sender
            .send_request(outgoing)
            .await
            .map_err(io::Error::other)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(io::Error::other)?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    };
    timeout(ANSWER, exchange).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_value_of_a_query() {
        let request = Request {
            method: Method::GET,
            path: "/".into(),
            target: "/?env=A&x=1&env=B+%2B&env".into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        assert_eq!(request.query("env").collect::<Vec<_>>(), ["A", "B +", ""]);
    }
}
