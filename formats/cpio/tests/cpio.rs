//! The cpio program as the oracle, both ways, and archives that were tampered with.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use overboot_cpio::{Entry, Error, Reader, Writer, mode};
use overboot_testkit::require;
use proptest::prelude::*;

fn cpio(directory: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("cpio")
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    assert!(output.status.success(), "cpio {args:?}");
    output.stdout
}

/// One of everything that needs no root, and content of every length modulo four.
fn archive() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let at = |entry: Entry| Entry { mtime: 1_000_000_000, ..entry };
    writer.entry(&at(Entry::directory("etc", 0o750)), b"").unwrap();
    for length in 0..9usize {
        let name = format!("etc/{}", "n".repeat(length + 1));
        let content = vec![b'x'; length];
        writer.entry(&at(Entry::file(name, 0o640)), &content).unwrap();
    }
    let names: [&[u8]; 3] = [b"etc/one", b"etc/two", b"three"];
    writer.hard_links(&at(Entry::file("", 0o4755)), &names, 6, &mut &b"linked"[..]).unwrap();
    writer.entry(&at(Entry::symlink("link")), b"etc/one").unwrap();
    writer.entry(&at(Entry::new("pipe", mode::FIFO | 0o600)), b"").unwrap();
    writer.finish().unwrap()
}

#[test]
fn cpio_unpacks_what_we_write() {
    if !require::program("cpio") {
        return;
    }
    let archive = archive();
    assert_eq!(archive.len() % 512, 0);
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    cpio(root, &["-idm", "--quiet", "--no-absolute-filenames"], &archive);
    let metadata = |name: &str| root.join(name).symlink_metadata().unwrap();
    assert_eq!(metadata("etc").permissions().mode() & 0o7777, 0o750);
    for length in 0..9usize {
        let name = format!("etc/{}", "n".repeat(length + 1));
        assert_eq!(fs::read(root.join(&name)).unwrap(), vec![b'x'; length]);
        assert_eq!(
            (metadata(&name).mtime(), metadata(&name).mode() & 0o7777),
            (1_000_000_000, 0o640)
        );
    }
    for name in ["etc/one", "etc/two", "three"] {
        assert_eq!(fs::read(root.join(name)).unwrap(), b"linked");
        assert_eq!((metadata(name).ino(), metadata(name).nlink()), (metadata("three").ino(), 3));
        assert_eq!(metadata(name).mode() & 0o7777, 0o4755);
    }
    assert_eq!(root.join("link").read_link().unwrap(), Path::new("etc/one"));
    assert_eq!(metadata("pipe").mode() & mode::TYPE, mode::FIFO);
}

#[test]
fn device_numbers_and_owners_are_where_cpio_looks_for_them() {
    if !require::program("cpio") {
        return;
    }
    let mut writer = Writer::new(Vec::new());
    let console = Entry::char_device("console", 0o600, 5, 1);
    writer.entry(&Entry { uid: 12_345, gid: 54_321, ..console }, b"").unwrap();
    let list =
        cpio(Path::new("/"), &["-itv", "--quiet", "--numeric-uid-gid"], &writer.finish().unwrap());
    let list = String::from_utf8(list).unwrap();
    let words: Vec<_> = list.split_whitespace().take(6).collect();
    assert_eq!(words.join(" "), "crw------- 1 12345 54321 5, 1");
}

