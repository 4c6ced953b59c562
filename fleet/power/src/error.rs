//! What can go wrong between us and a machine's power control.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an operation on a machine's power or boot device did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No power control of this name exists here.
    #[error("power service \"{service}\" is not known")]
    UnknownService {
        /// The name asked for.
        service: String,
    },

    /// The settings of a service cannot be used.
    #[error("settings of power service \"{service}\" are not usable: {reason}")]
    Config {
        /// The service.
        service: &'static str,
        /// What is wrong with them.
        reason: String,
    },

    /// The QMP socket does not take connections.
    #[error("connecting to the QEMU monitor at {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The QMP connection broke.
    #[error("talking to the QEMU monitor at {}, during {operation}", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// The QMP command, or `greeting`.
        operation: String,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// What came back is not QMP.
    #[error("the peer at {} does not speak QMP: {reason}", socket.display())]
    Protocol {
        /// The socket.
        socket: PathBuf,
        /// What was unexpected.
        reason: String,
    },

    /// QEMU refused a command.
    #[error("QEMU at {} refused {command}: {reason}", socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The QMP command.
        command: String,
        /// QEMU's words.
        reason: String,
    },

    /// No answer in time.
    #[error("QEMU at {} did not answer {operation} within {} s", socket.display(), after.as_secs())]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// The QMP command, `greeting`, or the event waited for.
        operation: String,
        /// How long we waited.
        after: Duration,
    },
}

impl Error {
    /// What the reader can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnknownService { .. } => Some(
                "known services: noop-obm-service {}, qemu-obm-service {\"qmp\": \"/path/to/socket\"}",
            ),
            Self::Connect { .. } => Some(
                "start the machine with -qmp unix:PATH,server=on,wait=off and give the same PATH as \"qmp\"",
            ),
            Self::Timeout { .. } => Some(
                "a QMP socket serves one client at a time: give this service a socket of its own",
            ),
            Self::Config { .. }
            | Self::Io { .. }
            | Self::Protocol { .. }
            | Self::Refused { .. } => None,
        }
    }
}
