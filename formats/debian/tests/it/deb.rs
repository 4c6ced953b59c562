//! `dpkg-deb` builds what we read.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_debian::deb::{Deb, Error};
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
    let archive = |members: &[(&str, &[u8])]| {
        let mut out = ar::MAGIC.to_vec();
        for (name, bytes) in members {
            out.extend(
                format!("{name:<16}0           0     0     100644  {:<10}`\n", bytes.len()).bytes(),
            );
            out.extend(*bytes);
            out.extend(&b"\n"[..bytes.len() % 2]);
        }
        out
    };
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
