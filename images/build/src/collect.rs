//! Space: what nobody needs any more is removed.
//!
//! Needed is what the recipe names, what came from elsewhere, the newest generations and the served ones, and all content of
//! every boot set that has a name: a set names its layers by digest, and stands as it is while its parts are built anew. So is for a
//! while what had a name, since machines go on with the set that they began with. Of the cache, what the lock names.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use overboot_digest::Digest;
use overboot_recipe::{Lock, Recipe};
use overboot_registry::image;
use overboot_store::{Artifact, Store, generation};

use crate::error::Error;
use crate::plan::{Target, targets};
use crate::project::Project;
use crate::steps::discard_tree;
use crate::verify::parts;

/// How long a download that was begun waits for somebody to go on with it.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// What is to stay though nothing needs it.
#[derive(Debug, Clone, Copy)]
pub struct Spare {
    /// So many generations of each boot set, the newest; the served one stays in any case.
    pub generations: usize,
    /// For so long, boot sets that lost their name: machines may be booting them.
    pub grace: Duration,
    /// In a cache that other projects may share, files for so long after they were last used. In a project's own cache, only what
    /// its lock names stays.
    pub cached: Duration,
    /// Root trees: another build is faster with them.
    pub trees: bool,
}

/// Files with their lengths in bytes.
pub type Files = Vec<(PathBuf, u64)>;

/// What nobody needs: files with their lengths in bytes, and names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Names in the store, each with the reason why it goes.
    pub names: Vec<(String, String)>,
    /// Content of the store.
    pub blobs: Files,
    /// What `verify` put aside.
    pub damaged: Files,
    /// Package files, and layers of container images.
    pub cached: Files,
    /// Root trees, and what is noted beside them.
    pub trees: Files,
}

/// Removes what nobody needs, or only tells it where `dry`.
///
/// # Errors
/// [`Error::Busy`] while a build is running; nothing is removed where it cannot be told what is needed.
pub fn collect(
    project: &Project,
    recipe: &Recipe,
    spare: Spare,
    dry: bool,
) -> Result<Garbage, Error> {
    let _occupied = project.occupy()?;
    let lock = Lock::load(project.folder())?;
    let store = project.store()?;
    let names = names(&store, recipe, spare.generations)?;
    let gone: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
    let since = ago(spare.grace);
    let kept = contents_of_sets(&store, &gone, spare.grace)?;
    let mut garbage = Garbage {
        names,
        blobs: store.garbage(&gone, &kept)?,
        damaged: files(&store.dir().join("damaged"), |_, _| true)?,
        cached: lock
            .as_ref()
            .map(|lock| cached(project, lock, spare))
            .transpose()?
            .unwrap_or_default(),
        trees: if spare.trees { Files::new() } else { trees(project)? },
    };
    if !dry {
        garbage.blobs = store.collect(&gone, &kept, since)?;
        for (path, _) in garbage.damaged.iter().chain(&garbage.cached) {
            match fs_err::remove_file(path) {
                // Somebody else collects in the same cache.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(Error::io("remove", path))?,
            }
        }
        for (path, _) in &garbage.trees {
            discard_tree(project, path)?;
        }
    }
    Ok(garbage)
}

/// What is kept of trees, each with all that is in it.
fn trees(project: &Project) -> Result<Files, Error> {
    fn bytes(path: &Path) -> u64 {
        let own = fs_err::symlink_metadata(path).map_or(0, |there| there.len());
        let inside = fs_err::read_dir(path).into_iter().flatten().flatten();
        own + inside.map(|entry| bytes(&entry.path())).sum::<u64>()
    }
    let folder = project.trees();
    let mut trees = Vec::new();
    for entry in fs_err::read_dir(&folder).map_err(Error::io("read", &folder))? {
        let path = entry.map_err(Error::io("read", &folder))?.path();
        trees.push((path.clone(), bytes(&path)));
    }
    trees.sort();
    Ok(trees)
}

/// The names that go.
fn names(store: &Store, recipe: &Recipe, keep: usize) -> Result<Vec<(String, String)>, Error> {
    let known: HashSet<String> = targets(recipe).iter().map(ToString::to_string).collect();
    let mut gone = Vec::new();
    for name in store.targets()? {
        // What another tool has named is not ours to take away, nor is what was pulled.
        let ours = name.parse::<Target>().is_ok() && !known.contains(&name);
        if ours && store.origin(&name)?.is_none() {
            gone.push((name, "the recipe has it no more".to_owned()));
        }
    }
    for old in store.old_generations(keep)? {
        gone.push((old.target(), format!("neither served nor among the newest {keep}")));
    }
    Ok(gone)
}

