//! A run's evidence, read back, and its checks executed over it again.

use std::{borrow::Cow, collections::BTreeMap, io::Read, path::Path, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};

use super::{cleanup, journal, own_namespace_of};
use crate::{
    checks::{self, Cx, RunContext, Setup, SetupResult},
    cluster::{Config, Evidence, Facts, Session},
    digest::sha256,
    outcome::{CouldNotRun, Outcome, Stop},
    report::{
        model::{self, Attempt, CheckResult},
        text::{MAX_TEXT, bounded},
    },
};

/// Bounds on an archive of evidence, which may come from anybody. A run of 200 checks on a real cluster makes 400
/// entries, 8 MB and less than a million values.
const MAX_ENTRIES: usize = 5_000;
const MAX_UNPACKED: u64 = 96 << 20;
const MAX_ENTRY: u64 = 32 << 20;
/// A value of JSON in memory is many times what it is in the file, if it is small.
const MAX_VALUES: usize = 3_000_000;

/// The evidence of a run, in its result folder.
pub const EVIDENCE_FILE: &str = "evidence.tar.gz";
/// The context of the run.
pub const CONTEXT: &str = "run.json";
/// The ids of the evidence that belongs to no check: what was found, the namespace, the clean-up.
pub const OF_THE_RUN: [&str; 3] = ["run/discovery", "run/namespace", "run/cleanup"];

/// The evidence of a run.
#[derive(Debug)]
pub struct Recording {
    /// What all checks shared.
    pub context: Arc<RunContext>,
    /// The evidence, by its path in the archive.
    pub evidence: BTreeMap<String, Evidence>,
    /// SHA-256 of each entry, by its path, lower-case hexadecimal.
    pub digests: BTreeMap<String, String>,
}

