//! The named timeouts: every wait of the suite has one of these names, and each can be set (`--timeout NAME=DURATION`).

use std::{collections::BTreeMap, time::Duration};

use crate::spec::{Unknown, parse_duration};

/// A named timeout: its name, default in seconds, and what is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// The default, in seconds.
    pub seconds: u64,
    /// What is waited for.
    pub what: &'static str,
}

/// All names. The defaults allow for a slow cluster that still has to pull the one image.
pub const ALL: &[Named] = &[
    Named {
        name: "check",
        seconds: 900,
        what: "one check, from its first request to its verdict",
    },
    Named {
        name: "request",
        seconds: 30,
        what: "the answer to one request",
    },
    Named {
        name: "retry",
        seconds: 20,
        what: "an answer other than 429, 502, 503, 504 or a broken connection",
    },
    Named {
        name: "namespace",
        seconds: 60,
        what: "the run's namespace, its service accounts and rights",
    },
    Named {
        name: "image",
        seconds: 180,
        what: "the first pod of the suite's own image",
    },
    Named {
        name: "reconcile",
        seconds: 60,
        what: "a controller to act on what was written",
    },
    Named {
        name: "gone",
        seconds: 120,
        what: "a deleted object and what it owned",
    },
    Named {
        name: "serves",
        seconds: 60,
        what: "a server in a ready pod to answer",
    },
    Named {
        name: "run-finished",
        seconds: 600,
        what: "a pipeline run to end",
    },
    Named {
        name: "run-waits",
        seconds: 900,
        what: "a pipeline run whose tasks wait for a time to come",
    },
    Named {
        name: "run-terminated",
        seconds: 180,
        what: "a terminated pipeline run to end",
    },
    Named {
        name: "run-triggered",
        seconds: 240,
        what: "a recurring run to start a run",
    },
    Named {
        name: "notebook-ready",
        seconds: 240,
        what: "a notebook to be ready",
    },
    Named {
        name: "notebook-stopped",
        seconds: 180,
        what: "a stopped notebook's pod to be gone",
    },
    Named {
        name: "notebook-culled",
        seconds: 600,
        what: "a controller to look at a notebook for idleness, a few times",
    },
    Named {
        name: "experiment-finished",
        seconds: 900,
        what: "an experiment to end",
    },
    Named {
        name: "trial-finished",
        seconds: 600,
        what: "a trial to end",
    },
    Named {
        name: "inferenceservice-ready",
        seconds: 300,
        what: "an inference service to be ready",
    },
    Named {
        name: "trainjob-finished",
        seconds: 600,
        what: "a training job to end",
    },
    Named {
        name: "cleanup",
        seconds: 180,
        what: "what the run made to be gone after it",
    },
];

/// What is never made shorter: a whole check, and what waits for a time to come.
const WAITS_FOR_TIME: [&str; 4] = ["check", "run-triggered", "run-waits", "notebook-culled"];

/// The timeouts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeouts(BTreeMap<String, Duration>);

impl Timeouts {
    /// Sets one by name. The error says what is wrong with the name or the duration (`90s`, `5m`, `1h`, `250ms`).
    pub fn set(&mut self, name: &str, duration: &str) -> Result<(), String> {
        if !ALL.iter().any(|t| t.name == name) {
            let unknown = Unknown::new("timeout", name, ALL.iter().map(|t| t.name));
            return Err(unknown.to_string());
        }
        let duration =
            parse_duration(duration).map_err(|why| format!("timeout `{name}`: {why}"))?;
        self.0.insert(name.to_owned(), duration);
        Ok(())
    }

    /// Those of a record: name and milliseconds.
    pub fn of(record: &BTreeMap<String, u64>) -> Self {
        Self(
            record
                .iter()
                .map(|(name, ms)| (name.clone(), Duration::from_millis(*ms)))
                .collect(),
        )
    }

    /// The value of a named timeout.
    pub fn get(&self, name: &str) -> Duration {
        self.0.get(name).copied().unwrap_or_else(|| {
            let named = ALL.iter().find(|t| t.name == name);
            debug_assert!(named.is_some(), "no timeout is named {name}");
            Duration::from_secs(named.map_or(60, |t| t.seconds))
        })
    }

    /// The same, but none longer than `longest`; that of a whole check stays, and of what waits for a time to come.
    #[must_use]
    pub fn at_most(&self, longest: Duration) -> Self {
        let mut capped = self.clone();
        let patience = ALL
            .iter()
            .filter(|named| !WAITS_FOR_TIME.contains(&named.name));
        for named in patience {
            let value = self.get(named.name);
            if value > longest {
                capped.0.insert(named.name.to_owned(), longest);
            }
        }
        capped
    }

    /// By how much the waits were made longer than they are by default: what bounds several of them grows by as much.
    pub fn extra(&self) -> Duration {
        let default = Self::default();
        self.0
            .iter()
            .map(|(name, duration)| duration.saturating_sub(default.get(name)))
            .sum()
    }

    /// Those that were set, for the record: name and milliseconds.
    pub fn changed(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.0
            .iter()
            .map(|(name, duration)| (name.as_str(), *duration))
    }
}

/// A duration as people write it: `90s`, `5m`, `1.5s`.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if duration.subsec_millis() != 0 {
        format!("{seconds:.1}s")
    } else if duration.as_secs() >= 60 && duration.as_secs().is_multiple_of(60) {
        format!("{}m", duration.as_secs() / 60)
    } else {
        format!("{}s", duration.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown() {
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::from_secs(300)), "5m");
    }

    #[test]
    fn a_cap_shortens_what_is_longer() {
        let mut timeouts = Timeouts::default();
        timeouts.set("gone", "5s").unwrap();
        let capped = timeouts.at_most(Duration::from_secs(25));
        let names = ["gone", "retry", "reconcile", "check", "run-triggered"];
        let seconds = names.map(|n| capped.get(n).as_secs());
        assert_eq!(seconds, [5, 20, 25, 900, 240]);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let mut timeouts = Timeouts::default();
        assert_eq!(
            timeouts.set("experiment-finishd", "5m").unwrap_err(),
            "unknown timeout `experiment-finishd`; did you mean `experiment-finished`?"
        );
        let refused = timeouts.set("gone", "5 minutes").unwrap_err();
        assert!(
            refused.starts_with("timeout `gone`: `5 minutes` is no duration"),
            "{refused}"
        );
        timeouts.set("gone", "5m").unwrap();
        assert_eq!(timeouts.get("gone"), Duration::from_secs(300));
    }
}
