//! Experiments: groups of runs.

use super::{
    api::{Api, EXPERIMENTS, RUNS, column, filter, id_of, text, word},
    setups::{ARCHIVED, ArchivedExperiment, REFERENCE, Run},
};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/experiment/is-created-as-asked" => is_created_as_asked;
    "pipelines/experiment/refuses-duplicate-name" => refuses_duplicate_name;
    "pipelines/experiment/requires-name" => requires_name;
    "pipelines/experiment/is-deleted" => is_deleted;
    "pipelines/experiment/archives-its-runs" => archives_its_runs, needs [&REFERENCE];
    "pipelines/experiment/disables-recurring-runs" => disables_recurring_runs, needs [&ARCHIVED];
    "pipelines/experiment/is-restored-alone" => is_restored_alone, needs [&ARCHIVED];
    "pipelines/experiment/leaves-its-runs" => leaves_its_runs, needs [&ARCHIVED];
    "pipelines/experiment/knows-its-last-run" => knows_its_last_run, needs [&ARCHIVED];
}

async fn is_created_as_asked(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("created");
    let asked = json!({"display_name": name, "description": "a group of runs"});
    let created = api.create(&EXPERIMENTS, &asked).await?;
    let id = id_of(&EXPERIMENTS, &created)?;
    let read = api.need(&EXPERIMENTS, &id).await?;
    for (experiment, how) in [(&created, "created"), (&read, "read")] {
        for (key, wanted) in [
            ("experiment_id", id.as_str()),
            ("display_name", name.as_str()),
            ("description", "a group of runs"),
            ("storage_state", "AVAILABLE"),
        ] {
            ensure_eq!(
                word(experiment, key),
                wanted,
                "`{key}` of the experiment as {how}"
            );
        }
        if let Some(namespace) = api.namespace() {
            ensure_eq!(
                word(experiment, "namespace"),
                namespace,
                "`namespace` of the experiment as {how}"
            );
        }
        let at = word(experiment, "created_at");
        ensure!(
            at.parse::<jiff::Timestamp>()
                .is_ok_and(|t| t.as_second() > 0),
            "`created_at` of the experiment as {how} is no time: \"{at}\""
        );
    }
    Ok(())
}

async fn refuses_duplicate_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("twice");
    let asked = json!({"display_name": name});
    api.create(&EXPERIMENTS, &asked).await?;
    let again = api.try_create(&EXPERIMENTS, &asked).await?;
    api.http
        .refused(&again, "a second experiment of the same name")?;
    let count = api.count(&EXPERIMENTS, "name", &name).await?;
    ensure_eq!(count, 1, "the number of experiments named `{name}`");
    Ok(())
}

async fn requires_name(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    // The description is what finds an experiment that has no name.
    let mark = cx.name("nameless");
    let named = json!({"display_name": cx.name("named"), "description": mark});
    api.create(&EXPERIMENTS, &named).await?;
    let nameless = with(&named, "display_name", Value::Null);
    let answer = api.try_create(&EXPERIMENTS, &nameless).await?;
    api.http.refused(&answer, "an experiment without a name")?;
    let count = api.count(&EXPERIMENTS, "description", &mark).await?;
    ensure_eq!(count, 1, "the number of experiments of that description");
    Ok(())
}

async fn is_deleted(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let name = cx.name("deleted");
    let created = api
        .create(&EXPERIMENTS, &json!({"display_name": name}))
        .await?;
    let id = id_of(&EXPERIMENTS, &created)?;
    api.need(&EXPERIMENTS, &id).await?;
    api.delete(&EXPERIMENTS, &id).await?;
    api.absent(&EXPERIMENTS, &id, "a deleted experiment")
        .await?;
    let filter = filter(&[text("name", "EQUALS", &name)]);
    let page = api.list(&EXPERIMENTS, &[("filter", &filter)]).await?;
    let listed = column(&EXPERIMENTS, &page, "display_name");
    ensure!(
        !listed.contains(&name),
        "the deleted experiment `{name}` is still listed"
    );
    Ok(())
}

async fn archives_its_runs(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let run: Run = cx.setup(&REFERENCE)?;
    api.verb(&EXPERIMENTS, &run.experiment, "archive").await?;
    let experiment = api.need(&EXPERIMENTS, &run.experiment).await?;
    ensure_eq!(
        word(&experiment, "storage_state"),
        "ARCHIVED",
        "`storage_state` of the archived experiment"
    );
    let archived = api.need(&RUNS, &run.id).await?;
    ensure_eq!(
        word(&archived, "storage_state"),
        "ARCHIVED",
        "`storage_state` of the run in the archived experiment"
    );
    ensure_eq!(
        word(&archived, "state"),
        run.state(),
        "`state` of the run in the archived experiment"
    );
    api.verb(&EXPERIMENTS, &run.experiment, "unarchive").await?;
    let experiment = api.need(&EXPERIMENTS, &run.experiment).await?;
    ensure_eq!(
        word(&experiment, "storage_state"),
        "AVAILABLE",
        "`storage_state` of the restored experiment"
    );
    Ok(())
}

async fn disables_recurring_runs(cx: &Cx) -> Outcome {
    let seen: ArchivedExperiment = cx.setup(&ARCHIVED)?;
    ensure_eq!(
        seen.recurring_run_created,
        "ENABLED",
        "`status` of the recurring run before its experiment is archived"
    );
    ensure_eq!(
        seen.recurring_run_archived,
        "DISABLED",
        "`status` of the recurring run in the archived experiment"
    );
    Ok(())
}

async fn is_restored_alone(cx: &Cx) -> Outcome {
    let seen: ArchivedExperiment = cx.setup(&ARCHIVED)?;
    for (what, seen, wanted) in [
        (
            "`storage_state` of the restored experiment",
            &seen.experiment_restored,
            "AVAILABLE",
        ),
        (
            "`storage_state` of the run in the restored experiment",
            &seen.run_restored,
            "ARCHIVED",
        ),
        (
            "`status` of the recurring run in the restored experiment",
            &seen.recurring_run_restored,
            &seen.recurring_run_archived,
        ),
    ] {
        ensure_eq!(seen, wanted, "{what}");
    }
    Ok(())
}

async fn leaves_its_runs(cx: &Cx) -> Outcome {
    let seen: ArchivedExperiment = cx.setup(&ARCHIVED)?;
    ensure_eq!(
        seen.after_deletion,
        200,
        "the status of GET of a run whose experiment was deleted"
    );
    Ok(())
}

async fn knows_its_last_run(cx: &Cx) -> Outcome {
    let seen: ArchivedExperiment = cx.setup(&ARCHIVED)?;
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let before = time(&seen.last_run_before).map_or(0, jiff::Timestamp::as_second);
    ensure_eq!(
        before,
        0,
        "`last_run_created_at` of an experiment without runs, in seconds since 1970"
    );
    let (last, created) = (time(&seen.last_run_after), time(&seen.run_created_at));
    ensure!(
        last.is_some() && last >= created,
        "`last_run_created_at` of the experiment is \"{}\", before its run was created: \"{}\"",
        seen.last_run_after,
        seen.run_created_at
    );
    Ok(())
}
