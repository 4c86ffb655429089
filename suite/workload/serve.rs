//! A predictor, and what a model mesh needs around it: a transformer, a sink of events, an echo, a slow and a failing one.
//!
//! Speaks KServe's V1 protocol and the Open Inference Protocol over REST. Every answer says in headers who answered and
//! by which way: `x-kfconform-tag`, `x-kfconform-pod` and `x-kfconform-hops`. A router that keeps no headers keeps bodies:
//! V1 answers carry the hops as `kfconform.hops` and V2 answers as `parameters.kfconform_hops`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Context;
use super::http::{Request, Response, error, json, raw, send, serve};
use super::predict::{Inference, Invalid, Model, ModelFile, OUTPUT, Predict, Trace, VERSION};

/// The header with the server's `TAG`.
pub const TAG_HEADER: &str = "x-kfconform-tag";
/// The header with the server's pod.
pub const POD_HEADER: &str = "x-kfconform-pod";
/// The header with the servers that saw the request, in their order, joined by commas; each by its tag, else by its pod.
pub const HOPS_HEADER: &str = "x-kfconform-hops";
/// The header of the binary extension: how many bytes of the body are JSON.
const JSON_LENGTH: &str = "inference-header-content-length";

/// The HTTP port unless told otherwise.
const PORT: u16 = 8080;
/// Most hops of a request, so that a circle of transformers ends.
const MAX_HOPS: usize = 16;
/// Most calls that are remembered one by one.
const MAX_CALLS: usize = 1_000;
/// Most bytes of events that a sink keeps.
const MAX_EVENTS: usize = 16 << 20;
/// How long open requests may take after the order to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serve a model over the V1 and V2 inference protocols
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Options (an unknown one is ignored, since KServe adds its own; `-` and `_` are the same):
  --port, --http_port PORT     [env: PORT; default 8080]
  --grpc_port PORT             where gRPC is spoken too [env: GRPC_PORT; default nowhere]
  --model_name NAME            the model's name, unless MODEL is set [default m]
  --predictor_host HOST[:PORT] where MODE=transform and explain send requests [env: PREDICTOR_HOST]
Environment:
  TAG                          what answers carry in x-kfconform-tag
  MODE                         predict (default), transform, explain, sink, echo, fail:CODE, slow:MS, unready, crash
The weights are those of /mnt/models/model.json, {\"weights\": [..]}, else four times 1.")]
pub struct Serve {
    /// Options, see below
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    pub args: Vec<String>,
}

/// What a server does with requests for the model.
#[derive(Clone, Debug, PartialEq)]
enum Mode {
    /// Answer them.
    Predict,
    /// Hand them to the predictor.
    Transform(String),
    /// Explain by the predictor's predictions.
    Explain(String),
    /// Keep what is posted, list it under `/_events`.
    Sink,
    /// Answer what was posted.
    Echo,
    /// Refuse what is posted.
    Fail(StatusCode),
    /// Answer late.
    Slow(Duration),
    /// Say that the model is not ready.
    Unready,
    /// Exit at once.
    Crash,
}

#[derive(Debug, PartialEq)]
struct Settings {
    port: u16,
    /// Where gRPC is spoken, if it is.
    grpc: Option<u16>,
    model: String,
    tag: String,
    mode: Mode,
}

impl Settings {
    fn read(args: &[String], cx: &Context) -> Result<Self, String> {
        let option = |names: &[&str]| {
            args.iter().enumerate().find_map(|(index, arg)| {
                let (name, value) = match arg.strip_prefix("--")?.split_once('=') {
                    Some((name, value)) => (name, value.to_owned()),
                    None => (arg.strip_prefix("--")?, args.get(index + 1)?.clone()),
                };
                names
                    .contains(&name.replace('-', "_").as_str())
                    .then_some(value)
            })
        };
        let var = |name: &str| cx.var(name).map(str::to_owned);
        let number = |port: Option<String>| {
            let parsed = port.map(|port| {
                let number = port.parse::<u16>();
                number.map_err(|_| format!("`{port}` is not a port"))
            });
            parsed.transpose()
        };
        let port = number(option(&["port", "http_port"]).or_else(|| var("PORT")))?;
        let grpc = number(option(&["grpc_port"]).or_else(|| var("GRPC_PORT")))?;
        let mode = var("MODE").unwrap_or_else(|| "predict".into());
        let wrong = || {
            format!(
                "MODE `{mode}` is not one of predict, transform, explain, sink, echo, fail:CODE, slow:MS, unready, crash"
            )
        };
        let mode = match mode.split_once(':') {
            None => match mode.as_str() {
                "predict" => Mode::Predict,
                "sink" => Mode::Sink,
                "echo" => Mode::Echo,
                "unready" => Mode::Unready,
                "crash" => Mode::Crash,
                "transform" | "explain" => {
                    let host = option(&["predictor_host"])
                        .or_else(|| var("PREDICTOR_HOST"))
                        .ok_or_else(|| {
                            format!("MODE {mode} needs --predictor_host or PREDICTOR_HOST")
                        })?;
                    let host = authority(&host);
                    if mode == "explain" {
                        Mode::Explain(host)
                    } else {
                        Mode::Transform(host)
                    }
                }
                _ => return Err(wrong()),
            },
            Some(("fail", code)) => Mode::Fail(
                code.parse()
                    .ok()
                    .filter(|code: &StatusCode| code.is_client_error() || code.is_server_error())
                    .ok_or_else(wrong)?,
            ),
            Some(("slow", ms)) => {
                Mode::Slow(Duration::from_millis(ms.parse().map_err(|_| wrong())?))
            }
            Some(_) => return Err(wrong()),
        };
        Ok(Self {
            port: port.unwrap_or(PORT),
            grpc,
            model: var("MODEL")
                .or_else(|| option(&["model_name"]))
                .unwrap_or_else(|| "m".into()),
            tag: var("TAG").unwrap_or_default(),
            mode,
        })
    }
}

