//! What another lock changes, told before it is one: packages, what must be fetched, and what nodes hold in memory.

use std::collections::{BTreeMap, BTreeSet};

use overboot_digest::Digest;
use overboot_recipe::{Lock, LockedPackage, Recipe, Whence};
use serde::Serialize;

use crate::error::Error;
use crate::execute::{Goal, prepare};
use crate::plan::{Target, steps_of, targets};
use crate::project::Project;
use crate::sources;

/// What another lock changes.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Of each image whose packages are others.
    pub images: Vec<ImageChange>,
    /// Container images that are pinned otherwise: name, manifests before and after.
    pub containers: Vec<(String, Option<Digest>, Option<Digest>)>,
    /// What is not in the package store of all that the lock before has not.
    pub fetch: Files,
    /// What is.
    pub cached: Files,
    /// Estimates of what the layers of each boot set take in a node's memory.
    pub sets: Vec<SetMemory>,
    /// What a build then has to do.
    pub rebuild: Vec<String>,
}

/// Some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// How many.
    pub packages: usize,
    /// Their size in bytes.
    pub bytes: u64,
}

/// What changes in one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageChange {
    /// As the lock calls it: `base/base`.
    pub target: String,
    /// Its packages that change, by name.
    pub packages: Vec<PackageChange>,
    /// How many it has then.
    pub count: usize,
    /// What its packages take installed, as they say themselves, in bytes: before and after.
    pub installed: (u64, u64),
}

/// A package that comes, goes or is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its version before; `None`: it is new.
    pub from: Option<String>,
    /// Its version then; `None`: it goes.
    pub to: Option<String>,
    /// Is it from the suite of security updates?
    pub security: bool,
    /// The size of the file, in bytes.
    pub size: u64,
    /// What it takes more when it is installed, in bytes.
    pub installed: i64,
}

/// What the layers of a boot set take in a node's memory, estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetMemory {
    /// Its name.
    pub set: String,
    /// As they are in the store, in bytes; `None` where one of them is not there.
    pub before: Option<u64>,
    /// With the other lock.
    pub after: u64,
}

/// What packages come to when nothing of their kind has been packed yet: a third.
const USUAL: (u64, u64) = (1, 3);

/// What `new` changes of `old`.
///
/// # Errors
/// The store or what the recipe names cannot be read.
pub fn change(
    project: &Project,
    recipe: &Recipe,
    (old, new): (Option<&Lock>, &Lock),
    node: &[u8],
) -> Result<Change, Error> {
    let images = images(recipe, old, new);
    let (fetch, cached) = files(project, old, new)?;
    let there = project.store_folder().exists();
    let rebuild: Vec<String> = if there {
        // What else is wrong with the project is for a build to say: the lock is none the worse for it.
        let plan = prepare(project, recipe, new, node, Goal::default());
        let steps = plan.map(|(plan, _)| plan.steps).unwrap_or_default();
        let running = steps.iter().filter(|step| step.runs());
        running.map(|step| step.target.to_string()).collect()
    } else {
        targets(recipe).iter().map(ToString::to_string).collect()
    };
    let packed = |target: &Target| -> Result<Option<u64>, Error> {
        if !there {
            return Ok(None);
        }
        let artifact = project.store()?.get(&target.to_string())?;
        Ok(artifact.map(|artifact| artifact.layer().size))
    };
    let mut sets = Vec::new();
    for (name, set) in &recipe.sets {
        let overlays = set.overlays.iter().map(|overlay| Target::Overlay(overlay.value.clone()));
        let layers = set.modules.iter().cloned().map(Target::Modules);
        let layers = layers.chain([Target::Base(set.base.clone())]).chain(overlays);
        let (mut before, mut after) = (Some(0), 0);
        for layer in layers {
            let size = packed(&layer)?;
            before = before.zip(size).map(|(sum, size)| sum + size);
            after += then(&layer, size, steps_of(recipe, &layer).is_empty(), old, new);
        }
        sets.push(SetMemory { set: name.clone(), before, after });
    }
    Ok(Change { containers: containers(old, new), images, fetch, cached, sets, rebuild })
}

