//! Recurring runs. None of these is ever due: the intervals are a day.

use super::{
    api::{Api, RECURRING_RUNS, column, filter, id_of, int64, text, word},
    setups::{DAY, EXPERIMENT, Experiment, PIPELINE, Pipeline, daily},
};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/recurring-run/is-created-as-asked" => is_created_as_asked, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/recurring-run/is-listed" => is_listed, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/recurring-run/is-disabled-and-enabled" => is_disabled_and_enabled, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/recurring-run/refuses-bad-concurrency" => refuses_bad_concurrency, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/recurring-run/refuses-bad-trigger" => refuses_bad_trigger, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/recurring-run/is-deleted" => is_deleted, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/recurring-run/requires-name" => requires_name, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/recurring-run/refuses-unknown-pipeline" => refuses_unknown_pipeline, needs [&EXPERIMENT, &PIPELINE];
}

/// The body of a creation.
fn asked(cx: &Cx, label: &str, mode: &str) -> Outcome<Value> {
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    Ok(daily(&pipeline, &experiment.id, &cx.name(label), mode))
}

/// Creates a recurring run and gives its id.
async fn make(cx: &Cx, api: &Api<'_>, label: &str, mode: &str) -> Outcome<String> {
    let created = api
        .create(&RECURRING_RUNS, &asked(cx, label, mode)?)
        .await?;
    id_of(&RECURRING_RUNS, &created)
}

async fn is_created_as_asked(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let asked = asked(cx, "created", "ENABLE")?;
    let created = api.create(&RECURRING_RUNS, &asked).await?;
    let id = id_of(&RECURRING_RUNS, &created)?;
    let read = api.need(&RECURRING_RUNS, &id).await?;
    for (object, how) in [(&created, "created"), (&read, "read")] {
        for key in ["display_name", "experiment_id"] {
            ensure_eq!(
                word(object, key),
                word(&asked, key),
                "`{key}` of the recurring run as {how}"
            );
        }
        ensure_eq!(
            word(object, "status"),
            "ENABLED",
            "`status` of the recurring run as {how}"
        );
        let interval = &object["trigger"]["periodic_schedule"]["interval_second"];
        ensure_eq!(
            int64(interval),
            Some(DAY),
            "the interval of the recurring run as {how}"
        );
        ensure_eq!(
            int64(&object["max_concurrency"]),
            Some(2),
            "`max_concurrency` of the recurring run as {how}"
        );
    }
    Ok(())
}

async fn is_listed(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let id = make(cx, &api, "listed", "DISABLE").await?;
    let by_name = filter(&[text("name", "EQUALS", &cx.name("listed"))]);
    let page = api.list(&RECURRING_RUNS, &[("filter", &by_name)]).await?;
    let listed = column(&RECURRING_RUNS, &page, RECURRING_RUNS.id);
    ensure_eq!(
        listed,
        [id],
        "the list (key `recurringRuns`) of the recurring runs of that name"
    );
    Ok(())
}

async fn is_disabled_and_enabled(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let id = make(cx, &api, "switched", "ENABLE").await?;
    for (verb, wanted) in [("disable", "DISABLED"), ("enable", "ENABLED")] {
        api.verb(&RECURRING_RUNS, &id, verb).await?;
        // Not at once: what an agent saw before the change and reports after it is shown for a moment.
        let path = format!("/{}/{id}", RECURRING_RUNS.path);
        let what = format!("show the status {wanted} after {verb}");
        let shown = |run: &Value| Ok(word(run, "status") == wanted);
        api.http.until(&path, "reconcile", &what, shown).await?;
    }
    api.verb(&RECURRING_RUNS, &id, "disable").await
}

/// `bad` is refused and nothing is kept of it.
async fn refuses(cx: &Cx, label: &str, mut bad: Value, what: &str) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name(label);
    bad["display_name"] = name.as_str().into();
    let answer = api.try_create(&RECURRING_RUNS, &bad).await?;
    api.http.refused(&answer, what)?;
    let count = api.count(&RECURRING_RUNS, "name", &name).await?;
    ensure_eq!(count, 0, "the number of recurring runs kept of {what}");
    Ok(())
}

async fn refuses_bad_concurrency(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let good = asked(cx, "good", "DISABLE")?;
    api.create(
        &RECURRING_RUNS,
        &with(&good, "max_concurrency", json!("10")),
    )
    .await?;
    for (label, bad) in [("zero", "0"), ("eleven", "11")] {
        let what = format!("a recurring run of a concurrency of {bad}");
        refuses(cx, label, with(&good, "max_concurrency", json!(bad)), &what).await?;
    }
    Ok(())
}

async fn refuses_bad_trigger(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let good = asked(cx, "good", "DISABLE")?;
    let cron = |cron: &str| with(&good, "trigger", json!({"cron_schedule": {"cron": cron}}));
    api.create(&RECURRING_RUNS, &cron("0 0 4 * * 1")).await?;
    refuses(
        cx,
        "cron",
        cron("every now and then"),
        "a recurring run whose cron is none",
    )
    .await?;
    let bad = with(
        &good,
        "trigger.periodic_schedule.interval_second",
        json!("-5"),
    );
    refuses(
        cx,
        "interval",
        bad,
        "a recurring run of a negative interval",
    )
    .await
}

async fn is_deleted(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let id = make(cx, &api, "deleted", "DISABLE").await?;
    api.need(&RECURRING_RUNS, &id).await?;
    api.delete(&RECURRING_RUNS, &id).await?;
    api.absent(&RECURRING_RUNS, &id, "a deleted recurring run")
        .await?;
    let count = api
        .count(&RECURRING_RUNS, "name", &cx.name("deleted"))
        .await?;
    ensure_eq!(
        count,
        0,
        "the number of recurring runs listed by the name of the deleted one"
    );
    Ok(())
}

async fn requires_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    // The description is what finds a recurring run that has no name.
    let mark = cx.name("nameless");
    let named = with(&asked(cx, "named", "DISABLE")?, "description", json!(mark));
    api.create(&RECURRING_RUNS, &named).await?;
    let nameless = with(&named, "display_name", Value::Null);
    let answer = api.try_create(&RECURRING_RUNS, &nameless).await?;
    api.http
        .refused(&answer, "a recurring run without a name")?;
    let count = api.count(&RECURRING_RUNS, "description", &mark).await?;
    ensure_eq!(count, 1, "the number of recurring runs of that description");
    Ok(())
}

async fn refuses_unknown_pipeline(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let good = asked(cx, "good", "DISABLE")?;
    api.create(&RECURRING_RUNS, &good).await?;
    let bad = with(
        &good,
        "pipeline_version_reference",
        json!({"pipeline_id": "00000000-0000-4000-8000-000000000000"}),
    );
    let what = "a recurring run of a pipeline that does not exist";
    refuses(cx, "no-pipeline", bad, what).await
}
