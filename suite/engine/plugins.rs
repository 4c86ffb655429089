//! Working groups' own programs, beside the checks: each runs in a pod with a collector next to it, whose output is its report.
//! All that is seen of one is recorded like a check's exchanges, so that whoever has the evidence gets the same report.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::replay::guarded;
use crate::{
    checks::Cx,
    cluster::{
        Endpoint, Plugin, Request,
        discover::{escape, items},
        kinds::POD,
        session::millis,
    },
    ensure,
    outcome::{Outcome, Stop, shorten},
    report::{
        model,
        plugins::{PluginReport, PluginResult},
        text::{MAX_TEXT, bounded},
    },
    workload::{Collected, MAX_BYTES, RESULTS_DIRS},
};

/// What the ids of plugins begin with.
pub const PLUGINS: &str = "plugins/";
/// How long a plugin's collector may go on once the plugin itself has ended.
const AFTER: Duration = Duration::from_secs(10);
/// What is left of a plugin's time for reading its report and removing its pod.
const REST: Duration = Duration::from_secs(60);
/// Said of a plugin where nothing could be run.
const NO_PLACE: &str = "the run's namespace could not be made";
/// Where plugins of old look for a port to tell how they go.
const PROGRESS_PORT: &str = "8099";

/// The id of a plugin's evidence.
pub(super) fn id(plugin: &Plugin) -> String {
    format!("{PLUGINS}{}", plugin.name)
}

/// The time of a plugin's session.
pub fn limit(plugin: &Plugin) -> Duration {
    plugin.limit() + REST
}

/// Runs a plugin, or follows it over its evidence. Whatever becomes of it, there is a result; where its evidence is, only the
/// caller knows.
pub(super) async fn run(cx: &Cx, plugin: &Plugin, ready: bool, started: Timestamp) -> PluginResult {
    let reported = if ready {
        guarded(report(cx, plugin)).await
    } else {
        Err(Stop::failed(NO_PLACE))
    };
    let (report, message) = match reported {
        Ok(report) => (report, None),
        Err(stop) => {
            let why = bounded(stop.message(), MAX_TEXT, "the evidence").into_owned();
            (PluginReport::default(), Some(why))
        }
    };
    let took = cx.now_ms().saturating_sub(cx.session.started_ms());
    PluginResult {
        name: plugin.name.clone(),
        image: plugin.image.clone(),
        started,
        seconds: model::seconds(Duration::from_millis(took)),
        message,
        report,
        evidence: None,
    }
}

async fn report(cx: &Cx, plugin: &Plugin) -> Outcome<PluginReport> {
    let name = cx.name("plugin");
    cx.create(&POD, &pod(cx, plugin, &name)).await?;
    let collected = collected(cx, plugin, &name).await;
    // The clean-up would take it too; a node is not to be kept busy until then.
    drop(cx.delete(&POD, &name).await);
    let collected = collected?;
    if let Some(error) = collected.error {
        return Err(Stop::failed(error));
    }
    PluginReport::of(&collected.documents).map_err(Stop::failed)
}

/// What the collector printed.
async fn collected(cx: &Cx, plugin: &Plugin, name: &str) -> Outcome<Collected> {
    let until = cx
        .session
        .started_ms()
        .saturating_add(millis(plugin.limit()));
    let mut stuck = 0;
    let seen = cx
        .watch_to(&POD, name, until, |pod| {
            if let Some(why) = cannot_start(pod) {
                stuck += 1;
                // The second report of it: a registry may fail once.
                ensure!(stuck < 2, "{why}");
            }
            Ok(is_over(pod) || ended(pod, "collector").is_some() || ended(pod, "plugin").is_some())
        })
        .await?;
    let Some(mut pod) = seen else {
        return Err(Stop::failed(format!(
            "no `done` file after {} s",
            plugin.limit().as_secs()
        )));
    };
    if ended(&pod, "collector").is_none() && !is_over(&pod) {
        let until = until
            .max(cx.now_ms())
            .min(cx.now_ms().saturating_add(millis(AFTER)));
        let seen = cx.watch_to(&POD, name, until, |pod| {
            Ok(is_over(pod) || ended(pod, "collector").is_some())
        });
        if let Some(seen) = seen.await? {
            pod = seen;
        }
    }
    if ended(&pod, "collector").and_then(|state| state["exitCode"].as_i64()) != Some(0) {
        let how = if let Some(state) = ended(&pod, "plugin") {
            format!("it ended with exit code {}", state["exitCode"])
        } else {
            let why = ["reason", "message"];
            let why = why.map(|key| pod["status"][key].as_str().unwrap_or_default());
            format!("its pod ended: {}", shorten(why.join(" ").trim(), 300))
        };
        return Err(Stop::failed(format!("{how}, and wrote no `done` file")));
    }
    // JSON writes some signs with six; more than that no honest collector prints.
    let path = format!(
        "{}/log?container=collector&limitBytes={}",
        POD.object_path(cx.namespace(), &escape(name)),
        6 * MAX_BYTES
    );
    let answer = cx
        .kube(Request::new(Endpoint::Kubernetes, "GET", path))
        .await?;
    ensure!(
        answer.is_success(),
        "its report cannot be read: {}",
        answer.summary()
    );
    let text = answer.text();
    serde_json::from_str(text.trim())
        .map_err(|error| Stop::failed(format!("its report cannot be read: {error}")))
}

