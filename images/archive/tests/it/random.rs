//! Small archives made at random: a set is found exactly where trying all of them finds one, and it holds.

use std::collections::BTreeSet;

use overboot_archive::resolve::{batches, order};
use overboot_archive::universe::{Origin, RelationField};
use overboot_archive::{Package, Request, ResolveError, Source, Universe, resolve};
use overboot_debian::relation::Relation;
use proptest::prelude::*;

const COUNT: usize = 7;

/// A relation to one of the packages or of two virtual names, some with a version.
fn relation() -> impl Strategy<Value = String> {
    (0..COUNT + 2, prop::option::weighted(0.3, "(<<|<=|=|>=|>>) [1-3]")).prop_map(|(n, version)| {
        let name = if n < COUNT { format!("p{n}") } else { format!("virtual{n}") };
        version.map_or(name.clone(), |version| format!("{name} ({version})"))
    })
}

fn stanza(number: usize) -> impl Strategy<Value = String> {
    let dependency = prop::collection::vec(relation(), 1..3).prop_map(|all| all.join(" | "));
    let depends = prop::collection::vec(dependency, 0..3).prop_map(|all| all.join(", "));
    let conflicts = prop::collection::vec(relation(), 0..2).prop_map(|all| all.join(", "));
    let provides = prop::option::weighted(0.4, "virtual[78]( \\(= [1-3]\\))?");
    (1..4, depends, conflicts, provides).prop_map(move |(version, depends, conflicts, provides)| {
        let provides = provides.unwrap_or_default();
        format!(
            "Package: p{number}\nVersion: {version}\nArchitecture: all\nFilename: p{number}\n\
                 Size: 1\nSHA256: {number:064x}\nDepends: {depends}\nConflicts: {conflicts}\n\
                 Provides: {provides}\n\n"
        )
    })
}

fn archive() -> impl Strategy<Value = String> {
    let stanzas: Vec<_> = (0..COUNT).map(stanza).collect();
    stanzas.prop_map(|stanzas| stanzas.concat())
}

/// Whether a package is meant by a relation, by its own name or by one it provides.
fn is_meant(relation: &Relation, package: &Package) -> bool {
    let provided = package.relations(RelationField::Provides).unwrap();
    (relation.name == package.name && relation.admits(Some(&package.version)))
        || provided.0.iter().flat_map(|dependency| &dependency.0).any(|provided| {
            let version = provided.version.as_ref().map(|(_, version)| version);
            provided.name == relation.name && relation.admits(version)
        })
}

/// Whether these packages can be together.
fn holds(set: &[&Package]) -> bool {
    set.iter().all(|package| {
        let depends = package.relations(RelationField::Depends).unwrap();
        let conflicts = package.relations(RelationField::Conflicts).unwrap();
        depends
            .0
            .iter()
            .all(|d| d.0.iter().any(|relation| set.iter().any(|p| is_meant(relation, p))))
            && !conflicts
                .0
                .iter()
                .flat_map(|d| &d.0)
                .any(|relation| set.iter().any(|p| p.name != package.name && is_meant(relation, p)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_set_is_found_where_there_is_one(text in archive(), wanted in prop::collection::btree_set(0..COUNT, 1..4)) {
        let mut universe = Universe::new("amd64");
        let source = Source::new("http://example.org/debian", "trixie", "main");
        universe.add(&text, Origin { source, priority: Origin::USUAL }).unwrap();
        let wanted: BTreeSet<String> = wanted.iter().map(|n| format!("p{n}")).collect();
        let request = Request { install: wanted.iter().cloned().collect(), ..Request::default() };

        let has_wanted = |set: &[&Package]| {
            wanted.iter().all(|name| set.iter().any(|package| package.name == *name))
        };
        match resolve(&universe, &request) {
            Ok(set) => {
                prop_assert!(has_wanted(&set) && holds(&set));
                let mut all = order(&set);
                prop_assert_eq!(&batches(&set).concat().len(), &all.len());
                all.sort_unstable();
                prop_assert_eq!(all, (0..set.len()).collect::<Vec<_>>());
            }
            Err(ResolveError::Unsatisfiable { chain, about }) => {
                prop_assert!(!chain.is_empty());
                prop_assert!(!about.is_empty() && about.iter().all(|entry| wanted.contains(entry)));
                for bits in 0..1_u32 << COUNT {
                    let set: Vec<&Package> = universe
                        .packages()
                        .iter()
                        .enumerate()
                        .filter_map(|(n, package)| (bits >> n & 1 == 1).then_some(package))
                        .collect();
                    prop_assert!(!(has_wanted(&set) && holds(&set)), "there is {set:?}");
                }
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
        // With recommendations taken for dependencies' poor relations, there is a set as well.
        let text = text.replace("Depends:", "Recommends:");
        let mut universe = Universe::new("amd64");
        let source = Source::new("http://example.org/debian", "trixie", "main");
        universe.add(&text, Origin { source, priority: Origin::USUAL }).unwrap();
        let request = Request { recommends: true, ..request };
        if let Ok(set) = resolve(&universe, &request) {
            prop_assert!(has_wanted(&set));
        }
    }
}
