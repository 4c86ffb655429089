//! What one check holds: sends, records, and knows the time; or replays what was recorded.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    Door,
    config::{Access, IdentityHeader},
    exchange::{Answer, Asked, Ended, Evidence, Exchange, MAX_WEIGHT, Reply, Request, weight},
};

/// The most exchanges that a replay in any order compares with what was redacted in them.
const MAX_LOOKS: usize = 100_000;

/// Why a request has no answer. Recorded, so that a replay stops for the same reason.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TransportError {
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// The node, or the address, of a pod was reached, and nothing takes connections on that port of it.
    #[error("{0}")]
    Refused(String),
    /// The answer took longer than the request's timeout.
    #[error("no answer within {0} s")]
    Timeout(u64),
    /// The answer is larger than what is recorded.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The list has more pages than are read.
    #[error("the list has more than {0} pages")]
    TooManyPages(usize),
    /// A credential for the request could not be had.
    #[error("{0}")]
    Credential(String),
    /// The time of the check was up before the request; nothing was sent.
    #[error("the check's time was up")]
    Deadline,
    /// The recording does not hold this request.
    #[error("the evidence does not hold {0}")]
    NotRecorded(String),
}

/// One check's hold on the cluster. Requests go one after the other; several at once only by [`Session::batch`].
#[derive(Debug)]
pub struct Session {
    id: String,
    attempt: u32,
    started: u64,
    deadline: u64,
    mode: Mode,
    state: std::sync::Mutex<State>,
}

#[derive(Debug)]
enum Mode {
    Live(Arc<Door>),
    Replay(Vec<Exchange>),
    ReplayInAnyOrder(Vec<Exchange>),
}

#[derive(Debug, Default)]
struct State {
    /// The time that the check sees: the end of its last exchange.
    now: u64,
    /// Live: what was recorded. Replay: empty.
    recorded: Vec<Exchange>,
    /// Live: how much that weighs, in bytes.
    weight: usize,
    /// Replay: how many exchanges were taken.
    position: usize,
    /// Replay in any order: which exchanges were taken.
    taken: std::collections::BTreeSet<usize>,
    /// Replay in any order: how many exchanges were compared, for want of an equal one.
    looks: usize,
    /// Replay: whether a stream was followed further, or less far, than it was recorded.
    strayed: bool,
}

impl Session {
    /// A session on the live cluster; its time is up `limit` from now.
    pub fn live(door: Arc<Door>, id: impl Into<String>, attempt: u32, limit: Duration) -> Self {
        let started = door.now_ms();
        Self {
            id: id.into(),
            attempt,
            started,
            deadline: started.saturating_add(millis(limit)),
            mode: Mode::Live(door),
            state: std::sync::Mutex::new(State {
                now: started,
                ..State::default()
            }),
        }
    }

    /// A session on what was recorded.
    pub fn replay(evidence: &Evidence) -> Self {
        Self {
            id: evidence.id.clone(),
            attempt: evidence.attempt,
            started: evidence.started,
            deadline: evidence.deadline,
            mode: Mode::Replay(evidence.exchanges.clone()),
            state: std::sync::Mutex::new(State {
                now: evidence.started,
                ..State::default()
            }),
        }
    }

    /// The same for code that sends several requests at once of its own: each finds its first answer that is left.
    #[must_use]
    pub fn in_any_order(mut self) -> Self {
        if let Mode::Replay(tape) = self.mode {
            self.mode = Mode::ReplayInAnyOrder(tape);
        }
        self
    }

    /// The id of the check or set-up.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time that the check sees: the end of its last exchange, in milliseconds since the run's start.
    pub fn now_ms(&self) -> u64 {
        self.state().now
    }

    /// When the session began, in milliseconds since the run's start.
    pub fn started_ms(&self) -> u64 {
        self.started
    }

