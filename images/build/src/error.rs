//! What can go wrong with a build.

use std::io;
use std::path::PathBuf;

use overboot_recipe::{Place, Recipe};

/// Why nothing, or not everything, was built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe or the lock.
    #[error(transparent)]
    Recipe(#[from] overboot_recipe::Error),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] overboot_archive::Error),
    /// An archive that the recipe names at that place.
    #[error("{place}{source}")]
    NamedArchive {
        /// Where, `overboot.toml:81:3: `; nothing where that is not known.
        place: String,
        /// Why it cannot be used. Part of the message.
        source: Box<overboot_archive::Error>,
    },
    /// A package file that the recipe names by its address cannot be had.
    #[error(transparent)]
    PackageFile(Box<overboot_archive::Error>),
    /// The archive's package list is not one.
    #[error(transparent)]
    Index(#[from] overboot_archive::universe::IndexError),
    /// The packages that an image asks for cannot be had.
    #[error("{place}{target}: {source}")]
    Resolve {
        /// Where the recipe asks for it, `overboot.toml:81:3: `; nothing where that is not known.
        place: String,
        /// Which image.
        target: String,
        /// Why not. Part of the message.
        source: overboot_archive::ResolveError,
    },
    /// A container image cannot be had.
    #[error("{place}{source}")]
    Container {
        /// Where the recipe asks for it; nothing where that is not known.
        place: String,
        /// Why not. Part of the message.
        source: Box<overboot_registry::Error>,
    },
    /// A step failed.
    #[error("building {target} failed")]
    Step {
        /// Which one.
        target: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// What the recipe asks for at that place cannot be done.
    #[error("{place}this cannot be done")]
    AtPlace {
        /// Where, `overboot.toml:81:3: `.
        place: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// A root tree could not be made.
    #[error(transparent)]
    Rootfs(#[from] overboot_rootfs::Error),
    /// An image could not be packed.
    #[error(transparent)]
    Pack(#[from] overboot_pack::Error),
    /// What is kept of an image.
    #[error(transparent)]
    Record(#[from] overboot_record::Error),
    /// What is written down for the overlay contract.
    #[error(transparent)]
    Contract(#[from] overboot_contract::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] overboot_store::Error),
    /// A boot set that would not be accepted.
    #[error(transparent)]
    BootSet(#[from] overboot_bootset::Error),
    /// A file of the project.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried: a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something that the recipe, the archive or the user must put right.
    #[error("{message}")]
    Told {
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// Another build of this project is running.
    #[error("another build of this project is running")]
    Busy,
}

impl Error {
    /// What to do about it, where there is something: also what the error inside has to say to that.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(source) => source.hint(),
            Self::NamedArchive { source, .. } => source.hint(),
            Self::PackageFile(source) => at_address(source),
            Self::Resolve { source, .. } => source.hint(),
            Self::Container { source, .. } => Some(source.hint().unwrap_or_else(|| {
                "Name an image that is there: \"registry.example.com/team/tool:1\", or \"oci:FOLDER:NAME\" of a layout in the project, as `skopeo copy` writes it."
                    .to_owned()
            })),
            Self::Step { source, .. } => source.hint(),
            Self::AtPlace { source, .. } => source.hint().or_else(|| match **source {
                Self::Io { .. } | Self::Rootfs(overboot_rootfs::Error::Io { .. }) => Some(
                    "see whether it is there, of the kind that is wanted, and may be read or written"
                        .to_owned(),
                ),
                _ => None,
            }),
            Self::Pack(source) => source.hint(),
            Self::Record(source) => source.hint(),
            Self::Store(source) => source.hint().map(str::to_owned),
            Self::BootSet(source) => source.hint().map(str::to_owned),
            Self::Told { help, .. } => Some(help.clone()),
            Self::Busy => {
                Some("wait for it to end, or give this one a project folder of its own".to_owned())
            }
            // These two say it in their messages.
            Self::Recipe(_) | Self::Rootfs(_) => None,
            Self::Index(_) | Self::Contract(_) | Self::Io { .. } => None,
        }
    }

    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// The error, with the place in the recipe that it is about, where one is known.
    pub(crate) fn placed(self, recipe: &Recipe, place: Place) -> Self {
        match recipe.at(place) {
            place if place.is_empty() => self,
            place => Self::AtPlace { place, source: Box::new(self) },
        }
    }

    pub(crate) fn told(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { message: message.into(), help: help.into() }
    }
}

/// What to do about a package file that cannot be had at its address, which no mirror has.
fn at_address(source: &overboot_archive::Error) -> Option<String> {
    use overboot_archive::Error::{
        Interrupted, NotFound, Package, Status, TooLarge, Unreachable, Unresolved,
    };
    match source {
        Package { source, .. } => at_address(source),
        Unresolved { host, .. } | Unreachable { host, .. } if host.starts_with("the proxy ") => {
            source.hint()
        }
        Status { status: 407, .. } => source.hint(),
        Unresolved { .. }
        | Unreachable { .. }
        | Interrupted { .. }
        | NotFound { .. }
        | Status { .. }
        | TooLarge { .. } => Some(
            "correct `url`, or get the file from elsewhere and name that: { file = \"…\" }"
                .to_owned(),
        ),
        _ => source.hint(),
    }
}
