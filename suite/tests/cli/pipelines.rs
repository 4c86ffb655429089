//! What pipelines run: the action for GitHub, the template for GitLab, the snippet for Jenkins. Their shell parts are run
//! here as their runners do, against the reference.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{Said, folder, read};

/// One of the checks of [`ONE`], and a fault of it.
const BROKEN: &str = "katib/validation/objective";
const FAULT: &str = "katib/validation/objective:type";
/// Few checks, so that a run is short.
const ONE: &str = "--only=katib/validation/*";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(root().join(path))).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Runs a command in a folder where `kfconform` is on the path.
fn shell(dir: &Path, command: &[&str], env: &[(&str, &str)]) -> Said {
    let bin = dir.join("bin");
    if !bin.exists() {
        fs::create_dir(&bin).expect("made");
        #[cfg(unix)]
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kfconform"), bin.join("kfconform"))
            .expect("linked");
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("HOME", dir)
        .env_remove("KUBECONFIG")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    Said::from(output)
}

/// What the action's run leaves.
struct Ran {
    said: Said,
    outputs: String,
    summary: String,
}

impl Ran {
    fn output(&self, name: &str) -> &str {
        let prefix = format!("{name}=");
        let mut lines = self.outputs.lines();
        lines
            .find_map(|line| line.strip_prefix(&prefix))
            .expect(name)
    }
}

fn action(dir: &Path, arguments: &str) -> Ran {
    action_against(dir, arguments, "")
}

fn action_against(dir: &Path, arguments: &str, baseline: &str) -> Ran {
    let script = root().join(".github/actions/run/run.sh");
    let file = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    let (outputs, summary) = (file("outputs"), file("summary"));
    let said = shell(
        dir,
        &["bash", script.to_str().expect("UTF-8")],
        &[
            ("KFCONFORM", env!("CARGO_BIN_EXE_kfconform")),
            ("OUT", "a result"),
            ("PROFILE", "katib"),
            ("ARGUMENTS", arguments),
            ("BASELINE", baseline),
            ("GITHUB_OUTPUT", &outputs),
            ("GITHUB_STEP_SUMMARY", &summary),
        ],
    );
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Ran {
        said: said.exits(0),
        outputs: read(&outputs),
        summary: read(&summary),
    }
}

fn gate(code: &str, fail_on: &str) -> i32 {
    gate_against(code, fail_on, "")
}

fn gate_against(code: &str, fail_on: &str, diff: &str) -> i32 {
    let script = root().join(".github/actions/run/gate.sh");
    let env = [("CODE", code), ("FAIL_ON", fail_on), ("DIFF", diff)];
    shell(
        folder().path(),
        &["bash", script.to_str().expect("UTF-8")],
        &env,
    )
    .code
}

#[test]
fn the_action_annotates_sums_up_and_gates() {
    let dir = folder();
    let ran = action(dir.path(), &format!("--reference\n{ONE}"));
    assert_eq!(
        (
            ran.output("code"),
            ran.output("verdict"),
            ran.output("folder")
        ),
        ("0", "conformant", "a result")
    );
    assert!(
        ran.summary
            .starts_with("## ✅ Kubeflow conformance: conformant"),
        "{}",
        ran.summary
    );
    assert!(!ran.said.out.contains("::error"), "{}", ran.said.out);
    assert!(dir.path().join("a result/junit.xml").is_file());

    let dir = folder();
    let ran = action(
        dir.path(),
        &format!("--reference\n--fault={FAULT}\n{ONE}\n"),
    );
    assert_eq!(
        (ran.output("code"), ran.output("verdict")),
        ("1", "non-conformant")
    );
    assert!(
        ran.said
            .out
            .contains(&format!("::error title={BROKEN} (failed)::")),
        "{}",
        ran.said.out
    );
    assert!(
        ran.summary.contains(&format!("| failed | `{BROKEN}` |")),
        "{}",
        ran.summary
    );
    // What the run itself prints stands where the runner takes no commands.
    let begin = ran
        .said
        .out
        .find("::stop-commands::")
        .expect("they are stopped");
    let end = ran.said.out.rfind("::kfconform-").expect("they go on");
    let table = ran.said.out.find("component ").expect("the table");
    assert!(begin < table && table < end && end < ran.said.out.find("::error").expect("annotated"));

    // Nothing was run: there is no verdict, and no gate lets that pass.
    let dir = folder();
    let ran = action(dir.path(), "--no-such-setting");
    assert_eq!((ran.output("code"), ran.output("verdict")), ("2", ""));
    assert!(
        ran.said
            .out
            .contains("::error title=Kubeflow conformance::"),
        "{}",
        ran.said.out
    );
}

/// A result to compare with, in a file beside the folder that a run leaves.
fn baseline(dir: &Path, fault: &str) -> String {
    let ran = action(dir, &format!("--reference\n{ONE}\n{fault}"));
    assert_eq!(ran.output("diff"), "");
    let kept = dir.join("baseline.json");
    fs::rename(dir.join("a result/results.json"), &kept).expect("kept");
    fs::remove_dir_all(dir.join("a result")).expect("removed");
    for name in ["outputs", "summary"] {
        fs::remove_file(dir.join(name)).expect("removed");
    }
    kept.to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_action_fails_where_it_got_worse_than_the_baseline() {
    let fault = &*format!("--fault={FAULT}");
    for (before, now, worse) in [("", fault, "1"), (fault, fault, "0"), (fault, "", "0")] {
        let dir = folder();
        let baseline = baseline(dir.path(), before);
        let arguments = format!("--reference\n{ONE}\n{now}");
        let ran = action_against(dir.path(), &arguments, &baseline);
        let diff = ran.output("diff");
        assert_eq!(diff, worse, "{before} {now}");
        let annotated = ran.said.out.contains("::It got worse than the baseline");
        assert_eq!(annotated, worse == "1", "{}", ran.said.out);
        assert!(ran.summary.contains("baseline.json"), "{}", ran.summary);
        assert_eq!(
            gate_against(ran.output("code"), "nothing", diff).to_string(),
            worse
        );
    }
    // What cannot be compared lets nothing pass.
    let dir = folder();
    let arguments = format!("--reference\n{ONE}");
    let ran = action_against(dir.path(), &arguments, "no-such-result");
    assert_eq!((ran.output("code"), ran.output("diff")), ("0", "2"));
    assert!(
        ran.said
            .out
            .contains("::The baseline could not be compared with")
    );
    assert_eq!(gate_against("0", "nothing", "2"), 2);
    let dir = folder();
    let kept = baseline(dir.path(), "");
    let ran = action_against(dir.path(), "--no-such-setting", &kept);
    assert_eq!((ran.output("code"), ran.output("diff")), ("2", "2"));
}

#[test]
fn the_gate_fails_on_what_it_is_told_to() {
    for (code, fail_on, expected) in [
        ("0", "incomplete", 0),
        ("1", "incomplete", 1),
        ("3", "incomplete", 3),
        ("0", "non-conformant", 0),
        ("1", "non-conformant", 1),
        ("3", "non-conformant", 0),
        ("1", "nothing", 0),
        ("3", "nothing", 0),
        // A run that was not possible as asked for checked nothing.
        ("2", "nothing", 2),
        ("2", "non-conformant", 2),
        ("130", "nothing", 130),
        ("", "nothing", 2),
        ("1", "never", 2),
        ("0", "never", 2),
    ] {
        assert_eq!(gate(code, fail_on), expected, "{code} {fail_on}");
    }
}

#[test]
fn the_action_is_whole() {
    let action = yaml(".github/actions/run/action.yml");
    assert_eq!(action["runs"]["using"], "composite");
    let inputs = action["inputs"].as_object().expect("inputs");
    let text = read(root().join(".github/actions/run/action.yml"));
    for (name, input) in inputs {
        assert!(
            input["description"].is_string() && input["default"].is_string(),
            "{name}"
        );
        assert!(text.contains(&format!("inputs.{name}")), "{name} is read");
    }
    for used in text.split("inputs.").skip(1) {
        let end = used.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let name = &used[..end.unwrap_or(used.len())];
        assert!(inputs.contains_key(name), "{name}");
    }
    for step in action["runs"]["steps"].as_array().expect("steps") {
        // No value is text of a script; what is used of others is pinned.
        if let Some(run) = step["run"].as_str() {
            assert!(!run.contains("${{"), "{run}");
            assert_eq!(step["shell"], "bash");
        } else {
            let uses = step["uses"].as_str().expect("it runs or uses");
            let (_, commit) = uses.split_once('@').expect("a version");
            assert!(
                commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()),
                "{uses}"
            );
        }
    }
    #[cfg(unix)]
    for script in ["run.sh", "gate.sh"] {
        use std::os::unix::fs::PermissionsExt;
        let path: PathBuf = root().join(".github/actions/run").join(script);
        assert!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o111 != 0,
            "{script} can be run"
        );
        shell(
            folder().path(),
            &["bash", "-n", path.to_str().expect("UTF-8")],
            &[],
        )
        .exits(0);
    }
}

