//! The built-in resource types: their names, their defaults, and the few rules about them that matter here.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::registry::{Column, Resource, ResourceType, Version};
use super::status::FieldError;

/// One line of the table of types: group, version, plural, kind, short names, flags.
/// Flags: `n` namespaced, `s` status subresource, `c` scale subresource, `a` in category `all`.
type Line = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const TYPES: &[Line] = &[
    ("", "v1", "namespaces", "Namespace", "ns", "s"),
    ("", "v1", "pods", "Pod", "po", "nsa"),
    ("", "v1", "services", "Service", "svc", "nsa"),
    ("", "v1", "endpoints", "Endpoints", "ep", "n"),
    ("", "v1", "configmaps", "ConfigMap", "cm", "n"),
    ("", "v1", "secrets", "Secret", "", "n"),
    ("", "v1", "serviceaccounts", "ServiceAccount", "sa", "n"),
    ("", "v1", "events", "Event", "ev", "n"),
    (
        "",
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        "pvc",
        "ns",
    ),
    ("", "v1", "persistentvolumes", "PersistentVolume", "pv", "s"),
    ("", "v1", "nodes", "Node", "no", "s"),
    ("", "v1", "resourcequotas", "ResourceQuota", "quota", "ns"),
    ("", "v1", "limitranges", "LimitRange", "limits", "n"),
    ("apps", "v1", "deployments", "Deployment", "deploy", "nsca"),
    ("apps", "v1", "statefulsets", "StatefulSet", "sts", "nsca"),
    ("apps", "v1", "replicasets", "ReplicaSet", "rs", "nsca"),
    ("apps", "v1", "daemonsets", "DaemonSet", "ds", "nsa"),
    (
        "apps",
        "v1",
        "controllerrevisions",
        "ControllerRevision",
        "",
        "n",
    ),
    ("batch", "v1", "jobs", "Job", "", "nsa"),
    ("batch", "v1", "cronjobs", "CronJob", "cj", "nsa"),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "clusterroles",
        "ClusterRole",
        "",
        "",
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "clusterrolebindings",
        "ClusterRoleBinding",
        "",
        "",
    ),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", "", "n"),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "rolebindings",
        "RoleBinding",
        "",
        "n",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        "",
        "",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        "",
        "",
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd crds",
        "s",
    ),
    (
        "apiregistration.k8s.io",
        "v1",
        "apiservices",
        "APIService",
        "",
        "s",
    ),
    ("coordination.k8s.io", "v1", "leases", "Lease", "", "n"),
    (
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        "",
        "n",
    ),
    ("events.k8s.io", "v1", "events", "Event", "ev", "n"),
    (
        "networking.k8s.io",
        "v1",
        "ingresses",
        "Ingress",
        "ing",
        "ns",
    ),
    (
        "networking.k8s.io",
        "v1",
        "ingressclasses",
        "IngressClass",
        "",
        "",
    ),
    (
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
        "netpol",
        "n",
    ),
    (
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "pdb",
        "ns",
    ),
    (
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "hpa",
        "nsa",
    ),
    (
        "storage.k8s.io",
        "v1",
        "storageclasses",
        "StorageClass",
        "sc",
        "",
    ),
    (
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        "PriorityClass",
        "pc",
        "",
    ),
    (
        "node.k8s.io",
        "v1",
        "runtimeclasses",
        "RuntimeClass",
        "",
        "",
    ),
];

