//! What the roles `admin`, `edit` and `view` of a Profile's namespace come to: Kubeflow's three ClusterRoles, and those of
//! the components that are aggregated into them, as the Community Distribution ships them.

use serde_json::{Value, json};

use super::super::kube::World;

/// What is put before a role's name in the label by which it is aggregated into that role.
const AGGREGATE: &str = "rbac.authorization.kubeflow.org/aggregate-to-";

const READ: [&str; 3] = ["get", "list", "watch"];
const CHANGE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
const ALL: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "delete",
    "deletecollection",
    "patch",
    "update",
];

/// What Kubernetes' own types come to in `view`, and what of them may be changed in `edit`.
const WORKLOADS: [&str; 8] = [
    "daemonsets",
    "deployments",
    "deployments/rollback",
    "deployments/scale",
    "replicasets",
    "replicasets/scale",
    "statefulsets",
    "statefulsets/scale",
];

fn labels(into: &[&str]) -> Value {
    let labels = into
        .iter()
        .map(|role| (format!("{AGGREGATE}{role}"), json!("true")));
    labels.collect::<serde_json::Map<_, _>>().into()
}

fn role(name: &str, into: &[&str], rules: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels(into)}, "rules": rules,
    })
}

fn aggregated(name: &str, from: &str, into: &[&str]) -> Value {
    let mut role = role(name, into, json!([]));
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels(&[from])}]});
    role
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// The three roles of one component: `admin` is aggregated of `edit`, `edit` has `edits`, `view` has `views`.
fn component(name: &str, edits: Value, views: Value) -> [Value; 3] {
    let own_admin = format!("kubeflow-{name}-admin");
    [
        aggregated(&own_admin, &own_admin, &["kubeflow-admin"]),
        role(
            &format!("kubeflow-{name}-edit"),
            &["kubeflow-edit", &own_admin],
            edits,
        ),
        role(&format!("kubeflow-{name}-view"), &["kubeflow-view"], views),
    ]
}

/// Every ClusterRole.
pub(super) fn roles(world: &World) -> Vec<Value> {
    let has =
        |fault: &str| world.has_fault(&format!("platform/access/notebooks-follow-roles{fault}"));
    let mut roles = vec![
        aggregated("kubeflow-admin", "kubeflow-admin", &[]),
        aggregated("kubeflow-edit", "kubeflow-edit", &["kubeflow-admin"]),
        aggregated("kubeflow-view", "kubeflow-view", &["kubeflow-edit"]),
    ];
    let mut own = kubernetes();
    if world.has_fault("platform/access/owner-manages-namespace") {
        own[0]["metadata"]["labels"] = json!({});
    }
    if world.has_fault("platform/access/owner-keeps-limits") {
        own[0]["rules"] = json!([rule("*", &["*"], &["*"])]);
    }
    roles.extend(own);
    let notebooks = ["notebooks", "notebooks/status"];
    let editing = if has("") { &READ[..] } else { &ALL[..] };
    let viewing = if has(":viewer") { &ALL[..] } else { &READ[..] };
    roles.extend(component(
        "notebooks",
        json!([rule("kubeflow.org", &notebooks, editing)]),
        json!([rule("kubeflow.org", &notebooks, viewing)]),
    ));
    let katib = ["experiments", "trials", "suggestions"];
    roles.extend(component(
        "katib",
        json!([
            rule("kubeflow.org", &katib, &ALL),
            rule("", &["pods"], &["list"]),
            rule("", &["pods/log"], &["get"]),
        ]),
        json!([rule("kubeflow.org", &katib, &READ)]),
    ));
    let kserve = "serving.kserve.io";
    roles.extend(component(
        "kserve",
        json!([rule(kserve, &["inferenceservices"], &ALL)]),
        json!([rule(kserve, &["inferenceservices"], &READ)]),
    ));
    // Nobody but the cluster's administrator may make PodDefaults: its role `edit` has no rules of its own.
    let poddefaults = "kubeflow-poddefaults-admin";
    roles.push(aggregated(
        "admission-webhook-kubeflow-poddefaults-admin",
        poddefaults,
        &["kubeflow-admin"],
    ));
    roles.push(aggregated(
        "admission-webhook-kubeflow-poddefaults-edit",
        "kubeflow-poddefaults-edit",
        &["kubeflow-edit", poddefaults],
    ));
    roles.push(role(
        "admission-webhook-kubeflow-poddefaults-view",
        &["kubeflow-view", "kubeflow-poddefaults-edit"],
        json!([rule("kubeflow.org", &["poddefaults"], &READ)]),
    ));
    roles.extend(pipelines());
    roles
}

