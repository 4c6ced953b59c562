//! Names of container images, as OCI tools write them.
//!
//! - [`Address`]: a repository in a registry, and what of it: `registry.example.com/team/image:tag@sha256:…`.
//! - [`Reference`]: an image, there or in a layout on this machine: `oci:folder:name`.
//! - [`Platform`]: what machines it is for: `linux/amd64`.
//!
//! Sources: OCI distribution specification 1.1, "Pulling manifests"; containers-transports(5).
//!
//! ```
//! use overboot_oci::Reference;
//! let reference: Reference = "docker.io/debian:trixie-slim".parse()?;
//! assert_eq!(reference.to_string(), "docker.io/library/debian:trixie-slim");
//! # Ok::<(), overboot_oci::Error>(())
//! ```
//!
//! Knows nothing of how a registry is spoken to, nor of what is in an image.

pub mod address;
pub mod reference;

pub use address::Address;
pub use reference::{Platform, Reference};

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no address in a registry: {reason}")]
pub struct Error {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}
