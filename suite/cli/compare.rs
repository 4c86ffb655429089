//! `diff` and `coverage`.

use std::path::Path;

use super::{
    Done, Failure,
    args::{CoverageArgs, DiffArgs, DiffFormat, ReviewFormat},
    exit_code, print, print_json,
};
use crate::coverage::{self, Apis, Coverage};
use crate::engine::{Recording, recording::EVIDENCE_FILE};
use crate::report::{
    diff::{self, Given},
    model::{RESULTS_FILE, Results},
};

/// A result by its folder or its file.
pub(super) fn results(path: &Path) -> Result<Results, Failure> {
    let file = if path.is_dir() {
        path.join(RESULTS_FILE)
    } else {
        path.to_owned()
    };
    Results::read(&file).map_err(Failure::usage)
}

pub(super) fn diff(args: &DiffArgs) -> Done {
    let (from, to) = (results(&args.from)?, results(&args.to)?);
    let paths = [&args.from, &args.to].map(|path| path.display().to_string());
    let diff = diff::diff(
        Given {
            path: &paths[0],
            results: &from,
        },
        Given {
            path: &paths[1],
            results: &to,
        },
    );
    if diff.compared == 0 {
        return Err(Failure::incomplete(format!(
            "`{}` and `{}` have no requirement in common: nothing can be compared",
            paths[0], paths[1]
        )));
    }
    match args.format {
        DiffFormat::Text => print(&diff::text(&diff))?,
        DiffFormat::Json => print_json(&diff)?,
        DiffFormat::Markdown => print(&diff::markdown(&diff))?,
        DiffFormat::Junit => print(&diff::junit(&diff))?,
    }
    Ok(if diff.is_worse {
        exit_code::NO
    } else {
        exit_code::OK
    })
}

pub(super) fn coverage(args: &CoverageArgs) -> Done {
    let coverage = match &args.dir {
        None => Coverage::of_reference(),
        Some(dir) => {
            let path = dir.join(EVIDENCE_FILE);
            let recording = Recording::read(&path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            let results = Results::read(&dir.join(RESULTS_FILE)).map_err(Failure::usage)?;
            coverage::coverage(&Apis::embedded(), &results, &recording)
        }
    };
    match args.format {
        ReviewFormat::Text => print(&coverage::text(&coverage, args.by))?,
        ReviewFormat::Json if args.by => print_json(&coverage)?,
        ReviewFormat::Json => print_json(&coverage.summary())?,
        ReviewFormat::Markdown => print(&coverage::markdown(&coverage))?,
    }
    Ok(exit_code::OK)
}
