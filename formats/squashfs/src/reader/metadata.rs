//! Metadata blocks and the tables made of them.

use std::collections::VecDeque;
use std::io::{Read, Seek};
use std::sync::Arc;

use super::Reader;
use crate::error::Error;
use crate::format::{Fields, METADATA_RAW, METADATA_SIZE};

/// Metadata blocks that are kept unpacked.
const CACHED: usize = 16;

/// An unpacked block, and where the next one begins.
type Block = (Arc<Vec<u8>>, u64);

/// The metadata blocks that were read last, by where they begin.
pub(crate) type Cache = VecDeque<(u64, Block)>;

/// Reads metadata as if it were not cut into blocks.
pub(crate) struct MetadataReader<'a, R> {
    reader: &'a mut Reader<R>,
    what: &'static str,
    block: Block,
    /// How much of the block is read.
    offset: usize,
}

impl<'a, R: Read + Seek> MetadataReader<'a, R> {
    /// Reads from `offset` in the block at `start`, of the image.
    pub(crate) fn new(
        reader: &'a mut Reader<R>,
        what: &'static str,
        start: u64,
        offset: u16,
    ) -> Result<Self, Error> {
        let block = reader.metadata_block(what, start)?;
        let offset = usize::from(offset);
        if offset > block.0.len() {
            return Err(Error::corrupt(what, "a position is outside its block"));
        }
        Ok(Self { reader, what, block, offset })
    }

    /// The next `count` bytes. Memory is taken only for what is there.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        while out.len() < count {
            if self.offset == self.block.0.len() {
                self.block = self.reader.metadata_block(self.what, self.block.1)?;
                self.offset = 0;
            }
            let rest = &self.block.0[self.offset..];
            let part = &rest[..rest.len().min(count - out.len())];
            out.extend_from_slice(part);
            self.offset += part.len();
        }
        Ok(out)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// The metadata block at `at`.
    fn metadata_block(&mut self, what: &'static str, at: u64) -> Result<Block, Error> {
        if let Some((_, block)) = self.metadata.iter().find(|(start, _)| *start == at) {
            return Ok(block.clone());
        }
        let header = self.bytes_at(what, at, 2)?;
        let header = u16::from_le_bytes([header[0], header[1]]);
        let size = usize::from(header & !METADATA_RAW);
        if size == 0 || size > METADATA_SIZE {
            return Err(Error::corrupt(what, format!("a metadata block of {size} bytes")));
        }
        let mut out = self.bytes_at(what, at + 2, size)?.to_vec();
        if header & METADATA_RAW == 0 {
            self.decompressor
                .decompress(&self.packed, &mut out, METADATA_SIZE)
                .map_err(|error| Error::corrupt(what, format!("the block at {at}: {error}")))?;
        }
        if out.is_empty() {
            return Err(Error::corrupt(what, "an empty metadata block"));
        }
        let block = (Arc::new(out), at + 2 + size as u64);
        self.metadata.truncate(CACHED - 1);
        self.metadata.push_front((at, block.clone()));
        Ok(block)
    }

    /// The `length` bytes of a table that is found through the index at `index`.
    pub(crate) fn lookup_table(
        &mut self,
        what: &'static str,
        index: u64,
        length: usize,
    ) -> Result<Vec<u8>, Error> {
        let blocks = length.div_ceil(METADATA_SIZE);
        let starts = self.bytes_at(what, index, blocks * 8)?.to_vec();
        let mut starts = Fields::new(&starts, what);
        let mut out = Vec::new();
        while out.len() < length {
            let start = starts.u64()?;
            let (block, _) = self.metadata_block(what, start)?;
            if block.len() != METADATA_SIZE.min(length - out.len()) {
                return Err(Error::corrupt(what, "a block of it has not the right length"));
            }
            out.extend_from_slice(&block);
        }
        Ok(out)
    }
}
