//! `overboot inspect`: what an image is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use overboot_inspect::{Image, Reference, Summary, page};
use serde_json::json;

use super::{aside, project};
use crate::Global;
use crate::printer::{Printer, size};

/// How many packages are named where not all are asked for.
const SOME: usize = 15;

/// Show what an image is: sizes, packages, files, what an overlay changes, what it was made from
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// kernel, ipxe, modules/NAME, initrd/NAME, firmware/NAME, base/NAME, overlay/NAME or set/NAME; with @3 as it was in generation 3
    /// (base/NAME@SET/3 where sets differ in it), with @sha256:… an earlier one that is still in the store
    #[arg(value_name = "REF")]
    reference: Reference,
    /// All files, with size, mode, owner and package
    #[arg(long)]
    files: bool,
    /// All packages
    #[arg(long)]
    packages: bool,
    /// Write a page with a map of where the bytes are
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A store, or a project with one; otherwise this project's
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let store = project::store_in(global, args.store.as_deref())?;
    let image = Image::open(&store, &args.reference)?;
    if let Some(file) = &args.html {
        let html = page(&image)?;
        aside::write(file, |out| {
            std::io::Write::write_all(out, html.as_bytes())
                .with_context(|| format!("cannot write {}", file.display()))
        })?;
        printer.json(&json!({"event": "page", "file": file, "size": html.len()}));
        printer.result(format!("{}  {}", file.display(), size(html.len() as u64)));
        return Ok(ExitCode::SUCCESS);
    }
    let summary = Summary::of(&image)?;
    if printer.is_json() {
        let mut value = serde_json::to_value(&summary)?;
        value["event"] = "inspected".into();
        if args.files {
            value["listing"] = serde_json::to_value(&image.contents()?.files)?;
        }
        if args.packages {
            value["packageDetails"] = serde_json::to_value(&image.contents()?.packages)?;
        }
        printer.json(&value);
        return Ok(ExitCode::SUCCESS);
    }
    if args.files {
        return files(&image, printer);
    }
    show(&summary, if args.packages { usize::MAX } else { SOME }, printer);
    Ok(ExitCode::SUCCESS)
}

fn show(summary: &Summary, packages: usize, printer: &Printer) {
    let fact = |name: &str, value: &str| printer.result(format!("  {name:<12} {value}"));
    printer.result(&summary.target);
    fact("manifest", &summary.digest.to_string());
    fact("image", &summary.image.to_string());
    let format = format!("{}, {} names", summary.format, summary.entries);
    let sizes = format!("{} packed, {} unpacked", size(summary.packed), size(summary.unpacked));
    fact("size", &format!("{sizes}; {format}"));
    fact("epoch", &summary.epoch);
    if let Some(origin) = &summary.origin {
        fact("pulled from", origin);
    }
    if let Some(beneath) = &summary.beneath {
        let how = match beneath.same {
            Some(true) => "as it is in this store",
            Some(false) => "as it was before: the one in this store is another",
            None => "which is not in this store",
        };
        fact("stands on", &format!("{}, {how}", beneath.target));
    }
    for (name, value) in &summary.facts {
        fact(name, value);
    }
    for part in &summary.parts {
        let sizes = format!("{:>9} packed, {:>9} unpacked", size(part.packed), size(part.unpacked));
        fact("part", &format!("{:<24} {sizes}", part.target));
    }
    heading("packages", summary.packages.len(), packages, printer);
    for package in summary.packages.iter().take(packages) {
        let version = if package.version.is_empty() { "(of the base)" } else { &package.version };
        printer.result(format!("  {:>9}  {} {version}", size(package.size), package.name));
    }
    if summary.unowned > 0 {
        printer.result(format!("  {:>9}  (files of no package)", size(summary.unowned)));
    }
    heading("largest files", summary.files.len(), usize::MAX, printer);
    for file in &summary.files {
        let package = file.package.as_deref().map(|name| format!("  ({name})")).unwrap_or_default();
        printer.result(format!("  {:>9}  {}{package}", size(file.size), file.path));
    }
    heading("largest folders", summary.folders.len(), usize::MAX, printer);
    for folder in &summary.folders {
        printer.result(format!("  {:>9}  {}", size(folder.size), folder.path));
    }
    overlay(summary, printer);
    heading("made from, besides packages", summary.inputs.len(), usize::MAX, printer);
    for (name, value) in &summary.inputs {
        printer.result(format!("  {name}: {value}"));
    }
}

/// What an overlay does to what is beneath it.
fn overlay(summary: &Summary, printer: &Printer) {
    let removed = summary.removed.len() + summary.whiteouts.len();
    heading("removes from the base", removed, usize::MAX, printer);
    for name in &summary.removed {
        printer.result(format!("  package {name}"));
    }
    for path in &summary.whiteouts {
        printer.result(format!("  {path}"));
    }
    heading("changes in what all layers share", summary.databases.len(), usize::MAX, printer);
    for change in &summary.databases {
        let signed = |sign: char| move |name: &String| format!("{sign}{name}");
        let put = change.put.iter().map(signed('+'));
        let all: Vec<String> = put.chain(change.gone.iter().map(signed('-'))).collect();
        printer.result(format!("  {}: {}", change.path, all.join(" ")));
    }
}

fn heading(name: &str, count: usize, shown: usize, printer: &Printer) {
    match count {
        0 => {}
        _ if count > shown => printer.result(format!("{name} ({count}; the {shown} largest)")),
        _ => printer.result(format!("{name} ({count})")),
    }
}

fn files(image: &Image, printer: &Printer) -> Result<ExitCode> {
    use overboot_inspect::Kind;
    let mut parts = image.parts()?;
    if parts.is_empty() {
        parts.push(image.clone());
    }
    for part in &parts {
        if parts.len() > 1 {
            printer.result(part.target());
        }
        for file in &part.contents()?.files {
            let (kind, more) = match &file.kind {
                Kind::File { .. } => ('-', String::new()),
                Kind::Folder => ('d', String::new()),
                Kind::Symlink(target) => ('l', format!(" -> {target}")),
                Kind::HardLink(first) => ('h', format!(" = /{first}")),
                Kind::CharDevice(major, minor) => ('c', format!(" {major}:{minor}")),
                Kind::BlockDevice(major, minor) => ('b', format!(" {major}:{minor}")),
                Kind::Fifo => ('p', String::new()),
                Kind::Socket => ('s', String::new()),
                Kind::Whiteout => ('w', String::new()),
            };
            let owner = format!("{}:{}", file.uid, file.gid);
            let package = file.package.as_deref().unwrap_or("-");
            printer.result(format!(
                "{kind}{:04o} {owner:>9} {:>11} {package:<28} /{}{more}",
                file.mode,
                file.size(),
                file.path
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
