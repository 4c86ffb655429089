//! Two results, compared: the gate of a release.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{folder, kfconform, read};

/// A file or folder of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a real installation of Pipelines left.
const RECORDING: &str = "fixtures/recordings/pipelines-2.17.0-multi-user";

/// The recording with every check of this outcome put to another.
fn changed(dir: &Path, from: &str, to: &str) -> PathBuf {
    let mut results: Value =
        serde_json::from_str(&read(repository(RECORDING).join("results.json"))).expect("JSON");
    for check in results["checks"].as_array_mut().expect("checks") {
        if check["outcome"] == from {
            check["outcome"] = to.into();
        }
    }
    let file = dir.join(format!("{to}.json"));
    std::fs::write(&file, results.to_string()).expect("written");
    file
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_recording_is_as_good_as_itself_and_worse_than_without_its_failures() {
    let dir = folder();
    let recording = repository(RECORDING);
    let failures = {
        let results: Value =
            serde_json::from_str(&read(recording.join("results.json"))).expect("JSON");
        let checks = results["checks"].as_array().expect("checks").clone();
        checks.iter().filter(|c| c["outcome"] == "failed").count()
    };
    assert!(failures > 0, "the recording shows what is wrong there");
    let same = kfconform(dir.path(), &["diff", text(&recording), text(&recording)]).exits(0);
    assert!(same.out.ends_with("nothing got worse\n"), "{}", same.out);

    let before = changed(dir.path(), "failed", "passed");
    let args = ["diff", text(&before), text(&recording)];
    let worse = kfconform(dir.path(), &args).exits(1);
    assert!(
        worse.out.contains(&format!("worse ({failures}):")),
        "{}",
        worse.out
    );
    let back = ["diff", text(&recording), text(&before)];
    let better = kfconform(dir.path(), &back).exits(0);
    assert!(better.out.contains(&format!("better ({failures}):")));

    for format in ["text", "json", "markdown", "junit"] {
        let mut with = args.to_vec();
        with.extend(["--format", format]);
        let said = kfconform(dir.path(), &with).exits(1);
        assert!(!said.out.contains('\u{1b}') && said.err.is_empty());
        match format {
            "json" => {
                let json: Value = serde_json::from_str(&said.out).expect("JSON");
                assert_eq!(
                    (&json["kind"], &json["isWorse"]),
                    (&"Diff".into(), &true.into())
                );
                assert_eq!(json["worse"].as_array().map(Vec::len), Some(failures));
            }
            "junit" => {
                assert_eq!(said.out.matches("<failure").count(), failures);
            }
            "markdown" => assert!(said.out.starts_with("### ❌ ")),
            _ => {}
        }
    }
}

#[test]
fn a_submission_is_compared_with_a_recording() {
    // The sample is of the reference and of everything: what the recording was not asked is gone.
    let sample = repository("reports/sample/26.03/sample-platform/1.0.0");
    let recording = repository(RECORDING);
    let dir = folder();
    let args = ["diff", text(&sample), text(&recording), "--format", "json"];
    let said = kfconform(dir.path(), &args);
    let json: Value = serde_json::from_str(&said.out).expect("JSON");
    let list = |name: &str| json[name].as_array().map_or(0, Vec::len);
    assert!(
        json["compared"].as_u64() > Some(20) && list("gone") > 20,
        "{}",
        said.out
    );
    let differences = json["differences"].as_array().expect("a list");
    for what in ["target", "selection"] {
        assert!(differences.iter().any(|d| d["what"] == what), "{what}");
    }
    assert_eq!(said.code, i32::from(json["isWorse"] == true));
}

#[test]
fn what_is_no_result_or_shares_nothing_is_not_compared() {
    let dir = folder();
    let write = |name: &str, bytes: &str| {
        std::fs::write(dir.path().join(name), bytes).expect("written");
    };
    write("other.json", r#"{"apiVersion": "v1", "kind": "Pod"}"#);
    write(
        "broken.json",
        r#"{"apiVersion": "conformance.kubeflow.org/v1", "kind": "Results""#,
    );
    write("deep.json", &"[".repeat(100_000));
    std::fs::create_dir(dir.path().join("empty")).expect("made");
    let recording = repository(RECORDING);
    for (path, why) in [
        ("missing", "cannot read"),
        ("empty", "cannot read"),
        ("other.json", "is `v1` `Pod`"),
        ("broken.json", "is not a valid result"),
        ("deep.json", "is not a valid result"),
    ] {
        for args in [
            ["diff", path, text(&recording)],
            ["diff", text(&recording), path],
        ] {
            let said = kfconform(dir.path(), &args).exits(2);
            assert!(
                said.err.contains(why) && said.out.is_empty(),
                "{}",
                said.err
            );
        }
    }
    let other = repository("fixtures/recordings/katib-v0.19.0");
    let said = kfconform(dir.path(), &["diff", text(&recording), text(&other)]).exits(3);
    assert!(
        said.err.contains("no requirement in common"),
        "{}",
        said.err
    );
}

#[cfg(unix)]
#[test]
fn a_link_is_not_followed_to_where_it_leads() {
    let dir = folder();
    let result = dir.path().join("result");
    std::fs::create_dir(&result).expect("made");
    std::os::unix::fs::symlink("/dev/zero", result.join("results.json")).expect("linked");
    let recording = repository(RECORDING);
    let said = kfconform(dir.path(), &["diff", "result", text(&recording)]).exits(2);
    assert!(said.err.contains("is not a regular file"), "{}", said.err);
}
