//! A container for tests: a directory as its file system, loopback ports, and a log.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::net::TcpListener;

use super::http::{Answer, Request, send};
use super::{Context, Stop, Stopper, run};
use crate::clock::Clock;

pub(super) struct Container {
    cx: Context,
    stopper: Stopper,
    directory: tempfile::TempDir,
    lines: Arc<Mutex<Vec<String>>>,
    ports: Arc<Mutex<BTreeMap<u16, SocketAddr>>>,
    names: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
}

impl Container {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let ports = Arc::new(Mutex::new(BTreeMap::new()));
        let names = Arc::new(Mutex::new(BTreeMap::new()));
        let (stopper, stop) = Stop::new();
        let log = lines.clone();
        let out: super::Sink =
            Arc::new(move |line: &str| log.lock().unwrap().push(line.to_owned()));
        let (open, known) = (ports.clone(), names.clone());
        let env = [("HOME", "/home/jovyan"), ("HOSTNAME", "pod-0")];
        let cx = Context {
            env: env.map(|(name, value)| (name.into(), value.into())).into(),
            listen: Arc::new(move |port| {
                let open = open.clone();
                async move {
                    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                    open.lock().unwrap().insert(port, listener.local_addr()?);
                    Ok(listener)
                }
                .boxed()
            }),
            resolve: Arc::new(move |name| known.lock().unwrap().get(name).copied()),
            map_path: Arc::new(move |path| root.join(path.strip_prefix("/").unwrap_or(path))),
            err: out.clone(),
            out,
            stop,
            clock: Clock::wall(),
            arguments: Vec::new(),
        };
        Self {
            cx,
            stopper,
            directory,
            lines,
            ports,
            names,
        }
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.cx.env.insert(name.into(), value.into());
        self
    }

    /// Lets this container find `host:port` at an address.
    pub(super) fn knows(self, name: &str, address: SocketAddr) -> Self {
        self.names.lock().unwrap().insert(name.into(), address);
        self
    }

    pub(super) fn cx(&self) -> Context {
        self.cx.clone()
    }

    pub(super) fn stop(&self) {
        self.stopper.stop();
    }

    pub(super) async fn argv(&self, argv: &[&str]) -> i32 {
        run(argv.iter().map(|arg| (*arg).into()).collect(), self.cx()).await
    }

    /// Runs `kfconform workload …`, split at blanks.
    pub(super) async fn run(&self, command: &str) -> i32 {
        let mut argv = vec![super::ENTRYPOINT, "workload"];
        argv.extend(command.split_whitespace());
        self.argv(&argv).await
    }

    /// Starts a server and waits until it listens on this port.
    pub(super) async fn start(
        &self,
        command: &str,
        port: u16,
    ) -> (SocketAddr, tokio::task::JoinHandle<i32>) {
        let mut argv = vec![super::ENTRYPOINT.to_owned(), "workload".into()];
        argv.extend(command.split_whitespace().map(str::to_owned));
        let task = tokio::spawn(run(argv, self.cx()));
        for _ in 0..1_000 {
            if let Some(address) = self.ports.lock().unwrap().get(&port) {
                return (*address, task);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("nothing listens on {port}: {:?}", self.lines());
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory
            .path()
            .join(Path::new(path).strip_prefix("/").unwrap())
    }

    pub(super) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Sends a request, with one header if wanted.
pub(super) async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Vec<u8>,
    header: Option<(&'static str, String)>,
) -> Answer {
    let request = Request {
        method: method.parse().unwrap(),
        path: String::new(),
        target: path.to_owned(),
        headers: http::HeaderMap::new(),
        body: body.into(),
    };
    let headers =
        header.map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
    let container = Container::new();
    send(
        &container.cx(),
        &address.to_string(),
        request,
        headers.into_iter().collect(),
    )
    .await
    .unwrap()
}

/// Sends a request and reads the answer as JSON; null if it is none.
pub(super) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, http::HeaderMap, serde_json::Value) {
    let answer = exchange(address, method, path, body.into(), None).await;
    let json = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status.as_u16(), answer.headers, json)
}
