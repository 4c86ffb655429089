//! Lists: pages, order, filters. The same for five experiments and for the four runs of one.

use super::{
    api::{Api, Collection, EXPERIMENTS, RUNS, column, filter, text, total, word},
    setups::{
        ARTIFACT, CHOSE_ELSE, CHOSE_THEN, EXPERIMENT, Experiment, FIVE, Five, INLINE, Run,
        named_like,
    },
};
use crate::checks::{Setup, prelude::*};

requirement_checks! {
    "pipelines/list/pages-experiments" => pages_experiments, needs [&FIVE];
    "pipelines/list/sorts-experiments" => sorts_experiments, needs [&FIVE];
    "pipelines/list/filters-by-equality" => filters_by_equality, needs [&FIVE];
    "pipelines/list/filters-by-substring" => filters_by_substring, needs [&FIVE];
    "pipelines/list/joins-predicates" => joins_predicates, needs [&FIVE];
    "pipelines/list/refuses-bad-token" => refuses_bad_token, needs [&FIVE];
    "pipelines/list/refuses-unknown-order" => refuses_unknown_order, needs [&FIVE];
    "pipelines/list/refuses-bad-filter" => refuses_bad_filter, needs [&FIVE];
    "pipelines/list/pages-runs" => pages_runs, needs [&EXPERIMENT, &INLINE, &ARTIFACT, &CHOSE_THEN, &CHOSE_ELSE];
    "pipelines/list/sorts-runs" => sorts_runs, needs [&EXPERIMENT, &INLINE, &ARTIFACT, &CHOSE_THEN, &CHOSE_ELSE];
    "pipelines/list/filters-runs" => filters_runs, needs [&EXPERIMENT, &INLINE, &ARTIFACT, &CHOSE_THEN, &CHOSE_ELSE];
}

/// The set-ups whose runs are in the experiment of `EXPERIMENT`.
static RUNS_OF_EXPERIMENT: [&Setup; 4] = [&INLINE, &ARTIFACT, &CHOSE_THEN, &CHOSE_ELSE];

/// Objects that one query finds.
struct Flock {
    of: Collection,
    /// What finds them and no others.
    scope: Vec<(&'static str, String)>,
    /// Their names, in no order.
    names: Vec<String>,
}

fn five_experiments(cx: &Cx) -> Outcome<Flock> {
    let five: Five = cx.setup(&FIVE)?;
    Ok(Flock {
        of: EXPERIMENTS,
        scope: vec![("filter", filter(&[named_like(&five.part)]))],
        names: five.names,
    })
}

fn four_runs(cx: &Cx) -> Outcome<Flock> {
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let mut names = vec![];
    for setup in RUNS_OF_EXPERIMENT {
        let run: Run = cx.setup(setup)?;
        names.push(run.name().to_owned());
    }
    Ok(Flock {
        of: RUNS,
        scope: vec![("experiment_id", experiment.id)],
        names,
    })
}

impl Flock {
    fn pairs<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let scope = self.scope.iter().map(|(key, value)| (*key, value.as_str()));
        scope.chain(more.iter().copied()).collect()
    }

    fn sorted(&self) -> Vec<String> {
        let mut names = self.names.clone();
        names.sort();
        names
    }
}

/// Pages of two hold each object once, each says how many there are, and only the last has no token.
async fn pages(cx: &Cx, flock: &Flock) -> Outcome {
    let api = Api::of(cx);
    let all = flock.names.len();
    let mut seen: Vec<String> = vec![];
    let mut token = String::new();
    for number in 1..=all.div_ceil(2) {
        let pairs = flock.pairs(&[("page_size", "2"), ("page_token", &token)]);
        let page = api.list(&flock.of, &pairs).await?;
        let names = column(&flock.of, &page, "display_name");
        let wanted = (all - seen.len()).min(2);
        ensure_eq!(
            names.len(),
            wanted,
            "the number of objects on page {number}"
        );
        ensure_eq!(total(&page), all as u64, "`total_size` of page {number}");
        seen.extend(names);
        word(&page, "next_page_token").clone_into(&mut token);
        ensure_eq!(
            token.is_empty(),
            seen.len() == all,
            "whether page {number} is the last"
        );
    }
    seen.sort();
    ensure_eq!(seen, flock.sorted(), "what the pages hold together");
    Ok(())
}

