//! A boot network: our services on one machine, clients on others, all in network namespaces.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use overboot_netboot::dhcp::{DhcpConfig, DhcpServer, Network, ProxyConfig, ProxyDhcp};
use overboot_netboot::{Loaders, Site, TftpConfig, TftpServer};
use overboot_testkit::network::{BRIDGE, Lan};
use overboot_testkit::program::{Program, run};
use overboot_testkit::require;

use crate::bed::{Fleet, Serving};

/// Where our services are.
pub const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Where the site's DHCP server is, in tests that have one.
pub const SITES: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The port of our HTTP server.
pub const HTTP: u16 = 9090;

/// Whether this machine can run such a test.
pub fn possible() -> bool {
    require::root() && require::program("ip")
}

pub fn lan() -> Lan {
    Lan::new(&format!("{OURS}/24"))
}

/// A machine on the LAN: a namespace with one interface, `eth0`, up and without an address.
pub fn machine(lan: &Lan) -> Lan {
    let machine = Lan::new("192.0.2.1/24");
    // It has no business with a bridge, and two machines with one address would take each other for themselves.
    machine.ip(&["link", "delete", BRIDGE]);
    let end = lan.veth();
    lan.ip(&["link", "set", &end, "netns", machine.namespace()]);
    machine.ip(&["link", "set", &end, "name", "eth0"]);
    machine.ip(&["link", "set", "eth0", "up"]);
    machine
}

pub fn loader() -> Vec<u8> {
    (0..200_000u32).map(|index| (index % 251) as u8).collect()
}

pub fn loaders() -> Loaders {
    let mut loaders = Loaders::default();
    for name in ["undionly.kpxe", "snponly.efi"] {
        loaders.insert(name, loader());
    }
    loaders
}

pub fn fleet() -> Arc<Fleet> {
    let http = format!("http://{OURS}:{HTTP}");
    Fleet::new(Site { tftp: OURS, http, loaders: loaders().names() })
}

/// Our DHCP server, with its journal in `folder`.
pub fn dhcp_server(lan: &Lan, fleet: &Arc<Fleet>, folder: &Path) -> Serving {
    let config = DhcpConfig {
        interface: BRIDGE.into(),
        address: OURS,
        networks: vec![Network {
            address: OURS,
            prefix: 24,
            range: Ipv4Addr::new(10, 77, 0, 100)..=Ipv4Addr::new(10, 77, 0, 150),
            routers: vec![OURS],
            dns: vec![OURS],
            ntp: vec![],
            domain: None,
        }],
        reservations: [].into(),
        lease_time: Duration::from_secs(600),
        journal: folder.join("leases"),
        site: fleet.site.clone(),
    };
    let decider = fleet.clone();
    lan.within(|| {
        let server = DhcpServer::bind(config).unwrap();
        Serving::start(move |stop| server.run(decider, stop))
    })
}

/// Our ProxyDHCP.
pub fn proxy_dhcp(lan: &Lan, fleet: &Arc<Fleet>) -> Serving {
    let config = ProxyConfig { interface: BRIDGE.into(), address: OURS, site: fleet.site.clone() };
    let decider = fleet.clone();
    lan.within(|| {
        let server = ProxyDhcp::bind(config).unwrap();
        Serving::start(move |stop| server.run(decider, stop))
    })
}

/// Our TFTP server.
pub fn tftp_server(lan: &Lan, fleet: &Arc<Fleet>) -> Serving {
    let decider = fleet.clone();
    lan.within(|| {
        let server = TftpServer::bind(TftpConfig::new(OURS, loaders())).unwrap();
        Serving::start(move |stop| server.run(decider, stop))
    })
}

/// The site's DHCP server: dnsmasq, which knows nothing of booting. Its machine is the second value.
pub fn site_dhcp(lan: &Lan, folder: &Path) -> (Program, Lan) {
    let site = machine(lan);
    site.ip(&["addr", "add", &format!("{SITES}/24"), "dev", "eth0"]);
    let mut command = site.command("dnsmasq");
    command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root"]);
    command.args(["--interface=eth0", "--bind-interfaces", "--log-dhcp"]);
    command.arg("--dhcp-range=10.77.0.200,10.77.0.250,255.255.255.0,10m");
    command.arg(format!("--dhcp-leasefile={}", folder.join("dnsmasq.leases").display()));
    let mut dnsmasq = Program::start(&mut command);
    dnsmasq.wait_for("sockets bound exclusively to interface eth0", Duration::from_secs(60));
    (dnsmasq, site)
}

/// What the kernel knows about neighbours on the bridge.
pub fn neighbours(lan: &Lan) -> String {
    run(lan.command("ip").args(["neigh", "show", "dev", BRIDGE]))
}
