//! What the writer is given: the tree, as a list of entries in any order.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

/// One name in the tree.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Path from the image's root, without a leading or trailing `/`; empty for the root itself.
    pub path: Vec<u8>,
    /// Permission bits with set-user-id, set-group-id and sticky (`0o7777`); other bits are ignored,
    /// since [`Kind`] says the type.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// Extended attributes: full name (`user.`, `trusted.` or `security.` and the rest) and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it is.
    pub kind: Kind,
}

/// What an [`Entry`] is.
#[derive(Clone)]
pub enum Kind {
    /// A directory; what is in it are the entries whose paths begin with its own.
    Directory,
    /// A regular file and where its bytes come from.
    File(Arc<dyn Source>),
    /// A symbolic link to this target, 1 to 4095 bytes.
    Symlink(Vec<u8>),
    /// A character device: major (at most 4095) and minor (at most 1048575). `0, 0` is overlayfs'
    /// whiteout.
    CharDevice(u32, u32),
    /// A block device: major and minor, as for a character device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Another name of the entry with this path, which is neither a directory nor itself a hard
    /// link. Owner, mode, time and attributes are that entry's; those given here are ignored.
    HardLink(Vec<u8>),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("Directory"),
            Self::File(source) => write!(f, "File({} bytes)", source.size()),
            Self::Symlink(target) => write!(f, "Symlink({})", target.escape_ascii()),
            Self::CharDevice(major, minor) => write!(f, "CharDevice({major}, {minor})"),
            Self::BlockDevice(major, minor) => write!(f, "BlockDevice({major}, {minor})"),
            Self::Fifo => f.write_str("Fifo"),
            Self::Socket => f.write_str("Socket"),
            Self::HardLink(target) => write!(f, "HardLink({})", target.escape_ascii()),
        }
    }
}

/// Where a file's bytes come from. Opened once, twice where another file has the same size (to find
/// duplicates); closed as soon as it is read.
pub trait Source: Send + Sync {
    /// Length in bytes; what [`open`](Self::open) gives must have exactly this length.
    fn size(&self) -> u64;

    /// The content from its beginning.
    ///
    /// # Errors
    /// Whatever opening fails with; the writer adds the path.
    fn open(&self) -> io::Result<Box<dyn Read + Send>>;
}

/// Content that is already in memory.
impl Source for Arc<[u8]> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(Self::clone(self))))
    }
}

impl Kind {
    /// A regular file with these bytes.
    #[must_use]
    pub fn bytes(content: impl Into<Arc<[u8]>>) -> Self {
        Self::File(Arc::new(content.into()))
    }
}
