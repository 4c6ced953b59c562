//! The documents that registries pass around: manifests and indexes, OCI's and Docker's. Pure.

use std::collections::BTreeMap;

use overboot_store::Layer;
pub(crate) use overboot_store::layout::{INDEX, MANIFEST};
use serde::{Deserialize, Serialize};

/// Docker's names for the same two documents (image manifest version 2, schema 2).
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The largest document: what registries take.
pub(crate) const LARGEST: u64 = 4 << 20;

/// What an image or artifact is made of.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) config: Layer,
    pub(crate) layers: Vec<Layer>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A list of manifests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) manifests: Vec<Layer>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Either.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Reads one of that media type; what is wrong with it.
    pub(crate) fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, String> {
        // The type that the document gives itself counts where it does, so that a registry's header cannot make one of the
        // other.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            schema_version: Option<u32>,
            media_type: Option<String>,
        }
        let wrong = |error: serde_json::Error| format!("it cannot be read: {error}");
        let head: Head = serde_json::from_slice(bytes).map_err(wrong)?;
        if head.schema_version != Some(2) {
            return Err("it is no manifest of schema version 2".to_owned());
        }
        let media_type = head.media_type.as_deref().unwrap_or(media_type);
        match media_type {
            MANIFEST | DOCKER_MANIFEST => {
                Ok(Self::Manifest(serde_json::from_slice(bytes).map_err(wrong)?))
            }
            INDEX | DOCKER_LIST => {
                let mut value: serde_json::Value = serde_json::from_slice(bytes).map_err(wrong)?;
                // Optional in OCI's index.
                value["mediaType"] = media_type.into();
                Ok(Self::Index(serde_json::from_value(value).map_err(wrong)?))
            }
            other => {
                let other: String = other.chars().take(100).collect();
                Err(format!("it is neither a manifest nor an index, but \"{other}\""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_what_it_says_of_itself() {
        let digest = overboot_digest::Digest::of("");
        let layer = format!(r#"{{"mediaType":"x","digest":"{digest}","size":1}}"#);
        let manifest = |head: &str| {
            format!(r#"{{"schemaVersion":2{head},"config":{layer},"layers":[{layer}]}}"#)
        };
        let oci = format!(r#","mediaType":"{MANIFEST}""#);
        let parse = |media_type: &str, text: &str| Document::parse(media_type, text.as_bytes());
        assert!(matches!(parse(INDEX, &manifest(&oci)), Ok(Document::Manifest(_))));
        assert!(matches!(parse(DOCKER_MANIFEST, &manifest("")), Ok(Document::Manifest(_))));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{layer}]}}"#);
        assert!(matches!(parse(INDEX, &index), Ok(Document::Index(_))));
        for (media_type, text) in [
            (MANIFEST, index.as_str()),
            ("text/html", "<html>"),
            ("text/plain", &manifest("")),
            (MANIFEST, "[]"),
            (MANIFEST, r#"{"schemaVersion":1}"#),
            (INDEX, "7"),
        ] {
            assert!(parse(media_type, text).is_err(), "{media_type} {text}");
        }
    }
}
