//! `overboot build`: from the recipe to the store.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use overboot_build::{Goal, Target, execute};

use super::project;
use super::registry::RegistryArgs;
use crate::Global;
use crate::printer::{Printer, seconds};

/// Build what the recipe describes, as far as it is not built yet
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
    /// How much memory steps that run side by side may take together; otherwise a quarter of the machine's
    #[arg(long, value_name = "MB")]
    memory: Option<u32>,
    #[command(flatten)]
    locked: project::LockedArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let begun = Instant::now();
    let (mut project, recipe) = project::open_with(global, args.registry.options()?, printer)?;
    if let Some(megabytes) = args.memory {
        project = project.with_memory(u64::from(megabytes) << 20);
    }
    // Before the lock is read: another build may be about to make another one.
    let occupied = project.occupy()?;
    let lock = args.locked.to_build(&occupied, &recipe, printer)?;
    let goal = Goal { targets: &args.targets, keep_overlays: args.keep_overlays };
    let tell = |event| printer.build(event);
    let built = execute(&occupied, &recipe, &lock, project::NODE, goal, &tell)?;
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    printer.json(&serde_json::json!({
        "event": "built",
        "built": built.built.iter().map(|(target, _)| target.to_string()).collect::<Vec<_>>(),
        "unchanged": built.unchanged.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "left-out": built.left_out,
        "milliseconds": milliseconds,
    }));
    for line in &built.left_out {
        printer.note(format!("  {line}"));
    }
    let took = seconds(milliseconds);
    match built.built.len() {
        0 => {
            printer.result(format!("Nothing to do: everything is as the recipe wants it ({took})."))
        }
        count => {
            printer.result(format!("Built {count} of {} in {took}.", count + built.unchanged.len()))
        }
    }
    let store = project::store(&project)?;
    let waiting: Vec<_> = store.unpublished()?.into_iter().map(|one| one.set).collect();
    if !waiting.is_empty() {
        printer.note(format!(
            "Nodes still get what was published of {}; `overboot publish` gives them what is built.",
            waiting.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}
