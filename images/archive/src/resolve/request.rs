//! What is asked for, and whether it can be meant.

use std::collections::BTreeMap;
use std::fmt;

use overboot_debian::relation::{Dependency, Operator, Relation};
use overboot_debian::version::Version;
use overboot_digest::Digest;

use super::error::ResolveError;
use super::near;
use crate::universe::{Package, Priority, Universe};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The set that is there without being named.
    pub variant: Variant,
    /// `name`, `name=version`, or a dependency as control files write it: `name (>= 1.2)`, `a | b`.
    pub install: Vec<String>,
    /// Names that must not be chosen. Those of the variant are left out; where another package needs one,
    /// there is no solution.
    pub exclude: Vec<String>,
    /// What is installed already and stays as it is.
    pub base: Vec<Installed>,
    /// Package files that are meant where their name and version are asked for, although an archive may list another file of
    /// that version. No other file is meant that no archive lists.
    pub files: Vec<Digest>,
    /// Package files, by name, that are preferred to whatever else the suites have of that name, as long as what is asked for
    /// can be had with them.
    pub held: BTreeMap<String, Digest>,
    /// Whether recommended packages are installed too, where they can be.
    pub recommends: bool,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its version; the archive may have moved on to another one.
    pub version: Version,
}

/// A starting set, by the names that `mmdebstrap --variant` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Variant {
    /// Nothing but what is named.
    #[default]
    Custom,
    /// The `Essential: yes` packages.
    Essential,
    /// The essential ones and apt.
    Apt,
    /// Those, and all of `Priority: required`.
    Minbase,
    /// Those, and all of `Priority: important`: what debootstrap makes.
    Important,
    /// Those, and all of `Priority: standard`.
    Standard,
}

impl Variant {
    /// All of them, smallest first.
    pub const ALL: [Self; 6] =
        [Self::Custom, Self::Essential, Self::Apt, Self::Minbase, Self::Important, Self::Standard];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Essential => "essential",
            Self::Apt => "apt",
            Self::Minbase => "minbase",
            Self::Important => "important",
            Self::Standard => "standard",
        }
    }

    /// The lowest priority whose packages all belong to it.
    fn priority(self) -> Option<Priority> {
        match self {
            Self::Custom | Self::Essential | Self::Apt => None,
            Self::Minbase => Some(Priority::Required),
            Self::Important => Some(Priority::Important),
            Self::Standard => Some(Priority::Standard),
        }
    }

    /// Whether it names this package.
    pub(super) fn has(self, package: &Package) -> bool {
        self != Self::Custom
            && (package.essential
                || (package.name == "apt" && self != Self::Essential)
                || self.priority().is_some_and(|lowest| package.priority <= lowest))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An entry of [`Request::install`], read and found possible.
#[derive(Debug)]
pub(super) struct Asked<'u> {
    pub(super) dependency: Dependency,
    /// The package, where its version is asked for.
    pub(super) chosen: Option<&'u Package>,
}

/// Reads the entries of [`Request::install`].
pub(super) fn read<'u>(
    universe: &'u Universe,
    request: &Request,
) -> Result<Vec<Asked<'u>>, ResolveError> {
    request.install.iter().map(|entry| asked(universe, request, entry)).collect()
}

/// Reads one entry.
pub(super) fn asked<'u>(
    universe: &'u Universe,
    request: &Request,
    entry: &str,
) -> Result<Asked<'u>, ResolveError> {
    let syntax = |error| ResolveError::Syntax {
        entry: entry.chars().take(200).collect(),
        source: Box::new(error),
    };
    // `name=version`, as apt-get takes it.
    let dependency: Dependency = match entry.split_once('=') {
        Some((name, version)) if !entry.contains('(') => {
            format!("{name} (= {version})").parse().map_err(syntax)?
        }
        _ => entry.parse().map_err(syntax)?,
    };
    let [relation] = dependency.0.as_slice() else {
        return alternatives(universe, request, dependency);
    };
    if let Some(name) = request.exclude.iter().find(|name| **name == relation.name) {
        return Err(ResolveError::Excluded { name: name.clone() });
    }
    if request.base.iter().any(|installed| installed.name == relation.name) {
        // Present in its one version: whether that is the one asked for is the solver's to say.
        return Ok(Asked { dependency, chosen: None });
    }
    if meant(universe, request, &relation.name).next().is_none() {
        return Err(unknown(universe, &relation.name));
    }
    if matches!(relation.version, Some((Operator::Equal, _))) {
        // As apt has it, whoever names a version gets it whatever pins say; among several files with it, the first that an
        // archive lists. Those of the request come before.
        let admitted = |p: &&Package| relation.admits(Some(&p.version));
        let given = |p: &&Package| request.files.contains(&p.sha256) && admitted(p);
        let given = universe.versions(&relation.name).find(given);
        return match given.or_else(|| meant(universe, request, &relation.name).find(admitted)) {
            Some(package) => Ok(Asked { dependency, chosen: Some(package) }),
            None => Err(no_such_version(universe, request, relation)),
        };
    }
    if universe.candidate(&relation.name).is_some_and(|p| relation.admits(Some(&p.version))) {
        return Ok(Asked { dependency, chosen: None });
    }
    Err(no_such_version(universe, request, relation))
}

/// The versions of a name that a request can mean: those that are listed, files of its own, and what is held.
fn meant<'u>(
    universe: &'u Universe,
    request: &Request,
    name: &str,
) -> impl Iterator<Item = &'u Package> {
    let own = |package: &Package| {
        request.files.contains(&package.sha256)
            || request.held.get(&package.name) == Some(&package.sha256)
    };
    universe.versions(name).filter(move |package| package.is_listed || own(package))
}

/// Alternatives: one of them has to be a package or stand for one.
fn alternatives<'u>(
    universe: &'u Universe,
    request: &Request,
    dependency: Dependency,
) -> Result<Asked<'u>, ResolveError> {
    let known = |relation: &Relation| {
        meant(universe, request, &relation.name).next().is_some()
            || universe.providers(&relation.name).next().is_some()
    };
    match dependency.0.first() {
        Some(first) if !dependency.0.iter().any(known) => Err(unknown(universe, &first.name)),
        _ => Ok(Asked { dependency, chosen: None }),
    }
}

/// Why a name without a package is refused.
pub(super) fn unknown(universe: &Universe, name: &str) -> ResolveError {
    let mut providers: Vec<_> = universe.providers(name).map(|p| p.name.clone()).collect();
    providers.sort_unstable();
    providers.dedup();
    let name = name.to_owned();
    if providers.is_empty() {
        let near = near::names(&name, universe.names());
        ResolveError::UnknownPackage { name, near }
    } else {
        ResolveError::VirtualOnly { name, providers }
    }
}

fn no_such_version(universe: &Universe, request: &Request, relation: &Relation) -> ResolveError {
    let mut available: Vec<_> = meant(universe, request, &relation.name).collect();
    available.sort_by(|a, b| b.version.cmp(&a.version));
    ResolveError::NoSuchVersion {
        wanted: relation.to_string(),
        available: available
            .iter()
            .map(|p| match p.pin_priority() {
                ..=0 => format!("{} ({}, never taken)", p.version, p.origin.source.suite),
                _ => format!("{} ({})", p.version, p.origin.source.suite),
            })
            .collect(),
    }
}
