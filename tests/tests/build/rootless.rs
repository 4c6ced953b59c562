//! An ordinary user makes the same bytes as root, and is told in words where a machine does not let users.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use overboot_testkit::archive::Deb;
use overboot_testkit::container::{Layer, Packing, layout};
use overboot_testkit::program::run;
use overboot_testkit::user::{self, NAME, NUMBER, User};
use overboot_testkit::{deadline, images, overboot, require};

use crate::project::{self, Project, failed, succeeded};
use crate::provisioners::put;
use crate::refusals::assert_said;
use crate::small::{self, Small};

/// What is hard to do without root, in a base and in overlays.
const HARD: &str = r#"
[base.deep]
[[base.deep.provision]]
packages = ["greeter", "tools"]
[[base.deep.provision]]
host-script = "below.sh"

[overlay.hard]
base = "deep"
[[overlay.hard.provision]]
packages = ["hammer"]
[[overlay.hard.provision]]
files = "laid"
[[overlay.hard.provision]]
script = "inside.sh"
[[overlay.hard.provision]]
script = "network.sh"
network = true
[[overlay.hard.provision]]
host-script = "above.sh"

[overlay.contained]
base = "deep"
[[overlay.contained.provision]]
container = "oci:vendor/images:tool"
"#;

const BELOW: &str = r#"#!/bin/sh
set -e
cd "$ROOT"
mkdir -p srv/opaque/old srv/gone
echo old > srv/opaque/file
echo 1 > srv/given
chown 1:2 srv/given
cat usr/lib/tools/id > srv/capable
chmod 0750 srv/capable
setcap cap_chown=ep srv/capable
chown 6:12 srv/gone
chmod 2775 srv/gone
"#;

const INSIDE: &str = r#"set -e
PATH=/usr/lib/tools:$PATH
rm /usr/bin/greet
rm -r /srv/opaque /srv/gone
mkdir /srv/opaque /srv/shared
echo new > /srv/opaque/new
chmod 0755 /srv/capable
chown 1000:1001 /srv/given
echo own > /srv/own
ln /srv/own /srv/again
chown 42:65534 /srv/own
chmod 6711 /srv/own
cat /usr/lib/tools/id > /srv/able
setcap cap_net_raw,cap_net_admin=eip /srv/able
chown 0:65535 /srv/shared
chmod 3775 /srv/shared
mkfifo -m 0600 /srv/pipe
id -u > /srv/who
id -G >> /srv/who
echo nothing > /dev/null
"#;

const ABOVE: &str = r#"#!/bin/sh
set -e
setfattr -n user.note -v seen "$ROOT/srv/able"
chroot "$ROOT" /bin/sh -c 'echo "$0" > /srv/rooted' word
"#;

/// Programs of this machine's, apart from those that its small Debian has or pretends to have.
fn tools() -> Deb {
    let there: BTreeSet<String> =
        ["sh", "dpkg"].into_iter().flat_map(small::program).map(|(path, _)| path).collect();
    let mut files = std::collections::BTreeMap::new();
    for name in ["chmod", "chown", "cat", "id", "ln", "mkdir", "mkfifo", "rm", "setcap"] {
        for (path, bytes) in small::program(name) {
            let program = path.strip_prefix("usr/bin/").map(|name| format!("usr/lib/tools/{name}"));
            files.insert(program.unwrap_or(path), bytes);
        }
    }
    let files = files.iter().filter(|(path, _)| !there.contains(*path));
    let deb = Deb::new("tools", "1.0").field("Depends", "system");
    files.fold(deb, |deb, (path, bytes)| deb.file(path, 0o755, bytes))
}

/// A project whose base and overlays are hard to make without root.
fn hard() -> Small {
    let small = Small::with(small::archive().package(tools()));
    let recipe = small::recipe(&small.project.key(), &small.server.uri());
    small.project.write_recipe(&(recipe + HARD));
    put(&small, "below.sh", 0o755, BELOW.as_bytes());
    put(&small, "above.sh", 0o755, ABOVE.as_bytes());
    put(&small, "inside.sh", 0o644, INSIDE.as_bytes());
    put(&small, "network.sh", 0o644, b"echo fetched > /srv/fetched\n");
    put(&small, "laid/etc/laid", 0o640, b"laid\n");
    let first = Layer::new().folder("opt/tool", 0o755).file("opt/tool/run", 0o4755, b"run").file(
        "opt/tool/gone",
        0o644,
        b"gone",
    );
    let second = Layer::new().whiteout("opt/tool", "gone");
    let layers = [(first, Packing::Gzip), (second, Packing::Zstd)];
    layout(&small.project.folder.join("vendor/images"), "tool", "amd64", &layers);
    small
}

