//! From definitions and requests to runs.

use std::time::Duration;

use overboot_state::{NodeId, Timestamp, Workflow};
use serde_json::{Map, Value, json};

use super::{GraphRequest, create, time_limit};
use crate::{Error, GraphDefinition, Library};

const NOW: Timestamp = Timestamp::from_millis(1_795_354_300_000);

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn scope() -> Map<String, Value> {
    map(
        json!({"file": {"server": "http://10.0.0.1:9090"}, "server": {}, "api": {"server": "http://10.0.0.1:9090"}}),
    )
}

fn made(name: &str, options: Value, target: Option<NodeId>) -> Result<Workflow, Error> {
    let request = GraphRequest::new(name, target).with_options(map(options));
    create(&Library::built_in(), &request, None, &scope(), NOW)
}

fn of(tasks: Value, options: Value) -> Result<Workflow, Error> {
    let graph = json!({"friendlyName": "T", "injectableName": "Graph.T", "tasks": tasks});
    let graph: GraphDefinition = serde_json::from_value(graph).unwrap();
    let mut library = Library::built_in();
    library.graphs.insert("Graph.T".into(), graph);
    let request = GraphRequest::new("Graph.T", None).with_options(map(options));
    create(&library, &request, None, &scope(), NOW)
}

#[test]
fn every_built_in_graph_can_be_made() {
    for name in Library::built_in().graphs.keys() {
        let options = json!({"shell-commands": {"commands": "true"}});
        made(name, options, Some(NodeId::new())).unwrap();
    }
}

#[test]
fn bootstrap_ubuntu_has_its_options_and_no_password() {
    let node = NodeId::new();
    let run = made("Graph.BootstrapUbuntu", json!({}), Some(node.clone())).unwrap();
    let bootstrap = &run.tasks[2];
    assert_eq!(bootstrap.label, "bootstrap-ubuntu");
    assert_eq!(bootstrap.name, "Task.Linux.Bootstrap.Ubuntu");
    assert_eq!(bootstrap.options["kernelUri"], "http://10.0.0.1:9090/common/vmlinuz");
    assert_eq!(bootstrap.options["bootSet"], "discovery");
    assert_eq!(bootstrap.options["login"]["user"], "monorail");
    let hash = bootstrap.options["login"]["passwordHash"].as_str().unwrap();
    assert!(hash.starts_with("$6$"), "{hash}");
    assert!(!serde_json::to_string(&run).unwrap().contains("\"password\""));
    assert_eq!(run.node, Some(node.clone()));
    assert_eq!(run.context["target"], node.as_str());
    assert_eq!(run.context["graphId"], run.instance_id.as_str());
    assert_eq!(json!(run.tasks[1].terminal_on_states), json!(["timeout", "cancelled", "failed"]));
    assert_eq!(json!(run.tasks[0].terminal_on_states), json!([]));
}

#[test]
fn a_login_of_ones_own_does_not_meet_the_default_password() {
    let keys = json!(["ssh-ed25519 AAAA me"]);
    let options = json!({"bootstrap-ubuntu": {"login": {"user": "me", "authorizedKeys": keys}}});
    let run = made("Graph.BootstrapUbuntu", options, Some(NodeId::new())).unwrap();
    let login = &run.tasks[2].options["login"];
    assert_eq!(login, &json!({"user": "me", "authorizedKeys": keys}));
}

#[test]
fn an_overlay_is_chosen_by_one_option() {
    let options =
        json!({"bootstrap-ubuntu": {"overlayfsFile": "raid.overlay.cpio.gz", "profile": null}});
    let run = made("Graph.BootstrapUbuntu", options, Some(NodeId::new())).unwrap();
    let bootstrap = &run.tasks[2].options;
    assert_eq!(bootstrap["overlayfsUri"], "http://10.0.0.1:9090/common/raid.overlay.cpio.gz");
    assert_eq!(bootstrap["profile"], "linux.ipxe");
}