    /// When the session's time is up, in milliseconds since the run's start.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline
    }

    /// Replay only: the number of recorded exchanges that were not asked for again, a stream that was not followed as
    /// it was recorded among them.
    pub fn unused(&self) -> usize {
        match &self.mode {
            Mode::Live(_) => 0,
            Mode::Replay(tape) | Mode::ReplayInAnyOrder(tape) => {
                let state = self.state();
                tape.len().saturating_sub(state.position) + usize::from(state.strayed)
            }
        }
    }

    /// Ends the session and gives its evidence. `uses` names the evidence of the set-ups that it built on.
    pub fn evidence(&self, run: &str, uses: Vec<(String, u32)>) -> Evidence {
        Evidence {
            api_version: crate::API_VERSION.to_owned(),
            kind: "Evidence".to_owned(),
            run: run.to_owned(),
            id: self.id.clone(),
            attempt: self.attempt,
            started: self.started,
            deadline: self.deadline,
            uses,
            exchanges: std::mem::take(&mut self.state().recorded),
            collected: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// Tells where a component's own API is. A replay goes nowhere.
    pub(super) fn set_component(&self, name: &str, access: &Access) {
        if let Mode::Live(door) = &self.mode {
            door.set_component(name, access.clone());
        }
    }

    /// Tells in which header who asks is told.
    pub(super) fn set_identity(&self, header: &IdentityHeader) {
        if let Mode::Live(door) = &self.mode {
            door.set_identity(header.clone());
        }
    }

    /// What was refused so far for want of a right, in the cluster's words, each once.
    pub(super) fn refusals(&self) -> Vec<String> {
        let mut refusals = Vec::new();
        for exchange in &self.state().recorded {
            if let Reply::Answer(answer) = &exchange.reply
                && answer.status == 403
            {
                let said = answer.summary();
                if !refusals.contains(&said) {
                    refusals.push(said);
                }
            }
        }
        refusals
    }

    /// Sends a request and waits for the whole answer.
    pub async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        let mut answers = self.batch(vec![request]).await;
        answers.pop().unwrap_or(Err(TransportError::Deadline))
    }

    /// Sends several requests at once; the answers come in the requests' order, and are recorded in it.
    pub async fn batch(&self, requests: Vec<Request>) -> Vec<Result<Answer, TransportError>> {
        if self.now_ms() >= self.deadline {
            return requests
                .iter()
                .map(|_| Err(TransportError::Deadline))
                .collect();
        }
        match &self.mode {
            Mode::Live(door) => {
                let exchanges =
                    futures::future::join_all(requests.into_iter().map(|request| async {
                        let at = door.now_ms();
                        let asked = request.asked.clone();
                        let reply = match door.send(request, &self.id).await {
                            Ok(answer) => Reply::Answer(answer),
                            Err(error) => Reply::Error(error),
                        };
                        Exchange {
                            at,
                            end: door.now_ms(),
                            asked: door.redact_asked(asked),
                            reply,
                        }
                    }))
                    .await;
                let mut state = self.state();
                exchanges
                    .into_iter()
                    .map(|exchange| answer_of(&state.record(exchange).reply))
                    .collect()
            }
            Mode::Replay(tape) | Mode::ReplayInAnyOrder(tape) => requests
                .iter()
                .map(|request| self.recorded(tape, &request.asked))
                .collect(),
        }
    }

    /// Opens a stream of JSON lines (a watch). It ends at `until` (milliseconds since the run's start) or with the session.
    pub async fn watch(&self, request: Request, until: u64) -> Result<Watch<'_>, TransportError> {
        if self.now_ms() >= self.deadline {
            return Err(TransportError::Deadline);
        }
        let until = until.min(self.deadline);
        match &self.mode {
            Mode::Live(door) => {
                let at = door.now_ms();
                let asked = request.asked.clone();
                match door.stream(request, &self.id).await {
                    Ok(lines) => {
                        let asked = door.redact_asked(asked);
                        let live = Open {
                            door: Arc::clone(door),
                            lines,
                            at,
                            asked,
                            taken: Vec::new(),
                            ended: Ended::Taken,
                        };
                        Ok(Watch {
                            session: self,
                            until,
                            source: Source::Live(Box::new(live)),
                        })
                    }
                    Err((error, answer)) => {
                        let end = door.now_ms();
                        let reply =
                            answer.map_or_else(|| Reply::Error(error.clone()), Reply::Answer);
                        let asked = door.redact_asked(asked);
                        self.state().record(Exchange {
                            at,
                            end,
                            asked,
                            reply,
                        });
                        Err(error)
                    }
                }
            }
            Mode::Replay(tape) | Mode::ReplayInAnyOrder(tape) => {
                let exchange = self.next_recorded(tape, &request.asked)?;
                match exchange.reply {
                    Reply::Lines { lines, ended } => Ok(Watch {
                        session: self,
                        until,
                        source: Source::Replay {
                            lines: lines.into_iter(),
                            ended,
                            end: exchange.end,
                        },
                    }),
                    Reply::Error(error) => {
                        self.advance(exchange.end);
                        Err(error)
                    }
                    Reply::Answer(answer) => {
                        self.advance(exchange.end);
                        Err(answer.no_stream())
                    }
                }
            }
        }
    }

    /// Lets time pass before the next request. A replay does not wait.
    pub async fn pause(&self, duration: Duration) {
        if let Mode::Live(door) = &self.mode {
            let left = self.deadline.saturating_sub(door.now_ms());
            door.clock()
                .sleep(duration.min(Duration::from_millis(left)))
                .await;
        }
    }

    fn recorded(&self, tape: &[Exchange], asked: &Asked) -> Result<Answer, TransportError> {
        let exchange = self.next_recorded(tape, asked)?;
        self.advance(exchange.end);
        answer_of(&exchange.reply)
    }

    fn next_recorded(&self, tape: &[Exchange], asked: &Asked) -> Result<Exchange, TransportError> {
        let mut state = self.state();
        if let Mode::ReplayInAnyOrder(_) = self.mode
            && !state.strayed
        {
            let mut looks = state.looks;
            let found = {
                let left = || (0..tape.len()).filter(|at| !state.taken.contains(at));
                let equal = left().find(|at| tape[*at].asked == *asked);
                equal.or_else(|| {
                    let mut alike = left().take_while(|_| {
                        looks += 1;
                        looks <= MAX_LOOKS
                    });
                    alike.find(|at| super::redact::same(&tape[*at].asked, asked))
                })
            };
            state.looks = looks;
            let Some(at) = found else {
                // It cannot be followed any more, so the rest is not looked for.
                state.strayed = true;
                return Err(TransportError::NotRecorded(asked.line()));
            };
            state.taken.insert(at);
            state.position += 1;
            return Ok(tape[at].clone());
        }
        match tape.get(state.position) {
            Some(exchange) if !state.strayed && super::redact::same(&exchange.asked, asked) => {
                state.position += 1;
                Ok(exchange.clone())
            }
            _ => Err(TransportError::NotRecorded(asked.line())),
        }
    }

    fn advance(&self, to: u64) {
        let mut state = self.state();
        state.now = state.now.max(to);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// Records an exchange. One that is more than evidence may hold is recorded as that.
    fn record(&mut self, mut exchange: Exchange) -> &Exchange {
        if !self.has_room_for(&exchange.reply) {
            exchange.reply = Reply::Error(TransportError::TooLarge(MAX_WEIGHT));
        }
        self.now = self.now.max(exchange.end);
        let at = self.recorded.len();
        self.recorded.push(exchange);
        &self.recorded[at]
    }

    /// Whether a part of the evidence fits; it is counted if it does.
    fn has_room_for(&mut self, part: &impl Serialize) -> bool {
        let more = serde_json::to_vec(part).map_or(0, |json| weight(&json));
        // After what does not fit nothing does: a check that missed something knows no more.
        self.weight = self.weight.saturating_add(more);
        self.weight <= MAX_WEIGHT
    }
}

