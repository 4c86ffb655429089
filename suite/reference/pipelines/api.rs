//! The gateway's services: experiments, pipelines, versions, runs, recurring runs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Server,
    auth::Caller,
    engine,
    list::{self, Asked, Row},
    message,
    model::{Experiment, Pipeline, Run, Version},
    refusal::{Refusal, code},
    template,
};
use crate::workload;

/// A request to the gateway, taken apart.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// Who asks.
    pub(super) caller: Caller,
    /// The method.
    pub(super) method: String,
    /// The path below `/apis/v2beta1/`, without a verb.
    pub(super) segments: Vec<String>,
    /// What follows `:` in the last segment.
    pub(super) verb: Option<String>,
    /// The query.
    pub(super) query: Map<String, Value>,
    /// The body.
    pub(super) body: String,
}

impl Call {
    /// A value of the query; empty where it is absent.
    pub(super) fn pair(&self, key: &str) -> &str {
        self.query
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

pub(super) type Answer = Result<Value, Refusal>;

/// The most tags of one object.
const MOST_TAGS: usize = 20;
/// The longest names.
const LONGEST_NAME: usize = 128;

impl Server {
    /// Answers a request to the gateway.
    pub(super) fn call(self: &Arc<Self>, call: &Call) -> Answer {
        self.admit(call)?;
        let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
        match (
            call.method.as_str(),
            segments.as_slice(),
            call.verb.as_deref(),
        ) {
            ("GET", ["healthz"], None) => Ok(self.health()),

            ("POST", ["experiments"], None) => self.create_experiment(call),
            ("GET", ["experiments"], None) => self.list_experiments(call),
            ("GET", ["experiments", id], None) => self.get_experiment(id),
            ("DELETE", ["experiments", id], None) => self.delete_experiment(id),
            ("POST", ["experiments", id], Some("archive")) => Ok(self.archive_experiment(id, true)),
            ("POST", ["experiments", id], Some("unarchive")) => {
                Ok(self.archive_experiment(id, false))
            }

            ("POST", ["pipelines"], None) => self.create_pipeline(call),
            ("POST", ["pipelines", "create"], None) => {
                Err(Refusal::invalid("invalid pipeline spec URL: ")
                    .within("Failed to create a pipeline"))
            }
            ("GET", ["pipelines"], None) => self.list_pipelines(call),
            ("GET", ["pipelines", "names", name], None) => {
                self.pipeline_by_name(name, call.pair("namespace"))
            }
            ("GET", ["pipelines", id], None) => self.get_pipeline(id),
            ("PATCH", ["pipelines", id], None) => self.patch_pipeline(id, call),
            ("DELETE", ["pipelines", id], None) => {
                self.delete_pipeline(id, call.pair("cascade") == "true")
            }

            ("POST", ["pipelines", _, "versions"], None) => Self::create_version(call),
            ("GET", ["pipelines", id, "versions"], None) => self.list_versions(id, call),
            ("GET", ["pipelines", _, "versions", id], None) => self.get_version(id),
            ("PATCH", ["pipelines", _, "versions", id], None) => self.patch_version(id, call),
            ("DELETE", ["pipelines", pipeline, "versions", id], None) => {
                self.delete_version(pipeline, id)
            }

            ("POST", ["runs"], None) => self.create_run(call),
            ("GET", ["runs"], None) => self.list_runs(call),
            ("GET", ["runs", id], None) => self.get_run(id),
            ("DELETE", ["runs", id], None) => self.delete_run(id),
            ("POST", ["runs", id], Some("archive")) => self.archive_run(id, true),
            ("POST", ["runs", id], Some("unarchive")) => self.archive_run(id, false),
            ("POST", ["runs", id], Some("terminate")) => self.terminate_run(id),
            ("POST", ["runs", id], Some("retry")) => self.retry_run(id),

            ("POST", ["recurringruns"], None) => self.create_recurring_run(call),
            ("GET", ["recurringruns"], None) => self.list_recurring_runs(call),
            ("GET", ["recurringruns", id], None) => self.get_recurring_run(id),
            ("DELETE", ["recurringruns", id], None) => self.delete_recurring_run(id),
            ("POST", ["recurringruns", id], Some("enable")) => self.switch_recurring_run(id, true),
            ("POST", ["recurringruns", id], Some("disable")) => {
                self.switch_recurring_run(id, false)
            }

            (
                _,
                ["healthz" | "experiments" | "pipelines" | "runs" | "recurringruns"]
                | ["experiments" | "pipelines" | "runs" | "recurringruns", _]
                | ["pipelines", _, "versions"]
                | ["pipelines", _, "versions", _],
                _,
            ) => Err(Refusal::gateway(code::UNIMPLEMENTED, "Method Not Allowed")),
            _ => Err(Refusal::gateway(code::NOT_FOUND, "Not Found")),
        }
    }

    /// The answer to health checks.
    pub(super) fn health(&self) -> Value {
        let multi_user = if self.broken("server/reports-health") {
            json!(self.multi_user.to_string())
        } else {
            json!(self.multi_user)
        };
        json!({"commit_sha": "unknown", "tag_name": "2.17.0", "multi_user": multi_user, "pipeline_store": "kubernetes"})
    }

    // Experiments.

    fn create_experiment(&self, call: &Call) -> Answer {
        let asked = if self.broken("server/refuses-unknown-fields") {
            message::decode_known(&call.body, message::EXPERIMENT)?
        } else {
            message::decode(&call.body, message::EXPERIMENT)?
        };
        let text = |key: &str| text(&asked, key);
        let namespace = self.named(text("namespace"));
        let mut name = text("display_name");
        let converting = |refusal: Refusal| {
            refusal
                .internal("Failed to convert API experiment to model experiment")
                .within("[ExperimentServer]: Failed to create a experiment due to conversion error")
        };
        if name.is_empty() && self.broken("experiment/requires-name") {
            name = format!("unnamed-{}", self.uid());
        }
        if name.is_empty() {
            return Err(converting(Refusal::invalid(
                "Experiment must have a non-empty name",
            )));
        }
        if name.len() > LONGEST_NAME {
            let said = format!("Experiment.Name length cannot exceed {LONGEST_NAME}");
            return Err(converting(Refusal::invalid(said)));
        }
        self.with(|db| {
            let everywhere = self.broken("access/names-are-per-namespace");
            let taken = db
                .experiments
                .values()
                .any(|e| e.name == name && (everywhere || e.namespace == namespace));
            if taken && !self.broken("experiment/refuses-duplicate-name") {
                return Err(Refusal::exists(format!(
                    "Failed to create a new experiment. The name {name} already exists. Please specify a new name"
                ))
                .within("Failed to create a experiment"));
            }
            let experiment = Experiment {
                id: self.uid(),
                name,
                namespace,
                description: text("description"),
                created: self.now(),
                ..Experiment::default()
            };
            let answer = experiment.json();
            db.experiments.insert(experiment.id.clone(), experiment);
            Ok(answer)
        })
    }

    fn list_experiments(&self, call: &Call) -> Answer {
        let asked = asked(call)?;
        let namespace = call.pair("namespace");
        self.with(|db| {
            let experiments = db
                .experiments
                .values()
                .filter(|e| self.is_within(&e.namespace, namespace));
            list::page(experiments, &asked, &self.faults())
        })
        .map_err(|refusal| refusal.within("Failed to create list options"))
    }

    fn get_experiment(&self, id: &str) -> Answer {
        let found = self.with(|db| db.experiments.get(id).map(Row::json));
        let mut experiment = found.ok_or_else(|| {
            Refusal::not_found("Experiment", id).within("Failed to fetch experiment")
        })?;
        if self.broken("experiment/is-created-as-asked") {
            forget(&mut experiment, "description");
        }
        Ok(experiment)
    }

    fn delete_experiment(&self, id: &str) -> Answer {
        self.with(|db| {
            let Some(experiment) = db.experiments.get(id) else {
                return Err(Refusal::not_found("Experiment", id)
                    .within(&format!("Failed to delete experiment {id} due to error fetching it"))
                    .within("Failed to delete experiment"));
            };
            if experiment.name == DEFAULT_EXPERIMENT {
                return Err(Refusal {
                    code: code::ABORTED,
                    message: format!("Failed to delete experiment: BadRequestError: Experiment ID {id} is a default experiment ID and cannot be deleted"),
                    said: Some("a default experiment cannot be deleted".to_owned()),
                    said_as: None,
                });
            }
            if self.broken("experiment/leaves-its-runs") {
                db.runs.retain(|_, run| run.experiment != id);
            }
            if !self.broken("experiment/is-deleted") {
                db.experiments.remove(id);
            }
            Ok(json!({}))
        })
    }

    /// An unknown id is no error here, for the real server does not look.
    fn archive_experiment(&self, id: &str, archived: bool) -> Value {
        let now = self.now();
        self.with(|db| {
            if let Some(experiment) = db.experiments.get_mut(id) {
                experiment.archived = archived;
            }
            let recurs = db.recurring_runs.values().any(|r| r.experiment == id);
            let runs = if archived {
                recurs || !self.broken("experiment/archives-its-runs")
            } else {
                self.broken("experiment/is-restored-alone")
            };
            let recurring = if archived {
                !self.broken("experiment/disables-recurring-runs")
            } else {
                self.broken("experiment/is-restored-alone:recurring")
            };
            for run in db.runs.values_mut().filter(|run| run.experiment == id) {
                if runs {
                    run.archived = archived;
                }
            }
            for recurring_run in db.recurring_runs.values_mut() {
                if recurring && recurring_run.experiment == id {
                    recurring_run.enabled = !archived;
                    recurring_run.updated = now;
                }
            }
        });
        json!({})
    }

    // Pipelines.

    fn create_pipeline(&self, call: &Call) -> Answer {
        let asked = message::decode(&call.body, message::PIPELINE)?;
        let text = |key: &str| text(&asked, key);
        let name = Some(text("name"))
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| text("display_name"));
        let display_name = Some(text("display_name"))
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| name.clone());
        let pipeline = Pipeline {
            name,
            display_name,
            description: text("description"),
            namespace: self.named(text("namespace")),
            tags: self.tags(&asked)?.unwrap_or_default(),
            ..Pipeline::default()
        };
        let id = self
            .add_pipeline(pipeline)
            .map_err(|refusal| refusal.within("Failed to create a pipeline due to server error"))?;
        let plain = text("name").is_empty() && !text("description").is_empty();
        if plain && self.broken("pipeline/is-created-empty") {
            self.add_version(Version {
                pipeline: id.clone(),
                name: "first".to_owned(),
                ..Version::default()
            })?;
        }
        self.get_pipeline(&id)
    }

