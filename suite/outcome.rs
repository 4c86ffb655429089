//! How a check ends.
//!
//! `failed` (the distribution is wrong) and `could-not-run` (we could not tell) are different types on purpose: a flaky
//! network must never read as non-conformance, nor the reverse.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a check returns: nothing (or a value) when the requirement holds, else why it stopped.
pub type Outcome<T = ()> = Result<T, Stop>;

/// Why a check stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The distribution does not meet the requirement.
    Failed(Failure),
    /// The requirement does not apply to this distribution; harmless.
    NotApplicable(NotApplicable, String),
    /// The suite could not find out.
    CouldNotRun(CouldNotRun, String),
}

/// What was wrong, in words for a person who has only the report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence: what was seen and what was wanted.
    pub message: String,
    /// What the requirement wants, where it can be said shortly.
    pub expected: Option<String>,
    /// What the distribution did.
    pub observed: Option<String>,
    /// The last state seen of what was waited for.
    pub last_state: Option<String>,
}

/// Reason codes of `not-applicable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotApplicable {
    /// The optional feature that the requirement is about was not found on the cluster.
    FeatureAbsent,
    /// The requirement does not hold for this Kubeflow release.
    OtherRelease,
}

/// Reason codes of `could-not-run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CouldNotRun {
    /// The suite's user lacks a permission; the message names the verb.
    NoPermission,
    /// The suite's own image could not be pulled.
    ImagePull,
    /// No node has room for the suite's pods.
    NoRoom,
    /// The Kubernetes API, or the way to the component, cannot be reached.
    Unreachable,
    /// The Kubernetes API answered with an error of its own.
    ApiServer,
    /// An answer was larger than the suite records.
    AnswerTooLarge,
    /// What the check builds on did not come about; the message names the check that judges it.
    SetupFailed,
    /// The component was not found on the cluster.
    ComponentAbsent,
    /// The check's own deadline passed.
    Deadline,
    /// The recording does not hold a request that the check makes.
    EvidenceMissing,
    /// What was found cannot be written down.
    NotWritten,
    /// The check itself broke: a defect of the suite.
    Defect,
}

impl NotApplicable {
    /// The code as it stands in results.
    pub fn code(self) -> &'static str {
        match self {
            Self::FeatureAbsent => "feature-absent",
            Self::OtherRelease => "other-release",
        }
    }
}

impl CouldNotRun {
    /// The code as it stands in results.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoPermission => "no-permission",
            Self::ImagePull => "image-pull",
            Self::NoRoom => "no-room",
            Self::Unreachable => "unreachable",
            Self::ApiServer => "api-server",
            Self::AnswerTooLarge => "answer-too-large",
            Self::SetupFailed => "setup-failed",
            Self::ComponentAbsent => "component-absent",
            Self::Deadline => "deadline",
            Self::EvidenceMissing => "evidence-missing",
            Self::NotWritten => "not-written",
            Self::Defect => "defect",
        }
    }
}

impl Stop {
    /// A failure with nothing but its sentence.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(Failure {
            message: message.into(),
            ..Failure::default()
        })
    }

    /// A failure that says what was wanted and what was seen.
    pub fn unlike(
        message: impl Into<String>,
        expected: impl Into<String>,
        observed: impl Into<String>,
    ) -> Self {
        Self::Failed(Failure {
            message: message.into(),
            expected: Some(expected.into()),
            observed: Some(observed.into()),
            last_state: None,
        })
    }

    /// The sentence that says why.
    pub fn message(&self) -> &str {
        match self {
            Self::Failed(f) => &f.message,
            Self::NotApplicable(_, m) | Self::CouldNotRun(_, m) => m,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(x) => write!(f, "failed: {}", x.message),
            Self::NotApplicable(r, m) => write!(f, "not-applicable ({}): {m}", r.code()),
            Self::CouldNotRun(r, m) => write!(f, "could-not-run ({}): {m}", r.code()),
        }
    }
}

