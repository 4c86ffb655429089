//! The validating webhook, rule by rule in Katib's order and words. A rule whose fault is on is skipped.

use regex::Regex;
use serde_json::{Value, json};

use super::{
    super::kube::{FieldError, World},
    EARLY_STOPPING, METRICS_COLLECTORS, SUGGESTIONS, conditions, template,
};

/// The errors found so far.
struct Errors<'a> {
    world: &'a World,
    found: Vec<String>,
}

impl Errors<'_> {
    /// Adds an error where its rule is broken, unless the fault is on.
    fn unless(&mut self, fault: &str, broken: bool, error: impl FnOnce() -> FieldError) {
        if broken && !self.world.has_fault(fault) {
            let error = error();
            self.found
                .push(format!("{}: {}", error.field, error.message));
        }
    }
}

/// Validates an Experiment; `old` is what it was before an update.
///
/// # Errors
/// All that is wrong with it, in Katib's words.
pub(super) fn experiment(world: &World, new: &Value, old: Option<&Value>) -> Result<(), String> {
    let mut errors = Errors {
        world,
        found: Vec::new(),
    };
    all(&mut errors, new, old);
    let mut found = errors.found;
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|error| seen.insert(error.clone()));
    match found.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn invalid(field: &str, value: &Value, detail: &str) -> FieldError {
    FieldError::invalid(field, value, detail)
}

fn required(field: &str, detail: &str) -> FieldError {
    FieldError::required(field, detail)
}

fn all(errors: &mut Errors<'_>, new: &Value, old: Option<&Value>) {
    let spec = &new["spec"];
    name(errors, &new["metadata"]["name"]);
    counts(errors, spec);
    if let Some(old) = old {
        update(errors, spec, old);
    }
    let objective_was_there = spec["objective"].is_object();
    objective(errors, &spec["objective"]);
    if !objective_was_there {
        return;
    }
    algorithm(errors, &spec["algorithm"]);
    early_stopping(errors, &spec["earlyStopping"]);
    let policy = text(&spec["resumePolicy"]);
    let known = ["", "Never", "LongRunning", "FromVolume"].contains(&policy);
    errors.unless("katib/validation/resume-policy", !known, || {
        invalid(
            "spec.resumePolicy",
            &spec["resumePolicy"],
            "invalid ResumePolicyType",
        )
    });
    trial_template(errors, spec);
    let parameters = spec["parameters"].as_array().filter(|p| !p.is_empty());
    let nas = spec["nasConfig"].is_object();
    errors.unless(
        "katib/validation/parameters",
        parameters.is_none() && !nas,
        || {
            required(
                "spec",
                "spec.parameters or spec.nasConfig must be specified",
            )
        },
    );
    errors.unless("", parameters.is_some() && nas, || {
        invalid(
            "spec",
            spec,
            "only one of spec.parameters and spec.nasConfig can be specified",
        )
    });
    for (i, parameter) in parameters.into_iter().flatten().enumerate() {
        feasible(errors, &format!("spec.parameters[{i}]"), parameter);
    }
    collector(errors, &spec["metricsCollectorSpec"]);
}

fn name(errors: &mut Errors<'_>, name: &Value) {
    const DETAIL: &str = "name must consist of lower case alphanumeric characters or '-', start with an alphabetic character, \
        and end with an alphanumeric character (e.g. 'my-name', or 'abc-123', regex used for validation is \
        '^[a-z]([-a-z0-9]*[a-z0-9])?)') and may not be longer than 40 characters. ";
    let letter = text(name).starts_with(|c: char| c.is_ascii_lowercase());
    errors.unless("katib/validation/name-first-letter", !letter, || {
        invalid("metadata.name", name, DETAIL)
    });
    let long = text(name).len() > 40;
    errors.unless("katib/validation/name-length", long, || {
        invalid("metadata.name", name, DETAIL)
    });
}