#[test]
fn options_have_their_precedence() {
    let task = json!([{"label": "a", "taskDefinition": {"friendlyName": "A", "injectableName": "Task.A",
        "implementsTask": "Task.Base.noop", "options": {"own": 1, "both": 1, "label": 1}, "properties": {}}}]);
    let options = json!({"defaults": {"own": 2, "both": 2, "strange": 2}, "a": {"both": 3, "new": 3, "label": null}});
    let run = of(task, options).unwrap();
    let expected = json!({"own": 2, "both": 3, "label": 1, "new": 3});
    assert_eq!(Value::Object(run.tasks[0].options.clone()), expected);
}

#[test]
fn a_task_with_a_schema_takes_all_defaults() {
    let options = json!({"defaults": {"obmServiceName": "noop-obm-service"}});
    let run = made("Graph.BootstrapUbuntu", options, Some(NodeId::new())).unwrap();
    assert_eq!(run.tasks[1].options["obmServiceName"], "noop-obm-service");
    assert!(run.tasks[2].options.get("obmServiceName").is_none());
}

#[test]
fn only_the_inner_graph_takes_the_node() {
    let node = NodeId::new();
    let options = json!({"defaults": {"graphOptions": {"target": node}, "nodeId": node}});
    let run = made("Graph.SKU.Discovery", options.clone(), None).unwrap();
    assert_eq!(run.node, None);
    assert_eq!(run.tasks[0].options["graphOptions"]["target"], node.as_str());
    let run = made("Graph.noop-example", options, None).unwrap();
    assert_eq!(run.node, Some(node));
}

#[test]
fn what_cannot_be_run_is_refused_with_a_reason() {
    let noop =
        |label: &str, wait: Value| json!({"label": label, "taskName": "Task.noop", "waitOn": wait});
    let cases = [
        (json!([noop("a", json!({})), noop("a", json!({}))]), "\"a\" is there twice"),
        (json!([noop("a", json!({"b": "finished"}))]), "waits on \"b\", which is not in the graph"),
        (
            json!([noop("a", json!({"b": "finished"})), noop("b", json!({"a": "finished"}))]),
            "in a circle: a, b",
        ),
        (json!([noop("anyOf", json!({}))]), "reserved"),
        (json!([{"label": "a", "taskName": "Task.nope"}]), "there is no task Task.nope"),
        (json!([{"label": "a", "taskName": "Task.Linux.Commands"}]), "commands"),
        (
            json!([{"label": "a", "taskName": "Task.Catalog.dmi"}]),
            "no earlier task provides os.linux.type",
        ),
        (
            json!([{"label": "a", "taskName": "Task.Evaluate.Condition"}]),
            "needs the option \"when\"",
        ),
    ];
    for (tasks, expected) in cases {
        let error = of(tasks.clone(), json!({})).unwrap_err().to_string();
        assert!(error.contains(expected), "{tasks}: {error}");
    }
    let unknown = made("Graph.Nope", json!({}), None).unwrap_err();
    assert!(matches!(unknown, Error::UnknownGraph { .. }));
    let bad = json!({"defaults": {"graphOptions": {"target": "x"}}});
    assert!(made("Graph.noop-example", bad, None).is_err());
}

#[test]
fn time_limits_are_rackhds() {
    let day = Duration::from_secs(86_400);
    let limit = |options: Value| time_limit(&map(options), day);
    assert_eq!(limit(json!({})), Some(day));
    assert_eq!(limit(json!({"_taskTimeout": 500})), Some(Duration::from_millis(500)));
    assert_eq!(
        limit(json!({"schedulerOverrides": {"timeout": 7}})),
        Some(Duration::from_millis(7))
    );
    assert_eq!(limit(json!({"_taskTimeout": 0})), None);
    assert_eq!(limit(json!({"_taskTimeout": -1})), None);
}