/// Fails the check unless the condition holds: `ensure!(ready, "{name} is not ready")`.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $($why:tt)+) => {
        if !$cond {
            return Err($crate::outcome::Stop::failed(format!($($why)+)));
        }
    };
}

/// Fails the check unless what was seen equals what is wanted: `ensure_eq!(seen, wanted, "the trial count")`.
/// Both sides need `PartialEq` between them and `Debug`.
#[macro_export]
macro_rules! ensure_eq {
    ($observed:expr, $expected:expr, $($what:tt)+) => {{
        let (observed, expected) = (&$observed, &$expected);
        if observed != expected {
            let what = format!($($what)+);
            return Err($crate::outcome::Stop::unlike(
                format!("{what} is {}, not {}", $crate::outcome::show(observed), $crate::outcome::show(expected)),
                $crate::outcome::show(expected),
                $crate::outcome::show(observed),
            ));
        }
    }};
}

/// A value as it stands in a message: its debug form, bounded to 400 characters.
pub fn show(value: &impl fmt::Debug) -> String {
    shorten(&plain(&format!("{value:?}")), 400)
}

/// A debug form without the words of Rust in it: a JSON string prints as `String("x")`, and the reader wants `"x"`.
fn plain(debug: &str) -> String {
    const WRAPPERS: [&str; 4] = ["String(", "Number(", "Bool(", "Some("];
    const WORDS: [(&str, &str); 3] = [("Object {", "{"), ("Array [", "["), ("Null", "null")];
    let mut text = String::with_capacity(debug.len());
    // Of each open parenthesis, whether it is written.
    let mut open = Vec::new();
    let (mut rest, mut quoted) = (debug, false);
    while let Some(next) = rest.chars().next() {
        if !quoted && !text.ends_with(char::is_alphanumeric) {
            if let Some(wrapper) = WRAPPERS.iter().find(|w| rest.starts_with(**w)) {
                open.push(false);
                rest = &rest[wrapper.len()..];
                continue;
            }
            if let Some((word, instead)) = WORDS.iter().find(|(w, _)| rest.starts_with(*w)) {
                text.push_str(instead);
                rest = &rest[word.len()..];
                continue;
            }
        }
        let mut length = next.len_utf8();
        let written = match next {
            '"' => {
                quoted = !quoted;
                true
            }
            '\\' if quoted => {
                length += rest[length..].chars().next().map_or(0, char::len_utf8);
                true
            }
            '(' if !quoted => {
                open.push(true);
                true
            }
            ')' if !quoted => open.pop().unwrap_or(true),
            _ => true,
        };
        if written {
            text.push_str(&rest[..length]);
        }
        rest = &rest[length..];
    }
    text
}

/// At most `max` characters of `text`, with an ellipsis where some were left out.
pub fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compare(seen: i32) -> Outcome {
        ensure_eq!(seen, 3, "the trial count");
        ensure!(seen < 10, "too many");
        Ok(())
    }

    #[test]
    fn a_comparison_says_both_sides() {
        assert_eq!(compare(3), Ok(()));
        let Err(Stop::Failed(f)) = compare(2) else {
            panic!("must fail")
        };
        assert_eq!(f.message, "the trial count is 2, not 3");
        assert_eq!(
            (f.expected.as_deref(), f.observed.as_deref()),
            (Some("3"), Some("2"))
        );
    }

    #[test]
    fn json_values_are_shown_as_a_reader_writes_them() {
        assert_eq!(show(&json!("x")), "\"x\"");
        assert_eq!(show(&json!(3)), "3");
        assert_eq!(
            show(&json!({"a": ["x", null, true], "b": "Some(\"y) Null"})),
            r#"{"a": ["x", null, true], "b": "Some(\"y) Null"}"#
        );
        assert_eq!(show(&Some(("a", 1.5))), r#"("a", 1.5)"#);
        assert_eq!(show(&None::<i64>), "None");
        assert_eq!(shorten("äöü", 2), "äö…");
    }
}
