//! Which resource types the server has: the built-in ones and those that CRDs add.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};

/// A resource type by group and plural, for example `Resource::new("apps", "deployments")`. The core group is `""`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    group: Cow<'static, str>,
    plural: Cow<'static, str>,
}

impl Resource {
    /// Names a resource type in a constant.
    pub const fn new(group: &'static str, plural: &'static str) -> Self {
        Self {
            group: Cow::Borrowed(group),
            plural: Cow::Borrowed(plural),
        }
    }

    /// Names a resource type found at run time.
    pub fn of(group: impl Into<String>, plural: impl Into<String>) -> Self {
        Self {
            group: Cow::Owned(group.into()),
            plural: Cow::Owned(plural.into()),
        }
    }

    /// The API group; empty for core.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The plural, as in URLs.
    pub fn plural(&self) -> &str {
        &self.plural
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// The built-in resource types by name.
pub mod resources {
    use super::Resource;

    macro_rules! constants {
        ($($name:ident = $group:literal $plural:literal;)*) => {
            $(
                #[doc = concat!("`", $plural, "` of group `", $group, "`.")]
                pub const $name: Resource = Resource::new($group, $plural);
            )*
        };
    }

    constants! {
        NAMESPACES = "" "namespaces";
        PODS = "" "pods";
        SERVICES = "" "services";
        ENDPOINTS = "" "endpoints";
        CONFIG_MAPS = "" "configmaps";
        SECRETS = "" "secrets";
        SERVICE_ACCOUNTS = "" "serviceaccounts";
        EVENTS = "" "events";
        PERSISTENT_VOLUME_CLAIMS = "" "persistentvolumeclaims";
        PERSISTENT_VOLUMES = "" "persistentvolumes";
        NODES = "" "nodes";
        RESOURCE_QUOTAS = "" "resourcequotas";
        LIMIT_RANGES = "" "limitranges";
        DEPLOYMENTS = "apps" "deployments";
        STATEFUL_SETS = "apps" "statefulsets";
        REPLICA_SETS = "apps" "replicasets";
        DAEMON_SETS = "apps" "daemonsets";
        JOBS = "batch" "jobs";
        CRON_JOBS = "batch" "cronjobs";
        CLUSTER_ROLES = "rbac.authorization.k8s.io" "clusterroles";
        CLUSTER_ROLE_BINDINGS = "rbac.authorization.k8s.io" "clusterrolebindings";
        ROLES = "rbac.authorization.k8s.io" "roles";
        ROLE_BINDINGS = "rbac.authorization.k8s.io" "rolebindings";
        MUTATING_WEBHOOKS = "admissionregistration.k8s.io" "mutatingwebhookconfigurations";
        VALIDATING_WEBHOOKS = "admissionregistration.k8s.io" "validatingwebhookconfigurations";
        CRDS = "apiextensions.k8s.io" "customresourcedefinitions";
        API_SERVICES = "apiregistration.k8s.io" "apiservices";
        LEASES = "coordination.k8s.io" "leases";
        ENDPOINT_SLICES = "discovery.k8s.io" "endpointslices";
        INGRESSES = "networking.k8s.io" "ingresses";
        NETWORK_POLICIES = "networking.k8s.io" "networkpolicies";
        POD_DISRUPTION_BUDGETS = "policy" "poddisruptionbudgets";
        AUTOSCALERS = "autoscaling" "horizontalpodautoscalers";
        STORAGE_CLASSES = "storage.k8s.io" "storageclasses";
        PRIORITY_CLASSES = "scheduling.k8s.io" "priorityclasses";
    }
}

/// One column that `kubectl get` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// The format, mostly empty.
    pub format: String,
    /// What the column means.
    pub description: String,
    /// 0 is always shown, others with `-o wide`.
    pub priority: i64,
    /// The JSONPath of the value, for example `.status.phase`.
    pub path: String,
}

/// One served version of a resource type.
#[derive(Clone, Debug)]
pub struct Version {
    /// For example `v1beta1`.
    pub name: String,
    /// Whether requests in this version are answered.
    pub served: bool,
    /// The structural schema (`openAPIV3Schema`), for types that come from a CRD.
    pub schema: Option<Arc<Value>>,
    /// Whether `…/status` exists.
    pub status: bool,
    /// Whether `…/scale` exists.
    pub scale: bool,
    /// Further columns of tables.
    pub columns: Vec<Column>,
}

/// All that the server knows of one resource type.
#[derive(Clone, Debug)]
pub struct ResourceType {
    /// Group and plural.
    pub resource: Resource,
    /// For example `Notebook`.
    pub kind: String,
    /// For example `notebook`.
    pub singular: String,
    /// For example `nb`.
    pub short_names: Vec<String>,
    /// For example `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// The versions, preferred first.
    pub versions: Vec<Version>,
    /// The version that the store and the in-process verbs speak.
    pub storage: String,
    /// Whether the type comes from a CRD.
    pub custom: bool,
}

impl ResourceType {
    /// The served version of that name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name && v.served)
    }

