//! A tree on top of another: overlayfs in a mount namespace of its own.
//!
//! The mount belongs to one thread and what it starts. Nobody else sees it, and it is gone when that thread is, however the
//! process ends: there is nothing to clean up after a crash.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{MountFlags, mount};

use crate::error::Error;
use crate::root::Root;
use crate::{rootless, sys};

/// Runs `work` on the tree `lower` with its changes going into `upper`. `workdir` must be an empty folder beside `upper` and
/// `merged` an empty folder; all three are made where they are missing.
///
/// # Errors
/// The mount is refused, or whatever `work` fails with.
pub fn on_top<T, E>(
    lower: &Path,
    upper: &Path,
    workdir: &Path,
    merged: &Path,
    work: impl FnOnce(&Root) -> Result<T, E> + Send,
) -> Result<T, E>
where
    T: Send,
    E: From<Error> + Send,
{
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            mount_overlay(lower, upper, workdir, merged)?;
            let root = Root::open(merged)?;
            work(&root)
        });
        match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn mount_overlay(lower: &Path, upper: &Path, workdir: &Path, merged: &Path) -> Result<(), Error> {
    for folder in [workdir, merged] {
        fs_err::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    // Its top is the root's top: mode and owner of the node's `/`.
    Root::create(upper)?;
    sys::own_mount_namespace().map_err(Error::io("make a mount namespace for", merged))?;
    // Without metacopy and redirects an upper tree is complete by itself: whole files, no references into the lower one.
    let mut options = Vec::new();
    for (name, path) in [("lowerdir=", lower), (",upperdir=", upper), (",workdir=", workdir)] {
        options.extend(name.as_bytes());
        options.extend(escaped(path));
    }
    options.extend(b",metacopy=off,redirect_dir=nofollow,index=off,xino=off");
    if rootless::in_user_namespace() {
        // Nobody but root of the machine has `trusted.*`.
        options.extend(b",userxattr");
    }
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount("overboot", merged, "overlay", MountFlags::empty(), options.as_c_str())
        .map_err(|source| Error::Overlay { merged: merged.to_owned(), source: source.into() })?;
    // Where it cannot make what it needs in its folder, overlayfs is there all the same, and nothing can be written.
    let there = statvfs(merged).map_err(|source| Error::io("look at", merged)(source.into()))?;
    if there.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let why = fs_err::create_dir(workdir.join("try")).err();
        let why = why.unwrap_or_else(|| ErrorKind::ReadOnlyFilesystem.into());
        return Err(Error::io("write to", workdir)(why));
    }
    Ok(())
}

/// A path as overlayfs reads it among its options (Documentation/filesystems/overlayfs.rst): a comma would end the option, a
/// colon the layer.
fn escaped(path: &Path) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'\\' | b',' | b':' => vec![b'\\', *byte],
        _ => vec![*byte],
    };
    path.as_os_str().as_bytes().iter().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_overlayfs_is_escaped() {
        assert_eq!(escaped(Path::new("/a b/c,d:e\\f")), b"/a b/c\\,d\\:e\\\\f");
    }
}
