use overboot_squashfs::Entry;

use super::*;
use crate::elf::{Library, Program};
use crate::facts::tests::{
    base, deleted, file, folder, link, note, opaque, overlay, overlay_with, package, script,
};

/// What is said of an overlay made of `own` on a base of `before`, on a base of `now`.
fn told(before: &[Entry], own: &[Entry], now: &[Entry]) -> (Verdict, Vec<String>) {
    let first = base(before);
    let overlay = overlay(&first, own);
    assert_eq!(judge(&overlay, &first, false).verdict, Verdict::Valid, "on its own base");
    words(&judge(&overlay, &base(now), false))
}

fn words(judgement: &Judgement) -> (Verdict, Vec<String>) {
    let reasons = judgement.reasons.iter().map(|(_, reason)| reason.to_string());
    (judgement.verdict, reasons.collect())
}

fn rebuild(reason: &str) -> (Verdict, Vec<String>) {
    (Verdict::Rebuild, vec![reason.to_owned()])
}

fn conflict(reason: &str) -> (Verdict, Vec<String>) {
    (Verdict::Conflict, vec![reason.to_owned()])
}

const VALID: (Verdict, Vec<String>) = (Verdict::Valid, Vec::new());

#[test]
fn a_base_that_changed_elsewhere_is_as_good() {
    let before = [file("etc/a", "a"), file("usr/bin/b", "old"), folder("usr/share/x")];
    let own = [file("etc/a", "mine"), file("usr/share/x/y", "mine")];
    assert_eq!(told(&before, &own, &[file("etc/a", "a"), file("usr/bin/b", "new")]), VALID);
}

#[test]
fn a_shadowed_file() {
    let before = [file("etc/a", "a")];
    let own = [file("etc/a", "mine")];
    let changed = |what: &str| {
        rebuild(&format!("/etc/a: it stands before another {what} than it was made for"))
    };
    assert_eq!(told(&before, &own, &[file("etc/a", "b")]), changed("content"));
    assert_eq!(told(&before, &own, &[script("etc/a", "a")]), changed("mode"));
    assert_eq!(told(&before, &own, &[Entry { gid: 4, ..file("etc/a", "a") }]), changed("owner"));
    assert_eq!(told(&before, &own, &[folder("etc/a")]), changed("type"));
    assert_eq!(told(&before, &own, &[link("etc/a", "b")]), changed("type"));
    let capable = vec![(b"security.capability".to_vec(), vec![1])];
    let capable = Entry { xattrs: capable, ..file("etc/a", "a") };
    assert_eq!(told(&before, &own, &[capable]), changed("attributes"));
    let gone = rebuild("/etc/a: it stands in place of what is not in this base");
    assert_eq!(told(&before, &own, &[folder("etc")]), gone);
    // Nothing is hidden where the base has the same by now.
    assert_eq!(told(&before, &own, &[file("etc/a", "mine")]), VALID);
    assert_eq!(told(&before, &own, &[Entry { mtime: 9, ..file("etc/a", "a") }]), VALID);
}

#[test]
fn a_folder_on_the_way() {
    let (before, own) = ([folder("var/x")], [file("var/x/y", "mine")]);
    assert_eq!(told(&before, &own, &[folder("var")]), VALID);
    let closed = Entry { mode: 0o700, ..folder("var/x") };
    let said = "/var/x: it stands before another mode than it was made for";
    assert_eq!(told(&before, &own, &[closed]), rebuild(said));
}

#[test]
fn what_is_new_must_not_be_hidden() {
    let own = [file("usr/bin/x", "mine")];
    let hidden = rebuild("/usr/bin/x: it hides what is new in this base");
    assert_eq!(told(&[], &own, &[file("usr/bin/x", "theirs")]), hidden);
    assert_eq!(told(&[], &own, &[file("usr/bin/x", "mine")]), VALID);

    let before = [file("etc/d/a", "a")];
    let more = [file("etc/d/a", "changed"), file("etc/d/b", "b")];
    let hidden = rebuild("/etc/d/b: it hides what is new in this base");
    for own in [opaque("etc/d"), deleted("etc/d"), file("etc/d", "no folder")] {
        assert_eq!(told(&before, std::slice::from_ref(&own), &more), hidden, "{own:?}");
        assert_eq!(told(&before, &[own], &more[..1]), VALID);
    }
}

