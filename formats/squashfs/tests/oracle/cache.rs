use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use overboot_digest::Digest;
use overboot_squashfs::{BlockCache, Compression, Entry, Kind, Options};

use crate::tree::{COMPRESSIONS, entry, everything, image, options, text};

#[derive(Debug, Default)]
struct Memory {
    blocks: Mutex<BTreeMap<Digest, Vec<u8>>>,
    puts: AtomicUsize,
}

impl BlockCache for Memory {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        self.blocks.lock().unwrap().get(key).cloned()
    }

    fn put(&self, key: &Digest, packed: &[u8]) {
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.blocks.lock().unwrap().insert(*key, packed.to_vec());
    }
}

impl Memory {
    /// How many blocks were compressed for this image.
    fn compressed(self: &Arc<Self>, entries: Vec<Entry>, options: &Options) -> (Vec<u8>, usize) {
        let before = self.puts.load(Ordering::Relaxed);
        let cache: Arc<dyn BlockCache> = Arc::<Self>::clone(self);
        let image = image(entries, &Options { cache: Some(cache), ..options.clone() });
        (image, self.puts.load(Ordering::Relaxed) - before)
    }
}

#[test]
fn a_cache_changes_no_byte_even_if_it_is_damaged() {
    for compression in COMPRESSIONS {
        let cache = Arc::new(Memory::default());
        let options = options(compression, 2);
        let want = image(everything(), &options);
        let (first, compressed) = cache.compressed(everything(), &options);
        assert!(first == want && compressed > 0, "{compression:?}");
        let (second, compressed) = cache.compressed(everything(), &options);
        assert!(
            second == want && compressed == 0,
            "{compression:?}: {compressed} compressed again"
        );
        let mut another = Vec::new();
        for (number, block) in cache.blocks.lock().unwrap().values_mut().enumerate() {
            match number % 4 {
                0 => block.truncate(block.len() / 2),
                1 => *block.last_mut().unwrap() ^= 1,
                2 => block.push(0),
                // A whole one, of another key.
                _ => std::mem::swap(block, &mut another),
            }
        }
        let (third, _) = cache.compressed(everything(), &options);
        assert!(third == want, "{compression:?}");
    }
}

#[test]
fn after_a_change_few_blocks_are_compressed_again() {
    let tree = |changed: bool| {
        let mut entries = vec![entry("", Kind::Directory)];
        entries.extend((0..6000).map(|number| {
            let length = 200 + number * 37 % 900 + usize::from(changed && number == 200) * 1000;
            entry(&format!("{number:04}"), Kind::bytes(text(length, number)))
        }));
        entries
    };
    let options = Options { block_size: 64 << 10, ..options(Compression::Zstd { level: 3 }, 2) };
    let cache = Arc::new(Memory::default());
    let (_, all) = cache.compressed(tree(false), &options);
    let (_, again) = cache.compressed(tree(true), &options);
    assert!(all > 40 && (1..=4).contains(&again), "{again} of {all} blocks compressed again");
}