/// All that the boot sets are made of that stay, or that machines may be booting.
fn contents_of_sets(
    store: &Store,
    gone: &[String],
    grace: Duration,
) -> Result<HashSet<Digest>, Error> {
    let mut kept = HashSet::new();
    for name in store.targets()? {
        if generation::boot_set(&name).is_none() {
            continue;
        }
        if !gone.contains(&name) {
            if let Some(artifact) = store.get(&name)? {
                kept.extend(all_of(store, &artifact)?);
            }
        } else if generation::is_bootable(&name)
            && !grace.is_zero()
            && let Some(artifact) = unless_damaged(store.get(&name))?.flatten()
        {
            kept.extend(what_boots(store, &artifact)?);
        }
    }
    for artifact in store.former(ago(grace))? {
        kept.extend(what_boots(store, &artifact)?);
    }
    Ok(kept)
}

/// A boot set, with all that is named by it: also by what was signed alone, since whoever it was pulled from may have left out what
/// else is kept of its parts.
fn all_of(store: &Store, set: &Artifact) -> Result<Vec<Digest>, Error> {
    let mut all = signed(store, set)?;
    all.extend(store.contents(set)?.iter().map(|blob| blob.digest));
    Ok(all)
}

/// The same, as much of it as is left, of a boot set that goes. Nobody makes it again: without what is signed it boots nowhere, and
/// what else is kept of its parts no machine reads.
fn what_boots(store: &Store, set: &Artifact) -> Result<Vec<Digest>, Error> {
    let Some(mut all) = unless_damaged(signed(store, set))? else { return Ok(Vec::new()) };
    let contents = unless_damaged(store.contents(set))?.unwrap_or_default();
    all.extend(contents.iter().map(|blob| blob.digest));
    Ok(all)
}

/// What a machine reads of a boot set.
fn signed(store: &Store, set: &Artifact) -> Result<Vec<Digest>, Error> {
    let own = set.manifest.contents().map(|blob| blob.digest);
    let named = parts(store, set)?.into_iter().map(|blob| blob.digest);
    Ok(own.chain(named).chain([set.descriptor.digest]).collect())
}

/// `None` where something is lost or spoiled. What cannot be read just now may be needed.
fn unless_damaged<T, E: Into<Error>>(read: Result<T, E>) -> Result<Option<T>, Error> {
    match read.map_err(Into::into) {
        Err(Error::Store(error)) if error.is_damage() => Ok(None),
        read => read.map(Some),
    }
}

fn ago(time: Duration) -> SystemTime {
    SystemTime::now().checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What is in the cache that the lock does not name: package files, and layers of container images.
fn cached(project: &Project, lock: &Lock, spare: Spare) -> Result<Files, Error> {
    let shared = project.options().cache.is_some();
    let since = if shared { ago(spare.cached) } else { SystemTime::now() };
    let needed = lock.packages.iter().map(|package| package.sha256).collect();
    let packages = project.packages()?;
    let mut unused = unused(&packages.folder(), &needed, since)?;
    unused.extend(self::unused(&packages.light_folder(), &needed, since)?);
    let manifests: Vec<Digest> = lock.containers.iter().map(|image| image.manifest).collect();
    let images = project.images();
    if images.is_dir() {
        let failed = |source| {
            let source = Box::new(source);
            Error::Container { place: String::new(), source }
        };
        if let Some(needed) = image::needed(&manifests, &images).map_err(failed)? {
            unused.extend(self::unused(&image::folder(&images), &needed, since)?);
        }
    }
    Ok(unused)
}

/// The files in a folder of a cache that are not of `needed` and that nobody has used since `since`. Each is named by the digest of
/// its content.
fn unused(folder: &Path, needed: &HashSet<Digest>, since: SystemTime) -> Result<Files, Error> {
    let needed: HashSet<String> = needed.iter().map(Digest::hex).collect();
    // What is begun may be in somebody's hands.
    let begun_since = since.min(ago(A_DAY));
    files(folder, |path, metadata| {
        let begun = path.extension().is_some_and(|ending| ending == "partial");
        let since = if begun { begun_since } else { since };
        let is_needed =
            path.file_stem().and_then(OsStr::to_str).is_some_and(|name| needed.contains(name));
        metadata.modified().is_ok_and(|used| used < since) && (begun || !is_needed)
    })
}

/// The files in a folder, which need not be there, that `goes` is true of.
fn files(folder: &Path, goes: impl Fn(&Path, &Metadata) -> bool) -> Result<Files, Error> {
    let mut files = Vec::new();
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(files),
        entries => entries.map_err(Error::io("read", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("read", folder))?;
        // Another process may have renamed it.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() && goes(&entry.path(), &metadata) {
            files.push((entry.path(), metadata.len()));
        }
    }
    files.sort();
    Ok(files)
}
