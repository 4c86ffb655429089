//! Notebooks, version 1: the notebook controller of Kubeflow 1.10 and 26.03, without Istio and with culling.
//!
//! Nothing but the schema of the custom resource definition judges a Notebook. The controller makes a StatefulSet and a
//! Service of it, puts both right when they drift, copies the state of the pod into the status, reissues the pod's events
//! and stops notebooks whose kernels are idle.

mod culler;
mod events;
mod faults;
mod schema;

use std::io;

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

pub(super) use faults::FAULTS;

use super::kube::{
    ApiError, Key, Next, Resource, Watch, World,
    resources::{PERSISTENT_VOLUME_CLAIMS, PODS, SERVICES, STATEFUL_SETS},
};

const NOTEBOOKS: Resource = Resource::new("kubeflow.org", "notebooks");

/// Where the controller lives, and its image, whose tag tells the version.
const NAMESPACE: &str = "kubeflow";
const IMAGE: &str = "ghcr.io/kubeflow/kubeflow/notebook-controller:v1.10.0";
/// The ConfigMap that holds its settings.
const SETTINGS: &str = "notebook-controller-config";

/// The annotation that stops a notebook, whatever its value.
const STOPPED: &str = "kubeflow-resource-stopped";
/// The port of the Service, and the one that it leads to unless the container names another.
const SERVING_PORT: u16 = 80;
const CONTAINER_PORT: u16 = 8888;

/// Puts Notebooks into a world.
pub(super) fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        schema::install(world)?;
        for object in installation() {
            world.apply(object).await.map_err(io::Error::other)?;
        }
        let watches = vec![
            Watch::on(&NOTEBOOKS),
            Watch::owned(&STATEFUL_SETS, "Notebook"),
            Watch::owned(&SERVICES, "Notebook"),
            // A pod has the name of its StatefulSet, which is its Notebook's.
            Watch::owned(&PODS, "StatefulSet"),
        ];
        world.controller("notebooks", watches, |world: World, key: Key| async move {
            Controller { world, key }.reconcile().await
        });
        events::install(world);
        culler::install(world);
        Ok(())
    }
    .boxed()
}

/// What an installation of the controller consists of beside the CRD.
fn installation() -> Vec<Value> {
    let labels =
        json!({"app": "notebook-controller", "kustomize.component": "notebook-controller"});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": NAMESPACE, "name": SETTINGS},
            "data": {
                "USE_ISTIO": "false", "ADD_FSGROUP": "true", "ENABLE_CULLING": "true",
                "CULL_IDLE_TIME": culler::IDLE.to_string(), "IDLENESS_CHECK_PERIOD": culler::PERIOD.to_string(),
            },
        }),
        super::deployment(
            NAMESPACE,
            "notebook-controller-deployment",
            &labels,
            &json!({"name": "manager", "image": IMAGE, "env": environment()}),
        ),
    ]
}

/// The settings of the controller. As upstream has them they come from a ConfigMap, but for culling, which is off there.
fn environment() -> Value {
    let set = |key: &str| json!({"name": key, "valueFrom": {"configMapKeyRef": {"name": SETTINGS, "key": key}}});
    json!([
        set("USE_ISTIO"),
        set("ENABLE_CULLING"),
        set("CULL_IDLE_TIME"),
        set("IDLENESS_CHECK_PERIOD"),
        set("ADD_FSGROUP"),
    ])
}

/// One reconcile.
struct Controller {
    world: World,
    key: Key,
}

impl Controller {
    /// Whether a fault of this part is wanted.
    fn has(&self, fault: &str) -> bool {
        self.world.has_fault(&format!("notebooks/{fault}"))
    }

    async fn reconcile(&self) -> Result<Next, ApiError> {
        let Key { namespace, name } = &self.key;
        let Some(notebook) = self.world.find(&NOTEBOOKS, namespace, name) else {
            return Ok(Next::Wait);
        };
        if !notebook["metadata"]["deletionTimestamp"].is_null()
            || (name.len() > 40 && self.has("pod/takes-long-name"))
        {
            return Ok(Next::Wait);
        }
        let stopped = is_stopped(&notebook);
        if stopped && self.deviates_on_stop(&notebook).await? {
            return Ok(Next::Wait);
        }
        let set = self.keep_stateful_set(&notebook).await?;
        self.keep_service(&notebook, set.is_none()).await?;
        self.report(&notebook, set.as_ref()).await?;
        self.spoil_claims(&notebook).await?;
        Ok(Next::Wait)
    }

