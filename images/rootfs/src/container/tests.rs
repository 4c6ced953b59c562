//! Layers made for trouble, unpacked by us and by umoci: the same tree.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod over_a_tree;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use ::tar::EntryType;
use overboot_testkit::container::{Layer, MTIME, Packing, layout};
use overboot_testkit::program::run;
use overboot_testkit::require;

use super::{Budget, apply, each, read};
use crate::error::Error;
use crate::root::Root;

/// `cap_dac_override,cap_fowner+ep`, whose second byte of rights is a line break.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Every path of a tree with all that can be told of it.
fn told(tree: &Path) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::iter::once(folder.clone())
            .chain(std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()))
        {
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let kind = metadata.file_type();
            let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
            let mut line = format!("{mode:o} {uid} {gid} {}", metadata.mtime());
            if kind.is_symlink() {
                line += &format!(" -> {:?}", std::fs::read_link(&path).unwrap());
            } else if kind.is_file() {
                line += &format!(" x{} ", metadata.nlink());
                line += &String::from_utf8_lossy(&std::fs::read(&path).unwrap());
            } else if kind.is_dir() && path != folder {
                folders.push(path.clone());
            }
            for name in ["security.capability", "user.note", "trusted.overlay.opaque"] {
                let mut value = [0; 64];
                if let Ok(length) = rustix::fs::lgetxattr(&path, name, &mut value[..]) {
                    line += &format!(" {name}={:?}", &value[..length]);
                }
            }
            let relative = path.strip_prefix(tree).unwrap().as_os_str().as_bytes();
            told.insert(String::from_utf8_lossy(relative).into_owned(), line);
        }
    }
    told
}

/// Puts layers into a new tree; what there is then, and what was said.
fn applied(layers: &[(Layer, Packing)]) -> Result<(BTreeMap<String, String>, String), Error> {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::create(folder.path().join("tree")).unwrap();
    let said = Mutex::new(String::new());
    let scratch = folder.path().join("scratch");
    let say = |line: &str| said.lock().unwrap().push_str(line);
    apply(&root, &files(folder.path(), layers), &scratch, &say)?;
    Ok((told(root.path()), said.into_inner().unwrap()))
}

fn files(folder: &Path, layers: &[(Layer, Packing)]) -> Vec<PathBuf> {
    let write = |(at, (layer, packing)): (usize, &(Layer, Packing))| {
        let path = folder.join(format!("layer-{at}"));
        std::fs::write(&path, layer.packed(*packing)).unwrap();
        path
    };
    layers.iter().enumerate().map(write).collect()
}

fn gzip(layers: &[Layer]) -> Vec<(Layer, Packing)> {
    layers.iter().map(|layer| (layer.clone(), Packing::Gzip)).collect()
}

/// Unpacks the layers by us and by umoci, which must come to the same; what that is.
fn same_as_umoci(layers: &[Layer]) -> BTreeMap<String, String> {
    let layers = gzip(layers);
    let (ours, _) = applied(&layers).unwrap();
    if require::program("umoci") {
        let folder = tempfile::tempdir().unwrap();
        let (image, bundle) = (folder.path().join("image"), folder.path().join("bundle"));
        layout(&image, "it", "amd64", &layers);
        let image = format!("{}:it", image.display());
        run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
        assert_eq!(ours, told(&bundle.join("rootfs")));
    }
    ours
}

fn root() -> bool {
    require::root()
}

/// Without it, umoci and we date the top of the tree as we like.
fn layer() -> Layer {
    Layer::new().folder("./", 0o755)
}

