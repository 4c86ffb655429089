//! A review in words: for a terminal, and as a comment of a bot.

use super::online::Advice;
use super::{About, Review, Verdict};
use crate::report::model::{Outcome, Target};
use crate::report::text::{code_span as code, one_line};
use crate::seal::Product;

/// What stands above advice from the network.
const ONLINE: &str = "Seen online, as advice";

/// For a terminal.
pub fn text(review: &Review) -> String {
    let mut text = format!("{}: {}", one_line(&review.folder), headline(review));
    text.push('\n');
    if let Some(about) = &review.about {
        for (what, parts) in facts(about, None) {
            let line: String = parts.iter().map(Part::plain).collect();
            text.push_str(&format!("  {what} {line}\n"));
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
            text.push_str(&format!("    - {}\n", one_line(left)));
        }
    }
    if let Some(advice) = &review.online {
        text.push_str(&format!("  {}:\n", ONLINE.to_lowercase()));
        for Advice {
            about,
            address,
            fine,
            message,
        } in advice
        {
            let mark = if *fine { " " } else { "!" };
            let seen = format!("{address}: {message}");
            text.push_str(&format!("   {mark} {about} {}\n", one_line(&seen)));
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
    if review.sample && review.verdict == Verdict::Accepted {
        text.push_str("It shows how a submission looks. Nobody may carry a mark for it.\n\n");
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
        text.push_str("What is left to people:\n\n");
        for left in &review.left_to_people {
            text.push_str(&format!("- [ ] {}\n", prose(left)));
        }
        text.push('\n');
    }
    if let Some(about) = &review.about {
        text.push_str("| | |\n|---|---|\n");
        for (what, parts) in facts(about, review.product.as_ref()) {
            let line: String = parts.iter().map(Part::marked).collect();
            text.push_str(&format!("| {what} | {line} |\n"));
        }
        text.push('\n');
    }
    if let Some(advice) = &review.online {
        text.push_str(&format!("{ONLINE}:\n\n| | | |\n|---|---|---|\n"));
        for seen in advice {
            let mark = if seen.fine { "" } else { "⚠ " };
            text.push_str(&format!(
                "| {} | {} | {mark}{} |\n",
                seen.about,
                code(&seen.address),
                code(&seen.message)
            ));
        }
        text.push('\n');
    }
    text.push_str(&format!(
        "{} rules hold. `kfconform review` says the same offline.\n",
        review.held.len()
    ));
    text
}

fn headline(review: &Review) -> String {
    let sample = if review.sample { ", a sample" } else { "" };
    format!("{}{sample}", review.verdict.as_str())
}

/// A piece of a line: our words, or somebody else's.
enum Part {
    Ours(String),
    Theirs(String),
}

impl Part {
    fn plain(&self) -> &str {
        let (Self::Ours(text) | Self::Theirs(text)) = self;
        text
    }

    fn marked(&self) -> String {
        match self {
            Self::Ours(text) => text.clone(),
            Self::Theirs(text) => code(text),
        }
    }
}

/// What it is about, line by line, each with what the line is about.
fn facts(about: &About, product: Option<&Product>) -> Vec<(&'static str, Vec<Part>)> {
    let ours = |text: &str| Part::Ours(text.to_owned());
    let theirs = |text: &str| Part::Theirs(one_line(text).into_owned());
    let mut lines = Vec::new();
    if let Some(record) = &about.submission {
        lines.push((
            "product",
            vec![
                theirs(&record.product),
                ours(" "),
                theirs(&record.version),
                ours(" by "),
                theirs(&record.vendor),
            ],
        ));
        lines.push((
            "counts",
            vec![Part::Ours(format!(
                "from {} until {}, next review by {}",
                record.valid_from, record.valid_until, record.next_review
            ))],
        ));
    }
    if let Some(product) = product {
        let mut parts = vec![ours("website "), theirs(&product.website)];
        parts.extend([ours(", documentation "), theirs(&product.documentation)]);
        parts.extend([ours(", adopters "), theirs(&product.adopters)]);
        parts.extend([ours(", contact "), theirs(&product.contact)]);
        lines.push(("reach", parts));
    }
    let on = match about.target {
        Some(Target::Cluster) => " on a cluster, profile ",
        _ => " on the embedded reference, profile ",
    };
    let kubernetes = about.kubernetes.as_deref().unwrap_or("unknown");
    let mut run = vec![theirs(&about.run), ours(on), theirs(&about.profile)];
    run.extend([ours(" for Kubeflow "), theirs(&about.release)]);
    run.extend([ours(", Kubernetes "), theirs(kubernetes)]);
    run.extend([ours(", kfconform "), theirs(&about.suite)]);
    lines.push(("run", run));
    let totals: Vec<String> = Outcome::ALL
        .iter()
        .filter(|outcome| about.totals.of(**outcome) > 0)
        .map(|outcome| format!("{} {outcome}", about.totals.of(*outcome)))
        .collect();
    lines.push((
        "checks",
        vec![Part::Ours(format!(
            "{}: {}",
            about.totals.all(),
            totals.join(", ")
        ))],
    ));
    let known = if about.key_known {
        " (known)"
    } else {
        " (new)"
    };
    lines.push(("signed with the key", vec![theirs(&about.key), ours(known)]));
    lines
}

/// A sentence that reads better outside of a code span, if nothing in it could act there.
fn prose(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || " .,;:()'/+=-".contains(c);
    if text.chars().all(harmless) && !text.contains("://") && !text.contains("www.") {
        text.to_owned()
    } else {
        code(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Totals;
    use crate::review::Refusal;
    use crate::seal::product::tests::FINE;

    #[test]
    fn nothing_that_a_submission_says_acts_in_a_comment() {
        let hostile = "@kubeflow/owners `x` | <img src=x> [a](b) www.x.org https://x.org\n# h";
        let mut product = Product::parse(FINE.as_bytes(), "p").unwrap();
        product.website = hostile.to_owned();
        product.contact = hostile.to_owned();
        let review = Review {
            about: Some(About {
                run: hostile.to_owned(),
                target: None,
                profile: hostile.to_owned(),
                release: hostile.to_owned(),
                kubernetes: Some(hostile.to_owned()),
                suite: hostile.to_owned(),
                totals: Totals::default(),
                submission: None,
                key: hostile.to_owned(),
                key_known: false,
            }),
            product: Some(product),
            refusals: vec![Refusal {
                rule: "results/checks",
                title: "t",
                message: hostile.to_owned(),
            }],
            left_to_people: vec![hostile.to_owned()],
            online: Some(vec![Advice {
                about: "website",
                address: hostile.to_owned(),
                fine: false,
                message: hostile.to_owned(),
            }]),
            ..Review::of(hostile)
        };
        let comment = markdown(&review);
        assert_eq!(comment.lines().filter(|l| l.starts_with('#')).count(), 1);
        let lines = || comment.lines().filter(|l| l.contains("@kubeflow"));
        assert_eq!(lines().count(), 7, "{comment}");
        for line in lines() {
            // Outside code spans nothing of it is left.
            let outside: String = line.split('`').step_by(2).collect();
            assert!(
                !outside.contains(['@', '<']) && !outside.contains("x.org"),
                "{line}"
            );
        }
        // On a terminal it stays on its line.
        assert!(!text(&review).lines().any(|line| line.starts_with('#')));
    }

    #[test]
    fn sentences_read_as_such_unless_something_could_act_in_them() {
        assert_eq!(
            prose("whether it's so (or not): 1.34/x"),
            "whether it's so (or not): 1.34/x"
        );
        for acts in [
            "a*b*",
            "@x",
            "a_b_",
            "see https://x.org",
            "www.x.org",
            "<b>",
            "[a](b)",
            "#1",
            "!x",
            "~x~",
            "$x$",
        ] {
            assert_eq!(prose(acts), format!("`{acts}`"));
        }
    }
}
