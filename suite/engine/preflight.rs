//! Looks at an installation before a run: whether it is ready, and whether its parts are those of the release.
//!
//! What is found is told, and decides nothing: no check is left out for it, and no outcome depends on it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    cluster::{
        Endpoint, Facts, Kind, Request, Session,
        discover::{items, name_of, semver_of},
        kinds::{DEPLOYMENT, MUTATING_WEBHOOK, VALIDATING_WEBHOOK},
    },
    spec::{Component, Release},
};

/// Something about an installation that a reader of the results should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// What it is about.
    pub what: String,
    /// What was seen.
    pub seen: String,
    /// What can be done about it.
    pub mend: String,
}

/// The Applications of the Kubernetes special interest group, by which some distributions describe themselves.
const APPLICATION: Kind = Kind::namespaced("app.k8s.io", "v1beta1", "Application", "applications");
/// Deployments whose images tell the version of what Kubeflow builds on.
const DEPENDENCIES: [(&str, &str); 6] = [
    ("argo-workflows", "workflow-controller"),
    ("istio", "istiod"),
    ("cert-manager", "cert-manager"),
    ("dex", "dex"),
    ("oauth2-proxy", "oauth2-proxy"),
    ("training-operator", "training-operator"),
];
/// Parts of the names of webhooks that are Kubeflow's.
const HOOKS: [&str; 3] = ["kubeflow.org", "kserve", "serving"];

/// Everything that is to be said of an installation, beside the plain fact of what was found.
pub async fn concerns(session: &Session, facts: &Facts, release: &Release) -> Vec<Concern> {
    let mut concerns = versions(facts, release);
    let deployments = list(session, &DEPLOYMENT, "", deployment_of).await;
    concerns.extend(readiness(facts, &deployments));
    concerns.extend(dependencies(&deployments, release));
    concerns.extend(webhooks(session).await);
    concerns.extend(applications(session).await);
    concerns
}

/// The objects of a kind; none where they may not be read, which is nothing to be said of the installation.
async fn list(
    session: &Session,
    kind: &Kind,
    namespace: &str,
    keep: impl Fn(&Value) -> Value + Send + Sync + 'static,
) -> Vec<Value> {
    let path = format!("{}?limit=250", kind.path(namespace));
    let request = Request::new(Endpoint::Kubernetes, "GET", path).keep(keep);
    match session.send(request).await {
        Ok(answer) if answer.is_success() => items(answer.json(), "items").cloned().collect(),
        _ => Vec::new(),
    }
}

/// Of a Deployment whether it is available, and its images.
fn deployment_of(deployment: &Value) -> Value {
    let available = items(&deployment["status"], "conditions")
        .any(|c| c["type"] == "Available" && c["status"] == "True");
    let containers = items(&deployment["spec"]["template"]["spec"], "containers");
    let images: Vec<&Value> = containers.map(|c| &c["image"]).collect();
    json!({
        "metadata": {"name": deployment["metadata"]["name"], "namespace": deployment["metadata"]["namespace"]},
        "available": available, "images": images,
    })
}

/// Whether a Deployment is a component's, by its name.
fn is_of(component: &str, deployment: &Value) -> bool {
    let name = name_of(deployment);
    let parts: &[&str] = match component {
        "pipelines" => &["ml-pipeline", "workflow-controller", "cache-server", "kfp-"],
        "platform" => &["profile", "admission-webhook", "poddefaults", "dashboard"],
        "notebooks" => &["notebook", "jupyter"],
        other => return name.contains(other),
    };
    parts.iter().any(|part| name.contains(part))
}

/// The Deployments of components that are not available.
fn readiness(facts: &Facts, deployments: &[Value]) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for (component, found) in &facts.components {
        let Some(namespace) = &found.namespace else {
            continue;
        };
        let waiting = deployments.iter().filter(|deployment| {
            deployment["metadata"]["namespace"] == namespace.as_str()
                && is_of(component, deployment)
                && deployment["available"] != true
        });
        let waiting: Vec<&str> = waiting.map(name_of).collect();
        if !waiting.is_empty() {
            concerns.push(Concern {
                what: format!("{component} is available"),
                seen: format!(
                    "not available in namespace {namespace}: {}",
                    waiting.join(", ")
                ),
                mend: format!("look at `kubectl -n {namespace} get deployments,pods`"),
            });
        }
    }
    concerns
}

