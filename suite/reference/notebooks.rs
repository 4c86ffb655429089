//! Notebooks, version 1: the notebook controller of Kubeflow 1.10 and 26.03, without Istio and without culling.
//!
//! Nothing but the schema of the custom resource definition judges a Notebook. The controller makes a StatefulSet and a
//! Service of it, puts both right when they drift, and copies the state of the pod into the status.

use std::{io, sync::LazyLock};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

use super::{
    Fault,
    kube::{
        ApiError, Crd, Key, Next, Resource, Watch, World,
        resources::{PODS, SERVICES, STATEFUL_SETS},
    },
};

const NOTEBOOKS: Resource = Resource::new("kubeflow.org", "notebooks");

/// Where the controller lives, and its image, whose tag tells the version.
const NAMESPACE: &str = "kubeflow";
const IMAGE: &str = "ghcr.io/kubeflow/kubeflow/notebook-controller:v1.10.0";

/// The annotation that stops a notebook, whatever its value.
const STOPPED: &str = "kubeflow-resource-stopped";
/// The port of the Service, and the one that it leads to unless the container names another.
const SERVING_PORT: u16 = 80;
const CONTAINER_PORT: u16 = 8888;

/// What this part of the reference can do wrong.
pub(super) const FAULTS: &[Fault] = &[
    Fault::wide(
        "notebooks/api/serves-notebooks",
        "Notebooks belong to no namespace",
        "no Notebook can be made in a namespace",
    ),
    Fault::new(
        "notebooks/api/status-subresource",
        "the status of a Notebook is written with the rest of it",
    ),
    Fault::new(
        "notebooks/api/serves-v1beta1",
        "v1 is the only version that is served",
    ),
    Fault::new(
        "notebooks/validation/containers-required",
        "a pod template needs no list of containers",
    ),
    Fault::new(
        "notebooks/validation/containers-not-empty",
        "the list of containers may be empty",
    ),
    Fault::new(
        "notebooks/validation/container-name",
        "a container needs no name",
    ),
    Fault::new(
        "notebooks/validation/container-image",
        "a container needs no image",
    ),
    Fault::new(
        "notebooks/validation/field-types",
        "the command of a container may be anything",
    ),
    Fault::new(
        "notebooks/validation/quantities",
        "amounts of resources may be any words",
    ),
    Fault::new(
        "notebooks/validation/unknown-fields",
        "a spec may have any fields",
    ),
    Fault::new(
        "notebooks/server/becomes-ready",
        "ready replicas are never counted",
    ),
    Fault::new(
        "notebooks/server/reports-ready-condition",
        "conditions are never reported",
    ),
    Fault::new(
        "notebooks/server/reports-running-container",
        "the state of a container that runs is not reported",
    ),
    Fault::new(
        "notebooks/server/one-replica",
        "each notebook has two servers",
    ),
    Fault::new(
        "notebooks/server/owns-its-parts",
        "the Service names its Notebook as an owner that does not control it",
    ),
    Fault::new("notebooks/server/service-port", "the Service has port 8888"),
    Fault::wide(
        "notebooks/server/service-port:target",
        "the Service leads to a port on which nothing listens",
        "nothing answers through the Service",
    ),
    Fault::new(
        "notebooks/server/own-container-port",
        "the Service leads to port 8888 whatever the container names",
    ),
    Fault::new(
        "notebooks/server/answers-through-service",
        "the Service selects pods by a label that they do not have",
    ),
    Fault::wide(
        "notebooks/server/knows-its-prefix",
        "NB_PREFIX leaves out the namespace",
        "a server serves under the path that it is told",
    ),
    Fault::new(
        "notebooks/server/knows-its-prefix:slash",
        "NB_PREFIX ends with a slash",
    ),
    Fault::new(
        "notebooks/server/keeps-environment",
        "NB_PREFIX replaces the variables of the user",
    ),
    Fault::new(
        "notebooks/server/keeps-pod-template",
        "all notebooks get the same resources",
    ),
    Fault::new(
        "notebooks/server/labels-reach-pod",
        "the labels of a Notebook stay with it",
    ),
    Fault::new(
        "notebooks/server/annotations-reach-pod",
        "the annotations of a Notebook stay with it",
    ),
    Fault::new(
        "notebooks/server/pod-names-notebook",
        "pods lack the label notebook-name",
    ),
    Fault::new(
        "notebooks/server/reports-waiting",
        "the state of a container that waits is not reported",
    ),
    Fault::new(
        "notebooks/server/reports-ended-container",
        "a container that ended is reported as running",
    ),
    Fault::new(
        "notebooks/lifecycle/stops-when-annotated",
        "the annotation changes nothing on a notebook that runs",
    ),
    Fault::new(
        "notebooks/lifecycle/keeps-stopped-notebook",
        "a Notebook that is stopped is deleted",
    ),
    Fault::new(
        "notebooks/lifecycle/reports-stopped",
        "the status is written only while there is a pod",
    ),
    Fault::new(
        "notebooks/lifecycle/starts-again",
        "a StatefulSet without replicas is left alone",
    ),
    Fault::new(
        "notebooks/lifecycle/follows-template",
        "a StatefulSet keeps its first template",
    ),
    Fault::new(
        "notebooks/lifecycle/starts-stopped",
        "a Notebook that is made stopped is started",
    ),
    Fault::new(
        "notebooks/lifecycle/repairs-service",
        "a Service is made once",
    ),
    Fault::new(
        "notebooks/lifecycle/removes-its-parts",
        "the Service has a second owner that outlives the Notebook",
    ),
];