    /// Keeps a pipeline and gives its id.
    pub(super) fn add_pipeline(&self, mut pipeline: Pipeline) -> Result<String, Refusal> {
        if pipeline.name.is_empty() && self.broken("pipeline/requires-name") {
            pipeline.name = format!("unnamed-{}", self.uid());
        }
        if self.broken("pipeline/keeps-display-name") {
            pipeline.name.clone_from(&pipeline.display_name);
        }
        if pipeline.name.is_empty() {
            return Err(Refusal::invalid("name is required"));
        }
        self.with(|db| {
            let name = &pipeline.name;
            let taken = db.pipelines.values().any(|p| p.name == *name && p.namespace == pipeline.namespace);
            if taken && !self.broken("pipeline/refuses-duplicate-name") {
                return Err(Refusal::exists(format!(
                    "Failed to create a new pipeline. The name {name} already exist. Please specify a new name"
                ))
                .within("Failed to create a pipeline in PipelineStore"));
            }
            let id = self.uid();
            let pipeline = Pipeline {
                id: id.clone(),
                created: self.now(),
                ..pipeline
            };
            db.pipelines.insert(id.clone(), pipeline);
            Ok(id)
        })
    }

    fn list_pipelines(&self, call: &Call) -> Answer {
        let mut asked = asked(call)?;
        let tags = self.tag_filters(&mut asked)?;
        let namespace = call.pair("namespace");
        self.with(|db| {
            // Without a namespace these are the shared ones.
            let pipelines = db
                .pipelines
                .values()
                .filter(|p| (!self.multi_user || p.namespace == namespace) && has(&p.tags, &tags));
            list::page(pipelines, &asked, &self.faults())
        })
        .map_err(|refusal| {
            refusal.within(&format!(
                "Failed to list pipelines due invalid list options: pageToken: {}, pageSize: {}, sortBy: {}, filter: {}",
                asked.token, asked.size, asked.order, asked.filter
            ))
        })
    }

