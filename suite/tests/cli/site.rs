//! The site of a folder of submissions, among them such as nobody should make.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{PRODUCT, folder, kfconform, read, with_key};

const NAMES: [(&str, &str); 8] = [
    ("Aurora ML Platform", "26.03"),
    ("Borealis", "26.03"),
    ("Cirrus Distribution", "26.03"),
    ("Delta Stack", "1.11"),
    ("Ember", "1.11"),
    ("Fjord AI", "26.03"),
    ("Glacier", "1.11"),
    ("Harbour & Co", "26.03"),
];

fn slug(name: &str) -> String {
    let words = name.to_lowercase();
    let words = words.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// Eight products' samples, of two releases.
fn samples(dir: &Path) {
    with_key(dir, &["keygen", "--out", "my"]).exits(0);
    for release in ["26.03", "1.11"] {
        let run = [
            "run",
            "--reference",
            "--quiet",
            "--profile",
            "notebooks",
            "--release",
            release,
        ];
        with_key(
            dir,
            &[&run[..], &["--key", "my.key", "--out", release]].concat(),
        )
        .exits(0);
    }
    for (name, release) in NAMES {
        let product = PRODUCT
            .replace("name: Aurora ML Platform", &format!("name: {name}"))
            .replace("\"26.03\"", &format!("\"{release}\""));
        fs::write(dir.join("product.yaml"), product).expect("written");
        let out = format!("reports/sample/{release}/{}/3.2.0", slug(name));
        let submit = [
            "submit",
            release,
            "--product",
            "product.yaml",
            "--key",
            "my.key",
        ];
        with_key(
            dir,
            &[&submit[..], &["--allow-sample", "--out", &out]].concat(),
        )
        .exits(0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for file in from.read_dir().expect("readable") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below").display().to_string();
                all.push((name, fs::read(&path).expect("readable")));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn submissions_become_a_site_and_what_is_refused_is_listed_as_such() {
    let dir = folder();
    let here = dir.path();
    samples(here);
    let reports = here.join("reports");
    let good = reports.join("sample/26.03/borealis/3.2.0");

    // Nobody can carry a mark for a sample, wherever it lies.
    copy(&good, &reports.join("26.03/borealis/3.2.0"));
    // What another version of the suite made is shown as its claim, unless that version could not have accepted it.
    for (name, of_a_cluster) in [("cirrus-distribution", true), ("fjord-ai", false)] {
        let other = reports.join(format!("26.03/{name}/3.2.0"));
        copy(&reports.join(format!("sample/26.03/{name}/3.2.0")), &other);
        let mut text = read(other.join("results.json"));
        let mut replace = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        };
        replace(
            concat!("\"version\": \"", env!("CARGO_PKG_VERSION"), "\""),
            "\"version\": \"9.9.9\"",
        );
        if of_a_cluster {
            replace("\"target\": \"reference\"", "\"target\": \"cluster\"");
            replace("\"submittable\": false", "\"submittable\": true");
        }
        fs::write(other.join("results.json"), text).expect("written");
        let other = other.to_str().expect("UTF-8");
        with_key(here, &["sign", other, "--key", "my.key"]).exits(0);
    }
    // A byte was changed; a file is huge; a name leads elsewhere; a folder is empty; a link leads out.
    let changed = reports.join("sample/26.03/changed/3.2.0");
    copy(&good, &changed);
    fs::write(changed.join("report.html"), "<script>alert(1)</script>").expect("written");
    let huge = reports.join("sample/26.03/huge/3.2.0");
    copy(&good, &huge);
    let file = fs::File::options()
        .write(true)
        .open(huge.join("results.json"))
        .expect("there");
    file.set_len(1 << 40).expect("sparse");
    copy(&good, &reports.join("sample/26.03/<img src=x>/3.2.0"));
    fs::create_dir_all(reports.join("26.03/empty/1.0.0")).expect("made");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/", reports.join("26.03/linked")).expect("made");

    let site = [
        "site",
        "reports",
        "--date",
        "2026-12-24",
        "--format",
        "json",
        "--out",
    ];
    let said = kfconform(here, &[&site[..], &["out"]].concat()).exits(0);
    let said: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(said["samples"], 8);
    assert_eq!(said["claimed"], 1);
    assert_eq!(said["valid"], 0);
    assert_eq!(said["refused"], 6 + u64::from(cfg!(unix)));

    let out = here.join("out");
    let index = read(out.join("index.html"));
    assert!(index.contains("Aurora ML Platform") && index.contains("Harbour &amp; Co"));
    assert!(!index.contains("<img") && !index.contains("alert(1)"));
    for refused in [
        "sample/26.03/changed/3.2.0",
        "26.03/empty/1.0.0",
        "26.03/borealis/3.2.0",
        "policy/target",
        "files/size",
    ] {
        assert!(index.contains(refused), "{refused}");
    }
    let claim = read(out.join("distributions/cirrus-distribution.html"));
    assert!(
        claim.contains("as claimed") && claim.contains("review it with") | claim.contains("9.9.9")
    );
    let report = read(out.join("reports/sample/26.03/borealis/3.2.0.html"));
    assert_eq!(
        report,
        read(good.join("report.html")),
        "made again to the byte"
    );
    for file in [
        "sample/badges/ember.svg",
        "sample/distributions/ember.html",
        "feed.json",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
    assert!(!out.join("reports/sample/26.03/changed").exists());

    // The same folder and day give the same bytes, and nothing is written over.
    kfconform(here, &[&site[..], &["again"]].concat()).exits(0);
    assert_eq!(files(&out), files(&here.join("again")));
    let said = kfconform(here, &[&site[..], &["out"]].concat()).exits(2);
    assert!(said.err.contains("is not empty"), "{}", said.err);
    let said = kfconform(here, &["site", "nowhere", "--out", "x"]).exits(2);
    assert!(said.err.contains("is no folder"), "{}", said.err);
}
