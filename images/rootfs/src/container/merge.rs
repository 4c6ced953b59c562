//! One tree into another: all that it has, with owners, modes, times, hard links and extended attributes.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use overboot_merge::{Form, apply, difference};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags, openat, readlinkat, statat};

use super::{is_taken, set_time};
use crate::error::Error;
use crate::root::{self, Attributes, Parents, Place, Root};

/// Copies what is in `from` into `to`, in place of what has the same names there. A folder that is there stays what it is, a link to
/// one too: an image with a folder `lib` does not undo a merged `/usr`. A database that both have becomes one with the records of
/// both.
pub(super) fn merge(from: &Root, to: &Root) -> Result<(), Error> {
    let mut merge =
        Merge { from, to, parents: Parents::default(), links: HashMap::new(), times: Vec::new() };
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        let found = merge.folder(&folder);
        waiting.extend(found.map_err(|error| error.of(from, &folder))?);
    }
    // A folder is as old as the image says; whatever was put into it has made it younger.
    for (folder, mtime) in merge.times.iter().rev() {
        let opened = to.open_folder(folder)?;
        set_time(&opened, *mtime).map_err(|_| {
            Error::io("date", to.path().join(folder))(io::ErrorKind::PermissionDenied.into())
        })?;
    }
    Ok(())
}

struct Merge<'a> {
    from: &'a Root,
    to: &'a Root,
    parents: Parents,
    /// Files with several names, by device and inode: the first name.
    links: HashMap<(u64, u64), PathBuf>,
    /// The times of the folders that were copied, each after those above it.
    times: Vec<(PathBuf, i64)>,
}

/// Why something was not copied; the caller knows where.
enum Trouble {
    Io(io::Error),
    Error(Error),
}

impl Trouble {
    fn of(self, tree: &Root, folder: &Path) -> Error {
        match self {
            Self::Io(source) => Error::io("copy", tree.path().join(folder))(source),
            Self::Error(error) => error,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Merge<'_> {
    /// Copies what is in one folder; the folders in it are still to be looked into.
    fn folder(&mut self, folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
        let source = self.from.folder_without_links(folder);
        let source = source.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut folders = Vec::new();
        for name in root::names(&source)? {
            let path = folder.join(&name);
            let there = statat(&source, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
                folders.push(path.clone());
            }
            self.one(&source, &name, &path, &there)?;
        }
        Ok(folders)
    }

    fn one(
        &mut self,
        folder: &std::os::fd::OwnedFd,
        name: &OsStr,
        path: &Path,
        there: &Stat,
    ) -> Result<(), Trouble> {
        let kind = FileType::from_raw_mode(there.st_mode);
        if kind == FileType::Directory
            && self.to.kind(path) == Some(FileType::Symlink)
            && self.to.is_folder(path)
        {
            return Ok(());
        }
        let place = self.parents.place(self.to, path)?;
        let old = root::look(&place)?.map(|old| FileType::from_raw_mode(old.st_mode));
        if (kind, old) == (FileType::RegularFile, Some(FileType::RegularFile))
            && let Some(form) = path.to_str().and_then(Form::of)
        {
            return self.unite(form, path, &place);
        }
        let stays = kind == FileType::Directory && old == Some(FileType::Directory);
        if !stays && let Some(old) = old {
            root::remove_all(&place.0, place.1)?;
            if matches!(old, FileType::Directory | FileType::Symlink) {
                // Paths that led through it lead elsewhere now.
                self.parents = Parents::default();
            }
        }
        if kind != FileType::Directory && there.st_nlink > 1 {
            let identity = (there.st_dev, there.st_ino);
            if let Some(first) = self.links.get(&identity) {
                let existing = self.parents.place(self.to, first)?;
                return Ok(root::hard_link(&existing, &place)?);
            }
            self.links.insert(identity, path.to_owned());
        }
        match kind {
            FileType::Directory if stays => {}
            FileType::Directory => root::make_folder(&place)?,
            FileType::Symlink => {
                let target = readlinkat(folder, name, Vec::new())?;
                root::symlink(&place, target.as_bytes())?;
            }
            FileType::Fifo => root::node(&place, FileType::Fifo, 0, 0)?,
            _ => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut content = File::from(openat(folder, name, flags, Mode::empty())?);
                io::copy(&mut content, &mut root::create(&place)?)?;
            }
        }
        let attributes = Attributes {
            mode: there.st_mode & 0o7777,
            uid: there.st_uid,
            gid: there.st_gid,
            mtime: there.st_mtime,
        };
        root::set_attributes(&place, kind == FileType::Symlink, attributes)?;
        if matches!(kind, FileType::Directory | FileType::RegularFile) {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let source = openat(folder, name, flags, Mode::empty())?;
            let copy = openat(&*place.0, place.1, flags, Mode::empty())?;
            for (name, value) in xattrs(&source)? {
                rustix::fs::fsetxattr(&copy, &name, &value, XattrFlags::empty())?;
            }
        }
        if kind == FileType::Directory {
            self.times.push((path.to_owned(), there.st_mtime));
        }
        Ok(())
    }
}

impl Merge<'_> {
    /// Writes a database with the records of both. Whose counts where both have one of a name: the image has brought the files of
    /// its packages; but users and groups are the system's, which an image knows nothing of.
    fn unite(&self, form: Form, path: &Path, place: &Place<'_>) -> Result<(), Trouble> {
        let text = |root: &Root| -> Result<String, Error> {
            Ok(root.read_text(path)?.unwrap_or_default())
        };
        let (image, tree) = (text(self.from)?, text(self.to)?);
        let united = if path.starts_with("etc") {
            apply(form, &image, &difference(form, "", &tree))
        } else {
            apply(form, &tree, &difference(form, "", &image))
        };
        // In its place, so that mode and owner stay.
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&*place.0, place.1, flags, Mode::empty())?);
        Ok(file.write_all(united.as_bytes())?)
    }
}

/// The extended attributes that an image may have given a file.
fn xattrs(file: &std::os::fd::OwnedFd) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    // What the kernel allows for all names, and for one value (xattr(7)).
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut all = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|name| is_taken(name)) {
        let name = OsStr::from_bytes(name);
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
        value.truncate(length);
        all.push((name.to_owned(), value));
    }
    Ok(all)
}
