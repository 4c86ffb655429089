//! What KServe was told of the way to its services from outside.

use serde_json::{Value, json};

use super::{Facts, Outcome, Session, get, kinds, maybe};

/// The ConfigMap of KServe's settings, in the namespace of its controller.
const SETTINGS: &str = "inferenceservice-config";

impl Facts {
    /// The features that KServe's settings tell.
    pub(super) async fn kserve_settings(&mut self, session: &Session) -> Outcome {
        let namespace = self
            .components
            .get("kserve")
            .and_then(|found| found.namespace.clone());
        let settings = match namespace {
            Some(namespace) => {
                let path = kinds::CONFIG_MAP.object_path(&namespace, SETTINGS);
                maybe(session, get(path).keep(ingress_of)).await?
            }
            None => None,
        };
        let ingress = settings.unwrap_or_default()["ingress"].take();
        let inside = ingress["ingressDomain"] == "svc.cluster.local";
        self.feature(
            "kserve-ingress",
            ingress.is_object() && ingress["disableIngressCreation"] != true && !inside,
            "KServe's settings do not say that services get no way from outside",
        );
        self.feature(
            "kserve-gateway",
            ingress["enableGatewayApi"] == true,
            "KServe's settings enable the Gateway API",
        );
        Ok(())
    }
}

/// Of KServe's settings only whether and how services get a way from outside.
fn ingress_of(map: &Value) -> Value {
    let all: Value = map["data"]["ingress"]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let known = [
        "enableGatewayApi",
        "disableIngressCreation",
        "ingressDomain",
    ];
    let known: serde_json::Map<String, Value> = known
        .into_iter()
        .filter(|key| !all[*key].is_null())
        .map(|key| (key.to_owned(), all[key].clone()))
        .collect();
    json!({"kind": "ConfigMap", "ingress": if all.is_object() { json!(known) } else { Value::Null }})
}
