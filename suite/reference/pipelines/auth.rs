//! Who may do what, where Pipelines serves many users: the identity of a request, and what Kubernetes says of its rights.
//!
//! As 2.17.0 does it: the identity header goes before the token, a token must be for the audience `pipelines.kubeflow.org`,
//! the rights are those on the group of that name, and what has no namespace is shared by all.

use http::{HeaderMap, header::AUTHORIZATION};
use serde_json::{Map, Value};

use super::{
    NAMESPACE, Server,
    api::Call,
    model::Database,
    refusal::{Refusal, code},
};
use crate::reference::{
    kube::{Action, User},
    web::USER_HEADER,
};

/// Whom a token must be for, and the group of the rights.
const GROUP: &str = "pipelines.kubeflow.org";

/// Who asks, as a request says it.
#[derive(Debug, Default)]
pub(super) struct Caller {
    user: Option<String>,
    token: Option<String>,
}

impl Caller {
    /// The caller that a request's headers name.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Self {
            user: text(USER_HEADER),
            token: text(AUTHORIZATION.as_str())
                .and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned())),
        }
    }

    /// Whether there is an identity header and it is empty: the real server does not survive that.
    pub(super) fn is_fatal(&self) -> bool {
        self.user.as_deref() == Some("")
    }
}

/// What somebody wants to do: the resource, the verb, and the namespace in which.
struct Wish<'a> {
    resource: &'a str,
    verb: &'a str,
    namespace: String,
}

impl Server {
    /// Refuses a request to the gateway that its caller may not make.
    pub(super) fn admit(&self, call: &Call) -> Result<(), Refusal> {
        if !self.multi_user {
            return Ok(());
        }
        match self.wish(call)? {
            Some(wish) => self.authorize(&call.caller, &wish),
            None => Ok(()),
        }
    }

    /// Refuses an upload that its caller may not make. One without a namespace is everybody's to make.
    pub(super) fn admit_upload(
        &self,
        caller: &Caller,
        is_version: bool,
        query: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        if !self.multi_user || self.broken("access/guards-uploads") {
            return Ok(());
        }
        let pair = |key: &str| query.get(key).and_then(Value::as_str).unwrap_or_default();
        let namespace = if is_version {
            self.with(|db| namespace_of(db, "pipelines", pair("pipelineid")))
                .unwrap_or_default()
        } else {
            pair("namespace").to_owned()
        };
        if namespace.is_empty() {
            return Ok(());
        }
        let wish = Wish {
            resource: "pipelines",
            verb: if is_version { "update" } else { "create" },
            namespace,
        };
        self.allow(self.user_of(caller), &wish, wish.verb)
    }

    /// Refuses a run of a pipeline that its caller may not read. (The real server looks at the run's namespace alone.)
    pub(super) fn admit_pipeline(&self, caller: &Caller, pipeline: &str) -> Result<(), Refusal> {
        let namespace = self.with(|db| namespace_of(db, "pipelines", pipeline));
        match namespace.filter(|namespace| !namespace.is_empty()) {
            Some(namespace)
                if self.multi_user && !self.broken("access/keeps-pipelines-private") =>
            {
                let wish = Wish {
                    resource: "pipelines",
                    verb: "get",
                    namespace,
                };
                self.allow(self.user_of(caller), &wish, wish.verb)
            }
            _ => Ok(()),
        }
    }

