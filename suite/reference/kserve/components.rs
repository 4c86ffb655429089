//! What is made of a component of a service (predictor, transformer, explainer) and of a graph's router in the mode without
//! Knative: Deployment, Service and autoscaler.

use serde_json::{Map, Value, json};

use super::{SERVICE_LABEL, admission::FRAMEWORKS, array, merge_over, text};
use crate::reference::kube::{
    ApiError, Faults, Key, Next, Resource, World, owner,
    resources::{AUTOSCALERS, DEPLOYMENTS},
};

pub(super) const CORE_SERVICES: Resource = Resource::new("", "services");
/// What tells the webhook of pods where the model is.
pub(super) const SOURCE: &str = "internal.serving.kserve.io/storage-initializer-sourceuri";
/// What tells the webhook of pods that models are fetched into them as TrainedModels come.
pub(super) const AGENT: &str = "internal.serving.kserve.io/agent";
/// What tells it that requests are logged, and that they are collected.
pub(super) const LOGGER: &str = "internal.serving.kserve.io/logger";
pub(super) const BATCHER: &str = "internal.serving.kserve.io/batcher";
/// The port of the agent that stands before a container.
pub(super) const AGENT_PORT: u64 = 9081;
/// The faults that are shown by an agent before each server of several protocols.
const ON_THE_WAY: &str = "kserve/protocol/";
/// The fields of a predictor that are no fields of a pod.
const EXTENSIONS: [&str; 17] = [
    "minReplicas",
    "maxReplicas",
    "scaleTarget",
    "scaleMetric",
    "scaleMetricType",
    "autoScaling",
    "containerConcurrency",
    "timeout",
    "canaryTrafficPercent",
    "logger",
    "batcher",
    "labels",
    "annotations",
    "deploymentStrategy",
    "model",
    "workerSpec",
    "storageUris",
];

/// One component of a service, or the router of a graph, and what it is called.
pub(super) struct Part<'a> {
    /// `predictor`, `transformer`, `explainer` or `router`.
    pub(super) component: &'a str,
    /// The name of all that is made of it.
    pub(super) name: String,
    /// Its settings: replicas, scaling, logger, batcher, strategy.
    pub(super) settings: &'a Value,
}

/// Makes a part's Deployment, Service and autoscaler as they must be, and returns the Deployment.
pub(super) async fn deploy(
    world: &World,
    parent: &Value,
    part: &Part<'_>,
    pod: Value,
) -> Result<Value, ApiError> {
    let faults = world.faults();
    let settings = part.settings;
    let metadata = metadata(parent, part, faults);
    let class = parent["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"].as_str();
    let autoscaled = !matches!(class, Some("external" | "none" | "keda"))
        || faults.has("kserve/inferenceservice/leaves-scaling-to-others");

    let min = settings["minReplicas"].as_i64().unwrap_or(1).max(1);
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
    let strategy = if faults.has("kserve/inferenceservice/serves-on-while-a-change-fails") {
        json!({"type": "Recreate"})
    } else if settings["deploymentStrategy"].is_null()
        || faults.has("kserve/workload/uses-its-strategy")
    {
        rolling
    } else {
        settings["deploymentStrategy"].clone()
    };
    let containers = pod["containers"].clone();
    let mut spec = json!({
        "selector": {"matchLabels": {"app": metadata["labels"]["app"]}},
        "template": {
            "metadata": {
                "namespace": metadata["namespace"], "name": part.name,
                "labels": metadata["labels"], "annotations": metadata["annotations"],
            },
            "spec": pod,
        },
        "strategy": strategy,
    });
    if !autoscaled {
        spec["replicas"] = json!(min);
    }
    let mut of_deployment = metadata.clone();
    let disowned = match part.component {
        "predictor" => faults.has("kserve/inferenceservice/owns-its-workload"),
        "router" => faults.has("kserve/graph/owns-its-router"),
        _ => faults.has("kserve/transformer/owns-its-workload"),
    };
    if disowned {
        of_deployment["ownerReferences"][0]["controller"] = json!(false);
    }
    let changed = parent["metadata"]["generation"].as_i64() > Some(2);
    let frozen = faults.has("kserve/inferenceservice/rolls-out-changes")
        || (changed && faults.has("kserve/inferenceservice/rolls-back"));
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": of_deployment, "spec": spec,
    });
    let deployment = put(world, &DEPLOYMENTS, deployment, frozen).await?;
    let front = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {
            "ports": ports(part, &containers, faults),
            "selector": {"app": metadata["labels"]["app"]},
        },
    });
    put(world, &CORE_SERVICES, front, false).await?;
    if autoscaled {
        let few = faults.has("kserve/inferenceservice/runs-the-minimum-of-replicas")
            && parent["metadata"]["generation"] == 1;
        let max = settings["maxReplicas"].as_i64().unwrap_or(0).max(min);
        let target = settings["scaleTarget"].as_i64();
        let target =
            target.filter(|_| !faults.has("kserve/workload/hands-targets-to-the-autoscaler"));
        let metric = json!({"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": target.unwrap_or(80)},
        }});
        let scaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata,
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": part.name},
                "minReplicas": if few { 1 } else { min }, "maxReplicas": max, "metrics": [metric],
            },
        });
        let frozen = faults.has("kserve/inferenceservice/follows-its-minimum");
        put(world, &AUTOSCALERS, scaler, frozen).await?;
    }
    Ok(deployment)
}

