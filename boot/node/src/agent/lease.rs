//! Keeping the address: the lease that init got is prolonged for as long as the node runs.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::net::netdevice::index_to_name;
use socket2::{Domain, Protocol, Socket, Type};

use crate::dhcp::{Action, Client};
use crate::init::netlink::Netlink;
use crate::init::network::{Network, configure};
use crate::log::Log;
use crate::{clock, error};

/// Prolongs the lease, for ever. Ends if there is none, or if the root's own network program took the interface over.
pub fn keep(mut network: Network, log: &Log) {
    let Some(since) = network.leased_at else { return };
    let mut client = Client::resume(network.mac, clock::random_u32(), network.lease.clone(), since);
    let mut socket: Option<UdpSocket> = None;
    loop {
        let now = clock::boot_ms();
        let wait = client.due().saturating_sub(now);
        if wait > 0 && socket.is_none() {
            // Woken now and then: after a suspend the lease may be long over.
            std::thread::sleep(Duration::from_millis(wait.min(60_000)));
            continue;
        }
        // Only while the address is ours does it make sense to hold it.
        if UdpSocket::bind((network.lease.address, 0)).is_err() {
            return;
        }
        let Some(open) = socket.take().or_else(|| open(network.index)) else {
            std::thread::sleep(Duration::from_secs(10));
            continue;
        };
        let mut buffer = [0; 2048];
        let _always = open.set_read_timeout(Some(Duration::from_millis(wait.clamp(1, 5000))));
        let actions = match (wait == 0, open.recv(&mut buffer)) {
            (true, _) => client.step(now, None),
            (false, Ok(length)) => client.step(clock::boot_ms(), Some(&buffer[..length])),
            (false, Err(_)) => Vec::new(),
        };
        let mut bound = false;
        for action in actions {
            match action {
                Action::Send { bytes, to } => {
                    let to = to.unwrap_or(Ipv4Addr::BROADCAST);
                    let _lost = open.send_to(&bytes, (to, 67));
                }
                Action::Bound(lease) => {
                    bound = true;
                    network.lease = lease;
                    let applied = Netlink::open().and_then(|mut n| configure(&mut n, &network));
                    if let Err(error) = applied {
                        log.line(&error::chain(&error));
                    }
                }
                Action::Lost => log.line("the DHCP lease ended and no server prolonged it"),
            }
        }
        socket = (!bound).then_some(open);
    }
}

/// Port 68 on the interface with this number, whatever it is called by now.
fn open(index: u32) -> Option<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).ok()?;
    let name = index_to_name(&socket, index).ok()?;
    socket.set_reuse_address(true).ok()?;
    socket.set_broadcast(true).ok()?;
    socket.bind_device(Some(name.as_bytes())).ok()?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into()).ok()?;
    Some(socket.into())
}
