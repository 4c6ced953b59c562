//! The two calls of RackHD's manual, word for word, on a machine that `overboot try` has booted: a login is opened, and closed
//! when another workflow takes the node; a command runs through the API.

use std::time::{Duration, Instant};

use overboot_testkit::vm::QEMU;
use overboot_testkit::{deadline, images, require};

use crate::machine::{Machine, WITHIN};

#[test]
fn a_node_is_opened_by_bootstrap_ubuntu_and_closed_by_the_next_workflow() {
    if !require::programs(&["curl", "sshpass", "ssh", QEMU]) {
        return;
    }
    let machine = Machine::start(images::project(), &["discovery"]);
    assert_eq!(machine.ssh("monorail", "true"), None, "discovery opens no login");

    // The first call.
    let bootstrap = machine.run_graph("Graph.BootstrapUbuntu", &[]);
    machine.wait_for(&bootstrap);
    // The second.
    let lookups = machine.curl(&format!("lookups?q={}", machine.mac), &[]);
    assert_eq!(lookups[0]["ipAddress"], "10.0.2.15", "{lookups:#}");
    let said = deadline::get("the login is open", WITHIN, || {
        machine.ssh("monorail", "id -un; sudo id -un")
    });
    assert_eq!(said, "monorail\nroot\n");
    assert_eq!(machine.ssh("password", "true"), None, "any other password is refused");

    // Another workflow takes the node: it is refused at once, and while a command runs through the API.
    let body = r#"{"options": {"shell-commands": {"commands":
        [{"command": "echo from the node: $(id -un)", "catalog": {"source": "said", "format": "raw"}}]}}}"#;
    let shell = machine.run_graph("Graph.ShellCommands", &["-d", body]);
    let taken = Instant::now();
    while machine.ssh("monorail", "true").is_some() {
        assert!(taken.elapsed() < Duration::from_secs(20), "the login is still open");
    }
    machine.wait_for(&shell);
    assert_eq!(machine.ssh("monorail", "true"), None, "another workflow's boot opens no login");
    let node = lookups[0]["node"].as_str().unwrap();
    let said = machine.curl(&format!("nodes/{node}/catalogs/said"), &[]);
    assert_eq!(
        said["data"]["data"].as_str().map(str::trim),
        Some("from the node: root"),
        "{said:#}"
    );
}
