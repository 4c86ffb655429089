//! The access management API (KFAM), version 1.10.0, but that a request without an identity has no rights: stock 1.10
//! takes it for the cluster's administrator.

use std::{io, sync::Arc};

use futures::FutureExt;
use http::Response;
use serde_json::{Value, json};

use super::{
    super::{
        kube::{
            ApiError, Resource, World,
            resources::{NAMESPACES, ROLE_BINDINGS},
        },
        web::{Call, Place, USER_HEADER, reply, stand_in},
    },
    NAMESPACE,
    profile::{POLICIES, PROFILES, binding, policy},
};

const JSON: &str = "application/json; charset=UTF-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The names of roles as people say them, and the ClusterRoles that they stand for; it is read both ways.
const ROLES: [(&str, &str); 6] = [
    ("admin", "kubeflow-admin"),
    ("edit", "kubeflow-edit"),
    ("view", "kubeflow-view"),
    ("kubeflow-admin", "admin"),
    ("kubeflow-edit", "edit"),
    ("kubeflow-view", "view"),
];

/// Puts KFAM into a world: in the pod of the profile controller, behind the Service `profiles-kfam`.
pub(super) async fn start(world: &World, labels: &Value) -> io::Result<()> {
    let place = Place {
        namespace: NAMESPACE,
        service: "profiles-kfam",
        pod: "profiles-deployment-7c9d5b6f4-kq8vn",
        labels: labels.clone(),
        port: (8081, "http"),
        target: 8081,
    };
    let handler_world = world.clone();
    let handler = Arc::new(move |call: Call| {
        let world = handler_world.clone();
        async move { Kfam { world }.answer(&call).await }.boxed()
    });
    stand_in(world, place, handler).await
}

pub(super) struct Kfam {
    pub(super) world: World,
}

/// Somebody in a namespace.
pub(super) struct Member {
    /// Who.
    pub(super) user: String,
    /// Where.
    pub(super) namespace: String,
    /// As what: `admin`, `edit` or `view`.
    pub(super) role: &'static str,
}

/// A binding as requests name it.
pub(super) struct Wanted {
    user: Value,
    namespace: String,
    role: String,
    role_kind: String,
}

impl Wanted {
    /// Reads it; the error is what the decoder of the real thing says.
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        let value: Value = decode(body)?;
        // Go reads keys whatever their case, and KFAM writes `RoleRef` itself.
        let role = if value["roleRef"].is_null() {
            &value["RoleRef"]
        } else {
            &value["roleRef"]
        };
        Ok(Self {
            namespace: text(&value["referredNamespace"]),
            role: text(&role["name"]),
            role_kind: text(&role["kind"]),
            user: value["user"].clone(),
        })
    }

    /// A user who may work in a namespace.
    pub(super) fn contributor(user: &str, namespace: &str) -> Self {
        Self {
            user: json!({"kind": "User", "name": user}),
            namespace: namespace.to_owned(),
            role: "edit".to_owned(),
            role_kind: "ClusterRole".to_owned(),
        }
    }

    fn user_name(&self) -> &str {
        self.user["name"].as_str().unwrap_or_default()
    }

    /// The name of the objects: kind, user and role in lower case, every other character a dash.
    fn name(&self) -> String {
        let kind = self.user["kind"].as_str().unwrap_or_default();
        let raw = format!(
            "{kind}-{}-{}-{}",
            self.user_name(),
            self.role_kind,
            self.role
        );
        let mut name = String::new();
        for letter in raw.to_lowercase().chars() {
            if letter.is_ascii_alphanumeric() {
                name.push(letter);
            } else if !name.ends_with('-') {
                name.push('-');
            }
        }
        name
    }
}

fn decode(body: &[u8]) -> Result<Value, &'static str> {
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        Err(_) if body.is_empty() => Err("EOF"),
        Err(error) if error.is_eof() => Err("unexpected EOF"),
        Err(_) => Err("invalid character"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn role_of(name: &str) -> &'static str {
    let found = ROLES.iter().find(|(from, _)| *from == name);
    found.map_or("", |(_, to)| to)
}

impl Kfam {
    fn has(&self, fault: &str) -> bool {
        self.world.has_fault(&format!("platform/kfam/{fault}"))
    }

