//! The controllers of Services (Endpoints, EndpointSlices) and of volume claims.

use std::sync::Arc;

use serde_json::{Value, json};

use super::controller::{Next, Watch};
use super::registry::resources::{
    ENDPOINTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, SERVICES,
};
use super::selectors::LabelSelector;
use super::status::ApiError;
use super::store::Key;
use super::workloads::{is_ready, lives};
use super::world::World;
use super::{bootstrap, mounts, owner};

/// Starts the controllers.
pub(super) fn start(world: &World) {
    let pods = Watch::mapped(&PODS, |world, pod| {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        let services = world.list(&SERVICES, Some(namespace));
        let selecting = services
            .iter()
            .filter(|service| selector(service).is_some_and(|selector| selector.matches(pod)));
        selecting.map(|service| Key::of(service)).collect()
    });
    let watches = vec![Watch::on(&SERVICES), pods, Watch::on(&ENDPOINTS)];
    world.controller("endpoints", watches, |world, key| async move {
        endpoints(&world, &key).await
    });
    let watches = vec![Watch::on(&PERSISTENT_VOLUME_CLAIMS)];
    world.controller(
        "persistentvolume-binder",
        watches,
        |world, key| async move { claim(&world, &key).await },
    );
    let task_world = world.clone();
    let follow = world.store().snapshot(&PERSISTENT_VOLUME_CLAIMS, None);
    world.spawn(async move {
        let (_, _, mut changes) = follow;
        while let Some(event) = changes.recv().await {
            if event.change == super::Change::Deleted {
                release(&task_world, &event.object).await;
            }
        }
    });
}

/// The selector of a Service that has one.
fn selector(service: &Value) -> Option<LabelSelector> {
    let labels = service["spec"]["selector"].as_object()?;
    (!labels.is_empty()).then(|| LabelSelector::from_labels(&service["spec"]["selector"]))
}

async fn endpoints(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(service) = world
        .find(&SERVICES, &key.namespace, &key.name)
        .filter(|service| lives(service))
    else {
        if let Some(left) = world.find(&ENDPOINTS, &key.namespace, &key.name)
            && left["metadata"]["labels"][MANAGED] == "true"
        {
            super::workloads::delete_object(world, &ENDPOINTS, &left).await?;
        }
        return Ok(Next::Wait);
    };
    let Some(selector) = selector(&service) else {
        return Ok(Next::Wait);
    };
    let pods = world.select(&PODS, Some(&key.namespace), &selector);
    let publish_all = service["spec"]["publishNotReadyAddresses"] == true;
    let mut ready = Vec::new();
    let mut unready = Vec::new();
    let mut slice = Vec::new();
    for pod in pods
        .iter()
        .filter(|pod| lives(pod) && pod["status"]["podIP"].is_string())
    {
        if matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        ) {
            continue;
        }
        let serves = is_ready(pod) || publish_all;
        let reference = json!({
            "kind": "Pod", "namespace": key.namespace, "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
        });
        let address = json!({"ip": pod["status"]["podIP"], "nodeName": bootstrap::NODE, "targetRef": reference});
        slice.push(json!({
            "addresses": [pod["status"]["podIP"]], "nodeName": bootstrap::NODE, "targetRef": reference,
            "conditions": {"ready": serves, "serving": serves, "terminating": false},
        }));
        if serves { &mut ready } else { &mut unready }.push(address);
    }
    let ports: Vec<Value> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let number = match &port["targetPort"] {
                Value::String(name) => {
                    named_port(&pods, name).unwrap_or_else(|| port["port"].clone())
                }
                other => other.clone(),
            };
            let mut shown = json!({"port": number, "protocol": port["protocol"]});
            if !port["name"].is_null() {
                shown["name"] = port["name"].clone();
            }
            shown
        })
        .collect();
    let mut subset = json!({"ports": ports});
    if !ready.is_empty() {
        subset["addresses"] = json!(ready);
    }
    if !unready.is_empty() {
        subset["notReadyAddresses"] = json!(unready);
    }
    let subsets = if slice.is_empty() {
        json!([])
    } else {
        json!([subset])
    };
    world
        .apply(json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"namespace": key.namespace, "name": key.name, "labels": {MANAGED: "true"}},
            "subsets": subsets,
        }))
        .await?;
    let suffix = super::ids::short_hash(service["metadata"]["uid"].as_str().unwrap_or_default());
    world
        .apply(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": key.namespace, "name": format!("{}-{}", key.name, &suffix[..5]),
                "ownerReferences": [owner(&service)],
                "labels": {"kubernetes.io/service-name": key.name,
                           "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            },
            "addressType": "IPv4", "endpoints": slice, "ports": ports,
        }))
        .await?;
    Ok(Next::Wait)
}

/// Marks Endpoints that this controller made.
const MANAGED: &str = "endpoints.kubernetes.io/managed-by-reference";

fn named_port(pods: &[Arc<Value>], name: &str) -> Option<Value> {
    pods.iter().find_map(|pod| {
        pod["spec"]["containers"]
            .as_array()?
            .iter()
            .flat_map(|container| container["ports"].as_array().into_iter().flatten())
            .find(|port| port["name"] == name)
            .map(|port| port["containerPort"].clone())
    })
}

/// Binds a claim to a volume made for it.
async fn claim(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(claim) = world
        .find(&PERSISTENT_VOLUME_CLAIMS, &key.namespace, &key.name)
        .filter(|claim| lives(claim) && claim["status"]["phase"] != "Bound")
    else {
        return Ok(Next::Wait);
    };
    let spec = &claim["spec"];
    let class = spec["storageClassName"].as_str().unwrap_or_default();
    if world
        .find(&super::resources::STORAGE_CLASSES, "", class)
        .is_none()
    {
        // As really: a claim of a class that does not exist waits for it.
        let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
        world
            .event(
                &claim,
                "Warning",
                "ProvisioningFailed",
                &message,
                "persistentvolume-controller",
            )
            .await;
        return Ok(Next::After(std::time::Duration::from_secs(15)));
    }
    let volume = format!(
        "pvc-{}",
        claim["metadata"]["uid"].as_str().unwrap_or_default()
    );
    let capacity = json!({"storage": spec["resources"]["requests"]["storage"]});
    if world.find(&PERSISTENT_VOLUMES, "", &volume).is_none() {
        world
            .create(json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
                "spec": {
                    "accessModes": spec["accessModes"], "capacity": capacity, "claimRef": super::reference(&claim),
                    "persistentVolumeReclaimPolicy": "Delete", "storageClassName": class, "volumeMode": "Filesystem",
                    "hostPath": {"path": format!("/{volume}")},
                },
            }))
            .await?;
        world
            .set_status(&PERSISTENT_VOLUMES, "", &volume, json!({"phase": "Bound"}))
            .await?;
    }
    let patch = json!({"spec": {"volumeName": volume}});
    world
        .patch_merge(&PERSISTENT_VOLUME_CLAIMS, &key.namespace, &key.name, patch)
        .await?;
    let status =
        json!({"phase": "Bound", "accessModes": spec["accessModes"], "capacity": capacity});
    world
        .set_status(&PERSISTENT_VOLUME_CLAIMS, &key.namespace, &key.name, status)
        .await?;
    Ok(Next::Wait)
}

/// Removes the volume of a claim that is gone.
async fn release(world: &World, claim: &Value) {
    mounts::remove_claim(world, claim);
    if let Some(volume) = claim["spec"]["volumeName"].as_str() {
        // Whoever removed it by hand was faster.
        drop(world.delete(&PERSISTENT_VOLUMES, "", volume).await);
    }
}
