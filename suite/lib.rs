//! kubeflow-conformance: checks a Kubeflow distribution and signs what it found.
//!
//! The data goes one way, and each module knows only the ones before it:
//!
//! ```text
//! spec ──> cluster ──> checks ──> engine ──> report ──> seal        (reference: reached only over HTTP)
//! ```

pub mod clock;
pub mod outcome;
pub mod report;
pub mod workload;

/// Makes `ring` the TLS provider of this process. The first line of `main` and of each test that makes a client;
/// calling it again changes nothing.
pub fn install_crypto() {
    // A second installation is refused, which is what we want.
    drop(rustls::crypto::ring::default_provider().install_default());
}
