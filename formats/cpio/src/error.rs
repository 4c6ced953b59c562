//! What can go wrong.

use std::io;

/// Why an archive could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive could not be written.
    #[error("cannot write the cpio archive")]
    Write {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file's content could not be read.
    #[error("cannot read the content of \"{path}\" for the cpio archive")]
    ReadContent {
        /// The entry's path, made printable.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The content is not as long as was said.
    #[error("\"{path}\" is not {expected} bytes long, as was said before it was read")]
    ContentLength {
        /// The entry's path, made printable.
        path: String,
        /// Bytes that were to come.
        expected: u64,
    },
    /// The format counts in 32 bits.
    #[error("\"{path}\" has {size} bytes; a file in a cpio archive has less than 4 GiB")]
    TooLarge {
        /// The entry's path, made printable.
        path: String,
        /// Bytes that it has.
        size: u64,
    },
    /// A name that the format cannot hold.
    #[error("\"{path}\" cannot be a name in a cpio archive: {reason}")]
    Name {
        /// The entry's path, made printable.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The archive could not be read.
    #[error("cannot read the cpio archive at byte {at}")]
    Read {
        /// Where, from the archive's beginning.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive is no newc archive, or damaged.
    #[error("the cpio archive is damaged at byte {at}: {reason}")]
    Corrupt {
        /// Where, from the archive's beginning.
        at: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A name that would lead out of the directory that is unpacked to.
    #[error("\"{path}\" in the cpio archive leads out of it")]
    UnsafePath {
        /// The name, made printable.
        path: String,
    },
}

/// A path for a message: printable, at most 200 characters of it.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(200).flat_map(char::escape_debug).collect()
}
