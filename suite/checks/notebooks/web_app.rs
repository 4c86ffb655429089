//! The API of the web application for notebooks: what it shows and does in the name of its users.
//!
//! It speaks as the user whom the gateway names, here the owner of the run's Profile. Whatever it writes it writes only with
//! a cookie and a header that are equal; the suite chooses the pair itself, as any page of the application may.

pub(super) mod create;
pub(super) mod guard;
pub(super) mod manage;
pub(super) mod view;

use std::time::Duration;

use crate::{checks::prelude::*, cluster::discover::items};

/// The name of the web application among the platform's services.
const SERVICE_NAME: &str = "jupyter-web-app";
/// The cookie and the header that must be equal, and what the suite puts into both.
const COOKIE: &str = "XSRF-TOKEN";
const CSRF_HEADER: &str = "x-xsrf-token";
const PAIR: &str = "kfconform-pair";

/// The user who owns the Profile whose namespace the run works in.
pub(in crate::checks) async fn owner(cx: &Cx) -> Outcome<String> {
    let profile = cx.get_in(&PROFILE, "", cx.namespace()).await?;
    let owner = profile.unwrap_or_default()["spec"]["owner"].clone();
    match (owner["kind"].as_str(), owner["name"].as_str()) {
        (Some("User"), Some(name)) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "namespace `{}` belongs to no Profile that is a user's",
                cx.namespace()
            ),
        )),
    }
}

/// A user to whom nobody ever gave a right.
pub(in crate::checks) fn stranger(cx: &Cx) -> String {
    format!("stranger.{}@conformance.kubeflow.org", cx.run.id)
}

/// The application, as one identity, in one namespace.
struct App<'a> {
    http: Http<'a>,
    namespace: &'a str,
}

impl<'a> App<'a> {
    /// The application, as the owner of the run's Profile.
    async fn as_owner(cx: &'a Cx) -> Outcome<Self> {
        let owner = owner(cx).await?;
        Ok(Self::of(cx, Identity::user(owner)?))
    }

    fn of(cx: &'a Cx, identity: Identity) -> Self {
        Self {
            http: cx.component(SERVICE_NAME, "", identity),
            namespace: cx.namespace(),
        }
    }

    /// The same as somebody else.
    fn as_identity(&self, identity: Identity) -> Self {
        Self {
            http: self.http.as_identity(identity),
            namespace: self.namespace,
        }
    }

    /// A path of the run's namespace.
    fn path(&self, rest: &str) -> String {
        format!("/api/namespaces/{}/{rest}", self.namespace)
    }

    /// What is shown under a path of the namespace.
    async fn shown(&self, rest: &str) -> Outcome<Value> {
        self.http.read(&self.path(rest)).await
    }

    /// A request that writes, without what protects it from other sites.
    fn unprotected(&self, method: &str, rest: &str, body: Option<&Value>) -> Request {
        let request = self.http.request(method, &self.path(rest));
        match body {
            Some(body) => request.json(body.clone()),
            None => request,
        }
    }

    /// A request that writes.
    async fn write(&self, method: &str, rest: &str, body: Option<&Value>) -> Outcome<Answer> {
        let request = protected(self.unprotected(method, rest, body), PAIR, PAIR);
        self.http.send(request).await
    }

    /// A request that writes and must succeed.
    async fn done(&self, method: &str, rest: &str, body: Option<&Value>) -> Outcome<Value> {
        let answer = self.write(method, rest, body).await?;
        accepted(&answer, &format!("{method} {}", self.path(rest)))
    }

    /// The row of a notebook in the list, asked for until `holds` of it or the time is up.
    async fn row(
        &self,
        cx: &Cx,
        name: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Outcome<Option<Value>> {
        let until = cx.after("reconcile");
        let mut wait = Duration::from_millis(100);
        loop {
            let list = self.shown("notebooks").await?;
            let row = items(&list, "notebooks").find(|row| row["name"] == name);
            if row.is_some_and(&holds) || cx.now_ms() >= until {
                return Ok(row.cloned());
            }
            cx.pause(wait).await;
            wait = wait.mul_f64(1.5).min(Duration::from_millis(1500));
        }
    }
}

/// A request with a cookie and a header.
fn protected(request: Request, cookie: &str, header: &str) -> Request {
    let request = if cookie.is_empty() {
        request
    } else {
        request.header("cookie", format!("{COOKIE}={cookie}"))
    };
    if header.is_empty() {
        request
    } else {
        request.header(CSRF_HEADER, header)
    }
}

/// What an answer to what the owner may do must be: a success. A refusal of the owner's rights is the distribution's fault,
/// which rights themselves are judged elsewhere.
fn accepted(answer: &Answer, doing: &str) -> Outcome<Value> {
    if answer.is_success() {
        return Ok(answer.json().clone());
    }
    let said = answer.summary();
    Err(Stop::unlike(
        format!("{doing} by the owner of the Profile was answered with {said}"),
        "a success (2xx)",
        said,
    ))
}

/// What an answer to a request that must be refused must be: for want of an identity, of rights or of protection, or for
/// what it says.
fn refused(answer: &Answer, statuses: &[u16], what: &str) -> Outcome {
    if statuses.contains(&answer.status) {
        return Ok(());
    }
    let said = answer.summary();
    let wanted: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    Err(Stop::unlike(
        format!("{what} was answered with {said}"),
        format!("a refusal ({})", wanted.join(" or ")),
        said,
    ))
}

/// Refusals of who asks, and of what is asked for.
const FORBIDDEN: [u16; 2] = [401, 403];
const BAD: [u16; 4] = [400, 404, 409, 422];
