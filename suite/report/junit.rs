//! `junit.xml`: the flavour that Jenkins, GitLab and their like all show.
//!
//! A suite for each component; `classname` is `PROFILE.COMPONENT` and `name` the requirement's id.
//! `failed` is a `failure`, `could-not-run` an `error`, `not-applicable` is `skipped`, and a planned
//! check without a result is an `error` too: a run that broke off must not look green. Why stands in
//! `message` (Jenkins) and in the element's text (GitLab); what the format has no words for stands
//! in `system-out` as `[[PROPERTY|…]]` and `[[ATTACHMENT|…]]` lines. The strictest reader is Jenkins
//! xUnit, which refuses a file that its `junit-10.xsd` does not allow.

use indexmap::IndexMap;
use jiff::Timestamp;
use junit_report::{
    Duration, OffsetDateTime, ReportBuilder, TestCase, TestCaseBuilder, TestResult, TestSuite,
    TestSuiteBuilder,
};
use quick_xml::events::Event;
use quick_xml::{Reader, Writer};

use super::model::{CheckResult, Outcome, Results, Target};
use super::text::{first_line, one_line, parts};
use crate::outcome::shorten;

/// The name of the file in a result folder.
pub const JUNIT_FILE: &str = "junit.xml";

/// The longest `message` attribute, in characters: it is a headline, the element has the whole text.
const HEADLINE: usize = 400;

/// Names and values, in order.
pub(super) type Attributes = Vec<(&'static str, String)>;

/// The text of `junit.xml`.
pub fn render(results: &Results) -> String {
    let head = Head {
        name: format!("kubeflow-conformance {}", one_line(&results.run.id)),
        started: results.run.started,
        package: one_line(&results.run.profile).into_owned(),
        seconds: results.timing.wall_seconds,
    };
    document(&head, &suites(results), |component| {
        properties(results, component)
    })
}

/// What a document says of itself.
pub(super) struct Head {
    /// The root's name, fit to print.
    pub name: String,
    /// When what it is about began.
    pub started: Timestamp,
    /// The suites' package, fit to print.
    pub package: String,
    /// How long it took.
    pub seconds: f64,
}

/// A document of these suites, each with the properties that it is given.
pub(super) fn document(
    head: &Head,
    suites: &IndexMap<String, Vec<TestCase>>,
    properties: impl Fn(&str) -> Attributes,
) -> String {
    let mut report = ReportBuilder::new();
    report.add_testsuites(suites.iter().map(|(name, cases)| {
        let mut suite = TestSuiteBuilder::new(&one_line(name));
        suite.set_timestamp(timestamp(head.started));
        suite.testsuite.package.clone_from(&head.package);
        suite.add_testcases(cases.iter().cloned()).build()
    }));
    let report = report.build();
    let mut xml = Vec::new();
    report
        .write_xml(&mut xml)
        .map_err(|e| e.to_string())
        .and_then(|()| complete(&xml, report.testsuites(), head, properties))
        .expect("cleaned strings are written to memory, and read again as they were written")
}

/// The cases by component: every check, and every planned one that left no result.
fn suites(results: &Results) -> IndexMap<String, Vec<TestCase>> {
    let mut suites = IndexMap::<String, Vec<TestCase>>::new();
    for check in &results.checks {
        let cases = suites.entry(check.component.clone()).or_default();
        cases.push(case(results, check));
    }
    let judged: std::collections::HashSet<_> = results.checks.iter().map(|c| &c.id).collect();
    for id in results.run.planned.iter().filter(|id| !judged.contains(id)) {
        let component = id.split('/').next().unwrap_or_default();
        let cases = suites.entry(component.to_owned()).or_default();
        let why = "planned, but the run ended before it";
        let case = TestCaseBuilder::error(&one_line(id), Duration::ZERO, "no-result", why)
            .set_classname(&classname(results, component))
            .set_trace(why)
            .build();
        cases.push(case);
    }
    suites
}

fn classname(results: &Results, component: &str) -> String {
    one_line(&format!("{}.{component}", results.run.profile)).into_owned()
}

fn case(results: &Results, check: &CheckResult) -> TestCase {
    let parts = parts(check);
    let headline = parts.first().map_or("", |(_, text)| first_line(text));
    let message = shorten(&one_line(headline), HEADLINE);
    let type_ = one_line(check.reason.as_deref().unwrap_or(check.outcome.as_str())).into_owned();
    let cause = (!parts.is_empty()).then(|| cdata(&explanation(check, &parts)));
    let mut test = TestCase::success(&one_line(&check.id), duration(check.seconds));
    test.result = match check.outcome {
        Outcome::Passed => TestResult::Success,
        Outcome::Failed => TestResult::Failure {
            type_,
            message,
            cause,
        },
        Outcome::CouldNotRun => TestResult::Error {
            type_,
            message,
            cause,
        },
        Outcome::NotApplicable => TestResult::SkippedWithCause {
            type_,
            message,
            cause,
        },
    };
    test.set_classname(&classname(results, &check.component));
    test.set_system_out(&cdata(&conventions(results, check)));
    test
}

/// The text of a `failure`, `error` or `skipped`.
fn explanation(check: &CheckResult, parts: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, part) in parts {
        match (name.is_empty(), part.contains('\n')) {
            (true, _) => text.push_str(part),
            (false, false) => text.extend([name, ": ", part]),
            (false, true) => text.extend([
                name, ":
", part,
            ]),
        }
        text.push('\n');
    }
    text.extend([
        "explain: kfconform explain ",
        &one_line(&check.id),
        "
",
    ]);
    text
}

