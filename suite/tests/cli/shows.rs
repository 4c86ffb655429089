//! Commands that only show something, and how everything is shown.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{folder, kfconform, program};

fn json(args: &[&str]) -> Value {
    let said = kfconform(folder().path(), args).exits(0);
    assert_eq!(said.err, "", "{args:?}");
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{args:?}: {e}:\n{}", said.out))
}

fn text(args: &[&str]) -> String {
    let said = kfconform(folder().path(), args).exits(0);
    assert_eq!(said.err, "", "{args:?}");
    said.out
}

#[test]
fn the_list_has_what_others_rely_on() {
    let list = json(&["list", "--format", "json"]);
    let list = list.as_array().expect("an array");
    assert!(list.len() >= 56);
    let mut ids = BTreeSet::new();
    for row in list {
        let keys: Vec<&String> = row.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            ["id", "component", "level", "profile", "since", "title"]
        );
        let id = row["id"].as_str().expect("an id");
        let component = row["component"].as_str().expect("a component");
        assert!(id.starts_with(&format!("{component}/")), "{id}");
        assert!(
            [
                "pipelines",
                "notebooks",
                "platform",
                "katib",
                "kserve",
                "trainer",
                "spark",
                "hub"
            ]
            .contains(&component)
        );
        assert!(["core", "extended"].contains(&row["level"].as_str().expect("a level")));
        assert!(row["profile"].is_array());
        ids.insert(id);
    }
    assert_eq!(ids.len(), list.len(), "an id stands for one requirement");
    let some = json(&["list", "katib/suggestion/*", "--format", "json"]);
    assert!(some.as_array().expect("an array").iter().all(|r| {
        r["id"]
            .as_str()
            .expect("an id")
            .starts_with("katib/suggestion/")
    }));
    let lines = text(&["list", "katib/suggestion/*"]);
    assert_eq!(
        lines.lines().count(),
        some.as_array().expect("an array").len() + 1
    );

    let faults = json(&["selftest", "--list", "--format", "json"]);
    let faults = faults.as_array().expect("an array");
    assert!(faults.iter().all(Value::is_string) && faults.len() >= ids.len());
}

