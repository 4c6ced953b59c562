//! The whole system: images built from the real archive, a boot server, machines that boot from it.
//!
//! - [`commanded`]: the two calls of RackHD's manual, on a machine that `overboot try` has booted.
//! - [`layers`]: a base, two overlays that were made without knowing of each other, and modules, seen from inside.
//! - [`netns`]: a network of its own with our DHCP server, or with another one and our ProxyDHCP.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic and print")]

mod commanded;
mod layers;
mod machine;
mod netns;
