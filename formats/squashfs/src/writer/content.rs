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
    /// The fragment with this number.
    Fragment(u32),
}

/// Where a file's bytes are that are not in blocks of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shared {
    /// The file, by index in the tree, that has the same content.
    pub(crate) duplicate_of: Option<usize>,
    /// Number of the fragment and offset in it.
    pub(crate) tail: Option<(u32, u32)>,
}

/// A fragment that is being filled.
struct Fragment {
    number: u32,
    buffer: Buffer,
}

/// What shares fragments. Machine code and text in one block compress worse than apart (0.3 % of a
/// root tree).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Code,
    Other,
}

impl Group {
    /// The group of a file that begins like this.
    fn of(content: &[u8]) -> Self {
        if content.starts_with(b"\x7fELF") { Self::Code } else { Self::Other }
    }
}

/// Whether a fragment that is nearly full ends with this file. One path in eight is such a boundary
/// (by its FNV-1a hash), whatever the files before it have in them, so that after a change all but a
/// few fragments are what they were and come from the cache of blocks.
fn is_boundary(path: &[u8]) -> bool {
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Its high bits hardly know the last bytes: once more, so that they do.
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 0
}

/// Content that there is already. Only a file that has its size in common with another can be a duplicate,
/// so that most are never hashed.
struct Known {
    sizes: HashMap<u64, usize>,
    content: HashMap<(u64, Digest), usize>,
}

impl Known {
    /// For files of these sizes.
    fn new(sizes: impl Iterator<Item = u64>) -> Self {
        let mut counts = HashMap::new();
        for size in sizes {
            *counts.entry(size).or_default() += 1;
        }
        Self { sizes: counts, content: HashMap::new() }
    }

    fn may_have(&self, size: u64) -> bool {
        self.sizes.get(&size).is_some_and(|count| *count > 1)
    }

