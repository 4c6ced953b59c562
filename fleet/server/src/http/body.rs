//! JSON bodies as RackHD's clients send them: often none at all.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::http::error::ApiError;

/// A JSON body. An empty one reads as `{}`, whatever its `Content-Type` says.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let json = request.headers().get(header::CONTENT_TYPE).is_none_or(|value| {
            let kind = value.to_str().unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            kind == "application/json" || kind.ends_with("+json")
        });
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::too_large("the body is larger than this server reads")
            } else {
                ApiError::bad_request("the body could not be read to its end")
            }
        })?;
        let body = bytes.trim_ascii();
        if body.is_empty() {
            return serde_json::from_value(Value::Object(Map::new()))
                .map(Self)
                .map_err(|error| ApiError::bad_request(format!("a body is needed here: {error}")));
        }
        // Also what keeps a foreign web page from sending one without the browser asking us first.
        if !json {
            return Err(ApiError::unsupported_media_type(
                "send JSON, with the header Content-Type: application/json",
            ));
        }
        serde_json::from_slice(body)
            .map(Self)
            .map_err(|error| ApiError::bad_request(format!("the body does not read: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body as HttpBody;

    async fn read(kind: Option<&str>, body: &'static str) -> Result<Value, ApiError> {
        let mut request = Request::builder();
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(HttpBody::from(body)).unwrap();
        Body::<Value>::from_request(request, &()).await.map(|body| body.0)
    }

    #[tokio::test]
    async fn no_body_is_an_empty_object() {
        for kind in [None, Some("application/json"), Some("application/x-www-form-urlencoded")] {
            assert_eq!(read(kind, "").await.unwrap(), Value::Object(Map::new()));
        }
    }

    #[tokio::test]
    async fn json_is_read_and_other_forms_are_refused() {
        let object = serde_json::json!({"a": 1});
        assert_eq!(
            read(Some("application/json; charset=utf-8"), "{\"a\":1}").await.unwrap(),
            object
        );
        assert_eq!(read(None, "{\"a\":1}").await.unwrap(), object);
        let form = read(Some("application/x-www-form-urlencoded"), "{\"a\":1}").await.unwrap_err();
        assert_eq!(form.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let broken = read(Some("application/json"), "{\"a\":").await.unwrap_err();
        assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    }
}