#[test]
fn what_is_deleted() {
    let (before, own) = ([file("etc/a", "a")], [deleted("etc/a")]);
    assert_eq!(told(&before, &own, &[file("etc/a", "another")]), VALID);
    let gone = rebuild("/etc/a: it takes away what is not in this base");
    assert_eq!(told(&before, &own, &[folder("etc")]), gone);
    let inside = rebuild("/etc/a/new: it hides what is new in this base");
    assert_eq!(told(&before, &own, &[file("etc/a/new", "x")]), inside);
    // A whiteout over nothing takes nothing away, now or later.
    assert_eq!(told(&[], &own, &[]), VALID);
}

#[test]
fn a_link_into_the_base() {
    let before = [file("usr/bin/vim.tiny", "v")];
    let own = [link("etc/alternatives/vi", "/usr/bin/vim.tiny"), link("mask", "/dev/null")];
    assert_eq!(told(&before, &own, &[file("usr/bin/vim.tiny", "w")]), VALID);
    let said = "/etc/alternatives/vi: it links to /usr/bin/vim.tiny, which is not in this base";
    assert_eq!(told(&before, &own, &[folder("usr/bin")]), rebuild(said));
}

#[test]
fn what_runs_a_script() {
    let before = [script("usr/bin/perl", "x"), script("usr/bin/dash", "x")];
    let own = [script("usr/bin/a", "#!/usr/bin/perl\n"), script("usr/bin/b", "#!/bin/nothing\n")];
    let said = "/usr/bin/a: /usr/bin/perl, which runs it, is not there";
    assert_eq!(told(&before, &own, &before[1..]), conflict(said));
    let own = [script("usr/bin/a", "#!/usr/bin/env perl\n")];
    let said = "/usr/bin/a: perl, which runs it, is not there";
    assert_eq!(told(&before, &own, &before[1..]), conflict(said));
    assert_eq!(told(&before, &own, &before[..1]), VALID);
}

fn library(versions: &[&str], symbols: &[&str]) -> Library {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Library { machine: 1, versions: set(versions), symbols: set(symbols) }
}

/// A base with one library, `libx.so.1`, a link to a file.
fn with_library(library: Library) -> Base {
    let folder = "usr/lib/x86_64-linux-gnu";
    let file_name = format!("{folder}/libx.so.1.0");
    let entries = [
        file(&file_name, "x"),
        link(&format!("{folder}/libx.so.1"), "libx.so.1.0"),
        file("ld", ""),
    ];
    let mut base = base(&entries);
    base.libraries.insert(file_name, library);
    base
}

fn program() -> Program {
    Program {
        machine: 1,
        interpreter: Some("/ld".to_owned()),
        libraries: vec!["libx.so.1".to_owned()],
        versions: [("libx.so.1".to_owned(), ["X_1".to_owned()].into())].into(),
        ..Program::default()
    }
}

/// An overlay with one program.
fn with_program(base: &Base, program: Program) -> Overlay {
    let mut overlay = overlay(base, &[file("usr/bin/p", "p")]);
    overlay.programs.insert("usr/bin/p".to_owned(), program);
    overlay
}

#[test]
fn libraries_and_the_versions_of_their_symbols() {
    let overlay = with_program(&with_library(library(&["X_1"], &[])), program());
    let on = |base: &Base| words(&judge(&overlay, base, false));
    assert_eq!(on(&with_library(library(&["X_1", "X_2"], &[]))), VALID);
    let said = "/usr/bin/p: libx.so.1 has no X_1 for it";
    assert_eq!(on(&with_library(library(&["X_2"], &[]))), conflict(said));
    let said = "/usr/bin/p: libx.so.1 is not there for it";
    assert_eq!(on(&base(&[file("ld", "")])), conflict(said));
    let other_machine = Library { machine: 2, ..library(&["X_1"], &[]) };
    assert_eq!(on(&with_library(other_machine)), conflict(said));
    let mut without_loader = with_library(library(&["X_1"], &[]));
    without_loader.files.remove("ld");
    let said = "/usr/bin/p: /ld, which runs it, is not there";
    assert_eq!(on(&without_loader), conflict(said));
    // Other packages may bring what these lack.
    let renewed = judge(&overlay, &base(&[file("ld", "")]), true);
    assert_eq!(renewed.verdict, Verdict::Rebuild);
}