/// Name, type and path of a column.
type Cells = (&'static str, &'static str, &'static str);

/// Columns of tables for built-in types, by kind: name, type, path. Others show name and age.
const COLUMNS: &[(&str, &[Cells])] = &[
    ("Namespace", &[("Status", "string", ".status.phase")]),
    (
        "Pod",
        &[
            ("Ready", "string", "@ready"),
            ("Status", "string", "@reason"),
            ("Restarts", "string", "@restarts"),
        ],
    ),
    (
        "Deployment",
        &[
            ("Ready", "string", "@replicas"),
            ("Up-to-date", "integer", ".status.updatedReplicas"),
            ("Available", "integer", ".status.availableReplicas"),
        ],
    ),
    ("StatefulSet", &[("Ready", "string", "@replicas")]),
    (
        "ReplicaSet",
        &[
            ("Desired", "integer", ".spec.replicas"),
            ("Current", "integer", ".status.replicas"),
            ("Ready", "integer", ".status.readyReplicas"),
        ],
    ),
    (
        "Job",
        &[
            ("Status", "string", "@condition"),
            ("Completions", "string", "@completions"),
        ],
    ),
    (
        "CronJob",
        &[
            ("Schedule", "string", ".spec.schedule"),
            ("Suspend", "boolean", ".spec.suspend"),
        ],
    ),
    (
        "Service",
        &[
            ("Type", "string", ".spec.type"),
            ("Cluster-IP", "string", ".spec.clusterIP"),
            ("Port(s)", "string", "@ports"),
        ],
    ),
    ("ConfigMap", &[("Data", "integer", "@data")]),
    (
        "Secret",
        &[("Type", "string", ".type"), ("Data", "integer", "@data")],
    ),
    (
        "PersistentVolumeClaim",
        &[
            ("Status", "string", ".status.phase"),
            ("Volume", "string", ".spec.volumeName"),
            ("Capacity", "string", ".status.capacity.storage"),
        ],
    ),
    (
        "Node",
        &[
            ("Status", "string", "@node"),
            ("Version", "string", ".status.nodeInfo.kubeletVersion"),
        ],
    ),
    (
        "Event",
        &[
            ("Type", "string", ".type"),
            ("Reason", "string", ".reason"),
            ("Message", "string", ".message"),
        ],
    ),
    ("RoleBinding", &[("Role", "string", "@role")]),
    ("ClusterRoleBinding", &[("Role", "string", "@role")]),
];

/// The built-in types; made once per process.
pub(super) fn types() -> &'static [Arc<ResourceType>] {
    static TABLE: OnceLock<Vec<Arc<ResourceType>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        TYPES
            .iter()
            .map(|line| Arc::new(resource_type(line)))
            .collect()
    })
}

fn resource_type(line: &Line) -> ResourceType {
    let &(group, version, plural, kind, short, flags) = line;
    let columns = COLUMNS
        .iter()
        .find(|(of, _)| *of == kind)
        .into_iter()
        .flat_map(|(_, columns)| *columns)
        .map(|(name, kind, path)| Column {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            path: (*path).to_owned(),
        });
    ResourceType {
        resource: Resource::new(group, plural),
        kind: kind.to_owned(),
        singular: kind.to_lowercase(),
        short_names: short.split_whitespace().map(str::to_owned).collect(),
        categories: if flags.contains('a') {
            vec!["all".to_owned()]
        } else {
            Vec::new()
        },
        namespaced: flags.contains('n'),
        versions: vec![Version {
            name: version.to_owned(),
            served: true,
            schema: None,
            status: flags.contains('s'),
            scale: flags.contains('c'),
            columns: columns.collect(),
        }],
        storage: version.to_owned(),
        custom: false,
    }
}

/// Whether the server counts generations of this type.
pub(super) fn has_generation(kind: &ResourceType) -> bool {
    kind.custom
        || matches!(
            kind.resource.group(),
            "apps" | "batch" | "networking.k8s.io" | "apiextensions.k8s.io" | "policy"
        )
        || kind.resource.group() == "admissionregistration.k8s.io"
        || kind.resource.plural() == "pods"
}

/// Whether a successful DELETE answers with the object and not with a Status.
pub(super) fn returns_deleted(kind: &ResourceType) -> bool {
    kind.resource.group().is_empty()
        && matches!(
            kind.resource.plural(),
            "pods"
                | "services"
                | "serviceaccounts"
                | "persistentvolumeclaims"
                | "persistentvolumes"
                | "resourcequotas"
                | "namespaces"
        )
}

fn set(object: &mut Value, key: &str, preset: impl Into<Value>) {
    if object.get(key).is_none_or(Value::is_null) {
        object[key] = preset.into();
    }
}

