//! The controllers of Deployments, ReplicaSets, StatefulSets and DaemonSets.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::{Value, json};

use super::controller::{Next, Watch};
use super::delete::DeleteOptions;
use super::registry::Resource;
use super::registry::resources::{
    CLUSTER_ROLES, DAEMON_SETS, DEPLOYMENTS, PERSISTENT_VOLUME_CLAIMS, PODS, REPLICA_SETS,
    STATEFUL_SETS,
};
use super::status::ApiError;
use super::store::Key;
use super::world::World;
use super::{is_owned_by, owner, set_condition};

/// Starts the controllers.
pub(super) fn start(world: &World) {
    let watches = vec![
        Watch::on(&DEPLOYMENTS),
        Watch::owned(&REPLICA_SETS, "Deployment"),
    ];
    world.controller("deployment", watches, |world, key| async move {
        deployment(&world, &key).await
    });
    let watches = vec![Watch::on(&REPLICA_SETS), Watch::owned(&PODS, "ReplicaSet")];
    world.controller("replicaset", watches, |world, key| async move {
        replica_set(&world, &key).await
    });
    let watches = vec![
        Watch::on(&STATEFUL_SETS),
        Watch::owned(&PODS, "StatefulSet"),
    ];
    world.controller("statefulset", watches, |world, key| async move {
        stateful_set(&world, &key).await
    });
    let watches = vec![Watch::on(&DAEMON_SETS), Watch::owned(&PODS, "DaemonSet")];
    world.controller("daemonset", watches, |world, key| async move {
        daemon_set(&world, &key).await
    });
    // Any ClusterRole may be a part of any other that aggregates.
    let everyone = Watch::mapped(&CLUSTER_ROLES, |world, _| {
        let roles = world.list(&CLUSTER_ROLES, None);
        let aggregated = roles
            .iter()
            .filter(|role| !role["aggregationRule"].is_null());
        aggregated.map(|role| Key::of(role)).collect()
    });
    world.controller(
        "clusterrole-aggregation",
        vec![everyone],
        |world, key| async move {
            if let Some(role) = world.find(&CLUSTER_ROLES, "", &key.name)
                && !role["aggregationRule"].is_null()
            {
                let rules = super::auth::rules_of(world.store(), &role);
                world
                    .patch_merge(&CLUSTER_ROLES, "", &key.name, json!({"rules": rules}))
                    .await?;
            }
            Ok(Next::Wait)
        },
    );
    super::jobs::start(world);
}

/// Whether an object is there and not being deleted.
pub(super) fn lives(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_null()
}

/// Whether a pod counts: it is neither being deleted nor done.
pub(super) fn is_active(pod: &Value) -> bool {
    let phase = &pod["status"]["phase"];
    lives(pod) && phase != "Succeeded" && phase != "Failed"
}

pub(super) fn is_ready(pod: &Value) -> bool {
    super::condition(pod, "Ready").is_some_and(|condition| condition["status"] == "True")
}

/// The objects of a type that an owner controls, in order of name.
pub(super) fn controlled(world: &World, resource: &Resource, parent: &Value) -> Vec<Arc<Value>> {
    let uid = parent["metadata"]["uid"].as_str().unwrap_or_default();
    let mut found: Vec<Arc<Value>> = world
        .store()
        .dependents(uid)
        .iter()
        .filter(|(of, _)| of == resource)
        .filter_map(|(of, key)| world.store().read(of, key))
        .filter(|object| is_owned_by(object, parent))
        .collect();
    found.sort_by_key(|object| Key::of(object));
    found
}

/// A pod of a template, controlled by `parent`.
pub(super) fn pod_of(parent: &Value) -> Value {
    let template = &parent["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": parent["metadata"]["namespace"], "ownerReferences": [owner(parent)]},
        "spec": template["spec"],
    });
    for key in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][key].is_null() {
            pod["metadata"][key] = template["metadata"][key].clone();
        }
    }
    pod
}

