//! Removes what a run made, and says what is left.

use std::{collections::HashSet, time::Duration};

use serde_json::Value;

use crate::{
    checks::{self, Cx},
    cluster::{
        Endpoint, Kind, RUN_LABEL, Request,
        discover::{escape, items},
        kinds::{
            CLUSTER_SERVING_RUNTIME, CONFIG_MAP, EXPERIMENT, INFERENCE_GRAPH, INFERENCE_SERVICE,
            NAMESPACE, NOTEBOOK, POD, PROFILE, PVC, SERVICE, SERVING_RUNTIME, TRAINED_MODEL,
        },
    },
    outcome::{CouldNotRun, Outcome, Stop},
};

/// The kinds that checks make in a namespace, those that own others first.
const MADE: [Kind; 10] = [
    EXPERIMENT,
    INFERENCE_GRAPH,
    TRAINED_MODEL,
    INFERENCE_SERVICE,
    SERVING_RUNTIME,
    NOTEBOOK,
    POD,
    SERVICE,
    CONFIG_MAP,
    PVC,
];

/// Removes everything that carries the run's label, waits until it is gone, and returns what is left as
/// `Kind/namespace/name`, with why where that is known. `own_namespace`: the namespace itself was made by the run and
/// goes too. One step that is refused keeps no other from being made.
pub async fn clean(cx: &Cx, own_namespace: bool) -> Vec<String> {
    let mut broom = Broom {
        cx,
        left: Vec::new(),
    };
    for component in checks::CLEANUPS {
        if cx.facts().components.contains_key(component.name) {
            match (component.run)(cx).await {
                Ok(more) => broom.left.extend(more),
                Err(stop) => broom.stays(component.name, &stop),
            }
        }
    }
    if own_namespace {
        broom.namespace().await;
    } else {
        broom.objects().await;
    }
    if cx.facts().components.contains_key("kserve") {
        broom.cluster_runtimes().await;
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

    /// Removes the run's own namespace with all that is in it.
    async fn namespace(&mut self) {
        let cx = self.cx;
        let name = cx.namespace();
        let mut told = HashSet::new();
        // Pods first, and without their grace time: what owns them would start it, and it cannot be shortened then.
        let mut pods = stop_pods(cx, &mut told).await;
        for kind in MADE {
            // What may not be listed or deleted goes with the namespace.
            for object in labelled(cx, &kind, name).await.unwrap_or_default() {
                drop(cx.delete(&kind, name_of(&object)).await);
            }
        }
        // A namespace that still holds pods waits for the longest of them.
        let until = cx.now_ms() + 20_000;
        while pods == Ok(false) && cx.now_ms() < until {
            cx.pause(Duration::from_millis(500)).await;
            pods = stop_pods(cx, &mut told).await;
        }
        // A Profile's controller removes its namespace; deleting only the namespace would bring it back.
        let entry = format!("Namespace//{name}");
        if cx.facts().profiles {
            match labelled(cx, &PROFILE, "").await {
                Ok(profiles) => {
                    for profile in profiles {
                        if let Err(stop) = cx.delete(&PROFILE, name_of(&profile)).await {
                            self.stays(&format!("Profile//{}", name_of(&profile)), &stop);
                        }
                    }
                }
                // It is known by name too.
                Err(_) => {
                    if let Err(stop) = cx.delete(&PROFILE, name).await {
                        self.stays(&format!("Profile//{name}"), &stop);
                    }
                }
            }
        }
        if let Err(stop) = cx.delete(&NAMESPACE, name).await {
            self.stays(&entry, &stop);
        } else if let Err(stop) = cx.until_gone(&NAMESPACE, name, "cleanup").await {
            self.stays(&entry, &stop);
        }
    }

    /// Removes the run's objects from a namespace that stays.
    async fn objects(&mut self) {
        let cx = self.cx;
        let mut waiting = Vec::new();
        for kind in MADE {
            match labelled(cx, &kind, cx.namespace()).await {
                Ok(objects) => {
                    waiting.extend(objects.iter().map(|o| (kind, name_of(o).to_owned())));
                }
                Err(stop) => self.stays(&format!("{}/{}/", kind.kind, cx.namespace()), &stop),
            }
        }
        for (kind, name) in &waiting {
            // What could not be deleted shows below as what does not go.
            drop(cx.delete(kind, name).await);
        }
        for (kind, name) in &waiting {
            if let Err(stop) = cx.until_gone(kind, name, "cleanup").await {
                self.stays(&format!("{}/{}/{name}", kind.kind, cx.namespace()), &stop);
            }
        }
    }

    async fn cluster_runtimes(&mut self) {
        let kind = CLUSTER_SERVING_RUNTIME;
        match labelled(self.cx, &kind, "").await {
            Ok(runtimes) => {
                for runtime in runtimes {
                    let name = name_of(&runtime);
                    if let Err(stop) = self.cx.delete(&kind, name).await {
                        self.stays(&format!("{}//{name}", kind.kind), &stop);
                    }
                }
            }
            Err(stop) => self.stays(&format!("{}//", kind.kind), &stop),
        }
    }
}

/// Ends the pods of the run's own namespace that were not told yet; says whether none is left.
async fn stop_pods(cx: &Cx, told: &mut HashSet<String>) -> Outcome<bool> {
    let pods = cx.list(&POD, "").await?;
    let requests = pods
        .iter()
        .filter(|pod| told.insert(pod["metadata"]["uid"].to_string()))
        .map(|pod| {
            let path = format!(
                "{}?gracePeriodSeconds=1",
                POD.object_path(cx.namespace(), name_of(pod))
            );
            Request::new(Endpoint::Kubernetes, "DELETE", path)
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

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
