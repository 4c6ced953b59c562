//! `overboot check`: may overlays stay as they are on another base?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use overboot_build::contract::{self, Against, Checked};
use overboot_contract::{Verdict, reason};
use overboot_inspect::{Image, Reference};
use overboot_recipe::Lock;

use super::project;
use crate::Global;
use crate::printer::Printer;
use crate::told::told;

/// Say for every overlay whether it holds on a base: valid, rebuild or conflict. Builds nothing
///
/// Exit status 1 where an overlay is not valid.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// base/NAME, or base/NAME@sha256:… for one that has lost its name; otherwise each overlay's own
    #[arg(long, value_name = "REF")]
    base: Option<Reference>,
    /// Where that is: another store, or a project with one
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let own = project::store(&project)?;
    let lock = Lock::load(project.folder())?;
    let elsewhere = args.store.as_deref();
    let elsewhere = elsewhere.map(|_| project::store_in(global, elsewhere)).transpose()?;
    let base = match &args.base {
        Some(reference) if !reference.target.starts_with("base/") => {
            let help = "write base/NAME";
            return Err(told(format!("{reference} is no base for an overlay"), help));
        }
        Some(reference) => Some(Image::open(elsewhere.as_ref().unwrap_or(&own), reference)?),
        None => None,
    };
    let against = match (&base, &elsewhere) {
        (Some(image), _) => Against::Base(&image.store, &image.artifact),
        (None, Some(store)) => Against::Store(store),
        (None, None) => Against::Own,
    };
    let report = contract::check(&project, &recipe, lock.as_ref(), project::NODE, &against)?;
    for checked in &report.overlays {
        let reasons: Vec<_> = checked
            .judgement
            .reasons
            .iter()
            .map(|(verdict, reason)| {
                serde_json::json!({"verdict": verdict, "reason": reason, "text": reason.to_string()})
            })
            .collect();
        printer.json(&serde_json::json!({
            "event": "checked", "overlay": checked.overlay, "base": checked.base,
            "verdict": checked.judgement.verdict, "reasons": reasons,
        }));
        printer.result(lines(checked));
    }
    for target in &report.outdated {
        printer.json(&serde_json::json!({"event": "outdated", "target": target}));
        printer.note(format!(
            "{target} was taken as it is in the store; recipe and lock mean another by now, which `overboot build {target}` makes"
        ));
    }
    let valid = |checked: &Checked| checked.judgement.verdict == Verdict::Valid;
    Ok(if report.overlays.iter().all(valid) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `  overlay/discovery        valid on base/base`, with the reasons beneath where it is not.
fn lines(checked: &Checked) -> String {
    let word = match checked.judgement.verdict {
        Verdict::Valid => "valid",
        Verdict::Rebuild => "rebuild",
        Verdict::Conflict => "conflict",
    };
    let mut text = format!("  {:<24} {word:<8} on {}", checked.overlay, checked.base);
    let mut reasons = checked.judgement.reasons.iter().peekable();
    while let Some((verdict, _)) = reasons.peek() {
        let verdict = *verdict;
        let same = std::iter::from_fn(|| reasons.next_if(|(other, _)| *other == verdict));
        for line in reason::told(same.map(|(_, reason)| reason)) {
            text.push_str(&format!("\n      {line}"));
        }
    }
    text
}
