//! Pipelines that are kept in Kubernetes: what the API makes are objects, and what is applied as objects the API serves.
//!
//! Where Pipelines serves many users they are in the run's namespace; otherwise in that of the API server, which looks
//! nowhere else. All specs that are sent are JSON, which is well-formed: see `Api::try_upload`.

use super::{
    api::{Api, PIPELINES, column, filter, id_of, objects, text, total, versions, word},
    setups,
    upload::difference,
};
use crate::{
    checks::{IMAGE, prelude::*},
    cluster::{
        discover::items,
        kinds::{PIPELINE, PIPELINE_VERSION},
    },
};

requirement_checks! {
    "pipelines/store/keeps-pipelines" => keeps_pipelines;
    "pipelines/store/keeps-versions" => keeps_versions;
    "pipelines/store/serves-objects" => serves_objects;
    "pipelines/store/runs-objects" => runs_objects, needs [&IMAGE];
    "pipelines/store/links-versions" => links_versions;
    "pipelines/store/refuses-unknown-pipeline" => refuses_unknown_pipeline;
    "pipelines/store/refuses-broken-specs" => refuses_broken_specs;
    "pipelines/store/keeps-specs-unchanged" => keeps_specs_unchanged;
    "pipelines/store/removes-versions-with-pipeline" => removes_versions_with_pipeline;
}

/// The label by which a version says which pipeline it is of.
const PIPELINE_LABEL: &str = "pipelines.kubeflow.org/pipeline-id";

/// The namespace in which the API keeps what is made in the run's name, and looks for objects.
fn home(cx: &Cx) -> Outcome<&str> {
    let facts = cx.facts();
    if facts.multi_user {
        return Ok(cx.namespace());
    }
    let server = facts.components.get("pipelines");
    let namespace = server.and_then(|server| server.namespace.as_deref());
    namespace.ok_or_else(|| {
        Stop::NotApplicable(
            NotApplicable::FeatureAbsent,
            "Pipelines is asked by the URL of the configuration, and the namespace of its API server is not known"
                .to_owned(),
        )
    })
}

/// A pipeline as an object.
fn pipeline(cx: &Cx, name: &str) -> Outcome<Value> {
    Ok(json!({
        "apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "Pipeline",
        "metadata": {"namespace": home(cx)?, "name": name},
        "spec": {"displayName": "Ash & Öak", "description": "applied as an object"},
    }))
}

/// A version of it as an object.
fn version(cx: &Cx, pipeline: &str, name: &str, spec: &Value) -> Outcome<Value> {
    Ok(json!({
        "apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "PipelineVersion",
        "metadata": {"namespace": home(cx)?, "name": name},
        "spec": {"pipelineName": pipeline, "description": "applied as an object", "pipelineSpec": spec},
    }))
}

/// `fixtures/pipelines/typed.yaml` under the name of a pipeline.
fn typed(cx: &Cx, name: &str) -> Outcome<Value> {
    cx.fixture("pipelines/typed.yaml", &[("name", name)])
}

/// Creates a pipeline as an object, and gives its name and uid.
async fn apply_pipeline(cx: &Cx, label: &str) -> Outcome<(String, String)> {
    let name = cx.name(label);
    let made = cx.create(&PIPELINE, &pipeline(cx, &name)?).await?;
    Ok((name, uid_of(&made)?))
}

/// The uid of an object that was stored.
fn uid_of(object: &Value) -> Outcome<String> {
    let uid = word(&object["metadata"], "uid");
    ensure!(!uid.is_empty(), "{} has no uid", object["kind"]);
    Ok(uid.to_owned())
}

/// What a stored object's fields are.
fn ensure_fields(object: &Value, what: &str, fields: &[(&str, &str)]) -> Outcome {
    for (path, wanted) in fields {
        let seen = path.split('.').fold(object, |value, key| &value[key]);
        ensure_eq!(
            seen.as_str().unwrap_or_default(),
            *wanted,
            "`{path}` of {what}"
        );
    }
    Ok(())
}

