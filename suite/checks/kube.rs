//! What a check does at the Kubernetes API.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Cx, timeouts::show_duration};
use crate::{
    cluster::{
        Answer, Body, Endpoint, Kind, Request, TransportError,
        discover::{escape, items, name_of},
        kinds::{EVENT, POD},
        session::millis,
    },
    outcome::{CouldNotRun, Failure, Outcome, Stop, shorten},
};

/// A look after a wait that takes so long says that the Kubernetes API was silent, and the wait says nothing.
const SILENCE: Duration = Duration::from_secs(5);

/// How a write is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Persist,
    DryRun,
}

impl Cx {
    /// Creates an object in the run's namespace (for a namespaced kind) and returns what was stored.
    pub async fn create(&self, kind: &Kind, object: &Value) -> Outcome<Value> {
        let answer = self.try_create(kind, object).await?;
        accepted(
            &answer,
            &format!("the creation of {} `{}`", kind.kind, name_of(object)),
        )
    }

    /// Asks for a creation and returns the answer, whatever it is.
    pub async fn try_create(&self, kind: &Kind, object: &Value) -> Outcome<Answer> {
        self.post(kind, object, Write::Persist).await
    }

    /// Asks for a creation that stores nothing (`dryRun=All`) and returns the object as admission left it.
    pub async fn dry_run(&self, kind: &Kind, object: &Value) -> Outcome<Value> {
        let answer = self.try_dry_run(kind, object).await?;
        accepted(
            &answer,
            &format!(
                "the creation (dry run) of {} `{}`",
                kind.kind,
                name_of(object)
            ),
        )
    }

    /// Asks for a creation that stores nothing and returns the answer, whatever it is.
    pub async fn try_dry_run(&self, kind: &Kind, object: &Value) -> Outcome<Answer> {
        self.post(kind, object, Write::DryRun).await
    }

    /// The heart of a negative check: `good` is accepted, and `bad`, which differs from it in what is under test only,
    /// is refused. `what` names what is wrong with it. Both are dry runs.
    pub async fn refuses(&self, kind: &Kind, good: &Value, bad: &Value, what: &str) -> Outcome {
        self.dry_run(kind, good).await?;
        self.refuses_only(kind, bad, what).await
    }

    /// `bad` is refused (dry run). Use it for further cases beside a twin that was accepted before.
    pub async fn refuses_only(&self, kind: &Kind, bad: &Value, what: &str) -> Outcome {
        let answer = self.try_dry_run(kind, bad).await?;
        refused(&answer, &format!("{} {what}", a(kind.kind)))
    }

