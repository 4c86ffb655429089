//! Inference graphs: the controller that starts a router for each, and the router.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{
    GRAPHS, SERVICES,
    agent::{ask, authority},
    array,
    components::{Part, deploy},
    text,
};
use crate::{
    reference::{
        kube::{
            ApiError, ContainerStart, Faults, Key, Next, Watch, World, condition,
            resources::DEPLOYMENTS,
        },
        pods::in_context,
    },
    workload::{
        Context,
        http::{Request, Response, json as answer, raw, serve},
    },
};

const ROUTER_IMAGE: &str = "kserve/router";
const GRACE: Duration = Duration::from_secs(1);

/// Starts the controller, and makes the router's image available.
pub(super) fn install(world: &World) {
    let watches = vec![
        Watch::on(&GRAPHS),
        Watch::owned(&DEPLOYMENTS, "InferenceGraph"),
        // A graph waits for the services that it names.
        Watch::mapped(&SERVICES, |world, service| {
            let namespace = text(&service["metadata"]["namespace"]);
            let graphs = world.list(&GRAPHS, Some(namespace));
            graphs.iter().map(|graph| Key::of(graph)).collect()
        }),
    ];
    world.controller("kserve-graph", watches, reconcile);
    let (clock, faults) = (*world.clock(), world.faults().clone());
    let router = move |container: ContainerStart| {
        let faults = faults.clone();
        in_context(container, clock, |cx, container| run(cx, container, faults))
    };
    world.offer(ROUTER_IMAGE, Arc::new(router));
}

async fn reconcile(world: World, key: Key) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(graph) = world.find(&GRAPHS, namespace, name) else {
        return Ok(Next::Wait);
    };
    if !graph["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Next::Wait);
    }
    let mut spec = graph["spec"].clone();
    for node in spec["nodes"]
        .as_object_mut()
        .into_iter()
        .flat_map(|n| n.values_mut())
    {
        for step in node["steps"].as_array_mut().into_iter().flatten() {
            let Some(service) = step["serviceName"].as_str() else {
                continue;
            };
            let found = world.find(&SERVICES, namespace, service);
            let address = found
                .as_ref()
                .and_then(|s| s["status"]["address"]["url"].as_str());
            let Some(address) = address else {
                return Ok(Next::Wait);
            };
            step["serviceUrl"] = json!(format!("{address}/v1/models/{service}:predict"));
        }
    }
    let pod = json!({"containers": [{
        "name": name, "image": format!("{ROUTER_IMAGE}:v0.16.0"),
        "args": ["--graph-json", spec.to_string()],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
        "resources": graph["spec"]["resources"],
    }]});
    let part = Part {
        component: "router",
        name: name.to_owned(),
        settings: &graph["spec"],
    };
    let deployment = deploy(&world, &graph, &part, pod).await?;
    let is_available = condition(&deployment, "Available").is_some_and(|c| c["status"] == "True");
    if !is_available || !graph["status"]["url"].is_null() || condition(&graph, "Ready").is_some() {
        return Ok(Next::Wait);
    }
    let now = world.stamp();
    let mut status = json!({
        "deploymentMode": "Standard",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "url": format!("http://{name}-{namespace}.example.com"),
    });
    if world.has_fault("kserve/graph/becomes-ready")
        && let Some(status) = status.as_object_mut()
    {
        status.shift_remove("url");
    }
    world.set_status(&GRAPHS, namespace, name, status).await?;
    Ok(Next::Wait)
}

struct Router {
    cx: Context,
    nodes: HashMap<String, Value>,
    faults: Faults,
    /// How many requests were split.
    turn: AtomicU32,
}

async fn run(cx: Context, container: ContainerStart, faults: Faults) -> i32 {
    let spec: Value = container
        .args
        .get(1)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let Ok(listener) = (cx.listen)(8080).await else {
        return 1;
    };
    let stop = cx.stop.clone();
    let nodes = spec["nodes"].as_object().into_iter().flatten();
    let router = Arc::new(Router {
        cx,
        nodes: nodes
            .map(|(name, node)| (name.clone(), node.clone()))
            .collect(),
        faults,
        turn: AtomicU32::new(0),
    });
    serve(listener, &stop, GRACE, move |request| {
        let router = router.clone();
        async move { router.answer(request).await }
    })
    .await;
    0
}

/// A status and a body.
type Reply = (StatusCode, bytes::Bytes);

impl Router {
    async fn answer(&self, request: Request) -> Response {
        if request.path == "/readyz" {
            return answer(StatusCode::OK, &json!({}));
        }
        let (status, body) = self.node("root", request.body).await;
        raw(status, HeaderValue::from_static("application/json"), body)
    }

