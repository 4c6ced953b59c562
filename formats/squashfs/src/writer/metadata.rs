//! Metadata: bytes in compressed blocks of 8 KiB, found by block position and offset in the block.

use crate::compress::Compressor;
use crate::error::Error;
use crate::format::{METADATA_RAW, METADATA_SIZE};

/// The compressor that all metadata goes through.
pub(crate) struct MetadataCompressor {
    pub(crate) name: &'static str,
    pub(crate) inner: Compressor,
}

/// A place in metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where the compressed block begins, from the beginning of its table.
    pub(crate) block: u32,
    /// Offset in the block when unpacked.
    pub(crate) offset: u16,
}

impl Place {
    /// As superblock and attribute sets hold it.
    pub(crate) fn packed(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// Collects metadata and compresses each block as soon as it is full.
#[derive(Default)]
pub(crate) struct MetadataWriter {
    done: Vec<u8>,
    block: Vec<u8>,
    scratch: Vec<u8>,
    /// Where each block begins in `done`.
    starts: Vec<u64>,
}

impl MetadataWriter {
    /// Where the next byte goes.
    pub(crate) fn place(&self) -> Result<Place, Error> {
        let block = u32::try_from(self.done.len())
            .map_err(|_| Error::TooMany { what: "bytes of metadata", limit: 1 << 32 })?;
        Ok(Place { block, offset: self.block.len() as u16 })
    }

    /// Appends `bytes`.
    pub(crate) fn write(
        &mut self,
        mut bytes: &[u8],
        compressor: &mut MetadataCompressor,
    ) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(METADATA_SIZE - self.block.len()));
            self.block.extend_from_slice(head);
            bytes = rest;
            // A full block goes at once, so that a place is never at the end of one.
            if self.block.len() == METADATA_SIZE {
                self.flush(compressor)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, compressor: &mut MetadataCompressor) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let smaller = compressor
            .inner
            .compress(&self.block, &mut self.scratch)
            .map_err(|source| Error::Compress { compressor: compressor.name, source })?;
        let (bytes, flag) = if smaller { (&self.scratch, 0) } else { (&self.block, METADATA_RAW) };
        self.starts.push(self.done.len() as u64);
        self.done.extend((bytes.len() as u16 | flag).to_le_bytes());
        self.done.extend_from_slice(bytes);
        self.block.clear();
        Ok(())
    }

    /// The table as it stands in the image.
    pub(crate) fn finish(mut self, compressor: &mut MetadataCompressor) -> Result<Vec<u8>, Error> {
        self.flush(compressor)?;
        Ok(self.done)
    }
}

/// A table whose blocks are found through an index of their positions.
pub(crate) struct LookupTable {
    pub(crate) blocks: Vec<u8>,
    starts: Vec<u64>,
}

impl LookupTable {
    /// The index, for blocks that begin at `start` in the image.
    pub(crate) fn index(&self, start: u64) -> Vec<u8> {
        self.starts.iter().flat_map(|block| (start + block).to_le_bytes()).collect()
    }
}

/// A lookup table that holds `bytes`.
pub(crate) fn lookup_table(
    bytes: &[u8],
    compressor: &mut MetadataCompressor,
) -> Result<LookupTable, Error> {
    let mut writer = MetadataWriter::default();
    writer.write(bytes, compressor)?;
    writer.flush(compressor)?;
    Ok(LookupTable { blocks: writer.done, starts: writer.starts })
}