/// The components that are not of a version that the release has.
fn versions(facts: &Facts, release: &Release) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for (name, found) in &facts.components {
        let component = Component::ALL.iter().find(|c| c.as_str() == name);
        let (Some(component), Some(version)) = (component, &found.version) else {
            continue;
        };
        let listed = release.component_versions(*component);
        concerns.extend(conflict(name, version, &listed, release));
    }
    concerns
}

/// What Kubeflow builds on and is not of a version that the release was put together with.
fn dependencies(deployments: &[Value], release: &Release) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for (dependency, name) in DEPENDENCIES {
        let found = deployments.iter().find(|d| name_of(d) == name);
        let image = found.and_then(|d| d["images"][0].as_str());
        let Some(tag) = image.and_then(crate::cluster::discover::tag) else {
            continue;
        };
        let listed = release.dependency_versions(dependency);
        concerns.extend(conflict(dependency, &tag, &listed, release));
    }
    concerns
}

/// A version that is of no minor version that is listed; what is no version, or not listed at all, says nothing.
fn conflict(name: &str, version: &str, listed: &[&str], release: &Release) -> Option<Concern> {
    let seen = semver_of(version)?;
    let mut known = listed.iter().filter_map(|v| semver_of(v)).peekable();
    known.peek()?;
    if known.any(|known| (known.major, known.minor) == (seen.major, seen.minor)) {
        return None;
    }
    Some(Concern {
        what: format!("version of {name}"),
        seen: format!(
            "{version} was found; Kubeflow {} has {}",
            release.name,
            listed.join(", ")
        ),
        mend: "judge another release with --release, or read the results with that in mind"
            .to_owned(),
    })
}

/// The webhooks of Kubeflow behind which nobody answers.
async fn webhooks(session: &Session) -> Vec<Concern> {
    let mut services: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for kind in [VALIDATING_WEBHOOK, MUTATING_WEBHOOK] {
        for configuration in list(session, &kind, "", hooks_of).await {
            for hook in items(&configuration, "webhooks") {
                let text = |key: &str| hook[key].as_str().unwrap_or_default().to_owned();
                services
                    .entry((text("namespace"), text("service")))
                    .or_default()
                    .insert(text("name"));
            }
        }
    }
    let mut concerns = Vec::new();
    for ((namespace, service), hooks) in services {
        let path = format!("/api/v1/namespaces/{namespace}/endpoints/{service}");
        let request = Request::new(Endpoint::Kubernetes, "GET", path).keep(endpoints_of);
        let Ok(answer) = session.send(request).await else {
            continue;
        };
        let nobody = answer.status == 404 || answer.is_success() && answer.json()["ready"] != true;
        if nobody {
            let hooks: Vec<String> = hooks.into_iter().collect();
            concerns.push(Concern {
                what: format!("webhooks of Service {namespace}/{service}"),
                seen: format!("no pod is ready to answer {}", hooks.join(", ")),
                mend: format!("look at `kubectl -n {namespace} get endpoints,pods`"),
            });
        }
    }
    concerns
}

/// Of a webhook configuration, whose webhooks lead where, as far as they are Kubeflow's.
fn hooks_of(configuration: &Value) -> Value {
    let known = |hook: &&Value| {
        let name = hook["name"].as_str().unwrap_or_default();
        HOOKS.iter().any(|part| name.contains(part)) && hook["clientConfig"]["service"].is_object()
    };
    let hooks: Vec<Value> = items(configuration, "webhooks")
        .filter(known)
        .map(|hook| {
            let service = &hook["clientConfig"]["service"];
            json!({"name": hook["name"], "namespace": service["namespace"], "service": service["name"]})
        })
        .collect();
    if hooks.is_empty() {
        return Value::Null;
    }
    json!({"webhooks": hooks})
}

