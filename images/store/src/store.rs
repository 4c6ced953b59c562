//! The store itself: open, publish, look up, collect.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use overboot_digest::{Digest, HashingReader};

use crate::blob::is_partial;
use crate::files::{Lock, forget_new, read_document, replace};
use crate::layout::{self, ArtifactManifest, Descriptor, Index, Layer, LayoutVersion, Manifest};
use crate::{BlobWriter, Error, target};

/// The only version of the image layout there is.
const VERSION: &str = "1.0.0";

/// How long what was written of a blob of known content waits for somebody to go on with it.
const PARTIALS_STAY: Duration = Duration::from_secs(24 * 3600);

/// An OCI image layout in a directory. Cheap to clone; several processes may use one directory at once.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// What a target names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name, such as `base/base`.
    pub target: String,
    /// The manifest's own digest and length: what changes when anything of it changes.
    pub descriptor: Descriptor,
    /// What it is made of.
    pub manifest: ArtifactManifest,
    /// Where it was pulled from; `None` where that is not known of it, as of all that was made here. Nobody vouches for the record
    /// of what was pulled.
    pub origin: Option<String>,
    /// Is it known that it was made here? That is told by names only, and a part is from where the whole is: what has lost its name
    /// may have been pulled.
    pub made_here: bool,
}

impl Artifact {
    /// The artifact itself: the manifest's first layer.
    #[must_use]
    pub fn layer(&self) -> &Layer {
        // A manifest without layers is refused when it is read and when it is published.
        &self.manifest.layers[0]
    }

    /// How it came to be.
    #[must_use]
    pub fn record(&self) -> Option<&Layer> {
        self.manifest.record.as_ref()
    }
}

impl Store {
    /// The store in `dir`, which is made where it is missing or empty. Sweeps what interrupted writers have left.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where something else is in the directory; [`Error::File`], [`Error::DiskFull`].
    pub fn open_or_create(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let store = Self { dir: dir.into() };
        if !store.layout_file().exists() {
            store.create()?;
        }
        store.check_version()?;
        store.sweep()?;
        Ok(store)
    }

