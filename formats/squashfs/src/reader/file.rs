//! The content of files.

use std::io::{self, ErrorKind, Read, Seek};

use super::Reader;
use super::inode::FileLayout;
use crate::error::Error;
use crate::format::{BLOCK_RAW, FRAGMENT_ENTRY_SIZE, Fields, METADATA_SIZE};

use super::metadata::MetadataReader;

/// A file's content, block by block. An image that is damaged is an [`io::Error`] with an [`Error`]
/// inside.
pub struct FileReader<'a, R> {
    reader: &'a mut Reader<R>,
    layout: &'a FileLayout,
    /// Position of the next block in the image, and its number in the file.
    position: u64,
    block: usize,
    /// Bytes of the file that no block has given yet.
    left: u64,
    content: Vec<u8>,
    offset: usize,
}

impl<R> std::fmt::Debug for FileReader<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("layout", self.layout).finish_non_exhaustive()
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the file that is laid out like this in this image.
    pub fn file<'a>(&'a mut self, layout: &'a FileLayout) -> FileReader<'a, R> {
        FileReader {
            reader: self,
            layout,
            position: layout.start,
            block: 0,
            left: layout.size,
            content: Vec::new(),
            offset: 0,
        }
    }

    /// Unpacks the data block at `at`, whose size is as inodes hold it, to exactly `length` bytes.
    fn data_block(
        &mut self,
        at: u64,
        size: u32,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        const WHAT: &str = "data block";
        let stored = (size & !BLOCK_RAW) as usize;
        if stored > self.superblock.block_size as usize {
            return Err(Error::corrupt(WHAT, format!("a block of {stored} bytes")));
        }
        if size & BLOCK_RAW != 0 {
            out.clear();
            out.extend_from_slice(self.bytes_at(WHAT, at, stored)?);
        } else {
            self.bytes_at(WHAT, at, stored)?;
            self.decompressor
                .decompress(&self.packed, out, self.superblock.block_size as usize)
                .map_err(|error| Error::corrupt(WHAT, format!("the one at {at}: {error}")))?;
        }
        if out.len() < length {
            let reason = format!("the one at {at} has {} bytes, not {length}", out.len());
            return Err(Error::corrupt(WHAT, reason));
        }
        Ok(())
    }

    /// Unpacks fragment number `number` into the cache.
    fn load_fragment(&mut self, number: u32) -> Result<(), Error> {
        const WHAT: &str = "fragment table";
        if self.fragment.as_ref().is_some_and(|(cached, _)| *cached == number) {
            return Ok(());
        }
        if number >= self.superblock.fragments {
            return Err(Error::corrupt(WHAT, "an inode refers to a fragment beyond its end"));
        }
        let per_block = (METADATA_SIZE / FRAGMENT_ENTRY_SIZE) as u32;
        let index = u64::from(number / per_block) * 8;
        let index = self.superblock.fragment_table.saturating_add(index);
        let block = self.bytes_at(WHAT, index, 8)?.to_vec();
        let block = Fields::new(&block, WHAT).u64()?;
        let offset = (number % per_block) as usize * FRAGMENT_ENTRY_SIZE;
        let entry = MetadataReader::new(self, WHAT, block, offset as u16)?.take(12)?;
        let mut entry = Fields::new(&entry, WHAT);
        let (at, size) = (entry.u64()?, entry.u32()?);
        let mut content = self.fragment.take().map(|(_, content)| content).unwrap_or_default();
        self.data_block(at, size, 0, &mut content)?;
        self.fragment = Some((number, content));
        Ok(())
    }
}

impl<R: Read + Seek> FileReader<'_, R> {
    /// Makes the next part of the file the content.
    fn advance(&mut self) -> Result<(), Error> {
        let length = self.left.min(u64::from(self.reader.superblock.block_size)) as usize;
        self.offset = 0;
        if let Some(&size) = self.layout.blocks.get(self.block) {
            if size == 0 {
                self.content.clear();
                self.content.resize(length, 0);
            } else {
                self.reader.data_block(self.position, size, length, &mut self.content)?;
                self.content.truncate(length);
            }
            self.position = self.position.saturating_add(u64::from(size & !BLOCK_RAW));
            self.block += 1;
        } else if let Some((number, offset)) = self.layout.fragment {
            self.reader.load_fragment(number)?;
            let fragment = self.reader.fragment.as_ref().map(|(_, content)| &content[..]);
            let tail = fragment
                .and_then(|content| content.get(offset as usize..))
                .and_then(|content| content.get(..length))
                .ok_or_else(|| Error::corrupt("fragment", "a file's tail is outside of it"))?;
            self.content.clear();
            self.content.extend_from_slice(tail);
        } else {
            return Err(Error::corrupt("inode table", "a file has fewer blocks than bytes"));
        }
        self.left -= length as u64;
        Ok(())
    }
}

impl<R: Read + Seek> Read for FileReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.offset == self.content.len() {
            if self.left == 0 || buffer.is_empty() {
                return Ok(0);
            }
            self.advance().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
        let rest = &self.content[self.offset..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.offset += count;
        Ok(count)
    }
}
