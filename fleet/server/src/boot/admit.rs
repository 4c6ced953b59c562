//! A machine that boots: known or made known, looked up, and decided about.

use std::net::IpAddr;
use std::time::Duration;

use overboot_bootset::Card;
use overboot_dhcp::Mac;
use overboot_netboot::{BootDecision, BootPlan, Client, Exit, Machine, View, Work, decide};
use overboot_state::Node;
use overboot_workflow::GraphRequest;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::api::profiles::Interface;
use crate::app::App;
use crate::boot::plan::{self, Place};
use crate::http::error::ApiResult;

/// How long a script waits for a workflow that has just been started; iPXE asks again after that.
const SETTLE: Duration = Duration::from_secs(3);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// Whether an operator wants this machine left alone.
pub(crate) fn is_excluded(app: &App, mac: Mac) -> bool {
    app.excluded.contains(&mac)
}

/// Makes a node of a machine that is none, notes its addresses, and sees to it that it is discovered.
pub(crate) async fn admit(app: &App, interfaces: &[Interface], source: IpAddr) -> ApiResult<()> {
    let macs: Vec<Mac> = interfaces.iter().map(|interface| interface.mac).collect();
    let (node, created) = app.state.find_or_create_node(&macs).await?;
    if created {
        tracing::info!(node = %node.id, name = node.name, "a new node");
    }
    for (mac, ip) in bound(interfaces, source) {
        app.state.learn(mac, Some(ip), Some(&node.id), None).await?;
    }
    let idle = app.state.active_workflow(&node.id).await?.is_none();
    if idle && !app.state.is_discovered(&node.id).await? {
        discover(app, &node).await?;
    }
    Ok(())
}

/// Which addresses are believed: the one whence the machine speaks to us, whatever else it says. When it says nothing of
/// that one, it is behind a translation of addresses (a virtual machine's user network), and all are.
fn bound(interfaces: &[Interface], source: IpAddr) -> Vec<(Mac, IpAddr)> {
    let all = interfaces.iter().filter_map(|interface| Some((interface.mac, interface.ip?)));
    let direct = interfaces.iter().any(|interface| interface.ip == Some(source));
    all.filter(|(_, ip)| !direct || *ip == source).collect()
}

