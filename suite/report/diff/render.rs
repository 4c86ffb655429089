//! A difference in words: for a terminal, for a comment, for what reads JUnit.

use indexmap::IndexMap;
use junit_report::{Duration, TestCase, TestCaseBuilder};

use super::{Change, Diff, Slower};
use crate::outcome::shorten;
use crate::report::junit::{Head, cdata, document};
use crate::report::model::Outcome;
use crate::report::text::{code_span, first_line, one_line};

/// The longest sentence of a line, in characters: the result has the whole of it.
const SENTENCE: usize = 300;
/// The most rows of a list in Markdown, for comments are bounded: `--format json` has all.
const MAX_ROWS: usize = 100;
/// As many requirements of a group that only one run was asked for, and that ended alike, are told as one.
const ALIKE: usize = 3;

/// The lists of a difference, in the order in which they matter, each with its name.
fn lists(diff: &Diff) -> [(&'static str, &[Change]); 5] {
    [
        ("worse", &diff.worse),
        ("better", &diff.better),
        ("unclear", &diff.unclear),
        ("new", &diff.new),
        ("gone", &diff.gone),
    ]
}

/// A line of a list.
enum Line<'a> {
    /// A requirement.
    One(&'a Change),
    /// Requirements of one group that ended alike, and as they should: what is not compared is told briefly.
    Alike(&'a str, &'a [Change]),
}

fn lines<'a>(list: &str, changes: &'a [Change]) -> Vec<Line<'a>> {
    let brief = matches!(list, "new" | "gone");
    let is_alike =
        |a: &Change, b: &Change| group(a) == group(b) && (a.from, a.to) == (b.from, b.to);
    let mut lines = Vec::new();
    for alike in changes.chunk_by(is_alike) {
        let first = &alike[0];
        let settled = first.to.or(first.from).is_some_and(Outcome::is_settled);
        if brief && settled && alike.len() >= ALIKE {
            lines.push(Line::Alike(group(first), alike));
        } else {
            lines.extend(alike.iter().map(Line::One));
        }
    }
    lines
}

/// What stands before the last part of its id.
fn group(change: &Change) -> &str {
    change.id.rsplit_once('/').map_or("", |(group, _)| group)
}

fn word(outcome: Option<Outcome>) -> &'static str {
    outcome.map_or("no result", Outcome::as_str)
}

/// How it ended then and now; only the one of them that there can be.
fn ends(list: &str, change: &Change) -> String {
    match list {
        "new" => word(change.to).to_owned(),
        "gone" => word(change.from).to_owned(),
        _ => format!("{} → {}", word(change.from), word(change.to)),
    }
}

/// What is wrong, on one line; nothing where nothing is.
fn why(change: &Change) -> Option<String> {
    let text = change.message.as_ref().or(change.reason.as_ref())?;
    Some(shorten(&one_line(first_line(text)), SENTENCE))
}

fn took(slower: &Slower) -> String {
    format!(
        "{:.1} s → {:.1} s, {} times",
        slower.from, slower.to, slower.times
    )
}

/// The last line: what is to be made of it.
fn summary(diff: &Diff) -> String {
    let counts: Vec<String> = lists(diff)
        .iter()
        .filter(|(_, changes)| !changes.is_empty())
        .map(|(name, changes)| format!("{} {name}", changes.len()))
        .chain((!diff.slower.is_empty()).then(|| format!("{} slower", diff.slower.len())))
        .collect();
    let changed = diff.worse.len() + diff.better.len() + diff.unclear.len();
    let same = diff.compared - changed;
    let counts = if counts.is_empty() {
        String::new()
    } else {
        format!("{}; ", counts.join(", "))
    };
    let worse = match (diff.is_worse, diff.worse.is_empty()) {
        (false, _) => "nothing got worse",
        (true, true) => "the verdict got worse",
        (true, false) => "it got worse",
    };
    format!("{counts}{same} of {} the same: {worse}", diff.compared)
}

/// For a terminal.
pub fn text(diff: &Diff) -> String {
    let mut text = String::new();
    for (name, side) in [("from", &diff.from), ("to", &diff.to)] {
        text.push_str(&format!(
            "{name:5} {} (run {} of {}, {} checks): {}\n",
            one_line(&side.path),
            one_line(&side.run),
            side.started.strftime("%Y-%m-%d"),
            side.checks,
            side.verdict
        ));
    }
    for difference in &diff.differences {
        let value = |value: &Option<String>| one_line(value.as_deref().unwrap_or("–")).into_owned();
        text.push_str(&format!(
            "      {}: {} → {}\n",
            one_line(&difference.what),
            value(&difference.from),
            value(&difference.to)
        ));
    }
    for (name, changes) in lists(diff) {
        if changes.is_empty() {
            continue;
        }
        text.push_str(&format!("{name} ({}):\n", changes.len()));
        let mut lines = lines(name, changes).into_iter().peekable();
        while let Some(line) = lines.next() {
            let change = match line {
                Line::One(change) => change,
                Line::Alike(group, all) => {
                    let (group, ends) = (one_line(group), ends(name, &all[0]));
                    text.push_str(&format!("  {group}/*  {ends}  {} of them\n", all.len()));
                    continue;
                }
            };
            text.push_str(&format!(
                "  {}  {}  {}\n",
                one_line(&change.id),
                ends(name, change),
                change.level
            ));
            // What is said of several in a row is said once, of the last.
            let why = why(change).filter(|_| name != "gone");
            let again = matches!(lines.peek(), Some(Line::One(next)) if self::why(next) == why);
            if let Some(why) = why.filter(|_| !again) {
                text.push_str(&format!("    {why}\n"));
            }
        }
    }
    if !diff.slower.is_empty() {
        text.push_str(&format!("slower ({}):\n", diff.slower.len()));
        for slower in &diff.slower {
            text.push_str(&format!("  {}  {}\n", one_line(&slower.id), took(slower)));
        }
    }
    text.push_str(&summary(diff));
    text.push('\n');
    text
}

