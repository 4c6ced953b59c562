//! The `overboot` program: recipe -> boot set -> running root -> driven node.
//!
//! One file a subcommand in [`commands`]; what they say to people goes through [`printer`]. Exit status: 0 done, 1 failed,
//! 2 wrong usage.

mod commands;
mod printer;
mod told;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::Resettable;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use printer::Printer;

/// Builds small Linux systems that run in RAM, boots machines into them, and drives the machines.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Begin with: overboot init my-images && cd my-images && overboot build\n\n\
        Exit status: 0 done, 1 failed, 2 wrong usage. What --json prints: docs/json.md"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "For every command")]
pub(crate) struct Global {
    /// The project's folder; otherwise the nearest one above
    #[arg(long, short = 'C', global = true, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Where packages are kept; otherwise in the project
    #[arg(long, global = true, env = "OVERBOOT_CACHE", hide_env = true, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Never touch the network: everything must be in the cache
    #[arg(long, global = true)]
    offline: bool,
    /// One JSON object a line instead of words, for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(commands::init::Args),
    Lock(commands::lock::Args),
    Plan(commands::plan::Args),
    Build(commands::build::Args),
    Check(commands::check::Args),
    #[command(name = "try")]
    Try(commands::try_vm::Args),
    Serve(commands::serve::Args),
    Export(commands::export::Args),
    Inspect(commands::inspect::Args),
    Diff(commands::diff::Args),
    Sbom(commands::sbom::Args),
    Verify(commands::verify::Args),
    Push(commands::push::Args),
    Pull(commands::pull::Args),
    Publish(commands::publish::PublishArgs),
    Rollback(commands::publish::RollbackArgs),
    Gc(commands::gc::Args),
    Schema(commands::schema::Args),
    #[command(hide = true, name = overboot_build::ENTER)]
    Sandbox(commands::sandbox::Args),
}

fn main() -> ExitCode {
    let mut command = Cli::command();
    if std::env::args_os().len() < 2 {
        // Nothing was asked for: clap gives help, unless a default from the environment looks like an argument.
        command = command.mut_arg("cache", |cache| cache.env(Resettable::Reset));
    }
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let printer = Printer::new(cli.global.json);
    match run(cli, &printer) {
        Ok(code) => code,
        Err(error) => {
            printer.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, printer: &Printer) -> Result<ExitCode> {
    if commands::trees::are_meant(&cli.command, &cli.global) {
        // While there is no thread yet.
        overboot_build::become_root()?;
    }
    match cli.command {
        Command::Init(args) => commands::init::run(&cli.global, &args, printer),
        Command::Lock(args) => commands::lock::run(&cli.global, &args, printer),
        Command::Plan(args) => commands::plan::run(&cli.global, &args, printer),
        Command::Build(args) => commands::build::run(&cli.global, &args, printer),
        Command::Check(args) => commands::check::run(&cli.global, &args, printer),
        Command::Try(args) => commands::try_vm::run(&cli.global, &args, printer),
        Command::Serve(args) => commands::serve::run(&cli.global, &args, printer),
        Command::Export(args) => commands::export::run(&cli.global, &args, printer),
        Command::Inspect(args) => commands::inspect::run(&cli.global, &args, printer),
        Command::Diff(args) => commands::diff::run(&cli.global, &args, printer),
        Command::Sbom(args) => commands::sbom::run(&cli.global, &args, printer),
        Command::Verify(args) => commands::verify::run(&cli.global, &args, printer),
        Command::Push(args) => commands::push::run(&cli.global, &args, printer),
        Command::Pull(args) => commands::pull::run(&cli.global, &args, printer),
        Command::Publish(args) => commands::publish::publish(&cli.global, &args, printer),
        Command::Rollback(args) => commands::publish::rollback(&cli.global, &args, printer),
        Command::Gc(args) => commands::gc::run(&cli.global, &args, printer),
        Command::Schema(args) => commands::schema::run(&args, printer),
        Command::Sandbox(args) => commands::sandbox::run(&args),
    }
}
