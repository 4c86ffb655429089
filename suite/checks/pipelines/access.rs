//! Who may do what, where Pipelines serves many users.
//!
//! Every refusal has its twin: the same request by somebody who may make it. Nobody is ever asked for with an *empty*
//! identity header, which a stock API server does not survive: who has no identity sends no header.

use super::{
    api::{
        Api, Collection, EDITOR, EXPERIMENTS, PIPELINES, RECURRING_RUNS, RUNS, column, id_of,
        objects, versions, word,
    },
    setups::{EXPERIMENT, Experiment, INLINE, PIPELINE, Pipeline, Run, asked, by_value},
};
use crate::checks::{
    platform::{NEIGHBOUR, Tenant},
    prelude::*,
};

requirement_checks! {
    "pipelines/access/requires-identity" => requires_identity, needs [&EXPERIMENT];
    "pipelines/access/checks-audience" => checks_audience;
    "pipelines/access/requires-namespace" => requires_namespace, needs [&EXPERIMENT];
    "pipelines/access/shows-namespace" => shows_namespace, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/access/names-are-per-namespace" => names_are_per_namespace, needs [&NEIGHBOUR];
    "pipelines/access/viewer-reads" => viewer_reads, needs [&EXPERIMENT, &PIPELINE];
    "pipelines/access/viewer-changes-nothing" => viewer_changes_nothing, needs [&EXPERIMENT];
    "pipelines/access/keeps-experiments-apart" => keeps_experiments_apart, needs [&NEIGHBOUR];
    "pipelines/access/keeps-pipelines-apart" => keeps_pipelines_apart, needs [&NEIGHBOUR];
    "pipelines/access/keeps-runs-apart" => keeps_runs_apart, needs [&NEIGHBOUR, &INLINE];
    "pipelines/access/keeps-recurring-runs-apart" => keeps_recurring_runs_apart, needs [&NEIGHBOUR, &EXPERIMENT, &PIPELINE];
    "pipelines/access/guards-uploads" => guards_uploads, needs [&NEIGHBOUR];
    "pipelines/access/keeps-pipelines-private" => keeps_pipelines_private, needs [&NEIGHBOUR];
}

/// The neighbour's editor, who has a token as good as the run's own.
fn stranger(cx: &Cx) -> Outcome<(Api<'_>, Tenant)> {
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let api = Api::of_many_users(cx)?.as_account(&neighbour.namespace, EDITOR);
    Ok((api, neighbour))
}

/// Somebody who has an identity must be told that he may not: 403, or 404 where even that it is there is not told. An
/// upload is refused with 400, as upstream does it.
fn denied(api: &Api<'_>, answer: &Answer, what: &str) -> Outcome {
    if matches!(answer.status, 400 | 403 | 404) {
        return Ok(());
    }
    if answer.is_success() {
        return Err(Stop::unlike(
            format!("{what} was accepted, and must be refused"),
            "403",
            answer.summary(),
        ));
    }
    api.http.accepted(answer, what).map(drop)
}

/// That nobody is asked for his identity is told by 401, or by 403 where a gateway does it.
fn unidentified(api: &Api<'_>, answer: &Answer, what: &str) -> Outcome {
    match answer.status {
        401 | 403 => Ok(()),
        _ if answer.is_success() => Err(Stop::unlike(
            format!("{what} was accepted, and must be refused"),
            "401",
            answer.summary(),
        )),
        429 | 500..=599 => api.http.accepted(answer, what).map(drop),
        _ => Err(Stop::unlike(
            format!("{what} was answered with {}", answer.status),
            "401",
            answer.summary(),
        )),
    }
}

async fn requires_identity(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let nobody = api.as_identity(Identity::Nobody);
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    for of in [&EXPERIMENTS, &PIPELINES, &RUNS, &RECURRING_RUNS] {
        api.list(of, &[("page_size", "1")]).await?;
        let answer = nobody.try_list(of, &[("page_size", "1")]).await?;
        let what = format!("a list of {} without an identity", of.path);
        unidentified(&api, &answer, &what)?;
    }
    let answer = nobody.get(&EXPERIMENTS, &experiment.id).await?;
    unidentified(&api, &answer, "a read of an experiment without an identity")?;
    let name = cx.name("nobodys");
    let answer = nobody
        .try_create(&EXPERIMENTS, &json!({"display_name": name}))
        .await?;
    unidentified(
        &api,
        &answer,
        "the creation of an experiment without an identity",
    )?;
    let count = api.count(&EXPERIMENTS, "name", &name).await?;
    ensure_eq!(count, 0, "the number of experiments that nobody made");
    Ok(())
}

