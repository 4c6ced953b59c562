//! Debian's kernel: depmod's files, the layer of modules, the initrd.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use overboot_kmod::{Layers, Modules};
use overboot_pack::image::{Compression, Options};
use overboot_pack::initrd::{self, InitrdFile, InitrdSpec, WIRED, Zstd};
use overboot_pack::modules::{LayerSpec, layer, pack};
use overboot_pack::tree::Kind;
use overboot_pack::{Kernel, KernelModules};
use overboot_testkit::program::run;
use overboot_testkit::require;

/// The files of Debian's kernel package.
fn package() -> Option<PathBuf> {
    overboot_testkit::kernel::debian(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

fn kernel() -> Option<KernelModules> {
    let root = package()?;
    let start = Instant::now();
    let modules = Kernel::open(&root).unwrap().read_modules(None).unwrap();
    eprintln!("measured: reading all modules {:?}", start.elapsed());
    Some(modules)
}

fn owned(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|&pattern| pattern.to_owned()).collect()
}

/// Runs depmod on a copy (by links) of the modules below `modules`.
fn depmod(modules: &Path, version: &str, work: &Path) -> PathBuf {
    let copy = work.join("lib/modules").join(version);
    fs_err::create_dir_all(copy.parent().unwrap()).unwrap();
    run(Command::new("cp").args(["-rl"]).arg(modules).arg(&copy));
    for entry in fs_err::read_dir(&copy).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let own = ["kernel", "modules.order", "modules.builtin", "modules.builtin.modinfo"];
        if !own.contains(&name.as_str()) {
            fs_err::remove_file(entry.path()).unwrap();
        }
    }
    run(Command::new("depmod").arg("-b").arg(work).arg(version));
    copy
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.sort_unstable();
    lines
}

/// Compares the files with depmod's, which stand in `theirs`.
fn same_as_depmod(ours: &BTreeMap<String, Vec<u8>>, theirs: &Path) {
    for name in [
        "modules.alias.bin",
        "modules.symbols.bin",
        "modules.builtin.bin",
        "modules.builtin.alias.bin",
    ] {
        let expected = fs_err::read(theirs.join(name)).unwrap();
        assert!(ours[name] == expected, "{name} differs from depmod's");
    }
    for name in ["modules.alias", "modules.softdep", "modules.symbols", "modules.devname"] {
        let expected = fs_err::read_to_string(theirs.join(name)).unwrap();
        let text = String::from_utf8(ours[name].clone()).unwrap();
        assert_eq!(sorted(&text), sorted(&expected), "{name} differs from depmod's");
    }
    let expected = fs_err::read_to_string(theirs.join("modules.dep")).unwrap();
    same_dependencies(std::str::from_utf8(&ours["modules.dep"]).unwrap(), &expected);
}

/// The same modules in the same order, each needing the same ones. Which of two that do not need each other comes first
/// is by chance with depmod (the order of symbols); that all come after what they need is what counts.
fn same_dependencies(ours: &str, theirs: &str) {
    let needs = |line: &str| -> (String, Vec<String>) {
        let (path, needs) = line.split_once(':').unwrap();
        (path.to_owned(), needs.split_whitespace().map(str::to_owned).collect())
    };
    let all: BTreeMap<String, Vec<String>> = ours.lines().map(needs).collect();
    assert_eq!(ours.lines().count(), theirs.lines().count());
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        let ((path, mut ours), (expected, mut theirs)) = (needs(ours), needs(theirs));
        assert_eq!(path, expected);
        for (at, need) in ours.iter().enumerate() {
            assert!(all[need].iter().all(|deeper| ours[at + 1..].contains(deeper)), "{path}");
        }
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "{path}");
    }
}

