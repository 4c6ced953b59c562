//! What an overlay relies on in its base, and whether another base still gives it.
//!
//! When a base or an overlay is built, [`facts`] about it are written down. From the facts of an overlay and those of any base,
//! [`judge`] says without building anything whether the two belong together:
//!
//! - *valid*: all that the overlay relies on is there, and it hides nothing that is new;
//! - *rebuild*: together they would go wrong, or the overlay would hide an update; building the overlay again helps;
//! - *conflict*: building it again from the same packages and sources would not help either.
//!
//! | module | is about |
//! |---|---|
//! | [`facts`] | [`Base`] and [`Overlay`]: what is known of them, how it is found out, how it is written |
//! | [`content`] | what the content of a file says |
//! | [`look`] | what stands at a path |
//! | [`elf`] | programs and libraries: sonames, versions, symbols, interpreters (hostile input) |
//! | [`packages`] | Debian's relations among the packages of both |
//! | [`reason`] | all that can speak against keeping an overlay, in words |
//!
//! What did not hold on the base that the overlay was built on is no news on another one: on its own base an overlay is valid.
//!
//! Pure: it takes entries and gives facts, takes facts and gives a verdict. It does not know where images are, what a recipe is,
//! nor how anything is shown.

pub mod content;
pub mod elf;
pub mod facts;
mod judge;
pub mod look;
pub mod packages;
pub mod reason;
mod view;

pub use content::Content;
pub use facts::{Base, BuiltOn, Error, Overlay};
pub use judge::{Judgement, judge};
pub use look::Look;
pub use reason::{Reason, Verdict};
