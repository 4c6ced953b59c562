//! The DHCP client (RFC 2131, figure 5) as a state machine: time and packets in, packets and a lease out. No socket.

use std::net::Ipv4Addr;

use overboot_dhcp::{Code, Mac, MessageType, Op, Packet};
use serde::{Deserialize, Serialize};

/// An address for a time, and what came with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The node's address.
    pub address: Ipv4Addr,
    /// Length of the network prefix, 0 to 32.
    pub prefix: u8,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// Routes: destination, prefix length, gateway (unspecified: on the link). Option 121, else the router.
    pub routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Domain.
    pub domain: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// MTU of the interface.
    pub mtu: Option<u32>,
    /// Seconds it is valid; `u32::MAX`: for ever.
    pub seconds: u32,
    /// Seconds after which to ask its server to prolong it.
    pub renew: u32,
    /// Seconds after which to ask any server.
    pub rebind: u32,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this message: to everybody, or to the server of the lease.
    Send {
        /// The message, ready for UDP port 67.
        bytes: Vec<u8>,
        /// Where to; `None`: broadcast.
        to: Option<Ipv4Addr>,
    },
    /// The lease holds from now: new, or prolonged.
    Bound(Lease),
    /// The lease ended; the address must not be used any more.
    Lost,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Asking who has an address.
    Selecting,
    /// Asking for one that was offered.
    Requesting { address: Ipv4Addr, server: Ipv4Addr },
    /// Having one, since then.
    Bound { lease: Lease, since: u64 },
}

/// A client for one interface. Times are milliseconds of any clock that only goes forward.
#[derive(Debug)]
pub struct Client {
    mac: Mac,
    xid: u32,
    state: State,
    /// When this exchange began: for the `secs` field.
    began: u64,
    /// When to act if nothing comes.
    due: u64,
    tries: u32,
}

/// Pauses between tries. RFC 2131 4.1 begins with 4 s; a machine that people wait for begins with 1.
const PAUSES: [u64; 5] = [1000, 2000, 4000, 8000, 16_000];
/// Offers that nobody acknowledges: after this many requests start over.
const REQUESTS: u32 = 4;

impl Client {
    /// A client that has nothing and acts at once.
    #[must_use]
    pub fn new(mac: Mac, xid: u32, now: u64) -> Self {
        Self { mac, xid, state: State::Selecting, began: now, due: now, tries: 0 }
    }

    /// A client that holds `lease` since `since`: the agent goes on where init stopped.
    #[must_use]
    pub fn resume(mac: Mac, xid: u32, lease: Lease, since: u64) -> Self {
        let due = since.saturating_add(u64::from(lease.renew) * 1000);
        Self { mac, xid, state: State::Bound { lease, since }, began: due, due, tries: 0 }
    }

