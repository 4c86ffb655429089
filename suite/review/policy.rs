//! What a result has to be beyond being true, so that it can count for a mark. The numbers and names are data, in
//! `specs/program.yaml`.

use jiff::tz::TimeZone;

use super::case::{Case, Of, Rule};
use crate::report::model::{Outcome, Target, Verdict};
use crate::report::text::one_line;
use crate::spec::{Component, Level, MarkStatus, ReleaseName};

/// The profile that no mark needs: it is for looking at everything.
const NO_MARK: &str = "all";
/// The profile that stands for the whole platform, and so for every subproject that policy asks for.
const PLATFORM: &str = "platform";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "policy/target",
        title: "The run was on a cluster",
        of: Of::Submission,
        find: target,
    },
    Rule {
        id: "policy/whole",
        title: "The run was whole: nothing left out, nothing made to fail, nothing interrupted",
        of: Of::Result,
        find: whole,
    },
    Rule {
        id: "policy/conformant",
        title: "The verdict is conformant",
        of: Of::Result,
        find: conformant,
    },
    Rule {
        id: "policy/suite",
        title: "The version of the suite is released",
        of: Of::Submission,
        find: suite,
    },
    Rule {
        id: "policy/release",
        title: "The Kubeflow release is one of the newest",
        of: Of::Submission,
        find: release,
    },
    Rule {
        id: "policy/profile",
        title: "The profile is one that a mark needs",
        of: Of::Submission,
        find: profile,
    },
    Rule {
        id: "policy/required",
        title: "Nothing that the profile requires is not applicable",
        of: Of::Submission,
        find: required,
    },
    Rule {
        id: "policy/graduated",
        title: "The platform has every graduated subproject",
        of: Of::Submission,
        find: graduated,
    },
    Rule {
        id: "policy/kubernetes",
        title: "The Kubernetes version is not older than the release is made for",
        of: Of::Submission,
        find: kubernetes,
    },
    Rule {
        id: "policy/validity",
        title: "The result still counts",
        of: Of::Submission,
        find: validity,
    },
    Rule {
        id: "policy/reruns",
        title: "Checks were run again within the programme's bounds",
        of: Of::Result,
        find: reruns,
    },
    Rule {
        id: "product/given",
        title: "product.yaml says whose product it is",
        of: Of::Submission,
        find: given,
    },
    Rule {
        id: "product/release",
        title: "The product's Kubeflow release is the one that was checked",
        of: Of::Result,
        find: product_release,
    },
    Rule {
        id: "product/name",
        title: "The product's name does not suggest that Kubeflow endorses it",
        of: Of::Result,
        find: product_name,
    },
    Rule {
        id: "product/place",
        title: "The submission is at RELEASE/PRODUCT/VERSION",
        of: Of::Result,
        find: place,
    },
];

fn target(case: &Case) -> Vec<String> {
    match case.results.run.target {
        Target::Cluster => Vec::new(),
        Target::Reference => vec![
            "the run was on the embedded reference: it is a sample, accepted only with --allow-sample"
                .to_owned(),
        ],
    }
}

fn whole(case: &Case) -> Vec<String> {
    let run = &case.results.run;
    let mut broken = Vec::new();
    if !run.complete {
        broken.push("the run did not come to its end".to_owned());
    }
    if !run.selection.is_everything() {
        broken.push("`--only` or `--skip` left requirements out".to_owned());
    }
    if !run.faults.is_empty() {
        broken.push(format!(
            "the reference was made to deviate: {}",
            run.faults.join(", ")
        ));
    }
    broken
}

fn conformant(case: &Case) -> Vec<String> {
    let results = &case.results;
    if results.verdict == Verdict::Conformant {
        return Vec::new();
    }
    let why = results.reasons.join("; ");
    vec![format!("the verdict is {}: {why}", results.verdict)]
}

