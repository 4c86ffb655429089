//! What a run leaves behind: one model, and pure functions from it to every format that people and machines read.
//!
//! [`model::Results`] is the truth; `junit.xml`, `report.html` and the console text can each be made again from it.

pub mod junit;
pub mod model;
#[cfg(test)]
pub(crate) mod sample;
pub mod text;

pub use model::{CheckResult, Level, Outcome, Results, Verdict};
