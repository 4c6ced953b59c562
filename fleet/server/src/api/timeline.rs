//! `/api/overboot/v1`: what RackHD does not have. Boots and commands as they happen.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use overboot_dhcp::Mac;
use overboot_state::{BootEvent, Timeline};
use overboot_wire::{OutputReport, Stage, StageReport, path};
use serde::Deserialize;

use crate::app::App;
use crate::fleet::{self, NodeSummary};
use crate::http::address;
use crate::http::body::Body;
use crate::http::error::{ApiError, ApiResult};

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route(path::BOOT_REPORT, post(report))
        .route(path::OUTPUT, post(output))
        .route("/api/overboot/v1/fleet", get(summary))
        .route("/api/overboot/v1/nodes/{id}/timeline", get(timeline))
}

/// Boots of a node that are shown unless another number is asked for.
const SHOWN_BOOTS: u32 = 10;

/// And at most.
const MOST_BOOTS: u32 = 100;

/// `POST` of a stage by a node: 204.
async fn report(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Body(report): Body<StageReport>,
) -> ApiResult<StatusCode> {
    let mac: Mac = report
        .mac
        .parse()
        .map_err(|_| ApiError::bad_request(format!("\"{}\" is not a MAC address", report.mac)))?;
    let address = own_address(&report, address::client(peer, &headers));
    app.saw(mac, address, BootEvent::reported(report)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST` of what a node's command has written lately: 204.
async fn output(
    State(app): State<Arc<App>>,
    Body(report): Body<OutputReport>,
) -> ApiResult<StatusCode> {
    let node = app.node(&report.identifier).await?;
    app.outputs.set(node.id, &report);
    Ok(StatusCode::NO_CONTENT)
}

/// The node's own address: whence it speaks, unless that is this machine (a user network, a proxy); then the one that
/// the report of its DHCP stage begins with.
fn own_address(report: &StageReport, source: IpAddr) -> Option<IpAddr> {
    if !source.is_loopback() {
        return Some(source);
    }
    let detail = report.detail.as_deref().filter(|_| report.stage == Stage::Dhcp)?;
    detail
        .split(|c: char| c.is_whitespace() || matches!(c, '/' | ',' | ';'))
        .find_map(|word| word.parse::<IpAddr>().ok())
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<u32>,
}

async fn timeline(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(limit): Query<Limit>,
) -> ApiResult<Json<Vec<Timeline>>> {
    // A machine that is not a node yet has boots too.
    let macs = match (app.state.find_by_identifier(&id).await?, id.parse::<Mac>()) {
        (Some(node), _) => app.macs(&node).await?,
        (None, Ok(mac)) => vec![mac],
        (None, Err(_)) => return Err(App::no_node(&id)),
    };
    let limit = limit.limit.unwrap_or(SHOWN_BOOTS).min(MOST_BOOTS);
    Ok(Json(app.state.timelines(&macs, limit).await?))
}

async fn summary(State(app): State<Arc<App>>) -> ApiResult<Json<Vec<NodeSummary>>> {
    fleet::summary(&app).await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(stage: Stage, detail: Option<&str>, source: &str) -> Option<String> {
        let report = StageReport {
            mac: "52:54:00:00:00:01".to_owned(),
            stage,
            at_ms: 1,
            boot_id: None,
            detail: detail.map(str::to_owned),
            bytes: None,
            error: None,
        };
        own_address(&report, source.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn the_source_counts_unless_it_is_this_machine() {
        let lease = Some("eth0 10.0.2.15/24, lease 86400 s");
        assert_eq!(seen(Stage::Init, None, "192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(seen(Stage::Dhcp, lease, "192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(seen(Stage::Dhcp, lease, "127.0.0.1").as_deref(), Some("10.0.2.15"));
        assert_eq!(seen(Stage::Link, lease, "127.0.0.1"), None);
        assert_eq!(seen(Stage::Dhcp, Some("eth0"), "127.0.0.1"), None);
    }
}
