//! Package files that no archive lists: in the project, in a slot, or at an address of their own.

use std::path::{Path, PathBuf};

use overboot_archive::{Fetcher, PackageStore, Source, Universe};
use overboot_debian::deb;
use overboot_digest::Digest;
use overboot_recipe::{Deb, Place, Placed, Provisioner, Recipe, Slot, Whence};

use crate::error::Error;
use crate::plan::Target;
use crate::project::Project;
use crate::sources;
use crate::transactions::transactions;

/// The largest package file that is taken: vendors' tools are tens of megabytes.
const LARGEST: u64 = 2 << 30;

/// The suite that such packages stand in, as far as choosing is concerned.
pub(crate) const SUITE: &str = "local";

/// A package file that has been read, and is in the package store.
#[derive(Debug)]
pub(crate) struct Local {
    /// How the request names it: this version, and no other.
    pub(crate) request: String,
    /// What an archive's list would say of it.
    pub(crate) stanza: String,
    pub(crate) sha256: Digest,
    pub(crate) whence: Whence,
}

impl Local {
    /// The package's name.
    pub(crate) fn name(&self) -> &str {
        self.request.split('=').next().unwrap_or_default()
    }
}

/// The package files of the recipe, which `universe` then has too: chosen only where they are asked for by name and version.
pub(crate) fn all(
    project: &Project,
    recipe: &Recipe,
    fetcher: &Fetcher,
    universe: &mut Universe,
) -> Result<Vec<(Deb, Local)>, Error> {
    let store = project.packages()?;
    let provisions = recipe.bases.values().map(|base| &base.provision);
    let provisions = provisions.chain(recipe.overlays.values().map(|overlay| &overlay.provision));
    let mut found: Vec<(Deb, Local)> = Vec::new();
    for packages in provisions.flat_map(|provision| transactions(provision, false).1) {
        for deb in packages.debs {
            let skipped = matches!(&*deb, Deb::Slot(name)
                if recipe.slots.get(name).is_none_or(|slot| !is_there(project, slot)));
            if skipped || found.iter().any(|(known, _)| *known == *deb) {
                continue;
            }
            let placed = |error: Error| error.placed(recipe, deb.place);
            let local = read(project, recipe, &store, fetcher, &deb).map_err(placed)?;
            // What an archive's index may not say of a package, a package may not say of itself. The fault says which it is;
            // where in the index is of no use here.
            let added = universe.add_file(&local.stanza, Source::new("", SUITE, ""));
            added.map_err(|error| placed(no_package(&local.whence, &error.source)))?;
            if !universe.versions(local.name()).any(|package| package.sha256 == local.sha256) {
                return Err(placed(Error::told(
                    format!("{} is a package for another architecture", local.request),
                    format!("give one for {}", recipe.archive.architecture),
                )));
            }
            found.push((deb.value, local));
        }
    }
    Ok(found)
}

/// What is to be said of a file that is none, with all causes.
fn no_package(whence: &Whence, why: &dyn std::error::Error) -> Error {
    let shown = shown(whence);
    let why: Vec<String> =
        std::iter::successors(Some(why), |why| why.source()).map(ToString::to_string).collect();
    Error::told(
        format!("{shown} is no package: {}", why.join(": ")),
        "give a Debian package file (.deb)",
    )
}

/// The file's name or address.
fn shown(whence: &Whence) -> String {
    match whence {
        Whence::Url { url } => url.clone(),
        Whence::File { file } => file.display().to_string(),
        Whence::Archive { path, .. } => path.clone(),
    }
}

/// Where a package file is, in the words of the lock.
pub(crate) fn whence(recipe: &Recipe, deb: &Deb) -> Option<Whence> {
    match deb {
        Deb::File(path) => Some(Whence::File { file: path.clone() }),
        Deb::Slot(name) => {
            recipe.slots.get(name).map(|slot| Whence::File { file: slot.file.value.clone() })
        }
        Deb::Url { url, .. } => Some(Whence::Url { url: url.clone() }),
    }
}

