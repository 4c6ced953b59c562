//! The same recipe, lock and key give the same bytes; and what is built is not built again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use overboot_testkit::images;
use overboot_testkit::program::run;
use overboot_testkit::require;

use crate::project::{Project, folder, names};

/// Bytes at most, by target; decimal megabytes, as disks and network cards count.
const LIMITS: [(&str, u64); 5] = [
    ("base/base", 45_000_000),
    ("overlay/discovery", 5_200_000),
    ("initrd/default", 12_000_000),
    ("firmware/default", 6_000_000),
    ("modules/default", 35_000_000),
];

/// The built-in project, built.
fn shared() -> Project {
    Project::at(images::project(), images::cache())
}

#[test]
fn sizes_stay_within_what_is_promised() {
    if !require::root() {
        return;
    }
    let images = shared().images();
    for (target, limit) in LIMITS {
        let (_, size) = &images[target];
        eprintln!("{target}: {size} of {limit} bytes");
        assert!(*size <= limit, "{target} has {size} bytes, more than {limit}");
    }
}

#[test]
fn nothing_is_done_twice() {
    if !require::root() {
        return;
    }
    let project = shared();
    let _lock = images::exclusive();
    let before = (project.visible(), times(&project));
    let said = project.succeed(&["build"]);
    assert!(said.contains("Nothing to do: everything is as the recipe wants it"), "{said}");
    assert_eq!((project.visible(), times(&project)), before, "the store has changed");
    assert_eq!(project.succeed(&["lock"]).trim(), "overboot.lock is up to date.");
    project.succeed(&["verify"]);
    project.assert_clean();
}

/// When the files of the store were written: one that is written anew with the same bytes is told by this.
fn times(project: &Project) -> BTreeMap<PathBuf, (i64, i64, u64)> {
    let written = |path: PathBuf| {
        let metadata = fs::metadata(&path).ok()?;
        Some((path, (metadata.mtime(), metadata.mtime_nsec(), metadata.ino())))
    };
    project.visible().into_keys().filter_map(written).collect()
}

/// In another folder, at another time, with nothing but the packages kept (compressed blocks are not), on one processor
/// instead of all, and killed on the way: the same digests.
#[test]
fn the_same_recipe_lock_and_key_give_the_same_bytes() {
    if !(require::root() && require::programs(&["cp", "taskset", "unshare"])) {
        return;
    }
    let first = shared();
    let folder = folder();
    let again = folder.path().join("else: where, and deeper/project");
    copy_project(&first.folder, &again);
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    for kept in ["packages", "indexes"] {
        symlink(first.cache.join(kept), cache.join(kept)).unwrap();
    }
    let second = Project { folder: again, cache };

    for event in [
        "\"target\":\"base/base\"",
        "\"finished\",\"target\":\"base/base\"",
        "\"started\",\"target\":\"overlay/discovery\"",
    ] {
        kill_at(&second, event);
        second.assert_let_go();
    }
    // And in a network namespace without links: with all packages kept a build needs nobody.
    let mut build = Command::new("unshare");
    let whole = second.overboot(["--offline", "build"]);
    build.args(["--net", "taskset", "--cpu-list", "0"]);
    build.arg(whole.get_program()).args(whole.get_args());
    run(build.current_dir("/"));
    second.succeed(&["verify"]);
    second.assert_clean();
    assert_eq!(second.images(), first.images());
    assert_eq!(
        fs::read(second.folder.join("overboot.lock")).unwrap(),
        fs::read(first.folder.join("overboot.lock")).unwrap()
    );
}

/// What a project is: recipe, lock, key and sources, and nothing that was made from them.
pub fn copy_project(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in names(from) {
        if !(path.ends_with("store") || path.ends_with(".overboot")) {
            run(Command::new("cp").arg("-a").arg(path).arg(to));
        }
    }
}

/// Builds, and kills the build when it tells of `event`.
fn kill_at(project: &Project, event: &str) {
    let mut build = project.overboot(["--offline", "--json", "build"]);
    let mut build = build.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(build.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).any(|line| line.contains(event));
    build.kill().unwrap();
    build.wait().unwrap();
    assert!(told, "the build did not tell of {event}");
}