#[test]
fn the_template_for_gitlab_runs() {
    let template = yaml(".ci/templates/gitlab.yml");
    let job = &template[".kfconform"];
    let image = job["variables"]["KFCONFORM_IMAGE"]
        .as_str()
        .expect("an image");
    assert!(
        image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))),
        "{image}"
    );
    assert_eq!(job["artifacts"]["when"], "always");
    let junit = job["artifacts"]["reports"]["junit"]
        .as_str()
        .expect("a path");
    let script: Vec<&str> = job["script"]
        .as_array()
        .expect("a script")
        .iter()
        .map(|l| l.as_str().expect("a line"))
        .collect();
    // The runner joins the lines, and ends at the first that fails.
    let script = format!("set -e\n{}\n", script.join("\n"));
    for (fault, code) in [("", 0), (FAULT, 1)] {
        let dir = folder();
        let fault = if fault.is_empty() {
            String::new()
        } else {
            format!("--fault {fault}")
        };
        let arguments = format!("--reference --profile katib {ONE} {fault}");
        shell(
            dir.path(),
            &["sh", "-c", &script],
            &[("KFCONFORM_ARGUMENTS", &arguments)],
        )
        .exits(code);
        assert!(dir.path().join(junit).is_file());
        for path in job["artifacts"]["paths"].as_array().expect("paths") {
            assert!(
                dir.path().join(path.as_str().expect("a path")).exists(),
                "{path}"
            );
        }
        assert!(read(dir.path().join("kfconform.md")).starts_with("## "));
        // What was so before lets the job pass; what got worse does not.
        fs::rename(
            dir.path().join("kfconform-result"),
            dir.path().join("earlier"),
        )
        .expect("kept");
        for (now, code) in [
            (String::new(), 0),
            (format!("--fault {FAULT}"), i32::from(fault.is_empty())),
        ] {
            let arguments = format!("--reference --profile katib {ONE} {now}");
            let env = [
                ("KFCONFORM_ARGUMENTS", arguments.as_str()),
                ("KFCONFORM_BASELINE", "earlier"),
            ];
            shell(dir.path(), &["sh", "-c", &script], &env).exits(code);
            assert!(read(dir.path().join("kfconform.md")).contains("earlier"));
            fs::remove_dir_all(dir.path().join("kfconform-result")).expect("removed");
        }
    }
    // A run that leaves nothing fails the job by its own code.
    let dir = folder();
    shell(
        dir.path(),
        &["sh", "-c", &script],
        &[("KFCONFORM_ARGUMENTS", "--wrong")],
    )
    .exits(2);
}

#[test]
fn the_snippet_for_jenkins_runs() {
    let text = read(root().join(".ci/templates/Jenkinsfile"));
    for (open, close) in [('{', '}'), ('(', ')'), ('[', ']')] {
        assert_eq!(
            text.matches(open).count(),
            text.matches(close).count(),
            "{open}"
        );
    }
    let script = text.split("'''").nth(1).expect("a script");
    let dir = folder();
    for (arguments, code) in [("--profile katib", 0), ("--profile none", 2)] {
        let arguments = format!("--reference {ONE} {arguments}");
        shell(
            dir.path(),
            &["sh", "-ec", script],
            &[("KFCONFORM_ARGUMENTS", &arguments)],
        )
        .exits(code);
        let junit = dir.path().join("kfconform-result/junit.xml");
        assert_eq!(junit.is_file(), code == 0);
    }
    assert!(text.contains("junit testResults: 'kfconform-result/junit.xml'"));
}
