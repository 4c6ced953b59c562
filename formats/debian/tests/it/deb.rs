//! `dpkg-deb` builds what we read.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_debian::deb::{self, Deb, Error};
use overboot_debian::{ar, deb822};

/// A package built by dpkg-deb.
fn build(dir: &Path, compression: &str) -> PathBuf {
    let tree = dir.join("tree");
    fs_err::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs_err::create_dir_all(tree.join("usr/share/demo")).unwrap();
    fs_err::write(
        tree.join("DEBIAN/control"),
        "Package: demo\nVersion: 1.0-1\nArchitecture: all\nMaintainer: a <a@example.org>\n\
         Description: short\n long\n",
    )
    .unwrap();
    fs_err::write(tree.join("DEBIAN/postinst"), "#!/bin/sh\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(tree.join("DEBIAN/postinst"), executable).unwrap();
    fs_err::write(tree.join("usr/share/demo/text"), "hello\n".repeat(10_000)).unwrap();
    let out = dir.join(format!("{compression}.deb"));
    let output = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--uniform-compression", "-Z", compression, "--build"])
        .arg(&tree)
        .arg(&out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

#[test]
fn every_compression_of_dpkg_deb() {
    if !crate::has("dpkg-deb") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for compression in ["none", "gzip", "xz", "zstd"] {
        let path = build(dir.path(), compression);
        let bytes = fs_err::read(&path).unwrap();
        let deb = Deb::new(&bytes).unwrap();

        let control = deb.control().unwrap();
        assert_eq!(control.0.keys().collect::<Vec<_>>(), ["control", "postinst"]);
        assert_eq!(control.0["postinst"].mode, 0o755);
        let stanza = deb822::single(control.control().unwrap()).unwrap();
        assert_eq!(stanza.get("Version"), Some("1.0-1"));

        let mut ours = Vec::new();
        deb.data().unwrap().read_to_end(&mut ours).unwrap();
        let theirs =
            Command::new("dpkg-deb").arg("--fsys-tarfile").arg(&path).output().unwrap().stdout;
        assert!(ours == theirs, "{compression}: the tar stream differs from dpkg-deb's");
    }
}

#[test]
fn a_package_that_is_packed_lightly_is_the_same_to_us_and_to_dpkg_deb() {
    if !crate::has("dpkg-deb") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = build(dir.path(), "xz");
    let bytes = fs_err::read(&path).unwrap();
    let deb = Deb::new(&bytes).unwrap();
    assert!(deb::is_heavy(&mut fs_err::File::open(&path).unwrap()).unwrap());
    let light = dir.path().join("light.deb");
    assert!(deb.lighten(&mut fs_err::File::create(&light).unwrap()).unwrap());

    let bytes = fs_err::read(&light).unwrap();
    let again = Deb::new(&bytes).unwrap();
    assert!(!deb::is_heavy(&mut fs_err::File::open(&light).unwrap()).unwrap());
    deb::is_heavy(&mut std::io::Cursor::new(&bytes[..50])).unwrap_err();
    assert_eq!(again.control().unwrap(), deb.control().unwrap());
    for of in ["--fsys-tarfile", "--ctrl-tarfile"] {
        let said = [&path, &light].map(|path| {
            let said = Command::new("dpkg-deb").arg(of).arg(path).output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            said.stdout
        });
        assert!(said[0] == said[1], "{of}: dpkg-deb reads something else");
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    again.data().unwrap().read_to_end(&mut ours).unwrap();
    deb.data().unwrap().read_to_end(&mut theirs).unwrap();
    assert!(ours == theirs);
}

#[test]
fn control_files_are_read_from_a_packages_head() {
    // Longer than what is read at first.
    let noise: Vec<u8> =
        (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let control = [
        entry(tar::EntryType::Regular, "./control", b"x"),
        entry(tar::EntryType::Regular, "./md5sums", &noise),
    ];
    let package = around(control.concat());
    let whole = Deb::new(&package).unwrap().control().unwrap();
    let mut followed = [package.clone(), vec![0; 8 << 20]].concat();
    let mut from = std::io::Cursor::new(&followed);
    let head = deb::head(&mut from).unwrap();
    assert!(head.len() < 4 << 20, "{}", head.len());
    assert_eq!(deb::control(&head).unwrap(), whole);
    // Cut off: all there is is read, and it says so.
    followed.truncate(100_000);
    let head = deb::head(&mut &followed[..]).unwrap();
    assert_eq!(head.len(), followed.len());
    let error = deb::control(&head).unwrap_err();
    assert!(matches!(error, Error::Container(ar::Error::Truncated { .. })), "{error}");
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    out.write_all(ar::MAGIC).unwrap();
    for (name, bytes) in members {
        ar::append(&mut out, name, |out| out.write_all(bytes)).unwrap();
    }
    out.into_inner()
}

/// A package around a control archive.
fn around(control: Vec<u8>) -> Vec<u8> {
    let packed = zstd::encode_all(&control[..], 1).unwrap();
    archive(&[("debian-binary", b"2.0\n"), ("control.tar.zst", &packed), ("data.tar", b"")])
}

fn entry(kind: tar::EntryType, path: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    // As bytes: the header's own setter refuses what is tried here.
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o106_755);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[test]
fn only_flat_control_archives_are_taken() {
    use tar::EntryType;

    let file = |path: &str| entry(EntryType::Regular, path, b"x");
    let folder = entry(EntryType::Directory, "./", b"");
    let deb = around([folder, file("./control"), file("md5sums")].concat());
    let files = Deb::new(&deb).unwrap().control().unwrap();
    assert_eq!(files.control().unwrap(), "x");
    assert_eq!(files.0["md5sums"].mode, 0o6755, "permission bits only");

    for (what, bytes) in [
        ("outside", file("../control")),
        ("absolute", file("/control")),
        ("nested", file("./a/control")),
        ("folder", entry(EntryType::Directory, "./a/", b"")),
        ("hidden", file("./.control")),
        ("link", entry(EntryType::Symlink, "./control", b"")),
        ("device", entry(EntryType::Block, "./control", b"")),
        ("twice", [file("./control"), file("control")].concat()),
        ("not UTF-8", {
            let mut bytes = file("./control");
            bytes[2] = 0xff;
            bytes[148..156].fill(b' ');
            let sum: u32 = bytes[..512].iter().map(|&b| u32::from(b)).sum();
            bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            bytes
        }),
    ] {
        let deb = around(bytes);
        let error = Deb::new(&deb).unwrap().control().unwrap_err();
        assert!(matches!(error, Error::Control { .. }), "{what}: {error}");
    }
    let deb = around(file("./postinst"));
    let files = Deb::new(&deb).unwrap().control().unwrap();
    assert!(matches!(files.control(), Err(Error::ControlText { .. })));

    // A few kB that become more than the 64 MiB which all control files may have.
    let deb = around(entry(EntryType::Regular, "./control", &vec![0; 65 << 20]));
    assert!(deb.len() < 100_000);
    let error = Deb::new(&deb).unwrap().control().unwrap_err();
    assert!(matches!(error, Error::Decompress { .. }), "{error}");
}

#[test]
fn damage_is_refused() {
    if !crate::has("dpkg-deb") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs_err::read(build(dir.path(), "xz")).unwrap();
    let member = |name: &str| {
        let all = ar::members(&bytes).unwrap();
        all.map(Result::unwrap).find(|m| m.name.starts_with(name)).unwrap()
    };
    let (format, control, data) = (member("debian"), member("control"), member("data"));
    let (format, control, data) = (
        ("debian-binary", format.bytes),
        ("control.tar.xz", control.bytes),
        ("data.tar.xz", data.bytes),
    );

    assert!(Deb::new(&archive(&[format, ("_extra", b"x"), control, data, ("later", b"")])).is_ok());
    for (what, members) in [
        ("out of order", vec![format, data, control]),
        ("doubled data", vec![format, control, data, data]),
        ("doubled control", vec![format, control, control, data]),
        ("no format", vec![control, data]),
        ("no data", vec![format, control]),
        ("empty", vec![]),
    ] {
        let error = Deb::new(&archive(&members)).unwrap_err();
        assert!(matches!(error, Error::Members { .. }), "{what}: {error}");
    }
    let error = Deb::new(&archive(&[("debian-binary", b"3.0\n"), control, data])).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let lzma = ("data.tar.lzma", &b""[..]);
    assert!(matches!(Deb::new(&archive(&[format, control, lzma])), Err(Error::Compression { .. })));

    // Cut anywhere, the container or the stream says so.
    for end in (0..bytes.len()).step_by(7) {
        let whole = Deb::new(&bytes[..end])
            .is_ok_and(|deb| deb.data().unwrap().read_to_end(&mut Vec::new()).is_ok());
        assert!(!whole, "cut at {end}");
    }
    let cut = ("data.tar.xz", &data.1[..data.1.len() - 12]);
    let cut = archive(&[format, control, cut]);
    let error = Deb::new(&cut).unwrap().data().unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    assert_ne!(error.to_string(), "");
}