/// A pipeline's spec is another one, field by field.
fn ensure_same(what: &str, wanted: &Value, seen: &Value) -> Outcome {
    if let Some((path, wanted, seen)) = difference("pipelineSpec", wanted, seen) {
        return Err(Stop::unlike(
            format!("`{path}` of {what} is {seen}, not {wanted}"),
            wanted.to_string(),
            seen.to_string(),
        ));
    }
    Ok(())
}

/// Reads something of the API until it is there: what is applied as an object the API learns of a moment later.
async fn served(api: &Api<'_>, path: &str) -> Outcome<Value> {
    api.http
        .until(path, "reconcile", "be served", |_| Ok(true))
        .await
}

async fn keeps_pipelines(cx: &Cx) -> Outcome {
    let (api, namespace) = (Api::of(cx), home(cx)?);
    let name = cx.name("kept");
    let asked = json!({
        "name": name, "display_name": "Ash & Öak", "description": "made by the API",
    });
    let id = id_of(&PIPELINES, &api.create(&PIPELINES, &asked).await?)?;
    let object = need(cx, &PIPELINE, &[&name]).await?;
    ensure_fields(
        &object,
        "the object of the pipeline",
        &[
            ("metadata.uid", &id),
            ("spec.displayName", "Ash & Öak"),
            ("spec.description", "made by the API"),
        ],
    )?;
    api.delete(&PIPELINES, &id).await?;
    cx.until_gone_in(&PIPELINE, namespace, &name, "gone").await
}

/// The object of one of these names, which must be there.
async fn need(cx: &Cx, kind: &Kind, names: &[&str]) -> Outcome<Value> {
    for name in names {
        if let Some(object) = cx.get_in(kind, home(cx)?, name).await? {
            return Ok(object);
        }
    }
    Err(Stop::unlike(
        format!("no {} is called `{}`", kind.kind, names.join("` or `")),
        "the object",
        "404 Not Found",
    ))
}

async fn keeps_versions(cx: &Cx) -> Outcome {
    let (api, namespace) = (Api::of(cx), home(cx)?);
    let name = cx.name("kept");
    let made = api
        .create(&PIPELINES, &json!({"display_name": name}))
        .await?;
    let pipeline = id_of(&PIPELINES, &made)?;
    let second = cx.name("second");
    let yaml = cx.fixture_text("pipelines/typed.yaml", &[("name", &name)])?;
    let pairs = [
        ("name", second.as_str()),
        ("pipelineid", &pipeline),
        ("description", "made by the API"),
    ];
    let versions = versions(&pipeline);
    let id = id_of(&versions, &api.upload_version(&yaml, &pairs).await?)?;
    // Since 2.17 the pipeline's name goes before the version's.
    let long = format!("{name}-{second}");
    let object = need(cx, &PIPELINE_VERSION, &[&long, &second]).await?;
    ensure_fields(
        &object,
        "the object of the version",
        &[
            ("metadata.uid", &id),
            ("spec.pipelineName", &name),
            ("spec.description", "made by the API"),
        ],
    )?;
    ensure_same(
        "the object of the version",
        &typed(cx, &name)?,
        &object["spec"]["pipelineSpec"],
    )?;
    api.delete(&versions, &id).await?;
    let name = word(&object["metadata"], "name");
    cx.until_gone_in(&PIPELINE_VERSION, namespace, name, "gone")
        .await
}

