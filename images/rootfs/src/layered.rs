//! A tree on top of another: overlayfs in a mount namespace of its own.
//!
//! The mount belongs to one thread and what it starts. Nobody else sees it, and it is gone when that thread is, however the
//! process ends: there is nothing to clean up after a crash.

use std::path::Path;

use rustix::mount::{MountFlags, mount};

use crate::error::Error;
use crate::root::Root;
use crate::sys;

/// Runs `work` on the tree `lower` with its changes going into `upper`. `workdir` must be an empty folder beside `upper` and
/// `merged` an empty folder; all three are made where they are missing. None of the paths may hold a comma or a colon.
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
    for folder in [upper, workdir, merged] {
        fs_err::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    sys::own_mount_namespace().map_err(Error::io("make a mount namespace for", merged))?;
    // Without metacopy and redirects an upper tree is complete by itself: whole files, no references into the lower one.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},metacopy=off,redirect_dir=off,index=off,xino=off",
        lower.display(),
        upper.display(),
        workdir.display()
    );
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount("overboot", merged, "overlay", MountFlags::empty(), options.as_c_str())
        .map_err(|source| Error::io("mount overlayfs on", merged)(source.into()))
}
