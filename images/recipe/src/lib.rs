//! `overboot.toml` and `overboot.lock`: typed, checked, with precise diagnostics.
//!
//! - [`Recipe`]: what the user wrote, checked; [`Recipe::load`] reads a project's folder.
//! - [`Lock`]: which packages, to the byte, that recipe means today.
//! - [`Diagnostic`]: what is wrong, in which file, line and column, and what to write instead.
//! - [`Placed`]: something that the recipe says, and where, so that whoever finds it wrong later can tell the place, too.
//! - [`schema`](fn@schema): the recipe's JSON Schema, for editors.
//! - [`project`]: the commented project that `overboot init` writes.
//!
//! Does not know: archives, images, the network. It reads the two files and nothing else; whether a package exists is the
//! archive's to say.

mod archive;
mod check;
mod diagnostic;
mod lock;
mod manifest;
mod near;
mod place;
pub mod project;
mod provisioner;
mod recipe;
mod schema;

pub use archive::{Archive, Distribution, ExtraArchive, Pin, PinnedVersions};
pub use diagnostic::{Diagnostic, Error};
pub use lock::{
    Lock, LockedArchive, LockedContainer, LockedImage, LockedPackage, LockedStage, Whence,
};
pub use near::near;
pub use place::{Place, Placed};
pub use provisioner::{Ansible, Deb, Play, Provisioner, Script, Sudo, Systemd, User};
pub use recipe::{
    Base, Compression, Initrd, Kernel, Modules, Overlay, Project, Recipe, Serve, ServeDhcp, Set,
    Slot, Variant,
};
pub use schema::schema;
