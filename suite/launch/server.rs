//! The runner's little server: whole answers, one stream of lines, and files from any byte on.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

/// An answer.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Lines as they come.
pub(super) type Lines = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// What is asked of the runner; nothing of it has a body.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    /// The first byte that is wanted of a file.
    pub(super) from: u64,
}

/// An answer that is whole.
pub(super) fn whole(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// An answer that goes on.
pub(super) fn lines(lines: Lines) -> Answer {
    Response::new(StreamBody::new(lines.map(|line| Ok(Frame::data(line)))).boxed_unsync())
}

/// Serves until it is dropped.
pub(super) async fn serve<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Asked) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let handler = Arc::new(handler);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                drop(stream.set_nodelay(true));
                let handler = Arc::clone(&handler);
                let service = service_fn(move |request: Request<Incoming>| {
                    let handler = Arc::clone(&handler);
                    async move { Ok::<_, Infallible>(handler(asked(&request)).await) }
                });
                connections.spawn(async move {
                    // Whoever breaks the connection comes again.
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            } else {
                // Out of file descriptors: some get free.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            },
        }
    }
}

fn asked(request: &Request<Incoming>) -> Asked {
    let range = request.headers().get(http::header::RANGE);
    let range = range.and_then(|range| range.to_str().ok());
    let from = range
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        from,
    }
}
