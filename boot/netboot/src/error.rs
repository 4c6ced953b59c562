//! What can go wrong around the sockets.

use std::io;
use std::path::PathBuf;

/// Why a service does not start or stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("DHCP configuration: {0}")]
    Config(String),
    /// A socket cannot be had.
    #[error("cannot listen for {service} on UDP port {port} of {place}")]
    Bind {
        /// DHCP, ProxyDHCP or TFTP.
        service: &'static str,
        /// The port.
        port: u16,
        /// The interface or address.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A socket that worked stopped working.
    #[error("receiving {service} packets on {place}")]
    Receive {
        /// DHCP, ProxyDHCP or TFTP.
        service: &'static str,
        /// The interface or address.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The leases cannot be kept.
    #[error("the lease journal {path}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A loader cannot be read.
    #[error("reading the loaders")]
    Loaders {
        /// Why, with the path.
        #[source]
        source: io::Error,
    },
    /// A loader that is too large for any firmware.
    #[error("the loader {path} has {size} bytes, want {max} at most")]
    LargeLoader {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The most that is served.
        max: u64,
    },
}

impl Error {
    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let Self::Bind { service, port, place, source } = self else { return None };
        match source.kind() {
            io::ErrorKind::AddrInUse => Some(match *service {
                "TFTP" => format!(
                    "another TFTP server has port {port}; see who: ss -ulpn 'sport = :{port}'"
                ),
                _ => format!(
                    "another DHCP server has port {port}; see who: ss -ulpn 'sport = :{port}'. \
                     Stop it, or keep it and let overboot only add the boot file from another machine"
                ),
            }),
            io::ErrorKind::PermissionDenied => Some(format!(
                "ports below 1024 and raw devices want root, or CAP_NET_BIND_SERVICE and CAP_NET_RAW ({place})"
            )),
            io::ErrorKind::AddrNotAvailable => {
                Some(format!("{place} is no address of this machine; see: ip address"))
            }
            _ if source.raw_os_error() == Some(19) => {
                Some(format!("there is no interface {place}; see: ip link"))
            }
            _ => None,
        }
    }
}
