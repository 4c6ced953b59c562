//! What can go wrong, and what to do then.

use std::io;

/// Why an image could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The block size is not one that squashfs has.
    #[error("block size {size} is not a power of two from 4096 to 1048576")]
    BlockSize {
        /// What was asked for, in bytes.
        size: u32,
    },
    /// The compressor has no such level.
    #[error("{compressor} has no level {level}: it goes from 1 to {highest}")]
    Level {
        /// The compressor's name.
        compressor: &'static str,
        /// What was asked for.
        level: i64,
        /// The highest that there is.
        highest: i64,
    },
    /// No entry has the empty path, so owner and mode of the root are unknown.
    #[error("the tree has no root: no entry has the empty path and is a directory")]
    NoRoot,
    /// A path that cannot stand in a directory tree.
    #[error("\"{path}\" cannot be a path in an image: {reason}")]
    InvalidPath {
        /// The path, made printable.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two entries have the same path.
    #[error("\"{path}\" is given twice")]
    DuplicatePath {
        /// The path, made printable.
        path: String,
    },
    /// An entry whose directory is not in the list, or is not a directory.
    #[error("the directory that \"{path}\" is in is not given, or is not a directory")]
    NoParent {
        /// The path, made printable.
        path: String,
    },
    /// A hard link to something that cannot be linked to.
    #[error("\"{path}\" cannot be a hard link to \"{target}\": {reason}")]
    HardLink {
        /// The link, made printable.
        path: String,
        /// What it should link to, made printable.
        target: String,
        /// What is wrong with the target.
        reason: &'static str,
    },
    /// A device number that squashfs cannot hold.
    #[error("\"{path}\" has device number {major}:{minor}; squashfs holds at most 4095:1048575")]
    Device {
        /// The path, made printable.
        path: String,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A symbolic link whose target is empty or longer than Linux lets paths be.
    #[error("the target of symbolic link \"{path}\" has {length} bytes; Linux takes 1 to 4095")]
    SymlinkTarget {
        /// The path, made printable.
        path: String,
        /// Length of the target in bytes.
        length: usize,
    },
    /// An extended attribute that squashfs cannot hold.
    #[error(
        "\"{path}\" has the extended attribute \"{name}\", which squashfs cannot hold: {reason}"
    )]
    Xattr {
        /// The path, made printable.
        path: String,
        /// The attribute's name, made printable.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// More of something than the format can count.
    #[error("the tree has more than {limit} {what}, which is all that squashfs can hold")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much fits.
        limit: u64,
    },
    /// A file's source could not be read.
    #[error("cannot read the content of \"{path}\"")]
    ReadSource {
        /// The path, made printable.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file was not as long as its source had said.
    #[error(
        "\"{path}\" changed while it was read: it was {expected} bytes long and is {found} now"
    )]
    SourceChanged {
        /// The path, made printable.
        path: String,
        /// The size that the source gave.
        expected: u64,
        /// `longer` or `shorter`.
        found: &'static str,
    },
    /// A compressor failed (out of memory, as a rule).
    #[error("cannot compress with {compressor}")]
    Compress {
        /// The compressor's name.
        compressor: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image could not be written.
    #[error("cannot write the squashfs image")]
    WriteImage {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image could not be read.
    #[error("cannot read the squashfs image at byte {at} ({what})")]
    ReadImage {
        /// What was being read.
        what: &'static str,
        /// Where, from the image's beginning.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was given is no squashfs 4.0 image.
    #[error("this is no squashfs 4.0 image: {reason}")]
    NotSquashfs {
        /// What gave it away.
        reason: String,
    },
    /// The image uses a compressor that this crate does not have.
    #[error("the image is compressed with {name} (number {id}), which is not supported here")]
    UnknownCompressor {
        /// Its number in the superblock.
        id: u16,
        /// Its name.
        name: &'static str,
    },
    /// The image contradicts itself or the format.
    #[error("the squashfs image is damaged: {what}: {reason}")]
    Corrupt {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The image has more in it than the reader was allowed to take.
    #[error("the squashfs image has more than {limit} {what}, which is the reader's limit")]
    OverLimit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl Error {
    /// What to do about it, where there is something to do.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::SourceChanged { .. } => {
                Some("let nothing else write to the tree while it is packed, then pack again")
            }
            Self::Xattr { .. } => Some(
                "leave it out: squashfs has user.*, trusted.* and security.* only (no POSIX ACLs)",
            ),
            Self::NoParent { .. } => Some("list every directory, the root (empty path) too"),
            Self::UnknownCompressor { .. } => {
                Some("repack it with zstd, xz, gzip or lz4 (mksquashfs -comp zstd)")
            }
            Self::WriteImage { .. } => Some("see that the target has space and is writable"),
            Self::Corrupt { .. } | Self::NotSquashfs { .. } => {
                Some("get the image again and compare its digest")
            }
            _ => None,
        }
    }

    pub(crate) fn corrupt(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Corrupt { what, reason: reason.into() }
    }
}

/// A path or name for a message: printable, at most about 200 characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(200).flat_map(char::escape_debug).collect()
}
