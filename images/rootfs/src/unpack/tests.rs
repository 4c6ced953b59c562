//! Packages made for trouble, unpacked by us and by dpkg: the same tree, the same database.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use overboot_testkit::archive::Deb;
use overboot_testkit::require;

use super::unpack;
use crate::dpkg;
use crate::filters::Filters;
use crate::install::Package;
use crate::root::Root;

/// Every path of a tree with what can be told of it. Folders' times are left out: they tell when something was put in.
fn told(tree: &Path) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let kind = metadata.file_type();
            let mut line = format!("{:o} {} {}", metadata.mode(), metadata.uid(), metadata.gid());
            if kind.is_dir() {
                folders.push(path.clone());
            } else if kind.is_symlink() {
                line +=
                    &format!(" {} -> {:?}", metadata.mtime(), std::fs::read_link(&path).unwrap());
            } else {
                let bytes = std::fs::read(&path).unwrap();
                line += &format!(" {} x{} ", metadata.mtime(), metadata.nlink());
                line += &String::from_utf8_lossy(&bytes);
            }
            let relative = path.strip_prefix(tree).unwrap().as_os_str().as_bytes();
            told.insert(String::from_utf8_lossy(relative).into_owned(), line);
        }
    }
    told
}

/// An empty tree with a database, users and whatever the test puts there first.
fn tree(at: &Path, prepare: &dyn Fn(&Root)) -> Root {
    let root = Root::create(at).unwrap();
    dpkg::create(&root).unwrap();
    root.write("etc/passwd", 0o644, b"root:x:0:0::/:\ngames:x:77:88::/:\n").unwrap();
    root.write("etc/group", 0o644, b"root:x:0:\ngames:x:88:\n").unwrap();
    prepare(&root);
    root
}

/// Unpacks `debs` in order, by us and by dpkg, and compares all but what the two note about themselves.
fn same_as_dpkg(debs: &[Deb], prepare: &dyn Fn(&Root)) {
    if !require::root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let packages: Vec<Package> = debs
        .iter()
        .map(|deb| {
            let path = folder.path().join(format!("{}_{}.deb", deb.name(), deb.version()));
            std::fs::write(&path, deb.build()).unwrap();
            Package {
                name: deb.name().to_owned(),
                version: deb.version().to_owned(),
                architecture: deb.architecture().to_owned(),
                path,
            }
        })
        .collect();
    let ours = tree(&folder.path().join("ours"), prepare);
    unpack(&ours, &packages.iter().collect::<Vec<_>>(), &Filters::default(), 2).unwrap();

    let theirs = tree(&folder.path().join("theirs"), prepare);
    for package in &packages {
        let ran = Command::new("dpkg")
            .arg(format!("--root={}", theirs.path().display()))
            .args(["--force-depends", "--force-unsafe-io", "--unpack"])
            .arg(&package.path)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    let (ours, theirs) = (told(ours.path()), told(theirs.path()));
    let ours_alone = |path: &&String| {
        let database = path.strip_prefix("var/lib/dpkg");
        // `status`: dpkg sorts its stanzas and writes more fields' defaults; it is compared for whole trees elsewhere.
        // The locks and backups are dpkg's own. Times and modes of the database's files are those of the run.
        database.is_none()
            || database.is_some_and(|rest| {
                rest.starts_with("/info/") && rest.ends_with(".list") || rest == "/triggers/File"
            })
    };
    let content = |path: &String, line: &String| {
        if path.starts_with("var/lib/dpkg")
            || path.starts_with("etc/passwd")
            || path.starts_with("etc/group")
        {
            line.splitn(6, ' ').last().unwrap_or_default().to_owned()
        } else {
            line.clone()
        }
    };
    let kept = |told: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        told.iter()
            .filter(|(path, _)| ours_alone(path))
            .map(|(p, l)| (p.clone(), content(p, l)))
            .collect()
    };
    let (ours, theirs) = (kept(&ours), kept(&theirs));
    assert!(theirs.len() > 4, "dpkg has unpacked something");
    assert_eq!(ours, theirs);
}

fn plain(_: &Root) {}

