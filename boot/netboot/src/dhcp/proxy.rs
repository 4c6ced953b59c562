//! ProxyDHCP without its sockets (PXE 2.1, 2.2): the boot file beside another server's address.

use std::net::{Ipv4Addr, SocketAddrV4};

use overboot_dhcp::{Code, MessageType, Op, Packet};

use crate::client::Client;
use crate::decide::BootDecision;
use crate::decider::Event;
use crate::dhcp::boot_options::{self, Role};
use crate::dhcp::core::{Action, CLIENT_PORT, Destination, SERVER_PORT};
use crate::site::Site;

/// The boot server's port: ROMs ask there once more, by unicast, when they have an address.
pub const BOOT_SERVER_PORT: u16 = 4011;

/// Answers a DHCPDISCOVER that arrived on port 67 with an offer without an address, if there is a boot file to tell of.
/// Clients that do not boot never see an answer, and nobody's DHCPREQUEST is touched.
#[must_use]
pub fn discover(
    server: Ipv4Addr,
    site: &Site,
    request: &Packet,
    client: &Client,
    decision: &BootDecision,
) -> Vec<Action> {
    if request.op != Op::Request || request.message_type() != Some(MessageType::Discover) {
        return Vec::new();
    }
    let Some(offer) = answer(MessageType::Offer, server, site, request, client, decision) else {
        return Vec::new();
    };
    let to = if request.giaddr.is_unspecified() {
        // The client has no address, and we give it none.
        Destination::Broadcast
    } else {
        Destination::Unicast(SocketAddrV4::new(request.giaddr, SERVER_PORT))
    };
    let told = Event::Offered { client: client.clone(), address: None, decision: decision.clone() };
    vec![Action::Send { packet: Box::new(offer), to }, Action::Tell(told)]
}

/// Answers a request that arrived on port 4011 from `from`. RackHD answered whatever was sent there, and some firmware
/// sends DHCPINFORM: so DHCPREQUEST, DHCPINFORM and DHCPDISCOVER alike.
#[must_use]
pub fn boot_server(
    server: Ipv4Addr,
    site: &Site,
    request: &Packet,
    from: SocketAddrV4,
    client: &Client,
    decision: &BootDecision,
) -> Vec<Action> {
    let asks = matches!(
        request.message_type(),
        Some(MessageType::Request | MessageType::Inform | MessageType::Discover)
    );
    if request.op != Op::Request || !asks {
        return Vec::new();
    }
    let Some(mut ack) = answer(MessageType::Ack, server, site, request, client, decision) else {
        return Vec::new();
    };
    ack.ciaddr = request.ciaddr;
    let to = if !from.ip().is_unspecified() {
        // EFI firmware listens on 4011, BIOS ROMs on 68: each on the port it sent from.
        Destination::Unicast(from)
    } else if !request.ciaddr.is_unspecified() {
        Destination::Unicast(SocketAddrV4::new(request.ciaddr, CLIENT_PORT))
    } else {
        Destination::Broadcast
    };
    vec![Action::Send { packet: Box::new(ack), to }]
}

fn answer(
    kind: MessageType,
    server: Ipv4Addr,
    site: &Site,
    request: &Packet,
    client: &Client,
    decision: &BootDecision,
) -> Option<Packet> {
    if !client.boots() || !client.mac.is_unicast() {
        return None;
    }
    let mut reply = Packet::reply(request, kind);
    reply.options.set_address(Code::SERVER_ID, server);
    boot_options::put(&mut reply, request, client, decision, site.tftp, Role::Proxy)
        .then_some(reply)
}
