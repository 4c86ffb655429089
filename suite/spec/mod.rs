//! What conformance means, as data: loads and validates `specs/`, and answers questions about it.
//!
//! The files under `specs/` are embedded in the binary, so that a program needs nothing beside it; another
//! folder of the same shape can be loaded in their place. Everything that the rest of the suite knows about a
//! requirement, a profile, a release or the programme comes from [`Specs`].

mod distribution;
#[cfg(test)]
mod golden;
mod load;
mod markdown;
mod model;
mod schema;
mod select;
mod text;

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

pub use distribution::*;
pub use load::{Problem, SpecError};
pub(crate) use load::{YamlFile, read_error};
pub use markdown::markdown;
pub use model::*;
pub use schema::schemas;
pub use select::{Unknown, glob, nearest, select};
pub use text::explain;

/// Everything in `specs/`, validated.
#[derive(Debug, Clone)]
pub struct Specs {
    components: Vec<ComponentSpecs>,
    requirements: Vec<Requirement>,
    /// Where each id is in `requirements`.
    index: HashMap<String, usize>,
    profiles: Vec<Profile>,
    releases: Vec<Release>,
    program: Program,
    digest: String,
}

/// What a requirement file says beside its requirements.
#[derive(Debug, Clone)]
struct ComponentSpecs {
    component: Component,
    group: String,
    features: indexmap::IndexMap<String, Feature>,
}

