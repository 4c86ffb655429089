//! What the kubelet asks of whoever runs containers, and what it gives them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::registry::resources::{ENDPOINTS, PODS, SERVICES};
use super::store::{Key, Store};

/// Runs containers in-process. The only implementation of substance is the workload module's.
pub trait Runtime: Send + Sync {
    /// Starts a container. It runs as long as the returned future is polled, and ends with its exit code.
    fn start(&self, container: ContainerStart) -> Result<Running, ImageError>;

    /// Adds an image: a repository without tag, and what its containers do. A runtime may not take it.
    fn offer(&self, repository: &str, program: Program) {
        drop((repository.len(), program));
    }

    /// Forgets the images that were added: their world ends, and their programs may hold it.
    fn forget(&self) {}
}

/// What the containers of an image do that is no workload: a component's sidecars and servers.
pub type Program = Arc<dyn Fn(ContainerStart) -> Running + Send + Sync>;

/// A running container: a future of its exit code.
pub type Running = BoxFuture<'static, i32>;

/// The image does not exist or cannot be pulled: the container waits with `ErrImagePull`, then `ImagePullBackOff`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to pull image \"{image}\": {cause}")]
pub struct ImageError {
    /// The image asked for.
    pub image: String,
    /// Why it is not there.
    pub cause: String,
}

/// A container about to start.
#[derive(Clone, Debug)]
pub struct ContainerStart {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod.
    pub pod: String,
    /// The uid of the pod.
    pub pod_uid: String,
    /// The name of the container.
    pub name: String,
    /// The image reference.
    pub image: String,
    /// The entry point, or empty for the image's; `$(VAR)` is expanded.
    pub command: Vec<String>,
    /// The arguments; `$(VAR)` is expanded.
    pub args: Vec<String>,
    /// The environment, with every `valueFrom` and `envFrom` resolved, in the order of definition.
    pub env: Vec<(String, String)>,
    /// The working directory of the spec.
    pub working_dir: Option<String>,
    /// The declared container ports.
    pub ports: Vec<u16>,
    /// Where volumes are mounted: mount path in the container and real path on this machine, longest mount path first.
    pub volumes: Vec<(String, PathBuf)>,
    /// The cluster's network as seen from the pod.
    pub network: PodNetwork,
    /// Takes what the container prints.
    pub log: LogSink,
    /// Tells the container to end.
    pub stop: Stop,
}

impl ContainerStart {
    /// The value of an environment variable.
    pub fn var(&self, name: &str) -> Option<&str> {
        // As in a process's environment, the last definition counts.
        let found = self.env.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The real path of a path in the container, if it lies in a volume.
    pub fn path(&self, path: &str) -> Option<PathBuf> {
        self.volumes.iter().find_map(|(mount, real)| {
            let mount = mount.trim_end_matches('/');
            let rest = path.strip_prefix(mount)?;
            if rest.is_empty() {
                return Some(real.clone());
            }
            let rest = rest.strip_prefix('/')?;
            let steps_out = rest.split('/').any(|part| part == "..");
            (!steps_out).then(|| real.join(rest))
        })
    }
}

/// Says when something must end: a container, a world.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// The other end of a [`Stop`].
#[derive(Clone, Debug)]
pub(super) struct Stopper(Arc<watch::Sender<bool>>);

impl Stopper {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }

    pub(super) fn stop(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn signal(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}

impl Stop {
    /// Whether the end was asked for.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns when the end is asked for.
    pub async fn stopped(&self) {
        let mut signal = self.0.clone();
        // An error means that nobody is left who could ask: that is the end, too.
        drop(signal.wait_for(|stop| *stop).await);
    }
}

/// What a container prints, line by line as it comes.
#[derive(Clone, Debug, Default)]
pub struct LogSink(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    bytes: Vec<u8>,
    /// Bytes forgotten at the front.
    forgotten: usize,
    closed: bool,
    changed: watch::Sender<()>,
    /// Where each write began and when it was made.
    times: Vec<(usize, jiff::Timestamp)>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            forgotten: 0,
            closed: false,
            changed: watch::channel(()).0,
            times: Vec::new(),
        }
    }
}

/// The most bytes of a container's log that are kept.
const LONGEST_LOG: usize = 4 << 20;

