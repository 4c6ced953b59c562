//! A machine in a network of its own: UEFI firmware, its loader by TFTP, everything else by HTTP; and one that gets firmware
//! for a card.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use overboot_testkit::network::{BRIDGE, Lan};
use overboot_testkit::program::{Program, run};
use overboot_testkit::vm::{self, Boot, MachineConfig, Nic, QEMU, TestMachine};
use overboot_testkit::{deadline, images, require};
use serde_json::{Value, json};

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
    let range = "10.77.0.100-10.77.0.150/24";
    let booted = boot(&lan, folder.path(), range, &uefi(&lan), &STAGES);
    assert!((100..=150).contains(&booted.address.octets()[3]), "{}", booted.address);
    // Its card needs no firmware, and its loader has told which one it is.
    assert!(booted.script.starts_with("boot discovery: "), "{}", booted.script);
}

#[test]
fn where_no_card_is_known_a_second_initrd_brings_firmware_and_the_root_keeps_it() {
    if !possible() {
        return;
    }
    let lan = Lan::new(&format!("{OURS}/24"));
    let folder = tempfile::tempdir().unwrap();
    // What iPXE is given by somebody else's server, and tells of no card, as RackHD's own script does.
    let script = format!(
        "#!ipxe\nchain http://{HTTP}/api/current/profiles?macs=${{net0/mac:hex}}&ips=${{net0/ip}}\n"
    );
    std::fs::write(folder.path().join("boot.ipxe"), script).unwrap();
    let mut config = MachineConfig::new(Boot::Network);
    config.memory_mib = 1536;
    let tftp = format!("user,id=boot,bootfile=boot.ipxe,tftp={}", folder.path().display());
    let card = format!("virtio-net-pci,netdev=boot,id=net0,mac={MAC},bootindex=0");
    // A second card, which cannot be switched on without firmware.
    let needing = "i82551,netdev=needing,mac=52:54:00:77:00:0a,romfile=";
    let cards =
        ["-netdev", &tftp, "-device", &card, "-netdev", "user,id=needing", "-device", needing];
    config.extra.extend(cards.map(Into::into));
    let booted = boot(&lan, folder.path(), "off", &config, &STAGES[2..]);
    assert!(booted.script.starts_with("boot discovery with 2 initrds: "), "{}", booted.script);

    let node = &booted.node;
    let tell = |method: &str, path: &str, body: Value| {
        let header = "Content-Type: application/json";
        get(&lan, path, &["-X", method, "-H", header, "-d", &body.to_string()])
    };
    let qmp = json!({"qmp": booted.machine.power_socket()});
    let obm = json!({"nodeId": node, "service": "qemu-obm-service", "config": qmp});
    tell("PUT", "current/obms", obm);
    let look = "test ! -e /usr/lib/firmware/e100 || exit 1; ls /run/overboot/firmware/e100; \
                for i in /sys/class/net/*; do case $(readlink $i/device/driver) in \
                */e100) ip link set ${i##*/} up && echo it is on;; esac; done";
    let catalog = json!({"source": "said", "format": "raw"});
    let commands = json!([{"command": look, "catalog": catalog}]);
    let options = json!({"options": {"shell-commands": {"commands": commands}}});
    tell("POST", &format!("current/nodes/{node}/workflows?name=Graph.ShellCommands"), options);
    succeeded(&lan, node);
    let said = get(&lan, &format!("current/nodes/{node}/catalogs/said"), &[]);
    let expected = "d101m_ucode.bin\nd101s_ucode.bin\nd102e_ucode.bin\nit is on";
    assert_eq!(said["data"]["data"].as_str().map(str::trim), Some(expected), "{said:#}");
}

#[test]
fn a_machine_boots_from_our_proxydhcp_beside_dnsmasq() {
    if !(possible() && require::program("dnsmasq")) {
        return;
    }
    let lan = Lan::new(&format!("{OURS}/24"));
    let folder = tempfile::tempdir().unwrap();
    let (_dnsmasq, _site) = site_dhcp(&lan, folder.path());
    let booted = boot(&lan, folder.path(), "proxy", &uefi(&lan), &STAGES);
    assert!((200..=250).contains(&booted.address.octets()[3]), "{}", booted.address);
}