/// Creates a pod and tells what stands in the way on the parent, as real controllers do.
pub(super) async fn create_pod(
    world: &World,
    parent: &Value,
    pod: Value,
    component: &str,
) -> Result<Arc<Value>, ApiError> {
    // The controller of StatefulSets, which alone names its pods itself, has words of its own.
    let named = (parent["kind"] == "StatefulSet").then(|| {
        let name = |object: &Value| Key::of(object).name;
        format!("create Pod {} in StatefulSet {}", name(&pod), name(parent))
    });
    match world.create(pod).await {
        Ok(pod) => {
            let message = match &named {
                Some(doing) => format!("{doing} successful"),
                None => format!("Created pod: {}", Key::of(&pod).name),
            };
            world
                .event(parent, "Normal", "SuccessfulCreate", &message, component)
                .await;
            Ok(pod)
        }
        Err(error) => {
            if !error.is_already_exists() {
                let message = match &named {
                    Some(doing) => format!("{doing} failed error: {error}"),
                    None => format!("Error creating: {error}"),
                };
                world
                    .event(parent, "Warning", "FailedCreate", &message, component)
                    .await;
            }
            Err(error)
        }
    }
}

pub(super) async fn delete_object(
    world: &World,
    resource: &Resource,
    object: &Value,
) -> Result<(), ApiError> {
    let key = Key::of(object);
    let delete = DeleteOptions {
        uid: object["metadata"]["uid"].as_str().map(str::to_owned),
        ..DeleteOptions::default()
    };
    match world
        .delete_with(resource, &key.namespace, &key.name, &delete)
        .await
    {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

fn replicas(object: &Value) -> usize {
    object["spec"]["replicas"].as_u64().unwrap_or(1) as usize
}

fn count(object: &Value, field: &str) -> u64 {
    object["status"][field].as_u64().unwrap_or(0)
}

/// Sets a status unless it is the present one. An object that went meanwhile is no error.
async fn put_status(
    world: &World,
    resource: &Resource,
    object: &Value,
    status: Value,
) -> Result<(), ApiError> {
    if object["status"] == status {
        return Ok(());
    }
    let key = Key::of(object);
    match world
        .set_status(resource, &key.namespace, &key.name, status)
        .await
    {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Puts the counts into a status, leaving out zeros as the real ones do.
fn counts(status: &mut Value, pairs: &[(&str, u64)]) {
    for (key, value) in pairs {
        if *value > 0 {
            status[*key] = json!(value);
        }
    }
}

async fn deployment(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(deployment) = world
        .find(&DEPLOYMENTS, &key.namespace, &key.name)
        .filter(|d| lives(d))
    else {
        return Ok(Next::Wait);
    };
    let hash = super::ids::short_hash(&deployment["spec"]["template"].to_string());
    let name = format!("{}-{hash}", key.name);
    let sets = controlled(world, &REPLICA_SETS, &deployment);
    let wanted = replicas(&deployment);
    let newest = sets.iter().find(|set| Key::of(set).name == name);
    let revision = |set: &Value| -> u64 {
        let text = set["metadata"]["annotations"][REVISION].as_str();
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let last = sets.iter().map(|set| revision(set)).max().unwrap_or(0);
    if let Some(newest) = newest {
        if replicas(newest) != wanted || revision(newest) < last {
            let number = revision(newest).max(if revision(newest) < last { last + 1 } else { 0 });
            world
                .patch_merge(&REPLICA_SETS, &key.namespace, &name, json!({
                    "metadata": {"annotations": {REVISION: number.to_string()}}, "spec": {"replicas": wanted},
                }))
                .await?;
        }
    } else {
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"]["pod-template-hash"] = json!(hash);
        let created = world
            .create(json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {
                    "namespace": key.namespace, "name": name, "labels": template["metadata"]["labels"],
                    "annotations": {REVISION: (last + 1).to_string()}, "ownerReferences": [owner(&deployment)],
                },
                "spec": {"replicas": wanted, "selector": selector, "template": template},
            }))
            .await;
        match created {
            Err(error) if !error.is_already_exists() => return Err(error),
            _ => {}
        }
        let message = format!("Scaled up replica set {name} from 0 to {wanted}");
        world
            .event(
                &deployment,
                "Normal",
                "ScalingReplicaSet",
                &message,
                "deployment-controller",
            )
            .await;
    }
    let fresh = newest.map_or(0, |set| count(set, "availableReplicas")) as usize;
    let recreate = deployment["spec"]["strategy"]["type"] == "Recreate";
    for old in sets.iter().filter(|set| Key::of(set).name != name) {
        // The old ones go when the new ones can take over.
        if replicas(old) > 0 && (recreate || fresh >= wanted) {
            let old_name = Key::of(old).name;
            world
                .patch_merge(
                    &REPLICA_SETS,
                    &key.namespace,
                    &old_name,
                    json!({"spec": {"replicas": 0}}),
                )
                .await?;
        }
    }
    let total = |field: &str| sets.iter().map(|set| count(set, field)).sum::<u64>();
    let updated = newest.map_or(0, |set| count(set, "replicas"));
    let available = total("availableReplicas");
    let wanted_count = wanted as u64;
    let mut status = json!({"observedGeneration": deployment["metadata"]["generation"]});
    counts(
        &mut status,
        &[
            ("replicas", total("replicas")),
            ("updatedReplicas", updated),
            ("readyReplicas", total("readyReplicas")),
            ("availableReplicas", available),
            (
                "unavailableReplicas",
                wanted_count
                    .max(total("replicas"))
                    .saturating_sub(available),
            ),
        ],
    );
    status["conditions"] = deployment["status"]["conditions"].clone();
    let now = world.stamp();
    let enough = available >= minimum(&deployment, wanted_count);
    let (bit, reason, message) = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set_condition(&mut status, "Available", bit, reason, message, &now);
    let complete =
        updated == wanted_count && available == wanted_count && total("replicas") == wanted_count;
    let progress = super::condition(&deployment, "Progressing");
    let (mut bit, mut reason, mut message) = if complete {
        (
            "True",
            "NewReplicaSetAvailable",
            format!("ReplicaSet \"{name}\" has successfully progressed."),
        )
    } else {
        (
            "True",
            "ReplicaSetUpdated",
            format!("ReplicaSet \"{name}\" is progressing."),
        )
    };
    let mut next = Next::Wait;
    if !complete {
        let limit = deployment["spec"]["progressDeadlineSeconds"]
            .as_u64()
            .unwrap_or(600);
        let since = newest.map_or(&Value::Null, |set| &set["metadata"]["creationTimestamp"]);
        let since = since
            .as_str()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let spent = since.map_or(0, |since| {
            world.clock().now().as_second() - since.as_second()
        });
        let spent = u64::try_from(spent).unwrap_or(0);
        let was_complete = progress.is_some_and(|p| p["reason"] == "NewReplicaSetAvailable");
        if spent > limit && !was_complete {
            (bit, reason) = ("False", "ProgressDeadlineExceeded");
            message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        } else if was_complete && updated == wanted_count {
            // A pod that is not ready for a while does not undo a finished roll-out.
            (reason, message) = (
                "NewReplicaSetAvailable",
                format!("ReplicaSet \"{name}\" has successfully progressed."),
            );
        } else {
            next = Next::After(std::time::Duration::from_secs(
                limit.saturating_sub(spent) + 1,
            ));
        }
    }
    set_condition(&mut status, "Progressing", bit, reason, &message, &now);
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let old = super::condition(&deployment, condition["type"].as_str().unwrap_or_default());
        let same = old.is_some_and(|old| {
            old["status"] == condition["status"] && old["reason"] == condition["reason"]
        });
        condition["lastUpdateTime"] = match old {
            Some(old) if same => old["lastUpdateTime"].clone(),
            _ => json!(now),
        };
    }
    put_status(world, &DEPLOYMENTS, &deployment, status).await?;
    if deployment["metadata"]["annotations"][REVISION].is_null() || newest.is_none() {
        let number = newest.map_or(last + 1, |set| revision(set));
        let patch = json!({"metadata": {"annotations": {REVISION: number.to_string()}}});
        match world
            .patch_merge(&DEPLOYMENTS, &key.namespace, &key.name, patch)
            .await
        {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(next)
}

/// Where Deployments count their roll-outs.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// How many replicas must be available for a Deployment to be.
fn minimum(deployment: &Value, wanted: u64) -> u64 {
    let unavailable = &deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"];
    let most = match unavailable {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::String(text) => {
            let percent: u64 = text.trim_end_matches('%').parse().unwrap_or(0);
            wanted * percent / 100
        }
        _ => 0,
    };
    wanted.saturating_sub(most)
}

async fn replica_set(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(set) = world.find(&REPLICA_SETS, &key.namespace, &key.name) else {
        return Ok(Next::Wait);
    };
    let mut pods = controlled(world, &PODS, &set);
    pods.retain(|pod| is_active(pod));
    let wanted = replicas(&set);
    if lives(&set) {
        for _ in pods.len()..wanted {
            let mut pod = pod_of(&set);
            pod["metadata"]["generateName"] = json!(format!("{}-", key.name));
            pods.push(create_pod(world, &set, pod, "replicaset-controller").await?);
        }
        if pods.len() > wanted {
            // Those that serve stay.
            pods.sort_by_key(|pod| Reverse(is_ready(pod)));
            for pod in pods.split_off(wanted) {
                delete_object(world, &PODS, &pod).await?;
            }
        }
    }
    let ready = pods.iter().filter(|pod| is_ready(pod)).count() as u64;
    let mut status = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": pods.len(),
    });
    counts(
        &mut status,
        &[
            ("fullyLabeledReplicas", pods.len() as u64),
            ("readyReplicas", ready),
            ("availableReplicas", ready),
        ],
    );
    put_status(world, &REPLICA_SETS, &set, status).await?;
    Ok(Next::Wait)
}

async fn stateful_set(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(set) = world.find(&STATEFUL_SETS, &key.namespace, &key.name) else {
        return Ok(Next::Wait);
    };
    let pods = controlled(world, &PODS, &set);
    let wanted = replicas(&set);
    let hash = super::ids::short_hash(&set["spec"]["template"].to_string());
    let revision = format!("{}-{hash}", key.name);
    let parallel = set["spec"]["podManagementPolicy"] == "Parallel";
    let on_delete = set["spec"]["updateStrategy"]["type"] == "OnDelete";
    let named = |name: &str| pods.iter().find(|pod| Key::of(pod).name == name);
    let is_new =
        |pod: &Value| pod["metadata"]["labels"]["controller-revision-hash"] == revision.as_str();
    let mut failure = None;
    if lives(&set) {
        let mut waiting = false;
        for ordinal in 0..wanted {
            let name = format!("{}-{ordinal}", key.name);
            match named(&name) {
                None => {
                    if let Err(error) = stateful_pod(world, &set, ordinal, &name, &revision).await {
                        failure = Some(error);
                    }
                    waiting = true;
                }
                Some(pod) if !lives(pod) => waiting = true,
                Some(pod)
                    if matches!(
                        pod["status"]["phase"].as_str(),
                        Some("Failed" | "Succeeded")
                    ) =>
                {
                    delete_object(world, &PODS, pod).await?;
                    waiting = true;
                }
                Some(pod) if !is_ready(pod) => waiting = true,
                Some(_) => {}
            }
            if waiting && !parallel {
                break;
            }
        }
        let mut extra: Vec<_> = pods
            .iter()
            .filter(|pod| lives(pod) && ordinal(pod) >= wanted)
            .collect();
        extra.sort_by_key(|pod| Reverse(ordinal(pod)));
        if let Some(pod) = extra.first() {
            delete_object(world, &PODS, pod).await?;
        } else if !on_delete {
            // One outdated pod at a time is replaced, from the last on; those that do not work first of all.
            let mut old: Vec<_> = pods
                .iter()
                .filter(|pod| lives(pod) && !is_new(pod))
                .collect();
            old.sort_by_key(|pod| (is_ready(pod), Reverse(ordinal(pod))));
            if let Some(pod) = old.first().filter(|pod| !waiting || !is_ready(pod)) {
                delete_object(world, &PODS, pod).await?;
            }
        }
    }
    let pods: Vec<_> = controlled(world, &PODS, &set)
        .into_iter()
        .filter(|pod| is_active(pod))
        .collect();
    let ready = pods.iter().filter(|pod| is_ready(pod)).count() as u64;
    let updated = pods.iter().filter(|pod| is_new(pod)).count() as u64;
    let all_new = updated == pods.len() as u64;
    let current = if all_new || set["status"]["currentRevision"].is_null() {
        json!(revision)
    } else {
        set["status"]["currentRevision"].clone()
    };
    let mut status = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": pods.len(), "availableReplicas": ready,
        "currentRevision": current, "updateRevision": revision, "collisionCount": 0,
    });
    let current_count = if all_new {
        updated
    } else {
        pods.len() as u64 - updated
    };
    counts(
        &mut status,
        &[
            ("readyReplicas", ready),
            ("updatedReplicas", updated),
            ("currentReplicas", current_count),
        ],
    );
    put_status(world, &STATEFUL_SETS, &set, status).await?;
    match failure {
        Some(error) if !error.is_already_exists() => Err(error),
        _ => Ok(Next::Wait),
    }
}

