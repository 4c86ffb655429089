//! From a result to a submission and to its review, as a vendor and a reviewer do it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::Value;

use crate::{PRODUCT, Said, folder, kfconform, read, results, with_key};

/// A folder with a key, another key, a product and a result of the reference, made once.
fn desk() -> &'static Path {
    static DESK: OnceLock<tempfile::TempDir> = OnceLock::new();
    DESK.get_or_init(|| {
        let dir = folder();
        fs::write(dir.path().join("product.yaml"), PRODUCT).expect("written");
        for name in ["my", "other"] {
            with_key(dir.path(), &["keygen", "--out", name]).exits(0);
        }
        run(dir.path(), "result", &[]).exits(0);
        dir
    })
    .path()
}

fn run(dir: &Path, out: &str, more: &[&str]) -> Said {
    let run = [
        "run",
        "--reference",
        "--quiet",
        "--out",
        out,
        "--key",
        "my.key",
    ];
    let profile: &[&str] = if more.contains(&"--profile") {
        &[]
    } else {
        &["--profile", "notebooks"]
    };
    with_key(dir, &[&run[..], profile, more].concat())
}

/// Submits a result of the desk at the place below a folder of its own.
fn submit(result: &str, product: &str, more: &[&str]) -> (Said, PathBuf, tempfile::TempDir) {
    let to = folder();
    let out = to.path().join("reports/26.03/aurora-ml-platform/3.2.0");
    let place = out.to_str().expect("UTF-8").to_owned();
    let args = [
        "submit",
        result,
        "--product",
        product,
        "--key",
        "my.key",
        "--out",
        &place,
    ];
    (with_key(desk(), &[&args[..], more].concat()), out, to)
}

#[test]
fn what_may_not_be_submitted_is_refused_with_the_reason_and_nothing_is_written() {
    let desk = desk();
    let file = |name: &str, from: &str, to: &str| {
        assert!(PRODUCT.contains(from), "{from}");
        fs::write(desk.join(name), PRODUCT.replace(from, to)).expect("written");
    };
    file("kf.yaml", "Aurora ML Platform", "KFCube");
    file("kubeflow.yaml", "Aurora ML Platform", "Kubeflow Aurora");
    file(
        "certified.yaml",
        "Aurora ML Platform",
        "Aurora (Certified Kubeflow)",
    );
    file("elsewhere.yaml", "3.2.0", "3.3.0");
    file("release.yaml", "26.03", "1.11");
    // The requirements with a word changed.
    let specs = desk.join("specs");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("specs"), &specs);
    let requirements = specs.join("requirements/notebooks.yaml");
    fs::write(
        &requirements,
        read(&requirements).replacen("title: ", "title: Almost ", 1),
    )
    .expect("written");

    let fault = first_fault("notebooks/validation/");
    run(desk, "fault", &["--fault", &fault]).exits(1);
    run(desk, "subset", &["--only", "notebooks/validation/*"]).exits(0);
    run(desk, "altered", &["--specs", "specs"]).exits(0);
    run(desk, "old", &["--release", "1.9"]).exits(0);
    run(
        desk,
        "everything",
        &["--profile", "all", "--only", "notebooks/*"],
    );
    let sample: &[&str] = &["--allow-sample"];
    for (result, product, more, rule, says) in [
        (
            "result",
            "product.yaml",
            &[][..],
            "policy/target",
            "on the embedded reference: it is a sample",
        ),
        (
            "result",
            "product.yaml",
            &[][..],
            "policy/suite",
            "is not released",
        ),
        (
            "fault",
            "product.yaml",
            sample,
            "policy/whole",
            "the reference was made to deviate",
        ),
        (
            "fault",
            "product.yaml",
            sample,
            "policy/conformant",
            "non-conformant",
        ),
        (
            "subset",
            "product.yaml",
            sample,
            "policy/whole",
            "left requirements out",
        ),
        (
            "altered",
            "product.yaml",
            sample,
            "suite/specs",
            "put other requirements in place",
        ),
        (
            "altered",
            "product.yaml",
            &["--specs", "specs"],
            "suite/specs",
            "put other requirements in place",
        ),
        (
            "old",
            "product.yaml",
            &[],
            "policy/release",
            "Kubeflow 1.9 is not one of the 3 newest: 1.10, 1.11, 26.03",
        ),
        (
            "everything",
            "product.yaml",
            &[],
            "policy/profile",
            "no mark needs the profile `all`",
        ),
        (
            "result",
            "kf.yaml",
            sample,
            "product/name",
            "proposals/434-kubeflow-distribution",
        ),
        (
            "result",
            "kubeflow.yaml",
            sample,
            "product/name",
            "proposals/434-kubeflow-distribution",
        ),
        (
            "result",
            "certified.yaml",
            sample,
            "product/name",
            "proposals/524-kubeflow-conformance-program",
        ),
        (
            "result",
            "elsewhere.yaml",
            sample,
            "product/place",
            "belongs at reports/26.03/aurora-ml-platform/3.3.0",
        ),
        (
            "result",
            "release.yaml",
            sample,
            "product/release",
            "says Kubeflow 1.11, and 26.03 was checked",
        ),
    ] {
        if rule == "policy/suite" && released() {
            continue;
        }
        let (said, out, to) = submit(result, product, more);
        let said = said.exits(1);
        let lines: Vec<&str> = said
            .out
            .lines()
            .filter(|line| line.trim_start().starts_with(rule))
            .collect();
        assert!(
            lines.iter().any(|line| line.contains(says)),
            "{result}, {product}: {rule}, {says}\n{}",
            said.out
        );
        assert!(said.out.contains("nothing was written"), "{}", said.out);
        assert!(
            !out.exists() && to.path().read_dir().expect("readable").next().is_none(),
            "{result}: something was written"
        );
    }
    // What is not even read is the caller's to mend.
    fs::write(desk.join("broken.yaml"), "vendor: x\n").expect("written");
    let (said, out, _to) = submit("result", "broken.yaml", sample);
    assert!(said.exits(2).err.contains("broken.yaml") && !out.exists());
    let (said, _, _to) = submit("no-result", "product.yaml", sample);
    said.exits(2);
}

