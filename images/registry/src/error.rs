//! What can go wrong with a registry, and what to do about it.

use std::io;
use std::path::PathBuf;

use overboot_digest::Digest;

/// Why something could not be pushed or pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not an address of a registry.
    #[error(transparent)]
    Address(#[from] overboot_oci::Error),
    /// Nobody answers.
    #[error("the registry {host} cannot be reached")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its certificate is not one that we know.
    #[error("the certificate of {host} is not trusted")]
    Certificate {
        /// Host and port.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has no TLS.
    #[error("{host} does not speak TLS")]
    PlainHttp {
        /// Host and port.
        host: String,
    },
    /// What answers is no registry.
    #[error("{host} is no registry: {reason}")]
    NotARegistry {
        /// Host and port.
        host: String,
        /// What it answered.
        reason: String,
    },
    /// It wants another login, or one at all.
    #[error("{host} does not let {who} {action} {repository}")]
    Denied {
        /// Host and port.
        host: String,
        /// The repository.
        repository: String,
        /// `pull from`, `push to`.
        action: &'static str,
        /// `the user NAME`, `anybody without a login`.
        who: String,
        /// The file that leaves the login to another program.
        helper: Option<PathBuf>,
    },
    /// It is not there.
    #[error("{what} is not in {place}")]
    NotFound {
        /// A tag or digest.
        what: String,
        /// The repository, with its host.
        place: String,
    },
    /// It refused for a reason of its own.
    #[error("the registry answers \"{what}\" with status {status}{detail}")]
    Status {
        /// What was asked.
        what: String,
        /// HTTP's number.
        status: u16,
        /// What it says to that, after a colon; may be empty.
        detail: String,
    },
    /// The connection broke, again and again.
    #[error("the connection for \"{what}\" broke, {attempts} times in a row")]
    Interrupted {
        /// What was asked.
        what: String,
        /// How often it was tried.
        attempts: u32,
        /// Why the last one broke.
        #[source]
        source: io::Error,
    },
    /// What came is not what was asked for.
    #[error("{place} has other content than its digest says: {expected} was wanted, {found} came")]
    WrongDigest {
        /// The repository, with its host.
        place: String,
        /// What was wanted.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// It is not as long as it should be.
    #[error("{place} has {expected} with another length: {wanted} bytes were wanted, {found} came")]
    WrongSize {
        /// The repository, with its host.
        place: String,
        /// What was wanted.
        expected: Digest,
        /// How long it should be.
        wanted: u64,
        /// How long it is.
        found: u64,
    },
    /// A document that is larger than such documents are.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked.
        what: String,
        /// The most that is taken.
        limit: u64,
    },
    /// A document is not what its kind says.
    #[error("{what}: {reason}")]
    Document {
        /// Which one.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file with logins cannot be used.
    #[error("the login file {}: {reason}", path.display())]
    AuthFile {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it; never what is in it.
        reason: String,
    },
    /// A file with certificates cannot be used.
    #[error("the certificates in {}: {reason}", path.display())]
    Ca {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A target that has no tag.
    #[error("\"{target}\" cannot be a tag: {reason}")]
    Tag {
        /// The target, or the prefix.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// The store has no such artifact.
    #[error("{target} is not in the store")]
    Missing {
        /// Its name.
        target: String,
    },
    /// A boot set names content that no artifact of the store is.
    #[error("{set} names a {part} ({digest}) that is in the store no longer")]
    Stale {
        /// The set.
        set: String,
        /// `kernel`, `base/base`.
        part: String,
        /// What it names.
        digest: Digest,
    },
    /// There is nothing to pull.
    #[error("there is no {what} in {place}")]
    Nothing {
        /// `boot set`, `image`.
        what: &'static str,
        /// The repository, with its host, and the prefix.
        place: String,
    },
    /// Nobody vouches for it.
    #[error("nobody vouches for {target}: only boot sets are signed")]
    Unsigned {
        /// Its name.
        target: String,
    },
    /// A boot set that is not signed by a key we trust, or is another one.
    #[error("{target} of {place} is not accepted")]
    NotAccepted {
        /// Its name.
        target: String,
        /// The repository, with its host.
        place: String,
        /// Why not.
        #[source]
        source: overboot_bootset::Error,
    },
    /// The parts that come with a set are not those that it names.
    #[error("{target} of {place} is not what was signed: {reason}")]
    Parts {
        /// The set.
        target: String,
        /// The repository, with its host.
        place: String,
        /// What differs.
        reason: String,
    },
    /// What was pulled before is something else by now, or nothing.
    #[error(
        "{target} was pulled from {place}, and what has its tag there now is not taken: {reason}"
    )]
    Replaced {
        /// Its name.
        target: String,
        /// The repository, with its host.
        place: String,
        /// What it is by now.
        reason: String,
    },
    /// An image that has nothing for this platform.
    #[error("{image} has no image for {platform}; it has: {}", has.join(", "))]
    Platform {
        /// Which image.
        image: String,
        /// `linux/amd64`.
        platform: String,
        /// What it has.
        has: Vec<String>,
    },
    /// The network may not be used, and something is not in the cache.
    #[error("{what} is not in the cache, and the network may not be used")]
    Offline {
        /// What is missing.
        what: String,
    },
    /// A file of ours.
    #[error("cannot {action} {}", path.display())]
    File {
        /// A verb.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] overboot_store::Error),
}

impl Error {
    /// What to do about it; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Address(_) => "Write it as registry.example.com/team/images.",
            Self::Unreachable { .. } => "Check the host, its port, and the network.",
            Self::Certificate { .. } => {
                "Where the registry has a certificate of your own authority, name that authority's file with --ca FILE."
            }
            Self::PlainHttp { .. } => {
                "If all between here and there may read along and pretend to be the registry, say --plain-http."
            }
            Self::NotARegistry { .. } => "Check the host and its port.",
            Self::Denied { helper: Some(file), .. } => {
                return Some(format!(
                    "{} leaves logins to another program, which is not asked: give --username NAME --password-stdin.",
                    file.display()
                ));
            }
            Self::Denied { .. } => {
                "Give --username NAME --password-stdin, or log in before with `podman login` or `docker login`."
            }
            Self::Interrupted { .. } => {
                "Run it again: what has arrived whole is not transferred twice."
            }
            Self::WrongDigest { .. } | Self::WrongSize { .. } => {
                "What the registry holds is damaged or was changed. Nothing of it was kept; push it anew from a store that has it whole."
            }
            Self::Missing { target } => {
                return Some(format!("Run `overboot build {target}` first."));
            }
            Self::Stale { set, .. } => return Some(format!("Run `overboot build {set}` first.")),
            Self::Unsigned { .. } => {
                "Pull the boot set that names it, set/NAME; or take it as it is with --unsigned."
            }
            Self::NotAccepted { source, .. } => return source.hint().map(str::to_owned),
            Self::Parts { .. } => "Do not use this mirror.",
            Self::Replaced { .. } => {
                "Push it anew from a store that has it whole; or name those that are to be pulled."
            }
            Self::Nothing { .. } => "Check the repository's name and the prefix behind its colon.",
            Self::Offline { .. } => "Run it once without --offline.",
            Self::Store(source) => return source.hint().map(str::to_owned),
            Self::NotFound { .. }
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::Document { .. }
            | Self::AuthFile { .. }
            | Self::Ca { .. }
            | Self::Tag { .. }
            | Self::Platform { .. }
            | Self::File { .. } => return None,
        };
        Some(text.to_owned())
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn document(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Document { what: what.into(), reason: reason.into() }
    }
}