    /// A pipeline as it is read.
    pub(super) fn get_pipeline(&self, id: &str) -> Answer {
        let (found, versions) = self.with(|db| {
            let versions = db.versions.values().filter(|v| v.pipeline == id).count();
            (db.pipelines.get(id).map(Row::json), versions)
        });
        let mut pipeline = found.ok_or_else(|| {
            Refusal::not_found("Pipeline", id)
                .within(&format!("Failed to get a pipeline with id {id}"))
                .within(&format!("Failed to get a pipeline {id}. Check error stack"))
        })?;
        if versions > 1 && self.broken("pipeline/is-uploaded") {
            forget(&mut pipeline, "description");
        }
        if self.broken("access/shows-namespace") {
            forget(&mut pipeline, "namespace");
        }
        Ok(pipeline)
    }

    fn pipeline_by_name(&self, name: &str, namespace: &str) -> Answer {
        let found = self.with(|db| {
            let found = db
                .pipelines
                .values()
                .find(|p| p.name == name && (namespace.is_empty() || p.namespace == namespace));
            found.map(Row::json)
        });
        if self.broken("pipeline/is-found-by-name") {
            return Ok(found.unwrap_or_else(|| json!({})));
        }
        found.ok_or_else(|| {
            Refusal::not_found("Namespace/Pipeline", &format!("{namespace}/{name}"))
                .within(&format!("Failed to get a pipeline named {name} in namespace {namespace}"))
                .within(&format!(
                    "Failed to get a pipeline with name {name} and namespace {namespace}. Check error stack."
                ))
        })
    }

    fn patch_pipeline(&self, id: &str, call: &Call) -> Answer {
        let asked = message::decode(&call.body, message::PIPELINE)?;
        let tags = self.tags(&asked)?;
        self.with(|db| {
            if let Some(pipeline) = db.pipelines.get_mut(id) {
                if self.broken("pipeline/is-renamed") {
                    pipeline.description = text(&asked, "description");
                }
                let adds = self.broken("pipeline/keeps-tags");
                change(
                    &asked,
                    &mut pipeline.display_name,
                    &mut pipeline.tags,
                    tags,
                    adds,
                );
            }
        });
        self.get_pipeline(id)
    }

