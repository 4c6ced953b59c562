//! The commands of ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::measure::{Memory, Sample, measure};

/// A project of overboot's. All have one package store and one store of compressed blocks.
pub(crate) struct Project<'b> {
    bench: &'b Bench,
    folder: PathBuf,
}

impl<'b> Project<'b> {
    /// One with that recipe after its `[archive]`.
    pub(crate) fn new(bench: &'b Bench, name: &str, recipe: &str) -> Result<Self> {
        let project = Self { bench, folder: bench.path(name) };
        fs_err::create_dir_all(&project.folder)?;
        let text = format!("[project]\nname = \"bench\"\n\n{}\n{recipe}", archive(bench));
        fs_err::write(project.folder.join("overboot.toml"), text)?;
        Ok(project)
    }

    /// The one that ships, and more steps after it.
    pub(crate) fn shipped(bench: &'b Bench, name: &str, more: &str) -> Result<Self> {
        Self::init(bench, name, &archive(bench), more)
    }

    /// The same, with apt-cacher-ng as its mirror, so that other archives are asked directly.
    pub(crate) fn shipped_without_proxy(bench: &'b Bench, name: &str, more: &str) -> Result<Self> {
        let mirror = bench.apt_cache.mirror(&bench.mirror)?;
        let archive = format!("[archive]\nsuite = \"trixie\"\nmirror = \"{mirror}\"\n");
        Self::init(bench, name, &archive, more)
    }

    fn init(bench: &'b Bench, name: &str, archive: &str, more: &str) -> Result<Self> {
        let project = Self { bench, folder: bench.path(name) };
        let mut init = Command::new(&bench.overboot);
        measure(init.arg("init").arg(&project.folder), Memory::Ignored)?;
        let path = project.folder.join("overboot.toml");
        let recipe = fs_err::read_to_string(&path)?;
        let (before, after) = recipe
            .split_once("[archive]\nsuite = \"trixie\"\n")
            .context("the recipe that ships has another [archive]")?;
        fs_err::write(path, format!("{before}{archive}{after}{more}"))?;
        Ok(project)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs `overboot`.
    pub(crate) fn run(&self, words: &[&str], memory: Memory) -> Result<Sample> {
        let mut command = Command::new(&self.bench.overboot);
        command.arg("--json").arg("-C").arg(&self.folder);
        command.arg("--cache").arg(self.bench.path("cache"));
        let mut sample = measure(command.args(words), memory)?;
        // What packs an image says so when it has the tree.
        sample.mark = sample.said.iter().find_map(|(at, line)| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["event"] == "progress" && event["line"] == "packing")
                .then_some(("the tree is there", *at))
        });
        Ok(sample)
    }

    /// Builds that; nothing: everything.
    pub(crate) fn build(&self, targets: &[&str]) -> Result<Sample> {
        self.run(&[&["build"], targets].concat(), Memory::Ignored)
    }

    /// Takes away all that was made; lock and packages stay.
    pub(crate) fn forget(&self) -> Result<()> {
        ["store", ".overboot"]
            .iter()
            .try_for_each(|name| self.bench.put_aside(&self.folder.join(name)))
    }

    /// Takes away the compressed blocks.
    pub(crate) fn forget_blocks(&self) -> Result<()> {
        self.bench.forget(&["cache/blocks"])
    }

    /// The tree of a base, which is there since it was built.
    pub(crate) fn tree(&self, base: &str) -> Result<PathBuf> {
        let start = format!("base-{base}-");
        for entry in fs_err::read_dir(self.folder.join(".overboot/trees"))? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.starts_with(&start) && entry.path().is_dir() {
                return Ok(entry.path());
            }
        }
        anyhow::bail!("base/{base} was built, and its tree is not there")
    }

    /// The sizes of the images that a build tells of.
    pub(crate) fn sizes(said: &[(f64, String)]) -> Vec<(String, u64)> {
        let events = said.iter().filter_map(|(_, line)| serde_json::from_str(line).ok());
        let events = events.filter(|event: &Value| {
            matches!(event["event"].as_str(), Some("finished" | "unchanged" | "kept"))
        });
        events
            .filter_map(|event| {
                Some((event["target"].as_str()?.to_owned(), event["size"].as_u64()?))
            })
            .collect()
    }
}

/// By way of apt-cacher-ng.
fn archive(bench: &Bench) -> String {
    let (mirror, proxy) = (&bench.mirror, bench.apt_cache.url());
    format!("[archive]\nsuite = \"trixie\"\nmirror = \"{mirror}\"\nproxy = \"{proxy}\"\n")
}
