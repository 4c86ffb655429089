//! Models that are fetched from somewhere, and served by a runtime of the namespace.

use super::{
    super::prelude::*,
    merged, mode, predictor,
    reach::{at_address, numbers, service_ready_with_images},
    text,
};

requirement_checks! {
    "kserve/storage/mounts-a-claim" => mounts_a_claim, needs [&SERVED];
    "kserve/storage/mounts-it-read-only" => mounts_it_read_only, needs [&SERVED];
    "kserve/storage/fetches-over-http" => fetches_over_http, needs [&FETCHED];
    "kserve/inferenceservice/reports-a-loaded-model" => reports_a_loaded_model, needs [&SERVED];
}

setups! {
    /// A volume claim with the file of a model in it; its value is the claim's name.
    CLAIMED = "setup/kserve/claim", judge "", minutes 5, needs [&IMAGE], run: make_claim;
    /// A ready InferenceService whose model is on that claim and whose runtime is the namespace's; its value is the object.
    pub(super) SERVED = "setup/kserve/served", judge "kserve/storage/mounts-a-claim", minutes 8, needs [&CLAIMED], run: make_served;
    /// The same with its model at a server of the cluster, from which a storage initializer fetches it.
    FETCHED = "setup/kserve/fetched", judge "kserve/storage/fetches-over-http", minutes 8, needs [&IMAGE], run: make_fetched;
}

/// The weights of the model on the claim: each digit of a prediction tells which value it comes from.
const ON_CLAIM: [u32; 4] = [1, 10, 100, 1000];
/// The weights of the model that is fetched.
const FETCHED_WEIGHTS: &str = "2,20,200,2000";

async fn make_claim(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("model");
    let mut claim = cx.fixture("kserve/claim.yaml", &[("name", &name)])?;
    if let Some(class) = &cx.run.storage_class {
        claim = with(&claim, "spec.storageClassName", json!(class));
    }
    cx.create(&CLAIM, &claim).await?;
    let file = format!("/claim/served/model.json={}", json!({"weights": ON_CLAIM}));
    let mut container = cx.container("main", &["step", "--write", &file]);
    container["volumeMounts"] = json!([{"name": "claim", "mountPath": "/claim"}]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": cx.name("seed"), "labels": {"sidecar.istio.io/inject": "false"}, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {
            "restartPolicy": "Never",
            // A new volume belongs to root.
            "securityContext": {"fsGroup": 65532},
            "containers": [container],
            "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": name}}],
        },
    });
    let created = cx.create(&POD, &pod).await?;
    let pod = text(&created["metadata"]["name"]);
    let done = cx
        .until(&POD, pod, "image", "write a model to its volume", |pod| {
            matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed")
        })
        .await?;
    if done["status"]["phase"] != "Succeeded" {
        let state = &done["status"]["containerStatuses"][0]["state"];
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!("no model can be written to volume claim `{name}`: {state}"),
        ));
    }
    Ok(name.into())
}

/// A runtime for this set-up's own format, created: its server has the name that KServe fills in, and a port for gRPC.
async fn create_runtime(cx: &Cx) -> Outcome {
    let (name, format) = (cx.name("runtime"), cx.name("format"));
    let marks = [("name", name.as_str()), ("format", format.as_str())];
    let mut runtime = cx.fixture("kserve/runtime.yaml", &marks)?;
    runtime["spec"]["protocolVersions"] = json!(["v1", "v2", "grpc-v2"]);
    let container = &mut runtime["spec"]["containers"][0];
    container["env"] = json!([{"name": "TAG", "value": name}]);
    container["args"] = json!(["--model_name={{.Name}}", "--grpc_port=9000"]);
    container["ports"] = json!([
        {"containerPort": 8080, "name": "http1", "protocol": "TCP"},
        {"containerPort": 9000, "name": "grpc-port", "protocol": "TCP"},
    ]);
    cx.create(&SERVING_RUNTIME, &runtime).await?;
    Ok(())
}

