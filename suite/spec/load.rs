//! Reads `specs/`, from the binary or a folder, and says where it is wrong: file, line, column and what is allowed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_saphyr::Spanned;
use sha2::{Digest as _, Sha256};

use super::model::{
    Level, Profile, ProfileFile, Program, Release, ReleaseName, Requirement, RequirementFile,
};
use super::select::{glob, nearest};
use super::{ComponentSpecs, Specs};
use crate::digest::hex;
use crate::outcome::shorten;

pub(super) static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/specs");

/// The largest file that is read, in bytes. The largest one today is about a tenth of it.
const MAX_FILE: u64 = 2 << 20;
/// The longest message about one thing, in characters: it may quote what stands in a file.
const MAX_MESSAGE: usize = 2000;
/// The most files that are read from one folder.
const MAX_FILES: usize = 256;

/// Why specs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A file or folder could not be read.
    #[error("cannot read `{}`: {source}; name a folder with the shape of `specs/`", .path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder holds more, or larger files, than specs ever have.
    #[error("`{}` holds {what}; is it a folder of specs?", .path.display())]
    TooLarge {
        /// What is too large.
        path: PathBuf,
        /// How it is too large, with the bound.
        what: String,
    },
    /// The files were read, and these things are wrong in them.
    #[error("{}", told(.0))]
    Invalid(Vec<Problem>),
}

/// What is wrong, as much of it as a person reads.
fn told(problems: &[Problem]) -> String {
    const MOST: usize = 50;
    let mut told: Vec<String> = problems
        .iter()
        .take(MOST)
        .map(ToString::to_string)
        .collect();
    if problems.len() > MOST {
        told.push(format!("and {} more", problems.len() - MOST));
    }
    told.join("\n")
}

/// One thing that is wrong in a file of specs. Its text is `FILE:LINE:COLUMN: MESSAGE` and the line itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// Line and column, counted from one; none if the whole file is meant.
    pub at: Option<(usize, usize)>,
    /// The line's text.
    pub line: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        if let (Some((line, column)), Some(text)) = (self.at, &self.line) {
            let margin = " ".repeat(line.to_string().len());
            write!(f, "\n{margin} |\n{line} | {text}")?;
            // Of a long line only the beginning is shown.
            if column <= text.chars().count() + 1 {
                let indent = " ".repeat(column.saturating_sub(1));
                write!(f, "\n{margin} | {indent}^")?;
            }
        }
        Ok(())
    }
}

/// Files by their name below `specs/`, with `/` between folders: the name that messages give, and the content.
type Files = BTreeMap<String, (String, Vec<u8>)>;

/// A file that is text.
struct File {
    /// The name that messages give.
    shown: String,
    text: String,
}

/// Loads the specs in the binary.
pub(super) fn embedded() -> Result<Specs, SpecError> {
    let mut files = Files::new();
    let folders = ["requirements", "releases"];
    let folders = folders.iter().filter_map(|name| EMBEDDED.get_dir(name));
    let top = EMBEDDED.files().filter(|file| {
        file.path()
            .extension()
            .is_some_and(|extension| extension == "yaml")
    });
    for file in top.chain(folders.flat_map(Dir::files)) {
        let name = file.path().to_string_lossy().replace('\\', "/");
        let shown = format!("specs/{name}");
        files.insert(name, (shown, file.contents().to_vec()));
    }
    build(files)
}

/// Loads the specs in a folder.
pub(super) fn from_dir(dir: &Path) -> Result<Specs, SpecError> {
    let mut files = Files::new();
    for name in ["profiles.yaml", "program.yaml"] {
        files.insert(name.to_owned(), read(dir.join(name))?);
    }
    for folder in ["requirements", "releases"] {
        let path = dir.join(folder);
        let failed = |source| SpecError::Read {
            path: path.clone(),
            source,
        };
        for (count, entry) in std::fs::read_dir(&path).map_err(failed)?.enumerate() {
            if count == MAX_FILES {
                return Err(SpecError::TooLarge {
                    path,
                    what: format!("more than {MAX_FILES} files"),
                });
            }
            let entry = entry.map_err(failed)?;
            files.insert(
                format!("{folder}/{}", entry.file_name().to_string_lossy()),
                read(entry.path())?,
            );
        }
    }
    build(files)
}

