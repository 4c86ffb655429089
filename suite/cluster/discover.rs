//! Finds where a distribution keeps things. Nothing is assumed of namespaces or names.

mod kserve;
mod notebooks;
mod optional;
mod services;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Answer, Config, Endpoint, Kind, Request, Session, TransportError,
    config::{Access, IdentityHeader},
    kinds,
};
pub(crate) use crate::percent::escape;
use crate::{
    digest::sha256,
    outcome::{CouldNotRun, Outcome, Stop, shorten},
};
pub(super) use services::SERVICES;

/// What is known of a cluster before the first check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// The Kubernetes version, like `v1.34.4`.
    pub kubernetes: String,
    /// The platform that `/version` names, like `linux/amd64`.
    pub platform: String,
    /// Architectures of the nodes, sorted, each once; empty where nodes may not be listed.
    pub architectures: Vec<String>,
    /// A digest that stands for the cluster without naming it: SHA-256 of the uid of namespace `kube-system`, which is
    /// itself not recorded.
    pub cluster_digest: String,
    /// The components that were found, by name.
    pub components: BTreeMap<String, Component>,
    /// Features, by name: whether each is there, and how that was found.
    pub features: BTreeMap<String, Feature>,
    /// Services beside the components' own APIs that were found, by name: `kfam`, `jupyter-web-app`, `dashboard`,
    /// `katib-db-manager`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Component>,
    /// Whether Profiles are served.
    pub profiles: bool,
    /// Whether Pipelines runs in multi-user mode.
    pub multi_user: bool,
    /// The word for KServe's mode without Knative, as this cluster understands it; empty where nothing tells.
    pub kserve_mode: String,
    /// How the distribution's gateway tells components who asks, where a component's settings say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityHeader>,
    /// Looks that the cluster refused, in its words: what was not found may be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// One component that was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Component {
    /// Its version, where an image's tag or the component itself tells it.
    pub version: Option<String>,
    /// How its API is reached: `kubernetes`, `service` or `url`.
    pub endpoint: String,
    /// How it was found, in words.
    pub how: String,
    /// The namespace of its controller or Service.
    pub namespace: Option<String>,
    /// The images of its controllers.
    pub images: Vec<String>,
    /// Where its own HTTP API is, if it has one.
    pub access: Option<Access>,
}

/// Whether a feature is there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Feature {
    /// Whether it is there.
    pub found: bool,
    /// How that was found.
    pub how: String,
}

impl Facts {
    /// Looks at the cluster, and tells the session where each component's own API is. An unreachable Kubernetes API or a
    /// missing right to read is `could-not-run`; a component that is not there is simply absent, and one that does not
    /// say what it is is for the check of its health to report.
    pub async fn discover(session: &Session, config: &Config) -> Outcome<Self> {
        let mut facts = Self::look(session, config).await?;
        for (name, component) in facts.components.iter().chain(&facts.services) {
            if let Some(access) = &component.access {
                session.set_component(name, access);
            }
        }
        if let Some(identity) = &facts.identity
            && config.identity == IdentityHeader::default()
        {
            session.set_identity(identity);
        }
        facts.ask_pipelines(session).await;
        Ok(facts)
    }

    /// What another look found differently, if it did. What was refused does not count, and where one of them could not
    /// tell the clusters apart that does not either.
    pub fn differs(&self, now: &Self) -> Option<String> {
        let words = |facts: &Self| -> BTreeMap<String, Value> {
            let mut facts = facts.clone();
            facts.refused.clear();
            facts.cluster_digest.clear();
            let value = serde_json::to_value(facts).unwrap_or_default();
            let mut words = BTreeMap::new();
            for (key, value) in value.as_object().into_iter().flatten() {
                match value.as_object() {
                    Some(parts) => {
                        let parts = parts.iter();
                        words.extend(
                            parts.map(|(name, part)| (format!("{key}.{name}"), part.clone())),
                        );
                    }
                    None => drop(words.insert(key.clone(), value.clone())),
                }
            }
            words
        };
        let (before, now) = (words(self), words(now));
        let mut keys = before.keys().chain(now.keys());
        let key = keys.find(|key| before.get(*key) != now.get(*key))?;
        let shown = |value: Option<&Value>| {
            value.map_or_else(|| "nothing".to_owned(), |v| shorten(&v.to_string(), 300))
        };
        Some(format!(
            "{key}: {} before, {} now",
            shown(before.get(key)),
            shown(now.get(key))
        ))
    }

