//! A tree into a base or an overlay.

use std::sync::Arc;

use overboot_pack::blocks::BlockDirectory;
use overboot_pack::{Facts, ScanOptions, image, overlay as upper};
use overboot_recipe::Compression;
use overboot_squashfs::{Compression as Squash, Options};

use super::artifact::{Made, contents_digest, publish};
use super::tree::{self, gone};
use crate::error::Error;
use crate::execute::Context;
use crate::plan::{Step, Target};

/// Zstandard's strongest level that needs no more memory to read than the ones below it. Packing is done once, and every node
/// fetches it.
const ZSTD_LEVEL: i32 = 19;

/// Bytes of compressed blocks and modules to keep for the next time: more than ten generations of a base and its overlays.
const BLOCKS_LIMIT: u64 = 2 << 30;

pub(crate) fn base(context: &Context<'_>, step: &Step, name: &str) -> Result<u64, Error> {
    let tree = tree::base(context, name)?;
    context.schedule.has_tree(&step.target);
    let compression = context.recipe.bases.get(name).map_or(Compression::Zstd, |b| b.compression);
    context.log(&step.target)("packing");
    publish(context, step, "squashfs", |out| {
        let options = options(context, &step.target, compression);
        let packed =
            image::write_squashfs(&tree, &scan(context, &step.target), &options, out, &mut |_| {})?;
        Ok(made(context, step, &packed.facts))
    })
    .and_then(|size| {
        tree::note_packed(&tree, contents_digest(context.store, &step.target)?)?;
        Ok(size)
    })
}

pub(crate) fn overlay(context: &Context<'_>, step: &Step, name: &str) -> Result<u64, Error> {
    let tree = tree::upper(context, name)?;
    context.schedule.has_tree(&step.target);
    let Some(overlay) = context.recipe.overlays.get(name) else { return Err(gone(&step.target)) };
    context.log(&step.target)("packing");
    publish(context, step, "squashfs", |out| {
        let options = options(context, &step.target, overlay.compression);
        let packed =
            upper::write_squashfs(&tree, &scan(context, &step.target), &options, out, &mut |_| {})?;
        // What is in it is told by what is in its base.
        context.schedule.wait_for(&Target::Base(overlay.base.value.clone()))?;
        Ok(made(context, step, &packed.facts))
    })
}

/// How squashfs images are written; also for modules.
pub(crate) fn options(context: &Context<'_>, target: &Target, compression: Compression) -> Options {
    Options {
        compression: match compression {
            Compression::Zstd => Squash::Zstd { level: ZSTD_LEVEL },
            Compression::Xz => Squash::Xz,
            Compression::Gzip => Squash::Gzip { level: 9 },
            Compression::Lz4 => Squash::Lz4,
        },
        threads: context.project.options().threads,
        modification_time: time(context, target),
        cache: Some(blocks(context)),
        ..Options::default()
    }
}

/// What was compressed, or decompressed, before.
pub(crate) fn blocks(context: &Context<'_>) -> Arc<BlockDirectory> {
    Arc::new(BlockDirectory::open(context.project.blocks(), BLOCKS_LIMIT))
}

/// The time of everything that has none of its own: squashfs and cpio count seconds in 32 bits.
pub(crate) fn time(context: &Context<'_>, target: &Target) -> u32 {
    u32::try_from(context.epoch(target)).unwrap_or(u32::MAX)
}

fn scan(context: &Context<'_>, target: &Target) -> ScanOptions {
    ScanOptions { latest_mtime: time(context, target), ..ScanOptions::default() }
}

fn made(context: &Context<'_>, step: &Step, facts: &Facts) -> Made {
    let packages = context.lock.images.get(&step.target.to_string());
    Made {
        packages: packages.map(|image| image.keys().cloned().collect()).unwrap_or_default(),
        entries: facts.names(),
        unpacked: facts.bytes,
        facts: Vec::new(),
    }
}
