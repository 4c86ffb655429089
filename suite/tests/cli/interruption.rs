//! A run that is stopped, killed, gone on with, and cleaned up after.
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use kfconform::reference::{Reference, ReferenceOptions};
use serde_json::{Value, json};

use crate::{Said, folder, kfconform, program, results};

/// A reference in this process, with its kubeconfig as `ref.yaml` in a folder.
async fn reference(dir: &Path) -> Reference {
    kfconform::install_crypto();
    let reference = Reference::start(ReferenceOptions::default())
        .await
        .expect("the reference starts");
    std::fs::write(dir.join("ref.yaml"), reference.kubeconfig()).expect("written");
    reference
}

async fn ask(
    reference: &Reference,
    method: reqwest::Method,
    path: &str,
    body: Option<Value>,
) -> Value {
    let mut request = reqwest::Client::new()
        .request(method, format!("{}{path}", reference.world.url()))
        .bearer_auth(reference.world.admin_token());
    if let Some(body) = body {
        request = request.json(&body);
    }
    request
        .send()
        .await
        .expect("answers")
        .json()
        .await
        .expect("JSON")
}

/// The namespaces that runs have made.
async fn namespaces(reference: &Reference) -> Vec<String> {
    let list = ask(reference, reqwest::Method::GET, "/api/v1/namespaces", None).await;
    list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|n| n["metadata"]["name"].as_str())
        .filter(|name| name.starts_with("kfc-"))
        .map(ToOwned::to_owned)
        .collect()
}

/// A run on its way, of which standard error is read line by line.
pub(crate) struct Running {
    child: Child,
    err: BufReader<ChildStderr>,
    pub(crate) seen: String,
}

impl Running {
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = program(dir, args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let err = BufReader::new(child.stderr.take().expect("is piped"));
        Self {
            child,
            err,
            seen: String::new(),
        }
    }

    /// Reads on to a line that holds `words`, and returns it.
    pub(crate) fn until(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.err.read_line(&mut line).expect("UTF-8");
            assert!(read > 0, "it ended without `{words}`:\n{}", self.seen);
            self.seen.push_str(&line);
            if line.contains(words) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("there is a `kill`").success());
    }

    pub(crate) fn end(mut self) -> Said {
        self.err.read_to_string(&mut self.seen).expect("UTF-8");
        let mut said = Said::from(self.child.wait_with_output().expect("it ends"));
        said.err = self.seen;
        said
    }
}

/// The namespace that a line names.
fn named(line: &str) -> String {
    line.trim().rsplit(' ').next().expect("a word").to_owned()
}