impl Specs {
    /// The specs that are embedded in the binary.
    pub fn embedded() -> &'static Specs {
        static SPECS: LazyLock<Specs> = LazyLock::new(|| {
            load::embedded().expect("the embedded specs are valid: a test loads them")
        });
        &SPECS
    }

    /// Loads the specs in a folder that has the shape of the embedded one.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or everything that is wrong in the files, each with file, line and column.
    pub fn load(dir: &Path) -> Result<Specs, SpecError> {
        load::from_dir(dir)
    }

    /// Every requirement, by component and then as in its file.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The requirement with an id.
    pub fn requirement(&self, id: &str) -> Option<&Requirement> {
        self.index.get(id).map(|at| &self.requirements[*at])
    }

    /// The components that have requirements.
    pub fn components(&self) -> impl Iterator<Item = Component> + '_ {
        self.components.iter().map(|specs| specs.component)
    }

    /// The working group that owns a component's requirements.
    pub fn group(&self, component: Component) -> Option<&str> {
        self.component(component).map(|specs| specs.group.as_str())
    }

    /// The features of a component by name.
    pub fn features(&self, component: Component) -> impl Iterator<Item = (&str, &Feature)> {
        let specs = self.component(component).into_iter();
        specs.flat_map(|specs| {
            specs
                .features
                .iter()
                .map(|(name, feature)| (name.as_str(), feature))
        })
    }

    /// A feature of a component.
    pub fn feature(&self, component: Component, name: &str) -> Option<&Feature> {
        self.component(component)?.features.get(name)
    }

    fn component(&self, component: Component) -> Option<&ComponentSpecs> {
        self.components
            .iter()
            .find(|specs| specs.component == component)
    }

    /// Every profile, as in `profiles.yaml`.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The profile with a name.
    ///
    /// # Errors
    ///
    /// What may have been meant, and which profiles there are.
    pub fn profile(&self, name: &str) -> Result<&Profile, Unknown> {
        let found = self.profiles.iter().find(|profile| profile.name == name);
        found.ok_or_else(|| {
            Unknown::new(
                "profile",
                name,
                self.profiles.iter().map(|profile| &profile.name),
            )
        })
    }

    /// The ids that a profile needs for a release, in the order of [`Specs::requirements`].
    pub fn profile_ids(&self, profile: &Profile, release: &ReleaseName) -> Vec<&str> {
        let of_release = self
            .requirements
            .iter()
            .filter(|requirement| requirement.holds_for(release));
        of_release
            .filter(|requirement| profile.takes(requirement))
            .map(|requirement| requirement.id.as_str())
            .collect()
    }

    /// The names of the profiles that take a requirement, whatever the release.
    pub fn profiles_of(&self, requirement: &Requirement) -> Vec<&str> {
        let taking = self
            .profiles
            .iter()
            .filter(|profile| profile.takes(requirement));
        taking.map(|profile| profile.name.as_str()).collect()
    }

    /// Every release, oldest first.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The release with a name.
    ///
    /// # Errors
    ///
    /// What may have been meant, and which releases there are.
    pub fn release(&self, name: &str) -> Result<&Release, Unknown> {
        let found = self
            .releases
            .iter()
            .find(|release| release.name.as_str() == name);
        found.ok_or_else(|| {
            Unknown::new(
                "release",
                name,
                self.releases.iter().map(|release| release.name.as_str()),
            )
        })
    }

    /// The newest release.
    ///
    /// # Panics
    ///
    /// Never: specs without a release do not load.
    pub fn latest_release(&self) -> &Release {
        self.releases
            .last()
            .expect("there is a release: checked when the specs were loaded")
    }

    /// The releases that a submission may be about, oldest first: the newest and as many before it as the programme says.
    pub fn supported_releases(&self) -> &[Release] {
        let first = self
            .releases
            .len()
            .saturating_sub(self.program.supported_releases.into());
        &self.releases[first..]
    }

    /// The conformance programme.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The same requirements under another programme.
    #[must_use]
    pub fn with_program(mut self, program: Program) -> Specs {
        self.program = program;
        self
    }

    /// SHA-256, in hexadecimal digits, over what decides on a verdict: the requirements, profiles and releases.
    /// It is the same for the embedded files and for the same files in a folder. The programme is left out,
    /// since it lists the digests of released specs.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl Profile {
    /// Whether the profile's rules take a requirement, whatever the release.
    pub fn takes(&self, requirement: &Requirement) -> bool {
        let named = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| glob(pattern, &requirement.id))
        };
        let by_rule = self.components.contains(&requirement.component())
            && self.levels.contains(&requirement.level);
        (by_rule || named(&self.include)) && !named(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(name: &str) -> ReleaseName {
        name.parse().unwrap()
    }

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        let mut names = ["26.03", "1.10", "1.9", "26.10", "1.11"].map(release);
        names.sort();
        assert_eq!(
            names.map(|name| name.to_string()),
            ["1.9", "1.10", "1.11", "26.03", "26.10"]
        );
        for wrong in [
            "", "1", "1.", ".1", "1.2.3", "v1.9", "1.x", "+1.2", "12345.1",
        ] {
            assert!(wrong.parse::<ReleaseName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_requirement_holds_from_its_first_to_its_last_release() {
        let mut requirement = Specs::embedded().requirements()[0].clone();
        requirement.since = release("1.10");
        requirement.until = Some(release("1.11"));
        let holds =
            ["1.9", "1.10", "1.11", "26.03"].map(|name| requirement.holds_for(&release(name)));
        assert_eq!(holds, [false, true, true, false]);
    }

    #[test]
    fn a_profile_takes_by_rule_and_by_name() {
        let specs = Specs::embedded();
        let mut profile = specs.profile("katib").unwrap().clone();
        let core = specs.requirement("katib/experiment/reaches-goal").unwrap();
        let mut extended = core.clone();
        extended.level = Level::Extended;
        assert!(profile.takes(core) && !profile.takes(&extended));
        assert_eq!(specs.profiles_of(core), ["certified", "katib", "all"]);
        assert_eq!(specs.profiles_of(&extended), ["all"]);
        profile.include = vec!["katib/experiment/*".to_owned()];
        assert!(profile.takes(&extended));
        profile.exclude = vec!["*/reaches-goal".to_owned()];
        assert!(!profile.takes(core) && !profile.takes(&extended));
    }

    #[test]
    fn certified_is_every_core_requirement_of_the_four_components() {
        let specs = Specs::embedded();
        let latest = &specs.latest_release().name;
        let mut of_components = Vec::new();
        for name in ["pipelines", "notebooks", "katib", "kserve"] {
            of_components.extend(specs.profile_ids(specs.profile(name).unwrap(), latest));
        }
        let certified = specs.profile_ids(specs.profile("certified").unwrap(), latest);
        assert!(!certified.is_empty());
        assert_eq!(certified, of_components);
    }

    #[test]
    fn a_mistyped_name_is_answered_with_what_was_meant() {
        let specs = Specs::embedded();
        assert_eq!(
            specs.profile("certifed").unwrap_err().to_string(),
            "unknown profile `certifed`; did you mean `certified`?"
        );
        assert_eq!(
            specs.release("2.0").unwrap_err().to_string(),
            "unknown release `2.0`; known: 1.9, 1.10, 1.11, 26.03"
        );
    }

    #[test]
    fn a_submission_may_be_about_the_newest_releases_only() {
        let names: Vec<&str> = Specs::embedded()
            .supported_releases()
            .iter()
            .map(|release| release.name.as_str())
            .collect();
        assert_eq!(names, ["1.10", "1.11", "26.03"]);
    }

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, millis) in [
            ("90s", 90_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1m1s1ms", 61_001),
            ("86400s", 86_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(std::time::Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["90s", "1m30s", "2h", "500ms"] {
            let written = format_duration(parse_duration(text).unwrap());
            assert_eq!(parse_duration(&written), parse_duration(text));
        }
        for wrong in [
            "", "90", "s", "1s1m", "1m1m", "-1s", "1.5s", "1 s", "1S", "9999999s", "1d", "0s",
            "25h",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_imply_endorsement_are_refused_by_a_rule_that_says_why() {
        let program = Specs::embedded().program();
        let rule = |name: &str, holds_mark| {
            program
                .naming_rule(name, holds_mark)
                .map(|rule| rule.name.as_str())
        };
        for name in [
            "MLCube",
            "AI-IS-FUN",
            "Charmed Kubeflow",
            "deployKF",
            "Kubeflow Community Distribution",
        ] {
            assert_eq!(rule(name, false), None, "{name}");
        }
        for (name, refused) in [
            ("KFCube", "begins-with-kf"),
            ("  kubeflow   Enterprise", "begins-with-kubeflow"),
            (
                "AI-IS-FUN (Certified Kubeflow)",
                "certified-before-the-mark",
            ),
            (
                "AI-IS-FUN,  Kubeflow\tConformant",
                "certified-before-the-mark",
            ),
            ("X Service for Kubeflow", "for-kubeflow-before-the-mark"),
        ] {
            assert_eq!(rule(name, false), Some(refused), "{name}");
        }
        assert_eq!(rule("AI-IS-FUN (Certified Kubeflow)", true), None);
        assert_eq!(rule("X Service for Kubeflow", true), None);
        assert_eq!(rule("KFCube", true), Some("begins-with-kf"));
    }
}
