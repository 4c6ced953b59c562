//! The base tree is the one that dpkg would have made: mmdebstrap (which runs apt and dpkg) is the witness.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_archive::mirror::{host_mirror, host_security_mirror};
use overboot_digest::Digest;
use overboot_rootfs::{Root, identity};
use overboot_testkit::program::run;
use overboot_testkit::{images, require};
use toml::{Table, Value};

use crate::project::{Project, folder, names};

/// What may differ from mmdebstrap's tree, and why. `*` stands for anything; a file may be in one tree only.
const DIFFERENCES: &[(&str, &str)] = &[
    ("dev/*", "devices are made at boot by the kernel (devtmpfs)"),
    ("run/*", "/run is in memory at boot; tmpfiles.d(5) makes what packages want there"),
    ("etc/machine-id", "identity: ours is empty, to be filled at boot"),
    ("etc/ssh/ssh_host_*", "identity: made at boot"),
    ("etc/hostname", "identity: mmdebstrap copies the build host's"),
    ("etc/resolv.conf", "identity: mmdebstrap copies the build host's"),
    ("etc/fstab", "mmdebstrap writes one that says nothing"),
    ("etc/apt/sources.list", "each names the mirror in a file of its own"),
    ("etc/apt/sources.list.d/overboot.sources", "each names the mirror in a file of its own"),
    ("etc/apt/apt.conf.d/99mmdebstrap", "mmdebstrap's own options"),
    ("etc/*-", "backups of account files, which the build left behind"),
    ("etc/.pwd.lock", "a lock of the account files"),
    ("var/log/*", "logs of the build"),
    ("var/cache/apt/*", "apt's cache: empty, and made by apt when it runs"),
    ("var/cache/debconf/*-old", "backups of debconf's database"),
    ("var/lib/apt/lists/*", "apt's package lists: empty, and made by apt when it runs"),
    ("var/lib/apt/extended_states", "apt's note of what it chose itself; apt did not run here"),
    ("var/lib/dpkg/*-old", "backups of dpkg's database"),
    ("var/lib/dpkg/arch", "dpkg --add-architecture was not called: the native one is built in"),
    ("var/lib/dpkg/lock*", "locks of dpkg"),
    ("var/lib/dpkg/triggers/Lock", "locks of dpkg"),
];

/// Files of lines whose order tells only in which order packages were configured: apt and we both go by dependencies, which
/// leave that open.
const UNORDERED: &[&str] =
    &["etc/group", "etc/gshadow", "etc/shadow", "var/lib/dpkg/triggers/File"];

/// Where deb-systemd-helper and systemctl put links to units: the one writes `/lib/…`, the other `/usr/lib/…`, and which of
/// them came last is again the order of configuring.
const UNIT_LINKS: &str = "etc/systemd/";

#[test]
fn the_tree_is_the_one_that_mmdebstrap_makes() {
    if !(require::root() && require::program("mmdebstrap") && require::program("apt-get")) {
        return;
    }
    let (Some(mirror), Some(security)) = (host_mirror("debian"), host_security_mirror("debian"))
    else {
        let _ = require::met(false, "needs a Debian mirror in this host's apt sources");
        return;
    };
    let folder = folder();
    let project = Project::init(folder.path().join("project"), images::cache());
    let (recipe, packages) = plain_recipe(project.recipe(), &mirror);
    project.write_recipe(&recipe);
    project.succeed(&["build", "base/base"]);
    let ours = project.tree("base-base");

    let theirs = folder.path().join("theirs");
    let keys = folder.path().join("keys.gpg");
    fs::write(&keys, include_bytes!("../../../recipes/keyrings/debian-trixie.gpg")).unwrap();
    let lock = fs::read_to_string(project.folder.join("overboot.lock")).unwrap();
    let lock: Table = lock.parse().unwrap();
    let source = |mirror: &str, suite: &str| {
        format!("deb [signed-by={}] {mirror} {suite} main", keys.display())
    };
    run(Command::new("mmdebstrap")
        .args(["--variant=minbase", "--mode=root", "--format=directory"])
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .arg(format!("--include={}", packages.join(",")))
        .arg("trixie")
        .arg(&theirs)
        .arg(source(&mirror, "trixie"))
        .arg(source(&mirror, "trixie-updates"))
        .arg(source(&security, "trixie-security"))
        .env("SOURCE_DATE_EPOCH", lock["epoch"].as_integer().unwrap().to_string()));

    let (ours, theirs) = (Tree::read(&ours), Tree::read(&theirs));
    assert!(ours.0.len() > 5_000, "{} entries", ours.0.len());
    assert_eq!(ours.text("var/lib/dpkg/status"), theirs.text("var/lib/dpkg/status"));
    let (expected, surprising) = differences(&theirs, &ours);
    eprintln!("{} entries; these differ, as they may:\n{expected}", ours.0.len());
    assert!(surprising.is_empty(), "mmdebstrap's (-) and ours (+):\n{surprising}");

    // The tree is not needed any more, so it can be worked in.
    for audit in ["--audit", "--verify"] {
        let said = run(Command::new("chroot").arg(&ours.1).args(["dpkg", audit]));
        assert_eq!(said, "", "dpkg {audit}");
    }
    let said = apt_installs_hello(&ours.1);
    assert!(said.ends_with("Hello, world!\n"), "{said}");
}

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

