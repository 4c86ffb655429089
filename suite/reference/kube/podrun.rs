//! The life of one pod: scheduling, init containers, containers, restarts, readiness, status, end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::bootstrap::NODE;
use super::kubelet::{self, End};
use super::mounts::{self, Mounts};
use super::probe;
use super::registry::resources::NODES;
use super::runtime::{ContainerStart, PodNetwork, Running, Stopper};
use super::store::Key;
use super::world::World;

/// The first wait before an image is pulled again, of the world's clock; as of real kubelets.
const PULL_BACK_OFF: Duration = Duration::from_secs(10);
/// How much longer than the first wait the longest may be.
const MOST_BACK_OFF: u32 = 30;
/// The exit code of a container that was killed.
const KILLED: i32 = 137;

/// What one container is doing.
#[derive(Clone, Debug)]
enum State {
    Waiting {
        reason: &'static str,
        message: String,
    },
    Running {
        since: String,
    },
    Terminated {
        code: i32,
        since: String,
        until: String,
    },
}

impl State {
    fn waiting(reason: &'static str) -> Self {
        Self::Waiting {
            reason,
            message: String::new(),
        }
    }

    fn show(&self) -> Value {
        match self {
            Self::Waiting { reason, message } if message.is_empty() => {
                json!({"waiting": {"reason": reason}})
            }
            Self::Waiting { reason, message } => {
                json!({"waiting": {"reason": reason, "message": message}})
            }
            Self::Running { since } => json!({"running": {"startedAt": since}}),
            Self::Terminated { code, since, until } => json!({"terminated": {
                "exitCode": code, "reason": if *code == 0 { "Completed" } else { "Error" },
                "startedAt": since, "finishedAt": until,
            }}),
        }
    }
}

#[derive(Clone, Debug)]
struct Status {
    state: State,
    last: Option<State>,
    ready: bool,
    restarts: u32,
}

/// A pod being run.
struct Pod {
    world: World,
    key: Key,
    uid: String,
    object: Value,
    address: String,
    started: String,
    /// The init containers, then the containers.
    statuses: Mutex<Vec<Status>>,
    inits: usize,
    end: watch::Receiver<End>,
}

/// Runs a pod until it is done or deleted.
pub(super) async fn run(world: World, object: Value, end: watch::Receiver<End>) {
    let count = |list: &str| object["spec"][list].as_array().map_or(0, Vec::len);
    let inits = count("initContainers");
    let first = if inits == 0 {
        "ContainerCreating"
    } else {
        "PodInitializing"
    };
    let status = Status {
        state: State::waiting(first),
        last: None,
        ready: false,
        restarts: 0,
    };
    let pod = Pod {
        key: Key::of(&object),
        uid: object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        address: world.next_pod_address(),
        started: world.stamp(),
        statuses: Mutex::new(vec![status; inits + count("containers")]),
        inits,
        end,
        object,
        world,
    };
    let ends = pod.ended();
    let alive = tokio::select! {
        () = pod.live() => true,
        () = ends => false,
    };
    let world = &pod.world;
    if alive {
        // A pod that is done stays until it is deleted.
        world.network().forget(&pod.key.namespace, &pod.key.name);
        pod.ended().await;
    }
    if world.is_stopped() {
        return;
    }
    pod.publish();
    kubelet::finish(world, &pod.object).await;
    mounts::remove(world, &pod.uid);
}

