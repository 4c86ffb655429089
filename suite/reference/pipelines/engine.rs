//! Executes a pipeline: its tasks in the order of what they depend on, each step by the workload that its container names.
//!
//! A step runs as a task of this process on a directory of its own, as the suite's image would in a pod. Parameters and
//! files go from step to step as they do for real: an output is what the step left in a file, and a file that another
//! step reads went through an object store.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde_json::{Map, Value, json};

use super::{Server, condition, template};
use crate::workload::{self, Context, Stop};

/// The largest file that is kept of a step, in bytes.
const LARGEST_FILE: u64 = 8 << 20;
/// How deep pipelines may be nested.
const DEEPEST: usize = 16;
/// The most items of a loop.
const MOST_ITEMS: usize = 200;
/// The most retries of a task.
const MOST_RETRIES: u64 = 20;

/// What becomes of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Succeeded,
    Failed,
    /// Its condition did not hold, or what it needs was skipped.
    Skipped,
    /// What it depends on failed.
    Omitted,
}

/// What a task or a pipeline gets and gives.
#[derive(Debug, Clone, Default)]
struct Values {
    parameters: Map<String, Value>,
    /// Files, by where they are in the object store.
    artifacts: Map<String, Value>,
}

/// A task that ended.
#[derive(Debug, Clone)]
struct Ended {
    end: End,
    outputs: Values,
}

impl Ended {
    fn without_outputs(end: End) -> Self {
        Self {
            end,
            outputs: Values::default(),
        }
    }
}

