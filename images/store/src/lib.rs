//! The OCI image layout that holds everything built.
//!
//! Content is immutable and named by its SHA-256; a *target* such as `base/base` or `overlay/discovery` names a manifest in
//! `index.json` (annotation `org.opencontainers.image.ref.name`), and the manifest names the content: layer 0 is the
//! artifact itself, the config its record. Any OCI tool can read it.
//! Source: OCI image specification 1.1, *image layout*, *manifest*, *index*, *descriptor*.
//!
//! - [`Store`]: open, publish, look up, verify, collect.
//! - [`BlobWriter`]: content on its way in.
//! - [`generation`]: what was published, and what of it is served; [`Store::former`]: what was, lately.
//! - [`layout`]: the JSON documents.
//!
//! Whatever dies at any moment leaves the old state or the new one, and at most a leftover that the next opening sweeps.
//! This crate must not know what is in the content, nor where it comes from or goes to.
//!
//! ```
//! use overboot_store::{ArtifactManifest, Layer, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let store = Store::open_or_create(dir.path())?;
//! let layer = Layer::new("application/vnd.overboot.base.v1.squashfs", store.put_bytes(b"the image")?);
//! store.publish("base/base", &ArtifactManifest::new("application/vnd.overboot.base.v1", layer))?;
//!
//! let artifact = store.get("base/base")?.ok_or("it was published")?;
//! assert_eq!(std::fs::read(store.blob_path(&artifact.layer().digest))?, b"the image");
//! # Ok(())
//! # }
//! ```

mod blob;
mod collect;
mod error;
mod files;
mod former;
pub mod generation;
pub mod layout;
mod store;
mod target;
mod verify;

pub use blob::BlobWriter;
pub use error::Error;
pub use generation::Generation;
pub use layout::{ArtifactManifest, Descriptor, Layer};
pub use store::{Artifact, Store};
pub use verify::Problem;
