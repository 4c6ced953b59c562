//! Immutable bytes over HTTP: files named by their digest, whole or in parts.

use std::fs::Metadata;
use std::path::Path;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use fs_err::tokio::File;
use overboot_digest::Digest;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::http::error::{ApiError, ApiResult};
use crate::http::range::{Selection, select};

/// Bytes read from the disk at once, per client. A boot reads hundreds of megabytes.
const READ_SIZE: usize = 256 * 1024;

/// For what never changes: its name is its digest.
pub(crate) const IMMUTABLE: HeaderValue =
    HeaderValue::from_static("public, max-age=31536000, immutable");

/// For what may be another tomorrow under the same name.
pub(crate) const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// How one content of a file is told from another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Validator {
    /// By this digest of it.
    Digest(Digest),
    /// By its size and the time of its last change.
    Metadata,
}

impl Validator {
    /// A strong entity tag (RFC 9110 8.8.3), quotes included.
    fn etag(self, metadata: &Metadata) -> String {
        match self {
            Self::Digest(digest) => format!("\"{digest}\""),
            Self::Metadata => {
                let changed = metadata.modified().ok();
                let since = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                let nanoseconds = since.unwrap_or_default().as_nanos();
                format!("\"{:x}-{nanoseconds:x}\"", metadata.len())
            }
        }
    }
}

/// Serves the file at `path`. 404 with `missing` when there is none.
pub(crate) async fn serve(
    headers: &HeaderMap,
    path: &Path,
    validator: Validator,
    cache: HeaderValue,
    missing: &str,
) -> ApiResult<Response<Body>> {
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ApiError::not_found(missing));
        }
        Err(error) => return Err(ApiError::internal("the file cannot be opened", error)),
    };
    let cannot_read = |error| ApiError::internal("the file cannot be read", error);
    let metadata = file.metadata().await.map_err(cannot_read)?;
    if !metadata.is_file() {
        return Err(ApiError::not_found(missing));
    }
    let size = metadata.len();
    let etag = validator.etag(&metadata);
    let selection = select(headers, &etag, size);
    let mut response = Response::new(Body::empty());
    let head = response.headers_mut();
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    head.insert(header::CACHE_CONTROL, cache);
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        head.insert(header::ETAG, etag);
    }
    let (status, start, length) = match selection {
        Selection::Whole => (StatusCode::OK, 0, size),
        Selection::Part { start, end } => {
            if let Ok(range) = HeaderValue::from_str(&format!("bytes {start}-{end}/{size}")) {
                head.insert(header::CONTENT_RANGE, range);
            }
            (StatusCode::PARTIAL_CONTENT, start, end - start + 1)
        }
        Selection::Unsatisfiable => {
            if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
                head.insert(header::CONTENT_RANGE, range);
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0)
        }
        Selection::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
        Selection::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, 0, 0),
    };
    *response.status_mut() = status;
    if status.is_success() {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        file.seek(std::io::SeekFrom::Start(start)).await.map_err(cannot_read)?;
        *response.body_mut() =
            Body::from_stream(ReaderStream::with_capacity(file.take(length), READ_SIZE));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::http::HeaderName;

    async fn get(headers: &[(HeaderName, &'static str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let content = b"0123456789";
        fs_err::write(&path, content).unwrap();
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let digest = Validator::Digest(Digest::of(content));
        let response = serve(&headers.collect(), &path, digest, IMMUTABLE, "gone").await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, body.to_vec())
    }

    #[tokio::test]
    async fn the_whole_file_is_cacheable_for_ever() {
        let (status, headers, body) = get(&[]).await;
        assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"0123456789"[..]));
        assert_eq!(headers[header::CONTENT_LENGTH], "10");
        assert_eq!(headers[header::ACCEPT_RANGES], "bytes");
        assert_eq!(headers[header::CACHE_CONTROL], IMMUTABLE);
        assert_eq!(headers[header::ETAG], format!("\"{}\"", Digest::of(b"0123456789")));
    }

    #[tokio::test]
    async fn a_part_says_where_it_is_from() {
        let (status, headers, body) = get(&[(header::RANGE, "bytes=7-")]).await;
        assert_eq!((status, body.as_slice()), (StatusCode::PARTIAL_CONTENT, &b"789"[..]));
        assert_eq!(headers[header::CONTENT_RANGE], "bytes 7-9/10");
        assert_eq!(headers[header::CONTENT_LENGTH], "3");
    }

    #[tokio::test]
    async fn what_is_not_there_names_the_size() {
        let (status, headers, body) = get(&[(header::RANGE, "bytes=10-")]).await;
        assert_eq!((status, body.len()), (StatusCode::RANGE_NOT_SATISFIABLE, 0));
        assert_eq!(headers[header::CONTENT_RANGE], "bytes */10");
    }

    #[tokio::test]
    async fn a_missing_file_is_a_404() {
        let error = serve(
            &HeaderMap::new(),
            Path::new("/nonexistent/blob"),
            Validator::Metadata,
            IMMUTABLE,
            "no blob",
        )
        .await
        .unwrap_err();
        assert_eq!((error.status(), error.message()), (StatusCode::NOT_FOUND, "no blob"));
    }
}
