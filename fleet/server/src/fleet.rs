//! The fleet at a glance: what the web page shows, and what one looks at first when a machine does not come up.

use std::net::IpAddr;

use overboot_state::{NodeId, Timeline, Timestamp, Workflow};
use overboot_wire::Stage;
use serde::Serialize;

use crate::app::App;
use crate::http::error::ApiResult;
use crate::outputs::Output;

/// One node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeSummary {
    id: NodeId,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    addresses: Vec<Address>,
    /// Whether it has catalogs.
    discovered: bool,
    /// When its agent last asked for work.
    #[serde(skip_serializing_if = "Option::is_none")]
    polled_at: Option<Timestamp>,
    /// Who may log in, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<LoginSummary>,
    /// The active workflow, else the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<WorkflowSummary>,
    /// What the command that runs on it has written lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output>,
    /// The last boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<Timeline>,
    /// Why the node does not come up: what ended its last boots, of which none has come to an agent since.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_failure: Option<BootFailure>,
}

/// What went wrong in a boot.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BootFailure {
    stage: Stage,
    reason: String,
    since: Timestamp,
}

/// How many boots are looked at: one that failed is followed by one that is on its way into the same failure.
const LOOKED_AT: u32 = 3;

/// What ended the last of these boots (the newest first) that an error has ended, unless a later one came to its end.
fn failure(boots: &[Timeline]) -> Option<BootFailure> {
    let since_it_was_up = boots.iter().take_while(|timeline| timeline.boot.stage < Stage::Agent);
    since_it_was_up.filter_map(|timeline| timeline.events.last()).find_map(|last| {
        let reason = last.error.clone()?;
        Some(BootFailure { stage: last.stage, reason, since: last.received_at })
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    mac_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoginSummary {
    user: String,
    expires_at: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkflowSummary {
    instance_id: String,
    name: String,
    injectable_name: String,
    status: overboot_state::Status,
    reason: String,
    since: Timestamp,
    /// Tasks that run, with what each waits for; of an ended workflow, those that failed.
    tasks: Vec<TaskSummary>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskSummary {
    label: String,
    name: String,
    state: overboot_state::Status,
    reason: String,
    since: Timestamp,
}

/// All nodes, oldest first.
pub(crate) async fn summary(app: &App) -> ApiResult<Vec<NodeSummary>> {
    let now = Timestamp::now();
    let mut summaries = Vec::new();
    for node in app.state.nodes().await? {
        let lookups = app.state.lookups(node.id.as_str()).await?;
        let session = app.state.session(&node.id).await?;
        let workflow = match app.state.active_workflow(&node.id).await? {
            Some(active) => Some(active),
            None => app.state.latest_workflow(&node.id).await?,
        };
        let boots = app.state.timelines(&app.macs(&node).await?, LOOKED_AT).await?;
        let output = app.outputs.get(&node.id);
        let login = session.login.filter(|login| login.expires_at > now);
        summaries.push(NodeSummary {
            discovered: app.state.is_discovered(&node.id).await?,
            id: node.id,
            name: node.name,
            kind: node.kind,
            addresses: lookups
                .into_iter()
                .map(|lookup| Address {
                    mac_address: lookup.mac_address.to_string(),
                    ip_address: lookup.ip_address,
                })
                .collect(),
            polled_at: session.polled_at,
            login: login
                .map(|login| LoginSummary { user: login.user, expires_at: login.expires_at }),
            workflow: workflow.map(|workflow| summarized(&workflow)),
            output,
            boot_failure: failure(&boots),
            boot: boots.into_iter().next(),
        });
    }
    Ok(summaries)
}

fn summarized(workflow: &Workflow) -> WorkflowSummary {
    let active = workflow.status.is_active();
    let shown = |task: &&overboot_state::Task| {
        if active {
            task.is_running()
        } else {
            matches!(task.state, overboot_state::Status::Failed | overboot_state::Status::Timeout)
        }
    };
    WorkflowSummary {
        instance_id: workflow.instance_id.to_string(),
        name: workflow.name.clone(),
        injectable_name: workflow.injectable_name.clone(),
        status: workflow.status,
        reason: workflow.reason.clone(),
        since: workflow.since,
        tasks: workflow
            .tasks
            .iter()
            .filter(shown)
            .map(|task| TaskSummary {
                label: task.label.clone(),
                name: task.friendly_name.clone(),
                state: task.state,
                reason: task.error.clone().unwrap_or_else(|| task.reason.clone()),
                since: task.since,
            })
            .collect(),
    }
}
