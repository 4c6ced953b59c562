//! A tree on disk, and access that cannot leave it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, linkat, mkdirat, mknodat,
    openat, openat2, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::error::Error;

mod attributes;
mod duplicate;
mod removal;
mod times;

pub(crate) use attributes::{Attributes, set_attributes, set_attributes_of};
pub use duplicate::duplicate;
pub(crate) use removal::remove_all;
pub use removal::remove_tree;
pub use times::no_newer;

/// A root tree. Paths are relative to it, without a leading `/`; symbolic links on the way are followed as they would be by
/// a process whose root this is, so that none leads out (openat2(2), `RESOLVE_IN_ROOT`).
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    fd: OwnedFd,
}

/// The attribute by which overlayfs marks a folder beneath which nothing of the lower tree shows
/// (Documentation/filesystems/overlayfs.rst, *whiteouts and opaque directories*).
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// What overlayfs's own attributes begin with: for root of the machine, and in a user namespace (mount option `userxattr`).
const OVERLAYFS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// How large a file may be that is read whole: the largest of them, dpkg's database and package indexes, stay far below.
pub(crate) const LARGEST: u64 = 64 << 20;

/// What stands somewhere, in every respect but its content and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) device: u64,
    pub(crate) size: i64,
    /// How many names a file has.
    pub(crate) names: u64,
    /// Where a link leads.
    pub(crate) target: Vec<u8>,
    /// Extended attributes, without overlayfs's own notes.
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The folder that an entry stands in, and the entry's name there.
pub(crate) type Place<'a> = (Rc<OwnedFd>, &'a OsStr);

