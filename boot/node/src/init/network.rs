//! From no network to an address: waits for an interface, a link and a lease, on all candidates at once.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use overboot_dhcp::Mac;
use overboot_wire::{Cmdline, Ip, Stage, StaticIp};
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::link::{self, Link};
use super::netlink::Netlink;
use super::progress::Progress;
use crate::dhcp::{self, Action, Lease};
use crate::{Error, clock};

/// The network as init leaves it to the running root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Interface name at boot; udev may rename it.
    pub interface: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Its address.
    pub mac: Mac,
    /// What it was given.
    pub lease: Lease,
    /// When, in milliseconds since the kernel started; `None`: by `ip=`, not by DHCP.
    pub leased_at: Option<u64>,
}

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an interface to appear.
    pub interface: Duration,
    /// For `BOOTIF`'s interface, before others are tried.
    pub bootif: Duration,
    /// For a link and a lease.
    pub lease: Duration,
}

/// Brings the network up.
///
/// `reload` loads modules for devices that have appeared meanwhile; it is called while no interface is there.
///
/// # Errors
/// No interface, no link or no lease in time; or the kernel refuses.
pub fn bring_up(
    cmdline: &Cmdline,
    patience: Patience,
    progress: &Progress<'_>,
    reload: &mut dyn FnMut(),
) -> Result<Network, Error> {
    let mut netlink = Netlink::open()?;
    if let Err(error) = loopback(&mut netlink) {
        progress.say(&crate::error::chain(&error));
    }
    let links = candidates(cmdline, patience, progress, reload)?;
    let links = switch_on(&mut netlink, links, progress)?;
    let network = match &cmdline.ip {
        Some(Ip::Static(ip)) => fixed(ip, &links, patience, progress)?,
        Some(Ip::Dhcp { .. }) | None => lease(&links, patience, progress)?,
    };
    configure(&mut netlink, &network)?;
    Ok(network)
}

/// Puts a lease on its interface: address, MTU, routes.
///
/// # Errors
/// The kernel refuses the address; routes it refuses are left out.
pub fn configure(netlink: &mut Netlink, network: &Network) -> Result<(), Error> {
    let lease = &network.lease;
    netlink.up(network.index, lease.mtu)?;
    netlink.add_address(network.index, lease.address, lease.prefix)?;
    for (destination, prefix, gateway) in &lease.routes {
        let gateway = (!gateway.is_unspecified()).then_some(*gateway);
        if let (Some(gateway), 32) = (gateway, lease.prefix) {
            // Hosts with a /32 reach their router only if told that it is on the link.
            netlink.add_route(network.index, gateway, 32, None)?;
        }
        netlink.add_route(network.index, *destination, *prefix, gateway)?;
    }
    Ok(())
}

