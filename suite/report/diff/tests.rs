use jiff::ToSpan;

use super::*;
use crate::report::sample;

fn given<'a>(path: &'a str, results: &'a Results) -> Given<'a> {
    Given { path, results }
}

/// A run with these checks, each with its outcome and seconds.
fn run(checks: &[(&str, Outcome, f64)]) -> Results {
    let mut results = sample::conformant();
    results.checks = checks
        .iter()
        .map(|(id, outcome, seconds)| CheckResult {
            outcome: *outcome,
            seconds: *seconds,
            message: (*outcome != Outcome::Passed).then(|| format!("why `{id}` is {outcome}")),
            ..sample::check(id)
        })
        .collect();
    results.run.planned = results.checks.iter().map(|c| c.id.clone()).collect();
    results.judge();
    results
}

fn ids(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.id.as_str()).collect()
}

use Outcome::{CouldNotRun, Failed, NotApplicable, Passed};

#[test]
fn every_pair_of_outcomes_is_what_it_means() {
    // From each of the four to each of the four, in this order.
    let rows = [
        (Passed, "=www"),
        (NotApplicable, "b=ww"),
        (CouldNotRun, "bb=w"),
        (Failed, "bbu="),
    ];
    for (was, row) in rows {
        for (is, meant) in [Passed, NotApplicable, CouldNotRun, Failed]
            .into_iter()
            .zip(row.chars())
        {
            let (a, b) = (run(&[("k/a/a", was, 1.0)]), run(&[("k/a/a", is, 1.0)]));
            let diff = diff(given("a", &a), given("b", &b));
            let seen = match (diff.worse.len(), diff.better.len(), diff.unclear.len()) {
                (0, 0, 0) => '=',
                (1, 0, 0) => 'w',
                (0, 1, 0) => 'b',
                (0, 0, 1) => 'u',
                other => panic!("{other:?}"),
            };
            assert_eq!(seen, meant, "{was} to {is}");
        }
    }
}

#[test]
fn what_only_one_was_asked_is_neither_better_nor_worse() {
    let a = run(&[("k/a/a", Passed, 1.0), ("k/a/old", Passed, 1.0)]);
    let b = run(&[("k/a/a", Passed, 1.0), ("k/a/new", NotApplicable, 1.0)]);
    let diff = diff(given("a", &a), given("b", &b));
    assert_eq!(ids(&diff.new), ["k/a/new"]);
    assert_eq!(ids(&diff.gone), ["k/a/old"]);
    assert_eq!((diff.compared, diff.is_worse), (1, false));
}

#[test]
fn a_new_requirement_that_fails_makes_the_verdict_worse() {
    let a = run(&[("k/a/a", Passed, 1.0)]);
    let b = run(&[("k/a/a", Passed, 1.0), ("k/a/new", Failed, 1.0)]);
    let worse = diff(given("a", &a), given("b", &b));
    assert!(worse.is_worse && worse.worse.is_empty());
    assert!(text(&worse).ends_with("the verdict got worse\n"));
    assert!(junit(&worse).contains("name=\"verdict\""));
    assert!(!diff(given("b", &b), given("a", &a)).is_worse);
}

#[test]
fn a_run_that_ended_before_a_check_is_worse_than_one_that_passed_it() {
    let a = run(&[("k/a/a", Passed, 1.0), ("k/a/b", Passed, 1.0)]);
    let mut b = run(&[("k/a/a", Passed, 1.0)]);
    b.run.planned.push("k/a/b".to_owned());
    let worse = diff(given("a", &a), given("b", &b));
    assert_eq!(ids(&worse.worse), ["k/a/b"]);
    assert!(worse.gone.is_empty());
    assert!(text(&worse).contains("k/a/b  passed → no result"));
}

#[test]
fn noise_is_not_slower() {
    for (from, to, slow) in [
        (0.01, 4.9, false),
        (0.01, 5.2, true),
        (10.0, 19.9, false),
        (10.0, 20.0, true),
        (300.0, 306.0, false),
        (30.0, 1.0, false),
        (-1e308, 1e308, true),
        (0.0, f64::MAX, true),
        (f64::NAN, 3.0, false),
    ] {
        assert_eq!(slower("a", from, to).is_some(), slow, "{from} {to}");
    }
    // Of what failed, the time says nothing.
    let (a, b) = (
        run(&[("k/a/a", Failed, 1.0)]),
        run(&[("k/a/a", Failed, 99.0)]),
    );
    assert!(diff(given("a", &a), given("b", &b)).slower.is_empty());
}

/// Two runs between which everything there is happens.
fn everything() -> (Results, Results) {
    let mut a = run(&[
        ("katib/a/same", Passed, 1.0),
        ("katib/a/slow", Passed, 3.0),
        ("katib/a/worse", Passed, 1.0),
        ("katib/a/gone", Passed, 1.0),
        ("kserve/b/better", Failed, 1.0),
        ("kserve/b/unclear", Failed, 1.0),
        ("kserve/b/feature", Passed, 1.0),
    ]);
    let mut b = run(&[
        ("katib/a/same", Passed, 2.0),
        ("katib/a/slow", Passed, 39.0),
        ("katib/a/worse", Failed, 1.0),
        ("katib/a/new", Failed, 1.0),
        ("kserve/b/better", Passed, 1.0),
        ("kserve/b/unclear", CouldNotRun, 1.0),
        ("kserve/b/feature", NotApplicable, 1.0),
    ]);
    b.checks[2].message = Some("the optimal trial is `a` | not `b`\n<b>\u{1b}[31m".to_owned());
    b.suite.version = "0.2.0".to_owned();
    b.suite.specs_digest = "12".repeat(32);
    b.run.id = "r7k2n".to_owned();
    b.run.release = "1.11".to_owned();
    b.run.profile = "all".to_owned();
    b.run.started += 240.hours();
    b.run.selection.only = vec!["k*".to_owned()];
    b.cluster.version = None;
    b.components[0].version = Some("0.19.0".to_owned());
    b.components[1].name = "kserve".to_owned();
    b.components[1].version = Some("0.16.0".to_owned());
    b.features["profiles"].present = false;
    b.setups[0].seconds = 200.0;
    a.run.complete = true;
    (a, b)
}