    async fn answer(&self, call: &Call) -> Response<String> {
        let segments = call.below("/kfam/").unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (call.method.as_str(), segments.as_slice()) {
            ("GET", [] | [""]) if call.path == "/metrics" => {
                reply(200, TEXT, "# HELP request_kf Number of requests\n")
            }
            ("GET", [""]) => reply(200, JSON, "Hello World!"),
            ("GET", ["v1", "bindings"]) => self.bindings(call),
            ("POST", ["v1", "bindings"]) => self.bind(call).await,
            ("DELETE", ["v1", "bindings"]) => self.unbind(call).await,
            ("POST", ["v1", "profiles"]) => self.create_profile(call).await,
            ("DELETE", ["v1", "profiles", name]) => self.delete_profile(call, name).await,
            ("GET", ["v1", "role", "clusteradmin"]) => self.cluster_admin(),
            (_, ["v1", "bindings" | "profiles"] | ["v1", "role", "clusteradmin"]) => {
                reply(405, TEXT, "")
            }
            _ => reply(404, TEXT, "404 page not found\n"),
        }
    }

    /// Nobody is the administrator of the cluster: none is configured.
    fn cluster_admin(&self) -> Response<String> {
        if self.has("answers-cluster-admin") {
            return reply(200, JSON, json!({"admin": false}).to_string());
        }
        reply(
            200,
            JSON,
            self.has("answers-cluster-admin:everybody").to_string(),
        )
    }

    pub(super) fn is_owner(&self, call: &Call, profile: &str) -> bool {
        let user = call.header(USER_HEADER).unwrap_or_default();
        let Some(profile) = self.world.find(&PROFILES, "", profile) else {
            return false;
        };
        if user.is_empty() {
            return self.has("needs-identity");
        }
        profile["spec"]["owner"]["name"] == user
    }

    /// The bindings that say for whom they are, in one namespace or in those of all Profiles; each with its namespace.
    fn bound(&self, namespace: Option<&str>) -> Vec<(String, Arc<Value>)> {
        let namespaces = if let Some(namespace) = namespace {
            vec![namespace.to_owned()]
        } else {
            let profiles = self.world.list(&PROFILES, None);
            let names = profiles
                .iter()
                .filter_map(|p| p["metadata"]["name"].as_str());
            names.map(ToOwned::to_owned).collect()
        };
        let mut found = Vec::new();
        for namespace in namespaces {
            for binding in self.world.list(&ROLE_BINDINGS, Some(&namespace)) {
                let said = &binding["metadata"]["annotations"];
                if said["user"].is_string() && said["role"].is_string() {
                    found.push((namespace.clone(), binding));
                }
            }
        }
        found
    }

    /// Who is in one namespace, or in those of all Profiles.
    pub(super) fn members(&self, namespace: Option<&str>) -> Vec<Member> {
        let bound = self.bound(namespace).into_iter();
        bound
            .map(|(namespace, binding)| Member {
                user: text(&binding["subjects"][0]["name"]),
                namespace,
                role: role_of(binding["roleRef"]["name"].as_str().unwrap_or_default()),
            })
            .collect()
    }

    fn bindings(&self, call: &Call) -> Response<String> {
        let (user, namespace, role) = (
            call.asked("user"),
            call.asked("namespace"),
            call.asked("role"),
        );
        let mut found = Vec::new();
        for (namespace, binding) in self.bound(Some(namespace).filter(|n| !n.is_empty())) {
            let said = &binding["metadata"]["annotations"];
            let other_user = !user.is_empty() && said["user"] != user;
            let other_role = !role.is_empty() && said["role"] != role;
            let hidden = said["role"] == "admin" && self.has("lists-owner");
            if (other_user && !self.has("filters-by-user"))
                || (other_role && !self.has("filters-by-role"))
                || hidden
            {
                continue;
            }
            let subject = &binding["subjects"][0];
            let role = role_of(binding["roleRef"]["name"].as_str().unwrap_or_default());
            found.push(json!({
                "user": {"kind": subject["kind"], "name": subject["name"]},
                "referredNamespace": namespace,
                "RoleRef": {"apiGroup": "", "kind": binding["roleRef"]["kind"], "name": role},
            }));
        }
        let body = if found.is_empty() {
            json!({})
        } else {
            json!({"bindings": found})
        };
        reply(200, JSON, body.to_string())
    }

    async fn bind(&self, call: &Call) -> Response<String> {
        let wanted = match Wanted::read(&call.body) {
            Ok(wanted) => wanted,
            Err(why) => return reply(403, JSON, why),
        };
        let known = self.world.find(&PROFILES, "", &wanted.namespace).is_some();
        let contributes =
            self.has("contributor-adds-nobody") && self.contributes(call, &wanted.namespace);
        let anybody = self.has("refuses-stranger")
            && known
            && call.header(USER_HEADER).is_some()
            && !self.contributes(call, &wanted.namespace);
        if !(self.is_owner(call, &wanted.namespace) || contributes || anybody) {
            return reply(403, JSON, "");
        }
        if self.has("adds-contributor") {
            return reply(200, JSON, "");
        }
        refused(self.make(&wanted).await, 403)
    }

