//! Pipelines: what is uploaded is kept, found and guarded.

use super::{
    api::{Api, PIPELINES, column, id_of, objects, versions, word},
    setups::{PIPELINE, Pipeline, yaml_of},
};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/pipeline/is-uploaded" => is_uploaded, needs [&PIPELINE];
    "pipelines/pipeline/keeps-what-was-uploaded" => keeps_what_was_uploaded;
    "pipelines/pipeline/refuses-duplicate-name" => refuses_duplicate_name;
    "pipelines/pipeline/refuses-what-is-no-pipeline" => refuses_what_is_no_pipeline;
    "pipelines/pipeline/is-found-by-name" => is_found_by_name, needs [&PIPELINE];
    "pipelines/pipeline/is-not-deleted-with-versions" => is_not_deleted_with_versions;
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

async fn keeps_what_was_uploaded(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("typed");
    let id = upload(cx, &api, &name).await?;
    let versions = versions(&id);
    let page = api.list(&versions, &[]).await?;
    let Some(version) = objects(&versions, &page).next() else {
        return Err(Stop::unlike(
            format!("pipeline `{name}` has no version after its upload"),
            "one version",
            "none",
        ));
    };
    let version = api.need(&versions, &id_of(&versions, version)?).await?;
    let kept = &version["pipeline_spec"];
    // With a platform document beside it the pipeline is one level down.
    let kept = if kept["pipeline_spec"].is_object() {
        &kept["pipeline_spec"]
    } else {
        kept
    };
    let wanted = cx.fixture("pipelines/typed.yaml", &[("name", &name)])?;
    if let Some((path, wanted, kept)) = difference("pipeline_spec", &wanted, kept) {
        return Err(Stop::unlike(
            format!("`{path}` of the uploaded pipeline is {kept}, not {wanted}"),
            wanted.to_string(),
            kept.to_string(),
        ));
    }
    Ok(())
}

/// The first place where two documents differ, and what each has there. Numbers are equal by value: JSON has one kind.
fn difference<'v>(
    path: &str,
    wanted: &'v Value,
    seen: &'v Value,
) -> Option<(String, &'v Value, &'v Value)> {
    match (wanted, seen) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.map(|key| (format!("{path}.{key}"), &wanted[key], &seen[key]))
                .find_map(|(path, a, b)| difference(&path, a, b))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(at, (a, b))| difference(&format!("{path}[{at}]"), a, b)),
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ if wanted == seen => None,
        _ => Some((path.to_owned(), wanted, seen)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_by_its_path() {
        let a = json!({"x": {"y": [1, 2.0]}, "z": null});
        assert_eq!(
            difference("s", &a, &json!({"z": null, "x": {"y": [1.0, 2]}})),
            None
        );
        for (b, path) in [
            (json!({"x": {"y": [1, 3]}, "z": null}), "s.x.y[1]"),
            (json!({"x": {"y": [1]}, "z": null}), "s.x.y"),
            (json!({"x": {"y": [1, 2]}, "w": 1}), "s.w"),
        ] {
            assert_eq!(
                difference("s", &a, &b).map(|(path, ..)| path).as_deref(),
                Some(path)
            );
        }
    }
}
