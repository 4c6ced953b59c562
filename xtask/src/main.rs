//! Chores of this workspace.
//!
//! - [`layers`]: does every crate use only what is in its own folder and the folders above it?
//! - [`demo`]: the main job, shown: images, a machine, the two calls, a login, a table.
//! - [`bench`]: the figures of docs/benchmarks.md.
//! - [`fuzz`]: a minute of hostile input for each of the readers in fuzz/.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to whoever runs it")]

mod bench;
mod demo;
mod fuzz;
mod layers;

use std::process::ExitCode;

fn main() -> ExitCode {
    let chore = std::env::args().nth(1).unwrap_or_default();
    let done = match chore.as_str() {
        "layers" => layers::run(),
        "demo" => demo::run(),
        "bench" => bench::run(std::env::args().skip(2)),
        "pack" => bench::pack(std::env::args().skip(2)),
        "fuzz" => fuzz::run(std::env::args().nth(2).as_deref()),
        _ => {
            eprintln!(
                "usage: cargo xtask layers|demo|bench [ROW…] [--runs N] [--json FILE]|pack TREE IMAGE|fuzz [SECONDS]"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
