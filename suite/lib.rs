//! kubeflow-conformance: checks a Kubeflow distribution and signs what it found.
//!
//! The data goes one way, and each module knows only the ones before it:
//!
//! ```text
//! spec ──> cluster ──> checks ──> engine ──> report ──> seal ──> review ──> export    (reference: reached only over HTTP)
//! ```

pub mod checks;
pub mod cli;
pub mod clock;
pub mod coverage;
mod digest;
pub mod engine;
pub mod export;
pub mod fixtures;
pub mod hurry;
pub mod launch;
pub mod outcome;
mod percent;
pub mod proto;
pub mod reference;
pub mod report;
pub mod review;
pub mod schemas;
pub mod seal;
pub mod selftest;
pub mod site;
pub mod spec;
pub mod workload;

/// Makes `ring` the TLS provider of this process. The first line of `main` and of each test that makes a client;
/// calling it again changes nothing.
pub fn install_crypto() {
    // A second installation is refused, which is what we want.
    drop(rustls::crypto::ring::default_provider().install_default());
}

pub mod cluster;

/// The version of every file format that we write or read.
pub const API_VERSION: &str = "conformance.kubeflow.org/v1";

/// The components, in the order in which reports list them.
pub const COMPONENTS: [&str; 8] = [
    "pipelines",
    "notebooks",
    "platform",
    "katib",
    "kserve",
    "trainer",
    "spark",
    "hub",
];
