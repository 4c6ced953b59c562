//! dpkg and apt are content with the base, and no image holds an identity. That trees are those that dpkg makes is what the suite
//! `fidelity` is for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_archive::mirror::{host_mirror, host_security_mirror};
use overboot_rootfs::{Root, identity};
use overboot_testkit::archive::Deb;
use overboot_testkit::program::run;
use overboot_testkit::{images, require};

use crate::project::{Project, folder, names};
use crate::small::{self, Small};

#[test]
fn dpkg_and_apt_are_content_with_the_tree() {
    if !(require::root() && require::programs(&["unshare", "chroot", "cp"])) {
        return;
    }
    let (Some(mirror), Some(security)) = (host_mirror("debian"), host_security_mirror("debian"))
    else {
        let _ = require::met(false, "needs a Debian mirror in this host's apt sources");
        return;
    };
    let shared = Project::at(images::project(), images::cache());
    let folder = folder();
    let copy = folder.path().join("copy");
    run(Command::new("cp").arg("-a").arg(shared.tree("base-base")).arg(&copy));
    for audit in ["--audit", "--verify"] {
        let said = run(Command::new("chroot").arg(&copy).args(["dpkg", audit]));
        assert_eq!(said, "", "dpkg {audit}");
    }
    // The image's own sources name the distribution's mirror, which this machine may not reach.
    let sources = copy.join("etc/apt/sources.list.d/overboot.sources");
    let text = fs::read_to_string(&sources).unwrap();
    let text = text.replace("http://ftp.debian.org/debian-security", &security);
    let text = text.replace("http://ftp.debian.org/debian", &mirror);
    fs::write(&sources, text).unwrap();
    let said = apt_installs_hello(&copy);
    assert!(said.ends_with("Hello, world!\n"), "{said}");
}

/// Has apt in the tree install a package; what all this printed, with what dpkg finds wrong afterwards at the end.
fn apt_installs_hello(tree: &Path) -> String {
    for file in ["etc/resolv.conf", "etc/hosts"] {
        fs::copy(Path::new("/").join(file), tree.join(file)).unwrap();
    }
    let script = r#"set -e
        mount -t proc proc "$1/proc"
        mount -t tmpfs -o mode=755 tmpfs "$1/dev"
        mknod -m 666 "$1/dev/null" c 1 3
        mknod -m 666 "$1/dev/urandom" c 1 9
        exec chroot "$1" sh -ec '
            export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
            apt-get check
            apt-get update
            apt-get install --yes --no-install-recommends hello
            hello
            dpkg --audit
            dpkg --verify | grep -v "^missing .*/usr/share/\(doc\|info\|man\|locale\)/" || true
        '"#;
    let isolated = ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"];
    let said = run(Command::new("unshare").args(isolated).arg(tree));
    // Triggers of packages that hello does not touch would have been left waiting by us.
    assert!(!said.contains("Processing triggers for"), "{said}");
    said
}

#[test]
fn no_image_holds_an_identity() {
    if !require::root() {
        return;
    }
    let shared = Project::at(images::project(), images::cache());
    let root = Root::open(shared.tree("base-base")).unwrap();
    assert_eq!(identity::find(&root).unwrap(), Vec::<PathBuf>::new());
    if !require::program("unsquashfs") {
        return;
    }
    let artifacts = shared.artifacts();
    for target in ["base/base", "overlay/discovery"] {
        let folder = folder();
        let tree = folder.path().join("tree");
        let image = shared.blob(&artifacts[target][0].0);
        run(Command::new("unsquashfs")
            .args(["-quiet", "-no-progress", "-d"])
            .arg(&tree)
            .arg(image));
        let root = Root::open(&tree).unwrap();
        assert_eq!(identity::find(&root).unwrap(), Vec::<PathBuf>::new(), "{target}");
        let login = fs::read_to_string(tree.join("etc/shadow")).unwrap_or_default();
        for line in login.lines() {
            let password = line.split(':').nth(1).unwrap();
            assert!(password.starts_with(['!', '*']), "{target}: a password for {line}");
        }
        let keys = names(&tree.join("root/.ssh"));
        assert_eq!(keys, Vec::<PathBuf>::new(), "{target}");
    }
}

#[test]
fn no_key_is_made_to_be_removed() {
    if !small::possible() {
        return;
    }
    // As that of openssh-server, which tells which ones it makes.
    let script = "#!/bin/sh\nset -e\nfor kind in ecdsa rsa; do\nfile=/etc/ssh/ssh_host_${kind}_key\n\
        if ! [ -f $file ]; then echo $kind >> /etc/made; echo key > $file; fi\ndone\n";
    let server = Deb::new("openssh-server", "1:10.0p1-7")
        .field("Depends", "system")
        .file("etc/ssh/moduli", 0o644, b"x")
        .control_file("postinst", 0o755, script.as_bytes());
    let small = Small::with(small::archive().package(server));
    let recipe = small::recipe(&small.project.key(), &small.server.uri())
        .replace("[\"greeter\"]", "[\"openssh-server\"]")
        .replace(
            "[overlay.tools]",
            "[[base.base.provision]]\nscript = \"seen.sh\"\n\n[overlay.tools]",
        );
    small.project.write_recipe(&recipe);
    let seen = "#!/bin/sh\necho /etc/ssh/* > /etc/seen\n";
    fs::write(small.project.folder.join("seen.sh"), seen).unwrap();
    small.project.succeed(&["build", "base/base"]);
    let tree = small.project.tree("base-base");
    let said = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
    assert_eq!(said("etc/made"), "ecdsa\n");
    assert_eq!(said("etc/seen"), "/etc/ssh/moduli /etc/ssh/ssh_host_ecdsa_key\n");
    assert_eq!(names(&tree.join("etc/ssh")), [tree.join("etc/ssh/moduli")]);
}