/// Starts the discovery graph for a node.
async fn discover(app: &App, node: &Node) -> ApiResult<()> {
    let Some(name) = &app.discovery else { return Ok(()) };
    // One at a time: two requests of one machine must not start two.
    let _turn = app.discovering.lock().await;
    let library = app.engine.library().await?;
    // RackHD's outer graphs take no node themselves: they hand it to the graph that they run.
    let outer = library
        .graphs
        .get(name)
        .and_then(|graph| graph.options.get("defaults"))
        .is_some_and(|defaults| defaults.get("graphOptions").is_some());
    if outer && running_for(app, node).await? {
        return Ok(());
    }
    let request = GraphRequest {
        name: name.clone(),
        options: if outer { outer_options(node) } else { Map::new() },
        target: (!outer).then(|| node.id.clone()),
        ..GraphRequest::default()
    };
    match app.engine.run_graph(request).await {
        Ok(workflow) => {
            tracing::info!(node = %node.id, workflow = %workflow.instance_id, "discovery started");
            Ok(())
        }
        // Another request of the same machine was faster.
        Err(overboot_workflow::Error::TargetTaken { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn outer_options(node: &Node) -> Map<String, Value> {
    let defaults = json!({ "graphOptions": { "target": node.id }, "nodeId": node.id });
    Map::from_iter([("defaults".to_owned(), defaults)])
}

/// Whether an outer graph for this node has been started and not ended.
async fn running_for(app: &App, node: &Node) -> ApiResult<bool> {
    let active = app.state.workflows(None, Some(true)).await?;
    Ok(active.iter().any(|workflow| {
        workflow.definition.pointer("/options/defaults/nodeId").and_then(Value::as_str)
            == Some(node.id.as_str())
    }))
}

/// What a client gets, once what has just been started has had the time to say what it wants.
pub(crate) async fn settled_decision(
    app: &App,
    client: &Client,
    interfaces: &[Interface],
) -> ApiResult<BootDecision> {
    let cards: Vec<_> = interfaces.iter().map(|interface| interface.card).collect();
    let deadline = Instant::now() + SETTLE;
    loop {
        let booting = Booting { mac: client.mac, cards: &cards };
        let decision = decide(&app.site, client, &view(app, booting).await?);
        let settled = !matches!(decision, BootDecision::Wait { .. });
        if settled || app.stop.is_cancelled() || Instant::now() >= deadline {
            return Ok(decision);
        }
        sleep(LOOK).await;
    }
}

/// What is known about a machine that was never seen.
pub(crate) fn unknown() -> View {
    View { machine: Machine::New, work: Work::None, exit: Exit::default(), loader: None }
}

/// A machine that boots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booting<'a> {
    /// The interface that asks.
    pub(crate) mac: Mac,
    /// Its network cards; `None` where it is not known what one is.
    pub(crate) cards: &'a [Option<Card>],
}

/// What the fleet knows about a machine at this moment.
pub(crate) async fn view(app: &App, booting: Booting<'_>) -> ApiResult<View> {
    let mac = booting.mac;
    let mut view = unknown();
    if is_excluded(app, mac) {
        let reason = "the configuration excludes it".to_owned();
        view.machine = Machine::Excluded { reason };
        return Ok(view);
    }
    let Some(node) = app.state.find_by_identifier(&mac.to_string()).await? else {
        return Ok(view);
    };
    view.machine = match app.state.is_discovered(&node.id).await? {
        true => Machine::Discovered,
        false => Machine::Undiscovered,
    };
    view.work = work(app, &node, booting).await?;
    Ok(view)
}

async fn work(app: &App, node: &Node, booting: Booting<'_>) -> ApiResult<Work> {
    if let Some(request) = app.engine.boot_request(&node.id).await? {
        return boot(app, &request.options, booting, request.workflow).await;
    }
    if let Some(active) = app.state.active_workflow(&node.id).await? {
        return Ok(Work::Busy { workflow: active.injectable_name });
    }
    match &node.boot_settings {
        Some(settings) => {
            boot(app, &settings.options, booting, "the node's boot settings".into()).await
        }
        None => Ok(Work::None),
    }
}

async fn boot(
    app: &App,
    options: &Map<String, Value>,
    Booting { mac, cards }: Booting<'_>,
    by: String,
) -> ApiResult<Work> {
    let api = app.address.api();
    let syslog = app.address.syslog.map(|address| address.to_string());
    let place = Place {
        http: &app.address.http,
        api: &api,
        syslog: syslog.as_deref(),
        mirrors: &app.mirrors,
        mac,
        cards,
    };
    let sets = app.images.sets().await?;
    let exists = |name: &str| sets.iter().any(|set| set == name);
    let wanted = plan::wanted_set(options, &app.boot_set, exists);
    let set = match &wanted {
        Some(name) => app.images.set(name).await?,
        None => None,
    };
    let planned = match &set {
        Some((set, manifest)) => plan::of_set(set, manifest, options, &place),
        None => plan::of_files(options, &place, wanted.as_deref().unwrap_or_default()),
    };
    // What a machine cannot boot it shows, and asks again; somebody may publish the set.
    Ok(match planned {
        Err(error) => Work::Unbootable { by, why: error.to_string() },
        Ok(plan) => match missing_file(app, &plan) {
            None => Work::Boot { plan, by },
            Some(file) => {
                let set = wanted.map(|name| format!("no boot set \"{name}\" here, and "));
                let set = set.unwrap_or_default();
                let why = format!("there is {set}no file /common/{file}");
                Work::Unbootable { by, why }
            }
        },
    })
}

/// A file of our own `/common/` that iPXE would ask for, and that is not there.
fn missing_file(app: &App, plan: &BootPlan) -> Option<String> {
    let there = |file: &str| app.common.as_ref().is_some_and(|f| f.join(file).is_file());
    plan::common_files(plan, &app.address.http).find(|file| !there(file)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_request_wins() {
        let interface = |last, ip: Option<&str>| Interface {
            mac: Mac::new([0x52, 0x54, 0, 0, 0, last]),
            ip: ip.map(|ip| ip.parse().unwrap()),
            card: None,
        };
        let two =
            [interface(1, Some("192.0.2.1")), interface(2, Some("192.0.2.2")), interface(3, None)];
        let bound_to = |source: &str| -> Vec<String> {
            let bound = bound(&two, source.parse().unwrap());
            bound.iter().map(|(_, ip)| ip.to_string()).collect()
        };
        assert_eq!(bound_to("192.0.2.2"), ["192.0.2.2"]);
        assert_eq!(bound_to("127.0.0.1"), ["192.0.2.1", "192.0.2.2"]);
    }
}
