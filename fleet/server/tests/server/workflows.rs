//! `/workflows` and their libraries.

use serde_json::json;

use crate::support::TestServer;

const MAC: &str = "52:54:00:12:34:56";

#[test]
fn a_workflow_is_started_seen_cancelled_and_deleted() {
    let server = TestServer::start();
    let id = server.node(MAC);
    let path = format!("/api/current/nodes/{id}/workflows");
    let raw = server.json("POST", &path, &json!({"name": "Graph.BootstrapUbuntu"})).expect(201);
    let instance = raw["instanceId"].as_str().unwrap().to_owned();
    assert_eq!(raw["context"]["target"], id.as_str());

    let again = server.json("POST", &path, &json!({"name": "Graph.BootstrapUbuntu"})).expect(400);
    assert_eq!(again["message"], "Unable to run multiple task graphs against a single target.");
    let view = server.get(&format!("/api/current/workflows/{instance}")).expect(200);
    assert_eq!(view["status"], "running");
    assert!(view["tasks"].is_array());
    for (query, count) in [("", 1), ("?active=true", 1), ("?active=false", 0)] {
        for path in [&path, "/api/current/workflows"] {
            let list = server.get(&format!("{path}{query}")).expect(200);
            assert_eq!(list.as_array().unwrap().len(), count, "{path}{query}");
        }
    }
    server.send("DELETE", &format!("/api/current/workflows/{instance}"), &[], "").expect(403);
    server.send("DELETE", &format!("/api/current/nodes/{id}"), &[], "").expect(403);

    let action = format!("{path}/action");
    server.json("PUT", &action, &json!({"command": "pause"})).expect(400);
    let cancelled = server.json("PUT", &action, &json!({"command": "cancel", "options": {}}));
    assert_eq!(cancelled.headers["location"], format!("/api/2.0/workflows/{instance}"));
    assert_eq!(cancelled.expect(202)["_status"], "cancelled");
    server.json("PUT", &action, &json!({"command": "cancel"})).expect(404);
    server.send("DELETE", &format!("/api/current/workflows/{instance}"), &[], "").expect(204);
    server.get(&format!("/api/current/workflows/{instance}")).expect(404);
}

#[test]
fn what_cannot_be_started_says_why() {
    let server = TestServer::start();
    let id = server.node(MAC);
    let path = format!("/api/current/nodes/{id}/workflows");
    server.send("POST", &path, &[], "").expect(400);
    let unknown = server.send("POST", &format!("{path}?name=Graph.Unknown"), &[], "").expect(404);
    assert!(unknown["message"].as_str().unwrap().contains("Graph.Unknown"));
    server
        .send("POST", "/api/current/nodes/nobody/workflows?name=Graph.Discovery", &[], "")
        .expect(404);
    server.get("/api/current/workflows/nonsense").expect(404);
    server.get(&format!("{path}?active=maybe")).expect(400);
}

#[test]
fn libraries_are_listed_extended_and_cleared() {
    let server = TestServer::start();
    let graphs = server.get("/api/current/workflows/graphs").expect(200);
    let names: Vec<_> =
        graphs.as_array().unwrap().iter().map(|g| g["injectableName"].clone()).collect();
    for name in ["Graph.BootstrapUbuntu", "Graph.Discovery", "Graph.SKU.Discovery"] {
        assert!(names.contains(&json!(name)), "{names:?}");
    }
    let own = json!({
        "friendlyName": "Own", "injectableName": "Graph.Own",
        "tasks": [{"label": "noop", "taskName": "Task.noop"}],
    });
    let stored = server.json("PUT", "/api/current/workflows/graphs", &own).expect(201);
    assert_eq!(stored, json!("Graph.Own"));
    server.json("PUT", "/api/current/workflows/graphs", &json!({"friendlyName": "x"})).expect(400);
    let one = server.get("/api/current/workflows/graphs/Graph.Own").expect(200);
    assert_eq!(one.as_array().unwrap().len(), 1);
    server.send("DELETE", "/api/current/workflows/graphs/Graph.Own", &[], "").expect(204);
    assert_eq!(server.get("/api/current/workflows/graphs/Graph.Own").expect(200), json!([]));
    server.get("/api/current/workflows/tasks/Task.noop").expect(200);
    server.get("/api/current/workflows/tasks/Task.none").expect(404);
    server.send("DELETE", "/api/current/workflows/tasks/Task.none", &[], "").expect(404);
}
