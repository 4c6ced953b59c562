//! What the machines boot.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use overboot_bootset::{Blob, BootSet, Layer, LayerFormat};
use overboot_pack::initrd::{InitrdFile, InitrdSpec, Zstd};
use overboot_pack::tree::ScanOptions;
use overboot_pack::{Kernel, image, overlay};
use overboot_testkit::require;
use overboot_testkit::vm::{Boot, MachineConfig, Network, Nic, TestMachine, accel};

pub(crate) const MAC: &str = "52:54:00:12:34:56";
/// A card before the one that `BOOTIF` names, in a network that would answer as well.
const DECOY: &str = "52:54:00:12:34:55";
/// The programs in the test's root besides `sh`.
const PROGRAMS: [&str; 7] = ["sh", "cat", "ls", "mkdir", "sleep", "cp", "wc"];

/// Made once for all tests of this program.
pub(crate) struct Material {
    dir: tempfile::TempDir,
    kernel: PathBuf,
    pub(crate) base: Vec<u8>,
    pub(crate) overlay_image: Vec<u8>,
    pub(crate) overlay_archive: Vec<u8>,
    pair: minisign::KeyPair,
}

/// The material, or `None` with a printed reason (and a failure in CI).
pub(crate) fn material() -> Option<&'static Material> {
    static MATERIAL: OnceLock<Option<Material>> = OnceLock::new();
    MATERIAL.get_or_init(make).as_ref()
}

