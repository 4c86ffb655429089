//! Proves that every check can fail: each fault of the reference turns exactly its own check red.
//!
//! Each fault is shown alone, to the checks of its component, on a reference of its own. Time passes there as fast as
//! nothing happens ([`crate::hurry`]), so that a check that waits for what never comes costs no minute.

use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc as std_mpsc,
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::{
    engine::{self, EngineError, Interrupt, RunOptions},
    hurry,
    reference::{self, Fault, Reference, ReferenceOptions},
    report::model::{CheckResult, Outcome, Results, Verdict},
    spec::{Unknown, glob},
};

/// The longest that a check waits for anything. Time stands still while the reference works, so that this is waiting
/// alone; that it suffices is shown by the run without a fault.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What became of one fault.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The fault's id.
    pub fault: String,
    /// The requirement that it breaks.
    pub requirement: String,
    /// What the distribution then does.
    pub says: String,
    /// How the requirement's check ended; the fault is killed where it failed.
    pub outcome: Option<Outcome>,
    /// What that check said.
    pub message: Option<String>,
    /// Other checks that failed, and pass without the fault.
    pub spilled: Vec<String>,
    /// Other checks that could then not run, since what they build on did not come about.
    pub blocked: Vec<String>,
    /// Whether no check of the component passed any more.
    pub nothing_passed: bool,
    /// Why others may fail too, where the fault says so.
    pub wide: Option<String>,
    /// How long it took, in seconds of the wall.
    pub seconds: f64,
}

impl Row {
    /// Whether the requirement's check failed.
    pub fn killed(&self) -> bool {
        self.outcome == Some(Outcome::Failed)
    }

    /// Whether more went wrong than the fault says.
    pub fn spills(&self) -> bool {
        self.wide.is_none() && (self.nothing_passed || !self.spilled.is_empty())
    }

    /// Whether all is as it must be.
    pub fn is_fine(&self) -> bool {
        self.killed() && !self.spills()
    }
}

/// The whole matrix.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Matrix {
    /// What went wrong without any fault; nothing should.
    pub baseline: Vec<String>,
    /// One row a fault, in the order of the components and their faults.
    pub rows: Vec<Row>,
    /// Requirements that no fault breaks.
    pub without_fault: Vec<String>,
}

impl Matrix {
    /// Whether every requirement is killed by a fault, and no fault does what it does not say.
    pub fn is_fine(&self) -> bool {
        self.baseline.is_empty()
            && self.without_fault.is_empty()
            && self.rows.iter().all(Row::is_fine)
    }
}

/// What is heard of a self-test as it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// So many faults will be shown.
    Planned(usize),
    /// What came of one.
    Shown(&'a Row),
}

/// Why a fault is not known.
pub fn unknown_fault(id: &str) -> Option<Unknown> {
    let known = || reference::faults().map(|f| f.id);
    (!known().any(|k| k == id)).then(|| Unknown::new("fault", id, known()))
}

/// The faults that one of the patterns matches, by their own id or their requirement's; all where there is no pattern.
///
/// # Errors
///
/// A pattern that matches none.
pub fn choose(only: &[String]) -> Result<Vec<&'static Fault>, Unknown> {
    let matches = |pattern: &str, fault: &Fault| {
        glob(pattern, fault.id) || glob(pattern, fault.requirement())
    };
    for pattern in only {
        if !reference::faults().any(|fault| matches(pattern, fault)) {
            let known = reference::faults().map(|f| f.id);
            return Err(Unknown::new("fault", pattern, known));
        }
    }
    Ok(reference::faults()
        .filter(|fault| only.is_empty() || only.iter().any(|pattern| matches(pattern, fault)))
        .collect())
}

