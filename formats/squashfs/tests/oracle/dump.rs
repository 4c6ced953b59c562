use std::io::Cursor;

use overboot_squashfs::{Compression, Entry, Kind, Options, Reader};

use crate::tree::{BLOCK, entry, image, noise, options, zeros};

/// Small and without compression that could change with a library's version: all of it is pinned.
#[test]
fn an_image_as_text() {
    let xattrs = vec![(b"user.note".to_vec(), b"a\n".to_vec())];
    let entries = vec![
        Entry { mode: 0o700, xattrs, ..entry("", Kind::Directory) },
        Entry { uid: 7, gid: 8, mode: 0o4755, ..entry("a", Kind::bytes(*b"hello")) },
        entry("b", Kind::HardLink(b"a".into())),
        entry("c", Kind::bytes(noise(2 * BLOCK + 3, 1))),
        entry("d", Kind::Directory),
        entry("d/same", Kind::bytes(*b"hello")),
        zeros("d/zero", 3 * BLOCK as u64, b""),
        entry("e\n", Kind::Symlink(b"d/same".into())),
        entry("f", Kind::CharDevice(0, 0)),
        entry("g", Kind::BlockDevice(259, 65_536)),
    ];
    let options = Options { modification_time: 1, ..options(Compression::Lz4, 2) };
    let dump = Reader::open(Cursor::new(image(entries, &options))).unwrap().dump().unwrap();
    let want = "\
squashfs lz4 block 4096 inodes 9 fragments 1 ids 3 flags 0x0460 time 1
/ 0700 0:0 1600000000 inode 1 links 3 d
  user.note = a\\n
/a 4755 7:8 1600000000 inode 2 links 2 f 5 fragment 0+0
/b 4755 7:8 1600000000 inode 2 links 2 f 5 fragment 0+0
/c 0644 0:0 1600000000 inode 3 links 1 f 8195 blocks 2 holes 0 fragment 0+5
/d 0755 0:0 1600000000 inode 4 links 2 d
/d/same 0644 0:0 1600000000 inode 8 links 1 f 5 fragment 0+0
/d/zero 0644 0:0 1600000000 inode 9 links 1 f 12288 blocks 3 holes 3
/e\\n 0777 0:0 1600000000 inode 5 links 1 l d/same
/f 0644 0:0 1600000000 inode 6 links 1 c 0:0
/g 0644 0:0 1600000000 inode 7 links 1 b 259:65536
";
    assert_eq!(dump, want);
}
