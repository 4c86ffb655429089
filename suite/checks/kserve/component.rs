//! Transformers and explainers: what stands before a predictor and beside it.

use super::{
    super::prelude::*,
    merged, owns_workload, pods_until, predictor,
    reach::{at_address, at_service, hops, numbers},
    ready, text,
    workload::rows,
};

requirement_checks! {
    "kserve/transformer/becomes-ready" => transformer_becomes_ready, needs [&MESH];
    "kserve/transformer/stands-before-the-predictor" => stands_before_the_predictor, needs [&MESH];
    "kserve/transformer/is-told-its-model" => transformer_is_told_its_model, needs [&MESH];
    "kserve/transformer/owns-its-workload" => owns_its_workload, needs [&MESH];
    "kserve/transformer/keeps-its-arguments" => keeps_its_arguments, needs [&IMAGE];
    "kserve/transformer/holds-the-service-back" => holds_the_service_back, needs [&IMAGE];
    "kserve/explainer/becomes-ready" => explainer_becomes_ready, needs [&MESH];
    "kserve/explainer/explains" => explains, needs [&MESH];
}

setups! {
    /// A ready InferenceService of predictor, transformer and explainer; its value is the object.
    MESH = "setup/kserve/mesh", judge "kserve/transformer/becomes-ready", minutes 8, needs [&IMAGE], run: make_mesh;
}

/// A component that runs the suite's server in a mode, told by KServe whom it stands before.
fn component(base: &Value, mode: &str, args: &Value) -> Value {
    let mut container = base["spec"]["predictor"]["containers"][0].clone();
    container["env"] = json!([{"name": "MODE", "value": mode}, {"name": "TAG", "value": mode}]);
    if !args.is_null() {
        container["args"] = args.clone();
    }
    json!({
        "minReplicas": 1,
        "labels": base["spec"]["predictor"]["labels"],
        "annotations": base["spec"]["predictor"]["annotations"],
        "containers": [container],
    })
}

/// The base InferenceService, whose model has its own name, as transformers ask for it.
fn with_own_model(cx: &Cx, label: &str) -> Outcome<Value> {
    let mut object = predictor(cx, label)?;
    let name = object["metadata"]["name"].clone();
    object["spec"]["predictor"]["containers"][0]["env"] =
        json!([{"name": "MODEL", "value": name}, {"name": "TAG", "value": "predictor"}]);
    Ok(object)
}

async fn make_mesh(cx: &Cx) -> Outcome<Value> {
    let base = with_own_model(cx, "mesh")?;
    let change = json!({"spec": {
        "transformer": component(&base, "transform", &Value::Null),
        "explainer": component(&base, "explain", &Value::Null),
    }});
    let name = ready(cx, &merged(&base, &change)).await?;
    cx.need(&INFERENCE_SERVICE, &name).await
}

/// The name of a service.
fn name(service: &Value) -> &str {
    text(&service["metadata"]["name"])
}

fn predict(service: &Value) -> String {
    format!("/v1/models/{}:predict", name(service))
}

async fn transformer_becomes_ready(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&MESH)?;
    reports(&service, "transformer", "TransformerReady")
}

/// The service once its explainer is not reported as unready. Where there is a transformer, KServe may call the service
/// ready before.
async fn explained(cx: &Cx) -> Outcome<Value> {
    let service: Value = cx.setup(&MESH)?;
    let is_ready = |service: &Value| condition(service, "ExplainerReady") != "False";
    if is_ready(&service) {
        return Ok(service);
    }
    let (name, what) = (name(&service), "report its explainer as ready");
    let timeout = "inferenceservice-ready";
    cx.until(&INFERENCE_SERVICE, name, timeout, what, is_ready)
        .await
}

async fn explainer_becomes_ready(cx: &Cx) -> Outcome {
    let service = explained(cx).await?;
    reports(&service, "explainer", "ExplainerReady")
}

/// Fails unless a service reports a component as ready, and where it is.
fn reports(service: &Value, component: &str, kind: &str) -> Outcome {
    ensure_eq!(
        condition(service, kind),
        "True",
        "condition {kind} of the ready InferenceService `{}`",
        name(service)
    );
    let url = &service["status"]["components"][component]["url"];
    ensure!(
        text(url).contains(component),
        "status.components.{component}.url of InferenceService `{}` is {url}",
        name(service)
    );
    Ok(())
}

