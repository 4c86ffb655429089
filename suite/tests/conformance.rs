//! The checks as tests: on the embedded reference, or on the cluster of `KUBECONFIG_CONFORMANCE`.
//!
//! A face only: the engine runs them. `cargo test --test conformance katib` runs those of one component.

use std::{
    collections::HashMap,
    ffi::OsString,
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock},
};

use kfconform::{
    checks::{self},
    cluster::{Config, Target},
    engine::{self, Interrupt, RunOptions},
    hurry,
    reference::{Reference, ReferenceOptions},
    report::model::{CheckResult, Outcome},
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::sync::{mpsc, watch};

fn main() -> ExitCode {
    kfconform::install_crypto();
    let mut args = Arguments::from_args();
    // Each trial only reads the one run's result, so a single thread is enough.
    args.test_threads.get_or_insert(1);
    let filter = args.filter.clone();
    let run: Arc<OnceLock<Result<HashMap<String, CheckResult>, String>>> = Arc::default();
    let gate = Arc::new(Mutex::new(()));
    let trials = checks::all()
        .map(|check| {
            let (run, gate, filter, exact) = (
                Arc::clone(&run),
                Arc::clone(&gate),
                filter.clone(),
                args.exact,
            );
            Trial::ignorable_test(check.id, move || {
                let results = {
                    let _one = gate
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    run.get_or_init(|| results(filter.as_deref(), exact))
                };
                let results = results.as_ref().map_err(Failed::from)?;
                let result = results.get(check.id).ok_or("the run left no result")?;
                let message = result.message.clone().unwrap_or_default();
                match result.outcome {
                    Outcome::Passed => Ok(Completion::Completed),
                    Outcome::NotApplicable => Ok(Completion::ignored_with(message)),
                    Outcome::Failed | Outcome::CouldNotRun => {
                        Err(Failed::from(format!("{}: {message}", result.outcome)))
                    }
                }
            })
            .with_kind(check.component())
        })
        .collect();
    libtest_mimic::run(&args, trials).exit_code()
}

/// One run of what the filter leaves. On the reference its time passes as fast as nothing happens.
fn results(filter: Option<&str>, exact: bool) -> Result<HashMap<String, CheckResult>, String> {
    let cluster = std::env::var_os("KUBECONFIG_CONFORMANCE");
    if cluster.is_none() {
        return hurry::run(|| run(None, filter, exact)).map_err(|e| e.to_string())?;
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|e| e.to_string())?;
    runtime.block_on(run(cluster, filter, exact))
}

async fn run(
    cluster: Option<OsString>,
    filter: Option<&str>,
    exact: bool,
) -> Result<HashMap<String, CheckResult>, String> {
    let reference = match &cluster {
        Some(_) => None,
        None => Some(
            Reference::start(ReferenceOptions::default())
                .await
                .map_err(|e| e.to_string())?,
        ),
    };
    let config = match std::env::var_os("KFCONFORM_CONFIG") {
        Some(path) => Config::read(path.as_ref()).map_err(|e| e.to_string())?,
        None => Config::default(),
    };
    let only = match filter {
        None => vec![],
        Some(filter) => checks::all()
            .filter(|c| {
                if exact {
                    c.id == filter
                } else {
                    c.id.contains(filter) || c.component() == filter
                }
            })
            .map(|c| c.id.to_owned())
            .collect(),
    };
    let options = RunOptions {
        target: Target {
            kubeconfig: cluster.map(Into::into),
            kubeconfig_text: reference.as_ref().map(Reference::kubeconfig),
            context: None,
        },
        reference: reference.is_some(),
        image: config
            .image
            .clone()
            .unwrap_or_else(|| engine::DEFAULT_IMAGE.to_owned()),
        config,
        only,
        ..RunOptions::default()
    };
    let (events, _) = mpsc::unbounded_channel();
    let (_keep, interrupt) = watch::channel(Interrupt::No);
    let results = Box::pin(engine::run(options, events, interrupt))
        .await
        .map_err(|e| e.to_string())?;
    Ok(results
        .checks
        .into_iter()
        .map(|c| (c.id.clone(), c))
        .collect())
}
