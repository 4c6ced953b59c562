//! Squashfs 4.0: a parallel, reproducible writer and a reader.
//!
//! - [`Entry`], [`Kind`], [`Source`]: what the writer is given.
//! - [`Options`], [`Compression`]: how it is written. [`BlockCache`]: blocks from an earlier image, so that
//!   packing a tree again costs what has changed.
//! - [`write()`], [`Summary`]: the writer. Hard links, extended attributes, devices, holes, fragments and
//!   duplicate files; the same bytes whatever the number of threads.
//! - [`Reader`], [`Found`], [`FileReader`]: the reader, which trusts nothing that it reads, and
//!   [`Reader::dump`], an image as text.
//!
//! ```
//! use overboot_squashfs::{Entry, Kind, Options, write};
//! let entry = |path: &str, mode, kind| Entry {
//!     path: path.into(), mode, uid: 0, gid: 0, mtime: 0, xattrs: vec![], kind,
//! };
//! let tree = vec![
//!     entry("", 0o755, Kind::Directory),
//!     entry("motd", 0o644, Kind::bytes(*b"Welcome.\n")),
//! ];
//! let mut image = std::io::Cursor::new(Vec::new());
//! let summary = write(tree, &Options::default(), &mut image, &mut |_| ())?;
//! assert_eq!(summary.size, image.get_ref().len() as u64);
//! # Ok::<(), overboot_squashfs::Error>(())
//! ```
//!
//! The format is the kernel's: `fs/squashfs/squashfs_fs.h`, Documentation/filesystems/squashfs.rst.
//!
//! Knows nothing of files on the host (a [`Source`] does), of packages, overlays or boot.

mod cache;
mod compress;
mod entry;
mod error;
mod format;
mod options;
mod reader;
mod writer;

pub use cache::{BlockCache, Checked};
pub use entry::{Entry, Kind, Source};
pub use error::Error;
pub use options::{Compression, Options};
pub use reader::{FileLayout, FileReader, Found, FoundKind, Limits, Reader};
pub use writer::{Summary, write};
