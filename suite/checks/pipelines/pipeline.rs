//! Pipelines: what is uploaded is kept, found and guarded.

use super::{
    api::{Api, PIPELINES, column, id_of, objects, total, versions, word},
    setups::{PIPELINE, Pipeline, yaml_of},
};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/pipeline/is-uploaded" => is_uploaded, needs [&PIPELINE];
    "pipelines/pipeline/refuses-duplicate-name" => refuses_duplicate_name;
    "pipelines/pipeline/refuses-what-is-no-pipeline" => refuses_what_is_no_pipeline;
    "pipelines/pipeline/is-found-by-name" => is_found_by_name, needs [&PIPELINE];
    "pipelines/pipeline/is-not-deleted-with-versions" => is_not_deleted_with_versions;
    "pipelines/pipeline/is-created-empty" => is_created_empty;
    "pipelines/pipeline/requires-name" => requires_name;
}

async fn is_uploaded(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let read = api.need(&PIPELINES, &pipeline.id).await?;
    for (object, how) in [(&pipeline.uploaded, "uploaded"), (&read, "read")] {
        for (key, wanted) in [
            ("pipeline_id", pipeline.id.as_str()),
            ("display_name", pipeline.name.as_str()),
            ("description", "made for many runs"),
        ] {
            ensure_eq!(
                word(object, key),
                wanted,
                "`{key}` of the pipeline as {how}"
            );
        }
    }
    let versions = versions(&pipeline.id);
    let made = column(&versions, &pipeline.versions_after_upload, "display_name");
    ensure_eq!(
        made,
        std::slice::from_ref(&pipeline.name),
        "the versions of the pipeline after its upload"
    );
    Ok(())
}

/// Uploads `fixtures/pipelines/typed.yaml` under a name of this check.
async fn upload(cx: &Cx, api: &Api<'_>, name: &str) -> Outcome<String> {
    let yaml = cx.fixture_text("pipelines/typed.yaml", &[("name", name)])?;
    let uploaded = api.upload(&yaml, &[("name", name)]).await?;
    id_of(&PIPELINES, &uploaded)
}

async fn refuses_duplicate_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("twice");
    upload(cx, &api, &name).await?;
    let yaml = cx.fixture_text("pipelines/typed.yaml", &[("name", &name)])?;
    let again = api.try_upload(&yaml, &[("name", &name)]).await?;
    api.http
        .refused(&again, "a second pipeline of the same name")?;
    let count = api.count(&PIPELINES, "name", &name).await?;
    ensure_eq!(count, 1, "the number of pipelines named `{name}`");
    Ok(())
}

async fn refuses_what_is_no_pipeline(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("good");
    upload(cx, &api, &name).await?;
    let good = cx.fixture("pipelines/typed.yaml", &[("name", &name)])?;
    // All of them are well-formed: see `Api::try_upload`.
    for (label, bad, what) in [
        ("other", json!({"a": "b"}), "a file that is no pipeline"),
        (
            "rootless",
            with(&good, "root", Value::Null),
            "a pipeline without a root",
        ),
        (
            "schema",
            with(&good, "schemaVersion", json!("9.9.9")),
            "a pipeline of an unknown schema version",
        ),
        (
            "nameless",
            with(&good, "pipelineInfo.name", Value::Null),
            "a pipeline without a name",
        ),
    ] {
        let name = cx.name(label);
        let answer = api.try_upload(&yaml_of(&bad), &[("name", &name)]).await?;
        api.http.refused(&answer, what)?;
        let count = api.count(&PIPELINES, "name", &name).await?;
        ensure_eq!(count, 0, "the number of pipelines kept of {what}");
    }
    Ok(())
}

async fn is_found_by_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let path = |name: &str| {
        let pairs: Vec<_> = api
            .namespace()
            .map(|n| ("namespace", n))
            .into_iter()
            .collect();
        format!("/pipelines/names/{name}{}", query(&pairs))
    };
    let found = api.http.read(&path(&pipeline.name)).await?;
    ensure_eq!(
        word(&found, "pipeline_id"),
        pipeline.id,
        "the id of the pipeline found by its name"
    );
    let other = api.http.get(&path(&cx.name("unknown"))).await?;
    ensure_eq!(
        other.status,
        404,
        "the status of GET by a name that no pipeline has"
    );
    Ok(())
}

async fn is_not_deleted_with_versions(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let id = upload(cx, &api, &cx.name("guarded")).await?;
    let versions = versions(&id);
    let page = api.list(&versions, &[]).await?;
    let answer = api.try_delete(&PIPELINES, &id).await?;
    api.http
        .refused(&answer, "the deletion of a pipeline that has a version")?;
    api.need(&PIPELINES, &id).await?;
    for version in objects(&versions, &page) {
        api.delete(&versions, &id_of(&versions, version)?).await?;
    }
    api.delete(&PIPELINES, &id).await?;
    api.absent(&PIPELINES, &id, "a deleted pipeline").await
}

async fn is_created_empty(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("empty");
    let asked = json!({"display_name": name, "description": "without a version"});
    let created = api.create(&PIPELINES, &asked).await?;
    let id = id_of(&PIPELINES, &created)?;
    let read = api.need(&PIPELINES, &id).await?;
    for (object, how) in [(&created, "created"), (&read, "read")] {
        for key in ["display_name", "description"] {
            ensure_eq!(
                word(object, key),
                word(&asked, key),
                "`{key}` of the pipeline as {how}"
            );
        }
    }
    let page = api.list(&versions(&id), &[]).await?;
    ensure_eq!(
        total(&page),
        0,
        "the number of versions of a pipeline that was created empty"
    );
    Ok(())
}

async fn requires_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    // The description is what finds a pipeline that has no name.
    let mark = cx.name("nameless");
    let named = json!({"display_name": cx.name("named"), "description": mark});
    api.create(&PIPELINES, &named).await?;
    let nameless = with(&named, "display_name", Value::Null);
    let answer = api.try_create(&PIPELINES, &nameless).await?;
    api.http.refused(&answer, "a pipeline without a name")?;
    let count = api.count(&PIPELINES, "description", &mark).await?;
    ensure_eq!(count, 1, "the number of pipelines of that description");
    Ok(())
}
