//! What a person reads in a terminal or a log: a line for each check, and a summary at the end.
//!
//! Colour only repeats what the words say. Everything that came from a cluster is made printable
//! first, so that no answer can move the cursor or hide a line.

use std::fmt::Write;
use std::path::Path;

use anstyle::{AnsiColor, Color, Effects};

use super::model::{CheckResult, LevelTotals, Outcome, Results, Totals, Verdict};
use super::plugins;
use super::text::{first_line, one_line, parts, printable};
use crate::outcome::shorten;
use crate::spec::Level;

/// The most lines of one part of a failure that are shown; `results.json` has them all.
const MAX_LINES: usize = 16;
/// The most checks that are named where one thing kept many from running.
const MAX_NAMED: usize = 5;
/// Narrower than this, text is not broken further: identifiers are longer.
const MIN_WIDTH: u16 = 60;
/// Sentences are broken at this, where the terminal is wider.
const MAX_MEASURE: usize = 110;

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to write escape sequences for colour.
    pub color: bool,
    /// The number of columns.
    pub width: u16,
}

const GOOD: anstyle::Style = bold(AnsiColor::Green);
const BAD: anstyle::Style = bold(AnsiColor::Red);
const DOUBT: anstyle::Style = bold(AnsiColor::Yellow);
const FAINT: anstyle::Style = anstyle::Style::new().effects(Effects::DIMMED);
const STRONG: anstyle::Style = anstyle::Style::new().bold();
const COMMAND: anstyle::Style = anstyle::Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));

const fn bold(color: AnsiColor) -> anstyle::Style {
    anstyle::Style::new()
        .bold()
        .fg_color(Some(Color::Ansi(color)))
}

impl Style {
    fn paint(self, style: anstyle::Style, text: &str) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn columns(self) -> usize {
        self.width.max(MIN_WIDTH).into()
    }

    /// Where sentences are broken: the eye loses its line in longer ones, however wide the terminal is.
    fn measure(self) -> usize {
        self.columns().min(MAX_MEASURE)
    }
}

/// The word for an outcome, four columns wide, and its colour.
fn word(outcome: Outcome) -> (&'static str, anstyle::Style) {
    match outcome {
        Outcome::Passed => ("PASS", GOOD),
        Outcome::Failed => ("FAIL", BAD),
        Outcome::NotApplicable => (" N/A", FAINT),
        Outcome::CouldNotRun => (" ERR", DOUBT),
    }
}

/// The line for a check that ended as the `done`th of `total`, with a second one that says why if
/// it did not pass. Without the last line feed.
pub fn status_line(check: &CheckResult, done: usize, total: usize, style: Style) -> String {
    let (word, color) = word(check.outcome);
    let digits = total.to_string().len();
    let mut line = format!(
        "{} [{:>8.3}s] ({done:>digits$}/{total}) {}",
        style.paint(color, word),
        check.seconds,
        one_line(&check.id),
    );
    if let Some((_, why)) = parts(check).first() {
        let why = shorten(&one_line(first_line(why)), style.columns() - INDENT - 1);
        let _ = write!(line, "\n{:INDENT$}{why}", "");
    }
    line
}

/// The columns before the text that belongs to a line with a word.
const INDENT: usize = 5;

/// The end of a run: the table, each check that did not pass, the verdict and where the time went.
/// `folder` is where the results are, for the commands that look further.
pub fn summary(results: &Results, folder: Option<&Path>, style: Style) -> String {
    let mut out = table(results, style);
    for check in with(results, Outcome::NotApplicable) {
        let why = check
            .message
            .as_deref()
            .or(check.reason.as_deref())
            .unwrap_or_default();
        let line = format!(
            " N/A {}: {}",
            one_line(&check.id),
            one_line(first_line(why))
        );
        let line = shorten(&line, style.columns() - 1);
        let _ = writeln!(out, "{}", style.paint(FAINT, &line));
    }
    if with(results, Outcome::NotApplicable).next().is_some() {
        out.push('\n');
    }
    let folder = folder.map(|folder| one_line(&folder.to_string_lossy()).into_owned());
    for check in with(results, Outcome::Failed) {
        failure(&mut out, check, folder.as_deref(), style);
    }
    could_not_run(&mut out, results, style);
    passed_again(&mut out, results, style);
    out.push_str(&plugins::lines(results));
    for leftover in &results.leftovers {
        let _ = writeln!(out, "{} {}", style.paint(DOUBT, "LEFT"), one_line(leftover));
    }
    if !results.leftovers.is_empty() {
        let what = "the run could not remove these; to try again:";
        let command = format!(
            "kfconform cleanup --run {}{}",
            one_line(&results.run.id),
            one_line(&results.run.cluster_arguments())
        );
        let _ = writeln!(
            out,
            "{:INDENT$}{what}\n{:INDENT$}{}\n",
            "",
            "",
            style.paint(COMMAND, &command)
        );
    }
    verdict(&mut out, results, folder.as_deref(), style);
    out
}

