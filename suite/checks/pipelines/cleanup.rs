//! Removes what a run left at the Pipelines API.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    api::{
        Api, Collection, EXPERIMENTS, LONGEST_PAGE, PIPELINES, RECURRING_RUNS, RUNS, filter,
        is_final, objects, text, versions, word,
    },
    setups::named_like,
};
use crate::{checks::Cx, outcome::Outcome};

/// The most pages of one list that are looked through.
const MOST_PAGES: usize = 50;

/// Removes everything of the run from the Pipelines API, found by the names that it gives. Returns what could not be
/// removed, a line each; an error only where the API cannot be asked at all.
pub async fn cleanup(cx: &Cx) -> Outcome<Vec<String>> {
    let api = Api::of(cx);
    let mut left = vec![];
    let ours = filter(&[named_like(&cx.prefix())]);
    let ours = [("filter", ours.as_str())];

    // What starts runs goes first, and what it started is known by its id only.
    let mut runs = BTreeMap::new();
    for recurring in all(&api, &RECURRING_RUNS, &ours).await? {
        let id = word(&recurring, RECURRING_RUNS.id);
        remove(&api, &RECURRING_RUNS, &recurring, &mut left).await?;
        let of_it = filter(&[text("recurring_run_id", "EQUALS", id)]);
        note(&mut runs, all(&api, &RUNS, &[("filter", &of_it)]).await?);
    }
    let experiments = all(&api, &EXPERIMENTS, &ours).await?;
    for experiment in &experiments {
        let id = word(experiment, EXPERIMENTS.id);
        note(&mut runs, all(&api, &RUNS, &[("experiment_id", id)]).await?);
    }
    note(&mut runs, all(&api, &RUNS, &ours).await?);
    for run in runs.values() {
        if !is_final(word(run, "state")) {
            // Refused where it has ended in the meantime, which is as good.
            api.try_verb(&RUNS, word(run, RUNS.id), "terminate").await?;
        }
        remove(&api, &RUNS, run, &mut left).await?;
    }
    for experiment in &experiments {
        remove(&api, &EXPERIMENTS, experiment, &mut left).await?;
    }
    for pipeline in all(&api, &PIPELINES, &ours).await? {
        let versions = versions(word(&pipeline, PIPELINES.id));
        for version in all(&api, &versions, &[]).await? {
            remove(&api, &versions, &version, &mut left).await?;
        }
        remove(&api, &PIPELINES, &pipeline, &mut left).await?;
    }
    Ok(left)
}

fn note(runs: &mut BTreeMap<String, Value>, more: Vec<Value>) {
    for run in more {
        runs.insert(word(&run, RUNS.id).to_owned(), run);
    }
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

async fn remove(api: &Api<'_>, of: &Collection, object: &Value, left: &mut Vec<String>) -> Outcome {
    let answer = api.try_delete(of, word(object, of.id)).await?;
    if !answer.is_success() && answer.status != 404 {
        let name = word(object, "display_name");
        left.push(format!(
            "Pipelines: {} `{name}`: {}",
            of.path,
            answer.summary()
        ));
    }
    Ok(())
}
