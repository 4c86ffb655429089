//! The files of `specs/` as types: what a requirement, a profile, a release and the programme are made of.
//!
//! Every type refuses unknown fields, so that a misspelt key is an error and never a silently missing rule.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::civil::Date;
use schemars::JsonSchema;
use semver::VersionReq;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::select::glob;

/// The `apiVersion` of every file that the suite reads or writes.
pub const API_VERSION: &str = "conformance.kubeflow.org/v1";

/// A component of Kubeflow: the first segment of a requirement's id.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// Kubeflow Pipelines.
    Pipelines,
    /// Notebooks, version 1 of the API.
    Notebooks,
    /// Profiles, access management, `PodDefaults` and the dashboard: what makes a platform of the components.
    Platform,
    /// Katib, hyperparameter tuning.
    Katib,
    /// `KServe`, model serving.
    Kserve,
    /// Trainer, version 2.
    Trainer,
    /// The Spark Operator.
    Spark,
    /// The Hub, earlier called Model Registry.
    Hub,
}

impl Component {
    /// Every component, in the order of lists and reports.
    pub const ALL: [Component; 8] = [
        Component::Pipelines,
        Component::Notebooks,
        Component::Platform,
        Component::Katib,
        Component::Kserve,
        Component::Trainer,
        Component::Spark,
        Component::Hub,
    ];

    /// The component's name in ids and files, like `kserve`.
    pub fn as_str(self) -> &'static str {
        match self {
            Component::Pipelines => "pipelines",
            Component::Notebooks => "notebooks",
            Component::Platform => "platform",
            Component::Katib => "katib",
            Component::Kserve => "kserve",
            Component::Trainer => "trainer",
            Component::Spark => "spark",
            Component::Hub => "hub",
        }
    }

    /// The component's name as people write it, like `KServe`.
    pub fn title(self) -> &'static str {
        match self {
            Component::Pipelines => "Pipelines",
            Component::Notebooks => "Notebooks",
            Component::Platform => "Platform",
            Component::Katib => "Katib",
            Component::Kserve => "KServe",
            Component::Trainer => "Trainer",
            Component::Spark => "Spark Operator",
            Component::Hub => "Hub",
        }
    }

    /// The component that a requirement's id belongs to, if its first segment names one.
    pub fn of(id: &str) -> Option<Component> {
        id.split('/').next()?.parse().ok()
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Component {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Component::ALL
            .into_iter()
            .find(|component| component.as_str() == word);
        known.ok_or_else(|| format!("no component is called `{word}`"))
    }
}

/// Whether the mark needs a requirement.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Needed for the mark.
    Core,
    /// Checked and reported, never needed for a component's mark; often behind a feature.
    Extended,
}

impl Level {
    /// The level's name in files, like `core`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Core => "core",
            Level::Extended => "extended",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The name of a Kubeflow release, like `1.10` or `26.03`, ordered by its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(transparent)]
