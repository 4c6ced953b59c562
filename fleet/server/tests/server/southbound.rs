//! What a machine sees from its boot loader to its agent.

use std::time::Duration;

use overboot_store::{ArtifactManifest, Layer, Store};
use overboot_testkit::deadline;
use serde_json::{Value, json};

use crate::support::TestServer;

const MAC: &str = "52:54:00:12:34:56";
/// For what a workflow does by itself.
const WITHIN: Duration = Duration::from_secs(60);

fn tasks(server: &TestServer, id: &str) -> Value {
    let path = format!("/api/current/tasks/{id}?wait=20&login=0&boot=b1");
    server.get(&path).expect(200)
}

/// Runs what is handed out until the workflow has nothing more; the commands that were seen.
fn work(server: &TestServer, id: &str, rounds: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..rounds {
        let mut document = tasks(server, id);
        for task in document["tasks"].as_array_mut().unwrap() {
            seen.push(task["cmd"].as_str().unwrap().to_owned());
            task["stdout"] = json!("");
            task["error"] = Value::Null;
        }
        server.json("POST", &format!("/api/current/tasks/{id}"), &document).expect(201);
    }
    seen
}

#[test]
fn an_unknown_machine_is_redirected_made_a_node_and_discovered() {
    let server = TestServer::start();
    let redirect = server.get("/api/current/profiles");
    assert_eq!(redirect.status, 200);
    assert!(
        redirect.text().starts_with("#!ipxe") && redirect.text().contains("/api/current/profiles?")
    );

    let profile =
        format!("/api/current/profiles?macs={MAC}&ips=10.0.2.15&macs=52:54:00:12:34:57&ips=");
    let script = server.get(&profile).text();
    assert!(script.contains("/boot/blobs/sha256/"), "{script}");
    assert!(script.contains(&format!("BOOTIF=01-{MAC}")), "{script}");
    assert!(script.contains("/boot/sets/discovery.json?manifest="), "{script}");

    let nodes = server.get("/api/current/nodes").expect(200);
    assert_eq!(nodes.as_array().unwrap().len(), 1);
    let id = nodes[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(nodes[0]["name"], format!("{MAC},52:54:00:12:34:57"));
    let lookups = server.get(&format!("/api/current/lookups?q={MAC}")).expect(200);
    assert_eq!(lookups[0]["ipAddress"], "10.0.2.15");

    // Asking again starts nothing more.
    server.get(&profile);
    let active = server.get(&format!("/api/current/nodes/{id}/workflows?active=true")).expect(200);
    assert_eq!(active.as_array().unwrap().len(), 1, "{active}");
    assert_eq!(active[0]["injectableName"], "Graph.Discovery");

    for (stage, at) in [("kernel", 0), ("init", 900), ("dhcp", 1500), ("agent", 5000)] {
        let report = json!({"mac": MAC, "stage": stage, "atMs": at, "bootId": "b1", "detail": "10.0.2.15/24"});
        server.json("POST", "/api/overboot/v1/boot", &report).expect(204);
    }
    let timeline = server.get(&format!("/api/overboot/v1/nodes/{id}/timeline")).expect(200);
    let stages: Vec<_> = timeline[0]["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["stage"].clone())
        .collect();
    assert!(
        stages.ends_with(&[json!("kernel"), json!("init"), json!("dhcp"), json!("agent")]),
        "{timeline}"
    );
    assert_eq!(stages[0], "script");

    let bootstrap = server.send(
        "GET",
        &format!("/api/current/tasks/bootstrap.js?macAddress={MAC}&boot=b1"),
        &[("accept", "application/json")],
        "",
    );
    assert_eq!(bootstrap.expect(200), json!({"identifier": id, "native": true}));
    let commands = work(&server, &id, 6);
    assert!(commands.iter().any(|command| command.contains("dmidecode")), "{commands:?}");

    let fleet = server.get("/api/overboot/v1/fleet").expect(200);
    assert_eq!(fleet[0]["id"], id.as_str());
    let addresses = fleet[0]["addresses"].as_array().unwrap();
    assert!(addresses.iter().any(|address| address["ipAddress"] == "10.0.2.15"), "{fleet}");
    assert!(fleet[0]["workflow"]["injectableName"].is_string(), "{fleet}");
    assert!(fleet[0]["boot"]["timeline"].is_array(), "{fleet}");
}

#[test]
fn a_rackhd_node_gets_its_program_and_a_404_when_there_is_nothing() {
    let server = TestServer::start();
    let id = server.node(MAC);
    let unknown = server.get("/api/current/tasks/bootstrap.js?macAddress=52:54:00:00:00:99");
    assert_eq!(unknown.status, 404);
    let program = server.get(&format!("/api/current/tasks/bootstrap.js?macAddress={MAC}"));
    assert!(program.text().contains(&format!("var identifier = '{id}';")));
    assert!(!program.text().contains('@'));
    assert_eq!(server.get(&format!("/api/current/tasks/{id}")).status, 404);
    let late = json!({"identifier": id, "tasks": [{"cmd": "true", "stdout": "", "error": null}]});
    server.json("POST", &format!("/api/current/tasks/{id}"), &late).expect(201);
}

#[test]
fn a_boot_that_cannot_be_says_why_to_the_machine_and_to_people() {
    let server = TestServer::start();
    let id = server.node(MAC);
    let workflow =
        json!({"name": "Graph.BootstrapUbuntu", "options": {"defaults": {"bootSet": "gone"}}});
    server.json("POST", &format!("/api/current/nodes/{id}/workflows"), &workflow).expect(201);
    let profile = format!("/api/current/profiles?macs={MAC}&ips=10.0.2.15");
    let sentence = "there is no boot set \"gone\" here";
    let script = deadline::get("the workflow has come to its boot", WITHIN, || {
        let script = server.get(&profile).text();
        script.contains("cannot boot").then_some(script)
    });
    assert!(
        script.contains("Graph.BootstrapUbuntu cannot boot it: there is no boot set"),
        "{script}"
    );
    server.get(&profile);
    let failure = || server.get("/api/overboot/v1/fleet").expect(200)[0]["bootFailure"].clone();
    let said = failure();
    assert_eq!(said["stage"], "script");
    assert!(said["reason"].as_str().unwrap().contains(sentence), "{said}");
    let timeline = server.get(&format!("/api/overboot/v1/nodes/{id}/timeline")).expect(200);
    assert_eq!(
        timeline[0]["timeline"].as_array().unwrap().len(),
        1,
        "asked twice, said once: {timeline}"
    );

    // A node's own words count too, and stay while it tries again, until it comes up.
    let report = |stage: &str, boot: &str, error: Value| {
        let report = json!({"mac": MAC, "stage": stage, "atMs": 5, "bootId": boot, "error": error});
        server.json("POST", "/api/overboot/v1/boot", &report).expect(204);
    };
    report("set", "b1", json!("the boot set is not trusted"));
    report("init", "b2", Value::Null);
    assert_eq!(failure()["reason"], "the boot set is not trusted");
    assert_eq!(failure()["stage"], "set");
    report("agent", "b2", Value::Null);
    assert_eq!(failure(), Value::Null);
}

#[test]
fn a_workflow_chooses_a_set_by_its_overlay_whatever_else_is_broken() {
    let server = TestServer::with(|config| {
        config.boot_set = "rescue".to_owned();
        // Somebody else's image, whose manifest got lost.
        let store = Store::open(&config.store).unwrap();
        let blob = Layer::new("application/x", store.put_bytes(b"x").unwrap());
        let lost = store.publish("base/lost", &ArtifactManifest::new("x/y", blob)).unwrap();
        std::fs::remove_file(store.blob_path(&lost.descriptor.digest)).unwrap();
    });
    let id = server.node(MAC);
    let options = json!({"defaults": {"overlayfsFile": "discovery.overlay.squashfs"}});
    let workflow = json!({"name": "Graph.BootstrapUbuntu", "options": options});
    server.json("POST", &format!("/api/current/nodes/{id}/workflows"), &workflow).expect(201);
    let profile = format!("/api/current/profiles?macs={MAC}&ips=10.0.2.15");
    let script = deadline::get("the workflow has come to its boot", WITHIN, || {
        let script = server.get(&profile).text();
        (script.contains("/boot/sets/") || script.contains("cannot boot")).then_some(script)
    });
    assert!(script.contains("/boot/sets/discovery.json?manifest="), "{script}");
}

#[test]
fn what_a_command_writes_is_seen_before_it_ends() {
    let server = TestServer::start();
    let id = server.node(MAC);
    let report = |id: &str| {
        let body =
            json!({"identifier": id, "cmd": "dd", "bytes": 7, "tail": "50 %\n".repeat(9999)});
        server.json("POST", "/api/overboot/v1/output", &body).status
    };
    let output = || server.get("/api/overboot/v1/fleet").expect(200)[0]["output"].clone();
    assert_eq!((output(), report(&id)), (Value::Null, 204));
    assert_eq!(output()["cmd"], "dd");
    assert_eq!(output()["tail"].as_str().unwrap().len(), 4000, "bounded");
    let results = json!({"identifier": id, "tasks": [{"cmd": "dd", "stdout": "", "error": null}]});
    server.json("POST", &format!("/api/current/tasks/{id}"), &results).expect(201);
    assert_eq!(output(), Value::Null);
    assert_eq!(report("5acf8d6d8a0f0e0100000009"), 404);
}

#[test]
fn ipxe_finds_its_own_script_beside_itself() {
    let server = TestServer::start();
    let script = server.get("/boot/loaders/autoexec.ipxe").text();
    let chain = format!("chain --autofree {}", server.url("/api/current/profiles"));
    assert!(script.starts_with("#!ipxe\n") && script.contains(&chain), "{script}");
}

#[test]
fn a_machine_that_is_excluded_stays_as_it_is() {
    let server = TestServer::with(|config| config.excluded = vec![MAC.parse().unwrap()]);
    let script = server.get(&format!("/api/current/profiles?macs={MAC}&ips=10.0.2.15")).text();
    assert!(script.contains("excludes it"), "{script}");
    assert_eq!(server.get("/api/current/nodes").expect(200), json!([]));
}

#[test]
fn nonsense_is_refused() {
    let server = TestServer::start();
    assert_eq!(server.get("/api/current/profiles?macs=nonsense").status, 400);
    assert_eq!(server.get("/api/current/tasks/bootstrap.js?macAddress=nonsense").status, 400);
    assert_eq!(server.get("/api/current/tasks/nobody").status, 404);
    for body in [
        json!({}),
        json!({"mac": "x", "stage": "init", "atMs": 1}),
        json!({"mac": MAC, "stage": "x", "atMs": 1}),
    ] {
        let status = server.json("POST", "/api/overboot/v1/boot", &body).status;
        assert_eq!(status, 400, "{body}");
    }
}
