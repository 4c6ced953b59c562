//! The server over HTTP, as its clients see it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "helpers of tests, outside of test functions"
)]

mod files;
mod manual;
mod nodes;
mod southbound;
mod support;
mod workflows;
