//! Whom the web application serves, and whom not.

use super::{
    super::lifecycle::create_stopped, App, FORBIDDEN, PAIR, SERVICE_NAME, protected, refused,
    stranger,
};
use crate::checks::prelude::*;

requirement_checks! {
    "notebooks/web-app/answers-probes" => answers_probes;
    "notebooks/web-app/needs-identity" => needs_identity;
    "notebooks/web-app/keeps-strangers-out" => keeps_strangers_out;
    "notebooks/web-app/refuses-forged-requests" => refuses_forged_requests;
}

/// Probes are answered to whoever asks.
pub async fn answers_probes(cx: &Cx) -> Outcome {
    let app = cx.component(SERVICE_NAME, "", Identity::Nobody);
    for probe in ["/healthz/liveness", "/healthz/readiness"] {
        let answer = app.get(probe).await?;
        ensure!(
            answer.is_success(),
            "GET {probe} without an identity was answered with {}",
            answer.summary()
        );
    }
    Ok(())
}

/// What is sent to stop a notebook that exists, and must not be.
async fn asleep(cx: &Cx, label: &str) -> Outcome<String> {
    let name = cx.name(label);
    create_stopped(cx, &name).await?;
    Ok(name)
}

/// The Notebook as it was, whatever was asked for.
async fn untouched(cx: &Cx, name: &str, who: &str) -> Outcome {
    let found = cx.get(&NOTEBOOK, name).await?;
    let kept = found.is_some_and(|n| n["metadata"]["deletionTimestamp"].is_null());
    ensure!(kept, "Notebook `{name}` was deleted by {who}");
    Ok(())
}

/// Who does not say who they are may neither read nor write.
pub async fn needs_identity(cx: &Cx) -> Outcome {
    let owner = App::as_owner(cx).await?;
    let nobody = owner.as_identity(Identity::Nobody);
    let name = asleep(cx, "nobody").await?;
    owner.shown("notebooks").await?;
    let answer = nobody.http.get(&nobody.path("notebooks")).await?;
    refused(
        &answer,
        &FORBIDDEN,
        "the list of notebooks without an identity",
    )?;
    let one = format!("notebooks/{name}");
    let answer = nobody.write("DELETE", &one, None).await?;
    refused(
        &answer,
        &FORBIDDEN,
        "the deletion of a notebook without an identity",
    )?;
    untouched(cx, &name, "somebody without an identity").await?;
    owner.done("DELETE", &one, None).await.map(drop)
}

/// Who has no rights in a namespace may neither read nor write there.
pub async fn keeps_strangers_out(cx: &Cx) -> Outcome {
    let owner = App::as_owner(cx).await?;
    let other = owner.as_identity(Identity::user(stranger(cx))?);
    let name = asleep(cx, "foreign").await?;
    owner.shown("notebooks").await?;
    let answer = other.http.get(&other.path("notebooks")).await?;
    refused(
        &answer,
        &FORBIDDEN,
        "the list of notebooks for a user without rights",
    )?;
    let one = format!("notebooks/{name}");
    let answer = other.write("DELETE", &one, None).await?;
    refused(
        &answer,
        &FORBIDDEN,
        "the deletion of a notebook by a user without rights",
    )?;
    untouched(cx, &name, "a user without rights").await?;
    owner.done("DELETE", &one, None).await.map(drop)
}

/// What another site could have sent in the user's name is refused: it knows no cookie, and can send no header.
pub async fn refuses_forged_requests(cx: &Cx) -> Outcome {
    let owner = App::as_owner(cx).await?;
    let name = asleep(cx, "forged").await?;
    let one = format!("notebooks/{name}");
    for (cookie, header, what) in [
        ("", "", "without cookie and header"),
        (PAIR, "", "without the header"),
        ("", PAIR, "without the cookie"),
        (PAIR, "another", "whose header is not equal to its cookie"),
    ] {
        let request = protected(owner.unprotected("DELETE", &one, None), cookie, header);
        let answer = owner.http.send(request).await?;
        let what = format!("the deletion of a notebook by a request {what}");
        refused(&answer, &FORBIDDEN, &what)?;
        untouched(cx, &name, "a request that another site could have sent").await?;
    }
    owner.done("DELETE", &one, None).await.map(drop)
}
