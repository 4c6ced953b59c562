//! Which packages, to the byte, a recipe means.

mod epochs;
mod held;
mod stages;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use overboot_archive::resolve::{Related, batches, find, near};
use overboot_archive::universe::RelationField;
use overboot_archive::{
    Fetcher, Index, Installed, Package, Policy, Request, ResolveError, Source, Universe, Variant,
    resolve,
};
use overboot_digest::Digest;
use overboot_oci::Reference;
use overboot_recipe::{
    Base, Deb, Lock, LockedArchive, LockedContainer, LockedImage, LockedPackage, LockedStage,
    PinnedVersions, Place, Placed, Provisioner, Recipe, Whence,
};

use crate::debs::{self, Local};
use crate::error::Error;
use crate::event::Event;
use crate::plan::Target;
use crate::project::{Occupied, Project};
use crate::said::Said;
use crate::sources::{self, ArchiveSources};
use crate::transactions::{Transaction, transactions};
use crate::{ansible, containers};
use held::Held;
pub use held::Moving;
use stages::{Stages, in_stages};
pub use wanted::{differences, is_current};
use wanted::{sources_of, wanted, wanted_of};

/// The package that holds the network boot loaders.
pub(crate) const LOADERS: &str = "ipxe";

/// Asks the archive which packages the recipe means, and writes that down as the project's lock. Whoever builds by it has
/// occupied the project before: two at once would each build by another lock than the one that stays.
///
/// # Errors
/// The lock cannot be written; the archive cannot be reached or trusted, or the packages cannot be had.
pub fn lock(
    occupied: &Occupied,
    recipe: &Recipe,
    moving: Moving<'_>,
    progress: &(dyn Fn(Event) + Sync),
) -> Result<Lock, Error> {
    let project = occupied.project();
    let lock = made(project, recipe, moving, progress)?;
    lock.save(project.folder())?;
    Ok(lock)
}

/// The lock that [`lock`] would write. Nothing is written but the cache of lists and packages.
///
/// # Errors
/// The archive cannot be reached or trusted, or the packages cannot be had.
pub fn made(
    project: &Project,
    recipe: &Recipe,
    moving: Moving<'_>,
    progress: &(dyn Fn(Event) + Sync),
) -> Result<Lock, Error> {
    let old = match moving {
        Moving::All => Lock::load(project.folder()).ok().flatten(),
        Moving::Only(_) => Lock::load(project.folder())?,
    };
    let archives = sources::archives(recipe)?;
    let fetcher = project.fetcher(recipe)?;
    let index = index(project, recipe, &archives, &fetcher, progress)?;
    let pins = sources::pins(recipe, &archives);
    let mut universe = Universe::pinned(&index, &recipe.archive.architecture, pins)?;
    pins_are_of_use(recipe, &universe)?;
    let locals = debs::all(project, recipe, &fetcher, &mut universe)?;
    let wanted = wanted(project, recipe)?;
    // What was chosen from other archives, or by other pins, is no choice any more.
    let counts = |old: &Lock| match old.sources {
        Some(sources) => sources == sources_of(recipe),
        None => old.wanted == wanted,
    };
    let held = Held::new(
        (project, recipe),
        old.clone().filter(counts),
        moving,
        (&fetcher, &archives),
        &mut universe,
        progress,
    )?;
    let mut chosen = Chosen {
        project,
        recipe,
        progress,
        universe: &universe,
        locals,
        containers: containers::pin(project, recipe, &held.containers())?,
        held: &held,
        old: old.as_ref(),
        epoch: index.suites.iter().map(|suite| suite.release.date).max().unwrap_or(0),
        earlier: BTreeMap::new(),
        wanted: wanted_of(recipe),
        there: BTreeMap::new(),
        seen: BTreeMap::new(),
        images: BTreeMap::new(),
        packages: BTreeMap::new(),
    };
    for (name, base) in &recipe.bases {
        if debs::missing(project, recipe, &Target::Base(name.clone())).is_empty() {
            chosen.base(&format!("base/{name}"), base)?;
        }
    }
    for (name, overlay) in &recipe.overlays {
        if !debs::missing(project, recipe, &Target::Overlay(name.clone())).is_empty() {
            continue;
        }
        let base = format!("base/{}", overlay.base);
        let below = chosen.there.get(&base).cloned().unwrap_or_default();
        let target = format!("overlay/{name}");
        let asked = (overlay.provision.as_slice(), overlay.place);
        chosen.image(&target, Variant::Custom, asked, below)?;
    }
    if let Some(names) = ansible::packages(recipe) {
        chosen.files(ansible::PYTHON, &names)?;
    }
    for (name, firmware) in &recipe.firmware {
        chosen.files(&format!("firmware/{name}"), &firmware.packages)?;
    }
    chosen.kernel(&recipe.kernel.package)?;
    chosen.single(LOADERS, LOADERS)?;
    let locked = index.suites.iter().map(|suite| LockedArchive {
        archive: suite.source.archive.clone(),
        suite: suite.source.suite.clone(),
        release: suite.release.described(),
        date: suite.release.date,
        snapshot: suite.release.snapshot(),
        inrelease: Some(suite.inrelease),
        lists: suite.lists.iter().map(|list| list.sha256).collect(),
    });
    let mut lock = Lock {
        version: 1,
        wanted,
        sources: Some(sources_of(recipe)),
        epoch: chosen.epoch,
        archives: locked.collect(),
        earlier: chosen.earlier.into_values().collect(),
        images: chosen.images,
        containers: chosen.containers,
        packages: chosen.packages.into_values().collect(),
    };
    if let Some(old) = &old {
        epochs::keep(old, &mut lock);
    }
    // To give back the memory of some hundred thousand packages takes a tenth of the time, and nobody has to wait for it.
    drop(held);
    std::thread::spawn(move || drop((universe, index)));
    Ok(lock)
}