    async fn post(&self, kind: &Kind, object: &Value, write: Write) -> Outcome<Answer> {
        let query = if write == Write::DryRun {
            "?dryRun=All"
        } else {
            ""
        };
        let mut object = self.own(object);
        if kind.namespaced && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = self.namespace().into();
        }
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let path = format!("{}{query}", kind.path(&namespace));
        self.kube(Request::new(Endpoint::Kubernetes, "POST", path).json(object))
            .await
    }

    /// An object of the run's namespace; none where it does not exist.
    pub async fn get(&self, kind: &Kind, name: &str) -> Outcome<Option<Value>> {
        self.get_in(kind, self.namespace(), name).await
    }

    /// An object of any namespace; none where it does not exist.
    pub async fn get_in(&self, kind: &Kind, namespace: &str, name: &str) -> Outcome<Option<Value>> {
        let request = Request::new(
            Endpoint::Kubernetes,
            "GET",
            kind.object_path(namespace, name),
        );
        let answer = self.kube(request).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        accepted(&answer, &format!("the reading of {} `{name}`", kind.kind)).map(Some)
    }

    /// An object that must exist: where it does not, the check fails.
    pub async fn need(&self, kind: &Kind, name: &str) -> Outcome<Value> {
        self.get(kind, name).await?.ok_or_else(|| {
            Stop::unlike(
                format!("{} `{name}` does not exist", kind.kind),
                "the object",
                "404 Not Found",
            )
        })
    }

    /// Objects of the run's namespace; `selector` is a label selector, empty for all.
    pub async fn list(&self, kind: &Kind, selector: &str) -> Outcome<Vec<Value>> {
        self.list_in(kind, self.namespace(), selector).await
    }

    /// Objects of any namespace; `selector` is a label selector, empty for all.
    pub async fn list_in(
        &self,
        kind: &Kind,
        namespace: &str,
        selector: &str,
    ) -> Outcome<Vec<Value>> {
        let query = if selector.is_empty() {
            String::new()
        } else {
            format!("?labelSelector={}", escape(selector))
        };
        let path = format!("{}{query}", kind.path(namespace));
        self.listed(kind, Request::new(Endpoint::Kubernetes, "GET", path))
            .await
    }

    /// Those objects of the run's namespace for which `wanted` holds. Nothing else is recorded: there may be hundreds, of
    /// which a check looks at one.
    pub async fn list_those(
        &self,
        kind: &Kind,
        wanted: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Outcome<Vec<Value>> {
        let path = kind.path(self.namespace());
        let request = Request::new(Endpoint::Kubernetes, "GET", path);
        let keep = move |object: &Value| {
            if wanted(object) {
                object.clone()
            } else {
                Value::Null
            }
        };
        self.listed(kind, request.keep(keep)).await
    }

    async fn listed(&self, kind: &Kind, request: Request) -> Outcome<Vec<Value>> {
        let answer = self.kube(request).await?;
        let list = accepted(&answer, &format!("the listing of {}", kind.plural))?;
        Ok(items(&list, "items").cloned().collect())
    }

    /// Changes an object by a JSON merge patch and returns what was stored.
    pub async fn patch(&self, kind: &Kind, name: &str, patch: &Value) -> Outcome<Value> {
        self.patch_in(kind, self.namespace(), name, patch).await
    }

    /// The same of an object of any namespace.
    pub async fn patch_in(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Outcome<Value> {
        let answer = self.try_patch_in(kind, namespace, name, patch).await?;
        accepted(&answer, &format!("the change of {} `{name}`", kind.kind))
    }

    /// Asks for a change by a JSON merge patch and returns the answer, whatever it is.
    pub async fn try_patch(&self, kind: &Kind, name: &str, patch: &Value) -> Outcome<Answer> {
        self.try_patch_in(kind, self.namespace(), name, patch).await
    }

    /// The same of an object of any namespace.
    async fn try_patch_in(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Outcome<Answer> {
        let path = kind.object_path(namespace, name);
        let request = Request::new(Endpoint::Kubernetes, "PATCH", path)
            .content("application/merge-patch+json", Body::Json(patch.clone()));
        self.kube(request).await
    }

    /// The change `good` of an object is accepted, and `bad`, another change of the same kind, is refused. `what` names
    /// what is wrong with it. Both are dry runs.
    pub async fn refuses_patch(
        &self,
        kind: &Kind,
        name: &str,
        good: &Value,
        bad: &Value,
        what: &str,
    ) -> Outcome {
        self.refuses_patch_in(kind, self.namespace(), name, good, bad, what)
            .await
    }

    /// The same for an object of any namespace.
    pub async fn refuses_patch_in(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        good: &Value,
        bad: &Value,
        what: &str,
    ) -> Outcome {
        let path = format!("{}?dryRun=All", kind.object_path(namespace, name));
        let change = |patch: &Value| {
            Request::new(Endpoint::Kubernetes, "PATCH", path.clone())
                .content("application/merge-patch+json", Body::Json(patch.clone()))
        };
        let doing = format!("the change (dry run) of {} `{name}`", kind.kind);
        accepted(&self.kube(change(good)).await?, &doing)?;
        refused(
            &self.kube(change(bad)).await?,
            &format!("a change of {} `{name}` {what}", kind.kind),
        )
    }

    /// Deletes an object (background). One that is already gone is fine.
    pub async fn delete(&self, kind: &Kind, name: &str) -> Outcome {
        self.delete_in(kind, self.namespace(), name).await
    }

    /// The same of an object of any namespace.
    pub async fn delete_in(&self, kind: &Kind, namespace: &str, name: &str) -> Outcome {
        let answer = self
            .kube(Request::new(
                Endpoint::Kubernetes,
                "DELETE",
                kind.object_path(namespace, name),
            ))
            .await?;
        if answer.status == 404 {
            return Ok(());
        }
        accepted(&answer, &format!("the deletion of {} `{name}`", kind.kind)).map(drop)
    }

    /// Any request at the Kubernetes API. A throttled or briefly unavailable API is asked again within the timeout
    /// `retry`; a webhook that cannot be called is the component's fault and ends as an answer of 500.
    pub async fn kube(&self, request: Request) -> Outcome<Answer> {
        let until = self.after("retry");
        let mut wait = Duration::from_millis(200);
        let mut unsure = false;
        loop {
            let sent = self.session.send(request.clone()).await;
            if let Ok(answer) = &sent {
                settled(&request, answer, &mut unsure)?;
            }
            let again = match &sent {
                Ok(answer) => {
                    matches!(answer.status, 429 | 502 | 503 | 504)
                        || (answer.status == 500 && is_webhook_down(answer))
                }
                // Nothing can be said of a write whose answer is lost; a read is asked again.
                Err(TransportError::Unreachable(_)) => request.asked.method == "GET",
                Err(_) => false,
            };
            if !again || self.now_ms().saturating_add(millis(wait)) > until {
                return sent.map_err(|e| could_not_send(&request, &e));
            }
            let asked = sent
                .ok()
                .and_then(|a| a.header("retry-after").and_then(|s| s.parse().ok()));
            self.pause(asked.map_or(wait, |seconds: u64| Duration::from_secs(seconds.min(10))))
                .await;
            wait = (wait * 2).min(Duration::from_secs(3));
        }
    }

    /// Waits until `holds` of an object, within a named timeout. `what` finishes the sentence "it did not …".
    pub async fn until(
        &self,
        kind: &Kind,
        name: &str,
        timeout: &'static str,
        what: &str,
        holds: impl FnMut(&Value) -> bool + Send,
    ) -> Outcome<Value> {
        self.until_in(kind, self.namespace(), name, timeout, what, holds)
            .await
    }

    /// The same for an object of any namespace.
    pub async fn until_in(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        timeout: &'static str,
        what: &str,
        mut holds: impl FnMut(&Value) -> bool + Send,
    ) -> Outcome<Value> {
        let place = (namespace, name);
        self.watch_until_at(kind, place, timeout, what, |object| Ok(holds(object)))
            .await
    }

    /// The same with a condition that may also stop the wait. It sees every state that the watch shows.
    pub async fn watch_until(
        &self,
        kind: &Kind,
        name: &str,
        timeout: &'static str,
        what: &str,
        holds: impl FnMut(&Value) -> Outcome<bool> + Send,
    ) -> Outcome<Value> {
        let place = (self.namespace(), name);
        self.watch_until_at(kind, place, timeout, what, holds).await
    }

    /// The same for an object of any namespace (namespace, name).
    async fn watch_until_at(
        &self,
        kind: &Kind,
        place: (&str, &str),
        timeout: &'static str,
        what: &str,
        mut holds: impl FnMut(&Value) -> Outcome<bool> + Send,
    ) -> Outcome<Value> {
        let mut seen = None;
        let found = self
            .watch_object(kind, place, self.after(timeout), |object| {
                let Some(object) = object else {
                    return Ok(false);
                };
                seen = Some(object.clone());
                holds(object)
            })
            .await?;
        match found {
            Some(object) => Ok(object),
            None => Err(self
                .timed_out(kind, place, timeout, what, seen.as_ref())
                .await?),
        }
    }

    /// Waits until an object is gone, within a named timeout.
    pub async fn until_gone(&self, kind: &Kind, name: &str, timeout: &'static str) -> Outcome {
        self.until_gone_in(kind, self.namespace(), name, timeout)
            .await
    }

    /// Waits until an object of any namespace is gone, within a named timeout.
    pub async fn until_gone_in(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        timeout: &'static str,
    ) -> Outcome {
        let mut seen = None;
        let mut gone = false;
        let place = (namespace, name);
        self.watch_object(kind, place, self.after(timeout), |object| {
            gone = object.is_none();
            seen = object.cloned();
            Ok(gone)
        })
        .await?;
        if gone {
            Ok(())
        } else {
            Err(self
                .timed_out(kind, place, timeout, "go", seen.as_ref())
                .await?)
        }
    }

    /// Watches an object of the run's namespace up to a moment on the run's clock, until `visit` says that it is as it was waited
    /// for; none when the time was up.
    pub(crate) async fn watch_to(
        &self,
        kind: &Kind,
        name: &str,
        until: u64,
        mut visit: impl FnMut(&Value) -> Outcome<bool> + Send,
    ) -> Outcome<Option<Value>> {
        self.watch_object(kind, (self.namespace(), name), until, |object| {
            object.map_or(Ok(false), &mut visit)
        })
        .await
    }

    /// Reads an object (namespace, name), then watches it. `visit` sees each state (none: the object does not exist) and says whether it
    /// is the one waited for. The answer is that state; none when the time was up, or when it was an absence.
    async fn watch_object(
        &self,
        kind: &Kind,
        (namespace, name): (&str, &str),
        until: u64,
        mut visit: impl FnMut(Option<&Value>) -> Outcome<bool> + Send,
    ) -> Outcome<Option<Value>> {
        loop {
            // A list of one gives the version from which to watch even where the object is not there yet.
            let field = format!("fieldSelector={}", escape(&format!("metadata.name={name}")));
            let path = format!("{}?{field}", kind.path(namespace));
            let answer = self
                .kube(Request::new(Endpoint::Kubernetes, "GET", path.clone()))
                .await?;
            let list = accepted(&answer, &format!("the listing of {}", kind.plural))?;
            let object = items(&list, "items").next().cloned();
            if visit(object.as_ref())? {
                return Ok(object);
            }
            if self.now_ms() >= until {
                return Ok(None);
            }
            let version = list["metadata"]["resourceVersion"]
                .as_str()
                .unwrap_or_default();
            let seconds = (until - self.now_ms()).div_ceil(1000);
            let path =
                format!("{path}&watch=true&resourceVersion={version}&timeoutSeconds={seconds}");
            let opened = self.now_ms();
            match self
                .session
                .watch(Request::new(Endpoint::Kubernetes, "GET", path), until)
                .await
            {
                Ok(mut watch) => {
                    while let Some(event) = watch.next().await {
                        let object = &event["object"];
                        let seen = match event["type"].as_str() {
                            Some("DELETED") => visit(None)?,
                            Some("ADDED" | "MODIFIED") => visit(Some(object))?,
                            // A version that is too old, or a bookmark: the next list tells.
                            Some("ERROR") => break,
                            _ => false,
                        };
                        if seen {
                            return Ok((event["type"] != "DELETED").then(|| object.clone()));
                        }
                    }
                }
                Err(
                    e @ (TransportError::Deadline
                    | TransportError::NotRecorded(_)
                    | TransportError::Credential(_)),
                ) => {
                    let what = format!("{}?watch=true", kind.path(namespace));
                    return Err(could_not_send(
                        &Request::new(Endpoint::Kubernetes, "GET", what),
                        &e,
                    ));
                }
                Err(_) => {}
            }
            // A connection that died in silence shows nothing until the time is up, whatever happened meanwhile: what a
            // wait that ran out means is decided by a last look, above.
            if self.now_ms() < opened + 500 {
                // A server that ends watches at once is not to be asked without a pause.
                self.pause(Duration::from_millis(500)).await;
            }
        }
    }

    /// What a wait that ran out means: the distribution's failure, unless the suite's own pods could not be run.
    async fn timed_out(
        &self,
        kind: &Kind,
        (namespace, name): (&str, &str),
        timeout: &'static str,
        what: &str,
        seen: Option<&Value>,
    ) -> Outcome<Stop> {
        let start = name.to_owned();
        let request = Request::new(Endpoint::Kubernetes, "GET", POD.path(namespace));
        // A namespace that was configured holds pods of others, too.
        let request = request.keep(move |pod| {
            let own = name_of(pod).starts_with(&start);
            own.then(|| pod.clone()).into()
        });
        let asked = self.now_ms();
        let answer = self.kube(request).await?;
        let took = Duration::from_millis(self.now_ms().saturating_sub(asked));
        if took >= SILENCE {
            // No controller could see or write anything meanwhile.
            return Ok(Stop::CouldNotRun(
                CouldNotRun::ApiServer,
                format!(
                    "the Kubernetes API did not answer for {} when the wait for {} `{name}` to {what} was up",
                    show_duration(Duration::from_secs(took.as_secs())),
                    kind.kind
                ),
            ));
        }
        let pods = accepted(&answer, "the listing of pods")?;
        if let Some(stop) = items(&pods, "items").find_map(|pod| self.cannot_run(pod)) {
            return Ok(stop);
        }
        if let Some(stop) = self.no_quota(namespace).await {
            return Ok(stop);
        }
        let after = show_duration(self.run.timeout(timeout));
        Ok(Stop::Failed(Failure {
            message: format!(
                "{} `{name}` did not {what} within {after} (timeout `{timeout}`)",
                kind.kind
            ),
            expected: Some(format!("to {what}")),
            observed: None,
            last_state: Some(seen.map_or_else(|| "it does not exist".to_owned(), state_of)),
        }))
    }

    /// Reads the pods that a selector finds again and again until `holds` of them, within a named timeout. `of` says whose
    /// they are, and `what` finishes the sentence "the pods of … did not …".
    pub(super) async fn pods_until(
        &self,
        of: &str,
        selector: &str,
        timeout: &'static str,
        what: &str,
        mut holds: impl FnMut(&[Value]) -> bool,
    ) -> Outcome<Vec<Value>> {
        let until = self.after(timeout);
        let mut wait = Duration::from_millis(50);
        loop {
            let pods = self.list(&POD, selector).await?;
            if holds(&pods) {
                return Ok(pods);
            }
            if self.now_ms() >= until {
                if let Some(stop) = self.no_room().await {
                    return Err(stop);
                }
                let seen: Vec<String> = pods.iter().map(|pod| pod["status"].to_string()).collect();
                return Err(Stop::Failed(Failure {
                    message: format!(
                        "the pods of {of} did not {what} in time (timeout `{timeout}`)"
                    ),
                    expected: Some(format!("to {what}")),
                    observed: Some(format!("{} pods", pods.len())),
                    last_state: Some(shorten(&seen.join("\n"), 1000)),
                }));
            }
            self.pause(wait).await;
            wait = (wait * 2).min(Duration::from_millis(1500));
        }
    }

    /// Why a wait that ran out says nothing of the distribution, if there is a pod that cannot run: in the run's namespace,
    /// or where a component without namespaces of its own runs what it is told to.
    pub(super) async fn no_room(&self) -> Option<Stop> {
        let waiting = |pod: &Value| {
            let status = &pod["status"];
            let waits = condition(pod, "PodScheduled") == "False" || status["phase"] == "Pending";
            let kept = json!({"name": name_of(pod), "namespace": pod["metadata"]["namespace"]});
            let status = json!({
                "conditions": status["conditions"], "containerStatuses": status["containerStatuses"],
            });
            waits
                .then(|| json!({"metadata": kept, "status": status}))
                .into()
        };
        let pipelines = self.facts().components.get("pipelines");
        let mut paths = vec![POD.path(self.namespace())];
        if let Some(namespace) = pipelines.and_then(|p| p.namespace.as_ref()) {
            paths.push(format!(
                "{}?labelSelector=pipeline%2Frunid",
                POD.path(namespace)
            ));
        }
        for path in paths {
            let request = Request::new(Endpoint::Kubernetes, "GET", path).keep(waiting);
            // What cannot be looked at changes nothing.
            let Ok(answer) = self.session.send(request).await else {
                continue;
            };
            let found = items(answer.json(), "items").find_map(|pod| self.cannot_run(pod));
            if found.is_some() {
                return found;
            }
        }
        self.no_quota(self.namespace()).await
    }

    /// Whether a quota kept pods of ours from being made at all.
    async fn no_quota(&self, namespace: &str) -> Option<Stop> {
        let ours = self.prefix();
        let exceeds = move |event: &Value| {
            let of = event["involvedObject"]["name"].as_str().unwrap_or_default();
            let message = event["message"].as_str().unwrap_or_default();
            let is_it = of.starts_with(&ours) && message.contains("exceeded quota");
            is_it.then(|| json!({"message": message})).into()
        };
        let events = EVENT.path(namespace);
        let path = format!("{events}?fieldSelector=reason%3DFailedCreate");
        let request = Request::new(Endpoint::Kubernetes, "GET", path).keep(exceeds);
        // What cannot be looked at changes nothing.
        let answer = self.session.send(request).await.ok()?;
        let mut events = items(answer.json(), "items");
        let why = events.find_map(|event| event["message"].as_str())?;
        let why = format!("a quota leaves no room: {}", shorten(why, 300));
        Some(Stop::CouldNotRun(CouldNotRun::NoRoom, why))
    }

    /// Whether a pod of ours cannot run for a reason that is not the distribution's.
    fn cannot_run(&self, pod: &Value) -> Option<Stop> {
        let statuses = items(&pod["status"], "initContainerStatuses")
            .chain(items(&pod["status"], "containerStatuses"));
        for status in statuses {
            let waiting = &status["state"]["waiting"];
            let pull = matches!(
                waiting["reason"].as_str(),
                Some("ErrImagePull" | "ImagePullBackOff")
            );
            if pull
                && status["image"]
                    .as_str()
                    .is_some_and(|i| i.ends_with(self.run.image.as_str()))
            {
                let why = waiting["message"].as_str().unwrap_or_default();
                return Some(Stop::CouldNotRun(
                    CouldNotRun::ImagePull,
                    format!(
                        "the suite's image `{}` cannot be pulled: {}",
                        self.run.image,
                        shorten(why, 300)
                    ),
                ));
            }
        }
        items(&pod["status"], "conditions")
            .find(|c| {
                // A volume that does not exist says nothing of room: some models have none on purpose.
                let volume = c["message"]
                    .as_str()
                    .is_some_and(|m| m.contains("\" not found"));
                c["type"] == "PodScheduled"
                    && c["status"] == "False"
                    && c["reason"] == "Unschedulable"
                    && !volume
            })
            .map(|c| {
                let why = c["message"].as_str().unwrap_or_default();
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                Stop::CouldNotRun(
                    CouldNotRun::NoRoom,
                    format!("no node has room for pod `{name}`: {}", shorten(why, 300)),
                )
            })
    }
}

/// Stops where a write is refused as a conflict and an earlier attempt at it may have been carried out: such a conflict is
/// with ourselves, most likely. `unsure` is whether there was such an attempt.
pub(super) fn settled(request: &Request, answer: &Answer, unsure: &mut bool) -> Outcome {
    if *unsure && answer.status == 409 {
        return Err(Stop::CouldNotRun(
            CouldNotRun::ApiServer,
            format!(
                "{}: nobody knows whether an earlier attempt, which was answered with a 5xx, was carried out: {}",
                request.asked.line(),
                answer.summary()
            ),
        ));
    }
    *unsure |= request.asked.method != "GET" && matches!(answer.status, 502..=504);
    Ok(())
}

/// What an answer to a documented request must be: a success, with its body.
pub(super) fn accepted(answer: &Answer, doing: &str) -> Outcome<Value> {
    if answer.is_success() {
        Ok(answer.json().clone())
    } else {
        Err(unexpected(answer, doing, "a success (2xx)"))
    }
}

/// What an answer to a request that must be refused must be: refused by admission or schema, for what it says.
pub(super) fn refused(answer: &Answer, what: &str) -> Outcome {
    match answer.status {
        200..=299 => Err(Stop::unlike(
            format!("{what} was accepted, and must be refused"),
            "a refusal (4xx)",
            answer.status.to_string(),
        )),
        // 401, 404, 409 and 429 say nothing about the object; nor does a missing right.
        400 | 402..=428 | 430..=499
            if !matches!(answer.status, 404 | 409) && !is_no_permission(answer) =>
        {
            Ok(())
        }
        _ => Err(unexpected(
            answer,
            what,
            "a refusal (4xx) by admission or schema",
        )),
    }
}

/// Sorts an answer that should have been another: the distribution's failure, or ours to find out.
pub(super) fn unexpected(answer: &Answer, doing: &str, expected: &str) -> Stop {
    let said = answer.summary();
    if answer.status == 401 || is_no_permission(answer) {
        return Stop::CouldNotRun(CouldNotRun::NoPermission, format!("{doing}: {said}"));
    }
    let own_fault = answer.status == 429 || (answer.status >= 500 && !is_webhook_down(answer));
    if own_fault {
        return Stop::CouldNotRun(CouldNotRun::ApiServer, format!("{doing}: {said}"));
    }
    if answer.status == 403 && said.contains("exceeded quota") {
        return Stop::CouldNotRun(CouldNotRun::NoRoom, format!("{doing}: {said}"));
    }
    Stop::unlike(format!("{doing} was answered with {said}"), expected, said)
}

/// RBAC's own words, as against an admission webhook's 403.
fn is_no_permission(answer: &Answer) -> bool {
    let message = answer.json()["message"].as_str().unwrap_or_default();
    answer.status == 403 && message.contains(" cannot ") && !message.contains("admission webhook")
}

/// The API server could not call an admission webhook: the component that owns it is not serving.
fn is_webhook_down(answer: &Answer) -> bool {
    answer.json()["message"]
        .as_str()
        .is_some_and(|m| m.contains("failed calling webhook"))
}

/// Why a request has no answer, as a stop. Only of a port that nobody listens on is it known that the distribution is
/// wrong: it was reached.
pub(super) fn could_not_send(request: &Request, error: &TransportError) -> Stop {
    let reason = match error {
        TransportError::Refused(_) => {
            let line = request.asked.line();
            return Stop::unlike(
                format!("{line}: nothing takes connections there: {error}"),
                "an answer",
                error.to_string(),
            );
        }
        TransportError::Credential(_) => CouldNotRun::NoPermission,
        TransportError::TooLarge(_) | TransportError::TooManyPages(_) => {
            CouldNotRun::AnswerTooLarge
        }
        TransportError::Deadline => CouldNotRun::Deadline,
        TransportError::NotRecorded(_) => CouldNotRun::EvidenceMissing,
        TransportError::Unreachable(_) | TransportError::Timeout(_) => CouldNotRun::Unreachable,
    };
    Stop::CouldNotRun(reason, format!("{}: {error}", request.asked.line()))
}

/// An object's state in a line: its conditions, else its status, bounded.
pub(super) fn state_of(object: &Value) -> String {
    let conditions: Vec<String> = items(&object["status"], "conditions")
        .map(|c| {
            let text = |key: &str| c[key].as_str().unwrap_or_default();
            let why = [text("reason"), text("message")]
                .into_iter()
                .filter(|s| !s.is_empty())
                .collect::<Vec<_>>()
                .join(": ");
            let why = if why.is_empty() {
                why
            } else {
                format!(" ({})", shorten(&why, 160))
            };
            format!("{}={}{why}", text("type"), text("status"))
        })
        .collect();
    if conditions.is_empty() {
        let status = object.get("status").filter(|s| !s.is_null());
        status.map_or_else(
            || "it has no status".to_owned(),
            |s| shorten(&s.to_string(), 600),
        )
    } else {
        shorten(&conditions.join(", "), 1000)
    }
}

/// The status of a condition: `True`, `False`, `Unknown`, or empty where it is absent.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    condition_of(object, kind)["status"]
        .as_str()
        .unwrap_or_default()
}

/// A condition; null where it is absent.
pub fn condition_of<'a>(object: &'a Value, kind: &str) -> &'a Value {
    const NULL: &Value = &Value::Null;
    items(&object["status"], "conditions")
        .find(|c| c["type"] == kind)
        .unwrap_or(NULL)
}

