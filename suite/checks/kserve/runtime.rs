//! Which serving runtime a model gets, and what is made of it.
//!
//! Each check has runtimes and a model format of its own, so that none sees another's. What is looked at is the Deployment
//! that KServe makes of the runtime: the model's volume does not exist, and no pod starts.

use std::time::Duration;

use super::{super::prelude::*, merged, mode, predictor_name, text};

requirement_checks! {
    "kserve/runtime/refuses-equal-priority" => refuses_equal_priority;
    "kserve/runtime/is-selected-by-format" => is_selected_by_format;
    "kserve/runtime/prefers-higher-priority" => prefers_higher_priority;
    "kserve/runtime/is-not-selected-without-auto-select" => is_not_selected_without_auto_select;
    "kserve/runtime/is-used-when-named" => is_used_when_named;
    "kserve/runtime/takes-fields-of-the-model" => takes_fields_of_the_model;
    "kserve/runtime/fills-placeholders" => fills_placeholders;
    "kserve/runtime/reports-unsupported-format" => reports_unsupported_format;
    "kserve/runtime/reports-unknown-runtime" => reports_unknown_runtime;
    "kserve/runtime/reports-disabled-runtime" => reports_disabled_runtime;
}

/// A runtime of this check's own format (fixtures/kserve/runtime.yaml), with a change merged over it.
pub(super) fn runtime(cx: &Cx, label: &str, change: &Value) -> Outcome<Value> {
    let marks = [("name", &*cx.name(label)), ("format", &*format(cx))];
    Ok(merged(&cx.fixture("kserve/runtime.yaml", &marks)?, change))
}

/// The same, created; returns its name, which is also the value of TAG in its container.
pub(super) async fn create_runtime(cx: &Cx, label: &str, change: &Value) -> Outcome<String> {
    let created = cx
        .create(&SERVING_RUNTIME, &runtime(cx, label, change)?)
        .await?;
    Ok(text(&created["metadata"]["name"]).to_owned())
}

/// An InferenceService of this check's own format (fixtures/kserve/model.yaml), with a change to its model; created.
pub(super) async fn create_model(cx: &Cx, change: &Value) -> Outcome<String> {
    let marks = [
        ("name", &*cx.name("model")),
        ("mode", mode(cx)?),
        ("format", &*format(cx)),
    ];
    let object = cx.fixture("kserve/model.yaml", &marks)?;
    let created = cx
        .create(&INFERENCE_SERVICE, &merged(&object, change))
        .await?;
    Ok(text(&created["metadata"]["name"]).to_owned())
}

/// The model format that only this check knows.
pub(super) fn format(cx: &Cx) -> String {
    cx.name("format")
}

/// The change that gives this check's format in a runtime.
pub(super) fn formats(cx: &Cx, more: &Value) -> Value {
    let format = merged(&json!({"name": format(cx), "version": "1"}), more);
    json!({"spec": {"supportedModelFormats": [format]}})
}

/// The container that KServe made for a service's predictor, once it has.
pub(super) async fn container_of(cx: &Cx, service: &str) -> Outcome<Value> {
    let deployment = cx
        .until(
            &DEPLOYMENT,
            &predictor_name(service),
            "reconcile",
            "come to be for an InferenceService whose runtime exists",
            |_| true,
        )
        .await?;
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    containers
        .as_array()
        .and_then(|c| c.iter().find(|c| c["name"] == "kserve-container"))
        .cloned()
        .ok_or_else(|| {
            Stop::unlike(
                format!("Deployment `{service}-predictor` has no container `kserve-container`"),
                "the runtime's container",
                containers.to_string(),
            )
        })
}

pub(super) fn env<'a>(container: &'a Value, name: &str) -> &'a Value {
    const NULL: &Value = &Value::Null;
    container["env"]
        .as_array()
        .and_then(|env| env.iter().find(|e| e["name"] == name))
        .map_or(NULL, |e| &e["value"])
}

