//! Kubeflow Pipelines as documented, 2.17.0, for many users where there are Profiles and for one elsewhere: the REST API,
//! and what executes the runs.
//!
//! Where its answers were seen on the real server they are the real server's, with the codes that surprise: see
//! `fixtures/observed/pipelines.json` and, for what differs on purpose, the list beside it.

mod api;
mod auth;
mod condition;
mod engine;
mod faults;
mod http;
mod list;
mod message;
mod model;
mod recurring;
mod refusal;
pub(super) mod schedule;
mod store;
mod template;
mod upload;

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{FutureExt, future::BoxFuture};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    kube::{ApiError, Resource, World},
    web,
};
use crate::{clock::Clock, workload};
pub use faults::FAULTS;
use model::{Database, Experiment, Task};

/// What there is where Pipelines serves many users.
const PROFILES: Resource = Resource::new("kubeflow.org", "profiles");
/// The namespace of the API server, and in single-user mode of the runs.
const NAMESPACE: &str = "kubeflow";
/// The pod that stands for the API server.
const POD: &str = "ml-pipeline-6f5f7d4b9c-x7k2m";
/// Its port.
const PORT: u16 = 8888;

/// Puts Pipelines into a world: its API server as a pod behind the Service `ml-pipeline`.
pub fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        store::install(world);
        let server = Arc::new(Server::new(world.clone()));
        let handler = Arc::new(move |call| {
            let server = server.clone();
            async move { http::answer(&server, call).await }.boxed()
        });
        let address = web::listen(world, handler).await?;
        objects(world, address).await.map_err(io::Error::other)
    }
    .boxed()
}

/// What the API server is on the cluster.
async fn objects(world: &World, address: SocketAddr) -> Result<(), ApiError> {
    let labels = json!({"app": "ml-pipeline", "app.kubernetes.io/component": "ml-pipeline"});
    let container = json!({
        "name": "ml-pipeline-api-server",
        "image": "ghcr.io/kubeflow/kfp-api-server:2.17.0",
        "ports": [{"name": "http", "containerPort": PORT}, {"name": "grpc", "containerPort": 8887}],
    });
    world
        .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
        .await?;
    for account in ["ml-pipeline", "pipeline-runner"] {
        world
            .apply(json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"namespace": NAMESPACE, "name": account},
            }))
            .await?;
    }
    world
        .apply(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": NAMESPACE, "name": "ml-pipeline", "labels": labels},
            "spec": {
                "selector": labels,
                "ports": [
                    {"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP"},
                    {"name": "grpc", "port": 8887, "targetPort": 8887, "protocol": "TCP"},
                ],
            },
        }))
        .await?;
    // The pod stands for this process, so the Deployment has none of its own to make.
    world
        .apply(super::deployment(
            NAMESPACE,
            "ml-pipeline",
            &labels,
            &container,
        ))
        .await?;
    world
        .stand_in_pod(NAMESPACE, POD, &labels, &[(PORT, address)])
        .await
}

/// The images of which the suite's own is one, by whatever registry and tag.
fn is_our_image(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split([':', '@']).next() == Some("kfconform")
}

/// The API server.
struct Server {
    world: World,
    /// Whether there are many users: so it is where there are Profiles.
    multi_user: bool,
    database: Mutex<Database>,
    /// What is kept as objects. Who holds it answers; the others wait.
    known: tokio::sync::Mutex<store::Known>,
    /// What the tasks of each run gave, for a retry; and what results may be taken for those of others.
    results: Mutex<HashMap<String, Arc<engine::Results>>>,
    cache: Mutex<HashMap<String, engine::Cached>>,
    /// What stops each run that was started.
    running: Mutex<HashMap<String, workload::Stopper>>,
    seed: u64,
    next: AtomicU64,
}