fn counts(errors: &mut Errors<'_>, spec: &Value) {
    let count = |key: &str| spec[key].as_i64();
    let (failed, max, parallel) = (
        count("maxFailedTrialCount"),
        count("maxTrialCount"),
        count("parallelTrialCount"),
    );
    let error = |key: &str, detail: &str| invalid(&format!("spec.{key}"), &spec[key], detail);
    errors.unless(
        "katib/validation/trial-counts:failed",
        failed.is_some_and(|n| n < 0),
        || error("maxFailedTrialCount", "should not be less than 0"),
    );
    errors.unless(
        "katib/validation/trial-counts:max",
        max.is_some_and(|n| n <= 0),
        || error("maxTrialCount", "must be greater than 0"),
    );
    errors.unless(
        "katib/validation/trial-counts:parallel",
        parallel.is_some_and(|n| n <= 0),
        || error("parallelTrialCount", "must be greater than 0"),
    );
    // While a fault lets a count of 0 through, what it is compared with must not refuse it.
    let max =
        max.filter(|n| *n > 0 || !errors.world.has_fault("katib/validation/trial-counts:max"));
    let above = |count: Option<i64>| count.zip(max).is_some_and(|(count, max)| count > max);
    let detail = "should be less than or equal to spec.maxTrialCount";
    errors.unless("katib/validation/failed-within-max", above(failed), || {
        error("maxFailedTrialCount", detail)
    });
    errors.unless(
        "katib/validation/parallel-within-max",
        above(parallel),
        || error("parallelTrialCount", detail),
    );
}

/// Whether a completed experiment may go on.
pub(super) fn is_restartable(experiment: &Value) -> bool {
    conditions::find(experiment, "Succeeded")["reason"] == "ExperimentMaxTrialsReached"
        && conditions::is(experiment, "Succeeded")
        && ["LongRunning", "FromVolume"].contains(&text(&experiment["spec"]["resumePolicy"]))
}

/// Whether an experiment has ended.
pub(super) fn is_completed(experiment: &Value) -> bool {
    conditions::is(experiment, "Succeeded") || conditions::is(experiment, "Failed")
}

fn update(errors: &mut Errors<'_>, spec: &Value, old: &Value) {
    const EDITABLE: [&str; 3] = ["maxFailedTrialCount", "maxTrialCount", "parallelTrialCount"];
    let changed = *spec != old["spec"];
    errors.unless(
        "katib/experiment/never-restarts",
        changed && is_completed(old) && !is_restartable(old),
        || {
            invalid(
                "spec.resumePolicy",
                &spec["resumePolicy"],
                "Experiment can be restarted if it is in succeeded state by reaching max trials and spec.resumePolicy = \
                 LongRunning or spec.resumePolicy = FromVolume, when experiment is completed",
            )
        },
    );
    let trials = old["status"]["trials"].as_i64().unwrap_or(0);
    let max = spec["maxTrialCount"].as_i64();
    errors.unless("", changed && max.is_some_and(|max| max <= trials), || {
        invalid(
            "spec.maxTrialCount",
            &spec["maxTrialCount"],
            "must be greater than status.trials count",
        )
    });
    let rest = |spec: &Value| {
        let mut spec = spec.clone();
        for key in EDITABLE {
            super::drop_key(&mut spec, key);
        }
        spec
    };
    errors.unless(
        "katib/experiment/edits-while-running",
        rest(spec) != rest(&old["spec"]),
        || {
            FieldError::forbidden(
                "spec",
                "only spec.parallelTrialCount, spec.maxTrialCount and spec.maxFailedTrialCount are editable",
            )
        },
    );
}

fn objective(errors: &mut Errors<'_>, objective: &Value) {
    if !objective.is_object() {
        errors.unless("katib/validation/objective:absent", true, || {
            required("spec.objective", "must be specified")
        });
        return;
    }
    let known = ["minimize", "maximize"].contains(&text(&objective["type"]));
    errors.unless("katib/validation/objective:type", !known, || {
        let given = json!(text(&objective["type"]));
        invalid(
            "spec.objective.type",
            &given,
            "must be minimize or maximize",
        )
    });
    let metric = text(&objective["objectiveMetricName"]);
    errors.unless(
        "katib/validation/objective:metric",
        metric.is_empty(),
        || required("spec.objective.objectiveMetricName", "must be specified"),
    );
    let more = &objective["additionalMetricNames"];
    let again = more
        .as_array()
        .is_some_and(|m| m.iter().any(|m| m == metric));
    errors.unless("katib/validation/additional-metrics", again, || {
        invalid(
            "spec.objective.additionalMetricNames",
            more,
            "should not contain spec.objective.objectiveMetricName",
        )
    });
}