#[test]
fn a_hard_link_to_a_conffile_is_one_file() {
    let deb = Deb::new("links", "1")
        .file("etc/links/a", 0o640, b"a")
        .hard_link("etc/links/b", "etc/links/a")
        .file("usr/bin/x", 0o755, b"x")
        .hard_link("usr/bin/y", "usr/bin/x")
        .control_file("conffiles", 0o644, b"/etc/links/a\n/etc/links/b\n");
    same_as_dpkg(&[deb], &plain);
}

#[test]
fn a_file_moves_only_from_the_versions_that_are_named() {
    let old = Deb::new("old", "1.0").file("usr/share/x/moved", 0o644, b"old").file(
        "usr/share/x/stays",
        0o644,
        b"old",
    );
    let new = Deb::new("new", "2")
        .file("usr/share/x/moved", 0o600, b"new")
        .field("Replaces", "old (<< 2)");
    same_as_dpkg(&[old.clone(), new.clone()], &plain);
    // The other way about: what is replaced does not come back, and its owner does without it.
    same_as_dpkg(&[new.clone(), old.clone()], &plain);

    let folder = tempfile::tempdir().unwrap();
    let root = tree(&folder.path().join("tree"), &plain);
    let late = Deb::new("old", "3.0").file("usr/share/x/moved", 0o644, b"late");
    let packages = [late, new].map(|deb| {
        let path = folder.path().join(deb.name());
        std::fs::write(&path, deb.build()).unwrap();
        Package {
            name: deb.name().to_owned(),
            version: deb.version().to_owned(),
            architecture: deb.architecture().to_owned(),
            path,
        }
    });
    let refused = unpack(&root, &[&packages[0], &packages[1]], &Filters::default(), 1).unwrap_err();
    assert!(refused.to_string().contains("both bring /usr/share/x/moved"), "{refused}");
}

#[test]
fn diversions_and_overrides_are_kept_to() {
    let deb = Deb::new("tool", "1")
        .file("usr/bin/tool", 0o755, b"tool")
        .directory("var/lib/tool", 0o755)
        .file("usr/bin/secret", 0o755, b"secret")
        .control_file("triggers", 0o644, b"interest-noawait /usr/bin\n");
    same_as_dpkg(&[deb], &|root| {
        root.write("var/lib/dpkg/diversions", 0o644, b"/usr/bin/tool\n/usr/bin/tool.real\nother\n")
            .unwrap();
        let overrides = b"root #5 2750 /var/lib/tool\n#77 root 4711 /usr/bin/secret\n";
        root.write("var/lib/dpkg/statoverride", 0o644, overrides).unwrap();
    });
}

#[test]
fn links_and_folders_give_way_as_dpkg_has_it() {
    let first = Deb::new("first", "1")
        .directory("srv/real", 0o755)
        .directory("srv/other", 0o755)
        .symlink("srv/same", "real")
        .symlink("srv/elsewhere", "real")
        .symlink("srv/to-folder", "real");
    let second = Deb::new("second", "1")
        // A folder where a link to one is, a link where a folder is, the same folder by another text, another folder.
        .file("srv/to-folder/file", 0o644, b"in real")
        .symlink("srv/other", "real")
        .symlink("srv/same", "/srv/../srv/real")
        .field("Replaces", "first");
    same_as_dpkg(&[first.clone(), second], &plain);
    let third = Deb::new("third", "1").symlink("srv/elsewhere", "other").field("Replaces", "first");
    same_as_dpkg(&[first, third], &plain);
}

#[test]
fn folders_of_older_suites_become_links_into_usr() {
    let folder = tempfile::tempdir().unwrap();
    let root = tree(&folder.path().join("tree"), &plain);
    let path = folder.path().join("coreutils");
    let deb =
        Deb::new("coreutils", "1").file("bin/ls", 0o755, b"ls").file("usr/bin/du", 0o755, b"");
    std::fs::write(&path, deb.build()).unwrap();
    let package = Package {
        name: "coreutils".to_owned(),
        version: "1".to_owned(),
        architecture: "amd64".to_owned(),
        path,
    };
    unpack(&root, &[&package], &Filters::default(), 1).unwrap();
    assert_eq!(std::fs::read_link(root.path().join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(root.read("usr/bin/ls").unwrap(), b"ls");
    let list = root.read_text("var/lib/dpkg/info/coreutils.list").unwrap().unwrap();
    assert!(list.contains("/bin\n/bin/ls\n"), "{list}");
}
