//! Which packages a request needs: the set that apt would install on an empty system, or on top of a base.
//!
//! One candidate per name (its newest version of the highest pin priority, or the one asked for), the first
//! alternative that can be had, real packages before providers: apt's rules, so that the outcome is apt's.
//! Only the search is another one: a SAT solver, which finds a set if there is one, and can say why not.
//!
//! [`batches`] then says in which order the set can be unpacked and configured.

mod error;
mod explain;
mod held;
mod near;
mod order;
mod problem;
mod request;

use std::collections::BTreeSet;

use overboot_debian::relation::Relation;

pub use error::ResolveError;
pub use order::{Related, batches, dependants, dependencies, order};
pub use request::{Installed, Request, Variant};

use crate::universe::{Package, Universe};
use problem::{Because, Problem};

/// The packages that `request` needs, without those of the base, sorted by name.
///
/// # Errors
/// A name that no package has, or that only stands for others; a version that cannot be had; packages that
/// cannot be together, with the reasons.
pub fn resolve<'u>(
    universe: &'u Universe,
    request: &Request,
) -> Result<Vec<&'u Package>, ResolveError> {
    let asked = request::read(universe, request)?;
    let mut problem = Problem::new(universe, request.recommends);
    for name in &request.exclude {
        problem.exclude(name);
    }
    for installed in &request.base {
        problem.fix(installed);
    }
    let variant = variant(universe, request);
    for package in held::kept(universe, request, &asked, &variant).into_values() {
        problem.hold(package);
    }
    for dependency in &asked {
        if let Some(package) = dependency.chosen {
            problem.choose(package);
        }
    }
    let mut roots = Vec::new();
    for installed in &request.base {
        roots.push(problem.root(&installed.name, Because::Base));
    }
    for name in variant {
        roots.push(problem.root(name, Because::Variant(request.variant)));
    }
    for asked in &asked {
        roots.push(problem.root_dependency(&asked.dependency, Because::Asked));
    }
    let mut solver = resolvo::Solver::new(problem);
    match solver.solve(resolvo::Problem::new().requirements(roots)) {
        Ok(chosen) => {
            let mut packages: Vec<_> =
                chosen.iter().filter_map(|&id| solver.provider().new_package(id)).collect();
            packages.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(packages)
        }
        Err(resolvo::UnsolvableOrCancelled::Unsolvable(conflict)) => {
            let why = explain::why(&conflict.graph(&solver), solver.provider());
            let entries = request.install.iter().zip(&asked);
            let entries = entries.filter(|(_, asked)| why.asked.contains(&asked.dependency));
            let excluded = request.exclude.iter().filter(|name| why.excluded.contains(*name));
            let about = entries.map(|(entry, _)| entry).chain(excluded).cloned().collect();
            Err(ResolveError::Unsatisfiable { chain: why.chain, about })
        }
        // Nothing here asks the solver to stop.
        Err(resolvo::UnsolvableOrCancelled::Cancelled(_)) => {
            Err(ResolveError::Unsatisfiable { chain: Vec::new(), about: Vec::new() })
        }
    }
}

/// The one package that an entry of [`Request::install`] means, without what it depends on.
///
/// # Errors
/// As [`resolve`], save that nothing is looked at but names and versions.
pub fn find<'u>(universe: &'u Universe, entry: &str) -> Result<&'u Package, ResolveError> {
    let asked = request::asked(universe, &Request::default(), entry)?;
    let candidate = |relation: &Relation| {
        universe.candidate(&relation.name).filter(|p| relation.admits(Some(&p.version)))
    };
    let found = asked.chosen.or_else(|| asked.dependency.0.iter().find_map(candidate));
    found.ok_or_else(|| request::unknown(universe, entry))
}

/// Up to five names of packages that look like `name`, the nearest first.
#[must_use]
pub fn near(universe: &Universe, name: &str) -> Vec<String> {
    near::names(name, universe.names())
}

/// The names that the variant has, without excluded ones and those of the base, sorted.
///
/// Only the main archive says which, as for debootstrap and mmdebstrap (which asks apt for `?narrow(?archive(SUITE),?essential)`):
/// in another one anything can call itself essential. In which version they come is for pins to say, as everywhere.
fn variant<'u>(universe: &'u Universe, request: &Request) -> Vec<&'u str> {
    if request.variant == Variant::Custom {
        return Vec::new();
    }
    let settled: BTreeSet<&str> = request
        .exclude
        .iter()
        .map(String::as_str)
        .chain(request.base.iter().map(|installed| installed.name.as_str()))
        .collect();
    let has = |package: &Package| package.in_main && request.variant.has(package);
    let packages = universe.packages().iter().filter(|package| has(package));
    let names = packages.map(|package| package.name.as_str());
    let mut names: Vec<_> = names.filter(|name| !settled.contains(name)).collect();
    names.sort_unstable();
    names.dedup();
    // Of several versions, the preferred one counts.
    names.retain(|name| universe.main_candidate(name).is_some_and(|p| request.variant.has(p)));
    names
}

#[cfg(test)]
mod tests;