/// Whether an object names this owner as its controller.
pub fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    items(&object["metadata"], "ownerReferences")
        .any(|o| o["controller"] == true && o["uid"] == owner["metadata"]["uid"])
}

fn a(noun: &str) -> String {
    let article = if noun.starts_with(['A', 'E', 'I', 'O', 'U']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

/// Sets `value` at a dotted path (`spec.objective.type`, array elements by number); `null` removes the key. For the
/// twin of an object that differs in one field only.
#[must_use]
pub fn with(object: &Value, path: &str, value: Value) -> Value {
    let mut object = object.clone();
    let mut at = &mut object;
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        let last = keys.peek().is_none();
        at = match (key.parse::<usize>(), at.is_array()) {
            (Ok(index), true) => &mut at[index],
            _ if last && value.is_null() => {
                if let Some(map) = at.as_object_mut() {
                    map.shift_remove(key);
                }
                return object;
            }
            _ => {
                if !at.is_object() {
                    *at = json!({});
                }
                &mut at[key]
            }
        };
        if last {
            *at = value;
            return object;
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn answer(status: u16, message: &str) -> Answer {
        Answer {
            status,
            headers: BTreeMap::new(),
            body: Body::Json(json!({"message": message})),
        }
    }

    #[test]
    fn a_missing_right_is_never_a_refusal_nor_a_failure() {
        let rbac = answer(
            403,
            "experiments.kubeflow.org is forbidden: User \"x\" cannot create resource \"experiments\"",
        );
        for stop in [
            refused(&rbac, "it").unwrap_err(),
            accepted(&rbac, "it").unwrap_err(),
        ] {
            assert!(
                matches!(stop, Stop::CouldNotRun(CouldNotRun::NoPermission, _)),
                "{stop}"
            );
        }
        let webhook = answer(
            403,
            "admission webhook \"x\" denied the request: name cannot be empty",
        );
        assert_eq!(refused(&webhook, "it"), Ok(()));
        assert!(matches!(accepted(&webhook, "it"), Err(Stop::Failed(_))));
    }

    #[test]
    fn a_conflict_with_an_own_earlier_attempt_says_nothing() {
        let post = Request::new(Endpoint::Kubernetes, "POST", "/x");
        let get = Request::new(Endpoint::Kubernetes, "GET", "/x");
        let conflict = answer(409, "x already exists");
        for (request, before, sure) in [
            (&post, 504, false),
            (&post, 503, false),
            // Nothing was done then.
            (&post, 429, true),
            (&get, 504, true),
        ] {
            let mut unsure = false;
            assert_eq!(settled(request, &conflict, &mut unsure), Ok(()));
            assert_eq!(settled(request, &answer(before, ""), &mut unsure), Ok(()));
            let said = settled(request, &conflict, &mut unsure);
            let stopped = matches!(said, Err(Stop::CouldNotRun(CouldNotRun::ApiServer, _)));
            assert_eq!(said.is_ok(), sure, "{before}");
            assert!(sure || stopped);
        }
    }

    #[test]
    fn only_a_refusal_of_the_object_counts() {
        for status in [400, 403, 422] {
            assert_eq!(refused(&answer(status, "no"), "it"), Ok(()), "{status}");
        }
        for status in [200, 201, 404, 409] {
            assert!(
                matches!(refused(&answer(status, "no"), "it"), Err(Stop::Failed(_))),
                "{status}"
            );
        }
        for status in [401, 429, 500, 503] {
            assert!(
                matches!(
                    refused(&answer(status, "no"), "it"),
                    Err(Stop::CouldNotRun(..))
                ),
                "{status}"
            );
        }
        let down = answer(
            500,
            "Internal error occurred: failed calling webhook \"v\": connection refused",
        );
        assert!(matches!(refused(&down, "it"), Err(Stop::Failed(_))));
    }

    #[test]
    fn one_field_is_set_or_removed() {
        let object = json!({"spec": {"a": 1, "list": [{"b": 1}]}});
        assert_eq!(
            with(&object, "spec.a", Value::Null),
            json!({"spec": {"list": [{"b": 1}]}})
        );
        assert_eq!(
            with(&object, "spec.list.0.b", json!(2))["spec"]["list"][0]["b"],
            2
        );
        assert_eq!(with(&object, "spec.x.y", json!(2))["spec"]["x"]["y"], 2);
    }
}
