//! Makes again what did not pass, and keeps what did.

use std::path::Path;

use super::{
    EngineError, Recording,
    journal::{Journal, Line},
    recording::EVIDENCE_FILE,
};
use crate::report::model::{self, Results};

/// Takes a result apart into an unfinished run in another folder, which lacks exactly what did not pass; a run that goes
/// on there makes it again, with what came out before as an earlier attempt. The result itself stays as it is.
pub fn take_apart(result: &Path, out: &Path) -> Result<(), EngineError> {
    let unusable = |error: String| EngineError::Rerun {
        path: result.display().to_string(),
        error,
    };
    let mut results =
        Results::read(&result.join(model::RESULTS_FILE)).map_err(|e| unusable(e.to_string()))?;
    if !results.run.complete {
        return Err(unusable(format!(
            "it did not come to its end; go on with it with `kfconform run --resume {}`",
            result.display()
        )));
    }
    let checks = std::mem::take(&mut results.checks);
    let (kept, again): (Vec<_>, Vec<_>) = checks.into_iter().partition(|c| c.outcome.is_settled());
    if again.is_empty() {
        return Err(unusable("nothing in it is left to pass".to_owned()));
    }
    let recording =
        Recording::read(&result.join(EVIDENCE_FILE)).map_err(|e| unusable(e.to_string()))?;
    if recording.context.id != results.run.id {
        return Err(unusable("its evidence is of another run".to_owned()));
    }

    let writing = |error| EngineError::Write {
        path: out.display().to_string(),
        error,
    };
    let mut journal = Journal::open(out).map_err(writing)?;
    journal.restore(&recording).map_err(writing)?;
    let setups = std::mem::take(&mut results.setups).into_iter();
    let lines = setups
        .map(|setup| Line::Setup(Box::new(setup)))
        .chain(
            kept.iter()
                .map(|check| Line::Check(Box::new(check.clone()))),
        )
        .chain(again.into_iter().map(|check| Line::Again(Box::new(check))))
        .chain(
            std::mem::take(&mut results.plugins)
                .into_iter()
                .map(|plugin| Line::Plugin(Box::new(plugin))),
        );
    for line in lines {
        journal.line(&line).map_err(writing)?;
    }
    results.checks = kept;
    results.run.complete = false;
    results.judge();
    results
        .write(&out.join(model::RESULTS_FILE))
        .map_err(|e| writing(std::io::Error::other(e)))
}
