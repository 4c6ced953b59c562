//! The whole program in virtual machines: Debian's kernel, an initrd of ours, a little root, a server that misbehaves on
//! request.
//!
//! - [`boots`]: boots that succeed, from a signed set and RackHD's way
//! - [`refusals`]: boots that must fail, each with its own sentence
//! - [`lease`]: the address is kept, against dnsmasq
//! - [`material`]: kernel, initrd and layers; [`server`]: the other side

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "helpers of tests, outside of test functions"
)]

mod boots;
mod lease;
mod material;
mod refusals;
mod server;
