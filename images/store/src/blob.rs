//! Content on its way into the store.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};
use overboot_digest::{Digest, Hasher};

use crate::files::{Lock, sync_parent};
use crate::{Descriptor, Error};

/// Writes one blob. It appears under its digest when it is committed, whole and durable, and leaves nothing when it is
/// dropped before.
///
/// It is hashed while it is written; where the writer goes back (an image's superblock is written last), it is read
/// once more in the end.
#[derive(Debug)]
pub struct BlobWriter {
    file: File,
    path: PathBuf,
    blobs: PathBuf,
    hasher: Hasher,
    /// Bytes hashed so far, all before this position.
    hashed: u64,
    /// Where the next byte goes.
    position: u64,
    /// Was a byte changed that had been hashed, or one left out?
    unordered: bool,
    committed: bool,
    /// Does what was written outlive a writer that is dropped?
    stays: bool,
}

/// What the names of temporary files end with that can be gone on with.
const PARTIAL: &str = ".partial";

/// Can that file be gone on with?
pub(crate) fn is_partial(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(PARTIAL))
}

impl BlobWriter {
    /// A temporary file in `temporary`, guarded against the sweep by a lock of its own.
    pub(crate) fn create(temporary: &Path, blobs: &Path, sweep_lock: &Path) -> Result<Self, Error> {
        // Between creating and locking the file a sweep would take it for a leftover.
        let _no_sweep = Lock::shared(sweep_lock)?;
        let mut number = 0_u32;
        let (file, path) = loop {
            let path = temporary.join(format!("{}-{number}", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => break (file, path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::write(&path)(error)),
            }
        };
        file.file().lock().map_err(Error::write(&path))?;
        Ok(Self::new(file, path, blobs))
    }

    fn new(file: File, path: PathBuf, blobs: &Path) -> Self {
        Self {
            file,
            path,
            blobs: blobs.to_owned(),
            hasher: Hasher::new(),
            hashed: 0,
            position: 0,
            unordered: false,
            committed: false,
            stays: false,
        }
    }

    /// The temporary file of the blob `digest`, with what is in it; another one while somebody else has that.
    pub(crate) fn resume(
        temporary: &Path,
        blobs: &Path,
        sweep_lock: &Path,
        digest: &Digest,
    ) -> Result<Self, Error> {
        let path = temporary.join(format!("{}{PARTIAL}", digest.hex()));
        {
            let _no_sweep = Lock::shared(sweep_lock)?;
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(Error::write(&path))?;
            // Whoever had it may have made it a blob since it was opened: then it is not to be changed any more.
            if file.file().try_lock().is_ok() && is_at(&file, &path) {
                let mut hasher = Hasher::new();
                let hashed = io::copy(&mut file, &mut hasher).map_err(Error::read(&path))?;
                let mut writer = Self::new(file, path, blobs);
                (writer.hasher, writer.hashed, writer.position) = (hasher, hashed, hashed);
                writer.stays = true;
                return Ok(writer);
            }
        }
        Self::create(temporary, blobs, sweep_lock)
    }

    /// What has been written so far, in order, and its length.
    #[must_use]
    pub fn written(&self) -> (Hasher, u64) {
        (self.hasher.clone(), self.hashed)
    }

    /// Forgets what has been written.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn clear(&mut self) -> Result<(), Error> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
        cleared.map_err(Error::write(&self.path))?;
        (self.hasher, self.hashed, self.position) = (Hasher::new(), 0, 0);
        self.unordered = false;
        Ok(())
    }

    /// Makes the blob durable and gives it its name. The same content twice is one blob.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::File`].
    pub fn commit(mut self) -> Result<Descriptor, Error> {
        let failed = Error::write(&self.path);
        let flushed = self.file.sync_all().and_then(|()| self.file.metadata());
        let size = flushed.map_err(failed)?.len();
        let digest = if self.unordered || size != self.hashed {
            self.rehash()?
        } else {
            std::mem::take(&mut self.hasher).finish()
        };
        let to = self.blobs.join(digest.hex());
        // Where the content is there already this replaces it by itself: a damaged blob is healed.
        fs_err::rename(&self.path, &to).map_err(Error::write(&to))?;
        self.committed = true;
        sync_parent(&to)?;
        Ok(Descriptor { digest, size })
    }

    fn rehash(&mut self) -> Result<Digest, Error> {
        let failed = Error::read(&self.path);
        let read = self.file.rewind().and_then(|()| Digest::of_reader(&mut self.file));
        read.map(|(digest, _)| digest).map_err(failed)
    }
}

/// Is the file still the one of that name?
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
    let named = fs_err::metadata(path).ok().map(identity);
    named.is_some() && named == file.metadata().ok().map(identity)
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if self.position == self.hashed {
            self.hasher.update(&bytes[..written]);
            self.hashed += written as u64;
        } else if written > 0 {
            self.unordered = true;
        }
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for BlobWriter {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

impl Read for BlobWriter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        let stays = self.committed || self.stays && self.hashed > 0;
        if !stays {
            // A leftover is swept when the store is opened the next time.
            let _ = fs_err::remove_file(&self.path);
        }
    }
}
