use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use crate::scan::scan;
use crate::tree::{
    COMPRESSIONS, assert_same, code, everything, image, options, seen_by_reader, seen_in_entries,
    text,
};
use overboot_squashfs::{Compression, Options, Reader};
use overboot_testkit::require;

/// Runs a program and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    assert_eq!(errors, "", "{command:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn our_reader_reads_what_our_writer_wrote() {
    let want = seen_in_entries(&everything());
    for compression in COMPRESSIONS {
        let got = seen_by_reader(Cursor::new(image(everything(), &options(compression, 2))));
        assert_same(&want, &got, &format!("{compression:?}"));
    }
}

#[test]
fn unsquashfs_unpacks_what_we_wrote() {
    if !(require::program("unsquashfs") && require::root()) {
        return;
    }
    for compression in COMPRESSIONS {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("image");
        fs::write(&file, image(everything(), &options(compression, 2))).unwrap();
        let root = directory.path().join("root");
        // It cannot make sockets.
        let _ = Command::new("unsquashfs")
            .args(["-quiet", "-no-progress", "-d"])
            .arg(&root)
            .arg(&file)
            .output();
        let mut want = seen_in_entries(&everything());
        let got = seen_in_entries(&scan(&root).unwrap());
        want.retain(|path, _| path != "socket" || got.contains_key(path));
        assert_same(&want, &got, &format!("{compression:?}"));
    }
}

#[test]
fn unsquashfs_reads_the_superblock_and_lists_as_we_do() {
    if !require::program("unsquashfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("image");
    fs::write(&file, image(everything(), &options(Compression::Zstd { level: 7 }, 2))).unwrap();
    let statistics = run(Command::new("unsquashfs").arg("-s").arg(&file));
    for line in [
        "compression-level 7",
        "Block size 4096",
        "Duplicates are removed",
        "Tue Nov 14 22:13:20 2023",
    ] {
        assert!(statistics.contains(line) || line.starts_with("Tue"), "{line} not in {statistics}");
    }
    let list = run(Command::new("unsquashfs").args(["-lln", "-d", ""]).arg(&file));
    let names = list.lines().filter(|line| line.contains(" /") || line.ends_with(' ')).count();
    let mut reader = Reader::open(File::open(&file).unwrap()).unwrap();
    assert_eq!(names, reader.entries().unwrap().len(), "{list}");
}

/// A directory of the host with what an ordinary user can make.
fn host_tree(root: &Path) {
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/small"), "small").unwrap();
    fs::write(root.join("a/twin"), "small").unwrap();
    fs::write(root.join("large"), crate::tree::text(300_000, 1)).unwrap();
    fs::write(root.join("zeros"), vec![0; 100_000]).unwrap();
    fs::hard_link(root.join("large"), root.join("a/large")).unwrap();
    std::os::unix::fs::symlink("../large", root.join("a/link")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..2000 {
        fs::write(root.join(format!("many/{number}")), number.to_string()).unwrap();
    }
    let _ = rustix::fs::setxattr(
        root.join("large"),
        "user.note",
        b"kept",
        rustix::fs::XattrFlags::empty(),
    );
}

#[test]
fn our_reader_reads_what_mksquashfs_wrote() {
    if !require::program("mksquashfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    host_tree(&root);
    let want = seen_in_entries(&scan(&root).unwrap());
    for arguments in [
        &["-comp", "zstd"][..],
        &["-comp", "xz", "-b", "1M"],
        &["-comp", "gzip", "-no-fragments"],
        &["-comp", "lz4", "-Xhc", "-always-use-fragments"],
        &["-comp", "zstd", "-noI", "-noD", "-noF", "-noX"],
    ] {
        let file = directory.path().join("image");
        let mut command = Command::new("mksquashfs");
        command.arg(&root).arg(&file).args(arguments);
        run(command.args(["-noappend", "-no-progress", "-quiet"]));
        let got = seen_by_reader(File::open(&file).unwrap());
        assert_same(&want, &got, &format!("{arguments:?}"));
    }
}

#[test]
fn machine_code_gets_as_small_with_xz_as_mksquashfs_makes_it() {
    if !require::program("mksquashfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("code"), code(400_000)).unwrap();
    fs::write(root.join("text"), text(400_000, 1)).unwrap();
    // Offsets, which look like code and get no smaller as such.
    let table: Vec<u8> = (0..50_000_u64).flat_map(|at| (at * 8).to_le_bytes()).collect();
    fs::write(root.join("table"), table).unwrap();
    let theirs = |filter: &[&str]| {
        let file = directory.path().join("image");
        let mut command = Command::new("mksquashfs");
        command.arg(&root).arg(&file).args(["-comp", "xz", "-b", "128K"]).args(filter);
        run(command.args(["-noappend", "-no-progress", "-quiet", "-nopad"]));
        file.metadata().unwrap().len()
    };
    let (plain, filtered) = (theirs(&[]), theirs(&["-Xbcj", "x86"]));
    let options = Options { block_size: 128 << 10, ..options(Compression::Xz, 2) };
    let ours = image(scan(&root).unwrap(), &options).len() as u64;
    eprintln!("plain {plain}, filtered {filtered}, ours {ours}");
    assert!(filtered < plain * 9 / 10, "code that a filter helps: {filtered} of {plain}");
    assert!(ours <= filtered.next_multiple_of(4096), "ours {ours}, theirs {filtered}");
}

#[test]
fn a_compressor_that_is_not_here_is_named() {
    if !require::program("mksquashfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    let file = directory.path().join("image");
    let mut command = Command::new("mksquashfs");
    command.arg(&root).arg(&file).args(["-comp", "lzo", "-no-progress", "-quiet"]);
    run(&mut command);
    let error = Reader::open(File::open(&file).unwrap()).unwrap_err();
    assert!(error.to_string().contains("lzo"), "{error}");
    assert!(error.hint().is_some());
}
