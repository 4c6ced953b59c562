//! What does not need a real kernel: choosing, refusing, firmware, the same bytes every time.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use overboot_digest::Digest;
use overboot_pack::blocks::{BlockCache, BlockDirectory};
use overboot_pack::firmware::{self, FirmwareSpec};
use overboot_pack::image::{Compression, Options};
use overboot_pack::initrd::{self, Initrd, InitrdFile, InitrdSpec, Zstd};
use overboot_pack::modules::{self, LayerSpec};
use overboot_pack::select::select;
use overboot_pack::tree::Kind;
use overboot_pack::{Error, Kernel, KernelModules};

use crate::fake;

fn kernel() -> (tempfile::TempDir, KernelModules) {
    let root = tempfile::tempdir().unwrap();
    fake::kernel(root.path());
    let modules = Kernel::open(root.path()).unwrap().read_modules(None).unwrap();
    (root, modules)
}

fn owned(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|&pattern| pattern.to_owned()).collect()
}

#[test]
fn a_kernel_is_found_or_its_absence_explained() {
    let root = tempfile::tempdir().unwrap();
    let error = Kernel::open(root.path()).unwrap_err();
    assert!(matches!(&error, Error::Kernel { found, .. } if found.is_empty()));
    assert!(error.hint().unwrap().contains("linux-image-amd64"));
    fake::kernel(root.path());
    let kernel = Kernel::open(root.path()).unwrap();
    assert_eq!(kernel.version(), fake::VERSION);
    assert_eq!(fs_err::read(kernel.image()).unwrap(), b"bzImage");
    fs_err::write(root.path().join("boot/vmlinuz-7"), "").unwrap();
    let error = Kernel::open(root.path()).unwrap_err().to_string();
    assert!(error.contains("vmlinuz-6.1.2-fake, vmlinuz-7"), "{error}");
    fs_err::remove_file(root.path().join("boot/vmlinuz-6.1.2-fake")).unwrap();
    let error = Kernel::open(root.path()).unwrap_err();
    assert!(matches!(error, Error::NoModules { version, .. } if version == "7"));
}

/// A cache that counts.
#[derive(Debug, Default)]
struct Counting {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    puts: AtomicUsize,
}

impl BlockCache for Counting {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        self.kept.lock().unwrap().get(&key.hex()).cloned()
    }

    fn put(&self, key: &Digest, block: &[u8]) {
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.kept.lock().unwrap().insert(key.hex(), block.to_vec());
    }
}

#[test]
fn modules_and_what_they_say_are_remembered() {
    let (root, modules) = kernel();
    let cache = Arc::new(Counting::default());
    let read = || {
        let kernel = Kernel::open(root.path()).unwrap();
        kernel.read_modules(Some(Arc::clone(&cache) as Arc<dyn BlockCache>)).unwrap()
    };
    let all = owned(&["kernel/**"]);
    let content = |modules: &KernelModules| {
        let spec = LayerSpec { patterns: &all, firmware: None, modification_time: 0 };
        let layer = modules::layer(modules, &spec).unwrap();
        let content = layer.entries.iter().map(|entry| {
            let mut content = Vec::new();
            if let Kind::File(file) = &entry.kind {
                file.open().unwrap().read_to_end(&mut content).unwrap();
            }
            (entry.path.clone(), content)
        });
        content.collect::<BTreeMap<_, _>>()
    };
    let puts = || cache.puts.swap(0, Ordering::Relaxed);
    assert_eq!(content(&read()), content(&modules));
    assert_eq!(puts(), 1 + 3, "what all say, and those of xz");
    assert_eq!(content(&read()), content(&modules));
    assert_eq!(puts(), 0);

    // What is spoiled is made again.
    for kept in cache.kept.lock().unwrap().values_mut() {
        kept.pop();
    }
    assert_eq!(content(&read()), content(&modules));
    assert_eq!(puts(), 1 + 3);

    // A module of the same length in the place of another.
    let folder = root.path().join("usr/lib/modules").join(fake::VERSION);
    fake::module(&folder.join("kernel/fs/overlayfs/overlay.ko.xz"), "alias=fs-OVERLAY\0");
    let changed = read();
    assert_eq!(changed.index().get("overlay").unwrap().info.aliases, ["fs-OVERLAY"]);
    assert_ne!(content(&changed), content(&modules));
    assert_eq!(puts(), 1 + 1);
}