/// Why an archive of evidence cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It cannot be read or unpacked.
    #[error("the evidence cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It breaks a bound.
    #[error("the evidence is too large: {0}")]
    TooLarge(String),
    /// It is not packed as a run packs it.
    #[error("the archive of evidence is not as a run packs it: {0}")]
    NotAsPacked(String),
    /// An entry is not what it should be.
    #[error("the evidence entry `{name}` is not valid: {why}")]
    Entry {
        /// The entry's name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

impl Recording {
    /// Reads an `evidence.tar.gz`.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        Self::unpack(std::fs::File::open(path)?)
    }

    /// Reads an archive of evidence, within bounds on everything. It must be, to the byte, what a run of this suite
    /// packs: nothing in it is left unread.
    pub fn unpack(mut reader: impl Read) -> Result<Self, RecordingError> {
        let mut packed = Vec::new();
        reader
            .by_ref()
            .take(MAX_UNPACKED)
            .read_to_end(&mut packed)?;
        let mut gzip = flate2::bufread::GzDecoder::new(packed.as_slice());
        let mut unpacked = Vec::new();
        gzip.by_ref()
            .take(MAX_UNPACKED + 1)
            .read_to_end(&mut unpacked)?;
        if unpacked.len() as u64 > MAX_UNPACKED {
            return Err(RecordingError::TooLarge(format!(
                "more than {MAX_UNPACKED} bytes unpacked"
            )));
        }
        let plain = gzip.header().is_some_and(|header| {
            header.mtime() == 0
                && header.filename().is_none()
                && header.comment().is_none()
                && header.extra().is_none()
        });
        if !plain || !gzip.into_inner().is_empty() {
            return Err(RecordingError::NotAsPacked(
                "there is something before or after the archive".to_owned(),
            ));
        }
        Self::of_tar(&unpacked)
    }

    /// Packs the evidence as a run does.
    pub fn pack(&self) -> Result<Vec<u8>, RecordingError> {
        let mut entries: Vec<(&str, Vec<u8>)> = self
            .evidence
            .iter()
            .map(|(path, evidence)| (path.as_str(), journal::to_json(evidence)))
            .collect();
        entries.push((CONTEXT, journal::to_json(self.context.as_ref())));
        entries.sort();
        let mut tar = tar::Builder::new(journal::gzip(Vec::new()));
        for (name, bytes) in entries {
            journal::append(&mut tar, name, &bytes)?;
        }
        Ok(tar.into_inner()?.finish()?)
    }

    /// SHA-256 of a piece of evidence as it is packed, lower-case hexadecimal.
    pub fn digest(evidence: &Evidence) -> String {
        sha256(journal::to_json(evidence))
    }

    fn of_tar(bytes: &[u8]) -> Result<Self, RecordingError> {
        let mut archive = tar::Archive::new(bytes);
        let mut packed = Compared(bytes);
        let mut again = tar::Builder::new(&mut packed);
        let mut values = 0;
        let mut context = None;
        let mut evidence = BTreeMap::new();
        let mut digests = BTreeMap::<String, String>::new();
        for (index, entry) in archive.entries()?.enumerate() {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let bad = |why: String| RecordingError::Entry {
                name: name.clone(),
                why,
            };
            if index >= MAX_ENTRIES {
                return Err(RecordingError::TooLarge(format!(
                    "more than {MAX_ENTRIES} entries"
                )));
            }
            if entry.header().entry_type() != tar::EntryType::Regular || !is_plain(&name) {
                return Err(bad("it is not a plain file inside the archive".to_owned()));
            }
            if entry.size() > MAX_ENTRY {
                return Err(RecordingError::TooLarge(format!(
                    "`{name}` has {} bytes",
                    entry.size()
                )));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            values += bytes
                .iter()
                .filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{'))
                .count();
            if values > MAX_VALUES {
                return Err(RecordingError::TooLarge(format!(
                    "more than {MAX_VALUES} values"
                )));
            }
            let earlier = digests.last_key_value().map(|(last, _)| last.as_str());
            if earlier.is_some_and(|last| last >= name.as_str()) {
                return Err(bad("it is there twice, or out of order".to_owned()));
            }
            digests.insert(name.clone(), sha256(&bytes));
            let written = if name == CONTEXT {
                let read: RunContext =
                    serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
                let written = journal::to_json(&read);
                context = Some(read);
                written
            } else {
                let one: Evidence =
                    serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
                if name != Evidence::path(&one.id, one.attempt) {
                    return Err(bad(format!(
                        "it holds the evidence of `{}`, attempt {}",
                        one.id, one.attempt
                    )));
                }
                let written = journal::to_json(&one);
                evidence.insert(name.clone(), one);
                written
            };
            if written != bytes {
                return Err(bad(
                    "it holds something that a run does not write, or not as it writes it"
                        .to_owned(),
                ));
            }
            if journal::append(&mut again, &name, &bytes).is_err() {
                return Err(bad("it is not packed as a run packs it".to_owned()));
            }
        }
        if again.finish().is_err() {
            return Err(RecordingError::NotAsPacked(
                "it does not end as a run ends it".to_owned(),
            ));
        }
        drop(again);
        if !packed.0.is_empty() {
            return Err(RecordingError::NotAsPacked(
                "there is something behind its end".to_owned(),
            ));
        }
        let context: RunContext = context.ok_or_else(|| RecordingError::Entry {
            name: CONTEXT.to_owned(),
            why: "it is missing".to_owned(),
        })?;
        Ok(Self {
            context: Arc::new(context),
            evidence,
            digests,
        })
    }

    /// Executes a check again and compares it with its result, to the byte. The error says what differs.
    pub async fn judge(&self, result: &CheckResult) -> Result<(), String> {
        let Some(again) = self.again(result).await? else {
            return Ok(());
        };
        differ([
            (
                "outcome",
                again.outcome.to_string(),
                result.outcome.to_string(),
            ),
            (
                "reason",
                shown(again.reason.as_deref()),
                shown(result.reason.as_deref()),
            ),
            (
                "message",
                shown(again.message.as_deref()),
                shown(result.message.as_deref()),
            ),
            (
                "expected",
                shown(again.expected.as_deref()),
                shown(result.expected.as_deref()),
            ),
            (
                "observed",
                shown(again.observed.as_deref()),
                shown(result.observed.as_deref()),
            ),
            (
                "lastState",
                shown(again.last_state.as_deref()),
                shown(result.last_state.as_deref()),
            ),
            (
                "seconds",
                again.seconds.to_string(),
                result.seconds.to_string(),
            ),
        ])
    }

    /// The same for an earlier attempt at a check.
    pub async fn judge_attempt(
        &self,
        check: &CheckResult,
        attempt: &Attempt,
    ) -> Result<(), String> {
        let said = CheckResult {
            outcome: attempt.outcome,
            evidence: attempt.evidence.clone(),
            ..check.clone()
        };
        let Some(again) = self.again(&said).await? else {
            return Ok(());
        };
        differ([
            (
                "earlier outcome",
                again.outcome.to_string(),
                attempt.outcome.to_string(),
            ),
            (
                "earlier reason",
                shown(again.reason.as_deref()),
                shown(attempt.reason.as_deref()),
            ),
            (
                "earlier message",
                shown(again.message.as_deref()),
                shown(attempt.message.as_deref()),
            ),
            (
                "earlier seconds",
                again.seconds.to_string(),
                attempt.seconds.to_string(),
            ),
        ])
    }

    /// A check's result, made again over the evidence that it names. `None`: it was not executed, since what was known
    /// before decided it.
    async fn again(&self, said: &CheckResult) -> Result<Option<CheckResult>, String> {
        let check = checks::find(&said.id).ok_or("this version of the suite has no such check")?;
        let evidence = self.named(check.id, said.evidence.as_ref(), "check")?;
        let executed = matches!(
            said.outcome,
            model::Outcome::Passed | model::Outcome::Failed
        );
        if !executed && evidence.exchanges.is_empty() && evidence.uses.is_empty() {
            return Ok(None);
        }
        let setups = self.setups(check.needs, evidence).await;
        let cx = Cx::new(Session::replay(evidence), Arc::clone(&self.context), setups);
        let outcome = guarded(check.prove(&cx)).await;
        let outcome = outcome.and_then(|()| all_used(&cx.session));
        Ok(Some(CheckResult {
            seconds: seconds(cx.session.started_ms(), cx.session.now_ms()),
            ..said.clone().ended(&outcome)
        }))
    }

    /// The evidence of a check or set-up, which its result names.
    fn named(
        &self,
        id: &str,
        named: Option<&model::Evidence>,
        what: &str,
    ) -> Result<&Evidence, String> {
        let named = named.ok_or("the result names no evidence")?;
        let evidence = self
            .evidence
            .get(&named.path)
            .ok_or("the evidence that it names is not there")?;
        if named.path == Evidence::path(id, evidence.attempt) {
            Ok(evidence)
        } else {
            Err(format!(
                "the evidence `{}` is not this {what}'s",
                named.path
            ))
        }
    }

    /// Makes a set-up again over its evidence and compares it with its result. The error says what differs.
    pub async fn judge_setup(&self, result: &model::SetupResult) -> Result<(), String> {
        let setup =
            checks::find_setup(&result.id).ok_or("this version of the suite has no such set-up")?;
        let evidence = self.named(setup.id, result.evidence.as_ref(), "set-up")?;
        let made = self.made(setup, evidence.attempt).await;
        if made.result.value.is_ok() && made.unused > 0 {
            return Err(not_asked(made.unused));
        }
        let stop = made.result.value.as_ref().err();
        let message = stop.map(|stop| bounded(stop.message(), MAX_TEXT, "the evidence"));
        let message = message.map(Cow::into_owned);
        let seconds = seconds(made.started, made.ended);
        let outcome = model::Outcome::from(&made.result.value);
        differ([
            ("outcome", outcome.to_string(), result.outcome.to_string()),
            (
                "message",
                shown(message.as_deref()),
                shown(result.message.as_deref()),
            ),
            ("seconds", seconds.to_string(), result.seconds.to_string()),
        ])
    }

    /// What a set-up's attempt gave.
    pub async fn value(
        &self,
        setup: &'static Setup,
        attempt: u32,
    ) -> Outcome<Arc<serde_json::Value>> {
        self.made(setup, attempt).await.result.value
    }

    /// Looks at the cluster again as it was recorded.
    pub async fn facts(&self, attempt: u32) -> Outcome<Facts> {
        let session = self.of_the_run("run/discovery", attempt)?;
        let config = Config {
            components: self.context.components.clone(),
            ..Config::default()
        };
        let facts = Facts::discover(&session, &config).await?;
        all_used(&session)?;
        Ok(facts)
    }

    /// Cleans up again as it was recorded: what was left.
    pub async fn leftovers(&self, attempt: u32) -> Outcome<Vec<String>> {
        let session = self.of_the_run("run/cleanup", attempt)?.in_any_order();
        let cx = Cx::new(session, Arc::clone(&self.context), BTreeMap::new());
        let own = self.context.namespace == own_namespace_of(&self.context.id);
        let left = cleanup::clean(&cx, own).await;
        all_used(&cx.session)?;
        Ok(left)
    }

    fn of_the_run(&self, id: &str, attempt: u32) -> Outcome<Session> {
        let path = Evidence::path(id, attempt);
        let evidence = self.evidence.get(&path).ok_or_else(|| {
            Stop::CouldNotRun(
                CouldNotRun::EvidenceMissing,
                format!("there is no evidence `{path}`"),
            )
        })?;
        Ok(Session::replay(evidence))
    }

    /// What the set-ups gave on which a piece of evidence builds.
    fn setups<'a>(
        &'a self,
        needs: &'a [&'static Setup],
        evidence: &'a Evidence,
    ) -> BoxFuture<'a, BTreeMap<&'static str, SetupResult>> {
        async move {
            let mut setups = BTreeMap::new();
            for need in needs {
                let mut uses = evidence.uses.iter();
                let used = uses.find(|(id, _)| id == need.id);
                let attempt = used.map_or(1, |(_, attempt)| *attempt);
                setups.insert(need.id, self.made(need, attempt).await.result);
            }
            setups
        }
        .boxed()
    }

    async fn made(&self, setup: &'static Setup, attempt: u32) -> Made {
        let Some(evidence) = self.evidence.get(&Evidence::path(setup.id, attempt)) else {
            let why = format!("there is no evidence of `{}`, attempt {attempt}", setup.id);
            return Made {
                result: SetupResult {
                    value: Err(Stop::CouldNotRun(CouldNotRun::EvidenceMissing, why)),
                    attempt,
                },
                started: 0,
                ended: 0,
                unused: 0,
            };
        };
        let setups = self.setups(setup.needs, evidence).await;
        let cx = Cx::new(Session::replay(evidence), Arc::clone(&self.context), setups);
        let value = guarded(setup.make(&cx)).await.map(Arc::new);
        Made {
            result: SetupResult { value, attempt },
            started: cx.session.started_ms(),
            ended: cx.session.now_ms(),
            unused: cx.session.unused(),
        }
    }
}

