//! File systems in a file.

use std::io::{Cursor, Read};

use overboot_cpio as cpio;
use overboot_squashfs::{FoundKind, Limits, Reader};

/// How much of a file's content is read: holes are large for nothing.
const ENOUGH: u64 = 1 << 20;

/// A squashfs image, such as a store that somebody else can write to holds.
///
/// # Panics
/// A path that leads out of the image; a file that is longer or shorter than it says.
pub fn squashfs(bytes: &[u8]) {
    let limits = Limits { names: 1 << 12, listing: 1 << 22 };
    let Ok(mut reader) = Reader::open_limited(Cursor::new(bytes), limits) else { return };
    let Ok(entries) = reader.entries() else { return };
    for entry in &entries {
        let parts = entry.path.split(|&byte| byte == b'/');
        let inside = entry.path.is_empty()
            || parts.into_iter().all(|part| !matches!(part, b"" | b"." | b".."));
        assert!(inside, "{}", entry.path.escape_ascii());
        if let FoundKind::File(layout) = &entry.kind {
            let mut content = Vec::new();
            if reader.file(layout).take(ENOUGH).read_to_end(&mut content).is_ok() {
                assert_eq!(content.len() as u64, layout.size.min(ENOUGH));
            }
        }
    }
}

/// An initramfs, such as a vendor's or a site's own.
///
/// # Panics
/// What was read and is written again reads otherwise.
pub fn cpio(bytes: &[u8]) {
    let Some(first) = read(bytes) else { return };
    // A writer numbers inodes and counts links by itself.
    let mut writer = cpio::Writer::new(Vec::new());
    for (entry, data) in &first {
        if writer.entry(entry, data).is_err() {
            return;
        }
    }
    let written = writer.finish().expect("a Vec takes all");
    let second = read(&written).expect("what we write can be read");
    assert_eq!(first.len(), second.len());
    for ((before, data), (after, same)) in first.iter().zip(&second) {
        let of = |entry: &cpio::Entry| {
            (entry.path.clone(), entry.mode, entry.uid, entry.gid, entry.mtime)
        };
        assert_eq!(of(before), of(after));
        assert_eq!(data, same);
    }
}

fn read(bytes: &[u8]) -> Option<Vec<(cpio::Entry, Vec<u8>)>> {
    let mut reader = cpio::Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().ok()? {
        if let Ok(path) = entry.safe_path() {
            let inside =
                path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            assert!(inside, "{}", path.display());
        }
        let mut data = Vec::new();
        reader.read_to_end(&mut data).ok()?;
        entries.push((entry, data));
    }
    Some(entries)
}