fn possible() -> bool {
    small::possible()
        && user::possible()
        && require::programs(&["setcap", "setfattr", "unsquashfs", "tar"])
}

/// A project of an ordinary user's, in a folder that nobody else may enter.
struct Hers {
    user: User,
    home: tempfile::TempDir,
    project: Project,
}

impl Hers {
    /// What another project's is, with nothing built; packages are those of `cache`, if any.
    fn copied(user: User, from: &Project, cache: Option<&Path>) -> Self {
        let home = project::folder();
        let project = Project::at(&home.path().join("project"), home.path().join("cache"));
        fs::create_dir(&project.folder).unwrap();
        let copy = "tar -C \"$1\" --exclude=./store --exclude=./.overboot -c . | tar -C \"$2\" -x";
        let mut copying = Command::new("sh");
        run(copying.args(["-ec", copy, "sh"]).arg(&from.folder).arg(&project.folder));
        match cache {
            Some(cache) => drop(run(Command::new("cp").arg("-r").arg(cache).arg(&project.cache))),
            None => fs::create_dir(&project.cache).unwrap(),
        }
        // Where she has the program.
        fs::write(home.path().join("overboot"), "").unwrap();
        user.give(home.path());
        Self { user, home, project }
    }

    /// `overboot WORDS…`, as her; `before` is done by root.
    fn overboot(&self, before: &str, words: &[&str]) -> Command {
        // Nothing may depend on what her files are by themselves.
        let before =
            format!("umask 0077\nmount --bind '{}' /mnt/overboot\n{before}", overboot().display());
        let mut command = self.user.command(self.home.path(), &before, "/mnt/overboot");
        command.args(["-C", "/mnt/project", "--cache", "/mnt/cache"]).args(words);
        command.env("NO_COLOR", "1").env_remove("OVERBOOT_CACHE");
        command
    }

    #[track_caller]
    fn succeed(&self, words: &[&str]) -> String {
        succeeded(&self.overboot("", words).output().unwrap())
    }

    #[track_caller]
    fn fail(&self, before: &str, words: &[&str]) -> String {
        failed(&self.overboot(before, words).output().unwrap())
    }
}

/// An image, unpacked by root.
fn unpacked(small: &Small, target: &str, into: &Path) -> PathBuf {
    let into = into.join(target.replace('/', "-"));
    let (digest, _) = &small.project.images()[target];
    run(Command::new("unsquashfs")
        .arg("-q")
        .arg("-n")
        .arg("-d")
        .arg(&into)
        .arg(small.project.blob(digest)));
    into
}

fn attribute(path: &Path, name: &str) -> Vec<u8> {
    let mut value = vec![0; 100];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap_or_default();
    value.truncate(length);
    value
}

