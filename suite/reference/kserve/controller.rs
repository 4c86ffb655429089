//! The controller: makes of a service what each of its components needs, and reports on them.

use serde_json::{Value, json};

use super::{
    MODE, RUNTIMES, SERVICE_LABEL, SERVICES, array,
    components::{self, CORE_SERVICES, Part, deploy, pod_beside, pod_of, put},
    mode_of, runtimes, text,
};
use crate::reference::kube::{
    ApiError, Key, LabelSelector, Next, Watch, World, condition, owner,
    resources::{AUTOSCALERS, DEPLOYMENTS, INGRESSES, PODS},
};

const FINALIZER: &str = "inferenceservice.finalizers";
const STOP: &str = "serving.kserve.io/stop";
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
/// Starts the controller and the part of Kubernetes' autoscaler that needs no metrics.
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
    let watches = vec![Watch::on(&AUTOSCALERS)];
    world.controller("horizontal-pod-autoscaler", watches, components::scale);
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
        for component in components_of(&service) {
            for resource in [&DEPLOYMENTS, &CORE_SERVICES, &AUTOSCALERS] {
                let workload = format!("{name}-{component}");
                ignore_absent(world.delete(resource, namespace, &workload).await)?;
            }
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
    let storage =
        storage.filter(|_| !world.has_fault("kserve/inferenceservice/reports-unknown-storage"));
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
                if !world.has_fault("kserve/runtime/is-recorded") {
                    status[key] = json!(found.name);
                }
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
    let mut made = Vec::new();
    for component in components_of(&service) {
        let settings = &service["spec"][component];
        let pod = match component {
            "predictor" => pod_of(settings, &pod, world.faults()),
            _ => pod_beside(&service, component, world.faults()),
        };
        let part = Part {
            component,
            name: format!("{name}-{component}"),
            settings,
        };
        made.push((component, deploy(&world, &service, &part, pod).await?));
    }
    report_on(&world, &service, status, &made).await
}

/// The components that a service has.
fn components_of(service: &Value) -> impl Iterator<Item = &'static str> {
    ["predictor", "transformer", "explainer"]
        .into_iter()
        .filter(|component| *component == "predictor" || service["spec"][*component].is_object())
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

