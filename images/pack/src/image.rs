//! Entries into a squashfs image, and back.

use std::collections::HashMap;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use overboot_squashfs::{FileLayout, FoundKind, Reader};

pub use overboot_squashfs::{Compression, Options, Summary};

use crate::Error;
use crate::tree::{self, Entry, Facts, Kind, ScanOptions, Source};

/// An image that was written.
#[derive(Debug)]
pub struct Packed {
    /// What is in it.
    pub facts: Facts,
    /// What the writer says of it.
    pub summary: Summary,
}

/// Packs all that is in the directory `root`: a base, say.
///
/// # Errors
/// As [`tree::scan`] and [`write_entries`].
pub fn write_squashfs(
    root: &Path,
    scan: &ScanOptions,
    options: &Options,
    out: impl Write + Seek,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, Error> {
    write_entries(tree::scan(root, scan)?.entries, options, out, progress)
}

/// Packs `entries`; `progress` is told how many bytes of content are done.
///
/// # Errors
/// [`Error::Squashfs`].
pub fn write_entries(
    entries: Vec<Entry>,
    options: &Options,
    out: impl Write + Seek,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, Error> {
    let facts = Facts::of(&entries);
    let summary = overboot_squashfs::write(entries, options, out, progress)
        .map_err(|source| Error::Squashfs { source })?;
    Ok(Packed { facts, summary })
}

/// The entries of an image, sorted by path; their content is read from the image when it is asked for. What
/// [`write_entries`] makes of them is the same tree again.
///
/// # Errors
/// [`Error::ReadSquashfs`] for what is no squashfs image or a damaged one.
pub fn read_entries(image: impl Read + Seek + Send + 'static) -> Result<Vec<Entry>, Error> {
    let failed = |source| Error::ReadSquashfs { source };
    let mut reader = Reader::open(image).map_err(failed)?;
    let mut found = reader.entries().map_err(failed)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let image = Arc::new(Mutex::new(reader));
    let mut first_names: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut entries = Vec::with_capacity(found.len());
    for found in found {
        let first = match found.kind {
            FoundKind::Directory => None,
            _ => first_names.get(&found.inode).cloned(),
        };
        let kind = match (first, found.kind) {
            (Some(first), _) => Kind::HardLink(first),
            (None, FoundKind::Directory) => Kind::Directory,
            (None, FoundKind::File(layout)) => {
                Kind::File(Arc::new(InImage { image: Arc::clone(&image), layout }))
            }
            (None, FoundKind::Symlink(target)) => Kind::Symlink(target),
            (None, FoundKind::CharDevice(major, minor)) => Kind::CharDevice(major, minor),
            (None, FoundKind::BlockDevice(major, minor)) => Kind::BlockDevice(major, minor),
            (None, FoundKind::Fifo) => Kind::Fifo,
            (None, FoundKind::Socket) => Kind::Socket,
        };
        if found.links > 1 && !matches!(kind, Kind::Directory | Kind::HardLink(_)) {
            first_names.insert(found.inode, found.path.clone());
        }
        entries.push(Entry {
            path: found.path,
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            mtime: found.mtime,
            xattrs: found.xattrs,
            kind,
        });
    }
    Ok(entries)
}

/// A file of an image.
struct InImage<R> {
    image: Arc<Mutex<Reader<R>>>,
    layout: FileLayout,
}

/// The most of one file that is taken into memory: what a cpio archive can hold of it.
const FILE_LIMIT: u64 = u32::MAX as u64;

impl<R: Read + Seek + Send> Source for InImage<R> {
    fn size(&self) -> u64 {
        self.layout.size
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        if self.layout.size > FILE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "4 GiB and more"));
        }
        let mut image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        let mut content = Vec::new();
        image.file(&self.layout).read_to_end(&mut content)?;
        Ok(Box::new(Cursor::new(content)))
    }
}
