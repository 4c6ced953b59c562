//! What must hold for every input, however hostile, one function for each of these readers of bytes from elsewhere:
//!
//! | function | reads | besides "no panic, no hang, bounded memory" |
//! |---|---|---|
//! | [`deb`] | a package file | its files are read, its control file is a stanza or refused |
//! | [`unpack`] | a package's tar stream, into a folder | nothing outside of the folder is touched |
//! | [`control`] | stanzas, relations, versions | what is written again reads the same; versions have one order |
//! | [`packages`] | a `Packages` list | every name that is listed has a candidate or a reason for none |
//! | [`recipe`] | `overboot.toml` | every refusal is a sentence with its place in the file |
//! | [`squashfs`] | an image | no path leads out of it; files have the size that they say |
//! | [`cpio`] | an initramfs | what is written again reads the same |
//!
//! `cargo xtask fuzz` has libFuzzer look for inputs that break one; the tests here run each over [`seeds`], which also hold
//! the inputs that once did.

mod archives;
mod filesystems;
mod seeds;
mod texts;

pub use archives::{deb, unpack};
pub use filesystems::{cpio, squashfs};
pub use seeds::{Property, TARGETS, seeds};
pub use texts::{control, packages, recipe};
