//! The archive against apt, with the real thing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests: a panic is the verdict, a print the reason of a skip"
)]

mod apt;
mod fetch;
mod index;
mod packages;
mod pins;
mod proxy;
mod random;
mod real;
mod resolve;
mod trust;
