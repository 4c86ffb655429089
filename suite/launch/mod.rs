//! A run inside the cluster: a Job makes it, and whoever launched it watches, takes its result and removes every trace.
//!
//! - [`wire`]: what a launch and its runner say to each other
//! - [`runner`]: what runs in the pod: the run, and a little server that only a port-forward reaches
//! - [`objects`]: what a launch puts on the cluster
//! - [`Launcher`]: the way to all of it from outside

mod api;
pub mod fleet;
mod link;
pub mod objects;
mod remove;
mod retrieve;
pub mod runner;
mod server;
mod start;
pub mod wire;

use std::{path::PathBuf, time::Duration};

use tokio::sync::mpsc;

use crate::{
    cluster::{self, Config, ConnectError, Target},
    engine::{Event, MergeError},
};

pub use api::Api;
pub use objects::Settings;
pub use start::{Launch, State, Status};

/// The label that everything of a launch carries; its value is the launch's id, which is the run's.
pub const LAUNCH_LABEL: &str = "conformance.kubeflow.org/launch";

/// The name of all that belongs to a launch.
pub fn name_of(id: &str) -> String {
    format!("kfconform-{id}")
}

/// What kept the runner's pod from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// The image cannot be pulled.
    ImagePull,
    /// A quota or a limit is exceeded.
    Quota,
    /// Pod Security, a policy or a webhook refuses the pod.
    Admission,
    /// The Job may not make pods for another reason.
    PodRefused,
    /// No node takes the pod.
    Unschedulable,
    /// A volume or a setting of the pod is not there.
    Configuration,
    /// The runner ended before it could be asked anything.
    Ended,
    /// Nothing of the above, and still no pod that runs.
    TimedOut,
}

impl Problem {
    /// The problem's name.
    pub fn code(self) -> &'static str {
        match self {
            Self::ImagePull => "image-pull",
            Self::Quota => "quota",
            Self::Admission => "admission",
            Self::PodRefused => "pod-refused",
            Self::Unschedulable => "unschedulable",
            Self::Configuration => "configuration",
            Self::Ended => "ended",
            Self::TimedOut => "timed-out",
        }
    }

    /// What to do about it.
    pub fn mend(self) -> &'static str {
        match self {
            Self::ImagePull => {
                "load the image that `kfconform images` lists, name where it is with --registry, or give a pull secret \
                 (imagePullSecrets in --config)"
            }
            Self::Quota => "raise the quota, or launch in another namespace with --namespace",
            Self::Admission => "allow the pod, or launch in another namespace with --namespace",
            Self::PodRefused => "mend what the message names",
            Self::Unschedulable => {
                "free a node, or give tolerations and nodeSelector in --config that fit one"
            }
            Self::Configuration => "make what the message names",
            Self::Ended => "see what it printed: `kfconform logs`",
            Self::TimedOut => "look at the pod, or give it longer with --start-timeout",
        }
    }

    /// Whether it may go away by itself, as a cluster that grows makes room.
    fn may_pass(self) -> bool {
        matches!(self, Self::Unschedulable | Self::TimedOut)
    }
}

/// Why something about a launch did not work.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No client can be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What the launch was told cannot be.
    #[error("{0}")]
    Usage(String),
    /// The Kubernetes API said no.
    #[error("the Kubernetes API refused to {what}: {why}{mend}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its answer.
        why: String,
        /// What to do, with what leads to it.
        mend: String,
    },
    /// The Kubernetes API did not answer for a long time.
    #[error(
        "the Kubernetes API at {server} has not answered for {seconds} s: {why}; what was launched goes on without it"
    )]
    Silent {
        /// Its address.
        server: String,
        /// For how long.
        seconds: u64,
        /// What was seen last.
        why: String,
    },
    /// The runner did not start.
    #[error("the runner does not start ({}): {message}; {}", .problem.code(), .problem.mend())]
    NotStarted {
        /// Why.
        problem: Problem,
        /// The cluster's words.
        message: String,
    },
    /// There is no such launch.
    #[error("{0}")]
    Absent(String),
    /// The result is gone.
    #[error(
        "the result of launch {id} is lost: {why}; `kfconform delete {id}` removes what is left, and --storage keeps the next one"
    )]
    Lost {
        /// The launch.
        id: String,
        /// What became of the pod.
        why: String,
    },
    /// The run in the pod came to no result.
    #[error("the run in the cluster came to no result: {message}")]
    Broken {
        /// The exit code that `run` gives then.
        code: u8,
        /// What it said.
        message: String,
    },
    /// The run goes on.
    #[error(
        "launch {id} still runs ({done} of {total} checks are done); wait for it with `kfconform status {id} --wait`"
    )]
    NotOver {
        /// The launch.
        id: String,
        /// Checks that ended.
        done: usize,
        /// All of them.
        total: usize,
    },
    /// A file that was retrieved is not what the runner says it is.
    #[error("{path} did not arrive whole: its SHA-256 is {is}, not {wanted}; retrieve again")]
    Digest {
        /// The file.
        path: String,
        /// What arrived.
        is: String,
        /// What was to arrive.
        wanted: String,
    },
    /// The runner said something that it cannot say.
    #[error("the runner of launch {id} answers what it cannot: {why}")]
    Protocol {
        /// The launch.
        id: String,
        /// What was wrong.
        why: String,
    },
    /// Something on this machine.
    #[error("cannot write {path}: {error}")]
    Write {
        /// Where.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The parts of a run make no whole.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Something of the launch stays.
    #[error("still there: {}", .0.join(", "))]
    Left(Vec<String>),
}

impl LaunchError {
    /// The exit code: 2 for what the caller can mend in the command, 3 where no verdict is possible.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Absent(_) | Self::Connect(ConnectError::Kubeconfig(_)) => 2,
            Self::Broken { code, .. } => *code,
            _ => 3,
        }
    }
}

/// The way to launches on one cluster.
#[derive(Debug, Clone)]
pub struct Launcher {
    api: Api,
    target: Target,
    config: Config,
    /// Hears of the run as it goes, and of what is in its way.
    events: mpsc::UnboundedSender<Event>,
}

/// How long a Kubernetes API that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

impl Launcher {
    /// Makes the clients. Nothing is sent yet.
    pub async fn connect(
        target: &Target,
        config: &Config,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Self, LaunchError> {
        let (client, server) = cluster::client(target).await?;
        Ok(Self {
            api: Api::new(client, server, PATIENCE, events.clone()),
            target: target.clone(),
            config: config.clone(),
            events,
        })
    }

    fn says(&self, text: impl Into<String>) {
        // Nobody has to listen.
        drop(self.events.send(Event::Notice(text.into())));
    }
}

/// A folder beside `out` for what is only on its way there.
fn partial(out: &std::path::Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    out.with_file_name(name)
}

/// Whether a text can be a launch's id.
pub fn is_id(text: &str) -> bool {
    text.len() == 8
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}
