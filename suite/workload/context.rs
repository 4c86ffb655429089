//! What a workload may touch: its environment, ports, names, files, output, time and the order to stop.
//!
//! A pod of a real cluster gets [`Context::system`]. The reference gives each of its pods a context of its own, with
//! loopback ports, a directory as the container's file system and a log that it keeps.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::Clock;

/// Opens the listener for a container port; the socket may be bound to another port, as port 0 on loopback.
pub type Listen = Arc<dyn Fn(u16) -> BoxFuture<'static, io::Result<TcpListener>> + Send + Sync>;
/// Finds the address of a `host:port`; `None` leaves it to the system's DNS.
pub type Resolve = Arc<dyn Fn(&str) -> Option<SocketAddr> + Send + Sync>;
/// Turns a path inside the container into the real one.
pub type MapPath = Arc<dyn Fn(&Path) -> PathBuf + Send + Sync>;
/// Takes one line of output, without its line break.
pub type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// The world as one container sees it. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The environment variables.
    pub env: BTreeMap<String, String>,
    /// How a container port is opened.
    pub listen: Listen,
    /// How a peer is found.
    pub resolve: Resolve,
    /// Where the container's files are.
    pub map_path: MapPath,
    /// Standard output.
    pub out: Sink,
    /// Standard error; give it the same sink as `out` where both are one log.
    pub err: Sink,
    /// The order to stop (`SIGTERM` in a pod).
    pub stop: Stop,
    /// Time, which may run faster than the wall.
    pub clock: Clock,
    /// The arguments after the command's name, for a command that reads them itself.
    pub arguments: Vec<String>,
}

impl Context {
    /// The context of this process: its environment, all addresses, its own file system and streams, `SIGTERM` and
    /// `SIGINT`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn system(env: BTreeMap<String, String>) -> io::Result<Self> {
        Ok(Self {
            env,
            listen: Arc::new(|port| bind_all(port).boxed()),
            resolve: Arc::new(|_| None),
            map_path: Arc::new(Path::to_path_buf),
            out: Arc::new(|line| drop(writeln!(io::stdout().lock(), "{line}"))),
            err: Arc::new(|line| drop(writeln!(io::stderr().lock(), "{line}"))),
            stop: Stop::on_signal()?,
            clock: Clock::wall(),
            arguments: Vec::new(),
        })
    }

    /// A variable of the environment, if set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The pod's name: `POD_NAME`, else `HOSTNAME`, which Kubernetes sets to it.
    pub fn pod_name(&self) -> &str {
        self.var("POD_NAME")
            .or_else(|| self.var("HOSTNAME"))
            .unwrap_or("unknown")
    }

    /// Writes text to standard output, line by line.
    pub fn print(&self, text: &str) {
        text.lines().for_each(|line| (self.out)(line));
    }

    /// Writes text to standard error, line by line.
    pub fn log(&self, text: &str) {
        text.lines().for_each(|line| (self.err)(line));
    }

    /// Sleeps. False when the order to stop came first.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.stopped() => false,
            () = self.clock.sleep(duration) => true,
        }
    }

    /// The real path of a path inside the container.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        (self.map_path)(path.as_ref())
    }
}

/// Binds on every address, IPv6 included where the node has it, since a pod may have only an IPv6 address.
async fn bind_all(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
    }
}

/// Gives the order to stop; dropping it gives the order too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Gives the order.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// The order to stop, as seen by the one who obeys.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A fresh pair of who gives the order and who waits for it.
    pub fn new() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Self(receiver))
    }

    /// Stops at `SIGTERM` or `SIGINT`. As process 1 of a container these do nothing unless they are handled, and the pod
    /// would stay for its whole grace period.
    fn on_signal() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let (stopper, stop) = Self::new();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            stopper.stop();
        });
        Ok(stop)
    }

    /// Whether the order has been given.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits for the order.
    pub async fn stopped(&self) {
        // An error says that the stopper was dropped, which is an order too.
        let _ = self.0.clone().wait_for(|stopped| *stopped).await;
    }
}
