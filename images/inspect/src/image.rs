//! An image of a store, with what is kept of it.

use overboot_bootset::BootSet;
use overboot_digest::Digest;
use overboot_merge::{Changes, changes_path};
use overboot_record::{Contents, Listing, Record, is_image};
use overboot_store::{Artifact, Generation, Layer, Store, layout};

use crate::reference::Which;
use crate::{Error, Reference};

/// An image, with what is kept of it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Where it is.
    pub store: Store,
    /// What it is made of.
    pub artifact: Artifact,
    /// What it was made from; `None` where nobody has told.
    pub record: Option<Record>,
    /// What is in it; `None` for boot sets, and for what an older program made.
    pub contents: Option<Contents>,
    /// The digest by which the contents are stored.
    pub contents_digest: Option<Digest>,
}

impl Image {
    /// The image of `store` that `reference` means.
    ///
    /// # Errors
    /// It is not there, or not whole.
    pub fn open(store: &Store, reference: &Reference) -> Result<Self, Error> {
        let Reference { target, which } = reference;
        let found = match which {
            Which::Newest => store.get(target)?,
            // The digest of the image itself is what people have at hand, too.
            Which::Digest(digest) => match store.get(target)? {
                Some(named) if named.layer().digest == *digest => Some(named),
                _ => store.get_digest(target, digest)?,
            },
            Which::Generation { set, number } => {
                generation(store, reference, set.as_deref(), *number)?
            }
        };
        let Some(artifact) = found else {
            return Err(Error::Missing {
                reference: reference.to_string(),
                store: store.dir().to_owned(),
                there: store.targets()?,
            });
        };
        let made_as = artifact.manifest.annotations.get(layout::TARGET);
        if let (Which::Digest(_), Some(found)) = (which, made_as.filter(|made| *made != target)) {
            let found = found.clone();
            return Err(Error::Another { reference: reference.to_string(), found });
        }
        Self::of(store, artifact)
    }

    /// An artifact of `store`.
    fn of(store: &Store, artifact: Artifact) -> Result<Self, Error> {
        let record = overboot_record::record(store, &artifact)?;
        let (contents, contents_digest) = overboot_record::contents(store, &artifact)?.unzip();
        Ok(Self { store: store.clone(), artifact, record, contents, contents_digest })
    }

    /// Its name: `base/base`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.artifact.target
    }

    /// Its name's first part: `base`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.target().split('/').next().unwrap_or_default()
    }

    /// Its layers, without what is kept of them.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.artifact.manifest.layers.iter().filter(|layer| is_image(layer))
    }

    /// Its size as it is stored and sent.
    #[must_use]
    pub fn packed(&self) -> u64 {
        self.layers().map(|layer| layer.size).sum()
    }

    /// What is in it.
    ///
    /// # Errors
    /// [`Error::Unlisted`].
    pub fn contents(&self) -> Result<&Contents, Error> {
        self.contents.as_ref().ok_or_else(|| Error::Unlisted { target: self.target().to_owned() })
    }

    /// The boot set that it is; `None` for any other image.
    ///
    /// # Errors
    /// It is damaged.
    pub fn set(&self) -> Result<Option<BootSet>, Error> {
        if self.kind() != "set" {
            return Ok(None);
        }
        let path = self.store.blob_path(&self.artifact.layer().digest);
        let bytes = fs_err::read(&path)
            .map_err(|source| overboot_record::Error::Read { path: path.clone(), source })?;
        let set = BootSet::from_trusted_bytes(&bytes);
        set.map(Some).map_err(|source| Error::Set { target: self.target().to_owned(), source })
    }

    /// The images that a boot set names, in the order in which they are used; none of any other image.
    ///
    /// # Errors
    /// One is not in the store.
    pub fn parts(&self) -> Result<Vec<Image>, Error> {
        let Some(set) = self.set()? else { return Ok(Vec::new()) };
        let mut wanted = vec![("kernel".to_owned(), set.kernel.digest)];
        wanted.extend(set.initrd.iter().map(|blob| ("initrd".to_owned(), blob.digest)));
        wanted.extend(set.firmware.iter().map(|part| ("firmware".to_owned(), part.digest)));
        wanted.extend(set.layers().map(|layer| (layer.name.clone(), layer.digest)));
        let kept = self.store.parts(&self.artifact)?;
        let mut named = None;
        let mut parts = Vec::new();
        for (part, digest) in wanted {
            let is_it = |artifact: &&Artifact| artifact.layer().digest == digest;
            let found = match kept.iter().find(is_it) {
                Some(found) => found.clone(),
                // An older program, or whoever it was pulled from, has not kept how it was made.
                None => {
                    let named = match &named {
                        Some(named) => named,
                        None => named.insert(self.store.list()?),
                    };
                    named
                        .iter()
                        .find(is_it)
                        .cloned()
                        .ok_or_else(|| Error::Part { target: self.target().to_owned(), part })?
                }
            };
            // As it was found: by its digest alone nobody knows where it is from.
            parts.push(Self::of(&self.store, found)?);
        }
        Ok(parts)
    }

    /// What an overlay changed of the databases that layers share; `None` where it changed nothing.
    ///
    /// # Errors
    /// The image cannot be read.
    pub fn changes(&self) -> Result<Option<Changes>, Error> {
        let Some(name) = self.target().strip_prefix("overlay/") else { return Ok(None) };
        let image = self.artifact.layer();
        let listing = Listing::of_image(&self.store.blob_path(&image.digest), &image.media_type)?;
        let Some(text) = listing.texts.get(&changes_path(name)) else { return Ok(None) };
        let changes = Changes::parse(text.as_bytes());
        let failed = |source| Error::Changes { target: self.target().to_owned(), source };
        changes.map(Some).map_err(failed)
    }
}

/// What a generation has under the name of `reference`; nothing where there is no such generation, or nothing of that name in it.
fn generation(
    store: &Store,
    reference: &Reference,
    set: Option<&str>,
    number: u64,
) -> Result<Option<Artifact>, Error> {
    let target = &reference.target;
    let as_set = |generation: &Generation| -> Result<Option<Artifact>, Error> {
        let found = store.get(&generation.target())?;
        Ok(found.map(|found| Artifact { target: format!("set/{}", generation.set), ..found }))
    };
    let of_number = store.generations()?.into_iter().filter(|one| one.number == number);
    if let Some(name) = target.strip_prefix("set/") {
        let own = of_number.into_iter().find(|one| one.set == name);
        return own.map_or(Ok(None), |own| as_set(&own));
    }
    let mut found: Vec<(String, Artifact)> = Vec::new();
    for one in of_number.filter(|one| set.is_none_or(|set| set == one.set)) {
        let Some(artifact) = as_set(&one)? else { continue };
        let parts = Image::of(store, artifact)?.parts()?;
        let part = parts.into_iter().find(|part| part.target() == target);
        found.extend(part.map(|part| (one.set, part.artifact)));
    }
    let same = |a: &Artifact, b: &Artifact| a.descriptor.digest == b.descriptor.digest;
    if found.windows(2).any(|two| !same(&two[0].1, &two[1].1)) {
        let sets = found.into_iter().map(|(set, _)| format!("{target}@{set}/{number}")).collect();
        return Err(Error::Ambiguous { reference: reference.to_string(), sets });
    }
    Ok(found.pop().map(|(_, artifact)| artifact))
}
