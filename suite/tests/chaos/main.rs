//! Promises kept under trouble: a flaky network, an unwell API server, a wrong clock or a lost pod is never read as a
//! distribution that is wrong, nor one that is wrong as one that is right; no run hangs; nothing is left unsaid.
//!
//! Every run has a seed, from which all else follows. A few are made by default, and those that broke a promise once;
//! `CHAOS_RUNS=500 cargo test --test chaos -- --nocapture` makes more, and `CHAOS_SEED=7` makes that one alone.

#![expect(
    clippy::print_stdout,
    reason = "figures are asked for with --nocapture"
)]

#[path = "../common/mod.rs"]
mod common;

mod broke;
mod case;
mod run;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::SignedDuration;
use kfconform::spec;

use broke::BROKE;
use case::{Case, Kind};
use run::tried;

/// How many runs are made where nobody says.
const RUNS: u64 = 24;

/// The figures of one kind of trouble.
#[derive(Debug, Default)]
struct Figures {
    runs: u32,
    struck: u32,
    no_look: u32,
    passed: u32,
    failed: u32,
    could_not_run: u32,
    leftovers: u32,
    wrong: u32,
}

/// Tries seeds and says what came of them; two at a time, for a machine has two cores.
fn try_all(seeds: impl Iterator<Item = u64>) -> (BTreeMap<String, Figures>, Vec<String>) {
    let seeds: Vec<u64> = seeds.collect();
    let next = AtomicU64::new(0);
    let all = Mutex::new((BTreeMap::<String, Figures>::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let case = Case::of(*seed);
                    let (seen, wrong) = tried(&case);
                    let (figures, wrongs) = &mut *all.lock().expect("no panic");
                    let figures = figures.entry(case.kind.name()).or_default();
                    figures.runs += 1;
                    figures.struck += seen.struck;
                    figures.wrong += u32::from(!wrong.is_empty());
                    match &seen.results {
                        None => figures.no_look += 1,
                        Some(results) => {
                            let totals = results.all_totals();
                            figures.passed += totals.passed;
                            figures.failed += totals.failed;
                            figures.could_not_run += totals.could_not_run;
                            figures.leftovers += u32::from(!results.leftovers.is_empty());
                        }
                    }
                    if !wrong.is_empty() {
                        let said = format!("{case:?}:\n    {}", wrong.join("\n    "));
                        println!("{said}");
                        wrongs.push(said);
                    }
                }
            });
        }
    });
    all.into_inner().expect("no panic")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_trouble_is_read_as_a_verdict() {
    let seeds = if let Some(seed) = number("CHAOS_SEED") {
        seed..seed + 1
    } else {
        let from = number("CHAOS_FROM").unwrap_or_default();
        from..from + number("CHAOS_RUNS").unwrap_or(RUNS)
    };
    let (figures, wrong) = try_all(seeds);
    println!(
        "{:12}{:>6}{:>8}{:>9}{:>8}{:>8}{:>15}{:>11}{:>7}",
        "trouble",
        "runs",
        "struck",
        "no look",
        "passed",
        "failed",
        "could not run",
        "leftovers",
        "wrong"
    );
    for (kind, f) in &figures {
        println!(
            "{kind:12}{:>6}{:>8}{:>9}{:>8}{:>8}{:>15}{:>11}{:>7}",
            f.runs, f.struck, f.no_look, f.passed, f.failed, f.could_not_run, f.leftovers, f.wrong
        );
    }
    assert!(
        wrong.is_empty(),
        "{} runs broke a promise:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        number("CHAOS_SEED").is_some()
            || figures
                .values()
                .all(|f| f.passed + f.could_not_run > 0 || f.no_look > 0),
        "trouble that did nothing"
    );
}

#[test]
fn what_broke_a_promise_keeps_it() {
    let mut wrong = Vec::new();
    for broke in BROKE {
        let all: Vec<&str> = kfconform::checks::all().map(|check| check.id).collect();
        let globs: Vec<String> = broke.only.iter().map(ToString::to_string).collect();
        let only = spec::select(&all, &globs, &[]).expect("they are there");
        let case = Case {
            seed: broke.chaos.seed,
            kind: Kind::Api(broke.chaos.trouble),
            only: only.into_iter().map(str::to_owned).collect(),
            fault: broke.fault,
            chaos: Some(broke.chaos),
            skew: SignedDuration::ZERO,
        };
        let (seen, found) = tried(&case);
        assert!(seen.struck > 0, "nothing was struck: {}", broke.was);
        wrong.extend(
            found
                .into_iter()
                .map(|why| format!("{}:\n    {why}", broke.was)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