/// Of endpoints whether any is ready.
fn endpoints_of(endpoints: &Value) -> Value {
    let ready =
        items(endpoints, "subsets").any(|subset| items(subset, "addresses").next().is_some());
    json!({"kind": "Endpoints", "ready": ready})
}

/// The Applications that say of themselves that they are not ready.
async fn applications(session: &Session) -> Vec<Concern> {
    let keep = |application: &Value| {
        let conditions = items(&application["status"], "conditions");
        let ready = conditions
            .filter(|c| c["type"] == "Ready")
            .map(|c| &c["status"]);
        let metadata = &application["metadata"];
        json!({
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "ready": ready.last(),
        })
    };
    let found = list(session, &APPLICATION, "", keep).await;
    let found = found
        .iter()
        .filter(|application| application["ready"] == "False");
    found
        .map(|application| {
            let namespace = application["metadata"]["namespace"]
                .as_str()
                .unwrap_or_default();
            let name = name_of(application);
            Concern {
                what: format!("Application {namespace}/{name}"),
                seen: "it says that it is not ready".to_owned(),
                mend: format!("look at `kubectl -n {namespace} describe application {name}`"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster, spec::Specs};

    fn release(name: &str) -> Release {
        Specs::embedded()
            .release(name)
            .expect("the release is known")
            .clone()
    }

    #[test]
    fn a_version_of_another_minor_is_a_conflict_and_one_of_another_patch_is_none() {
        let release = release("1.11");
        let said = |version: &str| conflict("katib", version, &["0.19.0"], &release);
        assert_eq!(said("v0.19.3"), None);
        assert_eq!(said("latest"), None);
        let concern = said("v0.17.0").expect("it is said");
        assert!(
            concern.seen.contains("v0.17.0") && concern.seen.contains("0.19.0"),
            "{concern:?}"
        );
        assert_eq!(conflict("katib", "0.17.0", &[], &release), None);
    }

    #[test]
    fn what_is_not_ready_and_what_does_not_fit_is_named() {
        let deployment = |name: &str, image: &str, available: &str| {
            deployment_of(&json!({
                "metadata": {"name": name, "namespace": "a"},
                "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
                "status": {"conditions": [{"type": "Available", "status": available}]},
            }))
        };
        let deployments = [
            deployment("katib-controller", "x/katib:v0.19.0", "False"),
            deployment("katib-ui", "x/ui:v0.19.0", "True"),
            deployment("istiod", "x/pilot:1.20.0", "False"),
        ];
        let mut facts = Facts::default();
        let katib = cluster::discover::Component {
            namespace: Some("a".to_owned()),
            version: Some("v0.17.0".to_owned()),
            ..cluster::discover::Component::default()
        };
        facts.components.insert("katib".to_owned(), katib);
        let ready = readiness(&facts, &deployments);
        assert_eq!(ready.len(), 1, "{ready:?}");
        assert!(ready[0].seen.ends_with("katib-controller"), "{ready:?}");
        let release = release("1.11");
        assert_eq!(versions(&facts, &release).len(), 1);
        let foreign = dependencies(&deployments, &release);
        assert_eq!(foreign.len(), 1, "{foreign:?}");
        assert_eq!(foreign[0].what, "version of istio");
    }

    #[test]
    fn only_what_is_kubeflows_is_kept_of_webhooks() {
        let configuration = json!({"webhooks": [
            {"name": "validator.experiment.katib.kubeflow.org", "clientConfig": {"service": {"namespace": "a", "name": "katib"}}},
            {"name": "secrets.example.com", "clientConfig": {"service": {"namespace": "b", "name": "theirs"}}},
            {"name": "x.kubeflow.org", "clientConfig": {"url": "https://example.com"}},
        ]});
        let kept = hooks_of(&configuration);
        assert_eq!(kept["webhooks"].as_array().map(Vec::len), Some(1), "{kept}");
        assert!(!kept.to_string().contains("theirs"));
        assert_eq!(
            endpoints_of(&json!({"subsets": [{"notReadyAddresses": [{"ip": "10.0.0.1"}]}]}))["ready"],
            false
        );
        assert_eq!(
            endpoints_of(&json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]}))["ready"],
            true
        );
    }
}
