//! The embedded reference distribution: Kubeflow as documented, in this process, with named faults.
//!
//! The suite reaches it only over HTTP, like any cluster. It depends on no check: where it and real Kubeflow differ, the
//! reference is wrong.

mod fault;
mod katib;
mod kserve;
pub mod kube;
mod notebooks;
mod pipelines;
mod pods;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use serde_json::{Value, json};

pub use fault::{Fault, requirement_of};
use kube::{Faults, World, WorldOptions};

use crate::clock::Clock;

/// One component of the distribution.
struct Component {
    /// The ways in which it can be made to deviate.
    faults: &'static [Fault],
    /// Puts it into a world.
    install: for<'a> fn(&'a World) -> BoxFuture<'a, io::Result<()>>,
}

/// The components, in the order of reports.
const COMPONENTS: &[Component] = &[
    Component {
        faults: pipelines::FAULTS,
        install: pipelines::install,
    },
    Component {
        faults: notebooks::FAULTS,
        install: notebooks::install,
    },
    Component {
        faults: katib::FAULTS,
        install: katib::install,
    },
    Component {
        faults: kserve::FAULTS,
        install: kserve::install,
    },
];

/// The Deployment of a program that runs beside the cluster: it says which program it is, and makes no pods.
fn deployment(namespace: &str, name: &str, labels: &Value, container: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })
}

/// Every fault, by component.
pub fn faults() -> impl Iterator<Item = &'static Fault> {
    COMPONENTS.iter().flat_map(|component| component.faults)
}

/// A running reference distribution; it ends when this is dropped.
#[derive(Debug)]
pub struct Reference {
    /// Its cluster.
    pub world: World,
}

/// How the reference is started.
#[derive(Debug, Clone)]
pub struct ReferenceOptions {
    /// Its time.
    pub clock: Clock,
    /// Ids of the faults to show.
    pub faults: Vec<String>,
    /// Where its API server listens; port 0 is any free one.
    pub listen: SocketAddr,
}

impl Default for ReferenceOptions {
    fn default() -> Self {
        Self {
            clock: Clock::wall(),
            faults: Vec::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

impl Reference {
    /// Starts the distribution with all its components.
    pub async fn start(options: ReferenceOptions) -> io::Result<Self> {
        let world = World::start(WorldOptions {
            clock: options.clock,
            faults: options.faults.into_iter().collect::<Faults>(),
            runtime: Some(Arc::new(pods::Workloads {
                clock: options.clock,
                offered: Mutex::default(),
            })),
            crash_back_off: Duration::from_millis(500),
            listen: options.listen,
            ..WorldOptions::default()
        })
        .await?;
        for component in COMPONENTS {
            (component.install)(&world).await?;
        }
        Ok(Self { world })
    }

    /// A kubeconfig whose user may do everything.
    pub fn kubeconfig(&self) -> String {
        self.world.kubeconfig()
    }
}
