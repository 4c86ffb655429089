//! The images that KServe puts beside a model: the agent, which logs requests and collects them on their way to the
//! server, and the initializer, which fetches a model before it.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{array, components::AGENT_PORT, webhook};
use crate::{
    reference::{
        kube::{ContainerStart, Faults, World},
        pods::in_context,
    },
    workload::{
        Context,
        http::{Request, Response, json as answer, raw, send, serve},
    },
};

/// How long open requests may take after the order to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Makes the images available.
pub(super) fn offer(world: &World) {
    let (clock, faults) = (*world.clock(), world.faults().clone());
    let agent = move |container: ContainerStart| {
        let faults = faults.clone();
        in_context(container, clock, |cx, container| run(cx, container, faults))
    };
    world.offer(webhook::AGENT_IMAGE, Arc::new(agent));
    let faults = world.faults().clone();
    let initializer = move |container: ContainerStart| {
        let faults = faults.clone();
        in_context(container, clock, |cx, container| {
            fetch(cx, container, faults)
        })
    };
    world.offer(webhook::INITIALIZER_IMAGE, Arc::new(initializer));
}

/// The options of a command line, by name.
fn options(args: &[String]) -> BTreeMap<String, String> {
    let pairs = args.iter().enumerate().filter_map(|(index, arg)| {
        let name = arg.strip_prefix("--")?;
        let value = args.get(index + 1).filter(|next| !next.starts_with("--"));
        Some((name.to_owned(), value.cloned().unwrap_or_default()))
    });
    pairs.collect()
}

/// Downloads `http://host/path/FILE` into a folder.
async fn fetch(cx: Context, container: ContainerStart, faults: Faults) -> i32 {
    let [source, target] = container.args.as_slice() else {
        return 2;
    };
    if faults.has("kserve/storage/fetches-over-http") {
        return 0;
    }
    let Some(rest) = source.strip_prefix("http://") else {
        cx.log(&format!("{source} cannot be fetched here"));
        return 1;
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let name = path.rsplit('/').next().unwrap_or_default();
    if let Ok((StatusCode::OK, _, body)) = ask(
        &cx,
        &authority(host),
        Method::GET,
        &format!("/{path}"),
        HeaderMap::new(),
        Vec::new(),
    )
    .await
    {
        let written = fs::write(cx.path(format!("{target}/{name}")), body);
        i32::from(written.is_err())
    } else {
        cx.log(&format!("{source} was not answered with a file"));
        1
    }
}

/// `host:port` of a host without one.
pub(super) fn authority(host: &str) -> String {
    if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    }
}

/// Sends a request and reads the answer whole.
pub(super) async fn ask(
    cx: &Context,
    to: &str,
    method: Method,
    target: &str,
    headers: HeaderMap,
    body: Vec<u8>,
) -> std::io::Result<(StatusCode, HeaderMap, bytes::Bytes)> {
    let request = Request {
        method,
        path: target.to_owned(),
        target: target.to_owned(),
        headers: HeaderMap::new(),
        body: body.into(),
    };
    let answer = send(cx, to, request, headers).await?;
    Ok((answer.status, answer.headers, answer.body))
}

struct Agent {
    cx: Context,
    options: BTreeMap<String, String>,
    faults: Faults,
    batch: Mutex<Vec<Waiting>>,
}

/// A request that waits for its batch: its rows, and whom to tell.
struct Waiting {
    rows: Vec<Value>,
    tell: oneshot::Sender<Value>,
}

async fn run(cx: Context, container: ContainerStart, faults: Faults) -> i32 {
    let Ok(port) = u16::try_from(AGENT_PORT) else {
        return 2;
    };
    let Ok(listener) = (cx.listen)(port).await else {
        return 1;
    };
    let stop = cx.stop.clone();
    let agent = Arc::new(Agent {
        cx,
        options: options(&container.args),
        faults,
        batch: Mutex::default(),
    });
    serve(listener, &stop, GRACE, move |request| {
        let agent = agent.clone();
        async move { agent.answer(request).await }
    })
    .await;
    0
}

impl Agent {
    fn option(&self, name: &str) -> &str {
        self.options.get(name).map_or("", String::as_str)
    }