fn read(path: PathBuf) -> Result<(String, Vec<u8>), SpecError> {
    let mut content = Vec::new();
    // One byte more than is allowed tells a file that is too large from one that just fits, whatever its kind.
    // A pipe would be waited for without end.
    let regular = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file());
    if path.exists() && !regular {
        return Err(SpecError::TooLarge {
            path,
            what: "no file's content".to_owned(),
        });
    }
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content));
    match read {
        Err(source) => Err(SpecError::Read { path, source }),
        Ok(bytes) if bytes as u64 > MAX_FILE => Err(SpecError::TooLarge {
            path,
            what: format!("more than {MAX_FILE} bytes"),
        }),
        Ok(_) => Ok((path.display().to_string(), content)),
    }
}

/// Parses and validates files, given by their name below `specs/`.
fn build(files: Files) -> Result<Specs, SpecError> {
    let digest = digest(&files);
    let mut read = Reader {
        problems: Vec::new(),
    };
    let mut texts = BTreeMap::new();
    for name in ["profiles.yaml", "program.yaml"] {
        if !files.contains_key(name) {
            read.whole_file(&format!("specs/{name}"), "is missing");
        }
    }
    for (name, (shown, content)) in files {
        match String::from_utf8(content) {
            Ok(text) if name.strip_suffix(".yaml").is_some() => {
                texts.insert(name, File { shown, text });
            }
            Ok(_) => read.whole_file(&shown, "is not expected here; files end in `.yaml`"),
            Err(_) => read.whole_file(&shown, "is not UTF-8 text"),
        }
    }
    let below = |folder: &str| {
        let stem = |name: &str| Some(name.strip_prefix(folder)?.strip_suffix(".yaml")?.to_owned());
        texts
            .iter()
            .filter_map(|(name, file)| Some((stem(name)?, file)))
            .collect::<Vec<_>>()
    };

    let releases = read.releases(&below("releases/"));
    if releases.is_empty() && read.problems.is_empty() {
        read.whole_file("specs/releases", "holds no release");
    }
    let (components, requirements) = read.requirements(&below("requirements/"), &releases);
    let profiles = texts
        .get("profiles.yaml")
        .map(|file| read.profiles(file, &requirements));
    let program = texts
        .get("program.yaml")
        .and_then(|file| read.program(file));
    match (profiles, program) {
        (Some(profiles), Some(program)) if read.problems.is_empty() => {
            let ids = requirements
                .iter()
                .map(|requirement| requirement.id.clone());
            let index = ids.enumerate().map(|(at, id)| (id, at)).collect();
            Ok(Specs {
                components,
                requirements,
                index,
                profiles,
                releases,
                program,
                digest,
            })
        }
        _ => Err(SpecError::Invalid(read.problems)),
    }
}

/// Hashes names, lengths and contents, so that no two sets of files share a digest by moving a boundary.
fn digest(files: &Files) -> String {
    let mut hash = Sha256::new();
    for (name, (_, content)) in files.iter().filter(|(name, _)| *name != "program.yaml") {
        hash.update(format!("{name}\0{}\0", content.len()));
        hash.update(content);
    }
    hex(&hash.finalize())
}

/// Where in a file something is wrong.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// The value of a field at the top.
    Top(&'a str),
    /// The value of a field of an item of the list at the top.
    Item(&'a str, usize, &'a str),
}