/// Whether this version of the suite is released: then it is known with which requirements.
fn released() -> bool {
    let version = env!("CARGO_PKG_VERSION").parse().expect("a version");
    kfconform::spec::Specs::embedded()
        .program()
        .suite(&version)
        .is_some()
}

/// A fault that some check of this group notices.
fn first_fault(group: &str) -> String {
    kfconform::reference::faults()
        .map(|fault| fault.id.to_owned())
        .find(|id| id.starts_with(group))
        .expect("there is one")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in from.read_dir().expect("readable") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_did_not_come_to_its_end_is_refused_until_it_has() {
    let dir = folder();
    fs::write(dir.path().join("product.yaml"), PRODUCT).expect("written");
    with_key(dir.path(), &["keygen", "--out", "my"]).exits(0);
    let args = [
        "run",
        "--reference",
        "--profile",
        "notebooks",
        "--out",
        "out",
    ];
    let mut run = crate::interruption::Running::start(dir.path(), &args);
    run.until("working in namespace");
    run.signal("-INT");
    run.end().exits(3);
    let args = [
        "submit",
        "out",
        "--product",
        "product.yaml",
        "--key",
        "my.key",
        "--allow-sample",
    ];
    let said = with_key(dir.path(), &args);
    let said = said.exits(1);
    assert!(
        said.out.contains("the run did not come to its end"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("was planned and has no result"),
        "{}",
        said.out
    );
    assert!(!dir.path().join("reports").exists());
}

#[test]
fn several_folders_get_a_verdict_each_and_one_exit_code() {
    let sample: &[&str] = &["--allow-sample"];
    let (said, accepted, _to) = submit("result", "product.yaml", sample);
    assert!(said.exits(0).out.contains("submission: "));
    let accepted = accepted.to_str().expect("UTF-8");
    let dir = folder();
    // Another version's: only that changes, and it is signed like any other.
    copy(Path::new(accepted), &dir.path().join("other"));
    let path = dir.path().join("other/results.json");
    let ours = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    fs::write(
        &path,
        read(&path).replacen(&ours, "\"version\": \"99.0.0\"", 1),
    )
    .expect("written");
    let key = desk().join("my.key");
    with_key(
        dir.path(),
        &["sign", "other", "--key", key.to_str().expect("UTF-8")],
    )
    .exits(0);
    // Another build's of the same version, which is not released: it had other requirements.
    copy(Path::new(accepted), &dir.path().join("build"));
    let path = dir.path().join("build/results.json");
    let digest = results(Path::new(accepted))["suite"]["specsDigest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    fs::write(&path, read(&path).replacen(&digest, &"0".repeat(64), 1)).expect("written");
    with_key(
        dir.path(),
        &["sign", "build", "--key", key.to_str().expect("UTF-8")],
    )
    .exits(0);
    // One with a byte changed.
    copy(Path::new(accepted), &dir.path().join("changed"));
    let path = dir.path().join("changed/junit.xml");
    fs::write(&path, read(&path).replacen("notebooks", "notebookz", 1)).expect("written");
    // And something else altogether.
    fs::create_dir(dir.path().join("empty")).expect("made");

    let review = |dirs: &[&str], more: &[&str]| {
        kfconform(dir.path(), &[&["review"], dirs, sample, more].concat())
    };
    let verdicts = |dirs: &[&str], code| {
        let said = review(dirs, &["--format", "json"]).exits(code);
        let reviews: Value = serde_json::from_str(&said.out).expect("JSON");
        let reviews = reviews.as_array().expect("an array").iter();
        reviews
            .map(|r| r["verdict"].as_str().expect("a verdict").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&[accepted], 0), ["accepted"]);
    assert_eq!(verdicts(&["other"], 3), ["no-verdict"]);
    if released() {
        assert_eq!(verdicts(&["build"], 1), ["refused"]);
    } else {
        assert_eq!(verdicts(&["build"], 3), ["no-verdict"]);
    }
    assert_eq!(verdicts(&["changed"], 1), ["refused"]);
    assert_eq!(verdicts(&["empty"], 1), ["refused"]);
    assert_eq!(verdicts(&[accepted, accepted], 0), ["accepted", "accepted"]);
    assert_eq!(
        verdicts(&["other", accepted], 3),
        ["no-verdict", "accepted"]
    );
    assert_eq!(
        verdicts(&["other", "changed", accepted, "empty", "other"], 1),
        ["no-verdict", "refused", "accepted", "refused", "no-verdict"]
    );
    // What cannot be asked: nothing is reviewed then.
    for (args, says) in [
        (&["review"][..], "DIR"),
        (&["review", "none"], "none is no folder"),
        (&["review", accepted, "none"], "none is no folder"),
        (&["review", accepted, "--trust", "none.pub"], "none.pub"),
        (&["review", accepted, "--format", "xml"], "xml"),
    ] {
        let said = kfconform(dir.path(), args).exits(2);
        assert!(
            said.err.contains(says) && said.out.is_empty(),
            "{args:?}: {}",
            said.err
        );
    }

    if !released() {
        let said = review(&["build"], &[]).exits(3).out;
        assert!(
            said.contains("suite/version: kfconform") && said.contains("of another build of it"),
            "{said}"
        );
    }
    let said = review(&["other", "changed", accepted], &[]).exits(1);
    assert!(
        said.out
            .contains("other: no verdict\n  suite/version: this is kfconform"),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("changed: refused\n  signature/valid: `junit.xml` was changed after signing"),
        "{}",
        said.out
    );
    let said = review(&["other", "changed", accepted], &["--format", "markdown"]).exits(1);
    for line in [
        "### ❔ `other`: no verdict",
        "### ❌ `changed`: refused",
        &format!("### ✅ `{accepted}`: accepted, a sample"),
    ] {
        assert!(said.out.lines().any(|l| l == line), "{line}\n{}", said.out);
    }
}

#[test]
fn a_key_is_known_or_said_to_be_new_or_refused() {
    let sample: &[&str] = &["--allow-sample"];
    let (said, out, _to) = submit("result", "product.yaml", sample);
    said.exits(0);
    let out = out.to_str().expect("UTF-8");
    let review = |more: &[&str]| kfconform(desk(), &[&["review", out], sample, more].concat());
    assert!(review(&[]).exits(0).out.contains("(new)"));
    assert!(
        review(&["--trust", "my.pub"])
            .exits(0)
            .out
            .contains("(known)")
    );
    assert!(
        review(&["--trust", "other.pub", "--trust", "my.pub"])
            .exits(0)
            .out
            .contains("(known)")
    );
    let said = review(&["--trust", "other.pub"]).exits(1);
    assert!(
        said.out.contains("signature/key: the key")
            && said.out.contains("is none of those that are trusted"),
        "{}",
        said.out
    );
    // A bare result does not bring its key.
    let bare = |more: &[&str]| kfconform(desk(), &[&["review", "result"], sample, more].concat());
    assert!(bare(&[]).exits(1).out.contains("name that with --trust"));
    bare(&["--trust", "my.pub"]).exits(0);
    assert!(
        bare(&["--trust", "other.pub"])
            .exits(1)
            .out
            .contains("signature/")
    );
    // Without a product there is no page to look at, and so nothing is asked of the network.
    let said = bare(&["--trust", "my.pub", "--online"]).exits(0);
    assert!(!said.out.contains("as advice"), "{}", said.out);
}

#[test]
fn a_submission_counts_for_a_year_and_is_looked_at_again_after_half_of_it() {
    let (said, out, _to) = submit(
        "result",
        "product.yaml",
        &["--allow-sample", "--format", "json"],
    );
    let said: Value = serde_json::from_str(&said.exits(0).out).expect("JSON");
    let said = &said[0]["about"]["submission"];
    let finished = results(&out)["run"]["finished"].as_str().expect("a time")[..10].to_owned();
    let date: jiff::civil::Date = finished.parse().expect("a date");
    let after = |months: i32| {
        date.checked_add(jiff::Span::new().months(months))
            .expect("in time")
            .to_string()
    };
    assert_eq!(said["validFrom"], finished);
    assert_eq!(said["validUntil"], after(12));
    assert_eq!(said["nextReview"], after(6));
    assert_eq!(said["sample"], true);
    // The same is what was signed.
    assert_eq!(
        statement(&out)["predicate"]["conformance"]["submission"],
        *said
    );
}

#[test]
fn the_template_leads_through_every_field() {
    let dir = folder();
    let template = kfconform(dir.path(), &["submit", "--template"])
        .exits(0)
        .out;
    fs::write(dir.path().join("product.yaml"), &template).expect("written");
    copy(&desk().join("result"), &dir.path().join("result"));
    fs::copy(desk().join("my.key"), dir.path().join("my.key")).expect("copied");
    let said = with_key(
        dir.path(),
        &[
            "submit",
            "result",
            "--product",
            "product.yaml",
            "--key",
            "my.key",
        ],
    )
    .exits(2);
    for field in [
        "vendor",
        "name",
        "version",
        "website",
        "documentation",
        "description",
        "contact",
        "kubernetesTargets",
        "adopters",
        "releaseCadence",
    ] {
        assert!(
            said.err
                .lines()
                .any(|line| line.contains("product.yaml:") && line.contains(field)),
            "{field}: {}",
            said.err
        );
    }
    assert!(!dir.path().join("reports").exists());
    kfconform(dir.path(), &["submit", "result"]).exits(2);
}

/// The number of rules is told, and each has an id and a sentence, in each format.
#[test]
fn the_rules_are_listed() {
    let dir = folder();
    let rules: Value = serde_json::from_str(
        &kfconform(dir.path(), &["review", "--rules", "--format", "json"])
            .exits(0)
            .out,
    )
    .expect("JSON");
    let rules = rules.as_array().expect("an array");
    let text = kfconform(dir.path(), &["review", "--rules"]).exits(0).out;
    let markdown = kfconform(dir.path(), &["review", "--rules", "--format", "markdown"])
        .exits(0)
        .out;
    assert!(rules.len() > 40 && text.lines().count() == rules.len());
    let guide = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/README.md"));
    for rule in rules {
        let (id, title) = (
            rule["id"].as_str().expect("an id"),
            rule["title"].as_str().expect("a title"),
        );
        assert!(markdown.contains(&format!("| `{id}` | {title} |")), "{id}");
    }
    // The guide's table of the CNCF's rules names rules that there are.
    let mut named = 0;
    let table = guide
        .split("### What the rules of the CNCF's bot have become")
        .nth(1)
        .expect("the section");
    for word in table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains('/') && !word.contains(['…', ' ', '.']))
    {
        assert!(
            rules.iter().any(|rule| rule["id"] == word),
            "{word} is no rule"
        );
        named += 1;
    }
    assert!(named > 20, "{named}");
    let rows = (1..=15).filter(|n| table.contains(&format!("\n| {n} ")));
    assert_eq!(rows.count(), 15);
}

/// What the program writes is what its schemas say, and they say enough to tell what is broken.
#[test]
fn every_file_satisfies_its_schema_and_a_broken_one_does_not() {
    let (said, out, _to) = submit("result", "product.yaml", &["--allow-sample"]);
    said.exits(0);
    let review = |args: &[&str]| -> Value {
        let args = [&["review", "--format", "json"], args].concat();
        serde_json::from_str(&kfconform(desk(), &args).out).expect("JSON")
    };
    let place = out.to_str().expect("UTF-8");
    let accepted = review(&["--allow-sample", place]);
    let mut files = vec![
        ("results", results(&out)),
        (
            "product",
            serde_saphyr::from_str(&read(out.join("product.yaml"))).expect("YAML"),
        ),
        ("statement", statement(&out)),
        ("review", accepted),
        ("review", review(&[place, "result"])),
    ];
    let archive = fs::File::open(out.join("evidence.tar.gz")).expect("there");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in archive.entries().expect("an archive") {
        let entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let schema = if name == "run.json" {
            "run"
        } else {
            "evidence"
        };
        files.push((schema, serde_json::from_reader(entry).expect("JSON")));
    }
    assert!(files.len() > 30, "{}", files.len());
    let config = "namespace: team\ntolerations: [{key: x}]\ncomponents: {pipelines: {url: https://x, port: 80}}\ntimeouts: {request: 30s}\n";
    files.push(("config", serde_saphyr::from_str(config).expect("YAML")));

    for (name, value) in &files {
        let path = format!("specs/schema/{name}.schema.json");
        let schema: Value =
            serde_json::from_str(&read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)))
                .expect("JSON");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert_eq!(wrong, [""; 0], "{name}");
        // Any field with a value of another kind breaks it, down to what a schema leaves open.
        let of = value.get(0).unwrap_or(value);
        let fields = of.as_object().expect("an object");
        for (field, is) in fields {
            let mut broken = value.clone();
            let at = if value.is_array() {
                &mut broken[0]
            } else {
                &mut broken
            };
            at[field] = if is.is_u64() { "x".into() } else { 7.into() };
            assert!(
                !validator.is_valid(&broken),
                "{name}: {field} may be anything"
            );
        }
        if matches!(*name, "product" | "evidence" | "run" | "config") {
            let mut broken = value.clone();
            broken["more"] = true.into();
            assert!(!validator.is_valid(&broken), "{name} takes any field");
        }
        for field in ["checks", "vendor", "predicate", "exchanges", "verdict"] {
            let mut broken = value.clone();
            let at = if value.is_array() {
                &mut broken[0]
            } else {
                &mut broken
            };
            if at
                .as_object_mut()
                .expect("an object")
                .shift_remove(field)
                .is_some()
            {
                assert!(!validator.is_valid(&broken), "{name} does without {field}");
            }
        }
    }
}

/// What was signed.
fn statement(folder: &Path) -> Value {
    let bundle: Value =
        serde_json::from_str(&read(folder.join("attestation.sigstore.json"))).expect("JSON");
    let payload = bundle["dsseEnvelope"]["payload"]
        .as_str()
        .expect("a payload");
    let payload = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, payload);
    serde_json::from_slice(&payload.expect("base64")).expect("JSON")
}
