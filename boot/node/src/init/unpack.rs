//! Unpacking a cpio overlay into a folder of its own, which then is a layer like any other.
//!
//! No entry gets out of the folder: parents are opened with `RESOLVE_BENEATH` and without following links (openat2(2)).

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use overboot_cpio::{Entry, Reader, mode};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use crate::Error;

/// Unpacks a cpio archive, gzipped or not, into `folder`, keeping owners, modes, links and devices (whiteouts among them).
/// Returns how many entries there were.
///
/// # Errors
/// The stream is no such archive or is broken, a name leads out of the folder, or there is no room.
pub fn unpack(layer: &str, stream: impl Read, folder: &Path) -> Result<u64, Error> {
    let mut stream = io::BufReader::with_capacity(64 << 10, stream);
    let first = io::BufRead::fill_buf(&mut stream)?.first().copied();
    let fail = |reason: String| Error::Format { layer: layer.to_owned(), reason };
    let plain: Box<dyn Read> = match first {
        Some(0x1f) => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
        Some(b'0') => Box::new(stream),
        _ => return Err(fail("it is no squashfs, and neither cpio nor cpio.gz".to_owned())),
    };
    let mut reader = Reader::new(io::BufReader::with_capacity(64 << 10, plain));
    let mut unpacker = Unpacker::new(folder)?;
    let mut count = 0;
    while let Some(entry) = reader.next_entry().map_err(|e| fail(crate::error::chain(&e)))? {
        let path = entry.safe_path().map_err(|e| fail(e.to_string()))?.to_owned();
        unpacker
            .place(&entry, &path, &mut reader)
            .map_err(|source| fail(format!("cannot unpack {}: {source}", path.display())))?;
        count += 1;
    }
    // Read to the end, so that what follows the archive (padding, a checksum) is checked too.
    io::copy(&mut reader.into_inner(), &mut io::sink())
        .map_err(|source| fail(format!("broken after its last entry: {source}")))?;
    Ok(count)
}

struct Unpacker {
    root: OwnedFd,
    /// The folder of the last entry: most entries share theirs with the one before.
    parent: Option<(PathBuf, OwnedFd)>,
    /// First name of each file with several.
    links: HashMap<u32, PathBuf>,
}

