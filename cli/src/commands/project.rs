//! What most commands begin with: the project, its recipe, its lock.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use overboot_build::lock::{differences, is_current};
use overboot_build::{Moving, Occupied, Options, Project};
use overboot_recipe::{Lock, Recipe};
use overboot_store::{Store, generation};

use crate::Global;
use crate::printer::Printer;
use crate::told::told;

/// The node program that goes into every initrd: built with this program, from the same sources.
pub(crate) const NODE: &[u8] = include_bytes!(env!("OVERBOOT_NODE"));

/// Finds and reads the project.
pub(crate) fn open(global: &Global) -> Result<(Project, Recipe)> {
    read(global, overboot_registry::Options::default())
}

/// The same, for those who carry the recipe out: they may have to fetch container images, and tell what is hardly meant.
pub(crate) fn open_with(
    global: &Global,
    registry: overboot_registry::Options,
    printer: &Printer,
) -> Result<(Project, Recipe)> {
    let (project, recipe) = read(global, registry)?;
    for warning in &recipe.warnings {
        printer.note(format!("warning: {warning}"));
    }
    Ok((project, recipe))
}

fn read(global: &Global, registry: overboot_registry::Options) -> Result<(Project, Recipe)> {
    let folder = folder(global)?;
    let recipe = Recipe::load(&folder)?;
    let options = Options {
        cache: absolute(global.cache.clone())?,
        offline: global.offline,
        registry,
        ..Options::default()
    };
    Ok((Project::open(&folder, options)?, recipe))
}

pub(super) fn folder(global: &Global) -> Result<PathBuf> {
    match &global.project {
        Some(folder) => Ok(folder.clone()),
        None => Ok(Recipe::find(&std::env::current_dir().context("where am I?")?)?),
    }
}

/// The store in a folder, or of the project there; where none is named, of this project. For those who only look: the recipe
/// is not read.
pub(crate) fn store_in(global: &Global, named: Option<&Path>) -> Result<Store> {
    let folder = match named {
        Some(folder) => folder.to_owned(),
        None => folder(global)?,
    };
    let inside = folder.join("store");
    let own = if folder.join("oci-layout").exists() { folder } else { inside };
    if !own.exists() {
        let message = format!("there are no images in {}", own.display());
        return Err(told(message, "run `overboot build`, or name the folder of a store"));
    }
    Ok(Store::open(own)?)
}

/// The store, which a build has made.
pub(crate) fn store(project: &Project) -> Result<Store> {
    let folder = project.store_folder();
    let store = folder.exists().then(|| Store::open(&folder)).transpose()?;
    match store {
        Some(store) if !store.targets()?.is_empty() => Ok(store),
        _ => Err(told("there are no images yet", "run `overboot build`")),
    }
}

/// What the overlay that discovers machines is called.
pub(crate) const DISCOVERY: &str = "discovery";

/// The boot set of that name, or of the overlay of that name; without one discovery's, or the only one.
pub(crate) fn boot_set(store: &Store, named: Option<&str>) -> Result<String> {
    let targets = store.targets()?;
    let mut there: Vec<&str> =
        targets.iter().filter_map(|target| generation::boot_set(target)).collect();
    there.sort_unstable();
    there.dedup();
    let known = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let named = named.map(|name| name.strip_prefix("overlay/").unwrap_or(name));
    match (named, there.as_slice()) {
        (Some(name), all) if !all.contains(&name) => Err(told(
            format!("there is no boot set {name} (there are: {known})"),
            format!("run `overboot build set/{name}`"),
        )),
        (Some(name), _) => Ok(name.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, all) if all.contains(&DISCOVERY) => Ok(DISCOVERY.to_owned()),
        (None, _) => Err(told(
            format!("which boot set? There are: {known}"),
            "build them with `overboot build`, and name one",
        )),
    }
}

/// May a command change the lock?
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LockedArgs {
    /// Fail where overboot.lock is missing or is not what the recipe asks for, instead of making it so
    #[arg(long)]
    locked: bool,
}

impl LockedArgs {
    /// The lock for those who only look: the one that is there if it is what the recipe wants. Otherwise a new one, which is
    /// saved; for that the project must be free.
    pub(crate) fn to_read(
        self,
        project: &Project,
        recipe: &Recipe,
        printer: &Printer,
    ) -> Result<Lock> {
        match current(project, recipe)? {
            Ok(lock) => Ok(lock),
            Err(old) => self.extended(&project.occupy()?, recipe, old.as_ref(), printer),
        }
    }

    /// The lock for those who write: the one that is there if it is what the recipe wants, otherwise a new one, which is saved.
    pub(crate) fn to_build(
        self,
        occupied: &Occupied,
        recipe: &Recipe,
        printer: &Printer,
    ) -> Result<Lock> {
        match current(occupied.project(), recipe)? {
            Ok(lock) => Ok(lock),
            Err(old) => self.extended(occupied, recipe, old.as_ref(), printer),
        }
    }

    fn extended(
        self,
        occupied: &Occupied,
        recipe: &Recipe,
        old: Option<&Lock>,
        printer: &Printer,
    ) -> Result<Lock> {
        if self.locked {
            return Err(match old {
                None => told(
                    "there is no overboot.lock",
                    "run `overboot lock`, and commit what it writes",
                ),
                Some(old) => {
                    let why = differences(recipe, old);
                    let why = if why.is_empty() {
                        "a package file is another one".to_owned()
                    } else {
                        why.join("; ")
                    };
                    told(
                        format!("overboot.lock is not what the recipe asks for: {why}"),
                        "run `overboot lock` (with `--plan`, it only shows what would change), and commit what it writes",
                    )
                }
            });
        }
        match old {
            Some(_) => printer.note("The recipe asks for other packages or container images than overboot.lock has; locking what is new."),
            None => printer.note("There is no overboot.lock yet; locking."),
        }
        Ok(overboot_build::lock(occupied, recipe, Moving::Only(&[]), &|event| {
            printer.build(event)
        })?)
    }
}

/// The lock that is there if it is what the recipe wants; otherwise whatever there is.
pub(crate) fn current(
    project: &Project,
    recipe: &Recipe,
) -> Result<std::result::Result<Lock, Option<Lock>>> {
    match Lock::load(project.folder())? {
        Some(lock) if is_current(project, recipe, &lock)? => Ok(Ok(lock)),
        old => Ok(Err(old)),
    }
}

fn absolute(path: Option<PathBuf>) -> Result<Option<PathBuf>> {
    path.map(|path| std::path::absolute(&path).with_context(|| path.display().to_string()))
        .transpose()
}
