//! The figures of docs/benchmarks.md: ours against a peer, in the same run, medians, taken in turn so that a machine that
//! drifts does so for both.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// How often each is run, after one run that fills caches.
const RUNS: usize = 5;

const RECIPE: &str = r#"
[project]
name = "bench"
[archive]
suite = "trixie"
[base.minbase]
variant = "minbase"
"#;

pub(crate) fn run() -> Result<()> {
    let overboot = std::env::current_exe()?.with_file_name("overboot");
    let folder = tempfile::Builder::new().prefix("overboot-bench-").tempdir()?;
    let project = folder.path().join("project");
    let image = folder.path().join("peer.squashfs");
    fs_err::create_dir_all(&project)?;
    fs_err::write(project.join("overboot.toml"), RECIPE)?;

    println!("| what | ours (median of {RUNS}) | peer | ratio |\n|---|---|---|---|");
    let cache = folder.path().join("cache");
    let ours = || {
        // Packages are warm; nothing else is. (Compressed blocks are kept beside them, and are not packages.)
        for cold in [project.join("store"), project.join(".overboot"), cache.join("blocks")] {
            if cold.exists() {
                fs_err::remove_dir_all(cold)?;
            }
        }
        let mut build = Command::new(&overboot);
        build.arg("-C").arg(&project).arg("--cache").arg(&cache).args(["build", "base/minbase"]);
        timed(&mut build)
    };
    let peer = || peer(folder.path(), &image);
    row("minbase, from packages to squashfs (mmdebstrap, mksquashfs, zstd 19, 1 MiB)", ours, peer)?;
    let nothing = || {
        let mut build = Command::new(&overboot);
        timed(
            build
                .arg("-C")
                .arg(&project)
                .arg("--cache")
                .arg(&cache)
                .args(["build", "base/minbase"]),
        )
    };
    row("nothing changed (peer: `true`)", nothing, || timed(&mut Command::new("true")))
}

/// mmdebstrap, which fetches from the mirror that the host uses, then mksquashfs with our compressor, level and block size.
fn peer(folder: &Path, image: &Path) -> Result<f64> {
    let tree: PathBuf = folder.join("peer");
    for old in [&tree, &image.to_path_buf()] {
        if old.is_dir() {
            fs_err::remove_dir_all(old)?;
        } else if old.exists() {
            fs_err::remove_file(old)?;
        }
    }
    let mut make = Command::new("mmdebstrap");
    make.args(["--variant=minbase", "--quiet", "trixie"]).arg(&tree);
    let mut pack = Command::new("mksquashfs");
    pack.arg(&tree).arg(image);
    pack.args([
        "-comp",
        "zstd",
        "-Xcompression-level",
        "19",
        "-b",
        "1M",
        "-noappend",
        "-quiet",
        "-no-progress",
    ]);
    Ok(timed(&mut make)? + timed(&mut pack)?)
}

fn row(what: &str, ours: impl Fn() -> Result<f64>, peer: impl Fn() -> Result<f64>) -> Result<()> {
    ours()?;
    peer()?;
    let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        our_times.push(ours()?);
        peer_times.push(peer()?);
    }
    let (ours, peer) = (median(&mut our_times), median(&mut peer_times));
    println!("| {what} | {ours:.2} s | {peer:.2} s | {:.1}x |", peer / ours);
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn timed(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(begun.elapsed().as_secs_f64())
}
