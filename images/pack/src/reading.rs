//! What modules say of themselves: read by all processors, and remembered.
//!
//! A distribution's kernel has thousands of modules. To decompress all takes a processor five seconds, and most are in no image.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use overboot_digest::Digest;
use overboot_kmod::ModuleInfo;
use overboot_squashfs::{BlockCache, Checked};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::compress::read_module;

/// What is known of one module.
#[derive(Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) info: ModuleInfo,
    /// The length of its decompressed content, in bytes.
    pub(crate) size: u64,
}

/// Reads the modules at `paths` below `folder`, in their order; from `cache`, if the same files with the same content were read
/// before.
pub(crate) fn read_all(
    folder: &Path,
    paths: &[String],
    cache: Option<&dyn BlockCache>,
) -> Result<Vec<Said>, Error> {
    let read = || each(paths, |path| said(&folder.join(path)));
    let Some(cache) = cache else { return read() };
    let form = format!("what modules say {}", ModuleInfo::FORM);
    let cache = Checked::new(cache, &form);
    let files = each(paths, |path| Ok(format!("{path}\0{}\n", digest(&folder.join(path))?.hex())))?;
    let key = cache.key(files.concat().as_bytes());
    let mut kept = Vec::new();
    if cache.get(&key, &mut kept)
        && let Ok(known) = serde_json::from_slice::<Vec<Said>>(&kept)
        && known.len() == paths.len()
    {
        return Ok(known);
    }
    let read = read()?;
    if let Ok(new) = serde_json::to_vec(&read) {
        cache.put(&key, &new);
    }
    Ok(read)
}

fn said(path: &Path) -> Result<Said, Error> {
    let content = read_module(path, None)?;
    let info = ModuleInfo::parse(&content)
        .map_err(|source| Error::Module { path: path.to_owned(), source })?;
    Ok(Said { info, size: content.len() as u64 })
}

fn digest(path: &Path) -> Result<Digest, Error> {
    let read = fs_err::File::open(path).and_then(Digest::of_reader);
    read.map(|(digest, _)| digest)
        .map_err(|source| Error::ReadTree { path: path.to_owned(), source })
}

/// What `work` makes of each of `paths`, in their order, by all processors.
fn each<T: Send>(
    paths: &[String],
    work: impl Fn(&str) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let done = Mutex::new((0..paths.len()).map(|_| None).collect::<Vec<_>>());
    let worker = || -> Result<(), Error> {
        while let Some((number, path)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            paths.get(number).map(|path| (number, path))
        } {
            let made = work(path)?;
            done.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(made);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })?;
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(done.into_iter().flatten().collect())
}
