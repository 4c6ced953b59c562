use std::io::{Cursor, Read};

use crate::tree::{COMPRESSIONS, entry, everything, image, noise, options, text};
use overboot_squashfs::{Compression, Entry, Error, FoundKind, Kind, Limits, Reader, write};
use proptest::prelude::*;

/// Reads all that there is to read; what does not fail is counted.
fn read_everything(image: &[u8]) -> Result<u64, Error> {
    let limits = Limits { names: 10_000, listing: 16 << 20 };
    let mut reader = Reader::open_limited(Cursor::new(image), limits)?;
    let mut bytes = 0;
    for found in reader.entries()? {
        if let FoundKind::File(layout) = &found.kind {
            // A changed size may promise petabytes of holes: nobody has to read them all.
            let mut content = reader.file(layout).take(1 << 20);
            bytes += std::io::copy(&mut content, &mut std::io::sink()).unwrap_or_default();
        }
    }
    Ok(bytes)
}

/// Small enough that a change hits something of meaning; metadata raw where noise is.
fn small(compression: Compression) -> Vec<u8> {
    let mut entries = vec![entry("", Kind::Directory), entry("d", Kind::Directory)];
    for number in 0..20 {
        let content = if number % 2 == 0 { text(3000, number) } else { noise(5000, number as u64) };
        let xattrs = vec![(b"user.n".to_vec(), vec![number as u8; number])];
        let path = format!("d/{number}");
        entries.push(Entry { xattrs, ..entry(&path, Kind::bytes(content)) });
    }
    entries.push(entry("s", Kind::Symlink(b"target".into())));
    image(entries, &options(compression, 1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_image_never_makes_the_reader_panic(
        which in 0..COMPRESSIONS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        superblock in prop::collection::vec((0usize..96, any::<u8>()), 0..3),
    ) {
        let mut image = small(COMPRESSIONS[which]);
        for (at, byte) in changes {
            let at = at.index(image.len());
            image[at] = byte;
        }
        for (at, byte) in superblock {
            image[at] = byte;
        }
        let _ = read_everything(&image);
    }

    #[test]
    fn a_change_in_raw_metadata_never_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        // Incompressible names and owners keep the metadata raw, so that changes reach the parsers.
        let mut entries = vec![entry("", Kind::Directory)];
        for number in 0..8u64 {
            let name: String = noise(40, number).iter().map(|byte| char::from(b'A' + byte % 58)).collect();
            let owned = Entry { uid: number as u32 * 77, mtime: u32::MAX / 9 * number as u32, ..entry(&name, Kind::Fifo) };
            entries.push(owned);
        }
        let mut image = image(entries, &options(Compression::Lz4, 1));
        let used = Reader::open(Cursor::new(&image)).unwrap().bytes_used() as usize;
        for (at, byte) in changes {
            let at = at.index(used);
            image[at] = byte;
        }
        let _ = read_everything(&image);
    }
}

#[test]
fn an_image_cut_short_is_refused_at_once() {
    let image = image(everything(), &options(Compression::Lz4, 1));
    let used = Reader::open(Cursor::new(&image)).unwrap().bytes_used() as usize;
    for length in [0, 10, 95] {
        let error = Reader::open(Cursor::new(&image[..length])).unwrap_err();
        assert!(matches!(error, Error::NotSquashfs { .. }), "{length}: {error}");
    }
    for length in [96, used / 2, used - 1] {
        let error = Reader::open(Cursor::new(&image[..length])).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{length}: {error}");
    }
    Reader::open(Cursor::new(&image[..used])).unwrap();
}

#[test]
fn the_limits_hold() {
    let image = image(everything(), &options(Compression::Lz4, 1));
    for limits in
        [Limits { names: 100, ..Limits::default() }, Limits { listing: 1000, ..Limits::default() }]
    {
        let mut reader = Reader::open_limited(Cursor::new(&image), limits).unwrap();
        assert!(matches!(reader.entries(), Err(Error::OverLimit { .. })), "{limits:?}");
    }
}

#[test]
fn sources_that_lie_or_fail_are_named() {
    struct Liar(u64, u64);
    impl overboot_squashfs::Source for Liar {
        fn size(&self) -> u64 {
            self.0
        }
        fn open(&self) -> std::io::Result<Box<dyn Read + Send>> {
            match self.1 {
                0 => Err(std::io::ErrorKind::PermissionDenied.into()),
                size => Ok(Box::new(std::io::repeat(1).take(size))),
            }
        }
    }
    for (said, is, want) in [
        (10, 9, "shorter"),
        (10, 11, "longer"),
        (100_000, 99_999, "shorter"),
        (100_000, 1_000_000, "longer"),
        (10, 0, "cannot read"),
    ] {
        // Many, so that the threads are busy when it happens.
        let mut entries = vec![entry("", Kind::Directory)];
        entries.extend((0..200).map(|n| entry(&format!("{n:03}"), Kind::bytes(noise(9000, n)))));
        entries.push(entry("liar", Kind::File(std::sync::Arc::new(Liar(said, is)))));
        let options = options(Compression::Zstd { level: 1 }, 3);
        let error = write(entries, &options, Cursor::new(Vec::new()), &mut |_| ()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(want) && message.contains("\"liar\""), "{message}");
    }
}

#[test]
fn a_full_disk_ends_the_writer_with_its_error() {
    struct Full(u64);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 =
                self.0.checked_sub(bytes.len() as u64).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl std::io::Seek for Full {
        fn seek(&mut self, _: std::io::SeekFrom) -> std::io::Result<u64> {
            Ok(0)
        }
    }
    for room in [0, 200, 100_000] {
        let mut entries = vec![entry("", Kind::Directory)];
        entries.extend((0..300).map(|n| entry(&format!("{n:03}"), Kind::bytes(noise(9000, n)))));
        let options = options(Compression::Lz4, 3);
        let error = write(entries, &options, Full(room), &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::WriteImage { .. }), "{error}");
    }
}

#[test]
fn more_owners_than_the_format_counts_are_refused() {
    let tree = |count: u32| {
        let mut entries = vec![entry("", Kind::Directory)];
        entries.extend((1..count).map(|n| Entry { uid: n, ..entry(&n.to_string(), Kind::Fifo) }));
        write(entries, &options(Compression::Lz4, 1), Cursor::new(Vec::new()), &mut |_| ())
    };
    tree(65_535).unwrap();
    assert!(matches!(tree(65_536), Err(Error::TooMany { limit: 65_535, .. })));
}

#[test]
fn attributes_that_squashfs_does_not_have_are_refused() {
    for name in ["system.posix_acl_access", "user.", "nonsense", "user.a\0b"] {
        let with = Entry { xattrs: vec![(name.into(), vec![])], ..entry("f", Kind::Fifo) };
        let entries = vec![entry("", Kind::Directory), with];
        let options = options(Compression::Lz4, 1);
        let error = write(entries, &options, Cursor::new(Vec::new()), &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Xattr { .. }), "{name}: {error}");
    }
}
