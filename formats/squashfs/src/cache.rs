//! Compressed blocks from an earlier image: packing again costs what has changed.

use std::fmt;

use overboot_digest::{Digest, Hasher};

use crate::options::Compression;

/// Where compressed blocks are kept from one image to the next. It may forget anything at any time, and what
/// it damages is found out and compressed again; but who can write to it can change images.
pub trait BlockCache: fmt::Debug + Send + Sync {
    /// What was put under this key, if it is still there.
    fn get(&self, key: &Digest) -> Option<Vec<u8>>;

    /// Keeps a block. Where that fails, it is compressed again next time.
    fn put(&self, key: &Digest, block: &[u8]);
}

/// Bound into every key: what else the bytes of a block depend on besides its content and the options.
/// To be counted up when [`Compressor`](crate::compress::Compressor) compresses in another way.
const FORM: u32 = 1;

/// The cache as one thread uses it: each block follows its own digest.
pub(crate) struct Checked<'a> {
    cache: &'a dyn BlockCache,
    /// What all keys begin with.
    prefix: String,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(cache: &'a dyn BlockCache, compression: Compression) -> Self {
        let zstd = zstd::zstd_safe::version_number();
        Self { cache, prefix: format!("squashfs block {FORM} {compression:?} zstd {zstd}\n") }
    }

    /// The key of a block with this content.
    pub(crate) fn key(&self, raw: &[u8]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(&self.prefix);
        hasher.update(raw);
        hasher.finish()
    }

    /// Puts the compressed block with this key into `packed`, if it is known and whole.
    pub(crate) fn get(&self, key: &Digest, packed: &mut Vec<u8>) -> bool {
        let Some(kept) = self.cache.get(key) else { return false };
        let Some((digest, block)) = kept.split_first_chunk() else { return false };
        packed.clear();
        packed.extend_from_slice(block);
        Digest::of(block) == Digest::from_bytes(*digest)
    }

    /// Keeps a block that was just compressed.
    pub(crate) fn put(&self, key: &Digest, packed: &[u8]) {
        let block = [Digest::of(packed).as_bytes(), packed].concat();
        self.cache.put(key, &block);
    }
}
