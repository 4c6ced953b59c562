//! Where an image's content comes from: a registry, or a layout on this machine.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use overboot_digest::{Digest, Hasher};
use overboot_store::{Descriptor, Layer, layout};

use super::Reference;
use crate::document::{Document, INDEX, Index, LARGEST, MANIFEST};
use crate::repository::Fetched;
use crate::{Access, Error, Options, Repository};

#[derive(Debug)]
pub(super) enum Origin {
    Layout(PathBuf),
    Registry(Box<Repository>),
}

impl Origin {
    pub(super) fn open(reference: &Reference, options: &Options) -> Result<Self, Error> {
        match reference {
            Reference::Layout { path, .. } => Ok(Self::Layout(path.clone())),
            Reference::Registry(address) => {
                Ok(Self::Registry(Box::new(Repository::open(address, Access::Pull, options)?)))
            }
        }
    }

    /// The document that a reference names.
    pub(super) fn named(&self, reference: &Reference) -> Result<Fetched, Error> {
        match (self, reference) {
            (Self::Registry(repository), Reference::Registry(address)) => {
                // A digest says more than a tag.
                let name = match (&address.digest, &address.tag) {
                    (Some(digest), _) => digest.to_string(),
                    (None, Some(tag)) => tag.clone(),
                    (None, None) => "latest".to_owned(),
                };
                let place = address.name();
                repository.document(&name)?.ok_or(Error::NotFound { what: name, place })
            }
            (Self::Layout(path), Reference::Layout { name, digest, .. }) => {
                let entry = entry(path, name.as_deref(), *digest)?;
                let mut fetched = self.document(entry.digest)?;
                fetched.media_type = entry.media_type;
                Ok(fetched)
            }
            // An origin is opened from its reference.
            _ => Err(Error::document(reference.to_string(), "it is somewhere else")),
        }
    }

    /// A manifest or index by its digest.
    pub(super) fn document(&self, digest: Digest) -> Result<Fetched, Error> {
        match self {
            Self::Registry(repository) => {
                let found = repository.document(&digest.to_string())?;
                found.ok_or_else(|| Error::NotFound {
                    what: digest.to_string(),
                    place: repository.connection.place(),
                })
            }
            Self::Layout(path) => {
                let file = blob(path, digest);
                let bytes = read_small(&file)?;
                let found = Digest::of(&bytes);
                if found != digest {
                    let place = path.display().to_string();
                    return Err(Error::WrongDigest { place, expected: digest, found });
                }
                // Which it is, it says itself, or whoever names it.
                let index = matches!(Document::parse("", &bytes), Ok(Document::Index(_)));
                let media_type = if index { INDEX } else { MANIFEST }.to_owned();
                let descriptor = Descriptor { digest, size: bytes.len() as u64 };
                Ok(Fetched { media_type, descriptor, bytes })
            }
        }
    }

    /// A small blob.
    pub(super) fn small(&self, descriptor: Descriptor) -> Result<Vec<u8>, Error> {
        if descriptor.size > LARGEST {
            return Err(Error::TooLarge { what: descriptor.digest.to_string(), limit: LARGEST });
        }
        let mut bytes = Vec::new();
        self.copy(descriptor, Hasher::new(), 0, &mut |more| {
            bytes.extend_from_slice(more);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Copies a blob from byte `there` on; `hasher` has seen what is before that.
    pub(super) fn copy(
        &self,
        wanted: Descriptor,
        mut hasher: Hasher,
        there: u64,
        write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = match self {
            Self::Registry(repository) => {
                return repository.download_from(wanted, hasher, there, write);
            }
            Self::Layout(path) => path,
        };
        let file = blob(path, wanted.digest);
        let failed = || Error::file("read", &file);
        let mut open = File::open(&file).map_err(failed())?;
        let found = open.metadata().map_err(failed())?.len();
        let place = || path.display().to_string();
        if found != wanted.size {
            let (expected, wanted) = (wanted.digest, wanted.size);
            return Err(Error::WrongSize { place: place(), expected, wanted, found });
        }
        open.seek(SeekFrom::Start(there)).map_err(failed())?;
        let mut rest = open.take(wanted.size - there);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = rest.read(&mut buffer).map_err(failed())?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            write(&buffer[..read])?;
        }
        let found = hasher.finish();
        if found == wanted.digest {
            return Ok(());
        }
        Err(Error::WrongDigest { place: place(), expected: wanted.digest, found })
    }
}

fn blob(layout: &Path, digest: Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

/// The entry of `index.json` that is meant.
fn entry(path: &Path, name: Option<&str>, digest: Option<Digest>) -> Result<Layer, Error> {
    let file = path.join("index.json");
    let wrong = |reason: String| Error::document(file.display().to_string(), reason);
    let bytes = read_small(&file)?;
    let index: Index = match Document::parse(INDEX, &bytes).map_err(wrong)? {
        Document::Index(index) => index,
        Document::Manifest(_) => return Err(wrong("it is no index".to_owned())),
    };
    let named = |entry: &Layer| entry.annotations.get(layout::REF_NAME).cloned();
    let meant = |entry: &&Layer| {
        name.is_none_or(|name| named(entry).as_deref() == Some(name))
            && digest.is_none_or(|digest| entry.digest == digest)
    };
    let mut found = index.manifests.iter().filter(meant);
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry.clone()),
        // What a digest alone names may lie within an index.
        (None, _) if name.is_none() && digest.is_some() => {
            let digest = digest.unwrap_or_else(|| Digest::of(""));
            Ok(Layer::new(MANIFEST, Descriptor { digest, size: 0 }))
        }
        (None, _) => Err(Error::NotFound {
            what: name.unwrap_or("an image").to_owned(),
            place: path.display().to_string(),
        }),
        (Some(_), Some(_)) => {
            let names: Vec<_> = index.manifests.iter().filter_map(named).take(50).collect();
            let names = names.join(", ");
            Err(wrong(format!("it has several images; say which behind a colon: {names}")))
        }
    }
}

fn read_small(file: &Path) -> Result<Vec<u8>, Error> {
    let open = File::open(file).map_err(Error::file("read", file))?;
    let mut bytes = Vec::new();
    open.take(LARGEST + 1).read_to_end(&mut bytes).map_err(Error::file("read", file))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::TooLarge { what: file.display().to_string(), limit: LARGEST });
    }
    Ok(bytes)
}
