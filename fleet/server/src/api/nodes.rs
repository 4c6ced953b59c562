//! `/nodes`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::{delete, get};
use overboot_state::{Node, NodeId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::obms;
use crate::app::App;
use crate::http::body::Body;
use crate::http::criteria::Criteria;
use crate::http::error::{ApiError, ApiResult};
use crate::http::rewrite::API;

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/nodes", get(list).post(create))
        .route("/nodes/{id}", get(read).patch(change).delete(remove))
        .route("/nodes/{id}/relations", get(relations))
        .route("/nodes/{id}/pollers", get(pollers))
        .route("/nodes/{id}/tags", get(tags).patch(add_tags))
        .route("/nodes/{id}/tags/{tag}", delete(remove_tag))
}

/// The types a `POST` may give (RackHD's `node.2.0.json`).
const TYPES: [&str; 8] =
    ["compute-container", "compute", "switch", "dae", "pdu", "mgmt", "enclosure", "rack"];

async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<Vec<(String, String)>>,
) -> ApiResult<(HeaderMap, Json<Vec<Value>>)> {
    let criteria = Criteria::read(&query, &[])?;
    let nodes = criteria.filter(app.state.nodes().await?, |node| json!(node));
    let obms = app.state.obms(None).await?;
    let mut views: Vec<Value> = nodes
        .iter()
        .map(|node| {
            let own: Vec<_> = obms.iter().filter(|obm| obm.node == node.id).cloned().collect();
            node.view(&own)
        })
        .collect();
    criteria.sort(&mut views);
    let (views, link) = criteria.page(&format!("{API}/nodes"), views);
    Ok((link_header(link), Json(views)))
}

pub(crate) fn link_header(link: Option<String>) -> HeaderMap {
    let value = link.and_then(|link| HeaderValue::from_str(&link).ok());
    value.map(|value| (header::LINK, value)).into_iter().collect()
}

/// An OBM within a node's body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeObm {
    service: String,
    #[serde(default)]
    config: Value,
}

/// The body of a `POST`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewNode {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    identifiers: Vec<String>,
    #[serde(default)]
    auto_discover: bool,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    relations: Vec<overboot_state::Relation>,
    #[serde(default)]
    sku: Option<String>,
    #[serde(default)]
    boot_settings: Option<overboot_state::BootSettings>,
    #[serde(default, alias = "obmSettings")]
    obms: Vec<NodeObm>,
    /// In-band services are not managed here; the key is accepted so that RackHD's documents read.
    #[serde(default, rename = "ibms")]
    _ibms: Vec<Value>,
}

async fn create(
    State(app): State<Arc<App>>,
    Body(new): Body<NewNode>,
) -> ApiResult<(StatusCode, Json<Node>)> {
    if !TYPES.contains(&new.kind.as_str()) {
        let known = TYPES.join(", ");
        return Err(ApiError::bad_request(format!("type \"{}\" is none of {known}", new.kind)));
    }
    for obm in &new.obms {
        obms::check(&obm.service, &obm.config)?;
    }
    let mut node = Node::named(&new.name, &new.kind);
    node.identifiers = new.identifiers.into_iter().map(normal_identifier).collect();
    node.auto_discover = new.auto_discover;
    node.tags = new.tags;
    node.relations = new.relations;
    node.sku = new.sku;
    node.boot_settings = new.boot_settings;
    for identifier in &node.identifiers {
        if let Some(other) = app.state.find_by_identifier(identifier).await? {
            return Err(ApiError::bad_request(format!(
                "identifier {identifier} belongs to node {}",
                other.id
            )));
        }
    }
    app.state.put_node(&node).await?;
    put_obms(&app, &node.id, new.obms).await?;
    Ok((StatusCode::CREATED, Json(node)))
}

/// MAC addresses are compared in one form; other identifiers are kept as they are.
fn normal_identifier(identifier: String) -> String {
    overboot_wire::mac(&identifier).unwrap_or(identifier)
}

