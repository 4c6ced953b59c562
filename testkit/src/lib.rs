//! What whole-system tests stand on. A dev-dependency only.
//!
//! | module | what is in it |
//! |---|---|
//! | [`apt_cache`] | Debian's `apt-cacher-ng`, with a folder of its own |
//! | [`archive`] | a small signed Debian archive, and a server for it |
//! | [`container`] | container images made by hand |
//! | [`require`] | whether this machine can run a test; if not, a printed reason, and a failure where `CI=true` |
//! | [`images`] | the program under test, and a project whose images it has built |
//! | [`kernel`] | Debian's kernel, fetched once; modules that are none |
//! | [`deadline`] | waiting for a condition instead of sleeping |
//! | [`ports`] | TCP and UDP ports that nobody uses |
//! | [`program`] | a child process that ends with its test, and what it printed |
//! | [`network`] | network namespaces with bridges and taps |
//! | [`registry`] | an OCI registry, Debian's `docker-registry`, with a login and a certificate of its own |
//! | [`user`] | an ordinary user of this machine, of whom only her programs know |
//! | [`vm`] | virtual machines, with the accelerator that works here |
//!
//! Helpers panic where a test would: a broken test bed has no caller who could do better.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a panic with a sentence is how a test bed reports, and a skip is printed"
)]

pub mod apt_cache;
pub mod archive;
pub mod container;
pub mod deadline;
pub mod images;
pub mod kernel;
pub mod network;
pub mod ports;
pub mod program;
pub mod registry;
pub mod require;
pub mod user;
pub mod vm;

pub use images::overboot;
