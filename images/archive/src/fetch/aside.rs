//! A file that is being written: beside its final name until it is whole, durable before it gets that name.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err::{File, OpenOptions};
use overboot_digest::{Digest, Hasher};

use crate::Error;

/// `NAME.partial`, locked against other processes, with the digest of what is in it so far.
pub(crate) struct Aside {
    file: File,
    path: PathBuf,
    to: PathBuf,
    hasher: Hasher,
    len: u64,
}

impl Aside {
    /// Opens what there is of the file `to`, or starts it. `None`: it is there already, `size` bytes long.
    pub(crate) fn open(to: &Path, size: u64) -> Result<Option<Self>, Error> {
        let mut name = to.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let failed = |source| Error::file(&path, source);
        let is_there =
            || fs_err::metadata(to).is_ok_and(|there| there.is_file() && there.len() == size);
        let Some(mut file) = locked(&path, is_there).map_err(failed)? else { return Ok(None) };
        let (mut hasher, mut len) = (Hasher::new(), 0);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    len += read as u64;
                }
            }
        }
        let mut aside = Self { file, path, to: to.to_owned(), hasher, len };
        if len > size {
            aside.clear()?;
        }
        Ok(Some(aside))
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| Error::file(&self.path, source))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Starts from nothing.
    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        let cleared = self.file.set_len(0).and_then(|()| io::Seek::rewind(&mut self.file));
        cleared.map_err(|source| Error::file(&self.path, source))?;
        (self.hasher, self.len) = (Hasher::new(), 0);
        Ok(())
    }

    /// Makes it durable and gives it its name.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let failed = |source| Error::file(&self.to, source);
        self.file.sync_all().map_err(failed)?;
        fs_err::rename(&self.path, &self.to).map_err(failed)?;
        sync_parent(&self.to)
    }
}

/// Opens the file `path`, which is made where it is missing, locked against other processes. `None` as soon as `is_there` says that
/// what it would become is there: another process may have made it meanwhile.
pub(crate) fn locked(path: &Path, is_there: impl Fn() -> bool) -> io::Result<Option<File>> {
    loop {
        if is_there() {
            return Ok(None);
        }
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.file().lock()?;
        // Whoever held the lock may have renamed the file away meanwhile: then this is not `path` any more.
        let (ours, named) = (file.metadata()?, fs_err::metadata(path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(Some(file));
        }
    }
}

/// Makes a rename in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|e| Error::file(parent, e))
}

/// What a file that is about to replace another has in its name.
pub(crate) const NEW: &str = ".new-";

/// Writes `bytes` to `path` so that after a crash there is the old content or the new one. Several threads may write the same:
/// two suites may have one list.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!("{NEW}{}-{number}", std::process::id()));
    let new = PathBuf::from(name);
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs_err::rename(&new, path));
    written.map_err(|source| {
        let _ = fs_err::remove_file(&new);
        Error::file(path, source)
    })?;
    sync_parent(path)
}