fn make() -> Option<Material> {
    // Whiteouts are device nodes.
    if !(require::root() && require::program("qemu-system-x86_64") && require::program("ldd")) {
        return None;
    }
    let files = overboot_testkit::kernel::debian(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let dir = tempfile::Builder::new().prefix("node").tempdir_in("/tmp").unwrap();
    let kernel = Kernel::open(&files).unwrap();
    let image = kernel.image().to_owned();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let public = pair.pk.to_box().unwrap().into_string().into_bytes();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_overboot-node"));
    let mut initrd = vec![file("etc/overboot/keys/test.pub", 0o644, public)];
    // The test's program is not static, as the real one is: its libraries come along.
    for library in libraries(&program) {
        let path = library.strip_prefix("/").unwrap().display().to_string();
        let path = path.strip_prefix("lib/").map(|p| format!("usr/lib/{p}")).unwrap_or(path);
        initrd.push(file(&path, 0o755, fs::read(&library).unwrap()));
    }
    let spec = InitrdSpec {
        init: &fs::read(&program).unwrap(),
        kernel: &kernel.read_modules(None).unwrap(),
        patterns: &["virtio_net".to_owned(), "e1000".to_owned()],
        files: &initrd,
        compression: Zstd { level: 3, ..Zstd::default() },
    };
    let out = fs::File::create(dir.path().join("initrd.img")).unwrap();
    overboot_pack::initrd::pack(&spec, out).unwrap();
    let (base, overlay_image, overlay_archive) = layers(dir.path(), &program);
    Some(Material { dir, kernel: image, base, overlay_image, overlay_archive, pair })
}

fn file(path: &str, mode: u16, content: Vec<u8>) -> InitrdFile {
    InitrdFile { path: path.to_owned(), mode, content }
}

/// The libraries of a program, its loader among them.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// A root of the host's own few programs and no init system, and two overlays on it.
fn layers(dir: &Path, program: &Path) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let root = dir.join("root");
    for folder in ["usr/bin", "usr/lib", "etc", "opt/downloads"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib")] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    let mut libraries = libraries(program);
    for name in PROGRAMS {
        let path = ["/usr/bin", "/bin"].map(|f| Path::new(f).join(name));
        let path = path.iter().find(|path| path.exists()).unwrap();
        fs::copy(path, root.join("usr/bin").join(name)).unwrap();
        libraries.extend(self::libraries(path));
    }
    for library in libraries {
        let to = root.join(library.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&library, to).unwrap();
    }
    fs::write(root.join("etc/from"), "base\n").unwrap();
    fs::write(root.join("etc/gone-one"), "").unwrap();
    fs::write(root.join("etc/gone-two"), "").unwrap();
    fs::write(root.join("opt/rc.local.hooks"), "echo hooked > /etc/hooked\n").unwrap();
    // The machine has no BMC. What is asked of one, the console says.
    let ipmitool = root.join("usr/bin/ipmitool");
    fs::write(&ipmitool, "#!/bin/sh\necho \"ipmitool $*\" > /dev/console\nexit 1\n").unwrap();
    fs::set_permissions(&ipmitool, fs::Permissions::from_mode(0o755)).unwrap();
    // Incompressible, so that there is something to stream.
    let noise: Vec<u8> = (0u32..6 << 20)
        .map(|i| (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fs::write(root.join("opt/noise"), noise).unwrap();

    let upper = |name: &str, gone: &str| {
        let upper = dir.join(name);
        fs::create_dir_all(upper.join("etc")).unwrap();
        fs::write(upper.join("etc").join(name), "here\n").unwrap();
        fs::write(upper.join("etc/from"), format!("{name}\n")).unwrap();
        let whiteout = upper.join("etc").join(gone);
        let made = Command::new("mknod").arg(&whiteout).args(["c", "0", "0"]).status().unwrap();
        assert!(made.success());
        upper
    };
    let scan = ScanOptions::default();
    let squashfs = overboot_squashfs::Options::default();
    let path = dir.join("image");
    let mut quiet = |_: u64| {};
    let open = || fs::File::create(&path).unwrap();
    image::write_squashfs(&root, &scan, &squashfs, open(), &mut quiet).unwrap();
    let base = fs::read(&path).unwrap();
    let one = upper("overlay-one", "gone-one");
    overlay::write_squashfs(&one, &scan, &squashfs, open(), &mut quiet).unwrap();
    let image = fs::read(&path).unwrap();
    let two = upper("overlay-two", "gone-two");
    let two = overlay::scan(&two, &scan).unwrap().entries;
    overlay::write_cpio_gz("two", two, &[], open()).unwrap();
    (base, image, fs::read(&path).unwrap())
}

impl Material {
    /// The boot set of base and both overlays.
    pub(crate) fn set(&self) -> BootSet {
        let layer =
            |name: &str, format, bytes: &[u8]| Layer::of_reader(name, format, bytes).unwrap();
        let blob = Blob::of_reader(&b"not looked at by a node"[..]).unwrap();
        BootSet {
            format: BootSet::FORMAT,
            name: "test".to_owned(),
            kernel: blob,
            initrd: vec![blob],
            firmware: None,
            modules: None,
            base: layer("base", LayerFormat::Squashfs, &self.base),
            overlays: vec![
                layer("one", LayerFormat::Squashfs, &self.overlay_image),
                layer("two", LayerFormat::CpioGz, &self.overlay_archive),
            ],
            cmdline: String::new(),
            ram_min: 128 << 20,
        }
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        minisign::sign(None, &self.pair.sk, bytes, None, None).unwrap().into_string().into_bytes()
    }

    /// Starts a machine with two cards, whose command line ends with `cmdline`. Unless that says it otherwise, `BOOTIF`
    /// names the second card as pxelinux does.
    pub(crate) fn start(&self, cmdline: &str) -> TestMachine {
        let bootif = match cmdline.contains("BOOTIF=") {
            true => String::new(),
            false => format!("BOOTIF=01-{}", MAC.replace(':', "-")),
        };
        let cmdline =
            format!("console=ttyS0,115200n8 quiet panic=1 overboot.patience=20 {bootif} {cmdline}");
        let initrd = Some(self.dir.path().join("initrd.img"));
        let mut config =
            MachineConfig::new(Boot::Kernel { kernel: self.kernel.clone(), initrd, cmdline });
        config.memory_mib = 512;
        config.accel = accel(&self.kernel);
        config.restart_ends = true;
        for mac in [DECOY, MAC] {
            let network = Network::User { bootfile: None, forwards: Vec::new() };
            config.nics.push(Nic { mac: mac.to_owned(), network });
        }
        TestMachine::start(&config)
    }
}
