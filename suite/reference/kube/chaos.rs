//! A cluster that is not well: requests that are throttled, lost, cut off or never answered, watches that expire, an API
//! server that restarts.
//!
//! All of it is what real clusters and networks do, and none of it is the distribution's doing. What happens to a request
//! follows from the seed, the request, and how often it was made, so that a seed can be tried again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, HeaderValue, RETRY_AFTER};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;
use tokio::time::Instant;

use super::http::{self as web, Response};
use super::status::ApiError;
use super::world::World;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// 429 with `Retry-After`: nothing was done.
    Throttled,
    /// 500 of the API server's own, with nothing done.
    Error,
    /// 503 or 504, of which nobody knows whether anything was done.
    Unavailable,
    /// The connection breaks before the request is read.
    Reset,
    /// The request is carried out, and the connection breaks before the answer.
    Lost,
    /// The answer breaks off in its midst.
    Cut,
    /// The answer comes late, or too late.
    Slow,
    /// The connection stays open, and nothing more comes.
    HalfOpen,
    /// A watch ends with 410, at once or after a while.
    Expired,
    /// The API server goes away for a while: connections break, and no new one is made.
    Restart,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Throttled,
        Self::Error,
        Self::Unavailable,
        Self::Reset,
        Self::Lost,
        Self::Cut,
        Self::Slow,
        Self::HalfOpen,
        Self::Expired,
        Self::Restart,
    ];
}

/// How unwell a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chaos {
    /// What happens.
    pub trouble: Trouble,
    /// What it happens to.
    pub seed: u64,
    /// One in so many requests is struck.
    pub one_in: u64,
    /// Whether only watches are struck.
    pub only_watches: bool,
    /// How many requests pass before the trouble begins.
    pub after: u32,
    /// How long it lasts from there; without end when absent.
    pub lasts: Option<Duration>,
}

/// A world's trouble.
pub(super) struct Weather {
    chaos: Chaos,
    seen: Mutex<Seen>,
    /// Until when the API server is away.
    away: tokio::sync::watch::Sender<Option<Instant>>,
}

#[derive(Default)]
struct Seen {
    requests: u32,
    struck: u32,
    began: Option<Instant>,
    times: HashMap<u64, u64>,
}

/// No answer: the connection breaks.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to break")]
pub(super) struct Broken;

impl Weather {
    pub(super) fn new(chaos: Chaos) -> Self {
        Self {
            chaos,
            seen: Mutex::default(),
            away: tokio::sync::watch::Sender::new(None),
        }
    }

    /// How many requests were struck.
    pub(super) fn struck(&self) -> u32 {
        self.seen().struck
    }

    /// Whether the API server is away.
    pub(super) fn is_away(&self) -> bool {
        self.away
            .borrow()
            .is_some_and(|until| Instant::now() < until)
    }

    /// Waits for the moment at which all connections break.
    pub(super) async fn broken(&self) {
        let mut away = self.away.subscribe();
        // The sender lives as long as the world.
        if away.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that is this request's own, if it is to be struck.
    fn strikes(&self, request: &http::Request<Incoming>) -> Option<u64> {
        let hash = |value: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            value(&mut hasher);
            hasher.finish()
        };
        let watched = is_watch(request);
        let (method, path) = (request.method().as_str(), request.uri().path());
        // Versions and times in a query differ from run to run.
        let which = hash(&|hasher| (method, path, watched).hash(hasher));
        let mut seen = self.seen();
        seen.requests = seen.requests.saturating_add(1);
        if seen.requests <= self.chaos.after {
            return None;
        }
        let now = Instant::now();
        let began = *seen.began.get_or_insert(now);
        if self.chaos.lasts.is_some_and(|lasts| now > began + lasts) {
            return None;
        }
        if !watched && (self.chaos.only_watches || self.chaos.trouble == Trouble::Expired) {
            return None;
        }
        let times = seen.times.entry(which).or_default();
        *times += 1;
        let times = *times;
        let number = hash(&|hasher| (self.chaos.seed, which, times).hash(hasher));
        if !number.is_multiple_of(self.chaos.one_in.max(1)) {
            return None;
        }
        seen.struck = seen.struck.saturating_add(1);
        Some(number / self.chaos.one_in.max(1))
    }

