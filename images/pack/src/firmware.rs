//! The firmware files that modules ask for; and those that network cards need before there is a network, as a second initrd.
//!
//! Modules name files relative to `/lib/firmware` (`MODULE_FIRMWARE`), sometimes with `*`. The kernel also takes `NAME.zst` and
//! `NAME.xz` (`CONFIG_FW_LOADER_COMPRESS`). What a name stands for may be a link, also through linked directories; links come
//! along with what they point to, and never lead out of the firmware directory.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use overboot_kmod::Index;

use crate::assembly::Assembly;
use crate::initrd::Zstd;
use crate::select::{Selected, select};
use crate::tree::{Facts, OnDisk};
use crate::{Error, Glob, KernelModules, frames};

/// Where firmware lies in a root with merged /usr, and in an image.
const DIRECTORY: &str = "usr/lib/firmware";
/// More links than this on one path are a circle (the kernel gives up at 40).
const LINKS: usize = 40;

/// What goes into an image of firmware.
#[derive(Debug, Clone)]
pub struct FirmwareSpec<'a> {
    /// The kernel whose drivers ask for it.
    pub kernel: &'a KernelModules,
    /// Which drivers: see [`crate::select`].
    pub patterns: &'a [String],
    /// A tree with `usr/lib/firmware`, from which the files that they name are taken.
    pub root: &'a Path,
    /// How to compress.
    pub compression: Zstd,
}

/// An image of firmware that was written.
#[derive(Debug)]
pub struct Firmware {
    /// What is in it: the RAM that it takes when unpacked.
    pub facts: Facts,
    /// The PCI cards that are driven by what asks for it, `vendor:device` as `lspci -n` has them; `14e4:*` is any of a vendor.
    /// Sorted.
    pub cards: Vec<String>,
    /// Patterns that matched nothing in this kernel.
    pub unmatched: Vec<String>,
    /// Drivers that ask for firmware of which the tree has nothing.
    pub lacking: Vec<String>,
}

/// Packs firmware as an archive that the kernel unpacks beside an initrd.
///
/// # Errors
/// [`Error::Pattern`], [`Error::Index`], [`Error::ReadTree`]; [`Error::WriteArchive`] if `out` fails.
pub fn pack(spec: &FirmwareSpec<'_>, out: impl Write) -> Result<Firmware, Error> {
    let patterns = spec.patterns.iter().map(String::as_str);
    let Selected { names, unmatched } = select(spec.kernel, patterns)?;
    let index = spec.kernel.subset(names.iter().map(String::as_str))?;
    let mut assembly = Assembly::new(0);
    let missing: BTreeSet<String> = add(spec.root, &index, &mut assembly)?.into_iter().collect();
    let asking = || index.modules().filter(|(_, module)| !module.info.firmware.is_empty());
    let (given, lacking): (Vec<_>, Vec<_>) =
        asking().partition(|(_, module)| module.info.firmware.iter().any(|n| !missing.contains(n)));
    // Of some drivers one module has the card's numbers, and another one, which it needs, asks for the firmware.
    let needs_it = |name: &str| {
        let needed = index.closure([name], false);
        given.iter().any(|(asking, _)| needed.contains(asking))
    };
    let driving = index.modules().filter(|(name, _)| needs_it(name));
    let aliases = driving.flat_map(|(_, module)| &module.info.aliases);
    let cards: BTreeSet<String> = aliases.filter_map(|alias| card(alias)).collect();
    let entries = assembly.finish();
    frames::write(&entries, "the firmware", &spec.compression, |_| false, out)?;
    Ok(Firmware {
        facts: Facts::of(&entries),
        cards: cards.into_iter().collect(),
        unmatched,
        lacking: lacking.into_iter().map(|(name, _)| name.to_owned()).collect(),
    })
}