#[test]
fn a_broken_module_is_named() {
    let (root, _) = kernel();
    let directory = root.path().join("usr/lib/modules").join(fake::VERSION);
    let open = || Kernel::open(root.path()).unwrap().read_modules(None).unwrap_err();
    let bad = directory.join("kernel/bad.ko.xz");
    fs_err::write(&bad, "no xz").unwrap();
    assert!(matches!(open(), Error::Decompress { path, .. } if path == bad));
    fs_err::remove_file(&bad).unwrap();
    let bad = directory.join("kernel/bad.ko");
    fs_err::write(&bad, "no elf").unwrap();
    assert!(matches!(open(), Error::Module { path, .. } if path == bad));
    fake::module(&bad, "depends=nowhere\0");
    let error = open().to_string();
    assert!(error.contains("bad needs nowhere"), "{error}");
}

#[test]
fn patterns_choose_and_take_away() {
    let (_root, kernel) = kernel();
    let names = |patterns: &[&str]| select(&kernel, patterns.iter().copied()).unwrap();
    // What acme needs comes along: acme-core by symbol, sum softly and by an alias.
    assert_eq!(names(&["acme"]).names, ["acme", "acme_core", "sum"]);
    assert_eq!(
        names(&["kernel/drivers/net/ethernet/**"]).names,
        ["acme", "acme_core", "old", "sum"]
    );
    let less = names(&["kernel/drivers/net/ethernet/**", "!kernel/drivers/net/ethernet/acme/"]);
    assert_eq!(less.names, ["old"]);
    assert_eq!(names(&["kernel/drivers/net/*/old/old.ko"]).names, ["old"]);
    // radio may ask for acme while it runs.
    assert!(names(&["radio"]).names.contains(&"acme".to_owned()));
    let strange = names(&["squashfs", "kernel/fs/squashfs/*", "no-such", "kernel/none/**"]);
    assert_eq!(
        (strange.names.len(), strange.unmatched),
        (0, owned(&["no-such", "kernel/none/**"]))
    );
    assert!(select(&kernel, ["net*"]).is_err());
}

#[test]
fn firmware_comes_with_its_links_and_stays_inside() {
    let (_root, kernel) = kernel();
    let tree = tempfile::tempdir().unwrap();
    let firmware = tree.path().join("usr/lib/firmware");
    fs_err::create_dir_all(firmware.join("vendor/v2")).unwrap();
    fs_err::write(firmware.join("vendor/v2/real.fw"), "firmware").unwrap();
    symlink("vendor", firmware.join("acme")).unwrap();
    symlink("v2/real.fw", firmware.join("vendor/nic.fw")).unwrap();
    fs_err::write(firmware.join("vendor/many-1.bin"), "1").unwrap();
    symlink("../../../../etc/shadow", firmware.join("vendor/gone.fw")).unwrap();
    let patterns = owned(&["acme"]);
    let spec = LayerSpec { patterns: &patterns, firmware: Some(tree.path()), modification_time: 0 };
    let layer = modules::layer(&kernel, &spec).unwrap();
    let found: Vec<String> = layer
        .entries
        .iter()
        .filter(|entry| !matches!(entry.kind, Kind::Directory))
        .map(|entry| String::from_utf8(entry.path.clone()).unwrap())
        .filter_map(|path| path.strip_prefix("usr/lib/firmware/").map(str::to_owned))
        .collect();
    assert_eq!(found, ["acme", "vendor/nic.fw", "vendor/v2/real.fw"]);
    // A pattern looks at real names; through the link `acme` it would have to follow every directory link there is.
    assert_eq!(layer.missing_firmware, ["acme/gone.fw", "acme/many-*.bin"]);
}

#[test]
fn firmware_is_an_image_and_names_the_cards_that_need_it() {
    let (_root, kernel) = kernel();
    let tree = tempfile::tempdir().unwrap();
    let folder = tree.path().join("usr/lib/firmware/acme");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("other.fw"), "of no driver").unwrap();
    let pack = |patterns: &[&str]| {
        let compression = Zstd { level: 1, threads: 2.try_into().unwrap(), cache: None };
        let patterns = owned(patterns);
        let spec =
            FirmwareSpec { kernel: &kernel, patterns: &patterns, root: tree.path(), compression };
        let mut image = Vec::new();
        let made = firmware::pack(&spec, &mut image).unwrap();
        (zstd::decode_all(&image[..]).unwrap(), made)
    };
    let nothing = pack(&["acme", "old", "nowhere"]).1;
    assert_eq!((nothing.cards, nothing.lacking), (Vec::<String>::new(), owned(&["acme"])));
    assert_eq!(nothing.unmatched, ["nowhere"]);
    fs_err::write(folder.join("nic.fw"), "what the card runs").unwrap();
    let (archive, made) = pack(&["kernel/drivers/net/ethernet/**"]);
    assert_eq!((made.cards, made.lacking.len()), (owned(&["aced:*"]), 0));
    let has = |words: &[u8]| archive.windows(words.len()).any(|window| window == words);
    assert!(has(b"usr/lib/firmware/acme/nic.fw\0") && has(b"what the card runs"));
    assert!(!has(b"other.fw") && !has(b"acme.ko"));
    // Nothing else needs any.
    assert_eq!(pack(&["old"]).1.cards, Vec::<String>::new());
}

