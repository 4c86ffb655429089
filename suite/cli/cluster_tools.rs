//! `cleanup`: removes what a run left.

use serde_json::json;

use super::{
    Done, Failure,
    args::{CleanupArgs, Format},
    exit_code, print, print_json,
    run::{config, target},
};
use crate::{
    engine::cleanup::{self, RemoveError},
    report::text::one_line,
};

pub(super) async fn cleanup(args: CleanupArgs) -> Done {
    let valid = args.run.len() == 8
        && args
            .run
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !valid {
        return Err(Failure::usage(format!(
            "`{}` is no run's id; it is the eight letters and digits in the result's run.id",
            args.run
        )));
    }
    let config = config(&args.cluster)?;
    let left = cleanup::remove(&target(&args.cluster), &config, &args.run)
        .await
        .map_err(|error| match error {
            RemoveError::Connect(error) => Failure::connect(error),
            RemoveError::Cluster(_) => Failure::incomplete(error),
        })?;
    match args.format {
        Format::Json => print_json(&json!({"run": args.run, "leftovers": left}))?,
        Format::Text if left.is_empty() => {
            print(&format!("nothing of run {} is left\n", args.run))?;
        }
        Format::Text => {
            let lines: String = left
                .iter()
                .map(|l| format!("  {}\n", one_line(l)))
                .collect();
            print(&format!("still there:\n{lines}"))?;
        }
    }
    Ok(if left.is_empty() {
        exit_code::OK
    } else {
        exit_code::INCOMPLETE
    })
}
