//! The signed boot set.

use overboot_bootset::{Blob, BootSet, Layer as SetLayer, LayerFormat};
use overboot_merge::{Clash, clash};
use overboot_pack::image;
use overboot_pack::overlay::read_changes;
use overboot_store::{Artifact, Layer, layout};

use super::artifact::{Made, media_type, publish_layers};
use super::firmware;
use super::tree::gone;
use crate::error::Error;
use crate::execute::{Context, lock_of};
use crate::plan::{Step, Target};

/// What a node needs besides its layers: the kernel, its page tables, the running system and room to write.
const ROOM: u64 = 256 << 20;

pub(crate) fn set(context: &Context<'_>, step: &Step, name: &str) -> Result<u64, Error> {
    let recipe = context.recipe;
    let Some(signer) = context.signer else {
        return Err(Error::told("there is no key to sign boot sets with", "see `overboot init`"));
    };
    let Some(parts) = recipe.sets.get(name) else { return Err(gone(&step.target)) };
    let initrd_target = Target::Initrd(parts.initrd.clone().unwrap_or_default());
    let firmware_target = parts.firmware.clone().map(Target::Firmware);
    let modules = parts.modules.iter().cloned().map(Target::Modules);
    let overlays = parts.overlays.iter().map(|name| Target::Overlay(name.value.clone()));
    let base = Target::Base(parts.base.clone());
    let named = [Target::Kernel, initrd_target.clone()].into_iter().chain(firmware_target.clone());
    let named = named.chain(modules).chain([base]).chain(overlays);
    let kernel = blob(&find(context, &Target::Kernel)?);
    let initrd = find(context, &initrd_target)?;
    let firmware = firmware_target.as_ref();
    let firmware = firmware.map(|target| firmware::part(&find(context, target)?)).transpose()?;
    let modules = parts.modules.clone();
    let modules = modules.map(|name| layer(context, Target::Modules(name))).transpose()?;
    let base = layer(context, Target::Base(parts.base.clone()))?;
    let overlays = parts.overlays.iter();
    let overlays = overlays.map(|name| layer(context, Target::Overlay(name.value.clone())));
    let overlays = overlays.collect::<Result<Vec<_>, _>>()?;
    let mut said = Vec::new();
    for overlay in &parts.overlays {
        let path = context
            .store
            .blob_path(&find(context, &Target::Overlay(overlay.value.clone()))?.layer().digest);
        let image = fs_err::File::open(&path).map_err(Error::io("read", &path))?;
        said.push((overlay.as_str(), read_changes(overlay, &image::read_entries(image)?)?));
    }
    if let Some(clash) = clash(said.iter().map(|(name, changes)| (*name, changes))) {
        let Clash { kind, one, other } = clash;
        let above = parts.overlays.iter().find(|overlay| overlay.value == other.0);
        return Err(Error::told(
            format!(
                "{}overlay/{} has the {kind} {} as number {}, and overlay/{} has {} as {}",
                above.map(|overlay| recipe.at(overlay.place)).unwrap_or_default(),
                one.0,
                one.1,
                one.2,
                other.0,
                other.1,
                other.2
            ),
            format!(
                "give it a number of its own in overlay/{}, before the step that brings it: users = [{{ name = \"{}\", uid = …, system = true }}]",
                other.0, other.1
            ),
        ));
    }
    let mut set = BootSet {
        format: BootSet::FORMAT,
        name: name.to_owned(),
        kernel,
        initrd: vec![blob(&initrd)],
        firmware,
        modules,
        base,
        overlays,
        cmdline: recipe.kernel.cmdline.clone(),
        ram_min: 0,
    };
    // The initrd stands in memory unpacked beside the layers until the root has been switched. Firmware is not reckoned: for the few
    // machines that get it, it has to do with the room.
    let unpacked = super::artifact::record(context.store, &initrd_target)?;
    set.ram_min = set.layer_bytes() + unpacked.map_or(0, |record| record.unpacked) + ROOM;
    let bytes = set.to_bytes()?;
    let signature = signer.sign(&bytes, name)?;
    let json = context.store.put_bytes(&bytes)?;
    let signature = context.store.put_bytes(signature.as_bytes())?;
    let mut layers = vec![
        Layer::new(&media_type(&step.target, "json"), json),
        Layer::new(&media_type(&step.target, "minisig"), signature),
    ];
    // With their manifests it stays known what they are, and how they were made.
    for target in named {
        let part = find(context, &target)?;
        let layer = Layer::new(layout::PART, part.descriptor);
        layers.push(layer.annotated(layout::TARGET, &part.target));
    }
    let facts = vec![("layers", set.layers().count().to_string())];
    let made = Made { unpacked: set.layer_bytes(), facts, ..Made::default() };
    publish_layers(context, step, layers, made)?;
    Ok(set.layer_bytes())
}

fn find(context: &Context<'_>, target: &Target) -> Result<Artifact, Error> {
    let found = context.store.get(&target.to_string())?;
    found.ok_or_else(|| {
        Error::told(
            format!("{target} is not in the store"),
            format!("run `overboot build {target}`"),
        )
    })
}

fn blob(artifact: &Artifact) -> Blob {
    Blob { digest: artifact.layer().digest, size: artifact.layer().size }
}

fn layer(context: &Context<'_>, target: Target) -> Result<SetLayer, Error> {
    let mut layers = lock_of(&context.layers);
    if let Some(layer) = layers.get(&target) {
        return Ok(layer.clone());
    }
    let artifact = find(context, &target)?;
    let path = context.store.blob_path(&artifact.layer().digest);
    let open = fs_err::File::open(&path).map_err(Error::io("read", &path))?;
    // `base/base` is the layer `base`, `overlay/discovery` the layer `discovery`.
    let name = target.to_string();
    let name = name.rsplit('/').next().unwrap_or_default();
    let layer = SetLayer::of_reader(name, LayerFormat::Squashfs, std::io::BufReader::new(open));
    let layer = layer.map_err(Error::io("read", &path))?;
    layers.insert(target, layer.clone());
    Ok(layer)
}
