//! A run's evidence, read back, and its checks executed over it again.

use std::{collections::BTreeMap, io::Read, path::Path, sync::Arc};

use futures::{FutureExt, future::BoxFuture};

use crate::{
    checks::{self, Check, Cx, RunContext, Setup, SetupResult},
    cluster::{Evidence, Session},
    outcome::{CouldNotRun, Outcome, Stop},
    report::model::{self, CheckResult},
};

/// Bounds on an archive of evidence, which may come from anybody.
const MAX_ENTRIES: usize = 20_000;
const MAX_UNPACKED: u64 = 512 << 20;
const MAX_ENTRY: u64 = 64 << 20;

/// The evidence of a run.
#[derive(Debug)]
pub struct Recording {
    /// What all checks shared.
    pub context: Arc<RunContext>,
    /// The evidence, by its path in the archive.
    pub evidence: BTreeMap<String, Evidence>,
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

    /// Reads an archive of evidence, within bounds on everything.
    pub fn unpack(reader: impl Read) -> Result<Self, RecordingError> {
        let limited = flate2::read::GzDecoder::new(reader).take(MAX_UNPACKED);
        let mut archive = tar::Archive::new(limited);
        let mut context = None;
        let mut evidence = BTreeMap::new();
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
            if name == "run.json" {
                context = Some(serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?);
                continue;
            }
            let one: Evidence = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
            if name != Evidence::path(&one.id, one.attempt) {
                return Err(bad(format!(
                    "it holds the evidence of `{}`, attempt {}",
                    one.id, one.attempt
                )));
            }
            if evidence.insert(name.clone(), one).is_some() {
                return Err(bad("it is there twice".to_owned()));
            }
        }
        let context: RunContext = context.ok_or_else(|| RecordingError::Entry {
            name: "run.json".to_owned(),
            why: "it is missing".to_owned(),
        })?;
        Ok(Self {
            context: Arc::new(context),
            evidence,
        })
    }

    /// Executes a check again over its evidence. `None`: there is none of it.
    pub async fn replay(&self, check: &'static Check, attempt: u32) -> Option<Replayed> {
        let evidence = self.evidence.get(&Evidence::path(check.id, attempt))?;
        let mut setups = BTreeMap::new();
        for need in check.needs {
            let used = evidence
                .uses
                .iter()
                .find(|(id, _)| id == need.id)
                .map_or(1, |(_, attempt)| *attempt);
            setups.insert(need.id, self.setup(need, used).await);
        }
        let session = Session::replay(evidence);
        let started = session.started_ms();
        let cx = Cx::new(session, Arc::clone(&self.context), setups);
        let outcome = guarded(check.prove(&cx)).await;
        let outcome = match outcome {
            // What was recorded and never asked for again is no evidence of this outcome.
            Ok(()) if cx.session.unused() > 0 => Err(Stop::CouldNotRun(
                CouldNotRun::EvidenceMissing,
                format!(
                    "{} recorded exchanges were not asked for again",
                    cx.session.unused()
                ),
            )),
            other => other,
        };
        Some(Replayed {
            outcome,
            started,
            ended: cx.session.now_ms(),
        })
    }

    /// Executes a check again and compares it with its result, to the byte. The error says what differs.
    pub async fn judge(&self, result: &CheckResult) -> Result<(), String> {
        let evidence = result
            .evidence
            .as_ref()
            .ok_or("the result names no evidence")?;
        let check =
            checks::find(&result.id).ok_or("this version of the suite has no such check")?;
        let attempt = self
            .evidence
            .get(&evidence.path)
            .ok_or("the evidence that it names is not there")?
            .attempt;
        if evidence.path != Evidence::path(check.id, attempt) {
            return Err(format!(
                "the evidence `{}` is not this check's",
                evidence.path
            ));
        }
        let applicable = matches!(
            result.outcome,
            model::Outcome::Passed | model::Outcome::Failed
        ) || !self.evidence[&evidence.path].exchanges.is_empty();
        if !applicable && self.evidence[&evidence.path].uses.is_empty() {
            // Nothing was asked: the outcome follows from the facts, not from exchanges.
            return Ok(());
        }
        let replayed = self
            .replay(check, attempt)
            .await
            .ok_or("there is no evidence of it")?;
        let again = result.clone().ended(&replayed.outcome);
        let seconds = model::seconds(std::time::Duration::from_millis(
            replayed.ended - replayed.started,
        ));
        for (what, seen, said) in [
            (
                "outcome",
                format!("{}", again.outcome),
                format!("{}", result.outcome),
            ),
            (
                "reason",
                format!("{:?}", again.reason),
                format!("{:?}", result.reason),
            ),
            (
                "message",
                format!("{:?}", again.message),
                format!("{:?}", result.message),
            ),
            (
                "expected",
                format!("{:?}", again.expected),
                format!("{:?}", result.expected),
            ),
            (
                "observed",
                format!("{:?}", again.observed),
                format!("{:?}", result.observed),
            ),
            (
                "lastState",
                format!("{:?}", again.last_state),
                format!("{:?}", result.last_state),
            ),
            (
                "seconds",
                format!("{seconds}"),
                format!("{}", result.seconds),
            ),
        ] {
            if seen != said {
                return Err(format!(
                    "its {what} is {said} in the result and {seen} over the evidence"
                ));
            }
        }
        Ok(())
    }

    fn setup<'a>(&'a self, setup: &'static Setup, attempt: u32) -> BoxFuture<'a, SetupResult> {
        async move {
            let Some(evidence) = self.evidence.get(&Evidence::path(setup.id, attempt)) else {
                let why = format!("there is no evidence of `{}`, attempt {attempt}", setup.id);
                return SetupResult {
                    value: Err(Stop::CouldNotRun(CouldNotRun::EvidenceMissing, why)),
                    attempt,
                };
            };
            let mut setups = BTreeMap::new();
            for need in setup.needs {
                let used = evidence
                    .uses
                    .iter()
                    .find(|(id, _)| id == need.id)
                    .map_or(1, |(_, attempt)| *attempt);
                setups.insert(need.id, self.setup(need, used).await);
            }
            let cx = Cx::new(Session::replay(evidence), Arc::clone(&self.context), setups);
            let value = guarded(setup.make(&cx)).await.map(Arc::new);
            SetupResult { value, attempt }
        }
        .boxed()
    }
}

/// A check executed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// How it ended.
    pub outcome: Outcome,
    /// When it began, in milliseconds since the run's start.
    pub started: u64,
    /// When it saw its last answer.
    pub ended: u64,
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
