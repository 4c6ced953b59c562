//! Texts that people and archives write.

use std::cmp::Ordering;
use std::path::Path;

use overboot_archive::universe::Origin;
use overboot_archive::{Source, Universe};
use overboot_debian::relation::Relations;
use overboot_debian::{deb822, version};
use overboot_recipe::Recipe;

/// Stanzas, with the relations and versions in them.
///
/// # Panics
/// A relation that is written again is another one; two versions have two orders.
pub fn control(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut versions = Vec::new();
    for stanza in deb822::stanzas(text) {
        let Ok(stanza) = stanza else { break };
        for (name, value) in stanza.fields() {
            assert_eq!(stanza.get(name), Some(value), "a field has one value");
            if let Ok(relations) = value.parse::<Relations>() {
                let written = relations.to_string();
                assert_eq!(written.parse::<Relations>().as_ref(), Ok(&relations), "{written}");
            }
            if versions.len() < 8 {
                versions.push(value);
            }
        }
    }
    for left in &versions {
        assert_eq!(version::compare(left, left), Ordering::Equal);
        for right in &versions {
            let order = version::compare(left, right);
            assert_eq!(order, version::compare(right, left).reverse(), "{left:?} {right:?}");
        }
    }
}

/// A `Packages` list, behind its signature: what a mirror that is allowed to sign could still do.
///
/// # Panics
/// A package that is listed under no name.
pub fn packages(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let source = Source::new("http://archive.example/debian", "trixie", "main");
    let mut universe = Universe::new("amd64");
    if universe.add(text, Origin { source, priority: Origin::USUAL }).is_err() {
        return;
    }
    for package in universe.packages() {
        let found = universe.versions(&package.name).any(|one| one.version == package.version);
        assert!(found, "{} {} is not under its name", package.name, package.version);
        assert!(universe.candidate(&package.name).is_some(), "{} has a candidate", package.name);
    }
}

/// A recipe, by whoever can write to the project.
///
/// # Panics
/// A refusal that says nothing, or not where.
pub fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Recipe::parse(text, Path::new(crate::seeds::PROJECT)) {
        let told = error.to_string();
        assert!(told.contains("overboot.toml:"), "no place in: {told}");
    }
}
