//! DHCP: a server of its own, or ProxyDHCP beside the site's server.
//!
//! [`Core`] and [`proxy`] are pure: a packet, the time and the boot decision in, [`Action`]s out. [`DhcpServer`] and
//! [`ProxyDhcp`] put sockets around them.

mod boot_options;
mod config;
mod core;
mod journal;
mod leases;
pub mod proxy;
mod service;

pub use self::core::{Action, Core, Destination};
pub use config::{DhcpConfig, Network, ProxyConfig};
pub use journal::Journal;
pub use leases::{Lease, Leases};
pub use service::{DhcpServer, ProxyDhcp};
