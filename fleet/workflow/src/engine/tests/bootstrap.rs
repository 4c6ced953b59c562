//! `Graph.BootstrapUbuntu`: who is believed, and who may log in.

use std::time::Duration;

use overboot_state::Status;
use serde_json::json;
use tokio::time::Instant;

use super::world::{Machine, echo};
use super::{Fixture, fixture, is_running, reason};
use crate::Error;

async fn booted(fixture: &Fixture) -> Machine {
    let mut machine = Machine::new(&fixture.node.id, echo);
    machine.firmware(&fixture.engine).await.unwrap();
    machine.kernel(&fixture.engine).await.unwrap();
    assert!(machine.poll(&fixture.engine, 0).await.unwrap().tasks.is_empty());
    machine
}

#[tokio::test]
async fn the_agent_from_before_the_reboot_is_not_believed() {
    let fixture = fixture().await.with_noop_obm().await;
    let engine = &fixture.engine;
    let mut machine = booted(&fixture).await;
    let run = fixture.run("Graph.BootstrapUbuntu", json!({})).await;
    let run = fixture.when(&run.instance_id, |w| is_running(w, "bootstrap-ubuntu")).await;
    assert_eq!(reason(&run, "bootstrap-ubuntu"), "waiting for the node to boot from the network");

    // The old system goes on asking until the machine is reset.
    let document = machine.poll(engine, 50).await.unwrap();
    assert!(document.tasks.is_empty() && document.login.unwrap().window.is_none());

    assert!(machine.firmware(engine).await.unwrap());
    // A request of the old agent that was still under way.
    assert!(machine.poll(engine, 0).await.unwrap().tasks.is_empty());
    let late = overboot_wire::TaskDoc::default();
    assert!(!engine.complete(&machine.node, late).await.unwrap());
    assert!(fixture.workflow(&run.instance_id).await.status.is_active());

    machine.kernel(engine).await.unwrap();
    let document = machine.poll(engine, 0).await.unwrap();
    assert_eq!(document.tasks.len(), 1);
    assert_eq!(document.tasks[0].cmd, "");
    let window = document.login.clone().unwrap().window.unwrap();
    assert_eq!(window.user, "monorail");
    assert!(window.password_hash.unwrap().starts_with("$6$"));
    assert!((28_000..=28_800).contains(&window.seconds));
    assert!(machine.work(engine, document).await.unwrap());
    let run = fixture.ended(&run.instance_id).await;
    assert_eq!(run.status, Status::Succeeded, "{:#}", run.view());
}

#[tokio::test]
async fn a_report_of_a_new_boot_is_enough() {
    let fixture = fixture().await.with_noop_obm().await;
    let mut machine = booted(&fixture).await;
    let run = fixture.run("Graph.BootstrapUbuntu", json!({})).await;
    fixture.when(&run.instance_id, |w| is_running(w, "bootstrap-ubuntu")).await;
    machine.kernel(&fixture.engine).await.unwrap();
    let document = machine.poll(&fixture.engine, 0).await.unwrap();
    assert!(machine.work(&fixture.engine, document).await.unwrap());
    assert_eq!(fixture.ended(&run.instance_id).await.status, Status::Succeeded);
}

#[tokio::test]
async fn so_is_an_agent_that_names_another_boot() {
    let fixture = fixture().await.with_noop_obm().await;
    let mut machine = booted(&fixture).await;
    let run = fixture.run("Graph.BootstrapUbuntu", json!({})).await;
    fixture.when(&run.instance_id, |w| is_running(w, "bootstrap-ubuntu")).await;
    machine.boot += 1;
    let document = machine.poll(&fixture.engine, 0).await.unwrap();
    assert!(machine.work(&fixture.engine, document).await.unwrap());
    assert_eq!(fixture.ended(&run.instance_id).await.status, Status::Succeeded);
}

/// A node with an open login.
async fn open(options: serde_json::Value) -> (Fixture, Machine) {
    let fixture = fixture().await.with_noop_obm().await;
    let mut machine = Machine::new(&fixture.node.id, echo);
    let run = fixture.run("Graph.BootstrapUbuntu", options).await;
    fixture.when(&run.instance_id, |w| is_running(w, "bootstrap-ubuntu")).await;
    machine.firmware(&fixture.engine).await.unwrap();
    machine.kernel(&fixture.engine).await.unwrap();
    let document = machine.poll(&fixture.engine, 0).await.unwrap();
    assert!(document.login.clone().unwrap().window.is_some());
    machine.work(&fixture.engine, document).await.unwrap();
    fixture.ended(&run.instance_id).await;
    (fixture, machine)
}

async fn is_open(fixture: &Fixture, machine: &mut Machine) -> bool {
    let document = machine.poll(&fixture.engine, 0).await.unwrap();
    document.login.unwrap().window.is_some()
}

