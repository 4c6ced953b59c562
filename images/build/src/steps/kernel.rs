//! What is made from a package's files alone: kernel, modules, initrd, boot loaders.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io::ErrorKind::NotFound;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overboot_kmod::Layers;
use overboot_pack::tree::Kind;
use overboot_pack::{Kernel, KernelModules, initrd as packing, modules as layer};
use overboot_recipe::{Compression, Placed};
use overboot_rootfs::{Root, provision};
use overboot_store::Layer;

use super::artifact::{Made, media_type, publish, publish_layers};
use super::image::{blocks, options, time};
use super::tree::{self, gone};
use crate::error::Error;
use crate::event::Event;
use crate::execute::Context;
use crate::lock::LOADERS;
use crate::plan::{Step, Target};

/// The annotation that gives a layer a file's name (OCI image specification, annotations).
pub(crate) const TITLE: &str = "org.opencontainers.image.title";

/// Where their package has them.
pub(crate) const LOADERS_FOLDER: &str = "usr/lib/ipxe";

/// The loaders that firmware is given, by the names that TFTP serves: BIOS, and UEFI on the network card's own driver or on
/// iPXE's.
const FILES: [&str; 3] = ["undionly.kpxe", "ipxe.efi", "snponly.efi"];

pub(crate) fn kernel(context: &Context<'_>, step: &Step) -> Result<u64, Error> {
    let kernel = kernel_of(context)?;
    publish(context, step, "vmlinuz", |out| {
        let image = kernel.image();
        let copied = fs_err::File::open(image).and_then(|mut file| std::io::copy(&mut file, out));
        let unpacked = copied.map_err(Error::io("store", image))?;
        Ok(Made {
            entries: 1,
            unpacked,
            facts: vec![("version", kernel.version().to_owned())],
            ..made(context)
        })
    })
}

pub(crate) fn modules(context: &Context<'_>, step: &Step, name: &str) -> Result<u64, Error> {
    let kernel = open(context, &step.target)?;
    let Some(modules) = context.recipe.modules.get(name) else { return Err(gone(&step.target)) };
    let patterns = Placed::values(&modules.include);
    let spec = layer::LayerSpec {
        patterns: &patterns,
        firmware: None,
        modification_time: time(context, &step.target),
    };
    context.log(&step.target)("packing");
    publish(context, step, "squashfs", |out| {
        let options = options(context, &step.target, Compression::Zstd);
        let (made_layer, packed) = layer::pack(&kernel, &spec, &options, out, &mut |_| {})?;
        unmatched(context, &step.target, &kernel, &modules.include, &made_layer.unmatched)?;
        let version = kernel.kernel().version().to_owned();
        Ok(Made {
            entries: packed.facts.names(),
            unpacked: packed.facts.bytes,
            facts: vec![("version", version), ("modules", made_layer.modules.len().to_string())],
            ..made(context)
        })
    })
}

pub(crate) fn initrd(context: &Context<'_>, step: &Step, name: &str) -> Result<u64, Error> {
    let kernel = open(context, &step.target)?;
    let Some(initrd) = context.recipe.initrds.get(name) else { return Err(gone(&step.target)) };
    let key = |(at, key): (usize, &String)| packing::InitrdFile {
        path: format!("etc/overboot/keys/{at}.pub"),
        mode: 0o644,
        content: format!("untrusted comment: a key that may sign boot sets\n{key}\n").into_bytes(),
    };
    let keys: Vec<_> = context.recipe.project.trust.iter().enumerate().map(key).collect();
    let patterns = Placed::values(&initrd.modules);
    let spec = packing::InitrdSpec {
        init: context.node,
        kernel: &kernel,
        patterns: &patterns,
        files: &keys,
        compression: packing::Zstd {
            threads: context.project.options().threads,
            cache: Some(blocks(context)),
            ..packing::Zstd::default()
        },
    };
    context.log(&step.target)("packing");
    publish(context, step, "cpio.zst", |out| {
        let packed = packing::pack(&spec, &mut *out)?;
        unmatched(context, &step.target, &kernel, &initrd.modules, &packed.unmatched)?;
        let version = kernel.kernel().version().to_owned();
        Ok(Made {
            entries: packed.facts.names(),
            unpacked: packed.facts.bytes,
            facts: vec![("version", version), ("modules", packed.modules.len().to_string())],
            ..made(context)
        })
    })
}

