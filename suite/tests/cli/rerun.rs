//! What did not pass is run again, and nothing of how it came to pass is lost.

use std::{collections::BTreeSet, path::Path};

use kfconform::reference::{Reference, ReferenceOptions};
use serde_json::Value;

use crate::{
    Said, beside, folder,
    hostile::{hostile, refusal},
    program, read, results,
};

const BROKEN: &str = "katib/validation/objective";
const SOUND: &str = "katib/api/kinds";

async fn said(dir: &Path, args: &[&str]) -> Said {
    let mut command = program(dir, args);
    command.env("COSIGN_PASSWORD", "");
    beside(command).await
}

fn check<'a>(results: &'a Value, id: &str) -> &'a Value {
    let mut checks = results["checks"].as_array().into_iter().flatten();
    checks.find(|check| check["id"] == id).expect("it is there")
}

/// The rules that a review finds broken.
async fn refusals(dir: &Path, result: &str) -> BTreeSet<String> {
    let args = ["review", result, "--trust", "my.pub", "--format", "json"];
    let review = said(dir, &args).await.exits(1);
    let review: Value = serde_json::from_str(&review.out).expect("JSON");
    let reviews = review["reviews"].as_array().or(review.as_array());
    let refusals = reviews.expect("reviews")[0]["refusals"].as_array();
    let rules = refusals.expect("refusals").iter().map(|refusal| {
        let rule = refusal["rule"].as_str();
        rule.expect("it has a rule").to_owned()
    });
    rules.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_pass_is_made_again_and_stays_visible() {
    let dir = folder();
    let at = dir.path();
    let reference = Reference::start(ReferenceOptions::default())
        .await
        .expect("the reference starts");
    // Whoever stands between breaks the one check.
    let between = hostile(
        reference.world.address(),
        refusal(br#"{"kind":"Status","status":"Failure","reason":"Invalid","message":"no"}"#),
    )
    .await;
    let good = reference.kubeconfig();
    let bad = good.replace(&reference.world.url(), &format!("http://{between}"));
    std::fs::write(at.join("good.yaml"), good).expect("written");
    std::fs::write(at.join("bad.yaml"), bad).expect("written");
    said(at, &["keygen", "--out", "my"]).await.exits(0);

    let run = |config, out| {
        let only = ["--only", BROKEN, "--only", SOUND];
        let args = [
            "run",
            "--kubeconfig",
            config,
            "--out",
            out,
            "--key",
            "my.key",
        ];
        let args = [args.as_slice(), only.as_slice()].concat();
        async move { said(at, &args).await }
    };
    run("bad.yaml", "first").await.exits(1);
    run("good.yaml", "other").await.exits(0);
    let first = read(at.join("first/results.json"));

    let rerun = |args: &'static [&'static str]| {
        let args = [&["rerun"], args, &["--key", "my.key"]].concat();
        async move { said(at, &args).await }
    };
    // It fails again where nothing has changed, and passes once something has.
    rerun(&["first", "--kubeconfig", "bad.yaml"]).await.exits(1);
    let merged = rerun(&["first.2", "--kubeconfig", "good.yaml", "--out", "merged"]).await;
    let merged = merged.exits(0);
    let told = format!("PASS {BROKEN}: run again after it was failed, then failed");
    assert!(merged.out.contains(&told), "{}", merged.out);
    assert_eq!(read(at.join("first/results.json")), first, "it was changed");

    let (first, merged) = (results(&at.join("first")), results(&at.join("merged")));
    assert_eq!(merged["run"]["id"], first["run"]["id"]);
    assert_eq!(merged["verdict"], "conformant");
    assert_eq!(check(&merged, SOUND), check(&first, SOUND));
    let again = check(&merged, BROKEN);
    let attempts = again["attempts"].as_array().expect("attempts");
    let outcomes: Vec<&Value> = attempts.iter().map(|a| &a["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed"]);
    assert_eq!(attempts[0]["message"], check(&first, BROKEN)["message"]);
    let junit = read(at.join("merged/junit.xml"));
    assert_eq!(junit.matches("attempt=failed in ").count(), 2, "{junit}");

    // Each attempt's evidence says again what its result says.
    let replay = said(at, &["evidence", "merged", "--replay"]).await;
    replay.exits(0);
    said(at, &["verify", "merged", "--trust", "my.pub"])
        .await
        .exits(0);
    let more: BTreeSet<String> = refusals(at, "merged").await;
    assert_eq!(more, refusals(at, "other").await);

    // What there is nothing to make again of is not a run.
    let nothing = rerun(&["merged", "--kubeconfig", "good.yaml"])
        .await
        .exits(2);
    assert!(
        nothing.err.contains("nothing in it is left"),
        "{}",
        nothing.err
    );
    assert!(!at.join("merged.2").exists());
    let elsewhere = Reference::start(ReferenceOptions::default())
        .await
        .expect("the reference starts");
    std::fs::write(at.join("elsewhere.yaml"), elsewhere.kubeconfig()).expect("written");
    let another = rerun(&["first", "--kubeconfig", "elsewhere.yaml"]).await;
    let another = another.exits(2);
    assert!(another.err.contains("another cluster"), "{}", another.err);
}