    async fn look(session: &Session, config: &Config) -> Outcome<Self> {
        let mut facts = Self::default();
        let version = read(session, get("/version").keep(version_of)).await?;
        facts.kubernetes = text(&version["gitVersion"]);
        if facts.kubernetes.is_empty() {
            return Err(Stop::CouldNotRun(
                CouldNotRun::ApiServer,
                "GET /version: the answer names no Kubernetes version".to_owned(),
            ));
        }
        facts.platform = version["platform"].as_str().unwrap_or_default().to_owned();
        let groups = read(session, get("/apis").keep(groups_of)).await?;
        let served = |group: &str, version: &str| {
            items(&groups, "groups").any(|g| {
                g["name"] == group && items(g, "versions").any(|v| v["version"] == version)
            })
        };
        // A node is large: it names every image that it holds.
        let nodes = get(format!("{}?limit=50", kinds::NODE.path(""))).keep(node_of);
        if let Some(nodes) = maybe(session, nodes).await? {
            let mut found: Vec<String> = items(&nodes, "items")
                .filter_map(|n| {
                    n["status"]["nodeInfo"]["architecture"]
                        .as_str()
                        .map(ToOwned::to_owned)
                })
                .collect();
            found.sort();
            found.dedup();
            facts.architectures = found;
        }
        let system = get("/api/v1/namespaces/kube-system").keep(digest_of);
        if let Some(system) = maybe(session, system).await? {
            facts.cluster_digest = text(&system["metadata"]["uid"]);
        }
        let webhooks = format!("{}?limit=100", kinds::VALIDATING_WEBHOOK.path(""));
        let webhooks = maybe(session, get(webhooks).keep(webhooks_of))
            .await?
            .unwrap_or_default();

        let kubeflow_v1 = if served("kubeflow.org", "v1") {
            resources(session, "kubeflow.org", "v1").await?
        } else {
            vec![]
        };
        let kubeflow_beta = if served("kubeflow.org", "v1beta1") {
            resources(session, "kubeflow.org", "v1beta1").await?
        } else {
            vec![]
        };
        facts.profiles = kubeflow_v1.iter().any(|r| r == "profiles");
        facts.feature(
            "profiles",
            facts.profiles,
            "the API group kubeflow.org/v1 serves profiles",
        );

        if facts.profiles {
            facts.feature(
                "authorization-policies",
                served("security.istio.io", "v1beta1"),
                "the API group security.istio.io/v1beta1 is served",
            );
            facts.platform(session, config).await?;
        }
        if kubeflow_v1.iter().any(|r| r == "notebooks") {
            facts.notebooks(session, config).await?;
        }
        if kubeflow_beta.iter().any(|r| r == "experiments") {
            let namespace = webhook_namespace(&webhooks, WEBHOOKS[0]);
            let found =
                controller(session, config, "katib", namespace, &["katib-controller"]).await?;
            facts.components.insert(
                "katib".to_owned(),
                Component {
                    how: format!("kubeflow.org/v1beta1 serves experiments; {}", found.how),
                    ..found
                },
            );
        }
        let services = services::list(session).await?;
        if facts.profiles || facts.components.contains_key("katib") {
            facts.services(session, config, &services).await?;
        }
        if served("serving.kserve.io", "v1beta1") {
            let namespace = webhook_namespace(&webhooks, WEBHOOKS[1]);
            let found = controller(
                session,
                config,
                "kserve",
                namespace,
                &["kserve-controller", "kserve-controller-manager"],
            )
            .await?;
            facts.components.insert(
                "kserve".to_owned(),
                Component {
                    how: format!("serving.kserve.io/v1beta1 is served; {}", found.how),
                    ..found
                },
            );
            facts.kserve(session, config).await?;
        }
        facts.feature(
            "knative",
            served("serving.knative.dev", "v1"),
            "the API group serving.knative.dev/v1 is served",
        );
        facts.feature(
            "istio",
            served("networking.istio.io", "v1beta1") || served("networking.istio.io", "v1"),
            "the API group networking.istio.io is served",
        );
        facts.pipelines(session, config, &services).await?;
        facts
            .optional(session, config, &webhooks, served, &services)
            .await?;
        facts.refused = session.refusals();
        Ok(facts)
    }

