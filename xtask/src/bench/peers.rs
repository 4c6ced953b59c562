//! The commands of the peers, each as its manual has it for the same result.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::measure::{Memory, Sample, measure};

/// A program that a row needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool(pub(crate) &'static str);

pub(crate) const MMDEBSTRAP: Tool = Tool("mmdebstrap");
pub(crate) const DEBOOTSTRAP: Tool = Tool("debootstrap");
pub(crate) const MKSQUASHFS: Tool = Tool("mksquashfs");
pub(crate) const APT: Tool = Tool("apt-get");
pub(crate) const DPKG_DEB: Tool = Tool("dpkg-deb");
pub(crate) const MKOSI: Tool = Tool("mkosi");
pub(crate) const NSPAWN: Tool = Tool("systemd-nspawn");
pub(crate) const CPIO: Tool = Tool("cpio");
pub(crate) const DEPMOD: Tool = Tool("depmod");

/// Are they all here? Better told now than after half an hour.
pub(crate) fn require(tools: &[Tool]) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian has some of them, and not everybody's PATH does.
    let folders: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    let is_there = |tool: &str| folders.iter().any(|folder| folder.join(tool).exists());
    let needed = tools.iter().map(|tool| tool.0).chain(["apt-cacher-ng"]);
    let missing: BTreeSet<&str> = needed.filter(|tool| !is_there(tool)).collect();
    if !missing.is_empty() {
        let missing = Vec::from_iter(missing).join(", ");
        bail!(
            "not here is {missing}, which is measured against; `scripts/install-deps bench` installs it"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the peers need root: run `make bench`, which asks sudo for it");
    }
    if tools.contains(&MKOSI) { know_mkosi() } else { Ok(()) }
}

/// What debootstrap and mmdebstrap call minbase, into `tree`.
pub(crate) fn mmdebstrap(bench: &Bench, tree: &Path) -> Result<Sample> {
    let mut make = Command::new("mmdebstrap");
    make.args(["--variant=minbase", "--mode=root", "--format=directory", "--quiet"]);
    make.arg(format!("--aptopt=Acquire::http::Proxy \"{}\"", bench.apt_cache.url()));
    measure(make.arg("trixie").arg(tree).args(bench.sources()), Memory::Ignored)
}

/// The same by debootstrap, which keeps packages in a folder of its own.
pub(crate) fn debootstrap(bench: &Bench, tree: &Path) -> Result<Sample> {
    let packages = bench.path("debootstrap-packages");
    fs_err::create_dir_all(&packages)?;
    let mut make = Command::new("debootstrap");
    make.arg("--variant=minbase").arg(format!("--cache-dir={}", packages.display()));
    make.arg(format!("--keyring={}", bench.path("keys.gpg").display()));
    make.arg("trixie").arg(tree).arg(bench.apt_cache.mirror(&bench.mirror)?);
    measure(&mut make, Memory::Ignored)
}

/// mksquashfs with our compressor, level and block size, on all processors, as is its default.
pub(crate) fn mksquashfs(tree: &Path, image: &Path, memory: Memory) -> Result<Sample> {
    let mut pack = Command::new("mksquashfs");
    pack.arg(tree).arg(image).args(["-comp", "zstd", "-Xcompression-level", "19"]);
    pack.args(["-b", "1M", "-noappend", "-quiet", "-no-progress"]);
    let sample = measure(&mut pack, memory)?;
    Ok(Sample { size: Some(fs_err::metadata(image)?.len()), ..sample })
}

/// The mkosi whose words [`mkosi`] uses: Debian 12's. Later ones have others.
const KNOWN_MKOSI: &str = "mkosi 14";

fn know_mkosi() -> Result<()> {
    let said = measure(Command::new("mkosi").arg("--version"), Memory::Ignored)?.said;
    let version = said.first().map(|(_, line)| line.as_str()).unwrap_or_default();
    if version != KNOWN_MKOSI {
        bail!(
            "here is {version}, and the row was written for {KNOWN_MKOSI}; leave it out: `make bench ROW=\"minbase squashfs …\"`"
        );
    }
    Ok(())
}

/// A directory with those packages; mkosi keeps package files in a folder of its own.
pub(crate) fn mkosi(bench: &Bench, packages: &[&str]) -> Result<Sample> {
    let folder = bench.path("mkosi");
    bench.forget(&["mkosi/out", "mkosi/workspace"])?;
    // It would have the security suite from the archive's own server by TLS, which no cache can keep.
    let lists = folder.join("skeleton/etc/apt/sources.list.d");
    for path in [&lists, &folder.join("out"), &folder.join("workspace"), &folder.join("packages")] {
        fs_err::create_dir_all(path)?;
    }
    let security = bench.apt_cache.mirror(&bench.security)?;
    let list = format!("deb {security} trixie-security main\n");
    fs_err::write(lists.join("trixie-security.list"), list)?;
    let within = |name: &str| folder.join(name).into_os_string();
    let mut make = Command::new("unshare");
    // systemd-nspawn wants a /run in memory, which machines that are containers often lack.
    make.args(["--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && exec mkosi \"$@\"", "mkosi"]);
    make.args(["--distribution", "debian", "--release", "trixie", "--format", "directory"]);
    make.arg("--mirror").arg(bench.apt_cache.mirror(&bench.mirror)?);
    // Documents stay in ours, too.
    make.args(["--bootable", "no", "--base-packages", "no", "--with-docs", "yes", "--force"]);
    make.arg("--skeleton-tree").arg(within("skeleton")).arg("--cache").arg(within("packages"));
    make.arg("--output-dir").arg(within("out")).arg("--workspace-dir").arg(within("workspace"));
    make.args(packages.iter().flat_map(|package| ["--package", package]));
    measure(make.args(["--output", "root", "build"]).current_dir(&folder), Memory::Ignored)
}

/// All that on-imagebuilder made, by its steps: `bench/on-imagebuilder`.
pub(crate) fn on_imagebuilder(bench: &Bench, recipe: &Path) -> Result<Sample> {
    bench.forget(&["on-imagebuilder"])?;
    let folder = bench.path("on-imagebuilder");
    fs_err::create_dir_all(&folder)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/on-imagebuilder");
    let script = fs_err::canonicalize(script).context("the script of on-imagebuilder's steps")?;
    let mut make = Command::new(script);
    make.arg(&folder).arg(bench.apt_cache.mirror(&bench.mirror)?);
    make.arg(bench.apt_cache.mirror(&bench.security)?).arg(bench.path("keys.gpg")).arg(recipe);
    measure(&mut make, Memory::Ignored)
}
