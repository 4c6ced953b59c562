//! The DHCP services on a wire.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use overboot_dhcp::{Code, Mac, MessageType, Packet};
use overboot_netboot::Event;
use overboot_testkit::network::Lan;
use overboot_testkit::{deadline, require};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lan;

const WITHIN: Duration = Duration::from_secs(60);
const SERVERS: (Ipv4Addr, u16) = (Ipv4Addr::BROADCAST, 67);

fn mac(last: u8) -> Mac {
    Mac::new([0x52, 0x54, 0, 0, 0, last])
}

fn client(machine: &Lan) -> UdpSocket {
    let socket: UdpSocket = machine.within(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into()).unwrap();
        socket.into()
    });
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

fn rom(mac: Mac, kind: MessageType) -> Packet {
    let mut packet = system(mac, kind);
    packet.options.set_text(Code::VENDOR_CLASS, "PXEClient:Arch:00000:UNDI:002001");
    packet
}

fn system(mac: Mac, kind: MessageType) -> Packet {
    let mut packet = Packet::request(mac, rand_xid(mac), kind);
    packet.broadcast = true;
    packet
}

/// One transaction number a client is enough here.
fn rand_xid(mac: Mac) -> u32 {
    u32::from(mac.bytes()[5]) + 0x1000
}

/// Sends `packet` until an answer from `server` comes.
fn ask(socket: &UdpSocket, packet: &Packet, server: Ipv4Addr) -> Packet {
    let bytes = packet.emit(Packet::DEFAULT_MAX).unwrap();
    let end = Instant::now() + WITHIN;
    let mut buffer = [0; 2000];
    while Instant::now() < end {
        socket.send_to(&bytes, SERVERS).unwrap();
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            let answer = Packet::parse(&buffer[..length]).unwrap();
            if answer.xid == packet.xid && answer.options.address(Code::SERVER_ID) == Some(server) {
                return answer;
            }
        }
    }
    panic!("no answer from {server} to {packet:?}");
}

fn bind(socket: &UdpSocket, mac: Mac) -> Ipv4Addr {
    let offer = ask(socket, &rom(mac, MessageType::Discover), lan::OURS);
    assert_eq!(offer.message_type(), Some(MessageType::Offer));
    assert_eq!(offer.boot_file(), Some("undionly.kpxe"));
    let mut request = rom(mac, MessageType::Request);
    request.options.set_address(Code::REQUESTED_ADDRESS, offer.yiaddr);
    request.options.set_address(Code::SERVER_ID, lan::OURS);
    request.xid += 0x100;
    let ack = ask(socket, &request, lan::OURS);
    assert_eq!((ack.message_type(), ack.yiaddr), (Some(MessageType::Ack), offer.yiaddr));
    ack.yiaddr
}

#[test]
fn leases_survive_a_restart_of_the_server() {
    if !lan::possible() {
        return;
    }
    let lan = lan::lan();
    let machine = lan::machine(&lan);
    let folder = tempfile::tempdir().unwrap();
    let fleet = lan::fleet();
    let serving = lan::dhcp_server(&lan, &fleet, folder.path());
    let socket = client(&machine);
    let first = bind(&socket, mac(1));
    let second = bind(&socket, mac(2));
    assert_ne!(first, second);
    drop(serving);

    let _serving = lan::dhcp_server(&lan, &fleet, folder.path());
    // After a reboot the second asks for the first's address, and then for its own.
    let mut reboot = system(mac(2), MessageType::Request);
    reboot.options.set_address(Code::REQUESTED_ADDRESS, first);
    assert_eq!(ask(&socket, &reboot, lan::OURS).message_type(), Some(MessageType::Nak));
    reboot.options.set_address(Code::REQUESTED_ADDRESS, second);
    reboot.xid += 1;
    assert_eq!(ask(&socket, &reboot, lan::OURS).message_type(), Some(MessageType::Ack));
    assert!(fleet.events().iter().any(|event| matches!(
        event,
        Event::Leased { mac, address, .. } if *mac == self::mac(1) && *address == first
    )));
}

#[test]
fn a_client_without_the_broadcast_flag_is_answered_by_unicast() {
    if !lan::possible() {
        return;
    }
    let lan = lan::lan();
    let machine = lan::machine(&lan);
    let folder = tempfile::tempdir().unwrap();
    let _serving = lan::dhcp_server(&lan, &lan::fleet(), folder.path());
    let address = "10.77.0.120";
    // The client claims the address beforehand: that it hears the answer shows that it came by unicast, which Linux
    // delivers only to an address that it has; that nobody asked by ARP, the entry shows.
    machine.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
    let silent = "/proc/sys/net/ipv4/conf/eth0/arp_ignore";
    machine.within(|| std::fs::write(silent, "8")).unwrap();
    let socket = client(&machine);
    let link = machine.ip(&["-o", "link", "show", "eth0"]);
    let own = link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap();
    let own: Mac = own.parse().unwrap();
    let mut discover = system(own, MessageType::Discover);
    discover.broadcast = false;
    discover.options.set_address(Code::REQUESTED_ADDRESS, address.parse().unwrap());
    let offer = ask(&socket, &discover, lan::OURS);
    assert_eq!(offer.yiaddr.to_string(), address);
    let neighbours = lan::neighbours(&lan);
    assert!(neighbours.contains(&format!("{address} lladdr {own}")), "{neighbours}");
}

#[test]
fn proxydhcp_completes_the_sites_server_and_leaves_systems_alone() {
    if !(lan::possible() && require::program("dnsmasq")) {
        return;
    }
    let lan = lan::lan();
    let machine = lan::machine(&lan);
    let folder = tempfile::tempdir().unwrap();
    let (_dnsmasq, _site) = lan::site_dhcp(&lan, folder.path());
    let fleet = lan::fleet();
    let _serving = lan::proxy_dhcp(&lan, &fleet);
    let socket = client(&machine);

    let ours = ask(&socket, &rom(mac(1), MessageType::Discover), lan::OURS);
    assert_eq!((ours.yiaddr, ours.siaddr), (Ipv4Addr::UNSPECIFIED, lan::OURS));
    assert_eq!(ours.boot_file(), Some("undionly.kpxe"));
    assert_eq!(ours.options.text(Code::VENDOR_CLASS), Some("PXEClient"));
    let theirs = ask(&socket, &rom(mac(1), MessageType::Discover), lan::SITES);
    assert!(!theirs.yiaddr.is_unspecified());
    assert_eq!(theirs.boot_file(), None);

    // A system asks first, a ROM after it: when the ROM has its answer, the system's is not coming any more.
    let discover = system(mac(2), MessageType::Discover);
    socket.send_to(&discover.emit(Packet::DEFAULT_MAX).unwrap(), SERVERS).unwrap();
    let rom = rom(mac(3), MessageType::Discover);
    let bytes = rom.emit(Packet::DEFAULT_MAX).unwrap();
    let mut buffer = [0; 2000];
    deadline::eventually("the ROM's answer", WITHIN, || {
        socket.send_to(&bytes, SERVERS).unwrap();
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            let answer = Packet::parse(&buffer[..length]).unwrap();
            if answer.options.address(Code::SERVER_ID) == Some(lan::OURS) {
                assert_ne!(answer.xid, discover.xid, "ProxyDHCP answered a system");
                return answer.xid == rom.xid;
            }
        }
        false
    });
}
