//! Carrying out a plan: what its steps read is fetched, and those that must run are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use overboot_archive::Wanted;
use overboot_bootset::Layer as SetLayer;
use overboot_digest::Digest;
use overboot_pack::KernelModules;
use overboot_recipe::{Lock, LockedPackage, Provisioner, Recipe, Whence};
use overboot_rootfs::Network;
use overboot_store::Store;

use crate::error::Error;
use crate::event::Event;
use crate::plan::{Given, Plan, Step, Target, plan};
use crate::project::{Occupied, Project};
use crate::schedule::{self, Schedule};
use crate::signing::{self, Signer};
use crate::steps::Settling;
use crate::{ansible, containers, contract, debs, inputs, sources, steps};

/// How many packages are fetched at once.
const FETCHES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(8).unwrap();

/// Debian's name of the architecture that this program builds for: that of its node program.
const ARCHITECTURE: &str = "amd64";

/// What is to be built.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goal<'a> {
    /// The targets; none: everything.
    pub targets: &'a [Target],
    /// Overlays stay as they are where only their base changed and they hold on it. What is built then depends on what was built
    /// before: another store may get other bytes from the same recipe and lock.
    pub keep_overlays: bool,
}

/// What a build came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Targets that were built, with the time each took, in milliseconds.
    pub built: Vec<(Target, u64)>,
    /// Targets that were as they should be.
    pub unchanged: Vec<Target>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// What every step works with.
pub(crate) struct Context<'a> {
    pub(crate) project: &'a Project,
    pub(crate) recipe: &'a Recipe,
    pub(crate) lock: &'a Lock,
    pub(crate) given: &'a Given,
    pub(crate) store: &'a Store,
    pub(crate) signer: Option<&'a Signer>,
    pub(crate) node: &'a [u8],
    pub(crate) progress: &'a (dyn Fn(Event) + Sync),
    pub(crate) schedule: Schedule<'a>,
    turns: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    modules: Mutex<Option<Arc<KernelModules>>>,
    /// The layers that were read for boot sets: most have the same.
    pub(crate) layers: Mutex<BTreeMap<Target, SetLayer>>,
    /// Trees that were made, on their way to the disk.
    pub(crate) settling: Settling,
}

impl Context<'_> {
    /// Is what the plan was made with still what stands in the project? An image must not be filed under the digest of what
    /// it was not made from.
    pub(crate) fn unchanged(&self, path: &Path) -> Result<(), Error> {
        let now = inputs::source(&self.project.folder().join(path))?;
        if self.given.sources.get(&path.display().to_string()) == Some(&now) {
            return Ok(());
        }
        Err(Error::told(
            format!("{} was changed while it was being built in", path.display()),
            "run `overboot build` again",
        ))
    }

    /// No file of what is made for `target` is newer, in seconds since 1970.
    pub(crate) fn epoch(&self, target: &Target) -> u64 {
        self.lock.epoch_of(&target.packages())
    }

    /// Whoever makes the tree of that name holds this; whoever else needs it waits.
    pub(crate) fn turn_for(&self, tree: &str) -> Arc<Mutex<()>> {
        Arc::clone(lock_of(&self.turns).entry(tree.to_owned()).or_default())
    }

    /// The kernel's modules. Reading them takes seconds, so whoever comes first does it with `read`, and the others wait.
    pub(crate) fn kernel_modules(
        &self,
        read: impl FnOnce() -> Result<KernelModules, Error>,
    ) -> Result<Arc<KernelModules>, Error> {
        let mut modules = lock_of(&self.modules);
        if let Some(modules) = &*modules {
            return Ok(Arc::clone(modules));
        }
        let read = Arc::new(read()?);
        *modules = Some(Arc::clone(&read));
        Ok(read)
    }

    /// The network of a step that asks for it, or of one that does not.
    pub(crate) fn network(&self, asked: bool) -> Network<'_> {
        let proxy = self.recipe.archive.proxy.as_ref().map(|proxy| proxy.as_str());
        // With `--offline` no such step is carried out; it would get nothing.
        let offline = self.project.options().offline;
        if asked && !offline { Network::Host { proxy } } else { Network::None }
    }

    pub(crate) fn log<'s>(&'s self, target: &'s Target) -> impl Fn(&str) + Sync + 's {
        move |line: &str| {
            (self.progress)(Event::Progress { target: target.to_string(), line: line.to_owned() });
        }
    }

    /// The file of a locked package, which [`fetch`] has put into the package store.
    pub(crate) fn package_file(
        &self,
        package: &LockedPackage,
    ) -> Result<overboot_rootfs::Package, Error> {
        Ok(overboot_rootfs::Package {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            path: self.project.packages()?.to_unpack(&package.sha256),
        })
    }
}