fn with(results: &Results, outcome: Outcome) -> impl Iterator<Item = &CheckResult> {
    results
        .checks
        .iter()
        .filter(move |check| check.outcome == outcome)
}

/// Component × level, and the sum of all. A level without checks has no row.
fn table(results: &Results, style: Style) -> String {
    let names = results.totals.keys();
    // Results may be anybody's, and no text is padded to a width of more than 65,535.
    let names: Vec<_> = names.map(|name| shorten(&one_line(name), 40)).collect();
    let wide = names
        .iter()
        .map(|n| n.chars().count())
        .max()
        .unwrap_or(0)
        .max("component".len());
    let mut out = String::new();
    let head = format!(
        "{:wide$}  {:8}  {:>6}  {:>6}  {:>14}  {:>13}",
        "component", "level", "passed", "failed", "not applicable", "could not run"
    );
    let _ = writeln!(out, "{}", style.paint(STRONG, &head));
    let mut row = |name: &str, level: &str, totals: &Totals| {
        let number = |outcome, width: usize| {
            let number = totals.of(outcome);
            let text = format!("{number:>width$}");
            let quiet = number == 0 || outcome == Outcome::NotApplicable;
            style.paint(if quiet { FAINT } else { word(outcome).1 }, &text)
        };
        let _ = writeln!(
            out,
            "{name:wide$}  {level:8}  {}  {}  {}  {}",
            number(Outcome::Passed, 6),
            number(Outcome::Failed, 6),
            number(Outcome::NotApplicable, 14),
            number(Outcome::CouldNotRun, 13),
        );
    };
    for (name, levels) in names.iter().zip(results.totals.values()) {
        let mut name = name.as_str();
        for (level, totals) in by_level(levels) {
            row(name, level.as_str(), totals);
            name = "";
        }
    }
    row("all", "", &results.all_totals());
    out.push('\n');
    out
}

fn by_level(levels: &LevelTotals) -> impl Iterator<Item = (Level, &Totals)> {
    [Level::Core, Level::Extended]
        .into_iter()
        .map(|level| (level, levels.of(level)))
        .filter(|(_, totals)| totals.all() > 0)
}

fn failure(out: &mut String, check: &CheckResult, folder: Option<&str>, style: Style) {
    let id = one_line(&check.id);
    let _ = writeln!(
        out,
        "{} {} ({})",
        style.paint(BAD, "FAIL"),
        style.paint(STRONG, &id),
        check.level
    );
    paragraph(out, "", &printable(&check.title), style);
    for (name, text) in parts(check) {
        paragraph(out, name, &text, style);
    }
    for attempt in &check.attempts {
        let text = format!("{} in run {}", attempt.outcome, one_line(&attempt.run));
        paragraph(out, "before", &text, style);
    }
    let explain = format!("kfconform explain {id}");
    let _ = writeln!(out, "{:INDENT$}{}", "", style.paint(COMMAND, &explain));
    if let Some(folder) = folder.filter(|_| check.evidence.is_some()) {
        let evidence = format!("kfconform evidence {folder} {id}");
        let _ = writeln!(out, "{:INDENT$}{}", "", style.paint(COMMAND, &evidence));
    }
    out.push('\n');
}

/// What passed only when it was run again.
fn passed_again(out: &mut String, results: &Results, style: Style) {
    let mut any = false;
    for check in with(results, Outcome::Passed).filter(|check| !check.attempts.is_empty()) {
        let before: Vec<&str> = check.attempts.iter().map(|a| a.outcome.as_str()).collect();
        let line = format!(
            "{} {}: run again after it was {}",
            style.paint(DOUBT, "PASS"),
            one_line(&check.id),
            before.join(", then ")
        );
        let _ = writeln!(out, "{line}");
        any = true;
    }
    if any {
        out.push('\n');
    }
}

