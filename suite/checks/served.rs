//! What the Kubernetes API says that it serves.

use std::collections::BTreeSet;

use super::prelude::*;
use crate::cluster::Endpoint;

/// What clients do with a kind.
const VERBS: [&str; 7] = [
    "create", "delete", "get", "list", "patch", "update", "watch",
];

/// Discovery names these kinds of one group and version, each in its scope and with all verbs; those of `with_status`
/// have a status subresource.
pub(super) async fn serves(cx: &Cx, kinds: &[Kind], with_status: &[Kind]) -> Outcome {
    let Some(first) = kinds.first() else {
        return Ok(());
    };
    let version = first.api_version();
    let request = Request::new(Endpoint::Kubernetes, "GET", format!("/apis/{version}"));
    let answer = cx.kube(request).await?;
    ensure_eq!(
        answer.status,
        200,
        "the status of the discovery of {version}"
    );
    let resources = answer.json()["resources"].as_array();
    let named = |name: &str| resources.into_iter().flatten().find(|r| r["name"] == name);
    for kind in kinds {
        let plural = kind.plural;
        let Some(found) = named(plural) else {
            return Err(Stop::failed(format!("{version} has no {plural}")));
        };
        ensure_eq!(found["kind"], kind.kind, "the kind of {plural}");
        ensure_eq!(
            found["namespaced"],
            kind.namespaced,
            "whether {plural} are namespaced"
        );
        let verbs = found["verbs"].as_array().into_iter().flatten();
        let verbs: BTreeSet<&str> = verbs.filter_map(Value::as_str).collect();
        let missing: Vec<&str> = VERBS.into_iter().filter(|v| !verbs.contains(v)).collect();
        ensure!(
            missing.is_empty(),
            "{plural} cannot be asked to {}",
            missing.join(", ")
        );
    }
    for kind in with_status {
        ensure!(
            named(&format!("{}/status", kind.plural)).is_some(),
            "{} have no status subresource",
            kind.plural
        );
    }
    Ok(())
}