    /// The store in `dir`, which must be there. Changes nothing: also for a directory that may only be read.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where there is none; [`Error::File`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let store = Self { dir: dir.into() };
        store.check_version()?;
        Ok(store)
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new blob to write.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::DiskFull`].
    pub fn blob_writer(&self) -> Result<BlobWriter, Error> {
        BlobWriter::create(&self.temporary(), &self.blobs(), &self.sweep_lock())
    }

    /// A blob whose content is known, to write or to go on with: what a writer of the same has left when it was dropped or died
    /// within the last day is in it already, see [`BlobWriter::written`]. An empty one where there is none, or somebody else is
    /// at it.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::DiskFull`].
    pub fn blob_resumed(&self, digest: &Digest) -> Result<BlobWriter, Error> {
        BlobWriter::resume(&self.temporary(), &self.blobs(), &self.sweep_lock(), digest)
    }

    /// Stores `bytes`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::DiskFull`].
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Descriptor, Error> {
        let mut writer = self.blob_writer()?;
        writer.write_all(bytes).map_err(Error::write(&self.temporary()))?;
        writer.commit()
    }

    /// Where the blob with that content is, or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Is that blob there, and of its length? Its content is not read.
    #[must_use]
    pub fn has_blob(&self, blob: Descriptor) -> bool {
        self.blob_state(blob).is_none()
    }

    /// Reads all of a blob that `target` needs: is its content what its name says?
    ///
    /// # Errors
    /// [`Error::Blob`] where it is not, or is not there; [`Error::File`].
    pub fn check_blob(&self, target: &str, blob: Descriptor) -> Result<(), Error> {
        self.copy_blob(target, blob, &self.dir, std::io::sink())
    }

    /// Copies a blob that `target` needs to `out`, which is the file `to`. After an error, what was written is not to be used.
    ///
    /// # Errors
    /// As [`Store::check_blob`]; [`Error::DiskFull`].
    pub fn copy_blob(
        &self,
        target: &str,
        blob: Descriptor,
        to: &Path,
        mut out: impl Write,
    ) -> Result<(), Error> {
        let broken = |state| Error::Blob { target: target.to_owned(), digest: blob.digest, state };
        if let Some(state) = self.look_at(blob)? {
            return Err(broken(state));
        }
        let path = self.blob_path(&blob.digest);
        let file = fs_err::File::open(&path).map_err(Error::read(&path))?;
        let mut content = HashingReader::new(file);
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = content.read(&mut buffer).map_err(Error::read(&path))?;
            if read == 0 {
                break;
            }
            out.write_all(&buffer[..read]).map_err(Error::write(to))?;
        }
        if content.finish().0 == blob.digest { Ok(()) } else { Err(broken("damaged")) }
    }

    /// Names the artifact `target`: at once for everybody, or not at all. What had that name loses it and stays as a blob
    /// until it is collected.
    ///
    /// # Errors
    /// [`Error::Target`] for a name that cannot be one, [`Error::Blob`] where content is missing; [`Error::Document`],
    /// [`Error::File`], [`Error::DiskFull`].
    pub fn publish(&self, target: &str, artifact: &ArtifactManifest) -> Result<Artifact, Error> {
        target::check(target)?;
        if artifact.layers.is_empty() {
            let reason = "an artifact needs at least one layer";
            return Err(Error::Target { target: target.to_owned(), reason });
        }
        for blob in artifact.contents() {
            if let Some(state) = self.blob_state(blob) {
                return Err(Error::Blob { target: target.to_owned(), digest: blob.digest, state });
            }
        }
        let empty = if artifact.record.is_none() {
            self.put_bytes(b"{}")?
        } else {
            Descriptor { digest: Digest::of("{}"), size: 2 }
        };
        let json = json(&artifact.to_json(empty), &self.dir)?;
        let descriptor = self.put_bytes(&json)?;
        let mut entry = Layer::new(layout::MANIFEST, descriptor);
        entry.artifact_type = Some(artifact.artifact_type.clone());

        self.name(target, entry)?;
        let manifest = artifact.clone();
        let target = target.to_owned();
        Ok(Artifact { target, descriptor, manifest, origin: None, made_here: true })
    }

    /// Names an artifact that came from elsewhere, `origin`, with the manifest `bytes` as they came: its digest stays what it
    /// was. All content that it names must be here.
    ///
    /// # Errors
    /// As [`Store::publish`]; [`Error::Manifest`] where `bytes` are none.
    pub fn adopt(&self, target: &str, bytes: &[u8], origin: &str) -> Result<Artifact, Error> {
        target::check(target)?;
        let digest = Digest::of(bytes);
        let parsed = serde_json::from_slice(bytes).map_err(|error| error.to_string());
        let manifest = parsed.and_then(Manifest::into_artifact).map_err(|reason| {
            Error::Manifest { target: target.to_owned(), path: self.blob_path(&digest), reason }
        })?;
        // The record of an artifact without one is `{}`.
        if manifest.record.is_none() {
            self.put_bytes(b"{}")?;
        }
        let mut entry = Layer::new(layout::MANIFEST, self.put_bytes(bytes)?);
        entry.artifact_type = Some(manifest.artifact_type);
        let entry = entry.annotated(layout::ORIGIN, origin);
        let artifact = self.artifact(target, &entry)?;
        self.is_whole(&artifact)?;
        self.name(target, entry)?;
        Ok(artifact)
    }

    /// Is all content of an artifact here? It is not read.
    fn is_whole(&self, artifact: &Artifact) -> Result<(), Error> {
        // Before those that are looked into.
        self.are_there(artifact, artifact.manifest.contents())?;
        self.are_there(artifact, self.contents(artifact)?)
    }

    /// Is this content of an artifact here? It is not read.
    pub(crate) fn are_there(
        &self,
        artifact: &Artifact,
        blobs: impl IntoIterator<Item = Descriptor>,
    ) -> Result<(), Error> {
        let target = &artifact.target;
        match blobs.into_iter().find_map(|blob| Some((blob.digest, self.blob_state(blob)?))) {
            None => Ok(()),
            Some((digest, state)) => Err(Error::Blob { target: target.clone(), digest, state }),
        }
    }

    /// Writes a name into the index, in place of what had it.
    fn name(&self, target: &str, entry: Layer) -> Result<(), Error> {
        self.change_index(|index| {
            index.set(target, entry);
            Ok(())
        })
    }

    /// Changes the index: at once for everybody, or not at all.
    pub(crate) fn change_index<T>(
        &self,
        change: impl FnOnce(&mut Index) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _lock = Lock::exclusive(&self.index_lock())?;
        let before = self.index()?;
        let mut index = before.clone();
        let changed = change(&mut index)?;
        self.note_former(&before, &index)?;
        replace(&self.index_file(), &json(&index, &self.index_file())?)?;
        Ok(changed)
    }

    /// What `target` names; `None` where nothing has that name.
    ///
    /// # Errors
    /// [`Error::Blob`] where its manifest is missing or damaged, [`Error::Manifest`] where it is none; [`Error::Document`],
    /// [`Error::File`].
    pub fn get(&self, target: &str) -> Result<Option<Artifact>, Error> {
        let index = self.index()?;
        index.find(target).map(|entry| self.artifact(target, entry)).transpose()
    }

    /// Where an artifact was pulled from, if it was: known also of one whose manifest is lost.
    ///
    /// # Errors
    /// [`Error::Document`], [`Error::File`].
    pub fn origin(&self, target: &str) -> Result<Option<String>, Error> {
        let index = self.index()?;
        let entry = index.find(target);
        Ok(entry.and_then(|entry| entry.annotations.get(layout::ORIGIN).cloned()))
    }

    /// The artifact whose manifest has that digest, taken for one of `target`; also one that has lost its name and was not
    /// collected yet. `None` where there is no such content.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_digest(&self, target: &str, digest: &Digest) -> Result<Option<Artifact>, Error> {
        let index = self.index()?;
        if let Some(entry) = index.manifests.iter().find(|entry| entry.digest == *digest) {
            return self.artifact(target, entry).map(Some);
        }
        let path = self.blob_path(digest);
        let there = match fs_err::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            there => there.map_err(Error::read(&path))?,
        };
        let content = Descriptor { digest: *digest, size: there.len() };
        self.artifact(target, &Layer::new(layout::MANIFEST, content)).map(Some)
    }

    /// The artifacts whose manifests an artifact has as layers: see [`layout::PART`]. They are from where it is itself.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn parts(&self, artifact: &Artifact) -> Result<Vec<Artifact>, Error> {
        let layers = artifact.manifest.layers.iter();
        let parts = layers.filter(|layer| layer.media_type == layout::PART);
        parts
            .map(|layer| {
                let made_as = layer.annotations.get(layout::TARGET);
                let part = self.artifact(made_as.map_or("(unnamed)", String::as_str), layer)?;
                let (origin, made_here) = (artifact.origin.clone(), artifact.made_here);
                Ok(Artifact { origin, made_here, ..part })
            })
            .collect()
    }

    /// All content of an artifact: what its manifest names, and what those of its parts name.
    ///
    /// # Errors
    /// As [`Store::parts`].
    pub fn contents(&self, artifact: &Artifact) -> Result<Vec<Descriptor>, Error> {
        let mut all: Vec<Descriptor> = artifact.manifest.contents().collect();
        for part in self.parts(artifact)? {
            all.extend(part.manifest.contents());
        }
        Ok(all)
    }

    /// The names of all artifacts. Whether they are whole is not looked at.
    ///
    /// # Errors
    /// [`Error::Document`], [`Error::File`].
    pub fn targets(&self) -> Result<Vec<String>, Error> {
        Ok(self.index()?.manifests.iter().filter_map(layout::name).map(str::to_owned).collect())
    }

    /// All artifacts, by name. Manifests that another tool put there without a name are left out.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn list(&self) -> Result<Vec<Artifact>, Error> {
        let index = self.index()?;
        let named = index.manifests.iter().filter_map(|entry| Some((layout::name(entry)?, entry)));
        named.map(|(name, entry)| self.artifact(name, entry)).collect()
    }

    /// Reads the manifest that an entry of the index names.
    pub(crate) fn artifact(&self, target: &str, entry: &Layer) -> Result<Artifact, Error> {
        let digest = entry.digest;
        let path = self.blob_path(&digest);
        let broken = |state| Error::Blob { target: target.to_owned(), digest, state };
        let bytes = match read_document(&path) {
            Err(Error::Document { path, reason }) => {
                return Err(Error::Manifest { target: target.to_owned(), path, reason });
            }
            read => read?.ok_or_else(|| broken("missing"))?,
        };
        if Digest::of(&bytes) != digest {
            return Err(broken("damaged"));
        }
        let manifest = serde_json::from_slice(&bytes)
            .map_err(|error| error.to_string())
            .and_then(Manifest::into_artifact)
            .map_err(|reason| Error::Manifest { target: target.to_owned(), path, reason })?;
        let descriptor = entry.descriptor();
        let origin = entry.annotations.get(layout::ORIGIN).cloned();
        let made_here = origin.is_none() && layout::name(entry).is_some();
        Ok(Artifact { target: target.to_owned(), descriptor, manifest, origin, made_here })
    }

    pub(crate) fn index(&self) -> Result<Index, Error> {
        let path = self.index_file();
        let failed = |reason| Error::Document { path: path.clone(), reason };
        let bytes = read_document(&path)?.ok_or_else(|| failed("it is missing".to_owned()))?;
        let index: Index =
            serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        if index.schema_version != 2 {
            return Err(failed(format!("schema version {} is not known", index.schema_version)));
        }
        Ok(index)
    }

    /// `None` where it is there; otherwise what it is.
    pub(crate) fn blob_state(&self, blob: Descriptor) -> Option<&'static str> {
        self.look_at(blob).unwrap_or(Some("unreadable"))
    }

    fn look_at(&self, blob: Descriptor) -> Result<Option<&'static str>, Error> {
        let path = self.blob_path(&blob.digest);
        match fs_err::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("missing")),
            Err(error) => Err(Error::read(&path)(error)),
            Ok(there) if !there.is_file() || there.len() != blob.size => {
                Ok(Some("of another size"))
            }
            Ok(_) => Ok(None),
        }
    }

    fn create(&self) -> Result<(), Error> {
        let dir = &self.dir;
        fs_err::create_dir_all(dir).map_err(Error::write(dir))?;
        self.refuse_strangers()?;
        let _lock = Lock::exclusive(&self.index_lock())?;
        fs_err::create_dir_all(self.blobs()).map_err(Error::write(dir))?;
        fs_err::create_dir_all(self.temporary()).map_err(Error::write(dir))?;
        if !self.index_file().exists() {
            replace(&self.index_file(), &json(&Index::empty(), &self.index_file())?)?;
        }
        // Last: with this file the store is one.
        let version = LayoutVersion { image_layout_version: VERSION.to_owned() };
        replace(&self.layout_file(), &json(&version, &self.layout_file())?)
    }

    /// Refuses a directory with anything in it that an interrupted creation does not leave.
    fn refuse_strangers(&self) -> Result<(), Error> {
        for entry in fs_err::read_dir(&self.dir).map_err(Error::read(&self.dir))? {
            let name = entry.map_err(Error::read(&self.dir))?.file_name();
            let name = name.to_string_lossy();
            let ours = ["blobs", "index.json", "index.json.new", "oci-layout", "oci-layout.new"];
            if !ours.contains(&&*name) && !name.starts_with(".overboot-") {
                let reason = format!("it has no oci-layout, and \"{name}\" is in it");
                return Err(Error::NotAStore { dir: self.dir.clone(), reason });
            }
        }
        Ok(())
    }

    fn check_version(&self) -> Result<(), Error> {
        let no_store = |reason| Error::NotAStore { dir: self.dir.clone(), reason };
        let path = self.layout_file();
        let bytes =
            read_document(&path)?.ok_or_else(|| no_store("it has no oci-layout".to_owned()))?;
        let version: LayoutVersion = serde_json::from_slice(&bytes)
            .map_err(|error| no_store(format!("its oci-layout cannot be read: {error}")))?;
        if version.image_layout_version != VERSION {
            let version = version.image_layout_version;
            return Err(no_store(format!("it is an OCI layout of version \"{version}\"")));
        }
        Ok(())
    }

    /// Removes temporary files whose writers are gone: nobody holds their lock.
    fn sweep(&self) -> Result<(), Error> {
        {
            let _lock = Lock::exclusive(&self.index_lock())?;
            for document in [self.index_file(), self.former_file(), self.layout_file()] {
                forget_new(&document)?;
            }
        }
        let temporary = self.temporary();
        fs_err::create_dir_all(&temporary).map_err(Error::write(&temporary))?;
        fs_err::create_dir_all(self.blobs()).map_err(Error::write(&self.blobs()))?;
        let _lock = Lock::exclusive(&self.sweep_lock())?;
        for entry in fs_err::read_dir(&temporary).map_err(Error::read(&temporary))? {
            let entry = entry.map_err(Error::read(&temporary))?;
            let path = entry.path();
            let metadata = entry.metadata();
            let age = metadata.ok().and_then(|found| found.modified().ok()?.elapsed().ok());
            // What somebody may still want to go on with.
            if is_partial(&path) && age.is_none_or(|age| age < PARTIALS_STAY) {
                continue;
            }
            // A writer may commit it in between: then it is not there any more.
            let Ok(file) = fs_err::File::open(&path) else { continue };
            if file.file().try_lock().is_ok() {
                match fs_err::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::write(&path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    fn layout_file(&self) -> PathBuf {
        self.dir.join("oci-layout")
    }

    fn index_file(&self) -> PathBuf {
        self.dir.join("index.json")
    }

    fn temporary(&self) -> PathBuf {
        self.dir.join(".overboot-tmp")
    }

    /// Guards `index.json` against two writers at once.
    pub(crate) fn index_lock(&self) -> PathBuf {
        self.dir.join(".overboot-index.lock")
    }

    /// What has lost its name lately.
    pub(crate) fn former_file(&self) -> PathBuf {
        self.dir.join(".overboot-former.json")
    }

    /// Guards new temporary files against the sweep.
    fn sweep_lock(&self) -> PathBuf {
        self.dir.join(".overboot-sweep.lock")
    }
}

/// Compact JSON; what is written here has no float and no map with keys that are not text, so it cannot fail.
pub(crate) fn json(document: &impl serde::Serialize, path: &Path) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document)
        .map_err(|error| Error::Document { path: path.to_owned(), reason: error.to_string() })
}
