//! What admission says of how a service is to be scaled and rolled out; see [`super::admission`].

use super::{super::prelude::*, admission::admission_checks};

admission_checks! {
    "kserve/admission/accepts-keda-and-none" => Predictor {
        accepts: [
            {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "keda"}}},
            {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "none"}}},
        ],
        refuses: {},
    }
    "kserve/admission/refuses-external-metrics-for-hpa" => Predictor {
        accepts: [{
            "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
            "spec": {"predictor": {"autoScaling": {"metrics": [{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
            }]}}},
        }],
        refuses: {
            "that the HPA is to scale by an external metric": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {"autoScaling": {"metrics": [{
                    "type": "External",
                    "external": {
                        "metric": {"backend": "prometheus", "serverAddress": "http://p", "query": "q"},
                        "target": {"type": "Value", "value": "5"},
                    },
                }]}}},
            },
        },
    }
    "kserve/admission/refuses-scale-metric-for-keda" => Predictor {
        accepts: [{"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "keda"}}}],
        refuses: {
            "that KEDA is to scale by scaleMetric": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "keda"}},
                "spec": {"predictor": {"scaleMetric": "cpu"}},
            },
        },
    }
    "kserve/admission/refuses-metric-without-query" => Predictor {
        accepts: [{
            "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "keda"}},
            "spec": {"predictor": {"autoScaling": {"metrics": [{
                "type": "External",
                "external": {
                    "metric": {"backend": "prometheus", "serverAddress": "http://p", "query": "q"},
                    "target": {"type": "Value", "value": "5"},
                },
            }]}}},
        }],
        refuses: {
            "whose external metric has no query": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "keda"}},
                "spec": {"predictor": {"autoScaling": {"metrics": [{
                    "type": "External",
                    "external": {
                        "metric": {"backend": "prometheus", "serverAddress": "http://p"},
                        "target": {"type": "Value", "value": "5"},
                    },
                }]}}},
            },
        },
    }
    "kserve/admission/refuses-small-memory-for-keda" => Predictor {
        accepts: [{
            "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "keda"}},
            "spec": {"predictor": {"autoScaling": {"metrics": [{
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "20Mi"}},
            }]}}},
        }],
        refuses: {
            "whose memory target is 1 KiB": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "keda"}},
                "spec": {"predictor": {"autoScaling": {"metrics": [{
                    "type": "Resource",
                    "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Ki"}},
                }]}}},
            },
        },
    }
    "kserve/admission/refuses-strategy-with-knative" => Knative {
        accepts: [],
        refuses: {
            "with Knative and a strategy of Deployments": {"spec": {"predictor": {
                "deploymentStrategy": {"type": "Recreate"},
            }}},
        },
    }
    "kserve/admission/refuses-cpu-metric-with-knative" => Knative {
        accepts: [
            {"spec": {"predictor": {"scaleMetric": "concurrency"}}},
            {"spec": {"predictor": {"scaleMetric": "rps"}}},
            {
                "metadata": {"annotations": {"autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"}},
                "spec": {"predictor": {"scaleMetric": "cpu"}},
            },
        ],
        refuses: {
            "that Knative is to scale by CPU": {"spec": {"predictor": {"scaleMetric": "cpu"}}},
        },
    }
    "kserve/admission/refuses-rps-target-of-zero" => Knative {
        accepts: [{"spec": {"predictor": {"scaleMetric": "rps", "scaleTarget": 1}}}],
        refuses: {
            "whose target is no request at all": {"spec": {"predictor": {"scaleMetric": "rps", "scaleTarget": 0}}},
        },
    }
}
