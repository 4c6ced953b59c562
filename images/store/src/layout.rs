//! The JSON documents of an OCI image layout (OCI image specification 1.1). Pure: what they say, not where they are.

use std::collections::BTreeMap;

use overboot_digest::Digest;
use serde::{Deserialize, Serialize};

use crate::generation;

/// The media type of manifests.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of `index.json`.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The config of an artifact without a record: `{}` ("guidance for an empty descriptor").
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The annotation that names an artifact in `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation of a manifest that says which target it was made as: what it is called in a registry, whose tags have no
/// slash, is no more than an address.
pub const TARGET: &str = "vnd.overboot.target";
/// The media type of a layer that is the manifest of another artifact which this one names: with it is known how that was made,
/// also when its name has gone on to the next. Its annotation [`TARGET`] says as what it was made.
pub const PART: &str = "application/vnd.overboot.part.v1+json";

/// The annotation that says from which registry an artifact was pulled: what its record says was not made here.
pub const ORIGIN: &str = "vnd.overboot.origin";

/// Content by its digest and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Content with what it is: a *descriptor* of the specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Its media type.
    pub media_type: String,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What the manifest that it describes is of; only in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Further facts about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What else it says (`urls`, `platform`): kept as it is.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Layer {
    /// Content of that media type.
    #[must_use]
    pub fn new(media_type: &str, content: Descriptor) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: content.digest,
            size: content.size,
            artifact_type: None,
            annotations: BTreeMap::new(),
            other: serde_json::Map::new(),
        }
    }

    /// The same with one more annotation.
    #[must_use]
    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Its digest and length.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor { digest: self.digest, size: self.size }
    }
}

/// What an artifact is made of: a *manifest* of the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactManifest {
    /// Its kind, a media type: `application/vnd.overboot.base.v1`.
    pub artifact_type: String,
    /// Its content, at least one; the first is the artifact itself.
    pub layers: Vec<Layer>,
    /// How it came to be; `None` where nothing is told.
    pub record: Option<Layer>,
    /// Facts about it that can be read without its content.
    pub annotations: BTreeMap<String, String>,
}

impl ArtifactManifest {
    /// An artifact of one layer, without a record.
    #[must_use]
    pub fn new(artifact_type: &str, layer: Layer) -> Self {
        Self {
            artifact_type: artifact_type.to_owned(),
            layers: vec![layer],
            record: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The same with a record of that media type, `…+json`.
    #[must_use]
    pub fn with_record(mut self, media_type: &str, record: Descriptor) -> Self {
        self.record = Some(Layer::new(media_type, record));
        self
    }

    /// The same with one more layer.
    #[must_use]
    pub fn with_layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// The same with one more annotation.
    #[must_use]
    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// All content it names.
    pub fn contents(&self) -> impl Iterator<Item = Descriptor> {
        self.layers.iter().chain(&self.record).map(Layer::descriptor)
    }

    /// Its JSON, the same for the same manifest. `empty` is the descriptor of `{}`.
    pub(crate) fn to_json(&self, empty: Descriptor) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: Some(self.artifact_type.clone()),
            config: self.record.clone().unwrap_or_else(|| Layer::new(EMPTY, empty)),
            layers: self.layers.clone(),
            annotations: self.annotations.clone(),
        }
    }
}

/// A manifest as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Layer,
    layers: Vec<Layer>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// What it says, or what is wrong with it.
    pub(crate) fn into_artifact(self) -> Result<ArtifactManifest, String> {
        if self.schema_version != 2 || !matches!(self.media_type.as_str(), MANIFEST | "") {
            return Err("it is not an OCI image manifest".to_owned());
        }
        if self.layers.is_empty() {
            return Err("it has no layer".to_owned());
        }
        Ok(ArtifactManifest {
            // Where a manifest names no kind, its config's media type is the kind ("manifest", artifactType).
            artifact_type: self.artifact_type.unwrap_or_else(|| self.config.media_type.clone()),
            layers: self.layers,
            record: (self.config.media_type != EMPTY).then_some(self.config),
            annotations: self.annotations,
        })
    }
}

/// `index.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default = "index_media_type")]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Layer>,
    /// Facts that outlive all names, of ours and of others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// What another tool has put there: kept.
    #[serde(flatten)]
    pub(crate) other: serde_json::Map<String, serde_json::Value>,
}

fn index_media_type() -> String {
    INDEX.to_owned()
}

impl Index {
    /// An index of nothing.
    pub(crate) fn empty() -> Self {
        Self {
            schema_version: 2,
            media_type: index_media_type(),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
            other: serde_json::Map::new(),
        }
    }

    pub(crate) fn find(&self, target: &str) -> Option<&Layer> {
        self.manifests.iter().find(|manifest| name(manifest) == Some(target))
    }

    /// Names `manifest` as `target`, in the place of what had that name; in the order of names.
    pub(crate) fn set(&mut self, target: &str, manifest: Layer) {
        self.remove(target);
        self.manifests.push(manifest.annotated(REF_NAME, target));
        self.manifests.sort_by(|a, b| name(a).cmp(&name(b)));
    }

    pub(crate) fn remove(&mut self, target: &str) {
        self.manifests.retain(|manifest| name(manifest) != Some(target));
    }

    /// Takes names away, but for those of generations that are served by now.
    pub(crate) fn forget(&mut self, targets: &[String]) {
        let served = generation::generations(self).into_iter().filter(|one| one.served);
        let served: Vec<String> = served.map(|one| one.target()).collect();
        for target in targets.iter().filter(|target| !served.contains(target)) {
            self.remove(target);
        }
    }
}

/// The name that the index gives a manifest.
pub(crate) fn name(manifest: &Layer) -> Option<&str> {
    manifest.annotations.get(REF_NAME).map(String::as_str)
}

/// `oci-layout`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayoutVersion {
    pub(crate) image_layout_version: String,
}
