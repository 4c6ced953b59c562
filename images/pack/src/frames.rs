//! A cpio archive in compressed frames: made side by side, and kept by content, so that what did not change is not compressed again.
//!
//! The kernel unpacks one frame after the other and wants each to end where an entry of the archive does (`init/initramfs.c`). To
//! everybody else frames that follow each other are one stream (RFC 8878, 3).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use overboot_squashfs::Checked;

use crate::initrd::Zstd;
use crate::tree::Entry;
use crate::{Error, cpio};

/// How much is compressed together, in bytes: twice as much gains half a percent, half as much loses one.
const FRAME: usize = 8 << 20;

/// Bound into the cache's keys: what the bytes of a frame depend on besides its content. To be counted up when frames are made
/// otherwise.
const FORM: u32 = 1;

/// The place of a frame among the others, and what is in it.
type Frame = (usize, Vec<u8>);

/// Writes `entries` (sorted, so that directories come before what is in them) as a compressed archive to `out`; `what` is its name for
/// messages. A frame also ends where `apart` says of an entry what it does not say of the next.
pub(crate) fn write(
    entries: &[Entry],
    what: &'static str,
    compression: &Zstd,
    apart: impl Fn(&Entry) -> bool,
    mut out: impl Write,
) -> Result<(), Error> {
    let failed = |source| Error::WriteArchive { what, source };
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let (frames, waiting) = sync_channel(1);
        // Only the workers hold this end: when they are gone, nobody waits for them.
        let waiting = Arc::new(Mutex::new(waiting));
        let workers: Vec<_> = (0..compression.threads.get())
            .map(|_| Arc::clone(&waiting))
            .map(|waiting| scope.spawn(|| compress(compression, waiting, &done)))
            .collect();
        drop(waiting);
        let mut number = 0;
        let mut send = |frame: Vec<u8>| {
            // Nobody takes it where compressing has failed, which is told below.
            let _ = frames.send((number, frame));
            number += 1;
        };
        let written = cpio::write(entries, what, Vec::new(), |frame: &mut Vec<u8>, at| {
            let both = entries.get(at).zip(entries.get(at + 1));
            if frame.len() >= FRAME || both.is_some_and(|(one, next)| apart(one) != apart(next)) {
                send(std::mem::take(frame));
            }
        });
        let written = written.map(&mut send);
        drop(frames);
        for worker in workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        written
    })?;
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    for frame in done.into_values() {
        out.write_all(&frame.map_err(failed)?).map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// Compresses until there are no more frames, or one cannot be.
fn compress(
    compression: &Zstd,
    waiting: Arc<Mutex<Receiver<Frame>>>,
    done: &Mutex<BTreeMap<usize, io::Result<Vec<u8>>>>,
) {
    let form = format!("cpio frame {FORM} level {}", compression.level);
    let cache = compression.cache.as_deref().map(|cache| Checked::new(cache, &form));
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, raw)) = next else { return };
        let key = cache.as_ref().map(|cache| (cache, cache.key(&raw)));
        let mut packed = Vec::new();
        let known = key.as_ref().is_some_and(|(cache, key)| cache.get(key, &mut packed));
        let frame = if known { Ok(packed) } else { one(&raw, compression.level) };
        if let (false, Some((cache, key)), Ok(frame)) = (known, &key, &frame) {
            cache.put(key, frame);
        }
        let failed = frame.is_err();
        done.lock().unwrap_or_else(PoisonError::into_inner).insert(number, frame);
        if failed {
            return;
        }
    }
}

/// A new context each time: what one was used for before may change what it does next.
fn one(raw: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    compressor.compress(raw)
}
