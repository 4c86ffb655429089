//! The dashboard's API, without its pages: version 1.10.0, but that the events of a namespace are kept from strangers, as
//! from 2.0.0 on.

use std::{io, sync::Arc};

use futures::FutureExt;
use http::Response;
use serde_json::{Value, json};

use super::{
    super::{
        deployment,
        kube::{World, resources::EVENTS},
        web::{Call, Place, USER_HEADER, reply, stand_in},
    },
    NAMESPACE,
    kfam::{Kfam, Wanted},
};

/// The image, whose tag tells the version.
const IMAGE: &str = "ghcr.io/kubeflow/kubeflow/central-dashboard:v1.10.0";
const JSON: &str = "application/json; charset=utf-8";
/// Who asks, where nobody says it.
const ANYBODY: &str = "anonymous@kubeflow.org";

/// Puts the dashboard into a world.
pub(super) async fn start(world: &World) -> io::Result<()> {
    let labels = json!({"app": "centraldashboard", "app.kubernetes.io/name": "centraldashboard"});
    let container = json!({"name": "centraldashboard", "image": IMAGE});
    let program = deployment(NAMESPACE, "centraldashboard", &labels, &container);
    world.apply(program).await.map_err(io::Error::other)?;
    let place = Place {
        namespace: NAMESPACE,
        service: "centraldashboard",
        pod: "centraldashboard-6b8f5d7c9d-t4m2x",
        labels,
        port: (80, "http"),
        target: 8082,
    };
    let world_of_calls = world.clone();
    let handler = Arc::new(move |call: Call| {
        let kfam = Kfam {
            world: world_of_calls.clone(),
        };
        async move { Dashboard { kfam }.answer(&call).await }.boxed()
    });
    stand_in(world, place, handler).await
}

/// The dashboard does nothing by itself: it asks access management.
struct Dashboard {
    kfam: Kfam,
}

/// A status, and what is wrong.
struct Refusal(u16, String);

type Answer = Result<Value, Refusal>;

fn refuse(status: u16, said: impl Into<String>) -> Refusal {
    Refusal(status, said.into())
}

impl Dashboard {
    fn has(&self, fault: &str) -> bool {
        let fault = format!("platform/dashboard/{fault}");
        self.kfam.world.has_fault(&fault)
    }

