//! Package archives: trust, resolve, fetch; the package store.
//!
//! In the order of use:
//!
//! - [`source`]: which archive, suite and components; [`mirror`]: which one this host itself uses.
//! - [`keyrings`]: the keys that ship; [`trust`]: is this text signed by one of them?
//! - [`fetch`]: bytes over HTTP, bounded, resumed, checked.
//! - [`release`] and [`index`]: what the archive says it has, verified and no older than before.
//! - [`universe`]: the packages listed there, by name and by what they provide; [`pins`]: which version of each is preferred;
//!   [`resolve`](mod@resolve): which of them a request needs, and in which order they can be unpacked.
//! - [`packages`]: the package files themselves, each by its SHA-256.
//!
//! This crate must not know recipes, root trees or what packages are for; it runs nothing, and fills no tree.

mod error;
pub mod fetch;
pub mod index;
pub mod keyrings;
pub mod mirror;
pub mod packages;
pub mod pins;
pub mod release;
pub mod resolve;
pub mod source;
mod suites;
mod time;
pub mod trust;
pub mod universe;
mod workers;

pub use error::Error;
pub use fetch::{FetchOptions, Fetcher};
pub use index::Index;
pub use packages::{FetchEvent, PackageStore, Wanted};
pub use pins::Pin;
pub use release::Policy;
pub use resolve::{Installed, Request, ResolveError, Variant, resolve};
pub use source::Source;
pub use trust::Keyring;
pub use universe::{Package, Universe};
