//! The folders of a project, and the lock that keeps two builds of it apart.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use overboot_archive::{FetchOptions, Fetcher, PackageStore};
use overboot_recipe::{Lock, Recipe};
use overboot_registry as registry;
use overboot_store::Store;

use crate::error::Error;

/// How a build is to be done: what is no part of the recipe, and has no part in what comes out.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where packages and indexes are kept; several projects may share it. `None`: in the project.
    pub cache: Option<PathBuf>,
    /// Never touch the network.
    pub offline: bool,
    /// How many threads may work at once.
    pub threads: NonZeroUsize,
    /// How many bytes of memory steps that run side by side may take together, as far as can be told beforehand. One step runs always.
    pub memory: u64,
    /// How to speak to the registries of container images.
    pub registry: registry::Options,
}

impl Default for Options {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        // A quarter of the machine's leaves the rest to what reads and writes files.
        let machine = rustix::system::sysinfo();
        let memory = machine.totalram.saturating_mul(machine.mem_unit.into()) / 4;
        Self {
            cache: None,
            offline: false,
            threads,
            memory,
            registry: registry::Options::default(),
        }
    }
}

/// What is nobody's business but ours, in a project's folder.
const PRIVATE: &str = ".overboot";

/// A project's folder.
#[derive(Debug, Clone)]
pub struct Project {
    folder: PathBuf,
    /// Where all is that is made: the folder itself, or one apart.
    made: PathBuf,
    options: Options,
}

impl Project {
    /// The project in `folder`.
    ///
    /// # Errors
    /// The folder is not there.
    pub fn open(folder: &Path, options: Options) -> Result<Self, Error> {
        let folder = fs_err::canonicalize(folder).map_err(Error::io("find the project", folder))?;
        Ok(Self { made: folder.clone(), folder, options })
    }

    /// The same project with nothing built: what is made of it then has a store, trees and blocks of its own, in a folder that
    /// goes with what this returns. Only package files are shared, which the lock vouches for.
    ///
    /// # Errors
    /// [`Error::Busy`] where somebody else does this; the folder cannot be made.
    pub fn apart(&self) -> Result<Apart, Error> {
        self.is_ours()?;
        let private = self.private();
        fs_err::create_dir_all(&private).map_err(Error::io("make", &private))?;
        let lock = lock(&private.join("apart.lock"))?;
        let folder = private.join("apart");
        overboot_rootfs::remove_tree(&folder)?;
        fs_err::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        let options = Options { cache: Some(self.cache()), ..self.options.clone() };
        let project = Self { folder: self.folder.clone(), made: folder, options };
        Ok(Apart { project, _lock: lock })
    }

    /// Has this user made root trees, whole or not, in a project's folder?
    #[must_use]
    pub fn has_trees(folder: &Path) -> bool {
        let private = folder.join(PRIVATE);
        let owner = rustix::fs::lstat(&private).map(|there| there.st_uid);
        if owner != Ok(rustix::process::geteuid().as_raw()) {
            return false;
        }
        let mut folders = ["trees", "scratch", "apart"].into_iter();
        folders.any(|name| {
            std::fs::read_dir(private.join(name)).is_ok_and(|mut inside| inside.next().is_some())
        })
    }

    /// The same project, where steps that run side by side may take that many bytes of memory together.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.options.memory = bytes;
        self
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How it is to be built.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Everything that is built: an OCI image layout.
    #[must_use]
    pub fn store_folder(&self) -> PathBuf {
        self.made.join("store")
    }

    /// The store, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made or is none.
    pub fn store(&self) -> Result<Store, Error> {
        Ok(Store::open_or_create(self.store_folder())?)
    }

