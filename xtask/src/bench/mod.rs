//! The figures of docs/benchmarks.md: ours against a peer that makes the same thing, in the same run, taken in turn.
//!
//! - [`ROWS`]: what is measured; each row is a file in [`rows`].
//! - [`race`]: rounds, medians, goals, and the table that comes of them.
//! - [`measure`]: one command's time, processor time and memory.
//! - [`ours`], [`peers`]: the commands of the contenders.
//! - [`apt_cache`]: from where all have their packages. The first round fills it, and those that count are off the network, so
//!   that nobody waits for a mirror.

mod apt_cache;
mod measure;
mod ours;
mod peers;
mod race;
mod rows;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use overboot_archive::mirror::{fallback_mirror, host_mirror, security_sibling};
use serde_json::Value;

use apt_cache::{AptCache, Reach};
use peers::Tool;
use race::Race;

/// How often each is run and counted, unless told otherwise.
const RUNS: usize = 5;

const KEYRING: &[u8] = include_bytes!("../../../recipes/keyrings/debian-trixie.gpg");

/// A row of the table.
struct Row {
    name: &'static str,
    /// What is compared, for whoever reads the table.
    what: &'static str,
    /// Programs of the peers.
    needs: &'static [Tool],
    /// Makes what there must be before, and says who takes part.
    make: for<'b> fn(&'b Bench) -> Result<Race<'b>>,
}

/// In the order of the table of goals.
const ROWS: &[Row] = &[
    rows::minbase::ROW,
    rows::set::ROW,
    rows::systemd::ROW,
    rows::squashfs::ROW,
    rows::unchanged::ROW,
    rows::edit::ROW,
    rows::update::ROW,
    rows::resolve::ROW,
];

/// What was asked for on the command line.
struct Asked {
    rows: Vec<&'static Row>,
    runs: usize,
    json: Option<PathBuf>,
}

/// `cargo xtask bench [ROW…] [--runs N] [--json FILE]`.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let asked = Asked::parse(arguments)?;
    let needed: Vec<Tool> = asked.rows.iter().flat_map(|row| row.needs).copied().collect();
    peers::require(&needed)?;
    let folder = tempfile::Builder::new().prefix("overboot-bench-").tempdir()?;
    let bench = Bench::new(folder.path())?;
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for row in &asked.rows {
        match bench.run(row, asked.runs) {
            Ok(figures) => all.push(figures),
            // The others are measured all the same.
            Err(error) => {
                eprintln!("{}: {error:#}", row.name);
                failed.push(row.name);
            }
        }
    }
    if let Some(path) = &asked.json {
        fs_err::write(path, format!("{:#}\n", Value::Array(all)))?;
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

/// `cargo xtask pack TREE IMAGE`: what the row `squashfs` measures.
pub(crate) fn pack(arguments: impl Iterator<Item = String>) -> Result<()> {
    let [tree, image] = arguments.collect::<Vec<_>>().try_into().map_err(|_| {
        anyhow::anyhow!("which tree, and into what file? `cargo xtask pack TREE IMAGE`")
    })?;
    rows::squashfs::pack(Path::new(&tree), Path::new(&image))
}

impl Asked {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked = Self { rows: Vec::new(), runs: RUNS, json: None };
        while let Some(word) = arguments.next() {
            match word.as_str() {
                "--runs" => {
                    let runs = arguments.next().unwrap_or_default();
                    asked.runs =
                        runs.parse().ok().filter(|runs| *runs > 0).context(
                            "how many rounds are to be counted? `--runs N`, at least one",
                        )?;
                }
                "--json" => {
                    let file = arguments.next().context("into which file? `--json FILE`")?;
                    asked.json = Some(file.into());
                }
                name => match ROWS.iter().find(|row| row.name == name) {
                    Some(row) => asked.rows.push(row),
                    None => {
                        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
                        bail!("there is no row {name}; there are {}", names.join(", "));
                    }
                },
            }
        }
        if asked.rows.is_empty() {
            asked.rows = ROWS.iter().collect();
        }
        Ok(asked)
    }
}

