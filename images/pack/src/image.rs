//! Entries into a squashfs image.

use std::io::{Seek, Write};
use std::path::Path;

pub use overboot_squashfs::{Compression, Options, Summary};

use crate::Error;
use crate::tree::{self, Entry, Facts, ScanOptions};

/// An image that was written.
#[derive(Debug)]
pub struct Packed {
    /// What is in it.
    pub facts: Facts,
    /// What the writer says of it.
    pub summary: Summary,
}

/// Packs all that is in the directory `root`: a base, say.
///
/// # Errors
/// As [`tree::scan`] and [`write_entries`].
pub fn write_squashfs(
    root: &Path,
    scan: &ScanOptions,
    options: &Options,
    out: impl Write + Seek,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, Error> {
    write_entries(tree::scan(root, scan)?.entries, options, out, progress)
}

/// Packs `entries`; `progress` is told how many bytes of content are done.
///
/// # Errors
/// [`Error::Squashfs`].
pub fn write_entries(
    entries: Vec<Entry>,
    options: &Options,
    out: impl Write + Seek,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, Error> {
    let facts = Facts::of(&entries);
    let summary = overboot_squashfs::write(entries, options, out, progress)
        .map_err(|source| Error::Squashfs { source })?;
    Ok(Packed { facts, summary })
}
