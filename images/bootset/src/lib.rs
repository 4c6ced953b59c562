//! The signed manifest of a boot set, and the check of what it names, chunk by chunk.
//!
//! A boot set says which kernel, initrd, modules, base and overlays boot together, each by digest and size.
//! The build signs it (minisign, Ed25519 over BLAKE2b); a node trusts nothing else: it verifies the signature
//! with keys from its initrd, then every chunk of every layer while it streams, from whichever mirror.
//!
//! | module | what is in it |
//! |---|---|
//! | [`set`] | [`BootSet`], [`Layer`], [`Blob`] and their bounds |
//! | [`card`] | [`Card`]: the numbers of a network card, for which a [`Firmware`] is |
//! | [`trust`] | [`verify`]: signature first, then the JSON |
//! | [`chunk`] | [`ChunkCheck`]: accepts a layer's bytes in order, names the first wrong chunk |
//!
//! Knows nothing of where blobs are kept, of HTTP, or of how secret keys are stored.

pub mod card;
pub mod chunk;
mod error;
pub mod set;
pub mod trust;

pub use card::Card;
pub use chunk::{ChunkCheck, ChunkError};
pub use error::Error;
pub use set::{Blob, BootSet, Firmware, Layer, LayerFormat};
pub use trust::{PublicKey, verify};