/// What a layer will take, packed, when it takes `size` now: what its packages take more or less, packed as well as the
/// others are.
fn then(layer: &Target, size: Option<u64>, empty: bool, old: Option<&Lock>, new: &Lock) -> u64 {
    let packages = layer.packages();
    let now = installed(new, &packages);
    let before = old.map_or(0, |old| installed(old, &packages));
    let usual = |installed: u64| installed / USUAL.1 * USUAL.0;
    match size {
        // An overlay without steps has nothing in it but its folder.
        None if empty && packages == layer.to_string() && now == 0 => 0,
        None => usual(now),
        Some(size) if before == 0 => size + usual(now),
        Some(size) => {
            // What a layer has besides packages (or leaves out of them) is no measure for them.
            let share = |more: u64| {
                let share = u128::from(more) * u128::from(size) / u128::from(before);
                u64::try_from(share).unwrap_or(u64::MAX).min(more)
            };
            if now >= before {
                size + share(now - before)
            } else {
                size.saturating_sub(share(before - now))
            }
        }
    }
}

fn installed(lock: &Lock, target: &str) -> u64 {
    lock.steps(target).concat().concat().iter().map(|package| package.installed).sum()
}

fn images(recipe: &Recipe, old: Option<&Lock>, new: &Lock) -> Vec<ImageChange> {
    let known = old.into_iter().flat_map(|old| old.images.keys());
    let targets: BTreeSet<&String> = known.chain(new.images.keys()).collect();
    let changes = targets.into_iter().map(|target| {
        let of = |lock: Option<&Lock>| -> BTreeMap<String, LockedPackage> {
            let found = lock.map(|lock| lock.steps(target).concat().concat()).unwrap_or_default();
            found.into_iter().map(|package| (package.name.clone(), package.clone())).collect()
        };
        let (before, after) = (of(old), of(Some(new)));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = |name: &&String| {
            let [before, after] = [&before, &after].map(|all| all.get(*name).map(|p| p.sha256));
            before != after
        };
        let packages = names.into_iter().filter(changed);
        let packages = packages.map(|name| package(recipe, before.get(name), after.get(name)));
        let sum = |all: &BTreeMap<_, LockedPackage>| all.values().map(|one| one.installed).sum();
        ImageChange {
            target: target.clone(),
            packages: packages.collect(),
            count: after.len(),
            installed: (sum(&before), sum(&after)),
        }
    });
    changes.filter(|change| !change.packages.is_empty()).collect()
}

fn package(
    recipe: &Recipe,
    from: Option<&LockedPackage>,
    to: Option<&LockedPackage>,
) -> PackageChange {
    let security = |package: &LockedPackage| {
        matches!(&package.whence, Whence::Archive { archive: None, suite, .. }
            if recipe.archive.has_security() && *suite == recipe.archive.security_suite())
    };
    let takes = |package: Option<&LockedPackage>| {
        package.map_or(0, |package| i64::try_from(package.installed).unwrap_or(i64::MAX))
    };
    PackageChange {
        name: to.or(from).map(|package| package.name.clone()).unwrap_or_default(),
        from: from.map(|package| package.version.clone()),
        to: to.map(|package| package.version.clone()),
        security: to.is_some_and(security),
        size: to.map_or(0, |package| package.size),
        installed: takes(to) - takes(from),
    }
}

fn containers(old: Option<&Lock>, new: &Lock) -> Vec<(String, Option<Digest>, Option<Digest>)> {
    let of = |lock: Option<&Lock>| -> BTreeMap<String, Digest> {
        let all = lock.into_iter().flat_map(|lock| &lock.containers);
        all.map(|container| (container.image.clone(), container.manifest)).collect()
    };
    let (before, after) = (of(old), of(Some(new)));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let pairs = names
        .into_iter()
        .map(|name| (name.clone(), before.get(name).copied(), after.get(name).copied()));
    pairs.filter(|(_, before, after)| before != after).collect()
}

/// Of the files that `new` has and `old` has not: what must be fetched, and what is in the package store.
fn files(project: &Project, old: Option<&Lock>, new: &Lock) -> Result<(Files, Files), Error> {
    let known: BTreeSet<Digest> =
        old.into_iter().flat_map(|old| &old.packages).map(|package| package.sha256).collect();
    let (mut fetch, mut cached) = (Files::default(), Files::default());
    let store = project.packages()?;
    let mut seen = BTreeSet::new();
    for package in &new.packages {
        let ours = matches!(package.whence, Whence::File { .. });
        if ours || known.contains(&package.sha256) || !seen.insert(package.sha256) {
            continue;
        }
        // Nothing is fetched, so that it does not matter where from.
        let files =
            if store.contains(&sources::wanted(&[], package)) { &mut cached } else { &mut fetch };
        files.packages += 1;
        files.bytes += package.size;
    }
    Ok((fetch, cached))
}
