//! Reading an image that nobody vouches for: every size is bounded before memory is taken for it.

mod dump;
mod file;
mod inode;
mod metadata;
mod walk;
mod xattrs;

use std::io::{ErrorKind, Read, Seek, SeekFrom};

pub use file::FileReader;
pub use inode::{FileLayout, Found, FoundKind};

use crate::compress::Decompressor;
use crate::error::Error;
use crate::format::{SUPERBLOCK_SIZE, Superblock, compressor};

/// The most that a reader takes from one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Names in the tree.
    pub names: u64,
    /// Bytes that listing the tree may take: names, targets, attributes, block lists.
    pub listing: u64,
}

impl Default for Limits {
    /// Four million names and 512 MiB for listing them: far more than any root tree has.
    fn default() -> Self {
        Self { names: 4 << 20, listing: 512 << 20 }
    }
}

/// An image that is open for reading.
pub struct Reader<R> {
    input: R,
    superblock: Superblock,
    decompressor: Decompressor,
    limits: Limits,
    ids: Vec<u32>,
    /// Compressed bytes of the block that was read last; kept for its room.
    packed: Vec<u8>,
    /// Metadata blocks that were read last, since inodes and names lie close together.
    metadata: metadata::Cache,
    /// The fragment that was read last, since small files share them.
    fragment: Option<(u32, Vec<u8>)>,
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("superblock", &self.superblock).finish_non_exhaustive()
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Opens the image that `input` holds from its first byte.
    ///
    /// # Errors
    /// `input` failing, not being squashfs 4.0, using a compressor that is not here, or contradicting
    /// itself.
    pub fn open(input: R) -> Result<Self, Error> {
        Self::open_limited(input, Limits::default())
    }

    /// As [`open`](Self::open), with other limits.
    ///
    /// # Errors
    /// As there.
    pub fn open_limited(mut input: R, limits: Limits) -> Result<Self, Error> {
        let failed = |source| Error::ReadImage { what: "superblock", at: 0, source };
        let length = input.seek(SeekFrom::End(0)).map_err(failed)?;
        input.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut bytes = [0; SUPERBLOCK_SIZE];
        input.read_exact(&mut bytes).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => {
                Error::NotSquashfs { reason: "it is shorter than a superblock".into() }
            }
            _ => failed(source),
        })?;
        let superblock = Superblock::parse(&bytes)?;
        if superblock.bytes_used > length {
            let reason =
                format!("it has {} bytes and only {length} are here", superblock.bytes_used);
            return Err(Error::corrupt("superblock", reason));
        }
        let decompressor = Decompressor::new(superblock.compressor).ok_or_else(|| {
            let id = superblock.compressor;
            Error::UnknownCompressor { id, name: compressor::name(id) }
        })?;
        let mut reader = Self {
            input,
            superblock,
            decompressor,
            limits,
            ids: Vec::new(),
            packed: Vec::new(),
            metadata: metadata::Cache::default(),
            fragment: None,
        };
        let ids = usize::from(reader.superblock.ids);
        let table = reader.lookup_table("id table", reader.superblock.id_table, ids * 4)?;
        reader.ids = table
            .chunks_exact(4)
            .map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]]))
            .collect();
        Ok(reader)
    }

    /// Bytes of the image itself, without the padding after it.
    #[must_use]
    pub const fn bytes_used(&self) -> u64 {
        self.superblock.bytes_used
    }

    /// The image's own time, in seconds since 1970.
    #[must_use]
    pub const fn modification_time(&self) -> u32 {
        self.superblock.modification_time
    }

    /// Bytes in a data block.
    #[must_use]
    pub const fn block_size(&self) -> u32 {
        self.superblock.block_size
    }

    /// How many inodes the superblock counts.
    #[must_use]
    pub const fn inodes(&self) -> u32 {
        self.superblock.inodes
    }

    /// Name of the compressor, as mksquashfs calls it.
    #[must_use]
    pub const fn compressor(&self) -> &'static str {
        compressor::name(self.superblock.compressor)
    }

    /// Reads exactly `count` bytes at `at`, which have to be inside the image.
    fn bytes_at(&mut self, what: &'static str, at: u64, count: usize) -> Result<&[u8], Error> {
        let end = at.checked_add(count as u64);
        if end.is_none_or(|end| end > self.superblock.bytes_used) {
            return Err(Error::corrupt(
                what,
                format!("{count} bytes at {at} are outside the image"),
            ));
        }
        let failed = |source| Error::ReadImage { what, at, source };
        self.input.seek(SeekFrom::Start(at)).map_err(failed)?;
        self.packed.resize(count, 0);
        self.input.read_exact(&mut self.packed).map_err(failed)?;
        Ok(&self.packed)
    }
}