    /// Why a component that was not found may be there all the same: the look for it was refused.
    pub fn not_seen(&self, component: &str) -> Option<&str> {
        self.refusal_of(match component {
            "pipelines" | "hub" => "\"services\"",
            _ => "path \"/apis",
        })
    }

    /// Why a feature that was not found may be there all the same.
    pub fn feature_not_seen(&self, feature: &str) -> Option<&str> {
        if matches!(feature, "kserve-ingress" | "kserve-gateway") {
            self.refusal_of("\"configmaps\"")
        } else if feature.starts_with("kserve-") {
            self.refusal_of("\"customresourcedefinitions\"")
        } else if SERVICES.iter().any(|service| service.name == feature) {
            self.refusal_of("\"services\"")
        } else if feature == "pod-defaults" {
            self.refusal_of("path \"/apis")
        } else if feature.starts_with("notebook-") {
            self.refusal_of("\"configmaps\"")
        } else {
            None
        }
    }

    fn refusal_of(&self, what: &str) -> Option<&str> {
        self.refused
            .iter()
            .find(|said| said.contains(what))
            .map(String::as_str)
    }

    /// Whether a feature was found.
    pub fn has(&self, feature: &str) -> bool {
        self.features.get(feature).is_some_and(|f| f.found)
    }

    fn feature(&mut self, name: &str, found: bool, how: &str) {
        self.features.insert(
            name.to_owned(),
            Feature {
                found,
                how: how.to_owned(),
            },
        );
    }

    /// The word for KServe's mode without Knative differs by version, and the wrong one leaves objects behind on 0.16.0
    /// (kserve/kserve#4798); the CRD's own schema tells which is understood, where it has one.
    async fn kserve(&mut self, session: &Session, config: &Config) -> Outcome {
        let name = "inferenceservices.serving.kserve.io";
        let crd = get(kinds::CRD.object_path("", name)).keep(schema_of);
        let schema = maybe(session, crd)
            .await?
            .map(|crd| {
                crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clone()
            })
            .unwrap_or_default();
        let full = !schema["spec"]["properties"]["predictor"].is_null();
        let status = &schema["status"]["properties"];
        let version = self
            .components
            .get("kserve")
            .and_then(|c| c.version.clone());
        let at_least = |minor: u64| {
            version
                .as_deref()
                .and_then(semver_of)
                .is_some_and(|v| v >= semver::Version::new(0, minor, 0))
        };
        let standard = if full {
            !status["servingRuntimeName"].is_null()
        } else {
            at_least(16)
        };
        self.kserve_mode = config.component("kserve").mode.unwrap_or_else(|| {
            if standard {
                "Standard"
            } else if full || version.as_deref().and_then(semver_of).is_some() {
                "RawDeployment"
            } else {
                ""
            }
            .to_owned()
        });
        self.feature(
            "kserve-full-schema",
            full,
            "the InferenceService CRD has a schema for spec.predictor",
        );
        self.feature(
            "kserve-deployment-mode-status",
            if full {
                !status["deploymentMode"].is_null()
            } else {
                at_least(16)
            },
            "the InferenceService CRD has status.deploymentMode",
        );
        self.feature(
            "kserve-standard-mode-word",
            standard,
            "the InferenceService CRD has status.servingRuntimeName",
        );
        self.kserve_settings(session).await
    }

    async fn platform(&mut self, session: &Session, config: &Config) -> Outcome {
        let names = &[
            "profiles-deployment",
            "profile-controller",
            "kubeflow-profiles",
        ];
        let found = controller(session, config, "platform", None, names).await?;
        self.components.insert(
            "platform".to_owned(),
            Component {
                how: format!("kubeflow.org/v1 serves profiles; {}", found.how),
                ..found
            },
        );
        let alpha = resources(session, "kubeflow.org", "v1alpha1").await?;
        self.feature(
            "pod-defaults",
            alpha.iter().any(|r| r == "poddefaults"),
            "the API group kubeflow.org/v1alpha1 serves poddefaults",
        );
        Ok(())
    }

