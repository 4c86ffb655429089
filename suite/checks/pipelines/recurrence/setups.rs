//! The recurring runs that are due while they are watched.

use crate::{
    checks::{
        pipelines::{
            api::{
                Api, LONGEST_PAGE, PIPELINES, RECURRING_RUNS, RUNS, column, filter, id_of, objects,
                text, total, versions, word,
            },
            setups::{new_experiment, value, with_args},
        },
        prelude::*,
    },
    outcome::Outcome,
};

/// What was seen of recurring runs with an interval of a minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Recurring {
    /// The experiment of them all.
    pub(in super::super) experiment: String,
    /// The one that only fires, and its runs at the end.
    pub(in super::super) clock_id: String,
    pub(in super::super) clock: Vec<Value>,
    /// Whether it fired twice after others were disabled and deleted.
    pub(in super::super) clock_went_on: bool,
    /// How many runs that with a cron expression started.
    pub(in super::super) cron: u64,
    /// How many runs that started which was created disabled.
    pub(in super::super) disabled: u64,
    /// How many runs that had started which was disabled: when the clock had fired once more, and twice.
    pub(in super::super) stopped: (u64, u64),
    /// How many it had started when it was enabled again.
    pub(in super::super) resumed: u64,
    /// How many runs that had started which was deleted: when the clock had fired once more, and twice.
    pub(in super::super) deleted: (u64, u64),
    /// What answered to a read of one of them then.
    pub(in super::super) run_of_deleted: u16,
    /// How many runs that started which may run one at a time, and whose run does not end.
    pub(in super::super) bounded: u64,
    /// How many runs those started whose window is past: that which catches up, and that which does not.
    pub(in super::super) caught_up: u64,
    pub(in super::super) skipped: u64,
}

/// The interval, in seconds.
const MINUTE: i64 = 60;

/// A uploaded pipeline of one version, as a recurring run refers to it.
async fn pipeline(cx: &Cx, api: &Api<'_>, label: &str, file: &str) -> Outcome<Value> {
    let name = cx.name(label);
    let spec = cx.fixture(file, &[("name", &name)])?;
    let spec = if label == "long" {
        with_args(&spec, json!(["--sleep-ms", "900000"]))
    } else {
        spec
    };
    let uploaded = api
        .upload(&spec.to_string(), &[("name", name.as_str())])
        .await?;
    let id = id_of(&PIPELINES, &uploaded)?;
    let versions = versions(&id);
    let version = column(&versions, &api.list(&versions, &[]).await?, versions.id);
    Ok(json!({"pipeline_id": id, "pipeline_version_id": version.first()}))
}