/// Reads a package file and puts it into `store`.
fn read(
    project: &Project,
    recipe: &Recipe,
    store: &PackageStore,
    fetcher: &Fetcher,
    deb: &Deb,
) -> Result<Local, Error> {
    let (bytes, whence) = match deb {
        Deb::File(path) => (from_project(project, path)?, Whence::File { file: path.clone() }),
        Deb::Slot(name) => {
            let Some(slot) = recipe.slots.get(name) else {
                return Err(Error::told(
                    format!("there is no slot {name}"),
                    "name it in the recipe",
                ));
            };
            let bytes = from_project(project, &slot.file)
                .map_err(|error| error.placed(recipe, slot.file.place))?;
            check_slot(recipe, slot, &Digest::of(&bytes))?;
            (bytes, Whence::File { file: slot.file.value.clone() })
        }
        Deb::Url { url, sha256 } => {
            let there = fs_err::read(store.path(sha256)).ok();
            let bytes = match there.filter(|bytes| Digest::of(bytes) == *sha256) {
                Some(bytes) => bytes,
                None if fetcher.offline() => {
                    let (what, path) = (url.clone(), store.path(sha256));
                    return Err(overboot_archive::Error::Offline { what, path }.into());
                }
                None => {
                    fetcher.get(url, LARGEST).map_err(|source| sources::of_file(recipe, source))?
                }
            };
            let found = Digest::of(&bytes);
            if found != *sha256 {
                return Err(Error::told(
                    format!("{url} has the SHA-256 {}, and not the one in the recipe", found.hex()),
                    "was it changed? Write the new digest only if you trust who changed it",
                ));
            }
            (bytes, Whence::Url { url: url.clone() })
        }
    };
    let name = shown(&whence);
    let name = Path::new(&name).file_name().unwrap_or_default().to_string_lossy();
    let (request, stanza) = describe(&name, &bytes)
        .map_err(|why| no_package(&whence, &*Box::<dyn std::error::Error>::from(why)))?;
    let sha256 = store.insert(&bytes)?;
    Ok(Local { request, stanza, sha256, whence })
}

/// The request of the package in the file at `path`, and its stanza.
pub(crate) fn describe(path: &str, bytes: &[u8]) -> Result<(String, String), String> {
    let read = || -> Result<String, deb::Error> {
        Ok(deb::Deb::new(bytes)?.control()?.control()?.trim_end().to_owned())
    };
    let control = read().map_err(|error| error.to_string())?;
    let stanza = overboot_debian::deb822::single(&control).map_err(|error| error.to_string())?;
    let field =
        |name: &str| stanza.get(name).ok_or_else(|| format!("its control file has no {name}"));
    let request = format!("{}={}", field("Package")?, field("Version")?);
    let list = format!(
        "{control}\nFilename: {path}\nSize: {}\nSHA256: {}\n",
        bytes.len(),
        Digest::of(bytes).hex()
    );
    Ok((request, list))
}

fn from_project(project: &Project, path: &Path) -> Result<Vec<u8>, Error> {
    let path = project.folder().join(path);
    let size = fs_err::metadata(&path).map_err(Error::io("read", &path))?.len();
    if size > LARGEST {
        return Err(Error::told(
            format!("{} is larger than any package that is taken, 2 GiB", path.display()),
            "is it a package?",
        ));
    }
    fs_err::read(&path).map_err(Error::io("read", &path))
}

/// The digest of what is in a slot.
pub(crate) fn slot(project: &Project, recipe: &Recipe, slot: &Slot) -> Result<Digest, Error> {
    let found = crate::inputs::source(&project.folder().join(&*slot.file))
        .map_err(|error| error.placed(recipe, slot.file.place))?;
    check_slot(recipe, slot, &found)?;
    Ok(found)
}

