//! Packages and archives that somebody made to do harm, through the whole build: refused with a sentence or kept inside of the tree,
//! and nothing outside of it is touched.

use std::fs;
use std::path::{Path, PathBuf};

use overboot_testkit::archive::{Archive, Deb, Fault, Tree, ar, now, tar_entry, xz};
use overboot_testkit::require;

use crate::project;
use crate::refusals::{assert_fails, assert_said};
use crate::small::{self, Small};

const FORMAT: (&str, &[u8]) = ("debian-binary", b"2.0\n");

/// What the index says of the package, and what it says of itself when it is honest.
fn control() -> String {
    Deb::new("greeter", "1.0").field("Depends", "system").control()
}

fn file(path: &str, content: &[u8]) -> Vec<u8> {
    tar_entry(b'0', path.as_bytes(), b"", content.len() as u64, content)
}

fn link(kind: u8, path: &str, to: &str) -> Vec<u8> {
    tar_entry(kind, path.as_bytes(), to.as_bytes(), 0, b"")
}

/// A package with these control files and this data.
fn package(control: &[u8], data: &[u8]) -> Vec<u8> {
    ar(&[FORMAT, ("control.tar.xz", &xz(control)), ("data.tar.xz", &xz(data))])
}

/// An honest package but for its data.
fn with(data: &[Vec<u8>]) -> Vec<u8> {
    package(&file("./control", control().as_bytes()), &data.concat())
}

/// And but for what a script of its does when it is configured.
fn with_script(data: &[Vec<u8>], script: &str) -> Vec<u8> {
    let postinst = tar_entry(b'0', b"./postinst", b"", script.len() as u64, script.as_bytes());
    package(&[file("./control", control().as_bytes()), postinst].concat(), &data.concat())
}

/// A project whose greeter is made by whoever means ill, and a file beside it that nobody has any business with.
struct Bed {
    small: Small,
    date: u64,
    outside: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let outside = project::folder();
        fs::write(outside.path().join("canary"), "sings").unwrap();
        let date = now() - 60;
        Self { small: Small::with(small::archive().dated(date, None)), date, outside }
    }

    fn canary(&self) -> PathBuf {
        self.outside.path().join("canary")
    }

    /// Has the archive that greeter, after a package with a link that leads out.
    fn serve(&self, greeter: Vec<u8>) {
        let guide = Deb::new("guide", "1.0")
            .field("Essential", "yes")
            .symlink("srv/out", self.outside.path().to_str().unwrap())
            .symlink(
                "srv/up",
                &format!("../../../../../../../..{}", self.outside.path().display()),
            );
        let archive = Archive::new("trixie").dated(self.date, None).package(small::system());
        let archive = archive.package(guide).package(small::kernel()).package(small::loaders());
        let archive = archive.package(small::hammer()).package_file(&control(), greeter);
        self.small.server.replace(archive.build(&self.small.key));
        let _ = fs::remove_file(self.small.project.folder.join("overboot.lock"));
    }

    /// Nothing outside of the tree was touched, and nothing is left of it.
    #[track_caller]
    fn assert_untouched(&self, what: &str) {
        assert_eq!(fs::read_to_string(self.canary()).unwrap(), "sings", "{what}");
        assert_eq!(project::names(self.outside.path()), [self.canary()], "{what}");
        self.small.project.assert_clean();
    }

    #[track_caller]
    fn refused(&self, what: &str, greeter: Vec<u8>, words: &[&str]) {
        self.serve(greeter);
        let ran = self.small.project.run(&["build", "base/base"]);
        assert_eq!(ran.status.code(), Some(1), "{what}: {ran:?}");
        let said = project::failed(&ran);
        eprintln!("{what}:\n{said}");
        assert_said(&said, words);
        assert!(said.contains("greeter"), "{what}: the package is not named:\n{said}");
        self.assert_untouched(what);
        assert!(!self.small.project.images().contains_key("base/base"), "{what}");
    }

    #[track_caller]
    fn kept_inside(&self, what: &str, greeter: Vec<u8>) {
        self.serve(greeter);
        self.small.project.succeed(&["build", "base/base"]);
        self.assert_untouched(what);
    }
}

