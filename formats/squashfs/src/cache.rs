//! What was compressed before: packing again costs what has changed.

use std::fmt;

use overboot_digest::{Digest, Hasher};

/// Where compressed blocks, and what else is computed of content, are kept from one image to the next. It may forget anything
/// at any time, and what it damages is found out and computed again; but who can write to it can change images.
pub trait BlockCache: fmt::Debug + Send + Sync {
    /// What was put under this key, if it is still there.
    fn get(&self, key: &Digest) -> Option<Vec<u8>>;

    /// Keeps a block. Where that fails, it is compressed again next time.
    fn put(&self, key: &Digest, block: &[u8]);
}

/// The cache as one thread uses it: each block follows a digest of it and its key.
#[derive(Debug)]
pub struct Checked<'a> {
    cache: &'a dyn BlockCache,
    /// What all keys begin with.
    prefix: String,
}

impl<'a> Checked<'a> {
    /// A cache of what is made in the way that `form` tells: all that its bytes depend on, besides the content that it is made of
    /// and the version of zstd.
    #[must_use]
    pub fn new(cache: &'a dyn BlockCache, form: &str) -> Self {
        let zstd = zstd::zstd_safe::version_number();
        Self { cache, prefix: format!("{form} zstd {zstd}\n") }
    }

    /// The key of a block with this content.
    #[must_use]
    pub fn key(&self, raw: &[u8]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(&self.prefix);
        hasher.update(raw);
        hasher.finish()
    }

    /// Puts the compressed block with this key into `packed`, if it is known and whole.
    #[must_use]
    pub fn get(&self, key: &Digest, packed: &mut Vec<u8>) -> bool {
        let Some(kept) = self.cache.get(key) else { return false };
        let Some((digest, block)) = kept.split_first_chunk() else { return false };
        packed.clear();
        packed.extend_from_slice(block);
        seal(key, block) == Digest::from_bytes(*digest)
    }

    /// Keeps a block that was just compressed.
    pub fn put(&self, key: &Digest, packed: &[u8]) {
        let block = [seal(key, packed).as_bytes(), packed].concat();
        self.cache.put(key, &block);
    }
}

/// What a block follows: it tells what is damaged, and what is kept under another's key.
fn seal(key: &Digest, block: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(block);
    hasher.finish()
}
