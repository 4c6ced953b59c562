//! A tree once more.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, XattrFlags, fsetxattr, openat, readlinkat, statat,
};

use super::{Attributes, OPAQUE, Place, Root, names, xattrs_of};
use crate::error::Error;
use crate::{root, rootless};

/// Makes `to`, an empty tree, the same as `from` in every respect that an image has: content, owners, modes, times in seconds,
/// links, devices (whiteouts are some), attributes (opaqueness is one) but for what overlayfs notes for itself alone.
///
/// # Errors
/// Something cannot be read or made.
pub fn duplicate(from: &Root, to: &Root) -> Result<(), Error> {
    let [source, target] = [from, to].map(|root| root.open_folder(Path::new("")).map(Rc::new));
    let (source, target) = (source?, target?);
    let mut copier = Copier { top: Rc::clone(&target), links: HashMap::new() };
    let copied = copier.folder(&source, &target, Path::new("")).and_then(|()| {
        let stat = rustix::fs::fstat(&source)?;
        root::set_attributes(&(Rc::clone(&target), OsStr::new(".")), false, looks(&stat))?;
        extended(&source, &target)
    });
    copied.map_err(Error::io("copy the tree", from.path()))
}

struct Copier {
    /// The new tree.
    top: Rc<OwnedFd>,
    /// Files that have several names: where the first of them was put.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copier {
    fn folder(&mut self, from: &OwnedFd, to: &Rc<OwnedFd>, path: &Path) -> io::Result<()> {
        for name in names(from)? {
            let at = path.join(&name);
            self.entry(from, &(Rc::clone(to), &name), &at).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", at.display()))
            })?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, place: &Place<'_>, at: &Path) -> io::Result<()> {
        let name = place.1;
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity) {
                return root::hard_link(&(Rc::clone(&self.top), first.as_os_str()), place);
            }
            self.links.insert(identity, at.to_owned());
        }
        let open = |folder: &OwnedFd| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(folder, name, flags, Mode::empty())
        };
        // Attributes come last: a file's capabilities go when it is written to, or given away.
        match kind {
            FileType::Directory => {
                root::make_folder(place)?;
                let (source, target) = (open(from)?, Rc::new(open(&place.0)?));
                self.folder(&source, &target, at)?;
                root::set_attributes(place, false, looks(&stat))?;
                extended(&source, &target)
            }
            FileType::RegularFile => {
                let mut source = File::from(open(from)?);
                let mut target = root::create(place)?;
                io::copy(&mut source, &mut target)?;
                root::set_attributes(place, false, looks(&stat))?;
                extended(&source.into(), &target.into())
            }
            FileType::Symlink => {
                root::symlink(place, readlinkat(from, name, Vec::new())?.as_bytes())?;
                root::set_attributes(place, true, looks(&stat))
            }
            kind => {
                let (major, minor) =
                    (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                root::node(place, kind, major, minor)?;
                root::set_attributes(place, false, looks(&stat))
            }
        }
    }
}

/// Owner, mode and time, as `stat` tells them.
fn looks(stat: &Stat) -> Attributes {
    Attributes { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode, mtime: stat.st_mtime }
}

/// Gives an open file the extended attributes of another one.
fn extended(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    for (name, value) in xattrs_of(from)? {
        let name = if name == OPAQUE { rootless::opaque() } else { &name };
        fsetxattr(to, OsStr::from_bytes(name), &value, XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use rustix::fs::{CWD, Timespec, Timestamps, mknodat, setxattr, utimensat};

    use super::*;

    #[test]
    fn a_copy_is_the_same_in_every_respect() {
        if !overboot_testkit::require::root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let from = Root::create(&one).unwrap();
        from.write("bin/ping", 0o4755, b"ping").unwrap();
        from.write("etc/first", 0o640, b"content").unwrap();
        from.make_folder("opaque/inside").unwrap();
        std::fs::hard_link(one.join("etc/first"), one.join("bin/second")).unwrap();
        std::os::unix::fs::chown(one.join("etc/first"), Some(3), Some(70_000)).unwrap();
        symlink("nowhere", one.join("etc/link")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        for (name, kind) in [("gone", FileType::CharacterDevice), ("fifo", FileType::Fifo)] {
            mknodat(CWD, one.join(name), kind, mode, 0).unwrap();
        }
        setxattr(one.join("opaque"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        setxattr(one.join("bin/ping"), "security.capability", &capability, XattrFlags::empty())
            .unwrap();
        // Only now, since whatever is put into a folder changes its time.
        let times = Timestamps {
            last_access: Timespec { tv_sec: 5, tv_nsec: 0 },
            last_modification: Timespec { tv_sec: 7, tv_nsec: 0 },
        };
        let paths = ["bin/ping", "etc/first", "etc/link", "gone", "fifo", "opaque", "etc", ""];
        for path in paths {
            utimensat(CWD, one.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }

        let to = Root::create(&two).unwrap();
        std::fs::set_permissions(&one, PermissionsExt::from_mode(0o710)).unwrap();
        duplicate(&from, &to).unwrap();
        for path in paths.into_iter().chain(["bin", "bin/second", "opaque/inside"]) {
            let looks = [&from, &to].map(|root| root.look(Path::new(path)).unwrap().unwrap());
            assert_eq!(looks[0], looks[1], "{path}");
            let times =
                [&one, &two].map(|root| root.join(path).symlink_metadata().unwrap().mtime());
            assert_eq!(times[0], times[1], "{path}");
        }
        assert_eq!(to.identity(Path::new("bin/second")), to.identity(Path::new("etc/first")));
        assert_eq!(to.read("bin/second").unwrap(), b"content");
        let looks = ["opaque", "bin/ping"].map(|path| to.look(Path::new(path)).unwrap().unwrap());
        assert!(looks[0].xattrs.contains_key(OPAQUE));
        assert!(looks[1].xattrs.contains_key(&b"security.capability"[..]));
        assert_eq!(looks[1].mode & 0o7777, 0o4755);
    }
}
