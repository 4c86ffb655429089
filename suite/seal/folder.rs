//! A result folder: every file in it is signed, and a folder with any other file is refused.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::bundle::{Bundle, BundleError};
use super::key::{PrivateKey, PublicKey};
use super::product::{PRODUCT_FILE, Product, ProductError};
use super::statement::{Descriptor, PREDICATE_TYPE, Statement};
use super::submission::Record;
use crate::digest::hex;
use crate::report::html::HTML_FILE;
use crate::report::junit::JUNIT_FILE;
use crate::report::model::{MAX_RESULTS_BYTES, RESULTS_FILE, Results, ResultsError};
use crate::report::text::shell_quoted;
use crate::report::write_whole;
use crate::spec::{Program, Specs};

/// The signature over a folder.
pub const ATTESTATION_FILE: &str = "attestation.sigstore.json";
/// What cosign wants to be told in the place of Sigstore's public servers: that there are none.
pub const TRUSTED_ROOT_FILE: &str = "tr.json";
/// The whole of [`TRUSTED_ROOT_FILE`].
pub const TRUSTED_ROOT: &str =
    r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
pub use crate::engine::recording::EVIDENCE_FILE;
/// The files that a run leaves, in the order in which they are signed. Only the first must exist.
pub const RESULT_FILES: [&str; 4] = [RESULTS_FILE, JUNIT_FILE, HTML_FILE, EVIDENCE_FILE];
/// The key that signed a submission, for whoever has no other way to it.
pub const KEY_FILE: &str = "key.pub";
/// The files that a submission adds to a run's, in the order in which they are signed, after those.
pub const SUBMISSION_FILES: [&str; 2] = [PRODUCT_FILE, KEY_FILE];

/// The largest attestation that is read. Ids of a thousand checks take a tenth of it.
pub(crate) const MAX_ATTESTATION_BYTES: u64 = 1024 * 1024;
/// The largest file that is signed or verified.
pub const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;
/// The most files that a folder may hold.
const MAX_FILES: usize = 64;

/// Why a folder cannot be looked through.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refused.
    #[error("cannot {verb} `{}`: {source}", path.display())]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// There are more than a result has.
    #[error("the folder holds more than {MAX_FILES} files")]
    TooManyFiles,
    /// It is a link, a folder, a pipe or the like.
    #[error("`{0}` is not a regular file")]
    NotAFile(String),
    /// It is larger than what is read of such a file.
    #[error("`{name}` is larger than {max} bytes")]
    TooLarge {
        /// The file.
        name: String,
        /// The most that is read.
        max: u64,
    },
}

/// Why a folder was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It could not be looked through.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It has no result, or a broken one.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// It says whose product it is about, and that is broken.
    #[error(transparent)]
    Product(#[from] ProductError),
    /// It holds a file that a run does not leave, so that what is signed would not verify.
    #[error("`{0}` is not part of a result; move it out of the folder")]
    Unexpected(String),
    /// The run did not come to its end.
    #[error(
        "the run did not come to its end; go on with it with `kfconform run --resume`, which takes --key too"
    )]
    Unfinished,
}

/// Why a folder is not what was signed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be looked through.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It is not signed.
    #[error("there is no `{ATTESTATION_FILE}`: the folder is not signed")]
    NotSigned,
    /// The attestation does not hold.
    #[error("`{ATTESTATION_FILE}`: {0}")]
    Attestation(#[from] BundleError),
    /// The signed list of files is not one that `sign` makes.
    #[error("`{ATTESTATION_FILE}`: {0}")]
    Subject(String),
    /// A signed file is gone.
    #[error("`{0}` was signed, and is missing")]
    Missing(String),
    /// A file was put there after signing.
    #[error("`{0}` was not signed")]
    Unexpected(String),
    /// A file is not as it was signed.
    #[error("`{name}` was changed after signing: its SHA-256 is {found}, not {signed}")]
    Changed {
        /// The file.
        name: String,
        /// Its digest when it was signed.
        signed: String,
        /// Its digest now.
        found: String,
    },
    /// The helper file for cosign says something else than that there is no root.
    #[error("`{TRUSTED_ROOT_FILE}` is not the one that `sign` writes")]
    TrustedRoot,
}

