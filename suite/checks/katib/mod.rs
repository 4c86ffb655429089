//! What Katib must do.
//!
//! Admission is asked with dry runs, a row a case. Experiments that are really run are made once each and read by
//! many checks; [`runs`] and [`metrics`] have them.

mod admission;
mod algorithm;
mod api;
mod database;
mod defaults;
mod experiment;
mod metrics;
mod runs;
mod suggestion;
mod trial;
mod ui;
mod validation;

use super::{Cleanup, prelude::*};
use crate::cluster::{Endpoint, RUN_LABEL};

/// The checks of Katib, group by group.
pub const TABLES: &[&[Check]] = &[
    api::CHECKS,
    defaults::CHECKS,
    validation::CHECKS,
    experiment::CHECKS,
    trial::CHECKS,
    suggestion::CHECKS,
    metrics::CHECKS,
    algorithm::CHECKS,
    database::CHECKS,
    ui::CHECKS,
];

/// Removes the Experiments whose template stands in a ConfigMap before all else: Katib refuses every change of one whose
/// ConfigMap is gone, that of its finalizers too, so that it and its namespace would stay for ever.
pub const CLEANUP: Cleanup = Cleanup {
    name: "katib",
    as_namespace: true,
    run: |cx| Box::pin(clean(cx)),
};

async fn clean(cx: &Cx) -> Outcome<Vec<String>> {
    let own = format!("{RUN_LABEL}={}", cx.run.id);
    let mut experiments = cx.list(&EXPERIMENT, &own).await?;
    experiments.retain(|e| e["spec"]["trialTemplate"]["configMap"].is_object());
    for experiment in &experiments {
        let name = name_of(experiment);
        cx.delete(&EXPERIMENT, name).await?;
        cx.until_gone(&EXPERIMENT, name, "gone").await?;
    }
    Ok(vec![])
}

/// The label by which a trial names its experiment.
const EXPERIMENT_LABEL: &str = "katib.kubeflow.org/experiment";

/// The container of the trials that does the work, and the path to its template.
const CONTAINER: &str = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0";

/// The Experiment of `fixtures/katib/experiment.yaml`.
fn base(cx: &Cx, label: &str) -> Outcome<Value> {
    cx.fixture("katib/experiment.yaml", &[("name", &cx.name(label))])
}

/// An object with fields set by dotted paths; `null` removes one.
fn changed(object: &Value, changes: &Value) -> Value {
    let changes = changes.as_object();
    changes
        .into_iter()
        .flatten()
        .fold(object.clone(), |object, (path, value)| {
            with(&object, path, value.clone())
        })
}

/// Makes the trials of an experiment run `kfconform workload trial` with these arguments.
fn trial_does(experiment: &Value, arguments: &[&str]) -> Value {
    let mut command = vec!["kfconform", "workload", "trial"];
    command.extend_from_slice(arguments);
    with(experiment, &format!("{CONTAINER}.command"), json!(command))
}

/// Asks for a change by a JSON merge patch that stores nothing. `part` is a subresource with its slash, or empty.
async fn dry_patch(cx: &Cx, kind: &Kind, name: &str, part: &str, patch: &Value) -> Outcome<Answer> {
    let path = kind.object_path(cx.namespace(), name);
    let path = format!("{path}{part}?dryRun=All");
    let request = Request::new(Endpoint::Kubernetes, "PATCH", path)
        .content("application/merge-patch+json", Body::Json(patch.clone()));
    cx.kube(request).await
}

/// The texts of a JSON array, sorted.
fn sorted(texts: &Value) -> Vec<&str> {
    let mut texts: Vec<&str> = texts
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    texts.sort_unstable();
    texts
}

/// The names of objects, sorted.
fn names(objects: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = objects.iter().map(name_of).collect();
    names.sort_unstable();
    names
}

/// The values of named parameters, as text, by name.
fn assignments(list: &Value) -> std::collections::BTreeMap<&str, &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|a| Some((a["name"].as_str()?, a["value"].as_str()?)))
        .collect()
}

/// A number that Katib writes as text.
fn number(text: &Value) -> Option<f64> {
    text.as_str()?.parse().ok()
}

/// The owner of an object of that kind which controls it.
fn controlled_by<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners
        .iter()
        .find(|owner| owner["kind"] == kind && owner["controller"] == true)?;
    owner["name"].as_str()
}