    /// When [`step`](Self::step) is to be called even if nothing was received.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.due
    }

    /// Goes on: `received` is a datagram for port 68, or nothing when [`due`](Self::due) has come.
    pub fn step(&mut self, now: u64, received: Option<&[u8]>) -> Vec<Action> {
        match received {
            Some(bytes) => self.receive(now, bytes),
            None if now >= self.due => self.act(now),
            None => Vec::new(),
        }
    }

    fn act(&mut self, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match self.state.clone() {
            State::Requesting { .. } if self.tries >= REQUESTS => self.start_over(now),
            State::Bound { lease, since } if lease.seconds != u32::MAX => {
                let age = now.saturating_sub(since) / 1000;
                if age >= u64::from(lease.seconds) {
                    actions.push(Action::Lost);
                    self.start_over(now);
                } else {
                    return self.prolong(now, &lease, since, age);
                }
            }
            State::Bound { .. } => {
                self.due = u64::MAX;
                return actions;
            }
            State::Selecting | State::Requesting { .. } => {}
        }
        let packet = match self.state {
            State::Requesting { address, server } => {
                let mut packet = self.packet(now, MessageType::Request);
                packet.options.set_address(Code::REQUESTED_ADDRESS, address);
                packet.options.set_address(Code::SERVER_ID, server);
                packet
            }
            State::Selecting | State::Bound { .. } => self.packet(now, MessageType::Discover),
        };
        let pause = PAUSES[usize::try_from(self.tries).unwrap_or(usize::MAX).min(PAUSES.len() - 1)];
        // Up to a quarter more, by a hash of identity and time: a rack that starts together must not ask together.
        let jitter = u64::from(self.xid.wrapping_mul(2_654_435_761).wrapping_add(self.tries * 97))
            % (pause / 4);
        self.tries += 1;
        self.due = now + pause + jitter;
        actions.extend(send(&packet, None));
        actions
    }

    /// RENEWING asks the server of the lease, REBINDING anybody; each at half of what remains, at least 60 s (4.4.5).
    fn prolong(&mut self, now: u64, lease: &Lease, since: u64, age: u64) -> Vec<Action> {
        let rebinding = age >= u64::from(lease.rebind);
        let end = u64::from(if rebinding { lease.seconds } else { lease.rebind });
        let pause = (end.saturating_sub(age) / 2).max(60).min(end.saturating_sub(age).max(1));
        self.due = now.max(since) + pause * 1000;
        let mut packet = self.packet(now, MessageType::Request);
        packet.ciaddr = lease.address;
        packet.broadcast = false;
        send(&packet, (!rebinding).then_some(lease.server)).into_iter().collect()
    }

    fn receive(&mut self, now: u64, bytes: &[u8]) -> Vec<Action> {
        let Ok(packet) = Packet::parse(bytes) else { return Vec::new() };
        if packet.op != Op::Reply || packet.xid != self.xid || packet.chaddr != self.mac {
            return Vec::new();
        }
        let server = packet.options.address(Code::SERVER_ID);
        match (&self.state, packet.message_type()) {
            (State::Selecting, Some(MessageType::Offer)) => {
                // ProxyDHCP servers offer boot files without an address; those are not for us.
                let usable = !packet.yiaddr.is_unspecified() && !packet.yiaddr.is_broadcast();
                let Some(server) = server.filter(|_| usable) else { return Vec::new() };
                self.state = State::Requesting { address: packet.yiaddr, server };
                self.tries = 0;
                self.act(now)
            }
            (State::Requesting { server: asked, .. }, Some(MessageType::Ack))
                if server == Some(*asked) =>
            {
                self.bind(now, &packet, *asked)
            }
            (State::Requesting { server: asked, .. }, Some(MessageType::Nak))
                if server == Some(*asked) =>
            {
                self.start_over(now + 1000);
                Vec::new()
            }
            (State::Bound { lease, .. }, Some(MessageType::Ack)) if now >= self.began => {
                if packet.yiaddr != lease.address {
                    return Vec::new();
                }
                let server = server.unwrap_or(lease.server);
                self.bind(now, &packet, server)
            }
            (State::Bound { .. }, Some(MessageType::Nak)) if now >= self.began => {
                self.start_over(now);
                vec![Action::Lost]
            }
            _ => Vec::new(),
        }
    }

    fn bind(&mut self, now: u64, packet: &Packet, server: Ipv4Addr) -> Vec<Action> {
        let Some(lease) = lease(packet, server) else { return Vec::new() };
        self.due = match lease.seconds {
            u32::MAX => u64::MAX,
            _ => now + u64::from(lease.renew) * 1000,
        };
        self.began = self.due;
        self.tries = 0;
        self.state = State::Bound { lease: lease.clone(), since: now };
        vec![Action::Bound(lease)]
    }

    fn start_over(&mut self, at: u64) {
        self.state = State::Selecting;
        self.xid = self.xid.wrapping_add(0x9e37_79b9);
        (self.began, self.due, self.tries) = (at, at, 0);
    }

    fn packet(&self, now: u64, kind: MessageType) -> Packet {
        let mut packet = Packet::request(self.mac, self.xid, kind);
        packet.secs = u16::try_from(now.saturating_sub(self.began) / 1000).unwrap_or(u16::MAX);
        // Without an address we hear broadcasts only (RFC 2131 4.1).
        packet.broadcast = true;
        // The same client id as iPXE's: servers that key on it then give the same address again.
        let mut id = vec![1];
        id.extend(self.mac.bytes());
        packet.options.set(Code::CLIENT_ID, id);
        packet.options.set_u16(Code::MAX_MESSAGE_SIZE, 1500);
        let wanted = [
            Code::SUBNET_MASK,
            Code::CLASSLESS_ROUTES,
            Code::ROUTERS,
            Code::DNS,
            Code::HOST_NAME,
            Code::DOMAIN_NAME,
            Code::MTU,
            Code::LEASE_TIME,
            Code::RENEWAL_TIME,
            Code::REBINDING_TIME,
        ];
        packet.options.set(Code::PARAMETER_LIST, wanted.map(|code| code.0));
        packet
    }
}

