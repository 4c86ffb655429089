//! What the webhooks of `KServe` 0.16 add and refuse, in its words.

use serde_json::{Value, json};

use super::scaling::SCALING_RULES;
use super::{
    GRAPHS, MODE, MODE_STANDARD, RUNTIMES, SERVICES, TRAINED_MODELS, array, merge_over, text,
};
use crate::reference::kube::{AdmissionRequest, Denied, Faults, Operation, World};

const WRITES: [Operation; 2] = [Operation::Create, Operation::Update];

/// The frameworks that a predictor may be given by, in the order in which the defaulter looks for them, and those whose
/// servers speak protocol v2 alone.
pub(super) const FRAMEWORKS: [&str; 10] = [
    "sklearn",
    "tensorflow",
    "xgboost",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
];
const NATIVE_V2: [&str; 3] = ["triton", "onnx", "huggingface"];

/// Registers the webhooks.
pub(super) fn install(world: &World) {
    let faults = world.faults().clone();
    world.mutating(&SERVICES, &WRITES, move |request| {
        let done = match wrong_type(&request.object, &faults) {
            Some(message) => Err(Denied::by(
                "inferenceservice.kserve-webhook-server.defaulter",
                400,
                None,
                &message,
            )),
            None => Ok(defaulted(request.object, &faults)),
        };
        async move { done }
    });
    validating(world, &SERVICES, "inferenceservice", SERVICE_RULES);
    validating(world, &SERVICES, "inferenceservice", STORAGE_RULES);
    validating(world, &SERVICES, "inferenceservice", SCALING_RULES);
    validating(world, &TRAINED_MODELS, "trainedmodel", MODEL_RULES);
    validating(world, &GRAPHS, "inferencegraph", GRAPH_RULES);
    if world.has_fault("kserve/admission/accepts-keda-and-none") {
        world.validating(&SERVICES, &WRITES, |request| async move {
            match autoscaler(&request) {
                Some(class @ ("keda" | "none")) => denied(
                    "inferenceservice",
                    &format!("[{class}] is not a supported autoscaler class type"),
                ),
                _ => Ok(()),
            }
        });
    }
    let faults = world.faults().clone();
    let runtimes = world.clone();
    world.validating(&RUNTIMES, &WRITES, move |request| {
        let refused = two_priorities(&runtimes, &request)
            .filter(|_| !faults.has("kserve/runtime/refuses-two-priorities"))
            .or_else(|| {
                equal_priority(&runtimes, &request)
                    .filter(|_| !faults.has("kserve/runtime/refuses-equal-priority"))
            });
        async move { refused.map_or(Ok(()), |message| denied("servingruntime", &message)) }
    });
}

