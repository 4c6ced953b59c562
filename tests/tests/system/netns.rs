//! A machine in a network of its own: UEFI firmware, its loader by TFTP, everything else by HTTP.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use overboot_testkit::network::{BRIDGE, Lan};
use overboot_testkit::program::{Program, run};
use overboot_testkit::vm::{self, Boot, MachineConfig, Nic, QEMU, TestMachine};
use overboot_testkit::{deadline, images, require};
use serde_json::Value;

/// Where our server is.
const OURS: &str = "10.77.0.1";
const HTTP: &str = "10.77.0.1:9090";
/// Where the site's DHCP server is, in the test that has one.
const SITES: &str = "10.77.0.2";
const MAC: &str = "52:54:00:77:00:09";
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";
/// From power-on to the end of discovery, emulated, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(900);
/// Until a server listens.
const READY: Duration = Duration::from_secs(60);

/// The stages of a boot from power-on, in their order.
const STAGES: [&str; 10] = [
    "dhcp-offer",
    "loader",
    "script",
    "init",
    "modules",
    "link",
    "dhcp",
    "set",
    "download",
    "agent",
];

#[test]
fn a_machine_boots_from_our_dhcp_server() {
    if !possible() {
        return;
    }
    let lan = Lan::new(&format!("{OURS}/24"));
    let folder = tempfile::tempdir().unwrap();
    let address = boot(&lan, folder.path(), "10.77.0.100-10.77.0.150/24");
    assert!((100..=150).contains(&address.octets()[3]), "{address}");
}

#[test]
fn a_machine_boots_from_our_proxydhcp_beside_dnsmasq() {
    if !(possible() && require::program("dnsmasq")) {
        return;
    }
    let lan = Lan::new(&format!("{OURS}/24"));
    let folder = tempfile::tempdir().unwrap();
    let (_dnsmasq, _site) = site_dhcp(&lan, folder.path());
    let address = boot(&lan, folder.path(), "proxy");
    assert!((200..=250).contains(&address.octets()[3]), "{address}");
}

fn possible() -> bool {
    require::root()
        && require::programs(&["ip", "curl", QEMU])
        && require::met(Path::new(OVMF).exists(), "needs OVMF")
}

/// Boots a machine that nobody knows until it is discovered; its address.
fn boot(lan: &Lan, folder: &Path, dhcp: &str) -> Ipv4Addr {
    let mut serve = lan.command(images::overboot().to_str().unwrap());
    serve.arg("-C").arg(images::project()).args(["serve", "--http", HTTP]);
    serve.args(["--interface", BRIDGE, "--dhcp", dhcp, "--state"]).arg(folder.join("state"));
    let mut server = Program::start(&mut serve);
    server.wait_for("The web page and the API", READY);

    let mut config = MachineConfig::new(Boot::Network);
    config.memory_mib = 1536;
    config.nics.push(Nic { mac: MAC.into(), network: vm::Network::Tap { interface: lan.tap() } });
    // Without the card's own ROM, which is an iPXE already: OVMF's PXE is like any board's.
    let no_rom = "driver=virtio-net-pci,property=romfile,value=";
    config.extra.extend(["-bios", OVMF, "-global", no_rom].map(Into::into));
    let started = Instant::now();
    let _machine = lan.within(|| TestMachine::start(&config));

    let node = deadline::get("the machine is a node", WITHIN, || {
        get(lan, &format!("current/lookups?q={MAC}"))[0]["node"].as_str().map(str::to_owned)
    });
    deadline::eventually("the node is discovered", WITHIN, || {
        let workflows = get(lan, &format!("current/nodes/{node}/workflows"));
        let all: Vec<&str> = workflows
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|workflow| workflow["_status"].as_str())
            .collect();
        assert!(!all.iter().any(|status| ["failed", "timeout"].contains(status)), "{workflows:#}");
        !all.is_empty() && all.iter().all(|status| *status == "succeeded")
    });
    eprintln!("discovered {:.0} s after power-on", started.elapsed().as_secs_f64());

    let catalogs = get(lan, &format!("current/nodes/{node}/catalogs"));
    let sources: Vec<&str> = catalogs
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|catalog| catalog["source"].as_str())
        .collect();
    for source in ["dmi", "lshw", "lspci", "ip"] {
        assert!(sources.contains(&source), "no {source} among {sources:?}");
    }

    // The first boot, from the firmware's first question on.
    let boots = get(lan, &format!("overboot/v1/nodes/{node}/timeline"));
    let first = boots.as_array().unwrap().last().unwrap();
    let seen: Vec<&str> = first["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["stage"].as_str())
        .collect();
    let mut rest = seen.iter();
    for stage in STAGES {
        assert!(rest.any(|seen| *seen == stage), "{stage} is missing, or late, in {boots:#}");
    }
    let lookups = get(lan, &format!("current/lookups?q={MAC}"));
    lookups[0]["ipAddress"].as_str().unwrap().parse().unwrap()
}

/// What the API says.
fn get(lan: &Lan, path: &str) -> Value {
    let mut curl = lan.command("curl");
    curl.args(["-sS", "--fail", "--noproxy", "*"]).arg(format!("http://{HTTP}/api/{path}"));
    serde_json::from_str(&run(&mut curl)).unwrap()
}

/// The DHCP server of a site that knows nothing of booting, on a machine of its own: the second value.
fn site_dhcp(lan: &Lan, folder: &Path) -> (Program, Lan) {
    let site = Lan::new("192.0.2.1/24");
    let end = lan.veth();
    lan.ip(&["link", "set", &end, "netns", site.namespace()]);
    site.ip(&["link", "set", &end, "name", "eth0"]);
    site.ip(&["link", "set", "eth0", "up"]);
    site.ip(&["addr", "add", &format!("{SITES}/24"), "dev", "eth0"]);
    let mut command: Command = site.command("dnsmasq");
    command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root"]);
    command.args(["--interface=eth0", "--bind-interfaces", "--log-dhcp"]);
    command.arg("--dhcp-range=10.77.0.200,10.77.0.250,255.255.255.0,10m");
    command.arg(format!("--dhcp-leasefile={}", folder.join("dnsmasq.leases").display()));
    let mut dnsmasq = Program::start(&mut command);
    dnsmasq.wait_for("sockets bound exclusively to interface eth0", READY);
    (dnsmasq, site)
}