impl LogSink {
    /// Appends a line.
    pub fn line(&self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// Appends bytes as they are.
    pub fn write(&self, bytes: &[u8]) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = log.forgotten + log.bytes.len();
        log.times.push((at, jiff::Timestamp::now()));
        log.bytes.extend_from_slice(bytes);
        if log.bytes.len() > LONGEST_LOG {
            let excess = log.bytes.len() - LONGEST_LOG / 2;
            log.bytes.drain(..excess);
            log.forgotten += excess;
            let first = log.forgotten;
            log.times.retain(|(at, _)| *at >= first);
        }
        log.changed.send_replace(());
    }

    /// Everything that is kept.
    pub fn text(&self) -> String {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log.bytes).into_owned()
    }

    /// The bytes from position `from` on, and the position after them; none when there is and will be no more.
    pub(super) fn read(&self, from: usize) -> Option<(Vec<u8>, usize)> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = log.forgotten + log.bytes.len();
        if from >= end && log.closed {
            return None;
        }
        let first = from.max(log.forgotten).min(end) - log.forgotten;
        Some((log.bytes[first..].to_vec(), end))
    }

    /// The position of the first write at or after `time` (of the wall clock).
    pub(super) fn position_at(&self, time: jiff::Timestamp) -> usize {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = log.forgotten + log.bytes.len();
        log.times
            .iter()
            .find(|(_, at)| *at >= time)
            .map_or(end, |(position, _)| *position)
    }

    pub(super) fn close(&self) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.closed = true;
        log.changed.send_replace(());
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .changed
            .subscribe()
    }
}

/// Which socket serves which port of which pod.
pub(super) struct Network {
    sockets: Mutex<HashMap<(String, String, u16), SocketAddr>>,
    changed: watch::Sender<()>,
    store: Arc<Store>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            sockets: Mutex::new(HashMap::new()),
            changed: watch::channel(()).0,
            store,
        }
    }

    pub(super) fn register(&self, namespace: &str, pod: &str, port: u16, address: SocketAddr) {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((namespace.to_owned(), pod.to_owned(), port), address);
        self.changed.send_replace(());
    }

    pub(super) fn forget(&self, namespace: &str, pod: &str) {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(ns, name, _), _| ns != namespace || name != pod);
        self.changed.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn pod(&self, namespace: &str, pod: &str, port: u16) -> Option<SocketAddr> {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(namespace.to_owned(), pod.to_owned(), port))
            .copied()
    }

    /// The socket behind a port of a Service: that of a ready pod.
    pub(super) fn service(
        &self,
        namespace: &str,
        name: &str,
        port: &ServicePort,
    ) -> Option<SocketAddr> {
        let service = self.store.read(&SERVICES, &Key::new(namespace, name))?;
        let spec = &service["spec"];
        if let Some(host) = spec["externalName"].as_str() {
            let ServicePort::Number(number) = port else {
                return None;
            };
            // A Service may name itself in a circle; one step is all that anybody needs.
            return self.address(namespace, host, *number);
        }
        let ports = spec["ports"].as_array()?;
        let port = ports.iter().find(|candidate| match port {
            ServicePort::Number(number) => candidate["port"] == *number,
            ServicePort::Name(name) => candidate["name"] == name.as_str(),
        })?;
        let endpoints = self.store.read(&ENDPOINTS, &Key::new(namespace, name))?;
        for subset in endpoints["subsets"].as_array()? {
            for address in subset["addresses"].as_array().into_iter().flatten() {
                let pod = address["targetRef"]["name"].as_str().unwrap_or_default();
                let number = match &port["targetPort"] {
                    Value::Number(number) => number.as_u64().and_then(|n| u16::try_from(n).ok()),
                    Value::String(name) => self.named_port(namespace, pod, name),
                    _ => None,
                };
                if let Some(found) = number.and_then(|number| self.pod(namespace, pod, number)) {
                    return Some(found);
                }
            }
        }
        None
    }

    pub(super) fn named_port(&self, namespace: &str, pod: &str, name: &str) -> Option<u16> {
        let pod = self.store.read(&PODS, &Key::new(namespace, pod))?;
        pod["spec"]["containers"]
            .as_array()?
            .iter()
            .flat_map(|c| c["ports"].as_array().into_iter().flatten())
            .find(|port| port["name"] == name)
            .and_then(|port| port["containerPort"].as_u64())
            .and_then(|number| u16::try_from(number).ok())
    }

    fn address(&self, namespace: &str, host: &str, port: u16) -> Option<SocketAddr> {
        let service = |name: &str, namespace: &str| {
            let found = self.store.read(&SERVICES, &Key::new(namespace, name))?;
            found["spec"]["externalName"].is_null().then_some(())?;
            self.service(namespace, name, &ServicePort::Number(port))
        };
        let (name, rest) = host.split_once('.').unwrap_or((host, namespace));
        service(name, rest.split('.').next().unwrap_or_default())
    }

    /// The socket that a host name or address and a port of the cluster lead to, as seen from `namespace`.
    pub(super) fn resolve(&self, namespace: &str, host: &str, port: u16) -> Option<SocketAddr> {
        if let Ok(ip) = host.parse::<std::net::IpAddr>() {
            return self.resolve_ip(ip, port);
        }
        let host = host
            .trim_end_matches('.')
            .trim_end_matches(".cluster.local");
        let parts: Vec<&str> = host.split('.').collect();
        let number = ServicePort::Number(port);
        match parts.as_slice() {
            ["localhost"] => None,
            [service] => self.service(namespace, service, &number),
            [service, namespace] | [service, namespace, "svc"] => {
                self.service(namespace, service, &number)
            }
            // A pod of a headless Service.
            [pod, _, namespace, "svc"] | [pod, _, namespace] => self.pod(namespace, pod, port),
            _ => None,
        }
    }

    fn resolve_ip(&self, ip: std::net::IpAddr, port: u16) -> Option<SocketAddr> {
        if ip.is_loopback() {
            return Some(SocketAddr::new(ip, port));
        }
        let text = ip.to_string();
        let (_, pods) = self.store.list(&PODS, None);
        if let Some(pod) = pods
            .iter()
            .find(|pod| pod["status"]["podIP"] == text.as_str())
        {
            let key = Key::of(pod);
            return self.pod(&key.namespace, &key.name, port);
        }
        let (_, services) = self.store.list(&SERVICES, None);
        let service = services
            .iter()
            .find(|s| s["spec"]["clusterIP"] == text.as_str())?;
        let key = Key::of(service);
        self.service(&key.namespace, &key.name, &ServicePort::Number(port))
    }
}

