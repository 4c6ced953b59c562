//! The root trees that images are packed from, each kept under the key of what it was made from.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use overboot_digest::Digest;
use overboot_recipe::{Base, Lock, LockedPackage, LockedStage, Provisioner, Recipe};
use overboot_rootfs::{Filters, Root, duplicate, identity, layered, no_newer, upper};

use super::provision;
use super::whole::{COUNT, COUNTED, beside, is_whole};
use crate::ansible::PYTHON;
use crate::apt::{apt_preferences, apt_sources, image_keys};
use crate::error::Error;
use crate::execute::Context;
use crate::inputs::Inputs;
use crate::lock::LOADERS;
use crate::plan::{Given, MAKER, Target, steps_of, tree_key};
use crate::project::Project;

/// What the file beside a tree is called that says what is in the image that was packed from it.
const PACKED: &str = ".packed";

/// The files of an image's packages, as they are in them: for packages of which only files are wanted.
pub(crate) fn files(context: &Context<'_>, image: &str) -> Result<PathBuf, Error> {
    kept(context, &files_name(context, image), |folder| extract(context, image, folder))
}

pub(crate) fn extract(context: &Context<'_>, image: &str, folder: &Path) -> Result<(), Error> {
    for package in context.lock.steps(image).concat().concat() {
        overboot_rootfs::extract(&context.package_file(package)?, folder)?;
    }
    Ok(())
}

/// Is the tree of that name there, and whole?
pub(crate) fn is_kept(context: &Context<'_>, name: &str) -> bool {
    is_whole(&context.project.trees().join(name))
}

/// A base's tree.
pub(crate) fn base(context: &Context<'_>, name: &str) -> Result<PathBuf, Error> {
    let target = Target::Base(name.to_owned());
    let Some(base) = context.recipe.bases.get(name) else { return Err(gone(&target)) };
    let tree = base_name(context.recipe, context.lock, context.given, name);
    kept(context, &tree, |folder| {
        let root = Root::open(folder)?;
        let filters = filters_of(base);
        if base.variant.has_packages() {
            let stages = context.lock.stages_of(&target.to_string());
            through(context, &target, &root, stages, &filters)?;
            apt(context, &root)?;
        } else {
            keep_to(&root, "overboot", &filters)?;
        }
        provision::all(context, &target, &root, &base.provision, &filters)?;
        identity::remove(&root)?;
        // An overlay that is made on it later has folders of it, with their times.
        Ok(no_newer(&root, context.epoch(&target))?)
    })
}

/// Goes through these stages of a base. One that was built before is changed again and again: the tree is then kept as it is after each
/// of them, and the rest is done on a copy.
fn through(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    stages: &[LockedStage],
    filters: &Filters,
) -> Result<(), Error> {
    let Some((stage, before)) = stages.split_last() else {
        return keep_to(root, "overboot", filters);
    };
    let carry_out = |root: &Root| {
        through(context, target, root, before, filters)?;
        provision::stage(context, target, root, (before.last().copied(), *stage), filters)?;
        // Of a kept one the base's own epoch is later than when it was made.
        Ok(no_newer(root, stage.epoch)?)
    };
    let name = stage_name(context.lock, target, stages, filters);
    if !context.given.have.contains_key(target) && !is_kept(context, &name) {
        return carry_out(root);
    }
    let kept = kept(context, &name, |folder| carry_out(&Root::open(folder)?))?;
    Ok(duplicate(&Root::open(kept)?, root)?)
}

fn filters_of(base: &Base) -> Filters {
    Filters::default().and(&base.path_exclude, &base.path_include)
}

/// Tells apt on the node where packages come from.
fn apt(context: &Context<'_>, root: &Root) -> Result<(), Error> {
    for (keyring, to) in image_keys(context.recipe) {
        let path = context.project.folder().join(keyring);
        let keys = fs_err::read(&path).map_err(Error::io("read", &path))?;
        root.write(to, 0o644, &keys)?;
        context.unchanged(keyring)?;
    }
    let preferences = apt_preferences(context.recipe, context.lock);
    if !preferences.is_empty() {
        // apt reads only files whose names have no dot, or end with `.pref` (apt_preferences(5)).
        root.write("etc/apt/preferences.d/overboot.pref", 0o644, preferences.as_bytes())?;
    }
    let sources = apt_sources(context.recipe);
    Ok(root.write("etc/apt/sources.list.d/overboot.sources", 0o644, sources.as_bytes())?)
}