/// What a folder was found to be.
#[derive(Debug)]
pub struct Verified {
    /// What the signer claims.
    pub statement: Statement,
    /// The same, byte for byte as it was signed.
    pub payload: Vec<u8>,
    /// The files in the order in which they were signed, each with its SHA-256: what a later
    /// reader of one compares with, for the folder may change meanwhile.
    pub files: Vec<VerifiedFile>,
}

/// A file that is as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    /// Its name in the folder.
    pub name: String,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// Signs a result folder or a submission anew: writes [`ATTESTATION_FILE`] over all of [`RESULT_FILES`] and
/// [`SUBMISSION_FILES`] that are there, and [`TRUSTED_ROOT_FILE`]. Returns the attestation's path.
pub fn sign(folder: &Path, key: &PrivateKey) -> Result<PathBuf, SignError> {
    sign_for(folder, key, Specs::embedded().program())
}

/// [`sign`] under the rules of a programme, from which a submission's validity follows.
pub fn sign_for(folder: &Path, key: &PrivateKey, program: &Program) -> Result<PathBuf, SignError> {
    if folder.join("journal").is_dir() {
        return Err(SignError::Unfinished);
    }
    let present = files(folder)?;
    let known = |name: &&String| {
        signable().any(|known| known == name.as_str())
            || name.as_str() == ATTESTATION_FILE
            || name.as_str() == TRUSTED_ROOT_FILE
    };
    if let Some(name) = present.iter().find(|name| !known(name)) {
        return Err(SignError::Unexpected(name.clone()));
    }
    let results = Results::read(&folder.join(RESULTS_FILE))?;
    let mut subject = Vec::new();
    for name in signable().filter(|name| present.contains(*name)) {
        subject.push(Descriptor::sha256(name, sha256(folder, name)?));
    }
    let record = if present.contains(PRODUCT_FILE) {
        let product = Product::read(&folder.join(PRODUCT_FILE))?;
        Some(Record::new(&product, &results, program))
    } else {
        None
    };
    let bundle = Bundle::sign(&Statement::new(&results, record, subject), key);
    write_trusted_root(folder)?;
    write(folder, ATTESTATION_FILE, &bundle.to_json()).map_err(SignError::from)
}

/// Every file that is signed where it is there, in order.
pub(crate) fn signable() -> impl Iterator<Item = &'static str> {
    RESULT_FILES.into_iter().chain(SUBMISSION_FILES)
}

/// Writes [`TRUSTED_ROOT_FILE`] into a folder and returns its path.
pub fn write_trusted_root(folder: &Path) -> Result<PathBuf, FolderError> {
    write(folder, TRUSTED_ROOT_FILE, TRUSTED_ROOT)
}

/// Verifies a result folder: the attestation is the key's, every file that it names is there and
/// as it was signed, and there is no other.
pub fn verify(folder: &Path, key: &PublicKey) -> Result<Verified, VerifyError> {
    let mut present = files(folder)?;
    if !present.remove(ATTESTATION_FILE) {
        return Err(VerifyError::NotSigned);
    }
    let attestation = read(folder, ATTESTATION_FILE, MAX_ATTESTATION_BYTES)?;
    let (statement, payload) = Bundle::open(&attestation, key)?;
    let signed = subjects(&statement)?;

    if let Some((name, _)) = signed.iter().find(|(name, _)| !present.contains(*name)) {
        return Err(VerifyError::Missing((*name).to_owned()));
    }
    for (name, _) in &signed {
        present.remove(*name);
    }
    if present.remove(TRUSTED_ROOT_FILE)
        && read(folder, TRUSTED_ROOT_FILE, TRUSTED_ROOT.len() as u64)? != TRUSTED_ROOT.as_bytes()
    {
        return Err(VerifyError::TrustedRoot);
    }
    if let Some(name) = present.pop_first() {
        return Err(VerifyError::Unexpected(name));
    }

    let mut files = Vec::new();
    for (name, digest) in signed {
        let found = sha256(folder, name)?;
        let (name, signed) = (name.to_owned(), digest.to_owned());
        if found != signed {
            return Err(VerifyError::Changed {
                name,
                signed,
                found,
            });
        }
        files.push(VerifiedFile {
            name,
            sha256: found,
        });
    }
    Ok(Verified {
        statement,
        payload,
        files,
    })
}

