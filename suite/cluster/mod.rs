//! The only door to the cluster.
//!
//! A [`Session`] is what one check (or set-up, or the discovery) holds: it sends requests and records each with its
//! answer as one [`Exchange`]. Behind it is either the live [`Door`] or the recording of an earlier run. A check can
//! not tell which, and that is the point: its verdict is a pure function of its exchanges.
//!
//! Two rules make that true:
//! - the time that a check sees is the end of its last exchange, never a clock of its own;
//! - what a check reads is the recorded form of an answer: already redacted, headers already chosen.

pub mod config;
pub mod discover;
pub mod door;
pub mod exchange;
mod foreign;
pub mod grpc;
pub mod plugin;
mod proxy;
pub mod rbac;
pub mod redact;
pub mod session;
pub(crate) mod tunnel;

pub use config::{Config, ConfigError};
pub use discover::Facts;
pub(crate) use door::client;
pub use door::{ConnectError, Door, Target};
pub use exchange::{Answer, Asked, Body, Endpoint, Evidence, Exchange, Identity, Reply, Request};
pub use plugin::Plugin;
pub use session::{Session, TransportError, Watch};

/// The label that every object of a run carries; its value is the run's id.
pub const RUN_LABEL: &str = "conformance.kubeflow.org/run";
/// The annotation that names the check or set-up that made an object.
pub const CHECK_ANNOTATION: &str = "conformance.kubeflow.org/check";

/// The name of a run's own namespace, and what the names of all its other objects begin with.
pub fn own_name(run: &str) -> String {
    format!("kfc-{run}")
}

/// A kind of Kubernetes object: what is needed to write its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version, like `v1beta1`.
    pub version: &'static str,
    /// Kind, like `Experiment`.
    pub kind: &'static str,
    /// Plural resource name, like `experiments`.
    pub plural: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

impl Kind {
    /// A namespaced kind.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            namespaced: true,
        }
    }

    /// A cluster-scoped kind.
    pub const fn cluster(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            namespaced: false,
        }
    }

    /// The same kind served in another version.
    #[must_use]
    pub const fn at(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// `group/version`, or `version` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The URL path of the collection (in `namespace` for a namespaced kind; all namespaces when it is empty).
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() {
            "/api".to_owned()
        } else {
            format!("/apis/{}", self.group)
        };
        if self.namespaced && !namespace.is_empty() {
            format!(
                "{root}/{}/namespaces/{namespace}/{}",
                self.version, self.plural
            )
        } else {
            format!("{root}/{}/{}", self.version, self.plural)
        }
    }
}

/// The kinds that the suite speaks of.
pub mod kinds {
    use super::Kind;

