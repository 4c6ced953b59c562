//! What was computed of content, kept in a directory, so that packing again costs what has changed: compressed blocks of squashfs
//! images, frames of initrds, modules and what they say.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use fs_err as fs;
use overboot_digest::Digest;
pub use overboot_squashfs::BlockCache;

/// A directory with one file a block, named by its key. A block that was used last stays longest.
///
/// It is a cache: what cannot be read or written in it costs time and nothing else. Several processes may use it at once.
#[derive(Debug)]
pub struct BlockDirectory {
    path: PathBuf,
}

/// For names of files that are not yet whole: several directories of one process may be the same.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

impl BlockDirectory {
    /// The cache in `path`, made where it is missing, and cut down to three quarters of `limit` bytes where it has more
    /// than that. It may grow past the limit until it is opened again.
    ///
    /// What a killed process was about to put into it is removed.
    pub fn open(path: impl Into<PathBuf>, limit: u64) -> Self {
        let path = path.into();
        let _ = fs::create_dir_all(&path).and_then(|()| prune(&path, limit));
        Self { path }
    }

    fn write(&self, key: &Digest, block: &[u8]) -> io::Result<()> {
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let aside = self.path.join(format!("{ASIDE}{}-{number}", std::process::id()));
        // One of that name is another's, who has the same number in another namespace.
        let mut file = fs::File::create_new(&aside)?;
        let mut put = || -> io::Result<()> {
            // As long as somebody holds it nobody takes it for what was left; before that it may be, and the block is put another time.
            file.file().lock()?;
            file.write_all(block)?;
            fs::rename(&aside, self.path.join(key.hex()))
        };
        let whole = put();
        if whole.is_err() {
            let _ = fs::remove_file(&aside);
        }
        whole
    }
}

impl BlockCache for BlockDirectory {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        let path = self.path.join(key.hex());
        let block = fs::read(&path).ok()?;
        // So that it counts as used; where that fails, it goes a little earlier.
        let file = fs::OpenOptions::new().append(true).open(&path);
        let _ = file.and_then(|file| file.file().set_modified(SystemTime::now()));
        Some(block)
    }

    fn put(&self, key: &Digest, block: &[u8]) {
        // A full disk, say, is no reason not to pack.
        let _ = self.write(key, block);
    }
}

/// What the names of files begin with that are not yet whole.
const ASIDE: &str = ".";

/// Removes what was not used for longest, and what nobody writes any more.
fn prune(directory: &Path, limit: u64) -> io::Result<()> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Another process may have removed it.
        let Ok(metadata) = entry.metadata() else { continue };
        if entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes()) {
            if fs::File::open(entry.path()).is_ok_and(|file| file.file().try_lock().is_ok()) {
                let _ = fs::remove_file(entry.path());
            }
            continue;
        }
        blocks.push((metadata.modified()?, metadata.len(), entry.path()));
    }
    let mut total: u64 = blocks.iter().map(|(_, size, _)| size).sum();
    if total <= limit {
        return Ok(());
    }
    blocks.sort();
    for (_, size, path) in blocks {
        if total <= limit / 4 * 3 {
            break;
        }
        let _ = fs::remove_file(path);
        total -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_and_the_ones_used_last_stay() {
        let directory = tempfile::tempdir().unwrap();
        let cache = BlockDirectory::open(directory.path(), 1000);
        let keys: Vec<Digest> = (0..20).map(|number| Digest::of([number])).collect();
        for (age, key) in keys.iter().enumerate() {
            cache.put(key, &[age as u8; 100]);
            let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age as u64 * 1000);
            let file =
                std::fs::OpenOptions::new().append(true).open(directory.path().join(key.hex()));
            file.unwrap().set_modified(old).unwrap();
        }
        assert_eq!(cache.get(&keys[0]).unwrap(), [0; 100], "and it is the newest now");
        let cache = BlockDirectory::open(directory.path(), 1000);
        let there: Vec<bool> = keys.iter().map(|key| cache.get(key).is_some()).collect();
        assert!(there[0] && there[19] && !there[1] && !there[12], "{there:?}");
        assert_eq!(there.iter().filter(|there| **there).count(), 7);
        assert!(cache.get(&Digest::of("never put")).is_none());
    }

    #[test]
    fn what_another_is_writing_is_left_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let cache = BlockDirectory::open(directory.path(), 1_000_000);
        // As a process with the same number in another namespace would have named them.
        let next = WRITTEN.load(Ordering::Relaxed);
        let names = (next..next + 64).map(|number| format!(".{}-{number}", std::process::id()));
        let others: Vec<_> = names.map(|name| directory.path().join(name)).collect();
        for other in &others {
            std::fs::write(other, b"theirs").unwrap();
        }
        cache.put(&Digest::of("ours"), b"ours");
        assert!(others.iter().all(|other| std::fs::read(other).unwrap() == b"theirs"));
        assert!(cache.get(&Digest::of("ours")).is_none());
    }

    #[test]
    fn what_nobody_writes_any_more_goes() {
        let directory = tempfile::tempdir().unwrap();
        let [left, held] = [".1-0", ".1-1"].map(|name| directory.path().join(name));
        std::fs::write(&left, b"half").unwrap();
        let holder = std::fs::File::create(&held).unwrap();
        holder.lock().unwrap();
        BlockDirectory::open(directory.path(), 1000);
        assert!(!left.exists() && held.exists());
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_failure() {
        let directory = tempfile::tempdir().unwrap();
        let cache = BlockDirectory::open(directory.path().join("cache"), 1000);
        std::fs::remove_dir(directory.path().join("cache")).unwrap();
        cache.put(&Digest::of(""), b"block");
        assert!(cache.get(&Digest::of("")).is_none());
    }
}
