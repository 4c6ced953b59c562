//! The times of a tree that is kept.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, futimens, openat, statat, utimensat,
};

use super::{Root, names};
use crate::error::Error;

/// Gives everything in the tree that is newer than `epoch` (seconds since 1970) that time: what was made while it was provisioned.
/// The time of day it was made at must not be seen in what is made of it at another time.
///
/// # Errors
/// Something cannot be read, or given a time.
pub fn no_newer(root: &Root, epoch: u64) -> Result<(), Error> {
    let time = Timespec { tv_sec: i64::try_from(epoch).unwrap_or(i64::MAX), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let top = root.open_folder(Path::new(""))?;
    let changed = below(&top, &times).and_then(|()| {
        if rustix::fs::fstat(&top)?.st_mtime >= time.tv_sec {
            futimens(&top, &times)?;
        }
        Ok(())
    });
    changed.map_err(Error::io("set the times of the tree", root.path()))
}

fn below(folder: &OwnedFd, times: &Timestamps) -> std::io::Result<()> {
    for name in names(folder)? {
        let stat = statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            below(&openat(folder, &name, flags, Mode::empty())?, times)?;
        }
        // The same second may have parts of one.
        if stat.st_mtime >= times.last_modification.tv_sec {
            utimensat(folder, &name, times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_is_newer_is_so_no_more_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree");
        let root = Root::create(&path).unwrap();
        root.write("etc/old/file", 0o644, b"").unwrap();
        root.write("etc/new", 0o644, b"").unwrap();
        symlink("nowhere", path.join("link")).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        for name in ["etc/old/file", "etc/old"] {
            std::fs::File::open(path.join(name)).unwrap().set_modified(old).unwrap();
        }
        no_newer(&root, 1000).unwrap();
        let time = |name: &str| path.join(name).symlink_metadata().unwrap().mtime();
        assert_eq!(["etc/old/file", "etc/old"].map(time), [7, 7]);
        assert_eq!(["etc/new", "etc", "link", ""].map(time), [1000; 4]);
    }
}
