//! Root trees: unpack packages, keep dpkg's database, configure in a sandbox, provision, remove identity.
//!
//! In the order of a tree's life:
//!
//! - [`Root`]: a tree on disk; whatever path is asked of it, nothing outside of the tree is touched.
//! - [`install`]: a set of packages into a tree: unpacked natively, configured by the tree's own dpkg.
//! - [`container`]: the layers of a container image into a tree.
//! - [`provision`]: files, scripts, users; [`ansible`](mod@ansible): roles and playbooks.
//! - [`identity`]: what one machine may not share with another, and what only the build left behind, is removed.
//! - [`layered`]: a tree on top of another (overlayfs in a mount namespace of its own).
//! - [`upper`]: from what is in that tree then to what an overlay is: what changed, and no more.
//! - [`Sandbox`]: where everything that a package or a user brought is run.
//! - [`rootless`]: an ordinary user as root of a namespace, for all of this.
//!
//! Does not know: where packages come from, which are wanted, how a tree is packed, recipes.

mod accounts;
pub mod ansible;
mod configure;
pub mod container;
mod dpkg;
mod error;
mod filters;
pub mod identity;
mod install;
pub mod layered;
mod network;
pub mod provision;
mod root;
pub mod rootless;
mod run;
mod sandbox;
mod sys;
mod unpack;
pub mod upper;

pub use accounts::Accounts;
pub use error::Error;
pub use filters::Filters;
pub use install::{Package, install, skeleton};
pub use network::Network;
pub use root::{Root, duplicate, no_newer, remove_tree};
pub use run::Output;
pub use sandbox::Sandbox;
pub use unpack::{extract, paths};

/// What a running step tells: one line, without a line break.
pub type Log<'a> = &'a (dyn Fn(&str) + Sync);
