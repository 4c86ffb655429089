//! Lists: pages and order, the same for objects of each kind. What is found is in `filters`.

pub(super) mod filters;

use super::{
    api::{
        Api, Collection, EXPERIMENTS, PIPELINES, RECURRING_RUNS, RUNS, column, filter, total,
        versions, word,
    },
    setups::{
        ARTIFACT, CHOSE_ELSE, CHOSE_THEN, EXPERIMENT, Experiment, FIVE, FIVE_PIPELINES,
        FIVE_RECURRING_RUNS, FIVE_VERSIONS, Five, INLINE, Run, named_like,
    },
};
use crate::checks::{Setup, prelude::*};

requirement_checks! {
    "pipelines/list/pages-experiments" => pages_experiments, needs [&FIVE];
    "pipelines/list/pages-pipelines" => pages_pipelines, needs [&FIVE_PIPELINES];
    "pipelines/list/pages-versions" => pages_versions, needs [&FIVE_VERSIONS];
    "pipelines/list/pages-runs" => pages_runs, needs [&EXPERIMENT, &INLINE, &ARTIFACT, &CHOSE_THEN, &CHOSE_ELSE];
    "pipelines/list/pages-recurring-runs" => pages_recurring_runs, needs [&FIVE_RECURRING_RUNS];
    "pipelines/list/sorts-experiments" => sorts_experiments, needs [&FIVE];
    "pipelines/list/sorts-pipelines" => sorts_pipelines, needs [&FIVE_PIPELINES];
    "pipelines/list/sorts-versions" => sorts_versions, needs [&FIVE_VERSIONS];
    "pipelines/list/sorts-runs" => sorts_runs, needs [&EXPERIMENT, &INLINE, &ARTIFACT, &CHOSE_THEN, &CHOSE_ELSE];
    "pipelines/list/sorts-recurring-runs" => sorts_recurring_runs, needs [&FIVE_RECURRING_RUNS];
    "pipelines/list/sorts-by-time" => sorts_by_time, needs [&FIVE];
    "pipelines/list/refuses-unknown-order" => refuses_unknown_order;
    "pipelines/list/refuses-bad-token" => refuses_bad_token, needs [&FIVE];
    "pipelines/list/refuses-token-of-other-order" => refuses_token_of_other_order, needs [&FIVE];
    "pipelines/list/takes-large-page-size" => takes_large_page_size, needs [&FIVE];
    "pipelines/list/refuses-negative-page-size" => refuses_negative_page_size, needs [&FIVE];
}

/// The set-ups whose runs are in the experiment of `EXPERIMENT` and of which checks make lists.
static RUNS_OF_EXPERIMENT: [&Setup; 4] = [&INLINE, &ARTIFACT, &CHOSE_THEN, &CHOSE_ELSE];