/// `host:port` of a host that may have a scheme and no port.
fn authority(host: &str) -> String {
    let host = host
        .strip_prefix("http://")
        .unwrap_or(host)
        .trim_end_matches('/');
    match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => format!("{host}:80"),
    }
}

impl Serve {
    pub(super) async fn run(self, cx: Context) -> i32 {
        let settings = match Settings::read(&self.args, &cx) {
            Ok(settings) => settings,
            Err(why) => {
                cx.log(&why);
                return 2;
            }
        };
        if settings.mode == Mode::Crash {
            cx.log("MODE is crash");
            return 1;
        }
        let model = match Model::load(settings.model.clone(), &cx) {
            Ok(model) => Arc::new(model),
            Err(error) => {
                cx.log(&format!("the model cannot be loaded: {error}"));
                return 1;
            }
        };
        let listener = match (cx.listen)(settings.port).await {
            Ok(listener) => listener,
            Err(error) => {
                cx.log(&format!("port {} cannot be opened: {error}", settings.port));
                return 1;
            }
        };
        let grpc = match settings.grpc {
            None => None,
            Some(port) => match (cx.listen)(port).await {
                Ok(listener) => Some(super::grpc::serve(listener, cx.stop.clone(), model.clone())),
                Err(error) => {
                    cx.log(&format!("port {port} cannot be opened: {error}"));
                    return 1;
                }
            },
        };
        cx.log(&format!(
            "model `{}` is served on port {}, mode {:?}",
            model.name, settings.port, settings.mode
        ));
        let stop = cx.stop.clone();
        let server = Arc::new(Server {
            args: self.args,
            settings,
            model,
            cx,
            calls: Mutex::default(),
            events: Mutex::default(),
        });
        let http = serve(listener, &stop, GRACE, move |request| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        let grpc = async {
            match grpc {
                Some(serving) => serving.await,
                None => Ok(()),
            }
        };
        let ((), spoken) = tokio::join!(http, grpc);
        i32::from(spoken.is_err())
    }
}

struct Server {
    args: Vec<String>,
    settings: Settings,
    model: Arc<Model>,
    cx: Context,
    calls: Mutex<Calls>,
    events: Mutex<Events>,
}

/// What was asked of the model, in any mode.
#[derive(Default, Serialize)]
struct Calls {
    calls: u64,
    recent: VecDeque<Call>,
}

#[derive(Serialize)]
struct Call {
    path: String,
    /// How many rows it has, if the body can be read.
    rows: Option<usize>,
}

/// What a sink was sent.
#[derive(Default)]
struct Events {
    kept: VecDeque<(usize, Event)>,
    bytes: usize,
    dropped: u64,
}

/// A CloudEvent in HTTP's binary or structured mode, or any other request.
#[derive(Clone, Serialize)]
struct Event {
    path: String,
    /// The `ce-` headers without their prefix, or the members of a structured event.
    attributes: Map<String, Value>,
    #[serde(rename = "contentType")]
    content_type: String,
    /// The body: JSON if it is, else text.
    data: Value,
}

/// What a path names.
enum Route<'a> {
    Root,
    Info,
    Calls,
    Events,
    Weights(&'a str),
    Models,
    Model(&'a str),
    Verb(&'a str, &'a str),
    Server,
    Live,
    Ready,
    Metadata(&'a str, &'a str),
    ModelReady(&'a str, &'a str),
    Infer(&'a str, &'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        Some(match segments.as_slice() {
            [] => Self::Root,
            ["_info"] => Self::Info,
            ["_calls"] => Self::Calls,
            ["_events"] => Self::Events,
            ["_model", weights, "model.json"] => Self::Weights(weights),
            ["v1", "models"] => Self::Models,
            ["v1", "models", model] => match model.rsplit_once(':') {
                Some((model, verb @ ("predict" | "explain"))) => Self::Verb(model, verb),
                _ => Self::Model(model),
            },
            ["v2"] => Self::Server,
            ["v2", "health", "live"] => Self::Live,
            ["v2", "health", "ready"] => Self::Ready,
            ["v2", "models", model, "versions", version, rest @ ..] => {
                Self::of_model(model, version, rest)?
            }
            ["v2", "models", model, rest @ ..] => Self::of_model(model, VERSION, rest)?,
            _ => return None,
        })
    }

    fn of_model(model: &'a str, version: &'a str, rest: &[&str]) -> Option<Self> {
        match rest {
            [] => Some(Self::Metadata(model, version)),
            ["ready"] => Some(Self::ModelReady(model, version)),
            ["infer"] => Some(Self::Infer(model, version)),
            _ => None,
        }
    }

    /// Whether this is asked with POST.
    fn is_call(&self) -> bool {
        matches!(self, Self::Verb(..) | Self::Infer(..))
    }
}

impl Server {
    async fn answer(&self, request: Request) -> Response {
        let mut hops: Vec<String> = request
            .headers
            .get(HOPS_HEADER)
            .and_then(|hops| hops.to_str().ok())
            .map(|hops| hops.split(',').map(str::to_owned).collect())
            .unwrap_or_default();
        hops.push(self.hop().to_owned());
        let mut response = if request.is_get() {
            self.read(&request)
        } else {
            self.call(request, &mut hops).await
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (TAG_HEADER, self.settings.tag.as_str()),
            (POD_HEADER, self.cx.pod_name()),
            (HOPS_HEADER, hops.join(",").as_str()),
        ] {
            // A tag of any text may not fit into a header.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    /// The name under which this server is a hop.
    fn hop(&self) -> &str {
        match self.settings.tag.as_str() {
            "" => self.cx.pod_name(),
            tag => tag,
        }
    }

    fn read(&self, request: &Request) -> Response {
        let ready = self.settings.mode != Mode::Unready;
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let known = |model: &str, version: &str, status: StatusCode, body: Value| match self
            .unknown(model, version)
        {
            Some(refusal) => refusal,
            None => json(status, &body),
        };
        match Route::of(&request.path) {
            Some(Route::Root) => json(StatusCode::OK, &json!({ "status": "alive" })),
            Some(Route::Info) => json(StatusCode::OK, &self.info()),
            Some(Route::Calls) => json(StatusCode::OK, &*lock(&self.calls)),
            Some(Route::Events) if self.settings.mode == Mode::Sink => self.events(request),
            Some(Route::Weights(weights)) => weights_file(weights),
            Some(Route::Models) => json(StatusCode::OK, &json!({ "models": [self.model.name] })),
            Some(Route::Model(model) | Route::ModelReady(model, VERSION)) => known(
                model,
                VERSION,
                status,
                json!({ "name": model, "ready": ready }),
            ),
            Some(Route::ModelReady(model, version) | Route::Metadata(model, version)) => {
                known(model, version, StatusCode::OK, self.model.metadata())
            }
            Some(Route::Server) => json(
                StatusCode::OK,
                &json!({
                    "name": "kfconform",
                    "version": env!("CARGO_PKG_VERSION"),
                    "extensions": ["binary_tensor_data"],
                }),
            ),
            Some(Route::Live) => json(StatusCode::OK, &json!({ "live": true })),
            Some(Route::Ready) => json(status, &json!({ "ready": ready })),
            Some(Route::Verb(..) | Route::Infer(..)) => {
                error(StatusCode::METHOD_NOT_ALLOWED, "allowed: POST")
            }
            Some(Route::Events) | None => error(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// The answer for a model or version that is not here.
    fn unknown(&self, model: &str, version: &str) -> Option<Response> {
        let message = if model != self.model.name {
            format!("model `{model}` is unknown")
        } else if version != VERSION {
            format!("model `{model}` has no version `{version}`")
        } else {
            return None;
        };
        Some(error(StatusCode::NOT_FOUND, message))
    }

    fn info(&self) -> Value {
        json!({
            "model": self.model.name,
            "weights": self.model.weights,
            "source": self.model.source,
            "tag": self.settings.tag,
            "pod": self.cx.pod_name(),
            "args": self.args,
        })
    }

    async fn call(&self, request: Request, hops: &mut Vec<String>) -> Response {
        let route = Route::of(&request.path);
        if route.as_ref().is_some_and(Route::is_call) {
            self.count(&request);
        }
        match &self.settings.mode {
            Mode::Sink => return self.keep(&request),
            Mode::Echo => return echo(request),
            Mode::Fail(status) => return error(*status, "MODE is fail"),
            Mode::Unready if route.as_ref().is_some_and(Route::is_call) => {
                return error(StatusCode::SERVICE_UNAVAILABLE, "the model is not ready");
            }
            _ => {}
        }
        if let Mode::Slow(duration) = self.settings.mode
            && !self.cx.sleep(duration).await
        {
            return error(StatusCode::SERVICE_UNAVAILABLE, "the server stops");
        }
        let answer = match (route, &self.settings.mode) {
            (None, _) => return error(StatusCode::NOT_FOUND, "not found"),
            (Some(Route::Verb(..) | Route::Infer(..)), Mode::Transform(predictor)) => {
                return self.forward(predictor, request, hops).await;
            }
            (Some(Route::Verb(_, "explain")), Mode::Explain(predictor)) => {
                return self.explain(predictor, request, hops).await;
            }
            (Some(Route::Verb(model, verb)), _) => match self.unknown(model, VERSION) {
                Some(refusal) => return refusal,
                None => self.v1(verb, &request, hops),
            },
            (Some(Route::Infer(model, version)), _) => match self.unknown(model, version) {
                Some(refusal) => return refusal,
                None => self.v2(&request, hops),
            },
            _ => return error(StatusCode::METHOD_NOT_ALLOWED, "allowed: GET"),
        };
        answer.unwrap_or_else(|invalid| error(StatusCode::BAD_REQUEST, invalid))
    }

    fn count(&self, request: &Request) {
        let rows = if request.path.ends_with("/infer") {
            Inference::parse(&request.body, json_length(&request.headers))
                .ok()
                .and_then(|call| call.rows())
        } else {
            Predict::parse(&request.body)
                .ok()
                .and_then(|call| call.rows())
        };
        let mut calls = lock(&self.calls);
        calls.calls += 1;
        if calls.recent.len() == MAX_CALLS {
            calls.recent.pop_front();
        }
        calls.recent.push_back(Call {
            path: request.path.clone(),
            rows,
        });
    }

    fn v1(
        &self,
        verb: &str,
        request: &Request,
        hops: &mut Vec<String>,
    ) -> Result<Response, Invalid> {
        #[derive(Serialize)]
        struct Body<T: Serialize> {
            #[serde(skip_serializing_if = "Option::is_none")]
            predictions: Option<Vec<f64>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            explanations: Option<T>,
            kfconform: Trace,
        }
        let instances = Predict::parse(&request.body)?;
        let (predictions, explanations) = match verb {
            "explain" => (None, Some(self.model.explain(&instances)?)),
            _ => (Some(self.model.predict(&instances)?), None),
        };
        if hops.len() == 1 {
            hops.splice(..0, instances.kfconform.hops.into_iter().take(MAX_HOPS));
        }
        Ok(json(
            StatusCode::OK,
            &Body {
                predictions,
                explanations,
                kfconform: Trace { hops: hops.clone() },
            },
        ))
    }

    fn v2(&self, request: &Request, hops: &[String]) -> Result<Response, Invalid> {
        #[derive(Serialize)]
        struct Body<'a> {
            model_name: &'a str,
            model_version: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            parameters: Value,
            outputs: Vec<Output>,
        }
        #[derive(Serialize)]
        struct Output {
            name: &'static str,
            shape: [usize; 1],
            datatype: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            parameters: Option<Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<Vec<f32>>,
        }
        let inference = Inference::parse(&request.body, json_length(&request.headers))?;
        let outcome = self.model.infer(&inference)?;
        let mut bytes = Vec::new();
        let outputs = outcome.sums.map(|sums| {
            if outcome.binary {
                bytes.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
            }
            Output {
                name: OUTPUT,
                shape: [sums.len()],
                datatype: "FP32",
                parameters: outcome
                    .binary
                    .then(|| json!({ "binary_data_size": bytes.len() })),
                data: (!outcome.binary).then_some(sums),
            }
        });
        let body = Body {
            model_name: &self.model.name,
            model_version: VERSION,
            id: inference.id.as_deref(),
            parameters: json!({ "kfconform_hops": hops.join(",") }),
            outputs: outputs.into_iter().collect(),
        };
        if bytes.is_empty() {
            return Ok(json(StatusCode::OK, &body));
        }
        // The binary extension: the tensors' bytes behind the JSON, whose length a header gives.
        let mut text = serde_json::to_vec(&body).unwrap_or_default();
        let length = text.len();
        text.append(&mut bytes);
        let binary = HeaderValue::from_static("application/octet-stream");
        let mut response = raw(StatusCode::OK, binary, text.into());
        response
            .headers_mut()
            .insert(HeaderName::from_static(JSON_LENGTH), length.into());
        Ok(response)
    }

    /// Asks the predictor for what an explanation is made of: here its predictions are all of it.
    async fn explain(&self, predictor: &str, request: Request, hops: &mut Vec<String>) -> Response {
        let asked = Request {
            path: request.path.replace(":explain", ":predict"),
            target: request.target.replace(":explain", ":predict"),
            ..request
        };
        let response = self.forward(predictor, asked, hops).await;
        if !response.status().is_success() {
            return response;
        }
        let (_, body) = response.into_parts();
        // A whole body is there at once.
        let body = match futures::FutureExt::now_or_never(body.collect()) {
            Some(Ok(body)) => body.to_bytes(),
            _ => Bytes::new(),
        };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        json(
            StatusCode::OK,
            &json!({"explanations": body["predictions"], "kfconform": {"hops": hops}}),
        )
    }

    async fn forward(&self, predictor: &str, request: Request, hops: &mut Vec<String>) -> Response {
        if hops.len() > MAX_HOPS {
            return error(StatusCode::LOOP_DETECTED, "the request goes in a circle");
        }
        let mut headers = request.headers.clone();
        for name in [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        match HeaderValue::from_str(&hops.join(",")) {
            Ok(value) => headers.insert(HeaderName::from_static(HOPS_HEADER), value),
            Err(_) => headers.remove(HOPS_HEADER),
        };
        let answer = match send(&self.cx, predictor, request, headers).await {
            Ok(answer) => answer,
            Err(cause) => {
                let message = format!("the predictor `{predictor}` does not answer: {cause}");
                self.cx.log(&message);
                return error(StatusCode::BAD_GATEWAY, message);
            }
        };
        if let Some(seen) = answer
            .headers
            .get(HOPS_HEADER)
            .and_then(|hops| hops.to_str().ok())
        {
            *hops = seen.split(',').map(str::to_owned).collect();
        }
        let plain = HeaderValue::from_static("application/json");
        let content_type = answer.headers.get(CONTENT_TYPE).cloned().unwrap_or(plain);
        let mut response = raw(answer.status, content_type, answer.body);
        if let Some(length) = answer.headers.get(JSON_LENGTH) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(JSON_LENGTH), length.clone());
        }
        response
    }

    fn keep(&self, request: &Request) -> Response {
        let text = |name: &HeaderName| {
            let value = request
                .headers
                .get(name)
                .map_or(&b""[..], HeaderValue::as_bytes);
            String::from_utf8_lossy(value).into_owned()
        };
        let content_type = text(&CONTENT_TYPE);
        let body = serde_json::from_slice(&request.body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&request.body).into());
        let (attributes, data) = match body {
            Value::Object(mut event)
                if content_type.starts_with("application/cloudevents+json") =>
            {
                let data = event.shift_remove("data").unwrap_or_default();
                (event, data)
            }
            data => {
                let headers = request.headers.keys();
                let attributes = headers.filter_map(|name| {
                    let attribute = name.as_str().strip_prefix("ce-")?;
                    Some((attribute.to_owned(), text(name).into()))
                });
                (attributes.collect(), data)
            }
        };
        let event = Event {
            path: request.path.clone(),
            attributes,
            content_type,
            data,
        };
        // Headers are bounded by the server; this is what they take at most, roughly.
        let size = request.body.len() + 1024;
        let mut events = lock(&self.events);
        events.bytes += size;
        events.kept.push_back((size, event));
        while events.bytes > MAX_EVENTS {
            let Some((size, _)) = events.kept.pop_front() else {
                break;
            };
            events.bytes -= size;
            events.dropped += 1;
        }
        json(StatusCode::ACCEPTED, &json!({ "kept": events.kept.len() }))
    }

    /// The events that a sink keeps, oldest first; with `?id=ID` those of this id.
    fn events(&self, request: &Request) -> Response {
        let id = request.query("id").next();
        let events = lock(&self.events);
        let matching: Vec<&Event> = events
            .kept
            .iter()
            .map(|(_, event)| event)
            .filter(|event| {
                id.as_ref()
                    .is_none_or(|id| event.attributes.get("id") == Some(&json!(id)))
            })
            .collect();
        json(
            StatusCode::OK,
            &json!({ "events": matching, "dropped": events.dropped }),
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(JSON_LENGTH)?.to_str().ok()?.parse().ok()
}

fn echo(request: Request) -> Response {
    let plain = HeaderValue::from_static("application/octet-stream");
    let content_type = request.headers.get(CONTENT_TYPE).cloned().unwrap_or(plain);
    raw(StatusCode::OK, content_type, request.body)
}

/// A model file with the weights of the path, `/_model/1,2,3,4/model.json`: what a storage initializer fetches in the
/// cluster instead of from the Internet.
fn weights_file(weights: &str) -> Response {
    let weights: Result<Vec<f64>, _> = weights.split(',').map(str::parse).collect();
    match weights {
        Ok(weights) if weights.iter().all(|weight| weight.is_finite()) => {
            json(StatusCode::OK, &ModelFile { weights })
        }
        _ => error(
            StatusCode::NOT_FOUND,
            "weights are numbers joined by commas",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::http::MAX_BODY;
    use super::super::testing::{Container, exchange, request};
    use super::*;

    const V1: &str = "/v1/models/m:predict";
    const V2: &str = "/v2/models/m/infer";
    const ROWS: &str = r#"{"instances":[[1,2,3,4],[5,6,7,8]]}"#;

    async fn server(container: &Container, args: &str) -> SocketAddr {
        let (address, _) = container.start(&format!("serve {args}"), PORT).await;
        address
    }

    fn inference(data: &str) -> String {
        format!(
            r#"{{"id":"abc","inputs":[{{"name":"input-0","shape":[2,4],"datatype":"FP32","data":{data}}}]}}"#
        )
    }

    #[test]
    fn settings_come_from_arguments_and_environment() {
        let read = |args: &str, env: &[(&str, &str)]| {
            let container = env
                .iter()
                .fold(Container::new(), |container, (name, value)| {
                    container.env(name, value)
                });
            let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
            Settings::read(&args, &container.cx())
        };
        let plain = read("", &[]).unwrap();
        assert_eq!(
            (plain.port, plain.model.as_str(), &plain.mode),
            (8080, "m", &Mode::Predict)
        );
        let knative = read(
            "--unknown x --flag --model-name=n --protocol v2",
            &[("PORT", "9000")],
        )
        .unwrap();
        assert_eq!((knative.port, knative.model.as_str()), (9000, "n"));
        let both = read(
            "--model_name n --http_port 1 --port",
            &[("MODEL", "o"), ("TAG", "t")],
        )
        .unwrap();
        assert_eq!(
            (both.port, both.model.as_str(), both.tag.as_str()),
            (1, "o", "t")
        );
        let kserve = read(
            "--model_name n --predictor_host p.ns",
            &[("MODE", "transform"), ("PREDICTOR_HOST", "q")],
        );
        assert_eq!(kserve.unwrap().mode, Mode::Transform("p.ns:80".into()));
        for (mode, expected) in [
            ("sink", Mode::Sink),
            ("fail:503", Mode::Fail(StatusCode::SERVICE_UNAVAILABLE)),
            ("slow:250", Mode::Slow(Duration::from_millis(250))),
        ] {
            assert_eq!(read("", &[("MODE", mode)]).unwrap().mode, expected);
        }
        for mode in [
            "fail",
            "fail:200",
            "fail:x",
            "slow:-1",
            "transform",
            "Sink",
            "echo:1",
        ] {
            assert!(read("", &[("MODE", mode)]).is_err(), "{mode}");
        }
        assert!(read("--port 70000", &[]).is_err());
    }

    #[test]
    fn an_authority_has_a_port() {
        for (host, expected) in [
            ("p.ns", "p.ns:80"),
            ("p.ns:8080", "p.ns:8080"),
            ("http://p.ns/", "p.ns:80"),
            ("[::1]:81", "[::1]:81"),
            ("[::1]", "[::1]:80"),
        ] {
            assert_eq!(authority(host), expected);
        }
    }

    #[tokio::test]
    async fn speaks_v1() {
        let container = Container::new().env("TAG", "one").env("MODEL", "m");
        let address = server(&container, "--model_name ignored --other x").await;
        let (status, headers, body) = request(address, "POST", V1, ROWS).await;
        assert_eq!((status, &body["predictions"]), (200, &json!([10.0, 26.0])));
        assert_eq!(body["kfconform"]["hops"], json!(["one"]));
        assert_eq!(
            (
                &headers[TAG_HEADER],
                &headers[POD_HEADER],
                &headers[HOPS_HEADER]
            ),
            (
                &"one".parse().unwrap(),
                &"pod-0".parse().unwrap(),
                &"one".parse().unwrap()
            )
        );
        let passed_on = body.to_string().replace("one", "zero");
        let (_, headers, body) = request(address, "POST", V1, &passed_on).await;
        assert_eq!(
            (&body["predictions"], &headers[HOPS_HEADER]),
            (&json!([10.0, 26.0]), &"zero,one".parse().unwrap())
        );
        let (_, _, body) = request(address, "POST", "/v1/models/m:explain", ROWS).await;
        assert_eq!(body["explanations"][1], json!([5.0, 6.0, 7.0, 8.0]));
        assert_eq!(
            request(address, "GET", "/v1/models", "").await.2,
            json!({ "models": ["m"] })
        );
        assert_eq!(
            request(address, "GET", "/v1/models/m", "").await.2,
            json!({ "name": "m", "ready": true })
        );
        for (method, path, body, status) in [
            ("POST", "/v1/models/x:predict", ROWS, 404),
            ("GET", "/v1/models/x", "", 404),
            ("POST", "/v1/models/m:forget", ROWS, 405),
            ("POST", "/v1/other", ROWS, 404),
            ("POST", V1, "{", 400),
            ("POST", V1, r#"{"instances":[["a"]]}"#, 400),
            ("GET", V1, "", 405),
            ("DELETE", "/v1/models/m", "", 405),
        ] {
            let (seen, headers, answer) = request(address, method, path, body).await;
            assert_eq!(seen, status, "{method} {path}");
            assert!(
                answer["error"].is_string() && headers.contains_key(TAG_HEADER),
                "{answer}"
            );
        }
        let large = "1".repeat(MAX_BODY + 1);
        assert_eq!(request(address, "POST", V1, &large).await.0, 413);
        assert_eq!(request(address, "POST", V1, ROWS).await.0, 200);
    }

    #[tokio::test]
    async fn speaks_v2() {
        let container = Container::new();
        let address = server(&container, "").await;
        for path in [V2, "/v2/models/m/versions/1/infer"] {
            let (status, _, body) =
                request(address, "POST", path, &inference("[[1,2,3,4],[5,6,7,0.1]]")).await;
            assert_eq!(status, 200);
            let expected =
                json!([{ "name": OUTPUT, "shape": [2], "datatype": "FP32", "data": [10.0, 18.1] }]);
            assert_eq!(body["outputs"], expected);
            assert_eq!(
                (&body["id"], &body["model_name"]),
                (&"abc".into(), &"m".into())
            );
            assert_eq!(body["parameters"]["kfconform_hops"], "pod-0");
        }
        let (_, _, server) = request(address, "GET", "/v2", "").await;
        assert!(
            server["name"].is_string()
                && server["version"].is_string()
                && server["extensions"].is_array()
        );
        let (_, _, model) = request(address, "GET", "/v2/models/m", "").await;
        assert_eq!(
            model["inputs"],
            json!([{ "name": "input-0", "datatype": "FP32", "shape": [-1, 4] }])
        );
        assert_eq!(model["outputs"][0]["shape"], json!([-1]));
        for (method, path, status) in [
            ("GET", "/v2/health/live", 200),
            ("GET", "/v2/health/ready", 200),
            ("GET", "/v2/models/m/ready", 200),
            ("GET", "/v2/models/m/versions/1/ready", 200),
            ("GET", "/v2/models/m/versions/2", 404),
            ("GET", "/v2/models/x", 404),
            ("GET", "/v2/models/x/ready", 404),
            ("POST", "/v2/models/x/infer", 404),
            ("POST", "/v2/models/m/versions/2/infer", 404),
            ("GET", V2, 405),
            ("POST", V2, 400),
            ("GET", "/v3", 404),
            ("GET", "/_events", 404),
            ("GET", "/", 200),
        ] {
            let (seen, _, body) = request(address, method, path, "").await;
            assert_eq!(seen, status, "{method} {path}");
            assert_eq!(body["error"].is_string(), status >= 400, "{path} {body}");
        }
    }

    #[tokio::test]
    async fn speaks_the_binary_extension() {
        let container = Container::new();
        let address = server(&container, "").await;
        let text = r#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}"#;
        let mut body = text.as_bytes().to_vec();
        body.extend(
            [1f32, 2.0, 3.0, 4.0]
                .iter()
                .flat_map(|value| value.to_le_bytes()),
        );
        let header = (JSON_LENGTH, text.len().to_string());
        let answer = exchange(address, "POST", V2, body, Some(header)).await;
        let length: usize = answer.headers[JSON_LENGTH]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let (text, bytes) = answer.body.split_at(length);
        assert_eq!(bytes, 10f32.to_le_bytes());
        let text: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(text["outputs"][0]["parameters"]["binary_data_size"], 4);
        assert!(text["outputs"][0].get("data").is_none());
    }

    #[tokio::test]
    async fn a_model_file_gives_the_weights() {
        let container = Container::new();
        let plain = server(&container, "").await;
        let (status, _, file) = request(plain, "GET", "/_model/1,0,-1/model.json", "").await;
        assert_eq!(
            (status, &file),
            (200, &json!({ "weights": [1.0, 0.0, -1.0] }))
        );
        assert_eq!(
            request(plain, "GET", "/_model/1,x/model.json", "").await.0,
            404
        );

        let container = Container::new();
        container.write(super::super::MODEL_FILE, &file.to_string());
        let address = server(&container, "").await;
        let (_, _, body) = request(address, "POST", V1, r#"{"instances":[[5,7,2]]}"#).await;
        assert_eq!(body["predictions"], json!([3.0]));
        assert_eq!(request(address, "POST", V1, ROWS).await.0, 400);
        assert_eq!(
            request(address, "GET", "/_info", "").await.2["source"],
            super::super::MODEL_FILE
        );
        let (_, _, metadata) = request(address, "GET", "/v2/models/m", "").await;
        assert_eq!(metadata["inputs"][0]["shape"], json!([-1, 3]));

        for wrong in ["{}", "{\"weights\":[]}", "x"] {
            let container = Container::new();
            container.write(super::super::MODEL_FILE, wrong);
            assert_eq!(container.run("serve").await, 1, "{wrong}");
            assert!(container.lines()[0].contains("model cannot be loaded"));
        }
    }

    #[tokio::test]
    async fn a_transformer_asks_the_predictor_it_is_told() {
        let predictor = Container::new().env("TAG", "predictor");
        let behind = server(&predictor, "").await;
        let transformer = Container::new()
            .env("MODE", "transform")
            .env("TAG", "transformer")
            .knows("isvc-predictor.ns:80", behind);
        let address = server(&transformer, "--predictor_host isvc-predictor.ns").await;
        let (status, headers, body) = request(address, "POST", V1, ROWS).await;
        assert_eq!((status, &body["predictions"]), (200, &json!([10.0, 26.0])));
        assert_eq!(
            body["kfconform"]["hops"],
            json!(["transformer", "predictor"])
        );
        assert_eq!(headers[HOPS_HEADER], "transformer,predictor");
        assert_eq!(headers[TAG_HEADER], "transformer");
        let (status, headers, _) = request(address, "POST", V2, "{").await;
        assert_eq!(
            (status, headers[HOPS_HEADER].to_str().unwrap()),
            (400, "transformer,predictor")
        );
        assert_eq!(request(behind, "GET", "/_calls", "").await.2["calls"], 2);

        predictor.stop();
        let nowhere = Container::new()
            .env("MODE", "transform")
            .knows("p:80", "127.0.0.1:1".parse().unwrap());
        let address = server(&nowhere, "--predictor_host p").await;
        assert_eq!(request(address, "POST", V1, ROWS).await.0, 502);
    }

    #[tokio::test]
    async fn an_explainer_asks_the_predictor_it_is_told() {
        let predictor = Container::new().env("TAG", "predictor");
        let behind = server(&predictor, "").await;
        let explainer = Container::new()
            .env("MODE", "explain")
            .env("TAG", "explainer")
            .knows("isvc-predictor.ns:80", behind);
        let address = server(&explainer, "--predictor_host isvc-predictor.ns").await;
        let (status, headers, body) = request(address, "POST", "/v1/models/m:explain", ROWS).await;
        assert_eq!((status, &body["explanations"]), (200, &json!([10.0, 26.0])));
        assert_eq!(headers[HOPS_HEADER], "explainer,predictor");
        let (status, headers, _) = request(address, "POST", V1, ROWS).await;
        assert_eq!(
            (status, headers[HOPS_HEADER].to_str().unwrap()),
            (200, "explainer")
        );
        predictor.stop();
    }

    #[tokio::test]
    async fn speaks_grpc() {
        use crate::cluster::grpc::Method;
        use crate::proto::inference::{ServerLiveRequest, ServerLiveResponse};
        const LIVE: Method<ServerLiveRequest, ServerLiveResponse> =
            Method::new("/inference.GRPCInferenceService/ServerLive");
        let container = Container::new();
        let (address, _) = container.start("serve --grpc_port 9000", 9000).await;
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<ServerLiveRequest, ServerLiveResponse>::default();
        let path = http::uri::PathAndQuery::from_static(LIVE.path);
        let request = tonic::Request::new(ServerLiveRequest {});
        assert!(
            client
                .unary(request, path, codec)
                .await
                .unwrap()
                .into_inner()
                .live
        );
        container.stop();
    }

    #[tokio::test]
    async fn a_circle_of_transformers_ends() {
        let (one, two) = (Container::new(), Container::new());
        let one = one.env("MODE", "transform");
        let first = server(&one, "--predictor_host two").await;
        let two = two.env("MODE", "transform").knows("one:80", first);
        let second = server(&two, "--predictor_host one").await;
        let one = one.knows("two:80", second);
        assert_eq!(request(first, "POST", V1, ROWS).await.0, 508);
        drop(one);
    }

    #[tokio::test]
    async fn a_sink_keeps_events() {
        let container = Container::new().env("MODE", "sink");
        let address = server(&container, "").await;
        for id in ["1", "2"] {
            let header = ("ce-id", id.to_owned());
            let answer = exchange(address, "POST", "/", ROWS.into(), Some(header)).await;
            assert_eq!(answer.status, 202);
        }
        let structured = r#"{"id":"1","type":"t","data":{"a":1}}"#;
        let header = (
            "content-type",
            "application/cloudevents+json; charset=utf-8".to_owned(),
        );
        exchange(address, "POST", "/x", structured.into(), Some(header)).await;
        let (_, _, all) = request(address, "GET", "/_events", "").await;
        assert_eq!(all["events"].as_array().unwrap().len(), 3);
        let (_, _, own) = request(address, "GET", "/_events?id=1", "").await;
        let own = own["events"].as_array().unwrap();
        assert_eq!(own.len(), 2);
        assert_eq!(own[0]["data"]["instances"][0], json!([1, 2, 3, 4]));
        assert_eq!(
            (&own[1]["data"], &own[1]["attributes"]),
            (&json!({ "a": 1 }), &json!({ "id": "1", "type": "t" }))
        );
    }

    #[tokio::test]
    async fn a_sink_forgets_the_oldest_first() {
        let container = Container::new().env("MODE", "sink");
        let address = server(&container, "").await;
        let large = "x".repeat(MAX_BODY - 1024);
        for _ in 0..3 {
            request(address, "POST", "/", &large).await;
        }
        let (_, _, events) = request(address, "GET", "/_events?id=none", "").await;
        assert_eq!(
            (&events["dropped"], &events["events"]),
            (&json!(2), &json!([]))
        );
    }

    #[tokio::test]
    async fn echoes_fails_and_is_not_ready_as_told() {
        let container = Container::new().env("MODE", "echo");
        let address = server(&container, "").await;
        assert_eq!(
            request(address, "POST", "/any", ROWS).await.2,
            serde_json::from_str::<Value>(ROWS).unwrap()
        );
        request(address, "POST", V1, ROWS).await;
        let (_, _, calls) = request(address, "GET", "/_calls", "").await;
        assert_eq!(
            calls,
            json!({ "calls": 1, "recent": [{ "path": V1, "rows": 2 }] })
        );

        let container = Container::new().env("MODE", "fail:418");
        let address = server(&container, "").await;
        assert_eq!(request(address, "POST", "/any", ROWS).await.0, 418);
        assert_eq!(request(address, "GET", "/v2/health/ready", "").await.0, 200);

        let container = Container::new().env("MODE", "unready");
        let address = server(&container, "").await;
        for (method, path, status) in [
            ("GET", "/v2/health/live", 200),
            ("GET", "/v2/health/ready", 503),
            ("GET", "/v2/models/m/ready", 503),
            ("GET", "/v1/models/m", 503),
            ("POST", V1, 503),
        ] {
            assert_eq!(
                request(address, method, path, ROWS).await.0,
                status,
                "{path}"
            );
        }

        let container = Container::new().env("MODE", "crash");
        assert_eq!(container.run("serve").await, 1);
        let container = Container::new().env("MODE", "nonsense");
        assert_eq!(container.run("serve").await, 2);
    }

    #[tokio::test]
    async fn an_open_request_ends_before_the_server() {
        let container = Container::new().env("MODE", "slow:150");
        let (address, task) = container.start("serve", PORT).await;
        let idle = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = r#"{"instances":[[1,1,1,1]]}"#;
        let started = std::time::Instant::now();
        assert_eq!(request(address, "POST", V1, body).await.0, 200);
        assert!(started.elapsed() >= Duration::from_millis(150));
        let open = tokio::spawn(async move { request(address, "POST", V1, body).await.0 });
        tokio::time::sleep(Duration::from_millis(50)).await;
        container.stop();
        // The order to stop cuts the wait short, and the request is still answered.
        assert_eq!(open.await.unwrap(), 503);
        let code = tokio::time::timeout(Duration::from_secs(2), task).await;
        assert_eq!(code.expect("stops in time").unwrap(), 0);
        drop(idle);
    }
}