/// What the format has no attribute for, in lines that Testmo and GitLab read.
fn conventions(results: &Results, check: &CheckResult) -> String {
    let mut lines = vec![
        format!("[[PROPERTY|level={}]]", check.level),
        format!("[[PROPERTY|release={}]]", one_line(&results.run.release)),
        format!("[[PROPERTY|outcome={}]]", check.outcome),
        format!("[[PROPERTY|title={}]]", one_line(&check.title)),
    ];
    for attempt in &check.attempts {
        lines.push(format!(
            "[[PROPERTY|attempt={} in {}]]",
            attempt.outcome,
            one_line(&attempt.run)
        ));
    }
    if let Some(known) = &check.known_deviation {
        lines.push(format!(
            "[[PROPERTY|url:known-deviation={}]]",
            one_line(&known.issue)
        ));
    }
    if let Some(evidence) = &check.evidence {
        lines.push(format!(
            "[[PROPERTY|evidence={}]]",
            one_line(&evidence.path)
        ));
        lines.push("[[ATTACHMENT|evidence.tar.gz]]".to_owned());
    }
    lines.join("\n") + "\n"
}

/// The run's metadata, repeated in each suite because the root may not have properties.
fn properties(results: &Results, component: &str) -> Attributes {
    let Results {
        run,
        suite,
        cluster,
        ..
    } = results;
    let found = results.components.iter().find(|c| c.name == component);
    let target = match run.target {
        Target::Cluster => "cluster",
        Target::Reference => "reference",
    };
    let mut properties: Attributes = vec![
        ("run", run.id.clone()),
        ("target", target.to_owned()),
        ("profile", run.profile.clone()),
        ("release", run.release.clone()),
        ("verdict", results.verdict.to_string()),
        ("complete", run.complete.to_string()),
        ("submittable", results.submittable.to_string()),
        ("suite.version", suite.version.clone()),
        ("suite.specsDigest", suite.specs_digest.clone()),
    ];
    let optional = [
        ("suite.commit", suite.commit.as_ref()),
        ("kubernetes.version", cluster.version.as_ref()),
        ("kubernetes.platform", cluster.platform.as_ref()),
        ("kubernetes.architecture", cluster.architecture.as_ref()),
        ("component.version", found.and_then(|c| c.version.as_ref())),
    ];
    let faults = run.faults.iter().map(|fault| ("fault", fault));
    let reasons = results.reasons.iter().map(|reason| ("reason", reason));
    let optional = optional
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    properties.extend(
        optional
            .chain(faults)
            .chain(reasons)
            .map(|(name, value)| (name, value.clone())),
    );
    properties
}

