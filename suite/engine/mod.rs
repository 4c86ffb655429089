//! Plans, runs in parallel within limits, shares costly set-ups, times out, cleans up; speaks only in events.

pub mod cleanup;
mod collect;
pub mod event;
mod journal;
mod merge;
pub mod parts;
pub mod plan;
pub mod plugins;
mod preflight;
pub mod recording;
mod replay;
mod rerun;
mod run;
mod space;
mod sweep;

pub use event::Event;
pub use merge::{MergeError, merge};
pub use parts::Part;
pub use plan::{Plan, PlanError, Planned};
pub use preflight::{Concern, concerns};
pub use recording::{Recording, RecordingError};
pub use replay::Replay;
pub use rerun::take_apart;
pub use run::{
    DEFAULT_IMAGE, EngineError, Interrupt, RunOptions, cluster_of, components, features,
    known_deviation, new_run_id, not_to_run, own_namespace_of, run, run_plan,
};
