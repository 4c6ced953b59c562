//! The on-disk format: numbers, the superblock, inode headers. All fields are little-endian.
//!
//! Source: `fs/squashfs/squashfs_fs.h` of the Linux kernel and Documentation/filesystems/squashfs.rst.

use crate::error::Error;

/// `hsqs`.
pub(crate) const MAGIC: u32 = 0x7371_7368;
/// Bytes of the superblock, at offset 0.
pub(crate) const SUPERBLOCK_SIZE: usize = 96;
/// Bytes in a metadata block before compression.
pub(crate) const METADATA_SIZE: usize = 8192;
/// In a metadata block's 16-bit header: what follows is not compressed.
pub(crate) const METADATA_RAW: u16 = 1 << 15;
/// In a data block's 32-bit size: the block is not compressed.
pub(crate) const BLOCK_RAW: u32 = 1 << 24;
/// Smallest data block.
pub(crate) const BLOCK_SIZE_MIN: u32 = 4096;
/// Largest data block.
pub(crate) const BLOCK_SIZE_MAX: u32 = 1 << 20;
/// "There is none": a table's position.
pub(crate) const NO_TABLE: u64 = u64::MAX;
/// "There is none": fragment and xattr indexes.
pub(crate) const NONE: u32 = u32::MAX;
/// Owners and groups in one image: their count is 16 bits in the superblock.
pub(crate) const IDS_MAX: usize = 65_535;
/// Longest name in a directory (`SQUASHFS_NAME_LEN` is 256, Linux's `NAME_MAX` 255).
pub(crate) const NAME_MAX: usize = 255;
/// Longest target of a symbolic link that Linux makes (`PATH_MAX` without the final NUL).
pub(crate) const SYMLINK_MAX: usize = 4095;
/// Names after one directory header.
pub(crate) const HEADER_NAMES_MAX: usize = 256;
/// Entries of the fragment table in one metadata block.
pub(crate) const FRAGMENT_ENTRY_SIZE: usize = 16;
/// Bytes of an entry in the table of attribute sets.
pub(crate) const XATTR_ENTRY_SIZE: usize = 16;
/// In an attribute's type: the value is stored elsewhere, here is only its position.
pub(crate) const XATTR_ELSEWHERE: u16 = 0x100;
/// What the kernel adds to a listing's length, for `.` and `..`, which are not stored.
pub(crate) const LISTING_EXTRA: u32 = 3;

/// Name prefixes of extended attributes, at the index that stands for them.
pub(crate) const XATTR_PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Superblock flags.
pub(crate) mod flag {
    /// No file has a fragment.
    pub(crate) const NO_FRAGMENTS: u16 = 0x0010;
    /// The tails of files of any size are in fragments.
    pub(crate) const ALWAYS_FRAGMENTS: u16 = 0x0020;
    /// Equal files are stored once.
    pub(crate) const DUPLICATES: u16 = 0x0040;
    /// No extended attributes.
    pub(crate) const NO_XATTRS: u16 = 0x0200;
    /// The compressor's options follow the superblock.
    pub(crate) const COMPRESSOR_OPTIONS: u16 = 0x0400;
}

/// Inode types; the extended form of each is `EXTENDED` more. Directory entries hold the plain one.
pub(crate) mod inode {
    pub(crate) const DIRECTORY: u16 = 1;
    pub(crate) const FILE: u16 = 2;
    pub(crate) const SYMLINK: u16 = 3;
    pub(crate) const BLOCK_DEVICE: u16 = 4;
    pub(crate) const CHAR_DEVICE: u16 = 5;
    pub(crate) const FIFO: u16 = 6;
    pub(crate) const SOCKET: u16 = 7;
    pub(crate) const EXTENDED: u16 = 7;
}

/// Compressors by their number in the superblock.
pub(crate) mod compressor {
    pub(crate) const GZIP: u16 = 1;
    pub(crate) const XZ: u16 = 4;
    pub(crate) const LZ4: u16 = 5;
    pub(crate) const ZSTD: u16 = 6;

    /// The name of number `id`.
    pub(crate) const fn name(id: u16) -> &'static str {
        match id {
            GZIP => "gzip",
            2 => "lzma",
            3 => "lzo",
            XZ => "xz",
            LZ4 => "lz4",
            ZSTD => "zstd",
            _ => "an unknown compressor",
        }
    }
}

/// The superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) inodes: u32,
    pub(crate) modification_time: u32,
    pub(crate) block_size: u32,
    pub(crate) fragments: u32,
    pub(crate) compressor: u16,
    pub(crate) flags: u16,
    pub(crate) ids: u16,
    pub(crate) root_inode: u64,
    pub(crate) bytes_used: u64,
    pub(crate) id_table: u64,
    pub(crate) xattr_table: u64,
    pub(crate) inode_table: u64,
    pub(crate) directory_table: u64,
    pub(crate) fragment_table: u64,
    pub(crate) export_table: u64,
}

