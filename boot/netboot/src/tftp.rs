//! The TFTP server around [`overboot_tftp::Transfer`]: read-only, loaders only.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use overboot_tftp::{ErrorCode, Limits, Outcome, Packet, Request, Transfer};
use tokio::net::UdpSocket;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::decider::{Decider, Event};
use crate::error::Error;
use crate::loaders::Loaders;
use crate::neighbour;
use crate::socket;

/// What the TFTP server is told.
#[derive(Debug, Clone)]
pub struct TftpConfig {
    /// Where it listens; the port is 69 for all ROMs. Answers come from this address too, so it should be a real one
    /// and not 0.0.0.0 on a machine that has several.
    pub listen: SocketAddrV4,
    /// What it serves.
    pub loaders: Loaders,
    /// What clients may ask for.
    pub limits: Limits,
    /// How many transfers run at once; more are left to ask again.
    pub max_transfers: usize,
}

impl TftpConfig {
    /// Loaders on `address`, port 69, for a rack that is switched on all at once.
    #[must_use]
    pub fn new(address: Ipv4Addr, loaders: Loaders) -> Self {
        let listen = SocketAddrV4::new(address, 69);
        Self { listen, loaders, limits: Limits::default(), max_transfers: 512 }
    }
}

/// No transfer takes longer, however slowly its client acknowledges.
const MAX_DURATION: Duration = Duration::from_secs(600);
/// A ROM fetches one file, or asks for its size and then fetches it.
const MAX_PER_CLIENT: usize = 4;

/// The TFTP server.
#[derive(Debug)]
pub struct TftpServer {
    config: TftpConfig,
    socket: std::net::UdpSocket,
}

impl TftpServer {
    /// Takes the port.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub fn bind(config: TftpConfig) -> Result<Self, Error> {
        let socket = socket::on_address("TFTP", config.listen)?;
        Ok(Self { config, socket })
    }

    /// Where it listens: of use when the port was 0.
    ///
    /// # Errors
    /// [`Error::Receive`], never in practice.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.socket.local_addr().map_err(|source| self.error(source))
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::Receive { service: "TFTP", place: self.config.listen.to_string(), source }
    }

    /// Serves until `stop`; running transfers then end.
    ///
    /// # Errors
    /// [`Error::Receive`].
    pub async fn run(
        self,
        decider: Arc<dyn Decider>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let socket = self.socket.try_clone().and_then(UdpSocket::from_std);
        let socket = socket.map_err(|source| self.error(source))?;
        tracing::info!(address = %self.config.listen, "TFTP server started");
        let config = Arc::new(self.config);
        let mut transfers = JoinSet::new();
        let mut per_client: HashMap<IpAddr, usize> = HashMap::new();
        let mut buffer = [0; 2048];
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = transfers.join_next() => {
                    let peer: SocketAddr = match ended.map_err(JoinError::try_into_panic) {
                        Ok(peer) => peer,
                        Err(Ok(panic)) => std::panic::resume_unwind(panic),
                        // Nobody aborts transfers one by one.
                        Err(Err(_)) => continue,
                    };
                    if let Some(count) = per_client.get_mut(&peer.ip()) {
                        *count -= 1;
                        if *count == 0 {
                            per_client.remove(&peer.ip());
                        }
                    }
                }
                received = socket.recv_from(&mut buffer) => {
                    let (length, peer) = match received {
                        Ok(received) => received,
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                        Err(source) => {
                            let place = config.listen.to_string();
                            return Err(Error::Receive { service: "TFTP", place, source });
                        }
                    };
                    let request = match Packet::parse(&buffer[..length]) {
                        Ok(Packet::Read(request)) => request,
                        Ok(Packet::Write(_)) => {
                            refuse(&socket, peer, ErrorCode::Access, "this server is read-only").await;
                            continue;
                        }
                        // Answering an error to what is no request could go on for ever between two servers.
                        Ok(_) => continue,
                        Err(error) => {
                            tracing::debug!(%peer, %error, "not a TFTP request");
                            continue;
                        }
                    };
                    let count = per_client.entry(peer.ip()).or_default();
                    if transfers.len() >= config.max_transfers || *count >= MAX_PER_CLIENT {
                        // Silence: the client asks again, and a transfer ends in the meantime.
                        tracing::warn!(%peer, running = transfers.len(), "too many TFTP transfers");
                        if *count == 0 {
                            per_client.remove(&peer.ip());
                        }
                        continue;
                    }
                    *count += 1;
                    let (config, decider) = (Arc::clone(&config), Arc::clone(&decider));
                    transfers.spawn(async move {
                        serve(&config, peer, &request, &*decider).await;
                        peer
                    });
                }
            }
        }
    }
}

