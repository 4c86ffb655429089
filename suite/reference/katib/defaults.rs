//! What the mutating webhook fills in, and the types that it decodes.

use serde_json::{Map, Value, json};

use super::super::kube::World;

/// Where a Job is known to have ended well, and badly.
const JOB: [&str; 2] = ["Complete", "Failed"];
/// The same for the jobs of the Training Operator and of Trainer, which also say which of their pods is the primary one.
const TRAINING: [&str; 2] = ["Succeeded", "Failed"];

/// Fills in what an Experiment leaves out.
pub(super) fn set(world: &World, experiment: &mut Value) {
    let on = |fault: &str| world.has_fault(fault);
    let spec = &mut experiment["spec"];
    if spec["parallelTrialCount"].is_null() {
        let count = if on("katib/defaults/parallel-trial-count") {
            1
        } else {
            3
        };
        spec["parallelTrialCount"] = json!(count);
    }
    if spec["resumePolicy"].as_str().unwrap_or_default().is_empty() {
        let old = on("katib/defaults/resume-policy");
        spec["resumePolicy"] = json!(if old { "LongRunning" } else { "Never" });
    }
    if spec["objective"].is_object() {
        strategies(world, &mut spec["objective"]);
    }
    if spec["trialTemplate"]["trialSpec"].is_object() {
        conditions(
            &mut spec["trialTemplate"],
            on("katib/defaults/job-conditions"),
        );
    }
    collector(world, spec);
    if on("katib/defaults/distribution") {
        return;
    }
    for parameter in spec["parameters"].as_array_mut().into_iter().flatten() {
        if parameter["feasibleSpace"].is_null() {
            parameter["feasibleSpace"] = json!({});
        }
        let distribution = &mut parameter["feasibleSpace"]["distribution"];
        if distribution.as_str().unwrap_or_default().is_empty() {
            *distribution = json!("uniform");
        }
    }
}

