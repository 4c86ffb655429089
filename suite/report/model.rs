//! `results.json`: the record of a run from which everything else is made.
//!
//! The file carries `apiVersion` and `kind`. Readers ignore fields that they do not know, so that a newer suite may add
//! some; a change of meaning needs a new `apiVersion`. The JSON Schema in `specs/schema/results.schema.json` is
//! generated from the types here.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plugins::PluginResult;
use super::text::{MAX_TEXT, bounded};
use crate::outcome::{self, Failure, Stop};
pub use crate::spec::Level;

/// The largest `results.json` that is read. A run of a thousand checks whose messages are bounded stays far below it.
pub const MAX_RESULTS_BYTES: u64 = 32 * 1024 * 1024;

/// The name of the file in a result folder.
pub const RESULTS_FILE: &str = "results.json";

/// Everything that a run found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of this document.
    pub kind: Kind,
    /// The program that ran.
    pub suite: Suite,
    /// What was asked of it, and when.
    pub run: Run,
    /// The cluster that was checked.
    pub cluster: Cluster,
    /// The components as they were found.
    pub components: Vec<Component>,
    /// What the checks say together.
    pub verdict: Verdict,
    /// Why the verdict is not `conformant`; empty if it is.
    pub reasons: Vec<String>,
    /// Number of checks by component, level and outcome, components in the order of the plan.
    pub totals: IndexMap<String, LevelTotals>,
    /// One entry for each check that finished, in the order of the plan.
    pub checks: Vec<CheckResult>,
    /// One entry for each shared set-up that was made.
    pub setups: Vec<SetupResult>,
    /// What working groups' own programs reported beside the checks; no verdict reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginResult>,
    /// Optional capabilities, each with whether the cluster has it and how that was found out.
    pub features: IndexMap<String, Feature>,
    /// The images that the run put on the cluster.
    pub images: Vec<Image>,
    /// Objects that the run made and could not remove, as `Kind/namespace/name`.
    pub leftovers: Vec<String>,
    /// Where the time went.
    pub timing: Timing,
    /// Whether the result may be part of a submission.
    pub submittable: bool,
    /// Every reason against it; empty exactly if `submittable`.
    pub not_submittable_because: Vec<String>,
}

/// The only version of the format so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// `conformance.kubeflow.org/v1`
    #[default]
    #[serde(rename = "conformance.kubeflow.org/v1")]
    V1,
}

/// The only kind of document in this format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// `Results`
    #[default]
    Results,
}

/// The program that ran, and the catalogue of requirements that it held the cluster to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suite {
    /// Version of the program.
    pub version: String,
    /// Source commit that it was built from, if the build knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// SHA-256 of the executable, lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_digest: Option<String>,
    /// SHA-256 over the requirements, profiles and releases in force, lower-case hexadecimal.
    pub specs_digest: String,
    /// Whether `--specs` put other requirements in the place of the embedded ones.
    #[serde(default)]
    pub specs_overridden: bool,
}

/// What was asked of the suite, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The id that labels everything the run made.
    pub id: String,
    /// When the run began.
    pub started: Timestamp,
    /// When it ended; while it goes on, when this file was written.
    pub finished: Timestamp,
    /// What was checked.
    pub target: Target,
    /// The profile whose requirements were planned.
    pub profile: String,
    /// The Kubeflow release that they were taken from.
    pub release: String,
    /// The arguments of the command, without the program's name.
    pub arguments: Vec<String>,
    /// Whether the run came to its end: false while it goes on, and after an interruption.
    pub complete: bool,
    /// How many checks may run at once.
    pub jobs: u32,
    /// Deviations that the reference was told to show.
    #[serde(default)]
    pub faults: Vec<String>,
    /// What narrowed the plan.
    #[serde(default)]
    pub selection: Selection,
    /// The time-outs in force, by name, in seconds.
    #[serde(default)]
    pub timeouts: IndexMap<String, f64>,
    /// Ids of all checks that were to run, in order.
    pub planned: Vec<String>,
    /// Set if the run went on where an earlier one had stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

