//! Kubeflow Pipelines as documented, 2.17.0 in single-user mode: the REST API, and what executes the runs.
//!
//! Where its answers were seen on the real server they are the real server's, with the codes that surprise: see
//! `fixtures/observed/pipelines.json` and, for what differs on purpose, the list beside it.

mod api;
mod condition;
mod engine;
mod http;
mod list;
mod message;
mod model;
mod refusal;
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
use tokio::net::TcpListener;

use super::{
    fault::Fault,
    kube::{ApiError, World},
};
use crate::{clock::Clock, workload};
use model::{Database, Experiment, Task};

/// The namespace of the API server, and in single-user mode of the runs.
const NAMESPACE: &str = "kubeflow";
/// The pod that stands for the API server.
const POD: &str = "ml-pipeline-6f5f7d4b9c-x7k2m";
/// Its port.
const PORT: u16 = 8888;

/// The ways in which the reference's Pipelines can be made to deviate.
pub const FAULTS: &[Fault] = &[
    Fault::new("pipelines/server/reports-health", "`multi_user` is a text"),
    Fault::new(
        "pipelines/server/reports-errors",
        "errors are pages of HTML",
    ),
    Fault::new(
        "pipelines/experiment/is-created-as-asked",
        "the description is gone when the experiment is read",
    ),
    Fault::new(
        "pipelines/experiment/refuses-duplicate-name",
        "a second experiment of the same name is made",
    ),
    Fault::new(
        "pipelines/experiment/requires-name",
        "an experiment without a name is given one",
    ),
    Fault::new(
        "pipelines/experiment/is-deleted",
        "a deletion answers well and does nothing",
    ),
    Fault::new(
        "pipelines/experiment/archives-its-runs",
        "the runs of an archived experiment stay available",
    ),
    Fault::new(
        "pipelines/list/pages-experiments",
        "each further page misses its first object",
    ),
    Fault::new("pipelines/list/sorts-experiments", "`desc` is ignored"),
    Fault::new(
        "pipelines/list/filters-by-equality",
        "EQUALS finds parts of names",
    ),
    Fault::new(
        "pipelines/list/filters-by-substring",
        "IS_SUBSTRING ignores the last word of the text",
    ),
    Fault::new(
        "pipelines/list/joins-predicates",
        "one predicate of a filter suffices",
    ),
    Fault::new(
        "pipelines/list/refuses-bad-token",
        "a bad page token gives the first page",
    ),
    Fault::new(
        "pipelines/list/refuses-unknown-order",
        "an unknown order gives the default one",
    ),
    Fault::new(
        "pipelines/list/refuses-bad-filter",
        "a bad filter is ignored",
    ),
    Fault::new(
        "pipelines/list/pages-runs",
        "each further page misses its first run",
    ),
    Fault::new("pipelines/list/sorts-runs", "`desc` is ignored"),
    Fault::new(
        "pipelines/list/filters-runs",
        "a filter is ignored where an experiment is given",
    ),
    Fault::wide(
        "pipelines/list/filters-runs:scope",
        "the experiment is ignored",
        "the runs of all experiments are in the pages and orders that other checks look at",
    ),
    Fault::new(
        "pipelines/pipeline/is-uploaded",
        "the description is gone when the pipeline is read",
    ),
    Fault::new(
        "pipelines/pipeline/keeps-what-was-uploaded",
        "a default value is lost",
    ),
    Fault::new(
        "pipelines/pipeline/refuses-duplicate-name",
        "a second pipeline of the same name is made",
    ),
    Fault::new(
        "pipelines/pipeline/refuses-what-is-no-pipeline",
        "whatever is uploaded is kept",
    ),
    Fault::new(
        "pipelines/pipeline/is-found-by-name",
        "an unknown name is answered with an empty pipeline",
    ),
    Fault::new(
        "pipelines/pipeline/is-not-deleted-with-versions",
        "a pipeline goes with its versions unasked",
    ),
    Fault::new(
        "pipelines/version/is-added",
        "a version is called by its id",
    ),
    Fault::new(
        "pipelines/version/refuses-duplicate-name",
        "a second version of the same name is made",
    ),
    Fault::new(
        "pipelines/version/refuses-unknown-pipeline",
        "a version of no pipeline is kept",
    ),
    Fault::new(
        "pipelines/version/is-deleted-alone",
        "all versions of the pipeline go",
    ),
    Fault::new(
        "pipelines/run/inline-succeeds",
        "the time of a run's end is never set",
    ),
    Fault::new(
        "pipelines/run/by-reference-succeeds",
        "another version than the one asked for is run",
    ),
    Fault::new(
        "pipelines/run/passes-parameters",
        "an output parameter arrives empty",
    ),
    Fault::new("pipelines/run/passes-artifacts", "a file arrives empty"),
    Fault::new("pipelines/run/follows-condition", "both branches are run"),
    Fault::new(
        "pipelines/run/failing-task-fails",
        "the exit code of a pipeline's own tasks is lost",
    ),
    Fault::new(
        "pipelines/run/keeps-state-history",
        "the final state is missing in the history",
    ),
    Fault::new(
        "pipelines/run/refuses-unknown-parameter",
        "an unknown parameter is ignored",
    ),
    Fault::new(
        "pipelines/run/refuses-mistyped-parameter",
        "the types of parameters are not looked at",
    ),
    Fault::new(
        "pipelines/run/refuses-missing-parameter",
        "a missing parameter is left to the tasks",
    ),
    Fault::new(
        "pipelines/run/requires-name",
        "a run without a name is given one",
    ),
    Fault::new(
        "pipelines/run/refuses-unknown-pipeline",
        "a run of nothing is kept",
    ),
    Fault::new(
        "pipelines/run/terminates",
        "a terminated run is said to have succeeded",
    ),
    Fault::new(
        "pipelines/run/refuses-termination-of-finished",
        "the termination of a finished run is accepted",
    ),
    Fault::new(
        "pipelines/run/refuses-retry-of-succeeded",
        "the retry of a succeeded run is accepted",
    ),
    Fault::new(
        "pipelines/run/is-archived-and-restored",
        "archived runs are missing in lists",
    ),
    Fault::new(
        "pipelines/run/is-deleted",
        "a deletion answers well and does nothing",
    ),
    Fault::new(
        "pipelines/recurring-run/is-created-as-asked",
        "the concurrency is always 1 when it is read",
    ),
    Fault::new(
        "pipelines/recurring-run/is-listed",
        "the list has its key in snake case",
    ),
    Fault::new(
        "pipelines/recurring-run/is-disabled-and-enabled",
        "disabling answers well and does nothing",
    ),
    Fault::new(
        "pipelines/recurring-run/refuses-bad-concurrency",
        "any concurrency is kept",
    ),
    Fault::new(
        "pipelines/recurring-run/refuses-bad-trigger",
        "any trigger is kept",
    ),
    Fault::new(
        "pipelines/recurring-run/is-deleted",
        "a deletion answers well and does nothing",
    ),
];

/// Puts Pipelines into a world: its API server as a pod behind the Service `ml-pipeline`.
pub fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Server::new(world.clone()));
        world.spawn(http::serve(server, listener));
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
    database: Mutex<Database>,
    /// What stops each run that was started.
    running: Mutex<HashMap<String, workload::Stopper>>,
    seed: u64,
    next: AtomicU64,
}

impl Server {
    fn new(world: World) -> Self {
        let server = Self {
            world,
            database: Mutex::default(),
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
            created: server.now(),
            ..Experiment::default()
        };
        server.with(|db| db.experiments.insert(default.id.clone(), default));
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