    /// The version in which objects are stored.
    pub fn stored(&self) -> &Version {
        self.versions
            .iter()
            .find(|v| v.name == self.storage)
            .unwrap_or(&self.versions[0])
    }

    /// The `apiVersion` of objects in `version`.
    pub fn api_version(&self, version: &str) -> String {
        api_version(self.resource.group(), version)
    }

    /// The `apiVersion` of stored objects.
    pub fn stored_api_version(&self) -> String {
        self.api_version(&self.storage)
    }
}

/// Joins group and version as in `apiVersion`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Splits an `apiVersion` into group and version.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// A parsed CustomResourceDefinition, to be installed in any number of worlds without copying its schema.
#[derive(Clone, Debug)]
pub struct Crd {
    pub(super) object: Arc<Value>,
    pub(super) kind: Arc<ResourceType>,
}

/// A CRD that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the custom resource definition is not usable: {0}")]
pub struct CrdError(String);

impl Crd {
    /// Reads a CRD (`apiextensions.k8s.io/v1`) from JSON.
    pub fn from_json(text: &str) -> Result<Self, CrdError> {
        let object = serde_json::from_str(text).map_err(|error| CrdError(error.to_string()))?;
        Self::from_value(object)
    }

    /// Reads a CRD from its object.
    pub fn from_value(mut object: Value) -> Result<Self, CrdError> {
        let kind = resource_type(&object)?;
        let name = kind.resource.to_string();
        // Every world shares this very object, so it must not depend on a world's clock or seed.
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(super::ids::uid_of("crd", &name));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!("2025-01-01T00:00:00Z");
        object["metadata"]["resourceVersion"] = json!("1");
        if object["spec"]["conversion"].is_null() {
            object["spec"]["conversion"] = json!({"strategy": "None"});
        }
        object["status"] = crd_status(&object, "2025-01-01T00:00:00Z");
        Ok(Self {
            object: Arc::new(object),
            kind: Arc::new(kind),
        })
    }

    /// A CRD without schema: any fields are kept. For components that need a type but not its rules.
    pub fn open(
        group: &str,
        versions: &[&str],
        kind: &str,
        plural: &str,
        namespaced: bool,
    ) -> Result<Self, CrdError> {
        let versions: Vec<Value> = versions
            .iter()
            .enumerate()
            .map(|(index, name)| {
                json!({
                    "name": name, "served": true, "storage": index == 0, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                })
            })
            .collect();
        Self::from_value(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group,
                "scope": if namespaced { "Namespaced" } else { "Cluster" },
                "names": {
                    "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List"),
                },
                "versions": versions,
            },
        }))
    }

    /// The resource type that this CRD defines.
    pub fn resource(&self) -> &Resource {
        &self.kind.resource
    }
}

/// The status that the API server gives an accepted CRD.
pub(super) fn crd_status(object: &Value, at: &str) -> Value {
    let stored: Vec<&Value> = object["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|v| v["storage"] == true)
        .map(|v| &v["name"])
        .collect();
    json!({
        "acceptedNames": object["spec"]["names"],
        "conditions": [
            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found",
             "lastTransitionTime": at},
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
             "message": "the initial names have been accepted", "lastTransitionTime": at},
        ],
        "storedVersions": stored,
    })
}