/// Reads files and gathers what is wrong in them.
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn whole_file(&mut self, shown: &str, message: &str) {
        let (file, message) = (shown.to_owned(), message.to_owned());
        self.problems.push(Problem {
            file,
            at: None,
            line: None,
            message,
        });
    }

    fn problem(&mut self, file: &File, place: Place, message: impl Into<String>) {
        self.problems
            .push(located(file, find(&file.text, place), message.into()));
    }

    fn parse<T: DeserializeOwned>(&mut self, file: &File) -> Option<T> {
        parse(file)
            .map_err(|problem| self.problems.push(problem))
            .ok()
    }

    fn releases(&mut self, files: &[(String, &File)]) -> Vec<Release> {
        let mut releases: Vec<Release> = Vec::new();
        for (stem, file) in files {
            let Some(release) = self.parse::<Release>(file) else {
                continue;
            };
            if release.name.as_str() != stem {
                self.problem(
                    file,
                    Place::Top("name"),
                    format!(
                        "release `{}` belongs into `{}.yaml`",
                        release.name, release.name
                    ),
                );
            }
            if release
                .kubernetes
                .max
                .as_ref()
                .is_some_and(|max| *max < release.kubernetes.min)
            {
                self.problem(
                    file,
                    Place::Top("kubernetes"),
                    "the newest Kubernetes version is older than the oldest",
                );
            }
            if release.versions.is_empty() {
                self.problem(
                    file,
                    Place::Top("versions"),
                    "a release has at least one version",
                );
            }
            for (at, version) in release.versions.iter().enumerate() {
                let prefix = format!("{}.", release.name);
                if version.version != release.name.as_str() && !version.version.starts_with(&prefix)
                {
                    let message = format!(
                        "version `{}` is not one of release `{}`",
                        version.version, release.name
                    );
                    self.problem(file, Place::Item("versions", at, "version"), message);
                }
            }
            self.urls(file, &release.sources, Place::Top("sources"));
            releases.push(release);
        }
        releases.sort_by(|a, b| a.name.cmp(&b.name));
        releases
    }

    fn requirements(
        &mut self,
        files: &[(String, &File)],
        releases: &[Release],
    ) -> (Vec<ComponentSpecs>, Vec<Requirement>) {
        // Releases that do not load are reported themselves, and not once more wherever one is named.
        let releases = if self.problems.is_empty() {
            releases
        } else {
            &[]
        };
        let mut parsed: Vec<(&File, RequirementFile)> = Vec::new();
        for (stem, file) in files {
            let Some(content) = self.parse::<RequirementFile>(file) else {
                continue;
            };
            if content.component.as_str() != stem {
                let message = format!(
                    "requirements of `{}` belong into `{}.yaml`",
                    content.component, content.component
                );
                self.problem(file, Place::Top("component"), message);
            }
            if content.group.trim().is_empty() {
                self.problem(
                    file,
                    Place::Top("group"),
                    "name the working group that owns these requirements",
                );
            }
            parsed.push((file, content));
        }
        parsed.sort_by_key(|(_, content)| content.component);

        let mut seen: HashMap<String, String> = HashMap::new();
        for (file, content) in &parsed {
            for (at, requirement) in content.requirements.iter().enumerate() {
                if let Some(first) = seen.insert(requirement.id.clone(), file.shown.clone()) {
                    let message = format!(
                        "`{}` is already a requirement in {first}; an id is used once",
                        requirement.id
                    );
                    self.problem(file, Place::Item("requirements", at, "id"), message);
                }
                self.requirement(file, content, at, requirement, releases);
            }
        }
        let mut components = Vec::new();
        let mut requirements = Vec::new();
        for (_, content) in parsed {
            components.push(ComponentSpecs {
                component: content.component,
                group: content.group,
                features: content.features,
            });
            requirements.extend(content.requirements);
        }
        (components, requirements)
    }

    fn requirement(
        &mut self,
        file: &File,
        content: &RequirementFile,
        at: usize,
        requirement: &Requirement,
        releases: &[Release],
    ) {
        let place = |field: &'static str| Place::Item("requirements", at, field);
        if requirement.component() != content.component {
            let message = format!("an id in this file begins with `{}/`", content.component);
            self.problem(file, place("id"), message);
        }
        if requirement.title.trim().is_empty()
            || requirement.title.ends_with('.')
            || requirement.title.chars().count() > 100
        {
            self.problem(
                file,
                place("title"),
                "a title is one line of at most 100 characters without a full stop",
            );
        }
        if let Err(message) = normative(requirement) {
            self.problem(file, place("text"), message);
        }
        let known: Vec<&ReleaseName> = releases.iter().map(|release| &release.name).collect();
        let bounds = [
            ("since", Some(&requirement.since)),
            ("until", requirement.until.as_ref()),
        ];
        for (field, release) in bounds
            .into_iter()
            .filter_map(|(field, release)| Some((field, release?)))
        {
            if !known.is_empty() && !known.contains(&release) {
                let names: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
                self.problem(
                    file,
                    place(field),
                    unknown("release", release.as_str(), &names),
                );
            }
        }
        if requirement
            .until
            .as_ref()
            .is_some_and(|until| *until < requirement.since)
        {
            self.problem(
                file,
                place("until"),
                "a requirement cannot end before it begins",
            );
        }
        if let Some(feature) = &requirement.feature {
            if !content.features.contains_key(feature) {
                let names: Vec<&str> = content.features.keys().map(String::as_str).collect();
                self.problem(file, place("feature"), unknown("feature", feature, &names));
            }
            if requirement.level == Level::Core {
                let message = "a core requirement holds for every distribution and cannot be behind a feature; make it `extended`";
                self.problem(file, place("feature"), message);
            }
        }
        for (field, text) in [
            ("why", &requirement.why),
            ("how", &requirement.how),
            ("breaks", &requirement.breaks),
        ] {
            if text.trim().is_empty() {
                self.problem(file, place(field), format!("`{field}` must say something"));
            }
        }
        if let (Some(budget), Some(timeout)) = (requirement.budget, requirement.timeout)
            && budget > timeout
        {
            self.problem(
                file,
                place("budget"),
                "a check cannot be expected to take longer than its timeout",
            );
        }
        if requirement.sources.is_empty() {
            self.problem(
                file,
                place("sources"),
                "name at least one public document that states the requirement",
            );
        }
        self.urls(file, &requirement.sources, place("sources"));
        self.urls(
            file,
            requirement
                .deviations
                .iter()
                .map(|deviation| &deviation.issue),
            place("deviations"),
        );
    }

    fn profiles(&mut self, file: &File, requirements: &[Requirement]) -> Vec<Profile> {
        let Some(content) = self.parse::<ProfileFile>(file) else {
            return Vec::new();
        };
        for (at, profile) in content.profiles.iter().enumerate() {
            if content.profiles[..at]
                .iter()
                .any(|earlier| earlier.name == profile.name)
            {
                let message = format!("`{}` is already a profile", profile.name);
                self.problem(file, Place::Item("profiles", at, "name"), message);
            }
            for (field, patterns) in [("include", &profile.include), ("exclude", &profile.exclude)]
            {
                for pattern in patterns {
                    // Requirements that do not load are reported themselves.
                    if self.problems.is_empty()
                        && !requirements
                            .iter()
                            .any(|requirement| glob(pattern, &requirement.id))
                    {
                        let ids: Vec<&str> = requirements
                            .iter()
                            .map(|requirement| requirement.id.as_str())
                            .collect();
                        let hint = nearest(pattern, ids)
                            .map(|id| format!("; did you mean `{id}`?"))
                            .unwrap_or_default();
                        self.problem(
                            file,
                            Place::Item("profiles", at, field),
                            format!("`{pattern}` matches no requirement{hint}"),
                        );
                    }
                }
            }
        }
        content.profiles
    }

    fn program(&mut self, file: &File) -> Option<Program> {
        let program = self.parse::<Program>(file)?;
        if program.supported_releases == 0 {
            self.problem(
                file,
                Place::Top("supportedReleases"),
                "at least one release must be open for submissions",
            );
        }
        for (at, suite) in program.suites.iter().enumerate() {
            if suite.specs.len() != 64
                || !suite
                    .specs
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            {
                let message = "a digest is written as 64 lower-case hexadecimal digits";
                self.problem(file, Place::Item("suites", at, "specs"), message);
            }
        }
        self.urls(
            file,
            program.documents.iter().map(|document| &document.url),
            Place::Top("documents"),
        );
        self.urls(
            file,
            program.naming.iter().map(|rule| &rule.source),
            Place::Top("naming"),
        );
        self.urls(
            file,
            program.voters.iter().map(|voter| &voter.source),
            Place::Top("voters"),
        );
        Some(program)
    }

    fn urls<'a>(&mut self, file: &File, urls: impl IntoIterator<Item = &'a String>, place: Place) {
        for url in urls {
            let rest = url.strip_prefix("https://").unwrap_or_default();
            if rest.is_empty() || url.chars().any(char::is_whitespace) {
                self.problem(
                    file,
                    place,
                    format!(
                        "`{url}` is no address of a public document; it begins with `https://`"
                    ),
                );
            }
        }
    }
}

