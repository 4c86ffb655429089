//! Removes what a run made, and says what is left.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{future::join_all, join};
use serde_json::{Value, json};

use crate::{
    checks::{self, Cx, RunContext, Timeouts},
    clock::Clock,
    cluster::{
        Config, ConnectError, Door, Endpoint, Facts, Kind, RUN_LABEL, Request, Session, Target,
        discover::{self, escape, items, name_of},
        door::DoorOptions,
        kinds::{
            CLAIM, CLUSTER_SERVING_RUNTIME, EXPERIMENT, INFERENCE_GRAPH, INFERENCE_SERVICE,
            NAMESPACE, NOTEBOOK, PIPELINE, PIPELINE_VERSION, POD, POD_DEFAULT, PROFILE,
            SCHEDULED_SPARK_APPLICATION, SERVICE, SERVING_RUNTIME, SPARK_APPLICATION, TRAIN_JOB,
            TRAINED_MODEL, TRAINING_RUNTIME,
        },
    },
    outcome::{CouldNotRun, Outcome, Stop},
};

/// The kinds that checks make in a namespace and that own others.
const OWNERS: [Kind; 5] = [
    EXPERIMENT,
    INFERENCE_GRAPH,
    TRAINED_MODEL,
    INFERENCE_SERVICE,
    NOTEBOOK,
];

/// The kinds that checks make in a namespace and that own nothing.
const OTHERS: [Kind; 5] = [SERVING_RUNTIME, POD, POD_DEFAULT, CLAIM, SERVICE];

/// The kinds of optional components and features, which are looked for only where these were found.
const OPTIONAL: [(&str, Kind); 6] = [
    ("kubernetes-store", PIPELINE_VERSION),
    ("kubernetes-store", PIPELINE),
    ("trainer", TRAIN_JOB),
    ("trainer", TRAINING_RUNTIME),
    ("spark", SCHEDULED_SPARK_APPLICATION),
    ("spark", SPARK_APPLICATION),
];

/// The kinds that checks may have made in a namespace of this cluster and that own others.
fn owners(cx: &Cx) -> impl Iterator<Item = Kind> {
    let facts = cx.facts();
    let found = OPTIONAL
        .into_iter()
        .filter(|(what, _)| facts.components.contains_key(*what) || facts.has(what));
    found.map(|(_, kind)| kind).chain(OWNERS)
}

/// Removes what a run left on a cluster that nobody is connected to yet, and returns what stays. The error says why nothing
/// could be looked at.
pub async fn remove(
    target: &Target,
    config: &Config,
    run: &str,
) -> Result<Vec<String>, RemoveError> {
    let options = DoorOptions {
        run: run.to_owned(),
        clock: Clock::wall(),
        offset: Duration::ZERO,
        request_timeout: Timeouts::default().get("request"),
    };
    let door = Arc::new(Door::connect(target, config, options).await?);
    let session = Session::live(
        Arc::clone(&door),
        "run/discovery",
        1,
        Duration::from_secs(60),
    );
    let facts = Facts::discover(&session, config).await.map_err(|stop| {
        let (what, mend) = discover::no_look(door.server(), &stop);
        RemoveError::Cluster(format!("{what}; nothing was removed; {mend}"))
    })?;
    let context = RunContext {
        id: run.to_owned(),
        namespace: config
            .namespace
            .clone()
            .unwrap_or_else(|| super::own_namespace_of(run)),
        facts,
        ..RunContext::default()
    };
    let session = Session::live(door, "run/cleanup", 1, Duration::from_secs(600));
    let cx = Cx::new(session, Arc::new(context), BTreeMap::new());
    Ok(clean(&cx, config.namespace.is_none()).await)
}

/// Why nothing could be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// No client can be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster cannot be looked at.
    #[error("{0}")]
    Cluster(String),
}

/// Removes everything that carries the run's label, waits until it is gone, and returns what is left as
/// `Kind/namespace/name`, with why where that is known. `own_namespace`: the namespace itself was made by the run and
/// goes too. One step that is refused keeps no other from being made.
pub async fn clean(cx: &Cx, own_namespace: bool) -> Vec<String> {
    let mut broom = Broom {
        cx,
        left: Vec::new(),
    };
    broom.components(true).await;
    if own_namespace {
        broom.namespace().await;
    } else {
        broom.components(false).await;
        broom.objects().await;
    }
    if cx.facts().components.contains_key("kserve") {
        broom.remove(&CLUSTER_SERVING_RUNTIME, "").await;
    }
    broom.left
}

