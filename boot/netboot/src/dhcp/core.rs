//! The DHCP server without its sockets (RFC 2131 4.3).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::SystemTime;

use overboot_dhcp::{Code, Mac, MessageType, Op, Packet};

use crate::client::Client;
use crate::decide::BootDecision;
use crate::decider::Event;
use crate::dhcp::boot_options::{self, Role};
use crate::dhcp::config::{DhcpConfig, Network};
use crate::dhcp::leases::{Lease, Leases};

/// The port that servers and relay agents listen on.
pub(crate) const SERVER_PORT: u16 = 67;
/// The port that clients listen on.
pub(crate) const CLIENT_PORT: u16 = 68;

/// Where a packet goes (RFC 2131 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To an address that answers: a relay agent, or a configured client.
    Unicast(SocketAddrV4),
    /// To an address that its client does not answer ARP for yet: straight to its hardware address, or, where that is
    /// not possible, to everybody.
    Hardware {
        /// The client's hardware address.
        mac: Mac,
        /// The address it is about to get.
        address: Ipv4Addr,
    },
    /// To everybody on the interface.
    Broadcast,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this lease down, and go on only when it cannot get lost.
    Save(Lease),
    /// Send this.
    Send {
        /// What.
        packet: Box<Packet>,
        /// Where.
        to: Destination,
    },
    /// Tell the fleet.
    Tell(Event),
    /// Nothing is sent: a sentence for the log.
    Note(String),
}

/// The server: configuration and leases.
#[derive(Debug)]
pub struct Core {
    config: DhcpConfig,
    leases: Leases,
}

impl Core {
    /// A server with the leases that it had before. Those that the configuration no longer allows are dropped.
    #[must_use]
    pub fn new(config: DhcpConfig, restored: impl IntoIterator<Item = Lease>) -> Self {
        let mut leases = Leases::new(config.reservations.clone());
        for lease in restored {
            if config.networks.iter().any(|network| network.is_host(lease.address)) {
                leases.restore(lease);
            }
        }
        Self { config, leases }
    }

    /// The leases.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Takes a client's packet. `decision` is what the client boots, for a [`Client`] that
    /// [`boots`](Client::boots); `None` for the others.
    pub fn step(
        &mut self,
        now: SystemTime,
        request: &Packet,
        decision: Option<&BootDecision>,
    ) -> Vec<Action> {
        let (Op::Request, Some(kind)) = (request.op, request.message_type()) else {
            return Vec::new();
        };
        if !request.chaddr.is_unicast() {
            return vec![Action::Note(format!(
                "{kind} from {}, which is no machine's address",
                request.chaddr
            ))];
        }
        let Some(network) = self.network(request).cloned() else {
            return vec![Action::Note(format!(
                "{kind} of {} through the relay {}: no network is configured for it",
                request.chaddr, request.giaddr
            ))];
        };
        match kind {
            MessageType::Discover => self.discover(now, request, &network, decision),
            MessageType::Request => self.request(now, request, &network, decision),
            MessageType::Decline => self.decline(now, request),
            MessageType::Release => self.release(now, request),
            MessageType::Inform => self.inform(request, &network, decision),
            MessageType::Offer | MessageType::Ack | MessageType::Nak => Vec::new(),
        }
    }

    /// The client's network: what the relay says (RFC 3527 before `giaddr`), else where its address is, else ours.
    fn network(&self, request: &Packet) -> Option<&Network> {
        let relayed = request.giaddr != Ipv4Addr::UNSPECIFIED;
        let place = if relayed {
            link_selection(request).unwrap_or(request.giaddr)
        } else if request.ciaddr != Ipv4Addr::UNSPECIFIED
            && self.config.networks.iter().any(|network| network.contains(request.ciaddr))
        {
            // A renewal comes by unicast, past the relay.
            request.ciaddr
        } else {
            self.config.address
        };
        self.config.networks.iter().find(|network| network.contains(place))
    }

