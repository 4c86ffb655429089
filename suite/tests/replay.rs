//! Evidence is enough: every check of a run comes to the same outcome over its evidence, to the byte.

mod common;

use std::path::Path;

use kfconform::coverage::{Apis, coverage};
use kfconform::engine::{Recording, RunOptions};
use kfconform::report::model::{CheckResult, Outcome, Results};

async fn all_the_same(faults: &[&str]) -> (usize, Vec<String>) {
    let (results, dir) = common::run_reference(faults).await;
    let different = different(&results, dir.path()).await;
    (results.checks.len(), different)
}

/// What the evidence in a result folder does not say again.
async fn different(results: &Results, dir: &Path) -> Vec<String> {
    let recording =
        Recording::read(&dir.join("evidence.tar.gz")).expect("the evidence is readable");
    let replay = recording.replay();
    let mut different = Vec::new();
    for setup in &results.setups {
        if let Err(why) = replay.judge_setup(setup).await {
            different.push(format!("{} ({}): {why}", setup.id, setup.outcome));
        }
    }
    for check in &results.checks {
        if let Err(why) = replay.judge(check).await {
            different.push(format!("{} ({}): {why}", check.id, check.outcome));
        }
    }
    different
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conformant_run_replays() {
    let (results, dir) = common::run_reference(&[]).await;
    let different = different(&results, dir.path()).await;
    assert!(results.checks.len() >= 56);
    assert_eq!(different, Vec::<String>::new());
    coverage_is_current(&results, dir.path());
}

/// What the run exercised is what `specs/coverage/reference.json` says, from which the table in CONFORMANCE.md is made.
fn coverage_is_current(results: &Results, dir: &Path) {
    let recording =
        Recording::read(&dir.join("evidence.tar.gz")).expect("the evidence is readable");
    let coverage = coverage(&Apis::embedded(), results, &recording).summary();
    // A line an API: a change is seen as one.
    let apis: Vec<String> = coverage
        .apis
        .iter()
        .map(|api| serde_json::to_string(api).expect("it is JSON"))
        .collect();
    let text = format!(
        "{{\"apiVersion\":\"{}\",\"kind\":\"{}\",\"apis\":[\n{}\n]}}\n",
        coverage.api_version,
        coverage.kind,
        apis.join(",\n")
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/coverage/reference.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let found = std::fs::read_to_string(&path).expect("it is there");
    assert!(
        found == text,
        "specs/coverage/reference.json is not current; run `UPDATE=1 cargo test --test replay conformant`, then `UPDATE=1 cargo test --lib spec`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_what_builds_on_them_replay() {
    // One fault of each component that makes a set-up or a wait go wrong.
    let faults = common::one_fault_of_each_component();
    let (_, different) = all_the_same(&faults).await;
    assert_eq!(different, Vec::<String>::new());
}

/// Real Kubeflow said it once, and says it to every later version of the checks: a check that asks or reads otherwise than
/// it did when the recording was made has to be recorded anew, see fixtures/README.md.
#[tokio::test]
async fn every_recording_of_real_kubeflow_replays() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings");
    let mut count = 0;
    for entry in std::fs::read_dir(recordings).expect("the recordings") {
        let dir = entry.expect("a recording").path();
        let results = Results::read(&dir.join("results.json")).expect("the results are readable");
        assert_eq!(
            different(&results, &dir).await,
            Vec::<String>::new(),
            "{}",
            dir.display()
        );
        count += results.checks.len();
    }
    assert!(count >= 194, "{count} checks");
}

/// Whoever looks into a failure has what it was about, although the cluster has it no more.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_check_made_is_read_before_it_goes() {
    let failing = [
        ("katib/experiment/reaches-goal", "/experiments/"),
        ("pipelines/run/inline-succeeds", "/apis/v2beta1/runs/"),
    ];
    let faults = failing.map(|(id, _)| id);
    let (results, dir) = common::run_changed(&faults, |options| {
        options.only = faults.map(str::to_owned).to_vec();
    })
    .await;
    let recording =
        Recording::read(&dir.path().join("evidence.tar.gz")).expect("the evidence is readable");
    for (id, object) in failing {
        let check = results.checks.iter().find(|check| check.id == id);
        assert_eq!(
            check.map(|check| check.outcome),
            Some(Outcome::Failed),
            "{id}"
        );
        let evidence = &recording.evidence[&format!("{id}.json")];
        let collected = evidence.collected.iter();
        let collected: Vec<&str> = collected.map(|e| e.asked.path.as_str()).collect();
        for wanted in [object, "/log?container=", "/events?"] {
            let there = collected.iter().any(|path| path.contains(wanted));
            assert!(there, "{id}: no {wanted} in {collected:#?}");
        }
    }
}

/// A run takes no more room on a cluster than what is still to come needs, unless it is to keep what it makes.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_needs_any_more_goes_at_once() {
    let ids = [
        "katib/experiment/counts-trials",
        "katib/experiment/fails-over-budget",
        "kserve/inferenceservice/becomes-ready",
        // Both send to a third service, by an agent that is not of the suite's image.
        "kserve/logger/leaves-answers-alone",
        "kserve/logger/keeps-to-its-mode",
    ];
    for keep in [false, true] {
        let (results, dir) = common::run_changed(&[], |options| {
            options.only = ids.map(str::to_owned).to_vec();
            options.keep = keep;
        })
        .await;
        let passed = |check: &CheckResult| check.outcome == Outcome::Passed;
        assert!(results.checks.iter().all(passed), "{:#?}", results.checks);
        let recording =
            Recording::read(&dir.path().join("evidence.tar.gz")).expect("the evidence is readable");
        let removed = recording.evidence.values().flat_map(|e| &e.removed);
        let removed: Vec<&str> = removed.map(|e| e.asked.path.as_str()).collect();
        if keep {
            assert!(removed.is_empty(), "{removed:#?}");
            continue;
        }
        let objects = removed.iter().filter(|path| !path.contains("/pods"));
        let mut objects: Vec<&str> = objects.filter_map(|path| path.rsplit('-').next()).collect();
        objects.sort_unstable();
        // The last check's are left to the clean-up, whichever it is, and those that have pods of others: an algorithm, an
        // agent.
        let all = ["ready", "sink"];
        let without = |last: &str| all.into_iter().filter(|name| *name != last).collect();
        let possible: [Vec<&str>; 3] = [all.to_vec(), without("ready"), without("sink")];
        assert!(possible.contains(&objects), "{removed:#?}");
    }
}

