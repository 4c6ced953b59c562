//! Folders with all that is in them, however deep.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, lstat, openat, renameat, statat, unlinkat};

use super::names;
use crate::error::Error;

/// How deep folders are removed by descending into them: each takes an open file and a bit of the stack, and whoever fills a
/// tree may nest them by the thousand.
const DEEPEST: usize = 100;

/// Removes `name` in `folder` and all beneath it; never follows a link, never leaves the file system's folder. Whoever is killed in
/// the middle leaves nothing elsewhere than in there.
pub(crate) fn remove_all(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    if !is_left(folder, name)? {
        return Ok(());
    }
    let top = open(folder, name)?;
    let mut brought_up = 0_usize;
    loop {
        let children = names(&top)?;
        if children.is_empty() {
            return Ok(unlinkat(folder, name, AtFlags::REMOVEDIR)?);
        }
        for child in children {
            // What is too deep comes up to the top under a name of its own, and is removed from there.
            descend(&top, &child, 1, &mut |inner, child| {
                let up = loop {
                    brought_up += 1;
                    let up = OsString::from(format!(".overboot-{brought_up}"));
                    if statat(&top, &up, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                        break up;
                    }
                };
                Ok(renameat(inner, child, &top, &up)?)
            })?;
        }
    }
}

fn descend(
    folder: &OwnedFd,
    name: &OsStr,
    depth: usize,
    too_deep: &mut dyn FnMut(&OwnedFd, &OsStr) -> io::Result<()>,
) -> io::Result<()> {
    if !is_left(folder, name)? {
        return Ok(());
    }
    if depth == DEEPEST {
        return too_deep(folder, name);
    }
    let inner = open(folder, name)?;
    for child in names(&inner)? {
        descend(&inner, &child, depth + 1, too_deep)?;
    }
    Ok(unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// Removes what is no folder. Is there a folder?
fn is_left(folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn open(folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

/// Removes a folder of ours and all beneath it, whatever its modes; nothing happens where nothing is.
///
/// # Errors
/// It cannot be removed.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    if lstat(path).is_err() {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, parent, flags, Mode::empty())
        .map_err(|source| Error::io("open", parent)(source.into()))?;
    remove_all(&folder, name).map_err(Error::io("remove", path))
}

#[cfg(test)]
mod tests {
    use rustix::fs::mkdirat;

    use super::*;

    /// Deeper than a process may have files open, and than a path may be long.
    #[test]
    fn folders_of_any_depth_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs_err::create_dir(&top).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = openat(CWD, &top, flags, Mode::empty()).unwrap();
        for _ in 0..5000 {
            mkdirat(&at, "d", Mode::from_raw_mode(0o755)).unwrap();
            at = openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        drop(at);
        remove_tree(&top).unwrap();
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }
}
