//! What Katib fills in where an Experiment leaves it out.

use std::collections::BTreeMap;

use super::{admission::default_checks, base, changed};
use crate::checks::prelude::*;

default_checks! {
    "katib/defaults/parallel-trial-count" => parallel_trial_count {
        when "without spec.parallelTrialCount" {"spec.parallelTrialCount": null, "spec.maxTrialCount": 5}
        expects {"/spec/parallelTrialCount": 3}
        when "with spec.parallelTrialCount 2" {"spec.parallelTrialCount": 2, "spec.maxTrialCount": 5}
        expects {"/spec/parallelTrialCount": 2}
    }
    "katib/defaults/resume-policy" => resume_policy {
        when "without spec.resumePolicy" {"spec.resumePolicy": null}
        expects {"/spec/resumePolicy": "Never"}
        when "with spec.resumePolicy LongRunning" {"spec.resumePolicy": "LongRunning"}
        expects {"/spec/resumePolicy": "LongRunning"}
    }
    "katib/defaults/objective-strategy" => objective_strategy {
        when "for an objective to maximize" {"spec.objective.type": "maximize"}
        expects {"/spec/objective/metricStrategies": [{"name": "acc", "value": "max"}]}
        when "for an objective to minimize" {"spec.objective.type": "minimize"}
        expects {"/spec/objective/metricStrategies": [{"name": "acc", "value": "min"}]}
    }
    "katib/defaults/stdout-collector" => stdout_collector {
        when "without spec.metricsCollectorSpec" {"spec.metricsCollectorSpec": null}
        expects {"/spec/metricsCollectorSpec/collector/kind": "StdOut"}
    }
    "katib/defaults/file-collector" => file_collector {
        when "for the collector File without a source" {"spec.metricsCollectorSpec": {"collector": {"kind": "File"}}}
        expects {
            "/spec/metricsCollectorSpec/source/fileSystemPath/path": "/var/log/katib/metrics.log",
            "/spec/metricsCollectorSpec/source/fileSystemPath/kind": "File",
            "/spec/metricsCollectorSpec/source/fileSystemPath/format": "TEXT"
        }
        when "for the collector File with a source" {"spec.metricsCollectorSpec": {
            "collector": {"kind": "File"},
            "source": {"fileSystemPath": {"path": "/tmp/m.json", "kind": "File", "format": "JSON"}}
        }}
        expects {
            "/spec/metricsCollectorSpec/source/fileSystemPath/path": "/tmp/m.json",
            "/spec/metricsCollectorSpec/source/fileSystemPath/format": "JSON"
        }
    }
    "katib/defaults/job-conditions" => job_conditions {
        when "for a Job" {}
        expects {
            "/spec/trialTemplate/successCondition": "status.conditions.#(type==\"Complete\")#|#(status==\"True\")#",
            "/spec/trialTemplate/failureCondition": "status.conditions.#(type==\"Failed\")#|#(status==\"True\")#"
        }
        when "for a Job with a condition of its own" {"spec.trialTemplate.successCondition": "status.#(succeeded==1)#"}
        expects {
            "/spec/trialTemplate/successCondition": "status.#(succeeded==1)#",
            "/spec/trialTemplate/failureCondition": "status.conditions.#(type==\"Failed\")#|#(status==\"True\")#"
        }
    }
    "katib/defaults/distribution" => distribution {
        when "without a distribution" {}
        expects {"/spec/parameters/0/feasibleSpace/distribution": "uniform"}
        when "with the distribution logUniform" {"spec.parameters.0.feasibleSpace.distribution": "logUniform"}
        expects {"/spec/parameters/0/feasibleSpace/distribution": "logUniform"}
    }
    also "katib/defaults/additional-strategies" => additional_strategies
}

/// The strategies are a set: their order says nothing.
pub async fn additional_strategies(cx: &Cx) -> Outcome {
    let changes = json!({
        "spec.objective.additionalMetricNames": ["loss", "steps"],
        "spec.objective.metricStrategies": [{"name": "steps", "value": "latest"}],
    });
    let asked = changed(&base(cx, "dry")?, &changes);
    let seen = cx.dry_run(&EXPERIMENT, &asked).await?;
    let strategies = seen["spec"]["objective"]["metricStrategies"].as_array();
    let strategies: BTreeMap<&str, &str> = strategies
        .into_iter()
        .flatten()
        .filter_map(|s| Some((s["name"].as_str()?, s["value"].as_str()?)))
        .collect();
    let expected = BTreeMap::from([("acc", "max"), ("loss", "max"), ("steps", "latest")]);
    ensure_eq!(
        strategies,
        expected,
        "the strategies of an objective to maximize with two additional metrics, one of them with its own"
    );
    Ok(())
}
