//! What became of each requirement between two results: of two releases, two distributions, two days.
//!
//! An outcome gets worse where something can no longer be said to hold. `failed` to `could-not-run` is neither better nor
//! worse: nothing was found out. What only one of the two was asked is listed and counts for neither. The verdict as a
//! whole may get worse all the same, by a new requirement that fails.

use std::collections::HashMap;

use indexmap::IndexMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::model::{CheckResult, Level, Outcome, Results, Target, Verdict};

mod render;

pub use render::{junit, markdown, text};

/// What takes this many times as long is slower, if it is also [`SLOWER_BY`] more: below, it is the weather of a cluster.
pub const SLOWER_TIMES: f64 = 2.0;
/// The least difference that counts, in seconds.
pub const SLOWER_BY: f64 = 5.0;
/// The most times that are said, for a result may claim any number of seconds.
const MOST_TIMES: f64 = 1e6;

/// The difference between two results.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// The version of this format.
    pub api_version: &'static str,
    /// The kind of this document: `Diff`.
    pub kind: &'static str,
    /// The earlier result, or the one that is the measure.
    pub from: Side,
    /// The later one.
    pub to: Side,
    /// In what the runs differ, besides what they found: such a difference may be why.
    pub differences: Vec<Difference>,
    /// Whether anything got worse: a requirement of both, or the verdict.
    pub is_worse: bool,
    /// How many requirements both results were asked for.
    pub compared: usize,
    /// Requirements that no longer hold, or of which that can no longer be told.
    pub worse: Vec<Change>,
    /// Requirements that hold now, or no longer concern the product, and did not before.
    pub better: Vec<Change>,
    /// Requirements that failed and of which nothing can be told now.
    pub unclear: Vec<Change>,
    /// Requirements that only the later run was asked for.
    pub new: Vec<Change>,
    /// Requirements that only the earlier run was asked for.
    pub gone: Vec<Change>,
    /// Checks that passed both times, and set-ups, that took much longer.
    pub slower: Vec<Slower>,
}

/// One of the two results.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// Where it was read from, as it was given.
    pub path: String,
    /// The run's id.
    pub run: String,
    /// When the run began.
    pub started: Timestamp,
    /// What the checks say together.
    pub verdict: Verdict,
    /// How many checks have a result.
    pub checks: usize,
}

/// One thing in which the two runs differ.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What differs, like `release`.
    pub what: String,
    /// What it was; absent if the earlier result does not say.
    pub from: Option<String>,
    /// What it is; absent if the later one does not say.
    pub to: Option<String>,
}

/// What became of one requirement.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its id.
    pub id: String,
    /// How much it weighs.
    pub level: Level,
    /// How it ended; absent if the earlier run was not asked for it, or ended before it.
    pub from: Option<Outcome>,
    /// How it ends; absent if the later run was not asked for it, or ended before it.
    pub to: Option<Outcome>,
    /// A code for why it does not pass.
    pub reason: Option<String>,
    /// What is wrong, in a sentence.
    pub message: Option<String>,
}

/// Something that took much longer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slower {
    /// The id of the check or set-up.
    pub id: String,
    /// How long it took, in seconds.
    pub from: f64,
    /// How long it takes.
    pub to: f64,
    /// How many times as long that is.
    pub times: f64,
}

/// A result and where it was read from.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Where, as a person wrote it.
    pub path: &'a str,
    /// The result.
    pub results: &'a Results,
}

/// What a result says of a requirement that its run was asked for.
#[derive(Clone, Copy)]
struct Said<'a> {
    id: &'a str,
    /// Absent if the run ended before it.
    check: Option<&'a CheckResult>,
}

impl Said<'_> {
    /// A planned check without a result says as little as one that could not run.
    fn outcome(self) -> Outcome {
        self.check.map_or(Outcome::CouldNotRun, |c| c.outcome)
    }
}

/// What the result says, by id, in the order of its checks and then of its plan.
fn said(results: &Results) -> IndexMap<&str, Said<'_>> {
    let mut all = IndexMap::new();
    for check in &results.checks {
        let id = check.id.as_str();
        all.entry(id).or_insert(Said {
            id,
            check: Some(check),
        });
    }
    for id in &results.run.planned {
        all.entry(id.as_str()).or_insert(Said { id, check: None });
    }
    all
}

/// Compares two results.
pub fn diff(from: Given, to: Given) -> Diff {
    let (before, now) = (said(from.results), said(to.results));
    let mut diff = Diff {
        api_version: crate::API_VERSION,
        kind: "Diff",
        from: side(from),
        to: side(to),
        differences: differences(from.results, to.results),
        is_worse: false,
        compared: 0,
        worse: Vec::new(),
        better: Vec::new(),
        unclear: Vec::new(),
        new: Vec::new(),
        gone: Vec::new(),
        slower: Vec::new(),
    };
    for (id, now) in &now {
        let Some(before) = before.get(id) else {
            diff.new.push(change(None, Some(*now)));
            continue;
        };
        diff.compared += 1;
        let (was, is) = (before.outcome(), now.outcome());
        let list = match rank(is).cmp(&rank(was)) {
            std::cmp::Ordering::Equal => {
                if let (Some(was), Some(is)) = (before.check, now.check)
                    && is.outcome == Outcome::Passed
                {
                    diff.slower.extend(slower(id, was.seconds, is.seconds));
                }
                continue;
            }
            std::cmp::Ordering::Greater => &mut diff.worse,
            std::cmp::Ordering::Less if is.is_settled() => &mut diff.better,
            std::cmp::Ordering::Less => &mut diff.unclear,
        };
        list.push(change(Some(*before), Some(*now)));
    }
    let gone = before.iter().filter(|(id, _)| !now.contains_key(*id));
    diff.gone = gone.map(|(_, said)| change(Some(*said), None)).collect();
    // What failed comes first: what could not run often hangs on it.
    diff.worse
        .sort_by_key(|change| change.to != Some(Outcome::Failed));
    diff.slower.extend(slower_setups(from.results, to.results));
    diff.slower.sort_by(|a, b| b.times.total_cmp(&a.times));
    diff.is_worse = !diff.worse.is_empty() || grade(diff.to.verdict) > grade(diff.from.verdict);
    diff
}

