//! What Katib refuses, each beside what it accepts.

use super::{admission::admission_checks, base};
use crate::checks::prelude::*;

admission_checks! {
    "katib/validation/objective" => objective {
        accepts "with an objective to minimize" {"spec.objective.type": "minimize"}
        refuses "without an objective" {"spec.objective": null}
        refuses "with an objective without a type" {"spec.objective.type": null}
        refuses "with an objective of type `median`" {"spec.objective.type": "median"}
        refuses "with an objective without a metric" {"spec.objective.objectiveMetricName": null}
    }
    "katib/validation/additional-metrics" => additional_metrics {
        accepts "with an additional metric" {"spec.objective.additionalMetricNames": ["loss"]}
        refuses "with the objective's metric among the additional ones" {"spec.objective.additionalMetricNames": ["loss", "acc"]}
    }
    "katib/validation/algorithm" => algorithm {
        accepts "with the algorithm `grid`" {
            "spec.algorithm.algorithmName": "grid",
            "spec.parameters.0.feasibleSpace.step": "0.01"
        }
        refuses "without an algorithm" {"spec.algorithm": null}
        refuses "with an algorithm without a name" {"spec.algorithm.algorithmName": ""}
        refuses "with an algorithm that nobody offers" {"spec.algorithm.algorithmName": "conformance-unknown"}
    }
    "katib/validation/early-stopping" => early_stopping {
        accepts "with medianstop" {"spec.earlyStopping": {"algorithmName": "medianstop"}}
        refuses "with early stopping without a name" {"spec.earlyStopping": {"algorithmName": ""}}
        refuses "with early stopping that nobody offers" {"spec.earlyStopping": {"algorithmName": "conformance-unknown"}}
    }
    "katib/validation/trial-counts" => trial_counts {
        accepts "with maxFailedTrialCount 0" {"spec.maxFailedTrialCount": 0}
        accepts "without maxTrialCount" {"spec.maxTrialCount": null}
        refuses "with maxTrialCount 0" {"spec.maxTrialCount": 0}
        refuses "with parallelTrialCount 0" {"spec.parallelTrialCount": 0}
        refuses "with maxFailedTrialCount -1" {"spec.maxFailedTrialCount": -1}
    }
    "katib/validation/parallel-within-max" => parallel_within_max {
        accepts "with as many parallel trials as trials" {"spec.maxTrialCount": 2, "spec.parallelTrialCount": 2}
        refuses "with more parallel trials than trials" {"spec.maxTrialCount": 2, "spec.parallelTrialCount": 3}
    }
    "katib/validation/failed-within-max" => failed_within_max {
        accepts "that may fail as often as it tries" {"spec.maxTrialCount": 2, "spec.maxFailedTrialCount": 2}
        refuses "that may fail more often than it tries" {"spec.maxTrialCount": 2, "spec.maxFailedTrialCount": 3}
    }
    "katib/validation/resume-policy" => resume_policy {
        accepts "with resumePolicy Never" {"spec.resumePolicy": "Never"}
        accepts "with resumePolicy LongRunning" {"spec.resumePolicy": "LongRunning"}
        accepts "with resumePolicy FromVolume" {"spec.resumePolicy": "FromVolume"}
        refuses "with resumePolicy Sometimes" {"spec.resumePolicy": "Sometimes"}
    }
    "katib/validation/parameters" => parameters {
        refuses "without parameters" {"spec.parameters": null}
        refuses "with an empty list of parameters" {"spec.parameters": []}
    }
    "katib/validation/parameter-type" => parameter_type {
        accepts "with a parameter of type int" {
            "spec.parameters.0": {"name": "lr", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}}
        }
        refuses "with a parameter of type `float`" {"spec.parameters.0.parameterType": "float"}
    }
    "katib/validation/number-ranges" => number_ranges {
        refuses "with a double parameter that has a list" {"spec.parameters.0.feasibleSpace.list": ["0.01", "0.05"]}
        refuses "with an int parameter that has a list" {
            "spec.parameters.0": {"name": "lr", "parameterType": "int", "feasibleSpace": {"list": ["1", "2"]}}
        }
        refuses "with a double parameter that has neither min nor max" {
            "spec.parameters.0.feasibleSpace": {"step": "0.01"}
        }
    }
    "katib/validation/lists" => lists {
        accepts "with a categorical parameter" {
            "spec.parameters.0": {"name": "lr", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}}
        }
        accepts "with a discrete parameter" {
            "spec.parameters.0": {"name": "lr", "parameterType": "discrete", "feasibleSpace": {"list": ["1", "2"]}}
        }
        refuses "with a categorical parameter that has a range" {
            "spec.parameters.0": {"name": "lr", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"], "min": "1", "max": "2"}}
        }
        refuses "with a discrete parameter that has a step" {
            "spec.parameters.0": {"name": "lr", "parameterType": "discrete", "feasibleSpace": {"list": ["1", "2"], "step": "1"}}
        }
    }
    "katib/validation/distribution" => distribution {
        accepts "with the distribution normal" {"spec.parameters.0.feasibleSpace.distribution": "normal"}
        refuses "with the distribution `poisson`" {"spec.parameters.0.feasibleSpace.distribution": "poisson"}
    }
    "katib/validation/trial-template" => trial_template {
        refuses "without a trial template" {"spec.trialTemplate": null}
        refuses "with a trial template without a primary container" {"spec.trialTemplate.primaryContainerName": null}
        refuses "with a trial template without trialParameters" {"spec.trialTemplate.trialParameters": null}
    }
    "katib/validation/trial-source" => trial_source {
        refuses "with neither trialSpec nor configMap" {
            "spec.trialTemplate.trialSpec": null,
            "spec.trialTemplate.successCondition": "status.conditions.#(type==\"Complete\")#",
            "spec.trialTemplate.failureCondition": "status.conditions.#(type==\"Failed\")#"
        }
        refuses "with both trialSpec and configMap" {
            "spec.trialTemplate.configMap": {"configMapName": "conformance-absent", "configMapNamespace": "default", "templatePath": "t.yaml"}
        }
        refuses "with a ConfigMap that does not exist" {
            "spec.trialTemplate.trialSpec": null,
            "spec.trialTemplate.successCondition": "status.conditions.#(type==\"Complete\")#",
            "spec.trialTemplate.failureCondition": "status.conditions.#(type==\"Failed\")#",
            "spec.trialTemplate.configMap": {"configMapName": "conformance-absent", "configMapNamespace": "default", "templatePath": "t.yaml"}
        }
    }
    "katib/validation/custom-kinds" => custom_kinds {
        accepts "with trials of another kind and its conditions" {
            "spec.trialTemplate.trialSpec.kind": "Rehearsal", "spec.trialTemplate.trialSpec.apiVersion": "conformance.kubeflow.org/v1",
            "spec.trialTemplate.successCondition": "status.conditions.#(type==\"Complete\")#",
            "spec.trialTemplate.failureCondition": "status.conditions.#(type==\"Failed\")#"
        }
        refuses "with trials of another kind without its conditions" {
            "spec.trialTemplate.trialSpec.kind": "Rehearsal", "spec.trialTemplate.trialSpec.apiVersion": "conformance.kubeflow.org/v1"
        }
    }
    "katib/validation/trial-parameter-names" => trial_parameter_names {
        accepts "with two trialParameters" {
            "spec.trialTemplate.trialParameters": [{"name": "lr", "reference": "lr"}, {"name": "trial", "reference": "${trialSpec.Name}"}],
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.workingDir": "/tmp/${trialParameters.trial}"
        }
        refuses "with a trialParameter without a reference" {"spec.trialTemplate.trialParameters.0.reference": ""}
        refuses "with a trialParameter whose name has a brace" {"spec.trialTemplate.trialParameters.0.name": "l}r"}
        refuses "with two trialParameters of one name" {
            "spec.trialTemplate.trialParameters": [{"name": "lr", "reference": "lr"}, {"name": "lr", "reference": "${trialSpec.Name}"}]
        }
        refuses "with two trialParameters of one reference" {
            "spec.trialTemplate.trialParameters": [{"name": "lr", "reference": "lr"}, {"name": "again", "reference": "lr"}],
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.workingDir": "/tmp/${trialParameters.again}"
        }
    }
    "katib/validation/trial-parameter-use" => trial_parameter_use {
        refuses "with a trialParameter that refers to no parameter" {"spec.trialTemplate.trialParameters.0.reference": "conformance-unknown"}
        refuses "with a trialParameter that the template does not use" {
            "spec.trialTemplate.trialParameters": [{"name": "lr", "reference": "lr"}, {"name": "idle", "reference": "${trialSpec.Name}"}]
        }
        refuses "with a template that uses an undeclared trialParameter" {
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.workingDir": "/tmp/${trialParameters.undeclared}"
        }
    }
    "katib/validation/template-metadata" => template_metadata {
        accepts "with labels in the template's metadata" {"spec.trialTemplate.trialSpec.metadata": {"labels": {"shade": "green"}}}
        refuses "with a name in the template's metadata" {"spec.trialTemplate.trialSpec.metadata": {"name": "conformance-named"}}
        refuses "with a namespace in the template's metadata" {"spec.trialTemplate.trialSpec.metadata": {"namespace": "default"}}
        refuses "with a template without kind" {"spec.trialTemplate.trialSpec.kind": null}
    }
    "katib/validation/job-template" => job_template {
        accepts "with a Job that has a deadline" {"spec.trialTemplate.trialSpec.spec.activeDeadlineSeconds": 600}
        refuses "with a Job that has an unknown field" {"spec.trialTemplate.trialSpec.spec.bogus": 1}
        refuses "with a Job that has a field of the wrong type" {"spec.trialTemplate.trialSpec.spec.backoffLimit": "none"}
    }
    "katib/validation/collector-kind" => collector_kind {
        accepts "with the collector StdOut" {"spec.metricsCollectorSpec": {"collector": {"kind": "StdOut"}}}
        refuses "with the collector `Telepathy`" {"spec.metricsCollectorSpec": {"collector": {"kind": "Telepathy"}}}
        refuses "with the collector Custom without its container" {"spec.metricsCollectorSpec": {"collector": {"kind": "Custom"}}}
    }
    "katib/validation/file-collector" => file_collector {
        accepts "with a file at an absolute path" {
            "spec.metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {"fileSystemPath": {"path": "/tmp/metrics.log", "kind": "File"}}}
        }
        refuses "with a file at a relative path" {
            "spec.metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {"fileSystemPath": {"path": "metrics.log", "kind": "File"}}}
        }
        refuses "with a directory where a file must be" {
            "spec.metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {"fileSystemPath": {"path": "/tmp/metrics.log", "kind": "Directory"}}}
        }
        refuses "with a filter over JSON" {
            "spec.metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {
                "fileSystemPath": {"path": "/tmp/metrics.log", "kind": "File", "format": "JSON"},
                "filter": {"metricsFormat": ["([a-z]+)=([0-9.]+)"]}
            }}
        }
    }
    "katib/validation/metrics-format" => metrics_format {
        accepts "with a filter of two groups" {
            "spec.metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {"filter": {"metricsFormat": ["([a-z]+) is ([0-9.]+)"]}}}
        }
        refuses "with a filter of one group" {
            "spec.metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {"filter": {"metricsFormat": ["acc=([0-9.]+)"]}}}
        }
        refuses "with a filter that does not compile" {
            "spec.metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {"filter": {"metricsFormat": ["([a-z]+)=([0-9.+)"]}}}
        }
    }
    "katib/validation/field-types" => field_types {
        refuses "whose parallelTrialCount is a word" {"spec.parallelTrialCount": "three"}
        refuses "whose parameters are no list" {"spec.parameters": "lr"}
    }
    also "katib/validation/name-first-letter" => name_first_letter
    also "katib/validation/name-length" => name_length
}

/// Katib makes names of Services of it, which must begin with a letter.
pub async fn name_first_letter(cx: &Cx) -> Outcome {
    let good = base(cx, "named")?;
    let digit = format!("1{}", cx.name("named"));
    let bad = with(&good, "metadata.name", json!(digit));
    cx.refuses(&EXPERIMENT, &good, &bad, "whose name begins with a digit")
        .await
}

/// Katib makes names of trials and Services of it, which have 63 characters at most.
pub async fn name_length(cx: &Cx) -> Outcome {
    let good = base(cx, "named")?;
    let of = |length: usize| {
        let name = format!("{:a<length$}", cx.name("named"));
        with(&good, "metadata.name", json!(name))
    };
    cx.refuses(
        &EXPERIMENT,
        &of(40),
        &of(41),
        "whose name has 41 characters",
    )
    .await
}
