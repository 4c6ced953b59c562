//! The kernel's file systems, and moving them into the new root.

use std::ffi::CStr;
use std::path::Path;

use rustix::mount::{MountFlags, mount, mount_bind, mount_move};

use crate::Error;

/// Where the new root is put together.
pub const ROOT: &str = "/sysroot";
/// Where everything lies that outlives init.
pub const STATE: &str = "/run/overboot";
/// Where the initrd's second part has what network cards are given, on machines that got one.
const FIRMWARE: &str = "/usr/lib/firmware";

/// Mounts `/proc`, `/sys`, `/dev` and `/run`.
///
/// # Errors
/// The kernel refuses one.
pub fn kernel() -> Result<(), Error> {
    let secure = MountFlags::NOSUID | MountFlags::NODEV;
    for (source, target, flags, data) in [
        ("proc", "/proc", secure | MountFlags::NOEXEC, c""),
        ("sysfs", "/sys", secure | MountFlags::NOEXEC, c""),
        ("devtmpfs", "/dev", MountFlags::NOSUID, c"mode=0755"),
        ("tmpfs", "/run", secure, c"mode=0755"),
    ] {
        attach(source, source, Path::new(target), flags, data)?;
    }
    fs_err::create_dir_all(STATE)?;
    Ok(())
}

/// Mounts, making the mount point first; that the kernel mounted it already (devtmpfs) is no error.
///
/// # Errors
/// The kernel refuses.
pub fn attach(
    source: &str,
    kind: &str,
    target: &Path,
    flags: MountFlags,
    data: &CStr,
) -> Result<(), Error> {
    fs_err::create_dir_all(target)?;
    match mount(source, target, kind, flags, data) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::BUSY) if kind == "devtmpfs" => Ok(()),
        Err(errno) => Err(Error::system(format!("mount {kind} on {}", target.display()))(errno)),
    }
}

/// Shows the initrd's firmware below [`STATE`], and the kernel the way there: a card is given it again when its driver resets it, and
/// the root need not have it.
///
/// # Errors
/// The kernel refuses.
pub fn keep_firmware() -> Result<(), Error> {
    if !Path::new(FIRMWARE).is_dir() {
        return Ok(());
    }
    let kept = Path::new(STATE).join("firmware");
    fs_err::create_dir_all(&kept)?;
    mount_bind(FIRMWARE, &kept).map_err(Error::system(format!("mount {FIRMWARE} again")))?;
    // What the command line says of it stays.
    let parameter = "/sys/module/firmware_class/parameters/path";
    if fs_err::read_to_string(parameter)?.trim().is_empty() {
        fs_err::write(parameter, kept.to_string_lossy().as_bytes())?;
    }
    Ok(())
}

/// Moves `/proc`, `/sys`, `/dev`, `/run` into the new root, with all that is mounted below them.
///
/// # Errors
/// The kernel refuses, or the new root cannot have the folder.
pub fn hand_over() -> Result<(), Error> {
    for name in ["proc", "sys", "dev", "run"] {
        let target = Path::new(ROOT).join(name);
        fs_err::create_dir_all(&target)?;
        mount_move(format!("/{name}"), &target)
            .map_err(Error::system(format!("move /{name} into the new root")))?;
    }
    Ok(())
}

/// Makes [`ROOT`] the root of everything, and frees the initrd's memory.
///
/// # Errors
/// The kernel refuses.
pub fn switch_root() -> Result<(), Error> {
    free_initrd(Path::new("/"));
    std::env::set_current_dir(ROOT)?;
    mount_move(".", "/").map_err(Error::system("move the new root to /"))?;
    rustix::process::chroot(".").map_err(Error::system("enter the new root"))?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Removes all files of the initrd's own file system but what is kept of it; they are in memory and nobody can reach them afterwards.
fn free_initrd(root: &Path) {
    use std::os::unix::fs::MetadataExt;
    let Ok(device) = fs_err::metadata(root).map(|m| m.dev()) else { return };
    // Only if this really is the initrd: its file system is the kernel's first, and its root says so.
    if fs_err::symlink_metadata(root.join("init")).is_ok() {
        remove_below(root, device);
    }
}

fn remove_below(folder: &Path, device: u64) {
    use std::os::unix::fs::MetadataExt;
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs_err::symlink_metadata(&path) else { continue };
        if metadata.dev() != device || path == Path::new(FIRMWARE) {
            continue;
        }
        // What cannot be removed only costs memory.
        if metadata.is_dir() {
            remove_below(&path, device);
            let _kept = fs_err::remove_dir(&path);
        } else {
            let _kept = fs_err::remove_file(&path);
        }
    }
}
