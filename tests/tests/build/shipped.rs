//! Every recipe that ships, built from the real archive. What vendors let nobody ship is replaced by stand-ins that the test
//! makes: small ones, so sizes are those of all that is not the vendors'.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_testkit::archive::Deb;
use overboot_testkit::program::run;
use overboot_testkit::{images, require};
use serde_json::Value;

use crate::project::{Project, folder, names};

/// What base and ten overlays may take in the store of a boot server. RackHD's manual reckoned 50 MB and ten times 5 MB.
const LIMIT: u64 = 95_000_000;

/// Programs that users of the shipped overlays expect, and packages that dpkg must know on the node.
const EXPECTED: &[(&str, &[&str], &[&str])] = &[
    ("discovery", DISCOVERY, &["dmidecode", "lldpd", "pciutils"]),
    ("raid", &["opt/MegaRAID/storcli/storcli64"], &["storcli", "lshw"]),
    ("dell-raid", &["opt/MegaRAID/perccli/perccli64"], &["perccli", "lshw"]),
    (
        "secure-erase",
        &[
            "usr/bin/sg_sanitize",
            "usr/bin/sg_format",
            "usr/sbin/hdparm",
            "usr/bin/scrub",
            "usr/sbin/nvme",
            "usr/sbin/sgdisk",
            "usr/bin/lsscsi",
            "usr/bin/lshw",
        ],
        &["sg3-utils", "scrub", "gdisk"],
    ),
    (
        "intel-flash",
        &["opt/intel/flashupdt", "opt/intel/syscfg", "usr/bin/unzip"],
        &["lib32z1", "lib32ncurses6", "lib32stdc++6"],
    ),
    ("quanta-flash", &["opt/afulnx", "opt/socflash", "opt/rc.local.hooks"], &[]),
];

/// Discovery's programs, which the overlays for RAID controllers have too.
const DISCOVERY: &[&str] = &[
    "usr/sbin/dmidecode",
    "usr/bin/lshw",
    "usr/bin/lsscsi",
    "usr/bin/lspci",
    "usr/sbin/ethtool",
    "usr/sbin/smartctl",
    "usr/sbin/lldpcli",
    "usr/sbin/hdparm",
    "usr/sbin/nvme",
];

/// What 32-bit programs find their libraries by, and these.
const THIRTY_TWO_BITS: &[&str] = &[
    "usr/lib/ld-linux.so.2",
    "usr/lib32/libz.so.1",
    "usr/lib32/libncurses.so.6",
    "usr/lib32/libstdc++.so.6",
];