/// What takes long enough to be interrupted: an experiment with all its trials.
const LONG: &str = "katib/experiment/reaches-max-trials";

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_cleans_up_and_can_be_gone_on_with() {
    let dir = folder();
    let reference = reference(dir.path()).await;
    let mut run = Running::start(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--only",
            LONG,
            "--only",
            "katib/api/kinds",
            "--out",
            "out",
            "--timeout",
            "check=20m",
        ],
    );
    run.until("working in namespace");
    run.signal("-INT");
    let said = run.end().exits(3);
    assert!(
        said.err
            .contains("interrupted: removing what the run made; once more stops at once"),
        "{}",
        said.err
    );
    assert!(
        said.out
            .contains("kfconform run --resume out --kubeconfig ref.yaml"),
        "{}",
        said.out
    );
    // What was on its way ended before the cleaning began: nothing fails for want of its namespace.
    assert!(
        !said.err.contains("not found") && !said.err.contains("FAIL"),
        "{}",
        said.err
    );
    assert_eq!(namespaces(&reference).await, Vec::<String>::new());
    let out = dir.path().join("out");
    let before = results(&out);
    assert_eq!(
        (&before["verdict"], &before["run"]["complete"]),
        (&json!("incomplete"), &json!(false))
    );
    assert_eq!(before["leftovers"], json!([]));
    assert!(out.join("junit.xml").exists() && out.join("report.html").exists());
    assert!(
        before["setups"]
            .as_array()
            .expect("set-ups")
            .iter()
            .all(|s| s["outcome"] != "failed"),
        "{}",
        before["setups"]
    );

    // On another cluster it is not gone on with.
    let other = folder();
    let _other = self::reference(other.path()).await;
    let config = other.path().join("ref.yaml");
    let said = kfconform(
        dir.path(),
        &[
            "run",
            "--resume",
            "out",
            "--kubeconfig",
            config.to_str().expect("UTF-8"),
        ],
    )
    .exits(2);
    assert!(said.err.contains("another cluster"), "{}", said.err);
    // On its own it is, with the requirements and the timeouts that it was begun with.
    kfconform(
        dir.path(),
        &["run", "--resume", "out", "--kubeconfig", "ref.yaml"],
    )
    .exits(0);
    let after = results(&out);
    assert_eq!(
        (&after["verdict"], &after["run"]["complete"]),
        (&json!("conformant"), &json!(true))
    );
    for key in ["id", "planned", "selection", "started", "profile"] {
        assert_eq!(after["run"][key], before["run"][key], "{key}");
    }
    assert_eq!(after["run"]["timeouts"]["check"], 1200.0);
    assert!(!out.join("journal").exists());
    // It is over now.
    let said = kfconform(
        dir.path(),
        &["run", "--resume", "out", "--kubeconfig", "ref.yaml"],
    )
    .exits(2);
    assert!(said.err.contains("it came to its end"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_goes_on_where_it_was() {
    let dir = folder();
    let reference = reference(dir.path()).await;
    let keygen = program(dir.path(), &["keygen", "--out", "mine"])
        .env("COSIGN_PASSWORD", "")
        .output();
    Said::from(keygen.expect("starts")).exits(0);
    let mut run = Running::start(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--only",
            LONG,
            "--only",
            "katib/validation/*",
            "--out",
            "out",
        ],
    );
    run.until("( 3/");
    run.signal("-KILL");
    assert_eq!(run.end().code, -1);
    let out = dir.path().join("out");
    assert_eq!(results(&out)["run"]["complete"], false);
    assert_eq!(namespaces(&reference).await.len(), 1);
    // The last line of the journal may have been cut off in its midst.
    let journal = out.join("journal/results.ndjson");
    let mut lines = crate::read(&journal);
    lines.push_str("{\"check\":{\"id\":\"kat");
    std::fs::write(&journal, lines).expect("written");
    let finished: Vec<Value> = crate::read(&journal)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| line.get("check").cloned())
        .collect();
    assert!(finished.len() >= 3);
    // What is not the whole of it is not signed, and says so.
    let sign = program(dir.path(), &["sign", "out", "--key", "mine.key"])
        .env("COSIGN_PASSWORD", "")
        .output();
    let said = Said::from(sign.expect("starts")).exits(2);
    assert!(said.err.contains("--resume"), "{}", said.err);

    let resume = program(
        dir.path(),
        &[
            "run",
            "--resume",
            "out",
            "--kubeconfig",
            "ref.yaml",
            "--key",
            "mine.key",
        ],
    )
    .env("COSIGN_PASSWORD", "")
    .output();
    let said = Said::from(resume.expect("starts")).exits(0);
    assert!(
        said.err.contains(&format!(
            "{} of 27 checks have a result already",
            finished.len()
        )),
        "{}",
        said.err
    );
    let after = results(&out);
    let checks = after["checks"].as_array().expect("checks");
    assert_eq!(
        checks.len(),
        after["run"]["planned"].as_array().expect("the plan").len()
    );
    for kept in &finished {
        assert!(checks.contains(kept), "{} was made again", kept["id"]);
        assert!(
            !said
                .err
                .contains(&format!(") {}\n", kept["id"].as_str().expect("an id")))
        );
    }
    let kept: Vec<&Value> = finished.iter().map(|c| &c["id"]).collect();
    let resumed = after["run"]["resumed"]["kept"]
        .as_array()
        .expect("the kept");
    assert!(kept.iter().all(|id| resumed.contains(id)) && kept.len() == resumed.len());
    assert_eq!(namespaces(&reference).await, Vec::<String>::new());
    kfconform(dir.path(), &["verify", "out", "--trust", "mine.pub"]).exits(0);
    kfconform(dir.path(), &["evidence", "out", "--replay"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_named_and_cleaned_up_later() {
    let dir = folder();
    let reference = reference(dir.path()).await;
    let hold = async |namespace: &str| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.org/held"]}});
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        let made = ask(&reference, reqwest::Method::POST, &path, Some(object)).await;
        assert_eq!(made["metadata"]["name"], "held", "{made}");
    };
    let let_go = async |namespace: &str| {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/held");
        let mut held = ask(&reference, reqwest::Method::GET, &path, None).await;
        held["metadata"]["finalizers"] = json!([]);
        ask(&reference, reqwest::Method::PUT, &path, Some(held)).await;
    };

    // Something in the namespace that does not go: the run ends, and says what is left.
    let mut run = Running::start(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--only",
            LONG,
            "--out",
            "held",
            "--timeout",
            "cleanup=1s",
        ],
    );
    let namespace = named(&run.until("working in namespace"));
    hold(&namespace).await;
    let said = run.end().exits(0);
    let id = namespace.trim_start_matches("kfc-");
    assert!(
        said.out.contains(&format!("LEFT Namespace//{namespace}")),
        "{}",
        said.out
    );
    assert!(
        said.out.contains(&format!(
            "kfconform cleanup --run {id} --kubeconfig ref.yaml"
        )),
        "{}",
        said.out
    );
    let left = results(&dir.path().join("held"))["leftovers"].clone();
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
    assert!(
        left[0]
            .as_str()
            .expect("text")
            .starts_with(&format!("Namespace//{namespace}")),
        "{left}"
    );
    let_go(&namespace).await;
    let said = kfconform(
        dir.path(),
        &["cleanup", "--run", id, "--kubeconfig", "ref.yaml"],
    )
    .exits(0);
    assert_eq!(said.out, format!("nothing of run {id} is left\n"));
    assert_eq!(namespaces(&reference).await, Vec::<String>::new());

    // Once is to clean up, which takes for ever here; twice is at once.
    let mut run = Running::start(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--only",
            LONG,
            "--out",
            "twice",
        ],
    );
    let namespace = named(&run.until("working in namespace"));
    hold(&namespace).await;
    run.signal("-INT");
    run.until("interrupted");
    run.signal("-TERM");
    let said = run.end().exits(3);
    let id = namespace.trim_start_matches("kfc-");
    assert!(
        said.err.contains(&format!("error: stopped at once; `kfconform cleanup --run {id} --kubeconfig ref.yaml` removes what the run made")),
        "{}",
        said.err
    );
    assert_eq!(results(&dir.path().join("twice"))["run"]["complete"], false);
    assert_eq!(namespaces(&reference).await, [namespace.as_str()]);
    let_go(&namespace).await;
    let said = kfconform(
        dir.path(),
        &[
            "cleanup",
            "--run",
            id,
            "--kubeconfig",
            "ref.yaml",
            "--format",
            "json",
        ],
    )
    .exits(0);
    assert_eq!(
        serde_json::from_str::<Value>(&said.out).expect("JSON"),
        json!({"run": id, "leftovers": []})
    );
    assert_eq!(namespaces(&reference).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_reference_prints_a_kubeconfig_and_ends_when_told() {
    let dir = folder();
    let mut serving = Running::start(dir.path(), &["reference", "--kubeconfig", "ref.yaml"]);
    serving.until("serving the reference distribution at http://127.0.0.1:");
    let config: Value =
        serde_saphyr::from_str(&crate::read(dir.path().join("ref.yaml"))).expect("YAML");
    // As `kubectl` asks where there is no TLS: without credentials of its own.
    let server = config["clusters"][0]["cluster"]["server"]
        .as_str()
        .expect("a server");
    kfconform::install_crypto();
    let answer = reqwest::get(format!("{server}/apis/kubeflow.org/v1beta1/experiments"))
        .await
        .expect("answers");
    assert_eq!(answer.status().as_u16(), 200);
    serving.signal("-TERM");
    let said = serving.end().exits(0);
    assert_eq!(said.out, crate::read(dir.path().join("ref.yaml")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_only_with_its_configuration() {
    let dir = folder();
    let _reference = reference(dir.path()).await;
    let config =
        |text: &str| std::fs::write(dir.path().join("config.yaml"), text).expect("written");
    let mine = "redact: [private-of-mine]\n";
    config(mine);
    let mut run = Running::start(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--config",
            "config.yaml",
            "--only",
            LONG,
            "--out",
            "out",
        ],
    );
    run.until("working in namespace");
    run.signal("-INT");
    run.end().exits(3);
    for (_, bytes) in super::secrets::everything(&dir.path().join("out")) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("private-of-mine"), "{text}");
    }
    let resume = ["run", "--resume", "out", "--kubeconfig", "ref.yaml"];
    let with_config = [&resume[..], &["--config", "config.yaml"]].concat();
    let refused = |said: Said| {
        let said = said.exits(2);
        assert!(
            said.err.contains("begun with another configuration"),
            "{}",
            said.err
        );
    };
    refused(kfconform(dir.path(), &resume));
    config("redact: [another]\n");
    refused(kfconform(dir.path(), &with_config));
    config(mine);
    kfconform(dir.path(), &with_config).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_counts_for_nothing() {
    let dir = folder();
    let _reference = reference(dir.path()).await;
    let mut run = Running::start(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--only",
            LONG,
            "--out",
            "out",
        ],
    );
    run.until("working in namespace");
    // As a disk that is full: what belongs there cannot be made.
    let place = dir.path().join("out/journal/evidence/katib");
    drop(std::fs::remove_dir_all(&place));
    std::fs::write(&place, "").expect("written");
    run.end().exits(3);
    let results = results(&dir.path().join("out"));
    assert_eq!(results["verdict"], "incomplete");
    let check = &results["checks"][0];
    assert_eq!(check["outcome"], "could-not-run", "{check}");
    assert_eq!(check["reason"], "not-written", "{check}");
    let reasons = results["reasons"].to_string();
    assert!(reasons.contains(LONG), "{reasons}");
}