#[test]
fn a_user_makes_the_same_bytes_as_root() {
    if !possible() {
        return;
    }
    let small = hard();
    small.project.succeed(&["lock"]);
    let hers = Hers::copied(User::new(), &small.project, None);
    small.project.succeed(&["build"]);
    let said = hers.succeed(&["build"]);
    assert_eq!(hers.project.images(), small.project.images(), "{said}");
    hers.project.assert_clean();

    // And what is hard to make is in it: root's extractor makes files that root's tools see.
    let folder = tempfile::tempdir().unwrap();
    let (base, overlay) = (
        unpacked(&small, "base/deep", folder.path()),
        unpacked(&small, "overlay/hard", folder.path()),
    );
    let look = |path: &str| fs::symlink_metadata(overlay.join("srv").join(path)).unwrap();
    let gone = fs::symlink_metadata(overlay.join("usr/bin/greet")).unwrap();
    for whiteout in [gone, look("gone")] {
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    }
    assert_eq!(attribute(&overlay.join("srv/opaque"), "trusted.overlay.opaque"), b"y");
    let capability = |path: PathBuf| attribute(&path, "security.capability");
    // Of the second form: one that is good for every root (linux/capability.h, `VFS_CAP_REVISION_2`).
    for path in [base.join("srv/capable"), overlay.join("srv/capable"), overlay.join("srv/able")] {
        let value = capability(path);
        assert_eq!((value.len(), value[3]), (20, 2));
    }
    assert_eq!(attribute(&overlay.join("srv/able"), "user.note"), b"seen");
    let owned = |path: &str| (look(path).uid(), look(path).gid(), look(path).mode() & 0o7777);
    assert_eq!(owned("own"), (42, 65534, 0o6711));
    assert_eq!(owned("given"), (1000, 1001, 0o644));
    assert_eq!(owned("shared"), (0, 65535, 0o3775));
    assert_eq!(look("own").ino(), look("again").ino());
    assert_eq!(fs::read_to_string(overlay.join("srv/who")).unwrap(), "0\n0\n");

    // All else that she may do with it, she does without root, too.
    assert!(hers.succeed(&["build"]).contains("Nothing to do"));
    assert!(hers.succeed(&["plan"]).contains("base/deep"));
    hers.succeed(&["verify"]);
    hers.succeed(&["verify", "--rebuild", "overlay/hard"]);
    hers.succeed(&["publish", "tools"]);
    hers.project.assert_clean();
    // Trees have files of users that she is not; without them, all is hers to remove.
    hers.succeed(&["gc", "--trees"]);
    let removed =
        hers.user.command(hers.home.path(), "", "rm").args(["-r", "/mnt/project"]).output();
    succeeded(&removed.unwrap());
}

/// With the packages of the real archive, and all that their scripts do.
#[test]
fn a_user_makes_the_same_debian_as_root() {
    if !possible() {
        return;
    }
    let shared = Project::at(images::project(), images::cache());
    let hers = {
        let _lock = images::exclusive();
        Hers::copied(User::new(), &shared, Some(&images::cache()))
    };
    hers.succeed(&["build", "--offline"]);
    let of_recipe = |project: &Project| {
        let mut images = project.images();
        images.retain(|target, _| !target.starts_with("generation/"));
        images
    };
    assert_eq!(of_recipe(&hers.project), of_recipe(&shared));
    hers.project.assert_clean();
}

#[test]
fn what_a_killed_build_of_hers_left_is_hers_to_remove() {
    if !possible() {
        return;
    }
    let small = hard();
    // It is killed before that ends.
    put(&small, "below.sh", 0o755, format!("{BELOW}sleep 600\n").as_bytes());
    small.project.succeed(&["lock"]);
    let hers = Hers::copied(User::new(), &small.project, None);
    let mut build = hers.overboot("", &["build", "base/deep"]);
    let mut build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let scratch = hers.project.folder.join(".overboot/scratch");
    // Others' files are made in it.
    deadline::eventually("a file of somebody's", Duration::from_secs(60), || {
        let ended = build.try_wait().unwrap();
        assert!(ended.is_none(), "it ended before");
        project::names(&scratch).iter().any(|tree| tree.join("srv/given").exists())
    });
    build.kill().unwrap();
    build.wait().unwrap();
    hers.project.assert_let_go();
    assert!(!project::names(&scratch).is_empty());
    hers.succeed(&["lock", "--update"]);
    hers.project.assert_clean();
}

#[test]
fn what_root_has_built_and_what_a_user_has_are_not_mixed() {
    if !possible() {
        return;
    }
    let small = Small::new();
    small.project.succeed(&["lock"]);
    let hers = Hers::copied(User::new(), &small.project, None);
    hers.succeed(&["build"]);
    let before = hers.project.visible();
    let said = hers.project.fail(&["build"]);
    let words =
        ["project/.overboot belongs to another user", "help: build as that user", "gc --trees"];
    assert_said(&said, &words);
    assert_eq!(hers.project.visible(), before);
    hers.succeed(&["build"]);

    // The other way round.
    small.project.succeed(&["build"]);
    let hers = Hers::copied(User::new(), &small.project, None);
    for made in [".overboot", "store"] {
        run(Command::new("cp")
            .arg("-a")
            .arg(small.project.folder.join(made))
            .arg(&hers.project.folder));
    }
    let before = hers.project.visible();
    for words in [["build"], ["gc"]] {
        assert_said(&hers.fail("", &words), &["belongs to another user", "sudo chown -R"]);
    }
    assert_eq!(hers.project.visible(), before);
}