/// What could not run, grouped: one missing permission may keep fifty checks from running.
fn could_not_run(out: &mut String, results: &Results, style: Style) {
    let mut groups = indexmap::IndexMap::<_, Vec<&CheckResult>>::new();
    for check in with(results, Outcome::CouldNotRun) {
        groups
            .entry((&check.reason, &check.message))
            .or_default()
            .push(check);
    }
    for checks in groups.values() {
        let named: Vec<_> = checks
            .iter()
            .take(MAX_NAMED)
            .map(|c| one_line(&c.id))
            .collect();
        let what = match checks.len().saturating_sub(MAX_NAMED) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        };
        let mut lines = wrap(&what, style.measure() - INDENT).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(
            out,
            "{} {}",
            style.paint(DOUBT, " ERR"),
            style.paint(STRONG, &first)
        );
        for line in lines {
            let _ = writeln!(out, "{:INDENT$}{}", "", style.paint(STRONG, &line));
        }
        if let Some(reason) = &checks[0].reason {
            paragraph(out, "reason", &one_line(reason), style);
        }
        if let Some(message) = &checks[0].message {
            paragraph(out, "", &printable(message), style);
        }
        if matches!(
            checks[0].reason.as_deref(),
            Some("no-permission" | "component-absent")
        ) {
            let command = format!(
                "kfconform doctor{}",
                one_line(&results.run.cluster_arguments())
            );
            let _ = writeln!(out, "{:INDENT$}{}", "", style.paint(COMMAND, &command));
        }
        out.push('\n');
    }
}

/// A text under its name, broken at the width, and cut where it is longer than a person reads.
fn paragraph(out: &mut String, name: &str, text: &str, style: Style) {
    const NAME: usize = 12;
    let indent = if name.is_empty() {
        INDENT
    } else {
        INDENT + NAME
    };
    let lines: Vec<_> = text
        .lines()
        .flat_map(|line| wrap(line, style.measure() - indent))
        .collect();
    for (n, line) in lines.iter().take(MAX_LINES).enumerate() {
        if n == 0 && !name.is_empty() {
            let _ = writeln!(
                out,
                "{:INDENT$}{}{line}",
                "",
                style.paint(FAINT, &format!("{name:NAME$}"))
            );
        } else {
            let _ = writeln!(out, "{:indent$}{line}", "");
        }
    }
    if let Some(more) = lines.len().checked_sub(MAX_LINES + 1) {
        let _ = writeln!(
            out,
            "{:indent$}… {} more lines in results.json",
            "",
            more + 1
        );
    }
}

/// A line broken at its blanks into lines of at most `width` characters, its own indentation kept.
/// A word that is longer is cut.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let indent: String = line
        .chars()
        .take_while(|c| c.is_whitespace())
        .take(width / 2)
        .collect();
    let mut lines = Vec::new();
    let mut current = indent.clone();
    let mut used = indent.chars().count();
    let mut empty = true;
    for mut word in line.split_whitespace() {
        let mut length = word.chars().count();
        if !empty && used + 1 + length > width {
            lines.push(std::mem::replace(&mut current, indent.clone()));
            (used, empty) = (indent.chars().count(), true);
        }
        while empty && used + length > width {
            let at = word
                .char_indices()
                .nth(width - used)
                .map_or(word.len(), |(at, _)| at);
            lines.push(format!("{indent}{}", &word[..at]));
            word = &word[at..];
            length -= width - used;
        }
        if !empty {
            current.push(' ');
            used += 1;
        }
        current.push_str(word);
        (used, empty) = (used + length, false);
    }
    lines.push(current);
    lines
}

