//! `overboot schema`: the recipe's JSON Schema.

use std::process::ExitCode;

use anyhow::Result;

use crate::printer::Printer;

/// Print the JSON Schema of overboot.toml, for editors
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, printer: &Printer) -> Result<ExitCode> {
    let schema = overboot_recipe::schema();
    printer.result(schema.trim_end());
    let schema: serde_json::Value = serde_json::from_str(&schema)?;
    printer.json(&serde_json::json!({"event": "schema", "schema": schema}));
    Ok(ExitCode::SUCCESS)
}