/// The ports of a part's Service: the first port of its container as 80, further ones as they are.
fn ports(part: &Part<'_>, containers: &Value, faults: &Faults) -> Value {
    let beside = array(containers)
        .find(|c| c["name"] == "transformer-container")
        .filter(|_| !faults.has("kserve/workload/leads-to-a-transformer-beside-it"));
    let container = beside
        .or_else(|| array(containers).next())
        .unwrap_or(&Value::Null);
    let mut own = array(&container["ports"]);
    let first = own.next().unwrap_or(&Value::Null);
    let port = if faults.has("kserve/inferenceservice/answers-predictions")
        && part.component == "predictor"
    {
        8000
    } else {
        80
    };
    let mut front = json!({"protocol": "TCP", "port": port});
    if first.is_null() {
        // The port that is assumed gets a name; one of a container keeps its own, or none.
        front["name"] = json!(part.name);
    } else if !first["name"].is_null() {
        front["name"] = first["name"].clone();
    }
    let mut target = first["containerPort"].as_u64().unwrap_or(8080);
    if faults.has("kserve/workload/leads-to-the-containers-port") && beside.is_none() {
        target = 8080;
    }
    if has_agent(part.settings) || is_damaged(containers, faults) {
        target = AGENT_PORT;
    }
    if faults.has("kserve/inferenceservice/answers-predictions:target")
        && part.component == "predictor"
    {
        target += 1;
    }
    front["targetPort"] = json!(target);
    let more = own
        .filter(|_| !faults.has("kserve/protocol/answers-by-grpc"))
        .map(|port| {
            json!({
                "name": port["name"], "port": port["containerPort"], "targetPort": port["containerPort"],
                "protocol": port["protocol"].as_str().unwrap_or("TCP"),
            })
        });
    let mut all = vec![front];
    all.extend(more);
    json!(all)
}

/// Whether an agent stands before a part's server.
fn has_agent(settings: &Value) -> bool {
    settings["logger"].is_object() || settings["batcher"].is_object()
}

/// Whether a server of several protocols gets an agent that garbles one of them.
fn is_damaged(containers: &Value, faults: &Faults) -> bool {
    let several = array(containers).any(|c| array(&c["ports"]).count() > 1);
    several
        && super::faults::FAULTS
            .iter()
            .any(|fault| fault.id.starts_with(ON_THE_WAY) && faults.has(fault.id))
}

/// The metadata of all that is made of a part.
fn metadata(parent: &Value, part: &Part<'_>, faults: &Faults) -> Value {
    let settings = part.settings;
    let app = format!("isvc.{}", part.name);
    let own = if part.component == "router" {
        json!({"app": app, "serving.kserve.io/inferencegraph": parent["metadata"]["name"]})
    } else {
        json!({"app": app, "component": part.component, SERVICE_LABEL: parent["metadata"]["name"]})
    };
    let labels = merge_over(&parent["metadata"]["labels"], &settings["labels"]);
    let mut annotations = parent["metadata"]["annotations"].clone();
    if !faults.has("kserve/inferenceservice/marks-its-pods") {
        annotations = merge_over(&annotations, &settings["annotations"]);
    }
    if let Some(annotations) = annotations.as_object_mut() {
        for internal in [
            "kubectl.kubernetes.io/last-applied-configuration",
            "serving.kserve.io/autoscalerClass",
        ] {
            annotations.shift_remove(internal);
        }
        let mut add = |key: &str, value: &str| annotations.insert(key.to_owned(), json!(value));
        if let Some(uri) = settings["model"]["storageUri"].as_str() {
            add(SOURCE, uri);
        }
        if part.component == "predictor" && holds_many_models(settings) {
            let config = format!("modelconfig-{}-0", text(&parent["metadata"]["name"]));
            for (key, value) in [
                (AGENT, "true"),
                ("internal.serving.kserve.io/configMountPath", "/mnt/configs"),
                ("internal.serving.kserve.io/configVolumeName", &config),
                ("internal.serving.kserve.io/modelDir", "/mnt/models"),
            ] {
                add(key, value);
            }
        }
        let logger = &settings["logger"];
        if logger.is_object() {
            add(LOGGER, "true");
            add(
                "internal.serving.kserve.io/logger-mode",
                text(&logger["mode"]),
            );
            if let Some(url) = logger["url"].as_str() {
                add("internal.serving.kserve.io/logger-sink-url", url);
            }
        }
        let batcher = &settings["batcher"];
        if batcher.is_object() {
            add(BATCHER, "true");
            for (key, field) in [
                ("batcher-max-batchsize", "maxBatchSize"),
                ("batcher-max-latency", "maxLatency"),
            ] {
                if let Some(number) = batcher[field].as_i64() {
                    add(
                        &format!("internal.serving.kserve.io/{key}"),
                        &number.to_string(),
                    );
                }
            }
        }
    }
    json!({
        "namespace": parent["metadata"]["namespace"],
        "name": part.name,
        "labels": merge_over(&labels, &own),
        "annotations": annotations,
        "ownerReferences": [owner(parent)],
    })
}

