//! The writer and the reader against the kernel, unsquashfs and mksquashfs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Blocks from an earlier image.
mod cache;
/// Mutated images: no panic, no loop, no memory without bounds.
mod damaged;
/// An image as text, in full.
mod dump;
/// What the kernel shows of a mounted image is what was written.
mod kernel;
/// The same bytes from any number of threads and in any order of entries.
mod reproducible;
mod scan;
/// What unsquashfs unpacks, and what mksquashfs packs for our reader.
mod tools;
mod tree;
