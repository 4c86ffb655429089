//! Filters: what a list holds, and what it is refused for.

use super::{five_experiments, four_runs};
use crate::checks::{
    pipelines::{
        api::{
            Api, Collection, EXPERIMENTS, RECURRING_RUNS, RUNS, column, filter, id_of, one_of,
            text, versions,
        },
        setups::{
            ARTIFACT, CHOSE_ELSE, CHOSE_THEN, EXPERIMENT, FIVE, FIVE_RECURRING_RUNS, FIVE_VERSIONS,
            Five, INLINE, Run, named_like,
        },
    },
    prelude::*,
};

requirement_checks! {
    "pipelines/list/filters-by-equality" => filters_by_equality, needs [&FIVE];
    "pipelines/list/filters-by-inequality" => filters_by_inequality, needs [&FIVE_VERSIONS];
    "pipelines/list/filters-by-substring" => filters_by_substring, needs [&FIVE];
    "pipelines/list/filters-by-values" => filters_by_values, needs [&FIVE];
    "pipelines/list/filters-by-time" => filters_by_time, needs [&FIVE];
    "pipelines/list/filters-by-storage-state" => filters_by_storage_state;
    "pipelines/list/joins-predicates" => joins_predicates, needs [&FIVE];
    "pipelines/list/refuses-bad-filter" => refuses_bad_filter, needs [&FIVE];
    "pipelines/list/filters-runs" => filters_runs, needs [&EXPERIMENT, &INLINE, &ARTIFACT, &CHOSE_THEN, &CHOSE_ELSE];
    "pipelines/list/filters-recurring-runs" => filters_recurring_runs, needs [&FIVE_RECURRING_RUNS];
}

/// The names that a filter finds, sorted.
async fn found(api: &Api<'_>, of: &Collection, predicates: &[Value]) -> Outcome<Vec<String>> {
    let filter = filter(predicates);
    let page = api.list(of, &[("filter", &filter)]).await?;
    let mut names = column(of, &page, "display_name");
    names.sort();
    Ok(names)
}

/// Those of some names for which something holds, sorted.
fn those(names: &[String], holds: impl Fn(&str) -> bool) -> Vec<String> {
    let mut those: Vec<String> = names.iter().filter(|name| holds(name)).cloned().collect();
    those.sort();
    those
}

async fn filters_by_equality(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    let one = &five.names[0];
    let names = found(&api, &EXPERIMENTS, &[text("name", "EQUALS", one)]).await?;
    ensure_eq!(
        names,
        std::slice::from_ref(one),
        "what the name EQUALS finds"
    );
    let names = found(&api, &EXPERIMENTS, &[text("name", "EQUALS", &five.part)]).await?;
    ensure!(
        names.is_empty(),
        "EQUALS with a part of names finds {} experiments, not none",
        names.len()
    );
    Ok(())
}

async fn filters_by_inequality(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE_VERSIONS)?;
    let without = &five.names[1];
    let names = found(
        &api,
        &versions(&five.within),
        &[text("name", "NOT_EQUALS", without)],
    )
    .await?;
    let wanted = those(&five.names, |name| name != without);
    ensure_eq!(names, wanted, "what the name NOT_EQUALS finds");
    Ok(())
}

async fn filters_by_substring(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    for part in [&five.part, &five.longer_part] {
        let wanted = those(&five.names, |name| name.contains(part.as_str()));
        let names = found(&api, &EXPERIMENTS, &[named_like(part)]).await?;
        ensure_eq!(names, wanted, "what IS_SUBSTRING `{part}` finds");
    }
    Ok(())
}

async fn filters_by_values(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    let two = [five.names[1].as_str(), five.names[4].as_str()];
    let names = found(&api, &EXPERIMENTS, &[one_of("name", &two)]).await?;
    let wanted = those(&five.names, |name| two.contains(&name));
    ensure_eq!(names, wanted, "what the name IN two values finds");
    let bad = filter(&[text("name", "IN", two[0])]);
    let answer = api.try_list(&EXPERIMENTS, &[("filter", &bad)]).await?;
    api.http
        .refused(&answer, "a filter by IN with one value in place of a list")
}

