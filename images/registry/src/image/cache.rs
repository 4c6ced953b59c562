//! Images' content on this machine: `sha256/HEX`, each whole and checked before it has its name. Several processes may use one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use overboot_digest::{Digest, Hasher};
use overboot_store::Descriptor;

use super::origin::Origin;
use crate::Error;
use crate::document::LARGEST;

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let folder = super::folder(folder);
        std::fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        Ok(Self { folder })
    }

    pub(super) fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Is it there, and whole? What is not is taken away.
    pub(super) fn has(&self, blob: Descriptor) -> Result<bool, Error> {
        let path = self.path(blob.digest);
        let Ok(file) = File::open(&path) else { return Ok(false) };
        let (found, size) = Digest::of_reader(file).map_err(Error::file("read", &path))?;
        if found == blob.digest && size == blob.size {
            touch(&path);
            return Ok(true);
        }
        std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        Ok(false)
    }

    /// A small file, if it is there and whole.
    pub(super) fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(digest);
        let Ok(file) = File::open(&path) else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).map_err(Error::file("read", &path))?;
        if Digest::of(&bytes) != digest {
            return Ok(None);
        }
        touch(&path);
        Ok(Some(bytes))
    }

    /// Keeps a small file.
    pub(super) fn write(&self, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
        let mut partial = Partial::open(self.path(digest))?;
        partial.clear()?;
        partial.append(bytes)?;
        partial.finish()
    }

    /// Brings a blob; goes on where an earlier attempt, also of another process, has ended.
    pub(super) fn bring(
        &self,
        origin: &Origin,
        blob: Descriptor,
        progress: &dyn Fn(u64),
    ) -> Result<(), Error> {
        let mut partial = Partial::open(self.path(blob.digest))?;
        // While we waited for another process it may have brought it.
        if self.has(blob)? {
            progress(blob.size);
            return partial.discard();
        }
        let (hasher, there) = partial.there(blob.size)?;
        progress(there);
        let copy = |hasher, there, partial: &mut Partial| {
            origin.copy(blob, hasher, there, &mut |more| {
                partial.append(more)?;
                progress(more.len() as u64);
                Ok(())
            })
        };
        let mut copied = copy(hasher, there, &mut partial);
        if there > 0 && matches!(copied, Err(Error::WrongDigest { .. })) {
            // What was there may have been damaged: then it deserves a fresh start.
            partial.clear()?;
            copied = copy(Hasher::new(), 0, &mut partial);
        }
        match copied {
            Ok(()) => partial.finish(),
            // Nothing to go on with; and on a full disk nobody is helped by what stays there.
            Err(
                error @ (Error::WrongDigest { .. } | Error::WrongSize { .. } | Error::File { .. }),
            ) => {
                partial.discard()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

/// Has a file count as used; where that fails, it goes a little earlier.
fn touch(path: &Path) {
    let file = OpenOptions::new().append(true).open(path);
    let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
}

/// A file on its way, `HEX.partial`, ours alone while we have it.
struct Partial {
    file: File,
    path: PathBuf,
    to: PathBuf,
}

impl Partial {
    fn open(to: PathBuf) -> Result<Self, Error> {
        let path = to.with_extension("partial");
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(Error::file("write", &path))?;
            file.lock().map_err(Error::file("lock", &path))?;
            // Whoever had it before may have given it its name: then this is the file of that name, and not ours to change.
            let same = |there: std::fs::Metadata, ours: std::fs::Metadata| {
                use std::os::unix::fs::MetadataExt;
                (there.dev(), there.ino()) == (ours.dev(), ours.ino())
            };
            let ours = file.metadata().map_err(Error::file("read", &path))?;
            if std::fs::metadata(&path).is_ok_and(|there| same(there, ours)) {
                return Ok(Self { file, path, to });
            }
        }
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> Error + use<> {
        Error::file("write", self.path.clone())
    }

    /// What is there of it, hashed, and the place to go on at.
    fn there(&mut self, most: u64) -> Result<(Hasher, u64), Error> {
        let mut hasher = Hasher::new();
        let failed = self.failed();
        let there = io::copy(&mut self.file, &mut hasher).map_err(failed)?;
        if there >= most {
            self.clear()?;
            return Ok((Hasher::new(), 0));
        }
        Ok((hasher, there))
    }

    fn clear(&mut self) -> Result<(), Error> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cleared.map(drop).map_err(self.failed())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(self.failed())
    }

    fn finish(self) -> Result<(), Error> {
        let named = self.file.sync_all().and_then(|()| std::fs::rename(&self.path, &self.to));
        named.map_err(self.failed())
    }

    fn discard(self) -> Result<(), Error> {
        std::fs::remove_file(&self.path).map_err(self.failed())
    }
}