#[test]
fn plans_images_and_explanations() {
    let plan = json(&["plan", "--only", "katib/suggestion/*", "--format", "json"]);
    assert_eq!(plan["profile"], "certified");
    let checks = plan["checks"].as_array().expect("checks");
    assert!(checks.len() >= 3 && checks.iter().all(|c| c["needs"].is_array()));
    assert!(
        plan["setups"]
            .as_array()
            .expect("set-ups")
            .iter()
            .any(|s| s["id"] == "setup/katib/running")
    );
    let said = text(&["plan", "--only", "katib/suggestion/*"]);
    for part in ["checks", "shared set-ups", "experiment-finished"] {
        assert!(said.contains(part), "{said}");
    }

    let image = json(&["images", "--format", "json"])[0]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert_eq!(text(&["images"]), format!("{image}\n"));
    let moved = text(&["images", "--registry", "registry.local:5000/mirror/"]);
    let name = image.rsplit('/').next().expect("a name");
    assert_eq!(moved, format!("registry.local:5000/mirror/{name}\n"));

    let said = text(&["explain", "katib/validation/objective"]);
    for part in [
        "katib/validation/objective",
        "MUST",
        "How it is checked",
        "https://",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(
        json(&["explain", "katib/validation/objective", "--format", "json"])["id"],
        "katib/validation/objective"
    );
}

#[test]
fn the_role_is_yaml_and_the_same_as_json() {
    let json = json(&["rbac", "--bind", "suite/runner", "--format", "json"]);
    let yaml = text(&["rbac", "--bind", "suite/runner"]);
    let documents: Vec<Value> = yaml
        .split("---\n")
        .map(|document| serde_saphyr::from_str(document).expect("YAML"))
        .collect();
    assert_eq!(Value::Array(documents.clone()), json["items"]);
    assert_eq!(json["kind"], "List");
    assert_eq!(documents[0]["kind"], "ClusterRole");
    let rules = documents[0]["rules"].as_array().expect("rules");
    // Least privilege: nothing by a star, no secrets, no writing of roles.
    for rule in rules {
        for key in ["apiGroups", "resources", "verbs"] {
            assert!(
                !rule[key].as_array().expect(key).contains(&Value::from("*")),
                "{rule}"
            );
        }
        assert!(
            !rule["resources"]
                .as_array()
                .expect("resources")
                .contains(&Value::from("secrets")),
            "{rule}"
        );
        if rule["apiGroups"][0] == "rbac.authorization.k8s.io" {
            let verbs = rule["verbs"].as_array().expect("verbs").iter();
            let writes = |verb: &&Value| ["create", "update", "patch"].iter().any(|w| *verb == w);
            assert_eq!(verbs.filter(writes).count(), 0, "{rule}");
        }
    }
    assert_eq!(documents[1]["subjects"][0]["namespace"], "suite");
    assert_eq!(text(&["rbac"]).matches("kind: ").count(), 1);
}

#[test]
fn completions_and_the_manual() {
    for (shell, word) in [
        ("bash", "_kfconform()"),
        ("zsh", "#compdef kfconform"),
        ("fish", "complete -c kfconform"),
    ] {
        let said = text(&["completions", shell]);
        assert!(said.contains(word), "{shell}");
        assert!(said.contains("resume"), "{shell}");
    }
    let manual = text(&["man"]);
    assert!(
        manual.contains(".TH kfconform 1") && manual.contains("Exit codes"),
        "{manual}"
    );
    // Lines end where they end.
    let help = text(&["--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains("0 conformant") && help.contains("2 usage error"),
        "{help}"
    );
    assert!(text(&["--version"]).starts_with("kfconform "));
}

#[test]
fn the_doctor_finds_the_reference_well() {
    let rows = json(&["doctor", "--reference", "--format", "json"]);
    let rows = rows.as_array().expect("an array");
    assert!(rows.len() >= 8);
    for row in rows {
        assert_eq!(row["ok"], true, "{row}");
    }
    let said = text(&["doctor", "--reference"]);
    assert!(said.ends_with("a run can begin\n"), "{said}");
}

#[test]
fn a_run_says_as_much_as_it_is_asked_to() {
    let dir = folder();
    let run = |out: &str, more: &[&str]| {
        let args = [
            &[
                "run",
                "--reference",
                "--only",
                "katib/validation/objective",
                "--out",
                out,
            ],
            more,
        ]
        .concat();
        kfconform(dir.path(), &args).exits(0)
    };
    let said = run("plain", &[]);
    // No terminal: plain lines, no progress line, no colour.
    assert!(
        said.err.contains("PASS [") && said.err.contains("(1/1) katib/validation/objective"),
        "{}",
        said.err
    );
    assert!(
        said.out.contains("conformant") && said.out.contains("results in plain"),
        "{}",
        said.out
    );
    for text in [&said.out, &said.err] {
        assert!(!text.contains(['\u{1b}', '\r']), "{text:?}");
    }
    let said = run("quiet", &["--quiet"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("conformant\n", ""));
    let said = run("json", &["--format", "json", "--quiet"]);
    let printed: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(printed, crate::results(&dir.path().join("json")));
    assert_eq!(said.err, "");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let dir = folder();
    let mut child = program(dir.path(), &["list"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    crate::Said::from(child.wait_with_output().expect("ends")).exits(0);
}

#[cfg(unix)]
#[test]
fn it_is_a_plugin_of_kubectl_where_it_is_called_so() {
    use std::process::Command;

    let dir = folder();
    let plugin = dir.path().join("kubectl-kfconform");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kfconform"), &plugin).expect("linked");
    let run = |args: &[&str]| {
        let output = Command::new(&plugin)
            .args(args)
            .output()
            .expect("it starts");
        crate::Said::from(output).exits(0).out
    };
    assert!(
        run(&["--help"]).contains("Usage: kubectl kfconform "),
        "{}",
        run(&["--help"])
    );
    assert!(run(&["run", "--help"]).contains("Usage: kubectl kfconform run"));
    assert!(run(&["completions", "fish"]).contains("complete -c kubectl-kfconform"));
    // kubectl runs this file, and reads names, tabs and explanations, and at last what to do with them.
    let completer = run(&["completions", "kubectl"]);
    assert!(
        completer.starts_with("#!/bin/sh\n")
            && completer.contains("exec kubectl-kfconform __complete \"$@\"")
    );
    let names = |args: &[&str]| -> Vec<String> {
        let said = run(&[&["__complete"], args].concat());
        said.lines()
            .map(|l| l.split('\t').next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(
        names(&["re"]),
        ["rerun", "review", "report", "reference", "retrieve", ":4"]
    );
    assert_eq!(names(&["run", "--kub"]), ["--kubeconfig", ":4"]);
    assert_eq!(names(&["run", ""]), [":0"]);
    assert!(
        !names(&[""])
            .iter()
            .any(|name| name.contains("runner") || name.contains("__"))
    );
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let dir = folder();
    kfconform(dir.path(), &["man", "--out", "man"]).exits(0);
    for page in [
        "kfconform.1",
        "kfconform-run.1",
        "kfconform-review.1",
        "kfconform-site.1",
    ] {
        let text = crate::read(dir.path().join("man").join(page));
        assert!(text.contains(".TH"), "{page}");
    }
    assert!(!dir.path().join("man/kfconform-runner.1").exists());
}

#[test]
fn a_result_is_shown_again_in_each_form() {
    let dir = folder();
    let run = [
        "run",
        "--reference",
        "--quiet",
        "--only",
        "katib/validation/objective",
        "--out",
        "r",
    ];
    kfconform(
        dir.path(),
        &[&run[..], &["--fault", "katib/validation/objective:type"]].concat(),
    )
    .exits(1);
    // It exits as the run did, so that a pipeline may gate on a result that another job left.
    let show = |format: &str| {
        kfconform(dir.path(), &["report", "r", "--format", format])
            .exits(1)
            .out
    };
    assert_eq!(show("json"), crate::read(dir.path().join("r/results.json")));
    assert_eq!(show("junit"), crate::read(dir.path().join("r/junit.xml")));
    assert_eq!(show("html"), crate::read(dir.path().join("r/report.html")));
    assert!(show("text").contains("FAIL katib/validation/objective"));
    assert!(show("markdown").contains("| failed | `katib/validation/objective` |"));
    assert!(show("github").contains("::error title=katib/validation/objective (failed)::"));
    kfconform(dir.path(), &["report", "nowhere"]).exits(2);
}
