//! What the API server keeps: experiments, pipelines, versions, runs, recurring runs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::list::{Cell, Row, Table, TableFaults};

/// Seconds since 1970, as columns have them. An unset time is zero.
pub(super) type Seconds = i64;

/// An experiment.
#[derive(Debug, Clone, Default)]
pub(super) struct Experiment {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) created: Seconds,
    pub(super) last_run: Seconds,
    pub(super) archived: bool,
    pub(super) namespace: String,
}

/// A pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipeline {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) display_name: String,
    pub(super) description: String,
    pub(super) created: Seconds,
    pub(super) namespace: String,
    pub(super) tags: Map<String, Value>,
}

/// A version of a pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) pipeline: String,
    pub(super) name: String,
    pub(super) display_name: String,
    pub(super) description: String,
    pub(super) created: Seconds,
    /// The pipeline, or pipeline and platform.
    pub(super) spec: Value,
    pub(super) tags: Map<String, Value>,
}

/// A task of a run as `run_details` shows it.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: Seconds,
    pub(super) ended: Seconds,
    pub(super) states: Vec<(Seconds, &'static str)>,
}

/// A run.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) experiment: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) namespace: String,
    pub(super) created: Seconds,
    pub(super) scheduled: Seconds,
    pub(super) finished: Seconds,
    pub(super) archived: bool,
    /// The last is the present one.
    pub(super) states: Vec<(Seconds, &'static str)>,
    /// Where the pipeline came from, as it was asked: `pipeline_spec` or `pipeline_version_reference`.
    pub(super) source: Map<String, Value>,
    /// The pipeline that is executed.
    pub(super) spec: Value,
    pub(super) runtime_config: Value,
    pub(super) service_account: String,
    pub(super) recurring: String,
    pub(super) tasks: Vec<Task>,
}

/// A recurring run.
#[derive(Debug, Clone, Default)]
pub(super) struct RecurringRun {
    pub(super) id: String,
    pub(super) experiment: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) namespace: String,
    pub(super) created: Seconds,
    pub(super) updated: Seconds,
    pub(super) enabled: bool,
    pub(super) no_catchup: bool,
    pub(super) max_concurrency: i64,
    pub(super) trigger: Value,
    pub(super) source: Map<String, Value>,
    pub(super) runtime_config: Value,
    pub(super) service_account: String,
    /// Whether it was ever disabled after its creation.
    pub(super) was_disabled: bool,
}

/// Everything that is kept, by id.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) experiments: BTreeMap<String, Experiment>,
    pub(super) pipelines: BTreeMap<String, Pipeline>,
    pub(super) versions: BTreeMap<String, Version>,
    pub(super) runs: BTreeMap<String, Run>,
    pub(super) recurring_runs: BTreeMap<String, RecurringRun>,
    /// What was deleted, for those faults that do not mind.
    pub(super) deleted_recurring_runs: BTreeMap<String, RecurringRun>,
}

impl Run {
    /// The present state.
    pub(super) fn state(&self) -> &'static str {
        self.states.last().map_or("PENDING", |(_, state)| state)
    }

    /// Whether the run stays in its state.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.state(), "SUCCEEDED" | "FAILED" | "CANCELED")
    }
}

impl RecurringRun {
    /// Whether more than an hour is between its runs.
    pub(super) fn is_seldom(&self) -> bool {
        let interval = self.trigger["periodic_schedule"]["interval_second"].as_str();
        interval.is_some_and(|text| text.parse::<Seconds>().is_ok_and(|s| s > 3600))
    }
}

/// A time as the API writes it.
pub(super) fn time(at: Seconds) -> Value {
    let time = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// `AVAILABLE` or `ARCHIVED`.
fn storage(archived: bool) -> &'static str {
    if archived { "ARCHIVED" } else { "AVAILABLE" }
}