impl Root {
    /// Opens the tree at `path`.
    ///
    /// # Errors
    /// It is not a folder that can be opened.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let fd = openat(CWD, &path, flags, Mode::empty())
            .map_err(|source| Error::io("open", &path)(source.into()))?;
        Ok(Self { path, fd })
    }

    /// Makes the folder `path` and opens it as a tree whose root has the mode and owner that roots have, whatever the umask
    /// and the folder above say.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        fs_err::create_dir_all(&path).map_err(Error::io("make", &path))?;
        let own = || -> rustix::io::Result<()> {
            rustix::fs::chown(&path, Some(Uid::ROOT), Some(Gid::ROOT))?;
            rustix::fs::chmod(&path, Mode::from_raw_mode(0o755))
        };
        own().map_err(|source| Error::io("own", &path)(source.into()))?;
        Self::open(path)
    }

    /// Where the tree is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn shown(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    /// The whole of a file.
    ///
    /// # Errors
    /// It cannot be read, is no regular file, or is larger than 64 MiB.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
        let path = path.as_ref();
        let fd = self
            .resolve(path, OFlags::RDONLY | OFlags::NONBLOCK)
            .map_err(|source| Error::io("read", self.shown(path))(source.into()))?;
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::from(fd);
            if !file.metadata()?.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file"));
            }
            let mut bytes = Vec::new();
            (&mut file).take(LARGEST + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > LARGEST {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(bytes)
        };
        read().map_err(Error::io("read", self.shown(path)))
    }

    /// The text of a file; nothing where the file is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read_text(&self, path: impl AsRef<Path>) -> Result<Option<String>, Error> {
        match self.read(path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(Error::Io { source, .. })
                if Errno::from_io_error(&source).is_some_and(is_absent) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Does the path lead to something?
    #[must_use]
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.resolve(path.as_ref(), OFlags::PATH).is_ok()
    }

    /// Does the path lead to a folder?
    pub(crate) fn is_folder(&self, path: &Path) -> bool {
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// Opens a folder, if there is one, to do something with it.
    fn folder_if_any(&self, path: &Path, what: &'static str) -> Result<Option<OwnedFd>, Error> {
        match self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(folder) => Ok(Some(folder)),
            Err(errno) if is_absent(errno) => Ok(None),
            Err(errno) => Err(Error::io(what, self.shown(path))(errno.into())),
        }
    }

    /// Opens a folder that is there.
    pub(crate) fn open_folder(&self, path: &Path) -> Result<OwnedFd, Error> {
        let opened = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY);
        opened.map_err(|source| Error::io("open", self.shown(path))(source.into()))
    }

    /// Opens a folder that is there under this very path, no part of which is a link.
    pub(crate) fn folder_without_links(&self, path: &Path) -> Option<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(&self.fd, path, flags, Mode::empty(), how).ok()
    }

    /// What stands at `path`, without following it when it is a link.
    pub(crate) fn kind(&self, path: &Path) -> Option<FileType> {
        let fd = self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(rustix::fs::fstat(fd).ok()?.st_mode))
    }

    /// What stands at `path` in every respect but its time, without following it when it is a link.
    pub(crate) fn look(&self, path: &Path) -> Result<Option<Look>, Error> {
        let failed = |source: Errno| Error::io("read", self.shown(path))(source.into());
        let fd = match self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => fd,
            Err(errno) if is_absent(errno) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let (mut target, mut xattrs) = (Vec::new(), BTreeMap::new());
        match kind {
            FileType::Symlink => {
                target = rustix::fs::readlinkat(&fd, "", Vec::new()).map_err(failed)?.into_bytes();
            }
            FileType::RegularFile | FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
                xattrs = xattrs_of(&self.resolve(path, flags).map_err(failed)?).map_err(failed)?;
            }
            _ => {}
        }
        let owner = (stat.st_uid, stat.st_gid);
        Ok(Some(Look {
            kind,
            mode: stat.st_mode,
            owner,
            device: stat.st_rdev,
            size: if kind == FileType::RegularFile { stat.st_size } else { 0 },
            names: if kind == FileType::Directory { 1 } else { stat.st_nlink },
            target,
            xattrs,
        }))
    }

    /// Has the regular file at `path` the content of the one at `theirs` in another tree?
    pub(crate) fn same_content(
        &self,
        path: &Path,
        other: &Self,
        theirs: &Path,
    ) -> Result<bool, Error> {
        let open = |root: &Self, path: &Path| {
            root.resolve(path, OFlags::RDONLY | OFlags::NOFOLLOW)
                .map(|fd| io::BufReader::with_capacity(1 << 17, File::from(fd)))
                .map_err(|source| Error::io("read", root.shown(path))(source.into()))
        };
        let (mut one, mut two) = (open(self, path)?, open(other, theirs)?);
        let failed = Error::io("read", self.shown(path));
        let mut compare = || -> io::Result<bool> {
            loop {
                let (a, b) = (one.fill_buf()?, two.fill_buf()?);
                let length = a.len().min(b.len());
                if length == 0 {
                    return Ok(a.len() == b.len());
                }
                if a[..length] != b[..length] {
                    return Ok(false);
                }
                one.consume(length);
                two.consume(length);
            }
        };
        compare().map_err(failed)
    }

    /// The file or folder that `path` leads to: device and inode.
    pub(crate) fn identity(&self, path: &Path) -> Option<(u64, u64)> {
        let fd = self.resolve(path, OFlags::PATH).ok()?;
        rustix::fs::fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
    }

    /// Would a symbolic link to `target` at `path` lead to the folder that `path` leads to already?
    pub(crate) fn leads_to(&self, path: &Path, target: &[u8]) -> bool {
        let own = self.identity(path).filter(|_| self.is_folder(path));
        own.is_some() && self.identity(&behind(path, target)) == own
    }

    /// Would a symbolic link to `target` at `path` lead to itself?
    pub(crate) fn leads_to_itself(&self, path: &Path, target: &[u8]) -> bool {
        let place =
            |path: &Path| Some((self.identity(path.parent()?)?, path.file_name()?.to_owned()));
        place(path).is_some_and(|own| place(&behind(path, target)) == Some(own))
    }

    /// Writes a file of root's, in place of what is there; makes the folders above it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, mode: u32, contents: &[u8]) -> Result<(), Error> {
        let path = path.as_ref();
        let mut cache = Parents::default();
        let place = cache.place(self, path)?;
        remove(&place).map_err(Error::io("replace", self.shown(path)))?;
        let file = create(&place).map_err(Error::io("write", self.shown(path)))?;
        let write = |mut file: &File| {
            file.write_all(contents)?;
            rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
            Ok(())
        };
        write(&file).map_err(Error::io("write", self.shown(path)))
    }

    /// Gives a file that is there another content; its owner and mode stay.
    pub(crate) fn rewrite(&self, path: impl AsRef<Path>, contents: &[u8]) -> Result<(), Error> {
        let path = path.as_ref();
        let failed = || Error::io("write", self.shown(path));
        let opened = self.resolve(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::TRUNC);
        let mut file = File::from(opened.map_err(|source| failed()(source.into()))?);
        file.write_all(contents).map_err(failed())
    }

    /// Makes a folder of root's and the folders above it, where they are missing.
    ///
    /// # Errors
    /// Something that is no folder stands there, or it cannot be made.
    pub fn make_folder(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.folder(path).map(drop)
    }

    /// Sets the mode of what is there.
    pub(crate) fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), Error> {
        let path = path.as_ref();
        let set = self
            .resolve(path, OFlags::RDONLY | OFlags::NONBLOCK)
            .and_then(|opened| rustix::fs::fchmod(opened, Mode::from_raw_mode(mode)));
        set.map_err(|source| Error::io("own", self.shown(path))(source.into()))
    }

    /// Removes a file, a link, or a folder with all that is in it; nothing happens where nothing is.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let Some(folder) = self.folder_if_any(parent, "remove")? else { return Ok(()) };
        remove_all(&folder, name).map_err(Error::io("remove", self.shown(path)))
    }

    /// Gives something another name in its folder.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (Path::new(from), Path::new(to));
        let rename = || -> rustix::io::Result<()> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let folder = self.resolve(from.parent().unwrap_or(Path::new("")), flags)?;
            let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
            renameat(&folder, name(from), &folder, name(to))
        };
        rename().map_err(|source| Error::io("rename", self.shown(from))(source.into()))
    }

    /// The names in a folder, sorted; none where there is no folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>, Error> {
        let path = path.as_ref();
        let Some(folder) = self.folder_if_any(path, "list")? else { return Ok(Vec::new()) };
        names(&folder).map_err(Error::io("list", self.shown(path)))
    }

    /// Opens a folder of the tree, making what is missing of it (mode 0755, root's).
    fn folder(&self, path: &Path) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match self.resolve(path, flags) {
            Err(Errno::NOENT) => {}
            found => {
                return found.map_err(|e| Error::io("open", self.shown(path))(e.into()));
            }
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::io("open", self.shown(path))(io::ErrorKind::NotFound.into()));
        };
        let above = self.folder(parent)?;
        let made = || -> rustix::io::Result<OwnedFd> {
            // What is there and yet leads nowhere is a link to nothing: made through it, a folder could come to stand outside.
            mkdirat(&above, name, Mode::from_raw_mode(0o755))?;
            let own = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = openat(&above, name, own, Mode::empty())?;
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o755))?;
            Ok(folder)
        };
        made().map_err(|source| Error::io("make", self.shown(path))(source.into()))
    }
}

