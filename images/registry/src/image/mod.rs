//! A container image as a source: what a reference means now, pinned by digest; and that, as files of layers in a cache.
//!
//! ```no_run
//! use overboot_registry::image::{self, Platform, Reference, Source};
//! # fn main() -> Result<(), overboot_registry::Error> {
//! let reference: Reference = "docker.io/debian:trixie-slim".parse()?;
//! let source = Source {
//!     reference: &reference,
//!     platform: &"linux/amd64".parse::<Platform>()?,
//!     options: &Default::default(),
//!     tell: &|_| {},
//! };
//! // Into the lock:
//! let manifest = image::resolve(&source)?;
//! // From the lock; with a full cache without the network:
//! let image = image::fetch(&source, manifest, "cache/images".as_ref(), false)?;
//! # let _ = image.layers;
//! # Ok(())
//! # }
//! ```

mod cache;
mod origin;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use overboot_digest::Digest;
pub use overboot_oci::{Platform, Reference};
use overboot_store::{Descriptor, Layer};
use serde::Deserialize;

use self::cache::Cache;
use self::origin::Origin;
use crate::document::{self, Document, Index, Manifest};
use crate::event::Tell;
use crate::{Error, Event, Options, parallel};

/// More layers than any builder makes (overlayfs itself takes 500).
const MOST_LAYERS: usize = 512;
/// The largest layer: far above those of the largest images, far below the end of a disk.
const LARGEST_LAYER: u64 = 64 << 30;
/// How deep indexes may lie in each other.
const DEEPEST: usize = 3;

/// Which image, for which machines, and how to get at it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Which one.
    pub reference: &'a Reference,
    /// For which machines.
    pub platform: &'a Platform,
    /// How to speak to its registry.
    pub options: &'a Options,
    /// Who hears of it.
    pub tell: Tell<'a>,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({} for {})", self.reference, self.platform)
    }
}

/// An image, whole and checked, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its manifest: what a lock pins.
    pub manifest: Digest,
    /// Its config.
    pub config: Digest,
    /// Its layers, lowest first: tar archives, plain or compressed with gzip or zstd.
    pub layers: Vec<LayerFile>,
}

/// A layer as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its content, as it is in the file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The manifest that the reference means now, for the platform.
///
/// # Errors
/// The image is not there, or has nothing for the platform; or why its registry cannot be asked.
pub fn resolve(source: &Source<'_>) -> Result<Digest, Error> {
    let origin = Origin::open(source.reference, source.options)?;
    let mut fetched = origin.named(source.reference)?;
    for _ in 0..DEEPEST {
        let wrong = |reason| Error::document(source.reference.to_string(), reason);
        match Document::parse(&fetched.media_type, &fetched.bytes).map_err(wrong)? {
            Document::Manifest(manifest) => {
                let config = origin.small(manifest.config.descriptor())?;
                check_platform(source, &parse_config(source, &config)?)?;
                return Ok(fetched.descriptor.digest);
            }
            Document::Index(index) => fetched = origin.document(pick(source, &index)?)?,
        }
    }
    Err(Error::document(source.reference.to_string(), "its indexes name indexes without end"))
}

/// The image with that manifest, in `cache`: what is there already is checked and not fetched again.
///
/// # Errors
/// [`Error::Offline`] where the network may not be used and something is missing; [`Error::WrongDigest`] for content that is not
/// what it is called; [`Error::Platform`]; or why its registry cannot be asked.
pub fn fetch(
    source: &Source<'_>,
    manifest: Digest,
    cache: &Path,
    offline: bool,
) -> Result<Image, Error> {
    let cache = Cache::open(cache)?;
    let origin = OnDemand { source, offline, origin: std::sync::OnceLock::new() };
    let bytes = match cache.read(manifest)? {
        Some(bytes) => bytes,
        None => {
            let fetched = origin.get(manifest)?.document(manifest)?;
            cache.write(manifest, &fetched.bytes)?;
            fetched.bytes
        }
    };
    let wrong =
        |reason: String| Error::document(format!("{} ({manifest})", source.reference), reason);
    let parsed = match Document::parse(document::MANIFEST, &bytes).map_err(wrong)? {
        Document::Manifest(parsed) => parsed,
        Document::Index(_) => return Err(wrong("it is an index and no image".to_owned())),
    };
    check_layers(&parsed).map_err(wrong)?;
    let config = parsed.config.descriptor();
    let mut wanted = vec![config];
    wanted.extend(parsed.layers.iter().map(Layer::descriptor));
    wanted.sort_by_key(|blob| (std::cmp::Reverse(blob.size), blob.digest));
    wanted.dedup();
    bring(&origin, &cache, &wanted)?;

    let config_bytes = cache.read(config.digest)?;
    let config_bytes = config_bytes.ok_or_else(|| wrong("its config is gone".to_owned()))?;
    let facts = parse_config(source, &config_bytes)?;
    check_platform(source, &facts)?;
    if facts.rootfs.diff_ids.len() != parsed.layers.len() {
        return Err(wrong("its config knows of another number of layers".to_owned()));
    }
    let file = |layer: &Layer| LayerFile {
        path: cache.path(layer.digest),
        digest: layer.digest,
        size: layer.size,
    };
    let layers = parsed.layers.iter().map(file).collect();
    Ok(Image { manifest, config: config.digest, layers })
}

