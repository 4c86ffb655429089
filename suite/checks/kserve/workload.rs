//! What is made of a service's own settings: its Deployment, its Service and its autoscaler in the mode without Knative.

use super::{
    super::prelude::*,
    merged, predictor, predictor_name,
    reach::{at_address, hops, numbers},
    ready, text,
};

requirement_checks! {
    "kserve/workload/keeps-the-probe" => keeps_the_probe, needs [&SETTINGS];
    "kserve/workload/passes-pod-settings" => passes_pod_settings, needs [&SETTINGS];
    "kserve/workload/uses-its-strategy" => uses_its_strategy, needs [&SETTINGS];
    "kserve/workload/hands-targets-to-the-autoscaler" => hands_targets_to_the_autoscaler, needs [&SETTINGS];
    "kserve/workload/leads-to-the-containers-port" => leads_to_the_containers_port, needs [&SETTINGS];
    "kserve/workload/leads-to-a-transformer-beside-it" => leads_to_a_transformer_beside_it, needs [&IMAGE];
}

setups! {
    /// A ready InferenceService with settings of its own ([`settings`]); its value is the object.
    SETTINGS = "setup/kserve/settings", judge "kserve/workload/leads-to-the-containers-port", minutes 6, needs [&IMAGE], run: make_settings;
}

/// The port on which the server with settings listens.
const PORT: u16 = 9090;
/// The probe that it is given.
fn probe() -> Value {
    json!({"httpGet": {"path": "/v2/health/ready", "port": PORT}, "periodSeconds": 3, "failureThreshold": 7})
}

fn settings(cx: &Cx) -> Outcome<Value> {
    let mut object = predictor(cx, "settings")?;
    let change = json!({"spec": {"predictor": {
        "minReplicas": 1,
        "maxReplicas": 3,
        "scaleMetric": "cpu",
        "scaleTarget": 61,
        "deploymentStrategy": {"type": "Recreate"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 7,
    }}});
    object = merged(&object, &change);
    let container = &mut object["spec"]["predictor"]["containers"][0];
    container["ports"] = json!([{"containerPort": PORT, "protocol": "TCP"}]);
    container["readinessProbe"] = probe();
    container["env"] = json!([
        {"name": "MODEL", "value": "m"},
        {"name": "PORT", "value": PORT.to_string()},
    ]);
    Ok(object)
}

async fn make_settings(cx: &Cx) -> Outcome<Value> {
    let name = ready(cx, &settings(cx)?).await?;
    cx.need(&INFERENCE_SERVICE, &name).await
}

/// The name of what is made of the service with settings.
fn workload(service: &Value) -> String {
    predictor_name(text(&service["metadata"]["name"]))
}

async fn deployment(cx: &Cx) -> Outcome<Value> {
    let service: Value = cx.setup(&SETTINGS)?;
    cx.need(&DEPLOYMENT, &workload(&service)).await
}

async fn keeps_the_probe(cx: &Cx) -> Outcome {
    let deployment = deployment(cx).await?;
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    let found = containers
        .as_array()
        .and_then(|c| c.iter().find(|c| c["name"] == "kserve-container"))
        .map_or(&Value::Null, |c| &c["readinessProbe"]);
    let wanted = probe();
    for pointer in [
        "/httpGet/path",
        "/httpGet/port",
        "/periodSeconds",
        "/failureThreshold",
    ] {
        ensure_eq!(
            found.pointer(pointer),
            wanted.pointer(pointer),
            "{pointer} of the readiness probe that the predictor was given"
        );
    }
    Ok(())
}

async fn passes_pod_settings(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&SETTINGS)?;
    let deployment = deployment(cx).await?;
    let pod = &deployment["spec"]["template"]["spec"];
    for key in [
        "nodeSelector",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
    ] {
        ensure_eq!(
            pod[key],
            service["spec"]["predictor"][key],
            "{key} of the predictor's pods"
        );
    }
    Ok(())
}

async fn uses_its_strategy(cx: &Cx) -> Outcome {
    let deployment = deployment(cx).await?;
    ensure_eq!(
        deployment["spec"]["strategy"]["type"],
        "Recreate",
        "the strategy of the predictor's Deployment"
    );
    Ok(())
}

async fn hands_targets_to_the_autoscaler(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&SETTINGS)?;
    let scaler = cx.need(&HPA, &workload(&service)).await?;
    let spec = &scaler["spec"];
    for (key, wanted) in [("minReplicas", 1), ("maxReplicas", 3)] {
        ensure_eq!(spec[key], wanted, "{key} of the predictor's autoscaler");
    }
    let metric = &spec["metrics"][0]["resource"];
    ensure_eq!(metric["name"], "cpu", "what the autoscaler measures");
    ensure_eq!(
        metric["target"]["averageUtilization"],
        61,
        "the autoscaler's target"
    );
    ensure_eq!(
        spec["scaleTargetRef"]["name"],
        workload(&service),
        "what the autoscaler scales"
    );
    Ok(())
}

/// Two rows, whose sums are 10 and 1.
pub(super) fn rows() -> Value {
    json!([[1.0, 2.0, 3.0, 4.0], [0.5, 0.5, 0.0, 0.0]])
}

async fn leads_to_the_containers_port(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&SETTINGS)?;
    let http = at_address(cx, &service).await?;
    let answer = http
        .write("/v1/models/m:predict", &json!({"instances": rows()}))
        .await?;
    ensure_eq!(
        numbers(&answer["predictions"]),
        [10.0, 1.0],
        "the predictions at the address of a predictor that listens on port {PORT}"
    );
    Ok(())
}

async fn leads_to_a_transformer_beside_it(cx: &Cx) -> Outcome {
    let mut object = predictor(cx, "beside")?;
    let containers = &mut object["spec"]["predictor"]["containers"];
    let mut transformer = containers[0].clone();
    transformer["name"] = json!("transformer-container");
    transformer["ports"] = json!([{"containerPort": 8081, "protocol": "TCP"}]);
    transformer["env"] = json!([
        {"name": "MODE", "value": "transform"},
        {"name": "TAG", "value": "transformer"},
        {"name": "PORT", "value": "8081"},
        {"name": "PREDICTOR_HOST", "value": "localhost:8080"},
    ]);
    if let Some(list) = containers.as_array_mut() {
        list.push(transformer);
    }
    let name = ready(cx, &object).await?;
    let service = cx.need(&INFERENCE_SERVICE, &name).await?;
    let answer = at_address(cx, &service)
        .await?
        .post("/v1/models/m:predict", &json!({"instances": rows()}))
        .await?;
    ensure_eq!(
        hops(&answer),
        "transformer,one",
        "the way of a prediction at the address of InferenceService `{name}`, whose transformer stands beside its predictor"
    );
    Ok(())
}
