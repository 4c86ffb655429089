//! What a check does at a component's own HTTP API, or at a server in a pod.

use std::time::Duration;

use serde_json::Value;

use super::{
    Cx,
    kube::{could_not_send, settled},
    timeouts::show_duration,
};
use crate::{
    cluster::{
        Answer, Endpoint, Identity, Request, TransportError,
        discover::{escape, is_ready, items, target_port},
        grpc::Method,
        kinds::{POD, SERVICE},
        session::millis,
    },
    outcome::{CouldNotRun, Failure, Outcome, Stop, shorten},
};

/// An HTTP API, as one identity.
#[derive(Debug, Clone)]
pub struct Http<'a> {
    cx: &'a Cx,
    to: Endpoint,
    prefix: String,
    identity: Identity,
}

impl Cx {
    /// A component's own HTTP API. `prefix` is put before every path.
    pub fn component(&self, name: &str, prefix: &str, identity: Identity) -> Http<'_> {
        Http {
            cx: self,
            to: Endpoint::Component(name.to_owned()),
            prefix: prefix.to_owned(),
            identity,
        }
    }

    /// The server behind a Service of the run's namespace: the Service, a ready pod that it selects, and the port that it
    /// leads to are looked up (and recorded), then that pod's port is spoken to.
    pub async fn service(&self, name: &str, port: u16) -> Outcome<Http<'_>> {
        let service = self.need(&SERVICE, name).await?;
        let selector = service["spec"]["selector"]
            .as_object()
            .map(|s| {
                s.iter()
                    .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .unwrap_or_default();
        if selector.is_empty() {
            return Err(Stop::unlike(
                format!("Service `{name}` selects no pods"),
                "a selector",
                "none",
            ));
        }
        let pods = self.list(&POD, &selector).await?;
        let Some(pod) = pods.iter().find(|p| is_ready(p)) else {
            return Err(Stop::unlike(
                format!("Service `{name}` leads to no ready pod"),
                "a ready pod",
                format!("{} pods with {selector}, none ready", pods.len()),
            ));
        };
        let Some(target) = target_port(&service, pod, port) else {
            let ports = items(&service["spec"], "ports")
                .map(|p| p["port"].to_string())
                .collect::<Vec<_>>()
                .join(", ");
            return Err(Stop::unlike(
                format!("Service `{name}` has no port {port}"),
                port.to_string(),
                ports,
            ));
        };
        let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
        Ok(self.pod(pod, target))
    }

    /// A port of a pod of the run's namespace.
    pub fn pod(&self, name: &str, port: u16) -> Http<'_> {
        let address = format!("{}/{name}:{port}", self.namespace());
        Http {
            cx: self,
            to: Endpoint::Pod(address),
            prefix: String::new(),
            identity: Identity::Nobody,
        }
    }
}

