//! The services' side of the fleet.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use overboot_dhcp::Mac;

use crate::client::Client;
use crate::decide::BootDecision;

/// Whom the services ask what a client gets. Implemented by the server, which looks the client up and calls
/// [`decide`](crate::decide()).
pub trait Decider: Send + Sync + 'static {
    /// What `client` gets. A service that has no answer within a second leaves the client without a boot file and lets
    /// it ask again.
    fn decide<'a>(
        &'a self,
        client: &'a Client,
    ) -> Pin<Box<dyn Future<Output = BootDecision> + Send + 'a>>;

    /// Takes note of what happened. Must return at once.
    fn observe(&self, event: Event);
}

/// What a service did for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An offer with a boot file was sent: the first sign of a network boot.
    Offered {
        /// To whom.
        client: Client,
        /// The address it was offered; `None` from ProxyDHCP, which gives none.
        address: Option<Ipv4Addr>,
        /// What goes with it.
        decision: BootDecision,
    },
    /// A client now has this address by our lease.
    Leased {
        /// Who.
        mac: Mac,
        /// The address.
        address: Ipv4Addr,
        /// The name it gave itself (option 12).
        host_name: Option<String>,
    },
    /// An address was given back, or its client found somebody else on it.
    Released {
        /// Who had it.
        mac: Mac,
        /// The address.
        address: Ipv4Addr,
    },
    /// A loader went over TFTP to its end.
    LoaderSent {
        /// To whom.
        peer: SocketAddr,
        /// Its hardware address, when it is on a network of this machine.
        mac: Option<Mac>,
        /// Its name.
        file: String,
        /// Its size in bytes.
        bytes: u64,
        /// From the request to the last acknowledgement.
        took: Duration,
    },
    /// A TFTP request that did not end well.
    LoaderFailed {
        /// To whom.
        peer: SocketAddr,
        /// Its hardware address, when it is on a network of this machine.
        mac: Option<Mac>,
        /// The name that was asked for, shortened.
        file: String,
        /// Why, for people.
        reason: String,
    },
}
