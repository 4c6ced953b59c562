//! The API has no passwords yet, so that a browser inside the network could be used to reach it from outside.

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::error::ApiError;

/// Refuses what changes something when the page that sends it came from elsewhere (Fetch Metadata, `Sec-Fetch-Site`;
/// browsers always send it, other clients never do).
pub(crate) async fn refuse_foreign_pages(request: Request, next: Next) -> Response {
    let harmless = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let site = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let foreign = site.is_some_and(|site| site != "same-origin" && site != "none");
    if foreign && !harmless {
        return ApiError::forbidden("a page from another server may not change anything here")
            .into_response();
    }
    next.run(request).await
}
