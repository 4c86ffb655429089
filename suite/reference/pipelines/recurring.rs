//! Recurring runs: what the API keeps of them, and what starts their runs.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    Server,
    api::{Answer, Call, asked, text},
    list::{self, Row},
    message,
    model::{RecurringRun, Run},
    refusal::{Refusal, code},
    schedule,
};

/// How many seconds pass at the most before it is looked again whether something is due.
const LOOK: u64 = 10;

impl Server {
    pub(super) fn create_recurring_run(self: &Arc<Self>, call: &Call) -> Answer {
        let asked = message::decode(&call.body, message::RECURRING_RUN)?;
        let text = |key: &str| text(&asked, key);
        let converting = |refusal: Refusal| {
            refusal.within("Failed to create a recurring run due to conversion error")
        };
        let mut name = text("display_name");
        if name.is_empty() && self.broken("recurring-run/requires-name") {
            "unnamed".clone_into(&mut name);
        }
        if name.is_empty() {
            return Err(converting(
                Refusal::invalid("Recurring run's name cannot be empty").internal(
                    "Failed to convert a API recurring run to its internal representation",
                ),
            ));
        }
        let concurrency = asked
            .get("max_concurrency")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if !(1..=10).contains(&concurrency) && !self.broken("recurring-run/refuses-bad-concurrency")
        {
            return Err(converting(Refusal::invalid(format!(
                "Max concurrency of a recurring run must be at least 1 and at most 10. Received {concurrency}"
            ))));
        }
        let trigger = asked.get("trigger").cloned().unwrap_or_else(|| json!({}));
        let trigger = match checked_trigger(trigger.clone()) {
            Err(_) if self.broken("recurring-run/refuses-bad-trigger") => trigger,
            result => result.map_err(converting)?,
        };
        let experiment = self
            .experiment_of(&text("experiment_id"))
            .map_err(|refusal| refusal.within("Failed to create a recurring run"))?;
        let found = match self.source(&asked) {
            Err(_) if self.broken("recurring-run/refuses-unknown-pipeline") => {
                Ok((Map::new(), Value::Null))
            }
            found => found,
        };
        let (source, spec) = found.map_err(|_| {
            let said = "Internal error: Cannot create a job with an empty pipeline ID";
            Refusal {
                said: Some(said.to_owned()),
                said_as: Some(code::UNKNOWN),
                ..Refusal::gateway(code::INTERNAL, said)
            }
        })?;
        let namespace = self.namespace_of_experiment(&experiment);
        let now = self.now();
        let recurring = RecurringRun {
            id: self.uid(),
            experiment,
            name,
            description: text("description"),
            // The one kind of object that names it in single-user mode.
            namespace,
            created: now,
            updated: now,
            enabled: text("mode") == "ENABLE",
            no_catchup: asked.get("no_catchup") == Some(&json!(true)),
            max_concurrency: concurrency,
            trigger,
            source,
            runtime_config: asked.get("runtime_config").cloned().unwrap_or_default(),
            service_account: self.account(text("service_account")),
            was_disabled: false,
        };
        let (answer, id) = (recurring.json(), recurring.id.clone());
        self.with(|db| db.recurring_runs.insert(id.clone(), recurring));
        self.world().spawn(self.clone().recur(id, spec));
        Ok(answer)
    }

    /// Starts the runs of a recurring run as they become due, until it is deleted.
    async fn recur(self: Arc<Self>, id: String, spec: Value) {
        let mut last = None;
        let mut index = 1_u64;
        loop {
            let now = self.now();
            let recurring = self.with(|db| {
                let recurring = db.recurring_runs.get(&id).cloned();
                let runs = db.runs.values().filter(|run| run.recurring == id);
                let running = runs.filter(|run| !run.is_final()).count();
                recurring.map(|recurring| (recurring, i64::try_from(running).unwrap_or(i64::MAX)))
            });
            // One that was deleted goes on only where it must not.
            let Some((recurring, running)) = recurring.or_else(|| self.forgotten(&id)) else {
                return;
            };
            let due = self.next_of(&recurring, last, now);
            let enabled = recurring.enabled
                || (index == 1 && self.broken("recurring-run/never-fires-when-created-disabled"))
                || (index > 1 && self.broken("recurring-run/stops-when-disabled"));
            let room = running < recurring.max_concurrency
                || self.broken("recurring-run/bounds-concurrency");
            let stuck = last.is_some()
                && recurring.was_disabled
                && self.broken("recurring-run/resumes-when-enabled");
            let wait = match due {
                Some(due) if due <= now && enabled && room && !stuck => {
                    self.start(self.due_run(&recurring, &id, &spec, index, due, now));
                    last = Some(due);
                    index += 1;
                    // What is due at once comes with the next look.
                    LOOK
                }
                Some(due) => u64::try_from(due - now).unwrap_or(0).clamp(1, LOOK),
                None => LOOK,
            };
            self.clock().sleep(Duration::from_secs(wait)).await;
        }
    }

    /// A recurring run that was deleted and fires all the same.
    fn forgotten(&self, id: &str) -> Option<(RecurringRun, i64)> {
        if !self.broken("recurring-run/stops-when-deleted") {
            return None;
        }
        self.with(|db| Some((db.deleted_recurring_runs.get(id)?.clone(), 0)))
    }

