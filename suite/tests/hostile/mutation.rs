//! How valid files are made invalid: edits that can be made smaller until the one that matters is left.

use std::time::{Duration, Instant};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestCaseResult, TestRunner},
};
use serde_json::Value;

/// The most cases of a run that was told nothing: the same ones each time, so that what they say of a change is due to it.
const CASES: u64 = 64;

/// Gives mutated input to a reader for as long as `HOSTILE_SECONDS` says, other input in each run, and says how often that
/// was. Without it the first of one fixed sequence.
pub fn fuzz<S: Strategy>(name: &str, input: S, test: impl Fn(S::Value) -> TestCaseResult) {
    let seconds = std::env::var("HOSTILE_SECONDS").ok();
    let seconds: Option<f64> = seconds.and_then(|s| s.parse().ok());
    let (seconds, most, mut seed) = match seconds {
        Some(seconds) => (seconds, u64::MAX, TestRunner::default()),
        None => (60.0, CASES, TestRunner::deterministic()),
    };
    let began = Instant::now();
    let cases = std::cell::Cell::new(0_u64);
    while began.elapsed() < Duration::from_secs_f64(seconds) && cases.get() < most {
        let config = Config {
            cases: 8,
            failure_persistence: None,
            max_shrink_iters: 4000,
            max_shrink_time: 60_000,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, seed.new_rng());
        let ran = runner.run(&input, |input| {
            cases.set(cases.get() + 1);
            test(input)
        });
        if let Err(error) = ran {
            panic!("{name}, after {} cases: {error}", cases.get());
        }
    }
    eprintln!(
        "{name}: {} cases in {:.1} s",
        cases.get(),
        began.elapsed().as_secs_f64()
    );
}

/// Asserts that one case does not take long. Debug builds on a busy machine are slow; what is meant is "not for ever".
pub fn quickly<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, TestCaseError> {
    let began = Instant::now();
    let done = work();
    let took = began.elapsed();
    prop_assert!(took < Duration::from_secs(120), "{what} took {took:?}");
    Ok(done)
}

/// Texts that act somewhere: on a terminal, a page, a comment, a parser, a path, a shell.
pub const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "\u{1b}[2J\u{1b}]0;gone\u{7}",
    "\u{9b}31m",
    "\u{202e}txt.exe\u{202c}\u{2066}\u{200f}",
    "\u{feff}\u{fffe}\u{ffff}\u{2028}\u{85}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "\"><svg/onload=alert(1)>",
    "]]><!--&amp;--> <?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]>&b;",
    "`x` | ![](http://example.org/i) [a](javascript:b) @kubeflow/owners #1 **b**\n# h\n\n| a |\n",
    "a\r\nb\rc\n\n\td",
    "../../../../etc/passwd",
    "/dev/zero",
    "$(id) `id` ; rm -rf . | %s %n {} {0}",
    "katib/experiment/reaches-goal",
    "setup/run/image",
    "run/discovery",
    "[redacted]",
    "[redacted][redacted]x[redacted]",
    "eyJ.eyJ.eyJ Bearer  Basic ",
    "1e999",
    "NaN",
    "-0",
    "18446744073709551616",
    "2026-11-21T00:00:00Z",
    "-009999-01-01T00:00:00Z",
    "9999-12-30T22:00:00.999999999Z",
    "e\u{301}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\u{1f1e9}\u{1f1ea}\u{10ffff}",
];

/// Pieces of text that parsers take for something.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\xff\xfe",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"{",
    b"[",
    b"\"",
    b"]}",
    b",",
    b"\n",
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"-0.0",
    b"1e-400",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"0.1234567890123456789",
    b"null",
    b"true",
    b": ",
    b"- ",
    b"<<: *a\n",
    b"&a ",
    b"*a",
    b"!!binary ",
    b"--- \n",
    b"# ",
    b"|\n  ",
    b"? ",
    b"@\n",
    b"\t",
    b"\x1b[2J",
];