#[test]
fn where_a_machine_does_not_let_users_it_says_why() {
    if !possible() {
        return;
    }
    let small = Small::new();
    small.project.succeed(&["lock"]);
    let none = "mount --bind /dev/null /usr/bin/newuidmap";
    let powerless = "cp /usr/bin/newuidmap /mnt/powerless; chmod 0755 /mnt/powerless; \
                     mount --bind /mnt/powerless /usr/bin/newuidmap";
    // (A file system without extended attributes.)
    let ramfs = "mkdir /mnt/project/.overboot; chown alice /mnt/project/.overboot; \
                 mount -t ramfs none /mnt/project/.overboot; chown alice /mnt/project/.overboot";
    let enough = format!("{NAME}:500000:65536\n");
    for (lines, before, words) in [
        (
            enough.as_str(),
            none,
            &["needs newuidmap", "apt-get install uidmap; or build with sudo"][..],
        ),
        ("", "", &["/etc/subuid lends alice no numbers", "into /etc/subuid: alice:100000:65536"]),
        ("alice:100000:65534\n", "", &["lends alice 65534 numbers", "alice:165534:65536"]),
        (&enough, powerless, &["newuidmap refused to set up a user namespace: ", "is set-uid"]),
        (
            &enough,
            ramfs,
            &["cannot hold the tree of another system: no extended attributes", "ext4"],
        ),
    ] {
        let hers = Hers::copied(User::lent(lines), &small.project, None);
        assert_said(&hers.fail(before, &["build"]), words);
        let blobs = hers.project.folder.join("store/blobs/sha256");
        assert_eq!(project::names(&blobs), Vec::<PathBuf>::new());
        // What makes no tree needs none of it.
        hers.succeed(&["lock", "--update"]);
        hers.succeed(&["plan"]);
    }

    // As the settings of a machine forbid it: in a user namespace of root's, which has settings of its own.
    let lines = format!("{enough}root:0:1000000\n");
    let hers = Hers::copied(User::lent(&lines), &small.project, None);
    let before = format!(
        "exec unshare --user --map-users 0,0,1000000 --map-groups 0,0,1000000 sh -ec \
         'echo 0 > /proc/sys/user/max_user_namespaces; \
         exec setpriv --reuid {NUMBER} --regid {NUMBER} --clear-groups -- \"$@\"' sh \"$@\""
    );
    let said = hers.fail(&before, &["build"]);
    assert_said(&said, &["user.max_user_namespaces is 0", "sysctl user.max_user_namespaces="]);
}

#[test]
fn what_only_root_can_make_is_named() {
    if !possible() {
        return;
    }
    let node = Deb::new("node", "1.0").field("Depends", "system").device("srv/zero");
    let small = Small::with(small::archive().package(node));
    let recipe = small::recipe(&small.project.key(), &small.server.uri());
    let more = r#"
[base.device]
[[base.device.provision]]
packages = ["node"]

[overlay.large]
base = "base"
[[overlay.large.provision]]
container = "oci:vendor/images:large"
"#;
    small.project.write_recipe(&(recipe + more));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "large").unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder.path()).args(["--owner=:70000", "--group=:70000", "-c", "file"]);
    let layers = [(Layer::of_tar(tar.output().unwrap().stdout), Packing::Gzip)];
    layout(&small.project.folder.join("vendor/images"), "large", "amd64", &layers);
    small.project.succeed(&["lock"]);
    let hers = Hers::copied(User::new(), &small.project, None);
    for (target, words) in [
        ("base/device", ["package node: \"./srv/zero\" is a device node, which only root", "make"]),
        (
            "overlay/large",
            ["\"file\" cannot be unpacked: ", "belong to user 70000 and group 70000"],
        ),
    ] {
        assert_said(&hers.fail("", &["build", target]), &words);
        small.project.succeed(&["build", target]);
    }
}