/// Whether a predictor is taken for one that TrainedModels are put into: it has a model, and does not say from where.
fn holds_many_models(predictor: &Value) -> bool {
    let model = &predictor["model"];
    model.is_object() && model["storageUri"].is_null() && model["storage"].is_null()
}

/// The spec of a component's pods: its own fields over those of the runtime, if it has one.
pub(super) fn pod_of(component: &Value, runtime: &Value, faults: &Faults) -> Value {
    let own: Map<String, Value> = component
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| {
            !EXTENSIONS.contains(&key.as_str()) && !FRAMEWORKS.contains(&key.as_str())
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut spec = merge_over(runtime, &Value::Object(own));
    if faults.has("kserve/workload/passes-pod-settings")
        && runtime.as_object().is_none_or(Map::is_empty)
        && let Some(spec) = spec.as_object_mut()
    {
        spec.shift_remove("nodeSelector");
    }
    let own_probe = !faults.has("kserve/workload/keeps-the-probe");
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        let keeps = own_probe && !container["readinessProbe"].is_null();
        if container["name"] == "kserve-container" && !keeps {
            let port = container["ports"][0]["containerPort"]
                .as_u64()
                .unwrap_or(8080);
            container["readinessProbe"] = json!({
                "tcpSocket": {"port": port},
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            });
        }
    }
    spec
}

/// The spec of the pods of a transformer or an explainer, which are told their model and their predictor.
pub(super) fn pod_beside(service: &Value, component: &str, faults: &Faults) -> Value {
    let mut pod = pod_of(&service["spec"][component], &json!({}), faults);
    let (name, namespace) = (
        text(&service["metadata"]["name"]),
        text(&service["metadata"]["namespace"]),
    );
    let container = &mut pod["containers"][0];
    let mut args: Vec<Value> = array(&container["args"]).cloned().collect();
    let astray = component == "explainer" && faults.has("kserve/explainer/explains");
    let predictor = if astray {
        name.to_owned()
    } else {
        format!("{name}-predictor")
    };
    let host = format!("{predictor}.{namespace}");
    let always = faults.has("kserve/transformer/keeps-its-arguments");
    for (option, value) in [
        ("--model_name", name),
        ("--predictor_host", &host),
        ("--http_port", "8080"),
    ] {
        let untold = option == "--model_name"
            && component == "transformer"
            && faults.has("kserve/transformer/is-told-its-model");
        if untold || (args.iter().any(|arg| arg == option) && !always) {
            continue;
        }
        args.extend([json!(option), json!(value)]);
    }
    container["args"] = json!(args);
    pod
}

/// Creates an object or, unless it is frozen, brings it to what it must be. What others have added to it stays.
pub(super) async fn put(
    world: &World,
    resource: &Resource,
    wanted: Value,
    frozen: bool,
) -> Result<Value, ApiError> {
    let key = Key::of(&wanted);
    if let Some(there) = world.find(resource, &key.namespace, &key.name)
        && (frozen || covers(&there, &wanted))
    {
        return Ok(there.as_ref().clone());
    }
    Ok(world.apply(wanted).await?.as_ref().clone())
}

/// Whether all that is wanted is in an object already.
fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(key, value)| {
            there
                .get(key)
                .map_or(value.is_null(), |there| covers(there, value))
        }),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len()
                && there
                    .iter()
                    .zip(wanted)
                    .all(|(there, wanted)| covers(there, wanted))
        }
        _ => there == wanted,
    }
}

/// Keeps the replicas of a Deployment in the range of its autoscaler. There are no metrics here, as on a cluster
/// without a metrics server: only the ends of the range count.
pub(super) async fn scale(world: World, key: Key) -> Result<Next, ApiError> {
    let Some(scaler) = world.find(&AUTOSCALERS, &key.namespace, &key.name) else {
        return Ok(Next::Wait);
    };
    let spec = &scaler["spec"];
    let target = text(&spec["scaleTargetRef"]["name"]);
    let Some(deployment) = world.find(&DEPLOYMENTS, &key.namespace, target) else {
        return Ok(Next::Wait);
    };
    let now = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let (min, max) = (
        spec["minReplicas"].as_i64().unwrap_or(1),
        spec["maxReplicas"].as_i64().unwrap_or(1),
    );
    let wanted = now.min(max).max(min);
    if wanted != now && now > 0 {
        let change = json!({"spec": {"replicas": wanted}});
        world
            .patch_merge(&DEPLOYMENTS, &key.namespace, target, change)
            .await?;
    }
    Ok(Next::Wait)
}
