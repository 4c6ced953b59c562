//! What an operator tells the DHCP services.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use overboot_dhcp::Mac;

use crate::error::Error;
use crate::site::Site;

/// The DHCP server's configuration.
#[derive(Debug, Clone)]
pub struct DhcpConfig {
    /// The interface to serve. Nothing that arrives elsewhere is seen.
    pub interface: String,
    /// This server's address there: the server identifier (option 54).
    pub address: Ipv4Addr,
    /// The network on the interface, and those behind relay agents.
    pub networks: Vec<Network>,
    /// Addresses that belong to one machine for ever; inside one of the networks, inside or outside its range.
    pub reservations: BTreeMap<Mac, Ipv4Addr>,
    /// For how long an address is given. Whole seconds; at least a minute.
    pub lease_time: Duration,
    /// Where leases are kept over a restart.
    pub journal: PathBuf,
    /// Where the boot services are.
    pub site: Site,
}

/// One network and what its clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Any address of the network.
    pub address: Ipv4Addr,
    /// The length of its prefix in bits: 8 to 30.
    pub prefix: u8,
    /// The addresses to give away.
    pub range: RangeInclusive<Ipv4Addr>,
    /// Routers, best first.
    pub routers: Vec<Ipv4Addr>,
    /// Name servers, best first.
    pub dns: Vec<Ipv4Addr>,
    /// NTP servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The domain to look names up in.
    pub domain: Option<String>,
}

/// ProxyDHCP's configuration.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// The interface to serve.
    pub interface: String,
    /// This server's address there.
    pub address: Ipv4Addr,
    /// Where the boot services are.
    pub site: Site,
}

/// More addresses than this in one range are a typing error.
const MAX_RANGE: u32 = 1 << 16;

impl DhcpConfig {
    /// Looks for contradictions.
    ///
    /// # Errors
    /// [`Error::Config`] with a sentence about the first one.
    pub fn check(&self) -> Result<(), Error> {
        let problem = |text: String| Err(Error::Config(text));
        if self.lease_time < Duration::from_secs(60) {
            return problem(format!(
                "a lease of {} s is too short, want 60 at least",
                self.lease_time.as_secs()
            ));
        }
        if !self.networks.iter().any(|network| network.contains(self.address)) {
            return problem(format!(
                "none of the networks has this server's address {}",
                self.address
            ));
        }
        for (index, network) in self.networks.iter().enumerate() {
            network.check()?;
            if let Some(taken) = network
                .routers
                .iter()
                .chain([&self.address])
                .find(|address| network.range.contains(*address))
            {
                let (first, last) = (network.range.start(), network.range.end());
                return problem(format!(
                    "the range {first} to {last} has {taken} in it, which is in use"
                ));
            }
            let overlaps = |other: &Network| {
                other.contains(network.network()) || network.contains(other.network())
            };
            if let Some(other) = self.networks[..index].iter().find(|other| overlaps(other)) {
                return problem(format!("the networks {other} and {network} overlap"));
            }
        }
        let mut taken = BTreeMap::new();
        for (mac, address) in &self.reservations {
            if !self.networks.iter().any(|network| network.is_host(*address)) {
                return problem(format!(
                    "{address}, reserved for {mac}, is in none of the networks"
                ));
            }
            if *address == self.address {
                return problem(format!(
                    "{address}, reserved for {mac}, is this server's own address"
                ));
            }
            if let Some(other) = taken.insert(*address, *mac) {
                return problem(format!("{address} is reserved for both {other} and {mac}"));
            }
        }
        Ok(())
    }
}

impl Network {
    /// The mask.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0))
    }

    /// The first address.
    #[must_use]
    pub fn network(&self) -> Ipv4Addr {
        self.address & self.mask()
    }

    /// The last address.
    #[must_use]
    pub fn broadcast(&self) -> Ipv4Addr {
        self.address | !self.mask()
    }

    /// Whether `address` lies in the network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address & self.mask() == self.network()
    }

    /// Whether `address` can be a machine's: neither the network's nor the broadcast address.
    #[must_use]
    pub fn is_host(&self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.network() && address != self.broadcast()
    }

    fn check(&self) -> Result<(), Error> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let problem = if !(8..=30).contains(&self.prefix) {
            format!("{self}: a prefix of 8 to 30 bits is wanted")
        } else if !self.is_host(first) || !self.is_host(last) {
            format!("the range {first} to {last} is not inside {self}")
        } else if first > last {
            format!("the range {first} to {last} is empty: its first address comes after its last")
        } else if last.to_bits() - first.to_bits() >= MAX_RANGE {
            format!("the range {first} to {last} has more than {MAX_RANGE} addresses")
        } else {
            return Ok(());
        };
        Err(Error::Config(problem))
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}
