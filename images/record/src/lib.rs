//! What is kept of each image beside it, in the store and in the registries that it goes to.
//!
//! - [`Record`]: what an image was made from. Small: every plan reads it.
//! - [`Contents`]: its packages and its files, each with the package that it belongs to. A layer of its own in the image's
//!   manifest, compressed, that only those read who ask.
//! - [`Listing`]: what is in an image, read from the image itself, so that what is recorded is what was written.
//! - [`Ownership`]: which package a path belongs to, by dpkg's database.
//!
//! No clock and no host in any of it: the same inputs give the same bytes.
//!
//! Does not know recipes, locks, how images are made, nor how anything is shown.

mod contents;
mod error;
mod gather;
mod layer;
mod listing;
mod ownership;
mod packages;
mod record;

pub use contents::{Beneath, Contents, Deb, Distribution, Diversion, File, Kind, Package};
pub use error::Error;
pub use gather::{files, overlay, root};
pub use layer::{CONTENTS, CONTRACT, RECORD, contents, is_image, record};
pub use listing::{Listing, Look, Looked, each_file};
pub use ownership::Ownership;
pub use record::Record;
