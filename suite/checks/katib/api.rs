//! The API itself: its kinds and their subresource.

use std::collections::BTreeSet;

use super::runs::{Observed, RUNNING};
use crate::{
    checks::{kube::accepted, prelude::*},
    cluster::Endpoint,
};

requirement_checks! {
    "katib/api/kinds" => kinds;
    "katib/api/status-subresource" => status_subresource, needs [&RUNNING];
}

/// What clients do with each kind.
const VERBS: [&str; 7] = [
    "create", "delete", "get", "list", "patch", "update", "watch",
];

/// What discovery says of kubeflow.org/v1beta1.
async fn discovered(cx: &Cx) -> Outcome<Vec<Value>> {
    let request = Request::new(Endpoint::Kubernetes, "GET", "/apis/kubeflow.org/v1beta1");
    let answer = cx.kube(request).await?;
    ensure_eq!(
        answer.status,
        200,
        "the status of discovery of kubeflow.org/v1beta1"
    );
    let resources = answer.json()["resources"].as_array();
    Ok(resources.cloned().unwrap_or_default())
}

/// Discovery names the three kinds, namespaced, with all verbs.
pub async fn kinds(cx: &Cx) -> Outcome {
    let resources = discovered(cx).await?;
    for kind in [EXPERIMENT, SUGGESTION, TRIAL] {
        let plural = kind.plural;
        let Some(found) = resources.iter().find(|r| r["name"] == plural) else {
            return Err(Stop::failed(format!(
                "kubeflow.org/v1beta1 has no {plural}"
            )));
        };
        ensure_eq!(found["kind"], kind.kind, "the kind of {plural}");
        ensure_eq!(found["namespaced"], true, "whether {plural} are namespaced");
        let verbs = found["verbs"].as_array().into_iter().flatten();
        let verbs: BTreeSet<&str> = verbs.filter_map(Value::as_str).collect();
        let missing: Vec<&str> = VERBS.into_iter().filter(|v| !verbs.contains(v)).collect();
        ensure!(
            missing.is_empty(),
            "{plural} cannot be asked to {}",
            missing.join(", ")
        );
    }
    Ok(())
}

/// Each kind has a status subresource, and a write to it leaves the spec alone.
pub async fn status_subresource(cx: &Cx) -> Outcome {
    let resources = discovered(cx).await?;
    for kind in [EXPERIMENT, SUGGESTION, TRIAL] {
        let part = format!("{}/status", kind.plural);
        ensure!(
            resources.iter().any(|r| r["name"] == part.as_str()),
            "{} have no status subresource",
            kind.plural
        );
    }
    let seen: Observed = cx.setup(&RUNNING)?;
    let answer = &seen.answers["spec through status"];
    let stored = accepted(answer, "a write to the status of an Experiment")?;
    ensure_eq!(
        stored["spec"]["maxTrialCount"],
        seen.experiment["spec"]["maxTrialCount"],
        "spec.maxTrialCount after a write to the status subresource"
    );
    Ok(())
}