/// One clean-up on its way.
struct Broom<'a> {
    cx: &'a Cx,
    left: Vec<String>,
}

impl Broom<'_> {
    fn stays(&mut self, what: &str, why: &Stop) {
        let entry = format!("{what}: {}", why.message());
        // One reason often keeps many steps from being made; it is said once.
        if !self.left.iter().any(|l| l.ends_with(why.message())) {
            self.left.push(entry);
        }
    }

    /// The clean-ups of the components that were found: those that speak as an account of the namespace, or the others.
    async fn components(&mut self, as_namespace: bool) {
        let cx = self.cx;
        let wanted = checks::CLEANUPS.iter().filter(|component| {
            component.as_namespace == as_namespace
                && cx.facts().components.contains_key(component.name)
        });
        let cleaned = wanted.map(|component| async { (component.name, (component.run)(cx).await) });
        for (name, left) in join_all(cleaned).await {
            match left {
                Ok(more) => self.left.extend(more),
                Err(stop) => self.stays(name, &stop),
            }
        }
    }

    /// Removes the run's own namespace with all that is in it. It is deleted first, since it goes slowly: nothing of it
    /// is removed in the first five seconds, but nothing can be made in it any more, so that all else goes meanwhile.
    async fn namespace(&mut self) {
        let cx = self.cx;
        let name = cx.namespace();
        // A Profile's controller removes its namespace; deleting only the namespace would bring it back.
        let entry = format!("Namespace//{name}");
        let mut ours = false;
        if cx.facts().profiles {
            let profiles = self.remove(&PROFILE, name).await;
            ours = profiles.iter().any(|profile| profile == name);
        }
        // Nothing is removed for its name alone: a namespace that bears no label of the run may be somebody's.
        let deleted = match cx.get(&NAMESPACE, name).await {
            Ok(None) => Ok(()),
            Ok(Some(found))
                if ours || found["metadata"]["labels"][RUN_LABEL] == cx.run.id.as_str() =>
            {
                cx.delete(&NAMESPACE, name).await
            }
            Ok(Some(_)) => {
                self.left.push(format!(
                    "{entry}: it bears no label {RUN_LABEL}={}, so it is not the run's and nothing in it was removed",
                    cx.run.id
                ));
                return;
            }
            Err(stop) => Err(stop),
        };
        // KServe's own clean-up deletes these. Two at once that ask for the same cannot be told apart in the evidence.
        let kserve = cx.facts().components.contains_key("kserve");
        let alone: Vec<Kind> = owners(cx)
            .filter(|kind| !kserve || *kind != INFERENCE_SERVICE)
            .collect();
        // Pods go before what owns them, which would start their grace time. What owns nothing goes with the namespace: to
        // delete it one by one would only keep the API server from the rest.
        let mut told = HashSet::new();
        let pods = stop_pods(cx, &mut told).await;
        join!(
            self.components(false),
            // What may not be listed or deleted goes with the namespace.
            join_all(alone.iter().map(|kind| delete_all(cx, kind))),
            async {
                if pods == Ok(false) {
                    until_no_pods(cx, told).await;
                }
            },
        );
        let gone = match deleted {
            Ok(()) => cx.until_gone(&NAMESPACE, name, "cleanup").await,
            refused => refused,
        };
        if let Err(stop) = gone {
            self.stays(&entry, &stop);
        }
    }

    /// Removes the run's objects from a namespace that stays.
    async fn objects(&mut self) {
        let cx = self.cx;
        let mut waiting = Vec::new();
        for kind in owners(cx).chain(OTHERS) {
            match labelled(cx, &kind, cx.namespace()).await {
                Ok(objects) => {
                    waiting.extend(objects.iter().map(|o| (kind, name_of(o).to_owned())));
                }
                Err(stop) => self.stays(&format!("{}/{}/", kind.kind, cx.namespace()), &stop),
            }
        }
        // What could not be deleted shows below as what does not go.
        join_all(waiting.iter().map(|(kind, name)| cx.delete(kind, name))).await;
        for (kind, name) in &waiting {
            if let Err(stop) = cx.until_gone(kind, name, "cleanup").await {
                self.stays(&format!("{}/{}/{name}", kind.kind, cx.namespace()), &stop);
            }
        }
    }

    /// Deletes the run's objects of a kind that stands outside namespaces, or only the one called `expected`, and gives
    /// their names.
    async fn remove(&mut self, kind: &Kind, expected: &str) -> Vec<String> {
        let objects = match labelled(self.cx, kind, "").await {
            Ok(objects) => objects,
            Err(stop) => {
                self.stays(&format!("{}//{expected}", kind.kind), &stop);
                return Vec::new();
            }
        };
        let mut names: Vec<String> = objects.iter().map(|o| name_of(o).to_owned()).collect();
        if !expected.is_empty() {
            // Another Profile is for the platform's own clean-up, which waits for its namespace too.
            names.retain(|name| name == expected);
        }
        for name in &names {
            if let Err(stop) = self.cx.delete(kind, name).await {
                self.stays(&format!("{}//{name}", kind.kind), &stop);
            }
        }
        names
    }
}

