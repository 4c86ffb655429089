//! A run's evidence, read back.

use std::{collections::BTreeMap, io::Read, path::Path, sync::Arc};

use super::{Replay, journal};
use crate::{
    checks::RunContext,
    cluster::{Evidence, exchange::weight},
    digest::sha256,
    outcome::shorten,
};

/// Bounds on an archive of evidence, which may come from anybody. A run of 200 checks on a real cluster makes 400
/// entries, 8 MB and less than a million values.
const MAX_ENTRIES: usize = 5_000;
const MAX_PACKED: u64 = 8 << 20;
const MAX_UNPACKED: u64 = 40 << 20;
/// A value of JSON in memory is many times what it is in the file, if it is small.
const MAX_IN_MEMORY: usize = 144 << 20;
/// The most exchanges in one entry.
const MAX_EXCHANGES: usize = 5_000;

/// The evidence of a run, in its result folder.
pub const EVIDENCE_FILE: &str = "evidence.tar.gz";
/// The context of the run.
pub const CONTEXT: &str = "run.json";
/// The ids of the evidence that belongs to no check: what was found, the namespace, the clean-up.
pub const OF_THE_RUN: [&str; 3] = ["run/discovery", "run/namespace", "run/cleanup"];

/// The evidence of a run.
#[derive(Debug)]
pub struct Recording {
    /// What all checks shared.
    pub context: Arc<RunContext>,
    /// The evidence, by its path in the archive.
    pub evidence: BTreeMap<String, Evidence>,
    /// SHA-256 of each entry, by its path, lower-case hexadecimal.
    pub digests: BTreeMap<String, String>,
}