fn possible() -> bool {
    require::root()
        && require::programs(&["ip", "curl", QEMU])
        && require::met(Path::new(OVMF).exists(), "needs OVMF")
}

/// A machine with UEFI firmware, whose PXE is like any board's: without the card's own ROM, which is an iPXE already.
fn uefi(lan: &Lan) -> MachineConfig {
    let mut config = MachineConfig::new(Boot::Network);
    config.memory_mib = 1536;
    config.nics.push(Nic { mac: MAC.into(), network: vm::Network::Tap { interface: lan.tap() } });
    let no_rom = "driver=virtio-net-pci,property=romfile,value=";
    config.extra.extend(["-bios", OVMF, "-global", no_rom].map(Into::into));
    config
}

/// A machine that was discovered, while it is up.
struct Booted {
    _server: Program,
    machine: TestMachine,
    node: String,
    address: Ipv4Addr,
    /// What its first script was for.
    script: String,
}

/// Boots a machine that nobody knows until it is discovered, which must be seen to pass these stages.
fn boot(lan: &Lan, folder: &Path, dhcp: &str, config: &MachineConfig, stages: &[&str]) -> Booted {
    let mut serve = lan.command(images::overboot().to_str().unwrap());
    serve.arg("-C").arg(images::project()).args(["serve", "--http", HTTP]);
    serve.args(["--interface", BRIDGE, "--dhcp", dhcp, "--state"]).arg(folder.join("state"));
    let mut server = Program::start(&mut serve);
    server.wait_for("The web page and the API", READY);

    let started = Instant::now();
    let machine = lan.within(|| TestMachine::start(config));

    let node = deadline::get("the machine is a node", WITHIN, || {
        get(lan, &format!("current/lookups?q={MAC}"), &[])[0]["node"].as_str().map(str::to_owned)
    });
    succeeded(lan, &node);
    eprintln!("discovered {:.0} s after power-on", started.elapsed().as_secs_f64());

    let catalogs = get(lan, &format!("current/nodes/{node}/catalogs"), &[]);
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
    let boots = get(lan, &format!("overboot/v1/nodes/{node}/timeline"), &[]);
    let first = boots.as_array().unwrap().last().unwrap();
    let events = first["timeline"].as_array().unwrap();
    let seen: Vec<&str> = events.iter().filter_map(|event| event["stage"].as_str()).collect();
    let mut rest = seen.iter();
    for stage in stages {
        assert!(rest.any(|seen| seen == stage), "{stage} is missing, or late, in {boots:#}");
    }
    let script = events.iter().find(|event| event["stage"] == "script").unwrap();
    let script = script["detail"].as_str().unwrap().to_owned();
    let lookups = get(lan, &format!("current/lookups?q={MAC}"), &[]);
    let address = lookups[0]["ipAddress"].as_str().unwrap().parse().unwrap();
    Booted { _server: server, machine, node, address, script }
}

/// Waits until all of a node's workflows have succeeded, and that there are some.
fn succeeded(lan: &Lan, node: &str) {
    deadline::eventually("the node's workflows have succeeded", WITHIN, || {
        let workflows = get(lan, &format!("current/nodes/{node}/workflows"), &[]);
        let all: Vec<&str> = workflows
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|workflow| workflow["_status"].as_str())
            .collect();
        assert!(!all.iter().any(|status| ["failed", "timeout"].contains(status)), "{workflows:#}");
        !all.is_empty() && all.iter().all(|status| *status == "succeeded")
    });
}

/// What the API says.
fn get(lan: &Lan, path: &str, arguments: &[&str]) -> Value {
    let mut curl = lan.command("curl");
    curl.args(["-sS", "--fail", "--noproxy", "*"])
        .args(arguments)
        .arg(format!("http://{HTTP}/api/{path}"));
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
