//! What every page is made of: its frame, and the few shapes that pages share.
//!
//! A page needs nothing but itself. Its policy names the digests of the one style and the one script in it and forbids
//! the rest, so that no text of a cluster or of a submission can act in a reader's browser.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::report::model::{Outcome, Totals, Verdict};
use crate::report::text::{one_line, printable};

/// The style of every page.
pub const STYLE: &str = include_str!("page.css");

/// A whole page: its title, what stands in it, and its script, without which everything can be read.
/// `images` lets it show images that lie beside it.
pub fn page(title: &str, body: &Markup, script: &str, images: bool) -> String {
    let hash = |text: &str| BASE64.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; {}base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(script),
        if images { "img-src 'self'; " } else { "" },
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (one_line(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "To the content" }
                (body)
                @if !script.is_empty() { script { (PreEscaped(script)) } }
            }
        }
    };
    page.into_string()
}

/// The sign and class of an outcome. The word stands beside it, so that colour is not needed.
pub fn sign(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Passed => ("✔", "good"),
        Outcome::Failed => ("✘", "bad"),
        Outcome::NotApplicable => ("–", "none"),
        Outcome::CouldNotRun => ("?", "doubt"),
    }
}

/// The same of a verdict.
pub fn verdict_sign(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Conformant => sign(Outcome::Passed),
        Verdict::NonConformant => sign(Outcome::Failed),
        Verdict::Incomplete => sign(Outcome::CouldNotRun),
    }
}

/// A word with its sign, coloured.
pub fn chip((sign, class): (&str, &str), word: &str) -> Markup {
    html! { span.chip.(class) { span aria-hidden="true" { (sign) } " " (word) } }
}

/// Names and what belongs to them.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! { dl { @for (name, text) in facts { div { dt { (name) } dd { (text) } } } } }
}

/// A list of lines; nothing if there are none.
pub fn list(items: &[String]) -> Markup {
    html! {
        @if !items.is_empty() {
            ul { @for item in items { li { (prose(&one_line(item))) } } }
        }
    }
}

/// A sentence in which literals stand in back-ticks.
pub fn prose(text: &str) -> Markup {
    let text = printable(text);
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A line with ids in it, which may be broken after each part of them.
pub fn paths(text: &str) -> Markup {
    html! {
        @for part in one_line(text).split_inclusive('/') { (part) @if part.ends_with('/') { wbr; } }
    }
}

/// An address as a link where it is one of the web, else as the text that it is.
pub fn address(address: &str) -> Markup {
    let text = one_line(address);
    html! {
        @if text.starts_with("https://") && text == address {
            a href=(text) rel="noreferrer noopener nofollow" { (text) }
        } @else {
            (text)
        }
    }
}

/// How many checks came out how, as a bar. Its numbers stand in words beside it, wherever it is.
pub fn bar(totals: &Totals) -> Markup {
    let all = f64::from(totals.all().max(1));
    let mut from = 0.0;
    let mut parts = Vec::new();
    for outcome in Outcome::ALL {
        let width = f64::from(totals.of(outcome)) / all * 100.0;
        if width > 0.0 {
            parts.push((sign(outcome).1, from, width));
            from += width;
        }
    }
    html! {
        svg.bar viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, from, width) in parts {
                rect.(class) x=(format!("{from:.2}")) y="0" width=(format!("{width:.2}")) height="4" {}
            }
        }
    }
}

/// `142 passed · 1 failed`: what is zero is left out.
pub fn counted(totals: &Totals) -> Markup {
    let counts = Outcome::ALL.map(|outcome| (outcome, totals.of(outcome)));
    let counts: Vec<_> = counts.into_iter().filter(|(_, n)| *n > 0).collect();
    html! {
        @for (at, (outcome, number)) in counts.iter().enumerate() {
            @if at > 0 { " · " }
            span.(sign(*outcome).1) { (number) " " (outcome) }
        }
        @if counts.is_empty() { span.none { "none" } }
    }
}