async fn serves_objects(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let (name, id) = apply_pipeline(cx, "applied").await?;
    let spec = typed(cx, &name)?;
    let of = cx.name("first");
    let made = version(cx, &name, &of, &spec)?;
    let version = uid_of(&cx.create(&PIPELINE_VERSION, &made).await?)?;
    let path = format!("/{}/{id}", PIPELINES.path);
    let read = served(&api, &path).await?;
    ensure_fields(
        &read,
        "the pipeline that was applied",
        &[
            ("pipeline_id", &id),
            ("name", &name),
            ("display_name", "Ash & Öak"),
            ("description", "applied as an object"),
        ],
    )?;
    let versions = versions(&id);
    let read = served(&api, &format!("/{}/{version}", versions.path)).await?;
    ensure_fields(
        &read,
        "the version that was applied",
        &[
            ("pipeline_id", &id),
            ("pipeline_version_id", &version),
            ("display_name", &of),
            ("description", "applied as an object"),
        ],
    )?;
    ensure_same(
        "the version that was applied",
        &spec,
        &read["pipeline_spec"],
    )?;
    // Lists may be served from what the API server has heard so far.
    let path = api.list_path(&versions, &[]);
    let page = api
        .http
        .until(&path, "reconcile", "have a version", |page| {
            Ok(total(page) > 0)
        })
        .await?;
    ensure_eq!(
        column(&versions, &page, versions.id),
        [version],
        "the versions of the pipeline that was applied"
    );
    let by_name = filter(&[text("name", "EQUALS", &name)]);
    let path = api.list_path(&PIPELINES, &[("filter", &by_name)]);
    api.http
        .until(&path, "reconcile", "have the pipeline", |page| {
            Ok(objects(&PIPELINES, page).any(|found| word(found, PIPELINES.id) == id))
        })
        .await?;
    // What is changed in the object is changed in the API.
    let change = json!({"spec": {"displayName": "Elm"}});
    cx.patch_in(&PIPELINE, home(cx)?, &name, &change).await?;
    let path = format!("/{}/{id}", PIPELINES.path);
    api.http
        .until(&path, "reconcile", "show the new display name", |read| {
            Ok(word(read, "display_name") == "Elm")
        })
        .await
        .map(drop)
}

async fn runs_objects(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let (name, id) = apply_pipeline(cx, "run").await?;
    let spec = cx.fixture("pipelines/step.yaml", &[("name", &name)])?;
    let made = version(cx, &name, &cx.name("run-first"), &spec)?;
    let version = uid_of(&cx.create(&PIPELINE_VERSION, &made).await?)?;
    served(&api, &format!("/{}/{version}", versions(&id).path)).await?;
    let experiment = setups::new_experiment(cx, "objects").await?;
    let source = json!({
        "pipeline_version_reference": {"pipeline_id": id, "pipeline_version_id": version},
    });
    let run = setups::run(cx, "objects", &experiment, source, "run-finished").await?;
    super::run::ended(&run, "SUCCEEDED")
}

async fn links_versions(cx: &Cx) -> Outcome {
    let (name, id) = apply_pipeline(cx, "linked").await?;
    let asked = version(cx, &name, &cx.name("first"), &typed(cx, &name)?)?;
    let stored = cx.dry_run(&PIPELINE_VERSION, &asked).await?;
    let label = &stored["metadata"]["labels"][PIPELINE_LABEL];
    ensure_eq!(
        label.as_str().unwrap_or_default(),
        id,
        "the label `{PIPELINE_LABEL}` of the version"
    );
    let is_owner = |owner: &&Value| owner["kind"] == "Pipeline" && owner["uid"] == id.as_str();
    let mut owners = items(&stored["metadata"], "ownerReferences");
    let Some(owner) = owners.find(is_owner) else {
        return Err(Stop::unlike(
            "the version has no owner reference to its pipeline",
            format!("an owner reference to Pipeline `{name}`"),
            stored["metadata"]["ownerReferences"].to_string(),
        ));
    };
    ensure_fields(owner, "the version's owner reference", &[("name", &name)])
}

async fn refuses_unknown_pipeline(cx: &Cx) -> Outcome {
    let (name, _) = apply_pipeline(cx, "known").await?;
    let good = version(cx, &name, &cx.name("dry"), &typed(cx, &name)?)?;
    let unknown = with(&good, "spec.pipelineName", json!(cx.name("unknown")));
    cx.refuses(
        &PIPELINE_VERSION,
        &good,
        &unknown,
        "of a pipeline that does not exist",
    )
    .await?;
    let none = with(&good, "spec.pipelineName", Value::Null);
    cx.refuses_only(&PIPELINE_VERSION, &none, "of no pipeline")
        .await
}

