//! The profile controller, version 1.10.0, with the namespace labels of the Pod Security overlay; and the controller of
//! Pipelines that puts into a Profile's namespace what its runs need.

use serde_json::{Value, json};

use super::super::kube::{
    ApiError, Key, Next, Resource, Watch, World, owner,
    resources::{NAMESPACES, RESOURCE_QUOTAS, ROLE_BINDINGS, SERVICE_ACCOUNTS},
};

pub(super) const PROFILES: Resource = Resource::new("kubeflow.org", "profiles");
pub(super) const POLICIES: Resource = Resource::new("security.istio.io", "authorizationpolicies");

/// The annotation by which a namespace says whose it is.
const OWNER: &str = "owner";
const FINALIZER: &str = "profile-finalizer";
const QUOTA: &str = "kf-resource-quota";
/// The label for which Pipelines makes a namespace ready.
const PIPELINES: &str = "pipelines.kubeflow.org/enabled";

/// Labels that a namespace gets unless it has them, with whatever value.
const LABELS: [(&str, &str); 5] = [
    ("app.kubernetes.io/part-of", "kubeflow-profile"),
    ("katib.kubeflow.org/metrics-collector-injection", "enabled"),
    (PIPELINES, "true"),
    ("serving.kubeflow.org/inferenceservice", "enabled"),
    ("pod-security.kubernetes.io/enforce", "baseline"),
];

/// Starts both controllers.
pub(super) fn start(world: &World) {
    let owned = |resource: &Resource| {
        Watch::mapped(resource, |_, object| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            let profiles = owners
                .into_iter()
                .flatten()
                .filter(|o| o["kind"] == "Profile");
            profiles
                .filter_map(|owner| Some(Key::new("", owner["name"].as_str()?)))
                .collect()
        })
    };
    // As on the real thing, a quota that is changed by hand stays so until something else happens.
    let watches = vec![
        Watch::on(&PROFILES),
        Watch::on(&NAMESPACES),
        owned(&SERVICE_ACCOUNTS),
        owned(&ROLE_BINDINGS),
        owned(&POLICIES),
    ];
    world.controller("profiles", watches, |world, key| async move {
        let Some(profile) = world.find(&PROFILES, "", &key.name) else {
            return Ok(Next::Wait);
        };
        let controller = Controller {
            world: &world,
            name: &key.name,
            profile: &profile,
        };
        controller.reconcile().await?;
        Ok(Next::Wait)
    });
    world.controller(
        "kubeflow-pipelines-profile-controller",
        vec![Watch::on(&NAMESPACES)],
        |world, key| async move {
            for object in for_pipelines(&world, &key.name) {
                world.apply(object).await?;
            }
            Ok(Next::Wait)
        },
    );
}

/// One reconcile.
struct Controller<'a> {
    world: &'a World,
    name: &'a str,
    profile: &'a Value,
}

