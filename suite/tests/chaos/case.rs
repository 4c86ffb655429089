//! What one run is, by its seed: what is checked, which fault there is, and what trouble.

use std::time::Duration;

use jiff::SignedDuration;
use kfconform::{
    reference::{
        self,
        kube::{Chaos, Trouble},
    },
    spec,
};

/// What is checked, a few cheap requirements each.
const PLANS: &[&[&str]] = &[
    &["katib/validation/objective*", "katib/defaults/*"],
    &["katib/experiment/*"],
    &["katib/trial/*", "katib/suggestion/*"],
    &["notebooks/server/*", "notebooks/validation/*"],
    &["notebooks/lifecycle/*"],
    &["notebooks/web-app/*"],
    &["pipelines/experiment/*", "pipelines/pipeline/*"],
    &["pipelines/execution/*"],
    &["pipelines/recurring-run/*"],
    &["platform/poddefault/*", "platform/profile/*"],
    &["platform/kfam/*", "platform/isolation/*"],
    &["kserve/inferenceservice/*", "kserve/admission/*"],
    &["kserve/protocol/*", "kserve/graph/*"],
    &["trainer/trainjob/*", "trainer/admission/*"],
    &["spark/application/*", "spark/admission/*"],
    &["hub/*"],
];

/// Those of them whose pods live for a while.
const WITH_PODS: &[&[&str]] = &[
    &["katib/experiment/*", "katib/trial/*"],
    &["notebooks/server/*", "notebooks/pod/*"],
    &["notebooks/lifecycle/*"],
    &["pipelines/execution/*", "pipelines/run/*"],
    &["kserve/inferenceservice/*", "kserve/protocol/*"],
    &["trainer/trainjob/*", "spark/application/*"],
];

/// Those of them that wait for long.
const WITH_WATCHES: &[&[&str]] = &[
    &["katib/experiment/*"],
    &["katib/metrics/*", "katib/trial/*"],
    &["kserve/inferenceservice/*", "kserve/transformer/*"],
    &[
        "notebooks/culling/*",
        "spark/schedule/*",
        "spark/application/*",
    ],
];

/// The kinds of trouble: those of the API server and the way to it, and two of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Api(Trouble),
    /// The suite's clock and the cluster's differ.
    Skew,
    /// Pods are lost while they run.
    Eviction,
}

impl Kind {
    pub(crate) fn of(seed: u64) -> Self {
        let kinds = Trouble::ALL.len() as u64 + 2;
        match Trouble::ALL.get((seed % kinds) as usize) {
            Some(trouble) => Self::Api(*trouble),
            None if seed % kinds == kinds - 1 => Self::Skew,
            None => Self::Eviction,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Api(trouble) => format!("{trouble:?}"),
            other => format!("{other:?}"),
        }
        .to_lowercase()
    }
}

/// Numbers that follow from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What one run is.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) only: Vec<String>,
    pub(crate) fault: Option<&'static str>,
    pub(crate) chaos: Option<Chaos>,
    pub(crate) skew: SignedDuration,
}

impl Case {
    pub(crate) fn of(seed: u64) -> Self {
        let kind = Kind::of(seed);
        let mut dice = Dice(seed);
        let only_watches = kind == Kind::Api(Trouble::Expired) || dice.next(3) == 0;
        let plans = match kind {
            Kind::Eviction => WITH_PODS,
            Kind::Api(_) if only_watches => WITH_WATCHES,
            _ => PLANS,
        };
        let globs = plans[dice.next(plans.len() as u64) as usize];
        let all: Vec<&str> = kfconform::checks::all().map(|check| check.id).collect();
        let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
        let mut ids = spec::select(&all, &globs, &[]).expect("the plans are of what there is");
        // Four of them, so that a run is short.
        let mut only = Vec::new();
        while only.len() < 4 && !ids.is_empty() {
            only.push(
                ids.swap_remove(dice.next(ids.len() as u64) as usize)
                    .to_owned(),
            );
        }
        let faults: Vec<&'static str> = reference::faults()
            .filter(|fault| fault.wide.is_none())
            .map(|fault| fault.id)
            .filter(|id| {
                only.iter()
                    .any(|only| only == reference::requirement_of(id))
            })
            .collect();
        let faulty = dice.next(3) == 0 && !faults.is_empty();
        let fault = faulty.then(|| faults[dice.next(faults.len() as u64) as usize]);
        let chaos = match kind {
            Kind::Api(trouble) => Some(Chaos {
                trouble,
                seed,
                one_in: if only_watches {
                    1 + dice.next(3)
                } else {
                    [3, 8, 20, 60][dice.next(4) as usize]
                },
                only_watches,
                // Without its first looks, a run says that it can see nothing, and that is soon tried.
                after: [0, 40, 80, 120][dice.next(4) as usize],
                lasts: [Some(20), Some(90), Some(600), None][dice.next(4) as usize]
                    .map(Duration::from_secs),
            }),
            Kind::Skew | Kind::Eviction => None,
        };
        let skew = match kind {
            Kind::Skew => {
                let seconds = [-7200, -900, -90, -20, 20, 90, 900, 7200];
                SignedDuration::from_secs(seconds[dice.next(8) as usize])
            }
            _ => SignedDuration::ZERO,
        };
        Self {
            seed,
            kind,
            only,
            fault,
            chaos,
            skew,
        }
    }
}
