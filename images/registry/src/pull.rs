//! From a repository into a store.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use overboot_bootset::{BootSet, PublicKey};
use overboot_digest::Digest;
use overboot_store::{BlobWriter, Descriptor, Layer, Store, layout};

use crate::document::{Document, INDEX, Index, Manifest};
use crate::event::Tell;
use crate::repository::Fetched;
use crate::{Error, Event, Repository, parallel, set, tag};

/// A signature is five lines.
const LARGEST_SIGNATURE: u64 = 4 << 10;
/// The most of what nobody has signed that comes with a signed image: its record.
const LARGEST_RECORD: u64 = 256 << 20;
/// More parts than a set has: its layers, an initrd of many parts, the kernel.
const MOST_PARTS: usize = 128;

/// From where to where.
#[derive(Clone, Copy)]
pub struct Pull<'a> {
    /// Where it comes from.
    pub repository: &'a Repository,
    /// Where it goes.
    pub store: &'a Store,
    /// What tags begin with.
    pub prefix: Option<&'a str>,
    /// Whose signature makes a boot set one of ours.
    pub keys: &'a [PublicKey],
    /// Take also what nobody has signed.
    pub unsigned: bool,
    /// Who hears of it.
    pub tell: Tell<'a>,
}

impl std::fmt::Debug for Pull<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pull").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Pulls `targets`; where none is named, all boot sets, and with `unsigned` all that has a tag: what somebody else has put there is
/// passed over and told. A boot set brings all that it names. Nothing has its name in the store before all of it is there, whole and,
/// if it is a set, signed by a key that is trusted.
///
/// # Errors
/// A target is not there, nobody vouches for it, or it is not what it should be, also where it was when it was pulled before; the
/// registry refuses, or breaks off too often.
pub fn pull(pull: &Pull<'_>, targets: &[String]) -> Result<(), Error> {
    for target in targets {
        tag::of_target(target, pull.prefix)?;
        if !target.starts_with("set/") && !pull.unsigned {
            return Err(Error::Unsigned { target: target.clone() });
        }
    }
    if targets.is_empty() {
        return pull.all();
    }
    for target in targets {
        let fetched = pull.document(&tag::of_target(target, pull.prefix)?)?;
        pull.target(target, fetched)?;
    }
    Ok(())
}

/// A manifest of the registry.
struct Found {
    target: String,
    bytes: Vec<u8>,
    digest: Digest,
    manifest: Manifest,
}

