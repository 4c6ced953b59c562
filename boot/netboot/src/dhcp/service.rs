//! The sockets around the DHCP services.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use overboot_dhcp::{Packet, dump};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::decide::BootDecision;
use crate::decider::Decider;
use crate::dhcp::config::{DhcpConfig, ProxyConfig};
use crate::dhcp::core::{Action, CLIENT_PORT, Core, Destination, SERVER_PORT};
use crate::dhcp::journal::Journal;
use crate::dhcp::leases::Lease;
use crate::dhcp::proxy;
use crate::error::Error;
use crate::neighbour;
use crate::site::Site;
use crate::socket;

/// How long a client may wait for the fleet's decision: ROMs ask again after four seconds at most.
const DECIDE: Duration = Duration::from_secs(1);
/// Larger than any Ethernet frame.
const BUFFER: usize = 4096;

/// The DHCP server of a network, and the boot server's port 4011.
#[derive(Debug)]
pub struct DhcpServer {
    core: Core,
    journal: Arc<Mutex<Journal>>,
    interface: String,
    address: Ipv4Addr,
    site: Site,
    dhcp: std::net::UdpSocket,
    boot: std::net::UdpSocket,
}

impl DhcpServer {
    /// Takes the ports and reads the leases. From here on packets queue up.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Bind`], [`Error::Journal`].
    pub fn bind(config: DhcpConfig) -> Result<Self, Error> {
        config.check()?;
        let dhcp = socket::on_interface("DHCP", &config.interface, SERVER_PORT)?;
        let boot = socket::on_interface("DHCP", &config.interface, proxy::BOOT_SERVER_PORT)?;
        let (journal, leases) = Journal::open(&config.journal)?;
        let (interface, address) = (config.interface.clone(), config.address);
        let site = config.site.clone();
        let core = Core::new(config, leases);
        Ok(Self {
            core,
            journal: Arc::new(Mutex::new(journal)),
            interface,
            address,
            site,
            dhcp,
            boot,
        })
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// [`Error::Receive`] when the interface goes away.
    pub async fn run(
        self,
        decider: Arc<dyn Decider>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let Self { mut core, journal, interface, address, site, dhcp, boot } = self;
        let dhcp = Port::new("DHCP", &interface, dhcp)?;
        let boot = Port::new("DHCP", &interface, boot)?;
        tracing::info!(interface, %address, "DHCP server started");
        loop {
            let (port, (packet, from)) = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                received = dhcp.receive() => (&dhcp, received?),
                received = boot.receive() => (&boot, received?),
            };
            let client = Client::of(&packet).filter(Client::boots);
            let decision = match &client {
                Some(client) => Some(ask(&*decider, client).await),
                None => None,
            };
            let actions = if std::ptr::eq(port, &dhcp) {
                core.step(SystemTime::now(), &packet, decision.as_ref())
            } else if let (Some(client), Some(decision)) = (&client, &decision) {
                proxy::boot_server(address, &site, &packet, from, client, decision)
            } else {
                continue;
            };
            if let Err(error) = save(&core, &journal, &actions).await {
                // No lease without its line in the journal: the client asks again.
                tracing::error!(error = &error as &dyn std::error::Error, "no lease given");
                continue;
            }
            port.perform(actions, packet.max_reply(), &*decider).await;
        }
    }
}

/// Makes the leases among `actions` durable.
async fn save(core: &Core, journal: &Arc<Mutex<Journal>>, actions: &[Action]) -> Result<(), Error> {
    let leases: Vec<Lease> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Save(lease) => Some(*lease),
            Action::Send { .. } | Action::Tell(_) | Action::Note(_) => None,
        })
        .collect();
    if leases.is_empty() {
        return Ok(());
    }
    let count = core.leases().iter().count();
    let bloated = journal.lock().unwrap_or_else(PoisonError::into_inner).is_bloated(count);
    let all = bloated.then(|| core.leases().iter().copied().collect::<Vec<_>>());
    let journal = Arc::clone(journal);
    let written = tokio::task::spawn_blocking(move || {
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        match all {
            Some(all) => journal.rewrite(&all),
            None => journal.append(&leases),
        }
    });
    match written.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going away, and this task with it.
            Err(_) => Ok(()),
        },
    }
}

/// ProxyDHCP: the boot file beside the addresses of the site's own DHCP server.
#[derive(Debug)]
pub struct ProxyDhcp {
    config: ProxyConfig,
    dhcp: std::net::UdpSocket,
    boot: std::net::UdpSocket,
}

