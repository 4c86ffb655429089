//! The sample submission in `reports/sample`: what a vendor would hand in, made from the reference.

use std::{fs, path::Path};

use kfconform::spec::Specs;
use serde_json::Value;

use crate::{Said, folder, kfconform, program, results};

const PLACE: &str = "reports/sample/26.03/sample-platform/1.0.0";
const AGAIN: &str = "`UPDATE=1 cargo test --test cli sample` makes it anew";
/// Everything that it may come to in the repository, and in each clone of it for ever, in bytes; it packs to a quarter.
const MAX_SIZE: u64 = 3 << 19;

const PRODUCT: &str = "\
apiVersion: conformance.kubeflow.org/v1
kind: Product
vendor: The authors of the conformance suite
name: Sample Platform
version: 1.0.0
website: https://github.com/kubeflow/conformance
documentation: https://github.com/kubeflow/conformance/blob/main/reports/README.md
repository: https://github.com/kubeflow/conformance
type: distribution
description: |
  The distribution that the suite embeds, to show how a submission looks.
  Nobody can install it, and nobody may carry a mark for it.
contact: kubeflow-discuss@googlegroups.com
kubernetesTargets: [the embedded reference]
adopters: https://github.com/kubeflow/conformance/blob/main/reports/README.md
releaseCadence: with each version of the suite
kubeflowRelease: \"26.03\"
";

/// The sample is of one build of the suite, and is judged by that alone. Where the requirements have changed since then
/// there is no verdict on it until it is made anew, which each release does; where they have not it is accepted.
#[test]
fn the_sample_is_refused_by_default_and_accepted_as_a_sample() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let review = |more: &[&str]| {
        let args = [&["review", PLACE, "--format", "json"], more].concat();
        let said = kfconform(root, &args);
        let review: Value = serde_json::from_str(&said.out).unwrap_or_default();
        (said.code, review[0].clone())
    };
    let sample = ["--allow-sample"];
    if std::env::var_os("UPDATE").is_some() && review(&sample).0 != 0 {
        make(&root.join(PLACE));
    }
    assert!(root.join(PLACE).is_dir(), "there is no sample; {AGAIN}");
    let of = results(&root.join(PLACE))["suite"].clone();
    let current = of["specsDigest"] == Specs::embedded().digest()
        && of["version"] == env!("CARGO_PKG_VERSION");
    let (code, as_sample) = review(&sample);
    let refusals = &as_sample["refusals"];
    if current {
        assert_eq!(code, 0, "{AGAIN}: {refusals:#}");
        assert_eq!(as_sample["verdict"], "accepted");
        assert_eq!(as_sample["sample"], true);
        let (code, refused) = review(&[]);
        assert_eq!((code, &refused["verdict"]), (1, &"refused".into()));
        assert_eq!(refused["refusals"][0]["rule"], "policy/target");
    } else {
        assert_eq!(code, 3, "{AGAIN}: {refusals:#}");
        assert_eq!(refusals[0]["rule"], "suite/version");
        assert_eq!(review(&[]).0, 3);
    }
    let files = root.join(PLACE).read_dir().expect("readable");
    let size: u64 = files
        .map(|file| file.and_then(|f| f.metadata()).expect("a file").len())
        .sum();
    assert!(size < MAX_SIZE, "{size}");
}

/// Makes it as a vendor does, with a key that nobody keeps.
fn make(place: &Path) {
    let dir = folder();
    let run = |args: &[&str]| {
        let mut command = program(dir.path(), args);
        command.env("COSIGN_PASSWORD", "");
        Said::from(command.output().expect("the program starts")).exits(0)
    };
    fs::write(dir.path().join("product.yaml"), PRODUCT).expect("written");
    run(&["keygen", "--out", "sample"]);
    run(&[
        "run",
        "--reference",
        "--quiet",
        "--key",
        "sample.key",
        "--out",
        "result",
    ]);
    let submit = [
        "submit",
        "result",
        "--product",
        "product.yaml",
        "--key",
        "sample.key",
    ];
    run(&[&submit[..], &["--allow-sample", "--out", PLACE]].concat());
    drop(fs::remove_dir_all(place));
    fs::create_dir_all(place).expect("made");
    for file in dir.path().join(PLACE).read_dir().expect("readable") {
        let file = file.expect("a file");
        fs::copy(file.path(), place.join(file.file_name())).expect("copied");
    }
}