async fn checks_audience(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let pairs = [("page_size", "1")];
    api.list(&EXPERIMENTS, &pairs).await?;
    let other = api.as_identity(Identity::ServiceAccount {
        namespace: cx.namespace().to_owned(),
        name: EDITOR.to_owned(),
        audience: None,
    });
    let answer = other.try_list(&EXPERIMENTS, &pairs).await?;
    unidentified(
        &api,
        &answer,
        "a list of experiments with a token for the Kubernetes API",
    )
}

async fn requires_namespace(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    for of in [&EXPERIMENTS, &RUNS, &RECURRING_RUNS] {
        api.list(of, &[("page_size", "1")]).await?;
        let answer = api.http.get(&format!("/{}?page_size=1", of.path)).await?;
        let what = format!("a list of {} of no namespace", of.path);
        api.http.refused(&answer, &what)?;
    }
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let name = cx.name("nowhere");
    let body = json!({"display_name": name, "description": experiment.id});
    let answer = api.http.post("/experiments", &body).await?;
    api.http.refused(&answer, "an experiment of no namespace")?;
    let count = api.count(&EXPERIMENTS, "name", &name).await?;
    ensure_eq!(count, 0, "the number of experiments kept of no namespace");
    Ok(())
}

async fn shows_namespace(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    for (of, id, what) in [
        (&EXPERIMENTS, &experiment.id, "the experiment"),
        (&PIPELINES, &pipeline.id, "the pipeline"),
    ] {
        let read = api.need(of, id).await?;
        ensure_eq!(
            word(&read, "namespace"),
            cx.namespace(),
            "`namespace` of {what} as read"
        );
    }
    Ok(())
}

async fn names_are_per_namespace(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let (stranger, neighbour) = stranger(cx)?;
    let name = cx.name("shared-name");
    let body = json!({"display_name": name});
    let own = id_of(&EXPERIMENTS, &api.create(&EXPERIMENTS, &body).await?)?;
    let hers = stranger.of_namespace(&neighbour.namespace);
    let theirs = hers.try_create(&EXPERIMENTS, &body).await?;
    ensure!(
        theirs.status != 409,
        "an experiment of a name that another namespace has was answered with {}",
        theirs.summary()
    );
    let theirs = hers
        .http
        .accepted(&theirs, "the same name in another namespace")?;
    ensure!(
        id_of(&EXPERIMENTS, &theirs)? != own,
        "two experiments of one name, in namespaces `{}` and `{}`, are the same",
        cx.namespace(),
        neighbour.namespace
    );
    Ok(())
}

async fn viewer_reads(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let viewer = api.as_account(cx.namespace(), "default-viewer");
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let mut answers = vec![];
    for of in [&EXPERIMENTS, &PIPELINES, &RUNS, &RECURRING_RUNS] {
        answers.push((
            viewer.try_list(of, &[("page_size", "1")]).await?,
            format!("a list of {}", of.path),
        ));
    }
    for (of, id) in [(&EXPERIMENTS, &experiment.id), (&PIPELINES, &pipeline.id)] {
        answers.push((viewer.get(of, id).await?, format!("a read of /{}", of.path)));
    }
    for (answer, what) in answers {
        // That the viewer may not is what this is about, and no lack of the suite's own rights.
        ensure!(
            !matches!(answer.status, 401 | 403),
            "{what} by the namespace's viewer was answered with {}",
            answer.summary()
        );
        api.http.accepted(&answer, &what)?;
    }
    Ok(())
}

async fn viewer_changes_nothing(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let viewer = api.as_account(cx.namespace(), "default-viewer");
    let made = new_experiment(cx, &api, "kept").await?;
    changes_nothing(&api, &viewer, &EXPERIMENTS, &made, "archive", "the viewer").await?;
    let name = cx.name("viewers");
    let answer = viewer
        .try_create(&EXPERIMENTS, &json!({"display_name": name}))
        .await?;
    denied(&api, &answer, "the creation of an experiment by the viewer")?;
    let count = api.count(&EXPERIMENTS, "name", &name).await?;
    ensure_eq!(count, 0, "the number of experiments that the viewer made");
    // The twin.
    api.verb(&EXPERIMENTS, &made, "archive").await
}

