//! Why a server does not start, or stops.

use std::io;
use std::net::SocketAddr;

/// What an operator is told. (What a client of the API is told is another type.)
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The HTTP port cannot be had.
    #[error("cannot listen for HTTP on {address}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// Nodes could not be told where to find us.
    #[error("{listening} is no address that nodes could use to reach this server")]
    NoAddress {
        /// Where HTTP listens.
        listening: SocketAddr,
    },

    /// The host to advertise is none.
    #[error("\"{text}\" is not a host, or a host and a port, that nodes could use")]
    Advertised {
        /// What was given.
        text: String,
    },

    /// The state cannot be opened.
    #[error("opening the fleet's state")]
    State(#[source] overboot_state::Error),

    /// The image store cannot be opened.
    #[error("opening the image store")]
    Store(#[source] overboot_store::Error),

    /// The workflow engine does not start or has failed.
    #[error("the workflow engine")]
    Engine(#[source] overboot_workflow::Error),

    /// A boot service does not start or has failed.
    #[error("the boot services")]
    Netboot(#[source] overboot_netboot::Error),

    /// A part of the server ended by a panic.
    #[error("a part of the server ended unexpectedly")]
    Part(#[source] tokio::task::JoinError),
}

impl Error {
    /// What the reader can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Http { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another program has this port; stop it or choose another port")
            }
            Self::Http { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE")
            }
            Self::Http { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                Some("no interface of this machine has that address: choose another, or 0.0.0.0")
            }
            Self::NoAddress { .. } => Some("name the address of this machine that nodes reach"),
            Self::State(source) => source.hint(),
            Self::Engine(source) => source.hint(),
            Self::Http { .. }
            | Self::Advertised { .. }
            | Self::Store(_)
            | Self::Netboot(_)
            | Self::Part(_) => None,
        }
    }
}
