//! Where in a store an image's record and contents are.

use std::path::Path;

use overboot_digest::Digest;
use overboot_store::{Artifact, Layer, Store, layout};

use crate::{Contents, Error, Record};

/// The media type of records.
pub const RECORD: &str = "application/vnd.overboot.record.v1+json";

/// The media type of the layer with the contents: JSON, compressed.
pub const CONTENTS: &str = "application/vnd.overboot.contents.v1.json+zstd";

/// The media type of the layer with the facts of the overlay contract (`overboot-contract`), of a base or of an overlay.
pub const CONTRACT: &str = "application/vnd.overboot.contract.v1.json+zstd";

/// Is a layer the image itself, or a part of it, and not what is kept of it?
#[must_use]
pub fn is_image(layer: &Layer) -> bool {
    ![CONTENTS, CONTRACT, layout::PART].contains(&layer.media_type.as_str())
}

/// The largest record that is read.
const LARGEST_RECORD: u64 = 64 << 20;
/// The largest contents that are read, compressed.
const LARGEST_CONTENTS: u64 = 256 << 20;

/// The record of an artifact; `None` where it has none.
///
/// # Errors
/// It is not there, or damaged.
pub fn record(store: &Store, artifact: &Artifact) -> Result<Option<Record>, Error> {
    let Some(layer) = artifact.record().filter(|layer| layer.media_type == RECORD) else {
        return Ok(None);
    };
    let bytes = blob(store, artifact, layer, LARGEST_RECORD)?;
    let damaged = |error: serde_json::Error| Error::Damaged {
        target: artifact.target.clone(),
        reason: error.to_string(),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// The contents of an artifact, and the digest by which they are stored; `None` where it has none: a boot set, or what an
/// older program made.
///
/// # Errors
/// They are not there, or damaged.
pub fn contents(store: &Store, artifact: &Artifact) -> Result<Option<(Contents, Digest)>, Error> {
    let Some(layer) = artifact.manifest.layers.iter().find(|layer| layer.media_type == CONTENTS)
    else {
        return Ok(None);
    };
    let bytes = blob(store, artifact, layer, LARGEST_CONTENTS)?;
    let damaged = |reason| Error::Damaged { target: artifact.target.clone(), reason };
    let contents = Contents::parse(&bytes).map_err(damaged)?;
    Ok(Some((contents, layer.digest)))
}

fn blob(store: &Store, artifact: &Artifact, layer: &Layer, largest: u64) -> Result<Vec<u8>, Error> {
    let damaged = |reason: &str| Error::Damaged {
        target: artifact.target.clone(),
        reason: format!("{} is {reason}", layer.digest),
    };
    if layer.size > largest {
        return Err(damaged("larger than anything of its kind"));
    }
    if !store.has_blob(layer.descriptor()) {
        return Err(damaged("missing, or of another size"));
    }
    let path = store.blob_path(&layer.digest);
    let bytes = read(&path)?;
    if Digest::of(&bytes) != layer.digest {
        return Err(damaged("damaged"));
    }
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs_err::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
