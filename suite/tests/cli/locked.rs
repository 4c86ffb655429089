//! Locked-down clusters: what the suite puts on one is within Pod Security's level `restricted`, bears the configured settings,
//! and comes from the configured registry. The evidence of a run tells, object by object.

use std::collections::{BTreeMap, BTreeSet};

use kfconform::{
    cluster::exchange::{Body, Endpoint, Reply},
    engine::Recording,
    reference::{
        Reference, ReferenceOptions,
        kube::{Denied, Operation, Resource},
    },
};
use serde_json::Value;

use crate::{beside, folder, kfconform, program, results};

const CONFIG: &str = "
tolerations: [{key: dedicated, operator: Exists}]
nodeSelector: {kubernetes.io/os: linux}
imagePullSecrets: [ours]
plugins: [{name: p, image: mirror.example/kf/kfconform:1, command: [kfconform, workload, step]}]
";

/// Every pod template in an object, with the labels and annotations that stand on it and around it.
fn pods<'a>(
    value: &'a Value,
    around: &BTreeMap<&'a str, &'a Value>,
    all: &mut Vec<(Value, &'a Value)>,
) {
    match value {
        Value::Object(map) => {
            let mut around = around.clone();
            for place in [value, &value["metadata"]] {
                for marks in [&place["labels"], &place["annotations"]] {
                    let marks = marks.as_object().into_iter().flatten();
                    around.extend(marks.map(|(name, value)| (name.as_str(), value)));
                }
            }
            if value["containers"].is_array() {
                all.push((serde_json::to_value(&around).expect("JSON"), value));
            }
            map.values().for_each(|value| pods(value, &around, all));
        }
        Value::Array(items) => items.iter().for_each(|value| pods(value, around, all)),
        _ => {}
    }
}

/// What is wrong with a pod on a cluster that is locked down.
fn faults(kind: &str, marks: &Value, spec: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for setting in ["tolerations", "nodeSelector", "imagePullSecrets"] {
        if spec[setting].is_null() {
            faults.push(format!("no {setting}"));
        }
    }
    // A runtime's pods bear the marks of the InferenceService that uses it.
    if marks["sidecar.istio.io/inject"] != "false" && kind != "ServingRuntime" {
        faults.push("a mesh may put a sidecar in it".to_owned());
    }
    for container in spec["containers"].as_array().into_iter().flatten() {
        let (own, pod) = (&container["securityContext"], &spec["securityContext"]);
        let either = |name: &str| {
            if own[name].is_null() {
                &pod[name]
            } else {
                &own[name]
            }
        };
        if own["allowPrivilegeEscalation"] != false
            || own["capabilities"]["drop"] != serde_json::json!(["ALL"])
            || either("runAsNonRoot") != true
            || either("seccompProfile")["type"] != "RuntimeDefault"
        {
            faults.push("it is not restricted".to_owned());
        }
        for bound in ["requests", "limits"] {
            for resource in ["cpu", "memory"] {
                if container["resources"][bound][resource].is_null() {
                    faults.push(format!("no {bound} of {resource}"));
                }
            }
        }
        let image = container["image"].as_str().unwrap_or_default();
        // One is to be found nowhere, on purpose.
        if !image.starts_with("mirror.example/kf/") && !image.contains(".invalid/") {
            faults.push(format!("its image is {image}"));
        }
    }
    faults
}

#[test]
fn every_pod_of_a_run_fits_a_cluster_that_is_locked_down() {
    let dir = folder();
    std::fs::write(dir.path().join("c.yaml"), CONFIG).expect("written");
    let globs = [
        "notebooks/server/*",
        "notebooks/lifecycle/*",
        "katib/experiment/*",
        "kserve/inferenceservice/*",
        "kserve/runtime/*",
    ];
    let mut args = vec![
        "run",
        "--reference",
        "--profile",
        "all",
        "--config",
        "c.yaml",
    ];
    args.extend(["--registry", "mirror.example/kf", "--out", "r", "--quiet"]);
    args.extend(globs.iter().flat_map(|glob| ["--only", glob]));
    kfconform(dir.path(), &args).exits(0);
    let recording = Recording::read(&dir.path().join("r/evidence.tar.gz")).expect("evidence");
    let (mut kinds, mut wrong) = (BTreeSet::new(), BTreeSet::new());
    for (path, evidence) in &recording.evidence {
        for exchange in &evidence.exchanges {
            let asked = &exchange.asked;
            let made = matches!(&exchange.reply, Reply::Answer(answer) if answer.is_success());
            let Body::Json(object) = &asked.body else {
                continue;
            };
            let dry = asked.path.contains("dryRun");
            if asked.to != Endpoint::Kubernetes || asked.method != "POST" || dry || !made {
                continue;
            }
            let mut all = Vec::new();
            pods(object, &BTreeMap::new(), &mut all);
            let kind = object["kind"].as_str().unwrap_or_default();
            for (marks, spec) in all {
                kinds.insert(kind.to_owned());
                let faults = faults(kind, &marks, spec);
                wrong.extend(
                    faults
                        .into_iter()
                        .map(|fault| format!("{path}: {kind}: {fault}")),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let wanted = [
        "Experiment",
        "InferenceService",
        "Notebook",
        "Pod",
        "ServingRuntime",
    ];
    assert!(wanted.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
}

/// A pod that a quota keeps from being made says nothing of the distribution, whoever was to make it.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_fails_nothing() {
    let dir = folder();
    let reference = Reference::start(ReferenceOptions::default())
        .await
        .expect("the reference starts");
    let pods = Resource::new("", "pods");
    let made = [Operation::Create];
    reference
        .world
        .validating(&pods, &made, |request| async move {
            // The image is looked at before the quota is used up.
            if request.namespace.starts_with("kfc-")
                && !request.object["metadata"]["ownerReferences"].is_null()
            {
                let why = "exceeded quota: team, requested: pods=1, used: pods=3, limited: pods=3";
                return Err(Denied {
                    code: 403,
                    reason: Some("Forbidden".to_owned()),
                    message: why.to_owned(),
                });
            }
            Ok(())
        });
    std::fs::write(dir.path().join("k.yaml"), reference.kubeconfig()).expect("written");
    let command = program(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "k.yaml",
            "--out",
            "r",
            "--timeout",
            "notebook-ready=3s",
            "--only",
            "notebooks/server/becomes-ready",
        ],
    );
    beside(command).await.exits(3);
    let check = &results(&dir.path().join("r"))["checks"][0];
    assert_eq!(check["outcome"], "could-not-run", "{check}");
    let message = check["message"].as_str().unwrap_or_default();
    assert!(message.contains("exceeded quota: team"), "{message}");
}