/// Adds what junit-report has no words for: the root's name and totals, each suite's number of
/// skipped cases, its profile and its properties. Indents, too.
fn complete(
    xml: &[u8],
    suites: &[TestSuite],
    head: &Head,
    properties: impl Fn(&str) -> Attributes,
) -> Result<String, String> {
    let count = |of: fn(&TestSuite) -> usize| suites.iter().map(of).sum::<usize>().to_string();
    let root: Attributes = vec![
        ("name", head.name.clone()),
        ("tests", count(TestSuite::tests)),
        ("failures", count(TestSuite::failures)),
        ("errors", count(TestSuite::errors)),
        (
            "time",
            // A quotient is the nearest number to what is meant, and has no more than three digits; a sum has more.
            (duration(head.seconds).whole_milliseconds() as f64 / 1000.0).to_string(),
        ),
    ];
    let mut suites = suites.iter();
    let mut reader = Reader::from_reader(xml);
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    loop {
        let event = reader.read_event().map_err(|e| e.to_string())?;
        let written = match event {
            Event::Eof => break,
            Event::Start(tag) if tag.name().as_ref() == b"testsuites" => {
                writer.write_event(Event::Start(tag.with_attributes(pairs(&root))))
            }
            Event::Empty(tag) if tag.name().as_ref() == b"testsuites" => {
                writer.write_event(Event::Empty(tag.with_attributes(pairs(&root))))
            }
            // A suite has at least one case, so its tag is never an empty one.
            Event::Start(tag) if tag.name().as_ref() == b"testsuite" => {
                let suite = suites.next().ok_or("more suites than were written")?;
                let skipped = suite.skipped().to_string();
                let tag = tag.with_attributes([("skipped", skipped.as_str())]);
                let properties = properties(&suite.name);
                writer
                    .write_event(Event::Start(tag))
                    .and_then(|()| write_properties(&mut writer, &properties))
            }
            other => writer.write_event(other),
        };
        written.map_err(|e| e.to_string())?;
    }
    let mut xml = writer.into_inner();
    xml.push(b'\n');
    String::from_utf8(xml).map_err(|e| e.to_string())
}

fn write_properties(writer: &mut Writer<Vec<u8>>, properties: &Attributes) -> std::io::Result<()> {
    let content = |writer: &mut Writer<Vec<u8>>| {
        for (name, value) in properties {
            let value = shorten(&one_line(value), HEADLINE);
            writer
                .create_element("property")
                .with_attributes([("name", *name), ("value", value.as_str())])
                .write_empty()?;
        }
        Ok(())
    };
    writer
        .create_element("properties")
        .write_inner_content(content)?;
    Ok(())
}

fn pairs(attributes: &Attributes) -> impl Iterator<Item = (&str, &str)> {
    attributes
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
}

/// Text as it may stand in a CDATA section, which cannot hold its own end: the section is closed
/// and another one opened in the midst of it, so that readers get the text as it was.
pub(super) fn cdata(text: &str) -> String {
    text.replace("]]>", "]]]]><![CDATA[>")
}

/// Seconds as the format wants them: three decimals, and no number that it cannot write.
fn duration(seconds: f64) -> Duration {
    const MOST: f64 = 1e9;
    Duration::milliseconds((seconds.clamp(0.0, MOST) * 1000.0).round() as i64)
}

