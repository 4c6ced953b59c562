use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use overboot_cpio::Writer;
use overboot_testkit::require;

use super::*;

/// Owners and devices can be made by root only; then the rest is tested.
fn mine(entry: Entry) -> Entry {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    Entry { uid, gid, ..entry }
}

fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.entry(&mine(entry.clone()), data).unwrap();
    }
    writer.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut entries = vec![
        (Entry::directory(".", 0o755), &b""[..]),
        (Entry::directory("./opt", 0o1777), b""),
        (Entry { mtime: 1_000_000, ..Entry::file("./opt/tool", 0o4755) }, b"#!"),
        (Entry::symlink("./opt/link"), b"tool"),
        (Entry::file("./deep/er/file", 0o600), b"x"),
    ];
    // Whiteouts are device nodes.
    let root = require::root();
    if root {
        entries.push((Entry::char_device("./opt/gone", 0, 0, 0), b""));
    }
    let count = unpack("x", &gzip(&archive(&entries))[..], folder.path()).unwrap();
    assert_eq!(count, entries.len() as u64);
    let tool = std::fs::metadata(folder.path().join("opt/tool")).unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.mtime(), tool.len()), (0o4755, 1_000_000, 2));
    assert_eq!(std::fs::metadata(folder.path().join("opt")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(std::fs::read_link(folder.path().join("opt/link")).unwrap(), Path::new("tool"));
    assert_eq!(std::fs::read(folder.path().join("deep/er/file")).unwrap(), b"x");
    if root {
        let whiteout = std::fs::symlink_metadata(folder.path().join("opt/gone")).unwrap();
        assert!(whiteout.file_type().is_char_device());
        assert_eq!(whiteout.rdev(), 0);
    }
}

#[test]
fn several_names_of_a_file_are_one_file_wherever_the_content_is() {
    if !require::program("cpio") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // GNU cpio gives the content with the last name.
    let mut script = std::process::Command::new("sh");
    script.current_dir(folder.path()).args([
        "-c",
        "mkdir in && cd in && echo content > a && ln a b && mkdir d && ln a d/c && find . | cpio -o -H newc --quiet > ../x.cpio",
    ]);
    assert!(script.status().unwrap().success());
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let bytes = std::fs::read(folder.path().join("x.cpio")).unwrap();
    unpack("x", &bytes[..], &out).unwrap();
    let inode = |name: &str| std::fs::metadata(out.join(name)).unwrap().ino();
    assert_eq!((inode("a"), inode("a")), (inode("b"), inode("d/c")));
    assert_eq!(std::fs::read(out.join("d/c")).unwrap(), b"content\n");
}

#[test]
fn zeros_are_holes_and_all_else_is_as_it_was() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut sparse = vec![0; 3 << 20];
    for (at, byte) in [(5, 1), (4096, 2), (70_000, 3), (1 << 20, 4)] {
        sparse[at] = byte;
    }
    let zeros = vec![0; 1 << 20];
    let odd = &sparse[..(1 << 20) + 77];
    let entries = [("sparse", &sparse[..]), ("zeros", &zeros), ("odd", odd), ("empty", b"")];
    let all: Vec<_> =
        entries.iter().map(|(name, bytes)| (Entry::file(*name, 0o644), *bytes)).collect();
    unpack("x", &archive(&all)[..], folder.path()).unwrap();
    for (name, bytes) in entries {
        let path = folder.path().join(name);
        assert!(std::fs::read(&path).unwrap() == bytes, "{name}");
        let blocks = std::fs::metadata(path).unwrap().blocks();
        assert!(blocks <= 8 * 4, "{name} takes {blocks} blocks of 512 bytes");
    }
}

#[test]
fn nothing_gets_out() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    for entries in [
        vec![(Entry::file("../evil", 0o644), &b"x"[..])],
        vec![(Entry::file("/evil", 0o644), b"x")],
        vec![(Entry::symlink("up"), b".."), (Entry::file("up/evil", 0o644), b"x")],
        vec![(Entry::symlink("evil"), b"../evil"), (Entry::file("evil/a", 0o644), b"x")],
    ] {
        let mut writer = Writer::new(Vec::new());
        let written = entries.iter().try_for_each(|(e, d)| writer.entry(&mine(e.clone()), d));
        if written.is_err() {
            continue;
        }
        let bytes = writer.finish().unwrap();
        let error = unpack("x", &bytes[..], &out).unwrap_err();
        assert!(error.to_string().starts_with("layer x cannot be used"), "{error}");
    }
    // A link is replaced by a later file of its name, not written through.
    let bytes = archive(&[(Entry::symlink("l"), b"../evil"), (Entry::file("l", 0o644), b"x")]);
    unpack("x", &bytes[..], &out).unwrap();
    assert!(!folder.path().join("evil").exists());
    assert!(std::fs::symlink_metadata(out.join("l")).unwrap().is_file());
}

#[test]
fn what_is_broken_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let good = gzip(&archive(&[(Entry::file("a", 0o644), &[7; 5000])]));
    for bad in [&b""[..], b"hello", &good[..good.len() / 2], &good[..good.len() - 4]] {
        assert!(unpack("x", bad, folder.path()).is_err(), "{} bytes", bad.len());
    }
    unpack("x", &good[..], folder.path()).unwrap();
}
