//! What can go wrong with an archive, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use overboot_digest::Digest;

use crate::time;
use crate::trust::TrustError;

/// Why an archive could not be used. The message says what, where and why; [`Error::hint`] says what to do now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host's name has no address: no network, no DNS, or a wrong name.
    #[error("cannot fetch {url}: the name \"{host}\" cannot be resolved")]
    Unresolved {
        /// What was asked for.
        url: String,
        /// The host, the archive's or the proxy's.
        host: String,
    },
    /// No connection to the host or the proxy.
    #[error("cannot fetch {url}: no connection to {host}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The host, the archive's or the proxy's.
        host: String,
        /// What the connection failed with.
        #[source]
        source: io::Error,
    },
    /// A connection that broke or stalled, each time it was tried.
    #[error("cannot fetch {url}: the transfer broke off, tried {attempts} times")]
    Interrupted {
        /// What was asked for.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt failed with.
        #[source]
        source: io::Error,
    },
    /// The server has no such file.
    #[error("{url} does not exist (HTTP status 404)")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The server answered with an error or with something else than a file.
    #[error("cannot fetch {url}: the server answered with HTTP status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// Its status code.
        status: u16,
    },
    /// A proxy that cannot be used.
    #[error("cannot use the proxy {proxy}{}: {reason}", if *from_environment { ", which the environment names" } else { "" })]
    Proxy {
        /// Its address, without a login.
        proxy: String,
        /// Does a variable such as `http_proxy` name it?
        from_environment: bool,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not an address that can be fetched.
    #[error("cannot use the address \"{url}\": {reason}")]
    Address {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More bytes than a file of this kind can have.
    #[error("{url} is larger than {limit} bytes, which no file of its kind is")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Another length than the signed index promises.
    #[error("{url} is not what the signed index promises: {found} bytes instead of {expected}")]
    WrongSize {
        /// What was asked for.
        url: String,
        /// Bytes promised.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// Other content than the signed index promises.
    #[error("{url} is not what the signed index promises: {found} instead of {expected}")]
    WrongDigest {
        /// What was asked for.
        url: String,
        /// The digest promised.
        expected: Digest,
        /// The digest found.
        found: Digest,
    },
    /// It must be fetched and the network must not be used.
    #[error("{what} is not in the cache at {}, and the network is not to be used (offline)", path.display())]
    Offline {
        /// What is missing: a package with its version, or an index.
        what: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// No space left on the disk.
    #[error("no space left on the disk while writing {}", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the cache or a keyring that cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The archive has no such suite.
    #[error("suite \"{suite}\" does not exist at {uri}{}", listed("; suites there:", known))]
    SuiteNotFound {
        /// The suite asked for.
        suite: String,
        /// The archive.
        uri: String,
        /// Suites that were seen there; empty when the server does not tell.
        known: Vec<String>,
    },
    /// The signature on an InRelease file does not hold.
    #[error("{url} is not to be trusted")]
    Untrusted {
        /// The InRelease file.
        url: String,
        /// Why not.
        #[source]
        source: TrustError,
    },
    /// A signed file that does not follow the Debian repository format.
    #[error("{url} is signed but cannot be read: {reason}")]
    ReleaseSyntax {
        /// The Release file.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A validly signed Release file of another suite: a mix-up, or somebody serving one suite as another.
    #[error(
        "{url} is signed, but for another suite: Suite \"{found_suite}\", Codename \"{found_codename}\", and \"{wanted}\" was asked for"
    )]
    OtherSuite {
        /// The Release file.
        url: String,
        /// The suite asked for.
        wanted: String,
        /// Its `Suite` field.
        found_suite: String,
        /// Its `Codename` field.
        found_codename: String,
    },
    /// The archive's own date of expiry (`Valid-Until`) has passed.
    #[error("{url} has expired: it was valid until {}, and it is {}", time::show(*valid_until), time::show(*now))]
    Expired {
        /// The Release file.
        url: String,
        /// When it expired, seconds since 1970.
        valid_until: u64,
        /// The time of the check, seconds since 1970.
        now: u64,
    },
    /// Dated after now: this host's clock is wrong.
    #[error("{url} is dated {}, and this host's clock says {}", time::show(*date), time::show(*now))]
    FromTheFuture {
        /// The Release file.
        url: String,
        /// Its `Date`, seconds since 1970.
        date: u64,
        /// The time of the check, seconds since 1970.
        now: u64,
    },
    /// Validly signed, but older than one that was seen before.
    #[error("{url} is dated {}, older than the one seen before, of {}", time::show(*date), time::show(*seen))]
    Replayed {
        /// The Release file.
        url: String,
        /// Its `Date`, seconds since 1970.
        date: u64,
        /// The `Date` of the one in the cache.
        seen: u64,
        /// Where that one is.
        cached: PathBuf,
    },
    /// The suite has no packages for that architecture.
    #[error(
        "suite \"{suite}\" at {uri} has nothing for the architecture \"{architecture}\"{}",
        listed("; it has", known)
    )]
    NoArchitecture {
        /// The suite.
        suite: String,
        /// The archive.
        uri: String,
        /// The architecture asked for.
        architecture: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The suite has no such component.
    #[error(
        "suite \"{suite}\" at {uri} has no component \"{component}\"{}",
        listed("; it has", known)
    )]
    NoComponent {
        /// The suite.
        suite: String,
        /// The archive.
        uri: String,
        /// The component asked for.
        component: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The Release file lists no package index, although it names component and architecture.
    #[error("suite \"{suite}\" at {uri} has no list of packages{}", for_component(component))]
    NoIndex {
        /// The suite.
        suite: String,
        /// The archive.
        uri: String,
        /// The component asked for; empty where there are none.
        component: String,
    },
    /// An index that cannot be decompressed although its digest is right.
    #[error("cannot decompress {url}")]
    Decompress {
        /// The index.
        url: String,
        /// What the decompressor said.
        #[source]
        source: io::Error,
    },
    /// A package file that cannot be had.
    #[error("cannot get package {name} {version} ({architecture})")]
    Package {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// Its architecture.
        architecture: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// Keys that cannot be read.
    #[error("{}: not a usable OpenPGP keyring: {reason}", path.display())]
    Keyring {
        /// The keyring's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// What was being fetched, where it is about that.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Unresolved { url, .. }
            | Self::Unreachable { url, .. }
            | Self::Interrupted { url, .. }
            | Self::NotFound { url }
            | Self::Status { url, .. }
            | Self::Address { url, .. }
            | Self::TooLarge { url, .. }
            | Self::WrongSize { url, .. }
            | Self::WrongDigest { url, .. } => Some(url),
            Self::Package { source, .. } => source.url(),
            _ => None,
        }
    }

    /// What to do about it, one sentence or two; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unresolved { host, .. } => {
                return Some(format!(
                    "Check that this host is online and that \"{host}\" is spelled right (`getent hosts {host}`). With \
                     all packages in the cache a build needs no network: use --offline."
                ));
            }
            Self::Unreachable { host, .. } => {
                return Some(format!(
                    "Check the network, the firewall, and that {host} is the right mirror or proxy. With all packages \
                     in the cache a build needs no network: use --offline."
                ));
            }
            Self::Interrupted { .. } => {
                "Run it again: what has been fetched is kept and resumed. If it stays so, try another mirror."
            }
            Self::NotFound { .. } => {
                "The mirror has moved on since the lock was written, or is incomplete: update the lock \
                 (`overboot lock --update`), or take a snapshot archive as the mirror."
            }
            Self::Status { status, .. } if *status >= 500 => {
                "The server has a problem of its own: try again later, or another mirror."
            }
            Self::Status { status: 407, .. } => {
                "The proxy wants a login, and none can be given: have it let this host through without one."
            }
            Self::Status { .. } => "Check the mirror's address and, where one is used, the proxy.",
            Self::Address { .. } => {
                "An address is http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH."
            }
            Self::TooLarge { .. } => {
                "Something else answers at that address (a login page, a wrong server): look at it with a browser."
            }
            Self::WrongSize { .. } | Self::WrongDigest { .. } => {
                "The mirror is just being updated, or a proxy in between keeps an old copy: try again in some \
                 minutes, or another mirror. What was fetched has been thrown away."
            }
            Self::Offline { .. } => "Run once without --offline to fetch it.",
            Self::DiskFull { .. } => {
                "Free some space there and run it again: what has been fetched is kept and resumed."
            }
            Self::File { .. } => {
                "Check that the path is right and that this user may read and write there."
            }
            Self::SuiteNotFound { suite, .. } if suite.ends_with('/') => {
                "Check the mirror's address and the folder: there must be an InRelease (a Release with a signature apart is not \
                 taken)."
            }
            Self::SuiteNotFound { known, .. } if known.is_empty() => {
                "Check the suite's name and the mirror's address: beneath it there must be dists/SUITE/InRelease. An archive \
                 without `dists` has the suite \"./\"."
            }
            Self::SuiteNotFound { .. } => "Take one of these, or check the mirror's address.",
            Self::Untrusted { source, .. } => return source.hint(),
            Self::ReleaseSyntax { .. } => "Report it to whoever runs the archive.",
            Self::OtherSuite { found_codename, .. } => {
                return Some(format!(
                    "If \"{found_codename}\" is what you want, name it as the suite; otherwise take another mirror."
                ));
            }
            Self::Expired { .. } => {
                "Check this host's clock. If it is right, the mirror is no longer updated, or somebody hides updates from \
                 you: take another mirror."
            }
            Self::FromTheFuture { .. } => "Set this host's clock (`timedatectl set-ntp true`).",
            Self::Replayed { cached, .. } => {
                return Some(format!(
                    "The mirror lags behind the one used before, or somebody hides updates from you: take another mirror, \
                     or try again later. To go back on purpose, remove {}.",
                    cached.display()
                ));
            }
            Self::Proxy { .. } => {
                "Write it as http://HOST:PORT. It needs no login that way, and what is fetched from https:// addresses is still \
                 encrypted from end to end."
            }
            Self::NoArchitecture { .. } => "Take one of these, or a mirror that has the other.",
            Self::NoComponent { .. } => "Take one of these.",
            Self::NoIndex { .. } => "Report it to whoever runs the archive.",
            Self::Decompress { .. } => "Report it to whoever runs the archive.",
            Self::Package { source, .. } => return source.hint(),
            Self::Keyring { .. } => {
                "Give a file as `gpg --export` writes it, binary or with --armor."
            }
        };
        Some(text.to_owned())
    }

    /// The variant for a failure to read or write `path`: a full disk is told apart.
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::File { path, source },
        }
    }
}

fn for_component(component: &str) -> String {
    if component.is_empty() { String::new() } else { format!(" for its component \"{component}\"") }
}

/// ` HEAD a, b, c` or nothing.
fn listed(head: &str, items: &[String]) -> String {
    if items.is_empty() { String::new() } else { format!("{head} {}", items.join(", ")) }
}
