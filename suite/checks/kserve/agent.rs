//! What stands between a client and a predictor when it asks for it: the logger and the batcher.

use super::{
    super::prelude::*,
    merged, predictor,
    reach::{at_address, numbers, service_ready_with_images},
    ready, text,
};

requirement_checks! {
    "kserve/logger/logs-request-and-response" => logs_request_and_response, needs [&SINK, &LOGGED];
    "kserve/logger/names-the-service" => names_the_service, needs [&SINK, &LOGGED];
    "kserve/logger/leaves-answers-alone" => leaves_answers_alone, needs [&LOGGED];
    "kserve/logger/keeps-to-its-mode" => keeps_to_its_mode, needs [&SINK, &NARROW];
    "kserve/batcher/answers-by-batches" => answers_by_batches, needs [&BATCHED];
    "kserve/batcher/refuses-empty-requests" => refuses_empty_requests, needs [&BATCHED];
    "kserve/batcher/lets-others-pass" => lets_others_pass, needs [&BATCHED];
}

setups! {
    /// A ready InferenceService that keeps events; its value is the object.
    SINK = "setup/kserve/sink", judge "", minutes 6, needs [&IMAGE], run: make_sink;
    /// A ready InferenceService whose requests and answers are logged there; its value is the object.
    LOGGED = "setup/kserve/logged", judge "kserve/logger/logs-request-and-response", minutes 8, needs [&SINK], run: make_logged;
    /// The same with its requests alone.
    NARROW = "setup/kserve/narrow", judge "kserve/logger/keeps-to-its-mode", minutes 8, needs [&SINK], run: make_narrow;
    /// A ready InferenceService whose requests are collected; its value is the object.
    BATCHED = "setup/kserve/batched", judge "kserve/batcher/answers-by-batches", minutes 8, needs [&IMAGE], run: make_batched;
}

/// How many rows make a batch.
const BATCH: u8 = 4;

async fn make_sink(cx: &Cx) -> Outcome<Value> {
    let mut object = predictor(cx, "sink")?;
    object["spec"]["predictor"]["containers"][0]["env"] =
        json!([{"name": "MODE", "value": "sink"}]);
    let name = ready(cx, &object).await?;
    cx.need(&INFERENCE_SERVICE, &name).await
}

async fn with_agent(cx: &Cx, label: &str, setting: &Value) -> Outcome<Value> {
    let object = merged(
        &predictor(cx, label)?,
        &json!({"spec": {"predictor": setting}}),
    );
    let created = cx.create(&INFERENCE_SERVICE, &object).await?;
    service_ready_with_images(cx, text(&created["metadata"]["name"])).await
}

async fn make_logged(cx: &Cx) -> Outcome<Value> {
    let sink: Value = cx.setup(&SINK)?;
    let url = &sink["status"]["address"]["url"];
    with_agent(
        cx,
        "logged",
        &json!({"logger": {"mode": "all", "url": url}}),
    )
    .await
}

async fn make_narrow(cx: &Cx) -> Outcome<Value> {
    let sink: Value = cx.setup(&SINK)?;
    let url = &sink["status"]["address"]["url"];
    with_agent(
        cx,
        "narrow",
        &json!({"logger": {"mode": "request", "url": url}}),
    )
    .await
}

async fn make_batched(cx: &Cx) -> Outcome<Value> {
    // It never waits so long: a batch is full before.
    let batcher = json!({"maxBatchSize": BATCH, "maxLatency": 5000});
    with_agent(cx, "batched", &json!({"batcher": batcher})).await
}

const PREDICT: &str = "/v1/models/m:predict";
const REQUEST: &str = "org.kubeflow.serving.inference.request";
const RESPONSE: &str = "org.kubeflow.serving.inference.response";

/// A prediction of one row whose events get an id; returns what was sent and what came back.
async fn predict(cx: &Cx, service: &Value, id: &str) -> Outcome<(Value, Answer)> {
    let http = at_address(cx, service).await?;
    let body = json!({"instances": [[1, 2, 3, 4]]});
    let request = http
        .request("POST", PREDICT)
        .json(body.clone())
        .header("ce-id", id);
    let answer = http.send(request).await?;
    ensure!(
        answer.is_success(),
        "a prediction that is logged was answered with {}",
        answer.summary()
    );
    Ok((body, answer))
}

/// The events of an id that the sink has got, once there are so many of them.
async fn events(cx: &Cx, id: &str, many: usize) -> Outcome<Vec<Value>> {
    let sink: Value = cx.setup(&SINK)?;
    let seen = at_address(cx, &sink)
        .await?
        .until(
            &format!("/_events?id={id}"),
            "reconcile",
            &format!("hold {many} events of the prediction `{id}`"),
            |seen| Ok(seen["events"].as_array().map_or(0, Vec::len) >= many),
        )
        .await?;
    Ok(seen["events"].as_array().cloned().unwrap_or_default())
}