impl Server {
    fn new(world: World) -> Self {
        let server = Self {
            multi_user: world.serves(&PROFILES),
            world,
            database: Mutex::default(),
            known: tokio::sync::Mutex::default(),
            results: Mutex::default(),
            cache: Mutex::default(),
            running: Mutex::default(),
            // The hasher's random keys are the standard library's only source of randomness; ids need no better.
            seed: RandomState::new().hash_one(0_u8),
            next: AtomicU64::new(1),
        };
        let default = Experiment {
            id: server.uid(),
            name: api::DEFAULT_EXPERIMENT.to_owned(),
            description: "All runs created without specifying an experiment will be grouped here."
                .to_owned(),
            // The server was up before anybody asked: lists sort by whole seconds, and nothing is as old as this.
            created: server.now() - 1,
            ..Experiment::default()
        };
        if !server.multi_user {
            server.with(|db| db.experiments.insert(default.id.clone(), default));
        }
        server
    }

    fn world(&self) -> &World {
        &self.world
    }

    fn clock(&self) -> &Clock {
        self.world.clock()
    }

    fn now(&self) -> model::Seconds {
        self.clock().now().as_second()
    }

    /// Whether this fault is on; the id without its component.
    fn broken(&self, fault: &str) -> bool {
        !fault.is_empty() && self.world.has_fault(&format!("pipelines/{fault}"))
    }

    fn faults(&self) -> impl Fn(&str) -> bool + '_ {
        |fault| self.broken(fault)
    }

    /// Does something with the database, alone.
    fn with<T>(&self, work: impl FnOnce(&mut Database) -> T) -> T {
        work(&mut self.database.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, workload::Stopper>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An id that nobody had.
    fn uid(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(self.next.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let hex: String = hash
            .finalize()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            "{}-{}-4{}-a{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..32]
        )
    }

    /// What the tasks of a run gave so far.
    fn results(&self, run: &str) -> Arc<engine::Results> {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.entry(run.to_owned()).or_default().clone()
    }

    /// Forgets what the tasks of a run gave.
    fn forget_results(&self, run: &str) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.remove(run);
    }

    /// A result that is kept under a key.
    fn cached(&self, key: &str) -> Option<engine::Cached> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(key).cloned()
    }

    /// Keeps a result under a key.
    fn keep(&self, key: String, result: engine::Cached) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(key, result);
    }

    /// Puts a run into a state.
    fn set_state(&self, run: &str, state: &'static str) {
        let now = self.now();
        self.with(|db| {
            if let Some(run) = db.runs.get_mut(run)
                && run.state() != state
            {
                run.states.push((now, state));
            }
        });
    }

    /// Ends a run.
    fn finish(&self, run: &str, state: &'static str) {
        self.set_state(run, state);
        let now = self.now();
        let never = self.broken("run/inline-succeeds");
        self.with(|db| {
            if let Some(run) = db.runs.get_mut(run) {
                let never = never && template::is_one_step(template::pipeline(&run.spec));
                run.finished = if never { 0 } else { now };
            }
        });
        self.running().remove(run);
    }

    /// Shows that a task of a run has begun, and gives its id.
    fn begin_task(&self, run: &str, name: &str) -> String {
        let (id, now) = (self.uid(), self.now());
        self.with(|db| {
            if let Some(run) = db.runs.get_mut(run) {
                run.tasks.push(Task {
                    id: id.clone(),
                    name: name.to_owned(),
                    created: now,
                    ended: 0,
                    states: vec![(now, "RUNNING")],
                });
            }
        });
        id
    }

    /// Shows that a task has ended.
    fn end_task(&self, run: &str, task: &str, state: &'static str) {
        let now = self.now();
        self.with(|db| {
            let tasks = db.runs.get_mut(run).map(|run| &mut run.tasks);
            if let Some(task) = tasks.and_then(|tasks| tasks.iter_mut().find(|t| t.id == task)) {
                task.states.push((now, state));
                task.ended = now;
            }
        });
    }
}