/// Runs the checks of the components of `faults` without any fault, then those of its component with each of them,
/// `side_by_side` at a time. `options` says the rest of the run. `hear` is told of each row as it comes.
pub fn selftest(
    options: &RunOptions,
    faults: &[&'static Fault],
    side_by_side: usize,
    mut hear: impl FnMut(Progress<'_>),
) -> Result<Matrix, EngineError> {
    let mut components: Vec<&str> = faults.iter().map(|f| component(f.id)).collect();
    components.dedup();
    let mut healthy: HashMap<&str, Results> = HashMap::new();
    in_parallel(
        &components,
        side_by_side,
        |component| run_with(options, component, None),
        |component, (results, _)| {
            healthy.insert(component, results);
        },
    )?;
    let faults: Vec<&'static Fault> = faults
        .iter()
        .filter(|fault| {
            let planned = &healthy[component(fault.id)].run.planned;
            planned.iter().any(|id| id == fault.requirement())
        })
        .copied()
        .collect();
    hear(Progress::Planned(faults.len()));
    let mut rows: Vec<(usize, Row)> = Vec::new();
    in_parallel(
        &faults,
        side_by_side,
        |fault| run_with(options, component(fault.id), Some(fault)),
        |fault, (results, took)| {
            let row = row(fault, &healthy[component(fault.id)], &results, took);
            hear(Progress::Shown(&row));
            let place = faults.iter().position(|f| f.id == fault.id);
            rows.push((place.unwrap_or_default(), row));
        },
    )?;
    rows.sort_by_key(|(place, _)| *place);
    let mut wrong = Vec::new();
    let mut without_fault = Vec::new();
    for name in &components {
        let results = &healthy[name];
        wrong.extend(wrong_without_fault(results));
        let planned = results.run.planned.iter().cloned();
        without_fault.extend(
            planned.filter(|id| !reference::faults().any(|f| f.requirement() == id.as_str())),
        );
    }
    Ok(Matrix {
        baseline: wrong,
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        without_fault,
    })
}

fn component(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

/// What is wrong with a run that nothing should be wrong with.
fn wrong_without_fault(results: &Results) -> Vec<String> {
    let mut wrong: Vec<String> = results
        .checks
        .iter()
        .filter(|c| !c.outcome.is_settled())
        .map(|c| format!("{}: {}", c.id, c.message.as_deref().unwrap_or_default()))
        .collect();
    if wrong.is_empty() && results.verdict != Verdict::Conformant {
        wrong.extend(results.reasons.iter().cloned());
    }
    wrong.extend(
        results
            .leftovers
            .iter()
            .map(|l| format!("left behind: {l}")),
    );
    wrong
}

fn row(fault: &Fault, healthy: &Results, results: &Results, took: Duration) -> Row {
    let passes = |id: &str| {
        let check = healthy.checks.iter().find(|c| c.id == id);
        check.is_some_and(|c| c.outcome == Outcome::Passed)
    };
    let others = |outcome: Outcome| -> Vec<String> {
        let is_one =
            |c: &&CheckResult| c.outcome == outcome && c.id != fault.requirement() && passes(&c.id);
        results
            .checks
            .iter()
            .filter(is_one)
            .map(|c| c.id.clone())
            .collect()
    };
    let own = results.checks.iter().find(|c| c.id == fault.requirement());
    Row {
        fault: fault.id.to_owned(),
        requirement: fault.requirement().to_owned(),
        says: fault.says.to_owned(),
        outcome: own.map(|c| c.outcome),
        message: own.and_then(|c| c.message.clone()),
        spilled: others(Outcome::Failed),
        blocked: others(Outcome::CouldNotRun),
        nothing_passed: !results.checks.iter().any(|c| c.outcome == Outcome::Passed),
        wide: fault.wide.map(ToOwned::to_owned),
        seconds: took.as_secs_f64(),
    }
}

/// Does the work of each item on one of `threads` threads, and hands what came of it to `done` on this one. The first
/// error ends it.
fn in_parallel<T: Copy + Send + Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(T) -> Result<R, EngineError> + Sync,
    mut done: impl FnMut(T, R),
) -> Result<(), EngineError> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, receiver) = std_mpsc::channel();
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if sender.send((*item, work(*item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (item, result) in receiver {
            done(item, result?);
        }
        Ok(())
    })
}

/// One run of a component's checks on a reference of its own, and how long it took. Only without a fault is it cleaned up:
/// what remains is the baseline's to show.
fn run_with(
    options: &RunOptions,
    component: &str,
    fault: Option<&Fault>,
) -> Result<(Results, Duration), EngineError> {
    let started = Instant::now();
    let results = hurry::run(async || {
        let clock = options.clock.restarted();
        let faults: Vec<String> = fault.iter().map(|f| f.id.to_owned()).collect();
        let reference = Reference::start(ReferenceOptions {
            clock,
            faults: faults.clone(),
            ..ReferenceOptions::default()
        })
        .await
        .map_err(|e| EngineError::Cluster(format!("the embedded reference does not start: {e}")))?;
        let mut options = options.clone();
        options.id = engine::new_run_id();
        options.clock = clock;
        options.only = vec![format!("{component}/*")];
        options.timeouts = options.timeouts.at_most(LONGEST_WAIT);
        options.reference = true;
        options.target.kubeconfig_text = Some(reference.kubeconfig());
        options.out = None;
        options.keep = !faults.is_empty();
        options.faults = faults;
        let (events, _) = mpsc::unbounded_channel();
        let (_keep, interrupt) = watch::channel(Interrupt::No);
        let results = engine::run(options, events, interrupt).await;
        reference.world.shutdown();
        results
    })
    .map_err(|e| EngineError::Cluster(format!("no runtime can be made: {e}")))??;
    Ok((results, started.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(outcome: Outcome, spilled: &[&str], wide: Option<&str>) -> Row {
        Row {
            fault: "katib/a/b".to_owned(),
            requirement: "katib/a/b".to_owned(),
            says: String::new(),
            outcome: Some(outcome),
            message: None,
            spilled: spilled.iter().map(ToString::to_string).collect(),
            blocked: Vec::new(),
            nothing_passed: false,
            wide: wide.map(ToOwned::to_owned),
            seconds: 0.0,
        }
    }

    #[test]
    fn no_fault_is_listed_twice() {
        let mut seen = std::collections::BTreeSet::new();
        let twice: Vec<&str> = reference::faults()
            .map(|fault| fault.id)
            .filter(|id| !seen.insert(*id))
            .collect();
        assert_eq!(twice, [""; 0]);
    }

    #[test]
    fn only_a_failure_of_its_own_check_alone_kills_a_fault() {
        assert!(row(Outcome::Failed, &[], None).is_fine());
        for survivor in [
            Outcome::Passed,
            Outcome::CouldNotRun,
            Outcome::NotApplicable,
        ] {
            assert!(
                !row(survivor, &[], Some("it says so")).is_fine(),
                "{survivor}"
            );
        }
        assert!(!row(Outcome::Failed, &["katib/a/c"], None).is_fine());
        assert!(row(Outcome::Failed, &["katib/a/c"], Some("it says so")).is_fine());
        let mut red = row(Outcome::Failed, &[], None);
        red.nothing_passed = true;
        assert!(!red.is_fine());
    }

    #[test]
    fn faults_are_chosen_by_their_id_or_their_requirement() {
        let ids = |only: &str| -> Vec<&str> {
            let chosen = choose(&[only.to_owned()]).unwrap();
            chosen.iter().map(|f| f.id).collect()
        };
        assert_eq!(
            ids("katib/validation/objective:type"),
            ["katib/validation/objective:type"]
        );
        assert!(ids("katib/validation/objective").len() > 1);
        let unknown = choose(&["katib/api/kindz".to_owned()]).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "unknown fault `katib/api/kindz`; did you mean `katib/api/kinds`?"
        );
    }

    #[test]
    fn work_is_shared_out_and_an_error_ends_it() {
        let mut sum = 0;
        in_parallel(&[1, 2, 3, 4, 5], 2, |n| Ok(n * 10), |_, tens| sum += tens).unwrap();
        assert_eq!(sum, 150);
        let failed = in_parallel(
            &[1, 2, 3],
            2,
            |_| Err::<(), _>(EngineError::Cluster("no".to_owned())),
            |_, ()| {},
        );
        assert!(failed.is_err());
    }
}
