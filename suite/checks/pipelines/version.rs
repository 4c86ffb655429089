//! Versions of a pipeline.

use super::api::{Api, PIPELINES, column, id_of, total, versions, word};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/version/is-added" => is_added;
    "pipelines/version/refuses-duplicate-name" => refuses_duplicate_name;
    "pipelines/version/refuses-unknown-pipeline" => refuses_unknown_pipeline;
    "pipelines/version/is-deleted-alone" => is_deleted_alone;
}

/// A pipeline of this check with a version, and a second version called `second`.
struct Made {
    yaml: String,
    id: String,
    /// The second version as the upload answered it.
    second: Value,
}

async fn make(cx: &Cx, api: &Api<'_>) -> Outcome<Made> {
    let name = cx.name("versions");
    let yaml = cx.fixture_text("pipelines/typed.yaml", &[("name", &name)])?;
    let id = id_of(&PIPELINES, &api.upload(&yaml, &[("name", &name)]).await?)?;
    let second = api
        .upload_version(&yaml, &[("name", "second"), ("pipelineid", &id)])
        .await?;
    Ok(Made { yaml, id, second })
}

async fn is_added(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let made = make(cx, &api).await?;
    let versions = versions(&made.id);
    let id = id_of(&versions, &made.second)?;
    let read = api.need(&versions, &id).await?;
    for (version, how) in [(&made.second, "uploaded"), (&read, "read")] {
        for (key, wanted) in [
            ("pipeline_id", made.id.as_str()),
            ("pipeline_version_id", id.as_str()),
            ("display_name", "second"),
        ] {
            ensure_eq!(
                word(version, key),
                wanted,
                "`{key}` of the version as {how}"
            );
        }
    }
    let page = api.list(&versions, &[]).await?;
    ensure_eq!(total(&page), 2, "the number of versions of the pipeline");
    Ok(())
}

async fn refuses_duplicate_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let made = make(cx, &api).await?;
    let pairs = [("name", "second"), ("pipelineid", made.id.as_str())];
    let again = api.try_upload_version(&made.yaml, &pairs).await?;
    api.http
        .refused(&again, "a second version of the same name")?;
    let page = api.list(&versions(&made.id), &[]).await?;
    ensure_eq!(total(&page), 2, "the number of versions of the pipeline");
    Ok(())
}

async fn refuses_unknown_pipeline(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let made = make(cx, &api).await?;
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (pairs, what) in [
        (
            &[("name", "third"), ("pipelineid", unknown)][..],
            "a version of an unknown pipeline",
        ),
        (&[("name", "third")][..], "a version of no pipeline"),
    ] {
        let answer = api.try_upload_version(&made.yaml, pairs).await?;
        api.http.refused(&answer, what)?;
    }
    Ok(())
}

async fn is_deleted_alone(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let made = make(cx, &api).await?;
    let versions = versions(&made.id);
    let id = id_of(&versions, &made.second)?;
    let both = column(&versions, &api.list(&versions, &[]).await?, versions.id);
    api.delete(&versions, &id).await?;
    api.absent(&versions, &id, "a deleted version").await?;
    for other in both.iter().filter(|other| **other != id) {
        api.need(&versions, other).await?;
    }
    let left = column(&versions, &api.list(&versions, &[]).await?, versions.id);
    let wanted: Vec<String> = both.into_iter().filter(|other| *other != id).collect();
    ensure_eq!(left, wanted, "the versions that are left");
    Ok(())
}