#[tokio::test]
async fn the_login_stays_open_after_the_workflow_and_closes_with_the_next_one() {
    let (fixture, mut machine) = open(json!({})).await;
    assert!(is_open(&fixture, &mut machine).await);
    let engine = fixture.engine.clone();
    let started = Instant::now();
    let (node, login, boot) = (machine.node.clone(), machine.login, machine.boot_id());
    let poll = tokio::spawn(async move {
        engine.offer(&node, Duration::from_secs(20), Some(login), Some(&boot)).await.unwrap()
    });
    fixture.run("Graph.noop-example", json!({})).await;
    let document = poll.await.unwrap();
    assert!(document.login.unwrap().window.is_none());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn the_login_closes_when_the_node_reboots() {
    let (fixture, mut machine) = open(json!({})).await;
    assert!(!machine.firmware(&fixture.engine).await.unwrap());
    machine.kernel(&fixture.engine).await.unwrap();
    assert!(!is_open(&fixture, &mut machine).await);
}

#[tokio::test]
async fn the_login_closes_when_its_time_is_up() {
    let (fixture, mut machine) = open(json!({"bootstrap-ubuntu": {"login": {"seconds": 1}}})).await;
    let document = fixture
        .engine
        .offer(&machine.node, Duration::from_secs(20), Some(machine.login), None)
        .await
        .unwrap();
    let login = document.login.unwrap();
    assert!(login.window.is_none() && login.sequence > machine.login);
    assert!(!is_open(&fixture, &mut machine).await);
}

#[tokio::test]
async fn the_login_closes_with_a_workflow_that_does_not_succeed() {
    let fixture = fixture().await.with_noop_obm().await;
    let mut machine = Machine::new(&fixture.node.id, echo);
    let run = fixture.run("Graph.BootstrapUbuntu", json!({})).await;
    fixture.when(&run.instance_id, |w| is_running(w, "bootstrap-ubuntu")).await;
    machine.firmware(&fixture.engine).await.unwrap();
    machine.kernel(&fixture.engine).await.unwrap();
    assert!(is_open(&fixture, &mut machine).await);
    fixture.engine.cancel(&run.instance_id).await.unwrap();
    assert!(!is_open(&fixture, &mut machine).await);
}

#[tokio::test]
async fn no_other_graph_opens_a_node() {
    let fixture = fixture().await;
    let graph = json!({"friendlyName": "X", "injectableName": "Graph.X", "tasks": [
        {"label": "bootstrap-ubuntu", "taskName": "Task.Linux.Bootstrap.Ubuntu"}]});
    fixture.engine.put_graph(&graph).await.unwrap();
    let mut machine = Machine::new(&fixture.node.id, echo);
    let login = json!({"user": "monorail", "password": "monorail"});
    fixture.run("Graph.X", json!({"bootstrap-ubuntu": {"login": login}})).await;
    machine.firmware(&fixture.engine).await.unwrap();
    machine.kernel(&fixture.engine).await.unwrap();
    let document = machine.poll(&fixture.engine, 0).await.unwrap();
    assert_eq!(document.tasks.len(), 1);
    assert!(document.login.unwrap().window.is_none());
}

#[tokio::test]
async fn a_node_that_fails_to_come_up_is_booted_again_and_opened_again() {
    let fixture = fixture().await.with_noop_obm().await;
    let mut machine = Machine::new(&fixture.node.id, echo);
    let run = fixture.run("Graph.BootstrapUbuntu", json!({})).await;
    fixture.when(&run.instance_id, |w| is_running(w, "bootstrap-ubuntu")).await;
    for _ in 0..2 {
        assert!(machine.firmware(&fixture.engine).await.unwrap());
        machine.kernel(&fixture.engine).await.unwrap();
    }
    let document = machine.poll(&fixture.engine, 0).await.unwrap();
    assert!(document.login.clone().unwrap().window.is_some());
    assert!(machine.work(&fixture.engine, document).await.unwrap());
    assert_eq!(fixture.ended(&run.instance_id).await.status, Status::Succeeded);
}

#[tokio::test]
async fn an_unusable_login_is_the_requests_mistake_or_the_tasks() {
    let fixture = fixture().await.with_noop_obm().await;
    let options = json!({"bootstrap-ubuntu": {"login": {"password": 7}}});
    let request = crate::GraphRequest::new("Graph.BootstrapUbuntu", Some(fixture.node.id.clone()))
        .with_options(options.as_object().unwrap().clone());
    let error = fixture.engine.run_graph(request).await.unwrap_err();
    assert!(matches!(error, Error::Request { .. }), "{error}");
    let run = fixture
        .run("Graph.BootstrapUbuntu", json!({"bootstrap-ubuntu": {"login": {"user": "a:b"}}}));
    let run = fixture.ended(&run.await.instance_id).await;
    assert_eq!(run.status, Status::Failed);
    assert!(reason(&run, "bootstrap-ubuntu").contains("cannot be a user's name"));
}
