//! What a recipe asks of a lock, and whether a lock is the answer.

use std::collections::BTreeMap;

use overboot_digest::Digest;
use overboot_recipe::{Lock, Placed, Provisioner, Recipe, Whence};

use super::LOADERS;
use crate::error::Error;
use crate::plan::Target;
use crate::project::Project;
use crate::transactions::{Packages, Transaction, transactions};
use crate::{ansible, containers, debs, inputs};

/// The digest of everything in the recipe, and in the package files that it names, that says which packages are wanted; see
/// [`Lock::wanted`].
///
/// # Errors
/// A package file cannot be read.
pub(super) fn wanted(project: &Project, recipe: &Recipe) -> Result<Digest, Error> {
    let images = requests(recipe);
    let debs = debs::state(project, recipe)?;
    let text = serde_json::to_vec(&(&recipe.archive, &recipe.kernel.package, images, debs));
    Ok(Digest::of(text.unwrap_or_default()))
}

/// What the recipe asks for in one image: the variant it starts from, its base, packages and container images.
type Asked<'r> = (Option<overboot_recipe::Variant>, Option<&'r Placed<String>>, Steps);
type Steps = (Vec<Packages>, Vec<(usize, String)>);

fn requests(recipe: &Recipe) -> BTreeMap<String, Asked<'_>> {
    let bases = recipe.bases.iter().map(|(name, base)| {
        let asked = asked(&base.provision, base.variant.has_packages());
        (format!("base/{name}"), (Some(base.variant), None, asked))
    });
    let overlays = recipe.overlays.iter().map(|(name, overlay)| {
        let asked = asked(&overlay.provision, false);
        (format!("overlay/{name}"), (None, Some(&overlay.base), asked))
    });
    let python = ansible::packages(recipe).map(|names| {
        let wanted = Packages { names, ..Packages::default() };
        (ansible::PYTHON.to_owned(), (None, None, (vec![wanted], Vec::new())))
    });
    let firmware = recipe.firmware.iter().map(|(name, firmware)| {
        let wanted = Packages { names: firmware.packages.clone(), ..Packages::default() };
        (format!("firmware/{name}"), (None, None, (vec![wanted], Vec::new())))
    });
    bases.chain(overlays).chain(python).chain(firmware).collect()
}

/// What the recipe asks for in each image, and the kernel's package.
pub(super) fn wanted_of(recipe: &Recipe) -> BTreeMap<String, Digest> {
    let digest = |text: serde_json::Result<Vec<u8>>| Digest::of(text.unwrap_or_default());
    let images = requests(recipe).into_iter();
    let images = images.map(|(target, asked)| (target, digest(serde_json::to_vec(&asked))));
    let single = [("kernel", recipe.kernel.package.as_str()), (LOADERS, LOADERS)];
    let single = single.map(|(target, name)| (target.to_owned(), Digest::of(name)));
    images.chain(single).collect()
}

pub(super) fn sources_of(recipe: &Recipe) -> Digest {
    Digest::of(serde_json::to_vec(&recipe.archive).unwrap_or_default())
}

/// The packages that an image's steps ask for, and its container images, each with the number of package transactions before it.
fn asked(provision: &[Provisioner], starts: bool) -> Steps {
    let (found, wanted) = transactions(provision, starts);
    let (mut before, mut containers) = (0, Vec::new());
    for transaction in found {
        match transaction {
            Transaction::Packages(at) => before = at + 1,
            Transaction::Container(image) => containers.push((before, image.to_string())),
            _ => {}
        }
    }
    (wanted, containers)
}

/// Is `lock` what the recipe means? It is not when it was made of another recipe, or without an image that can be made now.
///
/// # Errors
/// A package file cannot be read.
pub fn is_current(project: &Project, recipe: &Recipe, lock: &Lock) -> Result<bool, Error> {
    let whole = crate::plan::targets(recipe).iter().all(|target| {
        let image = matches!(target, Target::Base(_) | Target::Overlay(_));
        !image
            || !debs::missing(project, recipe, target).is_empty()
            || lock.images.contains_key(&target.to_string())
    });
    if !whole || lock.wanted != wanted(project, recipe)? {
        return Ok(false);
    }
    // A file that is there is the one that was locked; one that is not there may be at a colleague's.
    for package in &lock.packages {
        if let Whence::File { file } = &package.whence
            && project.folder().join(file).exists()
            && inputs::source(&project.folder().join(file))? != package.sha256
        {
            return Ok(false);
        }
    }
    containers::are_current(project, recipe, lock)
}

/// In what the recipe asks for something else than what a lock, which is not [current](is_current), has; in words.
#[must_use]
pub fn differences(recipe: &Recipe, lock: &Lock) -> Vec<String> {
    let mut found = Vec::new();
    if lock.sources.is_some_and(|sources| sources != sources_of(recipe)) {
        found.push("[archive] of the recipe is another one".to_owned());
    }
    for (target, wanted) in wanted_of(recipe) {
        match lock.images.get(&target).map(|image| image.wanted) {
            None => found.push(format!("{target} is not in it")),
            Some(Some(was)) if was != wanted => {
                found.push(format!("{target} asks for something else"));
            }
            Some(_) => {}
        }
    }
    for container in recipe.containers() {
        if lock.manifest(container).is_none() {
            found.push(format!("it has no container image {}", container.value));
        }
    }
    found
}