async fn new_experiment(cx: &Cx, api: &Api<'_>, label: &str) -> Outcome<String> {
    let body = json!({"display_name": cx.name(label)});
    id_of(&EXPERIMENTS, &api.create(&EXPERIMENTS, &body).await?)
}

/// `who` may neither do `verb` to an object nor delete it, and it is as it was.
async fn changes_nothing(
    api: &Api<'_>,
    who: &Api<'_>,
    of: &Collection,
    id: &str,
    verb: &str,
    name: &str,
) -> Outcome {
    let before = api.need(of, id).await?;
    let path = &of.path;
    if !verb.is_empty() {
        let answer = who.try_verb(of, id, verb).await?;
        denied(api, &answer, &format!("`{verb}` on /{path} by {name}"))?;
    }
    let answer = who.try_delete(of, id).await?;
    denied(api, &answer, &format!("a deletion in /{path} by {name}"))?;
    let after = api.need(of, id).await?;
    for key in ["storage_state", "status", "state"] {
        // A run goes on by itself; what it is not told to do it does not do.
        if key != "state" || word(&before, key) == "SUCCEEDED" {
            ensure_eq!(
                word(&after, key),
                word(&before, key),
                "`{key}` of the object of /{path} after what {name} tried"
            );
        }
    }
    Ok(())
}

/// The neighbour may neither list nor read what is not hers, and sees only her own where she may.
async fn reads_nothing(cx: &Cx, api: &Api<'_>, of: &Collection, id: &str) -> Outcome {
    let (stranger, neighbour) = stranger(cx)?;
    let path = &of.path;
    let answer = stranger.try_list(of, &[("page_size", "1")]).await?;
    denied(
        api,
        &answer,
        &format!("a list of another namespace's {path}"),
    )?;
    let answer = stranger.get(of, id).await?;
    denied(
        api,
        &answer,
        &format!("a read in another namespace's {path}"),
    )?;
    // The twins: the owner reads it, and the neighbour her own list, in which it is not.
    api.need(of, id).await?;
    let hers = stranger.of_namespace(&neighbour.namespace);
    let page = hers
        .list(of, &[("page_size", super::api::LONGEST_PAGE)])
        .await?;
    ensure!(
        !column(of, &page, of.id).iter().any(|listed| listed == id),
        "the list of the neighbour's {path} has an object of another namespace: {id}"
    );
    Ok(())
}

async fn keeps_experiments_apart(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let (stranger, _) = stranger(cx)?;
    let made = new_experiment(cx, &api, "apart").await?;
    reads_nothing(cx, &api, &EXPERIMENTS, &made).await?;
    changes_nothing(
        &api,
        &stranger,
        &EXPERIMENTS,
        &made,
        "archive",
        "a neighbour",
    )
    .await?;
    let name = cx.name("intruder");
    let answer = stranger
        .try_create(&EXPERIMENTS, &json!({"display_name": name}))
        .await?;
    denied(
        &api,
        &answer,
        "the creation of an experiment in another's namespace",
    )?;
    let count = api.count(&EXPERIMENTS, "name", &name).await?;
    ensure_eq!(count, 0, "the number of experiments that a neighbour made");
    Ok(())
}

/// Uploads a pipeline of one step and gives its id.
async fn upload(cx: &Cx, api: &Api<'_>, label: &str) -> Outcome<String> {
    let name = cx.name(label);
    let yaml = cx.fixture_text("pipelines/step.yaml", &[("name", &name)])?;
    let uploaded = api.upload(&yaml, &[("name", &name)]).await?;
    id_of(&PIPELINES, &uploaded)
}

async fn keeps_pipelines_apart(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let (stranger, _) = stranger(cx)?;
    let made = upload(cx, &api, "apart").await?;
    reads_nothing(cx, &api, &PIPELINES, &made).await?;
    let versions = versions(&made);
    let own = api.list(&versions, &[]).await?;
    let answer = stranger.try_list(&versions, &[]).await?;
    denied(
        &api,
        &answer,
        "a list of the versions of another namespace's pipeline",
    )?;
    for version in objects(&versions, &own) {
        let id = id_of(&versions, version)?;
        changes_nothing(&api, &stranger, &versions, &id, "", "a neighbour").await?;
    }
    changes_nothing(&api, &stranger, &PIPELINES, &made, "", "a neighbour").await
}