    async fn answer(&self, call: &Call) -> Response<String> {
        let Some(segments) = call.below("/api/") else {
            return match call.path.as_str() {
                "/healthz" => {
                    let body = json!({"codeEnvironment": "production", "message": "I tick, therfore I am!"});
                    reply(200, JSON, body.to_string())
                }
                _ => reply(200, "text/html; charset=UTF-8", "<html></html>\n"),
            };
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let done = match segments.as_slice() {
            ["workgroup", rest @ ..] => self.workgroup(call, rest).await,
            ["activities", namespace] if call.method == "GET" => self.activities(call, namespace),
            _ => Err(no_route()),
        };
        match done {
            Ok(body) => reply(200, JSON, body.to_string()),
            Err(Refusal(status, said)) => reply(status, JSON, json!({"error": said}).to_string()),
        }
    }

    async fn workgroup(&self, call: &Call, segments: &[&str]) -> Answer {
        let user = call.header(USER_HEADER);
        match (call.method.as_str(), segments) {
            ("GET", ["exists"]) => return Ok(self.exists(user)),
            ("GET", ["env-info"]) => return Ok(self.environment(user)),
            _ => {}
        }
        if user.is_none() && !self.has("needs-identity") {
            let said = "Unable to ascertain user identity from request, cannot access route.";
            return Err(refuse(405, said));
        }
        match (call.method.as_str(), segments) {
            ("GET", ["get-contributors", namespace]) => Ok(self.contributors(namespace)),
            ("POST", ["add-contributor", namespace]) => self.change(call, namespace, true).await,
            ("DELETE", ["remove-contributor", namespace]) => {
                self.change(call, namespace, false).await
            }
            _ => Err(no_route()),
        }
    }

    /// The namespaces of a user, of whatever role: all of them, where nobody says who he is.
    fn namespaces(&self, user: Option<&str>) -> Vec<Value> {
        let everything = self.has("lists-own-namespaces:all");
        let members = self.kfam.members(None).into_iter();
        members
            .filter(|member| everything || user.is_none_or(|user| member.user == user))
            .map(|member| {
                let role = match member.role {
                    "edit" if self.has("tells-roles") => "owner",
                    role => role_of(role),
                };
                let (owner, namespace) = (member.user, member.namespace);
                let user = user.unwrap_or(&owner);
                json!({"namespace": namespace, "role": role, "user": user})
            })
            .collect()
    }

    fn exists(&self, user: Option<&str>) -> Value {
        let owns = |namespace: &Value| user.is_none() || namespace["role"] == "owner";
        let has_workgroup = (self.namespaces(user).iter().any(owns)
            && !self.has("knows-who-has-a-namespace"))
            || self.has("knows-who-has-a-namespace:everybody");
        let name = user.unwrap_or(ANYBODY).split('@').next();
        json!({
            "hasAuth": user.is_some(), "user": name, "hasWorkgroup": has_workgroup,
            "registrationFlowAllowed": false,
        })
    }

    fn environment(&self, user: Option<&str>) -> Value {
        let mut namespaces = self.namespaces(user);
        if self.has("lists-own-namespaces") {
            namespaces.retain(|namespace| namespace["role"] != "owner");
        }
        json!({
            "user": user.unwrap_or(ANYBODY), "namespaces": namespaces, "isClusterAdmin": user.is_none(),
            "platform": {"kubeflowVersion": "unknown", "provider": "other://", "providerName": "other", "logoutUrl": "/logout"},
        })
    }

    fn contributors(&self, namespace: &str) -> Value {
        let everybody = self.has("lists-contributors");
        let members = self.kfam.members(Some(namespace)).into_iter();
        members
            .filter(|member| everybody || member.role == "edit")
            .map(|member| member.user)
            .collect()
    }

    /// Lets a contributor in, or out.
    async fn change(&self, call: &Call, namespace: &str, comes: bool) -> Answer {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let Some(contributor) = body["contributor"].as_str().filter(|c| !c.is_empty()) else {
            return Err(refuse(400, "Missing contributor field."));
        };
        let (doing, anybody) = if comes {
            ("add new", self.has("refuses-strangers"))
        } else {
            ("remove", false)
        };
        if !(self.kfam.is_owner(call, namespace) || anybody) {
            let said =
                format!("Unable to {doing} contributor for {namespace}. HTTP 403 - Forbidden");
            return Err(refuse(403, said));
        }
        let wanted = Wanted::contributor(contributor, namespace);
        let idle = self.has(if comes {
            "adds-contributors"
        } else {
            "removes-contributors"
        });
        let done = match (idle, comes) {
            (true, _) => Ok(()),
            (_, true) => self.kfam.make(&wanted).await,
            (_, false) => self.kfam.take(&wanted).await,
        };
        done.map_err(|error| refuse(403, error.to_string()))?;
        Ok(self.contributors(namespace))
    }

    /// The events of a namespace, for those who are in it.
    fn activities(&self, call: &Call, namespace: &str) -> Answer {
        let member = call.header(USER_HEADER).is_none_or(|user| {
            let members = self.kfam.members(Some(namespace));
            members.iter().any(|member| member.user == user)
        });
        if member || self.has("keeps-events-private") {
            let events = self.kfam.world.list(&EVENTS, Some(namespace));
            return Ok(events.iter().map(|event| (**event).clone()).collect());
        }
        let said = format!(
            "Access denied. You do not have permission to view activities for namespace '{namespace}'."
        );
        Err(refuse(403, said))
    }
}

fn no_route() -> Refusal {
    refuse(404, "Could not find the route you're looking for")
}

/// A role as people are told it.
fn role_of(role: &str) -> &str {
    match role {
        "admin" => "owner",
        "edit" => "contributor",
        "view" => "viewer",
        other => other,
    }
}
