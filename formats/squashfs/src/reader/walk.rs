//! The tree: directories, and all names below them.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::Reader;
use super::inode::{Directory, Found, FoundKind};
use super::metadata::MetadataReader;
use crate::error::Error;
use crate::format::{Fields, HEADER_NAMES_MAX, NAME_MAX};

impl<R: Read + Seek> Reader<R> {
    /// All names, each directory before what is in it, and those in one directory in the image's order:
    /// sorted by bytes, in all images that the kernel can look names up in.
    ///
    /// # Errors
    /// The image failing to be read, being damaged, or having more in it than the limits allow.
    pub fn entries(&mut self) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut budget = Budget { left: self.limits.listing, limit: self.limits.listing };
        let mut todo = vec![(Vec::new(), self.superblock.root_inode)];
        while let Some((path, place)) = todo.pop() {
            if found.len() as u64 >= self.limits.names {
                return Err(Error::OverLimit { what: "names", limit: self.limits.names });
            }
            let (entry, directory) = self.inode(path, place)?;
            budget.take(weight(&entry))?;
            let is_root = entry.path.is_empty();
            if is_root && directory.is_none() {
                return Err(Error::corrupt("root inode", "it is not a directory"));
            }
            found.push(entry);
            if let Some(directory) = directory {
                // A directory has one name; a second one may be a circle.
                if !seen.insert(place) {
                    return Err(Error::corrupt("directory table", "a directory has two names"));
                }
                let mut names = self.list(&directory, &mut budget)?;
                names.reverse();
                todo.append(&mut names);
                if todo.len() as u64 > self.limits.names {
                    return Err(Error::OverLimit { what: "names", limit: self.limits.names });
                }
            }
        }
        Ok(found)
    }

    /// The names in a directory and where their inodes are.
    fn list(
        &mut self,
        directory: &Directory,
        budget: &mut Budget,
    ) -> Result<Vec<(Vec<u8>, u64)>, Error> {
        const WHAT: &str = "directory table";
        let mut names = Vec::new();
        let mut left = directory.length as usize;
        if left == 0 {
            return Ok(names);
        }
        let start = self.superblock.directory_table.checked_add(u64::from(directory.block));
        let start = start.ok_or_else(|| Error::corrupt(WHAT, "a listing is outside the image"))?;
        let mut data = MetadataReader::new(self, WHAT, start, directory.offset)?;
        let mut take = |count: usize| {
            left = left
                .checked_sub(count)
                .ok_or_else(|| Error::corrupt(WHAT, "a listing ends within a name"))?;
            data.take(count).map(|bytes| (bytes, left))
        };
        loop {
            let (header, _) = take(12)?;
            let mut header = Fields::new(&header, WHAT);
            let count = header.u32()? as usize + 1;
            let block = header.u32()?;
            if count > HEADER_NAMES_MAX {
                return Err(Error::corrupt(WHAT, format!("{count} names after one header")));
            }
            for at in 1..=count {
                let (entry, _) = take(8)?;
                let mut entry = Fields::new(&entry, WHAT);
                let offset = entry.u16()?;
                let (_delta, _kind) = (entry.u16()?, entry.u16()?);
                let length = usize::from(entry.u16()?) + 1;
                if length > NAME_MAX + 1 {
                    return Err(Error::corrupt(WHAT, format!("a name of {length} bytes")));
                }
                let (name, left) = take(length)?;
                if name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, 0 | b'/'))
                {
                    return Err(Error::corrupt(WHAT, "a name with / or NUL in it, or . or .."));
                }
                let mut path = directory.path.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend(name);
                budget.take(path.len() as u64)?;
                names.push((path, u64::from(block) << 16 | u64::from(offset)));
                if at == count && left == 0 {
                    return Ok(names);
                }
            }
        }
    }
}

/// What a listing may still take in memory. Names cost when they are found and again when their inode is
/// read, so that neither many names nor a deep tree of them gets far.
struct Budget {
    left: u64,
    limit: u64,
}

impl Budget {
    fn take(&mut self, bytes: u64) -> Result<(), Error> {
        let over = Error::OverLimit { what: "bytes in its listing", limit: self.limit };
        self.left = self.left.checked_sub(bytes).ok_or(over)?;
        Ok(())
    }
}

/// About how many bytes a name takes in memory.
fn weight(found: &Found) -> u64 {
    let attributes = found.xattrs.iter().map(|(name, value)| name.len() + value.len() + 48);
    let kind = match &found.kind {
        FoundKind::File(layout) => layout.blocks.len() * 4,
        FoundKind::Symlink(target) => target.len(),
        _ => 0,
    };
    (size_of::<Found>() + found.path.len() + kind + attributes.sum::<usize>()) as u64
}
