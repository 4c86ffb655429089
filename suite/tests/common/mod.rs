//! What the integration tests share: a run on the embedded reference.

#![allow(dead_code, reason = "each test uses its part")]

use kfconform::{
    clock::Clock,
    cluster::Target,
    engine::{self, Interrupt, RunOptions},
    hurry,
    reference::{self, Reference, ReferenceOptions},
    report::model::Results,
};
use tokio::sync::{mpsc, watch};

/// A product with which nothing is wrong.
pub const PRODUCT: &str = "\
apiVersion: conformance.kubeflow.org/v1
kind: Product
vendor: Northern Lights Computing
name: Aurora ML Platform
version: 3.2.0
website: https://kubeflow.org/aurora
documentation: https://kubeflow.org/aurora/docs
repository: https://kubeflow.org/aurora/source
type: distribution
description: Kubeflow with what a company needs around it.
contact: conformance@kubeflow.org
kubernetesTargets: [Amazon EKS]
adopters: https://github.com/kubeflow/community/blob/master/ADOPTERS.md
releaseCadence: every three months
kubeflowRelease: \"26.03\"
";

/// Where a submission of that product belongs.
pub const PLACE: &str = "reports/26.03/aurora-ml-platform/3.2.0";

/// The options of a run on a reference.
pub fn options(reference: &Reference) -> RunOptions {
    RunOptions {
        target: Target {
            kubeconfig_text: Some(reference.kubeconfig()),
            ..Target::default()
        },
        reference: true,
        ..RunOptions::default()
    }
}

/// Runs everything on a reference with these faults; the result folder goes with the second value.
pub async fn run_reference(faults: &[&str]) -> (Results, tempfile::TempDir) {
    run_changed(faults, |_| {}).await
}

/// As [`run_reference`], with changed options. Its time passes as fast as nothing happens, on a runtime of its own.
#[allow(
    clippy::unused_async,
    reason = "those who call it are, and wait for it"
)]
pub async fn run_changed(
    faults: &[&str],
    change: impl FnOnce(&mut RunOptions) + Send,
) -> (Results, tempfile::TempDir) {
    std::thread::scope(|scope| {
        let made =
            scope.spawn(|| hurry::run(|| run_with_the_wall(faults, change)).expect("a runtime"));
        made.join().expect("the run comes to its end")
    })
}

/// As [`run_changed`], in the time of the wall: what does not wait for a clock, and is looked at while it happens.
pub async fn run_with_the_wall(
    faults: &[&str],
    change: impl FnOnce(&mut RunOptions),
) -> (Results, tempfile::TempDir) {
    kfconform::install_crypto();
    let clock = Clock::wall();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let reference = Reference::start(ReferenceOptions {
        clock,
        faults: faults.clone(),
        ..ReferenceOptions::default()
    })
    .await
    .expect("the reference starts");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut options = options(&reference);
    options.clock = clock;
    options.faults = faults;
    options.out = Some(dir.path().to_owned());
    change(&mut options);
    let (events, _) = mpsc::unbounded_channel();
    let (_keep, interrupt) = watch::channel(Interrupt::No);
    let results = Box::pin(engine::run(options, events, interrupt))
        .await
        .expect("the run comes to its end");
    (results, dir)
}

/// The first fault of each component.
pub fn one_fault_of_each_component() -> Vec<&'static str> {
    let mut seen = Vec::new();
    let mut out = Vec::new();
    for fault in reference::faults() {
        let component = fault.id.split('/').next().unwrap_or_default();
        if !seen.contains(&component) {
            seen.push(component);
            out.push(fault.id);
        }
    }
    out
}