/// The layer of modules, unpacked, against depmod on the same files and modprobe on both.
fn check_layer(kernel: &KernelModules) {
    let version = kernel.kernel().version().to_owned();
    let patterns = owned(&[
        "kernel/drivers/net/ethernet/**",
        "kernel/drivers/char/ipmi/**",
        "kernel/drivers/scsi/**",
        "kernel/drivers/nvme/**",
        "kernel/drivers/md/**",
        "kernel/fs/ext4/**",
        "kernel/fs/btrfs/**",
        "r8169",
        "no-such-driver",
    ]);
    let spec = LayerSpec { patterns: &patterns, firmware: None, modification_time: 1_700_000_000 };
    let options = Options { compression: Compression::Zstd { level: 3 }, ..Options::default() };
    let work = tempfile::tempdir().unwrap();
    let image = work.path().join("modules.squashfs");
    let out = fs_err::File::create(&image).unwrap();
    let (layer, packed) = pack(kernel, &spec, &options, out, &mut |_| ()).unwrap();
    assert_eq!(layer.unmatched, ["no-such-driver"]);
    for name in ["ipmi_msghandler", "ipmi_watchdog", "ipmi_poweroff", "ipmi_devintf", "ipmi_si"] {
        assert!(layer.modules.iter().any(|module| module == name), "{name}");
    }
    // r8169 wants realtek softly; ext4 wants crypto-crc32c, an alias.
    assert!(layer.modules.iter().any(|module| module == "realtek"));
    assert!(layer.modules.iter().any(|module| module.starts_with("crc32c")));

    let tree = work.path().join("tree");
    run(Command::new("unsquashfs").args(["-no-progress", "-d"]).arg(&tree).arg(&image));
    let directory = tree.join("usr/lib/modules").join(&version);
    let ours: BTreeMap<String, Vec<u8>> = fs_err::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), fs_err::read(entry.path()).unwrap())
        })
        .collect();
    let theirs = depmod(&directory, &version, &work.path().join("theirs"));
    same_as_depmod(&ours, &theirs);
    // modprobe reads our binary indexes: what it would do must be the same with either.
    for wanted in
        ["ext4", "r8169", "mlx5_core", "crypto-crc32c", "pci:v00008086d00001533sv0sd0bc02sc00i00"]
    {
        let ask = |base: &Path| {
            let mut command = Command::new("modprobe");
            command.arg("-d").arg(base).args(["-S", &version, "--show-depends", wanted]);
            command.args(["-C", "/dev/null"]);
            let text = run(&mut command).replace(base.to_str().unwrap(), "");
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let last = lines.pop();
            lines.sort_unstable();
            (lines, last)
        };
        let ours = work.path().join("ours");
        fs_err::create_dir_all(ours.join("lib")).unwrap();
        let link = ours.join("lib/modules");
        if !link.exists() {
            std::os::unix::fs::symlink(tree.join("usr/lib/modules"), &link).unwrap();
        }
        assert_eq!(ask(&ours), ask(&work.path().join("theirs")), "{wanted}");
    }
    assert_eq!(packed.facts.files as usize, layer.modules.len() + ours.len());
}

#[test]
fn debians_modules_are_indexed_as_depmod_does() {
    if !require::programs(&["depmod", "modprobe", "unsquashfs"]) {
        return;
    }
    let Some(kernel) = kernel() else { return };
    check_layer(&kernel);
    check_layers(&kernel);
    check_all(&kernel);
}

/// Two layers over each other: what their files say, made one, is what depmod says of all their modules.
fn check_layers(kernel: &KernelModules) {
    let version = kernel.kernel().version().to_owned();
    let work = tempfile::tempdir().unwrap();
    let mut layers = Layers::default();
    for patterns in [
        owned(&["kernel/drivers/net/ethernet/intel/**", "kernel/fs/ext4/**", "ipmi_si"]),
        owned(&["kernel/drivers/char/ipmi/**", "r8169", "kernel/fs/btrfs/**"]),
    ] {
        let spec = LayerSpec { patterns: &patterns, firmware: None, modification_time: 1 };
        let mut lists = BTreeMap::new();
        for entry in layer(kernel, &spec).unwrap().entries {
            let Kind::File(source) = &entry.kind else { continue };
            let path = work.path().join(std::str::from_utf8(&entry.path).unwrap());
            let mut content = Vec::new();
            source.open().unwrap().read_to_end(&mut content).unwrap();
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(&path, &content).unwrap();
            lists.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), content);
        }
        layers.add(|name| lists.get(name).cloned().unwrap_or_default()).unwrap();
    }
    let directory = work.path().join("usr/lib/modules").join(&version);
    let index = layers.index(|_, path| directory.join(path).exists()).unwrap();
    assert!(index.get("ext4").is_some() && index.get("btrfs").is_some());
    fs_err::write(directory.join("modules.order"), index.order()).unwrap();
    let theirs = depmod(&directory, &version, &work.path().join("theirs"));
    let ours = index.files().unwrap();
    same_as_depmod(
        &ours.into_iter().map(|(name, file)| (name.to_owned(), file)).collect(),
        &theirs,
    );
}

