//! Text from a cluster, made fit for a terminal, an XML file and a page.
//!
//! Messages quote what a distribution answered. That is somebody else's text: it may hold escape
//! sequences that rewrite a terminal, characters that XML cannot hold, or a megabyte of log.

use std::borrow::Cow;

use super::model::CheckResult;

/// The longest text of one field in a result and in what is made from it, in bytes. The evidence has the whole of it.
pub const MAX_TEXT: usize = 16 * 1024;

/// Whether a character would act on its surroundings instead of showing itself: controls, the
/// overrides of writing direction, and what is no character.
fn acts(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            | '\u{fffe}' | '\u{ffff}')
}

/// The text with every character that would act written as its escape; line feeds and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.replace("\r\n", "\n").chars() {
        if acts(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// A text of JSON in which no character acts: those that JSON lets stand in texts are written as its escapes.
pub fn json_printable(json: &str) -> Cow<'_, str> {
    if !json.contains(acts) {
        return json.into();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if acts(c) {
            // None of them needs more than four digits.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// [`printable`], and on one line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let text = printable(text);
    if text.contains(['\n', '\t']) {
        text.replace('\n', "\\n").replace('\t', "\\t").into()
    } else {
        text
    }
}

/// Text in a code span of Markdown, where nothing acts: back-ticks would end it, a bar a table's cell, a line feed both.
pub fn code_span(text: &str) -> String {
    let plain = printable(text).replace('`', "'").replace('\n', " ");
    format!("`{}`", plain.replace('|', "¦").trim())
}

/// A word as a shell takes it: in quotes where it holds more than plain characters.
pub fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The first line that is not empty.
pub fn first_line(text: &str) -> &str {
    text.lines().find(|l| !l.trim().is_empty()).unwrap_or("")
}

/// The beginning and the end of a text that is longer than `max` bytes, with how much is left out and what has it.
pub fn bounded<'a>(text: &'a str, max: usize, place: &str) -> Cow<'a, str> {
    if text.len() <= max {
        return text.into();
    }
    // The beginning says what it is, the end how it came out; the former mostly matters more.
    let boundary = |at: usize| {
        (at..=text.len())
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(at)
    };
    let head = boundary(max / 3 * 2);
    let tail = boundary(text.len() - max / 3).max(head);
    format!(
        "{}\n… {} bytes left out, {place} has them …\n{}",
        &text[..head],
        tail - head,
        &text[tail..]
    )
    .into()
}

/// What there is to say about a check that did not pass, part by part, fit to print.
pub fn parts(check: &CheckResult) -> Vec<(&'static str, String)> {
    let known = check.known_deviation.as_ref();
    let known = known.map(|known| format!("{} ({})", known.summary, known.issue));
    let reason = check.reason.as_ref().map(|reason| format!("({reason})"));
    [
        ("", check.message.as_ref().or(reason.as_ref())),
        ("expected", check.expected.as_ref()),
        ("observed", check.observed.as_ref()),
        ("last state", check.last_state.as_ref()),
        ("known", known.as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some((name, text?)))
    .map(|(name, text)| {
        (
            name,
            bounded(&printable(text), MAX_TEXT, "results.json").into_owned(),
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_written_as_its_escape() {
        assert_eq!(printable("a\n\tb ä ❄"), "a\n\tb ä ❄");
        assert_eq!(
            printable("\u{1b}[2Jx\r\n\0\r\u{9b}\u{202e}"),
            "\\u{1b}[2Jx\n\\u{0}\\r\\u{9b}\\u{202e}"
        );
        for c in "\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{fffe}\u{ffff}".chars() {
            assert_eq!(printable(&c.to_string()), c.escape_unicode().to_string());
        }
        assert_eq!(one_line("a\tb\nc\u{7}"), "a\\tb\\nc\\u{7}");
        let json = serde_json::to_string("\u{9b}\u{7f}\u{202e}\u{ffff}ä\0").unwrap();
        assert_eq!(
            json_printable(&json),
            r#""\u009b\u007f\u202e\uffffä\u0000""#
        );
    }

    #[test]
    fn a_long_text_keeps_its_ends_and_says_what_it_lost() {
        let text = format!("begin{}end", "ä".repeat(1_000_000));
        let short = bounded(&text, 300, "x");
        assert!(short.len() < 400);
        assert!(short.starts_with("beginä") && short.ends_with("äend"));
        let kept = short.matches('ä').count();
        assert!(short.contains(&format!("… {} bytes left out", (1_000_000 - kept) * 2)));
        assert_eq!(bounded("abc", 3, "x"), "abc");
    }

    #[test]
    fn the_first_line_is_the_first_with_something_on_it() {
        assert_eq!(first_line("\n  \nb\nc"), "b");
        assert_eq!(first_line(""), "");
    }
}
