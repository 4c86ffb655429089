//! Bytes from anybody: whatever stands in a submission, a configuration or an answer, every reader says so in bounded
//! time and memory, without a panic, and nothing of it acts on a terminal, a page or a comment.
//!
//! `HOSTILE_SECONDS` is how long each reader is given mutated files (a moment when absent; from a minute on every command and text is tried); `HOSTILE_PROFILE` is the
//! profile of the run that they are made from (`notebooks` when absent, `all` for every check).

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod base;
mod mutation;
mod process;
mod readers;
mod submissions;
