//! The layer of modules: one per kernel version, under every overlay.
//!
//! Modules are decompressed, since squashfs compresses them better together than `.ko.xz` one by one, and unchanged
//! otherwise: their signatures hold. depmod's files are for exactly what is inside, so modprobe and udev find no module
//! that is not there. All below `usr/lib/modules/VERSION`, as merged /usr wants it.

use std::io::{self, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overboot_kmod::Index;
use overboot_squashfs::BlockCache;

use crate::assembly::Assembly;
use crate::compress::read_module;
use crate::image::{self, Options, Packed};
use crate::select::{Selected, select};
use crate::tree::{Entry, Source};
use crate::{Error, KernelModules, firmware};

/// What goes into a layer of modules.
#[derive(Debug, Clone, Copy)]
pub struct LayerSpec<'a> {
    /// Which modules: see [`crate::select`].
    pub patterns: &'a [String],
    /// A tree with `usr/lib/firmware`, from which the files that the modules name are taken.
    pub firmware: Option<&'a Path>,
    /// The modification time of every entry, in seconds since 1970.
    pub modification_time: u32,
}

/// A layer of modules, before it is an image.
#[derive(Debug)]
pub struct Layer {
    /// All entries, sorted by path.
    pub entries: Vec<Entry>,
    /// Normalised names of the modules inside.
    pub modules: Vec<String>,
    /// Patterns that matched nothing in this kernel.
    pub unmatched: Vec<String>,
    /// Firmware that modules name and the tree given has not; empty if none was given.
    pub missing_firmware: Vec<String>,
}

/// The entries of a layer of modules.
///
/// # Errors
/// [`Error::Pattern`], [`Error::Index`], [`Error::ReadTree`].
pub fn layer(kernel: &KernelModules, spec: &LayerSpec<'_>) -> Result<Layer, Error> {
    let Selected { names, unmatched } = select(kernel, spec.patterns.iter().map(String::as_str))?;
    let index = kernel.subset(names.iter().map(String::as_str))?;
    let mut assembly = Assembly::new(spec.modification_time);
    add_modules(kernel, &index, &mut assembly);
    let files = index
        .files()
        .map_err(|source| Error::Index { version: kernel.kernel().version().to_owned(), source })?;
    for (name, content) in files.into_iter().chain(kernel.own_lists(&index)) {
        assembly.bytes(&format!("{}/{name}", directory(kernel)), 0o644, content);
    }
    let missing_firmware = match spec.firmware {
        Some(root) => firmware::add(root, &index, &mut assembly)?,
        None => Vec::new(),
    };
    Ok(Layer { entries: assembly.finish(), modules: names, unmatched, missing_firmware })
}

/// Packs a layer of modules as squashfs.
///
/// # Errors
/// As [`layer`] and [`image::write_entries`].
pub fn pack(
    kernel: &KernelModules,
    spec: &LayerSpec<'_>,
    options: &Options,
    out: impl Write + Seek,
    progress: &mut dyn FnMut(u64),
) -> Result<(Layer, Packed), Error> {
    let mut layer = layer(kernel, spec)?;
    let entries = std::mem::take(&mut layer.entries);
    let packed = image::write_entries(entries.clone(), options, out, progress)?;
    layer.entries = entries;
    Ok((layer, packed))
}

/// Where the modules lie in an image.
pub(crate) fn directory(kernel: &KernelModules) -> String {
    format!("usr/lib/modules/{}", kernel.kernel().version())
}

/// Adds the modules of `index`, decompressed.
pub(crate) fn add_modules(kernel: &KernelModules, index: &Index, assembly: &mut Assembly) {
    let directory = directory(kernel);
    for (_, module) in index.modules() {
        if let Some((on_disk, size)) = kernel.file(&module.path) {
            let cache = kernel.cache();
            let source = Decompressed { path: on_disk.to_owned(), size, cache };
            assembly.file(&format!("{directory}/{}", module.path), 0o644, source);
        }
    }
}

/// The content of a module's file, decompressed when it is read: hundreds of them need not be in memory at once.
struct Decompressed {
    path: PathBuf,
    size: u64,
    cache: Option<Arc<dyn BlockCache>>,
}

impl Source for Decompressed {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let content = read_module(&self.path, self.cache.as_deref()).map_err(io::Error::other)?;
        Ok(Box::new(Cursor::new(content)))
    }
}