/// Those of `links` that can be switched on; that one card lacks its firmware is no matter while another one may be used as well.
fn switch_on(
    netlink: &mut Netlink,
    links: Vec<Link>,
    progress: &Progress<'_>,
) -> Result<Vec<Link>, Error> {
    let mut on = Vec::new();
    let mut failed = None;
    for link in links {
        match netlink.up(link.index, None) {
            Ok(()) => on.push(link),
            Err(Error::System { source, .. }) => {
                let interface = link::names(std::slice::from_ref(&link));
                let error = Error::NotOn { interface, source };
                progress.say(&crate::error::chain(&error));
                failed = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match failed {
        Some(error) if on.is_empty() => Err(error),
        _ => Ok(on),
    }
}

fn loopback(netlink: &mut Netlink) -> Result<(), Error> {
    const LO: u32 = 1;
    netlink.up(LO, None)
}

fn candidates(
    cmdline: &Cmdline,
    patience: Patience,
    progress: &Progress<'_>,
    reload: &mut dyn FnMut(),
) -> Result<Vec<Link>, Error> {
    let began = clock::boot_ms();
    let bootif: Option<Mac> = cmdline.bootif.as_deref().and_then(|mac| mac.parse().ok());
    let device = match &cmdline.ip {
        Some(Ip::Dhcp { device } | Ip::Static(StaticIp { device, .. })) => device.as_deref(),
        None => None,
    };
    let mut pause = 10;
    loop {
        let mut links = Link::all();
        if let Some(device) = device {
            links.retain(|link| link.name == device);
        }
        let waited = Duration::from_millis(clock::boot_ms() - began);
        let there = links.iter().any(|link| Some(link.mac) == bootif);
        if there || (!links.is_empty() && (bootif.is_none() || waited >= patience.bootif)) {
            if let (Some(mac), false) = (bootif, there) {
                progress.say(&format!(
                    "no interface has the address {mac} of BOOTIF; trying {}",
                    link::names(&links)
                ));
            }
            return Ok(link::choose(&links, bootif));
        }
        if links.is_empty() && waited >= patience.interface {
            return Err(Error::NoInterface { seconds: waited.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(pause));
        pause = (pause * 2).min(250);
        reload();
    }
}

fn fixed(
    ip: &StaticIp,
    links: &[Link],
    patience: Patience,
    progress: &Progress<'_>,
) -> Result<Network, Error> {
    let began = clock::boot_ms();
    let link = loop {
        if let Some(link) = links.iter().find(|link| link.has_carrier()) {
            break link;
        }
        let waited = Duration::from_millis(clock::boot_ms() - began);
        if waited >= patience.lease {
            let interfaces = link::names(links);
            return Err(Error::NoCarrier { interfaces, seconds: waited.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    progress.reached(Stage::Link, format!("{} {}", link.name, link.mac), None);
    progress.reached(Stage::Dhcp, format!("{}/{} by ip=", ip.address, ip.prefix), None);
    let lease = Lease {
        address: ip.address,
        prefix: ip.prefix,
        server: Ipv4Addr::UNSPECIFIED,
        routes: ip.gateway.iter().map(|gateway| (Ipv4Addr::UNSPECIFIED, 0, *gateway)).collect(),
        dns: ip.dns.clone(),
        domain: None,
        hostname: ip.hostname.clone(),
        mtu: None,
        seconds: u32::MAX,
        renew: u32::MAX,
        rebind: u32::MAX,
    };
    Ok(Network {
        interface: link.name.clone(),
        index: link.index,
        mac: link.mac,
        lease,
        leased_at: None,
    })
}

/// One interface with a link, and the conversation on it.
struct Conversation<'a> {
    link: &'a Link,
    socket: UdpSocket,
    client: dhcp::Client,
}

fn lease(links: &[Link], patience: Patience, progress: &Progress<'_>) -> Result<Network, Error> {
    let began = clock::boot_ms();
    let mut silent: Vec<&Link> = links.iter().collect();
    let mut talking: Vec<Conversation<'_>> = Vec::new();
    loop {
        let now = clock::boot_ms();
        // A link that comes later takes part from then on.
        for link in silent.extract_if(.., |link| link.has_carrier()) {
            if talking.is_empty() {
                progress.reached(Stage::Link, format!("{} {}", link.name, link.mac), None);
            }
            let socket = socket(&link.name)?;
            let client = dhcp::Client::new(link.mac, clock::random_u32(), now);
            talking.push(Conversation { link, socket, client });
        }
        for conversation in &mut talking {
            if let Some(lease) = converse(conversation, now)? {
                let link = conversation.link;
                progress.reached(
                    Stage::Dhcp,
                    format!("{}/{} from {}", lease.address, lease.prefix, lease.server),
                    None,
                );
                return Ok(Network {
                    interface: link.name.clone(),
                    index: link.index,
                    mac: link.mac,
                    lease,
                    leased_at: Some(now),
                });
            }
        }
        let seconds = (now - began) / 1000;
        if Duration::from_millis(now - began) >= patience.lease {
            let interfaces = link::names(links);
            return Err(match talking.is_empty() {
                true => Error::NoCarrier { interfaces, seconds },
                false => Error::NoLease { interfaces, seconds },
            });
        }
        wait(&talking, now, !silent.is_empty());
    }
}

/// Sleeps until a message, the next timer, or the next look at links that are still down.
fn wait(talking: &[Conversation<'_>], now: u64, watch_links: bool) {
    let due = talking.iter().map(|c| c.client.due()).min().unwrap_or(u64::MAX);
    let most = if watch_links { 20 } else { 1000 };
    let pause = due.saturating_sub(now).clamp(1, most);
    let mut fds: Vec<PollFd<'_>> =
        talking.iter().map(|c| PollFd::new(&c.socket, PollFlags::IN)).collect();
    let timeout = rustix::time::Timespec {
        tv_sec: (pause / 1000).cast_signed(),
        tv_nsec: (pause % 1000 * 1_000_000).cast_signed(),
    };
    // An interrupted wait is only a shorter one.
    let _woken = poll(&mut fds, Some(&timeout));
}

fn converse(conversation: &mut Conversation<'_>, now: u64) -> Result<Option<Lease>, Error> {
    let mut actions = conversation.client.step(now, None);
    let mut buffer = [0; 2048];
    loop {
        for action in actions {
            match action {
                Action::Send { bytes, .. } => {
                    // A link that went down again: the next try may find it up.
                    let _lost = conversation.socket.send_to(&bytes, (Ipv4Addr::BROADCAST, 67));
                }
                Action::Bound(lease) => return Ok(Some(lease)),
                Action::Lost => {}
            }
        }
        match conversation.socket.recv(&mut buffer) {
            Ok(length) => actions = conversation.client.step(now, Some(&buffer[..length])),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(None);
            }
            Err(source) => {
                return Err(Error::System { what: "receive on the DHCP port".to_owned(), source });
            }
        }
    }
}

/// UDP port 68 on one interface that has no address yet.
fn socket(interface: &str) -> Result<UdpSocket, Error> {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into())?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|source| Error::System {
        what: format!("open the DHCP port on {interface}"),
        source,
    })
}
