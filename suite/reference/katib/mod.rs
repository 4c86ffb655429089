//! Katib as documented, and as Katib 0.19 does it: webhooks, experiments, suggestions, trials, metrics.
//!
//! Trials really run in pods, Katib's collector beside them: it waits for the container that trains, reads what that
//! printed and reports it to a database, from which the observations are made. The algorithms have a Deployment and a
//! Service as upstream, but draw their values here.

mod collector;
mod conditions;
mod database;
mod defaults;
mod early_stopping;
mod experiment;
mod suggestion;
mod template;
mod trial;
mod ui;
mod validation;

use std::{io, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

use self::{collector::Processes, database::Database};
use super::{
    fault::Fault,
    kube::{
        ApiError, Crd, Denied, Operation, Resource, Watch, World,
        resources::{DEPLOYMENTS, JOBS, NAMESPACES, PODS},
    },
};

/// Experiments.
const EXPERIMENTS: Resource = Resource::new("kubeflow.org", "experiments");
/// Suggestions.
const SUGGESTIONS_KIND: Resource = Resource::new("kubeflow.org", "suggestions");
/// Trials.
const TRIALS: Resource = Resource::new("kubeflow.org", "trials");

/// Where Katib lives.
const NAMESPACE: &str = "kubeflow";
/// The version that this is like.
const VERSION: &str = "v0.19.0";
/// What its images begin with.
const IMAGES: &str = "ghcr.io/kubeflow/katib";

/// The label by which a trial and its pods name their experiment.
const EXPERIMENT_LABEL: &str = "katib.kubeflow.org/experiment";
/// The label by which pods name their trial.
const TRIAL_LABEL: &str = "katib.kubeflow.org/trial";
/// The label of namespaces in which Katib works, whose value is then `enabled`.
const INJECTION_LABEL: &str = "katib.kubeflow.org/metrics-collector-injection";

/// The algorithms of `katib-config`, with their images.
const SUGGESTIONS: &[(&str, &str)] = &[
    ("random", "suggestion-hyperopt"),
    ("tpe", "suggestion-hyperopt"),
    ("grid", "suggestion-optuna"),
    ("hyperband", "suggestion-hyperband"),
    ("bayesianoptimization", "suggestion-skopt"),
    ("cmaes", "suggestion-goptuna"),
    ("sobol", "suggestion-goptuna"),
    ("multivariate-tpe", "suggestion-optuna"),
    ("enas", "suggestion-enas"),
    ("darts", "suggestion-darts"),
    ("pbt", "suggestion-pbt"),
];
/// The only early stopping of `katib-config`, with its image.
const EARLY_STOPPING: (&str, &str) = ("medianstop", "earlystopping-medianstop");
/// The collectors of `katib-config`, with their images.
const METRICS_COLLECTORS: &[(&str, &str)] = &[
    ("StdOut", "file-metrics-collector"),
    ("File", "file-metrics-collector"),
    ("TensorFlowEvent", "tfevent-metrics-collector"),
];

/// The ways in which this Katib can be made to deviate.
pub const FAULTS: &[Fault] = &[
    Fault::new("katib/api/kinds", "Suggestions are of another kind"),
    Fault::new(
        "katib/api/status-subresource",
        "Experiments have no status subresource",
    ),
    Fault::new(
        "katib/defaults/parallel-trial-count",
        "parallelTrialCount is 1 by default",
    ),
    Fault::new(
        "katib/defaults/resume-policy",
        "resumePolicy is LongRunning by default",
    ),
    Fault::new(
        "katib/defaults/objective-strategy",
        "an objective to minimize is measured by its latest value",
    ),
    Fault::new(
        "katib/defaults/additional-strategies",
        "additional metrics are measured by their latest value",
    ),
    Fault::new(
        "katib/defaults/stdout-collector",
        "metrics are collected from a file by default",
    ),
    Fault::wide(
        "katib/defaults/file-collector",
        "the metrics file is /tmp/metrics.log by default",
        "trials that write to the documented default are not read",
    ),
    Fault::new(
        "katib/defaults/job-conditions",
        "a successCondition of the user is replaced by the default",
    ),
    Fault::new(
        "katib/defaults/distribution",
        "no distribution is filled in",
    ),
    Fault::new(
        "katib/validation/objective:absent",
        "an Experiment without an objective is accepted",
    ),
    Fault::new(
        "katib/validation/objective:type",
        "an unknown type of objective is accepted",
    ),
    Fault::new(
        "katib/validation/objective:metric",
        "an objective without a metric is accepted",
    ),
    Fault::new(
        "katib/validation/additional-metrics",
        "the objective's metric is accepted as an additional one",
    ),
    Fault::new(
        "katib/validation/algorithm:absent",
        "an Experiment without an algorithm is accepted",
    ),
    Fault::new(
        "katib/validation/algorithm:unknown",
        "an unknown algorithm is accepted",
    ),
    Fault::new(
        "katib/validation/early-stopping",
        "an unknown early stopping is accepted",
    ),
    Fault::new(
        "katib/validation/trial-counts:max",
        "maxTrialCount 0 is accepted",
    ),
    Fault::new(
        "katib/validation/trial-counts:parallel",
        "parallelTrialCount 0 is accepted",
    ),
    Fault::new(
        "katib/validation/trial-counts:failed",
        "maxFailedTrialCount -1 is accepted",
    ),
    Fault::new(
        "katib/validation/parallel-within-max",
        "more parallel trials than trials are accepted",
    ),
    Fault::new(
        "katib/validation/failed-within-max",
        "more failures than trials are accepted",
    ),
    Fault::new(
        "katib/validation/resume-policy",
        "any resumePolicy is accepted",
    ),
    Fault::new(
        "katib/validation/parameters",
        "an Experiment without parameters is accepted",
    ),
    Fault::new(
        "katib/validation/parameter-type",
        "an unknown parameterType is accepted",
    ),
    Fault::new(
        "katib/validation/number-ranges",
        "a number with a list is accepted",
    ),
    Fault::new(
        "katib/validation/number-ranges:bounds",
        "a number without bounds is accepted",
    ),
    Fault::new(
        "katib/validation/lists",
        "a choice with a range is accepted",
    ),
    Fault::new(
        "katib/validation/distribution",
        "an unknown distribution is accepted",
    ),
    Fault::new(
        "katib/validation/trial-template:absent",
        "an Experiment without a trial template is accepted",
    ),
    Fault::new(
        "katib/validation/trial-template:container",
        "a template without primaryContainerName is accepted",
    ),
    Fault::new(
        "katib/validation/trial-template:parameters",
        "a template without trialParameters is accepted",
    ),
    Fault::new(
        "katib/validation/trial-source:none",
        "a template without a source is accepted",
    ),
    Fault::new(
        "katib/validation/trial-source:both",
        "a template with two sources is accepted",
    ),
    Fault::new(
        "katib/validation/trial-source:config-map",
        "a template in a ConfigMap that does not exist is accepted",
    ),
    Fault::new(
        "katib/validation/custom-kinds",
        "a template of another kind without conditions is accepted",
    ),
    Fault::new(
        "katib/validation/trial-parameter-names",
        "two trialParameters of one name are accepted",
    ),
    Fault::new(
        "katib/validation/trial-parameter-names:reference",
        "two trialParameters of one reference are accepted",
    ),
    Fault::new(
        "katib/validation/trial-parameter-use:reference",
        "a reference to no parameter is accepted",
    ),
    Fault::new(
        "katib/validation/trial-parameter-use:unused",
        "a trialParameter that is not used is accepted",
    ),
    Fault::new(
        "katib/validation/trial-parameter-use:undeclared",
        "a placeholder that is not declared is accepted",
    ),
    Fault::new(
        "katib/validation/template-metadata",
        "a template with a name is accepted",
    ),
    Fault::new(
        "katib/validation/job-template",
        "a Job with unknown fields is accepted",
    ),
    Fault::new(
        "katib/validation/collector-kind",
        "an unknown collector is accepted",
    ),
    Fault::new(
        "katib/validation/collector-kind:custom",
        "a custom collector without its container is accepted",
    ),
    Fault::new(
        "katib/validation/file-collector",
        "a metrics file at a relative path is accepted",
    ),
    Fault::new(
        "katib/validation/file-collector:filter",
        "a filter over JSON is accepted",
    ),
    Fault::new(
        "katib/validation/metrics-format",
        "a filter of one group is accepted",
    ),
    Fault::new(
        "katib/validation/metrics-format:compiles",
        "a filter that does not compile is accepted",
    ),
    Fault::new(
        "katib/validation/field-types",
        "fields of wrong types are accepted",
    ),
    Fault::new(
        "katib/validation/name-first-letter",
        "a name that begins with a digit is accepted",
    ),
    Fault::new(
        "katib/validation/name-length",
        "a name of any length is accepted",
    ),
    Fault::new(
        "katib/experiment/reaches-max-trials",
        "an experiment that ran all its trials gives another reason",
    ),
    Fault::new(
        "katib/experiment/counts-trials",
        "one trial too few is listed as succeeded",
    ),
    Fault::new(
        "katib/experiment/names-optimal-trial",
        "the worst trial is named as the optimal one",
    ),
    Fault::new(
        "katib/experiment/stays-in-feasible-space",
        "values are drawn from below the range",
    ),
    Fault::new(
        "katib/experiment/respects-parallelism",
        "one trial too many runs at a time",
    ),
    Fault::new(
        "katib/experiment/never-restarts",
        "a completed experiment may be edited",
    ),
    Fault::new(
        "katib/experiment/reaches-goal",
        "an experiment that reached its goal gives another reason",
    ),
    Fault::new(
        "katib/experiment/reaches-goal:ignored",
        "the goal is not looked at",
    ),
    Fault::new(
        "katib/experiment/fails-over-budget",
        "the first failure ends an experiment",
    ),
    Fault::new(
        "katib/experiment/searches-grid",
        "a grid search forgets what it gave",
    ),
    Fault::new(
        "katib/experiment/restarts",
        "an experiment that is raised again fails",
    ),
    Fault::new(
        "katib/experiment/edits-while-running",
        "the search of a running experiment may be edited",
    ),
    Fault::new(
        "katib/experiment/follows-parallelism",
        "parallelTrialCount may not be edited",
    ),
    Fault::new(
        "katib/experiment/cleans-up",
        "the Suggestion of a deleted experiment stays",
    ),
    Fault::new(
        "katib/trial/belongs-to-experiment",
        "trials are not controlled by their experiment",
    ),
    Fault::new(
        "katib/trial/runs-its-job",
        "Jobs are not controlled by their trial",
    ),
    Fault::new(
        "katib/trial/substitutes-parameters",
        "values are rewritten when they are put in",
    ),
    Fault::new(
        "katib/trial/substitutes-metadata",
        "references to labels become empty",
    ),
    Fault::new(
        "katib/trial/succeeds",
        "a trial that succeeded still says that it runs",
    ),
    Fault::new(
        "katib/trial/observes-metrics",
        "the first value of an objective to minimize counts as the latest one",
    ),
    Fault::new(
        "katib/trial/observes-additional-metrics",
        "additional metrics are not observed",
    ),
    Fault::new(
        "katib/trial/retains-job",
        "Jobs are removed although the template retains them",
    ),
    Fault::new("katib/trial/removes-job", "Jobs are never removed"),
    Fault::new(
        "katib/suggestion/belongs-to-experiment",
        "a Suggestion is not controlled by its experiment",
    ),
    Fault::wide(
        "katib/suggestion/serves",
        "an algorithm has no Service",
        "there is none that could stay for a restart",
    ),
    Fault::new(
        "katib/suggestion/serves:condition",
        "DeploymentReady stays False",
    ),
    Fault::new(
        "katib/suggestion/counts",
        "the Suggestion counts one suggestion too many",
    ),
    Fault::new(
        "katib/suggestion/names-trials",
        "suggestions are renamed when the experiment ends",
    ),
    Fault::new(
        "katib/suggestion/ends-with-experiment",
        "the algorithm of a finished experiment stays",
    ),
    Fault::new(
        "katib/suggestion/stays-for-restarts",
        "the algorithm of a LongRunning experiment goes when it is done again",
    ),
    Fault::new(
        "katib/suggestion/draws-integers",
        "whole numbers are given with a half",
    ),
    Fault::new(
        "katib/suggestion/draws-integers:step",
        "the step of a range is not looked at",
    ),
    Fault::new(
        "katib/suggestion/draws-from-lists",
        "a listed value is given by its place in the list",
    ),
    Fault::new(
        "katib/suggestion/draws-log-uniform",
        "the logarithm is given in place of the value",
    ),
    Fault::new(
        "katib/experiment/measures-by-strategy",
        "a goal is compared with the best value, whatever the strategy says",
    ),
    Fault::new(
        "katib/experiment/counts-unavailable",
        "trials without metrics do not count as failures",
    ),
    Fault::new(
        "katib/trial/reads-config-map",
        "a template of a ConfigMap is used as it stands",
    ),
    Fault::new(
        "katib/trial/evaluates-failure-first",
        "success is looked for first",
    ),
    Fault::new(
        "katib/metrics/reads-text-file",
        "the first line of a file is not read",
    ),
    Fault::new(
        "katib/metrics/reads-json-file",
        "JSON is read as if it were text",
    ),
    Fault::new("katib/metrics/filters", "filters are not looked at"),
    Fault::new(
        "katib/metrics/unavailable",
        "a trial without metrics is said to have failed",
    ),
    Fault::wide(
        "katib/metrics/unavailable:succeeds",
        "a trial without metrics succeeds",
        "its experiment then counts a success",
    ),
    Fault::new(
        "katib/metrics/takes-pushed",
        "what is pushed is not looked at",
    ),
    Fault::new(
        "katib/metrics/takes-pushed:collector",
        "a collector stands beside trials that push",
    ),
    Fault::new(
        "katib/algorithm/tpe",
        "tpe gives values from below the range",
    ),
    Fault::new(
        "katib/algorithm/multivariate-tpe",
        "multivariate-tpe gives values from below the range",
    ),
    Fault::new(
        "katib/algorithm/bayesian-optimization",
        "bayesianoptimization gives values from below the range",
    ),
    Fault::new(
        "katib/algorithm/sobol",
        "sobol gives values from below the range",
    ),
    Fault::new(
        "katib/algorithm/cmaes",
        "cmaes gives values from below the range",
    ),
    Fault::new(
        "katib/algorithm/refuses-settings",
        "cmaes takes a single parameter",
    ),
    Fault::new(
        "katib/database/serves-health",
        "the database manager says that it does not serve",
    ),
    Fault::new(
        "katib/database/keeps-order",
        "measurements come in the order of their reports",
    ),
    Fault::new(
        "katib/database/filters-by-metric",
        "the name of the metric is not looked at",
    ),
    Fault::new(
        "katib/database/filters-by-time",
        "the end of a span of time is not in it",
    ),
    Fault::new(
        "katib/database/filters-by-time:ignored",
        "the end of a span of time is not looked at",
    ),
    Fault::new(
        "katib/database/refuses-bad-times",
        "a time that is none is no bound",
    ),
    Fault::new("katib/database/deletes", "nothing is deleted"),
    Fault::new(
        "katib/database/holds-trial-metrics",
        "the first measurement of a trial is not given",
    ),
    Fault::new(
        "katib/database/forgets-trials",
        "the measurements of a deleted trial stay",
    ),
    Fault::new(
        "katib/ui/lists-experiments",
        "experiments that are done are not listed",
    ),
    Fault::new(
        "katib/ui/keeps-strangers-out",
        "users are answered whatever their rights",
    ),
    Fault::new(
        "katib/ui/creates-experiments",
        "an experiment that a page sends is not created",
    ),
    Fault::new(
        "katib/algorithm/stops-early",
        "rules by which trials are stopped are not looked at",
    ),
];

/// The kind of Suggestions.
fn suggestion_kind(world: &World) -> &'static str {
    if world.has_fault("katib/api/kinds") {
        "Advice"
    } else {
        "Suggestion"
    }
}

