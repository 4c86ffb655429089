//! What is uploaded: the forms that a file may have, and what is kept of it.

use super::{
    api::{Api, PIPELINES, id_of, objects, versions},
    archive,
};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/pipeline/keeps-what-was-uploaded" => keeps_what_was_uploaded;
    "pipelines/pipeline/is-uploaded-as-zip" => is_uploaded_as_zip;
    "pipelines/pipeline/is-uploaded-as-tarball" => is_uploaded_as_tarball;
}

/// A pipeline under a name of this check, as a file.
fn file(cx: &Cx, name: &str) -> Outcome<String> {
    cx.fixture_text("pipelines/typed.yaml", &[("name", name)])
}

/// The one version of a pipeline that was just uploaded is this pipeline.
async fn is_kept(cx: &Cx, api: &Api<'_>, name: &str, answer: &Answer) -> Outcome {
    let pipeline = api.http.accepted(answer, "POST /pipelines/upload")?;
    let versions = versions(&id_of(&PIPELINES, &pipeline)?);
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
    let wanted = cx.fixture("pipelines/typed.yaml", &[("name", name)])?;
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
pub(super) fn difference<'v>(
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

async fn keeps_what_was_uploaded(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("typed");
    let answer = api
        .try_upload(&file(cx, &name)?, &[("name", &name)])
        .await?;
    is_kept(cx, &api, &name, &answer).await
}

async fn is_uploaded_as_zip(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("zip");
    let zip = archive::zip("pipeline.yaml", file(cx, &name)?.as_bytes())?;
    let answer = api
        .try_upload_file("pipeline.zip", &zip, &[("name", &name)])
        .await?;
    is_kept(cx, &api, &name, &answer).await
}

async fn is_uploaded_as_tarball(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("tar");
    let tarball = archive::tarball("pipeline.yaml", file(cx, &name)?.as_bytes())?;
    let answer = api
        .try_upload_file("pipeline.tar.gz", &tarball, &[("name", &name)])
        .await?;
    is_kept(cx, &api, &name, &answer).await
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
