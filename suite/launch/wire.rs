//! What a launch and its runner say to each other.
//!
//! The runner serves, on a port that only a port-forward reaches:
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /status` | [`Report`] |
//! | `GET /events?from=N` | the run's events from number N on, one [`Event`](crate::engine::Event) a line, until the run is over |
//! | `GET /files/NAME`, `Range: bytes=N-` | a file of the result folder |
//! | `POST /retrieved` | the runner ends: its result was taken |
//! | `POST /stop` | the run ends as by Ctrl-C |

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::report::model::Verdict;

/// The port of the runner, on the pod's own loopback.
pub const PORT: u16 = 7117;
/// The folder of the runner's files in its pod.
pub const ORDER_DIR: &str = "/etc/kfconform";
/// What it is told, there.
pub const ORDER_FILE: &str = "order.json";
/// The configuration, there.
pub const CONFIG_FILE: &str = "config.json";
/// Where it writes.
pub const RESULTS_DIR: &str = "/results";
/// Names a folder below that for each part of a run.
pub const PART_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// The longest line of events, and the largest file, in bytes.
pub const LARGEST: u64 = 256 << 20;

/// What a launch tells its runner: what `run` is told by arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Order {
    /// The run's id.
    pub id: String,
    /// The profile.
    pub profile: String,
    /// The release to judge.
    pub release: Option<String>,
    /// Globs of requirements to check.
    pub only: Vec<String>,
    /// Globs of requirements not to check.
    pub skip: Vec<String>,
    /// How many checks may run at once.
    pub jobs: u16,
    /// Named timeouts, like `request: 30s`.
    pub timeouts: BTreeMap<String, String>,
    /// The suite's image.
    pub image: String,
    /// The arguments of the launch, for the record.
    pub arguments: Vec<String>,
    /// Of how many parts the run is made.
    pub parts: u32,
    /// When it began, where it is made of several.
    pub started: Option<Timestamp>,
    /// Whether to leave what the run made.
    pub keep: bool,
    /// Whether to look at the cluster and check nothing.
    pub dry_run: bool,
    /// For how long the result is kept for whoever retrieves it, in seconds.
    pub hold_seconds: u64,
    /// Whether results lie on a volume that outlives the pod.
    pub storage: bool,
}

/// What a runner is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The run goes on.
    Running,
    /// The run is over and its result waits.
    Over,
    /// The run came to no result.
    Broken,
}

/// How it is with a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The run's id.
    pub id: String,
    /// Which part of the run it makes.
    pub part: u32,
    /// What it is doing.
    pub phase: Phase,
    /// How many checks ended.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// What came of the run.
    pub verdict: Option<Verdict>,
    /// Why there is no result.
    pub message: Option<String>,
    /// The exit code of `run`, once it is over.
    pub code: Option<u8>,
    /// The files of the result, once it is there.
    pub files: Vec<File>,
}

/// A file of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Its name, without any folder.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// The names that a result folder can have; a runner that names another is not believed.
pub const FILES: [&str; 4] = [
    crate::report::model::RESULTS_FILE,
    "junit.xml",
    "report.html",
    crate::engine::recording::EVIDENCE_FILE,
];
