//! `overboot verify`: is everything in the store what it says it is?

use std::process::ExitCode;

use anyhow::Result;
use overboot_store::Store;

use super::project;
use crate::Global;
use crate::printer::Printer;

/// Read everything in the store and compare it with its digest; check the signatures of boot sets.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(global: &Global, _: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let store = Store::open(project.store_folder())?;
    let mut problems: Vec<String> = store.verify()?.iter().map(ToString::to_string).collect();
    let artifacts = store.list()?;
    for artifact in artifacts.iter().filter(|artifact| artifact.target.starts_with("set/")) {
        let layers = &artifact.manifest.layers;
        let read = |at: usize| fs_err::read(store.blob_path(&layers[at].digest));
        if layers.len() < 2 {
            problems.push(format!("{} is not signed", artifact.target));
            continue;
        }
        let signature = String::from_utf8_lossy(&read(1)?).into_owned();
        if let Err(error) =
            overboot_build::signing::verify(&read(0)?, &signature, &recipe.project.trust)
        {
            problems.push(format!("{}: {error}", artifact.target));
        }
    }
    printer.json(&serde_json::json!({"artifacts": artifacts.len(), "problems": problems}));
    for problem in &problems {
        printer.result(problem);
    }
    if problems.is_empty() {
        printer.result(format!("{} artifacts, all as they should be.", artifacts.len()));
        return Ok(ExitCode::SUCCESS);
    }
    printer.result("help: remove what is named, or all of store/, and run `overboot build`: it makes anew what is missing");
    Ok(ExitCode::FAILURE)
}
