//! Modules of the kernel in bases and overlays, found on a node beside those of the layer beneath.

use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_node::init::module_index;
use overboot_testkit::program::run;
use overboot_testkit::require;

use crate::provisioners::{paths, with};
use crate::small::{self, KERNEL, Small};

fn possible() -> bool {
    small::possible() && require::programs(&["unsquashfs", "modprobe"])
}

/// An image of the store as a tree.
fn unpacked(small: &Small, target: &str, folder: &Path) -> PathBuf {
    let (digest, _) = &small.project.images()[target];
    let tree = folder.join(target.replace('/', "-"));
    run(Command::new("unsquashfs")
        .args(["-no-progress", "-quiet", "-d"])
        .arg(&tree)
        .arg(small.project.blob(digest)));
    tree
}

/// What modprobe would load, by the modules' names.
fn depends(root: &Path, wanted: &str) -> Vec<String> {
    let mut command = Command::new("modprobe");
    command.arg("-d").arg(root).args(["-S", KERNEL, "-C", "/dev/null", "--show-depends", wanted]);
    let said = run(&mut command);
    let name = |line: &str| line.trim().rsplit('/').next().unwrap().to_owned();
    said.lines().map(name).collect()
}

#[test]
fn modprobe_finds_the_modules_of_all_layers() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[overlay.drivers]
base = "base"
[[overlay.drivers.provision]]
modules = ["kernel/drivers/net/**"]
[[overlay.drivers.provision]]
modules = ["overlay", "no-such-module"]

[overlay.copies]
base = "base"
[[overlay.copies.provision]]
modules = ["kernel/drivers/net/**", "kernel/drivers/block/**"]
to = "/opt/drivers"
"#,
    );
    let path = small.project.folder.join("overboot.toml");
    let recipe = std::fs::read_to_string(&path).unwrap();
    // The layer beneath lacks what the overlay brings.
    let recipe = recipe.replace("include = [\"kernel/**\"]", "include = [\"loop\"]");
    small.project.write_recipe(&recipe);
    let built = small.project.run(&["build"]);
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    crate::project::succeeded(&built);
    let warned = said.lines().find(|line| line.contains("matches no-such-module")).unwrap();
    assert!(warned.contains("warning: ") && warned.contains("overboot.toml:"), "{warned}");

    let copies = paths(&small, "overlay/copies");
    let copied: Vec<&str> =
        copies.iter().filter_map(|path| path.strip_prefix("opt/drivers/")).collect();
    assert_eq!(copied, ["acme.ko", "bolts.ko", "loop.ko"]);
    assert!(!copies.iter().any(|path| path.starts_with("usr/lib/modules")), "{copies:?}");

    // Whose they are is known, though dpkg knows nothing of them.
    let listed = small.project.succeed(&["inspect", "overlay/copies", "--packages"]);
    assert!(listed.contains("linux-image-small"), "{listed}");

    // A node unites the layers, and so do these.
    let folder = crate::project::folder();
    let layers: Vec<PathBuf> = ["base/base", "modules/default", "overlay/drivers"]
        .map(|target| unpacked(&small, target, folder.path()))
        .into();
    let root = folder.path().join("root");
    for layer in &layers {
        run(Command::new("cp").args(["-a", "--no-target-directory"]).arg(layer).arg(&root));
    }
    assert_eq!(depends(&root, "acme"), ["bolts.ko", "acme.ko"]);
    let loops = |root: &Path| {
        let mut command = Command::new("modprobe");
        command.arg("-d").arg(root).args(["-S", KERNEL, "--show-depends", "loop"]);
        command.output().unwrap().status.success()
    };
    assert!(!loops(&root), "the overlay's index hides that of the layer beneath");
    module_index::merge(&layers, &root, KERNEL).unwrap();
    for (wanted, found) in [
        ("loop", &["loop.ko"][..]),
        ("block-major-7-3", &["loop.ko"]),
        ("acme", &["bolts.ko", "acme.ko"]),
        ("pci:v0000ACEDd0001", &["bolts.ko", "acme.ko"]),
        ("fs-overlay", &["overlay.ko"]),
    ] {
        assert_eq!(depends(&root, wanted), found, "{wanted}");
    }

    // The kernel is an input of theirs, and so are the patterns.
    let other =
        recipe.replace("modules = [\"overlay\", \"no-such-module\"]", "modules = [\"overlay\"]");
    small.project.write_recipe(&other);
    let plan = small.project.succeed(&["plan", "overlay/drivers", "overlay/copies"]);
    assert!(plan.contains("step 2 modules changed"), "{plan}");
    assert!(plan.contains("overlay/copies           unchanged"), "{plan}");
    small
        .project
        .write_recipe(&recipe.replace("\"overlay\", \"no-such", "\"none-such\", \"no-such"));
    let said = small.project.fail(&["build", "overlay/drivers"]);
    assert!(said.contains("no module of the kernel") && said.contains("none-such"), "{said}");
    assert!(said.contains("overboot.toml:"), "{said}");
}

#[test]
fn a_bases_modules_and_those_of_an_overlay_add_up() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[[base.base.provision]]
modules = ["loop"]

[overlay.drivers]
base = "base"
[[overlay.drivers.provision]]
modules = ["acme"]
"#,
    );
    small.project.succeed(&["build", "overlay/drivers"]);
    let drivers = paths(&small, "overlay/drivers");
    let ours = format!("usr/lib/modules/{KERNEL}/");
    let found: Vec<&str> = drivers.iter().filter_map(|path| path.strip_prefix(&ours)).collect();
    // What is as in the base stays the base's.
    assert!(
        found.contains(&"kernel/drivers/net/acme.ko") && !found.contains(&"modules.builtin"),
        "{found:?}"
    );
    let folder = crate::project::folder();
    let root = folder.path().join("root");
    for target in ["base/base", "overlay/drivers"] {
        let layer = unpacked(&small, target, folder.path());
        run(Command::new("cp").args(["-a", "--no-target-directory"]).arg(layer).arg(&root));
    }
    assert_eq!(depends(&root, "loop"), ["loop.ko"]);
    assert_eq!(depends(&root, "acme"), ["bolts.ko", "acme.ko"]);
    let checked = small.project.succeed(&["check"]);
    assert!(checked.contains("valid"), "{checked}");
}
