//! A run's folder: the files of the contract, signed, and refused after one byte.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::{folder, kfconform, program, read, results};

/// The files of a signed result, in the contract's words; `tr.json` is what cosign wants beside them.
const FILES: [&str; 6] = [
    "attestation.sigstore.json",
    "evidence.tar.gz",
    "junit.xml",
    "report.html",
    "results.json",
    "tr.json",
];

fn names(dir: &Path) -> BTreeSet<String> {
    dir.read_dir()
        .expect("readable")
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[test]
fn a_result_verifies_and_no_byte_of_it_can_change() {
    let dir = folder();
    let said = kfconform(
        dir.path(),
        &[
            "run",
            "--reference",
            "--only",
            "katib/validation/objective",
            "--out",
            "deep/result-1.0",
        ],
    )
    .exits(0);
    let out = dir.path().join("deep/result-1.0");
    assert_eq!(names(&out), FILES.map(str::to_owned).into());
    // The public key of a run without --key is beside the folder, under its whole name.
    let public = "deep/result-1.0.pub";
    assert!(
        said.out.contains(&format!(
            "kfconform verify deep/result-1.0 --trust {public}"
        )),
        "{}",
        said.out
    );

    let verify = |more: &[&str]| {
        kfconform(
            dir.path(),
            &[&["verify", "deep/result-1.0", "--trust", public], more].concat(),
        )
    };
    let said = verify(&[]).exits(0);
    assert!(
        said.out.contains("verified: 4 files")
            && said.out.contains("cosign verify-blob-attestation"),
        "{}",
        said.out
    );
    let said = verify(&["--format", "json"]).exits(0);
    let said: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(
        (&said["verified"], said["files"].as_array().map(Vec::len)),
        (&Value::Bool(true), Some(4))
    );

    for name in FILES {
        let path = out.join(name);
        let good = fs::read(&path).expect(name);
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).expect(name);
            let said = verify(&[]).exits(1);
            assert!(
                said.err.contains("deep/result-1.0 is refused"),
                "{}",
                said.err
            );
            assert!(said.err.contains(name), "{name}: {}", said.err);
            let said = verify(&["--format", "json"]).exits(1);
            let said: Value = serde_json::from_str(&said.out).expect("JSON");
            assert_eq!(said["verified"], false);
        }
        fs::remove_file(&path).expect(name);
        if name == "tr.json" {
            // Without it the signature says the same.
            verify(&[]).exits(0);
        } else {
            verify(&[]).exits(1);
        }
        fs::write(&path, good).expect(name);
    }
    fs::write(out.join("more.txt"), "").expect("written");
    assert!(
        verify(&[])
            .exits(1)
            .err
            .contains("`more.txt` was not signed")
    );
    fs::remove_file(out.join("more.txt")).expect("removed");
    verify(&[]).exits(0);

    // What cannot be asked at all is a usage error.
    kfconform(dir.path(), &["verify", "none", "--trust", public]).exits(2);
    kfconform(
        dir.path(),
        &["verify", "deep/result-1.0", "--trust", "none.pub"],
    )
    .exits(2);
    kfconform(
        dir.path(),
        &["run", "--reference", "--out", "deep/result-1.0"],
    )
    .exits(2);
    // The evidence is there to be read, and comes to the same.
    let said = kfconform(
        dir.path(),
        &["evidence", "deep/result-1.0", "katib/validation/objective"],
    )
    .exits(0);
    assert!(said.out.contains("dryRun=All"), "{}", said.out);
    kfconform(dir.path(), &["evidence", "deep/result-1.0", "--replay"]).exits(0);
}