/// An edit of bytes. Places are shares of the length, so that each edit fits any text.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Inverts bits.
    Flip(Index, u8),
    /// Ends the text.
    End(Index),
    /// Takes bytes out.
    Cut(Index, usize),
    /// Puts a piece in.
    Piece(Index, usize),
    /// Repeats a piece many times: nesting, lists, long words.
    Many(Index, usize, usize),
    /// Copies bytes to another place.
    Copy(Index, usize, Index),
    /// Puts bytes in.
    Bytes(Index, Vec<u8>),
}

/// One to four edits.
pub fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<Index>;
    let edit = prop_oneof![
        3 => (at(), 1..=255_u8).prop_map(|(at, bits)| Edit::Flip(at, bits)),
        1 => at().prop_map(Edit::End),
        2 => (at(), 1..200_usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        4 => (at(), 0..PIECES.len()).prop_map(|(at, piece)| Edit::Piece(at, piece)),
        1 => (at(), 0..PIECES.len(), 1..40_000_usize).prop_map(|(at, piece, n)| Edit::Many(at, piece, n)),
        2 => (at(), 1..400_usize, at()).prop_map(|(from, length, to)| Edit::Copy(from, length, to)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, b)| Edit::Bytes(at, b)),
    ];
    prop::collection::vec(edit, 1..5)
}

/// The bytes after all edits.
pub fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for edit in edits {
        let length = out.len();
        let place = |index: &Index| index.index(length + 1);
        match edit {
            Edit::Flip(at, bits) => {
                if length > 0 {
                    out[at.index(length)] ^= bits;
                }
            }
            Edit::End(at) => out.truncate(place(at)),
            Edit::Cut(at, size) => {
                let at = place(at);
                out.drain(at..length.min(at + size));
            }
            Edit::Piece(at, piece) => {
                let at = place(at);
                out.splice(at..at, PIECES[*piece].iter().copied());
            }
            Edit::Many(at, piece, n) => {
                let at = place(at);
                out.splice(at..at, PIECES[*piece].repeat(*n));
            }
            Edit::Copy(from, size, to) => {
                let (from, to) = (place(from), place(to));
                let copy = out[from..length.min(from + size)].to_vec();
                out.splice(to..to, copy);
            }
            Edit::Bytes(at, bytes) => {
                let at = place(at);
                out.splice(at..at, bytes.iter().copied());
            }
        }
    }
    out
}

/// An edit of a JSON document that leaves it one.
#[derive(Debug, Clone)]
pub enum JsonEdit {
    /// Puts a value in the place of another.
    Replace(Index, Odd),
    /// Takes a member or an element out.
    Remove(Index),
    /// Puts a copy of one value in the place of another.
    Copy(Index, Index),
    /// Adds a member or an element.
    Add(Index, Odd),
    /// Repeats the elements of an array.
    Repeat(Index, usize),
}

/// A value that is odd wherever it stands.
#[derive(Debug, Clone)]
pub enum Odd {
    Text(usize),
    Long(usize),
    Integer(u64),
    Negative(i64),
    Float(f64),
    Deep(usize),
    Bool(bool),
    Null,
    Array,
    Object,
}

fn odd() -> impl Strategy<Value = Odd> {
    let integers = prop_oneof![
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(i64::MAX as u64),
        Just(u64::from(u32::MAX)),
        0..1000_u64,
        any::<u64>()
    ];
    let negatives = prop_oneof![Just(i64::MIN), Just(-1), any::<i64>()];
    let floats = prop_oneof![
        Just(-0.0),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(0.1),
        any::<f64>().prop_filter("JSON has no other", |f| f.is_finite())
    ];
    prop_oneof![
        6 => (0..TEXTS.len()).prop_map(Odd::Text),
        1 => (1..60_000_usize).prop_map(Odd::Long),
        3 => integers.prop_map(Odd::Integer),
        1 => negatives.prop_map(Odd::Negative),
        1 => floats.prop_map(Odd::Float),
        1 => (1..120_usize).prop_map(Odd::Deep),
        1 => any::<bool>().prop_map(Odd::Bool),
        2 => Just(Odd::Null),
        1 => Just(Odd::Array),
        1 => Just(Odd::Object),
    ]
}