/// Sets the defaults of a built-in type. `ip` makes a cluster address for the types that need one.
pub(super) fn default(kind: &ResourceType, object: &mut Value, ip: impl FnOnce() -> String) {
    match kind.kind.as_str() {
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            if !object["metadata"]["labels"].is_object() {
                object["metadata"]["labels"] = json!({});
            }
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            if !object["spec"].is_object() {
                object["spec"] = json!({});
            }
            if object["metadata"]["deletionTimestamp"].is_null() {
                set(&mut object["spec"], "finalizers", json!(["kubernetes"]));
                set(object, "status", json!({}));
                set(&mut object["status"], "phase", "Active");
            }
        }
        "Pod" if object["spec"].is_object() => {
            pod_spec(&mut object["spec"], "Always");
            set(&mut object["spec"], "serviceAccountName", "default");
            set(object, "status", json!({}));
            set(&mut object["status"], "phase", "Pending");
            set(&mut object["status"], "qosClass", "BestEffort");
        }
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" if object["spec"].is_object() => {
            let spec = &mut object["spec"];
            template(spec, "Always");
            if kind.kind != "DaemonSet" {
                set(spec, "replicas", 1);
            }
            match kind.kind.as_str() {
                "Deployment" => {
                    set(spec, "revisionHistoryLimit", 10);
                    set(spec, "progressDeadlineSeconds", 600);
                    set(
                        spec,
                        "strategy",
                        json!({
                            "type": "RollingUpdate",
                            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
                        }),
                    );
                }
                "StatefulSet" => {
                    set(spec, "revisionHistoryLimit", 10);
                    set(spec, "podManagementPolicy", "OrderedReady");
                    set(
                        spec,
                        "updateStrategy",
                        json!({
                            "type": "RollingUpdate", "rollingUpdate": {"partition": 0},
                        }),
                    );
                    set(
                        spec,
                        "persistentVolumeClaimRetentionPolicy",
                        json!({
                            "whenDeleted": "Retain", "whenScaled": "Retain",
                        }),
                    );
                }
                _ => {}
            }
        }
        "Job" if object["spec"].is_object() => {
            let uid = object["metadata"]["uid"].clone();
            let name = object["metadata"]["name"].clone();
            let spec = &mut object["spec"];
            set(spec, "parallelism", 1);
            set(spec, "completions", 1);
            set(spec, "backoffLimit", 6);
            set(spec, "completionMode", "NonIndexed");
            set(spec, "suspend", false);
            set(spec, "podReplacementPolicy", "TerminatingOrFailed");
            template(spec, "Always");
            if spec["manualSelector"] != true && uid.is_string() {
                if spec["selector"].is_null() {
                    spec["selector"] =
                        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
                }
                let labels = &mut spec["template"]["metadata"]["labels"];
                for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
                    labels[key] = value.clone();
                    labels[format!("batch.kubernetes.io/{key}")] = value.clone();
                }
            }
        }
        "CronJob" if object["spec"].is_object() => {
            let spec = &mut object["spec"];
            set(spec, "concurrencyPolicy", "Allow");
            set(spec, "suspend", false);
            set(spec, "successfulJobsHistoryLimit", 3);
            set(spec, "failedJobsHistoryLimit", 1);
        }
        "Service" => {
            if !object["spec"].is_object() {
                object["spec"] = json!({});
            }
            let spec = &mut object["spec"];
            set(spec, "type", "ClusterIP");
            set(spec, "sessionAffinity", "None");
            if spec["type"] != "ExternalName" {
                set(spec, "internalTrafficPolicy", "Cluster");
                set(spec, "ipFamilies", json!(["IPv4"]));
                set(spec, "ipFamilyPolicy", "SingleStack");
                if spec["clusterIP"].as_str().is_none_or(str::is_empty) {
                    spec["clusterIP"] = json!(ip());
                }
                let address = spec["clusterIP"].clone();
                set(spec, "clusterIPs", json!([address]));
            }
            for port in items(spec, "ports") {
                set(port, "protocol", "TCP");
                let number = port["port"].clone();
                set(port, "targetPort", number);
            }
            set(object, "status", json!({"loadBalancer": {}}));
        }
        "Secret" => {
            // `stringData` is write-only: it becomes data.
            let text = object
                .as_object_mut()
                .and_then(|o| o.shift_remove("stringData"));
            for (key, value) in text.iter().filter_map(Value::as_object).flatten() {
                let value = value.as_str().unwrap_or_default();
                object["data"][key] = json!(super::encode(value.as_bytes()));
            }
            set(object, "type", "Opaque");
        }
        "PersistentVolumeClaim" if object["spec"].is_object() => {
            let spec = &mut object["spec"];
            set(spec, "volumeMode", "Filesystem");
            set(spec, "storageClassName", "standard");
            set(object, "status", json!({"phase": "Pending"}));
        }
        "CustomResourceDefinition" => {
            let names = &mut object["spec"]["names"];
            let kind = names["kind"].as_str().unwrap_or_default().to_owned();
            if names.is_object() {
                set(names, "singular", kind.to_lowercase());
                set(names, "listKind", format!("{kind}List"));
            }
            if object["spec"].is_object() {
                set(
                    &mut object["spec"],
                    "conversion",
                    json!({"strategy": "None"}),
                );
            }
        }
        _ => {}
    }
}

