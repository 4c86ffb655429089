//! A local TCP port that leads to a port of a pod, through the Kubernetes API's port-forward.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, Resource, client::UpgradeConnectionError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::Message;

use super::TransportError;

/// An open tunnel; closed when dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// The local address that leads to the pod.
    pub(crate) address: SocketAddr,
    trouble: Arc<Mutex<Option<TransportError>>>,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Opens a tunnel to `port` of a pod. Each connection to the local address becomes a port-forward of its own.
    pub(crate) async fn open(
        client: Client,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let pods = Pod::url_path(&(), Some(namespace));
        let pod = pod.to_owned();
        let trouble = Arc::new(Mutex::default());
        let told = Arc::clone(&trouble);
        let task = tokio::spawn(async move {
            while let Ok((mut local, _)) = listener.accept().await {
                // An answer in two pieces would wait for the acknowledgement of the first.
                drop(local.set_nodelay(true));
                let (client, pods) = (client.clone(), pods.clone());
                let (pod, told) = (pod.clone(), Arc::clone(&told));
                tokio::spawn(async move {
                    // At the other end of `local` it only shows that the connection closed: why is told here, before.
                    if let Err(why) = forward(&client, &pods, &pod, port, &mut local).await {
                        tracing::debug!(%pod, port, %why, "no port-forward");
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                    }
                });
            }
        });
        Ok(Self {
            address,
            trouble,
            task,
        })
    }

    /// Why the last connection that came to nothing did, if that was not told before.
    pub(crate) fn trouble(&self) -> Option<TransportError> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// The channels of a port-forward's frames: what the port and its client say, and what the node says of the port.
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// Carries one connection to a port of a pod until either side ends it.
///
/// The frames are made here and not by `kube`: its buffer sends every few requests in two pieces, and the second waits
/// 40 ms for the first to be acknowledged.
async fn forward(
    client: &Client,
    pods: &str,
    pod: &str,
    port: u16,
    local: &mut tokio::net::TcpStream,
) -> Result<(), TransportError> {
    let no_forward = |why: &dyn std::fmt::Display| {
        TransportError::Unreachable(format!("no port-forward: {why}"))
    };
    let request = kube::core::Request::new(pods)
        .portforward(pod, &[port])
        .map_err(|error| no_forward(&error))?;
    let connection = client.connect(request).await.map_err(|error| {
        let refused = match &error {
            kube::Error::Api(status) => Some(status.code),
            kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
                Some(status.as_u16())
            }
            _ => None,
        };
        match refused {
            Some(status @ (401 | 403)) => TransportError::Credential(format!(
                "the user cannot get and create resource \"pods/portforward\": {status}"
            )),
            _ => no_forward(&error),
        }
    })?;
    let (mut sink, mut frames) = connection.into_stream().split();
    let (mut said, mut says) = local.split();
    let to_pod = async {
        let mut buffer = vec![0; 64 * 1024];
        buffer[0] = DATA;
        while let Ok(count @ 1..) = said.read(&mut buffer[1..]).await {
            let frame = Bytes::copy_from_slice(&buffer[..=count]);
            if sink.send(Message::Binary(frame)).await.is_err() {
                break;
            }
        }
    };
    let from_pod = async {
        // The first frame of each channel only names the port.
        let mut named = [false; 2];
        while let Some(Ok(message)) = frames.next().await {
            let Message::Binary(frame) = message else {
                continue;
            };
            let Some((&channel @ (DATA | ERROR), bytes)) = frame.split_first() else {
                continue;
            };
            if !std::mem::replace(&mut named[usize::from(channel)], true) {
                continue;
            }
            if channel == ERROR {
                return Err(broken(String::from_utf8_lossy(bytes).into_owned()));
            }
            if says.write_all(bytes).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let ended = tokio::select! {
        // What the node says of the port comes before the end of the connection.
        biased;
        ended = from_pod => ended,
        () = to_pod => Ok(()),
    };
    // The other end may be gone already.
    drop(sink.close().await);
    ended
}

/// What it means that a node ended a port-forward. Only a connection that was refused was made at all: the pod is there,
/// and nothing takes connections on that port. All else (no such pod or sandbox, a node that was lost) says nothing of it.
fn broken(why: String) -> TransportError {
    if why.to_ascii_lowercase().contains("connection refused") {
        TransportError::Refused(why)
    } else {
        TransportError::Unreachable(format!("the port-forward ended: {why}"))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_connection_reached_the_pod() {
        for (why, refused) in [
            (
                "an error occurred forwarding 80 -> 80: error forwarding port 80 to pod 1f, uid : failed to execute \
                 portforward in network namespace \"/var/run/netns/cni-1\": failed to connect to localhost:80 inside \
                 namespace \"1f\", IPv4: dial tcp4 127.0.0.1:80: connect: connection refused IPv6 dial tcp6: address \
                 localhost: no suitable address found",
                true,
            ),
            (
                "socat[9] E connect(5, AF=2 127.0.0.1:80, 16): Connection refused",
                true,
            ),
            (
                "error forwarding port 80 to pod 1f, uid : network namespace for sandbox \"1f\" is closed",
                false,
            ),
            (
                "error forwarding port 80 to pod 1f: rpc error: code = NotFound desc = failed to find sandbox",
                false,
            ),
            ("lost connection to pod", false),
        ] {
            let error = broken(why.to_owned());
            assert_eq!(
                matches!(error, TransportError::Refused(_)),
                refused,
                "{why}"
            );
        }
    }
}