fn kubernetes() -> [Value; 3] {
    let access = ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy"];
    let kept = [
        "configmaps",
        "endpoints",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "replicationcontrollers/scale",
        "serviceaccounts",
        "services",
    ];
    let admin = json!([
        rule(
            "authorization.k8s.io",
            &["localsubjectaccessreviews"],
            &["create"]
        ),
        rule(
            "rbac.authorization.k8s.io",
            &["rolebindings", "roles"],
            &ALL
        ),
    ]);
    let networking = ["ingresses", "networkpolicies"];
    let edit = json!([
        rule("", &access, &READ),
        rule("", &["secrets", "services/proxy"], &READ),
        rule("", &["pods"], &CHANGE),
        rule("", &access, &CHANGE),
        rule("", &kept, &CHANGE),
        rule("", &["secrets", "services/proxy"], &CHANGE),
        rule("apps", &WORKLOADS, &CHANGE),
        rule("autoscaling", &["horizontalpodautoscalers"], &CHANGE),
        rule("batch", &["cronjobs", "jobs"], &CHANGE),
        rule("policy", &["poddisruptionbudgets"], &CHANGE),
        rule("networking.k8s.io", &networking, &CHANGE),
    ]);
    let reports = [
        "bindings",
        "events",
        "limitranges",
        "namespaces",
        "namespaces/status",
        "persistentvolumeclaims/status",
        "pods",
        "pods/log",
        "pods/status",
        "resourcequotas",
        "resourcequotas/status",
        "services/status",
    ];
    let view = json!([
        rule("", &kept, &READ),
        rule("", &reports, &READ),
        rule("apps", &["controllerrevisions"], &READ),
        rule("apps", &WORKLOADS, &READ),
        rule("autoscaling", &["horizontalpodautoscalers"], &READ),
        rule(
            "batch",
            &["cronjobs", "jobs", "cronjobs/status", "jobs/status"],
            &READ
        ),
        rule("policy", &["poddisruptionbudgets"], &READ),
        rule("networking.k8s.io", &networking, &READ),
    ]);
    [
        role("kubeflow-kubernetes-admin", &["kubeflow-admin"], admin),
        role("kubeflow-kubernetes-edit", &["kubeflow-edit"], edit),
        role("kubeflow-kubernetes-view", &["kubeflow-view"], view),
    ]
}

/// The rights that a multi-user Pipelines API server asks for, on resources that are not served.
fn pipelines() -> [Value; 4] {
    let group = "pipelines.kubeflow.org";
    let edit = json!([
        rule(
            group,
            &["pipelines", "pipelineversions"],
            &["create", "delete", "update"]
        ),
        rule(
            group,
            &["experiments"],
            &["archive", "create", "delete", "unarchive"]
        ),
        rule(
            group,
            &["runs"],
            &[
                "archive",
                "create",
                "delete",
                "retry",
                "terminate",
                "unarchive",
                "reportMetrics",
                "readArtifact",
            ],
        ),
        rule(group, &["jobs"], &["create", "delete", "disable", "enable"]),
        rule("kubeflow.org", &["scheduledworkflows"], &["*"]),
        rule("argoproj.io", &["workflows", "workflowtaskresults"], &["*"]),
    ]);
    let view = json!([
        rule(
            group,
            &["pipelines", "pipelineversions", "experiments", "jobs"],
            &["get", "list"]
        ),
        rule(group, &["runs"], &["get", "list", "readArtifact"]),
        rule(group, &["visualizations"], &["create"]),
    ]);
    let (own_edit, own_view) = ("kubeflow-pipelines-edit", "kubeflow-pipelines-view");
    [
        aggregated(own_edit, own_edit, &["kubeflow-edit"]),
        aggregated(own_view, own_view, &[own_edit, "kubeflow-view"]),
        role("aggregate-to-kubeflow-pipelines-edit", &[own_edit], edit),
        role("aggregate-to-kubeflow-pipelines-view", &[own_view], view),
    ]
}
