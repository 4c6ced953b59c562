//! What nodes fetch: boot sets, blobs, loaders, and RackHD's `/common`.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{self, State};
use axum::http::{HeaderMap, Response, header};
use axum::response::IntoResponse;
use axum::routing::get;
use overboot_digest::Digest;

use crate::app::App;
use crate::http::error::{ApiError, ApiResult};
use crate::http::file::{IMMUTABLE, REVALIDATE, Validator, serve};

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/boot/blobs/sha256/{hex}", get(blob))
        .route("/boot/sets/{file}", get(set))
        .route("/boot/loaders/{file}", get(loader))
        .route("/common/{*path}", get(common))
}

async fn blob(
    State(app): State<Arc<App>>,
    extract::Path(hex): extract::Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response<Body>> {
    let missing = format!("there is no blob {hex} in the store");
    let digest: Digest =
        format!("sha256:{hex}").parse().map_err(|_| ApiError::not_found(missing.clone()))?;
    let path = app.images.blob(&digest);
    serve(&headers, &path, Validator::Digest(digest), IMMUTABLE, &missing).await
}

/// Which state of a boot set is asked for.
#[derive(Debug, serde::Deserialize)]
struct AskedSet {
    /// The 64 hex digits of its manifest; otherwise what is served now.
    manifest: Option<String>,
}

async fn set(
    State(app): State<Arc<App>>,
    extract::Path(file): extract::Path<String>,
    extract::Query(asked): extract::Query<AskedSet>,
    headers: HeaderMap,
) -> ApiResult<Response<Body>> {
    let (name, signature) = match file.strip_suffix(".json.minisig") {
        Some(name) => (name, true),
        None => (file.strip_suffix(".json").unwrap_or(&file), false),
    };
    let missing = format!("there is no boot set {name}");
    let not_found = || ApiError::not_found(missing.clone());
    let manifest = asked.manifest.map(|hex| format!("sha256:{hex}").parse());
    let manifest: Option<Digest> = manifest.transpose().map_err(|_| not_found())?;
    let (set, minisig) = app.images.set_blobs(name, manifest).await?.ok_or_else(not_found)?;
    let digest = match (signature, minisig) {
        (false, _) => set,
        (true, Some(minisig)) => minisig,
        (true, None) => {
            return Err(ApiError::not_found(format!("the boot set {name} is not signed")));
        }
    };
    let path = app.images.blob(&digest);
    serve(&headers, &path, Validator::Digest(digest), REVALIDATE, &missing).await
}

/// Loaders are small and held in memory; firmware asks for their size first (`HEAD`).
async fn loader(
    State(app): State<Arc<App>>,
    extract::Path(file): extract::Path<String>,
) -> ApiResult<impl IntoResponse> {
    let missing = || ApiError::not_found(format!("there is no loader {file}"));
    let bytes = app.loaders.get(&file).ok_or_else(missing)?;
    Ok(([(header::CACHE_CONTROL, REVALIDATE)], Bytes::from_owner(bytes)))
}

async fn common(
    State(app): State<Arc<App>>,
    extract::Path(path): extract::Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response<Body>> {
    let missing = format!("there is no file {path}");
    let confined = app.common.as_deref().and_then(|folder| confined(folder, &path));
    let file = confined.ok_or_else(|| ApiError::not_found(missing.clone()))?;
    serve(&headers, &file, Validator::Metadata, REVALIDATE, &missing).await
}

/// The file that `path` names below `folder`; nothing when it would lead out of it.
fn confined(folder: &Path, path: &str) -> Option<PathBuf> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let real = fs_err::canonicalize(folder.join(path)).ok().filter(|_| plain)?;
    // A link may be what an operator wants, but not out of the folder that was given to us.
    let folder = fs_err::canonicalize(folder).ok()?;
    real.starts_with(folder).then_some(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("common");
        fs_err::create_dir_all(folder.join("sub")).unwrap();
        fs_err::write(folder.join("sub/file"), "x").unwrap();
        fs_err::write(dir.path().join("secret"), "x").unwrap();
        fs_err::os::unix::fs::symlink(dir.path().join("secret"), folder.join("link")).unwrap();
        assert!(confined(&folder, "sub/file").is_some());
        for bad in [
            "../secret",
            "sub/../../secret",
            "/etc/passwd",
            "link",
            "nothing",
            "./sub/../../secret",
        ] {
            assert_eq!(confined(&folder, bad), None, "{bad}");
        }
    }
}