/// What all archives have, each signed by its own keys.
fn index(
    project: &Project,
    recipe: &Recipe,
    archives: &[ArchiveSources<'_>],
    fetcher: &Fetcher,
    progress: &(dyn Fn(Event) + Sync),
) -> Result<Index, Error> {
    let shown = |source: &Source| match &source.archive {
        Some(name) => format!("{name} {}", source.suite),
        None => source.suite.clone(),
    };
    let all = archives.iter().flat_map(|one| one.sources.iter().map(shown));
    progress(Event::Updating { suites: all.collect() });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut suites = Vec::new();
    for archive in archives {
        let keyring = sources::keyring(recipe, archive)?;
        let index = Index::update(
            fetcher,
            &archive.sources,
            &keyring,
            &recipe.archive.architecture,
            &project.indexes(),
            now,
            Policy { check_valid_until: true },
        );
        suites.extend(index.map_err(|error| sources::placed(recipe, archive, error))?.suites);
    }
    Ok(Index { suites })
}

/// A pin that wants something and finds nothing would leave the choice to chance, without a word. One that forbids what is not
/// there has what it wants.
fn pins_are_of_use(recipe: &Recipe, universe: &Universe) -> Result<(), Error> {
    for (number, name) in universe.idle_pins() {
        let pin = &recipe.archive.pins[number];
        if pin.priority < 0 {
            continue;
        }
        let name = &pin.packages[name];
        let place = recipe.at(name.place);
        let known = universe.versions(name);
        let mut known: Vec<String> = known
            .map(|package| format!("{} ({})", package.version, package.origin.source.suite))
            .collect();
        known.sort();
        let there = if known.is_empty() {
            String::new()
        } else {
            format!("; there is {}", known.join(", "))
        };
        let what = match &pin.which {
            PinnedVersions::All => "no package has this name".to_owned(),
            PinnedVersions::Suite(from) | PinnedVersions::Archive(from) => {
                format!("{from} has no such package")
            }
            PinnedVersions::Version(version) => format!("it is in no version {version}"),
        };
        return Err(Error::told(
            format!("{place}this pin for \"{name}\" is about nothing: {what}{there}"),
            "correct the name, `from` or `version`, or leave it out",
        ));
    }
    Ok(())
}

/// What has been chosen so far.
struct Chosen<'u> {
    project: &'u Project,
    recipe: &'u Recipe,
    progress: &'u (dyn Fn(Event) + Sync),
    universe: &'u Universe,
    locals: Vec<(Deb, Local)>,
    containers: Vec<LockedContainer>,
    /// What the lock that is there has, and is not to move.
    held: &'u Held,
    /// The lock that is there, whether it counts or not.
    old: Option<&'u Lock>,
    /// The youngest state of an archive.
    epoch: u64,
    /// Earlier states of archives that packages are from.
    earlier: BTreeMap<(Option<String>, String, String), LockedArchive>,
    /// What the recipe asks for in each image.
    wanted: BTreeMap<String, Digest>,
    /// What is in each base and overlay.
    there: BTreeMap<String, There<'u>>,
    /// What is in container images.
    seen: BTreeMap<String, Vec<Installed>>,
    images: BTreeMap<String, LockedImage>,
    packages: BTreeMap<String, LockedPackage>,
}

