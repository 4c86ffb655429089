//! Refusals of the API server, as the `Status` objects that Kubernetes clients read.

use serde_json::{Value, json};

use super::registry::{Resource, ResourceType};

/// A refused request: becomes a `v1` `Status` with `status: Failure`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, for example `NotFound`; absent for the denials of some webhooks.
    pub reason: Option<String>,
    /// What a person reads.
    pub message: String,
    /// The `details` member: name, group, kind, causes.
    pub details: Option<Box<Value>>,
}

/// One thing wrong with a field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field, for example `spec.containers[0].image`.
    pub field: String,
    /// The kind of cause, for example `FieldValueRequired`.
    pub reason: &'static str,
    /// What is wrong, without the path.
    pub message: String,
}

impl FieldError {
    /// A required field is absent.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {detail}")
        };
        Self {
            field: field.into(),
            reason: "FieldValueRequired",
            message,
        }
    }

    /// A field has a value that is not allowed; `value` is shown as JSON.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {detail}"),
        }
    }

    /// A field may not be set or changed.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {detail}"),
        }
    }

    /// A field has a value outside its enumeration.
    pub fn unsupported<'a>(
        field: impl Into<String>,
        value: &Value,
        supported: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        let supported: Vec<String> = supported.into_iter().map(Value::to_string).collect();
        Self {
            field: field.into(),
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {value}: supported values: {}",
                supported.join(", ")
            ),
        }
    }
}

impl ApiError {
    /// A refusal without details.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: Some(reason.to_owned()),
            message: message.into(),
            details: None,
        }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 404: there is no such object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::about(
            404,
            "NotFound",
            resource,
            name,
            format!("{resource} \"{name}\" not found"),
        )
    }

    /// 404: there is no such resource type on this server.
    pub fn unknown_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// 409: an object of this name exists.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::about(
            409,
            "AlreadyExists",
            resource,
            name,
            format!("{resource} \"{name}\" already exists"),
        )
    }

    /// 409: the object was changed since it was read.
    pub fn conflict(resource: &Resource, name: &str) -> Self {
        Self::conflict_because(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 for another cause, for example a precondition.
    pub fn conflict_because(resource: &Resource, name: &str, cause: &str) -> Self {
        Self::about(
            409,
            "Conflict",
            resource,
            name,
            format!("Operation cannot be fulfilled on {resource} \"{name}\": {cause}"),
        )
    }

    /// 403: refused by a rule about this object.
    pub fn forbidden(resource: &Resource, name: &str, cause: &str) -> Self {
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {cause}")
        } else {
            format!("{resource} \"{name}\" is forbidden: {cause}")
        };
        Self::about(403, "Forbidden", resource, name, message)
    }

    /// 401: no or unknown credentials.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 405: the resource does not have this verb.
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// 410: the resource version asked for is no longer in the history.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 422: the object breaks the rules of its type.
    pub fn invalid(kind: &ResourceType, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect();
        let all = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({"reason": error.reason, "message": error.message, "field": error.field}))
            .collect();
        let group = kind.resource.group();
        let of = if group.is_empty() {
            kind.kind.clone()
        } else {
            format!("{}.{group}", kind.kind)
        };
        let mut details = json!({"name": name});
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        details["kind"] = json!(kind.kind);
        details["causes"] = json!(causes);
        Self {
            code: 422,
            reason: Some("Invalid".to_owned()),
            message: format!("{of} \"{name}\" is invalid: {all}"),
            details: Some(Box::new(details)),
        }
    }

    /// 500: a component called by the server failed.
    pub fn internal(cause: &str) -> Self {
        Self {
            code: 500,
            reason: Some("InternalError".to_owned()),
            message: format!("Internal error occurred: {cause}"),
            details: Some(Box::new(json!({"causes": [{"message": cause}]}))),
        }
    }

    fn about(code: u16, reason: &str, resource: &Resource, name: &str, message: String) -> Self {
        Self {
            code,
            reason: Some(reason.to_owned()),
            message,
            details: Some(Box::new(details(resource, name))),
        }
    }

    /// True when this says that an object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// True when this says that an object exists already.
    pub fn is_already_exists(&self) -> bool {
        self.reason.as_deref() == Some("AlreadyExists")
    }

    /// True when this says that an object was changed meanwhile.
    pub fn is_conflict(&self) -> bool {
        self.reason.as_deref() == Some("Conflict")
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if let Some(reason) = &self.reason {
            status["reason"] = json!(reason);
        }
        if let Some(details) = &self.details {
            status["details"] = Value::clone(details);
        }
        status["code"] = json!(self.code);
        status
    }
}

/// The `details` of a `Status` about one object: name, group (when not core) and the plural as kind.
pub(super) fn details(resource: &Resource, name: &str) -> Value {
    let mut details = json!({});
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !resource.group().is_empty() {
        details["group"] = json!(resource.group());
    }
    details["kind"] = json!(resource.plural());
    details
}