/// Overlays that sites have besides: a test of the network, disks put in order, a place for Python scripts, what to burn in with.
const OTHERS: &[(&str, &str)] = &[
    ("network", r#""tcpdump", "iperf3", "mtr-tiny", "iputils-ping", "traceroute""#),
    ("disks", r#""parted", "mdadm", "lvm2", "e2fsprogs", "dosfstools", "partclone""#),
    ("python", r#""python3""#),
    ("burn-in", r#""memtester", "stressapptest", "ioping""#),
];

/// AMI's tool, as far as the recipe uses it: it brings the source of a driver, and builds it.
const AFULNX: &str = r#"#!/bin/sh -e
[ "$1" = /MAKEDRV ] || { echo "usage: afulnx /MAKEDRV KERNEL=FOLDER" >&2; exit 1; }
cat > amifldrv_mod.c <<'C'
#include <linux/module.h>
static int __init begin(void) { pr_info("amifldrv: here\n"); return 0; }
static void __exit end(void) {}
module_init(begin);
module_exit(end);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a stand-in for AMI's driver");
C
echo 'obj-m := amifldrv_mod.o' > Makefile
make -C "${2#KERNEL=}" M="$PWD" modules
mv amifldrv_mod.ko amifldrv_mod.o
"#;

#[test]
fn every_recipe_that_ships_is_built_and_ten_overlays_fit_on_the_boot_server() {
    if !(require::root() && require::programs(&["unsquashfs", "modinfo"])) {
        return;
    }
    let folder = folder();
    let project = project(folder.path());
    let built = project.run(&["build"]);
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success() && !said.contains("left out"), "{said}");

    let mut trees = Vec::new();
    for (name, programs, packages) in EXPECTED {
        let tree = Overlay::unpack(&project, name, folder.path());
        tree.has(programs, packages);
        trees.push(tree);
    }
    let [_, raid, dell, _, intel, quanta] = &trees[..] else { unreachable!("six are expected") };
    raid.has(DISCOVERY, &[]);
    dell.has(DISCOVERY, &[]);
    intel.has_files(THIRTY_TWO_BITS);
    driver_is_built_and_its_compiler_is_gone(&project, quanta);
    base_full_is_debians_standard_system(&project);
    the_store_is_small_enough(&project);
    // The compiler's doing, too, is the same each time.
    project.succeed(&["verify", "--rebuild", "overlay/quanta-flash"]);
    a_driver_for_another_kernel_is_not_made(&project);
}

/// The project of `init --with all`, with stand-ins in all slots and a site's own overlays.
fn project(folder: &Path) -> Project {
    let project = Project::at(&folder.join("project"), images::cache());
    let mut init = Command::new(overboot_testkit::overboot());
    run(init.args(["init", "--with", "all"]).arg(&project.folder));
    let slot = |name: &str, contents: &[u8]| {
        let vendor = project.folder.join("vendor");
        fs::create_dir_all(&vendor).unwrap();
        fs::write(vendor.join(name), contents).unwrap();
    };
    for tool in ["storcli", "perccli"] {
        let path = format!("opt/MegaRAID/{tool}/{tool}64");
        let deb = Deb::new(tool, "007.3007.0000.0000").field("Depends", "libc6");
        slot(
            &format!("{tool}.deb"),
            &deb.file(&path, 0o755, b"#!/bin/sh\necho controllers: 0\n").build(),
        );
    }
    for tool in ["flashupdt", "syscfg", "socflash"] {
        slot(tool, format!("#!/bin/sh\necho {tool}\n").as_bytes());
    }
    slot("afulnx", AFULNX.as_bytes());
    let others = OTHERS.iter().map(|(name, packages)| {
        format!("\n[overlay.{name}]\nbase = \"base\"\n[[overlay.{name}.provision]]\npackages = [{packages}]\n")
    });
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    project.write_recipe(&(recipe + &others.collect::<String>()));
    project
}

/// What is in an overlay's image.
struct Overlay {
    name: String,
    tree: PathBuf,
    packages: BTreeSet<String>,
}

impl Overlay {
    fn unpack(project: &Project, name: &str, folder: &Path) -> Self {
        let image = project.blob(&project.images()[&format!("overlay/{name}")].0);
        let tree = folder.join(name);
        run(Command::new("unsquashfs")
            .args(["-quiet", "-no-progress", "-d"])
            .arg(&tree)
            .arg(image));
        let note = tree.join(format!("usr/lib/overboot/overlays/{name}.json"));
        // One that changed no database has none.
        let note = fs::read(note).unwrap_or_else(|_| b"{}".to_vec());
        let note: Value = serde_json::from_slice(&note).unwrap();
        // Such as `lshw amd64`.
        let put = note["databases"]["var/lib/dpkg/status"]["put"].as_object();
        let names = put.into_iter().flatten().filter_map(|(name, _)| name.split(' ').next());
        Self { name: name.to_owned(), tree, packages: names.map(str::to_owned).collect() }
    }

    /// Programs that may be run, and packages that dpkg knows.
    #[track_caller]
    fn has(&self, programs: &[&str], packages: &[&str]) {
        for program in programs {
            let found = fs::metadata(self.tree.join(program));
            let found = found.unwrap_or_else(|error| panic!("{}: {program}: {error}", self.name));
            assert_eq!(found.permissions().mode() & 0o500, 0o500, "{}: {program}", self.name);
        }
        for package in packages {
            assert!(
                self.packages.contains(*package),
                "{}: {package}: {:?}",
                self.name,
                self.packages
            );
        }
    }

    #[track_caller]
    fn has_files(&self, paths: &[&str]) {
        for path in paths {
            assert!(self.tree.join(path).exists(), "{}: {path}", self.name);
        }
    }

    /// Everything in it but folders, by its path.
    fn paths(&self) -> Vec<String> {
        let (mut paths, mut folders) = (Vec::new(), vec![self.tree.clone()]);
        while let Some(folder) = folders.pop() {
            for path in names(&folder) {
                if fs::symlink_metadata(&path).unwrap().is_dir() {
                    folders.push(path);
                } else {
                    paths.push(path.strip_prefix(&self.tree).unwrap().display().to_string());
                }
            }
        }
        paths.sort();
        paths
    }
}

/// It is for the kernel that is in the store, and of what built it nothing is left.
fn driver_is_built_and_its_compiler_is_gone(project: &Project, overlay: &Overlay) {
    // modinfo(8) takes what ends otherwise for a module's name.
    let driver = overlay.tree.with_extension("ko");
    fs::copy(overlay.tree.join("opt/amifldrv_mod.o"), &driver).unwrap();
    let made_for = run(Command::new("modinfo").args(["-F", "vermagic"]).arg(&driver));
    let modules = project.blob(&project.images()["modules/default"].0);
    let listed = run(Command::new("unsquashfs").args(["-d", "", "-l"]).arg(modules));
    let version = listed.lines().find_map(|line| line.strip_prefix("/usr/lib/modules/"));
    let version = version.unwrap().split('/').next().unwrap();
    assert_eq!(made_for.split(' ').next(), Some(version));
    let wanted = [
        "etc/dpkg/dpkg.cfg.d/overboot-quanta-flash",
        "opt/afulnx",
        "opt/amifldrv_mod.o",
        "opt/rc.local.hooks",
        "opt/socflash",
    ];
    assert_eq!(overlay.paths(), wanted);
    assert!(overlay.packages.is_empty(), "{:?}", overlay.packages);
}

/// The headers that the recipe names are those of the archive's usual kernel, which need not be the project's.
fn a_driver_for_another_kernel_is_not_made(project: &Project) {
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    let usual = "package = \"linux-image-amd64\"";
    assert!(recipe.contains(usual));
    project.write_recipe(&recipe.replacen(usual, "package = \"linux-image-cloud-amd64\"", 1));
    project.succeed(&["lock"]);
    let said = project.fail(&["build", "overlay/quanta-flash"]);
    let kernel = said.split("the kernel of the project is ").nth(1).unwrap();
    let kernel = kernel.split(',').next().unwrap();
    assert!(kernel.ends_with("-cloud-amd64"), "{said}");
    assert!(said.contains(&format!("linux-headers-{kernel}")), "{said}");
}

/// It has what `base` has, and what Debian gives those who install it and choose nothing.
fn base_full_is_debians_standard_system(project: &Project) {
    let status = project.tree("base-base-full").join("var/lib/dpkg/status");
    let status = fs::read_to_string(status).unwrap();
    for package in ["man-db", "bash-completion", "openssh-server", "systemd-sysv", "ipmitool"] {
        assert!(status.contains(&format!("Package: {package}\n")), "{package}: {status}");
    }
}

/// All that the base and ten overlays need of the store: manifests, images, what is noted of them.
fn the_store_is_small_enough(project: &Project) {
    let overlays: Vec<&str> = EXPECTED
        .iter()
        .map(|(name, ..)| *name)
        .chain(OTHERS.iter().map(|(name, _)| *name))
        .collect();
    assert_eq!(overlays.len(), 10);
    let targets = overlays.iter().map(|name| format!("overlay/{name}"));
    let mut needed = BTreeSet::new();
    for target in std::iter::once("base/base".to_owned()).chain(targets) {
        let blobs = project.blobs(&target);
        let size = |digest: &String| fs::metadata(project.blob(digest)).unwrap().len();
        let (image, _) = &project.images()[&target];
        eprintln!(
            "{target}: {} bytes, its image {}",
            blobs.iter().map(size).sum::<u64>(),
            size(image)
        );
        needed.extend(blobs);
    }
    let bytes: u64 =
        needed.iter().map(|digest| fs::metadata(project.blob(digest)).unwrap().len()).sum();
    eprintln!("base and ten overlays: {bytes} of {LIMIT} bytes");
    assert!(bytes <= LIMIT, "base and ten overlays take {bytes} bytes, more than {LIMIT}");
    let (_, full) = &project.images()["base/base-full"];
    eprintln!("base/base-full: {full} bytes");
}