/// The signed files by name and digest, once the list is known to be one that `sign` makes.
fn subjects(statement: &Statement) -> Result<Vec<(&str, &str)>, VerifyError> {
    let refuse = |what: String| Err(VerifyError::Subject(what));
    let mut names = BTreeSet::new();
    let mut subjects = Vec::new();
    for subject in statement.subject.iter().take(MAX_FILES + 1) {
        let name = subject.name.as_str();
        if !is_plain(name) || name == ATTESTATION_FILE || name == TRUSTED_ROOT_FILE {
            return refuse(format!(
                "the subject {name:?} is not the name of a file of a result"
            ));
        }
        if !names.insert(name) {
            return refuse(format!("the subject `{name}` is named twice"));
        }
        match subject.digest() {
            Some(digest) if is_sha256(digest) => subjects.push((name, digest)),
            Some(_) | None => return refuse(format!("the subject `{name}` has no SHA-256")),
        }
    }
    if subjects.len() > MAX_FILES {
        return refuse(format!("there are more than {MAX_FILES} subjects"));
    }
    if !names.contains(RESULTS_FILE) {
        return refuse(format!("`{RESULTS_FILE}` is not among the subjects"));
    }
    Ok(subjects)
}

/// Whether a name is one that a file of a result may have: it leads nowhere else, and hides nothing.
fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=100).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

fn is_sha256(digest: &str) -> bool {
    digest.len() == 64
        && digest
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The names of a folder's files, all of them regular ones.
pub(crate) fn files(folder: &Path) -> Result<BTreeSet<String>, FolderError> {
    let io = |source| FolderError::Io {
        verb: "read",
        path: folder.to_owned(),
        source,
    };
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        if names.len() == MAX_FILES {
            return Err(FolderError::TooManyFiles);
        }
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // This is the entry's own type: a link is a link, wherever it leads.
        if !entry.file_type().map_err(io)?.is_file() {
            return Err(FolderError::NotAFile(name));
        }
        names.insert(name);
    }
    Ok(names)
}

/// A regular file in a folder, opened, with the most that may be read of it.
fn open(folder: &Path, name: &str, max: u64) -> Result<std::io::Take<File>, FolderError> {
    let path = folder.join(name);
    let io = |source| FolderError::Io {
        verb: "read",
        path: path.clone(),
        source,
    };
    // Asked again: the folder may have changed since it was listed.
    let meta = std::fs::symlink_metadata(&path).map_err(io)?;
    if !meta.is_file() {
        return Err(FolderError::NotAFile(name.to_owned()));
    }
    if meta.len() > max {
        return Err(FolderError::TooLarge {
            name: name.to_owned(),
            max,
        });
    }
    Ok(File::open(&path).map_err(io)?.take(max))
}

/// Reads a regular file of at most `max` bytes, wherever it is.
pub(crate) fn read_path(path: &Path, max: u64) -> Result<Vec<u8>, FolderError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    read(path.parent().unwrap_or(Path::new("")), &name, max)
}

/// Reads a regular file in a folder, of at most `max` bytes.
pub(crate) fn read(folder: &Path, name: &str, max: u64) -> Result<Vec<u8>, FolderError> {
    let mut bytes = Vec::new();
    open(folder, name, max)?
        .read_to_end(&mut bytes)
        .map_err(|source| FolderError::Io {
            verb: "read",
            path: folder.join(name),
            source,
        })?;
    Ok(bytes)
}

