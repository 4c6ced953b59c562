//! `overboot plan`: what a build would do, and why.

use std::process::ExitCode;

use anyhow::Result;
use overboot_build::execute::prepare;
use overboot_build::{Goal, Target};

use super::project;
use super::registry::RegistryArgs;
use crate::Global;
use crate::printer::Printer;

/// Show what a build would do and, for each step, why it must run
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// kernel, ipxe, modules/NAME, initrd/NAME, firmware/NAME, base/NAME, overlay/NAME or set/NAME; otherwise all
    #[arg(value_name = "TARGET")]
    targets: Vec<Target>,
    /// Leave overlays as they are where only their base changed and they hold on it (see `check`)
    ///
    /// What is built then depends on what was built before. Without this the same recipe and lock always give the same bytes.
    #[arg(long)]
    keep_overlays: bool,
    #[command(flatten)]
    locked: project::LockedArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open_with(global, args.registry.options()?, printer)?;
    let lock = args.locked.to_read(&project, &recipe, printer)?;
    let goal = Goal { targets: &args.targets, keep_overlays: args.keep_overlays };
    let (plan, _) = prepare(&project, &recipe, &lock, project::NODE, goal)?;
    for step in &plan.steps {
        printer.json(&serde_json::json!({
            "event": "step", "target": step.target.to_string(), "key": step.key, "run": step.runs(), "why": step.why, "kept": step.kept,
        }));
    }
    printer.result(plan.to_string().trim_end());
    Ok(ExitCode::SUCCESS)
}