#[test]
fn symbols_without_versions() {
    let symbols = [("libx.so.1".to_owned(), ["x_open".to_owned()].into())].into();
    let program = Program { versions: BTreeMap::new(), symbols, ..program() };
    let overlay = with_program(&with_library(library(&[], &["x_open"])), program);
    let on = |library| words(&judge(&overlay, &with_library(library), false));
    assert_eq!(on(library(&[], &["x_open", "x_new"])), VALID);
    let said = "/usr/bin/p: libx.so.1 has no symbol x_open for it";
    assert_eq!(on(library(&[], &["x_new"])), conflict(said));
    // With versions, or too many symbols to list, it may well have it.
    assert_eq!(on(library(&["X_1"], &[])), VALID);
}

#[test]
fn where_libraries_are_looked_for() {
    let mut first = with_library(library(&["X_1"], &[]));
    first.files.retain(|path, _| path == "ld");
    let missing = with_program(&first, program());
    assert_eq!(judge(&missing, &first, false).verdict, Verdict::Conflict);
    for place in ["opt/p/lib", "opt/configured"] {
        let mut there = base(&[file(&format!("{place}/libx.so.1"), "x"), file("ld", "")]);
        there.libraries.insert(format!("{place}/libx.so.1"), library(&["X_1"], &[]));
        there.library_folders.insert("/opt/configured".to_owned());
        let folders = vec!["$ORIGIN/../../opt/p/lib".to_owned()];
        let overlay = with_program(&there, Program { folders, ..program() });
        assert_eq!(words(&judge(&overlay, &there, false)), VALID, "{place}");
    }
    // The overlay's own, and not that of the base that it stands before.
    let theirs = with_library(library(&["X_2"], &[]));
    let path = "usr/lib/x86_64-linux-gnu/libx.so.1";
    let mut overlay = overlay(&theirs, &[file("usr/bin/p", "p"), file(path, "mine")]);
    overlay.programs.insert("usr/bin/p".to_owned(), program());
    overlay.libraries.insert(path.to_owned(), library(&["X_1"], &[]));
    assert_eq!(words(&judge(&overlay, &theirs, false)), VALID);
}

/// What is said of an overlay that changes the packages so, on a base that has `before`, on one that has `now`.
fn packages(
    before: &[String],
    put: &[(&str, &str)],
    gone: &[&str],
    now: &[String],
) -> (Verdict, Vec<String>) {
    let status = |packages: &[String]| [file("var/lib/dpkg/status", &packages.join("\n"))];
    let own = [note(&[("var/lib/dpkg/status", put, gone)])];
    told(&status(before), &own, &status(now))
}

#[test]
fn relations_between_packages() {
    let tool = package(
        "tool",
        "1",
        "Depends: libx (>= 1), never\nConflicts: enemy\nBreaks: libx (>= 5)\n",
    );
    let put = [("tool amd64", &*tool)];
    let before = [package("libx", "1", "")];
    let on = |now: &[String]| packages(&before, &put, &[], now);
    assert_eq!(on(&[package("libx", "2", ""), package("liby", "1", "")]), VALID);
    let said = "tool depends on libx (>= 1), which is not there";
    assert_eq!(on(&[package("libx", "0.9", "")]), conflict(said));
    assert_eq!(on(&[package("liby", "0.9", "")]), conflict(said));
    let said = "tool cannot be with enemy, and enemy is there";
    assert_eq!(on(&[package("libx", "1", ""), package("enemy", "1", "")]), conflict(said));
    let said = "tool cannot be with libx (>= 5), and libx is there";
    assert_eq!(on(&[package("libx", "5", "")]), conflict(said));
    let said = "hater cannot be with tool (<< 2), and tool is there";
    let hater = package("hater", "1", "Breaks: tool (<< 2)\n");
    assert_eq!(on(&[package("libx", "1", ""), hater]), conflict(said));
    // What is wrong with the base by itself is not the overlay's matter.
    let broken = package("sick", "1", "Depends: nobody\n");
    assert_eq!(on(&[package("libx", "1", ""), broken]), VALID);
}

