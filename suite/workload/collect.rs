//! Takes what a plugin reports: waits for its `done` file and prints the JUnit documents of the result as one line, which is
//! how they come out of a pod that nothing else can be asked of.
//!
//! The plugin is somebody else's program: where its `done` file leads is bounded to its own folder, and how much is read is
//! bounded too.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Context;

/// Where a plugin's result is, in its container and in the collector's.
pub const RESULTS_DIRS: [&str; 2] = ["/tmp/sonobuoy/results", "/tmp/results"];
/// The file that says that the result is there, and where.
const DONE: &str = "done";
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// The most documents of one result.
pub const MAX_DOCUMENTS: usize = 16;
/// The most bytes of all of them.
pub const MAX_BYTES: u64 = 1 << 20;
/// The most bytes of an archive, unpacked: a result may hold more than JUnit.
const MAX_UNPACKED: u64 = 256 << 20;
/// The most entries of an archive or a folder.
const MAX_ENTRIES: usize = 10_000;
/// The longest `done` file, and the longest name of a document, in bytes.
const MAX_NAME: usize = 1024;

/// Wait for a plugin's result and print its JUnit as one line of JSON
#[derive(Clone, Debug, Default, Args)]
pub struct Collect {}

/// What the collector prints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collected {
    /// The JUnit documents, in the order of their names.
    pub documents: Vec<Document>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A JUnit document as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its name in the result.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Collect {
    pub(super) async fn run(self, cx: Context) -> i32 {
        // An empty file is one that is being written.
        let mut told = None;
        while told.is_none() {
            told = done(&cx);
            if told.is_none() && !cx.sleep(LOOK).await {
                told = done(&cx);
                break;
            }
        }
        let collected = match told.map(|path| documents(&cx, &path)) {
            Some(Ok(documents)) => Collected {
                documents,
                error: None,
            },
            Some(Err(error)) => Collected {
                documents: Vec::new(),
                error: Some(error),
            },
            None => return super::STOPPED,
        };
        match serde_json::to_string(&collected) {
            Ok(line) => {
                cx.print(&line);
                0
            }
            Err(error) => {
                cx.log(&error.to_string());
                1
            }
        }
    }
}

/// What the `done` file says.
fn done(cx: &Context) -> Option<String> {
    RESULTS_DIRS.iter().find_map(|dir| {
        let path = cx.path(Path::new(dir).join(DONE));
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut text = String::new();
        let file = File::open(path).ok()?;
        file.take(MAX_NAME as u64).read_to_string(&mut text).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    })
}

/// The documents of the result that a `done` file names.
fn documents(cx: &Context, told: &str) -> Result<Vec<Document>, String> {
    let is = |error: io::Error| format!("the result `{told}` cannot be read: {error}");
    let path = fs::canonicalize(cx.path(told)).map_err(is)?;
    let own = RESULTS_DIRS
        .iter()
        .filter_map(|dir| fs::canonicalize(cx.path(dir)).ok())
        .any(|dir| path.starts_with(dir));
    if !own {
        return Err(format!("the result `{told}` is not in the results folder"));
    }
    let mut reading = Reading::default();
    let name = path.file_name().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default().into_owned();
    if path.is_dir() {
        let mut files = Vec::new();
        for entry in fs::read_dir(&path).map_err(is)?.take(MAX_ENTRIES) {
            let entry = entry.map_err(is)?;
            // A link could lead anywhere.
            if entry.file_type().map_err(is)?.is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        for file in files.iter().filter(|file| is_xml(file)) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            reading.take(&name, File::open(file).map_err(is)?)?;
        }
    } else if [".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end)) {
        let gzip = flate2::read::GzDecoder::new(File::open(&path).map_err(is)?);
        reading
            .unpack(gzip.take(MAX_UNPACKED))
            .map_err(|error| match error {
                Unpacking::Io(error) => is(error),
                Unpacking::Refused(why) => why,
            })?;
    } else {
        reading.take(&name, File::open(&path).map_err(is)?)?;
    }
    if reading.documents.is_empty() {
        return Err(format!("there is no JUnit document in the result `{told}`"));
    }
    reading.documents.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reading.documents)
}

fn is_xml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "xml")
}

/// Why an archive is not read.
enum Unpacking {
    Io(io::Error),
    Refused(String),
}