fn history(states: &[(Seconds, &'static str)]) -> Value {
    states
        .iter()
        .map(|(at, state)| json!({"update_time": time(*at), "state": state}))
        .collect()
}

/// Leaves out what is empty, as the API does.
pub(super) fn without_empty(value: Value) -> Value {
    let Value::Object(map) = value else {
        return value;
    };
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(_) => false,
    };
    map.into_iter()
        .filter(|(_, value)| !is_empty(value))
        .collect::<Map<_, _>>()
        .into()
}

const NAME: (&str, &str) = ("name", "Name");
const DISPLAY_NAME: (&str, &str) = ("display_name", "DisplayName");
const DESCRIPTION: (&str, &str) = ("description", "Description");
const CREATED: (&str, &str) = ("created_at", "CreatedAtInSec");
const ID: (&str, &str) = ("id", "UUID");
const NAMESPACE: (&str, &str) = ("namespace", "Namespace");

impl Row for Experiment {
    const TABLE: Table = Table {
        kind: "Experiment",
        name: "experiments",
        items: "experiments",
        fields: &[
            ID,
            ("experiment_id", "UUID"),
            NAME,
            ("display_name", "Name"),
            DESCRIPTION,
            CREATED,
            NAMESPACE,
            ("last_run_created_at", "LastRunCreatedAtInSec"),
            ("storage_state", "StorageState"),
        ],
        faults: TableFaults {
            pages: "list/pages-experiments",
            sorts: "list/sorts-experiments",
        },
    };

    fn id(&self) -> &str {
        &self.id
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "Name" => Cell::text(&self.name),
            "Description" => Cell::text(&self.description),
            "CreatedAtInSec" => Cell::Number(self.created),
            "LastRunCreatedAtInSec" => Cell::Number(self.last_run),
            "Namespace" => Cell::text(&self.namespace),
            "StorageState" => Cell::text(storage(self.archived)),
            _ => Cell::text(&self.id),
        }
    }

    fn json(&self) -> Value {
        without_empty(json!({
            "experiment_id": self.id,
            "display_name": self.name,
            "description": self.description,
            "created_at": time(self.created),
            "namespace": self.namespace,
            "storage_state": storage(self.archived),
            "last_run_created_at": time(self.last_run),
        }))
    }
}

impl Row for Pipeline {
    const TABLE: Table = Table {
        kind: "Pipeline",
        name: "pipelines",
        items: "pipelines",
        fields: &[
            ID,
            ("pipeline_id", "UUID"),
            NAME,
            DISPLAY_NAME,
            DESCRIPTION,
            CREATED,
            NAMESPACE,
        ],
        faults: TableFaults {
            pages: "list/pages-pipelines",
            sorts: "list/sorts-pipelines",
        },
    };

    fn id(&self) -> &str {
        &self.id
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "Name" => Cell::text(&self.name),
            "DisplayName" => Cell::text(&self.display_name),
            "Description" => Cell::text(&self.description),
            "CreatedAtInSec" => Cell::Number(self.created),
            "Namespace" => Cell::text(&self.namespace),
            _ => Cell::text(&self.id),
        }
    }

    fn json(&self) -> Value {
        without_empty(json!({
            "pipeline_id": self.id,
            "display_name": self.display_name,
            "name": self.name,
            "description": self.description,
            "created_at": time(self.created),
            "namespace": self.namespace,
            "tags": self.tags,
        }))
    }
}

impl Row for Version {
    const TABLE: Table = Table {
        kind: "PipelineVersion",
        name: "pipeline_versions",
        items: "pipeline_versions",
        fields: &[
            ID,
            ("pipeline_version_id", "UUID"),
            NAME,
            DISPLAY_NAME,
            DESCRIPTION,
            CREATED,
            ("status", "Status"),
        ],
        faults: TableFaults {
            pages: "list/pages-versions",
            sorts: "list/sorts-versions",
        },
    };

    fn id(&self) -> &str {
        &self.id
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "Name" => Cell::text(&self.name),
            "DisplayName" => Cell::text(&self.display_name),
            "Description" => Cell::text(&self.description),
            "CreatedAtInSec" => Cell::Number(self.created),
            "Status" => Cell::text("READY"),
            _ => Cell::text(&self.id),
        }
    }

    fn json(&self) -> Value {
        without_empty(json!({
            "pipeline_id": self.pipeline,
            "pipeline_version_id": self.id,
            "display_name": self.display_name,
            "name": self.name,
            "description": self.description,
            "created_at": time(self.created),
            "pipeline_spec": self.spec,
            "tags": self.tags,
        }))
    }
}

impl Row for Run {
    const TABLE: Table = Table {
        kind: "Run",
        name: "run_details",
        items: "runs",
        fields: &[
            ID,
            ("run_id", "UUID"),
            NAME,
            ("display_name", "Name"),
            DESCRIPTION,
            CREATED,
            ("finished_at", "FinishedAtInSec"),
            ("scheduled_at", "ScheduledAtInSec"),
            ("storage_state", "StorageState"),
            ("status", "State"),
            ("state", "State"),
            NAMESPACE,
            ("experiment_id", "ExperimentUUID"),
            ("recurring_run_id", "JobUUID"),
        ],
        faults: TableFaults {
            pages: "list/pages-runs",
            sorts: "list/sorts-runs",
        },
    };

