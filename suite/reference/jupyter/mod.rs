//! The web application for notebooks (jupyter-web-app), version 1.11.0: its API, without its pages.
//!
//! Whoever asks is named by the gateway's header. Whatever it does it does with rights of its own, after it has asked the
//! cluster whether that user might.

mod faults;
mod form;
mod views;

use std::{io, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Response, header::SET_COOKIE};
use serde_json::{Value, json};

pub(super) use faults::FAULTS;

use super::{
    kube::{Action, ApiError, DeleteOptions, Propagation, Resource, User, World, resources::PODS},
    web::{Call, Place, USER_HEADER, reply, stand_in},
};

/// Where it is installed, and its image, whose tag tells the version.
const NAMESPACE: &str = "kubeflow";
const IMAGE: &str = "ghcr.io/kubeflow/notebooks/jupyter-web-app:v1.11.0";
/// The cookie and the header that must be equal where something is written.
const COOKIE: &str = "XSRF-TOKEN";
const CSRF_HEADER: &str = "x-xsrf-token";

const NOTEBOOKS: Resource = Resource::new("kubeflow.org", "notebooks");
const PODDEFAULTS: Resource = Resource::new("kubeflow.org", "poddefaults");
/// The annotation that stops a notebook.
const STOPPED: &str = "kubeflow-resource-stopped";

const JSON: &str = "application/json";

/// Puts the web application into a world.
pub(super) fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        let labels = json!({"app": "jupyter-web-app", "kustomize.component": "jupyter-web-app"});
        let program = super::deployment(
            NAMESPACE,
            "jupyter-web-app-deployment",
            &labels,
            &json!({"name": "jupyter-web-app", "image": IMAGE}),
        );
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        for object in [namespace, program] {
            world.apply(object).await.map_err(io::Error::other)?;
        }
        let place = Place {
            namespace: NAMESPACE,
            service: "jupyter-web-app-service",
            pod: "jupyter-web-app-deployment-5c7c9d6d8f-2xk4p",
            labels,
            port: (80, "http"),
            target: 5000,
        };
        let world_of_calls = world.clone();
        let handler = Arc::new(move |call: Call| {
            let world = world_of_calls.clone();
            async move { answer(world, call).await }.boxed()
        });
        stand_in(world, place, handler).await
    }
    .boxed()
}

/// Why a request is not done: a status and what is said.
struct Refusal(u16, String);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        if error.code == 404 {
            let said = "The requested resource could not be found in the API Server";
            return Self(404, said.to_owned());
        }
        Self(error.code, error.message)
    }
}

fn refuse(status: u16, said: impl Into<String>) -> Refusal {
    Refusal(status, said.into())
}

/// What an answer holds beside its envelope.
type Fields = Result<Value, Refusal>;

async fn answer(world: World, call: Call) -> Response<String> {
    let app = App {
        user: call.header(USER_HEADER).map(ToOwned::to_owned),
        world,
    };
    let path = call.path.clone();
    let segments: Vec<String> = path
        .trim_start_matches('/')
        .split('/')
        .map(crate::percent::unescape)
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let ["healthz", probe @ ("liveness" | "readiness")] = segments.as_slice()
        && !(app.user.is_none() && app.has("answers-probes"))
    {
        let said = if *probe == "liveness" {
            "alive"
        } else {
            "ready"
        };
        return reply(200, JSON, json!(said).to_string());
    }
    let done = match app.admitted(&call) {
        Ok(()) => app.route(&call, &segments).await,
        Err(refusal) => Err(refusal),
    };
    let user = json!(app.user);
    match done {
        Ok(None) => page(),
        Ok(Some(fields)) => {
            let mut body = fields;
            body["success"] = json!(true);
            body["status"] = json!(200);
            body["user"] = user;
            reply(200, JSON, body.to_string())
        }
        Err(Refusal(status, said)) => {
            let body = json!({"success": false, "log": said, "status": status, "user": user});
            reply(status, JSON, body.to_string())
        }
    }
}

