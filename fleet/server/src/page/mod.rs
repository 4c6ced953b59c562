//! The page at `/`: plain HTML that shows what `/api/overboot/v1/fleet` says. It loads nothing from elsewhere.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::app::App;

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new().route("/", get(page))
}

/// Nothing from anywhere else, whatever a node manages to put into its name.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

async fn page() -> Response {
    let mut response = Html(include_str!("page.html")).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}
