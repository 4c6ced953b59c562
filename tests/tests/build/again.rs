//! A base whose packages move: it goes on from those that did not, and is what it would be made from nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use overboot_digest::Digest;
use overboot_testkit::archive::{Archive, Deb, now};
use overboot_testkit::images;

use crate::project::{Project, folder, names};
use crate::reproducible::copy_project;
use crate::small::{self, Small};

/// Packages that no other needs.
const TOOLS: [&str; 4] = ["lamp", "nail", "saw", "wheel"];

/// The archive so many minutes ago, with versions of what is essential and of the tools.
fn archive(minutes: u64, system: &str, tools: [&str; 4]) -> Archive {
    let tell = format!("#!/bin/sh\necho \"$SOURCE_DATE_EPOCH\" > /etc/{system}-made\n");
    let first = Deb::new("first", system)
        .field("Essential", "yes")
        .field("Priority", "required")
        .field("Depends", "system")
        .control_file("postinst", 0o755, tell.as_bytes());
    let picture = Deb::new("picture", "1").field("Depends", "nail");
    let archive = small::archive().dated(now() - 60 * minutes, None).package(first);
    let tools = TOOLS.into_iter().zip(tools).map(|(name, version)| {
        let tell = format!("#!/bin/sh\necho {name} >> /etc/order\n");
        let accounts = if name == "wheel" { "adduser | system" } else { "system" };
        Deb::new(name, version)
            .field("Depends", accounts)
            .file(&format!("usr/share/{name}"), 0o644, version.as_bytes())
            .control_file("postinst", 0o755, tell.as_bytes())
    });
    tools.fold(archive.package(picture), Archive::package)
}

/// What is kept of bases after their stages.
fn kept_stages(project: &Project) -> Vec<String> {
    let names = names(&project.folder.join(".overboot/trees")).into_iter();
    let names = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("stage-") && !name.contains('.')).collect()
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

/// The names of the packages in each stage of the base.
fn stages(lock: &toml::Table) -> Vec<String> {
    let base = &lock["image"]["base/base"];
    let batches = base["steps"][0].as_array().unwrap();
    let name = |key: &toml::Value| key.as_str().unwrap().split('=').next().unwrap().to_owned();
    let names = |batch: &toml::Value| batch.as_array().unwrap().iter().map(name).collect();
    let mut batches = batches.iter().map(names);
    let stages = base["stage"].as_array().unwrap().iter();
    let ends = stages.map(|stage| stage["batches"].as_integer().unwrap() as usize);
    let mut from = 0;
    let lengths = ends.map(|end| end - std::mem::replace(&mut from, end)).collect::<Vec<_>>();
    let mut join = |length| {
        let names: Vec<Vec<String>> = batches.by_ref().take(length).collect();
        names.concat().join(" ")
    };
    let mut stages: Vec<String> = lengths.into_iter().map(&mut join).collect();
    stages.push(join(usize::MAX));
    stages
}

