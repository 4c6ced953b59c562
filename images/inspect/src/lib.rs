//! Looking at images: what one is, what differs between two, and what is in it for those who keep lists of software.
//!
//! - [`Reference`], [`Image`]: an image of a store, by name or by digest, with what is kept of it.
//! - [`Summary`]: what it is: sizes, packages, the largest files and folders, what an overlay changed.
//! - [`page`]: the same as one HTML page with a map of where the bytes are.
//! - [`Difference`]: what was added, removed and changed from one image to another.
//! - [`equality`]: are two images the same to the bit, and if not, what is not?
//! - [`sbom`]: its packages in SPDX.
//!
//! Reads stores and records. Does not know recipes, how images are made, nor terminals.

mod difference;
mod equality;
mod error;
mod image;
mod map;
mod page;
mod reference;
pub mod sbom;
mod squares;
mod summary;
mod time;

pub use difference::{Change, Difference, FileChange, PackageChange, compare};
pub use equality::{Equality, equality};
pub use error::Error;
pub use image::Image;
pub use overboot_record::Kind;
pub use page::page;
pub use reference::{Reference, Which};
pub use summary::{DatabaseChange, FileSize, PackageSize, Part, Standing, Summary, TopFolder};