/// Has apt on the node keep to the rule that the build kept to.
fn keep_to(root: &Root, name: &str, filters: &Filters) -> Result<(), Error> {
    if !filters.is_empty() {
        let path = format!("etc/dpkg/dpkg.cfg.d/{name}");
        root.write(path, 0o644, filters.to_dpkg_cfg().as_bytes())?;
    }
    Ok(())
}

/// The upper tree of an overlay, with what changed and no more, in a folder of its own that goes when the build ends.
pub(crate) fn upper(context: &Context<'_>, name: &str) -> Result<PathBuf, Error> {
    let target = Target::Overlay(name.to_owned());
    let Some(overlay) = context.recipe.overlays.get(name) else { return Err(gone(&target)) };
    let lower = base(context, &overlay.base)?;
    let Some(below) = context.recipe.bases.get(overlay.base.as_str()) else {
        return Err(gone(&target));
    };
    // The base's first: of the patterns that match a path, the last decides.
    let own = Filters::default().and(&overlay.path_exclude, &overlay.path_include);
    let filters = Filters::default()
        .and(&below.path_exclude, &below.path_include)
        .and(&overlay.path_exclude, &overlay.path_include);
    let scratch = context.project.scratch().join(format!("overlay-{name}"));
    let upper = scratch.join("upper");
    let carry_out = |upper: &Path, part: &str, steps: &[Provisioner], last: bool| {
        let [work, merged] = ["work", "merged"].map(|folder| scratch.join(part).join(folder));
        layered::on_top(&lower, upper, &work, &merged, |root| -> Result<(), Error> {
            // dpkg reads these files in the order of their names (dpkg(1)), the base's before it; a name has no dot.
            let file = name.replace('_', "__").replace('.', "_d");
            keep_to(root, &format!("overboot-{file}"), &own)?;
            provision::all(context, &target, root, steps, &filters)?;
            if last { Ok(identity::remove(root)?) } else { Ok(()) }
        })
    };
    let mut steps = &overlay.provision[..];
    // Installing packages takes by far the longest and changes least often: the tree is kept as it is then, and the rest is done on
    // a copy.
    if let Some((tree, first, rest)) = installed(context.recipe, context.lock, context.given, name)
    {
        let kept = kept(context, &tree, |folder| carry_out(folder, "packages", first, false))?;
        duplicate(&Root::open(kept)?, &Root::create(&upper)?)?;
        steps = rest;
    }
    carry_out(&upper, "all", steps, true)?;
    upper::distill(&Root::open(&lower)?, &Root::open(&upper)?, name)?;
    Ok(upper)
}

/// The tree of that name: the one that is there, or a new one, which gets its name only when it is whole.
pub(crate) fn kept(
    context: &Context<'_>,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let turn = context.turn_for(name);
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    let path = context.project.trees().join(name);
    if is_whole(&path) {
        context.settling.resume(&path);
        return Ok(path);
    }
    overboot_rootfs::remove_tree(&path)?;
    overboot_rootfs::remove_tree(&beside(&path, PACKED))?;
    let aside = context.project.scratch().join(name);
    Root::create(&aside)?;
    make(&aside)?;
    context.settling.name(&aside, &path)?;
    Ok(path)
}

/// Notes what is in the image that was packed from a tree.
pub(crate) fn note_packed(tree: &Path, contents: Option<Digest>) -> Result<(), Error> {
    let note = beside(tree, PACKED);
    let contents = contents.map(|contents| contents.to_string()).unwrap_or_default();
    fs_err::write(&note, contents).map_err(Error::io("write", &note))
}

/// Is the tree there that the base with these contents was packed from? Where the store has no such base, any one will do.
pub(crate) fn is_packed(
    project: &Project,
    recipe: &Recipe,
    lock: &Lock,
    given: &Given,
    name: &str,
    contents: Option<Digest>,
) -> bool {
    let tree = project.trees().join(base_name(recipe, lock, given, name));
    let said = fs_err::read_to_string(beside(&tree, PACKED)).unwrap_or_default();
    contents.is_none_or(|contents| said == contents.to_string()) && is_whole(&tree)
}

/// Is the tree of a base there?
pub(crate) fn has_base(context: &Context<'_>, name: &str) -> bool {
    is_kept(context, &base_name(context.recipe, context.lock, context.given, name))
}

