//! A review in words: for a terminal, and as a comment of a bot.

use super::{About, Review, Verdict};
use crate::report::model::{Outcome, Target};

/// For a terminal.
pub fn text(review: &Review) -> String {
    let mut text = format!("{}: {}", review.folder, headline(review));
    text.push('\n');
    if let Some(about) = &review.about {
        for line in facts(about) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    for refusal in &review.refusals {
        text.push_str(&format!(
            "  {}: {}\n",
            refusal.rule,
            refusal.message.replace('\n', "\n    ")
        ));
    }
    if !review.left_to_people.is_empty() {
        text.push_str("  left to people:\n");
        for left in &review.left_to_people {
            text.push_str(&format!("    - {left}\n"));
        }
    }
    text
}

/// For a comment on a pull request. Whatever a submission says stands in it as text: no mark-up, no link, no mention.
pub fn markdown(review: &Review) -> String {
    let symbol = match review.verdict {
        Verdict::Accepted => "✅",
        Verdict::Refused => "❌",
        Verdict::NoVerdict => "❔",
    };
    let mut text = format!(
        "### {symbol} {}: {}\n\n",
        code(&review.folder),
        headline(review)
    );
    if let Some(about) = &review.about {
        for line in facts(about) {
            text.push_str(&format!("- {}\n", code(&line)));
        }
        text.push('\n');
    }
    if !review.refusals.is_empty() {
        text.push_str("| rule | asks for | found |\n|---|---|---|\n");
        for refusal in &review.refusals {
            text.push_str(&format!(
                "| {} | {} | {} |\n",
                code(refusal.rule),
                refusal.title,
                code(&refusal.message)
            ));
        }
        text.push('\n');
    }
    if !review.left_to_people.is_empty() {
        text.push_str("Left to people:\n");
        for left in &review.left_to_people {
            text.push_str(&format!("- [ ] {}\n", code(left)));
        }
        text.push('\n');
    }
    text.push_str(&format!(
        "{} rules hold. The same offline: `kfconform review` in the repository.\n",
        review.held.len()
    ));
    text
}

fn headline(review: &Review) -> String {
    let sample = if review.sample { ", a sample" } else { "" };
    format!("{}{sample}", review.verdict.as_str())
}

/// What it is about, line by line.
fn facts(about: &About) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(record) = &about.submission {
        let one = |text: &str| crate::report::text::one_line(text).into_owned();
        lines.push(format!(
            "{} {} by {}, counts from {} until {}, next review by {}",
            one(&record.product),
            one(&record.version),
            one(&record.vendor),
            record.valid_from,
            record.valid_until,
            record.next_review
        ));
    }
    let on = match about.target {
        Some(Target::Cluster) => "on a cluster",
        _ => "on the embedded reference",
    };
    lines.push(format!(
        "run {} {on}, profile {} for Kubeflow {}, Kubernetes {}, kfconform {}",
        about.run,
        about.profile,
        about.release,
        about.kubernetes.as_deref().unwrap_or("unknown"),
        about.suite
    ));
    let totals: Vec<String> = Outcome::ALL
        .iter()
        .filter(|outcome| about.totals.of(**outcome) > 0)
        .map(|outcome| format!("{} {outcome}", about.totals.of(*outcome)))
        .collect();
    lines.push(format!(
        "{} checks: {}",
        about.totals.all(),
        totals.join(", ")
    ));
    let known = if about.key_known { "known" } else { "new" };
    lines.push(format!("signed with the key {} ({known})", about.key));
    lines
}

/// Text in a code span, where nothing acts: back-ticks would end it, a bar a table's cell, a line feed both.
fn code(text: &str) -> String {
    let plain = text.replace('`', "'").replace(['\n', '\r'], " ");
    format!("`{}`", plain.replace('|', "¦").trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::Refusal;

    #[test]
    fn nothing_that_a_submission_says_acts_in_a_comment() {
        let hostile = "@kubeflow/owners `x` | <img src=x> [a](b)\n# h";
        let review = Review {
            folder: hostile.to_owned(),
            verdict: Verdict::Refused,
            sample: false,
            about: None,
            refusals: vec![Refusal {
                rule: "results/checks",
                title: "t",
                message: hostile.to_owned(),
            }],
            held: vec![],
            left_to_people: vec![],
        };
        let comment = markdown(&review);
        assert_eq!(comment.lines().filter(|l| l.starts_with('#')).count(), 1);
        for line in comment.lines().filter(|l| l.contains("@kubeflow")) {
            // Outside code spans nothing of it is left.
            let outside: String = line.split('`').step_by(2).collect();
            assert!(!outside.contains('@') && !outside.contains('<'), "{line}");
        }
    }
}