/// The end of a container, if it ended.
fn ended<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    items(&pod["status"], "containerStatuses")
        .find(|status| status["name"] == container)
        .map(|status| &status["state"]["terminated"])
        .filter(|state| state.is_object())
}

fn is_over(pod: &Value) -> bool {
    matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

/// Why a container of it does not start.
fn cannot_start(pod: &Value) -> Option<String> {
    items(&pod["status"], "containerStatuses").find_map(|status| {
        let waiting = &status["state"]["waiting"];
        let reason = waiting["reason"].as_str()?;
        let stays = [
            "Err",
            "Invalid",
            "ImagePullBackOff",
            "CreateContainer",
            "RunContainerError",
        ];
        stays
            .iter()
            .any(|start| reason.starts_with(start))
            .then(|| {
                let why = waiting["message"].as_str().unwrap_or_default();
                let image = status["image"].as_str().unwrap_or_default();
                format!(
                    "it does not start: {image}: {reason}: {}",
                    shorten(why, 300)
                )
            })
    })
}

/// A pod within Pod Security's level `restricted`: the plugin, and the collector that tells what it reports. It ends by itself,
/// should nobody be left to remove it.
fn pod(cx: &Cx, plugin: &Plugin, name: &str) -> Value {
    let user = plugin.run_as_user.unwrap_or(65532);
    let mounts: Vec<Value> = RESULTS_DIRS
        .iter()
        .map(|dir| json!({"name": "results", "mountPath": dir}))
        .collect();
    let mut variables = plugin.env.clone();
    for (name, value) in [
        ("SONOBUOY", "true"),
        ("SONOBUOY_PLUGIN_NAME", plugin.name.as_str()),
        ("SONOBUOY_NS", cx.namespace()),
        ("SONOBUOY_RESULTS_DIR", RESULTS_DIRS[0]),
        ("RESULTS_DIR", RESULTS_DIRS[0]),
        ("SONOBUOY_PROGRESS_PORT", PROGRESS_PORT),
    ] {
        variables
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    let env: Vec<Value> = variables
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let resources = plugin.resources.clone().unwrap_or_else(|| {
        json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}})
    });
    let mut own = json!({
        "name": "plugin",
        "image": plugin.image,
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": user,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    });
    for (key, words) in [("command", &plugin.command), ("args", &plugin.args)] {
        if !words.is_empty() {
            own[key] = json!(words);
        }
    }
    let mut collector = cx.container("collector", &["collect"]);
    collector["volumeMounts"] = json!(mounts);
    if let Some(own) = own["volumeMounts"].as_array_mut() {
        own.extend(mounts);
    }
    let mut spec = json!({
        "restartPolicy": "Never",
        "activeDeadlineSeconds": limit(plugin).as_secs(),
        "terminationGracePeriodSeconds": 5,
        "enableServiceLinks": false,
        "automountServiceAccountToken": plugin.service_account_name.is_some(),
        "securityContext": {"runAsNonRoot": true, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [own, collector],
        "volumes": [
            {"name": "results", "emptyDir": {"sizeLimit": "512Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "512Mi"}},
        ],
    });
    if let Some(account) = &plugin.service_account_name {
        spec["serviceAccountName"] = json!(account);
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            // A mesh's sidecar would never end.
            "labels": {"sidecar.istio.io/inject": "false"},
            "annotations": {"sidecar.istio.io/inject": "false"},
        },
        "spec": spec,
    })
}
