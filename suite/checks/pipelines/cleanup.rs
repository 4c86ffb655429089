//! Removes what a run left at the Pipelines API.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::{
    api::{
        Api, Collection, EDITOR, EXPERIMENTS, LONGEST_PAGE, PIPELINES, RECURRING_RUNS, RUNS,
        filter, is_final, objects, text, versions, word,
    },
    setups::named_like,
};
use crate::{
    checks::Cx,
    cluster::{
        RUN_LABEL,
        discover::name_of,
        kinds::{PROFILE, SERVICE_ACCOUNT},
    },
    outcome::Outcome,
};

/// How many requests are made at once.
const AT_ONCE: usize = 8;
/// The most pages of one list that are looked through.
const MOST_PAGES: usize = 50;

/// Removes everything of the run from the Pipelines API, found by the names that it gives. Returns what could not be
/// removed, a line each; an error only where the API cannot be asked at all.
pub async fn cleanup(cx: &Cx) -> Outcome<Vec<String>> {
    let own = Api::of(cx);
    let many = cx.facts().multi_user && cx.facts().profiles;
    if !many || Api::of_many_users(cx).is_err() {
        return empty(cx, &own).await;
    }
    // What was made as a neighbour is in the neighbour's namespace.
    let ours = format!("{RUN_LABEL}={}", cx.run.id);
    let profiles = cx.list(&PROFILE, &ours).await?;
    let others = profiles.iter().map(name_of);
    let mut left = vec![];
    for namespace in
        std::iter::once(cx.namespace()).chain(others.filter(|name| *name != cx.namespace()))
    {
        // A namespace without an editor has nobody who could have made something, or who could still remove it.
        if cx
            .get_in(&SERVICE_ACCOUNT, namespace, EDITOR)
            .await?
            .is_some()
        {
            let api = own.as_account(namespace, EDITOR).of_namespace(namespace);
            left.extend(empty(cx, &api).await?);
        }
    }
    Ok(left)
}

/// Removes everything of the run from one namespace, or from all where there are none.
async fn empty(cx: &Cx, api: &Api<'_>) -> Outcome<Vec<String>> {
    let mut left = vec![];
    let ours = filter(&[named_like(&cx.prefix())]);
    let ours = [("filter", ours.as_str())];

    // What starts runs goes first, and what it started is known by its id only.
    let recurring = all(api, &RECURRING_RUNS, &ours).await?;
    left.extend(remove(api, &RECURRING_RUNS, &recurring).await?);
    let experiments = all(api, &EXPERIMENTS, &ours).await?;
    let of_recurring = recurring
        .iter()
        .map(|of| {
            filter(&[text(
                "recurring_run_id",
                "EQUALS",
                word(of, RECURRING_RUNS.id),
            )])
        })
        .map(|of| ("filter", of));
    let of_experiments = experiments
        .iter()
        .map(|of| ("experiment_id", word(of, EXPERIMENTS.id).to_owned()));
    let named = std::iter::once(("filter", ours[0].1.to_owned()));
    let queries: Vec<_> = of_recurring.chain(of_experiments).chain(named).collect();
    let mut runs = BTreeMap::new();
    let found = queries.iter().map(|pair| runs_of(api, pair)).collect();
    for run in side_by_side(found).await?.into_iter().flatten() {
        runs.insert(word(&run, RUNS.id).to_owned(), run);
    }
    let runs: Vec<Value> = runs.into_values().collect();
    for run in runs.iter().filter(|run| !is_final(word(run, "state"))) {
        // Refused where it has ended in the meantime, which is as good.
        api.try_verb(&RUNS, word(run, RUNS.id), "terminate").await?;
    }
    left.extend(remove(api, &RUNS, &runs).await?);
    left.extend(remove(api, &EXPERIMENTS, &experiments).await?);
    let pipelines = all(api, &PIPELINES, &ours).await?;
    let emptied = pipelines
        .iter()
        .map(|pipeline| remove_versions(api, pipeline))
        .collect();
    left.extend(side_by_side(emptied).await?.into_iter().flatten());
    left.extend(remove(api, &PIPELINES, &pipelines).await?);
    Ok(left)
}

/// The runs that a query finds.
async fn runs_of(api: &Api<'_>, (key, value): &(&str, String)) -> Outcome<Vec<Value>> {
    all(api, &RUNS, &[(key, value)]).await
}

/// All objects that a query finds, page by page.
async fn all(api: &Api<'_>, of: &Collection, pairs: &[(&str, &str)]) -> Outcome<Vec<Value>> {
    let mut found = vec![];
    let mut token = String::new();
    for _ in 0..MOST_PAGES {
        let mut pairs = pairs.to_vec();
        pairs.extend([("page_size", LONGEST_PAGE), ("page_token", &token)]);
        let page = api.list(of, &pairs).await?;
        found.extend(objects(of, &page).cloned());
        word(&page, "next_page_token").clone_into(&mut token);
        if token.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// Makes requests side by side, a few at a time.
async fn side_by_side<T>(requests: Vec<impl Future<Output = Outcome<T>>>) -> Outcome<Vec<T>> {
    let requests = stream::iter(requests).buffer_unordered(AT_ONCE);
    requests.try_collect().await
}

/// Deletes the versions of a pipeline; returns those that stay, and why.
async fn remove_versions(api: &Api<'_>, pipeline: &Value) -> Outcome<Vec<String>> {
    let versions = versions(word(pipeline, PIPELINES.id));
    remove(api, &versions, &all(api, &versions, &[]).await?).await
}

/// Deletes objects; returns those that stay, and why.
async fn remove(api: &Api<'_>, of: &Collection, objects: &[Value]) -> Outcome<Vec<String>> {
    let left = objects.iter().map(|object| remove_one(api, of, object));
    let left = side_by_side(left.collect()).await?;
    Ok(left.into_iter().flatten().collect())
}

/// Deletes an object; says why it stays, if so.
async fn remove_one(api: &Api<'_>, of: &Collection, object: &Value) -> Outcome<Option<String>> {
    let answer = api.try_delete(of, word(object, of.id)).await?;
    let gone = answer.is_success() || answer.status == 404;
    let name = word(object, "display_name");
    let left = || format!("Pipelines: {} `{name}`: {}", of.path, answer.summary());
    Ok((!gone).then(left))
}
