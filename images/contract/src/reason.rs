//! All that can speak against keeping an overlay, in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What is to be done about an overlay, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It holds.
    Valid,
    /// It must be built again, and that helps.
    Rebuild,
    /// Building it again from the same would not help.
    Conflict,
}

/// Whose number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Account {
    /// A user's.
    User,
    /// A group's.
    Group,
}

/// One thing that speaks against keeping an overlay. Paths are from the root, without a leading `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing was written down when it was made.
    Unknown,
    /// What it puts something else in place of is not what it was.
    Changed {
        /// Where.
        path: String,
        /// In which respect, in a word.
        what: String,
    },
    /// What it puts something else in place of is not there.
    Gone {
        /// Where.
        path: String,
    },
    /// It stands before something that was not there.
    Hidden {
        /// Where.
        path: String,
    },
    /// What it takes away is not there.
    Deleted {
        /// Where.
        path: String,
    },
    /// Where one of its links leads there is nothing.
    Link {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// It has a package in an older version than the base.
    Older {
        /// The package.
        package: String,
        /// The overlay's version.
        version: String,
        /// The base's.
        base: String,
    },
    /// It takes away a package that is another one by now.
    Removed {
        /// The package.
        package: String,
        /// The version that it took away.
        version: String,
        /// The base's.
        base: String,
    },
    /// A library is not there.
    Library {
        /// Who needs it.
        path: String,
        /// Its soname.
        library: String,
    },
    /// A library lacks a version of its symbols.
    Version {
        /// Who needs it.
        path: String,
        /// The library's soname.
        library: String,
        /// The version.
        version: String,
    },
    /// A library lacks a symbol.
    Symbol {
        /// Who needs it.
        path: String,
        /// The library's soname.
        library: String,
        /// The symbol.
        symbol: String,
    },
    /// What runs a program or script is not there.
    Interpreter {
        /// The program or script.
        path: String,
        /// What runs it.
        interpreter: String,
    },
    /// A dependency of a package does not hold.
    Relation {
        /// The package.
        package: String,
        /// The dependency.
        relation: String,
    },
    /// A package is there that another one cannot be with.
    Against {
        /// The package.
        package: String,
        /// What it is against.
        relation: String,
        /// The package that is meant.
        other: String,
    },
    /// The number of one of its users or groups belongs to somebody else.
    Taken {
        /// Whose.
        account: Account,
        /// The name.
        name: String,
        /// The number.
        number: u32,
        /// Whose it is in the base.
        by: String,
    },
    /// One of its users or groups has another number in the base.
    Renumbered {
        /// Whose.
        account: Account,
        /// The name.
        name: String,
        /// The overlay's number.
        number: u32,
        /// The base's.
        base: u32,
    },
}

impl Reason {
    /// What is said, and of which file: the same is told once of many files.
    fn parts(&self) -> (String, Option<&str>) {
        match self {
            Self::Unknown => (
                "what it relies on is not known: an older overboot made it, or another program"
                    .into(),
                None,
            ),
            Self::Changed { path, what } => {
                (format!("it stands before another {what} than it was made for"), Some(path))
            }
            Self::Gone { path } => {
                ("it stands in place of what is not in this base".into(), Some(path))
            }
            Self::Hidden { path } => ("it hides what is new in this base".into(), Some(path)),
            Self::Deleted { path } => ("it takes away what is not in this base".into(), Some(path)),
            Self::Link { path, target } => {
                (format!("it links to {target}, which is not in this base"), Some(path))
            }
            Self::Older { package, version, base } => {
                (format!("its {package} {version} is older than this base's {base}"), None)
            }
            Self::Removed { package, version, base } => {
                (format!("it takes away {package} {version}, and this base has {base}"), None)
            }
            Self::Library { path, library } => {
                (format!("{library} is not there for it"), Some(path))
            }
            Self::Version { path, library, version } => {
                (format!("{library} has no {version} for it"), Some(path))
            }
            Self::Symbol { path, library, symbol } => {
                (format!("{library} has no symbol {symbol} for it"), Some(path))
            }
            Self::Interpreter { path, interpreter } => {
                (format!("{interpreter}, which runs it, is not there"), Some(path))
            }
            Self::Relation { package, relation } => {
                (format!("{package} depends on {relation}, which is not there"), None)
            }
            Self::Against { package, relation, other } => {
                (format!("{package} cannot be with {relation}, and {other} is there"), None)
            }
            Self::Taken { account, name, number, by } => {
                let account = account.word();
                (
                    format!(
                        "its {account} {name} has the number {number}, which is {by}'s in this base"
                    ),
                    None,
                )
            }
            Self::Renumbered { account, name, number, base } => {
                let account = account.word();
                (
                    format!(
                        "its {account} {name} has the number {number}, and {base} in this base"
                    ),
                    None,
                )
            }
        }
    }
}

impl Account {
    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (said, Some(path)) => write!(f, "/{path}: {said}"),
            (said, None) => f.write_str(&said),
        }
    }
}

/// Reasons in words; those that are the same for several files in one line.
#[must_use]
pub fn told<'a>(reasons: impl IntoIterator<Item = &'a Reason>) -> Vec<String> {
    let mut lines: Vec<(String, Option<&str>, usize)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for reason in reasons {
        let (said, path) = reason.parts();
        match places.get(&said) {
            Some(at) => lines[*at].2 += 1,
            None => {
                places.insert(said.clone(), lines.len());
                lines.push((said, path, 0));
            }
        }
    }
    let line = |(said, path, more): (String, Option<&str>, usize)| match (path, more) {
        (None, _) => said,
        (Some(path), 0) => format!("/{path}: {said}"),
        (Some(path), more) => format!("/{path} and {more} more: {said}"),
    };
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once() {
        let hidden = |path: &str| Reason::Hidden { path: path.into() };
        let library = Reason::Library { path: "usr/bin/x".into(), library: "libx.so.1".into() };
        let reasons = [hidden("etc/a"), library, hidden("etc/b"), hidden("etc/c")];
        let wanted = [
            "/etc/a and 2 more: it hides what is new in this base",
            "/usr/bin/x: libx.so.1 is not there for it",
        ];
        assert_eq!(told(&reasons), wanted);
    }

    #[test]
    fn verdicts_are_ordered_by_what_they_cost() {
        assert!(Verdict::Valid < Verdict::Rebuild && Verdict::Rebuild < Verdict::Conflict);
    }
}