    /// Completes what only the Pipelines API itself tells.
    async fn ask_pipelines(&mut self, session: &Session) {
        if !self.components.contains_key("pipelines") {
            return;
        }
        let request = Request::new(
            Endpoint::Component("pipelines".to_owned()),
            "GET",
            "/apis/v2beta1/healthz",
        );
        // The mode of everything that follows hangs on this one answer, so a hiccup must not decide it. What is wrong
        // with it in the end is for the check of it to say.
        let mut tries = 5;
        let answer = loop {
            let answer = session.send(request.clone()).await;
            tries -= 1;
            if tries == 0
                || answer
                    .as_ref()
                    .is_ok_and(|a| a.status < 500 && a.status != 429)
            {
                break answer;
            }
            session.pause(Duration::from_secs(1)).await;
        };
        let Ok(answer) = answer else {
            return;
        };
        let health = answer.json().clone();
        // How it is written is judged by a check; that it is meant is enough to ask rightly.
        self.multi_user = health["multi_user"] == true || health["multi_user"] == "true";
        self.feature(
            "multi-user",
            self.multi_user,
            "the health answer's multi_user",
        );
        self.feature(
            "kubernetes-store",
            health["pipeline_store"] == "kubernetes",
            "the health answer's pipeline_store",
        );
        // One release brought all of these.
        for name in ["pipelines-names", "pipelines-cascade"] {
            let told = health["pipeline_store"].is_string();
            self.feature(name, told, "the health answer has a pipeline_store");
        }
        if let Some(component) = self.components.get_mut("pipelines")
            && component.version.is_none()
        {
            component.version = health["tag_name"]
                .as_str()
                .filter(|t| !t.is_empty() && *t != "unknown")
                .map(ToOwned::to_owned);
        }
        let request = Request::new(
            Endpoint::Component("pipelines".to_owned()),
            "GET",
            "/apis/v2beta1/experiments/00000000-0000-0000-0000-000000000000",
        );
        if let Ok(answer) = session.send(request).await {
            // Gateway v1 (up to 2.5) has an `error` key, gateway v2 (from 2.14) has not; strict JSON came with it.
            let modern = answer.json()["code"].is_number() && answer.json()["error"].is_null();
            self.feature(
                "pipelines-strict-json",
                modern,
                "an error body without the key `error` (API gateway v2)",
            );
        }
        let request = Request::new(
            Endpoint::Component("pipelines".to_owned()),
            "PATCH",
            "/apis/v2beta1/pipelines/00000000-0000-0000-0000-000000000000",
        )
        .json(json!({}));
        if let Ok(answer) = session.send(request).await {
            // Nobody has this id. Where there is no such method the gateway itself says so, without details.
            let body = answer.json();
            let known = body["code"] != 12 && items(body, "details").next().is_some();
            self.feature(
                "pipelines-patch",
                known,
                "PATCH of an unknown pipeline is answered by the service, not by the gateway",
            );
        }
        let no_tag = json!({"predicates": [{"key": "tags.kfconform", "operation": "EQUALS", "string_value": "no such value"}]});
        let request = Request::new(
            Endpoint::Component("pipelines".to_owned()),
            "GET",
            format!(
                "/apis/v2beta1/pipelines?page_size=1&filter={}",
                escape(&no_tag.to_string())
            ),
        );
        if let Ok(answer) = session.send(request).await {
            self.feature(
                "pipelines-tags",
                answer.is_success(),
                "a list of pipelines is filtered by a tag",
            );
        }
    }
}

/// A GET at the Kubernetes API, whose answer is not kept whole.
fn get(path: impl Into<String>) -> Request {
    Request::new(Endpoint::Kubernetes, "GET", path).timeout(Duration::from_secs(10))
}

/// A GET at the Kubernetes API that must work.
async fn read(session: &Session, request: Request) -> Outcome<Value> {
    let path = request.asked.path.clone();
    let answer = send(session, request).await?;
    if answer.is_success() {
        return Ok(answer.json().clone());
    }
    Err(refused(&path, &answer))
}

/// A GET at the Kubernetes API of something that may be absent, or that the suite may not be allowed to see.
async fn maybe(session: &Session, request: Request) -> Outcome<Option<Value>> {
    let path = request.asked.path.clone();
    let answer = send(session, request).await?;
    match answer.status {
        200..=299 => Ok(Some(answer.json().clone())),
        403 | 404 => Ok(None),
        _ => Err(refused(&path, &answer)),
    }
}