impl Odd {
    fn value(&self) -> Value {
        match self {
            Self::Text(at) => TEXTS[*at].into(),
            Self::Long(length) => "ä<".repeat(*length).into(),
            Self::Integer(n) => (*n).into(),
            Self::Negative(n) => (*n).into(),
            Self::Float(f) => (*f).into(),
            Self::Deep(depth) => (0..*depth).fold(Value::Null, |inner, level| {
                if level % 2 == 0 {
                    Value::Array(vec![inner])
                } else {
                    Value::Object([("a".to_owned(), inner)].into_iter().collect())
                }
            }),
            Self::Bool(b) => (*b).into(),
            Self::Null => Value::Null,
            Self::Array => Value::Array(vec![]),
            Self::Object => Value::Object(serde_json::Map::new()),
        }
    }
}

/// One to four edits of a JSON document.
pub fn json_edits() -> impl Strategy<Value = Vec<JsonEdit>> {
    let at = any::<Index>;
    let edit = prop_oneof![
        8 => (at(), odd()).prop_map(|(at, odd)| JsonEdit::Replace(at, odd)),
        3 => at().prop_map(JsonEdit::Remove),
        3 => (at(), at()).prop_map(|(from, to)| JsonEdit::Copy(from, to)),
        1 => (at(), odd()).prop_map(|(at, odd)| JsonEdit::Add(at, odd)),
        1 => (at(), 2..300_usize).prop_map(|(at, n)| JsonEdit::Repeat(at, n)),
    ];
    prop::collection::vec(edit, 1..5)
}

/// The document after all edits.
pub fn json_edited(value: &Value, edits: &[JsonEdit]) -> Value {
    let mut out = value.clone();
    for edit in edits {
        let places = places(&out);
        let place = |index: &Index| places[index.index(places.len())].as_str();
        match edit {
            JsonEdit::Replace(at, odd) => put(&mut out, place(at), odd.value()),
            JsonEdit::Remove(at) => remove(&mut out, place(at)),
            JsonEdit::Copy(from, to) => {
                let copy = out.pointer(place(from)).cloned().unwrap_or_default();
                put(&mut out, place(to), copy);
            }
            JsonEdit::Add(at, odd) => match out.pointer_mut(place(at)) {
                Some(Value::Array(items)) => items.push(odd.value()),
                Some(Value::Object(map)) => drop(map.insert("added".to_owned(), odd.value())),
                _ => {}
            },
            JsonEdit::Repeat(at, n) => {
                if let Some(Value::Array(items)) = out.pointer_mut(place(at)) {
                    let all: Vec<Value> = items.iter().take(4).cloned().collect();
                    items.extend(std::iter::repeat_n(all, *n).flatten());
                }
            }
        }
    }
    out
}

fn put(value: &mut Value, place: &str, new: Value) {
    if let Some(old) = value.pointer_mut(place) {
        *old = new;
    }
}

fn remove(value: &mut Value, place: &str) {
    let Some((parent, name)) = place.rsplit_once('/') else {
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.shift_remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            if let Ok(at) = name.parse::<usize>()
                && at < items.len()
            {
                items.remove(at);
            }
        }
        _ => {}
    }
}

/// The JSON pointers of all values in a document, the whole first.
pub fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: String, out: &mut Vec<String>) {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(map) => map
                .iter()
                .map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v))
                .collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(i, v)| (i.to_string(), v))
                .collect(),
            _ => Vec::new(),
        };
        out.push(at.clone());
        for (name, value) in below {
            walk(value, format!("{at}/{name}"), out);
        }
    }
    let mut out = Vec::new();
    walk(value, String::new(), &mut out);
    out
}
