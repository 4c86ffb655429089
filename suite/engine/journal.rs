//! Writes what a run finds as it is found, so that a crash loses nothing, and packs it at the end.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Recording, recording::EVIDENCE_FILE};
use crate::{
    checks::RunContext,
    cluster::Evidence,
    digest::sha256,
    report::{
        model::{self, CheckResult, SetupResult},
        plugins::PluginResult,
    },
};

/// The folder of an unfinished run, inside its result folder.
const JOURNAL: &str = "journal";
/// The largest file of a journal that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;

/// The digest of the configuration, in the journal's folder.
const CONFIGURATION: &str = "configuration.sha256";

/// The journal of a run: one evidence file a check or set-up, and one line a result.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    results: fs::File,
}

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// A check's result.
    Check(Box<CheckResult>),
    /// A set-up's result.
    Setup(Box<SetupResult>),
    /// The result of an attempt that is made again.
    Again(Box<CheckResult>),
    /// What a plugin reported.
    Plugin(Box<PluginResult>),
}

impl Journal {
    /// Begins (or goes on with) the journal in a result folder.
    pub(super) fn open(out: &Path) -> io::Result<Self> {
        let dir = out.join(JOURNAL);
        fs::create_dir_all(&dir)?;
        let path = dir.join("results.ndjson");
        let cut_off = read(&path).is_ok_and(|b| b.last().is_some_and(|last| *last != b'\n'));
        let mut results = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        if cut_off {
            // The next line must not be lost with it.
            results.write_all(b"\n")?;
        }
        Ok(Self { dir, results })
    }

    /// The results that an interrupted run left. A last line that was cut off is dropped.
    pub(super) fn lines(out: &Path) -> io::Result<Vec<Line>> {
        // As bytes: a line may have been cut off within a character.
        let bytes = read(&out.join(JOURNAL).join("results.ndjson"))?;
        Ok(bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    /// Writes the run's context, which a replay needs.
    pub(super) fn context(&self, context: &RunContext) -> io::Result<()> {
        write_new(&self.dir.join("evidence/run.json"), &to_json(context))
    }

    /// Writes the digest of the configuration, by which a run that goes on knows it again. It is never packed.
    pub(super) fn configuration(&self, digest: &str) -> io::Result<()> {
        write_new(&self.dir.join(CONFIGURATION), digest.as_bytes())
    }

    /// The digest of the configuration of an interrupted run.
    pub(super) fn read_configuration(out: &Path) -> io::Result<Option<String>> {
        match fs::read_to_string(out.join(JOURNAL).join(CONFIGURATION)) {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The context of an interrupted run.
    pub(super) fn read_context(out: &Path) -> io::Result<RunContext> {
        let bytes = read(&out.join(JOURNAL).join("evidence/run.json"))?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    /// Writes what an earlier run recorded, to the byte.
    pub(super) fn restore(&self, recording: &Recording) -> io::Result<()> {
        self.context(&recording.context)?;
        for evidence in recording.evidence.values() {
            self.evidence(evidence)?;
        }
        Ok(())
    }

    /// Writes the evidence of a check or set-up and says where it is.
    pub(super) fn evidence(&self, evidence: &Evidence) -> io::Result<model::Evidence> {
        let path = Evidence::path(&evidence.id, evidence.attempt);
        let bytes = to_json(evidence);
        write_new(&self.dir.join("evidence").join(&path), &bytes)?;
        Ok(model::Evidence {
            path,
            sha256: sha256(&bytes),
        })
    }

    /// Writes a result.
    pub(super) fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::other)?;
        text.push(b'\n');
        self.results.write_all(&text)
    }

    /// Packs the evidence into one archive beside the results: files in order of their names, no times, no owners,
    /// so that the same evidence is the same archive.
    pub(super) fn pack(&self, out: &Path) -> io::Result<()> {
        let root = self.dir.join("evidence");
        let mut files = Vec::new();
        walk(&root, &mut files)?;
        let mut names: Vec<(String, PathBuf)> = files
            .into_iter()
            .filter_map(|path| {
                let name = path
                    .strip_prefix(&root)
                    .ok()?
                    .to_str()?
                    .replace(std::path::MAIN_SEPARATOR, "/");
                Some((name, path))
            })
            .collect();
        names.sort();
        let temporary = out.join(format!("{EVIDENCE_FILE}.tmp"));
        let mut tar = tar::Builder::new(gzip(fs::File::create(&temporary)?));
        for (name, path) in names {
            append(&mut tar, &name, &read(&path)?)?;
        }
        tar.into_inner()?.finish()?.sync_all()?;
        fs::rename(temporary, out.join(EVIDENCE_FILE))
    }

    /// Removes the journal of a run that is over.
    pub(super) fn remove(out: &Path) -> io::Result<()> {
        fs::remove_dir_all(out.join(JOURNAL))
    }
}

/// Compresses an archive of evidence; nothing in it depends on when.
pub(super) fn gzip<W: Write>(to: W) -> flate2::write::GzEncoder<W> {
    let compression = flate2::Compression::default();
    flate2::GzBuilder::new().mtime(0).write(to, compression)
}

/// Adds a file to an archive of evidence. A reader holds the archive to these very bytes.
pub(super) fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, name, bytes)
}

/// The text of an entry: one line.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Reads a file of a journal, which may lie in a folder that somebody else made.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        let what = format!("{} is no file of a journal", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    fs::read(path)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes)?;
    fs::rename(temporary, path)
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), out)?;
        } else if entry.path().extension().is_some_and(|e| e == "json") {
            out.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_line_that_was_cut_off_takes_no_other_along() {
        let out = tempfile::tempdir().unwrap();
        let write = |id: &str| {
            let mut journal = Journal::open(out.path()).unwrap();
            let line = Line::Check(Box::new(sample::check(id)));
            journal.line(&line).unwrap();
        };
        write("katib/a/first");
        let path = out.path().join("journal/results.ndjson");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"check\":{\"id\":\"katib/a/ä");
        // Within the last character.
        fs::write(&path, &text.as_bytes()[..text.len() - 1]).unwrap();
        write("katib/a/second");
        let ids: Vec<String> = Journal::lines(out.path())
            .unwrap()
            .into_iter()
            .map(|line| match line {
                Line::Check(check) | Line::Again(check) => check.id,
                Line::Setup(setup) => setup.id,
                Line::Plugin(plugin) => plugin.name,
            })
            .collect();
        assert_eq!(ids, ["katib/a/first", "katib/a/second"]);
    }
}