impl From<io::Error> for Unpacking {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Unpacking {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// Documents as they are read.
#[derive(Default)]
struct Reading {
    documents: Vec<Document>,
    bytes: u64,
}

impl Reading {
    fn unpack(&mut self, reader: impl Read) -> Result<(), Unpacking> {
        let mut archive = tar::Archive::new(reader);
        for (number, entry) in archive.entries()?.enumerate() {
            if number >= MAX_ENTRIES {
                return Err(format!("the archive has more than {MAX_ENTRIES} entries").into());
            }
            let entry = entry?;
            let path: PathBuf = entry.path()?.into_owned();
            if entry.header().entry_type() == tar::EntryType::Regular && is_xml(&path) {
                let name = path.to_string_lossy();
                self.take(name.trim_start_matches("./"), entry)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, reader: impl Read) -> Result<(), String> {
        if self.documents.len() >= MAX_DOCUMENTS {
            return Err(format!(
                "there are more than {MAX_DOCUMENTS} JUnit documents"
            ));
        }
        let left = MAX_BYTES - self.bytes;
        let mut text = Vec::new();
        reader
            .take(left + 1)
            .read_to_end(&mut text)
            .map_err(|error| format!("`{name}` cannot be read: {error}"))?;
        if text.len() as u64 > left {
            return Err(format!(
                "the JUnit documents have more than {MAX_BYTES} bytes"
            ));
        }
        self.bytes += text.len() as u64;
        let text = String::from_utf8(text).map_err(|_| format!("`{name}` is not UTF-8"))?;
        self.documents.push(Document {
            name: crate::outcome::shorten(name, MAX_NAME),
            text,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A container whose results folder is this one; nothing else is in it.
    fn container(dir: &Path) -> Context {
        let mut cx = Context::system(std::collections::BTreeMap::new()).unwrap();
        let dir = dir.to_owned();
        cx.map_path = Arc::new(move |path| {
            let inside = RESULTS_DIRS
                .iter()
                .find_map(|own| path.strip_prefix(own).ok());
            inside.map_or_else(|| path.to_owned(), |rest| dir.join(rest))
        });
        cx
    }

    fn packed(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[tokio::test]
    async fn a_file_a_folder_and_an_archive_are_results() {
        let dir = tempfile::tempdir().unwrap();
        let cx = container(dir.path());
        assert_eq!(done(&cx), None);
        fs::write(dir.path().join(DONE), "\n").unwrap();
        assert_eq!(done(&cx), None, "it is being written");
        fs::write(dir.path().join(DONE), "/tmp/results/a.xml\n").unwrap();
        assert_eq!(done(&cx).as_deref(), Some("/tmp/results/a.xml"));

        fs::write(dir.path().join("a.xml"), "<testsuite/>").unwrap();
        fs::write(dir.path().join("log.txt"), "text").unwrap();
        let one = [Document {
            name: "a.xml".to_owned(),
            text: "<testsuite/>".to_owned(),
        }];
        for told in ["/tmp/results/a.xml", "/tmp/sonobuoy/results"] {
            assert_eq!(documents(&cx, told).unwrap(), one, "{told}");
        }
        let bytes = packed(&[("b/z.xml", "<z/>"), ("log", "x"), ("b/a.xml", "<a/>")]);
        fs::write(dir.path().join("r.tar.gz"), bytes).unwrap();
        let names: Vec<String> = documents(&cx, "/tmp/results/r.tar.gz")
            .unwrap()
            .into_iter()
            .map(|document| document.name)
            .collect();
        assert_eq!(names, ["b/a.xml", "b/z.xml"]);
    }

    #[tokio::test]
    async fn a_result_stays_in_its_folder_and_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let secret = tempfile::NamedTempFile::new().unwrap();
        let cx = container(dir.path());
        let link = dir.path().join("link.xml");
        std::os::unix::fs::symlink(secret.path(), &link).unwrap();
        fs::write(dir.path().join("binary.xml"), b"\xff\xfe").unwrap();
        fs::write(dir.path().join("broken.tar.gz"), b"no archive").unwrap();
        File::create(dir.path().join("large.xml"))
            .unwrap()
            .set_len(MAX_BYTES + 1)
            .unwrap();
        let many: Vec<(String, &str)> = (0..=MAX_DOCUMENTS)
            .map(|n| (format!("{n}.xml"), "<a/>"))
            .collect();
        let many: Vec<(&str, &str)> = many
            .iter()
            .map(|(name, text)| (name.as_str(), *text))
            .collect();
        fs::write(dir.path().join("many.tgz"), packed(&many)).unwrap();
        let secret = secret.path().display().to_string();
        for (told, why) in [
            (secret.as_str(), "not in the results folder"),
            ("/tmp/results/link.xml", "not in the results folder"),
            ("/tmp/results/../../../etc/passwd", "results"),
            ("/tmp/results/none.xml", "cannot be read"),
            ("/tmp/results/binary.xml", "not UTF-8"),
            ("/tmp/results/broken.tar.gz", "cannot be read"),
            ("/tmp/results/large.xml", "more than 1048576 bytes"),
            ("/tmp/results/many.tgz", "more than 16 JUnit documents"),
        ] {
            let error = documents(&cx, told).unwrap_err();
            assert!(error.contains(why), "{told}: {error}");
        }
    }
}
