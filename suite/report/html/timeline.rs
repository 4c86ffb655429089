//! The exchanges of a check as a time line: what was asked when, and what came back.

use std::cell::Cell;

use maud::{Markup, html};

use super::Exchanges;
use crate::cluster::exchange::{Body, Ended, Exchange, Identity, Reply};
use crate::cluster::{Endpoint, Evidence};
use crate::outcome::shorten;
use crate::report::text::{one_line, printable};

/// The most rows of one time line; where there are more, the middle is left out.
const MAX_ROWS: usize = 30;
/// How many of them are of the beginning. The end says how it came out.
const FIRST_ROWS: usize = 10;
/// The longest path, in characters.
const MAX_PATH: usize = 240;
/// The longest body, in characters.
const MAX_BODY: usize = 1500;
/// What all time lines of a page may come to, in bytes of its text. A run of 600 checks comes to a quarter.
const MAX_BYTES: usize = 3 << 20;

/// The time lines of a page.
pub struct TimeLines<'a> {
    exchanges: &'a Exchanges,
    left: Cell<usize>,
}

/// One request, or the same one again and again with the same answer, as a check polls.
struct Row<'a> {
    first: &'a Exchange,
    last: &'a Exchange,
    times: usize,
}

impl<'a> TimeLines<'a> {
    pub fn new(exchanges: &'a Exchanges) -> Self {
        Self {
            exchanges,
            left: Cell::new(MAX_BYTES),
        }
    }

    /// What a piece of evidence builds on.
    pub fn uses(&self, path: &str) -> &'a [(String, u32)] {
        self.exchanges.get(path).map_or(&[], |e| &e.uses)
    }

    /// The time line of a piece of evidence, with `bodies` or without; nothing where it is not at hand or has no exchange.
    pub fn of(&self, path: &str, bodies: bool) -> Option<Markup> {
        let evidence = self.exchanges.get(path)?;
        let rows = rows(evidence);
        if rows.is_empty() {
            return None;
        }
        if self.left.get() == 0 {
            return Some(html! { p.faint { "The page is full; the evidence has the exchanges." } });
        }
        let line = line(evidence, &rows, bodies);
        self.left.set(self.left.get().saturating_sub(line.0.len()));
        Some(line)
    }
}

/// The exchanges, those that only ask again put together.
fn rows(evidence: &Evidence) -> Vec<Row<'_>> {
    let mut rows: Vec<Row> = Vec::new();
    for exchange in &evidence.exchanges {
        match rows.last_mut() {
            Some(row)
                if row.last.asked == exchange.asked && same(&row.last.reply, &exchange.reply) =>
            {
                row.last = exchange;
                row.times += 1;
            }
            _ => rows.push(Row {
                first: exchange,
                last: exchange,
                times: 1,
            }),
        }
    }
    rows
}

/// Whether two answers look the same in a row.
fn same(one: &Reply, other: &Reply) -> bool {
    match (one, other) {
        (Reply::Answer(one), Reply::Answer(other)) => one.status == other.status,
        (Reply::Error(one), Reply::Error(other)) => one == other,
        _ => false,
    }
}

fn line(evidence: &Evidence, rows: &[Row], bodies: bool) -> Markup {
    let left_out = rows.len().saturating_sub(MAX_ROWS);
    html! {
        ol.line {
            @for (at, row) in rows.iter().enumerate() {
                @if left_out == 0 || at < FIRST_ROWS || at >= FIRST_ROWS + left_out {
                    (self::row(row, evidence.started, bodies))
                } @else if at == FIRST_ROWS {
                    li.faint { "… " (left_out) " more, in the evidence …" }
                }
            }
        }
    }
}

fn row(row: &Row, started: u64, bodies: bool) -> Markup {
    let Row { first, last, times } = row;
    let asked = &first.asked;
    let seconds = |ms: u64| {
        let ms = ms.saturating_sub(started);
        format!("{}.{:03}", ms / 1000, ms % 1000)
    };
    let (answer, fine) = answer(&last.reply);
    html! {
        li {
            time { (seconds(first.at)) }
            " " b { (one_line(&shorten(&asked.method, 20))) } " "
            @if asked.to != Endpoint::Kubernetes { span.to { (one_line(&shorten(&asked.to.to_string(), 80))) } " " }
            code { (one_line(&shorten(&asked.path, MAX_PATH))) }
            @if let Some(who) = identity(&asked.identity) { " " span.faint { "as " (one_line(&shorten(&who, 120))) } }
            " " span.answer.other[!fine] { (one_line(&answer)) }
            @if *times > 1 { " " span.faint { "× " (times) ", to " (seconds(last.end)) } }
            @if bodies { (body("sent", &asked.body)) (replied(&last.reply)) }
        }
    }
}

/// What came back in a word or two, and whether it is an answer of success.
fn answer(reply: &Reply) -> (String, bool) {
    match reply {
        Reply::Answer(answer) => (answer.status.to_string(), answer.is_success()),
        Reply::Lines { lines, ended } => {
            let ended = match ended {
                Ended::Taken => "until it was there",
                Ended::Closed => "until it was closed",
                Ended::Deadline => "until the time was up",
            };
            (format!("{} events, {ended}", lines.len()), true)
        }
        Reply::Error(error) => (
            format!("no answer: {}", shorten(&error.to_string(), 200)),
            false,
        ),
    }
}

fn identity(identity: &Identity) -> Option<String> {
    match identity {
        Identity::Suite => None,
        Identity::Nobody => Some("nobody".to_owned()),
        Identity::ServiceAccount {
            namespace, name, ..
        } => Some(format!("{namespace}/{name}")),
        Identity::User { name } => Some(name.as_str().to_owned()),
    }
}

fn body(what: &str, body: &Body) -> Markup {
    let text = match body {
        Body::Empty => return Markup::default(),
        Body::Json(value) => value.to_string(),
        Body::Text(text) => text.clone(),
        Body::Base64(text) => format!("{} bytes that are not text", text.len() / 4 * 3),
    };
    html! { pre { span.faint { (what) ": " } (printable(&shorten(&text, MAX_BODY))) } }
}

/// What an answer that is not one of success says, and the last thing that a stream said.
fn replied(reply: &Reply) -> Markup {
    match reply {
        Reply::Answer(answer) => body("answered", &answer.body),
        Reply::Lines { lines, .. } => lines.last().map_or_else(Markup::default, |(_, line)| {
            html! { pre { span.faint { "last: " } (printable(&shorten(&line.to_string(), MAX_BODY))) } }
        }),
        Reply::Error(_) => Markup::default(),
    }
}
