//! What Ansible sees of the project: a copy of what the step reads, and what it is done with.
//!
//! Whatever else of the project it could read would be in the image without being an input of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::error::Error;
use crate::provision;
use crate::root::Root;
use crate::sandbox::{bind, memory, remount, text};
use crate::sys::{Make, Mount, Scene, View};

/// Copies what is read of the project, at the places that it has there.
///
/// # Errors
/// Something cannot be read or written, or is a link that leads out of the copy.
pub(super) fn copy(
    project: &Path,
    reads: &[PathBuf],
    into: &Path,
    epoch: u64,
) -> Result<(), Error> {
    let copy = Root::create(into)?;
    for path in reads {
        provision::copy(&copy, &project.join(path), path, epoch)?;
    }
    let top = fs_err::File::open(into).map_err(Error::io("open", into))?;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = into.join(&folder);
        for entry in fs_err::read_dir(&full).map_err(Error::io("read", &full))? {
            let entry = entry.map_err(Error::io("read", &full))?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(Error::io("read", &full))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let led = openat2(top.file(), &path, flags, Mode::empty(), ResolveFlags::BENEATH);
                // One that leads to nothing is for whoever follows it to find out.
                if led.is_err_and(|error| error == Errno::XDEV) {
                    let target = fs_err::read_link(into.join(&path)).unwrap_or_default();
                    return Err(Error::LeadsOut { link: path, target });
                }
            }
        }
    }
    Ok(())
}

/// A view in which the folder `project` has nothing in it but the files and folders `shown`, from within `folder`. `aside` is an
/// empty folder that is in none of them.
///
/// # Errors
/// A path is not to be found.
pub(super) fn only(
    project: &Path,
    shown: &[&Path],
    aside: &Path,
    folder: &Path,
) -> Result<View, Error> {
    let mut folders = BTreeSet::new();
    let mut files = BTreeSet::new();
    for path in shown {
        let path = fs_err::canonicalize(path).map_err(Error::io("find", *path))?;
        let Ok(inside) = path.strip_prefix(project) else { continue };
        let these = if path.is_dir() { &mut folders } else { &mut files };
        these.insert(inside.to_owned());
    }
    let parts: BTreeSet<PathBuf> = folders.union(&files).cloned().collect();
    for part in &parts {
        folders.extend(part.ancestors().skip(1).map(Path::to_owned));
    }
    folders.remove(Path::new(""));
    // Sorted by name, a folder comes before what is in it.
    let makes = folders.iter().map(|path| Make::Folder { path: text(aside.join(path)) });
    let files = files.iter();
    let makes = makes
        .chain(files.map(|path| Make::File { path: text(aside.join(path)), contents: Vec::new() }));
    let inert = libc::MS_NOSUID | libc::MS_NODEV;
    let binds = parts.iter().map(|part| bind(text(project.join(part)), text(aside.join(part)), 0));
    let moved = Mount {
        source: text(aside),
        target: text(project),
        kind: text(""),
        flags: libc::MS_MOVE,
        data: text(""),
        optional: false,
    };
    let scene = Scene {
        mounts: vec![memory(text(aside), inert, "mode=755,size=1m")],
        makes: makes.collect(),
        last: binds.chain([moved, remount(text(project), inert | libc::MS_RDONLY)]).collect(),
    };
    Ok(View { scene, folder: text(folder) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_lead_to_what_is_read_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        let read = project.join("roles/one/files");
        std::fs::create_dir_all(&read).unwrap();
        std::fs::create_dir_all(project.join("shared")).unwrap();
        std::fs::write(project.join("shared/file"), "shared").unwrap();
        let reads = [PathBuf::from("roles/one"), PathBuf::from("shared")];
        let link = read.join("link");
        let mut copies = 0;
        let mut copied = |target: &str| {
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(target, &link).unwrap();
            copies += 1;
            let into = folder.path().join(format!("copy-{copies}"));
            copy(&project, &reads, &into, 0).map(|()| into)
        };
        let into = copied("../../../shared/file").unwrap();
        assert_eq!(std::fs::read(into.join("roles/one/files/link")).unwrap(), b"shared");
        copied("nothing").unwrap();
        // Up from where a second link leads is another place than it looks.
        std::os::unix::fs::symlink("../../../shared", read.join("up")).unwrap();
        for out in ["/etc/hostname", "../../../../outside", "up/../../outside"] {
            let said = copied(out).unwrap_err().to_string();
            assert!(said.contains("roles/one/files/link leads out"), "{said}");
            assert!(said.contains(out) && said.contains("reads"), "{said}");
        }
    }
}
