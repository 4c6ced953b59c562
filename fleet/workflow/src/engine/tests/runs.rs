//! Runs: commands for agents of both kinds, cancelling, timing out, and what is refused.

use std::time::Duration;

use overboot_state::{NodeId, Status, WorkflowId};
use overboot_wire::Stage;
use serde_json::json;
use tokio::time::Instant;

use super::world::{MAC, Machine, echo, run};
use super::{Fixture, fixture, reason, state_of};
use crate::{Error, ErrorKind, GraphRequest};

/// A graph of one task that runs commands on a node that is up.
async fn commands(fixture: &Fixture, commands: serde_json::Value) -> WorkflowId {
    let graph = json!({"friendlyName": "X", "injectableName": "Graph.X", "tasks": [
        {"label": "commands", "taskName": "Task.Linux.Commands"}]});
    // Its options are the request's.
    let task = json!({"friendlyName": "C", "injectableName": "Task.C", "properties": {},
        "implementsTask": "Task.Base.Linux.Commands", "options": {"commands": commands}});
    let mut graph = graph;
    graph["tasks"][0] = json!({"label": "commands", "taskDefinition": task});
    fixture.engine.put_graph(&graph).await.unwrap();
    fixture.run("Graph.X", json!({})).await.instance_id
}

async fn up(fixture: &Fixture, output: fn(&str) -> Result<String, i32>) -> Machine {
    let mut machine = Machine::new(&fixture.node.id, output);
    machine.firmware(&fixture.engine).await.unwrap();
    machine.kernel(&fixture.engine).await.unwrap();
    machine.poll(&fixture.engine, 0).await.unwrap();
    machine
}

#[tokio::test]
async fn a_waiting_agent_gets_work_at_once() {
    let fixture = fixture().await;
    let machine = up(&fixture, echo).await;
    let (engine, node) = (fixture.engine.clone(), machine.node.clone());
    let (login, boot) = (machine.login, machine.boot_id());
    let poll = tokio::spawn(async move {
        let wait = Duration::from_secs(20);
        let document = engine.offer(&node, wait, Some(login), Some(&boot)).await.unwrap();
        (document, Instant::now())
    });
    tokio::task::yield_now().await;
    commands(&fixture, json!("uname -a")).await;
    let started = Instant::now();
    let (document, answered) = poll.await.unwrap();
    assert_eq!(document.tasks[0].cmd, "uname -a");
    let after = answered.saturating_duration_since(started);
    assert!(after < Duration::from_millis(500), "{after:?}");
}

#[tokio::test]
async fn an_idle_poll_ends_in_time() {
    let fixture = fixture().await;
    let mut machine = up(&fixture, echo).await;
    let started = Instant::now();
    assert!(machine.poll(&fixture.engine, 100).await.unwrap().tasks.is_empty());
    assert!((100..5_000).contains(&started.elapsed().as_millis()));
}

#[tokio::test]
async fn results_become_catalogs() {
    let fixture = fixture().await;
    let mut machine = up(&fixture, |command| match command {
        "json" => Ok("{\"a.b\": 1}".into()),
        other => echo(other),
    })
    .await;
    let marked = |command: &str, format: &str| json!({"command": command, "catalog": {"source": command, "format": format}});
    let id =
        commands(&fixture, json!([marked("json", "json"), marked("text", "raw"), "none"])).await;
    let given = machine.poll(&fixture.engine, 0).await.unwrap();
    assert!(machine.work(&fixture.engine, given).await.unwrap());
    assert_eq!(fixture.ended(&id).await.status, Status::Succeeded);
    let state = fixture.engine.state();
    let catalogs = state.catalogs(Some(&fixture.node.id)).await.unwrap();
    assert_eq!(catalogs.len(), 2);
    let newest = |source: &'static str| state.newest_catalog(&fixture.node.id, source);
    assert_eq!(newest("json").await.unwrap().unwrap().data, json!({"a_b": 1}));
    let text = newest("text").await.unwrap().unwrap().data;
    assert_eq!(text, json!({"data": "output of text\n"}));
}

#[tokio::test]
async fn a_failing_command_fails_the_run_unless_its_code_is_accepted() {
    let fixture = fixture().await;
    let mut machine = up(&fixture, |_| Err(3)).await;
    for (accepted, status) in [(json!([3]), Status::Succeeded), (json!([4]), Status::Failed)] {
        let command = json!({"command": "false", "acceptedResponseCodes": accepted});
        let id = commands(&fixture, command).await;
        let given = machine.poll(&fixture.engine, 0).await.unwrap();
        assert!(machine.work(&fixture.engine, given).await.unwrap());
        let run = fixture.ended(&id).await;
        assert_eq!(run.status, status);
        if status == Status::Failed {
            let error = run.tasks[0].error.as_deref().unwrap();
            assert!(error.starts_with("Encountered a failure running remote commands"), "{error}");
            assert!(error.contains("exit status 3") && error.contains("no such thing"), "{error}");
        }
    }
}