pub struct ReleaseName(#[schemars(regex(pattern = r"^[0-9]{1,4}\.[0-9]{1,4}$"))] String);

impl ReleaseName {
    /// The name as written, like `26.03`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn numbers(&self) -> (u16, u16) {
        let (major, minor) = self.0.split_once('.').unwrap_or((&self.0, "0"));
        (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
    }
}

impl Ord for ReleaseName {
    fn cmp(&self, other: &Self) -> Ordering {
        // The text decides between spellings of the same numbers, so that the order agrees with equality.
        self.numbers()
            .cmp(&other.numbers())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for ReleaseName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for ReleaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        match text.split_once('.') {
            Some((major, minor)) if number(major) && number(minor) => {
                Ok(ReleaseName(text.to_owned()))
            }
            _ => Err(format!(
                "`{text}` is no release; a release is written like `1.10` or `26.03`"
            )),
        }
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for ReleaseName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ReleaseName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The kind of a file under `specs/requirements/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequirementsKind {
    /// The only one.
    Requirements,
}

/// `specs/requirements/COMPONENT.yaml`: the requirements of one component.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequirementFile {
    /// `conformance.kubeflow.org/v1`.
    #[serde(deserialize_with = "api_version")]
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// `Requirements`.
    pub kind: RequirementsKind,
    /// The component: the first segment of each id in the file, and the file's name.
    pub component: Component,
    /// The working group that owns the requirements and answers challenges to them.
    pub group: String,
    /// What is optional in this component and found on the cluster itself, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub features: IndexMap<String, Feature>,
    /// The requirements, in the order of lists and reports.
    pub requirements: Vec<Requirement>,
}

/// An optional ability of a component: extended requirements behind it are not applicable where it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Feature {
    /// What the distribution can do when it has the feature, in a few words.
    pub title: String,
    /// How the suite finds out, on the cluster and never from a version, whether the feature is there.
    pub found: String,
}

/// One requirement: a normative sentence, where it comes from, and what is known about checking it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// `component/group/slug`, lower case with dashes; never reused and never renamed.
    #[serde(deserialize_with = "requirement_id")]
    #[schemars(regex(pattern = r"^[a-z]+(/[a-z0-9]+(-[a-z0-9]+)*){2}$"))]
    pub id: String,
    /// What holds when the requirement is met, in one line without a full stop.
    pub title: String,
    /// The requirement itself: one sentence with MUST or SHOULD.
    pub text: String,
    /// Whether the mark needs it.
    pub level: Level,
    /// The first Kubeflow release for which it holds.
    pub since: ReleaseName,
    /// The last Kubeflow release for which it holds; none while it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<ReleaseName>,
    /// The feature of the component without which it is not applicable; only for extended requirements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// Why anyone needs it.
    pub why: String,
    /// How it is checked, in a paragraph.
    pub how: String,
    /// What usually breaks it.
    pub breaks: String,
    /// Public documents that state it.
    pub sources: Vec<String>,
    /// The longest time that the check is expected to take, for planning.
    #[serde(
        default,
        with = "optional_duration",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", regex(pattern = DURATION_PATTERN))]
    pub budget: Option<Duration>,
    /// The check's own deadline, where the general one does not fit.
    #[serde(
        default,
        with = "optional_duration",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", regex(pattern = DURATION_PATTERN))]
    pub timeout: Option<Duration>,
    /// Whether the check waits for a clock, like a schedule's next minute, rather than for work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// Where components as released upstream are known not to meet it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<Deviation>,
}

impl Requirement {
    /// The component that the requirement is about.
    ///
    /// # Panics
    ///
    /// If the id was not read from a file and begins with no component.
    pub fn component(&self) -> Component {
        Component::of(&self.id)
            .expect("a requirement's id begins with a component: checked when it was loaded")
    }

    /// The middle segment of the id: what of the component the requirement is about.
    pub fn topic(&self) -> &str {
        self.id.split('/').nth(1).unwrap_or_default()
    }

    /// Whether the requirement holds for a Kubeflow release.
    pub fn holds_for(&self, release: &ReleaseName) -> bool {
        self.since <= *release && self.until.as_ref().is_none_or(|until| release <= until)
    }
}

/// A defect of a released component, known upstream: it explains a failure and excuses none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deviation {
    /// The component that deviates.
    pub component: Component,
    /// Its versions that do, as a range like `>=0.16.0, <0.18.0`.
    #[serde(deserialize_with = "version_range")]
    #[schemars(with = "String")]
    pub versions: VersionReq,
    /// What they do instead.
    pub says: String,
    /// The upstream issue.
    pub issue: String,
}

/// The kind of `specs/profiles.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProfilesKind {
    /// The only one.
    Profiles,
}

/// `specs/profiles.yaml`: which requirements each mark needs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileFile {
    /// `conformance.kubeflow.org/v1`.
    #[serde(deserialize_with = "api_version")]
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// `Profiles`.
    pub kind: ProfilesKind,
    /// The profiles.
    pub profiles: Vec<Profile>,
}

/// A named set of requirements that a mark needs, given by rules: for a release, every requirement that
/// holds for it, belongs to one of `components` and has one of `levels`, and whatever `include` names,
/// without what `exclude` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// The profile's name, as in `--profile`.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What a distribution that passes can be relied on for, in a sentence.
    pub about: String,
    /// Components whose requirements it takes.
    pub components: Vec<Component>,
    /// Levels that it takes of them.
    pub levels: Vec<Level>,
    /// Further requirements, by id or pattern (`kserve/graph/*`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Requirements that it does not take after all, by id or pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// The kind of a file under `specs/releases/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReleaseKind {
    /// The only one.
    Release,
}

/// `specs/releases/RELEASE.yaml`: a Kubeflow release and what it consists of.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// `conformance.kubeflow.org/v1`.
    #[serde(deserialize_with = "api_version")]
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// `Release`.
    pub kind: ReleaseKind,
    /// The release's name, and the file's.
    pub name: ReleaseName,
    /// When its first version came out.
    #[serde(deserialize_with = "date")]
    pub released: Date,
    /// Until when the community supports it, as far as it says.
    #[serde(
        default,
        deserialize_with = "optional_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub supported_until: Option<Date>,
    /// The Kubernetes versions it is meant for.
    pub kubernetes: KubernetesRange,
    /// Its versions (the first and its patches) with what each ships, oldest first.
    pub versions: Vec<ReleaseVersion>,
    /// What is not clear about it, for whoever relies on these figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Public documents that these figures come from.
    pub sources: Vec<String>,
}

