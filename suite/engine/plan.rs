//! Which checks a run makes.

use crate::{
    checks::{self, Check},
    spec::{Profile, ReleaseName, Requirement, Specs, Unknown, select},
};

/// A requirement and its check.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The text.
    pub requirement: Requirement,
    /// The code.
    pub check: &'static Check,
}

/// The checks of a run, in the order of reports.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The profile's name.
    pub profile: String,
    /// The release that is judged.
    pub release: ReleaseName,
    /// The checks.
    pub items: Vec<Planned>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A pattern matches no requirement.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// A requirement of the specs has no check in this program.
    #[error(
        "requirement `{0}` has no check in this program; it belongs to another version of the suite"
    )]
    NoCheck(String),
    /// Nothing is left to check.
    #[error(
        "nothing is left to check: `--only` and `--skip` leave no requirement of profile `{0}`"
    )]
    Empty(String),
}

impl Plan {
    /// The plan of a profile for a release, narrowed by `only` and `skip`.
    pub fn new(
        specs: &Specs,
        profile: &Profile,
        release: &ReleaseName,
        only: &[String],
        skip: &[String],
    ) -> Result<Self, PlanError> {
        // What is narrowed is the profile; what can be named is everything, so that the hint for a slip is the right one.
        let all: Vec<&str> = specs.requirements().iter().map(|r| r.id.as_str()).collect();
        let selected = select(&all, only, skip)?;
        let ids = specs.profile_ids(profile, release);
        let items = ids
            .into_iter()
            .filter(|id| selected.contains(id))
            .map(|id| {
                let requirement = specs
                    .requirement(id)
                    .ok_or_else(|| PlanError::NoCheck(id.to_owned()))?
                    .clone();
                let check = checks::find(id).ok_or_else(|| PlanError::NoCheck(id.to_owned()))?;
                Ok(Planned { requirement, check })
            })
            .collect::<Result<Vec<_>, PlanError>>()?;
        if items.is_empty() {
            return Err(PlanError::Empty(profile.name.clone()));
        }
        Ok(Self {
            profile: profile.name.clone(),
            release: release.clone(),
            items,
        })
    }

    /// The ids, in order.
    pub fn ids(&self) -> Vec<String> {
        self.items
            .iter()
            .map(|p| p.requirement.id.clone())
            .collect()
    }
}

/// The set-ups that checks need, each once, those that others build on first.
pub fn setups(items: &[Planned]) -> Vec<&'static checks::Setup> {
    built_on(items.iter().flat_map(|planned| planned.check.needs))
}

/// These set-ups and all that they build on, each once, those that others build on first.
pub(super) fn built_on<'a>(
    setups: impl IntoIterator<Item = &'a &'static checks::Setup>,
) -> Vec<&'static checks::Setup> {
    fn visit(setup: &'static checks::Setup, out: &mut Vec<&'static checks::Setup>) {
        if out.iter().any(|s| s.id == setup.id) {
            return;
        }
        for need in setup.needs {
            visit(need, out);
        }
        out.push(setup);
    }
    let mut out = Vec::new();
    for setup in setups {
        visit(setup, &mut out);
    }
    out
}
