//! `submit` and `review`.

use jiff::Timestamp;
use serde_json::json;

use super::{
    Done, Failure,
    args::{ReviewArgs, ReviewFormat, SubmitArgs},
    exit_code, keys, print, print_json,
    run::specs,
};
use crate::{
    review::{self, Options, Review},
    seal::{PublicKey, product::TEMPLATE},
};

pub(super) async fn submit(args: SubmitArgs) -> Done {
    if args.template {
        print(TEMPLATE)?;
        return Ok(exit_code::OK);
    }
    let (Some(results), Some(product), Some(key)) = (&args.results, &args.product, &args.key)
    else {
        return Err(Failure::usage(
            "RESULTS, --product and --key are needed; --template prints a product.yaml to fill in",
        ));
    };
    let (specs, _) = specs(args.specs.as_ref())?;
    let key = keys::open(key)?;
    let options = Options {
        specs: &specs,
        trust: Vec::new(),
        allow_sample: args.allow_sample,
        now: Timestamp::now(),
        place: None,
    };
    let done = review::submit(results, product, &key, args.out.as_deref(), &options)
        .await
        .map_err(Failure::usage)?;
    show(std::slice::from_ref(&done.review), args.format)?;
    if args.format == ReviewFormat::Text {
        print(&match &done.folder {
            Some(folder) => format!("submission: {}\n", folder.display()),
            None => "nothing was written\n".to_owned(),
        })?;
    }
    Ok(done.review.verdict.exit_code())
}

pub(super) fn review(args: ReviewArgs) -> Done {
    if args.rules {
        return rules(args.format);
    }
    let (specs, _) = specs(args.specs.as_ref())?;
    let trust = args
        .trust
        .iter()
        .map(|path| PublicKey::read(path).map_err(Failure::usage))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(dir) = args.dirs.iter().find(|dir| !dir.is_dir()) {
        return Err(Failure::usage(format!("{} is no folder", dir.display())));
    }
    let options = Options {
        specs: &specs,
        trust,
        allow_sample: args.allow_sample,
        now: Timestamp::now(),
        place: None,
    };
    let mut reviews = review::review_all(&args.dirs, &options).map_err(Failure::incomplete)?;
    if args.online {
        super::block_on(async {
            review::online::advise(&mut reviews).await;
            Ok(exit_code::OK)
        })?;
    }
    show(&reviews, args.format)?;
    let codes = || reviews.iter().map(|review| review.verdict.exit_code());
    let no = codes().find(|code| *code == exit_code::NO);
    Ok(no.or(codes().max()).unwrap_or(exit_code::OK))
}

fn show(reviews: &[Review], format: ReviewFormat) -> Result<(), Failure> {
    match format {
        ReviewFormat::Json => print_json(&reviews),
        ReviewFormat::Text => print(&reviews.iter().map(review::text).collect::<String>()),
        ReviewFormat::Markdown => {
            let comments: Vec<String> = reviews.iter().map(review::markdown).collect();
            print(&comments.join("\n"))
        }
    }
}

fn rules(format: ReviewFormat) -> Done {
    match format {
        ReviewFormat::Json => {
            let rules: Vec<_> = review::all_rules()
                .map(|(id, title)| json!({"id": id, "title": title}))
                .collect();
            print_json(&rules)?;
        }
        ReviewFormat::Text => {
            let lines = review::all_rules().map(|(id, title)| format!("{id:24}{title}\n"));
            print(&lines.collect::<String>())?;
        }
        ReviewFormat::Markdown => {
            let lines = review::all_rules().map(|(id, title)| format!("| `{id}` | {title} |\n"));
            print(&format!(
                "| rule | asks for |\n|---|---|\n{}",
                lines.collect::<String>()
            ))?;
        }
    }
    Ok(exit_code::OK)
}
