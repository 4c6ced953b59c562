//! What network cards must be given before they reach the network: a second part of the initrd.

use overboot_bootset::{Card, Firmware};
use overboot_pack::firmware as packing;
use overboot_pack::initrd::Zstd;
use overboot_recipe::Placed;
use overboot_store::{Artifact, Layer};

use super::artifact::{Made, media_type, publish_layers};
use super::image::blocks;
use super::kernel::{open, unmatched};
use super::tree::{self, gone};
use crate::error::Error;
use crate::event::Event;
use crate::execute::Context;
use crate::plan::Step;

/// The annotation that names the cards for which it is.
const CARDS: &str = "org.overboot.cards";

pub(crate) fn firmware(context: &Context<'_>, step: &Step, name: &str) -> Result<u64, Error> {
    let kernel = open(context, &step.target)?;
    let Some(firmware) = context.recipe.firmware.get(name) else { return Err(gone(&step.target)) };
    let image = step.target.packages();
    let patterns = Placed::values(&firmware.modules);
    let spec = packing::FirmwareSpec {
        kernel: &kernel,
        patterns: &patterns,
        root: &tree::files(context, &image)?,
        compression: Zstd {
            threads: context.project.options().threads,
            cache: Some(blocks(context)),
            ..Zstd::default()
        },
    };
    context.log(&step.target)("packing");
    let mut blob = context.store.blob_writer()?;
    let packed = packing::pack(&spec, &mut blob)?;
    unmatched(context, &step.target, &kernel, &firmware.modules, &packed.unmatched)?;
    let place = firmware.packages.first().map(|first| first.place).unwrap_or_default();
    let place = context.recipe.at(place);
    if packed.cards.is_empty() {
        return Err(Error::told(
            format!("{place}none of these packages has what a driver of a PCI card asks for"),
            format!("write the packages that have it, or take [firmware.{name}] out"),
        ));
    }
    if packed.cards.len() > Firmware::MAX_CARDS {
        return Err(Error::told(
            format!(
                "{place}these drivers are of {} cards, and a boot set names at most {}",
                packed.cards.len(),
                Firmware::MAX_CARDS
            ),
            format!(
                "name in [firmware.{name}] the drivers alone that reach no network without firmware"
            ),
        ));
    }
    for driver in &packed.lacking {
        let line = format!("{place}none of these packages has what {driver} asks for");
        (context.progress)(Event::Warned { target: step.target.to_string(), line });
    }
    let blob = blob.commit()?;
    let packages = context.lock.images.get(&image);
    let made = Made {
        packages: packages.map(|image| image.keys().cloned().collect()).unwrap_or_default(),
        entries: packed.facts.names(),
        unpacked: packed.facts.bytes,
        facts: vec![
            ("version", kernel.kernel().version().to_owned()),
            ("cards", packed.cards.len().to_string()),
        ],
    };
    let layer = Layer::new(&media_type(&step.target, "cpio.zst"), blob);
    publish_layers(context, step, vec![layer.annotated(CARDS, &packed.cards.join(" "))], made)?;
    Ok(blob.size)
}

/// What a boot set says of it.
pub(super) fn part(artifact: &Artifact) -> Result<Firmware, Error> {
    let layer = artifact.layer();
    let cards = layer.annotations.get(CARDS).map(String::as_str).unwrap_or_default();
    let cards: Result<Vec<Card>, String> = cards.split_whitespace().map(str::parse).collect();
    let cards = cards.map_err(|reason| {
        let target = &artifact.target;
        Error::told(
            format!("{target} in the store is damaged: {reason}"),
            format!("run `overboot build {target}`"),
        )
    })?;
    Ok(Firmware { digest: layer.digest, size: layer.size, cards })
}