/// Writes the status of an Experiment, Suggestion or Trial where it differs from what it was.
async fn write_status(world: &World, was: &Value, object: Value) -> Result<(), ApiError> {
    if was["status"] == object["status"] {
        return Ok(());
    }
    let whole = world.has_fault("katib/api/status-subresource") && object["kind"] == "Experiment";
    if whole {
        world.update(object).await?;
    } else {
        world.update_status(object).await?;
    }
    Ok(())
}

/// Removes a key of an object.
fn drop_key(object: &mut Value, key: &str) {
    if let Some(map) = object.as_object_mut() {
        map.shift_remove(key);
    }
}

/// Puts Katib into a world.
pub fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        let database = Arc::new(Database::default());
        let processes = Arc::new(Processes::default());
        types(world)?;
        objects(world).await.map_err(io::Error::other)?;
        ui::install(world).await?;
        collector::offer(world, &database, &processes);
        webhooks(world);
        collector::webhook(world);
        let watches = vec![
            Watch::on(&EXPERIMENTS),
            Watch::owned(&TRIALS, "Experiment"),
            Watch::labelled(&TRIALS, EXPERIMENT_LABEL),
            Watch::owned(&SUGGESTIONS_KIND, "Experiment"),
            Watch::on(&SUGGESTIONS_KIND),
        ];
        world.controller("experiment-controller", watches, experiment::reconcile);
        let watches = vec![
            Watch::on(&SUGGESTIONS_KIND),
            Watch::owned(&DEPLOYMENTS, suggestion_kind(world)),
        ];
        let logs = database.clone();
        world.controller("suggestion-controller", watches, move |world, key| {
            suggestion::reconcile(world, key, logs.clone())
        });
        let watches = vec![
            Watch::on(&TRIALS),
            Watch::owned(&JOBS, "Trial"),
            // A Job has its trial's name.
            Watch::on(&JOBS),
        ];
        world.controller("trial-controller", watches, move |world, key| {
            trial::reconcile(world, key, database.clone())
        });
        world.controller("collectors", vec![Watch::on(&PODS)], move |world, key| {
            collector::watch(&world, &key, &processes);
            async { Ok(super::kube::Next::Wait) }
        });
        Ok(())
    }
    .boxed()
}

