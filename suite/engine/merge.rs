//! Makes one result of the parts of a run.

use std::path::{Path, PathBuf};

use super::{
    Recording,
    journal::{self},
    recording::{CONTEXT, EVIDENCE_FILE, OF_THE_RUN},
};
use crate::{
    cluster::Evidence,
    report::model::{self, Results},
};

/// Why the parts make no result.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A part cannot be read.
    #[error("part {part} of the run cannot be used: {error}")]
    Part {
        /// Its number, from 0.
        part: usize,
        /// Why.
        error: String,
    },
    /// Two parts are not of one run.
    #[error("part {part} is not of the same run as part 0: {what} differs")]
    Other {
        /// Its number.
        part: usize,
        /// What differs.
        what: &'static str,
    },
    /// There is none.
    #[error("there is no part of the run to make a result of")]
    None,
    /// The result cannot be written.
    #[error("cannot write the result in {path}: {error}")]
    Write {
        /// The folder.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

/// Merges the result folders of a run's parts, of which there were to be `of`, into `out`. A part that is missing leaves its
/// checks without a result, so that the whole is not complete.
pub fn merge(folders: &[PathBuf], of: u32, out: &Path) -> Result<Results, MergeError> {
    let mut whole: Option<(Results, Recording)> = None;
    let mut complete = folders.len() == of as usize;
    for (part, folder) in folders.iter().enumerate() {
        let unusable = |error: String| MergeError::Part { part, error };
        let results = Results::read(&folder.join(model::RESULTS_FILE))
            .map_err(|e| unusable(e.to_string()))?;
        let recording =
            Recording::read(&folder.join(EVIDENCE_FILE)).map_err(|e| unusable(e.to_string()))?;
        complete &= results.run.complete;
        whole = Some(match whole {
            None => (results, recording),
            Some(whole) => join(whole, results, recording, part)?,
        });
    }
    let (mut results, mut recording) = whole.ok_or(MergeError::None)?;
    // What was looked at and made before the checks is told for each part, but the clean-up only once, as that of all.
    let swept = recording
        .evidence
        .contains_key(&Evidence::path(OF_THE_RUN[2], of));
    results.run.complete = complete && swept;
    if !swept {
        results.leftovers.push(format!(
            "Namespace//{}: no part of the run removed what the run made; `kfconform cleanup --run {}` does",
            recording.context.namespace, results.run.id
        ));
    }
    let place = |id: &str| results.run.planned.iter().position(|planned| planned == id);
    let mut checks = std::mem::take(&mut results.checks);
    checks.sort_by_key(|check| place(&check.id).unwrap_or(usize::MAX));
    results.checks = checks;
    results.setups.sort_by(|a, b| {
        let path = |setup: &model::SetupResult| setup.evidence.as_ref().map(|e| e.path.clone());
        (&a.id, path(a)).cmp(&(&b.id, path(b)))
    });
    results.judge();

    let writing = |error: std::io::Error| MergeError::Write {
        path: out.display().to_string(),
        error,
    };
    recording.digests.insert(
        CONTEXT.to_owned(),
        crate::digest::sha256(journal::to_json(recording.context.as_ref())),
    );
    let packed = recording
        .pack()
        .map_err(|e| writing(std::io::Error::other(e)))?;
    std::fs::create_dir_all(out).map_err(writing)?;
    std::fs::write(out.join(EVIDENCE_FILE), packed).map_err(writing)?;
    results
        .write(&out.join(model::RESULTS_FILE))
        .map_err(|e| writing(std::io::Error::other(e)))?;
    Ok(results)
}

/// Adds a part to what there is.
fn join(
    (mut whole, mut recorded): (Results, Recording),
    part: Results,
    recording: Recording,
    number: usize,
) -> Result<(Results, Recording), MergeError> {
    let differs = |what: &'static str| MergeError::Other { part: number, what };
    let (one, other) = (&whole.run, &part.run);
    for (what, same) in [
        ("the id", one.id == other.id),
        ("the beginning", one.started == other.started),
        ("the plan", one.planned == other.planned),
        ("the release", one.release == other.release),
        ("the suite's version", whole.suite == part.suite),
        (
            "the image",
            recorded.context.image == recording.context.image,
        ),
    ] {
        if !same {
            return Err(differs(what));
        }
    }
    if let Some(what) = recorded.context.facts.differs(&recording.context.facts) {
        tracing::debug!(what, "the parts found different things");
        return Err(differs("what was found on the cluster"));
    }
    whole.run.finished = whole.run.finished.max(part.run.finished);
    for check in part.checks {
        if whole.checks.iter().any(|known| known.id == check.id) {
            return Err(differs("what it was to check"));
        }
        whole.checks.push(check);
    }
    whole.setups.extend(part.setups);
    // Only the first part runs them, however many of the parts are there.
    whole.plugins.extend(part.plugins);
    for left in part.leftovers {
        if !whole.leftovers.contains(&left) {
            whole.leftovers.push(left);
        }
    }
    for (image, seen) in whole.images.iter_mut().zip(part.images) {
        image.digest = image.digest.take().or(seen.digest);
    }
    // What the last part found stands for all.
    recorded.context = recording.context;
    recorded.evidence.extend(recording.evidence);
    recorded.digests.extend(recording.digests);
    Ok((whole, recorded))
}
