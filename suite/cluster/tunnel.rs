//! A local TCP port that leads to a port of a pod, through the Kubernetes API's port-forward.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::{net::TcpListener, task::JoinHandle};

/// An open tunnel; closed when dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// The local address that leads to the pod.
    pub(super) address: SocketAddr,
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
        let task = tokio::spawn(async move {
            while let Ok((mut local, _)) = listener.accept().await {
                let (pods, pod) = (pods.clone(), pod.clone());
                tokio::spawn(async move {
                    // A failure shows at the other end as a closed connection, which the request reports.
                    match pods.portforward(&pod, &[port]).await {
                        Ok(mut forward) => {
                            if let Some(mut remote) = forward.take_stream(port) {
                                drop(tokio::io::copy_bidirectional(&mut local, &mut remote).await);
                            }
                        }
                        Err(error) => tracing::debug!(%pod, port, %error, "port-forward failed"),
                    }
                });
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}
