//! Packing against the real tools: depmod, unsquashfs, cpio, zstd and the kernel, with Debian's own kernel package.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod fake;
mod kernel;
mod layers;
mod overlays;
mod small;
