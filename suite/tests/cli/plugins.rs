//! A working group's own program beside a run: its report is shown, follows from the evidence, and counts for nothing.

use std::path::Path;

use kfconform::{
    report::{self, model::Results, plugins::PluginResult},
    spec::Specs,
};

use crate::{Said, folder, kfconform, program, results};

/// Plugins that are the suite's own image: one reports, each other does something wrong.
const PLUGINS: &str = r#"
plugins:
- name: reports
  image: registry.example/kfconform:1
  command:
  - kfconform
  - workload
  - step
  - --expect-env=SONOBUOY_RESULTS_DIR=/tmp/sonobuoy/results
  - --write=/tmp/results/junit.xml=<testsuite><testcase name="a"/><testcase name="b"><failure message="&lt;script>"/></testcase></testsuite>
  - --write=/tmp/results/done=/tmp/sonobuoy/results/junit.xml
  - --sleep-ms=3600000
- name: hangs
  image: registry.example/kfconform:1
  command: [kfconform, workload, hold]
  timeout: 30s
- name: ends
  image: registry.example/kfconform:1
  command: [kfconform, workload, step, --exit, "7"]
- name: not-pulled
  image: registry.example/group:1
- name: no-junit
  image: registry.example/kfconform:1
  command: [kfconform, workload, step, "--write=/tmp/results/x.xml=<html/>", --write=/tmp/results/done=/tmp/results/x.xml]
- name: outside
  image: registry.example/kfconform:1
  command: [kfconform, workload, step, --write=/tmp/results/done=/etc/passwd]
"#;

fn run(dir: &Path, out: &str, more: &[&str]) {
    let mut args = vec![
        "run",
        "--reference",
        "--only",
        "katib/validation/*",
        "--out",
        out,
        "--quiet",
    ];
    args.extend_from_slice(more);
    // One of the plugins fails, and none of them counts.
    keyed(dir, &args).exits(0);
}

/// Runs the program with a key that has no password.
fn keyed(dir: &Path, args: &[&str]) -> Said {
    let mut command = program(dir, args);
    let output = command.env("COSIGN_PASSWORD", "").output();
    Said::from(output.expect("the program starts"))
}

fn reported(results: &serde_json::Value) -> Vec<PluginResult> {
    serde_json::from_value(results["plugins"].clone()).expect("plugins")
}

#[test]
fn plugins_report_and_change_no_verdict_nor_keep_the_run() {
    let dir = folder();
    std::fs::write(dir.path().join("c.yaml"), PLUGINS).expect("written");
    run(dir.path(), "plain", &[]);
    run(dir.path(), "with", &["--config", "c.yaml"]);
    let (plain, with) = (
        results(&dir.path().join("plain")),
        results(&dir.path().join("with")),
    );
    assert!(plain["plugins"].is_null());
    for part in [
        "verdict",
        "reasons",
        "totals",
        "notSubmittableBecause",
        "leftovers",
    ] {
        assert_eq!(with[part], plain[part], "{part}");
    }
    let said = reported(&with);
    let messages: Vec<(&str, Option<&str>)> = said
        .iter()
        .map(|plugin| (plugin.name.as_str(), plugin.message.as_deref()))
        .collect();
    assert_eq!(messages[0], ("reports", None));
    for ((name, message), (wanted, why)) in messages[1..].iter().zip([
        ("hangs", "no `done` file after 30 s"),
        (
            "ends",
            "it ended with exit code 7, and wrote no `done` file",
        ),
        (
            "not-pulled",
            "it does not start: registry.example/group:1: ",
        ),
        ("no-junit", "`x.xml` is no JUnit: "),
        ("outside", "the result `/etc/passwd` "),
    ]) {
        assert_eq!(*name, wanted);
        let message = message.unwrap_or_default();
        assert!(message.starts_with(why), "{name}: {message}");
    }
    let report = &said[0].report;
    assert_eq!(
        (report.passed, report.failed, report.errors, report.skipped),
        (1, 1, 0, 0)
    );
    assert_eq!(report.cases[0].message.as_deref(), Some("<script>"));
    let junit = crate::read(dir.path().join("with/junit.xml"));
    assert!(
        !junit.contains("testcase name=\"b\""),
        "it is no result of ours"
    );
    let page = crate::read(dir.path().join("with/report.html"));
    assert!(page.contains("&lt;script&gt;") && page.contains("no part of the verdict"));
    let said = kfconform(dir.path(), &["evidence", "with", "plugins/reports"]).exits(0);
    assert!(said.out.contains("junit.xml"), "{}", said.out);
    kfconform(dir.path(), &["evidence", "with", "--replay"]).exits(0);
}

/// Something that a forger changes.
type Edit = fn(&mut Results);

/// Changes a result as its owner could who holds the key, makes what follows, and signs it.
fn forged(dir: &Path, from: &str, to: &str, edit: impl FnOnce(&mut Results)) {
    let (from, to) = (dir.join(from), dir.join(to));
    std::fs::create_dir(&to).expect("a folder");
    std::fs::copy(from.join("evidence.tar.gz"), to.join("evidence.tar.gz")).expect("copied");
    let mut results = Results::read(&from.join("results.json")).expect("results");
    edit(&mut results);
    results.judge();
    results.write(&to.join("results.json")).expect("written");
    report::write_beside(&results, Specs::embedded(), &to).expect("written");
    let to = to.display().to_string();
    keyed(dir, &["sign", &to, "--key", "k.key"]).exits(0);
}

#[test]
fn a_review_follows_plugins_and_refuses_other_reports() {
    let dir = folder();
    let at = dir.path();
    std::fs::write(at.join("c.yaml"), PLUGINS).expect("written");
    keyed(at, &["keygen", "--out", "k"]).exits(0);
    run(at, "good", &["--config", "c.yaml", "--key", "k.key"]);
    // What a review refuses, but for what it must: this is not a whole run.
    let refused = |folder: &str| {
        let args = [
            "review",
            folder,
            "--trust",
            "k.pub",
            "--allow-sample",
            "--format",
            "json",
        ];
        let said = kfconform(at, &args).exits(1);
        let review: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        let refusals = review[0]["refusals"].as_array().expect("refusals");
        let mut rules: Vec<String> = refusals
            .iter()
            .filter_map(|refusal| Some(refusal["rule"].as_str()?.to_owned()))
            .collect();
        rules.retain(|rule| rule != "policy/whole");
        rules
    };
    assert!(refused("good").is_empty(), "{:?}", refused("good"));
    let edits: [(&str, &str, Edit); 6] = [
        ("passed", "replay/plugins", |r| {
            let report = &mut r.plugins[0].report;
            (report.passed, report.failed) = (2, 0);
            report.cases.clear();
        }),
        ("digest", "replay/plugins", |r| {
            r.plugins[0].report.documents[0].sha256 = "ab".repeat(32);
        }),
        ("said", "replay/plugins", |r| {
            r.plugins[1].message = Some("it was fine".to_owned());
        }),
        ("swapped", "replay/plugins", |r| r.plugins.swap(0, 1)),
        ("gone", "evidence/inventory", |r| drop(r.plugins.remove(1))),
        ("other", "evidence/digests", |r| {
            let evidence = r.plugins[2].evidence.as_mut().expect("evidence");
            evidence.sha256 = "cd".repeat(32);
        }),
    ];
    forged(at, "good", "same", |_| ());
    assert!(refused("same").is_empty(), "{:?}", refused("same"));
    for (name, rule, edit) in edits {
        forged(at, "good", name, edit);
        let rules = refused(name);
        assert!(rules.iter().any(|found| found == rule), "{name}: {rules:?}");
    }
}