/// The query for the runs that a recurring run started.
fn of(recurring: &str) -> [(&'static str, String); 2] {
    let by_id = filter(&[text("recurring_run_id", "EQUALS", recurring)]);
    [("filter", by_id), ("page_size", LONGEST_PAGE.to_owned())]
}

/// The runs that a recurring run started.
async fn runs(api: &Api<'_>, recurring: &str) -> Outcome<Value> {
    let of = of(recurring);
    let pairs = of.each_ref().map(|(key, value)| (*key, value.as_str()));
    api.list(&RUNS, &pairs).await
}

/// The runs of a recurring run when there are so many, or when the time is up.
async fn when(api: &Api<'_>, recurring: &str, count: u64) -> Outcome<Value> {
    let of = of(recurring);
    let pairs = of.each_ref().map(|(key, value)| (*key, value.as_str()));
    let path = api.list_path(&RUNS, &pairs);
    let enough = |page: &Value| total(page) >= count;
    api.http.settled(&path, "run-triggered", None, enough).await
}

/// A time so many seconds from now, as the API takes it.
fn from_now(cx: &Cx, seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(cx.now_unix() + seconds).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(in super::super) async fn recurring(cx: &Cx) -> Outcome<Value> {
    let api = Api::of(cx);
    let experiment = new_experiment(cx, "recurring").await?;
    let tick = pipeline(cx, &api, "tick", "pipelines/tick.yaml").await?;
    let long = pipeline(cx, &api, "long", "pipelines/step.yaml").await?;
    let every_minute = json!({"periodic_schedule": {"interval_second": MINUTE.to_string()}});
    let at_full_minutes = json!({"cron_schedule": {"cron": "0 * * * * *"}});
    // Five times of it are past: half a minute after its beginning and before its end there is none.
    let past = json!({"periodic_schedule": {
        "interval_second": MINUTE.to_string(),
        "start_time": from_now(cx, -5 * MINUTE - 40),
        "end_time": from_now(cx, -20),
    }});
    let mut ids = vec![];
    for (label, trigger, pipeline, more) in [
        ("clock", &every_minute, &tick, json!({"no_catchup": true})),
        ("stopped", &every_minute, &tick, json!({"no_catchup": true})),
        ("deleted", &every_minute, &tick, json!({"no_catchup": true})),
        (
            "bounded",
            &every_minute,
            &long,
            json!({"max_concurrency": "1"}),
        ),
        ("disabled", &every_minute, &tick, json!({"mode": "DISABLE"})),
        ("cron", &at_full_minutes, &tick, json!({"no_catchup": true})),
        ("caught-up", &past, &tick, json!({})),
        ("skipped", &past, &tick, json!({"no_catchup": true})),
    ] {
        let mut asked = json!({
            "display_name": cx.name(label),
            "experiment_id": experiment,
            "pipeline_version_reference": pipeline,
            "trigger": trigger,
            "max_concurrency": "10",
            "mode": "ENABLE",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            asked[key] = value.clone();
        }
        let made = api.create(&RECURRING_RUNS, &asked).await?;
        ids.push(id_of(&RECURRING_RUNS, &made)?);
    }
    let [
        clock,
        stopped,
        deleted,
        bounded,
        disabled,
        cron,
        caught_up,
        skipped,
    ] = ids.as_slice()
    else {
        return Err(Stop::CouldNotRun(
            CouldNotRun::Defect,
            "eight recurring runs are not eight".to_owned(),
        ));
    };

    // Each has fired once, as far as it does.
    for id in [clock, stopped, deleted, bounded] {
        when(&api, id, 1).await?;
    }
    api.verb(&RECURRING_RUNS, stopped, "disable").await?;
    let runs_of_deleted = runs(&api, deleted).await?;
    api.delete(&RECURRING_RUNS, deleted).await?;
    let fired = total(&runs(&api, clock).await?);

    // What was under way then has come when the clock has fired once more; from then on nothing may.
    when(&api, clock, fired + 1).await?;
    let stopped_then = total(&runs(&api, stopped).await?);
    let deleted_then = total(&runs(&api, deleted).await?).max(total(&runs_of_deleted));
    let on = when(&api, clock, fired + 2).await?;
    let clock_went_on = fired > 0 && total(&on) >= fired + 2;
    let runs_of_clock = objects(&RUNS, &on).cloned().collect();
    let count = async |id: &str| Ok::<_, Stop>(total(&runs(&api, id).await?));
    let run_of_deleted = column(&RUNS, &runs_of_deleted, RUNS.id);
    let run_of_deleted = match run_of_deleted.first() {
        Some(run) => api.get(&RUNS, run).await?.status,
        None => 0,
    };
    let runs_of_bounded = runs(&api, bounded).await?;
    let stopped_now = count(stopped).await?;
    let mut seen = Recurring {
        experiment,
        clock_id: clock.clone(),
        clock: runs_of_clock,
        clock_went_on,
        cron: total(&when(&api, cron, 1).await?),
        disabled: count(disabled).await?,
        stopped: (stopped_then, stopped_now),
        resumed: 0,
        deleted: (deleted_then, count(deleted).await?),
        run_of_deleted,
        bounded: total(&runs_of_bounded),
        caught_up: count(caught_up).await?,
        skipped: count(skipped).await?,
    };
    // What is known by now need not go on.
    for id in [clock, bounded, cron, caught_up, skipped] {
        api.verb(&RECURRING_RUNS, id, "disable").await?;
    }
    for run in objects(&RUNS, &runs_of_bounded) {
        api.try_verb(&RUNS, word(run, RUNS.id), "terminate").await?;
    }
    api.verb(&RECURRING_RUNS, stopped, "enable").await?;
    seen.resumed = total(&when(&api, stopped, stopped_now + 1).await?);
    api.verb(&RECURRING_RUNS, stopped, "disable").await?;
    value(&seen)
}