impl Release {
    /// The distinct versions of a component in this release, oldest first; empty if it does not ship it.
    pub fn component_versions(&self, component: Component) -> Vec<&str> {
        distinct(
            self.versions
                .iter()
                .filter_map(|version| version.components.get(&component)),
        )
    }

    /// The distinct versions of a dependency in this release, oldest first; empty if it does not ship it.
    pub fn dependency_versions(&self, dependency: &str) -> Vec<&str> {
        distinct(
            self.versions
                .iter()
                .filter_map(|version| version.dependencies.get(dependency)),
        )
    }
}

fn distinct<'a>(versions: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut distinct: Vec<&str> = versions.map(String::as_str).collect();
    distinct.dedup();
    distinct
}

/// The Kubernetes versions that a release is meant for, each like `1.32`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesRange {
    /// The oldest.
    pub min: ReleaseName,
    /// The newest; none where the release names no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<ReleaseName>,
    /// Those that it was tested on.
    pub tested: Vec<ReleaseName>,
}

/// One version of a release and what it ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseVersion {
    /// The version, like `1.10.2`.
    pub version: String,
    /// When it came out; none while it is only a candidate.
    #[serde(
        default,
        deserialize_with = "optional_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub released: Option<Date>,
    /// The version of each component that it ships.
    pub components: IndexMap<Component, String>,
    /// The version of everything else that it ships, like `istio`.
    pub dependencies: IndexMap<String, String>,
}

/// The kind of `specs/program.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProgramKind {
    /// The only one.
    Program,
}

/// `specs/program.yaml`: the conformance programme around the requirements.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Program {
    /// `conformance.kubeflow.org/v1`.
    #[serde(deserialize_with = "api_version")]
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// `Program`.
    pub kind: ProgramKind,
    /// The mark that a conformant distribution may carry.
    pub mark: Mark,
    /// For how many months from the run a result is valid.
    pub validity_months: u8,
    /// After how many months a distribution is reviewed again.
    pub review_months: u8,
    /// How many releases, counted from the newest, a submission may be about (3: the newest and two before it).
    pub supported_releases: u8,
    /// How many days a distribution has to mend what a review found.
    pub cure_days: u16,
    /// Who votes on what the mark needs.
    pub voters: Vec<Voter>,
    /// The subprojects that a distribution must include by policy.
    pub graduated: Vec<Component>,
    /// The documents that govern the programme.
    pub documents: Vec<Document>,
    /// The rules for names of products, in the order in which they are applied.
    pub naming: Vec<NamingRule>,
    /// Which results merged from several attempts may be submitted.
    pub reruns: Reruns,
    /// The released versions of the suite whose results may be submitted.
    pub suites: Vec<Suite>,
}

impl Program {
    /// The first rule that refuses a product's name, if one does.
    pub fn naming_rule(&self, name: &str, holds_mark: bool) -> Option<&NamingRule> {
        self.naming
            .iter()
            .find(|rule| rule.refuses(name, holds_mark))
    }

    /// The released suite of a version, if its results may be submitted.
    pub fn suite(&self, version: &semver::Version) -> Option<&Suite> {
        self.suites.iter().find(|suite| suite.version == *version)
    }
}

/// The mark that a conformant distribution may carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mark {
    /// Its name.
    pub name: String,
    /// Whether the name is decided.
    pub status: MarkStatus,
    /// What is still open, or where it was decided.
    pub note: String,
}

/// Whether the mark is decided upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MarkStatus {
    /// Proposed; nobody may carry it yet.
    Proposed,
    /// Decided by those who vote.
    Decided,
}

/// A body that votes, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Voter {
    /// The body.
    pub body: String,
    /// What it decides.
    pub decides: String,
    /// The document that says so.
    pub source: String,
}

/// A public document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// Its address.
    pub url: String,
}

/// A rule for names of products. It refuses a name that one of `refuses` matches and none of `except` does;
/// patterns have `*` and `?` and are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamingRule {
    /// The rule's name, quoted in a refusal.
    pub name: String,
    /// Patterns of refused names.
    pub refuses: Vec<String>,
    /// Patterns of names that are fine nevertheless.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Whether a product that holds the mark may carry the name after all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allowed_with_mark: bool,
    /// Why, and what to do instead.
    pub says: String,
    /// The document that the rule comes from.
    pub source: String,
}

