//! The kubelet: gives each pod a task that runs its containers, and ends it with the pod.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Change;
use super::delete::DeleteOptions;
use super::podrun;
use super::registry::resources::PODS;
use super::runtime::LogSink;
use super::store::{Expect, Key, version_of};
use super::verbs::WriteOptions;
use super::world::World;

/// Marks pods that stand for something else and have no containers to run; see [`World::stand_in_pod`].
pub(super) const STAND_IN: &str = "reference.kubeflow.org/stand-in";

/// How many runs of a container keep their log.
const LOGS: usize = 2;

/// Asks a pod's task to end within a grace period (of the world's clock).
pub(super) type End = Option<Duration>;

struct Handle {
    end: watch::Sender<End>,
    logs: HashMap<String, Vec<LogSink>>,
}

/// What the kubelet knows of its pods, by uid.
#[derive(Default)]
pub(super) struct Kubelet(Mutex<HashMap<String, Handle>>);

impl Kubelet {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Handle>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The log of a container, or of its run before the present one.
    pub(super) fn log(&self, uid: &str, container: &str, previous: bool) -> Option<LogSink> {
        self.with(|pods| {
            let logs = pods.get(uid)?.logs.get(container)?;
            let index = logs.len().checked_sub(if previous { 2 } else { 1 })?;
            logs.get(index).cloned()
        })
    }

    /// A fresh log for another run of a container.
    pub(super) fn new_log(&self, uid: &str, container: &str) -> LogSink {
        let log = LogSink::default();
        self.with(|pods| {
            if let Some(pod) = pods.get_mut(uid) {
                let logs = pod.logs.entry(container.to_owned()).or_default();
                logs.push(log.clone());
                if logs.len() > LOGS {
                    logs.remove(0);
                }
            }
        });
        log
    }
}

/// Starts the kubelet.
pub(super) fn start(world: &World) {
    let (_, pods, mut changes) = world.store().snapshot(&PODS, None);
    let task_world = world.clone();
    world.spawn(async move {
        let world = task_world;
        for pod in pods {
            see(&world, &pod).await;
        }
        while let Some(event) = changes.recv().await {
            if event.change == Change::Deleted {
                forget(&world, &event.object);
            } else {
                see(&world, &event.object).await;
            }
        }
    });
}

fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Looks at a pod that is new or changed.
async fn see(world: &World, pod: &Value) {
    let metadata = &pod["metadata"];
    let stand_in = metadata["annotations"][STAND_IN] == "true";
    let known = world.kubelet().with(|pods| pods.contains_key(uid(pod)));
    if !metadata["deletionTimestamp"].is_null() {
        let grace =
            Duration::from_secs(metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0));
        if known {
            world.kubelet().with(|pods| {
                if let Some(handle) = pods.get(uid(pod)) {
                    handle.end.send_replace(Some(grace));
                }
            });
        } else {
            finish(world, pod).await;
        }
        return;
    }
    let fresh = pod["spec"]["nodeName"].is_null() && pod["status"]["phase"] == "Pending";
    if known || stand_in || !fresh {
        return;
    }
    let (end, ended) = watch::channel(None);
    let handle = Handle {
        end,
        logs: HashMap::new(),
    };
    world
        .kubelet()
        .with(|pods| pods.insert(uid(pod).to_owned(), handle));
    let task_world = world.clone();
    let pod = pod.clone();
    world.spawn(async move { podrun::run(task_world, pod, ended).await });
}

/// Removes a pod whose containers have ended.
pub(super) async fn finish(world: &World, pod: &Value) {
    let key = Key::of(pod);
    // Another pod may have the name by now.
    if world
        .find(&PODS, &key.namespace, &key.name)
        .is_none_or(|now| now["metadata"]["uid"] != uid(pod))
    {
        return;
    }
    world.network().forget(&key.namespace, &key.name);
    let Ok(target) = world.stored(&PODS, &key.namespace, &key.name) else {
        return;
    };
    let delete = DeleteOptions {
        grace: Some(0),
        uid: Some(uid(pod).to_owned()),
        ..DeleteOptions::default()
    };
    let options = WriteOptions {
        admission: false,
        ..WriteOptions::default()
    };
    // It may have been removed by force meanwhile.
    drop(world.write_end(&target, &delete, &options).await);
}

/// Ends what is left of a pod that is gone.
fn forget(world: &World, pod: &Value) {
    let key = Key::of(pod);
    world.network().forget(&key.namespace, &key.name);
    let handle = world.kubelet().with(|pods| pods.remove(uid(pod)));
    if let Some(handle) = handle {
        handle.end.send_replace(Some(Duration::ZERO));
        for log in handle.logs.values().flatten() {
            log.close();
        }
    }
}

/// Edits a pod as only its kubelet does: without admission, whatever others write. Nothing happens when it is gone or
/// another one has its name.
pub(super) fn edit(world: &World, key: &Key, uid: &str, edit: impl Fn(&mut Value)) {
    loop {
        let Some(current) = world.store().read(&PODS, key) else {
            return;
        };
        if current["metadata"]["uid"] != uid {
            return;
        }
        let mut pod = Value::clone(&current);
        edit(&mut pod);
        if pod == *current {
            return;
        }
        let expect = Expect::Version(version_of(&current));
        if world.store().put(&PODS, key, expect, pod).is_ok() {
            return;
        }
    }
}

impl World {
    /// Creates a running, ready pod that stands for a server of this process: each port leads to a socket. Services
    /// that select its labels, port-forward and proxies reach it like any pod.
    pub async fn stand_in_pod(
        &self,
        namespace: &str,
        name: &str,
        labels: &Value,
        ports: &[(u16, std::net::SocketAddr)],
    ) -> Result<(), super::ApiError> {
        let declared: Vec<Value> = ports
            .iter()
            .map(|(port, _)| json!({"containerPort": port}))
            .collect();
        for (port, address) in ports {
            self.register_endpoint(namespace, name, *port, *address);
        }
        self.create(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "labels": labels, "annotations": {STAND_IN: "true"}},
            "spec": {"containers": [{"name": "main", "image": "reference", "ports": declared}]},
        }))
        .await?;
        let now = self.stamp();
        let address = self.next_pod_address();
        let pod = self.get(&PODS, namespace, name)?;
        edit(self, &Key::new(namespace, name), uid(&pod), |pod| {
            let conditions: Vec<Value> = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                "PodScheduled"]
            .iter()
            .map(|kind| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": now}))
            .collect();
            pod["spec"]["nodeName"] = json!(super::bootstrap::NODE);
            pod["status"] = json!({
                "phase": "Running", "qosClass": "BestEffort", "startTime": now, "hostIP": "127.0.0.1",
                "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions,
                "containerStatuses": [{"name": "main", "image": "reference", "imageID": "reference", "ready": true,
                    "started": true, "restartCount": 0, "lastState": {}, "state": {"running": {"startedAt": now}}}],
            });
        });
        Ok(())
    }
}