    fn delete_pipeline(&self, id: &str, cascade: bool) -> Answer {
        let task = format!("Failed to delete pipeline {id}. Check error stack");
        self.with(|db| {
            if !db.pipelines.contains_key(id) {
                return Err(Refusal::not_found("Pipeline", id)
                    .within(&format!("Failed to delete pipeline with id {id} as it was not found"))
                    .within(&task));
            }
            let version = db.versions.values().find(|version| version.pipeline == id);
            let cascade = cascade && !self.broken("pipeline/is-deleted-with-versions");
            if let Some(version) = version
                && !cascade
                && !self.broken("pipeline/is-not-deleted-with-versions")
            {
                let said = format!(
                    "Failed to delete pipeline with id {id} as it has existing pipeline versions (e.g. {}). Set cascade=true to delete all versions",
                    version.id
                );
                return Err(Refusal::invalid(said).within(&task));
            }
            if !self.broken("pipeline/is-deleted-with-versions:orphan") {
                db.versions.retain(|_, version| version.pipeline != id);
            }
            db.pipelines.remove(id);
            Ok(json!({}))
        })
    }

    // Versions.

    /// Only by URL, which nobody may be asked to fetch.
    fn create_version(call: &Call) -> Answer {
        let asked = message::decode(&call.body, message::VERSION)?;
        let why = if asked.contains_key("package_url") {
            "Failed to create a pipeline version. Parent pipeline id is empty"
        } else {
            "Failed to create a pipeline version. Package URL is nil"
        };
        Err(Refusal::invalid(why))
    }

    /// Keeps a version and gives its id.
    pub(super) fn add_version(&self, version: Version) -> Result<String, Refusal> {
        self.with(|db| {
            let known = db.pipelines.contains_key(&version.pipeline);
            if !known && !self.broken("version/refuses-unknown-pipeline") {
                return Err(Refusal::not_found("Pipeline", &version.pipeline));
            }
            let name = &version.name;
            let taken = db.versions.values().any(|v| v.pipeline == version.pipeline && v.name == *name);
            if taken && !self.broken("version/refuses-duplicate-name") {
                return Err(Refusal::exists(format!(
                    "Failed to create a new pipeline version. The name {name} already exist. Please specify a new name"
                )));
            }
            let id = self.uid();
            let version = Version {
                id: id.clone(),
                created: self.now(),
                ..version
            };
            db.versions.insert(id.clone(), version);
            Ok(id)
        })
    }

    fn list_versions(&self, pipeline: &str, call: &Call) -> Answer {
        let mut asked = asked(call)?;
        let tags = self.tag_filters(&mut asked)?;
        self.with(|db| {
            if !db.pipelines.contains_key(pipeline) {
                return Err(Refusal::not_found("Pipeline", pipeline)
                    .within(&format!("Failed to get a pipeline with id {pipeline}"))
                    .within(&format!("Failed to get namespace for pipeline id {pipeline}"))
                    .within(&format!(
                        "Failed to list pipeline versions due to error fetching the namespace for pipeline {pipeline}"
                    ))
                    .within(&format!("Failed to list pipeline versions for pipeline {pipeline}")));
            }
            let versions = db
                .versions
                .values()
                .filter(|version| version.pipeline == pipeline && has(&version.tags, &tags));
            list::page(versions, &asked, &self.faults())
                .map_err(|refusal| refusal.within("Failed to list pipeline versions due to invalid list options"))
        })
    }

    /// A version as it is read; its pipeline's id is not looked at.
    pub(super) fn get_version(&self, id: &str) -> Answer {
        let (found, is_further) = self.with(|db| {
            let found = db.versions.get(id);
            let is_further = found.is_some_and(|found| {
                let mut versions = db.versions.values();
                versions.any(|v| v.pipeline == found.pipeline && v.id != found.id)
            });
            (found.map(Row::json), is_further)
        });
        let mut version = found.ok_or_else(|| {
            Refusal::not_found("PipelineVersion", id)
                .within(&format!("Failed to get a pipeline version with id {id}"))
                .within(&format!("Failed to get a pipeline version {id}"))
        })?;
        if is_further && self.broken("version/is-added") {
            version["display_name"] = version["pipeline_version_id"].clone();
        }
        Ok(version)
    }

    fn patch_version(&self, id: &str, call: &Call) -> Answer {
        let mut asked = message::decode(&call.body, message::VERSION)?;
        let tags = self.tags(&asked)?;
        if self.broken("version/is-renamed") {
            asked.shift_remove("display_name");
        }
        self.with(|db| {
            if let Some(version) = db.versions.get_mut(id) {
                let adds = self.broken("version/keeps-tags");
                change(
                    &asked,
                    &mut version.display_name,
                    &mut version.tags,
                    tags,
                    adds,
                );
            }
        });
        self.get_version(id)
    }