fn check_slot(recipe: &Recipe, slot: &Slot, found: &Digest) -> Result<(), Error> {
    match slot.sha256 {
        Some(wanted) if *wanted != *found => Err(Error::told(
            format!(
                "{}{} is not the file that the recipe means: its SHA-256 is {}",
                recipe.at(wanted.place),
                slot.file.display(),
                found.hex()
            ),
            format!("get the one with {}: {}", wanted.hex(), slot.from),
        )),
        _ => Ok(()),
    }
}

/// Puts a locked package file of the project into the store, if it still is the one that was locked.
pub(crate) fn import(
    project: &Project,
    store: &PackageStore,
    file: &Path,
    sha256: &Digest,
) -> Result<(), Error> {
    if store.path(sha256).is_file() {
        return Ok(());
    }
    let bytes = from_project(project, file)?;
    if Digest::of(&bytes) != *sha256 {
        return Err(Error::told(
            format!("{} is not the one that overboot.lock names", file.display()),
            "run `overboot lock --update`",
        ));
    }
    store.insert(&bytes)?;
    Ok(())
}

/// What stands in the recipe's package files now, so that a lock that was made of others is seen to be old. Of slots it is what
/// the recipe says of them: a lock is the same for those who have the vendor's file and those who have not.
pub(crate) fn state(
    project: &Project,
    recipe: &Recipe,
) -> Result<Vec<(PathBuf, Option<Digest>)>, Error> {
    let mut found = Vec::new();
    for deb in named(recipe) {
        let path =
            match &**deb {
                Deb::File(path) => path,
                Deb::Slot(name) => {
                    let slot = recipe.slots.get(name);
                    found.extend(slot.map(|slot| {
                        (slot.file.value.clone(), slot.sha256.map(|wanted| wanted.value))
                    }));
                    continue;
                }
                Deb::Url { .. } => continue,
            };
        let there = project.folder().join(path).exists();
        let digest = there.then(|| crate::inputs::source(&project.folder().join(path)));
        let digest = digest.transpose().map_err(|error| error.placed(recipe, deb.place))?;
        found.push((path.clone(), digest));
    }
    Ok(found)
}

/// Where the recipe names a package file by that address.
pub(crate) fn place_of(recipe: &Recipe, address: &str) -> Option<Place> {
    let is_there = |deb: &&Placed<Deb>| matches!(&***deb, Deb::Url { url, .. } if url == address);
    named(recipe).find(is_there).map(|deb| deb.place)
}

/// All package files that the recipe names.
fn named(recipe: &Recipe) -> impl Iterator<Item = &Placed<Deb>> {
    let bases = recipe.bases.values().flat_map(|base| &base.provision);
    let overlays = recipe.overlays.values().flat_map(|overlay| &overlay.provision);
    let steps = bases.chain(overlays).filter_map(|step| match step {
        Provisioner::Debs { debs, .. } => Some(debs),
        _ => None,
    });
    steps.flatten()
}

/// Is a slot's file there?
pub(crate) fn is_there(project: &Project, slot: &Slot) -> bool {
    project.folder().join(&*slot.file).exists()
}

/// The slots without which a base, or an overlay and its base, cannot be made, and whose files are not there.
pub(crate) fn missing<'r>(project: &Project, recipe: &'r Recipe, target: &Target) -> Vec<&'r Slot> {
    let overlay = match target {
        Target::Overlay(name) => recipe.overlays.get(name),
        _ => None,
    };
    let base = match target {
        Target::Base(name) => recipe.bases.get(name),
        _ => overlay.and_then(|overlay| recipe.bases.get(overlay.base.as_str())),
    };
    let below = base.into_iter().flat_map(|base| base.slots());
    let own = overlay.into_iter().flat_map(|overlay| overlay.slots());
    let slots = below.chain(own).filter_map(|name| recipe.slots.get(name));
    slots.filter(|slot| !is_there(project, slot)).collect()
}
