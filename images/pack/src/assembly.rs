//! Entries that are put together here and not found in a tree: root's, of one time, with their directories.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::tree::{Entry, Kind, Source};

/// A tree under construction.
pub(crate) struct Assembly {
    time: u32,
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Assembly {
    /// Only a root; every entry gets `time` as its modification time.
    pub(crate) fn new(time: u32) -> Self {
        let mut this = Self { time, entries: BTreeMap::new() };
        this.put(b"", 0o755, Kind::Directory);
        this
    }

    pub(crate) fn directory(&mut self, path: &str, mode: u16) {
        self.add(path, mode, Kind::Directory);
    }

    pub(crate) fn file(&mut self, path: &str, mode: u16, source: impl Source + 'static) {
        self.add(path, mode, Kind::File(Arc::new(source)));
    }

    pub(crate) fn bytes(&mut self, path: &str, mode: u16, content: impl Into<Arc<[u8]>>) {
        self.add(path, mode, Kind::bytes(content));
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        self.add(path, 0o777, Kind::Symlink(target.as_bytes().to_vec()));
    }

    /// Puts an entry in, and the directories above it where they are missing.
    pub(crate) fn add(&mut self, path: &str, mode: u16, kind: Kind) {
        let path = path.as_bytes();
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if !self.entries.contains_key(&path[..at]) {
                self.put(&path[..at], 0o755, Kind::Directory);
            }
        }
        self.put(path, mode, kind);
    }

    fn put(&mut self, path: &[u8], mode: u16, kind: Kind) {
        let entry = Entry {
            path: path.to_vec(),
            mode,
            uid: 0,
            gid: 0,
            mtime: self.time,
            xattrs: Vec::new(),
            kind,
        };
        self.entries.insert(path.to_vec(), entry);
    }

    /// The entry at `path`, if there is one already.
    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path.as_bytes())
    }

    /// All entries, sorted.
    pub(crate) fn finish(self) -> Vec<Entry> {
        self.entries.into_values().collect()
    }
}
