//! The upper directory of an overlayfs, that is what a provisioner changed, as a layer or as `cpio.gz`.
//!
//! In both forms a deleted name is a *whiteout*, a character device 0:0, and hard links stay links. The squashfs form also
//! keeps attributes (capabilities) and opaque directories. The cpio format has no attributes, so there an opaque directory
//! becomes a whiteout for each name that the base has in it. Whoever unpacks it need know nothing of overboot: the databases of
//! which a layer only notes what changed ([`overboot_merge`]) are whole files in it, as the overlay's own base has them.
//! Capabilities and opaque directories are noted too, from where overboot's init restores them; it takes whiteouts and whole
//! files out again in favour of the notes, which fit any base and any overlay beneath.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use flate2::{Compression, GzBuilder};
use overboot_merge::{Changes, Form, apply, changes_path};

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
    let (mut entries, opaque) = spell_out_opaque(layer, base);
    let mut changes = read_changes(name, &entries)?;
    whole_databases(&changes, base, &mut entries)?;
    changes.attributes = attributes(&entries);
    for path in opaque {
        let noted = changes.attributes.entry(text(&path)).or_default();
        noted.insert(text(tree::OPAQUE), hex(b"y"));
    }
    if changes != Changes::none() {
        let contents = changes.to_bytes();
        put(&mut entries, &changes_path(name), Template::default(), contents);
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let lost_attributes = entries
        .iter()
        .filter(|entry| !entry.xattrs.is_empty())
        .map(|entry| entry.path.clone())
        .collect();
    let what = "the cpio.gz overlay";
    // No name and no time in the gzip header, and always the same "operating system": unknown.
    let encoder = GzBuilder::new().mtime(0).operating_system(255).write(out, Compression::best());
    let buffered = BufWriter::with_capacity(1 << 18, encoder);
    let buffered = cpio::write(&entries, what, buffered, |_, _| ())?;
    let failed = |source| Error::WriteArchive { what, source };
    let encoder = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
    encoder.finish().and_then(|mut out| out.flush()).map_err(failed)?;
    Ok(CpioOverlay { facts: Facts::of(&entries), lost_attributes })
}

/// Takes the mark from opaque directories, whose paths it returns too, and puts in whiteouts for all that `base` has in them and
/// the layer has not.
fn spell_out_opaque(layer: Vec<Entry>, base: &[Entry]) -> (Vec<Entry>, Vec<Vec<u8>>) {
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
    (by_path.into_values().collect(), opaque.into_iter().map(|(path, _)| path).collect())
}

/// What the overlay `name`, whose entries these are, says of itself; nothing, where it says nothing.
///
/// # Errors
/// [`Error::OverlayNote`] when it cannot be read.
pub fn read_changes(name: &str, entries: &[Entry]) -> Result<Changes, Error> {
    let path = changes_path(name);
    let unreadable = |source| Error::OverlayNote { path: path.clone(), source };
    let Some(text) = contents(entries, &path).map_err(unreadable)? else {
        return Ok(Changes::none());
    };
    Changes::parse(&text).map_err(|error| unreadable(io::Error::other(error)))
}

/// The extended attributes of all entries, as [`Changes`] notes them.
fn attributes(entries: &[Entry]) -> BTreeMap<String, BTreeMap<String, String>> {
    let with = entries.iter().filter(|entry| !entry.xattrs.is_empty());
    with.map(|entry| {
        let xattrs = entry.xattrs.iter().map(|(name, value)| (text(name), hex(value)));
        (text(&entry.path), xattrs.collect())
    })
    .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts each database of which the overlay notes a change among the entries, whole: the base's with the change made.
fn whole_databases(
    changes: &Changes,
    base: &[Entry],
    entries: &mut Vec<Entry>,
) -> Result<(), Error> {
    for (path, delta) in &changes.databases {
        let Some(form) = Form::of(path) else { continue };
        let unreadable = |source| Error::OverlayNote { path: path.clone(), source };
        let before = contents(base, path).map_err(unreadable)?.unwrap_or_default();
        let after = apply(form, &String::from_utf8_lossy(&before), delta);
        let template = base.iter().find(|entry| entry.path == path.as_bytes());
        let template = template.map_or_else(
            || Template { mode: if Form::is_secret(path) { 0o600 } else { 0o644 }, uid: 0, gid: 0 },
            |entry| Template { mode: entry.mode, uid: entry.uid, gid: entry.gid },
        );
        put(entries, path, template, after.into_bytes());
    }
    Ok(())
}

/// The content of the regular file at `path`; nothing, where there is none.
fn contents(entries: &[Entry], path: &str) -> io::Result<Option<Vec<u8>>> {
    let found = entries.iter().find(|entry| entry.path == path.as_bytes());
    let Some(Entry { kind: Kind::File(source), .. }) = found else { return Ok(None) };
    let mut bytes = Vec::new();
    source.open()?.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Mode and owner of a file that is put among entries.
struct Template {
    mode: u16,
    uid: u32,
    gid: u32,
}

impl Default for Template {
    fn default() -> Self {
        Self { mode: 0o644, uid: 0, gid: 0 }
    }
}

/// Puts a file among the entries, in place of what is there, with the folders above it.
fn put(entries: &mut Vec<Entry>, path: &str, template: Template, contents: Vec<u8>) {
    let mtime = entries.iter().map(|entry| entry.mtime).max().unwrap_or(0);
    let path = path.as_bytes();
    let entry = |path: &[u8], Template { mode, uid, gid }: Template, kind| Entry {
        path: path.to_vec(),
        mode,
        uid,
        gid,
        mtime,
        xattrs: Vec::new(),
        kind,
    };
    for folder in std::iter::successors(parent(path), |path| parent(path)) {
        if !folder.is_empty() && !entries.iter().any(|entry| entry.path == folder) {
            let mode = Template { mode: 0o755, ..Template::default() };
            entries.push(entry(folder, mode, Kind::Directory));
        }
    }
    entries.retain(|entry| entry.path != path);
    entries.push(entry(path, template, Kind::File(Arc::new(InMemory(contents)))));
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
