//! A project and its store, seen from outside: by the files alone, without our own readers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use overboot_digest::Digest;
use overboot_testkit::{deadline, overboot};
use serde_json::Value;

/// A project's folder, and where its packages are kept.
#[derive(Debug)]
pub struct Project {
    pub folder: PathBuf,
    pub cache: PathBuf,
}

impl Project {
    /// A new project, as `overboot init` makes it.
    pub fn init(folder: PathBuf, cache: PathBuf) -> Self {
        let project = Self { folder, cache };
        let made = Command::new(overboot()).arg("init").arg(&project.folder).output().unwrap();
        succeeded(&made);
        project
    }

    /// A project that is there already.
    pub fn at(folder: &Path, cache: PathBuf) -> Self {
        Self { folder: folder.to_owned(), cache }
    }

    /// `overboot WORDS…` in this project.
    pub fn overboot<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Command {
        let mut command = Command::new(overboot());
        command.arg("-C").arg(&self.folder).arg("--cache").arg(&self.cache).args(words);
        command.env("NO_COLOR", "1").env_remove("OVERBOOT_CACHE");
        command
    }

    /// Runs it to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.overboot(words).output().unwrap()
    }

    /// Runs it; it must succeed. What it printed on standard output.
    #[track_caller]
    pub fn succeed(&self, words: &[&str]) -> String {
        succeeded(&self.run(words))
    }

    /// Runs it; it must fail as programs fail. What it said.
    #[track_caller]
    pub fn fail(&self, words: &[&str]) -> String {
        failed(&self.run(words))
    }

    /// The recipe.
    pub fn recipe(&self) -> toml::Table {
        fs::read_to_string(self.folder.join("overboot.toml")).unwrap().parse().unwrap()
    }

    /// Another recipe.
    pub fn write_recipe(&self, text: &str) {
        fs::write(self.folder.join("overboot.toml"), text).unwrap();
    }

    /// The public key that this project's sets are signed with.
    pub fn key(&self) -> String {
        self.recipe()["project"]["trust"][0].as_str().unwrap().to_owned()
    }

    /// What is known under a final name, to the byte: the lock, and every file of the store.
    pub fn visible(&self) -> BTreeMap<PathBuf, Digest> {
        let mut files = vec![self.folder.join("overboot.lock")];
        for path in ["index.json", "oci-layout"] {
            files.push(self.folder.join("store").join(path));
        }
        files.extend(names(&self.folder.join("store/blobs/sha256")));
        let read = |path: PathBuf| fs::read(&path).ok().map(|bytes| (path, Digest::of(bytes)));
        files.into_iter().filter_map(read).collect()
    }

    /// Digests and sizes of the layers of every artifact in the store, by target.
    pub fn artifacts(&self) -> BTreeMap<String, Vec<(String, u64)>> {
        let index = self.json("index.json");
        let mut artifacts = BTreeMap::new();
        for entry in index["manifests"].as_array().unwrap() {
            let target = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
            let manifest = self.json(&blob(entry["digest"].as_str().unwrap()));
            let layers = manifest["layers"].as_array().unwrap().iter().map(|layer| {
                let digest = layer["digest"].as_str().unwrap().to_owned();
                (digest, layer["size"].as_u64().unwrap())
            });
            artifacts.insert(target.unwrap().to_owned(), layers.collect());
        }
        artifacts
    }

    /// The digest of the manifest that the index names so.
    pub fn manifest(&self, target: &str) -> String {
        let index = self.json("index.json");
        let mut entries = index["manifests"].as_array().unwrap().iter();
        let name = "org.opencontainers.image.ref.name";
        let entry = entries.find(|entry| entry["annotations"][name] == target);
        let entry = entry.unwrap_or_else(|| panic!("{target} is not in the store"));
        entry["digest"].as_str().unwrap().to_owned()
    }

    /// Digests of all that the store keeps for one artifact: its manifest, what that is configured by, and its layers.
    pub fn blobs(&self, target: &str) -> Vec<String> {
        let own = self.manifest(target);
        let manifest = self.json(&blob(&own));
        let parts = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
        parts.map(|part| part["digest"].as_str().unwrap().to_owned()).chain([own]).collect()
    }

    /// The image of every artifact: its first layer. A boot set's second one is its signature, which is never the same twice.
    pub fn images(&self) -> BTreeMap<String, (String, u64)> {
        let artifacts = self.artifacts().into_iter();
        artifacts.map(|(target, layers)| (target, layers[0].clone())).collect()
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("store").join(blob(digest))
    }

    /// The kept root tree whose name begins so.
    pub fn tree(&self, name: &str) -> PathBuf {
        let trees = names(&self.folder.join(".overboot/trees"));
        let mut found = trees.into_iter().filter(|path| {
            let file = path.file_name().unwrap().to_string_lossy();
            path.is_dir() && file.starts_with(&format!("{name}-"))
        });
        let tree = found.next().unwrap_or_else(|| panic!("no tree of {name}"));
        assert_eq!(found.next(), None, "one tree of {name}");
        tree
    }

    /// No trace of a build that has ended: nothing mounted, no loop device, no process, no scratch.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.assert_let_go();
        let scratch = names(&self.folder.join(".overboot/scratch"));
        assert_eq!(scratch, Vec::<PathBuf>::new(), "left in .overboot/scratch");
        let aside = names(&self.folder.join("store/.overboot-tmp"));
        assert_eq!(aside, Vec::<PathBuf>::new(), "left in the store");
    }

    /// Nothing of the machine is held: no mount, no loop device, no process in a tree of this project.
    #[track_caller]
    pub fn assert_let_go(&self) {
        let ours = self.folder.to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(ours), "mounted:\n{mounts}");
        for device in names(Path::new("/sys/block")) {
            let file = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
            assert!(!file.contains(ours), "{} holds {file}", device.display());
        }
        // A process that was killed takes those in its namespaces along, and each takes a moment.
        let what = "no process is left in a tree of the project";
        deadline::eventually(what, Duration::from_secs(60), || {
            !names(Path::new("/proc")).iter().any(|process| {
                ["root", "cwd", "exe"].iter().any(|link| {
                    let of = fs::read_link(process.join(link)).unwrap_or_default();
                    of.starts_with(self.folder.join(".overboot"))
                })
            })
        });
    }

    fn json(&self, path: &str) -> Value {
        let bytes = fs::read(self.folder.join("store").join(path)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

/// Is there a process with these words in its command line?
pub fn is_running(words: &str) -> bool {
    let words = words.replace(' ', "\0");
    names(Path::new("/proc")).iter().any(|process| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&words)
    })
}

/// It ended well; what it printed on standard output.
#[track_caller]
pub fn succeeded(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{printed}{said}", output.status);
    printed
}

/// It failed with 1 or 2, not by a panic nor a signal; what it said on standard error.
#[track_caller]
pub fn failed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}\n{said}", output.status);
    assert!(said.contains("error: ") && !said.contains("panicked"), "{said}");
    said
}

/// The entries of a folder; none where there is no such folder.
pub fn names(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Where a blob is in an OCI image layout.
fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// A folder of the test's own, on the disk where builds are made.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("build-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
