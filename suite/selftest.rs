//! Proves that every check can fail: each fault of the reference turns exactly its own check red.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::{
    engine::{self, EngineError, Interrupt, RunOptions},
    reference::{self, Fault, Reference, ReferenceOptions, requirement_of},
    report::model::{Outcome, Results, Verdict},
};

/// What became of one fault.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Killed {
    /// The fault's id.
    pub fault: String,
    /// The requirement that it breaks.
    pub requirement: String,
    /// What the distribution then does.
    pub says: String,
    /// Whether the requirement's check failed.
    pub killed: bool,
    /// What it said.
    pub message: Option<String>,
    /// Other checks that failed too.
    pub spilled: Vec<String>,
    /// Why others may fail too, where the fault says so.
    pub wide: Option<String>,
}

impl Killed {
    /// Whether all is as it must be.
    pub fn is_fine(&self) -> bool {
        self.killed && (self.spilled.is_empty() || self.wide.is_some())
    }
}

/// The whole matrix.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Matrix {
    /// What went wrong without any fault; nothing should.
    pub baseline: Vec<String>,
    /// One row a fault.
    pub rows: Vec<Killed>,
    /// Requirements that no fault breaks.
    pub without_fault: Vec<String>,
}

impl Matrix {
    /// Whether every requirement is killed by a fault, and no fault does what it does not say.
    pub fn is_fine(&self) -> bool {
        self.baseline.is_empty()
            && self.without_fault.is_empty()
            && self.rows.iter().all(Killed::is_fine)
    }
}

/// Why a fault is not known.
pub fn unknown_fault(id: &str) -> Option<crate::spec::Unknown> {
    let known = || reference::faults().map(|f| f.id);
    (!known().any(|k| k == id)).then(|| crate::spec::Unknown::new("fault", id, known()))
}

/// Runs the plan of `options` once for each fault of `only` (all when empty), `side_by_side` at a time.
/// `done` hears of each row as it comes.
pub async fn selftest(
    options: &RunOptions,
    only: &[String],
    side_by_side: usize,
    mut done: impl FnMut(&Killed),
) -> Result<Matrix, EngineError> {
    let baseline = run_with(options, &[]).await?;
    let mut baseline_wrong = Vec::new();
    if baseline.verdict != Verdict::Conformant {
        baseline_wrong.extend(
            baseline
                .checks
                .iter()
                .filter(|c| c.outcome != Outcome::Passed && c.outcome != Outcome::NotApplicable)
                .map(|c| format!("{}: {}", c.id, c.message.clone().unwrap_or_default())),
        );
        if baseline_wrong.is_empty() {
            baseline_wrong.extend(baseline.reasons.clone());
        }
    }
    baseline_wrong.extend(
        baseline
            .leftovers
            .iter()
            .map(|l| format!("left behind: {l}")),
    );
    let passing: Vec<&str> = baseline
        .checks
        .iter()
        .filter(|c| c.outcome != Outcome::Failed)
        .map(|c| c.id.as_str())
        .collect();
    let faults: Vec<&Fault> = reference::faults()
        .filter(|f| only.is_empty() || only.iter().any(|o| o == f.id || o == requirement_of(f.id)))
        .filter(|f| baseline.run.planned.iter().any(|id| id == f.requirement()))
        .collect();
    let mut rows = Vec::new();
    let mut running = stream::iter(
        faults
            .iter()
            .map(|fault| async move { (*fault, run_with(options, &[fault.id.to_owned()]).await) }),
    )
    .buffer_unordered(side_by_side.max(1));
    while let Some((fault, results)) = running.next().await {
        let results = results?;
        let failed: BTreeMap<&str, Option<&String>> = results
            .checks
            .iter()
            .filter(|c| c.outcome == Outcome::Failed && passing.contains(&c.id.as_str()))
            .map(|c| (c.id.as_str(), c.message.as_ref()))
            .collect();
        let row = Killed {
            fault: fault.id.to_owned(),
            requirement: fault.requirement().to_owned(),
            says: fault.says.to_owned(),
            killed: failed.contains_key(fault.requirement()),
            message: failed.get(fault.requirement()).and_then(|m| m.cloned()),
            spilled: failed
                .keys()
                .filter(|id| **id != fault.requirement())
                .map(|id| (*id).to_owned())
                .collect(),
            wide: fault.wide.map(ToOwned::to_owned),
        };
        done(&row);
        rows.push(row);
    }
    rows.sort_by(|a, b| a.fault.cmp(&b.fault));
    let without_fault = baseline
        .run
        .planned
        .iter()
        .filter(|id| {
            only.is_empty() && !reference::faults().any(|f| f.requirement() == id.as_str())
        })
        .cloned()
        .collect();
    Ok(Matrix {
        baseline: baseline_wrong,
        rows,
        without_fault,
    })
}

/// One run of the plan on a reference of its own.
async fn run_with(options: &RunOptions, faults: &[String]) -> Result<Results, EngineError> {
    let clock = options.clock.restarted();
    let reference = Reference::start(ReferenceOptions {
        clock,
        faults: faults.to_vec(),
        ..ReferenceOptions::default()
    })
    .await
    .map_err(|e| EngineError::Cluster(format!("the embedded reference does not start: {e}")))?;
    let mut options = options.clone();
    options.id = engine::new_run_id();
    options.clock = clock;
    options.specs = Arc::clone(&options.specs);
    options.reference = true;
    options.faults = faults.to_vec();
    options.target.kubeconfig_text = Some(reference.kubeconfig());
    options.out = None;
    let (events, _) = mpsc::unbounded_channel();
    let (_keep, interrupt) = watch::channel(Interrupt::No);
    let results = engine::run(options, events, interrupt).await;
    reference.world.shutdown();
    results
}
