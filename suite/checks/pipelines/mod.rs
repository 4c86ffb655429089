//! The checks of Kubeflow Pipelines.

mod access;
mod api;
mod archive;
mod change;
mod cleanup;
mod execution;
mod experiment;
mod list;
mod pipeline;
mod recurrence;
mod recurring_run;
mod run;
mod run_source;
mod server;
mod setups;
mod store;
mod upload;
mod version;

use super::{Check, Cleanup};

/// All checks of Pipelines, in the order in which reports list them.
pub const TABLES: &[&[Check]] = &[
    server::CHECKS,
    access::CHECKS,
    experiment::CHECKS,
    list::CHECKS,
    list::filters::CHECKS,
    upload::CHECKS,
    pipeline::CHECKS,
    change::CHECKS,
    version::CHECKS,
    run::CHECKS,
    run_source::CHECKS,
    execution::CHECKS,
    recurring_run::CHECKS,
    recurrence::CHECKS,
    store::CHECKS,
];

/// Removes what a run made at the Pipelines API.
pub const CLEANUP: Cleanup = Cleanup {
    name: "pipelines",
    as_namespace: true,
    run: |cx| Box::pin(cleanup::cleanup(cx)),
};
