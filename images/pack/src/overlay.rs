//! The upper directory of an overlayfs, that is what a provisioner changed, as a layer or as `cpio.gz`.
//!
//! In both forms a deleted name is a *whiteout*, a character device 0:0, and hard links stay links. The squashfs form also
//! keeps attributes (capabilities) and opaque directories. The cpio format has no attributes, so there an opaque directory
//! becomes a whiteout for each name that the base has in it; capabilities are lost, and said to be.

use std::collections::BTreeMap;
use std::io::{BufWriter, Seek, Write};
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

/// Packs a layer as on-imagebuilder did: cpio newc, gzip, paths from the root. `layer` comes from [`scan`] or, out of a layer
/// that was packed before, from [`image::read_entries`]; `base` is all that lies beneath it, in any order, where opaque
/// directories find the names to hide.
///
/// # Errors
/// [`Error::CpioEntry`] for what the format cannot hold or what cannot be read, [`Error::WriteArchive`] if `out` fails.
pub fn write_cpio_gz(
    layer: Vec<Entry>,
    base: &[Entry],
    out: impl Write,
) -> Result<CpioOverlay, Error> {
    let entries = spell_out_opaque(layer, base);
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

/// Takes the mark from opaque directories and puts in whiteouts for all that `base` has in them and the layer has not.
fn spell_out_opaque(layer: Vec<Entry>, base: &[Entry]) -> Vec<Entry> {
    let mut by_path: BTreeMap<Vec<u8>, Entry> =
        layer.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    let mut opaque = Vec::new();
    for entry in by_path.values_mut() {
        let before = entry.xattrs.len();
        entry.xattrs.retain(|(name, _)| name != tree::OPAQUE);
        if entry.xattrs.len() < before {
            opaque.push((entry.path.clone(), entry.mtime));
        }
    }
    for hidden in base {
        // The nearest name above that the layer has: if that is a directory, the base would show through in it.
        let Some(parent) = parent(&hidden.path) else { continue };
        let shows = by_path.get(parent).is_some_and(|entry| matches!(entry.kind, Kind::Directory));
        let mark = opaque.iter().find(|(above, _)| tree::is_at_or_below(parent, above));
        if let (true, Some((_, mtime))) = (shows, mark) {
            by_path.entry(hidden.path.clone()).or_insert_with(|| Entry {
                path: hidden.path.clone(),
                mode: 0,
                uid: 0,
                gid: 0,
                mtime: *mtime,
                xattrs: Vec::new(),
                kind: Kind::CharDevice(0, 0),
            });
        }
    }
    by_path.into_values().collect()
}

/// The directory that `path` is in; `None` for the root.
fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(&path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)])
}
