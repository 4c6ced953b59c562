//! The recipe, checked: what the other crates work with.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use overboot_digest::Digest;
use overboot_oci::Reference;
use schemars::JsonSchema;
use serde::Serialize;

use crate::archive::Archive;
use crate::diagnostic::{Diagnostic, Error};
use crate::place::{Place, Placed};
use crate::provisioner::Provisioner;

/// A checked recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The folder that holds `overboot.toml`: relative paths in the recipe start here.
    pub folder: PathBuf,
    /// Who this is.
    pub project: Project,
    /// Where packages come from.
    pub archive: Archive,
    /// The kernel that boots every image.
    pub kernel: Kernel,
    /// Module layers by name.
    pub modules: BTreeMap<String, Modules>,
    /// Initrds by name.
    pub initrds: BTreeMap<String, Initrd>,
    /// What network cards need first, by name.
    pub firmware: BTreeMap<String, Firmware>,
    /// Base filesystems by name.
    pub bases: BTreeMap<String, Base>,
    /// Overlays by name.
    pub overlays: BTreeMap<String, Overlay>,
    /// Boot sets by name: one for each base and each overlay, and those that the recipe names.
    pub sets: BTreeMap<String, Set>,
    /// Inputs that are not shipped, by name.
    pub slots: BTreeMap<String, Slot>,
    /// What `overboot serve` does when its flags do not say otherwise.
    pub serve: Serve,
    /// What is not wrong, and hardly meant.
    pub warnings: Vec<Diagnostic>,
}

impl Recipe {
    /// The name of a recipe's file.
    pub const FILE: &str = "overboot.toml";

    /// Finds the project that `start` lies in: the nearest folder, going up, with an `overboot.toml`.
    ///
    /// # Errors
    /// [`Error::NoProject`] where there is none.
    pub fn find(start: &Path) -> Result<PathBuf, Error> {
        start
            .ancestors()
            .find(|folder| folder.join(Self::FILE).is_file())
            .map(Path::to_path_buf)
            .ok_or_else(|| Error::NoProject(start.into()))
    }

    /// Reads and checks the recipe of the project in `folder`.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Invalid`] with every mistake found.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(Self::FILE);
        let bytes =
            fs_err::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, &path),
            Err(error) => Err(Error::Invalid(vec![Diagnostic::no_text(&path, &error)])),
        }
    }

    /// Checks the recipe `text`, which stands in the file `path`; files that it names are looked for beside that.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every mistake found.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        crate::check::recipe(text, path).map_err(Error::Invalid)
    }
}

impl Recipe {
    /// The files and folders of the project that go into images, as the recipe names them: relative to its folder.
    pub fn sources(&self) -> impl Iterator<Item = &Placed<PathBuf>> {
        let provisioned = self.steps().flat_map(Provisioner::sources);
        let extra = self.archive.extra.iter().map(|extra| &extra.keyring);
        self.archive.keyring.iter().chain(extra).chain(provisioned)
    }

    /// The container images that go into images.
    pub fn containers(&self) -> impl Iterator<Item = &Placed<Reference>> {
        self.steps().filter_map(|step| match step {
            Provisioner::Container(reference) => Some(reference),
            _ => None,
        })
    }

    /// The steps of all images.
    fn steps(&self) -> impl Iterator<Item = &Provisioner> {
        let bases = self.bases.values().flat_map(|base| &base.provision);
        bases.chain(self.overlays.values().flat_map(|overlay| &overlay.provision))
    }

    /// How an error tells a place in the recipe: `overboot.toml:81:3: `; nothing for one that is not known.
    #[must_use]
    pub fn at(&self, place: Place) -> String {
        place.prefix(&self.folder.join(Self::FILE))
    }
}

/// Who the images belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// A name for people.
    pub name: String,
    /// Public keys (minisign) whose boot sets a node accepts; they go into every initrd.
    pub trust: Placed<Vec<String>>,
}

/// The kernel, the distribution's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// The package, or the meta-package that depends on it.
    pub package: Placed<String>,
    /// Further words for the kernel's command line.
    #[serde(skip)]
    pub cmdline: String,
}

/// A layer of kernel modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Modules {
    /// Paths below `kernel/` (or module names), with `*` and `**`.
    pub include: Vec<Placed<String>>,
}

