//! The life of an InferenceService in the mode without Knative, with the suite's own model server as its predictor.

use std::time::Duration;

use super::{
    super::prelude::*,
    MODE, SERVICE_LABEL, is_serving, knative_mode, merged, owns_workload, pods_until, predictor,
    predictor_name,
    reach::{at_address, numbers, parts},
    ready,
    runtime::{create_model, create_runtime, in_model},
    text, until_ready,
};

requirement_checks! {
    "kserve/inferenceservice/becomes-ready" => becomes_ready, needs [&READY];
    "kserve/inferenceservice/reports-its-address" => reports_its_address, needs [&READY];
    "kserve/inferenceservice/records-its-mode" => records_its_mode, needs [&READY];
    "kserve/inferenceservice/answers-predictions" => answers_predictions, needs [&READY];
    "kserve/inferenceservice/owns-its-workload" => owns_its_workload, needs [&READY];
    "kserve/inferenceservice/marks-its-pods" => marks_its_pods, needs [&READY];
    "kserve/inferenceservice/refuses-another-mode" => refuses_another_mode, needs [&READY];
    "kserve/inferenceservice/leaves-scaling-to-others" => leaves_scaling_to_others, needs [&READY];
    "kserve/inferenceservice/runs-the-minimum-of-replicas" => runs_the_minimum_of_replicas, needs [&TWO];
    "kserve/inferenceservice/rolls-out-changes" => rolls_out_changes, needs [&IMAGE];
    "kserve/inferenceservice/serves-on-while-a-change-fails" => serves_on_while_a_change_fails, needs [&FAILED];
    "kserve/inferenceservice/rolls-back" => rolls_back, needs [&FAILED];
    "kserve/inferenceservice/follows-its-minimum" => follows_its_minimum, needs [&RAISED];
    "kserve/inferenceservice/reports-unknown-storage" => reports_unknown_storage;
    "kserve/inferenceservice/is-not-ready-while-it-crashes" => is_not_ready_while_it_crashes, needs [&IMAGE];
    "kserve/inferenceservice/stops-when-annotated" => stops_when_annotated, needs [&STOPPED];
    "kserve/inferenceservice/starts-again" => starts_again, needs [&STOPPED];
    "kserve/inferenceservice/is-deleted-with-its-workload" => is_deleted_with_its_workload, needs [&SHORT_LIVED];
}

setups! {
    /// A ready InferenceService; its value is the object.
    pub(super) READY = "setup/kserve/ready", judge "kserve/inferenceservice/becomes-ready", minutes 6, needs [&IMAGE], run: make_ready;
    /// An InferenceService that was ready and then stopped; its value is the object.
    STOPPED = "setup/kserve/stopped", judge "kserve/inferenceservice/stops-when-annotated", minutes 10, needs [&IMAGE], run: make_stopped;
    /// An InferenceService that was ready and then changed to a predictor that crashes, once the new pod has crashed; its
    /// value is a [`FailedChange`].
    FAILED = "setup/kserve/failed-change", judge "kserve/inferenceservice/serves-on-while-a-change-fails", minutes 10, needs [&IMAGE], run: make_failed;
    /// An InferenceService of two replicas that both serve; its value is its name.
    TWO = "setup/kserve/two", judge "kserve/inferenceservice/runs-the-minimum-of-replicas", minutes 6, needs [&IMAGE], run: make_two;
    /// An InferenceService whose minimum of replicas was raised once it was ready, when as many serve; its value is its name. An
    /// autoscaler looks every 15 seconds, so that it takes long.
    RAISED = "setup/kserve/raised", judge "kserve/inferenceservice/follows-its-minimum", minutes 10, needs [&IMAGE], run: make_raised;
    /// A ready InferenceService that one check deletes; its value is its name.
    SHORT_LIVED = "setup/kserve/short-lived", judge "kserve/inferenceservice/is-deleted-with-its-workload", minutes 6, needs [&IMAGE], run: make_short_lived;
}

/// The annotation that stops a service.
const STOP: &str = "serving.kserve.io/stop";

async fn make_ready(cx: &Cx) -> Outcome<Value> {
    let name = ready(cx, &predictor(cx, "ready")?).await?;
    cx.need(&INFERENCE_SERVICE, &name).await
}

