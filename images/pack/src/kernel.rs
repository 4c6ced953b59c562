//! An unpacked kernel package: its version, its image, and what its modules say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overboot_kmod::{Builtin, Index, Installed, name};
use overboot_squashfs::BlockCache;

use crate::Error;
use crate::reading::{self, Said};

/// The files of a kernel package (Debian: `linux-image-VERSION`), unpacked in a directory.
#[derive(Debug, Clone)]
pub struct Kernel {
    version: String,
    image: PathBuf,
    modules: PathBuf,
}

/// A kernel with all of its modules read.
#[derive(Debug)]
pub struct KernelModules {
    kernel: Kernel,
    index: Index,
    files: BTreeMap<String, File>,
    builtin: Vec<u8>,
    builtin_modinfo: Vec<u8>,
    order: String,
    cache: Option<Arc<dyn BlockCache>>,
}

#[derive(Debug)]
struct File {
    on_disk: PathBuf,
    size: u64,
}

impl Kernel {
    /// Finds the one kernel in the directory `root`.
    ///
    /// # Errors
    /// [`Error::Kernel`] if there is none or more than one, [`Error::NoModules`] if it came without modules.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let boot = root.join("boot");
        let mut found = Vec::new();
        if boot.is_dir() {
            let failed = |source| Error::ReadTree { path: boot.clone(), source };
            for entry in fs_err::read_dir(&boot).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
                if name.starts_with("vmlinuz-") {
                    found.push(name);
                }
            }
        }
        found.sort_unstable();
        let [name] = &found[..] else {
            return Err(Error::Kernel { root: root.to_owned(), found });
        };
        let version = name.trim_start_matches("vmlinuz-").to_owned();
        let modules = ["usr/lib/modules", "lib/modules"]
            .iter()
            .map(|base| root.join(base).join(&version))
            .find(|directory| directory.join("kernel").is_dir())
            .ok_or_else(|| Error::NoModules { root: root.to_owned(), version: version.clone() })?;
        Ok(Self { image: boot.join(name), version, modules })
    }

    /// The kernel's version as `uname -r` gives it: `6.12.107+deb13-amd64`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The image that a boot loader loads: `boot/vmlinuz-VERSION`, unchanged and so with the distribution's signature.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Reads every module: decompresses it and takes what it says of itself. Takes seconds for a distribution's kernel, so
    /// keep the result for all initrds and layers; `cache` keeps it, and the content of modules that are packed, for the next
    /// time.
    ///
    /// # Errors
    /// What cannot be read, decompressed or understood, by path.
    pub fn read_modules(self, cache: Option<Arc<dyn BlockCache>>) -> Result<KernelModules, Error> {
        let paths = self.module_paths()?;
        let read = reading::read_all(&self.modules, &paths, cache.as_deref())?;
        let mut files = BTreeMap::new();
        let mut installed = Vec::with_capacity(read.len());
        for (path, Said { info, size }) in paths.into_iter().zip(read) {
            let on_disk = self.modules.join(&path);
            let path = name::uncompressed(&path).to_owned();
            files.insert(path.clone(), File { on_disk, size });
            installed.push(Installed { path, info });
        }
        let order = String::from_utf8_lossy(&self.own_file("modules.order")?).into_owned();
        let builtin = self.own_file("modules.builtin")?;
        let builtin_modinfo = self.own_file("modules.builtin.modinfo")?;
        let known = Builtin::parse(&String::from_utf8_lossy(&builtin), &builtin_modinfo);
        let index = Index::build(installed, &order, known)
            .map_err(|source| Error::Index { version: self.version.clone(), source })?;
        if !index.missing().is_empty() {
            let missing = index.missing().to_vec();
            return Err(Error::MissingDependency { version: self.version, missing });
        }
        Ok(KernelModules { kernel: self, index, files, builtin, builtin_modinfo, order, cache })
    }

    /// The paths of all module files, relative to the modules' directory, sorted.
    fn module_paths(&self) -> Result<Vec<String>, Error> {
        let mut paths = Vec::new();
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            let on_disk = self.modules.join(&directory);
            let failed = |source| Error::ReadTree { path: on_disk.clone(), source };
            for entry in fs_err::read_dir(&on_disk).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                // Links (`build`, `source`) are not followed.
                let file_type = entry.file_type().map_err(failed)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                if file_type.is_dir() {
                    directories.push(path);
                } else if file_type.is_file() && name::of_path(&path).is_some() {
                    paths.push(path);
                }
            }
        }
        paths.sort_unstable();
        Ok(paths)
    }

    /// One of the files that the kernel's own build writes beside its modules; empty if it has none.
    fn own_file(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.modules.join(name);
        match fs_err::read(&path) {
            Ok(content) => Ok(content),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(Error::ReadTree { path, source }),
        }
    }
}

impl KernelModules {
    /// The kernel they belong to.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What all modules say and need. Paths are without a compression's suffix.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Where a module's file lies and how long its decompressed content is, by its path in the index.
    pub(crate) fn file(&self, path: &str) -> Option<(&Path, u64)> {
        self.files.get(path).map(|file| (file.on_disk.as_path(), file.size))
    }

    /// Where content of modules is kept.
    pub(crate) fn cache(&self) -> Option<Arc<dyn BlockCache>> {
        self.cache.clone()
    }

    /// An index over only the modules called `names`.
    pub(crate) fn subset<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Index, Error> {
        let installed =
            names.into_iter().filter_map(|name| self.index.get(name)).cloned().collect();
        Index::build(installed, &self.order, self.index.builtin().clone())
            .map_err(|source| Error::Index { version: self.kernel.version.clone(), source })
    }

    /// The kernel's own lists, for those modules only where they are about modules: name and content.
    pub(crate) fn own_lists(&self, index: &Index) -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("modules.builtin", self.builtin.clone()),
            ("modules.builtin.modinfo", self.builtin_modinfo.clone()),
            ("modules.order", index.order().into_bytes()),
        ]
    }
}