fn ordinal(pod: &Value) -> usize {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    name.rsplit_once('-')
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(usize::MAX)
}

async fn stateful_pod(
    world: &World,
    set: &Value,
    ordinal: usize,
    name: &str,
    revision: &str,
) -> Result<(), ApiError> {
    let key = Key::of(set);
    let mut pod = pod_of(set);
    pod["metadata"]["name"] = json!(name);
    for (label, value) in [
        ("statefulset.kubernetes.io/pod-name", name.to_owned()),
        ("apps.kubernetes.io/pod-index", ordinal.to_string()),
        ("controller-revision-hash", revision.to_owned()),
    ] {
        // A name that is no label value is refused by the API server, and so it is here.
        pod["metadata"]["labels"][label] = json!(value);
    }
    pod["spec"]["hostname"] = json!(name);
    if let Some(subdomain) = set["spec"]["serviceName"]
        .as_str()
        .filter(|text| !text.is_empty())
    {
        pod["spec"]["subdomain"] = json!(subdomain);
    }
    for template in set["spec"]["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let volume = template["metadata"]["name"].as_str().unwrap_or_default();
        let claim = format!("{volume}-{name}");
        if world
            .find(&PERSISTENT_VOLUME_CLAIMS, &key.namespace, &claim)
            .is_none()
        {
            world
                .create(json!({
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "metadata": {"namespace": key.namespace, "name": claim, "labels": set["spec"]["selector"]["matchLabels"]},
                    "spec": template["spec"],
                }))
                .await?;
        }
        if !pod["spec"]["volumes"].is_array() {
            pod["spec"]["volumes"] = json!([]);
        }
        if let Some(volumes) = pod["spec"]["volumes"].as_array_mut() {
            volumes.retain(|other| other["name"] != volume);
            volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}));
        }
    }
    create_pod(world, set, pod, "statefulset-controller")
        .await
        .map(drop)
}

async fn daemon_set(world: &World, key: &Key) -> Result<Next, ApiError> {
    let Some(set) = world.find(&DAEMON_SETS, &key.namespace, &key.name) else {
        return Ok(Next::Wait);
    };
    let mut pods = controlled(world, &PODS, &set);
    pods.retain(|pod| is_active(pod));
    if lives(&set) && pods.is_empty() {
        let mut pod = pod_of(&set);
        pod["metadata"]["generateName"] = json!(format!("{}-", key.name));
        pods.push(create_pod(world, &set, pod, "daemonset-controller").await?);
    }
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let status = json!({
        "observedGeneration": set["metadata"]["generation"], "currentNumberScheduled": pods.len(),
        "desiredNumberScheduled": 1, "numberAvailable": ready, "numberMisscheduled": 0, "numberReady": ready,
        "updatedNumberScheduled": pods.len(),
    });
    put_status(world, &DAEMON_SETS, &set, status).await?;
    Ok(Next::Wait)
}
