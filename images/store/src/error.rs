//! What can go wrong with a store, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use overboot_digest::Digest;

/// Why a store could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory of the store cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was being done: `read`, `write`.
        action: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
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
    /// The directory holds something else.
    #[error("{} is no store: {reason}", dir.display())]
    NotAStore {
        /// The directory.
        dir: PathBuf,
        /// What was met instead.
        reason: String,
    },
    /// A document of the store is not what the OCI image specification says.
    #[error("{}: {reason}", path.display())]
    Document {
        /// The document.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What the index names is not an image's manifest.
    #[error("{target} is named, but {} is no manifest: {reason}", path.display())]
    Manifest {
        /// The target.
        target: String,
        /// The blob.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Content that a manifest or the index names is not there or not whole.
    #[error("{target} needs {digest}, which is {state} in the store")]
    Blob {
        /// The target.
        target: String,
        /// The content it names.
        digest: Digest,
        /// `missing`, `unreadable`, `of another size`, `damaged`.
        state: &'static str,
    },
    /// Not a name that a target can have.
    #[error("\"{target}\" cannot be a target: {reason}")]
    Target {
        /// The name.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// A boot set has no such generation.
    #[error("the boot set {set} cannot be served so: {reason}")]
    NoGeneration {
        /// The set.
        set: String,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// Is something of an artifact lost or spoiled? Of one that merely could not be read just now, nothing is known.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Blob { .. } | Self::Manifest { .. })
    }

    /// What to do about it, one sentence or two; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => {
                Some("Check that the path is right and that this user may read and write there.")
            }
            Self::DiskFull { .. } => Some("Free some space there and run it again."),
            Self::NotAStore { .. } => Some("Name another directory, or an empty one."),
            Self::Document { .. } => {
                Some("Remove the store's folder; `overboot build` makes again all that was in it.")
            }
            Self::Blob { .. } | Self::Manifest { .. } => Some(
                "`overboot verify` lists all that is damaged, and `overboot build` makes it again.",
            ),
            Self::NoGeneration { .. } => Some(
                "`overboot publish --list` shows what was published, `overboot publish` publishes what was built.",
            ),
            Self::Target { .. } => None,
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action: "read", path, source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::File { action: "write", path, source },
        }
    }
}
