//! `/nodes`, `/lookups`, `/obms`, `/catalogs`.

use serde_json::json;

use crate::support::TestServer;

const MAC: &str = "52:54:00:12:34:56";

#[test]
fn a_node_is_made_found_by_any_identifier_changed_and_deleted() {
    let server = TestServer::start();
    let id = server.node("52-54-00-12-34-56");
    for alias in ["2.0", "current", "common"] {
        for name in [id.as_str(), MAC, "52:54:00:12:34:56"] {
            let node = server.get(&format!("/api/{alias}/nodes/{name}")).expect(200);
            assert_eq!(node["id"], id.as_str());
            assert_eq!(node["obms"][0]["service"], "noop-obm-service");
            assert_eq!(node["workflows"], format!("/api/2.0/nodes/{id}/workflows"));
        }
    }
    let patch = json!({"name": "other", "anything": {"a": 1}, "id": "x"});
    let changed = server.json("PATCH", &format!("/api/current/nodes/{MAC}"), &patch).expect(200);
    assert_eq!(
        (changed["name"].as_str(), changed["id"].as_str()),
        (Some("other"), Some(id.as_str()))
    );
    assert_eq!(changed["anything"]["a"], 1);
    let tags = format!("/api/current/nodes/{id}/tags");
    server.json("PATCH", &tags, &json!({"tags": ["a", "b"]})).expect(200);
    server.send("DELETE", &format!("{tags}/a"), &[], "").expect(204);
    assert_eq!(server.get(&tags).expect(200), json!(["b"]));
    server.send("DELETE", &format!("/api/current/nodes/{id}"), &[], "").expect(204);
    let gone = server.get(&format!("/api/current/nodes/{id}")).expect(404);
    assert_eq!(gone["message"], format!("Node not Found {id}"));
    assert_eq!(gone["status"], "404");
    assert!(gone["UUID"].is_string());
}

#[test]
fn a_node_that_makes_no_sense_is_refused() {
    let server = TestServer::start();
    server.node(MAC);
    for body in [
        json!({"name": "n"}),
        json!({"name": "n", "type": "spaceship"}),
        json!({"name": "n", "type": "compute", "unknown": 1}),
        json!({"name": "n", "type": "compute", "identifiers": [MAC]}),
        json!({"name": "n", "type": "compute", "obms": [{"service": "x", "config": {}}]}),
    ] {
        server.json("POST", "/api/current/nodes", &body).expect(400);
    }
    let form = server.send(
        "POST",
        "/api/current/nodes",
        &[("content-type", "application/x-www-form-urlencoded")],
        "name=n",
    );
    assert_eq!(form.status, 415);
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    let server = TestServer::start();
    for (name, kind) in [("b", "compute"), ("a", "switch"), ("c", "compute")] {
        server.json("POST", "/api/current/nodes", &json!({"name": name, "type": kind})).expect(201);
    }
    let names = |path: &str| -> Vec<String> {
        let list = server.get(path).expect(200);
        list.as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("/api/current/nodes?sort=name"), ["a", "b", "c"]);
    assert_eq!(names("/api/current/nodes?type=COMP%25&sort=-name"), ["c", "b"]);
    let page = server.get("/api/current/nodes?sort=name&$skip=1&$top=1");
    assert!(page.headers["link"].to_str().unwrap().contains("rel=\"next\""));
    assert_eq!(page.json()[0]["name"], "b");
}

#[test]
fn lookups_are_kept_by_mac_address() {
    let server = TestServer::start();
    let new = json!({"macAddress": "52:54:00:AB:CD:EF", "ipAddress": "192.0.2.9", "node": "n"});
    let lookup = server.json("POST", "/api/current/lookups", &new).expect(201);
    assert_eq!(lookup["macAddress"], "52:54:00:ab:cd:ef");
    server.json("POST", "/api/current/lookups", &new).expect(400);
    server.json("POST", "/api/current/lookups", &json!({"macAddress": "nonsense"})).expect(400);
    server
        .json("POST", "/api/current/lookups", &json!({"macAddress": "52:54:00:ab:cd:ee", "x": 1}))
        .expect(400);
    for term in ["52:54:00:AB:CD:EF", "192.0.2.9", ""] {
        let found = server.get(&format!("/api/current/lookups?q={term}")).expect(200);
        assert_eq!(found.as_array().unwrap().len(), 1, "{term}");
    }
    let path = format!("/api/current/lookups/{}", lookup["id"].as_str().unwrap());
    let changed = server.json("PATCH", &path, &json!({"ipAddress": "192.0.2.10"})).expect(200);
    assert_eq!(changed["ipAddress"], "192.0.2.10");
    server.send("DELETE", &path, &[], "").expect(204);
    server.get(&path).expect(404);
    assert_eq!(server.get("/api/current/lookups?q=192.0.2.10").expect(200), json!([]));
}

#[test]
fn obms_hide_their_secrets_and_are_one_per_service() {
    let server = TestServer::start();
    let id = server.node(MAC);
    let qemu = |socket: &str| json!({"nodeId": MAC, "service": "qemu-obm-service", "config": {"qmp": socket}});
    let first = server.json("PUT", "/api/current/obms", &qemu("/run/a.sock")).expect(201);
    let path = format!("/api/current/nodes/{id}/obm");
    let second = server.json("PUT", &path, &qemu("/run/b.sock")).expect(201);
    assert_eq!(first["id"], second["id"]);
    assert_eq!(second["config"]["qmp"], "/run/b.sock");
    assert_eq!(server.get(&path).expect(200).as_array().unwrap().len(), 2);
    server.json("PUT", "/api/current/obms", &qemu("relative.sock")).expect(400);
    server
        .json("PUT", "/api/current/obms", &json!({"nodeId": MAC, "service": "ilo", "config": {}}))
        .expect(400);
    for definition in server.get("/api/current/obms/definitions").expect(200).as_array().unwrap() {
        server.get(definition.as_str().unwrap()).expect(200);
    }
    let obm = format!("/api/current/obms/{}", first["id"].as_str().unwrap());
    server.json("PATCH", &obm, &json!({"config": {"qmp": "/run/c.sock"}})).expect(200);
    server.send("DELETE", &obm, &[], "").expect(204);
    server.get(&obm).expect(404);
}

#[test]
fn a_page_from_elsewhere_cannot_change_anything() {
    let server = TestServer::start();
    let id = server.node(MAC);
    let path = format!("/api/current/nodes/{id}/workflows?name=Graph.BootstrapUbuntu");
    let foreign = server.send("POST", &path, &[("sec-fetch-site", "cross-site")], "");
    assert_eq!(foreign.status, 403);
    assert_eq!(server.get(&format!("/api/current/nodes/{id}/workflows")).expect(200), json!([]));
}