#[test]
fn paths_of_packages_stay_in_the_tree() {
    if !small::possible() {
        return;
    }
    let bed = Bed::new();
    bed.small.project.succeed(&["build", "ipxe"]);
    let outside = bed.canary();
    let outside = outside.to_str().unwrap();
    let no_path = "is not a path inside of the root";
    for path in ["./../../../../canary", "../canary", "usr/../../canary", ".."] {
        bed.refused(path, with(&[file(path, b"x")]), &[path, no_path]);
    }
    let long = tar_entry(b'0', b"./a\nb", b"", 1, b"x");
    bed.refused("a line end in a name", with(&[long]), &[no_path]);
    let bad = tar_entry(b'0', b"./caf\xe9", b"", 1, b"x");
    bed.refused("a name that is no text", with(&[bad]), &[no_path]);
    // GNU's long names may hold anything.
    let name = b"./usr/nu\0l\nbyte";
    let long = tar_entry(b'L', b"././@LongLink", b"", name.len() as u64, name);
    bed.refused("a NUL in a name", with(&[long, file("./x", b"x")]), &[no_path]);

    for path in ["srv/out/canary", "srv/up/canary", "srv/out/new/canary"] {
        bed.refused(path, with(&[file(path, b"x")]), &["leads nowhere in the tree"]);
    }
    let out = "is a link out of the root";
    bed.refused("a hard link upwards", with(&[link(b'1', "./x", "../../canary")]), &[out]);
    for to in [outside, "srv/out/canary", "srv/up/canary", "nothing"] {
        bed.refused("a hard link", with(&[link(b'1', "./x", to)]), &["./x"]);
    }

    bed.kept_inside("an absolute path", with(&[file(outside, b"x")]));
    let folder = bed.outside.path().to_str().unwrap();
    let own = [link(b'2', "./usr/out", folder), file("./usr/out/canary", b"x")];
    bed.kept_inside("through its own link", with(&own));
    let own = [file("./usr/out/canary", b"x"), link(b'2', "./usr/out", folder)];
    bed.kept_inside("its own link comes later", with(&own));
    // And no script writes through a link that leads out, nor reads a device that a package brings.
    let script = "#!/bin/sh\n(echo x > /srv/out/canary) 2> /dev/null && exit 8\n\
                  (echo x > /srv/up/canary) 2> /dev/null && exit 8\n\
                  for node in /character /block; do (: < $node) 2> /dev/null && exit 9; done\nexit 0\n";
    let nodes = [link(b'3', "./character", ""), link(b'4', "./block", "")];
    let script = with_script(&nodes, script);
    bed.kept_inside("a script", script);
}

#[test]
fn packages_that_are_none_are_refused() {
    if !small::possible() {
        return;
    }
    let bed = Bed::new();
    bed.small.project.succeed(&["build", "ipxe"]);
    let honest = with(&[file("./usr/share/greeter", &small::noise(4096))]);
    let (plain_control, plain_data) = (file("./control", control().as_bytes()), file("./x", b"x"));
    let [control_tar, data_tar] = [xz(&plain_control), xz(&plain_data)];
    let (one, two) = (("control.tar.xz", &*control_tar), ("data.tar.xz", &*data_tar));
    let order = "has debian-binary, control.tar and data.tar, in this order";
    for (what, members) in [
        ("data twice", vec![FORMAT, one, two, two]),
        ("control twice", vec![FORMAT, one, one, two]),
        ("control after the data", vec![FORMAT, one, two, one]),
        ("no control", vec![FORMAT, two]),
        ("no data", vec![FORMAT, one]),
    ] {
        bed.refused(what, ar(&members), &[order]);
    }
    // At the magic, in a header, in the control, in the data, before its last byte.
    let end = honest.len();
    for cut in [0, 7, 8, 30, 68, 72, 100, 140, 200, end / 2, end - 40, end - 12] {
        bed.refused(&format!("cut at {cut}"), honest[..cut].to_vec(), &[]);
    }
    let mut huge = honest.clone();
    let size = 8 + 60 + 4 + 48;
    huge[size..size + 10].copy_from_slice(b"9999999999");
    bed.refused("a huge member", huge, &["wants 9999999999 bytes", "truncated"]);
    for size in [1 << 32, (1 << 33) - 1] {
        let entry = tar_entry(b'0', b"./x", b"", size, b"x");
        bed.refused("a huge entry", with(&[entry]), &[]);
    }
    // A few kB that become a gigabyte.
    let size = 1 << 30;
    let bomb = tar_entry(b'0', b"./x", b"", size, &vec![0; usize::try_from(size).unwrap()]);
    let bomb = with(&[bomb]);
    assert!(bomb.len() < 1 << 20);
    bed.refused("a bomb", bomb, &["more content than a package of its size may have"]);
    let control = file("./control", &vec![b'x'; 65 << 20]);
    bed.refused("a large control", package(&control, &plain_data), &["more content than"]);

    for (what, text, words) in [
        (
            "another version",
            control_of("greeter", "1.1"),
            "says Version: 1.1, and 1.0 was expected",
        ),
        ("another name", control_of("grater", "1.0"), "says Package: grater, and greeter was"),
        ("two stanzas", format!("{}\n{}", control_of("greeter", "1.0"), control_of("x", "1")), ""),
        ("no text", String::new(), ""),
    ] {
        let control = file("./control", text.as_bytes());
        bed.refused(what, package(&control, &plain_data), &[words]);
    }
    let outside = [plain_control, file("./../../postinst", b"#!/bin/sh\n")].concat();
    bed.refused("control files elsewhere", package(&outside, &plain_data), &["not a plain file"]);
    bed.kept_inside("the honest one", honest);
}