/// The built-in recipe with its packages alone, and nothing left out: what mmdebstrap can make too. And the packages.
fn plain_recipe(mut recipe: Table, mirror: &str) -> (String, Vec<String>) {
    let archive = recipe["archive"].as_table_mut().unwrap();
    archive.insert("mirror".to_owned(), Value::from(mirror));
    for other in ["overlay", "modules", "initrd", "serve"] {
        recipe.remove(other);
    }
    let base = recipe["base"]["base"].as_table_mut().unwrap();
    let steps = base["provision"].as_array().unwrap().iter();
    let packages = steps.filter_map(|step| step.get("packages")?.as_array()).flatten();
    let packages: Vec<String> =
        packages.map(|package| package.as_str().unwrap().to_owned()).collect();
    assert!(packages.len() > 5, "{packages:?}");
    let step = Table::from_iter([("packages".to_owned(), Value::from(packages.clone()))]);
    base.clear();
    base.insert("provision".to_owned(), Value::from(vec![step]));
    // The tree is what is looked at, so the image may be made quickly.
    base.insert("compression".to_owned(), Value::from("lz4"));
    (toml::to_string(&recipe).unwrap(), packages)
}

/// What is to be the same of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Kind and permissions (`st_mode`).
    mode: u32,
    owner: (u32, u32),
    device: u64,
    links: u64,
    attributes: BTreeMap<String, Vec<u8>>,
    contents: Vec<u8>,
}

/// A tree, by path.
struct Tree(BTreeMap<PathBuf, Entry>, PathBuf);

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self(BTreeMap::new(), root.to_owned());
        tree.folder(root);
        tree
    }

    fn folder(&mut self, folder: &Path) {
        for path in names(folder) {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let kind = metadata.file_type();
            let name = path.strip_prefix(&self.1).unwrap().to_owned();
            let contents = if kind.is_symlink() {
                link(&name, &path)
            } else if kind.is_file()
                && UNORDERED.iter().any(|unordered| name == Path::new(unordered))
            {
                let text = fs::read_to_string(&path).unwrap();
                text.lines().collect::<BTreeSet<_>>().into_iter().collect::<String>().into_bytes()
            } else if kind.is_file() {
                Digest::of(fs::read(&path).unwrap()).to_string().into_bytes()
            } else {
                Vec::new()
            };
            let special = kind.is_char_device() || kind.is_block_device();
            let entry = Entry {
                mode: metadata.mode(),
                owner: (metadata.uid(), metadata.gid()),
                device: if special { metadata.rdev() } else { 0 },
                // Of a folder it is the number of folders in it, which are entries themselves.
                links: if kind.is_dir() { 0 } else { metadata.nlink() },
                attributes: attributes(&path),
                contents,
            };
            self.0.insert(name, entry);
            if kind.is_dir() {
                self.folder(&path);
            }
        }
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.1.join(path)).unwrap()
    }
}

/// Where a link leads.
fn link(name: &Path, path: &Path) -> Vec<u8> {
    let target = fs::read_link(path).unwrap();
    let target = match target.strip_prefix("/lib/systemd") {
        Ok(unit) if name.starts_with(UNIT_LINKS) => Path::new("/usr/lib/systemd").join(unit),
        _ => target,
    };
    target.into_os_string().into_vec()
}

/// Extended attributes: capabilities above all.
fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
        value.truncate(length);
        (String::from_utf8_lossy(name).into_owned(), value)
    };
    names.map(value).collect()
}

/// What differs, a line each: what may, with its reason, and what may not.
fn differences(theirs: &Tree, ours: &Tree) -> (String, String) {
    let (mut expected, mut surprising) = (String::new(), String::new());
    let paths: BTreeSet<&PathBuf> = theirs.0.keys().chain(ours.0.keys()).collect();
    for path in paths {
        let (theirs, ours) = (theirs.0.get(path), ours.0.get(path));
        if theirs == ours {
            continue;
        }
        let text = path.to_str().unwrap();
        match DIFFERENCES.iter().find(|(pattern, _)| fits(pattern, text)) {
            Some((_, why)) => writeln!(expected, "  {text}: {why}").unwrap(),
            None => {
                let show = |entry: Option<&Entry>| match entry {
                    Some(Entry {
                        mode, owner: (uid, gid), links, attributes, contents, ..
                    }) => format!(
                        "{mode:o} {uid}:{gid} {links} {attributes:?} {}",
                        String::from_utf8_lossy(contents)
                    ),
                    None => "not there".to_owned(),
                };
                writeln!(surprising, "{text}\n  - {}\n  + {}", show(theirs), show(ours)).unwrap();
            }
        }
    }
    (expected, surprising)
}

/// One `*` in a pattern stands for anything.
fn fits(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        Some((head, tail)) => {
            path.len() >= head.len() + tail.len() && path.starts_with(head) && path.ends_with(tail)
        }
        None => pattern == path,
    }
}