/// A requirement is one sentence that says MUST, or SHOULD where the mark does not depend on it.
fn normative(requirement: &Requirement) -> Result<(), String> {
    let says = |word: &str| {
        requirement
            .text
            .split(|c: char| !c.is_alphanumeric())
            .any(|part| part == word)
    };
    let text = requirement.text.trim();
    let starts_another = |rest: &str| rest.trim_start().starts_with(char::is_uppercase);
    if !text.ends_with('.')
        || text
            .match_indices(". ")
            .any(|(at, _)| starts_another(&text[at + 2..]))
    {
        return Err("the text is one sentence and ends with a full stop".to_owned());
    }
    match requirement.level {
        Level::Core if !says("MUST") => Err("the text of a core requirement says MUST".to_owned()),
        Level::Extended if !says("MUST") && !says("SHOULD") => {
            Err("the text says MUST or SHOULD".to_owned())
        }
        _ => Ok(()),
    }
}

/// What is wrong with a YAML file, for its author: line and column, and a message without them.
pub(crate) fn read_error(error: &serde_saphyr::Error) -> (Option<(usize, usize)>, String) {
    let at = error.location().and_then(position);
    // The formatter speaks to users of the file rather than of the parser; the position that it adds goes before the
    // message, where editors and terminals find it.
    let formatter = serde_saphyr::UserMessageFormatter;
    let message = error.render_with_formatter(&formatter);
    let message = match at {
        Some((line, column)) => message
            .replace(&format!("line {line} column {column}: "), "")
            .replace(&format!(" at line {line}, column {column}"), ""),
        None => message,
    };
    // It may quote all of a file.
    let message = shorten(&message, MAX_MESSAGE);
    let mut message = message.replace("unknown variant", "unknown value");
    if let Some(meant) = meant(&message) {
        message.push_str(&format!("; did you mean `{meant}`?"));
    }
    (at, message)
}