/// The SHA-256 of a file, lower-case hexadecimal.
fn sha256(folder: &Path, name: &str) -> Result<String, FolderError> {
    let max = if name == RESULTS_FILE {
        MAX_RESULTS_BYTES
    } else {
        MAX_FILE_BYTES
    };
    let mut file = open(folder, name, max)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = file.read(&mut buffer).map_err(|source| FolderError::Io {
            verb: "read",
            path: folder.join(name),
            source,
        })?;
        if n == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
    }
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, FolderError> {
    let path = folder.join(name);
    write_whole(&path, text.as_bytes()).map_err(|source| FolderError::Io {
        verb: "write",
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// The commands with which stock cosign (2.6 and later) verifies the same, one for each file. They
/// need the folder's [`TRUSTED_ROOT_FILE`].
pub fn cosign_commands(folder: &Path, public_key: &Path, verified: &Verified) -> Vec<String> {
    let quoted = |path: &Path| shell_quoted(&path.to_string_lossy());
    let command = |file: &VerifiedFile| {
        format!(
            "cosign verify-blob-attestation --key {} --bundle {} --trusted-root {} \
             --insecure-ignore-tlog=true --type {PREDICATE_TYPE} {}",
            quoted(public_key),
            quoted(&folder.join(ATTESTATION_FILE)),
            quoted(&folder.join(TRUSTED_ROOT_FILE)),
            quoted(&folder.join(&file.name)),
        )
    };
    verified.files.iter().map(command).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::LazyLock;

    use tempfile::TempDir;

    use super::*;
    use crate::report::{junit, sample};
    use crate::seal::dsse::DsseError;
    use crate::seal::test_vectors::text;

    /// Opened once, for that is made to be slow.
    fn key() -> &'static PrivateKey {
        static KEY: LazyLock<PrivateKey> =
            LazyLock::new(|| PrivateKey::open(&text("rust.key"), b"pw2").unwrap());
        &KEY
    }

    fn public() -> PublicKey {
        PublicKey::from_pem(&text("rust.pub")).unwrap()
    }

    fn signed() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let results = sample::mixed();
        results.write(&folder.path().join(RESULTS_FILE)).unwrap();
        fs::write(folder.path().join(JUNIT_FILE), junit::render(&results)).unwrap();
        fs::write(folder.path().join("report.html"), "<!doctype html>").unwrap();
        fs::write(folder.path().join("evidence.tar.gz"), [0, 1, 2, 255]).unwrap();
        sign(folder.path(), key()).unwrap();
        folder
    }

    /// Signs whatever statement with the right key, as an ill-meaning owner of it could.
    fn forge(folder: &Path, change: impl FnOnce(&mut Statement)) {
        let mut statement = verify(folder, &public()).unwrap().statement;
        change(&mut statement);
        let bundle = Bundle::sign(&statement, key());
        fs::write(folder.join(ATTESTATION_FILE), bundle.to_json()).unwrap();
    }

    #[test]
    fn a_signed_folder_verifies_with_every_file_in_it() {
        let folder = signed();
        let verified = verify(folder.path(), &public()).unwrap();
        let names: Vec<_> = verified.files.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, RESULT_FILES);
        assert_eq!(
            verified.statement.predicate.failed_tests,
            ["katib/experiment/optimal-trial"]
        );
        let before = fs::read(folder.path().join(ATTESTATION_FILE)).unwrap();
        sign(folder.path(), key()).unwrap();
        assert_eq!(
            fs::read(folder.path().join(ATTESTATION_FILE)).unwrap(),
            before
        );
    }

    #[test]
    fn a_result_signed_by_cosign_verifies_as_ours_does() {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cosign/result");
        let key = PublicKey::read(&vectors.join("key.pub")).unwrap();
        let by = |attestation: &str, files: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            let copy = |from: &str, to: &str| {
                fs::copy(vectors.join(from), folder.path().join(to)).unwrap();
            };
            copy(attestation, ATTESTATION_FILE);
            for name in files {
                copy(name, name);
            }
            folder
        };
        let signed = |attestation| by(attestation, &RESULT_FILES);
        for attestation in [
            "ours.sigstore.json",
            "statement.cosign-2.sigstore.json",
            "statement.cosign-3.sigstore.json",
        ] {
            let folder = signed(attestation);
            let verified = verify(folder.path(), &key).expect(attestation);
            let names: Vec<_> = verified.files.iter().map(|f| f.name.as_str()).collect();
            assert_eq!(names, RESULT_FILES, "{attestation}");
            // Cosign keeps the bytes of a statement that it is given.
            let ours = verify(signed("ours.sigstore.json").path(), &key).unwrap();
            assert_eq!(verified.payload, ours.payload, "{attestation}");

            for name in RESULT_FILES {
                let path = folder.path().join(name);
                let good = fs::read(&path).unwrap();
                fs::write(&path, [&good[..], b" "].concat()).unwrap();
                let error = verify(folder.path(), &key).unwrap_err();
                assert!(matches!(error, VerifyError::Changed { .. }), "{error}");
                fs::write(&path, good).unwrap();
            }
            let error = verify(folder.path(), &public()).unwrap_err();
            assert!(matches!(error, VerifyError::Attestation(_)), "{error}");
        }
        for attestation in [
            "predicate.cosign-2.sigstore.json",
            "predicate.cosign-3.sigstore.json",
        ] {
            // Of one file, as cosign attests it by itself: that one verifies, and no other beside it.
            let folder = by(attestation, &[RESULTS_FILE]);
            assert_eq!(verify(folder.path(), &key).unwrap().files.len(), 1);
            let error = verify(signed(attestation).path(), &key).unwrap_err();
            assert!(matches!(error, VerifyError::Unexpected(_)), "{error}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_signed_but_results_must_be() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            sign(folder.path(), key()),
            Err(SignError::Results(_))
        ));
        sample::mixed()
            .write(&folder.path().join(RESULTS_FILE))
            .unwrap();
        sign(folder.path(), key()).unwrap();
        assert_eq!(verify(folder.path(), &public()).unwrap().files.len(), 1);
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let error = sign(folder.path(), key()).unwrap_err();
        assert!(matches!(error, SignError::Unexpected(name) if name == "notes.txt"));
    }

    #[test]
    fn every_byte_of_every_file_counts() {
        let folder = signed();
        let mut flipped = 0;
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let original = fs::read(&path).unwrap();
            // Each flip costs a signature check, so the larger files are sampled.
            for at in (0..original.len()).step_by(1 + original.len() / 600) {
                let mut changed = original.clone();
                changed[at] ^= 1 << (at % 8);
                fs::write(&path, changed).unwrap();
                assert!(verify(folder.path(), &public()).is_err(), "{path:?} {at}");
                flipped += 1;
            }
            for changed in [
                &original[..original.len() - 1],
                &[&original[..], b"0"].concat()[..],
            ] {
                fs::write(&path, changed).unwrap();
                assert!(verify(folder.path(), &public()).is_err(), "{path:?}");
            }
            fs::write(&path, &original).unwrap();
        }
        assert!(flipped > 1000, "{flipped}");
        verify(folder.path(), &public()).unwrap();
    }

    #[test]
    fn a_file_more_or_less_is_named() {
        let check = |change: fn(&Path), expected: &str| {
            let folder = signed();
            change(folder.path());
            let error = verify(folder.path(), &public()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            |f| fs::remove_file(f.join(JUNIT_FILE)).unwrap(),
            "`junit.xml` was signed, and is missing",
        );
        check(
            |f| fs::remove_file(f.join(ATTESTATION_FILE)).unwrap(),
            "not signed",
        );
        check(
            |f| fs::write(f.join("x"), "").unwrap(),
            "`x` was not signed",
        );
        check(
            |f| fs::create_dir(f.join("d")).unwrap(),
            "`d` is not a regular file",
        );
        check(
            |f| fs::write(f.join(JUNIT_FILE), "").unwrap(),
            "`junit.xml` was changed after signing",
        );
        check(
            |f| fs::write(f.join(TRUSTED_ROOT_FILE), "{}").unwrap(),
            "`tr.json` is not the one",
        );
        check(
            |f| (0..100).for_each(|n| fs::write(f.join(n.to_string()), "").unwrap()),
            "more than 64 files",
        );
        check(
            |f| {
                File::create(f.join(ATTESTATION_FILE))
                    .unwrap()
                    .set_len(1 << 40)
                    .unwrap();
            },
            "`attestation.sigstore.json` is larger than",
        );
        check(
            |f| {
                File::create(f.join("evidence.tar.gz"))
                    .unwrap()
                    .set_len(1 << 40)
                    .unwrap();
            },
            "`evidence.tar.gz` is larger than",
        );
        let folder = signed();
        fs::remove_file(folder.path().join(TRUSTED_ROOT_FILE)).unwrap();
        verify(folder.path(), &public()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_refused_even_to_the_right_bytes() {
        let (folder, elsewhere) = (signed(), tempfile::tempdir().unwrap());
        let (inside, outside) = (folder.path().join(JUNIT_FILE), elsewhere.path().join("x"));
        fs::rename(&inside, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &inside).unwrap();
        let error = verify(folder.path(), &public()).unwrap_err();
        assert!(
            matches!(error, VerifyError::Folder(FolderError::NotAFile(_))),
            "{error}"
        );
        assert!(matches!(
            sign(folder.path(), key()),
            Err(SignError::Folder(_))
        ));
    }

    #[test]
    fn a_signed_list_of_other_files_is_refused() {
        let check = |change: fn(&mut Statement), expected: &str| {
            let folder = signed();
            forge(folder.path(), change);
            let error = verify(folder.path(), &public()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            |s| s.subject.clear(),
            "`results.json` is not among the subjects",
        );
        check(
            |s| drop(s.subject.remove(0)),
            "`results.json` is not among the subjects",
        );
        check(
            |s| drop(s.subject.pop()),
            "`evidence.tar.gz` was not signed",
        );
        check(
            |s| s.subject.push(s.subject[0].clone()),
            "`results.json` is named twice",
        );
        for name in [
            "../results.json",
            "/etc/passwd",
            "a\\b",
            "",
            ".",
            "..",
            ".x",
            "a b",
            "a\0",
            "é",
            TRUSTED_ROOT_FILE,
        ] {
            let folder = signed();
            forge(folder.path(), |s| s.subject[1].name = name.to_owned());
            let error = verify(folder.path(), &public()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("the subject {name:?} is not")),
                "{error}"
            );
        }
        check(|s| s.subject[0].digest.clear(), "has no SHA-256");
        check(
            |s| s.subject[0].digest["sha256"].make_ascii_uppercase(),
            "has no SHA-256",
        );
        check(
            |s| {
                s.subject
                    .extend((0..10_000).map(|n| Descriptor::sha256(n.to_string(), "0".repeat(64))));
            },
            "larger than 1048576 bytes",
        );
        check(
            |s| {
                s.subject
                    .extend((0..100).map(|n| Descriptor::sha256(n.to_string(), "0".repeat(64))));
            },
            "more than 64 subjects",
        );
    }

    #[test]
    fn another_key_is_not_trusted() {
        let folder = signed();
        let other = PublicKey::from_pem(&text("cosign.pub")).unwrap();
        let error = verify(folder.path(), &other).unwrap_err();
        assert!(
            matches!(
                error,
                VerifyError::Attestation(BundleError::OtherKey { .. })
            ),
            "{error}"
        );
        // An attacker who names the trusted key still cannot sign for it.
        let path = folder.path().join(ATTESTATION_FILE);
        let forged = fs::read_to_string(&path)
            .unwrap()
            .replace(&public().hint(), &other.hint());
        fs::write(&path, forged).unwrap();
        let error = verify(folder.path(), &other).unwrap_err();
        assert!(
            matches!(
                error,
                VerifyError::Attestation(BundleError::Dsse(DsseError::Signature))
            ),
            "{error}"
        );
    }

    #[test]
    fn the_command_for_cosign_survives_a_shell() {
        let verified = verify(signed().path(), &public()).unwrap();
        let commands = cosign_commands(Path::new("it's a/dir"), Path::new("k.pub"), &verified);
        assert_eq!(commands.len(), 4);
        assert_eq!(
            commands[0],
            "cosign verify-blob-attestation --key k.pub --bundle 'it'\\''s a/dir/attestation.sigstore.json' \
             --trusted-root 'it'\\''s a/dir/tr.json' --insecure-ignore-tlog=true \
             --type https://in-toto.io/attestation/test-result/v0.1 'it'\\''s a/dir/results.json'"
        );
    }

    /// Runs a line of shell with a cosign as `cosign`, and says whether it succeeded.
    fn shell(cosign: &Path, line: &str) -> bool {
        let bin = cosign.parent().unwrap().to_str().unwrap();
        let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
        let home = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("sh");
        let command = command
            .args(["-c", line])
            .env("PATH", path)
            .env("HOME", home.path());
        let output = command.env("COSIGN_PASSWORD", "secret").output().unwrap();
        output.status.success()
    }

    /// Set `COSIGN` to the paths of one or more cosigns, separated by colons, to ask them.
    #[test]
    fn stock_cosign_agrees() {
        let Some(cosigns) = std::env::var_os("COSIGN") else {
            return;
        };
        for cosign in std::env::split_paths(&cosigns) {
            // What is signed here verifies there, file by file, and no longer once a byte is changed.
            let (folder, keys) = (signed(), tempfile::tempdir().unwrap());
            let public_key = keys.path().join("k.pub");
            fs::write(&public_key, public().to_pem()).unwrap();
            let verified = verify(folder.path(), &public()).unwrap();
            let commands = cosign_commands(folder.path(), &public_key, &verified);
            assert_eq!(commands.len(), RESULT_FILES.len());
            for (name, command) in RESULT_FILES.iter().zip(&commands) {
                assert!(shell(&cosign, command), "{cosign:?}: {command}");
                let path = folder.path().join(name);
                let original = fs::read(&path).unwrap();
                let mut changed = original.clone();
                changed[original.len() / 2] ^= 1;
                fs::write(&path, changed).unwrap();
                assert!(!shell(&cosign, command), "{cosign:?}: {command}");
                assert!(verify(folder.path(), &public()).is_err());
                fs::write(&path, &original).unwrap();
            }

            // A pair made there opens here, and what it signs over our statement verifies here.
            let prefix = keys.path().join("theirs");
            let prefix = prefix.to_str().unwrap();
            assert!(shell(
                &cosign,
                &format!("cosign generate-key-pair --output-key-prefix {prefix}")
            ));
            let theirs = PrivateKey::read(&keys.path().join("theirs.key"), b"secret").unwrap();
            let trusted = PublicKey::read(&keys.path().join("theirs.pub")).unwrap();
            assert_eq!(theirs.public(), trusted);
            let statement = keys.path().join("statement.json");
            fs::write(&statement, verified.statement.to_json()).unwrap();
            let [root, attestation, results] =
                [TRUSTED_ROOT_FILE, ATTESTATION_FILE, RESULTS_FILE].map(|f| folder.path().join(f));
            fs::remove_file(&attestation).unwrap();
            let attest = |key: &str| {
                let new = format!(
                    "cosign signing-config create --out {prefix}.sc.json && cosign attest-blob --key {key} --yes \
                     --statement {0} --signing-config {prefix}.sc.json --trusted-root {1} --bundle {2} {3}",
                    statement.display(),
                    root.display(),
                    attestation.display(),
                    results.display()
                );
                let old = format!(
                    "cosign attest-blob --key {key} --yes --statement {0} --tlog-upload=false \
                     --new-bundle-format --bundle {1} {2}",
                    statement.display(),
                    attestation.display(),
                    results.display()
                );
                assert!(shell(&cosign, &new) || shell(&cosign, &old), "{cosign:?}");
            };
            attest(&format!("{prefix}.key"));
            let found = verify(folder.path(), &trusted).unwrap();
            assert_eq!(found.statement, verified.statement);

            // A pair made here signs there.
            let (ours, _) = theirs
                .write_pair(&keys.path().join("ours"), b"secret")
                .unwrap();
            attest(ours.to_str().unwrap());
            verify(folder.path(), &trusted).unwrap();
        }
    }
}
