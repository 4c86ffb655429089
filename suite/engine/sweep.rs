//! Removes what nobody needs any more while a run goes on: it takes no room on the cluster, and the clean-up at the run's
//! end has less to wait for. What stays for whatever reason is for that clean-up, which says so.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::{Planned, collect::Made, plan};
use crate::{
    checks::{Cx, Setup},
    cluster::{
        Endpoint, Kind, Request,
        discover::{escape, items, name_of},
        kinds::{
            CLAIM, EXPERIMENT, INFERENCE_GRAPH, INFERENCE_SERVICE, NOTEBOOK, POD,
            SPARK_APPLICATION, TRAIN_JOB,
        },
    },
};

/// What is removed on the way: the kinds that have pods, with the label by which these name whose they are, and claims, which
/// stay until no pod has them.
const SWEPT: [(Kind, Option<&str>); 7] = [
    (EXPERIMENT, Some("katib.kubeflow.org/experiment")),
    (INFERENCE_GRAPH, Some("serving.kserve.io/inferencegraph")),
    (
        INFERENCE_SERVICE,
        Some("serving.kserve.io/inferenceservice"),
    ),
    (NOTEBOOK, Some("notebook-name")),
    (TRAIN_JOB, Some("jobset.sigs.k8s.io/jobset-name")),
    (SPARK_APPLICATION, Some("sparkoperator.k8s.io/app-name")),
    (CLAIM, None),
];

/// How many checks are still to come, and how many of them build on each set-up.
#[derive(Debug)]
pub(super) struct ToCome(Mutex<(usize, HashMap<&'static str, usize>)>);

impl ToCome {
    pub(super) fn new(wanted: &[Planned]) -> Self {
        let mut users = HashMap::new();
        for planned in wanted {
            for setup in plan::built_on(planned.check.needs) {
                *users.entry(setup.id).or_insert(0) += 1;
            }
        }
        Self(Mutex::new((wanted.len(), users)))
    }

    /// A check is over. Gives the set-ups on which it built and nobody builds any more; nothing, if it was the last: then
    /// all that is left goes at once.
    pub(super) fn over(&self, planned: &Planned) -> Option<Vec<&'static Setup>> {
        let mut to_come = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (checks, users) = &mut *to_come;
        *checks = checks.saturating_sub(1);
        let mut free = plan::built_on(planned.check.needs);
        free.retain(|setup| {
            users.get_mut(setup.id).is_some_and(|left| {
                *left = left.saturating_sub(1);
                *left == 0
            })
        });
        (*checks > 0).then_some(free)
    }
}

/// Removes what of `made` takes room in the run's namespace.
///
/// A pod of the suite's image ends when it is told to. Others may take the whole of their grace, half a minute that the
/// run's end would have to wait for: what has such pods goes now only if the room is `wanted`, and is else left to the
/// clean-up, which can give them less, since nothing makes pods in a namespace that goes.
pub(super) async fn sweep(cx: &Cx, made: &[Made], wanted: bool) {
    let (mut claims, mut owners, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for made in made {
        let is =
            |(kind, _): &&(Kind, _)| made.path() == kind.object_path(cx.namespace(), made.name());
        match SWEPT.iter().find(is) {
            Some((_, Some(label))) => {
                let selector = escape(&format!("{label}={}", made.name()));
                let pods = format!("{}?labelSelector={selector}", POD.path(cx.namespace()));
                owners.push(made.path());
                lists.push(Request::new(Endpoint::Kubernetes, "GET", pods).keep(images_of));
            }
            Some((_, None)) => claims.push(delete(made.path())),
            None => {}
        }
    }
    let lists = cx.session.batch(lists).await;
    let (mut objects, mut ends) = (Vec::new(), Vec::new());
    for (path, list) in owners.into_iter().zip(lists) {
        let Ok(list) = list else { continue };
        let others: Vec<&Value> = items(list.json(), "items")
            .filter(|pod| !is_ours(cx, pod))
            .collect();
        if wanted || others.is_empty() {
            objects.push(delete(path));
            ends.extend(others.into_iter().map(|pod| {
                let path = POD.object_path(cx.namespace(), name_of(pod));
                delete(&format!("{path}?gracePeriodSeconds=1"))
            }));
        }
    }
    objects.extend(claims);
    cx.session.batch(objects).await;
    // Right after their owner, before its end reaches them and gives them their whole grace.
    cx.session.batch(ends).await;
}

/// Whether all containers of a pod are of the suite's image.
fn is_ours(cx: &Cx, pod: &Value) -> bool {
    items(&pod["spec"], "containers").all(|container| container["image"] == cx.run.image.as_str())
}

fn delete(path: &str) -> Request {
    Request::new(Endpoint::Kubernetes, "DELETE", path).keep(|_| Value::Null)
}

/// A pod's name and its images: what else it was is in the evidence of what made it.
fn images_of(pod: &Value) -> Value {
    let images = items(&pod["spec"], "containers").map(|c| json!({"image": c["image"]}));
    json!({
        "metadata": {"name": pod["metadata"]["name"]},
        "spec": {"containers": images.collect::<Vec<_>>()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks, spec::Specs};

    #[test]
    fn a_set_up_is_free_when_the_last_that_builds_on_it_is_over() {
        let planned = |id: &str| Planned {
            requirement: Specs::embedded().requirement(id).unwrap().clone(),
            check: checks::find(id).unwrap(),
        };
        let (first, second) = (
            planned("katib/experiment/counts-trials"),
            planned("katib/experiment/names-optimal-trial"),
        );
        let other = planned("katib/experiment/reaches-goal");
        let to_come = ToCome::new(&[first.clone(), second.clone(), other.clone()]);
        let free = |planned| {
            let setups: Option<Vec<&Setup>> = to_come.over(planned);
            setups.map(|setups| setups.iter().map(|setup| setup.id).collect::<Vec<_>>())
        };
        assert_eq!(free(&first), Some(Vec::new()));
        // The third builds on the suite's image, too.
        assert_eq!(free(&second), Some(vec!["setup/katib/random"]));
        assert_eq!(free(&other), None, "the clean-up does the rest");
    }
}