/// The order by name is the alphabet's, and `desc` turns it round.
async fn sorts(cx: &Cx, flock: &Flock) -> Outcome {
    let api = Api::of(cx);
    let mut wanted = flock.sorted();
    for order in ["name asc", "name desc"] {
        let page = api
            .list(&flock.of, &flock.pairs(&[("sort_by", order)]))
            .await?;
        let names = column(&flock.of, &page, "display_name");
        ensure_eq!(names, wanted, "the list sorted by `{order}`");
        wanted.reverse();
    }
    Ok(())
}

/// The names that a filter finds, sorted.
async fn found(api: &Api<'_>, of: &Collection, predicates: &[Value]) -> Outcome<Vec<String>> {
    let filter = filter(predicates);
    let page = api.list(of, &[("filter", &filter)]).await?;
    let mut names = column(of, &page, "display_name");
    names.sort();
    Ok(names)
}

async fn pages_experiments(cx: &Cx) -> Outcome {
    pages(cx, &five_experiments(cx)?).await
}

async fn sorts_experiments(cx: &Cx) -> Outcome {
    sorts(cx, &five_experiments(cx)?).await
}

async fn pages_runs(cx: &Cx) -> Outcome {
    pages(cx, &four_runs(cx)?).await
}

async fn sorts_runs(cx: &Cx) -> Outcome {
    sorts(cx, &four_runs(cx)?).await
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

async fn filters_by_substring(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    for part in [&five.part, &five.longer_part] {
        let mut wanted: Vec<String> = five
            .names
            .iter()
            .filter(|name| name.contains(part.as_str()))
            .cloned()
            .collect();
        wanted.sort();
        let names = found(&api, &EXPERIMENTS, &[named_like(part)]).await?;
        ensure_eq!(names, wanted, "what IS_SUBSTRING `{part}` finds");
    }
    Ok(())
}

async fn joins_predicates(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    let without = &five.names[0];
    let mut wanted: Vec<String> = five
        .names
        .iter()
        .filter(|name| *name != without)
        .cloned()
        .collect();
    wanted.sort();
    let predicates = [named_like(&five.part), text("name", "NOT_EQUALS", without)];
    let names = found(&api, &EXPERIMENTS, &predicates).await?;
    ensure_eq!(
        names,
        wanted,
        "what IS_SUBSTRING and NOT_EQUALS find together"
    );
    Ok(())
}

async fn refuses_bad_token(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let flock = five_experiments(cx)?;
    let first = api
        .list(&EXPERIMENTS, &flock.pairs(&[("page_size", "2")]))
        .await?;
    let token = word(&first, "next_page_token");
    api.list(
        &EXPERIMENTS,
        &flock.pairs(&[("page_size", "2"), ("page_token", token)]),
    )
    .await?;
    let pairs = flock.pairs(&[("page_size", "2"), ("page_token", "%%%")]);
    let answer = api.try_list(&EXPERIMENTS, &pairs).await?;
    api.http
        .refused(&answer, "a page token that the server never gave")
}

async fn refuses_unknown_order(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    api.list(&EXPERIMENTS, &[("sort_by", "name desc")]).await?;
    for order in ["no_such_field", "name upwards"] {
        let answer = api.try_list(&EXPERIMENTS, &[("sort_by", order)]).await?;
        api.http.refused(&answer, &format!("the order `{order}`"))?;
    }
    Ok(())
}

async fn refuses_bad_filter(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    found(&api, &EXPERIMENTS, &[named_like(&five.part)]).await?;
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
