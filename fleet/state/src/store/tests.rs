//! The store against a real database file.

use std::time::Duration;

use overboot_dhcp::Mac;
use overboot_wire::Stage;
use serde_json::json;
use tempfile::TempDir;

use crate::workflow::tests::workflow;
use crate::*;

const MAC: Mac = Mac::new([0x52, 0x54, 0, 0, 0, 1]);
const OTHER: Mac = Mac::new([0x52, 0x54, 0, 0, 0, 2]);

async fn state() -> (TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("new/fleet.sqlite")).await.unwrap();
    (folder, state)
}

async fn put(state: &State, workflow: &Workflow) -> Result<(), Error> {
    let batch = Batch { workflows: vec![workflow.clone()], ..Batch::default() };
    state.write_batch(Durability::Full, &batch).await
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let (folder, state) = state().await;
    let (node, created) = state.find_or_create_node(&[MAC, OTHER]).await.unwrap();
    assert!(created);
    let run = workflow(Some(node.id.clone()));
    put(&state, &run).await.unwrap();
    state.close().await;
    assert!(state.nodes().await.is_err());

    let state = State::open(&folder.path().join("new/fleet.sqlite")).await.unwrap();
    assert_eq!(state.nodes().await.unwrap(), std::slice::from_ref(&node));
    let read = state.active_workflow(&node.id).await.unwrap().unwrap();
    assert_eq!(read, Workflow { version: 1, ..run });
    let (again, created) = state.find_or_create_node(&[OTHER]).await.unwrap();
    assert_eq!((again.id, created), (node.id, false));
}

#[tokio::test]
async fn nodes_are_found_by_everything_but_their_name() {
    let (_folder, state) = state().await;
    let (node, _) = state.find_or_create_node(&[MAC]).await.unwrap();
    state.learn(MAC, Some("10.0.0.7".parse().unwrap()), None, None).await.unwrap();
    state.update_node(&node.id, |node| node.identifiers.push("rack-7".into())).await.unwrap();
    for identifier in
        ["52:54:00:00:00:01", "52-54-00-00-00-01", "10.0.0.7", "rack-7", node.id.as_str()]
    {
        let found = state.find_by_identifier(identifier).await.unwrap();
        assert_eq!(found.map(|n| n.id), Some(node.id.clone()), "{identifier}");
    }
    let named = Node::named("a name", "compute");
    state.put_node(&named).await.unwrap();
    for identifier in ["", "a name", "10.0.0.8", "52:54:00:00:00:02"] {
        assert_eq!(state.find_by_identifier(identifier).await.unwrap(), None, "{identifier}");
    }
}

#[tokio::test]
async fn lookups_are_found_by_mac_ip_and_node() {
    let (_folder, state) = state().await;
    let (node, _) = state.find_or_create_node(&[MAC]).await.unwrap();
    let ip = "10.0.0.7".parse().unwrap();
    state.learn(MAC, Some(ip), None, Some("http://10.0.0.1:80")).await.unwrap();
    for term in ["10.0.0.7", "52:54:00:00:00:01", node.id.as_str(), ""] {
        assert_eq!(state.lookups(term).await.unwrap().len(), 1, "{term}");
    }
    assert!(state.lookups("nothing").await.unwrap().is_empty());

    // The address moves to another machine.
    let moved = state.learn(OTHER, Some(ip), None, None).await.unwrap();
    assert_eq!(moved.ip_address, Some(ip));
    let first = &state.lookups("52:54:00:00:00:01").await.unwrap()[0];
    assert_eq!((first.ip_address, first.node.as_deref()), (None, Some(node.id.as_str())));
    assert_eq!(first.proxy.as_deref(), Some("http://10.0.0.1:80"));

    let duplicate = Lookup::new(MAC);
    let refused = state.put_lookup(&duplicate).await.unwrap_err();
    assert!(matches!(refused, Error::DuplicateLookup { .. }), "{refused}");
    assert!(state.delete_lookup(&moved.id).await.unwrap());
    assert!(!state.delete_lookup(&moved.id).await.unwrap());
}

