//! The upper directory of an overlayfs, that is what a provisioner changed, as a layer or as `cpio.gz`.
//!
//! In both forms a deleted name is a *whiteout*, a character device 0:0, and hard links stay links. The squashfs form also
//! keeps attributes (capabilities) and opaque directories. The cpio format has no attributes, so there an opaque directory
//! becomes a whiteout for each name that the base has in it; capabilities are noted in what the overlay says of itself
//! ([`overboot_merge`]), from where overboot's init restores them.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use flate2::{Compression, GzBuilder};
use overboot_merge::{Changes, changes_path};

use crate::image::{self, Options, Packed};
use crate::tree::{self, Attributes, Entry, Facts, Kind, ScanOptions, Source, Tree};
use crate::{Error, cpio};

/// A `cpio.gz` that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpioOverlay {
    /// What is in it.
    pub facts: Facts,
    /// Paths whose extended attributes (capabilities, as a rule) the format could not carry: overboot's init restores them,
    /// any other start-up script does not.
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

/// Packs the layer of the overlay `name` as on-imagebuilder did: cpio newc, gzip, paths from the root. `layer` comes from [`scan`] or, out of a layer
/// that was packed before, from [`image::read_entries`]; `base` is all that lies beneath it, in any order, where opaque
/// directories find the names to hide.
///
/// # Errors
/// [`Error::CpioEntry`] for what the format cannot hold or what cannot be read, [`Error::WriteArchive`] if `out` fails.
pub fn write_cpio_gz(
    name: &str,
    layer: Vec<Entry>,
    base: &[Entry],
    out: impl Write,
) -> Result<CpioOverlay, Error> {
    let mut entries = spell_out_opaque(layer, base);
    note_attributes(name, &mut entries)?;
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

/// Writes the extended attributes of all entries into what the overlay says of itself.
fn note_attributes(name: &str, entries: &mut Vec<Entry>) -> Result<(), Error> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let hex = |value: &Vec<u8>| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let attributes: BTreeMap<_, BTreeMap<_, _>> = entries
        .iter()
        .filter(|entry| !entry.xattrs.is_empty())
        .map(|entry| {
            let xattrs = entry.xattrs.iter().map(|(name, value)| (text(name), hex(value)));
            (text(&entry.path), xattrs.collect())
        })
        .collect();
    if attributes.is_empty() {
        return Ok(());
    }
    let path = changes_path(name).into_bytes();
    let place = entries.iter().position(|entry| entry.path == path);
    let mut changes = Changes::none();
    if let Some(Entry { kind: Kind::File(source), .. }) = place.map(|at| &entries[at]) {
        let unreadable = |source| Error::OverlayNote { path: changes_path(name), source };
        let mut bytes = Vec::new();
        source.open().and_then(|mut file| file.read_to_end(&mut bytes)).map_err(unreadable)?;
        changes = Changes::parse(&bytes).map_err(|error| unreadable(io::Error::other(error)))?;
    }
    changes.attributes = attributes;
    let kind = Kind::File(Arc::new(InMemory(changes.to_bytes())));
    match place {
        Some(at) => entries[at].kind = kind,
        None => {
            let mtime = entries.iter().map(|entry| entry.mtime).max().unwrap_or(0);
            let entry = |path: &[u8], mode, kind| Entry {
                path: path.to_vec(),
                mode,
                uid: 0,
                gid: 0,
                mtime,
                xattrs: Vec::new(),
                kind,
            };
            let above = std::iter::successors(parent(&path), |path| parent(path));
            for folder in above.filter(|folder| !folder.is_empty()) {
                if !entries.iter().any(|entry| entry.path == folder) {
                    entries.push(entry(folder, 0o755, Kind::Directory));
                }
            }
            entries.push(entry(&path, 0o644, kind));
            entries.sort_by(|a, b| a.path.cmp(&b.path));
        }
    }
    Ok(())
}

/// A file that is nowhere on the disk.
struct InMemory(Vec<u8>);

impl Source for InMemory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.0.clone())))
    }
}

/// The directory that `path` is in; `None` for the root.
fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(&path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)])
}
