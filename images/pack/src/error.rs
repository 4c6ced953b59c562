//! What can go wrong while packing, and what to do then.

use std::io;
use std::path::PathBuf;

/// Why an image could not be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A directory, file or link of the tree could not be read.
    #[error("cannot read {} in the tree to pack", path.display())]
    ReadTree {
        /// Which.
        path: PathBuf,
        /// Why. Names the path too where fs-err made it.
        #[source]
        source: io::Error,
    },
    /// An extended attribute could not be read.
    #[error("cannot read the extended attributes of {}", path.display())]
    ReadXattr {
        /// Of what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The upper directory uses something of overlayfs that a layer cannot carry.
    #[error("{} has the overlayfs attribute {attribute}, which no layer can carry", path.display())]
    OverlayAttribute {
        /// Of what.
        path: PathBuf,
        /// Which attribute.
        attribute: String,
    },
    /// A pattern that cannot be read.
    #[error("\"{pattern}\" is no pattern for paths: {reason}")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The tree holds no kernel, or more than one.
    #[error("want one kernel (boot/vmlinuz-VERSION) in {}, found {}", root.display(), list(found))]
    Kernel {
        /// The tree.
        root: PathBuf,
        /// The kernels' file names.
        found: Vec<String>,
    },
    /// The tree has no modules for its kernel.
    #[error("no modules for kernel {version}: neither usr/lib/modules/{version} nor lib/modules/{version} is in {}", root.display())]
    NoModules {
        /// The tree.
        root: PathBuf,
        /// The kernel's version.
        version: String,
    },
    /// A module's file could not be decompressed.
    #[error("cannot decompress {}", path.display())]
    Decompress {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A module could not be understood.
    #[error("cannot read the module {}", path.display())]
    Module {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: overboot_kmod::Error,
    },
    /// The index files of a kernel's modules could not be made.
    #[error("cannot index the modules of kernel {version}")]
    Index {
        /// The kernel's version.
        version: String,
        /// Why.
        #[source]
        source: overboot_kmod::Error,
    },
    /// Modules need something that is neither a module nor built in: the kernel package is not whole.
    #[error("kernel {version} lacks modules that others need: {}", lacking(missing))]
    MissingDependency {
        /// The kernel's version.
        version: String,
        /// Who lacks what.
        missing: Vec<overboot_kmod::Missing>,
    },
    /// The kernel has not what every node needs.
    #[error(
        "kernel {version} has no {module}, neither as a module nor built in, and a node cannot boot without it"
    )]
    Required {
        /// The kernel's version.
        version: String,
        /// What it lacks.
        module: &'static str,
    },
    /// A file for the initrd has a path that cannot be one.
    #[error("\"{path}\" cannot be a file in the initrd: {reason}")]
    InitrdPath {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The squashfs image could not be made.
    #[error("cannot make the squashfs image")]
    Squashfs {
        /// Why.
        #[source]
        source: overboot_squashfs::Error,
    },
    /// A squashfs image could not be read.
    #[error("cannot read the squashfs image")]
    ReadSquashfs {
        /// Why.
        #[source]
        source: overboot_squashfs::Error,
    },
    /// An archive (initrd or cpio overlay) could not be written.
    #[error("cannot write {what}")]
    WriteArchive {
        /// The initrd or the overlay.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A cpio archive cannot hold an entry.
    #[error("cannot put \"{path}\" into {what}")]
    CpioEntry {
        /// The initrd or the overlay.
        what: &'static str,
        /// The path, made printable.
        path: String,
        /// Why.
        #[source]
        source: overboot_cpio::Error,
    },
    /// What an overlay says of itself cannot be read out of its own layer.
    #[error("cannot read {path} of the overlay")]
    OverlayNote {
        /// The file in the overlay.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Kernel { found, .. } if found.is_empty() => {
                Some("name a kernel's package in the recipe, such as linux-image-amd64".to_owned())
            }
            Self::Kernel { .. } => Some("keep one kernel's package in this tree".to_owned()),
            Self::OverlayAttribute { attribute, .. } => Some(format!(
                "mount the build overlay without the option that makes {attribute} (redirect_dir=off,metacopy=off)"
            )),
            Self::MissingDependency { .. } | Self::NoModules { .. } => {
                Some("unpack the kernel's package and all it depends on again".to_owned())
            }
            Self::Required { .. } => {
                Some("take a distribution's full kernel, such as linux-image-amd64".to_owned())
            }
            Self::Squashfs { source } | Self::ReadSquashfs { source } => {
                source.hint().map(str::to_owned)
            }
            _ => None,
        }
    }
}

fn list(found: &[String]) -> String {
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

fn lacking(missing: &[overboot_kmod::Missing]) -> String {
    let shown: Vec<String> = missing
        .iter()
        .take(5)
        .map(|lack| format!("{} needs {}", lack.module, lack.dependency))
        .collect();
    let more = missing.len().saturating_sub(shown.len());
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}