fn pack(
    kernel: &KernelModules,
    files: &[InitrdFile],
    threads: usize,
    cache: Option<&Path>,
) -> Result<(Vec<u8>, Initrd), Error> {
    let cache = cache.map(|path| Arc::new(BlockDirectory::open(path, 1 << 30)) as Arc<_>);
    let patterns = owned(&["kernel/drivers/net/ethernet/**"]);
    // Larger than a frame.
    let init: Vec<u8> =
        (0u32..6_000_000).flat_map(|n| (n / 3).wrapping_mul(n).to_le_bytes()).collect();
    let spec = InitrdSpec {
        init: &init,
        kernel,
        patterns: &patterns,
        files,
        compression: Zstd { level: 1, threads: threads.try_into().unwrap(), cache },
    };
    let mut image = Vec::new();
    let initrd = initrd::pack(&spec, &mut image)?;
    Ok((image, initrd))
}

#[test]
fn the_same_bytes_from_elsewhere_later_and_with_other_threads() {
    let ((_one, first), (_two, second)) = (kernel(), kernel());
    let (image, initrd) = pack(&first, &[], 1, None).unwrap();
    assert!(image == pack(&second, &[], 3, None).unwrap().0);
    assert_eq!(initrd.modules, ["acme", "acme_core", "loop", "old", "overlay", "sum"]);
    let layer = |kernel: &KernelModules, threads: usize| {
        let patterns = owned(&["kernel/**"]);
        let spec = LayerSpec { patterns: &patterns, firmware: None, modification_time: 5 };
        let options = Options {
            compression: Compression::Zstd { level: 3 },
            threads: threads.try_into().unwrap(),
            ..Options::default()
        };
        let mut out = Cursor::new(Vec::new());
        modules::pack(kernel, &spec, &options, &mut out, &mut |_| ()).unwrap();
        out.into_inner()
    };
    assert!(layer(&first, 1) == layer(&second, 4));
}

#[test]
fn frames_that_were_compressed_before_are_taken_again_if_they_are_whole() {
    let (_root, kernel) = kernel();
    let cache = tempfile::tempdir().unwrap();
    let file = |content: &str| {
        [InitrdFile { path: "etc/x".to_owned(), mode: 0o644, content: content.into() }]
    };
    let (image, _) = pack(&kernel, &file("x"), 2, None).unwrap();
    assert!(image == pack(&kernel, &file("x"), 2, Some(cache.path())).unwrap().0);
    let kept = || -> Vec<_> {
        let files = fs_err::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (fs_err::read(&path).unwrap(), path)).collect()
    };
    // What is before the modules, in two, since `init` is larger than a frame; and the modules.
    let before = kept();
    assert_eq!(before.len(), 3);
    // Where one of the node's own files is another one, the modules are what they were.
    pack(&kernel, &file("y"), 2, Some(cache.path())).unwrap();
    assert_eq!(kept().len(), 4);
    for (mut content, path) in before {
        content.truncate(content.len() / 2);
        fs_err::write(path, content).unwrap();
    }
    assert!(image == pack(&kernel, &file("x"), 2, Some(cache.path())).unwrap().0);
}

#[test]
fn what_an_initrd_may_not_be() {
    let (root, kernel) = kernel();
    for (path, why) in [
        ("init", "already"),
        ("/etc/x", "leading slash"),
        ("etc/../x", "plain path"),
        ("init/x", "no directory"),
        ("lib/x", "no directory"),
    ] {
        let file = InitrdFile { path: path.to_owned(), mode: 0o644, content: Vec::new() };
        let error = pack(&kernel, &[file], 1, None).unwrap_err().to_string();
        assert!(error.contains(path) && error.contains(why), "{error}");
    }
    let loop_module = "kernel/drivers/block/loop.ko";
    let directory = root.path().join("usr/lib/modules").join(fake::VERSION);
    fs_err::remove_file(directory.join(Path::new(loop_module))).unwrap();
    let without = Kernel::open(root.path()).unwrap().read_modules(None).unwrap();
    let error = pack(&without, &[], 1, None).unwrap_err();
    assert!(matches!(error, Error::Required { module: "loop", .. }), "{error}");
}
