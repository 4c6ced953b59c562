//! Who owns an entry of a tree, its mode and its time.

use std::fs::File;
use std::io;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, fchmod, fchown, futimens,
    utimensat,
};
use rustix::io::Errno;

use super::Place;
use crate::rootless;

/// Who owns an entry of the tree, its mode and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
}

impl Attributes {
    fn owner(self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    fn mode(self) -> Mode {
        Mode::from_raw_mode(self.mode & 0o7777)
    }

    fn times(self) -> Timestamps {
        let time = Timespec { tv_sec: self.mtime, tv_nsec: 0 };
        Timestamps { last_access: time, last_modification: time }
    }

    /// Why the owner cannot be set.
    fn refused(self, error: Errno) -> io::Error {
        if error == Errno::INVAL {
            return rootless::no_such_user(self.uid, self.gid);
        }
        error.into()
    }
}

/// Sets owner, mode and time of what stands at a place. A symbolic link has no mode.
pub(crate) fn set_attributes(
    place: &Place<'_>,
    symlink: bool,
    attributes: Attributes,
) -> io::Result<()> {
    let (folder, name) = (&*place.0, place.1);
    let (uid, gid) = attributes.owner();
    let owned = chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
    owned.map_err(|error| attributes.refused(error))?;
    if !symlink {
        // After chown, which takes set-uid bits away.
        chmodat(folder, name, attributes.mode(), AtFlags::empty())?;
    }
    Ok(utimensat(folder, name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The same of an open file.
pub(crate) fn set_attributes_of(file: &File, attributes: Attributes) -> io::Result<()> {
    let (uid, gid) = attributes.owner();
    fchown(file, uid, gid).map_err(|error| attributes.refused(error))?;
    fchmod(file, attributes.mode())?;
    Ok(futimens(file, &attributes.times())?)
}
