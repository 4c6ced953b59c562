//! Upper directories of a real overlayfs, in both forms.

use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_pack::image::{self, Compression, Options};
use overboot_pack::{ScanOptions, overlay, tree};
use overboot_testkit::program::run;
use overboot_testkit::require;

/// A base, and what a provisioner changed on it: the directories `lower` and `upper`.
fn provisioned(work: &Path) -> Option<(PathBuf, PathBuf)> {
    if !(require::programs(&["unshare", "mount", "cpio", "setcap"]) && require::root()) {
        return None;
    }
    // overlayfs takes no overlayfs as upper: the whole work directory is a tmpfs of its own namespace, copied out.
    let script = r#"
        mount -t tmpfs none /mnt
        cd /mnt
        mkdir -p lower/etc/old lower/etc/keep upper work root
        echo 1 >lower/etc/gone; echo 2 >lower/etc/old/a; echo 3 >lower/etc/old/b; echo 4 >lower/etc/keep/x
        mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=off,metacopy=off root
        rm root/etc/gone
        rm -r root/etc/old; mkdir root/etc/old; echo new >root/etc/old/a; mkdir root/etc/old/sub
        echo tool >root/tool; ln root/tool root/tool2
        echo cap >root/cap; setcap cap_net_raw+ep root/cap
        umount root
        cp -a --preserve=all lower upper "$1"
    "#;
    run(Command::new("unshare").args(["-m", "sh", "-euc", script, "sh"]).arg(work));
    Some((work.join("lower"), work.join("upper")))
}

fn options() -> ScanOptions {
    ScanOptions { latest_mtime: 1_700_000_000, ..ScanOptions::default() }
}

#[test]
fn a_layer_on_the_base_is_what_the_provisioner_left() {
    let work = tempfile::tempdir().unwrap();
    let Some((lower, upper)) = provisioned(work.path()) else { return };
    let image = work.path().join("layer");
    let squashfs = Options { compression: Compression::Zstd { level: 1 }, ..Options::default() };
    let out = fs_err::File::create(&image).unwrap();
    overlay::write_squashfs(&upper, &options(), &squashfs, out, &mut |_| ()).unwrap();
    let check = r#"
        mount -t tmpfs none /mnt
        mkdir /mnt/layer /mnt/root
        mount -t squashfs -o loop,ro "$2" /mnt/layer
        mount -t overlay none -o ro,lowerdir=/mnt/layer:"$1" /mnt/root
        cd /mnt/root
        find . -mindepth 1 | sort
        getcap cap
        stat -c %h tool2
    "#;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-euc", check, "sh"]).arg(&lower).arg(&image);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if !require::met(!errors.contains("loop"), "needs loop devices") {
        return;
    }
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = "./cap\n./etc\n./etc/keep\n./etc/keep/x\n./etc/old\n./etc/old/a\n./etc/old/sub\n./tool\n./tool2\n\
                    cap cap_net_raw=ep\n2\n";
    assert_eq!(text, expected);
}

#[test]
fn the_compatible_form_keeps_deletions_without_attributes() {
    let work = tempfile::tempdir().unwrap();
    let Some((lower, upper)) = provisioned(work.path()) else { return };
    let base = tree::scan(&lower, &options()).unwrap().entries;
    let layer = || overlay::scan(&upper, &options()).unwrap().entries;
    let mut archive = Vec::new();
    let written = overlay::write_cpio_gz("test", layer(), &base, &mut archive).unwrap();
    assert_eq!(written.lost_attributes, [b"cap".to_vec()]);
    let file = work.path().join("overlay.cpio.gz");
    fs_err::write(&file, &archive).unwrap();
    let tree = work.path().join("tree");
    fs_err::create_dir(&tree).unwrap();
    let unpack = format!("gzip -dc {} | cpio -idm --quiet", file.display());
    run(Command::new("sh").args(["-ec", &unpack]).current_dir(&tree));
    let stat = |path: &str| fs_err::symlink_metadata(tree.join(path)).unwrap();
    for whiteout in ["etc/gone", "etc/old/b"] {
        assert!(stat(whiteout).file_type().is_char_device(), "{whiteout}");
        assert_eq!(stat(whiteout).rdev(), 0, "{whiteout}");
    }
    assert_eq!(fs_err::read_to_string(tree.join("etc/old/a")).unwrap(), "new\n");
    assert!(!tree.join("etc/keep").exists());
    assert_eq!(stat("tool").ino(), stat("tool2").ino());

    // What the format cannot carry is noted for overboot's init.
    let note = fs_err::read(tree.join(overboot_merge::changes_path("test"))).unwrap();
    let note = overboot_merge::Changes::parse(&note).unwrap();
    // linux/capability.h, vfs_cap_data revision 2: effective, CAP_NET_RAW (13) permitted.
    assert_eq!(
        note.attributes["cap"]["security.capability"],
        "0100000200200000000000000000000000000000"
    );
    assert_eq!(note.attributes["etc/old"]["trusted.overlay.opaque"], "79");
    assert_eq!(note.attributes.len(), 2);

    // Out of the packed layer on the packed base comes the same archive.
    let pack = |entries| {
        let squashfs =
            Options { compression: Compression::Zstd { level: 1 }, ..Options::default() };
        let mut image = Cursor::new(Vec::new());
        image::write_entries(entries, &squashfs, &mut image, &mut |_| ()).unwrap();
        image::read_entries(image).unwrap()
    };
    let mut again = Vec::new();
    overlay::write_cpio_gz("test", pack(layer()), &pack(base), &mut again).unwrap();
    assert!(archive == again);
}
