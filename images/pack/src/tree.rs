//! A directory into a list of squashfs entries.
//!
//! Nothing is followed and nothing is changed. What differs from build to build without meaning is left behind: times
//! after `latest_mtime`, labels of the building machine's security module, inode numbers, the order of directories.

mod xattr;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use overboot_squashfs::{Entry, Kind, Source};
pub(crate) use xattr::OPAQUE;

use crate::{Error, Glob};

/// What to take from a tree, and how.
#[derive(Debug, Clone, Default)]
pub struct ScanOptions {
    /// No entry is younger: later times become this one, in seconds since 1970 (as with `SOURCE_DATE_EPOCH`). Times before
    /// it are kept, so that files from packages keep theirs.
    pub latest_mtime: u32,
    /// What to leave out; a directory that is left out takes all below it along.
    pub exclude: Vec<Glob>,
    /// Whose the entries are.
    pub owner: Owner,
    /// Which extended attributes count.
    pub attributes: Attributes,
}

/// Whose the entries of a tree are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owner {
    /// As in the tree.
    #[default]
    AsIs,
    /// All root's: for trees that an ordinary user unpacked.
    Root,
}

/// Which extended attributes of a tree count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attributes {
    /// A plain root: `user.*` and `security.capability`. Nothing of overlayfs.
    #[default]
    Root,
    /// An overlayfs upper directory, to be a lower layer later: as `Root`, and *opaque* directories.
    Upper,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// All entries, sorted by path; the first is the root.
    pub entries: Vec<Entry>,
    /// Counts and sizes.
    pub facts: Facts,
}

/// Counts and sizes of a tree: what `inspect` shows and the RAM check needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Regular files, each inode once.
    pub files: u64,
    /// Further names of those files.
    pub hard_links: u64,
    /// Directories, the root among them.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, pipes and sockets (an overlay's whiteouts too).
    pub specials: u64,
    /// Bytes in regular files, each inode once.
    pub bytes: u64,
}

impl Facts {
    /// The facts of these entries.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut facts = Self::default();
        for entry in entries {
            match &entry.kind {
                Kind::Directory => facts.directories += 1,
                Kind::File(source) => {
                    facts.files += 1;
                    facts.bytes = facts.bytes.saturating_add(source.size());
                }
                Kind::Symlink(_) => facts.symlinks += 1,
                Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo | Kind::Socket => {
                    facts.specials += 1;
                }
                Kind::HardLink(_) => facts.hard_links += 1,
            }
        }
        facts
    }

    /// All names in the tree.
    #[must_use]
    pub const fn names(&self) -> u64 {
        self.files + self.hard_links + self.directories + self.symlinks + self.specials
    }
}

/// Lists all that is in the directory `root`.
///
/// # Errors
/// [`Error::ReadTree`] or [`Error::ReadXattr`] naming the path; [`Error::OverlayAttribute`] for an upper directory that uses
/// what no layer can carry.
pub fn scan(root: &Path, options: &ScanOptions) -> Result<Tree, Error> {
    let mut attributes = xattr::Reader::new(options.attributes);
    let mut found = vec![read_entry(root, Vec::new(), options, &mut attributes)?];
    let mut directories = vec![Vec::new()];
    while let Some(directory) = directories.pop() {
        for path in children(root, &directory)? {
            if options.exclude.iter().any(|glob| glob.matches(&path)) {
                continue;
            }
            let named = read_entry(root, path, options, &mut attributes)?;
            if matches!(named.entry.kind, Kind::Directory) {
                directories.push(named.entry.path.clone());
            }
            found.push(named);
        }
    }
    found.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    let mut first_names: HashMap<Inode, Vec<u8>> = HashMap::new();
    let mut entries = Vec::with_capacity(found.len());
    for Named { mut entry, shared } in found {
        if let Some(inode) = shared {
            match first_names.get(&inode) {
                Some(first) => entry.kind = Kind::HardLink(first.clone()),
                None => drop(first_names.insert(inode, entry.path.clone())),
            }
        }
        entries.push(entry);
    }
    let facts = Facts::of(&entries);
    Ok(Tree { entries, facts })
}

/// Device and inode number.
type Inode = (u64, u64);

/// An entry, and its inode where other names may have it too.
struct Named {
    entry: Entry,
    shared: Option<Inode>,
}

/// Where `path` lies on this machine.
pub(crate) fn on_disk(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

/// Whether `path` is `above` or lies below it.
pub(crate) fn is_at_or_below(path: &[u8], above: &[u8]) -> bool {
    match path.strip_prefix(above) {
        Some(rest) => above.is_empty() || rest.is_empty() || rest.starts_with(b"/"),
        None => false,
    }
}

/// The paths of what is in a directory, in any order.
fn children(root: &Path, directory: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let on_disk = on_disk(root, directory);
    let failed = |source| Error::ReadTree { path: on_disk.clone(), source };
    let mut paths = Vec::new();
    for child in fs_err::read_dir(&on_disk).map_err(failed)? {
        let name = child.map_err(failed)?.file_name().into_vec();
        let mut path = directory.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name);
        paths.push(path);
    }
    Ok(paths)
}

fn read_entry(
    root: &Path,
    path: Vec<u8>,
    options: &ScanOptions,
    attributes: &mut xattr::Reader,
) -> Result<Named, Error> {
    let on_disk = on_disk(root, &path);
    let failed = |source| Error::ReadTree { path: on_disk.clone(), source };
    let metadata = fs_err::symlink_metadata(&on_disk).map_err(failed)?;
    let file_type = metadata.file_type();
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let kind = if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_file() {
        Kind::File(Arc::new(OnDisk { path: on_disk.clone(), size: metadata.len() }))
    } else if file_type.is_symlink() {
        let target = fs_err::read_link(&on_disk).map_err(failed)?;
        Kind::Symlink(target.into_os_string().into_vec())
    } else if file_type.is_char_device() {
        Kind::CharDevice(major, minor)
    } else if file_type.is_block_device() {
        Kind::BlockDevice(major, minor)
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Socket
    };
    let (uid, gid) = match options.owner {
        Owner::AsIs => (metadata.uid(), metadata.gid()),
        Owner::Root => (0, 0),
    };
    let shared =
        (!file_type.is_dir() && metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()));
    let mtime = u32::try_from(metadata.mtime().max(0)).unwrap_or(u32::MAX);
    Ok(Named {
        entry: Entry {
            path,
            mode: (metadata.mode() & 0o7777) as u16,
            uid,
            gid,
            mtime: mtime.min(options.latest_mtime),
            xattrs: attributes.read(&on_disk)?,
            kind,
        },
        shared,
    })
}

/// A regular file of a tree, read when it is packed.
pub(crate) struct OnDisk {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
}

impl Source for OnDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(fs_err::File::open(&self.path)?))
    }
}

#[cfg(test)]
mod tests;