/// A time that RFC 3339 can write, which knows no years before 0 or after 9999.
fn timestamp(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_second())
        .ok()
        .filter(|time| (0..=9999).contains(&time.year()))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::report::sample;
    use crate::report::text::printable;

    /// Reads the file anew: for each case its attributes by name, and the text of its elements.
    fn read(xml: &str) -> Vec<IndexMap<String, String>> {
        let mut reader = Reader::from_str(xml);
        let (mut cases, mut path) = (Vec::<IndexMap<String, String>>::new(), Vec::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => break,
                Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == b"testcase" => {
                    cases.push(attributes(&tag, ""));
                    path.push("testcase".to_owned());
                }
                Event::Start(tag) => {
                    let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                    if let Some(case) = cases.last_mut() {
                        case.extend(attributes(&tag, &format!("{name}.")));
                    }
                    path.push(name);
                }
                Event::End(_) => drop(path.pop()),
                Event::CData(text) => {
                    let name = path.last().unwrap().clone();
                    let text = String::from_utf8(text.into_inner().into_owned()).unwrap();
                    cases
                        .last_mut()
                        .unwrap()
                        .entry(name)
                        .or_default()
                        .push_str(&text);
                }
                _ => (),
            }
        }
        cases
    }

    fn attributes(tag: &quick_xml::events::BytesStart, prefix: &str) -> IndexMap<String, String> {
        let pair = |attribute: quick_xml::events::attributes::Attribute| {
            let name = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
            (format!("{prefix}{name}"), value.unwrap().into_owned())
        };
        tag.attributes().map(|a| pair(a.unwrap())).collect()
    }

    /// What the strictest reader says, if it is here to ask.
    fn assert_valid(xml: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(JUNIT_FILE);
        std::fs::write(&file, xml).unwrap();
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/junit/junit-10.xsd");
        let command = Command::new("xmllint")
            .args(["--noout", "--nonet", "--huge", "--schema", schema])
            .arg(&file)
            .output();
        if let Ok(output) = command {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    #[test]
    fn the_file_is_what_readers_expect() {
        let xml = render(&sample::mixed());
        insta::assert_snapshot!(xml);
        assert_valid(&xml);
        assert_valid(&render(&sample::conformant()));
    }

    #[test]
    fn a_run_without_checks_is_a_file_too() {
        let mut results = sample::conformant();
        results.checks.clear();
        results.run.planned.clear();
        results.judge();
        let xml = render(&results);
        assert!(xml.contains("<testsuites name=\"kubeflow-conformance r7k2m\" tests=\"0\""));
        assert_valid(&xml);
    }

    #[test]
    fn numbers_and_times_beyond_the_format_are_bounded() {
        for seconds in [f64::MAX, -1.0, f64::NAN, 1e-300, 61.042] {
            for started in [Timestamp::MIN, Timestamp::MAX] {
                let mut results = sample::conformant();
                results.checks[0].seconds = seconds;
                results.timing.wall_seconds = seconds;
                results.run.started = started;
                assert_valid(&render(&results));
            }
        }
    }

    #[test]
    fn a_megabyte_of_text_is_cut_and_says_so() {
        let mut results = sample::mixed();
        results.checks[1].observed = Some("<&]]>\0".repeat(200_000));
        let xml = render(&results);
        assert!(xml.len() < 200_000, "{}", xml.len());
        assert!(xml.contains("bytes left out, results.json has them"));
        assert_valid(&xml);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn whatever_the_strings_hold_readers_get_them(
            hostile in r#"(\PC|[\x00-\x20<>&"'\]\[!]|\]\]>|<!\[CDATA\[|&#0;|[\u{fff0}-\u{ffff}\u{80}-\u{9f}\u{d7ff}\u{e000}\u{10ffff}]){0,40}"#,
            which in 0..4_usize,
        ) {
            let mut results = sample::mixed();
            results.run.id.clone_from(&hostile);
            results.run.profile.clone_from(&hostile);
            results.run.release.clone_from(&hostile);
            results.reasons.push(hostile.clone());
            results.run.planned.push(format!("{hostile}/x"));
            let check = &mut results.checks[which];
            check.id.clone_from(&hostile);
            check.component.clone_from(&hostile);
            check.title.clone_from(&hostile);
            check.reason = Some(hostile.clone());
            check.message = Some(format!("m {hostile}"));
            check.observed = Some(hostile.clone());
            let outcome = check.outcome;

            let cases = read(&render(&results));
            let case = cases.iter().find(|case| case["name"] == one_line(&hostile)).unwrap();
            let element = match outcome {
                Outcome::Passed => return Ok(()),
                Outcome::Failed => "failure",
                Outcome::CouldNotRun => "error",
                Outcome::NotApplicable => "skipped",
            };
            let text = &case[element];
            let line = format!("m {}\n", printable(&hostile));
            prop_assert!(text.starts_with(&line), "{text:?} {line:?}");
            let headline = one_line(first_line(&line)).into_owned();
            prop_assert_eq!(&case[&format!("{element}.message")], &shorten(&headline, HEADLINE));
        }
    }
}