async fn send(session: &Session, request: Request) -> Outcome<Answer> {
    let line = request.asked.line();
    session.send(request).await.map_err(|e| match e {
        TransportError::Credential(why) => Stop::CouldNotRun(CouldNotRun::NoPermission, why),
        TransportError::NotRecorded(_) => {
            Stop::CouldNotRun(CouldNotRun::EvidenceMissing, e.to_string())
        }
        TransportError::TooLarge(_) | TransportError::TooManyPages(_) => {
            Stop::CouldNotRun(CouldNotRun::AnswerTooLarge, format!("{line}: {e}"))
        }
        _ => Stop::CouldNotRun(CouldNotRun::Unreachable, e.to_string()),
    })
}

// What is kept of what discovery reads. All else of the cluster is nobody's business, and is not recorded.

/// The API groups that discovery looks for.
const GROUPS: [&str; 7] = [
    "kubeflow.org",
    "security.istio.io",
    "serving.kserve.io",
    "serving.knative.dev",
    "networking.istio.io",
    "trainer.kubeflow.org",
    "sparkoperator.k8s.io",
];
/// Parts of the names of the webhooks that tell where the controllers of Katib, KServe, Trainer and Spark are.
const WEBHOOKS: [&str; 4] = [
    "experiment.katib.kubeflow.org",
    "inferenceservice.kserve-webhook-server",
    "trainjob.trainer.kubeflow.org",
    "sparkapplication.sparkoperator.k8s.io",
];

fn version_of(version: &Value) -> Value {
    json!({"gitVersion": version["gitVersion"], "platform": version["platform"]})
}

fn groups_of(list: &Value) -> Value {
    let known = |group: &&Value| group["name"].as_str().is_some_and(|n| GROUPS.contains(&n));
    let groups: Vec<Value> = items(list, "groups")
        .filter(known)
        .map(|group| json!({"name": group["name"], "versions": group["versions"]}))
        .collect();
    json!({"kind": "APIGroupList", "groups": groups})
}

/// What a node runs on, not which it is.
fn node_of(node: &Value) -> Value {
    let info = &node["status"]["nodeInfo"];
    json!({"status": {"nodeInfo": {
        "architecture": info["architecture"], "osImage": info["osImage"],
    }}})
}

/// A digest in place of a namespace's uid.
fn digest_of(namespace: &Value) -> Value {
    let uid = namespace["metadata"]["uid"].as_str().unwrap_or_default();
    let digest = format!("sha256:{}", sha256(uid));
    json!({"kind": "Namespace", "metadata": {
        "name": namespace["metadata"]["name"], "uid": digest,
    }})
}

fn webhooks_of(configuration: &Value) -> Value {
    let known = |hook: &&Value| {
        let name = hook["name"].as_str().unwrap_or_default();
        WEBHOOKS.iter().any(|part| name.contains(part))
    };
    let hooks: Vec<Value> = items(configuration, "webhooks")
        .filter(known)
        .map(|hook| {
            let namespace = &hook["clientConfig"]["service"]["namespace"];
            json!({"name": hook["name"], "clientConfig": {"service": {"namespace": namespace}}})
        })
        .collect();
    let found = !hooks.is_empty();
    found.then(|| json!({"webhooks": hooks})).into()
}

/// Of the schema of an InferenceService only whether it has what releases differ in.
fn schema_of(crd: &Value) -> Value {
    let version = items(&crd["spec"], "versions").find(|v| v["name"] == "v1beta1");
    let schema = version.map_or(&Value::Null, |version| &version["schema"]);
    let properties = &schema["openAPIV3Schema"]["properties"];
    let part = |part: &str, names: &[&str]| {
        let there = &properties[part]["properties"];
        let there = names.iter().filter(|name| !there[**name].is_null());
        let there: Map<String, Value> = there.map(|name| ((*name).to_owned(), json!({}))).collect();
        json!({"properties": there})
    };
    let spec = part("spec", &["predictor"]);
    let status = part("status", &["deploymentMode", "servingRuntimeName"]);
    json!({"kind": "CustomResourceDefinition", "spec": {"versions": [{
        "name": "v1beta1",
        "schema": {"openAPIV3Schema": {"properties": {"spec": spec, "status": status}}},
    }]}})
}