    fn discover(
        &mut self,
        now: SystemTime,
        request: &Packet,
        network: &Network,
        decision: Option<&BootDecision>,
    ) -> Vec<Action> {
        let requested = request.options.address(Code::REQUESTED_ADDRESS);
        let own = self.config.address;
        let usable = |address| network.is_host(address) && address != own;
        let range = &network.range;
        let requested = requested.filter(|address| usable(*address));
        let Some(address) = self.leases.offer(now, request.chaddr, requested, range, usable) else {
            return vec![Action::Note(format!(
                "no address for {}: all of {} to {} are taken",
                request.chaddr,
                range.start(),
                range.end()
            ))];
        };
        let mut offer = self.reply(request, MessageType::Offer, network);
        offer.yiaddr = address;
        self.put_times(&mut offer);
        let told = self.put_boot(&mut offer, request, decision, Some(address));
        let mut actions = vec![send(offer, request)];
        actions.extend(told);
        actions
    }

    fn request(
        &mut self,
        now: SystemTime,
        request: &Packet,
        network: &Network,
        decision: Option<&BootDecision>,
    ) -> Vec<Action> {
        let mac = request.chaddr;
        let requested = request.options.address(Code::REQUESTED_ADDRESS);
        if let Some(server) = request.options.address(Code::SERVER_ID)
            && server != self.config.address
        {
            self.leases.withdraw(mac);
            return vec![Action::Note(format!("{mac} took the offer of {server}"))];
        }
        // Selecting and after a reboot the address is in option 50, in renewals it is in ciaddr (RFC 2131, table 4).
        let configured = Some(request.ciaddr).filter(|address| !address.is_unspecified());
        let Some(address) = requested.or(configured) else {
            return vec![Action::Note(format!("a DHCPREQUEST of {mac} names no address"))];
        };
        if !network.is_host(address) {
            return self.nak(request, network, format!("{address} is not an address of {network}"));
        }
        let usable = |address| network.is_host(address) && address != self.config.address;
        if !usable(address) || !self.leases.may_bind(now, mac, address, &network.range, usable) {
            return self.nak(request, network, format!("{address} is not for {mac}"));
        }
        let lease = self.leases.bind(mac, address, now + self.config.lease_time);
        let mut ack = self.reply(request, MessageType::Ack, network);
        ack.yiaddr = address;
        ack.ciaddr = request.ciaddr;
        self.put_times(&mut ack);
        self.put_boot(&mut ack, request, decision, Some(address));
        let host_name = request.options.text(Code::HOST_NAME).map(host_name);
        vec![
            Action::Save(lease),
            send(ack, request),
            Action::Tell(Event::Leased { mac, address, host_name }),
        ]
    }

    fn decline(&mut self, now: SystemTime, request: &Packet) -> Vec<Action> {
        let Some(address) = request.options.address(Code::REQUESTED_ADDRESS) else {
            return Vec::new();
        };
        if request.options.address(Code::SERVER_ID) != Some(self.config.address) {
            return Vec::new();
        }
        let Some(lease) = self.leases.decline(now, request.chaddr, address) else {
            return Vec::new();
        };
        let mac = lease.mac;
        vec![
            Action::Save(lease),
            Action::Tell(Event::Released { mac, address }),
            Action::Note(format!(
                "{mac} found somebody else on {address}, which rests for a while"
            )),
        ]
    }

    fn release(&mut self, now: SystemTime, request: &Packet) -> Vec<Action> {
        if request.options.address(Code::SERVER_ID) != Some(self.config.address) {
            return Vec::new();
        }
        let Some(lease) = self.leases.release(now, request.chaddr, request.ciaddr) else {
            return Vec::new();
        };
        let Lease { mac, address, .. } = lease;
        vec![Action::Save(lease), Action::Tell(Event::Released { mac, address })]
    }