#[test]
fn layers_are_unpacked_as_umoci_does() {
    if !root() {
        return;
    }
    let first = layer()
        .folder("etc/", 0o755)
        .file("etc/kept", 0o644, b"kept")
        .file("etc/changed", 0o600, b"old")
        .file("etc/gone", 0o644, b"gone")
        .folder("srv", 0o2775)
        .folder("srv/data", 0o755)
        .file("srv/data/a", 0o644, b"a")
        .folder("srv/data/sub", 0o755)
        .file("srv/data/sub/b", 0o644, b"b")
        .folder("opt", 0o755)
        .file("opt/old", 0o644, b"old")
        .folder("usr", 0o755)
        .folder("usr/bin", 0o755)
        .file("usr/bin/tool", 0o4755, b"tool")
        .hard_link("usr/bin/alias", "usr/bin/tool")
        .symlink("bin", "usr/bin")
        .symlink("usr/absolute", "/etc/kept")
        .entry(EntryType::Fifo, "srv/fifo", 0o640, "", b"");
    let second = layer()
        // Through a link that is below, as docker does it.
        .file("bin/more", 0o755, b"more")
        .file("etc/changed", 0o640, b"new")
        .whiteout("etc", "gone")
        .whiteout("etc", "never-there")
        // What the same layer brings stays, on whichever side of the whiteout it stands.
        .folder("opt", 0o700)
        .file("opt/new", 0o644, b"new")
        .opaque("opt")
        .file("opt/newer", 0o644, b"newer")
        // A folder gives way to a file, and a file to a folder.
        .whiteout("srv", "data")
        .file("srv/data", 0o644, b"now a file")
        .folder("etc/kept", 0o711)
        .file("etc/kept/in", 0o644, b"in")
        // One of two names is replaced, the other is not.
        .file("usr/bin/alias", 0o755, b"no alias")
        .hard_link("usr/bin/other", "usr/bin/tool");
    let third = layer().whiteout("", "srv").folder("deep", 0o755).folder("deep/er", 0o755);
    let tree = same_as_umoci(&[first, second, third]);
    assert!(tree.contains_key("opt/new") && tree.contains_key("opt/newer"));
    assert!(!tree.contains_key("opt/old") && !tree.contains_key("srv"));
    assert_eq!(tree["usr/bin/tool"], format!("104755 7 8 {MTIME} x2 tool"));
    assert!(tree.contains_key("usr/bin/more"));
}

#[test]
fn names_times_and_attributes_of_pax_headers() {
    if !root() {
        return;
    }
    let long = "l".repeat(120);
    let path = format!("usr/{long}");
    let layer = layer()
        .folder("usr", 0o755)
        .pax(&[
            ("path", path.as_bytes()),
            ("SCHILY.xattr.security.capability", CAPABILITY),
            ("mtime", b"1400000000.25"),
        ])
        .file("usr/short", 0o755, b"ping")
        .pax(&[("SCHILY.xattr.user.note", b"a\nb=c"), ("uid", b"70000"), ("gid", b"70001")])
        .file("usr/note", 0o644, b"")
        .entry(EntryType::GNULongLink, "././@LongLink", 0o644, "", format!("{long}\0").as_bytes())
        .symlink("usr/link", "short");
    let tree = same_as_umoci(&[layer]);
    let capable = &tree[&path];
    assert!(
        capable.starts_with("100755 7 8 1400000000 x1 ping security.capability=[1, 0, 0, 2, 10,"),
        "{capable}"
    );
    assert!(tree["usr/note"].starts_with("100644 70000 70001 "), "{}", tree["usr/note"]);
    assert!(tree["usr/link"].ends_with(&format!("-> {long:?}")), "{}", tree["usr/link"]);
}

/// What is kept until an entry comes has an end, however many headers it comes in; and so has what is only passed over.
#[test]
fn headers_without_end_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let read = |layer: &Layer, mut budget: Budget| {
        let file = folder.path().join("layer");
        std::fs::write(&file, layer.tar()).unwrap();
        each(&file, &mut budget, |_, _| Ok(())).map(|()| budget.bytes)
    };
    let bytes = 10 << 20;
    let budget = Budget { entries: 10, bytes };
    let value = vec![b'v'; 100 << 10];
    let attribute = [("SCHILY.xattr.user.note", &value[..])];
    let long = "l".repeat(100 << 10);
    let pax = |layer: Layer| layer.pax(&attribute);
    let names = |layer: Layer| layer.entry(EntryType::GNULongName, "x", 0, "", long.as_bytes());
    for (name, add) in [("PAX", &pax as &dyn Fn(Layer) -> Layer), ("names", &names)] {
        let headers = |count: usize| {
            (0..count).fold(Layer::new(), |layer, _| add(layer)).file("x", 0o644, b"")
        };
        let left = read(&headers(8), budget).unwrap();
        assert!(left < bytes - (800 << 10), "{name}: what was read counts, {left} are left");
        let error = read(&headers(12), budget).unwrap_err().to_string();
        assert!(error.contains("has headers of more than a megabyte"), "{name}: {error}");
    }
    let one = |layer: Layer| layer.entry(EntryType::XGlobalHeader, "x", 0, "", &value);
    let global = |count: usize| (0..count).fold(Layer::new(), |layer, _| one(layer));
    read(&global(90), budget).unwrap();
    let error = read(&global(110), budget).unwrap_err().to_string();
    assert!(error.contains("is more than an image may hold"), "{error}");
}

