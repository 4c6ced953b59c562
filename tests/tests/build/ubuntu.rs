//! Ubuntu's shape: pockets with the codename of their release, packages in zstd, two components, a kernel in several packages.
//!
//! Ubuntu's own archive is not at hand where this is tested, so a small one of that shape is made; and Debian's real packages,
//! packed as Ubuntu packs its own, make the tree that they make as Debian's.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use overboot_testkit::archive::{Archive, Deb, Server, SigningKey, Tree, as_zstd};
use overboot_testkit::program::run;
use overboot_testkit::{images, require};

use crate::inspect::owners;
use crate::project::{self, Project};
use crate::provisioners::{paths, text};
use crate::small::{self, Small};

const KERNEL: &str = "6.8.0-31-generic";

/// A suite of Ubuntu's: release and pockets have one codename.
fn suite(name: &str) -> Archive {
    Archive::new(name).codename("noble").origin("Ubuntu")
}

/// Ubuntu's packages of a kernel: an image, two packages of modules, and a meta-package that wants firmware as well.
fn kernel() -> [Deb; 4] {
    let of = |name: &str| Deb::new(&format!("linux-{name}-{KERNEL}"), "6.8.0-31.31").zstd();
    let folder = format!("lib/modules/{KERNEL}");
    let modules = [
        ("drivers/block/loop.ko", "alias=block-major-7-*\0"),
        ("fs/overlayfs/overlay.ko", "alias=fs-overlay\0"),
    ];
    let extra = [("drivers/net/acme.ko", "alias=pci:v0000ACEDd*\0")];
    let extra = extra.iter().fold(of("modules-extra"), |deb, (path, information)| {
        let module = overboot_testkit::kernel::module(information.as_bytes());
        deb.file(&format!("{folder}/kernel/{path}"), 0o644, &module)
    });
    [
        of("image")
            .field("Depends", &format!("kmod, linux-base, linux-modules-{KERNEL}"))
            .file(&format!("boot/vmlinuz-{KERNEL}"), 0o600, &small::noise(1 << 20)),
        small::with_modules(of("modules"), &folder, &modules),
        extra.field(
            "Depends",
            &format!("linux-image-{KERNEL} | linux-image-unsigned-{KERNEL}, linux-modules-{KERNEL}"),
        ),
        Deb::new("linux-image-generic", "6.8.0.31.31").zstd().field(
            "Depends",
            &format!(
                "linux-image-{KERNEL}, linux-modules-extra-{KERNEL}, linux-firmware, intel-microcode"
            ),
        ),
    ]
}

/// A whole small Ubuntu: a release, its updates and its security updates.
fn archive(key: &SigningKey) -> Tree {
    let greeter = |version: &str, words: &[u8]| {
        Deb::new("greeter", version).zstd().field("Depends", "system").file(
            "usr/bin/greet",
            0o755,
            words,
        )
    };
    let release = kernel().into_iter().fold(suite("noble"), Archive::package);
    let release = release
        .package(small::system().zstd())
        .package(greeter("1.0", b"hello"))
        .package_in("universe", small::loaders().zstd())
        .package_in(
            "universe",
            Deb::new("hammer", "2.0").zstd().file("usr/bin/hammer", 0o755, b""),
        );
    let empty = Deb::new("nothing", "1").zstd();
    let updates = suite("noble-updates").package(greeter("1.0ubuntu0.1", b"updated"));
    let security = suite("noble-security").package(greeter("1.0ubuntu0.2", b"secure"));
    let mut tree = release.build(key);
    for pocket in [updates, security] {
        tree.extend(pocket.package_in("universe", empty.clone()).build(key));
    }
    tree
}

