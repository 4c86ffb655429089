//! What decides on a submission, by the same code for its vendor, a bot and a reviewer, without any network.
//!
//! A submission is somebody's claim. Nothing in it is believed that can be made again: every verdict is recomputed by
//! executing the checks over the recorded exchanges, and every other file follows from the results to the byte. What
//! remains to be believed is that the exchanges were had with the product's cluster; a signature says who claims it.
//!
//! A review first [opens](open) the folder, one gate after the other: whoever stands before a closed one is told why and
//! sees no further. What is open then has to satisfy every [rule](rules), and each broken one is named.

mod case;
pub mod online;
mod open;
mod policy;
mod render;
mod rules;
mod submit;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde::Serialize;

pub use render::{markdown, text};
pub use submit::{SubmitError, Submitted, submit};

use crate::report::html::Exchanges;
use crate::report::model::{Results, Target, Totals};
use crate::seal::folder::VerifiedFile;
use crate::seal::submission::Record;
use crate::seal::{Product, PublicKey};
use crate::spec::Specs;
use case::Case;

/// What a review goes by.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The requirements and the programme's rules.
    pub specs: &'a Specs,
    /// The keys that are known; with none, a submission's own is taken and said to be new.
    pub trust: Vec<PublicKey>,
    /// Whether a result of the embedded reference may be accepted, as the sample that it is.
    pub allow_sample: bool,
    /// The time of the review.
    pub now: Timestamp,
    /// Where the folder is to be, if it is not there yet.
    pub place: Option<PathBuf>,
}

impl Options<'static> {
    /// Those of this program, now.
    pub fn new() -> Self {
        Self {
            specs: Specs::embedded(),
            trust: Vec::new(),
            allow_sample: false,
            now: Timestamp::now(),
            place: None,
        }
    }
}

impl Default for Options<'static> {
    fn default() -> Self {
        Self::new()
    }
}

/// What a review comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that a program can decide is as it must be.
    Accepted,
    /// At least one rule is broken.
    Refused,
    /// This program cannot judge it: another version made it.
    NoVerdict,
}

impl Verdict {
    /// The word in texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::NoVerdict => "no verdict",
        }
    }

    /// The exit code of a review that ends with it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Refused => 1,
            Self::NoVerdict => 3,
        }
    }
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Refusal {
    /// The rule's id, like `results/totals`.
    pub rule: &'static str,
    /// What it asks for.
    pub title: &'static str,
    /// What is wrong, in a sentence fit to print.
    pub message: String,
}

/// What a submission is about, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The run's id.
    pub run: String,
    /// What was checked.
    pub target: Option<Target>,
    /// The profile.
    pub profile: String,
    /// The Kubeflow release.
    pub release: String,
    /// The Kubernetes version.
    pub kubernetes: Option<String>,
    /// Version of the suite.
    pub suite: String,
    /// Numbers of checks by outcome.
    pub totals: Totals,
    /// The product, and for how long its result counts.
    pub submission: Option<Record>,
    /// The key that signed, by its name in bundles.
    pub key: String,
    /// Whether that key was among those that are known.
    pub key_known: bool,
}

/// The outcome of a review.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// The folder.
    pub folder: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// Whether it is only a sample, for which nobody may carry a mark.
    pub sample: bool,
    /// What it is about; absent where that could not be read.
    pub about: Option<About>,
    /// Whose product it is, as the vendor says; absent where that could not be read, and with a bare result.
    pub product: Option<Product>,
    /// The broken rules.
    pub refusals: Vec<Refusal>,
    /// The ids of the rules that hold.
    pub held: Vec<&'static str>,
    /// What only a person can decide, once it is accepted.
    pub left_to_people: Vec<String>,
    /// What was seen of the product's pages, where somebody asked for that. It is advice, and no part of the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<Vec<online::Advice>>,
}

impl Review {
    /// One of a folder of which nothing is known yet.
    pub(crate) fn of(folder: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            verdict: Verdict::Refused,
            sample: false,
            about: None,
            product: None,
            refusals: Vec::new(),
            held: Vec::new(),
            left_to_people: Vec::new(),
            online: None,
        }
    }

    /// Whether a rule is broken.
    pub fn refuses(&self, rule: &str) -> bool {
        self.refusals.iter().any(|refusal| refusal.rule == rule)
    }
}

