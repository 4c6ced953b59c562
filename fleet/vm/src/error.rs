//! What can go wrong around a virtual machine.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a machine did not start, or did not do what was waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// QEMU could not be run.
    #[error("running {program}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// A file beside the machine could not be made.
    #[error("preparing the machine's directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// QEMU ended.
    #[error("QEMU ended ({status}){}", said(stderr))]
    Ended {
        /// Its exit status in words.
        status: String,
        /// The last lines it wrote to standard error.
        stderr: String,
    },

    /// The serial console did not show what was waited for.
    #[error("\"{pattern}\" did not appear on the serial console within {} s; its last lines:\n{tail}", after.as_secs())]
    NotSeen {
        /// The text waited for.
        pattern: String,
        /// How long we waited.
        after: Duration,
        /// The last lines of the console.
        tail: String,
    },

    /// KVM was asked for and does not work here.
    #[error("KVM cannot boot a kernel on this machine: {reason}")]
    Kvm {
        /// What happened when it was tried.
        reason: String,
    },
}

impl Error {
    /// What the reader can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Spawn { .. } => Some("install QEMU: apt-get install qemu-system-x86"),
            Self::Ended { stderr, .. } if stderr.contains("romfile") => {
                Some("the network card's boot ROM is missing: apt-get install ipxe-qemu")
            }
            Self::Kvm { .. } => Some("use --accel tcg, or leave the choice to --accel auto"),
            Self::Directory { .. } | Self::Ended { .. } | Self::NotSeen { .. } => None,
        }
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}