#[test]
fn the_packing_does_not_matter() {
    if !root() {
        return;
    }
    let one = || layer().folder("a", 0o750).file("a/b", 0o644, &vec![b'x'; 100_000]);
    let trees =
        [Packing::Plain, Packing::Gzip, Packing::Zstd].map(|p| applied(&[(one(), p)]).unwrap().0);
    assert!(trees.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_a_system_does_not_take_is_left_out_and_told() {
    if !root() {
        return;
    }
    let layer = layer()
        .folder("dev", 0o755)
        .entry(EntryType::Char, "dev/null", 0o666, "", b"")
        .entry(EntryType::Block, "dev/sda", 0o660, "", b"")
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"x"),
        ])
        .folder("a", 0o755)
        .folder(".wh..wh.plnk", 0o700)
        .file(".wh..wh.plnk/1.2", 0o600, b"of aufs");
    let (tree, said) = applied(&gzip(&[layer])).unwrap();
    assert_eq!(tree.keys().map(String::as_str).collect::<Vec<_>>(), ["", "a", "dev"]);
    assert_eq!(tree["a"], format!("40755 0 0 {MTIME}"));
    assert_eq!(said, "layer 1 of 1: 2 device nodes and 2 extended attributes left out");
}

#[test]
fn nothing_leaves_the_tree() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "kept").unwrap();
    let away = outside.display().to_string();
    let kept = format!("{away}/kept");
    // Links that lead out lead within, as they will when the tree is the root.
    let below = layer().symlink("way", &away).symlink("up", "../../../..").symlink("etc", "/");
    let through = layer()
        .file("up/new", 0o644, b"x")
        .file("etc/newer", 0o644, b"x")
        .whiteout("way", "kept")
        .whiteout("up", "etc")
        .opaque("way")
        .opaque("up");
    let (tree, _) = applied(&gzip(&[below.clone(), through])).unwrap();
    let names: Vec<_> = tree.keys().map(String::as_str).collect();
    assert_eq!(names, ["", "etc", "new", "newer", "up", "way"]);
    let nowhere = layer().file("way/new", 0o644, b"x");
    assert!(applied(&gzip(&[below, nowhere])).is_err(), "there is no such folder within");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);

    let refused: &[(Layer, &str)] = &[
        (layer().file("../x", 0o644, b""), "leads out of the tree"),
        (layer().file("a/../../x", 0o644, b""), "leads out of the tree"),
        (layer().hard_link("x", "../outside/kept"), "leads out of the tree"),
        (layer().hard_link("x", &kept), "is a hard link to a file that is not there"),
        (
            layer().symlink("way", &away).hard_link("x", "way/kept"),
            "is a hard link to a file that is not there",
        ),
        (layer().folder("d", 0o755).hard_link("x", "d"), "is a hard link to a folder"),
        (layer().whiteout("", ".."), "is a whiteout of nothing"),
        (layer().whiteout("", ""), "is a whiteout of nothing"),
        (layer().file(".wh.a/x", 0o644, b""), "lies in a whiteout"),
        (layer().symlink("x", ""), "is a link to nowhere"),
        (layer().entry(EntryType::GNUSparse, "x", 0o644, "", b""), "is sparse"),
        (
            layer().entry(EntryType::new(b'?'), "x", 0o644, "", b""),
            "is of a kind that layers do not have",
        ),
        (layer().pax(&[("size", b"-1")]).file("x", 0o644, b""), "a number that is none"),
        (
            layer().pax(&[("size", b"99999999999999")]).file("x", 0o644, b""),
            "more than an image may hold",
        ),
        (layer().file(".", 0o644, b""), "is the tree itself"),
    ];
    for (layer, why) in refused {
        match applied(&gzip(std::slice::from_ref(layer))) {
            Err(error @ Error::Layer { .. }) => assert!(error.to_string().contains(why), "{error}"),
            other => panic!("{why}: {other:?}"),
        }
    }
    assert_eq!(std::fs::read_to_string(outside.join("kept")).unwrap(), "kept");
}

#[test]
fn a_link_to_itself_stays_and_damage_is_told() {
    if !root() {
        return;
    }
    let (tree, _) = applied(&gzip(&[layer().file("a", 0o644, b"a").hard_link("a", "a")])).unwrap();
    assert!(tree["a"].ends_with("x1 a"));
    // Whatever is cut or changed ends in an error or a tree, never in a panic.
    let whole = layer().pax(&[("path", b"x/y")]).file("z", 0o644, b"content").tar();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layer");
    for at in (0..whole.len()).step_by(37) {
        let root = Root::create(folder.path().join("tree")).unwrap();
        std::fs::write(&file, &whole[..at]).unwrap();
        let _ = apply(&root, std::slice::from_ref(&file), &folder.path().join("scratch"), &|_| {});
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        std::fs::write(&file, changed).unwrap();
        let _ = apply(&root, std::slice::from_ref(&file), &folder.path().join("scratch"), &|_| {});
    }
}

