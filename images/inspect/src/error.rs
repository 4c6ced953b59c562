//! What can go wrong when one looks at images.

use std::path::PathBuf;

/// Why an image cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store has nothing of that name.
    #[error("{reference} is not in the store {}", store.display())]
    Missing {
        /// What was asked for.
        reference: String,
        /// The store.
        store: PathBuf,
        /// What it has.
        there: Vec<String>,
    },
    /// A digest that is of something else.
    #[error("{reference}: that is the digest of {found}")]
    Another {
        /// What was asked for.
        reference: String,
        /// What it is.
        found: String,
    },
    /// Sets of that generation have different ones of that name.
    #[error("{reference} is not the same in all boot sets with such a generation")]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// What to say instead, for each set.
        sets: Vec<String>,
    },
    /// Nothing is kept of what is in an image.
    #[error("it is not known what is in {target}")]
    Unlisted {
        /// The image.
        target: String,
    },
    /// Two that cannot be compared.
    #[error("{a} and {b} cannot be compared: one is a boot set and the other is not")]
    Kinds {
        /// One.
        a: String,
        /// The other.
        b: String,
    },
    /// A boot set names an image that is not there.
    #[error("{target} names {part}, which is not in the store")]
    Part {
        /// The boot set.
        target: String,
        /// The image's name in the set.
        part: String,
    },
    /// What is kept of an image.
    #[error(transparent)]
    Record(#[from] overboot_record::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] overboot_store::Error),
    /// A boot set.
    #[error("{target} is no boot set")]
    Set {
        /// Which one.
        target: String,
        /// Why not.
        #[source]
        source: overboot_bootset::Error,
    },
    /// What an overlay says of itself.
    #[error("what {target} changed of the databases cannot be read")]
    Changes {
        /// The overlay.
        target: String,
        /// Why not.
        #[source]
        source: overboot_merge::Error,
    },
}

impl Error {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { there, .. } if there.is_empty() => {
                Some("run `overboot build`".to_owned())
            }
            Self::Missing { there, .. } => Some(format!("it has: {}", there.join(", "))),
            Self::Another { .. } => {
                Some("give the digest that `overboot inspect` shows in its first line".to_owned())
            }
            Self::Ambiguous { sets, .. } => Some(format!("say which: {}", sets.join(", "))),
            Self::Unlisted { target } => Some(format!(
                "an older overboot made it: `overboot build {}` makes it anew",
                target.split('@').next().unwrap_or(target)
            )),
            Self::Part { target, .. } => {
                Some(format!("`overboot build {target}` makes it, or pull the set again"))
            }
            Self::Kinds { .. } => Some("compare two boot sets, or two images".to_owned()),
            Self::Record(source) => source.hint(),
            Self::Store(source) => source.hint().map(str::to_owned),
            Self::Set { .. } | Self::Changes { .. } => {
                Some("`overboot verify` finds what is damaged in the store".to_owned())
            }
        }
    }
}
