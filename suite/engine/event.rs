//! What the engine says while it runs. Reporters see nothing else.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Concern;
use crate::{
    cluster::{Facts, redact::Redactor},
    report::model::{CheckResult, Results, SetupResult},
};

/// Something that happened in a run. It can be sent: a run inside a cluster tells it to whoever launched it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The cluster was looked at.
    Discovered(Box<Facts>),
    /// What a reader of the results should know of the installation; it decides nothing.
    Concerned(Vec<Concern>),
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
    SetupStarted(Cow<'static, str>),
    /// A shared set-up ended.
    SetupFinished(Box<SetupResult>),
    /// A check began.
    CheckStarted(Cow<'static, str>),
    /// A check ended.
    CheckFinished(Box<CheckResult>),
    /// The run was interrupted; what it made is removed.
    Interrupted,
    /// The objects of the run are being removed.
    CleaningUp,
    /// Something about the way to the run, and not of the run itself: a cluster that does not answer, a pod that waits.
    Notice(String),
    /// The run is over.
    Finished(Box<Results>),
}

impl Event {
    /// The same without the secrets that this redactor knows. Reporters are shown no other.
    pub(super) fn written(self, redactor: &Redactor) -> Self {
        match self {
            Self::Discovered(facts) => Self::Discovered(Box::new(redactor.written(&*facts))),
            Self::Concerned(concerns) => {
                let written = |concern: Concern| Concern {
                    what: redactor.text(&concern.what),
                    seen: redactor.text(&concern.seen),
                    mend: redactor.text(&concern.mend),
                };
                Self::Concerned(concerns.into_iter().map(written).collect())
            }
            Self::NamespaceReady(name) => Self::NamespaceReady(redactor.text(&name)),
            Self::SetupFinished(setup) => Self::SetupFinished(Box::new(redactor.written(&*setup))),
            Self::CheckFinished(check) => Self::CheckFinished(Box::new(redactor.written(&*check))),
            Self::Finished(results) => Self::Finished(Box::new(redactor.written(&*results))),
            Self::Notice(text) => Self::Notice(redactor.text(&text)),
            Self::Planned { .. }
            | Self::SetupStarted(_)
            | Self::CheckStarted(_)
            | Self::Interrupted
            | Self::CleaningUp => self,
        }
    }
}
