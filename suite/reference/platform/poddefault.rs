//! The webhook that puts what PodDefaults say into pods of a Profile's namespace, version 1.10.0.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value, json};

use super::super::kube::{
    AdmissionRequest, Denied, LabelSelector, Operation, Resource, World,
    resources::{NAMESPACES, PODS},
};

const PODDEFAULTS: Resource = Resource::new("kubeflow.org", "poddefaults");

/// The name of the webhook, as it stands in refusals.
pub(super) const WEBHOOK: &str = "admission-webhook-deployment.kubeflow.org";
/// The label of the namespaces that it looks at, and its value.
pub(super) const LABEL: (&str, &str) = ("app.kubernetes.io/part-of", "kubeflow-profile");
/// What its annotations begin with.
const ANNOTATION: &str = "poddefault.admission.kubeflow.org";

/// Registers the webhook.
pub(super) fn start(world: &World) {
    let hook_world = world.clone();
    let first_read = Arc::new(Mutex::new(HashMap::new()));
    world.mutating(&PODS, &[Operation::Create], move |request| {
        let (world, first_read) = (hook_world.clone(), first_read.clone());
        async move { apply(&world, request, &first_read) }
    });
}

/// PodDefaults as they were first read, by their uid: what a fault holds on to.
type FirstRead = Mutex<HashMap<String, Arc<Value>>>;

fn apply(
    world: &World,
    request: AdmissionRequest,
    first_read: &FirstRead,
) -> Result<Value, Denied> {
    let has = |fault: &str| world.has_fault(&format!("platform/poddefault/{fault}"));
    let namespace = world.find(&NAMESPACES, "", &request.namespace);
    let seen = namespace.is_some_and(|n| n["metadata"]["labels"][LABEL.0] == LABEL.1);
    let excluded = &request.object["metadata"]["annotations"][format!("{ANNOTATION}/exclude")];
    let excluded = *excluded == "true" && !has("honours-exclusion");
    if !seen || excluded {
        return Ok(request.object);
    }
    let everywhere = has("leaves-other-namespaces");
    let namespace = (!everywhere).then_some(request.namespace.as_str());
    let mut matching = world.list(&PODDEFAULTS, namespace);
    matching.retain(|default| {
        let mut selector = default["spec"]["selector"].clone();
        if has("selects-by-expression") {
            selector["matchExpressions"] = Value::Null;
        }
        let unlabelled =
            selector["matchLabels"].is_null() && selector["matchExpressions"].is_null();
        if has("selects-by-label") {
            // Only whether the labels are there, whatever their values.
            let labels = selector["matchLabels"].as_object();
            let keys: Vec<String> = labels.into_iter().flat_map(Map::keys).cloned().collect();
            for key in keys {
                selector["matchLabels"][&key] = request.object["metadata"]["labels"][&key].clone();
                if selector["matchLabels"][&key].is_null() {
                    return false;
                }
            }
        }
        !(unlabelled && has("selects-by-expression"))
            && LabelSelector::from_object(&selector).matches(&request.object)
    });
    matching.sort_by_key(|default| default["metadata"]["name"].to_string());
    if has("follows-updates") {
        let mut first_read = first_read.lock().unwrap_or_else(PoisonError::into_inner);
        for default in &mut matching {
            let uid = default["metadata"]["uid"].to_string();
            *default = first_read
                .entry(uid)
                .or_insert_with(|| default.clone())
                .clone();
        }
    }
    if matching.is_empty() {
        return Ok(request.object);
    }
    let mut merge = Merge {
        defaults: &matching,
        errors: Vec::new(),
        world,
    };
    let pod = merge.pod(request.object.clone());
    if merge.errors.is_empty() && has("merges-several") {
        merge.defaults = &matching[..1];
        return Ok(merge.pod(request.object));
    }
    if merge.errors.is_empty() {
        return Ok(pod);
    }
    let names: Vec<&str> = matching.iter().map(|default| name(default)).collect();
    let why = match merge.errors.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    Err(Denied::by(
        WEBHOOK,
        400,
        None,
        &format!(
            "conflict occurred while applying poddefaults: {} on pod: {} err: {why}",
            names.join(","),
            request.name,
        ),
    ))
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// What PodDefaults say is merged into a pod: what is new is added, what is the same stays once, what differs is an error.
struct Merge<'a> {
    defaults: &'a [Arc<Value>],
    errors: Vec<String>,
    world: &'a World,
}

