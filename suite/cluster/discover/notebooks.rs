//! Where Notebooks are run, and what their controller was told to do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Component, Config, Facts, Outcome, Session, controller, deployment, get, items, kinds, maybe,
    text,
};

/// The Deployments that a notebook controller is known as.
const NAMES: &[&str] = &["notebook-controller", "jupyter-controller"];
/// The settings that features are read from.
const SETTINGS: [&str; 3] = ["ENABLE_CULLING", "IDLENESS_CHECK_PERIOD", "ADD_FSGROUP"];
/// The longest period, in minutes, for which a check waits.
const LONGEST_PERIOD: u32 = 5;

impl Facts {
    /// Notebooks, which are served, and the features of their controller.
    pub(super) async fn notebooks(&mut self, session: &Session, config: &Config) -> Outcome {
        let found = controller(session, config, "notebooks", None, NAMES).await?;
        let namespace = found.namespace.clone().unwrap_or_default();
        self.components.insert(
            "notebooks".to_owned(),
            Component {
                how: format!("kubeflow.org/v1 serves notebooks; {}", found.how),
                ..found
            },
        );
        let settings = settings(session, &namespace).await?;
        let set = |key: &str| settings.get(key).map_or("", String::as_str);
        let period = set("IDLENESS_CHECK_PERIOD").parse().unwrap_or(1);
        self.feature(
            "notebook-culling",
            set("ENABLE_CULLING") == "true" && period <= LONGEST_PERIOD,
            "the notebook controller is set to stop idle notebooks, and looks for them every five minutes or more often",
        );
        self.feature(
            "notebook-group",
            !settings.is_empty() && set("ADD_FSGROUP") != "false",
            "the notebook controller is not set to leave the group of volumes alone",
        );
        Ok(())
    }
}

/// What the environment of the notebook controller says of [`SETTINGS`]; `""` for what it leaves to the program, and
/// nothing at all where there is no controller to be seen.
async fn settings(session: &Session, namespace: &str) -> Outcome<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    let mut maps = BTreeMap::new();
    let Some(found) = deployment(session, namespace, NAMES).await? else {
        return Ok(settings);
    };
    let request = get(found.path()).keep(environment_of);
    let controller = maybe(session, request).await?.unwrap_or_default();
    for variable in items(&controller, "env") {
        let from = &variable["valueFrom"]["configMapKeyRef"];
        let value = if from.is_null() {
            text(&variable["value"])
        } else {
            let map = text(&from["name"]);
            if !maps.contains_key(&map) {
                let path = kinds::CONFIG_MAP.object_path(&found.namespace, &map);
                let read = maybe(session, get(path).keep(settings_of)).await?;
                maps.insert(map.clone(), read.unwrap_or_default());
            }
            text(&maps[&map]["data"][text(&from["key"])])
        };
        settings.insert(text(&variable["name"]), value);
    }
    if !controller.is_null() {
        settings.entry(SETTINGS[0].to_owned()).or_default();
    }
    Ok(settings)
}

/// Of a Deployment, the variables that features are read from, and nothing else.
fn environment_of(deployment: &Value) -> Value {
    let known: Vec<&Value> = items(&deployment["spec"]["template"]["spec"], "containers")
        .flat_map(|container| items(container, "env"))
        .filter(|variable| SETTINGS.iter().any(|name| variable["name"] == *name))
        .collect();
    json!({"env": known})
}

/// Of a ConfigMap, the settings that features are read from, whatever their keys there are.
fn settings_of(map: &Value) -> Value {
    let data = map["data"].as_object().into_iter().flatten();
    let known = data.filter(|(key, _)| {
        let key = key.to_ascii_uppercase().replace('-', "_");
        SETTINGS.contains(&key.as_str())
    });
    let known: serde_json::Map<String, Value> = known
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    json!({"kind": "ConfigMap", "data": known})
}