impl NamingRule {
    /// Whether the rule refuses a product's name.
    pub fn refuses(&self, name: &str, holds_mark: bool) -> bool {
        let words: Vec<&str> = name.split_whitespace().collect();
        let name = words.join(" ").to_lowercase();
        let any = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| glob(&pattern.to_lowercase(), &name))
        };
        any(&self.refuses) && !any(&self.except) && !(self.allowed_with_mark && holds_mark)
    }
}

/// Which results merged from several attempts may be submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reruns {
    /// Whether any may be.
    pub accepted: bool,
    /// How many attempts of one check may have been made, the first included.
    pub attempts: u8,
    /// How many checks of a result may have needed more than one attempt.
    pub checks: u16,
    /// Within how many hours of the first attempt the last one must have ended.
    pub hours: u16,
}

/// A released version of the suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suite {
    /// Its version.
    #[serde(deserialize_with = "version")]
    pub version: semver::Version,
    /// The digest of its specs: 64 hexadecimal digits of SHA-256.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub specs: String,
    /// When it was released.
    #[serde(deserialize_with = "date")]
    pub released: Date,
}

/// The shape of an id: a component and two segments of lower-case words joined by dashes.
pub fn is_id(id: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let mut segments = id.split('/');
    segments
        .next()
        .is_some_and(|component| component.parse::<Component>().is_ok())
        && segments.clone().count() == 2
        && segments.all(|segment| segment.split('-').all(word))
}

fn requirement_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    if is_id(&id) {
        return Ok(id);
    }
    let components = Component::ALL.map(Component::as_str).join(", ");
    Err(de::Error::custom(format!(
        "`{id}` is no id; an id is written `component/group/slug` in lower case with dashes, and a component is one of {components}"
    )))
}

pub(super) fn api_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let version = String::deserialize(deserializer)?;
    if version == API_VERSION {
        return Ok(version);
    }
    Err(de::Error::custom(format!(
        "apiVersion `{version}` is not known; this suite reads `{API_VERSION}`"
    )))
}

/// Parses a text, or says what is expected in its place.
fn parsed<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
    expected: &str,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| de::Error::custom(format!("`{text}` is no {expected}")))
}

pub(super) fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    parsed(deserializer, "date; a date is written like `2026-03-21`")
}

fn optional_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    date(deserializer).map(Some)
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<semver::Version, D::Error> {
    parsed(deserializer, "version; a version is written like `1.2.0`")
}

fn version_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VersionReq, D::Error> {
    parsed(
        deserializer,
        "range of versions; a range is written like `>=0.16.0, <0.18.0`",
    )
}

const DURATION_PATTERN: &str = "^[0-9]{1,6}(h|m|s|ms)([0-9]{1,6}(m|s|ms))*$";

/// Reads a duration like `90s`, `2m`, `1h30m` or `500ms`: numbers with units from the largest to the smallest,
/// more than nothing and at most a day.
///
/// # Errors
///
/// What is wrong with the text and how a duration is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    const DAY: u64 = 24 * 3_600_000;
    let refused = || {
        format!(
            "`{text}` is no duration; one is written like `90s`, `2m`, `1h30m` or `500ms`, up to `24h`"
        )
    };
    let (mut rest, mut total, mut units) = (text, 0, UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..]
            .bytes()
            .take_while(u8::is_ascii_alphabetic)
            .count();
        if !(1..=6).contains(&digits) {
            return Err(refused());
        }
        let unit = &rest[digits..digits + letters];
        let at = units
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(refused)?;
        total += rest[..digits].parse::<u64>().map_err(|_| refused())? * units[at].1;
        units = &units[at + 1..];
        rest = &rest[digits + letters..];
    }
    if (1..=DAY).contains(&total) {
        Ok(Duration::from_millis(total))
    } else {
        Err(refused())
    }
}

/// Writes a duration as [`parse_duration`] reads it, without what is below a millisecond.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let mut text = String::new();
    for (amount, unit) in [
        (millis / 3_600_000, "h"),
        (millis / 60_000 % 60, "m"),
        (millis / 1_000 % 60, "s"),
        (millis % 1_000, "ms"),
    ] {
        if amount > 0 {
            text.push_str(&amount.to_string());
            text.push_str(unit);
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

mod optional_duration {
    use super::{
        Deserialize, Deserializer, Duration, Serialize, Serializer, de, format_duration,
        parse_duration,
    };

    #[expect(clippy::ref_option, reason = "serde asks for this signature")]
    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(format_duration).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Some).map_err(de::Error::custom)
    }
}