impl Unpacker {
    fn new(folder: &Path) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, folder, flags, Mode::empty())
            .map_err(Error::system(format!("open {}", folder.display())))?;
        Ok(Self { root, parent: None, links: HashMap::new() })
    }

    fn place(&mut self, entry: &Entry, path: &Path, data: &mut impl Read) -> io::Result<()> {
        let Some(name) = path.file_name() else {
            // The archive's "." is the layer's own top.
            return self.own(entry, Path::new("."));
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        if self.parent.as_ref().is_none_or(|(known, _)| known != folder) {
            self.parent = Some((folder.to_owned(), self.folder(folder)?));
        }
        let Some((_, parent)) = &self.parent else { return Ok(()) };
        let permissions = Mode::from_raw_mode(entry.mode & 0o7777);
        match entry.file_type() {
            mode::DIRECTORY => match rustix::fs::mkdirat(parent, name, permissions) {
                Err(Errno::EXIST) if is_folder(parent, Path::new(name)) => {}
                other => other?,
            },
            mode::FILE => {
                let known = (entry.links > 1).then(|| self.links.get(&entry.inode)).flatten();
                remove(parent, Path::new(name))?;
                if let Some(first) = known {
                    let (from, to) = (first.clone(), path);
                    let old = self.folder(from.parent().unwrap_or(Path::new("")))?;
                    let old_name = from.file_name().unwrap_or_default();
                    rustix::fs::linkat(
                        &old,
                        old_name,
                        parent,
                        to.file_name().unwrap_or_default(),
                        AtFlags::empty(),
                    )?;
                } else if entry.links > 1 {
                    self.links.insert(entry.inode, path.to_owned());
                }
                // Of several names, any one may carry the content.
                if known_or_content(entry, path, &self.links) {
                    write(parent, Path::new(name), data)?;
                }
            }
            mode::SYMLINK => {
                let mut target = Vec::new();
                data.take(4096).read_to_end(&mut target)?;
                remove(parent, Path::new(name))?;
                rustix::fs::symlinkat(std::ffi::OsStr::from_bytes(&target), parent, name)?;
            }
            kind => {
                let kind = match kind {
                    mode::CHAR_DEVICE => FileType::CharacterDevice,
                    mode::BLOCK_DEVICE => FileType::BlockDevice,
                    mode::FIFO => FileType::Fifo,
                    mode::SOCKET => FileType::Socket,
                    _ => return Err(io::Error::other("an entry of unknown type")),
                };
                remove(parent, Path::new(name))?;
                let device = rustix::fs::makedev(entry.rdev_major, entry.rdev_minor);
                rustix::fs::mknodat(parent, name, kind, permissions, device)?;
            }
        }
        self.own(entry, path)
    }

    /// Owner, mode and time; the owner first, since changing it clears set-user-id bits.
    fn own(&self, entry: &Entry, path: &Path) -> io::Result<()> {
        let parent = self.parent.as_ref().filter(|_| path != Path::new("."));
        let folder = parent.map_or(&self.root, |(_, folder)| folder);
        let name = path.file_name().unwrap_or(std::ffi::OsStr::new("."));
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::chownat(folder, name, Some(uid), Some(gid), nofollow)?;
        if entry.file_type() != mode::SYMLINK {
            let permissions = Mode::from_raw_mode(entry.mode & 0o7777);
            rustix::fs::chmodat(folder, name, permissions, AtFlags::empty())?;
        }
        let time = Timespec { tv_sec: entry.mtime.into(), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(folder, name, &times, nofollow)?;
        Ok(())
    }

    /// Opens a folder below the root, making what is missing of it.
    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let open = |path: &Path| {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
        };
        match open(path) {
            Err(Errno::NOENT) => {
                let mut built = PathBuf::new();
                for part in path.components() {
                    let parent = open(&built)?;
                    match rustix::fs::mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755))
                    {
                        Ok(()) | Err(Errno::EXIST) => built.push(part),
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Ok(open(path)?)
            }
            other => Ok(other?),
        }
    }
}

/// Whether this entry brings the content: it has some, or it is the file's first name.
fn known_or_content(entry: &Entry, path: &Path, links: &HashMap<u32, PathBuf>) -> bool {
    entry.size > 0 || entry.links <= 1 || links.get(&entry.inode).is_some_and(|first| first == path)
}

/// Writes a file. Pages of zeros become holes, as those of a sparse file were before it came into an archive: it is memory that
/// they would fill.
fn write(parent: &OwnedFd, name: &Path, data: &mut impl Read) -> io::Result<()> {
    const PAGE: usize = 4096;
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
    let file = std::fs::File::from(file);
    let mut buffer = Vec::with_capacity(16 * PAGE);
    let mut at = 0;
    while data.by_ref().take(16 * PAGE as u64).read_to_end(&mut buffer)? > 0 {
        let is_hole = |page: &&[u8]| page.iter().all(|byte| *byte == 0);
        let pages: Vec<&[u8]> = buffer.chunks(PAGE).collect();
        let mut from = at;
        for pages in pages.chunk_by(|one, next| is_hole(one) == is_hole(next)) {
            let bytes = pages.concat();
            if !pages.first().is_some_and(is_hole) {
                file.write_all_at(&bytes, from)?;
            }
            from += bytes.len() as u64;
        }
        at = from;
        buffer.clear();
    }
    file.set_len(at)
}

fn is_folder(parent: &OwnedFd, name: &Path) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes room for an entry: of two with one name, the later counts.
fn remove(parent: &OwnedFd, name: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests;
