//! The evidence that CNCF's AI conformance asks of `robust_controller`: that a complex AI operator can be installed, that
//! its pods run, that its webhooks work, and that its custom resources are reconciled.
//!
//! The programme's checklist is filled in by whoever submits. What is said here is computed: the result is opened and held
//! to every rule that a review holds any result to, each check executed again over its evidence; and nothing is said of a
//! result that breaks one.

use std::path::Path;

use serde::Serialize;

use crate::report::model::{CheckResult, Component as Found, Outcome, Results, Target, Verdict};
use crate::report::text::one_line;
use crate::review::{self, Options, Refusal, Review, Seen};
use crate::spec::{Component, glob};

mod render;

/// The id of the item in the checklist.
pub const ITEM: &str = "robust_controller";
/// The list of the checklist in which the item is.
pub const CATEGORY: &str = "operator";
/// The item's own words, which a submission may not change.
pub const DESCRIPTION: &str = "The platform must prove that at least one complex AI operator with a CRD (e.g., Ray, Kubeflow) \
     can be installed and functions reliably. This includes verifying that the operator's pods run correctly, its webhooks are \
     operational, and its custom resources can be reconciled.";
/// The file with the item, filled in.
pub const ITEM_FILE: &str = "robust_controller.yaml";
/// The page that the item names as its evidence.
pub const PAGE_FILE: &str = "robust_controller.md";

/// The minor versions of Kubernetes whose checklist has the item in these words.
const KNOWN_MINORS: std::ops::RangeInclusive<u32> = 33..=37;
/// The longest address that is taken as evidence, in characters.
const MAX_LINK: usize = 500;

/// What the item asks of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// It can be installed, with its custom resource definitions.
    Installed,
    /// Pods run: its own, without which nothing of this happened, and those that it starts.
    Pods,
    /// Its webhooks complete what they are shown, refuse what is wrong, and let through what is right.
    Webhooks,
    /// Its custom resources are reconciled.
    Reconciled,
}

impl Aspect {
    /// What is shown, as a sentence.
    pub fn says(self) -> &'static str {
        match self {
            Self::Installed => "its custom resource definitions are installed",
            Self::Pods => "its pods run",
            Self::Webhooks => "its webhooks are operational",
            Self::Reconciled => "its custom resources are reconciled",
        }
    }
}

/// An operator, and which requirements show what of it.
struct Operator {
    component: Component,
    kinds: &'static str,
    shown_by: [(Aspect, &'static [&'static str]); 4],
}

/// Those with webhooks and custom resources whose requirements show all of it. What Notebooks, Profiles and Pipelines are
/// held to shows no webhook of a resource of their own, and what the Spark operator is held to starts no driver.
const OPERATORS: [Operator; 3] = [
    Operator {
        component: Component::Katib,
        kinds: "Experiment, Suggestion, Trial",
        shown_by: [
            (Aspect::Installed, &["katib/api/*"]),
            (
                Aspect::Pods,
                &[
                    "katib/suggestion/serves",
                    "katib/trial/runs-its-job",
                    "katib/trial/succeeds",
                ],
            ),
            (
                Aspect::Webhooks,
                &["katib/defaults/*", "katib/validation/*"],
            ),
            (
                Aspect::Reconciled,
                &["katib/experiment/*", "katib/suggestion/*", "katib/trial/*"],
            ),
        ],
    },
    Operator {
        component: Component::Kserve,
        kinds: "InferenceService, ServingRuntime, InferenceGraph",
        shown_by: [
            (Aspect::Installed, &["kserve/api/serves-*"]),
            (
                Aspect::Pods,
                &[
                    "kserve/inferenceservice/becomes-ready",
                    "kserve/inferenceservice/answers-predictions",
                    "kserve/inferenceservice/runs-the-minimum-of-replicas",
                ],
            ),
            (
                Aspect::Webhooks,
                &["kserve/defaults/*", "kserve/admission/*"],
            ),
            (
                Aspect::Reconciled,
                &["kserve/inferenceservice/*", "kserve/workload/*"],
            ),
        ],
    },
    Operator {
        component: Component::Trainer,
        kinds: "TrainJob, TrainingRuntime, ClusterTrainingRuntime",
        shown_by: [
            (Aspect::Installed, &["trainer/api/*"]),
            (
                Aspect::Pods,
                &[
                    "trainer/trainjob/completes",
                    "trainer/trainjob/runs-as-many-nodes",
                    "trainer/trainjob/runs-what-it-says",
                ],
            ),
            (
                Aspect::Webhooks,
                &["trainer/defaults/*", "trainer/admission/*"],
            ),
            (Aspect::Reconciled, &["trainer/trainjob/*"]),
        ],
    },
];

