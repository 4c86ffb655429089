//! Errors in the shapes and with the codes of the API server, the surprising ones included.

use http::StatusCode;
use serde_json::{Value, json};

/// What a handler answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// 200 with JSON.
    Json(Value),
    /// A refusal of the gateway or of a service behind it.
    Refused(Refusal),
    /// A refusal of the upload endpoints, which are no part of the gateway.
    Upload {
        /// The status.
        status: StatusCode,
        /// What it says, as `error_message`.
        message: String,
        /// Whether the answer claims to be JSON; the earliest ones do not.
        json: bool,
    },
    /// Plain text.
    Text(StatusCode, String),
}

/// A gRPC status, as the gateway turns it into HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The gRPC code.
    pub(super) code: u16,
    /// The whole chain of what was being done.
    pub(super) message: String,
    /// The message meant for users; none in the gateway's own refusals.
    pub(super) said: Option<String>,
    /// The code that goes with it, where it is another.
    pub(super) said_as: Option<u16>,
}

/// gRPC's codes.
pub(super) mod code {
    pub(in super::super) const UNKNOWN: u16 = 2;
    pub(in super::super) const INVALID_ARGUMENT: u16 = 3;
    pub(in super::super) const NOT_FOUND: u16 = 5;
    pub(in super::super) const ALREADY_EXISTS: u16 = 6;
    pub(in super::super) const PERMISSION_DENIED: u16 = 7;
    pub(in super::super) const FAILED_PRECONDITION: u16 = 9;
    pub(in super::super) const ABORTED: u16 = 10;
    pub(in super::super) const UNIMPLEMENTED: u16 = 12;
    pub(in super::super) const INTERNAL: u16 = 13;
    pub(in super::super) const UNAUTHENTICATED: u16 = 16;
}

impl Refusal {
    /// The gateway's own: without details.
    pub(super) fn gateway(code: u16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            said: None,
            said_as: None,
        }
    }

    /// A service's: the user's message behind a word for its kind.
    fn service(code: u16, kind: &str, said: String) -> Self {
        Self {
            code,
            message: format!("{kind}: {said}"),
            said: Some(said),
            said_as: None,
        }
    }

    /// Wrong input: 400.
    pub(super) fn invalid(said: impl Into<String>) -> Self {
        Self::service(code::INVALID_ARGUMENT, "Invalid input error", said.into())
    }

    /// An unknown id: 404.
    pub(super) fn not_found(kind: &str, id: &str) -> Self {
        let said = format!("{kind} {id} not found");
        Self::service(code::NOT_FOUND, "ResourceNotFoundError", said)
    }

    /// A name that is taken: 409.
    pub(super) fn exists(said: impl Into<String>) -> Self {
        Self::service(code::ALREADY_EXISTS, "Already exist error", said.into())
    }

    /// The same inside of a larger task.
    #[must_use]
    pub(super) fn within(self, task: &str) -> Self {
        Self {
            message: format!("{task}: {}", self.message),
            ..self
        }
    }

    /// The same, taken for the server's own failure: 500, where the server forgot that its user did it.
    #[must_use]
    pub(super) fn internal(self, task: &str) -> Self {
        Self {
            code: code::INTERNAL,
            message: format!("InternalServerError: {task}: {}", self.message),
            said: Some("Internal Server Error".to_owned()),
            said_as: None,
        }
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        match self.code {
            code::INVALID_ARGUMENT | code::FAILED_PRECONDITION => StatusCode::BAD_REQUEST,
            code::NOT_FOUND => StatusCode::NOT_FOUND,
            code::ALREADY_EXISTS | code::ABORTED => StatusCode::CONFLICT,
            code::PERMISSION_DENIED => StatusCode::FORBIDDEN,
            code::UNAUTHENTICATED => StatusCode::UNAUTHORIZED,
            code::UNIMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The body.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({"code": self.code, "message": self.message});
        if let Some(said) = &self.said {
            body["details"] = json!([{
                "@type": "type.googleapis.com/google.rpc.Status", "code": self.said_as.unwrap_or(self.code),
                "message": said,
            }]);
        }
        body
    }
}
