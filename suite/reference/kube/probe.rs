//! Readiness: asks a container's server until it answers.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::runtime::Network;
use super::store::Key;
use super::world::World;

/// Returns when the startup and the readiness probe of a container have succeeded once. It stays ready then, until it
/// ends: the containers of this cluster do not become busy.
pub(super) async fn succeeds(world: &World, network: &Network, pod: &Key, container: &Value) {
    for name in ["startupProbe", "readinessProbe"] {
        let probe = &container[name];
        if probe.is_null() {
            continue;
        }
        let delay = probe["initialDelaySeconds"].as_u64().unwrap_or(0);
        world.clock().sleep(Duration::from_secs(delay)).await;
        let period = Duration::from_secs(probe["periodSeconds"].as_u64().unwrap_or(10).max(1));
        let mut changes = network.changes();
        while !attempt(world, network, pod, container, probe).await {
            tokio::select! {
                () = world.clock().sleep(period) => {}
                // A port that was opened just now is worth asking at once.
                _ = changes.changed() => {}
            }
        }
    }
}

async fn attempt(
    world: &World,
    network: &Network,
    pod: &Key,
    container: &Value,
    probe: &Value,
) -> bool {
    let (port, path) = if probe["httpGet"].is_object() {
        (
            &probe["httpGet"]["port"],
            Some(probe["httpGet"]["path"].as_str().unwrap_or("/")),
        )
    } else if probe["tcpSocket"].is_object() {
        (&probe["tcpSocket"]["port"], None)
    } else if probe["grpc"].is_object() {
        (&probe["grpc"]["port"], None)
    } else {
        // Commands cannot be executed in containers that are tasks: they count as successful.
        return true;
    };
    let number = match port {
        Value::String(name) => container["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|port| port["name"] == name.as_str())
            .and_then(|port| port["containerPort"].as_u64()),
        other => other.as_u64(),
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    let Some(address) = number.and_then(|number| network.pod(&pod.namespace, &pod.name, number))
    else {
        return false;
    };
    let seconds = probe["timeoutSeconds"].as_u64().unwrap_or(1).max(1);
    // Real time counts here: the server that answers runs on this machine.
    let limit =
        Duration::from_secs(seconds).max(world.clock().to_wall(Duration::from_secs(seconds)));
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let Some(path) = path else {
            return Some(true);
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/1.34\r\nConnection: close\r\n\r\n",
            pod.name
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        // `HTTP/1.1 200`
        let code: u16 = std::str::from_utf8(&head[9..]).ok()?.parse().ok()?;
        Some((200..400).contains(&code))
    };
    matches!(tokio::time::timeout(limit, asked).await, Ok(Some(true)))
}