/// The profiles with an operator that proves the item, as a sentence names them.
const PROFILES: &str = "certified, katib, kserve or trainer";

/// Why there is no evidence. Nothing is claimed of such a result.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An address is none that a reviewer could open.
    #[error("`{0}` is no address of a page: give what begins with https:// or http://")]
    Link(String),
    /// The folder could not be opened at all.
    #[error("cannot look at the result: {0}")]
    Io(#[from] std::io::Error),
    /// It is of another version of the suite, whose checks may differ.
    #[error("nothing can be said of {ITEM}: {0}")]
    NoVerdict(String),
    /// The run came to no verdict.
    #[error(
        "nothing can be said of {ITEM}: the run is incomplete: {0}; mend that and run it again"
    )]
    Incomplete(String),
    /// A rule that any result is held to is broken.
    #[error("the result does not prove {ITEM}:\n{}\n{}", lines(.0), advice(.0))]
    Broken(Vec<Refusal>),
    /// It is of the embedded reference.
    #[error(
        "the result does not prove {ITEM}: the run was on the embedded reference, not on a cluster; --allow-sample writes a \
         sample, which claims nothing"
    )]
    Reference,
    /// No operator of the item's kind was checked.
    #[error(
        "the result does not prove {ITEM}: profile {profile} shows of no operator that it is installed, its pods run, its \
         webhooks work and its resources are reconciled; run one of the profiles {PROFILES}"
    )]
    NoOperator {
        /// The profile of the run.
        profile: String,
    },
}

fn lines(refusals: &[Refusal]) -> String {
    let line = |refusal: &Refusal| format!("  {}: {}", refusal.rule, refusal.message);
    refusals.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn advice(refusals: &[Refusal]) -> &'static str {
    if refusals.iter().all(|refusal| is_policy(refusal.rule)) {
        "Mend what failed, and run the whole profile again."
    } else {
        "Give a folder as `run --key`, `sign` or `submit` left it, and its key with --trust."
    }
}

/// Whether a rule is about what a true result says.
fn is_policy(rule: &str) -> bool {
    rule.starts_with("policy/")
}

impl ExportError {
    /// The exit code: 1 where the result does not prove it, 3 where nothing can be told, 2 where the command is not usable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Link(_) | Self::Io(_) => 2,
            Self::NoVerdict(_) | Self::Incomplete(_) => 3,
            Self::Broken(_) | Self::Reference | Self::NoOperator { .. } => 1,
        }
    }
}

/// What the item is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Status {
    /// Proven on a cluster.
    Implemented,
    /// Of the reference: left empty, as in the checklist.
    #[serde(rename = "")]
    Sample,
}

/// How much of an aspect was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// What.
    pub aspect: Aspect,
    /// By how many requirements that passed.
    pub passed: usize,
}

/// An operator that proves the item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Its component.
    pub operator: Component,
    /// Its version, where that was found.
    pub version: Option<String>,
    /// What was shown of it.
    pub shown: Vec<Shown>,
}

/// The evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// What the item is said to be.
    pub status: Status,
    /// The checklist that it belongs to, like `v1.34`; absent if the cluster did not say its version.
    pub checklist: Option<String>,
    /// Whether that checklist is known to have the item in the words that are written.
    pub known: bool,
    /// The operators that prove it.
    pub operators: Vec<Proof>,
    /// The text of [`ITEM_FILE`].
    #[serde(skip)]
    pub item: String,
    /// The text of [`PAGE_FILE`].
    #[serde(skip)]
    pub page: String,
}

/// Computes the evidence from a result folder or a submission. `links` are further addresses that the item names.
#[expect(
    clippy::missing_panics_doc,
    reason = "it does not, unless a review does"
)]
pub fn export(
    folder: &Path,
    options: &Options<'_>,
    links: &[String],
) -> Result<Export, ExportError> {
    if let Some(link) = links.iter().find(|link| !is_link(link)) {
        return Err(ExportError::Link(one_line(link).into_owned()));
    }
    let folders = [folder.to_owned()];
    let made = review::review_all_seeing(&folders, options, |review, seen| {
        of_review(&review, seen, options.allow_sample, links)
    })?;
    let made = made.into_iter().next();
    made.expect("there is one of each folder")
}