/// Reads the resource type out of a CRD object.
pub(super) fn resource_type(crd: &Value) -> Result<ResourceType, CrdError> {
    let text = |value: &Value, what: &str| {
        value
            .as_str()
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| CrdError(format!("{what} is missing")))
    };
    let spec = &crd["spec"];
    let names = &spec["names"];
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let kind = text(&names["kind"], "spec.names.kind")?;
    let mut versions = Vec::new();
    let mut storage = None;
    for version in spec["versions"].as_array().into_iter().flatten() {
        let name = text(&version["name"], "spec.versions[].name")?;
        if version["storage"] == true {
            storage = Some(name.clone());
        }
        let columns = version["additionalPrinterColumns"]
            .as_array()
            .into_iter()
            .flatten();
        versions.push(Version {
            served: version["served"] == true,
            schema: version["schema"]
                .get("openAPIV3Schema")
                .map(|schema| Arc::new(schema.clone())),
            status: version["subresources"].get("status").is_some(),
            scale: version["subresources"].get("scale").is_some(),
            columns: columns.map(column).collect(),
            name,
        });
    }
    // The order of discovery: stable before beta before alpha, newer before older.
    versions.sort_by_key(|v| std::cmp::Reverse(priority(&v.name)));
    Ok(ResourceType {
        resource: Resource::of(
            text(&spec["group"], "spec.group")?,
            text(&names["plural"], "spec.names.plural")?,
        ),
        singular: names["singular"]
            .as_str()
            .map_or_else(|| kind.to_lowercase(), str::to_owned),
        short_names: strings(&names["shortNames"]),
        categories: strings(&names["categories"]),
        namespaced: spec["scope"] != "Cluster",
        storage: storage.ok_or_else(|| CrdError("no version is the storage version".to_owned()))?,
        versions,
        custom: true,
        kind,
    })
}

fn column(value: &Value) -> Column {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Column {
        name: text("name"),
        kind: text("type"),
        format: text("format"),
        description: text("description"),
        priority: value["priority"].as_i64().unwrap_or(0),
        path: text("jsonPath"),
    }
}

/// Orders version names as Kubernetes does: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, anything else.
fn priority(version: &str) -> (u8, u64, u64) {
    let digits = |s: &str| s.parse::<u64>().ok();
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    if let Some(major) = digits(rest) {
        return (3, major, 0);
    }
    for (rank, word) in [(2, "beta"), (1, "alpha")] {
        if let Some((major, minor)) = rest.split_once(word)
            && let (Some(major), Some(minor)) = (digits(major), digits(minor))
        {
            return (rank, major, minor);
        }
    }
    (0, 0, 0)
}

/// The resource types of one server.
#[derive(Debug)]
pub struct Registry {
    types: RwLock<HashMap<Resource, Arc<ResourceType>>>,
}

impl Registry {
    /// A registry with the built-in types.
    pub(super) fn new() -> Self {
        let types = super::builtin::types()
            .iter()
            .map(|kind| (kind.resource.clone(), kind.clone()))
            .collect();
        Self {
            types: RwLock::new(types),
        }
    }

    /// Adds or replaces a type.
    pub fn add(&self, kind: Arc<ResourceType>) {
        self.types
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kind.resource.clone(), kind);
    }

    /// Removes a type.
    pub fn remove(&self, resource: &Resource) {
        self.types
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(resource);
    }

    /// The type of a resource.
    pub fn get(&self, resource: &Resource) -> Option<Arc<ResourceType>> {
        self.types
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(resource)
            .cloned()
    }

    /// The type whose objects say this `apiVersion` and `kind`.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<Arc<ResourceType>> {
        let (group, version) = split_api_version(api_version);
        self.types
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .find(|t| t.kind == kind && t.resource.group() == group && t.version(version).is_some())
            .cloned()
    }

    /// All types, ordered by group and plural.
    pub fn all(&self) -> Vec<Arc<ResourceType>> {
        let mut all: Vec<_> = self
            .types
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        all.sort_by(|a, b| a.resource.cmp(&b.resource));
        all
    }

    /// The groups with their served versions, preferred first.
    pub fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut groups: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        for kind in self.all() {
            for version in kind.versions.iter().filter(|v| v.served) {
                groups
                    .entry(kind.resource.group().to_owned())
                    .or_default()
                    .insert((
                        std::cmp::Reverse(priority(&version.name)),
                        version.name.clone(),
                    ));
            }
        }
        groups
            .into_iter()
            .map(|(group, versions)| {
                let names = versions.into_iter().map(|(_, name)| name);
                (group, names.collect())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut names = vec!["v1alpha1", "v1", "foo", "v2", "v1beta1", "v1beta2", "v11"];
        names.sort_by_key(|name| std::cmp::Reverse(priority(name)));
        assert_eq!(
            names,
            ["v11", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]
        );
    }

    #[test]
    fn a_crd_without_storage_version_is_refused() {
        let crd =
            json!({"spec": {"group": "g", "names": {"kind": "K", "plural": "ks"}, "versions": []}});
        assert!(Crd::from_value(crd).is_err());
    }
}