    /// What a request wants; none where nobody is asked.
    fn wish<'a>(&self, call: &'a Call) -> Result<Option<Wish<'a>>, Refusal> {
        let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
        let [collection, rest @ ..] = segments.as_slice() else {
            return Ok(None);
        };
        let resource = match *collection {
            "recurringruns" => "jobs",
            "experiments" | "pipelines" | "runs" => collection,
            _ => return Ok(None),
        };
        let verb = match (call.method.as_str(), rest, call.verb.as_deref()) {
            (_, _, Some(verb)) => verb,
            ("POST", _, None) => "create",
            ("PATCH", _, None) => "update",
            ("DELETE", _, None) => "delete",
            (_, [] | [_, "versions"], None) => "list",
            _ => "get",
        };
        let asked: Value = serde_json::from_str(&call.body).unwrap_or_default();
        let said = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
        let namespace = match rest {
            [] if verb == "create" && matches!(resource, "runs" | "jobs") => {
                let experiment = said("experiment_id");
                if experiment.is_empty() && self.broken("run/belongs-to-experiment") {
                    return Ok(None);
                }
                if experiment.is_empty() {
                    return Err(no_experiment(resource));
                }
                // What is not there is for the service itself to tell.
                self.with(|db| namespace_of(db, "experiments", &experiment))
            }
            [] if verb == "create" => Some(said("namespace")),
            [] if resource == "runs" && !call.pair("experiment_id").is_empty() => {
                self.with(|db| namespace_of(db, "experiments", call.pair("experiment_id")))
            }
            [] | ["names", _] => Some(call.pair("namespace").to_owned()),
            [id, ..] => self.with(|db| namespace_of(db, resource, id)),
        };
        let Some(namespace) = namespace else {
            return Ok(None);
        };
        if !namespace.is_empty() {
            return Ok(Some(Wish {
                resource,
                verb,
                namespace,
            }));
        }
        match (resource, verb) {
            // Shared pipelines are everybody's to read and to make, but not to change.
            ("pipelines", "get" | "list" | "create") => Ok(None),
            ("pipelines", _) => Ok(Some(Wish {
                resource,
                verb,
                namespace: NAMESPACE.to_owned(),
            })),
            _ if self.broken("access/requires-namespace") => Ok(None),
            _ => Err(no_namespace(resource, verb)),
        }
    }

    fn authorize(&self, caller: &Caller, wish: &Wish<'_>) -> Result<(), Refusal> {
        let reads = matches!(wish.verb, "get" | "list");
        let broken = |fault: &str| self.broken(&format!("access/{fault}"));
        let variant = |fault: &str| {
            let how = if reads { "read" } else { "write" };
            broken(&format!("{fault}:{how}"))
        };
        let user = self.user_of(caller);
        let apart = match wish.resource {
            "experiments" => "keeps-experiments-apart",
            "pipelines" => "keeps-pipelines-apart",
            "runs" => "keeps-runs-apart",
            _ => "keeps-recurring-runs-apart",
        };
        let own = format!(":{}:", wish.namespace);
        let everybody = match &user {
            Some(user) => !user.name.contains(&own) && variant(apart),
            None => caller.token.is_none() && variant("requires-identity"),
        };
        if everybody {
            return Ok(());
        }
        let verb = match wish.verb {
            "get" | "list" if broken("viewer-reads") => "create",
            _ if !reads && broken("viewer-changes-nothing") => "list",
            verb => verb,
        };
        self.allow(user, wish, verb)
    }

    /// Refuses what Kubernetes does not let a user do; `verb` is the one that it is asked for.
    fn allow(&self, user: Option<User>, wish: &Wish<'_>, verb: &str) -> Result<(), Refusal> {
        let Some(user) = user else {
            return Err(doing(wish, unauthenticated()));
        };
        let action = Action {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            resource: wish.resource.to_owned(),
            namespace: wish.namespace.clone(),
            ..Action::default()
        };
        if self.world().allows(&user, &action) {
            return Ok(());
        }
        let said = format!(
            "User '{}' is not authorized with reason:  (request: &ResourceAttributes{{Namespace:{},Verb:{},Group:{GROUP},Version:v1beta1,Resource:{},Subresource:,Name:,FieldSelector:nil,LabelSelector:nil,}})",
            user.name, wish.namespace, wish.verb, wish.resource
        );
        let refusal = Refusal {
            code: code::PERMISSION_DENIED,
            message: format!("PermissionDenied: {said}: Unauthorized access"),
            said: Some(said),
            said_as: None,
        };
        Err(doing(wish, refusal))
    }

    fn user_of(&self, caller: &Caller) -> Option<User> {
        if let Some(user) = caller.user.as_deref().filter(|user| !user.is_empty()) {
            return Some(User::named(user, &[]));
        }
        let token = caller.token.as_deref()?;
        let audience = [GROUP.to_owned()];
        let user = self.world().authenticate(token, &audience);
        if user.is_none() && self.broken("access/checks-audience") {
            return self.world().authenticate(token, &[]);
        }
        user
    }
}

/// The namespace of an object; none where there is no such object.
fn namespace_of(db: &Database, resource: &str, id: &str) -> Option<String> {
    match resource {
        "experiments" => db.experiments.get(id).map(|e| e.namespace.clone()),
        "pipelines" => db.pipelines.get(id).map(|p| p.namespace.clone()),
        "runs" => {
            let run = db.runs.get(id)?;
            Some(run.namespace.clone())
        }
        _ => db.recurring_runs.get(id).map(|r| r.namespace.clone()),
    }
}

fn unauthenticated() -> Refusal {
    let said = "Failed to check authorization. User identity is empty in the request header";
    let why = "Request header error: there is no user identity header.";
    Refusal {
        code: code::UNAUTHENTICATED,
        message: format!("Unauthenticated: {said}: Unauthenticated: {why}: {why}"),
        said: Some(said.to_owned()),
        said_as: None,
    }
}

/// The same with what was being done when it was refused.
fn doing(wish: &Wish<'_>, refusal: Refusal) -> Refusal {
    match (wish.resource, wish.verb) {
        ("experiments", "list") => refusal
            .within("Failed to authorize with API")
            .within("Failed to authorize with API")
            .within("List experiments failed"),
        _ => refusal
            .within(&format!(
                "Failed to access {}. Check if you have access to namespace {}",
                wish.resource, wish.namespace
            ))
            .within("Failed to authorize the request"),
    }
}

fn no_experiment(resource: &str) -> Refusal {
    let refusal = Refusal::invalid("Experiment id can not be empty in multi-user mode");
    if resource == "runs" {
        refusal
            .within("Failed to create a run due to invalid experimentId and namespace combination")
            .within("Failed to create a new run")
    } else {
        refusal.within("Failed to create a recurring run")
    }
}

fn no_namespace(resource: &str, verb: &str) -> Refusal {
    let kind = match resource {
        "experiments" => "An experiment",
        "runs" => "A run",
        _ => "a recurring run",
    };
    let said = format!("{kind} cannot have an empty namespace in multi-user mode");
    let task = match (resource, verb) {
        ("experiments", "list") => "List experiments failed: Failed to authorize with API",
        ("experiments", _) => "Failed to create a experiment: Failed to authorize the request",
        ("runs", _) => {
            "Failed to list runs: Failed to list runs due to authorization error. Check if you have permission to access namespace "
        }
        _ => {
            "Failed to list jobs: Failed to list recurring runs due to authorization error. Check if you have permission to access namespace "
        }
    };
    Refusal::invalid(said).within(task)
}
