//! What later releases added to pipelines and versions: display names beside names, changes, tags.

use super::api::{Api, Collection, PIPELINES, column, filter, id_of, text, total, versions, word};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/pipeline/keeps-display-name" => keeps_display_name;
    "pipelines/pipeline/is-deleted-with-versions" => is_deleted_with_versions;
    "pipelines/pipeline/is-renamed" => is_renamed;
    "pipelines/version/is-renamed" => version_is_renamed;
    "pipelines/pipeline/keeps-tags" => keeps_tags;
    "pipelines/pipeline/is-found-by-tag" => is_found_by_tag;
    "pipelines/pipeline/refuses-too-many-tags" => refuses_too_many_tags;
    "pipelines/version/keeps-tags" => version_keeps_tags;
}

/// Uploads a pipeline and returns it.
async fn upload(cx: &Cx, api: &Api<'_>, name: &str, more: &[(&str, &str)]) -> Outcome<Value> {
    let yaml = cx.fixture_text("pipelines/typed.yaml", &[("name", name)])?;
    let mut pairs = vec![("name", name)];
    pairs.extend_from_slice(more);
    api.upload(&yaml, &pairs).await
}

/// The one version of an uploaded pipeline.
async fn version_of(api: &Api<'_>, pipeline: &str) -> Outcome<(Collection, String)> {
    let versions = versions(pipeline);
    let page = api.list(&versions, &[]).await?;
    match column(&versions, &page, versions.id).pop() {
        Some(id) => Ok((versions, id)),
        None => Err(Stop::unlike(
            "the uploaded pipeline has no version",
            "one version",
            "none",
        )),
    }
}

async fn keeps_display_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("apart");
    let uploaded = upload(cx, &api, &name, &[("display_name", "Ash & Öak")]).await?;
    let id = id_of(&PIPELINES, &uploaded)?;
    let read = api.need(&PIPELINES, &id).await?;
    for (object, how) in [(&uploaded, "uploaded"), (&read, "read")] {
        for (key, wanted) in [("name", name.as_str()), ("display_name", "Ash & Öak")] {
            ensure_eq!(
                word(object, key),
                wanted,
                "`{key}` of the pipeline as {how}"
            );
        }
    }
    let by_name = api.count(&PIPELINES, "name", &name).await?;
    ensure_eq!(by_name, 1, "the number of pipelines of the name `{name}`");
    Ok(())
}

async fn is_deleted_with_versions(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let uploaded = upload(cx, &api, &cx.name("cascade"), &[]).await?;
    let id = id_of(&PIPELINES, &uploaded)?;
    let (versions, version) = version_of(&api, &id).await?;
    let path = format!("/{}/{id}?cascade=true", PIPELINES.path);
    let answer = api.http.delete(&path).await?;
    api.http.accepted(&answer, &format!("DELETE {path}"))?;
    api.absent(&PIPELINES, &id, "a pipeline deleted with its versions")
        .await?;
    api.absent(&versions, &version, "a version deleted with its pipeline")
        .await
}

async fn is_renamed(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("renamed");
    let uploaded = upload(cx, &api, &name, &[("description", "stays as it is")]).await?;
    let id = id_of(&PIPELINES, &uploaded)?;
    let changed = api
        .change(&PIPELINES, &id, &json!({"display_name": "Elm"}))
        .await?;
    let read = api.need(&PIPELINES, &id).await?;
    renamed(&[(&changed, "changed"), (&read, "read")], &name)
}

async fn version_is_renamed(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("renamed");
    let uploaded = upload(cx, &api, &name, &[("description", "stays as it is")]).await?;
    let (versions, version) = version_of(&api, &id_of(&PIPELINES, &uploaded)?).await?;
    let before = api.need(&versions, &version).await?;
    let changed = api
        .change(&versions, &version, &json!({"display_name": "Elm"}))
        .await?;
    let read = api.need(&versions, &version).await?;
    ensure_eq!(
        read["pipeline_spec"],
        before["pipeline_spec"],
        "the pipeline of the renamed version"
    );
    renamed(&[(&changed, "changed"), (&read, "read")], &name)
}