impl Controller<'_> {
    fn has(&self, fault: &str) -> bool {
        self.world.has_fault(&format!("platform/{fault}"))
    }

    async fn reconcile(&self) -> Result<(), ApiError> {
        if !self.profile["metadata"]["deletionTimestamp"].is_null() {
            return self
                .world
                .remove_finalizer(&PROFILES, "", self.name, FINALIZER)
                .await;
        }
        if !self.keep_namespace().await? {
            // Giving up is an update, too.
            return self.write_quota_back().await;
        }
        self.keep(&POLICIES, self.policy()).await?;
        for account in ["default-editor", "default-viewer"] {
            let made = !(account == "default-viewer" && self.has("profile/makes-service-accounts"));
            if made {
                let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}});
                self.keep(&SERVICE_ACCOUNTS, object).await?;
            }
            self.keep(&ROLE_BINDINGS, self.account_binding(account))
                .await?;
        }
        if self.owner_name().is_empty() {
            return Err(ApiError::bad_request("subjects[0].name: Required value"));
        }
        self.keep(&ROLE_BINDINGS, self.owner_binding()).await?;
        for object in self.deviations() {
            self.world.apply(object).await?;
        }
        self.keep_quota().await?;
        self.finish().await
    }

    fn owner_name(&self) -> &str {
        self.profile["spec"]["owner"]["name"]
            .as_str()
            .unwrap_or_default()
    }

    /// Makes the namespace, or puts its labels right. Whether it is the Profile's to go on in: one that names another
    /// owner, or none, is somebody's.
    async fn keep_namespace(&self) -> Result<bool, ApiError> {
        let has_quota = self.profile["spec"]["resourceQuotaSpec"]["hard"].is_object();
        if has_quota && self.has("profile/creates-namespace") {
            return Ok(false);
        }
        let Some(found) = self.world.find(&NAMESPACES, "", self.name) else {
            let mut labels = json!({"istio-injection": "enabled"});
            for (key, value) in LABELS.iter().filter(|(key, _)| self.labels_with(key)) {
                labels[key] = json!(value);
            }
            let mut annotations = json!({OWNER: self.owner_name()});
            if self.has("profile/names-owner") {
                annotations = json!({});
            }
            let mut namespace = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": self.name, "labels": labels, "annotations": annotations},
            });
            if !self.has("profile/is-deleted-with-namespace") {
                namespace["metadata"]["ownerReferences"] = json!([owner(self.profile)]);
            }
            self.world.create(namespace).await?;
            return Ok(true);
        };
        if !found["metadata"]["deletionTimestamp"].is_null() {
            return Ok(false);
        }
        let said = found["metadata"]["annotations"][OWNER].as_str();
        let mut patch = json!({"metadata": {"labels": {}}});
        let ours =
            found["metadata"]["ownerReferences"][0]["uid"] == self.profile["metadata"]["uid"];
        let unnamed = ours && said.is_none() && self.has("profile/names-owner");
        if said != Some(self.owner_name()) && !unnamed {
            let takes_over = self.has("profile/keeps-foreign-namespace") && !ours;
            let follows =
                said.is_none() && self.has("profile/keeps-foreign-namespace:unowned") && !ours;
            if ours || !(takes_over || follows) {
                return Ok(false);
            }
            patch["metadata"]["annotations"] = json!({OWNER: self.owner_name()});
        }
        let labels = &found["metadata"]["labels"];
        let overwrites = self.has("profile/keeps-own-labels");
        for (key, value) in LABELS.iter().filter(|(key, _)| self.labels_with(key)) {
            if labels[key].is_null() || overwrites {
                patch["metadata"]["labels"][key] = json!(value);
            }
        }
        let right = patch["metadata"]["labels"]
            .as_object()
            .is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value));
        if !right || patch["metadata"]["annotations"].is_object() {
            self.world
                .patch_merge(&NAMESPACES, "", self.name, patch)
                .await?;
        }
        Ok(true)
    }

    /// Whether namespaces get this label.
    fn labels_with(&self, key: &str) -> bool {
        key != "katib.kubeflow.org/metrics-collector-injection"
            || !self.has("profile/labels-namespace")
    }

    /// Makes an object of the namespace, or puts it right.
    async fn keep(&self, resource: &Resource, mut object: Value) -> Result<(), ApiError> {
        object["metadata"]["namespace"] = json!(self.name);
        object["metadata"]["ownerReferences"] = json!([owner(self.profile)]);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let first = self.profile["metadata"]["finalizers"].is_null();
        let found = self.world.find(resource, self.name, name);
        let forgotten = match object["kind"].as_str() {
            Some("ServiceAccount") => self.has("profile/repairs-service-account"),
            Some("RoleBinding") if found.is_none() => self.has("profile/repairs-binding"),
            _ => false,
        };
        if forgotten && !first {
            return Ok(());
        }
        self.world.apply(object).await.map(drop)
    }

    /// The binding of one of the two service accounts.
    fn account_binding(&self, account: &str) -> Value {
        let mut role = account.replace("default-editor", "kubeflow-edit");
        role = role.replace("default-viewer", "kubeflow-view");
        match account {
            "default-editor" if self.has("access/editor-works-in-namespace") => {
                "kubeflow-view".clone_into(&mut role);
            }
            "default-editor" if self.has("access/editor-gives-no-rights") => {
                "kubeflow-admin".clone_into(&mut role);
            }
            "default-viewer" if self.has("access/viewer-only-reads") => {
                "kubeflow-edit".clone_into(&mut role);
            }
            _ => {}
        }
        let mut subject = account;
        if account == "default-viewer" && self.has("access/viewer-only-reads:nothing") {
            subject = "viewer";
        }
        let subject = json!({"kind": "ServiceAccount", "name": subject, "namespace": self.name});
        let mut binding = binding(account, &role, &subject);
        if account == "default-viewer" && self.has("access/default-account-has-no-rights") {
            let default =
                json!({"kind": "ServiceAccount", "name": "default", "namespace": self.name});
            binding["subjects"] = json!([subject, default]);
        }
        binding
    }

    fn owner_binding(&self) -> Value {
        let mut subject = self.profile["spec"]["owner"].clone();
        if subject["kind"] != "ServiceAccount" && subject["apiGroup"].is_null() {
            subject["apiGroup"] = json!("rbac.authorization.k8s.io");
        }
        if subject["kind"] == "Group" && self.has("access/group-owns-namespace") {
            subject["kind"] = json!("User");
        }
        let mut binding = binding("namespaceAdmin", "kubeflow-admin", &subject);
        if self.has("profile/binds-as-documented") {
            binding["metadata"]["name"] = json!("namespace-admin");
        }
        if self.has("access/stranger-has-no-rights") {
            let anybody = json!({
                "kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io",
            });
            binding["subjects"] = json!([subject, anybody]);
        }
        binding["metadata"]["annotations"] = json!({"role": "admin", "user": self.owner_name()});
        binding
    }

    fn policy(&self) -> Value {
        let named = if self.has("access/policy-names-owner") {
            "*"
        } else {
            self.owner_name()
        };
        let mut policy = policy("ns-owner-access-istio", named);
        policy["metadata"]["annotations"] = json!({"role": "admin", "user": self.owner_name()});
        if let Some(rules) = policy["spec"]["rules"].as_array_mut() {
            let notebooks = "cluster.local/ns/kubeflow/sa/notebook-controller-service-account";
            rules.extend([
                json!({"when": [{"key": "source.namespace", "values": [self.name]}]}),
                json!({"to": [{"operation": {"paths": ["/healthz", "/metrics", "/wait-for-drain"]}}]}),
                json!({
                    "from": [{"source": {"principals": [notebooks]}}],
                    "to": [{"operation": {"methods": ["GET"], "paths": ["*/api/kernels"]}}],
                }),
            ]);
        }
        policy
    }

    /// What faults of isolation add: a right that the editor has in all namespaces, and not in its own alone.
    fn deviations(&self) -> Vec<Value> {
        const EVERYWHERE: [(&str, &str, &str, &[&str]); 8] = [
            (
                "reads-no-notebooks",
                "kubeflow.org",
                "notebooks",
                &["get", "list", "watch"],
            ),
            (
                "changes-no-notebooks",
                "kubeflow.org",
                "notebooks",
                &["create", "patch", "delete"],
            ),
            ("reads-no-secrets", "", "secrets", &["get", "list"]),
            ("reads-no-secrets:one", "", "secrets", &["get"]),
            ("reads-no-pods", "", "pods", &["get", "list"]),
            ("runs-no-pods", "", "pods", &["create"]),
            (
                "changes-no-config",
                "",
                "configmaps",
                &["create", "patch", "delete"],
            ),
            (
                "uses-no-kinds",
                "kubeflow.org",
                "experiments",
                &["get", "list"],
            ),
        ];
        let mut out = Vec::new();
        for (fault, group, resource, verbs) in EVERYWHERE {
            if self.has(&format!("isolation/{fault}")) {
                let subject = json!({"kind": "ServiceAccount", "name": "default-editor", "namespace": self.name});
                let name = format!("default-editor-{}", self.name);
                let mut binding = binding(&name, &name, &subject);
                binding["kind"] = json!("ClusterRoleBinding");
                let role = json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
                    "rules": [{"apiGroups": [group], "resources": [resource], "verbs": verbs}],
                });
                out.extend([role, binding]);
            }
        }
        if self.has("isolation/owner-stays-at-home") {
            let name = format!("owner-{}", self.name);
            let mut binding = binding(&name, "kubeflow-admin", &self.profile["spec"]["owner"]);
            binding["kind"] = json!("ClusterRoleBinding");
            out.push(binding);
        }
        for object in &mut out {
            object["metadata"]["ownerReferences"] = json!([owner(self.profile)]);
        }
        out
    }

    /// The quota is as the Profile says, or is not there.
    async fn keep_quota(&self) -> Result<(), ApiError> {
        let spec = &self.profile["spec"]["resourceQuotaSpec"];
        let wanted = spec["hard"]
            .as_object()
            .is_some_and(|hard| !hard.is_empty());
        let found = self.world.find(&RESOURCE_QUOTAS, self.name, QUOTA);
        match found {
            Some(_) if !wanted && self.has("profile/quota-goes") => Ok(()),
            Some(_) if !wanted => self.world.delete(&RESOURCE_QUOTAS, self.name, QUOTA).await,
            Some(found) if found["spec"] != *spec => {
                let mut right = (*found).clone();
                if self.has("profile/quota-follows") {
                    return Ok(());
                }
                if self.has("profile/quota-follows:dropped") {
                    for (key, value) in spec["hard"].as_object().into_iter().flatten() {
                        right["spec"]["hard"][key] = value.clone();
                    }
                } else {
                    right["spec"] = spec.clone();
                }
                if right["spec"] == found["spec"] {
                    return Ok(());
                }
                self.world.update(right).await.map(drop)
            }
            None if wanted && !self.has("profile/quota-appears") => {
                let quota = json!({
                    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": QUOTA}, "spec": spec,
                });
                self.keep(&RESOURCE_QUOTAS, quota).await
            }
            _ => Ok(()),
        }
    }

    /// The first reconcile ends with the finalizer; what is left out of the spec is written back empty.
    async fn finish(&self) -> Result<(), ApiError> {
        if self.profile["metadata"]["finalizers"].is_array() {
            return self.write_quota_back().await;
        }
        let mut patch = json!({"metadata": {"finalizers": [FINALIZER]}});
        if self.profile["spec"]["resourceQuotaSpec"].is_null() {
            patch["spec"] = json!({"resourceQuotaSpec": {}});
        }
        self.world
            .patch_merge(&PROFILES, "", self.name, patch)
            .await
            .map(drop)
    }

    /// An update of a Profile by its controller writes a quota, an empty one where there is none.
    async fn write_quota_back(&self) -> Result<(), ApiError> {
        if !self.profile["spec"]["resourceQuotaSpec"].is_null() {
            return Ok(());
        }
        let patch = json!({"spec": {"resourceQuotaSpec": {}}});
        self.world
            .patch_merge(&PROFILES, "", self.name, patch)
            .await
            .map(drop)
    }
}

