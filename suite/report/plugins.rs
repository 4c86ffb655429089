//! What working groups' own programs reported beside a run. It is shown as what it is, and no verdict reads it.
//!
//! A report is somebody else's JUnit: how much of it is read and kept is bounded, no entity is resolved but XML's own five, and
//! what is shown is escaped like every other text that is not ours.

use std::fmt::Write;

use jiff::Timestamp;
use maud::{Markup, html};
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    model::{Evidence, Results},
    text::{one_line, printable},
};
use crate::{outcome::shorten, workload::Document};

/// The most cases of one plugin that are read.
const MAX_CASES: usize = 50_000;
/// The most cases of one plugin that are told each.
const MAX_TOLD: usize = 100;
/// The deepest nesting of a report.
const MAX_DEPTH: usize = 32;
/// The longest name of a case, and the longest message, in characters.
const MAX_NAME: usize = 300;
const MAX_MESSAGE: usize = 1_000;

/// What a plugin reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginResult {
    /// Its name in the configuration.
    pub name: String,
    /// Its image.
    pub image: String,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Why there is no report of it; absent where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it reported.
    pub report: PluginReport,
    /// Where that is in the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// What JUnit documents say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginReport {
    /// The documents.
    pub documents: Vec<PluginDocument>,
    /// How many cases passed.
    pub passed: u32,
    /// How many failed.
    pub failed: u32,
    /// How many ended in an error.
    pub errors: u32,
    /// How many were skipped.
    pub skipped: u32,
    /// The first of those that did not pass, at most a hundred; the evidence has all.
    pub cases: Vec<PluginCase>,
}

/// A JUnit document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginDocument {
    /// Its name in the plugin's result.
    pub name: String,
    /// Its SHA-256 as it stands in the evidence, lower-case hexadecimal.
    pub sha256: String,
}

/// A case that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginCase {
    /// Its name, behind its class where it has one.
    pub name: String,
    /// How it ended.
    pub outcome: PluginOutcome,
    /// What it says of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a case of a plugin ended: JUnit's words, not those of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PluginOutcome {
    /// It failed.
    Failure,
    /// It could not come to its end.
    Error,
    /// It was not run.
    Skipped,
}

impl PluginOutcome {
    /// JUnit's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }

    fn of(element: &[u8]) -> Option<Self> {
        match element {
            b"failure" => Some(Self::Failure),
            b"error" => Some(Self::Error),
            b"skipped" => Some(Self::Skipped),
            _ => None,
        }
    }
}

impl PluginReport {
    /// Reads what a plugin's documents say; the error says why one is no JUnit.
    pub fn of(documents: &[Document]) -> Result<Self, String> {
        let mut report = Self::default();
        for document in documents {
            report
                .read(&document.text)
                .map_err(|why| format!("`{}` is no JUnit: {why}", document.name))?;
            report.documents.push(PluginDocument {
                name: document.name.clone(),
                sha256: crate::digest::sha256(&document.text),
            });
        }
        Ok(report)
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        let mut reader = Reader::from_str(text);
        let mut reading = Reading {
            report: self,
            depth: 0,
            begun: false,
            case: None,
        };
        loop {
            let at = reader.buffer_position();
            let event = reader.read_event().map_err(|error| error.to_string());
            match event.and_then(|event| reading.hear(event)) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(why) => return Err(format!("at byte {at}: {why}")),
            }
        }
    }

    fn count(&mut self, case: Case) -> Result<(), String> {
        let number = match case.outcome {
            None => &mut self.passed,
            Some(PluginOutcome::Failure) => &mut self.failed,
            Some(PluginOutcome::Error) => &mut self.errors,
            Some(PluginOutcome::Skipped) => &mut self.skipped,
        };
        *number += 1;
        let all = [self.passed, self.failed, self.errors, self.skipped];
        if all.iter().sum::<u32>() as usize > MAX_CASES {
            return Err(format!("there are more than {MAX_CASES} cases"));
        }
        if let Some(outcome) = case.outcome
            && self.cases.len() < MAX_TOLD
        {
            let message = case.message.trim();
            self.cases.push(PluginCase {
                name: case.name,
                outcome,
                message: (!message.is_empty()).then(|| shorten(message, MAX_MESSAGE)),
            });
        }
        Ok(())
    }

    /// How many cases that did not pass are not told.
    fn untold(&self) -> usize {
        (self.failed as usize)
            .saturating_add(self.errors as usize)
            .saturating_add(self.skipped as usize)
            .saturating_sub(self.cases.len())
    }

    fn in_words(&self) -> String {
        format!(
            "{} passed, {} failed, {} errors, {} skipped",
            self.passed, self.failed, self.errors, self.skipped
        )
    }
}

