//! What a failed check made, read before it is removed, for whoever looks into the failure.

use serde_json::Value;

use crate::{
    checks::Cx,
    cluster::{
        Endpoint, Exchange, Reply, Request,
        discover::{escape, items, name_of},
        kinds::{EVENT, POD},
        own_name,
    },
};

/// The most objects, and the most pods, that are read.
const MOST: usize = 10;
/// The label by which Pipelines names a pod's run.
const RUN_OF_PIPELINES: &str = "pipeline/runid";

/// Reads each object that a check and its set-ups made, as it is now, the runs that they started, their pods with the end
/// of each log, and the namespace's events. What is read stands in the session; no verdict reads it, so what cannot be
/// had is left out.
pub(super) async fn collect(look: &Cx, made: &[Made]) {
    if made.is_empty() {
        return;
    }
    let again = made.iter().map(|made| made.request.clone());
    look.session.batch(again.take(MOST).collect()).await;

    // A namespace that was configured holds things of others, too.
    let ids: Vec<String> = made.iter().map(|made| made.id.clone()).collect();
    let pods = get(POD.path(look.namespace())).keep({
        let ids = ids.clone();
        move |pod| {
            let run = pod["metadata"]["labels"][RUN_OF_PIPELINES].as_str();
            let own = |id: &String| name_of(pod).starts_with(id) || run == Some(id);
            ids.iter().any(own).then(|| pod.clone()).into()
        }
    });
    let pods = look.session.send(pods).await;
    let pods: Vec<&Value> = pods
        .iter()
        .flat_map(|pods| items(pods.json(), "items"))
        .collect();
    let reads = pods.iter().take(MOST).flat_map(|pod| logs(pod));
    look.session.batch(reads.collect()).await;
    let names: Vec<String> = pods.iter().map(|pod| name_of(pod).to_owned()).collect();
    let whole = look.namespace() == own_name(&look.run.id);
    let events = get(format!("{}?limit=200", EVENT.path(look.namespace()))).keep(move |event| {
        let of = event["involvedObject"]["name"].as_str().unwrap_or_default();
        let own =
            whole || ids.iter().any(|id| of.starts_with(id)) || names.iter().any(|name| name == of);
        own.then(|| event.clone()).into()
    });
    drop(look.session.send(events).await);
}

fn get(path: String) -> Request {
    Request::new(Endpoint::Kubernetes, "GET", path)
}

/// Something that a check or set-up made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// Its name, or its id where a component gave it one.
    id: String,
    /// What reads it.
    request: Request,
}

impl Made {
    /// All that these exchanges made.
    pub(super) fn all(exchanges: &[Exchange]) -> Vec<Self> {
        exchanges.iter().filter_map(Self::of).collect()
    }

    /// Its name, or its id.
    pub(super) fn name(&self) -> &str {
        &self.id
    }

    /// The path that reads it, and that deletes it.
    pub(super) fn path(&self) -> &str {
        &self.request.asked.path
    }

    fn of(exchange: &Exchange) -> Option<Self> {
        let Reply::Answer(answer) = &exchange.reply else {
            return None;
        };
        let asked = &exchange.asked;
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if asked.method != "POST" || !answer.is_success() || query.contains("dryRun") {
            return None;
        }
        let body = answer.json();
        let id = match &asked.to {
            // Only what is kept has a uid: a review or a token has none.
            Endpoint::Kubernetes if !body["metadata"]["uid"].is_null() => {
                body["metadata"]["name"].as_str()?
            }
            Endpoint::Component(_) if path.ends_with("/recurringruns") => {
                body["recurring_run_id"].as_str()?
            }
            Endpoint::Component(_) if path.ends_with("/runs") => body["run_id"].as_str()?,
            _ => return None,
        };
        let mut request = Request::new(asked.to.clone(), "GET", format!("{path}/{}", escape(id)));
        request.asked.identity = asked.identity.clone();
        Some(Self {
            id: id.to_owned(),
            request,
        })
    }
}

/// What reads the end of each log of a pod.
fn logs(pod: &Value) -> Vec<Request> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let path = POD.object_path(namespace, name_of(pod));
    let kinds = ["initContainers", "containers"];
    let containers = kinds.into_iter().flat_map(|kind| items(&pod["spec"], kind));
    let names = containers.filter_map(|container| container["name"].as_str());
    names
        .map(|name| format!("{path}/log?container={}&tailLines=50", escape(name)))
        .map(get)
        .collect()
}
