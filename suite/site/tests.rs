//! The pages of constructed submissions: of every standing, and of people who mean harm.

use super::*;
use crate::report::model::{KnownDeviation, Level, Totals};
use crate::report::sample;
use crate::seal::product::tests::FINE;
use crate::spec::Specs;

const DAY: Date = jiff::civil::date(2026, 12, 1);

fn product(name: &str, vendor: &str) -> Product {
    let mut product = Product::parse(FINE.as_bytes(), "p").unwrap();
    (product.name, product.vendor) = (name.to_owned(), vendor.to_owned());
    product
}

fn totals(passed: u32, failed: u32, not_applicable: u32) -> Totals {
    Totals {
        passed,
        failed,
        not_applicable,
        could_not_run: 0,
    }
}

/// A submission that was accepted, of a run that ended on this day.
fn accepted(name: &str, release: &str, version: &str, finished: &str) -> Entry {
    let mut results = sample::conformant();
    results.run.finished = finished.parse().unwrap();
    results.run.release = release.to_owned();
    let components = [
        ("pipelines", 98),
        ("notebooks", 71),
        ("katib", 80),
        ("kserve", 64),
    ];
    for (component, core) in components {
        let levels = LevelTotals {
            core: totals(core, 0, 2),
            extended: totals(11, 1, 3),
        };
        results.totals.insert(component.to_owned(), levels);
    }
    results.checks[1].level = Level::Extended;
    results.checks[1].outcome = Outcome::Failed;
    results.checks[1].known_deviation = Some(KnownDeviation {
        issue: "https://github.com/kubeflow/katib/issues/1".to_owned(),
        summary: "The optimal trial is the first one".to_owned(),
    });
    let product = product(name, "Northern Lights Computing");
    let options = Options {
        now: "2026-12-01T00:00:00Z".parse().unwrap(),
        ..Options::new()
    };
    Entry {
        place: Place {
            sample: false,
            release: release.to_owned(),
            product: product.slug(),
            version: version.to_owned(),
        },
        verdict: Verdict::Accepted,
        refusals: Vec::new(),
        shown: Some(Shown::of(&results, &product, &Exchanges::new(), &options)),
    }
}

/// A dozen submissions of all kinds.
fn entries() -> Vec<Entry> {
    let mut entries = vec![
        accepted(
            "Aurora ML Platform",
            "26.03",
            "3.2.0",
            "2026-11-20T10:00:00Z",
        ),
        accepted(
            "Aurora ML Platform",
            "26.03",
            "3.1.0",
            "2026-06-20T10:00:00Z",
        ),
        accepted(
            "Aurora ML Platform",
            "1.11",
            "3.0.0",
            "2025-12-20T10:00:00Z",
        ),
        accepted("Borealis", "26.03", "1.0.0", "2026-11-01T10:00:00Z"),
        accepted(
            "Cirrus Distribution of Machine Learning Tools",
            "26.03",
            "2026.11",
            "2026-11-10T10:00:00Z",
        ),
        accepted("Delta", "1.11", "4.4.1", "2025-11-10T10:00:00Z"),
        accepted("Ember", "1.11", "0.9.0-rc.1", "2026-10-10T10:00:00Z"),
        accepted("Fjord AI", "1.10", "7.0.0", "2026-02-10T10:00:00Z"),
        accepted("Sample Platform", "26.03", "1.0.0", "2026-11-20T10:00:00Z"),
        accepted("Glacier", "26.03", "1.0.0", "2026-11-20T10:00:00Z"),
    ];
    entries[6].verdict = Verdict::NoVerdict;
    entries[6].refusals = vec![Refusal {
        rule: "suite/version",
        title: "t",
        message: "this is kfconform 0.2.0, the result is of 0.1.0: review it with kfconform 0.1.0"
            .to_owned(),
    }];
    entries[8].place.sample = true;
    entries[9].verdict = Verdict::Refused;
    entries[9].shown = None;
    entries[9].refusals = vec![Refusal {
        rule: "signature/valid",
        title: "Every file is as it was signed",
        message: "`results.json` was changed after signing".to_owned(),
    }];
    entries.push(misplaced((
        "26.03/linked".to_owned(),
        "it is no folder".to_owned(),
    )));
    entries
}