async fn make_stopped(cx: &Cx) -> Outcome<Value> {
    let name = ready(cx, &predictor(cx, "stop")?).await?;
    let stop = json!({"metadata": {"annotations": {STOP: "true"}}});
    cx.patch(&INFERENCE_SERVICE, &name, &stop).await?;
    let stopped = cx
        .until(
            &INFERENCE_SERVICE,
            &name,
            "reconcile",
            "report that it was stopped",
            |service| condition(service, "Stopped") == "True",
        )
        .await?;
    pods_until(cx, &name, "gone", "go once it was stopped", <[_]>::is_empty).await?;
    Ok(stopped)
}

async fn make_two(cx: &Cx) -> Outcome<Value> {
    let two = json!({"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 2}}});
    let created = cx
        .create(&INFERENCE_SERVICE, &merged(&predictor(cx, "two")?, &two))
        .await?;
    pods_until(
        cx,
        name(&created),
        "inferenceservice-ready",
        "become two that are ready, its minReplicas",
        |pods| pods.iter().filter(|p| is_serving(p)).count() >= 2,
    )
    .await?;
    Ok(name(&created).into())
}

async fn make_raised(cx: &Cx) -> Outcome<Value> {
    let service = ready(cx, &predictor(cx, "scale")?).await?;
    let two = json!({"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 2}}});
    cx.patch(&INFERENCE_SERVICE, &service, &two).await?;
    pods_until(
        cx,
        &service,
        "inferenceservice-ready",
        "become two that are ready, as its minReplicas was raised to",
        |pods| pods.iter().filter(|p| is_serving(p)).count() >= 2,
    )
    .await?;
    Ok(service.into())
}

async fn make_short_lived(cx: &Cx) -> Outcome<Value> {
    let name = ready(cx, &predictor(cx, "delete")?).await?;
    Ok(name.into())
}

/// The name of an object.
fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

async fn becomes_ready(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&READY)?;
    for kind in ["Ready", "PredictorReady", "IngressReady"] {
        ensure_eq!(
            condition(&service, kind),
            "True",
            "condition {kind} of InferenceService `{}`",
            name(&service)
        );
    }
    Ok(())
}

async fn reports_its_address(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&READY)?;
    let status = &service["status"];
    for (what, url) in [
        ("status.url", &status["url"]),
        ("status.address.url", &status["address"]["url"]),
    ] {
        ensure!(
            parts(text(url)).is_some(),
            "{what} of InferenceService `{}` is {url}, which is no URL",
            name(&service)
        );
    }
    Ok(())
}

async fn records_its_mode(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&READY)?;
    ensure_eq!(
        service["status"]["deploymentMode"],
        cx.facts().kserve_mode.as_str(),
        "status.deploymentMode of InferenceService `{}`",
        name(&service)
    );
    Ok(())
}

async fn answers_predictions(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&READY)?;
    let address = text(&service["status"]["address"]["url"]);
    let http = at_address(cx, &service).await?;
    let rows = json!([[1.0, 2.0, 3.0, 4.0], [0.5, 0.5, 0.0, 0.0]]);
    let answer = http
        .write("/v1/models/m:predict", &json!({"instances": rows}))
        .await?;
    ensure_eq!(
        numbers(&answer["predictions"]),
        [10.0, 1.0],
        "the v1 predictions of {address}"
    );
    let input = json!({"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": rows});
    let answer = http
        .write(
            "/v2/models/m/infer",
            &json!({"id": "conformance", "inputs": [input]}),
        )
        .await?;
    ensure_eq!(
        answer["id"],
        "conformance",
        "the id of a v2 inference of {address}"
    );
    ensure_eq!(
        numbers(&answer["outputs"][0]["data"]),
        [10.0, 1.0],
        "the outputs of a v2 inference of {address}"
    );
    Ok(())
}

async fn owns_its_workload(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&READY)?;
    owns_workload(cx, &service, &predictor_name(name(&service))).await
}

async fn marks_its_pods(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&READY)?;
    let selector = format!("{SERVICE_LABEL}={}", name(&service));
    let pods = cx.list(&POD, &selector).await?;
    ensure!(
        !pods.is_empty(),
        "no pod carries the label {selector}, by which a service's pods are found"
    );
    let predictor = &service["spec"]["predictor"];
    for (what, key) in [
        ("labels", "conformance.kubeflow.org/label"),
        ("annotations", "conformance.kubeflow.org/annotation"),
    ] {
        for pod in &pods {
            ensure_eq!(
                pod["metadata"][what][key],
                predictor[what][key],
                "{key} among the {what} of pod `{}`",
                name(pod)
            );
        }
    }
    Ok(())
}

