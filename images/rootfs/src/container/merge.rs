//! One tree into another: all that it has, with owners, modes, times, hard links and extended attributes.
//!
//! Two things are unlike one layer of an image upon another. The tree may have a link where the image has a folder (a merged `/usr`
//! under an image without), so that two paths of the image are one in the tree: `/bin/x`, a link to `/usr/bin/x`, would become a link
//! to itself in place of the program, and is left out as the same. And what an image does not know of cannot have been meant to
//! go: where a layer's link or file takes the place of a folder with all that is in it, here that is an error.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use overboot_merge::{Form, apply, difference};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, XattrFlags, fstat, openat, readlinkat, statat,
};

use super::owners::Owners;
use super::{alternatives, is_taken, set_time};
use crate::Log;
use crate::error::Error;
use crate::root::{self, Attributes, Parents, Root};

/// Copies what is in `from` into `to`, in place of what has the same names there. A folder that is there stays what it is, a link to
/// one too: an image with a folder `lib` does not undo a merged `/usr`. A database that both have becomes one with the records of
/// both, and files belong to those who have their owners' names ([`Owners`]).
pub(super) fn merge(from: &Root, to: &Root, log: Log<'_>) -> Result<(), Error> {
    let alternatives = alternatives::common(from, to)?;
    let mut merge = Merge {
        from,
        to,
        owners: Owners::of(from, to, log)?,
        parents: Parents::default(),
        links: HashMap::new(),
        times: Vec::new(),
        folders: HashMap::new(),
    };
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        let found = merge.folder(&folder);
        waiting.extend(found.map_err(|error| error.of(from, &folder))?);
    }
    for alternative in &alternatives {
        alternative.link(to)?;
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
    owners: Owners,
    parents: Parents,
    /// Files with several names, by device and inode: the first name.
    links: HashMap<(u64, u64), PathBuf>,
    /// The times of the folders that were copied, each after those above it.
    times: Vec<(PathBuf, i64)>,
    /// The tree's folders by device and inode, and those of the image that have come into each of them.
    folders: HashMap<(u64, u64), Vec<PathBuf>>,
}

/// A folder of the image that is being copied.
struct Source<'a> {
    path: &'a Path,
    open: OwnedFd,
    /// Those whose entries have come to the same place in the tree.
    same: Vec<PathBuf>,
    /// How many folders above an entry stand in the tree as in the image: those up to the first that is a link there.
    own: usize,
}

