//! The controller: makes a predictor's Deployment, Service, autoscaler and Ingress, and reports on them.

use serde_json::{Map, Value, json};

use super::{
    MODE, RUNTIMES, SERVICES, admission::FRAMEWORKS, array, merge_over, mode_of, runtimes, text,
};
use crate::reference::kube::{
    ApiError, Faults, Key, LabelSelector, Next, Operation, Resource, Watch, World, condition,
    owner,
    resources::{AUTOSCALERS, DEPLOYMENTS, INGRESSES, PODS},
};

const CORE_SERVICES: Resource = Resource::new("", "services");
const FINALIZER: &str = "inferenceservice.finalizers";
const STOP: &str = "serving.kserve.io/stop";
const SERVICE_LABEL: &str = "serving.kserve.io/inferenceservice";
/// What tells the webhook of pods where the model is.
const SOURCE: &str = "internal.serving.kserve.io/storage-initializer-sourceuri";
/// What tells the webhook of pods that models are fetched into them as TrainedModels come.
const AGENT: &str = "internal.serving.kserve.io/agent";
const AGENT_IMAGE: &str = "kserve/agent:v0.16.0";
/// Where a storage URI may point to.
const SCHEMES: [&str; 12] = [
    "gs://",
    "s3://",
    "pvc://",
    "file://",
    "https://",
    "http://",
    "hdfs://",
    "webhdfs://",
    "oci://",
    "hf://",
    "abfs://",
    "git://",
];
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

/// Starts the controller, the webhook of pods, and the part of Kubernetes' autoscaler that needs no metrics.
pub(super) fn install(world: &World) {
    let watches = vec![
        Watch::on(&SERVICES),
        Watch::owned(&DEPLOYMENTS, "InferenceService"),
        Watch::labelled(&PODS, SERVICE_LABEL),
        // A new runtime may be what a service waits for.
        Watch::mapped(&RUNTIMES, |world, runtime| {
            let namespace = text(&runtime["metadata"]["namespace"]);
            let services = world.list(&SERVICES, Some(namespace));
            services.iter().map(|service| Key::of(service)).collect()
        }),
    ];
    world.controller("kserve", watches, reconcile);
    world.mutating(&PODS, &[Operation::Create], |request| async move {
        Ok(with_model(request.object))
    });
    let watches = vec![Watch::on(&AUTOSCALERS)];
    world.controller("horizontal-pod-autoscaler", watches, scale);
}

async fn reconcile(world: World, key: Key) -> Result<Next, ApiError> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let Some(service) = world.find(&SERVICES, namespace, name) else {
        return Ok(Next::Wait);
    };
    let workload = format!("{name}-predictor");
    if !service["metadata"]["deletionTimestamp"].is_null() {
        if world.has_fault("kserve/inferenceservice/is-deleted-with-its-workload") {
            let orphan = json!({"metadata": {"ownerReferences": null}});
            ignore_absent(
                world
                    .patch_merge(&CORE_SERVICES, namespace, &workload, orphan)
                    .await,
            )?;
        }
        world
            .remove_finalizer(&SERVICES, namespace, name, FINALIZER)
            .await?;
        return Ok(Next::Wait);
    }
    // Only where it is missing: the webhook would refuse even an update without a change, were the mode's word an old one.
    if !array(&service["metadata"]["finalizers"]).any(|finalizer| finalizer == FINALIZER) {
        world
            .add_finalizer(&SERVICES, namespace, name, FINALIZER)
            .await?;
    }
    let mode = mode_of(text(&service["metadata"]["annotations"][MODE]));
    if mode != super::MODE_STANDARD {
        let message = "It is not possible to use Knative deployment mode when Knative Services are not available";
        return rejected(&world, &service, "ServerlessModeRejected", message).await;
    }
    let mode = if world.has_fault("kserve/inferenceservice/records-its-mode") {
        "RawDeployment"
    } else {
        mode
    };
    let mut status = json!({"deploymentMode": mode});
    if is_stopped(&world, &service) {
        for resource in [&DEPLOYMENTS, &CORE_SERVICES, &AUTOSCALERS] {
            ignore_absent(world.delete(resource, namespace, &workload).await)?;
        }
        ignore_absent(world.delete(&INGRESSES, namespace, name).await)?;
        status["modelStatus"] = json!({"transitionStatus": ""});
        let stopped = |kind| (kind, "False", "Stopped", "");
        let conditions = [
            stopped("IngressReady"),
            stopped("PredictorReady"),
            stopped("Ready"),
            ("Stopped", "True", "", ""),
        ];
        return report(&world, &service, status, &conditions).await;
    }

    let predictor = &service["spec"]["predictor"];
    let storage = predictor["model"]["storageUri"].as_str();
    if let Some(uri) = storage.filter(|uri| !SCHEMES.iter().any(|s| uri.starts_with(s))) {
        let message = format!(
            "StorageURI not supported: storageURI, must be one of: [{}] or match https://{{}}.blob.core.windows.net/{{}}/{{}} or be an absolute or relative local path. StorageUri [{uri}] is not supported.",
            SCHEMES.join(", ")
        );
        return rejected(&world, &service, "InternalError", &message).await;
    }
    let mut pod = json!({});
    if predictor["model"].is_object() {
        match runtimes::of(&world, namespace, &predictor["model"]) {
            Ok(found) => {
                let key = if found.cluster {
                    "clusterServingRuntimeName"
                } else {
                    "servingRuntimeName"
                };
                status[key] = json!(found.name);
                pod = runtimes::pod_spec(&found, &service, world.faults());
            }
            Err((reason, message)) => {
                status["modelStatus"] = json!({
                    "lastFailureInfo": {"message": message, "reason": reason},
                    "states": {"activeModelState": "", "targetModelState": "FailedToLoad"},
                    "transitionStatus": "InvalidSpec",
                });
                return report(&world, &service, status, &[]).await;
            }
        }
    }
    let deployment = deploy(&world, &service, &workload, pod).await?;
    report_on(&world, &service, &workload, status, &deployment).await
}