#[test]
fn we_read_what_cpio_writes() {
    if !require::program("cpio") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/file"), "content").unwrap();
    fs::hard_link(root.join("d/file"), root.join("d/other")).unwrap();
    symlink("d/file", root.join("s")).unwrap();
    let names = b".\nd\nd/file\nd/other\ns\n";
    for (format, count) in [("newc", 5), ("crc", 5)] {
        let archive = cpio(root, &["-o", "-H", format, "--quiet"], names);
        let mut reader = Reader::new(&archive[..]);
        let mut found = BTreeMap::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            assert_eq!(data.len(), entry.size as usize);
            let path = entry.safe_path().unwrap().to_str().unwrap().to_owned();
            found.insert(path, (entry, String::from_utf8(data).unwrap()));
        }
        assert_eq!(found.len(), count);
        assert_eq!(found["d"].0.file_type(), mode::DIRECTORY);
        assert_eq!((found["s"].0.file_type(), found["s"].1.as_str()), (mode::SYMLINK, "d/file"));
        let (first, second) = (&found["d/file"], &found["d/other"]);
        assert_eq!((first.0.inode, first.0.links), (second.0.inode, 2));
        // Which of the names has the content is cpio's choice.
        assert_eq!(first.1.len() + second.1.len(), 7);
        let metadata = root.join("d/file").metadata().unwrap();
        assert_eq!((first.0.mode, first.0.uid), (metadata.mode(), metadata.uid()));
    }
}

#[test]
fn our_reader_gives_back_what_our_writer_took_and_skips_what_is_not_read() {
    let archive = archive();
    let mut reader = Reader::new(&archive[..]);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        // Reads one byte of each, so that the rest has to be skipped.
        let read = reader.read(&mut [0]).unwrap();
        assert_eq!(read, usize::from(entry.size > 0), "{entry:?}");
        names.push((String::from_utf8(entry.path).unwrap(), entry.inode, entry.links));
    }
    assert_eq!(names.len(), 15);
    assert_eq!(names[0], ("etc".into(), 1, 2));
    assert_eq!(names[10..13].iter().map(|name| (name.1, name.2)).collect::<Vec<_>>(), [(11, 3); 3]);
    assert!(reader.next_entry().unwrap().is_none(), "the end stays the end");
}

#[test]
fn names_and_sizes_that_the_format_cannot_hold_are_refused() {
    let mut writer = Writer::new(Vec::new());
    let long = "n".repeat(4096);
    for bad in ["", "a\0b", "TRAILER!!!", &long] {
        let error = writer.entry(&Entry::file(bad, 0o644), b"").unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{error}");
    }
    let file = Entry::file("f", 0o644);
    let huge = writer.entry_from(&file, 1 << 32, &mut std::io::repeat(0)).unwrap_err();
    assert!(matches!(huge, Error::TooLarge { size: 0x1_0000_0000, .. }));
    for size in [2, 4] {
        let mut writer = Writer::new(Vec::new());
        let error = writer.entry_from(&file, size, &mut &b"123"[..]).unwrap_err();
        assert!(matches!(error, Error::ContentLength { .. }), "{error}");
    }
    assert!(matches!(writer.hard_links(&file, &[], 0, &mut &b""[..]), Err(Error::Name { .. })));
}

#[test]
fn paths_that_lead_out_are_not_safe() {
    let safe = |path: &str| {
        Entry::file(path, 0).safe_path().map(|path| path.to_str().unwrap().to_owned()).ok()
    };
    assert_eq!(safe("./a/b").as_deref(), Some("a/b"));
    assert_eq!(safe(".").as_deref(), Some(""));
    for bad in ["/a", "..", "a/../../b", "./..", "./../a"] {
        assert_eq!(safe(bad), None, "{bad}");
    }
}

#[test]
fn an_archive_cut_short_is_an_error_and_never_an_end() {
    let archive = archive();
    let end = archive.len() - archive.iter().rev().take_while(|byte| **byte == 0).count();
    for length in 0..=end {
        let mut reader = Reader::new(&archive[..length]);
        let outcome = loop {
            match reader.next_entry() {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "cut at {length}");
    }
}

proptest! {
    #[test]
    fn no_archive_makes_the_reader_panic_or_go_on_for_ever(
        changes in prop::collection::vec((0usize..3000, any::<u8>()), 0..20),
    ) {
        let mut archive = archive();
        for (at, byte) in changes {
            let length = archive.len();
            archive[at % length] = byte;
        }
        let mut reader = Reader::new(&archive[..]);
        let mut entries = 0;
        while let Ok(Some(entry)) = reader.next_entry() {
            let _ = entry.safe_path();
            entries += 1;
            prop_assert!(entries < 100);
        }
    }
}