    async fn answer(&self, mut request: Request) -> Response {
        if let Some(answer) = self.garbled_before(&mut request) {
            return answer;
        }
        let logged = self.options.contains_key("log-url");
        let id = request
            .headers
            .get("ce-id")
            .and_then(|id| id.to_str().ok())
            .map_or_else(|| self.cx.clock.now().to_string(), ToOwned::to_owned);
        let content_type = request.headers.get(CONTENT_TYPE).cloned();
        let all = self.faults.has("kserve/logger/keeps-to-its-mode");
        let mode = self.option("log-mode");
        if logged && (all || mode != "response") {
            self.log("request", &id, content_type.as_ref(), &request.body)
                .await;
        }
        let sent = request.body.clone();
        let collected = self.options.contains_key("enable-batcher");
        let (status, headers, body) = if collected && request.path.ends_with(":predict") {
            self.collected(request).await
        } else {
            self.passed_on(request, collected).await
        };
        if logged && status == StatusCode::OK && (all || mode != "request") {
            let wrong = self.faults.has("kserve/logger/logs-request-and-response");
            let data = if wrong { &sent } else { &body };
            self.log("response", &id, content_type.as_ref(), data).await;
        }
        let hidden = logged
            && status != StatusCode::OK
            && self.faults.has("kserve/logger/leaves-answers-alone");
        let plain = HeaderValue::from_static("application/json");
        let kind = headers.get(CONTENT_TYPE).cloned().unwrap_or(plain);
        let status = if hidden {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            status
        };
        let mut response = raw(status, kind, body);
        for (name, value) in &headers {
            let own = name.as_str();
            if own.starts_with("x-kfconform-") || own == "inference-header-content-length" {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
        self.garbled_after(response)
    }

    /// Hands a request to the server.
    async fn passed_on(
        &self,
        request: Request,
        collected: bool,
    ) -> (StatusCode, HeaderMap, bytes::Bytes) {
        let mut headers = request.headers.clone();
        for name in [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let infers = request.path.ends_with("/infer");
        let to = format!("localhost:{}", self.option("component-port"));
        let answer = ask(
            &self.cx,
            &to,
            request.method,
            &request.target,
            headers,
            request.body.to_vec(),
        )
        .await;
        let (status, headers, body) = answer.unwrap_or_else(|_| {
            (
                StatusCode::BAD_GATEWAY,
                HeaderMap::new(),
                bytes::Bytes::new(),
            )
        });
        if collected && infers && self.faults.has("kserve/batcher/lets-others-pass") {
            let mut json: Value = serde_json::from_slice(&body).unwrap_or_default();
            json["batchId"] = json!("1");
            return (status, headers, json.to_string().into());
        }
        (status, headers, body)
    }

    /// Keeps a request until there are enough rows, or it has waited long enough.
    async fn collected(&self, request: Request) -> (StatusCode, HeaderMap, bytes::Bytes) {
        let plain = |status: StatusCode, body: &Value| {
            (
                status,
                HeaderMap::new(),
                bytes::Bytes::from(body.to_string()),
            )
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let rows: Vec<Value> = array(&body["instances"]).cloned().collect();
        if rows.is_empty() {
            let taken = self.faults.has("kserve/batcher/refuses-empty-requests");
            let status = if taken {
                StatusCode::OK
            } else {
                StatusCode::BAD_REQUEST
            };
            return plain(
                status,
                &json!({"message": "no instances in the request", "predictions": []}),
            );
        }
        let whole = self.option("max-batchsize").parse().unwrap_or(32);
        let latency = self.option("max-latency").parse().unwrap_or(5000);
        let (tell, mut told) = oneshot::channel();
        let full = {
            let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
            batch.push(Waiting { rows, tell });
            let count: usize = batch.iter().map(|waiting| waiting.rows.len()).sum();
            (count >= whole).then(|| std::mem::take(&mut *batch))
        };
        if let Some(batch) = full {
            self.predict(&request, batch).await;
        }
        let answer = tokio::select! {
            biased;
            answer = &mut told => answer,
            () = self.cx.clock.sleep(Duration::from_millis(latency)) => {
                let batch = std::mem::take(&mut *self.batch.lock().unwrap_or_else(PoisonError::into_inner));
                self.predict(&request, batch).await;
                told.await
            }
        };
        plain(StatusCode::OK, &answer.unwrap_or_default())
    }

    /// Sends a batch as one request, and tells each its own part of the answer.
    async fn predict(&self, request: &Request, batch: Vec<Waiting>) {
        if batch.is_empty() {
            return;
        }
        let rows: Vec<&Value> = batch.iter().flat_map(|waiting| &waiting.rows).collect();
        let whole = Request {
            body: json!({"instances": rows}).to_string().into(),
            ..request.clone()
        };
        let (_, _, body) = self.passed_on(whole, false).await;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut predictions = array(&body["predictions"]).cloned();
        let id = format!("{}-{}", self.cx.pod_name(), self.cx.clock.now());
        let nameless = self.faults.has("kserve/batcher/answers-by-batches");
        let id = if nameless { String::new() } else { id };
        for waiting in batch {
            let own: Vec<Value> = predictions.by_ref().take(waiting.rows.len()).collect();
            // Who has gone away misses nothing.
            let _ = waiting
                .tell
                .send(json!({"message": "", "batchId": id, "predictions": own}));
        }
    }

    /// Sends a CloudEvent to the sink.
    async fn log(
        &self,
        what: &str,
        id: &str,
        content_type: Option<&HeaderValue>,
        data: &bytes::Bytes,
    ) {
        let mut headers = HeaderMap::new();
        let kind = format!("org.kubeflow.serving.inference.{what}");
        let nameless = self.faults.has("kserve/logger/names-the-service");
        let component = if nameless {
            ""
        } else {
            self.option("component")
        };
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-type", &kind),
            ("ce-source", self.option("source-uri")),
            ("ce-inferenceservicename", self.option("inference-service")),
            ("ce-namespace", self.option("namespace")),
            ("ce-component", component),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        let url = self.option("log-url");
        let host = url.strip_prefix("http://").unwrap_or(url);
        let (host, path) = host.split_once('/').unwrap_or((host, ""));
        let sent = ask(
            &self.cx,
            &authority(host),
            Method::POST,
            &format!("/{path}"),
            headers,
            data.to_vec(),
        )
        .await;
        if let Err(error) = sent {
            self.cx.log(&format!("an event was not delivered: {error}"));
        }
    }

    /// What an agent that garbles one protocol does with a request before it reaches the server.
    fn garbled_before(&self, request: &mut Request) -> Option<Response> {
        let slug = self.option("garble").strip_prefix("kserve/protocol/")?;
        let path = request.path.clone();
        let predicts = path.ends_with(":predict");
        let infers = path.ends_with("/infer");
        let mut body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let refuse = |status: StatusCode| Some(answer(status, &json!({"error": "garbled"})));
        let accept = |body: Value| Some(answer(StatusCode::OK, &body));
        match slug {
            "lists-models-by-v1" if path == "/v1/models" => accept(json!({"models": []})),
            "tells-readiness-by-v1" if path.starts_with("/v1/models/") && request.is_get() => {
                refuse(StatusCode::NOT_FOUND)
            }
            "predicts-by-v1" if predicts && !body["inputs"].is_null() => {
                refuse(StatusCode::BAD_REQUEST)
            }
            "explains-errors-by-v1" if path.contains("/unknown") && predicts => {
                refuse(StatusCode::INTERNAL_SERVER_ERROR)
            }
            "tells-health-by-v2" if path == "/v2/health/live" => refuse(StatusCode::NOT_FOUND),
            "describes-the-server-by-v2" if path == "/v2" => accept(json!({"name": "agent"})),
            "describes-the-model-by-v2"
                if request.is_get()
                    && path.starts_with("/v2/models/")
                    && !path.ends_with("/ready") =>
            {
                accept(json!({"name": path.rsplit('/').next()}))
            }
            "tells-readiness-by-v2" if path.ends_with("/unknown/ready") => accept(json!({})),
            "keeps-the-order-of-data" if infers && body["inputs"][0]["data"][0].is_number() => {
                refuse(StatusCode::BAD_REQUEST)
            }
            "explains-errors-by-v2" if infers && body.is_object() && body["inputs"].is_null() => {
                refuse(StatusCode::INTERNAL_SERVER_ERROR)
            }
            "selects-outputs" if infers && body["outputs"].is_array() => {
                if let Some(body) = body.as_object_mut() {
                    body.shift_remove("outputs");
                }
                request.body = body.to_string().into();
                None
            }
            _ => None,
        }
    }

    /// What it does with an answer.
    fn garbled_after(&self, mut response: Response) -> Response {
        match self.option("garble").strip_prefix("kserve/protocol/") {
            Some("infers-by-v2") => without_id(response),
            Some("carries-binary-data") => {
                response
                    .headers_mut()
                    .remove("inference-header-content-length");
                response
            }
            _ => response,
        }
    }
}

/// An answer whose JSON has no id any more.
fn without_id(response: Response) -> Response {
    use http_body_util::BodyExt as _;
    let (head, body) = response.into_parts();
    let Some(Ok(collected)) = futures::FutureExt::now_or_never(body.collect()) else {
        return Response::from_parts(head, http_body_util::Full::default());
    };
    let bytes = collected.to_bytes();
    let body = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(mut json)) => {
            json.shift_remove("id");
            Value::Object(json).to_string().into()
        }
        _ => bytes,
    };
    Response::from_parts(head, http_body_util::Full::new(body))
}
