//! A run in parts: several processes make one run side by side, each some of its checks, and one result comes of it.
//!
//! The parts have one id, one beginning and one namespace. What they make and record bears the number of the part as that
//! of an attempt, as in a run that was gone on with, so that nothing of two parts has one name. Whichever part ends last
//! removes what the run made.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};

use super::{Plan, Planned};
use crate::{
    checks::{Cx, IMAGE, Setup},
    cluster::{
        RUN_LABEL,
        kinds::{NAMESPACE, SERVICE_ACCOUNT},
    },
    outcome::{CouldNotRun, Outcome, Stop},
};

/// Which part of a run a process makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The part's number, from 0.
    pub index: u32,
    /// How many parts there are.
    pub of: u32,
}

/// What a part writes on the run's namespace when its checks are over; its number follows.
const OVER: &str = "conformance.kubeflow.org/part-over-";

/// How long another look is waited for.
const LOOK: Duration = Duration::from_millis(250);

impl Part {
    /// The checks of this part, in the order of the plan.
    pub fn of<'a>(&self, plan: &'a Plan) -> Vec<&'a Planned> {
        let bins = bins(&plan.items, self.of);
        plan.items
            .iter()
            .zip(bins)
            .filter(|(_, bin)| *bin == self.index)
            .map(|(planned, _)| planned)
            .collect()
    }

    fn annotation(self) -> String {
        format!("{OVER}{}", self.index)
    }
}

/// Into how many parts, of `wanted`, a plan can be split: what shares a costly set-up stays together.
pub fn parts(plan: &Plan, wanted: u32) -> u32 {
    let mut groups = groups(&plan.items);
    groups.sort_unstable();
    groups.dedup();
    wanted.clamp(1, u32::try_from(groups.len()).unwrap_or(u32::MAX).max(1))
}

/// The set-ups that keep checks together: all but the one that only sees whether the image runs.
fn shared(planned: &Planned) -> Vec<&'static Setup> {
    fn add(setup: &'static Setup, all: &mut Vec<&'static Setup>) {
        if setup.id != IMAGE.id && !all.iter().any(|known| known.id == setup.id) {
            all.push(setup);
            for need in setup.needs {
                add(need, all);
            }
        }
    }
    let mut all = Vec::new();
    for need in planned.check.needs {
        add(need, &mut all);
    }
    all
}

/// The group of each check: the place of the first check with which it shares a set-up, directly or through others.
fn groups(items: &[Planned]) -> Vec<usize> {
    fn find(parent: &mut [usize], mut at: usize) -> usize {
        while parent[at] != at {
            parent[at] = parent[parent[at]];
            at = parent[at];
        }
        at
    }
    let mut parent: Vec<usize> = (0..items.len()).collect();
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (place, planned) in items.iter().enumerate() {
        for setup in shared(planned) {
            let other = *first.entry(setup.id).or_insert(place);
            let (a, b) = (find(&mut parent, place), find(&mut parent, other));
            let (low, high) = (a.min(b), a.max(b));
            parent[high] = low;
        }
    }
    (0..items.len())
        .map(|place| find(&mut parent, place))
        .collect()
}

/// The part of each check. The heaviest groups are dealt out first, each to the part that has least to do.
fn bins(items: &[Planned], of: u32) -> Vec<u32> {
    let groups = groups(items);
    let mut weights: HashMap<usize, u64> = HashMap::new();
    let mut counted: HashMap<usize, Vec<&str>> = HashMap::new();
    for (planned, group) in items.iter().zip(&groups) {
        let weight = weights.entry(*group).or_default();
        *weight += 1;
        let counted = counted.entry(*group).or_default();
        for setup in shared(planned) {
            if !counted.contains(&setup.id) {
                counted.push(setup.id);
                *weight += 2 + setup.limit.as_secs() / 60;
            }
        }
    }
    let mut order: Vec<(u64, usize)> = weights
        .into_iter()
        .map(|(group, weight)| (weight, group))
        .collect();
    order.sort_by_key(|(weight, group)| (std::cmp::Reverse(*weight), *group));
    let mut load = vec![0_u64; of.max(1) as usize];
    let mut bin: HashMap<usize, u32> = HashMap::new();
    for (weight, group) in order {
        let least = (0..load.len())
            .min_by_key(|part| load[*part])
            .unwrap_or_default();
        load[least] += weight;
        bin.insert(group, u32::try_from(least).unwrap_or_default());
    }
    groups.iter().map(|group| bin[group]).collect()
}