/// What is answered to every path that is not known, with a fresh cookie.
fn page() -> Response<String> {
    let mut page = reply(200, "text/html; charset=utf-8", "<html></html>\n");
    // It keeps no state: any pair of equal texts will do.
    let cookie = format!("{COOKIE}=kfconform-reference; Secure; Path=/jupyter; SameSite=Strict");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        page.headers_mut().insert(SET_COOKIE, cookie);
    }
    page
}

/// One request of one user.
struct App {
    world: World,
    user: Option<String>,
}

impl App {
    /// Whether a fault of this part is wanted.
    fn has(&self, fault: &str) -> bool {
        self.world.has_fault(&format!("notebooks/web-app/{fault}"))
    }

    /// Whether anything is done at all: somebody asks, and no other site does in their name.
    fn admitted(&self, call: &Call) -> Result<(), Refusal> {
        let reads = matches!(call.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
        let open =
            (reads && self.has("needs-identity")) || (!reads && self.has("needs-identity:writes"));
        if self.user.is_none() && !open {
            return Err(refuse(401, "No user detected."));
        }
        if reads {
            return Ok(());
        }
        let cookie = call.header("cookie").and_then(|cookies| {
            let mut pairs = cookies
                .split(';')
                .filter_map(|pair| pair.trim().split_once('='));
            pairs
                .find(|(name, _)| *name == COOKIE)
                .map(|(_, value)| value)
        });
        let (cookie, header) = match (cookie, call.header(CSRF_HEADER)) {
            (None, _) if self.has("refuses-forged-requests:cookie") => return Ok(()),
            (None, _) => {
                let said = format!("Could not find CSRF cookie {COOKIE} in the request.");
                return Err(refuse(403, said));
            }
            (Some(_), None) => {
                let said = "Could not detect CSRF protection header X-XSRF-TOKEN.";
                return Err(refuse(403, said));
            }
            (Some(cookie), Some(header)) => (cookie, header),
        };
        if cookie != header && !self.has("refuses-forged-requests") {
            let said = format!(
                "CSRF check failed. Token in cookie {COOKIE} doesn't match token in header X-XSRF-TOKEN."
            );
            return Err(refuse(403, said));
        }
        Ok(())
    }

    /// Whether the user may, by the rules of the cluster.
    fn may(
        &self,
        verb: &str,
        resource: &Resource,
        version: &str,
        namespace: &str,
    ) -> Result<(), Refusal> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        if user.is_empty() {
            return Err(refuse(
                422,
                ".authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of user or group must be specified",
            ));
        }
        let action = Action {
            verb: verb.to_owned(),
            group: resource.group().to_owned(),
            resource: resource.plural().to_owned(),
            namespace: namespace.to_owned(),
            ..Action::default()
        };
        let writes = !matches!(verb, "get" | "list" | "watch");
        let open = if writes {
            self.has("keeps-strangers-out:writes")
        } else {
            self.has("keeps-strangers-out")
        };
        if open || self.world.allows(&User::named(user, &[]), &action) {
            return Ok(());
        }
        let group = if resource.group().is_empty() {
            "core"
        } else {
            resource.group()
        };
        let place = if namespace.is_empty() {
            String::new()
        } else {
            format!(" in namespace '{namespace}'")
        };
        Err(refuse(
            403,
            format!(
                "User '{user}' is not authorized to {verb} {group}/{version}/{}{place}",
                resource.plural()
            ),
        ))
    }

