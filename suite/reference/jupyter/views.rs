//! What the web application shows.

use serde_json::{Value, json};

use super::{
    super::kube::resources::{EVENTS, NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PODS, STORAGE_CLASSES},
    App, Fields, NOTEBOOKS, PODDEFAULTS, Refusal, STOPPED, pod_of, refuse,
};

/// For how many seconds a notebook of which nothing is known is taken for one that comes.
const COMING: i64 = 10;

impl App {
    pub(super) fn namespaces(&self) -> Fields {
        self.may("list", &NAMESPACES, "v1", "")?;
        let names: Vec<Value> = self
            .world
            .list(&NAMESPACES, None)
            .iter()
            .map(|n| n["metadata"]["name"].clone())
            .collect();
        Ok(json!({"namespaces": names}))
    }

    pub(super) fn storage_classes(&self) -> Value {
        let classes = self.world.list(&STORAGE_CLASSES, None);
        let names: Vec<&Value> = classes.iter().map(|c| &c["metadata"]["name"]).collect();
        json!({"storageClasses": names})
    }

    pub(super) fn default_class(&self) -> Value {
        let classes = self.world.list(&STORAGE_CLASSES, None);
        let found = classes.iter().find(|class| {
            class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"]
                == "true"
        });
        let name = found.map_or(json!(""), |class| class["metadata"]["name"].clone());
        json!({"defaultStorageClass": name})
    }

    pub(super) fn claims(&self, namespace: &str) -> Fields {
        self.may("list", &PERSISTENT_VOLUME_CLAIMS, "v1", namespace)?;
        let claims = self.world.list(&PERSISTENT_VOLUME_CLAIMS, Some(namespace));
        let mut claims: Vec<Value> = claims
            .iter()
            .map(|claim| {
                let spec = &claim["spec"];
                json!({
                    "name": claim["metadata"]["name"],
                    "size": spec["resources"]["requests"]["storage"],
                    "mode": spec["accessModes"][0],
                })
            })
            .collect();
        if self.has("lists-claims") {
            claims.clear();
        }
        if self.has("lists-claims:size") {
            for claim in &mut claims {
                claim["size"] = json!("0");
            }
        }
        Ok(json!({"pvcs": claims}))
    }

    pub(super) fn pod_defaults(&self, namespace: &str) -> Fields {
        self.may("list", &PODDEFAULTS, "v1alpha1", namespace)?;
        let mut shown = Vec::new();
        for default in self.world.list(&PODDEFAULTS, Some(namespace)) {
            let labels = default["spec"]["selector"]["matchLabels"].as_object();
            let Some(label) = labels.and_then(|labels| labels.keys().next()) else {
                return Err(broken());
            };
            let mut default = (*default).clone();
            default["label"] = json!(label);
            let said = default["spec"]["desc"].clone();
            default["desc"] = if said.is_null() || self.has("lists-configurations:words") {
                default["metadata"]["name"].clone()
            } else {
                said
            };
            shown.push(default);
        }
        if self.has("lists-configurations") {
            shown.clear();
        }
        Ok(json!({"poddefaults": shown}))
    }

    pub(super) fn notebooks(&self, namespace: &str) -> Fields {
        self.may("list", &NOTEBOOKS, "v1beta1", namespace)?;
        let mut shown = Vec::new();
        for notebook in self.world.list(&NOTEBOOKS, Some(namespace)) {
            shown.push(self.row(&notebook)?);
        }
        if self.has("lists-notebooks") {
            shown.clear();
        }
        Ok(json!({"notebooks": shown}))
    }

    /// A notebook as the list shows it.
    fn row(&self, notebook: &Value) -> Fields {
        let (metadata, container) = (
            &notebook["metadata"],
            &notebook["spec"]["template"]["spec"]["containers"][0],
        );
        let requests = &container["resources"]["requests"];
        let Some(mounts) = container["volumeMounts"].as_array() else {
            return Err(broken());
        };
        if requests["cpu"].is_null() || requests["memory"].is_null() {
            return Err(broken());
        }
        let image = container["image"].as_str().unwrap_or_default();
        let kind = &metadata["annotations"]["notebooks.kubeflow.org/server-type"];
        let active = &metadata["annotations"]["notebooks.kubeflow.org/last-activity"];
        Ok(json!({
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "serverType": kind,
            "age": metadata["creationTimestamp"],
            "last_activity": active.as_str().unwrap_or_default(),
            "image": image,
            "shortImage": image.rsplit('/').next().unwrap_or_default(),
            "cpu": requests["cpu"],
            "memory": requests["memory"],
            "gpus": {"count": 0, "message": ""},
            "volumes": mounts.iter().map(|mount| mount["name"].clone()).collect::<Vec<_>>(),
            "status": self.status(notebook),
            "metadata": metadata,
        }))
    }

