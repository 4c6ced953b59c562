//! What a server is started with.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use overboot_dhcp::Mac;
use overboot_netboot::dhcp::Network;

/// Everything [`crate::Server::start`] needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where HTTP listens. Port 0 takes a free one.
    pub http: SocketAddr,
    /// The host, or host and port, under which nodes reach HTTP: `192.0.2.1`, `boot.example:80`. Unless given, the
    /// address of DHCP, of TFTP, or the listening one; needed when none of them says it (`0.0.0.0`).
    pub advertised: Option<String>,
    /// Folder of the server's own state, made if there is none.
    pub state: PathBuf,
    /// Folder of the image store.
    pub store: PathBuf,
    /// Folder of the boot loaders (`undionly.kpxe`, `ipxe.efi`, …) for TFTP and HTTP. Unless given, those that the
    /// build has put into the store, else those of the host's `ipxe` package.
    pub loaders: Option<PathBuf>,
    /// Folder of plain files under `/common/`, where RackHD's images are.
    pub common: Option<PathBuf>,
    /// What answers DHCP.
    pub dhcp: Dhcp,
    /// Where TFTP listens, at a real address of this machine; nothing: not at all.
    pub tftp: Option<SocketAddrV4>,
    /// Further servers that have the blobs of boot sets, given to nodes: URLs below which `blobs/sha256/` is.
    pub mirrors: Vec<String>,
    /// Host that takes the nodes' log lines.
    pub syslog: Option<Ipv4Addr>,
    /// The graph for nodes that have no catalogs; nothing: leave them waiting.
    pub discovery: Option<String>,
    /// The boot set of workflows that name none.
    pub boot_set: String,
    /// Machines get boot sets as they were built last, whatever is published: for trying out what is to be published.
    pub unpublished: bool,
    /// Machines to leave alone.
    pub excluded: Vec<Mac>,
}

impl ServerConfig {
    /// HTTP on a free port of the loopback address, no DHCP, no TFTP, discovery by `Graph.SKU.Discovery` as RackHD.
    #[must_use]
    pub fn new(state: PathBuf, store: PathBuf) -> Self {
        Self {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertised: None,
            state,
            store,
            loaders: None,
            common: None,
            dhcp: Dhcp::Off,
            tftp: None,
            mirrors: Vec::new(),
            syslog: None,
            discovery: Some("Graph.SKU.Discovery".to_owned()),
            boot_set: "discovery".to_owned(),
            unpublished: false,
            excluded: Vec::new(),
        }
    }
}

/// What answers DHCP.
#[derive(Clone, Debug, Default)]
pub enum Dhcp {
    /// Nothing of ours.
    #[default]
    Off,
    /// A DHCP server of our own.
    Server {
        /// The interface to serve.
        interface: String,
        /// Our address there.
        address: Ipv4Addr,
        /// The network there, and those behind relays.
        networks: Vec<Network>,
        /// Addresses that belong to one machine for ever.
        reservations: BTreeMap<Mac, Ipv4Addr>,
        /// For how long an address is given.
        lease_time: Duration,
    },
    /// ProxyDHCP: the boot file, beside the site's own server.
    Proxy {
        /// The interface to serve.
        interface: String,
        /// Our address there.
        address: Ipv4Addr,
    },
}

impl Dhcp {
    /// Our address on the network that is served.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Off => None,
            Self::Server { address, .. } | Self::Proxy { address, .. } => Some(*address),
        }
    }
}
