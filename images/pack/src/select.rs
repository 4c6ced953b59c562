//! Patterns into modules.
//!
//! A pattern is a module's name (`ipmi_si`, `-` and `_` alike) or, if it has a slash, a path below
//! `lib/modules/VERSION` with `*` and `**`, with or without `.ko`: `kernel/drivers/net/ethernet/**`. With `!` before it, it
//! takes away what earlier patterns took. What the chosen modules need comes along in any case, their soft and weak
//! dependencies too.

use std::collections::BTreeSet;

use overboot_kmod::name;

use crate::{Error, Glob, KernelModules};

/// The modules that patterns mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Normalised names, with all that they need.
    pub names: Vec<String>,
    /// Patterns that matched neither a module nor anything built in: a mistyped name, or a driver that this kernel has not.
    pub unmatched: Vec<String>,
}

/// Resolves `patterns`, in their order, against the modules of a kernel.
///
/// # Errors
/// [`Error::Pattern`] for a pattern that cannot be read.
pub fn select<'a>(
    kernel: &KernelModules,
    patterns: impl IntoIterator<Item = &'a str>,
) -> Result<Selected, Error> {
    let index = kernel.index();
    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    let mut unmatched = Vec::new();
    for pattern in patterns {
        let (text, take) = pattern.strip_prefix('!').map_or((pattern, true), |rest| (rest, false));
        let matcher = Matcher::new(text)?;
        let mut matched = match &matcher {
            Matcher::Name(name) => index.builtin().contains(name),
            Matcher::Path(glob) => {
                index.builtin().paths().any(|path| glob.matches(stem(path).as_bytes()))
            }
        };
        for (name, _) in index.modules().filter(|(name, m)| matcher.matches(name, &m.path)) {
            matched = true;
            if take {
                chosen.insert(name);
            } else {
                chosen.remove(name);
            }
        }
        if !matched {
            unmatched.push(pattern.to_owned());
        }
    }
    let names = index.closure(chosen, true).into_iter().map(str::to_owned).collect();
    Ok(Selected { names, unmatched })
}

enum Matcher {
    Name(String),
    Path(Glob),
}

impl Matcher {
    fn new(pattern: &str) -> Result<Self, Error> {
        if pattern.contains('/') {
            return Glob::new(stem(pattern)).map(Self::Path);
        }
        if pattern.is_empty() || pattern.contains(['*', '?']) {
            return Err(Error::Pattern {
                pattern: pattern.to_owned(),
                reason: "want a module's name, or a path with a slash such as kernel/drivers/net/**",
            });
        }
        let name = name::of_path(pattern).unwrap_or_else(|| name::normalise(pattern));
        Ok(Self::Name(name.into_owned()))
    }

    fn matches(&self, name: &str, path: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Path(glob) => glob.matches(stem(path).as_bytes()),
        }
    }
}

/// A module's path without `.ko` and what follows it.
fn stem(path: &str) -> &str {
    let path = name::uncompressed(path);
    path.strip_suffix(".ko").unwrap_or(path)
}
