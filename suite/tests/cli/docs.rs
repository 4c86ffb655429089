//! The documents, tried as a new user would: every command in them is run here, against the reference where they mean
//! a cluster, or stands in a block that says why it is not, with one of these words after the language.

use std::{fs, path::Path, process::Command};

use crate::{PRODUCT, Said, folder, kfconform, read};

const DOCUMENTS: [&str; 5] = [
    "README.md",
    "reports/README.md",
    "docker/README.md",
    "CONTRIBUTING.md",
    "CONFORMANCE.md",
];

/// Why a block is not run. Commands of `kfconform` in it are parsed all the same.
const REASONS: [(&str, &str); 5] = [
    ("builds", "it compiles for minutes, and CI does it"),
    ("needs-network", "it fetches something"),
    (
        "needs-cluster",
        "it speaks to a cluster's nodes, which the reference does not have",
    ),
    ("needs-engine", "it builds an image"),
    (
        "needs-this-build",
        "there is a verdict on the sample only from the build that made it",
    ),
];

/// Stands for `kfconform` where a document means a cluster: checks the reference, allows what follows to be of a sample,
/// and fills in the product's file, as the text asks the reader to.
const SHIM: &str = r#"#!/bin/sh
set -e
case "$1 $2" in
"submit --template") "$KFCONFORM" "$@" >/dev/null; exec cat "$PRODUCT" ;;
esac
case $1 in
run | doctor) command=$1; shift; case " $* " in *" --reference "*) ;; *) set -- --reference "$@" ;; esac; exec "$KFCONFORM" "$command" "$@" ;;
submit | review | export) case " $* " in *" --allow-sample "*) ;; *) set -- "$@" --allow-sample ;; esac; exec "$KFCONFORM" "$@" ;;
*) exec "$KFCONFORM" "$@" ;;
esac
"#;

/// A block of commands: where it begins, the word that says why it is not run, and its text.
struct Block {
    line: usize,
    reason: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut language: Option<String> = None;
    for (at, line) in document.lines().enumerate() {
        match (&language, line.strip_prefix("```")) {
            (None, Some(info)) => {
                if let Some(reason) = info.strip_prefix("sh") {
                    blocks.push(Block {
                        line: at + 1,
                        reason: reason.trim().to_owned(),
                        text: String::new(),
                    });
                }
                language = Some(info.to_owned());
            }
            (Some(_), Some(_)) => language = None,
            (Some(info), None) if info.starts_with("sh") => {
                let block = blocks.last_mut().expect("it began");
                block.text.push_str(line);
                block.text.push('\n');
            }
            _ => {}
        }
    }
    blocks
}

/// Runs a document's blocks in order, in one folder, as a reader does.
fn run(name: &str) -> usize {
    let dir = folder();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).expect("made");
    let shim = bin.join("kfconform");
    fs::write(&shim, SHIM).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("set");
    }
    fs::write(dir.path().join("filled.yaml"), PRODUCT).expect("written");
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut ran = 0;
    for block in blocks(&read(root().join(name))) {
        let place = format!("{name}:{}", block.line);
        if !block.reason.is_empty() {
            let known = REASONS.iter().any(|(reason, _)| *reason == block.reason);
            assert!(
                known,
                "{place}: `{}` is none of the reasons not to run it",
                block.reason
            );
            continue;
        }
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block.text])
            .current_dir(dir.path())
            .env("PATH", &path)
            .env("HOME", dir.path())
            .env("KFCONFORM", env!("CARGO_BIN_EXE_kfconform"))
            .env("PRODUCT", dir.path().join("filled.yaml"))
            .env("COSIGN_PASSWORD", "")
            .env_remove("KUBECONFIG")
            .stdin(std::process::Stdio::null())
            .output()
            .expect("it starts");
        let said = Said::from(output);
        assert_eq!(
            said.code, 0,
            "{place}\n{}\n{}\n{}",
            block.text, said.out, said.err
        );
        ran += block.text.lines().count();
    }
    ran
}

#[test]
fn every_command_of_the_readme() {
    assert!(run("README.md") >= 15);
}

#[test]
fn every_command_of_the_guide_to_submissions() {
    assert!(run("reports/README.md") >= 10);
}

#[test]
fn every_command_of_the_others() {
    assert!(run("docker/README.md") >= 3);
    assert!(run("CONTRIBUTING.md") >= 4);
    run("CONFORMANCE.md");
}

/// The words of a command, as far as documents need a shell: quotes, and an end at what is the shell's.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | '>' | '<' | '#' | ';' | '&') => break,
            (None, c) if c.is_whitespace() => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            (None, c) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Every `kfconform …` in a document: in sentences and tables, and in blocks that are not run.
fn mentioned(document: &str) -> Vec<String> {
    let unrun = blocks(document);
    let unrun = unrun
        .iter()
        .filter(|b| !b.reason.is_empty())
        .map(|b| b.text.clone());
    let in_blocks = unrun.flat_map(|text| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>());
    let mut outside = String::new();
    let mut fenced = false;
    for line in document.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            outside.push_str(line);
            outside.push('\n');
        }
    }
    let spans: Vec<String> = outside
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|s| s.replace('\n', " "))
        .collect();
    in_blocks
        .chain(spans)
        .filter(|text| text.starts_with("kfconform "))
        .collect()
}

#[test]
fn every_command_that_is_mentioned_can_be_given() {
    let dir = folder();
    let mut seen = std::collections::BTreeSet::new();
    for name in DOCUMENTS {
        for command in mentioned(&read(root().join(name))) {
            if !seen.insert(command.clone()) {
                continue;
            }
            let words = words(&command);
            // `kfconform workload …` stands for any.
            let mut args: Vec<&str> = words
                .iter()
                .skip(1)
                .map(String::as_str)
                .filter(|w| *w != "…")
                .collect();
            // What is wrong before it is said; what is missing is not.
            args.push("--help");
            let said = kfconform(dir.path(), &args);
            assert_eq!(said.code, 0, "{name}: {command}\n{}", said.err);
        }
    }
    assert!(seen.len() > 24, "{}", seen.len());
}

#[test]
fn what_is_not_run_is_so_for_a_declared_reason_and_wrong_commands_are_seen() {
    let document = "```sh\nfalse\n```\n```sh needs-cluster\nkfconform run --no-such\n```\n`kfconform lst`\n```yaml\nx: y\n```\n";
    let blocks = blocks(document);
    assert_eq!(blocks.len(), 2);
    assert_eq!(
        (blocks[0].reason.as_str(), blocks[0].text.as_str()),
        ("", "false\n")
    );
    assert_eq!(blocks[1].reason, "needs-cluster");
    let mentioned = mentioned(document);
    assert_eq!(mentioned, ["kfconform run --no-such", "kfconform lst"]);
    for command in mentioned {
        let words = words(&command);
        let args: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        kfconform(folder().path(), &[&args[..], &["--help"]].concat()).exits(2);
    }
    assert_eq!(
        words("kfconform run --only 'a b/*' > x"),
        ["kfconform", "run", "--only", "a b/*"]
    );
    let used: Vec<String> = DOCUMENTS
        .iter()
        .flat_map(|name| super::docs::blocks(&read(root().join(name))))
        .map(|b| b.reason)
        .collect();
    for (reason, _) in REASONS {
        assert!(
            used.iter().any(|used| used == reason),
            "{reason} is a reason that nothing has"
        );
    }
}
