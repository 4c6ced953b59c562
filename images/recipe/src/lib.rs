//! `overboot.toml` and `overboot.lock`: typed, checked, with precise diagnostics.
//!
//! - [`Recipe`]: what the user wrote, checked; [`Recipe::load`] reads a project's folder.
//! - [`Lock`]: which packages, to the byte, that recipe means today.
//! - [`Diagnostic`]: what is wrong, in which file, line and column, and what to write instead.
//! - [`project`]: the commented project that `overboot init` writes.
//!
//! Does not know: archives, images, the network. It reads the two files and nothing else; whether a package exists is the
//! archive's to say.

mod check;
mod diagnostic;
mod lock;
mod manifest;
mod near;
pub mod project;
mod recipe;

pub use diagnostic::{Diagnostic, Error};
pub use lock::{Lock, LockedArchive, LockedImage, LockedPackage};
pub use near::near;
pub use recipe::{
    Archive, Base, Compression, Initrd, Kernel, Modules, Overlay, Project, Provisioner, Recipe,
    Serve, ServeDhcp, Sudo, User, Variant,
};
