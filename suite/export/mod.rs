//! What other programmes ask a distribution for, written from a result that holds.

pub mod ai_conformance;
