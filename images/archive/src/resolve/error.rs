//! Why there is no set of packages for a request.

use overboot_debian::relation;

/// Why there is no set of packages for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// An entry of the request is not a package name, with or without a version.
    #[error("cannot read \"{entry}\" as a package")]
    Syntax {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        source: Box<relation::Error>,
    },
    /// No package has this name or provides it.
    #[error("there is no package \"{name}\" in the chosen suites")]
    UnknownPackage {
        /// The name asked for.
        name: String,
        /// Names of packages that look like it, the nearest first.
        near: Vec<String>,
    },
    /// The name is not a package's, it only stands for others.
    #[error("\"{name}\" is not a package but stands for others: {}", providers.join(", "))]
    VirtualOnly {
        /// The name asked for.
        name: String,
        /// The packages that provide it, sorted.
        providers: Vec<String>,
    },
    /// The package exists, but not in a version that is asked for.
    #[error("no version of the package satisfies \"{wanted}\"; there is {}", available.join(", "))]
    NoSuchVersion {
        /// The relation asked for.
        wanted: String,
        /// The versions that there are, with their suites, the newest first.
        available: Vec<String>,
    },
    /// The same name is asked for and excluded.
    #[error("the package \"{name}\" is asked for and excluded")]
    Excluded {
        /// The name.
        name: String,
    },
    /// The packages cannot be together.
    #[error("these packages cannot be together:{}", lines(chain))]
    Unsatisfiable {
        /// The reasons, one a line, from what was asked for to what contradicts it.
        chain: Vec<String>,
        /// Which entries of the request that is about, as they are written there: first those of
        /// [`Request::install`](super::Request::install), then those of [`Request::exclude`](super::Request::exclude).
        about: Vec<String>,
    },
}

fn lines(chain: &[String]) -> String {
    chain.iter().map(|line| format!("\n  {line}")).collect()
}

impl ResolveError {
    /// What to do about it; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { .. } => {
                Some("Write NAME, NAME=VERSION, \"NAME (>= VERSION)\" or \"NAME | OTHER\".".to_owned())
            }
            Self::UnknownPackage { near, .. } if near.is_empty() => Some(
                "Check its spelling, and whether its component (contrib, non-free-firmware) or suite is \
                 among the sources."
                    .to_owned(),
            ),
            Self::UnknownPackage { near, .. } => {
                Some(format!("Did you mean {}?", near.join(", ")))
            }
            Self::VirtualOnly { .. } => Some("Name one of them.".to_owned()),
            Self::NoSuchVersion { .. } => Some(
                "Take one of these versions, or a suite (a snapshot archive) that still has the other."
                    .to_owned(),
            ),
            Self::Excluded { .. } => Some("Take it out of one of the two lists.".to_owned()),
            Self::Unsatisfiable { .. } => Some(
                "Leave out one of the packages that are asked for, or what stands in the way at the end of the \
                 chain: an exclusion, a version asked for, a base that is too old."
                    .to_owned(),
            ),
        }
    }
}