    fn delete_version(&self, pipeline: &str, id: &str) -> Answer {
        self.with(|db| {
            let Some(version) = db.versions.remove(id) else {
                return Err(Refusal::not_found("PipelineVersion", id)
                    .within(&format!("Failed to delete pipeline version with id {id} as it was not found"))
                    .within(&format!(
                        "Failed to delete a pipeline version id {id} under pipeline id {pipeline}. Check error stack"
                    )));
            };
            if self.broken("version/is-deleted-alone") {
                db.versions.retain(|_, other| other.pipeline != version.pipeline);
            }
            Ok(json!({}))
        })
    }

    // Tags.

    /// The tags that a message gives, if it does.
    fn tags(&self, asked: &Map<String, Value>) -> Result<Option<Map<String, Value>>, Refusal> {
        let Some(tags) = asked.get("tags").and_then(Value::as_object) else {
            return Ok(None);
        };
        if tags.len() > MOST_TAGS && !self.broken("pipeline/refuses-too-many-tags") {
            return Err(Refusal::invalid(format!(
                "number of tags ({}) exceeds maximum of {MOST_TAGS} per entity",
                tags.len()
            )));
        }
        for (key, value) in tags {
            if key.is_empty() {
                return Err(Refusal::invalid("tag key cannot be empty"));
            }
            if key.contains('.') {
                let said = format!("tag key {key:?} must not contain '.' character");
                return Err(Refusal::invalid(said));
            }
            if !value.is_string() {
                let said = format!("invalid value for string field value: {value}");
                return Err(Refusal::gateway(code::INVALID_ARGUMENT, said));
            }
        }
        Ok(Some(tags.clone()))
    }

    /// Takes the predicates on tags out of a filter.
    fn tag_filters(&self, asked: &mut Asked) -> Result<Vec<(String, Value)>, Refusal> {
        let mut filter: Value = serde_json::from_str(&asked.filter).unwrap_or_default();
        let Some(predicates) = filter["predicates"].as_array_mut() else {
            return Ok(Vec::new());
        };
        let mut tags = Vec::new();
        let mut rest = Vec::new();
        for predicate in std::mem::take(predicates) {
            let key = predicate["key"].as_str().unwrap_or_default();
            let Some(key) = key.strip_prefix("tags.") else {
                rest.push(predicate);
                continue;
            };
            if predicate["operation"] != "EQUALS" {
                return Err(Refusal::invalid(format!(
                    "only EQUALS operation is supported for tag filtering, got {} for key \"tags.{key}\"",
                    predicate["operation"].as_str().unwrap_or_default()
                )));
            }
            let value = ["string_value", "stringValue"].map(|key| predicate[key].clone());
            let value = value.into_iter().find(Value::is_string).unwrap_or_default();
            if !self.broken("pipeline/is-found-by-tag") {
                tags.push((key.to_owned(), value));
            }
        }
        if rest.is_empty() {
            asked.filter.clear();
        } else {
            *predicates = rest;
            asked.filter = filter.to_string();
        }
        Ok(tags)
    }

    // Where things belong.

    /// The namespace that a request names: it counts where there are many users.
    fn named(&self, namespace: String) -> String {
        if self.multi_user {
            namespace
        } else {
            String::new()
        }
    }

    /// Whether something of a namespace is in the list of another; in all lists where there is one user, and of those
    /// that name none.
    pub(super) fn is_within(&self, namespace: &str, asked: &str) -> bool {
        !self.multi_user || asked.is_empty() || namespace == asked
    }

    /// Where the runs of an experiment are executed.
    pub(super) fn namespace_of_experiment(&self, experiment: &str) -> String {
        if !self.multi_user {
            return super::NAMESPACE.to_owned();
        }
        self.with(|db| {
            let experiment = db.experiments.get(experiment);
            experiment.map(|e| e.namespace.clone()).unwrap_or_default()
        })
    }

    /// The service account of a run: the one asked for, or the default one.
    pub(super) fn account(&self, asked: String) -> String {
        let default = if self.multi_user {
            "default-editor"
        } else {
            "pipeline-runner"
        };
        Some(asked)
            .filter(|account| !account.is_empty() && !self.broken("run/keeps-service-account"))
            .unwrap_or_else(|| default.to_owned())
    }

    // Runs.

