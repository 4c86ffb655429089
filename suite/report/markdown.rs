//! A result for a pipeline: a summary in Markdown, and the annotations that GitHub's runners take.

use std::fmt::Write;

use super::model::{CheckResult, Outcome, Results, Verdict};
use super::text::{code_span, first_line, one_line, parts};
use crate::outcome::shorten;
use crate::spec::Level;

/// The most checks that are listed.
const MAX_LISTED: usize = 50;
/// The longest sentence about one, in characters.
const MAX_SENTENCE: usize = 300;

/// What did not pass, the worst first.
fn open(results: &Results) -> Vec<&CheckResult> {
    let of = |outcome| {
        results
            .checks
            .iter()
            .filter(move |check| check.outcome == outcome)
    };
    of(Outcome::Failed)
        .chain(of(Outcome::CouldNotRun))
        .collect()
}

fn why(check: &CheckResult) -> String {
    let parts = parts(check);
    let why = parts.first().map_or("", |(_, text)| first_line(text));
    shorten(&one_line(why), MAX_SENTENCE)
}

/// For the summary of a pipeline's run, or a comment. What came from a cluster stands in code spans, where nothing acts.
pub fn markdown(results: &Results) -> String {
    let sign = match results.verdict {
        Verdict::Conformant => "✅",
        Verdict::NonConformant => "❌",
        Verdict::Incomplete => "❔",
    };
    let run = &results.run;
    let mut text = format!(
        "## {sign} Kubeflow conformance: {}\n\nProfile {}, release {}.\n\n",
        results.verdict,
        code_span(&run.profile),
        code_span(&run.release)
    );
    text.push_str("| component | level | passed | failed | not applicable | could not run |\n|---|---|--:|--:|--:|--:|\n");
    for (name, levels) in &results.totals {
        for level in [Level::Core, Level::Extended] {
            let totals = levels.of(level);
            if totals.all() > 0 {
                let numbers = Outcome::ALL.map(|outcome| totals.of(outcome).to_string());
                let _ = writeln!(
                    text,
                    "| {} | {level} | {} |",
                    code_span(name),
                    numbers.join(" | ")
                );
            }
        }
    }
    let open = open(results);
    if !open.is_empty() {
        text.push_str("\n| outcome | requirement | what was seen |\n|---|---|---|\n");
    }
    for check in open.iter().take(MAX_LISTED) {
        let (id, why) = (code_span(&check.id), code_span(&why(check)));
        let _ = writeln!(text, "| {} | {id} | {why} |", check.outcome);
    }
    if let Some(more) = open.len().checked_sub(MAX_LISTED + 1) {
        let _ = writeln!(text, "\n… and {} more", more + 1);
    }
    text
}

/// For the output of a step on GitHub: an annotation for each check that did not pass, and one for the verdict.
pub fn annotations(results: &Results) -> String {
    let mut text = String::new();
    for check in open(results).iter().take(MAX_LISTED) {
        let command = if check.outcome == Outcome::Failed {
            "error"
        } else {
            "warning"
        };
        let title = format!("{} ({})", check.id, check.outcome);
        let _ = writeln!(
            text,
            "::{command} title={}::{}",
            property(&title),
            data(&why(check))
        );
    }
    let all = results.all_totals();
    let said = format!(
        "{}: {} passed, {} failed, {} not applicable, {} could not run",
        results.verdict, all.passed, all.failed, all.not_applicable, all.could_not_run
    );
    let _ = writeln!(text, "::notice title=Kubeflow conformance::{}", data(&said));
    text
}

/// A text that stays what it is in a command of a runner: it neither ends the line nor begins another command.
fn data(text: &str) -> String {
    let text = one_line(text).replace('%', "%25");
    text.replace('\r', "%0D").replace('\n', "%0A")
}

/// The same where a colon or a comma would end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_summary_says_the_verdict_and_what_did_not_pass() {
        insta::assert_snapshot!(markdown(&sample::mixed()));
    }

    #[test]
    fn annotations_name_what_did_not_pass() {
        insta::assert_snapshot!(annotations(&sample::mixed()));
    }

    #[test]
    fn nothing_of_a_cluster_is_a_command_or_mark_up() {
        let mut results = sample::mixed();
        let evil = "x\n::add-mask::a\r\n::error::b%0A | <img src=x> `@all` https://x.org";
        for check in &mut results.checks {
            (check.id, check.message) = (evil.into(), Some(evil.into()));
        }
        let text = annotations(&results);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.starts_with("::error title=x")
            || line.starts_with("::warning title=x")
            || line.starts_with("::notice title=K")));
        assert!(!text.contains("%0A"), "{text}");
        let summary = markdown(&results);
        for line in summary.lines().filter(|line| line.contains("add-mask")) {
            let outside: String = line.split('`').step_by(2).collect();
            assert!(
                !outside.contains(['<', '@']) && !outside.contains("x.org"),
                "{line}"
            );
        }
    }
}