#[tokio::test]
async fn a_node_has_one_record_per_service() {
    let (_folder, state) = state().await;
    let (node, _) = state.find_or_create_node(&[MAC]).await.unwrap();
    let one = state.put_obm(&node.id, "noop-obm-service", &json!({})).await.unwrap();
    let two = state.put_obm(&node.id, "noop-obm-service", &json!({"a": 1})).await.unwrap();
    assert_eq!((one.id.clone(), two.config.clone()), (two.id.clone(), json!({"a": 1})));
    assert_eq!(state.obms(Some(&node.id)).await.unwrap(), [two]);
    let nobody = state.put_obm(&NodeId::new(), "noop-obm-service", &json!({})).await.unwrap_err();
    assert!(matches!(nobody, Error::NoNode { .. }), "{nobody}");
    assert!(state.delete_obm(&one.id).await.unwrap());
}

#[tokio::test]
async fn one_active_workflow_per_node() {
    let (_folder, state) = state().await;
    let node = NodeId::new();
    let mut first = workflow(Some(node.clone()));
    put(&state, &first).await.unwrap();
    let refused = put(&state, &workflow(Some(node.clone()))).await.unwrap_err();
    assert!(matches!(refused, Error::TargetTaken { .. }), "{refused}");
    put(&state, &workflow(None)).await.unwrap();
    put(&state, &workflow(None)).await.unwrap();

    first = state.workflow(&first.instance_id).await.unwrap().unwrap();
    first.status = Status::Succeeded;
    put(&state, &first).await.unwrap();
    put(&state, &workflow(Some(node.clone()))).await.unwrap();
    assert_eq!(state.workflows(Some(&node), Some(false)).await.unwrap().len(), 1);
    assert_eq!(state.workflows(Some(&node), None).await.unwrap().len(), 2);
    assert_eq!(state.workflows(None, Some(true)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn of_two_writers_one_is_told() {
    let (_folder, state) = state().await;
    let run = workflow(None);
    put(&state, &run).await.unwrap();
    let read = state.workflow(&run.instance_id).await.unwrap().unwrap();
    put(&state, &read).await.unwrap();
    let late = put(&state, &read).await.unwrap_err();
    assert!(matches!(late, Error::Changed { .. }), "{late}");
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all() {
    let (_folder, state) = state().await;
    let run = workflow(None);
    let batch = Batch {
        workflows: vec![run.clone()],
        catalogs: vec![Catalog::new(NodeId::new(), "dmi", json!({}))],
        ..Batch::default()
    };
    let refused = state.write_batch(Durability::Full, &batch).await.unwrap_err();
    assert!(matches!(refused, Error::NoNode { .. }), "{refused}");
    assert_eq!(state.workflow(&run.instance_id).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_due_is_found() {
    let (_folder, state) = state().await;
    assert_eq!(state.next_due().await.unwrap(), None);
    let now = Timestamp::now();
    let mut run = workflow(None);
    run.tasks[0].task_start_time = Some(now);
    run.tasks[0].deadline = Some(now.after(Duration::from_secs(9)));
    run.tasks[0].wake = Some(now.after(Duration::from_secs(1)));
    put(&state, &run).await.unwrap();
    assert_eq!(state.next_due().await.unwrap(), run.tasks[0].wake);
    assert!(state.due_workflows(now).await.unwrap().is_empty());
    let due = state.due_workflows(now.after(Duration::from_secs(1))).await.unwrap();
    assert_eq!(due, [run.instance_id.clone()]);

    let (node, _) = state.find_or_create_node(&[MAC]).await.unwrap();
    let mut session = Session::default();
    session.open_login(OpenLogin {
        workflow: run.instance_id,
        task: TaskId::new(),
        user: "monorail".into(),
        password_hash: None,
        authorized_keys: vec![],
        expires_at: now,
    });
    let sessions = vec![NodeSession { node: node.id.clone(), session }];
    let batch = Batch { sessions, ..Batch::default() };
    state.write_batch(Durability::Full, &batch).await.unwrap();
    assert_eq!(state.next_due().await.unwrap(), Some(now));
    assert_eq!(state.due_sessions(now).await.unwrap(), [node.id]);
}

#[tokio::test]
async fn a_node_with_a_catalog_is_discovered_and_goes_with_all_it_has() {
    let (_folder, state) = state().await;
    let (node, _) = state.find_or_create_node(&[MAC]).await.unwrap();
    assert!(!state.is_discovered(&node.id).await.unwrap());
    let mut catalogs = vec![Catalog::new(node.id.clone(), "dmi", json!({"a": 1}))];
    catalogs.push(Catalog {
        created_at: catalogs[0].created_at.after(Duration::from_secs(1)),
        ..Catalog::new(node.id.clone(), "dmi", json!({"a": 2}))
    });
    let sessions = vec![NodeSession { node: node.id.clone(), session: Session::default() }];
    let addresses = vec![(OTHER, None, node.id.to_string())];
    let batch = Batch { catalogs, sessions, addresses, ..Batch::default() };
    state.write_batch(Durability::Full, &batch).await.unwrap();
    assert!(state.is_discovered(&node.id).await.unwrap());
    let newest = state.newest_catalog(&node.id, "dmi").await.unwrap().unwrap();
    assert_eq!(newest.data, json!({"a": 2}));
    assert_eq!(state.catalogs(Some(&node.id)).await.unwrap().len(), 2);
    assert_eq!(state.lookups(node.id.as_str()).await.unwrap().len(), 2);

    assert!(state.delete_node(&node.id).await.unwrap());
    assert!(state.catalogs(None).await.unwrap().is_empty());
    assert_eq!(state.session(&node.id).await.unwrap(), Session::default());
    assert_eq!(state.lookups("").await.unwrap().len(), 2);
    assert!(state.lookups(node.id.as_str()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_node_cannot_take_another_ones_address_by_saying_so() {
    let (_folder, state) = state().await;
    let (node, _) = state.find_or_create_node(&[MAC]).await.unwrap();
    let (thief, _) = state.find_or_create_node(&[OTHER]).await.unwrap();
    let addresses = vec![(MAC, None, thief.id.to_string())];
    let batch = Batch { addresses, ..Batch::default() };
    state.write_batch(Durability::Full, &batch).await.unwrap();
    let lookups = state.lookups(&MAC.to_string()).await.unwrap();
    assert_eq!(lookups[0].node.as_deref(), Some(node.id.as_str()));
}

#[tokio::test]
async fn definitions_are_replaced() {
    let (_folder, state) = state().await;
    let kind = DefinitionKind::Graph;
    for friendly in ["one", "two"] {
        let document = json!({"friendlyName": friendly});
        let definition = Definition { kind, name: "Graph.X".into(), document };
        state.put_definition(&definition).await.unwrap();
    }
    let all = state.definitions(kind).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].document["friendlyName"], "two");
    assert!(state.definitions(DefinitionKind::Task).await.unwrap().is_empty());
    assert!(state.delete_definition(kind, "Graph.X").await.unwrap());
}

#[tokio::test]
async fn boots_are_told_apart_and_kept_in_order() {
    let (_folder, state) = state().await;
    let stages = [Stage::DhcpOffer, Stage::Script, Stage::Agent, Stage::Script];
    let mut began = Vec::new();
    for stage in stages {
        let recorded = state.record(MAC, &BootEvent::seen(stage, None)).await.unwrap();
        began.push(recorded.began);
    }
    assert_eq!(began, [true, false, false, true]);
    let timelines = state.timelines(&[MAC, OTHER], 10).await.unwrap();
    let stages: Vec<Vec<Stage>> =
        timelines.iter().map(|t| t.events.iter().map(|e| e.stage).collect()).collect();
    assert_eq!(stages.len(), 2);
    assert!(stages.contains(&vec![Stage::DhcpOffer, Stage::Script, Stage::Agent]));
    assert_eq!(state.timelines(&[MAC], 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_machine_that_boots_in_circles_does_not_fill_the_disk() {
    let (_folder, state) = state().await;
    for _ in 0..120 {
        for stage in [Stage::Script, Stage::Agent] {
            state.record(MAC, &BootEvent::seen(stage, None)).await.unwrap();
        }
    }
    assert_eq!(state.timelines(&[MAC], 1_000).await.unwrap().len(), 100);
    for _ in 0..600 {
        state.record(MAC, &BootEvent::seen(Stage::Agent, None)).await.unwrap();
    }
    let last = state.timelines(&[MAC], 1).await.unwrap().remove(0);
    assert_eq!((last.events.len(), last.boot.events), (500, 602));
}

#[tokio::test]
async fn writers_wait_for_each_other() {
    let (_folder, state) = state().await;
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let state = state.clone();
        tasks.push(tokio::spawn(async move { state.find_or_create_node(&[MAC]).await.unwrap() }));
    }
    let mut created = 0;
    for task in tasks {
        created += usize::from(task.await.unwrap().1);
    }
    assert_eq!(created, 1);
    assert_eq!(state.nodes().await.unwrap().len(), 1);
}
