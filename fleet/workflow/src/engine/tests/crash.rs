//! The program dies before or after any write, and the next one goes on.

use std::time::Duration;

use overboot_power::Powers;
use overboot_state::{NodeId, Status, Workflow};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::discovery::tools;
use super::world::{MAC, Machine};
use super::{config, open};
use crate::{Engine, Error, GraphRequest};

/// Starts the graph, if that has not been done, and works on it to its end. An error is the death of the program.
async fn live(engine: &Engine, machine: &mut Machine, request: &GraphRequest) -> Result<(), Error> {
    let state = engine.state().clone();
    if state.workflows(None, None).await?.is_empty() {
        engine.run_graph(request.clone()).await?;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let active = state.workflows(None, Some(true)).await?;
        if active.is_empty() {
            return Ok(());
        }
        if engine.inner.crash.is_dead() {
            return Err(Error::Stopped);
        }
        assert!(Instant::now() < deadline, "it hangs: {:#}", json!(views(&active)));
        let awaits_boot = |workflow: &Workflow| {
            workflow.running().any(|task| task.reason.starts_with("waiting for the node to boot"))
        };
        // A machine that got no answer in its firmware asks again.
        if machine.in_firmware || active.iter().any(awaits_boot) {
            machine.firmware(engine).await?;
            machine.kernel(engine).await?;
        }
        let given = machine.poll(engine, 5).await?;
        if !given.tasks.is_empty() {
            machine.work(engine, given).await?;
        }
    }
}

fn views(workflows: &[Workflow]) -> Vec<Value> {
    workflows.iter().map(Workflow::view).collect()
}

/// One life and, after its death, another one. How many writes the first one would have had left, or nothing if it
/// died.
async fn two_lives(name: &str, options: &Map<String, Value>, passages: i64) -> bool {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let state = open(&folder).await;
    let (node, _) = state.find_or_create_node(&[MAC]).await.unwrap();
    state.put_obm(&node.id, "noop-obm-service", &json!({})).await.unwrap();
    let request = request(name, options, &node.id);
    let mut machine = Machine::new(&node.id, tools);

    let engine = Engine::start(state.clone(), Powers::new(), config()).await.unwrap();
    engine.inner.crash.after(passages);
    let died = live(&engine, &mut machine, &request).await.is_err();
    engine.stop().await;
    state.close().await;

    let state = open(&folder).await;
    let engine = Engine::start(state.clone(), Powers::new(), config()).await.unwrap();
    live(&engine, &mut machine, &request).await.unwrap();
    // The outer graph learns of the end of the inner one in its own time.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !state.workflows(None, Some(true)).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "it hangs after {passages} passages");
        sleep(Duration::from_millis(1)).await;
    }
    let all = state.workflows(None, None).await.unwrap();
    for workflow in &all {
        assert_eq!(workflow.status, Status::Succeeded, "after {passages}: {:#}", workflow.view());
    }
    let graphs: Vec<&str> = all.iter().map(|w| w.injectable_name.as_str()).collect();
    assert_eq!(graphs.len(), if name == "Graph.SKU.Discovery" { 2 } else { 1 }, "{graphs:?}");
    // No command was run twice, in whichever life it was handed out.
    let mut ran = machine.ran.clone();
    ran.sort();
    ran.dedup();
    assert_eq!(ran.len(), machine.ran.len());
    engine.stop().await;
    died
}

fn request(name: &str, options: &Map<String, Value>, node: &NodeId) -> GraphRequest {
    if name == "Graph.SKU.Discovery" {
        let options = json!({"defaults": {"graphOptions": {"target": node}, "nodeId": node}});
        let options = options.as_object().unwrap().clone();
        return GraphRequest::new(name, None).with_options(options);
    }
    GraphRequest::new(name, Some(node.clone())).with_options(options.clone())
}

async fn every_death(name: &str, options: Value) {
    let options = options.as_object().unwrap();
    let mut passages = 0;
    while two_lives(name, options, passages).await {
        passages += 1;
        assert!(passages < 1_000, "it never lives to the end");
    }
    assert!(passages > 10, "only {passages} places to die");
}

#[tokio::test]
async fn bootstrap_ubuntu_survives_every_death() {
    every_death("Graph.BootstrapUbuntu", json!({})).await;
}

#[tokio::test]
async fn shell_commands_survive_every_death() {
    every_death("Graph.ShellCommands", json!({"shell-commands": {"commands": ["a", "b"]}})).await;
}

#[tokio::test]
async fn discovery_survives_every_death() {
    every_death("Graph.SKU.Discovery", json!({})).await;
}
