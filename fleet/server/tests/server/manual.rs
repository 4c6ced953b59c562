//! The two calls of RackHD's manual, word for word, by the program that it names.

use std::process::Command;

use serde_json::Value;

use crate::support::TestServer;

const MAC: &str = "52:54:00:12:34:56";

/// Runs curl; the status of the answer and its body.
fn curl(arguments: &[&str]) -> (u16, Value) {
    let output =
        Command::new("curl").args(["-s", "-w", "\n%{http_code}"]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn a_node_is_bootstrapped_and_found() {
    if !overboot_testkit::require::program("curl") {
        return;
    }
    let server = TestServer::start();
    let id = server.node(MAC);
    for (name, extra) in [
        (MAC, &[] as &[&str]),
        (id.as_str(), &["-d", "{\"options\": {\"defaults\": {\"obmServiceName\": null}}}"]),
    ] {
        let path = format!("/api/current/nodes/{name}/workflows?name=Graph.BootstrapUbuntu");
        let url = server.url(&path);
        let mut arguments = vec!["-X", "POST", "-H", "Content-Type: application/json"];
        arguments.extend_from_slice(extra);
        arguments.push(&url);
        let (status, workflow) = curl(&arguments);
        assert_eq!(status, 201, "{workflow}");
        assert_eq!(workflow["_status"], "running");
        assert_eq!(workflow["injectableName"], "Graph.BootstrapUbuntu");
        assert!(workflow["tasks"].is_object());
        assert!(!workflow.to_string().contains("\"password\":\"monorail\""), "{workflow}");
        let cancel = server.json(
            "PUT",
            &format!("/api/current/nodes/{id}/workflows/action"),
            &serde_json::json!({"command": "cancel"}),
        );
        assert_eq!(cancel.status, 202, "{}", cancel.text());
    }

    server.get(&format!("/api/current/profiles?macs={MAC}&ips=192.0.2.7"));
    let (status, lookups) = curl(&[&server.url(&format!("/api/current/lookups?q={id}"))]);
    assert_eq!(status, 200);
    assert_eq!(lookups[0]["ipAddress"], "192.0.2.7");
    assert_eq!(lookups[0]["macAddress"], MAC);
    assert_eq!(lookups[0]["node"], Value::from(id.as_str()));
}
