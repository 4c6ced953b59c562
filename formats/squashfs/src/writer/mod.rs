//! Writing an image: check and sort the tree, store the content, then the tables, then the superblock.

mod content;
mod data;
mod inodes;
mod metadata;
mod tables;
mod tree;

use std::io::{Seek, SeekFrom, Write};

use crate::compress::{self, Compressor};
use crate::entry::Entry;
use crate::error::Error;
use crate::format::{METADATA_RAW, NO_TABLE, SUPERBLOCK_SIZE, Superblock, flag};
use crate::options::Options;

/// Images are padded to a multiple of this, for block devices; it is not part of `bytes_used`.
const PADDING: u64 = 4096;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Length of the image in bytes, with the padding to a multiple of 4 KiB.
    pub size: u64,
    /// Inodes: names, less the additional names of hard links.
    pub inodes: u32,
    /// Regular files, each hard-linked one counted once.
    pub files: u64,
    /// Bytes in regular files before compression, each hard-linked one counted once.
    pub content: u64,
    /// Files whose content was there already.
    pub duplicates: u64,
    /// Bytes that these duplicates have not cost, before compression.
    pub duplicate_content: u64,
    /// Data blocks of one file each.
    pub blocks: u64,
    /// Blocks in which small files and the ends of large ones share.
    pub fragments: u32,
    /// Bytes of data blocks and fragments in the image.
    pub data_stored: u64,
    /// Bytes of inodes, directories and tables in the image.
    pub metadata_stored: u64,
}

/// Writes `entries`, in whatever order they are given, as an image at the beginning of `out`.
///
/// The same entries and options give the same bytes, whatever `options.threads` is. Content is
/// streamed: besides the entries and the image's metadata only a few blocks for each thread are in
/// memory. `progress` is called with the bytes of content done so far, which ends at
/// [`Summary::content`].
///
/// # Errors
/// A tree that cannot be ([`Error::NoRoot`], [`Error::NoParent`], [`Error::DuplicatePath`], …) or
/// that squashfs cannot hold; a source that cannot be read or changes its length; `out` failing.
pub fn write(
    entries: Vec<Entry>,
    options: &Options,
    mut out: impl Write + Seek,
    progress: &mut dyn FnMut(u64),
) -> Result<Summary, Error> {
    options.check()?;
    let tree = tree::Tree::new(entries)?;
    let mut compressor = metadata::MetadataCompressor {
        name: options.compression.name(),
        inner: Compressor::new(options.compression),
    };
    // Before the content, so that what cannot be stored is known at once.
    let xattrs = tables::xattrs(&tree, &mut compressor)?;
    let failed = |source| Error::WriteImage { source };

    // The superblock's place is kept free until everything that it tells is known.
    out.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut head = vec![0; SUPERBLOCK_SIZE];
    let compressor_options = compress::options_block(options.compression, options.block_size);
    head.extend((compressor_options.len() as u16 | METADATA_RAW).to_le_bytes());
    head.extend(compressor_options);
    out.write_all(&head).map_err(failed)?;

    let stored = data::store(&tree, options, &mut out, head.len() as u64, progress)?;
    let mut ids = tables::Ids::default();
    let listed =
        inodes::build(&tree, &stored.files, &xattrs.sets_of_nodes, &mut ids, &mut compressor)?;

    let mut position = stored.end;
    let mut append = |bytes: &[u8]| {
        let start = position;
        position += bytes.len() as u64;
        out.write_all(bytes).map_err(failed).map(|()| start)
    };
    let inode_table = append(&listed.inodes)?;
    let directory_table = append(&listed.directories)?;
    let mut table = |bytes: Vec<u8>, compressor: &mut _| -> Result<u64, Error> {
        let table = metadata::lookup_table(&bytes, compressor)?;
        let start = append(&table.blocks)?;
        append(&table.index(start))
    };
    let fragment_table = match tables::fragments(&stored.fragments) {
        bytes if bytes.is_empty() => NO_TABLE,
        bytes => table(bytes, &mut compressor)?,
    };
    let id_table = table(ids.to_bytes(), &mut compressor)?;
    let xattr_table = if xattrs.is_empty() {
        NO_TABLE
    } else {
        let pairs = append(&xattrs.pairs)?;
        let sets = metadata::lookup_table(&xattrs.sets, &mut compressor)?;
        let start = append(&sets.blocks)?;
        append(&xattrs.table(pairs, &sets.index(start)))?
    };

    let bytes_used = position;
    let size = bytes_used.next_multiple_of(PADDING);
    let padding = vec![0; usize::try_from(size - bytes_used).unwrap_or_default()];
    out.write_all(&padding).map_err(failed)?;

    let mut flags = flag::DUPLICATES | flag::COMPRESSOR_OPTIONS;
    flags |= if stored.fragments.is_empty() { flag::NO_FRAGMENTS } else { flag::ALWAYS_FRAGMENTS };
    if xattrs.is_empty() {
        flags |= flag::NO_XATTRS;
    }
    let superblock = Superblock {
        inodes: tree.inodes,
        modification_time: options.modification_time,
        block_size: options.block_size,
        fragments: stored.summary.fragments,
        compressor: compress::number(options.compression),
        flags,
        ids: ids.count(),
        root_inode: listed.root,
        bytes_used,
        id_table,
        xattr_table,
        inode_table,
        directory_table,
        fragment_table,
        export_table: NO_TABLE,
    };
    out.seek(SeekFrom::Start(0)).map_err(failed)?;
    out.write_all(&superblock.to_bytes()).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(Summary {
        size,
        inodes: tree.inodes,
        metadata_stored: bytes_used - stored.end,
        ..stored.summary
    })
}
