//! OCI registries: push and pull what a store holds, and container images as a source.
//! Source: OCI distribution specification 1.1; OCI image specification 1.1.
//!
//! - [`Address`], [`Credentials`], [`Options`]: where, who, how.
//! - [`Repository`]: a repository of a registry that was reached.
//! - [`push()`], [`pull()`]: between a store and a repository, by target.
//! - [`tag`](mod@tag): how targets become tags, and tags targets.
//! - [`image`]: a container image, from a registry or a layout, as files of layers.
//!
//! A registry is hostile until its bytes have the digest that was asked for: what it sends is bounded, checked while it streams,
//! and gets its name only when it is whole. This crate must not know: recipes, how an image is made, how anything is shown.

mod connection;
mod credentials;
mod document;
mod error;
mod event;
pub mod image;
mod parallel;
mod pull;
mod push;
mod repository;
mod set;
pub mod tag;
mod transfer;

pub use connection::{Access, Options};
pub use credentials::{Credentials, Login};
pub use error::Error;
pub use event::Event;
pub use overboot_oci::Address;
pub use pull::{Pull, pull};
pub use push::{Push, push};
pub use repository::Repository;
