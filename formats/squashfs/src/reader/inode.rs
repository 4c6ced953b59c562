//! Inodes: what there is to know of one name.

use std::io::{Read, Seek};

use super::Reader;
use super::metadata::MetadataReader;
use crate::error::Error;
use crate::format::{Fields, InodeHeader, LISTING_EXTRA, NONE, SYMLINK_MAX, device_numbers, inode};

/// One name in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Path from the root, without a leading `/`; empty for the root. No component is empty, `.` or
    /// `..`.
    pub path: Vec<u8>,
    /// Number of the inode: equal for the names of one hard-linked file.
    pub inode: u32,
    /// How many names the inode has, as it says itself.
    pub links: u32,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// Extended attributes with their full names, in the image's order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it is.
    pub kind: FoundKind,
}

/// What a [`Found`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundKind {
    /// A directory.
    Directory,
    /// A regular file; [`Reader::file`] reads it.
    File(FileLayout),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Where a file's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLayout {
    /// Length in bytes.
    pub size: u64,
    pub(crate) start: u64,
    pub(crate) blocks: Vec<u32>,
    pub(crate) fragment: Option<(u32, u32)>,
}

impl FileLayout {
    /// Bytes that the file's own blocks take in the image; its share of a fragment is not in it.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block & 0xff_ffff)).sum()
    }
}

/// A directory that is still to be listed.
pub(crate) struct Directory {
    pub(crate) path: Vec<u8>,
    pub(crate) block: u32,
    pub(crate) offset: u16,
    pub(crate) length: u32,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the inode at `place`.
    pub(crate) fn inode(
        &mut self,
        path: Vec<u8>,
        place: u64,
    ) -> Result<(Found, Option<Directory>), Error> {
        const WHAT: &str = "inode table";
        let start = self.superblock.inode_table.checked_add(place >> 16);
        let start = start.ok_or_else(|| Error::corrupt(WHAT, "an inode is outside the image"))?;
        let block_size = u64::from(self.superblock.block_size);
        let limit = self.limits.listing;
        let mut data = MetadataReader::new(self, WHAT, start, (place & 0xffff) as u16)?;
        let header = InodeHeader::parse(&mut Fields::new(&data.take(InodeHeader::SIZE)?, WHAT))?;
        let extended = header.kind > inode::EXTENDED;
        let plain = if extended { header.kind - inode::EXTENDED } else { header.kind };
        let (mut links, mut xattr, mut directory) = (1, NONE, None);
        let kind = match plain {
            inode::DIRECTORY => {
                let bytes = data.take(if extended { 24 } else { 16 })?;
                let mut fields = Fields::new(&bytes, WHAT);
                let (block, length, offset);
                if extended {
                    links = fields.u32()?;
                    length = fields.u32()?;
                    block = fields.u32()?;
                    let (_parent, _index) = (fields.u32()?, fields.u16()?);
                    offset = fields.u16()?;
                    xattr = fields.u32()?;
                } else {
                    block = fields.u32()?;
                    links = fields.u32()?;
                    length = u32::from(fields.u16()?);
                    offset = fields.u16()?;
                }
                let length = length.saturating_sub(LISTING_EXTRA);
                directory = Some(Directory { path: path.clone(), block, offset, length });
                FoundKind::Directory
            }
            inode::FILE => {
                let bytes = data.take(if extended { 40 } else { 16 })?;
                let mut fields = Fields::new(&bytes, WHAT);
                let (start, size, fragment, offset);
                if extended {
                    start = fields.u64()?;
                    size = fields.u64()?;
                    let _sparse = fields.u64()?;
                    links = fields.u32()?;
                    fragment = fields.u32()?;
                    offset = fields.u32()?;
                    xattr = fields.u32()?;
                } else {
                    start = u64::from(fields.u32()?);
                    fragment = fields.u32()?;
                    offset = fields.u32()?;
                    size = u64::from(fields.u32()?);
                }
                let fragment = (fragment != NONE).then_some((fragment, offset));
                let count =
                    if fragment.is_some() { size / block_size } else { size.div_ceil(block_size) };
                let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(4));
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let bytes = bytes.filter(|bytes| *bytes <= limit).ok_or(Error::OverLimit {
                    what: "bytes in its listing",
                    limit: limit as u64,
                })?;
                let blocks = data.take(bytes)?;
                let blocks = blocks.chunks_exact(4);
                let blocks =
                    blocks.map(|size| u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
                FoundKind::File(FileLayout { size, start, blocks: blocks.collect(), fragment })
            }
            inode::SYMLINK => {
                let bytes = data.take(8)?;
                let mut fields = Fields::new(&bytes, WHAT);
                links = fields.u32()?;
                let length = fields.u32()? as usize;
                if length == 0 || length > SYMLINK_MAX {
                    return Err(Error::corrupt(WHAT, format!("a link target of {length} bytes")));
                }
                FoundKind::Symlink(data.take(length)?)
            }
            inode::BLOCK_DEVICE | inode::CHAR_DEVICE => {
                let bytes = data.take(8)?;
                let mut fields = Fields::new(&bytes, WHAT);
                links = fields.u32()?;
                let (major, minor) = device_numbers(fields.u32()?);
                if plain == inode::BLOCK_DEVICE {
                    FoundKind::BlockDevice(major, minor)
                } else {
                    FoundKind::CharDevice(major, minor)
                }
            }
            inode::FIFO | inode::SOCKET => {
                links = Fields::new(&data.take(4)?, WHAT).u32()?;
                if plain == inode::FIFO { FoundKind::Fifo } else { FoundKind::Socket }
            }
            _ => return Err(Error::corrupt(WHAT, format!("inode type {}", header.kind))),
        };
        if extended && !matches!(plain, inode::DIRECTORY | inode::FILE) {
            xattr = Fields::new(&data.take(4)?, WHAT).u32()?;
        }
        let id = |index: u16| {
            let id = self.ids.get(usize::from(index)).copied();
            id.ok_or_else(|| Error::corrupt(WHAT, "an owner that the id table does not have"))
        };
        let (uid, gid) = (id(header.uid)?, id(header.gid)?);
        let found = Found {
            path,
            inode: header.number,
            links,
            mode: header.mode & 0o7777,
            uid,
            gid,
            mtime: header.mtime,
            xattrs: if xattr == NONE { Vec::new() } else { self.xattrs(xattr)? },
            kind,
        };
        Ok((found, directory))
    }
}
