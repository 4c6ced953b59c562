//! Discovery of a node that nobody can switch.

use overboot_state::Status;
use serde_json::json;

use super::world::Machine;
use super::{Fixture, fixture, is_running, state_of};
use crate::GraphRequest;

pub(super) fn tools(command: &str) -> Result<String, i32> {
    Ok(match command {
        "sudo dmidecode" => "Handle 0x0100, DMI type 1, 27 bytes\nSystem Information\n\tManufacturer: QEMU\n",
        "sudo lshw -json" => "{\"id\": \"m\", \"children\": [{\"class\": \"network\", \"serial\": \"52:54:00:00:00:09\"}]}",
        "sudo lspci -nn -vmm" => "Slot:\t00:00.0\nClass:\tHost bridge [0600]\n",
        // No lldpd: the catalog is left out and nothing fails.
        "sudo /usr/sbin/lldpcli show neighbor -f keyvalue" => return Err(1),
        _ => "",
    }
    .to_owned())
}

/// Works until the node's run is over.
pub(super) async fn work(fixture: &Fixture, machine: &mut Machine) {
    while fixture.engine.state().active_workflow(&machine.node).await.unwrap().is_some() {
        let given = machine.poll(&fixture.engine, 20).await.unwrap();
        if !given.tasks.is_empty() {
            machine.work(&fixture.engine, given).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_node_without_obm_is_discovered_and_stays_up() {
    let fixture = fixture().await;
    let node = fixture.node.id.clone();
    let options = json!({"defaults": {"graphOptions": {"target": node}, "nodeId": node}});
    let request = GraphRequest::new("Graph.SKU.Discovery", None)
        .with_options(options.as_object().unwrap().clone());
    let outer = fixture.engine.run_graph(request).await.unwrap();
    assert_eq!(outer.node, None);
    let mut machine = Machine::new(&node, tools);
    while !machine.firmware(&fixture.engine).await.unwrap() {
        tokio::task::yield_now().await;
    }
    machine.kernel(&fixture.engine).await.unwrap();
    work(&fixture, &mut machine).await;

    let outer = fixture.ended(&outer.instance_id).await;
    assert_eq!(outer.status, Status::Succeeded, "{:#}", outer.view());
    let state = fixture.engine.state();
    let inner = state.workflows(Some(&node), None).await.unwrap().remove(0);
    assert_eq!(inner.status, Status::Succeeded, "{:#}", inner.view());
    assert_eq!(inner.parent_graph_id, Some(outer.instance_id));
    assert_eq!(state_of(&inner, "catalog-lldp"), Status::Failed);
    assert!(!is_running(&inner, "shell-reboot") && state_of(&inner, "noop") == Status::Succeeded);
    let mut sources: Vec<String> =
        state.catalogs(Some(&node)).await.unwrap().into_iter().map(|c| c.source).collect();
    sources.sort();
    assert_eq!(sources, ["dmi", "lshw", "lspci"]);
    // The second interface was found by lshw.
    assert_eq!(state.lookups(node.as_str()).await.unwrap().len(), 2);
    let found = state.find_by_identifier("52:54:00:00:00:09").await.unwrap();
    assert_eq!(found.map(|found| found.id), Some(node.clone()));
    assert!(state.session(&node).await.unwrap().login.is_none());
}

#[tokio::test]
async fn a_node_is_rebooted_after_discovery_if_that_is_asked_for() {
    let fixture = fixture().await;
    let options = json!({"skip-reboot-post-discovery": {"skipReboot": "false"}});
    let run = fixture.run("Graph.Discovery", options).await;
    let mut machine = Machine::new(&fixture.node.id, tools);
    machine.firmware(&fixture.engine).await.unwrap();
    machine.kernel(&fixture.engine).await.unwrap();
    let mut exit = None;
    while fixture.workflow(&run.instance_id).await.status.is_active() {
        let given = machine.poll(&fixture.engine, 20).await.unwrap();
        if !given.tasks.is_empty() {
            exit = given.exit.or(exit);
            machine.work(&fixture.engine, given).await.unwrap();
        }
    }
    assert_eq!(exit, Some(1));
    assert_eq!(fixture.workflow(&run.instance_id).await.status, Status::Succeeded);
}

#[tokio::test]
async fn a_graph_that_cannot_take_the_node_fails_the_one_that_runs_it() {
    let fixture = fixture().await;
    let node = fixture.node.id.clone();
    fixture.run("Graph.noop-example", json!({"noop-1": {"delay": 60_000}})).await;
    let options = json!({"defaults": {"graphOptions": {"target": node}}});
    let request = GraphRequest::new("Graph.SKU.Discovery", None)
        .with_options(options.as_object().unwrap().clone());
    let outer = fixture.engine.run_graph(request).await.unwrap();
    let outer = fixture.ended(&outer.instance_id).await;
    assert_eq!(outer.status, Status::Failed);
    let error = outer.tasks[0].error.as_deref().unwrap();
    assert!(error.contains("Unable to run multiple task graphs"), "{error}");
}

#[tokio::test]
async fn cancelling_the_outer_graph_cancels_the_inner_one() {
    let fixture = fixture().await;
    let node = fixture.node.id.clone();
    let options = json!({"defaults": {"graphOptions": {"target": node}}});
    let request = GraphRequest::new("Graph.SKU.Discovery", None)
        .with_options(options.as_object().unwrap().clone());
    let outer = fixture.engine.run_graph(request).await.unwrap();
    let state = fixture.engine.state();
    while state.active_workflow(&node).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    fixture.engine.cancel(&outer.instance_id).await.unwrap();
    assert!(state.active_workflow(&node).await.unwrap().is_none());
    let inner = state.workflows(Some(&node), None).await.unwrap().remove(0);
    assert_eq!(inner.status, Status::Cancelled);
}
