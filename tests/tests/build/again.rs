//! A base whose packages move: it goes on from its first packages, which did not, and is what it would be made from nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use overboot_testkit::archive::{Archive, Deb, now};

use crate::project::{Project, folder, names};
use crate::reproducible::copy_project;
use crate::small::{self, Small};

/// The archive so many minutes ago, with versions of what is essential and of another package.
fn archive(minutes: u64, system: &str, nail: &str) -> Archive {
    let tell = format!("#!/bin/sh\necho \"$SOURCE_DATE_EPOCH\" > /etc/{system}-made\n");
    let first = Deb::new("first", system)
        .field("Essential", "yes")
        .field("Priority", "required")
        .field("Depends", "system")
        .control_file("postinst", 0o755, tell.as_bytes());
    let nail = Deb::new("nail", nail).file("usr/share/nail", 0o644, nail.as_bytes());
    small::archive().dated(now() - 60 * minutes, None).package(first).package(nail)
}

/// What is kept of bases with their first packages.
fn starts(project: &Project) -> Vec<String> {
    let names = names(&project.folder.join(".overboot/trees")).into_iter();
    let names = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("start-") && !name.contains('.')).collect()
}

/// The youngest time of anything in a tree.
fn newest(tree: &Path) -> i64 {
    let metadata = tree.symlink_metadata().unwrap();
    let inside = if metadata.is_dir() { names(tree) } else { Vec::new() };
    inside.iter().map(|path| newest(path)).fold(metadata.mtime(), i64::max)
}

/// Builds; tells how often packages were unpacked for the base.
fn build(project: &Project) -> usize {
    let said = project.succeed(&["--json", "build"]);
    let base = |line: &&str| line.contains("base/base") && line.contains("\"unpacking ");
    said.lines().filter(base).count()
}

#[test]
fn a_base_that_is_built_again_goes_on_from_its_first_packages() {
    if !small::possible() {
        return;
    }
    let small = Small::with(archive(50, "1", "1.0"));
    let project = &small.project;
    let recipe = small::recipe(&project.key(), &small.server.uri());
    project.write_recipe(&recipe.replace("[\"greeter\"]", "[\"greeter\", \"nail\"]"));
    let locked = || -> toml::Table {
        fs::read_to_string(project.folder.join("overboot.lock")).unwrap().parse().unwrap()
    };
    let moved = |archive: Archive, name: &str| {
        small.server.replace(archive.build(&small.key));
        project.succeed(&["lock", "--update", name]);
    };
    assert_eq!(build(project), 2);
    assert_eq!(starts(project), [""; 0], "who builds once has nothing of it");
    let epoch = locked()["epoch"].clone();

    moved(archive(40, "1", "1.1"), "nail");
    assert_eq!(build(project), 2);
    let kept = starts(project);
    assert_eq!(kept.len(), 1);
    // When it was made must not be seen when the base's own epoch is later.
    let first = locked()["image"]["base/base"]["first_epoch"].as_integer().unwrap();
    let newest = newest(&project.folder.join(".overboot/trees").join(&kept[0]));
    assert_eq!(newest, first);
    moved(archive(30, "1", "1.2"), "nail");
    assert_eq!(build(project), 1, "the first packages are there");
    assert_eq!(starts(project), kept);
    let lock = locked();
    assert_ne!(lock["epoch"], epoch);
    assert_eq!(lock["image"]["base/base"]["first_epoch"], epoch);
    assert!(project.succeed(&["check"]).contains("valid"));

    // From the same lock another project makes the same bytes out of nothing.
    let other = folder();
    let other = Project { folder: other.path().join("project"), cache: project.cache.clone() };
    copy_project(&project.folder, &other.folder);
    assert_eq!(build(&other), 2);
    assert_eq!(other.images(), project.images());

    // What is essential moves, and what was kept is of no use any more.
    moved(archive(20, "2", "1.2"), "first");
    assert_eq!(build(project), 2);
    assert_ne!(starts(project), kept);
    assert_eq!(starts(project).len(), 1);
    assert!(locked()["image"]["base/base"].get("first_epoch").is_none());
    project.assert_clean();
}
