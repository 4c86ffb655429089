//! A run in trouble, and what stands against it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc as std_mpsc},
    time::Duration,
};

use kfconform::{
    clock::Clock,
    cluster::RUN_LABEL,
    engine::{self, Interrupt, Recording, RunOptions, own_namespace_of},
    hurry,
    reference::{
        self, Reference, ReferenceOptions,
        kube::{Resource, resources},
    },
    report::model::{Outcome, Results, Verdict},
};
use tokio::sync::{mpsc, watch};

use crate::{
    case::{Case, Dice, Kind},
    common,
};

/// The longest that a run of a few checks may take, of the time that it sees.
const LONGEST: Duration = Duration::from_secs(3 * 3600);
/// The longest on the wall, beyond which it hangs without even waiting.
const LONGEST_ON_THE_WALL: Duration = Duration::from_secs(240);

/// What came of one run.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many requests were struck, or pods lost.
    pub(crate) struck: u32,
    /// The results; none where the cluster could not be looked at.
    pub(crate) results: Option<Results>,
    /// What stands against it.
    pub(crate) wrong: Vec<String>,
}

/// The kinds of objects that are looked for after a run.
fn kinds() -> Vec<Resource> {
    let mut kinds = vec![
        resources::NAMESPACES,
        resources::PODS,
        resources::CONFIG_MAPS,
        resources::SERVICES,
    ];
    for (group, plurals) in [
        (
            "kubeflow.org",
            &["profiles", "notebooks", "poddefaults", "experiments"][..],
        ),
        (
            "serving.kserve.io",
            &[
                "inferenceservices",
                "servingruntimes",
                "clusterservingruntimes",
                "inferencegraphs",
                "trainedmodels",
            ],
        ),
        (
            "trainer.kubeflow.org",
            &["trainjobs", "trainingruntimes", "clustertrainingruntimes"],
        ),
        (
            "sparkoperator.k8s.io",
            &["sparkapplications", "scheduledsparkapplications"],
        ),
    ] {
        kinds.extend(plurals.iter().map(|plural| Resource::new(group, plural)));
    }
    kinds
}

/// What of the run is still in the cluster.
fn left(reference: &Reference, id: &str) -> Vec<String> {
    let namespace = own_namespace_of(id);
    let mut left = Vec::new();
    for kind in kinds() {
        for object in reference.world.list(&kind, None) {
            let metadata = &object["metadata"];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let (space, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
            if metadata["labels"][RUN_LABEL] == id
                || space.starts_with(&namespace)
                || name.starts_with(&namespace)
            {
                left.push(format!("{kind} {space}/{name}"));
            }
        }
    }
    left
}

/// Makes the run of a case.
async fn run(case: Case) -> Seen {
    kfconform::install_crypto();
    let clock = Clock::wall();
    let reference = Reference::start(ReferenceOptions {
        clock: clock.skewed(case.skew),
        faults: case.fault.map(str::to_owned).into_iter().collect(),
        chaos: case.chaos,
        ..ReferenceOptions::default()
    })
    .await
    .expect("the reference starts");
    let out = tempfile::tempdir().expect("a temporary folder");
    let id = format!("c{:07}", case.seed % 10_000_000);
    let options = RunOptions {
        id: id.clone(),
        clock,
        only: case.only.clone(),
        out: Some(out.path().to_owned()),
        ..common::options(&reference)
    };
    let (events, _) = mpsc::unbounded_channel();
    let (_keep, interrupt) = watch::channel(Interrupt::No);
    let work = tokio::time::timeout(LONGEST, engine::run(options, events, interrupt));
    let lost = Arc::new(Mutex::new(0));
    let made = if case.kind == Kind::Eviction {
        let evictions = evict(&reference, &id, case.seed, Arc::clone(&lost));
        tokio::select! {
            made = work => made,
            () = evictions => unreachable!("it goes on as long as the run"),
        }
    } else {
        work.await
    };
    let mut seen = Seen {
        struck: reference.world.struck() + *lost.lock().expect("no panic"),
        ..Seen::default()
    };
    // What goes in the background is given its time.
    tokio::time::sleep(Duration::from_secs(120)).await;
    let left = left(&reference, &id);
    match made {
        Err(_) => seen.wrong.push("it hangs".to_owned()),
        Ok(Err(error)) if error.exit_code() == 3 => {
            if !left.is_empty() {
                seen.wrong
                    .push(format!("left without a result: {}", left.join(", ")));
            }
        }
        Ok(Err(error)) => seen.wrong.push(format!("it blames its caller: {error}")),
        Ok(Ok(results)) => {
            if !left.is_empty() && results.leftovers.is_empty() {
                seen.wrong.push(format!("left unsaid: {}", left.join(", ")));
            }
            seen.wrong.extend(replayed(out.path(), &results).await);
            seen.results = Some(results);
        }
    }
    seen
}

/// What does not come out again over the evidence.
async fn replayed(out: &std::path::Path, results: &Results) -> Vec<String> {
    let recording = match Recording::read(&out.join("evidence.tar.gz")) {
        Ok(recording) => recording,
        Err(error) => return vec![format!("the evidence cannot be read: {error}")],
    };
    let replay = recording.replay();
    let mut wrong = Vec::new();
    for check in &results.checks {
        if let Err(why) = replay.judge(check).await {
            wrong.push(format!("{}: {}", check.id, why));
        }
    }
    wrong
}

/// Loses a few pods of a run, one after the other.
async fn evict(reference: &Reference, id: &str, seed: u64, lost: Arc<Mutex<u32>>) {
    let mut dice = Dice(seed ^ 1);
    let namespace = own_namespace_of(id);
    let mut left = 1 + dice.next(4);
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(100 + dice.next(2000))).await;
        let pods = reference.world.list(&resources::PODS, None);
        let running: Vec<_> = pods
            .iter()
            .filter(|pod| {
                let space = pod["metadata"]["namespace"].as_str().unwrap_or_default();
                space.starts_with(&namespace) && pod["status"]["phase"] == "Running"
            })
            .collect();
        if running.is_empty() {
            continue;
        }
        let pod = &running[dice.next(running.len() as u64) as usize]["metadata"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let (space, name) = (text(&pod["namespace"]), text(&pod["name"]));
        if reference
            .world
            .delete(&resources::PODS, &space, &name)
            .await
            .is_ok()
        {
            *lost.lock().expect("no panic") += 1;
            left -= 1;
        }
    }
    std::future::pending::<()>().await;
}