/// Does a failure mean that nothing is there? Any other may be about what is.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// The path in a tree that a symbolic link to `target` at `path` stands for.
fn behind(path: &Path, target: &[u8]) -> PathBuf {
    let target = Path::new(OsStr::from_bytes(target));
    match target.strip_prefix("/") {
        Ok(absolute) => absolute.to_owned(),
        Err(_) => path.parent().unwrap_or(Path::new("")).join(target),
    }
}

/// Folders of a tree that were opened before: packages bring file after file into the same one.
///
/// Valid only while nobody else changes the tree.
#[derive(Debug, Default)]
pub(crate) struct Parents(HashMap<PathBuf, Rc<OwnedFd>>);

impl Parents {
    /// Far below the 1024 open files that a process may have where nobody has raised the limit.
    const MOST: usize = 400;

    /// Where `path` stands; the folders above it are made where they are missing.
    pub(crate) fn place<'a>(&mut self, root: &Root, path: &'a Path) -> Result<Place<'a>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Error::io("find", root.shown(path))(source));
        };
        if let Some(folder) = self.0.get(parent) {
            return Ok((Rc::clone(folder), name));
        }
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        let folder = Rc::new(root.folder(parent)?);
        self.0.insert(parent.into(), Rc::clone(&folder));
        Ok((folder, name))
    }
}