const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

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
    fn folder(&mut self, path: &Path) -> Result<Vec<PathBuf>, Trouble> {
        let open = self.from.folder_without_links(path);
        let open = open.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let there = fstat(self.to.open_folder(path)?)?;
        let came = self.folders.entry((there.st_dev, there.st_ino)).or_default();
        let same = came.clone();
        came.push(path.to_owned());
        let is_link = |above: &Path| self.to.kind(above) == Some(FileType::Symlink);
        let own = path.ancestors().position(is_link).unwrap_or(usize::MAX);
        let source = Source { path, open, same, own };
        let mut folders = Vec::new();
        for name in root::names(&source.open)? {
            let path = path.join(&name);
            let there = statat(&source.open, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
                folders.push(path.clone());
            }
            self.one(&source, &name, &path, &there)?;
        }
        Ok(folders)
    }

    fn one(
        &mut self,
        source: &Source<'_>,
        name: &OsStr,
        path: &Path,
        there: &Stat,
    ) -> Result<(), Trouble> {
        let kind = FileType::from_raw_mode(there.st_mode);
        if self.came_already(source, name, path, kind)?
            || kind == FileType::Directory
                && self.to.kind(path) == Some(FileType::Symlink)
                && self.to.is_folder(path)
        {
            return Ok(());
        }
        let target = match kind {
            FileType::Symlink => {
                source.target(readlinkat(&source.open, name, Vec::new())?.as_bytes())
            }
            _ => Vec::new(),
        };
        if kind == FileType::Symlink && self.to.leads_to_itself(path, &target) {
            return Ok(());
        }
        let place = self.parents.place(self.to, path)?;
        let old = root::look(&place)?.map(|old| FileType::from_raw_mode(old.st_mode));
        if (kind, old) == (FileType::RegularFile, Some(FileType::RegularFile))
            && let Some(form) = path.to_str().and_then(Form::of)
        {
            return Ok(self.unite(form, path)?);
        }
        let stays = kind == FileType::Directory && old == Some(FileType::Directory);
        if !stays && let Some(old) = old {
            if old == FileType::Directory {
                if kind == FileType::Symlink && self.to.leads_to(path, &target) {
                    return Ok(());
                }
                if !self.to.names(path)?.is_empty() {
                    return Err(refused(
                        path,
                        "is a folder with something in it, and in the image it is none",
                    ));
                }
            }
            root::remove_all(&place.0, place.1)?;
            if matches!(old, FileType::Directory | FileType::Symlink) {
                // Paths that led through it lead elsewhere now.
                self.parents = Parents::default();
            }
        }
        if !matches!(kind, FileType::Directory | FileType::Symlink) && there.st_nlink > 1 {
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
            FileType::Symlink => root::symlink(&place, &target)?,
            FileType::Fifo => root::node(&place, FileType::Fifo, 0, 0)?,
            _ => {
                let mut content = File::from(openat(&source.open, name, READ, Mode::empty())?);
                io::copy(&mut content, &mut root::create(&place)?)?;
            }
        }
        let attributes = Attributes {
            mode: there.st_mode & 0o7777,
            uid: self.owners.user(there.st_uid),
            gid: self.owners.group(there.st_gid),
            mtime: there.st_mtime,
        };
        root::set_attributes(&place, kind == FileType::Symlink, attributes)?;
        if matches!(kind, FileType::Directory | FileType::RegularFile) {
            let original = openat(&source.open, name, READ, Mode::empty())?;
            let copy = openat(&*place.0, place.1, READ, Mode::empty())?;
            for (name, value) in xattrs(&original)? {
                let value = self.owners.of_attribute(name.as_bytes(), value);
                rustix::fs::fsetxattr(&copy, &name, &value, XattrFlags::empty())?;
            }
        }
        if kind == FileType::Directory {
            self.times.push((path.to_owned(), there.st_mtime));
        }
        Ok(())
    }

    /// Has another path of the image come to this place in the tree, so that nothing is left to be done? Only if they are the same; and
    /// a link makes way for what it leads to.
    fn came_already(
        &self,
        source: &Source<'_>,
        name: &OsStr,
        path: &Path,
        kind: FileType,
    ) -> Result<bool, Trouble> {
        let mut came = false;
        for folder in &source.same {
            let other = folder.join(name);
            let Some(known) = self.from.kind(&other) else { continue };
            came |= known != FileType::Symlink;
            let same = kind == FileType::Directory && known == FileType::Directory
                || self
                    .from
                    .identity(path)
                    .is_some_and(|own| self.from.identity(&other) == Some(own))
                || match (self.from.look(path)?, self.from.look(&other)?) {
                    (Some(one), Some(two)) if kind == FileType::RegularFile => {
                        one == two && self.from.same_content(path, self.from, &other)?
                    }
                    // Links to nothing, or to what is there in the tree alone.
                    (one, two) => kind == FileType::Symlink && one == two,
                };
            if !same {
                let why = format!(
                    "is the same place as /{}, and in the image they differ",
                    other.display()
                );
                return Err(refused(path, &why));
            }
        }
        Ok(came)
    }
}

impl Source<'_> {
    /// Where a link leads that stands in this folder: what goes up further than the tree's folders are the image's is said from the
    /// top, since it would come out elsewhere there.
    fn target(&self, target: &[u8]) -> Vec<u8> {
        let parts = || {
            let parts = Path::new(OsStr::from_bytes(target)).components();
            parts.filter(|part| *part != Component::CurDir)
        };
        let up = parts().take_while(|part| *part == Component::ParentDir).count();
        if up <= self.own {
            return target.to_owned();
        }
        let top = self.path.ancestors().nth(up).unwrap_or(Path::new(""));
        let path = Path::new("/").join(top).join(parts().skip(up).collect::<PathBuf>());
        path.into_os_string().into_encoded_bytes()
    }
}

fn refused(path: &Path, why: &str) -> Trouble {
    Trouble::Error(Error::Image { path: path.display().to_string(), why: why.to_owned() })
}

impl Merge<'_> {
    /// Writes a database with the records of both. Whose counts where both have one of a name: the image has brought the files of
    /// its packages; but users and groups are the system's, which an image knows nothing of.
    fn unite(&self, form: Form, path: &Path) -> Result<(), Error> {
        let text = |root: &Root| -> Result<String, Error> {
            Ok(root.read_text(path)?.unwrap_or_default())
        };
        let image = self.owners.renumbered(&path.to_string_lossy(), text(self.from)?);
        let tree = text(self.to)?;
        let united = if path.starts_with("etc") {
            apply(form, &image, &difference(form, "", &tree))
        } else {
            apply(form, &tree, &difference(form, "", &image))
        };
        self.to.rewrite(path, united.as_bytes())
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
