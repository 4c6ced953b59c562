//! An image as text, so that a difference can be read.

use std::fmt::Write as _;
use std::io::{Read, Seek};

use super::Reader;
use super::inode::FoundKind;
use crate::error::Error;

impl<R: Read + Seek> Reader<R> {
    /// The whole image but for the content of files: a line for the superblock, a line for each name,
    /// and an indented one for each extended attribute. For tests and for people; the form may change.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn dump(&mut self) -> Result<String, Error> {
        let superblock = &self.superblock;
        let mut out = format!(
            "squashfs {} block {} inodes {} fragments {} ids {} flags {:#06x} time {}\n",
            self.compressor(),
            superblock.block_size,
            superblock.inodes,
            superblock.fragments,
            superblock.ids,
            superblock.flags,
            superblock.modification_time,
        );
        for found in self.entries()? {
            let kind = match &found.kind {
                FoundKind::Directory => "d".to_owned(),
                FoundKind::File(layout) => {
                    let mut text = format!("f {}", layout.size);
                    if !layout.blocks.is_empty() {
                        let holes = layout.blocks.iter().filter(|block| **block == 0).count();
                        // Writing to a string does not fail.
                        let _ = write!(text, " blocks {} holes {holes}", layout.blocks.len());
                    }
                    if let Some((number, offset)) = layout.fragment {
                        let _ = write!(text, " fragment {number}+{offset}");
                    }
                    text
                }
                FoundKind::Symlink(target) => format!("l {}", target.escape_ascii()),
                FoundKind::CharDevice(major, minor) => format!("c {major}:{minor}"),
                FoundKind::BlockDevice(major, minor) => format!("b {major}:{minor}"),
                FoundKind::Fifo => "p".to_owned(),
                FoundKind::Socket => "s".to_owned(),
            };
            let _ = writeln!(
                out,
                "/{} {:04o} {}:{} {} inode {} links {} {kind}",
                found.path.escape_ascii(),
                found.mode,
                found.uid,
                found.gid,
                found.mtime,
                found.inode,
                found.links,
            );
            for (name, value) in &found.xattrs {
                let _ = writeln!(out, "  {} = {}", name.escape_ascii(), value.escape_ascii());
            }
        }
        Ok(out)
    }
}
