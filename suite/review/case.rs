//! An opened submission with everything that its rules look at, and what a rule is.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::open::Opened;
use super::{About, Options, Refusal};
use crate::checks;
use crate::cluster::{Evidence, Facts};
use crate::engine::{Plan, Recording};
use crate::report::model::{self, CheckResult, Results, SetupResult, Target};
use crate::report::text::one_line;
use crate::seal::submission::Record;
use crate::seal::{Product, PublicKey, Verified};
use crate::spec::{Program, Requirement, Specs};

/// The most sentences that one rule says.
const MAX_SENTENCES: usize = 5;
/// The longest sentence, in characters.
const MAX_SENTENCE: usize = 1200;

/// The most patterns that a plan is made with.
const MAX_PATTERNS: usize = 1000;

/// One rule that a submission is held to.
pub(super) struct Rule {
    /// `group/name`, stable: bots and people refer to it.
    pub id: &'static str,
    /// What it asks for, in a sentence.
    pub title: &'static str,
    /// What it is about.
    pub of: Of,
    /// Finds what breaks it: sentences.
    pub find: fn(&Case) -> Vec<String>,
}

/// What a rule is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Any result.
    Result,
    /// One that is to count for a mark: not a sample.
    Submission,
}

impl Rule {
    pub(super) fn applies(&self, case: &Case) -> bool {
        match self.of {
            Of::Result => true,
            Of::Submission => !case.is_allowed_sample(),
        }
    }
}

/// What a broken rule says, bounded and fit to print.
pub(super) fn refusals(rule: &Rule, broken: Vec<String>) -> impl Iterator<Item = Refusal> {
    let more = broken.len().saturating_sub(MAX_SENTENCES);
    let rest = (more > 0).then(|| format!("and {more} more of this kind"));
    let all = broken.into_iter().take(MAX_SENTENCES).chain(rest);
    let (rule, title) = (rule.id, rule.title);
    all.map(move |message| Refusal {
        rule,
        title,
        message: fit(&message),
    })
}

/// Somebody else's words, made fit to print.
pub(super) fn fit(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(one_line).collect();
    crate::outcome::shorten(&lines.join("\n"), MAX_SENTENCE)
}

/// An opened submission, with everything made again that can be.
pub(super) struct Case<'a> {
    pub specs: &'a Specs,
    pub options: &'a Options<'a>,
    pub results: Results,
    pub product: Option<Product>,
    pub recording: Recording,
    pub verified: Verified,
    pub key: PublicKey,
    pub key_known: bool,
    pub junit: Vec<u8>,
    pub html: Vec<u8>,
    /// Where it is, or is to be.
    pub place: PathBuf,
    /// What the profile needs for the release; an error where one of them is unknown.
    pub plan: Result<Plan, String>,
    /// What was found on the cluster, looked at again.
    pub facts: Result<Facts, String>,
    /// Whether the namespace was made, for each attempt that checked something in it.
    pub namespaces: Vec<Result<(), String>>,
    /// What was left behind, looked at again.
    pub leftovers: Result<Vec<String>, String>,
    /// The image's id, as its set-up saw it again.
    pub image: Option<String>,
    /// What came of each check when it was executed again, in the order of the results.
    pub replayed: Vec<(String, Result<(), String>)>,
    /// What came of each plugin when it was followed again.
    pub plugins: Vec<(String, Result<(), String>)>,
}

impl<'a> Case<'a> {
    pub(super) async fn new(opened: Opened, options: &'a Options<'a>) -> Self {
        let Opened {
            verified,
            key,
            key_known,
            results,
            product,
            recording,
            junit,
            html,
            folder,
        } = opened;
        let specs = options.specs;
        let plan = plan(specs, &results);
        let attempt = last_attempt(&recording);
        let replay = recording.replay();
        let facts = replay.facts(attempt).await;
        let leftovers = replay.leftovers(attempt).await;
        let mut namespaces = Vec::new();
        for attempt in checked_in(&recording) {
            let made = replay.namespace(attempt).await;
            namespaces.push(made.map_err(|stop| format!("attempt {attempt}: {}", stop.message())));
        }
        let image = last_attempt_at(&recording, checks::IMAGE.id);
        let image = replay.value(&checks::IMAGE, image).await.ok();
        let mut replayed = Vec::new();
        // What is named twice is refused, and not executed as often as somebody likes.
        let mut seen = BTreeSet::new();
        let mut first = |place: Option<&model::Evidence>| {
            place.is_none_or(|place| seen.insert(place.path.clone()))
        };
        for setup in &results.setups {
            if first(setup.evidence.as_ref()) {
                replayed.push((setup.id.clone(), replay.judge_setup(setup).await));
            }
        }
        for check in &results.checks {
            if first(check.evidence.as_ref()) {
                replayed.push((check.id.clone(), replay.judge(check).await));
            }
            for attempt in &check.attempts {
                if first(attempt.evidence.as_ref()) {
                    replayed.push((check.id.clone(), replay.judge_attempt(check, attempt).await));
                }
            }
        }
        let mut plugins = Vec::new();
        for plugin in &results.plugins {
            if first(plugin.evidence.as_ref()) {
                plugins.push((plugin.name.clone(), replay.judge_plugin(plugin).await));
            }
        }
        Self {
            specs,
            options,
            results,
            product,
            recording,
            verified,
            key,
            key_known,
            junit,
            html,
            place: options.place.clone().unwrap_or(folder),
            plan,
            facts: facts.map_err(|stop| stop.message().to_owned()),
            namespaces,
            leftovers: leftovers.map_err(|stop| stop.message().to_owned()),
            image: image
                .and_then(|value| value["imageID"].as_str().map(ToOwned::to_owned))
                .filter(|id| !id.is_empty()),
            replayed,
            plugins,
        }
    }

