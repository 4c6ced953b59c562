//! Container images as a source: what they are pinned to, their files, and which packages are in them.

use std::path::{Path, PathBuf};

use overboot_archive::Installed;
use overboot_debian::deb822;
use overboot_digest::Digest;
use overboot_oci::{Platform, Reference};
use overboot_recipe::{Lock, LockedContainer, Placed, Provisioner, Recipe};
use overboot_registry::image::{self, Source};
use overboot_rootfs::Root;

use crate::error::Error;
use crate::event::Event;
use crate::execute::Context;
use crate::project::Project;

/// Where dpkg lists what is installed.
const STATUS: &str = "var/lib/dpkg/status";

/// What every container image of the recipe means now; those of a registry that are `held` are not asked for.
///
/// # Errors
/// One is not there, or its registry cannot be asked.
pub(crate) fn pin(
    project: &Project,
    recipe: &Recipe,
    held: &[LockedContainer],
) -> Result<Vec<LockedContainer>, Error> {
    let mut pinned: Vec<LockedContainer> = Vec::new();
    for reference in recipe.containers() {
        let image = reference.to_string();
        if pinned.iter().any(|known| known.image == image) {
            continue;
        }
        if let (Reference::Registry(_), Some(held)) =
            (&**reference, held.iter().find(|held| held.image == image))
        {
            pinned.push(held.clone());
            continue;
        }
        let manifest = with(project, recipe, reference, &|_| {}, |source| {
            if project.options().offline && matches!(**reference, Reference::Registry(_)) {
                return Err(overboot_registry::Error::Offline { what: reference.to_string() });
            }
            image::resolve(source)
        })?;
        pinned.push(LockedContainer { image, manifest });
    }
    pinned.sort_by(|one, other| one.image.cmp(&other.image));
    Ok(pinned)
}

/// Are the layouts in the project still what was locked? One that is not there may be at a colleague's.
///
/// # Errors
/// One cannot be read.
pub(crate) fn are_current(project: &Project, recipe: &Recipe, lock: &Lock) -> Result<bool, Error> {
    for reference in recipe.containers() {
        let Some(locked) = lock.manifest(reference) else { return Ok(false) };
        if let Reference::Layout { path, .. } = &**reference
            && project.folder().join(path).exists()
            && with(project, recipe, reference, &|_| {}, image::resolve)? != locked
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The layers of a locked container image, lowest first; fetched where they are not there yet.
///
/// # Errors
/// They cannot be fetched, or are not what was locked.
pub(crate) fn layers(
    project: &Project,
    recipe: &Recipe,
    reference: &Placed<Reference>,
    manifest: Digest,
    offline: bool,
    progress: &(dyn Fn(Event) + Sync),
) -> Result<Vec<PathBuf>, Error> {
    let shown = reference.to_string();
    let tell = |event: overboot_registry::Event| match event {
        overboot_registry::Event::Transferring { bytes, .. } => {
            progress(Event::FetchingImage { image: shown.clone(), bytes });
        }
        overboot_registry::Event::Transferred { bytes, .. } => {
            progress(Event::FetchedImage { image: shown.clone(), bytes });
        }
        overboot_registry::Event::Pushed { .. }
        | overboot_registry::Event::Pulled { .. }
        | overboot_registry::Event::Skipped { .. } => {}
    };
    let cache = project.images();
    let fetched = with(project, recipe, reference, &tell, |source| {
        image::fetch(source, manifest, &cache, offline)
    })?;
    Ok(fetched.layers.into_iter().map(|layer| layer.path).collect())
}

/// Fetches the container images of steps that are about to be carried out.
///
/// # Errors
/// One is not locked, or as [`layers`].
pub(crate) fn fetch(context: &Context<'_>, steps: &[Provisioner]) -> Result<(), Error> {
    let offline = context.project.options().offline;
    for step in steps {
        if let Provisioner::Container(reference) = step {
            let manifest = locked(context.lock, reference)?;
            let (project, recipe) = (context.project, context.recipe);
            layers(project, recipe, reference, manifest, offline, context.progress)?;
        }
    }
    Ok(())
}

/// Lays a container image, which was fetched before, over a tree. It is put together in `scratch`, which must not be there.
///
/// # Errors
/// Its layers are not what was locked, or hold what no layer may hold.
pub(crate) fn lay(
    context: &Context<'_>,
    reference: &Placed<Reference>,
    root: &Root,
    scratch: &Path,
    log: overboot_rootfs::Log<'_>,
) -> Result<(), Error> {
    let manifest = locked(context.lock, reference)?;
    let (project, recipe) = (context.project, context.recipe);
    let layers = layers(project, recipe, reference, manifest, true, context.progress)?;
    let laid = overboot_rootfs::container::apply(root, &layers, scratch, log);
    let laid = laid.and_then(|()| overboot_rootfs::skeleton(root));
    laid.map_err(|error| Error::from(error).placed(recipe, reference.place))
}

fn locked(lock: &Lock, reference: &Reference) -> Result<Digest, Error> {
    lock.manifest(reference).ok_or_else(|| {
        Error::told(
            format!("overboot.lock does not know the container image {reference}"),
            "run `overboot lock --update`",
        )
    })
}

/// The packages that dpkg knows of in an image, for `architecture`; none where it has no dpkg.
///
/// # Errors
/// Its layers or its database cannot be read.
pub(crate) fn installed(
    reference: &Reference,
    layers: &[PathBuf],
    architecture: &str,
) -> Result<Vec<Installed>, Error> {
    let status = overboot_rootfs::container::read(layers, Path::new(STATUS))?.unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let damaged = |why: String| {
        Error::told(
            format!("/{STATUS} in {reference} is damaged: {why}"),
            "take another image, or leave out the packages that are installed on top of it",
        )
    };
    let mut found = Vec::new();
    for stanza in deb822::stanzas(&status) {
        let stanza = stanza.map_err(|error| damaged(error.to_string()))?;
        let field = |name: &str| stanza.get(name).unwrap_or_default().trim();
        let here = ["all", architecture].contains(&field("Architecture"));
        if !here || field("Status").split(' ').nth(2) != Some("installed") {
            continue;
        }
        let version = field("Version").parse();
        found.push(Installed {
            name: field("Package").to_owned(),
            version: version.map_err(|_| damaged(format!("{:?}", field("Version"))))?,
        });
    }
    Ok(found)
}

/// Asks the registry library about an image.
fn with<T>(
    project: &Project,
    recipe: &Recipe,
    reference: &Placed<Reference>,
    tell: &(dyn Fn(overboot_registry::Event) + Sync),
    ask: impl FnOnce(&Source<'_>) -> Result<T, overboot_registry::Error>,
) -> Result<T, Error> {
    // Debian's names of these two architectures are Go's.
    let architecture = recipe.archive.architecture.value.clone();
    let platform = Platform { os: "linux".to_owned(), architecture, variant: None };
    let there = match &**reference {
        Reference::Layout { path, name, digest } => Reference::Layout {
            path: project.folder().join(path),
            name: name.clone(),
            digest: *digest,
        },
        Reference::Registry(_) => reference.value.clone(),
    };
    let options = &project.options().registry;
    let source = Source { reference: &there, platform: &platform, options, tell };
    ask(&source).map_err(|source| Error::Container {
        place: recipe.at(reference.place),
        source: Box::new(source),
    })
}
