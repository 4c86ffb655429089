//! Who asks (bearer tokens, impersonation) and whether they may (RBAC).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::registry::resources::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use super::selectors::LabelSelector;
use super::store::{Key, Store};

/// Who makes a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name, for example `system:serviceaccount:kubeflow:default`.
    pub name: String,
    /// The uid, mostly empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// An authenticated user with further groups.
    pub fn named(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        Self {
            name: name.into(),
            groups,
            ..Self::default()
        }
    }

    /// The administrator of the kubeconfig.
    pub fn admin() -> Self {
        Self::named("kubernetes-admin", &["system:masters"])
    }

    /// The component that in-process verbs write as.
    pub fn system() -> Self {
        Self::named("system:kube-controller-manager", &["system:masters"])
    }

    /// Whoever sends no credentials.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let namespaced = format!("system:serviceaccounts:{namespace}");
        let mut user = Self::named(
            format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", &namespaced],
        );
        uid.clone_into(&mut user.uid);
        user
    }

    /// A user as TokenReviews and SelfSubjectReviews show it.
    pub(super) fn to_info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// What a bearer token stands for.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) user: User,
    /// Whom the token is for; empty means the API server.
    pub(super) audiences: Vec<String>,
    pub(super) expires: Option<Timestamp>,
}

/// The audience of the API server itself.
pub(super) const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// The bearer tokens that the server knows.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Grant>>);

impl Tokens {
    pub(super) fn add(&self, token: String, grant: Grant) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token, grant);
    }

    /// The grant of a token that has not expired.
    pub(super) fn get(&self, token: &str, now: Timestamp) -> Option<Grant> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(token)
            .filter(|grant| grant.expires.is_none_or(|at| now < at))
            .cloned()
    }
}

/// What somebody wants to do, as access reviews spell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection` or a special verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// `status`, `log`, …; or empty.
    pub subresource: String,
    /// The namespace; empty for cluster-scoped types and for all namespaces.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// The path, for requests that are not about resources.
    pub path: Option<String>,
}

impl Action {
    fn resource_text(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// The API server's sentence about somebody who may not.
    pub(super) fn refusal(&self, user: &User) -> String {
        if let Some(path) = &self.path {
            return format!(
                "User \"{}\" cannot {} path \"{path}\"",
                user.name, self.verb
            );
        }
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", self.namespace)
        };
        format!(
            "User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            user.name,
            self.verb,
            self.resource_text(),
            self.group
        )
    }
}

/// Why an action is allowed, or none if it is not.
pub(super) fn authorize(store: &Store, user: &User, action: &Action) -> Option<String> {
    if user.groups.iter().any(|group| group == "system:masters") {
        return Some(String::new());
    }
    applicable(store, user, &action.namespace)
        .into_iter()
        .find(|(_, rule)| allows(rule, action))
        .map(|(reason, _)| reason)
}