fn send(packet: &Packet, to: Option<Ipv4Addr>) -> Option<Action> {
    // Our own few options always fit.
    let bytes = packet.emit(Packet::DEFAULT_MAX).ok()?;
    Some(Action::Send { bytes, to })
}

fn lease(packet: &Packet, server: Ipv4Addr) -> Option<Lease> {
    let options = &packet.options;
    let address = packet.yiaddr;
    if address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
        return None;
    }
    let prefix = match options.address(Code::SUBNET_MASK).map(u32::from) {
        Some(mask) if mask.leading_ones() == mask.count_ones() => mask.leading_ones() as u8,
        Some(_) => return None,
        None if address.octets()[0] < 128 => 8,
        None if address.octets()[0] < 192 => 16,
        None => 24,
    };
    let mut routes = classless(options.get(Code::CLASSLESS_ROUTES).unwrap_or_default());
    // RFC 3442: with option 121, the router option is ignored.
    if routes.is_empty() {
        let router = options.addresses(Code::ROUTERS).into_iter().next();
        routes.extend(router.map(|router| (Ipv4Addr::UNSPECIFIED, 0, router)));
    }
    let seconds = options.u32(Code::LEASE_TIME).unwrap_or(u32::MAX).max(60);
    let renew = options.u32(Code::RENEWAL_TIME).filter(|t| *t < seconds).unwrap_or(seconds / 2);
    let rebind = options
        .u32(Code::REBINDING_TIME)
        .filter(|t| (renew..seconds).contains(t))
        .unwrap_or_else(|| (seconds / 8 * 7).max(renew));
    let text = |code| options.text(code).filter(|name| is_name(name)).map(str::to_owned);
    Some(Lease {
        address,
        prefix,
        server,
        routes,
        dns: options.addresses(Code::DNS).into_iter().take(3).collect(),
        domain: text(Code::DOMAIN_NAME),
        hostname: text(Code::HOST_NAME),
        mtu: options.u16(Code::MTU).filter(|mtu| *mtu >= 576).map(u32::from),
        seconds,
        renew,
        rebind,
    })
}

/// Host and domain names go into files that others parse.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    (1..=253).contains(&text.len()) && !text.starts_with(['-', '.']) && text.bytes().all(plain)
}

/// RFC 3442: prefix length, the significant octets, router; at most 32 routes, until something is malformed.
fn classless(mut bytes: &[u8]) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = bytes.split_first() {
        let significant = usize::from(prefix).div_ceil(8);
        let Some((destination, rest)) = rest.split_at_checked(significant) else { break };
        let Some((router, rest)) = rest.split_first_chunk::<4>() else { break };
        let mut octets = [0; 4];
        let Some(room) = octets.get_mut(..significant) else { break };
        room.copy_from_slice(destination);
        if routes.len() == 32 {
            break;
        }
        routes.push((Ipv4Addr::from(octets), prefix, Ipv4Addr::from(*router)));
        bytes = rest;
    }
    routes
}

#[cfg(test)]
mod tests;