/// A rule: the fault that switches it off, and what is said of an object that breaks it.
pub(super) type Rule = (&'static str, fn(&AdmissionRequest) -> Option<String>);

fn validating(
    world: &World,
    resource: &crate::reference::kube::Resource,
    webhook: &'static str,
    rules: &'static [Rule],
) {
    let faults = world.faults().clone();
    world.validating(resource, &WRITES, move |request| {
        let broken = rules
            .iter()
            .filter(|(fault, _)| !faults.has(fault))
            .find_map(|(_, rule)| rule(&request));
        async move { broken.map_or(Ok(()), |message| denied(webhook, &message)) }
    });
}

fn denied(webhook: &str, message: &str) -> Result<(), Denied> {
    Err(Denied::by(
        &format!("{webhook}.kserve-webhook-server.validator"),
        403,
        Some("Forbidden"),
        message,
    ))
}

/// What Go's decoder says of a number that is none.
fn wrong_type(object: &Value, faults: &Faults) -> Option<String> {
    if faults.has("kserve/api/refuses-wrong-types") {
        return None;
    }
    let integers = [
        ("minReplicas", "int32"),
        ("maxReplicas", "int32"),
        ("scaleTarget", "int32"),
        ("containerConcurrency", "int64"),
        ("timeout", "int64"),
        ("canaryTrafficPercent", "int64"),
    ];
    for component in ["predictor", "transformer", "explainer"] {
        for (field, kind) in integers {
            let found = match &object["spec"][component][field] {
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
                Value::Null | Value::Number(_) => continue,
            };
            let title = format!("{}{}", component[..1].to_uppercase(), &component[1..]);
            return Some(format!(
                "json: cannot unmarshal {found} into Go struct field {title}Spec.spec.{component}.{field} of type {kind}"
            ));
        }
    }
    None
}

/// An InferenceService as the defaulter leaves it.
fn defaulted(mut object: Value, faults: &Faults) -> Value {
    if object["metadata"]["annotations"][MODE].is_null() {
        if object["metadata"]["annotations"].is_null() {
            object["metadata"]["annotations"] = json!({});
        }
        object["metadata"]["annotations"][MODE] = json!(MODE_STANDARD);
    }
    let predictor = &mut object["spec"]["predictor"];
    if predictor.is_null() {
        // Go's types always write it.
        *predictor = json!({});
    }
    if !predictor.is_object() {
        return object;
    }
    if let Some(framework) = FRAMEWORKS.into_iter().find(|f| predictor[f].is_object()) {
        let mut model = predictor[framework].take();
        if let Some(map) = predictor.as_object_mut() {
            map.shift_remove(framework);
        }
        model["modelFormat"] = json!({"name": framework});
        if NATIVE_V2.contains(&framework)
            && model["protocolVersion"].is_null()
            && !faults.has("kserve/defaults/gives-native-frameworks-protocol-v2")
        {
            model["protocolVersion"] = json!("v2");
        }
        if faults.has("kserve/defaults/moves-framework-to-model") {
            model["storageUri"] = json!("");
        }
        predictor["model"] = model;
    }
    if predictor["model"].is_object() {
        // Fields that Go's types always write.
        let blank = json!({"name": "", "modelFormat": {"name": ""}, "resources": {}});
        let model = predictor["model"].take();
        predictor["model"] = merge_over(&blank, &model);
    }
    let all = !faults.has("kserve/defaults/names-every-component");
    for name in ["predictor", "transformer", "explainer"] {
        if let Some(component) = object["spec"].get_mut(name)
            && (all || name == "predictor")
        {
            default_container(component, name == "predictor", faults);
        }
    }
    object
}

/// Names the first container of a component and gives it resources.
fn default_container(component: &mut Value, is_predictor: bool, faults: &Faults) {
    let containers = component.get_mut("containers");
    let Some(containers) = containers.and_then(Value::as_array_mut) else {
        return;
    };
    let sole = containers.len() == 1;
    let Some(container) = containers.first_mut() else {
        return;
    };
    if (sole || text(&container["name"]).is_empty())
        && !(is_predictor && faults.has("kserve/defaults/names-the-container"))
    {
        container["name"] = json!("kserve-container");
    }
    if text(&container["name"]).is_empty() {
        container["name"] = json!("unnamed");
    }
    let given = container["resources"].take();
    let usual = json!({"cpu": "1", "memory": "2Gi"});
    let usual = json!({"limits": usual, "requests": usual});
    container["resources"] = if is_predictor && faults.has("kserve/defaults/fills-resources") {
        if given.is_null() { json!({}) } else { given }
    } else if faults.has("kserve/defaults/keeps-given-resources") {
        usual
    } else {
        merge_over(&usual, &given)
    };
}

/// In the order in which the webhook asks them.
const SERVICE_RULES: &[Rule] = &[
    ("kserve/inferenceservice/refuses-another-mode", |request| {
        let old = request.old_object.as_ref()?;
        let recorded = text(&old["status"]["deploymentMode"]);
        let named = request.object["metadata"]["annotations"][MODE].as_str()?;
        (!recorded.is_empty() && super::mode_of(recorded) != named).then(|| {
            format!(
                "update rejected: deploymentMode cannot be changed from '{recorded}' to '{named}'"
            )
        })
    }),
    ("kserve/admission/refuses-bad-names", |request| {
        let name = text(&request.object["metadata"]["name"]);
        (!is_name(name)).then(|| {
            format!(
                "the InferenceService \"{name}\" is invalid: a InferenceService name must consist of lower case \
                 alphanumeric characters or '-', and must start with alphabetical character. (e.g. \"my-name\" or \
                 \"abc-123\", regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            )
        })
    }),
    ("kserve/admission/refuses-unknown-autoscaler", |request| {
        let class = autoscaler(request)?;
        (!["hpa", "external", "keda", "none"].contains(&class))
            .then(|| format!("[{class}] is not a supported autoscaler class type"))
    }),
    (
        "kserve/admission/refuses-storage-in-collocated-transformer",
        |request| {
            array(&request.object["spec"]["predictor"]["containers"])
                .find(|c| c["name"] == "transformer-container")
                .filter(|c| array(&c["env"]).any(|e| e["name"] == "STORAGE_URI"))
                .map(|_| {
                    "the StorageUri should not be provided for transformer container".to_owned()
                })
        },
    ),
    ("kserve/admission/refuses-no-predictor", |request| {
        one_of(request, "predictor", |count| count == 0)
    }),
    ("kserve/admission/refuses-two-predictors", |request| {
        one_of(request, "predictor", |count| count > 1)
    }),
    ("kserve/admission/refuses-unknown-protocol", |request| {
        let container = array(&request.object["spec"]["predictor"]["containers"]).next()?;
        let protocol = array(&container["env"]).find(|e| e["name"] == "PROTOCOL")?;
        let protocol = text(&protocol["value"]);
        (!["v1", "v2"].contains(&protocol))
            .then(|| format!("invalid protocol {protocol}. Must be one of [v1, v2]"))
    }),
    ("kserve/admission/refuses-negative-concurrency", |request| {
        each_component(request, |c| {
            (number(&c["containerConcurrency"]) < Some(0) && c["containerConcurrency"].is_number())
                .then(|| "parallelism cannot be less than 0".to_owned())
        })
    }),
    ("kserve/admission/refuses-negative-replicas", |request| {
        each_component(request, |c| {
            let below = |field: &str| number(&c[field]).is_some_and(|n| n < 0);
            if below("minReplicas") {
                Some("'MinReplicas' cannot be less than 0".to_owned())
            } else {
                below("maxReplicas").then(|| "'MaxReplicas' cannot be less than 0".to_owned())
            }
        })
    }),
    ("kserve/admission/refuses-min-above-max", |request| {
        each_component(request, |c| {
            let (min, max) = (
                number(&c["minReplicas"]).unwrap_or(1),
                number(&c["maxReplicas"]).unwrap_or(0),
            );
            (min > max && max > 0)
                .then(|| "'MinReplicas' cannot be greater than MaxReplicas".to_owned())
        })
    }),
    ("kserve/admission/refuses-unknown-logger-mode", |request| {
        each_component(request, |c| {
            (c["logger"].is_object()
                && !["all", "request", "response"].contains(&text(&c["logger"]["mode"])))
            .then(|| "invalid logger type".to_owned())
        })
    }),
    ("kserve/admission/refuses-empty-transformer", |request| {
        one_of(request, "transformer", |count| count != 1)
    }),
    ("kserve/admission/refuses-empty-explainer", |request| {
        one_of(request, "explainer", |count| count != 1)
    }),
    (
        "kserve/admission/refuses-hpa-on-request-metrics",
        |request| {
            under_hpa(request)?;
            each_component(request, |c| {
                let metric = c["scaleMetric"].as_str().unwrap_or("cpu");
                (!["cpu", "memory"].contains(&metric))
                    .then(|| format!("[{metric}] is not a supported metric"))
            })
        },
    ),
    (
        "kserve/admission/refuses-cpu-target-out-of-range",
        |request| {
            under_hpa(request)?;
            each_component(request, |c| {
                let target = number(&c["scaleTarget"])?;
                let cpu = c["scaleMetric"].as_str().unwrap_or("cpu") == "cpu";
                (target > 100 || (cpu && target < 1)).then(|| {
                    "the target utilization percentage should be a [1-100] integer".to_owned()
                })
            })
        },
    ),
];

/// The autoscaler class that is asked for.
pub(super) fn autoscaler(request: &AdmissionRequest) -> Option<&str> {
    request.object["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"].as_str()
}

/// Only where the annotation is the very word `Standard` are the rules of the HPA those that are asked.
pub(super) fn under_hpa(request: &AdmissionRequest) -> Option<()> {
    let standard = request.object["metadata"]["annotations"][MODE] == MODE_STANDARD;
    (standard && autoscaler(request) == Some("hpa")).then_some(())
}

pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64()
}

/// What a rule says of the first component that breaks it.
pub(super) fn each_component(
    request: &AdmissionRequest,
    rule: impl Fn(&Value) -> Option<String>,
) -> Option<String> {
    ["predictor", "transformer", "explainer"]
        .into_iter()
        .map(|component| &request.object["spec"][component])
        .filter(|component| component.is_object())
        .find_map(rule)
}

/// Whether the number of implementations of a component is wrong, and what is said then.
fn one_of(
    request: &AdmissionRequest,
    component: &str,
    is_wrong: impl Fn(usize) -> bool,
) -> Option<String> {
    let spec = &request.object["spec"][component];
    if component != "predictor" && !spec.is_object() {
        return None;
    }
    let named = FRAMEWORKS.iter().filter(|f| spec[**f].is_object()).count()
        + ["model", "art"]
            .iter()
            .filter(|f| spec[**f].is_object())
            .count();
    let mut containers = array(&spec["containers"]);
    let custom = usize::from(
        containers.any(|c| c["name"] == "kserve-container")
            || (named == 0 && array(&spec["containers"]).next().is_some()),
    );
    is_wrong(named + custom).then(|| {
        let fields = match component {
            "predictor" => {
                "[SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, PMML, LightGBM, Paddle, Model, \
                 StorageUris, WorkerSpec, PodSpec] must be specified in PredictorSpec"
            }
            "transformer" => {
                "[PodSpec, ComponentExtensionSpec] must be specified in TransformerSpec"
            }
            _ => "[ART, PodSpec, ComponentExtensionSpec] must be specified in ExplainerSpec",
        };
        format!("exactly one of {fields}")
    })
}

/// `[a-z]([-a-z0-9]*[a-z0-9])?`
fn is_name(name: &str) -> bool {
    let lower = |c: char| c.is_ascii_lowercase();
    let inner = |c: char| lower(c) || c.is_ascii_digit() || c == '-';
    name.starts_with(lower) && !name.ends_with('-') && name.chars().all(inner)
}

/// Of a model and its workers.
const STORAGE_RULES: &[Rule] = &[
    ("kserve/admission/refuses-model-name", |request| {
        let name = text(&request.object["spec"]["predictor"]["model"]["name"]);
        (!name.is_empty())
            .then(|| "the 'name' field is not allowed in standard predictor".to_owned())
    }),
    ("kserve/admission/refuses-two-storage-sources", |request| {
        let predictor = &request.object["spec"]["predictor"];
        (predictor["model"]["storageUri"].is_string() && predictor["storageUris"].is_array())
            .then(|| "storageUri and storageUris cannot be set at once".to_owned())
    }),
    ("kserve/admission/refuses-unsafe-mount-paths", |request| {
        let paths: Vec<&str> = array(&request.object["spec"]["predictor"]["storageUris"])
            .map(|uri| uri["mountPath"].as_str().unwrap_or("/mnt/models"))
            .collect();
        let unsafe_path =
            |path: &&str| *path == "/" || !path.starts_with('/') || path.contains("..");
        if let Some(path) = paths.iter().copied().find(|path| unsafe_path(path)) {
            return Some(format!("storage path must be absolute: {path}"));
        }
        let top = |path: &str| path.split('/').nth(1).unwrap_or_default().to_owned();
        let tops: std::collections::BTreeSet<String> = paths.iter().map(|path| top(path)).collect();
        (tops.len() > 1).then(|| {
            format!("storage paths must have a common parent directory. Current paths: {paths:?} have no common parent beyond root")
        })
    }),
    (
        "kserve/admission/refuses-incomplete-log-storage",
        |request| {
            each_component(request, |c| {
                let storage = &c["logger"]["storage"];
                (storage.is_object()
                    && ["path", "parameters", "key"]
                        .iter()
                        .any(|key| storage[*key].is_null()))
                .then(|| "logger storage requires path, parameters and key".to_owned())
            })
        },
    ),
    ("kserve/admission/refuses-bad-workers", |request| {
        let workers = &request.object["spec"]["predictor"]["workerSpec"];
        if !workers.is_object() {
            return None;
        }
        let small = |key: &str| number(&workers[key]).is_some_and(|size| size < 1);
        if array(&workers["containers"]).count() > 1 {
            Some("setting multiple containers in workerSpec is not allowed".to_owned())
        } else if small("pipelineParallelSize") || small("tensorParallelSize") {
            Some("the sizes of workerSpec cannot be less than 1".to_owned())
        } else {
            (autoscaler(request) != Some("none"))
                .then(|| "the autoscaler of workers must be none".to_owned())
        }
    }),
];

/// Of a trained model.
const MODEL_RULES: &[Rule] = &[
    ("kserve/trained-model/refuses-bad-names", |request| {
        let name = text(&request.object["metadata"]["name"]);
        name.contains('.')
            .then(|| format!("the Trained Model \"{name}\" is invalid"))
    }),
    ("kserve/trained-model/refuses-unknown-storage", |request| {
        let uri = text(&request.object["spec"]["model"]["storageUri"]);
        let known = ["s3://", "gs://", "https://", "http://"];
        (!known.iter().any(|scheme| uri.starts_with(scheme))).then(|| {
            format!("the Trained Model storageUri field is invalid. (the storage uri given is \"{uri}\")")
        })
    }),
];

const GRAPH_RULES: &[Rule] = &[
    ("kserve/graph/refuses-bad-names", |request| {
        let name = text(&request.object["metadata"]["name"]);
        (!is_name(name)).then(|| format!("the InferenceGraph \"{name}\" is invalid"))
    }),
    ("kserve/graph/refuses-no-root", |request| {
        request.object["spec"]["nodes"]["root"].is_null().then(|| {
            "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph".to_owned()
        })
    }),
    ("kserve/graph/refuses-repeated-step-names", |request| {
        let graph = text(&request.object["metadata"]["name"]);
        nodes(request).find_map(|(name, node)| {
            let mut seen = Vec::new();
            array(&node["steps"])
                .map(|step| text(&step["name"]))
                .filter(|step| !step.is_empty())
                .find(|step| {
                    let again = seen.contains(step);
                    seen.push(step);
                    again
                })
                .map(|step| {
                    format!(
                        "Node \"{name}\" of InferenceGraph \"{graph}\" contains more than one step with name \"{step}\""
                    )
                })
        })
    }),
    ("kserve/graph/refuses-unclear-targets", |request| {
        let graph = text(&request.object["metadata"]["name"]);
        nodes(request).find_map(|(name, node)| {
            array(&node["steps"]).enumerate().find_map(|(index, step)| {
                let targets = ["nodeName", "serviceName", "serviceUrl"]
                    .iter()
                    .filter(|key| !text(&step[**key]).is_empty())
                    .count();
                let says = match targets {
                    0 => "does not specify an inference target",
                    1 => return None,
                    _ => "specifies more than one of nodeName, serviceName, serviceUrl",
                };
                Some(format!(
                    "Step {index} (\"{}\") in node \"{name}\" of InferenceGraph \"{graph}\" {says}",
                    text(&step["name"])
                ))
            })
        })
    }),
    ("kserve/graph/refuses-incomplete-weights", |request| {
        let graph = text(&request.object["metadata"]["name"]);
        nodes(request)
            .filter(|(_, node)| node["routerType"] == "Splitter")
            .find_map(|(name, node)| {
                let unweighted = array(&node["steps"]).find(|step| step["weight"].is_null());
                if let Some(step) = unweighted {
                    return Some(format!(
                        "InferenceGraph[{graph}] Node[{name}] Route[{}] missing the 'Weight'",
                        text(&step["serviceName"])
                    ));
                }
                let sum: i64 = array(&node["steps"])
                    .filter_map(|step| step["weight"].as_i64())
                    .sum();
                (sum != 100).then(|| {
                    format!(
                        "InferenceGraph[{graph}] Node[{name}] splitter node: the sum of traffic weights for all routing \
                         targets should be 100"
                    )
                })
            })
    }),
];

fn nodes(request: &AdmissionRequest) -> impl Iterator<Item = (&str, &Value)> {
    request.object["spec"]["nodes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, node)| (name.as_str(), node))
}

/// What is said of a runtime whose place another one of its namespace has.
fn equal_priority(world: &World, request: &AdmissionRequest) -> Option<String> {
    let new = &request.object["spec"];
    let name = text(&request.object["metadata"]["name"]);
    if new["disabled"] == true {
        return None;
    }
    let auto = |spec: &Value| -> Vec<(String, Value, Value)> {
        array(&spec["supportedModelFormats"])
            .filter(|f| f["autoSelect"] == true && f["priority"].is_number())
            .map(|f| {
                (
                    text(&f["name"]).to_lowercase(),
                    f["version"].clone(),
                    f["priority"].clone(),
                )
            })
            .collect()
    };
    for other in world.list(&RUNTIMES, Some(&request.namespace)) {
        let spec = &other["spec"];
        let other_name = text(&other["metadata"]["name"]);
        let protocols = array(&spec["protocolVersions"])
            .any(|p| array(&new["protocolVersions"]).any(|q| p == q));
        if other_name == name || spec["disabled"] == true || !protocols {
            continue;
        }
        if let Some((format, ..)) = auto(new).iter().find(|f| auto(spec).contains(f)) {
            return Some(format!(
                "same priority assigned for the model format {format} in the serving runtimes {other_name} and {name} \
                 under the namespace {}",
                request.namespace
            ));
        }
    }
    None
}

/// What is said of a runtime that gives one format two priorities. Nobody looks where the namespace has no runtime.
fn two_priorities(world: &World, request: &AdmissionRequest) -> Option<String> {
    let new = &request.object["spec"];
    if new["disabled"] == true || world.list(&RUNTIMES, Some(&request.namespace)).is_empty() {
        return None;
    }
    let mut known: Vec<(&Value, &Value)> = Vec::new();
    for format in array(&new["supportedModelFormats"]).filter(|f| f["autoSelect"] == true) {
        let (name, priority) = (&format["name"], &format["priority"]);
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, other)) if *other != priority && !other.is_null() && !priority.is_null() => {
                return Some(format!(
                    "different priorities assigned for the model format {} under the servingruntime {}",
                    text(name),
                    text(&request.object["metadata"]["name"])
                ));
            }
            Some(_) => {}
            None => known.push((name, priority)),
        }
    }
    None
}
