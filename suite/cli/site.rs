//! `site`.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use super::{
    Done, Failure,
    args::{Format, SiteArgs},
    exit_code, print, print_json,
    run::vacant,
};
use crate::{
    review::Options,
    site::{self, Standing},
};

pub(super) fn site(args: &SiteArgs) -> Done {
    if !args.dir.is_dir() {
        return Err(Failure::usage(format!(
            "{} is no folder",
            args.dir.display()
        )));
    }
    vacant(&args.out)?;
    let now = Timestamp::now();
    let date = args
        .date
        .unwrap_or_else(|| now.to_zoned(TimeZone::UTC).date());
    let entries = site::collect(
        &args.dir,
        &Options {
            now,
            ..Options::new()
        },
    )
    .map_err(Failure::usage)?;
    let files = site::render(&entries, date);
    site::write(&files, &args.out).map_err(Failure::incomplete)?;
    let count = |standing| {
        entries
            .iter()
            .filter(|e| e.standing(date) == standing)
            .count()
    };
    let (valid, ended, claimed) = (
        count(Standing::Valid),
        count(Standing::Ended),
        count(Standing::Claimed),
    );
    let (samples, refused) = (count(Standing::Sample), count(Standing::Refused));
    match args.format {
        Format::Json => print_json(&json!({
            "valid": valid, "ended": ended, "claimed": claimed, "samples": samples, "refused": refused, "files": files.len(),
        }))?,
        Format::Text => print(&format!(
            "{} files in {}: {valid} submissions valid, {ended} ended, {claimed} as claimed, {samples} samples, {refused} refused\n",
            files.len(),
            args.out.display(),
        ))?,
    }
    Ok(exit_code::OK)
}
