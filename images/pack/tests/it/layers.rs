//! A base against unsquashfs, and the same bytes from another place at another time.

use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use overboot_pack::image::{Compression, Options, write_squashfs};
use overboot_pack::{Glob, ScanOptions};
use overboot_testkit::program::run;
use overboot_testkit::require;

fn build(tree: &Path, time: i64) {
    fs_err::create_dir_all(tree.join("usr/bin")).unwrap();
    fs_err::create_dir_all(tree.join("var/lib/apt/lists")).unwrap();
    fs_err::write(tree.join("usr/bin/perl"), vec![7; 300_000]).unwrap();
    fs_err::hard_link(tree.join("usr/bin/perl"), tree.join("usr/bin/perl5")).unwrap();
    symlink("usr/bin", tree.join("bin")).unwrap();
    fs_err::write(tree.join("var/lib/apt/lists/x"), "list").unwrap();
    fs_err::write(tree.join("usr/bin/ping"), "ping").unwrap();
    fs_err::set_permissions(tree.join("usr/bin/ping"), PermissionsExt::from_mode(0o4755)).unwrap();
    let when = filetime(time);
    for path in ["usr/bin/perl", "usr/bin/ping", "usr/bin", "var/lib/apt/lists", "usr", ""] {
        let file = fs_err::File::open(tree.join(path)).unwrap();
        rustix::fs::futimens(&file, &when).unwrap();
    }
}

fn filetime(seconds: i64) -> rustix::fs::Timestamps {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
    rustix::fs::Timestamps { last_access: time, last_modification: time }
}

fn options() -> (ScanOptions, Options) {
    let scan = ScanOptions {
        latest_mtime: 1_700_000_000,
        exclude: Glob::all(["var/lib/apt/lists/*"]).unwrap(),
        ..ScanOptions::default()
    };
    let options = Options {
        compression: Compression::Zstd { level: 5 },
        modification_time: 1_700_000_000,
        ..Options::default()
    };
    (scan, options)
}

fn pack(tree: &Path) -> Vec<u8> {
    let (scan, options) = options();
    let mut out = Cursor::new(Vec::new());
    write_squashfs(tree, &scan, &options, &mut out, &mut |_| ()).unwrap();
    out.into_inner()
}

#[test]
fn the_same_tree_elsewhere_and_later_gives_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    build(one.path(), 1_700_000_001);
    build(two.path(), 1_790_000_000);
    fs_err::write(two.path().join("var/lib/apt/lists/y"), "another list").unwrap();
    for tree in [&one, &two] {
        fs_err::set_permissions(tree.path(), PermissionsExt::from_mode(0o755)).unwrap();
    }
    assert!(pack(one.path()) == pack(two.path()));
}

#[test]
fn unsquashfs_finds_what_was_packed() {
    if !(require::programs(&["unsquashfs", "diff", "setcap", "getcap", "mknod"]) && require::root())
    {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    fs_err::create_dir(&tree).unwrap();
    build(&tree, 1_600_000_000);
    run(Command::new("setcap").arg("cap_net_raw+ep").arg(tree.join("usr/bin/ping")));
    run(Command::new("mknod").arg(tree.join("null")).args(["c", "1", "3"]));
    run(Command::new("chown").args(["12:34"]).arg(tree.join("usr/bin/perl")));
    let image = work.path().join("image");
    fs_err::write(&image, pack(&tree)).unwrap();
    let back = work.path().join("back");
    run(Command::new("unsquashfs").args(["-no-progress", "-d"]).arg(&back).arg(&image));
    fs_err::remove_file(tree.join("var/lib/apt/lists/x")).unwrap();
    run(Command::new("diff").args(["-r", "--no-dereference", "-x", "null"]).arg(&tree).arg(&back));
    let stat = |path: &str| fs_err::symlink_metadata(back.join(path)).unwrap();
    assert_eq!(stat("usr/bin/perl").ino(), stat("usr/bin/perl5").ino());
    assert_eq!((stat("usr/bin/perl").uid(), stat("usr/bin/perl").gid()), (12, 34));
    assert_eq!(stat("usr/bin/perl").mtime(), 1_600_000_000, "older than the limit: kept");
    assert_eq!(stat("bin").mtime(), 1_700_000_000, "younger than the limit: held down");
    let capability = run(Command::new("getcap").arg(back.join("usr/bin/ping")));
    assert!(capability.contains("cap_net_raw"), "{capability}");
}