    /// When a recurring run is due next.
    fn next_of(&self, recurring: &RecurringRun, last: Option<i64>, now: i64) -> Option<i64> {
        let trigger = &recurring.trigger;
        let is_cron = trigger["cron_schedule"].is_object();
        let windowed = trigger["periodic_schedule"]["end_time"].is_string();
        let never = if is_cron {
            self.broken("recurring-run/fires-by-cron")
        } else {
            !windowed && self.broken("recurring-run/fires-at-interval")
        };
        if never {
            return None;
        }
        let fast = !is_cron && !windowed && self.broken("recurring-run/fires-at-interval:fast");
        if fast && recurring.no_catchup {
            return Some(last.map_or(now, |last| last + 10));
        }
        let mut catches_up = !recurring.no_catchup;
        if windowed && self.broken("recurring-run/catches-up") {
            catches_up = false;
        }
        if windowed && self.broken("recurring-run/skips-what-is-past") {
            catches_up = true;
        }
        schedule::due(trigger, recurring.created, last, now, catches_up)
    }

    /// The run that is due.
    fn due_run(
        &self,
        recurring: &RecurringRun,
        id: &str,
        spec: &Value,
        index: u64,
        due: i64,
        now: i64,
    ) -> Run {
        let experiment = if self.broken("recurring-run/names-itself-in-runs") {
            String::new()
        } else {
            recurring.experiment.clone()
        };
        Run {
            id: self.uid(),
            experiment,
            namespace: recurring.namespace.clone(),
            name: format!("{}-{index}-{now}", recurring.name),
            created: now,
            scheduled: due,
            source: recurring.source.clone(),
            spec: spec.clone(),
            runtime_config: recurring.runtime_config.clone(),
            service_account: recurring.service_account.clone(),
            recurring: id.to_owned(),
            states: vec![(now, "PENDING")],
            ..Run::default()
        }
    }

    pub(super) fn list_recurring_runs(&self, call: &Call) -> Answer {
        let mut asked = asked(call)?;
        let experiment = call.pair("experiment_id");
        if !experiment.is_empty() && self.broken("list/filters-recurring-runs:filter") {
            asked.filter.clear();
        }
        let scoped = !experiment.is_empty() && !self.broken("list/filters-recurring-runs");
        let mut page = self
            .with(|db| {
                if !experiment.is_empty() && !db.experiments.contains_key(experiment) {
                    return Err(Refusal::not_found("Experiment", experiment));
                }
                let recurring = db.recurring_runs.values().filter(|r| {
                    self.is_within(&r.namespace, call.pair("namespace"))
                        && (!scoped || r.experiment == experiment)
                });
                list::page(recurring, &asked, &self.faults())
            })
            .map_err(|refusal| refusal.within("Failed to create list options"))?;
        if page["total_size"] == 1
            && experiment.is_empty()
            && self.broken("recurring-run/is-listed")
            && let Some(items) = page
                .as_object_mut()
                .and_then(|p| p.shift_remove("recurringRuns"))
        {
            page["recurring_runs"] = items;
        }
        Ok(page)
    }

    fn no_recurring_run(id: &str) -> Refusal {
        Refusal::not_found("Job", id)
    }

    pub(super) fn get_recurring_run(&self, id: &str) -> Answer {
        let found = self.with(|db| db.recurring_runs.get(id).map(Row::json));
        let mut recurring = found
            .ok_or_else(|| Self::no_recurring_run(id).within("Failed to fetch a recurring run"))?;
        if self.broken("recurring-run/is-created-as-asked") {
            recurring["max_concurrency"] = "1".into();
        }
        Ok(recurring)
    }

    pub(super) fn delete_recurring_run(&self, id: &str) -> Answer {
        let known = self.with(|db| {
            let seldom = db
                .recurring_runs
                .get(id)
                .is_some_and(RecurringRun::is_seldom);
            if seldom && self.broken("recurring-run/is-deleted") {
                return true;
            }
            let Some(gone) = db.recurring_runs.remove(id) else {
                return false;
            };
            if self.broken("recurring-run/leaves-its-runs") {
                db.runs.retain(|_, run| run.recurring != id);
            }
            db.deleted_recurring_runs.insert(id.to_owned(), gone);
            true
        });
        if known {
            return Ok(json!({}));
        }
        Err(Self::no_recurring_run(id)
            .within(&format!(
                "Failed to delete recurring run {id}. Check if exists"
            ))
            .within("Failed to delete a recurring run"))
    }

    pub(super) fn switch_recurring_run(&self, id: &str, enabled: bool) -> Answer {
        let now = self.now();
        let stuck = !enabled && self.broken("recurring-run/is-disabled-and-enabled");
        self.with(|db| {
            let Some(recurring) = db.recurring_runs.get_mut(id) else {
                let doing = if enabled { "enable" } else { "disable" };
                return Err(Self::no_recurring_run(id)
                    .within(&format!("Failed to {doing} a recurring run")));
            };
            if !(stuck && recurring.is_seldom()) {
                recurring.enabled = enabled;
                recurring.was_disabled |= !enabled;
                recurring.updated = now;
            }
            Ok(json!({}))
        })
    }
}

/// A trigger as it is kept: numbers as texts.
fn checked_trigger(mut trigger: Value) -> Result<Value, Refusal> {
    if let Some(cron) = trigger["cron_schedule"]["cron"].as_str()
        && let Err(why) = schedule::Cron::parse(cron)
    {
        return Err(Refusal::invalid(format!(
            "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: {why}"
        )));
    }
    let periodic = &mut trigger["periodic_schedule"];
    if periodic.is_object() {
        let interval = periodic["interval_second"].as_i64().unwrap_or(0);
        if interval < 1 {
            return Err(Refusal::invalid(format!(
                "Found invalid period schedule interval {interval}. Set at interval to least 1 second"
            )));
        }
        periodic["interval_second"] = interval.to_string().into();
    }
    if let Some(map) = trigger.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    Ok(trigger)
}