#[test]
fn packages_that_both_have() {
    let own = package("libx", "2", "");
    let put = [("libx amd64", &*own)];
    let before = [package("libx", "1", "")];
    let on = |version: &str| packages(&before, &put, &[], &[package("libx", version, "")]);
    assert_eq!(on("1"), VALID);
    assert_eq!(on("2"), VALID);
    assert_eq!(on("2+deb13u1"), rebuild("its libx 2 is older than this base's 2+deb13u1"));
}

#[test]
fn packages_that_are_taken_away() {
    let user = package("user", "1", "Depends: libx\n");
    let before = [package("libx", "1", "")];
    let on = |now: &[String]| packages(&before, &[], &["libx amd64"], now);
    assert_eq!(on(&before), VALID);
    assert_eq!(on(&[]), VALID);
    let said = "it takes away libx 1, and this base has 2";
    assert_eq!(on(&[package("libx", "2", "")]), rebuild(said));
    let said = "user depends on libx, which is not there";
    assert_eq!(on(&[package("libx", "1", ""), user]), conflict(said));
}

#[test]
fn users_and_groups() {
    let passwd = |lines: &[&str]| file("etc/passwd", &lines.join("\n"));
    let (root, lldpd) = ("root:x:0:0::/root:/bin/sh", "lldpd:x:101:102::/:/bin/false");
    let before = base(&[passwd(&[root])]);
    let own = [note(&[
        ("etc/passwd", &[("lldpd", lldpd)], &[]),
        ("etc/group", &[("lldpd", "lldpd:x:102:")], &[]),
    ])];
    let free = overlay(&before, &own);
    let fixed = overlay_with(&before, &own, &["lldpd"]);
    let on = |overlay: &Overlay, now: Entry| words(&judge(overlay, &base(&[now]), false));
    assert_eq!(on(&free, passwd(&[root, lldpd])), VALID);
    assert_eq!(on(&free, passwd(&[root, "sshd:x:102:1::/:/"])), VALID);

    let taken = passwd(&[root, "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin"]);
    let said = "its user lldpd has the number 101, which is sshd's in this base";
    assert_eq!(on(&free, taken.clone()), rebuild(said));
    assert_eq!(on(&fixed, taken), conflict(said));
    let other = passwd(&[root, "lldpd:x:107:107::/:/"]);
    let said = "its user lldpd has the number 101, and 107 in this base";
    assert_eq!(on(&free, other.clone()), rebuild(said));
    assert_eq!(on(&fixed, other), conflict(said));
    let said = "its group lldpd has the number 102, which is crontab's in this base";
    assert_eq!(on(&free, file("etc/group", "crontab:x:102:\n")), rebuild(said));

    // A number that is one name's in all of Debian stays the same however often it is built.
    let low = overlay(&before, &[note(&[("etc/passwd", &[("tape", "tape:x:26:26::/:/")], &[])])]);
    let said = "its user tape has the number 26, which is disk's in this base";
    assert_eq!(on(&low, passwd(&[root, "disk:x:26:6::/:/"])), conflict(said));
}

#[test]
fn the_worst_comes_first() {
    let before = [file("etc/a", "a"), script("usr/bin/perl", "x")];
    let own = [file("etc/a", "mine"), script("usr/bin/a", "#!/usr/bin/perl\n")];
    let (verdict, reasons) = told(&before, &own, &[file("etc/a", "b")]);
    assert_eq!(verdict, Verdict::Conflict);
    assert!(reasons[0].contains("perl") && reasons[1].contains("/etc/a"), "{reasons:?}");
}

#[test]
fn nothing_of_a_hostile_image_panics() {
    let odd = [
        file("etc/passwd", ":::\n::\nx:y:99999999999:\n"),
        file("var/lib/dpkg/status", "Package: \nStatus: a b installed\nDepends: ((\n"),
        link("a", "a/../../a"),
        file("bin/elf", "\u{7f}ELF\u{2}\u{1}\u{1}"),
    ];
    assert_eq!(told(&odd, &odd, &odd), VALID);
}
