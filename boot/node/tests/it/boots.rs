//! Boots that succeed.

use std::net::UdpSocket;

use overboot_wire::{Stage, Task, TaskDoc, path};

use crate::material::{MAC, material};
use crate::server::{ID, PATIENCE, Server};

fn doc(commands: &[&str]) -> TaskDoc {
    let tasks = commands.iter().map(|cmd| Task { cmd: (*cmd).to_owned(), ..Task::default() });
    TaskDoc { identifier: ID.to_owned(), tasks: tasks.collect(), ..TaskDoc::default() }
}

/// What the root looks like from inside; the overlays decide.
const LOOK: &str = "cat /etc/from /etc/overlay-*; ls /etc/gone-one /etc/gone-two; cat /etc/hooked; wc -c < /opt/noise";

/// Reads log lines up to the one that begins like this.
fn hears(syslog: &UdpSocket, beginning: &str) {
    let mut buffer = [0; 2000];
    loop {
        let length = syslog.recv(&mut buffer).expect(beginning);
        if buffer[..length].starts_with(beginning.as_bytes()) {
            return;
        }
    }
}

#[test]
fn a_signed_set_boots_and_its_node_works_at_most_once_per_command() {
    let Some(material) = material() else { return };
    let server = Server::start(true);
    let set = material.set();
    let bytes = set.to_bytes().unwrap();
    server.file(&path::set("test"), bytes.clone());
    server.file(&format!("{}.minisig", path::set("test")), material.sign(&bytes));
    let blobs = [&material.base, &material.overlay_image, &material.overlay_archive];
    for (layer, content) in set.layers().zip(blobs) {
        server.file(&path::blob(&layer.digest.hex()), content.clone());
    }
    let base = path::blob(&set.base.digest.hex());
    server.breaks(&base, 5_000_000);

    let port = server.port;
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    syslog.set_read_timeout(Some(PATIENCE)).unwrap();
    let machine = material.start(&format!(
        "SYSLOGSERVER=10.0.2.2:{} API_CB=10.0.2.2:{port} overboot.set=http://10.0.2.2:{port}/boot/sets/test.json",
        syslog.local_addr().unwrap().port()
    ));
    machine.console().wait_for("agent: node", PATIENCE).unwrap();
    // What init said before it had a network, what it said after, what the agent says.
    for beginning in ["modules: ", "set: test verified", "root: ", "agent: node"] {
        hears(&syslog, &format!("<29>overboot-525400123456 overboot: {beginning}"));
    }
    let first = TaskDoc { command_id: Some("c1".into()), ..doc(&[LOOK, "exit 3", "echo never"]) };
    let done = server.work(first.clone());
    assert_eq!(
        done.tasks[0].stdout.as_deref(),
        Some("overlay-two\nhere\nhere\nhooked\n6291456\n"),
        "{done:?}"
    );
    assert!(done.tasks[1].failed() && done.tasks[2].stdout.is_none());
    let stages = server.work(doc(&["cat /run/overboot/timeline.json"]));
    let timeline: Vec<overboot_wire::StageReport> =
        serde_json::from_str(stages.tasks[0].stdout.as_deref().unwrap()).unwrap();
    eprintln!("milliseconds since the kernel started:");
    timeline.iter().for_each(|r| {
        eprintln!("{:8} {:>6} {}", r.stage, r.at_ms, r.detail.as_deref().unwrap_or(""))
    });

    assert_eq!(server.work(first), done, "the same command id: kept results, nothing run");

    let requests = server.asked();
    assert!(requests.iter().any(|r| *r == format!("GET {base} from=4194304")), "{requests:#?}");
    let reports = server.reports();
    let reached: Vec<Stage> = reports.iter().map(|r| r.stage).collect();
    assert_eq!(reached, Stage::ALL[3..], "{reports:#?}");
    assert!(reports.is_sorted_by_key(|r| r.at_ms) && reports.iter().all(|r| r.mac == MAC));
    assert!(reports.iter().all(|r| r.error.is_none() && r.boot_id == reports[0].boot_id));
    assert_eq!(reports.iter().find_map(|r| r.bytes), Some(set.layer_bytes()));

    server.work(TaskDoc { exit: Some(1), ..doc(&[""]) });
    assert!(machine.wait(PATIENCE).is_some(), "exit 1 reboots");
}

#[test]
fn a_rackhd_server_boots_it_too() {
    let Some(material) = material() else { return };
    let server = Server::start(false);
    server.file("/common/base.squashfs.img", material.base.clone());
    server.file("/common/discovery.overlay.cpio.gz", material.overlay_archive.clone());
    let files = format!("http://10.0.2.2:{}/common", server.port);
    let machine = material.start(&format!(
        "API_CB=10.0.2.2:{} BASEFS={files}/base.squashfs.img OVERLAYFS={files}/discovery.overlay.cpio.gz",
        server.port
    ));
    let done = server.work(doc(&["cat /etc/from; ls /etc/gone-one; ls /etc/gone-two"]));
    assert_eq!(done.tasks[0].stdout.as_deref(), Some("overlay-two\n/etc/gone-one\n"), "{done:?}");
    server.work(TaskDoc { exit: Some(2), ..doc(&[""]) });
    machine.console().wait_for("ipmitool -I open chassis power cycle", PATIENCE).unwrap();
    assert!(machine.wait(PATIENCE).is_some(), "and reboots where there is no BMC to do it");
}

#[test]
fn an_agent_that_is_told_to_stay_asks_no_more() {
    let Some(material) = material() else { return };
    let server = Server::start(false);
    server.file("/base", material.base.clone());
    // The other form of BOOTIF, as dnsmasq and people write it.
    let machine = material.start(&format!(
        "BOOTIF={MAC} API_CB=10.0.2.2:{port} BASEFS=http://10.0.2.2:{port}/base",
        port = server.port
    ));
    let done = server.work(TaskDoc { exit: Some(127), ..doc(&["cat /etc/hooked; exit 1", ""]) });
    assert!(done.tasks[0].failed() && done.tasks[1].stdout.is_none(), "{done:?}");
    machine.console().wait_for("the server said to stay", PATIENCE).unwrap();
    let asked = server.asked();
    assert!(asked.last().is_some_and(|last| last.starts_with("POST ")), "{asked:?}");
    let identity = format!("GET {}?macAddress={MAC}", path::BOOTSTRAP);
    assert!(asked.iter().any(|path| path.starts_with(&identity)), "the card of BOOTIF: {asked:?}");
}
