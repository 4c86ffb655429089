//! `cleanup`: removes what a run left.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;

use super::{
    Done, Failure,
    args::{CleanupArgs, Format},
    exit_code, print, print_json,
    run::{config, image, target},
};
use crate::{
    checks::{Cx, RunContext, Timeouts},
    clock::Clock,
    cluster::{Door, Facts, Session, discover, door::DoorOptions},
    engine::{cleanup, own_namespace_of},
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
    let clock = Clock::wall();
    let door = Door::connect(
        &target(&args.cluster),
        &config,
        DoorOptions {
            run: args.run.clone(),
            clock,
            offset: Duration::ZERO,
            request_timeout: Timeouts::default().get("request"),
        },
    )
    .await
    .map_err(Failure::connect)?;
    let door = Arc::new(door);
    let session = Session::live(
        Arc::clone(&door),
        "run/discovery",
        1,
        Duration::from_secs(60),
    );
    let facts = Facts::discover(&session, &config).await.map_err(|stop| {
        let (what, mend) = discover::no_look(door.server(), &stop);
        Failure::incomplete(format!("{what}; nothing was removed; {mend}"))
    })?;
    let context = RunContext {
        id: args.run.clone(),
        namespace: config
            .namespace
            .clone()
            .unwrap_or_else(|| own_namespace_of(&args.run)),
        image: image(None, &config),
        facts,
        ..RunContext::default()
    };
    let session = Session::live(door, "run/cleanup", 1, Duration::from_secs(600));
    let cx = Cx::new(session, Arc::new(context), BTreeMap::new());
    let left = cleanup::clean(&cx, config.namespace.is_none()).await;
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