    /// Two faults that deal with the claims of a notebook, which are none of the controller's business.
    async fn spoil_claims(&self, notebook: &Value) -> Result<(), ApiError> {
        let Key { namespace, name } = &self.key;
        let volumes = notebook["spec"]["template"]["spec"]["volumes"].as_array();
        let claims = volumes
            .into_iter()
            .flatten()
            .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
        for claim in claims {
            if self.has("workspace/outlives-notebook") {
                let owned = json!({"metadata": {"ownerReferences": [owner(notebook)]}});
                self.world
                    .patch_merge(&PERSISTENT_VOLUME_CLAIMS, namespace, claim, owned)
                    .await?;
            }
            let pod = self.world.find(&PODS, namespace, &format!("{name}-0"));
            let idle = is_stopped(notebook) && pod.is_none();
            if idle && self.has("workspace/survives-stop:claim") {
                // The second look finds it gone.
                drop(
                    self.world
                        .delete(&PERSISTENT_VOLUME_CLAIMS, namespace, claim)
                        .await,
                );
            }
        }
        Ok(())
    }

    /// Two faults that deal with the annotation otherwise; true when there is nothing more to do.
    async fn deviates_on_stop(&self, notebook: &Value) -> Result<bool, ApiError> {
        let Key { namespace, name } = &self.key;
        let ran = self.world.find(&STATEFUL_SETS, namespace, name).is_some();
        if ran && self.has("lifecycle/keeps-stopped-notebook") {
            let ready = notebook["status"]["readyReplicas"] != 0;
            if ready {
                self.world.delete(&NOTEBOOKS, namespace, name).await?;
            }
            return Ok(ready);
        }
        if !ran && self.has("lifecycle/starts-stopped") {
            let start = json!({"metadata": {"annotations": {STOPPED: null}}});
            self.world
                .patch_merge(&NOTEBOOKS, namespace, name, start)
                .await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Makes the StatefulSet, or puts its replicas and its pods' spec right. The one that was there before is the answer.
    async fn keep_stateful_set(&self, notebook: &Value) -> Result<Option<Value>, ApiError> {
        let wanted = self.stateful_set(notebook);
        let found = self
            .world
            .find(&STATEFUL_SETS, &self.key.namespace, &self.key.name);
        let Some(found) = found else {
            self.world.create(wanted).await?;
            return Ok(None);
        };
        let found = (*found).clone();
        let mut right = found.clone();
        let starts = found["spec"]["replicas"] == 0 && wanted["spec"]["replicas"] != 0;
        if !(starts && self.has("lifecycle/starts-again")) {
            right["spec"]["replicas"] = wanted["spec"]["replicas"].clone();
        }
        let first = &found["spec"]["template"]["spec"];
        let mut template = wanted["spec"]["template"]["spec"].clone();
        let image = |of: &Value| of["containers"][0]["image"].clone();
        if self.has("lifecycle/follows-template") {
            let wanted = image(&template);
            template = first.clone();
            template["containers"][0]["image"] = wanted;
        }
        if self.has("lifecycle/follows-image") {
            template["containers"][0]["image"] = image(first);
        }
        // Labels and annotations of the pods stay as they were made: stock Kubeflow does not change them either.
        if !covers(first, &template) {
            right["spec"]["template"]["spec"] = template;
        }
        if right != found {
            self.world.update(right).await?;
        }
        Ok(Some(found))
    }

    fn stateful_set(&self, notebook: &Value) -> Value {
        let Key { namespace, name } = &self.key;
        let metadata = &notebook["metadata"];
        let set = self.world.find(&STATEFUL_SETS, namespace, name);
        let runs = set.is_some_and(|set| set["spec"]["replicas"] != 0);
        let ignored = runs && self.has("lifecycle/stops-when-annotated");
        let replicas = if is_stopped(notebook) && !ignored {
            0
        } else if self.has("server/one-replica") {
            2
        } else {
            1
        };
        let mut labels = json!({"statefulset": name});
        if !self.has("server/pod-names-notebook") {
            labels["notebook-name"] = json!(name);
        }
        if !self.has("server/labels-reach-pod") {
            for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
                labels[key] = value.clone();
            }
        }
        let mut annotations = json!({});
        if !self.has("server/annotations-reach-pod") {
            let copied = metadata["annotations"].as_object().into_iter().flatten();
            for (key, value) in
                copied.filter(|(k, _)| !k.contains("kubectl") && !k.contains("notebook"))
            {
                annotations[key] = value.clone();
            }
        }
        if self.has("pod-defaults/reach-notebooks") {
            annotations["poddefault.admission.kubeflow.org/exclude"] = json!("true");
        }
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {
                "namespace": namespace, "name": name, "ownerReferences": [owner(notebook)],
            },
            "spec": {
                "replicas": replicas,
                "serviceName": "",
                "selector": {"matchLabels": {"statefulset": name}},
                "template": {
                    "metadata": {"labels": labels, "annotations": annotations},
                    "spec": self.pod_spec(notebook),
                },
            },
        })
    }

    fn pod_spec(&self, notebook: &Value) -> Value {
        let Key { namespace, name } = &self.key;
        let mut pod = notebook["spec"]["template"]["spec"].clone();
        if pod["securityContext"].is_null() && !self.has("pod/shares-volumes") {
            pod["securityContext"] = json!({"fsGroup": 100});
        }
        if self.has("pod/runs-all-containers")
            && let Some(containers) = pod["containers"].as_array_mut()
        {
            containers.truncate(1);
        }
        self.spoil_workspace(notebook, &mut pod);
        let own = !self.has("pod/keeps-own-settings");
        let container = &mut pod["containers"][0];
        let named = !container["workingDir"].is_null();
        if (!named && !self.has("pod/starts-at-home")) || (named && !own) {
            container["workingDir"] = json!("/home/jovyan");
        }
        let named = !container["ports"].is_null();
        let own = !self.has("pod/keeps-own-settings:ports");
        if (!named && !self.has("pod/names-its-port")) || (named && !own) {
            container["ports"] = json!([
                {"name": "notebook-port", "containerPort": CONTAINER_PORT, "protocol": "TCP"},
            ]);
        }
        let prefix = if self.has("server/knows-its-prefix") {
            format!("/notebook/{name}")
        } else if self.has("server/knows-its-prefix:slash") {
            format!("/notebook/{namespace}/{name}/")
        } else {
            format!("/notebook/{namespace}/{name}")
        };
        let mut env = container["env"].as_array().cloned().unwrap_or_default();
        if self.has("server/keeps-environment") {
            env.clear();
        }
        if !env.iter().any(|variable| variable["name"] == "NB_PREFIX") {
            env.push(json!({"name": "NB_PREFIX", "value": prefix}));
        }
        container["env"] = json!(env);
        if self.has("server/keeps-pod-template") {
            container["resources"] = json!({"requests": {"cpu": "500m", "memory": "1Gi"}});
        }
        pod
    }

    /// One fault: a notebook that was stopped finds an empty directory in place of its claim.
    fn spoil_workspace(&self, notebook: &Value, pod: &mut Value) {
        if !self.has("workspace/survives-stop") {
            return;
        }
        let Key { namespace, name } = &self.key;
        let set = self.world.find(&STATEFUL_SETS, namespace, name);
        let was = set.map_or(Value::Null, |set| {
            set["spec"]["template"]["spec"]["volumes"].clone()
        });
        let volumes = pod["volumes"].as_array_mut().into_iter().flatten();
        for (index, volume) in volumes.enumerate() {
            let claimed = !volume["persistentVolumeClaim"].is_null();
            let taken = claimed && !was[index]["emptyDir"].is_null();
            if taken || (claimed && is_stopped(notebook)) {
                *volume = json!({"name": volume["name"], "emptyDir": {}});
            }
        }
    }

    /// Makes the Service, or puts its selector and ports right.
    async fn keep_service(&self, notebook: &Value, fresh: bool) -> Result<(), ApiError> {
        let Key { namespace, name } = &self.key;
        let wanted = self.service(notebook);
        let Some(found) = self.world.find(&SERVICES, namespace, name) else {
            if fresh || !self.has("lifecycle/repairs-service") {
                self.world.create(wanted).await?;
            }
            return Ok(());
        };
        if !covers(&found["spec"], &wanted["spec"]) {
            let mut right = (*found).clone();
            for field in ["selector", "ports"] {
                right["spec"][field] = wanted["spec"][field].clone();
            }
            self.world.update(right).await?;
        }
        Ok(())
    }

    fn service(&self, notebook: &Value) -> Value {
        let Key { namespace, name } = &self.key;
        let named =
            notebook["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
                .as_u64()
                .filter(|_| !self.has("server/own-container-port"));
        let unheard = u16::from(self.has("server/service-port:target"));
        let target = named.unwrap_or_else(|| u64::from(CONTAINER_PORT - unheard));
        let port = if self.has("server/service-port") {
            CONTAINER_PORT
        } else {
            SERVING_PORT
        };
        let label = if self.has("server/answers-through-service") {
            "app"
        } else {
            "statefulset"
        };
        let mut owners = vec![owner(notebook)];
        if self.has("server/owns-its-parts") {
            owners[0]["controller"] = json!(false);
        }
        let stays = is_stopped(notebook) && self.has("lifecycle/removes-stopped");
        if stays || self.has("lifecycle/removes-its-parts") {
            owners.extend(self.survivor());
        }
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": namespace, "name": name, "ownerReferences": owners},
            "spec": {
                "type": "ClusterIP",
                "selector": {label: name},
                "ports": [
                    {"name": format!("http-{name}"), "port": port, "targetPort": target, "protocol": "TCP"},
                ],
            },
        })
    }

    /// A reference to an owner that is there as long as the namespace.
    fn survivor(&self) -> Option<Value> {
        let accounts = Resource::new("", "serviceaccounts");
        let account = self.world.find(&accounts, &self.key.namespace, "default")?;
        Some(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "name": "default", "uid": account["metadata"]["uid"],
        }))
    }

    /// Copies the state of the pod into the status.
    async fn report(&self, notebook: &Value, set: Option<&Value>) -> Result<(), ApiError> {
        let Key { namespace, name } = &self.key;
        let pod = self.world.find(&PODS, namespace, &format!("{name}-0"));
        if pod.is_none() && self.has("lifecycle/reports-stopped") && set.is_some() {
            return Ok(());
        }
        let ready = set.map_or(&Value::Null, |set| &set["status"]["readyReplicas"]);
        let mut status = json!({
            "conditions": [],
            "readyReplicas": ready.as_i64().unwrap_or_default(),
            "containerState": {},
        });
        if let Some(pod) = pod.as_deref() {
            status["containerState"] = container_state(pod, name);
            status["conditions"] = conditions(pod);
        }
        self.spoil_status(&mut status);
        if notebook["status"] == status {
            return Ok(());
        }
        if self.has("api/status-subresource") {
            // There is none to write to.
            let patch = json!({"status": null});
            self.world
                .patch_merge(&NOTEBOOKS, namespace, name, patch)
                .await?;
            let patch = json!({"status": status});
            return self
                .world
                .patch_merge(&NOTEBOOKS, namespace, name, patch)
                .await
                .map(drop);
        }
        self.world
            .set_status(&NOTEBOOKS, namespace, name, status)
            .await
            .map(drop)
    }

    /// Leaves out of the status what faults leave out.
    fn spoil_status(&self, status: &mut Value) {
        if self.has("server/becomes-ready") {
            status["readyReplicas"] = json!(0);
        }
        if self.has("server/reports-ready-condition") {
            status["conditions"] = json!([]);
        }
        let state = &status["containerState"];
        let hidden = (!state["running"].is_null() && self.has("server/reports-running-container"))
            || (!state["waiting"].is_null() && self.has("server/reports-waiting"));
        let back_off = state["waiting"]["reason"] == "CrashLoopBackOff";
        let ended = back_off || !state["terminated"].is_null();
        if ended && self.has("server/reports-ended-container") {
            status["containerState"] = json!({"running": {"startedAt": self.world.stamp()}});
        } else if hidden && !back_off {
            status["containerState"] = json!({});
        }
    }
}

