//! A project in which commands are killed: what must hold right after, and when the next one has run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use overboot_digest::Digest;
use overboot_testkit::archive::{Archive, Deb};
use overboot_testkit::require;
use serde_json::Value;

use super::moment::{Course, Dice};
use crate::project::{names, succeeded};
use crate::provisioners::put;
use crate::small::{self, Small};

/// Images by target.
pub type Images = BTreeMap<String, (String, u64)>;

/// The steps that [`small::recipe`] lacks.
const MORE: &str = r#"
[overlay.kit]
base = "base"
[[overlay.kit.provision]]
files = "overlays/kit"
[[overlay.kit.provision]]
packages = ["pliers"]
[[overlay.kit.provision]]
script = "overlays/kit.sh"
[[overlay.kit.provision]]
host-script = "overlays/host.sh"
[[overlay.kit.provision]]
modules = ["kernel/lib/**"]

[set.all]
overlays = ["tools", "kit"]
"#;

/// The project, and what is known of it when nobody kills anything.
#[derive(Debug)]
pub struct Yard {
    pub small: Small,
    pub dice: Dice,
    /// Where what is run may put its temporary files.
    temporary: tempfile::TempDir,
    /// All paths that there were after commands that nobody killed.
    usual: BTreeSet<String>,
    killed: u32,
    rounds: u32,
}

/// Can commands be killed here in all these ways?
pub fn possible() -> bool {
    small::possible() && require::program("strace")
}

/// The archive, whose packages are small: what is built of them is built in no time.
pub fn archive(date: u64, greeting: &str) -> Archive {
    let greeter = Deb::new("greeter", "1.0")
        .field("Depends", "system")
        .field("Description", greeting)
        .control_file("postinst", 0o755, b"#!/bin/sh\necho \"$1\" > /etc/greeted\n")
        .file("usr/share/greeter/noise", 0o644, &small::noise(300 << 10));
    let pliers = Deb::new("pliers", "1.0")
        .field("Depends", "greeter")
        .control_file("preinst", 0o755, b"#!/bin/sh\necho \"$1\" > /etc/pliers\n")
        .file("usr/bin/pliers", 0o755, greeting.as_bytes());
    let hammer = Deb::new("hammer", "2.0")
        .field("Depends", "greeter (>= 1.0)")
        .control_file("postinst", 0o755, b"#!/bin/sh\necho hit > /etc/hammered\n")
        .file("usr/share/hammer/noise", 0o644, &small::noise(200 << 10));
    Archive::new("trixie")
        .dated(date, None)
        .package(small::system())
        .package(greeter)
        .package(hammer)
        .package(pliers)
        .package(small::kernel())
        .package(small::loaders())
}

impl Yard {
    /// For the test case of that name.
    pub fn new(case: &str) -> Self {
        let small = Small::with(archive(overboot_testkit::archive::now() - 60, "hello"));
        let recipe = small::recipe(&small.project.key(), &small.server.uri());
        small.project.write_recipe(&(recipe + MORE));
        put(&small, "overlays/kit/etc/kit", 0o644, b"kit\n");
        put(&small, "overlays/kit/usr/share/kit/noise", 0o644, &small::noise(64 << 10));
        put(&small, "overlays/kit.sh", 0o644, b"echo x > /tmp/x; echo more >> /etc/kit\n");
        put(
            &small,
            "overlays/host.sh",
            0o755,
            b"#!/bin/sh\necho host > \"$ROOT/etc/host-script\"\n",
        );
        let (temporary, usual) = (crate::project::folder(), BTreeSet::new());
        Self { small, dice: Dice::of(case), temporary, usual, killed: 0, rounds: 0 }
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.small.project.overboot(words);
        command.env("TMPDIR", self.temporary.path());
        command
    }

    /// Runs a command that nobody kills; what it leaves is usual.
    #[track_caller]
    pub fn run(&mut self, words: &[&str]) -> Images {
        succeeded(&self.command(words).output().unwrap());
        self.usual.extend(self.paths());
        self.small.project.images()
    }

    /// The course of a command that nobody kills, after what it has something to do after; what it leaves is usual.
    pub fn course(&mut self, words: &[&str], mut prepare: impl FnMut(&mut Self)) -> Course {
        prepare(self);
        let begun = Instant::now();
        self.run(words);
        let length = begun.elapsed();
        prepare(self);
        let course = Course::of(&self.command(words), length);
        self.usual.extend(self.paths());
        for path in &self.usual {
            let kept = !path.contains(".new") && !path.ends_with(".partial");
            assert!(kept, "{path} is no leftover of a command that was killed");
        }
        course
    }

    /// Kills `words` in a moment of its course. Whatever moment that was, everything that has a name is whole then, and the names
    /// for which `lasts` holds are names of what they were.
    #[track_caller]
    pub fn kill(&mut self, words: &[&str], course: &Course, lasts: impl Fn(&str) -> bool) {
        let before = self.named();
        let moment = course.moment(&mut self.dice);
        let struck = moment.strikes(&mut self.command(words));
        eprintln!("{words:?}: {moment:?}{}", if struck { "" } else { " came too late" });
        self.killed += u32::from(struck);
        self.small.project.assert_let_go();
        self.assert_whole();
        let after = self.named();
        for (name, manifest) in before.iter().filter(|(name, _)| lasts(name)) {
            assert_eq!(after.get(name), Some(manifest), "{name} is lost");
        }
    }