    /// The first file with this content, if it is another than this.
    fn first(&mut self, index: usize, size: u64, digest: Digest) -> Option<usize> {
        let first = *self.content.entry((size, digest)).or_insert(index);
        (first != index).then_some(first)
    }
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
    /// The fragments that are being filled, by group.
    open: [Option<Fragment>; 2],
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
        Self {
            tree,
            block_size,
            buffers,
            jobs,
            skipped,
            number: 0,
            open: [None, None],
            fragments: 0,
        }
    }

    /// Reads every file, in the order of their paths, and hands the blocks on. What it returns is in the
    /// order of the tree.
    pub(crate) fn run(mut self) -> Result<Vec<Shared>, Stopped> {
        let files: Vec<_> = (0..self.tree.nodes.len())
            .filter_map(|index| Some((index, self.source(index)?)))
            .collect();
        let mut known = Known::new(files.iter().map(|(_, source)| source.size()));
        let mut shared = vec![Shared::default(); self.tree.nodes.len()];
        let mut scratch = Vec::new();
        for (index, source) in files {
            shared[index] = self.store(index, &source, &mut known, &mut scratch)?;
            if shared[index].duplicate_of.is_some() {
                self.skipped.fetch_add(source.size(), Ordering::Relaxed);
            }
        }
        for group in [Group::Code, Group::Other] {
            self.end_fragment(group)?;
        }
        Ok(shared)
    }

    /// Reads one file, unless it is there already.
    fn store(
        &mut self,
        index: usize,
        source: &Arc<dyn Source>,
        known: &mut Known,
        scratch: &mut Vec<u8>,
    ) -> Result<Shared, Stopped> {
        let size = source.size();
        let block_size = self.block_size as u64;
        let mut shared = Shared::default();
        if size == 0 {
            return Ok(shared);
        }
        let candidate = known.may_have(size);
        // A large one is read twice rather than kept in memory; a small one is looked at as it is read.
        if candidate && size >= block_size {
            shared.duplicate_of = known.first(index, size, self.hash(index, source)?);
            if shared.duplicate_of.is_some() {
                return Ok(shared);
            }
        }
        let mut content = self.begin(index, source)?;
        let mut group = Group::Other;
        for block in 0..size / block_size {
            let mut buffer = self.buffers.recv().map_err(|_| Stopped::Elsewhere)?;
            self.read(index, &mut content, &mut buffer.raw, self.block_size, size)?;
            if block == 0 {
                group = Group::of(&buffer.raw);
            }
            self.send(Owner::File(index), buffer)?;
        }
        let tail = (size % block_size) as usize;
        if tail > 0 {
            self.read(index, &mut content, scratch, tail, size)?;
            if size < block_size {
                group = Group::of(scratch);
                if candidate {
                    shared.duplicate_of = known.first(index, size, Digest::of(&*scratch));
                }
            }
            if shared.duplicate_of.is_none() {
                shared.tail = Some(self.share(index, group, scratch)?);
            }
        }
        if content.read(&mut [0]).map_err(|source| self.failed(index, source))? != 0 {
            return Err(self.changed(index, size, "longer").into());
        }
        Ok(shared)
    }

    /// The source of a node that is a file and not another name of one.
    fn source(&self, index: usize) -> Option<Arc<dyn Source>> {
        match &self.tree.nodes[index].entry.kind {
            Kind::File(source) => Some(Arc::clone(source)),
            _ => None,
        }
    }

    fn begin(&self, index: usize, source: &Arc<dyn Source>) -> Result<Box<dyn Read + Send>, Error> {
        source.open().map_err(|source| self.failed(index, source))
    }

    fn failed(&self, index: usize, source: std::io::Error) -> Error {
        Error::ReadSource { path: self.tree.nodes[index].path(), source }
    }

    fn changed(&self, index: usize, expected: u64, found: &'static str) -> Error {
        Error::SourceChanged { path: self.tree.nodes[index].path(), expected, found }
    }

    /// Reads exactly `count` bytes, which are then all that `out` has.
    fn read(
        &self,
        index: usize,
        content: &mut dyn Read,
        out: &mut Vec<u8>,
        count: usize,
        size: u64,
    ) -> Result<(), Error> {
        out.resize(count, 0);
        content.read_exact(out).map_err(|source| {
            if source.kind() == ErrorKind::UnexpectedEof {
                self.changed(index, size, "shorter")
            } else {
                self.failed(index, source)
            }
        })
    }

    /// The digest of a file that is too large to be kept in memory until it is known.
    fn hash(&self, index: usize, source: &Arc<dyn Source>) -> Result<Digest, Error> {
        let mut content = self.begin(index, source)?.take(source.size());
        let mut hasher = Hasher::new();
        std::io::copy(&mut content, &mut hasher).map_err(|source| self.failed(index, source))?;
        Ok(hasher.finish())
    }

    /// Puts a tail into a fragment; returns the fragment's number and the offset in it.
    fn share(&mut self, index: usize, group: Group, tail: &[u8]) -> Result<(u32, u32), Stopped> {
        let room = self.block_size - tail.len();
        if self.open[group as usize].as_ref().is_some_and(|open| open.buffer.raw.len() > room) {
            self.end_fragment(group)?;
        }
        let mut open = match self.open[group as usize].take() {
            Some(open) => open,
            None => {
                let mut buffer = self.buffers.recv().map_err(|_| Stopped::Elsewhere)?;
                buffer.raw.clear();
                let number = self.fragments;
                let too_many = Error::TooMany { what: "fragments", limit: u64::from(u32::MAX) };
                self.fragments = number.checked_add(1).ok_or(too_many)?;
                Fragment { number, buffer }
            }
        };
        let place = (open.number, open.buffer.raw.len() as u32);
        open.buffer.raw.extend_from_slice(tail);
        let nearly_full = open.buffer.raw.len() >= self.block_size / 4 * 3;
        self.open[group as usize] = Some(open);
        if nearly_full && is_boundary(&self.tree.nodes[index].entry.path) {
            self.end_fragment(group)?;
        }
        Ok(place)
    }

    fn end_fragment(&mut self, group: Group) -> Result<(), Stopped> {
        match self.open[group as usize].take() {
            Some(Fragment { number, buffer }) => self.send(Owner::Fragment(number), buffer),
            None => Ok(()),
        }
    }

    fn send(&mut self, owner: Owner, buffer: Buffer) -> Result<(), Stopped> {
        let job = Job { number: self.number, owner, buffer };
        self.number += 1;
        self.jobs.send(job).map_err(|_| Stopped::Elsewhere)
    }
}