    /// Answers a request as a cluster in trouble does.
    pub(super) async fn answer(
        &self,
        world: World,
        request: http::Request<Incoming>,
    ) -> Result<Response, Broken> {
        let Some(number) = self.strikes(&request) else {
            return Ok(web::answer(world, request).await);
        };
        let seconds = |most: u64| Duration::from_secs(1 + number % most);
        match self.chaos.trouble {
            Trouble::Throttled => {
                let error = ApiError::new(
                    429,
                    "TooManyRequests",
                    "the server has received too many requests and has asked us to try again later",
                );
                let mut response = web::failure(&error);
                let after = HeaderValue::from(1 + number % 5);
                response.headers_mut().insert(RETRY_AFTER, after);
                Ok(response)
            }
            Trouble::Error => Ok(web::failure(&ApiError::internal(
                "etcdserver: leader changed",
            ))),
            Trouble::Unavailable => {
                if number.is_multiple_of(2) {
                    drop(web::answer(world, request).await);
                }
                Ok(web::failure(&match number % 4 {
                    0 | 1 => ApiError::new(
                        504,
                        "Timeout",
                        "Timeout: request did not complete within the allotted timeout",
                    ),
                    _ => ApiError::new(503, "ServiceUnavailable", "apiserver is shutting down"),
                }))
            }
            Trouble::Reset => Err(Broken),
            Trouble::Lost => {
                drop(web::answer(world, request).await);
                Err(Broken)
            }
            Trouble::Cut => {
                let streams = is_watch(&request);
                Ok(cut(web::answer(world, request).await, streams).await)
            }
            Trouble::Slow => {
                // A few of them are slower than anybody waits.
                let late = if number.is_multiple_of(4) { 300 } else { 20 };
                tokio::time::sleep(seconds(late)).await;
                Ok(web::answer(world, request).await)
            }
            Trouble::HalfOpen => {
                if number.is_multiple_of(2) && !is_watch(&request) {
                    std::future::pending::<()>().await;
                }
                Ok(stuck(
                    web::answer(world, request).await,
                    (number % 3) as usize,
                ))
            }
            Trouble::Expired => {
                let gone = ApiError::expired("too old resource version: 1 (2)".to_owned());
                if number.is_multiple_of(3) {
                    return Ok(web::failure(&gone));
                }
                let response = web::answer(world, request).await;
                Ok(expired(response, (number % 4) as usize, &gone))
            }
            Trouble::Restart => {
                self.away.send_replace(Some(Instant::now() + seconds(40)));
                Err(Broken)
            }
        }
    }
}

fn is_watch(request: &http::Request<Incoming>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .any(|part| part == "watch=true" || part == "watch=1")
}

/// The answer up to its middle, after which the connection breaks; of a stream, its first piece.
async fn cut(response: Response, streams: bool) -> Response {
    let (mut parts, body) = response.into_parts();
    if streams {
        let pieces = body.into_data_stream().take(1);
        let frames = pieces.filter_map(|piece| async move { piece.ok().map(Frame::data).map(Ok) });
        return http::Response::from_parts(parts, UnsyncBoxBody::new(StreamBody::new(frames)));
    }
    let Ok(whole) = body.collect().await;
    let whole = whole.to_bytes();
    let half = whole.slice(..whole.len() / 2);
    // More is promised than comes.
    parts
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(whole.len().max(1)));
    let frames = futures::stream::iter([Ok(Frame::data(half))]);
    http::Response::from_parts(parts, UnsyncBoxBody::new(StreamBody::new(frames)))
}

/// So many pieces of the answer, and then nothing more, for ever.
fn stuck(response: Response, pieces: usize) -> Response {
    let (parts, body) = response.into_parts();
    let frames = body
        .into_data_stream()
        .filter_map(|piece| async move { piece.ok().map(Frame::data).map(Ok) })
        .take(pieces)
        .chain(futures::stream::pending());
    http::Response::from_parts(parts, UnsyncBoxBody::new(StreamBody::new(frames)))
}

/// So many pieces of a watch, and then the event that says that its version is too old.
fn expired(response: Response, pieces: usize, gone: &ApiError) -> Response {
    let (parts, body) = response.into_parts();
    let last = format!("{}\n", json!({"type": "ERROR", "object": gone.to_status()}));
    let frames = body
        .into_data_stream()
        .filter_map(|piece| async move { piece.ok().map(Frame::data).map(Ok) })
        .take(pieces)
        .chain(futures::stream::iter([Ok(Frame::data(Bytes::from(last)))]));
    http::Response::from_parts(parts, UnsyncBoxBody::new(StreamBody::new(frames)))
}
