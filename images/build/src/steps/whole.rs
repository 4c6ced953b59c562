//! Whether all of a tree is there, as the note beside it says.
//!
//! A tree is used as soon as it is made, and on the disk some time later. Until then its note holds only while the machine runs: a
//! process that is killed loses nothing, and where power fails the tree is made anew.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use overboot_rootfs::rootless;

use crate::error::Error;

/// What the file beside a tree is called that says how many entries it has.
pub(super) const COUNT: &str = ".entries";

/// The same of one that is about to take its place.
pub(super) const COUNTED: &str = ".entries.new";

/// What stands in a note before the start of the machine after which it counts.
const SINCE: &str = " since ";

/// The kernel's name of the time since it was started (random(4)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Is all of a tree there? Somebody may have begun to remove it by hand: what is left of it is not the tree.
pub(super) fn is_whole(tree: &Path) -> bool {
    state(tree).is_some()
}

/// What is noted of a tree that is whole.
struct State {
    count: String,
    /// Is it on the disk?
    settled: bool,
}

/// Nothing of a tree that is not whole.
fn state(tree: &Path) -> Option<State> {
    let said = fs_err::read_to_string(noted(tree)).ok()?;
    let (count, settled) = match said.split_once(SINCE) {
        Some((count, start)) => (boot().filter(|boot| boot == start).map(|_| count)?, false),
        None => (&*said, true),
    };
    let whole = tree.is_dir() && count == to_count(tree);
    whole.then(|| State { count: count.to_owned(), settled })
}

/// The trees that are on their way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Settling(Mutex<BTreeMap<PathBuf, JoinHandle<()>>>);

impl Settling {
    /// Gives a tree that is whole its name, and a note that says so.
    pub(super) fn name(&self, made: &Path, path: &Path) -> Result<(), Error> {
        let count = to_count(made);
        let noted = noted(path);
        let note = |text: &str| fs_err::write(&noted, text).map_err(Error::io("write", &noted));
        let rename = || fs_err::rename(made, path).map_err(Error::io("name the tree", path));
        let Some(boot) = boot() else {
            sync(made).map_err(Error::io("sync", made))?;
            note(&count)?;
            return rename();
        };
        note(&until(&count, &boot))?;
        rename()?;
        self.settle(path, count);
        Ok(())
    }

    /// Goes on with a tree that was named by a build which has not waited for the disk.
    pub(super) fn resume(&self, path: &Path) {
        if let Some(State { count, settled: false }) = state(path) {
            self.settle(path, count);
        }
    }

    fn settle(&self, path: &Path, count: String) {
        let mut settling = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once: two would write the same note.
        if settling.contains_key(path) {
            return;
        }
        let (tree, noted, aside) = (path.to_owned(), noted(path), beside(path, COUNTED));
        let settled = std::thread::spawn(move || {
            // Where this fails the tree is used until the machine is started again, and then made anew.
            let _ = sync(&tree)
                .and_then(|()| fs_err::write(&aside, &count))
                .and_then(|()| fs_err::rename(&aside, &noted));
        });
        settling.insert(path.to_owned(), settled);
    }

    /// Waits until all of them are there.
    pub(crate) fn wait(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for settled in all.into_values() {
            let _ = settled.join();
        }
    }
}

impl Drop for Settling {
    /// Also where a build fails: nothing is written behind the back of whoever comes next.
    fn drop(&mut self) {
        self.wait();
    }
}

/// Has all of a tree written to the disk.
fn sync(tree: &Path) -> io::Result<()> {
    let folder = fs_err::File::open(tree)?;
    Ok(rustix::fs::syncfs(folder.file())?)
}

/// What is noted of a tree that is whole: how many entries it has, and under which numbers its users are known.
fn to_count(tree: &Path) -> String {
    format!("{} {}", entries(tree), rootless::numbers())
}

/// The same of one that may be lost when the machine is started again.
fn until(count: &str, boot: &str) -> String {
    format!("{count}{SINCE}{boot}")
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
        // A build that ended before it was on the disk is made up for by the next one.
        fs_err::write(&noted, until(&count, &boot().unwrap())).unwrap();
        settling.resume(&tree);
        drop(settling);
        assert_eq!(fs_err::read_to_string(&noted).unwrap(), count);
        fs_err::write(&noted, count).unwrap();
        fs_err::remove_dir(tree.join("etc/apt")).unwrap();
        assert!(!is_whole(&tree), "part of it is gone");
    }
}