/// Removes the trees that this recipe and lock do not need.
pub(crate) fn sweep(context: &Context<'_>) -> Result<(), Error> {
    let folder = context.project.trees();
    let images = ["kernel", LOADERS, PYTHON];
    let mut needed = images.map(|image| files_name(context, image)).to_vec();
    let firmware = context.recipe.firmware.keys().cloned().map(Target::Firmware);
    needed.extend(firmware.map(|target| files_name(context, &target.packages())));
    let bases = context.recipe.bases.keys();
    needed.extend(bases.map(|name| base_name(context.recipe, context.lock, context.given, name)));
    for (name, base) in &context.recipe.bases {
        let target = Target::Base(name.clone());
        let stages = context.lock.stages_of(&target.to_string());
        let begun = (1..=stages.len()).map(|count| &stages[..count]);
        let filters = filters_of(base);
        needed.extend(begun.map(|stages| stage_name(context.lock, &target, stages, &filters)));
    }
    let overlays = context.recipe.overlays.keys();
    let begun = |name: &String| installed(context.recipe, context.lock, context.given, name);
    needed.extend(overlays.filter_map(begun).map(|(tree, ..)| tree));
    let ends = [COUNT, COUNTED, PACKED];
    let beside = needed.iter().flat_map(|name| ends.map(|end| format!("{name}{end}")));
    let beside: Vec<String> = beside.collect();
    needed.extend(beside);
    let entries = fs_err::read_dir(&folder).map_err(Error::io("read", &folder))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("read", &folder))?;
        if !needed.iter().any(|name| entry.file_name() == **name) {
            discard(context.project, &entry.path())?;
        }
    }
    Ok(())
}

/// Removes a tree, or what is kept beside one, of a project that is occupied.
pub(crate) fn discard(project: &Project, tree: &Path) -> Result<(), Error> {
    // Away from its name first: killed half-way, what is left of it would be taken for the whole.
    let aside = project.scratch().join(tree.file_name().unwrap_or_default());
    fs_err::rename(tree, &aside).map_err(Error::io("remove the tree", &aside))?;
    Ok(overboot_rootfs::remove_tree(&aside)?)
}

pub(crate) fn files_name(context: &Context<'_>, image: &str) -> String {
    let packages = context.lock.steps(image).concat().concat();
    let packages = packages.iter().map(|package| package.sha256.hex());
    // How they are unpacked, and made a Python, is in them too.
    let key = Digest::of([MAKER.to_owned()].into_iter().chain(packages).collect::<String>());
    format!("{}-{}", image.replace('/', "-"), key.short())
}

/// The name of the tree of an overlay whose packages are installed, the steps that lead to it, and those after; nothing where there
/// are none of either kind, or where the same steps may lead to another tree.
fn installed<'r>(
    recipe: &'r Recipe,
    lock: &Lock,
    given: &Given,
    name: &str,
) -> Option<(String, &'r [Provisioner], &'r [Provisioner])> {
    let overlay = recipe.overlays.get(name)?;
    let base = recipe.bases.get(overlay.base.as_str())?;
    let last = overlay.provision.iter().rposition(Provisioner::installs)?;
    let (first, rest) = overlay.provision.split_at(last + 1);
    if rest.is_empty() || !first.iter().chain(&base.provision).all(Provisioner::repeats) {
        return None;
    }
    let target = Target::Overlay(name.to_owned());
    let key = tree_key(recipe, lock, given, &target, first);
    Some((format!("overlay-{name}-{}", key.short()), first, rest))
}

/// The name of the tree of a base with the packages of these stages.
fn stage_name(lock: &Lock, target: &Target, stages: &[LockedStage], filters: &Filters) -> String {
    let end = stages.last().map_or(0, |stage| stage.batches);
    let batches = lock.first_step(&target.to_string(), ..end);
    let hex = |batch: Vec<&LockedPackage>| batch.iter().map(|p| p.sha256.hex()).collect();
    let batches: Vec<Vec<String>> = batches.into_iter().map(hex).collect();
    let mut inputs = Inputs::default();
    inputs.set("maker", MAKER);
    inputs.set_digest("stages", &stages);
    inputs.set("path filters", filters.to_dpkg_cfg());
    inputs.set_digest("packages", &batches);
    format!("stage-{}", inputs.key().short())
}

fn base_name(recipe: &Recipe, lock: &Lock, given: &Given, name: &str) -> String {
    let target = Target::Base(name.to_owned());
    let key = tree_key(recipe, lock, given, &target, steps_of(recipe, &target));
    format!("base-{name}-{}", key.short())
}

/// What is asked of the recipe and is not in it.
pub(crate) fn gone(target: &Target) -> Error {
    Error::told(format!("the recipe has no {target}"), "run `overboot plan` to see what it has")
}
