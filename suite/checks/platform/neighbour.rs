//! Two Profiles of the run beside its own: one that all look at, and one whose people must stay out of the others'.

use super::{namespace_of, owner, profile, settled};
use crate::checks::prelude::*;

setups! {
    /// A second Profile of the run, with its owner and its service accounts: whoever is in it must not see what is in
    /// the run's own namespace. It is there to speak as; nobody changes it.
    pub NEIGHBOUR = "setup/platform/neighbour", judge "platform/profile/creates-namespace", minutes 3, needs [], run: make_neighbour;
    /// A Profile with a quota. Contributors and PodDefaults may be put into it.
    pub TENANT = "setup/platform/tenant", judge "platform/profile/creates-namespace", minutes 3, needs [], run: make_tenant;
}

/// A Profile with all that came with it. What is not there is missing here: the checks say what must be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tenant {
    /// Its namespace, and its name.
    pub namespace: String,
    /// The user who owns it.
    pub owner: String,
    /// The Profile, as it was created.
    pub profile: Value,
    /// The namespace, as it was when the controller was done.
    pub object: Value,
    /// Its service accounts.
    pub accounts: Vec<Value>,
    /// Its role bindings.
    pub bindings: Vec<Value>,
}

impl Tenant {
    /// The name of a service account as rights are given to it.
    pub fn account(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.namespace)
    }

    /// One of its service accounts, to speak as.
    pub fn identity(&self, name: &str) -> Identity {
        Identity::ServiceAccount {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            audience: None,
        }
    }
}

async fn make_neighbour(cx: &Cx) -> Outcome<Value> {
    make(cx, "neighbour", Value::Null).await
}

/// What may be of a kind in the namespace of [`TENANT`]: nothing that a check there makes.
pub const QUOTA: (&str, &str) = ("persistentvolumeclaims", "7");

async fn make_tenant(cx: &Cx) -> Outcome<Value> {
    make(cx, "tenant", json!({"hard": {(QUOTA.0): QUOTA.1}})).await
}

async fn make(cx: &Cx, label: &str, quota: Value) -> Outcome<Value> {
    let name = cx.name(label);
    let wanted = with(&profile(cx, &name)?, "spec.resourceQuotaSpec", quota);
    let profile = cx.create(&PROFILE, &wanted).await?;
    namespace_of(cx, &name).await?;
    settled(cx, &name).await?;
    let tenant = Tenant {
        owner: owner(cx, &name),
        profile,
        object: cx.need(&NAMESPACE, &name).await?,
        accounts: cx.list_in(&SERVICE_ACCOUNT, &name, "").await?,
        bindings: cx.list_in(&ROLE_BINDING, &name, "").await?,
        namespace: name,
    };
    Ok(json!(tenant))
}