impl Http<'_> {
    /// The same API as somebody else.
    #[must_use]
    pub fn as_identity(&self, identity: Identity) -> Self {
        Self {
            identity,
            ..self.clone()
        }
    }

    /// A request to this API.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.to.clone(), method, format!("{}{path}", self.prefix))
            .identity(self.identity.clone())
    }

    /// Reads `path`, whatever the answer is.
    pub async fn get(&self, path: &str) -> Outcome<Answer> {
        self.send(self.request("GET", path)).await
    }

    /// Reads `path`, which must succeed, and returns the JSON.
    pub async fn read(&self, path: &str) -> Outcome<Value> {
        let answer = self.get(path).await?;
        self.accepted(&answer, &format!("GET {path}"))
    }

    /// Reads `path` a single time, for callers that ask again by themselves; none when nobody answered.
    pub async fn get_once(&self, path: &str) -> Outcome<Option<Answer>> {
        let request = self.request("GET", path);
        match self.cx.session.send(request.clone()).await {
            Ok(answer) => Ok(Some(answer)),
            Err(
                TransportError::Unreachable(_)
                | TransportError::Refused(_)
                | TransportError::Timeout(_),
            ) => Ok(None),
            Err(error) => Err(could_not_send(&request, &error)),
        }
    }

    /// Posts JSON, whatever the answer is.
    pub async fn post(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.send(self.request("POST", path).json(body.clone()))
            .await
    }

    /// Posts JSON, which must succeed, and returns the JSON of the answer.
    pub async fn write(&self, path: &str, body: &Value) -> Outcome<Value> {
        let answer = self.post(path, body).await?;
        self.accepted(&answer, &format!("POST {path}"))
    }

    /// Deletes `path`, whatever the answer is.
    pub async fn delete(&self, path: &str) -> Outcome<Answer> {
        self.send(self.request("DELETE", path)).await
    }

    /// Calls a gRPC method of this server, whatever the answer is: [`Answer::grpc_status`] tells.
    pub async fn call<Q, A>(&self, method: &Method<Q, A>, message: &Q) -> Outcome<Answer>
    where
        Q: prost::Message + serde::Serialize,
        A: prost::Message + Default + serde::Serialize,
    {
        let request = Request::grpc(self.to.clone(), method, message);
        self.send(request.identity(self.identity.clone())).await
    }

    /// Calls a gRPC method, which must succeed, and returns the JSON of its answer.
    pub async fn reply<Q, A>(&self, method: &Method<Q, A>, message: &Q) -> Outcome<Value>
    where
        Q: prost::Message + serde::Serialize,
        A: prost::Message + Default + serde::Serialize,
    {
        let answer = self.call(method, message).await?;
        match answer.grpc_status() {
            Some(0) => Ok(answer.json().clone()),
            // UNAUTHENTICATED and PERMISSION_DENIED say nothing about the method.
            Some(7 | 16) => Err(Stop::CouldNotRun(
                CouldNotRun::NoPermission,
                format!("{} was answered with {}", method.path, answer.summary()),
            )),
            status => Err(Stop::unlike(
                format!("{} was answered with {}", method.path, answer.summary()),
                "status 0 (OK)",
                status.map_or_else(|| "no gRPC status".to_owned(), |code| code.to_string()),
            )),
        }
    }

    /// What an answer to a documented request must be: a success. A 5xx that stayed until the timeout `retry` is the
    /// component's failure; a refusal of the suite's own rights (401, 403) or too much of it (429) says nothing about it.
    pub fn accepted(&self, answer: &Answer, doing: &str) -> Outcome<Value> {
        if answer.is_success() {
            return Ok(answer.json().clone());
        }
        let said = answer.summary();
        let reason = match answer.status {
            401 | 403 => Some(CouldNotRun::NoPermission),
            429 => Some(CouldNotRun::Unreachable),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(Stop::CouldNotRun(
                reason,
                format!("{doing} was answered with {said}"),
            ));
        }
        Err(Stop::unlike(
            format!("{doing} was answered with {said}"),
            "a success (2xx)",
            said,
        ))
    }

    /// What an answer to a request that must be refused must be: at least 400, and no 401, 429, 502, 503 or 504, which
    /// say nothing about the request. (Stock Pipelines answers many bad requests with 500.)
    pub fn refused(&self, answer: &Answer, what: &str) -> Outcome {
        match answer.status {
            0..=399 => Err(Stop::unlike(
                format!("{what} was accepted, and must be refused"),
                "a refusal (400 or above)",
                answer.summary(),
            )),
            401 | 429 | 502..=504 => self.accepted(answer, what).map(drop),
            _ => Ok(()),
        }
    }

    /// Sends a request. A read is asked again within the timeout `retry` while the component is unavailable.
    pub async fn send(&self, request: Request) -> Outcome<Answer> {
        let until = self.cx.after("retry");
        let mut wait = Duration::from_millis(200);
        let mut unsure = false;
        loop {
            let sent = self.cx.session.send(request.clone()).await;
            if let Ok(answer) = &sent {
                settled(&request, answer, &mut unsure)?;
            }
            let repeatable = matches!(request.asked.method.as_str(), "GET" | "DELETE");
            let again = match &sent {
                Ok(answer) => {
                    matches!(answer.status, 429 | 502 | 503 | 504)
                        || (repeatable && answer.status == 500)
                }
                Err(TransportError::Unreachable(_)) => repeatable,
                // Nobody saw the request.
                Err(TransportError::Refused(_)) => true,
                Err(_) => false,
            };
            if !again || self.cx.now_ms().saturating_add(millis(wait)) > until {
                return sent.map_err(|e| could_not_send(&request, &e));
            }
            self.cx.pause(wait).await;
            wait = (wait * 2).min(Duration::from_secs(3));
        }
    }

    /// Reads `path` again and again until `holds` of its JSON, within a named timeout. `what` finishes "it did not …".
    /// Polls grow from a tenth of a second to a second and a half.
    pub async fn until(
        &self,
        path: &str,
        timeout: &'static str,
        what: &str,
        holds: impl FnMut(&Value) -> Outcome<bool> + Send,
    ) -> Outcome<Value> {
        self.until_kept(path, timeout, what, None, holds).await
    }

    /// The same, of whose answers only this is recorded, and seen.
    pub async fn until_kept(
        &self,
        path: &str,
        timeout: &'static str,
        what: &str,
        keep: Option<fn(&Value) -> Value>,
        holds: impl FnMut(&Value) -> Outcome<bool> + Send,
    ) -> Outcome<Value> {
        let (answer, held) = self.poll(path, timeout, keep, holds).await?;
        if held {
            return Ok(answer.json().clone());
        }
        if let Some(stop) = self.cx.no_room().await {
            return Err(stop);
        }
        let after = show_duration(self.cx.run.timeout(timeout));
        Err(Stop::Failed(Failure {
            message: format!("GET {path} did not {what} within {after} (timeout `{timeout}`)"),
            expected: Some(format!("to {what}")),
            observed: None,
            last_state: Some(shorten(&answer.summary(), 1000)),
        }))
    }

    /// The JSON of `path` as soon as `holds` of it, or what it is when a named timeout is up: for set-ups, which say what
    /// they saw and leave the judgement to checks. Of the answers only what `keep` leaves is recorded, and seen.
    pub async fn settled(
        &self,
        path: &str,
        timeout: &'static str,
        keep: Option<fn(&Value) -> Value>,
        mut holds: impl FnMut(&Value) -> bool + Send,
    ) -> Outcome<Value> {
        let (answer, _) = self
            .poll(path, timeout, keep, |seen| Ok(holds(seen)))
            .await?;
        self.accepted(&answer, &format!("GET {path}"))
    }

    /// The last answer of `path` within a named timeout, and whether something holds of its JSON.
    async fn poll(
        &self,
        path: &str,
        timeout: &'static str,
        keep: Option<fn(&Value) -> Value>,
        mut holds: impl FnMut(&Value) -> Outcome<bool> + Send,
    ) -> Outcome<(Answer, bool)> {
        let until = self.cx.after(timeout);
        let mut wait = Duration::from_millis(100);
        loop {
            let mut request = self.request("GET", path);
            if let Some(keep) = keep {
                request = request.keep(keep);
            }
            let answer = self.send(request).await?;
            if answer.is_success() && holds(answer.json())? {
                return Ok((answer, true));
            }
            if self.cx.now_ms() >= until {
                return Ok((answer, false));
            }
            self.cx.pause(wait).await;
            wait = wait.mul_f64(1.5).min(Duration::from_millis(1500));
        }
    }
}

/// A query string: `?a=b&c=d`, values escaped, empty ones left out.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let parts: Vec<String> = pairs
        .iter()
        .filter(|(_, v)| !v.is_empty())
        .map(|(k, v)| format!("{k}={}", escape(v)))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}