/// Objects that one query finds.
struct Flock {
    of: Collection,
    /// What finds them and no others.
    scope: Vec<(&'static str, String)>,
    /// Their names, in no order.
    names: Vec<String>,
}

/// Five objects of a kind, which are found by what their names share.
fn five(cx: &Cx, setup: &Setup, of: impl FnOnce(&Five) -> Collection) -> Outcome<Flock> {
    let five: Five = cx.setup(setup)?;
    Ok(Flock {
        of: of(&five),
        scope: vec![("filter", filter(&[named_like(&five.part)]))],
        names: five.names,
    })
}

fn five_experiments(cx: &Cx) -> Outcome<Flock> {
    five(cx, &FIVE, |_| EXPERIMENTS)
}

fn five_pipelines(cx: &Cx) -> Outcome<Flock> {
    five(cx, &FIVE_PIPELINES, |_| PIPELINES)
}

fn five_versions(cx: &Cx) -> Outcome<Flock> {
    five(cx, &FIVE_VERSIONS, |five| versions(&five.within))
}

fn five_recurring_runs(cx: &Cx) -> Outcome<Flock> {
    five(cx, &FIVE_RECURRING_RUNS, |_| RECURRING_RUNS)
}

/// The runs of `EXPERIMENT`: no other check makes runs in it.
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

async fn pages_experiments(cx: &Cx) -> Outcome {
    pages(cx, &five_experiments(cx)?).await
}

async fn pages_pipelines(cx: &Cx) -> Outcome {
    pages(cx, &five_pipelines(cx)?).await
}

async fn pages_versions(cx: &Cx) -> Outcome {
    pages(cx, &five_versions(cx)?).await
}

async fn pages_runs(cx: &Cx) -> Outcome {
    pages(cx, &four_runs(cx)?).await
}

async fn pages_recurring_runs(cx: &Cx) -> Outcome {
    pages(cx, &five_recurring_runs(cx)?).await
}

async fn sorts_experiments(cx: &Cx) -> Outcome {
    sorts(cx, &five_experiments(cx)?).await
}

async fn sorts_pipelines(cx: &Cx) -> Outcome {
    sorts(cx, &five_pipelines(cx)?).await
}

async fn sorts_versions(cx: &Cx) -> Outcome {
    sorts(cx, &five_versions(cx)?).await
}

async fn sorts_runs(cx: &Cx) -> Outcome {
    sorts(cx, &four_runs(cx)?).await
}

async fn sorts_recurring_runs(cx: &Cx) -> Outcome {
    sorts(cx, &five_recurring_runs(cx)?).await
}

async fn sorts_by_time(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let five: Five = cx.setup(&FIVE)?;
    let flock = five_experiments(cx)?;
    // Those that were created within one second may come in any order among themselves.
    let (older, younger) = five.names.split_at(3);
    for (order, first) in [
        ("created_at asc", older),
        ("created_at", older),
        ("created_at desc", younger),
    ] {
        let pairs = flock.pairs(&[("sort_by", order)]);
        let page = api.list(&flock.of, &pairs).await?;
        let names = column(&flock.of, &page, "display_name");
        let mut seen: Vec<String> = names.into_iter().take(first.len()).collect();
        seen.sort();
        let mut wanted = first.to_vec();
        wanted.sort();
        ensure_eq!(seen, wanted, "what is first in the list by `{order}`");
    }
    Ok(())
}

async fn refuses_unknown_order(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let ours = filter(&[named_like(&cx.prefix())]);
    let by = |order| [("filter", ours.as_str()), ("sort_by", order)];
    api.list(&EXPERIMENTS, &by("name desc")).await?;
    for order in ["no_such_field", "name upwards"] {
        let answer = api.try_list(&EXPERIMENTS, &by(order)).await?;
        api.http.refused(&answer, &format!("the order `{order}`"))?;
    }
    Ok(())
}

/// The first page of two of the five experiments by name, and the token for the next, which is good.
async fn first_page(api: &Api<'_>, flock: &Flock) -> Outcome<String> {
    let pairs = [("page_size", "2"), ("sort_by", "name")];
    let first = api.list(&flock.of, &flock.pairs(&pairs)).await?;
    let token = word(&first, "next_page_token").to_owned();
    let next = [pairs[0], pairs[1], ("page_token", &token)];
    api.list(&flock.of, &flock.pairs(&next)).await?;
    Ok(token)
}

async fn refuses_bad_token(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let flock = five_experiments(cx)?;
    first_page(&api, &flock).await?;
    let pairs = flock.pairs(&[("page_size", "2"), ("page_token", "%%%")]);
    let answer = api.try_list(&EXPERIMENTS, &pairs).await?;
    api.http
        .refused(&answer, "a page token that the server never gave")
}

async fn refuses_token_of_other_order(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let flock = five_experiments(cx)?;
    let token = first_page(&api, &flock).await?;
    for order in ["name desc", "created_at"] {
        let pairs = [
            ("page_size", "2"),
            ("sort_by", order),
            ("page_token", &token),
        ];
        let answer = api.try_list(&EXPERIMENTS, &flock.pairs(&pairs)).await?;
        let what = format!("the order `{order}` with the token of a list by `name`");
        api.http.refused(&answer, &what)?;
    }
    Ok(())
}

async fn refuses_negative_page_size(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let flock = five_experiments(cx)?;
    for size in ["0", "5"] {
        let page = api
            .list(&EXPERIMENTS, &flock.pairs(&[("page_size", size)]))
            .await?;
        let listed = column(&EXPERIMENTS, &page, "display_name").len();
        ensure_eq!(listed, 5, "the number of objects with `page_size` {size}");
    }
    let answer = api
        .try_list(&EXPERIMENTS, &flock.pairs(&[("page_size", "-1")]))
        .await?;
    api.http.refused(&answer, "a page of -1 objects")
}

/// A page that is larger than the server's largest is cut, not refused.
async fn takes_large_page_size(cx: &Cx) -> Outcome {
    let flock = five_experiments(cx)?;
    let pairs = flock.pairs(&[("page_size", "100000")]);
    let page = Api::of(cx).list(&flock.of, &pairs).await?;
    let mut names = column(&flock.of, &page, "display_name");
    names.sort();
    ensure_eq!(names, flock.sorted(), "a page of up to 100,000 objects");
    Ok(())
}