/// What stands at a place, without following a link.
pub(crate) fn look(place: &Place<'_>) -> io::Result<Option<Stat>> {
    match statat(&*place.0, place.1, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes what stands at a place, if it is not a folder with something in it.
pub(crate) fn remove(place: &Place<'_>) -> io::Result<()> {
    let Some(stat) = look(place)? else { return Ok(()) };
    let folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let flags = if folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    Ok(unlinkat(&*place.0, place.1, flags)?)
}

/// The extended attributes of an open file, but for what overlayfs notes for itself in an upper tree; opaqueness is no note.
fn xattrs_of(file: &OwnedFd) -> rustix::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut names) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let as_name = match OVERLAYFS.iter().find_map(|own| name.strip_prefix(*own)) {
            Some(b"opaque") => OPAQUE,
            Some(_) => continue,
            None => name,
        };
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(file, OsStr::from_bytes(name), &mut value)?;
        value.truncate(length);
        found.insert(as_name.to_vec(), value);
    }
    Ok(found)
}

/// A new file at a place where nothing is.
pub(crate) fn create(place: &Place<'_>) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(&*place.0, place.1, flags, Mode::from_raw_mode(0o600))?.into())
}

/// A new folder.
pub(crate) fn make_folder(place: &Place<'_>) -> io::Result<()> {
    Ok(mkdirat(&*place.0, place.1, Mode::from_raw_mode(0o700))?)
}

/// A new symbolic link.
pub(crate) fn symlink(place: &Place<'_>, target: &[u8]) -> io::Result<()> {
    Ok(symlinkat(OsStr::from_bytes(target), &*place.0, place.1)?)
}

/// A new name for the file at `existing`.
pub(crate) fn hard_link(existing: &Place<'_>, place: &Place<'_>) -> io::Result<()> {
    Ok(linkat(&*existing.0, existing.1, &*place.0, place.1, AtFlags::empty())?)
}

/// A new device node or fifo.
pub(crate) fn node(place: &Place<'_>, kind: FileType, major: u32, minor: u32) -> io::Result<()> {
    let device = rustix::fs::makedev(major, minor);
    Ok(mknodat(&*place.0, place.1, kind, Mode::from_raw_mode(0o600), device)?)
}

/// The names in an open folder, sorted.
pub(crate) fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_os_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_or_changed_through_a_link_to_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs_err::create_dir(&outside).unwrap();
        fs_err::set_permissions(&outside, PermissionsExt::from_mode(0o700)).unwrap();
        let tree = folder.path().join("tree");
        fs_err::create_dir(&tree).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("lock")).unwrap();
        let root = Root::open(&tree).unwrap();
        assert!(root.write("lock/x", 0o644, b"").is_err());
        assert_eq!(fs_err::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let large = File::create(folder.path().join("large")).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        rustix::fs::mknodat(
            CWD,
            folder.path().join("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(root.read("large").is_err() && root.read("fifo").is_err());
        assert_eq!(root.read_text("nothing").unwrap(), None);
    }

    #[test]
    fn only_what_is_not_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        root.write("file", 0o644, b"").unwrap();
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        for path in ["nothing", "nothing/x", "file/x", "loop", "loop/x"] {
            assert_eq!(root.names(path).unwrap(), Vec::<OsString>::new(), "{path}");
            assert_eq!(root.read_text(path).unwrap(), None, "{path}");
            root.remove(format!("{path}/x")).unwrap();
        }
        // Longer than any name: nobody can tell what is there.
        let long = "x".repeat(256);
        assert!(root.names(&long).is_err() && root.read_text(&long).is_err());
        assert!(root.remove(format!("{long}/x")).is_err());
    }
}