/// The known word nearest to the unknown one of a message "unknown field `a`, expected one of b, c".
fn meant(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown ")?.1.split_once('`')?;
    let (word, rest) = rest.split_once('`')?;
    let known = rest.strip_prefix(", expected ")?;
    let known = known.strip_prefix("one of ").unwrap_or(known);
    let known: Vec<&str> = known
        .split([',', ' '])
        .map(|k| k.trim_matches('`'))
        .filter(|k| !k.is_empty() && *k != "or")
        .collect();
    super::nearest(word, known).map(ToOwned::to_owned)
}

fn unknown(what: &'static str, word: &str, known: &[&str]) -> String {
    super::Unknown::new(what, word, known.iter().copied()).to_string()
}

/// Reads a file, or says where it is wrong.
fn parse<T: DeserializeOwned>(file: &File) -> Result<T, Problem> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(&file.text, options).map_err(|error| {
        let (at, message) = read_error(&error);
        located(file, at, message)
    })
}

/// A document of YAML that is no part of the specs, read and complained of as they are.
pub(crate) struct YamlFile(File);

impl YamlFile {
    /// The text of a file; `shown` is what messages call it.
    pub(crate) fn new(shown: &str, text: &str) -> Self {
        Self(File {
            shown: shown.to_owned(),
            text: text.to_owned(),
        })
    }

    /// Reads it.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse(&self.0)
    }

    /// Something that is wrong with the value of a field at the top.
    pub(crate) fn problem(&self, field: &str, message: impl Into<String>) -> Problem {
        located(
            &self.0,
            find(&self.0.text, Place::Top(field)),
            message.into(),
        )
    }
}

fn located(file: &File, at: Option<(usize, usize)>, message: String) -> Problem {
    // A long line is cut: it is there to be recognised, and a message must stay readable.
    let line = at
        .and_then(|(line, _)| file.text.lines().nth(line - 1))
        .map(|line| line.chars().take(160).collect());
    Problem {
        file: file.shown.clone(),
        at,
        line,
        message: shorten(&message, MAX_MESSAGE),
    }
}