/// Serves one request to its end.
async fn serve(config: &TftpConfig, peer: SocketAddr, request: &Request, decider: &dyn Decider) {
    let file: String =
        request.file.chars().map(|c| if c.is_control() { '?' } else { c }).take(128).collect();
    let started = Instant::now();
    let result = transfer(config, peer, request).await;
    let mac = match peer.ip() {
        IpAddr::V4(address) => neighbour::hardware_address(address),
        IpAddr::V6(_) => None,
    };
    match result {
        Ok(Some(bytes)) => {
            let took = started.elapsed();
            tracing::info!(%peer, file, bytes, ?took, "loader sent");
            decider.observe(Event::LoaderSent { peer, mac, file, bytes, took });
        }
        Ok(None) => tracing::debug!(%peer, file, "only asked for the size"),
        Err(reason) => {
            tracing::warn!(%peer, file, reason, "loader not sent");
            decider.observe(Event::LoaderFailed { peer, mac, file, reason });
        }
    }
}

/// Sends one file; the number of its bytes, or `None` when the client only wanted to know that number.
async fn transfer(
    config: &TftpConfig,
    peer: SocketAddr,
    request: &Request,
) -> Result<Option<u64>, String> {
    // Each transfer has a port of its own (RFC 1350 4); connected, so that nobody else can speak on it.
    let socket =
        UdpSocket::bind((*config.listen.ip(), 0)).await.map_err(|error| error.to_string())?;
    socket.connect(peer).await.map_err(|error| error.to_string())?;
    let Some(content) = config.loaders.get(&request.file) else {
        let message = "no such loader";
        let packet = Packet::Error { code: ErrorCode::NotFound, message: message.into() }.emit();
        let _ = socket.send(&packet).await;
        return Err(message.into());
    };
    let size = content.len() as u64;
    let (mut transfer, first) =
        match Transfer::start(Instant::now(), request, content, &config.limits) {
            Ok(started) => started,
            Err(refusal) => {
                let _ = socket.send(&refusal.packet()).await;
                return Err(refusal.to_string());
            }
        };
    let started = Instant::now();
    let mut send = first;
    let mut buffer = [0; 1024];
    loop {
        for datagram in &send {
            // A full queue or an unreachable client is the same as a lost packet: it is sent again.
            let _ = socket.send(datagram).await;
        }
        if started.elapsed() > MAX_DURATION {
            return Err(format!("not complete after {} s", MAX_DURATION.as_secs()));
        }
        let deadline = tokio::time::Instant::from_std(transfer.deadline());
        let step = match tokio::time::timeout_at(deadline, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => transfer.datagram(Instant::now(), &buffer[..length]),
            // The client's port is closed: it will not come back.
            Ok(Err(error)) => return Err(format!("the client went away: {error}")),
            Err(_) => transfer.timeout(Instant::now()),
        };
        match step.done {
            None => send = step.send,
            Some(Outcome::Complete) => return Ok(Some(size)),
            Some(Outcome::Probed) => return Ok(None),
            Some(Outcome::Aborted { message, .. }) => {
                let message: String =
                    message.chars().filter(|c| !c.is_control()).take(100).collect();
                return Err(format!("the client stopped: {message}"));
            }
            Some(Outcome::Lost { acknowledged }) => {
                return Err(format!(
                    "the client fell silent after {acknowledged} of {size} bytes; if that is always so, smaller blocks may help"
                ));
            }
        }
    }
}

async fn refuse(socket: &UdpSocket, peer: SocketAddr, code: ErrorCode, message: &str) {
    let packet = Packet::Error { code, message: message.into() }.emit();
    let _ = socket.send_to(&packet, peer).await;
}