fn of_type<'a>(events: &'a [Value], kind: &str) -> Option<&'a Value> {
    events
        .iter()
        .find(|event| event["attributes"]["type"] == kind)
}

async fn logs_request_and_response(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&LOGGED)?;
    let id = cx.name("event");
    let (sent, got) = predict(cx, &service, &id).await?;
    let events = events(cx, &id, 2).await?;
    ensure_eq!(events.len(), 2_usize, "how many events a prediction makes");
    for (kind, wanted) in [(REQUEST, &sent), (RESPONSE, got.json())] {
        let Some(event) = of_type(&events, kind) else {
            return Err(Stop::unlike(
                format!("a prediction made no event of type {kind}"),
                kind,
                events
                    .iter()
                    .map(|event| text(&event["attributes"]["type"]))
                    .collect::<Vec<_>>()
                    .join(", "),
            ));
        };
        ensure_eq!(
            event["data"],
            *wanted,
            "the data of the event of type {kind}"
        );
    }
    Ok(())
}

async fn names_the_service(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&LOGGED)?;
    let id = cx.name("event");
    predict(cx, &service, &id).await?;
    for event in events(cx, &id, 2).await? {
        for (attribute, wanted) in [
            ("inferenceservicename", text(&service["metadata"]["name"])),
            ("namespace", cx.namespace()),
            ("component", "predictor"),
        ] {
            ensure_eq!(
                event["attributes"][attribute],
                wanted,
                "attribute {attribute} of an event of type {}",
                event["attributes"]["type"]
            );
        }
    }
    Ok(())
}

async fn leaves_answers_alone(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&LOGGED)?;
    let (_, answer) = predict(cx, &service, &cx.name("event")).await?;
    ensure_eq!(
        numbers(&answer.json()["predictions"]),
        [10.0],
        "the predictions by way of the logger"
    );
    let http = at_address(cx, &service).await?;
    let refused = http
        .post("/v1/models/unknown:predict", &json!({"instances": [[1]]}))
        .await?;
    ensure_eq!(
        refused.status,
        404_u16,
        "the answer of a predictor to a request for an unknown model, by way of the logger"
    );
    Ok(())
}

async fn keeps_to_its_mode(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&NARROW)?;
    let (first, second) = (cx.name("first"), cx.name("second"));
    predict(cx, &service, &first).await?;
    // What would be said of the first answer was said before the second request came.
    predict(cx, &service, &second).await?;
    events(cx, &second, 1).await?;
    let events = events(cx, &first, 1).await?;
    ensure!(
        of_type(&events, REQUEST).is_some(),
        "a service that logs its requests made no event of one"
    );
    ensure!(
        of_type(&events, RESPONSE).is_none(),
        "a service that logs its requests alone made an event of an answer"
    );
    Ok(())
}

async fn answers_by_batches(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&BATCHED)?;
    let http = at_address(cx, &service).await?;
    // A whole batch, which waits for nobody. Requests at once could not be followed over the evidence.
    let rows: Vec<Value> = (0..BATCH).map(|row| json!([row, 0, 0, 0])).collect();
    let answer = http.write(PREDICT, &json!({"instances": rows})).await?;
    let wanted: Vec<f64> = (0..BATCH).map(f64::from).collect();
    ensure_eq!(
        numbers(&answer["predictions"]),
        wanted,
        "the predictions of a batch of {BATCH} rows"
    );
    ensure!(
        !text(&answer["batchId"]).is_empty(),
        "a prediction by way of the batcher was answered without the id of its batch: {answer}"
    );
    Ok(())
}

async fn refuses_empty_requests(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&BATCHED)?;
    let http = at_address(cx, &service).await?;
    let answer = http.post(PREDICT, &json!({"instances": []})).await?;
    ensure!(
        (400..500).contains(&answer.status),
        "a prediction of no rows, which can be in no batch, was answered with {}",
        answer.summary()
    );
    Ok(())
}

async fn lets_others_pass(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&BATCHED)?;
    let http = at_address(cx, &service).await?;
    let input =
        json!({"name": "input-0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]});
    // Alone it would wait for a whole batch, were it collected.
    let answer = http
        .write("/v2/models/m/infer", &json!({"inputs": [input]}))
        .await?;
    ensure_eq!(
        numbers(&answer["outputs"][0]["data"]),
        [10.0],
        "the outputs of an inference, which is no request of the v1 protocol"
    );
    ensure!(
        answer["batchId"].is_null(),
        "an inference of the v2 protocol was put into a batch"
    );
    Ok(())
}