/// The custom resource definitions.
fn types(world: &World) -> io::Result<()> {
    for text in [
        include_str!("../../../fixtures/crds/experiments.kubeflow.org.json"),
        include_str!("../../../fixtures/crds/suggestions.kubeflow.org.json"),
        include_str!("../../../fixtures/crds/trials.kubeflow.org.json"),
    ] {
        let mut crd: Value = serde_json::from_str(text).map_err(io::Error::other)?;
        match crd["spec"]["names"]["plural"].as_str() {
            Some("suggestions") => {
                crd["spec"]["names"]["kind"] = json!(suggestion_kind(world));
            }
            Some("experiments") if world.has_fault("katib/api/status-subresource") => {
                drop_key(&mut crd["spec"]["versions"][0], "subresources");
            }
            _ => {}
        }
        world.install(&Crd::from_value(crd).map_err(io::Error::other)?);
    }
    Ok(())
}

/// What an installation of Katib consists of, as far as a client sees it.
async fn objects(world: &World) -> Result<(), ApiError> {
    world
        .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
        .await?;
    let image = |name: &str| format!("{IMAGES}/{name}:{VERSION}");
    for name in ["katib-controller", "katib-db-manager"] {
        let labels = json!({"katib.kubeflow.org/component": name.trim_start_matches("katib-")});
        let container = json!({"name": name, "image": image(name)});
        let mut program = super::deployment(NAMESPACE, name, &labels, &container);
        if name == "katib-db-manager" {
            program["spec"]["replicas"] = json!(1);
        }
        world.apply(program).await?;
    }
    world
        .apply(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "katib-db-manager", "namespace": NAMESPACE,
                "labels": {"katib.kubeflow.org/component": "db-manager"},
            },
            "spec": {
                "selector": {"katib.kubeflow.org/component": "db-manager"},
                "ports": [{
                    "name": "api", "port": database::PORT, "targetPort": database::PORT, "protocol": "TCP",
                }],
            },
        }))
        .await?;
    let list = |key: &str, entries: &[(&str, &str)]| -> Value {
        let entries = entries.iter();
        entries
            .map(|(name, of)| json!({key: name, "image": image(of)}))
            .collect()
    };
    let config = json!({
        "apiVersion": "config.kubeflow.org/v1beta1",
        "kind": "KatibConfig",
        "runtime": {
            "metricsCollectors": list("kind", METRICS_COLLECTORS),
            "suggestions": list("algorithmName", SUGGESTIONS),
            "earlyStoppings": list("algorithmName", &[EARLY_STOPPING]),
        },
    });
    world
        .apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "katib-config", "namespace": NAMESPACE},
            // JSON is YAML.
            "data": {"katib-config.yaml": config.to_string()},
        }))
        .await?;
    let webhook = |name: &str,
                   path: &str,
                   operations: &[&str],
                   group: &str,
                   version: &str,
                   plural: &str| {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "katib-controller", "namespace": NAMESPACE, "path": path}},
            "rules": [{
                "apiGroups": [group], "apiVersions": [version], "operations": operations, "resources": [plural],
            }],
        })
    };
    let both = ["CREATE", "UPDATE"];
    let experiments =
        |name, path| webhook(name, path, &both, "kubeflow.org", "v1beta1", "experiments");
    for (kind, hooks) in [
        (
            "ValidatingWebhookConfiguration",
            vec![experiments(
                "validator.experiment.katib.kubeflow.org",
                "/validate-experiment",
            )],
        ),
        (
            "MutatingWebhookConfiguration",
            vec![
                experiments(
                    "defaulter.experiment.katib.kubeflow.org",
                    "/mutate-experiment",
                ),
                webhook(
                    "mutator.pod.katib.kubeflow.org",
                    "/mutate-pod",
                    &["CREATE"],
                    "",
                    "v1",
                    "pods",
                ),
            ],
        ),
    ] {
        world
            .apply(json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": {"name": "katib.kubeflow.org"},
                "webhooks": hooks,
            }))
            .await?;
    }
    Ok(())
}