fn images_of(deployment: &Value) -> Value {
    let containers = items(&deployment["spec"]["template"]["spec"], "containers");
    let containers: Vec<Value> = containers.map(|c| json!({"image": c["image"]})).collect();
    json!({
        "kind": deployment["kind"], "metadata": named(deployment),
        "spec": {"template": {"spec": {"containers": containers}}},
    })
}

fn named(object: &Value) -> Value {
    json!({"name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"]})
}

fn refused(path: &str, answer: &Answer) -> Stop {
    let reason = match answer.status {
        401 | 403 => CouldNotRun::NoPermission,
        _ => CouldNotRun::ApiServer,
    };
    Stop::CouldNotRun(reason, format!("GET {path}: {}", answer.summary()))
}

/// What a failed first look at a cluster means, and what to do about it.
pub fn no_look(server: &str, stop: &Stop) -> (String, &'static str) {
    // A page of HTML is recognised by its first line.
    let why = stop.message().lines().next().unwrap_or_default();
    match stop {
        Stop::CouldNotRun(CouldNotRun::Unreachable, _) if why.contains("certificate") => (
            format!("the Kubernetes API at {server} cannot be trusted: {why}"),
            "the kubeconfig's certificate-authority must be the one that signed the server's certificate, and its server \
             a name that the certificate has",
        ),
        Stop::CouldNotRun(CouldNotRun::Unreachable, _) => (
            format!("the Kubernetes API at {server} cannot be reached: {why}"),
            "check that address in the kubeconfig, and that `kubectl version` gets an answer from it",
        ),
        Stop::CouldNotRun(CouldNotRun::AnswerTooLarge, _) => (
            format!("the Kubernetes API at {server} says more than the suite reads: {why}"),
            "remove what fills that list, or try again with a user who sees less of it",
        ),
        Stop::CouldNotRun(CouldNotRun::NoPermission, _) if why.contains("401") => (
            format!("the Kubernetes API at {server} does not accept the credentials: {why}"),
            "log in again, or take another user with --context",
        ),
        Stop::CouldNotRun(CouldNotRun::NoPermission, _) => (
            format!("the Kubernetes API at {server} refuses the first look: {why}"),
            "let an administrator apply what `kfconform rbac --bind NAMESPACE/NAME` prints",
        ),
        _ => (
            format!("what is at {server} does not answer like a Kubernetes API: {why}"),
            "check that address in the kubeconfig, and that `kubectl version` gets an answer from it",
        ),
    }
}

async fn resources(session: &Session, group: &str, version: &str) -> Outcome<Vec<String>> {
    let list = maybe(session, get(format!("/apis/{group}/{version}")))
        .await?
        .unwrap_or_default();
    Ok(items(&list, "resources")
        .map(|r| text(&r["name"]))
        .collect())
}

/// Finds a component's controller: by the configuration, by its webhook's Service, or by its Deployment's name.
async fn controller(
    session: &Session,
    config: &Config,
    component: &str,
    webhook: Option<String>,
    names: &'static [&'static str],
) -> Outcome<Component> {
    let set = config.component(component);
    let (namespace, how) = match (set.namespace, webhook) {
        (Some(namespace), _) => (
            Some(namespace),
            "namespace set in the configuration".to_owned(),
        ),
        (None, Some(namespace)) => {
            let how = format!("its webhook's Service is in namespace {namespace}");
            (Some(namespace), how)
        }
        (None, None) => (None, "its controller was not found".to_owned()),
    };
    let found = deployment(session, namespace.as_deref().unwrap_or_default(), names).await?;
    let (namespace, how) = match (namespace, &found) {
        (None, Some(found)) => (
            Some(found.namespace.clone()),
            format!("{} {}/{}", found.kind.kind, found.namespace, found.name),
        ),
        (namespace, _) => (namespace, how),
    };
    let images = match &found {
        Some(found) => images(session, found).await?,
        None => vec![],
    };
    Ok(Component {
        version: set.version.or_else(|| images.first().and_then(|i| tag(i))),
        endpoint: "kubernetes".to_owned(),
        how,
        namespace,
        images,
        access: None,
    })
}

fn is_named(object: &Value, name: &str) -> bool {
    let own = name_of(object);
    own == name
        || own
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('-'))
}

/// What runs a component: a Deployment, or a StatefulSet.
#[derive(Debug)]
struct Workload {
    kind: Kind,
    namespace: String,
    name: String,
}

impl Workload {
    fn path(&self) -> String {
        self.kind.object_path(&self.namespace, &self.name)
    }
}

