//! Archives what a run registered: the API has no way to remove it.

use super::{super::prelude::*, change, hub, id};

/// The most pages of the list that are looked through.
const MOST_PAGES: usize = 100;

/// Archives the models whose names are the run's; returns those that could not be. Serving environments and inference
/// services have no state, and stay as they are.
pub(super) async fn archive(cx: &Cx) -> Outcome<Vec<String>> {
    let hub = hub(cx);
    let prefix = cx.prefix();
    let (mut token, mut left) = (String::new(), Vec::new());
    for _ in 0..MOST_PAGES {
        // Releases that know no filter ignore it.
        let filter = format!("name LIKE '{prefix}%'");
        let pages = query(&[
            ("pageSize", "100"),
            ("nextPageToken", &token),
            ("filterQuery", &filter),
        ]);
        let page = hub.read(&format!("/registered_models{pages}")).await?;
        let models = page["items"].as_array();
        for model in models.into_iter().flatten() {
            let name = model["name"].as_str().unwrap_or_default();
            if !name.starts_with(&prefix) || model["state"] == "ARCHIVED" {
                continue;
            }
            let path = format!("/registered_models/{}", id(model));
            let archived = change(&hub, &path, &json!({"state": "ARCHIVED"})).await;
            if archived.is_err() {
                left.push(format!("RegisteredModel//{name}"));
            }
        }
        token = page["nextPageToken"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if token.is_empty() {
            break;
        }
    }
    Ok(left)
}