fn control_of(name: &str, version: &str) -> String {
    Deb::new(name, version).field("Depends", "system").control()
}

/// The archive's files with another text signed by its key.
fn signed_anew(small: &Small, tree: &Tree, change: impl FnOnce(&str) -> String) -> Tree {
    let at = "dists/trixie/InRelease";
    let text = String::from_utf8(tree[at].clone()).unwrap();
    let (_, text) = text.split_once("\n\n").unwrap();
    let (text, _) = text.split_once("\n-----BEGIN PGP SIGNATURE").unwrap();
    let mut tree = tree.clone();
    let text = change(&format!("{text}\n"));
    tree.insert(at.to_owned(), small.key.clearsign(&text, now() - 30).into_bytes());
    tree
}

#[test]
fn archives_that_lie_are_refused() {
    if !require::root() || !small::possible() {
        return;
    }
    let date = now() - 60;
    let archive = small::archive().dated(date, None);
    let small = Small::with(archive.clone());
    let tree = archive.build(&small.key);
    small.project.succeed(&["build", "ipxe"]);
    let refused = |what: &str, tree: Tree, words: &[&str]| {
        eprintln!("{what}");
        small.server.replace(tree);
        assert_fails(&small.project, &["lock", "--update"], &[words, &["help: "]].concat());
    };
    let release = "dists/trixie/InRelease";
    let expired = archive.clone().dated(date, Some(now() - 5)).build(&small.key);
    refused("expired", expired, &[release, "has expired: it was valid until"]);
    let older = archive.clone().dated(date - 600, None).build(&small.key);
    refused("replayed", older, &[release, "older than the one seen before"]);
    let mut unsigned = tree.clone();
    let text = String::from_utf8(tree[release].clone()).unwrap();
    let body = text.split_once("\n\n").unwrap().1.split("\n-----BEGIN").next().unwrap();
    unsigned.insert(release.to_owned(), body.as_bytes().to_vec());
    refused("unsigned", unsigned, &[release, "is not to be trusted"]);
    let without = signed_anew(&small, &tree, |text| text.replace("SHA256:", "MD5Sum:"));
    refused("no digests", without, &["is signed but cannot be read: it has no SHA256 list"]);
    let other = signed_anew(&small, &tree, |text| text.replace("trixie", "sid"));
    refused("another suite", other, &["is signed, but for another suite"]);

    // By digest or by name: what comes is not what was signed.
    let lists = |tree: &Tree| -> Vec<String> {
        tree.keys().filter(|path| path.contains("binary-amd64/")).cloned().collect()
    };
    for (what, fault) in [("other content", Fault::Corrupt), ("more of it", Fault::Longer)] {
        // An archive whose list is not in the cache yet.
        let newer = small::archive()
            .dated(date, None)
            .package(Deb::new("newer", what.len().to_string().as_str()));
        let newer = newer.build(&small.key);
        for path in lists(&newer) {
            small.server.fail(&path, 2, &fault);
        }
        refused(
            what,
            newer,
            &["binary-amd64/by-hash/SHA256/", "is not what the signed index promises"],
        );
        small.server.replace(tree.clone());
    }
    // The signed list becomes more than was signed when it is decompressed.
    let packed = |text: &str| {
        let line = text.lines().find(|line| line.ends_with("Packages")).unwrap().to_owned();
        text.replace(&line, " e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 10 main/binary-amd64/Packages")
    };
    let bomb = signed_anew(&small, &tree, packed);
    refused("a list that grows", bomb, &["is not what the signed index promises"]);

    small.server.replace(tree);
    small.project.succeed(&["lock", "--update"]);
    assert!(Path::new(&small.project.folder.join("overboot.lock")).exists());
}