impl Run {
    /// The arguments that led to the cluster (`--kubeconfig`, `--context`, `--config`), each after a blank: what another
    /// command about the run needs too.
    pub fn cluster_arguments(&self) -> String {
        let mut out = String::new();
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), None),
            };
            if matches!(name, "--kubeconfig" | "--context" | "--config")
                && let Some(value) = value.or_else(|| arguments.next().map(String::as_str))
            {
                out.push_str(&format!(" {name} {}", super::text::shell_quoted(value)));
            }
        }
        out
    }
}

/// What a run checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A cluster reached through a kubeconfig or from inside it.
    Cluster,
    /// The embedded distribution.
    Reference,
}

/// Globs over requirement ids that narrowed the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// Only what one of these matches was planned; empty means everything.
    #[serde(default)]
    pub only: Vec<String>,
    /// What one of these matches was not planned.
    #[serde(default)]
    pub skip: Vec<String>,
}

impl Selection {
    /// Whether nothing narrowed the plan.
    pub fn is_everything(&self) -> bool {
        self.only.is_empty() && self.skip.is_empty()
    }
}

/// What a run took over that was gone on with: after it was interrupted, or to make again what had not passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// When it went on.
    pub at: Timestamp,
    /// Ids of the checks whose results were kept.
    pub kept: Vec<String>,
}

/// The cluster that was checked. A field is absent if the cluster would not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The Kubernetes version as the API server gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The platform as nodes name it, for example the scheme of their `providerID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Processor architectures of the nodes, comma separated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// SHA-256 of what identifies the cluster, so that two results can be told to be of one cluster and nothing of it
    /// is given away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_digest: Option<String>,
}

/// A component as it was found on the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Its name in the catalogue, such as `katib`.
    pub name: String,
    /// Its version, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The way in which it was reached; absent if it was not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_kind: Option<EndpointKind>,
    /// How it was found, or what was looked for in vain.
    pub how_found: String,
}

/// The way to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointKind {
    /// Only through the Kubernetes API.
    KubernetesApi,
    /// An HTTP API through a port-forward.
    PortForward,
    /// An HTTP API at an address inside the cluster.
    InCluster,
    /// An HTTP API at a URL that was given.
    Url,
}

/// What the checks say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every planned check ran, and none failed.
    Conformant,
    /// At least one check failed.
    NonConformant,
    /// None failed, but not everything that was planned could be judged.
    Incomplete,
}

impl Verdict {
    /// The word in files and on the console.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conformant => "conformant",
            Self::NonConformant => "non-conformant",
            Self::Incomplete => "incomplete",
        }
    }

    /// The exit code of a command that ends with this verdict.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Conformant => 0,
            Self::NonConformant => 1,
            Self::Incomplete => 3,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The requirement is met.
    Passed,
    /// The distribution is wrong.
    Failed,
    /// The requirement does not concern this distribution; harmless.
    NotApplicable,
    /// Nothing can be said, because something that is not under test stood in the way.
    CouldNotRun,
}

impl Outcome {
    /// Every outcome, in the order of reports.
    pub const ALL: [Self; 4] = [
        Self::Passed,
        Self::Failed,
        Self::NotApplicable,
        Self::CouldNotRun,
    ];

    /// Whether nothing is left to pass: it did, or does not concern the cluster.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Passed | Self::NotApplicable)
    }

    /// The word in files and on the console.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotApplicable => "not-applicable",
            Self::CouldNotRun => "could-not-run",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl<T> From<&outcome::Outcome<T>> for Outcome {
    fn from(outcome: &outcome::Outcome<T>) -> Self {
        match outcome {
            Ok(_) => Self::Passed,
            Err(Stop::Failed(_)) => Self::Failed,
            Err(Stop::NotApplicable(..)) => Self::NotApplicable,
            Err(Stop::CouldNotRun(..)) => Self::CouldNotRun,
        }
    }
}

/// Numbers of checks of one component by level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LevelTotals {
    /// Of the core requirements.
    pub core: Totals,
    /// Of the extended ones.
    pub extended: Totals,
}

