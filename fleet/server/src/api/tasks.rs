//! `/tasks`: what nodes ask and answer. RackHD's own node program and overboot's agent are both served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use overboot_dhcp::Mac;
use overboot_state::Node;
use overboot_wire::path::{BootstrapQuery, LONG_POLL_SECONDS, TasksQuery};
use overboot_wire::{Bootstrap, TaskDoc};

use crate::app::App;
use crate::http::address;
use crate::http::body::Body;
use crate::http::error::{ApiError, ApiResult};

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/tasks/bootstrap.js", get(bootstrap))
        .route("/tasks/{id}", get(offer).post(complete))
}

/// RackHD's nodes get an answer within about a second, or a 404.
const RACKHD_WAIT: Duration = Duration::from_secs(1);

/// Who the node is: JSON for our agent, which asks for it; the whole loop as a program for RackHD's.
async fn bootstrap(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<BootstrapQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let mac: Mac =
        overboot_wire::mac(&query.mac_address).and_then(|mac| mac.parse().ok()).ok_or_else(
            || ApiError::bad_request(format!("\"{}\" is not a MAC address", query.mac_address)),
        )?;
    let node = app.node(&mac.to_string()).await?;
    let source = address::client(peer, &headers);
    let address = Some(source).filter(|address| !address.is_loopback());
    app.state.learn(mac, address, Some(&node.id), None).await?;
    let json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if json {
        let answer = Bootstrap { identifier: node.id.to_string(), native: true };
        return Ok(Json(answer).into_response());
    }
    Ok(script(&app, &node).into_response())
}

fn script(app: &App, node: &Node) -> impl IntoResponse {
    let text = include_str!("bootstrap.js")
        .replace("@SERVER@", &app.address.host)
        .replace("@PORT@", &app.address.port.to_string())
        .replace("@IDENTIFIER@", node.id.as_str());
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/javascript"))], text)
}

/// Work for a node. With `wait`, an answer always comes, if need be an empty one; without, RackHD's: 404 when there is
/// nothing to do.
async fn offer(
    State(app): State<Arc<App>>,
    ConnectInfo(_): ConnectInfo<SocketAddr>,
    Path(id): Path<String>,
    Query(query): Query<TasksQuery>,
) -> ApiResult<Json<TaskDoc>> {
    let node = app.node(&id).await?;
    let native = query.wait.is_some();
    let wait = match query.wait {
        Some(seconds) => Duration::from_secs(seconds.min(LONG_POLL_SECONDS * 2)),
        None => RACKHD_WAIT,
    };
    let offer = app.engine.offer(&node.id, wait, query.login, query.boot.as_deref());
    let document = tokio::select! {
        document = offer => document?,
        () = app.stop.cancelled() => return Err(ApiError::unavailable("the server is going down")),
    };
    if !native && document.tasks.is_empty() && document.exit.is_none() {
        return Err(ApiError::not_found(format!("no active task for node {id}")));
    }
    Ok(Json(document))
}

/// What became of it: always 201, as in RackHD; what does not fit any running task is ignored.
async fn complete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Body(document): Body<TaskDoc>,
) -> ApiResult<StatusCode> {
    let node = app.node(&id).await?;
    app.outputs.remove(&node.id);
    app.engine.complete(&node.id, document).await?;
    Ok(StatusCode::CREATED)
}