/// Deletes the objects of a kind that carry the run's label, as far as that is allowed.
async fn delete_all(cx: &Cx, kind: &Kind) {
    let objects = labelled(cx, kind, cx.namespace()).await.unwrap_or_default();
    join_all(objects.iter().map(|o| cx.delete(kind, name_of(o)))).await;
}

/// Waits until the run's own namespace has no pods: one that still holds some waits for the longest of them.
async fn until_no_pods(cx: &Cx, mut told: HashSet<String>) {
    let until = cx.now_ms().saturating_add(20_000);
    while stop_pods(cx, &mut told).await == Ok(false) && cx.now_ms() < until {
        cx.pause(Duration::from_millis(600)).await;
    }
}

/// Ends the pods of the run's own namespace that were not told yet; says whether none is left.
async fn stop_pods(cx: &Cx, told: &mut HashSet<String>) -> Outcome<bool> {
    let list = Request::new(Endpoint::Kubernetes, "GET", POD.path(cx.namespace()));
    // What they were is in the evidence of what made them.
    let list = list.keep(|pod| {
        let metadata = &pod["metadata"];
        json!({"metadata": {"name": metadata["name"], "uid": metadata["uid"]}})
    });
    let answer = cx.kube(list).await?;
    if !answer.is_success() {
        return Err(Stop::CouldNotRun(
            CouldNotRun::ApiServer,
            format!("the listing of pods: {}", answer.summary()),
        ));
    }
    let pods: Vec<&Value> = items(answer.json(), "items").collect();
    let requests = pods
        .iter()
        .filter(|pod| told.insert(pod["metadata"]["uid"].to_string()))
        .map(|pod| {
            let path = format!(
                "{}?gracePeriodSeconds=1",
                POD.object_path(cx.namespace(), name_of(pod))
            );
            Request::new(Endpoint::Kubernetes, "DELETE", path).keep(|_| Value::Null)
        })
        .collect();
    // One that is gone meanwhile is what we want.
    cx.session.batch(requests).await;
    Ok(pods.is_empty())
}

/// The objects of a kind that carry the run's label; none where the kind is not served.
async fn labelled(cx: &Cx, kind: &Kind, namespace: &str) -> Outcome<Vec<Value>> {
    let selector = escape(&format!("{RUN_LABEL}={}", cx.run.id));
    let path = format!("{}?labelSelector={selector}", kind.path(namespace));
    let answer = cx
        .kube(Request::new(Endpoint::Kubernetes, "GET", path))
        .await?;
    match answer.status {
        200..=299 => Ok(items(answer.json(), "items").cloned().collect()),
        404 => Ok(Vec::new()),
        status => {
            let reason = match status {
                401 | 403 => CouldNotRun::NoPermission,
                _ => CouldNotRun::ApiServer,
            };
            let why = format!("the listing of {}: {}", kind.plural, answer.summary());
            Err(Stop::CouldNotRun(reason, why))
        }
    }
}