fn verdict(out: &mut String, results: &Results, folder: Option<&str>, style: Style) {
    let (symbol, color) = match results.verdict {
        Verdict::Conformant => ("✔", GOOD),
        Verdict::NonConformant => ("✘", BAD),
        Verdict::Incomplete => ("?", DOUBT),
    };
    let run = &results.run;
    let of = format!(
        "Kubeflow {}, profile {}, run {}",
        one_line(&run.release),
        one_line(&run.profile),
        one_line(&run.id)
    );
    let words = style.paint(color, &format!("{symbol} {}", results.verdict));
    let _ = writeln!(out, "{words}  {of}");
    let list = |out: &mut String, reasons: &[String]| {
        for reason in reasons {
            let lines = wrap(&one_line(reason), style.measure() - 4);
            for (n, line) in lines.iter().enumerate() {
                let _ = writeln!(out, "  {} {line}", if n == 0 { "-" } else { " " });
            }
        }
    };
    list(out, &results.reasons);

    let timing = &results.timing;
    let _ = write!(out, "took {:.1} s", timing.wall_seconds);
    if let (true, Some(longest), Some(ratio)) = (run.complete, &timing.longest_setup, timing.ratio)
    {
        let id = one_line(&longest.id);
        let _ = write!(
            out,
            ", {ratio:.2} × the longest set-up ({id}, {:.1} s)",
            longest.seconds
        );
    }
    out.push('\n');
    if let Some(folder) = folder {
        let _ = writeln!(out, "results in {folder}");
        if !run.complete {
            let command = format!(
                "kfconform run --resume {folder}{}",
                one_line(&run.cluster_arguments())
            );
            let _ = writeln!(out, "go on with it: {}", style.paint(COMMAND, &command));
        }
    }
    if !results.submittable {
        out.push_str("cannot be submitted:\n");
        list(out, &results.not_submittable_because);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    const PLAIN: Style = Style {
        color: false,
        width: 80,
    };

    #[test]
    fn a_name_longer_than_any_line_is_cut() {
        let mut results = sample::mixed();
        let totals = results.totals[0];
        results.totals.insert("n".repeat(1 << 17), totals);
        let text = summary(&results, None, PLAIN);
        assert!(text.contains("nnn…") && text.len() < 1 << 14);
    }

    fn every_line(style: Style) -> String {
        let mut text = String::new();
        let results = sample::mixed();
        for (n, check) in results.checks.iter().enumerate() {
            let _ = writeln!(
                text,
                "# {}\n{}",
                check.outcome,
                status_line(check, n + 1, 100, style)
            );
        }
        let _ = writeln!(
            text,
            "# summary\n{}",
            summary(&results, Some(Path::new("out/r7k2m")), style)
        );
        let _ = writeln!(
            text,
            "# conformant\n{}",
            summary(&sample::conformant(), None, style)
        );
        // A message that is longer than any line: cut in a status line, broken in the summary.
        let mut long = sample::mixed();
        long.checks.truncate(2);
        long.checks[1].message =
            Some("the answer of the gateway was not that of the component behind it ".repeat(5));
        let _ = writeln!(
            text,
            "# long\n{}",
            status_line(&long.checks[1], 2, 590, style)
        );
        long.judge();
        let _ = writeln!(text, "{}", summary(&long, None, style));
        let mut many = sample::conformant();
        many.checks = (0..7)
            .map(|n| sample::check(&format!("katib/experiment/check-{n}")))
            .collect();
        for check in &mut many.checks {
            check.outcome = Outcome::CouldNotRun;
            check.reason = Some("unreachable".to_owned());
            check.message = Some(
                "the Kubernetes API at https://10.0.0.1:6443 cannot be reached: connection refused"
                    .to_owned(),
            );
        }
        many.judge();
        let _ = writeln!(text, "# unreachable\n{}", summary(&many, None, style));
        text
    }

    #[test]
    fn every_kind_of_line() {
        let mut all = String::new();
        for width in [80, 200] {
            let text = every_line(Style { width, ..PLAIN });
            let too_wide = text.lines().filter(|l| l.chars().count() > width.into());
            assert_eq!(too_wide.collect::<Vec<_>>(), Vec::<&str>::new());
            let _ = writeln!(all, "## {width} columns\n{text}");
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn colour_only_repeats_what_the_words_say() {
        let colored = every_line(Style {
            color: true,
            width: 80,
        });
        assert!(colored.contains('\u{1b}'));
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        assert_eq!(plain + rest, every_line(PLAIN));
    }

    #[test]
    fn no_answer_of_a_cluster_reaches_the_terminal_as_it_is() {
        let evil = "\u{1b}[2J\r\u{9b}H\u{7}\u{202e}";
        let mut results = sample::mixed();
        results.run.id = evil.to_owned();
        results.run.profile = evil.to_owned();
        results.run.release = evil.to_owned();
        results.leftovers = vec![evil.to_owned()];
        for check in &mut results.checks {
            check.id.push_str(evil);
            check.component = evil.to_owned();
            check.title = evil.to_owned();
            check.reason = Some(evil.to_owned());
            for text in [
                &mut check.message,
                &mut check.expected,
                &mut check.observed,
                &mut check.last_state,
            ] {
                *text = Some(evil.repeat(30));
            }
            for attempt in &mut check.attempts {
                attempt.run = evil.to_owned();
            }
        }
        results.setups[0].id = evil.to_owned();
        results.judge();
        let mut text = summary(&results, Some(Path::new(evil)), PLAIN);
        for check in &results.checks {
            text.push_str(&status_line(check, 1, 1, PLAIN));
        }
        let acting: Vec<_> = text
            .chars()
            .filter(|c| c.is_control() && *c != '\n' || *c == '\u{202e}')
            .collect();
        assert_eq!(acting, Vec::<char>::new());
    }

    #[test]
    fn lines_are_broken_at_blanks_and_long_words_cut() {
        assert_eq!(wrap("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrap("  a bb ccc", 6), ["  a bb", "  ccc"]);
        assert_eq!(wrap("äääääääää", 4), ["ääää", "ääää", "ä"]);
        assert_eq!(wrap("a äääääää b", 4), ["a", "ääää", "äää", "b"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap(&" ".repeat(50), 4), ["  "]);
    }

    #[test]
    fn a_long_state_is_cut_and_says_so() {
        let mut results = sample::mixed();
        results.checks[1].last_state = Some("line\n".repeat(100));
        let text = summary(&results, None, PLAIN);
        assert_eq!(text.matches("line\n").count(), MAX_LINES);
        assert!(text.contains("… 84 more lines in results.json"));
    }
}
