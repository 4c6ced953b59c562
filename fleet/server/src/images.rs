//! What the store has for nodes: boot sets by name, blobs by digest.

use std::collections::BTreeSet;
use std::path::PathBuf;

use overboot_bootset::BootSet;
use overboot_digest::Digest;
use overboot_netboot::Loaders;
use overboot_store::{Artifact, Store, generation};

use crate::http::error::{ApiError, ApiResult};

/// The artifact that holds boot loaders, one a layer, and the annotation that names each (OCI image specification,
/// "annotations").
const LOADERS: &str = "ipxe";
const TITLE: &str = "org.opencontainers.image.title";

/// The image store, for reading. Cheap to clone. Of a boot set, layer 0 is the set itself, layer 1 its signature (the text of a
/// `.minisig` file).
#[derive(Clone, Debug)]
pub(crate) struct Images {
    store: Store,
    unpublished: bool,
}

impl Images {
    /// What `store` has; of boot sets what was published, or what was built last where `unpublished`.
    pub(crate) fn new(store: Store, unpublished: bool) -> Self {
        Self { store, unpublished }
    }

    /// Where a blob is, or would be.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.store.blob_path(digest)
    }

    /// The digests of a boot set and of its signature, as that manifest has it or as it is served now; nothing when no set has
    /// this name.
    pub(crate) async fn set_blobs(
        &self,
        name: &str,
        manifest: Option<Digest>,
    ) -> ApiResult<Option<(Digest, Option<Digest>)>> {
        Ok(self.artifact(name, manifest).await?.map(|artifact| {
            (artifact.layer().digest, artifact.manifest.layers.get(1).map(|layer| layer.digest))
        }))
    }

    /// A boot set as it is served now, and the digest of its manifest.
    pub(crate) async fn set(&self, name: &str) -> ApiResult<Option<(BootSet, Digest)>> {
        let Some(artifact) = self.artifact(name, None).await? else { return Ok(None) };
        let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
            ApiError::internal(format!("the boot set {name} cannot be read"), error)
        };
        let bytes = fs_err::tokio::read(self.blob(&artifact.layer().digest))
            .await
            .map_err(|error| unreadable(error.into()))?;
        // The server hands it on and boots nothing itself: the signature is the node's to check.
        let set = BootSet::from_trusted_bytes(&bytes).map_err(|error| unreadable(error.into()))?;
        Ok(Some((set, artifact.descriptor.digest)))
    }

    /// The names of all boot sets, whole or not.
    pub(crate) async fn sets(&self) -> ApiResult<Vec<String>> {
        let targets = self.read(Store::targets).await?;
        let names: BTreeSet<&str> =
            targets.iter().filter_map(|target| generation::boot_set(target)).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// The boot loaders that the build has put into the store, by name; none if it has not.
    pub(crate) fn loaders(store: &Store) -> Result<Loaders, overboot_store::Error> {
        let mut loaders = Loaders::default();
        for layer in store.get(LOADERS)?.iter().flat_map(|artifact| &artifact.manifest.layers) {
            let Some(name) = layer.annotations.get(TITLE).filter(|name| !name.contains('/')) else {
                continue;
            };
            match fs_err::read(store.blob_path(&layer.digest)) {
                Ok(bytes) => loaders.insert(name.clone(), bytes),
                Err(error) => tracing::warn!(name, %error, "a boot loader cannot be read"),
            }
        }
        Ok(loaders)
    }

    async fn artifact(&self, name: &str, manifest: Option<Digest>) -> ApiResult<Option<Artifact>> {
        let (name, target) = (name.to_owned(), format!("set/{name}"));
        let unpublished = self.unpublished;
        self.read(move |store| match manifest {
            // Whoever asks may name any content: what is no manifest is no set.
            Some(digest) => match store.get_digest(&target, &digest) {
                Err(overboot_store::Error::Manifest { .. }) => Ok(None),
                found => found,
            },
            None if unpublished => store.get(&target),
            None => store.served(&name),
        })
        .await
    }

    /// Asks the store, which is on a disk.
    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, overboot_store::Error> + Send + 'static,
    ) -> ApiResult<T> {
        let store = self.store.clone();
        let failed = "the image store cannot be read";
        match tokio::task::spawn_blocking(move || ask(&store)).await {
            Ok(answer) => answer.map_err(|error| ApiError::internal(failed, error)),
            Err(error) => Err(ApiError::internal(failed, error)),
        }
    }
}