/// One execution of a run.
struct Execution {
    server: Arc<Server>,
    run: String,
    spec: Value,
    stop: Stop,
    directory: Directory,
    /// The object store.
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// Executes a run to its end, and keeps its states.
pub(super) async fn execute(server: Arc<Server>, run: String, stop: Stop) {
    let Some((spec, parameters)) = server.with(|db| {
        let run = db.runs.get(&run)?;
        let parameters = run.runtime_config["parameters"].as_object().cloned();
        Some((run.spec.clone(), parameters.unwrap_or_default()))
    }) else {
        return;
    };
    server.set_state(&run, "RUNNING");
    let id = run.clone();
    let ended = match Directory::new(&server.uid()) {
        Ok(directory) => {
            let execution = Execution {
                server: server.clone(),
                run,
                spec: template::pipeline(&spec).clone(),
                stop: stop.clone(),
                directory,
                objects: Mutex::default(),
            };
            let inputs = Values {
                parameters,
                ..Values::default()
            };
            let root = execution.spec["root"].clone();
            tokio::select! {
                ended = execution.component("root", &root, inputs, 0) => ended.end,
                // The engine stops what runs, and then calls it a failure.
                () = stop.stopped() => End::Failed,
            }
        }
        Err(error) => {
            tracing::warn!(%error, "no directory for a run");
            End::Failed
        }
    };
    let state = match ended {
        // Stopping is not what this server does when it does not obey.
        _ if stop.is_stopped() && server.broken("run/terminates") => "SUCCEEDED",
        End::Succeeded | End::Skipped => "SUCCEEDED",
        End::Failed | End::Omitted => "FAILED",
    };
    server.finish(&id, state);
}

impl Execution {
    /// A component: steps below it, or one step.
    fn component<'a>(
        &'a self,
        name: &'a str,
        component: &'a Value,
        mut inputs: Values,
        depth: usize,
    ) -> BoxFuture<'a, Ended> {
        let definitions = &component["inputDefinitions"]["parameters"];
        for (name, definition) in definitions.as_object().into_iter().flatten() {
            let default = &definition["defaultValue"];
            if !inputs.parameters.contains_key(name) && !default.is_null() {
                inputs.parameters.insert(name.clone(), default.clone());
            }
        }
        async move {
            if depth > DEEPEST {
                return Ended::without_outputs(End::Failed);
            }
            match component["executorLabel"].as_str() {
                Some(label) => {
                    let executor = &self.spec["deploymentSpec"]["executors"][label];
                    self.step(name, component, executor, &inputs).await
                }
                None => self.dag(component, &inputs, depth).await,
            }
        }
        .boxed()
    }

    /// The tasks of a pipeline, each as soon as what it depends on has ended.
    async fn dag(&self, component: &Value, inputs: &Values, depth: usize) -> Ended {
        let none = Map::new();
        let tasks = component["dag"]["tasks"].as_object().unwrap_or(&none);
        let mut ended: BTreeMap<&str, Ended> = BTreeMap::new();
        let mut started: Vec<&str> = Vec::new();
        let mut running = FuturesUnordered::new();
        loop {
            for (name, task) in tasks {
                let name = name.as_str();
                if started.contains(&name) {
                    continue;
                }
                let needed = needs(task);
                if !needed.iter().all(|need| ended.contains_key(need.as_str())) {
                    continue;
                }
                started.push(name);
                let at_any_rate =
                    task["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED";
                let ends = needed
                    .iter()
                    .filter_map(|need| ended.get(need.as_str()))
                    .map(|e| e.end);
                let blocked = ends
                    .filter(|end| *end != End::Succeeded)
                    .map(|end| match end {
                        End::Skipped => End::Skipped,
                        _ => End::Omitted,
                    });
                let work = match blocked.max_by_key(|end| *end == End::Omitted) {
                    Some(end) if !at_any_rate => async move { Ended::without_outputs(end) }.boxed(),
                    _ => self.task(name, task, inputs, ended.clone(), depth),
                };
                running.push(work.map(move |end| (name, end)));
            }
            // The loop above looks at tasks again after each end, until nothing runs any more.
            let Some((name, end)) = running.next().await else {
                break;
            };
            ended.insert(name, end);
        }
        let all_ran = started.len() == tasks.len();
        let failed = ended
            .values()
            .any(|e| matches!(e.end, End::Failed | End::Omitted));
        let end = if failed || !all_ran {
            End::Failed
        } else {
            End::Succeeded
        };
        Ended {
            end,
            outputs: dag_outputs(component, &ended),
        }
    }

    /// One task, with its condition, its loop and its retries.
    fn task<'a>(
        &'a self,
        name: &'a str,
        task: &'a Value,
        inputs: &'a Values,
        siblings: BTreeMap<&'a str, Ended>,
        depth: usize,
    ) -> BoxFuture<'a, Ended> {
        async move {
            let mut given = match self.resolve(task, inputs, &siblings) {
                Ok(given) => given,
                Err(error) => {
                    tracing::debug!(task = name, error, "an input cannot be had");
                    return Ended::without_outputs(End::Failed);
                }
            };
            if let Some(text) = task["triggerPolicy"]["condition"].as_str() {
                match condition::holds(text, &given.parameters) {
                    Ok(false) if !self.server.broken("run/follows-condition") => {
                        return Ended::without_outputs(End::Skipped);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(task = name, error, "a condition cannot be evaluated");
                        return Ended::without_outputs(End::Failed);
                    }
                }
            }
            let component = task["componentRef"]["name"].as_str().unwrap_or_default();
            let component = &self.spec["components"][component];
            if component.is_null() {
                return Ended::without_outputs(End::Failed);
            }
            let iterator = &task["parameterIterator"];
            let detail = self.server.begin_task(&self.run, name);
            let ended = if iterator.is_object() {
                let items = if let Value::String(raw) = &iterator["items"]["raw"] {
                    serde_json::from_str(raw).unwrap_or_default()
                } else {
                    let from = iterator["items"]["inputParameter"]
                        .as_str()
                        .unwrap_or_default();
                    given.parameters.get(from).cloned().unwrap_or_default()
                };
                let items = items.as_array().cloned().unwrap_or_default();
                let item_name = iterator["itemInput"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let limit = task["iteratorPolicy"]["parallelismLimit"]
                    .as_u64()
                    .unwrap_or(0);
                let limit = if limit == 0 {
                    MOST_ITEMS
                } else {
                    limit as usize
                };
                let runs = items.into_iter().take(MOST_ITEMS).map(|item| {
                    given.parameters.insert(item_name.clone(), item);
                    self.attempts(name, task, component, given.clone(), depth)
                });
                let runs: Vec<_> = runs.collect();
                let ends: Vec<Ended> = futures::stream::iter(runs)
                    .buffer_unordered(limit)
                    .collect()
                    .await;
                let failed = ends.iter().any(|e| e.end == End::Failed);
                Ended::without_outputs(if failed { End::Failed } else { End::Succeeded })
            } else {
                self.attempts(name, task, component, given, depth).await
            };
            let state = if ended.end == End::Succeeded {
                "SUCCEEDED"
            } else {
                "FAILED"
            };
            self.server.end_task(&self.run, &detail, state);
            let is_step = component["executorLabel"].is_string();
            // A step that was stopped has no exit code that could be lost.
            let own = depth == 0 && is_step && !self.stop.is_stopped();
            if own && self.server.broken("run/failing-task-fails") {
                return Ended {
                    end: End::Succeeded,
                    ..ended
                };
            }
            ended
        }
        .boxed()
    }

    /// A task's component, again as often as its retry policy says.
    fn attempts<'a>(
        &'a self,
        name: &'a str,
        task: &'a Value,
        component: &'a Value,
        given: Values,
        depth: usize,
    ) -> BoxFuture<'a, Ended> {
        async move {
            let policy = &task["retryPolicy"];
            let retries = policy["maxRetryCount"]
                .as_u64()
                .unwrap_or(0)
                .min(MOST_RETRIES);
            let mut wait = seconds(&policy["backoffDuration"]).unwrap_or(0.0);
            let factor = policy["backoffFactor"].as_f64().unwrap_or(2.0).max(1.0);
            let longest = seconds(&policy["backoffMaxDuration"]).unwrap_or(3600.0);
            let mut attempt = 0;
            loop {
                let ended = self
                    .component(name, component, given.clone(), depth + 1)
                    .await;
                if ended.end == End::Succeeded || attempt == retries {
                    return ended;
                }
                attempt += 1;
                let pause = Duration::try_from_secs_f64(wait.min(longest)).unwrap_or_default();
                self.server.clock().sleep(pause).await;
                wait *= factor;
            }
        }
        .boxed()
    }

    /// The values that a task gets.
    fn resolve(
        &self,
        task: &Value,
        inputs: &Values,
        siblings: &BTreeMap<&str, Ended>,
    ) -> Result<Values, String> {
        let mut given = Values::default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for (name, from) in task["inputs"]["parameters"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let output = &from["taskOutputParameter"];
            let value = if let Some(input) = from["componentInputParameter"].as_str() {
                // An optional input that nobody gave stays away.
                inputs.parameters.get(input).cloned()
            } else if from["runtimeValue"].is_object() {
                Some(from["runtimeValue"]["constant"].clone())
            } else if output.is_object() {
                let sibling = siblings.get(text(&output["producerTask"]).as_str());
                let key = text(&output["outputParameterKey"]);
                let value = sibling
                    .and_then(|s| s.outputs.parameters.get(&key))
                    .cloned();
                if self.server.broken("run/passes-parameters") {
                    Some(json!(""))
                } else {
                    Some(value.ok_or_else(|| format!("there is no output {key}"))?)
                }
            } else if from["taskFinalStatus"].is_object() {
                let producer = text(&from["taskFinalStatus"]["producerTask"]);
                let end = siblings.get(producer.as_str()).map(|s| s.end);
                let state = match end {
                    Some(End::Succeeded) => "SUCCEEDED",
                    Some(End::Skipped) => "SKIPPED",
                    _ => "FAILED",
                };
                Some(
                    json!({"state": state, "pipelineTaskName": producer, "pipelineJobResourceName": self.run, "error": {}}),
                )
            } else {
                return Err(format!("input {name} comes from nowhere"));
            };
            if let Some(value) = value {
                given.parameters.insert(
                    name.clone(),
                    select(value, &from["parameterExpressionSelector"]),
                );
            }
        }
        for (name, from) in task["inputs"]["artifacts"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let output = &from["taskOutputArtifact"];
            let found = if let Some(input) = from["componentInputArtifact"].as_str() {
                inputs.artifacts.get(input)
            } else {
                let sibling = siblings.get(text(&output["producerTask"]).as_str());
                let key = text(&output["outputArtifactKey"]);
                sibling.and_then(|s| s.outputs.artifacts.get(&key))
            };
            let uri = found.ok_or_else(|| format!("there is no artifact for {name}"))?;
            given.artifacts.insert(name.clone(), uri.clone());
        }
        Ok(given)
    }

    /// One step: a container of the suite's image.
    async fn step(
        &self,
        name: &str,
        component: &Value,
        executor: &Value,
        inputs: &Values,
    ) -> Ended {
        let container = &executor["container"];
        let image = container["image"].as_str().unwrap_or_default();
        if !super::is_our_image(image) {
            // Its pod waits for an image that nobody has.
            self.stop.stopped().await;
            return Ended::without_outputs(End::Failed);
        }
        let root = self.directory.0.join(self.server.uid());
        let outputs = &component["outputDefinitions"];
        let parameters: Vec<&String> = keys(&outputs["parameters"]);
        let artifacts: Vec<&String> = keys(&outputs["artifacts"]);
        let parameter_path = |key: &str| format!("/tmp/kfp/outputs/{key}");
        let uri = |key: &str| {
            format!(
                "minio://mlpipeline/v2/artifacts/{}/{name}/{}/{key}",
                self.run,
                self.server.uid()
            )
        };
        let uris: BTreeMap<&str, String> = artifacts
            .iter()
            .map(|key| (key.as_str(), uri(key)))
            .collect();
        let mut marks: Vec<(String, String)> = Vec::new();
        for (key, value) in &inputs.parameters {
            marks.push((
                format!("{{{{$.inputs.parameters['{key}']}}}}"),
                plain(value),
            ));
        }
        for (key, uri) in &inputs.artifacts {
            let uri = uri.as_str().unwrap_or_default();
            let path = path_of(uri);
            let bytes = self.objects().get(uri).cloned().unwrap_or_default();
            let bytes = if self.server.broken("run/passes-artifacts") {
                Vec::new()
            } else {
                bytes
            };
            if let Err(error) = write(&inside(&root, Path::new(&path)), &bytes) {
                tracing::warn!(%error, "an artifact cannot be written");
                return Ended::without_outputs(End::Failed);
            }
            marks.push((
                format!("{{{{$.inputs.artifacts['{key}'].uri}}}}"),
                uri.to_owned(),
            ));
            marks.push((format!("{{{{$.inputs.artifacts['{key}'].path}}}}"), path));
        }
        for key in &parameters {
            marks.push((
                format!("{{{{$.outputs.parameters['{key}'].output_file}}}}"),
                parameter_path(key),
            ));
        }
        for (key, uri) in &uris {
            marks.push((
                format!("{{{{$.outputs.artifacts['{key}'].uri}}}}"),
                uri.clone(),
            ));
            marks.push((
                format!("{{{{$.outputs.artifacts['{key}'].path}}}}"),
                path_of(uri),
            ));
        }
        let words = ["command", "args"]
            .iter()
            .flat_map(|key| container[*key].as_array().into_iter().flatten());
        let argv: Vec<String> = words
            .map(|word| {
                let word = word.as_str().unwrap_or_default().to_owned();
                marks
                    .iter()
                    .fold(word, |word, (mark, value)| word.replace(mark, value))
            })
            .collect();
        let env = container["env"].as_array().into_iter().flatten();
        let env: BTreeMap<String, String> = env
            .map(|pair| (plain(&pair["name"]), plain(&pair["value"])))
            .collect();
        let code = workload::run(argv, self.context(root.clone(), env)).await;
        if code != 0 {
            return Ended::without_outputs(End::Failed);
        }
        let mut given = Values::default();
        for key in parameters {
            let kind = outputs["parameters"][key.as_str()]["parameterType"].as_str();
            let file = inside(&root, Path::new(&parameter_path(key)));
            match read(&file)
                .ok()
                .and_then(|bytes| typed(&bytes, kind.unwrap_or_default()))
            {
                Some(value) => given.parameters.insert(key.clone(), value),
                None => return Ended::without_outputs(End::Failed),
            };
        }
        for (key, uri) in uris {
            let bytes = read(&inside(&root, Path::new(&path_of(&uri)))).unwrap_or_default();
            self.objects().insert(uri.clone(), bytes);
            given.artifacts.insert(key.to_owned(), uri.into());
        }
        Ended {
            end: End::Succeeded,
            outputs: given,
        }
    }

    fn objects(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn context(&self, root: PathBuf, env: BTreeMap<String, String>) -> Context {
        let no_ports = || io::Error::other("a step opens no ports here");
        let log: workload::Sink = Arc::new(|line| tracing::trace!(line, "a step says"));
        Context {
            env,
            listen: Arc::new(move |_| async move { Err(no_ports()) }.boxed()),
            resolve: Arc::new(|_| None),
            map_path: Arc::new(move |path| inside(&root, path)),
            out: log.clone(),
            err: log,
            stop: self.stop.clone(),
            clock: *self.server.clock(),
        }
    }
}

