//! The embedded reference distribution: Kubeflow as documented, in this process, with named faults.
//!
//! The suite reaches it only over HTTP, like any cluster. It depends on no check: where it and real Kubeflow differ, the
//! reference is wrong.

mod fault;
mod hub;
mod jupyter;
mod katib;
mod kserve;
pub mod kube;
mod layout;
mod notebooks;
mod pipelines;
mod platform;
mod pods;
mod spark;
mod trainer;
mod web;

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

use crate::{clock::Clock, spec::Distribution};

/// One component of the distribution.
struct Component {
    /// The ways in which it can be made to deviate.
    faults: &'static [Fault],
    /// Puts it into a world.
    install: for<'a> fn(&'a World) -> BoxFuture<'a, io::Result<()>>,
    /// Whether it is wanted.
    wanted: fn(&ReferenceOptions) -> bool,
}

/// The components, in the order of reports.
const COMPONENTS: &[Component] = &[
    Component {
        faults: pipelines::FAULTS,
        install: pipelines::install,
        wanted: |_| true,
    },
    Component {
        faults: notebooks::FAULTS,
        install: notebooks::install,
        wanted: |_| true,
    },
    Component {
        faults: jupyter::FAULTS,
        install: jupyter::install,
        // Whom it serves, the rights in Profiles tell.
        wanted: |options| options.profiles,
    },
    Component {
        faults: platform::FAULTS,
        install: platform::install,
        wanted: |options| options.profiles,
    },
    Component {
        faults: katib::FAULTS,
        install: katib::install,
        wanted: |_| true,
    },
    Component {
        faults: kserve::FAULTS,
        install: kserve::install,
        wanted: |_| true,
    },
    Component {
        faults: trainer::FAULTS,
        install: trainer::install,
        wanted: |_| true,
    },
    Component {
        faults: spark::FAULTS,
        install: spark::install,
        wanted: |_| true,
    },
    Component {
        faults: hub::FAULTS,
        install: hub::install,
        wanted: |_| true,
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

/// What runs in a pod of the suite's image that is told to be a launch's runner.
pub type Runner = Arc<dyn Fn(crate::workload::Context) -> BoxFuture<'static, i32> + Send + Sync>;

/// How the reference is started.
#[derive(Clone)]
pub struct ReferenceOptions {
    /// Its time.
    pub clock: Clock,
    /// Ids of the faults to show.
    pub faults: Vec<String>,
    /// Where its API server listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// Whether it has Profiles, and with them access management and PodDefaults.
    pub profiles: bool,
    /// The distribution that it is laid out like; as it installs itself where there is none.
    pub layout: Option<Distribution>,
    /// What `kfconform runner` does in its pods; without one, it is not found there.
    pub runner: Option<Runner>,
    /// What troubles its API server and the way to it, which is not the distribution's doing.
    pub chaos: Option<kube::Chaos>,
}

impl std::fmt::Debug for ReferenceOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReferenceOptions")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl Default for ReferenceOptions {
    fn default() -> Self {
        Self {
            clock: Clock::wall(),
            faults: Vec::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            profiles: true,
            runner: None,
            layout: None,
            chaos: None,
        }
    }
}

impl Reference {
    /// Starts the distribution with all its components.
    pub async fn start(mut options: ReferenceOptions) -> io::Result<Self> {
        let mut identity = WorldOptions::default().identity;
        if let Some(layout) = &options.layout {
            options.profiles &= layout.components.contains_key("platform");
            if let Some(header) = &layout.identity.header {
                identity = (header.clone(), layout.identity.prefix.clone());
            }
        }
        let world = World::start(WorldOptions {
            clock: options.clock,
            faults: options.faults.iter().cloned().collect::<Faults>(),
            runtime: Some(Arc::new(pods::Workloads {
                clock: options.clock,
                offered: Mutex::default(),
                runner: options.runner.clone(),
            })),
            crash_back_off: Duration::from_millis(500),
            listen: options.listen,
            identity,
            chaos: options.chaos,
            ..WorldOptions::default()
        })
        .await?;
        // The last come first: Pipelines serves many users where it finds Profiles.
        for component in COMPONENTS.iter().rev().filter(|c| (c.wanted)(&options)) {
            (component.install)(&world).await?;
        }
        if let Some(layout) = &options.layout {
            layout::lay_out(&world, layout).await?;
        }
        layout::webhook_servers(&world).await?;
        Ok(Self { world })
    }

    /// A kubeconfig whose user may do everything.
    pub fn kubeconfig(&self) -> String {
        self.world.kubeconfig()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_that_ended_is_no_longer_in_memory() {
        crate::install_crypto();
        let ended = crate::hurry::run(async || {
            let reference = Reference::start(ReferenceOptions::default()).await.unwrap();
            reference.world.downgrade()
        })
        .unwrap();
        assert!(ended.upgrade().is_none());
    }
}
