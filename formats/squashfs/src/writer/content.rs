//! Content, read and cut: whole blocks, and what small files and the ends of large ones share. Files
//! that are there already are found here.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use overboot_digest::{Digest, Hasher};

use super::tree::Tree;
use crate::entry::{Kind, Source};
use crate::error::Error;

/// Room for one block, before and after compression. There is a fixed number of these: they bound the
/// memory, and whoever wants one waits until the writer gives one back.
#[derive(Default)]
pub(crate) struct Buffer {
    pub(crate) raw: Vec<u8>,
    pub(crate) packed: Vec<u8>,
}

/// A block to compress. Its number is its place among the blocks in the image.
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) owner: Owner,
    pub(crate) buffer: Buffer,
}

/// Whose a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The next block of the file with this index in the tree.
    File(usize),
    /// The next fragment.
    Fragment,
}

/// Where a file's bytes are that are not in blocks of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shared {
    /// The file, by index in the tree, that has the same content.
    pub(crate) duplicate_of: Option<usize>,
    /// Number of the fragment and offset in it.
    pub(crate) tail: Option<(u32, u32)>,
}

/// Why reading ended before everything was read.
pub(crate) enum Stopped {
    /// The writer or the compressors have given up; they know why.
    Elsewhere,
    /// A source failed.
    Here(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

/// Reads all files of a tree.
pub(crate) struct Cutter<'a> {
    tree: &'a Tree,
    block_size: usize,
    buffers: Receiver<Buffer>,
    jobs: SyncSender<Job>,
    /// Counts the bytes of duplicates, for the progress.
    skipped: &'a AtomicU64,
    number: u64,
    fragment: Option<Buffer>,
    fragments: u32,
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(
        tree: &'a Tree,
        block_size: u32,
        buffers: Receiver<Buffer>,
        jobs: SyncSender<Job>,
        skipped: &'a AtomicU64,
    ) -> Self {
        let block_size = block_size as usize;
        Self { tree, block_size, buffers, jobs, skipped, number: 0, fragment: None, fragments: 0 }
    }

    /// Reads every file, in the order given, and hands the blocks on. What it returns is in the order
    /// of the tree.
    pub(crate) fn run(mut self, order: &[usize]) -> Result<Vec<Shared>, Stopped> {
        let mut shared = vec![Shared::default(); self.tree.nodes.len()];
        let mut same_size: HashMap<u64, usize> = HashMap::new();
        for index in order {
            if let Some(source) = self.source(*index) {
                *same_size.entry(source.size()).or_default() += 1;
            }
        }
        let mut known: HashMap<(u64, Digest), usize> = HashMap::new();
        for &index in order {
            let Some(source) = self.source(index) else { continue };
            let size = source.size();
            if size == 0 {
                continue;
            }
            // Only a file that has its size in common with another can be a duplicate.
            let candidate = same_size.get(&size).is_some_and(|count| *count > 1);
            let mut duplicate = |digest| *known.entry((size, digest)).or_insert(index);
            let small = size < self.block_size as u64;
            if candidate && !small {
                let first = duplicate(self.hash(index, &source)?);
                if first != index {
                    shared[index].duplicate_of = Some(first);
                    self.skipped.fetch_add(size, Ordering::Relaxed);
                    continue;
                }
            }
            let mut content = self.open(index, &source)?;
            for _ in 0..size / self.block_size as u64 {
                let mut buffer = self.buffers.recv().map_err(|_| Stopped::Elsewhere)?;
                buffer.raw.clear();
                self.read(index, &mut content, &mut buffer.raw, self.block_size, size)?;
                self.send(Owner::File(index), buffer)?;
            }
            let tail = (size % self.block_size as u64) as usize;
            if tail > 0 {
                let (fragments, mut buffer) = self.fragment_for(tail)?;
                let offset = buffer.raw.len();
                self.read(index, &mut content, &mut buffer.raw, tail, size)?;
                shared[index].tail = Some((fragments, offset as u32));
                if candidate && small {
                    let first = duplicate(Digest::of(&buffer.raw[offset..]));
                    if first != index {
                        buffer.raw.truncate(offset);
                        shared[index] = Shared { duplicate_of: Some(first), tail: None };
                        self.skipped.fetch_add(size, Ordering::Relaxed);
                    }
                }
                self.fragment = Some(buffer);
            }
            if content.read(&mut [0]).map_err(|source| self.failed(index, source))? != 0 {
                return Err(self.changed(index, size, "longer").into());
            }
        }
        self.end_fragment()?;
        Ok(shared)
    }

    /// The source of a node that is a file and not another name of one.
    fn source(&self, index: usize) -> Option<Arc<dyn Source>> {
        match &self.tree.nodes[index].entry.kind {
            Kind::File(source) => Some(Arc::clone(source)),
            _ => None,
        }
    }

    fn open(&self, index: usize, source: &Arc<dyn Source>) -> Result<Box<dyn Read + Send>, Error> {
        source.open().map_err(|source| self.failed(index, source))
    }

    fn failed(&self, index: usize, source: std::io::Error) -> Error {
        Error::ReadSource { path: self.tree.nodes[index].path(), source }
    }

    fn changed(&self, index: usize, expected: u64, found: &'static str) -> Error {
        Error::SourceChanged { path: self.tree.nodes[index].path(), expected, found }
    }

    /// Appends exactly `count` bytes to `out`.
    fn read(
        &self,
        index: usize,
        content: &mut dyn Read,
        out: &mut Vec<u8>,
        count: usize,
        size: u64,
    ) -> Result<(), Error> {
        let start = out.len();
        out.resize(start + count, 0);
        content.read_exact(&mut out[start..]).map_err(|source| {
            if source.kind() == ErrorKind::UnexpectedEof {
                self.changed(index, size, "shorter")
            } else {
                self.failed(index, source)
            }
        })
    }

    /// The digest of a file that is too large to be kept in memory until it is known.
    fn hash(&self, index: usize, source: &Arc<dyn Source>) -> Result<Digest, Error> {
        let mut content = self.open(index, source)?.take(source.size());
        let mut hasher = Hasher::new();
        std::io::copy(&mut content, &mut hasher).map_err(|source| self.failed(index, source))?;
        Ok(hasher.finish())
    }

    /// A fragment with room for `tail` more bytes, and its number.
    fn fragment_for(&mut self, tail: usize) -> Result<(u32, Buffer), Stopped> {
        if self.fragment.as_ref().is_some_and(|open| open.raw.len() + tail > self.block_size) {
            self.end_fragment()?;
        }
        let buffer = match self.fragment.take() {
            Some(buffer) => buffer,
            None => {
                let mut buffer = self.buffers.recv().map_err(|_| Stopped::Elsewhere)?;
                buffer.raw.clear();
                buffer
            }
        };
        Ok((self.fragments, buffer))
    }

    fn end_fragment(&mut self) -> Result<(), Stopped> {
        let Some(buffer) = self.fragment.take() else { return Ok(()) };
        // All that was in it may have been a duplicate.
        if buffer.raw.is_empty() {
            return Ok(());
        }
        self.fragments = self
            .fragments
            .checked_add(1)
            .ok_or(Error::TooMany { what: "fragments", limit: u64::from(u32::MAX) })?;
        self.send(Owner::Fragment, buffer)
    }

    fn send(&mut self, owner: Owner, buffer: Buffer) -> Result<(), Stopped> {
        let job = Job { number: self.number, owner, buffer };
        self.number += 1;
        self.jobs.send(job).map_err(|_| Stopped::Elsewhere)
    }
}
