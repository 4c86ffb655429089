//! Evidence is enough: every check of a run comes to the same outcome over its evidence, to the byte.

mod common;

use kfconform::engine::Recording;
use kfconform::report::model::Outcome;

async fn all_the_same(faults: &[&str]) -> (usize, Vec<String>) {
    let (results, dir) = common::run_reference(faults).await;
    let recording =
        Recording::read(&dir.path().join("evidence.tar.gz")).expect("the evidence is readable");
    let mut different = Vec::new();
    for check in &results.checks {
        if let Err(why) = recording.judge(check).await {
            different.push(format!("{} ({}): {why}", check.id, check.outcome));
        }
    }
    (results.checks.len(), different)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conformant_run_replays() {
    let (count, different) = all_the_same(&[]).await;
    assert!(count >= 56, "{count} checks");
    assert_eq!(different, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_what_builds_on_them_replay() {
    // One fault of each component that makes a set-up or a wait go wrong.
    let faults = common::one_fault_of_each_component();
    let (_, different) = all_the_same(&faults).await;
    assert_eq!(different, Vec::<String>::new());
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
    assert!(edited.judge(&check).await.is_err());
}