fn strategies(world: &World, objective: &mut Value) {
    let mut list = objective["metricStrategies"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let best = match objective["type"].as_str() {
        Some("minimize") => "min",
        Some("maximize") => "max",
        _ => "latest",
    };
    let has = |list: &[Value], name: &str| list.iter().any(|s| s["name"] == name);
    let metric = objective["objectiveMetricName"]
        .as_str()
        .unwrap_or_default();
    if !has(&list, metric) {
        let minimizes = best == "min" && world.has_fault("katib/defaults/objective-strategy");
        let best = if minimizes { "latest" } else { best };
        list.push(json!({"name": metric, "value": best}));
    }
    let more = objective["additionalMetricNames"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for name in more.iter().filter_map(Value::as_str) {
        if !has(&list, name) {
            let other = world.has_fault("katib/defaults/additional-strategies");
            list.push(json!({"name": name, "value": if other { "latest" } else { best }}));
        }
    }
    objective["metricStrategies"] = json!(list);
}

fn conditions(template: &mut Value, swapped: bool) {
    let labels = |list: &[(&str, &str)]| -> Value {
        list.iter()
            .map(|(k, v)| ((*k).to_owned(), json!(v)))
            .collect::<Map<String, Value>>()
            .into()
    };
    let (words, primary) = match template["trialSpec"]["kind"].as_str() {
        Some("Job") => (JOB, None),
        Some("TFJob" | "PyTorchJob" | "MPIJob" | "XGBoostJob") => (
            TRAINING,
            Some(labels(&[("training.kubeflow.org/job-role", "master")])),
        ),
        Some("TrainJob") => (
            JOB,
            Some(labels(&[
                ("jobset.sigs.k8s.io/replicatedjob-name", "node"),
                ("batch.kubernetes.io/job-completion-index", "0"),
            ])),
        ),
        _ => return,
    };
    for (key, word) in ["successCondition", "failureCondition"]
        .into_iter()
        .zip(words)
    {
        let condition = &mut template[key];
        let given = !condition.as_str().unwrap_or_default().is_empty();
        if !given || (swapped && key == "successCondition" && *condition != default_condition(word))
        {
            *condition = json!(default_condition(word));
        }
    }
    if let Some(primary) = primary
        && template["primaryPodLabels"]
            .as_object()
            .is_none_or(Map::is_empty)
    {
        template["primaryPodLabels"] = primary;
    }
}

fn default_condition(word: &str) -> String {
    format!(r#"status.conditions.#(type=="{word}")#|#(status=="True")#"#)
}

fn collector(world: &World, spec: &mut Value) {
    if !spec["metricsCollectorSpec"].is_object() {
        spec["metricsCollectorSpec"] = json!({});
    }
    let collector = &mut spec["metricsCollectorSpec"];
    if !collector["collector"].is_object() {
        let file = world.has_fault("katib/defaults/stdout-collector");
        collector["collector"] = json!({"kind": if file { "File" } else { "StdOut" }});
    }
    let (part, fields) = match collector["collector"]["kind"].as_str() {
        Some("File") => {
            let wrong = world.has_fault("katib/defaults/file-collector");
            let path = if wrong {
                "/tmp/metrics.log"
            } else {
                "/var/log/katib/metrics.log"
            };
            (
                "fileSystemPath",
                json!({"path": path, "kind": "File", "format": "TEXT"}),
            )
        }
        Some("TensorFlowEvent") => (
            "fileSystemPath",
            json!({"path": "/var/log/katib/tfevent/", "kind": "Directory"}),
        ),
        Some("PrometheusMetric") => ("httpGet", json!({"path": "/metrics", "port": 8080})),
        _ => return,
    };
    if !collector["source"].is_object() {
        collector["source"] = json!({});
    }
    let source = &mut collector["source"][part];
    if !source.is_object() {
        *source = json!({});
    }
    for (key, value) in fields.as_object().into_iter().flatten() {
        let field = &mut source[key];
        if field.is_null() || field == "" || field == 0 {
            *field = value.clone();
        }
    }
}

/// A type of Katib's API in Go, as far as decoding can fail on it.
enum Go {
    Text(&'static str),
    Int32,
    Float64,
    Bool,
    List(&'static str, &'static Go),
    Struct(&'static str, &'static [(&'static str, Go)]),
    Any,
}

const SPEC: Go = Go::Struct(
    "ExperimentSpec",
    &[
        ("parallelTrialCount", Go::Int32),
        ("maxTrialCount", Go::Int32),
        ("maxFailedTrialCount", Go::Int32),
        ("resumePolicy", Go::Text("v1beta1.ResumePolicyType")),
        (
            "parameters",
            Go::List(
                "[]v1beta1.ParameterSpec",
                &Go::Struct(
                    "ParameterSpec",
                    &[
                        ("name", Go::Text("string")),
                        ("parameterType", Go::Text("v1beta1.ParameterType")),
                        (
                            "feasibleSpace",
                            Go::Struct(
                                "FeasibleSpace",
                                &[
                                    ("max", Go::Text("string")),
                                    ("min", Go::Text("string")),
                                    ("list", Go::List("[]string", &Go::Text("string"))),
                                    ("step", Go::Text("string")),
                                    ("distribution", Go::Text("v1beta1.Distribution")),
                                ],
                            ),
                        ),
                    ],
                ),
            ),
        ),
        (
            "objective",
            Go::Struct(
                "ObjectiveSpec",
                &[
                    ("type", Go::Text("v1beta1.ObjectiveType")),
                    ("goal", Go::Float64),
                    ("objectiveMetricName", Go::Text("string")),
                    (
                        "additionalMetricNames",
                        Go::List("[]string", &Go::Text("string")),
                    ),
                    (
                        "metricStrategies",
                        Go::List("[]v1beta1.MetricStrategy", &Go::Any),
                    ),
                ],
            ),
        ),
        (
            "algorithm",
            Go::Struct(
                "AlgorithmSpec",
                &[
                    ("algorithmName", Go::Text("string")),
                    (
                        "algorithmSettings",
                        Go::List("[]v1beta1.AlgorithmSetting", &Go::Any),
                    ),
                ],
            ),
        ),
        (
            "earlyStopping",
            Go::Struct(
                "EarlyStoppingSpec",
                &[("algorithmName", Go::Text("string"))],
            ),
        ),
        (
            "trialTemplate",
            Go::Struct(
                "TrialTemplate",
                &[
                    ("retain", Go::Bool),
                    ("primaryContainerName", Go::Text("string")),
                    ("successCondition", Go::Text("string")),
                    ("failureCondition", Go::Text("string")),
                    (
                        "trialParameters",
                        Go::List(
                            "[]v1beta1.TrialParameterSpec",
                            &Go::Struct(
                                "TrialParameterSpec",
                                &[
                                    ("name", Go::Text("string")),
                                    ("reference", Go::Text("string")),
                                ],
                            ),
                        ),
                    ),
                ],
            ),
        ),
        (
            "metricsCollectorSpec",
            Go::Struct("MetricsCollectorSpec", &[]),
        ),
    ],
);

/// Decodes the spec as the webhook does.
///
/// # Errors
/// In the words of Go's decoder.
pub(super) fn decode(spec: &Value) -> Result<(), String> {
    fits(spec, &SPEC, "", "spec")
}

fn fits(value: &Value, go: &Go, within: &str, path: &str) -> Result<(), String> {
    let wrong = |name: &str| {
        let word = match value {
            Value::String(_) => "string".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
            Value::Number(number) if number.is_f64() => format!("number {number}"),
            _ => "number".to_owned(),
        };
        Err(format!(
            "json: cannot unmarshal {word} into Go struct field {within}.{path} of type {name}"
        ))
    };
    match (go, value) {
        (Go::Any, _) | (_, Value::Null) => Ok(()),
        (Go::Text(_), Value::String(_))
        | (Go::Bool, Value::Bool(_))
        | (Go::Float64, Value::Number(_)) => Ok(()),
        (Go::Int32, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
            Ok(())
        }
        (Go::List(_, item), Value::Array(list)) => {
            list.iter().try_for_each(|v| fits(v, item, within, path))
        }
        (Go::Struct(name, fields), Value::Object(map)) => {
            fields.iter().try_for_each(|(key, go)| {
                map.get(*key)
                    .map_or(Ok(()), |v| fits(v, go, name, &format!("{path}.{key}")))
            })
        }
        (Go::Text(name) | Go::List(name, _), _) => wrong(name),
        (Go::Struct(name, _), _) => wrong(&format!("v1beta1.{name}")),
        (Go::Int32, _) => wrong("int32"),
        (Go::Float64, _) => wrong("float64"),
        (Go::Bool, _) => wrong("bool"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_is_named_as_go_names_it() {
        assert_eq!(
            decode(&json!({"parallelTrialCount": "three"})),
            Err("json: cannot unmarshal string into Go struct field ExperimentSpec.spec.parallelTrialCount of type int32".to_owned())
        );
        let spec = json!({"parameters": [{"name": "x", "feasibleSpace": {"min": "1"}}], "objective": {"goal": 1}});
        assert_eq!(decode(&spec), Ok(()));
        assert!(decode(&json!({"parameters": [{"feasibleSpace": {"min": 1}}]})).is_err());
        assert!(decode(&json!({"parameters": "lr"})).is_err());
    }
}