    pub(super) fn notebook(&self, namespace: &str, name: &str) -> Fields {
        self.may("get", &NOTEBOOKS, "v1beta1", namespace)?;
        let mut notebook = self.find(namespace, name)?;
        let status = self.status(&notebook);
        notebook["apiVersion"] = json!("kubeflow.org/v1beta1");
        notebook["processed_status"] = status;
        if self.has("shows-notebook") {
            notebook["spec"] = json!({});
        }
        Ok(json!({"notebook": notebook}))
    }

    pub(super) fn pod(&self, namespace: &str, name: &str) -> Fields {
        self.may("list", &PODS, "v1", namespace)?;
        let said = "No pod detected.";
        let pod = pod_of(&self.world, namespace, name).ok_or_else(|| refuse(404, said))?;
        if self.has("shows-pod") {
            return Err(refuse(404, said));
        }
        Ok(json!({"pod": pod}))
    }

    pub(super) fn events(&self, namespace: &str, name: &str) -> Fields {
        self.may("list", &EVENTS, "v1", namespace)?;
        let mut events = self.world.list(&EVENTS, Some(namespace));
        events.retain(|event| {
            let about = &event["involvedObject"];
            about["kind"] == "Notebook" && about["name"] == name
        });
        if self.has("shows-events") {
            events.clear();
        }
        let events: Vec<&Value> = events.iter().map(|event| &**event).collect();
        Ok(json!({"events": events}))
    }

    /// A notebook's status in a word and a sentence.
    fn status(&self, notebook: &Value) -> Value {
        let (phase, message) = self.phase(notebook);
        let phase = if self.has("lists-notebooks:phase") && phase == "ready" {
            "waiting"
        } else if self.has("shows-stopped") && phase == "stopped" {
            "ready"
        } else {
            phase
        };
        json!({"phase": phase, "message": message, "state": ""})
    }

    fn phase(&self, notebook: &Value) -> (&'static str, String) {
        let (metadata, status) = (&notebook["metadata"], &notebook["status"]);
        let empty = |value: &Value| match value {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        let made = metadata["creationTimestamp"].as_str();
        let made = made.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let age = made.map_or(0, |made| {
            self.world.clock().now().as_second() - made.as_second()
        });
        if empty(&status["containerState"]) && empty(&status["conditions"]) && age <= COMING {
            let said = "Waiting for StatefulSet to create the underlying Pod.";
            return ("waiting", said.to_owned());
        }
        let ready = status["readyReplicas"].as_i64().unwrap_or_default();
        if !metadata["annotations"][STOPPED].is_null() {
            return if ready == 0 {
                let said = "No Pods are currently running for this Notebook Server.";
                ("stopped", said.to_owned())
            } else {
                ("waiting", "Notebook Server is stopping.".to_owned())
            };
        }
        if !metadata["deletionTimestamp"].is_null() {
            return ("terminating", "Deleting this Notebook Server.".to_owned());
        }
        if ready == 1 {
            return ("ready", "Running".to_owned());
        }
        let waiting = &status["containerState"]["waiting"];
        if let Some(reason) = waiting["reason"].as_str() {
            if reason == "PodInitializing" {
                return ("waiting", reason.to_owned());
            }
            let none = "No available message for container state.";
            let message = waiting["message"].as_str().unwrap_or(none);
            return ("warning", format!("{reason}: {message}"));
        }
        let conditions = status["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        if let Some(condition) = conditions.find(|c| !c["reason"].is_null()) {
            let text = |key: &str| condition[key].as_str().unwrap_or_default();
            return (
                "warning",
                format!("{}: {}", text("reason"), text("message")),
            );
        }
        ("warning", self.warning(notebook))
    }

    /// What the last warning about a notebook says.
    fn warning(&self, notebook: &Value) -> String {
        let metadata = &notebook["metadata"];
        let namespace = metadata["namespace"].as_str();
        let events = self.world.list(&EVENTS, namespace);
        let about = events.iter().filter(|event| {
            let about = &event["involvedObject"];
            about["kind"] == "Notebook"
                && about["uid"] == metadata["uid"]
                && event["type"] == "Warning"
        });
        let last = about.max_by_key(|event| event["metadata"]["creationTimestamp"].to_string());
        let none = "Couldn't find any information for the status of this notebook.";
        last.and_then(|event| event["message"].as_str())
            .unwrap_or(none)
            .to_owned()
    }
}

/// What an exception in the program comes to.
fn broken() -> Refusal {
    refuse(500, "An error occured in the backend.")
}
