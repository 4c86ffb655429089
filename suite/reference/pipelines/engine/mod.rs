//! Executes a pipeline: its tasks in the order of what they depend on, each step by the workload that its container names.
//!
//! A step runs as a task of this process on a directory of its own, as the suite's image would in a pod. Parameters and
//! files go from step to step as they do for real: an output is what the step left in a file, and a file that another
//! step reads went through an object store.

mod flow;
mod pod;
mod step;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde_json::{Map, Value, json};

use super::{Server, condition, template};
use crate::workload::Stop;
use flow::{dag_outputs, needs, taken_from};
use step::Directory;

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

/// What the tasks of a run gave that succeeded: it stays when the run is executed again.
#[derive(Default)]
pub(super) struct Results {
    /// By the task and what it got.
    steps: Mutex<BTreeMap<String, Values>>,
    /// The object store.
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// The result of a task that may be taken for that of another.
#[derive(Clone)]
pub(super) struct Cached {
    outputs: Values,
    objects: BTreeMap<String, Vec<u8>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One execution of a run.
struct Execution {
    server: Arc<Server>,
    run: String,
    spec: Value,
    /// What is added to executors where they are pods, by label.
    platform: Value,
    /// Where the run is executed, and as whom.
    namespace: String,
    account: String,
    /// Whether the pipeline came with the run.
    sent: bool,
    stop: Stop,
    directory: Directory,
    results: Arc<Results>,
    /// What tasks gave in earlier executions of this run: by the task and what it got.
    before: BTreeMap<String, Values>,
}

/// Executes a run to its end, and keeps its states.
pub(super) async fn execute(server: Arc<Server>, run: String, stop: Stop) {
    let Some((spec, sent, namespace, account, parameters)) = server.with(|db| {
        let run = db.runs.get(&run)?;
        let parameters = run.runtime_config["parameters"].as_object().cloned();
        let sent = run.source.contains_key("pipeline_spec");
        let (namespace, account) = (run.namespace.clone(), run.service_account.clone());
        let parameters = parameters.unwrap_or_default();
        Some((run.spec.clone(), sent, namespace, account, parameters))
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
                platform:
                    spec["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
                        .clone(),
                namespace,
                account,
                sent,
                stop: stop.clone(),
                directory,
                before: locked(&server.results(&id).steps).clone(),
                results: server.results(&id),
            };
            let inputs = Values {
                parameters,
                ..Values::default()
            };
            let root = execution.spec["root"].clone();
            tokio::select! {
                ended = execution.component("root", &root, &Value::Null, inputs, 0) => ended.end,
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
        task: &'a Value,
        mut inputs: Values,
        depth: usize,
    ) -> BoxFuture<'a, Ended> {
        let definitions = &component["inputDefinitions"]["parameters"];
        for (name, definition) in definitions.as_object().into_iter().flatten() {
            let default = &definition["defaultValue"];
            let wanted = if inputs.parameters.contains_key(name) {
                self.server.broken("execution/prefers-given-values")
            } else {
                !self.server.broken("execution/uses-defaults")
            };
            if wanted && !default.is_null() {
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
                    self.known_or_step(name, task, component, executor, &inputs)
                        .await
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
                let gives = !self.spec["components"]
                    [task["componentRef"]["name"].as_str().unwrap_or_default()]["outputDefinitions"]
                    .is_null();
                let mut needed = needs(task);
                if gives && self.server.broken("execution/keeps-order") {
                    needed = taken_from(task);
                }
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
                let all_well = ends.clone().all(|end| end == End::Succeeded);
                let broken = |fault: &str| self.server.broken(fault);
                let at_any_rate = if at_any_rate && task["inputs"].is_null() {
                    !broken(if all_well {
                        "execution/exit-task-runs-after-success"
                    } else {
                        "execution/exit-task-runs-after-failure"
                    })
                } else {
                    at_any_rate || broken("execution/stops-after-failure")
                };
                let left_out = all_well
                    && !at_any_rate
                    && task["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED";
                let blocked = ends
                    .filter(|end| *end != End::Succeeded)
                    .map(|end| match end {
                        End::Skipped => End::Skipped,
                        _ => End::Omitted,
                    });
                let blocked = left_out.then_some(End::Skipped).into_iter().chain(blocked);
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
        let lost = depth > 0 && self.server.broken("execution/nests-pipelines");
        let outputs = if lost {
            Values::default()
        } else {
            dag_outputs(component, &ended)
        };
        Ended { end, outputs }
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
                let mut items = items.as_array().cloned().unwrap_or_default();
                let broken = |fault: &str| self.server.broken(&format!("execution/{fault}"));
                let is_written = iterator["items"]["raw"].is_string();
                if is_written
                    && task["iteratorPolicy"].is_null()
                    && broken("loops-over-written-items")
                {
                    items.clear();
                }
                if !is_written && broken("fails-with-an-iteration:last") {
                    items.pop();
                }
                if !is_written && broken("fails-with-an-iteration:first") {
                    items.drain(..items.len().min(1));
                }
                if broken("loops-over-items") {
                    let all = json!(Value::from(items.clone()).to_string());
                    items.fill(all);
                }
                let item_name = iterator["itemInput"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let limit = task["iteratorPolicy"]["parallelismLimit"]
                    .as_u64()
                    .unwrap_or(0);
                let limit = if limit == 0 || broken("limits-parallelism") {
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
            let alone = template::is_one_step(&self.spec);
            let own = depth == 0 && alone && self.sent && is_step && !self.stop.is_stopped();
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
            let retries = if self.server.broken("execution/retries-tasks") {
                0
            } else {
                retries
            };
            let mut wait = seconds(&policy["backoffDuration"]).unwrap_or(0.0);
            let factor = policy["backoffFactor"].as_f64().unwrap_or(2.0).max(1.0);
            let longest = seconds(&policy["backoffMaxDuration"]).unwrap_or(3600.0);
            let mut attempt = 0;
            loop {
                let ended = self
                    .component(name, component, task, given.clone(), depth + 1)
                    .await;
                if ended.end == End::Succeeded || attempt == retries {
                    return ended;
                }
                let failed = self
                    .server
                    .begin_task(&self.run, &format!("executor({attempt})"));
                self.server.end_task(&self.run, &failed, "FAILED");
                attempt += 1;
                let pause = Duration::try_from_secs_f64(wait.min(longest)).unwrap_or_default();
                self.server.clock().sleep(pause).await;
                wait *= factor;
            }
        }
        .boxed()
    }
}

/// `"5s"`, as durations stand in pipelines.
fn seconds(value: &Value) -> Option<f64> {
    value.as_str()?.strip_suffix('s')?.parse().ok()
}