/// Every rule: id and title, in the order in which they are applied.
pub fn all_rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    let gates = open::GATES.iter().map(|gate| (gate.id, gate.title));
    gates.chain(every_rule().map(|rule| (rule.id, rule.title)))
}

/// Whether a rule is one that any result is held to: that it is true, whole and conformant. The others are about the product,
/// or ask for what only a mark needs.
pub fn holds_any_result(rule: &str) -> bool {
    let mark = |known: &case::Rule| known.id == rule && known.of == case::Of::Submission;
    !rule.starts_with("product/") && !every_rule().any(mark)
}

fn every_rule() -> impl Iterator<Item = &'static case::Rule> {
    rules::RULES.iter().chain(policy::RULES)
}

/// The most reviews at once. Each holds a submission, and all of its evidence, in memory.
const AT_ONCE: usize = 4;
/// What a review may have of stack, in bytes: as much as a program's first thread has.
const STACK: usize = 8 << 20;

/// Reviews folders side by side and gives what came of them in their order.
///
/// Each is reviewed where no network can be asked and no time can be waited for: in a runtime that has neither.
pub fn review_all(folders: &[PathBuf], options: &Options<'_>) -> std::io::Result<Vec<Review>> {
    review_all_seeing(folders, options, |review, _| review)
}

/// What a review had before it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The results. Only those of an accepted submission are more than what somebody says.
    pub results: &'a Results,
    /// Whose product they are about.
    pub product: Option<&'a Product>,
    /// The evidence by its path; empty where the review did not come to it.
    pub exchanges: &'a Exchanges,
    /// The files that are as they were signed; empty where the review did not come to them.
    pub files: &'a [VerifiedFile],
}

/// [`review_all`], with what `see` makes of each review and of what it had before it, if it could open that. No more than
/// a few submissions are in memory at once.
#[expect(
    clippy::missing_panics_doc,
    reason = "it does not, unless a review does"
)]
pub fn review_all_seeing<T: Send>(
    folders: &[PathBuf],
    options: &Options<'_>,
    see: impl Fn(Review, Option<Seen<'_>>) -> T + Sync,
) -> std::io::Result<Vec<T>> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(folders.len()));
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(folder) = folders.get(at) else {
                return Ok(());
            };
            let seen = runtime.block_on(review_seeing(folder, options, &see));
            done.lock().expect("nobody panics with it").push((at, seen));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..folders.len().min(cores).min(AT_ONCE))
            .map(|_| {
                std::thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, work)
            })
            .collect::<Result<_, _>>()?;
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().expect("a review does not panic"));
        ended.collect::<std::io::Result<()>>()
    })?;
    let mut done = done.into_inner().expect("nobody panics with it");
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, seen)| seen).collect())
}

/// Reviews a folder: a submission, or the bare result of a run on the reference.
pub async fn review(folder: &Path, options: &Options<'_>) -> Review {
    review_seeing(folder, options, |review, _| review).await
}

async fn review_seeing<T>(
    folder: &Path,
    options: &Options<'_>,
    see: impl FnOnce(Review, Option<Seen<'_>>) -> T,
) -> T {
    let mut review = Review::of(folder.display().to_string());
    let opened = match open::open(folder, options, &mut review.held) {
        Ok(opened) => opened,
        Err(closed) => {
            review.verdict = closed.verdict;
            review.refusals.push(closed.refusal);
            let claimed = closed.claimed.as_deref();
            let seen = claimed.map(|(results, product)| Seen {
                results,
                product: Some(product),
                exchanges: const { &Exchanges::new() },
                files: &[],
            });
            return see(review, seen);
        }
    };
    let case = Case::new(opened, options).await;
    review.sample = case.is_sample();
    review.about = Some(case.about());
    review.product.clone_from(&case.product);
    for rule in every_rule().filter(|rule| rule.applies(&case)) {
        let broken = (rule.find)(&case);
        if broken.is_empty() {
            review.held.push(rule.id);
        }
        review.refusals.extend(case::refusals(rule, broken));
    }
    if review.refusals.is_empty() {
        review.verdict = Verdict::Accepted;
        review.left_to_people = policy::left_to_people(&case);
    }
    let seen = Seen {
        results: &case.results,
        product: case.product.as_ref(),
        exchanges: &case.recording.evidence,
        files: &case.verified.files,
    };
    see(review, Some(seen))
}
