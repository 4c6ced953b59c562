//! What an image was made from.

use std::collections::BTreeMap;

use overboot_digest::Digest;
use serde::{Deserialize, Serialize};

/// The record of an image. No clock and no host in it: the same inputs give the same record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Such as `base/base`.
    pub target: String,
    /// The digest of `inputs`: what the step's key was.
    pub key: Digest,
    /// Everything that the step read, by name.
    pub inputs: BTreeMap<String, String>,
    /// The packages in it, `name=version`, in the order of unpacking.
    pub packages: Vec<String>,
    /// How many entries its tree has.
    pub entries: u64,
    /// The size of its files in bytes, before compression.
    pub unpacked: u64,
    /// What an overlay was built on: the digest of its base's [`Contents`](crate::Contents).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<Digest>,
    /// Further facts for people, such as the kernel's version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

impl Record {
    /// The time that nothing in it is younger than, in seconds since 1970; 0 where it does not say.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inputs.get("epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
    }
}
