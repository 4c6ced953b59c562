//! The databases that every layer of a root writes, taken apart when an overlay is built and put together on the node.
//!
//! overlayfs unites trees file by file. A file that the base *and* its overlays have a say in (dpkg's list of packages, the
//! users) would come whole from the uppermost layer: with the packages of the base that the overlay was built on, not of the
//! one beneath it, and without those of the overlay beside it. So an overlay carries none of these files, but says what it
//! changed of them; the node applies that to what is there.
//!
//! - [`Form`]: which files are such databases ([`DATABASES`] and what is in [`TRIGGERS`] and
//!   [`ALTERNATIVES`]), and what in each of them is one record.
//! - [`Delta`]: what is different between two states of a database; [`difference`] finds it, [`apply`] carries it out.
//! - [`Changes`]: all that an overlay says, in the file [`changes_path`] of its tree.
//! - [`Alternative`]: one of these databases, in which more than the file is to be put right.
//! - [`clash`](fn@clash): two overlays that cannot stand on one base together.
//!
//! Pure: text in, text out. Does not know where trees are, nor who mounts them. Used by the builder and by the node's init,
//! so it stays small.

mod alternatives;
mod changes;
mod clash;
mod delta;
mod form;

pub use alternatives::{Alternative, Choice, LINKS};
pub use changes::{Changes, Error, FOLDER, changes_path, is_changes};
pub use clash::{Clash, clash};
pub use delta::{Delta, apply, difference};
pub use form::{ALTERNATIVES, DATABASES, Form, TRIGGERS};
