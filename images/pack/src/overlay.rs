//! The upper directory of an overlayfs, that is what a provisioner changed, as a layer or as `cpio.gz`.
//!
//! In both forms a deleted name is a *whiteout*, a character device 0:0, and hard links stay links. The squashfs form also
//! keeps attributes (capabilities) and opaque directories. The cpio format has no attributes, so there an opaque directory
//! becomes a whiteout for each name that the base has in it; capabilities are lost, and said to be.

use std::collections::BTreeMap;
use std::io::{BufWriter, Seek, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use flate2::{Compression, GzBuilder};

use crate::image::{self, Options, Packed};
use crate::tree::{self, Attributes, Entry, Facts, Kind, ScanOptions, Tree};
use crate::{Error, cpio};

/// A `cpio.gz` that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpioOverlay {
    /// What is in it.
    pub facts: Facts,
    /// Paths whose extended attributes (capabilities, as a rule) the format could not carry.
    pub lost_attributes: Vec<Vec<u8>>,
}

/// Lists what is in the upper directory, as a layer has it.
///
/// # Errors
/// As [`tree::scan`]; [`Error::OverlayAttribute`] for renamed directories (`redirect_dir`) and files without data (`metacopy`).
pub fn scan(upper: &Path, options: &ScanOptions) -> Result<Tree, Error> {
    tree::scan(upper, &ScanOptions { attributes: Attributes::Upper, ..options.clone() })
}

/// Packs an upper directory as a squashfs layer.
///
/// # Errors
/// As [`scan`] and [`image::write_entries`].
pub fn write_squashfs(
    upper: &Path,
    options: &ScanOptions,
    squashfs: &Options,
    out: impl Write + Seek,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, Error> {
    image::write_entries(scan(upper, options)?.entries, squashfs, out, progress)
}

/// Packs an upper directory as on-imagebuilder did: cpio newc, gzip, paths from the root. `lower` is the root of the base
/// beneath it, where opaque directories find the names to hide.
///
/// # Errors
/// As [`scan`]; [`Error::WriteArchive`] if `out` fails.
pub fn write_cpio_gz(
    upper: &Path,
    lower: &Path,
    options: &ScanOptions,
    out: impl Write,
) -> Result<CpioOverlay, Error> {
    let entries = spell_out_opaque(scan(upper, options)?.entries, lower, options.latest_mtime)?;
    let lost_attributes = entries
        .iter()
        .filter(|entry| !entry.xattrs.is_empty())
        .map(|entry| entry.path.clone())
        .collect();
    let what = "the cpio.gz overlay";
    // No name and no time in the gzip header, and always the same "operating system": unknown.
    let encoder = GzBuilder::new().mtime(0).operating_system(255).write(out, Compression::best());
    let buffered = cpio::write(&entries, what, BufWriter::with_capacity(1 << 18, encoder))?;
    let failed = |source| Error::WriteArchive { what, source };
    let encoder = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
    encoder.finish().and_then(|mut out| out.flush()).map_err(failed)?;
    Ok(CpioOverlay { facts: Facts::of(&entries), lost_attributes })
}

/// Takes the mark from opaque directories and puts in whiteouts for all that `lower` has in them and the layer has not.
fn spell_out_opaque(entries: Vec<Entry>, lower: &Path, time: u32) -> Result<Vec<Entry>, Error> {
    let mut by_path: BTreeMap<Vec<u8>, Entry> =
        entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    let mut opaque = Vec::new();
    for entry in by_path.values_mut() {
        let before = entry.xattrs.len();
        entry.xattrs.retain(|(name, _)| name != tree::OPAQUE);
        if entry.xattrs.len() < before {
            opaque.push(entry.path.clone());
        }
    }
    // What is below an opaque directory in the layer hides the base too, so every directory there counts as opaque.
    let hidden: Vec<Vec<u8>> = by_path
        .values()
        .filter(|entry| matches!(entry.kind, Kind::Directory))
        .filter(|entry| opaque.iter().any(|above| tree::is_at_or_below(&entry.path, above)))
        .map(|entry| entry.path.clone())
        .collect();
    for directory in hidden {
        for name in names(&tree::on_disk(lower, &directory))? {
            let path =
                if directory.is_empty() { name } else { [&directory[..], b"/", &name].concat() };
            by_path.entry(path).or_insert_with_key(|path| Entry {
                path: path.clone(),
                mode: 0,
                uid: 0,
                gid: 0,
                mtime: time,
                xattrs: Vec::new(),
                kind: Kind::CharDevice(0, 0),
            });
        }
    }
    Ok(by_path.into_values().collect())
}

/// The names in a directory of the base; none if it is no directory there (not through links: the base may not lead out).
fn names(directory: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let failed = |source| Error::ReadTree { path: directory.to_owned(), source };
    match fs_err::symlink_metadata(directory) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    }
    fs_err::read_dir(directory)
        .map_err(failed)?
        .map(|entry| Ok(entry.map_err(failed)?.file_name().into_vec()))
        .collect()
}