/// `14e4:164c` of `pci:v000014E4d0000164Csv*sd*bc*sc*i*`.
fn card(alias: &str) -> Option<String> {
    let rest = alias.strip_prefix("pci:v0000")?;
    let (vendor, rest) = rest.split_at_checked(4)?;
    let device = match rest.strip_prefix("d0000") {
        Some(rest) => rest.get(..4)?,
        None => rest.strip_prefix("d*").map(|_| "*")?,
    };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_card = number(vendor) && (device == "*" || number(device));
    is_card.then(|| format!("{vendor}:{device}").to_ascii_lowercase())
}

/// Adds the firmware that the modules of `index` name and that is in the tree `root` (an unpacked firmware package);
/// returns the names that it has not, sorted.
pub(crate) fn add(
    root: &Path,
    index: &Index,
    assembly: &mut Assembly,
) -> Result<Vec<String>, Error> {
    let directory = [DIRECTORY, "lib/firmware"]
        .iter()
        .map(|directory| root.join(directory))
        .find(|directory| directory.is_dir());
    let wanted: BTreeSet<&str> =
        index.modules().flat_map(|(_, module)| &module.info.firmware).map(String::as_str).collect();
    let Some(directory) = directory else {
        return Ok(wanted.into_iter().map(str::to_owned).collect());
    };
    let all = if wanted.iter().any(|name| name.contains('*')) {
        every_file(&directory)?
    } else {
        Vec::new()
    };
    let mut missing = Vec::new();
    for name in wanted {
        let mut found = false;
        if name.contains('*') {
            // A pattern that cannot be read matches nothing.
            if let Ok(glob) = Glob::new(name) {
                for file in all.iter().filter(|file| glob.matches(file.as_bytes())) {
                    found |= follow(&directory, file, assembly)?;
                }
            }
        } else {
            for suffix in ["", ".zst", ".xz"] {
                found = found || follow(&directory, &format!("{name}{suffix}"), assembly)?;
            }
        }
        if !found {
            missing.push(name.to_owned());
        }
    }
    Ok(missing)
}

/// Adds the file called `name` and every link on the way to it. False if there is no such file in `directory`.
fn follow(directory: &Path, name: &str, assembly: &mut Assembly) -> Result<bool, Error> {
    let mut links = Vec::new();
    // What is still to walk, last part first, and where the walk is.
    let mut left: Vec<String> = name.rsplit('/').map(str::to_owned).collect();
    let mut here: Vec<String> = Vec::new();
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                if here.pop().is_none() {
                    return Ok(false);
                }
                continue;
            }
            _ => here.push(part),
        }
        let path = here.join("/");
        let on_disk = directory.join(&path);
        let metadata = match fs_err::symlink_metadata(&on_disk) {
            Ok(metadata) => metadata,
            Err(error) if absent(&error) => return Ok(false),
            Err(source) => return Err(Error::ReadTree { path: on_disk, source }),
        };
        if metadata.is_symlink() {
            let target = fs_err::read_link(&on_disk)
                .map_err(|source| Error::ReadTree { path: on_disk.clone(), source })?;
            let Some(target) = target.to_str().filter(|target| !target.starts_with('/')) else {
                return Ok(false);
            };
            if links.len() == LINKS {
                return Ok(false);
            }
            left.extend(target.rsplit('/').map(str::to_owned));
            links.push((path, target.to_owned()));
            here.pop();
        } else if metadata.is_file() && left.is_empty() {
            for (path, target) in links {
                assembly.symlink(&format!("{DIRECTORY}/{path}"), &target);
            }
            let target = format!("{DIRECTORY}/{path}");
            if assembly.get(&target).is_none() {
                assembly.file(&target, 0o644, OnDisk { path: on_disk, size: metadata.len() });
            }
            return Ok(true);
        } else if !metadata.is_dir() {
            return Ok(false);
        }
    }
    Ok(false)
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The paths of all files and links below `directory`, sorted.
fn every_file(directory: &Path) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    let mut todo = vec![String::new()];
    while let Some(below) = todo.pop() {
        let on_disk = directory.join(&below);
        let failed = |source| Error::ReadTree { path: on_disk.clone(), source };
        for entry in fs_err::read_dir(&on_disk).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if entry.file_type().map_err(failed)?.is_dir() {
                todo.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}