#[test]
fn all_there_is_to_say() {
    let (a, b) = everything();
    let diff = diff(given("before", &a), given("after", &b));
    let shown = format!(
        "# text\n{}\n# markdown\n{}\n# junit\n{}",
        text(&diff),
        markdown(&diff),
        junit(&diff)
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_not_compared_and_what_is_said_again_is_told_briefly() {
    let cause = "`setup/k/a` failed, which `k/a/2` judges";
    let before: Vec<(String, Outcome, f64)> = (0..9)
        .map(|n| (format!("k/a/{n}"), Passed, 1.0))
        .chain((0..5).map(|n| (format!("k/gone/{n}"), Passed, 1.0)))
        .chain([("k/gone/failed".to_owned(), Failed, 1.0)])
        .collect();
    let now: Vec<(String, Outcome, f64)> = (0..9)
        .map(|n| {
            let outcome = if n == 2 { Failed } else { CouldNotRun };
            (format!("k/a/{n}"), outcome, 1.0)
        })
        .chain((0..2).map(|n| (format!("k/few/{n}"), Passed, 1.0)))
        .chain((0..3).map(|n| (format!("k/new/{n}"), Failed, 1.0)))
        .collect();
    let of = |checks: &[(String, Outcome, f64)]| {
        let checks: Vec<_> = checks
            .iter()
            .map(|(id, o, s)| (id.as_str(), *o, *s))
            .collect();
        run(&checks)
    };
    let (a, mut b) = (of(&before), of(&now));
    for check in &mut b.checks[..9] {
        check.message = Some(cause.to_owned());
    }
    b.checks[2].message = Some("it is not ready".to_owned());
    let diff = diff(given("a", &a), given("b", &b));
    let (text, markdown) = (text(&diff), markdown(&diff));
    // The cause is first, and what hangs on it says so once.
    assert!(
        text.contains("worse (9):\n  k/a/2  passed → failed  core\n    it is not ready\n  k/a/0 "),
        "{text}"
    );
    assert_eq!(text.matches(cause).count(), 1, "{text}");
    assert!(
        text.contains("gone (6):\n  k/gone/*  passed  5 of them\n  k/gone/failed  failed  core\n")
    );
    for id in ["k/few/0", "k/few/1", "k/new/0", "k/new/1", "k/new/2"] {
        assert!(text.contains(&format!("  {id}  ")), "{text}");
    }
    assert!(
        markdown.contains("| `k/gone/*` | | passed | 5 of them |"),
        "{markdown}"
    );
}

#[test]
fn a_comment_is_bounded() {
    const MAX: usize = 130;
    let ids: Vec<String> = (0..MAX).map(|n| format!("k/a/{n}")).collect();
    let all = |outcome| {
        let checks: Vec<_> = ids.iter().map(|id| (id.as_str(), outcome, 1.0)).collect();
        run(&checks)
    };
    let (a, b) = (all(Passed), all(Failed));
    let diff = diff(given("a", &a), given("b", &b));
    let markdown = markdown(&diff);
    assert_eq!(
        markdown
            .lines()
            .filter(|l| l.starts_with("| `k/a/"))
            .count(),
        100
    );
    assert!(markdown.contains("\n… and 30 more\n"), "{markdown}");
    assert_eq!(
        text(&diff)
            .lines()
            .filter(|l| l.starts_with("  k/a/"))
            .count(),
        MAX
    );
}

#[test]
fn whatever_a_result_says_is_text() {
    let hostile = "@x | `a`\n# h <img> ]]> \u{1b}[31m\u{202e}";
    let mut a = run(&[("k/a/a", Passed, 1.0)]);
    let mut b = run(&[("k/a/a", Failed, 1.0)]);
    for results in [&mut a, &mut b] {
        results.run.planned.push(hostile.to_owned());
        results.run.id = hostile.to_owned();
    }
    b.checks.push(CheckResult {
        outcome: Failed,
        message: Some(hostile.to_owned()),
        reason: Some(hostile.to_owned()),
        ..sample::check(hostile)
    });
    b.run.release = hostile.to_owned();
    b.components[0].name = hostile.to_owned();
    let diff = diff(given(hostile, &a), given("b", &b));
    for shown in [text(&diff), markdown(&diff), junit(&diff)] {
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
        assert_eq!(
            shown.lines().filter(|line| line.starts_with("# h")).count(),
            0
        );
    }
    for line in markdown(&diff).lines().filter(|line| line.contains("@x")) {
        let outside: String = line.split('`').step_by(2).collect();
        assert!(!outside.contains(['@', '<']), "{line}");
    }
    let xml = junit(&diff);
    let mut reader = quick_xml::Reader::from_str(&xml);
    while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
}