    pub(super) fn program(&self) -> &'a Program {
        self.specs.program()
    }

    /// Whether it is of the embedded reference.
    pub(super) fn is_sample(&self) -> bool {
        self.results.run.target == Target::Reference
    }

    /// Whether it is, and may be.
    pub(super) fn is_allowed_sample(&self) -> bool {
        self.is_sample() && self.options.allow_sample
    }

    pub(super) fn record(&self) -> Option<Record> {
        let product = self.product.as_ref()?;
        Some(Record::new(product, &self.results, self.program()))
    }

    pub(super) fn about(&self) -> About {
        let (results, shown) = (&self.results, |text: &str| one_line(text).into_owned());
        About {
            run: shown(&results.run.id),
            target: Some(results.run.target),
            profile: shown(&results.run.profile),
            release: shown(&results.run.release),
            kubernetes: results.cluster.version.as_deref().map(shown),
            suite: shown(&results.suite.version),
            totals: results.all_totals(),
            submission: self.record(),
            key: self.key.hint(),
            key_known: self.key_known,
        }
    }

    /// The results of checks whose requirement is known, with it.
    pub(super) fn known(&self) -> impl Iterator<Item = (&CheckResult, &'a Requirement)> {
        let checks = self.results.checks.iter();
        checks.filter_map(|check| Some((check, self.specs.requirement(&check.id)?)))
    }

    /// The evidence that an entry of the results names.
    pub(super) fn evidence(&self, place: Option<&model::Evidence>) -> Option<&Evidence> {
        self.recording.evidence.get(&place?.path)
    }

    /// Everything that has evidence: name, when it began and how long it took as the result says, and where that is.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let setups = self.results.setups.iter().map(Entry::of_setup);
        let checks = self.results.checks.iter().map(Entry::of_check);
        let attempts = self.results.checks.iter().flat_map(|check| {
            check.attempts.iter().map(|attempt| Entry {
                id: &check.id,
                started: attempt.started,
                evidence: attempt.evidence.as_ref(),
            })
        });
        let plugins = self.results.plugins.iter().map(|plugin| Entry {
            id: &plugin.name,
            started: plugin.started,
            evidence: plugin.evidence.as_ref(),
        });
        setups.chain(checks).chain(attempts).chain(plugins)
    }
}

/// A check, an earlier attempt at it, a set-up, or a plugin.
pub(super) struct Entry<'a> {
    pub id: &'a str,
    pub started: jiff::Timestamp,
    pub evidence: Option<&'a model::Evidence>,
}

impl<'a> Entry<'a> {
    fn of_setup(setup: &'a SetupResult) -> Self {
        Self {
            id: &setup.id,
            started: setup.started,
            evidence: setup.evidence.as_ref(),
        }
    }

    fn of_check(check: &'a CheckResult) -> Self {
        Self {
            id: &check.id,
            started: check.started,
            evidence: check.evidence.as_ref(),
        }
    }
}

fn plan(specs: &Specs, results: &Results) -> Result<Plan, String> {
    let run = &results.run;
    // Each is held against each requirement.
    if run.selection.only.len() + run.selection.skip.len() > MAX_PATTERNS {
        return Err(format!(
            "`--only` and `--skip` are given more than {MAX_PATTERNS} times"
        ));
    }
    let profile = specs.profile(&run.profile).map_err(|e| e.to_string())?;
    let release = specs.release(&run.release).map_err(|e| e.to_string())?;
    Plan::new(
        specs,
        profile,
        &release.name,
        &run.selection.only,
        &run.selection.skip,
    )
    .map_err(|e| e.to_string())
}

/// The last time that the run was begun or gone on with.
pub(super) fn last_attempt(recording: &Recording) -> u32 {
    last_attempt_at(recording, "run/discovery")
}

/// The attempts in which there were checks or set-ups that asked for something.
fn checked_in(recording: &Recording) -> BTreeSet<u32> {
    let all = recording.evidence.values();
    let checked = all.filter(|e| !e.id.starts_with("run/") && !e.exchanges.is_empty());
    checked.map(|evidence| evidence.attempt).collect()
}

fn last_attempt_at(recording: &Recording, id: &str) -> u32 {
    let all = recording.evidence.values();
    let attempts = all.filter(|evidence| evidence.id == id).map(|e| e.attempt);
    attempts.max().unwrap_or(1)
}
