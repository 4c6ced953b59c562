//! What can go wrong with what is kept of an image.

use std::io;
use std::path::PathBuf;

/// Why what is kept of an image cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An image is not what its media type says.
    #[error("cannot read the image {}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<overboot_pack::Error>,
    },
    /// An archive is not what its media type says.
    #[error("cannot read the archive {}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: overboot_cpio::Error,
    },
    /// A file inside an image cannot be read.
    #[error("cannot read {file} in the image {}", path.display())]
    Inside {
        /// The image.
        path: PathBuf,
        /// The file.
        file: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A database of dpkg in an image is none.
    #[error("{file} in the image: {reason}")]
    Database {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What is kept of an image is damaged, or of a later program.
    #[error("what is kept of {target} cannot be read: {reason}")]
    Damaged {
        /// The image.
        target: String,
        /// What is wrong.
        reason: String,
    },
    /// An image that cannot be read: of another kind.
    #[error("{media_type} is not a form that can be listed")]
    Form {
        /// Its media type.
        media_type: String,
    },
}

impl Error {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged { target, .. } => Some(format!(
                "`overboot verify` finds what is damaged in the store; `overboot build {target}` makes it again"
            )),
            Self::Image { source, .. } => source.hint(),
            _ => None,
        }
    }
}
