//! A tree with one of everything, and trees as comparable text.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek};
use std::num::NonZeroUsize;
use std::sync::Arc;

use overboot_squashfs::{Compression, Entry, FoundKind, Kind, Options, Reader, Source, write};

pub(crate) const BLOCK: usize = 4096;

pub(crate) const COMPRESSIONS: [Compression; 6] = [
    Compression::Zstd { level: 3 },
    Compression::Zstd { level: 10 },
    Compression::Zstd { level: 15 },
    Compression::Xz,
    Compression::Gzip { level: 9 },
    Compression::Lz4,
];

pub(crate) fn options(compression: Compression, threads: usize) -> Options {
    Options {
        block_size: BLOCK as u32,
        compression,
        threads: NonZeroUsize::new(threads).unwrap(),
        modification_time: 1_700_000_000,
        cache: None,
    }
}

pub(crate) fn entry(path: &str, kind: Kind) -> Entry {
    let mode = match kind {
        Kind::Directory => 0o755,
        Kind::Symlink(_) => 0o777,
        _ => 0o644,
    };
    Entry { path: path.into(), mode, uid: 0, gid: 0, mtime: 1_600_000_000, xattrs: vec![], kind }
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Text that compresses, different for each seed.
pub(crate) fn text(length: usize, seed: usize) -> Vec<u8> {
    let lines = (0..)
        .flat_map(|line| format!("{seed} line {} of {line}\n", line * 7919 % 101).into_bytes());
    lines.take(length).collect()
}

/// x86's machine code, as it were: calls of few functions from everywhere, whose targets are relative to where they are called from.
pub(crate) fn code(length: usize) -> Vec<u8> {
    let mut code = Vec::new();
    for call in 0.. {
        if code.len() >= length {
            break;
        }
        code.extend(noise(4 + call % 9, call as u64 % 50));
        let function = (call * 7919 % 40 * 4096) as i32;
        code.push(0xe8);
        code.extend((function - code.len() as i32 - 4).to_le_bytes());
    }
    code.truncate(length);
    code
}

/// One of everything that squashfs holds, at the sizes where the format changes.
pub(crate) fn everything() -> Vec<Entry> {
    let mut entries = vec![entry("", Kind::Directory), entry("empty", Kind::Directory)];
    entries[0].mode = 0o711;
    for (index, length) in
        [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 17].into_iter().enumerate()
    {
        entries.push(entry(&format!("text-{length}"), Kind::bytes(text(length, index))));
        entries.push(entry(&format!("noise-{length}"), Kind::bytes(noise(length, index as u64))));
        entries.push(entry(&format!("zero-{length}"), Kind::bytes(vec![0; length])));
        entries.push(entry(&format!("code-{length}"), Kind::bytes(code(length))));
        // The same again: small ones, whole blocks, blocks and a tail.
        entries.push(entry(&format!("again-{length}"), Kind::bytes(text(length, index))));
    }
    let mut holes = vec![0; 10 * BLOCK];
    holes[4 * BLOCK + 5] = 1;
    holes.extend(b"the tail");
    entries.push(entry("holes", Kind::bytes(holes)));

    entries.push(entry("links", Kind::Directory));
    entries.push(entry("links/z", Kind::bytes(*b"linked")));
    entries.push(entry("links/a", Kind::HardLink(b"links/z".into())));
    entries.push(entry("b", Kind::HardLink(b"links/z".into())));
    entries.push(entry("symlink", Kind::Symlink(b"links/a".into())));
    entries.push(entry("symlink2", Kind::HardLink(b"symlink".into())));
    entries.push(entry("long-symlink", Kind::Symlink(vec![b'l'; 4095])));
    for (name, kind) in [
        ("null", Kind::CharDevice(1, 3)),
        ("whiteout", Kind::CharDevice(0, 0)),
        ("disk", Kind::BlockDevice(8, 1)),
        ("large", Kind::BlockDevice(4095, 1_048_575)),
        ("fifo", Kind::Fifo),
        ("socket", Kind::Socket),
    ] {
        entries.push(entry(name, kind));
    }
    entries.push(Entry {
        mode: 0o6755,
        uid: 4_000_000_000,
        gid: 1234,
        mtime: 0,
        ..entry("owned", Kind::bytes(*b"owned"))
    });
    entries.extend(with_xattrs());
    entries.push(entry("many", Kind::Directory));
    for number in 0..3000 {
        let name = format!("many/{number:04}-{}", "n".repeat(number % 120));
        entries.push(entry(&name, Kind::bytes(text(number % 50, number))));
    }
    // Deep, and with names that sort otherwise as paths than as bytes.
    let mut path = "deep".to_owned();
    for level in 0..40 {
        entries.push(entry(&path, Kind::Directory));
        entries.push(entry(&format!("{path}.x"), Kind::bytes(text(level, level))));
        path.push_str("/d");
    }
    entries.push(entry("\u{e9}t\u{e9}", Kind::Fifo));
    entries
}

fn with_xattrs() -> Vec<Entry> {
    let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let capability =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let sets = [
        ("xattr-file", Kind::bytes(*b"x"), vec![pair("security.capability", capability)]),
        ("xattr-same", Kind::bytes(*b"y"), vec![pair("security.capability", capability)]),
        ("xattr-directory", Kind::Directory, vec![pair("trusted.overlay.opaque", b"y")]),
        ("xattr-whiteout", Kind::CharDevice(0, 0), vec![pair("trusted.z", b"1")]),
        ("xattr-symlink", Kind::Symlink(b"x".into()), vec![pair("trusted.s", b"")]),
        ("xattr-fifo", Kind::Fifo, vec![pair("trusted.f", b"f")]),
        (
            "xattr-many",
            Kind::bytes(vec![1; 3 * BLOCK]),
            vec![pair("user.b", &noise(3000, 1)), pair("user.a", b"a"), pair("trusted.c", b"c")],
        ),
    ];
    let make = |(path, kind, xattrs)| Entry { xattrs, ..entry(path, kind) };
    sets.into_iter().map(make).collect()
}

pub(crate) fn image(entries: Vec<Entry>, options: &Options) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let mut last = 0;
    let summary = write(entries, options, &mut out, &mut |bytes| {
        assert!(bytes >= last, "progress goes forward");
        last = bytes;
    })
    .unwrap();
    assert_eq!(last, summary.content, "progress ends where the content does");
    let image = out.into_inner();
    assert_eq!(image.len() as u64, summary.size);
    assert_eq!(image.len() % 4096, 0);
    image
}

