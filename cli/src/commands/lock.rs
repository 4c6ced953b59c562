//! `overboot lock`: which packages the recipe means, to the byte.

use std::process::ExitCode;

use anyhow::Result;
use overboot_build::Moving;
use overboot_build::change::{Change, ImageChange, change};
use overboot_build::lock::made;
use overboot_recipe::Lock;

use super::project;
use super::registry::RegistryArgs;
use crate::Global;
use crate::printer::{Printer, size};

/// The exit status of `--exit-code` where something would change.
const CHANGES: u8 = 3;

/// Resolve the recipe's packages, and pin them to the byte in overboot.lock
///
/// What is locked stays, and what is new in the recipe comes, with what that needs; where the recipe's archives or pins are
/// others, all is chosen anew.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take what the archive has today, though the lock is what the recipe asks for: of all packages and container images, or
    /// of those named and of what must move with them
    #[arg(long, num_args = 0.., value_name = "PKG")]
    update: Option<Vec<String>>,
    /// Show what would change, and write nothing (but the cache of lists and packages)
    #[arg(long)]
    plan: bool,
    /// With --plan: exit status 3 where packages or container images would change
    #[arg(long, requires = "plan")]
    exit_code: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open_with(global, args.registry.options()?, printer)?;
    // Who only looks keeps nobody out.
    let occupied = (!args.plan).then(|| project.occupy()).transpose()?;
    let tell = |event| printer.build(event);
    let make = |moving| match &occupied {
        Some(occupied) => overboot_build::lock(occupied, &recipe, moving, &tell),
        None => made(&project, &recipe, moving, &tell),
    };
    let (before, lock) = match &args.update {
        // A lock that cannot be read is one that is made anew.
        Some(names) if names.is_empty() => {
            (Lock::load(project.folder()).ok().flatten(), make(Moving::All)?)
        }
        Some(names) => (Lock::load(project.folder())?, make(Moving::Only(names))?),
        None => match project::current(&project, &recipe)? {
            Ok(lock) => (Some(lock.clone()), lock),
            Err(old) => (old, make(Moving::Only(&[]))?),
        },
    };
    let changed = before.as_ref() != Some(&lock);
    let change = change(&project, &recipe, (before.as_ref(), &lock), project::NODE)?;
    printer.json(&serde_json::json!({
        "event": if args.plan { "planned" } else { "locked" }, "changed": changed,
        "packages": lock.packages.len(), "containers": lock.containers, "change": change,
    }));
    show(&change, before.as_ref(), &lock, printer);
    let same = change.images.is_empty() && change.containers.is_empty();
    printer.result(match (changed, same) {
        (false, _) => "overboot.lock is up to date.",
        (true, _) if args.plan => {
            "Nothing was written: this is what `lock` without --plan would do."
        }
        (true, true) => {
            "No package is another one; overboot.lock notes the archives' state of today."
        }
        (true, false) => "overboot.lock is written: commit it.",
    });
    Ok(if args.exit_code && !same { CHANGES.into() } else { ExitCode::SUCCESS })
}

/// What changes, for people.
fn show(change: &Change, before: Option<&Lock>, lock: &Lock, printer: &Printer) {
    for image in &change.images {
        let bytes = lock.steps(&image.target).concat().concat().iter().map(|p| p.size).sum();
        printer.result(format!(
            "  {:<24} {:>4} packages  {:>9}  installed {}",
            image.target,
            image.count,
            size(bytes),
            difference(Some(image.installed.0).filter(|_| before.is_some()), image.installed.1)
        ));
        // Where all is new, names tell nobody anything.
        if before.is_some_and(|before| before.images.contains_key(&image.target)) {
            packages(image, printer);
        }
    }
    for (image, _, manifest) in &change.containers {
        let manifest = manifest.map_or_else(|| "no longer used".to_owned(), |m| m.to_string());
        printer.result(format!("  {image:<24} {manifest}"));
    }
    if change.images.is_empty() && change.containers.is_empty() {
        return;
    }
    let cached = match change.cached.packages {
        0 => String::new(),
        count => format!("; {count} are here already"),
    };
    let fetch = change.fetch;
    printer.result(format!(
        "To fetch: {} packages, {}{cached}.",
        fetch.packages,
        size(fetch.bytes)
    ));
    if !change.rebuild.is_empty() {
        printer.result(format!("To build: {}.", change.rebuild.join(", ")));
    }
    let sets = change.sets.iter().filter(|set| set.before != Some(set.after));
    let sets = sets.map(|set| format!("{} {}", set.set, difference(set.before, set.after)));
    let sets: Vec<String> = sets.collect();
    if !sets.is_empty() {
        printer.result(format!("In a node's memory, about: {}.", sets.join(", ")));
        printer.result(
            "  (An estimate: layers stay packed in memory, and what packages take installed is reckoned as packed as well as \
             the image that is built, or to a third where none is.)",
        );
    }
}

fn packages(image: &ImageChange, printer: &Printer) {
    for package in &image.packages {
        let (what, versions) = match (&package.from, &package.to) {
            (Some(from), Some(to)) if from == to => ("other file", to.clone()),
            (Some(from), Some(to)) if package.security => ("security", format!("{from} -> {to}")),
            (Some(from), Some(to)) => ("update", format!("{from} -> {to}")),
            (None, to) => ("new", to.clone().unwrap_or_default()),
            (Some(from), None) => ("gone", from.clone()),
        };
        printer.result(format!(
            "    {what:<10} {:<24} {versions}  ({})",
            package.name,
            signed(package.installed)
        ));
    }
}

/// `46.4 MB (+0.2 MB)`.
fn difference(before: Option<u64>, after: u64) -> String {
    let change = |before| i64::try_from(after).unwrap_or(i64::MAX).saturating_sub_unsigned(before);
    match before {
        Some(before) if before != after => format!("{} ({})", size(after), signed(change(before))),
        _ => size(after),
    }
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", size(bytes.unsigned_abs()))
}
