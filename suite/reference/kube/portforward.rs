//! The `portforward` subresource over WebSocket: protocol `v4.channel.k8s.io` and `portforward.k8s.io` of the API
//! server. Each port has two channels: `2n` for its bytes and `2n + 1` for an error; the first frame of each channel is
//! the port's number, two bytes, low byte first.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::http::{self as web, Request, Response};
use super::registry::resources::PODS;
use super::routes::Place;
use super::status::ApiError;
use super::world::World;

/// The protocols that the server speaks, preferred first.
const PROTOCOLS: [&str; 2] = ["v4.channel.k8s.io", "portforward.k8s.io"];

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers with a switch to WebSocket.
pub(super) fn answer(
    world: &World,
    mut request: Request,
    place: &Place,
) -> Result<Response, ApiError> {
    let pod = world.get(&PODS, &place.namespace, &place.name)?;
    if pod["status"]["phase"] != "Running" {
        let phase = pod["status"]["phase"].as_str().unwrap_or("Pending");
        return Err(ApiError::bad_request(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    let ports: Vec<u16> = request
        .query
        .all("ports")
        .flat_map(|text| text.split(','))
        .map(|text| {
            text.parse()
                .map_err(|_| ApiError::bad_request(format!("invalid port {text:?}")))
        })
        .collect::<Result<_, _>>()?;
    if ports.is_empty() || ports.len() > 64 {
        return Err(ApiError::bad_request(
            "query parameter \"ports\" is required",
        ));
    }
    let header = |name: &HeaderName| request.header(name).to_owned();
    let key = header(&SEC_WEBSOCKET_KEY);
    let upgrades = header(&UPGRADE).eq_ignore_ascii_case("websocket") && !key.is_empty();
    if !upgrades {
        return Err(ApiError::bad_request(
            "you must specify at least 1 ports parameter over a WebSocket upgrade",
        ));
    }
    let offered = header(&SEC_WEBSOCKET_PROTOCOL);
    let protocol = PROTOCOLS
        .into_iter()
        .find(|protocol| offered.split(',').any(|other| other.trim() == *protocol))
        .ok_or_else(|| {
            ApiError::bad_request(format!(
                "none of the offered protocols is spoken here: {offered}"
            ))
        })?;
    let targets = ports
        .iter()
        .map(|port| {
            (
                *port,
                world.network().pod(&place.namespace, &place.name, *port),
            )
        })
        .collect();
    let upgrade = hyper::upgrade::on(&mut request.raw);
    let forwarding = world.clone();
    world.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let socket =
                    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None)
                        .await;
                tokio::select! {
                    () = run(socket, targets) => {}
                    () = forwarding.cut_off() => {}
                }
            }
            Err(error) => tracing::debug!(%error, "a port-forward was not upgraded"),
        }
    });
    let mut response = web::raw(StatusCode::SWITCHING_PROTOCOLS, "text/plain", "");
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

/// A frame of a channel.
fn frame(channel: usize, bytes: &[u8]) -> Message {
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    // There are at most 64 ports, and so 128 channels.
    frame.push(channel as u8);
    frame.extend_from_slice(bytes);
    Message::Binary(Bytes::from(frame))
}

async fn run(socket: Socket, targets: Vec<(u16, Option<SocketAddr>)>) {
    let (mut sink, mut stream) = socket.split();
    let (frames, outgoing) = mpsc::channel::<Message>(64);
    let mut writers: Vec<Option<OwnedWriteHalf>> = Vec::new();
    let mut readers = Vec::new();
    for (index, (port, address)) in targets.iter().enumerate() {
        let (data, error) = (2 * index, 2 * index + 1);
        for channel in [data, error] {
            if sink
                .send(frame(channel, &port.to_le_bytes()))
                .await
                .is_err()
            {
                return;
            }
        }
        let connected = match address {
            Some(address) => TcpStream::connect(address)
                .await
                .map_err(|error| error.to_string()),
            None => Err("connection refused".to_owned()),
        };
        match connected {
            Ok(stream) => {
                drop(stream.set_nodelay(true));
                let (reader, writer) = stream.into_split();
                writers.push(Some(writer));
                readers.push(read(reader, data, frames.clone()));
            }
            Err(cause) => {
                writers.push(None);
                let text = format!("an error occurred forwarding {port} -> {port}: {cause}");
                if sink.send(frame(error, text.as_bytes())).await.is_err() {
                    return;
                }
            }
        }
    }
    drop(frames);
    let reading = async {
        futures::future::join_all(readers).await;
    };
    let receiving = async {
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(bytes) if bytes.len() > 1 => {
                    let channel = usize::from(bytes[0]);
                    let Some(writer) = writers.get_mut(channel / 2).filter(|_| channel % 2 == 0)
                    else {
                        continue;
                    };
                    let failed = match writer {
                        Some(open) => open.write_all(&bytes[1..]).await.is_err(),
                        None => false,
                    };
                    if failed {
                        *writer = None;
                    }
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
    };
    tokio::select! {
        () = receiving => {}
        () = async { futures::join!(reading, send(outgoing, &mut sink)); } => {}
    }
    // The peer may be gone already.
    drop(sink.close().await);
}

async fn read(
    mut reader: tokio::net::tcp::OwnedReadHalf,
    channel: usize,
    frames: mpsc::Sender<Message>,
) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count) = reader.read(&mut buffer).await {
        if count == 0 || frames.send(frame(channel, &buffer[..count])).await.is_err() {
            return;
        }
    }
}

async fn send(mut outgoing: mpsc::Receiver<Message>, sink: &mut SplitSink<Socket, Message>) {
    while let Some(message) = outgoing.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
}