/// A port of a Service, by number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServicePort {
    Number(u16),
    Name(String),
}

/// The cluster's network as one pod sees it.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    pub(super) network: Arc<Network>,
    pub(super) namespace: String,
    pub(super) pod: String,
}

impl PodNetwork {
    /// Listens on a port of the pod: really on a free port of 127.0.0.1, to which the pod's port then leads.
    pub async fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        self.network
            .register(&self.namespace, &self.pod, port, listener.local_addr()?);
        Ok(listener)
    }

    /// Where a host of the cluster is really reached: a Service (`name`, `name.namespace`,
    /// `name.namespace.svc.cluster.local`), a pod of a headless Service, a cluster or pod IP, or `localhost` for this
    /// pod. None if nothing listens there (yet).
    pub fn resolve(&self, host: &str, port: u16) -> Option<SocketAddr> {
        if matches!(host, "localhost" | "127.0.0.1" | "::1")
            && let Some(own) = self.network.pod(&self.namespace, &self.pod, port)
        {
            return Some(own);
        }
        self.network.resolve(&self.namespace, host, port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_read_from_a_position() {
        let log = LogSink::default();
        log.line("one");
        let (bytes, next) = log.read(0).expect("is open");
        assert_eq!(bytes, b"one\n");
        log.line("two");
        assert_eq!(log.read(next).expect("is open").0, b"two\n");
        log.close();
        assert!(log.read(8).is_none());
        log.write(&vec![b'x'; LONGEST_LOG + 1]);
        assert!(log.text().len() <= LONGEST_LOG);
    }

    #[tokio::test]
    async fn stop_is_heard_late_and_early() {
        let stopper = Stopper::new();
        let stop = stopper.signal();
        assert!(!stop.is_stopped());
        stopper.stop();
        stop.stopped().await;
        assert!(stop.is_stopped() && stopper.signal().is_stopped());
    }
}
