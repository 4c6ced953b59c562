//! Container images as the source of bases and overlays: from a layout of the project, and from a real registry.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use overboot_testkit::container::{Layer, Packing, layout};
use overboot_testkit::program::run;
use overboot_testkit::registry::{PASSWORD, Registry, USERNAME};
use overboot_testkit::require;

use crate::project::{Project, failed, succeeded};
use crate::provisioners::{paths, text, with};
use crate::registry;
use crate::small::{self, Small};

fn possible() -> bool {
    small::possible() && require::programs(&["unsquashfs", "tar"])
}

/// A vendor's tool, as an image of two layers: what it says, and what of the first layer is no longer there.
fn tool(says: &str) -> [(Layer, Packing); 2] {
    let first = Layer::new()
        .folder("opt/tool", 0o755)
        .file("opt/tool/run", 0o755, says.as_bytes())
        .file("opt/tool/gone", 0o644, b"gone")
        .file(".dockerenv", 0o755, b"")
        .file("etc/machine-id", 0o644, b"0123456789abcdef0123456789abcdef\n");
    [(first, Packing::Gzip), (Layer::new().whiteout("opt/tool", "gone"), Packing::Zstd)]
}

/// What the lock says of container images.
fn locked(project: &Project) -> Vec<(String, String)> {
    let lock = fs::read_to_string(project.folder.join("overboot.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let containers = lock.get("container").and_then(|found| found.as_array()).cloned();
    let containers = containers.unwrap_or_default();
    containers.iter().map(|one| (text(&one["image"]), text(&one["manifest"]))).collect()
}

/// The packages that the lock has for an image.
fn packages(project: &Project, target: &str) -> String {
    let lock = fs::read_to_string(project.folder.join("overboot.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    lock["image"][target]["steps"].to_string()
}

/// The tree of a base that was built, as a layer.
fn as_layer(small: &Small, base: &str) -> Layer {
    let tree = small.project.tree(base);
    let packed = Command::new("tar").arg("-C").arg(tree).args(["-c", "."]).output().unwrap();
    assert!(packed.status.success());
    Layer::of_tar(packed.stdout)
}

#[test]
fn an_overlay_is_made_of_a_layout_of_the_project() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[overlay.tool]
base = "base"
[[overlay.tool.provision]]
container = "oci:vendor/images:tool"
"#,
    );
    let images = small.project.folder.join("vendor/images");
    let said = small.project.fail(&["build", "overlay/tool"]);
    assert!(said.contains("there is no folder \"vendor/images\""), "{said}");
    let manifest = layout(&images, "tool", "amd64", &tool("one"));
    layout(&images, "other", "amd64", &tool("other"));
    small.project.succeed(&["build", "overlay/tool"]);
    let image = "oci:vendor/images:tool".to_owned();
    assert_eq!(locked(&small.project), [(image, manifest.to_string())]);
    let found = paths(&small, "overlay/tool");
    assert!(!found.iter().any(|path| path == "opt/tool/gone" || path == ".dockerenv"), "{found:?}");
    assert_eq!(text(&small, "overlay/tool", "opt/tool/run"), "one");
    assert_eq!(text(&small, "overlay/tool", "etc/machine-id"), "", "no machine's identity");

    // Nothing has changed, and nothing does.
    let before = small.project.visible();
    small.project.succeed(&["lock", "--update"]);
    let plan = small.project.succeed(&["plan", "overlay/tool"]);
    assert!(plan.contains("overlay/tool             unchanged"), "{plan}");
    assert_eq!(small.project.visible(), before);

    // Another image under that name is noticed.
    fs::remove_dir_all(&images).unwrap();
    layout(&images, "tool", "amd64", &tool("two"));
    let planned = small.project.run(&["plan", "overlay/tool"]);
    let (plan, said) = (succeeded(&planned), String::from_utf8_lossy(&planned.stderr).into_owned());
    assert!(said.contains("other packages or container images"), "{said}");
    assert!(plan.contains("step 1 container oci:vendor/images:tool changed"), "{plan}");
    small.project.succeed(&["build", "overlay/tool"]);
    assert_eq!(text(&small, "overlay/tool", "opt/tool/run"), "two");

    // Of the image that it was before, nothing is kept.
    small.project.succeed(&["gc", "--days", "0"]);
    let cached = fs::read_dir(small.project.cache.join("images/sha256")).unwrap().count();
    assert_eq!(cached, 4, "a manifest, a config, two layers");
    small.project.succeed(&["verify", "--rebuild", "--offline", "overlay/tool"]);

    // One for other machines is none.
    fs::remove_dir_all(&images).unwrap();
    layout(&images, "tool", "arm64", &tool("three"));
    let said = small.project.fail(&["build", "overlay/tool"]);
    assert!(said.contains("overboot.toml:") && said.contains("linux/amd64"), "{said}");
}

#[test]
fn a_base_starts_from_a_container_image_and_packages_come_on_top() {
    if !possible() {
        return;
    }
    let small = with("");
    small.project.succeed(&["build", "base/base"]);
    let system = as_layer(&small, "base-base");
    layout(&small.project.folder.join("vendor"), "system", "amd64", &[(system, Packing::Zstd)]);
    let recipe = small::recipe(&small.project.key(), &small.server.uri());
    small.project.write_recipe(&format!(
        "{recipe}{}",
        r#"
[base.contained]
variant = "none"
[[base.contained.provision]]
container = "oci:vendor"
[[base.contained.provision]]
packages = ["hammer"]

[overlay.more]
base = "contained"
[[overlay.more.provision]]
packages = ["ipxe"]
"#
    ));
    small.project.succeed(&["build", "overlay/more", "set/contained"]);
    // What dpkg knows of in the image is not installed again.
    let chosen = packages(&small.project, "base/contained");
    assert!(chosen.contains("hammer=2.0") && !chosen.contains("greeter"), "{chosen}");
    assert!(!packages(&small.project, "overlay/more").contains("hammer"));
    let status = text(&small, "base/contained", "var/lib/dpkg/status");
    for package in ["system", "greeter", "hammer"] {
        assert!(status.contains(&format!("Package: {package}\n")), "{status}");
    }
    assert_eq!(status.matches("\nStatus: install ok installed\n").count(), 3, "{status}");
    assert_eq!(text(&small, "base/contained", "etc/hammered"), "hit\n", "configured by its dpkg");
    let listed = small.project.succeed(&["inspect", "base/contained", "--packages"]);
    assert!(listed.contains("greeter") && listed.contains("hammer"), "{listed}");
    let checked = small.project.succeed(&["check"]);
    assert!(checked.contains("valid"), "{checked}");
}

#[test]
fn an_image_without_dpkg_is_a_base_too_but_takes_no_packages() {
    if !possible() {
        return;
    }
    let bare = r#"
[base.bare]
variant = "none"
[[base.bare.provision]]
container = "oci:vendor"
[[base.bare.provision]]
script = "inside.sh"
"#;
    let small = with(bare);
    let files = ["sh"].into_iter().flat_map(small::program);
    let mut layer = Layer::new().symlink("lib", "usr/lib").symlink("lib64", "usr/lib64");
    for (path, bytes) in files {
        layer = layer.file(&path, 0o755, &bytes);
    }
    let layer = layer.symlink("bin", "usr/bin");
    layout(&small.project.folder.join("vendor"), "bare", "amd64", &[(layer, Packing::Gzip)]);
    fs::write(small.project.folder.join("inside.sh"), "#!/bin/sh\necho made > /etc-made\n")
        .unwrap();
    small.project.succeed(&["build", "base/bare"]);
    let found = paths(&small, "base/bare");
    for path in ["etc-made", "proc", "tmp", "usr/bin/sh"] {
        assert!(found.contains(&path.to_owned()), "{path}: {found:?}");
    }
    assert!(!found.iter().any(|path| path.starts_with("etc/apt")), "{found:?}");
    small.project.succeed(&["inspect", "base/bare"]);
    small.project.succeed(&["sbom", "base/bare"]);

    let recipe = small::recipe(&small.project.key(), &small.server.uri());
    let more = "[[base.bare.provision]]\npackages = [\"greeter\"]\n";
    small.project.write_recipe(&format!("{recipe}{bare}{more}"));
    let said = small.project.fail(&["lock"]);
    assert!(said.contains("base/bare installs packages, and oci:vendor has no dpkg"), "{said}");
    assert!(said.contains("overboot.toml:") && said.contains("help: "), "{said}");
}

/// Runs a command that asks for the password of the registry.
fn with_password(project: &Project, ca: &Path, words: &[&str]) -> Output {
    let words = [words, &["--ca", ca.to_str().unwrap()]].concat();
    registry::with(PASSWORD, project, &words)
}

#[test]
fn an_overlay_is_made_of_a_registrys_image() {
    if !(possible() && require::programs(&["docker-registry", "skopeo"])) {
        return;
    }
    let registry = Registry::start();
    let image = format!("{}/team/tool:1", registry.host());
    let small = with(&format!(
        "[overlay.tool]\nbase = \"base\"\n[[overlay.tool.provision]]\ncontainer = \"{image}\"\n"
    ));
    let project = &small.project;
    let push = |says: &str| {
        let folder = tempfile::tempdir().unwrap();
        let digest = layout(folder.path(), "it", "amd64", &tool(says));
        run(Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false"])
            .args(["--dest-creds", &format!("{USERNAME}:{PASSWORD}")])
            .arg(format!("oci:{}:it", folder.path().display()))
            .arg(format!("docker://{image}")));
        digest.to_string()
    };
    let first = push("one");
    let ca = registry.ca();
    let said = project.fail(&["lock", "--ca", ca.to_str().unwrap()]);
    assert!(said.contains("overboot.toml:") && said.contains("anybody without a login"), "{said}");
    let said = project.fail(&["--offline", "lock"]);
    assert!(said.contains("the network may not be used"), "{said}");
    succeeded(&with_password(project, &ca, &["build", "overlay/tool"]));
    assert_eq!(locked(project), [(image.clone(), first)]);
    assert_eq!(text(&small, "overlay/tool", "opt/tool/run"), "one");

    // A tag that has moved changes nothing until the lock is brought up to date.
    let second = push("two");
    assert!(
        project.succeed(&["plan", "overlay/tool"]).contains("overlay/tool             unchanged")
    );
    succeeded(&with_password(project, &ca, &["lock", "--update"]));
    assert_eq!(locked(project), [(image, second)]);
    assert!(failed(&project.run(&["--offline", "build", "overlay/tool"])).contains("--offline"));
    succeeded(&with_password(project, &ca, &["build", "overlay/tool"]));
    assert_eq!(text(&small, "overlay/tool", "opt/tool/run"), "two");

    // What is in the cache needs no registry.
    drop(registry);
    let built = project.images();
    fs::remove_dir_all(project.folder.join("store")).unwrap();
    project.succeed(&["--offline", "build", "overlay/tool"]);
    assert_eq!(project.images()["overlay/tool"], built["overlay/tool"]);
}