async fn stands_before_the_predictor(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&MESH)?;
    let answer = at_address(cx, &service)
        .await?
        .post(&predict(&service), &json!({"instances": rows()}))
        .await?;
    ensure!(
        answer.is_success(),
        "a prediction at the address of InferenceService `{}` was answered with {}",
        name(&service),
        answer.summary()
    );
    ensure_eq!(
        hops(&answer),
        "transform,predictor",
        "the way of a prediction at the address of InferenceService `{}`",
        name(&service)
    );
    ensure_eq!(
        numbers(&answer.json()["predictions"]),
        [10.0, 1.0],
        "the predictions by way of the transformer"
    );
    Ok(())
}

async fn transformer_is_told_its_model(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&MESH)?;
    // Its name is in no variable: what it lists is what KServe told it by its arguments.
    let seen = at_service(cx, &format!("{}-transformer", name(&service)), 80)
        .await?
        .read("/v1/models")
        .await?;
    ensure_eq!(
        seen["models"],
        json!([name(&service)]),
        "the models that the transformer of InferenceService `{}` knows",
        name(&service)
    );
    Ok(())
}

async fn owns_its_workload(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&MESH)?;
    for component in ["transformer", "explainer"] {
        owns_workload(cx, &service, &format!("{}-{component}", name(&service))).await?;
    }
    Ok(())
}

async fn keeps_its_arguments(cx: &Cx) -> Outcome {
    let base = with_own_model(cx, "arguments")?;
    let args = json!([
        "--model_name",
        "other",
        "--predictor_host",
        "elsewhere:8080"
    ]);
    let change = json!({"spec": {"transformer": component(&base, "transform", &args)}});
    let created = cx
        .create(&INFERENCE_SERVICE, &merged(&base, &change))
        .await?;
    let deployment = cx
        .until(
            &DEPLOYMENT,
            &format!("{}-transformer", name(&created)),
            "reconcile",
            "come to be for an InferenceService with a transformer",
            |_| true,
        )
        .await?;
    let found = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let found: Vec<&str> = found.as_array().into_iter().flatten().map(text).collect();
    for (option, wanted) in [
        ("--model_name", "other"),
        ("--predictor_host", "elsewhere:8080"),
    ] {
        let values: Vec<&str> = found
            .windows(2)
            .filter(|pair| pair[0] == option)
            .map(|pair| pair[1])
            .collect();
        ensure_eq!(
            values,
            [wanted],
            "{option} of a transformer that was given it"
        );
    }
    Ok(())
}

async fn holds_the_service_back(cx: &Cx) -> Outcome {
    let base = with_own_model(cx, "held")?;
    let change = json!({"spec": {"transformer": component(&base, "crash", &Value::Null)}});
    let created = cx
        .create(&INFERENCE_SERVICE, &merged(&base, &change))
        .await?;
    let service = name(&created);
    pods_until(
        cx,
        service,
        "inferenceservice-ready",
        "start again after the transformer crashed",
        |pods| {
            pods.iter()
                .any(|p| p["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0))
        },
    )
    .await?;
    // The predictor is ready, and the service, which is asked by way of the transformer, is not.
    let seen = cx
        .until(
            &INFERENCE_SERVICE,
            service,
            "inferenceservice-ready",
            "report its predictor as ready",
            |service| condition(service, "PredictorReady") == "True",
        )
        .await?;
    for kind in ["Ready", "TransformerReady"] {
        ensure!(
            condition(&seen, kind) != "True",
            "InferenceService `{service}` reports {kind}, and its transformer crashes"
        );
    }
    Ok(())
}

async fn explains(cx: &Cx) -> Outcome {
    let service = explained(cx).await?;
    let path = format!("/v1/models/{}:explain", name(&service));
    let answer = at_service(cx, &format!("{}-explainer", name(&service)), 80)
        .await?
        .post(&path, &json!({"instances": rows()}))
        .await?;
    ensure!(
        answer.is_success(),
        "a request for an explanation was answered with {}",
        answer.summary()
    );
    ensure_eq!(
        hops(&answer),
        "explain,predictor",
        "the way of a request to the explainer of InferenceService `{}`, which asks the predictor that it was told",
        name(&service)
    );
    Ok(())
}