/// An InferenceService of this set-up's own format, created; returns its name.
async fn create_model(cx: &Cx, uri: &str) -> Outcome<String> {
    let (name, format) = (cx.name("served"), cx.name("format"));
    let marks = [
        ("name", name.as_str()),
        ("mode", mode(cx)?),
        ("format", format.as_str()),
    ];
    let object = cx.fixture("kserve/model.yaml", &marks)?;
    let change = json!({"spec": {"predictor": {"model": {"storageUri": uri}}}});
    let created = cx
        .create(&INFERENCE_SERVICE, &merged(&object, &change))
        .await?;
    Ok(text(&created["metadata"]["name"]).to_owned())
}

async fn make_served(cx: &Cx) -> Outcome<Value> {
    let claim: String = cx.setup(&CLAIMED)?;
    create_runtime(cx).await?;
    let name = create_model(cx, &format!("pvc://{claim}/served")).await?;
    service_ready_with_images(cx, &name).await
}

async fn make_fetched(cx: &Cx) -> Outcome<Value> {
    let mut origin = predictor(cx, "origin")?;
    origin["spec"]["predictor"]["containers"][0]["env"] =
        json!([{"name": "TAG", "value": "origin"}]);
    let origin = super::ready(cx, &origin).await?;
    let origin = cx.need(&INFERENCE_SERVICE, &origin).await?;
    let address = text(&origin["status"]["address"]["url"]);
    create_runtime(cx).await?;
    let name = create_model(
        cx,
        &format!("{address}/_model/{FETCHED_WEIGHTS}/model.json"),
    )
    .await?;
    service_ready_with_images(cx, &name).await
}

/// What a service answers for a row of four ones.
async fn of_ones(cx: &Cx, service: &Value) -> Outcome<Vec<f64>> {
    let path = format!("/v1/models/{}:predict", text(&service["metadata"]["name"]));
    let answer = at_address(cx, service)
        .await?
        .write(&path, &json!({"instances": [[1, 1, 1, 1]]}))
        .await?;
    Ok(numbers(&answer["predictions"]))
}

async fn mounts_a_claim(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&SERVED)?;
    ensure_eq!(
        of_ones(cx, &service).await?,
        [1111.0],
        "the prediction of the model on the claim for a row of ones"
    );
    Ok(())
}

async fn mounts_it_read_only(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&SERVED)?;
    let selector = format!(
        "{}={}",
        super::SERVICE_LABEL,
        text(&service["metadata"]["name"])
    );
    let pods = cx.list(&POD, &selector).await?;
    let mount = pods
        .iter()
        .filter_map(|pod| pod["spec"]["containers"].as_array())
        .flatten()
        .filter(|container| container["name"] == "kserve-container")
        .filter_map(|container| container["volumeMounts"].as_array())
        .flatten()
        .find(|mount| mount["mountPath"] == "/mnt/models");
    let Some(mount) = mount else {
        return Err(Stop::failed("no container has a volume at /mnt/models"));
    };
    ensure_eq!(
        mount["readOnly"],
        true,
        "whether the model's volume is mounted read-only"
    );
    Ok(())
}

async fn fetches_over_http(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&FETCHED)?;
    ensure_eq!(
        of_ones(cx, &service).await?,
        [2222.0],
        "the prediction of the model that was fetched for a row of ones"
    );
    Ok(())
}

async fn reports_a_loaded_model(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&SERVED)?;
    let name = text(&service["metadata"]["name"]);
    let seen = cx
        .until(
            &INFERENCE_SERVICE,
            name,
            "reconcile",
            "report its model as loaded, though it is ready",
            |service| service["status"]["modelStatus"]["states"]["activeModelState"] == "Loaded",
        )
        .await?;
    let model = &seen["status"]["modelStatus"];
    ensure_eq!(
        model["transitionStatus"],
        "UpToDate",
        "the transition status of the model of InferenceService `{name}`"
    );
    ensure!(
        model["copies"]["totalCopies"].as_u64() >= Some(1),
        "InferenceService `{name}` is ready and reports {} copies of its model",
        model["copies"]["totalCopies"]
    );
    Ok(())
}