/// What is wrong with the outcomes, held against those of the same run without trouble.
fn judge(case: &Case, seen: &Seen, calm: &HashMap<String, Outcome>) -> Vec<String> {
    let mut wrong = seen.wrong.clone();
    let Some(results) = &seen.results else {
        return wrong;
    };
    let broken = case.fault.map(reference::requirement_of);
    for check in &results.checks {
        let right = match calm.get(&check.id) {
            Some(Outcome::NotApplicable) => Outcome::NotApplicable,
            _ if broken == Some(check.id.as_str()) => Outcome::Failed,
            _ => Outcome::Passed,
        };
        if check.outcome != right && check.outcome != Outcome::CouldNotRun {
            wrong.push(format!(
                "{} is {} and must be {right} or could-not-run: {}",
                check.id,
                check.outcome,
                check.message.as_deref().unwrap_or_default()
            ));
        }
    }
    if results.checks.len() != case.only.len() {
        wrong.push(format!(
            "{} of {} checks have a result",
            results.checks.len(),
            case.only.len()
        ));
    }
    let all_passed = results
        .checks
        .iter()
        .all(|check| check.outcome.is_settled());
    if results.verdict == Verdict::Conformant && !all_passed {
        wrong.push("it is conformant, and not all passed".to_owned());
    }
    wrong
}

/// Makes a run on a thread of its own; none where it does not come to its end.
fn made(case: &Case) -> Option<Seen> {
    let (sender, receiver) = std_mpsc::channel();
    let case = case.clone();
    std::thread::spawn(move || {
        let seen = hurry::run(|| run(case)).expect("a runtime");
        drop(sender.send(seen));
    });
    receiver.recv_timeout(LONGEST_ON_THE_WALL).ok()
}

/// What comes of a case, and what is wrong with it.
pub(crate) fn tried(case: &Case) -> (Seen, Vec<String>) {
    let hangs = || Seen {
        wrong: vec!["it hangs without waiting".to_owned()],
        ..Seen::default()
    };
    let calm = outcomes(&case.only);
    let seen = made(case).unwrap_or_else(hangs);
    let wrong = judge(case, &seen, &calm);
    (seen, wrong)
}

/// How the checks end on the reference without trouble: each passes, or does not concern it.
fn outcomes(only: &[String]) -> HashMap<String, Outcome> {
    let specs = kfconform::spec::Specs::embedded();
    let release = &specs.latest_release().name;
    let of = |id: &String| {
        let holds = specs.requirement(id).is_some_and(|r| r.holds_for(release));
        let outcome = if holds {
            Outcome::Passed
        } else {
            Outcome::NotApplicable
        };
        (id.clone(), outcome)
    };
    only.iter().map(of).collect()
}