#[test]
fn an_ubuntu_suite_is_built() {
    if !(small::possible() && require::program("unsquashfs")) {
        return;
    }
    let key = SigningKey::generate();
    let small = Small::of(archive(&key), key);
    let (project, uri) = (&small.project, small.server.uri());
    let recipe = small::recipe(&project.key(), &uri);
    // Nothing is said of components, pockets and the kernel: Ubuntu's are known.
    let recipe = recipe
        .replace("\"trixie\"", "\"noble\"")
        .replace("updates = false\nsecurity = false\n", "")
        .replace("[kernel]\npackage = \"linux-image-small\"\n", "");
    project.write_recipe(&recipe);
    project.succeed(&["build"]);

    let made: BTreeSet<String> = project.images().into_keys().collect();
    assert_eq!(made, small::TARGETS.map(str::to_owned).into());
    assert_eq!(text(&small, "base/base", "usr/bin/greet"), "secure");
    assert!(paths(&small, "overlay/tools").contains(&"usr/bin/hammer".to_owned()));
    let sources = text(&small, "base/base", "etc/apt/sources.list.d/overboot.sources");
    let stanza = |suites: &str| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main universe\n\
             Signed-By: /etc/apt/keyrings/overboot.asc\n"
        )
    };
    let both = [stanza("noble noble-updates"), stanza("noble-security")].join("\n");
    assert_eq!(sources, both);

    // The kernel's image and its modules, wherever they are, and no firmware.
    let lock = fs::read_to_string(project.folder.join("overboot.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let locked = lock["image"]["kernel"]["steps"][0][0].as_array().unwrap();
    let locked: Vec<&str> = locked.iter().map(|key| key.as_str().unwrap()).collect();
    let expected = ["image", "modules", "modules-extra"]
        .map(|name| format!("linux-{name}-{KERNEL}=6.8.0-31.31"));
    assert_eq!(locked, expected);
    let modules = owners(project, "modules/default");
    let of = |path: &str| modules[&format!("/usr/lib/modules/{KERNEL}/kernel/{path}")].clone();
    assert_eq!(of("fs/overlayfs/overlay.ko"), Some(format!("linux-modules-{KERNEL}")));
    assert_eq!(of("drivers/net/acme.ko"), Some(format!("linux-modules-extra-{KERNEL}")));
    let image = owners(project, "kernel");
    assert_eq!(image[&format!("/boot/vmlinuz-{KERNEL}")], Some(format!("linux-image-{KERNEL}")));
    assert!(
        project.succeed(&["sbom", "base/base"]).contains("pkg:deb/ubuntu/greeter@1.0ubuntu0.2")
    );
}

const MINBASE: &str = "[base.base]\nvariant = \"minbase\"\ncompression = \"lz4\"\n";

#[test]
fn real_packages_in_zstd_make_the_same_tree() {
    if !(require::root() && require::programs(&["chroot"])) {
        return;
    }
    let Some(mirror) = overboot_archive::mirror::host_mirror("debian") else {
        let _ = require::met(false, "needs a Debian mirror in this host's apt sources");
        return;
    };
    let folder = project::folder();
    let debian = Project::init(folder.path().join("debian"), images::cache());
    let head =
        |project: &Project| format!("[project]\nname = \"x\"\ntrust = [\"{}\"]\n", project.key());
    debian.write_recipe(&format!(
        "{}[archive]\nsuite = \"trixie\"\nmirror = \"{mirror}\"\n{MINBASE}",
        head(&debian)
    ));
    debian.succeed(&["build", "base/base"]);

    let lock = fs::read_to_string(debian.folder.join("overboot.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let keys = lock["image"]["base/base"]["steps"][0].as_array().unwrap();
    let keys: BTreeSet<&str> = keys
        .iter()
        .flat_map(|batch| batch.as_array().unwrap())
        .map(|key| key.as_str().unwrap())
        .collect();
    let mut archive = kernel().into_iter().fold(suite("noble"), Archive::package);
    archive = archive.package(small::loaders());
    let mut count = 0;
    for package in lock["package"].as_array().unwrap() {
        let field = |name: &str| package[name].as_str().unwrap();
        if !keys.contains(format!("{}={}", field("name"), field("version")).as_str()) {
            continue;
        }
        let digest = field("sha256").trim_start_matches("sha256:");
        let deb = debian.cache.join(format!("packages/sha256/{digest}.deb"));
        let (control, deb) = as_zstd(&fs::read(deb).unwrap());
        // What the archive says of a package and its control file does not.
        let more = format!("Priority: required\n{}", control.trim_end());
        let control = if control.contains("\nPriority: ") { control } else { more };
        archive = archive.package_file(&control, deb);
        count += 1;
    }
    assert!(count > 60, "{count} packages");
    let key = SigningKey::generate();
    let server = Server::start(archive.build(&key));
    let ubuntu = Project::init(folder.path().join("ubuntu"), folder.path().join("cache"));
    fs::write(ubuntu.folder.join("archive.asc"), key.armored_certificate()).unwrap();
    ubuntu.write_recipe(&format!(
        "{}[archive]\nsuite = \"noble\"\nmirror = \"{}\"\nkeyring = \"archive.asc\"\n\
         components = [\"main\"]\nupdates = false\nsecurity = false\n{MINBASE}",
        head(&ubuntu),
        server.uri()
    ));
    ubuntu.succeed(&["build", "base/base"]);

    let [debians, ubuntus] = [&debian, &ubuntu].map(|project| project.tree("base-base"));
    for path in ["var/lib/dpkg/status", "etc/passwd", "etc/group"] {
        let read = |tree: &std::path::Path| fs::read_to_string(tree.join(path)).unwrap();
        assert!(read(&debians) == read(&ubuntus), "{path} differs");
    }
    let list = |tree: &std::path::Path| {
        let find = "find . -printf '%p %y %m %u %g %s %l\\n' | grep -v '^./etc/apt/' | sort";
        run(Command::new("sh").args(["-c", find]).current_dir(tree).env("LC_ALL", "C"))
    };
    assert_same_lines(&list(&debians), &list(&ubuntus));
    for audit in ["--audit", "--verify"] {
        let said = run(Command::new("chroot").arg(&ubuntus).args(["dpkg", audit]));
        assert_eq!(said, "", "dpkg {audit}");
    }
}

/// The same lines, or those that differ.
#[track_caller]
fn assert_same_lines(one: &str, other: &str) {
    let [one, other] = [one, other].map(|text| text.lines().collect::<BTreeSet<_>>());
    assert!(one.len() > 3_000, "{} entries", one.len());
    let differ: Vec<_> = one.symmetric_difference(&other).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}