fn algorithm(errors: &mut Errors<'_>, algorithm: &Value) {
    const FIELD: &str = "spec.algorithm.algorithmName";
    if !algorithm.is_object() {
        errors.unless("katib/validation/algorithm:absent", true, || {
            required("spec.algorithm", "must be specified")
        });
        return;
    }
    let name = text(&algorithm["algorithmName"]);
    errors.unless("", name.is_empty(), || required(FIELD, "must be specified"));
    let known = SUGGESTIONS.iter().any(|(known, _)| *known == name);
    errors.unless("katib/validation/algorithm:unknown", !known && !name.is_empty(), || {
        let detail = format!(
            "unable to get Suggestion config data for algorithm {name}: failed to find suggestion config for algorithm: \
             {name} in ConfigMap: katib-config"
        );
        invalid(FIELD, &json!(name), &detail)
    });
    errors.unless("", name.is_empty(), || {
        let detail = "unable to get Suggestion config data for algorithm : failed to find suggestion config for algorithm:  \
            in ConfigMap: katib-config";
        invalid(FIELD, &json!(""), detail)
    });
}

fn early_stopping(errors: &mut Errors<'_>, stopping: &Value) {
    const FIELD: &str = "spec.earlyStopping.algorithmName";
    if !stopping.is_object() {
        return;
    }
    let name = text(&stopping["algorithmName"]);
    errors.unless("", name.is_empty(), || required(FIELD, "must be specified"));
    let known = name == EARLY_STOPPING.0;
    errors.unless("katib/validation/early-stopping", !known && !name.is_empty(), || {
        let detail = format!(
            "unable to get EarlyStopping config data for algorithm {name}: failed to find early stopping config for \
             algorithm: {name} in ConfigMap: katib-config"
        );
        invalid(FIELD, &json!(name), &detail)
    });
}

fn trial_template(errors: &mut Errors<'_>, spec: &Value) {
    const FIELD: &str = "spec.trialTemplate";
    let trial = &spec["trialTemplate"];
    if !trial.is_object() {
        errors.unless("katib/validation/trial-template:absent", true, || {
            required(FIELD, "must be specified")
        });
        return;
    }
    errors.unless(
        "katib/validation/trial-template:container",
        text(&trial["primaryContainerName"]).is_empty(),
        || {
            required(
                "spec.trialTemplate.primaryContainerName",
                "must be specified",
            )
        },
    );
    let ends = |key: &str| !text(&trial[key]).is_empty();
    errors.unless(
        "katib/validation/custom-kinds",
        !(ends("successCondition") && ends("failureCondition")),
        || {
            required(
                FIELD,
                "successCondition and failureCondition must be specified",
            )
        },
    );
    let Some(parameters) = trial["trialParameters"].as_array() else {
        errors.unless("katib/validation/trial-template:parameters", true, || {
            required("spec.trialTemplate.trialParameters", "must be specified")
        });
        return;
    };
    let (inline, map) = (
        trial["trialSpec"].is_object(),
        trial["configMap"].is_object(),
    );
    match (inline, map) {
        (false, false) => {
            errors.unless("katib/validation/trial-source:none", true, || {
                required(
                    "spec.trialTemplate.TrialSource",
                    "spec.trialTemplate.trialSpec or spec.trialTemplate.configMap must be specified",
                )
            });
            return;
        }
        (true, true) => {
            errors.unless("katib/validation/trial-source:both", true, || {
                required(
                    FIELD,
                    "only one of spec.trialTemplate.trialSpec or spec.trialTemplate.configMap can be specified",
                )
            });
            return;
        }
        _ => {}
    }
    let given = |key: &str| !text(&trial["configMap"][key]).is_empty();
    if map
        && !["configMapName", "configMapNamespace", "templatePath"]
            .into_iter()
            .all(given)
    {
        errors.unless("", true, || {
            required(
                "spec.trialTemplate.configMap",
                "configMapName, configMapNamespace and templatePath must be specified",
            )
        });
        return;
    }
    let experiment = json!({"spec": spec});
    match template::text(errors.world, &experiment) {
        Ok(text) => substitution(errors, spec, parameters, text),
        Err(why) => errors.unless("katib/validation/trial-source:config-map", true, || {
            let detail = format!("unable to parse spec.trialTemplate: {why}");
            invalid(FIELD, &json!(""), &detail)
        }),
    }
}