/// What is in an image, as far as later packages have to do with it.
#[derive(Debug, Clone, Default)]
struct There<'u> {
    installed: Vec<Installed>,
    /// Container images that were laid over that, and that nobody has looked into yet.
    unseen: Vec<&'u Placed<Reference>>,
}

impl<'u> Chosen<'u> {
    fn base(&mut self, target: &str, base: &'u Base) -> Result<(), Error> {
        let variant = match base.variant {
            overboot_recipe::Variant::Minbase => Variant::Minbase,
            overboot_recipe::Variant::Standard => Variant::Standard,
            overboot_recipe::Variant::None => Variant::Custom,
        };
        self.image(target, variant, (&base.provision, base.place), There::default())
    }

    /// One image, which the recipe names at that place: each transaction on top of the ones before it and of what is there.
    fn image(
        &mut self,
        target: &str,
        variant: Variant,
        (provision, place): (&'u [Provisioner], Place),
        mut there: There<'u>,
    ) -> Result<(), Error> {
        let (mut steps, mut ends) = (Vec::new(), Vec::new());
        let (found, wanted) = transactions(provision, variant != Variant::Custom);
        for transaction in found {
            let at = match transaction {
                Transaction::Packages(at) => at,
                Transaction::Container(image) => {
                    there.unseen.push(image);
                    continue;
                }
                _ => continue,
            };
            let packages = &wanted[at];
            let variant = if at == 0 { variant } else { Variant::Custom };
            self.look_into(target, &mut there, variant)?;
            let local = |deb: &Placed<Deb>| {
                let local = self.locals.iter().find(|(known, _)| *known == **deb);
                local.map(|(_, local)| {
                    (Placed { value: local.request.clone(), place: deb.place }, local.sha256)
                })
            };
            let (named, files): (Vec<_>, Vec<_>) = packages.debs.iter().filter_map(local).unzip();
            let asked = [packages.names.clone(), named].concat();
            let request = Request {
                variant,
                install: Placed::values(&asked),
                exclude: Placed::values(&packages.exclude),
                files,
                base: there.installed.clone(),
                held: self.held.of(target),
                ..Request::default()
            };
            self.warn_of_unknown(target, &packages.exclude, &there);
            let said = Said { asked: &asked, excluded: &packages.exclude, place };
            let packages = self.resolve(target, &request, &said)?;
            there.installed.extend(packages.iter().map(|package| Installed {
                name: package.name.clone(),
                version: package.version.clone(),
            }));
            let ordered = if variant == Variant::Custom {
                in_batches(&packages)
            } else {
                let stages = self.stages(target, &packages, &said)?;
                ends = stages.ends;
                stages.batches
            };
            steps.push(self.note(&ordered));
        }
        let epoch = self.epoch;
        let stages = ends.into_iter().map(|batches| LockedStage { batches, epoch }).collect();
        self.insert(target, steps, stages);
        self.there.insert(target.to_owned(), there);
        Ok(())
    }

    /// Nothing is wrong with keeping away what is not there, but the name may be.
    fn warn_of_unknown(&self, target: &str, excluded: &[Placed<String>], there: &There<'_>) {
        for name in excluded {
            let known = self.universe.versions(name).next().is_some()
                || there.installed.iter().any(|installed| installed.name == name.value);
            if known {
                continue;
            }
            let near = near(self.universe, name);
            let meant = match near.is_empty() {
                true => String::new(),
                false => format!("; did you mean {}?", near.join(", ")),
            };
            let place = self.recipe.at(name.place);
            let line =
                format!("{place}there is no package \"{name}\" that could be excluded{meant}");
            (self.progress)(Event::Warned { target: target.to_owned(), line });
        }
    }

    /// Finds out what container images have brought, now that packages are to be installed on top of them. As when they are
    /// unpacked, a package of theirs takes the place of one of the same name.
    fn look_into(
        &mut self,
        target: &str,
        there: &mut There<'u>,
        variant: Variant,
    ) -> Result<(), Error> {
        let last = there.unseen.last().copied();
        for image in there.unseen.drain(..) {
            let brought = self.packages_of(image)?;
            there.installed.retain(|old| !brought.iter().any(|new| new.name == old.name));
            there.installed.extend(brought);
        }
        if !there.installed.is_empty() || variant != Variant::Custom {
            return Ok(());
        }
        let place = last.map(|image| self.recipe.at(image.place)).unwrap_or_default();
        let what = last.map_or_else(|| "what is there".to_owned(), ToString::to_string);
        Err(Error::told(
            format!("{place}{target} installs packages, and {what} has no dpkg that could do it"),
            "take an image of Debian or Ubuntu, or leave out the packages",
        ))
    }

    fn packages_of(&mut self, image: &Placed<Reference>) -> Result<Vec<Installed>, Error> {
        let shown = image.to_string();
        if let Some(seen) = self.seen.get(&shown) {
            return Ok(seen.clone());
        }
        let Some(locked) = self.containers.iter().find(|known| known.image == shown) else {
            return Ok(Vec::new());
        };
        let (project, recipe) = (self.project, self.recipe);
        let offline = project.options().offline;
        let layers =
            containers::layers(project, recipe, image, locked.manifest, offline, self.progress)?;
        let found = containers::installed(image, &layers, &recipe.archive.architecture)?;
        Ok(self.seen.entry(shown).or_insert(found).clone())
    }

    /// An empty tree begins with the essential packages and what they need: they are there before any script runs, and are
    /// configured before anything else is unpacked, since every other package may take them for granted (Policy 3.8).
    /// What moves comes last.
    fn stages(
        &self,
        target: &str,
        packages: &[&'u Package],
        said: &Said<'_>,
    ) -> Result<Stages<'u>, Error> {
        let held = self.held.of(target);
        let request = Request { variant: Variant::Essential, held, ..Request::default() };
        let essential: BTreeSet<&str> =
            self.resolve(target, &request, said)?.iter().map(|package| &*package.name).collect();
        let (first, rest): (Vec<&Package>, Vec<&Package>) =
            packages.iter().partition(|package| essential.contains(package.name.as_str()));
        Ok(in_stages(&first, &rest, self.old.map(|old| (old, target))))
    }

    fn resolve(
        &self,
        target: &str,
        request: &Request,
        said: &Said<'_>,
    ) -> Result<Vec<&'u Package>, Error> {
        resolve(self.universe, request).map_err(|source| self.unresolved(target, source, said))
    }

