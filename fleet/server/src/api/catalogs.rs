//! `/catalogs` and `/nodes/{id}/catalogs`: what nodes were found to consist of.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use overboot_state::{Catalog, CatalogId};
use serde_json::{Value, json};

use crate::app::App;
use crate::http::criteria::Criteria;
use crate::http::error::{ApiError, ApiResult};

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/catalogs", get(list))
        .route("/catalogs/{id}", get(read))
        .route("/nodes/{id}/catalogs", get(of_node))
        .route("/nodes/{id}/catalogs/{source}", get(newest))
}

type Pairs = Query<Vec<(String, String)>>;

async fn list(State(app): State<Arc<App>>, Query(query): Pairs) -> ApiResult<Json<Vec<Value>>> {
    views(app.state.catalogs(None).await?, &query)
}

async fn of_node(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Pairs,
) -> ApiResult<Json<Vec<Value>>> {
    let node = app.node(&id).await?;
    views(app.state.catalogs(Some(&node.id)).await?, &query)
}

fn views(catalogs: Vec<Catalog>, query: &[(String, String)]) -> ApiResult<Json<Vec<Value>>> {
    let criteria = Criteria::read(query, &[])?;
    let catalogs = criteria.filter(catalogs, |catalog| json!(catalog));
    let mut views: Vec<Value> = catalogs.iter().map(Catalog::view).collect();
    criteria.sort(&mut views);
    Ok(Json(views))
}

async fn read(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    let missing = || ApiError::not_found(format!("Catalog not found {id}"));
    let catalog: CatalogId = id.parse().map_err(|_| missing())?;
    app.state.catalog(&catalog).await?.map(|found| Json(found.view())).ok_or_else(missing)
}

async fn newest(
    State(app): State<Arc<App>>,
    Path((id, source)): Path<(String, String)>,
) -> ApiResult<Json<Catalog>> {
    let node = app.node(&id).await?;
    app.state
        .newest_catalog(&node.id, &source)
        .await?
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("No Catalogs Found for Source {source}")))
}
