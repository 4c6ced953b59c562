//! `/workflows`, their libraries, and `/nodes/{id}/workflows`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::{get, put};
use overboot_state::{NodeId, Workflow, WorkflowId};
use overboot_workflow::GraphRequest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::nodes::link_header;
use crate::app::App;
use crate::http::body::Body;
use crate::http::criteria::Criteria;
use crate::http::error::{ApiError, ApiResult};
use crate::http::rewrite::API;

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/workflows", get(list).post(start))
        .route("/workflows/{id}", get(read).delete(remove))
        .route("/workflows/{id}/action", put(act))
        .route("/workflows/graphs", get(graphs).put(put_graph))
        .route("/workflows/graphs/{name}", get(graph).delete(remove_graph))
        .route("/workflows/tasks", get(tasks).put(put_task))
        .route("/workflows/tasks/{name}", get(task).delete(remove_task))
        .route("/nodes/{id}/workflows", get(of_node).post(start_on_node))
        .route("/nodes/{id}/workflows/action", put(act_on_node))
}

type Pairs = Query<Vec<(String, String)>>;

#[derive(Deserialize)]
struct Name {
    name: Option<String>,
}

/// The body of a `POST`; none at all is fine.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NewWorkflow {
    name: Option<String>,
    options: Option<Map<String, Value>>,
    context: Option<Map<String, Value>>,
    domain: Option<String>,
}

impl NewWorkflow {
    /// What the engine is asked for; a name in the query wins.
    fn request(self, query: Name, target: Option<NodeId>) -> ApiResult<GraphRequest> {
        let name = query.name.or(self.name).filter(|name| !name.is_empty()).ok_or_else(|| {
            ApiError::bad_request("name the graph, in the query (?name=Graph.X) or in the body")
        })?;
        Ok(GraphRequest {
            name,
            options: self.options.unwrap_or_default(),
            context: self.context.unwrap_or_default(),
            target,
            domain: self.domain,
        })
    }
}

async fn start(
    State(app): State<Arc<App>>,
    Query(name): Query<Name>,
    Body(new): Body<NewWorkflow>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let workflow = app.engine.run_graph(new.request(name, None)?).await?;
    Ok((StatusCode::CREATED, Json(workflow.raw())))
}

async fn start_on_node(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(name): Query<Name>,
    Body(new): Body<NewWorkflow>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let node = app.node(&id).await?;
    let workflow = app.engine.run_graph(new.request(name, Some(node.id))?).await?;
    Ok((StatusCode::CREATED, Json(workflow.raw())))
}

async fn list(
    State(app): State<Arc<App>>,
    Query(query): Pairs,
) -> ApiResult<(HeaderMap, Json<Vec<Value>>)> {
    // Only what is declared counts here; other parameters are no criteria.
    let declared: Vec<_> =
        query.iter().filter(|(name, _)| name == "sort" || name.starts_with('$')).cloned().collect();
    let criteria = Criteria::read(&declared, &[])?;
    let workflows = app.state.workflows(None, active(&query)?).await?;
    let mut views: Vec<Value> = workflows.iter().map(Workflow::view).collect();
    criteria.sort(&mut views);
    let (views, link) = criteria.page(&format!("{API}/workflows"), views);
    Ok((link_header(link), Json(views)))
}

async fn of_node(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Pairs,
) -> ApiResult<Json<Vec<Value>>> {
    let node = app.node(&id).await?;
    let criteria = Criteria::read(&query, &["active"])?;
    let workflows = app.state.workflows(Some(&node.id), active(&query)?).await?;
    let raw = workflows.iter().map(Workflow::raw).collect();
    let mut raw = criteria.filter(raw, Value::clone);
    criteria.sort(&mut raw);
    Ok(Json(raw))
}

fn active(query: &[(String, String)]) -> ApiResult<Option<bool>> {
    match query.iter().find(|(name, _)| name == "active").map(|(_, value)| value.as_str()) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => {
            Err(ApiError::bad_request(format!("active must be true or false, not \"{other}\"")))
        }
    }
}

async fn read(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    Ok(Json(find(&app, &id).await?.view()))
}

async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let workflow = find(&app, &id).await?;
    app.engine.delete(&workflow.instance_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Action {
    command: String,
}

impl Action {
    fn check(&self) -> ApiResult<()> {
        match self.command.as_str() {
            "cancel" => Ok(()),
            other => Err(ApiError::bad_request(format!(
                "{other} is not a valid workflow action; the only one is cancel"
            ))),
        }
    }
}

async fn act(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Body(action): Body<Action>,
) -> ApiResult<(StatusCode, HeaderMap, Json<Value>)> {
    action.check()?;
    let workflow = find(&app, &id).await?;
    cancel(&app, &workflow.instance_id).await
}

async fn act_on_node(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Body(action): Body<Action>,
) -> ApiResult<(StatusCode, HeaderMap, Json<Value>)> {
    action.check()?;
    let node = app.node(&id).await?;
    let workflow = app.state.active_workflow(&node.id).await?.ok_or_else(|| {
        ApiError::not_found(format!("No active workflow graph found for node {}", node.id))
    })?;
    cancel(&app, &workflow.instance_id).await
}

async fn cancel(app: &App, id: &WorkflowId) -> ApiResult<(StatusCode, HeaderMap, Json<Value>)> {
    let workflow = app.engine.cancel(id).await?;
    let location = format!("{API}/workflows/{}", workflow.instance_id);
    let value = HeaderValue::from_str(&location).ok();
    let headers = value.map(|value| (header::LOCATION, value)).into_iter().collect();
    Ok((StatusCode::ACCEPTED, headers, Json(workflow.raw())))
}

async fn find(app: &App, id: &str) -> ApiResult<Workflow> {
    let missing = || ApiError::not_found(format!("Workflow not found {id}"));
    let id: WorkflowId = id.parse().map_err(|_| missing())?;
    app.state.workflow(&id).await?.ok_or_else(missing)
}

async fn graphs(State(app): State<Arc<App>>) -> ApiResult<Json<Vec<Value>>> {
    let library = app.engine.library().await?;
    Ok(Json(library.graphs.values().map(|graph| graph.view()).collect()))
}

/// An array of one or none: an unknown name is no error here, and RackHD's tests rely on it.
async fn graph(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> ApiResult<Json<Vec<Value>>> {
    let library = app.engine.library().await?;
    Ok(Json(library.graphs.get(&name).map(|graph| graph.view()).into_iter().collect()))
}

async fn put_graph(
    State(app): State<Arc<App>>,
    Body(body): Body<Value>,
) -> ApiResult<(StatusCode, Json<String>)> {
    let graph = app.engine.put_graph(&body).await?;
    Ok((StatusCode::CREATED, Json(graph.injectable_name)))
}

async fn remove_graph(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    app.engine.delete_graph(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tasks(State(app): State<Arc<App>>) -> ApiResult<Json<Vec<Value>>> {
    let library = app.engine.library().await?;
    Ok(Json(library.tasks.values().map(|task| task.view()).collect()))
}

async fn task(State(app): State<Arc<App>>, Path(name): Path<String>) -> ApiResult<Json<Value>> {
    let library = app.engine.library().await?;
    let missing = || ApiError::not_found(format!("Task definition not found for {name}"));
    library.tasks.get(&name).map(|task| Json(task.view())).ok_or_else(missing)
}

async fn put_task(
    State(app): State<Arc<App>>,
    Body(body): Body<Value>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let task = app.engine.put_task(&body).await?;
    Ok((StatusCode::CREATED, Json(json!(task))))
}

async fn remove_task(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    app.engine.delete_task(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
