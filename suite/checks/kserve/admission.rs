//! What admission refuses. Each row of the table is one check: a base object that is accepted, what else must be accepted,
//! and what must be refused, each as the change to the base (a merge patch). All are dry runs.

use super::{super::prelude::*, MODE, knative_mode, merged, predictor};

/// What a row starts from.
#[derive(Clone, Copy)]
pub(super) enum Base {
    /// fixtures/kserve/predictor.yaml.
    Predictor,
    /// The same, to be deployed with Knative. Admission goes by the word alone.
    Knative,
    /// A model whose runtime is to be found.
    Model,
    /// fixtures/kserve/graph.yaml.
    Graph,
    /// fixtures/kserve/trained-model.yaml.
    TrainedModel,
}

/// Declares the table; `accepts` and `refuses` are JSON.
macro_rules! admission_checks {
    ($($id:literal => $base:ident {
        accepts: [$($good:tt),* $(,)?],
        refuses: {$($what:literal: $bad:tt),* $(,)?} $(,)?
    })*) => {
        /// The checks of this module, in the order in which reports list them.
        pub const CHECKS: &[Check] = &[$(Check {
            id: $id,
            needs: &[],
            run: |cx| Box::pin($crate::checks::kserve::admission::holds(
                cx,
                $crate::checks::kserve::admission::Base::$base,
                vec![$(json!($good)),*],
                vec![$(($what, json!($bad))),*],
            )),
        }),*];
    };
}

pub(super) use admission_checks;

