//! The server: connections, credentials, permissions, bodies. What the requests mean is in [`super::routes`].

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::auth::{Action, User, authorize};
use super::routes::{self, Route};
use super::status::ApiError;
use super::world::World;
use crate::percent::unescape;

pub(super) type Response = http::Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The largest body that is read, as of the API server.
const LARGEST_BODY: usize = 3 << 20;

/// What stands before a bearer token in a request's path.
pub(super) const TOKEN_PATH: &str = "/token/";

/// A request, past authentication.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) user: User,
    pub(super) raw: http::Request<Incoming>,
}

/// The query of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (
                unescape(&key.replace('+', " ")),
                unescape(&value.replace('+', " ")),
            )
        });
        Self(pairs.collect())
    }

    /// A parameter that is there and not empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(k, _)| k == key);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether a parameter is there and does not say no.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.0
            .iter()
            .any(|(k, value)| k == key && !matches!(value.as_str(), "false" | "0"))
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }
}

impl Request {
    /// Reads the whole body.
    pub(super) async fn body(&mut self) -> Result<Bytes, ApiError> {
        let body = Limited::new(self.raw.body_mut(), LARGEST_BODY);
        match body.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::new(
                413,
                "RequestEntityTooLarge",
                "Request entity too large: limit is 3145728",
            )),
            Err(error) => Err(ApiError::bad_request(format!(
                "cannot read the body: {error}"
            ))),
        }
    }

    /// The media type of the body, without parameters.
    pub(super) fn content_type(&self) -> &str {
        let text = self.header(&CONTENT_TYPE);
        text.split(';').next().unwrap_or_default().trim()
    }

    pub(super) fn header(&self, name: &HeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(super) fn accept(&self) -> &str {
        self.header(&ACCEPT)
    }
}

/// Answers connections until the world ends.
pub(super) fn serve(world: &World, listener: TcpListener) {
    let task_world = world.clone();
    world.spawn(async move {
        let world = task_world;
        loop {
            match listener.accept().await {
                // What is dropped, the client sees close.
                Ok((stream, _)) if !world.is_away() => connection(&world, stream),
                Ok(_) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: others must end first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    });
}

fn connection(world: &World, stream: TcpStream) {
    // Without it, small answers wait for the client's acknowledgements; failing that they are only slower.
    drop(stream.set_nodelay(true));
    let task_world = world.clone();
    world.spawn(async move {
        let world = task_world;
        let served = world.clone();
        let service = service_fn(move |request| {
            let world = served.clone();
            async move {
                match world.weather() {
                    None => Ok(answer(world, request).await),
                    Some(weather) => weather.answer(world.clone(), request).await,
                }
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::trace!(%error, "a connection broke");
            },
            () = world.cut_off() => {}
        }
    });
}

pub(super) async fn answer(world: World, raw: http::Request<Incoming>) -> Response {
    match handle(&world, raw).await {
        Ok(response) => response,
        Err(error) => failure(&error),
    }
}

async fn handle(world: &World, raw: http::Request<Incoming>) -> Result<Response, ApiError> {
    let (path, token) = split_token(raw.uri().path());
    let (path, token) = (path.to_owned(), token.map(ToOwned::to_owned));
    match path.as_str() {
        "/healthz" | "/livez" | "/readyz" | "/healthz/ping" | "/livez/ping" | "/readyz/ping" => {
            return Ok(text(StatusCode::OK, "ok"));
        }
        _ => {}
    }
    let user = identify(world, raw.headers(), token.as_deref())?;
    let request = Request {
        method: raw.method().clone(),
        query: Query::parse(raw.uri().query().unwrap_or_default()),
        headers: raw.headers().clone(),
        path,
        user,
        raw,
    };
    let route = Route::parse(world, &request);
    permit(world, &request.user, &route.action(&request))?;
    routes::dispatch(world, request, route).await
}

/// A request's path, and the token before it: `kubectl` sends no credentials where there is no TLS, so that the server's
/// address in the kubeconfig may carry them.
fn split_token(path: &str) -> (&str, Option<&str>) {
    let Some(rest) = path.strip_prefix(TOKEN_PATH) else {
        return (path, None);
    };
    match rest.find('/') {
        Some(end) => (&rest[end..], Some(&rest[..end])),
        None => ("/", Some(rest)),
    }
}

/// Who sends a request. A token in the headers says more than one in the path.
fn identify(
    world: &World,
    headers: &HeaderMap,
    path_token: Option<&str>,
) -> Result<User, ApiError> {
    let header = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = match header {
        None => path_token,
        Some(value) => Some(
            value
                .strip_prefix("Bearer ")
                .or_else(|| value.strip_prefix("bearer "))
                .ok_or_else(ApiError::unauthorized)?,
        ),
    };
    let user = match token {
        None => User::anonymous(),
        Some(token) => world
            .authenticate(token.trim(), &[])
            .ok_or_else(ApiError::unauthorized)?,
    };
    let Some(name) = headers
        .get("impersonate-user")
        .and_then(|value| value.to_str().ok())
    else {
        return Ok(user);
    };
    let groups: Vec<&str> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let may = |resource: &str, name: &str, namespace: &str| {
        let action = Action {
            verb: "impersonate".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..Action::default()
        };
        permit(world, &user, &action)
    };
    let account = name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, account)) => may("serviceaccounts", account, namespace)?,
        None => may("users", name, "")?,
    }
    for group in &groups {
        may("groups", group, "")?;
    }
    Ok(match account {
        Some((namespace, account)) if groups.is_empty() => {
            User::service_account(namespace, account, "")
        }
        _ => User::named(name, &groups),
    })
}

