//! One name for each thing: RackHD's aliases of its API version, before routing.

use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};

/// The prefix under which routes are registered.
pub(crate) const API: &str = "/api/2.0";

/// What RackHD rewrites to it.
const ALIASES: [&str; 2] = ["/api/current", "/api/common"];

/// Rewrites `/api/current/…` and `/api/common/…` to `/api/2.0/…`.
pub(crate) fn canonical<B>(mut request: Request<B>) -> Request<B> {
    if let Some(uri) = rewritten(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn rewritten(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let rest = ALIASES
        .iter()
        .find_map(|alias| path.strip_prefix(alias))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{API}{rest}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(path: &str) -> String {
        let request = Request::builder().uri(path).body(()).unwrap();
        canonical(request).uri().to_string()
    }

    #[test]
    fn aliases_become_the_version() {
        assert_eq!(seen("/api/current/nodes?a=b"), "/api/2.0/nodes?a=b");
        assert_eq!(seen("/api/common/nodes/1"), "/api/2.0/nodes/1");
        assert_eq!(seen("/api/current"), "/api/2.0");
        assert_eq!(seen("http://host:1/api/current/x"), "http://host:1/api/2.0/x");
    }

    #[test]
    fn other_paths_stay() {
        for path in
            ["/api/2.0/nodes", "/api/currently/nodes", "/boot/sets/a.json", "/?x=/api/current"]
        {
            assert_eq!(seen(path), path);
        }
    }
}
