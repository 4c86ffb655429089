//! Runs: what pipeline they are of, where they belong and as whom they run.

use super::{
    api::{Api, EXPERIMENTS, PIPELINES, RUNS, id_of, versions, word},
    run::{ended, refuses},
    setups::{
        ARCHIVED, ArchivedExperiment, FIVE_VERSIONS, Five, LATEST, PIPELINE, Pipeline, REFERENCE,
        Run, asked,
    },
};
use crate::checks::prelude::*;

requirement_checks! {
    "pipelines/run/takes-latest-version" => takes_latest_version, needs [&PIPELINE, &LATEST];
    "pipelines/run/refuses-version-of-other-pipeline" => refuses_version_of_other_pipeline, needs [&PIPELINE, &REFERENCE, &FIVE_VERSIONS];
    "pipelines/run/refuses-pipeline-without-versions" => refuses_pipeline_without_versions, needs [&REFERENCE];
    "pipelines/run/refuses-two-pipelines" => refuses_two_pipelines, needs [&REFERENCE];
    "pipelines/run/refuses-no-pipeline" => refuses_no_pipeline, needs [&REFERENCE];
    "pipelines/run/belongs-to-experiment" => belongs_to_experiment, needs [&PIPELINE];
    "pipelines/run/is-not-restored-in-archived-experiment" => is_not_restored_in_archived_experiment, needs [&ARCHIVED];
    "pipelines/run/keeps-service-account" => keeps_service_account, needs [&PIPELINE];
}

async fn takes_latest_version(cx: &Cx) -> Outcome {
    let run: Run = cx.setup(&LATEST)?;
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let source = &run.ended["pipeline_version_reference"];
    ensure_eq!(
        word(source, "pipeline_id"),
        pipeline.id,
        "the pipeline of the run"
    );
    // The second version is the one that fails.
    ended(&run, "FAILED")
}

async fn refuses_version_of_other_pipeline(cx: &Cx) -> Outcome {
    let good: Run = cx.setup(&REFERENCE)?;
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let other: Five = cx.setup(&FIVE_VERSIONS)?;
    let bad = with(
        &good.asked,
        "pipeline_version_reference",
        json!({"pipeline_id": other.within, "pipeline_version_id": pipeline.first}),
    );
    let what = "a run of a version that belongs to another pipeline than it says";
    refuses(cx, "other", bad, what).await
}

async fn refuses_pipeline_without_versions(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let good: Run = cx.setup(&REFERENCE)?;
    let empty = json!({"display_name": cx.name("empty")});
    let empty = id_of(&PIPELINES, &api.create(&PIPELINES, &empty).await?)?;
    api.list(&versions(&empty), &[]).await?;
    let bad = with(
        &good.asked,
        "pipeline_version_reference",
        json!({"pipeline_id": empty}),
    );
    refuses(
        cx,
        "versionless",
        bad,
        "a run of a pipeline without versions",
    )
    .await
}

async fn refuses_two_pipelines(cx: &Cx) -> Outcome {
    let good: Run = cx.setup(&REFERENCE)?;
    let spec = cx.fixture("pipelines/step.yaml", &[("name", &cx.name("two"))])?;
    let bad = with(&good.asked, "pipeline_spec", spec);
    let what = "a run that carries a pipeline and refers to another";
    refuses(cx, "two", bad, what).await
}

async fn refuses_no_pipeline(cx: &Cx) -> Outcome {
    let good: Run = cx.setup(&REFERENCE)?;
    let bad = with(&good.asked, "pipeline_version_reference", Value::Null);
    refuses(cx, "none", bad, "a run without a pipeline").await
}

/// Ends a run whose end nobody waits for. It may have ended by itself in the meantime.
async fn put_away(api: &Api<'_>, run: &str) -> Outcome {
    api.try_verb(&RUNS, run, "terminate").await.map(drop)
}

/// The body of a run of `PIPELINE` in no experiment.
fn without_experiment(cx: &Cx, label: &str) -> Outcome<Value> {
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let source = json!({"pipeline_version_reference": {
        "pipeline_id": pipeline.id, "pipeline_version_id": pipeline.first,
    }});
    let asked = asked(cx, label, "", source);
    Ok(with(&asked, "experiment_id", Value::Null))
}

async fn belongs_to_experiment(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let homeless = without_experiment(cx, "homeless")?;
    if api.namespace().is_some() {
        // Nothing else says in which namespace it would run.
        let made = json!({"display_name": cx.name("home")});
        let experiment = id_of(&EXPERIMENTS, &api.create(&EXPERIMENTS, &made).await?)?;
        let mut twin = with(&homeless, "experiment_id", experiment.into());
        twin["display_name"] = cx.name("at-home").into();
        let twin = id_of(&RUNS, &api.create(&RUNS, &twin).await?)?;
        put_away(&api, &twin).await?;
        return refuses(
            cx,
            "homeless",
            homeless,
            "a run without an experiment where there are namespaces",
        )
        .await;
    }
    let run = api.create(&RUNS, &homeless).await?;
    put_away(&api, &id_of(&RUNS, &run)?).await?;
    let experiment = word(&run, "experiment_id");
    ensure!(
        !experiment.is_empty(),
        "a run that names no experiment is in none, not in the default one"
    );
    let experiment = api.need(&EXPERIMENTS, experiment).await?;
    ensure_eq!(
        word(&experiment, "display_name"),
        "Default",
        "the experiment of a run that names none"
    );
    Ok(())
}

async fn is_not_restored_in_archived_experiment(cx: &Cx) -> Outcome {
    let seen: ArchivedExperiment = cx.setup(&ARCHIVED)?;
    ensure!(
        seen.attempt >= 400,
        "a run was restored in an archived experiment (status {}), and must not be",
        seen.attempt
    );
    for (seen, when, wanted) in [
        (&seen.run_after_attempt, "after the refusal", "ARCHIVED"),
        (
            &seen.run_restored_itself,
            "when it was restored after its experiment",
            "AVAILABLE",
        ),
    ] {
        ensure_eq!(seen, wanted, "`storage_state` of the run {when}");
    }
    Ok(())
}

async fn keeps_service_account(cx: &Cx) -> Outcome {
    let api = Api::of(cx);
    let mut asked = without_experiment(cx, "account")?;
    let made = json!({"display_name": cx.name("accounts")});
    let experiment = id_of(&EXPERIMENTS, &api.create(&EXPERIMENTS, &made).await?)?;
    asked["experiment_id"] = experiment.into();
    // Every Profile has it; where there are no Profiles nobody looks whether it is there before the run begins.
    asked["service_account"] = "default-viewer".into();
    let created = api.create(&RUNS, &asked).await?;
    let id = id_of(&RUNS, &created)?;
    let read = api.need(&RUNS, &id).await?;
    put_away(&api, &id).await?;
    for (run, how) in [(&created, "created"), (&read, "read")] {
        ensure_eq!(
            word(run, "service_account"),
            "default-viewer",
            "`service_account` of the run as {how}"
        );
    }
    Ok(())
}
