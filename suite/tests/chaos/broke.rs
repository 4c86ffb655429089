//! What broke a promise once.

use std::time::Duration;

use kfconform::reference::kube::{Chaos, Trouble};

/// What broke a promise once.
pub(crate) struct Broke {
    /// What was wrong.
    pub(crate) was: &'static str,
    pub(crate) only: &'static [&'static str],
    pub(crate) fault: Option<&'static str>,
    pub(crate) chaos: Chaos,
}

/// What broke a promise once, in the order in which it was found.
pub(crate) const BROKE: &[Broke] = &[
    Broke {
        was: "a 504 to a creation that was carried out, and so 409 to the next attempt: `failed`",
        only: &[
            "spark/application/waits-while-suspended",
            "spark/application/retries-submission",
        ],
        fault: None,
        chaos: Chaos {
            trouble: Trouble::Unavailable,
            seed: 134,
            one_in: 4,
            only_watches: false,
            after: 40,
            lasts: Some(Duration::from_secs(600)),
        },
    },
    Broke {
        was: "a task that must not be executed was waited for, since it ended as long as anybody waits: `passed`",
        only: &[
            "pipelines/execution/reuses-cached-results",
            "pipelines/execution/stops-after-failure",
            "pipelines/execution/mounts-claims",
            "pipelines/execution/retries-tasks",
        ],
        fault: Some("pipelines/execution/stops-after-failure"),
        chaos: Chaos {
            trouble: Trouble::Cut,
            seed: 449,
            one_in: 8,
            only_watches: false,
            after: 80,
            lasts: Some(Duration::from_secs(600)),
        },
    },
    Broke {
        was: "a watch on a connection that had died in silence showed nothing until the time was up: `failed`",
        only: &["kserve/inferenceservice/is-deleted-with-its-workload"],
        fault: None,
        chaos: Chaos {
            trouble: Trouble::HalfOpen,
            seed: 4711,
            one_in: 1,
            only_watches: true,
            after: 0,
            lasts: Some(Duration::from_secs(20)),
        },
    },
    Broke {
        was: "the same",
        only: &[
            "katib/experiment/reaches-goal",
            "katib/experiment/reaches-max-trials",
            "katib/experiment/restarts",
            "katib/experiment/names-optimal-trial",
        ],
        fault: None,
        chaos: Chaos {
            trouble: Trouble::HalfOpen,
            seed: 1855,
            one_in: 2,
            only_watches: true,
            after: 0,
            lasts: Some(Duration::from_secs(20)),
        },
    },
];
