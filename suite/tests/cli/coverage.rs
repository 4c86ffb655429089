//! How much of the APIs a result exercised: of a real installation's recording, and of results that nobody made by a run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{folder, kfconform, read};

/// What a real installation of Katib left.
fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings/katib-v0.19.0")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The items of an API in a document: operations and fields.
fn items<'a>(document: &'a Value, api: &str) -> impl Iterator<Item = &'a Value> {
    let apis = document["apis"].as_array().expect("a list");
    let api = apis.iter().find(|a| a["name"] == api).expect("the API");
    ["operations", "fields"]
        .into_iter()
        .flat_map(|list| api[list].as_array().expect("a list"))
}

#[test]
fn a_recording_says_what_was_exercised_and_by_which_requirements() {
    let (dir, recording) = (folder(), recording());
    let said = |more: &[&str]| {
        let args = [&["coverage", text(&recording)][..], more].concat();
        kfconform(dir.path(), &args).exits(0).out
    };
    let brief: Value = serde_json::from_str(&said(&["--format", "json"])).expect("JSON");
    let by: Value = serde_json::from_str(&said(&["--by", "--format", "json"])).expect("JSON");
    assert_eq!(by["kind"], "Coverage");
    let create = items(&by, "Experiment").next().expect("an operation");
    assert_eq!(
        (&create["what"], &create["level"]),
        (&"create".into(), &"core".into())
    );
    let named = create["by"].as_array().expect("requirements");
    assert!(
        named.contains(&"katib/experiment/reaches-goal".into()),
        "{create}"
    );
    assert!(items(&brief, "Experiment").all(|item| item.get("by").is_none()));
    // What it was not asked, it did not exercise.
    assert!(items(&by, "Notebook").all(|item| item.get("level").is_none()));

    let (plain, with) = (said(&[]), said(&["--by"]));
    assert!(
        plain.contains("Experiment (katib): operations 4 of 4 (4 core)"),
        "{plain}"
    );
    assert!(!plain.contains("katib/experiment/") && with.contains("katib/experiment/reaches-goal"));
    let table = said(&["--format", "markdown"]);
    assert!(table.starts_with("| Component | API |"), "{table}");

    // Of no result: what the reference's run of everything exercises, which says no requirements.
    let reference = kfconform(dir.path(), &["coverage"]).exits(0).out;
    assert!(
        reference.contains("Notebook (notebooks): operations 4 of 4"),
        "{reference}"
    );
    let said = kfconform(dir.path(), &["coverage", "--by"]).exits(2);
    assert!(said.err.contains("RESULT"), "{}", said.err);
}

/// A copy of the recording with its results changed.
fn changed(dir: &Path, change: impl FnOnce(&mut Value)) {
    fs::copy(
        recording().join("evidence.tar.gz"),
        dir.join("evidence.tar.gz"),
    )
    .expect("copied");
    let mut results: Value =
        serde_json::from_str(&read(recording().join("results.json"))).expect("JSON");
    change(&mut results);
    fs::write(dir.join("results.json"), results.to_string()).expect("written");
}

/// What is done to the files of a result.
type Harm = fn(&Path);

#[test]
fn what_is_no_result_is_an_error_that_says_why() {
    let (evidence, results) = ("evidence.tar.gz", "results.json");
    let harms: [(Harm, &str, &str); 7] = [
        (
            |dir| fs::remove_file(dir.join("evidence.tar.gz")).expect("gone"),
            evidence,
            "No such file",
        ),
        (
            |dir| fs::write(dir.join("evidence.tar.gz"), "no gzip").expect("written"),
            evidence,
            "",
        ),
        (
            |dir| {
                let bytes = fs::read(dir.join("evidence.tar.gz")).expect("there");
                fs::write(dir.join("evidence.tar.gz"), &bytes[..bytes.len() / 2]).expect("written");
            },
            evidence,
            "",
        ),
        (
            |dir| fs::remove_file(dir.join("results.json")).expect("gone"),
            results,
            "cannot read",
        ),
        (
            |dir| fs::write(dir.join("results.json"), "{}").expect("written"),
            results,
            "",
        ),
        (
            |dir| fs::write(dir.join("results.json"), "[".repeat(100_000)).expect("written"),
            results,
            "is not a valid result",
        ),
        (
            |dir| {
                let file = fs::File::create(dir.join("results.json")).expect("made");
                file.set_len(64 << 20).expect("long");
            },
            results,
            "",
        ),
    ];
    for (at, (harm, file, why)) in harms.into_iter().enumerate() {
        let dir = folder();
        changed(dir.path(), |_| {});
        kfconform(dir.path(), &["coverage", "."]).exits(0);
        harm(dir.path());
        let said = kfconform(dir.path(), &["coverage", "."]).exits(2);
        assert!(
            said.out.is_empty() && said.err.starts_with("error: "),
            "{at}: {}",
            said.out
        );
        assert!(
            said.err.contains(file) && said.err.contains(why),
            "{at}: {}",
            said.err
        );
        assert!(said.err.len() < 1000, "{at}: {}", said.err.len());
    }
}

/// As many checks as a file may hold, each naming the evidence with the most behind it.
#[test]
fn a_result_of_very_many_checks_is_soon_counted() {
    let dir = folder();
    changed(dir.path(), |results| {
        let checks = results["checks"].as_array_mut().expect("checks");
        let of = |id: &str| {
            checks
                .iter()
                .find(|check| check["id"] == id)
                .expect(id)
                .clone()
        };
        let one = of("katib/experiment/reaches-goal");
        let same = (0..40_000).map(|n| {
            let mut check = one.clone();
            check["id"] = format!("katib/experiment/n{n}").into();
            check
        });
        *checks = same.collect();
    });
    let size = fs::metadata(dir.path().join("results.json"))
        .expect("there")
        .len();
    assert!(size > 10 << 20, "{size}");
    let begun = std::time::Instant::now();
    let said = kfconform(dir.path(), &["coverage", ".", "--by", "--format", "json"]).exits(0);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    let coverage: Value = serde_json::from_str(&said.out).expect("JSON");
    // The evidence is one check's: it counts for the first that names it.
    let create = items(&coverage, "Experiment").next().expect("an operation");
    assert_eq!(create["by"], json!(["katib/experiment/n0"]));
}

#[test]
fn what_a_result_calls_its_checks_does_not_act_on_a_terminal() {
    let dir = folder();
    changed(dir.path(), |results| {
        for check in results["checks"].as_array_mut().expect("checks") {
            check["id"] = "katib/x/\u{1b}[31mred\u{202e}\nline".into();
        }
    });
    for format in ["text", "json", "markdown"] {
        let args = ["coverage", ".", "--by", "--format", format];
        let said = kfconform(dir.path(), &args).exits(0);
        assert!(
            !said.out.contains(['\u{1b}', '\u{202e}']),
            "{format}: {}",
            said.out
        );
        assert!(
            !said.out.lines().any(|line| line.starts_with("line")),
            "{format}"
        );
    }
}