    /// Runs the command that follows one that was killed: what is there is what it makes of nothing, and nothing is left behind.
    #[track_caller]
    pub fn goes_on(&self, words: &[&str], images: Option<&Images>) {
        succeeded(&self.command(words).output().unwrap());
        self.assert_whole();
        if let Some(images) = images {
            assert_eq!(&self.small.project.images(), images);
        }
        self.small.project.assert_clean();
        self.assert_in_nobodys_view();
        let left: Vec<String> = self.paths().difference(&self.usual).cloned().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Nothing is built any more; without packages everything is fetched again, without a lock it is made again.
    pub fn start_over(&self, with_packages: bool, with_lock: bool) {
        let project = &self.small.project;
        remove(&project.folder.join("store"));
        remove(&project.folder.join(".overboot"));
        if !with_packages {
            remove(&project.cache);
        }
        if !with_lock {
            remove(&project.folder.join("overboot.lock"));
        }
    }

    /// The number of the next round, until so many commands were killed before they ended by themselves: the clock of a busy
    /// machine, and threads that share their work otherwise, let some through.
    #[track_caller]
    pub fn next_round(&mut self, kills: u32) -> Option<u32> {
        let round = self.rounds;
        assert!(round < 3 * kills, "only {} of {round} commands were killed", self.killed);
        self.rounds += 1;
        (self.killed < kills).then_some(round)
    }

    /// Every content is what its name says, and whatever has a name has all its content. Told without our own readers.
    #[track_caller]
    pub fn assert_whole(&self) {
        let store = self.small.project.folder.join("store");
        let blobs = store.join("blobs/sha256");
        for path in names(&blobs) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(Digest::of(fs::read(&path).unwrap()).hex(), name, "a blob is not whole");
        }
        let index = store.join("index.json");
        let Ok(bytes) = fs::read(&index) else {
            assert!(!store.join("oci-layout").exists(), "a store has an index");
            return;
        };
        let index: Value = serde_json::from_slice(&bytes).unwrap();
        let there = |content: &Value| {
            let digest = content["digest"].as_str().unwrap();
            let path = blobs.join(digest.strip_prefix("sha256:").unwrap());
            let size = fs::metadata(&path).map(|metadata| metadata.len()).ok();
            assert_eq!(size, content["size"].as_u64(), "{digest} is named and not there");
            path
        };
        for entry in index["manifests"].as_array().unwrap() {
            let manifest: Value = serde_json::from_slice(&fs::read(there(entry)).unwrap()).unwrap();
            for content in
                manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]])
            {
                there(content);
            }
        }
        for folder in ["packages/sha256", "indexes/lists"] {
            for path in names(&self.small.project.cache.join(folder)) {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let name = name.strip_suffix(".deb").unwrap_or(&name);
                // What is on its way has another name.
                if name.len() == 64 {
                    let digest = Digest::of(fs::read(&path).unwrap()).hex();
                    assert_eq!(digest, name, "{} is not whole", path.display());
                }
            }
        }
    }

    /// The manifests that the store's index names.
    fn named(&self) -> BTreeMap<String, String> {
        let index = self.small.project.folder.join("store/index.json");
        let Ok(bytes) = fs::read(index) else { return BTreeMap::new() };
        let index: Value = serde_json::from_slice(&bytes).unwrap();
        let named = index["manifests"].as_array().unwrap().iter().map(|entry| {
            let name = &entry["annotations"]["org.opencontainers.image.ref.name"];
            (name.as_str().unwrap().to_owned(), entry["digest"].as_str().unwrap().to_owned())
        });
        named.collect()
    }

    /// No process has the project mounted in a view of its own.
    #[track_caller]
    fn assert_in_nobodys_view(&self) {
        let ours = self.small.project.folder.to_str().unwrap().to_owned();
        for process in names(Path::new("/proc")) {
            let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
            assert!(!mounts.contains(&ours), "{}:\n{mounts}", process.display());
        }
    }

    /// All paths of project, cache and temporary folder, without the digests in them. What is in kept trees is theirs.
    fn paths(&self) -> BTreeSet<String> {
        let project = &self.small.project;
        let mut found = BTreeSet::new();
        for (name, top) in [
            ("project", &project.folder),
            ("cache", &project.cache),
            ("temporary", &self.temporary.path().to_owned()),
        ] {
            let mut folders = vec![top.clone()];
            while let Some(folder) = folders.pop() {
                let is_trees = folder == project.folder.join(".overboot/trees");
                for path in names(&folder) {
                    if !is_trees && fs::symlink_metadata(&path).unwrap().is_dir() {
                        folders.push(path.clone());
                    }
                    found.insert(format!("{name}/{}", without_digests(top, &path)));
                }
            }
        }
        found
    }
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    assert!(removed.is_ok() || !path.exists(), "{removed:?}");
}

/// A path beneath `top`, in which what looks like a digest is one like any other.
fn without_digests(top: &Path, path: &Path) -> String {
    let path = path.strip_prefix(top).unwrap().to_str().unwrap();
    let mut told = String::new();
    let mut run = String::new();
    for character in path.chars().chain(['\0']) {
        if character.is_ascii_hexdigit() && !character.is_ascii_uppercase() {
            run.push(character);
            continue;
        }
        told.push_str(if run.len() >= 12 { "DIGEST" } else { &run });
        run.clear();
        told.extend((character != '\0').then_some(character));
    }
    told
}