impl Superblock {
    /// The 96 bytes at the image's beginning.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SUPERBLOCK_SIZE);
        for value in [MAGIC, self.inodes, self.modification_time, self.block_size, self.fragments] {
            out.extend(value.to_le_bytes());
        }
        let log = self.block_size.trailing_zeros() as u16;
        for value in [self.compressor, log, self.flags, self.ids, 4, 0] {
            out.extend(value.to_le_bytes());
        }
        for value in [
            self.root_inode,
            self.bytes_used,
            self.id_table,
            self.xattr_table,
            self.inode_table,
            self.directory_table,
            self.fragment_table,
            self.export_table,
        ] {
            out.extend(value.to_le_bytes());
        }
        out
    }

    /// Reads the 96 bytes and checks what a kernel checks before it mounts.
    pub(crate) fn parse(bytes: &[u8; SUPERBLOCK_SIZE]) -> Result<Self, Error> {
        let mut fields = Fields::new(bytes, "superblock");
        let not = |reason: String| Err(Error::NotSquashfs { reason });
        if fields.u32()? != MAGIC {
            return not("it does not begin with \"hsqs\"".into());
        }
        let inodes = fields.u32()?;
        let modification_time = fields.u32()?;
        let block_size = fields.u32()?;
        let fragments = fields.u32()?;
        let compressor = fields.u16()?;
        let log = fields.u16()?;
        let flags = fields.u16()?;
        let ids = fields.u16()?;
        let (major, minor) = (fields.u16()?, fields.u16()?);
        if (major, minor) != (4, 0) {
            return not(format!("its version is {major}.{minor}"));
        }
        if !block_size.is_power_of_two()
            || !(BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&block_size)
            || block_size.trailing_zeros() != u32::from(log)
        {
            return not(format!("its block size is {block_size} with logarithm {log}"));
        }
        Ok(Self {
            inodes,
            modification_time,
            block_size,
            fragments,
            compressor,
            flags,
            ids,
            root_inode: fields.u64()?,
            bytes_used: fields.u64()?,
            id_table: fields.u64()?,
            xattr_table: fields.u64()?,
            inode_table: fields.u64()?,
            directory_table: fields.u64()?,
            fragment_table: fields.u64()?,
            export_table: fields.u64()?,
        })
    }
}

/// What every inode begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InodeHeader {
    pub(crate) kind: u16,
    pub(crate) mode: u16,
    pub(crate) uid: u16,
    pub(crate) gid: u16,
    pub(crate) mtime: u32,
    pub(crate) number: u32,
}

impl InodeHeader {
    pub(crate) const SIZE: usize = 16;

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for value in [self.kind, self.mode, self.uid, self.gid] {
            out.extend(value.to_le_bytes());
        }
        out.extend(self.mtime.to_le_bytes());
        out.extend(self.number.to_le_bytes());
    }

    pub(crate) fn parse(fields: &mut Fields<'_>) -> Result<Self, Error> {
        Ok(Self {
            kind: fields.u16()?,
            mode: fields.u16()?,
            uid: fields.u16()?,
            gid: fields.u16()?,
            mtime: fields.u32()?,
            number: fields.u32()?,
        })
    }
}

/// A device number as the kernel's `new_encode_dev` packs it.
pub(crate) const fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The major and minor that [`device`] packed.
pub(crate) const fn device_numbers(packed: u32) -> (u32, u32) {
    ((packed >> 8) & 0xfff, (packed & 0xff) | ((packed >> 12) & 0xfff00))
}

/// Reads little-endian fields one after the other; running out of bytes is an error, not a panic.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| Error::corrupt(self.what, "it ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| Error::corrupt(self.what, "it ends too early"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_packing() {
        for (major, minor) in [(0, 0), (1, 3), (8, 255), (8, 256), (259, 70_000), (4095, 0xfffff)] {
            assert_eq!(device_numbers(device(major, minor)), (major, minor));
        }
        assert_eq!(device(8, 1), 0x801, "as ls -l shows /dev/sda1");
    }

    #[test]
    fn superblock_goes_both_ways() {
        let superblock = Superblock {
            inodes: 1,
            modification_time: 2,
            block_size: 131_072,
            fragments: 3,
            compressor: compressor::ZSTD,
            flags: flag::DUPLICATES,
            ids: 4,
            root_inode: 5,
            bytes_used: 6,
            id_table: 7,
            xattr_table: 8,
            inode_table: 9,
            directory_table: 10,
            fragment_table: 11,
            export_table: NO_TABLE,
        };
        let bytes: [u8; SUPERBLOCK_SIZE] = superblock.to_bytes().try_into().unwrap();
        assert_eq!(Superblock::parse(&bytes).unwrap(), superblock);
    }
}
