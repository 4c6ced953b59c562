//! The boot decision, and the services that carry it to a machine.
//!
//! Pure, no I/O:
//! - [`decide`](decide()): what a [`Client`] gets, from what the fleet knows about it (a [`View`]) and what this server
//!   can serve (a [`Site`]). The only place where that is decided.
//! - [`ipxe`]: the scripts that carry a decision over HTTP.
//!
//! To the fleet:
//! - [`Decider`]: whom the services ask, and whom they tell what happened ([`Event`]).
//!
//! Services, each with `bind` (takes its ports, sync) and `run` (until cancelled):
//! - [`dhcp`]: [`DhcpServer`](dhcp::DhcpServer), or [`ProxyDhcp`](dhcp::ProxyDhcp) beside the site's own server.
//! - [`TftpServer`]: gives out [`Loaders`].
//!
//! Must not know: nodes, workflows, stores, SQL, HTTP servers. HTTP itself is served above; it calls
//! [`decide`](decide()) and [`ipxe::script`].

mod client;
mod decide;
mod decider;
pub mod dhcp;
mod error;
pub mod ipxe;
mod loaders;
mod neighbour;
mod site;
mod socket;
mod tftp;

pub use client::{Asking, Client};
pub use decide::{BootDecision, BootPlan, Exit, Machine, View, Work, decide};
pub use decider::{Decider, Event};
pub use error::Error;
pub use loaders::Loaders;
pub use site::Site;
pub use tftp::{TftpConfig, TftpServer};
