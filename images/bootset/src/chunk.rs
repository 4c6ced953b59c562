//! Checking a layer while it arrives.

use overboot_digest::{Digest, Hasher};

use crate::Layer;

/// Takes a layer's bytes in order and compares each chunk as soon as it is complete.
///
/// After a failure or a broken connection, [`rewind`](Self::rewind) says from which byte to ask again: everything
/// before it is good and need not be fetched twice.
#[derive(Debug)]
pub struct ChunkCheck<'a> {
    layer: &'a Layer,
    /// Chunks found good.
    good: usize,
    /// Bytes of the chunk under way.
    pending: u64,
    hasher: Hasher,
}

/// What is wrong with the bytes of a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A chunk is not what was signed.
    #[error(
        "chunk {index} of layer {layer} (bytes {from} to {to}) is wrong: want {want}, got {got}",
        want = want.short(), got = got.short()
    )]
    Wrong {
        /// Name of the layer.
        layer: String,
        /// Which chunk, from 0.
        index: usize,
        /// Its first byte.
        from: u64,
        /// The byte after its last.
        to: u64,
        /// The digest that was signed.
        want: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// More bytes than the layer has.
    #[error("layer {layer} is longer than the {size} bytes that were signed")]
    TooLong {
        /// Name of the layer.
        layer: String,
        /// Its size in bytes.
        size: u64,
    },
    /// Fewer bytes than the layer has.
    #[error("layer {layer} ended after {got} of {size} bytes")]
    TooShort {
        /// Name of the layer.
        layer: String,
        /// Bytes that came.
        got: u64,
        /// Its size in bytes.
        size: u64,
    },
}

impl<'a> ChunkCheck<'a> {
    /// A check that has seen nothing of `layer` yet.
    #[must_use]
    pub fn new(layer: &'a Layer) -> Self {
        Self { layer, good: 0, pending: 0, hasher: Hasher::new() }
    }

    /// Takes the next bytes; any number.
    ///
    /// # Errors
    /// A chunk that is complete and wrong, or bytes past the end. After that, [`rewind`](Self::rewind).
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), ChunkError> {
        while !bytes.is_empty() {
            let length = self.length_of(self.good);
            if length == 0 {
                let (layer, size) = (self.layer.name.clone(), self.layer.size);
                return Err(ChunkError::TooLong { layer, size });
            }
            let missing = usize::try_from(length - self.pending).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(missing.min(bytes.len()));
            self.hasher.update(now);
            self.pending += now.len() as u64;
            bytes = later;
            if self.pending == length {
                self.close(length)?;
            }
        }
        Ok(())
    }

    /// Bytes found good: the length of the prefix made of good chunks.
    #[must_use]
    pub fn verified(&self) -> u64 {
        (self.good as u64 * u64::from(self.layer.chunk_size)).min(self.layer.size)
    }

    /// Whether the whole layer was seen and is good.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.verified() == self.layer.size
    }

    /// Forgets the chunk under way; returns the offset of the byte that must come next.
    pub fn rewind(&mut self) -> u64 {
        self.pending = 0;
        self.hasher = Hasher::new();
        self.verified()
    }

    /// Says whether all of the layer came.
    ///
    /// # Errors
    /// [`ChunkError::TooShort`] if not.
    pub fn finish(&self) -> Result<(), ChunkError> {
        if self.is_complete() {
            return Ok(());
        }
        Err(ChunkError::TooShort {
            layer: self.layer.name.clone(),
            got: self.verified() + self.pending,
            size: self.layer.size,
        })
    }

    /// Length of chunk `index`; 0 past the last.
    fn length_of(&self, index: usize) -> u64 {
        let size = u64::from(self.layer.chunk_size);
        self.layer.size.saturating_sub(index as u64 * size).min(size)
    }

    fn close(&mut self, length: u64) -> Result<(), ChunkError> {
        let got = std::mem::take(&mut self.hasher).finish();
        self.pending = 0;
        let from = self.verified();
        match self.layer.chunks.get(self.good) {
            Some(want) if *want == got => {
                self.good += 1;
                Ok(())
            }
            Some(want) => Err(ChunkError::Wrong {
                layer: self.layer.name.clone(),
                index: self.good,
                from,
                to: from + length,
                want: *want,
                got,
            }),
            // Layers that passed `BootSet::check` have a digest for each chunk.
            None => Err(ChunkError::TooLong { layer: self.layer.name.clone(), size: from }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::LayerFormat;

    fn layer(data: &[u8], chunk_size: u32) -> Layer {
        Layer {
            name: "x".into(),
            digest: Digest::of(data),
            size: data.len() as u64,
            format: LayerFormat::Squashfs,
            chunk_size,
            chunks: data.chunks(chunk_size as usize).map(Digest::of).collect(),
        }
    }

    #[test]
    fn a_wrong_chunk_is_named_and_only_it_is_asked_for_again() {
        let data: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
        let layer = layer(&data, 4096);
        let mut bad = data.clone();
        bad[9000] ^= 1;
        let mut check = ChunkCheck::new(&layer);
        let error = check.update(&bad).unwrap_err();
        assert!(
            matches!(error, ChunkError::Wrong { index: 2, from: 8192, to: 12288, .. }),
            "{error}"
        );
        assert_eq!(check.rewind(), 8192);
        check.update(&data[8192..]).unwrap();
        check.finish().unwrap();
        assert!(matches!(check.update(b"x"), Err(ChunkError::TooLong { .. })));
    }

    #[test]
    fn too_short_says_how_much_came() {
        let data = vec![7; 5000];
        let layer = layer(&data, 4096);
        let mut check = ChunkCheck::new(&layer);
        check.update(&data[..4999]).unwrap();
        assert_eq!(
            check.finish().unwrap_err().to_string(),
            "layer x ended after 4999 of 5000 bytes"
        );
        assert_eq!(check.verified(), 4096);
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_with_any_breaks_arrives(
            size in 1usize..40_000,
            steps in prop::collection::vec((1usize..9_000, any::<bool>()), 1..60),
        ) {
            let data: Vec<u8> = (0..size).map(|i| (i * 7 % 256) as u8).collect();
            let layer = layer(&data, 4096);
            let mut check = ChunkCheck::new(&layer);
            let mut at = 0;
            for (step, breaks) in steps.iter().cycle().take(10_000) {
                let to = (at + step).min(size);
                prop_assert!(check.update(&data[at..to]).is_ok());
                at = to;
                if *breaks && *step % 3 == 0 {
                    at = usize::try_from(check.rewind()).unwrap();
                }
                if at == size { break }
            }
            if at == size {
                prop_assert!(check.finish().is_ok());
            }
        }
    }
}