async fn filters_by_time(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    let (older, younger) = five.names.split_at(3);
    for (operation, wanted) in [("LESS_THAN", older), ("GREATER_THAN_EQUALS", younger)] {
        let by_time =
            json!({"key": "created_at", "operation": operation, "timestamp_value": five.turn});
        let names = found(&api, &EXPERIMENTS, &[named_like(&five.part), by_time]).await?;
        let wanted = those(wanted, |_| true);
        ensure_eq!(
            names,
            wanted,
            "what `created_at` {operation} the time of the fourth finds"
        );
    }
    Ok(())
}

async fn filters_by_storage_state(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let (kept, archived) = (cx.name("state-kept"), cx.name("state-gone"));
    for name in [&kept, &archived] {
        let made = api
            .create(&EXPERIMENTS, &json!({"display_name": name}))
            .await?;
        if *name == archived {
            let id = id_of(&EXPERIMENTS, &made)?;
            api.verb(&EXPERIMENTS, &id, "archive").await?;
        }
    }
    let both = kept.trim_end_matches("kept");
    for (operation, wanted) in [("EQUALS", &archived), ("NOT_EQUALS", &kept)] {
        let state = text("storage_state", operation, "ARCHIVED");
        let names = found(&api, &EXPERIMENTS, &[named_like(both), state]).await?;
        ensure_eq!(
            names,
            std::slice::from_ref(wanted),
            "what `storage_state` {operation} ARCHIVED finds"
        );
    }
    Ok(())
}

async fn joins_predicates(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    let without = &five.names[0];
    let wanted = those(&five.names, |name| name != without);
    let predicates = [named_like(&five.part), text("name", "NOT_EQUALS", without)];
    let names = found(&api, &EXPERIMENTS, &predicates).await?;
    ensure_eq!(
        names,
        wanted,
        "what IS_SUBSTRING and NOT_EQUALS find together"
    );
    Ok(())
}

async fn refuses_bad_filter(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let flock = five_experiments(cx)?;
    api.list(&EXPERIMENTS, &flock.pairs(&[])).await?;
    for (bad, what) in [
        (
            filter(&[text("no_such_field", "EQUALS", "x")]),
            "a filter on an unknown field",
        ),
        (
            filter(&[text("name", "RESEMBLES", "x")]),
            "a filter with an unknown operation",
        ),
        ("{\"predicates\":".to_owned(), "a filter that is no JSON"),
    ] {
        let answer = api.try_list(&EXPERIMENTS, &[("filter", &bad)]).await?;
        api.http.refused(&answer, what)?;
    }
    Ok(())
}

async fn filters_runs(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let flock = four_runs(cx)?;
    let page = api.list(&RUNS, &flock.pairs(&[])).await?;
    let mut listed = column(&RUNS, &page, "display_name");
    listed.sort();
    ensure_eq!(listed, flock.sorted(), "the list of the experiment's runs");
    let run: Run = cx.setup(&ARTIFACT)?;
    let by_id = filter(&[text("run_id", "EQUALS", &run.id)]);
    let page = api.list(&RUNS, &flock.pairs(&[("filter", &by_id)])).await?;
    ensure_eq!(
        column(&RUNS, &page, "display_name"),
        [run.name().to_owned()],
        "the list of the runs of one id"
    );
    Ok(())
}

async fn filters_recurring_runs(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE_RECURRING_RUNS)?;
    let pairs = [("experiment_id", five.within.as_str())];
    let page = api.list(&RECURRING_RUNS, &pairs).await?;
    let mut listed = column(&RECURRING_RUNS, &page, "display_name");
    listed.sort();
    ensure_eq!(
        listed,
        those(&five.names, |_| true),
        "the list of the experiment's recurring runs"
    );
    let name = &five.names[2];
    let by_name = filter(&[text("name", "EQUALS", name)]);
    let pairs = [pairs[0], ("filter", by_name.as_str())];
    let page = api.list(&RECURRING_RUNS, &pairs).await?;
    ensure_eq!(
        column(&RECURRING_RUNS, &page, "display_name"),
        std::slice::from_ref(name),
        "the list of the experiment's recurring runs of one name"
    );
    Ok(())
}