async fn put_obms(app: &App, node: &NodeId, obms: Vec<NodeObm>) -> ApiResult<()> {
    for obm in obms {
        app.state.put_obm(node, &obm.service, &obm.config).await?;
    }
    Ok(())
}

async fn read(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    let node = app
        .state
        .find_by_identifier(&id)
        .await?
        .ok_or_else(|| ApiError::not_found(format!("Node not Found {id}")))?;
    Ok(Json(node.view(&app.state.obms(Some(&node.id)).await?)))
}

async fn change(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Body(mut change): Body<Map<String, Value>>,
) -> ApiResult<Json<Node>> {
    let node = app.node(&id).await?;
    let mut own_obms: Vec<NodeObm> = Vec::new();
    for key in ["obms", "obmSettings"] {
        if let Some(list) = change.remove(key).filter(|list| !list.is_null()) {
            let list: Vec<NodeObm> = serde_json::from_value(list)
                .map_err(|error| ApiError::bad_request(format!("{key} does not read: {error}")))?;
            own_obms.extend(list);
        }
    }
    for obm in &own_obms {
        obms::check(&obm.service, &obm.config)?;
    }
    for key in ["id", "createdAt", "updatedAt", "ibms"] {
        change.remove(key);
    }
    merged(&node, &change)
        .map_err(|error| ApiError::bad_request(format!("the change does not read: {error}")))?;
    let node = app
        .state
        .update_node(&node.id, move |node| {
            // Checked above; nothing in the change depends on what the node was.
            if let Ok(changed) = merged(node, &change) {
                *node = changed;
            }
        })
        .await?
        .ok_or_else(|| App::no_node(&id))?;
    put_obms(&app, &node.id, own_obms).await?;
    Ok(Json(node))
}

fn merged(node: &Node, change: &Map<String, Value>) -> Result<Node, serde_json::Error> {
    let mut document = serde_json::to_value(node)?;
    if let Some(map) = document.as_object_mut() {
        map.extend(change.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    let mut node: Node = serde_json::from_value(document)?;
    node.identifiers = node.identifiers.into_iter().map(normal_identifier).collect();
    Ok(node)
}

async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let node = app.node(&id).await?;
    app.engine.delete_node(&node.id).await?;
    app.outputs.remove(&node.id);
    for other in app.state.nodes().await? {
        let refers = |relation: &overboot_state::Relation| {
            relation.targets.iter().any(|target| target == node.id.as_str())
        };
        if other.relations.iter().any(refers) {
            let gone = node.id.to_string();
            app.state
                .update_node(&other.id, move |other| {
                    for relation in &mut other.relations {
                        relation.targets.retain(|target| *target != gone);
                    }
                    other.relations.retain(|relation| !relation.targets.is_empty());
                })
                .await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn relations(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    Ok(Json(json!(app.node(&id).await?.relations)))
}

/// There are none; RackHD's clients ask.
async fn pollers(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    app.node(&id).await?;
    Ok(Json(json!([])))
}

async fn tags(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Vec<String>>> {
    Ok(Json(app.node(&id).await?.tags))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tags {
    tags: Vec<String>,
}

async fn add_tags(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Body(Tags { tags }): Body<Tags>,
) -> ApiResult<Json<Vec<String>>> {
    let node = app.node(&id).await?;
    let added = tags.clone();
    app.state
        .update_node(&node.id, move |node| {
            for tag in added {
                if !node.tags.contains(&tag) {
                    node.tags.push(tag);
                }
            }
        })
        .await?;
    Ok(Json(tags))
}

async fn remove_tag(
    State(app): State<Arc<App>>,
    Path((id, tag)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let node = app.node(&id).await?;
    app.state.update_node(&node.id, move |node| node.tags.retain(|own| *own != tag)).await?;
    Ok(StatusCode::NO_CONTENT)
}