/// The network boot loaders, each a layer with its file's name.
pub(crate) fn loaders(context: &Context<'_>, step: &Step) -> Result<u64, Error> {
    let tree = tree::files(context, LOADERS)?;
    let mut layers = Vec::new();
    let mut size = 0;
    for name in FILES {
        let path = tree.join(LOADERS_FOLDER).join(name);
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            // Not every release has all of them; a client is then given the next best one.
            Err(error) if error.kind() == NotFound && !layers.is_empty() => {
                context.log(&step.target)(&format!("the package {LOADERS} has no {name}"));
                continue;
            }
            Err(error) => return Err(Error::io("find the boot loader", &path)(error)),
        };
        let mut blob = context.store.blob_writer()?;
        blob.write_all(&bytes).map_err(Error::io("store", &path))?;
        let layer = Layer::new(&media_type(&step.target, "loader"), blob.commit()?);
        layers.push(layer.annotated(TITLE, name));
        size += bytes.len() as u64;
    }
    let packages = context.lock.images.get(LOADERS);
    let packages = packages.map(|image| image.keys().cloned().collect()).unwrap_or_default();
    let made = Made { packages, entries: layers.len() as u64, unpacked: size, facts: Vec::new() };
    publish_layers(context, step, layers, made)?;
    Ok(size)
}

/// Puts modules, with all that they need, into a tree: copies of them into the folder `to`, or all that a layer of modules has, so
/// that modprobe finds them beside those that are there.
pub(crate) fn provide(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    include: &[Placed<String>],
    to: Option<&Placed<PathBuf>>,
) -> Result<(), Error> {
    let kernel = open(context, target)?;
    let patterns = Placed::values(include);
    let spec = layer::LayerSpec {
        patterns: &patterns,
        firmware: None,
        modification_time: time(context, target),
    };
    let found = layer::layer(&kernel, &spec)?;
    unmatched(context, target, &kernel, include, &found.unmatched)?;
    let place = to.map(|to| to.place).or(include.first().map(|first| first.place));
    let put = put((context, target), root, kernel.kernel().version(), &found, to);
    put.map_err(|error| error.placed(context.recipe, place.unwrap_or_default()))
}