fn suite(case: &Case) -> Vec<String> {
    let suite = &case.results.suite;
    let version = suite.version.parse();
    let released = version
        .ok()
        .and_then(|version| case.program().suite(&version));
    match released {
        None => vec![format!(
            "version {} of the suite is not released: the programme lists {}",
            suite.version,
            match case.program().suites.as_slice() {
                [] => "none yet".to_owned(),
                suites => suites
                    .iter()
                    .map(|suite| suite.version.to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        )],
        Some(released) if released.specs != suite.specs_digest => vec![format!(
            "version {} was released with other requirements: their digest is `{}`",
            suite.version, released.specs
        )],
        Some(_) => Vec::new(),
    }
}

fn release(case: &Case) -> Vec<String> {
    let supported: Vec<&str> = case
        .specs
        .supported_releases()
        .iter()
        .map(|release| release.name.as_str())
        .collect();
    let release = case.results.run.release.as_str();
    if supported.contains(&release) {
        Vec::new()
    } else {
        vec![format!(
            "Kubeflow {release} is not one of the {} newest: {}",
            supported.len(),
            supported.join(", ")
        )]
    }
}

fn profile(case: &Case) -> Vec<String> {
    let profile = &case.results.run.profile;
    if profile == NO_MARK || case.specs.profile(profile).is_err() {
        vec![format!("no mark needs the profile `{profile}`")]
    } else {
        Vec::new()
    }
}

fn required(case: &Case) -> Vec<String> {
    case.known()
        .filter(|(check, requirement)| {
            check.outcome == Outcome::NotApplicable && requirement.level == Level::Core
        })
        .map(|(check, _)| format!("`{}` is required, and is not applicable", check.id))
        .collect()
}

fn graduated(case: &Case) -> Vec<String> {
    if case.results.run.profile != PLATFORM {
        return Vec::new();
    }
    let found = |component: &&Component| {
        let components = &case.results.components;
        let name = component.as_str();
        components
            .iter()
            .any(|c| c.name == name && c.endpoint_kind.is_some())
    };
    let missing = case.program().graduated.iter().filter(|c| !found(c));
    missing
        .map(|component| format!("{} was not found", component.title()))
        .collect()
}

/// `1.34` of `v1.34.4-gke.1`.
fn minor(version: &str) -> Option<ReleaseName> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']);
    format!("{}.{}", numbers.next()?, numbers.next()?)
        .parse()
        .ok()
}

fn kubernetes(case: &Case) -> Vec<String> {
    let Ok(release) = case.specs.release(&case.results.run.release) else {
        return Vec::new();
    };
    let version = case.results.cluster.version.as_deref();
    match version.and_then(minor) {
        None => vec!["the cluster does not say its Kubernetes version".to_owned()],
        Some(minor) if minor < release.kubernetes.min => vec![format!(
            "Kubernetes {minor} is older than {}, the oldest for Kubeflow {}",
            release.kubernetes.min, release.name
        )],
        Some(_) => Vec::new(),
    }
}

fn validity(case: &Case) -> Vec<String> {
    let today = case.options.now.to_zoned(TimeZone::UTC).date();
    match case.record() {
        Some(record) if record.valid_until < today => {
            vec![format!("it counted until {}", record.valid_until)]
        }
        _ => Vec::new(),
    }
}

fn reruns(case: &Case) -> Vec<String> {
    let bounds = &case.program().reruns;
    let again = || {
        let checks = case.results.checks.iter();
        checks.filter(|check| !check.attempts.is_empty())
    };
    let mut broken = Vec::new();
    let count = again().count();
    if count == 0 {
        return broken;
    }
    if !bounds.accepted {
        broken.push(format!(
            "{count} checks were run again, and no such result is accepted"
        ));
    }
    if count > usize::from(bounds.checks) {
        broken.push(format!(
            "{count} checks were run again, more than {}",
            bounds.checks
        ));
    }
    for check in again() {
        let attempts = check.attempts.len() + 1;
        if attempts > usize::from(bounds.attempts) {
            broken.push(format!(
                "`{}` had {attempts} attempts, more than {}",
                check.id, bounds.attempts
            ));
        }
        let hours = check
            .started
            .duration_since(check.attempts[0].started)
            .as_hours();
        if hours >= i64::from(bounds.hours) {
            broken.push(format!(
                "`{}` was run again after {hours} hours, later than {}",
                check.id, bounds.hours
            ));
        }
    }
    broken
}

fn given(case: &Case) -> Vec<String> {
    match case.product {
        Some(_) => Vec::new(),
        None => vec!["it is a bare result; `kfconform submit` makes a submission of it".to_owned()],
    }
}

fn product_release(case: &Case) -> Vec<String> {
    let checked = &case.results.run.release;
    match &case.product {
        Some(product) if product.kubeflow_release.as_str() != checked => vec![format!(
            "product.yaml says Kubeflow {}, and {checked} was checked",
            product.kubeflow_release
        )],
        _ => Vec::new(),
    }
}

fn product_name(case: &Case) -> Vec<String> {
    let Some(product) = &case.product else {
        return Vec::new();
    };
    // While the mark is only proposed nobody holds it; afterwards a person knows who does.
    let may_hold_mark = case.program().mark.status == MarkStatus::Decided;
    let rule = case.program().naming_rule(&product.name, may_hold_mark);
    rule.map(|rule| format!("`{}`: {} ({})", product.name, rule.says, rule.source))
        .into_iter()
        .collect()
}

fn place(case: &Case) -> Vec<String> {
    let Some(product) = &case.product else {
        return Vec::new();
    };
    let place = std::path::absolute(&case.place).unwrap_or_else(|_| case.place.clone());
    if place.ends_with(product.place()) {
        Vec::new()
    } else {
        vec![format!(
            "it is at {}, and belongs at reports/{}",
            case.place.display(),
            product.place()
        )]
    }
}

/// What only a person can decide about an accepted submission.
pub(super) fn left_to_people(case: &Case) -> Vec<String> {
    let mut left = Vec::new();
    if case.is_sample() {
        // Nothing is decided with it.
        return left;
    }
    if !case.key_known {
        left.push(format!(
            "whether the key {} is the vendor's: it is new here, so ask by another way",
            case.key.hint()
        ));
    }
    left.push("whether the vendor's participation form is on file, and whether it is a member or may take part otherwise".to_owned());
    left.push(
        "whether the product's pages are its own, and its adopters as said (--online looks whether they answer)".to_owned(),
    );
    if let Some(product) = &case.product {
        let cluster = &case.results.cluster;
        let says =
            |what: &Option<String>| one_line(what.as_deref().unwrap_or("unknown")).into_owned();
        left.push(format!(
            "whether the cluster (Kubernetes {} on {}) is one that the product is made for: `{}`",
            says(&cluster.version),
            says(&cluster.platform),
            one_line(&product.kubernetes_targets.join(", "))
        ));
    }
    let not_checked: Vec<&str> = case
        .program()
        .graduated
        .iter()
        .filter(|component| {
            let mut components = case.results.components.iter();
            !components.any(|found| found.name == component.as_str())
        })
        .map(|component| component.title())
        .collect();
    if !not_checked.is_empty() {
        left.push(format!(
            "whether the distribution includes {}, which policy asks for and profile {} does not check",
            not_checked.join(", "),
            case.results.run.profile
        ));
    }
    let newest = case.specs.release(&case.results.run.release).ok();
    let newest = newest.and_then(|release| release.kubernetes.max.clone());
    let version = case.results.cluster.version.as_deref().and_then(minor);
    if let (Some(newest), Some(version)) = (newest, version)
        && version > newest
    {
        left.push(format!(
            "whether Kubernetes {version} will do: the release is made for up to {newest}"
        ));
    }
    let again: Vec<String> = case
        .results
        .checks
        .iter()
        .filter(|check| !check.attempts.is_empty())
        .map(|check| format!("{} ({} attempts)", check.id, check.attempts.len() + 1))
        .collect();
    if !again.is_empty() {
        left.push(format!(
            "what was run again until it passed: {}",
            again.join(", ")
        ));
    }
    if !case.results.leftovers.is_empty() {
        left.push(format!(
            "the {} objects that the run could not remove",
            case.results.leftovers.len()
        ));
    }
    if case.program().mark.status == MarkStatus::Proposed {
        left.push(format!(
            "what the mark is called: {} is only proposed",
            case.program().mark.name
        ));
    }
    left
}
