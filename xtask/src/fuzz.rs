//! Looks for input that breaks a reader: libFuzzer with coverage, on the compiler that builds everything else.
//!
//! `cargo fuzz` asks for a nightly compiler, for its sanitizers; safe Rust with overflow checks needs only the coverage, and
//! the passes that make it are in every compiler.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// What makes libFuzzer see which code an input reaches (clang's SanitizerCoverage), and the checks a release goes without.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Cforce-frame-pointers";

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The most that a target may hold in memory, in MiB: what a reader takes is bounded, whatever its input says.
const MEMORY: u32 = 512;

/// An input that takes longer hangs.
const SECONDS_AN_INPUT: u32 = 10;

pub(crate) fn run(seconds: Option<&str>) -> Result<()> {
    let seconds: u32 =
        seconds.unwrap_or("60").parse().context("how many seconds for each target")?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = target.join("fuzz");
    // Built as everything else is: with the flags below, it would want a libFuzzer in it.
    let first = folder.join("seeds");
    // A target that is gone must not be left there: what is built is what has seeds.
    match fs::remove_dir_all(&first) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.with_context(|| format!("removing {}", first.display()))?,
    }
    let mut write = Command::new(env!("CARGO"));
    write.args(["run", "--release", "--locked", "--quiet", "--package", "overboot-fuzz"]);
    if !write.args(["--bin", "fuzz-seeds", "--"]).arg(&first).status()?.success() {
        bail!("the seeds cannot be written");
    }
    let names = targets(&first)?;

    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--locked", "--package", "overboot-fuzz"]);
    for name in &names {
        build.arg("--bin").arg(format!("fuzz-{name}"));
    }
    // A folder of its own for flags of its own; the triple keeps them from build scripts, which have no libFuzzer.
    build.args(["--target", TRIPLE, "--target-dir"]).arg(&folder);
    if !build.env("RUSTFLAGS", FLAGS).status()?.success() {
        bail!("the fuzz targets do not build");
    }
    let programs = folder.join(TRIPLE).join("release");
    let next = AtomicUsize::new(0);
    let told = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = search(&programs, &folder, name, seconds);
                    match &result {
                        Ok(line) => println!("fuzz {name}: {line}"),
                        Err(error) => println!("fuzz {name}: {error:#}"),
                    }
                    told.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((name.as_str(), result));
                }
            });
        }
    });
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    let broken: Vec<_> = told.iter().filter(|(_, r)| r.is_err()).map(|(name, _)| *name).collect();
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "broken: {}. The input is in {}; mend the cause, and keep the input in fuzz/seeds/TARGET",
        broken.join(", "),
        folder.display()
    )
}

/// The targets that have seeds in a folder.
///
/// # Errors
/// There are none: a search for nothing would find nothing.
fn targets(seeds: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(seeds).with_context(|| format!("reading {}", seeds.display()))? {
        names.extend(entry?.file_name().into_string().ok());
    }
    if names.is_empty() {
        bail!("there are no fuzz targets: nothing has seeds in {}", seeds.display());
    }
    names.sort();
    Ok(names)
}

/// Runs one target for its time; what it came to, in a line.
fn search(programs: &Path, folder: &Path, name: &str, seconds: u32) -> Result<String> {
    let corpus = folder.join("corpus").join(name);
    let first = folder.join("seeds").join(name);
    fs::create_dir_all(&corpus)?;
    let output = Command::new(programs.join(format!("fuzz-{name}")))
        .args([format!("-max_total_time={seconds}"), format!("-rss_limit_mb={MEMORY}")])
        .args([format!("-timeout={SECONDS_AN_INPUT}"), "-print_final_stats=1".to_owned()])
        .arg(format!("-artifact_prefix={}/{name}-", folder.display()))
        .args([&corpus, &first])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("fuzz-{name}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let logged = folder.join(format!("{name}.log"));
    fs::write(&logged, log.as_bytes())?;
    if !output.status.success() {
        let cause =
            log.lines().find(|line| line.contains("panicked at") || line.contains("ERROR:"));
        bail!("{} ({})", cause.unwrap_or("it ended early"), logged.display());
    }
    let runs = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let runs: u64 = runs.context("libFuzzer says nothing of its runs")?.trim().parse()?;
    // Without coverage, or with a target that takes nothing in, a search finds nothing for a bad reason.
    let coverage = log.lines().rev().find_map(|line| {
        line.split_once(" cov: ")?.1.split_whitespace().next()?.parse::<u64>().ok()
    });
    let coverage = coverage.context("there is no coverage")?;
    if runs < 1000 || coverage < 50 {
        bail!("it did not search: {runs} inputs, {coverage} places reached ({})", logged.display());
    }
    Ok(format!("{runs} inputs, {coverage} places reached, none breaks it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_for_nothing_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let said = targets(folder.path()).unwrap_err().to_string();
        assert!(said.contains("there are no fuzz targets"), "{said}");
        assert!(targets(&folder.path().join("none")).is_err());
        for name in ["deb", "control"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(targets(folder.path()).unwrap(), ["control", "deb"]);
    }
}
