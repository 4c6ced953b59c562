//! A disk that is full, at whatever stage of a build: it ends with one sentence that says where and what to do, nothing is lost, and
//! with more room the next build finishes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_digest::Digest;
use overboot_testkit::archive::{Archive, Deb};
use overboot_testkit::{overboot, require};

use crate::project::{self, Project};
use crate::refusals::assert_said;
use crate::small::{self, Small};

/// What is on the small disk.
#[derive(Debug, Clone, Copy, PartialEq)]
enum On {
    /// The project and the packages.
    All,
    /// The project alone.
    Project,
    /// The packages alone.
    Cache,
}

/// Packages of which the script of one needs room: so the disk is full at that stage, too.
fn archive() -> Archive {
    let postinst =
        b"#!/bin/sh\nset -e\nx=x\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21\n\
                     do x=$x$x; done\necho $x > /etc/greeted\necho $x > /etc/greeted-again\n";
    let greeter = Deb::new("greeter", "1.0")
        .field("Depends", "system")
        .control_file("postinst", 0o755, postinst)
        .file("usr/share/greeter/noise", 0o644, &small::noise(1 << 20));
    let archive = Archive::new("trixie").package(small::system()).package(greeter);
    archive.package(small::hammer()).package(small::kernel()).package(small::loaders())
}

fn possible() -> bool {
    small::possible() && require::programs(&["unshare", "mount", "cp"])
}

/// Has all packages in the cache, and nothing but the boot loaders built: it is not packages that make the difference then.
fn with_packages(project: &Project) {
    project.succeed(&["build", "base/base", "overlay/tools"]);
    for folder in [project.folder.join("store"), project.folder.join(".overboot")] {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::remove_dir_all(project.cache.join("blocks")).unwrap();
    project.succeed(&["build", "ipxe"]);
}

/// With its boot loaders built, so that there is something to lose, and no packages.
fn bed() -> Small {
    let small = Small::with(archive());
    small.project.succeed(&["build", "ipxe"]);
    small
}

#[test]
fn a_disk_without_space() {
    if !possible() {
        return;
    }
    let small = bed();
    let aside = project::folder();
    let mut stages: BTreeMap<&str, u32> = BTreeMap::new();
    for (on, sizes) in
        [(On::All, (1500..28_000).step_by(1750)), (On::Cache, (100..9_200).step_by(1500))]
    {
        let mut succeeded = 0;
        for kilobytes in sizes {
            let options = format!("size={kilobytes}k");
            let seen = on_a_small_disk(&small.project, aside.path(), on, &options);
            if seen.status == 0 {
                succeeded += 1;
            } else {
                seen.assert_told(&options);
                *stages.entry(stage(&seen.said)).or_default() += 1;
            }
        }
        assert!(succeeded > 0, "{on:?}: no size was enough");
    }
    eprintln!("{stages:?}");
    for wanted in ["fetch", "unpack", "configure", "store"] {
        assert!(stages.contains_key(wanted), "the disk was never full at \"{wanted}\": {stages:?}");
    }
}

#[test]
fn a_disk_without_inodes() {
    if !possible() {
        return;
    }
    let small = bed();
    with_packages(&small.project);
    let aside = project::folder();
    let (mut failed, mut succeeded) = (0, 0);
    for inodes in (50..300).step_by(16) {
        let options = format!("size=100m,nr_inodes={inodes}");
        let seen = on_a_small_disk(&small.project, aside.path(), On::Project, &options);
        if seen.status == 0 {
            succeeded += 1;
        } else {
            failed += 1;
            seen.assert_told(&options);
        }
    }
    assert!(failed > 3 && succeeded > 0, "{failed} failed, {succeeded} succeeded");
}

#[test]
fn a_step_that_fills_the_disk() {
    if !possible() {
        return;
    }
    let small = bed();
    let path = small.project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    let step = "[[base.base.provision]]\nscript = \"fill.sh\"\n\n[overlay.tools]";
    small.project.write_recipe(&recipe.replace("[overlay.tools]", step));
    let fill = "while echo it never has enough; do :; done > /etc/filled\nexit 5\n";
    fs::write(small.project.folder.join("fill.sh"), "\n").unwrap();
    with_packages(&small.project);
    fs::write(small.project.folder.join("fill.sh"), fill).unwrap();
    let aside = project::folder();
    let seen = on_a_small_disk(&small.project, aside.path(), On::Project, "size=40m");
    seen.assert_told("a step");
    assert_said(
        &seen.said,
        &["fill.sh ended with exit status: 5", "no space was left on the disk of"],
    );
    // What it filled the disk with is gone with it.
    assert!(seen.free > 20 << 20, "{} bytes are free", seen.free);
}

/// What was being done when the disk was full, as the error has it.
fn stage(said: &str) -> &'static str {
    let stages = [
        ("cannot get package", "fetch"),
        ("/indexes", "fetch"),
        ("/packages", "fetch"),
        ("dpkg --configure ended", "configure"),
        ("cannot unpack", "unpack"),
        ("/scratch/", "unpack"),
        ("/store/", "store"),
        ("/trees/", "tree"),
    ];
    stages.iter().find(|(words, _)| said.contains(words)).map_or("other", |(_, stage)| stage)
}

