//! Init, modules and files into a compressed cpio archive that the kernel unpacks.
//!
//! zstd (`CONFIG_RD_ZSTD`, Linux 5.9): a quarter larger than xz on modules, and unpacked many times faster. In frames of 8 MiB, each
//! by itself; one frame for all would be three percent smaller, and level 19 five more, at twice the time.
//!
//! | path | is |
//! |---|---|
//! | `init` | the program given |
//! | `usr/lib/modules/VERSION/` | the modules, `modules.dep`, `.alias`, `.softdep`, `.builtin` (text; init needs no more) |
//! | `lib` | a link to `usr/lib` |
//! | `dev/console` | so that the kernel can give init its three descriptors before devtmpfs is there |
//! | `dev` `etc` `proc` `run` `sys` `tmp` `root` | directories to mount on |
//!
//! Nothing in it tells one machine or one build from another.

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;

use overboot_kmod::Index;

use crate::assembly::Assembly;
use crate::blocks::BlockCache;
use crate::select::select;
use crate::tree::{Entry, Facts, Kind};
use crate::{Error, KernelModules, frames, modules};

/// Without these no node reaches its root: whatever the patterns are, they come along.
pub const REQUIRED: [&str; 3] = ["loop", "overlay", "squashfs"];

/// The drivers of every wired network card that Debian's kernel knows, with what they hang on: PHYs, USB controllers,
/// virtual machines' own. A sensible choice of patterns; firmware is apart ([`crate::firmware`]).
pub const WIRED: [&str; 15] = [
    "kernel/drivers/net/ethernet/**",
    "kernel/drivers/net/phy/**",
    "kernel/drivers/net/mdio/**",
    "kernel/drivers/net/pcs/**",
    "kernel/drivers/net/usb/**",
    "!kernel/drivers/net/usb/*_wwan",
    "!kernel/drivers/net/usb/*_mbim",
    "!kernel/drivers/net/usb/ipheth",
    "kernel/drivers/net/hyperv/**",
    "kernel/drivers/net/vmxnet3/**",
    "xen_netfront",
    "kernel/drivers/usb/host/**",
    "virtio_net",
    "virtio_pci",
    "virtio_mmio",
];

/// What goes into an initrd.
#[derive(Debug, Clone)]
pub struct InitrdSpec<'a> {
    /// The init program: static, since nothing else is there.
    pub init: &'a [u8],
    /// The kernel that it is for.
    pub kernel: &'a KernelModules,
    /// Which modules, besides [`REQUIRED`]: see [`crate::select`].
    pub patterns: &'a [String],
    /// Further files, such as public keys.
    pub files: &'a [InitrdFile],
    /// How to compress.
    pub compression: Zstd,
}

/// A file to put into an initrd.
#[derive(Debug, Clone)]
pub struct InitrdFile {
    /// Path from the root, without a leading `/`: `etc/overboot/keys/site.pub`.
    pub path: String,
    /// Permission bits.
    pub mode: u16,
    /// Content.
    pub content: Vec<u8>,
}

/// How an archive is compressed.
#[derive(Debug, Clone)]
pub struct Zstd {
    /// 1 (fast) to 19 (small).
    pub level: i32,
    /// Threads; the bytes do not depend on it.
    pub threads: NonZeroUsize,
    /// What was compressed before.
    pub cache: Option<Arc<dyn BlockCache>>,
}

impl Default for Zstd {
    /// Level 16, all processors, no cache.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { level: 16, threads, cache: None }
    }
}

/// An initrd that was written.
#[derive(Debug)]
pub struct Initrd {
    /// What is in it: the RAM that it takes when unpacked.
    pub facts: Facts,
    /// Normalised names of the modules inside.
    pub modules: Vec<String>,
    /// Patterns that matched nothing in this kernel.
    pub unmatched: Vec<String>,
}

/// Packs an initrd.
///
/// # Errors
/// [`Error::Required`] for a kernel without what a node needs, [`Error::InitrdPath`] for a file that would hide another
/// or lie outside, [`Error::WriteArchive`] if `out` fails, and what reading modules fails with.
pub fn pack(spec: &InitrdSpec<'_>, out: impl Write) -> Result<Initrd, Error> {
    let (entries, mut initrd) = assemble(spec)?;
    initrd.facts = Facts::of(&entries);
    // What is not the kernel's changes at other times than modules do.
    let modules = modules::directory(spec.kernel).into_bytes();
    let is_module = |entry: &Entry| entry.path.starts_with(&modules);
    frames::write(&entries, "the initrd", &spec.compression, is_module, out)?;
    Ok(initrd)
}

fn assemble(spec: &InitrdSpec<'_>) -> Result<(Vec<Entry>, Initrd), Error> {
    let kernel = spec.kernel;
    let patterns = spec.patterns.iter().map(String::as_str);
    let selected = select(kernel, patterns.chain(REQUIRED))?;
    if let Some(module) =
        REQUIRED.into_iter().find(|name| selected.unmatched.iter().any(|u| u == name))
    {
        return Err(Error::Required { version: kernel.kernel().version().to_owned(), module });
    }
    let index = kernel.subset(selected.names.iter().map(String::as_str))?;
    let mut assembly = Assembly::new(0);
    for (path, mode) in [
        ("dev", 0o755),
        ("etc", 0o755),
        ("proc", 0o555),
        ("root", 0o700),
        ("run", 0o755),
        ("sys", 0o555),
        ("tmp", 0o1777),
        ("usr/lib", 0o755),
    ] {
        assembly.directory(path, mode);
    }
    assembly.symlink("lib", "usr/lib");
    assembly.add("dev/console", 0o600, Kind::CharDevice(5, 1));
    assembly.bytes("init", 0o755, spec.init);
    modules::add_modules(kernel, &index, &mut assembly);
    for (name, content) in texts(kernel, &index) {
        assembly.bytes(&format!("{}/{name}", modules::directory(kernel)), 0o644, content);
    }
    for file in spec.files {
        check_path(&file.path, &assembly)?;
        assembly.bytes(&file.path, file.mode & 0o7777, file.content.as_slice());
    }
    let initrd =
        Initrd { facts: Facts::default(), modules: selected.names, unmatched: selected.unmatched };
    Ok((assembly.finish(), initrd))
}

/// The index files that init reads.
fn texts(kernel: &KernelModules, index: &Index) -> Vec<(&'static str, Vec<u8>)> {
    let mut texts = vec![
        ("modules.alias", index.alias().into_bytes()),
        ("modules.dep", index.dep().into_bytes()),
        ("modules.softdep", index.softdep().into_bytes()),
    ];
    texts
        .extend(kernel.own_lists(index).into_iter().filter(|(name, _)| *name == "modules.builtin"));
    texts
}

/// Refuses a path that leads out, hides something or goes through a file.
fn check_path(path: &str, assembly: &Assembly) -> Result<(), Error> {
    let bad = |reason| Err(Error::InitrdPath { path: path.to_owned(), reason });
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
        return bad("want a plain path from the root, without a leading slash");
    }
    if assembly.get(path).is_some() {
        return bad("something else is there already");
    }
    let above = path.match_indices('/').map(|(at, _)| &path[..at]);
    let mut files = above.filter_map(|path| assembly.get(path));
    if files.any(|entry| !matches!(entry.kind, Kind::Directory)) {
        return bad("it goes through something that is no directory");
    }
    Ok(())
}