fn template(spec: &mut Value, restart: &str) {
    if spec["template"]["spec"].is_object() {
        pod_spec(&mut spec["template"]["spec"], restart);
    }
}

fn items<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter(|item| item.is_object())
}

fn pod_spec(spec: &mut Value, restart: &str) {
    set(spec, "restartPolicy", restart);
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", json!({}));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        set(spec, "serviceAccount", account);
    } else if let Some(account) = spec.get("serviceAccount").cloned() {
        spec["serviceAccountName"] = account;
    }
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            set(container, "resources", json!({}));
            set(container, "terminationMessagePath", "/dev/termination-log");
            set(container, "terminationMessagePolicy", "File");
            let image = container["image"].as_str().unwrap_or_default();
            let floating = image.ends_with(":latest")
                || !image
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .contains([':', '@']);
            set(
                container,
                "imagePullPolicy",
                if floating { "Always" } else { "IfNotPresent" },
            );
            for port in items(container, "ports") {
                set(port, "protocol", "TCP");
            }
        }
    }
}

/// What is wrong with an object of a built-in type, compared with what it was.
pub(super) fn validate(
    kind: &ResourceType,
    object: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match kind.kind.as_str() {
        "Pod" => {
            validate_pod(&object["spec"], "spec", &mut errors);
            if let Some(old) = old {
                pod_is_immutable(&old["spec"], &object["spec"], &mut errors);
            }
        }
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => {
            let spec = &object["spec"];
            if spec["selector"].is_null() {
                errors.push(FieldError::required("spec.selector", ""));
            } else {
                let selector = super::selectors::LabelSelector::from_object(&spec["selector"]);
                if !selector.matches(&spec["template"]) {
                    let labels = &spec["template"]["metadata"]["labels"];
                    errors.push(FieldError::invalid(
                        "spec.template.metadata.labels",
                        labels,
                        "`selector` does not match template `labels`",
                    ));
                }
            }
            if spec["replicas"].as_i64().is_some_and(|n| n < 0) {
                errors.push(FieldError::invalid(
                    "spec.replicas",
                    &spec["replicas"],
                    "must be greater than or equal to 0",
                ));
            }
            validate_pod(&spec["template"]["spec"], "spec.template.spec", &mut errors);
            if old.is_some_and(|old| old["spec"]["selector"] != spec["selector"]) {
                errors.push(immutable("spec.selector", &spec["selector"]));
            }
        }
        "Job" => {
            let spec = &object["spec"];
            validate_pod(&spec["template"]["spec"], "spec.template.spec", &mut errors);
            let restart = &spec["template"]["spec"]["restartPolicy"];
            if spec["template"]["spec"].is_object() && restart != "Never" && restart != "OnFailure"
            {
                errors.push(FieldError::unsupported(
                    "spec.template.spec.restartPolicy",
                    restart,
                    &[json!("OnFailure"), json!("Never")],
                ));
            }
            if let Some(old) = old {
                for field in ["template", "selector", "completions"] {
                    let suspended = field == "template" && old["spec"]["suspend"] == true;
                    if old["spec"][field] != spec[field] && !suspended {
                        errors.push(immutable(&format!("spec.{field}"), &spec[field]));
                    }
                }
            }
        }
        "Service" if object["spec"]["type"] != "ExternalName" => {
            let ports = object["spec"]["ports"].as_array().map_or(0, Vec::len);
            if ports == 0 && object["spec"]["clusterIP"] != "None" {
                errors.push(FieldError::required("spec.ports", ""));
            }
            for (index, port) in object["spec"]["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
            {
                let field = format!("spec.ports[{index}].name");
                let name = port["name"].as_str().unwrap_or_default();
                if name.len() > 63 {
                    errors.push(FieldError::invalid(
                        field,
                        &port["name"],
                        "must be no more than 63 characters",
                    ));
                } else if !name.is_empty() && !super::names::is_label(name) {
                    errors.push(FieldError::invalid(
                        field,
                        &port["name"],
                        super::names::LABEL_RULE,
                    ));
                }
            }
        }
        "PersistentVolumeClaim" => {
            if object["spec"]["accessModes"]
                .as_array()
                .is_none_or(Vec::is_empty)
            {
                errors.push(FieldError::required(
                    "spec.accessModes",
                    "at least 1 access mode is required",
                ));
            }
            if object["spec"]["resources"]["requests"]["storage"].is_null() {
                errors.push(FieldError::required("spec.resources[storage]", ""));
            }
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let role = &object["roleRef"];
            if role["name"].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required("roleRef.name", ""));
            }
            if old.is_some_and(|old| old["roleRef"] != *role) {
                errors.push(FieldError::invalid(
                    "roleRef",
                    role,
                    "cannot change roleRef",
                ));
            }
        }
        _ => {}
    }
    errors
}