/// Where all this happens.
struct Bench {
    overboot: PathBuf,
    folder: PathBuf,
    mirror: String,
    security: String,
    apt_cache: AptCache,
}

impl Bench {
    fn new(folder: &Path) -> Result<Self> {
        let mirror = host_mirror("debian").or_else(|| fallback_mirror("debian").map(str::to_owned));
        let mirror = mirror.context("no mirror of Debian is known")?;
        let security = security_sibling(&mirror)
            .with_context(|| format!("no security archive is known beside {mirror}"))?;
        let overboot = std::env::current_exe()?.with_file_name("overboot");
        if !overboot.exists() {
            bail!("{} is not there: run `make compile`", overboot.display());
        }
        fs_err::write(folder.join("keys.gpg"), KEYRING)?;
        let (folder, apt_cache) = (folder.to_owned(), AptCache::start(folder)?);
        Ok(Self { overboot, folder, mirror, security, apt_cache })
    }

    fn run(&self, row: &Row, runs: usize) -> Result<Value> {
        let begun = Instant::now();
        eprintln!("{}: {}", row.name, row.what);
        self.apt_cache.reach(Reach::Network)?;
        let race = (row.make)(self)?;
        race.fill()?;
        self.apt_cache.reach(Reach::Offline)?;
        let figures = race.run(runs)?;
        let verdicts = race.goals.iter().map(|goal| goal.judge(&figures));
        let verdicts = verdicts.collect::<Result<Vec<_>>>()?;
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        let (name, what) = (row.name, row.what);
        println!("## `{name}`: {what}\n");
        println!("`make bench ROW={name}`, runs: {runs}; took {minutes:.1} min.\n");
        println!("{}", race::markdown(&figures, &verdicts));
        Ok(race::to_json(name, runs, &figures, &verdicts))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts aside what earlier rounds have left.
    fn forget(&self, names: &[&str]) -> Result<()> {
        names.iter().try_for_each(|name| self.put_aside(&self.path(name)))
    }

    /// Takes something away from its place, if it is there. It is removed when all is measured: for some minutes after many files
    /// were removed ext4 takes up to a hundred times as long to make new ones, and the next one to be measured would pay for it.
    fn put_aside(&self, path: &Path) -> Result<()> {
        if path.exists() {
            let aside = self.path("aside");
            fs_err::create_dir_all(&aside)?;
            let number = fs_err::read_dir(&aside)?.count();
            fs_err::rename(path, aside.join(number.to_string()))?;
        }
        Ok(())
    }

    /// The suites as lines of sources.list(5).
    fn sources(&self) -> [String; 3] {
        let keys = self.path("keys.gpg");
        let source = |mirror: &str, suite: &str| {
            format!("deb [signed-by={}] {mirror} {suite} main", keys.display())
        };
        [
            source(&self.mirror, "trixie"),
            source(&self.mirror, "trixie-updates"),
            source(&self.security, "trixie-security"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<Asked> {
        Asked::parse(words.iter().map(ToString::to_string))
    }

    #[test]
    fn rows_are_chosen_by_name_and_all_are_run_otherwise() {
        let some = asked(&["squashfs", "--runs", "1", "--json", "out", "minbase"]).unwrap();
        let names: Vec<_> = some.rows.iter().map(|row| row.name).collect();
        assert_eq!(names, ["squashfs", "minbase"]);
        assert_eq!((some.runs, some.json), (1, Some("out".into())));
        assert_eq!(asked(&[]).unwrap().rows.len(), ROWS.len());
        let error = asked(&["minbas"]).err().unwrap().to_string();
        assert!(error.starts_with("there is no row minbas; there are minbase, "), "{error}");
        assert!(asked(&["--runs", "0"]).is_err() && asked(&["--runs"]).is_err());
    }
}
