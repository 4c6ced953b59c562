//! What is in an image that was just written: read back from it, and told with what the lock knows of its packages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use overboot_contract::Content;
use overboot_debian::deb;
use overboot_recipe::{LockedPackage, Provisioner, Whence};
use overboot_record::{
    Beneath, Contents, Deb, Distribution, File, Kind, Listing, Looked, Package, files,
};
use overboot_store::Layer;

use super::kernel::{LOADERS_FOLDER, TITLE};
use super::tree::{self, gone};
use crate::contract::LOOK;
use crate::error::Error;
use crate::execute::Context;
use crate::lock::LOADERS;
use crate::plan::{Step, Target};

/// How modules may be compressed in their package; in images they are not.
const COMPRESSED: [&str; 3] = [".xz", ".zst", ".gz"];

/// What is in the image in `layers`, for those who want to know more of it, too; nothing of what is a file as it was found.
pub(crate) fn read(
    context: &Context<'_>,
    step: &Step,
    layers: &[Layer],
) -> Result<Looked<Content>, Error> {
    context.log(&step.target)("listing what is in it");
    let Some(image) = layers.first() else { return Ok(Looked::default()) };
    let path = context.store.blob_path(&image.digest);
    Ok(match &step.target {
        Target::Base(_) | Target::Overlay(_) => Listing::of_squashfs(&path, LOOK)?,
        Target::Modules(_) | Target::Initrd(_) | Target::Firmware(_) => {
            Looked { listing: Listing::of_image(&path, &image.media_type)?, ..Looked::default() }
        }
        Target::Kernel | Target::Ipxe | Target::Set(_) => Looked::default(),
    })
}

/// The contents of what is in `layers`, an image with that `listing`; none of a boot set, which is a list of images.
pub(crate) fn of(
    context: &Context<'_>,
    step: &Step,
    layers: &[Layer],
    listing: Listing,
) -> Result<Option<Contents>, Error> {
    Ok(Some(match &step.target {
        Target::Base(_) => {
            let contents = overboot_record::root(listing, whose(context), &debs(context, step))?;
            with_modules(context, step, contents)?
        }
        Target::Overlay(name) => {
            let (below, beneath) = below(context, step, name)?;
            let debs = debs(context, step);
            let contents = overboot_record::overlay(name, listing, &below, beneath, &debs)?;
            with_modules(context, step, contents)?
        }
        Target::Kernel => {
            let tree = tree::files(context, "kernel")?;
            let kernel = overboot_pack::Kernel::open(&tree)?;
            let path = kernel.image().strip_prefix(&tree).unwrap_or(kernel.image());
            of_package(context, "kernel", single(&path.display().to_string(), &layers[..1]))?
        }
        Target::Modules(_) | Target::Initrd(_) => of_package(context, "kernel", listing)?,
        Target::Firmware(_) => of_package(context, &step.target.to_string(), listing)?,
        Target::Ipxe => {
            let named = layers.iter().filter_map(|layer| {
                let name = layer.annotations.get(TITLE)?;
                Some(file(&format!("{LOADERS_FOLDER}/{name}"), layer))
            });
            let listing = Listing { files: named.collect(), ..Listing::default() };
            of_package(context, LOADERS, listing)?
        }
        Target::Set(_) => return Ok(None),
    }))
}

/// The contents of an image of files that come from the packages of `image` in the lock.
fn of_package(context: &Context<'_>, image: &str, listing: Listing) -> Result<Contents, Error> {
    let packages = packages(context, image)?;
    let owners = owners(context, image)?;
    Ok(files(listing, whose(context), packages, |path| owners.get(merged(path)).cloned()))
}

/// The packages of `image` in the lock, as they say of themselves.
fn packages(context: &Context<'_>, image: &str) -> Result<Vec<Package>, Error> {
    let mut packages = Vec::new();
    for locked in context.lock.steps(image).concat().concat() {
        let path = context.package_file(locked)?.path;
        let head = fs_err::File::open(&path).and_then(|mut file| deb::head(&mut file));
        let head = head.map_err(Error::io("read", &path))?;
        let control = deb::control(&head).and_then(|files| Ok(files.control()?.to_owned()));
        // It was unpacked a moment ago.
        let package = control.ok().and_then(|control| Package::of_control(&control).ok());
        let package = package.unwrap_or_else(|| Package {
            name: locked.name.clone(),
            version: locked.version.clone(),
            architecture: locked.architecture.clone(),
            ..Package::default()
        });
        packages.push(Package { deb: Some(deb_of(locked)), ..package });
    }
    Ok(packages)
}

