//! `overboot diff`: what differs between two images.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use overboot_inspect::{Change, Difference, FileChange, Image, Reference, compare};

use super::project;
use crate::Global;
use crate::printer::{Printer, size};
use crate::told::told;

/// Show what differs between two images: packages, and files by package
///
/// Two images of this store, or the same one in another: `overboot diff base/base --store ../old`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The earlier one: base/base; base/base@3 or set/discovery@3 as it was in generation 3; base/base@sha256:… for one that has lost
    /// its name and is still in the store
    #[arg(value_name = "A")]
    a: Reference,
    /// The later one; otherwise what A names in another store
    #[arg(value_name = "B")]
    b: Option<Reference>,
    /// Where B is: a store, or a project with one. Given twice: where A is, and where B is
    #[arg(long, value_name = "DIR")]
    store: Vec<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (a, b) = match args.store.as_slice() {
        [] => (None, None),
        [b] => (None, Some(b.as_path())),
        [a, b] => (Some(a.as_path()), Some(b.as_path())),
        _ => {
            return Err(told(
                "--store is given more than twice",
                "give it once for B, twice for A and B",
            ));
        }
    };
    let later = match (&args.b, b) {
        (Some(later), _) => later,
        (None, Some(_)) => &args.a,
        (None, None) => {
            let help = "name the other image, or another store with --store DIR";
            return Err(told(format!("what is {} to be compared with?", args.a), help));
        }
    };
    let a = Image::open(&project::store_in(global, a)?, &args.a)?;
    let b = match b {
        Some(b) => Image::open(&project::store_in(global, Some(b))?, later)?,
        None => Image::open(&a.store, later)?,
    };
    let differences = compare(&a, &b)?;
    printer.json(&serde_json::json!({"event": "compared", "differences": differences}));
    let told: Vec<_> = differences.iter().filter(|difference| !difference.is_empty()).collect();
    if told.is_empty() {
        printer.result("They are the same.");
    }
    for difference in told {
        show(difference, usize::MAX, printer);
    }
    Ok(ExitCode::SUCCESS)
}

/// In words, with at most `most` files.
pub(super) fn show(difference: &Difference, most: usize, printer: &Printer) {
    let [before, after] = difference.packed;
    printer.result(format!(
        "{}  {} -> {} packed, {} -> {} unpacked",
        difference.target,
        size(before),
        size(after),
        size(difference.unpacked[0]),
        size(difference.unpacked[1]),
    ));
    for package in &difference.packages {
        let grown = grown(package.sizes);
        let (sign, versions) = match &package.versions {
            [Some(before), Some(after)] => ('*', format!("{before} -> {after}")),
            [Some(before), None] => ('-', before.clone()),
            [_, after] => ('+', after.clone().unwrap_or_default()),
        };
        printer.result(format!("  {sign} {:<28} {versions:<40} {grown:>10}", package.name));
    }
    let mut by_package: BTreeMap<&str, Vec<&FileChange>> = BTreeMap::new();
    for file in &difference.files {
        by_package.entry(file.package.as_deref().unwrap_or("no package")).or_default().push(file);
    }
    let mut left = most;
    for (package, files) in by_package {
        if left == 0 {
            break;
        }
        let [before, after] = [0, 1].map(|side: usize| files.iter().map(|f| f.sizes[side]).sum());
        printer.result(format!("  {package}  {}", grown([before, after])));
        for file in files.into_iter().take(left) {
            left -= 1;
            let sign = match file.changes.first() {
                Some(Change::Added) => '+',
                Some(Change::Removed) => '-',
                _ => '*',
            };
            let mut what = vec![grown(file.sizes)];
            if sign == '*' {
                let words = file.changes.iter().map(|change| word(*change));
                what.insert(0, words.collect::<Vec<_>>().join(", "));
            }
            what.extend(file.details.iter().cloned());
            what.retain(|word| !word.is_empty());
            printer.result(format!("    {sign} {}  {}", file.path, what.join("  ")));
        }
    }
    if difference.files.len() > most {
        printer.result(format!("    and {} more", difference.files.len() - most));
    }
    let count =
        |wanted: fn(&FileChange) -> bool| difference.files.iter().filter(|f| wanted(f)).count();
    let added = count(|file| file.changes.contains(&Change::Added));
    let removed = count(|file| file.changes.contains(&Change::Removed));
    printer.result(format!(
        "  {} packages; files: {added} added, {removed} removed, {} changed",
        difference.packages.len(),
        difference.files.len() - added - removed
    ));
}

const fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Kind => "kind",
        Change::Content => "content",
        Change::Mode => "mode",
        Change::Owner => "owner",
        Change::Attributes => "attributes",
        Change::Package => "package",
    }
}

/// `+1.2 MB`; nothing where nothing has changed.
fn grown([before, after]: [u64; 2]) -> String {
    match before.cmp(&after) {
        std::cmp::Ordering::Less => format!("+{}", size(after - before)),
        std::cmp::Ordering::Equal => String::new(),
        std::cmp::Ordering::Greater => format!("-{}", size(before - after)),
    }
}