/// A set-up made again.
struct Made {
    result: SetupResult,
    started: u64,
    ended: u64,
    unused: usize,
}

/// What was recorded and never asked for again is no evidence.
fn all_used(session: &Session) -> Outcome {
    match session.unused() {
        0 => Ok(()),
        unused => Err(Stop::CouldNotRun(
            CouldNotRun::EvidenceMissing,
            not_asked(unused),
        )),
    }
}

fn not_asked(exchanges: usize) -> String {
    format!("over the evidence, {exchanges} recorded exchanges were not asked for again")
}

/// How long something took, as results say it; begin and end in milliseconds.
fn seconds(started: u64, ended: u64) -> f64 {
    model::seconds(Duration::from_millis(ended.saturating_sub(started)))
}

/// A text of a result as it stands in messages.
fn shown(text: Option<&str>) -> String {
    format!("{text:?}")
}

/// The first of several values that is one thing over the evidence and another in the result.
fn differ<const N: usize>(values: [(&str, String, String); N]) -> Result<(), String> {
    match values.into_iter().find(|(_, seen, said)| seen != said) {
        None => Ok(()),
        Some((what, seen, said)) => Err(format!(
            "its {what} is {said} in the result and {seen} over the evidence"
        )),
    }
}

/// Takes what is written for as long as it is what is expected.
struct Compared<'a>(&'a [u8]);

impl std::io::Write for Compared<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .strip_prefix(bytes)
            .ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Names that stay inside: relative, forward slashes, no `..`, printable.
fn is_plain(name: &str) -> bool {
    name.len() <= 200
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '.' | '@' | '_'))
}

/// Runs a check's code; a panic in it is a defect of ours, never a verdict on the distribution.
pub(super) async fn guarded<T>(code: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    match std::panic::AssertUnwindSafe(code).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                .unwrap_or_default();
            Err(Stop::CouldNotRun(
                CouldNotRun::Defect,
                format!("the check broke: {said}"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn names_stay_inside() {
        assert!(is_plain("katib/a/b@2.json"));
        for name in ["../x", "/x", "a//b", "a/../b", "", "a\\b", "a\0b", "./a"] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
