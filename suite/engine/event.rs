//! What the engine says while it runs. Reporters see nothing else.

use crate::{
    cluster::{Facts, redact::Redactor},
    report::model::{CheckResult, Results, SetupResult},
};

/// Something that happened in a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// The cluster was looked at.
    Discovered(Box<Facts>),
    /// The plan stands: how many checks, and how many of them have a result already (a resumed run).
    Planned {
        /// All checks of the plan.
        total: usize,
        /// Those that have a result.
        kept: usize,
    },
    /// The run's namespace is there.
    NamespaceReady(String),
    /// A shared set-up began.
    SetupStarted(&'static str),
    /// A shared set-up ended.
    SetupFinished(Box<SetupResult>),
    /// A check began.
    CheckStarted(&'static str),
    /// A check ended.
    CheckFinished(Box<CheckResult>),
    /// The run was interrupted; what it made is removed.
    Interrupted,
    /// The objects of the run are being removed.
    CleaningUp,
    /// The run is over.
    Finished(Box<Results>),
}

impl Event {
    /// The same without the secrets that this redactor knows. Reporters are shown no other.
    pub(super) fn written(self, redactor: &Redactor) -> Self {
        match self {
            Self::Discovered(facts) => Self::Discovered(Box::new(redactor.written(&*facts))),
            Self::NamespaceReady(name) => Self::NamespaceReady(redactor.text(&name)),
            Self::SetupFinished(setup) => Self::SetupFinished(Box::new(redactor.written(&*setup))),
            Self::CheckFinished(check) => Self::CheckFinished(Box::new(redactor.written(&*check))),
            Self::Finished(results) => Self::Finished(Box::new(redactor.written(&*results))),
            Self::Planned { .. }
            | Self::SetupStarted(_)
            | Self::CheckStarted(_)
            | Self::Interrupted
            | Self::CleaningUp => self,
        }
    }
}
