use super::*;
use crate::report::sample;
use crate::review::About;
use crate::spec::Specs;

/// A result in which every requirement of these components passed.
fn of(components: &[&str]) -> Results {
    let mut results = sample::conformant();
    let requirements = Specs::embedded().requirements().iter();
    results.checks = requirements
        .filter(|requirement| components.contains(&requirement.component().as_str()))
        .map(|requirement| CheckResult {
            title: requirement.title.clone(),
            ..sample::check(&requirement.id)
        })
        .collect();
    results.run.planned = results.checks.iter().map(|c| c.id.clone()).collect();
    results.judge();
    results
}

/// What a review that broke these rules lets be said.
fn exported(
    results: &Results,
    broken: &[&'static str],
    allow_sample: bool,
) -> Result<Export, ExportError> {
    let mut review = Review::of("result");
    review.about = Some(About {
        key: "the-key".to_owned(),
        ..About::default()
    });
    review.refusals = broken
        .iter()
        .map(|rule| Refusal {
            rule,
            title: "t",
            message: "it is so".to_owned(),
        })
        .collect();
    let exchanges = crate::report::html::Exchanges::new();
    let seen = Seen {
        results,
        product: None,
        exchanges: &exchanges,
        files: &[],
    };
    let links = ["https://example.org/a".to_owned()];
    of_review(&review, Some(seen), allow_sample, &links)
}

#[test]
fn every_pattern_names_a_requirement_and_each_aspect_a_core_one() {
    let specs = Specs::embedded();
    for operator in &OPERATORS {
        for (aspect, patterns) in &operator.shown_by {
            let named = |pattern: &str| {
                let all = specs.requirements().iter();
                all.filter(|r| glob(pattern, &r.id)).collect::<Vec<_>>()
            };
            for pattern in *patterns {
                let found = named(pattern);
                assert!(!found.is_empty(), "{pattern}");
                assert!(found.iter().all(|r| r.component() == operator.component));
            }
            let mut all = patterns.iter().flat_map(|pattern| named(pattern));
            assert!(
                all.any(|r| r.level == crate::spec::Level::Core),
                "{} {aspect:?}",
                operator.component
            );
        }
    }
}

#[test]
fn a_conformant_run_on_a_cluster_is_evidence() {
    let export = exported(&of(&["trainer"]), &[], false).unwrap();
    assert_eq!(export.status, Status::Implemented);
    assert_eq!(export.checklist.as_deref(), Some("v1.33"));
    insta::assert_snapshot!("item", export.item);
    insta::assert_snapshot!("page", export.page);
    // What a reader of YAML makes of it is what the checklist's validator asks for.
    let item: serde_json::Value = serde_saphyr::from_str(&export.item).unwrap();
    let item = &item["spec"][CATEGORY][0];
    assert_eq!(
        [
            &item["id"],
            &item["description"],
            &item["level"],
            &item["status"]
        ],
        [ITEM, DESCRIPTION, "MUST", "Implemented"]
    );
    assert_eq!(
        item["evidence"],
        serde_json::json!([PAGE_FILE, "https://example.org/a"])
    );
}

#[test]
fn each_operator_of_which_all_is_shown_is_named() {
    let export = exported(
        &of(&["katib", "kserve", "trainer", "spark", "pipelines"]),
        &[],
        false,
    );
    let named: Vec<Component> = export
        .unwrap()
        .operators
        .iter()
        .map(|p| p.operator)
        .collect();
    assert_eq!(
        named,
        [Component::Katib, Component::Kserve, Component::Trainer]
    );
}

#[test]
fn an_operator_of_which_something_is_not_shown_proves_nothing() {
    for (id, outcome) in [
        ("trainer/api/serves-trainjobs", Outcome::NotApplicable),
        ("trainer/trainjob/resumes", Outcome::Failed),
        ("trainer/admission/keeps-the-manager", Outcome::CouldNotRun),
    ] {
        let mut results = of(&["trainer"]);
        let check = results.checks.iter_mut().find(|check| check.id == id);
        check.unwrap().outcome = outcome;
        let error = exported(&results, &[], false).unwrap_err();
        assert!(
            matches!(error, ExportError::NoOperator { .. }),
            "{id}: {error}"
        );
        assert_eq!(error.exit_code(), 1);
    }
    // What concerns the product not at all takes nothing from what the others show.
    let mut results = of(&["trainer"]);
    let resumes = results
        .checks
        .iter_mut()
        .find(|c| c.id == "trainer/trainjob/resumes");
    resumes.unwrap().outcome = Outcome::NotApplicable;
    exported(&results, &[], false).unwrap();
}

#[test]
fn what_a_review_refuses_of_any_result_claims_nothing() {
    let results = of(&["trainer"]);
    for rule in [
        "replay/outcomes",
        "signature/statement",
        "policy/whole",
        "policy/conformant",
    ] {
        let error = exported(&results, &[rule], true).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(
            error.to_string().contains(&format!("{rule}: it is so")),
            "{error}"
        );
    }
    // What only a mark needs is not asked for.
    for rule in [
        "policy/suite",
        "policy/profile",
        "product/given",
        "product/name",
    ] {
        exported(&results, &[rule], false).unwrap();
    }
}

#[test]
fn an_incomplete_run_says_so_unless_it_is_worse() {
    let mut results = of(&["trainer"]);
    results.run.complete = false;
    results.judge();
    let rules = ["policy/whole", "policy/conformant"];
    let error = exported(&results, &rules, false).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(
        error.to_string().contains("the run is incomplete"),
        "{error}"
    );
    let error = exported(&results, &["policy/whole", "replay/outcomes"], false).unwrap_err();
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_run_on_the_reference_is_never_called_implemented() {
    let mut results = of(&["trainer"]);
    results.run.target = Target::Reference;
    results.judge();
    let error = exported(&results, &[], false).unwrap_err();
    assert!(matches!(error, ExportError::Reference), "{error}");
    let export = exported(&results, &[], true).unwrap();
    assert_eq!(export.status, Status::Sample);
    for text in [&export.item, &export.page] {
        assert!(!text.contains("Implemented"), "{text}");
        assert!(
            text.to_lowercase()
                .contains("a sample, of the embedded reference"),
            "{text}"
        );
    }
}

#[test]
fn nothing_that_a_cluster_says_acts() {
    let hostile = "x\"\n      status: \"a\" | <img src=x> `@all` https://x.org\u{1b}[31m";
    let mut results = of(&["trainer"]);
    results.cluster.version = Some(format!("v1.35.1{hostile}"));
    results.cluster.platform = Some(hostile.to_owned());
    results.components[0].name = "trainer".to_owned();
    results.components[0].version = Some(hostile.to_owned());
    results.components[0].how_found = hostile.to_owned();
    results.run.id = hostile.to_owned();
    let export = exported(&results, &[], false).unwrap();
    assert_eq!(export.checklist.as_deref(), Some("v1.35"));
    let item: serde_json::Value = serde_saphyr::from_str(&export.item).unwrap();
    assert_eq!(item["spec"][CATEGORY][0]["status"], "Implemented");
    assert_eq!(item["spec"][CATEGORY].as_array().map(Vec::len), Some(1));
    assert!(export.page.matches("@all").count() >= 4);
    for line in export.page.lines().filter(|line| line.contains("@all")) {
        let outside: String = line.split('`').step_by(2).collect();
        assert!(
            !outside.contains(['<', '@', '\u{1b}']) && !outside.contains("x.org"),
            "{line}"
        );
    }
}

#[test]
fn minor_versions_are_read_as_clusters_write_them() {
    for (version, is) in [
        ("v1.34.4", Some(34)),
        ("v1.36.0-gke.1", Some(36)),
        ("v1.37+", Some(37)),
        ("1.34", None),
        ("v1.", None),
        ("v2.0.1", None),
        ("v1.99999999999", None),
    ] {
        assert_eq!(minor(version), is, "{version}");
    }
    let mut results = of(&["trainer"]);
    results.cluster.version = Some("v1.52.0".to_owned());
    let export = exported(&results, &[], false).unwrap();
    assert!(!export.known && export.item.contains("hold those of this one against them"));
}

#[test]
fn links_are_addresses_that_end_nothing() {
    for link in ["https://example.org/a#b", "http://x"] {
        assert!(is_link(link), "{link}");
    }
    let long = format!("https://{}", "x".repeat(MAX_LINK));
    for link in [
        "",
        "https://",
        "ftp://x",
        "robust.md",
        "https://x y",
        "https://x\ny",
        "https://x>",
        &long,
    ] {
        assert!(!is_link(link), "{link}");
    }
}