    /// Core namespaces.
    pub const NAMESPACE: Kind = Kind::cluster("", "v1", "Namespace", "namespaces");
    /// Nodes.
    pub const NODE: Kind = Kind::cluster("", "v1", "Node", "nodes");
    /// Pods.
    pub const POD: Kind = Kind::namespaced("", "v1", "Pod", "pods");
    /// NetworkPolicy.
    pub const NETWORK_POLICY: Kind = Kind::namespaced(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
    );
    /// Services.
    pub const SERVICE: Kind = Kind::namespaced("", "v1", "Service", "services");
    /// Service accounts.
    pub const SERVICE_ACCOUNT: Kind =
        Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    /// Config maps.
    pub const CONFIG_MAP: Kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
    /// Claims of persistent volumes.
    pub const CLAIM: Kind =
        Kind::namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");
    /// Events of the core group.
    pub const EVENT: Kind = Kind::namespaced("", "v1", "Event", "events");
    /// Deployments.
    pub const DEPLOYMENT: Kind = Kind::namespaced("apps", "v1", "Deployment", "deployments");
    /// Stateful sets.
    pub const STATEFUL_SET: Kind = Kind::namespaced("apps", "v1", "StatefulSet", "statefulsets");
    /// Jobs.
    pub const JOB: Kind = Kind::namespaced("batch", "v1", "Job", "jobs");
    /// Horizontal pod autoscalers.
    pub const HPA: Kind = Kind::namespaced(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    );
    /// Custom resource definitions.
    pub const CRD: Kind = Kind::cluster(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    /// Validating webhook configurations.
    pub const VALIDATING_WEBHOOK: Kind = Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    );
    /// Mutating webhook configurations.
    pub const MUTATING_WEBHOOK: Kind = Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    );
    /// What the suite's own user may do.
    pub const SELF_ACCESS: Kind = Kind::cluster(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
    );
    /// Resource quotas.
    pub const RESOURCE_QUOTA: Kind = Kind::namespaced("", "v1", "ResourceQuota", "resourcequotas");
    /// Role bindings.
    pub const ROLE_BINDING: Kind = Kind::namespaced(
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
    );
    /// What somebody may do.
    pub const ACCESS: Kind = Kind::cluster(
        "authorization.k8s.io",
        "v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
    );
    /// Istio's authorization policies.
    pub const AUTHORIZATION_POLICY: Kind = Kind::namespaced(
        "security.istio.io",
        "v1beta1",
        "AuthorizationPolicy",
        "authorizationpolicies",
    );
    /// Kubeflow pod defaults.
    pub const POD_DEFAULT: Kind =
        Kind::namespaced("kubeflow.org", "v1alpha1", "PodDefault", "poddefaults");
    /// Kubeflow profiles.
    pub const PROFILE: Kind = Kind::cluster("kubeflow.org", "v1", "Profile", "profiles");
    /// Notebooks.
    pub const NOTEBOOK: Kind = Kind::namespaced("kubeflow.org", "v1", "Notebook", "notebooks");
    /// Pipelines, where the Pipelines API server keeps them in Kubernetes.
    pub const PIPELINE: Kind =
        Kind::namespaced("pipelines.kubeflow.org", "v2beta1", "Pipeline", "pipelines");
    /// Versions of pipelines, kept in the same way.
    pub const PIPELINE_VERSION: Kind = Kind::namespaced(
        "pipelines.kubeflow.org",
        "v2beta1",
        "PipelineVersion",
        "pipelineversions",
    );
    /// Katib experiments.
    pub const EXPERIMENT: Kind =
        Kind::namespaced("kubeflow.org", "v1beta1", "Experiment", "experiments");
    /// Katib trials.
    pub const TRIAL: Kind = Kind::namespaced("kubeflow.org", "v1beta1", "Trial", "trials");
    /// Katib suggestions.
    pub const SUGGESTION: Kind =
        Kind::namespaced("kubeflow.org", "v1beta1", "Suggestion", "suggestions");
    /// Ingresses.
    pub const INGRESS: Kind = Kind::namespaced("networking.k8s.io", "v1", "Ingress", "ingresses");
    /// HTTP routes of the Gateway API.
    pub const HTTP_ROUTE: Kind =
        Kind::namespaced("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
    /// KServe inference services.
    pub const INFERENCE_SERVICE: Kind = Kind::namespaced(
        "serving.kserve.io",
        "v1beta1",
        "InferenceService",
        "inferenceservices",
    );
    /// KServe serving runtimes.
    pub const SERVING_RUNTIME: Kind = Kind::namespaced(
        "serving.kserve.io",
        "v1alpha1",
        "ServingRuntime",
        "servingruntimes",
    );
    /// KServe cluster serving runtimes.
    pub const CLUSTER_SERVING_RUNTIME: Kind = Kind::cluster(
        "serving.kserve.io",
        "v1alpha1",
        "ClusterServingRuntime",
        "clusterservingruntimes",
    );
    /// KServe inference graphs.
    pub const INFERENCE_GRAPH: Kind = Kind::namespaced(
        "serving.kserve.io",
        "v1alpha1",
        "InferenceGraph",
        "inferencegraphs",
    );
    /// KServe trained models.
    pub const TRAINED_MODEL: Kind = Kind::namespaced(
        "serving.kserve.io",
        "v1alpha1",
        "TrainedModel",
        "trainedmodels",
    );
    /// Trainer's training jobs.
    pub const TRAIN_JOB: Kind =
        Kind::namespaced("trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs");
    /// Trainer's runtimes of a namespace.
    pub const TRAINING_RUNTIME: Kind = Kind::namespaced(
        "trainer.kubeflow.org",
        "v1alpha1",
        "TrainingRuntime",
        "trainingruntimes",
    );
    /// Trainer's runtimes for all namespaces.
    pub const CLUSTER_TRAINING_RUNTIME: Kind = Kind::cluster(
        "trainer.kubeflow.org",
        "v1alpha1",
        "ClusterTrainingRuntime",
        "clustertrainingruntimes",
    );
    /// Sets of Jobs, which training jobs are made of.
    pub const JOB_SET: Kind = Kind::namespaced("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets");
    /// Spark applications.
    pub const SPARK_APPLICATION: Kind = Kind::namespaced(
        "sparkoperator.k8s.io",
        "v1beta2",
        "SparkApplication",
        "sparkapplications",
    );
    /// Spark applications on a schedule.
    pub const SCHEDULED_SPARK_APPLICATION: Kind = Kind::namespaced(
        "sparkoperator.k8s.io",
        "v1beta2",
        "ScheduledSparkApplication",
        "scheduledsparkapplications",
    );
}
