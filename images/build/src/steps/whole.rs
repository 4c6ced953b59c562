//! Whether all of a tree is there, as the note beside it says.
//!
//! A tree is used as soon as it is made, and on the disk some time later. Until then its note holds only while the machine runs: a
//! process that is killed loses nothing, and where power fails the tree is made anew.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use overboot_rootfs::rootless;

use crate::error::Error;

/// What the file beside a tree is called that says how many entries it has.
pub(super) const COUNT: &str = ".entries";

/// The kernel's name of the time since it was started (random(4)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Is all of a tree there? Somebody may have begun to remove it by hand: what is left of it is not the tree.
pub(super) fn is_whole(tree: &Path) -> bool {
    let Ok(said) = fs_err::read_to_string(noted(tree)) else { return false };
    let count = || to_count(tree);
    tree.is_dir() && (said == count() || boot().is_some_and(|boot| said == until(&count(), &boot)))
}

/// The trees that are on their way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Settling(Mutex<Vec<JoinHandle<()>>>);

impl Settling {
    /// Gives a tree that is whole its name, and a note that says so.
    pub(super) fn name(&self, made: &Path, path: &Path) -> Result<(), Error> {
        let count = to_count(made);
        let folder = fs_err::File::open(made).map_err(Error::io("open", made))?;
        let sync = move || rustix::fs::syncfs(folder.file()).map_err(io::Error::from);
        let noted = noted(path);
        let note = |text: &str| fs_err::write(&noted, text).map_err(Error::io("write", &noted));
        let rename = || fs_err::rename(made, path).map_err(Error::io("name the tree", path));
        let Some(boot) = boot() else {
            sync().map_err(Error::io("sync", made))?;
            note(&count)?;
            return rename();
        };
        note(&until(&count, &boot))?;
        rename()?;
        let settled = std::thread::spawn(move || {
            let mut aside = noted.clone().into_os_string();
            aside.push(".new");
            // Where this fails the tree is used until the machine is started again, and then made anew.
            let _ = sync()
                .and_then(|()| fs_err::write(&aside, &count))
                .and_then(|()| fs_err::rename(&aside, &noted));
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(settled);
        Ok(())
    }

    /// Waits until all of them are there.
    pub(crate) fn wait(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for settled in all {
            let _ = settled.join();
        }
    }
}

/// What is noted of a tree that is whole: how many entries it has, and under which numbers its users are known.
fn to_count(tree: &Path) -> String {
    format!("{} {}", entries(tree), rootless::numbers())
}

/// The same of one that may be lost when the machine is started again.
fn until(count: &str, boot: &str) -> String {
    format!("{count} since {boot}")
}

fn boot() -> Option<String> {
    fs_err::read_to_string(BOOT).ok().map(|text| text.trim().to_owned())
}

/// How many files and folders there are in a tree; what cannot be read is none.
fn entries(folder: &Path) -> u64 {
    let Ok(inside) = fs_err::read_dir(folder) else { return 0 };
    let below = inside.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => 1 + entries(&entry.path()),
        _ => 1,
    });
    below.sum()
}

fn noted(tree: &Path) -> PathBuf {
    beside(tree, COUNT)
}

/// What is kept beside a tree.
pub(super) fn beside(tree: &Path, ending: impl AsRef<OsStr>) -> PathBuf {
    let mut name = tree.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_whole_from_the_beginning_and_for_ever_when_it_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let [made, tree] = ["made", "tree"].map(|name| folder.path().join(name));
        fs_err::create_dir_all(made.join("etc/apt")).unwrap();
        let settling = Settling::default();
        settling.name(&made, &tree).unwrap();
        assert!(is_whole(&tree) && !made.exists());
        settling.wait();
        let noted = noted(&tree);
        let count = fs_err::read_to_string(&noted).unwrap();
        assert_eq!(count, to_count(&tree));
        assert!(is_whole(&tree));
        // Of this start of the machine, of another, of another tree.
        for (note, whole) in [
            (until(&count, &boot().unwrap()), true),
            (until(&count, "5b8e63ee-3ee8-4a6e-9d5d-1b2d2f4c3a10"), false),
            (until("9 0", &boot().unwrap()), false),
            (String::new(), false),
        ] {
            fs_err::write(&noted, &note).unwrap();
            assert_eq!(is_whole(&tree), whole, "{note:?}");
        }
        fs_err::write(&noted, count).unwrap();
        fs_err::remove_dir(tree.join("etc/apt")).unwrap();
        assert!(!is_whole(&tree), "part of it is gone");
    }
}
