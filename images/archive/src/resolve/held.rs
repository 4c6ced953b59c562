//! What stays as it is, and what must move so that the rest can.
//!
//! Of the packages that a request would have held, those are let go without which there is no solution: whose version something
//! that moves cannot live with, and that cannot live with what moves. A walk over what the request needs, begun again after each.

use std::collections::BTreeMap;

use overboot_debian::relation::{Dependency, Relation};
use overboot_debian::version::Version;

use super::request::{Asked, Request};
use crate::universe::{Package, RelationField, Universe};

/// The packages of [`Request::held`] that stay, by name.
pub(super) fn kept<'u>(
    universe: &'u Universe,
    request: &Request,
    asked: &[Asked<'u>],
    variant: &[&str],
) -> BTreeMap<&'u str, &'u Package> {
    let settled = |name: &str| {
        asked.iter().any(|asked| asked.chosen.is_some_and(|package| package.name == name))
            || request.base.iter().any(|installed| installed.name == name)
            || request.exclude.iter().any(|excluded| excluded == name)
    };
    let held = request.held.iter().filter(|(name, _)| !settled(name));
    let held = held.filter_map(|(name, sha256)| {
        universe.versions(name).find(|package| package.sha256 == *sha256)
    });
    let held = held.map(|package| (package.name.as_str(), package)).collect();
    let mut walk = Walk { universe, request, asked, held };
    while let Some(name) = walk.in_the_way(variant) {
        walk.held.remove(name.as_str());
    }
    walk.held
}

struct Walk<'a, 'u> {
    universe: &'u Universe,
    request: &'a Request,
    asked: &'a [Asked<'u>],
    held: BTreeMap<&'u str, &'u Package>,
}

/// What a name is.
enum Is<'a> {
    /// Installed, in this version; with the package that is known of it.
    There(&'a Version, Option<&'a Package>),
    /// To be chosen.
    Free(&'a Package),
}

impl<'a> Walk<'a, '_> {
    /// The name of a held package that something cannot be had with.
    fn in_the_way(&self, variant: &[&str]) -> Option<String> {
        let mut found: BTreeMap<&str, &Package> = BTreeMap::new();
        let named = variant.iter().map(|name| Dependency(vec![Relation::to_any(*name)]));
        let named = named.chain(self.asked.iter().map(|asked| asked.dependency.clone()));
        let mut open: Vec<(Option<&Package>, Dependency)> = named.map(|one| (None, one)).collect();
        while let Some((of, dependency)) = open.pop() {
            let Some(met) = dependency.0.iter().find_map(|relation| self.met(relation)) else {
                match self.blamed(of, &dependency) {
                    Some(name) => return Some(name),
                    // The solver will say what is wrong.
                    None => continue,
                }
            };
            let Is::Free(package) = met else { continue };
            if found.insert(&package.name, package).is_some() {
                continue;
            }
            for field in [RelationField::PreDepends, RelationField::Depends] {
                let relations = package.relations(field).unwrap_or_default();
                open.extend(relations.0.into_iter().map(|one| (Some(package), one)));
            }
        }
        found.values().find_map(|package| self.clash(package, &found))
    }

    fn is(&self, name: &str) -> Option<Is<'a>> {
        if let Some(there) = self.request.base.iter().find(|installed| installed.name == name) {
            let same = |package: &&Package| package.version == there.version;
            let known = self.universe.versions(name).find(same);
            return Some(Is::There(
                &there.version,
                known.or_else(|| self.universe.candidate(name)),
            ));
        }
        if self.request.exclude.iter().any(|excluded| excluded == name) {
            return None;
        }
        let chosen = self.asked.iter().filter_map(|asked| asked.chosen);
        let chosen = chosen.into_iter().find(|package| package.name == name);
        let chosen = chosen.or_else(|| self.held.get(name).copied());
        chosen.or_else(|| self.universe.candidate(name)).map(Is::Free)
    }

    /// What satisfies a relation as things stand.
    fn met(&self, relation: &Relation) -> Option<Is<'a>> {
        let real = self.is(&relation.name).filter(|real| match real {
            Is::There(version, _) => relation.admits(Some(version)),
            Is::Free(package) => relation.admits(Some(&package.version)),
        });
        real.or_else(|| {
            let mut providers: Vec<&Package> = self.universe.providers(&relation.name).collect();
            providers.sort_by_key(|p| (!p.essential, p.priority, p.name.as_str()));
            providers.into_iter().find_map(|provider| {
                let is = self.is(&provider.name)?;
                let this = match &is {
                    Is::There(_, known) => known.is_some_and(|known| std::ptr::eq(known, provider)),
                    Is::Free(package) => std::ptr::eq(*package, provider),
                };
                (this && provides(provider, relation)).then_some(is)
            })
        })
    }

    /// Who is to be let go for a dependency that nothing satisfies: what it names, where a free choice of that would do;
    /// otherwise whose dependency it is.
    fn blamed(&self, of: Option<&Package>, dependency: &Dependency) -> Option<String> {
        for relation in &dependency.0 {
            let held = |name: &str| self.held.contains_key(name);
            let would_do = |package: &&Package| relation.admits(Some(&package.version));
            if held(&relation.name)
                && self.universe.candidate(&relation.name).is_some_and(|p| would_do(&p))
            {
                return Some(relation.name.clone());
            }
            let provider = self.universe.providers(&relation.name).find(|provider| {
                held(&provider.name)
                    && self
                        .universe
                        .candidate(&provider.name)
                        .is_some_and(|candidate| std::ptr::eq(candidate, *provider))
                    && provides(provider, relation)
            });
            if let Some(provider) = provider {
                return Some(provider.name.clone());
            }
        }
        let of = of?;
        self.is_held(of).then(|| of.name.clone())
    }

    fn is_held(&self, package: &Package) -> bool {
        self.held.get(package.name.as_str()).is_some_and(|held| std::ptr::eq(*held, package))
    }

    /// One of two that may not be together, if it is held and the other one is not: two that are held have been together.
    fn clash(&self, package: &Package, found: &BTreeMap<&str, &Package>) -> Option<String> {
        for field in [RelationField::Conflicts, RelationField::Breaks] {
            for relation in package.relations(field).unwrap_or_default().0.iter().flat_map(|d| &d.0)
            {
                if let Some(Is::There(version, _)) = self.is(&relation.name)
                    && relation.admits(Some(version))
                    && self.is_held(package)
                {
                    return Some(package.name.clone());
                }
                let real = found.get(relation.name.as_str()).copied();
                let real = real.filter(|other| relation.admits(Some(&other.version)));
                let providers = self.universe.providers(&relation.name).filter(|provider| {
                    found.get(provider.name.as_str()).is_some_and(|it| std::ptr::eq(*it, *provider))
                        && provides(provider, relation)
                });
                for other in real.into_iter().chain(providers) {
                    match (self.is_held(package), self.is_held(other)) {
                        _ if other.name == package.name => {}
                        (true, false) => return Some(package.name.clone()),
                        (false, true) => return Some(other.name.clone()),
                        _ => {}
                    }
                }
            }
        }
        None
    }
}

fn provides(package: &Package, relation: &Relation) -> bool {
    let provided = package.relations(RelationField::Provides).unwrap_or_default();
    provided.0.iter().flat_map(|dependency| &dependency.0).any(|provided| {
        let version = provided.version.as_ref().map(|(_, version)| version);
        provided.name == relation.name && relation.admits(version)
    })
}
