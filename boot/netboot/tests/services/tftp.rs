//! The TFTP server against curl and tftp-hpa.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use overboot_netboot::{Event, Loaders, Site, TftpConfig, TftpServer};
use overboot_testkit::{deadline, program, require};

use crate::bed::{Fleet, Serving};

const WITHIN: Duration = Duration::from_secs(60);

fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|index| index.to_le_bytes()).take(1_000_003).collect()
}

fn start() -> (Serving, SocketAddr, Arc<Fleet>) {
    let mut loaders = Loaders::default();
    loaders.insert("undionly.kpxe", content());
    loaders.insert("block.pxe", vec![7; 1024]);
    let site = Site { tftp: Ipv4Addr::LOCALHOST, http: String::new(), loaders: loaders.names() };
    let fleet = Fleet::new(site);
    let mut config = TftpConfig::new(Ipv4Addr::LOCALHOST, loaders);
    config.listen = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let server = TftpServer::bind(config).unwrap();
    let address = server.local_addr().unwrap();
    let decider = fleet.clone();
    (Serving::start(move |stop| server.run(decider, stop)), address, fleet)
}

#[test]
fn curl_reads_loaders_with_every_block_size() {
    if !require::program("curl") {
        return;
    }
    let (_serving, address, fleet) = start();
    for options in [
        &["--tftp-no-options"][..],
        &["--tftp-blksize", "512"],
        &["--tftp-blksize", "1428"],
        &["--tftp-blksize", "8192"],
    ] {
        for (file, wanted) in [("undionly.kpxe", content()), ("block.pxe", vec![7; 1024])] {
            let output = Command::new("curl")
                .args(["-sS", "--noproxy", "*", "--max-time", "60"])
                .args(options)
                .arg(format!("tftp://{address}/{file}"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{options:?}: {output:?}");
            assert!(output.stdout == wanted, "{options:?} {file}: {} bytes", output.stdout.len());
        }
    }
    deadline::eventually("eight events", WITHIN, || {
        let sent = |event: &&Event| matches!(event, Event::LoaderSent { .. });
        fleet.events().iter().filter(sent).count() == 8
    });
    assert!(fleet.events().iter().any(|event| matches!(
        event,
        Event::LoaderSent { file, bytes: 1_000_003, .. } if file == "undionly.kpxe"
    )));
}

#[test]
fn tftp_hpa_reads_loaders_and_writes_nothing() {
    if !require::program("tftp") {
        return;
    }
    let (_serving, address, _) = start();
    let folder = tempfile::tempdir().unwrap();
    let tftp = |arguments: &[&str]| {
        let mut command = Command::new("tftp");
        command.current_dir(folder.path()).args(["-m", "binary", "127.0.0.1"]);
        command.arg(address.port().to_string()).arg("-c").args(arguments);
        program::run(&mut command)
    };
    tftp(&["get", "undionly.kpxe"]);
    assert!(std::fs::read(folder.path().join("undionly.kpxe")).unwrap() == content());
    tftp(&["get", "/block.pxe", "slash"]);
    assert_eq!(std::fs::read(folder.path().join("slash")).unwrap(), vec![7; 1024]);

    std::fs::write(folder.path().join("evil"), "evil").unwrap();
    assert!(tftp(&["put", "evil"]).contains("read-only"));
    for name in ["../../etc/passwd", "/etc/passwd", "nothing"] {
        assert!(tftp(&["get", name, "got"]).contains("no such loader"), "{name}");
    }
}

#[test]
fn a_client_that_takes_too_many_transfers_waits_for_its_turn() {
    let (_serving, address, _) = start();
    let sockets: Vec<UdpSocket> = (0..5)
        .map(|_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            socket.send_to(b"\0\x01undionly.kpxe\0octet\0", address).unwrap();
            socket
        })
        .collect();
    let answered = sockets.iter().filter(|socket| socket.recv(&mut [0; 600]).is_ok()).count();
    assert_eq!(answered, 4);
}
