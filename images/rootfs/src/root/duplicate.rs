//! A tree once more.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, fsetxattr, linkat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, utimensat,
};

use super::{OPAQUE, Root, names, xattrs_of};
use crate::error::Error;
use crate::rootless;

/// Makes `to`, an empty tree, the same as `from` in every respect but for what overlayfs notes for itself alone: content, owners,
/// modes, times, links, devices (whiteouts are some), attributes (opaqueness is one).
///
/// # Errors
/// Something cannot be read or made.
pub fn duplicate(from: &Root, to: &Root) -> Result<(), Error> {
    let [source, target] = [from, to].map(|root| root.open_folder(Path::new("")));
    let (source, target) = (source?, target?);
    let mut copier = Copier { top: &target, links: HashMap::new() };
    let copied = copier.folder(&source, &target, Path::new("")).and_then(|()| {
        let stat = rustix::fs::fstat(&source)?;
        attributes(&source, &target)?;
        own(&target, OsStr::new("."), &stat)
    });
    copied.map_err(Error::io("copy the tree", from.path()))
}

struct Copier<'a> {
    top: &'a OwnedFd,
    /// Files that have several names: where the first of them was put.
    links: HashMap<(u64, u64), std::path::PathBuf>,
}

impl Copier<'_> {
    fn folder(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path) -> io::Result<()> {
        for name in names(from)? {
            let at = path.join(&name);
            self.entry(from, to, &name, &at).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", at.display()))
            })?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr, at: &Path) -> io::Result<()> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity) {
                return Ok(linkat(self.top, first, to, name, AtFlags::empty())?);
            }
            self.links.insert(identity, at.to_owned());
        }
        let private = Mode::from_raw_mode(0o700);
        let open = |folder, flags| {
            openat(folder, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, private)
        };
        match kind {
            FileType::Directory => {
                mkdirat(to, name, private)?;
                let [source, target] =
                    [from, to].map(|folder| open(folder, OFlags::RDONLY | OFlags::DIRECTORY));
                let (source, target) = (source?, target?);
                self.folder(&source, &target, at)?;
                attributes(&source, &target)?;
            }
            FileType::RegularFile => {
                let source = open(from, OFlags::RDONLY)?;
                let target = open(to, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
                // A file's capabilities go when it is written to, or given away.
                let mut files = (File::from(source), File::from(target));
                io::copy(&mut files.0, &mut files.1)?;
                own(to, name, &stat)?;
                let (source, target) = (files.0.into(), files.1.into());
                attributes(&source, &target)?;
            }
            FileType::Symlink => symlinkat(&*readlinkat(from, name, Vec::new())?, to, name)?,
            kind => mknodat(to, name, kind, private, stat.st_rdev)?,
        }
        own(to, name, &stat)
    }
}

/// Gives an open file the attributes of another one.
fn attributes(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    for (name, value) in xattrs_of(from)? {
        let name = if name == OPAQUE { rootless::opaque() } else { &name };
        fsetxattr(to, OsStr::from_bytes(name), &value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Gives what has a name in a folder the owner, the mode and the times of what `stat` tells of.
fn own(folder: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let now = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if (now.st_uid, now.st_gid) != (stat.st_uid, stat.st_gid) {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        chmodat(folder, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    let time = |tv_sec, nanoseconds: u64| Timespec { tv_sec, tv_nsec: nanoseconds.cast_signed() };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use rustix::fs::{CWD, setxattr};

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
            last_access: Timespec { tv_sec: 5, tv_nsec: 6 },
            last_modification: Timespec { tv_sec: 7, tv_nsec: 8 },
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
            let times = [&one, &two].map(|root| {
                let there = root.join(path).symlink_metadata().unwrap();
                (there.mtime(), there.mtime_nsec())
            });
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
