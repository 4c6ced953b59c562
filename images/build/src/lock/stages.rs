//! The stages that a base's packages are installed in, so that one that is built again can be gone on with: first what is essential,
//! then what has not moved as far as the lock knows, and last what has, since that is what will move again.

use std::collections::{BTreeMap, BTreeSet};

use overboot_archive::Package;
use overboot_archive::resolve::{batches, dependants, dependencies};
use overboot_archive::universe::RelationField;
use overboot_debian::relation::Relations;
use overboot_recipe::Lock;

/// Which stage of a base its packages that have not moved are.
const SETTLED: usize = 1;

/// Packages by which others make accounts (useradd(8), adduser(8), sysusers.d(5)), which depend on them or are they themselves.
const ACCOUNTS: [&str; 5] =
    ["adduser", "passwd", "systemd", "systemd-standalone-sysusers", "systemd-sysusers"];

/// The packages of a base.
pub(super) struct Stages<'u> {
    /// In batches that are configured one before the next.
    pub(super) batches: Vec<Vec<&'u Package>>,
    /// After how many of them a stage ends, without the last one.
    pub(super) ends: Vec<usize>,
}

/// Orders what is essential, all of it in the first batch, and the `rest` of a base; `before`: what the lock that is there had in it.
pub(super) fn in_stages<'u>(
    essential: &[&'u Package],
    rest: &[&'u Package],
    before: Option<(&Lock, &str)>,
) -> Stages<'u> {
    let moving = before.map(|(lock, target)| moving(lock, target, rest));
    let moving = moving.unwrap_or_else(|| vec![false; rest.len()]);
    let first = batches(essential).concat().iter().map(|&at| essential[at]).collect();
    let mut stages = Stages { batches: vec![first], ends: vec![1] };
    // Each keeps its place among those of its stage: who leaves changes nothing for the others.
    let order = batches(rest);
    let mut add = |moves: bool| {
        let part = |batch: &Vec<usize>| -> Vec<&'u Package> {
            batch.iter().filter(|&&at| moving[at] == moves).map(|&at| rest[at]).collect()
        };
        stages.batches.extend(order.iter().map(part).filter(|batch| !batch.is_empty()));
        stages.batches.len()
    };
    let settled = add(false);
    if add(true) > settled && settled > 1 {
        stages.ends.push(settled);
    }
    stages
}

/// Which of `packages` move: are another file than in the lock, or were when that was made, or need one of those. Where that is most of
/// them nothing is gained by it any more: then only what moves now, or nothing. So a lock whose packages stay keeps their order.
///
/// None that makes accounts moves, nor what those need: accounts have their numbers by the order in which they are made, and an overlay
/// holds on another base only where they are the same.
fn moving(lock: &Lock, target: &str, packages: &[&Package]) -> Vec<bool> {
    let known = lock.first_step(target, ..).concat();
    let known: BTreeMap<&str, _> =
        known.iter().map(|package| (package.name.as_str(), package.sha256)).collect();
    let settled = lock.stages_of(target).get(SETTLED);
    let before = settled.map(|stage| lock.first_step(target, stage.batches..).concat());
    let before: BTreeSet<&str> =
        before.iter().flatten().map(|package| package.name.as_str()).collect();
    let makers = packages.iter().map(|package| makes_accounts(package)).collect();
    let (mut now, mut all) = (Vec::new(), Vec::new());
    for (package, stays) in packages.iter().zip(dependencies(packages, makers)) {
        let name = package.name.as_str();
        let moves = !stays && known.get(name).is_some_and(|known| *known != package.sha256);
        now.push(moves);
        all.push(moves || !stays && before.contains(name));
    }
    let few = |chosen| {
        let all = dependants(packages, chosen);
        (all.iter().filter(|moves| **moves).count() <= packages.len() / 2).then_some(all)
    };
    few(all).or_else(|| few(now)).unwrap_or_else(|| vec![false; packages.len()])
}

/// Does the package say that it makes accounts?
fn makes_accounts(package: &Package) -> bool {
    let fields = [RelationField::PreDepends, RelationField::Depends];
    let relations = fields.map(|field| package.relations(field).unwrap_or_default());
    let named = relations.iter().flat_map(|Relations(all)| all.iter().flat_map(|one| &one.0));
    let mut named = named.map(|relation| relation.name.as_str());
    ACCOUNTS.contains(&package.name.as_str()) || named.any(|name| ACCOUNTS.contains(&name))
}

#[cfg(test)]
mod tests;