async fn refuses_equal_priority(cx: &Cx) -> Outcome {
    let first = json!({"autoSelect": true, "priority": 1});
    create_runtime(cx, "first", &formats(cx, &first)).await?;
    let good = runtime(
        cx,
        "second",
        &formats(cx, &json!({"autoSelect": true, "priority": 2})),
    )?;
    cx.dry_run(&SERVING_RUNTIME, &good).await?;
    for change in [
        json!({"spec": {"disabled": true}}),
        formats(cx, &json!({"autoSelect": false, "priority": 1})),
    ] {
        cx.dry_run(&SERVING_RUNTIME, &merged(&good, &change))
            .await?;
    }
    let bad = merged(&good, &formats(cx, &first));
    // Admission looks at what its controller has seen so far, which may not hold the first runtime yet.
    let until = cx.after("reconcile");
    while cx.try_dry_run(&SERVING_RUNTIME, &bad).await?.is_success() && cx.now_ms() < until {
        cx.pause(Duration::from_millis(250)).await;
    }
    cx.refuses_only(
        &SERVING_RUNTIME,
        &bad,
        "of the format, version, protocol and priority of another one in its namespace",
    )
    .await
}

async fn is_selected_by_format(cx: &Cx) -> Outcome {
    let runtime = create_runtime(cx, "runtime", &json!({})).await?;
    let service = create_model(cx, &json!({})).await?;
    let container = container_of(cx, &service).await?;
    ensure_eq!(
        env(&container, "TAG"),
        &runtime,
        "variable TAG, which names the runtime, in the container of InferenceService `{service}`"
    );
    ensure_eq!(
        container["image"],
        cx.run.image.as_str(),
        "the image of InferenceService `{service}`"
    );
    Ok(())
}

async fn prefers_higher_priority(cx: &Cx) -> Outcome {
    // By age and by name the other one would come first.
    let large = json!({"autoSelect": true, "priority": 2});
    let wanted = create_runtime(cx, "b-large", &formats(cx, &large)).await?;
    let small = json!({"autoSelect": true, "priority": 1});
    create_runtime(cx, "a-small", &formats(cx, &small)).await?;
    let service = create_model(cx, &json!({})).await?;
    let container = container_of(cx, &service).await?;
    ensure_eq!(
        env(&container, "TAG"),
        &wanted,
        "variable TAG, which names the runtime, in the container of InferenceService `{service}`"
    );
    Ok(())
}

async fn is_not_selected_without_auto_select(cx: &Cx) -> Outcome {
    create_runtime(cx, "runtime", &formats(cx, &json!({"autoSelect": false}))).await?;
    let service = create_model(cx, &json!({})).await?;
    cx.until(
        &INFERENCE_SERVICE,
        &service,
        "reconcile",
        "report an invalid spec, though no runtime of its format may be selected",
        |service| service["status"]["modelStatus"]["transitionStatus"] == "InvalidSpec",
    )
    .await?;
    let made = cx.get(&DEPLOYMENT, &predictor_name(&service)).await?;
    ensure!(
        made.is_none(),
        "InferenceService `{service}` runs a runtime that may not be selected"
    );
    Ok(())
}

async fn is_used_when_named(cx: &Cx) -> Outcome {
    let runtime =
        create_runtime(cx, "runtime", &formats(cx, &json!({"autoSelect": false}))).await?;
    let service = create_model(cx, &in_model(&json!({"runtime": runtime}))).await?;
    let container = container_of(cx, &service).await?;
    ensure_eq!(
        env(&container, "TAG"),
        &runtime,
        "variable TAG, which names the runtime, in the container of InferenceService `{service}`"
    );
    Ok(())
}