/// Whether a service is to be stopped.
fn is_stopped(world: &World, service: &Value) -> bool {
    let annotated = service["metadata"]["annotations"][STOP] == "true"
        && !world.has_fault("kserve/inferenceservice/stops-when-annotated");
    let was = condition(service, "Stopped").is_some_and(|c| c["status"] == "True");
    annotated || (was && world.has_fault("kserve/inferenceservice/starts-again"))
}

/// Records why nothing is done about a service.
async fn rejected(
    world: &World,
    service: &Value,
    reason: &str,
    message: &str,
) -> Result<Next, ApiError> {
    world
        .event(service, "Warning", reason, message, "v1beta1Controllers")
        .await;
    Ok(Next::Wait)
}

/// Makes the predictor's Deployment, Service and autoscaler as they must be, and returns the Deployment.
async fn deploy(
    world: &World,
    service: &Value,
    workload: &str,
    pod: Value,
) -> Result<Value, ApiError> {
    let faults = world.faults();
    let metadata = metadata(service, workload, faults);
    let predictor = &service["spec"]["predictor"];
    let class = service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"].as_str();
    let autoscaled = !matches!(class, Some("external" | "none" | "keda"))
        || faults.has("kserve/inferenceservice/leaves-scaling-to-others");

    let min = predictor["minReplicas"].as_i64().unwrap_or(1).max(1);
    let mut spec = json!({
        "selector": {"matchLabels": {"app": metadata["labels"]["app"]}},
        "template": {
            "metadata": {
                "namespace": metadata["namespace"], "name": workload,
                "labels": metadata["labels"], "annotations": metadata["annotations"],
            },
            "spec": pod_of(predictor, pod),
        },
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    });
    if !autoscaled {
        spec["replicas"] = json!(min);
    }
    let mut of_deployment = metadata.clone();
    if faults.has("kserve/inferenceservice/owns-its-workload") {
        of_deployment["ownerReferences"][0]["controller"] = json!(false);
    }
    let frozen = faults.has("kserve/inferenceservice/rolls-out-changes");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": of_deployment, "spec": spec,
    });
    let deployment = put(world, &DEPLOYMENTS, deployment, frozen).await?;
    let port = if faults.has("kserve/inferenceservice/answers-predictions") {
        8000
    } else {
        80
    };
    let target = array(&deployment["spec"]["template"]["spec"]["containers"])
        .find(|c| c["name"] == "kserve-container")
        .map_or(&Value::Null, |c| &c["ports"][0]);
    let mut front = json!({"protocol": "TCP", "port": port});
    if target.is_null() {
        // The port that is assumed gets a name; one of a container keeps its own, or none.
        front["name"] = json!(workload);
    } else if !target["name"].is_null() {
        front["name"] = target["name"].clone();
    }
    let aside = faults.has("kserve/inferenceservice/answers-predictions:target");
    let target = target["containerPort"].as_u64().unwrap_or(8080);
    front["targetPort"] = json!(if aside { target + 1 } else { target });
    let front = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {
            "ports": [front],
            "selector": {"app": metadata["labels"]["app"]},
        },
    });
    put(world, &CORE_SERVICES, front, false).await?;
    if autoscaled {
        let few = faults.has("kserve/inferenceservice/runs-the-minimum-of-replicas");
        let max = predictor["maxReplicas"].as_i64().unwrap_or(0).max(min);
        let metric = json!({"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": predictor["scaleTarget"].as_i64().unwrap_or(80)},
        }});
        let scaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata,
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
                "minReplicas": if few { 1 } else { min }, "maxReplicas": max, "metrics": [metric],
            },
        });
        put(world, &AUTOSCALERS, scaler, false).await?;
    }
    Ok(deployment)
}

