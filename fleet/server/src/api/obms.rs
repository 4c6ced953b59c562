//! `/obms` and `/nodes/{id}/obm`: how nodes are switched from outside.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use overboot_power::Powers;
use overboot_state::{NodeId, Obm, ObmId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::http::body::Body;
use crate::http::criteria::Criteria;
use crate::http::error::{ApiError, ApiResult};
use crate::http::rewrite::API;

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/obms", get(list).put(put))
        .route("/obms/definitions", get(definitions))
        .route("/obms/definitions/{name}", get(definition))
        .route("/obms/{id}", get(read).patch(change).delete(remove))
        .route("/nodes/{id}/obm", get(of_node).put(put_for_node))
}

/// The body of a `PUT`: all three, and nothing else.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewObm {
    node_id: String,
    service: String,
    config: Value,
}

async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<Vec<(String, String)>>,
) -> ApiResult<Json<Vec<Value>>> {
    let criteria = Criteria::read(&query, &[])?;
    let obms = criteria.filter(app.state.obms(None).await?, |obm| json!(obm));
    let mut views: Vec<Value> = obms.iter().map(Obm::view).collect();
    criteria.sort(&mut views);
    Ok(Json(views))
}

async fn put(
    State(app): State<Arc<App>>,
    Body(new): Body<NewObm>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let node = app.node(&new.node_id).await?;
    store(&app, &node.id, &new.service, &new.config).await
}

async fn put_for_node(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Body(new): Body<NewObm>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let node = app.node(&id).await?;
    if app.node(&new.node_id).await?.id != node.id {
        return Err(ApiError::bad_request("nodeId is not the node of the path"));
    }
    store(&app, &node.id, &new.service, &new.config).await
}

async fn store(
    app: &App,
    node: &NodeId,
    service: &str,
    config: &Value,
) -> ApiResult<(StatusCode, Json<Value>)> {
    check(service, config)?;
    let obm = app.state.put_obm(node, service, config).await?;
    Ok((StatusCode::CREATED, Json(obm.view())))
}

async fn of_node(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> ApiResult<Json<Vec<Value>>> {
    let node = app.node(&id).await?;
    let obms = app.state.obms(Some(&node.id)).await?;
    Ok(Json(obms.iter().map(Obm::view).collect()))
}

async fn read(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    Ok(Json(find(&app, &id).await?.view()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    node_id: Option<String>,
    service: Option<String>,
    config: Option<Value>,
}

async fn change(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Body(change): Body<Change>,
) -> ApiResult<Json<Value>> {
    let old = find(&app, &id).await?;
    let node = match change.node_id {
        Some(node) => app.node(&node).await?.id,
        None => old.node.clone(),
    };
    let service = change.service.unwrap_or_else(|| old.service.clone());
    let config = change.config.unwrap_or_else(|| old.config.clone());
    check(&service, &config)?;
    if (&node, &service) != (&old.node, &old.service) {
        app.state.delete_obm(&old.id).await?;
    }
    Ok(Json(app.state.put_obm(&node, &service, &config).await?.view()))
}

async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let obm = find(&app, &id).await?;
    app.state.delete_obm(&obm.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn definitions() -> Json<Vec<String>> {
    let names = Powers::services().iter();
    Json(names.map(|name| format!("{API}/obms/definitions/{name}.json")).collect())
}

async fn definition(Path(file): Path<String>) -> ApiResult<Json<Value>> {
    let name = file.strip_suffix(".json").unwrap_or(&file);
    if !Powers::services().contains(&name) {
        return Err(ApiError::not_found(format!("there is no OBM service {name}")));
    }
    Ok(Json(json!({
        "title": name,
        "type": "object",
        "properties": {
            "nodeId": { "type": "string" },
            "service": { "const": name },
            "config": { "type": "object" },
        },
        "required": ["nodeId", "service", "config"],
    })))
}

async fn find(app: &App, id: &str) -> ApiResult<Obm> {
    let missing = || ApiError::not_found(format!("OBM not found {id}"));
    let id: ObmId = id.parse().map_err(|_| missing())?;
    app.state.obm(&id).await?.ok_or_else(missing)
}

/// Whether a power control could be made from this, so that a mistake shows now and not in the middle of a workflow.
pub(crate) fn check(service: &str, config: &Value) -> ApiResult<()> {
    Powers::check(service, config).map_err(|error| {
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        ApiError::bad_request(format!("{error}{hint}"))
    })
}
