//! `/lookups`: which MAC and IP address belong to which node.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use overboot_dhcp::Mac;
use overboot_state::{Lookup, LookupId, Timestamp};
use serde::Deserialize;

use crate::app::App;
use crate::http::body::Body;
use crate::http::error::{ApiError, ApiResult};

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/lookups", get(list).post(create))
        .route("/lookups/{id}", get(read).patch(change).delete(remove))
}

#[derive(Deserialize)]
struct Term {
    #[serde(default)]
    q: String,
}

async fn list(
    State(app): State<Arc<App>>,
    Query(term): Query<Term>,
) -> ApiResult<Json<Vec<Lookup>>> {
    Ok(Json(app.state.lookups(&term.q).await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewLookup {
    mac_address: String,
    ip_address: Option<Ipv4Addr>,
    node: Option<String>,
}

async fn create(
    State(app): State<Arc<App>>,
    Body(new): Body<NewLookup>,
) -> ApiResult<(StatusCode, Json<Lookup>)> {
    let mut lookup = Lookup::new(mac(&new.mac_address)?);
    lookup.ip_address = new.ip_address.map(Into::into);
    lookup.node = new.node;
    app.state.put_lookup(&lookup).await?;
    Ok((StatusCode::CREATED, Json(lookup)))
}

async fn read(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Lookup>> {
    find(&app, &id).await.map(Json)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    mac_address: Option<String>,
    ip_address: Option<Ipv4Addr>,
    node: Option<String>,
}

async fn change(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Body(change): Body<Change>,
) -> ApiResult<Json<Lookup>> {
    let mut lookup = find(&app, &id).await?;
    if let Some(text) = change.mac_address {
        lookup.mac_address = mac(&text)?;
    }
    if let Some(address) = change.ip_address {
        lookup.ip_address = Some(address.into());
    }
    if let Some(node) = change.node {
        lookup.node = Some(node);
    }
    lookup.updated_at = Timestamp::now();
    app.state.put_lookup(&lookup).await?;
    Ok(Json(lookup))
}

async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let lookup = find(&app, &id).await?;
    app.state.delete_lookup(&lookup.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, id: &str) -> ApiResult<Lookup> {
    let missing = || ApiError::not_found(format!("Lookup not found {id}"));
    let id: LookupId = id.parse().map_err(|_| missing())?;
    app.state.lookup(&id).await?.ok_or_else(missing)
}

fn mac(text: &str) -> ApiResult<Mac> {
    let written_out = text.len() == 17;
    text.parse().ok().filter(|_| written_out).ok_or_else(|| {
        ApiError::bad_request(format!("\"{text}\" is not a MAC address such as 52:54:00:12:34:56"))
    })
}