/// For a comment on a pull request. Whatever a result says stands in it as text.
pub fn markdown(diff: &Diff) -> String {
    let symbol = if diff.is_worse { "❌" } else { "✅" };
    let mut text = format!(
        "### {symbol} {} → {}\n\n{}.\n",
        code_span(&diff.from.path),
        code_span(&diff.to.path),
        summary(diff)
    );
    text.push_str(&format!(
        "\n| | from | to |\n|---|---|---|\n| verdict | {} | {} |\n",
        diff.from.verdict, diff.to.verdict
    ));
    for difference in &diff.differences {
        let value = |value: &Option<String>| value.as_deref().map_or("–".to_owned(), code_span);
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            code_span(&difference.what),
            value(&difference.from),
            value(&difference.to)
        ));
    }
    for (name, changes) in lists(diff) {
        if changes.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "\n**{name}** ({})\n\n| requirement | level | outcome | why |\n|---|---|---|---|\n",
            changes.len()
        ));
        let lines = lines(name, changes);
        for line in lines.iter().take(MAX_ROWS) {
            text.push_str(&match line {
                Line::One(change) => format!(
                    "| {} | {} | {} | {} |\n",
                    code_span(&change.id),
                    change.level,
                    ends(name, change),
                    why(change).map_or(String::new(), |why| code_span(&why))
                ),
                Line::Alike(group, all) => format!(
                    "| {} | | {} | {} of them |\n",
                    code_span(&format!("{group}/*")),
                    ends(name, &all[0]),
                    all.len()
                ),
            });
        }
        if lines.len() > MAX_ROWS {
            text.push_str(&format!("\n… and {} more\n", lines.len() - MAX_ROWS));
        }
    }
    if !diff.slower.is_empty() {
        text.push_str(&format!(
            "\n**slower** ({})\n\n| check or set-up | took |\n|---|---|\n",
            diff.slower.len()
        ));
        for slower in &diff.slower {
            text.push_str(&format!(
                "| {} | {} |\n",
                code_span(&slower.id),
                took(slower)
            ));
        }
    }
    text
}

/// `junit.xml` of a comparison: what got worse is a failure, what became unclear an error, what is gone is skipped.
pub fn junit(diff: &Diff) -> String {
    let mut suites = IndexMap::<String, Vec<TestCase>>::new();
    for (name, changes) in lists(diff) {
        for change in changes {
            let id = one_line(&change.id);
            let ends = ends(name, change);
            let why = why(change).unwrap_or_else(|| ends.clone());
            let mut case = match name {
                "worse" => TestCaseBuilder::failure(&id, Duration::ZERO, "worse", &ends),
                "unclear" => TestCaseBuilder::error(&id, Duration::ZERO, "unclear", &ends),
                "gone" => TestCaseBuilder::skipped(&id),
                _ => TestCaseBuilder::success(&id, Duration::ZERO),
            };
            let component = component(&change.id);
            case.set_classname(&format!("diff.{component}"));
            if matches!(name, "worse" | "unclear") {
                case.set_trace(&cdata(&why));
            }
            case.set_system_out(&cdata(&format!("[[PROPERTY|{name}={ends}]]\n")));
            suites.entry(component).or_default().push(case.build());
        }
    }
    if diff.is_worse && diff.worse.is_empty() {
        let message = format!("{} → {}", diff.from.verdict, diff.to.verdict);
        let case = TestCaseBuilder::failure("verdict", Duration::ZERO, "worse", &message)
            .set_classname("diff.verdict")
            .set_trace(&message)
            .build();
        suites.entry("verdict".to_owned()).or_default().push(case);
    }
    let mut properties = vec![
        ("from", diff.from.path.clone()),
        ("to", diff.to.path.clone()),
        ("verdict", diff.to.verdict.to_string()),
        ("compared", diff.compared.to_string()),
    ];
    for slower in &diff.slower {
        properties.push(("slower", format!("{}: {}", slower.id, took(slower))));
    }
    let head = Head {
        name: format!("kubeflow-conformance diff {}", one_line(&diff.to.run)),
        started: diff.to.started,
        package: "diff".to_owned(),
        seconds: 0.0,
    };
    document(&head, &suites, |_| properties.clone())
}

fn component(id: &str) -> String {
    one_line(id.split('/').next().unwrap_or_default()).into_owned()
}