impl ProxyDhcp {
    /// Takes the ports.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub fn bind(config: ProxyConfig) -> Result<Self, Error> {
        let dhcp = socket::on_interface("ProxyDHCP", &config.interface, SERVER_PORT)?;
        let boot = socket::on_interface("ProxyDHCP", &config.interface, proxy::BOOT_SERVER_PORT)?;
        Ok(Self { config, dhcp, boot })
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// [`Error::Receive`] when the interface goes away.
    pub async fn run(
        self,
        decider: Arc<dyn Decider>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let ProxyConfig { interface, address, site } = self.config;
        let dhcp = Port::new("ProxyDHCP", &interface, self.dhcp)?;
        let boot = Port::new("ProxyDHCP", &interface, self.boot)?;
        tracing::info!(interface, %address, "ProxyDHCP started");
        loop {
            let (port, (packet, from)) = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                received = dhcp.receive() => (&dhcp, received?),
                received = boot.receive() => (&boot, received?),
            };
            let Some(client) = Client::of(&packet).filter(Client::boots) else { continue };
            let decision = ask(&*decider, &client).await;
            let actions = if std::ptr::eq(port, &dhcp) {
                proxy::discover(address, &site, &packet, &client, &decision)
            } else {
                proxy::boot_server(address, &site, &packet, from, &client, &decision)
            };
            port.perform(actions, packet.max_reply(), &*decider).await;
        }
    }
}

/// The fleet's decision, or none in time.
async fn ask(decider: &dyn Decider, client: &Client) -> BootDecision {
    let decision =
        tokio::time::timeout(DECIDE, decider.decide(client)).await.unwrap_or_else(|_| {
            BootDecision::Ignore {
                reason: "the decision took too long; the client will ask again".into(),
            }
        });
    tracing::debug!(%client, %decision, "decided");
    decision
}

/// One socket.
struct Port {
    service: &'static str,
    interface: String,
    socket: UdpSocket,
}

impl Port {
    fn new(
        service: &'static str,
        interface: &str,
        socket: std::net::UdpSocket,
    ) -> Result<Self, Error> {
        let interface = interface.to_owned();
        match UdpSocket::from_std(socket) {
            Ok(socket) => Ok(Self { service, interface, socket }),
            Err(source) => Err(Error::Receive { service, place: interface, source }),
        }
    }

    /// The next message that can be read.
    async fn receive(&self) -> Result<(Packet, SocketAddrV4), Error> {
        let mut buffer = [0; BUFFER];
        loop {
            let (length, from) = match self.socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // A client that went away: an ICMP message about something sent before.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                Err(source) => {
                    let (service, place) = (self.service, self.interface.clone());
                    return Err(Error::Receive { service, place, source });
                }
            };
            let SocketAddr::V4(from) = from else { continue };
            match Packet::parse(&buffer[..length]) {
                Ok(packet) => {
                    tracing::trace!(%from, "received\n{}", dump::text(&packet));
                    return Ok((packet, from));
                }
                Err(error) => tracing::debug!(%from, %error, "not a DHCP message"),
            }
        }
    }

    /// Sends and tells; what cannot be sent is logged, since the client asks again.
    async fn perform(&self, actions: Vec<Action>, max: usize, decider: &dyn Decider) {
        for action in actions {
            match action {
                Action::Save(_) => {}
                Action::Tell(event) => decider.observe(event),
                Action::Note(text) => tracing::info!(interface = self.interface, "{text}"),
                Action::Send { packet, to } => {
                    if let Err(error) = self.send(&packet, to, max).await {
                        let mac = packet.chaddr;
                        tracing::warn!(%mac, ?to, error = &*error, "an answer was not sent");
                    }
                }
            }
        }
    }

    async fn send(
        &self,
        packet: &Packet,
        to: Destination,
        max: usize,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        tracing::trace!(?to, "sending\n{}", dump::text(packet));
        let bytes = packet.emit(max)?;
        let broadcast = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
        let address = match to {
            Destination::Unicast(address) => address,
            Destination::Broadcast => broadcast,
            Destination::Hardware { mac, address } => {
                // The client does not answer ARP yet, so the kernel is told. Where it does not take that, RFC 2131 4.1
                // allows to broadcast.
                match neighbour::announce(&self.interface, address, mac) {
                    Ok(()) => SocketAddrV4::new(address, CLIENT_PORT),
                    Err(error) => {
                        tracing::debug!(%mac, %address, %error, "broadcasting instead of unicast");
                        broadcast
                    }
                }
            }
        };
        self.socket.send_to(&bytes, address).await?;
        Ok(())
    }
}