/// The CRD as upstream ships it (full schema, descriptions left out).
static CRD: LazyLock<Value> = LazyLock::new(|| {
    let text = crate::fixtures::text("crds/notebooks.kubeflow.org.json")
        .expect("the CRD of Notebooks is embedded");
    serde_json::from_str(text).expect("the embedded CRD is JSON")
});

static READ_CRD: LazyLock<Crd> =
    LazyLock::new(|| Crd::from_value(CRD.clone()).expect("the embedded CRD is a CRD"));

/// Puts Notebooks into a world.
pub(super) fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        install_crd(world)?;
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
        Ok(())
    }
    .boxed()
}

/// Installs the CRD, without what faults leave out of it.
fn install_crd(world: &World) -> io::Result<()> {
    let faults: Vec<&str> = world
        .faults()
        .iter()
        .filter(|id| id.starts_with("notebooks/api/") || id.starts_with("notebooks/validation/"))
        .collect();
    if faults.is_empty() {
        world.install(&READ_CRD);
        return Ok(());
    }
    let mut crd = CRD.clone();
    for fault in faults {
        spoil(&mut crd, fault);
    }
    world.install(&Crd::from_value(crd).map_err(io::Error::other)?);
    Ok(())
}

/// Takes out of the CRD what a fault leaves out.
fn spoil(crd: &mut Value, fault: &str) {
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    match fault {
        "notebooks/api/serves-notebooks" => crd["spec"]["scope"] = json!("Cluster"),
        "notebooks/api/serves-v1beta1" => {
            if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
                versions.retain(|version| version["name"] == "v1");
            }
        }
        _ => {}
    }
    let versions = crd["spec"]["versions"].as_array_mut();
    for version in versions.into_iter().flatten() {
        if fault == "notebooks/api/status-subresource" {
            version["subresources"] = json!({});
        }
        let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        if fault == "notebooks/validation/unknown-fields" {
            spec["x-kubernetes-preserve-unknown-fields"] = json!(true);
        }
        let pod = &mut spec["properties"]["template"]["properties"]["spec"];
        match fault {
            "notebooks/validation/containers-required" => pod["required"] = json!([]),
            "notebooks/validation/containers-not-empty" => {
                pod["properties"]["containers"]["minItems"] = json!(0);
            }
            _ => {}
        }
        let container = &mut pod["properties"]["containers"]["items"];
        match fault {
            "notebooks/validation/container-name" => container["required"] = json!(["image"]),
            "notebooks/validation/container-image" => container["required"] = json!(["name"]),
            "notebooks/validation/field-types" => {
                container["properties"]["command"] = anything.clone();
            }
            "notebooks/validation/quantities" => {
                for field in ["limits", "requests"] {
                    container["properties"]["resources"]["properties"][field] = anything.clone();
                }
            }
            _ => {}
        }
    }
}

/// What an installation of the controller consists of beside the CRD.
fn installation() -> Vec<Value> {
    let labels =
        json!({"app": "notebook-controller", "kustomize.component": "notebook-controller"});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        super::deployment(
            NAMESPACE,
            "notebook-controller-deployment",
            &labels,
            &json!({"name": "manager", "image": IMAGE}),
        ),
    ]
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
        if !notebook["metadata"]["deletionTimestamp"].is_null() {
            return Ok(Next::Wait);
        }
        let stopped = !notebook["metadata"]["annotations"][STOPPED].is_null();
        if stopped && self.deviates_on_stop(&notebook).await? {
            return Ok(Next::Wait);
        }
        let set = self.keep_stateful_set(&notebook).await?;
        self.keep_service(&notebook, set.is_none()).await?;
        self.report(&notebook, set.as_ref()).await?;
        Ok(Next::Wait)
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
        let template = &wanted["spec"]["template"]["spec"];
        // Labels and annotations of the pods stay as they were made: stock Kubeflow does not change them either.
        if !covers(&found["spec"]["template"]["spec"], template)
            && !self.has("lifecycle/follows-template")
        {
            right["spec"]["template"]["spec"] = template.clone();
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
        let replicas = if !metadata["annotations"][STOPPED].is_null() && !ignored {
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
        if pod["securityContext"].is_null() {
            pod["securityContext"] = json!({"fsGroup": 100});
        }
        let container = &mut pod["containers"][0];
        if container["workingDir"].is_null() {
            container["workingDir"] = json!("/home/jovyan");
        }
        if container["ports"].is_null() {
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
        if self.has("lifecycle/removes-its-parts") {
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