#[tokio::test]
async fn our_agent_is_told_again_and_runs_once() {
    let fixture = fixture().await;
    let mut machine = up(&fixture, echo).await;
    let id = commands(&fixture, json!("touch /tmp/x")).await;
    let first = machine.poll(&fixture.engine, 0).await.unwrap();
    // The answer was lost on the way; the agent asks again.
    let second = machine.poll(&fixture.engine, 0).await.unwrap();
    assert_eq!(first.command_id, second.command_id);
    let run = fixture.workflow(&id).await;
    assert_eq!(reason(&run, "commands"), "handed to the node's agent; waiting for its results");
    assert!(machine.work(&fixture.engine, second).await.unwrap());
    assert!(!machine.work(&fixture.engine, first).await.unwrap());
    assert_eq!(machine.ran.len(), 1);
}

#[tokio::test]
async fn rackhds_agent_is_told_once_per_boot() {
    let fixture = fixture().await;
    let (engine, node) = (&fixture.engine, &fixture.node.id);
    let mut machine = up(&fixture, echo).await;
    let id = commands(&fixture, json!("touch /tmp/x")).await;
    let ask = async || engine.offer(node, Duration::ZERO, None, None).await.unwrap();
    let first = ask().await;
    assert_eq!(first.tasks.len(), 1);
    assert!(first.login.is_none());
    assert!(ask().await.tasks.is_empty());
    // It dies before it answers.
    machine.firmware(engine).await.unwrap();
    let run = fixture.workflow(&id).await;
    assert!(reason(&run, "commands").contains("restarted before it answered"), "{:#}", run.view());
    let again = ask().await;
    assert_eq!(again.tasks.len(), 1);
    assert_ne!(again.command_id, first.command_id);
    // The late answer of the old boot is not taken for one of the new.
    assert!(!engine.complete(node, run_it(first)).await.unwrap());
    assert!(engine.complete(node, run_it(again)).await.unwrap());
    assert_eq!(fixture.ended(&id).await.status, Status::Succeeded);
}

fn run_it(document: overboot_wire::TaskDoc) -> overboot_wire::TaskDoc {
    run(document, echo)
}

#[tokio::test]
async fn commands_that_take_the_node_down_each_time_are_given_up() {
    let fixture = fixture().await;
    let mut machine = up(&fixture, echo).await;
    let id = commands(&fixture, json!("reboot -f")).await;
    for _ in 0..3 {
        assert_eq!(machine.poll(&fixture.engine, 0).await.unwrap().tasks.len(), 1);
        machine.kernel(&fixture.engine).await.unwrap();
    }
    assert!(machine.poll(&fixture.engine, 0).await.unwrap().tasks.is_empty());
    let run = fixture.ended(&id).await;
    assert_eq!(run.status, Status::Failed);
    assert!(reason(&run, "commands").contains("restarted 3 times"));
}

#[tokio::test]
async fn a_task_ends_when_its_time_is_up() {
    let fixture = fixture().await;
    let options = json!({"noop-1": {"delay": 60_000, "_taskTimeout": 30}});
    let run = fixture.run("Graph.noop-example", options).await;
    assert!(run.tasks[0].deadline.is_some());
    assert_eq!(run.tasks[0].reason, "waiting for 60000 ms to pass");
    let run = fixture.ended(&run.instance_id).await;
    // The second task waits for it to be finished, however.
    assert_eq!(state_of(&run, "noop-1"), Status::Timeout);
    assert_eq!(run.status, Status::Succeeded);
}

