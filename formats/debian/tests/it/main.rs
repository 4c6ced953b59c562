//! Debian's formats against Debian's own tools, and against noise.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests: a panic is the verdict, a print the reason of a skip"
)]

mod deb;
mod noise;
mod version;

use std::process::Command;

/// Whether `program` can be started. Without it a test is skipped aloud, and fails where `CI=true`.
fn has(program: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{program} is needed where CI=true");
    println!("skipped: {program} is not installed");
    false
}