fn put(
    (context, target): (&Context<'_>, &Target),
    root: &Root,
    version: &str,
    found: &layer::Layer,
    to: Option<&Placed<PathBuf>>,
) -> Result<(), Error> {
    let epoch = context.epoch(target);
    let mut lists = BTreeMap::new();
    for entry in &found.entries {
        let Kind::File(source) = &entry.kind else { continue };
        let path = PathBuf::from(String::from_utf8_lossy(&entry.path).into_owned());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut content = source.open().map_err(Error::io("read", &path))?;
        if !name.ends_with(".ko") {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
            lists.insert(name, bytes);
            continue;
        }
        let place = to.map_or_else(|| path.clone(), |to| to.join(&name));
        if let Some(to) = to {
            root.make_folder(&**to).map_err(|error| no_folder(to, &error))?;
        }
        provision::put(root, &place, 0o644, &mut content, epoch)?;
    }
    if to.is_some() {
        return Ok(());
    }
    let folder = Path::new("usr/lib/modules").join(version);
    let list = |name: &str| lists.get(name).cloned().unwrap_or_default();
    for name in ["modules.builtin", "modules.builtin.modinfo"] {
        provision::put(root, &folder.join(name), 0o644, &mut &list(name)[..], epoch)?;
    }
    for (name, bytes) in united(root, &folder, list)? {
        provision::put(root, &folder.join(name), 0o644, &mut &bytes[..], epoch)?;
    }
    Ok(())
}

fn no_folder(to: &Path, error: &overboot_rootfs::Error) -> Error {
    let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let message = format!("/{} of the image is no folder for modules: {why}", to.display());
    Error::told(message, "write a folder, or a path where nothing is yet")
}

/// depmod's files about the modules that a tree has and those that come now, whose own lists `new` gives.
fn united(
    root: &Root,
    folder: &Path,
    new: impl FnMut(&'static str) -> Vec<u8>,
) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let told = |source: overboot_kmod::Error| {
        Error::told(
            format!(
                "/{} of the image holds what depmod has not written: {source}",
                folder.display()
            ),
            "run `depmod` in a script before this step",
        )
    };
    let mut layers = Layers::default();
    // A tree without modules has none of these files.
    let mut there = BTreeMap::new();
    for name in overboot_kmod::layers::FILES {
        there.insert(name, root.read_text(folder.join(name))?.unwrap_or_default());
    }
    layers.add(|name| there.remove(name).unwrap_or_default().into_bytes()).map_err(told)?;
    layers.add(new).map_err(told)?;
    let index = layers.index(|_, path| root.exists(folder.join(path))).map_err(told)?;
    let mut files = index.files().map_err(told)?;
    files.push(("modules.order", index.order().into()));
    Ok(files)
}

pub(super) fn open(context: &Context<'_>, target: &Target) -> Result<Arc<KernelModules>, Error> {
    context.log(target)("reading the kernel's modules");
    let place = context.recipe.kernel.package.place;
    let placed = |error: overboot_pack::Error| Error::from(error).placed(context.recipe, place);
    context
        .kernel_modules(|| kernel_of(context)?.read_modules(Some(blocks(context))).map_err(placed))
}

/// The kernel in the package that the recipe names, if one is there.
fn kernel_of(context: &Context<'_>) -> Result<Kernel, Error> {
    let place = context.recipe.kernel.package.place;
    let kernel = Kernel::open(&tree::files(context, "kernel")?);
    kernel.map_err(|error| Error::from(error).placed(context.recipe, place))
}

fn made(context: &Context<'_>) -> Made {
    let packages = context.lock.images.get("kernel");
    let packages = packages.map(|image| image.keys().cloned().collect()).unwrap_or_default();
    Made { packages, ..Made::default() }
}

/// What is said of `patterns` that matched nothing. One may well do so in one kernel and match something in the next; it is no
/// error, and no secret. When of those that take something none does, it is one.
pub(super) fn unmatched(
    context: &Context<'_>,
    target: &Target,
    kernel: &KernelModules,
    patterns: &[Placed<String>],
    unmatched: &[String],
) -> Result<(), Error> {
    let idle = || patterns.iter().filter(|pattern| unmatched.contains(pattern));
    let version = kernel.kernel().version();
    let taking: Vec<_> = patterns.iter().filter(|pattern| !pattern.starts_with('!')).collect();
    let none = taking.iter().all(|pattern| unmatched.contains(pattern));
    if let (Some(first), true) = (taking.first(), none) {
        return Err(Error::told(
            format!(
                "{}no module of the kernel {version} matches {}",
                context.recipe.at(first.place),
                taking.iter().map(|pattern| pattern.as_str()).collect::<Vec<_>>().join(", ")
            ),
            "write names, or paths below the kernel's modules: \"kernel/drivers/char/ipmi/**\"",
        ));
    }
    for pattern in idle() {
        let place = context.recipe.at(pattern.place);
        let line = format!("{place}no module of the kernel {version} matches {pattern}");
        (context.progress)(Event::Warned { target: target.to_string(), line });
    }
    Ok(())
}
