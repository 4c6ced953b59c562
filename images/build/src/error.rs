//! What can go wrong with a build.

use std::io;
use std::path::PathBuf;

/// Why nothing, or not everything, was built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe or the lock.
    #[error(transparent)]
    Recipe(#[from] overboot_recipe::Error),
    /// The archive.
    #[error("{}", with_hint(.0, .0.hint()))]
    Archive(#[from] overboot_archive::Error),
    /// The archive's package list is not one.
    #[error(transparent)]
    Index(#[from] overboot_archive::universe::IndexError),
    /// The packages that an image asks for cannot be had.
    #[error("{place}{target}: {}", with_hint(.source, .source.hint()))]
    Resolve {
        /// Where the recipe asks for it, `overboot.toml:81:3: `; nothing where that is not known.
        place: String,
        /// Which image.
        target: String,
        /// Why not. Part of the message: no `#[source]`.
        source: overboot_archive::ResolveError,
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
    /// A root tree could not be made.
    #[error(transparent)]
    Rootfs(#[from] overboot_rootfs::Error),
    /// An image could not be packed.
    #[error(transparent)]
    Pack(#[from] overboot_pack::Error),
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
    #[error("{message}\n  help: {help}")]
    Told {
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// Another build of this project is running.
    #[error(
        "another build of this project is running\n  help: wait for it to end, or give this one a project folder of its own"
    )]
    Busy,
}

impl Error {
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn told(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { message: message.into(), help: help.into() }
    }
}

fn with_hint(error: &dyn std::fmt::Display, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{error}\n  help: {hint}"),
        None => error.to_string(),
    }
}
