//! What a check may do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{IMAGE, Setup, Timeouts};
use crate::{
    cluster::{
        CHECK_ANNOTATION, Facts, Plugin, RUN_LABEL, Session, config::ComponentConfig, kinds::POD,
        own_name, session::millis,
    },
    outcome::{CouldNotRun, Outcome, Stop},
    spec::Requirement,
};

/// What all checks of a run share. Everything that could make two runs differ comes in through this one value.
#[derive(
    Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RunContext {
    /// The run's id: eight lower-case letters and digits.
    pub id: String,
    /// The namespace that the run works in.
    pub namespace: String,
    /// The suite's image.
    pub image: String,
    /// When the run began: seconds since 1970.
    pub started: i64,
    /// What was found on the cluster.
    pub facts: Facts,
    /// The Kubeflow release that is judged.
    pub release: String,
    /// Timeouts that were set, by name, in milliseconds.
    pub timeouts: BTreeMap<String, u64>,
    /// Settings for the suite's pods: `tolerations`, `nodeSelector`, `imagePullSecrets` as in a pod's spec.
    pub pod: serde_json::Map<String, Value>,
    /// Storage class of the suite's volume claims; the cluster's default when absent.
    pub storage_class: Option<String>,
    /// What the configuration said of components, without their tokens: discovery goes by it.
    pub components: BTreeMap<String, ComponentConfig>,
    /// The plugins that run beside the checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Plugin>,
}

impl RunContext {
    /// The value of a named timeout.
    pub fn timeout(&self, name: &str) -> Duration {
        self.timeouts.get(name).map_or_else(
            || Timeouts::default().get(name),
            |ms| Duration::from_millis(*ms),
        )
    }

    /// How long the check of a requirement may take.
    pub fn limit(&self, requirement: &Requirement) -> Duration {
        requirement
            .timeout
            .map_or_else(|| self.timeout("check"), |limit| self.extended(limit))
    }

    /// A bound on several waits, longer by as much as the run's waits were made longer than they are by default.
    pub fn extended(&self, limit: Duration) -> Duration {
        limit + Timeouts::of(&self.timeouts).extra()
    }
}

/// What a set-up gave, or why it stopped.
#[derive(Debug, Clone)]
pub struct SetupResult {
    /// Its value.
    pub value: Result<Arc<Value>, Stop>,
    /// Which attempt made it.
    pub attempt: u32,
}

/// What a check (or a set-up) holds: the cluster, its names, its set-ups, the run's facts.
#[derive(Debug)]
pub struct Cx {
    /// The recorded way to the cluster.
    pub session: Session,
    /// What all checks share.
    pub run: Arc<RunContext>,
    setups: BTreeMap<&'static str, SetupResult>,
}

impl Cx {
    /// A context for one check, with the results of the set-ups that it needs.
    pub fn new(
        session: Session,
        run: Arc<RunContext>,
        setups: BTreeMap<&'static str, SetupResult>,
    ) -> Self {
        Self {
            session,
            run,
            setups,
        }
    }

    /// The id of the check or set-up.
    pub fn id(&self) -> &str {
        self.session.id()
    }

    /// What was found on the cluster.
    pub fn facts(&self) -> &Facts {
        &self.run.facts
    }

    /// The run's namespace.
    pub fn namespace(&self) -> &str {
        &self.run.namespace
    }

    /// A name for an object of this check, the same in each replay: `kfc-RUN-HASH-LABEL`. `label` is at most twelve
    /// lower-case letters, digits and dashes, so that a name has at most 30 characters.
    pub fn name(&self, label: &str) -> String {
        debug_assert!(
            label.len() <= 12,
            "{label} is longer than twelve characters"
        );
        let digest =
            Sha256::digest(format!("{} {}", self.session.id(), self.session.attempt()).as_bytes());
        format!(
            "{}{}-{label}",
            self.prefix(),
            crate::digest::hex(&digest[..2])
        )
    }

    /// What the names of all objects of the run begin with.
    pub fn prefix(&self) -> String {
        format!("{}-", own_name(&self.run.id))
    }

    /// The value of a set-up that this check needs.
    pub fn setup<T: DeserializeOwned>(&self, setup: &Setup) -> Outcome<T> {
        let result = self.setups.get(setup.id).ok_or_else(|| {
            Stop::CouldNotRun(
                CouldNotRun::Defect,
                format!(
                    "`{}` reads `{}` but does not name it in `needs`",
                    self.id(),
                    setup.id
                ),
            )
        })?;
        match &result.value {
            Ok(value) => T::deserialize(value.as_ref()).map_err(|e| {
                Stop::CouldNotRun(
                    CouldNotRun::Defect,
                    format!("the value of `{}`: {e}", setup.id),
                )
            }),
            Err(stop) => Err(self.because(setup, stop)),
        }
    }

    /// Stops what needs pods where no pod of the suite's image can run.
    pub(super) fn pods_can_run(&self) -> Outcome {
        match self.setups.get(IMAGE.id) {
            Some(SetupResult {
                value: Err(stop), ..
            }) => Err(self.because(&IMAGE, stop)),
            _ => Ok(()),
        }
    }

    /// Why this check stops when a set-up stopped: its judge for the same reason, others because it did.
    fn because(&self, setup: &Setup, stop: &Stop) -> Stop {
        match stop {
            Stop::Failed(_) if setup.judge == self.id() => stop.clone(),
            Stop::Failed(failure) if setup.judge.is_empty() => Stop::CouldNotRun(
                CouldNotRun::SetupFailed,
                format!("`{}` failed: {}", setup.id, failure.message),
            ),
            Stop::Failed(_) => Stop::CouldNotRun(
                CouldNotRun::SetupFailed,
                format!("`{}` failed, which `{}` judges", setup.id, setup.judge),
            ),
            other => other.clone(),
        }
    }