async fn takes_fields_of_the_model(cx: &Cx) -> Outcome {
    let mut object = runtime(cx, "runtime", &json!({}))?;
    object["spec"]["containers"][0]["args"] = json!(["--of-runtime"]);
    let runtime = cx.create(&SERVING_RUNTIME, &object).await?;
    let resources = json!({
        "requests": {"cpu": "11m", "memory": "17Mi"},
        "limits": {"cpu": "210m", "memory": "111Mi"},
    });
    let change = json!({
        "runtime": runtime["metadata"]["name"],
        "env": [{"name": "TAG", "value": "of-model"}],
        "args": ["--of-model"],
        "resources": resources,
    });
    let service = create_model(cx, &in_model(&change)).await?;
    let container = container_of(cx, &service).await?;
    ensure_eq!(
        env(&container, "TAG"),
        "of-model",
        "variable TAG, which both runtime and model set"
    );
    ensure_eq!(
        env(&container, "MODEL"),
        "m",
        "variable MODEL, which only the runtime sets"
    );
    ensure_eq!(
        container["resources"],
        resources,
        "the resources, which both runtime and model set"
    );
    ensure_eq!(
        container["args"],
        json!(["--of-runtime", "--of-model"]),
        "the arguments of runtime and model"
    );
    Ok(())
}

async fn fills_placeholders(cx: &Cx) -> Outcome {
    let mut object = runtime(cx, "runtime", &json!({}))?;
    object["spec"]["containers"][0]["args"] = json!([
        "--model={{.Name}}",
        "--namespace={{.Namespace}}",
        "--flavour={{.Labels.flavour}}",
    ]);
    let runtime = cx.create(&SERVING_RUNTIME, &object).await?;
    let change = merged(
        &in_model(&json!({"runtime": runtime["metadata"]["name"]})),
        &json!({"metadata": {"labels": {"flavour": "plain"}}}),
    );
    let service = create_model(cx, &change).await?;
    let container = container_of(cx, &service).await?;
    ensure_eq!(
        container["args"],
        json!([
            format!("--model={service}"),
            format!("--namespace={}", cx.namespace()),
            "--flavour=plain",
        ]),
        "the arguments of a runtime with placeholders"
    );
    Ok(())
}

async fn reports_unsupported_format(cx: &Cx) -> Outcome {
    let service = create_model(cx, &json!({})).await?;
    let seen = until_invalid(cx, &service, "NoSupportingRuntime").await?;
    ensure_eq!(
        seen["status"]["modelStatus"]["states"]["targetModelState"],
        "FailedToLoad",
        "the target state of the model of InferenceService `{service}`"
    );
    Ok(())
}

async fn reports_unknown_runtime(cx: &Cx) -> Outcome {
    let change = in_model(&json!({"runtime": cx.name("absent")}));
    let service = create_model(cx, &change).await?;
    until_invalid(cx, &service, "RuntimeNotRecognized").await?;
    Ok(())
}

async fn reports_disabled_runtime(cx: &Cx) -> Outcome {
    let runtime = create_runtime(cx, "runtime", &json!({"spec": {"disabled": true}})).await?;
    let change = in_model(&json!({"runtime": runtime}));
    let service = create_model(cx, &change).await?;
    until_invalid(cx, &service, "RuntimeDisabled").await?;
    Ok(())
}

/// Waits until a service says that its spec is invalid, for this reason, and is not ready.
pub(super) async fn until_invalid(cx: &Cx, service: &str, reason: &str) -> Outcome<Value> {
    let seen = cx
        .until(
            &INFERENCE_SERVICE,
            service,
            "reconcile",
            "report an invalid spec",
            |service| service["status"]["modelStatus"]["transitionStatus"] == "InvalidSpec",
        )
        .await?;
    ensure_eq!(
        seen["status"]["modelStatus"]["lastFailureInfo"]["reason"],
        reason,
        "why the spec of InferenceService `{service}` is invalid"
    );
    ensure!(
        condition(&seen, "Ready") != "True",
        "InferenceService `{service}` is ready without a runtime"
    );
    Ok(seen)
}

/// A change of `spec.predictor.model`.
pub(super) fn in_model(change: &Value) -> Value {
    json!({"spec": {"predictor": {"model": change}}})
}