    /// What a request comes to; none for a page.
    async fn route(&self, call: &Call, segments: &[&str]) -> Result<Option<Value>, Refusal> {
        let fields = match (call.method.as_str(), segments) {
            ("GET", ["info"]) => Ok(json!({"info": {}})),
            ("GET", ["api", "config"]) => Ok(json!({"config": self.config()})),
            ("GET", ["api", "gpus"]) => Ok(json!({"vendors": []})),
            ("GET", ["api", "namespaces"]) => self.namespaces(),
            ("GET", ["api", "storageclasses"]) => Ok(self.storage_classes()),
            ("GET", ["api", "storageclasses", "default"]) => Ok(self.default_class()),
            ("GET", ["api", "namespaces", namespace, "pvcs"]) => self.claims(namespace),
            ("GET", ["api", "namespaces", namespace, "poddefaults"]) => {
                self.pod_defaults(namespace)
            }
            ("GET", ["api", "namespaces", namespace, "notebooks"]) => self.notebooks(namespace),
            ("POST", ["api", "namespaces", namespace, "notebooks"]) => {
                let body = document(call)?;
                self.create(namespace, &body).await
            }
            ("GET", ["api", "namespaces", namespace, "notebooks", name]) => {
                self.notebook(namespace, name)
            }
            ("GET", ["api", "namespaces", namespace, "notebooks", name, "pod"]) => {
                self.pod(namespace, name)
            }
            ("GET", ["api", "namespaces", namespace, "notebooks", name, "events"]) => {
                self.events(namespace, name)
            }
            ("PATCH", ["api", "namespaces", namespace, "notebooks", name]) => {
                let body = document(call)?;
                self.change(namespace, name, &body).await
            }
            ("DELETE", ["api", "namespaces", namespace, "notebooks", name]) => {
                self.delete(namespace, name).await
            }
            ("GET", _) => return Ok(None),
            _ => Err(refuse(
                405,
                "The method is not allowed for the requested URL.",
            )),
        };
        fields.map(Some)
    }

    /// A notebook that must be there.
    fn find(&self, namespace: &str, name: &str) -> Result<Value, Refusal> {
        let found = self.world.get(&NOTEBOOKS, namespace, name)?;
        Ok((*found).clone())
    }

    /// Stops or starts a notebook.
    async fn change(&self, namespace: &str, name: &str, body: &Value) -> Fields {
        let stopped = &body["stopped"];
        if stopped.is_null() {
            if self.has("refuses-empty-change") {
                return Ok(json!({}));
            }
            let said = "Request body must include at least one supported key: ['stopped']";
            return Err(refuse(400, said));
        }
        self.may("get", &NOTEBOOKS, "v1beta1", namespace)?;
        let notebook = self.find(namespace, name)?;
        self.may("patch", &NOTEBOOKS, "v1beta1", namespace)?;
        let is_stopped = !notebook["metadata"]["annotations"][STOPPED].is_null();
        let wanted = !matches!(stopped, Value::Bool(false)) && *stopped != json!("");
        if is_stopped && wanted && !self.has("refuses-second-stop") {
            let said = format!("Notebook {namespace}/{name} is already stopped.");
            return Err(refuse(409, said));
        }
        let annotation = if wanted {
            json!(self.world.stamp())
        } else {
            Value::Null
        };
        let left = (wanted && self.has("stops-and-starts"))
            || (!wanted && self.has("stops-and-starts:start"));
        if !left {
            let patch = json!({"metadata": {"annotations": {STOPPED: annotation}}});
            self.world
                .patch_merge(&NOTEBOOKS, namespace, name, patch)
                .await?;
        }
        Ok(json!({}))
    }

    async fn delete(&self, namespace: &str, name: &str) -> Fields {
        self.may("delete", &NOTEBOOKS, "v1beta1", namespace)?;
        if self.has("deletes:unknown") && self.find(namespace, name).is_err() {
            return Ok(json!({"message": format!("Notebook {name} successfully deleted.")}));
        }
        self.find(namespace, name)?;
        if !self.has("deletes") {
            let options = DeleteOptions {
                propagation: Propagation::Foreground,
                ..DeleteOptions::default()
            };
            self.world
                .delete_with(&NOTEBOOKS, namespace, name, &options)
                .await?;
        }
        Ok(json!({"message": format!("Notebook {name} successfully deleted.")}))
    }
}

/// The body of a request, which must be JSON and say so.
fn document(call: &Call) -> Fields {
    if call.header("content-type") != Some(JSON) {
        return Err(refuse(400, "Request is not in JSON format."));
    }
    serde_json::from_slice(&call.body).map_err(|_| {
        refuse(
            400,
            "The browser (or proxy) sent a request that this server could not understand.",
        )
    })
}

/// The pods of a notebook.
fn pod_of(world: &World, namespace: &str, name: &str) -> Option<Value> {
    let pods = world.list(&PODS, Some(namespace));
    let pod = pods
        .iter()
        .find(|pod| pod["metadata"]["labels"]["notebook-name"] == name)?;
    Some((**pod).clone())
}
