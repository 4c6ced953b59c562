//! What can go wrong between the kernel's start and a commanded node.

use std::io;
use std::path::PathBuf;

use overboot_bootset::{ChunkError, Error as BootSetError};

/// A failed step. Its text is a sentence for the console; sources follow it (see [`chain`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call.
    #[error("cannot {what}")]
    System {
        /// What was tried: `mount tmpfs on /run`.
        what: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A file.
    #[error("cannot use a file")]
    File(#[source] io::Error),
    /// The index of modules in the initrd, or in a layer.
    #[error("cannot read the index of kernel modules in {}", path.display())]
    ModuleIndex {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: overboot_kmod::Error,
    },
    /// No network interface at all.
    #[error(
        "no network interface appeared within {seconds} s: the initrd lacks its driver or firmware, or there is none"
    )]
    NoInterface {
        /// How long was waited.
        seconds: u64,
    },
    /// An interface's driver refuses.
    #[error("cannot switch {interface} on")]
    NotOn {
        /// Its name and address.
        interface: String,
        /// The driver's answer.
        #[source]
        source: io::Error,
    },
    /// No interface has a cable with something at its end.
    #[error("no link: {interfaces} have no carrier after {seconds} s")]
    NoCarrier {
        /// Their names.
        interfaces: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Links, but no DHCP server.
    #[error("no DHCP server answered on {interfaces} within {seconds} s")]
    NoLease {
        /// Their names.
        interfaces: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Neither a boot set nor `BASEFS`.
    #[error("the kernel command line names nothing to boot: neither overboot.set= nor BASEFS=")]
    NothingToBoot,
    /// A URL that cannot be used.
    #[error("cannot use the URL {url}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// A host name that has no address.
    #[error("cannot find the address of {host}: {reason}")]
    Name {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// A server that cannot be reached, or stops in the middle.
    #[error("cannot {what} {host}")]
    Connection {
        /// `connect to`, `read from`.
        what: &'static str,
        /// `host:port`.
        host: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A server that answers something that is not HTTP.
    #[error("{host} does not speak HTTP: {reason}")]
    NotHttp {
        /// `host:port`.
        host: String,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// A server that answers, but not with what was asked for.
    #[error("{url} answered with status {status}")]
    Status {
        /// The URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Bigger than anything expected there.
    #[error("{url} is larger than {max} bytes")]
    TooBig {
        /// The URL.
        url: String,
        /// The most that is taken.
        max: u64,
    },
    /// A boot set that must not be booted.
    #[error("the boot set {url} is not trusted")]
    BootSet {
        /// Where it came from.
        url: String,
        /// What is wrong with it.
        #[source]
        source: BootSetError,
    },
    /// A boot set that is signed, but has the name of another one.
    #[error("{url} is the boot set \"{name}\": signed, but not the one that was asked for")]
    OtherSet {
        /// Where it came from.
        url: String,
        /// What it calls itself.
        name: String,
    },
    /// The initrd's own keys.
    #[error("cannot read the trusted keys in {}", path.display())]
    Keys {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: BootSetError,
    },
    /// Less memory than the set asks for.
    #[error(
        "this node has {} MiB of memory; {what} needs {} MiB", have >> 20, need.div_ceil(1 << 20)
    )]
    Memory {
        /// The set, by name.
        what: String,
        /// Bytes there are.
        have: u64,
        /// Bytes needed.
        need: u64,
    },
    /// A layer that is not what was signed.
    #[error("a layer is not what was signed")]
    Chunk(#[from] ChunkError),
    /// A layer that no server could deliver.
    #[error("cannot fetch {layer} from any of {tried}")]
    Layer {
        /// Its name.
        layer: String,
        /// The servers that were tried.
        tried: String,
        /// The last failure.
        #[source]
        source: Box<Error>,
    },
    /// A layer that cannot be made part of the root.
    #[error("layer {layer} cannot be used: {reason}")]
    Format {
        /// Its name.
        layer: String,
        /// Why.
        reason: String,
    },
    /// A root without a program to start.
    #[error("cannot start {program} of the new root")]
    Exec {
        /// The program.
        program: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// An answer of the task API that is none.
    #[error("the task server answered with something that is no task document")]
    Tasks(#[source] serde_json::Error),
    /// Another part failed first.
    #[error("stopped, because something else failed")]
    Stopped,
}

impl Error {
    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BootSet { source, .. } | Self::Keys { source, .. } => {
                return source.hint().map(str::to_owned);
            }
            Self::Layer { source, .. } => return source.hint(),
            Self::OtherSet { .. } => {
                "check what the server, or somebody between it and this node, hands out".to_owned()
            }
            Self::NoCarrier { .. } => "check the cable and the switch port".to_owned(),
            Self::NoLease { .. } => {
                "check that a DHCP server has free addresses for this network".to_owned()
            }
            Self::NoInterface { .. } => {
                "add the driver to the recipe's [initrd] modules, and what its card is given first to [firmware]".to_owned()
            }
            Self::NotOn { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "add what the card is given first to the recipe's [firmware]: the driver, and the package that has it".to_owned()
            }
            Self::Chunk(_) => {
                "check the copy of the blob on the server: `overboot verify`".to_owned()
            }
            Self::Status { status: 404, .. } => "publish it on that server".to_owned(),
            Self::Connection { .. } => "check that the server runs and its port is open".to_owned(),
            Self::Memory { .. } => "give the node more memory, or boot a smaller set".to_owned(),
            _ => return None,
        })
    }

    /// Wraps a failed system call; for `map_err`.
    pub fn system(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let what = what.into();
        move |errno| Self::System { what, source: errno.into() }
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::File(source)
    }
}

/// An error and all its sources as one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