/// What came of a build.
struct Seen {
    status: i32,
    said: String,
    disk: PathBuf,
    free: u64,
    before: BTreeMap<PathBuf, Digest>,
    after: BTreeMap<PathBuf, Digest>,
    /// Of the build that had more room.
    again: i32,
}

impl Seen {
    #[track_caller]
    fn assert_told(&self, options: &str) {
        eprintln!("{options}:\n{}", self.said);
        assert_eq!(self.status, 1, "{options}: {}", self.said);
        let said = self.said.to_lowercase();
        assert!(said.contains("no space left") || said.contains("no space was left"), "{said}");
        assert_said(&self.said, &["help: ", self.disk.to_str().unwrap(), "pace", "run it again"]);
        assert!(!self.said.contains("panicked"), "{}", self.said);
        // What was finished before the disk was full has its name.
        let mut before = self.before.iter().filter(|(path, _)| !path.ends_with("index.json"));
        let stays = |(path, digest): (&PathBuf, &Digest)| self.after.get(path) == Some(digest);
        assert!(before.all(stays), "{options}:\n{}", self.said);
        assert_eq!(self.again, 0, "{options}: with more room:\n{}", self.said);
    }
}

/// Builds a copy of the project with a disk made with these options, which only this build sees; and again with room enough.
fn on_a_small_disk(project: &Project, aside: &Path, on: On, options: &str) -> Seen {
    let turn = tempfile::Builder::new().prefix("turn-").tempdir_in(aside).unwrap();
    let [disk, large, seen] = ["disk", "large", "seen"].map(|name| turn.path().join(name));
    let [before, after] = ["before", "after"].map(|name| seen.join(name));
    for folder in [&disk, &large, &before, &after] {
        fs::create_dir_all(folder).unwrap();
    }
    let here = if on == On::Cache { large.join("project") } else { disk.join("project") };
    let cache = if on == On::Project { project.cache.clone() } else { disk.join("cache") };
    let script = r#"set -e
        mount -t tmpfs -o "$1" tmpfs "$2"
        cp -a "$3" "$4"
        cp -a "$4/store" "$4/overboot.lock" "$7/before"
        set +e
        "$5" -C "$4" --cache "$6" build base/base overlay/tools
        status=$?
        stat -f -c '%a %S' "$2" > "$7/free"
        cp -a "$4/store" "$4/overboot.lock" "$7/after"
        rm -f "$4/fill.sh"; [ -e "$3/fill.sh" ] && echo : > "$4/fill.sh"
        mount -o remount,size=200m,nr_inodes=100000 "$2"
        "$5" -C "$4" --cache "$6" build base/base overlay/tools > "$7/again" 2>&1
        echo $? > "$7/status"
        exit $status"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", options]).arg(&disk).arg(&project.folder);
    command.arg(&here).arg(overboot()).arg(&cache).arg(&seen).env("NO_COLOR", "1");
    let output = command.output().unwrap();
    let visible = |folder: &Path| {
        let copy = Project::at(folder, cache.clone());
        let relative = |(path, digest): (PathBuf, Digest)| {
            (path.strip_prefix(&copy.folder).unwrap().to_owned(), digest)
        };
        copy.visible().into_iter().map(relative).collect()
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let read = |name: &str| {
        fs::read_to_string(seen.join(name)).unwrap_or_else(|error| panic!("{error}:\n{said}"))
    };
    let again = read("status").trim().parse().unwrap();
    let said = if again == 0 { said.clone() } else { format!("{said}\n{}", read("again")) };
    let free = read("free").split_whitespace().map(|word| word.parse::<u64>().unwrap()).product();
    Seen {
        status: output.status.code().unwrap(),
        free,
        before: visible(&before),
        after: visible(&after),
        again,
        disk,
        said,
    }
}