/// Finds the line and column of a place in a file that parses. Only asked once something is wrong there.
fn find(text: &str, place: Place) -> Option<(usize, usize)> {
    type Fields = IndexMap<String, Spanned<IgnoredAny>>;

    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Lists {
        requirements: Vec<Fields>,
        profiles: Vec<Fields>,
        versions: Vec<Fields>,
        suites: Vec<Fields>,
    }

    let value = match place {
        Place::Top(field) => serde_saphyr::from_str::<Fields>(text)
            .ok()?
            .swap_remove(field)?,
        Place::Item(list, at, field) => {
            let lists: Lists = serde_saphyr::from_str(text).ok()?;
            let items = match list {
                "requirements" => lists.requirements,
                "profiles" => lists.profiles,
                "versions" => lists.versions,
                _ => lists.suites,
            };
            items.into_iter().nth(at)?.swap_remove(field)?
        }
    };
    position(value.referenced)
}

/// Line and column from one; none where the parser lost track, for which it says zero.
fn position(location: serde_saphyr::Location) -> Option<(usize, usize)> {
    let (line, column) = (location.line() as usize, location.column() as usize);
    (line > 0 && column > 0).then_some((line, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_specs_are_valid_and_equal_the_folder() {
        let embedded = embedded().unwrap_or_else(|error| panic!("{error}"));
        let folder = from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("specs")).unwrap();
        assert_eq!(embedded.digest(), folder.digest());
        assert_eq!(embedded.requirements(), folder.requirements());
    }

    const KATIB: &str = "\
apiVersion: conformance.kubeflow.org/v1
kind: Requirements
component: katib
group: AutoML
features:
  grpc: {title: Metrics over gRPC, found: The Service has a port of that name}
requirements:
  - id: katib/experiment/created
    title: An experiment is created
    text: An Experiment MUST be created.
    level: core
    since: '1.9'
    why: It is needed.
    how: It is created.
    breaks: Nothing.
    sources: [https://www.kubeflow.org/]
  - id: katib/metrics/pushed
    title: Metrics can be pushed
    text: Metrics SHOULD be accepted over gRPC.
    level: extended
    feature: grpc
    since: '1.10'
    why: It is needed.
    how: They are pushed.
    breaks: Nothing.
    sources: [https://www.kubeflow.org/]
";
    const RELEASE: &str = "\
apiVersion: conformance.kubeflow.org/v1
kind: Release
name: '1.9'
released: 2024-07-22
kubernetes: {min: '1.29', tested: ['1.29']}
versions:
  - version: 1.9.0
    components: {katib: 0.17.0}
    dependencies: {}
sources: [https://www.kubeflow.org/]
";
    const PROFILES: &str = "\
apiVersion: conformance.kubeflow.org/v1
kind: Profiles
profiles:
  - {name: katib, title: Katib, about: All of it., components: [katib], levels: [core]}
";
    const PROGRAM: &str = "\
apiVersion: conformance.kubeflow.org/v1
kind: Program
mark: {name: Certified Kubeflow, status: proposed, note: Undecided.}
validityMonths: 12
reviewMonths: 6
supportedReleases: 3
cureDays: 90
voters: []
graduated: []
documents: []
naming: []
reruns: {accepted: true, attempts: 3, checks: 10, hours: 168}
suites: []
";

    /// A small set of files that is valid.
    fn files() -> Files {
        let newer = RELEASE.replace("1.9", "1.10");
        let files = [
            ("requirements/katib.yaml", KATIB),
            ("releases/1.9.yaml", RELEASE),
            ("releases/1.10.yaml", &newer),
            ("profiles.yaml", PROFILES),
            ("program.yaml", PROGRAM),
        ];
        files
            .map(|(name, text)| {
                (
                    name.to_owned(),
                    (format!("specs/{name}"), text.as_bytes().to_vec()),
                )
            })
            .into()
    }

    /// What is said about the files when one of them is edited.
    fn edited(name: &str, from: &str, to: &str) -> String {
        let mut files = files();
        let (_, content) = files.get_mut(name).unwrap();
        let text = String::from_utf8(content.clone()).unwrap();
        assert!(text.contains(from), "{name} does not hold {from:?}");
        *content = text.replacen(from, to, 1).into_bytes();
        match build(files) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Each kind of error once: the message is the product here, so it is seen whole.
    #[test]
    fn each_error_says_where_it_is_and_what_is_allowed() {
        let requirements = "requirements/katib.yaml";
        let cases = [
            ("unknown key", requirements, "title: An", "titel: An"),
            ("missing key", requirements, "    why: It is needed.\n", ""),
            ("duplicate key", requirements, "    why:", "    how: Twice.\n    why:"),
            ("unknown level", requirements, "level: core", "level: required"),
            ("unknown kind", requirements, "kind: Requirements", "kind: Requirement"),
            ("unknown apiVersion", requirements, "org/v1", "org/v2"),
            ("not YAML", requirements, "title: An", "title: [An"),
            ("malformed id", requirements, "id: katib/experiment/created", "id: katib/Experiment"),
            ("unknown component", requirements, "id: katib/experiment", "id: katip/experiment"),
            ("another component's id", requirements, "id: katib/experiment", "id: kserve/experiment"),
            ("another component's file", requirements, "component: katib", "component: kserve"),
            ("duplicate id", requirements, "id: katib/metrics/pushed", "id: katib/experiment/created"),
            ("malformed release", requirements, "since: '1.9'", "since: next"),
            ("unknown release", requirements, "since: '1.9'", "since: '1.8'"),
            ("ends before it begins", requirements, "since: '1.10'", "since: '1.10'\n    until: '1.9'"),
            ("unknown feature", requirements, "feature: grpc", "feature: gprc"),
            ("core behind a feature", requirements, "level: extended", "level: core"),
            ("not normative", requirements, "MUST be", "is"),
            ("core that only should", requirements, "MUST be", "SHOULD be"),
            ("two sentences", requirements, "be created.", "be created. It is kept."),
            ("title is a sentence", requirements, "title: An experiment is created", "title: An experiment is created."),
            ("says nothing", requirements, "why: It is needed.", "why: ''"),
            ("no group", requirements, "group: AutoML", "group: ''"),
            ("no source", requirements, "sources: [https://www.kubeflow.org/]", "sources: []"),
            ("source is no address", requirements, "https://www.kubeflow.org/", "the website"),
            ("malformed duration", requirements, "    why:", "    budget: 90 seconds\n    why:"),
            ("longer than its timeout", requirements, "    why:", "    budget: 2m\n    timeout: 90s\n    why:"),
            ("malformed deviation", requirements, "    why:", "    deviations: [{component: katib, versions: new, says: No., issue: https://github.com/}]\n    why:"),
            ("release in another file", "releases/1.9.yaml", "name: '1.9'", "name: '1.8'"),
            ("version of another release", "releases/1.9.yaml", "version: 1.9.0", "version: 1.8.0"),
            ("no version", "releases/1.9.yaml", RELEASE, &RELEASE.replace("versions:\n  - version: 1.9.0\n    components: {katib: 0.17.0}\n    dependencies: {}", "versions: []")),
            ("Kubernetes range", "releases/1.9.yaml", "{min: '1.29',", "{min: '1.29', max: '1.28',"),
            ("malformed date", "releases/1.9.yaml", "2024-07-22", "July 2024"),
            ("unknown component of a release", "releases/1.9.yaml", "{katib:", "{katip:"),
            ("duplicate profile", "profiles.yaml", PROFILES, &format!("{PROFILES}  - {{name: katib, title: Katib, about: All of it., components: [katib], levels: [core]}}\n")),
            ("pattern without a match", "profiles.yaml", "levels: [core]", "levels: [core], include: [katib/metrics/push]"),
            ("no release open", "program.yaml", "supportedReleases: 3", "supportedReleases: 0"),
            ("malformed digest", "program.yaml", "suites: []", "suites: [{version: 1.0.0, specs: 12ab, released: 2026-12-01}]"),
            ("malformed version", "program.yaml", "suites: []", "suites: [{version: '1', specs: 12ab, released: 2026-12-01}]"),
        ];
        let told: Vec<String> = cases
            .iter()
            .map(|(case, name, from, to)| format!("# {case}\n{}\n", edited(name, from, to)))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(
            edited(requirements, "An experiment", "An Experiment"),
            "accepted"
        );
    }

    #[test]
    fn missing_and_unexpected_files_are_named() {
        let told = |edit: fn(&mut Files)| {
            let mut files = files();
            edit(&mut files);
            build(files).unwrap_err().to_string()
        };
        let stray = |files: &mut BTreeMap<_, _>| {
            let stray = ("specs/requirements/spark.yml".to_owned(), Vec::new());
            files.insert("requirements/spark.yml".to_owned(), stray);
        };
        assert_eq!(
            told(stray),
            "specs/requirements/spark.yml: is not expected here; files end in `.yaml`"
        );
        assert_eq!(
            told(|files| drop(files.remove("profiles.yaml"))),
            "specs/profiles.yaml: is missing"
        );
        assert_eq!(
            told(|files| files.get_mut("profiles.yaml").unwrap().1.push(0xff)),
            "specs/profiles.yaml: is not UTF-8 text"
        );
        assert_eq!(
            told(|files| files.retain(|name, _| !name.starts_with("re"))),
            "specs/releases: holds no release"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_read_or_is_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            matches!(from_dir(dir.path()), Err(SpecError::Read { path, .. }) if path.ends_with("profiles.yaml"))
        );

        for (name, (_, content)) in files() {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let loaded = from_dir(dir.path()).unwrap();
        assert_eq!(loaded.digest(), build(files()).unwrap().digest());

        std::fs::write(
            dir.path().join("profiles.yaml"),
            vec![b' '; MAX_FILE as usize + 1],
        )
        .unwrap();
        assert!(
            matches!(from_dir(dir.path()), Err(SpecError::TooLarge { path, .. }) if path.ends_with("profiles.yaml"))
        );

        std::fs::write(dir.path().join("profiles.yaml"), PROFILES).unwrap();
        for count in 0..=MAX_FILES {
            std::fs::write(dir.path().join(format!("releases/{count}")), "").unwrap();
        }
        assert!(
            matches!(from_dir(dir.path()), Err(SpecError::TooLarge { path, .. }) if path.ends_with("releases"))
        );
    }

    #[test]
    fn the_digest_covers_what_decides_and_not_the_programme() {
        let whole = build(files()).unwrap();
        for (name, decides) in [
            ("profiles.yaml", true),
            ("releases/1.9.yaml", true),
            ("requirements/katib.yaml", true),
            ("program.yaml", false),
        ] {
            let mut files = files();
            files
                .get_mut(name)
                .unwrap()
                .1
                .extend_from_slice(b"# a comment\n");
            assert_eq!(
                build(files).unwrap().digest() != whole.digest(),
                decides,
                "{name}"
            );
        }
        assert_eq!(whole.digest().len(), 64);
    }

    #[test]
    fn anchors_that_multiply_are_refused_quickly() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let alias = vec![format!("*a{}", level - 1); 10].join(", ");
            text += "a{level}: &a{level} [{alias}]\n"
                .replace("{level}", &level.to_string())
                .replace("{alias}", &alias)
                .as_str();
        }
        text.push_str("apiVersion: *a11\n");
        let mut files = files();
        files.insert(
            "requirements/kserve.yaml".to_owned(),
            (
                "specs/requirements/kserve.yaml".to_owned(),
                text.into_bytes(),
            ),
        );
        assert!(build(files).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_edit_makes_the_reader_panic(
            file in 0..4_usize,
            at in 0..2000_usize,
            removed in 0..40_usize,
            added in "[ -~\\n\u{e9}\u{0}]{0,12}",
        ) {
            let mut files = files();
            let (_, content) = files.values_mut().nth(file).unwrap();
            let start = at % content.len();
            let end = (start + removed).min(content.len());
            content.splice(start..end, added.bytes());
            if let Err(error) = build(files) {
                let text = error.to_string();
                proptest::prop_assert!(text.contains("specs/") && text.len() < 20_000, "{}", text);
            }
        }
    }
}