impl Merge<'_> {
    fn has(&self, fault: &str) -> bool {
        self.world
            .has_fault(&format!("platform/poddefault/{fault}"))
    }

    fn pod(&mut self, mut pod: Value) -> Value {
        let spec = &mut pod["spec"];
        if !self.has("injects-volumes") {
            self.list(spec, "volumes", "volumes", "name", "volumes");
        }
        if !self.has("injects-scheduling") {
            self.list(spec, "tolerations", "tolerations", "key", "tolerations");
        }
        if !self.has("injects-scheduling:secrets") {
            self.list(
                spec,
                "imagePullSecrets",
                "imagePullSecrets",
                "name",
                "imagePullSecret",
            );
        }
        for (at, container) in spec["containers"]
            .as_array_mut()
            .into_iter()
            .flatten()
            .enumerate()
        {
            self.container(container, at);
        }
        for default in self.defaults {
            let spec = &default["spec"];
            if spec["automountServiceAccountToken"].is_boolean() {
                pod["spec"]["automountServiceAccountToken"] =
                    spec["automountServiceAccountToken"].clone();
            }
            let account = spec["serviceAccountName"]
                .as_str()
                .filter(|name| !name.is_empty());
            if let Some(account) = account.filter(|_| !self.has("sets-service-account")) {
                pod["spec"]["serviceAccountName"] = json!(account);
                pod["spec"]["serviceAccount"] = json!(account);
            }
        }
        for (field, fault) in [
            ("annotations", "injects-metadata:annotations"),
            ("labels", "injects-metadata"),
        ] {
            if !self.has(fault) {
                self.map(&mut pod["metadata"], field);
            }
        }
        let spec = &mut pod["spec"];
        if !self.has("adds-containers") {
            self.list(
                spec,
                "initContainers",
                "initContainers",
                "name",
                "containers",
            );
        }
        if !self.has("adds-containers:sidecars") {
            self.list(spec, "containers", "sidecars", "name", "containers");
        }
        if !self.has("marks-pods") {
            for default in self.defaults {
                let key = format!("{ANNOTATION}/poddefault-{}", name(default));
                if pod["metadata"]["annotations"].is_null() {
                    pod["metadata"]["annotations"] = json!({});
                }
                pod["metadata"]["annotations"][key] =
                    default["metadata"]["resourceVersion"].clone();
            }
        }
        pod
    }

    fn container(&mut self, container: &mut Value, at: usize) {
        if at == 0 || !self.has("injects-environment") {
            self.list(container, "env", "env", "name", "env");
        }
        if !self.has("injects-volumes:mount") {
            self.list(
                container,
                "volumeMounts",
                "volumeMounts",
                "name",
                "volume mounts",
            );
            self.paths(container);
        }
        for default in self.defaults {
            let spec = &default["spec"];
            let sources = spec["envFrom"].as_array().filter(|list| !list.is_empty());
            if let Some(sources) = sources.filter(|_| !self.has("injects-sources")) {
                let mut all = container["envFrom"].as_array().cloned().unwrap_or_default();
                all.extend(sources.iter().cloned());
                container["envFrom"] = json!(all);
            }
            for field in ["command", "args"] {
                let unset = container[field].is_null() || self.has("keeps-own-command");
                if unset && spec[field].is_array() && container["name"] != "istio-proxy" {
                    container[field] = spec[field].clone();
                }
            }
        }
    }

    /// Merges the list `from` of each PodDefault into the list `field` of the pod or container; `key` tells elements apart.
    fn list(&mut self, target: &mut Value, field: &str, from: &str, key: &str, what: &str) {
        let mut merged = target[field].as_array().cloned().unwrap_or_default();
        for default in self.defaults {
            for wanted in default["spec"][from].as_array().into_iter().flatten() {
                let found = merged.iter().find(|item| item[key] == wanted[key]);
                match found {
                    Some(same) if alike(same, wanted, from) => {
                        if self.has("keeps-identical-once") && from == "env" {
                            merged.push(wanted.clone());
                        }
                    }
                    Some(_) if from == "env" && self.has("refuses-conflict") => {}
                    Some(_) if from == "volumes" && self.has("refuses-volume-conflict") => {}
                    Some(_) => {
                        let at = wanted[key].as_str().unwrap_or_default();
                        self.errors.push(format!(
                            "merging {what} for {} has a conflict on {at}: \n\ndoes not match\n\n in container",
                            name(default)
                        ));
                    }
                    None => merged.push(wanted.clone()),
                }
            }
        }
        if !merged.is_empty() {
            target[field] = json!(merged);
        }
    }

    /// Two volumes in one place are a conflict, too.
    fn paths(&mut self, container: &Value) {
        let mounts: Vec<&Value> = container["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        for (index, mount) in mounts.iter().enumerate() {
            let earlier = mounts[..index]
                .iter()
                .find(|m| m["mountPath"] == mount["mountPath"]);
            if earlier.is_some() && !self.has("refuses-volume-conflict:path") {
                let said = |default: &&Arc<Value>| {
                    let own = default["spec"]["volumeMounts"].as_array();
                    own.is_some_and(|own| own.contains(mount))
                };
                let default = self.defaults.iter().find(said);
                self.errors.push(format!(
                    "merging volume mounts for {} has a conflict on mount path {}: \n\ndoes not match\n\n in container",
                    default.map(|d| name(d)).unwrap_or_default(),
                    mount["mountPath"].as_str().unwrap_or_default(),
                ));
            }
        }
    }

    /// Merges labels or annotations.
    fn map(&mut self, metadata: &mut Value, field: &str) {
        let mut merged = metadata[field].as_object().cloned().unwrap_or_default();
        for default in self.defaults {
            for (key, wanted) in default["spec"][field].as_object().into_iter().flatten() {
                match merged.get(key) {
                    Some(found) if found == wanted => {}
                    Some(found) => self.errors.push(format!(
                        "merging has conflict on {key}: \n{wanted}\ndoes not match\n{found}\n in pod"
                    )),
                    None => drop(merged.insert(key.clone(), wanted.clone())),
                }
            }
        }
        if !merged.is_empty() {
            metadata[field] = Value::Object(merged);
        }
    }
}

/// Whether an element is the same as one that is there, but for what Kubernetes itself fills in.
fn alike(found: &Value, wanted: &Value, from: &str) -> bool {
    if !matches!(from, "initContainers" | "sidecars") {
        return found == wanted;
    }
    let wanted = wanted.as_object().into_iter().flatten();
    wanted.into_iter().all(|(key, value)| found[key] == *value)
}