    fn create_run(self: &Arc<Self>, call: &Call) -> Answer {
        let asked = if self.broken("run/refuses-two-pipelines") {
            message::decode_any(&call.body, message::RUN)?
        } else {
            message::decode(&call.body, message::RUN)?
        };
        let text = |key: &str| text(&asked, key);
        let mut name = text("display_name");
        if name.is_empty() && self.broken("run/requires-name") {
            "unnamed".clone_into(&mut name);
        }
        if name.is_empty() {
            return Err(Refusal::invalid("Run name cannot be empty")
                .internal("Failed to convert a API run detail to its internal representation")
                .within("CreateJob(job.ToV2())Failed to create a run due to conversion error"));
        }
        let creating = |refusal: Refusal| refusal.within("Failed to create a new run");
        let experiment = self
            .experiment_of(&text("experiment_id"))
            .map_err(|refusal| {
                creating(refusal.within(
                    "Failed to create a run due to invalid experimentId and namespace combination",
                ))
            })?;
        let (source, spec) = self.source(&asked).map_err(|refusal| {
            creating(refusal.internal("Failed to create a run due to error fetching manifest"))
        })?;
        let given = asked
            .get("runtime_config")
            .map(|config| config["parameters"].clone());
        let given = given
            .as_ref()
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        template::check_parameters(template::pipeline(&spec), &given, &self.faults()).map_err(
            |refusal| {
                creating(
                    refusal
                        .within("invalid pipeline job inputs")
                        .within("Failed to generate the ExecutionSpec"),
                )
            },
        )?;
        if let Some(pipeline) = source
            .get("pipeline_version_reference")
            .and_then(|of| of["pipeline_id"].as_str())
        {
            self.admit_pipeline(&call.caller, pipeline)?;
        }
        let now = self.now();
        let run = Run {
            id: self.uid(),
            namespace: self.namespace_of_experiment(&experiment),
            experiment,
            name,
            description: text("description"),
            created: now,
            scheduled: now,
            states: vec![(now, "PENDING")],
            source,
            spec,
            runtime_config: asked.get("runtime_config").cloned().unwrap_or_default(),
            service_account: self.account(text("service_account")),
            ..Run::default()
        };
        let answer = run.json();
        self.start(run);
        Ok(answer)
    }

    /// Keeps a run and executes it.
    pub(super) fn start(self: &Arc<Self>, run: Run) {
        let id = run.id.clone();
        self.with(|db| {
            if let Some(experiment) = db.experiments.get_mut(&run.experiment)
                && !self.broken("experiment/knows-its-last-run")
            {
                experiment.last_run = run.created;
            }
            db.runs.insert(id.clone(), run);
        });
        self.execute(&id);
    }

    fn execute(self: &Arc<Self>, id: &str) {
        let (stopper, stop) = workload::Stop::new();
        self.running().insert(id.to_owned(), stopper);
        self.world()
            .spawn(engine::execute(self.clone(), id.to_owned(), stop));
    }

    /// The experiment of an id, or the default one.
    pub(super) fn experiment_of(&self, id: &str) -> Result<String, Refusal> {
        self.with(|db| {
            if id.is_empty() && self.broken("run/belongs-to-experiment") {
                return Ok(String::new());
            }
            if id.is_empty() {
                let default = db
                    .experiments
                    .values()
                    .find(|e| e.name == DEFAULT_EXPERIMENT);
                return Ok(default.map(|e| e.id.clone()).unwrap_or_default());
            }
            if db.experiments.contains_key(id) {
                return Ok(id.to_owned());
            }
            Err(Refusal::not_found("Experiment", id)
                .within(&format!("Failed to fetch namespace from experiment {id}"))
                .within(&format!("Failed to fetch namespace for experiment {id}")))
        })
    }

