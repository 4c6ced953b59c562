//! Packages into a tree, as `dpkg --unpack` would (dpkg's `archives.c`), but decompressed in parallel.
//!
//! Threads decompress ahead, each into a bounded queue; one thread makes the names, package after package in the given order, so that
//! the result does not depend on how many threads there are; contents and looks come beside (`filler`). Conffiles are put beside their
//! place as `NAME.dpkg-new`, where dpkg looks for them when it configures the package.

mod filler;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use overboot_debian::deb::{self, ControlFiles, Deb};

use self::filler::with_filler;
use self::writer::Writer;
use crate::error::Error;
use crate::filters::Filters;
use crate::install::Package;
use crate::root::Root;

/// How much of a package is decompressed ahead of its writing: 16 chunks of 256 KiB.
const CHUNK: usize = 256 << 10;
const QUEUE: usize = 16;

/// Unpacks `packages` into `root` and records them as unpacked.
pub(crate) fn unpack(
    root: &Root,
    packages: &[&Package],
    filters: &Filters,
    threads: usize,
) -> Result<(), Error> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        packages.iter().map(|_| sync_channel(QUEUE)).unzip();
    let senders: Vec<_> = senders.into_iter().map(|s| std::sync::Mutex::new(Some(s))).collect();
    let next = AtomicUsize::new(0);
    let threads = threads.clamp(1, packages.len().max(1));
    let (senders, next) = (&senders, &next);
    let work = |filler| {
        let mut writer = Writer::new(root, filters, filler)?;
        let mut stanzas = String::new();
        std::thread::scope(|scope| {
            // A place for each package that is decompressed and not yet written: what waits in memory is bounded by them. When the
            // writer gives up, its end is gone, and so are the threads.
            let (places, written) = sync_channel(threads + 1);
            for _ in 0..threads {
                let places = places.clone();
                scope.spawn(move || {
                    while places.send(()).is_ok() {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(package) = packages.get(at) else { return };
                        let sender = senders[at].lock().ok().and_then(|mut sender| sender.take());
                        if let Some(sender) = sender {
                            decompress(package, &sender);
                        }
                    }
                });
            }
            for (package, receiver) in packages.iter().zip(receivers) {
                stanzas.push_str(&writer.package(package, receiver)?);
                // Its place is free again.
                let _ = written.recv();
            }
            Ok(())
        })?;
        writer.finish(&stanzas)
    };
    with_filler(root, threads, work)
}

/// Puts the files of one package into `folder`, and nothing else: no database, no scripts. For packages of which only files
/// are wanted, such as a kernel's.
///
/// # Errors
/// A package that cannot be read, or that holds what no package may hold.
pub fn extract(package: &Package, folder: &Path) -> Result<(), Error> {
    let root = Root::open(folder)?;
    let filters = Filters::default();
    with_filler(&root, 1, |filler| {
        let mut writer = Writer::new(&root, &filters, filler)?;
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::scope(|scope| {
            scope.spawn(move || decompress(package, &sender));
            // The control files come first.
            match receiver.recv() {
                Ok(Piece::Failed(error)) => return Err(error),
                Ok(Piece::Control(_) | Piece::Data(_)) | Err(_) => {}
            }
            writer.data(&package.name, receiver, &HashSet::new()).map(drop)
        })
    })
}

/// The paths of what a package brings, each from the root with a slash before it.
///
/// # Errors
/// A package that cannot be read.
pub fn paths(package: &Package) -> Result<Vec<String>, Error> {
    let broken = |source| Error::Package { package: package.name.clone(), source };
    let unread = || Error::io("read", &package.path);
    let bytes = fs_err::read(&package.path).map_err(unread())?;
    let mut archive =
        tar::Archive::new(Deb::new(&bytes).and_then(|deb| deb.data()).map_err(broken)?);
    let mut paths = Vec::new();
    for entry in archive.entries().map_err(unread())? {
        paths.extend(writer::absolute(&entry.map_err(unread())?.path_bytes()));
    }
    Ok(paths)
}

/// What the decompressing thread hands over: the control files first, then the data, then nothing.
enum Piece {
    Control(Box<ControlFiles>),
    Data(Vec<u8>),
    Failed(Error),
}

/// Sends a package's contents; stops without a word when nobody listens any more.
fn decompress(package: &Package, sender: &SyncSender<Piece>) {
    let broken = |source| Error::Package { package: package.name.clone(), source };
    let run = || -> Result<(), Error> {
        let bytes = fs_err::read(&package.path).map_err(Error::io("read", &package.path))?;
        let deb = Deb::new(&bytes).map_err(broken)?;
        let control = deb.control().map_err(broken)?;
        if sender.send(Piece::Control(Box::new(control))).is_err() {
            return Ok(());
        }
        let mut data = deb.data().map_err(broken)?;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = (&mut data).take(CHUNK as u64).read_to_end(&mut chunk);
            read.map_err(|source| {
                broken(deb::Error::Decompress { member: deb::DATA.into(), source })
            })?;
            if chunk.is_empty() || sender.send(Piece::Data(chunk)).is_err() {
                return Ok(());
            }
        }
    };
    if let Err(error) = run() {
        let _ = sender.send(Piece::Failed(error));
    }
}

/// The queue as a reader. An error of the other side is kept, since a reader can only give an [`io::Error`].
struct Pieces {
    receiver: Receiver<Piece>,
    chunk: io::Cursor<Vec<u8>>,
    failed: Option<Error>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.receiver.recv() {
                Ok(Piece::Data(chunk)) => self.chunk = io::Cursor::new(chunk),
                Ok(Piece::Failed(error)) => {
                    self.failed = Some(error);
                    return Err(io::Error::other("the package cannot be decompressed"));
                }
                Ok(Piece::Control(_)) | Err(_) => return Ok(0),
            }
        }
    }
}
