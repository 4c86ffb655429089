//! What other programmes are given: written from a result that holds, or not at all.

use std::{fs, path::Path, sync::OnceLock};

use crate::{Said, folder, kfconform, read, with_key};

/// A folder with two keys and a result of the reference, made once.
fn desk() -> &'static Path {
    static DESK: OnceLock<tempfile::TempDir> = OnceLock::new();
    DESK.get_or_init(|| {
        let dir = folder();
        for name in ["my", "other"] {
            with_key(dir.path(), &["keygen", "--out", name]).exits(0);
        }
        run(dir.path(), "result", &["--profile", "trainer"]).exits(0);
        dir
    })
    .path()
}

fn run(dir: &Path, out: &str, more: &[&str]) -> Said {
    let run = [
        "run",
        "--reference",
        "--quiet",
        "--key",
        "my.key",
        "--out",
        out,
    ];
    with_key(dir, &[&run[..], more].concat())
}

fn export(result: &str, out: &str, more: &[&str]) -> Said {
    let args = ["export", "ai-conformance", result, "--out", out];
    kfconform(desk(), &[&args[..], more].concat())
}

#[test]
fn a_result_of_the_reference_is_at_most_a_sample() {
    let trust = ["--trust", "my.pub"];
    let said = export("result", "no", &trust).exits(1);
    assert!(
        said.err
            .contains("on the embedded reference, not on a cluster"),
        "{}",
        said.err
    );
    assert!(!desk().join("no").exists(), "nothing is written");

    let link = "https://example.org/result";
    let more = ["--trust", "my.pub", "--allow-sample", "--link", link];
    let said = export("result", "sample", &more).exits(0);
    assert!(
        said.out
            .contains("robust_controller: a sample that claims nothing"),
        "{}",
        said.out
    );
    let item = read(desk().join("sample/robust_controller.yaml"));
    let page = read(desk().join("sample/robust_controller.md"));
    for text in [&item, &page] {
        assert!(!text.contains("Implemented"), "{text}");
        assert!(text.contains(link), "{text}");
    }
    // The page names the result by what anybody can compute of it.
    let said = kfconform(
        desk(),
        &["verify", "result", "--trust", "my.pub", "--format", "json"],
    );
    let verified: serde_json::Value = serde_json::from_str(&said.exits(0).out).expect("JSON");
    for file in verified["files"].as_array().expect("files") {
        assert!(
            page.contains(file["sha256"].as_str().expect("a digest")),
            "{file}"
        );
    }
    assert!(page.contains("`trainer/trainjob/completes` | A TrainJob completes | passed |"));

    let json = export(
        "result",
        "json",
        &[&more[..], &["--format", "json"]].concat(),
    )
    .exits(0);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["export"]["status"], "");
    assert_eq!(json["export"]["operators"][0]["operator"], "trainer");

    // What is there is not written over.
    let said = export("result", "sample", &more).exits(2);
    assert!(said.err.contains("is not empty"), "{}", said.err);
}

#[test]
fn what_does_not_prove_it_writes_nothing_and_says_why() {
    let desk = desk();
    let fault = [
        "--profile",
        "trainer",
        "--fault",
        "trainer/trainjob/completes",
    ];
    run(desk, "failed", &fault).exits(1);
    run(desk, "other-profile", &["--profile", "hub"]).exits(0);
    let some = ["--profile", "trainer", "--only", "trainer/api/*"];
    run(desk, "some", &some).exits(0);
    for (copied, file) in [("changed", "results.json"), ("evidence", "evidence.tar.gz")] {
        fs::create_dir(desk.join(copied)).expect("made");
        for entry in fs::read_dir(desk.join("result")).expect("there") {
            let entry = entry.expect("a file");
            fs::copy(entry.path(), desk.join(copied).join(entry.file_name())).expect("copied");
        }
        let path = desk.join(copied).join(file);
        let mut bytes = fs::read(&path).expect("there");
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        fs::write(&path, bytes).expect("written");
    }
    fs::create_dir(desk.join("nothing")).expect("made");
    let mine: &[&str] = &["--trust", "my.pub", "--allow-sample"];
    for (result, more, code, says) in [
        ("failed", mine, 1, "policy/conformant"),
        ("some", mine, 1, "left requirements out"),
        ("other-profile", mine, 1, "profile hub shows of no operator"),
        ("changed", mine, 1, "signature/valid"),
        ("evidence", mine, 1, "signature/valid"),
        ("nothing", mine, 1, "there is no attestation.sigstore.json"),
        ("result", &["--allow-sample"], 1, "name that with --trust"),
        (
            "result",
            &["--trust", "other.pub", "--allow-sample"],
            1,
            "signature/valid",
        ),
        ("result", &["--trust", "no.pub"], 2, "no.pub"),
        (
            "result",
            &["--trust", "my.pub", "--link", "page.md"],
            2,
            "`page.md` is no address",
        ),
        (
            "no-such",
            mine,
            2,
            "no-such is no folder; give a result folder",
        ),
    ] {
        let said = export(result, "refused", more).exits(code);
        assert!(said.err.contains(says), "{result}: {}", said.err);
        assert!(said.err.starts_with("error: "), "{}", said.err);
        assert!(
            !desk.join("refused").exists(),
            "{result}: nothing is written"
        );
    }
}