/// The metadata of all that is made for a predictor.
fn metadata(service: &Value, workload: &str, faults: &Faults) -> Value {
    let predictor = &service["spec"]["predictor"];
    let own = json!({
        "app": format!("isvc.{workload}"),
        "component": "predictor",
        SERVICE_LABEL: service["metadata"]["name"],
    });
    let labels = merge_over(&service["metadata"]["labels"], &predictor["labels"]);
    let mut annotations = service["metadata"]["annotations"].clone();
    if !faults.has("kserve/inferenceservice/marks-its-pods") {
        annotations = merge_over(&annotations, &predictor["annotations"]);
    }
    if let Some(annotations) = annotations.as_object_mut() {
        for internal in [
            "kubectl.kubernetes.io/last-applied-configuration",
            "serving.kserve.io/autoscalerClass",
        ] {
            annotations.shift_remove(internal);
        }
        if let Some(uri) = predictor["model"]["storageUri"].as_str() {
            annotations.insert(SOURCE.to_owned(), json!(uri));
        }
        if holds_many_models(predictor) {
            let config = format!("modelconfig-{}-0", text(&service["metadata"]["name"]));
            for (key, value) in [
                (AGENT, "true"),
                ("internal.serving.kserve.io/configMountPath", "/mnt/configs"),
                ("internal.serving.kserve.io/configVolumeName", &config),
                ("internal.serving.kserve.io/modelDir", "/mnt/models"),
            ] {
                annotations.insert(key.to_owned(), json!(value));
            }
        }
    }
    json!({
        "namespace": service["metadata"]["namespace"],
        "name": workload,
        "labels": merge_over(&labels, &own),
        "annotations": annotations,
        "ownerReferences": [owner(service)],
    })
}

/// Whether a predictor is taken for one that TrainedModels are put into: it has a model, and does not say from where.
fn holds_many_models(predictor: &Value) -> bool {
    let model = &predictor["model"];
    model.is_object() && model["storageUri"].is_null() && model["storage"].is_null()
}

