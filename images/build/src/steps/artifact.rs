//! An image and its record into the store.

use overboot_digest::Digest;
use overboot_record::{CONTENTS, Looked, RECORD, Record};
use overboot_store::{ArtifactManifest, BlobWriter, Layer, Store, layout};

use super::contents;
use crate::contract;
use crate::error::Error;
use crate::execute::Context;
use crate::plan::{Step, Target};

/// What an image's maker knows of it.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) packages: Vec<String>,
    pub(crate) entries: u64,
    pub(crate) unpacked: u64,
    pub(crate) facts: Vec<(&'static str, String)>,
}

/// Writes an image by `write` and gives it the step's target as its name. Returns its size.
pub(crate) fn publish(
    context: &Context<'_>,
    step: &Step,
    format: &str,
    write: impl FnOnce(&mut BlobWriter) -> Result<Made, Error>,
) -> Result<u64, Error> {
    let mut blob = context.store.blob_writer()?;
    let made = write(&mut blob)?;
    let descriptor = blob.commit()?;
    let layer = Layer::new(&media_type(&step.target, format), descriptor);
    publish_layers(context, step, vec![layer], made)?;
    Ok(descriptor.size)
}

/// Names layers that are in the store already, and adds as the last ones what is in them and the facts for the overlay contract.
pub(crate) fn publish_layers(
    context: &Context<'_>,
    step: &Step,
    mut layers: Vec<Layer>,
    made: Made,
) -> Result<(), Error> {
    let Looked { listing, entries } = contents::read(context, step, &layers)?;
    let (contents, facts) = std::thread::scope(|scope| {
        let store = context.store;
        let facts =
            scope.spawn(move || contract::of_image(store, context.recipe, &step.target, entries));
        let contents = contents::of(context, step, &layers, listing);
        (contents, facts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let contents = contents?;
    let beneath = contents.as_ref().and_then(|contents| contents.beneath.as_ref());
    let beneath = beneath.map(|base| base.contents);
    if let Some(contents) = contents {
        layers.push(Layer::new(CONTENTS, context.store.put_bytes(&contents.to_bytes())?));
    }
    layers.extend(facts?);
    let record = Record {
        target: step.target.to_string(),
        key: step.key,
        inputs: step.inputs().clone(),
        packages: made.packages,
        entries: made.entries,
        unpacked: made.unpacked,
        beneath,
        facts: made.facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    };
    let record = serde_json::to_vec(&record).unwrap_or_default();
    let record = context.store.put_bytes(&record)?;
    let mut layers = layers.into_iter();
    let Some(first) = layers.next() else { return Ok(()) };
    let manifest = ArtifactManifest::new(&artifact_type(&step.target), first);
    let target = step.target.to_string();
    let manifest = layers
        .fold(manifest, ArtifactManifest::with_layer)
        .with_record(RECORD, record)
        .annotated(layout::TARGET, &target);
    context.store.publish(&target, &manifest)?;
    Ok(())
}

/// The record of what the store has under a target's name; nothing where it has none, one that is not of ours, or one that is
/// not whole: then it is built again, which puts it right.
pub(crate) fn record(store: &Store, target: &Target) -> Result<Option<Record>, Error> {
    use overboot_store::Error::{Blob, Manifest};
    let artifact = match store.get(&target.to_string()) {
        Ok(Some(artifact)) => artifact,
        Ok(None) | Err(Blob { .. } | Manifest { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Nobody has signed what the record of a pulled image says: to believe it would be to sign an image of unknown making.
    if artifact.origin.is_some() {
        return Ok(None);
    }
    let Some(record) = artifact.record() else { return Ok(None) };
    let whole = artifact.manifest.layers.iter().all(|layer| store.has_blob(layer.descriptor()));
    if !whole {
        return Ok(None);
    }
    let bytes = fs_err::read(store.blob_path(&record.digest)).ok();
    let bytes = bytes.filter(|bytes| Digest::of(bytes) == record.digest);
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The digest of the contents of what the store has under a target's name, where that is known.
pub(crate) fn contents_digest(store: &Store, target: &Target) -> Result<Option<Digest>, Error> {
    use overboot_store::Error::{Blob, Manifest};
    let artifact = match store.get(&target.to_string()) {
        Ok(artifact) => artifact,
        Err(Blob { .. } | Manifest { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let layers = artifact.map(|artifact| artifact.manifest.layers).unwrap_or_default();
    let contents = layers.iter().find(|layer| layer.media_type == CONTENTS);
    Ok(contents.map(|layer| layer.digest))
}

/// Why what the store has under a target's name is none of ours.
pub(crate) fn why_unusable(store: &Store, target: &Target) -> String {
    let artifact = store.get(&target.to_string()).ok().flatten();
    match artifact.and_then(|artifact| artifact.origin) {
        Some(origin) => format!("what the store has of it was pulled from {origin}"),
        None => "what the store has of it is not whole".to_owned(),
    }
}

/// `application/vnd.overboot.base.v1`.
fn artifact_type(target: &Target) -> String {
    let name = target.to_string();
    let kind = name.split('/').next().unwrap_or_default().to_owned();
    format!("application/vnd.overboot.{kind}.v1")
}

/// `application/vnd.overboot.base.v1.squashfs`.
pub(crate) fn media_type(target: &Target, format: &str) -> String {
    format!("{}.{format}", artifact_type(target))
}
