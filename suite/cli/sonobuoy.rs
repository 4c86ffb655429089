//! Tells Sonobuoy how a run goes: a plugin posts updates to the sidecar beside it.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::{engine::Event, report::model::Outcome};

/// The most failures that an update names.
const MOST: usize = 100;
/// How long one update may take; the run does not wait for it.
const LIMIT: Duration = Duration::from_secs(5);
/// The least time between two updates.
const PACE: Duration = Duration::from_millis(500);

/// An update as Sonobuoy takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Update {
    msg: String,
    total: usize,
    completed: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

impl Update {
    /// Takes an event in; whether it changes anything.
    fn hear(&mut self, event: &Event) -> bool {
        match event {
            Event::Planned { total, kept } => {
                (self.total, self.completed) = (*total, *kept);
                "checking".clone_into(&mut self.msg);
            }
            Event::CheckFinished(check) => {
                self.completed += 1;
                let list = match check.outcome {
                    Outcome::Failed => &mut self.failures,
                    Outcome::CouldNotRun => &mut self.errors,
                    Outcome::Passed | Outcome::NotApplicable => return true,
                };
                if list.len() < MOST {
                    list.push(check.id.clone());
                }
            }
            Event::Interrupted => "interrupted".clone_into(&mut self.msg),
            Event::CleaningUp => "removing what the run made".clone_into(&mut self.msg),
            Event::Finished(results) => self.msg = format!("the verdict: {}", results.verdict),
            _ => return false,
        }
        true
    }
}

/// Passes events on, and posts updates of them to `url`. An update that does not arrive is of no consequence.
pub(super) fn told(
    url: String,
    mut from: mpsc::UnboundedReceiver<Event>,
) -> mpsc::UnboundedReceiver<Event> {
    let (to, events) = mpsc::unbounded_channel();
    let (newest, mut changes) = watch::channel(Update::default());
    tokio::spawn(async move {
        while let Some(event) = from.recv().await {
            newest.send_if_modified(|update| update.hear(&event));
            drop(to.send(event));
        }
        // The last update goes out before what shows events is over, unless it takes too long.
        drop(tokio::time::timeout(LIMIT, newest.closed()).await);
    });
    tokio::spawn(async move {
        let Ok(http) = reqwest::Client::builder().no_proxy().timeout(LIMIT).build() else {
            return;
        };
        while changes.changed().await.is_ok() {
            let update = changes.borrow_and_update().clone();
            let last = update.msg.starts_with("the verdict");
            if let Err(error) = http.post(&url).json(&update).send().await {
                tracing::debug!(%error, "no update");
            }
            if last {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    });
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn an_update_counts_and_names_what_went_wrong() {
        let mut update = Update::default();
        assert!(update.hear(&Event::Planned { total: 3, kept: 0 }));
        let mut check = sample::check("katib/a/b");
        check.outcome = Outcome::Failed;
        assert!(update.hear(&Event::CheckFinished(Box::new(check.clone()))));
        check.outcome = Outcome::CouldNotRun;
        check.id = "katib/a/c".to_owned();
        assert!(update.hear(&Event::CheckFinished(Box::new(check))));
        assert!(!update.hear(&Event::CheckStarted("katib/a/d".into())));
        let json = serde_json::to_value(&update).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "msg": "checking", "total": 3, "completed": 2, "failures": ["katib/a/b"], "errors": ["katib/a/c"],
            })
        );
    }
}
