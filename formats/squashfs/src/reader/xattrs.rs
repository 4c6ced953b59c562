//! Extended attributes.

use std::io::{Read, Seek};

use super::Reader;
use super::metadata::MetadataReader;
use crate::error::Error;
use crate::format::{
    Fields, METADATA_SIZE, NAME_MAX, NO_TABLE, XATTR_ELSEWHERE, XATTR_ENTRY_SIZE, XATTR_PREFIXES,
};

const WHAT: &str = "xattr table";

/// Full names and values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

impl<R: Read + Seek> Reader<R> {
    /// The attributes of set number `set`.
    pub(crate) fn xattrs(&mut self, set: u32) -> Result<Pairs, Error> {
        let table = self.superblock.xattr_table;
        if table == NO_TABLE {
            return Err(Error::corrupt(WHAT, "an inode refers to it and there is none"));
        }
        let head = self.bytes_at(WHAT, table, 16)?.to_vec();
        let mut head = Fields::new(&head, WHAT);
        let (pairs, sets) = (head.u64()?, head.u32()?);
        if set >= sets {
            return Err(Error::corrupt(WHAT, "an inode refers to a set beyond its end"));
        }
        let per_block = (METADATA_SIZE / XATTR_ENTRY_SIZE) as u32;
        let index = table.saturating_add(16 + u64::from(set / per_block) * 8);
        let block = self.bytes_at(WHAT, index, 8)?.to_vec();
        let block = Fields::new(&block, WHAT).u64()?;
        let offset = (set % per_block) as usize * XATTR_ENTRY_SIZE;
        let entry =
            MetadataReader::new(self, WHAT, block, offset as u16)?.take(XATTR_ENTRY_SIZE)?;
        let mut entry = Fields::new(&entry, WHAT);
        let (place, count) = (entry.u64()?, entry.u32()?);

        let limit = self.limits.listing;
        let mut data = self.pairs(pairs, place)?;
        let mut out = Vec::new();
        let mut elsewhere = Vec::new();
        let mut size = 0;
        for at in 0..count as usize {
            let head = data.take(4)?;
            let mut head = Fields::new(&head, WHAT);
            let (kind, length) = (head.u16()?, usize::from(head.u16()?));
            let prefix = XATTR_PREFIXES
                .get(usize::from(kind & 0xff))
                .ok_or_else(|| Error::corrupt(WHAT, format!("prefix number {kind}")))?;
            if length > NAME_MAX {
                return Err(Error::corrupt(WHAT, format!("a name of {length} bytes")));
            }
            let mut name = prefix.to_vec();
            name.extend(data.take(length)?);
            let value = value(&mut data)?;
            if kind & XATTR_ELSEWHERE != 0 {
                elsewhere.push((at, Fields::new(&value, WHAT).u64()?));
            }
            size += (name.len() + value.len()) as u64;
            if size > limit {
                return Err(Error::OverLimit { what: "bytes in its listing", limit });
            }
            out.push((name, value));
        }
        for (at, place) in elsewhere {
            let found = value(&mut self.pairs(pairs, place)?)?;
            size += found.len() as u64;
            if size > limit {
                return Err(Error::OverLimit { what: "bytes in its listing", limit });
            }
            out[at].1 = found;
        }
        Ok(out)
    }

    /// Reads at `place` in the names and values, which begin at `pairs` in the image.
    fn pairs(&mut self, pairs: u64, place: u64) -> Result<MetadataReader<'_, R>, Error> {
        let start = pairs.checked_add(place >> 16);
        let start = start.ok_or_else(|| Error::corrupt(WHAT, "a value is outside the image"))?;
        MetadataReader::new(self, WHAT, start, (place & 0xffff) as u16)
    }
}

/// A value: its length and its bytes.
fn value<R: Read + Seek>(data: &mut MetadataReader<'_, R>) -> Result<Vec<u8>, Error> {
    let length = Fields::new(&data.take(4)?, WHAT).u32()? as usize;
    if length > 65_536 {
        return Err(Error::corrupt(WHAT, format!("a value of {length} bytes")));
    }
    data.take(length)
}
