//! What this part of the reference can do wrong.

use crate::reference::Fault;

/// In the order of the requirements.
pub(in crate::reference) const FAULTS: &[Fault] = &[
    Fault::new(
        "kserve/api/serves-inferenceservices",
        "inferenceservices have no status subresource",
    ),
    Fault::wide(
        "kserve/api/serves-runtimes-and-graphs",
        "trained models are not served",
        "what admission says of trained models cannot be asked then",
    ),
    Fault::new(
        "kserve/api/refuses-wrong-types",
        "a number of replicas may be a word",
    ),
    Fault::new(
        "kserve/defaults/moves-framework-to-model",
        "the storage URI of a framework is lost",
    ),
    Fault::new(
        "kserve/defaults/gives-native-frameworks-protocol-v2",
        "no framework is given a protocol",
    ),
    Fault::new(
        "kserve/defaults/names-the-container",
        "containers keep their names",
    ),
    Fault::new(
        "kserve/defaults/fills-resources",
        "containers get no resources",
    ),
    Fault::new(
        "kserve/defaults/keeps-given-resources",
        "all containers get the usual resources",
    ),
    Fault::new(
        "kserve/admission/refuses-bad-names",
        "names are not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-no-predictor",
        "a predictor may run nothing",
    ),
    Fault::new(
        "kserve/admission/refuses-two-predictors",
        "a predictor may be two",
    ),
    Fault::new(
        "kserve/admission/refuses-min-above-max",
        "replicas are not compared",
    ),
    Fault::new(
        "kserve/admission/refuses-negative-replicas",
        "replicas may be negative",
    ),
    Fault::new(
        "kserve/admission/refuses-negative-concurrency",
        "concurrency may be negative",
    ),
    Fault::new(
        "kserve/admission/refuses-unknown-logger-mode",
        "a logger's mode may be any word",
    ),
    Fault::new(
        "kserve/admission/refuses-unknown-autoscaler",
        "an autoscaler's class may be any word",
    ),
    Fault::new(
        "kserve/admission/refuses-hpa-on-request-metrics",
        "the HPA's metric is not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-cpu-target-out-of-range",
        "the HPA's target is not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-unknown-protocol",
        "a container's protocol is not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-empty-transformer",
        "a transformer may run nothing",
    ),
    Fault::new(
        "kserve/admission/refuses-empty-explainer",
        "an explainer may run nothing",
    ),
    Fault::new(
        "kserve/admission/refuses-storage-in-collocated-transformer",
        "a transformer beside the predictor may have storage",
    ),
    Fault::new("kserve/graph/refuses-no-root", "a graph needs no root"),
    Fault::new(
        "kserve/graph/refuses-incomplete-weights",
        "weights are not added up",
    ),
    Fault::new(
        "kserve/graph/refuses-unclear-targets",
        "a step's targets are not counted",
    ),
    Fault::new(
        "kserve/graph/refuses-repeated-step-names",
        "steps may share a name",
    ),
    Fault::new(
        "kserve/runtime/refuses-equal-priority",
        "runtimes may share a priority",
    ),
    Fault::wide(
        "kserve/runtime/is-selected-by-format",
        "only runtimes with a priority are selected",
        "other checks have runtimes without a priority",
    ),
    Fault::new(
        "kserve/runtime/prefers-higher-priority",
        "the lowest priority wins",
    ),
    Fault::new(
        "kserve/runtime/is-not-selected-without-auto-select",
        "every runtime of a format is selected",
    ),
    Fault::new(
        "kserve/runtime/is-used-when-named",
        "a named runtime must allow its selection",
    ),
    Fault::new(
        "kserve/runtime/takes-fields-of-the-model",
        "the runtime's container is run as it is",
    ),
    Fault::wide(
        "kserve/runtime/fills-placeholders",
        "placeholders stay",
        "the model that is asked by its protocols has its name from a placeholder",
    ),
    Fault::new(
        "kserve/runtime/reports-unsupported-format",
        "a format without runtime is reported as a failed load",
    ),
    Fault::new(
        "kserve/runtime/reports-unknown-runtime",
        "an unknown runtime is reported as a failed load",
    ),
    Fault::new(
        "kserve/runtime/reports-disabled-runtime",
        "a disabled runtime is reported as a failed load",
    ),
    Fault::new(
        "kserve/inferenceservice/becomes-ready",
        "a ready service has no condition PredictorReady",
    ),
    Fault::wide(
        "kserve/inferenceservice/becomes-ready:never",
        "no service is ever ready",
        "some other checks wait for a ready service of their own",
    ),
    Fault::wide(
        "kserve/inferenceservice/reports-its-address",
        "a ready service has no URL",
        "the way from outside is compared with that URL",
    ),
    Fault::new(
        "kserve/inferenceservice/records-its-mode",
        "the mode is recorded by its old word",
    ),
    Fault::wide(
        "kserve/inferenceservice/answers-predictions",
        "the predictor's Service has another port",
        "whatever asks a predictor does so by its Service",
    ),
    Fault::wide(
        "kserve/inferenceservice/answers-predictions:target",
        "the predictor's Service leads to a port on which nothing listens",
        "whatever asks a predictor does so by its Service",
    ),
    Fault::new(
        "kserve/inferenceservice/owns-its-workload",
        "the Deployment names no controller",
    ),
    Fault::new(
        "kserve/inferenceservice/marks-its-pods",
        "the predictor's annotations do not reach its pods",
    ),
    Fault::new(
        "kserve/inferenceservice/refuses-another-mode",
        "the mode may be changed",
    ),
    Fault::new(
        "kserve/inferenceservice/leaves-scaling-to-others",
        "every service gets an autoscaler",
    ),
    Fault::new(
        "kserve/inferenceservice/runs-the-minimum-of-replicas",
        "one replica is enough for all",
    ),
    Fault::wide(
        "kserve/inferenceservice/rolls-out-changes",
        "a Deployment stays as it was made",
        "a change that is to fail comes to nothing then",
    ),
    Fault::new(
        "kserve/inferenceservice/is-not-ready-while-it-crashes",
        "a predictor that crashed counts as ready",
    ),
    Fault::new(
        "kserve/inferenceservice/stops-when-annotated",
        "the annotation is ignored",
    ),
    Fault::new(
        "kserve/inferenceservice/starts-again",
        "a stopped service stays stopped",
    ),
    Fault::new(
        "kserve/inferenceservice/is-deleted-with-its-workload",
        "the predictor's Service outlives its owner",
    ),
    Fault::new(
        "kserve/admission/refuses-model-name",
        "a model may have a name of its own",
    ),
    Fault::new(
        "kserve/admission/refuses-two-storage-sources",
        "a model may come from two places",
    ),
    Fault::new(
        "kserve/admission/refuses-unsafe-mount-paths",
        "models are mounted anywhere",
    ),
    Fault::new(
        "kserve/admission/refuses-incomplete-log-storage",
        "a logger's storage is not checked",
    ),
    Fault::new(
        "kserve/admission/refuses-bad-workers",
        "workers are not checked",
    ),
    Fault::wide(
        "kserve/admission/accepts-keda-and-none",
        "only the classes hpa and external are known",
        "what else is checked of services that KEDA or nobody scales starts from one that is accepted",
    ),
    Fault::new(
        "kserve/admission/refuses-external-metrics-for-hpa",
        "the HPA may be given any metric",
    ),
    Fault::new(
        "kserve/admission/refuses-scale-metric-for-keda",
        "KEDA may be given a scaleMetric",
    ),
    Fault::new(
        "kserve/admission/refuses-metric-without-query",
        "a metric needs no query",
    ),
    Fault::new(
        "kserve/admission/refuses-small-memory-for-keda",
        "any target of memory will do",
    ),
    Fault::new(
        "kserve/admission/refuses-strategy-with-knative",
        "Knative may be given a strategy of Deployments",
    ),
    Fault::new(
        "kserve/admission/refuses-cpu-metric-with-knative",
        "Knative may be given any metric",
    ),
    Fault::new(
        "kserve/admission/refuses-rps-target-of-zero",
        "a target of no requests will do",
    ),
    Fault::new(
        "kserve/defaults/names-every-component",
        "only predictors get defaults",
    ),
    Fault::new(
        "kserve/graph/refuses-bad-names",
        "the names of graphs are not checked",
    ),
    Fault::new(
        "kserve/trained-model/refuses-bad-names",
        "the names of trained models are not checked",
    ),
    Fault::new(
        "kserve/trained-model/refuses-unknown-storage",
        "the storage of trained models is not checked",
    ),
    Fault::new(
        "kserve/runtime/refuses-two-priorities",
        "a format may have two priorities",
    ),
    Fault::new(
        "kserve/runtime/precedes-cluster-runtimes",
        "runtimes of the cluster come first",
    ),
    Fault::new(
        "kserve/runtime/is-selected-for-its-protocol",
        "the protocol plays no part in the selection",
    ),
    Fault::new(
        "kserve/runtime/is-selected-for-its-version",
        "the version plays no part in the selection",
    ),
    Fault::new(
        "kserve/runtime/is-not-selected-when-disabled",
        "disabled runtimes are selected",
    ),
    Fault::new(
        "kserve/runtime/reports-unsupported-protocol",
        "a named runtime need not speak the protocol",
    ),
    Fault::new(
        "kserve/runtime/brings-its-pod-settings",
        "only the containers of a runtime are taken",
    ),
    Fault::new("kserve/runtime/is-recorded", "the runtime is not recorded"),
    Fault::new(
        "kserve/inferenceservice/serves-on-while-a-change-fails",
        "all pods go before new ones come",
    ),
    Fault::new(
        "kserve/inferenceservice/rolls-back",
        "a Deployment is changed once and never again",
    ),
    Fault::new(
        "kserve/inferenceservice/follows-its-minimum",
        "an autoscaler stays as it was made",
    ),
    Fault::new(
        "kserve/inferenceservice/reports-unknown-storage",
        "a storage URI may be anything",
    ),
    Fault::new(
        "kserve/inferenceservice/reports-a-loaded-model",
        "a model is reported as loading for ever",
    ),
    Fault::new(
        "kserve/workload/keeps-the-probe",
        "every predictor gets the same probe",
    ),
    Fault::new(
        "kserve/workload/passes-pod-settings",
        "the node selector is lost",
    ),
    Fault::new(
        "kserve/workload/uses-its-strategy",
        "every Deployment has the same strategy",
    ),
    Fault::new(
        "kserve/workload/hands-targets-to-the-autoscaler",
        "every autoscaler has the same target",
    ),
    Fault::new(
        "kserve/workload/leads-to-the-containers-port",
        "every Service leads to port 8080",
    ),
    Fault::new(
        "kserve/workload/leads-to-a-transformer-beside-it",
        "the Service passes the transformer by",
    ),
    Fault::wide(
        "kserve/storage/mounts-a-claim",
        "the volume is mounted elsewhere",
        "the checks of the protocols read what the model on the volume answers",
    ),
    Fault::new(
        "kserve/storage/mounts-it-read-only",
        "models may be written to",
    ),
    Fault::new(
        "kserve/storage/fetches-over-http",
        "the initializer fetches nothing",
    ),
    Fault::new(
        "kserve/protocol/lists-models-by-v1",
        "the list of models comes back empty",
    ),
    Fault::new(
        "kserve/protocol/tells-readiness-by-v1",
        "the way to a model by v1 is lost",
    ),
    Fault::new(
        "kserve/protocol/predicts-by-v1",
        "only requests by instances pass",
    ),
    Fault::new(
        "kserve/protocol/explains-errors-by-v1",
        "the error of an unknown model becomes another",
    ),
    Fault::new(
        "kserve/protocol/tells-health-by-v2",
        "the way to the liveness is lost",
    ),
    Fault::new(
        "kserve/protocol/describes-the-server-by-v2",
        "somebody else describes the server",
    ),
    Fault::new(
        "kserve/protocol/describes-the-model-by-v2",
        "somebody else describes the model",
    ),
    Fault::new(
        "kserve/protocol/tells-readiness-by-v2",
        "every model is ready",
    ),
    Fault::new("kserve/protocol/infers-by-v2", "the id is lost"),
    Fault::new(
        "kserve/protocol/keeps-the-order-of-data",
        "flat data do not pass",
    ),
    Fault::new(
        "kserve/protocol/explains-errors-by-v2",
        "the error of an empty request becomes another",
    ),
    Fault::new(
        "kserve/protocol/selects-outputs",
        "the choice of outputs is lost",
    ),
    Fault::new(
        "kserve/protocol/carries-binary-data",
        "the header that tells the length of the JSON is lost",
    ),
    Fault::new(
        "kserve/transformer/becomes-ready",
        "a ready transformer is not reported",
    ),
    Fault::new(
        "kserve/transformer/stands-before-the-predictor",
        "the address leads to the predictor",
    ),
    Fault::new(
        "kserve/transformer/is-told-its-model",
        "a transformer is not told its model",
    ),
    Fault::new(
        "kserve/transformer/owns-its-workload",
        "the Deployments beside the predictor name no controller",
    ),
    Fault::new(
        "kserve/transformer/keeps-its-arguments",
        "a transformer is told twice",
    ),
    Fault::new(
        "kserve/transformer/holds-the-service-back",
        "every transformer counts as ready",
    ),
    Fault::new(
        "kserve/explainer/becomes-ready",
        "a ready explainer is not reported",
    ),
    Fault::new(
        "kserve/explainer/explains",
        "an explainer is told another predictor",
    ),
    Fault::new("kserve/graph/becomes-ready", "a ready graph has no URL"),
    Fault::new(
        "kserve/graph/owns-its-router",
        "the router's Deployment names no controller",
    ),
    Fault::new(
        "kserve/graph/runs-a-sequence",
        "each step gets the first request",
    ),
    Fault::new(
        "kserve/graph/ends-a-sequence-by-its-condition",
        "the conditions of a sequence are ignored",
    ),
    Fault::new(
        "kserve/graph/switches-by-condition",
        "what meets no condition goes by the first step",
    ),
    Fault::new(
        "kserve/graph/merges-an-ensemble",
        "the answers of an ensemble are numbered",
    ),
    Fault::new(
        "kserve/graph/splits-by-weight",
        "a splitter always takes its first step",
    ),
    Fault::new(
        "kserve/graph/stops-at-a-hard-dependency",
        "no step is one on which all depends",
    ),
    Fault::new(
        "kserve/graph/goes-on-after-a-soft-dependency",
        "all depends on each step",
    ),
    Fault::new(
        "kserve/logger/logs-request-and-response",
        "the request is logged as the response",
    ),
    Fault::new(
        "kserve/logger/names-the-service",
        "an event does not tell the component",
    ),
    Fault::new(
        "kserve/logger/leaves-answers-alone",
        "errors become others on their way",
    ),
    Fault::new("kserve/logger/keeps-to-its-mode", "everything is logged"),
    Fault::new("kserve/batcher/answers-by-batches", "no batch has an id"),
    Fault::new(
        "kserve/batcher/refuses-empty-requests",
        "an empty request gets an empty answer",
    ),
    Fault::new(
        "kserve/batcher/lets-others-pass",
        "every answer gets a batch",
    ),
    Fault::new(
        "kserve/ingress/leads-the-host-to-the-service",
        "the Ingress is for another domain",
    ),
    Fault::new(
        "kserve/ingress/keeps-local-services-inside",
        "the label is ignored",
    ),
    Fault::new(
        "kserve/protocol/answers-by-grpc",
        "only the first port of a container gets a port of the Service",
    ),
];
