//! What a new lock takes over from the one that is there: packages that are not to move, as long as they can still be had.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use overboot_archive::{Error as ArchiveError, Fetcher, Source, Universe};
use overboot_digest::Digest;
use overboot_recipe::{Lock, LockedArchive, LockedContainer, LockedPackage, Recipe, Whence, near};

use crate::debs;
use crate::error::Error;
use crate::event::Event;
use crate::project::Project;
use crate::sources::{self, ArchiveSources};

/// What may move when a lock is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving<'a> {
    /// Everything: no package of the lock that is there is held.
    All,
    /// Packages and container images of these names, and what must move with them. With no name it is what the recipe makes
    /// necessary.
    Only(&'a [String]),
}

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The lock that is there, where it counts.
    old: Option<Lock>,
    /// The names that may move.
    moving: Vec<String>,
    /// Files of packages that do not move and can be had.
    there: BTreeSet<Digest>,
    /// Of those that the archives list no more, the state that did.
    earlier: BTreeMap<Digest, LockedArchive>,
}

impl Held {
    /// What is held of `old`, with the packages that no list has any more put into `universe`.
    pub(super) fn new(
        (project, recipe): (&Project, &Recipe),
        old: Option<Lock>,
        moving: Moving<'_>,
        (fetcher, archives): (&Fetcher, &[ArchiveSources<'_>]),
        universe: &mut Universe,
        progress: &(dyn Fn(Event) + Sync),
    ) -> Result<Self, Error> {
        let (Moving::Only(names), Some(old)) = (moving, old) else { return Ok(Self::default()) };
        are_known(recipe, &old, names)?;
        let mut held = Self { moving: names.to_vec(), ..Self::default() };
        for package in &old.packages {
            if !matches!(package.whence, Whence::Archive { .. }) || held.moves(&package.name) {
                continue;
            }
            let same = |known: &overboot_archive::Package| known.sha256 == package.sha256;
            if universe.versions(&package.name).any(same) {
                held.there.insert(package.sha256);
                continue;
            }
            match read(project, fetcher, archives, package)? {
                Some(bytes) => {
                    put(universe, package, &bytes)?;
                    held.there.insert(package.sha256);
                    let state = old.state(package).cloned();
                    held.earlier.extend(state.map(|state| (package.sha256, state)));
                }
                None => progress(Event::Warned {
                    target: Lock::FILE.to_owned(),
                    line: format!(
                        "{} {} can be had no more, and may move",
                        package.name, package.version
                    ),
                }),
            }
        }
        held.old = Some(old);
        Ok(held)
    }

    fn moves(&self, name: &str) -> bool {
        self.moving.iter().any(|moving| moving == name)
    }

    /// For one image, the files to prefer: its own, and for what is new in it those of other images.
    pub(super) fn of(&self, target: &str) -> BTreeMap<String, Digest> {
        let Some(old) = &self.old else { return BTreeMap::new() };
        let own = old.steps(target).concat().concat();
        let all = old.packages.iter().chain(own);
        let held = all.filter(|package| self.there.contains(&package.sha256));
        held.map(|package| (package.name.clone(), package.sha256)).collect()
    }

    /// All packages of an image that is to be what it was; `None` where the recipe asks for something else by now, one of them
    /// or `name`, by which they were found, may move, or one cannot be had.
    pub(super) fn whole(
        &self,
        target: &str,
        name: &str,
        wanted: Digest,
    ) -> Option<Vec<Vec<Vec<&LockedPackage>>>> {
        let old = self.old.as_ref()?;
        let image = old.images.get(target).filter(|image| image.wanted == Some(wanted))?;
        let steps = old.steps(target);
        let found = steps.concat().concat();
        let there = found.iter().all(|package| self.there.contains(&package.sha256));
        (there && found.len() == image.keys().count() && !self.moves(name)).then_some(steps)
    }

    /// The container images that are not asked for anew.
    pub(super) fn containers(&self) -> Vec<LockedContainer> {
        let all = self.old.iter().flat_map(|old| &old.containers);
        all.filter(|container| !self.moves(&container.image)).cloned().collect()
    }

    /// The state of an archive that had a file which its lists have no more.
    pub(super) fn earlier(&self, sha256: &Digest) -> Option<&LockedArchive> {
        self.earlier.get(sha256)
    }
}

/// Refuses names that neither lock nor recipe has: nothing would move, without a word.
fn are_known(recipe: &Recipe, old: &Lock, names: &[String]) -> Result<(), Error> {
    let packages = old.packages.iter().map(|package| package.name.as_str());
    let containers = old.containers.iter().map(|container| container.image.as_str());
    let known: BTreeSet<&str> =
        packages.chain(containers).chain([recipe.kernel.package.as_str()]).collect();
    let Some(unknown) = names.iter().find(|name| !known.contains(name.as_str())) else {
        return Ok(());
    };
    let near = near(unknown, known.iter().copied()).join(", ");
    let help = if near.is_empty() {
        "name packages or container images that overboot.lock has; what is new in the recipe is locked by `overboot lock`".to_owned()
    } else {
        format!("did you mean {near}?")
    };
    Err(Error::told(format!("overboot.lock has no {unknown} that could move"), help))
}

/// A package file from the package store, or fetched into it: a build would need it just as well. `None` where nobody has it.
fn read(
    project: &Project,
    fetcher: &Fetcher,
    archives: &[ArchiveSources<'_>],
    package: &LockedPackage,
) -> Result<Option<Vec<u8>>, Error> {
    // The bytes themselves are read, so it is these that must be right.
    let store = project.packages()?.as_fetched();
    let wanted = sources::wanted(archives, package);
    match store.fetch_all(fetcher, &[wanted], NonZeroUsize::MIN, &|_| {}) {
        Ok(_) => {
            let path = store.path(&package.sha256);
            Ok(Some(fs_err::read(&path).map_err(Error::io("read", &path))?))
        }
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Does nobody have it, as far as we may ask?
fn is_gone(error: &ArchiveError) -> bool {
    match error {
        ArchiveError::Package { source, .. } => is_gone(source),
        // Another file by now, where an archive gives one name to several.
        ArchiveError::NotFound { .. }
        | ArchiveError::WrongSize { .. }
        | ArchiveError::WrongDigest { .. }
        | ArchiveError::Offline { .. } => true,
        _ => false,
    }
}

fn put(universe: &mut Universe, package: &LockedPackage, bytes: &[u8]) -> Result<(), Error> {
    let Whence::Archive { archive, suite, path, .. } = &package.whence else { return Ok(()) };
    let source = Source::new("", suite, "");
    let source = match archive {
        Some(name) => source.of_archive(name),
        None => source,
    };
    let wrong = |why: String| {
        Error::told(
            format!(
                "overboot.lock names {} {} as a file that is none: {why}",
                package.name, package.version
            ),
            "make the lock anew with `overboot lock --update`",
        )
    };
    let (request, stanza) = debs::describe(path, bytes).map_err(wrong)?;
    if request != format!("{}={}", package.name, package.version) {
        return Err(wrong(format!("the file is {request}")));
    }
    universe.add_file(&stanza, source).map_err(|error| wrong(error.source.to_string()))?;
    Ok(())
}
