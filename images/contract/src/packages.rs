//! What packages say of each other (Debian Policy 7), held against a set of them.

use std::collections::{BTreeMap, BTreeSet};

use overboot_debian::deb822::{self, Stanza};
use overboot_debian::relation::{Dependency, Relation, Relations};
use overboot_debian::version::Version;
use serde::{Deserialize, Serialize};

use crate::reason::Reason;

/// An installed package, as far as others have to do with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, which may be `all`.
    pub architecture: String,
    /// `Pre-Depends` and `Depends`, as they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<String>,
    /// `Conflicts` and `Breaks`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
    /// `Provides`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provides: String,
}

/// Packages by name and architecture, as dpkg's database names them: `libc6 amd64`.
pub type Packages = BTreeMap<String, Package>;

impl Package {
    /// The package that a stanza of dpkg's database is about; nothing where it is not installed (its configuration may be left,
    /// or it may be half removed).
    #[must_use]
    pub fn of(stanza: &Stanza<'_>) -> Option<Self> {
        let installed = |status: &str| {
            let state = status.split_whitespace().nth(2);
            matches!(
                state,
                Some("installed" | "triggers-pending" | "triggers-awaited" | "unpacked")
            )
        };
        if !stanza.get("Status").is_some_and(installed) {
            return None;
        }
        let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
        let both = |names: [&str; 2]| {
            names.map(field).into_iter().filter(|value| !value.is_empty()).collect()
        };
        Some(Self {
            name: stanza.get("Package")?.to_owned(),
            version: field("Version"),
            architecture: field("Architecture"),
            depends: both(["Pre-Depends", "Depends"]),
            against: both(["Conflicts", "Breaks"]),
            provides: field("Provides"),
        })
    }

    /// How dpkg's database names it.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.name, self.architecture)
    }
}

/// The installed packages of a dpkg database. What cannot be read ends it: dpkg itself would not go on either.
#[must_use]
pub fn of_status(text: &str) -> Packages {
    let stanzas = deb822::stanzas(text).map_while(Result::ok);
    let found = stanzas.filter_map(|stanza| Package::of(&stanza));
    found.map(|package| (package.key(), package)).collect()
}

/// Everything among `packages` that does not hold.
#[must_use]
pub fn broken<'a>(packages: impl Iterator<Item = &'a Package>) -> BTreeSet<Reason> {
    let packages: Vec<&Package> = packages.collect();
    let by_name = Named::of(&packages);
    let mut found = BTreeSet::new();
    for package in &packages {
        for dependency in relations(&package.depends) {
            if !dependency.0.iter().any(|relation| by_name.has(relation)) {
                found.insert(Reason::Relation {
                    package: package.name.clone(),
                    relation: dependency.to_string(),
                });
            }
        }
        for relation in relations(&package.against).flat_map(|dependency| dependency.0) {
            // A package may be against a name that it provides itself: it wants to be the only one (Policy 7.5).
            for other in by_name.all(&relation).filter(|other| other.name != package.name) {
                found.insert(Reason::Against {
                    package: package.name.clone(),
                    relation: relation.to_string(),
                    other: other.name.clone(),
                });
            }
        }
    }
    found
}

/// The dependencies of some fields. What is no relation was passed over by dpkg as well.
fn relations(fields: &[String]) -> impl Iterator<Item = Dependency> {
    let read = |field: &String| field.parse::<Relations>().unwrap_or_default().0;
    fields.iter().flat_map(read)
}

/// Packages by their names and by those that they provide, each with the version that it has under that name.
struct Named<'a>(BTreeMap<String, Vec<(Option<Version>, &'a Package)>>);

impl<'a> Named<'a> {
    fn of(packages: &[&'a Package]) -> Self {
        let mut named: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for package in packages {
            let version = package.version.parse().ok();
            named.entry(package.name.clone()).or_default().push((version, *package));
            let provided = package.provides.parse::<Relations>().unwrap_or_default().0;
            for relation in provided.into_iter().flat_map(|dependency| dependency.0) {
                let version = relation.version.map(|(_, version)| version);
                named.entry(relation.name).or_default().push((version, *package));
            }
        }
        Self(named)
    }

    /// Those that a relation means. What it says of architectures is passed over: what was installed together could be.
    fn all(&self, relation: &Relation) -> impl Iterator<Item = &'a Package> {
        let named = self.0.get(&relation.name).map(Vec::as_slice).unwrap_or_default();
        let admitted = named.iter().filter(|(version, _)| relation.admits(version.as_ref()));
        admitted.map(|(_, package)| *package)
    }

    fn has(&self, relation: &Relation) -> bool {
        self.all(relation).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: &str) -> Vec<String> {
        broken(of_status(status).values()).iter().map(ToString::to_string).collect()
    }

    fn stanza(name: &str, version: &str, more: &str) -> String {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n{more}\n"
        )
    }

    #[test]
    fn dependencies_hold_by_version_alternative_and_provided_name() {
        let library = stanza("library", "2.0-1", "Provides: virtual, abi (= 3)\n");
        for (depends, holds) in [
            ("library", true),
            ("library (>= 2.0)", true),
            ("library (>= 2.1)", false),
            ("library (<< 2.0)", false),
            ("nothing | library:any", true),
            ("nothing", false),
            ("virtual", true),
            ("virtual (>= 1)", false),
            ("abi (>= 2)", true),
            ("abi (>= 4)", false),
        ] {
            for field in ["Depends", "Pre-Depends"] {
                let status =
                    library.clone() + &stanza("tool", "1", &format!("{field}: {depends}\n"));
                assert_eq!(told(&status).is_empty(), holds, "{depends}: {:?}", told(&status));
            }
        }
    }

    #[test]
    fn who_is_against_whom() {
        let other = stanza("other", "2", "Provides: mail\n");
        for (field, against, broken) in [
            ("Conflicts", "other", true),
            ("Breaks", "other (<< 3)", true),
            ("Breaks", "other (<< 2)", false),
            ("Conflicts", "mail", true),
            ("Conflicts", "tool", false),
            ("Breaks", "nobody", false),
        ] {
            let status = other.clone() + &stanza("tool", "1", &format!("{field}: {against}\n"));
            assert_eq!(told(&status).len(), usize::from(broken), "{against}: {:?}", told(&status));
        }
        let alone = stanza("tool", "1", "Provides: mail\nConflicts: mail\n");
        assert_eq!(told(&alone), Vec::<String>::new());
    }

    #[test]
    fn only_what_is_installed_counts() {
        let gone =
            "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n";
        assert!(of_status(gone).is_empty());
        let status = gone.to_owned() + &stanza("tool", "1", "Depends: gone\n");
        assert_eq!(told(&status).len(), 1);
        // Damaged text is no panic.
        assert_eq!(of_status("Package\n\n:\n").len(), 0);
        assert_eq!(told(&stanza("tool", "x y", "Depends: (((\nProvides: ,,\n")).len(), 0);
    }
}
