use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scan::scan;
use crate::tree::{
    BLOCK, COMPRESSIONS, assert_same, entry, everything, image, noise, options, seen_in_entries,
    text, zeros,
};
use overboot_squashfs::{Compression, Entry, Kind, Options};
use overboot_testkit::require;

/// An image mounted read-only until it is dropped.
struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    fn new(image: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("image");
        fs::write(&file, image).unwrap();
        let mounted = Self { directory };
        fs::create_dir(mounted.path()).unwrap();
        run(Command::new("mount")
            .args(["-t", "squashfs", "-o", "loop,ro"])
            .arg(file)
            .arg(mounted.path()));
        mounted
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.path()));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

/// Whether the kernel knows a compressor; it may be built without some.
fn kernel_has(compression: Compression) -> bool {
    let Ok(config) = Command::new("zcat").arg("/proc/config.gz").output() else { return true };
    let config = String::from_utf8_lossy(&config.stdout).into_owned();
    let names: &[&str] = match compression {
        Compression::Gzip { .. } => &["CONFIG_SQUASHFS_ZLIB"],
        Compression::Zstd { .. } => &["CONFIG_SQUASHFS_ZSTD"],
        Compression::Xz => &["CONFIG_SQUASHFS_XZ", "CONFIG_XZ_DEC_X86"],
        Compression::Lz4 => &["CONFIG_SQUASHFS_LZ4"],
    };
    let there = |name: &&str| config.contains(&format!("{name}=y"));
    let missing = config.contains("CONFIG_SQUASHFS") && !names.iter().all(there);
    require::met(!missing, &format!("needs a kernel with {}", names.join(" and ")))
}

#[test]
fn the_kernel_shows_what_was_written() {
    if !require::root() {
        return;
    }
    for compression in COMPRESSIONS.into_iter().filter(|compression| kernel_has(*compression)) {
        let mut entries = everything();
        // As large as Linux lets it be; more than most disks take.
        let large = vec![(b"user.large".to_vec(), noise(65_536, 1))];
        entries.push(Entry { xattrs: large, ..entry("xattr-large", Kind::Directory) });
        let want = seen_in_entries(&entries);
        let mounted = Mounted::new(&image(entries, &options(compression, 2)));
        let got = seen_in_entries(&scan(&mounted.path()).unwrap());
        assert_same(&want, &got, &format!("{compression:?}"));
    }
}

#[test]
fn names_in_a_large_directory_are_found_and_others_are_not() {
    if !require::root() {
        return;
    }
    // 30,000 names are about a megabyte of listing: over a hundred blocks in the index.
    let name = |number: u32| format!("big/{number:05}-a-name-that-is-not-short-at-all");
    let mut entries = vec![entry("", Kind::Directory), entry("big", Kind::Directory)];
    entries.extend((0..30_000).map(|number| entry(&name(number), Kind::Fifo)));
    let mounted = Mounted::new(&image(entries, &Options::default()));
    for number in (0..30_000).step_by(97) {
        let path = mounted.path().join(name(number));
        assert!(path.symlink_metadata().is_ok(), "{number}");
        assert!(path.with_extension("x").symlink_metadata().is_err(), "{number}");
    }
    assert_eq!(fs::read_dir(mounted.path().join("big")).unwrap().count(), 30_000);
}

#[test]
fn files_of_more_than_four_gib_and_their_holes_are_read() {
    if !require::root() {
        return;
    }
    let size = (4 << 30) + 12_345;
    let entries = vec![entry("", Kind::Directory), zeros("large", size, b"the very end")];
    let image = image(entries, &Options::default());
    assert!(image.len() < 64 << 10, "holes take no room: {}", image.len());
    let mounted = Mounted::new(&image);
    let path = mounted.path().join("large");
    assert_eq!(path.metadata().unwrap().len(), size);
    assert!(blocks(&path) < 4096, "holes are no blocks: {}", blocks(&path));
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(size - 20)).unwrap();
    let mut end = Vec::new();
    file.read_to_end(&mut end).unwrap();
    assert_eq!(end, b"\0\0\0\0\0\0\0\0the very end");
}

fn blocks(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    path.metadata().unwrap().blocks()
}

#[test]
fn every_block_size_mounts() {
    if !require::root() {
        return;
    }
    for log in 12..=20 {
        let block_size = 1 << log;
        let entries = vec![
            entry("", Kind::Directory),
            entry("one", Kind::bytes(text(3 * BLOCK + 1, 1))),
            entry("two", Kind::bytes(text(2 * block_size + 5, 2))),
        ];
        let want = seen_in_entries(&entries);
        let options = options(Compression::Xz, 2);
        let mounted =
            Mounted::new(&image(entries, &Options { block_size: block_size as u32, ..options }));
        assert_same(
            &want,
            &seen_in_entries(&scan(&mounted.path()).unwrap()),
            &format!("{block_size}"),
        );
    }
}