fn answer_of(reply: &Reply) -> Result<Answer, TransportError> {
    match reply {
        Reply::Answer(answer) => Ok(answer.clone()),
        Reply::Error(error) => Err(error.clone()),
        Reply::Lines { .. } => Err(TransportError::NotRecorded(
            "an answer, but a stream".to_owned(),
        )),
    }
}

/// Whole milliseconds of a duration.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An open stream of JSON lines. What was taken of it is recorded when it is dropped or ends.
#[derive(Debug)]
pub struct Watch<'a> {
    session: &'a Session,
    until: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Live(Box<Open>),
    Replay {
        lines: std::vec::IntoIter<(u64, Value)>,
        ended: Ended,
        end: u64,
    },
    Done,
}

#[derive(Debug)]
struct Open {
    door: Arc<Door>,
    lines: mpsc::Receiver<Value>,
    at: u64,
    asked: Asked,
    taken: Vec<(u64, Value)>,
    ended: Ended,
}

impl Watch<'_> {
    /// The next line; none when the stream is closed or its time is up.
    pub async fn next(&mut self) -> Option<Value> {
        match &mut self.source {
            Source::Live(open) => {
                let left = Duration::from_millis(self.until.saturating_sub(open.door.now_ms()));
                let wall = open.door.clock().to_wall(left);
                match tokio::time::timeout(wall, open.lines.recv()).await {
                    Ok(Some(line)) if self.session.state().has_room_for(&line) => {
                        let at = open.door.now_ms();
                        self.session.advance(at);
                        open.taken.push((at, line.clone()));
                        return Some(line);
                    }
                    // What does not fit is as if the server had closed; the next request says why.
                    Ok(_) => open.ended = Ended::Closed,
                    Err(_) => open.ended = Ended::Deadline,
                }
                self.finish();
                None
            }
            Source::Replay { lines, ended, end } => {
                if let Some((at, line)) = lines.next() {
                    self.session.advance(at);
                    return Some(line);
                }
                let (ended, end) = (*ended, *end);
                self.source = Source::Done;
                // A check that wants more than was taken then does something else than it did.
                if ended == Ended::Taken {
                    self.session.state().strayed = true;
                } else {
                    self.session.advance(end);
                }
                None
            }
            Source::Done => None,
        }
    }

    fn finish(&mut self) {
        if let Source::Live(open) = std::mem::replace(&mut self.source, Source::Done) {
            let Open {
                door,
                at,
                asked,
                taken,
                ended,
                ..
            } = *open;
            // A stream that was left early ends, for the check, with the last line that it saw.
            let end = match ended {
                Ended::Taken => taken.last().map_or(at, |(at, _)| *at),
                // The deadline is what the check waited for, however late the wake-up came.
                Ended::Closed | Ended::Deadline => door.now_ms(),
            };
            let mut state = self.session.state();
            state.now = state.now.max(end);
            state.recorded.push(Exchange {
                at,
                end,
                asked,
                reply: Reply::Lines {
                    lines: taken,
                    ended,
                },
            });
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Source::Replay { lines, ended, .. } = &self.source
            && (lines.len() > 0 || *ended != Ended::Taken)
        {
            // So does one that has seen enough before it had.
            self.session.state().strayed = true;
        }
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::exchange::{Body, Endpoint};
    use serde_json::json;

    fn evidence(exchanges: Vec<Exchange>) -> Evidence {
        Evidence {
            api_version: crate::API_VERSION.into(),
            kind: "Evidence".into(),
            run: "r".into(),
            id: "katib/a/b".into(),
            attempt: 1,
            started: 10,
            deadline: 1000,
            uses: vec![],
            exchanges,
            collected: vec![],
            removed: Vec::new(),
        }
    }

    fn get(path: &str) -> Request {
        Request::new(Endpoint::Kubernetes, "GET", path)
    }

    fn answered(path: &str, at: u64, body: Value) -> Exchange {
        let answer = Answer {
            status: 200,
            headers: std::collections::BTreeMap::new(),
            body: Body::Json(body),
        };
        Exchange {
            at,
            end: at + 5,
            asked: get(path).asked,
            reply: Reply::Answer(answer),
        }
    }

    #[tokio::test]
    async fn a_replay_answers_in_order_and_moves_the_time() {
        let session = Session::replay(&evidence(vec![
            answered("/a", 20, json!(1)),
            answered("/b", 30, json!(2)),
        ]));
        assert_eq!(session.now_ms(), 10);
        assert_eq!(session.send(get("/a")).await.unwrap().json(), &json!(1));
        assert_eq!(session.now_ms(), 25);
        assert_eq!(session.unused(), 1);
        assert_eq!(
            session.send(get("/c")).await,
            Err(TransportError::NotRecorded("GET kubernetes /c".into()))
        );
        assert_eq!(session.send(get("/b")).await.unwrap().json(), &json!(2));
    }

    #[tokio::test]
    async fn a_replayed_watch_ends_as_the_recorded_one() {
        let reply = Reply::Lines {
            lines: vec![(40, json!("x"))],
            ended: Ended::Deadline,
        };
        let session = Session::replay(&evidence(vec![Exchange {
            at: 20,
            end: 90,
            asked: get("/w").asked,
            reply,
        }]));
        let mut watch = session.watch(get("/w"), 90).await.unwrap();
        assert_eq!(watch.next().await, Some(json!("x")));
        assert_eq!(session.now_ms(), 40);
        assert_eq!(watch.next().await, None);
        assert_eq!(session.now_ms(), 90);
    }

    #[test]
    fn what_is_more_than_evidence_holds_is_recorded_as_that() {
        let mut state = State::default();
        let lists = json!(vec![json!([]); 100_000]);
        let mut record = || state.record(answered("/a", 1, lists.clone())).reply.clone();
        assert!(matches!(record(), Reply::Answer(_)));
        let too_large = Reply::Error(TransportError::TooLarge(MAX_WEIGHT));
        assert!((0..10).map(|_| record()).any(|reply| reply == too_large));
        // A check that missed something knows no more.
        assert!(!state.has_room_for(&json!(1)));
    }

    #[tokio::test]
    async fn nothing_is_sent_after_the_deadline() {
        let session = Session::replay(&evidence(vec![
            answered("/a", 995, json!(1)),
            answered("/b", 1100, json!(1)),
        ]));
        session.send(get("/a")).await.unwrap();
        assert_eq!(session.send(get("/b")).await, Err(TransportError::Deadline));
    }
}
