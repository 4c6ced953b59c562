//! Trees that overboot makes are those that dpkg would have made: mmdebstrap, which runs apt and dpkg, is the witness.
//!
//! - [`sets`]: the package sets, each chosen for its trouble; each is a test of its own
//! - [`made`]: what overboot makes of a set
//! - [`witness`]: what mmdebstrap makes of it, from the same package files; kept from one run to the next
//! - [`listing`]: a tree as lines that can be compared
//! - [`differences`]: what may differ, and why
//!
//! `make fidelity` runs them; CONTRIBUTING.md says how a set is added.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test may panic and print, and has no public side"
)]

mod differences;
mod listing;
mod made;
mod sets;
mod witness;