/// Reports what became of the Deployments of a service's components; makes the Ingress once all are available.
async fn report_on(
    world: &World,
    service: &Value,
    mut status: Value,
    made: &[(&'static str, Value)],
) -> Result<Next, ApiError> {
    let (namespace, name) = (
        text(&service["metadata"]["namespace"]),
        text(&service["metadata"]["name"]),
    );
    let selector = LabelSelector::parse(&format!("app=isvc.{name}-predictor"))?;
    let pods = world.select(&PODS, Some(namespace), &selector);
    let crashed = pods
        .iter()
        .flat_map(|p| array(&p["status"]["containerStatuses"]))
        .any(|s| s["restartCount"].as_u64() > Some(0));
    let crashed =
        crashed && world.has_fault("kserve/inferenceservice/is-not-ready-while-it-crashes");
    let lenient = world.has_fault("kserve/transformer/holds-the-service-back");

    let mut conditions: Vec<(&str, &str, &str, &str)> = Vec::new();
    let mut missing = "";
    let mut reported = json!({});
    let host = |name: &str| format!("{name}-{namespace}.example.com");
    for (component, deployment) in made {
        let available = condition(deployment, "Available");
        let is_available = available.is_some_and(|c| c["status"] == "True")
            || (*component == "predictor" && crashed)
            || (*component == "transformer" && lenient);
        let (kind, ingress) = match *component {
            "transformer" => ("TransformerReady", "Transformer ingress not created"),
            "explainer" => ("ExplainerReady", "Explainer ingress not created"),
            _ => ("PredictorReady", "Predictor ingress not created"),
        };
        reported[*component] = json!({});
        if is_available {
            let url = format!("http://{}", host(&format!("{name}-{component}")));
            reported[*component]["url"] = json!(url);
            conditions.push((kind, "True", "", ""));
        } else {
            // As in the real controller, whose Ingress leads to the transformer then.
            let beside = *component == "explainer" && service["spec"]["transformer"].is_object();
            if missing.is_empty() && !beside {
                missing = ingress;
            }
            let why = available.map_or(("", ""), |c| (text(&c["reason"]), text(&c["message"])));
            conditions.push((kind, "False", why.0, why.1));
        }
    }

    let mut model = json!({
        "copies": {"failedCopies": 0},
        "states": {"activeModelState": "", "targetModelState": "Pending"},
        "transitionStatus": "InProgress",
    });
    if !pods.is_empty() {
        model["copies"]["totalCopies"] = json!(pods.len());
    }
    let observed = made
        .first()
        .map_or(&Value::Null, |(_, d)| &d["status"]["observedGeneration"]);
    if !observed.is_null() {
        status["observedGeneration"] = observed.clone();
    }
    if !missing.is_empty() {
        if made.len() == 1 {
            reported = json!({"predictor": {}});
        }
        status["components"] = reported;
        status["modelStatus"] = model;
        conditions.insert(0, ("IngressReady", "False", missing, ""));
        conditions.push(("Ready", "False", missing, ""));
        conditions.push(("Stopped", "False", "", ""));
        return report(world, service, status, &conditions).await;
    }
    status["components"] = reported;
    let local = service["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"
        && !world.has_fault("kserve/ingress/keeps-local-services-inside");
    if !local {
        put(world, &INGRESSES, ingress(world, service, made), false).await?;
    }
    let loaded = !world.has_fault("kserve/inferenceservice/reports-a-loaded-model");
    model["states"] = json!({
        "activeModelState": if loaded { "Loaded" } else { "Loading" }, "targetModelState": "Loaded",
    });
    model["transitionStatus"] = json!("UpToDate");
    status["modelStatus"] = model;
    let transformed = service["spec"]["transformer"].is_object()
        && !world.has_fault("kserve/transformer/stands-before-the-predictor");
    let front = if transformed {
        "transformer"
    } else {
        "predictor"
    };
    status["address"] =
        json!({"url": format!("http://{name}-{front}.{namespace}.svc.cluster.local")});
    if !world.has_fault("kserve/inferenceservice/reports-its-address") {
        let url = if local {
            format!("{name}-{namespace}.svc.cluster.local")
        } else {
            host(name)
        };
        status["url"] = json!(format!("http://{url}"));
    }
    let hidden = [
        ("PredictorReady", "kserve/inferenceservice/becomes-ready"),
        ("TransformerReady", "kserve/transformer/becomes-ready"),
        ("ExplainerReady", "kserve/explainer/becomes-ready"),
    ];
    conditions.retain(|(kind, ..)| {
        !hidden
            .iter()
            .any(|(hidden, fault)| hidden == kind && world.has_fault(fault))
    });
    conditions.insert(0, ("IngressReady", "True", "", ""));
    let never = world.has_fault("kserve/inferenceservice/becomes-ready:never");
    conditions.push(("Ready", if never { "Unknown" } else { "True" }, "", ""));
    conditions.push(("Stopped", "False", "", ""));
    conditions.sort_by_key(|(kind, ..)| *kind);
    report(world, service, status, &conditions).await
}

/// The Ingress of a service: its own host leads to its transformer or predictor, and each component has one more.
fn ingress(world: &World, service: &Value, made: &[(&'static str, Value)]) -> Value {
    let (namespace, name) = (
        text(&service["metadata"]["namespace"]),
        text(&service["metadata"]["name"]),
    );
    let rule = |host: &str, to: &str| {
        json!({"host": host, "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": to, "port": {"number": 80}}},
        }]}})
    };
    let domain = "example.com";
    let own = if world.has_fault("kserve/ingress/leads-the-host-to-the-service") {
        "example.org"
    } else {
        domain
    };
    let front = if service["spec"]["transformer"].is_object() {
        "transformer"
    } else {
        "predictor"
    };
    let mut rules = vec![rule(
        &format!("{name}-{namespace}.{own}"),
        &format!("{name}-{front}"),
    )];
    for (component, _) in made {
        let workload = format!("{name}-{component}");
        rules.push(rule(&format!("{workload}-{namespace}.{domain}"), &workload));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "namespace": namespace, "name": name,
            "annotations": service["metadata"]["annotations"], "ownerReferences": [owner(service)],
        },
        "spec": {"ingressClassName": "istio", "rules": rules},
    })
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

fn ignore_absent<T>(result: Result<T, ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