/// Waits until the first part has made the run's namespace, or for as long as that may take. It is not recorded: `look` is a
/// session of its own.
pub(super) async fn until_ready(look: &Cx, part: Part, configured: bool) {
    if part.index == 0 || configured {
        return;
    }
    let limit = look.run.timeout("namespace") * 2;
    let until = look
        .now_ms()
        .saturating_add(crate::cluster::session::millis(limit));
    while !is_ready(look).await && look.now_ms() < until {
        look.pause(LOOK).await;
    }
}

/// Whether pods can be made in the namespace that the first part made.
async fn is_ready(look: &Cx) -> bool {
    let account = if look.facts().profiles {
        "default-editor"
    } else {
        "default"
    };
    let labelled = |found: &Value| found["metadata"]["labels"][RUN_LABEL] == look.run.id.as_str();
    matches!(look.get(&NAMESPACE, look.namespace()).await, Ok(Some(found)) if labelled(&found))
        && matches!(look.get(&SERVICE_ACCOUNT, account).await, Ok(Some(_)))
}

/// Says that a part's checks are over, and whether those of every other part are, too: then this one removes what the run
/// made. Of two that end at once, the Kubernetes API lets one be the later.
pub(super) async fn is_last(look: &Cx, part: Part) -> Outcome<bool> {
    let mark = json!({"metadata": {"annotations": {part.annotation(): "true"}}});
    look.patch(&NAMESPACE, look.namespace(), &mark).await?;
    let found = look.get(&NAMESPACE, look.namespace()).await?;
    let found = found.ok_or_else(|| {
        Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            "the run's namespace is gone before its end".to_owned(),
        )
    })?;
    let annotations = &found["metadata"]["annotations"];
    let over = |index: u32| !annotations[Part { index, of: part.of }.annotation()].is_null();
    Ok((0..part.of).all(over))
}

/// Takes from a namespace that stays what the parts wrote on it.
pub(super) async fn unmark(look: &Cx, part: Part) -> Outcome {
    let none: serde_json::Map<String, Value> = (0..part.of)
        .map(|index| (Part { index, of: part.of }.annotation(), Value::Null))
        .collect();
    let none = json!({"metadata": {"annotations": none}});
    look.patch(&NAMESPACE, look.namespace(), &none).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Specs;

    fn plan() -> Plan {
        let specs = Specs::embedded();
        let profile = specs.profile("all").unwrap();
        Plan::new(specs, profile, &specs.latest_release().name, &[], &[]).unwrap()
    }

    #[test]
    fn every_check_is_in_one_part_and_shared_set_ups_stay_together() {
        let plan = plan();
        for of in [1, 2, 4, 7] {
            let mut all = Vec::new();
            let mut of_setup: HashMap<&str, u32> = HashMap::new();
            for index in 0..of {
                let mine = Part { index, of }.of(&plan);
                assert!(!mine.is_empty(), "part {index} of {of} has nothing to do");
                for planned in mine {
                    all.push(planned.requirement.id.clone());
                    for setup in shared(planned) {
                        assert_eq!(
                            *of_setup.entry(setup.id).or_insert(index),
                            index,
                            "{}",
                            setup.id
                        );
                    }
                }
            }
            all.sort();
            let mut ids = plan.ids();
            ids.sort();
            assert_eq!(all, ids, "{of} parts");
        }
    }

    #[test]
    fn no_more_parts_than_there_are_groups() {
        let mut plan = plan();
        plan.items.truncate(1);
        assert_eq!(parts(&plan, 4), 1);
        plan.items.clear();
        assert_eq!(parts(&plan, 4), 1);
        assert_eq!(parts(&self::plan(), 4), 4);
    }
}
