//! Where the search begins: small inputs that are right, and all that were once found to be wrong.

use std::path::Path;

use overboot_squashfs::{Compression, Entry, Kind, Options, write};

/// What must hold for an input.
pub type Property = fn(&[u8]);

/// What is searched, by the functions' names.
pub const TARGETS: [(&str, Property); 7] = [
    ("deb", crate::deb),
    ("unpack", crate::unpack),
    ("control", crate::control),
    ("packages", crate::packages),
    ("recipe", crate::recipe),
    ("squashfs", crate::squashfs),
    ("cpio", crate::cpio),
];

/// The seeds of a target: what is made here, and the files in `seeds/TARGET`, where an input that broke it is put.
///
/// # Panics
/// A folder that cannot be read.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = match target {
        "deb" => vec![ar(&tarball(&[("./control", CONTROL)]), &tree(true))],
        "unpack" => vec![tree(true), tree(false)],
        "recipe" => vec![shipped()],
        "squashfs" => {
            [Compression::Gzip { level: 1 }, Compression::Lz4, Compression::Zstd { level: 1 }]
                .map(image)
                .to_vec()
        }
        "cpio" => vec![initramfs()],
        _ => Vec::new(),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    if folder.is_dir() {
        for file in fs_err::read_dir(folder).expect("the folder of seeds") {
            let path = file.expect("a seed").path();
            seeds.push(fs_err::read(path).expect("a seed that can be read"));
        }
    }
    seeds
}

/// Where the recipe that ships stands, with the files that it names beside it.
pub(crate) const PROJECT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes/project/overboot.toml");

const CONTROL: &[u8] =
    b"Package: p\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n";

/// A `.deb` of these two tar archives, uncompressed (deb(5)).
pub(crate) fn ar(control: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", control), ("data.tar", data)]
    {
        let header =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len());
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// A tar archive of plain files.
pub(crate) fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, *bytes).expect("a Vec takes all");
    }
    archive.into_inner().expect("a Vec takes all")
}

/// A tar stream with one entry of each kind that packages have; or with some at the place of a link out of the tree.
pub(crate) fn tree(stays_inside: bool) -> Vec<u8> {
    use tar::EntryType::{Char, Directory, Fifo, Link, Symlink};
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |kind, path: &str, target: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        if kind == Char {
            header.set_device_major(1).expect("a GNU header has a place for it");
            header.set_device_minor(3).expect("the same");
        }
        if target.is_empty() {
            header.set_path(path).expect("a short path");
            header.set_cksum();
            archive.append(&header, std::io::empty()).expect("a Vec takes all");
        } else {
            archive.append_link(&mut header, path, target).expect("a Vec takes all");
        }
    };
    add(Directory, "./d/", "");
    add(tar::EntryType::Regular, "./d/f", "");
    add(Link, "./d/hard", "./d/f");
    add(Symlink, "./d/soft", "../out/file");
    add(Fifo, "./d/pipe", "");
    add(Char, "./d/null", "");
    if !stays_inside {
        add(Directory, "./out/", "");
        add(tar::EntryType::Regular, "./out/new", "");
    }
    archive.into_inner().expect("a Vec takes all")
}

/// The recipe that `overboot init` writes.
fn shipped() -> Vec<u8> {
    let text = include_str!("../../recipes/project/overboot.toml");
    text.replace("@NAME@", "fuzz")
        .replace("@KEY@", "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
        .into_bytes()
}

fn image(compression: Compression) -> Vec<u8> {
    let entry = |path: &str, kind| Entry {
        path: path.into(),
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
        xattrs: vec![(b"user.x".to_vec(), b"y".to_vec())],
        kind,
    };
    let entries = vec![
        entry("", Kind::Directory),
        entry("d", Kind::Directory),
        entry("d/file", Kind::bytes(vec![b'x'; 5000])),
        entry("d/hard", Kind::HardLink(b"d/file".to_vec())),
        entry("hole", Kind::bytes(vec![0; 9000])),
        entry("link", Kind::Symlink(b"d/file".to_vec())),
        entry("null", Kind::CharDevice(1, 3)),
        entry("pipe", Kind::Fifo),
    ];
    let options = Options { compression, block_size: 4096, ..Options::default() };
    let mut image = std::io::Cursor::new(Vec::new());
    write(entries, &options, &mut image, &mut |_| ()).expect("a small image");
    image.into_inner()
}

fn initramfs() -> Vec<u8> {
    use overboot_cpio::{Entry, Writer};
    let mut writer = Writer::new(Vec::new());
    let mut add = |entry: &Entry, data: &[u8]| writer.entry(entry, data).expect("a Vec takes all");
    add(&Entry::directory("etc", 0o755), b"");
    add(&Entry::file("etc/hostname", 0o644), b"node\n");
    add(&Entry::symlink("etc/link"), b"hostname");
    add(&Entry::char_device("null", 0o666, 1, 3), b"");
    writer
        .hard_links(&Entry::file("a", 0o644), &[b"a", b"b"], 1, &mut &b"x"[..])
        .expect("the same");
    writer.finish().expect("the same")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_takes_its_seeds() {
        for (target, run) in TARGETS {
            let seeds = seeds(target);
            assert!(!seeds.is_empty(), "{target} has none");
            for seed in seeds {
                run(&seed);
                run(&seed[..seed.len() / 2]);
            }
        }
    }

    #[test]
    fn what_is_made_here_is_right() {
        let deb = overboot_debian::deb::Deb::new(&seeds("deb")[0]).map(|deb| deb.control().is_ok());
        assert!(matches!(deb, Ok(true)), "{deb:?}");
        for image in seeds("squashfs") {
            let mut reader = overboot_squashfs::Reader::open(std::io::Cursor::new(image)).unwrap();
            assert_eq!(reader.entries().unwrap().len(), 8);
        }
        let recipe = String::from_utf8(shipped()).unwrap();
        overboot_recipe::Recipe::parse(&recipe, Path::new(PROJECT)).unwrap();
    }
}
