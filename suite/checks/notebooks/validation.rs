//! What the schema refuses. Nothing is stored, and no Notebook is ever sent without its pod template: stock controllers
//! do not survive one.

use super::{CONTAINER, POD_SPEC, base};
use crate::{checks::prelude::*, cluster::Endpoint};

requirement_checks! {
    "notebooks/validation/containers-required" => containers_required;
    "notebooks/validation/containers-not-empty" => containers_not_empty;
    "notebooks/validation/container-name" => container_name;
    "notebooks/validation/container-image" => container_image;
    "notebooks/validation/field-types" => field_types;
    "notebooks/validation/quantities" => quantities;
    "notebooks/validation/unknown-fields" => unknown_fields;
}

/// The good Notebook is accepted, and refused with each of the changes: a path, a value (null removes what is there) and
/// the words that say what is wrong then.
async fn refuses(cx: &Cx, changes: &[(&str, Value, &str)]) -> Outcome {
    let good = base(cx, &cx.name("dry"))?;
    cx.dry_run(&NOTEBOOK, &good).await?;
    for (path, value, what) in changes {
        cx.refuses_only(&NOTEBOOK, &with(&good, path, value.clone()), what)
            .await?;
    }
    Ok(())
}

/// A pod template must have containers.
pub async fn containers_required(cx: &Cx) -> Outcome {
    let path = format!("{POD_SPEC}.containers");
    refuses(cx, &[(&path, Value::Null, "without containers")]).await
}

/// There must be at least one of them.
pub async fn containers_not_empty(cx: &Cx) -> Outcome {
    let path = format!("{POD_SPEC}.containers");
    refuses(
        cx,
        &[(&path, json!([]), "with an empty list of containers")],
    )
    .await
}

/// Each has a name, the second one too.
pub async fn container_name(cx: &Cx) -> Outcome {
    let second = format!("{POD_SPEC}.containers.1");
    let mut good = base(cx, &cx.name("dry"))?;
    let mut container = good["spec"]["template"]["spec"]["containers"][0].clone();
    container["name"] = "second".into();
    if let Some(list) = good["spec"]["template"]["spec"]["containers"].as_array_mut() {
        list.push(container);
    }
    cx.dry_run(&NOTEBOOK, &good).await?;
    for (path, what) in [
        (format!("{CONTAINER}.name"), "whose container has no name"),
        (
            format!("{second}.name"),
            "whose second container has no name",
        ),
    ] {
        cx.refuses_only(&NOTEBOOK, &with(&good, &path, Value::Null), what)
            .await?;
    }
    Ok(())
}

/// Each has an image.
pub async fn container_image(cx: &Cx) -> Outcome {
    let path = format!("{CONTAINER}.image");
    refuses(cx, &[(&path, Value::Null, "whose container has no image")]).await
}

/// Fields of the pod template have the types of a pod's.
pub async fn field_types(cx: &Cx) -> Outcome {
    let path = |field: &str| format!("{CONTAINER}.{field}");
    refuses(
        cx,
        &[
            (&path("command"), json!("sh"), "whose command is no list"),
            (&path("env"), json!({"A": "b"}), "whose env is no list"),
            (
                &path("ports"),
                json!([{"containerPort": "http"}]),
                "whose containerPort is no number",
            ),
            (&path("image"), json!(7), "whose image is a number"),
        ],
    )
    .await
}

/// Amounts of cpu and memory are quantities.
pub async fn quantities(cx: &Cx) -> Outcome {
    let path = |field: &str| format!("{CONTAINER}.resources.{field}");
    refuses(
        cx,
        &[
            (
                &path("limits.cpu"),
                json!("plenty"),
                "whose limit of cpu is no quantity",
            ),
            (
                &path("requests.memory"),
                json!("16 MB"),
                "whose request of memory is no quantity",
            ),
        ],
    )
    .await
}

/// A client that asks for strictness hears of a field that the API does not have.
pub async fn unknown_fields(cx: &Cx) -> Outcome {
    let good = base(cx, &cx.name("dry"))?;
    let strict = |object: Value| {
        let path = format!(
            "{}?dryRun=All&fieldValidation=Strict",
            NOTEBOOK.path(cx.namespace())
        );
        Request::new(Endpoint::Kubernetes, "POST", path).json(object)
    };
    let answer = cx.kube(strict(good.clone())).await?;
    super::super::kube::accepted(&answer, "the strict creation (dry run) of a Notebook")?;
    for path in ["spec.flavour".to_owned(), format!("{CONTAINER}.flavour")] {
        let bad = with(&good, &path, json!("sweet"));
        let answer = cx.kube(strict(bad)).await?;
        super::super::kube::refused(
            &answer,
            &format!("a Notebook with the unknown field {path}"),
        )?;
    }
    Ok(())
}
