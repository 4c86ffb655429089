//! Admission: what components have to say about writes before they are stored.

use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use serde_json::Value;

use super::auth::User;
use super::registry::Resource;
use super::status::ApiError;

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It is changed, by update or patch.
    Update,
    /// It is deleted.
    Delete,
}

/// A write, as a webhook is shown it.
#[derive(Clone, Debug)]
pub struct AdmissionRequest {
    /// What is about to happen.
    pub operation: Operation,
    /// The type of the object.
    pub resource: Resource,
    /// `status` or `scale` when a subresource is written; else empty.
    pub subresource: String,
    /// The object as it would be, in the version of the request; `null` on deletion.
    pub object: Value,
    /// The object as it is; none on creation.
    pub old_object: Option<Arc<Value>>,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name; may be empty on creation with `generateName`.
    pub name: String,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Who writes.
    pub user: User,
}

/// A webhook's refusal. It becomes a `Status` of this code, reason and message, unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The HTTP status code.
    pub code: u16,
    /// The reason, for example `Forbidden`; none as controller-runtime's older webhooks leave it.
    pub reason: Option<String>,
    /// The whole message.
    pub message: String,
}

impl Denied {
    /// A denial in the words of the API server: `admission webhook "W" denied the request: …`, with code and reason
    /// as the webhook gave them (Katib: 400 without reason; KServe: 403 `Forbidden`).
    pub fn by(webhook: &str, code: u16, reason: Option<&str>, message: &str) -> Self {
        Self {
            code,
            reason: reason.map(str::to_owned),
            message: format!("admission webhook \"{webhook}\" denied the request: {message}"),
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self {
            code: denied.code,
            reason: denied.reason,
            message: denied.message,
            details: None,
        }
    }
}

type Mutate =
    Arc<dyn Fn(AdmissionRequest) -> BoxFuture<'static, Result<Value, Denied>> + Send + Sync>;
type Validate =
    Arc<dyn Fn(AdmissionRequest) -> BoxFuture<'static, Result<(), Denied>> + Send + Sync>;

#[derive(Clone)]
struct Hook<F> {
    resource: Resource,
    subresource: String,
    operations: Vec<Operation>,
    run: F,
}

impl<F> Hook<F> {
    fn wants(&self, request: &AdmissionRequest) -> bool {
        self.resource == request.resource
            && self.subresource == request.subresource
            && self.operations.contains(&request.operation)
    }
}

/// The registered hooks.
#[derive(Default)]
pub(super) struct Hooks {
    mutating: RwLock<Vec<Hook<Mutate>>>,
    validating: RwLock<Vec<Hook<Validate>>>,
}

impl Hooks {
    pub(super) fn add_mutating(
        &self,
        resource: &Resource,
        subresource: &str,
        operations: &[Operation],
        run: Mutate,
    ) {
        self.mutating
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Hook {
                resource: resource.clone(),
                subresource: subresource.to_owned(),
                operations: operations.to_vec(),
                run,
            });
    }

    pub(super) fn add_validating(
        &self,
        resource: &Resource,
        subresource: &str,
        operations: &[Operation],
        run: Validate,
    ) {
        self.validating
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Hook {
                resource: resource.clone(),
                subresource: subresource.to_owned(),
                operations: operations.to_vec(),
                run,
            });
    }

    /// Lets every mutating hook change the object, in the order of registration.
    pub(super) async fn mutate(&self, request: &mut AdmissionRequest) -> Result<(), ApiError> {
        for run in wanted(&self.mutating, request) {
            request.object = run(request.clone()).await?;
        }
        Ok(())
    }

    /// Asks every validating hook.
    pub(super) async fn validate(&self, request: &AdmissionRequest) -> Result<(), ApiError> {
        for run in wanted(&self.validating, request) {
            run(request.clone()).await?;
        }
        Ok(())
    }

    /// Forgets every hook, and with them what the hooks hold.
    pub(super) fn clear(&self) {
        self.mutating
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.validating
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn wanted<F: Clone>(hooks: &RwLock<Vec<Hook<F>>>, request: &AdmissionRequest) -> Vec<F> {
    hooks
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .filter(|hook| hook.wants(request))
        .map(|hook| hook.run.clone())
        .collect()
}