async fn refuses_another_mode(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&READY)?;
    let other = knative_mode(cx)?;
    let note = json!({"metadata": {"annotations": {"conformance.kubeflow.org/note": "changed"}}});
    let mode = json!({"metadata": {"annotations": {MODE: other}}});
    cx.refuses_patch(
        &INFERENCE_SERVICE,
        name(&service),
        &note,
        &mode,
        "that gives it another mode",
    )
    .await
}

async fn leaves_scaling_to_others(cx: &Cx) -> Outcome {
    let twin: Value = cx.setup(&READY)?;
    cx.need(&HPA, &predictor_name(name(&twin))).await?;
    let external =
        json!({"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "external"}}});
    let service = ready(cx, &merged(&predictor(cx, "external")?, &external)).await?;
    let made = cx.get(&HPA, &predictor_name(&service)).await?;
    ensure!(
        made.is_none(),
        "InferenceService `{service}` is scaled by others, and has a HorizontalPodAutoscaler"
    );
    Ok(())
}

async fn runs_the_minimum_of_replicas(cx: &Cx) -> Outcome {
    // The set-up waited for as many pods as minReplicas says.
    cx.setup::<String>(&TWO).map(drop)
}

async fn rolls_out_changes(cx: &Cx) -> Outcome {
    let object = predictor(cx, "change")?;
    let service = ready(cx, &object).await?;
    set_env(
        cx,
        &service,
        &object,
        &json!([{"name": "MODEL", "value": "m"}, {"name": "TAG", "value": "two"}]),
    )
    .await?;
    until_all_answer(cx, &service, "two").await?;
    until_ready(cx, &service).await?;
    Ok(())
}

/// Gives the container of a service other variables.
async fn set_env(cx: &Cx, service: &str, object: &Value, env: &Value) -> Outcome {
    let mut containers = object["spec"]["predictor"]["containers"].clone();
    containers[0]["env"] = env.clone();
    let change = json!({"spec": {"predictor": {"containers": containers}}});
    cx.patch(&INFERENCE_SERVICE, service, &change).await?;
    Ok(())
}

/// Waits until every ready pod of a service answers with this TAG.
async fn until_all_answer(cx: &Cx, service: &str, wanted: &str) -> Outcome {
    let until = cx.after("inferenceservice-ready");
    let mut wait = Duration::from_millis(50);
    loop {
        let seen = tags(cx, service).await?;
        if !seen.is_empty() && seen.iter().all(|tag| tag == wanted) {
            return Ok(());
        }
        ensure!(
            cx.now_ms() < until,
            "the pods of InferenceService `{service}` answer with TAG {}, not `{wanted}`, long after it was changed",
            seen.join(", ")
        );
        cx.pause(wait).await;
        wait = (wait * 2).min(Duration::from_millis(1500));
    }
}

/// What the ready pods of a service say that TAG is.
async fn tags(cx: &Cx, service: &str) -> Outcome<Vec<String>> {
    let pods = cx.list(&POD, &format!("{SERVICE_LABEL}={service}")).await?;
    let mut tags = Vec::new();
    for pod in pods.iter().filter(|pod| is_serving(pod)) {
        // A pod that is replaced may be gone by now: then the next look at the pods says so, not a second request.
        let answer = cx.pod(name(pod), 8080).get_once("/v1/models/m").await?;
        tags.extend(answer.map(|answer| {
            let tag = answer.header("x-kfconform-tag").unwrap_or_default();
            tag.to_owned()
        }));
    }
    Ok(tags)
}

async fn is_not_ready_while_it_crashes(cx: &Cx) -> Outcome {
    let mut object = predictor(cx, "crash")?;
    object["spec"]["predictor"]["containers"][0]["env"] =
        json!([{"name": "MODE", "value": "crash"}]);
    let created = cx.create(&INFERENCE_SERVICE, &object).await?;
    let service = name(&created);
    pods_until(
        cx,
        service,
        "inferenceservice-ready",
        "start again after they crashed",
        |pods| {
            pods.iter()
                .any(|p| p["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0))
        },
    )
    .await?;
    // It is not ready now; nor may it be when the controller has seen the crash.
    let seen = cx
        .until(
            &INFERENCE_SERVICE,
            service,
            "reconcile",
            "report conditions",
            |service| !condition(service, "Ready").is_empty(),
        )
        .await?;
    for kind in ["Ready", "PredictorReady"] {
        ensure!(
            condition(&seen, kind) != "True",
            "InferenceService `{service}` reports {kind}, and its only pod crashes"
        );
    }
    Ok(())
}

async fn stops_when_annotated(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&STOPPED)?;
    ensure!(
        condition(&service, "Ready") != "True",
        "InferenceService `{}` is ready and stopped at once",
        name(&service)
    );
    Ok(())
}

async fn starts_again(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&STOPPED)?;
    let start = json!({"metadata": {"annotations": {STOP: null}}});
    cx.patch(&INFERENCE_SERVICE, name(&service), &start).await?;
    let seen = until_ready(cx, name(&service)).await?;
    ensure!(
        condition(&seen, "Stopped") != "True",
        "InferenceService `{}` is ready, and still reported as stopped",
        name(&seen)
    );
    Ok(())
}

async fn is_deleted_with_its_workload(cx: &Cx) -> Outcome {
    let service: String = cx.setup(&SHORT_LIVED)?;
    cx.delete(&INFERENCE_SERVICE, &service).await?;
    cx.until_gone(&INFERENCE_SERVICE, &service, "gone").await?;
    for kind in [&DEPLOYMENT, &SERVICE] {
        cx.until_gone(kind, &predictor_name(&service), "gone")
            .await?;
    }
    Ok(())
}

/// What was seen of a service whose change fails.
#[derive(Debug, Serialize, Deserialize)]
struct FailedChange {
    name: String,
    /// How its address answered meanwhile, and which predictor did.
    status: u16,
    tag: String,
}

async fn make_failed(cx: &Cx) -> Outcome<Value> {
    let object = predictor(cx, "failed")?;
    let service = ready(cx, &object).await?;
    let crash = json!([{"name": "MODE", "value": "crash"}, {"name": "TAG", "value": "two"}]);
    set_env(cx, &service, &object, &crash).await?;
    pods_until(
        cx,
        &service,
        "inferenceservice-ready",
        "crash after the change",
        |pods| {
            pods.iter()
                .any(|p| p["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0))
        },
    )
    .await?;
    let seen = cx.need(&INFERENCE_SERVICE, &service).await?;
    let answer = at_address(cx, &seen)
        .await?
        .post(
            "/v1/models/m:predict",
            &json!({"instances": [[1, 2, 3, 4]]}),
        )
        .await?;
    Ok(json!(FailedChange {
        name: service,
        status: answer.status,
        tag: answer
            .header("x-kfconform-tag")
            .unwrap_or_default()
            .to_owned(),
    }))
}

async fn serves_on_while_a_change_fails(cx: &Cx) -> Outcome {
    let seen: FailedChange = cx.setup(&FAILED)?;
    ensure_eq!(
        (seen.status, seen.tag.as_str()),
        (200_u16, "one"),
        "status and TAG of the answer of InferenceService `{}` while its change to a predictor that crashes goes on",
        seen.name
    );
    Ok(())
}

async fn rolls_back(cx: &Cx) -> Outcome {
    let FailedChange { name: service, .. } = cx.setup(&FAILED)?;
    let object = predictor(cx, "failed")?;
    let back = json!([{"name": "MODEL", "value": "m"}, {"name": "TAG", "value": "three"}]);
    set_env(cx, &service, &object, &back).await?;
    until_all_answer(cx, &service, "three").await?;
    until_ready(cx, &service).await?;
    Ok(())
}

async fn follows_its_minimum(cx: &Cx) -> Outcome {
    cx.setup::<Value>(&RAISED).map(drop)
}

async fn reports_unknown_storage(cx: &Cx) -> Outcome {
    create_runtime(cx, "runtime", &json!({})).await?;
    let service = create_model(cx, &in_model(&json!({"storageUri": "nowhere://a/b"}))).await?;
    // It must come to nothing, visibly: by an event, or by a failure in its status.
    let until = cx.after("reconcile");
    let mut wait = Duration::from_millis(100);
    loop {
        let seen = cx.need(&INFERENCE_SERVICE, &service).await?;
        let failed = seen["status"]["modelStatus"]["lastFailureInfo"].is_object();
        let told = failed || {
            let own = service.clone();
            let warns = move |event: &Value| {
                event["involvedObject"]["name"] == own.as_str() && event["type"] == "Warning"
            };
            !cx.list_those(&EVENT, warns).await?.is_empty()
        };
        let made = cx.get(&DEPLOYMENT, &predictor_name(&service)).await?;
        ensure!(
            made.is_none(),
            "InferenceService `{service}` runs, and nobody can fetch its model from nowhere://a/b"
        );
        if told {
            return Ok(());
        }
        ensure!(
            cx.now_ms() < until,
            "InferenceService `{service}`, whose storage URI nobody knows, says so neither by its status nor by an event"
        );
        cx.pause(wait).await;
        wait = (wait * 2).min(Duration::from_millis(1500));
    }
}