/// Every module of the kernel, and how quickly a device finds its own.
fn check_all(kernel: &KernelModules) {
    let version = kernel.kernel().version().to_owned();
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = package().unwrap();
    let theirs = depmod(&root.join("usr/lib/modules").join(&version), &version, work.path());
    let read = |name: &str| fs_err::read_to_string(theirs.join(name)).unwrap();
    // The package's modules are compressed, and depmod's paths say so; ours are without.
    let plain = |text: String| text.replace(".ko.xz", ".ko");
    let index = kernel.index();
    let (ours, expected) = (index.dep(), plain(read("modules.dep")));
    same_dependencies(&ours, &expected);
    assert_eq!(sorted(&index.alias()), sorted(&read("modules.alias")));
    assert_eq!(sorted(&index.softdep()), sorted(&read("modules.softdep")));
    assert_eq!(sorted(&index.symbols()), sorted(&read("modules.symbols")));
    assert_eq!(sorted(&index.devname()), sorted(&read("modules.devname")));

    // Every alias finds its module, and finding is quick.
    let (dep, alias, softdep) = (index.dep(), index.alias(), index.softdep());
    let start = Instant::now();
    let modules = Modules::parse(&dep, &alias, &softdep, "").unwrap();
    eprintln!("measured: parsing {} modules {:?}", modules.len(), start.elapsed());
    let devices: Vec<String> = alias
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|pattern| pattern.replace(['*', '?'], "0"))
        .collect();
    let start = Instant::now();
    let found = devices.iter().filter(|device| !modules.find(device).is_empty()).count();
    let each = start.elapsed() / devices.len() as u32;
    eprintln!("measured: {} modaliases found, {each:?} each", devices.len());
    assert!(found * 100 > devices.len() * 98, "{found} of {}", devices.len());
}

#[test]
fn the_initrd_is_small_and_the_tools_unpack_it() {
    if !require::programs(&["cpio", "zstd"]) {
        return;
    }
    let Some(kernel) = kernel() else { return };
    let patterns = owned(&WIRED);
    let key = InitrdFile {
        path: "etc/overboot/keys/site.pub".to_owned(),
        mode: 0o644,
        content: b"untrusted comment: key\n".to_vec(),
    };
    let files = [key];
    let spec = InitrdSpec {
        init: b"#!static\n",
        kernel: &kernel,
        patterns: &patterns,
        files: &files,
        compression: Zstd::default(),
    };
    let mut image = Vec::new();
    let start = Instant::now();
    let initrd = initrd::pack(&spec, &mut image).unwrap();
    eprintln!(
        "measured: initrd {} bytes, {} bytes unpacked, {} modules, {:?}",
        image.len(),
        initrd.facts.bytes,
        initrd.modules.len(),
        start.elapsed()
    );
    assert!(initrd.unmatched.is_empty(), "{:?}", initrd.unmatched);
    assert!(image.len() < 15_000_000 - 3_000_000, "{} bytes leave no room for init", image.len());

    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("initrd.zst");
    fs_err::write(&file, &image).unwrap();
    let unpack = format!("zstd -dcq {} | cpio -idm --quiet", file.display());
    if !require::root() {
        return;
    }
    let tree = work.path().join("tree");
    fs_err::create_dir(&tree).unwrap();
    run(Command::new("sh").args(["-ec", &unpack]).current_dir(&tree));
    assert_eq!(fs_err::read(tree.join("init")).unwrap(), b"#!static\n");
    assert_eq!(fs_err::read(tree.join(&files[0].path)).unwrap(), files[0].content);
    let directory = tree.join("lib/modules").join(kernel.kernel().version());
    let read = |name: &str| fs_err::read_to_string(directory.join(name)).unwrap();
    let (dep, alias) = (read("modules.dep"), read("modules.alias"));
    let (softdep, builtin) = (read("modules.softdep"), read("modules.builtin"));
    let modules = Modules::parse(&dep, &alias, &softdep, &builtin).unwrap();
    for wanted in ["loop", "overlay", "squashfs", "virtio:d00000001v00001AF4", "virtio_pci"] {
        let known = modules.is_builtin(wanted) || !modules.find(wanted).is_empty();
        assert!(known, "{wanted}");
        for step in modules.plan(modules.find(wanted)).steps() {
            let content = fs_err::read(directory.join(step.path)).unwrap();
            assert_eq!(content[..4], *b"\x7fELF", "{}", step.path);
            assert!(content.ends_with(b"~Module signature appended~\n"), "{}", step.path);
        }
    }
}