    /// The set-ups' evidence that this check built on.
    pub fn uses(&self) -> Vec<(String, u32)> {
        self.setups
            .iter()
            .map(|(id, result)| ((*id).to_owned(), result.attempt))
            .collect()
    }

    /// A fixture: the YAML file `fixtures/PATH` with `<<name>>`-like marks filled in. `namespace`, `image` and `run` are
    /// known; `marks` adds to them.
    pub fn fixture(&self, path: &str, marks: &[(&str, &str)]) -> Outcome<Value> {
        crate::fixtures::load(path, &self.marks(marks))
            .map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e))
    }

    /// A fixture as it is written, with its marks filled in: for an API that takes files.
    pub fn fixture_text(&self, path: &str, marks: &[(&str, &str)]) -> Outcome<String> {
        crate::fixtures::fill(path, &self.marks(marks))
            .map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e))
    }

    fn marks<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut marks = vec![
            ("namespace", self.run.namespace.as_str()),
            ("image", self.run.image.as_str()),
            ("run", self.run.id.as_str()),
        ];
        marks.extend_from_slice(more);
        marks
    }

    /// Milliseconds on the run's clock, as of the last answer.
    pub fn now_ms(&self) -> u64 {
        self.session.now_ms()
    }

    /// When a named timeout that begins now is up, on the run's clock in milliseconds.
    pub fn after(&self, timeout: &str) -> u64 {
        self.now_ms()
            .saturating_add(millis(self.run.timeout(timeout)))
    }

    /// Seconds since 1970, as of the last answer.
    pub fn now_unix(&self) -> i64 {
        let seconds = i64::try_from(self.session.now_ms() / 1000).unwrap_or(i64::MAX);
        self.run.started.saturating_add(seconds)
    }

    /// Lets time pass before the next request. Only between polls: what is waited for has a name.
    pub async fn pause(&self, duration: Duration) {
        self.session.pause(duration).await;
    }

    /// Tries again, five times a second, while `attempt` fails and a named timeout is not up: for what a controller or a
    /// webhook hears of a moment later.
    pub async fn retry<T, F>(
        &self,
        timeout: &str,
        mut attempt: impl FnMut() -> F + Send,
    ) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>> + Send,
    {
        let until = self.after(timeout);
        loop {
            match attempt().await {
                Err(Stop::Failed(_)) if self.now_ms() < until => {
                    self.pause(Duration::from_millis(200)).await;
                }
                done => return done,
            }
        }
    }

    /// A container of the suite's image that runs `kfconform workload ARGS`, small, and within the `restricted` Pod
    /// Security level.
    pub fn container(&self, name: &str, args: &[&str]) -> Value {
        let mut command = vec!["kfconform", "workload"];
        command.extend_from_slice(args);
        json!({
            "name": name,
            "image": self.run.image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            "resources": {
                "requests": {"cpu": "10m", "memory": "16Mi"},
                "limits": {"cpu": "500m", "memory": "128Mi"},
            },
            "securityContext": restricted(),
        })
    }

    /// Puts on an object what every object of the run carries: the run's label, the check's annotation, and on each pod
    /// template in it the opt-out of sidecars and the configured scheduling.
    pub(crate) fn own(&self, object: &Value) -> Value {
        let mut object = object.clone();
        let metadata = &mut object["metadata"];
        if metadata["labels"].is_null() {
            metadata["labels"] = json!({});
        }
        metadata["labels"][RUN_LABEL] = self.run.id.clone().into();
        if metadata["annotations"].is_null() {
            metadata["annotations"] = json!({});
        }
        metadata["annotations"][CHECK_ANNOTATION] = self.id().into();
        self.own_pods(&mut object);
        object
    }

    fn own_pods(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                if map.get("containers").is_some_and(Value::is_array) {
                    for (key, setting) in &self.run.pod {
                        map.entry(key.clone()).or_insert_with(|| setting.clone());
                    }
                }
                map.values_mut().for_each(|v| self.own_pods(v));
            }
            Value::Array(items) => items.iter_mut().for_each(|v| self.own_pods(v)),
            _ => {}
        }
    }
}

/// The security context that the `restricted` Pod Security level asks of a container.
pub(super) fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// Runs one pod of the suite's image to its end.
pub(super) async fn image_runs(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("image");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"sidecar.istio.io/inject": "false"}, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {"restartPolicy": "Never", "containers": [cx.container("main", &["step", "--print", "ready"])]},
    });
    cx.create(&POD, &pod).await?;
    let mut pulls = 0;
    let done = cx
        .watch_until(&POD, &name, "image", "run to its end", |pod| {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            let reason = waiting["reason"].as_str().unwrap_or_default();
            if matches!(
                reason,
                "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
            ) {
                pulls += 1;
                // The second report of it: a registry may fail once.
                if pulls > 1 || reason != "ErrImagePull" {
                    let why = waiting["message"].as_str().unwrap_or(reason);
                    return Err(Stop::CouldNotRun(
                        CouldNotRun::ImagePull,
                        format!(
                            "the suite's image `{}` cannot be pulled: {why}",
                            cx.run.image
                        ),
                    ));
                }
            }
            Ok(matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            ))
        })
        .await?;
    if done["status"]["phase"] != "Succeeded" {
        let state = &done["status"]["containerStatuses"][0]["state"];
        return Err(Stop::CouldNotRun(
            CouldNotRun::ImagePull,
            format!("the suite's image `{}` does not run: {state}", cx.run.image),
        ));
    }
    Ok(json!({"imageID": done["status"]["containerStatuses"][0]["imageID"]}))
}