/// The base and each change in `accepts` are accepted, each change in `refuses` is refused.
pub(super) async fn holds(
    cx: &Cx,
    base: Base,
    accepts: Vec<Value>,
    refuses: Vec<(&'static str, Value)>,
) -> Outcome {
    let (kind, good) = match base {
        Base::Predictor => (&INFERENCE_SERVICE, predictor(cx, "twin")?),
        Base::Knative => {
            let knative = json!({"metadata": {"annotations": {MODE: knative_mode(cx)?}}});
            (
                &INFERENCE_SERVICE,
                merged(&predictor(cx, "twin")?, &knative),
            )
        }
        Base::Model => {
            let model = json!({"modelFormat": {"name": "sklearn"}, "storageUri": "s3://a/b"});
            let change = json!({"spec": {"predictor": {"containers": null, "model": model}}});
            (&INFERENCE_SERVICE, merged(&predictor(cx, "twin")?, &change))
        }
        Base::Graph => {
            let name = cx.name("twin");
            let object = cx.fixture("kserve/graph.yaml", &[("name", &name)])?;
            (&INFERENCE_GRAPH, object)
        }
        Base::TrainedModel => {
            let marks = [("name", &*cx.name("twin")), ("service", "none")];
            (
                &TRAINED_MODEL,
                cx.fixture("kserve/trained-model.yaml", &marks)?,
            )
        }
    };
    cx.dry_run(kind, &good).await?;
    for change in &accepts {
        cx.dry_run(kind, &merged(&good, change)).await?;
    }
    for (what, change) in &refuses {
        cx.refuses_only(kind, &merged(&good, change), what).await?;
    }
    Ok(())
}

admission_checks! {
    "kserve/admission/refuses-bad-names" => Predictor {
        accepts: [{"metadata": {"name": "abc-1"}}],
        refuses: {
            "whose name begins with a digit": {"metadata": {"name": "1abc"}},
            "whose name has a dot": {"metadata": {"name": "a.b"}},
        },
    }
    "kserve/admission/refuses-no-predictor" => Predictor {
        accepts: [],
        refuses: {
            "whose predictor runs nothing": {"spec": {"predictor": {"containers": null}}},
        },
    }
    "kserve/admission/refuses-two-predictors" => Predictor {
        accepts: [{"spec": {"predictor": {"containers": null, "sklearn": {"storageUri": "s3://a/b"}}}}],
        refuses: {
            "with two frameworks": {"spec": {"predictor": {
                "containers": null,
                "sklearn": {"storageUri": "s3://a/b"},
                "xgboost": {"storageUri": "s3://a/b"},
            }}},
        },
    }
    "kserve/admission/refuses-min-above-max" => Predictor {
        accepts: [
            {"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 2}}},
            {"spec": {"predictor": {"minReplicas": 3, "maxReplicas": 0}}},
        ],
        refuses: {
            "whose minReplicas is above its maxReplicas": {"spec": {"predictor": {"minReplicas": 3, "maxReplicas": 2}}},
        },
    }
    "kserve/admission/refuses-negative-replicas" => Predictor {
        accepts: [{"spec": {"predictor": {"minReplicas": 0}}}],
        refuses: {
            "whose minReplicas is negative": {"spec": {"predictor": {"minReplicas": -1}}},
            "whose maxReplicas is negative": {"spec": {"predictor": {"maxReplicas": -1}}},
        },
    }
    "kserve/admission/refuses-negative-concurrency" => Predictor {
        accepts: [{"spec": {"predictor": {"containerConcurrency": 0}}}],
        refuses: {
            "whose containerConcurrency is negative": {"spec": {"predictor": {"containerConcurrency": -1}}},
        },
    }
    "kserve/admission/refuses-unknown-logger-mode" => Predictor {
        accepts: [
            {"spec": {"predictor": {"logger": {"mode": "all", "url": "http://sink"}}}},
            {"spec": {"predictor": {"logger": {"mode": "request", "url": "http://sink"}}}},
            {"spec": {"predictor": {"logger": {"mode": "response", "url": "http://sink"}}}},
        ],
        refuses: {
            "whose logger mode is unknown": {"spec": {"predictor": {"logger": {"mode": "sometimes", "url": "http://sink"}}}},
        },
    }
    "kserve/admission/refuses-unknown-autoscaler" => Predictor {
        accepts: [
            {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}}},
            {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "external"}}},
        ],
        refuses: {
            "whose autoscaler class is unknown": {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "magic"}}},
        },
    }
    "kserve/admission/refuses-hpa-on-request-metrics" => Predictor {
        accepts: [
            {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {"scaleMetric": "cpu"}},
            },
            {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {"scaleMetric": "memory"}},
            },
        ],
        refuses: {
            "that the HPA is to scale by concurrency": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {"scaleMetric": "concurrency"}},
            },
        },
    }
    "kserve/admission/refuses-cpu-target-out-of-range" => Predictor {
        accepts: [
            {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {"scaleMetric": "cpu", "scaleTarget": 1}},
            },
            {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {"scaleMetric": "cpu", "scaleTarget": 100}},
            },
        ],
        refuses: {
            "whose CPU target is 0 percent": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {"scaleMetric": "cpu", "scaleTarget": 0}},
            },
            "whose CPU target is 101 percent": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {"scaleMetric": "cpu", "scaleTarget": 101}},
            },
        },
    }
    "kserve/admission/refuses-unknown-protocol" => Predictor {
        accepts: [
            {"spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "x", "env": [{"name": "PROTOCOL", "value": "v1"}]}]}}},
            {"spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "x", "env": [{"name": "PROTOCOL", "value": "v2"}]}]}}},
        ],
        refuses: {
            "whose container names an unknown protocol": {"spec": {"predictor": {"containers": [
                {"name": "kserve-container", "image": "x", "env": [{"name": "PROTOCOL", "value": "v9"}]},
            ]}}},
        },
    }
    "kserve/admission/refuses-empty-transformer" => Predictor {
        accepts: [{"spec": {"transformer": {"containers": [{"name": "kserve-container", "image": "x"}]}}}],
        refuses: {
            "whose transformer runs nothing": {"spec": {"transformer": {"minReplicas": 1}}},
        },
    }
    "kserve/admission/refuses-empty-explainer" => Predictor {
        accepts: [{"spec": {"explainer": {"containers": [{"name": "kserve-container", "image": "x"}]}}}],
        refuses: {
            "whose explainer runs nothing": {"spec": {"explainer": {"minReplicas": 1}}},
        },
    }
    "kserve/admission/refuses-storage-in-collocated-transformer" => Predictor {
        accepts: [{"spec": {"predictor": {"containers": [
            {"name": "kserve-container", "image": "x"},
            {"name": "transformer-container", "image": "x"},
        ]}}}],
        refuses: {
            "whose collocated transformer has a storage URI": {"spec": {"predictor": {"containers": [
                {"name": "kserve-container", "image": "x"},
                {"name": "transformer-container", "image": "x", "env": [{"name": "STORAGE_URI", "value": "s3://a/b"}]},
            ]}}},
        },
    }
    "kserve/admission/refuses-model-name" => Model {
        accepts: [],
        refuses: {
            "whose model has a container's name": {"spec": {"predictor": {"model": {"name": "mine"}}}},
        },
    }
    "kserve/admission/refuses-two-storage-sources" => Model {
        accepts: [{"spec": {"predictor": {
            "model": {"storageUri": null},
            "storageUris": [{"uri": "s3://a/b", "mountPath": "/mnt/models/b"}],
        }}}],
        refuses: {
            "with a storageUri and storageUris": {"spec": {"predictor": {
                "storageUris": [{"uri": "s3://a/b", "mountPath": "/mnt/models/b"}],
            }}},
        },
    }
    "kserve/admission/refuses-unsafe-mount-paths" => Model {
        accepts: [{"spec": {"predictor": {
            "model": {"storageUri": null},
            "storageUris": [
                {"uri": "s3://a/b", "mountPath": "/mnt/models/b"},
                {"uri": "s3://a/c", "mountPath": "/mnt/models/c"},
            ],
        }}}],
        refuses: {
            "that mounts a model at a relative path": {"spec": {"predictor": {
                "model": {"storageUri": null},
                "storageUris": [{"uri": "s3://a/b", "mountPath": "models"}],
            }}},
            "that mounts a model at the root": {"spec": {"predictor": {
                "model": {"storageUri": null},
                "storageUris": [{"uri": "s3://a/b", "mountPath": "/"}],
            }}},
            "that mounts a model at a path with ..": {"spec": {"predictor": {
                "model": {"storageUri": null},
                "storageUris": [{"uri": "s3://a/b", "mountPath": "/mnt/../models"}],
            }}},
            "that mounts models at paths without a common parent": {"spec": {"predictor": {
                "model": {"storageUri": null},
                "storageUris": [
                    {"uri": "s3://a/b", "mountPath": "/one/b"},
                    {"uri": "s3://a/c", "mountPath": "/two/c"},
                ],
            }}},
        },
    }
    "kserve/admission/refuses-incomplete-log-storage" => Predictor {
        accepts: [{"spec": {"predictor": {"logger": {
            "mode": "all", "url": "s3://logs",
            "storage": {"path": "logs", "key": "store", "parameters": {"type": "s3"}},
        }}}}],
        refuses: {
            "whose logger's storage has no path": {"spec": {"predictor": {"logger": {
                "mode": "all", "url": "s3://logs",
                "storage": {"key": "store", "parameters": {"type": "s3"}},
            }}}},
            "whose logger's storage has no key": {"spec": {"predictor": {"logger": {
                "mode": "all", "url": "s3://logs",
                "storage": {"path": "logs", "parameters": {"type": "s3"}},
            }}}},
        },
    }
    "kserve/admission/refuses-bad-workers" => Model {
        accepts: [{
            "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "none"}},
            "spec": {"predictor": {
                "model": {"storageUri": "pvc://a/b"},
                "workerSpec": {
                    "pipelineParallelSize": 2, "tensorParallelSize": 1,
                    "containers": [{"name": "worker-container", "image": "x"}],
                },
            }},
        }],
        refuses: {
            "whose workers are of two containers": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "none"}},
                "spec": {"predictor": {
                    "model": {"storageUri": "pvc://a/b"},
                    "workerSpec": {"containers": [
                        {"name": "worker-container", "image": "x"},
                        {"name": "other", "image": "x"},
                    ]},
                }},
            },
            "whose pipeline of workers is of size 0": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "none"}},
                "spec": {"predictor": {
                    "model": {"storageUri": "pvc://a/b"},
                    "workerSpec": {
                        "pipelineParallelSize": 0,
                        "containers": [{"name": "worker-container", "image": "x"}],
                    },
                }},
            },
            "whose workers are to be scaled": {
                "metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}},
                "spec": {"predictor": {
                    "model": {"storageUri": "pvc://a/b"},
                    "workerSpec": {"containers": [{"name": "worker-container", "image": "x"}]},
                }},
            },
        },
    }
}