fn immutable(field: &str, value: &Value) -> FieldError {
    FieldError::invalid(field, value, "field is immutable")
}

fn validate_pod(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let containers = spec["containers"].as_array();
    if containers.is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let volumes: Vec<&Value> = spec["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|volume| &volume["name"])
        .collect();
    let mut names = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            let name = &container["name"];
            match name.as_str() {
                None | Some("") => errors.push(FieldError::required(format!("{path}.name"), "")),
                Some(text) if !super::names::is_label(text) => errors.push(FieldError::invalid(
                    format!("{path}.name"),
                    name,
                    super::names::LABEL_RULE,
                )),
                Some(_) => {}
            }
            if names.contains(&name) {
                errors.push(FieldError {
                    field: format!("{path}.name"),
                    reason: "FieldValueDuplicate",
                    message: format!("Duplicate value: {name}"),
                });
            }
            names.push(name);
            if container["image"].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("{path}.image"), ""));
            }
            for (index, mount) in container["volumeMounts"]
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
            {
                if !volumes.contains(&&mount["name"]) {
                    errors.push(FieldError {
                        field: format!("{path}.volumeMounts[{index}].name"),
                        reason: "FieldValueNotFound",
                        message: format!("Not found: {}", mount["name"]),
                    });
                }
            }
        }
    }
}

fn pod_is_immutable(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    // What may change: images, the active deadline, added tolerations; the server itself sets the node.
    let frozen = |spec: &Value| {
        let mut spec = spec.clone();
        for key in [
            "activeDeadlineSeconds",
            "tolerations",
            "nodeName",
            "terminationGracePeriodSeconds",
        ] {
            spec.as_object_mut().map(|map| map.shift_remove(key));
        }
        for list in ["initContainers", "containers"] {
            for container in items(&mut spec, list) {
                container["image"] = Value::Null;
            }
        }
        spec
    };
    if frozen(old) != frozen(new) {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
             existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
             previously negative)",
        ));
    }
}
