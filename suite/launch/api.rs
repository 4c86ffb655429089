//! The Kubernetes API as a launch uses it. An API server that is away for a while is waited for.

use std::time::Duration;

use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

use super::LaunchError;
use crate::{
    cluster::{Kind, discover::escape},
    engine::Event,
    outcome::shorten,
    report::text::one_line,
};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long is waited before an API server that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// The largest answer, in bytes.
const LARGEST: usize = 64 << 20;

/// A client.
#[derive(Clone)]
pub struct Api {
    client: Client,
    server: String,
    patience: Duration,
    events: mpsc::UnboundedSender<Event>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// A request.
struct Call<'a> {
    method: &'a str,
    path: &'a str,
    body: Option<&'a Value>,
}

impl Api {
    pub(super) fn new(
        client: Client,
        server: String,
        patience: Duration,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            client,
            server,
            patience,
            events,
        }
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Asks once. An error is no answer.
    async fn once(&self, call: &Call<'_>) -> Result<(u16, Value), String> {
        let ask = async {
            let request = http::Request::builder()
                .method(call.method)
                .uri(call.path)
                .header("content-type", "application/json")
                .header("accept", "application/json")
                .header(
                    "user-agent",
                    concat!("kfconform/", env!("CARGO_PKG_VERSION"), " (launch)"),
                )
                .body(Body::from(
                    call.body
                        .map(|body| body.to_string().into_bytes())
                        .unwrap_or_default(),
                ))
                .map_err(|e| e.to_string())?;
            let answer = self.client.send(request).await.map_err(|e| chain(&e))?;
            let status = answer.status().as_u16();
            let body = http_body_util::Limited::new(answer.into_body(), LARGEST)
                .collect()
                .await
                .map_err(|e| e.to_string())?
                .to_bytes();
            Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
        };
        match tokio::time::timeout(ANSWER, ask).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        }
    }

    /// Asks until there is an answer, or for as long as patience lasts.
    async fn call(&self, call: Call<'_>) -> Result<(u16, Value), LaunchError> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let why = match self.once(&call).await {
                // What passes: too much to do, an API server or its store that starts.
                Ok((429 | 502 | 503 | 504, answer)) => says(&answer),
                Ok((500, answer)) if says(&answer).contains("etcd") => says(&answer),
                Ok(answer) => {
                    if told {
                        self.says("the Kubernetes API answers again".to_owned());
                    }
                    return Ok(answer);
                }
                Err(why) => why,
            };
            if began.elapsed() >= self.patience {
                return Err(LaunchError::Silent {
                    server: self.server.clone(),
                    seconds: began.elapsed().as_secs(),
                    why: shorten(&one_line(&why), 300),
                });
            }
            if !told {
                told = true;
                self.says(format!(
                    "the Kubernetes API does not answer ({}); trying again for {} s",
                    shorten(&one_line(&why), 200),
                    self.patience.as_secs()
                ));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn says(&self, text: String) {
        drop(self.events.send(Event::Notice(text)));
    }

    /// An object; none where it does not exist.
    pub(super) async fn get(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, LaunchError> {
        let path = object(kind, namespace, name);
        let (status, answer) = self.ask("GET", &path, None).await?;
        match status {
            200..=299 => Ok(Some(answer)),
            404 => Ok(None),
            _ => Err(refused(
                &format!("get {} `{name}`", kind.kind),
                status,
                &answer,
            )),
        }
    }

    /// The objects that a selector chooses, in a namespace or (where it is empty) in all.
    pub(super) async fn list(
        &self,
        kind: &Kind,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>, LaunchError> {
        let path = format!(
            "{}?labelSelector={}",
            kind.path(namespace),
            escape(selector)
        );
        self.listed(kind, &path).await
    }

    /// The events about an object.
    pub(super) async fn about(
        &self,
        namespace: &str,
        uid: &str,
    ) -> Result<Vec<Value>, LaunchError> {
        let kind = &crate::cluster::kinds::EVENT;
        let selector = escape(&format!("involvedObject.uid={uid}"));
        let path = format!(
            "{}?limit=200&fieldSelector={selector}",
            kind.path(namespace)
        );
        self.listed(kind, &path).await
    }

    async fn listed(&self, kind: &Kind, path: &str) -> Result<Vec<Value>, LaunchError> {
        let (status, mut answer) = self.ask("GET", path, None).await?;
        match status {
            200..=299 => Ok(match answer["items"].take() {
                Value::Array(items) => items,
                _ => Vec::new(),
            }),
            404 => Ok(Vec::new()),
            _ => Err(refused(&format!("list {}", kind.plural), status, &answer)),
        }
    }

    /// Makes an object. One of that name that carries the same launch's label is the same: an answer was lost.
    pub(super) async fn create(&self, kind: &Kind, wanted: &Value) -> Result<Value, LaunchError> {
        let metadata = &wanted["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or_default();
        let name = metadata["name"].as_str().unwrap_or_default();
        let (status, answer) = self
            .ask("POST", &kind.path(namespace), Some(wanted))
            .await?;
        match status {
            200..=299 => Ok(answer),
            409 => match self.get(kind, namespace, name).await? {
                Some(found)
                    if found["metadata"]["labels"][super::LAUNCH_LABEL]
                        == metadata["labels"][super::LAUNCH_LABEL] =>
                {
                    Ok(found)
                }
                _ => Err(refused(
                    &format!("make {} `{name}`", kind.kind),
                    status,
                    &answer,
                )),
            },
            _ => Err(refused(
                &format!("make {} `{name}`", kind.kind),
                status,
                &answer,
            )),
        }
    }

    /// Deletes an object, which need not exist. `query`: how, like `gracePeriodSeconds=1`.
    pub(super) async fn delete(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        query: &str,
    ) -> Result<(), LaunchError> {
        let path = format!("{}?{query}", object(kind, namespace, name));
        let (status, answer) = self.ask("DELETE", &path, None).await?;
        match status {
            200..=299 | 404 => Ok(()),
            _ => Err(refused(
                &format!("delete {} `{name}`", kind.kind),
                status,
                &answer,
            )),
        }
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), LaunchError> {
        self.call(Call { method, path, body }).await
    }

    /// What a container printed, as it comes where `follow` says so.
    pub(super) async fn log(
        &self,
        namespace: &str,
        pod: &str,
        follow: bool,
    ) -> Result<impl futures::AsyncBufRead + Send + use<>, LaunchError> {
        let follow = if follow { "?follow=true" } else { "" };
        let path = format!(
            "{}/log{follow}",
            object(&crate::cluster::kinds::POD, namespace, pod)
        );
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(|e| LaunchError::Usage(e.to_string()))?;
        self.client
            .request_stream(request)
            .await
            .map_err(|e| LaunchError::Refused {
                what: format!("read the log of pod `{pod}`"),
                why: shorten(&one_line(&chain(&e)), 300),
                mend: String::new(),
            })
    }
}

fn object(kind: &Kind, namespace: &str, name: &str) -> String {
    format!("{}/{}", kind.path(namespace), escape(name))
}

/// The API server's sentence.
pub(super) fn says(answer: &Value) -> String {
    match answer["message"].as_str() {
        Some(message) => message.to_owned(),
        None => answer.to_string(),
    }
}

fn refused(what: &str, status: u16, answer: &Value) -> LaunchError {
    let mend = match status {
        401 | 403 => {
            "; whoever launches needs the rights to make what a launch consists of (`kfconform launch --print` lists it), and \
             those that it hands on (`kfconform rbac`)"
        }
        _ => "",
    };
    LaunchError::Refused {
        what: what.to_owned(),
        why: shorten(&one_line(&says(answer)), 600),
        mend: mend.to_owned(),
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