#[test]
fn a_base_whose_packages_move_goes_on_from_the_others() {
    if !small::possible() {
        return;
    }
    let small = Small::with(archive(50, "1", ["1"; 4]));
    let project = &small.project;
    let recipe = small::recipe(&project.key(), &small.server.uri());
    let asked = format!("[\"greeter\", \"picture\", \"{}\"]", TOOLS.join("\", \""));
    project.write_recipe(&recipe.replace("[\"greeter\"]", &asked));
    let locked = || -> toml::Table {
        fs::read_to_string(project.folder.join("overboot.lock")).unwrap().parse().unwrap()
    };
    let epochs = || -> Vec<u64> {
        let stages = locked()["image"]["base/base"]["stage"].as_array().unwrap().clone();
        stages.iter().map(|stage| stage["epoch"].as_integer().unwrap() as u64).collect()
    };
    let moved = |archive: Archive, name: &str| {
        small.server.replace(archive.build(&small.key));
        project.succeed(&["lock", "--update", name]);
    };
    assert_eq!(build(project), 2);
    assert_eq!(stages(&locked()), ["system first", "greeter lamp nail picture saw wheel"]);
    assert_eq!(kept_stages(project), [""; 0], "who builds once has nothing of it");
    let [first] = epochs()[..] else { panic!() };

    // What depends on the nail is configured after it.
    moved(archive(40, "1", ["1", "1.1", "1", "1"]), "nail");
    assert_eq!(stages(&locked()), ["system first", "greeter lamp saw wheel", "nail picture"]);
    let [essential, settled] = epochs()[..] else { panic!() };
    assert!(essential == first && settled > first);
    assert_eq!(build(project), 3);
    let kept = kept_stages(project);
    // When they were made must not be seen when the base's own epoch is later.
    let trees = kept.iter().map(|name| project.folder.join(".overboot/trees").join(name));
    let newest: BTreeSet<i64> = trees.map(|tree| newest(&tree)).collect();
    assert_eq!(newest, BTreeSet::from([essential as i64, settled as i64]));
    moved(archive(30, "1", ["1", "1.2", "1", "1"]), "nail");
    assert_eq!(build(project), 1, "the others are there");
    assert_eq!(kept_stages(project), kept);
    assert!(locked()["epoch"].as_integer().unwrap() as u64 > settled);
    assert_eq!(epochs(), [essential, settled]);
    assert!(project.succeed(&["check"]).contains("valid"));
    let order = fs::read_to_string(project.tree("base-base").join("etc/order")).unwrap();
    assert_eq!(order.lines().count(), 4);
    assert!(order.ends_with("\nnail\n"), "{order}");

    // From the same lock another project makes the same bytes out of nothing.
    let other = folder();
    let other = Project { folder: other.path().join("project"), cache: project.cache.clone() };
    copy_project(&project.folder, &other.folder);
    assert_eq!(build(&other), 3);
    assert_eq!(other.images(), project.images());

    // What moves next comes to those that did; the essential packages are gone on from.
    moved(archive(20, "1", ["1", "1.2", "1.1", "1"]), "saw");
    assert_eq!(stages(&locked()), ["system first", "greeter lamp wheel", "nail picture saw"]);
    assert_eq!(build(project), 2);
    assert_eq!(kept_stages(project).len(), 2);
    assert_eq!(epochs()[0], essential);
    assert!(epochs()[1] > settled);
    // Nothing moves, and nothing is another.
    let lock = locked();
    moved(archive(15, "1", ["1", "1.2", "1.1", "1"]), "saw");
    assert_eq!(locked()["image"]["base/base"]["stage"], lock["image"]["base/base"]["stage"]);
    assert_eq!(build(project), 0);

    // The wheel may make an account, and those get their numbers in the order in which they are made.
    moved(archive(12, "1", ["1", "1.2", "1.1", "1.1"]), "wheel");
    assert_eq!(stages(&locked()), ["system first", "greeter lamp wheel", "nail picture saw"]);
    // When most have moved, it begins anew.
    moved(archive(10, "1", ["1.1", "1.2", "1.1", "1.1"]), "lamp");
    assert_eq!(stages(&locked()), ["system first", "greeter nail picture saw wheel", "lamp"]);

    // What is essential moves, and what was kept is of no use any more.
    moved(archive(5, "2", ["1.1", "1.2", "1.1", "1.1"]), "first");
    let kept = kept_stages(project);
    assert_eq!(build(project), 3);
    assert_eq!(kept_stages(project).len(), 2);
    assert!(kept_stages(project).iter().all(|name| !kept.contains(name)));
    assert!(epochs()[0] > first);
    project.assert_clean();
}

#[test]
fn a_stage_that_has_no_business_in_the_lock_leaves_nothing_out() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    small.project.succeed(&["build", "overlay/tools"]);
    let other = folder();
    let other =
        Project { folder: other.path().join("project"), cache: small.project.cache.clone() };
    copy_project(&small.project.folder, &other.folder);
    let path = other.folder.join("overboot.lock");
    let mut lock: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let stage = toml::Table::from_iter([
        ("batches".to_owned(), toml::Value::Integer(1)),
        ("epoch".to_owned(), toml::Value::Integer(1)),
    ]);
    let overlay = lock["image"]["overlay/tools"].as_table_mut().unwrap();
    overlay.insert("stage".into(), vec![stage].into());
    fs::write(&path, lock.to_string()).unwrap();
    other.succeed(&["build", "overlay/tools"]);
    assert_eq!(other.images(), small.project.images());
}

/// Of the real archive: the shipped base is the same to the byte when a good part of it comes last.
#[test]
fn in_which_order_packages_came_is_not_in_the_image() {
    const MOVED: [&str; 7] =
        ["ca-certificates", "curl", "iproute2", "kmod", "openssl", "sudo", "vim-tiny"];
    if !small::possible() {
        return;
    }
    let folder = folder();
    let project = Project::init(folder.path().join("project"), images::cache());
    project.succeed(&["build", "base/base"]);
    let first = project.images();
    // The lock of somebody who had other files of these.
    let path = project.folder.join("overboot.lock");
    let mut lock: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    for package in lock["package"].as_array_mut().unwrap() {
        if MOVED.contains(&package["name"].as_str().unwrap()) {
            package["sha256"] = Digest::of(package["name"].as_str().unwrap()).to_string().into();
        }
    }
    fs::write(&path, lock.to_string()).unwrap();
    project.succeed(&[&["lock", "--update"], &MOVED[..]].concat());
    let last = stages(&fs::read_to_string(&path).unwrap().parse().unwrap()).pop().unwrap();
    let mut last: Vec<&str> = last.split(' ').collect();
    last.sort_unstable();
    assert_eq!(last, MOVED);
    project.succeed(&["build", "base/base"]);
    assert_eq!(project.images(), first);
}
