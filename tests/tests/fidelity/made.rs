//! What overboot makes of a set: a base of a project that has all sets of its suite, so that they are resolved once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_digest::Digest;
use overboot_testkit::images;
use overboot_testkit::program::run;
use tempfile::TempDir;
use toml::{Table, Value};

use crate::sets::{SETS, Set};

/// All trees are made as if at this time, so that a witness counts also when an archive has a new date.
pub const EPOCH: u64 = 1_750_000_000;

/// A set's tree, and the lock that it was made from. It goes with this value.
#[derive(Debug)]
pub struct Made {
    pub folder: TempDir,
    pub tree: PathBuf,
    pub lock: Locked,
}

/// What the lock says of one set.
#[derive(Debug)]
pub struct Locked {
    /// Each suite with the digest of its list of packages.
    pub suites: Vec<(String, String)>,
    /// Digest by path beneath the mirror.
    pub packages: BTreeMap<String, String>,
}

/// Builds the tree of a set.
pub fn made(set: &Set) -> Made {
    let shared = project(set.suite);
    let folder =
        tempfile::Builder::new().prefix("set-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let own = folder.path().join("project");
    run(Command::new("cp").arg("-a").arg(&shared).arg(&own));
    overboot(&own, &["build", &format!("base/{}", set.name)]);
    let name = format!("base-{}-", set.name);
    let mut trees: Vec<PathBuf> = fs::read_dir(own.join(".overboot/trees"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.is_dir() && path.file_name().unwrap().to_string_lossy().starts_with(&name)
        })
        .collect();
    assert_eq!(trees.len(), 1, "{trees:?}");
    let lock = fs::read_to_string(own.join("overboot.lock")).unwrap();
    let lock = Locked::of(&lock.parse().unwrap(), set.name);
    Made { tree: trees.remove(0), lock, folder }
}

impl Locked {
    fn of(lock: &Table, name: &str) -> Self {
        let text = |table: &Value, key: &str| table[key].as_str().unwrap().to_owned();
        let archives = lock["archive"].as_array().unwrap().iter();
        let suites = archives.map(|archive| (text(archive, "suite"), hex(&archive["lists"][0])));
        let steps = lock["image"][format!("base/{name}").as_str()]["steps"].as_array().unwrap();
        let keys = steps.iter().flat_map(|step| step.as_array().unwrap());
        let keys: Vec<&str> = keys
            .flat_map(|batch| batch.as_array().unwrap())
            .map(|key| key.as_str().unwrap())
            .collect();
        let packages = lock["package"].as_array().unwrap().iter().filter(|package| {
            let key = format!("{}={}", text(package, "name"), text(package, "version"));
            keys.contains(&&*key)
        });
        let packages: BTreeMap<_, _> =
            packages.map(|package| (text(package, "path"), hex(&package["sha256"]))).collect();
        assert_eq!(packages.len(), keys.len(), "every package of {name} has its file");
        Self { suites: suites.collect(), packages }
    }
}

/// Of `sha256:…`.
fn hex(digest: &Value) -> String {
    digest.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned()
}

/// The project with all sets of a suite, locked anew by the first test of a run that needs it.
fn project(suite: &str) -> PathBuf {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fidelity");
    fs::create_dir_all(&shared).unwrap();
    let lock = File::create(shared.join(format!("{suite}.lock"))).unwrap();
    lock.lock().unwrap();
    let (project, marker) = (shared.join(suite), shared.join(format!("{suite}.made-by")));
    // nextest gives each test a process of its own; without it all are in this one.
    let run_id = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
    let made_by = format!("{} {run_id}", Digest::of(fs::read(images::overboot()).unwrap()));
    if fs::read_to_string(&marker).is_ok_and(|said| said == made_by) {
        return project;
    }
    let _none_yet = fs::remove_file(&marker);
    if project.exists() {
        fs::remove_dir_all(&project).unwrap();
    }
    run(Command::new(images::overboot()).arg("init").arg(&project));
    let path = project.join("overboot.toml");
    let before: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    fs::write(&path, recipe(before, suite)).unwrap();
    overboot(&project, &["lock", "--update"]);
    let path = project.join("overboot.lock");
    let mut lock: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let epoch = Value::from(i64::try_from(EPOCH).unwrap());
    let images = lock["image"].as_table_mut().unwrap();
    // An image may have a time of its own.
    for (_, image) in images {
        let image = image.as_table_mut().unwrap();
        if let Some(own) = image.get_mut("epoch") {
            *own = epoch.clone();
        }
    }
    lock.insert("epoch".to_owned(), epoch);
    fs::write(&path, toml::to_string(&lock).unwrap()).unwrap();
    fs::write(&marker, made_by).unwrap();
    project
}

/// A base for each set of the suite, with nothing left out.
fn recipe(before: Table, suite: &str) -> String {
    let mut recipe = Table::new();
    recipe.insert("project".to_owned(), before["project"].clone());
    let archive = Table::from_iter([("suite".to_owned(), Value::from(suite))]);
    recipe.insert("archive".to_owned(), archive.into());
    let base = |set: &Set| {
        let mut base = Table::from_iter([
            ("variant".to_owned(), Value::from(set.variant)),
            // The tree is what is looked at, so the image may be made quickly.
            ("compression".to_owned(), Value::from("lz4")),
        ]);
        if !set.packages.is_empty() {
            let packages = Value::from(set.packages.to_vec());
            let step = Table::from_iter([("packages".to_owned(), packages)]);
            base.insert("provision".to_owned(), Value::from(vec![step]));
        }
        (set.name.to_owned(), Value::from(base))
    };
    let bases: Table = SETS.iter().filter(|set| set.suite == suite).map(base).collect();
    recipe.insert("base".to_owned(), bases.into());
    toml::to_string(&recipe).unwrap()
}

fn overboot(project: &Path, words: &[&str]) {
    let mut command = Command::new(images::overboot());
    command.arg("-C").arg(project).arg("--cache").arg(images::cache()).args(words);
    run(command.env("NO_COLOR", "1").env_remove("OVERBOOT_CACHE"));
}