/// What a tree is, by path: everything that can be seen of it, content by its digest. Names of one file
/// are told by the smallest of them.
pub(crate) type Seen = BTreeMap<String, String>;

/// What entries say.
pub(crate) fn seen_in_entries(entries: &[Entry]) -> Seen {
    let by_path: BTreeMap<_, _> = entries.iter().map(|entry| (&entry.path, entry)).collect();
    let mut groups: BTreeMap<&Vec<u8>, Vec<&Vec<u8>>> = BTreeMap::new();
    let target = |entry: &Entry| match &entry.kind {
        Kind::HardLink(target) => target.clone(),
        _ => entry.path.clone(),
    };
    let targets: Vec<_> = entries.iter().map(target).collect();
    for (entry, target) in entries.iter().zip(&targets) {
        groups.entry(target).or_default().push(&entry.path);
    }
    let mut out = Seen::new();
    for (entry, target) in entries.iter().zip(&targets) {
        let of = by_path[target];
        let what = match &of.kind {
            Kind::Directory => "directory".into(),
            Kind::File(source) => {
                let mut content = Vec::new();
                source.open().unwrap().read_to_end(&mut content).unwrap();
                file(&content)
            }
            other => format!("{other:?}"),
        };
        let first = groups[target].iter().min().unwrap();
        let mut xattrs = of.xattrs.clone();
        xattrs.sort();
        let line =
            line(of.mode, of.uid, of.gid, of.mtime, &what, groups[target].len(), first, &xattrs);
        out.insert(entry.path.escape_ascii().to_string(), line);
    }
    out
}

/// What our reader says.
pub(crate) fn seen_by_reader(input: impl Read + Seek) -> Seen {
    let mut reader = Reader::open(input).unwrap();
    let found = reader.entries().unwrap();
    let mut groups: BTreeMap<u32, Vec<&Vec<u8>>> = BTreeMap::new();
    for found in &found {
        groups.entry(found.inode).or_default().push(&found.path);
    }
    let mut out = Seen::new();
    for entry in &found {
        let names = &groups[&entry.inode];
        let what = match &entry.kind {
            FoundKind::Directory => "directory".into(),
            FoundKind::File(layout) => {
                let mut content = Vec::new();
                reader.file(layout).read_to_end(&mut content).unwrap();
                file(&content)
            }
            FoundKind::Symlink(target) => format!("Symlink({})", target.escape_ascii()),
            other => format!("{other:?}"),
        };
        if !matches!(entry.kind, FoundKind::Directory) {
            assert_eq!(entry.links as usize, names.len(), "{entry:?}");
        }
        let first = names.iter().min().unwrap();
        let mut xattrs = entry.xattrs.clone();
        xattrs.sort();
        let line =
            line(entry.mode, entry.uid, entry.gid, entry.mtime, &what, names.len(), first, &xattrs);
        out.insert(entry.path.escape_ascii().to_string(), line);
    }
    out
}

fn file(content: &[u8]) -> String {
    format!("file of {} bytes {}", content.len(), overboot_digest::Digest::of(content).short())
}

#[expect(clippy::too_many_arguments, reason = "all that can be seen, from two kinds of entries")]
fn line(
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: u32,
    what: &str,
    names: usize,
    first: &[u8],
    xattrs: &[(Vec<u8>, Vec<u8>)],
) -> String {
    let xattrs: Vec<_> = xattrs
        .iter()
        .map(|(name, value)| {
            format!("{}={}", name.escape_ascii(), overboot_digest::Digest::of(value).short())
        })
        .collect();
    let first = first.escape_ascii();
    format!("{mode:o} {uid}:{gid} {mtime} {what} {names} names, {first} {xattrs:?}")
}

/// Fails with the names that differ, not with both trees.
pub(crate) fn assert_same(left: &Seen, right: &Seen, what: &str) {
    for (path, line) in left {
        assert_eq!(Some(line), right.get(path), "{what}: \"{path}\"");
    }
    assert_eq!(left.len(), right.len(), "{what}: number of names");
}

/// A file that is mostly zeros, without the memory that it would take.
pub(crate) struct Zeros {
    pub(crate) size: u64,
    pub(crate) tail: &'static [u8],
}

impl Source for Zeros {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::repeat(0).take(self.size - self.tail.len() as u64).chain(self.tail)))
    }
}

pub(crate) fn zeros(path: &str, size: u64, tail: &'static [u8]) -> Entry {
    entry(path, Kind::File(Arc::new(Zeros { size, tail })))
}
