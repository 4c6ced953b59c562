//! A Debian of a handful of packages: all that a whole build needs, made in a second.
//!
//! Its dpkg and its shell are this machine's own, so that maintainer scripts run as they do everywhere.

use std::fs;
use std::process::Command;

use overboot_testkit::archive::{Archive, Deb, Server, SigningKey, Tree};
use overboot_testkit::kernel::module;
use overboot_testkit::program::run;
use overboot_testkit::require;

use crate::project::Project;

/// The version of its kernel.
pub const KERNEL: &str = "6.1.2-small";

/// The targets of [`recipe`], all of them.
pub const TARGETS: [&str; 8] = [
    "base/base",
    "initrd/default",
    "ipxe",
    "kernel",
    "modules/default",
    "overlay/tools",
    "set/base",
    "set/tools",
];

/// Can builds be made from it here?
pub fn possible() -> bool {
    require::root() && require::programs(&["dpkg", "sh", "ldd"])
}

/// An archive that is served, and a project that takes its packages from there.
#[derive(Debug)]
pub struct Small {
    pub server: Server,
    pub key: SigningKey,
    pub project: Project,
    _folder: tempfile::TempDir,
}

impl Small {
    /// With the packages of [`archive`].
    pub fn new() -> Self {
        Self::with(archive())
    }

    /// With those packages.
    pub fn with(archive: Archive) -> Self {
        let key = SigningKey::generate();
        Self::of(archive.build(&key), key)
    }

    /// With the archives in a tree.
    pub fn of(tree: Tree, key: SigningKey) -> Self {
        let server = Server::start(tree);
        let folder = crate::project::folder();
        let project = Project::init(folder.path().join("project"), folder.path().join("cache"));
        fs::write(project.folder.join("archive.asc"), key.armored_certificate()).unwrap();
        fs::write(project.folder.join("overlays/tools.sh"), "echo made > /etc/tools\n").unwrap();
        project.write_recipe(&recipe(&project.key(), &server.uri()));
        Self { server, key, project, _folder: folder }
    }
}

/// A recipe for every kind of target.
pub fn recipe(key: &str, mirror: &str) -> String {
    format!(
        r#"[project]
name = "small"
trust = ["{key}"]

[archive]
suite = "trixie"
mirror = "{mirror}"
keyring = "archive.asc"
updates = false
security = false

[kernel]
package = "linux-image-small"

[initrd.default]
modules = ["kernel/drivers/net/**"]

[modules.default]
include = ["kernel/**"]

[base.base]
variant = "minbase"

[[base.base.provision]]
packages = ["greeter"]

[overlay.tools]
base = "base"

[[overlay.tools.provision]]
packages = ["hammer"]

[[overlay.tools.provision]]
script = "overlays/tools.sh"
"#
    )
}

/// The packages of [`recipe`].
pub fn archive() -> Archive {
    Archive::new("trixie")
        .package(system())
        .package(
            Deb::new("greeter", "1.0")
                .field("Depends", "system")
                .control_file("postinst", 0o755, b"#!/bin/sh\necho \"$1\" > /etc/greeted\n")
                .file("usr/bin/greet", 0o755, b"#!/bin/sh\necho hello\n")
                .file("usr/share/greeter/noise", 0o644, &noise(8 << 20)),
        )
        .package(hammer())
        .package(kernel())
        .package(loaders())
}

/// The network boot loaders.
pub fn loaders() -> Deb {
    Deb::new("ipxe", "1.0")
        .for_architecture("all")
        .file("usr/lib/ipxe/undionly.kpxe", 0o644, b"bios")
        .file("usr/lib/ipxe/ipxe.efi", 0o644, b"uefi")
        .file("usr/lib/ipxe/snponly.efi", 0o644, b"uefi, the card's own driver")
}

/// What the overlay is made of.
pub fn hammer() -> Deb {
    Deb::new("hammer", "2.0")
        .field("Depends", "greeter (>= 1.0)")
        .control_file("postinst", 0o755, b"#!/bin/sh\necho hit > /etc/hammered\n")
        .file("usr/bin/hammer", 0o755, b"#!/bin/sh\necho bang\n")
        .file("usr/share/hammer/noise", 0o644, &noise(2 << 20))
}

/// The essential package: a shell, dpkg, and by name what dpkg wants to see before it starts.
pub fn system() -> Deb {
    let mut deb = Deb::new("system", "1.0")
        .field("Essential", "yes")
        .field("Priority", "required")
        .symlink("bin", "usr/bin")
        .symlink("sbin", "usr/sbin")
        .symlink("lib", "usr/lib")
        .symlink("lib64", "usr/lib64")
        .directory("etc", 0o755)
        .directory("tmp", 0o1777)
        .directory("var/log", 0o755);
    for (path, bytes) in ["sh", "dpkg"].into_iter().flat_map(program) {
        deb = deb.file(&path, 0o755, &bytes);
    }
    for name in ["rm", "tar", "diff", "dpkg-deb", "dpkg-split", "ldconfig", "start-stop-daemon"] {
        let folder = if name == "ldconfig" || name == "start-stop-daemon" { "sbin" } else { "bin" };
        deb = deb.file(&format!("usr/{folder}/{name}"), 0o755, b"#!/bin/sh\nexit 0\n");
    }
    deb
}

/// This machine's own program of that name with its libraries, by their paths in a tree.
pub fn program(name: &str) -> Vec<(String, Vec<u8>)> {
    let path = run(Command::new("sh").args(["-c", &format!("command -v {name}")]));
    let path = path.trim();
    let mut files = vec![(format!("usr/bin/{name}"), fs::read(path).unwrap())];
    for library in run(Command::new("ldd").arg(path)).split_whitespace() {
        if let Some(name) = library.strip_prefix('/') {
            let name = name.strip_prefix("usr/").unwrap_or(name);
            files.push((format!("usr/{name}"), fs::read(library).unwrap()));
        }
    }
    files
}

/// A kernel that boots nothing, with the modules that every initrd wants.
pub fn kernel() -> Deb {
    let deb = Deb::new("linux-image-small", "6.1.2").file(
        &format!("boot/vmlinuz-{KERNEL}"),
        0o644,
        &noise(1 << 20),
    );
    let modules = [
        ("drivers/block/loop.ko", "alias=block-major-7-*\0alias=devname:loop-control\0"),
        ("fs/overlayfs/overlay.ko", "alias=fs-overlay\0"),
        ("drivers/net/acme.ko", "alias=pci:v0000ACEDd*\0depends=bolts\0firmware=acme/nic.fw\0"),
        ("lib/bolts.ko", "alias=symbol-of-bolts\0"),
    ];
    with_modules(deb, &format!("usr/lib/modules/{KERNEL}"), &modules)
}

/// A package with those modules, and what a kernel's build writes beside them.
pub fn with_modules(deb: Deb, folder: &str, modules: &[(&str, &str)]) -> Deb {
    let mut deb = deb
        .file(&format!("{folder}/modules.order"), 0o644, b"")
        .file(&format!("{folder}/modules.builtin"), 0o644, b"kernel/fs/squashfs/squashfs.ko\n")
        .file(&format!("{folder}/modules.builtin.modinfo"), 0o644, b"squashfs.alias=fs-squashfs\0");
    for (path, information) in modules {
        let path = format!("{folder}/kernel/{path}");
        deb = deb.file(&path, 0o644, &module(information.as_bytes()));
    }
    deb
}

/// Bytes that do not compress, the same each time: a build of them takes long enough to be killed in.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).take(length / 8).flatten().collect()
}