/// The Deployment of one of these names in a namespace, or in any; where there is none, the StatefulSet.
async fn deployment(
    session: &Session,
    namespace: &str,
    names: &'static [&'static str],
) -> Outcome<Option<Workload>> {
    for kind in [kinds::DEPLOYMENT, kinds::STATEFUL_SET] {
        // Of what else runs in a cluster not even the names are kept.
        let list = get(format!("{}?limit=250", kind.path(namespace)))
            .header(
                "accept",
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            )
            .keep(|object| {
                let wanted = names.iter().any(|name| is_named(object, name));
                wanted.then(|| json!({"metadata": named(object)})).into()
            });
        let list = maybe(session, list).await?.unwrap_or_default();
        // The exact name before one with a suffix: `ml-pipeline` and not `ml-pipeline-ui`.
        let exact = items(&list, "items").find(|d| names.iter().any(|n| name_of(d) == *n));
        if let Some(found) = exact.or_else(|| items(&list, "items").next()) {
            return Ok(Some(Workload {
                kind,
                namespace: text(&found["metadata"]["namespace"]),
                name: name_of(found).to_owned(),
            }));
        }
    }
    Ok(None)
}

/// The images of a workload, its first container's first; that of Juju's charm, which is no component's, left out.
async fn images(session: &Session, found: &Workload) -> Outcome<Vec<String>> {
    let request = get(found.path()).keep(images_of);
    let workload = maybe(session, request).await?.unwrap_or_default();
    Ok(items(&workload["spec"]["template"]["spec"], "containers")
        .map(|c| text(&c["image"]))
        .filter(|image| !image.contains("/charm-base"))
        .collect())
}

fn webhook_namespace(webhooks: &Value, suffix: &str) -> Option<String> {
    items(webhooks, "items")
        .flat_map(|c| items(c, "webhooks"))
        .find(|w| w["name"].as_str().is_some_and(|n| n.contains(suffix)))
        .and_then(|w| {
            w["clientConfig"]["service"]["namespace"]
                .as_str()
                .map(ToOwned::to_owned)
        })
}

/// The pod's port that a Service's `port` leads to: by number, or by the name of a container's port.
pub(crate) fn target_port(service: &Value, pod: &Value, port: u16) -> Option<u16> {
    let entry = items(&service["spec"], "ports").find(|p| p["port"] == port)?;
    match &entry["targetPort"] {
        Value::Null => Some(port),
        Value::String(name) => items(&pod["spec"], "containers")
            .flat_map(|c| items(c, "ports"))
            .find(|p| p["name"] == name.as_str())
            .and_then(|p| p["containerPort"].as_u64())
            .and_then(|p| u16::try_from(p).ok()),
        number => number.as_u64().and_then(|p| u16::try_from(p).ok()),
    }
}

/// Whether an object's condition `Ready` is true and it is not being deleted.
pub(crate) fn is_ready(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_null()
        && items(&object["status"], "conditions")
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// The elements of an array member; none where it is absent.
pub(crate) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// An object's name; empty where it has none.
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The tag of an image reference, if it has one that is not a digest.
pub(crate) fn tag(image: &str) -> Option<String> {
    let last = image.split('@').next()?.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag.to_owned())
}

/// A version out of a tag like `v0.16.0` or `0.15.2-rc1`.
pub(crate) fn semver_of(tag: &str) -> Option<semver::Version> {
    semver::Version::parse(tag.trim_start_matches('v')).ok()
}

impl Kind {
    /// The URL path of one object.
    pub fn object_path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.path(namespace), escape(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tags_are_read_off_images() {
        assert_eq!(
            tag("docker.io/kserve/kserve-controller:v0.16.0").as_deref(),
            Some("v0.16.0")
        );
        assert_eq!(tag("localhost:5000/x"), None);
        assert_eq!(tag("a/b:v1@sha256:00").as_deref(), Some("v1"));
    }

    #[test]
    fn a_named_target_port_is_found_in_the_pod() {
        let service =
            json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81}]}});
        let pod =
            json!({"spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8888}]}]}});
        assert_eq!(target_port(&service, &pod, 80), Some(8888));
        assert_eq!(target_port(&service, &pod, 81), Some(81));
        assert_eq!(target_port(&service, &pod, 82), None);
    }
}
