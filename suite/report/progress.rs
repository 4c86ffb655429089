//! The one line on a terminal that changes while a run goes on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::model::{Outcome, Totals};
use super::text::one_line;

/// A live line on standard error: how far the run is, what came of it, and what is going on.
#[derive(Debug)]
pub struct ProgressLine {
    bar: ProgressBar,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    totals: Totals,
    running: Vec<String>,
    waiting: Option<String>,
}

impl ProgressLine {
    /// A line for a run of `total` checks.
    pub fn new(total: usize) -> Self {
        let line = Self::on(ProgressDrawTarget::stderr(), total);
        line.bar.enable_steady_tick(Duration::from_millis(100));
        line
    }

    fn on(target: ProgressDrawTarget, total: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        // A template that does not parse leaves indicatif's own.
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {elapsed} {pos}/{len} {wide_msg}")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            state: Mutex::default(),
        }
    }

    /// What is running now: checks and set-ups.
    pub fn running(&self, ids: &[impl AsRef<str>]) {
        self.change(|state| {
            state.running = ids
                .iter()
                .map(|id| one_line(id.as_ref()).into_owned())
                .collect();
        });
    }

    /// A check ended.
    pub fn finished(&self, id: &str, outcome: Outcome) {
        self.change(|state| {
            state.totals.count(outcome);
            state.running.retain(|running| running != id);
        });
        self.bar.inc(1);
    }

    /// Counts checks whose result was kept from an earlier run.
    pub fn kept(&self, count: usize) {
        self.bar.inc(count as u64);
    }

    /// What everything waits for; it stands in the place of what runs.
    pub fn waiting(&self, what: &str) {
        self.change(|state| state.waiting = Some(one_line(what).into_owned()));
    }

    /// Writes a text above the line.
    pub fn println(&self, text: &str) {
        self.bar.println(text);
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        self.bar.set_message(state.message());
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

impl State {
    fn message(&self) -> String {
        let mut parts = Vec::new();
        for outcome in Outcome::ALL {
            match (outcome, self.totals.of(outcome)) {
                (Outcome::Passed | Outcome::Failed, n) => parts.push(format!("{n} {outcome}")),
                (Outcome::NotApplicable | Outcome::CouldNotRun, 0) => {}
                (Outcome::NotApplicable | Outcome::CouldNotRun, n) => {
                    parts.push(format!("{n} {outcome}"));
                }
            }
        }
        // The longest running one says most about what the run is waiting for.
        match (&self.waiting, &self.running[..]) {
            (Some(what), _) => parts.push(what.clone()),
            (None, []) => {}
            (None, [only]) => parts.push(only.clone()),
            (None, [oldest, others @ ..]) => {
                parts.push(format!("{oldest} and {} more", others.len()));
            }
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_what_for() {
        let line = ProgressLine::on(ProgressDrawTarget::hidden(), 10);
        line.running(&["a", "b", "c"]);
        assert_eq!(line.bar.message(), "0 passed, 0 failed, a and 2 more");
        line.finished("a", Outcome::Passed);
        line.finished("b", Outcome::CouldNotRun);
        assert_eq!(line.bar.message(), "1 passed, 0 failed, 1 could-not-run, c");
        assert_eq!(line.bar.position(), 2);
        line.kept(3);
        assert_eq!(line.bar.position(), 5);
        line.waiting("removing\u{7}");
        assert_eq!(
            line.bar.message(),
            "1 passed, 0 failed, 1 could-not-run, removing\\u{7}"
        );
        line.clear();
        assert!(line.bar.is_finished());
    }
}