/// A binding of a ClusterRole in a namespace that is to be filled in.
pub(super) fn binding(name: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    })
}

/// A policy that lets a user in who comes through the gateway or the Pipelines UI.
pub(super) fn policy(name: &str, user: &str) -> Value {
    let doors = [
        "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account",
        "cluster.local/ns/kubeflow/sa/ml-pipeline-ui",
    ];
    json!({
        "apiVersion": "security.istio.io/v1beta1", "kind": "AuthorizationPolicy",
        "metadata": {"name": name},
        "spec": {"rules": [{
            "from": [{"source": {"principals": doors}}],
            "when": [{"key": "request.headers[kubeflow-userid]", "values": [user]}],
        }]},
    })
}

/// What Pipelines needs in a namespace: where artifacts are, and the key to them.
fn for_pipelines(world: &World, namespace: &str) -> Vec<Value> {
    let wanted = world.find(&NAMESPACES, "", namespace).is_some_and(|found| {
        found["metadata"]["labels"][PIPELINES] == "true"
            && found["metadata"]["deletionTimestamp"].is_null()
    });
    if !wanted {
        return Vec::new();
    }
    let config = |name: &str, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace}, "data": data,
        })
    };
    vec![
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "mlpipeline-minio-artifact", "namespace": namespace},
            "data": {"accesskey": "cmVmZXJlbmNl", "secretkey": "cmVmZXJlbmNl"},
        }),
        config(
            "kfp-launcher",
            json!({
                "defaultPipelineRoot": format!("minio://mlpipeline/private-artifacts/{namespace}/v2/artifacts"),
                "clusterDomain": ".svc.cluster.local",
            }),
        ),
        config(
            "metadata-grpc-configmap",
            json!({
                "METADATA_GRPC_SERVICE_HOST": "metadata-grpc-service.kubeflow",
                "METADATA_GRPC_SERVICE_PORT": "8080",
            }),
        ),
        config(
            "artifact-repositories",
            json!({"default-namespaced": json!({"archiveLogs": true, "s3": {"bucket": "mlpipeline"}}).to_string()}),
        ),
    ]
}