    /// Where the pipeline of a run comes from, as it is shown, and the pipeline.
    pub(super) fn source(
        &self,
        asked: &Map<String, Value>,
    ) -> Result<(Map<String, Value>, Value), Refusal> {
        if let Some(spec) = asked.get("pipeline_spec") {
            if let Err(why) = template::validate(template::pipeline(spec)) {
                return Err(Refusal::gateway(
                    code::INVALID_ARGUMENT,
                    format!(
                        "Failed to fetch a template with an invalid pipeline spec manifest: InvalidInputError: {why}: pipeline spec is invalid"
                    ),
                ));
            }
            let source = Map::from_iter([("pipeline_spec".to_owned(), spec.clone())]);
            return Ok((source, spec.clone()));
        }
        let reference = asked
            .get("pipeline_version_reference")
            .cloned()
            .unwrap_or_default();
        let mut version = reference["pipeline_version_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if version.is_empty() {
            version = text(asked, "pipeline_version_id");
        }
        let pipeline = reference["pipeline_id"].as_str().unwrap_or_default();
        if version.is_empty() && pipeline.is_empty() {
            if self.broken("run/refuses-no-pipeline") {
                return Ok((Map::new(), Value::Null));
            }
            return Err(Refusal::invalid(
                "Failed to fetch a template with an empty pipeline spec manifest",
            ));
        }
        let fetching = |refusal: Refusal, what: &str| {
            refusal
                .within(&format!(
                    "Failed to fetch a pipeline version and its manifest from {what}"
                ))
                .within("Failed to fetch a template due to error retrieving pipeline version")
        };
        let found = self.with(|db| {
            let latest = |pipeline: &str| {
                let versions = db.versions.values().filter(|v| v.pipeline == pipeline);
                let by_age = |v: &&Version| (v.created, v.id.clone());
                if self.broken("run/takes-latest-version") {
                    versions.min_by_key(by_age).cloned()
                } else {
                    versions.max_by_key(by_age).cloned()
                }
            };
            if !version.is_empty() {
                let task = format!("Failed to get a pipeline version with id {version}");
                let found = db.versions.get(&version).cloned();
                let found = match found {
                    Some(found) if self.broken("run/by-reference-succeeds") => {
                        // The one that is not asked for.
                        let mut others = db
                            .versions
                            .values()
                            .filter(|v| v.pipeline == found.pipeline && v.id != found.id);
                        Some(others.next().unwrap_or(&found).clone())
                    }
                    found => found,
                };
                let found = found.ok_or_else(|| {
                    let refusal = Refusal::not_found("PipelineVersion", &version).within(&task);
                    fetching(refusal, &format!("pipeline version {version}"))
                })?;
                let is_of = pipeline.is_empty() || found.pipeline == pipeline;
                if !is_of && !self.broken("run/refuses-version-of-other-pipeline") {
                    let refusal = Refusal::invalid(format!(
                        "Pipeline version {version} belongs to pipeline {} (not {pipeline})",
                        found.pipeline
                    ));
                    return Err(refusal.within(
                        "Failed to fetch a template due to error retrieving pipeline version",
                    ));
                }
                return Ok(found);
            }
            if !db.pipelines.contains_key(pipeline) {
                let recurs = asked.contains_key("trigger");
                if !recurs && self.broken("run/refuses-unknown-pipeline") {
                    return Ok(Version::default());
                }
                let refusal = Refusal::not_found("Pipeline", pipeline)
                    .within("Failed to get the latest pipeline version as pipeline was not found");
                return Err(fetching(refusal, &format!("pipeline {pipeline}")));
            }
            if self.broken("run/refuses-pipeline-without-versions") {
                return Ok(latest(pipeline).unwrap_or_default());
            }
            latest(pipeline).ok_or_else(|| {
                let refusal = Refusal::not_found("PipelineVersion", pipeline)
                    .within("Failed to get the latest pipeline version for a pipeline");
                fetching(refusal, &format!("pipeline {pipeline}"))
            })
        })?;
        let shown_version = if version.is_empty() {
            found.id.clone()
        } else {
            version.clone()
        };
        let shown_pipeline = if pipeline.is_empty() {
            found.pipeline.as_str()
        } else {
            pipeline
        };
        let shown = json!({"pipeline_id": shown_pipeline, "pipeline_version_id": shown_version});
        Ok((
            Map::from_iter([("pipeline_version_reference".to_owned(), shown)]),
            found.spec,
        ))
    }

    fn list_runs(&self, call: &Call) -> Answer {
        let mut asked = asked(call)?;
        let experiment = call.pair("experiment_id");
        if !experiment.is_empty() && self.broken("list/filters-runs") {
            asked.filter.clear();
        }
        self.with(|db| {
            if !experiment.is_empty() && !db.experiments.contains_key(experiment) {
                return Err(Refusal::not_found("Experiment", experiment)
                    .within(&format!("Failed to fetch namespace from experiment {experiment}"))
                    .within(&format!(
                        "Failed to list runs due to error fetching namespace for experiment {experiment}. Try filtering based on namespace"
                    ))
                    .within("Failed to list runs"));
            }
            let hides = self.broken("run/is-archived-and-restored");
            let scoped = !experiment.is_empty() && !self.broken("list/filters-runs:scope");
            let namespace = call.pair("namespace");
            let runs = db.runs.values().filter(|run| {
                (!scoped || run.experiment == experiment)
                    && !(hides && run.archived)
                    && self.is_within(&run.namespace, namespace)
            });
            list::page(runs, &asked, &self.faults())
                .map_err(|refusal| refusal.within("Failed to create list options"))
        })
    }

    fn get_run(&self, id: &str) -> Answer {
        let found = self.with(|db| db.runs.get(id).map(|run| (run.json(), run.is_final())));
        let (mut run, is_final) =
            found.ok_or_else(|| Self::no_run(id).within("Failed to get a run"))?;
        if self.broken("run/shows-tasks") {
            forget(&mut run, "run_details");
        }
        if is_final
            && self.broken("run/keeps-state-history")
            && let Some(history) = run["state_history"].as_array_mut()
        {
            history.pop();
        }
        Ok(run)
    }

    fn no_run(id: &str) -> Refusal {
        Refusal::not_found("Run", id).within(&format!("Failed to fetch run {id}"))
    }

    fn delete_run(&self, id: &str) -> Answer {
        let known = self.with(|db| {
            if self.broken("run/is-deleted") {
                return db.runs.contains_key(id);
            }
            db.runs.remove(id).is_some()
        });
        if !known {
            return Err(Self::no_run(id)
                .within(&format!("Failed to delete run {id} as it does not exist"))
                .within("Failed to delete a run"));
        }
        self.forget_results(id);
        // With the run its workflow goes.
        self.running().remove(id);
        Ok(json!({}))
    }