/// What both webhooks of Experiments refuse with.
fn denied(webhook: &str, message: &str) -> Denied {
    Denied::by(
        &format!("{webhook}.experiment.katib.kubeflow.org"),
        400,
        None,
        message,
    )
}

/// The defaulting and the validating webhook.
fn webhooks(world: &World) {
    const OPERATIONS: [Operation; 2] = [Operation::Create, Operation::Update];
    let of = world.clone();
    world.mutating(&EXPERIMENTS, &OPERATIONS, move |request| {
        let mut experiment = request.object;
        let outcome = default(&of, &mut experiment).map(|()| experiment);
        async move { outcome.map_err(|why| denied("defaulter", &why)) }
    });
    let of = world.clone();
    world.validating(&EXPERIMENTS, &OPERATIONS, move |request| {
        let outcome = validate(
            &of,
            &request.namespace,
            &request.object,
            request.old_object.as_deref(),
        );
        async move { outcome.map_err(|why| denied("validator", &why)) }
    });
}

fn default(world: &World, experiment: &mut Value) -> Result<(), String> {
    let template = &experiment["spec"]["trialTemplate"]["trialSpec"];
    if template.is_object() && template["kind"].as_str().unwrap_or_default().is_empty() {
        let shown = self::template::compact(template);
        return Err(format!("Object 'Kind' is missing in '{shown}'"));
    }
    if !world.has_fault("katib/validation/field-types") {
        defaults::decode(&experiment["spec"])?;
    }
    if !experiment["spec"].is_object() {
        experiment["spec"] = json!({});
    }
    defaults::set(world, experiment);
    Ok(())
}

fn validate(
    world: &World,
    namespace: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), String> {
    let found = world.find(&NAMESPACES, "", namespace);
    let enabled = found.is_some_and(|n| n["metadata"]["labels"][INJECTION_LABEL] == "enabled");
    if !enabled {
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        return Err(format!(
            "Cannot create the Experiment {name:?} in namespace {namespace:?}: the namespace lacks label \
             \"{INJECTION_LABEL}: enabled\""
        ));
    }
    if world.has_fault("katib/experiment/follows-parallelism")
        && old.is_some_and(|old| {
            old["spec"]["parallelTrialCount"] != new["spec"]["parallelTrialCount"]
        })
    {
        return Err("spec.parallelTrialCount: Forbidden: is not editable".to_owned());
    }
    validation::experiment(world, new, old)
}

/// The text of a name or label.
fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}
