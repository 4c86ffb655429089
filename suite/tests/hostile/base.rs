//! One signed submission of a run on the reference: what is valid, and all else is made from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use kfconform::{
    engine::Recording,
    report::{self, model::Results},
    review::{self, Options, Verdict},
    seal::{PrivateKey, bundle::Bundle, folder::ATTESTATION_FILE, statement::Statement},
    spec::Specs,
};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};

pub use crate::common::PLACE;
use crate::common::{self, PRODUCT};

/// A submission, its files and what they hold.
pub struct Base {
    pub files: BTreeMap<String, Vec<u8>>,
    pub results: Results,
    pub recording: Recording,
    pub key: PrivateKey,
    /// Holds [`PLACE`], `key.key` (password `x`) and `key.pub`.
    pub dir: tempfile::TempDir,
}

impl Base {
    /// Writes files as a submission at its place below a folder.
    pub fn write(root: &Path, files: &BTreeMap<String, Vec<u8>>) -> PathBuf {
        let folder = root.join(PLACE);
        std::fs::create_dir_all(&folder).expect("made");
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).expect("written");
        }
        folder
    }

    /// Signs files as they are, with the right key and the claim that the submission makes.
    pub fn sign(&self, files: &mut BTreeMap<String, Vec<u8>>) {
        let mut statement: Statement =
            Bundle::verify(&self.files[ATTESTATION_FILE], &self.key.public()).expect("it is ours");
        for subject in &mut statement.subject {
            if let Some(bytes) = files.get(&subject.name) {
                subject.digest.insert("sha256".to_owned(), sha256(bytes));
            }
        }
        let bundle = Bundle::sign(&statement, &self.key).to_json();
        files.insert(ATTESTATION_FILE.to_owned(), bundle.into_bytes());
    }
}

/// Lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A runtime of this test's own.
pub fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// What a review of the reference's submissions goes by.
pub fn options() -> Options<'static> {
    Options {
        allow_sample: true,
        ..Options::new()
    }
}

/// The submission, made once.
pub fn base() -> &'static Base {
    static BASE: LazyLock<Base> = LazyLock::new(|| {
        // A runtime cannot be made inside another, and whoever comes first may be in one.
        std::thread::spawn(|| runtime().block_on(make()))
            .join()
            .expect("the reference can be submitted")
    });
    &BASE
}

async fn make() -> Base {
    let profile = std::env::var("HOSTILE_PROFILE").unwrap_or_else(|_| "notebooks".to_owned());
    let (results, run) = common::run_changed(&[], |options| options.profile = profile).await;
    report::write_beside(&results, Specs::embedded(), run.path()).expect("written");
    let dir = tempfile::tempdir().expect("a folder");
    let product = dir.path().join("product.yaml");
    std::fs::write(&product, PRODUCT).expect("written");
    let key = PrivateKey::generate().expect("a key");
    let prefix = dir.path().join("key");
    key.write_pair(&prefix, b"x").expect("written");
    let folder = dir.path().join(PLACE);
    let done = review::submit(run.path(), &product, &key, Some(&folder), &options()).await;
    let review = done.expect("it can be reviewed").review;
    assert_eq!(review.verdict, Verdict::Accepted, "{:?}", review.refusals);
    let entries = std::fs::read_dir(&folder).expect("readable");
    let files = entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).expect("readable"))
        })
        .collect();
    let recording = Recording::read(&folder.join("evidence.tar.gz")).expect("it is ours");
    Base {
        files,
        results,
        recording,
        key,
        dir,
    }
}