    fn archive_run(&self, id: &str, archived: bool) -> Answer {
        self.with(|db| {
            let doing = if archived { "archive" } else { "unarchive" };
            let Some(run) = db.runs.get_mut(id) else {
                return Err(Self::no_run(id).within(&format!("Failed to {doing} a run")));
            };
            let experiment = db.experiments.get(&run.experiment);
            let free = self.broken("run/is-not-restored-in-archived-experiment");
            if !archived && experiment.is_some_and(|e| e.archived) && !free {
                return Err(Refusal {
                    code: code::FAILED_PRECONDITION,
                    message: format!("Failed to unarchive a run: Failed to unarchive run {id} as experiment {} must be unarchived first", run.experiment),
                    said: Some("Unarchive the experiment first to allow the run to be restored".to_owned()),
                    said_as: None,
                });
            }
            run.archived = archived;
            Ok(json!({}))
        })
    }

    fn terminate_run(&self, id: &str) -> Answer {
        let state = self.with(|db| db.runs.get(id).map(Run::is_final));
        let failing = |refusal: Refusal| refusal.within("Failed to terminate a run");
        match state {
            None => Err(failing(Self::no_run(id).within(&format!(
                "Failed to terminate run {id} due to error fetching the run"
            )))),
            Some(true) if self.broken("run/refuses-termination-of-finished") => Ok(json!({})),
            Some(true) => Err(failing(
                Refusal::invalid(format!("Failed to terminate a run {id}. Row not found"))
                    .within(&format!("Failed to terminate run {id}")),
            )),
            Some(false) => {
                self.set_state(id, "CANCELING");
                if let Some(stopper) = self.running().get(id) {
                    stopper.stop();
                }
                Ok(json!({}))
            }
        }
    }

    fn retry_run(self: &Arc<Self>, id: &str) -> Answer {
        let state = self.with(|db| db.runs.get(id).map(Run::state));
        match state {
            None => Err(Self::no_run(id)
                .within(&format!(
                    "Failed to retry run {id} due to error fetching the run"
                ))
                .within("Failed to retry a run")),
            Some("FAILED" | "CANCELED") if self.broken("run/is-retried") => Ok(json!({})),
            Some("FAILED" | "CANCELED") => {
                if self.broken("run/is-retried:all") {
                    self.forget_results(id);
                }
                self.with(|db| {
                    if let Some(run) = db.runs.get_mut(id) {
                        run.finished = 0;
                        run.tasks.clear();
                    }
                });
                self.execute(id);
                Ok(json!({}))
            }
            Some(_) if self.broken("run/refuses-retry-of-succeeded") => Ok(json!({})),
            Some(_) => Err(Refusal {
                code: code::ABORTED,
                message: format!(
                    "Failed to retry a run: Failed to retry run {id}: BadRequestError: Workflow must be Failed/Error to retry: workflow cannot be retried"
                ),
                said: Some("Workflow must be Failed/Error to retry".to_owned()),
                said_as: None,
            }),
        }
    }
}

/// The experiment that runs go to which name none.
pub(super) const DEFAULT_EXPERIMENT: &str = "Default";

pub(super) fn text(map: &Map<String, Value>, key: &str) -> String {
    map.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn forget(object: &mut Value, key: &str) {
    if let Some(map) = object.as_object_mut() {
        map.shift_remove(key);
    }
}

/// What a PATCH may change: nothing else, however much it names. `adds` leaves the tags that it does not name.
fn change(
    asked: &Map<String, Value>,
    display_name: &mut String,
    tags: &mut Map<String, Value>,
    given: Option<Map<String, Value>>,
    adds: bool,
) {
    if let Some(name) = asked.get("display_name").and_then(Value::as_str) {
        name.clone_into(display_name);
    }
    if let Some(given) = given {
        if !adds {
            tags.clear();
        }
        tags.extend(given);
    }
}

/// Whether an object has all of some tags.
fn has(tags: &Map<String, Value>, wanted: &[(String, Value)]) -> bool {
    wanted
        .iter()
        .all(|(key, value)| tags.get(key) == Some(value))
}

/// The query of a list.
pub(super) fn asked(call: &Call) -> Result<Asked, Refusal> {
    let size = call.pair("page_size");
    let size = match size {
        "" => 0,
        text => text.parse::<i64>().map_err(|_| {
            Refusal::gateway(
                code::INVALID_ARGUMENT,
                format!("parsing field \"page_size\": strconv.ParseInt: parsing {text:?}: invalid syntax"),
            )
        })?,
    };
    Ok(Asked {
        token: call.pair("page_token").to_owned(),
        size,
        order: call.pair("sort_by").to_owned(),
        filter: call.pair("filter").to_owned(),
    })
}