#[test]
fn the_readiness_page_says_what_the_release_team_asks() {
    let files = render(&entries(), DAY);
    let index = &files["index.html"];
    for text in [
        "5 valid",
        "2 others",
        "2 refused",
        "1 samples",
        "Aurora ML Platform",
        "Northern Lights Computing",
        "conformance@kubeflow.org",
        "2027-11-20",
        "(over)",
        "98/98",
        "+11/12",
        "as claimed",
        "Kubeflow 26.03",
        "Kubeflow 1.11",
        "Kubeflow 1.10",
        "`results.json` was changed after signing",
        "26.03/linked",
    ] {
        assert!(index.contains(text), "{text}\n{index}");
    }
    // The newest of a product and release stands for it; the others are on its own page.
    assert!(index.contains("3.2.0") && !index.contains("3.1.0"));
    let at = |text: &str| index.find(text).unwrap();
    assert!(
        at("Kubeflow 26.03") < at("Kubeflow 1.11") && at("Kubeflow 1.11") < at("Kubeflow 1.10")
    );
    let page = &files["distributions/aurora-ml-platform.html"];
    for text in [
        "3.2.0",
        "3.1.0",
        "3.0.0",
        "2026-06-20",
        "The optimal trial is the first one",
        "katib/issues/1",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(
        !files.contains_key("distributions/glacier.html"),
        "it was refused"
    );
}

#[test]
fn every_link_leads_to_a_file_of_the_site() {
    let files = render(&entries(), DAY);
    let mut seen = 0;
    for (name, text) in files
        .iter()
        .filter(|(_, text)| text.starts_with("<!DOCTYPE"))
    {
        let ids: Vec<&str> = text
            .split(" id=\"")
            .skip(1)
            .filter_map(|t| t.split('"').next())
            .collect();
        for to in ["href=\"", "src=\""]
            .iter()
            .flat_map(|a| text.split(a).skip(1))
        {
            let to = to.split('"').next().unwrap();
            if to.starts_with("https://") {
                continue;
            }
            if let Some(id) = to.strip_prefix('#') {
                assert!(ids.contains(&id), "{name}: #{id}");
                continue;
            }
            let mut path: Vec<&str> = name.split('/').collect();
            path.pop();
            for part in to.split('/') {
                if part == ".." {
                    path.pop().unwrap();
                } else {
                    path.push(part);
                }
            }
            assert!(files.contains_key(&path.join("/")), "{name}: {to}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn the_feed_and_the_badges_say_the_same() {
    let files = render(&entries(), DAY);
    let feed: serde_json::Value = serde_json::from_str(&files["feed.json"]).unwrap();
    assert_eq!(feed["version"], "https://jsonfeed.org/version/1.1");
    assert_eq!(feed["items"].as_array().unwrap().len(), 9);
    assert_eq!(feed["_conformance"]["refused"].as_array().unwrap().len(), 2);
    let aurora = &feed["items"][0]["_conformance"];
    assert_eq!(aurora["standing"], "valid");
    assert_eq!(aurora["validUntil"], "2027-11-20");
    assert_eq!(aurora["components"]["pipelines"]["core"]["passed"], 98);
    assert_eq!(aurora["knownDeviations"].as_array().unwrap().len(), 1);
    for item in feed["items"].as_array().unwrap() {
        for file in ["page", "report", "badge"] {
            assert!(
                files.contains_key(item["_conformance"][file].as_str().unwrap()),
                "{item}"
            );
        }
    }
    for (badge, text) in [
        (
            "badges/aurora-ml-platform.svg",
            "conformant until 2027-11-20",
        ),
        ("badges/delta.svg", "ended 2026-11-10"),
        ("badges/ember.svg", "as claimed"),
        ("sample/badges/sample-platform.svg", "sample, no mark"),
    ] {
        assert!(files[badge].contains(text), "{badge}: {}", files[badge]);
    }
}

#[test]
fn nothing_that_a_submission_says_acts_on_the_site() {
    let evil =
        "</td></script></style><script>alert(1)</script>\" onload=\"x\" '>&\u{202e}\0<img src=x>";
    let mut entries = entries();
    for entry in &mut entries {
        if let Some(shown) = &mut entry.shown {
            let product = &mut shown.product;
            for text in [
                &mut product.name,
                &mut product.vendor,
                &mut product.version,
                &mut product.description,
                &mut product.contact,
                &mut product.release_cadence,
            ] {
                *text = evil.to_owned();
            }
            product.website = "javascript:alert(1)".to_owned();
            product.repository = Some(format!("https://x.org/{evil}"));
            product.kubernetes_targets = vec![evil.to_owned()];
            shown.deviations = vec![(evil.to_owned(), evil.to_owned(), evil.to_owned())];
            shown.profile = evil.to_owned();
            shown.kubernetes = Some(evil.to_owned());
            shown.suite = evil.to_owned();
            shown.totals.insert(evil.to_owned(), LevelTotals::default());
            shown.versions.insert(evil.to_owned(), evil.to_owned());
        }
        for refusal in &mut entry.refusals {
            refusal.message = evil.to_owned();
        }
    }
    entries.push(misplaced((evil.to_owned(), evil.to_owned())));
    for (name, text) in render(&entries, DAY) {
        if name.starts_with("reports/") || name == "feed.json" {
            continue;
        }
        assert!(text.matches("<script").count() <= 1, "{name}");
        assert!(
            !text.contains("<img src=x")
                && !text.contains("onload=\"x\"")
                && !text.contains("href=\"javascript"),
            "{name}"
        );
        assert!(!text.contains(['\u{202e}', '\0']), "{name}");
    }
}

#[test]
fn a_folder_that_is_no_submission_is_refused_and_the_site_is_made() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["26.03/aurora/1.0.0", "sample/1.11/x/1", "26.03/A"] {
        std::fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    let file = std::fs::File::create(dir.path().join("26.03/aurora/1.0.0/results.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    let entries = collect(dir.path(), &Options::new()).unwrap();
    assert_eq!(entries.len(), 3);
    assert!(
        entries
            .iter()
            .all(|e| e.standing(DAY) == Standing::Refused && !e.refusals.is_empty())
    );
    let files = render(&entries, DAY);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["feed.json", "index.html"]
    );
    assert!(files["index.html"].contains("There is no submission yet"));
}

#[test]
fn the_programme_decides_how_long_a_result_counts() {
    let mut entry = accepted("Aurora", "26.03", "1", "2026-11-20T10:00:00Z");
    let months = Specs::embedded().program().validity_months;
    assert_eq!(months, 12);
    let day = |text: &str| entry.standing(text.parse().unwrap());
    assert_eq!(day("2027-11-20"), Standing::Valid);
    assert_eq!(day("2027-11-21"), Standing::Ended);
    entry.verdict = Verdict::Refused;
    assert_eq!(entry.standing(DAY), Standing::Refused);
}