/// The first stage: the node program and the modules that it needs to reach the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Initrd {
    /// As [`Modules::include`].
    pub modules: Vec<Placed<String>>,
}

/// What network cards must be given before they reach the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Firmware {
    /// The packages that have it.
    pub packages: Vec<Placed<String>>,
    /// The drivers that ask for it: as [`Modules::include`].
    pub modules: Vec<Placed<String>>,
}

/// Which packages a base starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Essential packages and apt.
    Minbase,
    /// All packages of priority required, important and standard.
    Standard,
    /// Nothing: it is what its steps bring.
    None,
}

impl Variant {
    /// Does it name packages?
    #[must_use]
    pub fn has_packages(self) -> bool {
        self != Self::None
    }
}

/// How blocks of a squashfs are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard: the default.
    Zstd,
    /// LZMA2 in xz: smaller, and slow to read.
    Xz,
    /// Deflate: for the oldest kernels.
    Gzip,
    /// LZ4: fastest to read, largest.
    Lz4,
}

/// A base filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Base {
    /// What it starts from.
    pub variant: Variant,
    /// dpkg's `path-exclude`: globs of files that packages may not bring.
    pub path_exclude: Vec<String>,
    /// dpkg's `path-include`: exceptions to that.
    pub path_include: Vec<String>,
    /// How it is packed.
    pub compression: Compression,
    /// What is done to it, in order.
    pub provision: Vec<Provisioner>,
    /// Where it is named.
    #[serde(skip)]
    pub place: Place,
}

/// What a provisioner changes on top of a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlay {
    /// The base it stands on.
    pub base: Placed<String>,
    /// As [`Base::path_exclude`], besides the base's own.
    pub path_exclude: Vec<String>,
    /// As [`Base::path_include`], besides the base's own.
    pub path_include: Vec<String>,
    /// How it is packed.
    pub compression: Compression,
    /// What is done to it, in order.
    pub provision: Vec<Provisioner>,
    /// Where it is named.
    #[serde(skip)]
    pub place: Place,
}

impl Overlay {
    /// The slots that it cannot be made without.
    pub fn slots(&self) -> impl Iterator<Item = &str> {
        slots(&self.provision)
    }
}

impl Base {
    /// The slots that it cannot be made without.
    pub fn slots(&self) -> impl Iterator<Item = &str> {
        slots(&self.provision)
    }
}

fn slots(provision: &[Provisioner]) -> impl Iterator<Item = &str> {
    provision.iter().flat_map(Provisioner::slots)
}

/// A file that is not shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Where it is looked for, relative to the project.
    pub file: Placed<PathBuf>,
    /// Its digest; any file is taken where there is none.
    pub sha256: Option<Placed<Digest>>,
    /// Where to get it.
    pub from: String,
}

/// What boots together, besides the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The initrd.
    pub initrd: Option<String>,
    /// The firmware that some cards need besides.
    pub firmware: Option<String>,
    /// The layer of modules.
    pub modules: Option<String>,
    /// The base.
    pub base: String,
    /// Its overlays, from the lowest.
    pub overlays: Vec<Placed<String>>,
}

/// What `overboot serve` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Where HTTP listens.
    pub http: Placed<SocketAddr>,
    /// The `host:port` that nodes are told; `None` finds it out from the interface.
    pub advertise: Option<Placed<String>>,
    /// The interface that DHCP and TFTP serve.
    pub interface: Option<Placed<String>>,
    /// What is done about DHCP.
    pub dhcp: Placed<ServeDhcp>,
    /// The default router that our DHCP server names.
    pub router: Option<Placed<Ipv4Addr>>,
    /// The name servers that our DHCP server names.
    pub dns: Vec<Placed<Ipv4Addr>>,
    /// The graph that new machines get.
    pub discovery: Placed<String>,
}

/// What `serve` does about DHCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeDhcp {
    /// Nothing: the site's own server names our loader.
    Off,
    /// Answers boot requests beside the site's DHCP server (PXE's ProxyDHCP).
    Proxy,
    /// Is the DHCP server, with leases from first to last.
    Server {
        /// The first address it leases.
        first: Ipv4Addr,
        /// The last address it leases.
        last: Ipv4Addr,
        /// The length of the subnet's prefix in bits.
        prefix: u8,
    },
}