#[test]
fn keys_are_made_opened_and_mistaken_for_one_another() {
    let dir = folder();
    let with = |password: Option<&str>, args: &[&str]| {
        let mut command = program(dir.path(), args);
        if let Some(password) = password {
            command.env("COSIGN_PASSWORD", password);
        }
        crate::Said::from(command.output().expect("starts"))
    };
    // Nobody to ask, and no variable: nothing is written.
    assert!(
        with(None, &["keygen", "--out", "mine"])
            .exits(2)
            .err
            .contains("COSIGN_PASSWORD")
    );
    assert_eq!(names(dir.path()), BTreeSet::new());
    with(Some("one"), &["keygen", "--out", "mine"]).exits(0);
    with(Some(""), &["keygen", "--out", "other"]).exits(0);
    assert_eq!(
        names(dir.path()),
        ["mine.key", "mine.pub", "other.key", "other.pub"]
            .map(str::to_owned)
            .into()
    );
    assert!(
        read(dir.path().join("mine.key"))
            .starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----")
    );
    assert!(read(dir.path().join("mine.pub")).starts_with("-----BEGIN PUBLIC KEY-----"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(dir.path().join("mine.key"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "others may not read a private key");
    }
    // A key is never written over.
    let before = read(dir.path().join("mine.key"));
    with(Some("two"), &["keygen", "--out", "mine"]).exits(2);
    assert_eq!(read(dir.path().join("mine.key")), before);

    // A wrong password shows before the run, not after it.
    let run = [
        "run",
        "--reference",
        "--only",
        "katib/validation/objective",
        "--key",
        "mine.key",
        "--out",
        "result",
    ];
    let said = with(Some("two"), &run).exits(2);
    assert!(said.err.contains("password"), "{}", said.err);
    assert!(!dir.path().join("result").exists());
    with(Some("one"), &run).exits(0);
    assert!(
        !dir.path().join("result.pub").exists(),
        "the key's own public half is the one to trust"
    );
    with(None, &["verify", "result", "--trust", "mine.pub"]).exits(0);
    assert!(
        with(None, &["verify", "result", "--trust", "other.pub"])
            .exits(1)
            .err
            .contains("refused")
    );
    // A private key is none to trust.
    with(None, &["verify", "result", "--trust", "mine.key"]).exits(2);

    let attestation = dir.path().join("result/attestation.sigstore.json");
    fs::remove_file(&attestation).expect("removed");
    assert!(
        with(None, &["verify", "result", "--trust", "mine.pub"])
            .exits(1)
            .err
            .contains("not signed")
    );
    with(Some(""), &["sign", "result", "--key", "other.key"]).exits(0);
    with(None, &["verify", "result", "--trust", "other.pub"]).exits(0);
    with(Some("one"), &["sign", "none", "--key", "mine.key"]).exits(2);
    with(Some("one"), &["sign", "result", "--key", "mine.pub"]).exits(2);
}

#[test]
fn a_fault_is_named_by_everything_that_is_written() {
    let dir = folder();
    let id = "katib/validation/objective";
    let fault = "katib/validation/objective:type";
    let said = kfconform(
        dir.path(),
        &[
            "run",
            "--reference",
            "--fault",
            fault,
            "--only",
            id,
            "--only",
            "katib/validation/parameters",
            "--out",
            "out",
        ],
    )
    .exits(1);
    assert!(
        said.err.contains("FAIL [") && said.err.contains(id),
        "{}",
        said.err
    );
    for part in [
        "FAIL katib/validation/objective (core)",
        "expected",
        "observed",
        "kfconform explain katib/validation/objective",
        "non-conformant",
        "faults were switched on: katib/validation/objective:type",
    ] {
        assert!(
            said.out.contains(part),
            "`{part}` is missing:\n{}",
            said.out
        );
    }

    let out = dir.path().join("out");
    let results = results(&out);
    assert_eq!(results["verdict"], "non-conformant");
    assert_eq!(results["submittable"], false);
    assert_eq!(results["run"]["faults"][0], fault);
    let outcomes: Vec<(&str, &str)> = results["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .map(|c| {
            (
                c["id"].as_str().expect("an id"),
                c["outcome"].as_str().expect("an outcome"),
            )
        })
        .collect();
    assert_eq!(
        outcomes,
        [(id, "failed"), ("katib/validation/parameters", "passed")]
    );
    let schema: Value = serde_json::from_str(&read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/specs/schema/results.schema.json"
    )))
    .expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let wrong: Vec<String> = validator
        .iter_errors(&results)
        .map(|e| e.to_string())
        .collect();
    assert_eq!(wrong, Vec::<String>::new());

    let junit = read(out.join("junit.xml"));
    assert!(
        junit.contains(&format!("name=\"{id}\"")) && junit.matches("<failure").count() == 1,
        "{junit}"
    );
    assert!(read(out.join("report.html")).contains(id));
    // A failed result is signed like any other, and verifies: what it says is another matter.
    kfconform(dir.path(), &["verify", "out", "--trust", "out.pub"]).exits(0);
    kfconform(dir.path(), &["evidence", "out", "--replay"]).exits(0);
}
