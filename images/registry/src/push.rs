//! From a store into a repository.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use overboot_bootset::BootSet;
use overboot_digest::Digest;
use overboot_store::{Artifact, Descriptor, Store};

use crate::document::{Document, INDEX, MANIFEST};
use crate::event::Tell;
use crate::{Error, Event, Repository, parallel, set, tag};

/// From where to where.
#[derive(Clone, Copy)]
pub struct Push<'a> {
    /// What is here.
    pub store: &'a Store,
    /// Where it goes.
    pub repository: &'a Repository,
    /// What tags begin with.
    pub prefix: Option<&'a str>,
    /// Who hears of it.
    pub tell: Tell<'a>,
}

impl std::fmt::Debug for Push<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Push").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Pushes `targets`, or all that the store has where none is named. A boot set brings all that it names along. A tag appears when
/// all that it leads to is there.
///
/// # Errors
/// A target is not in the store or has no tag; the registry refuses, or breaks off too often.
pub fn push(push: &Push<'_>, targets: &[String]) -> Result<(), Error> {
    let mut targets = targets.to_vec();
    if targets.is_empty() {
        // Not what other tools have put there under names of their own.
        let named = push.store.targets()?.into_iter();
        targets = named.filter(|target| tag::of_target(target, None).is_ok()).collect();
    }
    // What cannot have a tag is told before anything is sent.
    let tags: Result<Vec<_>, _> =
        targets.iter().map(|target| tag::of_target(target, push.prefix)).collect();
    for (target, tag) in targets.iter().zip(tags?) {
        let artifact = push.find(target)?;
        let (bytes, media_type, sent) = if target.starts_with("set/") {
            push.set(&artifact)?
        } else {
            let manifest = push.manifest(&artifact)?;
            let sent = push.send(target, std::slice::from_ref(&manifest))?;
            (manifest.bytes, MANIFEST, sent)
        };
        push.repository.put_document(&tag, media_type, &bytes)?;
        let digest = Digest::of(&bytes);
        (push.tell)(Event::Pushed { target: target.clone(), tag, digest, sent });
    }
    Ok(())
}

/// A manifest of the store.
struct Manifest {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    contents: Vec<Descriptor>,
}

impl Push<'_> {
    fn find(&self, target: &str) -> Result<Artifact, Error> {
        let found = self.store.get(target)?;
        found.ok_or_else(|| Error::Missing { target: target.to_owned() })
    }

    /// Sends a set with its parts; its index.
    fn set(&self, artifact: &Artifact) -> Result<(Vec<u8>, &'static str, u64), Error> {
        let target = &artifact.target;
        let path = self.store.blob_path(&artifact.layer().digest);
        let bytes = std::fs::read(&path).map_err(Error::file("read", path))?;
        let boot_set = BootSet::from_trusted_bytes(&bytes).map_err(|source| {
            let place = self.store.dir().display().to_string();
            Error::NotAccepted { target: target.clone(), place, source }
        })?;
        // Its parts as they were when it was made; those of a set that an older program made have names.
        let mut all = self.store.parts(artifact)?;
        all.extend(self.store.list()?);
        let mut named = vec![(target.clone(), artifact.descriptor)];
        let mut manifests = vec![self.manifest(artifact)?];
        for part in set::parts(&boot_set) {
            let is_it = |other: &&Artifact| {
                part.fits(&other.target) && other.layer().descriptor() == part.blob
            };
            let found = all.iter().find(is_it).ok_or_else(|| Error::Stale {
                set: target.clone(),
                part: part.target.trim_end_matches('/').to_owned(),
                digest: part.blob.digest,
            })?;
            named.push((found.target.clone(), found.descriptor));
            manifests.push(self.manifest(found)?);
        }
        let sent = self.send(target, &manifests)?;
        parallel::each(&manifests, |manifest| {
            let digest = manifest.descriptor.digest.to_string();
            if self.repository.has_document(manifest.descriptor)? {
                return Ok(());
            }
            self.repository.put_document(&digest, MANIFEST, &manifest.bytes)
        })?;
        let index = set::index(target, &named);
        let bytes = serde_json::to_vec(&index)
            .map_err(|error| Error::document(target.clone(), error.to_string()))?;
        Ok((bytes, INDEX, sent))
    }

    fn manifest(&self, artifact: &Artifact) -> Result<Manifest, Error> {
        let path = self.store.blob_path(&artifact.descriptor.digest);
        let bytes = std::fs::read(&path).map_err(Error::file("read", path))?;
        let contents = match Document::parse(MANIFEST, &bytes) {
            Ok(Document::Manifest(manifest)) => {
                let layers = manifest.layers.iter().chain([&manifest.config]);
                layers.map(overboot_store::Layer::descriptor).collect()
            }
            Ok(Document::Index(_)) => {
                return Err(Error::document(&artifact.target, "it is an index and no artifact"));
            }
            Err(reason) => return Err(Error::document(&artifact.target, reason)),
        };
        Ok(Manifest { descriptor: artifact.descriptor, bytes, contents })
    }

    /// Sends the content of manifests, as far as the registry lacks it. Returns how many bytes that were.
    fn send(&self, target: &str, manifests: &[Manifest]) -> Result<u64, Error> {
        let contents: BTreeMap<Digest, Descriptor> = manifests
            .iter()
            .flat_map(|manifest| &manifest.contents)
            .map(|blob| (blob.digest, *blob))
            .collect();
        let contents: Vec<Descriptor> = contents.into_values().collect();
        let lacking = Mutex::new(Vec::new());
        parallel::each(&contents, |blob| {
            if !self.repository.has_blob(*blob)? {
                lacking.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(*blob);
            }
            Ok::<_, Error>(())
        })?;
        let mut lacking = lacking.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The largest first: otherwise one of them, begun last, is waited for alone.
        lacking.sort_by_key(|blob| (std::cmp::Reverse(blob.size), blob.digest));
        let bytes = lacking.iter().map(|blob| blob.size).sum();
        let (target, blobs) = (target.to_owned(), lacking.len());
        (self.tell)(Event::Transferring { target: target.clone(), blobs, bytes });
        let moved = AtomicU64::new(0);
        parallel::each(&lacking, |blob| {
            if !self.store.has_blob(*blob) {
                let (target, state) = (target.clone(), "missing or of another size");
                let digest = blob.digest;
                return Err(overboot_store::Error::Blob { target, digest, state }.into());
            }
            let path = self.store.blob_path(&blob.digest);
            self.repository.upload(*blob, &path, &|sent| {
                let bytes = moved.fetch_add(sent, Ordering::Relaxed) + sent;
                (self.tell)(Event::Transferred { target: target.clone(), bytes });
            })
        })?;
        Ok(bytes)
    }
}
