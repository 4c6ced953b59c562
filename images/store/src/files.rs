//! Durable files: after a crash there is the old content or the new one.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use fs_err::File;

use crate::Error;

/// Largest document that is read: a manifest or an index, which registries bound at 4 MiB too.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// Reads a document; `None` where there is none.
pub(crate) fn read_document(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::read(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes).map_err(Error::read(path))?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        let reason = format!("it is larger than {LARGEST_DOCUMENT} bytes");
        return Err(Error::Document { path: path.to_owned(), reason });
    }
    Ok(Some(bytes))
}

/// Where a document is written that is about to replace the one at `path`.
fn new_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Removes what a killed process was about to replace a document with. Only for a caller who holds the lock that guards it.
pub(crate) fn forget_new(path: &Path) -> Result<(), Error> {
    match fs_err::remove_file(new_of(path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::write(path)(error))
        }
        _ => Ok(()),
    }
}

/// Replaces a document. Only for a caller who holds the lock that guards it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let new = new_of(path);
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs_err::rename(&new, path));
    written.map_err(Error::write(path))?;
    sync_parent(path)
}

/// Makes a rename in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(Error::write(parent))
}

/// A lock on `path` (`flock(2)`), held until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else has the lock.
    pub(crate) fn exclusive(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::write(path))?;
        file.file().lock().map_err(Error::write(path))?;
        Ok(Self { _file: file })
    }

    /// Waits until nobody has the exclusive lock.
    pub(crate) fn shared(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::write(path))?;
        file.file().lock_shared().map_err(Error::write(path))?;
        Ok(Self { _file: file })
    }
}
