//! The least rights that a run needs.

use serde_json::{Value, json};

/// Verbs on some resources of one API group.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// Plural resource names, subresources as `pods/log`.
    pub resources: &'static [&'static str],
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// The component that they are for; empty for every run.
    pub component: &'static str,
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// What a run does, and nothing more. A test runs the suite on the reference as a user with exactly these rights.
pub const RULES: &[Rule] = &[
    Rule {
        group: "",
        resources: &["namespaces"],
        verbs: WRITE,
        component: "",
    },
    // One in the run's own namespace, see `engine::space`.
    Rule {
        group: "networking.k8s.io",
        resources: &["networkpolicies"],
        verbs: &["create"],
        component: "",
    },
    Rule {
        group: "",
        resources: &["nodes"],
        verbs: &["list"],
        component: "",
    },
    Rule {
        group: "",
        resources: &["pods"],
        verbs: WRITE,
        component: "",
    },
    Rule {
        group: "",
        resources: &["services"],
        verbs: &["get", "list", "watch", "delete"],
        component: "",
    },
    Rule {
        group: "",
        resources: &["serviceaccounts"],
        verbs: READ,
        component: "",
    },
    Rule {
        group: "",
        resources: &["pods/log"],
        verbs: &["get"],
        component: "",
    },
    Rule {
        group: "",
        resources: &["pods/portforward"],
        verbs: &["create", "get"],
        component: "",
    },
    Rule {
        group: "",
        resources: &["events"],
        verbs: &["list"],
        component: "",
    },
    Rule {
        group: "",
        resources: &["serviceaccounts/token"],
        verbs: &["create"],
        component: "",
    },
    Rule {
        group: "apps",
        resources: &["deployments", "statefulsets"],
        verbs: READ,
        component: "",
    },
    Rule {
        group: "batch",
        resources: &["jobs"],
        verbs: READ,
        component: "",
    },
    Rule {
        group: "autoscaling",
        resources: &["horizontalpodautoscalers"],
        verbs: READ,
        component: "kserve",
    },
    // The ways to a service from outside.
    Rule {
        group: "networking.k8s.io",
        resources: &["ingresses"],
        verbs: &["get"],
        component: "kserve",
    },
    Rule {
        group: "gateway.networking.k8s.io",
        resources: &["httproutes"],
        verbs: &["get"],
        component: "kserve",
    },
    // What a model is kept on.
    Rule {
        group: "",
        resources: &["persistentvolumeclaims"],
        verbs: WRITE,
        component: "kserve",
    },
    // Whether services get a way from outside.
    Rule {
        group: "",
        resources: &["configmaps"],
        verbs: &["get"],
        component: "kserve",
    },
    Rule {
        group: "apiextensions.k8s.io",
        resources: &["customresourcedefinitions"],
        verbs: READ,
        component: "",
    },
    Rule {
        group: "admissionregistration.k8s.io",
        resources: &[
            "validatingwebhookconfigurations",
            "mutatingwebhookconfigurations",
        ],
        verbs: READ,
        component: "",
    },
    // Whether anybody answers behind a webhook, and what a distribution says of itself.
    Rule {
        group: "",
        resources: &["endpoints"],
        verbs: &["get"],
        component: "",
    },
    Rule {
        group: "app.k8s.io",
        resources: &["applications"],
        verbs: &["list"],
        component: "",
    },
    Rule {
        group: "authorization.k8s.io",
        resources: &["selfsubjectaccessreviews"],
        verbs: &["create"],
        component: "",
    },
    Rule {
        group: "kubeflow.org",
        resources: &["profiles"],
        verbs: WRITE,
        component: "",
    },
    Rule {
        group: "kubeflow.org",
        resources: &["poddefaults"],
        verbs: WRITE,
        component: "platform",
    },
    Rule {
        group: "",
        resources: &["resourcequotas"],
        verbs: READ,
        component: "platform",
    },
    Rule {
        group: "",
        resources: &["serviceaccounts"],
        verbs: &["delete"],
        component: "platform",
    },
    Rule {
        group: "rbac.authorization.k8s.io",
        resources: &["rolebindings"],
        verbs: &["get", "list", "watch", "delete"],
        component: "platform",
    },
    Rule {
        group: "security.istio.io",
        resources: &["authorizationpolicies"],
        verbs: READ,
        component: "platform",
    },
    Rule {
        group: "authorization.k8s.io",
        resources: &["subjectaccessreviews"],
        verbs: &["create"],
        component: "platform",
    },
    Rule {
        group: "kubeflow.org",
        resources: &["notebooks"],
        verbs: WRITE,
        component: "notebooks",
    },
    // A workspace that is kept while its notebook is stopped.
    Rule {
        group: "",
        resources: &["persistentvolumeclaims"],
        verbs: WRITE,
        component: "notebooks",
    },
    Rule {
        group: "kubeflow.org",
        resources: &["poddefaults"],
        verbs: WRITE,
        component: "notebooks",
    },
    // Where the notebook controller's settings are: whether it stops idle notebooks.
    Rule {
        group: "",
        resources: &["configmaps"],
        verbs: &["get"],
        component: "notebooks",
    },
    // Where pipelines are kept in Kubernetes.
    Rule {
        group: "pipelines.kubeflow.org",
        resources: &["pipelines", "pipelineversions"],
        verbs: WRITE,
        component: "pipelines",
    },
    Rule {
        group: "kubeflow.org",
        resources: &["experiments", "experiments/status"],
        verbs: WRITE,
        component: "katib",
    },
    // A trial template may stand in a ConfigMap.
    Rule {
        group: "",
        resources: &["configmaps"],
        verbs: &["create", "delete"],
        component: "katib",
    },
    Rule {
        group: "kubeflow.org",
        resources: &["trials", "suggestions"],
        verbs: READ,
        component: "katib",
    },
    Rule {
        group: "serving.kserve.io",
        resources: &[
            "inferenceservices",
            "servingruntimes",
            "clusterservingruntimes",
            "inferencegraphs",
            "trainedmodels",
        ],
        verbs: WRITE,
        component: "kserve",
    },
    Rule {
        group: "trainer.kubeflow.org",
        resources: &["trainjobs", "trainingruntimes"],
        verbs: WRITE,
        component: "trainer",
    },
    Rule {
        group: "jobset.x-k8s.io",
        resources: &["jobsets"],
        verbs: READ,
        component: "trainer",
    },
    Rule {
        group: "sparkoperator.k8s.io",
        resources: &["sparkapplications", "scheduledsparkapplications"],
        verbs: WRITE,
        component: "spark",
    },
];

/// The rules that a run over these components needs.
pub fn rules<'a>(components: &'a [&'a str]) -> impl Iterator<Item = &'static Rule> + 'a {
    RULES
        .iter()
        .filter(|rule| rule.component.is_empty() || components.contains(&rule.component))
}

/// A resource as `kubectl auth can-i` takes it: `pods/log`, `experiments.kubeflow.org/status`.
pub fn resource_name(group: &str, resource: &str) -> String {
    match (resource.split_once('/'), group) {
        (_, "") => resource.to_owned(),
        (None, group) => format!("{resource}.{group}"),
        (Some((resource, sub)), group) => format!("{resource}.{group}/{sub}"),
    }
}

/// The ClusterRole of the suite; with `account` (namespace, name) its binding too.
pub fn manifests(account: Option<(&str, &str)>) -> Vec<Value> {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|r| json!({"apiGroups": [r.group], "resources": r.resources, "verbs": r.verbs}))
        .collect();
    let mut out = vec![json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "kfconform"},
        "rules": rules,
    })];
    if let Some((namespace, name)) = account {
        out.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "kfconform"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kfconform"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
        }));
    }
    out
}