impl Pod {
    /// Returns when the pod's containers must have ended: when the grace of its deletion is over.
    async fn ended(&self) {
        let mut end = self.end.clone();
        let Ok(grace) = end.wait_for(Option::is_some).await.map(|grace| *grace) else {
            return;
        };
        // Containers that are still running get their grace; what waits needs none.
        let left = {
            let statuses = self.lock();
            statuses
                .iter()
                .any(|status| matches!(status.state, State::Running { .. }))
        };
        if left {
            self.event("Normal", "Killing", "Stopping containers").await;
            let running = async {
                let mut end = end.clone();
                // A second deletion may shorten the grace.
                let mut grace = grace.unwrap_or_default();
                loop {
                    tokio::select! {
                        () = self.world.clock().sleep(grace) => return,
                        changed = end.changed() => {
                            if changed.is_err() { return }
                            grace = (*end.borrow()).unwrap_or_default();
                        }
                    }
                }
            };
            running.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Status>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn event(&self, kind: &str, reason: &str, message: &str) {
        let component = if reason.contains("chedul") {
            "default-scheduler"
        } else {
            "kubelet"
        };
        self.world
            .event(&self.object, kind, reason, message, component)
            .await;
    }

    fn containers(&self) -> impl Iterator<Item = &Value> {
        ["initContainers", "containers"]
            .into_iter()
            .flat_map(|list| self.object["spec"][list].as_array().into_iter().flatten())
    }

    fn container(&self, index: usize) -> &Value {
        self.containers().nth(index).unwrap_or(&Value::Null)
    }

    fn set(&self, index: usize, change: impl FnOnce(&mut Status)) {
        if let Some(status) = self.lock().get_mut(index) {
            change(status);
        }
        self.publish();
    }

    /// From scheduling to the end of the last container; never returns while something may still run.
    async fn live(&self) {
        while let Some(cause) = self.unschedulable() {
            let now = self.world.stamp();
            kubelet::edit(&self.world, &self.key, &self.uid, |pod| {
                super::set_condition(
                    &mut pod["status"],
                    "PodScheduled",
                    "False",
                    "Unschedulable",
                    &cause,
                    &now,
                );
            });
            self.event("Warning", "FailedScheduling", &cause).await;
            self.world.clock().sleep(Duration::from_secs(10)).await;
        }
        self.publish();
        let assigned = format!(
            "Successfully assigned {}/{} to {NODE}",
            self.key.namespace, self.key.name
        );
        self.event("Normal", "Scheduled", &assigned).await;
        let mounts = self.mount().await;
        let deadline = self.object["spec"]["activeDeadlineSeconds"].as_u64();
        let expires = async {
            match deadline {
                Some(seconds) => self.world.clock().sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.work(&mounts) => {}
            () = expires => {
                let now = self.world.stamp();
                for status in self.lock().iter_mut() {
                    status.ready = false;
                    if let State::Running { since } = &status.state {
                        status.state = State::Terminated { code: KILLED, since: since.clone(), until: now.clone() };
                    }
                }
                self.publish();
                kubelet::edit(&self.world, &self.key, &self.uid, |pod| {
                    pod["status"]["phase"] = json!("Failed");
                    pod["status"]["reason"] = json!("DeadlineExceeded");
                    pod["status"]["message"] = json!("Pod was active on the node longer than the specified deadline");
                });
            }
        }
    }

    async fn work(&self, mounts: &Mounts) {
        // Init containers that always restart go on beside the others.
        let mut sidecars = FuturesUnordered::new();
        for index in 0..self.inits {
            let sidecar = self.container(index)["restartPolicy"] == "Always";
            if sidecar {
                sidecars.push(self.keep_running(index, mounts));
                continue;
            }
            let code = tokio::select! {
                code = self.keep_running(index, mounts) => code,
                () = drain(&mut sidecars) => unreachable!("draining never ends"),
            };
            if code != 0 {
                // Only a pod that never restarts gets here: it has failed.
                self.publish();
                return;
            }
        }
        for status in self.lock().iter_mut().skip(self.inits) {
            if let State::Waiting { reason, .. } = &mut status.state {
                *reason = "ContainerCreating";
            }
        }
        let mut running: FuturesUnordered<_> = (self.inits..self.lock().len())
            .map(|index| self.keep_running(index, mounts))
            .collect();
        tokio::select! {
            () = async { while running.next().await.is_some() {} } => {}
            () = drain(&mut sidecars) => {}
        }
        self.publish();
    }

    /// Why no node takes the pod, if so.
    fn unschedulable(&self) -> Option<String> {
        let node = self.world.find(&NODES, "", NODE)?;
        let wanted = self.object["spec"]["nodeSelector"]
            .as_object()
            .into_iter()
            .flatten();
        if wanted
            .into_iter()
            .any(|(key, value)| node["metadata"]["labels"][key] != *value)
        {
            return Some(
                "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
                    .to_owned(),
            );
        }
        let allocatable = node["status"]["allocatable"].as_object()?;
        for container in self.containers() {
            for key in ["requests", "limits"] {
                let asked = container["resources"][key]
                    .as_object()
                    .into_iter()
                    .flatten();
                for (resource, _) in asked.filter(|(_, amount)| **amount != "0" && **amount != 0) {
                    if !allocatable.contains_key(resource) {
                        return Some(format!(
                            "0/1 nodes are available: 1 Insufficient {resource}."
                        ));
                    }
                }
            }
        }
        None
    }

    /// Prepares the volumes, as often as it takes until all that they need is there.
    async fn mount(&self) -> Mounts {
        let mut told = String::new();
        loop {
            match mounts::prepare(&self.world, &self.object) {
                Ok(mounts) => return mounts,
                Err(cause) => {
                    if told != cause {
                        self.event("Warning", "FailedMount", &cause).await;
                        told = cause;
                    }
                }
            }
            self.world.clock().sleep(Duration::from_secs(1)).await;
        }
    }

    /// Runs a container as often as the restart policy wants; returns its last exit code.
    async fn keep_running(&self, index: usize, mounts: &Mounts) -> i32 {
        let policy = self.object["spec"]["restartPolicy"]
            .as_str()
            .unwrap_or("Always");
        let always = policy == "Always" && index >= self.inits
            || self.container(index)["restartPolicy"] == "Always";
        let mut crashes = 0;
        loop {
            let (run, stopper) = self.begin(index, mounts).await;
            let began = self.world.clock().now();
            let code = self.supervise(index, run, &stopper).await;
            if !always && (code == 0 || policy == "Never") {
                return code;
            }
            if self.end.borrow().is_some() {
                // A pod that is being deleted restarts nothing.
                std::future::pending::<()>().await;
            }
            let lasted = self.world.clock().now().duration_since(began);
            crashes = if lasted.as_secs() > 600 {
                1
            } else {
                crashes + 1
            };
            // The first restart is immediate, as of real kubelets.
            if crashes > 1 {
                let first = self.world.options().crash_back_off;
                let factor = 2_u32.saturating_pow(crashes - 2).min(MOST_BACK_OFF);
                let wait = first.saturating_mul(factor);
                let name = self.container(index)["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let message = format!(
                    "back-off {}s restarting failed container={name} pod={}_{}({})",
                    wait.as_secs(),
                    self.key.name,
                    self.key.namespace,
                    self.uid
                );
                self.set(index, |status| {
                    status.last = Some(status.state.clone());
                    status.state = State::Waiting {
                        reason: "CrashLoopBackOff",
                        message: message.clone(),
                    };
                });
                self.event("Warning", "BackOff", &message).await;
                self.world.clock().sleep(wait).await;
            }
            self.set(index, |status| {
                if matches!(status.state, State::Terminated { .. }) {
                    status.last = Some(status.state.clone());
                }
                status.restarts += 1;
            });
        }
    }

    /// Starts a container, as often as it takes until its image and its configuration are there.
    async fn begin(&self, index: usize, mounts: &Mounts) -> (Running, Stopper) {
        let container = self.container(index);
        let name = container["name"].as_str().unwrap_or_default();
        let image = container["image"].as_str().unwrap_or_default();
        let mut pulls = 0;
        loop {
            let environment =
                mounts::environment(&self.world, &self.object, container, &self.address);
            let env = match environment {
                Ok(env) => env,
                Err(cause) => {
                    self.set(index, |status| {
                        status.state = State::Waiting {
                            reason: "CreateContainerConfigError",
                            message: cause.clone(),
                        };
                    });
                    self.event("Warning", "Failed", &format!("Error: {cause}"))
                        .await;
                    self.world.clock().sleep(Duration::from_secs(2)).await;
                    continue;
                }
            };
            let stopper = Stopper::new();
            let start = ContainerStart {
                namespace: self.key.namespace.clone(),
                pod: self.key.name.clone(),
                pod_uid: self.uid.clone(),
                name: name.to_owned(),
                image: image.to_owned(),
                command: mounts::expanded(&container["command"], &env),
                args: mounts::expanded(&container["args"], &env),
                working_dir: container["workingDir"].as_str().map(str::to_owned),
                ports: container["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|port| {
                        port["containerPort"]
                            .as_u64()
                            .and_then(|n| u16::try_from(n).ok())
                    })
                    .collect(),
                volumes: mounts.of(container, &env),
                env,
                network: PodNetwork {
                    network: self.world.network().clone(),
                    namespace: self.key.namespace.clone(),
                    pod: self.key.name.clone(),
                },
                log: self.world.kubelet().new_log(&self.uid, name),
                stop: stopper.signal(),
            };
            let log = start.log.clone();
            let result = match &self.world.options().runtime {
                Some(runtime) => runtime.start(start),
                None => Err(super::ImageError {
                    image: image.to_owned(),
                    cause: "this world runs no containers".to_owned(),
                }),
            };
            match result {
                Ok(run) => {
                    let started = async move {
                        let code = run.await;
                        log.close();
                        code
                    };
                    self.event(
                        "Normal",
                        "Pulled",
                        &format!("Container image \"{image}\" already present on machine"),
                    )
                    .await;
                    self.event("Normal", "Created", &format!("Created container: {name}"))
                        .await;
                    self.event("Normal", "Started", &format!("Started container {name}"))
                        .await;
                    return (Box::pin(started), stopper);
                }
                Err(error) => {
                    let message = error.to_string();
                    self.set(index, |status| {
                        status.state = State::Waiting {
                            reason: "ErrImagePull",
                            message: message.clone(),
                        };
                    });
                    self.event("Warning", "Failed", &message).await;
                    self.event("Warning", "Failed", "Error: ErrImagePull").await;
                    let wait = PULL_BACK_OFF
                        .saturating_mul(2_u32.saturating_pow(pulls).min(MOST_BACK_OFF));
                    pulls += 1;
                    // The back-off shows when the next attempt is refused by it, a moment after the failure.
                    let moment = Duration::from_secs(1);
                    self.world.clock().sleep(moment).await;
                    let message =
                        format!("Back-off pulling image \"{image}\": ErrImagePull: {message}");
                    self.set(index, |status| {
                        status.state = State::Waiting {
                            reason: "ImagePullBackOff",
                            message: message.clone(),
                        };
                    });
                    self.event("Normal", "BackOff", &message).await;
                    self.world.clock().sleep(wait.saturating_sub(moment)).await;
                }
            }
        }
    }

    /// Waits for a started container to end, and watches its readiness meanwhile.
    async fn supervise(&self, index: usize, mut run: Running, stopper: &Stopper) -> i32 {
        let since = self.world.stamp();
        let container = self.container(index).clone();
        let probed = !container["readinessProbe"].is_null() || !container["startupProbe"].is_null();
        self.set(index, |status| {
            status.state = State::Running {
                since: since.clone(),
            };
            status.ready = !probed && index >= self.inits;
        });
        let becomes_ready = async {
            if probed {
                let network = self.world.network();
                probe::succeeds(&self.world, network, &self.key, &container).await;
                self.set(index, |status| status.ready = true);
            }
            std::future::pending::<()>().await;
        };
        let asked = async {
            let mut end = self.end.clone();
            // An error means that the pod is gone, which is an end, too.
            drop(end.wait_for(Option::is_some).await);
            stopper.stop();
            std::future::pending::<()>().await;
        };
        let code = tokio::select! {
            code = &mut run => code,
            () = becomes_ready => unreachable!("pends for ever"),
            () = asked => unreachable!("pends for ever"),
        };
        let until = self.world.stamp();
        self.set(index, |status| {
            status.ready = false;
            status.state = State::Terminated {
                code,
                since: since.clone(),
                until,
            };
        });
        // The last container of a pod that is being deleted ends the grace.
        if self.end.borrow().is_some() && self.idle() {
            kubelet::finish(&self.world, &self.object).await;
        }
        code
    }

    fn idle(&self) -> bool {
        let statuses = self.lock();
        !statuses
            .iter()
            .any(|status| matches!(status.state, State::Running { .. }))
    }

    /// Writes the pod's status.
    fn publish(&self) {
        let statuses = self.lock().clone();
        let now = self.world.stamp();
        kubelet::edit(&self.world, &self.key, &self.uid, |pod| {
            pod["spec"]["nodeName"] = json!(NODE);
            let qos = pod["status"]["qosClass"].clone();
            let mut status = json!({"conditions": pod["status"]["conditions"]});
            if !status["conditions"].is_array() {
                status["conditions"] = json!([]);
            }
            self.summarize(&mut status, &statuses, &now);
            status["qosClass"] = qos;
            for key in ["reason", "message"] {
                if !pod["status"][key].is_null() {
                    status[key] = pod["status"][key].clone();
                }
            }
            if pod["status"]["reason"] == "DeadlineExceeded" {
                status["phase"] = json!("Failed");
            }
            pod["status"] = status;
        });
    }

    fn summarize(&self, status: &mut Value, statuses: &[Status], now: &str) {
        let (inits, mains) = statuses.split_at(self.inits);
        let policy = self.object["spec"]["restartPolicy"]
            .as_str()
            .unwrap_or("Always");
        let names: Vec<&str> = self
            .containers()
            .map(|c| c["name"].as_str().unwrap_or_default())
            .collect();
        let initialized = inits
            .iter()
            .enumerate()
            .all(|(index, init)| match &init.state {
                State::Terminated { code, .. } => *code == 0,
                State::Running { .. } => self.container(index)["restartPolicy"] == "Always",
                State::Waiting { .. } => false,
            });
        let failed_init = policy == "Never"
            && inits
                .iter()
                .any(|init| matches!(init.state, State::Terminated { code, .. } if code != 0));
        let done = |status: &Status| match status.state {
            State::Terminated { code, .. } => {
                policy == "Never" || (policy == "OnFailure" && code == 0)
            }
            _ => false,
        };
        let good = |status: &Status| matches!(status.state, State::Terminated { code: 0, .. });
        // One container that has never been started holds the whole pod back.
        let begun = mains
            .iter()
            .all(|main| !matches!(main.state, State::Waiting { .. }) || main.last.is_some());
        let phase = if failed_init {
            "Failed"
        } else if !mains.is_empty() && mains.iter().all(done) {
            if mains.iter().all(good) {
                "Succeeded"
            } else {
                "Failed"
            }
        } else if initialized && begun {
            "Running"
        } else {
            "Pending"
        };
        let unready: Vec<&str> = mains
            .iter()
            .zip(&names[self.inits..])
            .filter(|(main, _)| !main.ready)
            .map(|(_, name)| *name)
            .collect();
        let ready = unready.is_empty() && initialized;
        let bit = |value: bool| if value { "True" } else { "False" };
        let (reason, message) = match phase {
            "Succeeded" => ("PodCompleted", String::new()),
            "Failed" => ("PodFailed", String::new()),
            _ if !ready => (
                "ContainersNotReady",
                format!("containers with unready status: [{}]", unready.join(" ")),
            ),
            _ => ("", String::new()),
        };
        let mut set = |kind: &str, holds: bool, reason: &str, message: &str| {
            super::set_condition(status, kind, bit(holds), reason, message, now);
        };
        set(
            "PodReadyToStartContainers",
            !matches!(phase, "Succeeded" | "Failed"),
            "",
            "",
        );
        let init_reason = if initialized {
            ""
        } else {
            "ContainersNotInitialized"
        };
        let incomplete = if initialized {
            String::new()
        } else {
            format!(
                "containers with incomplete status: [{}]",
                names[..self.inits].join(" ")
            )
        };
        set(
            "Initialized",
            initialized,
            if phase == "Succeeded" {
                "PodCompleted"
            } else {
                init_reason
            },
            &incomplete,
        );
        set("Ready", ready, reason, &message);
        set("ContainersReady", ready, reason, &message);
        set("PodScheduled", true, "", "");
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastProbeTime"] = Value::Null;
        }
        let show = |(status, container): (&Status, &Value)| {
            let running = matches!(status.state, State::Running { .. });
            let image = container["image"].as_str().unwrap_or_default();
            let mut shown = json!({
                "name": container["name"], "image": image, "imageID": "", "ready": status.ready, "started": running,
                "restartCount": status.restarts, "state": status.state.show(),
                "lastState": status.last.as_ref().map_or_else(|| json!({}), State::show),
            });
            if !matches!(status.state, State::Waiting { .. }) {
                let id = super::ids::uid_of(
                    "container",
                    &format!("{}{}{}", self.uid, container["name"], status.restarts),
                );
                shown["containerID"] = json!(format!("kfconform://{}", id.replace('-', "")));
                shown["imageID"] =
                    json!(format!("{image}@sha256:{}", crate::digest::sha256(image)));
            }
            shown
        };
        let containers: Vec<&Value> = self.containers().collect();
        let shown: Vec<Value> = statuses.iter().zip(containers).map(show).collect();
        status["phase"] = json!(phase);
        status["hostIP"] = json!("127.0.0.1");
        status["hostIPs"] = json!([{"ip": "127.0.0.1"}]);
        status["podIP"] = json!(self.address);
        status["podIPs"] = json!([{"ip": self.address}]);
        status["startTime"] = json!(self.started);
        if self.inits > 0 {
            status["initContainerStatuses"] = json!(shown[..self.inits]);
        }
        status["containerStatuses"] = json!(shown[self.inits..]);
    }
}

/// Lets futures run that are not expected to end.
async fn drain<F: Future<Output = i32>>(futures: &mut FuturesUnordered<F>) {
    while futures.next().await.is_some() {}
    std::future::pending::<()>().await;
}
