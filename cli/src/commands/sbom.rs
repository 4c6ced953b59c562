//! `overboot sbom`: what is in an image, for those who keep lists of software.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use overboot_inspect::{Image, Reference, sbom};

use super::project;
use crate::Global;
use crate::printer::Printer;

/// Print a list of the software in an image, the same for the same image
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As with inspect; a boot set gives one list of all that boots together
    #[arg(value_name = "REF")]
    reference: Reference,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::SpdxJson)]
    format: Format,
    /// All files, too, with their checksums
    #[arg(long)]
    files: bool,
    /// A store, or a project with one; otherwise this project's
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// SPDX 2.3 as JSON
    SpdxJson,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let store = project::store_in(global, args.store.as_deref())?;
    let image = Image::open(&store, &args.reference)?;
    let document = match args.format {
        Format::SpdxJson => sbom::spdx(&image, args.files)?,
    };
    printer.json(&document);
    printer.result(serde_json::to_string_pretty(&document)?);
    Ok(ExitCode::SUCCESS)
}
