//! `overboot gc`: space.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use overboot_build::{Spare, collect};
use overboot_recipe::Lock;

use super::project;
use crate::Global;
use crate::printer::{Printer, size};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Remove what nobody needs any more: old images, old generations, old packages
///
/// What stays: all images of the recipe, what was pulled, the served and the newest generations with everything they name, boot sets
/// that were replaced lately, and of the cache what overboot.lock names.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// So many generations of each boot set stay, besides the served one
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    keep: usize,
    /// Boot sets that were replaced or taken away stay for so long: machines may be booting them
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    grace: u32,
    /// With a cache that other projects may share: what is in it stays for so long after they were last used
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    days: u32,
    /// Also the root trees that the next build would go on from. Without root it takes this to remove them: their files belong to others
    #[arg(long)]
    trees: bool,
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let cached = Duration::from_secs(u64::from(args.days) * DAY);
    let grace = Duration::from_secs(u64::from(args.grace) * HOUR);
    let spare = Spare { generations: args.keep, grace, cached, trees: !args.trees };
    let garbage = collect(&project, &recipe, spare, args.dry_run)?;
    let kinds = [
        ("blobs", &garbage.blobs),
        ("damaged", &garbage.damaged),
        ("cached", &garbage.cached),
        ("trees", &garbage.trees),
    ];
    let count =
        |files: &[(PathBuf, u64)]| (files.len(), files.iter().map(|(_, bytes)| bytes).sum::<u64>());
    let mut said = serde_json::json!({
        "event": "collected", "dryRun": args.dry_run,
        "names": garbage.names.iter().map(|(name, _)| name).collect::<Vec<_>>(),
    });
    for (kind, files) in kinds {
        let (files, bytes) = count(files);
        said[kind] = serde_json::json!({"files": files, "bytes": bytes});
    }
    printer.json(&said);
    for (name, why) in &garbage.names {
        printer.result(format!("{name:<24} {why}"));
    }
    for (kind, files) in kinds.into_iter().filter(|(_, files)| !files.is_empty()) {
        let (files, bytes) = count(files);
        printer.result(format!("{kind:<24} {files} files, {}", size(bytes)));
    }
    if !project.folder().join(Lock::FILE).exists() {
        printer.note("There is no overboot.lock: all of the cache stays.");
    }
    let all: u64 = kinds.iter().map(|(_, files)| count(files).1).sum();
    printer.result(match (all, args.dry_run) {
        (0, _) => "Nothing to remove.".to_owned(),
        (all, true) => format!("{} would be free.", size(all)),
        (all, false) => format!("{} are free.", size(all)),
    });
    Ok(ExitCode::SUCCESS)
}
