//! Packing against the real tools: depmod, unsquashfs, cpio, zstd and the kernel, with Debian's own kernel package.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod kernel;
mod layers;
mod overlays;
mod support;