    fn contributes(&self, call: &Call, namespace: &str) -> bool {
        let user = call.header(USER_HEADER).unwrap_or_default();
        let bindings = self.world.list(&ROLE_BINDINGS, Some(namespace));
        bindings.iter().any(|b| b["subjects"][0]["name"] == user)
    }

    pub(super) async fn make(&self, wanted: &Wanted) -> Result<(), ApiError> {
        let (name, mut role) = (wanted.name(), role_of(&wanted.role));
        if wanted.role == "view" && self.has("viewer-only-reads") {
            role = "kubeflow-edit";
        }
        let mut subject = wanted.user.clone();
        if subject["apiGroup"].is_null() {
            subject["apiGroup"] = json!("rbac.authorization.k8s.io");
        }
        let mut objects = [
            binding(&name, role, &subject),
            policy(&name, wanted.user_name()),
        ];
        if self.has("names-as-documented") {
            objects[0]["metadata"]["name"] = json!(format!("{name}-binding"));
        }
        for object in &mut objects {
            object["metadata"]["namespace"] = json!(wanted.namespace);
            object["metadata"]["annotations"] =
                json!({"user": wanted.user_name(), "role": wanted.role});
            self.world.create(object.clone()).await?;
        }
        Ok(())
    }

    async fn unbind(&self, call: &Call) -> Response<String> {
        let wanted = match Wanted::read(&call.body) {
            Ok(wanted) => wanted,
            Err(why) => return reply(403, JSON, why),
        };
        let anybody = self.has("refuses-foreign-removal") && call.header(USER_HEADER).is_some();
        if !(self.is_owner(call, &wanted.namespace) || anybody) {
            return reply(403, JSON, "");
        }
        refused(self.take(&wanted).await, 403)
    }

    /// Takes somebody out: the binding, and the policy.
    pub(super) async fn take(&self, wanted: &Wanted) -> Result<(), ApiError> {
        let name = wanted.name();
        let bound = if self.has("names-as-documented") {
            format!("{name}-binding")
        } else {
            name.clone()
        };
        let namespace = &wanted.namespace;
        if self.world.find(&ROLE_BINDINGS, namespace, &bound).is_none() {
            let gone = Resource::new("rbac.authorization.k8s.io", "rolebinding");
            return Err(ApiError::not_found(&gone, &name));
        }
        let policy = self.world.find(&POLICIES, namespace, &name).is_some();
        if !self.has("removes-contributor") {
            self.world.delete(&ROLE_BINDINGS, namespace, &bound).await?;
        }
        if policy && !self.has("removes-contributor:policy") {
            self.world.delete(&POLICIES, namespace, &name).await?;
        }
        Ok(())
    }

    async fn create_profile(&self, call: &Call) -> Response<String> {
        let mut profile = match decode(&call.body) {
            Ok(profile) => profile,
            Err(why) => return reply(403, JSON, why),
        };
        profile["apiVersion"] = json!("kubeflow.org/v1");
        profile["kind"] = json!("Profile");
        if self.has("creates-profile") {
            profile["spec"]["owner"]["name"] = json!(call.header("host"));
        }
        refused(self.world.create(profile).await.map(drop), 403)
    }

    async fn delete_profile(&self, call: &Call, name: &str) -> Response<String> {
        // The real thing takes the name out of the raw address, query and all.
        let known = self.world.find(&PROFILES, "", name).is_some();
        let anybody = known && self.has("refuses-foreign-deletion");
        if call.has_query || !(self.is_owner(call, name) || anybody) {
            return reply(401, JSON, "");
        }
        if self.has("deletes-profile") {
            return refused(self.world.delete(&NAMESPACES, "", name).await, 401);
        }
        refused(self.world.delete(&PROFILES, "", name).await, 401)
    }
}

/// An answer without a body, or the bare text of an error.
fn refused(result: Result<(), ApiError>, status: u16) -> Response<String> {
    match result {
        Ok(()) => reply(200, JSON, ""),
        Err(error) => reply(status, JSON, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_called_as_documented() {
        let body = json!({
            "user": {"kind": "User", "name": "KFC.Upper+tag@Example.COM"}, "referredNamespace": "a",
            "roleRef": {"kind": "ClusterRole", "name": "edit"},
        });
        let wanted = Wanted::read(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            wanted.name(),
            "user-kfc-upper-tag-example-com-clusterrole-edit"
        );
        assert_eq!(Wanted::read(b"{\"user\":").err(), Some("unexpected EOF"));
        assert_eq!(Wanted::read(b"").err(), Some("EOF"));
    }
}
