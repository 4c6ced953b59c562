//! The agent keeps the address that init got.

use std::time::Duration;

use overboot_dhcp::Mac;
use overboot_node::agent::lease;
use overboot_node::clock;
use overboot_node::dhcp::Lease;
use overboot_node::init::network::Network;
use overboot_node::log::Log;
use overboot_testkit::network::{BRIDGE, Lan};
use overboot_testkit::program::Program;
use overboot_testkit::require;

#[test]
fn a_lease_is_prolonged_by_its_server() {
    let programs = ["ip", "dnsmasq"].into_iter().all(require::program);
    if !(require::root() && programs) {
        return;
    }
    let (site, node) = (Lan::new("10.77.0.1/24"), Lan::new("10.99.0.1/24"));
    let card = site.veth();
    site.ip(&["link", "set", &card, "netns", node.namespace()]);
    node.ip(&["addr", "add", "10.77.0.60/24", "dev", &card]);
    node.ip(&["link", "set", &card, "up"]);
    let shown = node.ip(&["-o", "link", "show", &card]);
    let index = shown.split(':').next().unwrap().trim().parse().unwrap();
    let mac: Mac = shown.split("link/ether ").nth(1).unwrap()[..17].parse().unwrap();
    let mut server = Program::start(site.command("dnsmasq").args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--log-dhcp",
        "--dhcp-authoritative",
        "--leasefile-ro",
        "--bind-interfaces",
        &format!("--interface={BRIDGE}"),
        "--dhcp-range=10.77.0.50,10.77.0.70,255.255.255.0,120",
    ]));
    server.wait_for("DHCP, IP range", Duration::from_secs(60));

    let router = "10.77.0.1".parse().unwrap();
    let network = Network {
        interface: card,
        index,
        mac,
        lease: Lease {
            address: "10.77.0.60".parse().unwrap(),
            prefix: 24,
            server: router,
            routes: vec![],
            dns: vec![],
            domain: None,
            hostname: None,
            mtu: None,
            seconds: 120,
            renew: 1,
            rebind: 100,
        },
        leased_at: Some(clock::boot_ms()),
    };
    // It keeps the lease for ever: the thread ends with the test program.
    node.within(|| std::thread::spawn(move || lease::keep(network, &Log::new())));
    server.wait_for("DHCPREQUEST(br0) 10.77.0.60", Duration::from_secs(60));
    server.wait_for("DHCPACK(br0) 10.77.0.60", Duration::from_secs(60));
    overboot_testkit::deadline::eventually(
        "the router of the new lease is used",
        Duration::from_secs(60),
        || node.ip(&["route"]).contains("default via 10.77.0.1"),
    );
}
