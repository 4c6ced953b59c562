use crate::tree::{COMPRESSIONS, code, entry, everything, image, options, text};
use overboot_digest::Digest;
use overboot_squashfs::{Compression, Kind, Options};

#[test]
fn threads_and_order_of_entries_are_not_in_the_bytes() {
    for compression in COMPRESSIONS {
        let first = Digest::of(image(everything(), &options(compression, 1)));
        for threads in [2, 4] {
            let mut entries = everything();
            entries.rotate_left(threads * 17);
            entries[..100].reverse();
            let again = Digest::of(image(entries, &options(compression, threads)));
            assert_eq!(first, again, "{compression:?} with {threads} threads");
        }
    }
}

/// Blocks large enough for each of zstd's match finders, and enough of them that every thread has
/// compressed several before: what a context remembers must not show.
#[test]
fn every_level_of_zstd_forgets_what_it_compressed_before() {
    let tree = || {
        let mut entries = vec![entry("", Kind::Directory)];
        entries.extend((0..12).map(|seed| {
            entry(&format!("{seed:02}"), Kind::bytes(text(20_000 << (seed % 4), seed)))
        }));
        entries
    };
    for level in 1..=16 {
        let with = |threads, block_size| {
            let options = options(Compression::Zstd { level }, threads);
            Digest::of(image(tree(), &Options { block_size, ..options }))
        };
        for block_size in [16 << 10, 256 << 10] {
            let first = with(1, block_size);
            assert_eq!(first, with(3, block_size), "level {level}, {block_size} byte blocks");
        }
    }
}

/// A cache of blocks knows which zstd has compressed them, and of the other libraries only what `FORM` in `compress.rs` says.
#[test]
fn libraries_compress_as_the_last_time_that_form_was_counted_up() {
    let digest = |compression| {
        let mut entries = vec![entry("", Kind::Directory)];
        entries.push(entry("code", Kind::bytes(code(300_000))));
        entries.push(entry("text", Kind::bytes(text(300_000, 1))));
        let options = Options { block_size: 128 << 10, ..options(compression, 1) };
        Digest::of(image(entries, &options)).hex()[..12].to_owned()
    };
    assert_eq!(
        [digest(Compression::Xz), digest(Compression::Gzip { level: 9 }), digest(Compression::Lz4)],
        ["08211c75c84e", "28c9e566d56b", "11e8926ba553"],
        "count FORM up, and write these here"
    );
}
