//! Executes checks again over a recording. A verdict is a pure function of the evidence: here it is computed from it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};

use super::{Recording, cleanup, own_namespace_of, plugins, space};
use crate::{
    checks::{self, Cx, Setup, SetupResult},
    cluster::{Config, Evidence, Facts, Session},
    outcome::{CouldNotRun, Outcome, Stop},
    report::{
        model::{self, Attempt, CheckResult},
        plugins::PluginResult,
        text::{MAX_TEXT, bounded},
    },
};

/// The checks of a run, over its recording.
#[derive(Debug)]
pub struct Replay<'a> {
    recording: &'a Recording,
    /// The set-ups that were made again, by id and attempt.
    made: Mutex<HashMap<(&'static str, u32), Made>>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(recording: &'a Recording) -> Self {
        Self {
            recording,
            made: Mutex::default(),
        }
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
        let cx = Cx::new(
            Session::replay(evidence),
            Arc::clone(&self.recording.context),
            setups,
        );
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
            .recording
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

    /// Follows a plugin again over its evidence and compares what it reported with its result. The error says what differs.
    pub async fn judge_plugin(&self, result: &PluginResult) -> Result<(), String> {
        let all = &self.recording.context.plugins;
        let plugin = all.iter().find(|plugin| plugin.name == result.name);
        let plugin = plugin.ok_or("the run had no such plugin")?;
        let evidence = self.named(&plugins::id(plugin), result.evidence.as_ref(), "plugin")?;
        let context = Arc::clone(&self.recording.context);
        let cx = Cx::new(Session::replay(evidence), context, BTreeMap::new());
        let ready = !evidence.exchanges.is_empty();
        let again = PluginResult {
            evidence: result.evidence.clone(),
            ..plugins::run(&cx, plugin, ready, result.started).await
        };
        if cx.session.unused() > 0 {
            return Err(not_asked(cx.session.unused()));
        }
        differ([
            ("image", again.image.clone(), result.image.clone()),
            (
                "message",
                shown(again.message.as_deref()),
                shown(result.message.as_deref()),
            ),
            (
                "report",
                format!("{:?}", again.report),
                format!("{:?}", result.report),
            ),
            (
                "seconds",
                again.seconds.to_string(),
                result.seconds.to_string(),
            ),
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
            components: self.recording.context.components.clone(),
            ..Config::default()
        };
        let facts = Facts::discover(&session, &config).await?;
        all_used(&session)?;
        Ok(facts)
    }

    /// Makes the namespace again as it was recorded.
    pub async fn namespace(&self, attempt: u32) -> Outcome {
        let session = self.of_the_run("run/namespace", attempt)?;
        let cx = Cx::new(
            session,
            Arc::clone(&self.recording.context),
            BTreeMap::new(),
        );
        // A Profile's owner is never recorded, so that any may stand there.
        let (_, prepared) = space::prepare(&cx, attempt > 1, !self.owns_namespace(), None).await;
        prepared.and_then(|()| all_used(&cx.session))
    }

    /// Whether the run made its namespace itself.
    fn owns_namespace(&self) -> bool {
        let context = &self.recording.context;
        context.namespace == own_namespace_of(&context.id)
    }

    /// Cleans up again as it was recorded: what was left.
    pub async fn leftovers(&self, attempt: u32) -> Outcome<Vec<String>> {
        let session = self.of_the_run("run/cleanup", attempt)?.in_any_order();
        let cx = Cx::new(
            session,
            Arc::clone(&self.recording.context),
            BTreeMap::new(),
        );
        let left = cleanup::clean(&cx, self.owns_namespace()).await;
        all_used(&cx.session)?;
        Ok(left)
    }

    fn of_the_run(&self, id: &str, attempt: u32) -> Outcome<Session> {
        let path = Evidence::path(id, attempt);
        let evidence = self.recording.evidence.get(&path).ok_or_else(|| {
            Stop::CouldNotRun(
                CouldNotRun::EvidenceMissing,
                format!("there is no evidence `{path}`"),
            )
        })?;
        Ok(Session::replay(evidence))
    }

    /// What the set-ups gave on which a piece of evidence builds.
    fn setups<'b>(
        &'b self,
        needs: &'b [&'static Setup],
        evidence: &'b Evidence,
    ) -> BoxFuture<'b, BTreeMap<&'static str, SetupResult>> {
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

    /// Makes a set-up again, once however many checks build on it.
    async fn made(&self, setup: &'static Setup, attempt: u32) -> Made {
        let place = (setup.id, attempt);
        if let Some(made) = self.all_made().get(&place) {
            return made.clone();
        }
        let made = self.make(setup, attempt).await;
        self.all_made().entry(place).or_insert(made).clone()
    }

    fn all_made(&self) -> MutexGuard<'_, HashMap<(&'static str, u32), Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self, setup: &'static Setup, attempt: u32) -> Made {
        let Some(evidence) = self
            .recording
            .evidence
            .get(&Evidence::path(setup.id, attempt))
        else {
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
        let cx = Cx::new(
            Session::replay(evidence),
            Arc::clone(&self.recording.context),
            setups,
        );
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
#[derive(Debug, Clone)]
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