/// How far an outcome is from what is wanted.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Passed => 0,
        Outcome::NotApplicable => 1,
        Outcome::CouldNotRun => 2,
        Outcome::Failed => 3,
    }
}

fn grade(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Conformant => 0,
        Verdict::Incomplete => 1,
        Verdict::NonConformant => 2,
    }
}

fn side(given: Given) -> Side {
    Side {
        path: given.path.to_owned(),
        run: given.results.run.id.clone(),
        started: given.results.run.started,
        verdict: given.results.verdict,
        checks: given.results.checks.len(),
    }
}

fn change(before: Option<Said>, now: Option<Said>) -> Change {
    let latest = now.or(before);
    let check = latest.and_then(|said| said.check);
    Change {
        id: latest.map(|said| said.id.to_owned()).unwrap_or_default(),
        level: check
            .or_else(|| before?.check)
            .map_or(Level::Core, |check| check.level),
        from: before.and_then(|said| said.check).map(|c| c.outcome),
        to: now.and_then(|said| said.check).map(|c| c.outcome),
        reason: check.and_then(|check| check.reason.clone()),
        message: match (now, check) {
            (Some(_), None) => Some("planned, but the run ended before it".to_owned()),
            (_, check) => check.and_then(|check| check.message.clone()),
        },
    }
}

fn slower(id: &str, from: f64, to: f64) -> Option<Slower> {
    // Below a tenth of a second nothing is measured, and nothing is to be divided by.
    let times = (to / from.max(0.1)).min(MOST_TIMES);
    (times >= SLOWER_TIMES && to - from >= SLOWER_BY).then(|| Slower {
        id: id.to_owned(),
        from,
        to,
        times: (times * 10.0).round() / 10.0,
    })
}

fn slower_setups(from: &Results, to: &Results) -> Vec<Slower> {
    let passed = |results: &'_ Results| -> HashMap<String, f64> {
        let passed = results.setups.iter();
        let passed = passed.filter(|setup| setup.outcome == Outcome::Passed);
        passed
            .map(|setup| (setup.id.clone(), setup.seconds))
            .collect()
    };
    let (before, now) = (passed(from), passed(to));
    let mut found: Vec<Slower> = now
        .iter()
        .filter_map(|(id, seconds)| slower(id, *before.get(id)?, *seconds))
        .collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

/// What is asked of each of two results.
type Fact = fn(&Results) -> Option<String>;

/// In what the two runs differ: the suite, what was asked, what was checked.
fn differences(from: &Results, to: &Results) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, from: Option<String>, to: Option<String>| {
        if from != to {
            differences.push(Difference {
                what: what.to_owned(),
                from,
                to,
            });
        }
    };
    let both = |of: fn(&Results) -> Option<String>| (of(from), of(to));
    let facts: [(&str, Fact); 11] = [
        ("suite version", |r| Some(r.suite.version.clone())),
        ("requirements (digest)", |r| {
            Some(r.suite.specs_digest.chars().take(12).collect())
        }),
        ("profile", |r| Some(r.run.profile.clone())),
        ("release", |r| Some(r.run.release.clone())),
        ("target", |r| {
            let target = match r.run.target {
                Target::Cluster => "cluster",
                Target::Reference => "reference",
            };
            Some(target.to_owned())
        }),
        ("selection", |r| {
            let of = |name: &str, globs: &[String]| {
                let globs = globs.iter().map(|glob| format!("--{name} {glob}"));
                globs.collect::<Vec<_>>()
            };
            let mut all = of("only", &r.run.selection.only);
            all.extend(of("skip", &r.run.selection.skip));
            (!all.is_empty()).then(|| all.join(" "))
        }),
        ("faults", |r| {
            (!r.run.faults.is_empty()).then(|| r.run.faults.join(", "))
        }),
        ("complete", |r| Some(r.run.complete.to_string())),
        ("Kubernetes", |r| r.cluster.version.clone()),
        ("platform", |r| r.cluster.platform.clone()),
        ("architecture", |r| r.cluster.architecture.clone()),
    ];
    for (what, of) in facts {
        let (from, to) = both(of);
        compare(what, from, to);
    }
    let versions = |results: &Results| -> IndexMap<String, Option<String>> {
        let found = results.components.iter();
        found.map(|c| (c.name.clone(), c.version.clone())).collect()
    };
    let (before, now) = (versions(from), versions(to));
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let version = |of: &IndexMap<String, Option<String>>| of.get(name).cloned().flatten();
        compare(name, version(&before), version(&now));
    }
    let (before, now) = (&from.features, &to.features);
    for (name, feature) in before {
        if let Some(other) = now.get(name)
            && other.present != feature.present
        {
            let word = |present: bool| Some(if present { "present" } else { "absent" }.to_owned());
            compare(
                &format!("feature {name}"),
                word(feature.present),
                word(other.present),
            );
        }
    }
    differences
}

#[cfg(test)]
mod tests;
