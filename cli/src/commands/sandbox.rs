//! `overboot sandbox`: not for people. What Ansible starts where it would start chroot(8).

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

/// Become a program in the sandbox of a build
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sandbox's description, a path, the program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    words: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    Err(overboot_build::enter(&args.words).into())
}