#[tokio::test]
async fn delays_pass() {
    let fixture = fixture().await;
    let run = fixture.run("Graph.noop-example", json!({"noop-1": {"delay": 40}})).await;
    let run = fixture.ended(&run.instance_id).await;
    let task = &run.tasks[0];
    let took = task.task_end_time.unwrap().since(task.task_start_time.unwrap());
    assert!((40..5_000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_node_has_one_run_at_a_time() {
    let fixture = fixture().await;
    let run = fixture.run("Graph.noop-example", json!({"noop-1": {"delay": 60_000}})).await;
    let request = || GraphRequest::new("Graph.noop-example", Some(fixture.node.id.clone()));
    let refused = fixture.engine.run_graph(request()).await.unwrap_err();
    assert_eq!(refused.to_string(), "Unable to run multiple task graphs against a single target.");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(matches!(
        fixture.engine.delete_node(&fixture.node.id).await,
        Err(Error::StillActive { .. })
    ));

    let cancelled = fixture.engine.cancel_on(&fixture.node.id).await.unwrap();
    assert_eq!(
        (cancelled.instance_id, cancelled.status),
        (run.instance_id.clone(), Status::Cancelled)
    );
    assert!(matches!(fixture.engine.cancel(&run.instance_id).await, Err(Error::NotActive { .. })));
    fixture.engine.run_graph(request()).await.unwrap();
    fixture.engine.delete(&run.instance_id).await.unwrap();
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let fixture = fixture().await;
    let engine = &fixture.engine;
    let kinds = [
        engine.run_graph(GraphRequest::new("Graph.Nope", None)).await.unwrap_err(),
        engine
            .run_graph(GraphRequest::new("Graph.noop-example", Some(NodeId::new())))
            .await
            .unwrap_err(),
        engine.cancel(&WorkflowId::new()).await.unwrap_err(),
        engine.cancel_on(&fixture.node.id).await.unwrap_err(),
        engine.delete(&WorkflowId::new()).await.unwrap_err(),
        engine.delete_task("Task.noop").await.unwrap_err(),
        engine.offer(&NodeId::new(), Duration::ZERO, None, None).await.unwrap_err(),
    ];
    for error in kinds {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

#[tokio::test]
async fn definitions_can_be_put_and_taken_back() {
    let fixture = fixture().await;
    let engine = &fixture.engine;
    let graph =
        json!({"friendlyName": "Mine", "injectableName": "Graph.noop-example", "tasks": []});
    engine.put_graph(&graph).await.unwrap();
    let library = engine.library().await.unwrap();
    assert_eq!(library.graphs["Graph.noop-example"].friendly_name, "Mine");
    assert!(engine.delete_graph("Graph.noop-example").await.unwrap());
    let library = engine.library().await.unwrap();
    assert_eq!(library.graphs["Graph.noop-example"].friendly_name, "No-Op Graph");
    let bad = json!({"friendlyName": "X", "injectableName": "Graph.X", "tasks": [{"label": "a", "taskName": "Task.Nope"}]});
    assert_eq!(engine.put_graph(&bad).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn what_was_begun_is_done_though_the_client_hangs_up() {
    let fixture = fixture().await.with_noop_obm().await;
    let mut machine = up(&fixture, echo).await;
    let graph = json!({"friendlyName": "X", "injectableName": "Graph.X", "tasks": [
        {"label": "commands", "taskName": "Task.Linux.Commands"},
        {"label": "reboot", "taskName": "Task.Obm.Node.Reboot", "waitOn": {"commands": "succeeded"}}]});
    fixture.engine.put_graph(&graph).await.unwrap();
    let id = fixture.run("Graph.X", json!({"commands": {"commands": "true"}})).await.instance_id;
    let given = machine.poll(&fixture.engine, 0).await.unwrap();
    {
        let post = fixture.engine.complete(&fixture.node.id, run_it(given));
        tokio::pin!(post);
        tokio::select! {
            biased;
            _ = &mut post => panic!("it does not end at once"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(fixture.ended(&id).await.status, Status::Succeeded);
}

#[tokio::test]
async fn a_poll_from_before_the_reboot_is_given_nothing_of_the_next_boot() {
    let fixture = fixture().await;
    let mut machine = Machine::new(&fixture.node.id, echo);
    machine.firmware(&fixture.engine).await.unwrap();
    let (engine, node) = (fixture.engine.clone(), machine.node.clone());
    // A RackHD agent; the reset leaves its connection open.
    let poll = tokio::spawn(async move {
        engine.offer(&node, Duration::from_secs(20), None, None).await.unwrap()
    });
    // The first poll of a boot is noted, and after that the agent waits.
    let state = fixture.engine.state();
    while state.timelines(&[MAC], 1).await.unwrap()[0].boot.stage < Stage::Agent {
        tokio::task::yield_now().await;
    }
    machine.firmware(&fixture.engine).await.unwrap();
    let id = commands(&fixture, json!("true")).await;
    assert!(poll.await.unwrap().tasks.is_empty());
    let run = fixture.workflow(&id).await;
    assert_eq!(reason(&run, "commands"), "waiting for the node's agent to ask for tasks");
}

#[tokio::test]
async fn stopping_answers_who_waits() {
    let fixture = fixture().await;
    let machine = up(&fixture, echo).await;
    let (engine, node) = (fixture.engine.clone(), machine.node.clone());
    let poll = tokio::spawn(async move {
        engine.offer(&node, Duration::from_secs(60), Some(0), None).await.unwrap()
    });
    tokio::task::yield_now().await;
    fixture.engine.stop().await;
    let answered = tokio::time::timeout(Duration::from_secs(10), poll).await;
    assert!(answered.unwrap().unwrap().tasks.is_empty());
}