    fn wrong(&self, slug: &str) -> bool {
        self.faults.has(&format!("kserve/graph/{slug}"))
    }

    fn node<'a>(&'a self, name: &'a str, input: bytes::Bytes) -> BoxFuture<'a, Reply> {
        async move {
            let Some(node) = self.nodes.get(name) else {
                return failure(StatusCode::INTERNAL_SERVER_ERROR, "no such node");
            };
            let steps: Vec<&Value> = array(&node["steps"]).collect();
            match text(&node["routerType"]) {
                "Switch" => {
                    let met = steps
                        .iter()
                        .find(|step| meets(&input, text(&step["condition"])));
                    let any = steps
                        .first()
                        .filter(|_| self.wrong("switches-by-condition"));
                    match met.or(any) {
                        Some(step) => self.step(step, input).await,
                        None => failure(
                            StatusCode::NOT_FOUND,
                            "None of the routes matched with the switch condition",
                        ),
                    }
                }
                "Splitter" => {
                    let first = self.wrong("splits-by-weight");
                    let mut point = i64::from(self.draw());
                    let chosen = steps.iter().find(|step| {
                        point -= step["weight"].as_i64().unwrap_or(0);
                        point < 0 || first
                    });
                    match chosen {
                        Some(step) => self.step(step, input).await,
                        None => failure(StatusCode::INTERNAL_SERVER_ERROR, "no weights"),
                    }
                }
                "Ensemble" => self.ensemble(&steps, &input).await,
                _ => self.sequence(&steps, &input).await,
            }
        }
        .boxed()
    }

    /// A number below 100; of a hundred in a row each comes once.
    fn draw(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed).wrapping_mul(37) % 100
    }

    async fn ensemble(&self, steps: &[&Value], input: &bytes::Bytes) -> Reply {
        let mut merged = json!({});
        for (index, step) in steps.iter().enumerate() {
            let (status, body) = self.step(step, input.clone()).await;
            if !status.is_success() && step["dependency"] == "Hard" {
                return (status, body);
            }
            let name = text(&step["name"]);
            let key = if name.is_empty() || self.wrong("merges-an-ensemble") {
                index.to_string()
            } else {
                name.to_owned()
            };
            merged[key] = serde_json::from_slice(&body).unwrap_or_default();
        }
        (StatusCode::OK, merged.to_string().into())
    }

    async fn sequence(&self, steps: &[&Value], input: &bytes::Bytes) -> Reply {
        let mut last: Option<Reply> = None;
        for step in steps {
            let before = last.as_ref().map(|(_, body)| body.clone());
            let takes = step["data"] == "$response" && !self.wrong("runs-a-sequence");
            let request = before
                .clone()
                .filter(|_| takes)
                .unwrap_or_else(|| input.clone());
            let condition = text(&step["condition"]);
            let goes_on = condition.is_empty()
                || self.wrong("ends-a-sequence-by-its-condition")
                || before.as_ref().is_some_and(|body| meets(body, condition));
            if let (false, Some(before)) = (goes_on, before) {
                return (StatusCode::OK, before);
            }
            let (status, body) = self.step(step, request).await;
            let hard = step["dependency"] == "Hard" && !self.wrong("stops-at-a-hard-dependency");
            let all = self.wrong("goes-on-after-a-soft-dependency");
            if !status.is_success() && (hard || (all && step["dependency"] == "Soft")) {
                return (status, body);
            }
            last = Some((status, body));
        }
        last.unwrap_or_else(|| failure(StatusCode::INTERNAL_SERVER_ERROR, "no steps"))
    }

    fn step<'a>(&'a self, step: &'a Value, input: bytes::Bytes) -> BoxFuture<'a, Reply> {
        async move {
            if let Some(node) = step["nodeName"].as_str() {
                return self.node(node, input).await;
            }
            let url = text(&step["serviceUrl"]);
            let rest = url.strip_prefix("http://").unwrap_or(url);
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let sent = ask(
                &self.cx,
                &authority(host),
                Method::POST,
                &format!("/{path}"),
                headers,
                input.to_vec(),
            )
            .await;
            match sent {
                Ok((status, _, body)) => (status, body),
                Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        .boxed()
    }
}

fn failure(status: StatusCode, cause: &str) -> Reply {
    let body = json!({"error": "Failed to process request", "cause": cause});
    (status, body.to_string().into())
}

/// Whether a document has what a path of keys, joined by dots, names.
fn meets(body: &[u8], path: &str) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let found = path.split('.').try_fold(&body, |value, key| value.get(key));
    !path.is_empty() && found.is_some()
}