#[test]
fn an_image_goes_into_a_tree_as_a_whole() {
    if !root() {
        return;
    }
    let image = gzip(&[
        layer()
            .folder("etc", 0o711)
            .file("etc/both", 0o600, b"image")
            .file("etc/gone", 0o644, b"image")
            .folder("opt", 0o755)
            .file("opt/gone", 0o644, b"image")
            .folder("lib", 0o755)
            .file("lib/a", 0o755, b"a")
            .hard_link("lib/b", "lib/a")
            .pax(&[("SCHILY.xattr.security.capability", CAPABILITY)])
            .file("lib/capable", 0o755, b"c")
            .symlink("lib/link", "a")
            .entry(EntryType::Fifo, "lib/fifo", 0o640, "", b""),
        layer()
            .whiteout("etc", "gone")
            .opaque("opt")
            .whiteout("", "srv")
            .file("opt/new", 0o644, b""),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let root = Root::create(folder.path().join("tree")).unwrap();
    for file in
        ["etc/both", "etc/gone", "etc/own", "opt/own", "srv/own", "lib/link/own", "usr/lib/own"]
    {
        root.write(file, 0o644, b"tree").unwrap();
    }
    // A merged `/usr`, into which the image's folder goes.
    let link = root.path().join("lib");
    std::fs::remove_dir_all(&link).unwrap();
    std::os::unix::fs::symlink("usr/lib", &link).unwrap();
    let (alone, _) = applied(&image).unwrap();
    let scratch = folder.path().join("scratch");
    apply(&root, &files(folder.path(), &image), &scratch, &|_| {}).unwrap();
    assert!(!scratch.exists());
    let tree = told(root.path());
    let kept = ["etc/gone", "etc/own", "opt/own", "srv/own", "usr/lib/own"];
    assert!(kept.iter().all(|path| tree[*path].ends_with(" tree")), "{tree:?}");
    for (path, line) in alone.iter().filter(|(path, _)| !path.is_empty() && *path != "lib") {
        let path = path
            .strip_prefix("lib/")
            .map_or_else(|| path.clone(), |rest| format!("usr/lib/{rest}"));
        assert_eq!(&tree[&path], line, "{path}");
    }
    assert!(tree["lib"].ends_with("-> \"usr/lib\""));
    assert!(tree["usr/lib/b"].ends_with("x2 a"));
}

#[test]
fn an_image_does_not_take_away_the_trees_users_and_packages() {
    if !root() {
        return;
    }
    let stanza = |name: &str, version: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: {version}\n\n"
        )
    };
    let status = stanza("both", "2") + &stanza("image", "1");
    let image = gzip(&[layer()
        .file("etc/passwd", 0o666, b"root:x:0:0::/home:/bin/ash\nweb:x:101:101::/:\n")
        .file("etc/group", 0o644, b"root:x:0:\nsudo:x:9:web\n")
        .file("var/lib/dpkg/status", 0o644, status.as_bytes())
        .file("etc/shells", 0o644, b"/bin/ash\n")]);
    let folder = tempfile::tempdir().unwrap();
    let root = Root::create(folder.path().join("tree")).unwrap();
    root.write("etc/passwd", 0o640, b"root:x:0:0::/root:/bin/bash\nmonorail:x:150:150::/:\n")
        .unwrap();
    root.write("etc/group", 0o644, b"root:x:0:\nsudo:x:27:monorail\n").unwrap();
    let status = stanza("both", "1") + &stanza("tree", "1");
    root.write("var/lib/dpkg/status", 0o644, status.as_bytes()).unwrap();
    let scratch = folder.path().join("scratch");
    apply(&root, &files(folder.path(), &image), &scratch, &|_| {}).unwrap();
    let text = |path: &str| root.read_text(path).unwrap().unwrap();
    let passwd = text("etc/passwd");
    for line in ["root:x:0:0::/root:/bin/bash\n", "monorail:x:150:", "web:x:101:"] {
        assert!(passwd.contains(line), "{passwd}");
    }
    assert_eq!(passwd.lines().count(), 3);
    assert_eq!(std::fs::metadata(root.path().join("etc/passwd")).unwrap().mode() & 0o7777, 0o640);
    assert!(text("etc/group").contains("sudo:x:27:web,monorail\n"), "{}", text("etc/group"));
    let wanted = stanza("both", "2") + &stanza("image", "1") + &stanza("tree", "1");
    assert_eq!(text("var/lib/dpkg/status"), wanted);
    assert_eq!(text("etc/shells"), "/bin/ash\n", "what only the image has");
}

