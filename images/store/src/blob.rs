//! Content on its way into the store.

use std::io::{self, Read, Seek, SeekFrom, Write};
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
        Ok(Self {
            file,
            path,
            blobs: blobs.to_owned(),
            hasher: Hasher::new(),
            hashed: 0,
            position: 0,
            unordered: false,
            committed: false,
        })
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
        if !self.committed {
            // A leftover is swept when the store is opened the next time.
            let _ = fs_err::remove_file(&self.path);
        }
    }
}
