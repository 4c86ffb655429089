//! A local TCP port that leads to a port of a pod, through the Kubernetes API's port-forward.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, client::UpgradeConnectionError};
use tokio::{net::TcpListener, task::JoinHandle};

use super::TransportError;

/// An open tunnel; closed when dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// The local address that leads to the pod.
    pub(super) address: SocketAddr,
    trouble: Arc<Mutex<Option<TransportError>>>,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Opens a tunnel to `port` of a pod. Each connection to the local address becomes a port-forward of its own.
    pub(super) async fn open(
        client: Client,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        let pod = pod.to_owned();
        let trouble = Arc::new(Mutex::default());
        let told = Arc::clone(&trouble);
        let task = tokio::spawn(async move {
            while let Ok((mut local, _)) = listener.accept().await {
                // An answer in two pieces would wait for the acknowledgement of the first.
                drop(local.set_nodelay(true));
                let (pods, pod, told) = (pods.clone(), pod.clone(), Arc::clone(&told));
                tokio::spawn(async move {
                    // At the other end of `local` it only shows that the connection closed: why is told here, before.
                    if let Err(why) = forward(&pods, &pod, port, &mut local).await {
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
    pub(super) fn trouble(&self) -> Option<TransportError> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Carries one connection to a port of a pod until either side ends it.
async fn forward(
    pods: &Api<Pod>,
    pod: &str,
    port: u16,
    local: &mut tokio::net::TcpStream,
) -> Result<(), TransportError> {
    let mut forward = pods
        .portforward(pod, &[port])
        .await
        .map_err(|error| match error {
            kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status))
                if matches!(status.as_u16(), 401 | 403) =>
            {
                TransportError::Credential(format!(
                    "the user cannot get and create resource \"pods/portforward\": {status}"
                ))
            }
            error => TransportError::Unreachable(format!("no port-forward: {error}")),
        })?;
    let (Some(mut remote), Some(error)) = (forward.take_stream(port), forward.take_error(port))
    else {
        return Ok(());
    };
    tokio::select! {
        // What the node says of the port comes before the end of the stream.
        biased;
        Some(why) = error => Err(broken(why)),
        _ = tokio::io::copy_bidirectional(local, &mut remote) => Ok(()),
    }
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