/// Refuses what RBAC does not allow.
pub(super) fn permit(world: &World, user: &User, action: &Action) -> Result<(), ApiError> {
    if authorize(world.store(), user, action).is_some() {
        return Ok(());
    }
    let cause = action.refusal(user);
    if action.path.is_some() {
        let mut error = ApiError::new(403, "Forbidden", format!("forbidden: {cause}"));
        error.details = Some(Box::new(serde_json::json!({})));
        return Err(error);
    }
    let resource = super::registry::Resource::of(action.group.clone(), action.resource.clone());
    Err(ApiError::forbidden(&resource, &action.name, &cause))
}

fn body(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, Infallible> {
    UnsyncBoxBody::new(Full::new(bytes.into()))
}

/// A response of any media type.
pub(super) fn raw(code: StatusCode, media: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(body(bytes));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// A plain text response.
pub(super) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response {
    raw(code, "text/plain; charset=utf-8", text)
}

/// A JSON response.
pub(super) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => raw(code, "application/json", bytes),
        Err(error) => failure(&ApiError::internal(&error.to_string())),
    }
}

/// A JSON response with warnings.
pub(super) fn json_warning(code: StatusCode, value: &Value, warnings: &[String]) -> Response {
    let mut response = json(code, value);
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append("warning", value);
        }
    }
    response
}

/// What the API server says about paths that it does not know.
pub(super) fn page_not_found() -> Response {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A refusal.
pub(super) fn failure(error: &ApiError) -> Response {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, &error.to_status())
}

/// A response that comes piece by piece.
pub(super) fn stream(
    media: &'static str,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Response {
    let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let mut response = http::Response::new(UnsyncBoxBody::new(StreamBody::new(frames)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// Sends a request on to a server behind the cluster and its answer back. Credentials stay here.
pub(super) async fn forward(
    request: Request,
    to: SocketAddr,
    path: &str,
) -> Result<Response, ApiError> {
    let unavailable = |error: &dyn std::fmt::Display| {
        ApiError::new(
            503,
            "ServiceUnavailable",
            format!("error trying to reach service: {error}"),
        )
    };
    let stream = TcpStream::connect(to)
        .await
        .map_err(|error| unavailable(&error))?;
    drop(stream.set_nodelay(true));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unavailable(&error))?;
    tokio::spawn(async move {
        // An error shows in the answer, too.
        drop(connection.await);
    });
    let (mut parts, incoming) = request.raw.into_parts();
    let target = parts
        .uri
        .query()
        .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    parts.uri = target
        .parse()
        .map_err(|_| ApiError::bad_request(format!("{target} is no path")))?;
    parts.headers.remove(AUTHORIZATION);
    let host = HeaderValue::from_str(&to.to_string()).map_err(|error| unavailable(&error))?;
    parts.headers.insert(http::header::HOST, host);
    let answer = sender
        .send_request(http::Request::from_parts(parts, incoming))
        .await
        .map_err(|error| unavailable(&error))?;
    let (parts, incoming) = answer.into_parts();
    // A body that breaks off ends early: the status is already on its way.
    let pieces = incoming.into_data_stream().take_while(|piece| {
        let whole = piece.is_ok();
        async move { whole }
    });
    let frames = pieces.filter_map(|piece| async move { piece.ok().map(|b| Ok(Frame::data(b))) });
    Ok(http::Response::from_parts(
        parts,
        UnsyncBoxBody::new(StreamBody::new(frames)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=app%3Dweb%2Ctier+in+%28a%29&watch=1&limit=&x=%zz");
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert!(query.is_set("watch") && !query.is_set("follow"));
        assert_eq!(query.get("limit"), None);
        assert_eq!(query.get("x"), Some("%zz"));
        assert_eq!(unescape("a+b%2F"), "a+b/");
    }
}
