//! `export`.

use serde_json::json;

use super::{
    Done, Failure,
    args::{AiConformanceArgs, ExportCommand, Format},
    exit_code, print, print_json,
    run::vacant,
};
use crate::{
    export::ai_conformance::{self, ITEM, ITEM_FILE, PAGE_FILE, Status},
    report,
    review::Options,
    seal::PublicKey,
};

pub(super) fn export(what: &ExportCommand) -> Done {
    match what {
        ExportCommand::AiConformance(args) => ai_conformance(args),
    }
}

fn ai_conformance(args: &AiConformanceArgs) -> Done {
    if !args.dir.is_dir() {
        return Err(Failure::usage(format!(
            "{} is no folder; give a result folder that `run --key` or `sign` signed, or a submission",
            args.dir.display()
        )));
    }
    let trust = args
        .trust
        .iter()
        .map(|path| PublicKey::read(path).map_err(Failure::usage))
        .collect::<Result<Vec<_>, _>>()?;
    let options = Options {
        trust,
        allow_sample: args.allow_sample,
        ..Options::new()
    };
    let made =
        ai_conformance::export(&args.dir, &options, &args.link).map_err(|error| Failure {
            code: error.exit_code(),
            message: error.to_string(),
        })?;
    vacant(&args.out)?;
    let [item, page] = [ITEM_FILE, PAGE_FILE].map(|name| args.out.join(name));
    for (path, text) in [(&item, &made.item), (&page, &made.page)] {
        report::write_whole(path, text.as_bytes())
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
    }
    match args.format {
        Format::Json => {
            print_json(&json!({"id": ITEM, "export": made, "files": [item, page]}))?;
        }
        Format::Text => {
            let status = match made.status {
                Status::Implemented => "Implemented",
                Status::Sample => "a sample that claims nothing,",
            };
            let operators: Vec<&str> = made
                .operators
                .iter()
                .map(|proof| proof.operator.title())
                .collect();
            let checklist = match (&made.checklist, made.known) {
                (Some(checklist), true) => format!(" for the checklist of {checklist}"),
                (Some(checklist), false) => format!(
                    " for the checklist of {checklist}, whose words this version does not know (compare its description)"
                ),
                (None, _) => String::new(),
            };
            print(&format!(
                "{ITEM}: {status}{checklist}, shown by {}\n  {}  the item, for PRODUCT.yaml\n  {}    the page that it names, to go beside that\n",
                operators.join(", "),
                item.display(),
                page.display()
            ))?;
        }
    }
    Ok(exit_code::OK)
}