    fn id(&self) -> &str {
        &self.id
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "Name" => Cell::text(&self.name),
            "Description" => Cell::text(&self.description),
            "CreatedAtInSec" => Cell::Number(self.created),
            "FinishedAtInSec" => Cell::Number(self.finished),
            "ScheduledAtInSec" => Cell::Number(self.scheduled),
            "StorageState" => Cell::text(storage(self.archived)),
            "State" => Cell::text(self.state()),
            "Namespace" => Cell::text(&self.namespace),
            "ExperimentUUID" => Cell::text(&self.experiment),
            "JobUUID" => Cell::text(&self.recurring),
            _ => Cell::text(&self.id),
        }
    }

    fn json(&self) -> Value {
        let tasks: Vec<Value> = self
            .tasks
            .iter()
            .map(|task| {
                let state = task.states.last().map_or("PENDING", |(_, state)| state);
                let ended = if task.ended == 0 {
                    // Go's zero time, which is not the one of runs.
                    json!("0001-01-01T00:00:00Z")
                } else {
                    time(task.ended)
                };
                json!({
                    "run_id": self.id,
                    "task_id": task.id,
                    "display_name": task.name,
                    "create_time": time(self.created),
                    "start_time": time(task.created),
                    "end_time": ended,
                    "state": state,
                    "state_history": history(&task.states),
                })
            })
            .collect();
        let mut run = json!({
            "experiment_id": self.experiment,
            "run_id": self.id,
            "display_name": self.name,
            "storage_state": storage(self.archived),
            "description": self.description,
        });
        for (key, value) in &self.source {
            run[key] = value.clone();
        }
        let rest = json!({
            "runtime_config": self.runtime_config,
            "service_account": self.service_account,
            "created_at": time(self.created),
            "scheduled_at": time(self.scheduled),
            "finished_at": time(self.finished),
            "state": self.state(),
            "run_details": if tasks.is_empty() { Value::Null } else { json!({"task_details": tasks}) },
            "recurring_run_id": self.recurring,
            "state_history": history(&self.states),
        });
        if let (Value::Object(run), Value::Object(rest)) = (&mut run, rest) {
            run.extend(rest);
        }
        without_empty(run)
    }
}

impl Row for RecurringRun {
    const TABLE: Table = Table {
        kind: "Job",
        name: "jobs",
        items: "recurringRuns",
        fields: &[
            ID,
            ("recurring_run_id", "UUID"),
            NAME,
            ("display_name", "DisplayName"),
            CREATED,
            ("updated_at", "UpdatedAtInSec"),
            DESCRIPTION,
        ],
        faults: TableFaults {
            pages: "list/pages-recurring-runs",
            sorts: "list/sorts-recurring-runs",
        },
    };

    fn id(&self) -> &str {
        &self.id
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "Name" | "DisplayName" => Cell::text(&self.name),
            "Description" => Cell::text(&self.description),
            "CreatedAtInSec" => Cell::Number(self.created),
            "UpdatedAtInSec" => Cell::Number(self.updated),
            _ => Cell::text(&self.id),
        }
    }

    fn json(&self) -> Value {
        let (mode, status) = if self.enabled {
            ("ENABLE", "ENABLED")
        } else {
            ("DISABLE", "DISABLED")
        };
        let mut recurring = json!({
            "recurring_run_id": self.id,
            "display_name": self.name,
            "description": self.description,
        });
        for (key, value) in &self.source {
            recurring[key] = value.clone();
        }
        let rest = json!({
            "runtime_config": self.runtime_config,
            "service_account": self.service_account,
            // An int64, which is written as text.
            "max_concurrency": self.max_concurrency.to_string(),
            "mode": mode,
            "created_at": time(self.created),
            "updated_at": time(self.updated),
            "status": status,
            "no_catchup": self.no_catchup,
            "namespace": self.namespace,
            "experiment_id": self.experiment,
        });
        if let (Value::Object(recurring), Value::Object(rest)) = (&mut recurring, rest) {
            recurring.extend(rest);
        }
        let mut shown = without_empty(recurring);
        // A trigger is shown even where it is empty.
        shown["trigger"] = self.trigger.clone();
        shown
    }
}