impl Pull<'_> {
    fn place(&self) -> String {
        self.repository.connection.place()
    }

    fn document(&self, reference: &str) -> Result<Fetched, Error> {
        let found = self.repository.document(reference)?;
        let what = reference.to_owned();
        found.ok_or_else(|| Error::NotFound { what, place: self.place() })
    }

    /// All that is of overboot's making.
    fn all(&self) -> Result<(), Error> {
        let what = if self.unsigned { "image" } else { "boot set" };
        let (mut targets, mut strange) = (Vec::new(), Vec::new());
        for tag in self.repository.tags()? {
            match tag::target_of(&tag, self.prefix) {
                Some(target) => targets.push((tag, target)),
                // With another prefix it is another project's.
                None if self.prefix.is_none_or(|prefix| tag.starts_with(&format!("{prefix}-"))) => {
                    strange.push(tag);
                }
                None => {}
            }
        }
        if !strange.is_empty() {
            let reason = "overboot gives no image such a name".to_owned();
            (self.tell)(Event::Skipped { tags: strange, reason });
        }
        let mut pulled = false;
        for (tag, target) in targets {
            if !self.unsigned && !target.starts_with("set/") {
                continue;
            }
            let fetched = self.repository.document(&tag)?;
            let fetched = fetched.ok_or_else(|| "there is no manifest of a known type".to_owned());
            match fetched.and_then(|fetched| is_ours(&target, &fetched).map(|()| fetched)) {
                Ok(fetched) => self.target(&target, fetched)?,
                Err(reason) => {
                    let known = self.store.get(&target)?;
                    if known.is_some_and(|known| known.origin == Some(self.place())) {
                        return Err(Error::Replaced { target, place: self.place(), reason });
                    }
                    (self.tell)(Event::Skipped { tags: vec![tag], reason });
                    continue;
                }
            }
            pulled = true;
        }
        if pulled {
            return Ok(());
        }
        let prefix = self.prefix.map(|prefix| format!(":{prefix}"));
        let place = format!("{}{}", self.place(), prefix.unwrap_or_default());
        Err(Error::Nothing { what, place })
    }

    fn target(&self, target: &str, fetched: Fetched) -> Result<(), Error> {
        if target.starts_with("set/") {
            self.set(target, &fetched)
        } else {
            self.one(target, fetched)
        }
    }

    /// An artifact that nobody vouches for.
    fn one(&self, target: &str, fetched: Fetched) -> Result<(), Error> {
        let found = self.manifest(target, fetched)?;
        let size = self.bring(target, std::slice::from_ref(&found))?;
        self.name(&found, size)
    }

    /// A set, and all that it names.
    fn set(&self, target: &str, fetched: &Fetched) -> Result<(), Error> {
        let wrong = |reason: String| {
            let target = target.to_owned();
            Error::Parts { target, place: self.place(), reason }
        };
        let index = match Document::parse(&fetched.media_type, &fetched.bytes) {
            Ok(Document::Index(index)) => index,
            Ok(Document::Manifest(_)) => {
                return Err(wrong("its tag names a single image and no set".to_owned()));
            }
            Err(reason) => return Err(wrong(reason)),
        };
        if index.manifests.len() > MOST_PARTS {
            return Err(wrong(format!("it has {} parts", index.manifests.len())));
        }
        let mut found = self.manifests(&index)?.into_iter();
        let own = found.next().filter(|own| own.target == target);
        let own = own.ok_or_else(|| wrong("its first part is not the set".to_owned()))?;
        let boot_set = self.verified(target, &own)?;
        let parts: Vec<Found> = found.collect();
        fit(&boot_set, &parts).and_then(|()| bounded(&own, 2)).map_err(wrong)?;
        let mut all = parts;
        all.push(own);
        let size = self.bring(target, &all)?;
        // The set last: it must not be found before its parts are.
        let (own, parts) = all.split_last().ok_or_else(|| wrong("it has no part".to_owned()))?;
        for part in parts {
            self.name(part, 0)?;
        }
        self.name(own, size)
    }

    fn manifests(&self, index: &Index) -> Result<Vec<Found>, Error> {
        let mut all = Vec::new();
        for entry in &index.manifests {
            let target = entry.annotations.get(layout::TARGET).ok_or_else(|| {
                Error::document(entry.digest.to_string(), "the index does not say what it is")
            })?;
            // What could not have been pushed is not pulled.
            tag::of_target(target, None)?;
            all.push(self.manifest(target, self.document(&entry.digest.to_string())?)?);
        }
        Ok(all)
    }

    fn manifest(&self, target: &str, fetched: Fetched) -> Result<Found, Error> {
        let wrong =
            |reason: String| Error::document(format!("{target} of {}", self.place()), reason);
        let Fetched { media_type, descriptor, bytes } = fetched;
        let manifest = match Document::parse(&media_type, &bytes).map_err(wrong)? {
            Document::Manifest(manifest) => manifest,
            Document::Index(_) => return Err(wrong("it is an index and no artifact".to_owned())),
        };
        if let Some(other) =
            manifest.annotations.get(layout::TARGET).filter(|other| *other != target)
        {
            let other: String = other.chars().take(100).collect();
            return Err(wrong(format!("it was made as {other:?}")));
        }
        Ok(Found { target: target.to_owned(), bytes, digest: descriptor.digest, manifest })
    }

    /// The set that a manifest holds, if a key that we trust has signed it, and it is the one that was asked for.
    fn verified(&self, target: &str, own: &Found) -> Result<BootSet, Error> {
        let wrong = |reason: &str| Error::Parts {
            target: target.to_owned(),
            place: self.place(),
            reason: reason.to_owned(),
        };
        let [set, signature, ..] = &own.manifest.layers[..] else {
            return Err(wrong("it is not a set and its signature"));
        };
        let set = self.small(set, BootSet::MAX_BYTES as u64)?;
        let signature = self.small(signature, LARGEST_SIGNATURE)?;
        let signature = String::from_utf8_lossy(&signature);
        let set = overboot_bootset::verify(&set, &signature, self.keys).map_err(|source| {
            Error::NotAccepted { target: target.to_owned(), place: self.place(), source }
        })?;
        if target.strip_prefix("set/") != Some(&set.name) {
            return Err(wrong(&format!("the set that was signed is called {}", set.name)));
        }
        Ok(set)
    }

    /// A small blob, in memory.
    fn small(&self, layer: &Layer, limit: u64) -> Result<Vec<u8>, Error> {
        let blob = layer.descriptor();
        if blob.size > limit {
            return Err(Error::TooLarge { what: blob.digest.to_string(), limit });
        }
        let mut bytes = Vec::new();
        self.repository.download(blob, &mut |more| {
            bytes.extend_from_slice(more);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Brings the content of manifests into the store, as far as it is not there. Returns how many bytes that were.
    fn bring(&self, target: &str, all: &[Found]) -> Result<u64, Error> {
        let contents: BTreeMap<Digest, Descriptor> = all
            .iter()
            .flat_map(|found| found.manifest.layers.iter().chain([&found.manifest.config]))
            .map(|layer| (layer.digest, layer.descriptor()))
            .collect();
        let mut lacking: Vec<Descriptor> =
            contents.into_values().filter(|blob| !self.store.has_blob(*blob)).collect();
        lacking.sort_by_key(|blob| (std::cmp::Reverse(blob.size), blob.digest));
        let bytes = lacking.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        let (target, blobs) = (target.to_owned(), lacking.len());
        (self.tell)(Event::Transferring { target: target.clone(), blobs, bytes });
        let moved = AtomicU64::new(0);
        parallel::each(&lacking, |blob| {
            self.bring_one(*blob, &|more| {
                let bytes = moved.fetch_add(more, Ordering::Relaxed) + more;
                (self.tell)(Event::Transferred { target: target.clone(), bytes });
            })
        })?;
        Ok(bytes)
    }

    /// Brings a blob; goes on where an earlier pull, also one that was killed, has ended.
    fn bring_one(&self, blob: Descriptor, progress: &dyn Fn(u64)) -> Result<(), Error> {
        let mut writer = self.store.blob_resumed(&blob.digest)?;
        if writer.written().1 > blob.size {
            writer.clear()?;
        }
        let (_, before) = writer.written();
        progress(before);
        let folder = self.store.dir();
        let download = |writer: &mut BlobWriter| {
            let (hasher, there) = writer.written();
            self.repository.download_from(blob, hasher, there, &mut |more| {
                writer.write_all(more).map_err(Error::file("write into", folder))?;
                progress(more.len() as u64);
                Ok(())
            })
        };
        let mut downloaded = download(&mut writer);
        if before > 0 && matches!(downloaded, Err(Error::WrongDigest { .. })) {
            // What was there may have been damaged: then it deserves a fresh start.
            writer.clear()?;
            downloaded = download(&mut writer);
        }
        // Nothing to go on with; and on a full disk nobody is helped by what stays there.
        if let Err(Error::WrongDigest { .. } | Error::WrongSize { .. } | Error::File { .. }) =
            downloaded
        {
            writer.clear()?;
        }
        downloaded?;
        // Only now, when its content has been found to be what it is called, has it a name.
        writer.commit()?;
        Ok(())
    }

    fn name(&self, found: &Found, fetched: u64) -> Result<(), Error> {
        self.store.adopt(&found.target, &found.bytes, &self.place())?;
        let (target, digest) = (found.target.clone(), found.digest);
        (self.tell)(Event::Pulled { target, digest, fetched });
        Ok(())
    }
}

/// Is what a tag names of the type that overboot makes for such a target? What it is otherwise. Whether it is also what it should be,
/// is not asked here: an image of ours that is damaged or was changed is an error. So is an index that cannot be read, or does not say
/// what it is, where a boot set is looked for: what machines are to boot is not passed over, and the signature decides.
fn is_ours(target: &str, fetched: &Fetched) -> Result<(), String> {
    const OURS: &str = "application/vnd.overboot.";
    let parsed = Document::parse(&fetched.media_type, &fetched.bytes);
    let (ours, kind) = if target.starts_with("set/") {
        let ours = match parsed {
            Ok(Document::Index(Index { artifact_type: Some(of), .. })) => of == set::ARTIFACT_TYPE,
            // Docker's list is never ours.
            Ok(Document::Index(index)) => index.media_type == INDEX,
            Ok(Document::Manifest(_)) => false,
            Err(_) if fetched.media_type == INDEX => true,
            Err(reason) => return Err(reason),
        };
        (ours, "boot set")
    } else {
        let ours = match parsed? {
            Document::Index(_) => false,
            Document::Manifest(manifest) => {
                let first = manifest.layers.first();
                first.is_some_and(|layer| layer.media_type.starts_with(OURS))
            }
        };
        (ours, "image")
    };
    if ours { Ok(()) } else { Err(format!("it is no {kind} of overboot's")) }
}

/// Are the parts those that the set names, all of them, and no others? What is wrong.
fn fit(set: &BootSet, parts: &[Found]) -> Result<(), String> {
    let wanted = set::parts(set);
    let is = |part: &set::Part, found: &Found| {
        let first = found.manifest.layers.first();
        part.fits(&found.target) && first.is_some_and(|layer| layer.descriptor() == part.blob)
    };
    for part in &wanted {
        if !parts.iter().any(|found| is(part, found)) {
            let kind = part.target.trim_end_matches('/');
            return Err(format!("its {kind} ({}) does not come with it", part.blob.digest));
        }
    }
    for found in parts {
        if !wanted.iter().any(|part| is(part, found)) {
            return Err(format!("{} comes with it, and it does not name that", found.target));
        }
        bounded(found, 1)?;
    }
    Ok(())
}

/// Is what nobody has signed, all but the first layers, of a size that can be taken?
fn bounded(found: &Found, signed: usize) -> Result<(), String> {
    let rest = found.manifest.layers.iter().skip(signed).chain([&found.manifest.config]);
    if rest.map(|layer| layer.size).fold(0, u64::saturating_add) > LARGEST_RECORD {
        return Err(format!("{} has a record of more than {LARGEST_RECORD} bytes", found.target));
    }
    Ok(())
}