    fn unresolved(&self, target: &str, source: ResolveError, said: &Said<'_>) -> Error {
        let place = self.recipe.at(said.place_of(&source));
        Error::Resolve { place, target: target.to_owned(), source }
    }

    /// The kernel alone, without what would make an initrd of another kind for it, and without firmware: from a meta-package,
    /// the package with the image that it depends on, and those with its modules where they are apart, as Ubuntu has them.
    fn kernel(&mut self, name: &Placed<String>) -> Result<(), Error> {
        if self.whole("kernel", name) {
            return Ok(());
        }
        let mut image = self.find("kernel", name, name.place)?;
        let mut passed = vec![image];
        let mut modules = Vec::new();
        loop {
            modules.extend(self.named(image, "linux-modules-", name.place)?);
            let mut next = self.named(image, "linux-image-", name.place)?.into_iter();
            match next.find(|next| passed.iter().all(|passed| passed.name != next.name)) {
                Some(next) => image = next,
                None => break,
            }
            passed.push(image);
        }
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        modules.dedup_by(|a, b| a.name == b.name);
        modules.insert(0, image);
        let steps = vec![self.note(&[modules])];
        self.insert("kernel", steps, Vec::new());
        Ok(())
    }

    /// The packages whose names begin so that a package depends on.
    fn named(
        &self,
        package: &Package,
        beginning: &str,
        place: Place,
    ) -> Result<Vec<&'u Package>, Error> {
        let depends = package.relations(RelationField::Depends).unwrap_or_default();
        // Of alternatives, the first is meant.
        let first = depends.0.iter().filter_map(|dependency| dependency.0.first());
        let named = first.filter(|relation| relation.name.starts_with(beginning));
        // The version goes along: with an older meta-package comes its older image.
        named.map(|relation| self.find("kernel", &relation.to_string(), place)).collect()
    }

    /// The package of that name, which is needed for what the recipe says at that place.
    fn find(&self, target: &str, name: &str, place: Place) -> Result<&'u Package, Error> {
        let said = Said { place, ..Said::default() };
        find(self.universe, name).map_err(|source| self.unresolved(target, source, &said))
    }

    /// Packages and what they depend on: only their files are wanted.
    fn files(&mut self, target: &str, asked: &[Placed<String>]) -> Result<(), Error> {
        let held = self.held.of(target);
        let request = Request { install: Placed::values(asked), held, ..Request::default() };
        let place = asked.first().map(|name| name.place).unwrap_or_default();
        let said = Said { asked, place, ..Said::default() };
        let packages = self.resolve(target, &request, &said)?;
        let steps = vec![self.note(&[packages])];
        self.insert(target, steps, Vec::new());
        Ok(())
    }

    /// One package by itself: only its files are wanted.
    fn single(&mut self, target: &str, name: &str) -> Result<(), Error> {
        if self.whole(target, name) {
            return Ok(());
        }
        // It goes with the suite.
        let package = self.find(target, name, self.recipe.archive.suite.place)?;
        let steps = vec![self.note(&[vec![package]])];
        self.insert(target, steps, Vec::new());
        Ok(())
    }

    /// Takes an image over as it is in the lock that is there, if it is to be held.
    fn whole(&mut self, target: &str, name: &str) -> bool {
        let Some(wanted) = self.wanted.get(target) else { return false };
        let Some(steps) = self.held.whole(target, name, *wanted) else { return false };
        let found = |locked: &&LockedPackage| {
            let mut known = self.universe.versions(&locked.name);
            known.find(|package| package.sha256 == locked.sha256)
        };
        let batch = |batch: &Vec<&LockedPackage>| batch.iter().map(found).collect();
        let steps: Option<Vec<Vec<Vec<&Package>>>> =
            steps.iter().map(|step| step.iter().map(batch).collect()).collect();
        let Some(steps) = steps else { return false };
        let steps = steps.iter().map(|step| self.note(step)).collect();
        self.insert(target, steps, Vec::new());
        true
    }

    fn insert(&mut self, target: &str, steps: Vec<Vec<Vec<String>>>, stages: Vec<LockedStage>) {
        let wanted = self.wanted.get(target).copied();
        let image = LockedImage { epoch: None, wanted, steps, stages };
        self.images.insert(target.to_owned(), image);
    }

    fn note(&mut self, batches: &[Vec<&Package>]) -> Vec<Vec<String>> {
        let mut note = |package: &&Package| {
            let local = self.locals.iter().find(|(_, local)| local.sha256 == package.sha256);
            let whence = match local {
                Some((_, local)) => local.whence.clone(),
                None => {
                    let earlier = self.held.earlier(&package.sha256);
                    self.earlier.extend(earlier.map(|state| {
                        let LockedArchive { archive, suite, snapshot, .. } = state.clone();
                        ((archive, suite, snapshot), state.clone())
                    }));
                    Whence::Archive {
                        archive: package.origin.source.archive.clone(),
                        suite: package.origin.source.suite.clone(),
                        path: package.filename.clone(),
                        snapshot: earlier.map(|state| state.snapshot.clone()),
                    }
                }
            };
            let locked = LockedPackage {
                name: package.name.clone(),
                version: package.version.to_string(),
                architecture: package.architecture.clone(),
                whence,
                size: package.size,
                installed: package.installed_size.saturating_mul(1024),
                sha256: package.sha256,
            };
            let key = locked.key();
            self.packages.insert(key.clone(), locked);
            key
        };
        batches.iter().map(|batch| batch.iter().map(&mut note).collect()).collect()
    }
}

fn in_batches<T: Related + Copy>(packages: &[T]) -> Vec<Vec<T>> {
    batches(packages)
        .into_iter()
        .map(|batch| batch.into_iter().map(|at| packages[at]).collect())
        .collect()
}
