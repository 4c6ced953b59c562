//! Real firmware against the services: iPXE's ROM and OVMF, in QEMU.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use overboot_netboot::{Event, Exit, ipxe};
use overboot_testkit::network::Lan;
use overboot_testkit::vm::{Boot, MachineConfig, Network, Nic, QEMU, TestMachine};
use overboot_testkit::{deadline, require};

use crate::bed::Fleet;
use crate::lan::{self, HTTP, OURS};

const MAC: &str = "52:54:00:77:00:07";
/// Firmware under emulation, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(240);

/// The paths that were asked for.
type Asked = Arc<Mutex<Vec<String>>>;

/// The smallest HTTP server that iPXE is content with: the redirect script, an error for the first question for the
/// real script, and then the way to the disk.
fn http(lan: &Lan, fleet: &Arc<Fleet>) -> Asked {
    let asked = Asked::default();
    let paths = Arc::clone(&asked);
    let url = fleet.site.profiles_url();
    lan.within(move || {
        let listener = TcpListener::bind((OURS, HTTP)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let path = request.split(' ').nth(1).unwrap().to_owned();
                let (status, body) = if path.contains("/loaders/") {
                    ("200 OK", "no loader, but all of it".repeat(1000))
                } else if !path.contains('?') {
                    ("200 OK", ipxe::redirect_script(&url, Default::default()).unwrap())
                } else if !paths.lock().unwrap().iter().any(|path| path.contains('?')) {
                    ("503 Service Unavailable", String::new())
                } else {
                    ("200 OK", ipxe::local_disk_script(Exit::Firmware, "the test is over"))
                };
                paths.lock().unwrap().push(path);
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
    });
    asked
}

fn machine(lan: &Lan, firmware: Option<&str>, settings: &[&str]) -> TestMachine {
    let mut config = MachineConfig::new(Boot::Network);
    config.memory_mib = 512;
    config.nics.push(Nic { mac: MAC.into(), network: Network::Tap { interface: lan.tap() } });
    if let Some(firmware) = firmware {
        // Without the card's own ROM, which is an iPXE: OVMF's PXE is like any board's.
        let no_rom = "driver=virtio-net-pci,property=romfile,value=";
        config.extra.extend(["-bios", firmware, "-global", no_rom].map(Into::into));
    }
    for setting in settings {
        let argument = format!("name=opt/org.tianocore/{setting},string=n");
        config.extra.extend(["-fw_cfg".into(), argument.into()]);
    }
    lan.within(|| TestMachine::start(&config))
}

/// Which of our two ways to tell about booting.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Server,
    Proxy,
}

fn boot_ipxe(way: Way) {
    let lan = lan::lan();
    let folder = tempfile::tempdir().unwrap();
    let fleet = lan::fleet();
    let asked = http(&lan, &fleet);
    let _sites = (way == Way::Proxy).then(|| lan::site_dhcp(&lan, folder.path()));
    let _ours = match way {
        Way::Server => lan::dhcp_server(&lan, &fleet, folder.path()),
        Way::Proxy => lan::proxy_dhcp(&lan, &fleet),
    };
    let machine = machine(&lan, None, &[]);
    machine.console().wait_for("going on to the local disk", WITHIN).unwrap();
    let asked = asked.lock().unwrap().clone();
    let network = if way == Way::Server { "10.77.0.1" } else { "10.77.0.2" };
    assert_eq!(asked[0], "/api/current/profiles");
    assert_eq!(asked.len(), 3, "one retry: {asked:?}");
    let query = asked[2].replace("%3A", ":").replace("%3a", ":");
    let expected = format!("/api/current/profiles?macs={MAC}&ips={network}");
    assert!(query.starts_with(&expected), "{query}");
    // And which card it is: on PCI, Red Hat's, virtio's network.
    assert!(query.ends_with("&nics=011af41000"), "{query}");
}

#[test]
fn ipxe_boots_from_our_dhcp_server() {
    if lan::possible() && require::program(QEMU) {
        boot_ipxe(Way::Server);
    }
}

#[test]
fn ipxe_boots_from_our_proxydhcp_beside_dnsmasq() {
    if lan::possible() && require::program(QEMU) && require::program("dnsmasq") {
        boot_ipxe(Way::Proxy);
    }
}

const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

fn boot_uefi(way: Way) {
    if !require::met(Path::new(OVMF).exists(), "needs OVMF") {
        return;
    }
    let lan = lan::lan();
    let folder = tempfile::tempdir().unwrap();
    let fleet = lan::fleet();
    let _tftp = lan::tftp_server(&lan, &fleet);
    let _sites = (way == Way::Proxy).then(|| lan::site_dhcp(&lan, folder.path()));
    let _ours = match way {
        Way::Server => lan::dhcp_server(&lan, &fleet, folder.path()),
        Way::Proxy => lan::proxy_dhcp(&lan, &fleet),
    };
    let _machine = machine(&lan, Some(OVMF), &[]);
    deadline::eventually("OVMF has the loader", WITHIN, || {
        fleet.events().iter().any(|event| {
            matches!(
                event,
                Event::LoaderSent { file, bytes, .. }
                    if file == "snponly.efi" && *bytes == lan::loader().len() as u64
            )
        })
    });
    let failures: Vec<Event> = fleet
        .events()
        .into_iter()
        .filter(|event| matches!(event, Event::LoaderFailed { .. }))
        .collect();
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn uefi_loads_from_our_dhcp_server() {
    if lan::possible() && require::program(QEMU) {
        boot_uefi(Way::Server);
    }
}

#[test]
fn uefi_loads_from_our_proxydhcp_beside_dnsmasq() {
    if lan::possible() && require::program(QEMU) && require::program("dnsmasq") {
        boot_uefi(Way::Proxy);
    }
}

#[test]
fn uefi_loads_by_http_from_our_dhcp_server() {
    let firmware = Path::new(OVMF).exists();
    if !(lan::possible() && require::program(QEMU) && require::met(firmware, "needs OVMF")) {
        return;
    }
    let lan = lan::lan();
    let folder = tempfile::tempdir().unwrap();
    let fleet = lan::fleet();
    let asked = http(&lan, &fleet);
    let _ours = lan::dhcp_server(&lan, &fleet, folder.path());
    // Otherwise it tries PXE for two minutes first.
    let _machine = machine(&lan, Some(OVMF), &["IPv4PXESupport", "IPv6PXESupport"]);
    deadline::eventually("OVMF asks for the loader by HTTP", WITHIN, || {
        asked.lock().unwrap().iter().any(|path| path == "/boot/loaders/snponly.efi")
    });
}