/// Whether a notebook is to have no pod.
fn is_stopped(notebook: &Value) -> bool {
    !notebook["metadata"]["annotations"][STOPPED].is_null()
}

/// The reference to a Notebook as its controller: stock Kubeflow writes the older version whatever was created.
fn owner(notebook: &Value) -> Value {
    let mut owner = super::kube::owner(notebook);
    owner["apiVersion"] = json!("kubeflow.org/v1beta1");
    owner
}

/// The state of the container that has the notebook's name; of no other one.
fn container_state(pod: &Value, name: &str) -> Value {
    pod["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|status| status["name"] == name)
        .map_or_else(|| json!({}), |status| status["state"].clone())
}

/// The pod's conditions, each with a time at which it was probed.
fn conditions(pod: &Value) -> Value {
    let mut conditions = pod["status"]["conditions"].clone();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        if condition["lastProbeTime"].is_null() {
            condition["lastProbeTime"] = condition["lastTransitionTime"].clone();
        }
        if let Some(fields) = condition.as_object_mut() {
            fields.retain(|key, value| key != "observedGeneration" && !value.is_null());
        }
    }
    if conditions.is_array() {
        conditions
    } else {
        json!([])
    }
}

/// Whether an object has all that is wanted of it; what the server filled in besides does not matter. Lists are
/// compared by place, and must be as long.
fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|f| covers(f, value))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| covers(f, w))
        }
        _ => found == wanted,
    }
}
