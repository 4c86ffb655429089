//! The API itself: its kinds and their subresource.

use std::collections::BTreeSet;

use super::runs::{Observed, RUNNING};
use crate::{checks::prelude::*, cluster::Endpoint};

requirement_checks! {
    "katib/api/kinds" => kinds;
    "katib/api/status-subresource" => status_subresource, needs [&RUNNING];
}

/// What clients do with each kind.
const VERBS: [&str; 7] = [
    "create", "delete", "get", "list", "patch", "update", "watch",
];

/// Discovery names the three kinds, namespaced, with all verbs and a status subresource.
pub async fn kinds(cx: &Cx) -> Outcome {
    let answer = cx
        .kube(Request::new(
            Endpoint::Kubernetes,
            "GET",
            "/apis/kubeflow.org/v1beta1",
        ))
        .await?;
    ensure_eq!(
        answer.status,
        200,
        "the status of discovery of kubeflow.org/v1beta1"
    );
    let resources = answer.json()["resources"].as_array();
    let find = |name: &str| resources.into_iter().flatten().find(|r| r["name"] == name);
    for kind in [EXPERIMENT, SUGGESTION, TRIAL] {
        let Some(found) = find(kind.plural) else {
            return Err(Stop::failed(format!(
                "kubeflow.org/v1beta1 has no {}",
                kind.plural
            )));
        };
        ensure_eq!(found["kind"], kind.kind, "the kind of {}", kind.plural);
        ensure_eq!(
            found["namespaced"],
            true,
            "whether {} are namespaced",
            kind.plural
        );
        let verbs = found["verbs"].as_array().into_iter().flatten();
        let verbs: BTreeSet<&str> = verbs.filter_map(Value::as_str).collect();
        let missing: Vec<&str> = VERBS.into_iter().filter(|v| !verbs.contains(v)).collect();
        ensure!(
            missing.is_empty(),
            "{} cannot be asked to {}",
            kind.plural,
            missing.join(", ")
        );
        ensure!(
            find(&format!("{}/status", kind.plural)).is_some(),
            "{} have no status subresource",
            kind.plural
        );
    }
    Ok(())
}

/// A write to the status subresource leaves the spec alone.
pub async fn status_subresource(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RUNNING)?;
    let answer = &seen.answers["spec through status"];
    let stored = super::super::kube::accepted(answer, "a write to the status of an Experiment")?;
    ensure_eq!(
        stored["spec"]["maxTrialCount"],
        seen.experiment["spec"]["maxTrialCount"],
        "spec.maxTrialCount after a write to the status subresource"
    );
    Ok(())
}