/// The same contents with the package of the kernel, whose files the modules are that steps have put there. dpkg knows nothing
/// of them.
fn with_modules(
    context: &Context<'_>,
    step: &Step,
    mut contents: Contents,
) -> Result<Contents, Error> {
    let places: Vec<&Path> = crate::plan::steps_of(context.recipe, &step.target)
        .iter()
        .filter_map(|step| match step {
            Provisioner::Modules { to, .. } => {
                Some(to.as_ref().map_or(Path::new("usr/lib/modules"), |to| to.as_path()))
            }
            _ => None,
        })
        .collect();
    if places.is_empty() {
        return Ok(contents);
    }
    let kernel = packages(context, "kernel")?;
    // A kernel has each module once, and a step may have put it elsewhere.
    let owners: BTreeMap<String, String> = owners(context, "kernel")?
        .into_iter()
        .filter_map(|(path, package)| Some((path.rsplit_once('/')?.1.to_owned(), package)))
        .collect();
    for file in contents.files.iter_mut().filter(|file| file.package.is_none()) {
        let path = Path::new(&file.path);
        let module = path.extension().is_some_and(|ending| ending == "ko");
        if module && places.iter().any(|place| path.starts_with(place)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            file.package = owners.get(&*name).cloned();
        }
    }
    contents.packages.extend(kernel);
    contents.packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    contents.packages.dedup_by(|a, b| a.name == b.name && a.architecture == b.architecture);
    Ok(contents)
}

/// Which of an image's packages each file is from: the names of packages by the names of files.
fn owners(context: &Context<'_>, image: &str) -> Result<BTreeMap<String, String>, Error> {
    let locked = context.lock.steps(image).concat().concat();
    let mut owners = BTreeMap::new();
    let mut owned = |path: &str, package: &LockedPackage| {
        let plain = COMPRESSED.iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
        owners.insert(merged(plain).to_owned(), package.name.clone());
    };
    if let [only] = locked[..] {
        // All that was unpacked is its.
        let mut there = BTreeSet::new();
        walk(&tree::files(context, image)?, "", &mut there)?;
        there.iter().for_each(|path| owned(path, only));
        return Ok(owners);
    }
    for package in locked {
        for path in overboot_rootfs::paths(&context.package_file(package)?)? {
            owned(path.trim_start_matches('/'), package);
        }
    }
    Ok(owners)
}

/// A path as it is also told with the folders at the top merged into `usr`: packages of some releases say `lib/modules`.
fn merged(path: &str) -> &str {
    path.strip_prefix("usr/").unwrap_or(path)
}

/// The names of what is in a tree.
fn walk(folder: &Path, prefix: &str, there: &mut BTreeSet<String>) -> Result<(), Error> {
    for entry in fs_err::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        if entry.file_type().map_err(Error::io("read", folder))?.is_dir() {
            walk(&entry.path(), &format!("{path}/"), there)?;
        } else {
            there.insert(path);
        }
    }
    Ok(())
}

/// An image that is one file.
fn single(path: &str, layers: &[Layer]) -> Listing {
    let files = layers.iter().map(|layer| file(path, layer)).collect();
    Listing { files, ..Listing::default() }
}

fn file(path: &str, layer: &Layer) -> File {
    File {
        path: path.to_owned(),
        kind: Kind::File { size: layer.size, sha256: layer.digest },
        mode: 0o644,
        uid: 0,
        gid: 0,
        package: None,
        xattrs: BTreeMap::new(),
    }
}

/// What is in the base of an overlay.
fn below(context: &Context<'_>, step: &Step, name: &str) -> Result<(Contents, Beneath), Error> {
    let Some(overlay) = context.recipe.overlays.get(name) else { return Err(gone(&step.target)) };
    let target = Target::Base(overlay.base.value.clone()).to_string();
    let artifact = context.store.get(&target)?;
    let contents =
        artifact.map(|artifact| overboot_record::contents(context.store, &artifact)).transpose()?;
    let Some((contents, digest)) = contents.flatten() else {
        let message = format!("what is in {target} is not known");
        return Err(Error::told(message, format!("run `overboot build {target}`")));
    };
    Ok((contents, Beneath { target, contents: digest }))
}

fn whose(context: &Context<'_>) -> Distribution {
    let archive = &context.recipe.archive;
    Distribution { id: archive.distribution.id().to_owned(), codename: archive.suite.value.clone() }
}

/// The files of the image's packages, by `name=version`.
fn debs(context: &Context<'_>, step: &Step) -> BTreeMap<String, Deb> {
    let locked = context.lock.steps(&step.target.to_string()).concat().concat();
    let named = |package: &LockedPackage| format!("{}={}", package.name, package.version);
    locked.into_iter().map(|package| (named(package), deb_of(package))).collect()
}

fn deb_of(package: &LockedPackage) -> Deb {
    let (archive, suite, url) = match &package.whence {
        Whence::Archive { archive, suite, .. } => (archive.clone(), Some(suite.clone()), None),
        Whence::Url { url } => (None, None, Some(url.clone())),
        Whence::File { .. } => (None, None, None),
    };
    // From which mirror it came is no part of the recipe.
    Deb { sha256: package.sha256, size: package.size, suite, archive, url }
}