async fn keeps_runs_apart(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let (stranger, _) = stranger(cx)?;
    let run: Run = cx.setup(&INLINE)?;
    reads_nothing(cx, &api, &RUNS, &run.id).await?;
    changes_nothing(&api, &stranger, &RUNS, &run.id, "archive", "a neighbour").await?;
    let name = cx.name("intruder");
    let mut intruder = run.asked.clone();
    intruder["display_name"] = name.as_str().into();
    let answer = stranger.try_create(&RUNS, &intruder).await?;
    denied(
        &api,
        &answer,
        "a run in an experiment of another's namespace",
    )?;
    let count = api.count(&RUNS, "name", &name).await?;
    ensure_eq!(count, 0, "the number of runs that a neighbour started");
    Ok(())
}

async fn keeps_recurring_runs_apart(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let (stranger, _) = stranger(cx)?;
    let experiment: Experiment = cx.setup(&EXPERIMENT)?;
    let pipeline: Pipeline = cx.setup(&PIPELINE)?;
    let body = |label: &str| {
        json!({
            "display_name": cx.name(label),
            "experiment_id": experiment.id,
            "pipeline_version_reference": {"pipeline_id": pipeline.id, "pipeline_version_id": pipeline.first},
            "trigger": {"periodic_schedule": {"interval_second": "86400"}},
            "max_concurrency": "1",
            "mode": "DISABLE",
        })
    };
    let made = api.create(&RECURRING_RUNS, &body("apart")).await?;
    let made = id_of(&RECURRING_RUNS, &made)?;
    reads_nothing(cx, &api, &RECURRING_RUNS, &made).await?;
    changes_nothing(
        &api,
        &stranger,
        &RECURRING_RUNS,
        &made,
        "enable",
        "a neighbour",
    )
    .await?;
    let intruder = body("intruder");
    let answer = stranger.try_create(&RECURRING_RUNS, &intruder).await?;
    denied(
        &api,
        &answer,
        "a recurring run in an experiment of another's namespace",
    )?;
    let name = word(&intruder, "display_name");
    let count = api.count(&RECURRING_RUNS, "name", name).await?;
    ensure_eq!(
        count,
        0,
        "the number of recurring runs that a neighbour made"
    );
    Ok(())
}

async fn guards_uploads(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let (stranger, _) = stranger(cx)?;
    upload(cx, &api, "own").await?;
    let who = [
        ("neighbours", stranger, "a neighbour"),
        (
            "viewers",
            api.as_account(cx.namespace(), "default-viewer"),
            "the viewer",
        ),
        ("nobodys", api.as_identity(Identity::Nobody), "nobody"),
    ];
    for (label, someone, whose) in who {
        let name = cx.name(label);
        let yaml = cx.fixture_text("pipelines/step.yaml", &[("name", &name)])?;
        let answer = someone.try_upload(&yaml, &[("name", &name)]).await?;
        let what = format!("an upload to the namespace by {whose}");
        if answer.status != 401 {
            denied(&api, &answer, &what)?;
        }
        let count = api.count(&PIPELINES, "name", &name).await?;
        ensure_eq!(count, 0, "the number of pipelines kept of {what}");
    }
    Ok(())
}

async fn keeps_pipelines_private(cx: &Cx) -> Outcome {
    let api = Api::of_many_users(cx)?;
    let (stranger, neighbour) = stranger(cx)?;
    let hers = stranger.of_namespace(&neighbour.namespace);
    let private = upload(cx, &api, "private").await?;
    let experiment = new_experiment(cx, &hers, "borrowing").await?;
    // The twin: a run of what she brings along.
    let spec = cx.fixture("pipelines/step.yaml", &[("name", &cx.name("brought"))])?;
    let good = asked(cx, "brought", &experiment, by_value(spec, json!({})));
    hers.create(&RUNS, &good).await?;
    let source = json!({"pipeline_version_reference": {"pipeline_id": private}});
    let borrowed = asked(cx, "borrowed", &experiment, source);
    let answer = hers.try_create(&RUNS, &borrowed).await?;
    hers.http.refused(
        &answer,
        "a run of a pipeline of another namespace, which its user may not read",
    )?;
    let count = hers
        .count(&RUNS, "name", word(&borrowed, "display_name"))
        .await?;
    ensure_eq!(count, 0, "the number of runs of a foreign private pipeline");
    Ok(())
}
