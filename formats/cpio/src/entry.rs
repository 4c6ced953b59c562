//! One name in an archive.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use crate::error::{Error, printable};

/// File types, as `st_mode` has them (POSIX `<sys/stat.h>`, inode(7)).
pub mod mode {
    /// All bits of the type.
    pub const TYPE: u32 = 0o170_000;
    /// Socket.
    pub const SOCKET: u32 = 0o140_000;
    /// Symbolic link; its target is the entry's data.
    pub const SYMLINK: u32 = 0o120_000;
    /// Regular file.
    pub const FILE: u32 = 0o100_000;
    /// Block device.
    pub const BLOCK_DEVICE: u32 = 0o060_000;
    /// Directory.
    pub const DIRECTORY: u32 = 0o040_000;
    /// Character device.
    pub const CHAR_DEVICE: u32 = 0o020_000;
    /// Named pipe.
    pub const FIFO: u32 = 0o010_000;
}

/// One name in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as it stands in the archive. Read from one, it is not to be trusted: see
    /// [`safe_path`](Self::safe_path).
    pub path: Vec<u8>,
    /// Type and permissions, as in `st_mode`; see [`mode`].
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// Major number of a device, 0 for all else.
    pub rdev_major: u32,
    /// Minor number of a device, 0 for all else.
    pub rdev_minor: u32,
    /// How many names the inode has. The writer sets it: see
    /// [`Writer::hard_links`](crate::Writer::hard_links).
    pub links: u32,
    /// Number of the inode; equal for the names of one file. The writer sets it.
    pub inode: u32,
    /// Bytes of data that follow. The writer sets it.
    pub size: u32,
}

impl Entry {
    /// An entry that root owns, from 1970; `mode` has type and permissions.
    #[must_use]
    pub fn new(path: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self {
            path: path.into(),
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            rdev_major: 0,
            rdev_minor: 0,
            links: 1,
            inode: 0,
            size: 0,
        }
    }

    /// A directory that root owns.
    #[must_use]
    pub fn directory(path: impl Into<Vec<u8>>, permissions: u32) -> Self {
        Self::new(path, mode::DIRECTORY | permissions & !mode::TYPE)
    }

    /// A regular file that root owns.
    #[must_use]
    pub fn file(path: impl Into<Vec<u8>>, permissions: u32) -> Self {
        Self::new(path, mode::FILE | permissions & !mode::TYPE)
    }

    /// A symbolic link that root owns; the target is the data to give with it.
    #[must_use]
    pub fn symlink(path: impl Into<Vec<u8>>) -> Self {
        Self::new(path, mode::SYMLINK | 0o777)
    }

    /// A character device that root owns.
    #[must_use]
    pub fn char_device(path: impl Into<Vec<u8>>, permissions: u32, major: u32, minor: u32) -> Self {
        let mode = mode::CHAR_DEVICE | permissions & !mode::TYPE;
        Self { rdev_major: major, rdev_minor: minor, ..Self::new(path, mode) }
    }

    /// The type, one of the constants in [`mode`].
    #[must_use]
    pub const fn file_type(&self) -> u32 {
        self.mode & mode::TYPE
    }

    /// The name as a relative path that stays below the directory that it is joined to. `.` comes out
    /// as the empty path. A symbolic link on the way may still lead out: unpack with care for those.
    ///
    /// # Errors
    /// [`Error::UnsafePath`] for an absolute name and one with `..` in it.
    pub fn safe_path(&self) -> Result<&Path, Error> {
        let path = Path::new(OsStr::from_bytes(&self.path));
        let relative = path.strip_prefix(".").unwrap_or(path);
        if relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Ok(relative);
        }
        Err(Error::UnsafePath { path: printable(&self.path) })
    }
}
