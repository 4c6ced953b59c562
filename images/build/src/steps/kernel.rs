//! What is made from a package's files alone: kernel, modules, initrd, boot loaders.

use std::io::Write;
use std::sync::Arc;

use overboot_pack::{Kernel, KernelModules, initrd as packing, modules as layer};
use overboot_recipe::Compression;
use overboot_store::Layer;

use super::artifact::{Made, media_type, publish, publish_layers};
use super::image::{options, time};
use super::tree::{self, gone};
use crate::error::Error;
use crate::execute::Context;
use crate::lock::LOADERS;
use crate::plan::Step;

/// The annotation that gives a layer a file's name (OCI image specification, annotations).
pub(crate) const TITLE: &str = "org.opencontainers.image.title";

/// Where their package has them.
pub(crate) const LOADERS_FOLDER: &str = "usr/lib/ipxe";

/// The loaders that firmware is given, by the names that TFTP serves: BIOS, and UEFI on the network card's own driver or on
/// iPXE's.
const FILES: [&str; 3] = ["undionly.kpxe", "ipxe.efi", "snponly.efi"];

pub(crate) fn kernel(context: &Context<'_>, step: &Step) -> Result<u64, Error> {
    let kernel = Kernel::open(&tree::files(context, "kernel")?)?;
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
    let kernel = open(context, step)?;
    let Some(modules) = context.recipe.modules.get(name) else { return Err(gone(&step.target)) };
    let spec = layer::LayerSpec {
        patterns: &modules.include,
        firmware: None,
        modification_time: time(context),
    };
    context.log(&step.target)("packing");
    publish(context, step, "squashfs", |out| {
        let options = options(context, Compression::Zstd);
        let (made_layer, packed) = layer::pack(&kernel, &spec, &options, out, &mut |_| {})?;
        warn(context, step, &made_layer.unmatched);
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
    let kernel = open(context, step)?;
    let Some(initrd) = context.recipe.initrds.get(name) else { return Err(gone(&step.target)) };
    let key = |(at, key): (usize, &String)| packing::InitrdFile {
        path: format!("etc/overboot/keys/{at}.pub"),
        mode: 0o644,
        content: format!("untrusted comment: a key that may sign boot sets\n{key}\n").into_bytes(),
    };
    let keys: Vec<_> = context.recipe.project.trust.iter().enumerate().map(key).collect();
    let spec = packing::InitrdSpec {
        init: context.node,
        kernel: &kernel,
        patterns: &initrd.modules,
        firmware: None,
        files: &keys,
        compression: packing::Zstd {
            threads: context.project.options().threads,
            ..packing::Zstd::default()
        },
    };
    context.log(&step.target)("packing");
    publish(context, step, "cpio.zst", |out| {
        let packed = packing::pack(&spec, &mut *out)?;
        warn(context, step, &packed.unmatched);
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
        let bytes = fs_err::read(&path).map_err(Error::io("find the boot loader", &path))?;
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

fn open(context: &Context<'_>, step: &Step) -> Result<Arc<KernelModules>, Error> {
    context.log(&step.target)("reading the kernel's modules");
    context.kernel_modules(|| Ok(Kernel::open(&tree::files(context, "kernel")?)?.read_modules()?))
}

fn made(context: &Context<'_>) -> Made {
    let packages = context.lock.images.get("kernel");
    let packages = packages.map(|image| image.keys().cloned().collect()).unwrap_or_default();
    Made { packages, ..Made::default() }
}

/// A pattern may well match nothing in one kernel and something in the next; it is no error, and no secret.
fn warn(context: &Context<'_>, step: &Step, unmatched: &[String]) {
    for pattern in unmatched {
        context.log(&step.target)(&format!("no module of this kernel matches {pattern}"));
    }
}