/// The spec of the predictor's pods: its own fields over those of the runtime, if it has one.
fn pod_of(predictor: &Value, runtime: Value) -> Value {
    let own: Map<String, Value> = predictor
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| {
            !EXTENSIONS.contains(&key.as_str()) && !FRAMEWORKS.contains(&key.as_str())
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut spec = merge_over(&runtime, &Value::Object(own));
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        if container["name"] == "kserve-container" && container["readinessProbe"].is_null() {
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

/// A pod with the volume claim mounted that a storage URI of scheme `pvc` names, or with the agent that fetches models.
fn with_model(mut pod: Value) -> Value {
    let fetches = pod["metadata"]["annotations"][AGENT] == "true";
    if fetches && array(&pod["spec"]["containers"]).all(|c| c["name"] != "agent") {
        let agent = json!({"name": "agent", "image": AGENT_IMAGE});
        push(&mut pod["spec"], "containers", agent);
    }
    let source = text(&pod["metadata"]["annotations"][SOURCE]).to_owned();
    let Some(rest) = source.strip_prefix("pvc://") else {
        return pod;
    };
    let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
    let spec = &mut pod["spec"];
    if array(&spec["volumes"]).any(|v| v["name"] == "kserve-pvc-source") {
        return pod;
    }
    let mut mount =
        json!({"name": "kserve-pvc-source", "mountPath": "/mnt/models", "readOnly": true});
    if !path.is_empty() {
        mount["subPath"] = json!(path);
    }
    let volume =
        json!({"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": claim}});
    push(spec, "volumes", volume);
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        if container["name"] == "kserve-container" {
            push(container, "volumeMounts", mount.clone());
        }
    }
    pod
}

fn push(object: &mut Value, list: &str, item: Value) {
    if !object[list].is_array() {
        object[list] = json!([]);
    }
    if let Some(items) = object[list].as_array_mut() {
        items.push(item);
    }
}

/// Creates an object or, unless it is frozen, brings it to what it must be. What others have added to it stays.
async fn put(
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

/// Reports what became of a predictor's Deployment; makes the Ingress once it is available.
async fn report_on(
    world: &World,
    service: &Value,
    workload: &str,
    mut status: Value,
    deployment: &Value,
) -> Result<Next, ApiError> {
    let (namespace, name) = (
        text(&service["metadata"]["namespace"]),
        text(&service["metadata"]["name"]),
    );
    let selector = LabelSelector::parse(&format!("app=isvc.{workload}"))?;
    let pods = world.select(&PODS, Some(namespace), &selector);
    let crashed = pods
        .iter()
        .flat_map(|p| array(&p["status"]["containerStatuses"]))
        .any(|s| s["restartCount"].as_u64() > Some(0));
    let available = condition(deployment, "Available");
    let is_available = available.is_some_and(|c| c["status"] == "True")
        || (crashed && world.has_fault("kserve/inferenceservice/is-not-ready-while-it-crashes"));

    let mut model = json!({
        "copies": {"failedCopies": 0},
        "states": {"activeModelState": "", "targetModelState": "Pending"},
        "transitionStatus": "InProgress",
    });
    if !pods.is_empty() {
        model["copies"]["totalCopies"] = json!(pods.len());
    }
    if !deployment["status"]["observedGeneration"].is_null() {
        status["observedGeneration"] = deployment["status"]["observedGeneration"].clone();
    }
    if !is_available {
        status["components"] = json!({"predictor": {}});
        status["modelStatus"] = model;
        let none = ("", "");
        let why = available.map_or(none, |c| (text(&c["reason"]), text(&c["message"])));
        let ingress = "Predictor ingress not created";
        let conditions = [
            ("IngressReady", "False", ingress, ""),
            ("PredictorReady", "False", why.0, why.1),
            ("Ready", "False", ingress, ""),
            ("Stopped", "False", "", ""),
        ];
        return report(world, service, status, &conditions).await;
    }
    let rule = |host: String| {
        json!({"host": host, "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": workload, "port": {"number": 80}}},
        }]}})
    };
    let host = |name: &str| format!("{name}-{namespace}.example.com");
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "namespace": namespace, "name": name,
            "annotations": service["metadata"]["annotations"], "ownerReferences": [owner(service)],
        },
        "spec": {"ingressClassName": "istio", "rules": [rule(host(name)), rule(host(workload))]},
    });
    put(world, &INGRESSES, ingress, false).await?;
    model["states"] = json!({"activeModelState": "Loaded", "targetModelState": "Loaded"});
    model["transitionStatus"] = json!("UpToDate");
    status["modelStatus"] = model;
    status["components"] = json!({"predictor": {"url": format!("http://{}", host(workload))}});
    status["address"] = json!({"url": format!("http://{workload}.{namespace}.svc.cluster.local")});
    if !world.has_fault("kserve/inferenceservice/reports-its-address") {
        status["url"] = json!(format!("http://{}", host(name)));
    }
    let is_true = |kind| (kind, "True", "", "");
    let mut conditions = vec![is_true("IngressReady")];
    if !world.has_fault("kserve/inferenceservice/becomes-ready") {
        conditions.push(is_true("PredictorReady"));
    }
    if world.has_fault("kserve/inferenceservice/becomes-ready:never") {
        conditions.push(("Ready", "Unknown", "", ""));
    } else {
        conditions.push(is_true("Ready"));
    }
    conditions.push(("Stopped", "False", "", ""));
    report(world, service, status, &conditions).await
}

/// Writes a status with these conditions (type, status, reason, message), unless it is there already.
async fn report(
    world: &World,
    service: &Value,
    mut status: Value,
    conditions: &[(&str, &str, &str, &str)],
) -> Result<Next, ApiError> {
    let now = world.stamp();
    let written: Vec<Value> = conditions
        .iter()
        .map(|(kind, value, reason, message)| {
            let since = condition(service, kind)
                .filter(|old| old["status"] == *value)
                .map_or(json!(now), |old| old["lastTransitionTime"].clone());
            let mut condition = json!({"lastTransitionTime": since});
            for (key, text) in [("message", message), ("reason", reason)] {
                if !text.is_empty() {
                    condition[key] = json!(text);
                }
            }
            if *kind == "Stopped" {
                condition["severity"] = json!("Info");
            }
            condition["status"] = json!(value);
            condition["type"] = json!(kind);
            condition
        })
        .collect();
    if !written.is_empty() {
        status["conditions"] = json!(written);
    }
    if service["status"] != status {
        let metadata = &service["metadata"];
        world
            .set_status(
                &SERVICES,
                text(&metadata["namespace"]),
                text(&metadata["name"]),
                status,
            )
            .await?;
    }
    Ok(Next::Wait)
}

/// Keeps the replicas of a Deployment in the range of its autoscaler. There are no metrics here, as on a cluster
/// without a metrics server: only the ends of the range count.
async fn scale(world: World, key: Key) -> Result<Next, ApiError> {
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

fn ignore_absent<T>(result: Result<T, ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