/// The tasks whose end a task waits for.
fn needs(task: &Value) -> Vec<String> {
    let mut needs: Vec<String> = task["dependentTasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(ToOwned::to_owned))
        .collect();
    for kind in ["parameters", "artifacts"] {
        for from in task["inputs"][kind]
            .as_object()
            .into_iter()
            .flat_map(Map::values)
        {
            let sources = [
                "taskOutputParameter",
                "taskOutputArtifact",
                "taskFinalStatus",
            ];
            let producers = sources
                .iter()
                .filter_map(|key| from[*key]["producerTask"].as_str());
            needs.extend(producers.map(ToOwned::to_owned));
        }
    }
    needs.sort();
    needs.dedup();
    needs
}

/// What a pipeline gives, from its tasks' outputs.
fn dag_outputs(component: &Value, ended: &BTreeMap<&str, Ended>) -> Values {
    let mut outputs = Values::default();
    let of = |task: &Value| ended.get(task.as_str().unwrap_or_default());
    let given = &component["dag"]["outputs"];
    for (name, from) in given["parameters"].as_object().into_iter().flatten() {
        let from = &from["valueFromParameter"];
        let key = from["outputParameterKey"].as_str().unwrap_or_default();
        let value = of(&from["producerSubtask"]).and_then(|e| e.outputs.parameters.get(key));
        outputs
            .parameters
            .extend(value.map(|value| (name.clone(), value.clone())));
    }
    for (name, from) in given["artifacts"].as_object().into_iter().flatten() {
        for from in from["artifactSelectors"].as_array().into_iter().flatten() {
            let key = from["outputArtifactKey"].as_str().unwrap_or_default();
            let uri = of(&from["producerSubtask"]).and_then(|e| e.outputs.artifacts.get(key));
            outputs
                .artifacts
                .extend(uri.map(|uri| (name.clone(), uri.clone())));
        }
    }
    outputs
}

/// `parseJson(string_value)["key"]`: a member of a struct that a loop goes over.
fn select(value: Value, selector: &Value) -> Value {
    let key = selector.as_str().and_then(|text| {
        let rest = text
            .strip_prefix("parseJson(string_value)[")?
            .strip_suffix(']')?;
        Some(rest.trim_matches(['"', '\'']).to_owned())
    });
    match key {
        Some(key) => value[key].clone(),
        None => value,
    }
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().into_iter().flat_map(Map::keys).collect()
}

/// A value as it stands in a command: text as it is, everything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What a step left in a file, as a value of its type; none when it is not one.
fn typed(bytes: &[u8], kind: &str) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    match kind {
        "NUMBER_INTEGER" => text.trim().parse::<i64>().ok().map(Value::from),
        "NUMBER_DOUBLE" => text.trim().parse::<f64>().ok().map(Value::from),
        "BOOLEAN" => text
            .trim()
            .to_lowercase()
            .parse::<bool>()
            .ok()
            .map(Value::Bool),
        "LIST" => serde_json::from_str::<Value>(text)
            .ok()
            .filter(Value::is_array),
        "STRUCT" => serde_json::from_str::<Value>(text)
            .ok()
            .filter(Value::is_object),
        _ => Some(text.into()),
    }
}

/// `"5s"`, as durations stand in pipelines.
fn seconds(value: &Value) -> Option<f64> {
    value.as_str()?.strip_suffix('s')?.parse().ok()
}

/// Where the object of an URI is in a container.
fn path_of(uri: &str) -> String {
    format!("/{}", uri.replacen("://", "/", 1))
}

/// A path of a container, inside of the directory that is its file system.
fn inside(root: &Path, path: &Path) -> PathBuf {
    let parts = path
        .components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)));
    root.join(parts.collect::<PathBuf>())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, bytes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(LARGEST_FILE)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A directory that goes with its execution.
struct Directory(PathBuf);

impl Directory {
    fn new(id: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("kfconform-run-{id}"));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary directory; nobody is left to tell.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