/// Whether a checklist may name it: an address on one line, of which nothing ends the text that it stands in.
fn is_link(link: &str) -> bool {
    let rest = link
        .strip_prefix("https://")
        .or_else(|| link.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\`|".contains(c);
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain)) && link.len() <= MAX_LINK
}

fn of_review(
    review: &Review,
    seen: Option<Seen<'_>>,
    allow_sample: bool,
    links: &[String],
) -> Result<Export, ExportError> {
    let (Some(seen), Some(about)) = (seen, &review.about) else {
        let why = review
            .refusals
            .iter()
            .map(|refusal| refusal.message.as_str());
        return Err(match review.verdict {
            review::Verdict::NoVerdict => ExportError::NoVerdict(why.collect()),
            _ => ExportError::Broken(review.refusals.clone()),
        });
    };
    let results = seen.results;
    let concern = |refusal: &&Refusal| review::holds_any_result(refusal.rule);
    let broken: Vec<Refusal> = review.refusals.iter().filter(concern).cloned().collect();
    // What is wrong with it comes before what its verdict is.
    let is_true = broken.iter().all(|refusal| is_policy(refusal.rule));
    if results.verdict == Verdict::Incomplete && is_true {
        let why: Vec<_> = results.reasons.iter().map(|why| one_line(why)).collect();
        return Err(ExportError::Incomplete(why.join("; ")));
    }
    if !broken.is_empty() {
        return Err(ExportError::Broken(broken));
    }
    let status = match results.run.target {
        Target::Cluster => Status::Implemented,
        Target::Reference if allow_sample => Status::Sample,
        Target::Reference => return Err(ExportError::Reference),
    };
    let operators = proven(results);
    if operators.is_empty() {
        return Err(ExportError::NoOperator {
            profile: one_line(&results.run.profile).into_owned(),
        });
    }
    let minor = results.cluster.version.as_deref().and_then(minor);
    let mut export = Export {
        status,
        checklist: minor.map(|minor| format!("v1.{minor}")),
        known: minor.is_some_and(|minor| KNOWN_MINORS.contains(&minor)),
        operators: operators.iter().map(Evidence::proof).collect(),
        item: String::new(),
        page: String::new(),
    };
    export.item = render::item(&export, results, links);
    export.page = render::page(&export, results, &operators, about, seen, links);
    Ok(export)
}

/// The minor version in one like `v1.34.4`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("v1.")?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// What the checks of a result show of an operator.
struct Evidence<'a> {
    operator: &'static Operator,
    found: Option<&'a Found>,
    shown: Vec<(Aspect, Vec<&'a CheckResult>)>,
}

impl Evidence<'_> {
    fn proof(&self) -> Proof {
        let shown = self.shown.iter().map(|(aspect, checks)| Shown {
            aspect: *aspect,
            passed: passed(checks),
        });
        let version = self.found.and_then(|found| found.version.as_deref());
        Proof {
            operator: self.operator.component,
            version: version.map(|version| one_line(version).into_owned()),
            shown: shown.collect(),
        }
    }
}

fn passed(checks: &[&CheckResult]) -> usize {
    let passed = |check: &&&CheckResult| check.outcome == Outcome::Passed;
    checks.iter().filter(passed).count()
}

/// The operators of which everything is shown: by something that passed for each aspect, and by nothing that did not.
fn proven(results: &Results) -> Vec<Evidence<'_>> {
    let of = |operator: &'static Operator| {
        // Each requirement shows the first aspect that names it.
        let mut left: Vec<&CheckResult> = results.checks.iter().collect();
        let shown = operator.shown_by.iter().map(|(aspect, patterns)| {
            let named = |check: &CheckResult| patterns.iter().any(|p| glob(p, &check.id));
            let (taken, rest) = left.iter().copied().partition(|check| named(check));
            left = rest;
            (*aspect, taken)
        });
        let name = operator.component.as_str();
        Evidence {
            operator,
            shown: shown.collect(),
            found: results.components.iter().find(|found| found.name == name),
        }
    };
    let holds =
        |check: &&CheckResult| matches!(check.outcome, Outcome::Passed | Outcome::NotApplicable);
    let proves = |evidence: &Evidence<'_>| {
        let mut shown = evidence.shown.iter();
        shown.all(|(_, checks)| passed(checks) > 0 && checks.iter().all(holds))
    };
    OPERATORS.iter().map(of).filter(proves).collect()
}

#[cfg(test)]
mod tests;
