//! What Notebooks must do.
//!
//! The schema is asked with dry runs. A handful of notebooks is really run, each made once and read by many checks;
//! [`states`] has them. All of them have a full pod template, without which a stock controller does not survive.

mod api;
mod culling;
mod lifecycle;
mod pod;
mod pod_defaults;
mod server;
mod states;
mod validation;
pub(super) mod web_app;
mod workspace;

use super::prelude::*;

/// The checks of Notebooks, group by group.
pub const TABLES: &[&[Check]] = &[
    api::CHECKS,
    validation::CHECKS,
    server::CHECKS,
    pod::CHECKS,
    lifecycle::CHECKS,
    workspace::CHECKS,
    culling::CHECKS,
    pod_defaults::CHECKS,
    web_app::guard::CHECKS,
    web_app::view::CHECKS,
    web_app::create::CHECKS,
    web_app::manage::CHECKS,
];

/// The annotation by which a notebook is stopped; its value says when.
const STOPPED: &str = "kubeflow-resource-stopped";

/// The label by which a pod names its notebook.
const NAME_LABEL: &str = "notebook-name";

/// The path to the pod's spec in a Notebook, and to its container.
const POD_SPEC: &str = "spec.template.spec";
const CONTAINER: &str = "spec.template.spec.containers.0";

/// The Notebook of `fixtures/notebooks/notebook.yaml`.
fn base(cx: &Cx, name: &str) -> Outcome<Value> {
    cx.fixture("notebooks/notebook.yaml", &[("name", name)])
}

/// The unique id of an object.
fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// The path under which a notebook serves.
fn prefix_of(notebook: &Value) -> String {
    let namespace = notebook["metadata"]["namespace"].as_str();
    format!(
        "/notebook/{}/{}",
        namespace.unwrap_or_default(),
        name_of(notebook)
    )
}

/// Merges a pair into the annotations or labels (`field`) of an object.
fn marked(mut object: Value, field: &str, key: &str, value: &str) -> Value {
    object["metadata"][field][key] = value.into();
    object
}

/// Whether a pod is one of a notebook's: it says so by its label, or it belongs to the StatefulSet of the same name.
fn is_pod_of(pod: &Value, notebook: &str) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    pod["metadata"]["labels"][NAME_LABEL] == notebook
        || owners
            .into_iter()
            .flatten()
            .any(|o| o["kind"] == "StatefulSet" && o["name"] == notebook)
}

/// The pods of a notebook.
async fn pods_of(cx: &Cx, notebook: &str) -> Outcome<Vec<Value>> {
    let name = notebook.to_owned();
    cx.list_those(&POD, move |pod| is_pod_of(pod, &name)).await
}
