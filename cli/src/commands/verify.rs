//! `overboot verify`: is everything in the store what it says it is?

use std::process::ExitCode;

use anyhow::Result;

use super::project;
use crate::Global;
use crate::printer::Printer;

/// Check all digests and signatures; move aside what is damaged
///
/// What was moved into store/damaged is made again by the next `overboot build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(global: &Global, _: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let store = project::store(&project)?;
    let verified = overboot_build::verify(&project, &recipe, &store)?;
    let problems: Vec<_> = verified
        .findings
        .iter()
        .map(|found| serde_json::json!({"problem": found.problem, "movedTo": found.moved_to}))
        .collect();
    printer.json(&serde_json::json!({
        "event": "verified", "artifacts": verified.artifacts, "problems": problems,
    }));
    for found in &verified.findings {
        printer.result(&found.problem);
        if let Some(aside) = &found.moved_to {
            printer.result(format!("  moved to {}", aside.display()));
        }
    }
    if verified.findings.is_empty() {
        printer.result(format!("{} artifacts, all as they should be.", verified.artifacts));
        return Ok(ExitCode::SUCCESS);
    }
    printer.result("  help: `overboot build` makes anew what is missing");
    Ok(ExitCode::FAILURE)
}