impl LevelTotals {
    /// The numbers of one level.
    pub fn of(&self, level: Level) -> &Totals {
        match level {
            Level::Core => &self.core,
            Level::Extended => &self.extended,
        }
    }

    fn of_mut(&mut self, level: Level) -> &mut Totals {
        match level {
            Level::Core => &mut self.core,
            Level::Extended => &mut self.extended,
        }
    }
}

/// Numbers of checks by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// How many passed.
    pub passed: u32,
    /// How many failed.
    pub failed: u32,
    /// How many do not concern this distribution.
    pub not_applicable: u32,
    /// How many could not be judged.
    pub could_not_run: u32,
}

impl Totals {
    /// The number with this outcome.
    pub fn of(&self, outcome: Outcome) -> u32 {
        match outcome {
            Outcome::Passed => self.passed,
            Outcome::Failed => self.failed,
            Outcome::NotApplicable => self.not_applicable,
            Outcome::CouldNotRun => self.could_not_run,
        }
    }

    /// The number of all. What a file says they are may be beyond all numbers.
    pub fn all(&self) -> u32 {
        let outcomes = Outcome::ALL.into_iter();
        outcomes.fold(0, |all, outcome| all.saturating_add(self.of(outcome)))
    }

    /// Counts one more.
    pub fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::NotApplicable => &mut self.not_applicable,
            Outcome::CouldNotRun => &mut self.could_not_run,
        } += 1;
    }
}

impl std::ops::Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed.saturating_add(other.passed),
            failed: self.failed.saturating_add(other.failed),
            not_applicable: self.not_applicable.saturating_add(other.not_applicable),
            could_not_run: self.could_not_run.saturating_add(other.could_not_run),
        }
    }
}

impl std::iter::Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), std::ops::Add::add)
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// The requirement's id, `component/group/slug`.
    pub id: String,
    /// The first part of the id.
    pub component: String,
    /// How much the requirement weighs.
    pub level: Level,
    /// The requirement's title.
    pub title: String,
    /// How the check ended.
    pub outcome: Outcome,
    /// A code for why it did not pass, such as `no-permission`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the requirement asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was seen instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// The last state of what was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_state: Option<String>,
    /// When the check began.
    pub started: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Earlier attempts that this result replaces, oldest first; empty if the check ran once.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Where its exchanges are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Set if this failure is known, and whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_deviation: Option<KnownDeviation>,
}

impl CheckResult {
    /// The same check with another outcome: sets `outcome` and every field that says why.
    #[must_use]
    pub fn ended(mut self, outcome: &outcome::Outcome) -> Self {
        self.outcome = outcome.into();
        let failure = match outcome {
            Err(Stop::Failed(failure)) => failure.clone(),
            Ok(()) | Err(Stop::NotApplicable(..) | Stop::CouldNotRun(..)) => Failure::default(),
        };
        let kept = |text: &str| bounded(text, MAX_TEXT, "the evidence").into_owned();
        self.reason = match outcome {
            Ok(()) | Err(Stop::Failed(_)) => None,
            Err(Stop::NotApplicable(reason, _)) => Some(reason.code().to_owned()),
            Err(Stop::CouldNotRun(reason, _)) => Some(reason.code().to_owned()),
        };
        self.message = outcome.as_ref().err().map(|stop| kept(stop.message()));
        self.expected = failure.expected.as_deref().map(kept);
        self.observed = failure.observed.as_deref().map(kept);
        self.last_state = failure.last_state.as_deref().map(kept);
        self
    }
}

/// An earlier attempt at a check, kept so that nothing is hidden by running it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The run that made it.
    pub run: String,
    /// How it ended.
    pub outcome: Outcome,
    /// A code for why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Where its exchanges are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

impl CheckResult {
    /// The attempts at a check of which this is the last, oldest first, as a later result holds them.
    #[must_use]
    pub fn into_attempts(mut self, run: &str) -> Vec<Attempt> {
        let mut attempts = std::mem::take(&mut self.attempts);
        attempts.push(Attempt {
            run: run.to_owned(),
            outcome: self.outcome,
            reason: self.reason,
            message: self.message,
            started: self.started,
            seconds: self.seconds,
            evidence: self.evidence,
        });
        attempts
    }
}