#[test]
fn a_file_is_read_out_of_an_image() {
    let first = Layer::new()
        .folder("var/lib", 0o755)
        .file("var/lib/a", 0o644, b"one")
        .file("var/lib/b", 0o644, b"b")
        .file("var/lib/c", 0o644, b"c")
        .file("etc/d", 0o644, b"d")
        .file("srv/e", 0o644, b"e");
    let second = Layer::new()
        .file("./var/lib/a", 0o644, b"two")
        .whiteout("var/lib", "b")
        .opaque("etc")
        .symlink("srv", "etc");
    let third = Layer::new().folder("var/lib", 0o700);
    let folder = tempfile::tempdir().unwrap();
    let layers = files(folder.path(), &gzip(&[first, second, third]));
    for (path, content) in [
        ("var/lib/a", Some(&b"two"[..])),
        ("var/lib/b", None),
        ("var/lib/c", Some(b"c")),
        ("etc/d", None),
        ("srv/e", None),
        ("var/lib", None),
        ("nothing", None),
    ] {
        assert_eq!(read(&layers, Path::new(path)).unwrap().as_deref(), content, "{path}");
    }
}

/// The files of the layers of the image `it` in a layout, lowest first.
fn layers_of(image: &Path) -> Vec<PathBuf> {
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let blob = |entry: &serde_json::Value| {
        let digest = entry["digest"].as_str().unwrap();
        image.join("blobs").join(digest.replace(':', "/"))
    };
    let index = read(&image.join("index.json"));
    let entries = index["manifests"].as_array().unwrap();
    let name = "org.opencontainers.image.ref.name";
    let entry = entries.iter().find(|entry| entry["annotations"][name] == "it").unwrap();
    read(&blob(entry))["layers"].as_array().unwrap().iter().map(blob).collect()
}

/// What another hand makes of changes to a tree: its whiteouts, its order, its headers.
#[test]
fn umocis_own_layers_come_to_the_same() {
    if !(root() && require::program("umoci")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (image, bundle) = (folder.path().join("image"), folder.path().join("bundle"));
    let mut first = layer().folder("usr", 0o755).symlink("bin", "usr/bin").folder("usr/bin", 0o755);
    for at in 0..40 {
        first = first.folder(&format!("usr/{at}"), 0o755);
        first = first.file(&format!("usr/{at}/file"), 0o644, format!("{at}").as_bytes());
        first = first.hard_link(&format!("usr/bin/{at}"), &format!("usr/{at}/file"));
    }
    layout(&image, "it", "amd64", &gzip(&[first]));
    let name = format!("{}:it", image.display());
    run(Command::new("umoci").args(["unpack", "--image", &name]).arg(&bundle));
    let tree = bundle.join("rootfs");
    for at in (0..40).step_by(4) {
        let path = |at: usize| tree.join(format!("usr/{at}"));
        std::fs::remove_dir_all(path(at)).unwrap();
        std::fs::remove_file(path(at + 1).join("file")).unwrap();
        std::fs::remove_dir_all(path(at + 2)).unwrap();
        std::fs::write(path(at + 2), "a file").unwrap();
        std::fs::remove_file(tree.join(format!("usr/bin/{at}"))).unwrap();
        std::os::unix::fs::symlink("../../etc", path(at + 3).join("link")).unwrap();
        std::fs::write(path(at + 3).join("capable"), "c").unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        let capable = path(at + 3).join("capable");
        rustix::fs::setxattr(capable, "security.capability", CAPABILITY, flags).unwrap();
        std::fs::create_dir_all(tree.join(format!("new/{at}/{}", "long".repeat(40)))).unwrap();
    }
    // Whole seconds: an archive's times are rounded, and a file's are cut.
    let touch = ["-newermt", "2020-01-01", "-exec", "touch", "-h", "-d", "@1600000000", "{}", "+"];
    run(Command::new("find").arg(&tree).args(touch));
    run(Command::new("umoci").args(["repack", "--image", &name]).arg(&bundle));
    let layers = layers_of(&image);
    assert_eq!(layers.len(), 2);
    let ours = Root::create(folder.path().join("ours")).unwrap();
    apply(&ours, &layers, &folder.path().join("scratch"), &|_| {}).unwrap();
    assert_eq!(told(ours.path()), told(&tree));
}
