//! The content of files: one thread reads, several compress, the caller's writes in order.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use super::Summary;
use super::content::{Buffer, Cutter, Job, Owner, Shared, Stopped};
use super::tables::Fragment;
use super::tree::Tree;
use crate::cache::Checked;
use crate::compress::{Compressor, FORM};
use crate::entry::Kind;
use crate::error::Error;
use crate::format::BLOCK_RAW;
use crate::options::Options;

/// Where a file's content is in the image.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoredFile {
    pub(crate) size: u64,
    /// Position of its first block.
    pub(crate) start: u64,
    /// Size of each block, as inodes hold it: 0 for a hole, else with [`BLOCK_RAW`] or without.
    pub(crate) blocks: Vec<u32>,
    /// Number of the fragment that its tail is in, and offset.
    pub(crate) tail: Option<(u32, u32)>,
    /// Bytes in holes.
    pub(crate) sparse: u64,
}

/// All content.
pub(crate) struct Stored {
    /// For each node; of meaning only where it is a file.
    pub(crate) files: Vec<StoredFile>,
    pub(crate) fragments: Vec<Fragment>,
    /// Position of the first byte after the content.
    pub(crate) end: u64,
    pub(crate) summary: Summary,
}

/// A block after compression.
struct Done {
    owner: Owner,
    buffer: Buffer,
    form: Form,
}

/// What is to be written of a block.
#[derive(Clone, Copy)]
enum Form {
    /// Nothing: it is all zeros.
    Hole,
    /// `Buffer::raw`, since compression gained nothing.
    Raw,
    /// `Buffer::packed`.
    Packed,
}

impl Form {
    /// The form of a block that compression made smaller, or did not.
    const fn of(smaller: bool) -> Self {
        if smaller { Self::Packed } else { Self::Raw }
    }
}

/// Stores the content of all files, from `position` on, to where `out` points.
pub(crate) fn store(
    tree: &Tree,
    options: &Options,
    out: &mut dyn Write,
    position: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Stored, Error> {
    let threads = options.threads.get();
    let (give_back, buffers) = channel();
    // One at the reader, two fragments that are being filled, and two at each compressor: one under
    // work and one that waits for its turn to be written.
    for _ in 0..2 * threads + 3 {
        let _ = give_back.send(Buffer::default());
    }
    let (jobs, jobs_out) = sync_channel::<Job>(threads);
    // Only the compressors hold this end: when they are gone, the reader's sending fails.
    let jobs_out = Arc::new(Mutex::new(jobs_out));
    let (done, done_out) = channel();
    let skipped = AtomicU64::new(0);

    let mut writer = Writer::new(tree, options, out, position);
    let (written, read) = std::thread::scope(|scope| {
        let cutter = Cutter::new(tree, options.block_size, buffers, jobs, &skipped);
        let reader = scope.spawn(move || cutter.run());
        for _ in 0..threads {
            let done = done.clone();
            let jobs = Arc::clone(&jobs_out);
            scope.spawn(move || compress(options, &jobs, &done));
        }
        drop((done, jobs_out));
        let written = writer.run(done_out, give_back, &skipped, progress);
        // Where writing failed, the channels are closed now and the others come to an end.
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (written, read)
    });
    // A compressor that fails ends the reader too, and a source that fails the writer: the first
    // cause is the one that is an error here.
    let shared = match (written, read) {
        (Err(error), _) | (Ok(()), Err(Stopped::Here(error))) => return Err(error),
        (Ok(()), Err(Stopped::Elsewhere)) => {
            let source = io::Error::other("the compressors stopped");
            return Err(Error::Compress { compressor: options.compression.name(), source });
        }
        (Ok(()), Ok(shared)) => shared,
    };
    let stored = writer.finish(&shared);
    progress(stored.summary.content);
    Ok(stored)
}

/// Compresses until there are no more jobs, or nobody wants the results.
fn compress(
    options: &Options,
    jobs: &Mutex<Receiver<Job>>,
    done: &Sender<(u64, Result<Done, io::Error>)>,
) {
    let mut compressor = Compressor::new(options.compression);
    let form = format!("squashfs block {FORM} {:?}", options.compression);
    let cache = options.cache.as_deref().map(|cache| Checked::new(cache, &form));
    loop {
        let job = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return,
        };
        let Ok(Job { number, owner, mut buffer }) = job else { return };
        let Buffer { raw, packed } = &mut buffer;
        let form = if matches!(owner, Owner::File(_)) && raw.iter().all(|byte| *byte == 0) {
            Ok(Form::Hole)
        } else if let Some(cache) = &cache {
            let key = cache.key(raw);
            if cache.get(&key, packed) {
                Ok(Form::Packed)
            } else {
                let smaller = compressor.compress(raw, packed);
                if matches!(smaller, Ok(true)) {
                    cache.put(&key, packed);
                }
                smaller.map(Form::of)
            }
        } else {
            compressor.compress(raw, packed).map(Form::of)
        };
        if done.send((number, form.map(|form| Done { owner, buffer, form }))).is_err() {
            return;
        }
    }
}