/// Plans a build: what the command `plan` shows, and what [`execute`] does.
///
/// # Errors
/// A source in the project cannot be read, the store cannot, or a target is unknown.
pub fn prepare(
    project: &Project,
    recipe: &Recipe,
    lock: &Lock,
    node: &[u8],
    goal: Goal<'_>,
) -> Result<(Plan, Given), Error> {
    let mut given = Given { node: Some(Digest::of(node)), ..Given::default() };
    let signer = Signer::load(&signing::path(project.folder()))?;
    if let Some(signer) = &signer {
        let public = signer.public();
        if !recipe.project.trust.contains(&public) {
            return Err(Error::told(
                format!(
                    "{}the recipe does not trust the key that would sign its boot sets, {public}",
                    recipe.at(recipe.project.trust.place)
                ),
                "add it to `trust` in [project] of overboot.toml, or put the private key of a trusted one into keys/boot-set.key",
            ));
        }
        given.signer = Some(public);
    }
    for slot in recipe.slots.values().filter(|slot| debs::is_there(project, slot)) {
        let digest = debs::slot(project, recipe, slot)?;
        given.sources.insert(slot.file.display().to_string(), digest);
    }
    for path in recipe.sources() {
        let digest = inputs::source(&project.folder().join(&**path));
        let digest = digest.map_err(|error| error.placed(recipe, path.place))?;
        given.sources.insert(path.display().to_string(), digest);
    }
    for target in crate::plan::targets(recipe) {
        if let Some(slot) = debs::missing(project, recipe, &target).first() {
            let why = format!("{} is missing. {}", slot.file.display(), slot.from);
            given.missing.insert(target, why);
        }
    }
    let store = project.store()?;
    let named = store.targets()?;
    for target in crate::plan::targets(recipe) {
        match steps::record(&store, &target)? {
            Some(record) => {
                given.have.insert(target, record);
            }
            None if named.contains(&target.to_string()) => {
                let why = steps::why_unusable(&store, &target);
                given.unusable.insert(target, why);
            }
            None => {}
        }
    }
    if ansible::packages(recipe).is_some() {
        given.ansible = ansible::version()?;
    }
    for (name, base) in &recipe.bases {
        let target = Target::Base(name.clone());
        let contents = steps::contents_digest(&store, &target)?;
        if !base.provision.iter().all(Provisioner::repeats)
            && !steps::is_packed(project, recipe, lock, &given, name, contents)
        {
            given.gone.insert(target.clone());
        }
        given.contents.extend(contents.map(|contents| (target, contents)));
    }
    let mut planned = plan(recipe, lock, &given, goal.targets)?;
    if goal.keep_overlays {
        for overlay in planned.on_new_bases() {
            if contract::holds(&store, &overlay)? {
                given.kept.insert(overlay);
            }
        }
        planned = plan(recipe, lock, &given, goal.targets)?;
    }
    Ok((planned, given))
}

/// Builds what `goal` says, from the lock that was read or made since the project was occupied: another build may have made
/// another one before.
///
/// # Errors
/// The first step that fails, once those that run beside it have ended. What was finished stays; nothing half-made is ever
/// seen under a final name.
pub fn execute(
    occupied: &Occupied,
    recipe: &Recipe,
    lock: &Lock,
    node: &[u8],
    goal: Goal<'_>,
    progress: &(dyn Fn(Event) + Sync),
) -> Result<Built, Error> {
    let project = occupied.project();
    let (plan, given) = prepare(project, recipe, lock, node, goal)?;
    let mut before = Vec::new();
    let bases = plan.new_bases();
    let (plan, given) = if goal.keep_overlays && !bases.is_empty() {
        // Whether an overlay holds is seen when its base is there.
        let (first, given) =
            prepare(project, recipe, lock, node, Goal { targets: &bases, ..goal })?;
        before = carry_out(project, recipe, lock, node, (&first, &given), progress)?;
        prepare(project, recipe, lock, node, goal)?
    } else {
        (plan, given)
    };
    let mut built = before;
    built.extend(carry_out(project, recipe, lock, node, (&plan, &given), progress)?);
    let made = |target: &Target| built.iter().any(|(built, _)| built == target);
    let unchanged = plan.steps.iter().filter(|step| !step.runs() && !made(&step.target));
    let unchanged = unchanged.map(|step| step.target.clone()).collect();
    Ok(Built { built, unchanged, left_out: plan.left_out })
}