/// Every rule that holds for a user in a namespace (and in the cluster), with why it does.
pub(super) fn applicable(store: &Store, user: &User, namespace: &str) -> Vec<(String, Value)> {
    let mut rules = Vec::new();
    let mut collect = |binding: &Arc<Value>, scope: &str| {
        let Some(subject) = subject_of(binding, user) else {
            return;
        };
        let role = &binding["roleRef"];
        let (kind, name) = (
            role["kind"].as_str().unwrap_or_default(),
            role["name"].as_str().unwrap_or_default(),
        );
        let of = if scope.is_empty() {
            format!("ClusterRoleBinding \"{}\"", Key::of(binding).name)
        } else {
            format!("RoleBinding \"{}/{scope}\"", Key::of(binding).name)
        };
        let reason = format!("RBAC: allowed by {of} of {kind} \"{name}\" to {subject}");
        let found = if kind == "ClusterRole" {
            store
                .read(&CLUSTER_ROLES, &Key::new("", name))
                .map(|role| rules_of(store, &role))
                .unwrap_or_default()
        } else {
            store
                .read(&ROLES, &Key::new(scope, name))
                .map(|role| list(&role["rules"]))
                .unwrap_or_default()
        };
        rules.extend(found.into_iter().map(|rule| (reason.clone(), rule)));
    };
    for binding in store.list(&CLUSTER_ROLE_BINDINGS, None).1 {
        collect(&binding, "");
    }
    if !namespace.is_empty() {
        for binding in store.list(&ROLE_BINDINGS, Some(namespace)).1 {
            collect(&binding, namespace);
        }
    }
    rules
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// The rules of a ClusterRole: its own, or those of the roles that it aggregates.
pub(super) fn rules_of(store: &Store, role: &Value) -> Vec<Value> {
    let mut rules = Vec::new();
    let mut seen = Vec::new();
    aggregate(store, role, &mut seen, &mut rules);
    rules
}

fn aggregate(store: &Store, role: &Value, seen: &mut Vec<String>, rules: &mut Vec<Value>) {
    let name = Key::of(role).name;
    if seen.contains(&name) {
        return;
    }
    seen.push(name);
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
    let Some(selectors) = selectors else {
        rules.extend(list(&role["rules"]));
        return;
    };
    for selector in selectors {
        let selector = LabelSelector::from_object(selector);
        for other in store.list(&CLUSTER_ROLES, None).1 {
            if selector.matches(&other) {
                aggregate(store, &other, seen, rules);
            }
        }
    }
}

fn subject_of(binding: &Value, user: &User) -> Option<String> {
    binding["subjects"].as_array()?.iter().find_map(|subject| {
        let name = subject["name"].as_str()?;
        match subject["kind"].as_str()? {
            "User" if name == user.name => Some(format!("User \"{name}\"")),
            "Group" if user.groups.iter().any(|g| g == name) => Some(format!("Group \"{name}\"")),
            "ServiceAccount" => {
                let namespace = subject["namespace"].as_str()?;
                (user.name == format!("system:serviceaccount:{namespace}:{name}"))
                    .then(|| format!("ServiceAccount \"{name}/{namespace}\""))
            }
            _ => None,
        }
    })
}

fn allows(rule: &Value, action: &Action) -> bool {
    let has = |key: &str, wanted: &str| {
        rule[key]
            .as_array()
            .is_some_and(|list| list.iter().any(|item| item == wanted || item == "*"))
    };
    if !has("verbs", &action.verb) {
        return false;
    }
    if let Some(path) = &action.path {
        return rule["nonResourceURLs"].as_array().is_some_and(|urls| {
            urls.iter().filter_map(Value::as_str).any(|url| {
                url.strip_suffix('*')
                    .map_or(url == path, |prefix| path.starts_with(prefix))
            })
        });
    }
    let resource = action.resource_text();
    let sub = format!("*/{}", action.subresource);
    let resource_fits =
        has("resources", &resource) || (!action.subresource.is_empty() && has("resources", &sub));
    let names = rule["resourceNames"].as_array().filter(|n| !n.is_empty());
    has("apiGroups", &action.group)
        && resource_fits
        && names.is_none_or(|names| names.iter().any(|n| *n == action.name.as_str()))
}

/// The roles and bindings that every cluster has.
pub(super) fn bootstrap() -> Vec<Value> {
    let role = |name: &str, labels: Value, rules: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
               "metadata": {"name": name, "labels": labels}, "rules": rules})
    };
    let aggregated = |name: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
               "metadata": {"name": name},
               "aggregationRule": {"clusterRoleSelectors": [
                   {"matchLabels": {format!("rbac.authorization.k8s.io/aggregate-to-{name}"): "true"}}]},
               "rules": []})
    };
    let binding = |name: &str, group: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
               "metadata": {"name": name},
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
               "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}]})
    };
    let both = |a: &[&'static str], b: &[&'static str]| [a, b].concat();
    let read = ["get", "list", "watch"];
    let write = ["create", "delete", "deletecollection", "patch", "update"];
    let to = |roles: &[&str]| -> Value {
        roles
            .iter()
            .map(|r| {
                (
                    format!("rbac.authorization.k8s.io/aggregate-to-{r}"),
                    json!("true"),
                )
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let core = [
        "configmaps",
        "endpoints",
        "persistentvolumeclaims",
        "pods",
        "serviceaccounts",
        "services",
    ];
    let apps = [
        "daemonsets",
        "deployments",
        "deployments/scale",
        "replicasets",
        "replicasets/scale",
        "statefulsets",
        "statefulsets/scale",
    ];
    let reads = json!([
        {"apiGroups": [""], "verbs": read, "resources": both(&core, &["bindings", "events", "limitranges",
            "namespaces", "namespaces/status", "pods/log", "pods/status", "replicationcontrollers", "resourcequotas",
            "resourcequotas/status", "services/status", "persistentvolumeclaims/status"])},
        {"apiGroups": ["apps"], "verbs": read, "resources": apps},
        {"apiGroups": ["batch"], "verbs": read, "resources": ["cronjobs", "jobs", "cronjobs/status", "jobs/status"]},
        {"apiGroups": ["autoscaling"], "verbs": read, "resources": ["horizontalpodautoscalers"]},
        {"apiGroups": ["networking.k8s.io"], "verbs": read, "resources": ["ingresses", "networkpolicies"]},
        {"apiGroups": ["policy"], "verbs": read, "resources": ["poddisruptionbudgets"]},
        {"apiGroups": ["discovery.k8s.io"], "verbs": read, "resources": ["endpointslices"]},
    ]);
    let edits = json!([
        {"apiGroups": [""], "verbs": read, "resources": ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy",
            "secrets", "services/proxy"]},
        {"apiGroups": [""], "verbs": ["impersonate"], "resources": ["serviceaccounts"]},
        {"apiGroups": [""], "verbs": write, "resources": both(&core, &["events", "pods/attach", "pods/exec",
            "pods/portforward", "pods/proxy", "secrets", "services/proxy"])},
        {"apiGroups": [""], "verbs": ["create"], "resources": ["serviceaccounts/token", "pods/eviction"]},
        {"apiGroups": ["apps"], "verbs": write, "resources": apps},
        {"apiGroups": ["batch"], "verbs": write, "resources": ["cronjobs", "jobs"]},
        {"apiGroups": ["autoscaling"], "verbs": write, "resources": ["horizontalpodautoscalers"]},
        {"apiGroups": ["networking.k8s.io"], "verbs": write, "resources": ["ingresses", "networkpolicies"]},
        {"apiGroups": ["policy"], "verbs": write, "resources": ["poddisruptionbudgets"]},
        {"apiGroups": ["coordination.k8s.io"], "verbs": both(&read, &write), "resources": ["leases"]},
    ]);
    let admins = json!([
        {"apiGroups": ["authorization.k8s.io"], "verbs": ["create"], "resources": ["localsubjectaccessreviews"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "verbs": both(&read, &write),
            "resources": ["roles", "rolebindings"]},
    ]);
    let paths = json!([{"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz",
        "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"]}]);
    let reviews = json!([
        {"apiGroups": ["authorization.k8s.io"], "verbs": ["create"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
        {"apiGroups": ["authentication.k8s.io"], "verbs": ["create"], "resources": ["selfsubjectreviews"]},
    ]);
    let delegator = json!([
        {"apiGroups": ["authentication.k8s.io"], "verbs": ["create"], "resources": ["tokenreviews"]},
        {"apiGroups": ["authorization.k8s.io"], "verbs": ["create"], "resources": ["subjectaccessreviews"]},
    ]);
    let health = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version",
        "/version/"]}]);
    vec![
        role(
            "cluster-admin",
            json!({}),
            json!([
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]),
        ),
        aggregated("admin"),
        aggregated("edit"),
        aggregated("view"),
        role("system:aggregate-to-admin", to(&["admin"]), admins),
        role("system:aggregate-to-edit", to(&["admin", "edit"]), edits),
        role(
            "system:aggregate-to-view",
            to(&["admin", "edit", "view"]),
            reads,
        ),
        role("system:auth-delegator", json!({}), delegator),
        role("system:discovery", json!({}), paths),
        role("system:basic-user", json!({}), reviews),
        role("system:public-info-viewer", json!({}), health),
        binding("cluster-admin", "system:masters"),
        binding("system:discovery", "system:authenticated"),
        binding("system:basic-user", "system:authenticated"),
        binding("system:public-info-viewer", "system:unauthenticated"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::store::Expect;
    use super::*;

    fn store() -> Store {
        let store = Store::new();
        for object in bootstrap() {
            put(&store, object);
        }
        store
    }

    fn put(store: &Store, object: Value) {
        let resource = match object["kind"].as_str() {
            Some("ClusterRole") => CLUSTER_ROLES,
            Some("ClusterRoleBinding") => CLUSTER_ROLE_BINDINGS,
            Some("Role") => ROLES,
            _ => ROLE_BINDINGS,
        };
        store
            .put(&resource, &Key::of(&object), Expect::Absent, object)
            .expect("is new");
    }

    fn may(
        store: &Store,
        user: &User,
        verb: &str,
        group: &str,
        resource: &str,
        namespace: &str,
    ) -> bool {
        let action = Action {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            ..Action::default()
        };
        authorize(store, user, &action).is_some()
    }

    #[test]
    fn a_role_binding_holds_in_its_namespace_only() {
        let store = store();
        let user = User::named("jane", &[]);
        assert!(!may(&store, &user, "list", "", "pods", "a"));
        put(
            &store,
            json!({"kind": "RoleBinding", "metadata": {"namespace": "a", "name": "b"},
            "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "jane"}]}),
        );
        assert!(may(&store, &user, "list", "", "pods", "a"));
        assert!(!may(&store, &user, "create", "", "pods", "a"));
        assert!(!may(&store, &user, "list", "", "secrets", "a"));
        assert!(!may(&store, &user, "list", "", "pods", "b"));
        assert!(!may(&store, &user, "list", "", "pods", ""));
        assert!(may(&store, &User::admin(), "delete", "", "nodes", ""));
    }

    #[test]
    fn aggregated_roles_grow_with_their_parts() {
        let store = store();
        let user = User::service_account("a", "editor", "");
        put(
            &store,
            json!({"kind": "RoleBinding", "metadata": {"namespace": "a", "name": "b"},
            "roleRef": {"kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": "a"}]}),
        );
        assert!(!may(
            &store,
            &user,
            "create",
            "kubeflow.org",
            "notebooks",
            "a"
        ));
        put(
            &store,
            json!({"kind": "ClusterRole", "metadata": {"name": "notebooks",
            "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}},
            "rules": [{"apiGroups": ["kubeflow.org"], "resources": ["notebooks"], "verbs": ["create"]}]}),
        );
        assert!(may(
            &store,
            &user,
            "create",
            "kubeflow.org",
            "notebooks",
            "a"
        ));
    }

    #[test]
    fn resource_names_and_paths_are_respected() {
        let rule = json!({"apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"], "verbs": ["get"]});
        let mut action = Action {
            verb: "get".to_owned(),
            resource: "pods".to_owned(),
            ..Action::default()
        };
        assert!(!allows(&rule, &action));
        action.name = "x".to_owned();
        assert!(allows(&rule, &action));
        action.subresource = "log".to_owned();
        assert!(!allows(&rule, &action));
        let rule = json!({"verbs": ["get"], "nonResourceURLs": ["/apis/*"]});
        let path = |path: &str| Action {
            verb: "get".to_owned(),
            path: Some(path.to_owned()),
            ..Action::default()
        };
        assert!(allows(&rule, &path("/apis/x")) && !allows(&rule, &path("/metrics")));
    }
}
