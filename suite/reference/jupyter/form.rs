//! What the form for a new notebook is filled in with, and the Notebook that comes of it.

use serde_json::{Value, json};

use super::{
    super::kube::{WriteOptions, resources::PERSISTENT_VOLUME_CLAIMS},
    App, Fields, NOTEBOOKS, Refusal, refuse,
};

/// The kinds of servers.
const SERVER_TYPES: [&str; 3] = ["jupyter", "group-one", "group-two"];

impl App {
    /// What an administrator has set for the form, as upstream ships it.
    pub(super) fn config(&self) -> Value {
        if self.has("offers-defaults") {
            return json!({});
        }
        let images = |names: &[&str]| {
            let images = names
                .iter()
                .map(|name| format!("ghcr.io/kubeflow/kubeflow/notebook-servers/{name}:latest"));
            let options: Vec<String> = images.collect();
            json!({"value": options[0], "options": options})
        };
        let open = |value: Value| json!({"value": value, "readOnly": false});
        json!({
            "affinityConfig": {"options": [], "readOnly": false, "value": ""},
            "allowCustomImage": true,
            "configurations": open(json!([])),
            "cpu": {"limitFactor": "1.2", "readOnly": false, "value": "0.5"},
            "dataVolumes": open(json!([])),
            "environment": open(json!({})),
            "gpus": open(json!({"num": "none", "vendor": "", "vendors": [
                {"limitsKey": "nvidia.com/gpu", "uiName": "NVIDIA"},
                {"limitsKey": "amd.com/gpu", "uiName": "AMD"},
                {"limitsKey": "habana.ai/gaudi", "uiName": "Intel Gaudi"},
            ]})),
            "hideRegistry": true,
            "hideTag": false,
            "image": images(&["jupyter-scipy", "jupyter-pytorch-full", "jupyter-pytorch-cuda-full",
                "jupyter-tensorflow-full", "jupyter-tensorflow-cuda-full"]),
            "imageGroupOne": images(&["codeserver-python"]),
            "imageGroupTwo": images(&["rstudio-tidyverse"]),
            "imagePullPolicy": open(json!("IfNotPresent")),
            "memory": {"limitFactor": "1.2", "readOnly": false, "value": "1.0Gi"},
            "shm": open(json!(true)),
            "tolerationGroup": {"options": [], "readOnly": false, "value": ""},
            "workspaceVolume": open(json!({"mount": "/home/jovyan", "newPvc": {
                "metadata": {"name": "{notebook-name}-workspace"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
            }})),
        })
    }

    /// Makes a notebook, and the claims that are asked for with it.
    pub(super) async fn create(&self, namespace: &str, body: &Value) -> Fields {
        let name = match &body["name"] {
            Value::Null if !self.has("refuses-incomplete") => {
                let said = "Parameter 'name' is missing from the request's body.";
                return Err(refuse(400, said));
            }
            name => name.as_str().unwrap_or("unnamed"),
        };
        let (mut notebook, claims) = self.notebook_of(namespace, name, body)?;
        self.may("create", &NOTEBOOKS, "v1beta1", namespace)?;
        self.spoil(&mut notebook);
        let dry = WriteOptions {
            dry_run: true,
            ..WriteOptions::default()
        };
        let exists = self.find(namespace, name).is_ok();
        if exists && self.has("refuses-duplicates") {
            return Ok(json!({"message": "Notebook created successfully."}));
        }
        self.world.create_with(notebook.clone(), &dry).await?;
        for claim in &claims {
            self.may("create", &PERSISTENT_VOLUME_CLAIMS, "v1", namespace)?;
            self.world.create_with(claim.clone(), &dry).await?;
        }
        for claim in claims {
            if !self.has("creates-workspace") {
                self.world.create(claim).await?;
            }
        }
        self.world.create(notebook).await?;
        Ok(json!({"message": "Notebook created successfully."}))
    }

    /// The Notebook of a filled-in form, and its new claims.
    fn notebook_of(
        &self,
        namespace: &str,
        name: &str,
        body: &Value,
    ) -> Result<(Value, Vec<Value>), Refusal> {
        let unnamed = self.has("refuses-incomplete:image") && body["image"].is_null();
        let image = if body["customImage"].is_string() {
            given(body, "customImage")?
        } else if unnamed {
            json!("none")
        } else {
            given(body, "image")?
        };
        let policy = given(body, "imagePullPolicy")?;
        let kind = given(body, "serverType")?;
        if !SERVER_TYPES.iter().any(|known| kind == *known) {
            let kind = kind.as_str().unwrap_or_default();
            return Err(refuse(400, format!("'{kind}' is not a valid server type")));
        }
        let (cpu, memory) = (given(body, "cpu")?, given(body, "memory")?);
        let number = |value: &Value, unit: &str| {
            let text = value.as_str().unwrap_or_default().trim_end_matches(unit);
            text.parse::<f64>()
                .map_err(|_| refuse(500, "An error occured in the backend."))
        };
        let limit = |field: &str, amount: f64, unit: &str| match &body[field] {
            Value::String(limit) if !limit.is_empty() => json!(limit),
            _ => json!(format!("{}{unit}", amount * 1.2)),
        };
        let limits = json!({
            "cpu": limit("cpuLimit", number(&cpu, "")?, ""),
            "memory": limit("memoryLimit", number(&memory, "Gi")?, "Gi"),
        });
        for field in ["gpus", "tolerationGroup", "affinityConfig"] {
            given(body, field)?;
        }
        let mut labels = json!({"app": name});
        for label in given(body, "configurations")?
            .as_array()
            .into_iter()
            .flatten()
        {
            if let Some(label) = label.as_str() {
                labels[label] = json!("true");
            }
        }
        let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
        if given(body, "shm")? == true {
            volumes.push(json!({"name": "dshm", "emptyDir": {"medium": "Memory"}}));
            mounts.push(json!({"name": "dshm", "mountPath": "/dev/shm"}));
        }
        let mut claims = Vec::new();
        let data = given(body, "datavols")?;
        let data = data.as_array().into_iter().flatten();
        let workspace = Some(&body["workspace"]).filter(|volume| !volume.is_null());
        for volume in workspace.into_iter().chain(data) {
            let claim = &volume["newPvc"];
            let source = if claim.is_null() {
                volume["existingSource"].clone()
            } else {
                json!({"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}})
            };
            let mut own = source.clone();
            let claim_name = &source["persistentVolumeClaim"]["claimName"];
            let volume_name = claim_name.as_str().unwrap_or("existing-source");
            own["name"] = json!(volume_name);
            mounts.push(json!({"name": volume_name, "mountPath": volume["mount"]}));
            volumes.push(own);
            if !claim.is_null() {
                claims.push(json!({
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "metadata": {"name": claim["metadata"]["name"], "namespace": namespace},
                    "spec": claim["spec"],
                }));
            }
        }
        let notebook = json!({
            "apiVersion": "kubeflow.org/v1beta1", "kind": "Notebook",
            "metadata": {
                "name": name, "namespace": namespace, "labels": labels,
                "annotations": {
                    "notebooks.kubeflow.org/server-type": kind,
                    "notebooks.kubeflow.org/creator": self.user.clone().unwrap_or_default(),
                },
            },
            "spec": {"template": {"spec": {
                "serviceAccountName": "default-editor",
                "containers": [{
                    "name": name, "image": image, "imagePullPolicy": policy, "env": [], "volumeMounts": mounts,
                    "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": limits},
                }],
                "volumes": volumes,
                "tolerations": [],
            }}},
        });
        Ok((notebook, claims))
    }

    /// What faults make of a Notebook.
    fn spoil(&self, notebook: &mut Value) {
        let annotations = &mut notebook["metadata"]["annotations"];
        if self.has("names-creator") {
            annotations["notebooks.kubeflow.org/creator"] =
                json!("system:serviceaccount:kubeflow:jupyter-web-app-service-account");
        }
        if self.has("applies-configurations") {
            let app = notebook["metadata"]["labels"]["app"].clone();
            notebook["metadata"]["labels"] = json!({"app": app});
        }
        let pod = &mut notebook["spec"]["template"]["spec"];
        if self.has("creates-workspace:mount") {
            pod["volumes"] = json!([]);
            pod["containers"][0]["volumeMounts"] = json!([]);
        }
        let container = &mut pod["containers"][0];
        if self.has("creates-as-asked") {
            container["image"] = self.config()["image"]["value"].clone();
        }
        if self.has("creates-as-asked:resources") {
            container["resources"]["requests"] = json!({"cpu": "0.5", "memory": "1.0Gi"});
        }
    }
}

/// A value that the form must have.
fn given(body: &Value, field: &str) -> Fields {
    match &body[field] {
        Value::Null => Err(refuse(400, format!("No value provided for: {field}"))),
        value => Ok(value.clone()),
    }
}
