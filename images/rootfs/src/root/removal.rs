//! Folders with all that is in them, however deep.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, lstat, openat, renameat, unlinkat};

use super::names;
use crate::error::Error;

/// How deep folders are removed by descending into them: each takes an open file and a bit of the stack, and whoever fills a
/// tree may nest them by the thousand.
const DEEPEST: usize = 100;

/// Removes `name` in `folder` and all beneath it; never follows a link, never leaves the file system's folder.
pub(crate) fn remove_all(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let mut waiting = vec![name.to_owned()];
    let mut brought_up = 0_usize;
    while let Some(name) = waiting.pop() {
        // What is too deep comes up to `folder` under a name of its own, and is removed from there.
        descend(folder, &name, 0, &mut |inner, child| {
            brought_up += 1;
            let up = OsString::from(format!(".overboot-{}-{brought_up}", std::process::id()));
            renameat(inner, child, folder, &up)?;
            waiting.push(up);
            Ok(())
        })?;
    }
    Ok(())
}

fn descend(
    folder: &OwnedFd,
    name: &OsStr,
    depth: usize,
    too_deep: &mut dyn FnMut(&OwnedFd, &OsStr) -> io::Result<()>,
) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    if depth == DEEPEST {
        return too_deep(folder, name);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = openat(folder, name, flags, Mode::empty())?;
    for child in names(&inner)? {
        descend(&inner, &child, depth + 1, too_deep)?;
    }
    Ok(unlinkat(folder, name, AtFlags::REMOVEDIR)?)
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