/// A case while it is read.
struct Case {
    name: String,
    depth: usize,
    outcome: Option<PluginOutcome>,
    message: String,
    /// Whether the message stood in an attribute, so that the text below is a longer one.
    said: bool,
}

/// A document while it is read.
struct Reading<'a> {
    report: &'a mut PluginReport,
    depth: usize,
    begun: bool,
    case: Option<Case>,
}

impl Reading<'_> {
    /// Takes an event in; whether there may be more.
    fn hear(&mut self, event: Event) -> Result<bool, String> {
        match event {
            Event::Start(start) => self.open(&start)?,
            Event::Empty(start) => {
                self.open(&start)?;
                self.close()?;
            }
            Event::End(_) => self.close()?,
            Event::Text(text) => self.text(&text.decode().map_err(|e| e.to_string())?)?,
            Event::CData(text) => self.text(&text.decode().map_err(|e| e.to_string())?)?,
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(|e| e.to_string())?;
                let sign = reference.resolve_char_ref().map_err(|e| e.to_string())?;
                match (quick_xml::escape::resolve_predefined_entity(&name), sign) {
                    (Some(known), _) => self.text(known)?,
                    (None, Some(sign)) => self.text(sign.encode_utf8(&mut [0; 4]))?,
                    (None, None) => return Err("an entity that XML does not have".to_owned()),
                }
            }
            Event::DocType(_) => return Err("a document type is not read".to_owned()),
            Event::Eof if !self.begun => return Err("it is empty".to_owned()),
            Event::Eof if self.depth > 0 => return Err("it ends before its end".to_owned()),
            Event::Eof => return Ok(false),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
        Ok(true)
    }

    fn open(&mut self, start: &BytesStart) -> Result<(), String> {
        let name = start.local_name();
        let name = name.as_ref();
        if self.depth == 0 {
            if self.begun || !matches!(name, b"testsuites" | b"testsuite") {
                return Err("it is not one `testsuites` or `testsuite`".to_owned());
            }
            self.begun = true;
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        match &mut self.case {
            None if name == b"testcase" => {
                let [class, name] = attributes(start, ["classname", "name"])?;
                let name = if class.is_empty() {
                    name
                } else {
                    format!("{class}: {name}")
                };
                self.case = Some(Case {
                    name: shorten(&name, MAX_NAME),
                    depth: self.depth,
                    outcome: None,
                    message: String::new(),
                    said: false,
                });
            }
            // Of several, the first.
            Some(case) if self.depth == case.depth + 1 && case.outcome.is_none() => {
                case.outcome = PluginOutcome::of(name);
                if case.outcome.is_some() {
                    let [message] = attributes(start, ["message"])?;
                    case.said = !message.trim().is_empty();
                    case.message = message;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let ends = |case: &mut Case| case.depth == self.depth;
        let case = self.case.take_if(ends);
        if let Some(case) = &mut self.case
            && case.outcome.is_some()
            && self.depth == case.depth + 1
        {
            // What comes after is the case's output.
            case.said = true;
        }
        self.depth = self.depth.saturating_sub(1);
        case.map_or(Ok(()), |case| self.report.count(case))
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if self.depth == 0 && !text.trim().is_empty() {
            return Err("there is text outside of it".to_owned());
        }
        if let Some(case) = &mut self.case
            && case.outcome.is_some()
            && !case.said
            && self.depth > case.depth
            && case.message.len() < 4 * MAX_MESSAGE
        {
            case.message.push_str(&shorten(text, MAX_MESSAGE));
        }
        Ok(())
    }
}

/// The values of these attributes; empty where they are absent.
fn attributes<const N: usize>(start: &BytesStart, names: [&str; N]) -> Result<[String; N], String> {
    let mut values = [const { String::new() }; N];
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let place = names
            .iter()
            .position(|name| attribute.key.local_name().as_ref() == name.as_bytes());
        if let Some(place) = place {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            values[place] = value.map_err(|error| error.to_string())?.into_owned();
        }
    }
    Ok(values)
}

/// What is said of all of it, wherever it is shown.
const UNSCORED: &str = "What working groups' own programs reported. It is no part of the verdict.";

/// For the console: a line for each plugin and for the first of its cases that did not pass.
pub(super) fn lines(results: &Results) -> String {
    const SHOWN: usize = 5;
    let mut out = String::new();
    if results.plugins.is_empty() {
        return out;
    }
    let _ = writeln!(out, "{UNSCORED}");
    for plugin in &results.plugins {
        let report = &plugin.report;
        let said = match &plugin.message {
            Some(why) => format!("no report: {}", shorten(&one_line(why), 300)),
            None => report.in_words(),
        };
        let _ = writeln!(out, "  {}: {said}", one_line(&plugin.name));
        for case in report.cases.iter().take(SHOWN) {
            let why = case.message.as_deref().unwrap_or_default();
            let line = format!(
                "{} {}: {}",
                case.outcome.as_str(),
                one_line(&case.name),
                one_line(why)
            );
            let _ = writeln!(out, "    {}", shorten(&line, 160));
        }
        let more = report
            .cases
            .len()
            .saturating_sub(SHOWN)
            .saturating_add(report.untold());
        if more > 0 {
            let _ = writeln!(out, "    and {more} more");
        }
    }
    out.push('\n');
    out
}

/// For the page.
pub(super) fn section(results: &Results) -> Markup {
    html! {
        @if !results.plugins.is_empty() {
            section id="plugins" {
                h2 { "Plugins" }
                p { (UNSCORED) }
                @for plugin in &results.plugins {
                    h3 { (one_line(&plugin.name)) }
                    p {
                        @match &plugin.message {
                            Some(why) => { "No report: " (printable(why)) }
                            None => { (plugin.report.in_words()) }
                        }
                        " (" code { (one_line(&plugin.image)) } ", " (format!("{:.1} s", plugin.seconds)) ")"
                    }
                    @if !plugin.report.cases.is_empty() {
                        table {
                            thead { tr { @for name in ["JUnit", "Case", "Message"] { th scope="col" { (name) } } } }
                            tbody { @for case in &plugin.report.cases { tr {
                                td { (case.outcome.as_str()) }
                                td { (one_line(&case.name)) }
                                td { (printable(case.message.as_deref().unwrap_or_default())) }
                            } } }
                        }
                    }
                    @if plugin.report.untold() > 0 {
                        p { (plugin.report.untold()) " more that did not pass are in the evidence." }
                    }
                    @if let Some(evidence) = &plugin.evidence {
                        p { "Evidence: " code { (one_line(&evidence.path)) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::{console, html, sample};
    use crate::spec::Specs;

    fn report(text: &str) -> Result<PluginReport, String> {
        PluginReport::of(&[Document {
            name: "a.xml".to_owned(),
            text: text.to_owned(),
        }])
    }

    #[test]
    fn what_junit_says_is_counted() {
        let text = r#"<?xml version="1.0"?><!-- made by hand --><testsuites>
            <testsuite name="s"><properties><property name="a" value="b"/></properties>
            <testcase classname="c" name="one" time="1"/>
            <testcase name="two &lt;b&gt;"><failure message="it is 1 &amp; 2">a longer text</failure><system-out>out</system-out></testcase>
            <testsuite><testcase name="three"><error type="t">line &#49; &lt; <![CDATA[<two>]]></error></testcase></testsuite>
            <testcase name="four"><skipped/><failure message="a second word"/></testcase>
            <testcase name="five"><system-out>failure</system-out><x><failure/></x></testcase>
            </testsuite></testsuites>"#;
        let report = report(text).unwrap();
        assert_eq!(report.in_words(), "2 passed, 1 failed, 1 errors, 1 skipped");
        let told: Vec<_> = report
            .cases
            .iter()
            .map(|case| {
                (
                    case.name.as_str(),
                    case.outcome.as_str(),
                    case.message.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("two <b>", "failure", Some("it is 1 & 2")),
                ("three", "error", Some("line 1 < <two>")),
                ("four", "skipped", None),
            ]
        );
        assert_eq!(report.documents[0].sha256, crate::digest::sha256(text));
        assert!(self::report("<testsuite/>").is_ok());
    }

    #[test]
    fn hostile_junit_is_refused_or_bounded() {
        let deep = format!("{}{}", "<testsuite>".repeat(40), "</testsuite>".repeat(40));
        let many = format!(
            "<testsuite>{}</testsuite>",
            "<testcase/>".repeat(MAX_CASES + 1)
        );
        for (text, why) in [
            ("", "empty"),
            ("<html/>", "not one `testsuites`"),
            ("<testsuite/><testsuite/>", "not one `testsuites`"),
            ("<testsuite/>text", "text outside"),
            ("<testsuite><testcase>", "before its end"),
            ("<testsuite></testcase>", "testcase"),
            (
                "<!DOCTYPE a [<!ENTITY b 'c'>]><testsuite/>",
                "document type",
            ),
            ("<testsuite>&b;</testsuite>", "entity"),
            (
                "<testsuite><testcase name='&b;'/></testsuite>",
                "at byte 11",
            ),
            (
                "<testsuite><testcase name='a' name='b'/></testsuite>",
                "at byte 11",
            ),
            (deep.as_str(), "deeper than 32"),
            (many.as_str(), "more than 50000 cases"),
        ] {
            let error = report(text).unwrap_err();
            assert!(error.contains(why), "{}: {error}", shorten(text, 80));
        }
        let long = "x".repeat(100_000);
        let case = format!("<testcase name='{long}'><failure>{long}</failure></testcase>");
        let report = report(&format!("<testsuite>{}</testsuite>", case.repeat(3))).unwrap();
        assert_eq!(report.cases.len(), 3);
        assert!(serde_json::to_string(&report).unwrap().len() < 6_000);
        let cases = "<testcase><skipped/></testcase>".repeat(MAX_TOLD + 7);
        let report = self::report(&format!("<testsuite>{cases}</testsuite>")).unwrap();
        assert_eq!((report.cases.len(), report.untold()), (MAX_TOLD, 7));
    }

    fn shown(report: PluginReport, message: Option<&str>) -> (String, String) {
        let mut results = sample::conformant();
        let before = results.clone();
        results.plugins = vec![PluginResult {
            name: "group".to_owned(),
            image: "registry.example/group:1".to_owned(),
            started: results.run.started,
            seconds: 2.0,
            message: message.map(ToOwned::to_owned),
            report,
            evidence: None,
        }];
        results.judge();
        assert_eq!(
            (results.verdict, results.submittable),
            (before.verdict, before.submittable)
        );
        assert_eq!(results.totals, before.totals);
        let style = console::Style {
            color: false,
            width: 100,
        };
        (
            html::render(&html::Report {
                results: &results,
                specs: Specs::embedded(),
                exchanges: &html::Exchanges::new(),
                whose: None,
            }),
            console::summary(&results, None, style),
        )
    }

    #[test]
    fn a_report_is_shown_as_what_it_is_and_changes_no_verdict() {
        let text = "<testsuite><testcase name='a'/><testcase name='b'><failure message='no'/></testcase></testsuite>";
        for said in [
            shown(report(text).unwrap(), None).0,
            shown(report(text).unwrap(), None).1,
        ] {
            assert!(
                said.contains(
                    UNSCORED
                        .split('.')
                        .next()
                        .unwrap_or_default()
                        .trim_start_matches("What working groups'")
                )
            );
            assert!(
                said.contains("1 passed, 1 failed, 0 errors, 0 skipped"),
                "{said}"
            );
        }
        let (page, text) = shown(PluginReport::default(), Some("it hangs"));
        assert!(page.contains("No report: it hangs") && text.contains("no report: it hangs"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn whatever_a_plugin_writes_nothing_acts(
            inner in r#"(\PC|[\x00-\x20<>&"'\]\[!]|<testcase name="|"/>|<failure message='|'>|</failure>|</testcase>|<!\[CDATA\[|\]\]>|&#27;|&#x202e;|&lt;script&gt;){0,30}"#,
        ) {
            let texts = [
                inner.clone(),
                format!("<testsuite>{inner}</testsuite>"),
                format!("<testsuite><testcase name='a'><error>{inner}</error></testcase></testsuite>"),
            ];
            for text in texts {
                let Ok(report) = report(&text) else { continue };
                let (page, text) = shown(report, Some(&inner));
                prop_assert_eq!(page.matches("<script").count(), 1);
                let acts = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
                prop_assert!(!text.contains(acts) && !page.contains(acts));
            }
        }
    }
}
