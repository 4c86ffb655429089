//! The checks of Kubeflow Pipelines.

mod api;
mod cleanup;
mod experiment;
mod list;
mod pipeline;
mod recurring_run;
mod run;
mod server;
mod setups;
mod version;

use super::{Check, Cleanup};

/// All checks of Pipelines, in the order in which reports list them.
pub const TABLES: &[&[Check]] = &[
    server::CHECKS,
    experiment::CHECKS,
    list::CHECKS,
    pipeline::CHECKS,
    version::CHECKS,
    run::CHECKS,
    recurring_run::CHECKS,
];

/// Removes what a run made at the Pipelines API.
pub const CLEANUP: Cleanup = Cleanup {
    name: "pipelines",
    as_namespace: true,
    run: |cx| Box::pin(cleanup::cleanup(cx)),
};