/// Puts the blocks into the image in the order of their numbers.
struct Writer<'a> {
    tree: &'a Tree,
    /// For messages.
    compressor: &'static str,
    out: &'a mut dyn Write,
    position: u64,
    files: Vec<StoredFile>,
    fragments: Vec<Fragment>,
    summary: Summary,
}

impl<'a> Writer<'a> {
    fn new(tree: &'a Tree, options: &Options, out: &'a mut dyn Write, position: u64) -> Self {
        Self {
            tree,
            compressor: options.compression.name(),
            out,
            position,
            files: vec![StoredFile::default(); tree.nodes.len()],
            fragments: Vec::new(),
            summary: Summary::default(),
        }
    }

    fn run(
        &mut self,
        results: Receiver<(u64, Result<Done, io::Error>)>,
        give_back: Sender<Buffer>,
        skipped: &AtomicU64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        let mut bytes = 0;
        for (number, result) in results {
            early.insert(number, result);
            while let Some(result) = early.remove(&next) {
                next += 1;
                let compressor = self.compressor;
                let done = result.map_err(|source| Error::Compress { compressor, source })?;
                bytes += done.buffer.raw.len() as u64;
                self.write(&done).map_err(|source| Error::WriteImage { source })?;
                // The reader may have come to its end.
                let _ = give_back.send(done.buffer);
                progress(bytes + skipped.load(Ordering::Relaxed));
            }
        }
        Ok(())
    }

    fn write(&mut self, done: &Done) -> io::Result<()> {
        let (bytes, flag) = match done.form {
            Form::Hole => (&[][..], 0),
            Form::Raw => (&done.buffer.raw[..], BLOCK_RAW),
            Form::Packed => (&done.buffer.packed[..], 0),
        };
        self.out.write_all(bytes)?;
        let size = bytes.len() as u32 | flag;
        match done.owner {
            Owner::File(index) => {
                let file = &mut self.files[index];
                if file.blocks.is_empty() {
                    file.start = self.position;
                }
                file.blocks.push(size);
                if matches!(done.form, Form::Hole) {
                    file.sparse += done.buffer.raw.len() as u64;
                }
                self.summary.blocks += 1;
            }
            Owner::Fragment(number) => {
                // Numbers are given when a fragment is begun, and they are not ended in that order.
                let number = number as usize;
                let missing = (number + 1).saturating_sub(self.fragments.len());
                let none = Fragment { start: 0, size: 0 };
                self.fragments.extend(std::iter::repeat_n(none, missing));
                self.fragments[number] = Fragment { start: self.position, size };
                self.summary.fragments += 1;
            }
        }
        self.position += bytes.len() as u64;
        self.summary.data_stored += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self, shared: &[Shared]) -> Stored {
        for (index, node) in self.tree.nodes.iter().enumerate() {
            let Kind::File(source) = &node.entry.kind else { continue };
            let size = source.size();
            self.summary.files += 1;
            self.summary.content += size;
            if let Some(first) = shared[index].duplicate_of {
                self.summary.duplicates += 1;
                self.summary.duplicate_content += size;
                self.files[index] = self.files[first].clone();
                self.files[index].tail = shared[first].tail;
            } else {
                self.files[index].tail = shared[index].tail;
            }
            self.files[index].size = size;
        }
        Stored {
            files: self.files,
            fragments: self.fragments,
            end: self.position,
            summary: self.summary,
        }
    }
}