    /// Does what was built before belong to whoever builds now? Root could go on with what a user began, and the other way round
    /// some of it; but the owners in a user's trees are other numbers for root, and neither could remove what both had made.
    fn is_ours(&self) -> Result<(), Error> {
        let ours = rustix::process::geteuid();
        for folder in [self.private(), self.store_folder(), self.trees(), self.scratch()] {
            let Ok(there) = rustix::fs::lstat(&folder) else { continue };
            if there.st_uid != ours.as_raw() {
                return Err(Error::told(
                    format!(
                        "{} belongs to another user: somebody else has built here, with sudo or without",
                        folder.display()
                    ),
                    format!(
                        "build as that user; or have that user run `overboot gc --trees`, and make the project yours: sudo chown -R \"$USER\" {} (root: chown -R root)",
                        self.folder.display()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn private(&self) -> PathBuf {
        self.made.join(PRIVATE)
    }

    fn cache(&self) -> PathBuf {
        self.options.cache.clone().unwrap_or_else(|| self.private().join("cache"))
    }

    /// Package lists, verified.
    #[must_use]
    pub fn indexes(&self) -> PathBuf {
        self.cache().join("indexes")
    }

    /// Package files.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn packages(&self) -> Result<PackageStore, Error> {
        let store = PackageStore::open(self.cache().join("packages"))?;
        Ok(if self.is_apart() { store.as_fetched() } else { store })
    }

    /// Layers of container images.
    #[must_use]
    pub(crate) fn images(&self) -> PathBuf {
        self.cache().join("images")
    }

    /// Compressed blocks of images.
    #[must_use]
    pub(crate) fn blocks(&self) -> PathBuf {
        if self.is_apart() { self.private() } else { self.cache() }.join("blocks")
    }

    /// Is it [`apart`](Self::apart), where nothing is taken that was made before?
    fn is_apart(&self) -> bool {
        self.made != self.folder
    }

    /// Root trees that a later step needs, each under the key of what it was made from.
    #[must_use]
    pub(crate) fn trees(&self) -> PathBuf {
        self.private().join("trees")
    }

    /// What is being made. Nothing in it is of use to a later build.
    #[must_use]
    pub(crate) fn scratch(&self) -> PathBuf {
        self.private().join("scratch")
    }

    /// The one who fetches.
    ///
    /// # Errors
    /// The proxy is none.
    pub fn fetcher(&self, recipe: &Recipe) -> Result<Fetcher, Error> {
        let options = FetchOptions {
            proxy: recipe.archive.proxy.as_ref().map(|proxy| proxy.value.clone()),
            offline: self.options.offline,
            ..FetchOptions::default()
        };
        let place = recipe.archive.proxy.as_ref().map(|proxy| proxy.place).unwrap_or_default();
        Fetcher::new(options).map_err(|source| Error::NamedArchive {
            place: recipe.at(place),
            source: Box::new(source),
        })
    }

    /// Keeps others that write into this project out until it is dropped, and clears away what a killed one left behind.
    ///
    /// # Errors
    /// [`Error::Busy`]; what was built here belongs to another user.
    pub fn occupy(&self) -> Result<Occupied, Error> {
        self.is_ours()?;
        let private = self.private();
        fs_err::create_dir_all(&private).map_err(Error::io("make", &private))?;
        let file = lock(&private.join("lock"))?;
        let scratch = self.scratch();
        for left in [&scratch, &self.folder.join(Lock::ASIDE)] {
            overboot_rootfs::remove_tree(left)?;
        }
        for folder in [&scratch, &self.trees()] {
            fs_err::create_dir_all(folder).map_err(Error::io("make", folder))?;
        }
        spread(&scratch);
        Ok(Occupied { project: self.clone(), scratch, _file: file })
    }
}

/// Has ext4 put each new folder in `folder` where much is free, and not beside the others (chattr(1), `T`): where a tree was removed
/// lately it looks for minutes for inodes that were not in use, and takes ten times as long to make files. Elsewhere it is in vain.
fn spread(folder: &Path) {
    let topmost = |folder: &std::fs::File| {
        let flags = rustix::fs::ioctl_getflags(folder)?;
        rustix::fs::ioctl_setflags(folder, flags | rustix::fs::IFlags::TOPDIR)
    };
    let _ = std::fs::File::open(folder).map(|folder| topmost(&folder));
}

/// Takes the lock on `path`, if nobody else has it.
fn lock(path: &Path) -> Result<std::fs::File, Error> {
    let file = std::fs::File::create(path).map_err(Error::io("make", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy),
        Err(std::fs::TryLockError::Error(source)) => Err(Error::io("lock", path)(source)),
    }
}

/// A project with nothing built; what is made of it goes with this.
#[derive(Debug)]
pub struct Apart {
    project: Project,
    _lock: std::fs::File,
}

impl Apart {
    /// The project.
    #[must_use]
    pub fn project(&self) -> &Project {
        &self.project
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one.
        let _ = overboot_rootfs::remove_tree(&self.project.made);
    }
}

/// A project that is ours while this lives.
#[derive(Debug)]
pub struct Occupied {
    project: Project,
    scratch: PathBuf,
    _file: std::fs::File,
}

impl Occupied {
    /// The project.
    #[must_use]
    pub fn project(&self) -> &Project {
        &self.project
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next build.
        let _ = overboot_rootfs::remove_tree(&self.scratch);
    }
}
