//! The API behind Katib's pages, which speaks as the user whom the gateway names: here the owner of the run's Profile.

use super::{
    base,
    runs::{Observed, RANDOM},
};
use crate::checks::{
    notebooks::web_app::{owner, stranger},
    prelude::*,
};

requirement_checks! {
    "katib/ui/lists-experiments" => lists_experiments, needs [&RANDOM];
    "katib/ui/keeps-strangers-out" => keeps_strangers_out;
    "katib/ui/creates-experiments" => creates_experiments, needs [&IMAGE];
}

fn pages(cx: &Cx, identity: Identity) -> Http<'_> {
    cx.component("katib-ui", "/katib", identity)
}

async fn as_owner(cx: &Cx) -> Outcome<Http<'_>> {
    Ok(pages(cx, Identity::user(owner(cx).await?)?))
}

fn experiments(cx: &Cx) -> String {
    format!(
        "/fetch_experiments/{}",
        query(&[("namespace", cx.namespace())])
    )
}

/// The owner sees an experiment that ran, and how it ended.
async fn lists_experiments(cx: &Cx) -> Outcome {
    let seen: Observed = cx.setup(&RANDOM)?;
    let list = as_owner(cx).await?.read(&experiments(cx)).await?;
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(found) = list.iter().find(|e| e["name"] == seen.name()) else {
        return Err(Stop::failed(format!(
            "the list of Experiments does not have `{}`",
            seen.name()
        )));
    };
    ensure_eq!(
        found["namespace"],
        cx.namespace(),
        "the namespace of Experiment `{}` in the list",
        seen.name()
    );
    Ok(())
}

/// The owner is answered; a user without rights, and nobody, are not.
async fn keeps_strangers_out(cx: &Cx) -> Outcome {
    let pages = as_owner(cx).await?;
    let path = experiments(cx);
    pages.read(&path).await?;
    for (who, identity) in [
        ("a user without rights", Identity::user(stranger(cx))?),
        ("nobody", Identity::Nobody),
    ] {
        let answer = pages.as_identity(identity).get(&path).await?;
        ensure!(
            matches!(answer.status, 401 | 403),
            "{who} asked for the Experiments of a namespace and was answered with {}",
            answer.summary()
        );
    }
    Ok(())
}

/// What the owner sends is there, as it was sent.
async fn creates_experiments(cx: &Cx) -> Outcome {
    let name = cx.name("page");
    let mut experiment = cx.own(&base(cx, "page")?);
    experiment["metadata"]["namespace"] = json!(cx.namespace());
    let body = json!({"postData": experiment});
    let pages = as_owner(cx).await?;
    let answer = pages.post("/create_experiment/", &body).await?;
    pages.accepted(&answer, "the owner's request to create an Experiment")?;
    let made = cx.need(&EXPERIMENT, &name).await?;
    ensure_eq!(
        made["spec"]["objective"]["objectiveMetricName"],
        "acc",
        "the metric of the objective of Experiment `{name}`"
    );
    cx.delete(&EXPERIMENT, &name).await
}