/// The digests of all files in `cache` that images with these `manifests` need; `None` where that cannot be told.
///
/// # Errors
/// The cache cannot be read.
pub fn needed(manifests: &[Digest], cache: &Path) -> Result<Option<HashSet<Digest>>, Error> {
    let cache = Cache::open(cache)?;
    let mut needed: HashSet<Digest> = manifests.iter().copied().collect();
    for manifest in manifests {
        // Whose manifest is lost, nobody can say what it needs.
        let Some(bytes) = cache.read(*manifest)? else { return Ok(None) };
        if let Ok(Document::Manifest(parsed)) = Document::parse(document::MANIFEST, &bytes) {
            needed.insert(parsed.config.digest);
            needed.extend(parsed.layers.iter().map(|layer| layer.digest));
        }
    }
    Ok(Some(needed))
}

/// The folder in `cache` with the files of images, each named by the digest of its content; what is begun ends with `.partial`.
#[must_use]
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("sha256")
}

/// Opens the source when something of it is needed, and not before.
struct OnDemand<'a> {
    source: &'a Source<'a>,
    offline: bool,
    origin: std::sync::OnceLock<Origin>,
}

impl OnDemand<'_> {
    fn get(&self, what: Digest) -> Result<&Origin, Error> {
        if let Some(origin) = self.origin.get() {
            return Ok(origin);
        }
        // A layout on this machine is no network.
        if self.offline && matches!(self.source.reference, Reference::Registry(_)) {
            let what = format!("{what} of {}", self.source.reference);
            return Err(Error::Offline { what });
        }
        let origin = Origin::open(self.source.reference, self.source.options)?;
        Ok(self.origin.get_or_init(|| origin))
    }
}

fn bring(origin: &OnDemand<'_>, cache: &Cache, wanted: &[Descriptor]) -> Result<(), Error> {
    let mut lacking = Vec::new();
    for blob in wanted {
        if !cache.has(*blob)? {
            lacking.push(*blob);
        }
    }
    let Some(first) = lacking.first() else { return Ok(()) };
    let from = origin.get(first.digest)?;
    let target = origin.source.reference.to_string();
    let tell = origin.source.tell;
    let bytes = lacking.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
    tell(Event::Transferring { target: target.clone(), blobs: lacking.len(), bytes });
    let moved = std::sync::atomic::AtomicU64::new(0);
    parallel::each(&lacking, |blob| {
        cache.bring(from, *blob, &|more| {
            let bytes = moved.fetch_add(more, std::sync::atomic::Ordering::Relaxed) + more;
            tell(Event::Transferred { target: target.clone(), bytes });
        })
    })
}

/// Which entry of an index is for the platform: the first, as everybody else takes it.
fn pick(source: &Source<'_>, index: &Index) -> Result<Digest, Error> {
    let of = |entry: &Layer| -> Option<Platform> {
        serde_json::from_value(entry.other.get("platform")?.clone()).ok()
    };
    let found = index
        .manifests
        .iter()
        .find(|entry| of(entry).is_some_and(|platform| source.platform.is_met_by(&platform)));
    // An index of one image that does not say what it is for: its config will.
    let lone = match &index.manifests[..] {
        [lone] if of(lone).is_none() => Some(lone),
        _ => None,
    };
    found.or(lone).map(|entry| entry.digest).ok_or_else(|| Error::Platform {
        image: source.reference.to_string(),
        platform: source.platform.to_string(),
        // Signatures and the like are of a platform `unknown/unknown`.
        has: index
            .manifests
            .iter()
            .filter_map(of)
            .filter(|p| p.os != "unknown")
            .map(|p| p.to_string())
            .take(50)
            .collect(),
    })
}

/// What counts of an image's config.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(flatten)]
    platform: Platform,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

fn parse_config(source: &Source<'_>, bytes: &[u8]) -> Result<Config, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let reason = format!("it is no container image: its config cannot be read: {error}");
        Error::document(source.reference.to_string(), reason)
    })
}

fn check_platform(source: &Source<'_>, config: &Config) -> Result<(), Error> {
    let Platform { os, architecture, .. } = &config.platform;
    if *os == source.platform.os && *architecture == source.platform.architecture {
        return Ok(());
    }
    Err(Error::Platform {
        image: source.reference.to_string(),
        platform: source.platform.to_string(),
        has: vec![config.platform.to_string()],
    })
}

fn check_layers(manifest: &Manifest) -> Result<(), String> {
    if manifest.layers.len() > MOST_LAYERS {
        return Err(format!("it has {} layers; at most {MOST_LAYERS}", manifest.layers.len()));
    }
    if manifest.config.size > document::LARGEST {
        return Err("its config is too large".to_owned());
    }
    for layer in &manifest.layers {
        const KINDS: [&str; 4] = [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ];
        if !KINDS.contains(&layer.media_type.as_str()) {
            let kind: String = layer.media_type.chars().take(100).collect();
            return Err(format!("a layer is of a kind that cannot be unpacked: {kind:?}"));
        }
        if layer.size > LARGEST_LAYER {
            return Err(format!("a layer of {} bytes is too large", layer.size));
        }
    }
    Ok(())
}