/// A slice of Go structs in `%v`, given each struct's fields.
fn go_slice(list: &[Value], fields: impl Fn(&Value) -> String) -> String {
    let list: Vec<String> = list
        .iter()
        .map(|item| format!("{{{}}}", fields(item)))
        .collect();
    format!("[{}]", list.join(" "))
}

fn substitution(errors: &mut Errors<'_>, spec: &Value, parameters: &[Value], mut template: String) {
    let shown = go_slice(parameters, |p| {
        format!(
            "{} {} {}",
            text(&p["name"]),
            text(&p["description"]),
            text(&p["reference"])
        )
    });
    let searched = spec["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let (mut names, mut references) = (Vec::new(), Vec::new());
    for (i, parameter) in parameters.iter().enumerate() {
        let field = format!("spec.trialTemplate.trialParameters[{i}]");
        let (name, reference) = (text(&parameter["name"]), text(&parameter["reference"]));
        if name.is_empty() || reference.is_empty() || name.contains(['{', '}']) {
            errors.unless("", true, || {
                invalid(
                    &field,
                    &json!(""),
                    "name and reference must be specified and name must not contain '{' or '}'",
                )
            });
            continue;
        }
        if names.contains(&name) {
            errors.unless("katib/validation/trial-parameter-names", true, || {
                let detail = format!(
                    "parameter name {name} can't be duplicated in spec.trialTemplate.trialParameters: {shown}"
                );
                invalid(&format!("{field}.name"), &json!(name), &detail)
            });
            continue;
        }
        if references.contains(&reference) {
            errors.unless("katib/validation/trial-parameter-names:reference", true, || {
                let detail = format!(
                    "parameter reference {reference} can't be duplicated in spec.trialTemplate.trialParameters: {shown}"
                );
                invalid(&format!("{field}.reference"), &json!(reference), &detail)
            });
            template = template.replace(&template::placeholder(name), "test-value");
            continue;
        }
        names.push(name);
        references.push(reference);
        let known = template::metadata_reference(reference).is_some()
            || searched.is_empty()
            || searched.iter().any(|p| p["name"] == reference);
        errors.unless(
            "katib/validation/trial-parameter-use:reference",
            !known,
            || {
                let searched = go_slice(searched, |p| {
                    let space = &p["feasibleSpace"];
                    let list: Vec<&str> = space["list"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(text)
                        .collect();
                    format!(
                        "{} {} {{{} {} [{}] {} {}}}",
                        text(&p["name"]),
                        text(&p["parameterType"]),
                        text(&space["max"]),
                        text(&space["min"]),
                        list.join(" "),
                        text(&space["step"]),
                        text(&space["distribution"]),
                    )
                });
                let detail = format!(
                    "parameter reference {reference} does not exist in spec.parameters: {searched}"
                );
                invalid(&format!("{field}.reference"), &json!(reference), &detail)
            },
        );
        let placeholder = template::placeholder(name);
        if !template.contains(&placeholder) {
            errors.unless("katib/validation/trial-parameter-use:unused", true, || {
                let detail = format!(
                    "parameter name: {name} in spec.trialParameters not found in spec.trialTemplate: {template}\n"
                );
                invalid(&format!("{field}.name"), &json!(name), &detail)
            });
            return;
        }
        template = template.replace(&placeholder, "test-value");
    }
    let undeclared = template.contains(template::PLACEHOLDER);
    errors.unless(
        "katib/validation/trial-parameter-use:undeclared",
        undeclared,
        || {
            let found: Vec<&str> = template
                .match_indices(template::PLACEHOLDER)
                .map(|(at, _)| {
                    let end = template[at..]
                        .find('}')
                        .map_or(template.len(), |e| at + e + 1);
                    &template[at..end]
                })
                .collect();
            let detail = format!(
                "parameters: [{}] in spec.trialTemplate not found in spec.trialParameters: {shown}",
                found.join(" ")
            );
            invalid("spec.trialTemplate", &json!(""), &detail)
        },
    );
    template_object(errors, &template);
}

fn template_object(errors: &mut Errors<'_>, template: &str) {
    const FIELD: &str = "spec.trialTemplate";
    let Ok(object) = serde_saphyr::from_str::<Value>(template) else {
        let detail = format!("unable to convert spec.trialTemplate: {template} to unstructured");
        errors.unless("", true, || invalid(FIELD, &json!(""), &detail));
        return;
    };
    let metadata = &object["metadata"];
    errors.unless(
        "katib/validation/template-metadata",
        !text(&metadata["name"]).is_empty() || !text(&metadata["namespace"]).is_empty(),
        || {
            let detail =
                "metadata.name and metadata.namespace in spec.trialTemplate must be omitted";
            invalid(FIELD, &json!(""), detail)
        },
    );
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    errors.unless("", version.is_empty() || kind.is_empty(), || {
        required(
            FIELD,
            "APIVersion and Kind in spec.trialTemplate must be specified",
        )
    });
    if version == "batch/v1"
        && kind == "Job"
        && let Err(why) = job(&object)
    {
        errors.unless("katib/validation/job-template", true, || {
            let detail = format!("invalid spec.trialTemplate: {why}");
            invalid(FIELD, &json!(""), &detail)
        });
    }
}

/// Whether a template can be read as a Job without losing anything.
fn job(object: &Value) -> Result<(), String> {
    let read: k8s_openapi::api::batch::v1::Job = serde_json::from_value(object.clone())
        .map_err(|e| format!("unable to convert spec.TrialTemplate: {object} to Job: {e}"))?;
    let back = serde_json::to_value(&read).map_err(|e| e.to_string())?;
    match lost(object, &back, "") {
        None => Ok(()),
        Some((path, value)) => Err(format!(
            "unable to convert: {path} - {value} to Job, converted template: {back}"
        )),
    }
}

/// The first field of `from` that is not in `to`. Quantities are not compared: devices have resources of their own.
fn lost(from: &Value, to: &Value, path: &str) -> Option<(String, Value)> {
    if path.contains("/resources/limits") || path.contains("/resources/requests") {
        return None;
    }
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => from.iter().find_map(|(key, value)| {
            let path = format!("{path}/{key}");
            match to.get(key) {
                Some(found) => lost(value, found, &path),
                None if value.is_null() || *value == json!({}) || *value == json!([]) => None,
                None => Some((path, value.clone())),
            }
        }),
        (Value::Array(from), Value::Array(to)) if from.len() == to.len() => {
            let mut pairs = from.iter().zip(to).enumerate();
            pairs.find_map(|(i, (from, to))| lost(from, to, &format!("{path}/{i}")))
        }
        _ => (from != to).then(|| (path.to_owned(), from.clone())),
    }
}

fn feasible(errors: &mut Errors<'_>, field: &str, parameter: &Value) {
    let space = &parameter["feasibleSpace"];
    let kind = text(&parameter["parameterType"]);
    let known = ["int", "double", "categorical", "discrete", "unknown"].contains(&kind);
    errors.unless("katib/validation/parameter-type", !known, || {
        let detail = format!("parameterType: {kind} is not supported");
        invalid(&format!("{field}.parameterType"), &json!(kind), &detail)
    });
    let distribution = text(&space["distribution"]);
    let known = [
        "",
        "uniform",
        "logUniform",
        "normal",
        "logNormal",
        "unknown",
    ]
    .contains(&distribution);
    errors.unless("katib/validation/distribution", !known, || {
        let detail = format!("distribution: {distribution} is not supported");
        invalid(
            &format!("{field}.feasibleSpace.distribution"),
            &json!(distribution),
            &detail,
        )
    });
    let has = |key: &str| !text(&space[key]).is_empty();
    match kind {
        "double" | "int" => {
            let list = space["list"].as_array().is_some_and(|l| !l.is_empty());
            errors.unless("katib/validation/number-ranges", list, || {
                let detail =
                    format!("feasibleSpace.list is not supported for parameterType: {kind}");
                invalid(
                    &format!("{field}.feasibleSpace.list"),
                    &space["list"],
                    &detail,
                )
            });
            errors.unless("katib/validation/number-ranges:bounds", !has("max") || !has("min"), || {
                let detail = format!(
                    "feasibleSpace.max or feasibleSpace.min must be specified for parameterType: {kind}"
                );
                required(&format!("{field}.feasibleSpace.max"), &detail)
            });
        }
        "categorical" | "discrete" => {
            let range = has("max") || has("min") || has("step");
            errors.unless("katib/validation/lists", range, || {
                let keys = ["max", "min", "list", "step", "distribution"];
                let shown: serde_json::Map<String, Value> = keys
                    .into_iter()
                    .filter(|key| !space[*key].is_null())
                    .map(|key| (key.to_owned(), space[key].clone()))
                    .collect();
                let detail = format!(
                    "feasibleSpace .max, .min and .step is not supported for parameterType: {kind}"
                );
                invalid(&format!("{field}.feasibleSpace"), &json!(shown), &detail)
            });
        }
        _ => {}
    }
}

fn collector(errors: &mut Errors<'_>, spec: &Value) {
    const KIND: &str = "spec.metricsCollectorSpec.collector.kind";
    const SOURCE: &str = "spec.metricsCollectorSpec.source";
    let kind = text(&spec["collector"]["kind"]);
    let path = &spec["source"]["fileSystemPath"];
    let absolute = text(&path["path"]).starts_with('/');
    match kind {
        // Katib looks at the filter of these two only when it collects.
        "Push" | "StdOut" => return,
        "File" => {
            errors.unless(
                "katib/validation/file-collector",
                path["kind"] != "File" || !absolute,
                || {
                    required(
                        &format!("{SOURCE}.fileSystemPath.path"),
                        "file path where metrics file exists is required",
                    )
                },
            );
            let format = text(&path["format"]);
            errors.unless("", !["TEXT", "JSON"].contains(&format), || {
                required(
                    &format!("{SOURCE}.fileSystemPath.format"),
                    "format of metrics file is required for metrics collector",
                )
            });
            errors.unless(
                "katib/validation/file-collector:filter",
                format == "JSON" && spec["source"]["filter"].is_object(),
                || {
                    let detail = "filter must be nil when format of metrics file is json";
                    invalid(&format!("{SOURCE}.filter"), &json!(""), detail)
                },
            );
        }
        "TensorFlowEvent" => {
            errors.unless("", path["kind"] != "Directory" || !absolute, || {
                required(
                    SOURCE,
                    "directory path where tensorflow event files exist is required by \
                     .spec.metricsCollectorSpec.source.fileSystemPath.path",
                )
            });
            errors.unless("", !text(&path["format"]).is_empty(), || {
                invalid(
                    &format!("{SOURCE}.fileSystemPath.format"),
                    &path["format"],
                    "must be empty",
                )
            });
        }
        "PrometheusMetric" => {
            errors.unless("", !METRICS_COLLECTORS.iter().any(|(k, _)| *k == kind), || {
                let detail = format!(
                    "GetMetricsCollectorConfigData failed: failed to find metrics collector config for kind: {kind} in \
                     ConfigMap: katib-config"
                );
                invalid(KIND, &json!(kind), &detail)
            });
        }
        "Custom" => {
            errors.unless(
                "katib/validation/collector-kind:custom",
                !spec["collector"]["customCollector"].is_object(),
                || {
                    let detail = format!("metrics collector kind: {kind} is required");
                    required(
                        "spec.metricsCollectorSpec.collector.customCollector",
                        &detail,
                    )
                },
            );
        }
        _ => errors.unless("katib/validation/collector-kind", true, || {
            let detail = format!("invalid metrics collector kind: {kind}");
            invalid(KIND, &json!(kind), &detail)
        }),
    }
    let two_groups = Regex::new(r".*\(.*\).*\(.*\).*").expect("is a fixed pattern");
    let formats = spec["source"]["filter"]["metricsFormat"].as_array();
    for format in formats.into_iter().flatten() {
        let field = format!("{SOURCE}.filter.metricsFormat");
        match Regex::new(text(format)) {
            Err(why) => errors.unless("katib/validation/metrics-format:compiles", true, || {
                invalid(&field, format, &format!("invalid filter: {why}"))
            }),
            Ok(pattern) => errors.unless(
                "katib/validation/metrics-format",
                !two_groups.is_match(pattern.as_str()),
                || invalid(&field, format, "two top subexpressions are required"),
            ),
        }
    }
}