/// The display name is new, and what was not to be changed is as it was.
fn renamed(objects: &[(&Value, &str)], name: &str) -> Outcome {
    for (object, how) in objects {
        for (key, wanted) in [
            ("display_name", "Elm"),
            ("name", name),
            ("description", "stays as it is"),
        ] {
            ensure_eq!(word(object, key), wanted, "`{key}` of what was {how}");
        }
    }
    Ok(())
}

/// Tags are what they are set to: first some, then others in their place, then none.
async fn tags_are_kept(api: &Api<'_>, of: &Collection, id: &str) -> Outcome {
    for tags in [
        json!({"team": "oak", "stage": "test"}),
        json!({"team": "ash"}),
    ] {
        let changed = api.change(of, id, &json!({"tags": tags})).await?;
        ensure_eq!(changed["tags"], tags, "`tags` as they were changed");
        let read = api.need(of, id).await?;
        ensure_eq!(read["tags"], tags, "`tags` as they are read");
    }
    // A change of something else leaves them.
    api.change(of, id, &json!({"display_name": "Elm"})).await?;
    let read = api.need(of, id).await?;
    ensure_eq!(
        read["tags"],
        json!({"team": "ash"}),
        "`tags` after a change of the display name"
    );
    api.change(of, id, &json!({"tags": {}})).await?;
    let read = api.need(of, id).await?;
    let none = read["tags"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty);
    ensure!(none, "`tags` after they were emptied are {}", read["tags"]);
    Ok(())
}

async fn keeps_tags(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let uploaded = upload(cx, &api, &cx.name("tagged"), &[]).await?;
    tags_are_kept(&api, &PIPELINES, &id_of(&PIPELINES, &uploaded)?).await
}

async fn version_keeps_tags(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let uploaded = upload(cx, &api, &cx.name("tagged"), &[]).await?;
    let (versions, version) = version_of(&api, &id_of(&PIPELINES, &uploaded)?).await?;
    tags_are_kept(&api, &versions, &version).await
}

async fn is_found_by_tag(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    // A value that only this run has.
    let mark = cx.name("tag");
    let mut ids = vec![];
    for (label, tree) in [("oak", "oak"), ("ash", "ash")] {
        let asked = json!({
            "display_name": cx.name(label), "tags": {"tree": tree, "mark": mark},
        });
        let made = api.create(&PIPELINES, &asked).await?;
        ids.push(id_of(&PIPELINES, &made)?);
    }
    let with_mark = text("tags.mark", "EQUALS", &mark);
    let by_tags = filter(&[with_mark.clone(), text("tags.tree", "EQUALS", "ash")]);
    let page = api.list(&PIPELINES, &[("filter", &by_tags)]).await?;
    ensure_eq!(
        column(&PIPELINES, &page, PIPELINES.id),
        [ids[1].clone()],
        "the pipelines of both tags"
    );
    let page = api
        .list(&PIPELINES, &[("filter", &filter(&[with_mark]))])
        .await?;
    ensure_eq!(total(&page), 2, "the number of pipelines of one tag");
    Ok(())
}

async fn refuses_too_many_tags(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let tags = |count: usize| -> Value {
        let tags = (0..count).map(|number| (format!("k{number}"), json!("v")));
        tags.collect::<serde_json::Map<_, _>>().into()
    };
    let made = api
        .create(
            &PIPELINES,
            &json!({"display_name": cx.name("twenty"), "tags": tags(20)}),
        )
        .await?;
    let id = id_of(&PIPELINES, &made)?;
    let name = cx.name("twenty-one");
    let bad = json!({"display_name": name, "tags": tags(21)});
    let answer = api.try_create(&PIPELINES, &bad).await?;
    api.http.refused(&answer, "a pipeline of 21 tags")?;
    let count = api.count(&PIPELINES, "name", &name).await?;
    ensure_eq!(count, 0, "the number of pipelines kept of 21 tags");
    let answer = api
        .try_change(&PIPELINES, &id, &json!({"tags": tags(21)}))
        .await?;
    api.http
        .refused(&answer, "the change of a pipeline to 21 tags")
}
