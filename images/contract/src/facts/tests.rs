//! Small bases and overlays, for the tests of every module.

use std::collections::BTreeMap;
use std::io::Read;

use overboot_merge::Delta;
use overboot_squashfs::Kind;

use super::*;

fn entry(path: &str, mode: u16, kind: Kind) -> Entry {
    let (uid, gid, mtime) = (0, 0, 0);
    Entry { path: path.into(), mode, uid, gid, mtime, xattrs: Vec::new(), kind }
}

pub(crate) fn file(path: &str, text: &str) -> Entry {
    entry(path, 0o644, Kind::bytes(text.as_bytes().to_vec()))
}

pub(crate) fn script(path: &str, text: &str) -> Entry {
    entry(path, 0o755, Kind::bytes(text.as_bytes().to_vec()))
}

pub(crate) fn folder(path: &str) -> Entry {
    entry(path, 0o755, Kind::Directory)
}

pub(crate) fn opaque(path: &str) -> Entry {
    let xattrs = vec![(b"trusted.overlay.opaque".to_vec(), b"y".to_vec())];
    Entry { xattrs, ..folder(path) }
}

pub(crate) fn link(path: &str, target: &str) -> Entry {
    entry(path, 0o777, Kind::Symlink(target.into()))
}

pub(crate) fn deleted(path: &str) -> Entry {
    entry(path, 0, Kind::CharDevice(0, 0))
}

/// With all folders above, sorted, as the scanner gives them.
fn whole(entries: &[Entry]) -> Vec<(Entry, Option<Content>)> {
    let mut all: BTreeMap<Vec<u8>, Entry> = BTreeMap::new();
    for entry in entries {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        for (at, _) in path.match_indices('/') {
            all.entry(path[..at].into()).or_insert_with(|| folder(&path[..at]));
        }
        all.insert(entry.path.clone(), entry.clone());
    }
    all.into_values().map(|entry| (entry.clone(), content(&entry))).collect()
}

fn content(entry: &Entry) -> Option<Content> {
    let Kind::File(source) = &entry.kind else { return None };
    let mut bytes = Vec::new();
    source.open().unwrap().read_to_end(&mut bytes).unwrap();
    Some(Content::of(entry, &bytes, Digest::of(&bytes)))
}

pub(crate) fn base(entries: &[Entry]) -> Base {
    Base::of(whole(entries)).unwrap()
}

pub(crate) fn overlay(base: &Base, entries: &[Entry]) -> Overlay {
    overlay_with(base, entries, &[])
}

pub(crate) fn overlay_with(base: &Base, entries: &[Entry], fixed: &[&str]) -> Overlay {
    let built_on = BuiltOn { target: "base/base".into(), image: Digest::of("base") };
    let fixed = fixed.iter().map(|name| (*name).to_owned()).collect();
    Overlay::of("test", built_on, fixed, whole(entries), base).unwrap()
}

/// What is said of one database: its path, the records that are put, by name, and the names that are taken away.
pub(crate) type Said<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// What the overlay says of databases.
pub(crate) fn note(databases: &[Said<'_>]) -> Entry {
    let mut changes = Changes::none();
    for (path, put, gone) in databases {
        let put = put.iter().map(|(name, record)| ((*name).to_owned(), (*record).to_owned()));
        let gone = gone.iter().map(|name| (*name).to_owned());
        let delta = Delta { put: put.collect(), gone: gone.collect() };
        changes.databases.insert((*path).to_owned(), delta);
    }
    file(&changes_path("test"), &String::from_utf8(changes.to_bytes()).unwrap())
}

/// A stanza of dpkg's database.
pub(crate) fn package(name: &str, version: &str, more: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n{more}"
    )
}

#[test]
fn facts_survive_being_written_down() {
    let base = base(&[
        file("etc/passwd", "root:x:0:0::/root:/bin/sh\ngames:x:5:60::/:/bin/sh\n"),
        file("etc/group", "root:x:0:\n"),
        file("var/lib/dpkg/status", &(package("libc6", "2.41", "") + "\n")),
        file("etc/ld.so.conf.d/a.conf", "# where\n/opt/lib\n"),
        link("bin", "usr/bin"),
    ]);
    assert_eq!(base.users["games"], 5);
    assert_eq!(base.packages["libc6 amd64"].version, "2.41");
    assert_eq!(base.library_folders.iter().collect::<Vec<_>>(), ["/opt/lib"]);
    assert_eq!(Base::parse(&base.to_bytes()).unwrap(), base);

    let new = package("tool", "1", "Depends: libc6 (>= 2.40)\n");
    let changes = note(&[
        ("var/lib/dpkg/status", &[("tool amd64", &new)], &["libc6 amd64", "never amd64"]),
        ("etc/passwd", &[("tool", "tool:x:101:102::/:/bin/sh")], &[]),
    ]);
    let entries = [
        changes,
        script("usr/bin/tool", "#!/bin/sh\n"),
        deleted("bin"),
        opaque("etc/ld.so.conf.d"),
    ];
    let overlay = overlay(&base, &entries);
    assert_eq!(overlay.packages["tool amd64"].depends, ["libc6 (>= 2.40)"]);
    assert_eq!(overlay.removed, [("libc6 amd64".into(), "2.41".into())].into());
    assert_eq!(overlay.users, [("tool".into(), 101)].into());
    assert_eq!(overlay.scripts["usr/bin/tool"], "/bin/sh");
    assert_eq!(overlay.deleted, ["bin".into()].into());
    assert_eq!(overlay.behind, ["etc/ld.so.conf.d/a.conf".into()].into());
    assert_eq!(Overlay::parse(&overlay.to_bytes()).unwrap(), overlay);
}

#[test]
fn a_file_that_nobody_has_looked_into_is_no_fact() {
    let error = Base::of(vec![(file("etc/passwd", "x"), None)]).unwrap_err();
    assert!(matches!(&error, Error::Unread { path } if path == "etc/passwd"), "{error}");
}

#[test]
fn another_format_is_refused() {
    assert!(matches!(Base::parse(br#"{"format":9,"new":1}"#), Err(Error::Format(9))));
    assert!(matches!(Overlay::parse(b"{}"), Err(Error::Json(_))));
}

#[test]
fn names_of_one_file_are_the_same_file() {
    let second = entry("usr/bin/two", 0, Kind::HardLink(b"usr/bin/one".to_vec()));
    let base = base(&[script("usr/bin/one", "#!/bin/sh\n"), second]);
    assert_eq!(base.files["usr/bin/one"], base.files["usr/bin/two"]);
}
