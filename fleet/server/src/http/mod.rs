//! How we speak HTTP: what RackHD's clients expect of every call, whatever it is about.

pub(crate) mod address;
pub(crate) mod body;
pub(crate) mod criteria;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod listen;
pub(crate) mod origin;
pub(crate) mod range;
pub(crate) mod rewrite;
