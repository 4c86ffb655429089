//! Lists: pages, order and filters.

use std::collections::BTreeSet;

use super::{super::prelude::*, hub, id, ids, model, version};

requirement_checks! {
    "hub/list/pages" => pages;
    "hub/list/orders" => orders;
    "hub/list/filters" => filters;
    "hub/list/refuses-bad-filters" => refuses_bad_filters;
}

/// How many versions are made.
const VERSIONS: usize = 5;

/// A model with some versions: the path of their list and their ids, oldest first.
async fn versions(cx: &Cx, hub: &Http<'_>) -> Outcome<(String, Vec<String>)> {
    let model = model(cx, hub, "model").await?;
    let mut made = Vec::new();
    for number in 1..=VERSIONS {
        let version = version(hub, &model, &format!("v{number}")).await?;
        made.push(id(&version).to_owned());
    }
    Ok((format!("/registered_models/{}/versions", id(&model)), made))
}

async fn pages(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let (path, made) = versions(cx, &hub).await?;
    let (mut token, mut seen) = (String::new(), Vec::new());
    for number in 1..=VERSIONS {
        let asked = query(&[("pageSize", "2"), ("nextPageToken", &token)]);
        let page = hub.read(&format!("{path}{asked}")).await?;
        let found = ids(&page);
        ensure!(
            found.len() <= 2,
            "page {number} of two versions a page has {}",
            found.len()
        );
        ensure_eq!(page["size"], found.len(), "the size of page {number}");
        seen.extend(found.into_iter().map(ToOwned::to_owned));
        let next = page["nextPageToken"].as_str().unwrap_or_default();
        next.clone_into(&mut token);
        if token.is_empty() {
            break;
        }
    }
    ensure!(
        token.is_empty(),
        "{VERSIONS} versions fill more than {VERSIONS} pages of two"
    );
    ensure_eq!(
        seen.len(),
        made.len(),
        "how many versions all pages have together"
    );
    let (seen, made): (BTreeSet<_>, BTreeSet<_>) = (seen.iter().collect(), made.iter().collect());
    ensure!(
        seen == made,
        "all pages together have the versions {seen:?}, not {made:?}"
    );
    Ok(())
}

async fn orders(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let (path, made) = versions(cx, &hub).await?;
    let mut wanted: Vec<&str> = made.iter().map(String::as_str).collect();
    for order in ["ASC", "DESC"] {
        let asked = query(&[("orderBy", "ID"), ("sortOrder", order)]);
        let list = hub.read(&format!("{path}{asked}")).await?;
        ensure_eq!(ids(&list), wanted, "the versions by id, {order},");
        wanted.reverse();
    }
    Ok(())
}

async fn filters(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let made = model(cx, &hub, "kept").await?;
    model(cx, &hub, "other").await?;
    let name = made["name"].as_str().unwrap_or_default();
    let beginning = &name[..name.len() - 1];
    for filter in [
        format!("name = '{name}'"),
        format!("name LIKE '{beginning}%'"),
    ] {
        let asked = query(&[("filterQuery", &filter)]);
        let list = hub.read(&format!("/registered_models{asked}")).await?;
        ensure_eq!(ids(&list), vec![id(&made)], "the models where {filter}");
    }
    Ok(())
}

async fn refuses_bad_filters(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let made = model(cx, &hub, "kept").await?;
    let name = made["name"].as_str().unwrap_or_default();
    let asked = query(&[("filterQuery", &format!("name = '{name}'"))]);
    hub.read(&format!("/registered_models{asked}")).await?;
    let asked = query(&[("filterQuery", "name = = 'x'")]);
    let answer = hub.get(&format!("/registered_models{asked}")).await?;
    super::refused_with(&answer, &[400, 422], "a list by a filter that is none")
}