/// An image that is not there says nothing of the distribution: it is named, and no check fails.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_fails_nothing() {
    let missing =
        |options: &mut RunOptions| "registry.invalid/none:1".clone_into(&mut options.image);
    let (results, dir) = common::run_changed(&[], missing).await;
    let failed: Vec<_> = results
        .checks
        .iter()
        .filter(|c| c.outcome == Outcome::Failed)
        .map(|c| &c.id)
        .collect();
    assert_eq!(failed, Vec::<&String>::new());
    let judge = "katib/experiment/reaches-goal";
    let stopped = results.checks.iter().find(|c| c.id == judge);
    let why = stopped.and_then(|c| c.message.as_deref());
    let why = why.unwrap_or_default();
    assert!(why.contains("registry.invalid/none:1"), "{why}");
    assert_eq!(different(&results, dir.path()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_answer_or_outcome_does_not_survive() {
    let (results, dir) = common::run_reference(&[]).await;
    let recording =
        Recording::read(&dir.path().join("evidence.tar.gz")).expect("the evidence is readable");
    let mut check = results
        .checks
        .iter()
        .find(|c| c.outcome == Outcome::Passed)
        .expect("one passed")
        .clone();
    check.outcome = Outcome::Failed;
    assert!(
        recording
            .replay()
            .judge(&check)
            .await
            .unwrap_err()
            .contains("outcome")
    );

    let mut edited = recording;
    let path = check.evidence.clone().expect("it has evidence").path;
    edited
        .evidence
        .get_mut(&path)
        .expect("it is there")
        .exchanges
        .clear();
    check.outcome = Outcome::Passed;
    assert!(edited.replay().judge(&check).await.is_err());
}