async fn refuses_broken_specs(cx: &Cx) -> Outcome {
    let (name, _) = apply_pipeline(cx, "known").await?;
    let spec = typed(cx, &name)?;
    let of = |spec: &Value| version(cx, &name, &cx.name("dry"), spec);
    let good = of(&spec)?;
    for (bad, what) in [
        (json!({"a": "b"}), "whose spec is no pipeline"),
        (
            with(&spec, "root", Value::Null),
            "whose pipeline has no root",
        ),
        (
            with(&spec, "schemaVersion", json!("9.9.9")),
            "whose pipeline has an unknown schema version",
        ),
        (
            with(&spec, "pipelineInfo.name", Value::Null),
            "whose pipeline has no name",
        ),
    ] {
        cx.refuses(&PIPELINE_VERSION, &good, &of(&bad)?, what)
            .await?;
    }
    Ok(())
}

async fn keeps_specs_unchanged(cx: &Cx) -> Outcome {
    let (name, _) = apply_pipeline(cx, "unchanged").await?;
    let (other, _) = apply_pipeline(cx, "other").await?;
    let asked = version(cx, &name, &cx.name("first"), &typed(cx, &name)?)?;
    let made = cx.create(&PIPELINE_VERSION, &asked).await?;
    let good = json!({"metadata": {"annotations": {"example.com/reviewed": "true"}}});
    for (bad, what) in [
        (
            json!({"pipelineSpec": {"deploymentSpec": {"executors": {"exec-say": {"container": {"args": ["--print", "other"]}}}}}}),
            "to another pipeline spec",
        ),
        (
            json!({"pipelineName": other}),
            "to a version of another pipeline",
        ),
    ] {
        let bad = json!({"spec": bad});
        let name = name_of(&made);
        cx.refuses_patch_in(&PIPELINE_VERSION, home(cx)?, name, &good, &bad, what)
            .await?;
    }
    Ok(())
}

async fn removes_versions_with_pipeline(cx: &Cx) -> Outcome {
    let (api, namespace) = (Api::of(cx), home(cx)?);
    let name = cx.name("removed");
    let yaml = cx.fixture_text("pipelines/typed.yaml", &[("name", &name)])?;
    let uploaded = api.upload(&yaml, &[("name", &name)]).await?;
    let id = id_of(&PIPELINES, &uploaded)?;
    let versions = versions(&id);
    let page = api.list(&versions, &[]).await?;
    let [first] = &column(&versions, &page, versions.id)[..] else {
        return Err(Stop::unlike(
            "the versions of the uploaded pipeline are not one",
            "one version",
            total(&page).to_string(),
        ));
    };
    let applied = cx.name("second");
    let second = version(cx, &name, &applied, &typed(cx, &name)?)?;
    let second = uid_of(&cx.create(&PIPELINE_VERSION, &second).await?)?;
    let paths = [first, &second].map(|version| format!("/{}/{version}", versions.path));
    for path in &paths {
        served(&api, path).await?;
    }
    // The version that came with the upload has the pipeline's name.
    let object = need(cx, &PIPELINE_VERSION, &[&name]).await?;
    ensure_fields(&object, "the uploaded version", &[("metadata.uid", first)])?;
    cx.delete_in(&PIPELINE, namespace, &name).await?;
    for object in [&name, &applied] {
        cx.until_gone_in(&PIPELINE_VERSION, namespace, object, "gone")
            .await?;
    }
    for path in &paths {
        cx.retry("reconcile", || async {
            let answer = api.http.get(path).await?;
            ensure_eq!(
                answer.status,
                404,
                "the status of GET {path} after its pipeline's object was deleted"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}