    fn inform(
        &mut self,
        request: &Packet,
        network: &Network,
        decision: Option<&BootDecision>,
    ) -> Vec<Action> {
        if request.ciaddr.is_unspecified() {
            return Vec::new();
        }
        let mut ack = self.reply(request, MessageType::Ack, network);
        ack.ciaddr = request.ciaddr;
        self.put_boot(&mut ack, request, decision, None);
        vec![send(ack, request)]
    }

    fn nak(&self, request: &Packet, network: &Network, why: String) -> Vec<Action> {
        let mut nak = Packet::reply(request, MessageType::Nak);
        nak.options.set_address(Code::SERVER_ID, self.config.address);
        nak.options.set_text(Code::MESSAGE, &why);
        let to = if request.giaddr.is_unspecified() {
            Destination::Broadcast
        } else {
            // The relay has to broadcast it: the client's address is wrong (RFC 2131 4.3.2).
            nak.broadcast = true;
            Destination::Unicast(SocketAddrV4::new(request.giaddr, SERVER_PORT))
        };
        let note = format!("DHCPNAK to {} in {network}: {why}", request.chaddr);
        vec![Action::Send { packet: Box::new(nak), to }, Action::Note(note)]
    }

    /// An answer with what every client of the network is told.
    fn reply(&self, request: &Packet, kind: MessageType, network: &Network) -> Packet {
        let mut reply = Packet::reply(request, kind);
        let options = &mut reply.options;
        options.set_address(Code::SERVER_ID, self.config.address);
        options.set_address(Code::SUBNET_MASK, network.mask());
        options.set_address(Code::BROADCAST, network.broadcast());
        options.set_addresses(Code::ROUTERS, &network.routers);
        options.set_addresses(Code::DNS, &network.dns);
        options.set_addresses(Code::NTP_SERVERS, &network.ntp);
        if let Some(domain) = &network.domain {
            options.set_text(Code::DOMAIN_NAME, domain);
        }
        reply
    }

    /// T1 and T2 as RFC 2131 4.4.5 has them: a half and seven eighths.
    fn put_times(&self, reply: &mut Packet) {
        let seconds = u32::try_from(self.config.lease_time.as_secs()).unwrap_or(u32::MAX);
        reply.options.set_u32(Code::LEASE_TIME, seconds);
        reply.options.set_u32(Code::RENEWAL_TIME, seconds / 2);
        reply.options.set_u32(Code::REBINDING_TIME, seconds - seconds / 8);
    }

    /// Adds the boot decision; returns what the fleet should know about it.
    fn put_boot(
        &self,
        reply: &mut Packet,
        request: &Packet,
        decision: Option<&BootDecision>,
        address: Option<Ipv4Addr>,
    ) -> Option<Action> {
        let client = Client::of(request).filter(Client::boots)?;
        let decision = decision?;
        let tftp = self.config.site.tftp;
        boot_options::put(reply, request, &client, decision, tftp, Role::Server)
            .then(|| Action::Tell(Event::Offered { client, address, decision: decision.clone() }))
    }
}

/// Where an answer other than a DHCPNAK goes.
fn send(reply: Packet, request: &Packet) -> Action {
    let to = if !request.giaddr.is_unspecified() {
        Destination::Unicast(SocketAddrV4::new(request.giaddr, SERVER_PORT))
    } else if !request.ciaddr.is_unspecified() {
        Destination::Unicast(SocketAddrV4::new(request.ciaddr, CLIENT_PORT))
    } else if request.broadcast {
        Destination::Broadcast
    } else {
        Destination::Hardware { mac: request.chaddr, address: reply.yiaddr }
    };
    Action::Send { packet: Box::new(reply), to }
}

/// RFC 3527: the network that the relay means, when its own address is in another.
fn link_selection(request: &Packet) -> Option<Ipv4Addr> {
    const LINK_SELECTION: u8 = 5;
    let mut fields = request.options.fields(Code::RELAY_AGENT);
    let (_, value) = fields.find(|(code, _)| *code == LINK_SELECTION)?;
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

/// A name as it may be stored and shown: letters, digits, dashes and dots, 63 at most.
fn host_name(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(63).collect()
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