/// Why an archive of evidence cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It cannot be read or unpacked.
    #[error("the evidence cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It breaks a bound.
    #[error("the evidence is too large: {0}")]
    TooLarge(String),
    /// It is not packed as a run packs it.
    #[error("the archive of evidence is not as a run packs it: {0}")]
    NotAsPacked(String),
    /// An entry is not what it should be.
    #[error("the evidence entry `{name}` is not valid: {why}")]
    Entry {
        /// The entry's name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

impl Recording {
    /// Reads an `evidence.tar.gz`.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        // A link could lead anywhere, and a pipe be waited for without end.
        if !std::fs::symlink_metadata(path)?.is_file() {
            return Err(RecordingError::NotAsPacked(
                "it is not a regular file".to_owned(),
            ));
        }
        Self::unpack(std::fs::File::open(path)?)
    }

    /// Reads an archive of evidence, within bounds on everything. It must be, to the byte, what a run of this suite
    /// packs: nothing in it is left unread.
    pub fn unpack(mut reader: impl Read) -> Result<Self, RecordingError> {
        let mut packed = Vec::new();
        reader
            .by_ref()
            .take(MAX_PACKED + 1)
            .read_to_end(&mut packed)?;
        if packed.len() as u64 > MAX_PACKED {
            return Err(RecordingError::TooLarge(format!(
                "more than {MAX_PACKED} bytes"
            )));
        }
        let mut gzip = flate2::bufread::GzDecoder::new(packed.as_slice());
        let mut unpacked = Vec::new();
        gzip.by_ref()
            .take(MAX_UNPACKED + 1)
            .read_to_end(&mut unpacked)?;
        if unpacked.len() as u64 > MAX_UNPACKED {
            return Err(RecordingError::TooLarge(format!(
                "more than {MAX_UNPACKED} bytes unpacked"
            )));
        }
        let plain = gzip.header().is_some_and(|header| {
            header.mtime() == 0
                && header.filename().is_none()
                && header.comment().is_none()
                && header.extra().is_none()
        });
        if !plain || !gzip.into_inner().is_empty() {
            return Err(RecordingError::NotAsPacked(
                "there is something before or after the archive".to_owned(),
            ));
        }
        Self::of_tar(&unpacked)
    }

    /// Packs the evidence as a run does.
    pub fn pack(&self) -> Result<Vec<u8>, RecordingError> {
        let mut entries: Vec<(&str, Vec<u8>)> = self
            .evidence
            .iter()
            .map(|(path, evidence)| (path.as_str(), journal::to_json(evidence)))
            .collect();
        entries.push((CONTEXT, journal::to_json(self.context.as_ref())));
        entries.sort();
        let mut tar = tar::Builder::new(journal::gzip(Vec::new()));
        for (name, bytes) in entries {
            journal::append(&mut tar, name, &bytes)?;
        }
        Ok(tar.into_inner()?.finish()?)
    }

    /// SHA-256 of a piece of evidence as it is packed, lower-case hexadecimal.
    pub fn digest(evidence: &Evidence) -> String {
        sha256(journal::to_json(evidence))
    }

    fn of_tar(bytes: &[u8]) -> Result<Self, RecordingError> {
        let mut archive = tar::Archive::new(bytes);
        let mut packed = Compared(bytes);
        let mut again = tar::Builder::new(&mut packed);
        let mut in_memory = 0;
        let mut context = None;
        let mut evidence = BTreeMap::new();
        let mut digests = BTreeMap::<String, String>::new();
        for (index, entry) in archive.entries()?.enumerate() {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let bad = |why: String| RecordingError::Entry {
                name: shorten(&name, 200),
                why,
            };
            if index >= MAX_ENTRIES {
                return Err(RecordingError::TooLarge(format!(
                    "more than {MAX_ENTRIES} entries"
                )));
            }
            if entry.header().entry_type() != tar::EntryType::Regular || !is_plain(&name) {
                return Err(bad("it is not a plain file inside the archive".to_owned()));
            }
            if entry.size() > bytes.len() as u64 {
                return Err(RecordingError::TooLarge(format!(
                    "`{name}` has {} bytes",
                    entry.size()
                )));
            }
            let mut bytes = Vec::with_capacity(entry.size() as usize);
            entry.read_to_end(&mut bytes)?;
            in_memory += weight(&bytes);
            if in_memory > MAX_IN_MEMORY {
                return Err(RecordingError::TooLarge(format!(
                    "it takes more than {MAX_IN_MEMORY} bytes once it is read"
                )));
            }
            let earlier = digests.last_key_value().map(|(last, _)| last.as_str());
            if earlier.is_some_and(|last| last >= name.as_str()) {
                return Err(bad("it is there twice, or out of order".to_owned()));
            }
            digests.insert(name.clone(), sha256(&bytes));
            let written = if name == CONTEXT {
                let read: RunContext =
                    serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
                let written = journal::to_json(&read);
                context = Some(read);
                written
            } else {
                let one: Evidence =
                    serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
                if one.exchanges.len() + one.collected.len() + one.removed.len() > MAX_EXCHANGES {
                    return Err(RecordingError::TooLarge(format!(
                        "`{name}` has more than {MAX_EXCHANGES} exchanges"
                    )));
                }
                if name != Evidence::path(&one.id, one.attempt) {
                    return Err(bad(format!(
                        "it holds the evidence of `{}`, attempt {}",
                        one.id, one.attempt
                    )));
                }
                let written = journal::to_json(&one);
                evidence.insert(name.clone(), one);
                written
            };
            if written != bytes {
                return Err(bad(
                    "it holds something that a run does not write, or not as it writes it"
                        .to_owned(),
                ));
            }
            if journal::append(&mut again, &name, &bytes).is_err() {
                return Err(bad("it is not packed as a run packs it".to_owned()));
            }
        }
        if again.finish().is_err() {
            return Err(RecordingError::NotAsPacked(
                "it does not end as a run ends it".to_owned(),
            ));
        }
        drop(again);
        if !packed.0.is_empty() {
            return Err(RecordingError::NotAsPacked(
                "there is something behind its end".to_owned(),
            ));
        }
        let context: RunContext = context.ok_or_else(|| RecordingError::Entry {
            name: CONTEXT.to_owned(),
            why: "it is missing".to_owned(),
        })?;
        Ok(Self {
            context: Arc::new(context),
            evidence,
            digests,
        })
    }

    /// What the checks say when they are executed over it again.
    pub fn replay(&self) -> Replay<'_> {
        Replay::new(self)
    }
}

/// Takes what is written for as long as it is what is expected.
struct Compared<'a>(&'a [u8]);

impl std::io::Write for Compared<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .strip_prefix(bytes)
            .ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Names that stay inside: relative, forward slashes, no `..`, printable.
fn is_plain(name: &str) -> bool {
    name.len() <= 200
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '.' | '@' | '_'))
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn names_stay_inside() {
        assert!(is_plain("katib/a/b@2.json"));
        for name in ["../x", "/x", "a//b", "a/../b", "", "a\\b", "a\0b", "./a"] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
