//! The checks: one async function a requirement, under the same id, in plain tables.
//!
//! A check reads like the requirement that it proves:
//!
//! ```ignore
//! async fn reaches_goal(cx: &Cx) -> Outcome {
//!     let done: Experiment = cx.setup(&GOAL)?;
//!     ensure_eq!(done.reason, "ExperimentGoalReached", "the reason of condition Succeeded");
//!     Ok(())
//! }
//! ```
//!
//! Costly states (a finished run, a completed experiment, a ready service) are set-ups: made once a run, read by many.

mod cx;
mod http;
mod hub;
pub mod katib;
mod kserve;
mod kube;
pub mod notebooks;
mod pipelines;
pub mod platform;
mod served;
mod spark;
pub mod timeouts;
mod trainer;

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;

pub use cx::{Cx, RunContext, SetupResult};
pub use http::{Http, query};
pub use kube::{condition, condition_of, is_controlled_by, with};
pub use timeouts::Timeouts;

use crate::outcome::Outcome;

/// What component modules use.
pub mod prelude {
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};

    pub use super::{
        Check, Cx, Http, IMAGE, Setup, condition, condition_of, is_controlled_by, query, with,
    };
    pub use crate::{
        cluster::{Answer, Body, Identity, Kind, Request, discover::name_of, kinds::*},
        ensure, ensure_eq,
        outcome::{CouldNotRun, Failure, NotApplicable, Outcome, Stop},
        requirement_checks, setups,
    };
}

/// The function that proves a requirement.
pub type CheckFn = for<'a> fn(&'a Cx) -> BoxFuture<'a, Outcome>;
/// The function that makes a shared state and says what it saw.
pub type SetupFn = for<'a> fn(&'a Cx) -> BoxFuture<'a, Outcome<Value>>;

/// A check: the code of one requirement.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The requirement's id.
    pub id: &'static str,
    /// The set-ups whose values it reads.
    pub needs: &'static [&'static Setup],
    /// The code.
    pub run: CheckFn,
}

/// A costly state that several checks read. It is made once a run.
///
/// A set-up does not judge: it waits until the state is reached or the time is up and says what it saw. Where it
/// cannot go on it stops, and then the check named as its judge stops for the same reason; the others could not run.
#[derive(Debug)]
pub struct Setup {
    /// `setup/COMPONENT/NAME`, unique.
    pub id: &'static str,
    /// The check that fails when this set-up fails; empty when none does.
    pub judge: &'static str,
    /// The set-ups that it builds on itself.
    pub needs: &'static [&'static Setup],
    /// The longest time it may take.
    pub limit: Duration,
    /// The code; its value is what checks read.
    pub run: SetupFn,
}

impl Check {
    /// The component: the id's first segment.
    pub fn component(&self) -> &'static str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// Proves the requirement, unless it needs pods and none can run.
    pub async fn prove(&self, cx: &Cx) -> Outcome {
        cx.pods_can_run()?;
        (self.run)(cx).await
    }
}

impl Setup {
    /// Makes the state, unless that needs pods and none can run.
    pub async fn make(&self, cx: &Cx) -> Outcome<Value> {
        cx.pods_can_run()?;
        (self.run)(cx).await
    }
}

/// Declares a component's table: `requirement_checks! { "katib/a/b" => a_b, "katib/a/c" => a_c needs [&RANDOM], }` makes
/// `pub const CHECKS: &[Check]`.
#[macro_export]
macro_rules! requirement_checks {
    ($($id:literal => $run:path $(, needs [$($need:expr),* $(,)?])?);* $(;)?) => {
        /// The checks of this module, in the order in which reports list them.
        pub const CHECKS: &[$crate::checks::Check] = &[
            $($crate::checks::Check {
                id: $id,
                needs: &[$($($need),*)?],
                run: |cx| Box::pin($run(cx)),
            }),*
        ];
    };
}

/// Declares set-ups: `setups! { pub RANDOM = "setup/katib/random", judge "katib/experiment/succeeds", minutes 15, needs [], run: make_random; }`.
#[macro_export]
macro_rules! setups {
    ($($(#[$doc:meta])* $vis:vis $name:ident = $id:literal, judge $judge:literal, minutes $minutes:literal, needs [$($need:expr),* $(,)?], run: $run:path;)*) => {
        $($(#[$doc])* $vis static $name: $crate::checks::Setup = $crate::checks::Setup {
            id: $id,
            judge: $judge,
            needs: &[$($need),*],
            limit: std::time::Duration::from_secs($minutes * 60),
            run: |cx| Box::pin($run(cx)),
        };)*
    };
}

/// All checks, by component in the order of [`crate::COMPONENTS`].
pub fn all() -> impl Iterator<Item = &'static Check> {
    [
        pipelines::TABLES,
        notebooks::TABLES,
        platform::TABLES,
        katib::TABLES,
        kserve::TABLES,
        trainer::TABLES,
        spark::TABLES,
        hub::TABLES,
    ]
    .into_iter()
    .flatten()
    .flat_map(|table| table.iter())
}

/// The check of a requirement.
pub fn find(id: &str) -> Option<&'static Check> {
    all().find(|check| check.id == id)
}

/// The set-up of an id, among those that checks need.
pub fn find_setup(id: &str) -> Option<&'static Setup> {
    fn among(setups: &'static [&'static Setup], id: &str) -> Option<&'static Setup> {
        setups.iter().find_map(|setup| {
            (setup.id == id)
                .then_some(*setup)
                .or(among(setup.needs, id))
        })
    }
    all().find_map(|check| among(check.needs, id))
}

setups! {
    /// A pod of the suite's own image ran: whatever needs pods builds on this, so that an image that cannot be pulled or
    /// a full cluster is named once, at once, and never as a failure of the distribution. Nobody reads its value, so
    /// other set-ups, which may all take longer than it, are made beside it.
    pub IMAGE = "setup/run/image", judge "", minutes 5, needs [], run: cx::image_runs;
}

/// Removes what checks of one component made outside the run's namespace; returns what could not be removed.
pub type CleanupFn = for<'a> fn(&'a Cx) -> BoxFuture<'a, Outcome<Vec<String>>>;

/// One component's clean-up.
#[derive(Debug, Clone, Copy)]
pub struct Cleanup {
    /// The component.
    pub name: &'static str,
    /// Whether it speaks as an account of the run's namespace, so that this must not go before.
    pub as_namespace: bool,
    /// The code.
    pub run: CleanupFn,
}

/// The clean-ups that deleting the run's namespace does not do.
pub const CLEANUPS: &[Cleanup] = &[
    pipelines::CLEANUP,
    platform::CLEANUP,
    katib::CLEANUP,
    kserve::CLEANUP,
    hub::CLEANUP,
];
