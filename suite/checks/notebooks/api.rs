//! The API itself: its versions and its status subresource.

use std::collections::BTreeSet;

use super::{
    states::{READY, Ready},
    uid_of,
};
use crate::{checks::prelude::*, cluster::Endpoint};

requirement_checks! {
    "notebooks/api/serves-notebooks" => serves_notebooks;
    "notebooks/api/status-subresource" => status_subresource, needs [&READY];
    "notebooks/api/serves-v1beta1" => serves_v1beta1, needs [&READY];
}

/// What clients do with a Notebook.
const VERBS: [&str; 7] = [
    "create", "delete", "get", "list", "patch", "update", "watch",
];

/// Discovery names Notebooks in `kubeflow.org/v1`: namespaced, with all verbs.
pub async fn serves_notebooks(cx: &Cx) -> Outcome {
    let answer = cx
        .kube(Request::new(
            Endpoint::Kubernetes,
            "GET",
            "/apis/kubeflow.org/v1",
        ))
        .await?;
    ensure_eq!(
        answer.status,
        200,
        "the status of discovery of kubeflow.org/v1"
    );
    let resources = answer.json()["resources"].as_array();
    let found = resources
        .into_iter()
        .flatten()
        .find(|r| r["name"] == NOTEBOOK.plural);
    let Some(found) = found else {
        return Err(Stop::failed("kubeflow.org/v1 has no notebooks"));
    };
    ensure_eq!(found["kind"], NOTEBOOK.kind, "the kind of notebooks");
    ensure_eq!(
        found["namespaced"],
        true,
        "whether notebooks are namespaced"
    );
    let verbs = found["verbs"].as_array().into_iter().flatten();
    let verbs: BTreeSet<&str> = verbs.filter_map(Value::as_str).collect();
    let missing: Vec<&str> = VERBS.into_iter().filter(|v| !verbs.contains(v)).collect();
    ensure!(
        missing.is_empty(),
        "notebooks cannot be asked to {}",
        missing.join(", ")
    );
    Ok(())
}

/// A write to a Notebook leaves its status alone. It is a dry run, so that nothing is spoiled where it does not.
pub async fn status_subresource(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    let path = format!("{}?dryRun=All", NOTEBOOK.object_path(cx.namespace(), name));
    let patch = json!({
        "metadata": {"labels": {"conformance.kubeflow.org/written": "true"}},
        "status": {"readyReplicas": 7},
    });
    let answer = cx
        .kube(
            Request::new(Endpoint::Kubernetes, "PATCH", path)
                .content("application/merge-patch+json", Body::Json(patch)),
        )
        .await?;
    let written = super::super::kube::accepted(&answer, "a write to a Notebook")?;
    ensure_eq!(
        written["metadata"]["labels"]["conformance.kubeflow.org/written"],
        "true",
        "the label that was written to the Notebook"
    );
    ensure!(
        written["status"]["readyReplicas"] != 7,
        "status.readyReplicas was set by a write to the Notebook itself"
    );
    Ok(())
}

/// A Notebook that was made as v1 is the same one read as v1beta1.
pub async fn serves_v1beta1(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let older = NOTEBOOK.at("v1beta1");
    let read = cx.need(&older, name_of(&seen.notebook)).await?;
    ensure_eq!(
        read["apiVersion"],
        "kubeflow.org/v1beta1",
        "the version that was read"
    );
    ensure_eq!(
        uid_of(&read),
        uid_of(&seen.notebook),
        "the uid of the Notebook read as v1beta1"
    );
    ensure_eq!(
        read["spec"],
        seen.notebook["spec"],
        "the spec of the Notebook read as v1beta1"
    );
    Ok(())
}
