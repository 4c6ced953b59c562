//! What a client is told when something does not work. RackHD's error document is made here and nowhere else.
//!
//! Clients read sentences that are written for them; what went wrong inside goes to the log, under the same UUID.

use std::error::Error as StdError;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use uuid::Uuid;

/// An answer that says why there is no other.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    /// For the log only.
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// What handlers return.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), cause: None }
    }

    /// 400: the request itself is wrong.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403: it is understood and will not be done.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: what it is about does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 405: this exists, but not for this method.
    pub(crate) fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// 409: it contradicts what is.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 413: more than we read.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// 415: a body in a form that we do not read.
    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// 500: our fault. The client learns what we were doing, the log learns the cause.
    pub(crate) fn internal(
        doing: impl Into<String>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: doing.into(),
            cause: Some(cause.into()),
        }
    }

    /// 503: not now; ask again.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The status of the answer.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence for the client.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<overboot_state::Error> for ApiError {
    fn from(error: overboot_state::Error) -> Self {
        use overboot_state::Error;
        match error {
            // RackHD's status for what is not unique.
            Error::DuplicateLookup { .. } | Error::TargetTaken { .. } => {
                Self::bad_request(error.to_string())
            }
            Error::NoNode { .. } => Self::not_found(error.to_string()),
            Error::Changed { .. } => Self::conflict(error.to_string()),
            other => Self::internal("the fleet's state could not be read or written", other),
        }
    }
}

impl From<overboot_workflow::Error> for ApiError {
    fn from(error: overboot_workflow::Error) -> Self {
        use overboot_workflow::ErrorKind;
        let hinted = |error: &overboot_workflow::Error| match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        };
        match error.kind() {
            ErrorKind::NotFound => Self::not_found(hinted(&error)),
            // RackHD's sentence, which its tests compare.
            ErrorKind::Invalid => Self::bad_request(error.to_string()),
            ErrorKind::Forbidden => Self::forbidden(hinted(&error)),
            ErrorKind::Stopped => Self::unavailable(error.to_string()),
            ErrorKind::Internal => Self::internal("the workflow engine failed", error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let uuid = Uuid::new_v4();
        let message = &self.message;
        let status = self.status.as_u16();
        match &self.cause {
            Some(cause) => {
                tracing::error!(%uuid, status, message, cause = chain(cause.as_ref()), "request failed");
            }
            None => tracing::debug!(%uuid, status, message, "request refused"),
        }
        let body = json!({
            "message": escaped(message),
            "status": status.to_string(),
            "UUID": uuid.to_string(),
        });
        (self.status, Json(body)).into_response()
    }
}

/// An error with everything that led to it, on one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// RackHD's messages carry no markup and no newline: its web pages insert them as they are.
fn escaped(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for c in message.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\r' => {}
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use serde_json::Value;

    #[tokio::test]
    async fn the_document_has_rackhds_shape() {
        let response = ApiError::not_found("no <node>\n\"x\"").into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let bytes = to_bytes(response.into_body(), 4096).await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["message"], "no &lt;node&gt;&#34;x&#34;");
        assert_eq!(body["status"], "404");
        assert!(Uuid::parse_str(body["UUID"].as_str().unwrap()).is_ok());
    }

    #[tokio::test]
    async fn the_cause_of_our_own_failures_stays_inside() {
        let error = ApiError::internal("reading nodes", std::io::Error::other("secret path"));
        let bytes = to_bytes(error.into_response().into_body(), 4096).await.unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("secret"));
    }
}