/// The exchanges of a check or set-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The entry in `evidence.tar.gz`.
    pub path: String,
    /// SHA-256 of that entry, lower-case hexadecimal.
    pub sha256: String,
}

/// A failure that is known upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownDeviation {
    /// Address of the upstream issue.
    pub issue: String,
    /// What is wrong there, in a sentence.
    pub summary: String,
}

/// What came of a shared set-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetupResult {
    /// Its name.
    pub id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Where its exchanges are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// An optional capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// Whether the cluster has it.
    pub present: bool,
    /// How that was found out.
    pub how: String,
}

/// An image that the run put on the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The reference as written in the pods.
    pub name: String,
    /// The digest that the nodes report, if any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Where the time went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// The length of the run in seconds.
    pub wall_seconds: f64,
    /// The set-up that took longest: no schedule is shorter than it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_setup: Option<LongestSetup>,
    /// The run's length over that of the longest set-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

/// The set-up that took longest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LongestSetup {
    /// Its name.
    pub id: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A duration as files hold it: seconds with three decimals.
pub fn seconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64())
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Why a `results.json` could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file system refused.
    #[error("cannot {verb} `{}`: {source}", path.display())]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// It is no regular file: a link could lead out of the folder, a pipe could block for ever.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than [`MAX_RESULTS_BYTES`].
    #[error("`{}` is larger than {MAX_RESULTS_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is some other document, or one of another version of this format.
    #[error("`{}` is `{api_version}` `{kind}`, not `conformance.kubeflow.org/v1` `Results`", path.display())]
    OtherDocument {
        /// The file.
        path: PathBuf,
        /// What it calls its version.
        api_version: String,
        /// What it calls its kind.
        kind: String,
    },
    /// It does not have the shape of this format.
    #[error("`{}` is not a valid result: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
}

impl Results {
    /// Reads a `results.json` of at most [`MAX_RESULTS_BYTES`].
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let io = |source| ResultsError::Io {
            verb: "read",
            path: path.to_owned(),
            source,
        };
        if !std::fs::symlink_metadata(path).map_err(io)?.is_file() {
            return Err(ResultsError::NotAFile {
                path: path.to_owned(),
            });
        }
        let mut bytes = Vec::new();
        File::open(path)
            .map_err(io)?
            .take(MAX_RESULTS_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        Self::parse(&bytes, path)
    }

