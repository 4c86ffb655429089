//! What the webhook says of how a service is to be scaled and rolled out.

use serde_json::Value;

use super::{
    MODE, MODE_STANDARD,
    admission::{Rule, autoscaler, each_component, number, under_hpa},
    array, text,
};
use crate::reference::kube::AdmissionRequest;

/// The metrics of a component's autoScaling.
fn metrics(component: &Value) -> impl Iterator<Item = &Value> {
    array(&component["autoScaling"]["metrics"])
}

/// Only for services in the mode without Knative that KEDA is to scale.
fn under_keda(request: &AdmissionRequest) -> Option<()> {
    let standard = request.object["metadata"]["annotations"][MODE] == MODE_STANDARD;
    (standard && autoscaler(request) == Some("keda")).then_some(())
}

/// Only for services in another mode, which Knative is to scale by what it knows itself.
fn under_knative(request: &AdmissionRequest) -> Option<()> {
    let annotations = &request.object["metadata"]["annotations"];
    let own = annotations["autoscaling.knative.dev/class"] != "hpa.autoscaling.knative.dev";
    (annotations[MODE] != MODE_STANDARD && own).then_some(())
}

pub(super) const SCALING_RULES: &[Rule] = &[
    (
        "kserve/admission/refuses-external-metrics-for-hpa",
        |request| {
            under_hpa(request)?;
            each_component(request, |c| {
                metrics(c)
                .find(|metric| metric["type"] != "Resource")
                .map(|metric| format!("invalid HPA metric source type with value [{}],valid metric source types are Resource", text(&metric["type"])))
            })
        },
    ),
    (
        "kserve/admission/refuses-scale-metric-for-keda",
        |request| {
            under_keda(request)?;
            each_component(request, |c| {
                c["scaleMetric"]
                    .is_string()
                    .then(|| "ScaleMetric is not supported for KEDA".to_owned())
            })
        },
    ),
    ("kserve/admission/refuses-metric-without-query", |request| {
        under_keda(request)?;
        each_component(request, |c| {
            metrics(c)
                .any(|m| {
                    m["type"] == "External" && text(&m["external"]["metric"]["query"]).is_empty()
                })
                .then(|| "the query should not be empty".to_owned())
        })
    }),
    (
        "kserve/admission/refuses-small-memory-for-keda",
        |request| {
            under_keda(request)?;
            each_component(request, |c| {
                metrics(c)
                    .filter(|m| m["resource"]["name"] == "memory")
                    .map(|m| text(&m["resource"]["target"]["averageValue"]))
                    .any(|value| value.ends_with("Ki") || value.ends_with('k'))
                    .then(|| "the memory target value should be greater than 1 MiB".to_owned())
            })
        },
    ),
    (
        "kserve/admission/refuses-strategy-with-knative",
        |request| {
            under_knative(request)?;
            each_component(request, |c| {
                c["deploymentStrategy"].is_object().then(|| {
                    "customizing deploymentStrategy is only supported for raw deployment mode"
                        .to_owned()
                })
            })
        },
    ),
    (
        "kserve/admission/refuses-cpu-metric-with-knative",
        |request| {
            under_knative(request)?;
            each_component(request, |c| {
                let metric = c["scaleMetric"].as_str().unwrap_or("concurrency");
                (!["concurrency", "rps"].contains(&metric))
                    .then(|| format!("[{metric}] is not a supported metric"))
            })
        },
    ),
    ("kserve/admission/refuses-rps-target-of-zero", |request| {
        under_knative(request)?;
        each_component(request, |c| {
            (c["scaleMetric"] == "rps" && number(&c["scaleTarget"]).is_some_and(|t| t < 1))
                .then(|| "the target for rps should be greater than 1".to_owned())
        })
    }),
];
