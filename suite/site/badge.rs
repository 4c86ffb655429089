//! A badge: an image of two words that a product's own page may show.

use jiff::civil::Date;
use maud::html;

use super::{Entry, Standing};
use crate::report::Verdict;

/// Half of the width of a letter, in pixels; no font is asked, so that the same words give the same image.
const LETTER: usize = 7;

/// The words of a badge and the colour behind the second one.
fn words(entry: &Entry, date: Date) -> (String, String, &'static str) {
    let release = format!("Kubeflow {}", entry.place.release);
    let until = entry.shown.as_ref().map(|shown| shown.record.valid_until);
    let until = until.map_or_else(String::new, |date| date.to_string());
    let verdict = entry.shown.as_ref().map(|shown| shown.verdict);
    let (said, colour) = match entry.standing(date) {
        Standing::Valid if verdict == Some(Verdict::Conformant) => {
            (format!("✔ conformant until {until}"), "#1c6b38")
        }
        Standing::Valid => ("? not conformant".to_owned(), "#7d4b00"),
        Standing::Claimed => (format!("conformant until {until}, as claimed"), "#37506e"),
        Standing::Ended => (format!("ended {until}"), "#566172"),
        Standing::Sample => ("sample, no mark".to_owned(), "#7d4b00"),
        Standing::Refused => ("✘ refused".to_owned(), "#ad1f18"),
    };
    (release, said, colour)
}

/// The badge of a submission on a day.
pub fn badge(entry: &Entry, date: Date) -> String {
    let (left, right, colour) = words(entry, date);
    let width = |text: &str| text.chars().count() * LETTER + 14;
    let (first, second) = (width(&left), width(&right));
    let all = first + second;
    let said = format!("{left}: {right}");
    html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(all) height="22" viewBox=(format!("0 0 {all} 22")) role="img" aria-label=(said) {
            title { (said) }
            rect width=(all) height="22" rx="4" fill="#333b47" {}
            path d=(format!("M{first} 0h{}a4 4 0 0 1 4 4v14a4 4 0 0 1 -4 4h-{}z", second - 4, second - 4)) fill=(colour) {}
            g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="12" {
                text x=(first / 2) y="15" textLength=(first - 14) { (left) }
                text x=(first + second / 2) y="15" textLength=(second - 14) { (right) }
            }
        }
    }
    .into_string()
}