/// Runs the steps of a plan that must run.
fn carry_out(
    project: &Project,
    recipe: &Recipe,
    lock: &Lock,
    node: &[u8],
    (plan, given): (&Plan, &Given),
    progress: &(dyn Fn(Event) + Sync),
) -> Result<Vec<(Target, u64)>, Error> {
    if !plan.is_empty() && !rustix::process::geteuid().is_root() {
        return Err(Error::told(
            "building needs root: owners and mounts of another system",
            "become that with `become_root` before anything else, as the program does",
        ));
    }
    let architecture = &recipe.archive.architecture;
    if !plan.is_empty() && *architecture != ARCHITECTURE {
        return Err(Error::told(
            format!(
                "{}images for {architecture} can be locked and planned here, and not built: packages are configured by running their own programs, and this machine runs those of {ARCHITECTURE}",
                recipe.at(architecture.place)
            ),
            format!("build them on such a machine, or write architecture = \"{ARCHITECTURE}\""),
        ));
    }
    if let (true, Some(note)) = (project.options().offline, plan.notes.first()) {
        let help = "leave out --offline, or `network = true` in the recipe";
        return Err(Error::told(note.clone(), help));
    }
    if !plan.is_empty() {
        overboot_rootfs::rootless::fit(&project.scratch())?;
    }
    let store = project.store()?;
    for step in plan.steps.iter().filter(|step| !step.runs()) {
        let (target, size) = (step.target.to_string(), size(&store, given, step)?);
        progress(if step.kept {
            Event::Kept { target, size }
        } else {
            Event::Unchanged { target, size }
        });
    }
    let signer = Signer::load(&signing::path(project.folder()))?;
    let context = Context {
        project,
        recipe,
        lock,
        given,
        store: &store,
        signer: signer.as_ref(),
        node,
        progress,
        schedule: Schedule::new(plan),
        turns: Mutex::default(),
        modules: Mutex::default(),
        layers: Mutex::default(),
        settling: Settling::default(),
    };
    ansible::check(&context, plan)?;
    fetch(&context, plan)?;
    for step in plan.steps.iter().filter(|step| step.runs()) {
        for (_, provision) in steps::provisions(&context, &step.target) {
            containers::fetch(&context, provision)?;
        }
    }
    let built = schedule::run(&context)?;
    context.settling.wait();
    Ok(built)
}

/// What a step tells as the size of what it made: for a boot set that of its layers, which a node fetches.
fn size(store: &Store, given: &Given, step: &Step) -> Result<u64, Error> {
    if let (Target::Set(_), Some(record)) = (&step.target, given.have.get(&step.target)) {
        return Ok(record.unpacked);
    }
    let artifact = store.get(&step.target.to_string())?;
    let layers = artifact.map(|artifact| artifact.manifest.layers).unwrap_or_default();
    let images = layers.iter().filter(|layer| overboot_record::is_image(layer));
    Ok(images.map(|layer| layer.size).sum())
}

/// Fetches the packages that steps which must run will read.
fn fetch(context: &Context<'_>, plan: &Plan) -> Result<(), Error> {
    let Context { project, recipe, lock, progress, .. } = context;
    let archives = sources::archives(recipe)?;
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.runs()) {
        for target in steps::reads(context, &step.target) {
            for package in lock.steps(&target).concat().concat() {
                if let Whence::File { file } = &package.whence {
                    debs::import(project, &project.packages()?, file, &package.sha256)?;
                }
                wanted.insert(package.key(), sources::wanted(&archives, package));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted: Vec<Wanted> = wanted.into_values().collect();
    let bytes = wanted.iter().map(|package| package.size).sum();
    progress(Event::Fetching { packages: wanted.len(), bytes });
    let done = Mutex::new((0, 0));
    let tell = |event: overboot_archive::FetchEvent<'_>| {
        use overboot_archive::FetchEvent::{Finished, Present, Progress, Started};
        match event {
            Present(package) | Finished(package) => {
                let mut done = lock_of(&done);
                *done = (done.0 + 1, done.1 + package.size);
                progress(Event::Fetched { packages: done.0, bytes: done.1 });
            }
            Started(_) | Progress(..) => {}
        }
    };
    let fetched = project.packages()?.fetch_all(&project.fetcher(recipe)?, &wanted, FETCHES, &tell);
    fetched.map(drop).map_err(|source| {
        if let Some(place) = source.url().and_then(|url| debs::place_of(recipe, url)) {
            return sources::of_file(recipe, source).placed(recipe, place);
        }
        if let Some(gone) = sources::gone(recipe, lock, &source) {
            return gone;
        }
        let place = sources::proxy_of(recipe, &source).unwrap_or_default();
        Error::NamedArchive { place: recipe.at(place), source: Box::new(source) }
    })
}

/// A lock that a panic elsewhere does not spoil: the panic itself is passed on by the scope.
pub(crate) fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