    /// Reads the text of a `results.json`; `path` is what errors call it.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ResultsError> {
        /// What every version of the format has.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Header {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
        }

        if bytes.len() as u64 > MAX_RESULTS_BYTES {
            return Err(ResultsError::TooLarge {
                path: path.to_owned(),
            });
        }
        let invalid = |source| ResultsError::Invalid {
            path: path.to_owned(),
            source,
        };
        let Header { api_version, kind } = serde_json::from_slice(bytes).map_err(invalid)?;
        if api_version != "conformance.kubeflow.org/v1" || kind != "Results" {
            return Err(ResultsError::OtherDocument {
                path: path.to_owned(),
                api_version,
                kind,
            });
        }
        serde_json::from_slice(bytes).map_err(invalid)
    }

    /// The text of `results.json`.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("the model has string keys and no type that refuses to be written");
        text.push('\n');
        text
    }

    /// Writes `results.json` in such a way that a crash leaves either the old file or the new one.
    pub fn write(&self, path: &Path) -> Result<(), ResultsError> {
        super::write_whole(path, self.to_json().as_bytes()).map_err(|source| ResultsError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Brings everything that follows from the rest up to date: totals, timing, verdict with its reasons, and whether
    /// the result may be submitted.
    pub fn judge(&mut self) {
        self.totals = totals(&self.checks);
        self.timing = self.timing();
        (self.verdict, self.reasons) = verdict(&self.checks, &self.run.planned, self.run.complete);
        self.not_submittable_because = self.why_not_submittable();
        self.submittable = self.not_submittable_because.is_empty();
    }

    /// Numbers of checks by outcome, over all components and levels.
    pub fn all_totals(&self) -> Totals {
        self.totals.values().map(|t| t.core + t.extended).sum()
    }

    fn timing(&self) -> Timing {
        let wall = self.run.finished.duration_since(self.run.started);
        let wall_seconds = round(wall.as_secs_f64());
        let longest_setup = self
            .setups
            .iter()
            .max_by(|a, b| a.seconds.total_cmp(&b.seconds))
            .map(|setup| LongestSetup {
                id: setup.id.clone(),
                seconds: setup.seconds,
            });
        let ratio = longest_setup
            .as_ref()
            .filter(|longest| longest.seconds > 0.0)
            .map(|longest| round(wall_seconds / longest.seconds));
        Timing {
            wall_seconds,
            longest_setup,
            ratio,
        }
    }

    fn why_not_submittable(&self) -> Vec<String> {
        let run = &self.run;
        let mut reasons = Vec::new();
        if run.target == Target::Reference {
            reasons.push("the run was on the embedded reference, not on a cluster".to_owned());
        }
        if !run.faults.is_empty() {
            reasons.push(format!("faults were switched on: {}", some(&run.faults)));
        }
        if !run.selection.is_everything() {
            reasons.push("`--only` or `--skip` left requirements out".to_owned());
        }
        if self.suite.specs_overridden {
            reasons.push("`--specs` put other requirements in place".to_owned());
        }
        if self.verdict != Verdict::Conformant {
            reasons.push(format!("the verdict is {}", self.verdict));
        }
        reasons
    }
}

/// Numbers of checks by component and level, components in the order in which they first appear.
pub fn totals(checks: &[CheckResult]) -> IndexMap<String, LevelTotals> {
    let mut totals = IndexMap::<String, LevelTotals>::new();
    for check in checks {
        totals
            .entry(check.component.clone())
            .or_default()
            .of_mut(check.level)
            .count(check.outcome);
    }
    totals
}

/// What the checks say together, and why if it is not `conformant`.
///
/// A failure is never outweighed. Short of one, whatever is missing, doubtful or empty makes the verdict `incomplete`:
/// a run in which nothing passed proves nothing.
pub fn verdict(
    checks: &[CheckResult],
    planned: &[impl AsRef<str>],
    complete: bool,
) -> (Verdict, Vec<String>) {
    let ids = |outcome| -> Vec<&str> {
        let of = checks.iter().filter(|check| check.outcome == outcome);
        of.map(|check| check.id.as_str()).collect()
    };
    let failed = ids(Outcome::Failed);
    let could_not_run = ids(Outcome::CouldNotRun);

    let plan: HashSet<&str> = planned.iter().map(AsRef::as_ref).collect();
    let mut judged = HashSet::new();
    let mut astray = Vec::new();
    for check in checks {
        if !plan.contains(check.id.as_str()) || !judged.insert(check.id.as_str()) {
            astray.push(check.id.as_str());
        }
    }
    let plan = planned.iter().map(AsRef::as_ref);
    let missing: Vec<&str> = plan.filter(|id| !judged.contains(id)).collect();

    let mut reasons = Vec::new();
    let mut because = |n: usize, what: &str, ids: &[&str]| {
        if n > 0 {
            let s = if n == 1 { "" } else { "s" };
            reasons.push(format!("{n} check{s} {what}: {}", some(ids)));
        }
    };
    because(failed.len(), "failed", &failed);
    because(could_not_run.len(), "could not run", &could_not_run);
    because(missing.len(), "left no result", &missing);
    because(astray.len(), "not planned, or there twice", &astray);
    if !complete {
        reasons.push("the run did not come to its end".to_owned());
    }
    if ids(Outcome::Passed).is_empty() && failed.is_empty() {
        reasons.push("no check passed".to_owned());
    }

    let verdict = if !failed.is_empty() {
        Verdict::NonConformant
    } else if !reasons.is_empty() {
        Verdict::Incomplete
    } else {
        Verdict::Conformant
    };
    (verdict, reasons)
}

/// The first few of many names: a list that a person reads.
fn some(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The JSON Schema of `results.json`, draft 2020-12.
pub fn schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(Results);
    schema.insert(
        "$id".to_owned(),
        "https://conformance.kubeflow.org/v1/results.schema.json".into(),
    );
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn check(id: &str, outcome: Outcome) -> CheckResult {
        CheckResult {
            id: id.to_owned(),
            outcome,
            ..sample::check("katib/experiment/reaches-goal")
        }
    }

    #[test]
    fn an_outcome_takes_along_why() {
        let check = sample::check("katib/experiment/reaches-goal");
        let why = Stop::CouldNotRun(outcome::CouldNotRun::NoRoom, "no node has room".to_owned());
        let ended = check.clone().ended(&Err(why));
        assert_eq!(ended.outcome, Outcome::CouldNotRun);
        assert_eq!(ended.reason.as_deref(), Some("no-room"));
        assert_eq!(ended.message.as_deref(), Some("no node has room"));
        let ended = ended.ended(&Err(Stop::unlike("it is 2, not 3", "3", "2")));
        assert_eq!(ended.outcome, Outcome::Failed);
        assert_eq!(
            (ended.reason.as_deref(), ended.expected.as_deref()),
            (None, Some("3"))
        );
        assert_eq!(ended.ended(&Ok(())), check);
    }

    #[test]
    fn everything_planned_and_passed_is_conformant() {
        let checks = [
            check("a", Outcome::Passed),
            check("b", Outcome::NotApplicable),
        ];
        assert_eq!(
            verdict(&checks, &["a", "b"], true),
            (Verdict::Conformant, vec![])
        );
    }

    #[test]
    fn whatever_is_missing_or_doubtful_is_never_conformant() {
        use Outcome::{CouldNotRun, Failed, NotApplicable, Passed};
        use Verdict::{Incomplete, NonConformant};
        type Case<'a> = (
            &'a [(&'a str, Outcome)],
            &'a [&'a str],
            bool,
            Verdict,
            &'a str,
        );
        let cases: &[Case] = &[
            (
                &[("a", Passed), ("b", Failed)],
                &["a", "b"],
                true,
                NonConformant,
                "1 check failed: b",
            ),
            (
                &[("a", Failed), ("b", CouldNotRun)],
                &["a", "b"],
                true,
                NonConformant,
                "1 check failed: a",
            ),
            (
                &[("a", Failed)],
                &["a", "b"],
                false,
                NonConformant,
                "the run did not come to its end",
            ),
            (
                &[("a", Passed), ("b", CouldNotRun)],
                &["a", "b"],
                true,
                Incomplete,
                "1 check could not run: b",
            ),
            (
                &[("a", Passed)],
                &["a", "b", "c"],
                true,
                Incomplete,
                "2 checks left no result: b, c",
            ),
            (
                &[("a", Passed)],
                &["a"],
                false,
                Incomplete,
                "the run did not come to its end",
            ),
            (&[], &[], true, Incomplete, "no check passed"),
            (
                &[("a", NotApplicable)],
                &["a"],
                true,
                Incomplete,
                "no check passed",
            ),
            (
                &[("a", Passed), ("a", Passed)],
                &["a"],
                true,
                Incomplete,
                "1 check not planned, or there twice: a",
            ),
            (
                &[("a", Passed), ("z", Passed)],
                &["a"],
                true,
                Incomplete,
                "1 check not planned, or there twice: z",
            ),
        ];
        for (checks, planned, complete, expected, reason) in cases {
            let checks: Vec<_> = checks
                .iter()
                .map(|(id, outcome)| check(id, *outcome))
                .collect();
            let (verdict, reasons) = verdict(&checks, planned, *complete);
            assert_eq!(verdict, *expected, "{reason}");
            assert!(reasons.iter().any(|r| r == reason), "{reason}: {reasons:?}");
        }
    }

    #[test]
    fn a_long_list_of_names_is_cut() {
        assert_eq!(
            some(&["a", "b", "c", "d", "e", "f", "g"]),
            "a, b, c, d, e and 2 more"
        );
    }

    #[test]
    fn only_a_whole_run_of_a_cluster_may_be_submitted() {
        let judged = |change: fn(&mut Results)| {
            let mut results = sample::conformant();
            change(&mut results);
            results.judge();
            assert_eq!(
                results.submittable,
                results.not_submittable_because.is_empty()
            );
            results.not_submittable_because.join("; ")
        };
        assert_eq!(judged(|_| ()), "");
        assert!(judged(|r| r.run.target = Target::Reference).contains("embedded reference"));
        assert!(judged(|r| r.run.faults.push("katib/x".into())).contains("faults"));
        assert!(judged(|r| r.run.selection.skip.push("katib/*".into())).contains("--skip"));
        assert!(judged(|r| r.suite.specs_overridden = true).contains("--specs"));
        assert!(judged(|r| r.run.complete = false).contains("incomplete"));
        assert!(judged(|r| r.checks[0].outcome = Outcome::Failed).contains("non-conformant"));
    }

    #[test]
    fn totals_and_timing_follow_from_the_rest() {
        let results = sample::mixed();
        assert_eq!(results.all_totals().all() as usize, results.checks.len());
        assert_eq!(results.totals["katib"].core.passed, 1);
        let longest = results.timing.longest_setup.as_ref().unwrap();
        assert_eq!(longest.id, "katib/completed-experiment");
        assert!(
            (results.timing.ratio.unwrap() - results.timing.wall_seconds / longest.seconds).abs()
                < 0.001
        );
    }

    #[test]
    fn a_result_survives_writing_and_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RESULTS_FILE);
        let results = sample::mixed();
        results.write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_result_is_refused_with_its_reason() {
        let parse = |text: &str| {
            Results::parse(text.as_bytes(), Path::new("r"))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            parse(r#"{"apiVersion":"conformance.kubeflow.org/v2","kind":"Results"}"#),
            "`r` is `conformance.kubeflow.org/v2` `Results`, not `conformance.kubeflow.org/v1` `Results`"
        );
        assert!(parse("{}").contains("is `` ``"));
        assert!(parse("[").starts_with("`r` is not a valid result:"));
        let text = sample::mixed().to_json().replacen(
            "\"outcome\": \"passed\"",
            "\"outcome\": \"skipped\"",
            1,
        );
        assert!(parse(&text).contains("unknown variant `skipped`"));
        assert!(parse(&"[".repeat(100_000)).starts_with("`r` is not a valid result:"));
    }

    #[test]
    fn only_a_regular_file_of_bounded_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RESULTS_FILE);
        assert!(matches!(
            Results::read(&path),
            Err(ResultsError::Io { verb: "read", .. })
        ));
        assert!(matches!(
            Results::read(folder.path()),
            Err(ResultsError::NotAFile { .. })
        ));
        File::create(&path)
            .unwrap()
            .set_len(MAX_RESULTS_BYTES + 1)
            .unwrap();
        assert!(matches!(
            Results::read(&path),
            Err(ResultsError::TooLarge { .. })
        ));
    }

    #[test]
    fn the_schema_file_is_up_to_date_and_accepts_what_is_written() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/schema/results.schema.json");
        let schema = serde_json::to_value(schema()).unwrap();
        let text = format!("{schema:#}\n");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            text,
            "run the tests with UPDATE=1"
        );

        let validator = jsonschema::validator_for(&schema).unwrap();
        for results in [sample::mixed(), sample::conformant()] {
            let value = serde_json::to_value(results).unwrap();
            let errors: Vec<_> = validator
                .iter_errors(&value)
                .map(|e| e.to_string())
                .collect();
            assert_eq!(errors, Vec::<String>::new());
        }
        let mut value = serde_json::to_value(sample::mixed()).unwrap();
        value["checks"][0]["outcome"] = "skipped".into();
        assert!(!validator.is_valid(&value));
    }
}
