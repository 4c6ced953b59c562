//! `overboot lock`: which packages the recipe means, to the byte.

use std::process::ExitCode;

use anyhow::Result;
use overboot_recipe::Lock;

use super::project;
use super::registry::RegistryArgs;
use crate::Global;
use crate::printer::{Printer, size};

/// Resolve the recipe's packages, and pin them to the byte in overboot.lock
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take what the archive has today, though the lock is what the recipe asks for.
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open_with(global, args.registry.options()?, printer)?;
    let occupied = project.occupy()?;
    let before = Lock::load(project.folder())?;
    let lock = if args.update {
        project::update(&occupied, &recipe, printer)?
    } else {
        project::lock(&occupied, &recipe, printer)?
    };
    let changed = before.as_ref() != Some(&lock);
    printer.json(&serde_json::json!({
        "event": "locked", "changed": changed, "packages": lock.packages.len(), "containers": lock.containers,
    }));
    if !changed {
        printer.result("overboot.lock is up to date.");
        return Ok(ExitCode::SUCCESS);
    }
    for (target, image) in &lock.images {
        let bytes = lock.steps(target).concat().concat().iter().map(|package| package.size).sum();
        printer.result(format!(
            "  {target:<24} {:>4} packages  {:>9}",
            image.keys().count(),
            size(bytes)
        ));
    }
    for container in &lock.containers {
        printer.result(format!("  {:<24} {}", container.image, container.manifest));
    }
    Ok(ExitCode::SUCCESS)
}
